/* Distributions of sizes, of keys and of values: "100", "10-1000", "etc", "lognormal:M:S",
 * "pareto:S:K". Whatever its form, a distribution becomes a table of quantiles, so that the size of
 * an item is one look-up by a hash of its key, and the same each time it is asked for.
 *
 * Threads: read by all once made. Ownership: plain value. */
#ifndef YK_TOOLS_BENCH_SIZES_H
#define YK_TOOLS_BENCH_SIZES_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_QUANTILES = 4096, BENCH_SIZES_ERROR_SIZE = 256 };

struct bench_sizes {
    uint32_t min, max; /* of the table */
    double mean;
    uint32_t quantiles[BENCH_QUANTILES]; /* rising */
};

/* What "etc" is: the sizes of Facebook's pool ETC (Atikoglu et al., SIGMETRICS 2012, section 5.1).
 */
enum bench_sizes_of { BENCH_SIZES_OF_KEYS, BENCH_SIZES_OF_VALUES };

/* All sizes are kept within min and max; a size or range that was written out must be. False:
 * error says why. */
bool bench_sizes_parse(const char *text, enum bench_sizes_of of, uint32_t min, uint32_t max,
                       struct bench_sizes *sizes, char error[BENCH_SIZES_ERROR_SIZE]);

/* random: 64 random bits. */
static inline uint32_t
bench_sizes_at(const struct bench_sizes *sizes, uint64_t random)
{
    return sizes->quantiles[random >> 52];
}

#endif
