/* The router: sessions and their requests, from the bytes that came to the lane that owns the key,
 * and back in order. One for each worker; it owns the worker's sessions.
 *
 *     received -> feed -> submit -> queued -> started -> (lane, or another worker) -> ended ->
 * reply -> output
 *
 * A session's requests are answered in order. A request starts when nothing stands against it: an
 * earlier one of the session on the same key of which one writes (held by small masks, so now and
 * then one waits without need), a barrier, a full output, or too many bytes of answers on their
 * way. What is refused for want of room is started again later.
 *
 * Pure: bytes, time and ended ops come in; ops, output and wishes go out by the sink. Threads: the
 * worker's. Ownership: a session is the router's from open until it is over and closed; its conn is
 * the caller's. */
#ifndef YK_ROUTER_ROUTER_H
#define YK_ROUTER_ROUTER_H

#include "core/router/bucket.h"
#include "core/router/frontend.h"
#include "core/store/op.h"
#include "core/store/scan.h"

struct yk_router;
struct yk_session;

/* Names and values for `stats`. */
typedef void (*yk_fact_fn)(void *arg, const char *name, const char *value);

struct yk_router_sink {
    void *arg;
    /* Execute the op on worker op->executor: on lane op->lane of bucket op->bucket_index, or if
     * that is YK_OP_WHOLE_WORKER by yk_router_execute of that worker's router. Ends with
     * yk_router_ended here. */
    void (*execute)(void *arg, struct yk_op *op);
    /* The session has output, is over, or wants to be read from again or no more. */
    void (*touched)(void *arg, struct yk_session *session);
    /* A client asked for the node's end, as TERM does. */
    void (*shut_down)(void *arg);
    /* Facts about the process for a topic of stats ("", "settings"). */
    void (*facts)(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg);
};

struct yk_router_config {
    const struct yk_world *world;
    struct yk_bucket *const *buckets;
    uint32_t n_buckets;
    uint32_t worker, n_workers;
    struct yk_router_sink sink;
};

enum yk_err
yk_router_new(const struct yk_router_config *config, struct yk_router **ret_router) YK_MUST_CHECK;
/* Every session must be closed and every op ended. Takes NULL. */
void yk_router_free(struct yk_router *router);

/* A new connection. peer is copied. NULL: no memory, or the frontend refused; close it. */
struct yk_session *yk_router_open(struct yk_router *router, struct yk_frontend *frontend,
                                  const struct yk_peer *peer, void *conn, uint64_t now_ms);

/* Where the next bytes may be read to directly; size 0: anywhere. Valid until the session's next
 * event. */
void yk_session_room(struct yk_session *session, uint8_t **ret_room, size_t *ret_size);
/* Bytes came (they stay as they are until yk_router_end_turn), and with is_eof there will be none
 * after. */
void
yk_session_received(struct yk_session *session, const uint8_t *bytes, size_t size, bool is_eof);
/* What is to be sent; stays until yk_session_sent. */
size_t yk_session_peek(struct yk_session *session, struct yk_slice *ret_slices, size_t n_max);
void yk_session_sent(struct yk_session *session, size_t size);
bool yk_session_wants_input(const struct yk_session *session);
/* Nothing more will be sent or read: close the connection and call yk_session_closed. */
bool yk_session_is_over(struct yk_session *session);
/* The connection is gone, whatever was left to do; forget the session. */
void yk_session_closed(struct yk_session *session);
void *yk_session_conn(const struct yk_session *session);

/* Starts what can be started. Call again as long as it says true and ops have ended meanwhile. */
bool yk_router_run(struct yk_router *router, uint64_t now_ms);
uint32_t yk_router_submitted(const struct yk_router *router); /* requests, since the last run */
bool yk_router_wants_run(const struct yk_router *router);
/* An op has ended; reply is lent. False, for a GET that is not is_kept: no room now, it is as if
 * never sent. */
bool yk_router_ended(struct yk_router *router, struct yk_op *op, const struct yk_reply *reply);
/* Executes an op of any worker that asks this whole worker: its counters and connections. */
void yk_router_execute(struct yk_router *router, struct yk_op *op);
/* The caller has seen to the sessions that were touched; from now on each is named again, once. */
void yk_router_looked(struct yk_router *router);
/* The bytes given to received may go now. */
void yk_router_end_turn(struct yk_router *router);

/* When the next timer of a session is due, ms; 0: none. */
uint64_t yk_router_next_timer(const struct yk_router *router);
void yk_router_timers(struct yk_router *router, uint64_t now_ms);

/* No new requests: each session ends when what it has asked for is answered and sent. */
void yk_router_drain(struct yk_router *router);
uint32_t yk_router_sessions(const struct yk_router *router);

#endif
