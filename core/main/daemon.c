/* Starting, signals, reloading, stopping. */
#include <config.h>

#include "core/main/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "core/io/datadir.h"
#include "core/io/system.h"
#include "core/io/thread.h"
#include "core/main/cluster.h"
#include "core/main/facts.h"
#include "core/main/keep.h"

enum { DRAIN_TIMEOUT_MS = 10000, DESCRIPTORS_SPARE = 256 };

struct yk_daemon {
    const struct yk_daemon_options *options;
    struct yk_plugins *plugins;
    struct yk_config *config;   /* of the start: the node borrows from it */
    struct yk_config *reloaded; /* the newest that was taken over, or NULL */
    struct yk_system system;
    struct yk_datadir datadir;
    bool has_datadir;
    struct yk_cluster cluster;
    struct yk_listener *listeners;
    uint32_t n_listeners;
    struct yk_node *node;
    struct yk_threads *threads;
    struct yk_facts facts;
    struct yk_keep keep;
    GPtrArray *folders; /* of lanes, lent to engines */
};

/* Config */

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    return yk_plugins_find(arg, kind, name, error);
}

static enum yk_err
read_file(const char *file, char **ret_text, gsize *ret_size, char *error)
{
    g_autoptr(GError) reason = NULL;
    struct stat status;
    if (stat(file, &status) == 0 && status.st_size > (off_t)YK_CONFIG_SIZE_MAX) {
        snprintf(error, YK_ERROR_SIZE,
                 "%.200s: a config file has at most %llu bytes, this one has %lld", file,
                 YK_CONFIG_SIZE_MAX, (long long)status.st_size);
        return YK_ETOOLARGE;
    }
    if (!g_file_get_contents(file, ret_text, ret_size, &reason)) {
        snprintf(error, YK_ERROR_SIZE, "cannot read the config file: %.400s", reason->message);
        return YK_EIO;
    }
    return YK_OK;
}

/* What only the engines know: do they give what their buckets ask for? */
static enum yk_err
check_buckets(const struct yk_config *config, char *error)
{
    struct yk_system system;
    struct yk_backend_info info;
    char reason[YK_ERROR_SIZE];
    yk_system_init(&system, YK_LOG_ERROR);
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        const struct yk_bucket_config *bucket = &config->buckets[i];
        enum yk_err result = yk_node_ask(config, &system.world, i, &info, reason);
        if (result != YK_OK && bucket->line > 0) {
            snprintf(error, YK_ERROR_SIZE, "%.100s:%u: %.380s", config->file, bucket->line, reason);
        } else if (result != YK_OK) {
            snprintf(error, YK_ERROR_SIZE, "%s", reason);
        }
        if (result != YK_OK) {
            return result;
        }
    }
    return YK_OK;
}

enum yk_err
yk_daemon_read_config(const struct yk_daemon_options *options, struct yk_plugins *plugins,
                      struct yk_config **ret_config, char *error)
{
    g_autofree char *text = NULL;
    gsize size = 0;
    if (options->file != NULL) {
        enum yk_err result = read_file(options->file, &text, &size, error);
        if (result != YK_OK) {
            return result;
        }
    }
    struct yk_config_source source = {.file = options->file,
                                      .text = text,
                                      .size = size,
                                      .node = options->node,
                                      .overrides = options->overrides,
                                      .find_plugin = find_plugin,
                                      .arg = plugins};
    struct yk_config *config;
    enum yk_err result = yk_config_parse(&source, &config, error);
    if (result != YK_OK) {
        return result;
    }
    result = check_buckets(config, error);
    if (result == YK_OK &&
        yk_plugins_find(plugins, YK_KIND_COORDINATOR, config->coordinator, error) == NULL) {
        result = YK_ENOTFOUND;
    }
    if (result != YK_OK) {
        yk_config_free(config);
        return result;
    }
    *ret_config = config;
    return YK_OK;
}

/* Starting */

