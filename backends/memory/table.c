/* See table.h. */
#include "backends/memory/table.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    BUCKETS_FIRST = 4,
    LOAD = 10,     /* items for each bucket, on the mean, from which on a table splits */
    LINKS_MAX = 8, /* of a chain, by chance: then it has more than ten times what it should have */
    PAGE_BUCKETS_MIN = 32,
    PAGE_BUCKETS_MAX = 512,
    PAGES_PER_SHARE = 64,
    ALIGN = 64 - 16, /* what aligning to a line may cost: memory is aligned to 16 already */
    BLOCKS_STEP = 8
};

uint64_t
table_hash_bytes(const struct tables *tables, const uint8_t *key, uint32_t size)
{
    return XXH3_64bits_withSeed(key, size, tables->seed);
}

uint64_t
table_hash_item(const struct tables *tables, const struct item *item)
{
    struct parts parts = item_parts(item);
    struct yk_key key = {.data = parts.key, .size = parts.key_size, .slot = parts.slot};
    if (!table_of(tables, parts.slot)->is_seeded) {
        key.hash = XXH3_64bits(parts.key, parts.key_size);
    }
    return table_hash(tables, &key);
}

/* Memory: pages, blocks, overflow buckets */

static void *
own_alloc(struct tables *tables, uint64_t size)
{
    void *memory = purse_alloc(tables->purse, size);
    tables->size += memory != NULL ? size : 0;
    return memory;
}

static void
own_free(struct tables *tables, void *memory, uint64_t size)
{
    purse_free(tables->purse, memory, size);
    tables->size -= memory != NULL ? size : 0;
}

static void *
own_grow(struct tables *tables, void *memory, uint64_t old_size, uint64_t size)
{
    void *larger = purse_grow(tables->purse, memory, old_size, size);
    tables->size += larger != NULL ? size - old_size : 0;
    return larger;
}

static uint64_t
page_size(const struct tables *tables)
{
    return tables->n_page_buckets * sizeof(struct bucket) + ALIGN;
}

static void
overflow_free(struct tables *tables, uint32_t number)
{
    table_overflow(tables, number)->link = tables->first_free;
    tables->first_free = number;
    tables->n_free++;
}

static bool
page_new(struct tables *tables)
{
    if (tables->n_pages == tables->n_page_room) {
        uint32_t n = tables->n_page_room == 0 ? 4 : tables->n_page_room * 2;
        void **pages = own_grow(tables, tables->pages, tables->n_page_room * sizeof(*pages),
                                n * sizeof(*pages));
        if (pages == NULL) {
            return false;
        }
        tables->pages = pages;
        tables->n_page_room = n;
    }
    void *page = own_alloc(tables, page_size(tables));
    if (page == NULL) {
        return false;
    }
    while (tables->n_pages > 0 && tables->page_used < tables->n_page_buckets) {
        overflow_free(tables, (tables->n_pages - 1) * tables->n_page_buckets + tables->page_used++);
    }
    tables->pages[tables->n_pages++] = page;
    tables->page_used = tables->n_pages == 1 ? 1 : 0; /* 0 is no overflow bucket's number */
    return true;
}

static uint32_t
page_left(const struct tables *tables)
{
    return tables->n_pages > 0 ? tables->n_page_buckets - tables->page_used : 0;
}

/* Of so many buckets, a power of two. Large ones are not cut from pages. */
static bool
is_large(const struct tables *tables, uint32_t n)
{
    return n > tables->n_page_buckets / 4;
}

/* What was not aligned stands in front of the first bucket of a large block. */
static struct bucket *
block_new(struct tables *tables, uint32_t n)
{
    uint32_t class = (uint32_t)__builtin_ctz(n);
    struct bucket *block = tables->free_blocks[class];
    if (block != NULL) {
        memcpy(&tables->free_blocks[class], block, sizeof(block));
    } else if (is_large(tables, n)) {
        uint8_t *memory = own_alloc(tables, n * sizeof(*block) + 64);
        if (memory == NULL) {
            return NULL;
        }
        block = (struct bucket *)(((uintptr_t)memory + 64) & ~(uintptr_t)63);
        ((void **)(void *)block)[-1] = memory;
    } else {
        if (page_left(tables) < n && !page_new(tables)) {
            return NULL;
        }
        block = table_overflow(tables,
                               (tables->n_pages - 1) * tables->n_page_buckets + tables->page_used);
        tables->page_used += n;
    }
    memset(block, 0, n * sizeof(*block));
    return block;
}

