/* The life of a replica: epochs, roles, what is asked of the managers, time. */
#include <config.h>

#include "core/replica/group.h"

#include "core/base/assert.h"

enum { COPY_TAIL_TIMES = 16 };

/* Registers */

static const struct yk_member *
find_member(const struct yk_member *members, uint32_t n, uint32_t node)
{
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].node == node) {
            return &members[i];
        }
    }
    return NULL;
}

bool
replica_is_member(const struct yk_replica *replica)
{
    const struct yk_slot_record *record = &replica->record;
    const struct yk_member *self =
        find_member(record->members, record->n_members, replica->setup->self);
    return self != NULL && (self->incarnation == replica->setup->incarnation ||
                            replica->setup->mutant == MUTANT_INCARNATION);
}

/* ★ Nobody acts as primary unless the recorded nonce is its own (R4). */
static bool
is_named_primary(const struct yk_replica *replica)
{
    return replica->record.primary == replica->setup->self && replica_is_member(replica) &&
           (replica->record.nonce == replica->setup->nonce ||
            replica->setup->mutant == MUTANT_RESUME);
}

void
replica_wish(struct yk_replica *replica, enum yk_wish_kind kind, uint32_t node,
             uint32_t incarnation, int64_t now_us)
{
    replica->wish = (struct yk_wish){kind, replica->record.epoch, node, incarnation};
    replica->wished_us = now_us;
    replica->wish_sent_us = 0;
}

/* ★ R8: what a learner had got before everybody forgot must not come back. */
static void
begin_anew(struct yk_replica *replica)
{
    const struct yk_replica_sink *sink = &replica->setup->sink;
    uint64_t last = yk_tail_last(&replica->tail);
    if (last == 0 || last >> YK_SEQUENCE_BITS >= replica->record.begins ||
        replica->setup->mutant == MUTANT_BEGINS) {
        return;
    }
    yk_replica_wiped(replica, 0, 0);
    replica->is_void = false;
    sink->wiped(sink->arg, replica);
}

static void
step_down(struct yk_replica *replica)
{
    replica->is_reconciled = false;
    replica->n_followers = 0;
    replica->pending_add = YK_NODE_NONE;
}

void
yk_replica_configure(struct yk_replica *replica, const struct yk_slot_record *record,
                     bool is_from_manager, int64_t now_us)
{
    /* Over a gap somebody else may have been primary. */
    bool was_primary = replica->role == YK_REPLICA_PRIMARY;
    bool goes_on = was_primary && record->epoch == replica->record.epoch + 1;
    bool is_start = !replica->is_known;
    if (is_start && !is_from_manager) {
        return; /* ★ after a start nothing is done before a manager has answered */
    }
    replica->is_known = true;
    if (record->epoch == replica->record.epoch) {
        memcpy(replica->record.targets, record->targets, sizeof(record->targets));
        replica->record.n_targets = record->n_targets;
        return;
    }
    if (record->epoch <= replica->record.epoch) {
        return;
    }
    replica->record = *record;
    replica->verified = 0;
    replica->told_reign_epoch = 0;
    replica->is_promoting = false;
    /* ★ A restarted backup waits G too: it may have promised something before. */
    bool waits = !is_start || replica->setup->mutant != MUTANT_RESTART_WAIT;
    replica->heard_us = waits ? now_us : now_us - 2 * replica->setup->grace_us;
    replica->has_ack = false;
    replica->wish.kind = YK_WISH_NONE;
    begin_anew(replica);
    if (is_named_primary(replica)) {
        replica->role = YK_REPLICA_PRIMARY;
        replica_reign(replica, goes_on, now_us);
    } else {
        replica->role = replica_is_member(replica) ? YK_REPLICA_BACKUP : YK_REPLICA_IDLE;
        step_down(replica);
    }
    goes_on = goes_on && replica->role == YK_REPLICA_PRIMARY;
    replica->setup->sink.changed(replica->setup->sink.arg, replica, was_primary && !goes_on);
    if (replica->role == YK_REPLICA_PRIMARY) {
        replica_advance(replica);
    }
}

bool
yk_replica_is_whole(const struct yk_replica *replica)
{
    return replica->role != YK_REPLICA_IDLE && !replica->is_void;
}

void
yk_replica_refused(struct yk_replica *replica, enum yk_wish_kind kind, uint32_t epoch,
                   int64_t now_us)
{
    if (epoch != replica->record.epoch || kind != replica->wish.kind) {
        return;
    }
    if (kind == YK_WISH_PROMOTE || kind == YK_WISH_REINIT) {
        replica->is_promoting = false; /* the reasons of a refusal stay as long as the epoch does */
        replica->heard_us = now_us;
    }
    if (kind != YK_WISH_ADD) { /* that one is taken back by another epoch only */
        replica->wish.kind = YK_WISH_NONE;
    }
}

/* Time */

static bool
is_past(int64_t now_us, int64_t since_us, int64_t time_us)
{
    return now_us - since_us > time_us;
}

