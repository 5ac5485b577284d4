/* The rules about slots. Each looks first and writes only when nothing speaks against it; what all
 * have in common (the epoch, who leaves which list) comes before and after, in yk_slot_judge. */
#include <config.h>

#include "core/manager/slot_rules.h"

#include <glib.h>

#include "core/base/assert.h"

/* A proposal and what it is about. */
struct slot_case {
    const struct yk_bucket_register *bucket;
    const struct yk_slot_proposal *proposal;
    struct yk_slot_record *slot; /* the bucket's */
    uint32_t node;               /* the proposer; YK_NODES_MAX: a manager */
};

typedef enum yk_refusal (*slot_rule_fn)(const struct slot_case *about);

/* Members, eligible, targets */

static struct yk_member *
find(struct yk_member *members, uint32_t n, uint32_t node)
{
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].node == node) {
            return &members[i];
        }
    }
    return NULL;
}

static struct yk_member *
member_find(struct yk_slot_record *slot, uint32_t node)
{
    return find(slot->members, slot->n_members, node);
}

/* Does nothing where the node is not there. The others keep their order. */
static void
drop(struct yk_member *members, uint32_t *n, uint32_t node)
{
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < *n; i++) {
        if (members[i].node != node) {
            members[n_kept++] = members[i];
        }
    }
    for (uint32_t i = n_kept; i < *n; i++) {
        members[i] = (struct yk_member){0};
    }
    *n = n_kept;
}

static void
drop_target(struct yk_slot_record *slot, uint32_t node)
{
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < slot->n_targets; i++) {
        if (slot->targets[i] != node) {
            slot->targets[n_kept++] = slot->targets[i];
        }
    }
    memset(slot->targets + n_kept, 0, slot->n_targets - n_kept);
    slot->n_targets = n_kept;
}

/* The incarnation that the node registered last for this slot. */
static uint32_t
present(const struct slot_case *about, uint32_t node)
{
    return yk_register_incarnation(&about->bucket->nodes[node], about->proposal->slot);
}

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

bool
yk_slot_is_lost(const struct yk_bucket_register *bucket, uint32_t slot)
{
    return all_forgot(bucket, slot, bucket->slots[slot].members, bucket->slots[slot].n_members);
}

bool
yk_slot_is_forgotten(const struct yk_bucket_register *bucket, uint32_t slot)
{
    return yk_slot_is_lost(bucket, slot) &&
           all_forgot(bucket, slot, bucket->slots[slot].eligible, bucket->slots[slot].n_eligible);
}

bool
yk_slot_is_alone(const struct yk_slot_record *slot, uint32_t node)
{
    return slot->n_members == 1 && slot->n_eligible == 0 && slot->members[0].node == node;
}

struct yk_slot_record
yk_slot_of_one(const struct yk_bucket_register *bucket, uint32_t slot, uint32_t node,
               uint32_t epoch)
{
    return (struct yk_slot_record){
        .epoch = epoch,
        .primary = node,
        .nonce = bucket->nodes[node].nonce,
        .n_members = 1,
        .members = {{node, yk_register_incarnation(&bucket->nodes[node], slot)}}};
}

/* Nobody acts as primary but the start whose nonce is recorded with it (R4). */
static void
make_primary(const struct slot_case *about, uint32_t node)
{
    about->slot->primary = node;
    about->slot->nonce = about->bucket->nodes[node].nonce;
}

/* ★ Commits never advance below min_copies: so who leaves a slot that is then below it holds all
 * that was ever committed, and may be needed, if every member loses its data. One that has lost its
 * own already is not. Where there is no room it is left out: then fewer can help, and nothing is
 * wrong. */
static void
make_eligible(const struct slot_case *about, struct yk_member member)
{
    struct yk_slot_record *slot = about->slot;
    if (slot->n_members < about->bucket->description.min_copies &&
        member.incarnation == present(about, member.node) && slot->n_eligible < YK_MEMBERS_MAX) {
        slot->eligible[slot->n_eligible++] = member;
    }
}

/* Who leaves while there are fewer copies than wanted is to come back, when it can. */
static void
make_target(const struct slot_case *about, uint32_t node)
{
    struct yk_slot_record *slot = about->slot;
    if (slot->n_members + slot->n_targets < about->bucket->description.copies &&
        memchr(slot->targets, (int)node, slot->n_targets) == NULL) {
        slot->targets[slot->n_targets++] = (uint8_t)node;
    }
}

