/* The inside of a lane, for the files of this room only.
 *
 * Threads: the lane's, but for what a job calls back on an executor: yk_lane_got and
 * yk_lane_scanned of an engine that is not inline. Ownership: see lane.h. */
#ifndef YK_REPLICA_MACHINE_H
#define YK_REPLICA_MACHINE_H

#include "core/base/promises.h"
#include "core/replica/job.h"
#include "core/replica/overlay.h"
#include "core/replica/recall.h"
#include "core/replica/replica.h"

#define SEQUENCE_MAX ((1ull << YK_SEQUENCE_BITS) - 1)
#define SWEEP_BYTES  (32u * 1024)

/* What a slot knows beyond its records. */
struct slot {
    uint64_t sequence;      /* of the last version given */
    uint64_t epoch;         /* of the versions that are given now */
    uint64_t flush_version; /* records up to this one are absent */
    /* Clustered: so they are for what is judged on, since a flush stands in the log, though it may
     * not be committed; 0: none in this reign. */
    uint64_t flush_prepared;
    uint64_t position; /* with a journal: version of the last committed change */
    uint64_t floor;    /* likewise: the greatest version ever forgotten */
    /* Clustered, of a copy that comes in. */
    bool is_wiping, is_ending;
    uint32_t copy_from, copy_number;
    uint64_t copy_start, copy_flush_version;
    uint64_t wiped_from; /* position in the log of its WIPE, until it has come; else UINT64_MAX */
    struct yk_op_queue verdicts;    /* clustered: refusals that wait for what they were judged on */
    struct yk_op_queue unconfirmed; /* of reads = confirm: wait for the members to be asked */
    int64_t unconfirmed_until_us;   /* if none is let in before; 0: not set */
};

/* The last version that was given, or may have been given before the start. */
static inline uint64_t
slot_last(const struct slot *slot)
{
    return slot->epoch << YK_SEQUENCE_BITS | slot->sequence;
}

/* The flush marks of an engine that keeps its records are kept in it too, in lane records, a page
 * for some slots each. While they are written nothing is judged: so no write can come between.
 *
 *     TO_LOAD -> LOADING -> IDLE -> WAITING (for the writes under way) -> STORING -> IDLE
 */
enum marks_state {
    MARKS_VOLATILE, /* nothing to keep */
    MARKS_TO_LOAD,
    MARKS_LOADING,
    MARKS_IDLE,
    MARKS_WAITING,
    MARKS_STORING,
};

struct marks {
    enum marks_state state;
    uint32_t n_pages;
    uint32_t n_stored;   /* pages that the engine holds */
    uint32_t n_out;      /* pages under way */
    uint32_t n_done;     /* of these, well */
    uint32_t n_tries;    /* to load them */
    enum yk_err result;  /* of those that were not */
    struct yk_op *ops;   /* one for each page */
    uint8_t *keys;       /* what they pin */
    struct yk_op *flush; /* waits for its answer; NULL: a delayed flush has come due */
    uint64_t at_ms;      /* when it is to be */
    bool is_due;         /* it takes place with what is being stored */
    uint64_t retry_ms;   /* not before, after a failure */
};

/* A checkpoint of a journaled lane: from then on the journal before it is not needed.
 *
 *     NONE -> SETTLING (what is committed goes into the engine) -> STORING (pages and sync, a job)
 *                                                              \-> SCANNING <-> KEEPING (a
 * snapshot)
 */
enum checkpoint_state {
    CHECKPOINT_NONE,
    CHECKPOINT_SETTLING,
    CHECKPOINT_STORING,
    CHECKPOINT_SCANNING,
    CHECKPOINT_KEEPING
};

struct checkpoint {
    enum checkpoint_state state;
    uint64_t queue_number;    /* entries queued up to here are to be applied before it */
    struct yk_buffer **pages; /* as of its begin */
    uint64_t needed_next;     /* needed_from after it */
    uint64_t retry_ms;        /* not before, after a failure */
    /* Of a snapshot. */
    struct yk_scan_state *scan;
    struct yk_op *scan_op;
    struct yk_bundle *bundle; /* what a step found */
    bool has_begun, is_failed, is_last;
    uint64_t n_records, size; /* written so far */
};

/* Entries of a clustered lane on their way to the journal, in its order. */
struct wait;
struct waits {
    struct wait *ring; /* own */
    uint32_t first, n, room;
};

