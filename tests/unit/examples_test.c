/* The sketches of examples/, loaded like any plugin and driven by hosts of this test's own: a core
 * that answers requests from a small map, one connection at a time, and a lane of one engine.
 *
 * Each conversation is fed whole, byte by byte, and with a core that takes one request at a time;
 * what comes out must be the same. */
#include <config.h>

#include <pthread.h>
#include <string.h>

#include <glib.h>

#include <yakumo/yakumo.h>

#include "core/base/options.h"
#include "core/base/world.h"
#include "plugins/plugins.h"

/* A world whose clock stands until it is moved, and which ends asynchronous calls. (The locks are
 * not GLib's: the thread sanitizer knows these.) */
struct test_world {
    struct yk_world world;
    uint64_t now_us;
    int64_t n_allocated;  /* atomic */
    pthread_mutex_t lock; /* of the two below */
    pthread_cond_t ended;
    uint32_t n_ended;
    enum yk_err result; /* of the call that ended last */
};

static uint64_t
world_now_ms(void *arg)
{
    return ((struct test_world *)arg)->now_us / 1000;
}

static uint64_t
world_now_us(void *arg)
{
    return ((struct test_world *)arg)->now_us;
}

static uint64_t
world_random(void *arg)
{
    return 4;
}

static void
world_sleep_us(void *arg, uint64_t us)
{
    g_assert_not_reached();
}

static void
world_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    g_test_message("%s: %s", from, line);
}

static void *
world_resize(void *arg, void *memory, size_t size)
{
    struct test_world *world = arg;
    __atomic_fetch_add(&world->n_allocated, memory == NULL, __ATOMIC_RELAXED);
    return g_realloc(memory, size);
}

static void
world_release(void *arg, void *memory)
{
    struct test_world *world = arg;
    __atomic_fetch_sub(&world->n_allocated, memory != NULL, __ATOMIC_RELAXED);
    g_free(memory);
}

static void
world_complete(void *arg, struct yk_call *call, enum yk_err result)
{
    struct test_world *world = arg;
    pthread_mutex_lock(&world->lock);
    world->n_ended++;
    world->result = result;
    pthread_cond_signal(&world->ended);
    pthread_mutex_unlock(&world->lock);
}

static void
world_init(struct test_world *world)
{
    *world = (struct test_world){.now_us = 1000000};
    pthread_mutex_init(&world->lock, NULL);
    pthread_cond_init(&world->ended, NULL);
    world->world = (struct yk_world){.arg = world,
                                     .now_ms = world_now_ms,
                                     .now_us = world_now_us,
                                     .boot_us = world_now_us,
                                     .random = world_random,
                                     .sleep_us = world_sleep_us,
                                     .log = world_log,
                                     .resize = world_resize,
                                     .release = world_release,
                                     .complete = world_complete};
}

static void
world_done(struct test_world *world)
{
    g_assert_cmpint(world->n_allocated, ==, 0);
    pthread_cond_destroy(&world->ended);
    pthread_mutex_destroy(&world->lock);
}

/* A plugin of examples/ with its options at their defaults. */
struct instance {
    struct test_world world;
    struct yk_plugin_host host;
    struct yk_plugins *plugins;
    struct yk_settings *settings;
    void *self;
};

static const void *
instance_init(struct instance *instance, enum yk_plugin_kind kind, const char *name)
{
    const char *top = g_getenv("top_builddir");
    g_autofree char *folder = g_build_filename(top != NULL ? top : ".", "examples", NULL);
    char error[YK_ERROR_SIZE] = "";
    *instance = (struct instance){.plugins = yk_plugins_new(folder)};
    world_init(&instance->world);
    const struct yk_plugin *plugin = yk_plugins_find(instance->plugins, kind, name, error);
    g_assert_cmpstr(error, ==, "");
    if (plugin == NULL) {
        g_error("cannot go on without %s", name);
    }
    instance->settings = yk_settings_new(plugin, name);
    yk_plugin_host_init(&instance->host, &instance->world.world, name);
    g_assert_cmpint(
        yk_instance_new(instance->settings, &instance->host.host, &instance->self, error), ==,
        YK_OK);
    return plugin->ops;
}

