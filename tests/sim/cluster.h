/* A simulated cluster: whole nodes with the shipped core, engine and journal, around a register
 * that one place holds; network, clocks and disks come from a seed. Ops of clients go to the
 * workers' lanes without frontend and router, which simulation.h has.
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

struct cluster_arguments {
    uint64_t seed;
    bool is_plain; /* as the first simulator was: seeds kept from then mean the same */
    FILE *traces;  /* what happens is told there; NULL: nowhere */
};

void cluster_run(struct yk_plugins *plugins, const struct cluster_arguments *arguments,
                 struct cluster_result *ret_result);

#endif
