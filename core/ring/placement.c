/* Shares first (quota.h), then the copies that keep to them (placement_copies.c), then a primary
 * among those of each slot (placement_primaries.c).
 *
 * Nodes are kept in the order of their hashes, and only looked at in that. */
#include <config.h>

#include "core/ring/placement.h"

#include <stdlib.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/ring/placement_plan.h"

enum {
    POINTS_MAX = 128, /* virtual nodes of a node of the greatest weight */
    COPIES_MAX = 16,
    SLOTS_MAX = 1 << 20,
};

/* Beginning and end */

static int
place_compare(const void *a, const void *b)
{
    const struct yk_place *one = a, *two = b;
    return one->hash != two->hash ? (one->hash < two->hash ? -1 : 1)
                                  : strcmp(one->node->id, two->node->id);
}

static int
point_compare(const void *a, const void *b)
{
    const struct yk_point *one = a, *two = b;
    return one->hash != two->hash     ? (one->hash < two->hash ? -1 : 1)
           : one->place != two->place ? (one->place < two->place ? -1 : 1)
                                      : 0;
}

static bool
has_zone(const struct yk_place *place)
{
    return place->node->zone != NULL && place->node->zone[0] != '\0';
}

/* Numbers the zones, and says how many copies of a slot one may have: the fewest with which there
 * is room for all. Without any zone all are in one, which may have all copies. */
static void
set_zones(struct yk_plan *plan)
{
    bool has_any = false;
    for (uint32_t i = 0; i < plan->n_places; i++) {
        has_any = has_any || has_zone(&plan->places[i]);
    }
    for (uint32_t i = 0; i < plan->n_places; i++) {
        struct yk_place *place = &plan->places[i];
        place->zone = has_any ? plan->n_zones : 0;
        for (uint32_t k = 0; has_any && has_zone(place) && k < i; k++) {
            if (has_zone(&plan->places[k]) &&
                strcmp(plan->places[k].node->zone, place->node->zone) == 0) {
                place->zone = plan->places[k].zone;
            }
        }
        plan->n_zones = MAX(plan->n_zones, place->zone + 1);
    }
    plan->zone_max = has_any ? 0 : plan->width;
    for (uint32_t room = plan->zone_max; room < plan->width;) {
        plan->zone_max++;
        room = 0;
        for (uint32_t zone = 0; zone < plan->n_zones; zone++) {
            uint32_t n = 0;
            for (uint32_t i = 0; i < plan->n_places; i++) {
                n += plan->places[i].zone == zone;
            }
            room += MIN(n, plan->zone_max);
        }
    }
}

static void
add_points(struct yk_plan *plan)
{
    uint32_t weight_max = 1;
    for (uint32_t i = 0; i < plan->n_places; i++) {
        weight_max = MAX(weight_max, plan->places[i].node->weight);
    }
    for (uint32_t i = 0; i < plan->n_places; i++) {
        const struct yk_place *place = &plan->places[i];
        uint32_t n = (uint32_t)((uint64_t)POINTS_MAX * place->node->weight / weight_max);
        for (uint32_t k = 0; k < MAX(n, 1); k++) {
            plan->points[plan->n_points++] = (struct yk_point){yk_plan_mix(place->hash, k), i};
        }
    }
    qsort(plan->points, plan->n_points, sizeof(*plan->points), point_compare);
}

static void
plan_done(struct yk_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_places && plan->places != NULL; i++) {
        g_free(plan->places[i].held);
    }
    g_free(plan->places);
    g_free(plan->numbers);
    g_free(plan->points);
    g_free(plan->items);
}

static enum yk_err
plan_init(struct yk_plan *plan, const struct yk_placement_node *nodes, uint32_t n_nodes,
          uint32_t n_slots, uint32_t copies)
{
    *plan =
        (struct yk_plan){.n_slots = n_slots, .places = g_try_new0(struct yk_place, n_nodes + 1)};
    for (uint32_t i = 0; i < n_nodes && plan->places != NULL; i++) {
        if (!nodes[i].is_out && nodes[i].weight > 0) {
            plan->places[plan->n_places++] = (struct yk_place){
                .node = &nodes[i], .index = i, .hash = yk_hash(yk_slice_of_text(nodes[i].id))};
        }
    }
    plan->width = MIN(copies, plan->n_places);
    size_t n_copies = (size_t)n_slots * plan->width;
    plan->numbers = g_try_new(uint32_t, 3 * n_copies + n_slots + 4 * (size_t)n_nodes + 1);
    plan->points = g_try_new(struct yk_point, (size_t)n_nodes * POINTS_MAX + 1);
    plan->items = g_try_new0(struct yk_quota_item, n_nodes + 1);
    if (plan->places == NULL || plan->numbers == NULL || plan->points == NULL ||
        plan->items == NULL) {
        return YK_ENOMEM;
    }
    plan->copies = plan->numbers;
    plan->kept = plan->copies + n_copies;
    plan->at = plan->kept + n_copies;
    plan->primary = plan->at + n_copies;
    plan->queue = plan->primary + n_slots;
    plan->via = plan->queue + n_nodes;
    plan->unfound = plan->via + n_nodes;
    plan->roomy = plan->unfound + n_nodes;
    memset(plan->copies, 0xff, n_copies * sizeof(*plan->copies));
    memset(plan->primary, 0xff, n_slots * sizeof(*plan->primary));
    qsort(plan->places, plan->n_places, sizeof(*plan->places), place_compare);
    set_zones(plan);
    add_points(plan);
    return YK_OK;
}