/* The node goes on as the only member; the others may come back with what they have not. */
static void
make_only_member(const struct slot_case *about, uint32_t node)
{
    struct yk_slot_record *slot = about->slot;
    struct yk_slot_record before = *slot;
    memset(slot->members, 0, sizeof(slot->members));
    slot->members[0] = (struct yk_member){node, present(about, node)};
    slot->n_members = 1;
    drop_target(slot, node);
    for (uint32_t i = 0; i < before.n_members; i++) {
        if (before.members[i].node != node) {
            make_target(about, before.members[i].node);
        }
    }
    make_primary(about, node);
}

/* Checks */

/* The proposer is the present primary, by the start that took the slot (R2), and still holds it. */
static enum yk_refusal
check_reign(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    return slot->primary != about->node                             ? YK_REFUSAL_NOT_PRIMARY
           : slot->nonce != about->bucket->nodes[about->node].nonce ? YK_REFUSAL_OTHER_START
           : member_find(slot, about->node)->incarnation != present(about, about->node)
               ? YK_REFUSAL_LOST
               : YK_REFUSAL_NONE;
}

/* The nodes that it names: so many, each in the register, each once. */
static enum yk_refusal
check_nodes(const struct slot_case *about, uint32_t n_min, uint32_t n_max)
{
    const struct yk_slot_proposal *proposal = about->proposal;
    if (proposal->n_nodes < n_min || proposal->n_nodes > n_max) {
        return YK_REFUSAL_BAD_NODES;
    }
    for (uint32_t i = 0; i < proposal->n_nodes; i++) {
        if (proposal->nodes[i] >= about->bucket->n_nodes) {
            return YK_REFUSAL_NO_SUCH_NODE;
        }
        if (memchr(proposal->nodes, proposal->nodes[i], i) != NULL) {
            return YK_REFUSAL_BAD_NODES;
        }
    }
    return YK_REFUSAL_NONE;
}

/* The present primary, about one node. */
static enum yk_refusal
check_primary_names_one(const struct slot_case *about)
{
    enum yk_refusal refusal = check_nodes(about, 1, 1);
    return refusal != YK_REFUSAL_NONE ? refusal : check_reign(about);
}

/* Kinds */

static enum yk_refusal
create(const struct slot_case *about)
{
    const struct yk_slot_proposal *proposal = about->proposal;
    struct yk_slot_record *slot = about->slot;
    if (slot->epoch > 0) {
        return YK_REFUSAL_CREATED;
    }
    if (proposal->epoch == 0 || proposal->epoch > YK_EPOCH_MAX) {
        return YK_REFUSAL_BAD_EPOCH;
    }
    enum yk_refusal refusal =
        check_nodes(about, about->node == YK_NODES_MAX ? 1 : 0, YK_COPIES_MAX);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    *slot =
        yk_slot_of_one(about->bucket, proposal->slot,
                       proposal->n_nodes > 0 ? proposal->nodes[0] : about->node, proposal->epoch);
    for (; slot->n_members < proposal->n_nodes; slot->n_members++) {
        uint32_t node = proposal->nodes[slot->n_members];
        slot->members[slot->n_members] = (struct yk_member){node, present(about, node)};
    }
    return YK_REFUSAL_NONE;
}

/* R4 ★ by the recorded primary after a restart: nobody acts as primary unless the recorded nonce is
 * its own. So does one that gets no answer to its HANDOFF. */
static enum yk_refusal
bump(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    if (slot->primary != about->node) {
        return YK_REFUSAL_NOT_PRIMARY;
    }
    if (member_find(slot, about->node)->incarnation != present(about, about->node)) {
        return YK_REFUSAL_LOST;
    }
    make_primary(about, about->node);
    return YK_REFUSAL_NONE;
}

/* R2 only by the present primary, with the recorded nonce. */
static enum yk_refusal
remove_member(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    enum yk_refusal refusal = check_primary_names_one(about);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    const struct yk_member *member = member_find(slot, about->proposal->nodes[0]);
    if (member == NULL) {
        return YK_REFUSAL_NOT_MEMBER;
    }
    if (member->node == slot->primary) {
        return YK_REFUSAL_IS_PRIMARY;
    }
    struct yk_member left = *member;
    drop(slot->members, &slot->n_members, left.node);
    make_eligible(about, left);
    make_target(about, left.node);
    return YK_REFUSAL_NONE;
}

/* R2 only by the present primary, with the recorded nonce; R5 records the incarnation. ★ It is
 * allowed before the primary has reconciled, or a slot below min_copies never comes back. */
static enum yk_refusal
add_member(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    enum yk_refusal refusal = check_primary_names_one(about);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    uint32_t node = about->proposal->nodes[0];
    if (member_find(slot, node) != NULL) {
        return YK_REFUSAL_IS_MEMBER;
    }
    if (about->proposal->incarnation != present(about, node)) {
        return YK_REFUSAL_OTHER_INCARNATION;
    }
    if (slot->n_members == YK_MEMBERS_MAX) {
        return YK_REFUSAL_TOO_MANY_MEMBERS;
    }
    slot->members[slot->n_members++] = (struct yk_member){node, about->proposal->incarnation};
    return YK_REFUSAL_NONE;
}

