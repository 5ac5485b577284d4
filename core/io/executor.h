/* Executor threads: they run the jobs of lanes whose engines may block. A lane has no
 * more jobs out than its engine bears.
 *
 * Threads: submit from any; done is called on an executor thread. Ownership: jobs are lent from
 * submit to done. */
#ifndef YK_IO_EXECUTOR_H
#define YK_IO_EXECUTOR_H

#include "core/replica/lane.h"

struct yk_executor;

/* jobs_max: how many jobs can be out at once at most (of all lanes). */
enum yk_err
yk_executor_new(uint32_t n_threads, uint32_t jobs_max, void (*done)(void *arg, struct yk_job *job),
                void *arg, struct yk_executor **ret_executor) YK_MUST_CHECK;
/* Every job must be done. Takes NULL. */
void yk_executor_free(struct yk_executor *executor);
void yk_executor_submit(struct yk_executor *executor, struct yk_job *job);

/* Jobs that are done, on their way back to a worker. */
struct yk_job_box {
    struct yk_job **jobs;
    uint32_t n; /* atomic, written under the lock */
    uint32_t n_max;
    int lock; /* a spin lock, held for a few instructions */
};

enum yk_err yk_job_box_init(struct yk_job_box *box, uint32_t n_max) YK_MUST_CHECK;
void yk_job_box_done(struct yk_job_box *box);
void yk_job_box_put(struct yk_job_box *box, struct yk_job *job);
struct yk_job *yk_job_box_take(struct yk_job_box *box); /* or NULL */
/* Without the lock: what was put before this thread looked is seen. */
bool yk_job_box_is_empty(const struct yk_job_box *box);

#endif
