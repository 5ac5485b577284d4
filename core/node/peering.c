/* Between the frames of other nodes and the replicas of this worker's lanes. */
#include <config.h>

#include "core/node/peering.h"

#include <stdlib.h>

#include "core/wire/unpack.h"

enum { WISHES_MAX = 4096 };

static int64_t
boot_us(const struct yk_peering *membership)
{
    return (int64_t)membership->world->boot_us(membership->world->arg);
}

/* Calls fn for each of the clustered lanes. */
static void
each_lane(struct yk_peering *membership,
          void (*fn)(struct yk_peering *, struct yk_lane *, uint32_t bucket))
{
    for (uint32_t i = 0; i < membership->n_buckets; i++) {
        for (uint32_t k = membership->worker; k < membership->n_lanes; k += membership->n_workers) {
            struct yk_lane *lane = membership->sink.lane(membership->sink.arg, i, k);
            if (lane != NULL) {
                fn(membership, lane, i);
            }
        }
    }
}

/* What comes */

static void
show_view(struct yk_peering *membership, struct yk_lane *lane, uint32_t bucket)
{
    yk_lane_view(lane, &membership->view->buckets[bucket]);
    membership->sink.touched(membership->sink.arg, lane);
}

void
yk_peering_view(struct yk_peering *membership, struct yk_view *view)
{
    yk_view_unref(membership->view);
    membership->view = view;
    each_lane(membership, show_view);
}

void
yk_peering_refused(struct yk_peering *membership, struct yk_wishes *wishes)
{
    for (uint32_t i = 0; i < wishes->n; i++) {
        const struct yk_slot_wish *wish = &wishes->wishes[i];
        struct yk_lane *lane = membership->sink.lane(membership->sink.arg, wish->bucket,
                                                     wish->slot % membership->n_lanes);
        if (lane != NULL) {
            yk_lane_refused(lane, wish);
        }
    }
    free(wishes);
}

/* Of whom the messages of the frame are. */
struct speaker {
    struct yk_peering *membership;
    uint32_t peer;
};

static uint32_t
find_bucket(void *arg, struct yk_slice name)
{
    const struct yk_peering *membership = ((struct speaker *)arg)->membership;
    for (uint32_t i = 0; i < membership->n_buckets; i++) {
        if (yk_slice_equal(name, yk_slice_of_text(membership->names[i]))) {
            return i;
        }
    }
    return UINT32_MAX;
}

static uint32_t
node_of(const struct speaker *speaker, uint32_t bucket)
{
    const struct yk_view_bucket *view = &speaker->membership->view->buckets[bucket];
    for (uint32_t i = 0; i < view->bucket.n_nodes; i++) {
        if (view->peers[i] == speaker->peer) {
            return i;
        }
    }
    return YK_NODE_NONE;
}

static struct yk_lane *
lane_of(const struct speaker *speaker, uint32_t bucket, uint32_t slot)
{
    struct yk_peering *membership = speaker->membership;
    uint32_t lane = slot % membership->n_lanes;
    if (membership->view == NULL ||
        slot >= membership->view->buckets[bucket].bucket.description.slots ||
        lane % membership->n_workers != membership->worker) {
        membership->n_dropped++;
        return NULL;
    }
    return membership->sink.lane(membership->sink.arg, bucket, lane);
}

static void
hear_append(void *arg, uint32_t bucket, const struct yk_append *append)
{
    const struct speaker *speaker = arg;
    struct yk_lane *lane = lane_of(speaker, bucket, append->slot);
    uint32_t node = lane != NULL ? node_of(speaker, bucket) : YK_NODE_NONE;
    if (node != YK_NODE_NONE) {
        yk_lane_on_append(lane, node, append);
        speaker->membership->sink.touched(speaker->membership->sink.arg, lane);
    }
}

static void
hear_ack(void *arg, uint32_t bucket, const struct yk_ack *ack)
{
    const struct speaker *speaker = arg;
    struct yk_lane *lane = lane_of(speaker, bucket, ack->slot);
    uint32_t node = lane != NULL ? node_of(speaker, bucket) : YK_NODE_NONE;
    if (node != YK_NODE_NONE) {
        yk_lane_on_ack(lane, node, ack);
        speaker->membership->sink.touched(speaker->membership->sink.arg, lane);
    }
}

static void
hear_copy(void *arg, uint32_t bucket, const struct yk_copy *copy)
{
    const struct speaker *speaker = arg;
    struct yk_lane *lane = lane_of(speaker, bucket, copy->slot);
    uint32_t node = lane != NULL ? node_of(speaker, bucket) : YK_NODE_NONE;
    if (node != YK_NODE_NONE) {
        yk_lane_on_copy(lane, node, copy);
        speaker->membership->sink.touched(speaker->membership->sink.arg, lane);
    }
}

