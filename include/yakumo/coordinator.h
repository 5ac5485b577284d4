/* The interface of a coordinator: named linearizable registers with compare-and-swap, and a way to
 * be told of changes. The cluster's one shared record lives there.
 *
 * Safety rests on compare-and-swap alone: any number of managers may use it at once. A coordinator
 * is a machine: messages, timers and durable bytes come and go through its host, so that the
 * simulator can run it. Each question carries a token; its answer comes through port->answer, once,
 * in any order. One that talks to a service of its own (etcd) has a thread for that, which says
 * port->wake, and the simulator has a model in its place.
 *
 * Threads: one instance per node, called by one thread; port->wake by any.
 * Ownership: what is passed in is lent for the call. */
#ifndef YAKUMO_COORDINATOR_H
#define YAKUMO_COORDINATOR_H

#include <yakumo/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YK_COORDINATOR_ABI 1u

/* How far a write came. */
enum yk_register_result {
    YK_REGISTER_OK = 0, /* read: bytes and revision (0: never written). write: the new revision */
    YK_REGISTER_CONFLICT =
        1, /* the register holds another revision than if_revision; nothing changed */
    YK_REGISTER_UNKNOWN = 2, /* no answer in time: it may have been written, or may yet be */
    YK_REGISTER_FAILED = 3,  /* surely not done */
};

struct yk_register_answer {
    uint32_t struct_size;
    uint32_t result; /* enum yk_register_result */
    uint64_t revision;
    struct yk_slice bytes; /* read */
};

/* What the host does for a coordinator. Functions take the port itself first. */
struct yk_coordinator_port {
    uint32_t struct_size;
    uint32_t self_index, n_managers;
    void (*answer)(struct yk_coordinator_port *port, uint64_t token,
                   const struct yk_register_answer *answer);
    /* Register `name` has, or may have, a newer revision. */
    void (*changed)(struct yk_coordinator_port *port, const char *name);
    /* To the coordinator of another manager; may be lost, doubled or late. */
    void (*send)(struct yk_coordinator_port *port, uint32_t manager_index, struct yk_slice message);
    /* Calls timer() at that time (clock of host->now_ms); one is set at a time. */
    void (*set_timer)(struct yk_coordinator_port *port, uint64_t at_ms);
    /* Replaces the durable bytes `name` ([a-z0-9._-]+, at most 80 bytes, of which the first is no
     * '.'); stored() is called with the token when they are on the device, never before store() has
     * returned. After a failure the old bytes or the new ones are there. */
    void (*store)(struct yk_coordinator_port *port, const char *name, struct yk_slice bytes,
                  uint64_t token);
    /* From any thread, until close has returned: woken() is to be called soon, by the thread that
     * calls everything else. */
    void (*wake)(struct yk_coordinator_port *port);
};

struct yk_coordinator_ops {
    uint32_t struct_size;

    struct yk_life life;
    /* open may touch the world; close ends it. Defaults: succeed. */
    enum yk_err (*open)(void *self, struct yk_coordinator_port *port);
    void (*close)(void *self);

    /* Required. A linearizable read: begun after the question. */
    void (*read)(void *self, const char *name, uint64_t token);
    /* Required. Writes if the register still has if_revision (0: was never written). */
    void (*write)(void *self, const char *name, struct yk_slice bytes, uint64_t if_revision,
                  uint64_t token);
    /* Asks to be told of changes by port->changed. Default: the host polls. */
    void (*watch)(void *self, const char *name);

    /* Events of a machine that talks through its port. Defaults: nothing. loaded() brings each
     * durable entry back, whole and as it was stored, right after open; see ready(). */
    void (*loaded)(void *self, const char *name, struct yk_slice bytes);
    void (*message)(void *self, uint32_t manager_index, struct yk_slice message);
    void (*timer)(void *self, uint64_t now_ms);
    void (*stored)(void *self, uint64_t token, enum yk_err result);
    /* All entries have been brought back, or there are none: called once, before anything else but
     * loaded(). An error, with its reason in host->error, refuses the start: these entries cannot
     * be gone on with. From here on it may store, send and set its timer. Default: succeeds. */
    enum yk_err (*ready)(void *self);
    /* After port->wake, once for any number of them. Default: nothing. */
    void (*woken)(void *self);
};

#ifdef __cplusplus
}
#endif

#endif
