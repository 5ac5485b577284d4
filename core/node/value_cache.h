/* Values that a gateway got from other nodes, with their versions. It never answers by itself: a
 * read is asked of the primary all the same, with the version that is here; where that is still the
 * record's the answer comes without the value, and this one is given to the client.
 *
 * What goes first when there is too much: SIEVE (Zhang and others, NSDI 2024): in the order in
 * which they came, but for those that were asked for since the hand last passed.
 *
 * Threads: one, the worker's; so each worker has its own. Pure. Ownership: owns copies of keys and
 * a reference to each value. */
#ifndef YK_NODE_VALUE_CACHE_H
#define YK_NODE_VALUE_CACHE_H

#include <yakumo/base.h>

/* Bytes of a value below which the question costs as much as the answer. */
#define YK_CACHED_VALUE_MIN 128u

struct yk_value_cache;

struct yk_value_cache_key {
    uint32_t bucket;
    uint64_t hash; /* of the key */
    struct yk_slice key;
};

struct yk_value_cache_figures {
    uint64_t hits;   /* answers without their value */
    uint64_t misses; /* reads that were sent and had no value here, or an older one */
    uint64_t items, bytes;
};

/* bytes_max: of keys, values and what they need here; a value of more than an eighth of that is not
 * taken. NULL: no memory. */
struct yk_value_cache *yk_value_cache_new(uint64_t bytes_max);
void yk_value_cache_free(struct yk_value_cache *cache); /* takes NULL */

/* The value, with a reference for the caller, and its version; NULL: it is not there. */
struct yk_buffer *yk_value_cache_find(struct yk_value_cache *cache,
                                      const struct yk_value_cache_key *key, uint64_t *ret_version);
/* Takes a copy, instead of what it had; or drops that, where there is no memory or it is too
 * large. */
void yk_value_cache_put(struct yk_value_cache *cache, const struct yk_value_cache_key *key,
                        uint64_t version, struct yk_slice value);
void yk_value_cache_drop(struct yk_value_cache *cache, const struct yk_value_cache_key *key);

void yk_value_cache_count(struct yk_value_cache *cache, bool is_hit);
struct yk_value_cache_figures yk_value_cache_figures(const struct yk_value_cache *cache);

#endif
