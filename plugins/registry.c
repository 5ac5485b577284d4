/* The registry: every module file on the path, each loaded when it is first asked for. */
#include <config.h>

#include "plugins/plugins.h"

#include <string.h>

#include <glib.h>

#include "core/base/options.h"
#include "plugins/loader.h"
#include "plugins/path.h"

struct yk_plugins {
    char *path;                       /* as searched, for messages; own */
    struct yk_plugins_entry *entries; /* sorted by name; own, with their texts */
    bool *is_loaded;                  /* one for each entry: loaded or refused; own */
    size_t n_entries;
};

struct yk_plugins *
yk_plugins_new(const char *path)
{
    struct yk_plugins *plugins = g_new0(struct yk_plugins, 1);
    plugins->path = path != NULL ? g_strdup(path) : yk_plugins_path_default();
    g_autoptr(GPtrArray) files = yk_plugins_path_files(plugins->path);
    plugins->n_entries = files->len;
    plugins->entries = g_new0(struct yk_plugins_entry, files->len + 1);
    plugins->is_loaded = g_new0(bool, files->len + 1);
    for (guint i = 0; i < files->len; i++) {
        const struct yk_plugins_file *file = g_ptr_array_index(files, i);
        plugins->entries[i] =
            (struct yk_plugins_entry){.name = g_strdup(file->name), .file = g_strdup(file->file)};
    }
    return plugins;
}

void
yk_plugins_free(struct yk_plugins *plugins)
{
    if (plugins == NULL) {
        return;
    }
    for (size_t i = 0; i < plugins->n_entries; i++) {
        g_free((char *)plugins->entries[i].name);
        g_free((char *)plugins->entries[i].file);
        g_free((char *)plugins->entries[i].reason);
    }
    g_free(plugins->entries);
    g_free(plugins->is_loaded);
    g_free(plugins->path);
    g_free(plugins);
}

static const struct yk_plugins_entry *
load_entry(struct yk_plugins *plugins, size_t index)
{
    struct yk_plugins_entry *entry = &plugins->entries[index];
    if (!plugins->is_loaded[index]) {
        char reason[YK_ERROR_SIZE] = "";
        plugins->is_loaded[index] = true;
        entry->plugin = yk_plugins_load(entry->file, entry->name, reason);
        entry->reason = entry->plugin == NULL ? g_strdup(reason) : NULL;
    }
    return entry;
}

const struct yk_plugins_entry *
yk_plugins_list(struct yk_plugins *plugins, size_t *ret_n)
{
    for (size_t i = 0; i < plugins->n_entries; i++) {
        load_entry(plugins, i);
    }
    *ret_n = plugins->n_entries;
    return plugins->entries;
}

/* Says that there is no such plugin. The nearest known name is one of the same kind, so that
 * following the advice leads on; to know their kinds all have to be loaded. */
static void
say_unknown(struct yk_plugins *plugins, enum yk_plugin_kind kind, const char *name, char *error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (size_t i = 0; i < plugins->n_entries; i++) {
        const struct yk_plugins_entry *entry = load_entry(plugins, i);
        if (entry->plugin != NULL && entry->plugin->kind == kind) {
            g_ptr_array_add(names, (gpointer)entry->name);
        }
    }
    g_ptr_array_add(names, NULL);
    const char *nearest = yk_nearest_name(name, (const char *const *)names->pdata);
    g_autofree char *known = names->len > 1 ? g_strjoinv(", ", (char **)names->pdata) : NULL;
    g_autofree char *advice = nearest != NULL ? g_strdup_printf("did you mean '%s'?", nearest)
                              : known != NULL ? g_strdup_printf("there are: %s", known)
                                              : g_strdup("there is none at all");
    g_snprintf(error, YK_ERROR_SIZE, "no %s is named '%.*s'; %s (searched %s)",
               yk_plugins_kind_name(kind), YK_NAME_SIZE_MAX, name, advice, plugins->path);
}

const struct yk_plugin *
yk_plugins_find(struct yk_plugins *plugins, enum yk_plugin_kind kind, const char *name, char *error)
{
    for (size_t i = 0; i < plugins->n_entries; i++) {
        if (strcmp(plugins->entries[i].name, name) != 0) {
            continue;
        }
        const struct yk_plugins_entry *entry = load_entry(plugins, i);
        if (entry->plugin == NULL) {
            g_snprintf(error, YK_ERROR_SIZE, "%s: %s", entry->file, entry->reason);
            return NULL;
        }
        if (entry->plugin->kind != kind) {
            g_snprintf(error, YK_ERROR_SIZE, "%s: %s is a %s, not a %s", entry->file, name,
                       yk_plugins_kind_name(entry->plugin->kind), yk_plugins_kind_name(kind));
            return NULL;
        }
        return entry->plugin;
    }
    say_unknown(plugins, kind, name, error);
    return NULL;
}
