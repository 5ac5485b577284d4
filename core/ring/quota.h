/* Shares by weight, in whole numbers.
 *
 * A total is divided among items in proportion to their weights. No item gets more than its own
 * bound, and the items of a group together no more than the group's: what does not fit there goes
 * to the others, by their weights. Each quota is the share, rounded down or up; up first where as
 * many are held already, so that as little as possible has to change.
 *
 * Threads: pure, whole numbers only: the same everywhere. Ownership: borrows all. */
#ifndef YK_RING_QUOTA_H
#define YK_RING_QUOTA_H

#include <yakumo/base.h>

struct yk_quota_item {
    uint32_t weight; /* above 0 */
    uint32_t group;
    uint32_t max;
    uint32_t held;  /* of the total, now */
    uint32_t quota; /* out */
    uint64_t share; /* out, in parts of YK_QUOTA_ONE */
};

#define YK_QUOTA_ONE (1ull << 20)

/* group_max: one for each group. Whatever fits is given: less than total only where the bounds
 * allow no more. Total and bounds are below 2^31. Of equal items earlier ones come first.
 * YK_ENOMEM. */
enum yk_err yk_quota_share(struct yk_quota_item *items, uint32_t n_items, const uint64_t *group_max,
                           uint32_t n_groups, uint64_t total) YK_MUST_CHECK;

#endif
