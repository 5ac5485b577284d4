/* The worker machine: routes ops between router, lanes and mail, and runs the turn. */
#include <config.h>

#include "core/node/worker.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/node/forward.h"
#include "core/node/peering.h"
#include "core/wire/unpack.h"

enum {
    SWEEP_INTERVAL_MS = 50,
    FRONTENDS_MAX = 64,
    NEAR_OPS = 16,    /* whose memory is brought near before the first of them is executed */
    BUNDLES_KEPT = 8, /* for the next turns */
    TICK_US = 25000,  /* of replicas */
    TICK_MS = 25
};

/* The lanes of one bucket that this worker owns: index lane / n_workers. */
struct bucket_lanes {
    struct yk_lane **lanes;
    uint32_t n_lanes;
};

/* What goes to the log from lanes of one durability. */
struct writer {
    struct yk_bundle *open; /* of this turn, or NULL */
    uint64_t number;        /* of the bundle that was opened last */
    uint32_t n_out;         /* bundles on their way */
    uint64_t journaled_to;  /* position of a bundle before which none of these is on its way */
};

struct yk_worker {
    struct yk_worker_config config;
    struct yk_router *router;
    uint64_t now_ms;
    struct yk_frontend *frontends[FRONTENDS_MAX];
    uint32_t n_frontends;
    struct bucket_lanes *buckets;
    struct yk_lane **dirty; /* lanes with ops to run in this turn */
    uint32_t n_dirty, n_lanes;
    struct yk_op_queue direct;    /* ops on a key, of lanes that are direct */
    struct yk_op_queue whole;     /* ops that ask the whole worker */
    struct yk_op_queue *outgoing; /* one for each worker */
    struct yk_op_queue incoming;  /* mail of this turn */
    struct yk_op_queue missing;   /* ops for lanes that this node has not */
    uint64_t swept_ms;
    bool is_draining;
    struct writer writers[2]; /* os, disk */
    struct yk_bundle *free_bundles;
    uint32_t n_free_bundles, n_bundles_out;
    uint64_t n_frames_dropped;
    struct yk_peering membership;
    struct yk_forward *forward;        /* NULL: no bucket is clustered */
    const char *names[YK_BUCKETS_MAX]; /* of the buckets */
    struct yk_effect *effects;
    uint32_t n_effects, effects_room;
    struct yk_effect *taken; /* what the caller reads while new ones come */
    uint32_t taken_room;
};

static void
add_effect(struct yk_worker *worker, struct yk_effect effect)
{
    if (worker->n_effects == worker->effects_room) {
        uint32_t room = worker->effects_room == 0 ? 64 : worker->effects_room * 2;
        struct yk_effect *effects = realloc(worker->effects, room * sizeof(*effects));
        YK_ASSERT(effects != NULL); /* an effect cannot be lost; bounded by sessions and lanes */
        worker->effects = effects;
        worker->effects_room = room;
    }
    worker->effects[worker->n_effects++] = effect;
}

static struct yk_lane **
lane_at(struct yk_worker *worker, uint32_t bucket_index, uint32_t lane)
{
    return &worker->buckets[bucket_index].lanes[yk_ring_quotient(lane, worker->config.n_workers)];
}

static void
mark_dirty(struct yk_worker *worker, struct yk_lane *lane)
{
    for (uint32_t i = worker->n_dirty; i-- > 0;) {
        if (worker->dirty[i] == lane) {
            return;
        }
    }
    worker->dirty[worker->n_dirty++] = lane;
}

/* Sinks */

/* Executes it on this node. */
static void
execute_here(void *arg, struct yk_op *op)
{
    struct yk_worker *worker = arg;
    if (op->executor != worker->config.worker) {
        yk_op_queue_push(&worker->outgoing[op->executor], op);
    } else if (op->lane == YK_OP_WHOLE_WORKER) {
        yk_op_queue_push(&worker->whole, op);
    } else if (worker->config.buckets[op->bucket_index]->is_direct && yk_op_has_key(op)) {
        yk_op_queue_push(&worker->direct, op);
    } else {
        struct yk_lane *lane = *lane_at(worker, op->bucket_index, op->lane);
        if (lane == NULL) {
            yk_op_queue_push(&worker->missing, op);
            return;
        }
        yk_lane_submit(lane, op);
        mark_dirty(worker, lane);
    }
}

static bool
is_of_cluster(const struct yk_worker *worker, const struct yk_op *op)
{
    return worker->config.buckets[op->bucket_index]->is_clustered && yk_op_has_key(op);
}

