/* A bundle: the entries of a worker's turn on their way to the log, where they become one batch.
 * And the room of the log, from which workers set aside what they will need before they accept a
 * write: so a write that was accepted always finds its place.
 *
 * Threads: a bundle belongs to one thread at a time, a queue hands it over; the room is atomic.
 * Ownership: a bundle owns its bytes. */
#ifndef YK_JOURNAL_BUNDLE_H
#define YK_JOURNAL_BUNDLE_H

#include "core/journal/format.h"

/* Bytes of room that a bundle takes beyond its entries: its batch's head, and what fills its block.
 */
#define YK_BUNDLE_EXTRA (YK_BATCH_HEAD_SIZE + YK_JOURNAL_ALIGN_DISK)
#define YK_BUNDLE_SIZE  YK_MIB /* from here on another is begun; one entry may be larger */

struct yk_bundle {
    struct yk_bundle *next;
    uint8_t *bytes; /* room for the batch's head, then the entries */
    uint32_t size, room;
    uint32_t n_entries;
    uint64_t reserved; /* bytes of the log's room that it holds */
    uint64_t number;   /* of its worker's, rising */
    uint32_t worker;
    bool syncs;        /* to be on the device before it counts as kept */
    uint64_t position; /* in the log, once it is there */
    uint64_t now_ms;
};

/* NULL: no memory. */
struct yk_bundle *yk_bundle_new(void);
void yk_bundle_free(struct yk_bundle *bundle);  /* takes NULL */
void yk_bundle_reset(struct yk_bundle *bundle); /* empty again; gives much memory back */
/* Room for so many bytes of entries more, or false: there is no memory. */
bool yk_bundle_extend(struct yk_bundle *bundle, uint64_t size);
/* There must be room. */
void yk_bundle_add(struct yk_bundle *bundle, const struct yk_entry *entry);

/* Shared by the workers and who keeps the log. */
struct yk_journal_room {
    int64_t bytes;             /* atomic */
    uint64_t bundle_size;      /* from so many bytes on another bundle is begun */
    uint64_t checkpoint_below; /* atomic: lanes that need what is before are to be checkpointed */
};

/* Takes so much, or nothing: false. */
static inline bool
yk_journal_take(struct yk_journal_room *room, uint64_t size)
{
    if (__atomic_sub_fetch(&room->bytes, (int64_t)size, __ATOMIC_RELAXED) >= 0) {
        return true;
    }
    __atomic_add_fetch(&room->bytes, (int64_t)size, __ATOMIC_RELAXED);
    return false;
}

static inline void
yk_journal_give(struct yk_journal_room *room, int64_t size)
{
    __atomic_add_fetch(&room->bytes, size, __ATOMIC_RELAXED);
}

#endif