static void
instance_done(struct instance *instance)
{
    yk_instance_free(instance->settings, instance->self);
    yk_settings_free(instance->settings);
    yk_plugins_free(instance->plugins);
    world_done(&instance->world);
}

/* A connection, and the core behind it. */
struct connection {
    struct yk_inbox inbox;   /* first */
    struct yk_outbox outbox; /* written into output */
    const struct yk_frontend_ops *ops;
    void *session;
    GPtrArray *queue; /* struct entry: submitted, not yet answered */
    struct entry *taken;
    uint32_t n_room; /* requests that fit into the queue */
    GHashTable *records;
    GString *output;
    struct entry *watch; /* a stream that has begun */
    bool is_closed;
};

struct entry {
    struct yk_request request; /* first */
    GPtrArray *memory;         /* of inbox->alloc */
};

static void
entry_free(gpointer data)
{
    struct entry *entry = data;
    g_ptr_array_free(entry->memory, true);
    g_free(entry);
}

static struct yk_request *
inbox_request(struct yk_inbox *inbox)
{
    struct connection *connection = (struct connection *)inbox;
    g_assert_null(connection->taken);
    if (connection->queue->len >= connection->n_room) {
        return NULL;
    }
    connection->taken = g_new0(struct entry, 1);
    connection->taken->request.struct_size = sizeof(struct yk_request);
    connection->taken->memory = g_ptr_array_new_with_free_func(g_free);
    return &connection->taken->request;
}

static void *
inbox_alloc(struct yk_inbox *inbox, struct yk_request *request, size_t size)
{
    void *memory = g_malloc(size);
    g_ptr_array_add(((struct entry *)request)->memory, memory);
    return memory;
}

static bool
inbox_submit(struct yk_inbox *inbox, struct yk_request *request)
{
    struct connection *connection = (struct connection *)inbox;
    g_assert_true((struct entry *)request == connection->taken);
    g_ptr_array_add(connection->queue, g_steal_pointer(&connection->taken));
    return connection->queue->len < connection->n_room;
}

enum { OUTBOX_STEP = 64 };

/* Takes what has been written and lends room for more. */
static void
outbox_take(struct connection *connection, size_t size)
{
    GString *output = connection->output;
    size_t n_written = connection->outbox.cur != NULL
                           ? (size_t)(connection->outbox.cur - (uint8_t *)output->str)
                           : output->len;
    g_string_set_size(output, n_written + size);
    output->len = n_written;
    connection->outbox.cur = (uint8_t *)output->str + n_written;
    connection->outbox.end = connection->outbox.cur + size;
}

static bool
outbox_grow(struct yk_outbox *outbox, size_t size)
{
    outbox_take((struct connection *)((char *)outbox - offsetof(struct connection, outbox)),
                size + OUTBOX_STEP);
    return true;
}

static void
connection_init(struct connection *connection, const struct instance *instance,
                const struct yk_frontend_ops *ops, const struct yk_peer *peer)
{
    *connection = (struct connection){
        .inbox = {.struct_size = sizeof(struct yk_inbox),
                  .request = inbox_request,
                  .alloc = inbox_alloc,
                  .submit = inbox_submit},
        .outbox = {.struct_size = sizeof(struct yk_outbox), .grow = outbox_grow},
        .ops = ops,
        .queue = g_ptr_array_new_with_free_func(entry_free),
        .n_room = 1000,
        .records = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .output = g_string_new(NULL)};
    g_assert_cmpint(ops->session_new(instance->self, peer, &connection->session), ==, YK_OK);
}

