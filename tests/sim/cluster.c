/* One run of a cluster of nodes, each with its disk: what the seed chooses, trouble, the end. */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include <glib/gstdio.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"

/* Trouble */

static void
make_trouble(void)
{
    uint32_t kind = sim_below(100);
    uint32_t a = sim_below(sim.n_nodes);
    uint32_t b = sim_below(PLACES);
    if (sim.is_calm) {
        return;
    }
    if (kind < 25) {
        node_crash(a);
    } else if (kind < 32) {
        for (uint32_t i = 0; i < sim.n_nodes; i++) {
            node_crash(i);
        }
    } else if (kind < 45) {
        node_pause(&sim.nodes[a], sim_between_ms(50, 1500));
    } else if (kind < 60) {
        sim.cut[a][b] = true;
        sim.cut[b][a] = sim.cut[b][a] || sim_chance(60);
    } else if (kind < 72) {
        uint32_t side = sim_below(1u << PLACES);
        for (a = 0; a < PLACES; a++) {
            for (b = 0; b < PLACES; b++) {
                sim.cut[a][b] = sim.cut[a][b] || ((side >> a) & 1) != ((side >> b) & 1);
            }
        }
    } else if (kind < 76 && !sim.swarm.has_expiry) {
        sim.nodes[a].wall_us += sim_between_ms(0, 20000) - MS(10000);
    } else {
        memset(sim.cut, 0, sizeof(sim.cut));
    }
    sim_put((struct happening){.at_us = sim.now_us + sim_between_ms(20, 900), .kind = TROUBLE});
}

/* A disk stands still for a while, or is full for one. */
static void
make_disk_trouble(void)
{
    struct node *node = &sim.nodes[sim_below(sim.n_nodes)];
    int64_t time_us = sim_between_ms(20, 2500);
    if (sim.is_calm) {
        return;
    }
    if (node->node != NULL && sim_chance(50)) {
        node->written_us = MAX(node->written_us, sim.now_us + time_us);
    } else if (node->node != NULL) {
        disk_fill(node->disk, true);
        sim_of_node(node, time_us, DISK_HEALS, 0, NULL);
        sim_trace("node %u: the disk is full", (uint32_t)(node - sim.nodes));
    }
    sim_put(
        (struct happening){.at_us = sim.now_us + sim_between_ms(50, 3000), .kind = DISK_TROUBLE});
}

/* What happens */

static bool
is_of_node(const struct happening *happening)
{
    return happening->kind <= JOB_DONE ||
           (happening->kind == CLIENT && happening->worker == UINT32_MAX);
}

static bool
is_frame(const struct happening *happening)
{
    return happening->kind == FRAME || happening->kind == LINK_FRAME ||
           happening->kind == CONTROL_FRAME;
}

/* Or did it die with whom it was for? */
static bool
is_for(const struct node *node, const struct happening *happening)
{
    return happening->kind == LINK_FRAME ? !gateway_is_lost(happening)
                                         : is_frame(happening) || happening->about == node->boot;
}

static void
happen(struct happening *happening)
{
    struct node *node = &sim.nodes[happening->node];
    if (is_of_node(happening)) {
        bool is_there = node->node != NULL && is_for(node, happening);
        if (is_there && node->paused_until_us > sim.now_us) {
            if (happening->kind == TURN && node->turn_us[happening->worker] == happening->at_us) {
                node->turn_us[happening->worker] = node->paused_until_us;
            }
            happening->at_us = node->paused_until_us;
            sim_put_again(*happening);
            return;
        }
        if (is_there) {
            node_happen(node, happening);
        }
        if (is_frame(happening)) {
            yk_buffer_unref(happening->thing);
        }
        return;
    }
    switch (happening->kind) {
    case ANSWER:
        gateway_answers(happening->thing);
        break;
    case INQUIRY:
        control_inquired(happening);
        break;
    case CREATE:
        control_create();
        break;
    case DISK_TROUBLE:
        make_disk_trouble();
        break;
    case DISK_HEALS:
        if (happening->about == node->boot) {
            disk_fill(node->disk, false);
        }
        break;
    case ASKED:
        judge_asked(happening->thing);
        break;
    case TOLD:
        judge_told(happening->thing);
        break;
    case RESTART:
        if (node->node == NULL) {
            node_start(node);
        }
        break;
    case TROUBLE:
        make_trouble();
        break;
    case CLIENT:
        client_happen(&sim.clients[happening->worker], happening->about);
        break;
    default:
        break;
    }
}

