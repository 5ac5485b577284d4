/* From a source to the config of one node: read, override, choose the node, assemble, check.
 *
 * Every node of the file is assembled and checked, so that a file that one node takes is right for
 * all. */
#include <config.h>

#include "core/config/assembly.h"

/* A single node as it runs without a file: a cache. */
static const char built_in_text[] = "[bucket default]\n"
                                    "backend = memory\n"
                                    "durability = memory\n"
                                    "memory_max = 1G\n"
                                    "evict = s3fifo\n"
                                    "[frontend memcached]\n"
                                    "listen = 127.0.0.1:11211\n";
static const char node_name_default[] = "node";

static void
stack_free(struct yk_settings **stack, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        yk_settings_free(stack[i]);
    }
    g_free(stack);
}

static void
nodes_free(struct yk_config *config)
{
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        g_free(config->nodes[i].name);
        g_free(config->nodes[i].address);
    }
    g_free(config->nodes);
}

void
yk_config_free(struct yk_config *config)
{
    if (config == NULL) {
        return;
    }
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        struct yk_bucket_config *bucket = &config->buckets[i];
        g_free(bucket->name);
        yk_settings_free(bucket->backend);
        stack_free(bucket->filters, bucket->n_filters);
    }
    for (uint32_t i = 0; i < config->n_frontends; i++) {
        struct yk_frontend_config *frontend = &config->frontends[i];
        g_free(frontend->name);
        yk_settings_free(frontend->settings);
        g_strfreev(frontend->listen);
        stack_free(frontend->request_filters, frontend->n_request_filters);
    }
    nodes_free(config);
    g_free(config->buckets);
    g_free(config->frontends);
    g_free(config->node.name);
    g_free(config->node.address);
    g_free(config->node.data);
    g_free(config->node.zone);
    g_free(config->file);
    g_free(config->cluster_name);
    g_free(config->coordinator);
    g_free(config);
}

static enum yk_err
draft_make(struct yk_draft *draft, const struct yk_config_source *source, char *error)
{
    bool is_built_in = source->file == NULL;
    const char *text = is_built_in ? built_in_text : source->text;
    size_t size = is_built_in ? sizeof(built_in_text) - 1 : source->size;
    enum yk_err err = yk_draft_read(draft, size > 0 ? text : "", size, error);
    if (source->overrides != NULL) {
        for (const char *const *at = source->overrides; *at != NULL && err == YK_OK; at++) {
            err = yk_draft_override(draft, *at, error);
        }
    }
    return err == YK_OK ? yk_draft_resolve(draft, error) : err;
}

/* [cluster] is always there, and a [node] where none is asked for by name. */
static void
defaults_add(struct yk_draft *draft, const char *node)
{
    const struct yk_place place = {.file = draft->file, .line = draft->file != NULL};
    g_autofree const char **nodes = yk_draft_names(draft, YK_SECTION_NODE);
    if (nodes[0] == NULL && node == NULL) {
        yk_draft_add(draft, YK_SECTION_NODE, node_name_default, &place);
    }
    if (yk_draft_find(draft, YK_SECTION_CLUSTER, "") == NULL) {
        yk_draft_add(draft, YK_SECTION_CLUSTER, "", &place);
    }
}

static enum yk_err
node_choose(const struct yk_draft *draft, const char *name,
            const struct yk_draft_section **ret_node, char *error)
{
    const struct yk_place place = {.file = draft->file, .line = draft->file != NULL};
    g_autofree const char **nodes = yk_draft_names(draft, YK_SECTION_NODE);
    if (name != NULL && draft->file == NULL) {
        return yk_place_fail(&place, YK_EINVALID, error, "--node needs a file: add -c FILE");
    }
    if (name == NULL && nodes[1] != NULL) {
        g_autofree char *known = g_strjoinv(", ", (char **)(uintptr_t)nodes);
        return yk_place_fail(&place, YK_EINVALID, error,
                             "the file has several nodes: say which one to run with --node (%s)",
                             known);
    }
    *ret_node = yk_draft_find(draft, YK_SECTION_NODE, name != NULL ? name : nodes[0]);
    if (*ret_node == NULL) {
        char reason[YK_ERROR_SIZE];
        yk_unknown_name("node", name, NULL, nodes, reason);
        return yk_place_fail(&place, YK_ENOTFOUND, error, "--node: %s", reason);
    }
    return YK_OK;
}

/* [coordinator NAME] has no key in this version. */
static enum yk_err
coordinators_check(const struct yk_assembly *assembly)
{
    const GPtrArray *sections = assembly->draft->sections;
    for (guint i = 0; i < sections->len; i++) {
        const struct yk_draft_section *section = g_ptr_array_index(sections, i);
        if (section->kind != YK_SECTION_COORDINATOR) {
            continue;
        }
        if (!g_strv_contains(yk_coordinator_names, section->name)) {
            char reason[YK_ERROR_SIZE];
            yk_unknown_name("coordinator", section->name, NULL, yk_coordinator_names, reason);
            return yk_place_fail(&section->place, YK_EINVALID, assembly->error, "%s", reason);
        }
        if (strcmp(section->name, "local") != 0) {
            return yk_place_fail(
                &section->place, YK_EUNSUPPORTED, assembly->error,
                "[%s] is not in this version; remove it and set coordinator = local",
                section->title);
        }
        g_autoptr(GPtrArray) layers =
            yk_draft_layers(assembly->draft, section, assembly->node, assembly->is_chosen);
        if (layers->len > 0) {
            const struct yk_entry *entry = g_ptr_array_index(layers, 0);
            g_autofree char *shown = yk_text_show(entry->key);
            return yk_place_fail(&entry->place, YK_EINVALID, assembly->error,
                                 "unknown key %s in [%s]; it has none: remove it", shown,
                                 section->title);
        }
    }
    return YK_OK;
}

