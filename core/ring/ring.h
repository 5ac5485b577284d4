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

static inline uint32_t
yk_ring_slot(const struct yk_ring *ring, uint64_t hash)
{
    return ring->slot_bits == 0 ? 0 : (uint32_t)(hash >> (64 - ring->slot_bits));
}

static inline uint32_t
yk_ring_lane(const struct yk_ring *ring, uint32_t slot)
{
    return slot % ring->n_lanes;
}

static inline uint32_t
yk_ring_worker(const struct yk_ring *ring, uint32_t lane)
{
    return lane % ring->n_workers;
}

#endif