/* A run */

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    return yk_plugins_find(arg, kind, name, error);
}

static struct yk_config *
parse_config(const char *text, const char *node)
{
    char error[YK_ERROR_SIZE];
    struct yk_config *config = NULL;
    struct yk_config_source source = {.file = "sim",
                                      .text = text,
                                      .size = strlen(text),
                                      .node = node,
                                      .find_plugin = find_plugin,
                                      .arg = sim.plugins};
    if (yk_config_parse(&source, &config, error) != YK_OK) {
        sim_fail("%s", error);
    }
    return config;
}

/* One for each node, from one text. */
static void
make_configs(const GString *bucket)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *coordinator = sim.swarm.coordinator == COORDINATOR_LOCAL ? "local" : "quorum";
    g_string_append_printf(text, "[cluster]\ncoordinator = %s\n%s", coordinator, bucket->str);
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        g_string_append_printf(
            text,
            "[node n%u]\nroles = %sserver, gateway\naddress = 127.0.0.1:%u\nworkers = %u\n"
            "lanes = %u\ngateway_cache = %s\n",
            i, i < sim.swarm.n_managers ? "manager, " : "", 20000 + i, WORKERS, LANES,
            sim.swarm.cache);
    }
    for (uint32_t i = 0; i < sim.n_nodes && sim.result->failure[0] == '\0'; i++) {
        char name[8];
        snprintf(name, sizeof(name), "n%u", i % 10);
        sim.configs[i] = parse_config(text->str, name);
    }
}

/* An engine that keeps something needs files, which should cost nothing. */
static void
choose_engine(const struct cluster_arguments *arguments)
{
    char error[YK_ERROR_SIZE];
    bool is_chosen = arguments->generation >= CLUSTER_DISKS &&
                     yk_random_below(&sim.swarm.random, 100) < LMDB_PERCENT &&
                     g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) &&
                     yk_plugins_find(sim.plugins, YK_KIND_BACKEND, "lmdb", error) != NULL;
    const char *engine = arguments->engine != NULL ? arguments->engine
                         : is_chosen               ? "lmdb"
                                                   : "memory";
    sim.swarm.engine = sim.is_memory ? "memory" : engine;
    if (strcmp(sim.swarm.engine, "memory") != 0) {
        const char *parent =
            g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) ? "/dev/shm" : g_get_tmp_dir();
        sim.folder = g_build_filename(parent, "yakumo-cluster-XXXXXX", NULL);
        sim.folders = g_ptr_array_new_with_free_func(g_free);
        YK_ASSERT(g_mkdtemp(sim.folder) != NULL);
    }
}

static void
remove_files(void)
{
    for (guint i = 0; i < sim.folders->len; i++) {
        const char *path = sim.folders->pdata[i], *name;
        g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
        while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
            g_autofree char *file = g_build_filename(path, name, NULL);
            (void)g_remove(file);
        }
        (void)g_rmdir(path);
    }
    (void)g_rmdir(sim.folder);
    g_ptr_array_free(sim.folders, TRUE);
    g_free(sim.folder);
}

static const char *const reads_names[] = {"lease", "confirm", "any"};

