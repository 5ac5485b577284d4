/* What the parts of the placement share. Private to this room.
 *
 * Threads: pure. Ownership: a plan owns its arrays. */
#ifndef YK_RING_PLACEMENT_PLAN_H
#define YK_RING_PLACEMENT_PLAN_H

#include "core/base/hash.h"
#include "core/ring/placement.h"
#include "core/ring/quota.h"

/* A node that takes part. Its share is the quota. */
struct yk_place {
    const struct yk_placement_node *node;
    uint32_t index; /* the caller's */
    uint64_t hash;
    uint32_t zone;
    uint32_t quota, n_held, held_room;
    uint32_t *held; /* own: copies, as indexes into plan.copies */
    uint32_t primary_quota, n_primary;
};

/* A virtual node. */
struct yk_point {
    uint64_t hash;
    uint32_t place;
};

struct yk_plan {
    struct yk_place *places;           /* in the order of their hashes */
    uint32_t n_places, n_slots, width; /* copies of each slot */
    uint32_t n_zones, zone_max;        /* copies of a slot in one zone */
    uint32_t *numbers;                 /* own: where the next four are, and those of a search */
    uint32_t *copies;  /* n_slots * width: the place, or NONE; in use from the first on */
    uint32_t *kept;    /* as copies, before anything was moved */
    uint32_t *at;      /* of each copy: where it stands in the held of its place */
    uint32_t *primary; /* of each slot: the place, or NONE */
    struct yk_point *points;
    uint32_t n_points;
    /* A search: the places that were found, in that order; the copy (or the slot) through which
     * each was; those that were not found yet; those with room. */
    uint32_t *queue, *via, *unfound, *roomy;
    uint32_t n_queued, n_unfound, n_roomy;
    struct yk_quota_item *items;
    bool is_out_of_memory;
};

/* Makes the copies that are missing, and moves what is above the shares. */
void yk_plan_settle_copies(struct yk_plan *plan);
/* A primary for each slot, whose copies are all there. */
enum yk_err yk_plan_set_primaries(struct yk_plan *plan) YK_MUST_CHECK;

/* The copy goes from whoever has it to that place. */
void yk_plan_move(struct yk_plan *plan, uint32_t copy, uint32_t to);
/* That place may take the copy: no other copy of the slot is there, and not too many are in its
 * zone. */
bool yk_plan_may_take(const struct yk_plan *plan, uint32_t copy, uint32_t to);

static inline const uint32_t *
yk_plan_copies_of(const struct yk_plan *plan, uint32_t slot)
{
    return plan->copies + (size_t)slot * plan->width;
}

/* A number that looks random. */
static inline uint64_t
yk_plan_mix(uint64_t a, uint64_t b)
{
    const uint64_t both[] = {a, b};
    return XXH3_64bits(both, sizeof(both));
}

#endif
