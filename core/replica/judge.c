/* Judging: what the engine read becomes an answer, or a change; and how ops end. */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/store/decide.h"

enum {
    COMPLAINT_MS = 1000, /* least time between two lines on what cannot be read */
    SPARE_SIZE = 1024    /* bytes of a record buffer that is kept for the next write */
};

/* Ends */

static void
free_errand(struct yk_lane *lane, struct yk_op *op)
{
    lane->n_errands--;
    free(op->pinned);
    free(op);
}

/* Hands the key to the next write that waits for it, with what this one left there, if that is
 * known. */
static void
release_key(struct yk_lane *lane, struct yk_op *op, bool is_applied)
{
    struct yk_op *next = yk_overlay_release(&lane->overlay, op->entry);
    if (next == NULL) {
        return;
    }
    struct yk_buffer *left = is_applied ? op->record : op->known;
    next->is_known = is_applied || op->is_known;
    if (next->is_known && left != NULL) {
        yk_buffer_ref(left);
        next->known = left;
    }
    yk_op_queue_push(&lane->queue, next);
}

static void
drop_record(struct yk_lane *lane, struct yk_buffer *record)
{
    bool may_spare = lane->is_inline && !yk_lane_is_clustered(lane) && lane->spare == NULL &&
                     record != NULL && record->size <= SPARE_SIZE &&
                     __atomic_load_n(&record->n_refs, __ATOMIC_ACQUIRE) == 1;
    if (may_spare) {
        lane->spare = record;
    } else {
        yk_buffer_unref(record);
    }
}

static void
end_write(struct yk_lane *lane, struct yk_op *op, const struct yk_reply *reply, bool is_applied)
{
    enum yk_err result = (enum yk_err)reply->result;
    bool is_errand = op->errand != YK_ERRAND_NONE;
    struct yk_buffer *record = op->record, *old = op->old, *known = op->known;
    if (lane->is_journaled && op->entry != NULL) {
        if (lane_holds_verdict(lane, op, reply)) {
            return;
        }
        lane_let_go(lane, op);
    } else if (op->entry != NULL) {
        release_key(lane, op, is_applied);
    }
    op->record = op->old = op->known = NULL;
    op->is_known = false;
    if (op->errand == YK_ERRAND_SWEEP) {
        free_errand(lane, op);
    } else if (op->errand == YK_ERRAND_MARKS) {
        lane_marks_stored(lane, op, result);
    } else {
        (void)lane->config.sink.done(lane->config.sink.arg, op, reply);
    }
    if (is_errand) {
        yk_buffer_unref(record); /* a page of marks, made elsewhere */
    } else {
        drop_record(lane, record);
    }
    yk_buffer_unref(old);
    yk_buffer_unref(known);
}

void
lane_fail_write(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text)
{
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result, .text = text};
    end_write(lane, op, &reply, false);
}

void
lane_end_write(struct yk_lane *lane, struct yk_op *op, const struct yk_reply *reply)
{
    end_write(lane, op, reply, false);
}

void
lane_answer(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text)
{
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result, .text = text};
    (void)lane->config.sink.done(lane->config.sink.arg, op, &reply);
}

const char lane_not_primary_text[] = "this node does not serve this part of the keys now";
const char lane_stopped_text[] = "the storage of this part of the keys has failed; see the log";

/* Counts it, and says so now and then. */
static void
complain(struct yk_lane *lane, const struct yk_op *op, enum yk_err result)
{
    lane->n_damaged += result == YK_ECORRUPT ? 1 : 0;
    if (lane->complained_ms != 0 && lane->now_ms < lane->complained_ms + COMPLAINT_MS) {
        return;
    }
    lane->complained_ms = lane->now_ms;
    yk_log(lane->config.world, YK_LOG_ERROR, "store",
           "cannot read a record bucket=%u lane=%u slot=%u damaged_so_far=%llu error=\"%s\"",
           lane->config.bucket_index, lane->config.lane, op->slot,
           (unsigned long long)lane->n_damaged, yk_err_text(result));
}

/* Judging */

/* Of an engine that answers at once every record up to SPARE_SIZE has room for so much, where no
 * log keeps it. */
static struct yk_buffer *
take_buffer(struct yk_lane *lane, size_t size)
{
    bool may_spare = lane->is_inline && !yk_lane_is_clustered(lane) && size <= SPARE_SIZE;
    struct yk_buffer *buffer = lane->spare;
    if (!may_spare || buffer == NULL) {
        buffer = yk_buffer_new(may_spare ? SPARE_SIZE : size);
    } else {
        lane->spare = NULL;
    }
    if (buffer != NULL) {
        buffer->size = size;
    }
    return buffer;
}