static bool
make_config(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    bool has_delay = sim_chance(50);
    bool has_control = sim.swarm.coordinator != COORDINATOR_NONE;
    g_string_append_printf(
        text,
        "[bucket default]\nbackend = %s\ndurability = %s\nslots = %u\n"
        "value_size_max = 64K\nreads = %s\n%s%s%s",
        sim.swarm.engine, sim.is_memory ? "memory" : "os", SLOTS, reads_names[sim.swarm.reads],
        has_control ? "copies = 3\nmin_copies = 2\n" : "",
        has_delay ? "filters = delay\n[filter delay]\nget = 300us\napply = 900us\n"
                    "jitter = 500us\n"
                  : "",
        sim.swarm.n_gateways > 0 ? "[frontend memcached]\nlisten = 127.0.0.1:11211\n" : "");
    if (has_control) {
        make_configs(text);
    } else {
        g_string_append_printf(text, "[node n]\nworkers = %u\nlanes = %u\ngateway_cache = %s\n",
                               WORKERS, LANES, sim.swarm.is_plain ? "0" : sim.swarm.cache);
        sim.config = parse_config(text->str, NULL);
    }
    return sim.result->failure[0] == '\0';
}

static void
make_nodes(void)
{
    uint64_t record = yk_entry_size(250, 65536 + YK_RECORD_OVERHEAD_MAX) + YK_ENTRY_TOKEN_SIZE;
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        struct node *node = &sim.nodes[i];
        node->rate = sim.swarm.reads == YK_READS_CONFIRM ? 700 + (int32_t)sim_below(700)
                                                         : 990 + (int32_t)sim_below(21);
        node->offset_us = sim_between_ms(1, 100000);
        node->wall_us = sim_between_ms(0, 2000);
        node->wall_us = sim.swarm.has_expiry ? 0 : node->wall_us;
        node->incarnation = 1;
        node->disk = disk_new(record, 8 * YK_KIB, (2 + sim_below(6)) * record);
        world_init(node);
        for (uint32_t k = 0; k < LANES; k++) {
            node->incarnations[k] = 1;
        }
    }
}

static void
calm_down(void)
{
    sim.is_calm = true;
    sim_trace("calm");
    memset(sim.cut, 0, sizeof(sim.cut));
}

static void
clean_up(void)
{
    while (sim.n_heap > 0) {
        struct happening happening = sim_take();
        if (is_frame(&happening)) {
            yk_buffer_unref(happening.thing);
        }
    }
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        node_close_engines(&sim.nodes[i]);
    }
    if (sim.folder != NULL) {
        remove_files();
    }
    g_free(sim.heap);
    g_ptr_array_free(sim.touched, TRUE);
    for (uint32_t i = 0; i < CLIENTS && sim.clients[i].command != NULL; i++) {
        g_string_free(sim.clients[i].command, TRUE);
        g_string_free(sim.clients[i].answer, TRUE);
    }
    yk_bucket_register_done(&sim.bucket);
    history_free(sim.history);
}

static void
run_all(void)
{
    int64_t end_us = MS(TROUBLE_MS + CALM_MS);
    int64_t quiet_us = sim.swarm.is_plain ? 0 : MS(QUIET_MS);
    uint64_t late = 0;
    while (sim.n_heap > 0 && sim.result->failure[0] == '\0') {
        struct happening happening = sim_take();
        if (happening.at_us > end_us + quiet_us) {
            sim_put(happening);
            break;
        }
        sim.is_quiet = happening.at_us > end_us;
        sim.now_us = happening.at_us;
        sim.result->n_events++;
        if (sim.now_us >= MS(TROUBLE_MS) && !sim.is_calm) {
            calm_down();
        }
        if (sim.now_us < end_us - MS(LATE_MS)) {
            late = sim.result->n_operations;
        }
        happen(&happening);
    }
    if (sim.result->failure[0] == '\0' && sim.result->n_operations == late) {
        sim_fail("nothing was answered in the last %u ms, all being well", LATE_MS);
    }
}

