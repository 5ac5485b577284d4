/* A lane whose slots have members on several nodes: what its replicas commit goes into its engine
 * and answers its ops, what they take goes into the journal.
 *
 *     judged -> proposed (tail, journal, the other members) -> committed -> answered, applied
 *     from the primary -> tail, journal -> answered for -> committed -> applied */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/replica/group.h"

/* Versions that no entry has: marks of a copy. */
#define WAIT_WIPE   UINT64_MAX
#define WAIT_COPIED (UINT64_MAX - 1)

/* For the other members, until nobody knows what becomes of an op. */
#define WAIT_MAX_US 5000000

enum { TAIL_BYTES_MAX = 64 * 1024, UNCOMMITTED_MAX = 4096, WAITS_MIN = 64 };

static const char no_copies_text[] = "too few copies can be reached; nothing was written";
static const char forgotten_text[] = "outcome unknown: the log does not tell any more";
static const char unknown_text[] = "outcome unknown: copies do not answer, or the primary changed";

static struct yk_replica *
replica_of(const struct yk_lane *lane, uint32_t slot)
{
    return &lane->replicas[yk_ring_slot_index(&lane->config.ring, slot)];
}

static int64_t
boot_us(const struct yk_lane *lane)
{
    return (int64_t)lane->config.world->boot_us(lane->config.world->arg);
}

void
lane_touch(struct yk_lane *lane, struct yk_replica *replica)
{
    if (!replica->is_dirty) {
        replica->is_dirty = true;
        replica->next_dirty = lane->dirty;
        lane->dirty = replica;
    }
}

static void answer_journaled(struct yk_lane *lane, struct yk_replica *replica, uint64_t version);

/* What waits for the journal */

struct wait {
    uint64_t mark, version;
    uint32_t slot, n_cuts;
};

static bool
push_wait(struct yk_lane *lane, const struct yk_replica *replica, uint64_t mark, uint64_t version)
{
    struct waits *waits = &lane->waits;
    if (waits->n == waits->room) {
        uint32_t room = waits->room == 0 ? WAITS_MIN : waits->room * 2;
        struct wait *ring = malloc(room * sizeof(*ring));
        if (ring == NULL) {
            return false;
        }
        for (uint32_t i = 0; i < waits->n; i++) {
            ring[i] = waits->ring[(waits->first + i) & (waits->room - 1)];
        }
        free(waits->ring);
        waits->ring = ring;
        waits->room = room;
        waits->first = 0;
    }
    waits->ring[(waits->first + waits->n++) & (waits->room - 1)] =
        (struct wait){mark, version, replica->slot, replica->n_cuts};
    return true;
}

/* The marks of a copy; what was wiped again since is of an older one. */
static void
journaled_copy(struct yk_lane *lane, struct yk_replica *replica, const struct wait *wait,
               uint64_t position)
{
    if (lane->has_log) {
        lane_note_needed(lane, position);
    }
    if (wait->version == WAIT_WIPE) {
        lane_slot(lane, replica->slot)->wiped_from = position;
    } else if (wait->n_cuts == replica->n_cuts && replica->is_void) {
        lane_copy_ends(lane, replica);
        lane_touch(lane, replica);
    }
}

/* ★ A CUT has the version of the entry that it leaves: that one stands where it stood. */
static void
note_position(struct yk_replica *replica, uint64_t version, uint64_t position)
{
    uint32_t above = yk_tail_above(&replica->tail, version);
    struct yk_tail_entry *entry = above > 0 ? yk_tail_at(&replica->tail, above - 1) : NULL;
    if (entry != NULL && entry->version == version && entry->position == 0) {
        entry->position = position;
    }
}

void
lane_replicas_journaled(struct yk_lane *lane, uint64_t mark, uint64_t position)
{
    struct waits *waits = &lane->waits;
    while (waits->n > 0 && waits->ring[waits->first].mark <= mark) {
        struct wait wait = waits->ring[waits->first];
        struct yk_replica *replica = replica_of(lane, wait.slot);
        waits->first = (waits->first + 1) & (waits->room - 1);
        waits->n--;
        if (wait.version == WAIT_WIPE || wait.version == WAIT_COPIED) {
            journaled_copy(lane, replica, &wait, position);
            continue;
        }
        if (lane->has_log) {
            note_position(replica, wait.version, position);
            lane_note_needed(lane, position);
        }
        yk_replica_journaled(replica, wait.version, wait.n_cuts);
        if (lane->config.acks == YK_ACKS_PRIMARY) {
            answer_journaled(lane, replica, wait.version);
        }
        lane_touch(lane, replica);
    }
}