/* Makes the record that the decision asks for; the value's parts go straight behind the head. */
static struct yk_buffer *
build_record(struct yk_lane *lane, const struct yk_op *op, struct yk_decision *decision)
{
    size_t size = yk_record_size(&decision->record, lane->with_checksum);
    struct yk_buffer *buffer = take_buffer(lane, size);
    if (buffer == NULL) {
        return NULL;
    }
    uint8_t *to = buffer->data + size - decision->record.value.size;
    for (int i = 0; i < 2; i++) {
        if (decision->parts[i].size > 0) {
            memcpy(to, decision->parts[i].data, decision->parts[i].size);
            to += decision->parts[i].size;
        }
    }
    yk_record_encode(&decision->record, lane->with_checksum, op->hash, buffer->data);
    return buffer;
}

static bool
wants_value(const struct yk_op *op)
{
    return op->request.op == YK_OP_GET || (op->request.flags & YK_REQUEST_VALUE) != 0;
}

static void
tell_hint(const struct yk_op *op, struct yk_reply *reply)
{
    reply->flags |= op->was_hit ? YK_REPLY_WAS_HIT : 0;
    reply->last_access_ms = op->last_access_ms;
}

static void
note_access(struct yk_lane *lane, const struct yk_op *op, bool is_hit)
{
    if (lane->recall != NULL) {
        yk_recall_note(lane->recall, op->hash, is_hit, lane->now_ms);
    }
}

static void
fill_hit(const struct yk_op *op, const struct yk_record *record, uint32_t flags,
         struct yk_reply *reply)
{
    *reply = (struct yk_reply){.struct_size = sizeof(*reply),
                               .result = YK_OK,
                               .flags = flags,
                               .client_flags = record->client_flags,
                               .version = yk_record_shown_cas(record),
                               .expiry_ms = record->expiry_ms,
                               .value = record->value};
    if (op->is_cached_there && record->cas == 0) {
        reply->flags |= YK_REPLY_IS_VERSION;
    }
    tell_hint(op, reply);
}

static void
accept_change(struct yk_lane *lane, struct yk_op *op, struct yk_decision *decision,
              const struct yk_record *old)
{
    struct slot *slot = lane_slot(lane, op->slot);
    if (slot->sequence == SEQUENCE_MAX) {
        lane_fail_write(lane, op, YK_ENOSPACE, "the slot has used up its versions");
        return;
    }
    slot->sequence++;
    op->version = decision->record.version = slot_last(slot);
    if (!decision->is_delete) {
        op->record = build_record(lane, op, decision);
        if (op->record == NULL) {
            lane_fail_write(lane, op, YK_ENOMEM, NULL);
            return;
        }
        lane->has_mortals = lane->has_mortals || decision->record.expiry_ms != 0;
    }
    op->reply = (struct yk_reply){.struct_size = sizeof(op->reply),
                                  .result = decision->result,
                                  .version = yk_record_shown_cas(&decision->record),
                                  .client_flags = decision->record.client_flags,
                                  .expiry_ms = decision->record.expiry_ms,
                                  .flags = decision->reply_flags,
                                  .number = decision->number};
    tell_hint(op, &op->reply);
    note_access(lane, op, wants_value(op) && old != NULL);
    if (wants_value(op) && op->record == NULL && old != NULL) {
        op->old =
            yk_buffer_new_copy(old->value); /* read and ended at once: a touch into the past */
        if (op->old == NULL) {
            lane_fail_write(lane, op, YK_ENOMEM, NULL);
            return;
        }
    }
    yk_op_queue_push(&lane->decided, op);
}

/* What accept_change has once said of it, as far as the log tells. */
void
lane_tell_done(const struct yk_lane *lane, struct yk_op *op, const struct yk_tail_entry *done,
               struct yk_reply *reply)
{
    struct yk_record record = {.version = done->version};
    bool is_sum = op->request.op == YK_OP_ARITH || yk_decide_is_joining(&op->request);
    bool is_there =
        done->value != NULL && yk_record_decode(yk_slice_of(done->value->data, done->value->size),
                                                lane->with_checksum, op->hash, &record) == YK_OK;
    if (!is_there && is_sum) {
        return; /* it had ended when it was made: what it was is not told anywhere */
    }
    *reply = (struct yk_reply){.struct_size = sizeof(*reply), .result = YK_OK};
    reply->version = yk_record_shown_cas(&record);
    reply->client_flags = record.client_flags;
    reply->expiry_ms = record.expiry_ms;
    reply->number = is_there ? record.value.size : op->request.value.size;
    if (op->request.op == YK_OP_ARITH) {
        (void)yk_decide_number(record.value, &reply->number);
    }
    if (is_there && wants_value(op)) {
        yk_buffer_ref(done->value);
        op->known = done->value;
        reply->value = record.value;
        reply->value_buffer = done->value;
    }
}

