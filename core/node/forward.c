/* The gateway's table of ops that wait, and what a primary's worker does for other nodes. */
#include <config.h>

#include "core/node/forward.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/base/world.h"
#include "core/node/ops.h"

enum {
    TRY_US = 5000000,     /* from an op's first try to its last */
    READ_US = 1000000,    /* for an answer to a read, until it is asked again */
    LEAVE_US = 20000,     /* for an answer of one who is the primary no more */
    WAIT_FIRST_US = 5000, /* before the next try; doubled */
    WAIT_MAX_US = 100000,
    N_LINK_CHAINS = 64,
    N_ID_CHAINS = 4096,
    N_TEXTS = 64,
    PACK_KEPT_MAX = 64 * 1024 /* bytes of memory for the next frame */
};

#define ITEM_SIZE_MAX (YK_FRAME_SIZE_MAX - 2 * YK_OPS_HEAD_MAX)

static const char no_primary_text[] = "no primary for this part of the keys";
static const char too_many_text[] = "too many requests wait for other nodes";
static const char unknown_text[] = "outcome unknown";
static const char too_large_text[] = "too large to be sent to another node";

/* here: its lane has it. sent: in ids and its link's list. waits: for its next try. The latter two
 * are in the heap. */
enum state { HERE, SENT, WAITS };

struct flush {
    struct yk_op *op;
    uint32_t n_left;
    enum yk_err result;
    const char *text;
};

struct yk_pending {
    struct yk_pending *next; /* of the chain of ids, or of the free ones */
    struct yk_op *op;
    enum state state;
    bool was_refused; /* once */
    uint32_t n_waits; /* since it was last worth to look at once */
    uint64_t id;      /* of this try, while it is sent */
    int64_t deadline_us, due_us;
    int64_t answer_us; /* while it is sent: until then it is waited for */
    uint32_t heap_index;
    struct link *link;                /* while it is sent */
    struct yk_pending *newer, *older; /* of those that are sent there */
    uint64_t bytes, answer_bytes;     /* that it counts for at its link */
    /* Of a GET, while it is sent: what this node has of the key; own. NULL: nothing. */
    struct yk_buffer *cached;
    uint64_t cached_version;
    /* A part of a flush, for one lane of a node, sent once. */
    struct flush *flush;
    uint64_t digest;
};

/* A thread of another node. */
struct link {
    struct link *next; /* of the chain */
    uint32_t peer, worker;
    bool is_down;    /* the last that was told of it */
    bool is_probed;  /* while it is down: something was sent, so that it comes up */
    bool has_output; /* in the list of such */
    struct link *next_output;
    struct yk_pending *oldest, *newest; /* that were sent and are not answered */
    uint32_t n_sent;
    uint64_t bytes, answer_bytes; /* of them */
    struct yk_pack ops, answers;  /* gathered */
    uint32_t n_ops, n_answers;
    uint32_t bucket; /* of the ops */
};

/* Another node's op. */
struct remote {
    struct yk_op op; /* first */
    uint64_t id, bytes;
    uint32_t peer, worker;
    uint8_t pinned[];
};

struct yk_forward {
    struct yk_forward_config config;
    const struct yk_view *view;
    int64_t now_us;
    uint64_t last_id, last_token;
    uint64_t **seen; /* of each bucket: of each slot a version that a write was given, or NULL */
    uint32_t n_links, n_pending;
    struct link *links[N_LINK_CHAINS];
    struct link *outputs;
    struct yk_pending *ids[N_ID_CHAINS];
    struct yk_pending *free_pendings;
    struct yk_pending **heap; /* binary, by due_us; room for all pendings */
    uint32_t n_heap, heap_room;
    struct yk_op_queue refused; /* their reply stands in them */
    uint32_t n_remote;
    uint64_t remote_bytes;
    uint64_t n_dropped;
    struct yk_value_cache *cache; /* NULL: none */
    char *texts[N_TEXTS];         /* of answers; own */
    uint32_t n_texts;
};

static void
look_at_clock(struct yk_forward *forward)
{
    const struct yk_world *world = forward->config.world;
    forward->now_us = (int64_t)world->boot_us(world->arg);
}

/* The heap */

static void
heap_put(struct yk_forward *forward, uint32_t index, struct yk_pending *pending)
{
    forward->heap[index] = pending;
    pending->heap_index = index;
}

static void
heap_sift(struct yk_forward *forward, uint32_t index, struct yk_pending *pending)
{
    for (; index > 0 && pending->due_us < forward->heap[(index - 1) / 2]->due_us;
         index = (index - 1) / 2) {
        heap_put(forward, index, forward->heap[(index - 1) / 2]);
    }
    for (uint32_t child = 2 * index + 1; child < forward->n_heap; child = 2 * index + 1) {
        if (child + 1 < forward->n_heap &&
            forward->heap[child + 1]->due_us < forward->heap[child]->due_us) {
            child++;
        }
        if (pending->due_us <= forward->heap[child]->due_us) {
            break;
        }
        heap_put(forward, index, forward->heap[child]);
        index = child;
    }
    heap_put(forward, index, pending);
}

static void
heap_add(struct yk_forward *forward, struct yk_pending *pending, int64_t due_us)
{
    YK_ASSERT(forward->n_heap < forward->heap_room);
    pending->due_us = due_us;
    forward->n_heap++;
    heap_sift(forward, forward->n_heap - 1, pending);
}

static void
heap_remove(struct yk_forward *forward, struct yk_pending *pending)
{
    uint32_t index = pending->heap_index;
    struct yk_pending *last = forward->heap[--forward->n_heap];
    if (last != pending) {
        heap_sift(forward, index, last);
    }
}

