/* The rules. Each looks first and writes only when nothing speaks against it. */
#include <config.h>

#include "core/manager/rules.h"

#include <glib.h>

#include "core/base/assert.h"

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

/* A node registers its new nonce before it acknowledges or proposes anything in the bucket. */
static enum yk_refusal
register_node(struct yk_bucket_register *bucket, const struct yk_proposal *proposal)
{
    uint32_t index = yk_bucket_register_find(bucket, proposal->node);
    struct yk_register_node *node = &bucket->nodes[index];
    YK_ASSERT(proposal->n_lanes > 0 && proposal->n_lanes <= YK_LANES_MAX);
    YK_ASSERT(strlen(proposal->node) == YK_UUID_SIZE - 1);
    if (proposal->nonce == 0) {
        return YK_REFUSAL_BAD_NONCE;
    }
    if (index == YK_NODES_MAX) {
        return YK_REFUSAL_TOO_MANY_NODES;
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
    memcpy(node->incarnations, proposal->incarnations,
           proposal->n_lanes * sizeof(*proposal->incarnations));
    return YK_REFUSAL_NONE;
}

/* Every one of them is registered with a newer incarnation than it had here: it has forgotten. */
static bool
all_forgot(const struct yk_bucket_register *bucket, uint32_t slot, const struct yk_member *members,
           uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct yk_register_node *node = &bucket->nodes[members[i].node];
        if (yk_register_incarnation(node, slot) <= members[i].incarnation) {
            return false;
        }
    }
    return true;
}

static bool
is_forgotten(const struct yk_bucket_register *bucket, uint32_t index)
{
    const struct yk_slot_record *slot = &bucket->slots[index];
    return all_forgot(bucket, index, slot->members, slot->n_members) &&
           all_forgot(bucket, index, slot->eligible, slot->n_eligible);
}

static bool
is_alone(const struct yk_slot_record *slot, uint32_t node)
{
    return slot->n_members == 1 && slot->n_eligible == 0 && slot->members[0].node == node;
}

/* A slot whose only member is that node. */
static struct yk_slot_record
slot_of_one(const struct yk_bucket_register *bucket, uint32_t slot, uint32_t node, uint32_t epoch)
{
    return (struct yk_slot_record){
        .epoch = epoch,
        .primary = node,
        .nonce = bucket->nodes[node].nonce,
        .n_members = 1,
        .members = {{node, yk_register_incarnation(&bucket->nodes[node], slot)}}};
}

