/* The engine of one lane: what its files share.
 *
 * table.c finds keys, log.c holds items, evict.c makes room, ghosts.c remembers what was evicted,
 * scan.c walks, and memory.c is what the host calls.
 *
 * Threads: as backend.h says: one call at a time. Ownership: an instance owns all below it. */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "backends/memory/ghosts.h"
#include "backends/memory/log.h"
#include "backends/memory/table.h"

enum { HITS_MAX = 3 };

struct memory {
    const struct yk_host *host;
    struct purse purse;
    struct log log;
    struct tables tables;
    struct ghosts ghosts;
    bool may_evict;
    bool is_cleaning; /* the victim's items are kept, whatever their hits */
    uint32_t hand;    /* the segment that was last looked at for cleaning */

    /* Items that were admitted and are not applied yet, oldest first: a ring of references. */
    uint32_t *pending;
    uint32_t pending_room, pending_first, n_pending;

    uint64_t evictions;
    uint64_t n_looked, n_settled; /* items that evict.c looked at, and was done with */
};

/* Looks at items of the segment whose turn it is, of about so many bytes: drops what is to be
 * evicted, moves what stays. False: there was nothing that could be done. */
bool memory_work(struct memory *memory, int64_t effort);
/* A bounded part of what is to be done in the background: gives back what others miss, fills the
 * stock, cleans. */
void memory_tend(struct memory *memory, int64_t effort);
/* Takes the item out of table and log. */
void memory_remove(struct memory *memory, struct table *table, struct entry entry, uint64_t hash);

enum yk_err memory_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor,
                        yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call);
enum yk_err memory_wipe_slot(void *self, uint16_t slot, uint16_t generation);

#endif
