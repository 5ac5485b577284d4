/* A lane: a node's share of a bucket that one worker owns, and the replication machine of its
 * slots. For now every slot has one member, this node.
 *
 * At durability memory a write is judged, given a version, admitted by the engine, and so
 * committed; then applied and answered:
 *
 *     submit -> queue -> [get the old record] -> judge -> decided -> [admit, apply] -> done
 *                  \-> overlay: waits for the write of its key that is under way
 *
 * At os and disk it is committed when it stands in the journal (sink->append, yk_lane_journaled),
 * and applied after that:
 *
 *     submit -> queue -> [get] -> judge -> decided -> [admit] -> prepared -> committed -> done
 *                                                                               \-> applied
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

#include "core/base/promises.h"
#include "core/replica/copy.h"
#include "core/replica/replica.h"
#include "core/ring/ring.h"

#include "core/store/entry.h"
#include "core/store/op.h"
#include "core/store/scan.h"
#include "core/store/stack.h"

struct yk_lane;
struct yk_job;
struct yk_bundle;

/* What is to be done with a piece of a snapshot. */
enum yk_keep_flags { YK_KEEP_FIRST = 1, YK_KEEP_LAST = 2, YK_KEEP_GIVE_UP = 4 };

struct yk_lane_sink {
    void *arg;
    /* The op has ended; reply is lent for the call, and so is what it points to. False, for a GET
     * that is not op->is_kept only: there is no room for its value now; the op is given back as if
     * never done. */
    bool (*done)(void *arg, struct yk_op *op, const struct yk_reply *reply);
    /* Have yk_job_run(job) called by a thread that may block, then yk_lane_job_done by this one. */
    void (*start)(void *arg, struct yk_job *job);

    /* For lanes with a journal. Sets so many bytes aside in it; what is refused says why. */
    enum yk_err (*reserve)(void *arg, struct yk_lane *lane, uint64_t size, const char **ret_text);
    void (*unreserve)(void *arg, struct yk_lane *lane, uint64_t size);
    /* Appends within what was set aside. Returns the mark with which yk_lane_journaled will be
     * called when it stands there: never less than before. */
    uint64_t (*append)(void *arg, struct yk_lane *lane, const struct yk_entry *entry);
    /* Takes a piece of a snapshot; its end is told by yk_lane_kept, but for GIVE_UP. The bundle is
     * the lane's and lent until then. flags: enum yk_keep_flags. */
    void (*keep)(void *arg, struct yk_lane *lane, struct yk_bundle *bundle, uint32_t flags);
    /* Of a clustered lane: to that node (index in the register); it may be lost. The message is
     * lent. */
    void (*copy)(void *arg, struct yk_lane *lane, uint32_t node, const struct yk_copy *message);
};

