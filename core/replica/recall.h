/* What a lane remembers of reads where its engine does not: for the records of late, when each was
 * stored or read last, and whether it was read since. A small lossy table, of hints.
 *
 * Threads: the lane's. Ownership: plain value. */
#ifndef YK_REPLICA_RECALL_H
#define YK_REPLICA_RECALL_H

#include <stdbool.h>
#include <stdint.h>

#define YK_RECALL_SIZE 4096u /* records; a power of two */

struct yk_recalled {
    uint32_t tag; /* of the key's hash */
    uint32_t at_s : 31;
    uint32_t was_hit : 1;
};

struct yk_recall {
    struct yk_recalled entries[YK_RECALL_SIZE];
};

static inline struct yk_recalled *
yk_recall_place(struct yk_recall *recall, uint64_t hash)
{
    return &recall->entries[hash & (YK_RECALL_SIZE - 1)];
}

static inline void
yk_recall_note(struct yk_recall *recall, uint64_t hash, bool is_hit, uint64_t now_ms)
{
    *yk_recall_place(recall, hash) = (struct yk_recalled){
        (uint32_t)(hash >> 32), (uint32_t)(now_ms / 1000) & INT32_MAX, is_hit ? 1u : 0u};
}

/* False: nothing is known. */
static inline bool
yk_recall_find(struct yk_recall *recall, uint64_t hash, bool *ret_was_hit,
               uint64_t *ret_last_access_ms)
{
    const struct yk_recalled *entry = yk_recall_place(recall, hash);
    if (entry->tag != (uint32_t)(hash >> 32) || entry->at_s == 0) {
        return false;
    }
    *ret_was_hit = entry->was_hit != 0;
    *ret_last_access_ms = entry->at_s * 1000ull;
    return true;
}

#endif
