/* What can happen to a worker. Time, bytes, and the ends of jobs come to it as events only.
 *
 * Threads: plain values. Ownership: what an event points to is lent until the TURN after it has
 * been stepped, mail and jobs are handed over. */
#ifndef YK_NODE_EVENT_H
#define YK_NODE_EVENT_H

#include "core/journal/bundle.h"
#include "core/replica/lane.h"
#include "core/replica/wish.h"
#include "core/ring/view.h"
#include "core/router/router.h"

enum yk_event_kind {
    YK_EVENT_OPEN,      /* a connection was accepted */
    YK_EVENT_RECEIVED,  /* bytes came, or the end of them */
    YK_EVENT_SENT,      /* bytes were taken off the session's output */
    YK_EVENT_CLOSED,    /* the connection is closed; the session is forgotten */
    YK_EVENT_MAIL,      /* ops from another worker, or back from it */
    YK_EVENT_JOB_DONE,  /* yk_job_run has ended */
    YK_EVENT_JOURNALED, /* the bundle stands in the log, as safe as it is to be */
    YK_EVENT_KEPT,      /* the piece of a snapshot is written, or not */
    YK_EVENT_FRAME,     /* a message from another node's thread, or from a tool */
    YK_EVENT_PEER,      /* the link to another node's thread is up, or what was sent may be lost */
    YK_EVENT_VIEW,      /* the cluster as it is known now */
    YK_EVENT_REFUSED,   /* wishes that the rules refuse */
    YK_EVENT_DRAIN,     /* end every session when it has its answers */
    YK_EVENT_TURN,      /* that was all for now: work, and borrow nothing any longer */
};

struct yk_event {
    enum yk_event_kind kind;
    uint64_t now_ms; /* wall clock; of TURN, JOB_DONE, KEPT and OPEN */
    union {
        struct {
            uint32_t frontend; /* index in the config */
            const struct yk_peer *peer;
            void *conn;
            struct yk_session **ret_session; /* set to NULL: refused, close it */
        } open;
        struct {
            struct yk_session *session;
            const uint8_t *bytes;
            size_t size;
            bool is_eof;
        } received;
        struct {
            struct yk_session *session;
            size_t size;
        } sent;
        struct {
            struct yk_session *session;
        } closed;
        struct {
            struct yk_op *first; /* linked by next */
        } mail;
        struct {
            struct yk_job *job;
        } job_done;
        struct yk_bundle *bundle;
        struct {
            struct yk_lane *lane;
            enum yk_err result;
        } kept;
        struct {
            uint32_t peer;         /* index of the node */
            uint32_t worker;       /* of that node; YK_WORKER_CONTROL is one */
            struct yk_slice bytes; /* one whole MessagePack value, of at most YK_FRAME_SIZE_MAX */
        } frame;
        struct {
            uint32_t peer, worker;
            bool is_up;
        } peer;
        struct yk_view *view;      /* a reference, handed over */
        struct yk_wishes *refused; /* handed over; kind and epoch say which */
    };
};

#endif
