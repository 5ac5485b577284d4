/* A lane: a node's share of a bucket that one worker owns, and the replication machine of its
 * slots. For now every slot has one member, this node: a write is judged, given a version, admitted
 * by the engine, and so committed; then applied and answered.
 *
 *     submit -> queue -> [get the old record] -> judge -> decided -> [admit, apply] -> done
 *                  \-> overlay: waits for the write of its key that is under way
 *
 * Engine calls are made in batches, called jobs. For an engine that does not block a job runs at
 * once, within yk_lane_run, and values are lent from the engine's memory; for others it is handed
 * out by sink->start, and comes back by yk_lane_job_done. There is one job that writes, and where
 * the engine bears it (READERS, PARALLEL) a few that only read beside it.
 *
 * Pure: time comes with run and job_done. Threads: the owning worker's; yk_job_run: the thread that
 * was given the job. Ownership: the lane lends ops from submit to done; it owns its stack from new
 * on. */
#ifndef YK_REPLICA_LANE_H
#define YK_REPLICA_LANE_H

#include "core/ring/ring.h"
#include "core/store/op.h"
#include "core/store/scan.h"
#include "core/store/stack.h"

struct yk_lane;
struct yk_job;

struct yk_lane_sink {
    void *arg;
    /* The op has ended; reply is lent for the call, and so is what it points to. False, for a GET
     * that is not op->is_kept only: there is no room for its value now; the op is given back as if
     * never done. */
    bool (*done)(void *arg, struct yk_op *op, const struct yk_reply *reply);
    /* Have yk_job_run(job) called by a thread that may block, then yk_lane_job_done by this one. */
    void (*start)(void *arg, struct yk_job *job);
};

struct yk_lane_config {
    const struct yk_world *world;
    struct yk_stack *stack; /* taken on success */
    bool is_shut;           /* the stack is not open, what it holds is damaged: refuse everything */
    enum yk_durability durability;
    struct yk_ring ring;
    uint32_t lane;
    uint32_t bucket_index;
    uint64_t epoch; /* 1 .. 2^24 - 1; raised at every start of the node, so versions never repeat */
    uint64_t value_size_max;
    uint32_t key_size_max;
    struct yk_lane_sink sink;
};

enum yk_err
yk_lane_new(const struct yk_lane_config *config, struct yk_lane **ret_lane) YK_MUST_CHECK;
/* Every op must have ended. Closes the stack; takes NULL. */
void yk_lane_free(struct yk_lane *lane);

/* Takes GET, STORE, ARITH, DELETE, TOUCH, FLUSH, SCAN (one step, into op->scan) and STATS (into
 * op->figures). Only queues; see yk_lane_pins and yk_lane_keeps. */
void yk_lane_submit(struct yk_lane *lane, struct yk_op *op);
/* Executes what was submitted, as far as it can go now. */
void yk_lane_run(struct yk_lane *lane, uint64_t now_ms);
/* May an op on one key be executed alone, and is it ended when yk_lane_execute returns? So it is
 * where the engine answers at once and keeps nothing. */
bool yk_lane_may_be_direct(const struct yk_backend_info *info);
/* Has the memory of the op's key brought near: stage 0 for some ops, then stage 1, then execute. */
void yk_lane_prefetch(struct yk_lane *lane, const struct yk_op *op, uint32_t stage);
/* Only for lanes that are direct: submit and run in one, for an op on a key. */
void yk_lane_execute(struct yk_lane *lane, struct yk_op *op, uint64_t now_ms);
/* Looks for a while for records that have ended, and drops them. Cheap when there can be none. */
void yk_lane_sweep(struct yk_lane *lane, uint64_t now_ms);
bool yk_lane_has_to_sweep(const struct yk_lane *lane); /* or there is nothing to look for */

bool yk_lane_pins(const struct yk_lane *lane); /* ops must come with their bytes pinned */
bool yk_lane_keeps(
    const struct yk_lane *lane); /* answers come from another thread: ops must be is_kept */
bool yk_lane_is_idle(const struct yk_lane *lane); /* no op, no job, nothing pinned */
uint32_t yk_lane_index(const struct yk_lane *lane);

/* How many jobs such a lane may have out at once; 0 for an engine that does not block. */
uint32_t yk_lane_jobs_max(const struct yk_backend_info *info);

/* A visit to an engine that may block. True: it has ended. False: an asynchronous engine has it;
 * call again, from any thread, when world->complete has named its call. */
bool yk_job_run(struct yk_job *job);
struct yk_lane *yk_job_lane(const struct yk_job *job);
/* The job of the call that was given to world->complete; result is what was given with it. */
struct yk_job *yk_job_of_call(struct yk_call *call, enum yk_err result);
void yk_lane_job_done(struct yk_lane *lane, struct yk_job *job, uint64_t now_ms);

#endif