/* Changes that recovery collects until there are enough for one call. */
struct recovery;

struct yk_lane {
    struct yk_lane_config config;
    const struct yk_backend_info *info;
    struct slot *slots; /* of this lane: index slot / n_lanes */
    uint32_t n_slots;
    uint64_t now_ms;      /* slot time: never goes back */
    uint64_t flush_at_ms; /* a flush to come, judged by slot time; 0: none */
    struct marks marks;
    bool is_inline; /* the engine answers at once */
    bool has_prefetch;
    bool with_checksum;
    bool is_stopped; /* apply failed: what the engine holds is not known */
    bool is_full;    /* the last apply was refused */
    struct yk_overlay overlay;
    struct yk_op_queue queue; /* submitted */
    /* Likewise, for the jobs that read. A key has its queue and its job: so the reads of a client
     * that does not wait between them stay in order. */
    struct yk_op_queue reads[YK_LANE_READERS];
    struct yk_op_queue scans;   /* SCAN and STATS, one of each in a job */
    struct yk_op_queue decided; /* writes with their record, to be admitted and applied */
    struct yk_job *jobs;        /* the one that writes, then those that read */
    uint32_t n_jobs;
    uint32_t n_errands;

    /* Of an engine that answers at once: room for a record, free, or NULL. So most writes need no
     * allocation. */
    struct yk_buffer *spare;
    struct yk_recall *recall; /* NULL: the engine remembers reads by itself */

    /* With a journal, or with other members. */
    bool is_journaled;           /* writes are prepared, and committed later */
    bool has_log;                /* they go to the journal */
    bool admits_late;            /* the stack admits on another thread: by a job of its own */
    bool waits_room;             /* what is decided found no room beside what is not applied yet */
    bool is_flushing;            /* a flush is on its way to the journal: nothing else begins */
    bool needs_snapshots;        /* what the engine keeps cannot be trusted after every end */
    struct yk_op *flush_op;      /* of a delayed one that is due */
    struct yk_op *flush_waiting; /* for what was taken up before it to be judged */
    uint64_t flush_waiting_ms;   /* when it is to be */
    struct yk_op_queue prepared; /* in the order of the journal */
    struct yk_overlay_entry *unapplied, *unapplied_last, *stuck; /* by next_queued */
    uint32_t n_unapplied, n_stuck;
    uint64_t unapplied_bytes, queue_number;
    uint64_t retry_ms;    /* when what is stuck is tried again */
    uint64_t needed_from; /* position in the log: what is there and behind is not checkpointed */
    uint64_t flush_retry_ms;
    struct checkpoint checkpoint;
    struct recovery *recovery;

    /* With other members. */
    bool is_clustered;
    struct yk_replica_setup replica_setup;
    struct yk_replica *replicas; /* own, as slots */
    struct yk_replica *dirty;    /* may have something to send; by next_dirty */
    struct waits waits;
    enum yk_reads reads_by;
    uint32_t n_unconfirmed; /* ops at the door */
    int64_t ticked_us;

    struct copying *copying; /* own */
    uint64_t n_copies;       /* begun since the start */

    uint64_t n_damaged;     /* records that could not be read */
    uint64_t complained_ms; /* when such a one was last logged */

    /* The sweep. */
    struct yk_scan_state *sweep;
    struct yk_op *sweep_op;
    bool has_mortals; /* records with an end, or flushed ones, were seen since the sweep began */
    bool sweep_is_out;
};

/* Bytes of the prefix that this lane's engine wants in front of a key. */
static inline uint32_t
lane_prefix(const struct yk_lane *lane)
{
    return (lane->info->caps & YK_BACKEND_SEGMENTS) ? 0 : 4;
}

static inline struct slot *
lane_slot(const struct yk_lane *lane, uint32_t slot)
{
    return &lane->slots[yk_ring_slot_index(&lane->config.ring, slot)];
}

/* Is the record there for a reader? */
static inline bool
lane_sees(const struct yk_lane *lane, uint32_t slot, const struct yk_record *record)
{
    return (record->marks & YK_RECORD_TOMBSTONE) == 0 &&
           (record->expiry_ms == 0 || record->expiry_ms > (int64_t)lane->now_ms) &&
           record->version > lane_slot(lane, slot)->flush_version;
}

