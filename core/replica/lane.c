/* The lane machine. Batches are built here, run by job.c, and their outcome comes back here. */
#include <config.h>

#include "core/replica/lane.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/replica/job.h"
#include "core/replica/overlay.h"
#include "core/store/decide.h"

#define SEQUENCE_BITS 40
#define SEQUENCE_MAX  ((1ull << SEQUENCE_BITS) - 1)
enum { ERRANDS_MAX = 512, SWEEP_BYTES = 32 * 1024 };

/* What a slot knows beyond its records. */
struct slot {
    uint64_t sequence;      /* of the last version given */
    uint64_t flush_version; /* records up to this one are absent */
    uint64_t flush_at_ms;   /* a flush to come, judged by slot time; 0: none */
};

struct yk_lane {
    struct yk_lane_config config;
    const struct yk_backend_info *info;
    struct slot *slots; /* of this lane: index slot / n_lanes */
    uint32_t n_slots;
    uint64_t now_ms; /* slot time: never goes back */
    bool is_inline;  /* the engine answers at once */
    bool with_checksum;
    bool is_stopped; /* apply failed: what the engine holds is not known */
    struct yk_overlay overlay;
    struct yk_op_queue queue;   /* submitted */
    struct yk_op_queue scans;   /* SCAN and STATS, one of each in a job */
    struct yk_op_queue decided; /* writes with their record, to be admitted and applied */
    struct yk_job *job;
    bool job_is_out;
    uint32_t n_errands;

    /* The sweep. */
    struct yk_scan_state *sweep;
    struct yk_op *sweep_op;
    bool has_mortals; /* records with an end, or flushed ones, were seen since the sweep began */
    bool sweep_is_out;
};

/* A flush whose time has come takes place. */
static void
settle(struct yk_lane *lane, struct slot *slot)
{
    if (slot->flush_at_ms != 0 && slot->flush_at_ms <= lane->now_ms) {
        slot->flush_at_ms = 0;
        slot->flush_version = lane->config.epoch << SEQUENCE_BITS | slot->sequence;
        lane->has_mortals = true;
    }
}

static struct slot *
slot_of(struct yk_lane *lane, uint32_t slot)
{
    struct slot *own = &lane->slots[slot / lane->config.ring.n_lanes];
    settle(lane, own);
    return own;
}

static bool
is_visible(struct yk_lane *lane, uint32_t slot, const struct yk_record *record)
{
    return (record->marks & YK_RECORD_TOMBSTONE) == 0 &&
           (record->expiry_ms == 0 || record->expiry_ms > (int64_t)lane->now_ms) &&
           record->version > slot_of(lane, slot)->flush_version;
}

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
end_write(struct yk_lane *lane, struct yk_op *op, const struct yk_reply *reply, bool is_applied)
{
    struct yk_buffer *held[] = {op->record, op->old, op->known};
    if (op->entry != NULL) {
        release_key(lane, op, is_applied);
    }
    op->record = op->old = op->known = NULL;
    op->is_known = false;
    if (op->is_errand) {
        free_errand(lane, op);
    } else {
        (void)lane->config.sink.done(lane->config.sink.arg, op, reply);
    }
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
        yk_buffer_unref(held[i]);
    }
}

static void
fail_write(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text)
{
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result, .text = text};
    end_write(lane, op, &reply, false);
}

static void
answer(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text)
{
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result, .text = text};
    (void)lane->config.sink.done(lane->config.sink.arg, op, &reply);
}

static const char stopped_text[] = "the storage of this part of the keys has failed; see the log";

/* Judging */

