/* Writes of a lane that has a journal: judged against the newest record that was prepared, put into
 * the journal, and ended when they stand there.
 *
 *     judged -> [admitted] -> prepared -> (the journal has it) committed -> answered
 *                                                              \-> into the engine: apply.c
 *
 * A write that is refused, or changes nothing, is a read too: where it was judged on what is not
 * committed, its answer (the verdict) waits with the others for the journal. */
#include <config.h>

#include "core/replica/machine.h"

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/store/decide.h"

enum { STUCK_MAX = 1024, BEHIND_BYTES = 16 * 1024 * 1024, BEHIND_MAX = 16384, RETRY_MS = 1000 };

static const char full_text[] = "no space left for this part of the keys; see the log";

bool
lane_is_behind(const struct yk_lane *lane)
{
    return lane->n_unapplied > BEHIND_MAX || lane->unapplied_bytes > BEHIND_BYTES;
}

bool
lane_find_committed(const struct yk_lane *lane, const struct yk_op *op,
                    struct yk_buffer **ret_record)
{
    const struct yk_overlay_entry *entry = yk_overlay_find(&lane->overlay, op);
    bool is_answered = lane->config.acks == YK_ACKS_PRIMARY && lane->is_clustered;
    if (is_answered && entry != NULL && entry->n_prepared > 0 && entry->is_known) {
        *ret_record = entry->newest; /* or a client would not see what it has just written */
        return true;
    }
    if (entry == NULL || (!entry->has_committed && !entry->is_applying)) {
        return false;
    }
    *ret_record = entry->has_committed ? entry->committed : entry->applying;
    return true;
}

/* Taking up */

bool
lane_take_journaled(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_overlay_entry *entry = op->entry;
    if (lane->is_clustered && op->errand == YK_ERRAND_NONE &&
        (!lane_begins(lane, op) || lane_is_outdated(lane, op))) {
        lane_fail_write(lane, op, YK_ESTALE, lane_not_primary_text);
        return false;
    }
    if (entry == NULL) {
        entry = yk_overlay_find(&lane->overlay, op);
        if (entry != NULL && (entry->holder != NULL || lane->admits_late)) {
            yk_op_queue_push(&entry->waiters, op);
            return false;
        }
        if (entry == NULL) {
            entry = yk_overlay_pin(&lane->overlay, op);
        }
        if (entry == NULL) {
            lane_fail_write(lane, op, YK_ENOMEM, NULL);
            return false;
        }
        entry->holder = op;
        op->entry = entry;
    }
    if (op->is_again && lane_knows_end(lane, op)) {
        return false;
    }
    bool is_errand = op->errand != YK_ERRAND_NONE;
    if (is_errand && entry->is_known) {
        lane_fail_write(lane, op, YK_ENOTFOUND, NULL); /* it was written since */
        return false;
    }
    if (!entry->is_known && (is_errand || yk_decide_needs_old(&op->request))) {
        return true;
    }
    lane_judge(lane, op,
               entry->newest != NULL ? yk_slice_of(entry->newest->data, entry->newest->size)
                                     : yk_slice_of(NULL, 0));
    return false;
}

static void
requeue_waiters(struct yk_lane *lane, struct yk_overlay_entry *entry)
{
    struct yk_op *op;
    while ((op = yk_op_queue_pop(&entry->waiters)) != NULL) {
        yk_op_queue_push(&lane->queue, op);
    }
}

void
lane_let_go(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_overlay_entry *entry = op->entry;
    op->entry = NULL;
    entry->holder = NULL;
    if (!lane->admits_late) {
        requeue_waiters(lane, entry);
    }
    lane_entry_idle(lane, entry);
}

void
lane_entry_idle(struct yk_lane *lane, struct yk_overlay_entry *entry)
{
    if (entry->holder == NULL && entry->n_prepared == 0 && !entry->has_committed &&
        !entry->is_applying) {
        requeue_waiters(lane, entry);
        yk_overlay_forget(&lane->overlay, entry);
    }
}

/* Waits in that queue (NULL: in the tail of its slot's log), and its key remembers what it stands
 * for. */
