/* What the pure rooms may ask of the world, lent from outside: the daemon lends the real one, the
 * simulator and tests their own. And the hosts of plugins, which are made from it.
 *
 * Threads: now_* and random may be called from any thread that runs a worker or an executor; a pure
 * machine itself takes time from its events only. A yk_plugin_host belongs to one instance.
 * Ownership: the world outlives all that it was given to. */
#ifndef YK_BASE_WORLD_H
#define YK_BASE_WORLD_H

#include <yakumo/host.h>

#include "core/base/limits.h"

struct yk_world {
    void *arg;
    uint64_t (*now_ms)(void *arg);
    uint64_t (*now_us)(void *arg);
    /* Of a clock that goes on while the machine sleeps (CLOCK_BOOTTIME): for leases. */
    uint64_t (*boot_us)(void *arg);
    uint64_t (*random)(void *arg);
    void (*sleep_us)(void *arg, uint64_t us);
    /* One finished line without its newline; `from` is the room or plugin. */
    void (*log)(void *arg, enum yk_log_level level, const char *from, const char *line);
    /* NULL result: no memory. For fault tests; the daemon uses malloc. */
    void *(*resize)(void *arg, void *memory, size_t size);
    void (*release)(void *arg, void *memory);
    /* Ends an asynchronous engine call; NULL where no such engine can be. */
    void (*complete)(void *arg, struct yk_call *call, enum yk_err result);
};

/* A host for one instance of a plugin. */
struct yk_plugin_host {
    struct yk_host host; /* first: the plugin sees this */
    const struct yk_world *world;
    char name[YK_NAME_SIZE_MAX * 2]; /* "memory" or "memcached.0", for the log */
    int error_lock;                  /* a spin lock: calls may fail beside each other */
    char error[YK_ERROR_SIZE];       /* the last text of host->error, "" if none */
};

void
yk_plugin_host_init(struct yk_plugin_host *host, const struct yk_world *world, const char *name);

/* The last text of host->error, copied to YK_ERROR_SIZE bytes. From any thread. */
void yk_plugin_host_error(struct yk_plugin_host *host, char *to);

/* Logs through a world, printf style, at most 1 KiB. */
void yk_log(const struct yk_world *world, enum yk_log_level level, const char *from,
            const char *format, ...) YK_PRINTF(4, 5);

#endif
