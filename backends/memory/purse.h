/* The purse of a lane: all memory of the engine is allocated through it and counted against the
 * budget that the lanes share, with what malloc keeps for itself.
 *
 * A lane may take as much of the budget as is left. One that has less than its even share and
 * finds nothing left says so to the budget; from then on, lanes with more than their share leave
 * that much free, and give back what they hold beyond it, a little with each call. So a lane alone
 * in its work has the whole budget, and lanes that all work come to even shares.
 *
 * Threads: the engine's; the budget is shared. Ownership: part of the engine. */
#ifndef MEMORY_PURSE_H
#define MEMORY_PURSE_H

#include <yakumo/backend.h>

/* What malloc keeps for itself, about. */
#define MALLOC_OVERHEAD 16u

struct purse {
    const struct yk_host *host;
    const struct yk_budget *budget;
    uint64_t taken;   /* bytes; all that is allocated */
    uint32_t n_lanes; /* that share the budget */
    bool is_bounded;
    bool can_want;     /* the host lets lanes tell each other what they miss */
    uint64_t size_max; /* of the budget, as it was last seen */
    uint64_t share;    /* an even part of that */
};

void
purse_init(struct purse *purse, const struct yk_host *host, const struct yk_backend_place *place);

/* NULL: the budget or the memory is used up. */
void *purse_alloc(struct purse *purse, uint64_t size);
void purse_free(struct purse *purse, void *memory, uint64_t size);
/* Like purse_alloc, with the old bytes moved to the new memory; NULL: the old stands as it is. */
void *purse_grow(struct purse *purse, void *memory, uint64_t old_size, uint64_t size);
/* To a smaller size; NULL: it stands as it is. */
void *purse_shrink(struct purse *purse, void *memory, uint64_t old_size, uint64_t size);

/* Would there be room for so much, if the lane gave up what it can? */
bool purse_may_find(struct purse *purse, uint64_t size, uint64_t own);
/* Has the lane so little that others will give something back for it? */
bool purse_may_hope(const struct purse *purse);
/* Is the lane to give something back? Follows the bound, which may have been changed. */
bool purse_is_over(struct purse *purse);

#endif
