/* An entry: one change of a lane as the journal keeps it, and a snapshot too. What is kept is the
 * result (the whole record), never the operation that led to it.
 *
 * Threads: plain values. Ownership: key and value are borrowed. */
#ifndef YK_STORE_ENTRY_H
#define YK_STORE_ENTRY_H

#include <yakumo/base.h>

enum yk_entry_kind {
    YK_ENTRY_PUT = 1,      /* key has the record `value` from now on */
    YK_ENTRY_DELETE = 2,   /* key has none */
    YK_ENTRY_FLUSH = 3,    /* records of the slot up to this version are absent */
    YK_ENTRY_FLUSH_AT = 4, /* a flush of the slot's lane is due at `value`: u64, ms since 1970 */
    YK_ENTRY_PAGE = 5,     /* snapshots only: page `slot` of the lane's slots, see core/replica */
    YK_ENTRY_CUT = 6,      /* entries of the slot above this version that stand before are void */
    YK_ENTRY_WIPE = 7,     /* so is all of the slot: a copy of what is committed up to here comes */
    YK_ENTRY_COPY = 8,     /* of which this is a record */
    YK_ENTRY_COPIED = 9,   /* it has come, up to this version; value: the flush mark, u64 */
};

#define YK_SEQUENCE_BITS 40 /* of a version; the epoch is above */

struct yk_entry {
    enum yk_entry_kind kind;
    uint8_t bucket;   /* index in the table of the file's head */
    uint16_t slot;    /* PAGE: number of the page */
    uint64_t version; /* epoch (24 bits) | sequence (40 bits); 0 for PAGE */
    uint32_t lag;   /* what is committed ended so many sequence numbers before it, for all that was
                       known when it was written; 0: it is committed where it stands */
    uint64_t token; /* of the request that made it, to know it by when that comes again; 0: none */
    struct yk_slice key;
    struct yk_slice value;
};

/* Of its form in a file, see core/journal/format.h. */
#define YK_ENTRY_HEAD_SIZE  24u
#define YK_ENTRY_TOKEN_SIZE 8u /* of one that is not 0 */

/* Without a token. */
static inline uint64_t
yk_entry_size(uint64_t key_size, uint64_t value_size)
{
    return YK_ENTRY_HEAD_SIZE + key_size + value_size;
}

static inline uint64_t
yk_entry_size_of(const struct yk_entry *entry)
{
    return yk_entry_size(entry->key.size, entry->value.size) +
           (entry->token != 0 ? YK_ENTRY_TOKEN_SIZE : 0);
}

#endif
