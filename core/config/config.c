/* From a source to the config of one node: read, override, choose the node, assemble, check.
 *
 * Every node of the file is assembled and checked, so that a file that one node takes is right for
 * all. */
#include <config.h>

#include "core/config/assembly.h"

#include <stdlib.h>

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
node_done(struct yk_node_config *node)
{
    g_free(node->name);
    g_free(node->address);
    g_free(node->data);
    g_free(node->zone);
}

static void
nodes_free(struct yk_node_config *nodes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        node_done(&nodes[i]);
    }
    g_free(nodes);
}

static struct yk_node_config *
nodes_copy(const struct yk_node_config *nodes, uint32_t n)
{
    struct yk_node_config *copies = g_memdup2(nodes, n * sizeof(*nodes));
    for (uint32_t i = 0; i < n; i++) {
        copies[i].name = g_strdup(nodes[i].name);
        copies[i].address = g_strdup(nodes[i].address);
        copies[i].data = g_strdup(nodes[i].data);
        copies[i].zone = g_strdup(nodes[i].zone);
    }
    return copies;
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
        g_free(frontend->key_prefix);
        g_strfreev(frontend->listen);
        stack_free(frontend->request_filters, frontend->n_request_filters);
    }
    g_free(config->buckets);
    g_free(config->frontends);
    node_done(&config->node);
    nodes_free(config->nodes, config->n_nodes);
    g_free(config->file);
    g_free(config->cluster_name);
    yk_settings_free(config->coordinator);
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
node_choose(const struct yk_draft *draft, const char *name, bool takes_any,
            const struct yk_draft_section **ret_node, char *error)
{
    const struct yk_place place = {.file = draft->file, .line = draft->file != NULL};
    g_autofree const char **nodes = yk_draft_names(draft, YK_SECTION_NODE);
    if (name != NULL && draft->file == NULL) {
        return yk_place_fail(&place, YK_EINVALID, error, "--node needs a file: add -c FILE");
    }
    if (name == NULL && nodes[1] != NULL && !takes_any) {
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

/* Can so many managers keep the registers? What a coordinator of others needs it says itself. */
static enum yk_err
managers_check(const struct yk_assembly *assembly, const char *name, const struct yk_place *place)
{
    uint32_t n = assembly->n_managers;
    if (strcmp(name, "local") == 0) {
        return n == 1 ? YK_OK
                      : yk_place_fail(
                            place, YK_EINVALID, assembly->error,
                            "coordinator = local takes exactly one manager, and %u of the %u "
                            "nodes are: give the role manager to one, or to 3 or 5 and leave "
                            "out coordinator",
                            n, assembly->n_nodes);
    }
    if (strcmp(name, "quorum") == 0) {
        return n == 3 || n == 5
                   ? YK_OK
                   : yk_place_fail(place, YK_EINVALID, assembly->error,
                                   "coordinator = quorum takes 3 or 5 managers, so that more than "
                                   "half of them are still there when one or two are not; this "
                                   "file has %u",
                                   n);
    }
    return n > 0 ? YK_OK
                 : yk_place_fail(place, YK_EINVALID, assembly->error,
                                 "none of the %u nodes is a manager: give the role to one or more",
                                 assembly->n_nodes);
}

/* Where the registers live. A node alone is its own manager, whatever its roles, and keeps them
 * itself. */
static enum yk_err
coordinator_read(const struct yk_assembly *assembly, const struct yk_fields *fields)
{
    uint32_t n = assembly->n_managers;
    bool is_given = fields->fields[YK_CLUSTER_COORDINATOR].is_given &&
                    *yk_field_text(fields, YK_CLUSTER_COORDINATOR) != '\0';
    const char *name = is_given           ? yk_field_text(fields, YK_CLUSTER_COORDINATOR)
                       : n == 3 || n == 5 ? "quorum"
                                          : "local";
    const struct yk_place *place = &fields->fields[YK_CLUSTER_COORDINATOR].place;
    bool is_local = strcmp(name, "local") == 0;
    enum yk_err err = yk_assemble_shared(assembly, YK_KIND_COORDINATOR, name, place,
                                         &assembly->config->coordinator);
    if (err != YK_OK || (assembly->n_nodes == 1 && is_local)) {
        return err;
    }
    if (assembly->n_nodes == 1 && strcmp(name, "quorum") != 0) {
        return yk_field_fail(fields, YK_CLUSTER_COORDINATOR, YK_EINVALID, assembly->error,
                             "is for several nodes; this file has one, which keeps its registers "
                             "itself: remove the line, or add nodes");
    }
    return managers_check(assembly, name, place);
}

/* Source: PROTOCOL, "Leases": L (1 + 2 e) < G, where clocks go wrong by e = 1 % at most. */
static enum yk_err
leases_read(const struct yk_assembly *assembly, const struct yk_fields *fields)
{
    struct yk_config *config = assembly->config;
    config->lease_us = yk_field_number(fields, YK_CLUSTER_LEASE);
    config->grace_us = yk_field_number(fields, YK_CLUSTER_GRACE);
    if (config->lease_us + config->lease_us / 50 < config->grace_us) {
        return YK_OK;
    }
    uint32_t key = fields->fields[YK_CLUSTER_GRACE].is_given ? YK_CLUSTER_GRACE : YK_CLUSTER_LEASE;
    return yk_field_fail(fields, key, YK_EINVALID, assembly->error,
                         "does not do: grace must be greater than lease by more than 2 %%, such as "
                         "grace = %" G_GUINT64_FORMAT "ms",
                         config->lease_us * 13 / 10000);
}

static enum yk_err
cluster_read(const struct yk_assembly *assembly)
{
    const struct yk_draft_section *section = yk_draft_find(assembly->draft, YK_SECTION_CLUSTER, "");
    struct yk_fields fields;
    enum yk_err err = yk_assemble_fields(assembly, section, &fields);
    if (err == YK_OK) {
        assembly->config->cluster_name = g_strdup(yk_field_text(&fields, YK_CLUSTER_NAME));
        if (!yk_name_is_valid(assembly->config->cluster_name)) {
            err = yk_field_fail(&fields, YK_CLUSTER_NAME, YK_EINVALID, assembly->error,
                                "is not a name: use a-z, 0-9, _ and -");
        }
    }
    if (err == YK_OK) {
        err = coordinator_read(assembly, &fields);
    }
    if (err == YK_OK) {
        err = leases_read(assembly, &fields);
    }
    yk_fields_done(&fields);
    return err;
}

static enum yk_err
config_assemble(struct yk_assembly *assembly)
{
    enum yk_err err = cluster_read(assembly);
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
    assembly->config->nodes = nodes_copy(assembly->nodes, assembly->n_nodes);
    assembly->config->n_nodes = assembly->n_nodes;
    assembly->config->n_managers = assembly->n_managers;
    assembly->config->n_servers = assembly->n_servers;
    assembly->listeners = g_array_new(FALSE, FALSE, sizeof(struct yk_listener));
    *ret_err = config_assemble(assembly);
    g_array_unref(assembly->listeners);
    if (*ret_err != YK_OK) {
        yk_config_free(assembly->config);
        return NULL;
    }
    return assembly->config;
}

static int
node_compare(const void *a, const void *b)
{
    return strcmp(((const struct yk_node_config *)a)->name,
                  ((const struct yk_node_config *)b)->name);
}

/* Addresses tell nodes apart before they have met. */
static enum yk_err
addresses_check(const struct yk_assembly *assembly, const struct yk_node_config *nodes)
{
    for (uint32_t i = 0; i < assembly->n_nodes; i++) {
        for (uint32_t k = i + 1; k < assembly->n_nodes; k++) {
            if (strcmp(nodes[i].address, nodes[k].address) != 0) {
                continue;
            }
            const struct yk_node_config *later =
                nodes[i].line > nodes[k].line ? &nodes[i] : &nodes[k];
            const struct yk_place place = {.file = assembly->draft->file, .line = later->line};
            return yk_place_fail(&place, YK_EINVALID, assembly->error,
                                 "[node %s] and [node %s] have the same address %s: give each node "
                                 "an address of its own",
                                 nodes[i].name, nodes[k].name, nodes[i].address);
        }
    }
    return YK_OK;
}

/* The table of all nodes, before anything that depends on how many there are. */
static enum yk_err
nodes_read(struct yk_assembly *assembly, const char *const *names,
           const struct yk_draft_section *chosen, struct yk_node_config *nodes)
{
    for (uint32_t i = 0; i < assembly->n_nodes; i++) {
        struct yk_config only_node = {.file = NULL};
        assembly->node = yk_draft_find(assembly->draft, YK_SECTION_NODE, names[i]);
        assembly->is_chosen = assembly->node == chosen;
        assembly->config = &only_node;
        enum yk_err err = yk_assemble_node(assembly);
        nodes[i] = only_node.node;
        if (err != YK_OK) {
            return err;
        }
        assembly->n_managers += (nodes[i].roles & YK_ROLE_MANAGER) != 0;
        assembly->n_servers += (nodes[i].roles & YK_ROLE_SERVER) != 0;
    }
    qsort(nodes, assembly->n_nodes, sizeof(*nodes), node_compare);
    return addresses_check(assembly, nodes);
}

/* Assembles all nodes, and keeps the config of the chosen one. */
static enum yk_err
each_assemble(struct yk_assembly *assembly, const char *const *names,
              const struct yk_draft_section *chosen, struct yk_config **ret_config)
{
    struct yk_config *kept = NULL;
    for (uint32_t i = 0; i < assembly->n_nodes; i++) {
        enum yk_err err = YK_OK;
        assembly->node = yk_draft_find(assembly->draft, YK_SECTION_NODE, names[i]);
        assembly->is_chosen = assembly->node == chosen;
        struct yk_config *config = node_assemble(assembly, &err);
        if (err != YK_OK) {
            yk_config_free(kept);
            return err;
        }
        if (assembly->is_chosen) {
            kept = config;
        } else {
            yk_config_free(config);
        }
    }
    *ret_config = kept;
    return YK_OK;
}

static enum yk_err
nodes_assemble(const struct yk_config_source *source, const struct yk_draft *draft,
               const struct yk_draft_section *chosen, struct yk_config **ret_config, char *error)
{
    g_autofree const char **names = yk_draft_names(draft, YK_SECTION_NODE);
    struct yk_assembly assembly = {
        .source = source,
        .draft = draft,
        .n_nodes = g_strv_length((char **)(uintptr_t)names),
        .error = error,
    };
    if (assembly.n_nodes > YK_NODES_MAX) {
        const struct yk_place place = {.file = draft->file, .line = 1};
        return yk_place_fail(&place, YK_ETOOLARGE, error,
                             "the file has %u nodes, and a cluster has at most %d",
                             assembly.n_nodes, YK_NODES_MAX);
    }
    struct yk_node_config *nodes = g_new0(struct yk_node_config, assembly.n_nodes);
    assembly.nodes = nodes;
    enum yk_err err = nodes_read(&assembly, names, chosen, nodes);
    if (err == YK_OK) {
        err = each_assemble(&assembly, names, chosen, ret_config);
    }
    nodes_free(nodes, assembly.n_nodes);
    return err;
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
        err = node_choose(&draft, source->node, source->takes_any, &chosen, error);
    }
    if (err == YK_OK) {
        err = nodes_assemble(source, &draft, chosen, ret_config, error);
    }
    yk_draft_done(&draft);
    return err;
}