void
lane_push_prepared(struct yk_lane *lane, struct yk_op *op, struct yk_overlay_entry *entry,
                   struct yk_op_queue *queue)
{
    entry->n_prepared++;
    entry->holder = NULL;
    op->entry = entry;
    if (queue != NULL) {
        yk_op_queue_push(queue, op);
    }
    if (!lane->admits_late) {
        requeue_waiters(lane, entry);
    }
}

bool
lane_holds_verdict(struct yk_lane *lane, struct yk_op *op, const struct yk_reply *reply)
{
    struct yk_overlay_entry *entry = op->entry;
    const struct slot *slot = lane_slot(lane, op->slot);
    bool waits_flush = lane->is_clustered && slot->flush_prepared > slot->flush_version;
    if ((entry->n_prepared == 0 && !waits_flush) || op->errand != YK_ERRAND_NONE) {
        return false;
    }
    op->reply = *reply;
    if (reply->value.size > 0 && op->known == NULL) {
        yk_buffer_ref(entry->newest); /* the value lies in it */
        op->known = entry->newest;
        op->reply.value_buffer = entry->newest;
    }
    op->is_verdict = true;
    op->mark =
        waits_flush && slot->flush_prepared > entry->mark ? slot->flush_prepared : entry->mark;
    if (lane->is_clustered) {
        lane_hold_verdict(lane, op, entry);
    } else {
        lane_push_prepared(lane, op, entry, &lane->prepared);
    }
    return true;
}

/* Into the journal */

/* A record that has ended goes without the journal: whoever replays that finds it ended too. */
static void
reclaim(struct yk_lane *lane, struct yk_op *op)
{
    struct slot *slot = lane_slot(lane, op->slot);
    struct yk_overlay_entry *entry = op->entry;
    /* ★ What its primary had committed since the record was read is not what has ended. */
    bool is_other = entry->is_known && !(op->is_known && op->known == entry->newest);
    if (lane->is_clustered && is_other) {
        lane_fail_write(lane, op, YK_ENOTFOUND, NULL);
        return;
    }
    slot->floor = op->version > slot->floor ? op->version : slot->floor;
    if (lane->is_inline && !lane->is_clustered) {
        struct yk_change change = {.key = lane_entry_key(lane, entry), .kind = YK_CHANGE_DELETE};
        lane_apply_now(lane, &change);
    } else {
        entry->is_known = true;
        lane_queue_applied(lane, entry, NULL);
    }
    lane_fail_write(lane, op, YK_OK, NULL);
}

void
lane_prepare(struct yk_lane *lane, struct yk_op *op)
{
    const struct yk_lane_sink *sink = &lane->config.sink;
    struct yk_overlay_entry *entry = op->entry;
    if (op->errand == YK_ERRAND_SWEEP) {
        reclaim(lane, op);
        return;
    }
    if (lane->is_clustered) {
        lane_propose(lane, op);
        return;
    }
    struct yk_entry change = {.kind = op->record != NULL ? YK_ENTRY_PUT : YK_ENTRY_DELETE,
                              .bucket = (uint8_t)lane->config.bucket_index,
                              .slot = op->slot,
                              .version = op->version,
                              .key = op->request.key};
    if (op->record != NULL) {
        change.value = yk_slice_of(op->record->data, op->record->size);
        yk_buffer_ref(op->record);
    }
    op->mark = entry->mark = sink->append(sink->arg, lane, &change);
    yk_buffer_unref(entry->newest);
    entry->newest = op->record;
    entry->is_known = true;
    lane_push_prepared(lane, op, entry, &lane->prepared);
}

static uint64_t
journal_size(const struct yk_op *op)
{
    return op->errand != YK_ERRAND_NONE
               ? 0
               : yk_entry_size(op->request.key.size, op->record != NULL ? op->record->size : 0) +
                     (op->token != 0 ? YK_ENTRY_TOKEN_SIZE : 0);
}

/* May it go to the journal, and has it room there? */
static enum yk_err
reserve(struct yk_lane *lane, const struct yk_op *op, const char **ret_text)
{
    const struct yk_lane_sink *sink = &lane->config.sink;
    uint64_t size = journal_size(op);
    if (lane->is_stopped) {
        *ret_text = lane_stopped_text;
        return YK_ESTOPPED;
    }
    if (lane->is_full && (op->record != NULL || lane->n_stuck > STUCK_MAX)) {
        *ret_text = full_text;
        return YK_ENOSPACE;
    }
    if (lane->is_clustered && op->errand == YK_ERRAND_NONE) {
        enum yk_err result = lane_may_propose(lane, op, ret_text);
        if (result != YK_OK) {
            return result;
        }
    }
    return size > 0 && lane->has_log ? sink->reserve(sink->arg, lane, size, ret_text) : YK_OK;
}