/* Makes the record that the decision asks for; the value's parts go straight behind the head. */
static struct yk_buffer *
build_record(struct yk_lane *lane, const struct yk_op *op, struct yk_decision *decision)
{
    size_t size = yk_record_size(&decision->record, lane->with_checksum);
    struct yk_buffer *buffer = yk_buffer_new(size);
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

static void
accept(struct yk_lane *lane, struct yk_op *op, struct yk_decision *decision,
       const struct yk_record *old)
{
    struct slot *slot = slot_of(lane, op->slot);
    if (slot->sequence == SEQUENCE_MAX) {
        fail_write(lane, op, YK_ENOSPACE, "the slot has used up its versions");
        return;
    }
    decision->record.version = lane->config.epoch << SEQUENCE_BITS | ++slot->sequence;
    if (!decision->is_delete) {
        op->record = build_record(lane, op, decision);
        if (op->record == NULL) {
            fail_write(lane, op, YK_ENOMEM, NULL);
            return;
        }
        lane->has_mortals = lane->has_mortals || decision->record.expiry_ms != 0;
    }
    op->reply = (struct yk_reply){.struct_size = sizeof(op->reply),
                                  .result = decision->result,
                                  .version = yk_record_shown_cas(&decision->record),
                                  .client_flags = decision->record.client_flags,
                                  .expiry_ms = decision->record.expiry_ms,
                                  .number = decision->number};
    if ((op->request.flags & YK_REQUEST_VALUE) != 0 && op->record == NULL && old != NULL) {
        op->old =
            yk_buffer_new_copy(old->value); /* read and ended at once: a touch into the past */
        if (op->old == NULL) {
            fail_write(lane, op, YK_ENOMEM, NULL);
            return;
        }
    }
    yk_op_queue_push(&lane->decided, op);
}

/* An errand drops the record if it has ended by now. */
static void
judge_errand(struct yk_lane *lane, struct yk_op *op, const struct yk_record *old)
{
    if (old == NULL || is_visible(lane, op->slot, old)) {
        fail_write(lane, op, YK_ENOTFOUND, NULL);
        return;
    }
    op->reply.result = YK_OK;
    yk_op_queue_push(&lane->decided, op);
}

/* old: the stored record, empty: there is none. */
static void
judge(struct yk_lane *lane, struct yk_op *op, struct yk_slice old)
{
    struct yk_record record;
    const struct yk_record *seen = NULL;
    if (old.size > 0) {
        enum yk_err result = yk_record_decode(old, lane->with_checksum, op->hash, &record);
        if (result != YK_OK && yk_decide_needs_old(&op->request)) {
            fail_write(lane, op, result, "the stored record is damaged");
            return;
        }
        seen = result == YK_OK ? &record : NULL;
    }
    if (op->is_errand) {
        judge_errand(lane, op, seen);
        return;
    }
    if (seen != NULL && !is_visible(lane, op->slot, seen)) {
        seen = NULL;
    }
    struct yk_decision decision;
    yk_decide(&op->request, seen, lane->now_ms, lane->config.value_size_max, &decision);
    if (!decision.is_change) {
        fail_write(lane, op, decision.result, NULL);
        return;
    }
    accept(lane, op, &decision, seen);
}

/* Answers of the engine */

static void
fill_hit(struct yk_reply *reply, const struct yk_record *record)
{
    *reply = (struct yk_reply){.struct_size = sizeof(*reply),
                               .result = YK_OK,
                               .client_flags = record->client_flags,
                               .version = yk_record_shown_cas(record),
                               .expiry_ms = record->expiry_ms,
                               .value = record->value};
}

/* Ends a GET; bytes are lent, or lie in buffer. */
static void
end_get(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice bytes,
        struct yk_buffer *buffer)
{
    struct yk_record record;
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result};
    if (result == YK_OK) {
        result = yk_record_decode(bytes, lane->with_checksum, op->hash, &record);
        reply.result = result;
    }
    if (result == YK_OK && !is_visible(lane, op->slot, &record)) {
        reply.result = YK_ENOTFOUND;
    } else if (result == YK_OK) {
        fill_hit(&reply, &record);
        reply.value_buffer = buffer;
    } else if (result != YK_ENOTFOUND) {
        yk_log(lane->config.world, YK_LOG_ERROR, "store",
               "cannot read a record slot=%u error=\"%s\"", op->slot, yk_err_text(result));
    }
    if (!lane->config.sink.done(lane->config.sink.arg, op, &reply)) {
        YK_ASSERT(!op->is_kept);
    }
}