static enum yk_err
cluster_read(const struct yk_assembly *assembly)
{
    const struct yk_draft_section *section = yk_draft_find(assembly->draft, YK_SECTION_CLUSTER, "");
    struct yk_fields fields;
    enum yk_err err = yk_assemble_fields(assembly, section, &fields);
    if (err == YK_OK) {
        assembly->config->cluster_name = g_strdup(yk_field_text(&fields, YK_CLUSTER_NAME));
        assembly->config->coordinator = g_strdup(yk_field_text(&fields, YK_CLUSTER_COORDINATOR));
        if (!yk_name_is_valid(assembly->config->cluster_name)) {
            err = yk_field_fail(&fields, YK_CLUSTER_NAME, YK_EINVALID, assembly->error,
                                "is not a name: use a-z, 0-9, _ and -");
        } else if (strcmp(assembly->config->coordinator, "local") != 0) {
            err = yk_field_fail(&fields, YK_CLUSTER_COORDINATOR, YK_EUNSUPPORTED, assembly->error,
                                "is not in this version; set coordinator = local");
        }
    }
    yk_fields_done(&fields);
    return err;
}

static enum yk_err
config_assemble(struct yk_assembly *assembly)
{
    enum yk_err err = cluster_read(assembly);
    if (err == YK_OK) {
        err = coordinators_check(assembly);
    }
    if (err == YK_OK) {
        err = yk_assemble_node(assembly);
    }
    if (err == YK_OK) {
        err = yk_assemble_buckets(assembly);
    }
    if (err == YK_OK) {
        err = yk_assemble_frontends(assembly);
    }
    if (err == YK_OK) {
        err = yk_assemble_plugin_sections(assembly);
    }
    return err;
}

/* One node's config; NULL with *ret_err. */
static struct yk_config *
node_assemble(struct yk_assembly *assembly, enum yk_err *ret_err)
{
    assembly->config = g_new0(struct yk_config, 1);
    assembly->config->file = g_strdup(assembly->draft->file);
    assembly->listeners = g_array_new(FALSE, FALSE, sizeof(struct yk_listener));
    *ret_err = config_assemble(assembly);
    g_array_unref(assembly->listeners);
    if (*ret_err != YK_OK) {
        yk_config_free(assembly->config);
        return NULL;
    }
    return assembly->config;
}

static void
node_add(struct yk_config *to, const struct yk_node_config *node)
{
    to->nodes = g_renew(struct yk_config_node, to->nodes, to->n_nodes + 1);
    to->nodes[to->n_nodes++] =
        (struct yk_config_node){g_strdup(node->name), g_strdup(node->address), node->roles};
}

/* Assembles all nodes, and keeps the config of the chosen one. */
static enum yk_err
nodes_assemble(const struct yk_config_source *source, const struct yk_draft *draft,
               const struct yk_draft_section *chosen, struct yk_config **ret_config, char *error)
{
    g_autofree const char **names = yk_draft_names(draft, YK_SECTION_NODE);
    uint32_t n_managers = 0;
    struct yk_assembly assembly = {
        .source = source,
        .draft = draft,
        .n_nodes = g_strv_length((char **)(uintptr_t)names),
        .n_managers = &n_managers,
        .error = error,
    };
    struct yk_config all = {.n_nodes = 0}; /* no more of it than the nodes */
    struct yk_config *kept = NULL;
    for (uint32_t i = 0; i < assembly.n_nodes; i++) {
        enum yk_err err = YK_OK;
        assembly.node = yk_draft_find(draft, YK_SECTION_NODE, names[i]);
        assembly.is_chosen = assembly.node == chosen;
        struct yk_config *config = node_assemble(&assembly, &err);
        if (err != YK_OK) {
            nodes_free(&all);
            yk_config_free(kept);
            return err;
        }
        node_add(&all, &config->node);
        if (assembly.is_chosen) {
            kept = config;
        } else {
            yk_config_free(config);
        }
    }
    kept->nodes = all.nodes;
    kept->n_nodes = all.n_nodes;
    *ret_config = kept;
    return YK_OK;
}

enum yk_err
yk_config_parse(const struct yk_config_source *source, struct yk_config **ret_config, char *error)
{
    struct yk_draft draft;
    const struct yk_draft_section *chosen = NULL;
    yk_draft_init(&draft, source->file);
    enum yk_err err = draft_make(&draft, source, error);
    if (err == YK_OK) {
        defaults_add(&draft, source->node);
        err = node_choose(&draft, source->node, &chosen, error);
    }
    if (err == YK_OK) {
        err = nodes_assemble(source, &draft, chosen, ret_config, error);
    }
    yk_draft_done(&draft);
    return err;
}