static void
connection_done(struct connection *connection)
{
    if (connection->watch != NULL) {
        if (connection->ops->cancel != NULL) {
            connection->ops->cancel(connection->session, &connection->watch->request);
        }
        entry_free(connection->watch);
    }
    connection->ops->session_free(connection->session);
    g_ptr_array_free(connection->queue, true);
    g_hash_table_destroy(connection->records);
    g_string_free(connection->output, true);
}

static void
answer(struct connection *connection, const struct entry *entry, const struct yk_reply *reply)
{
    outbox_take(connection, OUTBOX_STEP);
    connection->ops->reply(connection->session, &entry->request, reply, &connection->outbox);
    outbox_take(connection, 0);
    connection->outbox.cur = connection->outbox.end = NULL;
}

static char *
text_of(struct yk_slice slice)
{
    return slice.size > 0 ? g_strndup(slice.data, slice.size) : g_strdup("");
}

/* What the core would do: a map of texts, version 7 for all. */
static void
execute(struct connection *connection, const struct entry *entry)
{
    const struct yk_request *request = &entry->request;
    g_autofree char *key = text_of(request->key);
    const char *value = g_hash_table_lookup(connection->records, key);
    struct yk_reply reply = {.struct_size = sizeof(reply), .version = 7};
    switch (request->op) {
    case YK_OP_NOOP:
        break;
    case YK_OP_GET:
        reply.result = value != NULL ? YK_OK : YK_ENOTFOUND;
        reply.value = value != NULL ? yk_slice_of_text(value) : reply.value;
        break;
    case YK_OP_STORE:
        g_hash_table_replace(connection->records, g_strdup(key), text_of(request->value));
        break;
    case YK_OP_DELETE:
        reply.result = g_hash_table_remove(connection->records, key) ? YK_OK : YK_ENOTFOUND;
        break;
    default:
        reply.result = YK_EUNSUPPORTED;
    }
    answer(connection, entry, &reply);
}

/* Executes what is queued, in order; a watch stands until the end. */
static void
drain(struct connection *connection)
{
    while (connection->queue->len > 0 && connection->watch == NULL && !connection->is_closed) {
        struct entry *entry = g_ptr_array_steal_index(connection->queue, 0);
        if (entry->request.op == YK_OP_WATCH) {
            struct yk_reply opening = {.struct_size = sizeof(opening), .flags = YK_REPLY_MORE};
            connection->watch = entry;
            answer(connection, entry, &opening);
            return;
        }
        execute(connection, entry);
        connection->is_closed = (entry->request.flags & YK_REQUEST_CLOSE) != 0;
        entry_free(entry);
    }
}

/* Feeds input in steps of so many bytes; returns how many bytes the frontend took. The bytes lie in
 * memory of exactly their size, so that a read beyond them is seen. */
static size_t
feed(struct connection *connection, const char *input, size_t step)
{
    size_t size = strlen(input);
    size_t n_used = 0;
    for (size_t n_come = 0; n_come < size && !connection->is_closed;) {
        n_come = MIN(size, n_come + step);
        size_t used, want = 0;
        do {
            g_autofree uint8_t *bytes = g_memdup2(input + n_used, n_come - n_used);
            enum yk_err result =
                connection->ops->feed(connection->session, bytes, n_come - n_used, n_come == size,
                                      &connection->inbox, &used, &want);
            g_assert_cmpuint(used, <=, n_come - n_used);
            bool is_busy = connection->queue->len > 0;
            n_used += used;
            drain(connection);
            connection->is_closed = connection->is_closed || result != YK_OK;
            if (!is_busy) {
                break;
            }
        } while (n_used < n_come && !connection->is_closed);
        g_assert_true(want == 0 || want > n_come - n_used);
    }
    return n_used;
}