uint64_t
lane_uncommitted_from(const struct yk_lane *lane)
{
    uint64_t from = UINT64_MAX;
    for (uint32_t i = 0; lane->is_clustered && i < lane->n_slots; i++) {
        const struct yk_replica *replica = &lane->replicas[i];
        uint32_t above = yk_tail_above(&replica->tail, replica->commit);
        from = MIN(from, lane->slots[i].wiped_from);
        if (above < replica->tail.n) {
            uint64_t position = yk_tail_at(&replica->tail, above)->position;
            from = position != 0 && position < from ? position : from;
        }
    }
    return from;
}

/* So many sequence numbers before the entry's the last committed one stands. */
static uint32_t
lag_of(const struct yk_replica *replica, uint64_t version)
{
    uint64_t lag = (version & SEQUENCE_MAX) - (replica->commit & SEQUENCE_MAX);
    return lag > UINT32_MAX ? UINT32_MAX : (uint32_t)lag;
}

/* Room was set aside. */
static void
journal_entry(struct yk_lane *lane, struct yk_replica *replica, const struct yk_entry *entry)
{
    const struct yk_lane_sink *sink = &lane->config.sink;
    struct yk_entry own = *entry;
    own.bucket = (uint8_t)lane->config.bucket_index;
    own.slot = replica->slot;
    own.lag = entry->kind == YK_ENTRY_CUT ? 1 : lag_of(replica, entry->version);
    uint64_t mark = lane->has_log ? sink->append(sink->arg, lane, &own) : 0;
    if (!push_wait(lane, replica, mark, entry->version)) {
        lane_stop(lane, YK_ENOMEM); /* it would never be answered for */
    }
}

static bool
reserve_entry(struct yk_lane *lane, const struct yk_entry *entry)
{
    const struct yk_lane_sink *sink = &lane->config.sink;
    const char *text;
    return !lane->is_stopped &&
           (!lane->has_log ||
            sink->reserve(sink->arg, lane, yk_entry_size_of(entry), &text) == YK_OK);
}

static struct yk_slice
slice_of(const struct yk_buffer *buffer)
{
    return buffer != NULL ? yk_slice_of(buffer->data, buffer->size) : yk_slice_of(NULL, 0);
}

static bool
replica_append(void *arg, struct yk_replica *replica, const struct yk_tail_entry *entry)
{
    struct yk_lane *lane = arg;
    struct yk_entry own = {.kind = entry->kind,
                           .version = entry->version,
                           .token = entry->token,
                           .key = slice_of(entry->key),
                           .value = slice_of(entry->value)};
    if (lane_is_void_full(replica) || !reserve_entry(lane, &own)) {
        return false;
    }
    journal_entry(lane, replica, &own);
    return true;
}

bool
lane_journal_copy(struct yk_lane *lane, struct yk_replica *replica, const struct yk_entry *entry)
{
    const struct yk_lane_sink *sink = &lane->config.sink;
    if (!reserve_entry(lane, entry)) {
        return false;
    }
    struct yk_entry own = *entry;
    own.bucket = (uint8_t)lane->config.bucket_index;
    own.slot = replica->slot;
    uint64_t mark = lane->has_log ? sink->append(sink->arg, lane, &own) : 0;
    if (entry->kind != YK_ENTRY_COPY &&
        !push_wait(lane, replica, mark, entry->kind == YK_ENTRY_WIPE ? WAIT_WIPE : WAIT_COPIED)) {
        lane_stop(lane, YK_ENOMEM);
    }
    return true;
}

static bool
replica_cut(void *arg, struct yk_replica *replica, uint64_t version)
{
    struct yk_lane *lane = arg;
    struct yk_entry entry = {.kind = YK_ENTRY_CUT, .version = version};
    if (!reserve_entry(lane, &entry)) {
        return false;
    }
    journal_entry(lane, replica, &entry);
    return true;
}

/* What is committed */

static struct yk_overlay_entry *
find_entry(struct yk_lane *lane, const struct yk_replica *replica,
           const struct yk_tail_entry *entry, bool pins)
{
    struct yk_op op = {.request.key = slice_of(entry->key),
                       .hash = entry->hash,
                       .slot = replica->slot,
                       .bucket_index = (uint16_t)lane->config.bucket_index};
    struct yk_overlay_entry *found = yk_overlay_find(&lane->overlay, &op);
    if (found == NULL && pins) {
        found = yk_overlay_pin(&lane->overlay, &op);
        if (found != NULL) {
            found->holder = NULL;
        }
    }
    return found;
}

