/* Threads go through the phases in step: each arrives, waits until all have, and is told what comes
 * next. So nothing is under way between two phases, and what the server's processes have spent is
 * read there. */
#include <config.h>

#include "tools/bench/run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

static atomic_bool stop; /* the run ends early: one, for the signal's sake */

struct run {
    const struct bench_plan *plan;
    pthread_mutex_t mutex;
    pthread_cond_t has_arrived, goes_on;
    uint32_t n_arrived;  /* threads that wait for the next phase */
    uint32_t generation; /* rises with each phase */
    enum bench_phase phase;
    bool has_failed;
    char error[BENCH_ERROR_SIZE]; /* the first failure */
    struct runner *runners;
    /* The progress line. */
    uint64_t n_shown;
    int64_t shown_us;
    bool has_line;
};

struct runner {
    struct run *run;
    struct bench_load *load;
    GThread *thread;
};

static void
on_interrupt(int number)
{
    (void)number;
    atomic_store(&stop, true);
}

static void
run_fail(struct run *run, const char *error)
{
    pthread_mutex_lock(&run->mutex);
    if (!run->has_failed) {
        run->has_failed = true;
        g_strlcpy(run->error, error, sizeof(run->error));
    }
    pthread_mutex_unlock(&run->mutex);
    atomic_store(&stop, true);
}

static void
init_meeting(struct run *run)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&run->mutex, NULL);
    pthread_cond_init(&run->has_arrived, &clock);
    pthread_cond_init(&run->goes_on, NULL);
    pthread_condattr_destroy(&clock);
}

/* A thread is done with its phase: what comes next? */
static enum bench_phase
arrive(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    uint32_t generation = run->generation;
    run->n_arrived++;
    pthread_cond_signal(&run->has_arrived);
    while (run->generation == generation) {
        pthread_cond_wait(&run->goes_on, &run->mutex);
    }
    enum bench_phase phase = run->phase;
    pthread_mutex_unlock(&run->mutex);
    return phase;
}

static gpointer
thread_main(gpointer data)
{
    struct runner *runner = data;
    struct run *run = runner->run;
    char error[BENCH_ERROR_SIZE] = "";
    if (!bench_load_connect(runner->load, error)) {
        run_fail(run, error);
    }
    enum bench_phase phase;
    while ((phase = arrive(run)) != BENCH_END) {
        if (!bench_load_run(runner->load, phase, error)) {
            run_fail(run, error);
        }
    }
    return NULL;
}

/* Progress */

static void
show_progress(struct run *run)
{
    static const char *const names[] = {"fill", "warm-up", "measured"};
    uint64_t n = 0;
    for (uint32_t i = 0; i < run->plan->n_threads; i++) {
        n += bench_load_n_done(run->runners[i].load);
    }
    int64_t now_us = g_get_monotonic_time();
    double seconds = (double)(now_us - run->shown_us) / 1e6;
    if (run->plan->has_progress && run->generation > 0) {
        fprintf(stderr, "\r%-8s %'14" G_GUINT64_FORMAT " requests, %'10.0f a second",
                names[run->phase], n, (double)(n - run->n_shown) / seconds);
        run->has_line = true;
    }
    run->n_shown = n;
    run->shown_us = now_us;
}

static void
wipe_progress(struct run *run)
{
    if (run->has_line) {
        fprintf(stderr, "\r%60s\r", "");
        run->has_line = false;
    }
}

/* Phases */

/* Waits until all threads have arrived. */
static void
gather(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    while (run->n_arrived < run->plan->n_threads) {
        if (pthread_cond_timedwait(&run->has_arrived, &run->mutex, &until) == ETIMEDOUT) {
            show_progress(run);
            until.tv_sec++;
        }
    }
    pthread_mutex_unlock(&run->mutex);
    wipe_progress(run);
}

