/* The control of a node: what it knows of the cluster, what its replicas ask of the managers, and,
 * where it is a manager, the managers' work. A machine like the workers:
 *
 *     step(control, event) -> effects
 *
 * A node's part. At the start it asks a manager, for each register, for an answer by a read that
 * begins after the question, and registers this start; until it has that it acts on nothing. Then
 * it asks now and then whether there is anything newer. What it knows goes to the workers as a view
 * whenever it has changed.
 *
 *     register:  UNKNOWN -- an answer to a question of this start, in which it stands --> FRESH
 *
 * A manager's part. Questions that want something done wait at their register, are judged by the
 * rules together, and written by one compare-and-swap; when that fails, it is read and they are
 * judged again. Any number of managers may do so at once. Who has written tells all nodes.
 *
 *     IDLE -- a question --> READING --> (judge) -- nothing to write: answer --> IDLE
 *      |                        ^            `--> WRITING -- done: answer, tell all --> IDLE
 *      `-- by what is known ----|----------------> WRITING -- conflict, nobody knows --> RESTING
 *                               `-------------------------------------------------------'
 *
 * Source: PROTOCOL, "Forming a cluster" and "Reconfiguration". A manager that finds no registers
 * makes none: only a tool's CREATE does.
 *
 * Pure: time comes with the events. Threads: one. Ownership: owns what it knows; the setup is lent.
 */
#ifndef YK_NODE_CONTROL_H
#define YK_NODE_CONTROL_H

#include <yakumo/coordinator.h>

#include "core/base/world.h"
#include "core/config/config.h"
#include "core/replica/wish.h"
#include "core/ring/view.h"
#include "core/wire/messages.h"

struct yk_control;

struct yk_control_setup {
    const struct yk_world *world; /* for the log only */
    const struct yk_config *config;
    char node_id[YK_ID_SIZE];
    char cluster_id[YK_ID_SIZE]; /* that the data folder belongs to; "": to none yet */
    uint64_t nonce;              /* of this start; not 0 */
    uint32_t n_workers, n_lanes;
    const uint32_t *const *incarnations; /* of each bucket of the config, for each lane */
    uint64_t seed;
    /* The index by which a node is known, see core/io/peers.h: id may be "", or name and address,
     * where they are not known. YK_PEER_NONE: none can be given. */
    uint32_t (*peer)(void *arg, const char *id, const char *name, const char *address);
    void *arg;
};

enum yk_control_event_kind {
    YK_CONTROL_FRAME,    /* a whole message, of another control or of a tool */
    YK_CONTROL_PEER,     /* the link to another control is up, or what was sent may be lost */
    YK_CONTROL_WISHES,   /* of a worker; handed over */
    YK_CONTROL_ANSWERED, /* by the coordinator */
    YK_CONTROL_CHANGED,  /* the coordinator hints at a change */
    YK_CONTROL_SENDS,    /* the coordinator has a message for that of another manager */
    YK_CONTROL_JOINED,   /* the data folder belongs to the cluster now, or it cannot */
    YK_CONTROL_TURN,     /* that was all for now */
};

struct yk_control_event {
    enum yk_control_event_kind kind;
    int64_t now_us; /* of a clock that does not go back */
    union {
        struct {
            uint32_t peer;
            struct yk_slice bytes; /* lent for the step */
        } frame;
        struct {
            uint32_t peer;
            bool is_up;
        } peer;
        struct yk_wishes *wishes;
        struct {
            uint64_t token;
            const struct yk_register_answer *answer; /* lent for the step */
        } answered;
        const char *changed;
        struct {
            uint32_t manager;
            struct yk_slice bytes; /* lent for the step */
        } sends;
        enum yk_err joined;
    };
};

enum yk_control_effect_kind {
    YK_CONTROL_SEND,        /* a message to another control, or to a tool */
    YK_CONTROL_READ,        /* ask the coordinator; ends by ANSWERED, as WRITE does */
    YK_CONTROL_WRITE,       /* likewise */
    YK_CONTROL_WATCH,       /* ask it to hint at changes */
    YK_CONTROL_COORDINATOR, /* a message for the own coordinator, of another manager's */
    YK_CONTROL_JOIN,        /* make the data folder one of this cluster's; ends by JOINED */
    YK_CONTROL_VIEW,        /* to all workers */
    YK_CONTROL_REFUSED,     /* to one worker: by the rules */
    YK_CONTROL_READY,       /* the first view that is fresh in all buckets has gone out */
};

struct yk_control_effect {
    enum yk_control_effect_kind kind;
    union {
        struct {
            uint32_t peer;
            struct yk_buffer *bytes; /* the reference is handed over */
        } send;
        struct {
            const char *name; /* lives as long as the control */
            uint64_t token;
            struct yk_slice bytes; /* WRITE; they stay until ANSWERED */
            uint64_t if_revision;
        } coordinator;
        struct {
            uint32_t manager;
            struct yk_buffer *bytes; /* likewise handed over */
        } message;
        char join[YK_ID_SIZE];
        struct yk_view *view;      /* a reference, handed over */
        struct yk_wishes *refused; /* handed over; worker says whose */
    };
};

/* NULL: no memory. */
struct yk_control *yk_control_new(const struct yk_control_setup *setup);
void yk_control_free(struct yk_control *control); /* takes NULL */

void yk_control_step(struct yk_control *control, const struct yk_control_event *event);
/* The effects of the steps since they were last taken; valid until the next step. */
const struct yk_control_effect *
yk_control_take_effects(struct yk_control *control, uint32_t *ret_n);
/* When TURN is to come at the latest. */
int64_t yk_control_next_turn(const struct yk_control *control);

/* This node's number among the managers of the file, and how many there are; UINT32_MAX: it is
 * none. */
uint32_t yk_control_manager(const struct yk_config *config, uint32_t *ret_n_managers);
bool yk_control_is_ready(const struct yk_control *control);

#endif
