/* Who holds which copies. What a slot has and may keep stays. A copy that is missing goes to the
 * next virtual node behind the slot's place on the circle that has room; a place above its share
 * gives a copy to one below.
 *
 * Where no such step is left there is a chain of them, from place to place, each giving one on:
 * there always is one, since the shares are such that spreading every node evenly over all slots
 * would keep to them. First a cheap one is searched for, in which as few copies as possible come to
 * places that did not have them at the beginning: what was moved already may move on, or back, at
 * no cost. What that search leaves out to be fast is found by the plain one, of the fewest steps.
 */
#include <config.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/ring/placement_plan.h"

enum {
    WALK_MAX = 64,   /* virtual nodes that are looked at for a copy */
    CHOICE_MAX = 32, /* copies of which the best is given */
};

void
yk_plan_move(struct yk_plan *plan, uint32_t copy, uint32_t to)
{
    uint32_t from = plan->copies[copy];
    if (from != YK_PLACEMENT_NONE) {
        struct yk_place *place = &plan->places[from];
        uint32_t last = place->held[--place->n_held];
        place->held[plan->at[copy]] = last;
        plan->at[last] = plan->at[copy];
    }
    struct yk_place *place = &plan->places[to];
    if (place->n_held == place->held_room) {
        uint32_t room = MAX(2 * place->held_room, 16);
        uint32_t *held = g_try_renew(uint32_t, place->held, room);
        if (held == NULL) {
            plan->is_out_of_memory = true;
            plan->copies[copy] = YK_PLACEMENT_NONE;
            return;
        }
        place->held = held;
        place->held_room = room;
    }
    plan->copies[copy] = to;
    plan->at[copy] = place->n_held;
    place->held[place->n_held++] = copy;
}

bool
yk_plan_may_take(const struct yk_plan *plan, uint32_t copy, uint32_t to)
{
    const uint32_t *copies = yk_plan_copies_of(plan, copy / plan->width);
    uint32_t except = copy % plan->width, n_in_zone = 0;
    for (uint32_t i = 0; i < plan->width && copies[i] != YK_PLACEMENT_NONE; i++) {
        if (copies[i] == to) {
            return false;
        }
        n_in_zone += i != except && plan->places[copies[i]].zone == plan->places[to].zone;
    }
    return n_in_zone < plan->zone_max;
}

static bool
has_room(const struct yk_place *place)
{
    return place->n_held < place->quota;
}

/* Chains */

static void
search_begin(struct yk_plan *plan)
{
    plan->n_queued = plan->n_roomy = 0;
    plan->n_unfound = plan->n_places;
    for (uint32_t i = 0; i < plan->n_places; i++) {
        plan->via[i] = YK_PLACEMENT_NONE;
        plan->unfound[i] = i;
        if (has_room(&plan->places[i])) {
            plan->roomy[plan->n_roomy++] = i;
        }
    }
}

/* at: its place in unfound. The copy is YK_PLACEMENT_NONE for the place that is to give. */
static void
search_add(struct yk_plan *plan, uint32_t at, uint32_t copy)
{
    uint32_t place = plan->unfound[at];
    plan->unfound[at] = plan->unfound[--plan->n_unfound];
    plan->via[place] = copy;
    plan->queue[plan->n_queued++] = place;
}

static void
search_add_start(struct yk_plan *plan, uint32_t start)
{
    search_add(plan, start, YK_PLACEMENT_NONE);
}

/* Every place that may take the copy and has not been found; one of them with room, or none. */
static uint32_t
search_copy(struct yk_plan *plan, uint32_t copy)
{
    for (uint32_t i = plan->n_unfound; i > 0; i--) {
        uint32_t to = plan->unfound[i - 1];
        if (yk_plan_may_take(plan, copy, to)) {
            search_add(plan, i - 1, copy);
            if (has_room(&plan->places[to])) {
                return to;
            }
        }
    }
    return YK_PLACEMENT_NONE;
}

/* The same, only of places that had it at the beginning. */
static uint32_t
search_back(struct yk_plan *plan, uint32_t copy)
{
    const uint32_t *kept = plan->kept + (size_t)(copy / plan->width) * plan->width;
    for (uint32_t i = 0; i < plan->width && kept[i] != YK_PLACEMENT_NONE; i++) {
        uint32_t at = 0;
        while (at < plan->n_unfound && plan->unfound[at] != kept[i]) {
            at++;
        }
        if (at < plan->n_unfound && yk_plan_may_take(plan, copy, kept[i])) {
            search_add(plan, at, copy);
            if (has_room(&plan->places[kept[i]])) {
                return kept[i];
            }
        }
    }
    return YK_PLACEMENT_NONE;
}

