/* Timers of sessions: a binary heap by time. */
#include <config.h>

#include <stdlib.h>

#include "core/router/session.h"

static void
place(struct yk_router *router, struct yk_session *session, uint32_t index)
{
    router->timers[index] = session;
    session->timer_index = index;
}

static void
sift_up(struct yk_router *router, struct yk_session *session, uint32_t index)
{
    while (index > 0 && router->timers[(index - 1) / 2]->timer_ms > session->timer_ms) {
        place(router, router->timers[(index - 1) / 2], index);
        index = (index - 1) / 2;
    }
    place(router, session, index);
}

static void
sift_down(struct yk_router *router, struct yk_session *session, uint32_t index)
{
    for (;;) {
        uint32_t child = index * 2 + 1;
        if (child + 1 < router->n_timers &&
            router->timers[child + 1]->timer_ms < router->timers[child]->timer_ms) {
            child++;
        }
        if (child >= router->n_timers || router->timers[child]->timer_ms >= session->timer_ms) {
            break;
        }
        place(router, router->timers[child], index);
        index = child;
    }
    place(router, session, index);
}

static void
remove_timer(struct yk_session *session)
{
    struct yk_router *router = session->router;
    struct yk_session *last = router->timers[--router->n_timers];
    uint32_t index = session->timer_index;
    session->timer_ms = 0;
    if (last != session) {
        sift_up(router, last, index);
        sift_down(router, last, last->timer_index);
    }
}

/* Without memory for it the session goes without a timer. */
void
timer_set(struct yk_session *session, uint64_t at_ms)
{
    struct yk_router *router = session->router;
    if (session->timer_ms != 0) {
        remove_timer(session);
    }
    if (at_ms == 0) {
        return;
    }
    if (router->n_timers == router->timers_room) {
        uint32_t room = router->timers_room == 0 ? 64 : router->timers_room * 2;
        struct yk_session **timers = realloc(router->timers, room * sizeof(*timers));
        if (timers == NULL) {
            return;
        }
        router->timers = timers;
        router->timers_room = room;
    }
    session->timer_ms = at_ms;
    sift_up(router, session, router->n_timers++);
}

uint64_t
yk_router_next_timer(const struct yk_router *router)
{
    return router->n_timers > 0 ? router->timers[0]->timer_ms : 0;
}

void
yk_router_timers(struct yk_router *router, uint64_t now_ms)
{
    while (router->n_timers > 0 && router->timers[0]->timer_ms <= now_ms) {
        struct yk_session *session = router->timers[0];
        uint64_t next_ms = 0;
        enum yk_timer_result result =
            session->frontend->ops.timer(session->state, now_ms, &session->output.outbox, &next_ms);
        timer_set(session, next_ms > now_ms || next_ms == 0 ? next_ms : now_ms + 1);
        session->is_closing = session->is_closing || result == YK_TIMER_CLOSE;
        session_touched(session);
    }
}
