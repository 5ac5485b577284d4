/* The tail of a slot's log: the entries that are not committed yet, and before them as many of the
 * others as the bound allows, for replicas that come back. Older ones are in the engine only.
 *
 *     base | committed ... | not committed ...
 *
 * Versions rise from entry to entry, and an entry is the same in every log that has it; so a log is
 * known by the version of its last entry (PacificA's prepared list; log matching as in Raft 5.3).
 *
 * Threads: the lane's. Ownership: a tail owns its entries and a reference to their bytes. */
#ifndef YK_REPLICA_TAIL_H
#define YK_REPLICA_TAIL_H

#include "core/store/entry.h"

struct yk_tail_entry {
    uint64_t version;
    uint64_t position; /* in the journal, behind which it stands; 0: not known yet */
    uint64_t hash;     /* of the key */
    uint64_t token;    /* of the request that made it; 0: none */
    enum yk_entry_kind kind;
    struct yk_buffer *key;   /* NULL: none */
    struct yk_buffer *value; /* the record; NULL: none */
    void *waiter;            /* who is to be told when it is committed, or NULL: the lane's */
    bool is_answered;        /* nobody waits any more: waiter is the key's overlay entry */
};

struct yk_tail {
    struct yk_tail_entry *ring; /* own */
    uint32_t first, n, room;    /* room: a power of two, or 0 */
    uint64_t base;              /* version of the entry before the first; 0: there was none */
    uint64_t last;              /* version of the last entry, or base: looked at without the ring */
    uint64_t bytes;             /* of keys and values, and of the entries themselves */
};

/* An empty log whose last entry has this version. */
void yk_tail_init(struct yk_tail *tail, uint64_t base);
void yk_tail_done(struct yk_tail *tail);

static inline struct yk_tail_entry *
yk_tail_at(const struct yk_tail *tail, uint32_t index)
{
    return &tail->ring[(tail->first + index) & (tail->room - 1)];
}

/* The version of the last entry of the log. */
static inline uint64_t
yk_tail_last(const struct yk_tail *tail)
{
    return tail->last;
}

/* Index of the first entry above that version; n: there is none. */
uint32_t yk_tail_above(const struct yk_tail *tail, uint64_t version);
/* Does the log have that entry, or had it once as the one before the tail? */
bool yk_tail_has(const struct yk_tail *tail, uint64_t version);
/* Takes over the entry, with its references; its version is above the last. */
enum yk_err yk_tail_push(struct yk_tail *tail, const struct yk_tail_entry *entry) YK_MUST_CHECK;
/* Forgets the first; the base is its version then. */
void yk_tail_drop_first(struct yk_tail *tail);
/* Forgets the entries above that version. */
void yk_tail_cut(struct yk_tail *tail, uint64_t version);

#endif
