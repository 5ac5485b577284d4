/* What was asked for: made from the command line, then only read.
 *
 * Threads: read by all. Ownership: texts are the command line's; the plan owns its items. */
#ifndef YK_TOOLS_BENCH_PLAN_H
#define YK_TOOLS_BENCH_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include <sys/socket.h>

#include "tools/bench/items.h"
#include "tools/bench/keys.h"
#include "tools/bench/protocol.h"

enum {
    BENCH_THREADS_MAX = 64,
    BENCH_CONNECTIONS_MAX = 100000,
    BENCH_PIPELINE_MAX = 4096,
    BENCH_MULTI_GET_MAX = 1000,
    BENCH_FILL_PIPELINE = 64, /* sets in one go while filling */
    BENCH_PIDS_MAX = 32,
    BENCH_ERROR_SIZE = 1024,
};

struct bench_plan {
    const char *server; /* as typed */
    struct sockaddr_storage address;
    socklen_t address_size;
    enum bench_protocol protocol;
    uint32_t n_threads;
    uint32_t n_connections; /* of all threads */
    uint32_t pipeline;
    uint32_t multi_get; /* keys of one get */
    /* Of the requests of a phase, gets : sets. */
    uint32_t n_gets_of_ratio, n_sets_of_ratio;
    bool sets_on_miss; /* a get that misses is followed by a set of its key */
    bool is_verified;
    bool fills;
    struct bench_items items;
    struct bench_keys keys;
    uint64_t seed;
    /* A phase ends after a time, or after so many requests; 0: not by that. */
    int64_t warm_up_ns;
    uint64_t n_warm_up_requests;
    int64_t measure_ns;
    uint64_t n_requests;
    double rate; /* requests a second of all threads in open loop; 0: closed loop */
    int64_t timeout_ns;
    int pids[BENCH_PIDS_MAX];
    uint32_t n_pids;
    bool has_progress;
};

#endif