static void
router_execute(void *arg, struct yk_op *op)
{
    struct yk_worker *worker = arg;
    if (op->lane == YK_OP_OTHER_NODES) {
        yk_forward_flush(worker->forward, op);
    } else if (op->request.op == YK_OP_FLUSH &&
               worker->config.buckets[op->bucket_index]->is_clustered) {
        yk_forward_flush_here(worker->forward, op);
        execute_here(worker, op);
    } else if (!is_of_cluster(worker, op) || !yk_forward_submit(worker->forward, op)) {
        execute_here(worker, op);
    }
}

static void
router_touched(void *arg, struct yk_session *session)
{
    add_effect(arg, (struct yk_effect){.kind = YK_EFFECT_SESSION, .session = session});
}

static void
router_shut_down(void *arg)
{
    add_effect(arg, (struct yk_effect){.kind = YK_EFFECT_SHUT_DOWN});
}

static void
router_facts(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg)
{
    struct yk_worker *worker = arg;
    worker->config.facts(worker->config.facts_arg, topic, fn, fn_arg);
}

static struct yk_buffer *
copy_value(struct yk_op *op, struct yk_slice value)
{
    if (op->room == NULL || value.size > op->room->size) {
        return yk_buffer_new_copy(value);
    }
    memcpy(op->room->data, value.data, value.size);
    yk_buffer_ref(op->room);
    return op->room;
}

/* Puts the answer into an op that goes back to another worker. */
static void
keep_reply(struct yk_op *op, const struct yk_reply *reply)
{
    op->reply = *reply;
    if (yk_op_is_read(op) && reply->value.size > op->kept_max) {
        op->reply = (struct yk_reply){
            .struct_size = sizeof(op->reply), .result = YK_EBUSY, .number = reply->value.size};
        return;
    }
    if (reply->value.size == 0) {
        op->reply.value_buffer = NULL;
        return;
    }
    if (reply->value_buffer != NULL) {
        yk_buffer_ref(reply->value_buffer);
        return;
    }
    struct yk_buffer *buffer = copy_value(op, reply->value);
    if (buffer == NULL) {
        op->reply = (struct yk_reply){.struct_size = sizeof(op->reply), .result = YK_ENOMEM};
        return;
    }
    op->reply.value_buffer = buffer;
    op->reply.value = yk_slice_of(buffer->data, reply->value.size);
}

static bool
lane_done(void *arg, struct yk_op *op, const struct yk_reply *reply)
{
    struct yk_worker *worker = arg;
    if (op->origin == worker->config.worker) {
        return (is_of_cluster(worker, op) && yk_forward_ended(worker->forward, op, reply)) ||
               yk_router_ended(worker->router, op, reply);
    }
    if (op->origin == YK_ORIGIN_REMOTE) {
        yk_forward_answer(worker->forward, op, reply);
        return true;
    }
    keep_reply(op, reply);
    yk_op_queue_push(&worker->outgoing[op->origin], op);
    return true;
}

static void
lane_start(void *arg, struct yk_job *job)
{
    add_effect(arg, (struct yk_effect){.kind = YK_EFFECT_JOB, .job = job});
}

/* The journal */

static struct writer *
writer_of(struct yk_worker *worker, const struct yk_lane *lane)
{
    return &worker->writers[yk_lane_durability(lane) == YK_DURABILITY_DISK ? 1 : 0];
}

/* Tells from where on the log is needed; what is on its way there stands behind journaled_to. */
static void
publish_need(struct yk_worker *worker, uint64_t from)
{
    for (uint32_t i = 0; i < 2; i++) { /* what is to be synced comes back after what is not */
        const struct writer *writer = &worker->writers[i];
        from = writer->n_out > 0 && writer->journaled_to < from ? writer->journaled_to : from;
    }
    __atomic_store_n(worker->config.needed_from, from, __ATOMIC_RELEASE);
}

static void
send_bundle(struct yk_worker *worker, struct writer *writer)
{
    worker->n_bundles_out++;
    writer->n_out++;
    publish_need(worker, __atomic_load_n(worker->config.needed_from, __ATOMIC_RELAXED));
    add_effect(worker, (struct yk_effect){.kind = YK_EFFECT_JOURNAL, .bundle = writer->open});
    writer->open = NULL;
}

