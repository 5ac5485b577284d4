/* The simulated world around a node: an agenda of what happens when, connections as queues of bytes
 * with delays, executors that take their time. Swarm testing (Groce et al., ISSTA 2012): each seed
 * leaves out some of what could be chosen. */
#include <config.h>

#include "tests/sim/simulation.h"

#include <stdio.h>
#include <string.h>

#include <glib/gstdio.h>

#include "core/base/random.h"
#include "core/node/node.h"
#include "tests/sim/client.h"
#include "tests/sim/disk.h"

enum { CLIENTS_MAX = 8, WORKERS_MAX = 4, KEYS_MAX = 6 };
#define END_US   (600 * 1000000ll) /* nothing takes that long: a run that reaches it hangs */
#define EPOCH_MS 1700000000000ll

enum happening {
    AT_TURN,      /* of worker `index` */
    AT_CLIENT,    /* client `index` may say something */
    AT_SERVER_IN, /* bytes, or the end, reach the server */
    AT_CLIENT_IN, /* bytes reach the client */
    AT_MAIL,      /* ops reach worker `index` */
    AT_JOB_RUN,   /* a thread takes up a job of worker `index` */
    AT_JOB,       /* a job of worker `index` is done */
    AT_WRITE,     /* the disk takes up a bundle of worker `index` */
    AT_WRITTEN,   /* the disk has written it */
    AT_KEPT,      /* a piece of a snapshot is written */
    AT_BREAK,     /* the connection of client `index` breaks */
};

struct entry {
    int64_t at_us;
    uint64_t number; /* of two at the same time, the one that was put first */
    enum happening what;
    uint32_t index;
    GBytes *bytes; /* NULL: the end */
    void *thing;   /* ops, or a job */
};

struct connection {
    struct client *client;
    uint32_t worker;
    struct yk_session *session; /* NULL: not open, or closed */
    GByteArray *to_server;      /* arrived, not yet read */
    bool has_end, end_was_read, is_broken, is_closed;
    int64_t last_to_server_us, last_to_client_us; /* bytes keep their order */
    uint64_t unread;                              /* bytes under way to the client */
};

struct simulation {
    struct yk_random random;
    int64_t now_us;
    GPtrArray *agenda; /* binary heap of struct entry */
    uint64_t n_entries;
    struct yk_world world;
    int64_t slept_us; /* by the job that runs */
    struct yk_config *config;
    struct yk_node *node;
    struct connection connections[CLIENTS_MAX];
    uint32_t n_connections;
    bool has_turn[WORKERS_MAX];
    GPtrArray *inputs[WORKERS_MAX]; /* what will be stepped before the next turn: struct entry */
    struct history *history;
    struct simulation_result *result;
    bool keeps;         /* the engine does, over a restart of the node */
    struct disk *disk;  /* NULL: there is no journal */
    int64_t kill_us;    /* when that will be; 0: not in this life */
    int64_t written_us; /* bundles are written one after another */
    int64_t told_us;    /* and their workers told */
    GPtrArray *graves;  /* nodes that were killed: nobody can take them apart */
    char *folder;       /* of its files; NULL: it has none */
    GPtrArray *folders; /* of lanes */
    uint64_t epoch;
    int64_t disk_us_max; /* of a write */
    uint32_t n_clients;  /* made so far, in all lives of the node */
    /* The swarm. */
    int64_t delay_us_max; /* of the network */
    uint32_t window;      /* bytes that a client lets be under way */
    bool breaks, is_slow_reader;
    uint32_t piece_max; /* bytes that are read at once */
};

static uint64_t
below(struct simulation *simulation, uint64_t bound)
{
    return yk_random_below(&simulation->random, bound);
}

static bool
one_in(struct simulation *simulation, uint64_t n)
{
    return below(simulation, n) == 0;
}

