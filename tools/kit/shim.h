/* A frontend that stands between the core and the one that is tested, and holds each to what it may
 * ask of the other: the core's router executes, this layer looks. Bytes are lent in memory of
 * exactly their size that is rubbish after the turn, an outbox has exactly the room that was asked
 * for, and request and submit say stop where the core would not have.
 *
 * Threads: one. Ownership: a shim outlives the node that runs it. */
#ifndef YK_TOOLS_KIT_SHIM_H
#define YK_TOOLS_KIT_SHIM_H

#include <yakumo/frontend.h>

#include "tools/kit/host.h"
#include "tools/kit/kit.h"

struct kit_shim {
    struct kit *kit;
    struct kit_host *host;
    struct yk_plugin plugin;            /* what the core is told of: the tested one's, with `ops` */
    struct yk_frontend_ops ops;         /* this layer's */
    const struct yk_frontend_ops *real; /* the tested one's */
    struct yk_plugin_host instance;
    void *self;              /* the tested one's; NULL: none is made */
    GPtrArray *loans;        /* struct loan, until the turn ends */
    struct yk_random random; /* of the stops */
    uint32_t stops_one_in;   /* 0: none */
    uint32_t grow_fails_in;  /* 1: the next one fails; 0: none does */
    uint32_t n_sessions;     /* open ones */
    uint64_t n_requests;     /* submitted */
    uint64_t digest;         /* of all that was submitted, but for notes and tags */
    uint64_t n_stopped, n_lost;
    uint64_t n_inexact; /* requests whose answers depend on more than what was asked before */
};

void kit_shim_init(struct kit_shim *shim, struct kit *kit, struct kit_host *host, uint64_t seed);
void kit_shim_done(struct kit_shim *shim);
/* The bytes that were lent are gone now. */
void kit_shim_end_turn(struct kit_shim *shim);

#endif
