/* Buckets with reads = confirm: an op that tells what is stored waits at the lane's door, behind
 * all before it of its slot, until each member has said, to a question that was asked after the op
 * had come, that it follows this primary. What is read then is the newest, whatever the clocks say:
 * whoever is primary later has become it after that. All ops of a turn share one question.
 *
 * Source: ReadIndex of Raft (Ongaro, thesis, 6.4), with all members for a majority, since all of
 * them have what is committed here. */
#include <config.h>

#include "core/replica/machine.h"

#include "core/store/decide.h"

static struct yk_replica *
replica_of(const struct yk_lane *lane, uint32_t slot)
{
    return &lane->replicas[yk_ring_slot_index(&lane->config.ring, slot)];
}

bool
lane_holds_op(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_replica *replica = replica_of(lane, op->slot);
    struct slot *slot = lane_slot(lane, op->slot);
    bool asks = yk_op_is_read(op) || yk_decide_needs_old(&op->request);
    if (!yk_replica_serves(replica) || (!asks && slot->unconfirmed.first == NULL)) {
        return false;
    }
    int64_t question = yk_replica_ask(replica);
    if (slot->unconfirmed.first == NULL && yk_replica_is_confirmed(replica, question)) {
        return false; /* there is nobody to ask */
    }
    op->question_us = question;
    yk_op_queue_push(&slot->unconfirmed, op);
    lane->n_unconfirmed++;
    lane_touch(lane, replica);
    return true;
}

static void
take_in(struct yk_lane *lane, struct slot *slot)
{
    lane->n_unconfirmed--;
    slot->unconfirmed_until_us = 0;
    lane_enqueue(lane, yk_op_queue_pop(&slot->unconfirmed));
}

void
lane_let_in(struct yk_lane *lane, const struct yk_replica *replica)
{
    struct slot *slot = lane_slot(lane, replica->slot);
    while (slot->unconfirmed.first != NULL &&
           yk_replica_is_confirmed(replica, slot->unconfirmed.first->question_us)) {
        take_in(lane, slot);
    }
}

void
lane_turn_away(struct yk_lane *lane, const struct yk_replica *replica)
{
    struct slot *slot = lane_slot(lane, replica->slot);
    while (slot->unconfirmed.first != NULL) {
        lane->n_unconfirmed--;
        lane_answer(lane, yk_op_queue_pop(&slot->unconfirmed), YK_ESTALE, lane_not_primary_text);
    }
    slot->unconfirmed_until_us = 0;
}

void
lane_turn_away_late(struct yk_lane *lane, const struct yk_replica *replica, int64_t now_us)
{
    struct slot *slot = lane_slot(lane, replica->slot);
    if (slot->unconfirmed.first == NULL) {
        return;
    }
    if (slot->unconfirmed_until_us == 0) {
        slot->unconfirmed_until_us = now_us + lane->replica_setup.lease_us;
    } else if (slot->unconfirmed_until_us <= now_us) {
        lane_turn_away(lane, replica);
    }
}