static void
go_on(struct run *run, enum bench_phase phase)
{
    pthread_mutex_lock(&run->mutex);
    run->n_arrived = 0;
    run->generation++;
    run->phase = phase;
    pthread_cond_broadcast(&run->goes_on);
    pthread_mutex_unlock(&run->mutex);
}

static void
do_phase(struct run *run, enum bench_phase phase, struct bench_results *results)
{
    go_on(run, phase);
    gather(run);
    memset(results, 0, sizeof(*results));
    for (uint32_t i = 0; i < run->plan->n_threads; i++) {
        bench_results_add(results, bench_load_results(run->runners[i].load));
    }
}

static bool
take_sample(struct run *run, struct bench_sample *sample)
{
    char error[BENCH_ERROR_SIZE];
    if (!bench_watch(run->plan->pids, run->plan->n_pids, sample, error, sizeof(error))) {
        run_fail(run, error);
        return false;
    }
    return true;
}

static int64_t
own_cpu_ns(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return spent.tv_sec * 1000000000ll + spent.tv_nsec;
}

static void
check_fill(struct run *run, const struct bench_results *fill)
{
    if (fill->n_errors > 0) {
        char error[BENCH_ERROR_SIZE];
        g_snprintf(error, sizeof(error),
                   "while filling, the server refused %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                   " sets: \"%s\"",
                   fill->n_errors, fill->n_sets, fill->errors.texts[0].text);
        run_fail(run, error);
    }
}

/* The phases, one after the other; ends where one fails. */
static void
do_phases(struct run *run, struct bench_report *report)
{
    const struct bench_plan *plan = run->plan;
    gather(run); /* they have connected */
    if (run->has_failed || !take_sample(run, &report->at_start)) {
        return;
    }
    report->after_fill = report->at_start;
    if (plan->fills) {
        do_phase(run, BENCH_FILL, &report->fill);
        check_fill(run, &report->fill);
        if (run->has_failed || !take_sample(run, &report->after_fill)) {
            return;
        }
    }
    if ((plan->warm_up_ns > 0 || plan->n_warm_up_requests > 0) && !atomic_load(&stop)) {
        do_phase(run, BENCH_WARM_UP, &report->measured);
        memset(&report->measured, 0, sizeof(report->measured));
    }
    if (run->has_failed || !take_sample(run, &report->before) || atomic_load(&stop) ||
        (plan->measure_ns == 0 && plan->n_requests == 0)) {
        report->after = report->before;
        return;
    }
    int64_t begun_ns = own_cpu_ns();
    do_phase(run, BENCH_MEASURE, &report->measured);
    report->loader_cpu_ns = own_cpu_ns() - begun_ns;
    (void)take_sample(run, &report->after);
}

bool
bench_run(const struct bench_plan *plan, struct bench_report *report, char error[BENCH_ERROR_SIZE])
{
    struct run run = {.plan = plan, .shown_us = g_get_monotonic_time()};
    init_meeting(&run);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    memset(report, 0, sizeof(*report));
    run.runners = g_new0(struct runner, plan->n_threads);
    for (uint32_t i = 0; i < plan->n_threads; i++) {
        run.runners[i].run = &run;
        run.runners[i].load = bench_load_new(plan, i, &stop);
    }
    for (uint32_t i = 0; i < plan->n_threads; i++) {
        run.runners[i].thread = g_thread_new("load", thread_main, &run.runners[i]);
    }
    do_phases(&run, report);
    go_on(&run, BENCH_END);
    for (uint32_t i = 0; i < plan->n_threads; i++) {
        g_thread_join(run.runners[i].thread);
        bench_load_free(run.runners[i].load);
    }
    g_free(run.runners);
    g_strlcpy(error, run.error, BENCH_ERROR_SIZE);
    report->is_interrupted = atomic_load(&stop) && !run.has_failed;
    pthread_mutex_destroy(&run.mutex);
    pthread_cond_destroy(&run.has_arrived);
    pthread_cond_destroy(&run.goes_on);
    return !run.has_failed;
}