/* Is it there for what is judged now, and stands behind it in the log? */
static inline bool
lane_judges_on(const struct yk_lane *lane, uint32_t slot, const struct yk_record *record)
{
    return lane_sees(lane, slot, record) && record->version > lane_slot(lane, slot)->flush_prepared;
}

/* Has it ended by the time that every later primary will go by? */
bool lane_may_reclaim(const struct yk_lane *lane, uint32_t slot, const struct yk_record *record);

/* Puts slot and generation in front of the pinned key. */
void lane_put_prefix(const struct yk_op *op, uint32_t prefix);

/* The key as the engine wants it. */
static inline struct yk_key
lane_key(const struct yk_lane *lane, const struct yk_op *op)
{
    uint32_t prefix = lane_prefix(lane);
    if (prefix > 0) {
        lane_put_prefix(op, prefix);
    }
    return (struct yk_key){.data = (const uint8_t *)op->request.key.data - prefix,
                           .size = (uint32_t)op->request.key.size + prefix,
                           .slot = op->slot,
                           .hash = op->hash};
}

/* lane.c */
void lane_enqueue(struct yk_lane *lane, struct yk_op *op);
void lane_add_get(struct yk_lane *lane, struct yk_job *job, struct yk_op *op);
/* Tells the op what the lane remembers of reads before it; false: that is the engine's business. */
bool lane_recalls(struct yk_lane *lane, struct yk_op *op);
void lane_fill_change(struct yk_lane *lane, const struct yk_op *op, struct yk_change *ret_change);
void lane_advance(struct yk_lane *lane, uint64_t now_ms);

/* slot.c */
void lane_flush_slots(struct yk_lane *lane); /* all records that are there now are absent */

/* marks.c */
enum yk_err lane_marks_init(struct yk_lane *lane) YK_MUST_CHECK;
void lane_marks_done(struct yk_lane *lane);
void lane_flush(struct yk_lane *lane, struct yk_op *op); /* answers it, now or later */
void lane_flush_due(struct yk_lane *lane);               /* looks whether a delayed one has come */
/* Nothing new may be read or judged now. */
static inline bool
lane_marks_bar(const struct yk_lane *lane)
{
    return lane->is_flushing ||
           (lane->marks.state != MARKS_VOLATILE && lane->marks.state != MARKS_IDLE);
}
void lane_marks_store(struct yk_lane *lane); /* WAITING, and no write is under way */
void
lane_marks_loaded(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice page);
void lane_marks_stored(struct yk_lane *lane, struct yk_op *op, enum yk_err result);

/* judge.c */
extern const char lane_stopped_text[], lane_not_primary_text[];
void lane_judge(struct yk_lane *lane, struct yk_op *op, struct yk_slice old); /* empty: no record */
void lane_answer(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text);
void lane_fail_write(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text);
void lane_stop(struct yk_lane *lane, enum yk_err result);
void lane_tell_state(struct yk_lane *lane, const struct yk_job *job);
/* The answer of a write that the log has; what stands there, if the log does not tell it. */
void lane_tell_done(const struct yk_lane *lane, struct yk_op *op, const struct yk_tail_entry *done,
                    struct yk_reply *reply);
void lane_end_write(struct yk_lane *lane, struct yk_op *op, const struct yk_reply *reply);
void lane_finish_kept(struct yk_lane *lane, struct yk_op *op); /* what an executor read for it */
void lane_finish_writes(struct yk_lane *lane, struct yk_job *job);
void lane_finish_write(struct yk_lane *lane, struct yk_op *op); /* it is applied */
/* A read of a key that has a committed record, which the engine may not show yet: it is answered
 * with that. False: there is none. */
bool lane_answer_committed(struct yk_lane *lane, struct yk_op *op);

/* marks.c, of pages */
uint32_t lane_pages(const struct yk_lane *lane);
/* flushes: with all that is there flushed. NULL: no memory. */
struct yk_buffer *
lane_page_make(const struct yk_lane *lane, uint32_t index, uint64_t flush_at_ms, bool flushes);
/* ECORRUPT: it is not that page. */
enum yk_err
lane_page_read(struct yk_lane *lane, uint32_t index, struct yk_slice bytes) YK_MUST_CHECK;

/* Why these bytes cannot be the lane record of that key, of a lane of n_slots; NULL: they can. */
const char *yk_page_judge(uint32_t n_slots, struct yk_slice key, struct yk_slice bytes);

