/* The loader and the registry: finds, checks and keeps modules.
 *
 * Threads: all calls before the first worker starts, by one thread; modules are never unloaded.
 * Ownership: a yk_plugins owns its table; plugin structs are the modules' own and live for ever. */
#ifndef YK_PLUGINS_PLUGINS_H
#define YK_PLUGINS_PLUGINS_H

#include <yakumo/plugin.h>

struct yk_plugins;

/* path: folders with ':' between them, each searched as DIR and DIR/(any)/; NULL: YK_PLUGIN_PATH
 * from the environment (unless the process runs with raised rights), then the installed folder. */
struct yk_plugins *yk_plugins_new(const char *path);
void yk_plugins_free(struct yk_plugins *plugins);

/* The plugin of that kind and name, loaded and checked, once. On failure error (YK_ERROR_SIZE
 * bytes) has the file and the true reason, or the nearest known name. */
const struct yk_plugin *yk_plugins_find(struct yk_plugins *plugins, enum yk_plugin_kind kind,
                                        const char *name, char *error) YK_MUST_CHECK;

/* One module file that was found on the path. plugin NULL: refused, reason says why. */
struct yk_plugins_entry {
    const char *name;
    const char *file;
    const struct yk_plugin *plugin;
    const char *reason;
};

/* Loads all there are, sorted by name; the first file of a name on the path wins. Lives as long as
 * plugins. */
const struct yk_plugins_entry *yk_plugins_list(struct yk_plugins *plugins, size_t *ret_n);

/* "backend", "frontend", "filter", "request filter", "coordinator". */
const char *yk_plugins_kind_name(uint32_t kind);

#endif
