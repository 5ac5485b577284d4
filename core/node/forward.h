/* Any node answers any client: an op on a key is executed by the primary of the key's slot,
 * wherever that is. Both ends are here: the gateway, which has the client, and the worker of the
 * primary.
 *
 *     here      submit --------------------> execute --> (ESTALE) --+--> waits 5 to 100 ms --+
 *     gateway   submit --> "ops" --> sent --> "answers" ------------+   and looks again      |
 *                 ^                   |                                 <-------------------+
 *                 |                   |  link lost, or somebody else leads: again
 *     primary   "ops" --> execute --> answer --> "answers"
 *
 * A new view, or a link that comes up, ends the waits.
 *
 * ESTALE says that surely nothing was done, and is never given to a client: the op is tried again,
 * by the view of then, until its time is over (TRY_US in forward.c). A write that surely was not
 * done ends in EBUSY then, a read in ETIMEDOUT, a write that was sent and not answered in EUNKNOWN.
 * A write with a token, of which nobody knows what became, is sent again, and says so: the
 * primary's log knows it (core/replica/README.md); any other ends in EUNKNOWN.
 * A read is tried again whatever became of it; one with WIN too: if an answer is lost, the win is,
 * as when the client that has it goes away. Each try has an id of its own, which no process uses
 * again, so that an answer that comes late is nobody's.
 *
 * FLUSH goes to each lane of nodes that are primaries, this one too, with a digest of the slots of
 * which the gateway takes it to be; a lane that sees that otherwise does nothing. So together, by
 * one view, they are all slots.
 *
 * Nothing ends within submit and flush, so that the router may call them anywhere.
 *
 * Source: PROTOCOL "Writing" 1, "Retries". Threads: the worker's. Ownership: lends ops of clients
 * from submit to `ended`; owns the ops that it makes for other nodes, from `execute` to
 * yk_forward_answer. */
#ifndef YK_NODE_FORWARD_H
#define YK_NODE_FORWARD_H

#include "core/node/value_cache.h"
#include "core/ring/view.h"
#include "core/router/bucket.h"
#include "core/store/op.h"
#include "core/wire/unpack.h"

struct yk_forward;

struct yk_forward_sink {
    void *arg;
    /* Execute it on this node; its end is told by yk_forward_ended, of another node's op (origin
     * YK_ORIGIN_REMOTE) by yk_forward_answer. Only to be queued now. */
    void (*execute)(void *arg, struct yk_op *op);
    /* A client's op has ended; the reply is lent. */
    void (*ended)(void *arg, struct yk_op *op, const struct yk_reply *reply);
    /* Is the lane this worker's, and clustered? */
    bool (*owns)(void *arg, uint32_t bucket, uint32_t lane);
    /* Takes the reference. */
    void (*send)(void *arg, uint32_t peer, uint32_t worker, struct yk_buffer *frame);
};

struct yk_forward_config {
    const struct yk_world *world; /* lent, and so are the buckets */
    struct yk_bucket *const *buckets;
    uint32_t n_buckets, worker;
    uint64_t cache_bytes; /* for values of other nodes; 0: none are kept */
    struct yk_forward_sink sink;
};

enum yk_err yk_forward_new(const struct yk_forward_config *config,
                           struct yk_forward **ret_forward) YK_MUST_CHECK;
void yk_forward_free(struct yk_forward *forward); /* takes NULL */

/* Lent until the next one, or free. */
void yk_forward_view(struct yk_forward *forward, const struct yk_view *view);

/* An op on a key of a clustered bucket, pinned and is_kept. False: this node is the primary as far
 * as is known, execute it here. True: it was taken, and ends later. */
bool yk_forward_submit(struct yk_forward *forward, struct yk_op *op);
/* A FLUSH, for all lanes of other nodes; and one for a lane of this node, before it goes there. */
void yk_forward_flush(struct yk_forward *forward, struct yk_op *op);
void yk_forward_flush_here(const struct yk_forward *forward, struct yk_op *op);
/* An op on a key of a clustered bucket, of this worker's clients, has ended on this node. True: it
 * was taken to be tried again. */
bool yk_forward_ended(struct yk_forward *forward, struct yk_op *op, const struct yk_reply *reply);
/* Another node's op has ended; it is freed. */
void yk_forward_answer(struct yk_forward *forward, struct yk_op *op, const struct yk_reply *reply);

/* The params of an "ops" or an "answers", at which unpack stands, of that thread. */
void yk_forward_hear_ops(struct yk_forward *forward, uint32_t peer, uint32_t worker,
                         struct yk_unpack *unpack);
void yk_forward_hear_answers(struct yk_forward *forward, uint32_t peer, uint32_t worker,
                             struct yk_unpack *unpack);
void yk_forward_peer(struct yk_forward *forward, uint32_t peer, uint32_t worker, bool is_up);

/* In each turn, before lanes are run: what is due. */
void yk_forward_tick(struct yk_forward *forward);
/* At its end: sends what there is. */
void yk_forward_speak(struct yk_forward *forward);
/* NULL: there is none. */
const struct yk_value_cache *yk_forward_cache(const struct yk_forward *forward);
bool yk_forward_wants_turn(const struct yk_forward *forward); /* there is something to send */
/* Time of the next tick that is needed, from the one before, us; -1: no need. */
int64_t yk_forward_due_us(const struct yk_forward *forward);
bool yk_forward_is_idle(const struct yk_forward *forward);     /* no op, of whoever */
uint64_t yk_forward_dropped(const struct yk_forward *forward); /* frames that were of no use */

#endif
