/* The path of a request without the kernel: one whole worker with the shipped frontend and engine
 * is stepped as the loop would step it. Run under callgrind, collecting from `measured` on, it says
 * how many instructions of ours a GET and a SET cost; `make bench` does so. Alone it prints
 * nanoseconds.
 *
 * The bytes of all turns are made beforehand; what the harness itself adds to a request is a share
 * of a step and a peek, as much as the loop would need to call. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/random.h"
#include "core/node/node.h"
#include "plugins/plugins.h"

enum { CONNECTIONS_MAX = 64, SLICES_MAX = 64, BATCHES = 8192, MS_OF_START = 1700000000 };

static int n_keys = 100000, n_requests = 200000, n_connections = 50, pipeline = 1;
static int value_size = 100, n_multi = 1;
static char *verb, *backend, *filters;

static const GOptionEntry entries[] = {
    {"keys", 0, 0, G_OPTION_ARG_INT, &n_keys, "how many there are (100000)", "N"},
    {"requests", 0, 0, G_OPTION_ARG_INT, &n_requests, "how many are measured (200000)", "N"},
    {"connections", 0, 0, G_OPTION_ARG_INT, &n_connections, "at most 64 (50)", "N"},
    {"pipeline", 0, 0, G_OPTION_ARG_INT, &pipeline, "requests in a turn, of each (1)", "N"},
    {"value-size", 0, 0, G_OPTION_ARG_INT, &value_size, "bytes (100)", "N"},
    {"multi-get", 0, 0, G_OPTION_ARG_INT, &n_multi, "keys in each get (1)", "N"},
    {"verb", 0, 0, G_OPTION_ARG_STRING, &verb, "get or set (get)", "VERB"},
    {"backend", 0, 0, G_OPTION_ARG_STRING, &backend, "memory", "NAME"},
    {"filters", 0, 0, G_OPTION_ARG_STRING, &filters, "over the backend (none)", "NAME,..."},
    {NULL},
};

struct hotpath {
    struct yk_plugins *plugins;
    struct yk_config *config;
    struct yk_node *node;
    struct yk_worker *worker;
    struct yk_session *sessions[CONNECTIONS_MAX];
    struct yk_random random;
    GString *batches[BATCHES];
    uint64_t n_out; /* bytes of answers */
};

/* The world */

static uint64_t
now_ms(void *arg)
{
    return MS_OF_START;
}

static uint64_t
now_us(void *arg)
{
    return MS_OF_START * 1000ull;
}

static uint64_t
next_random(void *arg)
{
    struct hotpath *path = arg;
    return yk_random_next(&path->random);
}

static void
sleep_us(void *arg, uint64_t us)
{
}

static void
log_line(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    fprintf(stderr, "%s: %s\n", from, line);
}

static void *
resize(void *arg, void *memory, size_t size)
{
    return realloc(memory, size);
}

static void
release(void *arg, void *memory)
{
    free(memory);
}

static void
tell_facts(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg)
{
}

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    return yk_plugins_find(arg, kind, name, error);
}

static void
open_node(struct hotpath *path, const struct yk_world *world)
{
    char error[YK_ERROR_SIZE];
    g_autofree char *text =
        g_strdup_printf("[bucket default]\nbackend = %s\nfilters = %s\ndurability = memory\n"
                        "[frontend memcached]\nlisten = 127.0.0.1:11211\n"
                        "[node a]\nworkers = 1\n",
                        backend != NULL ? backend : "memory", filters != NULL ? filters : "");
    struct yk_config_source source = {.file = "hotpath",
                                      .text = text,
                                      .size = strlen(text),
                                      .find_plugin = find_plugin,
                                      .arg = path->plugins};
    struct yk_node_setup setup = {
        .world = world, .n_workers = 1, .epoch = 1, .seed = 1, .facts = tell_facts};
    if (yk_config_parse(&source, &path->config, error) != YK_OK) {
        g_error("%s", error);
    }
    setup.config = path->config;
    if (yk_node_new(&setup, &path->node, error) != YK_OK) {
        g_error("%s", error);
    }
    path->worker = path->node->workers[0];
    for (int i = 0; i < n_connections; i++) {
        struct yk_peer peer = {.struct_size = sizeof(peer),
                               .family = YK_FAMILY_SIM,
                               .address = "hotpath",
                               .listener = "hotpath",
                               .uid = -1,
                               .id = (uint64_t)i + 1};
        struct yk_event event = {.kind = YK_EVENT_OPEN,
                                 .now_ms = MS_OF_START,
                                 .open = {.peer = &peer, .ret_session = &path->sessions[i]}};
        yk_worker_step(path->worker, &event);
    }
}

/* Requests */

static void
add_set(GString *bytes, uint64_t key)
{
    g_string_append_printf(bytes, "set key:%015" PRIu64 " 0 0 %d\r\n", key, value_size);
    for (int i = 0; i < value_size; i++) {
        g_string_append_c(bytes, 'v');
    }
    g_string_append(bytes, "\r\n");
}