/* ★ An eligible node may be behind the members, unless every one of them has come back with
 * nothing: then it holds what was committed, as other eligible nodes do, which stay. */
static enum yk_refusal
promote_eligible(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    const struct yk_member *eligible = find(slot->eligible, slot->n_eligible, about->node);
    if (eligible == NULL) {
        return YK_REFUSAL_NOT_MEMBER;
    }
    if (eligible->incarnation != present(about, about->node)) {
        return YK_REFUSAL_LOST;
    }
    if (!yk_slot_is_lost(about->bucket, about->proposal->slot)) {
        return YK_REFUSAL_NOT_LOST;
    }
    make_only_member(about, about->node);
    return YK_REFUSAL_NONE;
}

/* R3 only by a member with its recorded incarnation, or by the eligible rule; that its nonce is the
 * one last registered has been seen. The old primary leaves. */
static enum yk_refusal
promote(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    const struct yk_member *member = member_find(slot, about->node);
    if (member == NULL) {
        return promote_eligible(about);
    }
    if (slot->primary == about->node) {
        return YK_REFUSAL_IS_PRIMARY;
    }
    if (member->incarnation != present(about, about->node)) {
        return YK_REFUSAL_LOST;
    }
    struct yk_member left = *member_find(slot, slot->primary);
    drop(slot->members, &slot->n_members, left.node);
    make_primary(about, about->node);
    make_eligible(about, left);
    make_target(about, left.node);
    return YK_REFUSAL_NONE;
}

/* R6 ★ it names the incarnation and the nonce of whom it hands over to: a member that has started
 * again since would not know that it is to serve. */
static enum yk_refusal
handoff(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    enum yk_refusal refusal = check_primary_names_one(about);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    uint32_t node = about->proposal->nodes[0];
    const struct yk_member *member = member_find(slot, node);
    if (member == NULL) {
        return YK_REFUSAL_NOT_MEMBER;
    }
    if (node == slot->primary) {
        return YK_REFUSAL_IS_PRIMARY;
    }
    if (about->proposal->incarnation != present(about, node)) {
        return YK_REFUSAL_OTHER_INCARNATION;
    }
    if (member->incarnation != about->proposal->incarnation) {
        return YK_REFUSAL_LOST;
    }
    if (about->proposal->node_nonce != about->bucket->nodes[node].nonce) {
        return YK_REFUSAL_OLD_NONCE;
    }
    make_primary(about, node);
    return YK_REFUSAL_NONE;
}

/* R8 ★ where nothing is kept and everybody has forgotten, the slot begins again. The members stay,
 * as they are registered now; in the new epoch they hold nothing: what a learner among them may
 * have got before is of an older epoch, and falls. */
static enum yk_refusal
reinit(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    if (about->bucket->description.durability != YK_DURABILITY_MEMORY) {
        return YK_REFUSAL_KEEPS;
    }
    if (member_find(slot, about->node) == NULL) {
        return YK_REFUSAL_NOT_MEMBER;
    }
    if (!yk_slot_is_forgotten(about->bucket, about->proposal->slot)) {
        return YK_REFUSAL_NOT_LOST;
    }
    for (uint32_t i = 0; i < slot->n_members; i++) {
        slot->members[i].incarnation = present(about, slot->members[i].node);
    }
    slot->n_eligible = 0;
    make_primary(about, about->node);
    return YK_REFUSAL_NONE;
}

/* R7 what is unclean is an operator's command: that node goes on with what it has, the others are
 * dropped. It names the primary's incarnation as dead, since one that only seems to be away may
 * serve: a lone primary has no lease that runs out, and no other's asks this node. */
static enum yk_refusal
accept_loss(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    enum yk_refusal refusal = check_nodes(about, about->node == YK_NODES_MAX ? 1 : 0, 1);
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    uint32_t node = about->proposal->n_nodes > 0 ? about->proposal->nodes[0] : about->node;
    const struct yk_member *member = member_find(slot, node);
    if (member != NULL && member->incarnation == present(about, node)) {
        return YK_REFUSAL_NOT_LOST; /* it has all that was acknowledged: BUMP or PROMOTE */
    }
    if (member_find(slot, slot->primary)->incarnation != about->proposal->dead) {
        return YK_REFUSAL_NOT_DEAD;
    }
    make_only_member(about, node);
    slot->n_eligible = 0;
    slot->is_lossy = true;
    return YK_REFUSAL_NONE;
}