static enum yk_err
open_bundle(struct yk_worker *worker, struct writer *writer)
{
    struct yk_bundle *bundle = worker->free_bundles;
    if (!yk_journal_take(worker->config.room, YK_BUNDLE_EXTRA)) {
        return YK_ENOSPACE;
    }
    if (bundle != NULL) {
        worker->free_bundles = bundle->next;
        worker->n_free_bundles--;
    } else {
        bundle = yk_bundle_new();
    }
    if (bundle == NULL) {
        yk_journal_give(worker->config.room, YK_BUNDLE_EXTRA);
        return YK_ENOMEM;
    }
    bundle->next = NULL;
    bundle->number = ++writer->number;
    bundle->worker = worker->config.worker;
    bundle->syncs = writer == &worker->writers[1];
    bundle->reserved = YK_BUNDLE_EXTRA;
    writer->open = bundle;
    return YK_OK;
}

static enum yk_err
lane_reserve(void *arg, struct yk_lane *lane, uint64_t size, const char **ret_text)
{
    struct yk_worker *worker = arg;
    struct writer *writer = writer_of(worker, lane);
    enum yk_err result = YK_OK;
    if (writer->open != NULL && writer->open->n_entries > 0 &&
        writer->open->size + size > worker->config.room->bundle_size) {
        send_bundle(worker, writer);
    }
    if (writer->open == NULL) {
        result = open_bundle(worker, writer);
    }
    if (result == YK_OK && !yk_bundle_extend(writer->open, size)) {
        result = YK_ENOMEM;
    }
    if (result == YK_OK && !yk_journal_take(worker->config.room, size)) {
        result = YK_ENOSPACE;
    }
    if (result == YK_OK) {
        writer->open->reserved += size;
    } else if (result == YK_ENOSPACE) {
        *ret_text = "no space left for the journal; see the log";
    }
    return result;
}

static void
lane_unreserve(void *arg, struct yk_lane *lane, uint64_t size)
{
    struct yk_worker *worker = arg;
    writer_of(worker, lane)->open->reserved -= size;
    yk_journal_give(worker->config.room, (int64_t)size);
}

static uint64_t
lane_append(void *arg, struct yk_lane *lane, const struct yk_entry *entry)
{
    struct writer *writer = writer_of(arg, lane);
    yk_bundle_add(writer->open, entry);
    return writer->open->number;
}

static void
lane_keep(void *arg, struct yk_lane *lane, struct yk_bundle *bundle, uint32_t flags)
{
    add_effect(arg, (struct yk_effect){.kind = YK_EFFECT_KEEP, .keep = {lane, bundle, flags}});
}

static void
recycle_bundle(struct yk_worker *worker, struct yk_bundle *bundle)
{
    if (worker->n_free_bundles == BUNDLES_KEPT) {
        yk_bundle_free(bundle);
        return;
    }
    yk_bundle_reset(bundle);
    bundle->next = worker->free_bundles;
    worker->free_bundles = bundle;
    worker->n_free_bundles++;
}

/* Calls fn for each lane that has a journal. */
static void
each_journaled(struct yk_worker *worker, void (*fn)(struct yk_worker *, struct yk_lane *, void *),
               void *arg)
{
    for (uint32_t i = 0; i < worker->config.n_buckets; i++) {
        for (uint32_t k = 0; k < worker->buckets[i].n_lanes; k++) {
            struct yk_lane *lane = worker->buckets[i].lanes[k];
            if (yk_lane_is_journaled(lane)) {
                fn(worker, lane, arg);
            }
        }
    }
}

static void
tell_journaled(struct yk_worker *worker, struct yk_lane *lane, void *arg)
{
    const struct yk_bundle *bundle = arg;
    if ((yk_lane_durability(lane) == YK_DURABILITY_DISK) == bundle->syncs &&
        yk_lane_waits_for_journal(lane)) {
        yk_lane_journaled(lane, bundle->number, bundle->position);
        mark_dirty(worker, lane);
    }
}

static void
journaled(struct yk_worker *worker, struct yk_bundle *bundle)
{
    worker->n_bundles_out--;
    struct writer *writer = &worker->writers[bundle->syncs ? 1 : 0];
    writer->n_out--;
    writer->journaled_to = bundle->position;
    each_journaled(worker, tell_journaled, bundle);
    recycle_bundle(worker, bundle);
}

static void
send_bundles(struct yk_worker *worker)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct writer *writer = &worker->writers[i];
        if (writer->open != NULL && writer->open->n_entries > 0) {
            send_bundle(worker, writer);
        }
    }
}