/* A change that came from elsewhere, or that was found in the journal. */
static void
apply_entry(struct yk_lane *lane, const struct yk_replica *replica,
            const struct yk_tail_entry *entry)
{
    struct yk_overlay_entry *own = find_entry(lane, replica, entry, true);
    if (own == NULL) {
        lane_stop(lane, YK_ENOMEM);
        return;
    }
    if (own->n_prepared == 0) {
        yk_buffer_unref(own->newest);
        own->newest = entry->value;
        own->is_known = true;
        if (entry->value != NULL) {
            yk_buffer_ref(entry->value);
        }
    }
    lane_queue_applied(lane, own, entry->value);
    own->was_admitted = false;
}

bool
lane_put_copied(struct yk_lane *lane, const struct yk_replica *replica,
                const struct yk_entry *record)
{
    struct yk_tail_entry entry = {.kind = YK_ENTRY_PUT,
                                  .hash = yk_hash(record->key),
                                  .key = yk_buffer_new_copy(record->key),
                                  .value = yk_buffer_new_copy(record->value)};
    bool may = entry.key != NULL && entry.value != NULL;
    if (may) {
        apply_entry(lane, replica, &entry);
    }
    yk_buffer_unref(entry.key);
    yk_buffer_unref(entry.value);
    return may && !lane->is_stopped;
}

void
lane_drop_key(struct yk_lane *lane, struct yk_slice key)
{
    struct yk_tail_entry entry = {
        .kind = YK_ENTRY_DELETE, .hash = yk_hash(key), .key = yk_buffer_new_copy(key)};
    if (entry.key == NULL) {
        lane_stop(lane, YK_ENOMEM);
        return;
    }
    apply_entry(lane, replica_of(lane, yk_ring_slot(&lane->config.ring, entry.hash)), &entry);
    yk_buffer_unref(entry.key);
}

static void
end_flush_part(struct yk_lane *lane, struct yk_op *op, bool is_known)
{
    op->is_verdict = op->is_verdict || !is_known;
    if (--op->mark == 0) {
        bool is_unknown = op->is_verdict;
        op->is_verdict = false;
        lane_answer(lane, op, is_unknown ? YK_EUNKNOWN : YK_OK, is_unknown ? unknown_text : NULL);
    }
}

static void
commit_flush(struct yk_lane *lane, struct slot *slot, const struct yk_tail_entry *entry)
{
    slot->flush_version = entry->version;
    lane->has_mortals = true;
    if (entry->waiter != NULL) {
        end_flush_part(lane, entry->waiter, true);
    }
}

/* Refusals that waited for what they were judged on; a refusal is a read too. */
static void
end_verdicts(struct yk_lane *lane, const struct yk_replica *replica, bool is_lost)
{
    struct slot *slot = lane_slot(lane, replica->slot);
    struct yk_op_queue waiting = slot->verdicts;
    struct yk_op *op;
    slot->verdicts = (struct yk_op_queue){NULL, NULL, 0};
    while ((op = yk_op_queue_pop(&waiting)) != NULL) {
        bool is_late = lane->ticked_us - op->since_us >= WAIT_MAX_US;
        if (op->mark > replica->commit && !is_lost && !is_late) {
            yk_op_queue_push(&slot->verdicts, op);
            continue;
        }
        is_late = is_late && op->mark > replica->commit;
        struct yk_overlay_entry *entry = op->entry;
        struct yk_reply reply = op->reply;
        op->is_verdict = false;
        op->entry = NULL;
        entry->n_prepared--;
        if (is_lost || is_late || !lane_may_answer(lane, op->slot)) {
            reply = (struct yk_reply){
                .struct_size = sizeof(reply), .result = YK_ESTALE, .text = lane_not_primary_text};
        }
        lane_end_write(lane, op, &reply);
        lane_entry_idle(lane, entry);
    }
}

static struct yk_overlay_entry *
take_answered(struct yk_tail_entry *entry)
{
    struct yk_overlay_entry *own = entry->waiter;
    entry->waiter = NULL;
    entry->is_answered = false;
    own->n_prepared--;
    return own;
}

static void
commit_answered(struct yk_lane *lane, struct yk_tail_entry *entry)
{
    struct yk_overlay_entry *own = take_answered(entry);
    lane_queue_applied(lane, own, entry->value);
    own->was_admitted = false;
    lane_entry_idle(lane, own);
}

