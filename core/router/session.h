/* Sessions and calls, for the files of this room only.
 *
 * Threads: the worker's. Ownership: the router owns sessions, a session its calls; a call that is
 * under way outlives a session that was closed. */
#ifndef YK_ROUTER_SESSION_H
#define YK_ROUTER_SESSION_H

#include "core/router/outbox.h"
#include "core/router/router.h"

/* queued -> started -> answered -> (written, freed)
 *    ^---------/  no room for the answer */
enum call_state { CALL_TAKEN, CALL_QUEUED, CALL_STARTED, CALL_ANSWERED };

/* A request that asks several lanes or workers. */
struct parts {
    uint32_t n_left; /* under way */
    uint32_t n_ops;
    enum yk_err result;         /* the worst so far */
    struct yk_op *ops;          /* n_ops */
    struct yk_figures *figures; /* STATS: one for each op; the first collects the sum */
    /* SCAN: one op, lane after lane. */
    struct yk_scan_state *scan;
    size_t scan_offset; /* in the chunk: what was written already */
    bool scan_has_chunk;
};

struct memory_piece {
    struct memory_piece *next;
    _Alignas(16) uint8_t bytes[];
};

struct call {
    struct yk_op op;   /* first */
    struct call *next; /* of the session, or of the free ones */
    struct yk_session *session;
    const struct yk_bucket *bucket;
    enum call_state state;
    bool must_repeat;            /* its read is older than one before it, which is done again */
    bool is_barrier;             /* starts alone; known when it is prepared */
    bool is_prepared;            /* filters have seen it, op has hash, slot, lane and worker */
    uint64_t bytes;              /* of key and value, when it was submitted */
    uint64_t value_size;         /* of the answer, where one was too large to be copied */
    uint64_t charge;             /* bytes set aside for the answer, session->charged holds them */
    struct yk_buffer *stash;     /* bytes of the answer, where they had to be copied */
    struct memory_piece *memory; /* from inbox->alloc */
    struct parts *parts;
    /* Kept from one use of the call to the next: what an answer of another worker is copied to, so
     * that no worker frees what another allocated. */
    struct yk_buffer *room;
};

struct yk_session {
    struct yk_router *router;
    struct yk_frontend *frontend;
    void *state;          /* the frontend's session */
    void **filter_states; /* of each request filter */
    uint32_t n_filter_states;
    struct yk_peer peer;
    char address[160], listener[160];
    void *conn;
    struct yk_session *newer, *older; /* all of the router */
    struct yk_session *next_runnable;
    struct yk_session *next_fed;
    bool is_runnable, is_fed;
    uint64_t touched; /* the caller's look at touched sessions by which it will see this one */

    struct call *first, *last; /* not written yet, oldest first */
    struct call *next_start;   /* where to look for queued ones, or NULL */
    uint32_t n_calls;
    uint64_t bytes; /* keys and values of the calls */
    uint32_t n_in_flight;
    uint64_t reading[4], writing[4]; /* hashes of keys in flight; cleared when nothing is */
    bool has_barrier;                /* in flight */
    bool is_blocked;                 /* too much is stashed: only the first call may start */
    uint64_t charged, stashed;       /* bytes */
    uint64_t value_guess;            /* size of values that are asked for, from those that came */

    uint8_t *input; /* what was not taken, or a large request in the making */
    size_t input_from, input_size, input_room; /* unused bytes are [from, from + size) */
    size_t want;                               /* least size worth feeding */
    bool is_stopped; /* the router said stop; feed again when there is room */
    bool is_eof, is_closing, is_lost, is_closed;
    bool was_fed_eof;

    struct yk_output output;
    uint64_t timer_ms;           /* 0: none */
    uint32_t timer_index;        /* in the heap, when timer_ms is set */
    uint64_t opened_ms, last_ms; /* clock of turns */
};

struct counters {
#define YK_COUNTER(name, is_reset) uint64_t name;
#include "core/router/counters.def"
#undef YK_COUNTER
};

struct yk_router {
    struct yk_router_config config;
    uint64_t now_ms;
    struct yk_session *newest;
    uint32_t n_sessions;
    struct yk_session *runnable; /* last in, first out */
    struct yk_session *fed;      /* in this turn: their bytes are borrowed */
    struct yk_output_pool blocks;
    struct call *free_calls;
    uint32_t n_free_calls;
    uint32_t n_submitted; /* since sessions were last worked on */
    bool is_draining;
    uint64_t look; /* the caller's next look at the sessions that were touched */
    struct counters counters;
    struct yk_session **timers; /* binary heap by timer_ms */
    uint32_t n_timers, timers_room;
};

/* calls.c */
void call_lend_room(struct call *call); /* for an answer of op.kept_max bytes, if that is little */
void call_destroy(struct call *call);
struct call *call_new(struct yk_session *session);
void call_free(struct yk_router *router, struct call *call);
bool call_pin(struct call *call); /* its bytes into memory of its own; false: no memory */

/* input.c */
void session_feed(struct yk_session *session);
bool session_refeed(struct yk_session *session);        /* false: there was no need, or no room */
void session_release_input(struct yk_session *session); /* at the end of a turn */

/* start.c */
void session_start(struct yk_session *session);
void session_runnable(struct yk_session *session);

/* reply.c */
void
session_flush(struct yk_session *session); /* writes answers that wait, as far as there is room */
void call_answered(struct call *call, const struct yk_reply *reply); /* not by a lane */
void call_fail(struct call *call, enum yk_err result, const char *text);
void session_write(struct call *call, const struct yk_reply *reply); /* one reply, or part */
void session_free(struct yk_session *session);                       /* router.c */
void session_pop(struct yk_session *session);                        /* the first call is written */
void session_touched(struct yk_session *session);
void count_outcome(struct yk_router *router, const struct yk_request *request, enum yk_err result);

/* parts.c */
bool parts_start(struct call *call); /* false: could not, the call has been failed */
void parts_ended(struct yk_router *router, struct yk_op *op, const struct yk_reply *reply);
void parts_pump(struct call *call); /* a stream goes on: there is room again */
void parts_free(struct parts *parts);

/* stats.c */
void stats_answer(struct call *call); /* all figures are in */
bool stats_knows(struct yk_slice topic);
bool stats_asks_lanes(struct yk_slice topic);

/* timer.c */
void timer_set(struct yk_session *session, uint64_t at_ms);

#endif
