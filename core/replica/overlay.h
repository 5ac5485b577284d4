/* The overlay of a lane: the keys on which a write is under way.
 *
 * The first write of a key pins it and is its holder while it is judged; later writes of the key
 * wait, first in, first out. Reads do not wait here (the router keeps the order of one connection).
 *
 * Without a journal a holder holds until it is applied, and the next is judged against what it
 * left. With one it lets go as soon as it is judged: the next is judged against the newest record
 * that was prepared, and a read is answered with what is committed and not in the engine yet.
 *
 *     pinned -> judged -> prepared (in the journal's queue) -> committed -> applied -> forgotten
 *
 * Source: PROTOCOL "Writing" 2. Threads: the lane's. Ownership: the overlay owns its entries, an
 * entry its references; ops are lent. */
#ifndef YK_REPLICA_OVERLAY_H
#define YK_REPLICA_OVERLAY_H

#include "core/store/op.h"

struct yk_overlay_entry {
    struct yk_overlay_entry *next; /* in its chain, or in the list of free ones */
    uint64_t hash;
    struct yk_slice key;  /* the holder's; with a journal, in own */
    struct yk_op *holder; /* with a journal: is being judged; NULL: none */
    struct yk_op_queue waiters;

    /* With a journal. */
    uint8_t *own; /* YK_PIN_ROOM, then the key; kept for the next use of the entry */
    uint32_t own_room;
    uint16_t slot;
    bool is_known;               /* newest says what was prepared last */
    struct yk_buffer *newest;    /* NULL: no record */
    uint64_t mark;               /* of newest, in the journal */
    uint32_t n_prepared;         /* ops of this key that wait for the journal */
    bool has_committed;          /* and what it is has still to be applied */
    struct yk_buffer *committed; /* NULL: a deletion */
    bool is_queued;              /* to be applied; or it is stuck */
    bool was_admitted;           /* the engine has room for committed already */
    bool is_applying;            /* a job has it */
    struct yk_buffer *applying;  /* what is being applied */
    uint64_t queue_number;       /* rising, since when it is queued */
    struct yk_overlay_entry *next_queued;
};

struct yk_overlay {
    struct yk_overlay_entry **chains;
    uint32_t n_chains; /* a power of two */
    uint32_t n_entries;
    struct yk_overlay_entry *free_entries;
    bool owns_keys; /* set by who made it, before the first pin: entries outlive their ops */
};

enum yk_err yk_overlay_init(struct yk_overlay *overlay) YK_MUST_CHECK;
/* Whatever is still in it is forgotten. */
void yk_overlay_done(struct yk_overlay *overlay);

/* The entry of op's key, or NULL. */
struct yk_overlay_entry *yk_overlay_find(const struct yk_overlay *overlay, const struct yk_op *op);
/* Pins the key, with op as its holder; NULL: no memory. The key must not be pinned. */
struct yk_overlay_entry *yk_overlay_pin(struct yk_overlay *overlay, struct yk_op *op);
/* The holder ends: the first waiter becomes the holder and is returned, or the key is free: NULL.
 */
struct yk_op *yk_overlay_release(struct yk_overlay *overlay, struct yk_overlay_entry *entry);
/* Nothing is known of the key any more, and nobody waits for it. */
void yk_overlay_forget(struct yk_overlay *overlay, struct yk_overlay_entry *entry);

#endif
