/* Worker threads: events of the loop into the machine, its effects back into the world. */
#include <config.h>

#include "core/io/thread.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/io/executor.h"
#include "core/io/loop.h"
#include "core/io/mailbox.h"

enum { SLICES_MAX = 64, CALL_POLL_MS = 1 };

/* The end of a piece of a snapshot, on its way to the lane's worker. */
struct kept {
    struct kept *next;
    struct yk_lane *lane;
    enum yk_err result;
};

struct conn {
    struct yk_loop_conn loop; /* first */
    struct yk_session *session;
    struct thread *thread;
    struct conn *next_touched;
    struct conn *newer, *older;
    bool is_touched, is_failed;
};

struct thread {
    struct yk_threads *threads;
    struct yk_worker *worker;
    struct yk_loop *loop;
    struct yk_links *links; /* NULL: there are no other nodes */
    uint32_t index;
    pthread_t id;
    bool is_running;
    int is_asleep;                /* atomic: others must wake it */
    struct yk_mailbox *mailboxes; /* one for each sender */
    struct yk_job_box done_jobs;
    struct yk_bundle *done_bundles; /* atomic: a stack, newest first */
    struct kept *kept;              /* likewise */
    struct yk_view *view;           /* atomic: a reference to the newest that it has not seen */
    struct yk_wishes *refused;      /* atomic: a stack, newest first */
    struct conn *touched;
    struct conn *newest;
    bool is_draining, is_over;
    uint64_t last_failure_ms;
};

struct yk_threads {
    struct yk_threads_config config;
    struct thread *threads;
    uint32_t n_threads;
    struct yk_executor *executor;
    uint32_t n_connections;       /* atomic */
    uint64_t n_rejected, next_id; /* atomic */
    int stage;                    /* atomic: enum stage */
    /* A call to every worker. */
    void (*call_fn)(void *arg, struct yk_worker *worker);
    void *call_arg;
    uint32_t call_number; /* atomic: of the last call asked for */
    uint32_t n_called;    /* atomic: threads that have done it */
};

enum stage { STAGE_RUNNING, STAGE_DRAINING, STAGE_ENDING };

static uint64_t
now_ms(const struct thread *thread)
{
    const struct yk_world *world = thread->threads->config.world;
    return world->now_ms(world->arg);
}

/* from: the thread that calls, or NULL where it is none of ours. */
static void
wake(struct thread *thread, const struct thread *from)
{
    if (__atomic_exchange_n(&thread->is_asleep, 0, __ATOMIC_SEQ_CST) != 0) {
        yk_loop_wake(thread->loop, from != NULL ? from->loop : NULL);
    }
}

static void
step(struct thread *thread, const struct yk_event *event)
{
    yk_worker_step(thread->worker, event);
}

static void
step_turn(struct thread *thread)
{
    step(thread, &(struct yk_event){.kind = YK_EVENT_TURN, .now_ms = now_ms(thread)});
}

/* Connections */

static void
describe_peer(int fd, struct yk_peer *peer, char *text, size_t size)
{
    union {
        struct sockaddr any;
        struct sockaddr_in inet;
        struct sockaddr_in6 inet6;
        struct sockaddr_storage storage;
    } from;
    socklen_t from_size = sizeof(from);
    char address[INET6_ADDRSTRLEN] = "?";
    peer->uid = -1;
    snprintf(text, size, "?");
    if (getpeername(fd, &from.any, &from_size) < 0) {
        return;
    }
    if (from.any.sa_family == AF_INET) {
        peer->family = YK_FAMILY_INET;
        inet_ntop(AF_INET, &from.inet.sin_addr, address, sizeof(address));
        snprintf(text, size, "%s:%u", address, ntohs(from.inet.sin_port));
    } else if (from.any.sa_family == AF_INET6) {
        peer->family = YK_FAMILY_INET6;
        inet_ntop(AF_INET6, &from.inet6.sin6_addr, address, sizeof(address));
        snprintf(text, size, "[%s]:%u", address, ntohs(from.inet6.sin6_port));
    } else {
        struct ucred credentials;
        socklen_t credentials_size = sizeof(credentials);
        peer->family = YK_FAMILY_UNIX;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &credentials_size) == 0) {
            peer->uid = credentials.uid;
        }
        snprintf(text, size, "unix:uid=%lld", (long long)peer->uid);
    }
}