static uint64_t
any_key(struct hotpath *path)
{
    return yk_random_next(&path->random) % (uint64_t)n_keys;
}

static void
add_request(struct hotpath *path, GString *bytes, bool is_set)
{
    if (is_set) {
        add_set(bytes, any_key(path));
        return;
    }
    g_string_append(bytes, "get");
    for (int i = 0; i < n_multi; i++) {
        g_string_append_printf(bytes, " key:%015" PRIu64, any_key(path));
    }
    g_string_append(bytes, "\r\n");
}

static void
make_batches(struct hotpath *path, bool is_set)
{
    for (int i = 0; i < BATCHES; i++) {
        path->batches[i] = g_string_new(NULL);
        for (int k = 0; k < pipeline; k++) {
            add_request(path, path->batches[i], is_set);
        }
    }
}

/* The turn */

static void
receive(struct hotpath *path, int session, const GString *bytes)
{
    struct yk_event event = {.kind = YK_EVENT_RECEIVED,
                             .received = {.session = path->sessions[session],
                                          .bytes = (const uint8_t *)bytes->str,
                                          .size = bytes->len}};
    yk_worker_step(path->worker, &event);
}

static void
send_all(struct hotpath *path, struct yk_session *session)
{
    struct yk_slice slices[SLICES_MAX];
    size_t n = yk_session_peek(session, slices, SLICES_MAX);
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        size += slices[i].size;
    }
    if (size > 0) {
        struct yk_event event = {.kind = YK_EVENT_SENT, .sent = {session, size}};
        yk_worker_step(path->worker, &event);
        path->n_out += size;
    }
}

static void
take_turn(struct hotpath *path)
{
    uint32_t n;
    yk_worker_step(path->worker, &(struct yk_event){.kind = YK_EVENT_TURN, .now_ms = MS_OF_START});
    (void)yk_worker_take_effects(path->worker, &n);
    for (int i = 0; i < n_connections; i++) {
        send_all(path, path->sessions[i]);
    }
}

static void
fill(struct hotpath *path)
{
    g_autoptr(GString) bytes = g_string_new(NULL);
    for (int key = 0; key < n_keys; key++) {
        g_string_truncate(bytes, 0);
        add_set(bytes, (uint64_t)key);
        receive(path, 0, bytes);
        take_turn(path);
    }
    YK_ASSERT(path->n_out == (uint64_t)n_keys * strlen("STORED\r\n"));
    path->n_out = 0;
}

/* Callgrind collects here; so it is not to be part of its caller. */
__attribute__((noinline, noclone)) static uint64_t
measured(struct hotpath *path)
{
    uint64_t n = 0, turn = 0;
    while (n < (uint64_t)n_requests) {
        for (int i = 0; i < n_connections; i++) {
            receive(path, i, path->batches[turn++ % BATCHES]);
        }
        take_turn(path);
        n += (uint64_t)n_connections * (uint64_t)pipeline;
    }
    return n;
}

static void
check_options(int *argc, char ***argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) failure = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, &failure)) {
        g_error("%s", failure->message);
    }
    if (n_connections < 1 || n_connections > CONNECTIONS_MAX || pipeline < 1 || n_keys < 1 ||
        n_multi < 1 || value_size < 0) {
        g_error("an option is out of its bounds; see --help");
    }
}

static uint64_t
clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int
main(int argc, char **argv)
{
    static struct hotpath path;
    check_options(&argc, &argv);
    bool is_set = g_strcmp0(verb, "set") == 0;
    const struct yk_world world = {.arg = &path,
                                   .now_ms = now_ms,
                                   .now_us = now_us,
                                   .boot_us = now_us,
                                   .random = next_random,
                                   .sleep_us = sleep_us,
                                   .log = log_line,
                                   .resize = resize,
                                   .release = release};
    path.random.state = 1;
    path.plugins = yk_plugins_new(NULL);
    open_node(&path, &world);
    fill(&path);
    make_batches(&path, is_set);
    uint64_t begun_ns = clock_ns();
    uint64_t n = measured(&path);
    uint64_t spent_ns = clock_ns() - begun_ns;
    uint64_t n_answered = path.n_out;
    printf("requests=%" PRIu64 " ns_per_request=%.1f bytes_per_answer=%.1f\n", n,
           (double)spent_ns / (double)n, (double)n_answered / (double)n);
    for (int i = 0; i < n_connections; i++) {
        yk_worker_step(path.worker,
                       &(struct yk_event){.kind = YK_EVENT_CLOSED, .closed = {path.sessions[i]}});
    }
    for (int i = 0; i < BATCHES; i++) {
        g_string_free(path.batches[i], TRUE);
    }
    yk_node_free(path.node);
    yk_config_free(path.config);
    yk_plugins_free(path.plugins);
    return 0;
}
