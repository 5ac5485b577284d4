/* What is made once; see items.h. */
#include <config.h>

#include "tools/bench/items.h"

#include <glib.h>

#include "core/base/random.h"

uint32_t
bench_items_digits(uint64_t n_keys)
{
    uint32_t n = 1;
    for (uint64_t last = n_keys - 1; last >= 10; last /= 10) {
        n++;
    }
    return n;
}

void
bench_items_init(struct bench_items *items, const char *prefix, uint64_t seed)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct yk_random random = {seed};
    items->seed = yk_random_next(&random);
    items->prefix_size = (uint32_t)strlen(prefix);
    memset(items->prefix, '0', sizeof(items->prefix));
    memcpy(items->prefix, prefix, items->prefix_size);
    size_t size = BENCH_PATTERN_PLACES + (size_t)items->value_sizes.max;
    items->pattern = g_malloc(size);
    for (size_t i = 0; i < size; i++) {
        items->pattern[i] = letters[yk_random_next(&random) >> 58];
    }
}

void
bench_items_done(struct bench_items *items)
{
    g_free(items->pattern);
}
