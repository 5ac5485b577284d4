/* A simulated cluster: whole nodes with the shipped core, engines and journal. Their registers are
 * judged and kept in one place, or by the shipped control with a coordinator; clients ask the
 * workers' lanes, or the frontend of any node. Network, clocks, disks and what of all this there is
 * come from a seed.
 *
 * Threads: one. Ownership: a run owns all that it made. */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include <stdio.h>

#include "plugins/plugins.h"

struct cluster_result {
    char failure[4096]; /* "": all went right */
    char options[256];  /* what the seed chose */
    uint64_t n_operations, n_events, n_crashes, n_epochs;
    bool is_undecided;
};

enum cluster_generation {
    CLUSTER_FIRST,   /* one place judges, clients know who leads */
    CLUSTER_CONTROL, /* controls, gateways, flushes, records that end; what members hold */
    /* Disks that are full or stand still; writes of which any sector is lost; another engine. */
    CLUSTER_DISKS,
    /* Reads that are confirmed, by clocks that run as they like; reads by any member. */
    CLUSTER_READS,
    CLUSTER_CACHE, /* gateways that keep values */
    CLUSTER_NEWEST = CLUSTER_CACHE
};

struct cluster_arguments {
    uint64_t seed;
    /* How much of what a run may have: each generation of the simulator had more, and a seed that
     * was kept from an earlier one means the same there. */
    enum cluster_generation generation;
    const char *engine; /* by name; NULL: the seed chooses */
    uint32_t mutant;    /* a rule that is left out, see core/replica/group.h; 0: none */
    FILE *traces;       /* what happens is told there; NULL: nowhere */
};

void cluster_run(struct yk_plugins *plugins, const struct cluster_arguments *arguments,
                 struct cluster_result *ret_result);

#endif
