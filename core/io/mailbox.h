/* Mail between workers: one queue for each pair, written by one thread and emptied by one, a chain
 * of ops at a time. What is in it is bounded by what sessions may have under way.
 *
 * Threads: put by the sender, take by the receiver. Ownership: ops are handed over. */
#ifndef YK_IO_MAILBOX_H
#define YK_IO_MAILBOX_H

#include "core/store/op.h"

struct yk_mailbox {
    _Alignas(64) struct yk_op *first; /* atomic: what was put and not yet taken */
    _Alignas(64) struct yk_op *last;  /* the sender's own: end of the chain that it put last */
};

/* Adds a chain, in order, behind what was put before. */
static inline void
yk_mailbox_put(struct yk_mailbox *mailbox, struct yk_op *first)
{
    struct yk_op *last = first;
    while (last->next != NULL) {
        last = last->next;
    }
    struct yk_op *waiting = __atomic_exchange_n(&mailbox->first, NULL, __ATOMIC_ACQ_REL);
    if (waiting != NULL) {
        mailbox->last->next = first;
        first = waiting;
    }
    mailbox->last = last;
    __atomic_store_n(&mailbox->first, first, __ATOMIC_SEQ_CST);
}

/* Everything that waits, or NULL. */
static inline struct yk_op *
yk_mailbox_take(struct yk_mailbox *mailbox)
{
    if (__atomic_load_n(&mailbox->first, __ATOMIC_SEQ_CST) == NULL) {
        return NULL;
    }
    return __atomic_exchange_n(&mailbox->first, NULL, __ATOMIC_ACQ_REL);
}

#endif
