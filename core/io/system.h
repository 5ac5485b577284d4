/* The real world, as machines and plugins get it: clocks, randomness, memory, the log.
 *
 * Threads: any; the level may be changed while others log. Ownership: plain value, outlives all. */
#ifndef YK_IO_SYSTEM_H
#define YK_IO_SYSTEM_H

#include "core/base/world.h"

struct yk_system {
    struct yk_world world; /* first */
    int level;             /* atomic: enum yk_log_level; less important lines are dropped */
    bool for_journald;     /* "<N>" in front instead of time and level */
};

/* world.complete is left NULL. */
void yk_system_init(struct yk_system *system, enum yk_log_level level);
void yk_system_set_level(struct yk_system *system, enum yk_log_level level);

/* Tells systemd how the service stands, as sd_notify(3) does: "READY=1". Nothing where nobody
 * listens. */
void yk_system_notify(const char *state);

#endif
