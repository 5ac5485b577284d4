/* The primary: it sends the log, commits what all have, holds leases, takes learners, and asks for
 * the removal of who does not answer. */
#include <config.h>

#include "core/replica/group.h"

#include <glib.h>

#include "core/base/assert.h"

enum { CLOSE_ENTRIES = 64 };

/* A member without an answer for so long is to be removed: G/2 to G. */
static int64_t
patience_us(const struct yk_replica *replica)
{
    return replica->setup->grace_us / 2;
}

static struct yk_follower *
find_follower(struct yk_replica *replica, uint32_t node)
{
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        if (replica->followers[i].node == node) {
            return &replica->followers[i];
        }
    }
    return NULL;
}

static bool
is_target(const struct yk_replica *replica, uint32_t node)
{
    bool is_one = false;
    for (uint32_t i = 0; i < replica->record.n_targets; i++) {
        is_one = is_one || replica->record.targets[i] == node;
    }
    return is_one;
}

/* ★ From the moment that its ADD is sent it is none that may be wiped. */
static bool
may_copy(const struct yk_replica *replica, const struct yk_follower *follower)
{
    return !follower->is_member && follower->node != replica->pending_add;
}

static struct yk_follower *
add_follower(struct yk_replica *replica, uint32_t node, uint32_t incarnation, int64_t now_us)
{
    YK_ASSERT(replica->n_followers < YK_FOLLOWERS_MAX);
    struct yk_follower *follower = &replica->followers[replica->n_followers++];
    *follower = (struct yk_follower){.node = node,
                                     .incarnation = incarnation,
                                     .has_to_send = true,
                                     .sent = yk_tail_last(&replica->tail),
                                     .lease_us = INT64_MIN,
                                     .heard_us = INT64_MIN,
                                     .acked_us = now_us};
    return follower;
}

/* Begins to probe it again. */
static void
probe(struct yk_replica *replica, struct yk_follower *follower, uint32_t incarnation)
{
    follower->incarnation = incarnation;
    follower->stage = YK_FOLLOWER_PROBED;
    follower->is_lost = false;
    follower->matched = 0;
    follower->copy = 0;
    follower->sent = yk_tail_last(&replica->tail);
    follower->lease_us = follower->heard_us = INT64_MIN;
    follower->has_to_send = true;
}

/* A new epoch */

static void
take_members(struct yk_replica *replica, int64_t now_us)
{
    const struct yk_slot_record *record = &replica->record;
    for (uint32_t i = 0; i < record->n_members; i++) {
        const struct yk_member *member = &record->members[i];
        if (member->node == replica->setup->self) {
            continue;
        }
        struct yk_follower *follower = find_follower(replica, member->node);
        if (follower == NULL) {
            follower = add_follower(replica, member->node, member->incarnation, now_us);
        } else if (follower->incarnation != member->incarnation) {
            probe(replica, follower, member->incarnation);
        }
        /* ★ A member is never wiped again; one that restarts does not know the copy any more by
         * which it came. */
        follower->copy = 0;
        follower->is_member = true;
        follower->has_answered = false;
        follower->has_to_send = true;
        if (now_us - follower->acked_us > patience_us(replica)) {
            follower->acked_us = now_us;
        }
    }
}

void
replica_reign(struct yk_replica *replica, bool goes_on, int64_t now_us)
{
    struct yk_slot_record *record = &replica->record;
    uint32_t n = 0;
    if (!goes_on) {
        replica->reign = yk_tail_last(&replica->tail);
        replica->reign_epoch = record->epoch;
        replica->is_reconciled = replica->setup->mutant == MUTANT_RECONCILE;
        replica->n_followers = 0;
    }
    replica->pending_add = YK_NODE_NONE; /* an epoch has changed: that takes it back */
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        struct yk_follower *follower = &replica->followers[i];
        bool is_member = false;
        for (uint32_t k = 0; k < record->n_members; k++) {
            is_member = is_member || record->members[k].node == follower->node;
        }
        if (is_member || !follower->is_member) {
            replica->followers[n] = *follower;
            replica->followers[n++].is_member = is_member;
        }
    }
    replica->n_followers = n;
    take_members(replica, now_us);
}

/* Commit and leases */

/* ★ From the moment that its ADD is sent a learner counts. */
static bool
counts(const struct yk_replica *replica, const struct yk_follower *follower)
{
    const struct yk_replica_setup *setup = replica->setup;
    if (setup->mutant == MUTANT_EARLY_DROP && follower->is_late) {
        return false;
    }
    return follower->is_member ||
           (follower->node == replica->pending_add && setup->mutant != MUTANT_PENDING_ADD);
}

