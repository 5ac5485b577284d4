/* Ghosts: which keys were lately evicted from the small queue.
 *
 * S3-FIFO wants a queue of as many keys as the main queue holds. This is one that may err: each
 * ghost is 2 bytes, 12 bits of the key's hash and 4 bits of when it came, in lines of 32 that one
 * load brings in. Time counts in sixteenths; a ghost is gone when as many others have come as there
 * is room for. One key in about 130 is taken for a ghost and is none: it goes to the main queue at
 * once, and leaves it unread.
 *
 * Threads: the engine's. Ownership: part of the engine. */
#ifndef MEMORY_GHOSTS_H
#define MEMORY_GHOSTS_H

#include "backends/memory/purse.h"

struct ghosts {
    struct purse *purse;
    uint16_t *lines;
    uint32_t n_lines;
    uint64_t n_added;
    uint64_t next_tick; /* n_added when the clock goes on */
    uint32_t hand;      /* the line that was looked through last */
    uint16_t clock;
};

void ghosts_init(struct ghosts *ghosts, struct purse *purse);
void ghosts_done(struct ghosts *ghosts);
/* Room for so many; what was remembered is forgotten when it changes much. Without memory for it
 * there are no ghosts. */
void ghosts_fit(struct ghosts *ghosts, uint64_t n_wanted);
void ghosts_add(struct ghosts *ghosts, uint64_t hash);
/* Was it one? Then it is none any more. */
bool ghosts_take(struct ghosts *ghosts, uint64_t hash);
uint64_t ghosts_size(const struct ghosts *ghosts); /* bytes */

#endif
