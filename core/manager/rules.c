/* The rules. Each looks first and writes only when nothing speaks against it. */
#include <config.h>

#include "core/manager/rules.h"

#include <glib.h>

#include "core/base/assert.h"
#include "core/manager/describe.h"
#include "core/manager/slot_rules.h"

const char *
yk_refusal_text(enum yk_refusal refusal)
{
    static const char *const texts[] = {
#define YK_REFUSAL(name, text) text,
#include "core/manager/refusals.def"
#undef YK_REFUSAL
    };
    YK_ASSERT((size_t)refusal < G_N_ELEMENTS(texts));
    return texts[refusal];
}

/* The whole register */

/* ★ Every rule is judged from the one register that it writes: so a node registers its new nonce
 * here before it acknowledges or proposes anything in the bucket. ★ It names the nonce that it
 * replaces, so that what an earlier start sent, and what comes late, never undoes a later one. */
static enum yk_refusal
register_node(struct yk_bucket_register *bucket, const struct yk_proposal *proposal)
{
    uint32_t index = yk_bucket_register_find(bucket, proposal->node);
    struct yk_register_node *node = &bucket->nodes[index];
    YK_ASSERT(proposal->n_lanes > 0 && proposal->n_lanes <= YK_LANES_MAX);
    YK_ASSERT(proposal->n_workers <= YK_WORKERS_MAX);
    YK_ASSERT(strlen(proposal->node) == YK_UUID_SIZE - 1);
    if (proposal->nonce == 0) {
        return YK_REFUSAL_BAD_NONCE;
    }
    if (index == YK_NODES_MAX) {
        return YK_REFUSAL_TOO_MANY_NODES;
    }
    uint64_t present = index < bucket->n_nodes ? node->nonce : 0;
    if (present != proposal->nonce && present != proposal->replaces) {
        return YK_REFUSAL_OLD_NONCE;
    }
    if (index < bucket->n_nodes && node->n_lanes != proposal->n_lanes) {
        return YK_REFUSAL_OTHER_LANES;
    }
    for (uint32_t i = 0; index < bucket->n_nodes && i < node->n_lanes; i++) {
        /* An older copy of the node's folder has come back. */
        if (proposal->incarnations[i] < node->incarnations[i]) {
            return YK_REFUSAL_OLD_INCARNATION;
        }
    }
    if (index == bucket->n_nodes) {
        bucket->n_nodes++;
    }
    memcpy(node->id, proposal->node, YK_UUID_SIZE);
    node->nonce = proposal->nonce;
    node->n_lanes = proposal->n_lanes;
    node->n_workers = proposal->n_workers;
    memcpy(node->incarnations, proposal->incarnations,
           proposal->n_lanes * sizeof(*proposal->incarnations));
    return YK_REFUSAL_NONE;
}

/* Another number of slots, another engine or other filters: only for data that is gone. The slots
 * begin again above every epoch that any of them had. */
static enum yk_refusal
reshape(struct yk_bucket_register *bucket, const struct yk_bucket_description *next, uint32_t node)
{
    char error[YK_ERROR_SIZE];
    uint32_t epoch = 0;
    if (bucket->description.durability != YK_DURABILITY_MEMORY) {
        return YK_REFUSAL_KEEPS;
    }
    if (node == YK_NODES_MAX) {
        return YK_REFUSAL_NOT_ALONE;
    }
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        const struct yk_slot_record *slot = &bucket->slots[i];
        if (slot->epoch > 0 && !yk_slot_is_alone(slot, node)) {
            return YK_REFUSAL_NOT_ALONE;
        }
        if (!yk_slot_is_forgotten(bucket, i)) {
            return YK_REFUSAL_NOT_LOST;
        }
        epoch = MAX(epoch, slot->epoch);
    }
    if (epoch == YK_EPOCH_MAX) {
        return YK_REFUSAL_NO_EPOCH_LEFT;
    }
    struct yk_bucket_register fresh;
    enum yk_err result = yk_bucket_register_init(&fresh, next, error);
    if (result != YK_OK) {
        return result == YK_ENOMEM ? YK_REFUSAL_NO_MEMORY : YK_REFUSAL_TOO_LARGE;
    }
    memcpy(fresh.nodes, bucket->nodes, bucket->n_nodes * sizeof(*bucket->nodes));
    fresh.n_nodes = bucket->n_nodes;
    for (uint32_t i = 0; i < next->slots; i++) {
        fresh.slots[i] = yk_slot_of_one(&fresh, i, node, epoch + 1);
    }
    yk_bucket_register_done(bucket);
    *bucket = fresh;
    return YK_REFUSAL_NONE;
}

