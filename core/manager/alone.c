/* The proposals of a node of one, in the order REGISTER, DESCRIBE, slots. */
#include <config.h>

#include "core/manager/alone.h"

#include <stdio.h>

#include <glib.h>

#include "core/manager/rules.h"

static struct yk_proposal
proposal_of(const struct yk_alone *alone, enum yk_proposal_kind kind)
{
    return (struct yk_proposal){.kind = kind,
                                .node = alone->node,
                                .nonce = alone->nonce,
                                .incarnations = alone->incarnations,
                                .n_lanes = alone->n_lanes,
                                .description = alone->description};
}

static enum yk_err
propose_whole(struct yk_bucket_register *bucket, const struct yk_alone *alone,
              enum yk_proposal_kind kind, char *error)
{
    struct yk_proposal proposal = proposal_of(alone, kind);
    uint32_t node = yk_bucket_register_find(bucket, alone->node);
    proposal.replaces = node < bucket->n_nodes ? bucket->nodes[node].nonce : 0;
    enum yk_refusal refusal = yk_manager_judge(bucket, &proposal);
    if (refusal != YK_REFUSAL_NONE) {
        snprintf(error, YK_ERROR_SIZE, "%s: %s",
                 kind == YK_PROPOSE_REGISTER ? "this node cannot register"
                                             : "the config cannot be taken over",
                 yk_refusal_text(refusal));
        return YK_EINVALID;
    }
    return YK_OK;
}

/* What has to be proposed for the slot. */
static enum yk_proposal_kind
kind_for(const struct yk_bucket_register *bucket, uint32_t index, uint32_t node)
{
    const struct yk_slot_record *slot = &bucket->slots[index];
    if (slot->epoch == 0) {
        return YK_PROPOSE_CREATE;
    }
    bool is_held =
        slot->n_members != 1 || slot->members[0].node != node ||
        slot->members[0].incarnation == yk_register_incarnation(&bucket->nodes[node], index);
    return is_held                                                  ? YK_PROPOSE_BUMP
           : bucket->description.durability == YK_DURABILITY_MEMORY ? YK_PROPOSE_REINIT
                                                                    : YK_PROPOSE_ACCEPT_LOSS;
}

/* Proposes that kind for all the slots that need it. */
static enum yk_err
propose_slots(struct yk_bucket_register *bucket, const struct yk_alone *alone,
              enum yk_proposal_kind kind, struct yk_slot_proposal *slots, uint32_t *ret_n,
              char *error)
{
    uint32_t node = yk_bucket_register_find(bucket, alone->node);
    struct yk_proposal proposal = proposal_of(alone, kind);
    proposal.slots = slots;
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        const struct yk_slot_record *slot = &bucket->slots[i];
        if (kind_for(bucket, i, node) == kind) {
            slots[proposal.n_slots++] = (struct yk_slot_proposal){
                .slot = i,
                .epoch = kind == YK_PROPOSE_CREATE ? alone->epoch_min : slot->epoch,
                .epoch_min = alone->is_restore ? alone->epoch_min : 0,
                .dead = slot->members[0].incarnation};
        }
    }
    enum yk_refusal refusal = yk_manager_judge(bucket, &proposal);
    if (refusal != YK_REFUSAL_NONE) {
        snprintf(error, YK_ERROR_SIZE, "no slot can be taken: %s", yk_refusal_text(refusal));
    }
    for (uint32_t i = 0; refusal == YK_REFUSAL_NONE && i < proposal.n_slots; i++) {
        refusal = slots[i].refusal;
        if (refusal != YK_REFUSAL_NONE) {
            snprintf(error, YK_ERROR_SIZE, "slot %u cannot be taken: %s", slots[i].slot,
                     yk_refusal_text(refusal));
        }
    }
    *ret_n = proposal.n_slots;
    return refusal == YK_REFUSAL_NONE ? YK_OK : YK_EINVALID;
}

static enum yk_err
take_slots(struct yk_bucket_register *bucket, const struct yk_alone *alone,
           struct yk_alone_result *result, char *error)
{
    /* REINIT and ACCEPT_LOSS leave slots that BUMP would find in order: it comes first. So does it
     * for those that CREATE makes. */
    const struct {
        enum yk_proposal_kind kind;
        uint32_t *n;
    } steps[] = {{YK_PROPOSE_BUMP, &result->n_bumped},
                 {YK_PROPOSE_REINIT, &result->n_begun_anew},
                 {YK_PROPOSE_ACCEPT_LOSS, &result->n_lossy},
                 {YK_PROPOSE_CREATE, &result->n_created}};
    struct yk_slot_proposal *slots = g_try_new0(struct yk_slot_proposal, bucket->description.slots);
    enum yk_err err = slots != NULL ? YK_OK : YK_ENOMEM;
    if (err != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
    }
    for (size_t i = 0; err == YK_OK && i < G_N_ELEMENTS(steps); i++) {
        err = propose_slots(bucket, alone, steps[i].kind, slots, steps[i].n, error);
    }
    g_free(slots);
    return err;
}

enum yk_err
yk_manager_start_alone(struct yk_bucket_register *bucket, const struct yk_alone *alone,
                       struct yk_alone_result *ret_result, char *error)
{
    struct yk_alone_result result = {0};
    enum yk_err err = YK_OK;
    if (bucket->slots == NULL) {
        err = yk_bucket_register_init(bucket, alone->description, error);
    }
    if (err == YK_OK) {
        err = propose_whole(bucket, alone, YK_PROPOSE_REGISTER, error);
    }
    if (err == YK_OK) {
        err = propose_whole(bucket, alone, YK_PROPOSE_DESCRIBE, error);
    }
    if (err == YK_OK) {
        err = take_slots(bucket, alone, &result, error);
    }
    for (uint32_t i = 0; err == YK_OK && i < bucket->description.slots; i++) {
        result.epoch = MAX(result.epoch, bucket->slots[i].epoch);
    }
    *ret_result = result;
    return err;
}
