/* A run in words, or as JSON.
 *
 * Threads: one. Ownership: none. */
#ifndef YK_TOOLS_BENCH_REPORT_H
#define YK_TOOLS_BENCH_REPORT_H

#include "tools/bench/run.h"

void bench_report_print(const struct bench_plan *plan, const struct bench_report *report);
void bench_report_print_json(const struct bench_plan *plan, const struct bench_report *report);

#endif