/* The place had a copy of that slot at the beginning. */
static bool
had(const struct yk_plan *plan, uint32_t slot, uint32_t place)
{
    const uint32_t *kept = plan->kept + (size_t)slot * plan->width;
    for (uint32_t i = 0; i < plan->width && kept[i] != YK_PLACEMENT_NONE; i++) {
        if (kept[i] == place) {
            return true;
        }
    }
    return false;
}

/* The chain up to that place moves a copy of the slot already. Two in one chain might meet in a
 * zone. */
static bool
is_in_chain(const struct yk_plan *plan, uint32_t place, uint32_t slot)
{
    while (place != YK_PLACEMENT_NONE && plan->via[place] != YK_PLACEMENT_NONE) {
        if (plan->via[place] / plan->width == slot) {
            return true;
        }
        place = plan->copies[plan->via[place]];
    }
    return false;
}

/* What the place can give on at no cost; the end of the chain, or none. */
static uint32_t
search_free(struct yk_plan *plan, uint32_t from)
{
    const struct yk_place *place = &plan->places[from];
    uint32_t end = YK_PLACEMENT_NONE;
    for (uint32_t i = 0; end == YK_PLACEMENT_NONE && i < place->n_held; i++) {
        uint32_t copy = place->held[i], slot = copy / plan->width;
        bool is_own = had(plan, slot, from);
        if (!is_in_chain(plan, from, slot)) {
            end = is_own ? search_back(plan, copy) : search_copy(plan, copy);
        }
    }
    return end;
}

/* The places found from `first` on: one of them gives to one with room. */
static uint32_t
search_last_step(struct yk_plan *plan, uint32_t first)
{
    for (uint32_t next = first; next < plan->n_queued; next++) {
        const struct yk_place *place = &plan->places[plan->queue[next]];
        for (uint32_t i = 0; i < place->n_held; i++) {
            for (uint32_t k = 0; k < plan->n_roomy; k++) {
                uint32_t copy = place->held[i], to = plan->roomy[k];
                if (yk_plan_may_take(plan, copy, to) &&
                    !is_in_chain(plan, plan->queue[next], copy / plan->width)) {
                    plan->via[to] = copy;
                    return to;
                }
            }
        }
    }
    return YK_PLACEMENT_NONE;
}

/* From what was found, level by level of what it costs. */
static uint32_t
search_cheap(struct yk_plan *plan)
{
    uint32_t end = YK_PLACEMENT_NONE;
    for (uint32_t first = 0; end == YK_PLACEMENT_NONE && first < plan->n_queued;) {
        for (uint32_t next = first; end == YK_PLACEMENT_NONE && next < plan->n_queued; next++) {
            end = search_free(plan, plan->queue[next]);
        }
        if (end == YK_PLACEMENT_NONE) {
            end = search_last_step(plan, first);
        }
        uint32_t n_level = plan->n_queued;
        for (; end == YK_PLACEMENT_NONE && first < n_level; first++) {
            uint32_t from = plan->queue[first];
            for (uint32_t i = 0; i < plan->places[from].n_held; i++) {
                uint32_t copy = plan->places[from].held[i];
                if (plan->n_unfound > 0 && !is_in_chain(plan, from, copy / plan->width)) {
                    (void)search_copy(plan, copy);
                }
            }
        }
    }
    return end;
}

/* From what was found, by the fewest steps. */
static uint32_t
search_plainly(struct yk_plan *plan)
{
    uint32_t end = YK_PLACEMENT_NONE;
    for (uint32_t next = 0; end == YK_PLACEMENT_NONE && next < plan->n_queued; next++) {
        const struct yk_place *place = &plan->places[plan->queue[next]];
        for (uint32_t i = 0; end == YK_PLACEMENT_NONE && i < place->n_held; i++) {
            end = search_copy(plan, place->held[i]);
        }
    }
    return end;
}

/* Each of the chain gives the copy through which the next was found, from the end on. */
static void
give_along(struct yk_plan *plan, uint32_t end)
{
    for (uint32_t place = end; place != YK_PLACEMENT_NONE;) {
        uint32_t copy = plan->via[place];
        uint32_t from = copy != YK_PLACEMENT_NONE ? plan->copies[copy] : YK_PLACEMENT_NONE;
        if (copy != YK_PLACEMENT_NONE) {
            yk_plan_move(plan, copy, place);
        }
        place = from;
    }
}