/* Links */

static struct link *
find_link(struct yk_forward *forward, uint32_t peer, uint32_t worker, bool makes)
{
    struct link **chain = &forward->links[(peer * 31 + worker) % N_LINK_CHAINS];
    for (struct link *link = *chain; link != NULL; link = link->next) {
        if (link->peer == peer && link->worker == worker) {
            return link;
        }
    }
    struct link *link =
        makes && forward->n_links < YK_FORWARD_LINKS_MAX ? calloc(1, sizeof(*link)) : NULL;
    if (link != NULL) {
        link->peer = peer;
        link->worker = worker;
        yk_pack_init(&link->ops, YK_FRAME_SIZE_MAX - YK_OPS_HEAD_MAX);
        yk_pack_init(&link->answers, YK_FRAME_SIZE_MAX - YK_OPS_HEAD_MAX);
        link->next = *chain;
        *chain = link;
        forward->n_links++;
    }
    return link;
}

static void
has_output(struct yk_forward *forward, struct link *link)
{
    if (!link->has_output) {
        link->has_output = true;
        link->next_output = forward->outputs;
        forward->outputs = link;
    }
}

/* What was gathered is on its way, or lost; its memory is kept if it is little. */
static void
empty(struct yk_pack *pack)
{
    if (pack->room > PACK_KEPT_MAX || pack->result != YK_OK) {
        yk_pack_done(pack);
        yk_pack_init(pack, YK_FRAME_SIZE_MAX - YK_OPS_HEAD_MAX);
    }
    pack->size = 0;
}

static void
send_frame(struct yk_forward *forward, const struct link *link, struct yk_buffer *frame)
{
    if (frame != NULL) { /* else it is as if it had been lost */
        forward->config.sink.send(forward->config.sink.arg, link->peer, link->worker, frame);
    }
}

static void
send_ops(struct yk_forward *forward, struct link *link)
{
    if (link->n_ops > 0) {
        const char *name = forward->config.buckets[link->bucket]->name;
        send_frame(forward, link, yk_ops_frame(&link->ops, link->n_ops, name));
        empty(&link->ops);
        link->n_ops = 0;
    }
}

static void
send_answers(struct yk_forward *forward, struct link *link)
{
    if (link->n_answers > 0) {
        send_frame(forward, link, yk_answers_frame(&link->answers, link->n_answers));
        empty(&link->answers);
        link->n_answers = 0;
    }
}

/* A frame of nothing: a link that is down comes up when there is something for it. */
static void
probe(struct yk_forward *forward, struct link *link, uint32_t bucket)
{
    if (!link->is_probed) {
        link->is_probed = true;
        struct yk_pack none;
        yk_pack_init(&none, 0);
        send_frame(forward, link, yk_ops_frame(&none, 0, forward->config.buckets[bucket]->name));
        yk_pack_done(&none);
    }
}

/* Pendings */

static bool
make_heap_room(struct yk_forward *forward)
{
    if (forward->n_pending < forward->heap_room) {
        return true;
    }
    uint32_t room = forward->heap_room == 0 ? 64 : forward->heap_room * 2;
    struct yk_pending **heap = realloc(forward->heap, room * sizeof(struct yk_pending *));
    if (heap == NULL) {
        return false;
    }
    forward->heap = heap;
    forward->heap_room = room;
    return true;
}

/* NULL: there are too many, or there is no memory. */
static struct yk_pending *
new_pending(struct yk_forward *forward, struct yk_op *op)
{
    struct yk_pending *pending = forward->free_pendings;
    if (forward->n_pending >= YK_FORWARD_WAITING_MAX || !make_heap_room(forward)) {
        return NULL;
    }
    if (pending != NULL) {
        forward->free_pendings = pending->next;
    } else {
        pending = malloc(sizeof(*pending));
    }
    if (pending != NULL) {
        *pending =
            (struct yk_pending){.op = op, .state = HERE, .deadline_us = forward->now_us + TRY_US};
        forward->n_pending++;
    }
    return pending;
}

static void
free_pending(struct yk_forward *forward, struct yk_pending *pending)
{
    forward->n_pending--;
    pending->next = forward->free_pendings;
    forward->free_pendings = pending;
}

static struct yk_pending *
find_id(struct yk_forward *forward, uint64_t id)
{
    struct yk_pending *pending = forward->ids[id % N_ID_CHAINS];
    while (pending != NULL && pending->id != id) {
        pending = pending->next;
    }
    return pending;
}

/* Nothing of it is under way any more, or nobody waits for that. */
static void
take_back(struct yk_forward *forward, struct yk_pending *pending)
{
    struct link *link = pending->link;
    if (pending->state != HERE) {
        heap_remove(forward, pending);
    }
    if (pending->state == SENT) {
        struct yk_pending **at = &forward->ids[pending->id % N_ID_CHAINS];
        while (*at != pending) {
            at = &(*at)->next;
        }
        *at = pending->next;
        *(pending->older != NULL ? &pending->older->newer : &link->oldest) = pending->newer;
        *(pending->newer != NULL ? &pending->newer->older : &link->newest) = pending->older;
        link->n_sent--;
        link->bytes -= pending->bytes;
        link->answer_bytes -= pending->answer_bytes;
        pending->link = NULL;
        yk_buffer_unref(pending->cached);
        pending->cached = NULL;
    }
    pending->state = HERE;
}

/* Ends */

