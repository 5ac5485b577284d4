/* The parts of the kit for engines that stand in files of their own, or are used
 * by more than one kit.
 *
 * Threads: each runs in its process. Ownership: none. */
#ifndef YK_TOOLS_KIT_BACKEND_H
#define YK_TOOLS_KIT_BACKEND_H

#include "tools/kit/bench.h"
#include "tools/kit/kit.h"

/* backend.c, of which filters take some too. */
void kit_run_map(struct kit *kit);
void kit_run_scan(struct kit *kit);
void kit_run_threads(struct kit *kit);
/* A yk_figure_fn whose arg is the kit. */
void kit_take_figure(void *arg, const char *name, uint64_t number);

/* crash.c: what is there after close, after kill -9, and beside a second process. */
void kit_run_reopen(struct kit *kit);
void kit_run_kill(struct kit *kit);
void kit_run_second(struct kit *kit);

/* damage.c: places that cannot be used, damaged files, a full disk. */
void kit_run_place(struct kit *kit);
void kit_run_damage(struct kit *kit);
void kit_run_disk(struct kit *kit);

/* no_memory.c: the n-th allocation fails, for every n; for filters too. */
void kit_run_no_memory(struct kit *kit);

#endif