static void
block_free(struct tables *tables, struct bucket *block, uint32_t n)
{
    if (is_large(tables, n)) {
        own_free(tables, ((void **)(void *)block)[-1], n * sizeof(*block) + 64);
        return;
    }
    uint32_t class = (uint32_t)__builtin_ctz(n);
    memcpy(block, &tables->free_blocks[class], sizeof(block));
    tables->free_blocks[class] = block;
}

static uint32_t
overflow_new(struct tables *tables)
{
    uint32_t number = tables->first_free;
    if (number != 0) {
        tables->first_free = table_overflow(tables, number)->link;
        tables->n_free--;
    } else {
        number = (tables->n_pages - 1) * tables->n_page_buckets + tables->page_used++;
    }
    memset(table_overflow(tables, number), 0, sizeof(struct bucket));
    return number;
}

/* Life */

void
tables_init(struct tables *tables, struct purse *purse, struct log *log,
            const struct yk_backend_place *place)
{
    *tables = (struct tables){.purse = purse,
                              .log = log,
                              .seed = place->seed,
                              .lane = place->lane,
                              .n_lanes = place->n_lanes,
                              .n_slots = place->n_slots,
                              .n_tables = place->n_slots / place->n_lanes + 2,
                              .n_page_buckets = PAGE_BUCKETS_MIN};
    uint64_t share = purse->share / sizeof(struct bucket) / PAGES_PER_SHARE;
    while (tables->n_page_buckets < PAGE_BUCKETS_MAX && tables->n_page_buckets * 2 <= share) {
        tables->n_page_buckets *= 2;
    }
}

enum yk_err
tables_open(struct tables *tables)
{
    uint64_t size = tables->n_tables * sizeof(struct table);
    tables->tables = own_alloc(tables, size);
    if (tables->tables == NULL) {
        return YK_ENOMEM;
    }
    memset(tables->tables, 0, size);
    return YK_OK;
}

static uint32_t
block_size(uint32_t block)
{
    return block < 8 ? 4 : 4u << (block / 8 - 1);
}

static void
table_free(struct tables *tables, struct table *table)
{
    for (uint32_t i = 0; i < table->n_blocks; i++) {
        block_free(tables, table->blocks[i], block_size(i));
    }
    own_free(tables, table->blocks, table->n_block_room * sizeof(struct bucket *));
    *table = (struct table){.n_buckets = 0};
}

void
tables_reset(struct tables *tables)
{
    for (uint32_t i = 0; i < tables->n_tables && tables->tables != NULL; i++) {
        table_free(tables, &tables->tables[i]);
    }
    for (uint32_t i = 0; i < tables->n_pages; i++) {
        own_free(tables, tables->pages[i], page_size(tables));
    }
    own_free(tables, tables->pages, tables->n_page_room * sizeof(void *));
    tables->pages = NULL;
    tables->n_pages = tables->n_page_room = tables->page_used = 0;
    tables->n_free = tables->first_free = 0;
    memset(tables->free_blocks, 0, sizeof(tables->free_blocks));
}

void
tables_done(struct tables *tables)
{
    tables_reset(tables);
    own_free(tables, tables->tables, tables->n_tables * sizeof(struct table));
    tables->tables = NULL;
}

/* Growth */