static char *
data_path(const struct yk_config *config)
{
    if (config->node.data != NULL) {
        return g_strdup(config->node.data);
    }
    if (geteuid() == 0) {
        return g_strdup("/var/lib/yakumo");
    }
    return g_build_filename(g_get_user_state_dir(), "yakumo", NULL);
}

static char *
filter_names(const struct yk_bucket_config *bucket)
{
    g_autoptr(GString) names = g_string_new(NULL);
    for (uint32_t i = 0; i < bucket->n_filters; i++) {
        g_string_append_printf(names, "%s%s", i > 0 ? "," : "", bucket->filters[i]->plugin->name);
    }
    return g_strdup(names->str);
}

/* Appends the options of one plugin that are part of the data's form. Names and texts belong to
 * `texts`. */
static void
add_fixed(const struct yk_settings *settings, GArray *options, GPtrArray *texts)
{
    for (uint32_t i = 0; i < settings->plugin->n_options; i++) {
        const struct yk_option *option = yk_option_at(settings->plugin->options, i);
        if ((option->flags & YK_OPTION_FIXED) == 0) {
            continue;
        }
        char *name = g_strdup_printf("%s.%s", settings->plugin->name, option->name);
        char *text = yk_option_print(&settings->values[i].value);
        struct yk_datadir_option fixed = {.name = name, .text = text};
        g_ptr_array_add(texts, name);
        g_ptr_array_add(texts, text);
        g_array_append_val(options, fixed);
    }
}

/* The bucket as the folder records it; what it points to belongs to `texts`. */
static struct yk_datadir_bucket
datadir_bucket(const struct yk_bucket_config *bucket, GPtrArray *texts)
{
    char *filters = filter_names(bucket);
    g_autoptr(GArray) options = g_array_new(FALSE, FALSE, sizeof(struct yk_datadir_option));
    add_fixed(bucket->backend, options, texts);
    for (uint32_t i = 0; i < bucket->n_filters; i++) {
        add_fixed(bucket->filters[i], options, texts);
    }
    struct yk_datadir_bucket made = {.name = bucket->name,
                                     .slots = bucket->slots,
                                     .engine = bucket->backend->plugin->name,
                                     .filters = filters,
                                     .durability = bucket->durability,
                                     .n_options = options->len};
    gsize n;
    void *list = g_array_steal(options, &n);
    made.options = list;
    g_ptr_array_add(texts, filters);
    g_ptr_array_add(texts, list);
    return made;
}

static enum yk_err
open_datadir(struct yk_daemon *daemon, char *error)
{
    const struct yk_config *config = daemon->config;
    g_autofree char *path = data_path(config);
    g_autofree struct yk_datadir_bucket *buckets =
        g_new0(struct yk_datadir_bucket, config->n_buckets);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; result == YK_OK && i < config->n_buckets; i++) {
        struct yk_backend_info info;
        buckets[i] = datadir_bucket(&config->buckets[i], texts);
        result = yk_node_ask(config, &daemon->system.world, i, &info, error);
        buckets[i].is_volatile = result == YK_OK && (info.caps & YK_BACKEND_VOLATILE) != 0 &&
                                 config->buckets[i].durability == YK_DURABILITY_MEMORY;
    }
    if (result == YK_OK) {
        result = yk_datadir_open(path, config->node.lanes, buckets, config->n_buckets,
                                 &daemon->datadir, error);
    }
    daemon->has_datadir = result == YK_OK;
    return result;
}

static enum yk_err
start_cluster(struct yk_daemon *daemon, char *error)
{
    const struct yk_plugin *coordinator =
        yk_plugins_find(daemon->plugins, YK_KIND_COORDINATOR, daemon->config->coordinator, error);
    return coordinator == NULL
               ? YK_ENOTFOUND
               : yk_cluster_start(&daemon->cluster, &daemon->system.world, daemon->config,
                                  coordinator, &daemon->datadir, error);
}

