/* The table of the memory engine: chains of items, sorted by hash and then by key, that grow by
 * splitting one chain at a time (linear hashing, W. Litwin, VLDB 1980), so that growth never
 * pauses. Chains only ever split upwards: a scan that walks the chains in order misses nothing that
 * stays.
 *
 * Threads: the engine's. Ownership: the table owns its array, the engine the items. */
#ifndef MEMORY_TABLE_H
#define MEMORY_TABLE_H

#include <yakumo/backend.h>

enum queue_kind { QUEUE_SMALL = 0, QUEUE_MAIN = 1 };

struct item {
    struct item *next;          /* in its chain, see table_compare */
    struct item *older, *newer; /* in its eviction queue, or older: in the list of admitted ones */
    uint64_t hash;
    uint32_t value_size;
    uint16_t key_size;
    uint16_t slot;
    uint16_t generation;
    uint8_t hits;             /* since it was last looked at for eviction, at most 3 */
    uint8_t queue;            /* enum queue_kind */
    uint32_t accessed_s : 31; /* when it was stored or last read, seconds since 1970 */
    uint32_t was_hit : 1;     /* it was read since it was stored */
    uint8_t bytes[];          /* key, value */
};

struct table {
    const struct yk_host *host;
    struct item **chains;
    size_t n_chains; /* in use */
    size_t n_room;   /* allocated */
    size_t level;    /* power of two: chains below n_chains - level are split */
    size_t n_items;
    uint64_t seed;
};

enum yk_err
table_init(struct table *table, const struct yk_host *host, uint64_t seed) YK_MUST_CHECK;
void table_done(struct table *table);

static inline uint64_t
table_hash(const struct table *table, const struct yk_key *key)
{
    /* Keys that clients choose to collide in the ring's hash still spread over the chains. */
    uint64_t mixed = (key->hash ^ table->seed) * 0x9e3779b97f4a7c15ull;
    return mixed ^ (mixed >> 29);
}

/* The order within a chain: below 0: the item stands before the key. */
int table_compare(const struct item *item, const struct yk_key *key, uint64_t hash);
struct item *table_find(const struct table *table, const struct yk_key *key, uint64_t hash);
/* Puts the item in; what it replaces is taken out and returned, or NULL. Never fails. */
struct item *table_put(struct table *table, struct item *item);
struct item *table_take(struct table *table, const struct yk_key *key, uint64_t hash);
void table_remove(struct table *table, struct item *item);

#endif