static bool
add_block(struct tables *tables, struct table *table)
{
    if (table->n_blocks == table->n_block_room) {
        uint32_t room = table->n_block_room;
        uint64_t step = BLOCKS_STEP * sizeof(struct bucket *);
        struct bucket **blocks =
            own_grow(tables, table->blocks, room * sizeof(*blocks), room * sizeof(*blocks) + step);
        if (blocks == NULL) {
            return false;
        }
        table->blocks = blocks;
        table->n_block_room += BLOCKS_STEP;
    }
    struct bucket *block = block_new(tables, block_size(table->n_blocks));
    if (block == NULL) {
        return false;
    }
    table->blocks[table->n_blocks++] = block;
    return true;
}

static bool
has_next_bucket(const struct table *table)
{
    uint32_t offset;
    return block_of(table->n_buckets, &offset) < table->n_blocks;
}

bool
table_is_short(const struct table *table)
{
    return table->n_buckets == 0 ||
           (table->n_items + 1 > table->n_buckets * LOAD && !has_next_bucket(table));
}

bool
table_prepare(struct tables *tables, struct table *table, uint32_t n_pending)
{
    if (table->n_buckets == 0) {
        if (table->n_blocks == 0 && !add_block(tables, table)) {
            return false;
        }
        table->n_buckets = table->level = BUCKETS_FIRST;
    } else if (table_is_short(table)) {
        (void)add_block(tables, table);
    }
    while (tables->n_free + page_left(tables) < n_pending) {
        if (!page_new(tables)) {
            return false;
        }
    }
    return true;
}

struct bucket *
table_bucket(const struct table *table, uint32_t index)
{
    uint32_t offset, block = block_of(index, &offset);
    return table->blocks[block] + offset;
}

/* The first free place of a chain, which is lengthened if there is none. Returns how many links it
 * is away. */
static uint32_t
chain_add(struct tables *tables, struct bucket *bucket, uint8_t tag, uint32_t ref)
{
    for (uint32_t n_links = 0;; n_links++) {
        uint32_t free = bucket_match(bucket, 0);
        if (free != 0) {
            uint32_t index = (uint32_t)__builtin_ctz(free);
            bucket->tags[index] = tag;
            bucket->refs[index] = ref;
            return n_links;
        }
        if (bucket->link == 0) {
            uint32_t number = overflow_new(tables);
            bucket->link = number;
        }
        bucket = table_overflow(tables, bucket->link);
    }
}

/* Puts the entries of one bucket where they belong. Memory for overflow buckets is there: those of
 * the chain that was taken apart are free already. */
static void
move_entries(struct tables *tables, const struct table *table, const struct bucket *bucket)
{
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        if (bucket->tags[i] != 0) {
            __builtin_prefetch(log_item(tables->log, bucket->refs[i]));
        }
    }
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        if (bucket->tags[i] != 0) {
            uint64_t hash = table_hash_item(tables, log_item(tables->log, bucket->refs[i]));
            (void)chain_add(tables, table_home(table, hash), tag_of(hash), bucket->refs[i]);
        }
    }
}

/* Moves all entries of a chain; its overflow buckets are free as soon as they are read. */
static void
move_chain(struct tables *tables, const struct table *table, struct bucket *home)
{
    struct bucket bucket = *home;
    memset(home, 0, sizeof(*home));
    for (;;) {
        struct bucket next = {.link = 0};
        if (bucket.link != 0) {
            next = *table_overflow(tables, bucket.link);
            overflow_free(tables, bucket.link);
        }
        move_entries(tables, table, &bucket);
        if (bucket.link == 0) {
            return;
        }
        bucket = next;
    }
}

/* Room for a table of the same size beside the old one, whatever its chains will be. */
static bool
prepare_twin(struct tables *tables, const struct table *table, struct table *twin)
{
    uint32_t wanted = tables->n_free + page_left(tables) + table->n_items / BUCKET_ENTRIES + 1;
    while (twin->n_blocks < table->n_blocks) {
        if (!add_block(tables, twin)) {
            return false;
        }
    }
    while (tables->n_free + page_left(tables) < wanted) {
        if (!page_new(tables)) {
            return false;
        }
    }
    return true;
}