void
yk_peering_copy(struct yk_peering *membership, uint32_t bucket, uint32_t node,
                const struct yk_copy *copy)
{
    const struct yk_view_bucket *view =
        membership->view != NULL ? &membership->view->buckets[bucket] : NULL;
    if (view != NULL && node < view->bucket.n_nodes && view->peers[node] != YK_PEER_NONE) {
        (void)yk_talk_copy(&membership->talk, view->peers[node],
                           yk_view_worker(&view->bucket.nodes[node], copy->slot), bucket, copy);
    }
}

void
yk_peering_hear(struct yk_peering *membership, uint32_t peer, bool is_copies,
                struct yk_unpack *unpack)
{
    struct speaker speaker = {membership, peer};
    const struct yk_listener_fns fns = {&speaker, find_bucket, hear_append, hear_ack, hear_copy};
    if (is_copies) {
        yk_talk_hear_copies(unpack, &fns);
    } else {
        yk_talk_hear(unpack, &fns);
    }
    membership->n_dropped += unpack->wrong != NULL;
}

/* Time */

static void
tick_lane(struct yk_peering *membership, struct yk_lane *lane, uint32_t bucket)
{
    (void)bucket;
    yk_lane_tick(lane);
    membership->sink.touched(membership->sink.arg, lane);
}

void
yk_peering_tick(struct yk_peering *membership)
{
    int64_t now_us = membership->view != NULL ? boot_us(membership) : 0;
    if (membership->view != NULL && now_us - membership->ticked_us >= membership->tick_us) {
        membership->ticked_us = now_us;
        each_lane(membership, tick_lane);
    }
}

/* What goes */

static void
add_wish(struct yk_peering *membership, uint32_t bucket, uint32_t slot, const struct yk_wish *wish)
{
    struct yk_wishes *wishes = membership->wishes;
    if (wishes == NULL) {
        wishes = malloc(sizeof(*wishes) + WISHES_MAX * sizeof(wishes->wishes[0]));
        if (wishes == NULL) {
            return; /* it will be asked again */
        }
        *wishes = (struct yk_wishes){.worker = membership->worker};
        membership->wishes = wishes;
    }
    if (wishes->n < WISHES_MAX) {
        wishes->wishes[wishes->n++] =
            (struct yk_slot_wish){(uint16_t)bucket, (uint16_t)slot, *wish};
    }
}

static void
speak_replica(struct yk_peering *membership, struct yk_replica *replica, uint32_t bucket)
{
    const struct yk_view_bucket *view = &membership->view->buckets[bucket];
    int64_t now_us = boot_us(membership);
    struct yk_append append;
    struct yk_ack ack;
    struct yk_wish wish;
    uint32_t node;
    while (yk_replica_take_append(replica, now_us, YK_APPEND_ENTRIES_MAX, YK_APPEND_BYTES_MAX,
                                  &node, &append)) {
        if (node < view->bucket.n_nodes && view->peers[node] != YK_PEER_NONE) {
            (void)yk_talk_append(&membership->talk, view->peers[node],
                                 yk_view_worker(&view->bucket.nodes[node], replica->slot), bucket,
                                 &append, &replica->tail);
        }
    }
    while (yk_replica_take_ack(replica, &node, &ack)) {
        if (node < view->bucket.n_nodes && view->peers[node] != YK_PEER_NONE) {
            (void)yk_talk_ack(&membership->talk, view->peers[node],
                              yk_view_worker(&view->bucket.nodes[node], replica->slot), bucket,
                              &ack);
        }
    }
    if (yk_replica_take_wish(replica, now_us, &wish)) {
        add_wish(membership, bucket, replica->slot, &wish);
    }
}

static void
speak_lane(struct yk_peering *membership, struct yk_lane *lane, uint32_t bucket)
{
    struct yk_replica *replica;
    while ((replica = yk_lane_next_dirty(lane)) != NULL) {
        speak_replica(membership, replica, bucket);
        if (yk_lane_durability(lane) == YK_DURABILITY_MEMORY) { /* it may have committed just now */
            membership->sink.touched(membership->sink.arg, lane);
        }
    }
}

void
yk_peering_speak(struct yk_peering *membership)
{
    const struct yk_peering_sink *sink = &membership->sink;
    struct yk_buffer *frame;
    uint32_t peer;
    uint32_t worker;
    if (membership->view == NULL) {
        return;
    }
    each_lane(membership, speak_lane);
    while ((frame = yk_talk_take(&membership->talk, membership->names, &peer, &worker)) != NULL) {
        sink->send(sink->arg, peer, worker, frame);
    }
    if (membership->wishes != NULL) {
        sink->ask(sink->arg, membership->wishes);
        membership->wishes = NULL;
    }
}

void
yk_peering_done(struct yk_peering *membership)
{
    yk_talk_done(&membership->talk);
    yk_view_unref(membership->view);
    free(membership->wishes);
}