/* On another thread only the bytes are kept; what they mean is found out by the lane's own. */
static void
keep_answer(struct yk_op *op, enum yk_err result, struct yk_slice value)
{
    op->reply.result = result;
    if (result != YK_OK) {
        return;
    }
    if (op->request.op == YK_OP_GET && value.size > op->kept_max + YK_RECORD_OVERHEAD_MAX) {
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
    if (result == YK_OK) {
        judge(lane, op, value);
    } else if (result == YK_ENOTFOUND) {
        judge(lane, op, yk_slice_of(NULL, 0));
    } else {
        /* Nothing was changed, whatever went wrong with the reading. */
        fail_write(lane, op, result == YK_EIO ? YK_EFAULT : result,
                   "cannot read the stored record");
    }
}

void
yk_lane_got(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice value)
{
    if (!lane->is_inline) {
        keep_answer(op, result, value);
    } else if (op->request.op == YK_OP_GET) {
        end_get(lane, op, result, value, NULL);
    } else {
        judge_got(lane, op, result, value);
    }
}

static void
finish_kept(struct yk_lane *lane, struct yk_op *op)
{
    enum yk_err result = op->reply.result;
    struct yk_buffer *buffer = op->old;
    struct yk_slice bytes =
        buffer != NULL ? yk_slice_of(buffer->data, buffer->size) : yk_slice_of(NULL, 0);
    op->old = NULL;
    if (op->request.op != YK_OP_GET) {
        judge_got(lane, op, result, bytes);
    } else if (result == YK_EBUSY) {
        struct yk_reply reply = {
            .struct_size = sizeof(reply), .result = YK_EBUSY, .number = op->reply.number};
        (void)lane->config.sink.done(lane->config.sink.arg, op, &reply);
    } else {
        end_get(lane, op, result, bytes, buffer);
    }
    yk_buffer_unref(buffer);
}

static void
finish_writes(struct yk_lane *lane, struct yk_job *job)
{
    for (uint32_t i = job->n_changes - job->n_deferred; i < job->n_changes; i++) {
        yk_op_queue_push(&lane->decided, job->writes[i]);
    }
    for (uint32_t i = 0; i < job->n_refused; i++) {
        fail_write(lane, job->refused[i], job->refusals[i], NULL);
    }
    if (job->apply_result != YK_OK) {
        lane->is_stopped = true;
        yk_log(lane->config.world, YK_LOG_ERROR, "store",
               "lane stopped: apply failed bucket=%u lane=%u error=\"%s\"; restart the node",
               lane->config.bucket_index, lane->config.lane, yk_err_text(job->apply_result));
    }
    for (uint32_t i = 0; i < job->n_admitted; i++) {
        struct yk_op *op = job->writes[i];
        if (job->apply_result != YK_OK) {
            fail_write(lane, op, YK_EIO, stopped_text);
            continue;
        }
        struct yk_reply reply = op->reply;
        struct yk_record record;
        if ((op->request.flags & YK_REQUEST_VALUE) != 0 && op->record != NULL &&
            yk_record_decode(yk_slice_of(op->record->data, op->record->size), lane->with_checksum,
                             op->hash, &record) == YK_OK) {
            reply.value = record.value;
            reply.value_buffer = op->record;
        } else if ((op->request.flags & YK_REQUEST_VALUE) != 0 && op->old != NULL) {
            reply.value = yk_slice_of(op->old->data, op->old->size);
            reply.value_buffer = op->old;
        }
        end_write(lane, op, &reply, true);
    }
}

/* Sweeping */

static uint32_t
prefix_size(const struct yk_lane *lane)
{
    return (lane->info->caps & YK_BACKEND_SEGMENTS) ? 0 : 4;
}

/* An errand to drop the key's record, if it has ended when its turn comes. */
static void
add_errand(struct yk_lane *lane, struct yk_slice key)
{
    struct yk_op *op = calloc(1, sizeof(*op));
    uint8_t *bytes = malloc(key.size + YK_PIN_ROOM);
    if (op == NULL || bytes == NULL) {
        free(op);
        free(bytes);
        lane->has_mortals = true;
        return;
    }
    memcpy(bytes + YK_PIN_ROOM, key.data, key.size);
    op->pinned = bytes;
    op->request = (struct yk_request){.struct_size = sizeof(op->request),
                                      .op = YK_OP_DELETE,
                                      .key = yk_slice_of(bytes + YK_PIN_ROOM, key.size)};
    op->hash = yk_hash(key);
    op->slot = (uint16_t)yk_ring_slot(&lane->config.ring, op->hash);
    op->lane = (uint16_t)lane->config.lane;
    op->is_errand = true;
    op->is_kept = true;
    lane->n_errands++;
    yk_op_queue_push(&lane->queue, op);
}

/* For an engine on the loop only what is worth a second look goes into the chunk; elsewhere the
 * lane's state may not be read, and everything that ends, or may be flushed, does. */
static bool
scan_wants(struct yk_lane *lane, const struct yk_op *scan, uint32_t slot,
           const struct yk_record *record)
{
    if (!lane->is_inline) {
        return true;
    }
    bool is_dead = !is_visible(lane, slot, record);
    if (scan != lane->sweep_op) {
        return !is_dead;
    }
    lane->has_mortals = lane->has_mortals || record->expiry_ms != 0;
    return is_dead;
}

bool
yk_lane_scanned(struct yk_lane *lane, struct yk_job *job, const struct yk_key *key,
                struct yk_slice value)
{
    struct yk_record record;
    uint32_t prefix = prefix_size(lane);
    if (key->size < prefix) {
        return true;
    }
    struct yk_slice bare = yk_slice_of(key->data + prefix, key->size - prefix);
    uint64_t hash = yk_hash(bare);
    if (yk_record_decode(value, lane->with_checksum, hash, &record) != YK_OK ||
        !scan_wants(lane, job->scan, yk_ring_slot(&lane->config.ring, hash), &record)) {
        return true;
    }
    return yk_chunk_add(job->scan->scan, bare, &record);
}

static void
end_sweep(struct yk_lane *lane, struct yk_job *job)
{
    struct yk_slice key;
    struct yk_record record;
    size_t offset = 0;
    lane->sweep_is_out = false;
    while (yk_chunk_next(lane->sweep, &offset, &key, &record)) {
        uint32_t slot = yk_ring_slot(&lane->config.ring, yk_hash(key));
        lane->has_mortals =
            lane->has_mortals || record.expiry_ms != 0 || lane->n_errands >= ERRANDS_MAX;
        if (lane->n_errands < ERRANDS_MAX && !is_visible(lane, slot, &record)) {
            add_errand(lane, key);
        }
    }
    if (job->scan_result != YK_OK || job->scan_end) {
        yk_scan_state_restart(lane->sweep);
    }
}

bool
yk_lane_has_to_sweep(const struct yk_lane *lane)
{
    return !lane->sweep_is_out && !lane->is_stopped &&
           (lane->has_mortals || lane->sweep->cursor.size > 0);
}

void
yk_lane_sweep(struct yk_lane *lane, uint64_t now_ms)
{
    if (!yk_lane_has_to_sweep(lane)) {
        return;
    }
    if (lane->sweep->cursor.size == 0) {
        lane->has_mortals = false;
    }
    lane->sweep_is_out = true;
    yk_op_queue_push(&lane->scans, lane->sweep_op);
    yk_lane_run(lane, now_ms);
}

static bool
is_key_visible(void *arg, struct yk_slice key, const struct yk_record *record)
{
    struct yk_lane *lane = arg;
    return is_visible(lane, yk_ring_slot(&lane->config.ring, yk_hash(key)), record);
}

static void
finish_scan(struct yk_lane *lane, struct yk_job *job)
{
    struct yk_scan_state *state = job->scan->scan;
    if (job->scan == lane->sweep_op) {
        end_sweep(lane, job);
        return;
    }
    state->is_end = job->scan_end;
    if (!lane->is_inline) {
        yk_chunk_filter(state, is_key_visible, lane);
    }
    answer(lane, job->scan, state->no_memory ? YK_ENOMEM : job->scan_result, NULL);
}

/* Building a job */

static struct yk_key
key_of(const struct yk_lane *lane, const struct yk_op *op)
{
    uint32_t prefix = prefix_size(lane);
    struct yk_key key = {.data = (const uint8_t *)op->request.key.data - prefix,
                         .size = (uint32_t)op->request.key.size + prefix,
                         .slot = op->slot,
                         .hash = op->hash};
    if (prefix > 0) {
        YK_ASSERT(op->pinned != NULL);
        uint8_t *room = (uint8_t *)op->pinned + YK_PIN_ROOM - prefix;
        YK_ASSERT(room == key.data);
        room[0] = (uint8_t)(op->slot >> 8);
        room[1] = (uint8_t)op->slot;
        room[2] = 0; /* generation */
        room[3] = 0;
    }
    return key;
}

static void
add_get(struct yk_lane *lane, struct yk_job *job, struct yk_op *op)
{
    job->is_answered[job->n_gets] = false;
    job->keys[job->n_gets] = key_of(lane, op);
    job->gets[job->n_gets++] = op;
}

static void
flush(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_ttl delay = op->request.expiry;
    int64_t at_ms = delay.kind == YK_EXPIRY_NEVER ? 1 : yk_ttl_fix(delay, lane->now_ms);
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        settle(lane, &lane->slots[i]); /* one that nobody has looked at since is not undone */
        lane->slots[i].flush_at_ms = (uint64_t)at_ms;
    }
    lane->has_mortals = true;
    answer(lane, op, YK_OK, NULL);
}

