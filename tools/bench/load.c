/* The loop of one thread; see load.h. A turn of a connection is one read, one look at the clock and
 * one write, however many requests that carries. */
#include <config.h>

#include "tools/bench/load.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

enum {
    IN_SIZE = 128 * 1024,
    FILL_BYTES = 64 * 1024, /* of sets in one go while filling, unless one is larger */
    EVENTS_MAX = 256,
    LOOK_MS = 100,   /* how often a quiet thread looks at clock and timeouts */
    LOOK_TURNS = 64, /* and a busy one, in turns of its loop */
};

#define SECOND_NS 1000000000ll

struct connection {
    int fd;
    bool is_watched_for_room;
    size_t out_at;    /* sent so far */
    int64_t sent_ns;  /* the batch began to be sent */
    int64_t begun_ns; /* the same, or when its first request was due */
    bool is_due; /* begun_ns is when the first one was due, and the others follow at intervals */
    uint64_t n_gets, n_sets; /* of the exchange, already recorded */
    struct bench_exchange exchange;
    uint32_t stash_size;
    char stash[BENCH_LINE_MAX]; /* the beginning of a line */
};

struct bench_load {
    const struct bench_plan *plan;
    uint32_t index;
    const atomic_bool *stop;
    int epoll, timer;
    uint32_t n_connections, n_connected;
    struct connection *connections;
    char *buffers; /* of all connections: requests, asks, misses */
    struct bench_keys_source source;
    uint32_t fill_pipeline;

    /* The phase. */
    enum bench_phase phase;
    int64_t now_ns; /* as of the last look */
    int64_t end_ns;
    int64_t first_due_ns; /* open loop: the threads take turns */
    uint64_t n_left;      /* requests that may still be begun */
    uint64_t fill_next;   /* key */
    uint32_t n_busy;      /* connections with a batch under way */
    double interval_ns;   /* open loop; 0: closed */
    uint64_t n_due_taken; /* requests begun in open loop */
    uint32_t *idle;       /* open loop: connections without a batch, a ring */
    uint32_t idle_first, n_idle;
    bool is_armed; /* the timer */
    struct bench_results results;
    _Atomic uint64_t n_done;

    char *error; /* BENCH_ERROR_SIZE bytes, of who called */
    char in[IN_SIZE + BENCH_LINE_MAX];
};

static int64_t
clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* Sizes of what each connection needs. */

/* Sets in one go while filling: bounded in number and in bytes. */
static uint32_t
fill_pipeline(const struct bench_plan *plan)
{
    size_t size = bench_request_size_max(&plan->items, plan->protocol, 0);
    size_t n = size < FILL_BYTES ? FILL_BYTES / size : 1;
    return (uint32_t)MIN(MAX(n, plan->pipeline), (size_t)BENCH_FILL_PIPELINE);
}

static uint32_t
n_asks_max(const struct bench_plan *plan)
{
    return MAX(plan->pipeline * plan->multi_get, plan->fills ? fill_pipeline(plan) : 1);
}

static size_t
out_size_max(const struct bench_plan *plan)
{
    bool has_sets = plan->n_sets_of_ratio > 0;
    size_t set = bench_request_size_max(&plan->items, plan->protocol, 0);
    size_t get = bench_request_size_max(&plan->items, plan->protocol, plan->multi_get);
    size_t size = plan->pipeline * (has_sets ? MAX(set, get) : get);
    if (plan->sets_on_miss) {
        size = MAX(size, plan->pipeline * plan->multi_get * set);
    }
    return plan->fills ? MAX(size, fill_pipeline(plan) * set) : size;
}

/* Buffers of neighbours do not begin at the same place of their pages: else they would share few
 * lines of the processor's caches. */
static size_t
connection_bytes(const struct bench_plan *plan)
{
    size_t n_asks = n_asks_max(plan);
    size_t size = n_asks * (sizeof(struct bench_ask) + sizeof(uint64_t)) + out_size_max(plan);
    return ((size + 4095) & ~(size_t)4095) + 17 * 64;
}

uint64_t
bench_load_memory(const struct bench_plan *plan)
{
    return (uint64_t)(connection_bytes(plan) + sizeof(struct connection)) * plan->n_connections;
}

