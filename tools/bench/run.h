/* A whole run: the threads, the phases that they go through together, and what is measured around
 * them.
 *
 * Threads: called from the first; the others live within. Ownership: plain values. */
#ifndef YK_TOOLS_BENCH_RUN_H
#define YK_TOOLS_BENCH_RUN_H

#include "tools/bench/load.h"
#include "tools/bench/watch.h"

struct bench_report {
    struct bench_results fill; /* n_sets 0: there was none */
    struct bench_results measured;
    struct bench_sample at_start, after_fill, before,
        after;             /* of the server; around the measured */
    int64_t loader_cpu_ns; /* of the measured phase */
    bool is_interrupted;
};

/* False: error says why, and where it has come to is in the report. SIGINT ends the phase under
 * way; a second one ends the program. */
bool
bench_run(const struct bench_plan *plan, struct bench_report *report, char error[BENCH_ERROR_SIZE]);

#endif
