/* What is asked of a histogram when all is recorded. */
#include <config.h>

#include "core/base/histogram.h"

void
yk_histogram_add(struct yk_histogram *to, const struct yk_histogram *from)
{
    if (from->n == 0) {
        return;
    }
    to->min = to->n == 0 || from->min < to->min ? from->min : to->min;
    to->max = from->max > to->max ? from->max : to->max;
    to->n += from->n;
    to->sum += from->sum;
    for (uint32_t i = 0; i < YK_HISTOGRAM_N; i++) {
        to->counts[i] += from->counts[i];
    }
}

/* The middle of what falls into a count. */
static uint64_t
middle_of(uint32_t index)
{
    const uint32_t parts = 1u << YK_HISTOGRAM_BITS;
    if (index < 2 * parts) {
        return index;
    }
    uint32_t shift = index / parts - 1;
    uint64_t least = (uint64_t)(index - shift * parts) << shift;
    return least + (1ull << shift) / 2;
}

uint64_t
yk_histogram_quantile(const struct yk_histogram *histogram, double share)
{
    if (histogram->n == 0) {
        return 0;
    }
    /* The rank of the value: the first one is 1. */
    double exact = share * (double)histogram->n;
    uint64_t rank = (uint64_t)exact;
    rank += (double)rank < exact || rank == 0 ? 1 : 0;
    if (rank >= histogram->n) {
        return histogram->max;
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < YK_HISTOGRAM_N; i++) {
        seen += histogram->counts[i];
        if (seen >= rank) {
            uint64_t middle = middle_of(i);
            return middle < histogram->min   ? histogram->min
                   : middle > histogram->max ? histogram->max
                                             : middle;
        }
    }
    return histogram->max;
}

double
yk_histogram_mean(const struct yk_histogram *histogram)
{
    return histogram->n == 0 ? 0 : (double)histogram->sum / (double)histogram->n;
}
