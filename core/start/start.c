/* Config, data folder, registers, journal, engines: in this order, and back. */
#include <config.h>

#include "core/start/start.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "core/io/system.h"

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

/* What only the coordinator knows: do its options go together? */
static enum yk_err
check_coordinator(const struct yk_config *config, char *error)
{
    struct yk_system system;
    struct yk_plugin_host host;
    char reason[YK_ERROR_SIZE];
    void *self;
    yk_system_init(&system, YK_LOG_ERROR);
    yk_plugin_host_init(&host, &system.world, config->coordinator->plugin->name);
    enum yk_err result = yk_instance_new(config->coordinator, &host.host, &self, reason);
    if (result == YK_OK) {
        yk_instance_free(config->coordinator, self);
    } else {
        snprintf(error, YK_ERROR_SIZE, "%.100s%s[coordinator %s]: %.340s",
                 config->file != NULL ? config->file : "", config->file != NULL ? ": " : "",
                 config->coordinator->plugin->name, reason);
    }
    return result;
}

enum yk_err
yk_start_read_config(const struct yk_start_options *options, struct yk_plugins *plugins,
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
                                      .takes_any = options->takes_any,
                                      .overrides = options->overrides,
                                      .find_plugin = find_plugin,
                                      .arg = plugins};
    struct yk_config *config;
    enum yk_err result = yk_config_parse(&source, &config, error);
    if (result != YK_OK) {
        return result;
    }
    result = check_buckets(config, error);
    if (result == YK_OK) {
        result = check_coordinator(config, error);
    }
    if (result != YK_OK) {
        yk_config_free(config);
        return result;
    }
    *ret_config = config;
    return YK_OK;
}

/* The data folder */

char *
yk_start_data_path(const struct yk_config *config)
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

struct yk_datadir_bucket *
yk_start_buckets(const struct yk_config *config, const struct yk_world *world, GPtrArray *texts,
                 char *error)
{
    g_autofree struct yk_datadir_bucket *buckets =
        g_new0(struct yk_datadir_bucket, config->n_buckets + 1u);
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        struct yk_backend_info info;
        buckets[i] = datadir_bucket(&config->buckets[i], texts);
        if (yk_node_ask(config, world, i, &info, error) != YK_OK) {
            return NULL;
        }
        buckets[i].is_volatile = (info.caps & YK_BACKEND_VOLATILE) != 0 &&
                                 config->buckets[i].durability == YK_DURABILITY_MEMORY;
    }
    return g_steal_pointer(&buckets);
}

static enum yk_err
open_datadir(struct yk_start *start, char *error)
{
    const struct yk_config *config = start->config;
    g_autofree char *path = yk_start_data_path(config);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autofree struct yk_datadir_bucket *buckets =
        yk_start_buckets(config, start->world, texts, error);
    enum yk_err result = buckets == NULL
                             ? YK_EINVALID
                             : yk_datadir_open(path, config->node.lanes, buckets, config->n_buckets,
                                               &start->datadir, error);
    start->has_datadir = result == YK_OK;
    return result == YK_OK ? yk_datadir_raise_epoch(&start->datadir, start->epoch_min, error)
                           : result;
}

bool
yk_start_is_clustered(const struct yk_config *config)
{
    return config->n_nodes > 1;
}

/* One of several nodes has its slots from the managers, once its control runs. */
static enum yk_err
start_cluster(struct yk_start *start, char *error)
{
    if (yk_start_is_clustered(start->config)) {
        return YK_OK;
    }
    return yk_cluster_start(&start->cluster, start->world, start->config, &start->datadir,
                            start->epoch_min > 0, error);
}

static const char *
make_folder(void *arg, const struct yk_backend_place *place, char *error)
{
    struct yk_start *start = arg;
    char *path = yk_keep_lane_folder(&start->keep, place, error);
    if (path != NULL) {
        g_ptr_array_add(start->folders, path);
    }
    return path;
}

/* Nodes of the file that run on this machine, as their addresses have it; this one is among them.
 */
static uint32_t
nodes_here(const struct yk_config *config)
{
    struct yk_address own;
    struct yk_address other;
    char reason[YK_ERROR_SIZE];
    uint32_t n = 0;
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        n += yk_address_parse(config->node.address, &own, reason) == YK_OK &&
             yk_address_parse(config->nodes[i].address, &other, reason) == YK_OK &&
             own.kind == other.kind && memcmp(own.bytes, other.bytes, sizeof(own.bytes)) == 0;
    }
    return n > 0 ? n : 1;
}

uint32_t
yk_start_workers(const struct yk_config *config)
{
    long n = config->node.workers;
    if (n == 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        n = pthread_getaffinity_np(pthread_self(), sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
        n /= nodes_here(config);
    }
    n = n > (long)config->node.lanes ? (long)config->node.lanes : n;
    return n < 1 ? 1 : n > YK_WORKERS_MAX ? YK_WORKERS_MAX : (uint32_t)n;
}

static enum yk_err
open_node(struct yk_start *start, char *error)
{
    const struct yk_world *world = start->world;
    struct yk_node_setup setup = {
        .config = start->config,
        .world = world,
        .n_workers = yk_start_workers(start->config),
        .epoch = start->datadir.epoch,
        .is_clustered = yk_start_is_clustered(start->config),
        .nonce = start->datadir.nonce,
        .incarnations = (const uint32_t *const *)start->datadir.incarnations,
        .lease_us = (int64_t)start->config->lease_us,
        .grace_us = (int64_t)start->config->grace_us,
        .epochs = (const uint32_t *const *)start->cluster.epochs,
        .room = start->keep.journal != NULL ? yk_journal_room(start->keep.journal) : NULL,
        .needed_from =
            start->keep.journal != NULL ? yk_journal_needed_from(start->keep.journal) : NULL,
        .seed = world->random(world->arg),
        .make_folder = make_folder,
        .make_folder_arg = start,
        .facts = start->facts,
        .facts_arg = start->facts_arg};
    return yk_node_new(&setup, &start->node, error);
}

/* All */

enum yk_err
yk_start(struct yk_start *start, char *error)
{
    start->folders = g_ptr_array_new_with_free_func(g_free);
    enum yk_err result = open_datadir(start, error);
    if (result == YK_OK) {
        result = yk_keep_open(&start->keep, start->world, start->config, &start->datadir,
                              yk_start_workers(start->config), &start->threads, error);
    }
    if (result == YK_OK) {
        result = start_cluster(start, error);
    }
    if (result == YK_OK) {
        result = open_node(start, error);
    }
    if (result == YK_OK) {
        result = yk_keep_recover(&start->keep, start->node, error);
    }
    return result == YK_OK ? yk_datadir_recovered(&start->datadir, error) : result;
}

void
yk_start_end(struct yk_start *start, bool is_clean)
{
    yk_keep_close(&start->keep, start->node, is_clean);
    yk_node_free(start->node);
    yk_cluster_end(&start->cluster);
    if (start->has_datadir) {
        /* A start that failed has changed nothing: what was clean is so still. */
        yk_datadir_close(&start->datadir, is_clean || start->datadir.was_clean);
    }
    if (start->folders != NULL) {
        g_ptr_array_free(start->folders, TRUE);
    }
    *start = (struct yk_start){.node = NULL};
}
