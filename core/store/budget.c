/* Memory shared by lanes: three counters. */
#include <config.h>

#include "core/store/budget.h"

enum { WANTED_PART = 4 };

static struct yk_shared_budget *
shared_of(const struct yk_budget *budget)
{
    return (struct yk_shared_budget *)(uintptr_t)budget;
}

uint64_t
yk_budget_max(const struct yk_shared_budget *shared)
{
    return __atomic_load_n(&shared->budget.size_max, __ATOMIC_RELAXED);
}

static bool
take(const struct yk_budget *budget, uint64_t size)
{
    struct yk_shared_budget *shared = shared_of(budget);
    uint64_t size_max = yk_budget_max(shared);
    uint64_t taken = __atomic_load_n(&shared->taken, __ATOMIC_RELAXED);
    do {
        if (size_max != 0 && (taken > size_max || size > size_max - taken)) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&shared->taken, &taken, taken + size, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

static void
give(const struct yk_budget *budget, uint64_t size)
{
    __atomic_fetch_sub(&shared_of(budget)->taken, size, __ATOMIC_RELAXED);
}

/* The most that was wanted so far, but never so much that the rest would be of no use. */
static void
want(const struct yk_budget *budget, uint64_t size)
{
    struct yk_shared_budget *shared = shared_of(budget);
    uint64_t wanted = __atomic_load_n(&shared->wanted, __ATOMIC_RELAXED);
    while (size > wanted && !__atomic_compare_exchange_n(&shared->wanted, &wanted, size, true,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static uint64_t
missing(const struct yk_budget *budget)
{
    struct yk_shared_budget *shared = shared_of(budget);
    uint64_t wanted = __atomic_load_n(&shared->wanted, __ATOMIC_RELAXED);
    uint64_t taken = __atomic_load_n(&shared->taken, __ATOMIC_RELAXED);
    uint64_t size_max = yk_budget_max(shared);
    uint64_t least = wanted < size_max / WANTED_PART ? wanted : size_max / WANTED_PART;
    if (size_max == 0) {
        return 0;
    }
    if (taken > size_max) {
        return taken - size_max + least;
    }
    return least > size_max - taken ? least - (size_max - taken) : 0;
}

void
yk_budget_init(struct yk_shared_budget *shared, uint64_t size_max)
{
    *shared = (struct yk_shared_budget){.budget = {.struct_size = sizeof(shared->budget),
                                                   .size_max = size_max,
                                                   .take = take,
                                                   .give = give,
                                                   .want = want,
                                                   .missing = missing}};
}

enum yk_err
yk_budget_set_max(struct yk_shared_budget *shared, uint64_t size_max)
{
    if (size_max == 0 || yk_budget_max(shared) == 0) {
        return YK_EINVALID;
    }
    __atomic_store_n(&shared->budget.size_max, size_max, __ATOMIC_RELAXED);
    return YK_OK;
}