/* Which lanes of this worker keep old parts of the log, and whether one is being checkpointed. */
struct need {
    uint64_t from;
    uint64_t oldest_from; /* of lanes that can be checkpointed */
    struct yk_lane *oldest;
    bool is_under_way;
};

static void
look_at_need(struct yk_worker *worker, struct yk_lane *lane, void *arg)
{
    struct need *need = arg;
    uint64_t from = yk_lane_needed_from(lane);
    (void)worker;
    need->is_under_way = need->is_under_way || yk_lane_has_checkpoint(lane);
    need->from = from < need->from ? from : need->from;
    if (!yk_lane_is_stopped(lane) && from < need->oldest_from) {
        need->oldest_from = from;
        need->oldest = lane;
    }
}

/* One lane after another, so that they do not hinder the rest together. */
static void
tend_journal(struct yk_worker *worker)
{
    struct need need = {.from = UINT64_MAX, .oldest_from = UINT64_MAX};
    if (worker->config.room == NULL || worker->is_draining) {
        return;
    }
    uint64_t below = __atomic_load_n(&worker->config.room->checkpoint_below, __ATOMIC_ACQUIRE);
    each_journaled(worker, look_at_need, &need);
    if (!need.is_under_way && (need.oldest_from < below || need.oldest_from == 0)) {
        (void)yk_lane_checkpoint(need.oldest, worker->now_ms);
    }
    publish_need(worker, need.from);
}

/* Other nodes */

static struct yk_lane *
clustered_lane(void *arg, uint32_t bucket_index, uint32_t index)
{
    struct yk_worker *worker = arg;
    struct yk_lane *lane = *lane_at(worker, bucket_index, index);
    return lane != NULL && yk_lane_is_clustered(lane) ? lane : NULL;
}

static void
touch_lane(void *arg, struct yk_lane *lane)
{
    mark_dirty(arg, lane);
}

static void
send_frame(void *arg, uint32_t peer, uint32_t to, struct yk_buffer *frame)
{
    add_effect(arg, (struct yk_effect){.kind = YK_EFFECT_SEND, .send = {peer, to, frame}});
}

static void
ask_managers(void *arg, struct yk_wishes *wishes)
{
    add_effect(arg, (struct yk_effect){.kind = YK_EFFECT_WISH, .wishes = wishes});
}

static bool
is_method(struct yk_slice method, const char *name)
{
    return yk_slice_equal(method, yk_slice_of_text(name));
}

static void
worker_frame(struct yk_worker *worker, uint32_t peer, uint32_t from, struct yk_slice bytes)
{
    struct yk_unpack unpack;
    yk_unpack_init(&unpack, bytes);
    (void)yk_unpack_array(&unpack);
    uint64_t type = yk_unpack_uint(&unpack, UINT32_MAX);
    struct yk_slice method = yk_unpack_text(&unpack, YK_NAME_SIZE_MAX);
    bool is_copies = is_method(method, "copy");
    if (type == 2 && worker->membership.view != NULL &&
        (is_copies || is_method(method, "replicate"))) {
        yk_peering_hear(&worker->membership, peer, is_copies, &unpack);
    } else if (type == 2 && worker->forward != NULL && is_method(method, "ops")) {
        yk_forward_hear_ops(worker->forward, peer, from, &unpack);
    } else if (type == 2 && worker->forward != NULL && is_method(method, "answers")) {
        yk_forward_hear_answers(worker->forward, peer, from, &unpack);
    } else {
        worker->n_frames_dropped++;
    }
}

static void
lane_copy(void *arg, struct yk_lane *lane, uint32_t node, const struct yk_copy *message)
{
    struct yk_worker *worker = arg;
    yk_peering_copy(&worker->membership, yk_lane_bucket(lane), node, message);
}

static void
forward_ended(void *arg, struct yk_op *op, const struct yk_reply *reply)
{
    struct yk_worker *worker = arg;
    bool is_taken = yk_router_ended(worker->router, op, reply);
    YK_ASSERT(is_taken);
}

/* A node that ends takes no new ops of others: they will find the next primary. */
static bool
owns_lane(void *arg, uint32_t bucket, uint32_t index)
{
    const struct yk_worker *worker = arg;
    return !worker->is_draining &&
           yk_ring_worker(&worker->config.buckets[bucket]->ring, index) == worker->config.worker &&
           clustered_lane(arg, bucket, index) != NULL;
}

