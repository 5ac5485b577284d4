/* Seeded random numbers (splitmix64): the same seed, the same numbers, on every machine.
 *
 * Threads: a generator belongs to one thread. Ownership: plain value. */
#ifndef YK_BASE_RANDOM_H
#define YK_BASE_RANDOM_H

#include <stdint.h>

struct yk_random {
    uint64_t state;
};

static inline uint64_t
yk_random_next(struct yk_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* 0 <= result < bound; bound > 0. */
static inline uint64_t
yk_random_below(struct yk_random *random, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)yk_random_next(random) * bound) >> 64);
}

#endif