static void
end_later(struct yk_forward *forward, struct yk_op *op, enum yk_err result, const char *text)
{
    op->reply = (struct yk_reply){.struct_size = sizeof(op->reply), .result = result, .text = text};
    yk_op_queue_push(&forward->refused, op);
}

static void
end_flush_part(struct yk_forward *forward, struct flush *flush, enum yk_err result,
               const char *text)
{
    if (result != YK_OK) {
        flush->result = result;
        flush->text = text;
    }
    if (--flush->n_left == 0) {
        end_later(forward, flush->op, flush->result, flush->text);
        free(flush);
    }
}

/* Takes the pending. */
static void
end(struct yk_forward *forward, struct yk_pending *pending, const struct yk_reply *reply)
{
    const struct yk_forward_sink *sink = &forward->config.sink;
    struct yk_op *op = pending->op;
    struct flush *flush = pending->flush;
    take_back(forward, pending);
    free_pending(forward, pending);
    if (flush != NULL) {
        end_flush_part(forward, flush, (enum yk_err)reply->result, reply->text);
        return;
    }
    op->pending = NULL;
    sink->ended(sink->arg, op, reply);
}

static void
fail(struct yk_forward *forward, struct yk_pending *pending, enum yk_err result, const char *text)
{
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result, .text = text};
    end(forward, pending, &reply);
}

/* Its time is over, and nothing is under way. */
static void
give_up(struct yk_forward *forward, struct yk_pending *pending)
{
    if (pending->op->is_again) {
        fail(forward, pending, YK_EUNKNOWN, unknown_text);
    } else {
        fail(forward, pending, yk_op_is_read(pending->op) ? YK_ETIMEDOUT : YK_EBUSY,
             no_primary_text);
    }
}

/* Tries */

/* As it was before a lane had it. */
static void
forget_try(struct yk_op *op)
{
    op->version = op->mark = 0;
    op->is_known = op->is_verdict = op->is_promoted = op->was_hit = false;
    op->last_access_ms = 0;
}

static void
wait(struct yk_forward *forward, struct yk_pending *pending)
{
    const struct yk_world *world = forward->config.world;
    uint32_t n = pending->n_waits < 8 ? pending->n_waits : 8;
    int64_t wait_us = WAIT_FIRST_US << n;
    wait_us = wait_us < WAIT_MAX_US ? wait_us : WAIT_MAX_US;
    wait_us -= (int64_t)(world->random(world->arg) % (uint64_t)(wait_us / 2));
    int64_t due_us = forward->now_us + wait_us;
    pending->n_waits++;
    pending->was_refused = true;
    pending->state = WAITS;
    heap_add(forward, pending, due_us < pending->deadline_us ? due_us : pending->deadline_us);
}

/* Where the slot is now. */
struct target {
    bool is_known, is_here;
    uint32_t peer, worker, epoch;
};

static const struct yk_view_bucket *
view_of(const struct yk_forward *forward, uint32_t bucket)
{
    const struct yk_view_bucket *view = forward->view != NULL && bucket < forward->view->n_buckets
                                            ? &forward->view->buckets[bucket]
                                            : NULL;
    uint32_t slots = 1u << forward->config.buckets[bucket]->ring.slot_bits;
    bool is_whole =
        view != NULL && view->bucket.slots != NULL && view->bucket.description.slots == slots;
    return is_whole ? view : NULL;
}

/* ★ Not the primary's business: at the first try a read of a bucket with reads = any goes to some
 * member, this node if it is one; the same for a key, so that time does not go back for a client.
 */
static uint32_t
reader_of(const struct yk_view_bucket *view, const struct yk_op *op)
{
    const struct yk_slot_record *slot = &view->bucket.slots[op->slot];
    bool was_refused = op->pending != NULL && op->pending->was_refused;
    if (view->bucket.description.reads != YK_READS_ANY || !yk_op_is_read(op) || was_refused) {
        return slot->primary;
    }
    for (uint32_t i = 0; i < slot->n_members; i++) {
        if (slot->members[i].node == view->self) {
            return view->self;
        }
    }
    return slot->members[(op->hash >> 24) % slot->n_members].node;
}

static struct target
look(const struct yk_forward *forward, const struct yk_op *op)
{
    const struct yk_view_bucket *view = view_of(forward, op->bucket_index);
    struct target target = {false, false, YK_PEER_NONE, 0, 0};
    const struct yk_slot_record *slot = view != NULL ? &view->bucket.slots[op->slot] : NULL;
    if (slot == NULL || slot->epoch == 0 || slot->primary >= view->bucket.n_nodes) {
        return target;
    }
    uint32_t node = reader_of(view, op);
    target.is_here = node == view->self;
    target.peer = view->peers[node];
    target.is_known = target.is_here || target.peer != YK_PEER_NONE;
    target.worker = yk_view_worker(&view->bucket.nodes[node], op->slot);
    target.epoch = slot->epoch;
    return target;
}

static uint64_t
size_of(const struct yk_op *op)
{
    return op->request.key.size + op->request.value.size;
}

static bool
is_full(const struct link *link, const struct yk_op *op)
{
    return link->n_sent >= YK_FORWARD_OPS_MAX ||
           (link->n_sent > 0 && link->bytes + size_of(op) > YK_FORWARD_BYTES_MAX);
}

/* It has to wait until others that were sent there have their values. */
static bool
is_awaited(const struct link *link, const struct yk_op *op)
{
    return link->is_down ||
           (link->n_sent > 0 && link->answer_bytes + op->kept_max > YK_FORWARD_ANSWERS_MAX);
}

static struct yk_value_cache_key
cache_key(const struct yk_op *op)
{
    return (struct yk_value_cache_key){op->bucket_index, op->hash, op->request.key};
}

