/* See purse.h. */
#include "backends/memory/purse.h"

/* Follows the bound, which may have been changed. */
static void
fit(struct purse *purse)
{
    uint64_t size_max = __atomic_load_n(&purse->budget->size_max, __ATOMIC_RELAXED);
    if (purse->is_bounded && size_max != purse->size_max) {
        purse->size_max = size_max;
        purse->share = size_max / purse->n_lanes;
    }
}

/* Hosts older than these members have no say between lanes. */
static bool
can_want(const struct yk_budget *budget)
{
    return budget->struct_size >= offsetof(struct yk_budget, missing) + sizeof(budget->missing) &&
           budget->want != NULL && budget->missing != NULL;
}

void
purse_init(struct purse *purse, const struct yk_host *host, const struct yk_backend_place *place)
{
    *purse = (struct purse){.host = host,
                            .budget = place->budget,
                            .n_lanes = place->n_lanes,
                            .is_bounded = place->budget->size_max != 0,
                            .can_want = can_want(place->budget),
                            .share = UINT64_MAX};
    fit(purse);
}

static bool
is_missed(const struct purse *purse)
{
    return purse->can_want && purse->budget->missing(purse->budget) > 0;
}

static bool
take(struct purse *purse, uint64_t size)
{
    if (!purse->is_bounded) {
        return true;
    }
    bool is_within = size <= purse->share && purse->taken <= purse->share - size;
    if (!is_within && is_missed(purse)) {
        return false;
    }
    if (purse->budget->take(purse->budget, size)) {
        return true;
    }
    if (is_within && purse->can_want) {
        purse->budget->want(purse->budget, size);
    }
    return false;
}

static void
give(struct purse *purse, uint64_t size)
{
    if (purse->is_bounded) {
        purse->budget->give(purse->budget, size);
    }
}

void *
purse_alloc(struct purse *purse, uint64_t size)
{
    uint64_t whole = size + MALLOC_OVERHEAD;
    if (!take(purse, whole)) {
        return NULL;
    }
    void *memory = purse->host->alloc(purse->host, size);
    if (memory == NULL) {
        give(purse, whole);
        return NULL;
    }
    purse->taken += whole;
    return memory;
}

void
purse_free(struct purse *purse, void *memory, uint64_t size)
{
    if (memory != NULL) {
        purse->host->release(purse->host, memory);
        give(purse, size + MALLOC_OVERHEAD);
        purse->taken -= size + MALLOC_OVERHEAD;
    }
}

void *
purse_grow(struct purse *purse, void *memory, uint64_t old_size, uint64_t size)
{
    void *larger = purse_alloc(purse, size);
    if (larger != NULL && memory != NULL) {
        memcpy(larger, memory, old_size);
        purse_free(purse, memory, old_size);
    }
    return larger;
}

void *
purse_shrink(struct purse *purse, void *memory, uint64_t old_size, uint64_t size)
{
    void *smaller = purse->host->resize(purse->host, memory, size);
    if (smaller != NULL) {
        give(purse, old_size - size);
        purse->taken -= old_size - size;
    }
    return smaller;
}

bool
purse_may_find(struct purse *purse, uint64_t size, uint64_t own)
{
    uint64_t whole = size + MALLOC_OVERHEAD;
    if (!purse->is_bounded || whole <= own) {
        return true;
    }
    if (purse->budget->take(purse->budget, whole - own)) {
        purse->budget->give(purse->budget, whole - own);
        return true;
    }
    if (purse->can_want) {
        purse->budget->want(purse->budget, whole);
    }
    return false;
}

bool
purse_may_hope(const struct purse *purse)
{
    return purse->can_want && purse->taken < purse->share / 2;
}

bool
purse_is_over(struct purse *purse)
{
    fit(purse);
    return purse->is_bounded && purse->taken > purse->share &&
           (purse->can_want ? is_missed(purse) : !purse->budget->take(purse->budget, 0));
}
