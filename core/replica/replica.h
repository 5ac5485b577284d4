/* A replica: one slot of a bucket as one node holds it, and its part in the replication protocol:
 * primary, backup or learner. It keeps the tail of the log, says what to send, when an entry is
 * committed, whether a read is legal, and what to ask of the managers.
 *
 *               the register names it, with its own nonce
 *     IDLE ------------------------------------------------> PRIMARY (reconciles, then serves)
 *      | ^                                                    |  ^
 *      v |  a member / no member                   another one v  | BUMP, PROMOTE, granted
 *     BACKUP <------------------------------------------------+--+
 *
 * An IDLE one learns: it takes what the primary sends and is not counted, until it is a member.
 *
 * What it does not know of: engines, keys, operations, connections. Entries are committed in their
 * order by sink.committed; what stands in the journal is told by yk_replica_journaled.
 *
 * Source: PROTOCOL, "Leases", "Writing", "Recovering"; core/replica/README.md.
 * Threads: the lane's. Pure: time comes with the calls, microseconds of a clock that goes on while
 * the machine sleeps (CLOCK_BOOTTIME). Ownership: see each function. */
#ifndef YK_REPLICA_REPLICA_H
#define YK_REPLICA_REPLICA_H

#include "core/replica/tail.h"
#include "core/replica/wish.h"
#include "core/ring/view.h"

#define YK_FOLLOWERS_MAX (YK_COPIES_MAX + 1) /* the other members, and learners */

struct yk_replica;

struct yk_replica_sink {
    void *arg;
    /* A backup's: the entry, now the last of the tail, is to go to the journal. False: it finds no
     * room there; it is taken back. */
    bool (*append)(void *arg, struct yk_replica *replica, const struct yk_tail_entry *entry);
    /* The entries above this version are void. Tells the journal. False: no room there now. */
    bool (*cut)(void *arg, struct yk_replica *replica, uint64_t version);
    /* In order. The waiter is forgotten afterwards. */
    void (*committed)(void *arg, struct yk_replica *replica, struct yk_tail_entry *entry);
    /* Another epoch has begun: what was judged in an earlier one and not appended must not be
     * appended. steps_down: its reign as a primary has ended, though another may have begun;
     * waiters are to be told now that nobody knows. */
    void (*changed)(void *arg, struct yk_replica *replica, bool steps_down);
    /* A learner cannot be brought up by the log: it is to get a copy of all that is committed.
     * Ends by yk_replica_copied; begun again if the learner was lost meanwhile. */
    void (*copy)(void *arg, struct yk_replica *replica, uint32_t node, uint32_t incarnation);
    /* ★ The slot was begun anew, since every member had forgotten it (R8): what is still found here
     * of older epochs is absent from now on. */
    void (*wiped)(void *arg, struct yk_replica *replica);
};

/* What the replicas of a lane have in common. */
struct yk_replica_setup {
    uint32_t self;        /* index in the bucket's register */
    uint64_t nonce;       /* of this start of the node */
    uint32_t incarnation; /* of the lane */
    uint32_t copies, min_copies;
    bool forgets; /* durability memory: all members may have forgotten the slot */
    /* L, G, the time between beacons; L (1 + 2 e) < G. */
    int64_t lease_us, grace_us, beacon_us;
    uint64_t tail_bytes_max;  /* of committed entries that are kept for others */
    uint32_t uncommitted_max; /* entries */
    struct yk_replica_sink sink;
    uint32_t mutant; /* for tests: the rule that is left out, see tests/sim; 0: none */
};

enum yk_replica_role { YK_REPLICA_IDLE, YK_REPLICA_BACKUP, YK_REPLICA_PRIMARY };

enum yk_follower_stage {
    YK_FOLLOWER_PROBED,  /* not known what it has */
    YK_FOLLOWER_COPIED,  /* gets a copy, and the log from its start */
    YK_FOLLOWER_FOLLOWS, /* its log is a beginning of ours, up to matched */
};