/* Only where there can be other nodes: it asks the world for a number. */
static enum yk_err
make_forward(struct yk_worker *worker)
{
    const struct yk_worker_config *config = &worker->config;
    struct yk_forward_config forward = {
        .world = config->world,
        .buckets = config->buckets,
        .n_buckets = config->n_buckets,
        .worker = config->worker,
        .cache_bytes = config->gateway_cache,
        .sink = {worker, execute_here, forward_ended, owns_lane, send_frame}};
    bool is_needed = false;
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        is_needed = is_needed || config->buckets[i]->is_clustered;
    }
    return is_needed ? yk_forward_new(&forward, &worker->forward) : YK_OK;
}

static void
init_membership(struct yk_worker *worker)
{
    const struct yk_worker_config *config = &worker->config;
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        worker->names[i] = config->buckets[i]->name;
    }
    worker->membership =
        (struct yk_peering){.world = config->world,
                            .worker = config->worker,
                            .n_workers = config->n_workers,
                            .n_buckets = config->n_buckets,
                            .n_lanes = config->n_buckets > 0 ? config->buckets[0]->ring.n_lanes : 1,
                            .names = worker->names,
                            .sink = {worker, clustered_lane, touch_lane, send_frame, ask_managers},
                            .tick_us = TICK_US};
}

/* The turn */

static void
came_back(struct yk_worker *worker, struct yk_op *op)
{
    struct yk_buffer *buffer = op->reply.value_buffer;
    struct yk_reply reply = op->reply;
    bool is_taken = (is_of_cluster(worker, op) && yk_forward_ended(worker->forward, op, &reply)) ||
                    yk_router_ended(worker->router, op, &reply);
    YK_ASSERT(is_taken);
    yk_buffer_unref(buffer);
}

static void
open_mail(struct yk_worker *worker)
{
    struct yk_op *op;
    while ((op = yk_op_queue_pop(&worker->incoming)) != NULL) {
        if (op->origin == worker->config.worker) {
            came_back(worker, op);
        } else {
            execute_here(worker, op);
        }
    }
}

static void
add_cache_figures(const struct yk_worker *worker, struct yk_figures *to)
{
    const struct yk_value_cache *cache =
        worker->forward != NULL ? yk_forward_cache(worker->forward) : NULL;
    if (cache != NULL && to != NULL) {
        struct yk_value_cache_figures figures = yk_value_cache_figures(cache);
        yk_figures_add(to, "gateway_cache_hits", figures.hits);
        yk_figures_add(to, "gateway_cache_misses", figures.misses);
        yk_figures_add(to, "gateway_cache_items", figures.items);
        yk_figures_add(to, "gateway_cache_bytes", figures.bytes);
    }
}

static void
answer_whole(struct yk_worker *worker)
{
    struct yk_op *op;
    while ((op = yk_op_queue_pop(&worker->whole)) != NULL) {
        yk_router_execute(worker->router, op);
        add_cache_figures(worker, op->figures);
        if (op->origin == worker->config.worker) {
            struct yk_reply reply = op->reply;
            (void)yk_router_ended(worker->router, op, &reply);
        } else {
            yk_op_queue_push(&worker->outgoing[op->origin], op);
        }
    }
}

/* A node without lanes is only a gateway: it has nothing. */
static void
answer_missing(struct yk_worker *worker)
{
    struct yk_op *op;
    while ((op = yk_op_queue_pop(&worker->missing)) != NULL) {
        struct yk_reply reply = {.struct_size = sizeof(reply),
                                 .result = yk_op_has_key(op) ? YK_ESTALE : YK_OK};
        if (op->request.op == YK_OP_SCAN) {
            op->scan->is_end = true;
        }
        (void)lane_done(worker, op, &reply);
    }
}

/* What is looked for in memory of this size is seldom in a cache: the time that it takes to come is
 * shared by some ops at once. */
