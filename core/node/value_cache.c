/* A hash table of items in the order in which they came, with SIEVE's hand. */
#include <config.h>

#include "core/node/value_cache.h"

#include <stdlib.h>

#include "core/base/buffer.h"

enum { CHAINS_MAX = 1 << 20, BYTES_PER_CHAIN = 1024, SHARE_MAX = 8 };

struct item {
    struct item *next;          /* of the chain */
    struct item *newer, *older; /* in the order in which they came */
    struct yk_buffer *value;    /* own */
    uint64_t hash, version;
    uint32_t bucket, key_size;
    bool is_visited;
    uint8_t key[];
};

struct yk_value_cache {
    uint64_t bytes_max;
    struct yk_value_cache_figures figures;
    struct item *newest, *oldest, *hand;
    uint32_t n_chains; /* a power of two */
    struct item *chains[];
};

struct yk_value_cache *
yk_value_cache_new(uint64_t bytes_max)
{
    uint32_t n_chains = 1;
    while (n_chains < CHAINS_MAX && (uint64_t)n_chains * BYTES_PER_CHAIN < bytes_max) {
        n_chains *= 2;
    }
    struct yk_value_cache *cache = calloc(1, sizeof(*cache) + n_chains * sizeof(struct item *));
    if (cache != NULL) {
        cache->bytes_max = bytes_max;
        cache->n_chains = n_chains;
    }
    return cache;
}

static uint64_t
size_of(const struct item *item)
{
    return sizeof(*item) + item->key_size + sizeof(struct yk_buffer) + item->value->size;
}

static struct item **
find(struct yk_value_cache *cache, const struct yk_value_cache_key *key)
{
    struct item **at = &cache->chains[key->hash & (cache->n_chains - 1)];
    while (*at != NULL && ((*at)->hash != key->hash || (*at)->bucket != key->bucket ||
                           !yk_slice_equal(yk_slice_of((*at)->key, (*at)->key_size), key->key))) {
        at = &(*at)->next;
    }
    return at;
}

static void
unlink_item(struct yk_value_cache *cache, struct item **at)
{
    struct item *item = *at;
    *at = item->next;
    if (cache->hand == item) {
        cache->hand = item->newer;
    }
    *(item->newer != NULL ? &item->newer->older : &cache->newest) = item->older;
    *(item->older != NULL ? &item->older->newer : &cache->oldest) = item->newer;
    cache->figures.items--;
    cache->figures.bytes -= size_of(item);
    yk_buffer_unref(item->value);
    free(item);
}

/* From the oldest to the newest, and round: who was asked for stays once more. */
static void
evict_one(struct yk_value_cache *cache)
{
    struct item *item = cache->hand != NULL ? cache->hand : cache->oldest;
    while (item->is_visited) {
        item->is_visited = false;
        item = item->newer != NULL ? item->newer : cache->oldest;
    }
    cache->hand = item->newer;
    struct item **at = &cache->chains[item->hash & (cache->n_chains - 1)];
    while (*at != item) {
        at = &(*at)->next;
    }
    unlink_item(cache, at);
}

void
yk_value_cache_free(struct yk_value_cache *cache)
{
    while (cache != NULL && cache->oldest != NULL) {
        evict_one(cache);
    }
    free(cache);
}

struct yk_buffer *
yk_value_cache_find(struct yk_value_cache *cache, const struct yk_value_cache_key *key,
                    uint64_t *ret_version)
{
    struct item *item = *find(cache, key);
    if (item == NULL) {
        return NULL;
    }
    item->is_visited = true;
    *ret_version = item->version;
    yk_buffer_ref(item->value);
    return item->value;
}

void
yk_value_cache_drop(struct yk_value_cache *cache, const struct yk_value_cache_key *key)
{
    struct item **at = find(cache, key);
    if (*at != NULL) {
        unlink_item(cache, at);
    }
}

static struct item *
make(const struct yk_value_cache_key *key, uint64_t version, struct yk_slice value)
{
    struct item *item = malloc(sizeof(*item) + key->key.size);
    struct yk_buffer *buffer = item != NULL ? yk_buffer_new_copy(value) : NULL;
    if (buffer == NULL) {
        free(item);
        return NULL;
    }
    *item = (struct item){.value = buffer,
                          .hash = key->hash,
                          .version = version,
                          .bucket = key->bucket,
                          .key_size = (uint32_t)key->key.size};
    memcpy(item->key, key->key.data, key->key.size);
    return item;
}

void
yk_value_cache_put(struct yk_value_cache *cache, const struct yk_value_cache_key *key,
                   uint64_t version, struct yk_slice value)
{
    yk_value_cache_drop(cache, key);
    bool is_fit = value.size >= YK_CACHED_VALUE_MIN && value.size <= cache->bytes_max / SHARE_MAX;
    struct item *item = is_fit ? make(key, version, value) : NULL;
    if (item == NULL) {
        return;
    }
    while (cache->oldest != NULL && cache->figures.bytes + size_of(item) > cache->bytes_max) {
        evict_one(cache);
    }
    struct item **chain = &cache->chains[key->hash & (cache->n_chains - 1)];
    item->next = *chain;
    *chain = item;
    item->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = item;
    cache->newest = item;
    cache->figures.items++;
    cache->figures.bytes += size_of(item);
}

void
yk_value_cache_count(struct yk_value_cache *cache, bool is_hit)
{
    *(is_hit ? &cache->figures.hits : &cache->figures.misses) += 1;
}

struct yk_value_cache_figures
yk_value_cache_figures(const struct yk_value_cache *cache)
{
    return cache->figures;
}