/* Its place among the members, so that they do not ask at the same time. */
static int64_t
stagger_us(const struct yk_replica *replica)
{
    int64_t place = 0;
    for (uint32_t i = 0; i < replica->record.n_members; i++) {
        uint32_t node = replica->record.members[i].node;
        place += node < replica->setup->self && node != replica->record.primary;
    }
    return place * replica->setup->beacon_us;
}

static void
tick_backup(struct yk_replica *replica, int64_t now_us)
{
    const struct yk_replica_setup *setup = replica->setup;
    if (replica->wish.kind != YK_WISH_NONE) {
        return;
    }
    if (replica->record.primary == setup->self) {
        replica_wish(replica, YK_WISH_BUMP, setup->self, setup->incarnation, now_us);
    } else if (is_past(now_us - stagger_us(replica), replica->heard_us, setup->grace_us)) {
        replica->is_promoting = true;
        replica->has_ack = false;
        replica_wish(replica, YK_WISH_PROMOTE, setup->self, setup->incarnation, now_us);
    }
}

static void
tick_idle(struct yk_replica *replica, int64_t now_us)
{
    const struct yk_replica_setup *setup = replica->setup;
    const struct yk_slot_record *record = &replica->record;
    if (replica->wish.kind != YK_WISH_NONE) {
        return;
    }
    const struct yk_member *eligible =
        find_member(record->eligible, record->n_eligible, setup->self);
    if (eligible != NULL && eligible->incarnation == setup->incarnation && !replica->is_void &&
        is_past(now_us, replica->heard_us, setup->grace_us)) {
        replica_wish(replica, YK_WISH_PROMOTE, setup->self, setup->incarnation, now_us);
    } else if (setup->forgets && is_past(now_us, replica->heard_us, setup->grace_us) &&
               find_member(record->members, record->n_members, setup->self) != NULL) {
        replica_wish(replica, YK_WISH_REINIT, setup->self, setup->incarnation, now_us);
    }
}

void
yk_replica_tick(struct yk_replica *replica, int64_t now_us)
{
    if (!replica->is_known || replica->record.epoch == 0) {
        return;
    }
    switch (replica->role) {
    case YK_REPLICA_PRIMARY:
        replica_tick_primary(replica, now_us);
        break;
    case YK_REPLICA_BACKUP:
        tick_backup(replica, now_us);
        break;
    case YK_REPLICA_IDLE:
        tick_idle(replica, now_us);
        break;
    }
}

bool
yk_replica_take_wish(struct yk_replica *replica, int64_t now_us, struct yk_wish *ret_wish)
{
    if (replica->wish.kind == YK_WISH_NONE ||
        (replica->wish_sent_us != 0 &&
         !is_past(now_us, replica->wish_sent_us, replica->setup->beacon_us))) {
        return false;
    }
    replica->wish_sent_us = now_us;
    *ret_wish = replica->wish;
    return true;
}

/* The log */

void
replica_commit(struct yk_replica *replica, uint64_t version)
{
    const struct yk_replica_sink *sink = &replica->setup->sink;
    while (replica->commit < version) {
        uint32_t index = yk_tail_above(&replica->tail, replica->commit);
        YK_ASSERT(index < replica->tail.n);
        struct yk_tail_entry *entry = yk_tail_at(&replica->tail, index);
        if (entry->version > version) {
            return;
        }
        replica->commit = entry->version;
        sink->committed(sink->arg, replica, entry);
        entry->waiter = NULL;
    }
    replica_trim(replica);
}

/* Others may still want what is committed, up to a bound. */
void
replica_trim(struct yk_replica *replica)
{
    uint64_t bytes_max = replica->setup->tail_bytes_max;
    for (uint32_t i = 0; i < replica->n_followers; i++) {
        if (replica->followers[i].stage == YK_FOLLOWER_COPIED) {
            bytes_max = replica->setup->tail_bytes_max * COPY_TAIL_TIMES;
        }
    }
    while (replica->tail.n > 0 && replica->tail.bytes > bytes_max &&
           yk_tail_at(&replica->tail, 0)->version <= replica->commit) {
        yk_tail_drop_first(&replica->tail);
    }
}

void
yk_replica_journaled(struct yk_replica *replica, uint64_t version, uint32_t n_cuts)
{
    if (n_cuts != replica->n_cuts || version <= replica->journaled) {
        return;
    }
    replica->journaled = version;
    if (replica->role == YK_REPLICA_PRIMARY) {
        replica_advance(replica);
    } else {
        replica_ack_journaled(replica);
    }
}

/* Life */

void
yk_replica_init(struct yk_replica *replica, const struct yk_replica_setup *setup, uint16_t slot,
                uint64_t commit, int64_t now_us)
{
    *replica = (struct yk_replica){.setup = setup,
                                   .slot = slot,
                                   .commit = commit,
                                   .journaled = commit,
                                   .pending_add = YK_NODE_NONE,
                                   .heard_us = now_us};
    yk_tail_init(&replica->tail, commit);
}

void
yk_replica_done(struct yk_replica *replica)
{
    yk_tail_done(&replica->tail);
}
