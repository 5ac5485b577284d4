/* The lane machine: what was submitted becomes batches, job.c runs them, judge.c and sweep.c take
 * what comes back. */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/store/decide.h"

/* Building a job */

static struct yk_key
key_of(const struct yk_lane *lane, const struct yk_op *op)
{
    uint32_t prefix = lane_prefix(lane);
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
        lane_settle(lane, &lane->slots[i]); /* one that nobody has looked at since is not undone */
        lane->slots[i].flush_at_ms = (uint64_t)at_ms;
    }
    lane->has_mortals = true;
    lane_answer(lane, op, YK_OK, NULL);
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
            lane_fail_write(lane, op, YK_ENOMEM, NULL);
            return;
        }
    }
    if (op->is_known) {
        lane_judge(lane, op,
                   op->known != NULL ? yk_slice_of(op->known->data, op->known->size)
                                     : yk_slice_of(NULL, 0));
    } else if (op->is_errand || yk_decide_needs_old(&op->request)) {
        add_get(lane, job, op);
    } else {
        lane_judge(lane, op, yk_slice_of(NULL, 0));
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
            lane_answer(lane, op, YK_ESTOPPED, lane_stopped_text);
        } else if (lane->is_stopped) {
            lane_fail_write(lane, op, YK_ESTOPPED, lane_stopped_text);
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
            lane_fail_write(lane, op, YK_ESTOPPED, lane_stopped_text);
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
            lane_finish_kept(lane, job->gets[i]);
        }
    }
    lane_finish_writes(lane, job);
    if (job->scan != NULL) {
        lane_finish_scan(lane, job);
    }
    if (job->figures != NULL) {
        lane_answer(lane, job->figures, YK_OK, NULL);
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
    return !lane->is_inline || lane_prefix(lane) > 0;
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
