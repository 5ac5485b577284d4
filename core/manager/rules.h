/* The rules of reconfiguration: what may become of a bucket's register. One pure function, which a
 * manager asks before each compare-and-swap. R1 to R8 are those of the replication protocol.
 *
 * A proposal comes from one node and is of one kind; kinds that are about slots name any number of
 * them, and each slot is granted or refused by itself. What is refused leaves the register, or the
 * slot, as it was.
 *
 *     kind         rule    by        what it does
 *     REGISTER             itself    notes nonce, incarnations and workers of the proposer's start
 *     DESCRIBE             anybody   changes the description; every slot gets a new epoch where
 *                                    what it promises changes (copies, min_copies, durability)
 *     CREATE               anybody   the first epoch of a slot: its members, the first the primary
 *     BUMP         R4      primary   takes a new epoch after a restart
 *     REMOVE       R2      primary   a member leaves; it may stay eligible
 *     ADD          R2, R5  primary   a node that has caught up becomes a member
 *     PROMOTE      R3      member    becomes primary in the place of the present one, which leaves
 *                          eligible  becomes the only member, when all members have forgotten
 *     HANDOFF      R6      primary   makes another member the primary, and stays a member
 *     REINIT       R8      member    every member of a slot of durability memory has forgotten it:
 *                                    the same members begin again with nothing
 *     ACCEPT_LOSS  R7      operator  a node goes on alone with what it has; the slot is lossy
 *     TARGET               anybody   which nodes are to become members; no new epoch
 *
 * R1: what is about a slot names its epoch; what is granted gives it the next one, TARGET alone
 * excepted. So of two proposals in one epoch one is refused, and so is one that comes late or
 * twice.
 *
 * A member counts as what it was recorded for only while the incarnation that it registered last is
 * the one that was recorded: a node that has lost a lane's data is refused there, whoever proposes.
 *
 * A kind is added by a line in the enum and a function in the table of slot_rules.c.
 *
 * Threads: pure. Ownership: a proposal borrows what it points to; the register is the caller's. */
#ifndef YK_MANAGER_RULES_H
#define YK_MANAGER_RULES_H

#include "core/ring/register.h"

enum yk_refusal {
#define YK_REFUSAL(name, text) YK_REFUSAL_##name,
#include "core/manager/refusals.def"
#undef YK_REFUSAL
};

enum yk_proposal_kind {
    YK_PROPOSE_REGISTER,
    YK_PROPOSE_DESCRIBE,
    YK_PROPOSE_CREATE,
    YK_PROPOSE_BUMP,
    YK_PROPOSE_REMOVE,
    YK_PROPOSE_ADD,
    YK_PROPOSE_PROMOTE,
    YK_PROPOSE_HANDOFF,
    YK_PROPOSE_REINIT,
    YK_PROPOSE_ACCEPT_LOSS,
    YK_PROPOSE_TARGET,
    YK_PROPOSE_KINDS,
};

struct yk_slot_proposal {
    uint32_t slot;
    uint32_t epoch;          /* R1: the one that the slot has; CREATE: the one that it is to get */
    uint32_t dead;           /* ACCEPT_LOSS: the incarnation recorded for the primary, which will
                                never come back */
    enum yk_refusal refusal; /* out */
    uint32_t epoch_min; /* of a restore: the epoch that it gets is at least this; 0: the next */
    /* Whom it is about, by their indexes in the register, which are never given to another node.
     * REMOVE, ADD, HANDOFF: one. TARGET: all of them. CREATE: the members, the primary first;
     * ACCEPT_LOSS: one, that is to go on; with both, none means the proposer. */
    uint32_t n_nodes;
    uint8_t nodes[YK_MEMBERS_MAX];
    uint32_t incarnation; /* ADD, HANDOFF: of that node */
    uint64_t node_nonce;  /* HANDOFF: of that node's present start */
};

struct yk_proposal {
    enum yk_proposal_kind kind;
    /* The proposer's UUID. NULL, where anybody may propose it: a manager, for an operator or by its
     * plan. */
    const char *node;
    uint64_t nonce; /* of its present start; all but REGISTER: it must be the one registered */
    /* REGISTER: the nonce that the register has of this node, 0 if it has none. */
    uint64_t replaces;
    const uint32_t *incarnations; /* REGISTER: one for each of its lanes */
    uint32_t n_lanes;
    uint32_t n_workers; /* REGISTER: of its present start; 0: not told */
    const struct yk_bucket_description *description; /* DESCRIBE */
    struct yk_slot_proposal *slots;                  /* the others */
    uint32_t n_slots;
};

/* Makes of the register what the proposal asks, as far as the rules allow. A result other than NONE
 * refuses the whole; else each of the slots has its own. */
enum yk_refusal yk_manager_judge(struct yk_bucket_register *bucket, struct yk_proposal *proposal);

/* A clause for a message. */
const char *yk_refusal_text(enum yk_refusal refusal);

#endif
