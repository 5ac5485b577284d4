/* [node NAME]. */
#include <config.h>

#include "core/config/assembly.h"

static enum yk_err
roles_read(struct yk_assembly *assembly, const struct yk_fields *fields)
{
    uint32_t roles = 0;
    const char *const *names = yk_field_list(fields, YK_NODE_ROLES);
    for (; *names != NULL; names++) {
        uint32_t role = 0;
        while (yk_role_names[role] != NULL && strcmp(*names, yk_role_names[role]) != 0) {
            role++;
        }
        if (yk_role_names[role] == NULL) {
            char reason[YK_ERROR_SIZE];
            yk_unknown_name("role", *names, NULL, yk_role_names, reason);
            return yk_place_fail(&fields->fields[YK_NODE_ROLES].place, YK_EINVALID, assembly->error,
                                 "%s", reason);
        }
        if (roles & (1u << role)) {
            return yk_field_fail(fields, YK_NODE_ROLES, YK_EINVALID, assembly->error,
                                 "names %s twice: keep one", *names);
        }
        roles |= 1u << role;
    }
    if (roles == 0) {
        roles = YK_ROLE_SERVER | YK_ROLE_GATEWAY | (assembly->n_nodes == 1 ? YK_ROLE_MANAGER : 0);
    }
    assembly->config->node.roles = roles;
    return YK_OK;
}

static enum yk_err
workers_read(struct yk_assembly *assembly, const struct yk_fields *fields)
{
    static const struct yk_option number = {
        .struct_size = YK_OPTION_HEAD, .type = YK_OPTION_UINT, .min = 1, .max = YK_WORKERS_MAX};
    const char *text = yk_field_text(fields, YK_NODE_WORKERS);
    if (strcmp(text, "auto") == 0) {
        assembly->config->node.workers = 0;
        return YK_OK;
    }
    struct yk_option_parsed parsed;
    char reason[YK_ERROR_SIZE];
    if (*text == '\0' || yk_option_parse(&number, text, &parsed, reason) != YK_OK) {
        return yk_field_fail(fields, YK_NODE_WORKERS, YK_EINVALID, assembly->error,
                             "is not a number of threads: write auto, or 1 to %d", YK_WORKERS_MAX);
    }
    assembly->config->node.workers = (uint32_t)parsed.value.number;
    yk_option_parsed_done(&parsed);
    return YK_OK;
}

static enum yk_err
address_check(const struct yk_assembly *assembly, const struct yk_fields *fields)
{
    struct yk_address address;
    char reason[YK_ERROR_SIZE];
    enum yk_err err = yk_address_parse(yk_field_text(fields, YK_NODE_ADDRESS), &address, reason);
    if (err != YK_OK) {
        return yk_place_fail(&fields->fields[YK_NODE_ADDRESS].place, err, assembly->error,
                             "address: %s", reason);
    }
    if (address.kind != YK_ADDRESS_INET && address.kind != YK_ADDRESS_INET6) {
        return yk_field_fail(
            fields, YK_NODE_ADDRESS, YK_EINVALID, assembly->error,
            "is not reached from other nodes: write IP:PORT, such as 127.0.0.1:19800");
    }
    if (assembly->n_nodes > 1 && !fields->fields[YK_NODE_ADDRESS].is_given) {
        return yk_place_fail(&fields->fields[YK_NODE_ADDRESS].place, YK_EINVALID, assembly->error,
                             "[node %s] has no address, and the file has %u nodes: give each an "
                             "address of its own",
                             assembly->node->name, assembly->n_nodes);
    }
    if (!address.is_loopback && yk_field_number(fields, YK_NODE_ALLOW_REMOTE) == 0) {
        return yk_place_fail(
            &fields->fields[YK_NODE_ADDRESS].place, YK_EDENIED, assembly->error,
            "address: other machines can reach '%s', and there is no authentication between "
            "nodes; take 127.0.0.1:%u, or allow it in words: allow_remote = yes",
            yk_field_text(fields, YK_NODE_ADDRESS), address.port);
    }
    return YK_OK;
}

static enum yk_err
zone_check(const struct yk_assembly *assembly, const struct yk_fields *fields)
{
    const char *zone = yk_field_text(fields, YK_NODE_ZONE);
    if (*zone == '\0' || yk_name_is_valid(zone)) {
        return YK_OK;
    }
    return yk_field_fail(fields, YK_NODE_ZONE, YK_EINVALID, assembly->error,
                         "is not a name: use a-z, 0-9, _ and -");
}

static void
node_fill(struct yk_node_config *node, const char *name, const struct yk_fields *fields)
{
    const char *data = yk_field_text(fields, YK_NODE_DATA);
    node->name = g_strdup(name);
    node->address = g_strdup(yk_field_text(fields, YK_NODE_ADDRESS));
    node->allow_remote = yk_field_number(fields, YK_NODE_ALLOW_REMOTE) != 0;
    node->data = *data != '\0' ? g_strdup(data) : NULL;
    node->zone = g_strdup(yk_field_text(fields, YK_NODE_ZONE));
    node->weight = (uint32_t)yk_field_number(fields, YK_NODE_WEIGHT);
    node->lanes = (uint32_t)yk_field_number(fields, YK_NODE_LANES);
    node->executors = (uint32_t)yk_field_number(fields, YK_NODE_EXECUTORS);
    node->journal_size = yk_field_number(fields, YK_NODE_JOURNAL_SIZE);
    node->gateway_cache = yk_field_number(fields, YK_NODE_GATEWAY_CACHE);
    node->io = (enum yk_io_engine)yk_field_number(fields, YK_NODE_IO);
    node->scheduling = (enum yk_scheduling)yk_field_number(fields, YK_NODE_SCHEDULING);
    node->connections_max = (uint32_t)yk_field_number(fields, YK_NODE_MAX_CONNECTIONS);
    node->log_level = YK_LOG_ERROR + (enum yk_log_level)yk_field_number(fields, YK_NODE_LOG_LEVEL);
}

enum yk_err
yk_assemble_node(struct yk_assembly *assembly)
{
    struct yk_fields fields;
    struct yk_node_config *node = &assembly->config->node;
    node->line = assembly->draft->file != NULL ? assembly->node->place.line : 0;
    enum yk_err err = yk_assemble_fields(assembly, assembly->node, &fields);
    if (err == YK_OK) {
        node_fill(node, assembly->node->name, &fields);
        err = roles_read(assembly, &fields);
    }
    if (err == YK_OK) {
        err = workers_read(assembly, &fields);
    }
    if (err == YK_OK) {
        err = address_check(assembly, &fields);
    }
    if (err == YK_OK) {
        err = zone_check(assembly, &fields);
    }
    yk_fields_done(&fields);
    return err;
}