static void
run_near(struct yk_worker *worker)
{
    struct yk_op *ops[NEAR_OPS];
    struct yk_lane *lanes[NEAR_OPS];
    uint32_t n = 0;
    while (n < NEAR_OPS && worker->direct.first != NULL) {
        ops[n] = yk_op_queue_pop(&worker->direct);
        lanes[n] = *lane_at(worker, ops[n]->bucket_index, ops[n]->lane);
        n++;
    }
    for (uint32_t stage = 0; n > 1 && stage < 2; stage++) {
        for (uint32_t i = 0; i < n; i++) {
            yk_lane_prefetch(lanes[i], ops[i], stage);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        yk_lane_execute(lanes[i], ops[i], worker->now_ms);
    }
}

static bool
run_lanes(struct yk_worker *worker)
{
    bool has_run = worker->n_dirty > 0 || worker->direct.first != NULL ||
                   worker->whole.first != NULL || worker->missing.first != NULL;
    while (worker->direct.first != NULL) {
        run_near(worker);
    }
    while (worker->n_dirty > 0) {
        yk_lane_run(worker->dirty[--worker->n_dirty], worker->now_ms);
    }
    answer_missing(worker);
    answer_whole(worker);
    return has_run;
}

static void
sweep(struct yk_worker *worker)
{
    if (worker->now_ms < worker->swept_ms + SWEEP_INTERVAL_MS &&
        worker->now_ms >= worker->swept_ms) {
        return;
    }
    worker->swept_ms = worker->now_ms;
    tend_journal(worker);
    for (uint32_t i = 0; i < worker->config.n_buckets; i++) {
        for (uint32_t k = 0; k < worker->buckets[i].n_lanes; k++) {
            yk_lane_sweep(worker->buckets[i].lanes[k], worker->now_ms);
        }
    }
}

static void
turn(struct yk_worker *worker, uint64_t now_ms)
{
    worker->now_ms = now_ms;
    open_mail(worker);
    yk_peering_tick(&worker->membership);
    if (worker->forward != NULL) {
        yk_forward_tick(worker->forward);
    }
    yk_router_timers(worker->router, now_ms);
    bool has_more = true;
    while (has_more) {
        has_more = yk_router_run(worker->router, now_ms);
        has_more = run_lanes(worker) || has_more;
    }
    sweep(worker);
    yk_peering_speak(&worker->membership);
    if (worker->forward != NULL) {
        yk_forward_speak(worker->forward);
    }
    send_bundles(worker);
    yk_router_end_turn(worker->router);
}

/* Mail goes out after each step, in one batch for each worker. */
static void
send_mail(struct yk_worker *worker)
{
    for (uint32_t i = 0; i < worker->config.n_workers; i++) {
        struct yk_op_queue *queue = &worker->outgoing[i];
        if (queue->first != NULL) {
            add_effect(worker,
                       (struct yk_effect){.kind = YK_EFFECT_MAIL, .mail = {i, queue->first}});
            *queue = (struct yk_op_queue){NULL, NULL, 0};
        }
    }
}

static void
take_mail(struct yk_worker *worker, struct yk_op *first)
{
    while (first != NULL) {
        struct yk_op *next = first->next;
        yk_op_queue_push(&worker->incoming, first);
        first = next;
    }
}

void
yk_worker_step(struct yk_worker *worker, const struct yk_event *event)
{
    switch (event->kind) {
    case YK_EVENT_OPEN:
        *event->open.ret_session =
            yk_router_open(worker->router, worker->frontends[event->open.frontend],
                           event->open.peer, event->open.conn, event->now_ms);
        break;
    case YK_EVENT_RECEIVED:
        yk_session_received(event->received.session, event->received.bytes, event->received.size,
                            event->received.is_eof);
        break;
    case YK_EVENT_SENT:
        yk_session_sent(event->sent.session, event->sent.size);
        break;
    case YK_EVENT_CLOSED:
        yk_session_closed(event->closed.session);
        break;
    case YK_EVENT_MAIL:
        take_mail(worker, event->mail.first);
        break;
    case YK_EVENT_JOB_DONE:
        worker->now_ms = event->now_ms;
        yk_lane_job_done(yk_job_lane(event->job_done.job), event->job_done.job, event->now_ms);
        break;
    case YK_EVENT_JOURNALED:
        journaled(worker, event->bundle);
        break;
    case YK_EVENT_KEPT:
        yk_lane_kept(event->kept.lane,
                     worker->is_draining && event->kept.result == YK_OK ? YK_ESTOPPED
                                                                        : event->kept.result,
                     event->now_ms);
        mark_dirty(worker, event->kept.lane);
        break;
    case YK_EVENT_FRAME:
        worker_frame(worker, event->frame.peer, event->frame.worker, event->frame.bytes);
        break;
    case YK_EVENT_PEER:
        if (worker->forward != NULL) {
            yk_forward_peer(worker->forward, event->peer.peer, event->peer.worker,
                            event->peer.is_up);
        }
        break;
    case YK_EVENT_VIEW:
        yk_peering_view(&worker->membership, event->view);
        if (worker->forward != NULL) {
            yk_forward_view(worker->forward, event->view);
        }
        break;
    case YK_EVENT_REFUSED:
        yk_peering_refused(&worker->membership, event->refused);
        break;
    case YK_EVENT_DRAIN:
        worker->is_draining = true;
        yk_router_drain(worker->router);
        break;
    case YK_EVENT_TURN:
        turn(worker, event->now_ms);
        send_mail(worker);
        break;
    }
}

const struct yk_effect *
yk_worker_take_effects(struct yk_worker *worker, uint32_t *ret_n)
{
    struct yk_effect *effects = worker->effects;
    uint32_t room = worker->effects_room;
    *ret_n = worker->n_effects;
    worker->effects = worker->taken;
    worker->effects_room = worker->taken_room;
    worker->n_effects = 0;
    worker->taken = effects;
    worker->taken_room = room;
    yk_router_looked(worker->router);
    return effects;
}

/* The earlier of the two; 0: never. */
static uint64_t
earlier(uint64_t next_ms, uint64_t other_ms)
{
    return next_ms == 0 || other_ms < next_ms ? other_ms : next_ms;
}

uint64_t
yk_worker_next_turn(const struct yk_worker *worker)
{
    uint64_t next_ms = yk_router_next_timer(worker->router);
    for (uint32_t i = 0; i < worker->config.n_buckets; i++) {
        for (uint32_t k = 0; k < worker->buckets[i].n_lanes; k++) {
            if (yk_lane_has_to_sweep(worker->buckets[i].lanes[k])) {
                next_ms = earlier(next_ms, worker->swept_ms + SWEEP_INTERVAL_MS);
            }
        }
    }
    const struct yk_journal_room *room = worker->config.room;
    uint64_t needed_from =
        room != NULL ? __atomic_load_n(worker->config.needed_from, __ATOMIC_ACQUIRE) : UINT64_MAX;
    bool has_to_tend =
        room != NULL && (needed_from == 0 ||
                         needed_from < __atomic_load_n(&room->checkpoint_below, __ATOMIC_ACQUIRE));
    if (has_to_tend) {
        next_ms = earlier(next_ms, worker->swept_ms + SWEEP_INTERVAL_MS);
    }
    if (worker->membership.view != NULL) {
        next_ms = earlier(next_ms, worker->now_ms + TICK_MS);
    }
    int64_t due_us = worker->forward != NULL ? yk_forward_due_us(worker->forward) : -1;
    return due_us >= 0 ? earlier(next_ms, worker->now_ms + (uint64_t)due_us / 1000 + 1) : next_ms;
}

bool
yk_worker_wants_turn(const struct yk_worker *worker)
{
    return worker->n_dirty > 0 || worker->direct.first != NULL || worker->n_effects > 0 ||
           worker->missing.first != NULL || yk_router_wants_run(worker->router) ||
           (worker->forward != NULL && yk_forward_wants_turn(worker->forward));
}

bool
yk_worker_has_batch(const struct yk_worker *worker)
{
    return yk_router_submitted(worker->router) >= YK_TURN_REQUESTS;
}

bool
yk_worker_is_idle(const struct yk_worker *worker)
{
    for (uint32_t i = 0; i < worker->config.n_buckets; i++) {
        for (uint32_t k = 0; k < worker->buckets[i].n_lanes; k++) {
            if (!yk_lane_is_idle(worker->buckets[i].lanes[k])) {
                return false;
            }
        }
    }
    return yk_router_sessions(worker->router) == 0 && worker->incoming.first == NULL &&
           worker->n_bundles_out == 0 &&
           (worker->forward == NULL || yk_forward_is_idle(worker->forward));
}

uint32_t
yk_worker_sessions(const struct yk_worker *worker)
{
    return yk_router_sessions(worker->router);
}

struct yk_frontend *
yk_worker_frontend(struct yk_worker *worker, uint32_t index)
{
    return worker->frontends[index];
}

/* Life */

static enum yk_err
make_lane_rooms(struct yk_worker *worker)
{
    const struct yk_worker_config *config = &worker->config;
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        uint32_t n_lanes = config->buckets[i]->ring.n_lanes;
        uint32_t n_own = (n_lanes + config->n_workers - 1 - config->worker) / config->n_workers;
        worker->buckets[i].lanes = calloc(n_own + 1u, sizeof(struct yk_lane *));
        if (worker->buckets[i].lanes == NULL) {
            return YK_ENOMEM;
        }
        worker->n_lanes += n_own;
    }
    worker->dirty = calloc(worker->n_lanes + 1u, sizeof(struct yk_lane *));
    return worker->dirty != NULL ? YK_OK : YK_ENOMEM;
}

