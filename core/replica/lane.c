/* The lane machine: what was submitted becomes batches, job.c runs them, judge.c and sweep.c take
 * what comes back. */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/store/decide.h"

enum { SHUT_NEEDS = 1 /* position in the log: all of it */ };

/* Building a job */

void
lane_put_prefix(const struct yk_op *op, uint32_t prefix)
{
    YK_ASSERT(op->pinned != NULL);
    uint8_t *room = (uint8_t *)op->pinned + YK_PIN_ROOM - prefix;
    YK_ASSERT(room == (const uint8_t *)op->request.key.data - prefix);
    room[0] = (uint8_t)(op->slot >> 8);
    room[1] = (uint8_t)op->slot;
    room[2] = 0; /* generation */
    room[3] = 0;
}

bool
lane_recalls(struct yk_lane *lane, struct yk_op *op)
{
    if (lane->recall != NULL) {
        (void)yk_recall_find(lane->recall, op->hash, &op->was_hit, &op->last_access_ms);
    }
    return lane->recall != NULL;
}

void
lane_add_get(struct yk_lane *lane, struct yk_job *job, struct yk_op *op)
{
    if ((op->request.flags & YK_REQUEST_HINT) != 0) {
        job->has_hints = true;
        job->asks_engine = !lane_recalls(lane, op);
    }
    job->is_answered[job->n_gets] = false;
    job->keys[job->n_gets] = lane_key(lane, op);
    job->gets[job->n_gets++] = op;
}

static void
take_write(struct yk_lane *lane, struct yk_job *job, struct yk_op *op)
{
    if (lane->is_journaled) {
        if (lane_take_journaled(lane, op)) {
            lane_add_get(lane, job, op);
        }
        return;
    }
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
    } else if (op->errand != YK_ERRAND_NONE || yk_decide_needs_old(&op->request)) {
        lane_add_get(lane, job, op);
    } else {
        lane_judge(lane, op, yk_slice_of(NULL, 0));
    }
}

static void
take_read(struct yk_lane *lane, struct yk_job *job, struct yk_op *op)
{
    if (lane->is_clustered && !lane_begins(lane, op)) {
        lane_answer(lane, op, YK_ESTALE, lane_not_primary_text);
    } else if (!lane->is_journaled || !lane_answer_committed(lane, op)) {
        lane_add_get(lane, job, op);
    }
}

static void
refuse(struct yk_lane *lane, struct yk_op *op)
{
    if (yk_op_is_read(op)) {
        lane_answer(lane, op, YK_ESTOPPED, lane_stopped_text);
    } else {
        lane_fail_write(lane, op, YK_ESTOPPED, lane_stopped_text);
    }
}

static bool
has_to_take(const struct yk_lane *lane)
{
    return lane->queue.first != NULL && !lane_marks_bar(lane) && !lane_is_behind(lane);
}

/* Reads of this batch happen before its changes. */
static void
take_queue(struct yk_lane *lane, struct yk_job *job)
{
    while (job->n_gets < YK_BATCH_MAX && has_to_take(lane)) {
        struct yk_op *op = yk_op_queue_pop(&lane->queue);
        if (lane->is_stopped) {
            refuse(lane, op);
        } else if (op->request.op == YK_OP_FLUSH) {
            lane_flush(lane, op);
        } else if (yk_op_is_read(op)) {
            take_read(lane, job, op);
        } else {
            take_write(lane, job, op);
        }
    }
}

static void
take_reads(struct yk_lane *lane, struct yk_job *job, struct yk_op_queue *reads)
{
    while (job->n_gets < YK_BATCH_MAX && reads->first != NULL) {
        struct yk_op *op = yk_op_queue_pop(reads);
        if (lane->is_stopped) {
            refuse(lane, op);
        } else {
            take_read(lane, job, op);
        }
    }
}

void
lane_fill_change(struct yk_lane *lane, const struct yk_op *op, struct yk_change *ret_change)
{
    *ret_change = (struct yk_change){.key = lane_key(lane, op), .kind = YK_CHANGE_DELETE};
    if (op->record != NULL) {
        ret_change->kind = YK_CHANGE_PUT;
        ret_change->value = yk_slice_of(op->record->data, op->record->size);
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
        lane_fill_change(lane, op, &job->changes[job->n_changes]);
        bytes += op->record != NULL ? op->record->size : 0;
        job->writes[job->n_changes++].op = op;
    }
}

