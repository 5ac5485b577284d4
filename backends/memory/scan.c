/* Scans, and wiping a slot.
 *
 * A scan walks the tables in the order of slots, and each table's buckets in order. The items of
 * one chain are shown in the order of their keys, so that a step may end within a chain and the
 * next go on behind the last key, although entries, items and the chain itself have moved: what was
 * split away lies in a bucket that is still to come. */
#include "backends/memory/memory.h"

enum {
    BUCKETS_MAX = 4096, /* walked in one step: most may hold nothing that is wanted */
    SORTED_MAX = 32     /* a chain has more only if clients chose their keys for it */
};

/* In the cursor, with the last key behind it. */
struct position {
    uint32_t table;
    uint32_t bucket;
    uint32_t is_seeded; /* the table's entries stood where its seed has them */
    uint32_t is_inside; /* the last key counts */
    uint16_t slot;
    uint16_t generation;
};

struct walk {
    struct memory *memory;
    const struct yk_scan *scan;
    struct yk_cursor *cursor;
    struct position position;
    uint64_t bytes;
    yk_record_fn fn;
    void *arg;
};

static int
compare(const struct parts *a, const struct parts *b)
{
    if (a->slot != b->slot) {
        return a->slot < b->slot ? -1 : 1;
    }
    if (a->generation != b->generation) {
        return a->generation < b->generation ? -1 : 1;
    }
    if (a->key_size != b->key_size) {
        return a->key_size < b->key_size ? -1 : 1;
    }
    return memcmp(a->key, b->key, a->key_size);
}

/* The first items of a chain behind the cursor, in order; at most SORTED_MAX. */
static uint32_t
sort_chain(const struct walk *walk, const struct parts *last, struct parts *sorted)
{
    const struct memory *memory = walk->memory;
    const struct table *table = &memory->tables.tables[walk->position.table];
    const struct bucket *bucket = table_bucket(table, walk->position.bucket);
    uint32_t n = 0;
    for (;; bucket = table_overflow(&memory->tables, bucket->link)) {
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            if (bucket->tags[i] == 0) {
                continue;
            }
            struct parts parts = item_parts(log_item(&memory->log, bucket->refs[i]));
            if (!yk_scan_wants(walk->scan, parts.slot) ||
                (last != NULL && compare(&parts, last) <= 0) ||
                (n == SORTED_MAX && compare(&parts, &sorted[n - 1]) > 0)) {
                continue;
            }
            uint32_t at = n < SORTED_MAX ? n++ : n - 1;
            for (; at > 0 && compare(&parts, &sorted[at - 1]) < 0; at--) {
                sorted[at] = sorted[at - 1];
            }
            sorted[at] = parts;
        }
        if (bucket->link == 0) {
            return n;
        }
    }
}

/* The cursor stands behind the item, or with NULL before the bucket. */
static void
move_cursor(struct walk *walk, const struct parts *last)
{
    struct yk_cursor *cursor = walk->cursor;
    const struct tables *tables = &walk->memory->tables;
    walk->position.is_inside = last != NULL;
    walk->position.is_seeded =
        walk->position.table < tables->n_tables && tables->tables[walk->position.table].is_seeded;
    cursor->size = sizeof(walk->position);
    if (last != NULL) {
        walk->position.slot = last->slot;
        walk->position.generation = last->generation;
        memmove(cursor->data + sizeof(walk->position), last->key, last->key_size);
        cursor->size += last->key_size;
    }
    memcpy(cursor->data, &walk->position, sizeof(walk->position));
}

static bool
show(struct walk *walk, const struct parts *parts)
{
    struct yk_key key = {.data = parts->key,
                         .size = parts->key_size,
                         .slot = parts->slot,
                         .generation = parts->generation};
    if (walk->bytes >= walk->scan->bytes_max ||
        !walk->fn(walk->arg, &key, yk_slice_of(parts->value, parts->value_size))) {
        return false;
    }
    walk->bytes += parts->key_size + (uint64_t)parts->value_size + 1;
    return true;
}