/* An errand drops the record if it has ended by now. */
static void
judge_errand(struct yk_lane *lane, struct yk_op *op, const struct yk_record *old)
{
    if (old == NULL || lane_sees(lane, op->slot, old) ||
        (lane->is_clustered && !lane_may_reclaim(lane, op->slot, old))) {
        lane_fail_write(lane, op, YK_ENOTFOUND, NULL);
        return;
    }
    op->reply.result = YK_OK;
    op->version = old->version;
    yk_op_queue_push(&lane->decided, op);
}

bool
lane_may_reclaim(const struct yk_lane *lane, uint32_t slot, const struct yk_record *record)
{
    const struct yk_replica *replica =
        &lane->replicas[yk_ring_slot_index(&lane->config.ring, slot)];
    return lane_serves(lane, slot) || record->version <= lane_slot(lane, slot)->flush_version ||
           (record->expiry_ms != 0 && record->expiry_ms <= (int64_t)replica->slot_time_ms);
}

/* A write of another's slot is refused; and so is a verdict, which is a read, without a lease. What
 * was judged on something prepared waits for that first. */
static bool
may_end(struct yk_lane *lane, struct yk_op *op, const struct yk_decision *decision)
{
    bool may = lane_goes_on(lane, op) && (decision->is_change || op->entry->n_prepared > 0 ||
                                          lane_may_answer(lane, op->slot));
    if (!may) {
        lane_fail_write(lane, op, YK_ESTALE, lane_not_primary_text);
    }
    return may;
}

/* old: the stored record, empty: there is none. */
void
lane_judge(struct yk_lane *lane, struct yk_op *op, struct yk_slice old)
{
    struct yk_record record;
    const struct yk_record *seen = NULL;
    if (old.size > 0) {
        enum yk_err result = yk_record_decode(old, lane->with_checksum, op->hash, &record);
        if (result != YK_OK && yk_decide_needs_old(&op->request)) {
            complain(lane, op, result);
            lane_fail_write(lane, op, result, "the stored record is damaged");
            return;
        }
        seen = result == YK_OK ? &record : NULL;
    }
    if (op->errand == YK_ERRAND_SWEEP) {
        judge_errand(lane, op, seen);
        return;
    }
    if (seen != NULL && !lane_judges_on(lane, op->slot, seen)) {
        seen = NULL;
    }
    struct yk_decision decision;
    yk_decide(&op->request, seen, lane->now_ms, lane->config.value_size_max, &decision);
    if (lane->is_clustered && !may_end(lane, op, &decision)) {
        return;
    }
    if (!decision.is_change && decision.result == YK_OK && seen != NULL) {
        struct yk_reply reply;
        note_access(lane, op, true);
        fill_hit(op, seen, decision.reply_flags, &reply);
        end_write(lane, op, &reply, false);
        return;
    }
    if (!decision.is_change) {
        lane_fail_write(lane, op, decision.result, NULL);
        return;
    }
    accept_change(lane, op, &decision, seen);
}

/* Answers of the engine */

/* A read that found something to write is done again as a write; and so is one that found a record
 * which has ended, and on which a write under way may have been judged while it had not. */
static void
promote(struct yk_lane *lane, struct yk_op *op)
{
    op->is_promoted = true;
    yk_op_queue_push(&lane->queue, op);
}

/* ★ It has found a record that has ended: may a write have been judged on that while it had not,
 * and be on its way, or have come since an executor read it? */
static bool
may_be_passed(const struct yk_lane *lane, const struct yk_op *op)
{
    const struct yk_overlay_entry *entry = yk_overlay_find(&lane->overlay, op);
    bool writes = !lane->is_clustered || lane_serves(lane, op->slot);
    return (entry != NULL && entry->n_prepared > 0) || (!lane->is_inline && writes);
}

