/* A ring of entries, searched from its end. */
#include <config.h>

#include "core/replica/tail.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"

enum { ROOM_MIN = 4 };

void
yk_tail_init(struct yk_tail *tail, uint64_t base)
{
    *tail = (struct yk_tail){.base = base, .last = base};
}

static void
entry_done(struct yk_tail_entry *entry)
{
    yk_buffer_unref(entry->key);
    yk_buffer_unref(entry->value);
}

static uint64_t
entry_bytes(const struct yk_tail_entry *entry)
{
    return sizeof(*entry) + (entry->key != NULL ? entry->key->size : 0) +
           (entry->value != NULL ? entry->value->size : 0);
}

void
yk_tail_done(struct yk_tail *tail)
{
    yk_tail_cut(tail, 0);
    free(tail->ring);
    tail->ring = NULL;
    tail->room = 0;
}

/* In steps that double, from the end, where what is asked for mostly is: the rest of a tail is not
 * in the caches. */
uint32_t
yk_tail_above(const struct yk_tail *tail, uint64_t version)
{
    uint32_t high = tail->n;
    uint32_t step = 1;
    if (version >= tail->last) {
        return tail->n;
    }
    while (step <= high && yk_tail_at(tail, high - step)->version > version) {
        high -= step;
        step *= 2;
    }
    uint32_t low = step <= high ? high - step + 1 : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (yk_tail_at(tail, middle)->version <= version) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool
yk_tail_has(const struct yk_tail *tail, uint64_t version)
{
    if (version == tail->last) {
        return true; /* the usual question, and the ring is not in the caches */
    }
    uint32_t above = yk_tail_above(tail, version);
    return (above > 0 ? yk_tail_at(tail, above - 1)->version : tail->base) == version;
}

static enum yk_err
grow(struct yk_tail *tail)
{
    uint32_t room = tail->room == 0 ? ROOM_MIN : tail->room * 2;
    struct yk_tail_entry *ring = malloc(room * sizeof(*ring));
    if (ring == NULL) {
        return YK_ENOMEM;
    }
    for (uint32_t i = 0; i < tail->n; i++) {
        ring[i] = *yk_tail_at(tail, i);
    }
    free(tail->ring);
    tail->ring = ring;
    tail->room = room;
    tail->first = 0;
    return YK_OK;
}

enum yk_err
yk_tail_push(struct yk_tail *tail, const struct yk_tail_entry *entry)
{
    YK_ASSERT(entry->version > yk_tail_last(tail));
    if (tail->n == tail->room && grow(tail) != YK_OK) {
        return YK_ENOMEM;
    }
    tail->n++;
    tail->last = entry->version;
    *yk_tail_at(tail, tail->n - 1) = *entry;
    tail->bytes += entry_bytes(entry);
    return YK_OK;
}

void
yk_tail_drop_first(struct yk_tail *tail)
{
    YK_ASSERT(tail->n > 0);
    struct yk_tail_entry *entry = yk_tail_at(tail, 0);
    tail->base = entry->version;
    tail->bytes -= entry_bytes(entry);
    entry_done(entry);
    tail->first = (tail->first + 1) & (tail->room - 1);
    tail->n--;
}

void
yk_tail_cut(struct yk_tail *tail, uint64_t version)
{
    while (tail->n > 0 && yk_tail_at(tail, tail->n - 1)->version > version) {
        struct yk_tail_entry *entry = yk_tail_at(tail, tail->n - 1);
        tail->bytes -= entry_bytes(entry);
        entry_done(entry);
        tail->n--;
        tail->last = tail->n > 0 ? yk_tail_at(tail, tail->n - 1)->version : tail->base;
    }
}
