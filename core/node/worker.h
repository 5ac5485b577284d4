/* A worker: one thread's share of a node, as a machine: its router with the sessions, and its
 * lanes.
 *
 *     step(worker, event) -> effects
 *
 * A turn: the events of everything that happened, then TURN, in which the queue of the turn is
 * executed as one batch; then the effects. Pure: the daemon runs one on each worker thread, the
 * simulator all of them.
 *
 * Threads: one. Ownership: owns its router, frontends and lanes. */
#ifndef YK_NODE_WORKER_H
#define YK_NODE_WORKER_H

#include "core/node/effect.h"
#include "core/node/event.h"

struct yk_worker;

struct yk_worker_config {
    const struct yk_world *world;
    uint32_t worker, n_workers;
    struct yk_bucket *const *buckets;
    uint32_t n_buckets;
    struct yk_journal_room *room; /* of the log; NULL: no bucket has a journal */
    uint64_t gateway_cache;       /* bytes for values of other nodes; 0: none are kept */
    /* Atomic, in the log: what is before it no lane of this worker needs. Told now and then. */
    uint64_t *needed_from;
    /* Facts about the process for stats; see yk_router_sink. */
    void (*facts)(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg);
    void *facts_arg;
};

enum yk_err
yk_worker_new(const struct yk_worker_config *config, struct yk_worker **ret_worker) YK_MUST_CHECK;
/* Every session must be closed and the worker idle. Takes NULL. */
void yk_worker_free(struct yk_worker *worker);

/* Before the first step. The worker owns what it is given, in any case. */
void yk_worker_add_frontend(struct yk_worker *worker, struct yk_frontend *frontend);
/* Of the config only what the bucket does not say: stack, lane, bucket_index, epochs, epoch,
 * is_shut, durability and what is of a cluster. */
enum yk_err
yk_worker_add_lane(struct yk_worker *worker, const struct yk_lane_config *lane) YK_MUST_CHECK;

void yk_worker_step(struct yk_worker *worker, const struct yk_event *event);
/* The effects of the steps since they were last taken; valid until the next step. */
const struct yk_effect *yk_worker_take_effects(struct yk_worker *worker, uint32_t *ret_n);

/* When TURN is to come at the latest though nothing else happens, wall clock in ms; 0: no need. */
uint64_t yk_worker_next_turn(const struct yk_worker *worker);
/* There is work already: TURN is to come at once. */
bool yk_worker_wants_turn(const struct yk_worker *worker);
/* So much has come that a TURN now is better than one when everything has: the caches hold it. */
bool yk_worker_has_batch(const struct yk_worker *worker);
/* No sessions, no ops, no jobs. */
bool yk_worker_is_idle(const struct yk_worker *worker);
uint32_t yk_worker_sessions(const struct yk_worker *worker);
uint32_t yk_worker_index(const struct yk_worker *worker);
/* Messages from other nodes that nobody here understands. */
uint64_t yk_worker_frames_dropped(const struct yk_worker *worker);
/* The lane of that number, which must be this worker's. */
struct yk_lane *yk_worker_lane(struct yk_worker *worker, uint32_t bucket_index, uint32_t lane);
/* The frontend instances, for changes of options at run time. */
struct yk_frontend *yk_worker_frontend(struct yk_worker *worker, uint32_t index);

#endif
