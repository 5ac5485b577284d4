/* Facts about the process for `stats`: what the machines cannot know by themselves.
 *
 * Threads: told from any worker's thread; the struct does not change once threads run, but for
 * `threads`. Ownership: borrows all it points to. */
#ifndef YK_MAIN_FACTS_H
#define YK_MAIN_FACTS_H

#include "core/io/thread.h"

struct yk_facts {
    const struct yk_config *config;
    const struct yk_node *node;
    struct yk_threads *threads; /* set when they run; atomic */
    struct yk_journal *journal; /* set before; NULL: no bucket has one */
    uint64_t start_ms;
};

void
yk_facts_init(struct yk_facts *facts, const struct yk_config *config, const struct yk_node *node);
/* For topics "" and "settings"; see yk_router_sink. */
void yk_facts_tell(void *facts, const char *topic, yk_fact_fn fn, void *fn_arg);

#endif