/* False: it is not to be answered yet. */
static bool
fill_get(struct yk_lane *lane, struct yk_op *op, struct yk_slice bytes, struct yk_reply *reply)
{
    struct yk_record record;
    uint32_t flags = 0;
    enum yk_err result = yk_record_read(bytes, lane->with_checksum, op->hash, &record);
    if (result != YK_OK) {
        complain(lane, op, result);
        *reply = (struct yk_reply){.struct_size = sizeof(*reply),
                                   .result = result,
                                   .text = "the stored record is damaged"};
        return true;
    }
    if (!lane_sees(lane, op->slot, &record)) {
        if (record.expiry_ms != 0 && may_be_passed(lane, op)) {
            return false;
        }
        *reply = (struct yk_reply){.struct_size = sizeof(*reply), .result = YK_ENOTFOUND};
        return true;
    }
    if (record.marks != 0) {
        struct yk_decision decision;
        yk_decide(&op->request, &record, lane->now_ms, lane->config.value_size_max, &decision);
        if (decision.is_change) {
            return false;
        }
        flags = decision.reply_flags;
    }
    note_access(lane, op, true);
    fill_hit(op, &record, flags, reply);
    return true;
}

/* Ends a GET; bytes are lent, or lie in buffer. */
static void
end_get(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice bytes,
        struct yk_buffer *buffer)
{
    struct yk_reply reply;
    if (lane->is_clustered && !lane_may_tell(lane, op)) { /* a clock read after it */
        lane_answer(lane, op, YK_ESTALE, lane_not_primary_text);
        return;
    }
    if (result == YK_OK && !fill_get(lane, op, bytes, &reply)) {
        promote(lane, op);
        return;
    }
    if (result != YK_OK) {
        reply = (struct yk_reply){.struct_size = sizeof(reply), .result = result};
    }
    if (reply.result == YK_OK) {
        reply.value_buffer = buffer;
    } else if (result != YK_OK && result != YK_ENOTFOUND) {
        complain(lane, op, result);
    }
    if (!lane->config.sink.done(lane->config.sink.arg, op, &reply)) {
        YK_ASSERT(!op->is_kept);
    }
}

/* More than may be copied for it. */
static bool
is_too_much(const struct yk_op *op, size_t size)
{
    return op->is_kept && yk_op_is_read(op) && size > op->kept_max + YK_RECORD_OVERHEAD_MAX;
}

static void
end_too_much(struct yk_lane *lane, struct yk_op *op, uint64_t size)
{
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = YK_EBUSY, .number = size};
    (void)lane->config.sink.done(lane->config.sink.arg, op, &reply);
}

bool
lane_answer_committed(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_buffer *record;
    if (!lane_find_committed(lane, op, &record)) {
        return false;
    }
    if ((op->request.flags & YK_REQUEST_HINT) != 0) {
        (void)lane_recalls(lane, op);
    }
    if (record == NULL) {
        end_get(lane, op, YK_ENOTFOUND, yk_slice_of(NULL, 0), NULL);
    } else if (is_too_much(op, record->size)) {
        end_too_much(lane, op, record->size);
    } else {
        end_get(lane, op, YK_OK, yk_slice_of(record->data, record->size), record);
    }
    return true;
}

/* On another thread only the bytes are kept; what they mean is found out by the lane's own. */
static void
keep_answer(struct yk_op *op, enum yk_err result, struct yk_slice value)
{
    op->reply.result = result;
    if (result != YK_OK) {
        return;
    }
    if (is_too_much(op, value.size)) {
        op->reply.result = YK_EBUSY;
        op->reply.number = value.size;
        return;
    }
    op->old = yk_buffer_new_copy(value);
    if (op->old == NULL) {
        op->reply.result = YK_ENOMEM;
    }
}

static void
judge_got(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice value)
{
    if (op->errand == YK_ERRAND_MARKS) {
        lane_marks_loaded(lane, op, result, value);
    } else if (result == YK_OK) {
        lane_judge(lane, op, value);
    } else if (result == YK_ENOTFOUND) {
        lane_judge(lane, op, yk_slice_of(NULL, 0));
    } else {
        /* Nothing was changed, whatever went wrong with the reading. */
        lane_fail_write(lane, op, result == YK_EIO ? YK_EFAULT : result,
                        "cannot read the stored record");
    }
}

void
yk_lane_got(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice value)
{
    if (!lane->is_inline) {
        keep_answer(op, result, value);
    } else if (yk_op_is_read(op)) {
        end_get(lane, op, result, value, NULL);
    } else {
        judge_got(lane, op, result, value);
    }
}

