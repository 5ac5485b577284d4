/* Slots: which records are there for a reader. */
#include <config.h>

#include "core/replica/machine.h"

void
lane_flush_slots(struct yk_lane *lane)
{
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        lane->slots[i].flush_version =
            lane->config.epoch << SEQUENCE_BITS | lane->slots[i].sequence;
    }
    lane->has_mortals = true;
}

bool
lane_sees(struct yk_lane *lane, uint32_t slot, const struct yk_record *record)
{
    return (record->marks & YK_RECORD_TOMBSTONE) == 0 &&
           (record->expiry_ms == 0 || record->expiry_ms > (int64_t)lane->now_ms) &&
           record->version > lane->slots[slot / lane->config.ring.n_lanes].flush_version;
}