static void trace(struct simulation *simulation, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
trace(struct simulation *simulation, const char *format, ...)
{
    va_list arguments;
    g_string_append_printf(simulation->result->trace, "%" G_GINT64_FORMAT " ", simulation->now_us);
    va_start(arguments, format);
    g_string_append_vprintf(simulation->result->trace, format, arguments);
    va_end(arguments);
    g_string_append_c(simulation->result->trace, '\n');
}

/* The agenda */

static bool
comes_before(const struct entry *a, const struct entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static struct entry *
put(struct simulation *simulation, int64_t at_us, enum happening what, uint32_t index)
{
    struct entry *entry = g_new0(struct entry, 1);
    GPtrArray *heap = simulation->agenda;
    *entry = (struct entry){
        .at_us = at_us, .number = simulation->n_entries++, .what = what, .index = index};
    g_ptr_array_add(heap, entry);
    guint at = heap->len - 1;
    while (at > 0 && comes_before(entry, heap->pdata[(at - 1) / 2])) {
        heap->pdata[at] = heap->pdata[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->pdata[at] = entry;
    return entry;
}

static struct entry *
take(struct simulation *simulation)
{
    GPtrArray *heap = simulation->agenda;
    if (heap->len == 0) {
        return NULL;
    }
    struct entry *first = heap->pdata[0];
    struct entry *last = heap->pdata[heap->len - 1];
    g_ptr_array_set_size(heap, (gint)heap->len - 1);
    guint at = 0;
    while (at * 2 + 1 < heap->len) {
        guint child = at * 2 + 1;
        if (child + 1 < heap->len && comes_before(heap->pdata[child + 1], heap->pdata[child])) {
            child++;
        }
        if (!comes_before(heap->pdata[child], last)) {
            break;
        }
        heap->pdata[at] = heap->pdata[child];
        at = child;
    }
    if (heap->len > 0) {
        heap->pdata[at] = last;
    }
    return first;
}

static void
entry_free(struct entry *entry)
{
    g_clear_pointer(&entry->bytes, g_bytes_unref);
    g_free(entry);
}

/* The world that plugins see */

static uint64_t
world_now_ms(void *arg)
{
    struct simulation *simulation = arg;
    return (uint64_t)(EPOCH_MS + (simulation->now_us + simulation->slept_us) / 1000);
}

static uint64_t
world_now_us(void *arg)
{
    struct simulation *simulation = arg;
    return (uint64_t)(simulation->now_us + simulation->slept_us);
}

static uint64_t
world_random(void *arg)
{
    struct simulation *simulation = arg;
    return yk_random_next(&simulation->random);
}

static void
world_sleep_us(void *arg, uint64_t us)
{
    struct simulation *simulation = arg;
    simulation->slept_us += (int64_t)us;
}

static void
world_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    trace(arg, "log %d %s %s", level, from, line);
}

static void *
world_resize(void *arg, void *memory, size_t size)
{
    (void)arg;
    return realloc(memory, size);
}

static void
world_release(void *arg, void *memory)
{
    (void)arg;
    free(memory);
}

static void
tell_facts(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg)
{
    (void)arg;
    (void)topic;
    fn(fn_arg, "pid", "1");
}

/* The server's side */

static void fail(struct simulation *simulation, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
fail(struct simulation *simulation, const char *format, ...)
{
    va_list arguments;
    if (simulation->result->failure->len > 0) {
        return;
    }
    va_start(arguments, format);
    g_string_append_vprintf(simulation->result->failure, format, arguments);
    va_end(arguments);
}

static void
want_turn(struct simulation *simulation, uint32_t worker, int64_t after_us)
{
    if (!simulation->has_turn[worker]) {
        simulation->has_turn[worker] = true;
        put(simulation, simulation->now_us + after_us, AT_TURN, worker);
    }
}

static struct yk_worker *
worker_of(struct simulation *simulation, uint32_t index)
{
    return simulation->node->workers[index];
}

static void
step(struct simulation *simulation, uint32_t worker, struct yk_event event)
{
    event.now_ms = world_now_ms(simulation);
    yk_worker_step(worker_of(simulation, worker), &event);
}

static void
open_session(struct simulation *simulation, struct connection *connection)
{
    uint32_t index = (uint32_t)(connection - simulation->connections);
    g_autofree char *address = g_strdup_printf("sim:%u", index);
    struct yk_peer peer = {.struct_size = sizeof(peer),
                           .family = YK_FAMILY_SIM,
                           .address = address,
                           .listener = "sim",
                           .uid = -1,
                           .id = index + 1};
    step(simulation, connection->worker,
         (struct yk_event){.kind = YK_EVENT_OPEN,
                           .open = {.frontend = 0,
                                    .peer = &peer,
                                    .conn = connection,
                                    .ret_session = &connection->session}});
    trace(simulation, "open connection=%u worker=%u", index, connection->worker);
}

static void
close_session(struct simulation *simulation, struct connection *connection)
{
    trace(simulation, "close connection=%u", (uint32_t)(connection - simulation->connections));
    step(simulation, connection->worker,
         (struct yk_event){.kind = YK_EVENT_CLOSED, .closed = {connection->session}});
    connection->session = NULL;
    connection->is_closed = true;
}

/* Reads a piece of what has arrived; the bytes live until the turn is over. */
static void
read_input(struct simulation *simulation, struct connection *connection, GPtrArray *borrowed)
{
    if (connection->session == NULL || !yk_session_wants_input(connection->session)) {
        return;
    }
    gsize size = connection->to_server->len;
    bool is_end = size == 0 && connection->has_end && !connection->end_was_read;
    if (size == 0 && !is_end) {
        return;
    }
    gsize piece =
        size > 0
            ? below(simulation, size < simulation->piece_max ? size : simulation->piece_max) + 1
            : 0;
    uint8_t *room;
    size_t room_size;
    yk_session_room(connection->session, &room, &room_size);
    const uint8_t *bytes;
    if (piece > 0 && room_size > 0) {
        piece = piece < room_size ? piece : room_size;
        memcpy(room, connection->to_server->data, piece);
        bytes = room;
    } else {
        GBytes *copy = g_bytes_new(connection->to_server->data, piece);
        g_ptr_array_add(borrowed, copy);
        bytes = g_bytes_get_data(copy, NULL);
    }
    g_byte_array_remove_range(connection->to_server, 0, (guint)piece);
    connection->end_was_read = is_end;
    trace(simulation, "received connection=%u size=%zu end=%d",
          (uint32_t)(connection - simulation->connections), piece, is_end);
    step(simulation, connection->worker,
         (struct yk_event){.kind = YK_EVENT_RECEIVED,
                           .received = {connection->session, bytes, piece, is_end}});
    if (connection->to_server->len > 0 || (connection->has_end && !connection->end_was_read)) {
        want_turn(simulation, connection->worker, (int64_t)below(simulation, 20));
    }
}

static void
send_output(struct simulation *simulation, struct connection *connection)
{
    struct yk_slice slices[8];
    while (connection->unread < simulation->window) {
        size_t n = yk_session_peek(connection->session, slices, 8);
        if (n == 0) {
            return;
        }
        uint64_t room = simulation->window - connection->unread;
        size_t most = slices[0].size < room ? slices[0].size : room;
        size_t size = one_in(simulation, 4) ? below(simulation, most) + 1 : most;
        int64_t at_us =
            simulation->now_us + (int64_t)below(simulation, simulation->delay_us_max + 1);
        at_us = at_us < connection->last_to_client_us ? connection->last_to_client_us : at_us;
        connection->last_to_client_us = at_us;
        struct entry *entry =
            put(simulation, at_us, AT_CLIENT_IN, (uint32_t)(connection - simulation->connections));
        entry->bytes = g_bytes_new(slices[0].data, size);
        connection->unread += size;
        trace(simulation, "sent connection=%u size=%zu", entry->index, size);
        step(simulation, connection->worker,
             (struct yk_event){.kind = YK_EVENT_SENT, .sent = {connection->session, size}});
    }
}

static void
settle(struct simulation *simulation, struct connection *connection)
{
    if (connection->session == NULL) {
        return;
    }
    send_output(simulation, connection);
    if (yk_session_is_over(connection->session)) {
        close_session(simulation, connection);
    } else if (connection->to_server->len > 0 && yk_session_wants_input(connection->session)) {
        want_turn(simulation, connection->worker, (int64_t)below(simulation, 20));
    }
}

/* A thread takes the job up a little later: jobs that were sent out one after another may run the
 * other way round. */
static void
send_job(struct simulation *simulation, uint32_t worker, struct yk_job *job)
{
    int64_t at_us = simulation->now_us + (int64_t)below(simulation, 100);
    put(simulation, at_us, AT_JOB_RUN, worker)->thing = job;
}

static void
run_job(struct simulation *simulation, uint32_t worker, struct yk_job *job)
{
    simulation->slept_us = 0;
    bool is_done = yk_job_run(job);
    g_assert_true(is_done);
    int64_t took_us = simulation->slept_us + (int64_t)below(simulation, 200);
    simulation->slept_us = 0;
    struct entry *entry = put(simulation, simulation->now_us + took_us, AT_JOB, worker);
    entry->thing = job;
    trace(simulation, "job worker=%u lane=%u us=%" G_GINT64_FORMAT, worker,
          yk_lane_index(yk_job_lane(job)), took_us);
}

/* The disk writes what it was given one after another, and answers in that order. */
static void
send_bundle(struct simulation *simulation, uint32_t worker, struct yk_bundle *bundle)
{
    int64_t at_us = simulation->now_us + 1 + (int64_t)below(simulation, simulation->disk_us_max);
    at_us = at_us < simulation->written_us ? simulation->written_us : at_us;
    simulation->written_us = at_us;
    put(simulation, at_us, AT_WRITE, worker)->thing = bundle;
    trace(simulation, "journal worker=%u number=%u entries=%u size=%u", worker,
          (unsigned)bundle->number, bundle->n_entries, bundle->size);
}

static void
write_bundle(struct simulation *simulation, uint32_t worker, struct yk_bundle *bundle)
{
    disk_write(simulation->disk, bundle, world_now_ms(simulation));
    disk_tend(simulation->disk, simulation->node->n_workers);
    /* Told in order: one that comes later is not told before. */
    int64_t at_us =
        simulation->now_us +
        (int64_t)below(simulation, one_in(simulation, 4) ? simulation->disk_us_max : 50);
    at_us = at_us < simulation->told_us ? simulation->told_us : at_us;
    simulation->told_us = at_us;
    put(simulation, at_us, AT_WRITTEN, worker)->thing = bundle;
    if (simulation->disk->room.checkpoint_below > 0) {
        for (uint32_t i = 0; i < simulation->node->n_workers; i++) {
            want_turn(simulation, i, (int64_t)below(simulation, 200));
        }
    }
}

static void
keep_piece(struct simulation *simulation, uint32_t worker, const struct yk_effect *effect)
{
    trace(simulation, "keep lane=%u entries=%u flags=%u", yk_lane_index(effect->keep.lane),
          effect->keep.bundle != NULL ? effect->keep.bundle->n_entries : 0, effect->keep.flags);
    disk_keep(simulation->disk, effect->keep.lane, effect->keep.bundle, effect->keep.flags);
    if ((effect->keep.flags & YK_KEEP_GIVE_UP) == 0) {
        int64_t at_us =
            simulation->now_us + 1 + (int64_t)below(simulation, simulation->disk_us_max);
        put(simulation, at_us, AT_KEPT, worker)->thing = effect->keep.lane;
    }
}

static void
send_mail(struct simulation *simulation, uint32_t from, uint32_t to, struct yk_op *first)
{
    uint32_t n = 0;
    for (const struct yk_op *op = first; op != NULL; op = op->next) {
        n++;
    }
    /* One queue for each pair of workers: mail keeps its order. */
    int64_t at_us = simulation->now_us + 1 + (int64_t)from;
    put(simulation, at_us, AT_MAIL, to)->thing = first;
    trace(simulation, "mail from=%u to=%u ops=%u", from, to, n);
}

static void
take_effects(struct simulation *simulation, uint32_t worker, bool *touched)
{
    uint32_t n;
    const struct yk_effect *effects = yk_worker_take_effects(worker_of(simulation, worker), &n);
    for (uint32_t i = 0; i < n; i++) {
        switch (effects[i].kind) {
        case YK_EFFECT_SESSION: {
            const struct connection *connection = yk_session_conn(effects[i].session);
            touched[connection - simulation->connections] = true;
            break;
        }
        case YK_EFFECT_JOB:
            send_job(simulation, worker, effects[i].job);
            break;
        case YK_EFFECT_JOURNAL:
            send_bundle(simulation, worker, effects[i].bundle);
            break;
        case YK_EFFECT_KEEP:
            keep_piece(simulation, worker, &effects[i]);
            break;
        case YK_EFFECT_MAIL:
            send_mail(simulation, worker, effects[i].mail.to, effects[i].mail.first);
            break;
        case YK_EFFECT_WISH:
        case YK_EFFECT_SEND:
            fail(simulation, "a message to another node from a node of one");
            break;
        case YK_EFFECT_SHUT_DOWN:
            fail(simulation, "a shutdown that nobody asked for");
            break;
        }
    }
}

static void
step_inputs(struct simulation *simulation, uint32_t worker)
{
    GPtrArray *inputs = simulation->inputs[worker];
    for (guint i = 0; i < inputs->len; i++) {
        struct entry *entry = inputs->pdata[i];
        if (entry->what == AT_MAIL) {
            step(simulation, worker,
                 (struct yk_event){.kind = YK_EVENT_MAIL, .mail = {entry->thing}});
        } else if (entry->what == AT_WRITTEN) {
            disk_told(simulation->disk, entry->thing);
            step(simulation, worker,
                 (struct yk_event){.kind = YK_EVENT_JOURNALED, .bundle = entry->thing});
        } else if (entry->what == AT_KEPT) {
            step(simulation, worker,
                 (struct yk_event){.kind = YK_EVENT_KEPT, .kept = {entry->thing, YK_OK}});
        } else {
            step(simulation, worker,
                 (struct yk_event){.kind = YK_EVENT_JOB_DONE, .job_done = {entry->thing}});
        }
        entry_free(entry);
    }
    g_ptr_array_set_size(inputs, 0);
}

static void
turn(struct simulation *simulation, uint32_t worker)
{
    GPtrArray *borrowed = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    bool touched[CLIENTS_MAX] = {false};
    simulation->has_turn[worker] = false;
    trace(simulation, "turn worker=%u inputs=%u", worker, simulation->inputs[worker]->len);
    step_inputs(simulation, worker);
    for (uint32_t i = 0; i < simulation->n_connections; i++) {
        struct connection *connection = &simulation->connections[i];
        if (connection->worker != worker || connection->is_closed) {
            continue;
        }
        if (connection->session == NULL) {
            open_session(simulation, connection);
        }
        if (connection->is_broken) {
            continue;
        }
        read_input(simulation, connection, borrowed);
        touched[i] = true;
    }
    step(simulation, worker, (struct yk_event){.kind = YK_EVENT_TURN});
    g_ptr_array_free(borrowed, TRUE);
    take_effects(simulation, worker, touched);
    for (uint32_t i = 0; i < simulation->n_connections; i++) {
        struct connection *connection = &simulation->connections[i];
        if (touched[i]) {
            settle(simulation, connection);
        }
        if (connection->worker == worker && connection->is_broken && connection->session != NULL) {
            close_session(simulation, connection);
        }
    }
    if (yk_worker_wants_turn(worker_of(simulation, worker))) {
        want_turn(simulation, worker, (int64_t)below(simulation, 20));
    }
    uint64_t next_ms = yk_worker_next_turn(worker_of(simulation, worker));
    if (next_ms != 0 && simulation->n_connections > 0) {
        int64_t at_us = ((int64_t)next_ms - EPOCH_MS) * 1000;
        want_turn(simulation, worker, at_us > simulation->now_us ? at_us - simulation->now_us : 0);
    }
}

/* The clients' side */

static void
speak(struct simulation *simulation, uint32_t index)
{
    struct connection *connection = &simulation->connections[index];
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    if (connection->is_closed || connection->is_broken) {
        return;
    }
    client_write(connection->client, simulation->now_us, bytes);
    gsize from = 0;
    while (from < bytes->len) {
        gsize size =
            one_in(simulation, 2) ? bytes->len - from : below(simulation, bytes->len - from) + 1;
        int64_t at_us =
            simulation->now_us + (int64_t)below(simulation, simulation->delay_us_max + 1);
        at_us = at_us < connection->last_to_server_us ? connection->last_to_server_us : at_us;
        connection->last_to_server_us = at_us;
        put(simulation, at_us, AT_SERVER_IN, index)->bytes = g_bytes_new(bytes->data + from, size);
        from += size;
    }
    if (!client_is_done(connection->client)) {
        put(simulation,
            simulation->now_us + 100 + (int64_t)below(simulation, simulation->delay_us_max * 4),
            AT_CLIENT, index);
    }
}

static void
reach_client(struct simulation *simulation, struct entry *entry)
{
    struct connection *connection = &simulation->connections[entry->index];
    g_autoptr(GString) why = g_string_new(NULL);
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(entry->bytes, &size);
    connection->unread -= size;
    if (connection->is_broken) {
        return;
    }
    if (!client_read(connection->client, simulation->now_us, bytes, size, why)) {
        fail(simulation, "connection %u: %s", entry->index, why->str);
    }
    if (!connection->is_closed) {
        want_turn(simulation, connection->worker, (int64_t)below(simulation, 50));
    }
}

static void
happen(struct simulation *simulation, struct entry *entry)
{
    struct connection *connection = &simulation->connections[entry->index];
    switch (entry->what) {
    case AT_TURN:
        turn(simulation, entry->index);
        break;
    case AT_CLIENT:
        speak(simulation, entry->index);
        break;
    case AT_SERVER_IN: {
        gsize size;
        const guint8 *bytes = g_bytes_get_data(entry->bytes, &size);
        g_byte_array_append(connection->to_server, bytes, (guint)size);
        want_turn(simulation, connection->worker, (int64_t)below(simulation, 50));
        break;
    }
    case AT_CLIENT_IN:
        reach_client(simulation, entry);
        break;
    case AT_JOB_RUN:
        run_job(simulation, entry->index, entry->thing);
        break;
    case AT_WRITE:
        write_bundle(simulation, entry->index, entry->thing);
        break;
    case AT_BREAK:
        trace(simulation, "break connection=%u", entry->index);
        connection->is_broken = true;
        want_turn(simulation, connection->worker, 0);
        break;
    default:
        break;
    }
}

/* A run */

static bool
has_plugin(struct yk_plugins *plugins, const char *name)
{
    char error[YK_ERROR_SIZE];
    return yk_plugins_find(plugins, YK_KIND_BACKEND, name, error) != NULL;
}

/* Mostly memory: the others make real files. */
static const char *
choose_engine(struct simulation *simulation, struct yk_plugins *plugins)
{
    static const char *const engines[] = {"lmdb", "tokyocabinet", "berkeleydb"};
    uint64_t choice = below(simulation, 8);
    bool keeps = choice < G_N_ELEMENTS(engines) && has_plugin(plugins, engines[choice]);
    simulation->keeps = keeps;
    return keeps ? engines[choice] : "memory";
}

static void
choose_bucket(struct simulation *simulation, struct yk_plugins *plugins, GString *text,
              GString *sections)
{
    const char *engine = choose_engine(simulation, plugins);
    bool has_journal = simulation->keeps || one_in(simulation, 2);
    const char *durability = !has_journal ? "memory" : one_in(simulation, 2) ? "os" : "disk";
    g_string_append_printf(text, "[bucket default]\nbackend = %s\ndurability = %s\nslots = %u\n",
                           engine, durability, 1u << below(simulation, 5));
    bool evicts = one_in(simulation, 6);
    if (simulation->keeps) {
        g_string_append(text, one_in(simulation, 2) ? "value_size_max = 2K\n" : "");
        g_string_append(sections, "[backend lmdb]\nmap_size = 64M\n"
                                  "[backend tokyocabinet]\nbnum = 1000\nxmsiz = 0\n");
        return;
    }
    if (evicts) {
        g_string_append(text, "memory_max = 2M\nevict = s3fifo\nvalue_size_max = 40K\n");
    } else if (one_in(simulation, 4)) {
        g_string_append(text, "memory_max = 1M\n");
    } else if (has_journal && one_in(simulation, 2)) {
        g_string_append(text, "value_size_max = 2K\n"); /* so that segments are small */
    }
}

static char *
choose_config(struct simulation *simulation, struct yk_plugins *plugins)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GString) sections = g_string_new(NULL);
    bool is_slow = one_in(simulation, 2);
    bool has_faults = one_in(simulation, 5);
    choose_bucket(simulation, plugins, text, sections);
    if (is_slow || has_faults) {
        g_string_append_printf(text, "filters = %s%s%s\n", is_slow ? "delay" : "",
                               is_slow && has_faults ? ", " : "", has_faults ? "fault" : "");
    }
    if (is_slow) {
        g_string_append_printf(text, "[filter delay]\nget = %uus\napply = %uus\njitter = %uus\n",
                               (unsigned)below(simulation, 3000), (unsigned)below(simulation, 3000),
                               (unsigned)below(simulation, 2000) + 1);
    }
    if (has_faults) {
        g_string_append_printf(text, "[filter fault]\nget = %u%%\nadmit = %u%%\n",
                               (unsigned)below(simulation, 10), (unsigned)below(simulation, 20));
    }
    g_string_append_printf(
        text,
        "%s[frontend memcached]\nlisten = 127.0.0.1:11211\n[node a]\nworkers = %u\n"
        "lanes = %u\n",
        sections->str, (unsigned)below(simulation, WORKERS_MAX) + 1,
        1u << below(simulation, simulation->keeps ? 3 : 5));
    return g_strdup(text->str);
}

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    return yk_plugins_find(arg, kind, name, error);
}

/* Each lane's folder; it lives as long as the simulation. */
static const char *
make_folder(void *arg, const struct yk_backend_place *place, char *error)
{
    struct simulation *simulation = arg;
    char *path = g_strdup_printf("%s/%u", simulation->folder, place->lane);
    g_ptr_array_add(simulation->folders, path);
    g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
    return path;
}

static bool
open_node(struct simulation *simulation)
{
    char error[YK_ERROR_SIZE];
    g_autoptr(GString) why = g_string_new(NULL);
    struct yk_node_setup setup = {.config = simulation->config,
                                  .world = &simulation->world,
                                  .n_workers = simulation->config->node.workers,
                                  .epoch = ++simulation->epoch,
                                  .seed = yk_random_next(&simulation->random),
                                  .make_folder = make_folder,
                                  .make_folder_arg = simulation,
                                  .facts = tell_facts};
    if (simulation->disk != NULL) {
        setup.room = &simulation->disk->room;
        setup.needed_from = simulation->disk->needed_from;
    }
    if (yk_node_new(&setup, &simulation->node, error) != YK_OK) {
        fail(simulation, "%s", error);
        return false;
    }
    if (simulation->disk != NULL && !disk_recover(simulation->disk, simulation->node, why)) {
        fail(simulation, "recovery: %s", why->str);
        return false;
    }
    return true;
}

static void
make_disk(struct simulation *simulation)
{
    const struct yk_bucket_config *bucket = &simulation->config->buckets[0];
    uint64_t flush = (bucket->slots + 2ull) * yk_entry_size(0, 8);
    uint64_t record =
        yk_entry_size(bucket->key_size_max, bucket->value_size_max + YK_RECORD_OVERHEAD_MAX) +
        YK_ENTRY_TOKEN_SIZE;
    if (bucket->durability == YK_DURABILITY_MEMORY) {
        return;
    }
    uint64_t largest = flush > record ? flush : record;
    simulation->disk = disk_new(largest, (1 + below(simulation, 16)) * 4 * YK_KIB,
                                (1 + below(simulation, 8)) * largest);
    simulation->disk_us_max = one_in(simulation, 2) ? 100 : 5000;
}

static bool
make_node(struct simulation *simulation, struct yk_plugins *plugins)
{
    char error[YK_ERROR_SIZE];
    g_autofree char *text = choose_config(simulation, plugins);
    struct yk_config_source source = {.file = "sim",
                                      .text = text,
                                      .size = strlen(text),
                                      .find_plugin = find_plugin,
                                      .arg = plugins};
    g_string_append(simulation->result->options, text);
    if (yk_config_parse(&source, &simulation->config, error) != YK_OK) {
        fail(simulation, "%s", error);
        return false;
    }
    simulation->epoch = below(simulation, 1000);
    if (simulation->keeps) {
        simulation->folder = g_dir_make_tmp("yakumo-sim-XXXXXX", NULL);
    }
    make_disk(simulation);
    return open_node(simulation);
}

/* Now and then so large that pipelined reads fill the output and what may be stashed. */
static uint32_t
choose_value_size(struct simulation *simulation)
{
    return one_in(simulation, 6) ? 600000 : one_in(simulation, 3) ? 40000 : 300;
}

static void
make_clients(struct simulation *simulation, uint32_t n_commands)
{
    uint32_t n = (uint32_t)below(simulation, CLIENTS_MAX) + 1;
    struct client_config config = {.history = simulation->history,
                                   .n_commands = n_commands / n + 1,
                                   .pipeline_max = (uint32_t)below(simulation, 8) + 1,
                                   .value_size_max = choose_value_size(simulation),
                                   .uses_expiry = one_in(simulation, 2),
                                   .uses_flush = one_in(simulation, 2),
                                   .uses_noreply = one_in(simulation, 2)};
    if (config.value_size_max > 1000 && simulation->piece_max < 2000) {
        simulation->piece_max = 2000; /* a few bytes at a time would take too long */
    }
    simulation->n_connections = n;
    for (uint32_t i = 0; i < n; i++) {
        struct connection *connection = &simulation->connections[i];
        *connection = (struct connection){.client = NULL};
        config.connection = simulation->n_clients++;
        config.seed = yk_random_next(&simulation->random);
        connection->client = client_new(&config);
        connection->worker = (uint32_t)below(simulation, simulation->node->n_workers);
        connection->to_server = g_byte_array_new();
        put(simulation, simulation->now_us + (int64_t)below(simulation, 1000), AT_CLIENT, i);
        if (simulation->breaks && one_in(simulation, 3)) {
            put(simulation, simulation->now_us + (int64_t)below(simulation, 300000), AT_BREAK, i);
        }
    }
}

static void
choose_swarm(struct simulation *simulation)
{
    simulation->delay_us_max = one_in(simulation, 3) ? 50 : 2000;
    simulation->window = one_in(simulation, 3) ? 2000 : 1 << 20;
    simulation->piece_max = one_in(simulation, 3) ? 7 : 16384;
    simulation->breaks = one_in(simulation, 4);
}

static bool
is_over(const struct simulation *simulation)
{
    for (uint32_t i = 0; i < simulation->n_connections; i++) {
        const struct connection *connection = &simulation->connections[i];
        if (!connection->is_closed || connection->unread > 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < simulation->node->n_workers; i++) {
        if (!yk_worker_is_idle(simulation->node->workers[i]) || simulation->inputs[i]->len > 0) {
            return false;
        }
    }
    return true;
}

/* kill -9: what is under way is gone, but for a piece perhaps of what was being written. */
static void
kill_node(struct simulation *simulation, struct entry *next)
{
    trace(simulation, "kill");
    for (struct entry *entry = next; entry != NULL; entry = take(simulation)) {
        if (entry->what == AT_WRITE && one_in(simulation, 2)) {
            struct yk_bundle *bundle = entry->thing;
            disk_tear(simulation->disk, bundle, world_now_ms(simulation),
                      below(simulation, bundle->size + 1));
            entry_free(entry);
            break;
        }
        entry_free(entry);
    }
    for (uint32_t i = 0; i < simulation->n_connections; i++) {
        simulation->connections[i].is_broken = true;
    }
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        g_ptr_array_foreach(simulation->inputs[i], (GFunc)(void *)entry_free, NULL);
        g_ptr_array_set_size(simulation->inputs[i], 0);
    }
    g_ptr_array_add(simulation->graves, simulation->node);
    simulation->node = NULL;
}

static void
run_agenda(struct simulation *simulation)
{
    struct entry *entry;
    while (simulation->node != NULL && !is_over(simulation) && (entry = take(simulation)) != NULL) {
        simulation->now_us = entry->at_us;
        simulation->result->n_events++;
        if (simulation->kill_us != 0 && simulation->now_us >= simulation->kill_us) {
            kill_node(simulation, entry);
            return;
        }
        bool is_input = entry->what == AT_MAIL || entry->what == AT_JOB ||
                        entry->what == AT_WRITTEN || entry->what == AT_KEPT;
        if (is_input) {
            g_ptr_array_add(simulation->inputs[entry->index], entry);
            want_turn(simulation, entry->index, (int64_t)below(simulation, 50));
            continue;
        }
        happen(simulation, entry);
        entry_free(entry);
        if (simulation->now_us > END_US || simulation->result->failure->len > 0) {
            fail(simulation, "not over after %d simulated seconds", (int)(END_US / 1000000));
            return;
        }
    }
    if (simulation->node != NULL && !is_over(simulation)) {
        fail(simulation, "nothing more happens, but not everything is over");
    }
}

static void
check(struct simulation *simulation)
{
    for (uint32_t i = 0; i < simulation->n_connections; i++) {
        const struct connection *connection = &simulation->connections[i];
        if (!connection->is_broken && !client_is_done(connection->client)) {
            fail(simulation, "connection %u was closed with answers owed", i);
        }
    }
}

static void
check_history(struct simulation *simulation)
{
    if (simulation->result->failure->len == 0) {
        g_autoptr(GString) why = g_string_new(NULL);
        enum history_verdict verdict = history_check(simulation->history, why);
        if (verdict == HISTORY_WRONG) {
            fail(simulation, "not linearizable: %s", why->str);
        }
        simulation->result->is_undecided = verdict == HISTORY_UNDECIDED;
    }
}

/* The clients of one life of the node. */
static void
drop_clients(struct simulation *simulation)
{
    struct entry *entry;
    while ((entry = take(simulation)) != NULL) {
        entry_free(entry);
    }
    for (uint32_t i = 0; i < simulation->n_connections; i++) {
        client_free(simulation->connections[i].client);
        g_byte_array_free(simulation->connections[i].to_server, TRUE);
    }
    simulation->n_connections = 0;
    memset(simulation->has_turn, 0, sizeof(simulation->has_turn));
}

/* What the engine keeps is there when the node starts again. */
static void
restart(struct simulation *simulation)
{
    drop_clients(simulation);
    yk_node_free(simulation->node);
    simulation->node = NULL;
    trace(simulation, "restart");
    simulation->written_us = simulation->told_us = 0;
    simulation->now_us += (int64_t)below(simulation, one_in(simulation, 2) ? 10000 : 3000000);
    (void)open_node(simulation);
}

static void
remove_files(struct simulation *simulation)
{
    if (simulation->folder == NULL) {
        return;
    }
    for (guint i = 0; i < simulation->folders->len; i++) {
        const char *path = simulation->folders->pdata[i], *name;
        g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
        while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
            g_autofree char *file = g_build_filename(path, name, NULL);
            (void)g_remove(file);
        }
        (void)g_rmdir(path);
    }
    (void)g_rmdir(simulation->folder);
    g_free(simulation->folder);
}

