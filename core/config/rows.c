/* Rows of a config. Values are printed by their type, so that equal configs give equal rows. */
#include <config.h>

#include "core/config/rows.h"

#include "core/config/tables.h"

/* The section whose rows are being added. */
struct writer {
    GPtrArray *rows;
    char *title;
    enum yk_section kind;
    uint32_t line;
};

static void
row_free(void *arg)
{
    struct yk_config_row *row = arg;
    g_free(row->title);
    g_free(row->text);
    g_free(row);
}

static void
row_add(const struct writer *writer, const struct yk_option *option, char *take_text)
{
    struct yk_config_row *row = g_new0(struct yk_config_row, 1);
    row->title = g_strdup(writer->title);
    row->key = option->name;
    row->text = take_text;
    row->line = writer->line;
    row->may_reload = (option->flags & YK_OPTION_RELOAD) != 0;
    g_ptr_array_add(writer->rows, row);
}

static const struct yk_option *
core_option(const struct writer *writer, uint32_t key)
{
    uint32_t n_options;
    return &yk_config_table(yk_section_names[writer->kind], &n_options)[key];
}

static void
text_add(const struct writer *writer, uint32_t key, const char *text)
{
    row_add(writer, core_option(writer, key), g_strdup(text != NULL ? text : ""));
}

static void
number_add(const struct writer *writer, uint32_t key, uint64_t number)
{
    const struct yk_option *option = core_option(writer, key);
    const struct yk_option_value value = {.type = option->type, .text = "number", .number = number};
    row_add(writer, option, yk_option_print(&value));
}

static void
settings_add(const struct writer *writer, const struct yk_settings *settings)
{
    for (uint32_t i = 0; i < settings->plugin->n_options; i++) {
        row_add(writer, yk_option_at(settings->plugin->options, i),
                yk_option_print(&settings->values[i].value));
    }
}

/* "a, b" of the plugins' names. */
static char *
stack_print(struct yk_settings *const *stack, uint32_t n)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (uint32_t i = 0; i < n; i++) {
        g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", stack[i]->plugin->name);
    }
    return g_strdup(text->str);
}

static void
cluster_add(struct writer *writer, const struct yk_config *config)
{
    writer->kind = YK_SECTION_CLUSTER;
    writer->title = g_strdup("cluster");
    text_add(writer, YK_CLUSTER_NAME, config->cluster_name);
    text_add(writer, YK_CLUSTER_COORDINATOR, config->coordinator->plugin->name);
    number_add(writer, YK_CLUSTER_LEASE, config->lease_us);
    number_add(writer, YK_CLUSTER_GRACE, config->grace_us);
    g_free(writer->title);
}

static char *
roles_print(uint32_t roles)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (uint32_t i = 0; yk_role_names[i] != NULL; i++) {
        if (roles & (1u << i)) {
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", yk_role_names[i]);
        }
    }
    return g_strdup(text->str);
}

static void
node_add(struct writer *writer, const struct yk_node_config *node)
{
    writer->kind = YK_SECTION_NODE;
    writer->title = g_strdup_printf("node %s", node->name);
    writer->line = node->line;
    row_add(writer, core_option(writer, YK_NODE_ROLES), roles_print(node->roles));
    text_add(writer, YK_NODE_ADDRESS, node->address);
    number_add(writer, YK_NODE_ALLOW_REMOTE, node->allow_remote);
    text_add(writer, YK_NODE_DATA, node->data);
    text_add(writer, YK_NODE_ZONE, node->zone);
    number_add(writer, YK_NODE_WEIGHT, node->weight);
    g_autofree char *workers =
        node->workers == 0 ? g_strdup("auto") : g_strdup_printf("%u", node->workers);
    text_add(writer, YK_NODE_WORKERS, workers);
    number_add(writer, YK_NODE_LANES, node->lanes);
    number_add(writer, YK_NODE_EXECUTORS, node->executors);
    text_add(writer, YK_NODE_IO, yk_io_engine_names[node->io]);
    text_add(writer, YK_NODE_SCHEDULING, yk_scheduling_names[node->scheduling]);
    number_add(writer, YK_NODE_JOURNAL_SIZE, node->journal_size);
    number_add(writer, YK_NODE_GATEWAY_CACHE, node->gateway_cache);
    number_add(writer, YK_NODE_MAX_CONNECTIONS, node->connections_max);
    text_add(writer, YK_NODE_LOG_LEVEL, yk_log_level_names[node->log_level - YK_LOG_ERROR]);
    g_free(writer->title);
}