static void
take_write(struct yk_lane *lane, struct yk_job *job, struct yk_op *op)
{
    if (op->entry == NULL) {
        struct yk_overlay_entry *entry = yk_overlay_find(&lane->overlay, op);
        if (entry != NULL) {
            yk_op_queue_push(&entry->waiters, op);
            return;
        }
        if (yk_overlay_pin(&lane->overlay, op) == NULL) {
            fail_write(lane, op, YK_ENOMEM, NULL);
            return;
        }
    }
    if (op->is_known) {
        judge(lane, op,
              op->known != NULL ? yk_slice_of(op->known->data, op->known->size)
                                : yk_slice_of(NULL, 0));
    } else if (op->is_errand || yk_decide_needs_old(&op->request)) {
        add_get(lane, job, op);
    } else {
        judge(lane, op, yk_slice_of(NULL, 0));
    }
}

/* Reads of this batch happen before its changes. */
static void
take_queue(struct yk_lane *lane, struct yk_job *job)
{
    while (job->n_gets < YK_BATCH_MAX && lane->queue.first != NULL) {
        struct yk_op *op = yk_op_queue_pop(&lane->queue);
        if (op->request.op == YK_OP_FLUSH) {
            flush(lane, op);
        } else if (lane->is_stopped && op->request.op == YK_OP_GET) {
            answer(lane, op, YK_ESTOPPED, stopped_text);
        } else if (lane->is_stopped) {
            fail_write(lane, op, YK_ESTOPPED, stopped_text);
        } else if (op->request.op == YK_OP_GET) {
            add_get(lane, job, op);
        } else {
            take_write(lane, job, op);
        }
    }
}