/* The op is to be answered; its entry stays, and what is known of its key. */
static struct yk_op *
detach_waiter(struct yk_tail_entry *entry)
{
    struct yk_op *op = entry->waiter;
    entry->waiter = op->entry;
    entry->is_answered = true;
    op->entry = NULL;
    return op;
}

/* ack = primary: an entry that stands in this node's journal is answered; it is committed, and goes
 * into the engine, when the others have it. */
static void
answer_journaled(struct yk_lane *lane, struct yk_replica *replica, uint64_t version)
{
    uint32_t above = yk_tail_above(&replica->tail, version);
    struct yk_tail_entry *entry = above > 0 ? yk_tail_at(&replica->tail, above - 1) : NULL;
    if (entry == NULL || entry->version != version || entry->version > replica->journaled ||
        entry->waiter == NULL || entry->is_answered || entry->kind == YK_ENTRY_FLUSH) {
        return;
    }
    lane_finish_write(lane, detach_waiter(entry));
}

static void
replica_committed(void *arg, struct yk_replica *replica, struct yk_tail_entry *entry)
{
    struct yk_lane *lane = arg;
    struct slot *slot = lane_slot(lane, replica->slot);
    slot->position = entry->version;
    if (entry->kind == YK_ENTRY_FLUSH) {
        commit_flush(lane, slot, entry);
        return;
    }
    if (entry->kind == YK_ENTRY_DELETE) {
        slot->floor = entry->version;
    }
    if (entry->is_answered) {
        commit_answered(lane, entry);
        return;
    }
    struct yk_op *op = entry->waiter;
    if (op == NULL) {
        apply_entry(lane, replica, entry);
        return;
    }
    struct yk_overlay_entry *own = op->entry;
    entry->waiter = NULL;
    op->entry = NULL;
    own->n_prepared--;
    lane_commit_write(lane, op, own);
    lane_entry_idle(lane, own);
}

/* Proposals */

enum yk_err
lane_may_propose(const struct yk_lane *lane, const struct yk_op *op, const char **ret_text)
{
    const struct yk_replica *replica = replica_of(lane, op->slot);
    if (!yk_replica_serves(replica) || op->version >> YK_SEQUENCE_BITS != replica->record.epoch ||
        op->version <= yk_tail_last(&replica->tail)) {
        *ret_text = lane_not_primary_text;
        return YK_ESTALE;
    }
    if (!yk_replica_takes_writes(replica)) {
        *ret_text = no_copies_text;
        return YK_ESTALE;
    }
    return YK_OK;
}

bool
lane_serves(const struct yk_lane *lane, uint32_t slot)
{
    return yk_replica_serves(replica_of(lane, slot));
}

/* Reads that need not be the newest. */
static bool
is_for_any(const struct yk_lane *lane, const struct yk_op *op)
{
    return lane->reads_by == YK_READS_ANY && yk_op_is_read(op) &&
           yk_replica_is_whole(replica_of(lane, op->slot));
}

/* ★ What was read before this node had reconciled, or in an earlier reign, may be old. */
bool
lane_begins(const struct yk_lane *lane, struct yk_op *op)
{
    const struct yk_replica *replica = replica_of(lane, op->slot);
    op->reign = replica->n_reigns;
    return yk_replica_serves(replica) || is_for_any(lane, op);
}

bool
lane_goes_on(const struct yk_lane *lane, const struct yk_op *op)
{
    const struct yk_replica *replica = replica_of(lane, op->slot);
    return yk_replica_serves(replica) && op->reign == replica->n_reigns;
}

bool
lane_may_answer(const struct yk_lane *lane, uint32_t slot)
{
    const struct yk_replica *replica = replica_of(lane, slot);
    return lane->reads_by == YK_READS_CONFIRM ? yk_replica_serves(replica)
                                              : yk_replica_may_read(replica, boot_us(lane));
}

bool
lane_may_tell(const struct yk_lane *lane, const struct yk_op *op)
{
    return is_for_any(lane, op) || (lane_goes_on(lane, op) && lane_may_answer(lane, op->slot));
}

