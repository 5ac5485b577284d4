/* The hash of keys: XXH3-64, part of the data's form (a key's slot comes from it).
 *
 * Threads: pure. Ownership: none. */
#ifndef YK_BASE_HASH_H
#define YK_BASE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <yakumo/base.h>

static inline uint64_t
yk_hash(struct yk_slice key)
{
    return XXH3_64bits(key.data, key.size);
}

#endif
