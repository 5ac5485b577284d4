/* What a worker wants done. Effects wait in its list until the caller has taken them, after each
 * step.
 *
 * Threads: plain values. Ownership: a session stays the worker's; jobs and mail are handed over. */
#ifndef YK_NODE_EFFECT_H
#define YK_NODE_EFFECT_H

#include "core/journal/bundle.h"
#include "core/replica/lane.h"
#include "core/replica/wish.h"
#include "core/router/router.h"

enum yk_effect_kind {
    YK_EFFECT_SESSION, /* look at it: send what it has, read from it or not, close it if it is over
                        */
    YK_EFFECT_JOB,     /* yk_job_run on a thread that may block, then JOB_DONE here */
    YK_EFFECT_MAIL,    /* to worker `to` */
    YK_EFFECT_JOURNAL, /* into the log, in the order of effects; then JOURNALED here */
    YK_EFFECT_KEEP,    /* a piece of a lane's snapshot, into its file; then KEPT here */
    YK_EFFECT_SEND,    /* to another node's thread: whole messages; whether they come is PEER's */
    YK_EFFECT_WISH,    /* to the node's control, for the managers; refusals are REFUSED's */
    YK_EFFECT_SHUT_DOWN, /* a client asked for the node's end */
};

struct yk_effect {
    enum yk_effect_kind kind;
    union {
        struct yk_session *session;
        struct yk_job *job;
        struct {
            uint32_t to;
            struct yk_op *first;
        } mail;
        struct {
            uint32_t peer, worker;
            struct yk_buffer *bytes; /* one or more whole frames; the reference is handed over */
        } send;
        struct yk_wishes *wishes; /* handed over */
        struct yk_bundle *bundle;
        struct {
            struct yk_lane *lane;
            struct yk_bundle
                *bundle;    /* lent until KEPT; NULL with GIVE_UP, which KEPT does not end */
            uint32_t flags; /* enum yk_keep_flags */
        } keep;
    };
};

#endif