/* prepare.c: writes of a lane that has a journal. */
/* Takes up a write; true: its old record is to be read first. */
bool lane_take_journaled(struct yk_lane *lane, struct yk_op *op);
/* What is decided goes to the journal, if nobody else has to admit it. */
void lane_prepare_all(struct yk_lane *lane);
void lane_prepare(struct yk_lane *lane, struct yk_op *op); /* it is admitted, and has its room */
void lane_prepare_admitted(struct yk_lane *lane, struct yk_op *op); /* it is admitted */
/* A write ends without a change. True: its answer waits for what it was judged on. */
bool lane_holds_verdict(struct yk_lane *lane, struct yk_op *op, const struct yk_reply *reply);
/* The holder is judged: those who wait for the key go on. */
void lane_let_go(struct yk_lane *lane, struct yk_op *op);
/* What is committed and not in the engine; false: nothing is. NULL: a deletion. */
bool lane_find_committed(const struct yk_lane *lane, const struct yk_op *op,
                         struct yk_buffer **ret_record);
/* Of op NULL: a delayed one that is due. */
void lane_flush_journaled(struct yk_lane *lane, struct yk_op *op, uint64_t at_ms);
void lane_push_prepared(struct yk_lane *lane, struct yk_op *op, struct yk_overlay_entry *entry,
                        struct yk_op_queue *queue);
void lane_commit_write(struct yk_lane *lane, struct yk_op *op, struct yk_overlay_entry *entry);
void lane_note_needed(struct yk_lane *lane, uint64_t position);
void lane_unreserve(struct yk_lane *lane, const struct yk_op *op);
/* What the key stands for is what is committed again. */
void lane_forget_prepared(struct yk_lane *lane, struct yk_overlay_entry *entry);
void lane_start_flush(struct yk_lane *lane);     /* where one waits, and nothing is before it */
bool lane_is_behind(const struct yk_lane *lane); /* too much waits to be applied */

/* Is there something admitted that the engine will still be given? */
static inline bool
lane_has_unapplied(const struct yk_lane *lane)
{
    return lane->prepared.first != NULL || lane->n_unapplied > 0;
}

/* apply.c: what is committed goes into the engine. */
void lane_queue_applied(struct yk_lane *lane, struct yk_overlay_entry *entry,
                        struct yk_buffer *record); /* NULL: a deletion */
struct yk_key lane_entry_key(const struct yk_lane *lane, const struct yk_overlay_entry *entry);
/* For an engine that answers at once; where it fails the lane stops. */
void lane_apply_now(struct yk_lane *lane, const struct yk_change *change);
void lane_take_unapplied(struct yk_lane *lane, struct yk_job *job);
void lane_finish_applied(struct yk_lane *lane, struct yk_job *job);
void lane_retry_stuck(struct yk_lane *lane);
void
lane_entry_idle(struct yk_lane *lane, struct yk_overlay_entry *entry); /* forgets it, if it is */

/* checkpoint.c */
enum yk_err lane_checkpoint_init(struct yk_lane *lane) YK_MUST_CHECK;
void lane_checkpoint_done(struct yk_lane *lane);
void lane_checkpoint_step(struct yk_lane *lane); /* goes on, where it can */
bool lane_take_pages(struct yk_lane *lane, struct yk_job *job);
void lane_finish_pages(struct yk_lane *lane, const struct yk_job *job);
bool lane_snapshot_add(struct yk_lane *lane, uint32_t slot, struct yk_slice key,
                       struct yk_slice record); /* false: enough for this step */
void lane_snapshot_scanned(struct yk_lane *lane, const struct yk_job *job);

/* clustered.c */
enum yk_err lane_clustered_init(struct yk_lane *lane) YK_MUST_CHECK;
void lane_clustered_done(struct yk_lane *lane);
/* Is the node the slot's primary; and may it answer for what it has just read? */
bool lane_serves(const struct yk_lane *lane, uint32_t slot);
bool lane_may_answer(const struct yk_lane *lane, uint32_t slot);
/* The same of a GET, which has read. */
bool lane_may_tell(const struct yk_lane *lane, const struct yk_op *op);
/* The replica may have something to send. */
void lane_touch(struct yk_lane *lane, struct yk_replica *replica);
/* An op on a key is taken up: what is read for it from now on counts. False: it is not for this
 * node. */
