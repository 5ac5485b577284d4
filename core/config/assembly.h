/* The making of one node's config from a draft, and its checks. Private to this room.
 *
 * Threads: belongs to one parse. Ownership: the config under construction belongs to the caller,
 * whatever the outcome. */
#ifndef YK_CONFIG_ASSEMBLY_H
#define YK_CONFIG_ASSEMBLY_H

#include "core/config/tables.h"

struct yk_assembly {
    const struct yk_config_source *source;
    const struct yk_draft *draft;
    const struct yk_draft_section *node; /* whose config it is */
    bool is_chosen;                      /* it is the node that will run: -o node.key counts */
    uint32_t n_nodes;                    /* in the file */
    const struct yk_node_config *nodes;  /* all of them, by name */
    uint32_t n_managers, n_servers;      /* among these */
    GArray *listeners;                   /* struct yk_listener, of the frontends so far */
    struct yk_config *config;            /* being filled */
    char *error;
};

/* An address that a frontend listens on. */
struct yk_listener {
    struct yk_address address;
    const char *text;     /* as written; the config's */
    const char *frontend; /* the section's name; the draft's */
};

/* Parts of the config, in the order in which they are made. */
enum yk_err yk_assemble_node(struct yk_assembly *assembly) YK_MUST_CHECK;
enum yk_err yk_assemble_buckets(struct yk_assembly *assembly) YK_MUST_CHECK;
enum yk_err yk_assemble_frontends(struct yk_assembly *assembly) YK_MUST_CHECK;
/* [backend], [filter] and [coordinator] sections, also those that nothing uses. */
enum yk_err yk_assemble_plugin_sections(struct yk_assembly *assembly) YK_MUST_CHECK;

/* The values of a section all of whose keys stand in the core's table. yk_fields_done also after
 * failure. */
enum yk_err
yk_assemble_fields(const struct yk_assembly *assembly, const struct yk_draft_section *section,
                   struct yk_fields *ret_fields) YK_MUST_CHECK;

/* All options of a plugin at their defaults; place is where its name was written. */
enum yk_err yk_assemble_settings(const struct yk_assembly *assembly, enum yk_plugin_kind kind,
                                 const char *plugin, const char *name, const struct yk_place *place,
                                 struct yk_settings **ret_settings) YK_MUST_CHECK;

/* The same, with what [backend NAME], [filter NAME] or [coordinator NAME] says. */
enum yk_err
yk_assemble_shared(const struct yk_assembly *assembly, enum yk_plugin_kind kind, const char *plugin,
                   const struct yk_place *place, struct yk_settings **ret_settings) YK_MUST_CHECK;

/* The filters that a key lists. *ret_n counts also after failure what is to be freed. */
enum yk_err yk_assemble_stack(const struct yk_assembly *assembly, enum yk_plugin_kind kind,
                              const struct yk_fields *fields, uint32_t key,
                              struct yk_settings ***ret_stack, uint32_t *ret_n) YK_MUST_CHECK;

#endif