static struct yk_session *
open_session(struct conn *conn, uint32_t listener_index, int fd)
{
    struct thread *thread = conn->thread;
    const struct yk_listener *listener = &thread->threads->config.listeners[listener_index];
    char text[128];
    struct yk_session *session = NULL;
    struct yk_peer peer = {
        .struct_size = sizeof(peer), .address = text, .listener = listener->text};
    describe_peer(fd, &peer, text, sizeof(text));
    peer.id = __atomic_add_fetch(&thread->threads->next_id, 1, __ATOMIC_RELAXED);
    struct yk_event event = {
        .kind = YK_EVENT_OPEN,
        .now_ms = now_ms(thread),
        .open = {
            .frontend = listener->frontend, .peer = &peer, .conn = conn, .ret_session = &session}};
    step(thread, &event);
    return session;
}

static void
link_conn(struct thread *thread, struct conn *conn)
{
    conn->older = thread->newest;
    if (thread->newest != NULL) {
        thread->newest->newer = conn;
    }
    thread->newest = conn;
}

static void
free_conn(struct conn *conn)
{
    struct thread *thread = conn->thread;
    if (conn->newer != NULL) {
        conn->newer->older = conn->older;
    } else {
        thread->newest = conn->older;
    }
    if (conn->older != NULL) {
        conn->older->newer = conn->newer;
    }
    __atomic_sub_fetch(&thread->threads->n_connections, 1, __ATOMIC_RELAXED);
    free(conn);
}

static void
reject(struct thread *thread, int fd, const char *why)
{
    __atomic_add_fetch(&thread->threads->n_rejected, 1, __ATOMIC_RELAXED);
    close(fd);
    uint64_t now = now_ms(thread);
    if (now - thread->last_failure_ms >= 1000) {
        thread->last_failure_ms = now;
        yk_log(thread->threads->config.world, YK_LOG_WARNING, "io",
               "connection refused reason=\"%s\"", why);
    }
}