/* Asks for the value only if it is not the one that is here. */
static void
offer_cached(struct yk_forward *forward, struct yk_pending *pending, struct yk_op_message *message)
{
    if (forward->cache == NULL || !yk_op_is_read(pending->op)) {
        return;
    }
    struct yk_value_cache_key key = cache_key(pending->op);
    pending->cached = yk_value_cache_find(forward->cache, &key, &pending->cached_version);
    message->may_cache = true;
    message->known_version = pending->cached != NULL ? pending->cached_version : 0;
}

static void
send_op(struct yk_forward *forward, struct yk_pending *pending, struct link *link, uint32_t slot,
        uint32_t epoch)
{
    const struct yk_op *op = pending->op;
    struct yk_op_message message = {.id = ++forward->last_id,
                                    .epoch = epoch,
                                    .slot = (uint16_t)slot,
                                    .kept_max = op->kept_max,
                                    .request = op->request,
                                    .token = op->token,
                                    .after = op->after,
                                    .is_again = op->is_again};
    if (pending->flush != NULL) {
        message.request.key = message.request.value = yk_slice_of(NULL, 0);
        message.request.delta = pending->digest;
    } else {
        offer_cached(forward, pending, &message);
    }
    if (link->n_ops > 0 && (link->bucket != op->bucket_index ||
                            link->ops.size + size_of(op) > YK_FORWARD_FRAME_SOFT)) {
        send_ops(forward, link);
    }
    link->bucket = op->bucket_index;
    yk_ops_write(&link->ops, &message);
    link->n_ops++;
    has_output(forward, link);
    pending->state = SENT;
    pending->id = message.id;
    pending->next = forward->ids[message.id % N_ID_CHAINS];
    forward->ids[message.id % N_ID_CHAINS] = pending;
    pending->link = link;
    pending->bytes = size_of(op);
    pending->answer_bytes = op->kept_max;
    pending->newer = NULL;
    pending->older = link->newest;
    *(link->newest != NULL ? &link->newest->newer : &link->oldest) = pending;
    link->newest = pending;
    link->n_sent++;
    link->bytes += pending->bytes;
    link->answer_bytes += pending->answer_bytes;
    int64_t again_us = forward->now_us + READ_US;
    bool is_again = yk_op_is_read(op) && again_us < pending->deadline_us;
    pending->answer_us = is_again ? again_us : pending->deadline_us;
    heap_add(forward, pending, pending->answer_us);
}

/* To where the slot is by the view of now, or it waits. */
static void
try_now(struct yk_forward *forward, struct yk_pending *pending)
{
    struct yk_op *op = pending->op;
    struct target target = look(forward, op);
    struct link *link = target.is_known && !target.is_here
                            ? find_link(forward, target.peer, target.worker, true)
                            : NULL;
    if (target.is_here) {
        forward->config.sink.execute(forward->config.sink.arg, op);
    } else if (link == NULL || is_full(link, op) || is_awaited(link, op)) {
        if (link != NULL && link->is_down) {
            probe(forward, link, op->bucket_index);
        }
        wait(forward, pending);
    } else {
        send_op(forward, pending, link, op->slot, target.epoch);
    }
}

/* Tokens */

static uint64_t *
seen_of(struct yk_forward *forward, const struct yk_op *op)
{
    uint64_t **seen = &forward->seen[op->bucket_index];
    if (*seen == NULL) {
        uint32_t bits = forward->config.buckets[op->bucket_index]->ring.slot_bits;
        *seen = calloc((size_t)1 << bits, sizeof(**seen));
    }
    return *seen != NULL ? *seen + op->slot : NULL;
}

static void
note_version(struct yk_forward *forward, const struct yk_op *op, uint64_t version)
{
    uint64_t *seen = seen_of(forward, op);
    if (seen != NULL && *seen < version) {
        *seen = version;
    }
}

static void
give_token(struct yk_forward *forward, struct yk_op *op)
{
    const uint64_t *seen = seen_of(forward, op);
    forward->last_token += forward->last_token == UINT64_MAX ? 2 : 1; /* 0 is none */
    op->token = forward->last_token;
    op->after = seen != NULL ? *seen : 0;
}

/* What is answered by what is stored. Any other answer to a write that is sent again says nothing
 * of the try before. */
static bool
is_verdict(enum yk_err result)
{
    return result == YK_OK || result == YK_ENOTFOUND || result == YK_EEXISTS ||
           result == YK_ENOTSTORED || result == YK_ENOTNUMBER;
}

/* Is it to be sent (again) instead of being answered so? */
static bool
goes_on(struct yk_op *op, const struct yk_reply *reply)
{
    bool is_forgotten = (reply->flags & YK_REPLY_FORGOTTEN) != 0;
    bool is_unknown = reply->result == YK_EUNKNOWN && op->token != 0;
    op->is_again = op->is_again || is_unknown;
    return reply->result == YK_ESTALE ||
           (op->is_again && !is_forgotten && !is_verdict((enum yk_err)reply->result));
}

bool
yk_forward_submit(struct yk_forward *forward, struct yk_op *op)
{
    struct target target = look(forward, op);
    if (yk_op_has_token(op)) {
        give_token(forward, op);
    }
    if (target.is_here) {
        return false;
    }
    look_at_clock(forward);
    if (size_of(op) > ITEM_SIZE_MAX) {
        end_later(forward, op, YK_ETOOLARGE, too_large_text);
        return true;
    }
    const struct link *link =
        target.is_known ? find_link(forward, target.peer, target.worker, false) : NULL;
    struct yk_pending *pending =
        link == NULL || !is_full(link, op) ? new_pending(forward, op) : NULL;
    if (pending == NULL) {
        end_later(forward, op, YK_EBUSY, too_many_text);
        return true;
    }
    op->pending = pending;
    try_now(forward, pending);
    return true;
}