void
lane_propose(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_replica *replica = replica_of(lane, op->slot);
    struct yk_overlay_entry *entry = op->entry;
    struct yk_tail_entry own = {.version = op->version,
                                .kind = op->record != NULL ? YK_ENTRY_PUT : YK_ENTRY_DELETE,
                                .hash = op->hash,
                                .token = op->token,
                                .key = yk_buffer_new_copy(op->request.key),
                                .value = op->record,
                                .waiter = op};
    if (own.key == NULL || yk_replica_propose(replica, &own) != YK_OK) {
        yk_buffer_unref(own.key);
        lane_unreserve(lane, op);
        lane_fail_write(lane, op, YK_ENOMEM, NULL);
        return;
    }
    if (op->record != NULL) {
        yk_buffer_ref(op->record); /* the tail's */
        yk_buffer_ref(op->record); /* the overlay's */
    }
    journal_entry(lane, replica,
                  &(struct yk_entry){.kind = own.kind,
                                     .version = own.version,
                                     .token = own.token,
                                     .key = op->request.key,
                                     .value = slice_of(op->record)});
    yk_buffer_unref(entry->newest);
    entry->newest = op->record;
    entry->is_known = true;
    op->mark = entry->mark = op->version;
    op->since_us = lane->ticked_us;
    lane_push_prepared(lane, op, entry, NULL);
    lane_touch(lane, replica);
}

void
lane_hold_verdict(struct yk_lane *lane, struct yk_op *op, struct yk_overlay_entry *entry)
{
    op->since_us = lane->ticked_us;
    lane_push_prepared(lane, op, entry, &lane_slot(lane, op->slot)->verdicts);
}

/* ★ It was sent to an earlier reign of this node, and may have been done by another primary since.
 */
bool
lane_is_outdated(const struct yk_lane *lane, const struct yk_op *op)
{
    const struct yk_replica *replica = replica_of(lane, op->slot);
    return op->token != 0 && op->origin == YK_ORIGIN_REMOTE &&
           op->sent_epoch < replica->reign_epoch && replica->setup->mutant != MUTANT_OUTDATED;
}

/* The entry that an earlier try of it left in the log. */
static const struct yk_tail_entry *
find_try(const struct yk_tail *tail, const struct yk_op *op)
{
    for (uint32_t i = yk_tail_above(tail, op->after); i < tail->n; i++) {
        if (yk_tail_at(tail, i)->token == op->token) {
            return yk_tail_at(tail, i);
        }
    }
    return NULL;
}

bool
lane_knows_end(struct yk_lane *lane, struct yk_op *op)
{
    const struct yk_replica *replica = replica_of(lane, op->slot);
    if (replica->setup->mutant == MUTANT_TOKENS) {
        return false;
    }
    const struct yk_tail_entry *done = find_try(&replica->tail, op);
    bool reaches = op->after >= replica->tail.base || replica->setup->mutant == MUTANT_WINDOW;
    if (done == NULL && reaches) {
        return false; /* no try was done, and none can be any more */
    }
    struct yk_reply reply = {.struct_size = sizeof(reply),
                             .result = YK_EUNKNOWN,
                             .flags = YK_REPLY_FORGOTTEN,
                             .text = forgotten_text};
    if (done == NULL) {
        lane_end_write(lane, op, &reply);
        return true;
    }
    lane_tell_done(lane, op, done, &reply);
    if (done->version > replica->commit) {
        op->reply = reply;
        op->is_verdict = true;
        op->mark = done->version;
        lane_hold_verdict(lane, op, op->entry);
    } else {
        lane_end_write(lane, op, &reply);
    }
    return true;
}

static uint64_t
digest_of_own(const struct yk_lane *lane)
{
    uint64_t digest = 0;
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        const struct yk_replica *replica = &lane->replicas[i];
        if (replica->role == YK_REPLICA_PRIMARY) {
            digest = yk_slots_digest_add(digest, replica->slot);
        }
    }
    return digest;
}

/* An entry for each slot of which this node is the primary, which are those that the asker means.
 */
void
lane_flush_clustered(struct yk_lane *lane, struct yk_op *op, uint64_t at_ms)
{
    if (at_ms > lane->now_ms) {
        lane_answer(lane, op, YK_EUNSUPPORTED, "a delayed flush is not supported in a cluster");
        return;
    }
    if (op->request.delta != digest_of_own(lane)) {
        lane_answer(lane, op, YK_ESTALE, lane_not_primary_text);
        return;
    }
    op->mark = 1;
    op->since_us = lane->ticked_us;
    op->is_verdict = false;
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        struct yk_replica *replica = &lane->replicas[i];
        struct slot *slot = &lane->slots[i];
        if (replica->role != YK_REPLICA_PRIMARY) {
            continue;
        }
        struct yk_tail_entry entry = {
            .version = slot_last(slot) + 1, .kind = YK_ENTRY_FLUSH, .waiter = op};
        struct yk_entry own = {.kind = entry.kind, .version = entry.version};
        if (!yk_replica_takes_writes(replica) || slot->sequence == SEQUENCE_MAX ||
            !reserve_entry(lane, &own) || yk_replica_propose(replica, &entry) != YK_OK) {
            op->is_verdict = true;
            continue;
        }
        slot->sequence++;
        slot->flush_prepared = entry.version;
        op->mark++;
        journal_entry(lane, replica, &own);
        lane_touch(lane, replica);
    }
    end_flush_part(lane, op, true);
}