void
replica_advance(struct yk_replica *replica)
{
    const struct yk_replica_setup *setup = replica->setup;
    uint64_t commit =
        setup->mutant == MUTANT_JOURNAL ? yk_tail_last(&replica->tail) : replica->journaled;
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        const struct yk_follower *follower = &replica->followers[i];
        if (counts(replica, follower) && follower->matched < commit) {
            commit = follower->matched;
        }
    }
    bool has_copies =
        replica->record.n_members >= setup->min_copies || setup->mutant == MUTANT_MIN_COPIES;
    if (has_copies && commit > replica->commit) {
        replica_commit(replica, commit);
        for (uint32_t i = 0; i < replica->n_followers; i++) {
            replica->followers[i].has_to_tell = true;
        }
    }
    if (!replica->is_reconciled && replica->commit >= replica->reign) {
        replica->is_reconciled = true;
        replica->n_reigns++;
    }
}

bool
yk_replica_serves(const struct yk_replica *replica)
{
    return replica->role == YK_REPLICA_PRIMARY && replica->is_reconciled;
}

bool
yk_replica_takes_writes(const struct yk_replica *replica)
{
    const struct yk_tail *tail = &replica->tail;
    return yk_replica_serves(replica) &&
           (replica->record.n_members >= replica->setup->min_copies ||
            replica->setup->mutant == MUTANT_MIN_COPIES) &&
           tail->n - yk_tail_above(tail, replica->commit) < replica->setup->uncommitted_max;
}

bool
yk_replica_may_read(const struct yk_replica *replica, int64_t now_us)
{
    const struct yk_replica_setup *setup = replica->setup;
    if (!yk_replica_serves(replica)) {
        return false;
    }
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        const struct yk_follower *follower = &replica->followers[i];
        bool is_needed = follower->is_member || (follower->node == replica->pending_add &&
                                                 setup->mutant != MUTANT_PENDING_ADD_LEASE);
        if (is_needed && follower->lease_us <= now_us && setup->mutant != MUTANT_LEASE) {
            return false;
        }
    }
    return true;
}

/* ★ A pending ADD may already be true: who counts for a commit counts here. */
static bool
is_asked(const struct yk_replica *replica, const struct yk_follower *follower)
{
    return follower->is_member || follower->node == replica->pending_add;
}

int64_t
yk_replica_ask(struct yk_replica *replica)
{
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        struct yk_follower *follower = &replica->followers[i];
        follower->has_to_send = follower->has_to_send || is_asked(replica, follower);
    }
    return replica->stamp_us;
}

bool
yk_replica_is_confirmed(const struct yk_replica *replica, int64_t question)
{
    bool is_confirmed = yk_replica_serves(replica);
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        const struct yk_follower *follower = &replica->followers[i];
        is_confirmed =
            is_confirmed && (!is_asked(replica, follower) || follower->heard_us > question ||
                             replica->setup->mutant == MUTANT_CONFIRM);
    }
    return is_confirmed;
}

enum yk_err
yk_replica_propose(struct yk_replica *replica, const struct yk_tail_entry *entry)
{
    enum yk_err result = yk_tail_push(&replica->tail, entry);
    for (uint32_t i = 0; result == YK_OK && i < replica->n_followers; i++) {
        replica->followers[i].has_to_send = true;
    }
    return result;
}

/* What is sent */

static void
start_copy(struct yk_replica *replica, struct yk_follower *follower)
{
    const struct yk_replica_sink *sink = &replica->setup->sink;
    follower->stage = YK_FOLLOWER_COPIED;
    follower->copy = 0;
    follower->matched = 0;
    sink->copy(sink->arg, replica, follower->node, follower->incarnation);
}

static void
fill_entries(struct yk_replica *replica, struct yk_follower *follower, uint32_t entries_max,
             uint64_t bytes_max, struct yk_append *append)
{
    const struct yk_tail *tail = &replica->tail;
    uint64_t bytes = 0;
    append->first = yk_tail_above(tail, follower->sent);
    for (uint32_t i = append->first; i < tail->n && append->n_entries < entries_max; i++) {
        const struct yk_tail_entry *entry = yk_tail_at(tail, i);
        bytes += (entry->key != NULL ? entry->key->size : 0) +
                 (entry->value != NULL ? entry->value->size : 0);
        if (append->n_entries > 0 && bytes > bytes_max) {
            break;
        }
        append->n_entries++;
        follower->sent = entry->version;
    }
    follower->has_to_send = follower->sent != yk_tail_last(tail);
}