bool
yk_forward_ended(struct yk_forward *forward, struct yk_op *op, const struct yk_reply *reply)
{
    struct yk_pending *pending = op->pending;
    if (!goes_on(op, reply)) {
        if (op->token != 0 && reply->result == YK_OK) {
            note_version(forward, op, op->version);
        }
        if (pending != NULL) {
            op->pending = NULL;
            free_pending(forward, pending);
        }
        return false;
    }
    look_at_clock(forward);
    if (reply->result == YK_EUNKNOWN && op->version > op->after) {
        op->after = op->version - 1; /* of the very entry that nobody knows about */
    }
    forget_try(op);
    bool is_late = op->is_again && op->since_us + TRY_US <= forward->now_us;
    if (pending == NULL && !is_late) {
        pending = new_pending(forward, op);
        op->pending = pending;
    }
    if (pending == NULL) {
        end_later(forward, op, op->is_again ? YK_EUNKNOWN : YK_EBUSY,
                  is_late ? unknown_text : too_many_text);
    } else {
        wait(forward, pending); /* give_up, if its time is over */
    }
    return true;
}

/* Flushes */

/* Of which of those slots that the lane holds the node is the primary; 0: of none. */
static uint64_t
digest_of(const struct yk_view_bucket *view, uint32_t node, uint32_t lane, uint32_t n_lanes)
{
    uint64_t digest = 0;
    for (uint32_t i = lane; i < view->bucket.description.slots; i += n_lanes) {
        const struct yk_slot_record *slot = &view->bucket.slots[i];
        if (slot->epoch > 0 && slot->primary == node) {
            digest = yk_slots_digest_add(digest, i);
        }
    }
    return digest;
}

void
yk_forward_flush_here(const struct yk_forward *forward, struct yk_op *op)
{
    const struct yk_view_bucket *view = view_of(forward, op->bucket_index);
    uint32_t n_lanes = forward->config.buckets[op->bucket_index]->ring.n_lanes;
    op->request.delta = view != NULL ? digest_of(view, view->self, op->lane, n_lanes) : 0;
}

static void
flush_lane(struct yk_forward *forward, struct flush *flush, const struct yk_view_bucket *view,
           uint32_t node, uint32_t lane)
{
    const struct yk_register_node *of = &view->bucket.nodes[node];
    uint64_t digest = digest_of(view, node, lane, of->n_lanes);
    if (digest == 0) {
        return;
    }
    struct link *link = view->peers[node] != YK_PEER_NONE
                            ? find_link(forward, view->peers[node], yk_view_worker(of, lane), true)
                            : NULL;
    struct yk_pending *pending = link != NULL && !link->is_down && !is_full(link, flush->op)
                                     ? new_pending(forward, flush->op)
                                     : NULL;
    if (pending == NULL) {
        flush->result = YK_EBUSY;
        flush->text = no_primary_text;
        return;
    }
    pending->flush = flush;
    pending->digest = digest;
    flush->n_left++;
    send_op(forward, pending, link, lane, 0);
}

void
yk_forward_flush(struct yk_forward *forward, struct yk_op *op)
{
    const struct yk_view_bucket *view = view_of(forward, op->bucket_index);
    struct flush *flush = view != NULL ? calloc(1, sizeof(*flush)) : NULL;
    look_at_clock(forward);
    if (flush == NULL) {
        end_later(forward, op, YK_EBUSY, no_primary_text);
        return;
    }
    *flush = (struct flush){.op = op, .n_left = 1, .result = YK_OK};
    op->kept_max = 0;
    for (uint32_t i = 0; i < view->bucket.n_nodes; i++) {
        for (uint32_t k = 0; i != view->self && k < view->bucket.nodes[i].n_lanes; k++) {
            flush_lane(forward, flush, view, i, k);
        }
    }
    for (uint32_t i = 0; i < view->bucket.description.slots; i++) {
        if (view->bucket.slots[i].epoch == 0) {
            flush->result = YK_EBUSY;
        }
    }
    end_flush_part(forward, flush, YK_OK, NULL);
}

/* Answers */

/* A reply's text lives as long as its request; there are few different ones. */
static const char *
keep_text(struct yk_forward *forward, struct yk_slice text)
{
    if (text.size == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < forward->n_texts; i++) {
        if (yk_slice_equal(text, yk_slice_of_text(forward->texts[i]))) {
            return forward->texts[i];
        }
    }
    char *copy = forward->n_texts < N_TEXTS ? strndup(text.data, text.size) : NULL;
    if (copy != NULL) {
        forward->texts[forward->n_texts++] = copy;
    }
    return copy;
}

