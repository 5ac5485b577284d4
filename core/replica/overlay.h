/* The overlay of a lane: the keys on which a write is under way.
 *
 * The first write of a key pins it and is its holder; later writes of the key wait, first in, first
 * out, and are judged against what the holder left. Reads do not wait here (the router keeps the
 * order of one connection): they see the committed record.
 *
 * Threads: the lane's. Ownership: the overlay owns its entries; ops are lent. */
#ifndef YK_REPLICA_OVERLAY_H
#define YK_REPLICA_OVERLAY_H

#include "core/store/op.h"

struct yk_overlay_entry {
    struct yk_overlay_entry *next; /* in its chain, or in the list of free ones */
    uint64_t hash;
    struct yk_op *holder; /* its request's key is the entry's */
    struct yk_op_queue waiters;
};

struct yk_overlay {
    struct yk_overlay_entry **chains;
    uint32_t n_chains; /* a power of two */
    uint32_t n_entries;
    struct yk_overlay_entry *free_entries;
};

enum yk_err yk_overlay_init(struct yk_overlay *overlay) YK_MUST_CHECK;
void yk_overlay_done(struct yk_overlay *overlay);

/* The entry of op's key, or NULL. */
struct yk_overlay_entry *yk_overlay_find(const struct yk_overlay *overlay, const struct yk_op *op);
/* Pins the key, with op as its holder; NULL: no memory. The key must not be pinned. */
struct yk_overlay_entry *yk_overlay_pin(struct yk_overlay *overlay, struct yk_op *op);
/* The holder ends: the first waiter becomes the holder and is returned, or the key is free: NULL.
 */
struct yk_op *yk_overlay_release(struct yk_overlay *overlay, struct yk_overlay_entry *entry);

#endif