static void
take_decided(struct yk_lane *lane, struct yk_job *job)
{
    uint64_t bytes = 0;
    while (job->n_changes < YK_BATCH_MAX && bytes < YK_BATCH_BYTES_MAX &&
           lane->decided.first != NULL) {
        struct yk_op *op = yk_op_queue_pop(&lane->decided);
        if (lane->is_stopped) {
            fail_write(lane, op, YK_ESTOPPED, stopped_text);
            continue;
        }
        struct yk_change *change = &job->changes[job->n_changes];
        *change = (struct yk_change){.key = key_of(lane, op), .kind = YK_CHANGE_DELETE};
        if (op->record != NULL) {
            change->kind = YK_CHANGE_PUT;
            change->value = yk_slice_of(op->record->data, op->record->size);
            bytes += op->record->size;
        }
        job->writes[job->n_changes++] = op;
    }
}

static void
take_scans(struct yk_lane *lane, struct yk_job *job)
{
    while (lane->scans.first != NULL && job->scan == NULL && job->figures == NULL) {
        struct yk_op *op = yk_op_queue_pop(&lane->scans);
        if (op->request.op == YK_OP_STATS) {
            job->figures = op;
        } else {
            job->scan = op;
        }
    }
}

static void
finish_job(struct yk_lane *lane, struct yk_job *job)
{
    if (!lane->is_inline) {
        for (uint32_t i = 0; i < job->n_gets; i++) {
            finish_kept(lane, job->gets[i]);
        }
    }
    finish_writes(lane, job);
    if (job->scan != NULL) {
        finish_scan(lane, job);
    }
    if (job->figures != NULL) {
        answer(lane, job->figures, YK_OK, NULL);
    }
}

