/* A pool of threads around one ring of jobs. */
#include <config.h>

#include "core/io/executor.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "core/base/assert.h"

struct yk_executor {
    pthread_mutex_t lock;
    pthread_cond_t has_jobs;
    struct yk_job **ring;
    uint32_t ring_size, first, n_jobs;
    bool is_ending;
    uint32_t n_threads;
    pthread_t *threads;
    void (*done)(void *arg, struct yk_job *job);
    void *arg;
};

static struct yk_job *
next_job(struct yk_executor *executor)
{
    struct yk_job *job = NULL;
    pthread_mutex_lock(&executor->lock);
    while (executor->n_jobs == 0 && !executor->is_ending) {
        pthread_cond_wait(&executor->has_jobs, &executor->lock);
    }
    if (executor->n_jobs > 0) {
        job = executor->ring[executor->first];
        executor->first = (executor->first + 1) % executor->ring_size;
        executor->n_jobs--;
    }
    pthread_mutex_unlock(&executor->lock);
    return job;
}

static void *
run(void *arg)
{
    struct yk_executor *executor = arg;
    struct yk_job *job;
    while ((job = next_job(executor)) != NULL) {
        if (yk_job_run(job)) {
            executor->done(executor->arg, job);
        }
    }
    return NULL;
}

enum yk_err
yk_executor_new(uint32_t n_threads, uint32_t jobs_max, void (*done)(void *arg, struct yk_job *job),
                void *arg, struct yk_executor **ret_executor)
{
    struct yk_executor *executor = calloc(1, sizeof(*executor));
    if (executor == NULL) {
        return YK_ENOMEM;
    }
    pthread_mutex_init(&executor->lock, NULL);
    pthread_cond_init(&executor->has_jobs, NULL);
    executor->done = done;
    executor->arg = arg;
    executor->ring_size = jobs_max;
    executor->ring = calloc(jobs_max, sizeof(struct yk_job *));
    executor->threads = calloc(n_threads, sizeof(pthread_t));
    if (executor->ring == NULL || executor->threads == NULL) {
        yk_executor_free(executor);
        return YK_ENOMEM;
    }
    for (; executor->n_threads < n_threads; executor->n_threads++) {
        if (pthread_create(&executor->threads[executor->n_threads], NULL, run, executor) != 0) {
            yk_executor_free(executor);
            return YK_ENOMEM;
        }
    }
    *ret_executor = executor;
    return YK_OK;
}

void
yk_executor_free(struct yk_executor *executor)
{
    if (executor == NULL) {
        return;
    }
    pthread_mutex_lock(&executor->lock);
    executor->is_ending = true;
    pthread_cond_broadcast(&executor->has_jobs);
    pthread_mutex_unlock(&executor->lock);
    for (uint32_t i = 0; i < executor->n_threads; i++) {
        pthread_join(executor->threads[i], NULL);
    }
    pthread_cond_destroy(&executor->has_jobs);
    pthread_mutex_destroy(&executor->lock);
    free(executor->threads);
    free(executor->ring);
    free(executor);
}

void
yk_executor_submit(struct yk_executor *executor, struct yk_job *job)
{
    pthread_mutex_lock(&executor->lock);
    YK_ASSERT(executor->n_jobs < executor->ring_size);
    executor->ring[(executor->first + executor->n_jobs++) % executor->ring_size] = job;
    pthread_cond_signal(&executor->has_jobs);
    pthread_mutex_unlock(&executor->lock);
}

/* Boxes */

static void
lock_box(struct yk_job_box *box)
{
    while (__atomic_exchange_n(&box->lock, 1, __ATOMIC_ACQUIRE) != 0) {
        sched_yield();
    }
}

static void
unlock_box(struct yk_job_box *box)
{
    __atomic_store_n(&box->lock, 0, __ATOMIC_RELEASE);
}

enum yk_err
yk_job_box_init(struct yk_job_box *box, uint32_t n_max)
{
    *box = (struct yk_job_box){.n_max = n_max};
    box->jobs = calloc(n_max + 1u, sizeof(struct yk_job *));
    return box->jobs != NULL ? YK_OK : YK_ENOMEM;
}

void
yk_job_box_done(struct yk_job_box *box)
{
    free(box->jobs);
    box->jobs = NULL;
}

void
yk_job_box_put(struct yk_job_box *box, struct yk_job *job)
{
    lock_box(box);
    YK_ASSERT(box->n < box->n_max);
    box->jobs[box->n] = job;
    __atomic_store_n(&box->n, box->n + 1, __ATOMIC_SEQ_CST);
    unlock_box(box);
}

struct yk_job *
yk_job_box_take(struct yk_job_box *box)
{
    struct yk_job *job = NULL;
    lock_box(box);
    if (box->n > 0) {
        job = box->jobs[box->n - 1];
        __atomic_store_n(&box->n, box->n - 1, __ATOMIC_SEQ_CST);
    }
    unlock_box(box);
    return job;
}

bool
yk_job_box_is_empty(const struct yk_job_box *box)
{
    return __atomic_load_n(&box->n, __ATOMIC_SEQ_CST) == 0;
}