enum yk_err
yk_worker_new(const struct yk_worker_config *config, struct yk_worker **ret_worker)
{
    struct yk_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL) {
        return YK_ENOMEM;
    }
    worker->config = *config;
    init_membership(worker);

    worker->buckets = calloc(config->n_buckets + 1u, sizeof(struct bucket_lanes));
    worker->outgoing = calloc(config->n_workers, sizeof(struct yk_op_queue));
    struct yk_router_config router = {.world = config->world,
                                      .buckets = config->buckets,
                                      .n_buckets = config->n_buckets,
                                      .worker = config->worker,
                                      .n_workers = config->n_workers,
                                      .sink = {.arg = worker,
                                               .execute = router_execute,
                                               .touched = router_touched,
                                               .shut_down = router_shut_down,
                                               .facts = router_facts}};
    if (worker->buckets == NULL || worker->outgoing == NULL || make_lane_rooms(worker) != YK_OK ||
        yk_router_new(&router, &worker->router) != YK_OK || make_forward(worker) != YK_OK) {
        yk_worker_free(worker);
        return YK_ENOMEM;
    }
    *ret_worker = worker;
    return YK_OK;
}

void
yk_worker_free(struct yk_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    if (worker->router != NULL) {
        (void)yk_router_run(worker->router, worker->now_ms);
        yk_router_end_turn(worker->router);
    }
    for (uint32_t i = 0; worker->buckets != NULL && i < worker->config.n_buckets; i++) {
        for (uint32_t k = 0; k < worker->buckets[i].n_lanes; k++) {
            yk_lane_free(worker->buckets[i].lanes[k]);
        }
        free(worker->buckets[i].lanes);
    }
    yk_router_free(worker->router);
    for (uint32_t i = 0; i < worker->n_frontends; i++) {
        yk_frontend_close(worker->frontends[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        yk_bundle_free(worker->writers[i].open);
    }
    while (worker->free_bundles != NULL) {
        struct yk_bundle *bundle = worker->free_bundles;
        worker->free_bundles = bundle->next;
        yk_bundle_free(bundle);
    }
    yk_forward_free(worker->forward);
    yk_peering_done(&worker->membership);
    free(worker->buckets);
    free(worker->dirty);
    free(worker->outgoing);
    free(worker->effects);
    free(worker->taken);
    free(worker);
}

void
yk_worker_add_frontend(struct yk_worker *worker, struct yk_frontend *frontend)
{
    YK_ASSERT(worker->n_frontends < FRONTENDS_MAX);
    worker->frontends[worker->n_frontends++] = frontend;
}

enum yk_err
yk_worker_add_lane(struct yk_worker *worker, const struct yk_lane_config *lane)
{
    const struct yk_bucket *bucket = worker->config.buckets[lane->bucket_index];
    struct bucket_lanes *own = &worker->buckets[lane->bucket_index];
    YK_ASSERT(yk_ring_worker(&bucket->ring, lane->lane) == worker->config.worker);
    YK_ASSERT(lane->lane / worker->config.n_workers == own->n_lanes);
    struct yk_lane_config config = *lane;
    config.world = worker->config.world;
    config.ring = bucket->ring;
    config.value_size_max = bucket->value_size_max;
    config.key_size_max = bucket->key_size_max;
    config.sink = (struct yk_lane_sink){.arg = worker,
                                        .done = lane_done,
                                        .start = lane_start,
                                        .reserve = lane_reserve,
                                        .unreserve = lane_unreserve,
                                        .append = lane_append,
                                        .keep = lane_keep,
                                        .copy = lane_copy};
    YK_ASSERT(config.durability == YK_DURABILITY_MEMORY || worker->config.room != NULL);
    enum yk_err result = yk_lane_new(&config, &own->lanes[own->n_lanes]);
    if (result != YK_OK) {
        yk_stack_close(lane->stack);
        return result;
    }
    own->n_lanes++;
    return YK_OK;
}

struct yk_lane *
yk_worker_lane(struct yk_worker *worker, uint32_t bucket_index, uint32_t lane)
{
    return *lane_at(worker, bucket_index, lane);
}

uint32_t
yk_worker_index(const struct yk_worker *worker)
{
    return worker->config.worker;
}

uint64_t
yk_worker_frames_dropped(const struct yk_worker *worker)
{
    return worker->n_frames_dropped +
           (worker->forward != NULL ? yk_forward_dropped(worker->forward) : 0);
}