void
yk_lane_run(struct yk_lane *lane, uint64_t now_ms)
{
    struct yk_job *job = lane->job;
    if (now_ms > lane->now_ms) {
        lane->now_ms = now_ms;
    }
    while (!lane->job_is_out) {
        yk_job_reset(job, lane->now_ms);
        take_decided(lane, job);
        take_queue(lane, job);
        take_scans(lane, job);
        if (yk_job_is_empty(job)) {
            if (lane->queue.first == NULL && lane->decided.first == NULL &&
                lane->scans.first == NULL) {
                return;
            }
            continue;
        }
        if (!lane->is_inline) {
            lane->job_is_out = true;
            lane->config.sink.start(lane->config.sink.arg, job);
            return;
        }
        bool is_done = yk_job_run(job);
        YK_ASSERT(is_done);
        finish_job(lane, job);
    }
}

void
yk_lane_job_done(struct yk_lane *lane, struct yk_job *job, uint64_t now_ms)
{
    YK_ASSERT(lane->job_is_out && job == lane->job);
    lane->job_is_out = false;
    if (now_ms > lane->now_ms) {
        lane->now_ms = now_ms;
    }
    finish_job(lane, job);
    yk_lane_run(lane, now_ms);
}

void
yk_lane_submit(struct yk_lane *lane, struct yk_op *op)
{
    switch (op->request.op) {
    case YK_OP_SCAN:
    case YK_OP_STATS:
        yk_op_queue_push(&lane->scans, op);
        break;
    default:
        yk_op_queue_push(&lane->queue, op);
        break;
    }
}

/* Life */

enum yk_err
yk_lane_new(const struct yk_lane_config *config, struct yk_lane **ret_lane)
{
    YK_ASSERT(config->epoch > 0 && config->epoch < 1u << 24);
    struct yk_lane *lane = calloc(1, sizeof(*lane));
    if (lane == NULL) {
        return YK_ENOMEM;
    }
    lane->config = *config;
    lane->info = yk_stack_info(config->stack);
    lane->is_inline = (lane->info->caps & (YK_BACKEND_BLOCKS | YK_BACKEND_ASYNC)) == 0;
    lane->with_checksum = (lane->info->caps & YK_BACKEND_VOLATILE) == 0;
    lane->n_slots = (1u << config->ring.slot_bits) / config->ring.n_lanes + 1;
    lane->slots = calloc(lane->n_slots, sizeof(struct slot));
    lane->job = calloc(1, sizeof(struct yk_job));
    lane->sweep = yk_scan_state_new(config->key_size_max, SWEEP_BYTES, false);
    lane->sweep_op = calloc(1, sizeof(struct yk_op));
    if (yk_overlay_init(&lane->overlay) != YK_OK || lane->slots == NULL || lane->job == NULL ||
        lane->sweep == NULL || lane->sweep_op == NULL) {
        lane->config.stack = NULL;
        yk_lane_free(lane);
        return YK_ENOMEM;
    }
    lane->sweep_op->request.op = YK_OP_SCAN;
    lane->sweep_op->scan = lane->sweep;
    lane->has_mortals = (lane->info->caps & YK_BACKEND_VOLATILE) == 0;
    yk_job_init(lane->job, lane, config->stack);
    *ret_lane = lane;
    return YK_OK;
}

void
yk_lane_free(struct yk_lane *lane)
{
    if (lane == NULL) {
        return;
    }
    if (lane->overlay.chains != NULL) {
        yk_overlay_done(&lane->overlay);
    }
    yk_stack_close(lane->config.stack);
    yk_scan_state_free(lane->sweep);
    free(lane->sweep_op);
    if (lane->job != NULL) {
        yk_job_done(lane->job);
    }
    free(lane->job);
    free(lane->slots);
    free(lane);
}

bool
yk_lane_pins(const struct yk_lane *lane)
{
    return !lane->is_inline || prefix_size(lane) > 0;
}

bool
yk_lane_keeps(const struct yk_lane *lane)
{
    return !lane->is_inline;
}

bool
yk_lane_is_idle(const struct yk_lane *lane)
{
    return !lane->job_is_out && lane->queue.first == NULL && lane->scans.first == NULL &&
           lane->decided.first == NULL && lane->overlay.n_entries == 0;
}

uint32_t
yk_lane_index(const struct yk_lane *lane)
{
    return lane->config.lane;
}

uint32_t
yk_lane_bucket(const struct yk_lane *lane)
{
    return lane->config.bucket_index;
}
