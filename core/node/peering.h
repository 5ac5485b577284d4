/* A worker's part in the replication of its lanes: messages of other nodes to their replicas, what
 * these have to say to other nodes, their time, and what they ask of the managers.
 *
 * Threads: the worker's. Ownership: owns what is on its way, and a reference to the view. */
#ifndef YK_NODE_PEERING_H
#define YK_NODE_PEERING_H

#include "core/node/replication.h"

struct yk_peering_sink {
    void *arg;
    /* The lane, if it is this worker's and clustered, else NULL. */
    struct yk_lane *(*lane)(void *arg, uint32_t bucket, uint32_t lane);
    void (*touched)(void *arg, struct yk_lane *lane); /* is to be run */
    /* Takes the reference. */
    void (*send)(void *arg, uint32_t peer, uint32_t worker, struct yk_buffer *frame);
    void (*ask)(void *arg, struct yk_wishes *wishes); /* takes them */
};

struct yk_peering {
    const struct yk_world *world;
    uint32_t worker, n_workers, n_buckets, n_lanes; /* lanes: of each bucket, in the node */
    const char *const *names;                       /* of the buckets; lent */
    struct yk_peering_sink sink;
    struct yk_view *view; /* own; NULL: none has come */
    struct yk_talk talk;
    struct yk_wishes *wishes; /* own, with room */
    int64_t tick_us, ticked_us;
    uint64_t n_dropped; /* frames that were of no use */
};

void yk_peering_done(struct yk_peering *membership);
/* Takes the reference. */
void yk_peering_view(struct yk_peering *membership, struct yk_view *view);
void yk_peering_refused(struct yk_peering *membership, struct yk_wishes *wishes); /* takes */
/* The params of a "replicate" or of a "copy", at which unpack stands. */
void yk_peering_hear(struct yk_peering *membership, uint32_t peer, bool is_copies,
                     struct yk_unpack *unpack);
/* A lane's message for a node of the bucket's register. */
void yk_peering_copy(struct yk_peering *membership, uint32_t bucket, uint32_t node,
                     const struct yk_copy *copy);
/* In each turn, before its lanes are run. */
void yk_peering_tick(struct yk_peering *membership);
/* At its end: sends what there is. */
void yk_peering_speak(struct yk_peering *membership);

#endif