/* Without memory the chains stay as they are. */
static void
reseed(struct tables *tables, struct table *table)
{
    struct table old = *table, twin = {.is_seeded = true};
    if (!prepare_twin(tables, table, &twin)) {
        table_free(tables, &twin);
        return;
    }
    twin.n_buckets = old.n_buckets;
    twin.level = old.level;
    twin.n_items = old.n_items;
    *table = twin;
    for (uint32_t i = 0; i < old.n_buckets; i++) {
        move_chain(tables, table, table_bucket(&old, i));
    }
    table_free(tables, &old);
}

static void
split(struct tables *tables, struct table *table)
{
    if (!has_next_bucket(table)) {
        return; /* the chains just grow longer */
    }
    struct bucket *low = table_bucket(table, table->n_buckets - table->level);
    table->n_buckets++;
    move_chain(tables, table, low);
    if (table->n_buckets == table->level * 2) {
        table->level *= 2;
    }
}

/* Entries */

struct entry
table_find(const struct tables *tables, const struct yk_key *key, uint64_t hash)
{
    const struct table *table = table_of(tables, key->slot);
    uint8_t tag = tag_of(hash);
    if (table->n_buckets == 0) {
        return (struct entry){.bucket = NULL};
    }
    for (struct bucket *bucket = table_home(table, hash);;) {
        uint32_t mask = bucket_match(bucket, tag);
        for (; mask != 0; mask &= mask - 1) {
            uint32_t index = (uint32_t)__builtin_ctz(mask);
            if (item_is(log_item(tables->log, bucket->refs[index]), key)) {
                return (struct entry){bucket, index};
            }
        }
        if (bucket->link == 0) {
            return (struct entry){.bucket = NULL};
        }
        bucket = table_overflow(tables, bucket->link);
    }
}

struct entry
table_find_ref(const struct tables *tables, const struct table *table, uint64_t hash, uint32_t ref)
{
    uint8_t tag = tag_of(hash);
    for (struct bucket *bucket = table_home(table, hash);;
         bucket = table_overflow(tables, bucket->link)) {
        uint32_t mask = bucket_match(bucket, tag);
        for (; mask != 0; mask &= mask - 1) {
            uint32_t index = (uint32_t)__builtin_ctz(mask);
            if (bucket->refs[index] == ref) {
                return (struct entry){bucket, index};
            }
        }
    }
}

void
table_insert(struct tables *tables, struct table *table, uint64_t hash, uint32_t ref)
{
    uint32_t n_links = chain_add(tables, table_home(table, hash), tag_of(hash), ref);
    table->n_items++;
    tables->n_items++;
    if (n_links > LINKS_MAX && !table->is_seeded) {
        reseed(tables, table);
    }
    if (table->n_items > table->n_buckets * LOAD) {
        split(tables, table);
    }
}

/* The hole is filled from the end of the chain, so that a chain is as long as it must be. */
static void
fill_hole(struct tables *tables, struct bucket *home, struct entry hole)
{
    struct bucket *before = home, *last = table_overflow(tables, home->link);
    while (last->link != 0) {
        before = last;
        last = table_overflow(tables, last->link);
    }
    uint32_t used = ~bucket_match(last, 0) & ((1u << BUCKET_ENTRIES) - 1);
    if (used != 0 && hole.bucket != last) {
        uint32_t index = 31 - (uint32_t)__builtin_clz(used);
        hole.bucket->tags[hole.index] = last->tags[index];
        hole.bucket->refs[hole.index] = last->refs[index];
        last->tags[index] = 0;
        used &= ~(1u << index);
    }
    if (used == 0) {
        uint32_t number = before->link;
        before->link = 0;
        overflow_free(tables, number);
    }
}

void
table_remove(struct tables *tables, struct table *table, struct entry entry, uint64_t hash)
{
    struct bucket *home = table_home(table, hash);
    entry.bucket->tags[entry.index] = 0;
    if (home->link != 0) {
        fill_hole(tables, home, entry);
    }
    table->n_items--;
    tables->n_items--;
}

void
table_release(struct tables *tables, struct table *table)
{
    if (table->n_items == 0) {
        table_free(tables, table);
    }
}
