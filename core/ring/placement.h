/* Which nodes should hold each slot, and which of them as primary.
 *
 * Consistent hashing with virtual nodes says where a slot goes that nobody holds yet; bounds say
 * how much a node may hold. A node's share is by its weight, in whole slots, rounded down or up,
 * both of the copies and of the primaries: nobody holds more. Where the weights cannot be had (a
 * node holds a slot once, a zone as few copies of one as there can be), what is too much for some
 * goes to the others, again by weight.
 *
 * - The copies of a slot are on different nodes, always.
 * - They are in different zones where there are as many zones as copies; else the zones share them
 *   as evenly as their nodes allow. A node without a zone is a zone of its own.
 * - From a present assignment only what has to move moves: what is on nodes that are out, what is
 *   above a node's share, and what a zone has too much of. A new node takes its share from those
 *   that have more than theirs is now.
 * - The same nodes, weights, zones and assignment give the same result, in whatever order the nodes
 *   are listed.
 *
 * Threads: pure. Ownership: borrows all. */
#ifndef YK_RING_PLACEMENT_H
#define YK_RING_PLACEMENT_H

#include <yakumo/base.h>

/* In an assignment: no node. */
#define YK_PLACEMENT_NONE UINT32_MAX

struct yk_placement_node {
    const char *id;   /* a UUID, each another one */
    const char *zone; /* NULL or "": none */
    uint32_t weight;  /* 0: takes nothing, as one that is out */
    bool is_out;      /* it is to get rid of what it holds, or is gone */
};

/* An assignment: width entries for each slot, indexes into nodes, the preferred primary first, each
 * node once; YK_PLACEMENT_NONE only behind the last. */
struct yk_placement_current {
    const uint32_t *nodes; /* NULL: there is none */
    uint32_t width;
};

/* ret_assignment: room for n_slots * copies entries. Fewer nodes than copies: each slot has all of
 * them. n_slots at most 2^20, copies at most 16. YK_ENOMEM. */
enum yk_err
yk_placement_compute(const struct yk_placement_node *nodes, uint32_t n_nodes, uint32_t n_slots,
                     uint32_t copies, struct yk_placement_current current,
                     uint32_t *ret_assignment) YK_MUST_CHECK;

/* How many copies are where the slot had none before: what has to be copied to get there. */
uint64_t yk_placement_moves(struct yk_placement_current from, struct yk_placement_current to,
                            uint32_t n_slots);

#endif