/* start: a place that is to give, or none: the copy is to be made. */
static void
move_by_chain(struct yk_plan *plan, uint32_t start, uint32_t copy)
{
    uint32_t end = YK_PLACEMENT_NONE;
    for (uint32_t i = 0; i < 2 && end == YK_PLACEMENT_NONE; i++) {
        search_begin(plan);
        if (start != YK_PLACEMENT_NONE) {
            search_add_start(plan, start);
        } else {
            end = search_copy(plan, copy);
        }
        if (end == YK_PLACEMENT_NONE) {
            end = i == 0 ? search_cheap(plan) : search_plainly(plan);
        }
    }
    YK_ASSERT(end != YK_PLACEMENT_NONE);
    give_along(plan, end);
}

/* The next virtual node behind the slot's place that has room for the copy. */
static bool
make_by_points(struct yk_plan *plan, uint32_t copy)
{
    uint64_t hash = yk_plan_mix(0, copy / plan->width);
    uint32_t low = 0, high = plan->n_points;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (plan->points[middle].hash < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (uint32_t i = 0; i < MIN(WALK_MAX, plan->n_points); i++) {
        uint32_t to = plan->points[(low + i) % plan->n_points].place;
        if (has_room(&plan->places[to]) && yk_plan_may_take(plan, copy, to)) {
            yk_plan_move(plan, copy, to);
            return true;
        }
    }
    return false;
}

static void
make_missing(struct yk_plan *plan)
{
    for (uint32_t copy = 0; copy < plan->n_slots * plan->width; copy++) {
        if (plan->copies[copy] == YK_PLACEMENT_NONE && !plan->is_out_of_memory &&
            !make_by_points(plan, copy)) {
            move_by_chain(plan, YK_PLACEMENT_NONE, copy);
        }
    }
}

/* How much the other places of the slot have to give. */
static uint64_t
others_surplus(const struct yk_plan *plan, uint32_t copy)
{
    const uint32_t *copies = yk_plan_copies_of(plan, copy / plan->width);
    uint64_t surplus = 0;
    for (uint32_t i = 0; i < plan->width; i++) {
        const struct yk_place *place = &plan->places[copies[i]];
        surplus += i != copy % plan->width && place->n_held > place->quota
                       ? place->n_held - place->quota
                       : 0;
    }
    return surplus;
}

/* The copy that the place should give to that one, or none. The others of its slot could give it
 * theirs instead: the less they need to, the better. It is looked for from where a number begins
 * that looks random, so that what is given comes from all over the ring. */
static uint32_t
choose_copy(const struct yk_plan *plan, uint32_t from, uint32_t to)
{
    const struct yk_place *place = &plan->places[from];
    uint64_t begin = yk_plan_mix(place->hash, place->n_held) % place->n_held;
    uint32_t best = YK_PLACEMENT_NONE;
    uint64_t best_surplus = UINT64_MAX;
    for (uint32_t i = 0, n_seen = 0; i < place->n_held && n_seen < CHOICE_MAX; i++) {
        uint32_t copy = place->held[(begin + i) % place->n_held];
        if (yk_plan_may_take(plan, copy, to)) {
            uint64_t surplus = others_surplus(plan, copy);
            best = surplus < best_surplus ? copy : best;
            best_surplus = MIN(surplus, best_surplus);
            n_seen++;
        }
    }
    return best;
}

/* To a place below its share, at once. */
static bool
give_directly(struct yk_plan *plan, uint32_t from)
{
    uint32_t copy = YK_PLACEMENT_NONE;
    for (uint32_t to = 0; to < plan->n_places && copy == YK_PLACEMENT_NONE; to++) {
        if (has_room(&plan->places[to])) {
            copy = choose_copy(plan, from, to);
            if (copy != YK_PLACEMENT_NONE) {
                yk_plan_move(plan, copy, to);
            }
        }
    }
    return copy != YK_PLACEMENT_NONE;
}

static void
give_surplus(struct yk_plan *plan)
{
    for (uint32_t from = 0; from < plan->n_places; from++) {
        const struct yk_place *place = &plan->places[from];
        while (place->n_held > place->quota && !plan->is_out_of_memory) {
            if (!give_directly(plan, from)) {
                move_by_chain(plan, from, YK_PLACEMENT_NONE);
            }
        }
    }
}

void
yk_plan_settle_copies(struct yk_plan *plan)
{
    make_missing(plan);
    give_surplus(plan);
}