static void
take_scans(struct yk_lane *lane, struct yk_job *job)
{
    while (lane->scans.first != NULL && job->scan == NULL && job->figures == NULL) {
        struct yk_op *op = yk_op_queue_pop(&lane->scans);
        if (lane->config.is_shut) {
            lane_answer(lane, op, op->request.op == YK_OP_STATS ? YK_OK : YK_ESTOPPED,
                        lane_stopped_text);
        } else if (op->request.op == YK_OP_STATS) {
            job->figures = op;
        } else {
            job->scan = op;
        }
    }
}

static void
add_figures(struct yk_lane *lane, struct yk_figures *figures)
{
    if ((lane->info->caps & YK_BACKEND_EXACT_COUNT) != 0) {
        yk_figures_add(figures, "curr_items", -(uint64_t)lane->marks.n_stored);
    }
    yk_figures_add(figures, "damaged_records", lane->n_damaged);
}

static void
finish_job(struct yk_lane *lane, struct yk_job *job)
{
    if (!lane->is_inline) {
        for (uint32_t i = 0; i < job->n_gets; i++) {
            lane_finish_kept(lane, job->gets[i]);
        }
    }
    if (job->mode == JOB_APPLIES) {
        lane_finish_applied(lane, job);
    } else if (job->mode == JOB_PAGES) {
        lane_finish_pages(lane, job);
    } else {
        lane_finish_writes(lane, job);
    }
    if (job->scan != NULL) {
        lane_finish_scan(lane, job);
    }
    if (job->figures != NULL) {
        add_figures(lane, job->figures->figures);
        lane_answer(lane, job->figures, YK_OK, NULL);
    }
}

/* Lane records stand in a job of their own. */
static void
load_marks(struct yk_lane *lane, struct yk_job *job)
{
    lane->marks.state = MARKS_LOADING;
    lane->marks.n_out = lane->marks.n_pages;
    lane->marks.n_stored = 0;
    for (uint32_t i = 0; i < lane->marks.n_pages; i++) {
        lane_add_get(lane, job, &lane->marks.ops[i]);
    }
}

/* Does another thread have to admit what is decided, and may it be tried now? */
static bool
has_to_admit(const struct yk_lane *lane)
{
    return lane->admits_late && !lane->waits_room && lane->decided.first != NULL;
}

static void
take_journaled(struct yk_lane *lane, struct yk_job *job)
{
    lane_prepare_all(lane);
    lane_take_unapplied(lane, job);
    if (job->n_changes == 0 && has_to_admit(lane)) {
        job->mode = JOB_ADMITS;
        job->is_behind = lane_has_unapplied(lane);
        take_decided(lane, job);
    }
}

static void
build_writer(struct yk_lane *lane, struct yk_job *job)
{
    if (lane->marks.state == MARKS_TO_LOAD) {
        load_marks(lane, job);
        return;
    }
    if (lane->marks.state == MARKS_WAITING && lane->decided.first == NULL) {
        lane_marks_store(lane);
    }
    lane_start_flush(lane);
    if (!lane->is_journaled) {
        take_decided(lane, job);
    } else if (!lane_take_pages(lane, job)) {
        take_journaled(lane, job);
    }
    take_queue(lane, job);
    if (lane->n_jobs == 1) {
        take_scans(lane, job);
    }
}

/* Is there something that the next job may take up? */
static bool
has_to_write(const struct yk_lane *lane)
{
    bool has_changes = lane->is_journaled ? has_to_admit(lane) || lane->n_unapplied > 0 ||
                                                (!lane->admits_late && !lane->waits_room &&
                                                 lane->decided.first != NULL)
                                          : lane->decided.first != NULL;
    return has_changes || (lane->flush_waiting != NULL && lane->decided.first == NULL) ||
           lane->checkpoint.state == CHECKPOINT_STORING || lane->marks.state == MARKS_WAITING ||
           lane->marks.state == MARKS_TO_LOAD || has_to_take(lane) ||
           (lane->n_jobs == 1 && lane->scans.first != NULL);
}

static void
send_out(struct yk_lane *lane, struct yk_job *job)
{
    job->is_out = true;
    lane->config.sink.start(lane->config.sink.arg, job);
}

static void
run_writer(struct yk_lane *lane)
{
    struct yk_job *job = &lane->jobs[0];
    while (!job->is_out) {
        yk_job_reset(job, lane->now_ms);
        build_writer(lane, job);
        if (yk_job_is_empty(job)) {
            if (!has_to_write(lane)) {
                return;
            }
        } else if (lane->is_inline) {
            bool is_done = yk_job_run(job);
            YK_ASSERT(is_done);
            finish_job(lane, job);
        } else {
            send_out(lane, job);
        }
    }
}