/* False: fn said stop, or enough was read. */
static bool
walk_chain(struct walk *walk)
{
    struct parts sorted[SORTED_MAX];
    for (;;) {
        struct parts last = {.key = walk->cursor->data + sizeof(walk->position),
                             .key_size = walk->cursor->size - (uint32_t)sizeof(walk->position),
                             .slot = walk->position.slot,
                             .generation = walk->position.generation};
        uint32_t n = sort_chain(walk, walk->position.is_inside ? &last : NULL, sorted);
        for (uint32_t i = 0; i < n; i++) {
            if (!show(walk, &sorted[i])) {
                if (i > 0) {
                    move_cursor(walk, &sorted[i - 1]);
                }
                return false;
            }
        }
        if (n < SORTED_MAX) {
            break;
        }
        move_cursor(walk, &sorted[n - 1]);
    }
    walk->position.bucket++;
    move_cursor(walk, NULL);
    return true;
}

/* To the next bucket that there is; false: there is none. */
static bool
find_bucket(struct walk *walk)
{
    const struct tables *tables = &walk->memory->tables;
    struct position *position = &walk->position;
    while (position->table < tables->n_tables &&
           position->bucket >= tables->tables[position->table].n_buckets) {
        position->table++;
        position->bucket = 0;
        move_cursor(walk, NULL);
    }
    return position->table < tables->n_tables;
}

/* All entries of the table have changed their buckets meanwhile. */
static void
start_again_if_seeded(struct walk *walk)
{
    const struct tables *tables = &walk->memory->tables;
    struct position *position = &walk->position;
    if (position->table < tables->n_tables &&
        position->is_seeded != tables->tables[position->table].is_seeded) {
        position->bucket = 0;
        move_cursor(walk, NULL);
    }
}

enum yk_err
memory_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
            void *arg, bool *ret_end, struct yk_call *call)
{
    struct walk walk = {.memory = self, .scan = scan, .cursor = cursor, .fn = fn, .arg = arg};
    if (cursor->size >= sizeof(walk.position)) {
        memcpy(&walk.position, cursor->data, sizeof(walk.position));
    } else {
        move_cursor(&walk, NULL);
    }
    start_again_if_seeded(&walk);
    bool goes_on = find_bucket(&walk);
    for (uint32_t i = 0; i < BUCKETS_MAX && goes_on; i++) {
        goes_on = walk_chain(&walk) && find_bucket(&walk);
    }
    *ret_end = !find_bucket(&walk);
    return YK_OK;
}

/* Wiping */

/* The next entry of the chain that the wipe is for, or none. */
static struct entry
find_old(const struct memory *memory, struct bucket *bucket, uint16_t slot, uint16_t kept)
{
    for (;; bucket = table_overflow(&memory->tables, bucket->link)) {
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            if (bucket->tags[i] == 0) {
                continue;
            }
            struct parts parts = item_parts(log_item(&memory->log, bucket->refs[i]));
            if (parts.slot == slot && parts.generation != kept) {
                return (struct entry){bucket, i};
            }
        }
        if (bucket->link == 0) {
            return (struct entry){.bucket = NULL};
        }
    }
}

enum yk_err
memory_wipe_slot(void *self, uint16_t slot, uint16_t generation)
{
    struct memory *memory = self;
    struct table *table = table_of(&memory->tables, slot);
    for (uint32_t i = 0; i < table->n_buckets; i++) {
        for (;;) {
            struct entry entry = find_old(memory, table_bucket(table, i), slot, generation);
            if (entry.bucket == NULL) {
                break;
            }
            const struct item *item = log_item(&memory->log, entry.bucket->refs[entry.index]);
            memory_remove(memory, table, entry, table_hash_item(&memory->tables, item));
            if (table->n_buckets == 0) {
                return YK_OK; /* that was the last item */
            }
        }
    }
    return YK_OK;
}
