/* A thread that loads the server: a loop over its connections. Each connection sends a batch of
 * requests in one write, reads the answers, and goes on with the next batch.
 *
 * In a closed loop the next batch follows at once, and a request's latency is counted from the
 * sending of its batch. In an open loop requests are due at fixed times, whether or not the server
 * keeps up; latency is counted from the time at which a request was due, so that a server that
 * stands still is charged for all that would have been sent meanwhile (coordinated omission).
 *
 * Threads: a load belongs to its thread between bench_load_connect() and bench_load_close(); the
 * others read n_done, and its results between phases.
 * Ownership: bench_load_new() to bench_load_free(). */
#ifndef YK_TOOLS_BENCH_LOAD_H
#define YK_TOOLS_BENCH_LOAD_H

#include <stdatomic.h>

#include "core/base/histogram.h"
#include "tools/bench/plan.h"

enum bench_phase { BENCH_FILL, BENCH_WARM_UP, BENCH_MEASURE, BENCH_END };

/* What one thread, or all of them, did in one phase. */
struct bench_results {
    struct yk_histogram get_latency; /* in nanoseconds */
    struct yk_histogram set_latency;
    uint64_t n_gets, n_sets; /* requests that were answered */
    uint64_t n_hits, n_misses;
    uint64_t n_errors;
    uint64_t n_late; /* of an open loop: due, but not sent when the phase ended */
    struct bench_errors errors;
    int64_t begun_ns, ended_ns; /* of CLOCK_MONOTONIC; ended: the last answer */
};

struct bench_load;

/* stop: set by anybody; the phase then ends with what is under way. */
struct bench_load *
bench_load_new(const struct bench_plan *plan, uint32_t index, const atomic_bool *stop);
void bench_load_free(struct bench_load *load);
bool bench_load_connect(struct bench_load *load, char error[BENCH_ERROR_SIZE]);
/* Does a phase until nothing is under way any more; the results are of this phase. */
bool bench_load_run(struct bench_load *load, enum bench_phase phase, char error[BENCH_ERROR_SIZE]);
const struct bench_results *bench_load_results(const struct bench_load *load);
/* Requests of all phases so far, from any thread. */
uint64_t bench_load_n_done(struct bench_load *load);
/* Bytes that the connections of a plan need for requests. */
uint64_t bench_load_memory(const struct bench_plan *plan);

void bench_results_add(struct bench_results *to, const struct bench_results *from);

#endif
