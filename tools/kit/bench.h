/* What most parts need together: a host, an engine in a folder of its own, a model of what it
 * should hold, and random numbers.
 *
 * Threads: one. Ownership: a bench owns all in it; it is large, so not for a thread's stack. */
#ifndef YK_TOOLS_KIT_BENCH_H
#define YK_TOOLS_KIT_BENCH_H

#include "tools/kit/engine.h"
#include "tools/kit/model.h"

struct kit_bench {
    struct kit *kit;
    struct kit_host host;
    struct kit_engine engine;
    struct kit_model model;
    struct yk_random random;
    struct kit_place place;
    char *folder;
};

/* Host, engine, random numbers and an empty folder for one round of a part; nothing is open. */
struct kit_bench *kit_bench_new(struct kit *kit, const char *purpose, uint64_t round);
/* Closes what is open. */
void kit_bench_free(struct kit_bench *bench);

/* What the engine says of itself, without opening it. */
struct yk_backend_info kit_bench_info(struct kit *kit);

/* Opens the engine at bench->place, and makes the model of n_items where there is none. */
void kit_bench_open(struct kit_bench *bench, uint32_t n_items);
/* A model only, for who opens later: by what the engine says of itself. */
void kit_bench_model(struct kit_bench *bench, uint32_t n_items);
void kit_bench_close(struct kit_bench *bench);

/* Applies n batches. */
void kit_bench_fill(struct kit_bench *bench, uint32_t n);
/* Reads all and scans all. */
void kit_bench_check(struct kit_bench *bench);

#endif