bool lane_begins(const struct yk_lane *lane, struct yk_op *op);
/* Has the node served the slot since then? */
bool lane_goes_on(const struct yk_lane *lane, const struct yk_op *op);
/* May what was decided go to the other members? Else it is surely not done. */
enum yk_err lane_may_propose(const struct yk_lane *lane, const struct yk_op *op,
                             const char **ret_text) YK_MUST_CHECK;
void lane_propose(struct yk_lane *lane, struct yk_op *op); /* it is admitted, and has its room */
/* ★ Of a write that another node has sent to an earlier reign of this one. */
bool lane_is_outdated(const struct yk_lane *lane, const struct yk_op *op);
/* Of one that comes again and has its key: true: it is answered by what the log says of an earlier
 * try, or is told that this is not known any more. False: it was not done, and never will be. */
bool lane_knows_end(struct yk_lane *lane, struct yk_op *op);
void lane_hold_verdict(struct yk_lane *lane, struct yk_op *op, struct yk_overlay_entry *entry);
void lane_flush_clustered(struct yk_lane *lane, struct yk_op *op, uint64_t at_ms);
void lane_replicas_journaled(struct yk_lane *lane, uint64_t mark, uint64_t position);
/* Position in the log of the first entry that stands there and is not committed. */
uint64_t lane_uncommitted_from(const struct yk_lane *lane);
enum yk_err lane_replay_clustered(struct yk_lane *lane, const struct yk_entry *entry,
                                  uint64_t position) YK_MUST_CHECK;
void lane_recovered_clustered(struct yk_lane *lane);
/* To the journal; false: no room there. */
bool
lane_journal_copy(struct yk_lane *lane, struct yk_replica *replica, const struct yk_entry *entry);
/* Into the engine, whatever it has; false: no room there. */
bool lane_put_copied(struct yk_lane *lane, const struct yk_replica *replica,
                     const struct yk_entry *record);
void lane_drop_key(struct yk_lane *lane, struct yk_slice key);

/* confirm.c */
/* True: it was taken, and comes by lane_enqueue, or ends in ESTALE. */
bool lane_holds_op(struct yk_lane *lane, struct yk_op *op);
void lane_let_in(struct yk_lane *lane, const struct yk_replica *replica);
void lane_turn_away(struct yk_lane *lane, const struct yk_replica *replica); /* all of the slot */
/* Those that have waited as long as a lease would have held. */
void lane_turn_away_late(struct yk_lane *lane, const struct yk_replica *replica, int64_t now_us);

/* copy.c */
enum yk_err lane_copying_init(struct yk_lane *lane) YK_MUST_CHECK;
void lane_copying_done(struct yk_lane *lane);
void lane_copy_wanted(struct yk_lane *lane, const struct yk_replica *replica, uint32_t node,
                      uint32_t incarnation);
void lane_copy_step(struct yk_lane *lane); /* goes on, where it can */
bool lane_copy_is_scan(const struct yk_lane *lane, const struct yk_op *scan);
bool lane_copy_add(struct yk_lane *lane, const struct yk_op *scan, uint32_t slot,
                   struct yk_slice key, struct yk_slice value); /* false: enough for this step */
void lane_copy_scanned(struct yk_lane *lane, const struct yk_job *job);
void lane_copy_ends(struct yk_lane *lane, struct yk_replica *replica);
bool lane_is_void_full(const struct yk_replica *replica); /* it has put off enough */

/* recover.c: what is committed goes on into the engine. */
/* The slot's records so far are void, as the journal has it. */
enum yk_err lane_replay_wipe(struct yk_lane *lane, uint32_t slot) YK_MUST_CHECK;
void lane_recovery_free(struct yk_lane *lane); /* may be NULL */
enum yk_err lane_replay_put(struct yk_lane *lane, const struct yk_entry *entry) YK_MUST_CHECK;
enum yk_err lane_replay_change(struct yk_lane *lane, const struct yk_entry *entry,
                               uint64_t position) YK_MUST_CHECK;

/* sweep.c */
/* Is it the lane's own, and no client's? It has the prefix at least. */
bool lane_is_own_record(const struct yk_lane *lane, const struct yk_key *key);
void lane_finish_scan(struct yk_lane *lane, struct yk_job *job);

#endif
