/* Which key comes next: uniform, by Zipf's law, in order, or one of these with scans mixed in.
 *
 * Threads: a plan is read by all once made, a source belongs to one thread.
 * Ownership: plain values. */
#ifndef YK_TOOLS_BENCH_KEYS_H
#define YK_TOOLS_BENCH_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/random.h"

enum { BENCH_KEYS_ERROR_SIZE = 256 };

enum bench_keys_kind { BENCH_KEYS_UNIFORM, BENCH_KEYS_ZIPF, BENCH_KEYS_SEQUENTIAL };

struct bench_keys {
    enum bench_keys_kind kind;
    uint64_t n; /* keys are 0 to n - 1 */
    /* Of Zipf's law: key k comes with probability ~ 1 / (k + 1)^theta. */
    double theta, h_first, h_last, shortcut;
    /* Scans: this many draws of 2^32 begin one, of so many keys in a row. */
    uint64_t scan_chance;
    uint64_t scan_length;
};

struct bench_keys_source {
    const struct bench_keys *keys;
    struct yk_random random;
    uint64_t next;      /* in order */
    uint64_t scan_next; /* of the scan under way */
    uint64_t scan_left;
};

/* "uniform", "zipf:THETA", "sequential", each also with "+scan:LENGTH:SHARE": that share of all
 * draws is of scans, which begin anywhere. False: error says why. */
bool bench_keys_parse(const char *text, uint64_t n, struct bench_keys *keys,
                      char error[BENCH_KEYS_ERROR_SIZE]);

/* Source number index of n_sources: they differ in their random numbers, and in where they begin
 * to go in order. */
void bench_keys_source_init(struct bench_keys_source *source, const struct bench_keys *keys,
                            uint64_t seed, uint32_t index, uint32_t n_sources);

uint64_t bench_keys_draw(struct bench_keys_source *source);

#endif