static const char *
make_folder(void *arg, const struct yk_backend_place *place, char *error)
{
    struct yk_daemon *daemon = arg;
    char *path = yk_keep_lane_folder(&daemon->keep, place, error);
    if (path != NULL) {
        g_ptr_array_add(daemon->folders, path);
    }
    return path;
}

static uint32_t
worker_count(const struct yk_config *config)
{
    long n = config->node.workers;
    if (n == 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        n = pthread_getaffinity_np(pthread_self(), sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    }
    n = n > (long)config->node.lanes ? (long)config->node.lanes : n;
    return n < 1 ? 1 : n > YK_WORKERS_MAX ? YK_WORKERS_MAX : (uint32_t)n;
}

static enum yk_err
open_node(struct yk_daemon *daemon, char *error)
{
    const struct yk_world *world = &daemon->system.world;
    struct yk_node_setup setup = {
        .config = daemon->config,
        .world = world,
        .n_workers = worker_count(daemon->config),
        .epoch = daemon->datadir.epoch,
        .epochs = (const uint32_t *const *)daemon->cluster.epochs,
        .room = daemon->keep.journal != NULL ? yk_journal_room(daemon->keep.journal) : NULL,
        .needed_from =
            daemon->keep.journal != NULL ? yk_journal_needed_from(daemon->keep.journal) : NULL,
        .seed = world->random(world->arg),
        .make_folder = make_folder,
        .make_folder_arg = daemon,
        .facts = yk_facts_tell,
        .facts_arg = &daemon->facts};
    return yk_node_new(&setup, &daemon->node, error);
}

static enum yk_err
open_listeners(struct yk_daemon *daemon, char *error)
{
    const struct yk_config *config = daemon->config;
    uint32_t n_workers = worker_count(config);
    daemon->listeners = g_new0(struct yk_listener, YK_LISTENERS_MAX);
    if ((config->node.roles & YK_ROLE_GATEWAY) == 0) {
        return YK_OK;
    }
    for (uint32_t i = 0; i < config->n_frontends; i++) {
        for (uint32_t k = 0; k < config->frontends[i].n_listen; k++) {
            if (daemon->n_listeners == YK_LISTENERS_MAX) {
                snprintf(error, YK_ERROR_SIZE, "a node listens on at most %d addresses",
                         YK_LISTENERS_MAX);
                return YK_EINVALID;
            }
            enum yk_err result = yk_listener_open(config->frontends[i].listen[k], i, n_workers,
                                                  &daemon->listeners[daemon->n_listeners], error);
            if (result != YK_OK) {
                return result;
            }
            daemon->n_listeners++;
        }
    }
    return YK_OK;
}

/* Each connection is a descriptor. */
static void
raise_descriptors(struct yk_daemon *daemon)
{
    struct rlimit limit;
    rlim_t wanted = daemon->config->node.connections_max + DESCRIPTORS_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted) {
        yk_log(&daemon->system.world, YK_LOG_WARNING, "main",
               "max_connections = %u needs %llu open files, and the limit is %llu",
               daemon->config->node.connections_max, (unsigned long long)wanted,
               (unsigned long long)limit.rlim_cur);
    }
}

static void
ask_to_stop(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
}

static void
complete(void *arg, struct yk_call *call, enum yk_err result)
{
    struct yk_system *system = arg;
    struct yk_daemon *daemon =
        (struct yk_daemon *)((char *)system - offsetof(struct yk_daemon, system));
    yk_threads_complete(daemon->threads, call, result);
}

static enum yk_err
start_threads(struct yk_daemon *daemon, char *error)
{
    struct yk_threads_config config = {.world = &daemon->system.world,
                                       .node = daemon->node,
                                       .listeners = daemon->listeners,
                                       .n_listeners = daemon->n_listeners,
                                       .executors = daemon->config->node.executors,
                                       .io = daemon->config->node.io,
                                       .journal = daemon->keep.journal,
                                       .connections_max = daemon->config->node.connections_max,
                                       .shut_down = ask_to_stop};
    return yk_threads_start(&config, &daemon->threads, error);
}

