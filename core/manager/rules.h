/* The rules of reconfiguration: what may become of a bucket's register. One pure function, which a
 * manager asks before each compare-and-swap. R1 to R8 are those of the replication protocol.
 *
 * A proposal comes from one node and is of one kind; kinds that are about slots name any number of
 * them, and each slot is granted or refused by itself. What is refused leaves the register, or the
 * slot, as it was.
 *
 *     kind         rule  what it does
 *     REGISTER           notes the nonce and the incarnations of the proposer's new start
 *     DESCRIBE           changes the description; every slot gets a new epoch where what it
 * promises changes (copies, min_copies, durability) CREATE             the first epoch of a slot;
 * the proposer is its only member BUMP         R4    the recorded primary takes a new epoch after a
 * restart REINIT       R8    every member of a slot of durability memory has forgotten it: the same
 *                        members begin again with nothing, the proposer as primary
 *     ACCEPT_LOSS  R7    the only member goes on with what is left of its data; the slot is lossy
 *
 * A kind is added by a line in the enum and a function in the table of rules.c.
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
    YK_PROPOSE_REINIT,
    YK_PROPOSE_ACCEPT_LOSS,
};

struct yk_slot_proposal {
    uint32_t slot;
    uint32_t epoch;          /* R1: the one that the slot has; CREATE: the one that it is to get */
    uint32_t dead;           /* ACCEPT_LOSS: the incarnation that will never come back */
    enum yk_refusal refusal; /* out */
    uint32_t epoch_min;      /* the one that it gets is at least this; 0: the next one */
};

struct yk_proposal {
    enum yk_proposal_kind kind;
    const char *node; /* the proposer's UUID */
    uint64_t nonce;   /* of its present start; all but REGISTER: it must be the one registered */
    const uint32_t *incarnations; /* REGISTER: one for each of its lanes */
    uint32_t n_lanes;
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