/* What is promised of a record has changed: nobody may go on by the old promise. */
static enum yk_refusal
raise_epochs(struct yk_bucket_register *bucket, bool empties_eligible)
{
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        if (bucket->slots[i].epoch == YK_EPOCH_MAX) {
            return YK_REFUSAL_NO_EPOCH_LEFT;
        }
    }
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        struct yk_slot_record *slot = &bucket->slots[i];
        slot->epoch += slot->epoch > 0;
        /* From here on fewer members commit, of which an eligible one knows nothing. Where every
         * member has forgotten the slot none of them can, and an eligible one is all that is left.
         */
        if (empties_eligible && !yk_slot_is_lost(bucket, i)) {
            slot->n_eligible = 0;
        }
    }
    return YK_REFUSAL_NONE;
}

static enum yk_refusal
describe(struct yk_bucket_register *bucket, const struct yk_bucket_description *next, uint32_t node)
{
    const struct yk_bucket_description *now = &bucket->description;
    if (next->copies == 0 || next->copies > YK_COPIES_MAX || next->min_copies == 0 ||
        next->min_copies > next->copies || next->slots == 0 || next->slots > YK_SLOTS_MAX ||
        (next->slots & (next->slots - 1)) != 0) {
        return YK_REFUSAL_BAD_DESCRIPTION;
    }
    if (yk_bucket_register_size_max(next) > YK_REGISTER_SIZE_MAX) {
        return YK_REFUSAL_TOO_LARGE;
    }
    if (!yk_bucket_has_form(now, next)) {
        return reshape(bucket, next, node);
    }
    enum yk_refusal refusal = YK_REFUSAL_NONE;
    if (now->copies != next->copies || now->min_copies != next->min_copies ||
        now->durability != next->durability) {
        refusal = raise_epochs(bucket, next->min_copies < now->min_copies);
    }
    if (refusal == YK_REFUSAL_NONE) {
        bucket->description = *next;
    }
    return refusal;
}

/* Slots */

/* The proposer's index; YK_NODES_MAX: a manager proposes. */
static enum yk_refusal
find_proposer(const struct yk_bucket_register *bucket, const struct yk_proposal *proposal,
              uint32_t *ret_node)
{
    if (proposal->node == NULL) {
        *ret_node = YK_NODES_MAX;
        return proposal->kind == YK_PROPOSE_DESCRIBE || yk_slot_rule_is_open(proposal->kind)
                   ? YK_REFUSAL_NONE
                   : YK_REFUSAL_UNKNOWN_NODE;
    }
    *ret_node = yk_bucket_register_find(bucket, proposal->node);
    if (*ret_node == bucket->n_nodes) {
        return YK_REFUSAL_UNKNOWN_NODE;
    }
    /* R3 ★, and so for every kind: with the nonce last registered. A PROMOTE that was held up while
     * its node started again would else be granted after that node has acknowledged anew. */
    if (proposal->nonce != bucket->nodes[*ret_node].nonce) {
        return YK_REFUSAL_OLD_NONCE;
    }
    return YK_REFUSAL_NONE;
}

enum yk_refusal
yk_manager_judge(struct yk_bucket_register *bucket, struct yk_proposal *proposal)
{
    uint32_t node;
    YK_ASSERT(proposal->kind < YK_PROPOSE_KINDS);
    if (proposal->kind == YK_PROPOSE_REGISTER) {
        return register_node(bucket, proposal);
    }
    enum yk_refusal refusal = find_proposer(bucket, proposal, &node);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    if (proposal->kind == YK_PROPOSE_DESCRIBE) {
        return describe(bucket, proposal->description, node);
    }
    for (uint32_t i = 0; i < proposal->n_slots; i++) {
        struct yk_slot_proposal *slot = &proposal->slots[i];
        slot->refusal = yk_slot_judge(bucket, proposal->kind, slot, node);
    }
    return YK_REFUSAL_NONE;
}
