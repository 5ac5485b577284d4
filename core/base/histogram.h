/* A histogram of high dynamic range: from 1 to 2^40 with a relative error below 1 %, in one array.
 * In nanoseconds that is from one to eighteen minutes.
 *
 * Each power of two from 2^8 on is cut into 128 parts, and what is below 256 is kept exactly; so
 * to record is one shift, one add and one store, and histograms of threads add up.
 *
 * Threads: a histogram belongs to one thread. Ownership: plain value, 34 KiB; begins as zeros. */
#ifndef YK_BASE_HISTOGRAM_H
#define YK_BASE_HISTOGRAM_H

#include <stdint.h>

#define YK_HISTOGRAM_BITS      7 /* parts of a power of two, as a power of two */
#define YK_HISTOGRAM_VALUE_MAX ((1ull << 40) - 1)
#define YK_HISTOGRAM_N         ((40u - YK_HISTOGRAM_BITS + 1u) << YK_HISTOGRAM_BITS)

struct yk_histogram {
    uint64_t n;   /* values recorded */
    uint64_t sum; /* of them */
    uint64_t min; /* the least; only if n > 0 */
    uint64_t max; /* the greatest, exactly */
    uint64_t counts[YK_HISTOGRAM_N];
};

/* Which count a value of at most YK_HISTOGRAM_VALUE_MAX belongs to. */
static inline uint32_t
yk_histogram_index(uint64_t value)
{
    uint32_t shift = value < (2u << YK_HISTOGRAM_BITS)
                         ? 0
                         : 63u - (uint32_t)__builtin_clzll(value) - YK_HISTOGRAM_BITS;
    return (shift << YK_HISTOGRAM_BITS) + (uint32_t)(value >> shift);
}

/* Records value n times. A greater one than YK_HISTOGRAM_VALUE_MAX is counted with those of that
 * size; sum and max take it as it is. */
static inline void
yk_histogram_record_n(struct yk_histogram *histogram, uint64_t value, uint64_t n)
{
    if (n == 0) {
        return;
    }
    uint64_t counted = value < YK_HISTOGRAM_VALUE_MAX ? value : YK_HISTOGRAM_VALUE_MAX;
    histogram->counts[yk_histogram_index(counted)] += n;
    histogram->min = histogram->n == 0 || value < histogram->min ? value : histogram->min;
    histogram->max = value > histogram->max ? value : histogram->max;
    histogram->n += n;
    histogram->sum += value * n;
}

static inline void
yk_histogram_record(struct yk_histogram *histogram, uint64_t value)
{
    yk_histogram_record_n(histogram, value, 1);
}

void yk_histogram_add(struct yk_histogram *to, const struct yk_histogram *from);
/* The value below or at which that share of the values is, 0 <= share <= 1; 0 if there are none. */
uint64_t yk_histogram_quantile(const struct yk_histogram *histogram, double share);
double yk_histogram_mean(const struct yk_histogram *histogram);

#endif