/* Copies */

/* What the slots have and may keep, in the order in which they have it. */
static void
keep_current(struct yk_plan *plan, struct yk_placement_current current, const uint32_t *place_of)
{
    for (uint32_t slot = 0; current.nodes != NULL && slot < plan->n_slots; slot++) {
        const uint32_t *row = current.nodes + (size_t)slot * current.width;
        uint32_t copy = slot * plan->width, end = copy + plan->width;
        for (uint32_t i = 0; i < current.width && copy < end; i++) {
            uint32_t place = row[i] == YK_PLACEMENT_NONE ? YK_PLACEMENT_NONE : place_of[row[i]];
            if (place != YK_PLACEMENT_NONE && yk_plan_may_take(plan, copy, place)) {
                yk_plan_move(plan, copy++, place);
            }
        }
        plan->primary[slot] =
            plan->width > 0 ? yk_plan_copies_of(plan, slot)[0] : YK_PLACEMENT_NONE;
    }
}

static enum yk_err
set_quotas(struct yk_plan *plan)
{
    uint64_t *group_max = g_try_new0(uint64_t, plan->n_zones + 1);
    if (group_max == NULL) {
        return YK_ENOMEM;
    }
    for (uint32_t i = 0; i < plan->n_places; i++) {
        const struct yk_place *place = &plan->places[i];
        plan->items[i] = (struct yk_quota_item){.weight = place->node->weight,
                                                .group = place->zone,
                                                .max = plan->n_slots,
                                                .held = place->n_held};
        group_max[place->zone] = (uint64_t)plan->n_slots * plan->zone_max;
    }
    enum yk_err result = yk_quota_share(plan->items, plan->n_places, group_max, plan->n_zones,
                                        (uint64_t)plan->n_slots * plan->width);
    for (uint32_t i = 0; result == YK_OK && i < plan->n_places; i++) {
        plan->places[i].quota = plan->items[i].quota;
    }
    g_free(group_max);
    return result;
}

/* The whole */

/* The primary first, then the others as they stand. */
static void
write_assignment(const struct yk_plan *plan, uint32_t copies, uint32_t *ret_assignment)
{
    for (uint32_t slot = 0; slot < plan->n_slots; slot++) {
        uint32_t *row = ret_assignment + (size_t)slot * copies, n = 0;
        for (uint32_t i = 0; i < copies; i++) {
            row[i] = YK_PLACEMENT_NONE;
        }
        if (plan->width > 0) {
            row[n++] = plan->places[plan->primary[slot]].index;
        }
        for (uint32_t i = 0; i < plan->width; i++) {
            uint32_t place = yk_plan_copies_of(plan, slot)[i];
            if (place != plan->primary[slot]) {
                row[n++] = plan->places[place].index;
            }
        }
    }
}

static enum yk_err
plan_run(struct yk_plan *plan, struct yk_placement_current current, uint32_t n_nodes)
{
    uint32_t *place_of = g_try_new(uint32_t, n_nodes + 1);
    if (place_of == NULL) {
        return YK_ENOMEM;
    }
    memset(place_of, 0xff, n_nodes * sizeof(*place_of));
    for (uint32_t i = 0; i < plan->n_places; i++) {
        place_of[plan->places[i].index] = i;
    }
    keep_current(plan, current, place_of);
    memcpy(plan->kept, plan->copies, (size_t)plan->n_slots * plan->width * sizeof(*plan->kept));
    g_free(place_of);
    enum yk_err result = set_quotas(plan);
    if (result == YK_OK) {
        yk_plan_settle_copies(plan);
        result = plan->is_out_of_memory ? YK_ENOMEM : YK_OK;
    }
    return result == YK_OK && plan->width > 0 ? yk_plan_set_primaries(plan) : result;
}

enum yk_err
yk_placement_compute(const struct yk_placement_node *nodes, uint32_t n_nodes, uint32_t n_slots,
                     uint32_t copies, struct yk_placement_current current, uint32_t *ret_assignment)
{
    struct yk_plan plan;
    YK_ASSERT(copies > 0 && copies <= COPIES_MAX && n_slots <= SLOTS_MAX);
    enum yk_err result = plan_init(&plan, nodes, n_nodes, n_slots, copies);
    if (result == YK_OK) {
        result = plan_run(&plan, current, n_nodes);
    }
    if (result == YK_OK) {
        write_assignment(&plan, copies, ret_assignment);
    }
    plan_done(&plan);
    return result;
}

uint64_t
yk_placement_moves(struct yk_placement_current from, struct yk_placement_current to,
                   uint32_t n_slots)
{
    uint64_t n = 0;
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        const uint32_t *old = from.nodes + (size_t)slot * from.width;
        const uint32_t *now = to.nodes + (size_t)slot * to.width;
        for (uint32_t i = 0; i < to.width; i++) {
            bool is_new = now[i] != YK_PLACEMENT_NONE;
            for (uint32_t k = 0; k < from.width && is_new; k++) {
                is_new = old[k] != now[i];
            }
            n += is_new;
        }
    }
    return n;
}
