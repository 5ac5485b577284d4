/* Sessions: opening, working, ending. */
#include <config.h>

#include "core/router/router.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/assert.h"
#include "core/router/session.h"

enum { VALUE_GUESS_FIRST = 4096 };

enum yk_err
yk_router_new(const struct yk_router_config *config, struct yk_router **ret_router)
{
    struct yk_router *router = calloc(1, sizeof(*router));
    if (router == NULL) {
        return YK_ENOMEM;
    }
    router->config = *config;
    router->look = 1;
    *ret_router = router;
    return YK_OK;
}

void
yk_router_free(struct yk_router *router)
{
    if (router == NULL) {
        return;
    }
    YK_ASSERT(router->n_sessions == 0);
    while (router->free_calls != NULL) {
        struct call *call = router->free_calls;
        router->free_calls = call->next;
        call_destroy(call);
    }
    yk_output_pool_done(&router->blocks);
    free(router->timers);
    free(router);
}

static void
link_session(struct yk_session *session)
{
    struct yk_router *router = session->router;
    session->older = router->newest;
    if (router->newest != NULL) {
        router->newest->newer = session;
    }
    router->newest = session;
    router->n_sessions++;
    router->counters.curr_connections++;
    router->counters.total_connections++;
}

static void
unlink_session(struct yk_session *session)
{
    struct yk_router *router = session->router;
    if (session->newer != NULL) {
        session->newer->older = session->older;
    } else {
        router->newest = session->older;
    }
    if (session->older != NULL) {
        session->older->newer = session->newer;
    }
    router->n_sessions--;
    router->counters.curr_connections--;
}

static void
close_filters(struct yk_session *session)
{
    for (uint32_t i = 0; i < session->n_filter_states; i++) {
        struct yk_request_filter *filter = &session->frontend->filters[i];
        if (filter->ops.session_free != NULL && session->filter_states[i] != NULL) {
            filter->ops.session_free(filter->self, session->filter_states[i]);
        }
    }
    free(session->filter_states);
}

static enum yk_err
open_filters(struct yk_session *session)
{
    struct yk_frontend *frontend = session->frontend;
    session->filter_states = calloc(frontend->n_filters + 1u, sizeof(void *));
    if (session->filter_states == NULL) {
        return YK_ENOMEM;
    }
    for (uint32_t i = 0; i < frontend->n_filters; i++) {
        struct yk_request_filter *filter = &frontend->filters[i];
        enum yk_err result =
            filter->ops.session_new != NULL
                ? filter->ops.session_new(filter->self, &session->peer, &session->filter_states[i])
                : YK_OK;
        if (result != YK_OK) {
            return result;
        }
        session->n_filter_states = i + 1;
    }
    return YK_OK;
}

static void
copy_peer(struct yk_session *session, const struct yk_peer *peer)
{
    const struct yk_bucket *bucket = session->frontend->bucket;
    session->peer = *peer;
    snprintf(session->address, sizeof(session->address), "%s", peer->address);
    snprintf(session->listener, sizeof(session->listener), "%s", peer->listener);
    session->peer.struct_size = sizeof(session->peer);
    session->peer.address = session->address;
    session->peer.listener = session->listener;
    session->peer.certificate = NULL;
    session->peer.bucket = bucket;
    session->peer.key_size_max = bucket->key_size_max - (uint32_t)session->frontend->prefix.size;
    session->peer.value_size_max = (uint32_t)bucket->value_size_max;
}

static void
first_timer(struct yk_session *session)
{
    uint64_t next_ms = 0;
    if (session->frontend->ops.timer != NULL) {
        enum yk_timer_result result = session->frontend->ops.timer(
            session->state, session->router->now_ms, &session->output.outbox, &next_ms);
        timer_set(session, next_ms);
        session->is_closing = session->is_closing || result == YK_TIMER_CLOSE;
    }
}

struct yk_session *
yk_router_open(struct yk_router *router, struct yk_frontend *frontend, const struct yk_peer *peer,
               void *conn, uint64_t now_ms)
{
    struct yk_session *session = calloc(1, sizeof(*session));
    router->now_ms = now_ms > router->now_ms ? now_ms : router->now_ms;
    if (session == NULL) {
        return NULL;
    }
    session->router = router;
    session->frontend = frontend;
    session->conn = conn;
    session->value_guess = VALUE_GUESS_FIRST;
    session->opened_ms = session->last_ms = router->now_ms;
    copy_peer(session, peer);
    yk_output_init(&session->output, &router->blocks,
                   YK_OUTBOX_MAX + frontend->bucket->value_size_max);
    enum yk_err result = open_filters(session);
    if (result == YK_OK) {
        result = frontend->ops.session_new(frontend->self, &session->peer, &session->state);
    }
    if (result != YK_OK) {
        close_filters(session);
        free(session);
        return NULL;
    }
    link_session(session);
    session->is_closing = router->is_draining;
    first_timer(session);
    return session;
}