static enum yk_refusal
target(const struct slot_case *about)
{
    const struct yk_slot_proposal *proposal = about->proposal;
    struct yk_slot_record *slot = about->slot;
    enum yk_refusal refusal = check_nodes(about, 0, YK_MEMBERS_MAX);
    for (uint32_t i = 0; refusal == YK_REFUSAL_NONE && i < proposal->n_nodes; i++) {
        if (member_find(slot, proposal->nodes[i]) != NULL) {
            refusal = YK_REFUSAL_IS_MEMBER;
        }
    }
    if (refusal == YK_REFUSAL_NONE) {
        memset(slot->targets, 0, sizeof(slot->targets));
        memcpy(slot->targets, proposal->nodes, proposal->n_nodes);
        slot->n_targets = proposal->n_nodes;
    }
    return refusal;
}

/* What all have in common */

static const struct {
    slot_rule_fn judge;
    bool is_open;     /* anybody may propose it */
    bool keeps_epoch; /* CREATE has set it, TARGET changes nothing of what it stands for */
} rules[YK_PROPOSE_KINDS] = {
    [YK_PROPOSE_CREATE] = {create, .is_open = true, .keeps_epoch = true},
    [YK_PROPOSE_BUMP] = {bump},
    [YK_PROPOSE_REMOVE] = {remove_member},
    [YK_PROPOSE_ADD] = {add_member},
    [YK_PROPOSE_PROMOTE] = {promote},
    [YK_PROPOSE_HANDOFF] = {handoff},
    [YK_PROPOSE_REINIT] = {reinit},
    [YK_PROPOSE_ACCEPT_LOSS] = {accept_loss, .is_open = true},
    [YK_PROPOSE_TARGET] = {target, .is_open = true, .keeps_epoch = true},
};

bool
yk_slot_rule_is_open(enum yk_proposal_kind kind)
{
    return rules[kind].is_open;
}

/* R1 what changes a slot names its epoch, and makes it the next one; or a greater one, where a
 * restore begins above all that it restores. */
static enum yk_refusal
check_epoch(const struct yk_slot_record *slot, const struct yk_slot_proposal *proposal)
{
    return slot->epoch == 0                 ? YK_REFUSAL_NOT_CREATED
           : slot->epoch != proposal->epoch ? YK_REFUSAL_OTHER_EPOCH
           : slot->epoch == YK_EPOCH_MAX || proposal->epoch_min > YK_EPOCH_MAX
               ? YK_REFUSAL_NO_EPOCH_LEFT
               : YK_REFUSAL_NONE;
}

/* Who is a member is neither eligible nor a target. ★ With the change that brings the members to
 * min_copies commits go on without the eligible nodes, which from then on may be behind: they are
 * forgotten in the same write. */
static void
settle(const struct slot_case *about)
{
    struct yk_slot_record *slot = about->slot;
    for (uint32_t i = 0; i < slot->n_members; i++) {
        drop(slot->eligible, &slot->n_eligible, slot->members[i].node);
        drop_target(slot, slot->members[i].node);
    }
    if (slot->n_members >= about->bucket->description.min_copies) {
        slot->n_eligible = 0;
    }
}

enum yk_refusal
yk_slot_judge(struct yk_bucket_register *bucket, enum yk_proposal_kind kind,
              const struct yk_slot_proposal *proposal, uint32_t node)
{
    if (proposal->slot >= bucket->description.slots) {
        return YK_REFUSAL_NO_SUCH_SLOT;
    }
    struct yk_slot_record *slot = &bucket->slots[proposal->slot];
    struct slot_case about = {bucket, proposal, slot, node};
    enum yk_refusal refusal =
        kind == YK_PROPOSE_CREATE ? YK_REFUSAL_NONE : check_epoch(slot, proposal);
    if (refusal == YK_REFUSAL_NONE) {
        refusal = rules[kind].judge(&about);
    }
    if (refusal != YK_REFUSAL_NONE) {
        return refusal;
    }
    if (kind != YK_PROPOSE_TARGET) {
        settle(&about);
    }
    if (!rules[kind].keeps_epoch) {
        slot->epoch = MAX(slot->epoch + 1, proposal->epoch_min);
    }
    if (kind == YK_PROPOSE_REINIT && bucket->description.copies > 1) {
        slot->begins = slot->epoch;
    }
    /* R5 members are never empty and hold the primary. */
    YK_ASSERT(slot->epoch > 0 && slot->epoch <= YK_EPOCH_MAX);
    YK_ASSERT(slot->n_members > 0 && slot->n_members <= YK_MEMBERS_MAX);
    YK_ASSERT(slot->n_eligible <= YK_MEMBERS_MAX && slot->n_targets <= YK_MEMBERS_MAX);
    YK_ASSERT(member_find(slot, slot->primary) != NULL);
    return YK_REFUSAL_NONE;
}
