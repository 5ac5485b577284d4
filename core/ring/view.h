/* A view: what a node knows of the cluster at one time, as its workers use it: the registers of the
 * buckets, and how the nodes in them are reached. Immutable; a newer one takes its place.
 *
 * Threads: any, after it was made; the count of references is atomic.
 * Ownership: a view owns its registers; whoever keeps it holds a reference. */
#ifndef YK_RING_VIEW_H
#define YK_RING_VIEW_H

#include "core/ring/register.h"

#define YK_PEER_SELF 0u         /* the index of this node among its peers */
#define YK_PEER_NONE UINT32_MAX /* no peer: how it is reached is not known */
#define YK_NODE_NONE UINT32_MAX /* no node of the register */

struct yk_view_bucket {
    struct yk_bucket_register bucket; /* slots NULL: nothing is known of it yet */
    uint64_t revision;                /* of the register in the coordinator */
    /* The register was read from the coordinator, by a read begun after this start of the node,
     * at least once. Until then nobody acts. */
    bool is_fresh;
    uint32_t self;                /* this node's index in the register, or YK_NODE_NONE */
    uint32_t peers[YK_NODES_MAX]; /* of each node there: its peer index, or YK_PEER_NONE */
};

struct yk_view {
    uint32_t n_refs; /* atomic */
    uint32_t n_buckets;
    struct yk_view_bucket buckets[]; /* by the node's own index of the bucket */
};

/* A view of empty buckets, with one reference. NULL: no memory. */
struct yk_view *yk_view_new(uint32_t n_buckets);
struct yk_view *yk_view_ref(struct yk_view *view);
void yk_view_unref(struct yk_view *view); /* takes NULL */

/* Which worker of that node has the slot. Needs a node that is registered. */
static inline uint32_t
yk_view_worker(const struct yk_register_node *node, uint32_t slot)
{
    return node->n_workers > 0 ? slot % node->n_lanes % node->n_workers : 0;
}

/* A digest of slots, which are added in their order: 0 is that of none. Who asks a lane for
 * something in all slots of which it takes the lane's node to be the primary says so with it. */
static inline uint64_t
yk_slots_digest_add(uint64_t digest, uint32_t slot)
{
    digest = (digest ^ (slot + 1ull)) * 0x9e3779b97f4a7c15ull;
    return (digest ^ digest >> 29) | 1;
}

#endif
