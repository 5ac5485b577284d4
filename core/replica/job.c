/* The steps of a job. */
#include <config.h>

#include "core/replica/job.h"

#include <stdlib.h>

#include "core/base/assert.h"

struct call_memory {
    struct call_memory *next;
    _Alignas(16) uint8_t bytes[];
};

static void *
call_alloc(struct yk_call *call, size_t size)
{
    struct yk_job *job = (struct yk_job *)call;
    struct call_memory *memory = malloc(sizeof(*memory) + size);
    if (memory == NULL) {
        return NULL;
    }
    memory->next = job->memory;
    job->memory = memory;
    return memory->bytes;
}

static void
call_forget(struct yk_job *job)
{
    while (job->memory != NULL) {
        struct call_memory *memory = job->memory;
        job->memory = memory->next;
        free(memory);
    }
}

void
yk_job_init(struct yk_job *job, struct yk_lane *lane, struct yk_stack *stack)
{
    job->call = (struct yk_call){.struct_size = sizeof(job->call), .alloc = call_alloc};
    job->memory = NULL;
    job->lane = lane;
    job->stack = stack;
    yk_job_reset(job, 0);
}

void
yk_job_done(struct yk_job *job)
{
    call_forget(job);
}

void
yk_job_reset(struct yk_job *job, uint64_t now_ms)
{
    job->step = JOB_GET;
    job->mode = JOB_WRITES;
    job->syncs = false;
    job->is_waiting = job->has_hints = job->is_single = job->is_behind = false;
    job->single_at = job->n_single_done = 0;
    job->now_ms = job->call.now_ms = now_ms;
    job->n_gets = job->n_changes = job->n_admitted = job->n_deferred = job->n_refused = 0;
    job->scan = job->figures = NULL;
    job->get_result = job->apply_result = job->room_result = job->scan_result = YK_OK;
    job->scan_end = false;
}

struct yk_lane *
yk_job_lane(const struct yk_job *job)
{
    return job->lane;
}

struct yk_job *
yk_job_of_call(struct yk_call *call, enum yk_err result)
{
    struct yk_job *job = (struct yk_job *)call;
    YK_ASSERT(job->is_waiting);
    job->pending_result = result;
    return job;
}

/* A plugin's answer for an index that it was not asked for, or twice, counts as none. */
static void
got(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct yk_job *job = arg;
    if (index >= job->n_gets || job->is_answered[index]) {
        return;
    }
    job->is_answered[index] = true;
    yk_lane_got(job->lane, job->gets[index], result, value);
}

static bool
scanned(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct yk_job *job = arg;
    return yk_lane_scanned(job->lane, job, key, value);
}

static bool
is_read_again(const struct yk_job *job, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (job->gets[i]->hash == job->gets[index]->hash) {
            return true;
        }
    }
    return false;
}

void
yk_op_ask_engine(struct yk_op *op, struct yk_stack *stack, const struct yk_key *key)
{
    struct yk_hint hint = {.struct_size = sizeof(hint)};
    if (yk_stack_hint(stack, key, &hint) == YK_OK) {
        op->was_hit = hint.was_hit != 0;
        op->last_access_ms = hint.last_access_ms;
    }
}

/* Before the reads, which the engine notes. An earlier read of the batch counts as one before. */
static void
ask_hints(struct yk_job *job)
{
    for (uint32_t i = 0; i < job->n_gets; i++) {
        struct yk_op *op = job->gets[i];
        if ((op->request.flags & YK_REQUEST_HINT) == 0) {
            continue;
        }
        if (is_read_again(job, i)) {
            op->was_hit = true;
            op->last_access_ms = job->now_ms;
        } else if (job->asks_engine) {
            yk_op_ask_engine(op, job->stack, &job->keys[i]);
        }
    }
}

static enum yk_err
start_get(struct yk_job *job)
{
    if (job->n_gets == 0) {
        return YK_OK;
    }
    if (job->has_hints) {
        ask_hints(job);
    }
    return yk_stack_get(job->stack, job->keys, job->n_gets, got, job, &job->call);
}

static void
end_get(struct yk_job *job, enum yk_err result)
{
    job->get_result = result;
    for (uint32_t i = 0; i < job->n_gets; i++) {
        if (!job->is_answered[i]) {
            job->is_answered[i] = true;
            yk_lane_got(job->lane, job->gets[i], result != YK_OK ? result : YK_EIO,
                        yk_slice_of(NULL, 0));
        }
    }
}

static void
refuse(struct yk_job *job, union job_owner write, enum yk_err result)
{
    job->refused[job->n_refused] = write;
    job->refusals[job->n_refused++] = result;
}

/* Keeps the admitted changes, in their order. What finds no room behind others is put off to the
 * next job: an engine cannot evict what is admitted and not yet applied. */
static void
admit_all(struct yk_job *job)
{
    uint32_t n = 0;
    bool is_committed = job->mode == JOB_APPLIES || job->mode == JOB_PAGES;
    for (uint32_t i = 0; i < job->n_changes; i++) {
        bool has_room = is_committed && !(job->mode == JOB_APPLIES && job->is_strange[i]);
        enum yk_err result = has_room ? YK_OK : yk_stack_admit(job->stack, &job->changes[i]);
        if (result == YK_ENOMEM && !is_committed && (n > 0 || job->is_behind)) {
            job->n_deferred = job->n_changes - i;
            break;
        }
        if (result != YK_OK) {
            refuse(job, job->writes[i], result);
            continue;
        }
        if (n < i) {
            job->changes[n] = job->changes[i];
            job->writes[n] = job->writes[i];
        }
        n++;
    }
    job->n_admitted = n;
}