void
lane_unreserve(struct yk_lane *lane, const struct yk_op *op)
{
    const struct yk_lane_sink *sink = &lane->config.sink;
    if (lane->has_log && journal_size(op) > 0) {
        sink->unreserve(sink->arg, lane, journal_size(op));
    }
}

static enum yk_err
admit(struct yk_lane *lane, const struct yk_op *op)
{
    struct yk_change change;
    if (!lane->is_inline || lane->is_clustered) {
        return YK_OK; /* the stack has nothing against any, or is asked when it is committed */
    }
    lane_fill_change(lane, op, &change);
    return yk_stack_admit(lane->config.stack, &change);
}

/* False: there is no room beside what waits to be applied; it stays the first. */
static bool
prepare_first(struct yk_lane *lane)
{
    struct yk_op *op = lane->decided.first;
    const char *text = NULL;
    enum yk_err result = reserve(lane, op, &text);
    if (result == YK_OK) {
        result = admit(lane, op);
        if (result != YK_OK) {
            lane_unreserve(lane, op);
        }
        if (result == YK_ENOMEM && lane_has_unapplied(lane)) {
            return false;
        }
    }
    (void)yk_op_queue_pop(&lane->decided);
    if (result == YK_OK) {
        lane_prepare(lane, op);
    } else {
        lane_fail_write(lane, op, result, text);
    }
    return true;
}

void
lane_prepare_all(struct yk_lane *lane)
{
    while (!lane->admits_late && !lane->waits_room && lane->decided.first != NULL) {
        lane->waits_room = !prepare_first(lane);
    }
}

/* A write that another thread has admitted. */
void
lane_prepare_admitted(struct yk_lane *lane, struct yk_op *op)
{
    const char *text = NULL;
    enum yk_err result = reserve(lane, op, &text);
    if (result == YK_OK) {
        lane_prepare(lane, op);
    } else {
        lane_fail_write(lane, op, result, text);
    }
}

/* Flushes */

void
lane_flush_journaled(struct yk_lane *lane, struct yk_op *op, uint64_t at_ms)
{
    if (op == NULL &&
        (lane->is_flushing || lane->is_stopped || lane->flush_retry_ms > lane->now_ms)) {
        return;
    }
    YK_ASSERT(!lane->is_flushing && !lane->is_stopped);
    lane->is_flushing = true;
    lane->flush_waiting = op != NULL ? op : lane->flush_op;
    lane->flush_waiting_ms = at_ms;
}

static void commit_flush(struct yk_lane *lane, struct yk_op *flush);

/* False: no slot of the bucket is this lane's. */
static bool
append_flush(struct yk_lane *lane, struct yk_op *flush, bool is_due)
{
    bool has_any = false;
    const struct yk_lane_sink *sink = &lane->config.sink;
    uint32_t n_slots = 1u << lane->config.ring.slot_bits;
    struct yk_entry entry = {.kind = is_due ? YK_ENTRY_FLUSH : YK_ENTRY_FLUSH_AT,
                             .bucket = (uint8_t)lane->config.bucket_index};
    if (!is_due) {
        entry.value = yk_slice_of(&lane->flush_waiting_ms, 8);
    }
    for (uint32_t i = 0; i < (is_due ? lane->n_slots : 1); i++) {
        uint32_t slot = i * lane->config.ring.n_lanes + lane->config.lane;
        if (slot < n_slots) {
            entry.slot = (uint16_t)slot;
            lane->slots[i].sequence++;
            entry.version = slot_last(&lane->slots[i]);
            flush->mark = sink->append(sink->arg, lane, &entry);
            has_any = true;
        }
    }
    return has_any;
}