/* Epochs */

/* What was prepared and not committed stays in the log; nobody may tell how it ends. */
static void
forget_waiters(struct yk_lane *lane, struct yk_replica *replica)
{
    for (uint32_t i = yk_tail_above(&replica->tail, replica->commit); i < replica->tail.n; i++) {
        struct yk_tail_entry *entry = yk_tail_at(&replica->tail, i);
        if (entry->is_answered) {
            struct yk_overlay_entry *answered = take_answered(entry);
            lane_forget_prepared(lane, answered);
            lane_entry_idle(lane, answered);
            continue;
        }
        struct yk_op *op = entry->waiter;
        entry->waiter = NULL;
        if (op == NULL) {
            continue;
        }
        if (entry->kind == YK_ENTRY_FLUSH) {
            end_flush_part(lane, op, false);
            continue;
        }
        struct yk_overlay_entry *own = op->entry;
        op->entry = NULL;
        own->n_prepared--;
        lane_forget_prepared(lane, own);
        lane_fail_write(lane, op, YK_EUNKNOWN, unknown_text);
        lane_entry_idle(lane, own);
    }
}

/* The other members do not answer, and no manager says that they are none: whoever waits is told
 * that nobody knows. */
static void
expire_waiters(struct yk_lane *lane, struct yk_replica *replica)
{
    struct yk_tail *tail = &replica->tail;
    if (yk_tail_last(tail) <= replica->commit) {
        return;
    }
    for (uint32_t i = yk_tail_above(tail, replica->commit); i < tail->n; i++) {
        struct yk_tail_entry *entry = yk_tail_at(tail, i);
        struct yk_op *op = entry->waiter;
        if (op == NULL || entry->is_answered) {
            continue;
        }
        if (lane->ticked_us - op->since_us < WAIT_MAX_US) {
            return; /* and so are the later ones */
        }
        if (entry->kind == YK_ENTRY_FLUSH) {
            entry->waiter = NULL;
            end_flush_part(lane, op, false);
        } else {
            lane_fail_write(lane, detach_waiter(entry), YK_EUNKNOWN, unknown_text);
        }
    }
}

static void
replica_changed(void *arg, struct yk_replica *replica, bool steps_down)
{
    struct yk_lane *lane = arg;
    struct slot *slot = lane_slot(lane, replica->slot);
    slot->epoch = replica->record.epoch;
    slot->sequence = yk_tail_last(&replica->tail) & SEQUENCE_MAX;
    if (steps_down) {
        lane_turn_away(lane, replica);
        end_verdicts(lane, replica, true);
        forget_waiters(lane, replica);
        slot->flush_prepared = 0; /* it may be cut */
    }
    if (replica->role == YK_REPLICA_PRIMARY) { /* slot time never goes back */
        /* ★ Who was primary before was not told by anybody: time that ran ahead with each epoch
         * would go back at a restart. */
        uint64_t further_ms =
            replica->is_time_told ? (uint64_t)lane->replica_setup.lease_us / 1000 + 1 : 0;
        uint64_t least_ms = replica->slot_time_ms + further_ms;
        replica->is_time_told = false;
        lane->now_ms = least_ms > lane->now_ms ? least_ms : lane->now_ms;
    }
}

static void
replica_copy(void *arg, struct yk_replica *replica, uint32_t node, uint32_t incarnation)
{
    lane_copy_wanted(arg, replica, node, incarnation);
}

static void
replica_wiped(void *arg, struct yk_replica *replica)
{
    struct yk_lane *lane = arg;
    struct slot *slot = lane_slot(lane, replica->slot);
    /* What is older is absent, though it may still be found in the engine. */
    slot->flush_version = (uint64_t)replica->record.begins << YK_SEQUENCE_BITS;
    slot->position = 0;
    lane->has_mortals = true;
}

/* From outside */

