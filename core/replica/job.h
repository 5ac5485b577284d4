/* A job: one visit of a lane to its engine, a batch of reads and a batch of changes (internal to
 * the room).
 *
 *     GET -> ADMIT -> APPLY -> SYNC -> SCAN -> FIGURES -> END      each step only if there is
 * something in it
 *
 * Threads: belongs to the thread that runs it, from start to job_done. Ownership: the lane's, used
 * again. */
#ifndef YK_REPLICA_JOB_H
#define YK_REPLICA_JOB_H

#include "core/replica/lane.h"

/* What the changes of a job are: of ops, to be admitted, applied and ended; or with a journal one
 * half of that. */
enum job_mode {
    JOB_WRITES,  /* ops: admit, apply */
    JOB_ADMITS,  /* ops: admit only */
    JOB_APPLIES, /* entries of the overlay, which are committed: apply only */
    JOB_PAGES    /* the pages of a checkpoint: apply, sync */
};

/* Whose change it is. */
union job_owner {
    struct yk_op *op;
    struct yk_overlay_entry *entry;
};

enum job_step { JOB_GET, JOB_ADMIT, JOB_APPLY, JOB_SYNC, JOB_SCAN, JOB_FIGURES, JOB_END };

struct yk_job {
    struct yk_call call; /* first: what an asynchronous engine is given */
    struct call_memory *memory;
    struct yk_lane *lane;
    struct yk_stack *stack;
    enum job_step step;
    enum job_mode mode;
    bool is_out; /* handed out, and not back yet */

    bool syncs;       /* what was applied is to be on the device when the job ends */
    bool has_hints;   /* a read wants to know of earlier ones */
    bool asks_engine; /* which knows of them, not the lane */
    bool is_behind; /* others are admitted and not applied: who finds no room now waits for them */
    bool is_single; /* changes are applied one by one */
    uint32_t single_at, n_single_done;
    bool is_waiting; /* the engine returned EPENDING for this step */
    enum yk_err pending_result;
    bool scan_end;
    uint64_t now_ms;

    uint32_t n_gets;
    uint32_t n_changes;  /* decided */
    uint32_t n_admitted; /* the first of changes, after ADMIT */
    uint32_t
        n_deferred; /* the last of writes: there is no room before the admitted ones are applied */
    struct yk_op *scan; /* or NULL */
    struct yk_op *figures;
    enum yk_err get_result, apply_result, scan_result;
    enum yk_err room_result; /* why an apply was refused as a whole; YK_OK: it was not */

    struct yk_key keys[YK_BATCH_MAX];
    struct yk_op *gets[YK_BATCH_MAX];
    bool is_answered[YK_BATCH_MAX]; /* of gets: by the engine; the op may be gone since */
    struct yk_change changes[YK_BATCH_MAX];
    union job_owner writes[YK_BATCH_MAX]; /* of changes, same index */
    bool is_strange[YK_BATCH_MAX]; /* APPLIES: another node decided it, nobody here has admitted it
                                    */
    union job_owner refused[YK_BATCH_MAX]; /* by admit, or an apply that had no room */
    enum yk_err refusals[YK_BATCH_MAX];
    uint32_t n_refused;
};

/* The answers of the GET step: lane.c. */
void yk_lane_got(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice value);
/* One record of the SCAN step; false: stop before it. */
bool yk_lane_scanned(struct yk_lane *lane, struct yk_job *job, const struct yk_key *key,
                     struct yk_slice value);

void yk_job_init(struct yk_job *job, struct yk_lane *lane, struct yk_stack *stack);
void yk_job_done(struct yk_job *job);
/* Tells the op what the engine remembers of reads before it. */
void yk_op_ask_engine(struct yk_op *op, struct yk_stack *stack, const struct yk_key *key);
/* For an engine that answers at once: what comes of an apply of changes[0], the only one. */
void yk_job_applied(struct yk_job *job, enum yk_err result);
/* Ready for the next batch. */
void yk_job_reset(struct yk_job *job, uint64_t now_ms);
static inline bool
yk_job_is_empty(const struct yk_job *job)
{
    return job->n_gets == 0 && job->n_changes == 0 && job->scan == NULL && job->figures == NULL;
}

#endif