static enum yk_err
start_apply(struct yk_job *job)
{
    if (job->n_admitted == 0 || job->mode == JOB_ADMITS) {
        return YK_OK;
    }
    if (job->is_single) {
        return yk_stack_apply(job->stack, &job->changes[job->single_at], 1, &job->call);
    }
    return yk_stack_apply(job->stack, job->changes, job->n_admitted, &job->call);
}

/* Does the result say that nothing was made, and that others may fare better? */
static bool
is_refusal(const struct yk_job *job, enum yk_err result)
{
    return (result == YK_ENOSPACE || result == YK_ENOMEM || result == YK_ETOOLARGE ||
            result == YK_ECORRUPT) &&
           (yk_stack_info(job->stack)->caps & YK_BACKEND_ATOMIC_BATCH) != 0;
}

/* An engine that applies all or nothing has no room: the puts are refused, and deletions, which may
 * make some, are tried alone. True: there is something to try. */
static bool
refuse_puts(struct yk_job *job, enum yk_err result)
{
    uint32_t n = 0, n_before = job->n_admitted;
    for (uint32_t i = 0; i < n_before; i++) {
        if (job->changes[i].kind == YK_CHANGE_DELETE) {
            job->changes[n] = job->changes[i];
            job->writes[n++] = job->writes[i];
        } else {
            refuse(job, job->writes[i], result);
        }
    }
    job->n_admitted = n;
    return n > 0 && n < n_before;
}

static void
refuse_rest(struct yk_job *job, enum yk_err result)
{
    for (uint32_t i = 0; i < job->n_admitted; i++) {
        refuse(job, job->writes[i], result);
    }
    job->n_admitted = 0;
}

/* Something that the batch touches is damaged: its changes are tried one by one. False: there are
 * more. */
static bool
end_single(struct yk_job *job, enum yk_err result)
{
    uint32_t at = job->single_at++;
    if (result == YK_OK) {
        job->changes[job->n_single_done] = job->changes[at];
        job->writes[job->n_single_done++] = job->writes[at];
    } else if (is_refusal(job, result)) {
        refuse(job, job->writes[at], result);
    } else {
        job->apply_result = result;
        for (; at < job->n_admitted; at++) {
            job->writes[job->n_single_done++] = job->writes[at];
        }
        job->single_at = at;
    }
    if (job->single_at < job->n_admitted) {
        return false;
    }
    job->n_admitted = job->n_single_done;
    return true;
}

/* False: apply is to be called again. */
static bool
end_apply(struct yk_job *job, enum yk_err result)
{
    if (job->is_single) {
        return end_single(job, result);
    }
    if (!is_refusal(job, result)) {
        job->apply_result = result;
        return true;
    }
    if (result == YK_ECORRUPT) {
        job->is_single = true;
        return false;
    }
    job->room_result = result;
    if (refuse_puts(job, result)) {
        return false;
    }
    refuse_rest(job, result);
    return true;
}

static enum yk_err
start_sync(struct yk_job *job)
{
    return job->syncs && job->n_admitted > 0 && job->apply_result == YK_OK
               ? yk_stack_sync(job->stack)
               : YK_OK;
}

static enum yk_err
start_scan(struct yk_job *job)
{
    if (job->scan == NULL) {
        return YK_OK;
    }
    struct yk_scan scan = {.struct_size = sizeof(scan), .bytes_max = job->scan->scan->bytes_max};
    job->scan->scan->chunk_used = 0;
    return yk_stack_scan(job->stack, &scan, &job->scan->scan->cursor, scanned, job, &job->scan_end,
                         &job->call);
}

static enum yk_err
start_step(struct yk_job *job)
{
    switch (job->step) {
    case JOB_GET:
        return start_get(job);
    case JOB_ADMIT:
        admit_all(job);
        return YK_OK;
    case JOB_APPLY:
        return start_apply(job);
    case JOB_SYNC:
        return start_sync(job);
    case JOB_SCAN:
        return start_scan(job);
    case JOB_FIGURES:
        if (job->figures != NULL) {
            yk_stack_figures(job->stack, yk_figures_add, job->figures->figures);
        }
        return YK_OK;
    default:
        return YK_OK;
    }
}

static void
end_step(struct yk_job *job, enum yk_err result)
{
    switch (job->step) {
    case JOB_GET:
        end_get(job, result);
        break;
    case JOB_APPLY:
        if (!end_apply(job, result)) {
            return;
        }
        break;
    case JOB_SYNC:
        if (result != YK_OK) {
            job->apply_result = result;
        }
        break;
    case JOB_SCAN:
        job->scan_result = result;
        break;
    default:
        break;
    }
    job->step++;
}

void
yk_job_applied(struct yk_job *job, enum yk_err result)
{
    job->n_admitted = 1;
    while (!end_apply(job, result)) {
        result = start_apply(job);
        YK_ASSERT(result != YK_EPENDING);
    }
}

bool
yk_job_run(struct yk_job *job)
{
    if (job->is_waiting) {
        job->is_waiting = false;
        end_step(job, job->pending_result);
    }
    while (job->step != JOB_END) {
        job->is_waiting = true; /* before the call: it may be completed before it returns */
        enum yk_err result = start_step(job);
        if (result == YK_EPENDING) {
            return false;
        }
        job->is_waiting = false;
        end_step(job, result);
    }
    call_forget(job);
    return true;
}
