/* The histogram against sorted samples: quantiles within its promised error, and sums that add up.
 */
#include <config.h>

#include "core/base/histogram.h"

#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "core/base/random.h"

enum { SAMPLES = 20000 };

static const double shares[] = {0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};

static int
compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* What a quantile is: the least sample that has at least that share of all at or below it. */
static uint64_t
exact_quantile(const uint64_t *sorted, size_t n, double share)
{
    size_t rank = (size_t)(share * (double)n);
    rank += (double)rank < share * (double)n || rank == 0;
    return sorted[MIN(rank, n) - 1];
}

static void
check_quantiles(const struct yk_histogram *histogram, uint64_t *samples, size_t n)
{
    qsort(samples, n, sizeof(*samples), compare);
    for (size_t i = 0; i < G_N_ELEMENTS(shares); i++) {
        double exact = (double)exact_quantile(samples, n, shares[i]);
        double got = (double)yk_histogram_quantile(histogram, shares[i]);
        g_assert_cmpfloat(ABS(got - exact), <=, exact * 0.01);
    }
    g_assert_cmpuint(histogram->n, ==, n);
    g_assert_cmpuint(histogram->min, ==, samples[0]);
    g_assert_cmpuint(histogram->max, ==, samples[n - 1]);
    g_assert_cmpuint(yk_histogram_quantile(histogram, 1), ==, samples[n - 1]);
}

/* Sizes of all magnitudes alike, and of one narrow range. */
static void
test_samples(void)
{
    static uint64_t samples[SAMPLES];
    static struct yk_histogram histogram;
    const unsigned widths[] = {40, 39, 20, 8, 3, 0};
    for (size_t i = 0; i < G_N_ELEMENTS(widths); i++) {
        struct yk_random random = {i};
        memset(&histogram, 0, sizeof(histogram));
        for (size_t k = 0; k < SAMPLES; k++) {
            unsigned width = widths[i] == 0 ? 0 : (unsigned)yk_random_below(&random, widths[i]) + 1;
            samples[k] =
                width == 0 ? 123456789 + k % 1000 : yk_random_next(&random) >> (64 - width);
            yk_histogram_record(&histogram, samples[k]);
        }
        check_quantiles(&histogram, samples, SAMPLES);
    }
}

/* Each boundary of a count: what falls into one differs by less than 1 %. */
static void
test_boundaries(void)
{
    uint32_t last = 0;
    for (unsigned bit = 0; bit < 40; bit++) {
        for (uint64_t part = 0; part < 512; part++) {
            uint64_t value = (1ull << bit) + (part << bit) / 512;
            uint32_t index = yk_histogram_index(value);
            g_assert_cmpuint(index, <, YK_HISTOGRAM_N);
            g_assert_true(index >= last && index <= last + (value <= 1 ? 1 : last));
            last = index;
            struct yk_histogram *one = g_new0(struct yk_histogram, 1);
            yk_histogram_record(one, value);
            yk_histogram_record(one, value * 2);
            double got = (double)yk_histogram_quantile(one, 0.5);
            g_assert_cmpfloat(ABS(got - (double)value), <=, (double)value * 0.01);
            g_free(one);
        }
    }
    g_assert_cmpuint(yk_histogram_index(YK_HISTOGRAM_VALUE_MAX), ==, YK_HISTOGRAM_N - 1);
}

static void
test_empty_and_large(void)
{
    static struct yk_histogram histogram;
    g_assert_cmpuint(yk_histogram_quantile(&histogram, 0.5), ==, 0);
    g_assert_cmpfloat(yk_histogram_mean(&histogram), ==, 0);
    yk_histogram_record_n(&histogram, 5, 0);
    g_assert_cmpuint(histogram.n, ==, 0);
    yk_histogram_record(&histogram, UINT64_MAX / 4);
    yk_histogram_record(&histogram, 0);
    g_assert_cmpuint(histogram.max, ==, UINT64_MAX / 4);
    g_assert_cmpuint(yk_histogram_quantile(&histogram, 1), ==, UINT64_MAX / 4);
    g_assert_cmpuint(yk_histogram_quantile(&histogram, 0.5), ==, 0);
}

/* Two halves added are the whole. */
static void
test_add(void)
{
    static struct yk_histogram whole, halves[2], sum;
    struct yk_random random = {7};
    for (int i = 0; i < SAMPLES; i++) {
        uint64_t value = yk_random_below(&random, 1u << 30), n = 1 + yk_random_below(&random, 3);
        yk_histogram_record_n(&whole, value, n);
        yk_histogram_record_n(&halves[i % 2], value, n);
    }
    yk_histogram_add(&sum, &halves[0]);
    yk_histogram_add(&sum, &halves[1]);
    g_assert_cmpmem(&sum, sizeof(sum), &whole, sizeof(whole));
    static const struct yk_histogram nothing;
    yk_histogram_add(&sum, &nothing);
    g_assert_cmpmem(&sum, sizeof(sum), &whole, sizeof(whole));
    g_assert_cmpfloat(yk_histogram_mean(&sum), ==, (double)whole.sum / (double)whole.n);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/histogram/samples", test_samples);
    g_test_add_func("/histogram/boundaries", test_boundaries);
    g_test_add_func("/histogram/empty-and-large", test_empty_and_large);
    g_test_add_func("/histogram/add", test_add);
    return g_test_run();
}
