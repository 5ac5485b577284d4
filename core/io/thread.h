/* The threads of a node: each runs one worker machine on one loop, with its connections; mail and
 * jobs go between them. This is where the machines meet the world.
 *
 * Threads: start and stop by the main thread; the posting calls from any. Ownership: yk_threads
 * owns its threads, loops and connections; node and listeners are lent until stop. */
#ifndef YK_IO_THREAD_H
#define YK_IO_THREAD_H

#include "core/io/journal.h"
#include "core/io/links.h"
#include "core/io/listen.h"
#include "core/node/node.h"

struct yk_threads;

struct yk_threads_config {
    const struct yk_world *world;
    struct yk_node *node;
    struct yk_listener *listeners; /* n_listeners, each with one fd for each worker */
    uint32_t n_listeners;
    enum yk_io_engine io;
    uint32_t executors;         /* 0: one for each job that can be out */
    struct yk_journal *journal; /* NULL: no bucket has one */
    uint32_t connections_max;
    /* Other nodes, and the listener for them with one fd for each worker at least. NULL: there are
     * none, and the workers talk to nobody. Lent until the threads have stopped. */
    struct yk_peers *peers;
    const struct yk_listener *peer_listener;
    /* What replicas wish of the managers, from a worker's thread; takes it over. NULL without
     * peers. */
    void (*wish)(void *arg, struct yk_wishes *wishes);
    void (*shut_down)(void *arg); /* a client asked for it; from a worker's thread */
    void *arg;
};

enum yk_err yk_threads_start(const struct yk_threads_config *config,
                             struct yk_threads **ret_threads, char *error) YK_MUST_CHECK;
/* Ends every connection when it has its answers, or at once after timeout_ms; then the threads. */
void yk_threads_stop(struct yk_threads *threads, uint32_t timeout_ms);
/* Calls fn on each worker's thread, between two turns, and returns when all have done it. */
void yk_threads_call(struct yk_threads *threads, void (*fn)(void *arg, struct yk_worker *worker),
                     void *arg);
/* For world->complete: an asynchronous engine has ended a call. */
void yk_threads_complete(struct yk_threads *threads, struct yk_call *call, enum yk_err result);
/* For the journal, from its threads: bundles that it is done with, linked by next and in order, and
 * that each worker is to take a turn. */
void yk_threads_journaled(struct yk_threads *threads, struct yk_bundle *first);
void yk_threads_kept(struct yk_threads *threads, struct yk_lane *lane, enum yk_err result);
void yk_threads_wake(struct yk_threads *threads);
/* From the control's thread: each worker gets a reference of the view, unless a newer one comes
 * before it looks; refusals go to the worker whose wishes they were. The latter are taken over. */
void yk_threads_view(struct yk_threads *threads, struct yk_view *view);
void yk_threads_refused(struct yk_threads *threads, struct yk_wishes *refused);
/* Connections open, and those that were turned away since the start. */
uint32_t yk_threads_connections(const struct yk_threads *threads);
uint64_t yk_threads_rejected(const struct yk_threads *threads);
const char *yk_threads_engine(const struct yk_threads *threads);

#endif
