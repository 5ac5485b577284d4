/* Which copy of each slot is the primary: the present one, as far as the shares allow. */
#include <config.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/ring/placement_plan.h"

static bool
holds(const struct yk_plan *plan, uint32_t slot, uint32_t place)
{
    const uint32_t *copies = yk_plan_copies_of(plan, slot);
    for (uint32_t i = 0; i < plan->width; i++) {
        if (copies[i] == place) {
            return true;
        }
    }
    return false;
}

/* The present ones, where they still have a copy. */
static void
keep_primaries(struct yk_plan *plan)
{
    for (uint32_t slot = 0; slot < plan->n_slots; slot++) {
        uint32_t *primary = &plan->primary[slot];
        *primary = *primary != YK_PLACEMENT_NONE && holds(plan, slot, *primary) ? *primary
                                                                                : YK_PLACEMENT_NONE;
        if (*primary != YK_PLACEMENT_NONE) {
            plan->places[*primary].n_primary++;
        }
    }
}

static enum yk_err
set_primary_quotas(struct yk_plan *plan)
{
    uint64_t all = plan->n_slots;
    for (uint32_t i = 0; i < plan->n_places; i++) {
        const struct yk_place *place = &plan->places[i];
        plan->items[i] = (struct yk_quota_item){
            .weight = place->node->weight, .max = place->n_held, .held = place->n_primary};
    }
    enum yk_err result = yk_quota_share(plan->items, plan->n_places, &all, 1, all);
    for (uint32_t i = 0; result == YK_OK && i < plan->n_places; i++) {
        plan->places[i].primary_quota = plan->items[i].quota;
    }
    return result;
}

/* Where there is none: of the copies the one that is furthest below its share. */
static void
choose_primaries(struct yk_plan *plan)
{
    for (uint32_t slot = 0; slot < plan->n_slots; slot++) {
        const uint32_t *copies = yk_plan_copies_of(plan, slot);
        uint32_t best = copies[0];
        for (uint32_t i = 1; i < plan->width; i++) {
            const struct yk_place *place = &plan->places[copies[i]], *other = &plan->places[best];
            if ((uint64_t)place->n_primary * other->primary_quota <
                (uint64_t)other->n_primary * place->primary_quota) {
                best = copies[i];
            }
        }
        if (plan->primary[slot] == YK_PLACEMENT_NONE) {
            plan->primary[slot] = best;
            plan->places[best].n_primary++;
        }
    }
}

/* Finds those that may take the slot; one of them with room, or none. */
static uint32_t
search_slot(struct yk_plan *plan, uint32_t slot, uint32_t start)
{
    const uint32_t *copies = yk_plan_copies_of(plan, slot);
    for (uint32_t i = 0; i < plan->width; i++) {
        const struct yk_place *place = &plan->places[copies[i]];
        if (plan->via[copies[i]] == YK_PLACEMENT_NONE && copies[i] != start) {
            plan->via[copies[i]] = slot;
            plan->queue[plan->n_queued++] = copies[i];
            if (place->n_primary < place->primary_quota) {
                return copies[i];
            }
        }
    }
    return YK_PLACEMENT_NONE;
}

/* By the shortest chain of places, each giving a slot on to the next; false: there is none. */
static bool
give_primary(struct yk_plan *plan, uint32_t start)
{
    uint32_t end = YK_PLACEMENT_NONE;
    for (uint32_t i = 0; i < plan->n_places; i++) {
        plan->via[i] = YK_PLACEMENT_NONE;
    }
    plan->queue[0] = start;
    plan->n_queued = 1;
    for (uint32_t next = 0; end == YK_PLACEMENT_NONE && next < plan->n_queued; next++) {
        uint32_t from = plan->queue[next];
        const struct yk_place *place = &plan->places[from];
        for (uint32_t i = 0; end == YK_PLACEMENT_NONE && i < place->n_held; i++) {
            uint32_t slot = place->held[i] / plan->width;
            end = plan->primary[slot] == from ? search_slot(plan, slot, start) : YK_PLACEMENT_NONE;
        }
    }
    for (uint32_t place = end; end != YK_PLACEMENT_NONE && place != start;) {
        uint32_t slot = plan->via[place], from = plan->primary[slot];
        plan->primary[slot] = place;
        plan->places[place].n_primary++;
        plan->places[from].n_primary--;
        place = from;
    }
    return end != YK_PLACEMENT_NONE;
}

/* After a search that found none: the quotas of all that were found are used up, and what they are
 * primary of is nowhere else. The rounding of the shares, or what was forced on the copies, does
 * not go with that: one of them gets one more. */
static void
raise_one(struct yk_plan *plan)
{
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < plan->n_queued; i++) {
            struct yk_place *place = &plan->places[plan->queue[i]];
            uint64_t share = plan->items[plan->queue[i]].share + YK_QUOTA_ONE - 1;
            uint64_t most =
                round == 0 ? share / YK_QUOTA_ONE : (place->n_held + plan->width - 1) / plan->width;
            if (place->primary_quota < most) {
                place->primary_quota++;
                return;
            }
        }
    }
    YK_ASSERT(!"each has as many as its part of what it holds: then there is room");
}

enum yk_err
yk_plan_set_primaries(struct yk_plan *plan)
{
    keep_primaries(plan);
    enum yk_err result = set_primary_quotas(plan);
    if (result != YK_OK) {
        return result;
    }
    choose_primaries(plan);
    for (uint32_t i = 0; i < plan->n_places; i++) {
        while (plan->places[i].n_primary > plan->places[i].primary_quota) {
            if (!give_primary(plan, i)) {
                raise_one(plan);
            }
        }
    }
    return YK_OK;
}