static enum yk_err
start(struct yk_daemon *daemon, char *error)
{
    raise_descriptors(daemon);
    enum yk_err result = open_listeners(daemon, error);
    if (result == YK_OK) {
        result = open_datadir(daemon, error);
    }
    if (result == YK_OK) {
        result =
            yk_keep_open(&daemon->keep, &daemon->system.world, daemon->config, &daemon->datadir,
                         worker_count(daemon->config), &daemon->threads, error);
    }
    if (result == YK_OK) {
        result = start_cluster(daemon, error);
    }
    if (result == YK_OK) {
        result = open_node(daemon, error);
    }
    if (result == YK_OK) {
        result = yk_keep_recover(&daemon->keep, daemon->node, error);
    }
    if (result == YK_OK) {
        result = yk_datadir_recovered(&daemon->datadir, error);
    }
    if (result == YK_OK) {
        yk_facts_init(&daemon->facts, daemon->config, daemon->node);
        result = start_threads(daemon, error);
        __atomic_store_n(&daemon->facts.threads, daemon->threads, __ATOMIC_RELEASE);
    }
    return result;
}

static void
end(struct yk_daemon *daemon, bool is_clean)
{
    if (daemon->threads != NULL) {
        yk_threads_stop(daemon->threads, DRAIN_TIMEOUT_MS);
    }
    yk_keep_close(&daemon->keep, daemon->node, is_clean);
    yk_node_free(daemon->node);
    for (uint32_t i = 0; i < daemon->n_listeners; i++) {
        yk_listener_close(&daemon->listeners[i]);
    }
    g_free(daemon->listeners);
    yk_cluster_end(&daemon->cluster);
    if (daemon->has_datadir) {
        /* A start that failed has changed nothing: what was clean is so still. */
        yk_datadir_close(&daemon->datadir, is_clean || daemon->datadir.was_clean);
    }
    g_ptr_array_free(daemon->folders, TRUE);
    yk_config_free(daemon->reloaded);
    yk_config_free(daemon->config);
}

/* Running */

struct reload {
    const struct yk_world *world;
    const struct yk_config *now, *next;
};

static void
reload_instance(const struct reload *reload, const struct yk_settings *now,
                const struct yk_settings *next, const struct yk_host *host, void *self)
{
    char error[YK_ERROR_SIZE];
    if (yk_instance_reload(now, next, host, self, error) != YK_OK) {
        yk_log(reload->world, YK_LOG_ERROR, "main", "%s", error);
    }
}

/* On a worker's thread: its frontends learn the options that may change. */
static void
reload_frontends(void *arg, struct yk_worker *worker)
{
    const struct reload *reload = arg;
    for (uint32_t i = 0; i < reload->next->n_frontends; i++) {
        struct yk_frontend *frontend = yk_worker_frontend(worker, i);
        const struct yk_frontend_config *now = &reload->now->frontends[i];
        const struct yk_frontend_config *next = &reload->next->frontends[i];
        reload_instance(reload, now->settings, next->settings, &frontend->host.host,
                        frontend->self);
        for (uint32_t k = 0; k < next->n_request_filters; k++) {
            reload_instance(reload, now->request_filters[k], next->request_filters[k],
                            &frontend->filters[k].host.host, frontend->filters[k].self);
        }
    }
}

static enum yk_err
take_over(struct yk_daemon *daemon, struct yk_config *next, char *error)
{
    struct yk_config *now = daemon->reloaded != NULL ? daemon->reloaded : daemon->config;
    enum yk_err result = yk_config_check_reload(now, next, error);
    if (result != YK_OK) {
        yk_config_free(next);
        return result;
    }
    struct reload reload = {&daemon->system.world, now, next};
    yk_threads_call(daemon->threads, reload_frontends, &reload);
    yk_log(&daemon->system.world, YK_LOG_NOTICE, "main", "config reloaded");
    yk_system_set_level(&daemon->system, next->node.log_level);
    yk_config_free(daemon->reloaded);
    daemon->reloaded = next;
    return YK_OK;
}