void
lane_finish_kept(struct yk_lane *lane, struct yk_op *op)
{
    enum yk_err result = op->reply.result;
    struct yk_buffer *buffer = op->old;
    struct yk_slice bytes =
        buffer != NULL ? yk_slice_of(buffer->data, buffer->size) : yk_slice_of(NULL, 0);
    op->old = NULL;
    if (!yk_op_is_read(op)) {
        judge_got(lane, op, result, bytes);
    } else if (result == YK_EBUSY) {
        end_too_much(lane, op, op->reply.number);
    } else {
        end_get(lane, op, result, bytes, buffer);
    }
    yk_buffer_unref(buffer);
}

void
lane_finish_write(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_reply *reply = &op->reply;
    struct yk_record record;
    if (wants_value(op) && op->record != NULL &&
        yk_record_decode(yk_slice_of(op->record->data, op->record->size), lane->with_checksum,
                         op->hash, &record) == YK_OK) {
        reply->value = record.value;
        reply->value_buffer = op->record;
    } else if (wants_value(op) && op->old != NULL) {
        reply->value = yk_slice_of(op->old->data, op->old->size);
        reply->value_buffer = op->old;
    }
    end_write(lane, op, reply, true);
}

/* What the engine holds is not known any more. */
void
lane_stop(struct yk_lane *lane, enum yk_err result)
{
    char reason[YK_ERROR_SIZE];
    lane->is_stopped = true;
    yk_stack_error(lane->config.stack, reason);
    yk_log(lane->config.world, YK_LOG_ERROR, "store",
           "lane stopped: apply failed bucket=%u lane=%u error=\"%s\" reason=\"%s\"; restart the "
           "node",
           lane->config.bucket_index, lane->config.lane, yk_err_text(result), reason);
}

void
lane_tell_state(struct yk_lane *lane, const struct yk_job *job)
{
    const struct yk_world *world = lane->config.world;
    char reason[YK_ERROR_SIZE];
    if (job->apply_result != YK_OK) {
        lane_stop(lane, job->apply_result);
    }
    if (job->room_result != YK_OK && !lane->is_full) {
        lane->is_full = true;
        yk_stack_error(lane->config.stack, reason);
        yk_log(world, YK_LOG_ERROR, "store",
               "writes are refused bucket=%u lane=%u error=\"%s\" reason=\"%s\"; reads go on",
               lane->config.bucket_index, lane->config.lane, yk_err_text(job->room_result), reason);
    } else if (job->room_result == YK_OK && job->n_admitted > 0 && lane->is_full) {
        lane->is_full = false;
        yk_log(world, YK_LOG_NOTICE, "store", "writes are taken again bucket=%u lane=%u",
               lane->config.bucket_index, lane->config.lane);
    }
}

/* An admit job: what found room goes on to the journal. */
static void
finish_admitted(struct yk_lane *lane, const struct yk_job *job)
{
    for (uint32_t i = 0; i < job->n_admitted; i++) {
        lane_prepare_admitted(lane, job->writes[i].op);
    }
}

/* What found no room stays before what was decided since: versions go up in the journal. */
static void
put_off(struct yk_lane *lane, const struct yk_job *job)
{
    struct yk_op_queue later = lane->decided;
    struct yk_op *op;
    if (job->n_deferred == 0) {
        return;
    }
    lane->decided = (struct yk_op_queue){NULL, NULL, 0};
    for (uint32_t i = job->n_changes - job->n_deferred; i < job->n_changes; i++) {
        yk_op_queue_push(&lane->decided, job->writes[i].op);
    }
    while ((op = yk_op_queue_pop(&later)) != NULL) {
        yk_op_queue_push(&lane->decided, op);
    }
}

void
lane_finish_writes(struct yk_lane *lane, struct yk_job *job)
{
    put_off(lane, job);
    for (uint32_t i = 0; i < job->n_refused; i++) {
        lane_fail_write(lane, job->refused[i].op, job->refusals[i], NULL);
    }
    if (job->mode == JOB_ADMITS) {
        finish_admitted(lane, job);
        lane->waits_room = job->n_deferred > 0 && lane_has_unapplied(lane);
        return;
    }
    lane_tell_state(lane, job);
    for (uint32_t i = 0; i < job->n_admitted; i++) {
        struct yk_op *op = job->writes[i].op;
        if (job->apply_result != YK_OK) {
            lane_fail_write(lane, op, YK_EIO, lane_stopped_text);
            continue;
        }
        lane_finish_write(lane, op);
    }
}