struct bench_load *
bench_load_new(const struct bench_plan *plan, uint32_t index, const atomic_bool *stop)
{
    struct bench_load *load = g_new0(struct bench_load, 1);
    load->plan = plan;
    load->index = index;
    load->stop = stop;
    load->epoll = load->timer = -1;
    load->n_connections =
        plan->n_connections / plan->n_threads + (index < plan->n_connections % plan->n_threads);
    load->connections = g_new0(struct connection, load->n_connections);
    load->idle = g_new0(uint32_t, load->n_connections);
    load->fill_pipeline = fill_pipeline(plan);
    size_t size = connection_bytes(plan), n_asks = n_asks_max(plan);
    load->buffers = g_malloc(size * load->n_connections);
    for (uint32_t i = 0; i < load->n_connections; i++) {
        char *buffer = load->buffers + i * size;
        load->connections[i].fd = -1;
        load->connections[i].exchange = (struct bench_exchange){
            .items = &plan->items,
            .protocol = plan->protocol,
            .is_verified = plan->is_verified,
            .asks = (struct bench_ask *)(void *)buffer,
            .missed = plan->sets_on_miss
                          ? (uint64_t *)(void *)(buffer + n_asks * sizeof(struct bench_ask))
                          : NULL,
            .out = buffer + n_asks * (sizeof(struct bench_ask) + sizeof(uint64_t)),
            .errors = &load->results.errors,
        };
    }
    bench_keys_source_init(&load->source, &plan->keys, plan->seed, index, plan->n_threads);
    return load;
}

void
bench_load_free(struct bench_load *load)
{
    for (uint32_t i = 0; i < load->n_connected; i++) {
        close(load->connections[i].fd);
    }
    if (load->epoll >= 0) {
        close(load->epoll);
    }
    if (load->timer >= 0) {
        close(load->timer);
    }
    g_free(load->buffers);
    g_free(load->idle);
    g_free(load->connections);
    g_free(load);
}

const struct bench_results *
bench_load_results(const struct bench_load *load)
{
    return &load->results;
}

uint64_t
bench_load_n_done(struct bench_load *load)
{
    return atomic_load_explicit(&load->n_done, memory_order_relaxed);
}

void
bench_results_add(struct bench_results *to, const struct bench_results *from)
{
    yk_histogram_add(&to->get_latency, &from->get_latency);
    yk_histogram_add(&to->set_latency, &from->set_latency);
    to->n_gets += from->n_gets;
    to->n_sets += from->n_sets;
    to->n_hits += from->n_hits;
    to->n_misses += from->n_misses;
    to->n_errors += from->n_errors;
    to->n_late += from->n_late;
    for (uint32_t i = 0; i < from->errors.n_texts; i++) {
        const char *text = from->errors.texts[i].text;
        bench_errors_count(&to->errors, text, strlen(text), from->errors.texts[i].n);
    }
    to->errors.n_others += from->errors.n_others;
    to->begun_ns = to->begun_ns == 0 ? from->begun_ns : MIN(to->begun_ns, from->begun_ns);
    to->ended_ns = MAX(to->ended_ns, from->ended_ns);
}

/* Connecting */

