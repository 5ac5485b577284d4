/* Chains of items. */
#include "backends/memory/table.h"

enum { CHAINS_FIRST = 16 };

enum yk_err
table_init(struct table *table, const struct yk_host *host, uint64_t seed)
{
    *table = (struct table){.host = host,
                            .n_chains = CHAINS_FIRST,
                            .n_room = CHAINS_FIRST,
                            .level = CHAINS_FIRST,
                            .seed = seed};
    table->chains = host->alloc(host, CHAINS_FIRST * sizeof(struct item *));
    if (table->chains == NULL) {
        return YK_ENOMEM;
    }
    memset(table->chains, 0, CHAINS_FIRST * sizeof(struct item *));
    return YK_OK;
}

void
table_done(struct table *table)
{
    if (table->chains != NULL) {
        table->host->release(table->host, table->chains);
    }
}

static struct item **
chain_of(const struct table *table, uint64_t hash)
{
    size_t index = hash & (table->level * 2 - 1);
    return &table->chains[index < table->n_chains ? index : index - table->level];
}

int
table_compare(const struct item *item, const struct yk_key *key, uint64_t hash)
{
    if (item->hash != hash) {
        return item->hash < hash ? -1 : 1;
    }
    if (item->slot != key->slot) {
        return item->slot < key->slot ? -1 : 1;
    }
    if (item->generation != key->generation) {
        return item->generation < key->generation ? -1 : 1;
    }
    if (item->key_size != key->size) {
        return item->key_size < key->size ? -1 : 1;
    }
    return memcmp(item->bytes, key->data, key->size);
}

/* Where the key stands, or where it would. */
static struct item **
find_place(const struct table *table, const struct yk_key *key, uint64_t hash)
{
    struct item **at = chain_of(table, hash);
    while (*at != NULL && table_compare(*at, key, hash) < 0) {
        at = &(*at)->next;
    }
    return at;
}

struct item *
table_find(const struct table *table, const struct yk_key *key, uint64_t hash)
{
    struct item *item = *find_place(table, key, hash);
    return item != NULL && table_compare(item, key, hash) == 0 ? item : NULL;
}

/* Makes room for one more chain; false: no memory, the chains just grow longer. */
static bool
make_room(struct table *table)
{
    if (table->n_chains < table->n_room) {
        return true;
    }
    size_t size = table->n_room * 2 * sizeof(struct item *);
    struct item **chains = table->host->resize(table->host, table->chains, size);
    if (chains == NULL) {
        return false;
    }
    table->chains = chains;
    table->n_room *= 2;
    return true;
}

static void
split(struct table *table)
{
    if (!make_room(table)) {
        return;
    }
    size_t low = table->n_chains - table->level;
    struct item *item = table->chains[low];
    struct item **to_low = &table->chains[low];
    struct item **to_high = &table->chains[table->n_chains];
    for (; item != NULL; item = item->next) {
        if (item->hash & table->level) {
            *to_high = item;
            to_high = &item->next;
        } else {
            *to_low = item;
            to_low = &item->next;
        }
    }
    *to_low = *to_high = NULL;
    table->n_chains++;
    if (table->n_chains == table->level * 2) {
        table->level *= 2;
    }
}

struct item *
table_put(struct table *table, struct item *item)
{
    struct yk_key key = {.data = item->bytes,
                         .size = item->key_size,
                         .slot = item->slot,
                         .generation = item->generation};
    struct item **at = find_place(table, &key, item->hash);
    struct item *old = *at != NULL && table_compare(*at, &key, item->hash) == 0 ? *at : NULL;
    item->next = old != NULL ? old->next : *at;
    *at = item;
    if (old == NULL && ++table->n_items > table->n_chains) {
        split(table);
    }
    return old;
}

struct item *
table_take(struct table *table, const struct yk_key *key, uint64_t hash)
{
    struct item *item = table_find(table, key, hash);
    if (item != NULL) {
        table_remove(table, item);
    }
    return item;
}

void
table_remove(struct table *table, struct item *item)
{
    struct item **at = chain_of(table, item->hash);
    while (*at != item) {
        at = &(*at)->next;
    }
    *at = item->next;
    table->n_items--;
}