static void
reload(struct yk_daemon *daemon)
{
    const struct yk_world *world = &daemon->system.world;
    char error[YK_ERROR_SIZE];
    struct yk_config *next;
    yk_system_notify("RELOADING=1");
    enum yk_err result = yk_daemon_read_config(daemon->options, daemon->plugins, &next, error);
    if (result == YK_OK) {
        result = take_over(daemon, next, error);
    }
    if (result != YK_OK) {
        yk_log(world, YK_LOG_ERROR, "main", "config not reloaded, the old one stays: %s", error);
    }
    yk_system_notify("READY=1");
}

static void
log_state(void *arg, struct yk_worker *worker)
{
    struct yk_daemon *daemon = arg;
    yk_log(&daemon->system.world, YK_LOG_NOTICE, "main", "state worker=%u connections=%u idle=%s",
           yk_worker_index(worker), yk_worker_sessions(worker),
           yk_worker_is_idle(worker) ? "yes" : "no");
}

static void
log_start(struct yk_daemon *daemon)
{
    const struct yk_world *world = &daemon->system.world;
    for (uint32_t i = 0; i < daemon->n_listeners; i++) {
        const struct yk_frontend_config *frontend =
            &daemon->config->frontends[daemon->listeners[i].frontend];
        yk_log(world, YK_LOG_NOTICE, "main", "listening frontend=\"%s\" address=%s bucket=%s",
               frontend->name, daemon->listeners[i].text,
               daemon->config->buckets[frontend->bucket_index].name);
    }
    yk_log(world, YK_LOG_NOTICE, "main",
           "ready version=%s pid=%ld node=%s data=%s epoch=%llu workers=%u lanes=%u io=%s",
           PACKAGE_VERSION, (long)getpid(), daemon->datadir.node_id, daemon->datadir.path,
           (unsigned long long)daemon->datadir.epoch, daemon->node->n_workers,
           daemon->config->node.lanes, yk_threads_engine(daemon->threads));
}

static void
serve(struct yk_daemon *daemon, const sigset_t *signals)
{
    log_start(daemon);
    yk_system_notify("READY=1");
    for (;;) {
        int number = 0;
        if (sigwait(signals, &number) != 0) {
            continue;
        }
        if (number == SIGHUP) {
            reload(daemon);
        } else if (number == SIGUSR1) {
            yk_log(&daemon->system.world, YK_LOG_NOTICE, "main",
                   "state connections=%u rejected=%llu", yk_threads_connections(daemon->threads),
                   (unsigned long long)yk_threads_rejected(daemon->threads));
            yk_threads_call(daemon->threads, log_state, daemon);
        } else {
            yk_log(&daemon->system.world, YK_LOG_NOTICE, "main", "stopping signal=%s",
                   number == SIGINT ? "INT" : "TERM");
            yk_system_notify("STOPPING=1");
            return;
        }
    }
}

int
yk_daemon_run(const struct yk_daemon_options *options, struct yk_plugins *plugins,
              struct yk_config *config)
{
    struct yk_daemon daemon = {.options = options, .plugins = plugins, .config = config};
    char error[YK_ERROR_SIZE];
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    yk_system_init(&daemon.system, config->node.log_level);
    daemon.system.world.complete = complete;
    daemon.folders = g_ptr_array_new_with_free_func(g_free);
    enum yk_err result = start(&daemon, error);
    if (result == YK_OK) {
        serve(&daemon, &signals);
        /* A second signal does not wait for the connections. */
        sigdelset(&signals, SIGHUP);
        sigdelset(&signals, SIGUSR1);
        pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    } else {
        fprintf(stderr, "yakumod: %s\n", error);
    }
    end(&daemon, result == YK_OK);
    return result == YK_OK ? 0 : 1;
}
