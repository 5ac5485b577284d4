/* The log: where items lie.
 *
 * Memory is drawn in segments of 64 KiB (less where the lane's share of the budget is small), and
 * items are appended one behind another: so an item costs what it is and its rounding, there are
 * no size classes, and nothing is fragmented but what was replaced or deleted. Such dead items are
 * counted for each segment; a segment without a live one is free at once, others are cleaned, which
 * is evict.c's work. An item too large to share a segment gets one of its own, of its exact size.
 *
 * A reference to an item is 32 bits: the segment's number and the offset in granules; the table
 * holds nothing else, so that an item can be moved by changing one word. 18 bits of segments make
 * 16 GiB for each lane, or 262143 items of over 16 KiB.
 *
 * The segments of a queue stand in the order in which they were begun. Eviction wants a small and a
 * main queue, and takes from the old end; an engine that does not evict uses the main queue alone.
 *
 * Some free segments are kept in stock, so that there is one to move items to when all memory is
 * taken, and one to write to while the next is being emptied.
 *
 * Threads: the engine's. Ownership: the log owns its segments; references are the table's. */
#ifndef MEMORY_LOG_H
#define MEMORY_LOG_H

#include "backends/memory/item.h"
#include "backends/memory/purse.h"

#define NO_SEGMENT 0u /* the number 0 is never used */

enum {
    OFFSET_BITS = 14,
    SEGMENTS_MAX = 1 << (32 - OFFSET_BITS),
    SEGMENTS_PER_BLOCK = 64, /* heads: a block of them is allocated at once, and never moves */
    STOCK_MAX = 2
};

enum queue_kind { QUEUE_SMALL = 0, QUEUE_MAIN = 1 };

struct segment {
    uint8_t *data;
    /* In granules: of data; written; of items that are not dead; looked at for eviction. */
    uint32_t size, used, live, walked;
    uint32_t older, newer; /* in its queue; newer: also in the list of free numbers */
    uint8_t queue;         /* enum queue_kind */
    bool is_open;          /* items are appended here */
    bool is_own;           /* one item has it for itself */
    bool is_used;          /* it has data */
};

struct queue {
    uint32_t oldest, newest;
    uint32_t open; /* the segment that is appended to, or NO_SEGMENT */
    uint64_t size; /* bytes */
    /* The last run of dead items in the open segment: when it reaches the end, it was never
     * written. So an item that was admitted and then written over an old one costs nothing. */
    uint32_t run_start, run_end;
};

struct log {
    struct purse *purse;
    struct segment **blocks;
    uint32_t n_blocks, n_block_room;
    uint32_t n_numbers; /* given out so far, 0 among them */
    uint32_t free_numbers;
    struct queue queues[2];
    uint32_t segment_size; /* bytes, of those that are begun now */
    uint64_t fitted_to;    /* the share that this size is for */
    uint64_t size;         /* bytes of all segments */
    uint64_t live;         /* bytes of items that are not dead */
    uint32_t victim;       /* the segment that evict.c is at */
    void *stock[STOCK_MAX];
    uint32_t n_stock, n_stock_max;
};

void log_init(struct log *log, struct purse *purse, bool may_evict);
void log_done(struct log *log);
/* Segments that are begun from now on fit the lane's share as it is now. */
void log_fit(struct log *log);

/* Room for an item; the caller writes it at once. With spare the stock may be used up: for moving
 * items. False: no memory. */
bool log_append(struct log *log, enum queue_kind queue, uint32_t size, bool spare,
                uint32_t *ret_ref) YK_MUST_CHECK;
/* The item is dead; its segment may be gone then. */
void log_drop(struct log *log, uint32_t ref);
/* No more is appended to the segment. */
void log_close(struct log *log, uint32_t number);
/* A segment with one item goes to the new end of the main queue as it is. */
void log_requeue(struct log *log, uint32_t number);
/* Does the item have a segment of its own? */
bool log_is_own(const struct log *log, uint32_t size);
/* Takes a segment into the stock; false: no memory, or the stock is full. */
bool log_restock(struct log *log);
/* Gives a segment of the stock back; false: there is none. */
bool log_unstock(struct log *log);

static inline struct segment *
log_segment(const struct log *log, uint32_t number)
{
    return &log->blocks[number / SEGMENTS_PER_BLOCK][number % SEGMENTS_PER_BLOCK];
}

static inline struct item *
log_item(const struct log *log, uint32_t ref)
{
    return (struct item *)(log_segment(log, ref >> OFFSET_BITS)->data +
                           (size_t)(ref & ((1u << OFFSET_BITS) - 1)) * GRANULE);
}

/* Dead items and closed ends. */
static inline uint64_t
log_dead(const struct log *log)
{
    return log->size - log->live;
}

#endif