struct yk_lane_config {
    const struct yk_world *world;
    struct yk_stack *stack; /* taken on success */
    bool is_shut;           /* the stack is not open, what it holds is damaged: refuse everything */
    enum yk_durability durability;
    struct yk_ring ring;
    uint32_t lane;
    uint32_t bucket_index;
    /* 1 .. 2^24 - 1, raised at every start of the node, so versions never repeat: of each slot of
     * the bucket, by its number; NULL: all have `epoch`. Looked at by yk_lane_new only. */
    const uint32_t *epochs;
    uint64_t epoch;
    /* One of several nodes: epochs come by yk_lane_view, and nobody is served before. */
    bool is_clustered;
    enum yk_acks acks;
    uint64_t nonce;       /* of this start of the node */
    uint32_t incarnation; /* of this lane */
    int64_t lease_us, grace_us;
    uint32_t mutant; /* for tests, see struct yk_replica_setup */
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

/* With a journal. What was appended up to this mark stands in it, behind position at the earliest;
 * run the lane afterwards. */
void yk_lane_journaled(struct yk_lane *lane, uint64_t mark, uint64_t position);
/* Begins a checkpoint, and runs; false: not now. */
bool yk_lane_checkpoint(struct yk_lane *lane, uint64_t now_ms);
/* result: of the piece. ESTOPPED: the node ends, the snapshot is to be given up. */
void yk_lane_kept(struct yk_lane *lane, enum yk_err result, uint64_t now_ms);
bool yk_lane_has_checkpoint(const struct yk_lane *lane);
bool yk_lane_is_stopped(const struct yk_lane *lane); /* until the node starts again */
/* Where the log begins that a restart would need for this lane; UINT64_MAX: it needs none. */
uint64_t yk_lane_needed_from(const struct yk_lane *lane);
/* At the end of a node, by any thread that may block: a last checkpoint, where that is a sync.
 * YK_OK: a restart needs nothing of the journal. */
enum yk_err yk_lane_settle(struct yk_lane *lane) YK_MUST_CHECK;

/* Recovery: before the first op, by any thread that may block. First what the engine says of
 * itself, or a snapshot; then the journal, oldest first. ECORRUPT: a page is damaged. */
enum yk_err yk_lane_recover(struct yk_lane *lane) YK_MUST_CHECK;
/* The entry is lent. From a snapshot: position is UINT64_MAX. What the lane has already is left
 * out. */
enum yk_err yk_lane_replay(struct yk_lane *lane, const struct yk_entry *entry, uint64_t position,
                           uint64_t now_ms) YK_MUST_CHECK;
/* What was collected goes into the engine; *ret_applied changes were made in all. */
enum yk_err yk_lane_recovered(struct yk_lane *lane, uint64_t *ret_applied) YK_MUST_CHECK;
/* After that, and before the first op: a record that comes from elsewhere, with its own CAS unique.
 * It gets a version of the slot's present epoch, and takes the place of what the key had. */
enum yk_err yk_lane_restore(struct yk_lane *lane, struct yk_slice key,
                            const struct yk_record *record) YK_MUST_CHECK;
/* What was collected goes into the engine, and is synced there. A checkpoint is still needed, for
 * a lane with a journal: it will want one. */
enum yk_err yk_lane_restored(struct yk_lane *lane) YK_MUST_CHECK;
/* The engine, for who looks at all that is in it while nothing else is done. */
struct yk_stack *yk_lane_stack(const struct yk_lane *lane);
/* Is the record there for a reader, at that time? */
bool yk_lane_sees(const struct yk_lane *lane, uint32_t slot, const struct yk_record *record,
                  uint64_t now_ms);
bool yk_lane_is_journaled(const struct yk_lane *lane);
bool
yk_lane_waits_for_journal(const struct yk_lane *lane); /* something of it is on its way there */
enum yk_durability yk_lane_durability(const struct yk_lane *lane);
bool yk_lane_needs_snapshots(const struct yk_lane *lane);
bool yk_lane_is_volatile(const struct yk_lane *lane); /* its engine keeps nothing over a close */
/* What it holds is damaged: it refuses everything, and keeps its part of the journal. Before the
 * first op. */
void yk_lane_shut(struct yk_lane *lane);
/* It has none yet on which a restart could build: one is to be made soon. */
void yk_lane_want_checkpoint(struct yk_lane *lane);
bool yk_lane_is_shut(const struct yk_lane *lane);
uint32_t yk_lane_bucket(const struct yk_lane *lane); /* index */

/* Of a clustered lane. Each may leave replicas that have something to send; run the lane
 * afterwards. The view is lent for the call. */
bool yk_lane_is_clustered(const struct yk_lane *lane);
void yk_lane_view(struct yk_lane *lane, const struct yk_view_bucket *view);
void yk_lane_on_append(struct yk_lane *lane, uint32_t from, const struct yk_append *append);
void yk_lane_on_ack(struct yk_lane *lane, uint32_t from, const struct yk_ack *ack);
void yk_lane_on_copy(struct yk_lane *lane, uint32_t from, const struct yk_copy *message);
void yk_lane_refused(struct yk_lane *lane, const struct yk_slot_wish *wish);
void yk_lane_tick(struct yk_lane *lane); /* every quarter of the time between beacons */
/* The next replica that may have something to send, once; NULL: no other. */
struct yk_replica *yk_lane_next_dirty(struct yk_lane *lane);

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
