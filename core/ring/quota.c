/* Water poured into vessels: the level rises until they hold the total. An item's width is its
 * weight, its height its bound; a group that is full takes no more, however far the level rises. */
#include <config.h>

#include "core/ring/quota.h"

#include <stdlib.h>

#include <glib.h>

/* The share of each unit of weight, in parts of YK_QUOTA_ONE, times 2^32. */
typedef unsigned __int128 level_t;

enum { LEVEL_BITS = 84, EVERY_GROUP = -1 };

struct pour {
    struct yk_quota_item *items;
    uint32_t n_items, n_groups;
    const uint64_t *group_max;
    uint64_t *sums; /* own, of each group */
};

static uint64_t
share_at(const struct yk_quota_item *item, level_t level)
{
    level_t share = (level * item->weight) >> 32;
    uint64_t max = item->max * YK_QUOTA_ONE;
    return share < max ? (uint64_t)share : max;
}

/* What all take at that level, or the items of one group without its bound. */
static uint64_t
taken_at(const struct pour *pour, int64_t group, level_t level)
{
    uint64_t taken = 0;
    memset(pour->sums, 0, pour->n_groups * sizeof(*pour->sums));
    for (uint32_t i = 0; i < pour->n_items; i++) {
        if (group == EVERY_GROUP || pour->items[i].group == group) {
            pour->sums[pour->items[i].group] += share_at(&pour->items[i], level);
        }
    }
    for (uint32_t i = 0; i < pour->n_groups; i++) {
        uint64_t max = group == EVERY_GROUP ? pour->group_max[i] * YK_QUOTA_ONE : UINT64_MAX;
        taken += MIN(pour->sums[i], max);
    }
    return taken;
}

/* The highest at which no more than that is taken. */
static level_t
level_for(const struct pour *pour, int64_t group, uint64_t target)
{
    level_t level = 0;
    for (int bit = LEVEL_BITS - 1; bit >= 0; bit--) {
        level_t higher = level | (level_t)1 << bit;
        level = taken_at(pour, group, higher) <= target ? higher : level;
    }
    return level;
}

/* Each share is rounded down to its smallest part, and the level rises for what that leaves over:
 * so a share may be a whole number and a little. That little is nothing to be rounded up. */
static void
set_share(const struct pour *pour, struct yk_quota_item *item, level_t level)
{
    uint64_t share = share_at(item, level), rest = share % YK_QUOTA_ONE;
    item->share = rest <= pour->n_items ? share - rest : share;
}

static void
set_shares(const struct pour *pour, uint64_t total)
{
    level_t level = level_for(pour, EVERY_GROUP, total * YK_QUOTA_ONE);
    for (uint32_t group = 0; group < pour->n_groups; group++) {
        uint64_t max = pour->group_max[group] * YK_QUOTA_ONE;
        level_t own = taken_at(pour, group, level) > max ? level_for(pour, group, max) : level;
        for (uint32_t i = 0; i < pour->n_items; i++) {
            if (pour->items[i].group == group) {
                set_share(pour, &pour->items[i], own);
            }
        }
    }
}

/* Whose share is rounded up first. */
static int
compare(const void *a, const void *b)
{
    const struct yk_quota_item *one = *(struct yk_quota_item *const *)a;
    const struct yk_quota_item *two = *(struct yk_quota_item *const *)b;
    bool holds_one = one->held > one->quota, holds_two = two->held > two->quota;
    uint64_t rest_one = one->share % YK_QUOTA_ONE, rest_two = two->share % YK_QUOTA_ONE;
    return holds_one != holds_two ? (holds_one ? -1 : 1)
           : rest_one != rest_two ? (rest_one > rest_two ? -1 : 1)
           : one < two            ? -1
                                  : 1;
}

/* One more for each that may have it, in that order; what is left. */
static uint64_t
round_up(const struct pour *pour, struct yk_quota_item **order, bool is_any, uint64_t left)
{
    for (uint32_t i = 0; i < pour->n_items && left > 0; i++) {
        struct yk_quota_item *item = order[i];
        if (item->quota < item->max && pour->sums[item->group] < pour->group_max[item->group] &&
            (is_any || item->share % YK_QUOTA_ONE != 0)) {
            item->quota++;
            pour->sums[item->group]++;
            left--;
        }
    }
    return left;
}

static void
set_quotas(const struct pour *pour, struct yk_quota_item **order, uint64_t total)
{
    uint64_t left = total;
    memset(pour->sums, 0, pour->n_groups * sizeof(*pour->sums));
    for (uint32_t i = 0; i < pour->n_items; i++) {
        struct yk_quota_item *item = &pour->items[i];
        item->quota = (uint32_t)(item->share / YK_QUOTA_ONE);
        pour->sums[item->group] += item->quota;
        left -= item->quota;
        order[i] = item;
    }
    qsort(order, pour->n_items, sizeof(struct yk_quota_item *), compare);
    left = round_up(pour, order, false, left);
    for (uint64_t before = left + 1; left > 0 && left < before;) {
        before = left;
        left = round_up(pour, order, true, left);
    }
}

enum yk_err
yk_quota_share(struct yk_quota_item *items, uint32_t n_items, const uint64_t *group_max,
               uint32_t n_groups, uint64_t total)
{
    struct pour pour = {.items = items,
                        .n_items = n_items,
                        .n_groups = n_groups,
                        .group_max = group_max,
                        .sums = g_try_new(uint64_t, MAX(n_groups, 1))};
    struct yk_quota_item **order = g_try_new(struct yk_quota_item *, MAX(n_items, 1));
    enum yk_err result = pour.sums != NULL && order != NULL ? YK_OK : YK_ENOMEM;
    if (result == YK_OK) {
        set_shares(&pour, total);
        set_quotas(&pour, order, total);
    }
    g_free(order);
    g_free(pour.sums);
    return result;
}