void
yk_lane_view(struct yk_lane *lane, const struct yk_view_bucket *view)
{
    lane->replica_setup.self = view->self;
    if (view->self == YK_NODE_NONE || view->bucket.slots == NULL) {
        return;
    }
    lane->reads_by = view->bucket.description.reads;
    lane->replica_setup.copies = view->bucket.description.copies;
    lane->replica_setup.min_copies = view->bucket.description.min_copies;
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        struct yk_replica *replica = &lane->replicas[i];
        if (replica->slot < view->bucket.description.slots) {
            const struct yk_slot_record *record = &view->bucket.slots[replica->slot];
            yk_replica_configure(replica, record, view->is_fresh, boot_us(lane));
            lane_touch(lane, replica);
        }
    }
}

bool
yk_lane_is_clustered(const struct yk_lane *lane)
{
    return lane->is_clustered;
}

void
yk_lane_on_append(struct yk_lane *lane, uint32_t from, const struct yk_append *append)
{
    struct yk_replica *replica = replica_of(lane, append->slot);
    yk_replica_on_append(replica, from, append, boot_us(lane));
    lane_touch(lane, replica);
}

void
yk_lane_on_ack(struct yk_lane *lane, uint32_t from, const struct yk_ack *ack)
{
    struct yk_replica *replica = replica_of(lane, ack->slot);
    yk_replica_on_ack(replica, from, ack, boot_us(lane));
    end_verdicts(lane, replica, false);
    lane_let_in(lane, replica);
    lane_touch(lane, replica);
}

void
yk_lane_refused(struct yk_lane *lane, const struct yk_slot_wish *wish)
{
    yk_replica_refused(replica_of(lane, wish->slot), wish->wish.kind, wish->wish.epoch,
                       boot_us(lane));
}

void
yk_lane_tick(struct yk_lane *lane)
{
    int64_t now_us = boot_us(lane);
    lane->ticked_us = now_us;
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        struct yk_replica *replica = &lane->replicas[i];
        yk_replica_tick(replica, now_us);
        expire_waiters(lane, replica);
        end_verdicts(lane, replica, false);
        lane_let_in(lane, replica);
        lane_turn_away_late(lane, replica, now_us);
        lane_touch(lane, replica);
    }
    lane_copy_step(lane);
}

struct yk_replica *
yk_lane_next_dirty(struct yk_lane *lane)
{
    if (!lane->has_log) {
        lane_replicas_journaled(lane, 0, 0);
    }
    struct yk_replica *replica = lane->dirty;
    if (replica != NULL) {
        lane->dirty = replica->next_dirty;
        replica->is_dirty = false;
        if (replica->role == YK_REPLICA_PRIMARY) {
            replica->slot_time_ms = lane->now_ms;
        }
        end_verdicts(lane, replica, false);
    }
    return replica;
}

/* Recovery */

static void
begin_at(struct yk_lane *lane, uint32_t index)
{
    struct yk_replica *replica = &lane->replicas[index];
    uint64_t position = lane->slots[index].position;
    if (replica->commit < position) {
        yk_tail_done(&replica->tail);
        yk_tail_init(&replica->tail, position);
        replica->commit = replica->journaled = position;
    }
}

static enum yk_err
replay_committed(struct yk_lane *lane, struct yk_replica *replica, uint64_t sequence)
{
    enum yk_err result = YK_OK;
    while (result == YK_OK && !replica->is_void) {
        uint32_t above = yk_tail_above(&replica->tail, replica->commit);
        const struct yk_tail_entry *entry =
            above < replica->tail.n ? yk_tail_at(&replica->tail, above) : NULL;
        if (entry == NULL || (entry->version & SEQUENCE_MAX) > sequence) {
            break;
        }
        result = lane_replay_change(lane,
                                    &(struct yk_entry){.kind = entry->kind,
                                                       .slot = replica->slot,
                                                       .version = entry->version,
                                                       .key = slice_of(entry->key),
                                                       .value = slice_of(entry->value)},
                                    entry->position);
        replica->commit = entry->version;
    }
    while (replica->tail.n > 0 && replica->tail.bytes > TAIL_BYTES_MAX &&
           yk_tail_at(&replica->tail, 0)->version <= replica->commit) {
        yk_tail_drop_first(&replica->tail);
    }
    return result;
}

