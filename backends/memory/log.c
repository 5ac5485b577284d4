/* See log.h. */
#include "backends/memory/log.h"

enum {
    SEGMENT_SIZE_MIN = 4096,
    SEGMENT_SIZE_MAX = 65536,
    SEGMENTS_PER_SHARE = 128, /* at least, where the share is large enough */
    ITEMS_PER_SEGMENT = 4     /* an item over such a part of a segment has one of its own */
};

/* malloc's head included: so that what malloc hands out is a round number of pages. */
static uint32_t
room_of(const struct log *log)
{
    return log->segment_size - MALLOC_OVERHEAD;
}

/* Memory that is free goes into the stock, if that has room and the memory is large enough. */
static void
keep_or_free(struct log *log, void *data, uint64_t size)
{
    void *kept = NULL;
    if (log->n_stock < log->n_stock_max && size >= room_of(log)) {
        kept = size == room_of(log) ? data : purse_shrink(log->purse, data, size, room_of(log));
    }
    if (kept != NULL) {
        log->stock[log->n_stock++] = kept;
    } else {
        purse_free(log->purse, data, size);
    }
}

void
log_fit(struct log *log)
{
    uint64_t size = SEGMENT_SIZE_MIN;
    if (log->fitted_to == log->purse->share) {
        return;
    }
    log->fitted_to = log->purse->share;
    while (size < SEGMENT_SIZE_MAX && size * 2 * SEGMENTS_PER_SHARE <= log->purse->share) {
        size *= 2;
    }
    if (size == log->segment_size) {
        return;
    }
    void *stock[STOCK_MAX];
    uint32_t n = log->n_stock, old_room = room_of(log);
    memcpy(stock, log->stock, sizeof(stock));
    log->segment_size = (uint32_t)size;
    log->n_stock = 0;
    for (uint32_t i = 0; i < n; i++) {
        keep_or_free(log, stock[i], old_room);
    }
}

void
log_init(struct log *log, struct purse *purse, bool may_evict)
{
    *log = (struct log){.purse = purse, .n_numbers = 1};
    log_fit(log);
    log->n_stock_max = !purse->is_bounded ? 0 : may_evict ? STOCK_MAX : 1;
}

void
log_done(struct log *log)
{
    for (uint32_t i = 1; i < log->n_numbers; i++) {
        struct segment *segment = log_segment(log, i);
        if (segment->is_used) {
            purse_free(log->purse, segment->data, (uint64_t)segment->size * GRANULE);
        }
    }
    while (log_unstock(log)) {
    }
    for (uint32_t i = 0; i < log->n_blocks; i++) {
        purse_free(log->purse, log->blocks[i], SEGMENTS_PER_BLOCK * sizeof(struct segment));
    }
    purse_free(log->purse, log->blocks, log->n_block_room * sizeof(struct segment *));
    log->blocks = NULL;
    log->n_blocks = log->n_block_room = 0;
    log->n_numbers = 1;
}

/* Numbers */

static bool
add_block(struct log *log)
{
    if (log->n_blocks == log->n_block_room) {
        uint32_t n = log->n_block_room == 0 ? 4 : log->n_block_room * 2;
        struct segment **blocks = purse_grow(
            log->purse, log->blocks, log->n_block_room * sizeof(*blocks), n * sizeof(*blocks));
        if (blocks == NULL) {
            return false;
        }
        log->blocks = blocks;
        log->n_block_room = n;
    }
    struct segment *block = purse_alloc(log->purse, SEGMENTS_PER_BLOCK * sizeof(*block));
    if (block == NULL) {
        return false;
    }
    memset(block, 0, SEGMENTS_PER_BLOCK * sizeof(*block));
    log->blocks[log->n_blocks++] = block;
    return true;
}

/* NO_SEGMENT: there is none. */
static uint32_t
number_new(struct log *log)
{
    uint32_t number = log->free_numbers;
    if (number != NO_SEGMENT) {
        log->free_numbers = log_segment(log, number)->newer;
        return number;
    }
    if (log->n_numbers == SEGMENTS_MAX ||
        (log->n_numbers >= log->n_blocks * SEGMENTS_PER_BLOCK && !add_block(log))) {
        return NO_SEGMENT;
    }
    return log->n_numbers++;
}

static void
number_free(struct log *log, uint32_t number)
{
    *log_segment(log, number) = (struct segment){.newer = log->free_numbers};
    log->free_numbers = number;
}

/* Queues */

static void
queue_push(struct log *log, uint32_t number, enum queue_kind kind)
{
    struct queue *queue = &log->queues[kind];
    struct segment *segment = log_segment(log, number);
    segment->queue = (uint8_t)kind;
    segment->older = queue->newest;
    segment->newer = NO_SEGMENT;
    if (queue->newest != NO_SEGMENT) {
        log_segment(log, queue->newest)->newer = number;
    } else {
        queue->oldest = number;
    }
    queue->newest = number;
    queue->size += (uint64_t)segment->size * GRANULE;
}

static void
queue_remove(struct log *log, uint32_t number)
{
    struct segment *segment = log_segment(log, number);
    struct queue *queue = &log->queues[segment->queue];
    if (segment->older != NO_SEGMENT) {
        log_segment(log, segment->older)->newer = segment->newer;
    } else {
        queue->oldest = segment->newer;
    }
    if (segment->newer != NO_SEGMENT) {
        log_segment(log, segment->newer)->older = segment->older;
    } else {
        queue->newest = segment->older;
    }
    queue->size -= (uint64_t)segment->size * GRANULE;
}