static void
bucket_add(struct writer *writer, const struct yk_bucket_config *bucket)
{
    writer->kind = YK_SECTION_BUCKET;
    writer->title = g_strdup_printf("bucket %s", bucket->name);
    writer->line = bucket->line;
    text_add(writer, YK_BUCKET_BACKEND, bucket->backend->plugin->name);
    row_add(writer, core_option(writer, YK_BUCKET_FILTERS),
            stack_print(bucket->filters, bucket->n_filters));
    number_add(writer, YK_BUCKET_COPIES, bucket->copies);
    number_add(writer, YK_BUCKET_MIN_COPIES, bucket->min_copies);
    text_add(writer, YK_BUCKET_DURABILITY, yk_durability_names[bucket->durability]);
    text_add(writer, YK_BUCKET_READS, yk_reads_names[bucket->reads]);
    text_add(writer, YK_BUCKET_ACK, yk_ack_names[bucket->acks]);
    number_add(writer, YK_BUCKET_MEMORY_MAX, bucket->memory_max);
    text_add(writer, YK_BUCKET_EVICT, yk_evict_names[bucket->evict]);
    number_add(writer, YK_BUCKET_SLOTS, bucket->slots);
    number_add(writer, YK_BUCKET_KEY_SIZE_MAX, bucket->key_size_max);
    number_add(writer, YK_BUCKET_VALUE_SIZE_MAX, bucket->value_size_max);
    g_free(writer->title);
}

static void
frontend_add(struct writer *writer, const struct yk_config *config,
             const struct yk_frontend_config *frontend)
{
    writer->kind = YK_SECTION_FRONTEND;
    writer->title = g_strdup_printf("frontend %s", frontend->name);
    writer->line = frontend->line;
    g_autofree char *listen = g_strjoinv(", ", frontend->listen);
    text_add(writer, YK_FRONTEND_LISTEN, listen);
    text_add(writer, YK_FRONTEND_BUCKET, config->buckets[frontend->bucket_index].name);
    text_add(writer, YK_FRONTEND_KEY_PREFIX, frontend->key_prefix);
    row_add(writer, core_option(writer, YK_FRONTEND_REQUEST_FILTERS),
            stack_print(frontend->request_filters, frontend->n_request_filters));
    number_add(writer, YK_FRONTEND_ALLOW_REMOTE, frontend->allow_remote);
    settings_add(writer, frontend->settings);
    g_free(writer->title);
}

/* The plugin's options, once for all that use it. */
static void
shared_add(struct writer *writer, enum yk_section kind, const struct yk_settings *settings,
           GHashTable *done)
{
    if (!g_hash_table_add(done, (void *)(uintptr_t)settings->plugin)) {
        return;
    }
    writer->kind = kind;
    writer->title = g_strdup_printf("%s %s", yk_section_names[kind], settings->plugin->name);
    writer->line = 0;
    settings_add(writer, settings);
    g_free(writer->title);
}

static void
others_add(struct writer *writer, const struct yk_config *config)
{
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        if (strcmp(config->nodes[i].name, config->node.name) != 0) {
            node_add(writer, &config->nodes[i]);
        }
    }
}

GPtrArray *
yk_config_rows(const struct yk_config *config, bool with_others)
{
    struct writer writer = {.rows = g_ptr_array_new_with_free_func(row_free)};
    g_autoptr(GHashTable) done = g_hash_table_new(g_direct_hash, g_direct_equal);
    cluster_add(&writer, config);
    node_add(&writer, &config->node);
    if (with_others) {
        others_add(&writer, config);
    }
    shared_add(&writer, YK_SECTION_COORDINATOR, config->coordinator, done);
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        bucket_add(&writer, &config->buckets[i]);
    }
    for (uint32_t i = 0; i < config->n_frontends; i++) {
        frontend_add(&writer, config, &config->frontends[i]);
    }
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        shared_add(&writer, YK_SECTION_BACKEND, config->buckets[i].backend, done);
    }
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        for (uint32_t j = 0; j < config->buckets[i].n_filters; j++) {
            shared_add(&writer, YK_SECTION_FILTER, config->buckets[i].filters[j], done);
        }
    }
    for (uint32_t i = 0; i < config->n_frontends; i++) {
        for (uint32_t j = 0; j < config->frontends[i].n_request_filters; j++) {
            shared_add(&writer, YK_SECTION_FILTER, config->frontends[i].request_filters[j], done);
        }
    }
    return writer.rows;
}
