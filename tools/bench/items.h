/* The items of a load: the text of key number N, and its value. Both follow from the number and the
 * seed, so that nothing is remembered and what comes back can be checked.
 *
 * Threads: read by all once made. Ownership: items own their pattern. */
#ifndef YK_TOOLS_BENCH_ITEMS_H
#define YK_TOOLS_BENCH_ITEMS_H

#include <string.h>

#include "tools/bench/sizes.h"

enum { BENCH_KEY_SIZE_MAX = 250, BENCH_PATTERN_PLACES = 16384 };

struct bench_items {
    uint64_t seed;
    uint64_t n_keys;
    char prefix[BENCH_KEY_SIZE_MAX]; /* of each key; '0' from prefix_size on */
    uint32_t prefix_size;
    struct bench_sizes key_sizes;
    struct bench_sizes value_sizes;
    /* Random letters: a value is a piece of them, its place given by a hash of the key. */
    char *pattern;
};

/* prefix, n_keys and the sizes are set. */
void bench_items_init(struct bench_items *items, const char *prefix, uint64_t seed);
void bench_items_done(struct bench_items *items);
/* Digits that the greatest key needs. */
uint32_t bench_items_digits(uint64_t n_keys);

/* 64 bits that look random, of a key (splitmix64's last steps). */
static inline uint64_t
bench_items_hash(const struct bench_items *items, uint64_t key)
{
    uint64_t z = (key ^ items->seed) + 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint32_t
bench_items_value_size(const struct bench_items *items, uint64_t key)
{
    return bench_sizes_at(&items->value_sizes, bench_items_hash(items, key));
}

/* As many bytes as bench_items_value_size() says. */
static inline const char *
bench_items_value(const struct bench_items *items, uint64_t key)
{
    return items->pattern + bench_items_hash(items, key) % BENCH_PATTERN_PLACES;
}

/* Writes the key, at most BENCH_KEY_SIZE_MAX bytes, and returns its size. */
static inline uint32_t
bench_items_key(const struct bench_items *items, uint64_t key, char *to)
{
    static const char pairs[] = "0001020304050607080910111213141516171819202122232425262728293031"
                                "3233343536373839404142434445464748495051525354555657585960616263"
                                "6465666768697071727374757677787980818283848586878889909192939495"
                                "96979899";
    uint32_t size = items->key_sizes.min == items->key_sizes.max
                        ? items->key_sizes.min
                        : bench_sizes_at(&items->key_sizes, bench_items_hash(items, ~key));
    memcpy(to, items->prefix, size);
    char *end = to + size;
    for (; key >= 10; key /= 100) {
        end -= 2;
        memcpy(end, pairs + key % 100 * 2, 2);
    }
    if (key > 0) {
        *--end = (char)('0' + key);
    }
    return size;
}

#endif
