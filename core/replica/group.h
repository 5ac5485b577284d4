/* Between the files of the replica machine: replica.c, primary.c and backup.c.
 *
 * Threads: see replica.h. Ownership: see replica.h. */
#ifndef YK_REPLICA_GROUP_H
#define YK_REPLICA_GROUP_H

#include "core/replica/replica.h"

/* Rules that a test may leave out, to see that their absence is noticed. */
enum replica_mutant {
    MUTANT_NONE,
    MUTANT_PENDING_ADD,       /* commit ignores a pending ADD */
    MUTANT_PROMISE,           /* a backup answers while its PROMOTE is under way */
    MUTANT_RESTART_WAIT,      /* a restarted backup does not wait G */
    MUTANT_RECONCILE,         /* a new primary serves at once */
    MUTANT_LEASE,             /* reads without leases */
    MUTANT_EARLY_DROP,        /* a slow backup is not waited for */
    MUTANT_JOURNAL,           /* answers before the journal has it */
    MUTANT_PREV,              /* the entry before is not compared */
    MUTANT_INCARNATION,       /* one that has forgotten counts as the one it was */
    MUTANT_RESUME,            /* a restarted primary goes on in its epoch */
    MUTANT_CANCEL_ADD,        /* an ADD is taken back without another epoch */
    MUTANT_PENDING_ADD_LEASE, /* a lease need not hold from a pending ADD */
    MUTANT_MIN_COPIES,        /* commits go on below min_copies */
    MUTANT_BEGINS,            /* what is older than a REINIT is kept */
    MUTANT_CONFIRM,           /* a confirmed read does not wait for the answers */
    MUTANTS_OF_SLOTS,
    MUTANT_TOKENS = MUTANTS_OF_SLOTS, /* what comes again is done again */
    MUTANT_WINDOW,                    /* or where the log does not reach back so far */
    MUTANT_OUTDATED,                  /* so is what was sent to an earlier reign */
    MUTANTS,
};

bool replica_is_member(const struct yk_replica *replica); /* with its own incarnation */
void replica_wish(struct yk_replica *replica, enum yk_wish_kind kind, uint32_t node,
                  uint32_t incarnation, int64_t now_us);
void replica_commit(struct yk_replica *replica, uint64_t version);
void replica_trim(struct yk_replica *replica);

/* primary.c */
void replica_reign(struct yk_replica *replica, bool goes_on, int64_t now_us);
void replica_advance(struct yk_replica *replica);
void replica_tick_primary(struct yk_replica *replica, int64_t now_us);

/* backup.c */
void replica_ack_journaled(struct yk_replica *replica);

#endif