static enum yk_err
replay_copy(struct yk_lane *lane, struct yk_replica *replica, const struct yk_entry *entry,
            uint64_t position)
{
    struct slot *slot = lane_slot(lane, replica->slot);
    lane_note_needed(lane, position);
    if (entry->kind == YK_ENTRY_WIPE) {
        yk_tail_done(&replica->tail);
        yk_tail_init(&replica->tail, entry->version);
        replica->commit = entry->version;
        replica->is_void = true;
        slot->position = 0;
        slot->wiped_from = position;
        return lane_replay_wipe(lane, replica->slot);
    } else if (entry->kind == YK_ENTRY_COPY) {
        struct yk_entry put = *entry;
        put.kind = YK_ENTRY_PUT;
        return replica->is_void ? lane_replay_put(lane, &put) : YK_OK;
    } else if (replica->is_void && entry->version == replica->tail.base) {
        replica->is_void = false;
        slot->position = entry->version;
        slot->wiped_from = UINT64_MAX;
        memcpy(&slot->flush_version, entry->value.data, 8);
    }
    return YK_OK;
}

enum yk_err
lane_replay_clustered(struct yk_lane *lane, const struct yk_entry *entry, uint64_t position)
{
    uint32_t index = yk_ring_slot_index(&lane->config.ring, entry->slot);
    struct yk_replica *replica = &lane->replicas[index];
    begin_at(lane, index);
    if (entry->kind == YK_ENTRY_WIPE || entry->kind == YK_ENTRY_COPY ||
        entry->kind == YK_ENTRY_COPIED) {
        return replay_copy(lane, replica, entry, position);
    }
    if (entry->kind == YK_ENTRY_CUT) {
        if (entry->version >= replica->commit) {
            yk_tail_cut(&replica->tail, entry->version);
        }
        return YK_OK;
    }
    if (entry->version <= replica->commit) {
        return YK_OK; /* before the checkpoint */
    }
    if (entry->version <= yk_tail_last(&replica->tail)) {
        return YK_ECORRUPT;
    }
    struct yk_tail_entry own = {.version = entry->version,
                                .position = position,
                                .token = entry->token,
                                .hash = entry->key.size > 0 ? yk_hash(entry->key) : 0,
                                .kind = entry->kind,
                                .key = entry->key.size > 0 ? yk_buffer_new_copy(entry->key) : NULL,
                                .value = entry->value.size > 0 ? yk_buffer_new_copy(entry->value)
                                                               : NULL};
    if ((entry->key.size > 0 && own.key == NULL) || (entry->value.size > 0 && own.value == NULL) ||
        yk_tail_push(&replica->tail, &own) != YK_OK) {
        yk_buffer_unref(own.key);
        yk_buffer_unref(own.value);
        return YK_ENOMEM;
    }
    lane_note_needed(lane, position);
    uint64_t sequence = entry->version & SEQUENCE_MAX;
    return replay_committed(lane, replica, sequence > entry->lag ? sequence - entry->lag : 0);
}

void
lane_recovered_clustered(struct yk_lane *lane)
{
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        struct yk_replica *replica = &lane->replicas[i];
        begin_at(lane, i);
        replica->journaled = yk_tail_last(&replica->tail);
        replica->slot_time_ms = lane->now_ms;
    }
}

/* Life */

enum yk_err
lane_clustered_init(struct yk_lane *lane)
{
    const struct yk_lane_config *config = &lane->config;
    lane->ticked_us = boot_us(lane);
    lane->replicas = calloc(lane->n_slots, sizeof(struct yk_replica));
    if (lane->replicas == NULL) {
        return YK_ENOMEM;
    }
    lane->replica_setup =
        (struct yk_replica_setup){.self = YK_NODE_NONE,
                                  .nonce = config->nonce,
                                  .incarnation = config->incarnation,
                                  .mutant = config->mutant,
                                  .forgets = config->durability == YK_DURABILITY_MEMORY,
                                  .lease_us = config->lease_us,
                                  .grace_us = config->grace_us,
                                  .beacon_us = config->lease_us / 10,
                                  .tail_bytes_max = TAIL_BYTES_MAX,
                                  .uncommitted_max = UNCOMMITTED_MAX,
                                  .sink = {lane, replica_append, replica_cut, replica_committed,
                                           replica_changed, replica_copy, replica_wiped}};
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        uint32_t slot = i * config->ring.n_lanes + config->lane;
        lane->slots[i].wiped_from = UINT64_MAX;
        yk_replica_init(&lane->replicas[i], &lane->replica_setup, (uint16_t)slot, 0, boot_us(lane));
    }
    return lane_copying_init(lane);
}

void
lane_clustered_done(struct yk_lane *lane)
{
    for (uint32_t i = 0; lane->replicas != NULL && i < lane->n_slots; i++) {
        yk_replica_done(&lane->replicas[i]);
    }
    lane_copying_done(lane);
    free(lane->replicas);
    free(lane->waits.ring);
}
