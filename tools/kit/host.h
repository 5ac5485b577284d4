/* The strictest host that the interface allows: memory that is counted, filled with rubbish and
 * guarded against being released twice, allocations that fail when asked to, log lines as the
 * plugin wrote them, a budget that keeps account.
 *
 * Threads: any, as host.h of the plugins says. Ownership: a host outlives the instances it is given
 * to. */
#ifndef YK_TOOLS_KIT_HOST_H
#define YK_TOOLS_KIT_HOST_H

#include <yakumo/backend.h>

#include "core/base/world.h"
#include "tools/kit/kit.h"

enum { KIT_BLOCKS_KEPT = 64 };

struct kit_shim;

struct kit_host {
    struct kit *kit;
    struct yk_world world;
    uint64_t n_alive;   /* allocations; atomic, as the four below */
    uint64_t n_made;    /* in all */
    uint64_t fails_at;  /* the allocation of this number fails; 0: none does */
    uint64_t fails_for; /* and so many after it */
    uint64_t n_failed;
    void *kept[KIT_BLOCKS_KEPT]; /* the latest released ones, so that a second release is seen */
    uint32_t n_kept;             /* ever; atomic */
    bool may_sleep;
    uint64_t now_ms; /* of the world; 0: the real clock */
    uint64_t random;
    void (*complete)(struct yk_call *call, enum yk_err result);
    struct kit_shim *shim; /* of a frontend, or NULL */
};

void kit_host_init(struct kit_host *host, struct kit *kit, uint64_t seed);
void kit_host_done(struct kit_host *host);
/* From now on: the n-th allocation fails, and n_more after it. 0: none. */
void kit_host_fail(struct kit_host *host, uint64_t nth, uint64_t n_more);
/* A host for one instance. */
void kit_host_lend(struct kit_host *host, struct yk_plugin_host *instance, const char *name);

/* Memory as plugins get it; for what the host itself lends them in calls. */
void *kit_host_resize(struct kit_host *host, void *memory, size_t size);
void kit_host_release(struct kit_host *host, void *memory);

/* A budget that breaks off where more is given than was taken. */
struct kit_budget {
    struct yk_budget budget; /* first */
    struct kit *kit;
    uint64_t taken;     /* bytes; atomic */
    uint64_t taken_max; /* ever; atomic */
};

void kit_budget_init(struct kit_budget *budget, struct kit *kit, uint64_t size_max);

#endif
