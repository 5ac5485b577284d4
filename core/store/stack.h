/* The stack of one lane: an engine with its store filters above it, opened, checked, and called.
 *
 * Threads: as the engine's header says: one call at a time, any thread.
 * Ownership: a stack owns the instances in it; the settings are lent for its whole life. */
#ifndef YK_STORE_STACK_H
#define YK_STORE_STACK_H

#include <yakumo/filter.h>

#include "core/base/options.h"
#include "core/base/world.h"

struct yk_stack;

struct yk_stack_config {
    const struct yk_world *world;
    const struct yk_settings *backend;
    struct yk_settings *const *filters; /* outermost first */
    uint32_t n_filters;
    struct yk_backend_place
        place; /* copied; what it points to is lent; folder is filled in by make_folder */
    /* Makes the lane's folder and returns its path, which lives as long as the stack; NULL: could
     * not, and error says why. Asked only if the engine keeps something. */
    const char *(*make_folder)(void *arg, const struct yk_backend_place *place, char *error);
    void *arg;
    uint64_t value_size_max; /* the bucket's */
    uint32_t key_size_max;
};

/* Makes the instances and opens them, the engine first. On failure error (YK_ERROR_SIZE bytes) says
 * which plugin and why, and nothing is left open. Refuses a bucket that asks for more than the
 * engine gives. ECORRUPT: what the lane holds is damaged; then *ret_stack is set all the same, to a
 * stack that may only be asked for its info, and closed. */
enum yk_err yk_stack_open(const struct yk_stack_config *config, struct yk_stack **ret_stack,
                          char *error) YK_MUST_CHECK;
/* Closes and frees; takes NULL. */
void yk_stack_close(struct yk_stack *stack);

/* The least memory_max of a bucket that evicts. Any record fits then, though a lane may have to
 * wait for the others to give something back, and refuse a large one meanwhile. */
uint64_t yk_stack_memory_min(uint32_t n_lanes, uint32_t key_size_max, uint64_t value_size_max);

/* What such a stack would be, without opening it; with the same checks. place.folder,
 * place.budget->size_max and place.bucket are looked at, no other pointer of it. */
enum yk_err yk_stack_ask(const struct yk_stack_config *config, struct yk_backend_info *ret_info,
                         char *error) YK_MUST_CHECK;

/* What the whole stack is, as its outermost filter says. */
const struct yk_backend_info *yk_stack_info(const struct yk_stack *stack);

/* What the engine said of its last failure, "" if nothing; YK_ERROR_SIZE bytes. */
void yk_stack_error(struct yk_stack *stack, char *to);

/* The calls, from the outermost filter down; see backend.h. */
enum yk_err yk_stack_get(struct yk_stack *stack, const struct yk_key *keys, uint32_t n,
                         yk_value_fn fn, void *arg, struct yk_call *call) YK_MUST_CHECK;
enum yk_err yk_stack_apply(struct yk_stack *stack, const struct yk_change *changes, uint32_t n,
                           struct yk_call *call) YK_MUST_CHECK;
enum yk_err
yk_stack_scan(struct yk_stack *stack, const struct yk_scan *scan, struct yk_cursor *cursor,
              yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call) YK_MUST_CHECK;
bool yk_stack_has_prefetch(const struct yk_stack *stack);
void yk_stack_prefetch(struct yk_stack *stack, const struct yk_key *key, uint32_t stage);
/* Of the engine: filters keep nothing back. */
enum yk_err yk_stack_sync(struct yk_stack *stack) YK_MUST_CHECK;
enum yk_err
yk_stack_hint(struct yk_stack *stack, const struct yk_key *key, struct yk_hint *ret_hint);
bool yk_stack_has_hints(const struct yk_stack *stack);
enum yk_err yk_stack_admit(struct yk_stack *stack, const struct yk_change *change) YK_MUST_CHECK;
bool yk_stack_has_admit(const struct yk_stack *stack); /* or it always says yes */

/* The engine's figures and the filters', one after another; the engine's record count as
 * "curr_items" where it is exact. */
void yk_stack_figures(struct yk_stack *stack, yk_figure_fn fn, void *arg);

#endif