/* Each by numbers of its own, so that what was chosen before stays the same. */
static void
choose_swarm(uint64_t seed, enum cluster_generation generation)
{
    struct swarm *swarm = &sim.swarm;
    swarm->random.state = seed * 0xd1342543de82ef95ull;
    swarm->is_plain = generation == CLUSTER_FIRST;
    if (swarm->is_plain) {
        return;
    }
    swarm->n_gateways = (uint32_t)yk_random_below(&swarm->random, CLIENTS + 1);
    swarm->has_flushes = yk_random_below(&swarm->random, 100) < 30;
    swarm->has_expiry = yk_random_below(&swarm->random, 100) < 30;
    uint64_t n = yk_random_below(&swarm->random, 100);
    swarm->coordinator = n < 50   ? COORDINATOR_NONE
                         : n < 80 ? COORDINATOR_QUORUM
                         : n < 90 ? COORDINATOR_MODEL
                                  : COORDINATOR_LOCAL;
    swarm->n_managers = swarm->coordinator == COORDINATOR_LOCAL   ? 1
                        : yk_random_below(&swarm->random, 2) == 0 ? 3
                                                                  : 5;
    swarm->has_disk_trouble =
        generation >= CLUSTER_DISKS && yk_random_below(&swarm->random, 100) < 40;
    if (generation >= CLUSTER_READS) {
        uint64_t of_reads = yk_random_below(&swarm->random, 100);
        swarm->reads = of_reads < 30   ? YK_READS_CONFIRM
                       : of_reads < 40 ? YK_READS_ANY
                                       : YK_READS_LEASE;
    }
    bool has_cache = generation >= CLUSTER_CACHE && yk_random_below(&swarm->random, 100) < 50;
    swarm->cache = has_cache ? "16K" : "0";
}

static void
tell_swarm(void)
{
    static const char *const names[] = {"one place", "local", "quorum", "elsewhere"};
    struct swarm *swarm = &sim.swarm;
    swarm->n_managers = swarm->n_managers > sim.n_nodes ? 3 : swarm->n_managers;
    if (!swarm->is_plain) {
        snprintf(
            sim.result->options, sizeof(sim.result->options),
            "nodes=%u gateways=%u flushes=%d expiry=%d registers=%s managers=%u memory=%d disks=%d "
            "engine=%s reads=%s cache=%s",
            sim.n_nodes, swarm->n_gateways, swarm->has_flushes, swarm->has_expiry,
            names[swarm->coordinator], swarm->n_managers, sim.is_memory, swarm->has_disk_trouble,
            swarm->engine, reads_names[swarm->reads], swarm->cache);
        sim_trace("%s", sim.result->options);
    }
}

static void
make_clients(void)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *client = &sim.clients[i];
        client->connection = sim.n_connections++;
        client->is_of_gateway = i < sim.swarm.n_gateways;
        client->command = g_string_new(NULL);
        client->answer = g_string_new(NULL);
        sim_put((struct happening){.at_us = sim_between_ms(700, 800), .kind = CLIENT, .worker = i});
    }
}

void
cluster_run(struct yk_plugins *plugins, const struct cluster_arguments *arguments,
            struct cluster_result *ret_result)
{
    memset(&sim, 0, sizeof(sim));
    memset(ret_result, 0, sizeof(*ret_result));
    sim.plugins = plugins;
    sim.result = ret_result;
    sim.traces = arguments->traces;
    sim.touched = g_ptr_array_new();
    sim.mutant = arguments->mutant;
    sim.random.state = arguments->seed * 0x9e3779b97f4a7c15ull;
    choose_swarm(arguments->seed, arguments->generation);
    sim.n_nodes = 3 + sim_below(3);
    sim.loss = sim_below(10);
    sim.doubling = sim_below(15);
    sim.lateness = sim_below(4);
    sim.is_slow = sim_chance(50);
    sim.is_memory = sim_chance(25);
    choose_engine(arguments);
    tell_swarm();
    sim.history = history_new(KEYS, false);
    sim.history->may_fail = true;
    sim.history->expiry_slack_us = MS(1000) * EXPIRY_SLACK_S;
    if (make_config()) {
        make_nodes();
        if (sim.swarm.coordinator == COORDINATOR_NONE) {
            judge_make_register();
        } else {
            sim_put((struct happening){.at_us = MS(50), .kind = CREATE});
        }
        for (uint32_t i = 0; i < sim.n_nodes; i++) {
            node_start(&sim.nodes[i]);
        }
        make_clients();
        sim_put((struct happening){.at_us = MS(1000), .kind = TROUBLE});
        if (sim.swarm.has_disk_trouble) {
            sim_put((struct happening){.at_us = MS(1500), .kind = DISK_TROUBLE});
        }
        run_all();
        check_run();
    }
    clean_up();
}
