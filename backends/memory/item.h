/* An item: a key and its record, as they lie in the log.
 *
 * Most keys are shorter than 256 bytes, most records than 64 KiB and most generations 0, so the
 * head is made for those: 10 bytes. What is greater stands in an extension that only such items
 * have. There is no hash (it is made again from the key when an item is moved, which is rare), no
 * pointer (the table's entry points here, never the other way) and no length of the whole (it
 * follows from the sizes). Items begin at multiples of 4 bytes.
 *
 * Threads: the engine's. Ownership: items are part of a segment of the log. */
#ifndef MEMORY_ITEM_H
#define MEMORY_ITEM_H

#include <yakumo/backend.h>

#define GRANULE 4u

enum item_flags {
    ITEM_HITS = 3u << 0, /* reads since it was stored or last looked at for eviction, at most 3 */
    ITEM_WAS_HIT = 1u << 2,
    ITEM_DEAD = 1u << 3,    /* no table entry leads here any more */
    ITEM_PENDING = 1u << 4, /* admitted, not applied: no table entry leads here yet */
    ITEM_LONG = 1u << 5,    /* the sizes stand in the extension */
    ITEM_GENERATION = 1u << 6,
};

/* The sizes that do not fit the head. */
struct item_long {
    uint32_t value_size;
    uint16_t key_size;
} __attribute__((packed));

struct item {
    uint32_t accessed_s; /* when it was stored or last read, since 1970 */
    uint16_t slot;
    uint16_t value_size;
    uint8_t key_size;
    uint8_t flags;
    uint8_t bytes[]; /* [struct item_long] [generation (2)] key, value */
};

/* What an item's head says, spelt out. */
struct parts {
    uint8_t *key, *value;
    uint32_t key_size, value_size;
    uint16_t slot, generation;
};

static inline struct parts
item_parts(const struct item *item)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)item->bytes;
    struct parts parts = {
        .slot = item->slot, .key_size = item->key_size, .value_size = item->value_size};
    if (__builtin_expect((item->flags & (ITEM_LONG | ITEM_GENERATION)) != 0, 0)) {
        if ((item->flags & ITEM_LONG) != 0) {
            struct item_long sizes;
            memcpy(&sizes, bytes, sizeof(sizes));
            parts.key_size = sizes.key_size;
            parts.value_size = sizes.value_size;
            bytes += sizeof(sizes);
        }
        if ((item->flags & ITEM_GENERATION) != 0) {
            memcpy(&parts.generation, bytes, sizeof(parts.generation));
            bytes += sizeof(parts.generation);
        }
    }
    parts.key = bytes;
    parts.value = bytes + parts.key_size;
    return parts;
}

static inline uint8_t
item_form(uint32_t key_size, uint32_t value_size, uint16_t generation)
{
    return (uint8_t)((key_size > UINT8_MAX || value_size > UINT16_MAX ? ITEM_LONG : 0) |
                     (generation != 0 ? ITEM_GENERATION : 0));
}

/* In granules. */
static inline uint32_t
item_size_of(uint8_t form, uint32_t key_size, uint32_t value_size)
{
    uint64_t size = offsetof(struct item, bytes) + key_size + (uint64_t)value_size;
    size += (form & ITEM_LONG) != 0 ? sizeof(struct item_long) : 0;
    size += (form & ITEM_GENERATION) != 0 ? sizeof(uint16_t) : 0;
    return (uint32_t)((size + GRANULE - 1) / GRANULE);
}

static inline uint32_t
item_size(const struct item *item)
{
    struct parts parts = item_parts(item);
    return item_size_of(item->flags, parts.key_size, parts.value_size);
}

static inline uint32_t
change_size(const struct yk_change *change)
{
    uint32_t value_size = (uint32_t)change->value.size;
    return item_size_of(item_form(change->key.size, value_size, change->key.generation),
                        change->key.size, value_size);
}

static inline bool
item_is(const struct item *item, const struct yk_key *key)
{
    struct parts parts = item_parts(item);
    return parts.key_size == key->size && parts.slot == key->slot &&
           parts.generation == key->generation && memcmp(parts.key, key->data, key->size) == 0;
}

/* Writes an item whose size was asked of change_size; flags beyond its form are given. When it was
 * accessed is known when it is applied. */
static inline void
item_write(struct item *item, const struct yk_change *change, uint8_t flags)
{
    uint32_t value_size = (uint32_t)change->value.size;
    uint8_t form = item_form(change->key.size, value_size, change->key.generation);
    uint8_t *to = item->bytes;
    item->accessed_s = 0;
    item->slot = change->key.slot;
    item->value_size = (uint16_t)value_size;
    item->key_size = (uint8_t)change->key.size;
    item->flags = (uint8_t)(form | flags);
    if ((form & ITEM_LONG) != 0) {
        struct item_long sizes = {.value_size = value_size, .key_size = (uint16_t)change->key.size};
        memcpy(to, &sizes, sizeof(sizes));
        to += sizeof(sizes);
    }
    if ((form & ITEM_GENERATION) != 0) {
        memcpy(to, &change->key.generation, sizeof(change->key.generation));
        to += sizeof(change->key.generation);
    }
    if (change->key.size > 0) {
        memcpy(to, change->key.data, change->key.size);
    }
    if (value_size > 0) {
        memcpy(to + change->key.size, change->value.data, value_size);
    }
}

#endif
