/* One simulated node with its clients: the shipped machines and plugins, on simulated time, network
 * and engine delays, all from a seed.
 *
 * Threads: one. Ownership: a simulation owns everything it made. */
#ifndef SIM_SIMULATION_H
#define SIM_SIMULATION_H

#include "plugins/plugins.h"
#include "tools/history/history.h"

struct simulation_result {
    uint64_t n_events;
    uint64_t n_operations;
    bool is_undecided; /* the history was too hard to check */
    int64_t simulated_us;
    GString *trace;   /* a line for each event and effect; the caller's */
    GString *options; /* what the seed chose */
    GString *failure; /* empty: all went right */
};

/* Runs the seed to its end. */
void simulation_run(struct yk_plugins *plugins, uint64_t seed, uint32_t n_commands,
                    struct simulation_result *ret_result);
void simulation_result_done(struct simulation_result *result);

#endif