/* The same input in every manner; the output must be the same. */
static void
converse(const char *name, const char *input, const char *output)
{
    const struct yk_peer peer = {.struct_size = sizeof(peer),
                                 .family = YK_FAMILY_SIM,
                                 .address = "test",
                                 .listener = "test",
                                 .uid = -1,
                                 .key_size_max = 250,
                                 .value_size_max = 100};
    const struct {
        size_t step;
        uint32_t n_room;
    } manners[] = {{100000, 1000}, {1, 1000}, {7, 1000}, {100000, 1}, {100000, 2}, {3, 1}};
    for (size_t i = 0; i < G_N_ELEMENTS(manners); i++) {
        struct instance instance;
        struct connection connection;
        const void *ops = instance_init(&instance, YK_KIND_FRONTEND, name);
        connection_init(&connection, &instance, ops, &peer);
        connection.n_room = manners[i].n_room;
        feed(&connection, input, manners[i].step);
        g_assert_cmpstr(connection.output->str, ==, output);
        connection_done(&connection);
        instance_done(&instance);
    }
}

static void
test_resp(void)
{
    converse("resp", "PING\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nping\r\n$2\r\nhi\r\n\r\n",
             "+PONG\r\n+PONG\r\n$2\r\nhi\r\n");
    converse("resp",
             "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nx\r\ny \r\nset b 2\nGET a\r\nGET c\r\n"
             "*4\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\nGET a\r\n",
             "+OK\r\n+OK\r\n$5\r\nx\r\ny \r\n$-1\r\n:2\r\n$-1\r\n");
    converse("resp", "HELLO\r\nGET\r\nSET a 1 2\r\nPING\r\n",
             "-ERR unknown command or wrong number of arguments\r\n"
             "-ERR unknown command or wrong number of arguments\r\n"
             "-ERR unknown command or wrong number of arguments\r\n+PONG\r\n");
    converse("resp", "*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n",
             "-ERR invalid size of key\r\n+PONG\r\n");
    /* No way to find the next command: the connection ends. */
    converse("resp", "*2\r\n$3\r\nGET\r\n$101\r\nPING\r\n",
             "-ERR Protocol error: invalid bulk length\r\n");
    converse("resp", "*99999999999999999999\r\nPING\r\n",
             "-ERR Protocol error: invalid multibulk length\r\n");
    converse("resp", "*1\r\n$4\r\nPINGxyPING\r\n",
             "-ERR Protocol error: no end of line behind a bulk\r\n");
    converse("resp", "*1\r\n\r\nPING\r\n", "-ERR Protocol error: invalid bulk length\r\n");
}

