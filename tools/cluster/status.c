/* yakumo status FILE: the cluster as one of its nodes sees it. */
#include <config.h>

#include <stdio.h>

#include <glib.h>

#include "tools/cluster/client.h"
#include "tools/cluster/file.h"
#include "tools/cluster/work.h"
#include "tools/json.h"

bool
cluster_ask(const struct cluster_file *file, struct yk_status *ret_status, char *error)
{
    for (uint32_t i = 0; i < file->config->n_nodes; i++) {
        if (client_status(file->config->nodes[i].address, ret_status, error) == YK_OK) {
            return true;
        }
    }
    return false;
}

static char *
roles_of(uint32_t roles)
{
    return g_strdup_printf("%s%s%s", (roles & YK_ROLE_MANAGER) != 0 ? " manager" : "",
                           (roles & YK_ROLE_SERVER) != 0 ? " server" : "",
                           (roles & YK_ROLE_GATEWAY) != 0 ? " gateway" : "");
}

static const char *
state_of(const struct yk_status_node *node)
{
    return node->id[0] == '\0'  ? "unknown"
           : node->is_attached  ? "attached"
           : node->is_detaching ? "detaching"
                                : "not attached";
}

static void
print_text(const struct yk_status *status)
{
    printf("cluster %s %s, as node %s sees it%s\n", status->cluster_name,
           status->cluster_id[0] != '\0' ? status->cluster_id : "(not made yet)", status->node,
           status->is_ready ? "" : ", which is not ready");
    for (uint32_t i = 0; i < status->n_nodes; i++) {
        const struct yk_status_node *node = &status->nodes[i];
        g_autofree char *roles = roles_of(node->roles);
        printf("node %-12s %-4s %-12s %-22s%s\n", node->name, node->is_up ? "up" : "DOWN",
               state_of(node), node->address, roles);
    }
    for (uint32_t i = 0; i < status->n_buckets; i++) {
        const struct yk_status_bucket *bucket = &status->buckets[i];
        printf("bucket %-10s slots %u, copies %u: with all %u, with fewer %u, with fewer than %u "
               "%u, without primary %u",
               bucket->name, bucket->slots, bucket->copies, bucket->n_full, bucket->n_below,
               bucket->min_copies, bucket->n_below_min, bucket->n_headless);
        printf(bucket->n_lossy > 0 ? ", LOSSY %u\n" : "\n", bucket->n_lossy);
    }
}

static void
print_json(const struct yk_status *status)
{
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "cluster", status->cluster_name);
    json_text(json, "id", status->cluster_id[0] != '\0' ? status->cluster_id : NULL);
    json_text(json, "asked", status->node);
    json_bool(json, "ready", status->is_ready);
    json_number(json, "revision", status->revision);
    json_open(json, "nodes", '[');
    for (uint32_t i = 0; i < status->n_nodes; i++) {
        const struct yk_status_node *node = &status->nodes[i];
        json_open(json, NULL, '{');
        json_text(json, "name", node->name);
        json_text(json, "id", node->id[0] != '\0' ? node->id : NULL);
        json_text(json, "address", node->address);
        json_bool(json, "manager", (node->roles & YK_ROLE_MANAGER) != 0);
        json_bool(json, "server", (node->roles & YK_ROLE_SERVER) != 0);
        json_bool(json, "gateway", (node->roles & YK_ROLE_GATEWAY) != 0);
        json_bool(json, "up", node->is_up);
        json_bool(json, "attached", node->is_attached);
        json_text(json, "state", state_of(node));
        json_close(json, '}');
    }
    json_close(json, ']');
    json_open(json, "buckets", '[');
    for (uint32_t i = 0; i < status->n_buckets; i++) {
        const struct yk_status_bucket *bucket = &status->buckets[i];
        json_open(json, NULL, '{');
        json_text(json, "name", bucket->name);
        json_number(json, "revision", bucket->revision);
        json_bool(json, "fresh", bucket->is_fresh);
        json_number(json, "slots", bucket->slots);
        json_number(json, "copies", bucket->copies);
        json_number(json, "min_copies", bucket->min_copies);
        json_number(json, "full", bucket->n_full);
        json_number(json, "below_copies", bucket->n_below);
        json_number(json, "below_min_copies", bucket->n_below_min);
        json_number(json, "without_primary", bucket->n_headless);
        json_number(json, "lossy", bucket->n_lossy);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
    printf("%s\n", json->str);
}

static enum exit_code
run(int argc, char **argv)
{
    gboolean is_json = FALSE;
    const GOptionEntry entries[] = {
        {"json", 'j', 0, G_OPTION_ARG_NONE, &is_json, "print JSON", NULL}, {NULL}};
    struct cluster_file file;
    char error[YK_ERROR_SIZE];
    if (!verb_options(&verb_status, entries, "FILE", 1, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (!cluster_file_open(&file, "status", argc > 1 ? argv[1] : NULL)) {
        return EXIT_FAILED;
    }
    struct yk_status *status = g_new0(struct yk_status, 1);
    bool is_done = cluster_ask(&file, status, error);
    if (!is_done) {
        cluster_file_say(&file, "no node answers; the last one: %s", error);
    } else if (is_json) {
        print_json(status);
    } else {
        print_text(status);
    }
    g_free(status);
    cluster_file_close(&file);
    return is_done ? EXIT_DONE : EXIT_FAILED;
}

const struct verb verb_status = {
    "status", "show nodes and slots of the cluster of a config file", run,
    "Asks the nodes of the file one after another until one answers.\n"};
