/* Slots: flush marks, and which records are there for a reader. */
#include <config.h>

#include "core/replica/machine.h"

void
lane_settle(struct yk_lane *lane, struct slot *slot)
{
    if (slot->flush_at_ms != 0 && slot->flush_at_ms <= lane->now_ms) {
        slot->flush_at_ms = 0;
        slot->flush_version = lane->config.epoch << SEQUENCE_BITS | slot->sequence;
        lane->has_mortals = true;
    }
}

struct slot *
lane_slot(struct yk_lane *lane, uint32_t slot)
{
    struct slot *own = &lane->slots[slot / lane->config.ring.n_lanes];
    lane_settle(lane, own);
    return own;
}

bool
lane_sees(struct yk_lane *lane, uint32_t slot, const struct yk_record *record)
{
    return (record->marks & YK_RECORD_TOMBSTONE) == 0 &&
           (record->expiry_ms == 0 || record->expiry_ms > (int64_t)lane->now_ms) &&
           record->version > lane_slot(lane, slot)->flush_version;
}
