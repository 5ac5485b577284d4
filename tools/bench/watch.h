/* What the server's processes, and this one, take from the machine: processor time and resident
 * memory, by what the kernel says of them.
 *
 * Threads: any. Ownership: plain values. */
#ifndef YK_TOOLS_BENCH_WATCH_H
#define YK_TOOLS_BENCH_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_sample {
    int64_t cpu_ns;  /* user and system, threads that have ended included */
    int64_t user_ns; /* the shares of both come in ticks of the kernel, of 10 ms mostly */
    int64_t system_ns;
    uint64_t rss; /* bytes */
};

/* The sum over pids. False: a process is not there or may not be looked at; error says which. */
bool bench_watch(const int *pids, uint32_t n_pids, struct bench_sample *ret_sample, char *error,
                 size_t error_size);

#endif
