/* The short way through a lane whose engine answers at once and keeps nothing: one op at a time,
 * from its read to its answer, in the order in which they were started. So the answers of a
 * connection come in the order of its requests, and none has to be kept until its turn comes. With
 * a journal that is so for reads; writes are prepared at once, and answered when they stand in it.
 *
 * What cannot go this way (a lane that is stopped, flushes, scans) goes by the queue. */
#include <config.h>

#include "core/replica/machine.h"
#include "core/store/decide.h"

bool
yk_lane_may_be_direct(const struct yk_backend_info *info)
{
    return yk_lane_jobs_max(info) == 0 && (info->caps & YK_BACKEND_VOLATILE) != 0;
}

void
yk_lane_prefetch(struct yk_lane *lane, const struct yk_op *op, uint32_t stage)
{
    if (lane->has_prefetch) {
        struct yk_key key = lane_key(lane, op);
        yk_stack_prefetch(lane->config.stack, &key, stage);
    }
}

/* A read on its way: the op, until it is answered. */
struct reading {
    struct yk_lane *lane;
    struct yk_op *op;
};

static void
got(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct reading *reading = arg;
    struct yk_op *op = reading->op;
    if (index == 0 && op != NULL) {
        reading->op = NULL;
        yk_lane_got(reading->lane, op, result, value);
    }
}

static void
read_old(struct yk_lane *lane, struct yk_job *job, struct yk_op *op)
{
    struct reading reading = {lane, op};
    struct yk_key key = lane_key(lane, op);
    if ((op->request.flags & YK_REQUEST_HINT) != 0 && !lane_recalls(lane, op)) {
        yk_op_ask_engine(op, lane->config.stack, &key);
    }
    enum yk_err result = yk_stack_get(lane->config.stack, &key, 1, got, &reading, &job->call);
    if (reading.op != NULL) {
        yk_lane_got(lane, op, result != YK_OK ? result : YK_EIO, yk_slice_of(NULL, 0));
    }
}

static void
write_decided(struct yk_lane *lane, struct yk_job *job, struct yk_op *op)
{
    struct yk_change *change = &job->changes[0];
    lane_fill_change(lane, op, change);
    enum yk_err result = yk_stack_admit(lane->config.stack, change);
    if (result != YK_OK) {
        lane_fail_write(lane, op, result, NULL);
        return;
    }
    result = yk_stack_apply(lane->config.stack, change, 1, &job->call);
    if (result == YK_OK && !lane->is_full) {
        lane_finish_write(lane, op);
        return;
    }
    yk_job_reset(job, lane->now_ms);
    job->n_changes = 1;
    job->writes[0].op = op;
    yk_job_applied(job, result);
    lane_finish_writes(lane, job);
}

void
yk_lane_execute(struct yk_lane *lane, struct yk_op *op, uint64_t now_ms)
{
    struct yk_job *job = &lane->jobs[0];
    lane_advance(lane, now_ms);
    job->call.now_ms = lane->now_ms;
    bool is_free = lane->queue.first == NULL && !lane->is_stopped && !lane->is_flushing;
    if (!is_free) {
        yk_lane_submit(lane, op);
    } else if (lane->is_journaled && !yk_op_is_read(op)) {
        if (lane_take_journaled(lane, op)) {
            read_old(lane, job, op);
        }
    } else if (yk_op_is_read(op) || yk_decide_needs_old(&op->request)) {
        read_old(lane, job, op);
    } else {
        lane_judge(lane, op, yk_slice_of(NULL, 0));
    }
    if (lane->is_journaled) {
        lane_prepare_all(lane);
    } else if (lane->decided.first != NULL) {
        write_decided(lane, job, yk_op_queue_pop(&lane->decided));
    }
    if (lane->queue.first != NULL) {
        yk_lane_run(lane, now_ms);
    }
}