/* The value that was left out, or what is to be known for the next time. False: it is no answer. */
static bool
settle_value(struct yk_forward *forward, const struct yk_pending *pending, struct yk_reply *reply)
{
    uint32_t flags = reply->flags;
    reply->flags &= ~(YK_REPLY_IS_VERSION | YK_REPLY_UNCHANGED);
    if (forward->cache == NULL || pending->flush != NULL || !yk_op_is_read(pending->op)) {
        return (flags & YK_REPLY_UNCHANGED) == 0;
    }
    struct yk_value_cache_key key = cache_key(pending->op);
    bool is_hit = (flags & YK_REPLY_UNCHANGED) != 0;
    if (is_hit || reply->result == YK_OK || reply->result == YK_ENOTFOUND) {
        yk_value_cache_count(forward->cache, is_hit);
    }
    if (is_hit && (pending->cached == NULL || pending->cached_version != reply->version)) {
        return false;
    }
    if (is_hit) {
        reply->value = yk_slice_of(pending->cached->data, pending->cached->size);
        reply->value_buffer = pending->cached;
    } else if (reply->result == YK_OK && (flags & YK_REPLY_IS_VERSION) != 0) {
        yk_value_cache_put(forward->cache, &key, reply->version, reply->value);
    } else if (reply->result == YK_OK || reply->result == YK_ENOTFOUND) {
        yk_value_cache_drop(forward->cache, &key);
    }
    return true;
}

static void
hear_answer(struct yk_forward *forward, const struct link *link, struct yk_answer_message *message)
{
    struct yk_pending *pending = find_id(forward, message->id);
    struct yk_reply *reply = &message->reply;
    if (pending == NULL || pending->link != link) {
        return; /* it comes late */
    }
    bool is_read = yk_op_is_read(pending->op);
    struct yk_buffer *cached = pending->cached;
    if (cached != NULL) {
        yk_buffer_ref(cached); /* the answer's, while it is given */
    }
    reply->text = keep_text(forward, message->text);
    if (!settle_value(forward, pending, reply)) {
        reply->result = YK_ESTALE;
    }
    if (pending->flush == NULL && message->version != 0) {
        note_version(forward, pending->op, message->version);
    }
    if (pending->flush == NULL && goes_on(pending->op, reply)) {
        take_back(forward, pending);
        wait(forward, pending);
    } else if (is_read && reply->value.size > pending->op->kept_max) {
        *reply = (struct yk_reply){
            .struct_size = sizeof(*reply), .result = YK_EBUSY, .number = message->reply.value.size};
        end(forward, pending, reply);
    } else {
        end(forward, pending, reply);
    }
    yk_buffer_unref(cached);
}

void
yk_forward_hear_answers(struct yk_forward *forward, uint32_t peer, uint32_t worker,
                        struct yk_unpack *unpack)
{
    const struct link *link = find_link(forward, peer, worker, false);
    uint32_t n = link != NULL ? yk_answers_begin(unpack) : 0;
    look_at_clock(forward);
    for (uint32_t i = 0; i < n; i++) {
        struct yk_answer_message message;
        if (!yk_answers_next(unpack, &message)) {
            break;
        }
        hear_answer(forward, link, &message);
    }
    forward->n_dropped += link == NULL || unpack->wrong != NULL;
}

/* May it be sent again though nobody knows what became of it? */
static bool
may_repeat(const struct yk_op *op)
{
    return yk_op_is_read(op) || op->token != 0;
}

/* Its answer is not waited for any more. */
static void
recall(struct yk_forward *forward, struct yk_pending *pending)
{
    pending->op->is_again = pending->op->token != 0;
    take_back(forward, pending);
}

/* What was sent there is lost, or its answer is. */
static void
lose(struct yk_forward *forward, struct link *link)
{
    struct yk_pending *pending;
    while ((pending = link->oldest) != NULL) {
        if (may_repeat(pending->op)) {
            recall(forward, pending);
            wait(forward, pending);
        } else {
            fail(forward, pending, YK_EUNKNOWN, unknown_text);
        }
    }
}

/* Things are not as they were when those that wait were tried last. */
static void
wake(struct yk_forward *forward)
{
    uint32_t n = forward->n_heap;
    forward->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct yk_pending *pending = forward->heap[i];
        int64_t due_us = pending->due_us;
        if (pending->state == WAITS) {
            pending->n_waits = 0;
            due_us = forward->now_us;
        } else if (due_us > forward->now_us + LEAVE_US) {
            due_us = forward->now_us + LEAVE_US; /* to be looked at: see has_moved */
        }
        heap_add(forward, pending, due_us);
    }
}

void
yk_forward_peer(struct yk_forward *forward, uint32_t peer, uint32_t worker, bool is_up)
{
    struct link *link = find_link(forward, peer, worker, false);
    if (link == NULL) {
        return;
    }
    look_at_clock(forward);
    link->is_down = !is_up;
    link->is_probed = false;
    if (!is_up) {
        lose(forward, link);
    } else {
        wake(forward);
    }
}

/* The primary's worker */

static void
answer(struct yk_forward *forward, uint32_t peer, uint32_t worker, uint64_t id,
       const struct yk_reply *reply, uint64_t version)
{
    struct link *link = find_link(forward, peer, worker, true);
    if (link == NULL) {
        forward->n_dropped++;
        return;
    }
    if (link->answers.size + reply->value.size > YK_FORWARD_FRAME_SOFT) {
        send_answers(forward, link);
    }
    yk_answers_write(&link->answers, id, reply, version);
    link->n_answers++;
    has_output(forward, link);
}

void
yk_forward_answer(struct yk_forward *forward, struct yk_op *op, const struct yk_reply *reply)
{
    struct remote *remote = (struct remote *)op;
    uint64_t size = reply->value.size;
    struct yk_reply instead = {.struct_size = sizeof(instead)};
    if (yk_op_is_read(op) && size > op->kept_max) {
        instead.result = YK_EBUSY;
        instead.number = size;
        reply = &instead;
    } else if (size > ITEM_SIZE_MAX) {
        instead.result = yk_op_is_read(op) ? YK_ETOOLARGE : YK_EUNKNOWN;
        instead.text = too_large_text;
        reply = &instead;
    } else if ((reply->flags & YK_REPLY_IS_VERSION) != 0 && op->known_version == reply->version) {
        instead = *reply;
        instead.flags |= YK_REPLY_UNCHANGED;
        instead.value = yk_slice_of(NULL, 0);
        reply = &instead;
    }
    bool is_done = op->token != 0 && reply->result == YK_OK;
    answer(forward, remote->peer, remote->worker, remote->id, reply, is_done ? op->version : 0);
    forward->n_remote--;
    forward->remote_bytes -= remote->bytes;
    free(remote);
}