static void
test_http(void)
{
    converse("http",
             "PUT /a%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
             "GET /a%20b HTTP/1.1\r\n\r\nGET /no HTTP/1.1\r\nConnection: close\r\n\r\nGET / "
             "HTTP/1.1\r\n",
             "HTTP/1.1 204 No Content\r\n\r\n"
             "HTTP/1.1 200 OK\r\nETag: \"7\"\r\nContent-Length: 5\r\n\r\nhello"
             "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Type: text/plain\r\n"
             "Content-Length: 10\r\n\r\nnot found\n");
    static const char *const wrong[] = {
        "GET /a HTTP/2\r\n\r\n",
        "GET a HTTP/1.1\r\n\r\n",
        "GET /%4 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "PUT /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "PUT /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "PUT /a HTTP/1.1\r\nContent-Length : 1\r\n\r\nx",
        "GET /a HTTP/1.1\r\nA: b\n\r\n\r\n",
        "GET /a HTTP/1.1\r\nA: b\rc\r\n\r\n",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        converse("http", wrong[i],
                 "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                 "Content-Length: 12\r\n\r\nBad Request\n");
    }
    converse("http", "PUT /a HTTP/1.1\r\nContent-Length: 101\r\n\r\n",
             "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\n"
             "Content-Length: 18\r\n\r\nContent Too Large\n");
}

/* A client that waits for "100 Continue" before it sends the body. */
static void
test_http_continue(void)
{
    const struct yk_peer peer = {
        .struct_size = sizeof(peer), .key_size_max = 250, .value_size_max = 9};
    struct instance instance;
    struct connection connection;
    const void *ops = instance_init(&instance, YK_KIND_FRONTEND, "http");
    connection_init(&connection, &instance, ops, &peer);
    static const char head[] =
        "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    g_assert_cmpuint(feed(&connection, head, sizeof(head)), ==, 0);
    g_assert_cmpstr(connection.output->str, ==, "HTTP/1.1 100 Continue\r\n\r\n");
    g_autofree char *whole = g_strconcat(head, "hi", NULL);
    g_assert_cmpuint(feed(&connection, whole, sizeof(head)), ==, strlen(whole));
    g_assert_cmpstr(connection.output->str, ==,
                    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    connection_done(&connection);
    instance_done(&instance);
}

static void
test_http_events(void)
{
    const struct yk_peer peer = {
        .struct_size = sizeof(peer), .key_size_max = 250, .value_size_max = 9};
    struct instance instance;
    struct connection connection;
    const struct yk_frontend_ops *ops = instance_init(&instance, YK_KIND_FRONTEND, "http");
    connection_init(&connection, &instance, ops, &peer);
    uint64_t next_ms = 0;
    g_assert_cmpint(ops->timer(connection.session, 1000, &connection.outbox, &next_ms), ==,
                    YK_TIMER_NONE);
    g_assert_cmpuint(next_ms, ==, 16000);
    g_assert_cmpuint(connection.output->len, ==, 0);

    static const char input[] = "GET /events/a HTTP/1.1\r\n\r\nGET /dropped HTTP/1.1\r\n\r\n";
    g_assert_cmpuint(feed(&connection, input, sizeof(input)), ==, strlen(input));
    static const char head[] =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n"
        "Cache-Control: no-store\r\n\r\n";
    g_assert_cmpstr(connection.output->str, ==, head);
    g_assert_nonnull(connection.watch);
    g_string_truncate(connection.output, 0);

    struct yk_reply part = {.struct_size = sizeof(part),
                            .flags = YK_REPLY_MORE,
                            .version = 9,
                            .name = yk_slice_of_text("a\n%b")};
    if (connection.watch != NULL) {
        answer(&connection, connection.watch, &part);
    }
    g_assert_cmpstr(connection.output->str, ==, "event: put\nid: 9\ndata: a%0A%25b\n\n");
    g_string_truncate(connection.output, 0);

    outbox_take(&connection, OUTBOX_STEP);
    ops->timer(connection.session, 16000, &connection.outbox, &next_ms);
    outbox_take(&connection, 0);
    g_assert_cmpstr(connection.output->str, ==, ": still here\n\n");
    g_assert_cmpuint(next_ms, ==, 31000);
    connection_done(&connection);
    instance_done(&instance);
}

static void
test_watch(void)
{
    converse("watch", "set a hello world\nset\nquit\nset b 1\n",
             "ok\nerror: set KEY VALUE, watch PREFIX, quit\n");
    converse("watch", "watch a\nset b 1\n", "ok\n");
}

static void
test_ratelimit(void)
{
    struct instance instance;
    const struct yk_request_filter_ops *ops =
        instance_init(&instance, YK_KIND_REQUEST_FILTER, "ratelimit");
    const struct yk_peer peer = {.struct_size = sizeof(peer)};
    struct yk_request request = {.struct_size = sizeof(request), .op = YK_OP_GET};
    struct yk_request answered = {.struct_size = sizeof(answered), .op = YK_OP_NOOP};
    void *session = NULL;
    g_assert_cmpint(ops->session_new(instance.self, &peer, &session), ==, YK_OK);
    for (uint32_t second = 0; second < 3; second++) {
        uint32_t n_passed = 0;
        for (uint32_t i = 0; i < 3000; i++) {
            struct yk_reply reply = {.struct_size = sizeof(reply)};
            bool is_passed =
                ops->request(instance.self, session, &request, &reply) == YK_VERDICT_PASS;
            n_passed += is_passed;
            g_assert_true(is_passed || (reply.result == YK_EBUSY && reply.text != NULL));
        }
        /* A burst of 100 after a pause, however long it was. */
        g_assert_cmpuint(n_passed, ==, 100);
        struct yk_reply reply = {.struct_size = sizeof(reply)};
        g_assert_cmpint(ops->request(instance.self, session, &answered, &reply), ==,
                        YK_VERDICT_PASS);
        instance.world.now_us += 1000000;
    }
    ops->session_free(instance.self, session);
    instance_done(&instance);
}

/* A call of the engine, with its memory. */
struct call {
    struct yk_call call; /* first */
    GPtrArray *memory;
};

static void *
call_alloc(struct yk_call *call, size_t size)
{
    void *memory = g_malloc(size);
    g_ptr_array_add(((struct call *)call)->memory, memory);
    return memory;
}

static void
call_init(struct call *call)
{
    *call = (struct call){.call = {.struct_size = sizeof(struct yk_call), .alloc = call_alloc},
                          .memory = g_ptr_array_new_with_free_func(g_free)};
}

/* Waits for the end of n calls since the last one. */
static enum yk_err
wait_for(struct test_world *world, uint32_t n, enum yk_err started)
{
    g_assert_cmpint(started, ==, YK_EPENDING);
    pthread_mutex_lock(&world->lock);
    while (world->n_ended < n) {
        pthread_cond_wait(&world->ended, &world->lock);
    }
    world->n_ended -= n;
    enum yk_err result = world->result;
    pthread_mutex_unlock(&world->lock);
    return result;
}

static struct yk_key
key_of(const char *text)
{
    return (struct yk_key){.data = (const uint8_t *)text, .size = (uint32_t)strlen(text)};
}

static void
take_value(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    char **values = arg;
    values[index] = result == YK_OK ? g_strndup(value.data, value.size) : NULL;
}

static bool
take_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    GString *seen = arg;
    g_string_append_len(seen, (const char *)key->data, key->size);
    g_string_append_c(seen, '=');
    g_string_append_len(seen, value.data, (gssize)value.size);
    g_string_append_c(seen, ' ');
    return true;
}

struct budget {
    struct yk_budget budget; /* first */
    int64_t left;            /* atomic */
};

static bool
budget_take(const struct yk_budget *budget, uint64_t size)
{
    struct budget *own = (struct budget *)(uintptr_t)budget;
    if (__atomic_sub_fetch(&own->left, (int64_t)size, __ATOMIC_RELAXED) >= 0) {
        return true;
    }
    __atomic_add_fetch(&own->left, (int64_t)size, __ATOMIC_RELAXED);
    return false;
}

static void
budget_give(const struct yk_budget *budget, uint64_t size)
{
    __atomic_add_fetch(&((struct budget *)(uintptr_t)budget)->left, (int64_t)size,
                       __ATOMIC_RELAXED);
}

enum { BUDGET = 100000 };

static void
test_async(void)
{
    struct instance instance;
    const struct yk_backend_ops *ops = instance_init(&instance, YK_KIND_BACKEND, "async");
    struct test_world *world = &instance.world;
    struct budget budget = {.budget = {.struct_size = sizeof(struct yk_budget),
                                       .size_max = BUDGET,
                                       .take = budget_take,
                                       .give = budget_give},
                            .left = BUDGET};
    const struct yk_backend_place place = {.struct_size = sizeof(place),
                                           .n_lanes = 1,
                                           .n_slots = 1,
                                           .bucket = "test",
                                           .budget = &budget.budget};
    struct call call;
    call_init(&call);
    g_assert_cmpint(ops->open(instance.self, &place), ==, YK_OK);

    const struct yk_change puts[] = {
        {.key = key_of("b"), .kind = YK_CHANGE_PUT, .value = yk_slice_of_text("2")},
        {.key = key_of("a"), .kind = YK_CHANGE_PUT, .value = yk_slice_of_text("1")},
        {.key = key_of("c"), .kind = YK_CHANGE_PUT, .value = yk_slice_of_text("3")}};
    const struct yk_change more[] = {
        {.key = key_of("b"), .kind = YK_CHANGE_DELETE},
        {.key = key_of("x"), .kind = YK_CHANGE_DELETE},
        {.key = key_of("c"), .kind = YK_CHANGE_PUT, .value = yk_slice_of_text("33")}};
    g_assert_cmpint(ops->admit(instance.self, &puts[0]), ==, YK_OK);
    g_assert_cmpint(wait_for(world, 1, ops->apply(instance.self, puts, 3, &call.call)), ==, YK_OK);
    g_assert_cmpint(wait_for(world, 1, ops->apply(instance.self, more, 3, &call.call)), ==, YK_OK);

    const struct yk_key keys[] = {key_of("c"), key_of("b"), key_of("a")};
    char *values[3] = {NULL};
    g_assert_cmpint(
        wait_for(world, 1, ops->get(instance.self, keys, 3, take_value, values, &call.call)), ==,
        YK_OK);
    g_assert_cmpstr(values[0], ==, "33");
    g_assert_null(values[1]);
    g_assert_cmpstr(values[2], ==, "1");
    g_free(values[0]);
    g_free(values[2]);

    uint8_t place_of_cursor[64];
    struct yk_cursor cursor = {.struct_size = sizeof(cursor),
                               .size_max = sizeof(place_of_cursor),
                               .data = place_of_cursor};
    const struct yk_scan scan = {.struct_size = sizeof(scan), .bytes_max = 1};
    g_autoptr(GString) seen = g_string_new(NULL);
    bool is_end = false;
    for (uint32_t i = 0; i < 10 && !is_end; i++) {
        enum yk_err started =
            ops->scan(instance.self, &scan, &cursor, take_record, seen, &is_end, &call.call);
        g_assert_cmpint(wait_for(world, 1, started), ==, YK_OK);
    }
    g_assert_true(is_end);
    g_assert_cmpstr(seen->str, ==, "a=1 c=33 ");
    ops->close(instance.self);
    g_assert_cmpint(budget.left, ==, BUDGET);
    g_ptr_array_free(call.memory, true);
    instance_done(&instance);
}

/* What has no room is refused by admit, and what was set aside is given back at the end. */
static void
test_async_full(void)
{
    struct instance instance;
    const struct yk_backend_ops *ops = instance_init(&instance, YK_KIND_BACKEND, "async");
    struct budget budget = {.budget = {.struct_size = sizeof(struct yk_budget),
                                       .size_max = BUDGET,
                                       .take = budget_take,
                                       .give = budget_give},
                            .left = BUDGET};
    const struct yk_backend_place place = {.struct_size = sizeof(place),
                                           .n_lanes = 1,
                                           .n_slots = 1,
                                           .bucket = "test",
                                           .budget = &budget.budget};
    g_assert_cmpint(ops->open(instance.self, &place), ==, YK_OK);
    const struct yk_change put = {.key = key_of("a"), .kind = YK_CHANGE_PUT};
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; i < 10000 && result == YK_OK; i++) {
        result = ops->admit(instance.self, &put);
    }
    g_assert_cmpint(result, ==, YK_ENOMEM);
    ops->close(instance.self);
    g_assert_cmpint(budget.left, ==, BUDGET);
    instance_done(&instance);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/examples/resp", test_resp);
    g_test_add_func("/examples/http", test_http);
    g_test_add_func("/examples/http/continue", test_http_continue);
    g_test_add_func("/examples/http/events", test_http_events);
    g_test_add_func("/examples/watch", test_watch);
    g_test_add_func("/examples/ratelimit", test_ratelimit);
    g_test_add_func("/examples/async", test_async);
    g_test_add_func("/examples/async/full", test_async_full);
    return g_test_run();
}