static void
clean_up(struct simulation *simulation)
{
    /* After a failure sessions are still open: then the node is left as it is. */
    if (simulation->result->failure->len == 0) {
        yk_node_free(simulation->node);
    }
    drop_clients(simulation);
    remove_files(simulation);
    g_ptr_array_free(simulation->folders, TRUE);
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        g_ptr_array_free(simulation->inputs[i], TRUE);
    }
    disk_free(simulation->disk);
    g_ptr_array_free(simulation->agenda, TRUE);
    history_free(simulation->history);
    if (simulation->result->failure->len == 0) {
        yk_config_free(simulation->config);
    }
    g_free(simulation);
}

void
simulation_run(struct yk_plugins *plugins, uint64_t seed, uint32_t n_commands,
               struct simulation_result *ret_result)
{
    /* What was killed is found by whoever looks for leaks. */
    static GPtrArray *graves;
    graves = graves != NULL ? graves : g_ptr_array_new();
    struct simulation *simulation = g_new0(struct simulation, 1);
    simulation->graves = graves;
    *ret_result = (struct simulation_result){
        .trace = g_string_new(NULL), .options = g_string_new(NULL), .failure = g_string_new(NULL)};
    simulation->random.state = seed;
    simulation->result = ret_result;
    simulation->agenda = g_ptr_array_new();
    simulation->folders = g_ptr_array_new_with_free_func(g_free);
    simulation->world = (struct yk_world){.arg = simulation,
                                          .now_ms = world_now_ms,
                                          .now_us = world_now_us,
                                          .boot_us = world_now_us,
                                          .random = world_random,
                                          .sleep_us = world_sleep_us,
                                          .log = world_log,
                                          .resize = world_resize,
                                          .release = world_release};
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        simulation->inputs[i] = g_ptr_array_new();
    }
    choose_swarm(simulation);
    simulation->history = history_new((uint32_t)below(simulation, KEYS_MAX) + 1, false);
    if (make_node(simulation, plugins)) {
        simulation->history->may_evict = simulation->config->buckets[0].evict != YK_EVICT_NONE;
        simulation->history->may_fail = simulation->config->buckets[0].memory_max != 0 ||
                                        simulation->config->buckets[0].value_size_max < YK_MIB ||
                                        simulation->config->buckets[0].n_filters > 0;
        bool has_journal = simulation->disk != NULL;
        uint32_t n_lives = has_journal ? (uint32_t)below(simulation, 4) + 1 : 1;
        /* A file of an engine cannot be opened twice by one process: only memory is killed. */
        bool kills = has_journal && !simulation->keeps && one_in(simulation, 2);
        simulation->history->may_fail = simulation->history->may_fail || kills;
        for (uint32_t life = 0; life < n_lives && ret_result->failure->len == 0; life++) {
            if (life > 0) {
                restart(simulation);
            }
            make_clients(simulation, n_commands / n_lives);
            simulation->kill_us =
                kills ? simulation->now_us + 1000 + (int64_t)below(simulation, 500000) : 0;
            run_agenda(simulation);
            check(simulation);
        }
        check_history(simulation);
    }
    ret_result->n_operations = simulation->history->operations->len;
    ret_result->simulated_us = simulation->now_us;
    clean_up(simulation);
}

void
simulation_result_done(struct simulation_result *result)
{
    g_string_free(result->trace, TRUE);
    g_string_free(result->options, TRUE);
    g_string_free(result->failure, TRUE);
}
