/* A cluster around one slot: the shipped replica machine and the shipped rules of the managers, on
 * nodes, a network, clocks and journals that a seed makes. So many runs fit into a second that rare
 * interleavings are met; whole nodes are simulated in simulation.h.
 *
 * Threads: one simulation at a time in a process. Ownership: a slot_sim is the caller's. */
#ifndef YK_TESTS_SLOT_H
#define YK_TESTS_SLOT_H

#include "core/replica/replica.h"

enum { SLOT_NODES = 5, SLOT_MANAGER = SLOT_NODES, SLOT_PLACES, SLOT_CLIENTS = 6, SLOT_KEYS = 2 };

/* What goes wrong in a run: anything, as the seed has it, or the same again and again, where seeds
 * alone would hardly meet it. */
enum slot_schedule {
    SLOT_ANYTHING,
    SLOT_RESTARTED_BACKUP, /* back before its promise has run out, while the primary hears nobody */
    SLOT_CONFIRMED,        /* reads are confirmed, and clocks run as they like */
    SLOT_SCHEDULES
};

struct slot_options {
    uint32_t mutant;
    enum slot_schedule schedule;
    bool traces; /* prints what happens */
};

struct slot_result {
    char violation[256]; /* "": none */
    uint64_t commits, answers, reads, epochs, crashes, copies, reinits, lost;
};

void slot_run(uint64_t seed, const struct slot_options *options, struct slot_result *ret_result);

#endif