/* Is this node the one to ask, by its own view? Whether it may answer is for its lane to say. */
static bool
may_be_asked(const struct yk_view_bucket *view, const struct yk_op_message *message)
{
    return view->bucket.slots[message->slot].primary == view->self ||
           (view->bucket.description.reads == YK_READS_ANY && message->request.op == YK_OP_GET);
}

/* Whether, and by which lane, it is executed here. */
static enum yk_err
judge(const struct yk_forward *forward, uint32_t bucket, const struct yk_op_message *message,
      uint64_t hash)
{
    const struct yk_forward_sink *sink = &forward->config.sink;
    const struct yk_bucket *own =
        bucket < forward->config.n_buckets ? forward->config.buckets[bucket] : NULL;
    const struct yk_view_bucket *view =
        own != NULL && own->is_clustered ? view_of(forward, bucket) : NULL;
    uint32_t slots = own != NULL ? 1u << own->ring.slot_bits : 0;
    if (view == NULL || view->self == YK_NODE_NONE || message->slot >= slots ||
        !sink->owns(sink->arg, bucket, yk_ring_lane(&own->ring, message->slot))) {
        return YK_ESTALE;
    }
    if (message->request.op == YK_OP_FLUSH) {
        return YK_OK; /* the lane knows of which slots it is primary */
    }
    if (yk_ring_slot(&own->ring, hash) != message->slot || !may_be_asked(view, message) ||
        view->bucket.slots[message->slot].epoch < message->epoch) {
        return YK_ESTALE;
    }
    if (message->request.key.size > own->key_size_max) {
        return YK_EINVALID;
    }
    return message->request.value.size <= own->value_size_max ? YK_OK : YK_ETOOLARGE;
}

static struct remote *
make_remote(const struct yk_forward *forward, uint32_t bucket, const struct yk_op_message *message,
            uint64_t hash)
{
    const struct yk_bucket *own = forward->config.buckets[bucket];
    const struct yk_request *request = &message->request;
    uint64_t bytes = request->key.size + request->value.size;
    struct remote *remote = malloc(sizeof(*remote) + YK_PIN_ROOM + bytes);
    if (remote == NULL) {
        return NULL;
    }
    uint8_t *key = remote->pinned + YK_PIN_ROOM;
    *remote = (struct remote){.id = message->id, .bytes = bytes};
    struct yk_op *op = &remote->op;
    op->request = *request;
    op->request.bucket = own;
    if (request->key.size > 0) {
        memcpy(key, request->key.data, request->key.size);
    }
    if (request->value.size > 0) {
        memcpy(key + request->key.size, request->value.data, request->value.size);
    }
    op->request.key = yk_slice_of(key, request->key.size);
    op->request.value = yk_slice_of(key + request->key.size, request->value.size);
    op->pinned = remote->pinned;
    op->hash = hash;
    op->slot = message->slot;
    op->lane = (uint16_t)yk_ring_lane(&own->ring, message->slot);
    op->bucket_index = (uint16_t)bucket;
    op->origin = YK_ORIGIN_REMOTE;
    op->is_cached_there = message->may_cache;
    op->known_version = message->known_version;
    op->token = message->token;
    op->after = message->after;
    op->is_again = message->is_again;
    op->sent_epoch = message->epoch;
    op->executor = (uint16_t)forward->config.worker;
    op->is_kept = true;
    op->kept_max =
        message->kept_max < own->value_size_max ? message->kept_max : own->value_size_max;
    return remote;
}

static void
hear_op(struct yk_forward *forward, uint32_t peer, uint32_t worker, uint32_t bucket,
        const struct yk_op_message *message)
{
    const struct yk_forward_sink *sink = &forward->config.sink;
    uint64_t hash = yk_hash(message->request.key);
    uint64_t bytes = message->request.key.size + message->request.value.size;
    enum yk_err result = judge(forward, bucket, message, hash);
    struct remote *remote = NULL;
    if (result == YK_OK &&
        (forward->n_remote >= YK_REMOTE_OPS_MAX ||
         (forward->n_remote > 0 && forward->remote_bytes + bytes > YK_REMOTE_BYTES_MAX))) {
        result = YK_EBUSY;
    } else if (result == YK_OK) {
        remote = make_remote(forward, bucket, message, hash);
        result = remote != NULL ? YK_OK : YK_ENOMEM;
    }
    if (remote == NULL) {
        struct yk_reply reply = {.struct_size = sizeof(reply), .result = result};
        answer(forward, peer, worker, message->id, &reply, 0);
        return;
    }
    remote->peer = peer;
    remote->worker = worker;
    forward->n_remote++;
    forward->remote_bytes += bytes;
    sink->execute(sink->arg, &remote->op);
}