bool
yk_replica_take_append(struct yk_replica *replica, int64_t now_us, uint32_t entries_max,
                       uint64_t bytes_max, uint32_t *ret_node, struct yk_append *ret_append)
{
    for (uint32_t i = 0; replica->role == YK_REPLICA_PRIMARY && i < replica->n_followers; i++) {
        struct yk_follower *follower = &replica->followers[i];
        if (!follower->has_to_send) {
            continue;
        }
        if (!yk_tail_has(&replica->tail, follower->sent)) { /* the tail does not reach back */
            if (may_copy(replica, follower)) {
                start_copy(replica, follower);
            }
            follower->sent = yk_tail_last(&replica->tail);
        }
        replica->stamp_us = MAX(now_us, replica->stamp_us + 1);
        *ret_node = follower->node;
        *ret_append = (struct yk_append){.slot = replica->slot,
                                         .epoch = replica->record.epoch,
                                         .incarnation = follower->incarnation,
                                         .prev = follower->sent,
                                         .commit = replica->commit,
                                         .floor = replica->floor,
                                         .copy = follower->copy,
                                         .slot_time_ms = replica->slot_time_ms,
                                         .sent_us = replica->stamp_us,
                                         .record = follower->has_answered ? NULL : &replica->record,
                                         .reign = replica->reign,
                                         .reign_epoch = replica->reign_epoch};
        follower->sent_us = now_us;
        follower->has_to_tell = false;
        follower->has_to_send = false;
        if (follower->stage != YK_FOLLOWER_PROBED) {
            fill_entries(replica, follower, entries_max, bytes_max, ret_append);
        }
        return true;
    }
    return false;
}

/* What comes back */

static void
mismatched(struct yk_replica *replica, struct yk_follower *follower, uint64_t hint)
{
    const struct yk_tail *tail = &replica->tail;
    uint32_t above = yk_tail_above(tail, hint);
    if (follower->stage == YK_FOLLOWER_COPIED) {
        return;
    }
    if (above == 0 && hint < tail->base) {
        if (may_copy(replica, follower)) {
            start_copy(replica, follower);
        }
        return;
    }
    uint64_t from = above > 0 ? yk_tail_at(tail, above - 1)->version : tail->base;
    from = MAX(from, follower->matched);
    if (from != follower->sent) { /* else it is an answer that came twice, or late */
        follower->sent = from;
        follower->has_to_send = true;
    }
}

static void
take_answer(struct yk_replica *replica, struct yk_follower *follower, const struct yk_ack *ack)
{
    switch (ack->kind) {
    case YK_ACK_MATCHED:
        if (follower->stage == YK_FOLLOWER_PROBED) {
            follower->stage = YK_FOLLOWER_FOLLOWS;
            follower->has_to_send = true;
        }
        if (ack->version > follower->matched) {
            follower->matched = ack->version;
            follower->sent = MAX(follower->sent, ack->version);
            replica_advance(replica);
        }
        break;
    case YK_ACK_MISMATCHED:
        mismatched(replica, follower, ack->version);
        break;
    case YK_ACK_VOID:
        if (follower->stage != YK_FOLLOWER_COPIED && may_copy(replica, follower)) {
            start_copy(replica, follower);
        }
        break;
    default:
        break;
    }
}

void
yk_replica_on_ack(struct yk_replica *replica, uint32_t from, const struct yk_ack *ack,
                  int64_t now_us)
{
    if (ack->kind == YK_ACK_AHEAD) {
        yk_replica_configure(replica, ack->record, false, now_us);
        return;
    }
    struct yk_follower *follower =
        replica->role == YK_REPLICA_PRIMARY ? find_follower(replica, from) : NULL;
    if (follower == NULL || ack->epoch != replica->record.epoch) {
        return;
    }
    if (ack->kind == YK_ACK_BEHIND) {
        follower->has_answered = false;
        follower->has_to_send = true;
        return;
    }
    if (ack->incarnation != follower->incarnation) {
        bool is_counted = follower->is_member || follower->node == replica->pending_add;
        if (is_counted) {
            follower->is_lost = ack->incarnation > follower->incarnation;
            return;
        }
        probe(replica, follower, ack->incarnation);
    }
    if (ack->kind == YK_ACK_OTHER) {
        return;
    }
    follower->has_answered = true;
    follower->acked_us = now_us;
    if (ack->sent_us != 0) {
        follower->heard_us = MAX(follower->heard_us, ack->sent_us);
        follower->lease_us = MAX(follower->lease_us, ack->sent_us + replica->setup->lease_us);
    }
    /* What was said of a log that was wiped since counts no more. */
    if (ack->kind == YK_ACK_VOID || ack->copy == follower->copy) {
        take_answer(replica, follower, ack);
    }
}

