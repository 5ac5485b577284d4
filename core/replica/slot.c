/* Slots: which records are there for a reader. */
#include <config.h>

#include "core/replica/machine.h"

void
lane_flush_slots(struct yk_lane *lane)
{
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        lane->slots[i].flush_version = slot_last(&lane->slots[i]);
    }
    lane->has_mortals = true;
}
