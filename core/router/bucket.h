/* What the router knows of a bucket; behind the handle that plugins see.
 *
 * Threads: immutable after the node has started, but for the budget. Ownership: the node's. */
#ifndef YK_ROUTER_BUCKET_H
#define YK_ROUTER_BUCKET_H

#include "core/base/limits.h"
#include "core/ring/ring.h"
#include "core/store/budget.h"

struct yk_bucket {
    char name[YK_NAME_SIZE_MAX];
    uint32_t index;
    struct yk_ring ring;
    uint32_t key_size_max;
    uint64_t value_size_max;
    bool pins_ops;       /* its lanes want the ops' bytes pinned, see yk_lane_pins */
    bool is_direct;      /* its lanes execute ops on a key in the order in which they are started */
    bool is_clustered;   /* its slots are had by several nodes: an op may be sent to another one, or
                            tried again; so it is pinned, and its answer kept */
    bool keeps_answers;  /* its lanes answer from another thread, see yk_lane_keeps */
    uint64_t memory_min; /* bytes: no lower bound may be set at run time */
    struct yk_shared_budget budget;
};

#endif
