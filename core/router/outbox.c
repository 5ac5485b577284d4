/* A list of segments; frontends write at the end of the last one. */
#include <config.h>

#include "core/router/outbox.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/limits.h"

enum { BLOCK_SIZE = 16 * 1024 - 64, FREE_BLOCKS_MAX = 256 };

struct segment {
    struct segment *next;
    struct yk_buffer *lent; /* or NULL: own bytes, follow */
    const uint8_t *from;    /* next byte to send */
    size_t size;            /* bytes to send; of the last own block: see settle */
    size_t room;            /* own: bytes allocated */
    uint8_t bytes[];
};

static struct yk_output *
output_of(struct yk_outbox *outbox)
{
    return (struct yk_output *)outbox;
}

/* Counts what was written to the last block since the last time. */
static void
settle(struct yk_output *output)
{
    struct segment *last = output->last;
    if (last != NULL && last->lent == NULL) {
        size_t size = (size_t)(output->outbox.cur - last->from);
        output->size += size - last->size;
        last->size = size;
    }
    output->outbox.is_full = output->size >= YK_OUTBOX_HIGH;
}

static void
append(struct yk_output *output, struct segment *segment)
{
    segment->next = NULL;
    if (output->last != NULL) {
        output->last->next = segment;
    } else {
        output->first = segment;
    }
    output->last = segment;
}

static bool
lose(struct yk_output *output)
{
    output->is_lost = true;
    output->outbox.cur = output->outbox.end = NULL;
    return false;
}

static struct segment *
take_block(struct yk_output_pool *pool, size_t room)
{
    struct segment *block = room == BLOCK_SIZE ? pool->free : NULL;
    if (block != NULL) {
        pool->free = block->next;
        pool->n_free--;
        return block;
    }
    block = malloc(sizeof(*block) + room);
    if (block != NULL) {
        block->room = room;
    }
    return block;
}

static void
give_block(struct yk_output_pool *pool, struct segment *block)
{
    if (block->room != BLOCK_SIZE || pool->n_free == FREE_BLOCKS_MAX) {
        free(block);
        return;
    }
    block->next = pool->free;
    pool->free = block;
    pool->n_free++;
}

static bool
grow(struct yk_outbox *outbox, size_t size)
{
    struct yk_output *output = output_of(outbox);
    if (output->is_lost) {
        return false;
    }
    settle(output);
    if (output->size + size > output->size_max) {
        return lose(output);
    }
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    struct segment *segment = take_block(output->pool, room);
    if (segment == NULL) {
        return lose(output);
    }
    segment->lent = NULL;
    segment->from = segment->bytes;
    segment->size = 0;
    append(output, segment);
    outbox->cur = segment->bytes;
    outbox->end = segment->bytes + room;
    return true;
}

static bool
lend(struct yk_outbox *outbox, struct yk_slice slice, struct yk_buffer *buffer)
{
    struct yk_output *output = output_of(outbox);
    if (output->is_lost) {
        return false;
    }
    settle(output);
    struct segment *segment = malloc(sizeof(*segment));
    if (segment == NULL || output->size + slice.size > output->size_max) {
        free(segment);
        return lose(output);
    }
    buffer->ref(buffer);
    segment->lent = buffer;
    segment->from = slice.data;
    segment->size = slice.size;
    segment->room = 0;
    append(output, segment);
    output->size += slice.size;
    outbox->cur = outbox->end = NULL;
    outbox->is_full = output->size >= YK_OUTBOX_HIGH;
    return true;
}

void
yk_output_init(struct yk_output *output, struct yk_output_pool *pool, size_t size_max)
{
    *output = (struct yk_output){.pool = pool, .size_max = size_max};
    output->outbox =
        (struct yk_outbox){.struct_size = sizeof(struct yk_outbox), .grow = grow, .lend = lend};
}

static void
drop_first(struct yk_output *output)
{
    struct segment *segment = output->first;
    output->first = segment->next;
    if (output->first == NULL) {
        output->last = NULL;
        output->outbox.cur = output->outbox.end = NULL;
    }
    if (segment->lent != NULL) {
        segment->lent->unref(segment->lent);
    }
    give_block(output->pool, segment);
}

void
yk_output_done(struct yk_output *output)
{
    while (output->first != NULL) {
        drop_first(output);
    }
}

void
yk_output_pool_done(struct yk_output_pool *pool)
{
    while (pool->free != NULL) {
        struct segment *block = pool->free;
        pool->free = block->next;
        free(block);
    }
}

size_t
yk_output_size(struct yk_output *output)
{
    if (output->is_lost) {
        return 0;
    }
    settle(output);
    return output->size;
}

size_t
yk_output_peek(struct yk_output *output, struct yk_slice *ret_slices, size_t n_max)
{
    size_t n = 0;
    if (yk_output_size(output) == 0) {
        return 0;
    }
    for (struct segment *segment = output->first; segment != NULL && n < n_max;
         segment = segment->next) {
        if (segment->size > 0) {
            ret_slices[n++] = yk_slice_of(segment->from, segment->size);
        }
    }
    return n;
}

void
yk_output_sent(struct yk_output *output, size_t size)
{
    if (output->is_lost) {
        return;
    }
    settle(output);
    YK_ASSERT(size <= output->size);
    output->size -= size;
    while (output->first != NULL && size >= output->first->size) {
        size -= output->first->size;
        drop_first(output);
    }
    if (size > 0) {
        output->first->from += size;
        output->first->size -= size;
    }
    output->outbox.is_full = output->size >= YK_OUTBOX_HIGH;
}