/* Another member, or a learner, as the primary sees it. */
struct yk_follower {
    uint32_t node, incarnation; /* of a learner that has not answered: 0 */
    enum yk_follower_stage stage;
    bool is_member, is_lost; /* lost: it holds another incarnation now */
    bool is_late;            /* has not answered for long */
    bool has_to_send;        /* entries, or a beacon */
    bool has_to_tell;  /* that more is committed: with the next tick, if nothing goes before */
    bool has_answered; /* in this epoch */
    uint64_t matched;  /* its log is ours up to there, and stands in its journal */
    uint64_t sent;     /* entries up to here were sent */
    uint64_t copy;     /* the last one that was begun for it; 0: none. Answers are tied to it */
    int64_t lease_us;  /* it seeks no promotion before */
    int64_t heard_us;  /* sent_us of the latest append that it answered, in this reign */
    int64_t acked_us;  /* when it last answered */
    int64_t sent_us;
};

struct yk_append {
    uint16_t slot;
    uint32_t epoch;
    uint32_t incarnation; /* of the receiver; 0: any */
    uint64_t prev;        /* version of the entry before the first */
    uint64_t commit, floor;
    uint64_t copy; /* the copy behind which this goes on; 0: none */
    uint64_t slot_time_ms;
    int64_t sent_us; /* by the primary's clock, and greater than that of every one before it */
    const struct yk_slot_record *record; /* for one that may not know this epoch; or NULL */
    /* With record: of the primary's log all that is above `reign` is of reign_epoch or later. */
    uint64_t reign;
    uint32_t reign_epoch;
    uint32_t n_entries;
    /* One to be sent: of our tail. One that came: bytes that are lent. */
    uint32_t first;
    const struct yk_entry *entries;
};

enum yk_ack_kind {
    YK_ACK_MATCHED,    /* version: up to where the log is the primary's, and in the journal */
    YK_ACK_MISMATCHED, /* version: from where to try again */
    YK_ACK_VOID,       /* what is here is worth nothing: a copy is needed */
    YK_ACK_BEHIND,     /* the epoch is not known here: send the record */
    YK_ACK_AHEAD,      /* here is the record of a later one */
    YK_ACK_OTHER,      /* here is another incarnation */
};

struct yk_ack {
    uint16_t slot;
    enum yk_ack_kind kind;
    uint32_t epoch;       /* of the append; AHEAD: the later one */
    uint32_t incarnation; /* of the sender */
    uint64_t version;
    uint64_t copy;                       /* behind which the log here goes on; 0: none */
    int64_t sent_us;                     /* of the append that it answers; 0: of none, no lease */
    const struct yk_slot_record *record; /* AHEAD */
};

struct yk_replica {
    const struct yk_replica_setup *setup;
    uint16_t slot;
    enum yk_replica_role role;
    bool is_known; /* a manager has answered since the start */
    struct yk_slot_record record;
    struct yk_tail tail;
    uint64_t commit;    /* version of the last committed entry */
    uint64_t journaled; /* the log up to here stands in the journal */
    uint32_t n_cuts;    /* of the log, since the start */
    uint64_t floor;
    uint64_t slot_time_ms; /* greatest that a primary told */
    bool is_time_told;     /* by another, since it was primary: that one may have gone further */
    bool is_void;          /* a copy was begun and has not ended */
    uint64_t copy;         /* the one that came last from this primary; 0: none */

    /* Primary. */
    uint64_t reign; /* version of the last entry at take-over */
    uint32_t reign_epoch;
    bool is_reconciled; /* that is committed */
    uint32_t n_reigns;  /* how often it began to serve */
    int64_t stamp_us;   /* the greatest sent_us so far */
    struct yk_follower followers[YK_FOLLOWERS_MAX];
    uint32_t n_followers;
    uint32_t pending_add; /* node, or YK_NODE_NONE */

    /* Backup, learner. */
    uint64_t verified;   /* the log up to here is the primary's of this epoch */
    uint64_t told_reign; /* the primary's, and the epoch in which it began; 0: not told yet */
    uint32_t told_reign_epoch;
    int64_t heard_us; /* from the primary, or the epoch began */
    bool is_promoting;
    bool has_ack;
    uint32_t ack_to;
    struct yk_ack ack;