static bool fail(struct bench_load *load, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool
fail(struct bench_load *load, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_vsnprintf(load->error, BENCH_ERROR_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

static bool
fail_errno(struct bench_load *load, const char *what)
{
    return fail(load, "%s: %s", what, g_strerror(errno));
}

static bool
watch(struct bench_load *load, int operation, int fd, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data = {.ptr = data}};
    return epoll_ctl(load->epoll, operation, fd, &event) == 0 || fail_errno(load, "epoll_ctl");
}

static bool
connection_open(struct bench_load *load, struct connection *connection)
{
    const struct bench_plan *plan = load->plan;
    int fd = socket(plan->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail_errno(load, "socket");
    }
    connection->fd = fd;
    load->n_connected++;
    /* While it connects the socket blocks, for as long as a server may take to answer. */
    struct timeval timeout = {.tv_sec = plan->timeout_ns / SECOND_NS,
                              .tv_usec = plan->timeout_ns % SECOND_NS / 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (const struct sockaddr *)&plan->address, plan->address_size) != 0) {
        return fail(load, "cannot connect: %s",
                    g_strerror(errno == EINPROGRESS || errno == EAGAIN ? ETIMEDOUT : errno));
    }
    if (plan->address.ss_family != AF_UNIX) {
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    return watch(load, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
}

bool
bench_load_connect(struct bench_load *load, char error[BENCH_ERROR_SIZE])
{
    load->error = error;
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (load->epoll < 0 || load->timer < 0) {
        return fail_errno(load, "epoll_create1, timerfd_create");
    }
    (void)prctl(PR_SET_TIMERSLACK, 1ul); /* else a timer may be 50 us late */
    if (!watch(load, EPOLL_CTL_ADD, load->timer, EPOLLIN, NULL)) {
        return false;
    }
    for (uint32_t i = 0; i < load->n_connections; i++) {
        if (!connection_open(load, &load->connections[i])) {
            return false;
        }
    }
    return true;
}

/* Batches */

static void
add_drawn(struct bench_load *load, struct bench_exchange *exchange)
{
    const struct bench_plan *plan = load->plan;
    uint32_t n_all = plan->n_gets_of_ratio + plan->n_sets_of_ratio;
    bool is_set = plan->n_gets_of_ratio == 0 ||
                  (plan->n_sets_of_ratio > 0 &&
                   yk_random_below(&load->source.random, n_all) >= plan->n_gets_of_ratio);
    if (is_set) {
        bench_exchange_set(exchange, bench_keys_draw(&load->source));
        return;
    }
    uint64_t keys[BENCH_MULTI_GET_MAX];
    for (uint32_t i = 0; i < plan->multi_get; i++) {
        keys[i] = bench_keys_draw(&load->source);
    }
    bench_exchange_get(exchange, keys, plan->multi_get);
}

/* Requests that were due by now and are not begun. */
static uint64_t
n_due(const struct bench_load *load, int64_t now_ns)
{
    double since = (double)(MIN(now_ns, load->end_ns) - load->first_due_ns);
    if (since < 0) {
        return 0;
    }
    uint64_t n_so_far = (uint64_t)(since / load->interval_ns) + 1;
    return MIN(n_so_far > load->n_due_taken ? n_so_far - load->n_due_taken : 0, load->n_left);
}

static int64_t
due_ns(const struct bench_load *load, uint64_t number)
{
    return load->first_due_ns + (int64_t)ceil((double)number * load->interval_ns);
}

/* How many requests the next batch takes; 0: none, for now or for ever. */
static uint64_t
batch_size(struct bench_load *load, struct connection *connection, int64_t now_ns)
{
    uint64_t n = MIN(load->n_left, load->plan->pipeline);
    if (load->phase == BENCH_FILL) {
        n = MIN(load->n_left, load->fill_pipeline);
    }
    if (now_ns >= load->end_ns || atomic_load_explicit(load->stop, memory_order_relaxed)) {
        return 0;
    }
    if (load->interval_ns > 0) {
        n = MIN(n, n_due(load, now_ns));
        connection->begun_ns = due_ns(load, load->n_due_taken);
        connection->is_due = true;
        load->n_due_taken += n;
    }
    return n;
}

/* False: there is nothing to send. */
static bool
batch_make(struct bench_load *load, struct connection *connection, int64_t now_ns)
{
    struct bench_exchange *exchange = &connection->exchange;
    uint32_t n_missed = exchange->n_missed;
    bench_exchange_clear(exchange);
    connection->sent_ns = connection->begun_ns = now_ns;
    connection->is_due = false;
    if (n_missed > 0) {
        for (uint32_t i = 0; i < n_missed; i++) {
            bench_exchange_set(exchange, exchange->missed[i]);
        }
        return true;
    }
    uint64_t n = batch_size(load, connection, now_ns);
    load->n_left -= n;
    for (uint64_t i = 0; i < n; i++) {
        if (load->phase == BENCH_FILL) {
            bench_exchange_set(exchange, load->fill_next++);
        } else {
            add_drawn(load, exchange);
        }
    }
    return n > 0;
}

static bool
connection_write(struct bench_load *load, struct connection *connection)
{
    struct bench_exchange *exchange = &connection->exchange;
    size_t left = exchange->out_size - connection->out_at;
    ssize_t sent =
        send(connection->fd, exchange->out + connection->out_at, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        return fail(load, "cannot send: %s", g_strerror(errno));
    }
    connection->out_at += sent > 0 ? (size_t)sent : 0;
    bool needs_room = connection->out_at < exchange->out_size;
    if (needs_room == connection->is_watched_for_room) {
        return true;
    }
    connection->is_watched_for_room = needs_room;
    return watch(load, EPOLL_CTL_MOD, connection->fd, EPOLLIN | (needs_room ? EPOLLOUT : 0u),
                 connection);
}

/* The connection has no batch under way; it gets one if there is anything to send. */
static bool
connection_begin(struct bench_load *load, struct connection *connection, int64_t now_ns)
{
    if (!batch_make(load, connection, now_ns)) {
        if (load->interval_ns > 0) {
            uint32_t at = (load->idle_first + load->n_idle++) % load->n_connections;
            load->idle[at] = (uint32_t)(connection - load->connections);
        }
        return true;
    }
    load->n_busy++;
    connection->out_at = 0;
    return connection_write(load, connection);
}

/* Answers */

/* Records what the last piece of answers has completed. All of it came at the same time. */
static void
record(struct bench_load *load, struct connection *connection, int64_t now_ns)
{
    struct bench_exchange *exchange = &connection->exchange;
    struct bench_results *results = &load->results;
    uint64_t n_gets = exchange->n_gets - connection->n_gets;
    uint64_t n_sets = exchange->n_sets - connection->n_sets;
    connection->n_gets = exchange->n_gets;
    connection->n_sets = exchange->n_sets;
    if (!connection->is_due) {
        uint64_t latency = (uint64_t)MAX(now_ns - connection->begun_ns, 0);
        yk_histogram_record_n(&results->get_latency, latency, n_gets);
        yk_histogram_record_n(&results->set_latency, latency, n_sets);
    } else {
        /* They were due one after the other; gets and sets are not kept in their order here, so
         * that a get may swap its due time with a set's of the same answer. */
        for (uint64_t i = 0; i < n_gets + n_sets; i++) {
            int64_t due = connection->begun_ns + (int64_t)((double)i * load->interval_ns);
            yk_histogram_record(i < n_gets ? &results->get_latency : &results->set_latency,
                                (uint64_t)MAX(now_ns - due, 0));
        }
        connection->begun_ns += (int64_t)((double)(n_gets + n_sets) * load->interval_ns);
    }
    uint64_t n = n_gets + n_sets;
    atomic_store_explicit(&load->n_done,
                          atomic_load_explicit(&load->n_done, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static bool
connection_read(struct bench_load *load, struct connection *connection)
{
    struct bench_exchange *exchange = &connection->exchange;
    memcpy(load->in, connection->stash, connection->stash_size);
    ssize_t got = recv(connection->fd, load->in + connection->stash_size, IN_SIZE, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (got <= 0) {
        return fail(load, "the server closed a connection (%s), with %u keys under way",
                    got == 0 ? "end of stream" : g_strerror(errno),
                    exchange->n_asks - exchange->at);
    }
    int64_t now_ns = clock_ns();
    size_t size = connection->stash_size + (size_t)got, used = 0;
    if (!bench_exchange_feed(exchange, load->in, size, &used)) {
        return fail(load, "the server answered wrongly: %s", exchange->wrong);
    }
    connection->stash_size = (uint32_t)(size - used);
    memcpy(connection->stash, load->in + used, size - used);
    record(load, connection, now_ns);
    if (!bench_exchange_is_done(exchange)) {
        return true;
    }
    if (connection->out_at < exchange->out_size) {
        return fail(load, "the server answered wrongly: before it was asked");
    }
    if (connection->stash_size > 0) {
        return fail(load, "the server answered wrongly: more than it was asked for");
    }
    load->n_busy--;
    load->results.ended_ns = now_ns;
    return connection_begin(load, connection, now_ns);
}

/* The loop */

/* Open loop: what is due goes out by connections that have nothing to do; if some are left over,
 * the timer is set to when the next request is due. */
static bool
send_due(struct bench_load *load, int64_t now_ns)
{
    while (load->n_idle > 0 && now_ns < load->end_ns && n_due(load, now_ns) > 0 &&
           !atomic_load(load->stop)) {
        struct connection *connection = &load->connections[load->idle[load->idle_first]];
        load->idle_first = (load->idle_first + 1) % load->n_connections;
        load->n_idle--;
        if (!connection_begin(load, connection, now_ns)) {
            return false;
        }
    }
    int64_t next_ns = due_ns(load, load->n_due_taken);
    if (load->n_idle == 0 || load->n_left == 0 || next_ns >= load->end_ns || load->is_armed) {
        return true;
    }
    struct itimerspec when = {
        .it_value = {.tv_sec = next_ns / SECOND_NS, .tv_nsec = next_ns % SECOND_NS}};
    load->is_armed = true;
    return timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0 ||
           fail_errno(load, "timerfd_settime");
}

static bool
check_timeouts(struct bench_load *load, int64_t now_ns)
{
    for (uint32_t i = 0; i < load->n_connections; i++) {
        const struct connection *connection = &load->connections[i];
        const struct bench_exchange *exchange = &connection->exchange;
        if (!bench_exchange_is_done(exchange) &&
            now_ns - connection->sent_ns > load->plan->timeout_ns) {
            return fail(load, "no answer within %.1f s, with %u keys under way",
                        (double)load->plan->timeout_ns / 1e9, exchange->n_asks - exchange->at);
        }
    }
    return true;
}

static bool
take_event(struct bench_load *load, const struct epoll_event *event)
{
    struct connection *connection = event->data.ptr;
    if (connection == NULL) {
        uint64_t n;
        load->is_armed = false;
        return read(load->timer, &n, sizeof(n)) >= 0 || errno == EAGAIN;
    }
    if ((event->events & EPOLLOUT) != 0 && !connection_write(load, connection)) {
        return false;
    }
    return (event->events & ~(uint32_t)EPOLLOUT) == 0 || connection_read(load, connection);
}

/* Whether there is anything to wait for. */
static bool
is_on(const struct bench_load *load)
{
    if (load->n_busy > 0) {
        return true;
    }
    return load->interval_ns > 0 && load->n_left > 0 && !atomic_load(load->stop) &&
           load->now_ns < load->end_ns && due_ns(load, load->n_due_taken) < load->end_ns;
}

static bool
loop(struct bench_load *load)
{
    int64_t looked_ns = load->now_ns;
    for (uint32_t i = 0; i < load->n_connections; i++) {
        if (!connection_begin(load, &load->connections[i], clock_ns())) {
            return false;
        }
    }
    struct epoll_event events[EVENTS_MAX];
    for (uint32_t n_turns = 0; is_on(load); n_turns++) {
        int n = epoll_wait(load->epoll, events, EVENTS_MAX, LOOK_MS);
        if (n < 0 && errno != EINTR) {
            return fail_errno(load, "epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            if (!take_event(load, &events[i])) {
                return false;
            }
        }
        if (load->interval_ns == 0 && n > 0 && n_turns % LOOK_TURNS != 0) {
            continue;
        }
        load->now_ns = clock_ns();
        if (load->interval_ns > 0 && !send_due(load, load->now_ns)) {
            return false;
        }
        if (load->now_ns - looked_ns > LOOK_MS * 1000000ll) {
            looked_ns = load->now_ns;
            if (!check_timeouts(load, load->now_ns)) {
                return false;
            }
        }
    }
    return true;
}

/* The share of a thread of a number of requests. */
static uint64_t
share_of(const struct bench_load *load, uint64_t n)
{
    uint64_t n_threads = load->plan->n_threads;
    return n / n_threads + (load->index < n % n_threads);
}

static void
phase_begin(struct bench_load *load, enum bench_phase phase)
{
    const struct bench_plan *plan = load->plan;
    int64_t now_ns = clock_ns(), for_ns = 0;
    uint64_t n_requests = 0;
    memset(&load->results, 0, sizeof(load->results));
    load->results.begun_ns = load->results.ended_ns = load->now_ns = now_ns;
    load->phase = phase;
    load->n_idle = load->n_busy = 0;
    load->n_due_taken = 0;
    load->interval_ns = 0;
    switch (phase) {
    case BENCH_FILL: {
        uint64_t n_keys = plan->items.n_keys;
        uint64_t from = (uint64_t)((unsigned __int128)n_keys * load->index / plan->n_threads);
        uint64_t to = (uint64_t)((unsigned __int128)n_keys * (load->index + 1) / plan->n_threads);
        load->fill_next = from;
        load->n_left = to - from;
        load->end_ns = INT64_MAX;
        return;
    }
    case BENCH_WARM_UP:
        for_ns = plan->warm_up_ns;
        n_requests = plan->n_warm_up_requests;
        break;
    case BENCH_MEASURE:
        for_ns = plan->measure_ns;
        n_requests = plan->n_requests;
        break;
    case BENCH_END:
        break;
    }
    load->n_left = n_requests > 0 ? share_of(load, n_requests) : UINT64_MAX;
    load->end_ns = for_ns > 0 ? now_ns + for_ns : INT64_MAX;
    load->interval_ns = plan->rate > 0 ? 1e9 * plan->n_threads / plan->rate : 0;
    load->first_due_ns = now_ns + (int64_t)(load->interval_ns * load->index / plan->n_threads);
}

bool
bench_load_run(struct bench_load *load, enum bench_phase phase, char error[BENCH_ERROR_SIZE])
{
    load->error = error;
    phase_begin(load, phase);
    bool is_done = loop(load);
    struct bench_results *results = &load->results;
    if (load->interval_ns > 0) {
        results->n_late = n_due(load, MIN(load->end_ns, clock_ns()));
    }
    for (uint32_t i = 0; i < load->n_connections; i++) {
        struct connection *connection = &load->connections[i];
        struct bench_exchange *exchange = &connection->exchange;
        results->n_gets += exchange->n_gets;
        results->n_sets += exchange->n_sets;
        results->n_hits += exchange->n_hits;
        results->n_misses += exchange->n_misses;
        results->n_errors += exchange->n_errors;
        exchange->n_gets = exchange->n_sets = exchange->n_hits = exchange->n_misses = 0;
        exchange->n_errors = 0;
        connection->n_gets = connection->n_sets = 0;
    }
    return is_done;
}
