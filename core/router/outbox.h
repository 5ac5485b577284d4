/* What waits to be sent on a connection: blocks that are written into, and slices that are lent.
 *
 * Threads: the worker's. Ownership: the queue owns its blocks and holds references on lent buffers.
 */
#ifndef YK_ROUTER_OUTBOX_H
#define YK_ROUTER_OUTBOX_H

#include <yakumo/frontend.h>

struct segment;

/* Blocks that are free, for all outputs of a worker: a connection that is idle holds none, and one
 * that writes gets the block that was last in use. */
struct yk_output_pool {
    struct segment *free;
    uint32_t n_free;
};

struct yk_output {
    struct yk_outbox outbox;     /* first: what frontends see */
    struct yk_output_pool *pool; /* lent */
    struct segment *first, *last;
    size_t size; /* bytes unsent, without what was written to the last block since it was counted */
    size_t size_max; /* beyond: lost */
    bool is_lost;    /* no memory, or too much: the connection must be closed */
};

void yk_output_init(struct yk_output *output, struct yk_output_pool *pool, size_t size_max);
void yk_output_done(struct yk_output *output);
void yk_output_pool_done(struct yk_output_pool *pool);

/* Bytes unsent. */
size_t yk_output_size(struct yk_output *output);
/* Up to n_max slices from the front; they stay until yk_output_sent takes them off. */
size_t yk_output_peek(struct yk_output *output, struct yk_slice *ret_slices, size_t n_max);
void yk_output_sent(struct yk_output *output, size_t size);

#endif