/* All that came before it is judged: it takes its place in the journal. */
void
lane_start_flush(struct yk_lane *lane)
{
    const struct yk_lane_sink *sink = &lane->config.sink;
    struct yk_op *flush = lane->flush_waiting;
    const char *text = NULL;
    if (flush == NULL || lane->decided.first != NULL) {
        return;
    }
    bool is_due = lane->flush_waiting_ms <= lane->now_ms;
    lane->flush_waiting = NULL;
    enum yk_err result =
        sink->reserve(sink->arg, lane, (is_due ? lane->n_slots : 1) * yk_entry_size(0, 8), &text);
    if (result == YK_OK) {
        flush->version = is_due ? 0 : lane->flush_waiting_ms;
        if (append_flush(lane, flush, is_due)) {
            yk_op_queue_push(&lane->prepared, flush);
        } else {
            commit_flush(lane, flush);
        }
        return;
    }
    lane->is_flushing = false;
    if (flush == lane->flush_op) {
        lane->flush_retry_ms = lane->now_ms + RETRY_MS;
    } else {
        lane_answer(lane, flush, result, text);
    }
}

static void
commit_flush(struct yk_lane *lane, struct yk_op *flush)
{
    lane->is_flushing = false;
    lane->flush_at_ms = flush->version;
    lane->has_mortals = true;
    if (flush->version == 0) {
        lane_flush_slots(lane);
        for (uint32_t i = 0; i < lane->n_slots; i++) {
            lane->slots[i].position = lane->slots[i].flush_version;
        }
    } else {
        lane->slots[0].position = slot_last(&lane->slots[0]); /* of its entry */
    }
    if (flush != lane->flush_op) {
        lane_answer(lane, flush, YK_OK, NULL);
    }
}

/* Out of the journal */

void
lane_note_needed(struct yk_lane *lane, uint64_t position)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    if (lane->needed_from == UINT64_MAX) {
        lane->needed_from = position;
    }
    if (checkpoint->state != CHECKPOINT_NONE && checkpoint->needed_next == UINT64_MAX) {
        checkpoint->needed_next = position;
    }
}

void
lane_forget_prepared(struct yk_lane *lane, struct yk_overlay_entry *entry)
{
    struct yk_buffer *left = entry->has_committed ? entry->committed : entry->applying;
    if (entry->n_prepared > 0) {
        return; /* the last one that is forgotten does it */
    }
    if (left != NULL) {
        yk_buffer_ref(left);
    }
    yk_buffer_unref(entry->newest);
    entry->newest = left;
    entry->is_known = entry->has_committed || entry->is_applying;
    (void)lane;
}

void
lane_commit_write(struct yk_lane *lane, struct yk_op *op, struct yk_overlay_entry *entry)
{
    struct slot *slot = lane_slot(lane, op->slot);
    slot->position = op->version;
    if (op->record == NULL) {
        slot->floor = op->version; /* with one member a deletion is forgotten at once */
    }
    if (!lane->is_inline || lane->is_clustered) {
        lane_queue_applied(lane, entry, op->record);
        entry->was_admitted = !lane->is_clustered;
        lane_finish_write(lane, op);
        return;
    }
    struct yk_change change;
    lane_fill_change(lane, op, &change);
    lane_apply_now(lane, &change);
    if (entry->n_prepared == 0) {
        yk_buffer_unref(entry->newest); /* the engine has it */
        entry->newest = NULL;
        entry->is_known = false;
    }
    if (lane->is_stopped) {
        lane_fail_write(lane, op, YK_EIO, lane_stopped_text);
    } else {
        lane_finish_write(lane, op);
    }
}

void
yk_lane_journaled(struct yk_lane *lane, uint64_t mark, uint64_t position)
{
    struct yk_op *op;
    if (lane->is_clustered) {
        lane_replicas_journaled(lane, mark, position);
    }
    while ((op = lane->prepared.first) != NULL && op->mark <= mark) {
        struct yk_overlay_entry *entry = op->entry;
        (void)yk_op_queue_pop(&lane->prepared);
        if (op->request.op == YK_OP_FLUSH) {
            lane_note_needed(lane, position);
            commit_flush(lane, op);
            continue;
        }
        op->entry = NULL;
        entry->n_prepared--;
        if (op->is_verdict) {
            struct yk_reply reply = op->reply;
            op->is_verdict = false;
            lane_end_write(lane, op, &reply);
        } else {
            lane_note_needed(lane, position);
            lane_commit_write(lane, op, entry);
        }
        lane_entry_idle(lane, entry);
    }
    lane->waits_room = false;
}
