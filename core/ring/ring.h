/* Where a key belongs: key -> hash -> slot -> lane -> worker.
 *
 * A ring of 2^k slots: a key's slot is the top k bits of its hash, fixed for ever. A node keeps its
 * share of a bucket in lanes (slot modulo the number of lanes); each lane belongs to one worker
 * (lane modulo the number of workers), so that the number of workers may change from one start to
 * the next.
 *
 * Threads: pure. Ownership: plain values. */
#ifndef YK_RING_RING_H
#define YK_RING_RING_H

#include <stdint.h>

struct yk_ring {
    uint32_t slot_bits; /* 2^slot_bits slots */
    uint32_t n_lanes;
    uint32_t n_workers;
};

/* number / divisor and number % divisor, which for the usual power of two need no division. */
static inline uint32_t
yk_ring_quotient(uint32_t number, uint32_t divisor)
{
    return (divisor & (divisor - 1)) == 0 ? number >> __builtin_ctz(divisor) : number / divisor;
}

static inline uint32_t
yk_ring_rest(uint32_t number, uint32_t divisor)
{
    return (divisor & (divisor - 1)) == 0 ? number & (divisor - 1) : number % divisor;
}

static inline uint32_t
yk_ring_slot(const struct yk_ring *ring, uint64_t hash)
{
    return ring->slot_bits == 0 ? 0 : (uint32_t)(hash >> (64 - ring->slot_bits));
}

static inline uint32_t
yk_ring_lane(const struct yk_ring *ring, uint32_t slot)
{
    return yk_ring_rest(slot, ring->n_lanes);
}

static inline uint32_t
yk_ring_worker(const struct yk_ring *ring, uint32_t lane)
{
    return yk_ring_rest(lane, ring->n_workers);
}

/* Which of its lane's slots it is, from 0. */
static inline uint32_t
yk_ring_slot_index(const struct yk_ring *ring, uint32_t slot)
{
    return yk_ring_quotient(slot, ring->n_lanes);
}

#endif
