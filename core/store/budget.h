/* The memory that the lanes of one bucket share.
 *
 * Threads: any; the counters are atomic. Ownership: outlives the lanes. */
#ifndef YK_STORE_BUDGET_H
#define YK_STORE_BUDGET_H

#include <yakumo/backend.h>

struct yk_shared_budget {
    struct yk_budget budget; /* first: what engines see; size_max is written by set_max */
    uint64_t taken;          /* bytes */
    uint64_t wanted;         /* bytes that are to be left free, for lanes with little */
};

/* size_max 0: no bound. */
void yk_budget_init(struct yk_shared_budget *shared, uint64_t size_max);
/* Changes the bound; engines give back over time. A budget without a bound keeps none, and one with
 * a bound cannot lose it: YK_EINVALID. */
enum yk_err yk_budget_set_max(struct yk_shared_budget *shared, uint64_t size_max) YK_MUST_CHECK;
uint64_t yk_budget_max(const struct yk_shared_budget *shared);

#endif