static void
run_readers(struct yk_lane *lane)
{
    for (uint32_t i = 1; i < lane->n_jobs && !lane_marks_bar(lane); i++) {
        struct yk_job *job = &lane->jobs[i];
        if (job->is_out) {
            continue;
        }
        yk_job_reset(job, lane->now_ms);
        take_reads(lane, job, &lane->reads[i - 1]);
        take_scans(lane, job);
        if (!yk_job_is_empty(job)) {
            send_out(lane, job);
        }
    }
}

void
lane_advance(struct yk_lane *lane, uint64_t now_ms)
{
    if (now_ms > lane->now_ms) {
        lane->now_ms = now_ms;
    }
    lane_flush_due(lane);
}

void
yk_lane_run(struct yk_lane *lane, uint64_t now_ms)
{
    lane_advance(lane, now_ms);
    run_writer(lane);
    run_readers(lane);
}

void
yk_lane_job_done(struct yk_lane *lane, struct yk_job *job, uint64_t now_ms)
{
    YK_ASSERT(job->is_out && job->lane == lane);
    job->is_out = false;
    lane_advance(lane, now_ms);
    finish_job(lane, job);
    yk_lane_run(lane, now_ms);
}

void
lane_enqueue(struct yk_lane *lane, struct yk_op *op)
{
    switch (op->request.op) {
    case YK_OP_SCAN:
    case YK_OP_STATS:
        yk_op_queue_push(&lane->scans, op);
        break;
    case YK_OP_GET:
        yk_op_queue_push(lane->n_jobs > 1 && yk_op_is_read(op)
                             ? &lane->reads[(op->hash >> 32) % YK_LANE_READERS]
                             : &lane->queue,
                         op);
        break;
    default:
        yk_op_queue_push(&lane->queue, op);
        break;
    }
}

void
yk_lane_submit(struct yk_lane *lane, struct yk_op *op)
{
    bool must_confirm =
        lane->is_clustered && lane->reads_by == YK_READS_CONFIRM && yk_op_has_key(op);
    if (!must_confirm || !lane_holds_op(lane, op)) {
        lane_enqueue(lane, op);
    }
}

/* Life */

uint32_t
yk_lane_jobs_max(const struct yk_backend_info *info)
{
    if ((info->caps & (YK_BACKEND_BLOCKS | YK_BACKEND_ASYNC)) == 0) {
        return 0;
    }
    return info->threads == YK_THREADS_SERIAL ? 1 : 1 + YK_LANE_READERS;
}

static enum yk_err
make_jobs(struct yk_lane *lane)
{
    uint32_t n_jobs = lane->is_inline ? 1 : yk_lane_jobs_max(lane->info);
    lane->jobs = calloc(n_jobs, sizeof(struct yk_job));
    if (lane->jobs == NULL) {
        return YK_ENOMEM;
    }
    for (; lane->n_jobs < n_jobs; lane->n_jobs++) {
        yk_job_init(&lane->jobs[lane->n_jobs], lane, lane->config.stack);
    }
    return YK_OK;
}

static enum yk_err
make_slots(struct yk_lane *lane)
{
    const struct yk_lane_config *config = &lane->config;
    lane->n_slots = (1u << config->ring.slot_bits) / config->ring.n_lanes + 1;
    lane->slots = calloc(lane->n_slots, sizeof(struct slot));
    lane->flush_op = calloc(1, sizeof(struct yk_op));
    if (lane->slots == NULL || lane->flush_op == NULL) {
        return YK_ENOMEM;
    }
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        uint32_t slot = i * config->ring.n_lanes + config->lane;
        bool has_own = config->epochs != NULL && slot >> config->ring.slot_bits == 0;
        lane->slots[i].epoch = has_own ? config->epochs[slot] : config->epoch;
        YK_ASSERT(config->is_clustered ||
                  (lane->slots[i].epoch > 0 && lane->slots[i].epoch < 1u << 24));
    }
    lane->flush_op->request.op = YK_OP_FLUSH;
    return YK_OK;
}