static bool
has_same_form(const struct yk_bucket_description *a, const struct yk_bucket_description *b)
{
    bool is_same =
        a->slots == b->slots && strcmp(a->engine, b->engine) == 0 && a->n_filters == b->n_filters;
    for (uint32_t i = 0; is_same && i < a->n_filters; i++) {
        is_same = strcmp(a->filters[i], b->filters[i]) == 0;
    }
    return is_same;
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
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        const struct yk_slot_record *slot = &bucket->slots[i];
        if (slot->epoch > 0 && !is_alone(slot, node)) {
            return YK_REFUSAL_NOT_ALONE;
        }
        if (!is_forgotten(bucket, i)) {
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
        fresh.slots[i] = slot_of_one(&fresh, i, node, epoch + 1);
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
        slot->n_eligible = empties_eligible ? 0 : slot->n_eligible;
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
    if (!has_same_form(now, next)) {
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

/* A slot's rule: bucket, the slot that is meant, the proposer's index. */
typedef enum yk_refusal (*slot_rule_fn)(struct yk_bucket_register *bucket,
                                        const struct yk_slot_proposal *proposal, uint32_t node);

static enum yk_refusal
create(struct yk_bucket_register *bucket, const struct yk_slot_proposal *proposal, uint32_t node)
{
    struct yk_slot_record *slot = &bucket->slots[proposal->slot];
    if (slot->epoch > 0) {
        return YK_REFUSAL_CREATED;
    }
    if (proposal->epoch == 0 || proposal->epoch > YK_EPOCH_MAX) {
        return YK_REFUSAL_BAD_EPOCH;
    }
    *slot = slot_of_one(bucket, proposal->slot, node, proposal->epoch);
    return YK_REFUSAL_NONE;
}

/* R1: what changes a slot names its epoch, and makes it the next one, or a greater one: a restore
 * begins above all that it restores. */
static enum yk_refusal
check_epoch(const struct yk_slot_record *slot, const struct yk_slot_proposal *proposal)
{
    return slot->epoch == 0                 ? YK_REFUSAL_NOT_CREATED
           : slot->epoch != proposal->epoch ? YK_REFUSAL_OTHER_EPOCH
           : slot->epoch == YK_EPOCH_MAX || proposal->epoch_min > YK_EPOCH_MAX
               ? YK_REFUSAL_NO_EPOCH_LEFT
               : YK_REFUSAL_NONE;
}

/* The node among the members, or NULL. */
static struct yk_member *
member_find(struct yk_slot_record *slot, uint32_t node)
{
    for (uint32_t i = 0; i < slot->n_members; i++) {
        if (slot->members[i].node == node) {
            return &slot->members[i];
        }
    }
    return NULL;
}

static void
take_epoch(const struct yk_bucket_register *bucket, struct yk_slot_record *slot, uint32_t primary,
           uint32_t epoch_min)
{
    slot->epoch = MAX(slot->epoch + 1, epoch_min);
    slot->primary = primary;
    slot->nonce = bucket->nodes[primary].nonce;
}

static enum yk_refusal
bump(struct yk_bucket_register *bucket, const struct yk_slot_proposal *proposal, uint32_t node)
{
    struct yk_slot_record *slot = &bucket->slots[proposal->slot];
    enum yk_refusal refusal = check_epoch(slot, proposal);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    if (slot->primary != node) {
        return YK_REFUSAL_NOT_PRIMARY;
    }
    if (member_find(slot, node)->incarnation !=
        yk_register_incarnation(&bucket->nodes[node], proposal->slot)) {
        return YK_REFUSAL_LOST;
    }
    take_epoch(bucket, slot, node, proposal->epoch_min);
    return YK_REFUSAL_NONE;
}

static enum yk_refusal
reinit(struct yk_bucket_register *bucket, const struct yk_slot_proposal *proposal, uint32_t node)
{
    struct yk_slot_record *slot = &bucket->slots[proposal->slot];
    enum yk_refusal refusal = check_epoch(slot, proposal);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    if (bucket->description.durability != YK_DURABILITY_MEMORY) {
        return YK_REFUSAL_KEEPS;
    }
    if (member_find(slot, node) == NULL) {
        return YK_REFUSAL_NOT_MEMBER;
    }
    if (!is_forgotten(bucket, proposal->slot)) {
        return YK_REFUSAL_NOT_LOST;
    }
    for (uint32_t i = 0; i < slot->n_members; i++) {
        struct yk_member *member = &slot->members[i];
        member->incarnation = yk_register_incarnation(&bucket->nodes[member->node], proposal->slot);
    }
    slot->n_eligible = 0;
    take_epoch(bucket, slot, node, proposal->epoch_min);
    return YK_REFUSAL_NONE;
}

static enum yk_refusal
accept_loss(struct yk_bucket_register *bucket, const struct yk_slot_proposal *proposal,
            uint32_t node)
{
    struct yk_slot_record *slot = &bucket->slots[proposal->slot];
    enum yk_refusal refusal = check_epoch(slot, proposal);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    if (!is_alone(slot, node)) {
        return YK_REFUSAL_NOT_ALONE;
    }
    uint32_t present = yk_register_incarnation(&bucket->nodes[node], proposal->slot);
    if (slot->members[0].incarnation != proposal->dead || proposal->dead == present) {
        return YK_REFUSAL_NOT_LOST;
    }
    slot->members[0].incarnation = present;
    slot->is_lossy = true;
    take_epoch(bucket, slot, node, proposal->epoch_min);
    return YK_REFUSAL_NONE;
}

static const slot_rule_fn slot_rules[] = {
    [YK_PROPOSE_CREATE] = create,
    [YK_PROPOSE_BUMP] = bump,
    [YK_PROPOSE_REINIT] = reinit,
    [YK_PROPOSE_ACCEPT_LOSS] = accept_loss,
};

enum yk_refusal
yk_manager_judge(struct yk_bucket_register *bucket, struct yk_proposal *proposal)
{
    if (proposal->kind == YK_PROPOSE_REGISTER) {
        return register_node(bucket, proposal);
    }
    uint32_t node = yk_bucket_register_find(bucket, proposal->node);
    if (node == bucket->n_nodes) {
        return YK_REFUSAL_UNKNOWN_NODE;
    }
    if (proposal->nonce != bucket->nodes[node].nonce) {
        return YK_REFUSAL_OLD_NONCE;
    }
    if (proposal->kind == YK_PROPOSE_DESCRIBE) {
        return describe(bucket, proposal->description, node);
    }
    YK_ASSERT((size_t)proposal->kind < G_N_ELEMENTS(slot_rules));
    for (uint32_t i = 0; i < proposal->n_slots; i++) {
        struct yk_slot_proposal *slot = &proposal->slots[i];
        slot->refusal = slot->slot < bucket->description.slots
                            ? slot_rules[proposal->kind](bucket, slot, node)
                            : YK_REFUSAL_NO_SUCH_SLOT;
    }
    return YK_REFUSAL_NONE;
}
