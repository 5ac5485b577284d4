/* What replicas ask of the managers, on its way from a worker to the node's control, and refusals
 * on their way back.
 *
 * Threads: a list belongs to one thread at a time. Ownership: handed over whole; free(). */
#ifndef YK_REPLICA_WISH_H
#define YK_REPLICA_WISH_H

#include <stdint.h>

enum yk_wish_kind {
    YK_WISH_NONE,
    YK_WISH_BUMP,
    YK_WISH_PROMOTE,
    YK_WISH_REMOVE,
    YK_WISH_ADD,
    YK_WISH_REINIT
};

/* What one asks, until a manager has answered. */
struct yk_wish {
    enum yk_wish_kind kind;
    uint32_t epoch;
    uint32_t node, incarnation; /* REMOVE, ADD: of whom; node: index in the bucket's register */
};

struct yk_slot_wish {
    uint16_t bucket, slot; /* bucket: the node's own index */
    struct yk_wish wish;
};

struct yk_wishes {
    struct yk_wishes *next;
    uint32_t worker; /* whose they are */
    uint32_t n;
    struct yk_slot_wish wishes[];
};

#endif