enum yk_err
yk_lane_new(const struct yk_lane_config *config, struct yk_lane **ret_lane)
{
    struct yk_lane *lane = calloc(1, sizeof(*lane));
    if (lane == NULL) {
        return YK_ENOMEM;
    }
    lane->config = *config;
    lane->info = yk_stack_info(config->stack);
    lane->is_inline = yk_lane_jobs_max(lane->info) == 0;
    lane->has_prefetch = yk_stack_has_prefetch(config->stack);
    lane->with_checksum = (lane->info->caps & YK_BACKEND_VOLATILE) == 0;
    lane->is_stopped = config->is_shut;
    lane->is_clustered = config->is_clustered;
    lane->has_log = config->durability != YK_DURABILITY_MEMORY;
    lane->is_journaled = lane->has_log || lane->is_clustered;
    lane->admits_late = lane->is_journaled && !lane->is_clustered && !lane->is_inline &&
                        yk_stack_has_admit(config->stack);
    lane->overlay.owns_keys = lane->is_journaled;
    lane->needed_from = config->is_shut ? SHUT_NEEDS : UINT64_MAX;
    if (!yk_stack_has_hints(config->stack)) {
        lane->recall = calloc(1, sizeof(struct yk_recall));
    }
    lane->sweep = yk_scan_state_new(config->key_size_max, SWEEP_BYTES, false);
    lane->sweep_op = calloc(1, sizeof(struct yk_op));
    if (make_slots(lane) != YK_OK || yk_overlay_init(&lane->overlay) != YK_OK ||
        make_jobs(lane) != YK_OK || (!config->is_shut && lane_marks_init(lane) != YK_OK) ||
        (lane->has_log && lane_checkpoint_init(lane) != YK_OK) || lane->sweep == NULL ||
        (lane->is_clustered && lane_clustered_init(lane) != YK_OK) || lane->sweep_op == NULL) {
        lane->config.stack = NULL;
        yk_lane_free(lane);
        return YK_ENOMEM;
    }
    lane->sweep_op->request.op = YK_OP_SCAN;
    lane->sweep_op->scan = lane->sweep;
    lane->has_mortals = (lane->info->caps & YK_BACKEND_VOLATILE) == 0;
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
    lane_checkpoint_done(lane);
    lane_clustered_done(lane);
    free(lane->flush_op);
    lane_recovery_free(lane);
    yk_stack_close(lane->config.stack);
    yk_scan_state_free(lane->sweep);
    free(lane->sweep_op);
    for (uint32_t i = 0; i < lane->n_jobs; i++) {
        yk_job_done(&lane->jobs[i]);
    }
    free(lane->jobs);
    yk_buffer_unref(lane->spare);
    free(lane->recall);
    lane_marks_done(lane);
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
    bool is_out = false;
    for (uint32_t i = 0; i < lane->n_jobs; i++) {
        is_out = is_out || lane->jobs[i].is_out;
    }
    for (uint32_t i = 0; i < YK_LANE_READERS; i++) {
        is_out = is_out || lane->reads[i].first != NULL;
    }
    return !is_out && lane->queue.first == NULL && lane->n_unconfirmed == 0 &&
           lane->scans.first == NULL && lane->decided.first == NULL &&
           lane->prepared.first == NULL && lane->n_unapplied == 0 &&
           lane->checkpoint.state != CHECKPOINT_KEEPING &&
           (lane->is_journaled || lane->overlay.n_entries == 0);
}

bool
yk_lane_is_journaled(const struct yk_lane *lane)
{
    return lane->has_log;
}

bool
yk_lane_waits_for_journal(const struct yk_lane *lane)
{
    return lane->prepared.first != NULL || lane->waits.n > 0;
}

enum yk_durability
yk_lane_durability(const struct yk_lane *lane)
{
    return lane->config.durability;
}

bool
yk_lane_needs_snapshots(const struct yk_lane *lane)
{
    return lane->needs_snapshots;
}

bool
yk_lane_is_volatile(const struct yk_lane *lane)
{
    return (lane->info->caps & YK_BACKEND_VOLATILE) != 0;
}

void
yk_lane_shut(struct yk_lane *lane)
{
    lane->config.is_shut = lane->is_stopped = true;
    lane->needed_from = SHUT_NEEDS;
}

bool
yk_lane_is_shut(const struct yk_lane *lane)
{
    return lane->config.is_shut;
}

uint32_t
yk_lane_bucket(const struct yk_lane *lane)
{
    return lane->config.bucket_index;
}

uint32_t
yk_lane_index(const struct yk_lane *lane)
{
    return lane->config.lane;
}