/* Segments */

static uint32_t
segment_new(struct log *log, enum queue_kind kind, uint64_t size, bool spare)
{
    uint32_t number = number_new(log);
    if (number == NO_SEGMENT) {
        return NO_SEGMENT;
    }
    bool is_usual = size == room_of(log);
    void *data = purse_alloc(log->purse, size);
    if (data == NULL && is_usual && log->n_stock > (spare ? 0u : 1u)) {
        data = log->stock[--log->n_stock];
    }
    if (data == NULL) {
        number_free(log, number);
        return NO_SEGMENT;
    }
    *log_segment(log, number) =
        (struct segment){.data = data, .size = (uint32_t)(size / GRANULE), .is_used = true};
    queue_push(log, number, kind);
    log->size += size;
    return number;
}

static void
segment_free(struct log *log, uint32_t number)
{
    struct segment *segment = log_segment(log, number);
    uint64_t size = (uint64_t)segment->size * GRANULE;
    queue_remove(log, number);
    log->size -= size;
    keep_or_free(log, segment->data, size);
    log->victim = log->victim == number ? NO_SEGMENT : log->victim;
    number_free(log, number);
}

bool
log_restock(struct log *log)
{
    void *data = log->n_stock < log->n_stock_max ? purse_alloc(log->purse, room_of(log)) : NULL;
    if (data != NULL) {
        log->stock[log->n_stock++] = data;
    }
    return data != NULL;
}

bool
log_unstock(struct log *log)
{
    if (log->n_stock == 0) {
        return false;
    }
    purse_free(log->purse, log->stock[--log->n_stock], room_of(log));
    return true;
}

bool
log_is_own(const struct log *log, uint32_t size)
{
    return (uint64_t)size * GRANULE * ITEMS_PER_SEGMENT > room_of(log);
}

void
log_close(struct log *log, uint32_t number)
{
    struct segment *segment = log_segment(log, number);
    if (segment->is_open) {
        segment->is_open = false;
        log->queues[segment->queue].open = NO_SEGMENT;
        if (segment->live == 0) {
            segment_free(log, number);
        }
    }
}

/* Makes sure that the open segment has room; false: no memory. */
static bool
open_segment(struct log *log, struct queue *queue, enum queue_kind kind, uint32_t size, bool spare)
{
    if (queue->open != NO_SEGMENT) {
        struct segment *segment = log_segment(log, queue->open);
        if (segment->size - segment->used >= size) {
            return true;
        }
    }
    uint32_t number = segment_new(log, kind, room_of(log), spare);
    if (number == NO_SEGMENT) {
        return false;
    }
    if (queue->open != NO_SEGMENT) {
        log_close(log, queue->open);
    }
    log_segment(log, number)->is_open = true;
    queue->open = number;
    queue->run_start = queue->run_end = 0;
    return true;
}

bool
log_append(struct log *log, enum queue_kind kind, uint32_t size, bool spare, uint32_t *ret_ref)
{
    struct queue *queue = &log->queues[kind];
    uint32_t number;
    if (log_is_own(log, size)) {
        number = segment_new(log, kind, (uint64_t)size * GRANULE, spare);
        if (number == NO_SEGMENT) {
            return false;
        }
        log_segment(log, number)->is_own = true;
    } else {
        if (!open_segment(log, queue, kind, size, spare)) {
            return false;
        }
        number = queue->open;
    }
    struct segment *segment = log_segment(log, number);
    *ret_ref = number << OFFSET_BITS | segment->used;
    segment->used += size;
    segment->live += size;
    log->live += (uint64_t)size * GRANULE;
    return true;
}

/* Takes dead items off the end of the open segment. */
static void
retreat(struct queue *queue, struct segment *segment, uint32_t offset, uint32_t size)
{
    if (segment->live == 0) {
        segment->used = queue->run_start = queue->run_end = 0;
        return;
    }
    if (offset != queue->run_end) {
        queue->run_start = offset;
    }
    queue->run_end = offset + size;
    if (queue->run_end == segment->used) {
        segment->used = queue->run_end = queue->run_start;
    }
}

void
log_drop(struct log *log, uint32_t ref)
{
    uint32_t number = ref >> OFFSET_BITS, offset = ref & ((1u << OFFSET_BITS) - 1);
    struct segment *segment = log_segment(log, number);
    struct item *item = log_item(log, ref);
    uint32_t size = item_size(item);
    item->flags = (uint8_t)((item->flags | ITEM_DEAD) & ~ITEM_PENDING);
    segment->live -= size;
    log->live -= (uint64_t)size * GRANULE;
    if (segment->is_open) {
        retreat(&log->queues[segment->queue], segment, offset, size);
    } else if (segment->live == 0) {
        segment_free(log, number);
    }
}

void
log_requeue(struct log *log, uint32_t number)
{
    queue_remove(log, number);
    log_segment(log, number)->walked = 0;
    queue_push(log, number, QUEUE_MAIN);
    log->victim = log->victim == number ? NO_SEGMENT : log->victim;
}
