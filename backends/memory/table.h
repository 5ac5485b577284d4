/* The hash table: where in the log a key's item lies.
 *
 * One table for each slot of the lane, so that a slot can be counted, scanned and wiped alone. Each
 * grows by splitting one bucket at a time (linear hashing, W. Litwin, VLDB 1980), and its buckets
 * lie in blocks found through a short directory, so that nothing is ever copied as it grows and no
 * call pays for more than one split. Buckets only ever split upwards: a scan that walks them in
 * order misses nothing that stays.
 *
 * A bucket is one cache line: 12 entries, each a tag (8 bits of the hash, never 0) and a reference
 * into the log, and a link to overflow buckets. All tags of a bucket are compared at once; a key
 * that is there costs one line of the table and the lines of its item, one that is not there almost
 * never more than the one line. Entries hold no hash: a bucket that splits hashes the keys of its
 * items again, a dozen at a time, which costs less than their memory would.
 *
 * Blocks and overflow buckets are cut from pages that the lane's tables share.
 *
 * Threads: the engine's. Ownership: the tables own pages, blocks and directories. */
#ifndef MEMORY_TABLE_H
#define MEMORY_TABLE_H

#include "backends/memory/log.h"

enum { BUCKET_ENTRIES = 12, BLOCK_CLASSES = 28 };

struct bucket {
    uint8_t tags[BUCKET_ENTRIES]; /* 0: no entry */
    uint32_t link;                /* an overflow bucket, or 0 */
    uint32_t refs[BUCKET_ENTRIES];
} __attribute__((aligned(64)));

struct entry {
    struct bucket *bucket; /* NULL: none */
    uint32_t index;
};

struct table {
    struct bucket **blocks;
    uint32_t n_buckets; /* in use; 0: the table is not there */
    uint32_t level;     /* power of two: buckets below n_buckets - level are split */
    uint32_t n_blocks, n_block_room;
    uint32_t n_items;
    bool is_seeded; /* keys are hashed again, see below */
};

struct tables {
    struct purse *purse;
    struct log *log;
    uint64_t seed;
    uint32_t lane, n_lanes, n_slots;
    uint32_t n_tables; /* one for each slot of the lane; the last: for the core's own slot */
    struct table *tables;

    /* Pages: n_page_buckets buckets each, aligned to cache lines within what was allocated. */
    void **pages;
    uint32_t n_pages, n_page_room, n_page_buckets;
    uint32_t page_used;          /* buckets of the last page */
    uint32_t n_free, first_free; /* overflow buckets, linked; number 0 is never used */
    struct bucket *free_blocks[BLOCK_CLASSES]; /* by the logarithm of their size */

    uint64_t n_items;
    uint64_t size; /* bytes of all this */
};

void tables_init(struct tables *tables, struct purse *purse, struct log *log,
                 const struct yk_backend_place *place);
enum yk_err tables_open(struct tables *tables) YK_MUST_CHECK;
void tables_done(struct tables *tables);
/* Nothing is in any table: gives all memory back that can be had again. */
void tables_reset(struct tables *tables);

/* Sees to it that n_pending keys, of which one is new to the table, can be put; false: no memory.
 * Blocks that the table would like for itself are left out silently if there is none. */
bool table_prepare(struct tables *tables, struct table *table, uint32_t n_pending) YK_MUST_CHECK;
/* Does the table want a block that is not there? */
bool table_is_short(const struct table *table);

struct entry table_find(const struct tables *tables, const struct yk_key *key, uint64_t hash);
/* The entry of that reference; it must be there. */
struct entry
table_find_ref(const struct tables *tables, const struct table *table, uint64_t hash, uint32_t ref);
/* After table_prepare; the key must not be there. */
void table_insert(struct tables *tables, struct table *table, uint64_t hash, uint32_t ref);
void table_remove(struct tables *tables, struct table *table, struct entry entry, uint64_t hash);
/* Gives the memory of a table without items back. */
void table_release(struct tables *tables, struct table *table);
/* A bucket by its number. */
struct bucket *table_bucket(const struct table *table, uint32_t index);

/* The hash of an item's key, as table_hash has it. */
uint64_t table_hash_item(const struct tables *tables, const struct item *item);

static inline struct table *
table_of(const struct tables *tables, uint16_t slot)
{
    uint32_t index = tables->n_tables - 1;
    if (slot < tables->n_slots) {
        /* The number of lanes is almost always a power of two, and a division dear. */
        index = (tables->n_lanes & (tables->n_lanes - 1)) == 0
                    ? (uint32_t)slot >> __builtin_ctz(tables->n_lanes)
                    : slot / tables->n_lanes;
    }
    return &tables->tables[index];
}

uint64_t table_hash_bytes(const struct tables *tables, const uint8_t *key, uint32_t size);

/* The host's hash will do: it is spared to hash the key twice. The slot is in its top bits, the
 * same for a whole table, so these are mixed down.
 *
 * But that hash has no secret, and clients can make any number of keys with the same one. A chain
 * that has grown longer than chance would ever make it gives that away: from then on the keys of
 * this table are hashed with the seed, and all its entries are put where they belong then, at once.
 * It happens to a table once, and to most never. */
static inline uint64_t
table_hash(const struct tables *tables, const struct yk_key *key)
{
    if (__builtin_expect(table_of(tables, key->slot)->is_seeded, 0)) {
        return table_hash_bytes(tables, key->data, key->size);
    }
    uint64_t mixed = (key->hash ^ tables->seed) * 0x9e3779b97f4a7c15ull;
    return mixed ^ (mixed >> 32);
}

static inline uint8_t
tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag != 0 ? tag : 1;
}

/* Buckets lie in blocks: 8 of 4, then 8 for each doubling, each an eighth of what was there. */
static inline uint32_t
block_of(uint32_t bucket, uint32_t *ret_offset)
{
    if (bucket < 32) {
        *ret_offset = bucket % 4;
        return bucket / 4;
    }
    uint32_t log2 = 31 - (uint32_t)__builtin_clz(bucket);
    *ret_offset = bucket & ((1u << (log2 - 3)) - 1);
    return 8 + (log2 - 5) * 8 + (bucket >> (log2 - 3) & 7);
}

static inline struct bucket *
table_home(const struct table *table, uint64_t hash)
{
    uint32_t index = (uint32_t)hash & (table->level * 2 - 1), offset;
    index = index < table->n_buckets ? index : index - table->level;
    uint32_t block = block_of(index, &offset);
    return table->blocks[block] + offset;
}

static inline struct bucket *
table_overflow(const struct tables *tables, uint32_t number)
{
    uintptr_t page = (uintptr_t)tables->pages[number / tables->n_page_buckets];
    return (struct bucket *)((page + 63) & ~(uintptr_t)63) + number % tables->n_page_buckets;
}

#if defined(__SSE2__)
#include <emmintrin.h>

/* Bit i: tags[i] is this one. The link lies behind the tags and is compared with them. */
static inline uint32_t
bucket_match(const struct bucket *bucket, uint8_t tag)
{
    __m128i tags = _mm_load_si128((const __m128i *)(const void *)bucket);
    uint32_t mask = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
    return mask & ((1u << BUCKET_ENTRIES) - 1);
}
#else
static inline uint32_t
bucket_match(const struct bucket *bucket, uint8_t tag)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        mask |= (uint32_t)(bucket->tags[i] == tag) << i;
    }
    return mask;
}
#endif

#endif