void
yk_forward_hear_ops(struct yk_forward *forward, uint32_t peer, uint32_t worker,
                    struct yk_unpack *unpack)
{
    struct yk_slice name;
    uint32_t n = yk_ops_begin(unpack, &name);
    uint32_t bucket = 0;
    while (bucket < forward->config.n_buckets &&
           !yk_slice_equal(name, yk_slice_of_text(forward->config.buckets[bucket]->name))) {
        bucket++;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct yk_op_message message;
        if (!yk_ops_next(unpack, &message)) {
            break;
        }
        hear_op(forward, peer, worker, bucket, &message);
    }
    forward->n_dropped += unpack->wrong != NULL;
}

/* Time */

/* Does somebody else lead its slot by now, whom it may be sent to as well? */
static bool
has_moved(const struct yk_forward *forward, const struct yk_pending *pending)
{
    const struct yk_op *op = pending->op;
    if (pending->state != SENT || !may_repeat(op)) {
        return false;
    }
    struct target target = look(forward, op);
    return target.is_here || (target.is_known && (target.peer != pending->link->peer ||
                                                  target.worker != pending->link->worker));
}

static void
on_due(struct yk_forward *forward, struct yk_pending *pending)
{
    bool is_over = forward->now_us >= pending->deadline_us;
    bool is_read = yk_op_is_read(pending->op);
    bool has_left = !is_over && has_moved(forward, pending);
    if (pending->state == SENT && !has_left && forward->now_us < pending->answer_us) {
        heap_remove(forward, pending);
        heap_add(forward, pending, pending->answer_us);
    } else if (has_left) {
        recall(forward, pending);
        try_now(forward, pending);
    } else if (pending->state == SENT && !is_read) {
        fail(forward, pending, YK_EUNKNOWN, unknown_text);
    } else if (is_over && pending->state == SENT) {
        fail(forward, pending, YK_ETIMEDOUT, NULL);
    } else if (is_over) {
        give_up(forward, pending);
    } else {
        take_back(forward, pending);
        try_now(forward, pending);
    }
}

void
yk_forward_tick(struct yk_forward *forward)
{
    if (forward->n_heap == 0) {
        return;
    }
    look_at_clock(forward);
    while (forward->n_heap > 0 && forward->heap[0]->due_us <= forward->now_us) {
        on_due(forward, forward->heap[0]);
    }
}

void
yk_forward_speak(struct yk_forward *forward)
{
    const struct yk_forward_sink *sink = &forward->config.sink;
    struct yk_op *op;
    while ((op = yk_op_queue_pop(&forward->refused)) != NULL) {
        struct yk_reply reply = op->reply;
        sink->ended(sink->arg, op, &reply);
    }
    while (forward->outputs != NULL) {
        struct link *link = forward->outputs;
        forward->outputs = link->next_output;
        link->has_output = false;
        send_ops(forward, link);
        send_answers(forward, link);
    }
}

bool
yk_forward_wants_turn(const struct yk_forward *forward)
{
    return forward->outputs != NULL || forward->refused.first != NULL;
}

int64_t
yk_forward_due_us(const struct yk_forward *forward)
{
    if (forward->n_heap == 0) {
        return -1;
    }
    int64_t in_us = forward->heap[0]->due_us - forward->now_us;
    return in_us > 0 ? in_us : 0;
}

bool
yk_forward_is_idle(const struct yk_forward *forward)
{
    return forward->n_pending == 0 && forward->n_remote == 0 && forward->refused.first == NULL &&
           forward->outputs == NULL;
}

uint64_t
yk_forward_dropped(const struct yk_forward *forward)
{
    return forward->n_dropped;
}

const struct yk_value_cache *
yk_forward_cache(const struct yk_forward *forward)
{
    return forward->cache;
}

void
yk_forward_view(struct yk_forward *forward, const struct yk_view *view)
{
    forward->view = view;
    look_at_clock(forward);
    wake(forward);
}

/* Life */

enum yk_err
yk_forward_new(const struct yk_forward_config *config, struct yk_forward **ret_forward)
{
    const struct yk_world *world = config->world;
    struct yk_forward *forward = calloc(1, sizeof(*forward));
    if (forward == NULL) {
        return YK_ENOMEM;
    }
    forward->config = *config;
    forward->cache = config->cache_bytes > 0 ? yk_value_cache_new(config->cache_bytes) : NULL;
    forward->seen = calloc(config->n_buckets + 1, sizeof(*forward->seen));
    if (forward->seen == NULL || (config->cache_bytes > 0 && forward->cache == NULL)) {
        yk_value_cache_free(forward->cache);
        free(forward->seen);
        free(forward);
        return YK_ENOMEM;
    }
    forward->last_id = world->random(world->arg) & ~(uint64_t)UINT32_MAX;
    forward->last_token = world->random(world->arg);
    *ret_forward = forward;
    return YK_OK;
}

void
yk_forward_free(struct yk_forward *forward)
{
    if (forward == NULL) {
        return;
    }
    for (uint32_t i = 0; i < N_LINK_CHAINS; i++) {
        while (forward->links[i] != NULL) {
            struct link *link = forward->links[i];
            forward->links[i] = link->next;
            YK_ASSERT(link->n_sent == 0);
            yk_pack_done(&link->ops);
            yk_pack_done(&link->answers);
            free(link);
        }
    }
    while (forward->free_pendings != NULL) {
        struct yk_pending *pending = forward->free_pendings;
        forward->free_pendings = pending->next;
        free(pending);
    }
    for (uint32_t i = 0; i < forward->n_texts; i++) {
        free(forward->texts[i]);
    }
    for (uint32_t i = 0; i < forward->config.n_buckets; i++) {
        free(forward->seen[i]);
    }
    free(forward->seen);
    yk_value_cache_free(forward->cache);
    free(forward->heap);
    free(forward);
}