/* Time */

static void
keep_targets(struct yk_replica *replica, int64_t now_us)
{
    for (uint32_t i = 0; i < replica->n_followers;) {
        struct yk_follower *follower = &replica->followers[i];
        if (!follower->is_member && follower->node != replica->pending_add &&
            !is_target(replica, follower->node)) {
            *follower = replica->followers[--replica->n_followers];
        } else {
            i++;
        }
    }
    for (uint32_t i = 0; i < replica->record.n_targets; i++) {
        uint32_t node = replica->record.targets[i];
        if (node != replica->setup->self && find_follower(replica, node) == NULL &&
            replica->n_followers < YK_FOLLOWERS_MAX) {
            (void)add_follower(replica, node, 0, now_us);
        }
    }
}

static void
tick_follower(struct yk_replica *replica, struct yk_follower *follower, int64_t now_us)
{
    const struct yk_replica_setup *setup = replica->setup;
    follower->is_late = now_us - follower->acked_us > patience_us(replica);
    if (now_us - follower->sent_us < setup->beacon_us) {
        follower->has_to_send = follower->has_to_send || follower->has_to_tell;
        return;
    }
    follower->has_to_send = true;
    if (follower->stage == YK_FOLLOWER_FOLLOWS && follower->sent > follower->matched &&
        now_us - follower->acked_us > 2 * setup->beacon_us) {
        follower->sent = follower->matched; /* what was sent may be lost */
    }
}

static bool
is_close(const struct yk_replica *replica, const struct yk_follower *follower)
{
    const struct yk_tail *tail = &replica->tail;
    return follower->stage == YK_FOLLOWER_FOLLOWS && !follower->is_late &&
           follower->matched >= replica->commit && follower->matched >= replica->reign &&
           tail->n - yk_tail_above(tail, follower->matched) < CLOSE_ENTRIES;
}

/* Somebody to be removed, else somebody to be added. */
static void
look_for_wish(struct yk_replica *replica, int64_t now_us)
{
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        const struct yk_follower *follower = &replica->followers[i];
        if (follower->is_member && (follower->is_lost || follower->is_late)) {
            replica_wish(replica, YK_WISH_REMOVE, follower->node, follower->incarnation, now_us);
            return;
        }
    }
    if (replica->record.n_members >= YK_COPIES_MAX) {
        return;
    }
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        const struct yk_follower *follower = &replica->followers[i];
        if (!follower->is_member && is_close(replica, follower)) {
            replica->pending_add = follower->node;
            replica_wish(replica, YK_WISH_ADD, follower->node, follower->incarnation, now_us);
            return;
        }
    }
}

void
replica_tick_primary(struct yk_replica *replica, int64_t now_us)
{
    keep_targets(replica, now_us);
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        tick_follower(replica, &replica->followers[i], now_us);
    }
    replica_advance(replica);
    if (replica->wish.kind == YK_WISH_NONE) {
        look_for_wish(replica, now_us);
    } else if (replica->wish.kind == YK_WISH_ADD &&
               now_us - replica->wished_us > 2 * patience_us(replica)) {
        if (replica->setup->mutant == MUTANT_CANCEL_ADD) {
            replica->pending_add = YK_NODE_NONE;
            replica->wish.kind = YK_WISH_NONE;
        } else {
            replica_wish(replica, YK_WISH_BUMP, replica->setup->self, replica->setup->incarnation,
                         now_us);
        }
    }
}

/* Copies */

void
yk_replica_copy_begins(struct yk_replica *replica, uint32_t node, uint64_t copy, uint64_t start)
{
    struct yk_follower *follower = find_follower(replica, node);
    if (follower != NULL && follower->stage == YK_FOLLOWER_COPIED) {
        follower->copy = copy;
        follower->matched = 0;
        follower->sent = start;
        follower->has_to_send = true;
    }
}

void
yk_replica_copied(struct yk_replica *replica, uint32_t node, uint64_t copy)
{
    struct yk_follower *follower = find_follower(replica, node);
    if (follower != NULL && follower->stage == YK_FOLLOWER_COPIED && follower->copy == copy) {
        follower->stage = YK_FOLLOWER_FOLLOWS;
    }
}

void
yk_replica_copy_failed(struct yk_replica *replica, uint32_t node, uint64_t copy)
{
    struct yk_follower *follower = find_follower(replica, node);
    if (replica->role == YK_REPLICA_PRIMARY && follower != NULL &&
        follower->stage == YK_FOLLOWER_COPIED && follower->copy == copy) {
        probe(replica, follower, follower->incarnation);
    }
}