    struct yk_wish wish;
    int64_t wished_us, wish_sent_us;

    struct yk_replica *next_dirty; /* the lane's list of those that have something to send */
    bool is_dirty;
};

/* A replica whose log ends, committed, with that version. */
void yk_replica_init(struct yk_replica *replica, const struct yk_replica_setup *setup,
                     uint16_t slot, uint64_t commit, int64_t now_us);
void yk_replica_done(struct yk_replica *replica);

/* A record of the slot, from a manager's answer to a question of this start; or, once there was
 * one, from another node. Older ones are ignored. */
void yk_replica_configure(struct yk_replica *replica, const struct yk_slot_record *record,
                          bool is_from_manager, int64_t now_us);
/* A manager refused the wish of that kind and epoch by the rules. */
void yk_replica_refused(struct yk_replica *replica, enum yk_wish_kind kind, uint32_t epoch,
                        int64_t now_us);

/* Primary and reconciled. */
bool yk_replica_serves(const struct yk_replica *replica);
/* And a write would be taken now. */
bool yk_replica_takes_writes(const struct yk_replica *replica);
/* now_us was taken after the value was read. */
bool yk_replica_may_read(const struct yk_replica *replica, int64_t now_us);
/* Without clocks (ReadIndex of Raft, thesis 6.4): asks all members whether they still follow; what
 * is read once that question is_confirmed, in the same reign, is the newest. serves. */
int64_t yk_replica_ask(struct yk_replica *replica);
bool yk_replica_is_confirmed(const struct yk_replica *replica, int64_t question);
/* Holds what was committed, up to some moment of the past, as a member. */
bool yk_replica_is_whole(const struct yk_replica *replica);
/* A write of the primary, which takes_writes; its journal is the caller's. Takes over the entry. */
enum yk_err
yk_replica_propose(struct yk_replica *replica, const struct yk_tail_entry *entry) YK_MUST_CHECK;
/* The log up to this version stands in the journal, if it was not cut since (n_cuts then). */
void yk_replica_journaled(struct yk_replica *replica, uint64_t version, uint32_t n_cuts);

/* Messages. from: node index. */
void yk_replica_on_append(struct yk_replica *replica, uint32_t from, const struct yk_append *append,
                          int64_t now_us);
void yk_replica_on_ack(struct yk_replica *replica, uint32_t from, const struct yk_ack *ack,
                       int64_t now_us);
/* Time passes; every beacon_us / 4 or so. */
void yk_replica_tick(struct yk_replica *replica, int64_t now_us);

/* What is to be sent, each until false. entries_max and bytes_max bound one append. */
bool yk_replica_take_append(struct yk_replica *replica, int64_t now_us, uint32_t entries_max,
                            uint64_t bytes_max, uint32_t *ret_node, struct yk_append *ret_append);
bool yk_replica_take_ack(struct yk_replica *replica, uint32_t *ret_node, struct yk_ack *ret_ack);
/* A wish that is to be sent (again) now. */
bool yk_replica_take_wish(struct yk_replica *replica, int64_t now_us, struct yk_wish *ret_wish);

/* The primary's: that copy for the learner is of what is committed up to start. A copy is a number
 * that no other copy of the slot has, never 0. */
void
yk_replica_copy_begins(struct yk_replica *replica, uint32_t node, uint64_t copy, uint64_t start);
/* It was given up: what the learner has is to be found out again. */
void yk_replica_copy_failed(struct yk_replica *replica, uint32_t node, uint64_t copy);
/* It has all of it, durably. */
void yk_replica_copied(struct yk_replica *replica, uint32_t node, uint64_t copy);
/* The learner's: all that it held is wiped, a copy comes. */
void yk_replica_wiped(struct yk_replica *replica, uint64_t copy, uint64_t start);
/* It has come, and is as durable as the bucket is. */
void yk_replica_copy_ends(struct yk_replica *replica);

#endif