/* Nothing refers to it any more. */
void
session_free(struct yk_session *session)
{
    YK_ASSERT(session->is_closed && session->n_in_flight == 0);
    if (session->is_runnable || session->is_fed) {
        return; /* the list that holds it frees it */
    }
    yk_output_done(&session->output);
    free(session->input);
    free(session);
}

void
yk_session_closed(struct yk_session *session)
{
    struct yk_frontend *frontend = session->frontend;
    struct yk_router *router = session->router;
    YK_ASSERT(!session->is_closed);
    session->is_closed = true;
    timer_set(session, 0);
    unlink_session(session);
    struct call *next;
    for (struct call *call = session->first; call != NULL; call = next) {
        next = call->next;
        if (frontend->ops.cancel != NULL) {
            frontend->ops.cancel(session->state, &call->op.request);
        }
        bool has_ops_out =
            call->state == CALL_STARTED && (call->parts == NULL || call->parts->n_left > 0);
        if (call->state == CALL_STARTED && !has_ops_out) {
            session->n_in_flight--; /* a stream that waited for room */
        }
        if (!has_ops_out) {
            call_free(router, call);
        }
    }
    session->first = session->last = session->next_start = NULL;
    frontend->ops.session_free(session->state);
    close_filters(session);
    session->n_filter_states = 0;
    if (session->n_in_flight == 0) {
        session_free(session);
    }
}

void *
yk_session_conn(const struct yk_session *session)
{
    return session->conn;
}

size_t
yk_session_peek(struct yk_session *session, struct yk_slice *ret_slices, size_t n_max)
{
    return yk_output_peek(&session->output, ret_slices, n_max);
}

void
yk_session_sent(struct yk_session *session, size_t size)
{
    bool was_full = session->output.outbox.is_full;
    session->router->counters.bytes_written += size;
    yk_output_sent(&session->output, size);
    if (was_full && !session->output.outbox.is_full) {
        session_runnable(session);
    }
}

bool
yk_session_wants_input(const struct yk_session *session)
{
    return !session->is_eof && !session->is_closing && !session->is_stopped && !session->is_lost &&
           !session->output.outbox.is_full;
}

bool
yk_session_is_over(struct yk_session *session)
{
    if (session->is_lost || session->output.is_lost) {
        return true;
    }
    return (session->is_closing || (session->was_fed_eof && !session->is_stopped)) &&
           session->n_calls == 0 && yk_output_size(&session->output) == 0;
}

static void
work(struct yk_session *session)
{
    session_flush(session);
    if (session->first != NULL && session->first->state == CALL_STARTED) {
        parts_pump(session->first);
    }
    session_start(session);
    if (session_refeed(session)) {
        session_start(session);
    }
    session_touched(session);
}

bool
yk_router_run(struct yk_router *router, uint64_t now_ms)
{
    bool has_worked = false;
    router->now_ms = now_ms;
    router->n_submitted = 0;
    while (router->runnable != NULL) {
        struct yk_session *session = router->runnable;
        router->runnable = session->next_runnable;
        session->is_runnable = false;
        has_worked = true;
        if (!session->is_closed) {
            work(session);
        } else if (session->n_in_flight == 0) {
            session_free(session);
        }
    }
    return has_worked;
}

uint32_t
yk_router_submitted(const struct yk_router *router)
{
    return router->n_submitted;
}

bool
yk_router_wants_run(const struct yk_router *router)
{
    return router->runnable != NULL;
}

void
yk_router_looked(struct yk_router *router)
{
    router->look++;
}

void
yk_router_end_turn(struct yk_router *router)
{
    while (router->fed != NULL) {
        struct yk_session *session = router->fed;
        router->fed = session->next_fed;
        session->is_fed = false;
        if (!session->is_closed) {
            session_release_input(session);
        } else if (session->n_in_flight == 0) {
            session_free(session);
        }
    }
}

void
yk_router_drain(struct yk_router *router)
{
    router->is_draining = true;
    for (struct yk_session *session = router->newest; session != NULL; session = session->older) {
        session->is_closing = true;
        session_touched(session);
    }
}

uint32_t
yk_router_sessions(const struct yk_router *router)
{
    return router->n_sessions;
}