static void
accepted(void *arg, uint32_t listener, int fd)
{
    struct thread *thread = arg;
    int on = 1;
    uint32_t n = __atomic_add_fetch(&thread->threads->n_connections, 1, __ATOMIC_RELAXED);
    struct conn *conn =
        n <= thread->threads->config.connections_max ? calloc(1, sizeof(*conn)) : NULL;
    if (conn == NULL) {
        __atomic_sub_fetch(&thread->threads->n_connections, 1, __ATOMIC_RELAXED);
        reject(thread, fd, "max_connections is reached");
        return;
    }
    if (thread->threads->config.listeners[listener].address.kind != YK_ADDRESS_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    conn->thread = thread;
    link_conn(thread, conn);
    conn->session = open_session(conn, listener, fd);
    if (conn->session == NULL || yk_loop_add(thread->loop, &conn->loop, fd) != YK_OK) {
        if (conn->session != NULL) {
            step(thread, &(struct yk_event){.kind = YK_EVENT_CLOSED, .closed = {conn->session}});
        }
        reject(thread, fd, "out of memory");
        free_conn(conn);
    }
}

static void
accept_failed(void *arg, uint32_t listener, int error)
{
    struct thread *thread = arg;
    uint64_t now = now_ms(thread);
    if (now - thread->last_failure_ms >= 1000) {
        thread->last_failure_ms = now;
        yk_log(thread->threads->config.world, YK_LOG_WARNING, "io",
               "cannot accept listen=%s error=\"%s\"; raise the limit of open files (ulimit -n)",
               thread->threads->config.listeners[listener].text, strerror(error));
    }
}

static void
touch(struct conn *conn)
{
    if (!conn->is_touched) {
        conn->is_touched = true;
        conn->next_touched = conn->thread->touched;
        conn->thread->touched = conn;
    }
}

static void
room(void *arg, struct yk_loop_conn *loop_conn, uint8_t **ret_room, size_t *ret_size)
{
    (void)arg;
    yk_session_room(((struct conn *)loop_conn)->session, ret_room, ret_size);
}

static void
received(void *arg, struct yk_loop_conn *loop_conn, const uint8_t *bytes, size_t size, int error)
{
    struct thread *thread = arg;
    struct conn *conn = (struct conn *)loop_conn;
    if (error != 0) {
        conn->is_failed = true;
        touch(conn);
        return;
    }
    struct yk_event event = {
        .kind = YK_EVENT_RECEIVED,
        .received = {.session = conn->session, .bytes = bytes, .size = size, .is_eof = size == 0}};
    step(thread, &event);
    touch(conn);
    if (yk_worker_has_batch(thread->worker)) {
        step_turn(thread);
    }
}

/* Is there nothing to send, to close, or to change about reading? */
static bool
is_settled(struct conn *conn)
{
    struct yk_slice slice;
    return !conn->is_failed && !yk_session_is_over(conn->session) &&
           yk_session_wants_input(conn->session) == conn->loop.wants_read &&
           yk_session_peek(conn->session, &slice, 1) == 0;
}

static void
sent(void *arg, struct yk_loop_conn *loop_conn, size_t size, int error)
{
    struct conn *conn = (struct conn *)loop_conn;
    conn->is_failed = conn->is_failed || error != 0;
    if (size > 0) {
        struct yk_event event = {.kind = YK_EVENT_SENT, .sent = {conn->session, size}};
        step(arg, &event);
    }
    if (!is_settled(conn)) {
        touch(conn);
    }
}

static void
close_conn(struct conn *conn)
{
    struct thread *thread = conn->thread;
    yk_loop_remove(thread->loop, &conn->loop);
    close(conn->loop.fd);
    step(thread, &(struct yk_event){.kind = YK_EVENT_CLOSED, .closed = {conn->session}});
    free_conn(conn);
}

static void
send_output(struct conn *conn)
{
    struct yk_slice slices[SLICES_MAX];
    while (!conn->loop.is_sending && !conn->is_failed) {
        size_t n = yk_session_peek(conn->session, slices, SLICES_MAX);
        if (n == 0) {
            return;
        }
        yk_loop_send(conn->thread->loop, &conn->loop, slices, n);
    }
}

/* Sends, reads on or not, or closes, as the session now wants it. */
static void
settle(struct conn *conn)
{
    send_output(conn);
    conn->is_touched = false; /* what send_output touched it for is done below */
    if (conn->is_failed || yk_session_is_over(conn->session)) {
        close_conn(conn);
        return;
    }
    bool wants_read = yk_session_wants_input(conn->session);
    if (wants_read != conn->loop.wants_read) {
        yk_loop_read(conn->thread->loop, &conn->loop, wants_read);
    }
}

/* Effects */

static void
send_mail(struct thread *thread, uint32_t to, struct yk_op *first)
{
    struct thread *receiver = &thread->threads->threads[to];
    yk_mailbox_put(&receiver->mailboxes[thread->index], first);
    wake(receiver, thread);
}

static void
take_effects(struct thread *thread)
{
    uint32_t n;
    const struct yk_effect *effects = yk_worker_take_effects(thread->worker, &n);
    for (uint32_t i = 0; i < n; i++) {
        const struct yk_effect *effect = &effects[i];
        switch (effect->kind) {
        case YK_EFFECT_SESSION:
            touch(yk_session_conn(effect->session));
            break;
        case YK_EFFECT_JOB:
            yk_executor_submit(thread->threads->executor, effect->job);
            break;
        case YK_EFFECT_JOURNAL:
            yk_journal_submit(thread->threads->config.journal, effect->bundle);
            break;
        case YK_EFFECT_KEEP:
            yk_journal_keep(thread->threads->config.journal, effect->keep.lane,
                            yk_lane_bucket(effect->keep.lane), yk_lane_index(effect->keep.lane),
                            effect->keep.bundle, effect->keep.flags);
            break;
        case YK_EFFECT_MAIL:
            send_mail(thread, effect->mail.to, effect->mail.first);
            break;
        case YK_EFFECT_SEND:
            yk_links_send(thread->links, effect->send.peer, effect->send.worker,
                          effect->send.bytes);
            break;
        case YK_EFFECT_WISH:
            thread->threads->config.wish(thread->threads->config.arg, effect->wishes);
            break;
        case YK_EFFECT_SHUT_DOWN:
            thread->threads->config.shut_down(thread->threads->config.arg);
            break;
        }
    }
}

static void
settle_touched(struct thread *thread)
{
    while (thread->touched != NULL) {
        struct conn *conn = thread->touched;
        thread->touched = conn->next_touched;
        settle(conn);
    }
}

/* Other nodes */

static void
take_frame(void *arg, uint32_t peer, uint32_t worker, struct yk_slice bytes)
{
    step(arg, &(struct yk_event){.kind = YK_EVENT_FRAME, .frame = {peer, worker, bytes}});
}

static void
take_state(void *arg, uint32_t peer, uint32_t worker, bool is_up)
{
    step(arg, &(struct yk_event){.kind = YK_EVENT_PEER, .peer = {peer, worker, is_up}});
}

/* The turn */

/* Bundles in the order in which they were given back. */
static bool
take_bundles(struct thread *thread)
{
    struct yk_bundle *newest = __atomic_exchange_n(&thread->done_bundles, NULL, __ATOMIC_SEQ_CST);
    struct yk_bundle *oldest = NULL;
    bool has_any = newest != NULL;
    while (newest != NULL) {
        struct yk_bundle *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct yk_bundle *next = oldest->next;
        step(thread, &(struct yk_event){.kind = YK_EVENT_JOURNALED, .bundle = oldest});
        oldest = next;
    }
    return has_any;
}

static bool
take_kept(struct thread *thread)
{
    struct kept *kept = __atomic_exchange_n(&thread->kept, NULL, __ATOMIC_SEQ_CST);
    bool has_any = kept != NULL;
    while (kept != NULL) {
        struct kept *next = kept->next;
        step(thread, &(struct yk_event){.kind = YK_EVENT_KEPT,
                                        .now_ms = now_ms(thread),
                                        .kept = {kept->lane, kept->result}});
        free(kept);
        kept = next;
    }
    return has_any;
}

/* What the control says. */
static bool
take_word(struct thread *thread)
{
    struct yk_view *view = __atomic_exchange_n(&thread->view, NULL, __ATOMIC_SEQ_CST);
    struct yk_wishes *refused = __atomic_exchange_n(&thread->refused, NULL, __ATOMIC_SEQ_CST);
    bool has_any = view != NULL || refused != NULL;
    if (view != NULL) {
        step(thread, &(struct yk_event){.kind = YK_EVENT_VIEW, .view = view});
    }
    while (refused != NULL) {
        struct yk_wishes *next = refused->next;
        step(thread, &(struct yk_event){.kind = YK_EVENT_REFUSED, .refused = refused});
        refused = next;
    }
    return has_any;
}

static bool
take_mail(struct thread *thread)
{
    bool has_mail = take_bundles(thread);
    has_mail = take_kept(thread) || has_mail;
    has_mail = take_word(thread) || has_mail;
    for (uint32_t i = 0; i < thread->threads->n_threads; i++) {
        struct yk_op *first = yk_mailbox_take(&thread->mailboxes[i]);
        if (first != NULL) {
            step(thread, &(struct yk_event){.kind = YK_EVENT_MAIL, .mail = {first}});
            has_mail = true;
        }
    }
    struct yk_job *job;
    while ((job = yk_job_box_take(&thread->done_jobs)) != NULL) {
        struct yk_event event = {
            .kind = YK_EVENT_JOB_DONE, .now_ms = now_ms(thread), .job_done = {job}};
        step(thread, &event);
        has_mail = true;
    }
    return has_mail;
}

static bool
has_mail(const struct thread *thread)
{
    for (uint32_t i = 0; i < thread->threads->n_threads; i++) {
        if (__atomic_load_n(&thread->mailboxes[i].first, __ATOMIC_SEQ_CST) != NULL) {
            return true;
        }
    }
    return !yk_job_box_is_empty(&thread->done_jobs) ||
           __atomic_load_n(&thread->done_bundles, __ATOMIC_SEQ_CST) != NULL ||
           __atomic_load_n(&thread->kept, __ATOMIC_SEQ_CST) != NULL ||
           __atomic_load_n(&thread->view, __ATOMIC_SEQ_CST) != NULL ||
           __atomic_load_n(&thread->refused, __ATOMIC_SEQ_CST) != NULL;
}

static int
timeout_of(struct thread *thread)
{
    int links_ms = thread->links != NULL ? yk_links_timeout(thread->links) : -1;
    uint64_t next_ms = yk_worker_next_turn(thread->worker);
    if (next_ms == 0) {
        return links_ms;
    }
    uint64_t now = now_ms(thread);
    int turn_ms = next_ms <= now ? 0 : next_ms - now > 60000 ? 60000 : (int)(next_ms - now);
    return links_ms >= 0 && links_ms < turn_ms ? links_ms : turn_ms;
}

/* What the main thread wants: a call, the drain, the end. */
static void
obey(struct thread *thread, uint32_t *calls_done)
{
    struct yk_threads *threads = thread->threads;
    uint32_t number = __atomic_load_n(&threads->call_number, __ATOMIC_ACQUIRE);
    if (number != *calls_done) {
        *calls_done = number;
        threads->call_fn(threads->call_arg, thread->worker);
        __atomic_add_fetch(&threads->n_called, 1, __ATOMIC_ACQ_REL);
    }
    int stage = __atomic_load_n(&threads->stage, __ATOMIC_ACQUIRE);
    if (stage >= STAGE_DRAINING && !thread->is_draining) {
        thread->is_draining = true;
        yk_loop_listen(thread->loop, false);
        step(thread, &(struct yk_event){.kind = YK_EVENT_DRAIN});
    }
    if (stage == STAGE_ENDING) {
        for (struct conn *conn = thread->newest; conn != NULL; conn = conn->older) {
            conn->is_failed = true;
            touch(conn);
        }
    }
}

static void
take_turn(struct thread *thread)
{
    if (thread->links != NULL) {
        yk_links_run(thread->links);
    }
    (void)take_mail(thread);
    step_turn(thread);
    take_effects(thread);
    if (__atomic_load_n(&thread->done_bundles, __ATOMIC_ACQUIRE) != NULL) { /* written here */
        (void)take_mail(thread);
        step_turn(thread);
        take_effects(thread);
    }
    settle_touched(thread);
    if (thread->links != NULL) {
        yk_links_flush(thread->links);
    }
}

static void *
run(void *arg)
{
    struct thread *thread = arg;
    uint32_t calls_done = 0;
    yk_loop_start(thread->loop);
    yk_loop_listen(thread->loop, true);
    if (thread->links != NULL) {
        yk_links_start(thread->links);
    }
    while (!__atomic_load_n(&thread->is_over, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&thread->is_asleep, 1, __ATOMIC_SEQ_CST);
        bool must_hurry =
            has_mail(thread) || yk_worker_wants_turn(thread->worker) ||
            __atomic_load_n(&thread->threads->call_number, __ATOMIC_SEQ_CST) != calls_done ||
            (!thread->is_draining &&
             __atomic_load_n(&thread->threads->stage, __ATOMIC_SEQ_CST) != STAGE_RUNNING);
        yk_loop_wait(thread->loop, must_hurry ? 0 : timeout_of(thread));
        __atomic_store_n(&thread->is_asleep, 0, __ATOMIC_SEQ_CST);
        obey(thread, &calls_done);
        take_turn(thread);
    }
    yk_links_free(thread->links);
    thread->links = NULL;
    return NULL;
}

/* Life */

static void
job_done(void *arg, struct yk_job *job)
{
    struct yk_threads *threads = arg;
    struct thread *thread = &threads->threads[yk_lane_index(yk_job_lane(job)) % threads->n_threads];
    yk_job_box_put(&thread->done_jobs, job);
    wake(thread, NULL);
}

static void
put_bundle(struct thread *thread, struct yk_bundle *bundle)
{
    bundle->next = __atomic_load_n(&thread->done_bundles, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&thread->done_bundles, &bundle->next, bundle, true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
}

/* Nobody is woken before all are there: who is takes all that is his in one turn. */
void
yk_threads_journaled(struct yk_threads *threads, struct yk_bundle *first)
{
    while (first != NULL) {
        struct yk_bundle *next = first->next;
        put_bundle(&threads->threads[first->worker], first);
        first = next;
    }
    for (uint32_t i = 0; i < threads->n_threads; i++) {
        if (__atomic_load_n(&threads->threads[i].done_bundles, __ATOMIC_SEQ_CST) != NULL) {
            wake(&threads->threads[i], NULL);
        }
    }
}

void
yk_threads_kept(struct yk_threads *threads, struct yk_lane *lane, enum yk_err result)
{
    struct thread *thread = &threads->threads[yk_lane_index(lane) % threads->n_threads];
    struct kept *kept = malloc(sizeof(*kept));
    YK_ASSERT(kept != NULL);
    *kept = (struct kept){__atomic_load_n(&thread->kept, __ATOMIC_RELAXED), lane, result};
    while (!__atomic_compare_exchange_n(&thread->kept, &kept->next, kept, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
    }
    wake(thread, NULL);
}

void
yk_threads_view(struct yk_threads *threads, struct yk_view *view)
{
    for (uint32_t i = 0; i < threads->n_threads; i++) {
        struct thread *thread = &threads->threads[i];
        yk_view_unref(__atomic_exchange_n(&thread->view, yk_view_ref(view), __ATOMIC_SEQ_CST));
        wake(thread, NULL);
    }
}

void
yk_threads_refused(struct yk_threads *threads, struct yk_wishes *refused)
{
    struct thread *thread = &threads->threads[refused->worker];
    refused->next = __atomic_load_n(&thread->refused, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&thread->refused, &refused->next, refused, true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
    wake(thread, NULL);
}

/* What the first thread got, the others get too. */
static enum yk_err
open_loop(struct yk_threads *threads, uint32_t index, const struct yk_loop_handler *handler,
          char *error)
{
    enum yk_io_engine io = threads->config.io;
    if (index > 0) {
        io = strcmp(yk_loop_engine(threads->threads[0].loop), "epoll") == 0 ? YK_IO_EPOLL
                                                                            : YK_IO_URING;
    }
    enum yk_err result = yk_loop_open(io, handler, &threads->threads[index].loop);
    if (result != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "cannot set up the event loop with io = %s: %s%s",
                 io == YK_IO_URING ? "io_uring" : "epoll", strerror(errno),
                 threads->config.io == YK_IO_URING ? "; set io = auto" : "");
    }
    return result;
}

static enum yk_err
open_links(struct thread *thread)
{
    const struct yk_threads_config *config = &thread->threads->config;
    if (config->peers == NULL) {
        return YK_OK;
    }
    struct yk_links_config links = {.world = config->world,
                                    .loop = thread->loop,
                                    .peers = config->peers,
                                    .worker = thread->index,
                                    .listener_fd = config->peer_listener->fds[thread->index],
                                    .arg = thread,
                                    .frame = take_frame,
                                    .state = take_state};
    return yk_links_new(&links, &thread->links);
}

static enum yk_err
open_thread(struct yk_threads *threads, uint32_t index, uint32_t jobs_max, char *error)
{
    struct thread *thread = &threads->threads[index];
    thread->threads = threads;
    thread->index = index;
    thread->worker = threads->config.node->workers[index];
    if (posix_memalign((void **)&thread->mailboxes, 64,
                       threads->n_threads * sizeof(struct yk_mailbox)) != 0) {
        thread->mailboxes = NULL;
        return YK_ENOMEM;
    }
    memset(thread->mailboxes, 0, threads->n_threads * sizeof(struct yk_mailbox));
    struct yk_loop_handler handler = {.arg = thread,
                                      .accepted = accepted,
                                      .accept_failed = accept_failed,
                                      .room = room,
                                      .received = received,
                                      .sent = sent};
    enum yk_err result = yk_job_box_init(&thread->done_jobs, jobs_max);
    if (result == YK_OK) {
        result = open_loop(threads, index, &handler, error);
    }
    if (result == YK_OK) {
        result = open_links(thread);
    }
    for (uint32_t i = 0; result == YK_OK && i < threads->config.n_listeners; i++) {
        yk_loop_add_listener(thread->loop, threads->config.listeners[i].fds[index], i);
    }
    return result;
}

static void
free_threads(struct yk_threads *threads)
{
    /* First: an executor may still be on its way out of the box that it put its last job in, and a
     * thread of the journal likewise. */
    yk_executor_free(threads->executor);
    if (threads->config.journal != NULL) {
        yk_journal_stop(threads->config.journal);
    }
    for (uint32_t i = 0; i < threads->n_threads; i++) {
        struct thread *thread = &threads->threads[i];
        yk_view_unref(thread->view);
        while (thread->refused != NULL) {
            struct yk_wishes *next = thread->refused->next;
            free(thread->refused);
            thread->refused = next;
        }
        yk_links_free(threads->threads[i].links);
        yk_loop_close(threads->threads[i].loop);
        yk_job_box_done(&threads->threads[i].done_jobs);
        free(threads->threads[i].mailboxes);
    }
    free(threads->threads);
    free(threads);
}

static enum yk_err
start_all(struct yk_threads *threads, char *error)
{
    uint32_t jobs_max = threads->config.node->jobs_max;
    uint32_t n_executors = threads->config.executors;
    if (n_executors == 0) {
        n_executors = jobs_max < YK_EXECUTORS_MAX ? jobs_max : YK_EXECUTORS_MAX;
    }
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; result == YK_OK && i < threads->n_threads; i++) {
        result = open_thread(threads, i, jobs_max, error);
    }
    if (result == YK_OK && jobs_max > 0) {
        result = yk_executor_new(n_executors, jobs_max, job_done, threads, &threads->executor);
    }
    for (uint32_t i = 0; result == YK_OK && i < threads->n_threads; i++) {
        struct thread *thread = &threads->threads[i];
        if (pthread_create(&thread->id, NULL, run, thread) != 0) {
            return YK_ENOMEM;
        }
        thread->is_running = true;
    }
    return result;
}

enum yk_err
yk_threads_start(const struct yk_threads_config *config, struct yk_threads **ret_threads,
                 char *error)
{
    struct yk_threads *threads = calloc(1, sizeof(*threads));
    snprintf(error, YK_ERROR_SIZE, "cannot start the threads: out of memory or threads");
    if (threads == NULL) {
        return YK_ENOMEM;
    }
    threads->config = *config;
    threads->n_threads = config->node->n_workers;
    threads->threads = calloc(threads->n_threads, sizeof(struct thread));
    if (threads->threads == NULL) {
        free(threads);
        return YK_ENOMEM;
    }
    *ret_threads = threads; /* before the first of them may be called back */
    enum yk_err result = start_all(threads, error);
    if (result != YK_OK) {
        yk_threads_stop(threads, 0);
        *ret_threads = NULL;
    }
    return result;
}

void
yk_threads_wake(struct yk_threads *threads)
{
    for (uint32_t i = 0; i < threads->n_threads; i++) {
        if (threads->threads[i].is_running) {
            __atomic_store_n(&threads->threads[i].is_asleep, 0, __ATOMIC_SEQ_CST);
            yk_loop_wake(threads->threads[i].loop, NULL);
        }
    }
}

struct idleness {
    uint32_t n_busy; /* atomic */
};

static void
ask_idle(void *arg, struct yk_worker *worker)
{
    struct idleness *idleness = arg;
    if (!yk_worker_is_idle(worker)) {
        __atomic_add_fetch(&idleness->n_busy, 1, __ATOMIC_RELAXED);
    }
}

static bool
is_idle(struct yk_threads *threads)
{
    struct idleness idleness = {0};
    yk_threads_call(threads, ask_idle, &idleness);
    return idleness.n_busy == 0;
}

/* Two idle answers in a row: what one worker had sent to another has arrived between them. */
static void
wait_until_idle(struct yk_threads *threads, uint32_t timeout_ms)
{
    uint32_t n_idle = 0;
    for (uint32_t waited_ms = 0; n_idle < 2; waited_ms++) {
        n_idle = is_idle(threads) ? n_idle + 1 : 0;
        if (waited_ms == timeout_ms) {
            __atomic_store_n(&threads->stage, STAGE_ENDING, __ATOMIC_RELEASE);
        }
        if (n_idle < 2) {
            usleep(CALL_POLL_MS * 1000);
        }
    }
}

static bool
are_running(const struct yk_threads *threads)
{
    for (uint32_t i = 0; i < threads->n_threads; i++) {
        if (!threads->threads[i].is_running) {
            return false;
        }
    }
    return true;
}

void
yk_threads_stop(struct yk_threads *threads, uint32_t timeout_ms)
{
    __atomic_store_n(&threads->stage, STAGE_DRAINING, __ATOMIC_SEQ_CST);
    yk_threads_wake(threads);
    if (are_running(threads)) {
        wait_until_idle(threads, timeout_ms);
    }
    for (uint32_t i = 0; i < threads->n_threads; i++) {
        struct thread *thread = &threads->threads[i];
        if (thread->is_running) {
            __atomic_store_n(&thread->is_over, true, __ATOMIC_RELEASE);
            yk_loop_wake(thread->loop, NULL);
            pthread_join(thread->id, NULL);
        }
    }
    free_threads(threads);
}

void
yk_threads_call(struct yk_threads *threads, void (*fn)(void *arg, struct yk_worker *worker),
                void *arg)
{
    threads->call_fn = fn;
    threads->call_arg = arg;
    __atomic_store_n(&threads->n_called, 0, __ATOMIC_RELEASE);
    __atomic_add_fetch(&threads->call_number, 1, __ATOMIC_SEQ_CST);
    yk_threads_wake(threads);
    while (__atomic_load_n(&threads->n_called, __ATOMIC_ACQUIRE) < threads->n_threads) {
        usleep(CALL_POLL_MS * 100);
    }
}

void
yk_threads_complete(struct yk_threads *threads, struct yk_call *call, enum yk_err result)
{
    yk_executor_submit(threads->executor, yk_job_of_call(call, result));
}

uint32_t
yk_threads_connections(const struct yk_threads *threads)
{
    return __atomic_load_n(&threads->n_connections, __ATOMIC_RELAXED);
}

uint64_t
yk_threads_rejected(const struct yk_threads *threads)
{
    return __atomic_load_n(&threads->n_rejected, __ATOMIC_RELAXED);
}

const char *
yk_threads_engine(const struct yk_threads *threads)
{
    return yk_loop_engine(threads->threads[0].loop);
}
