/* yakumo plugins: what the loader finds, what it refuses and why, all of one plugin, and its man
 * page. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include <glib.h>

#include <yakumo/plugin.h>

#include "core/base/options.h"
#include "plugins/path.h"
#include "plugins/plugins.h"
#include "tools/describe.h"
#include "tools/json.h"
#include "tools/man.h"
#include "tools/verb.h"

/* What was typed, and what was found. */
struct job {
    bool is_json;
    uint32_t kind; /* enum yk_plugin_kind; 0: all */
    const struct yk_plugins_entry *entries;
    size_t n_entries;
};

static bool
is_wanted(const struct job *job, const struct yk_plugins_entry *entry)
{
    return job->kind == 0 || (entry->plugin != NULL && entry->plugin->kind == job->kind);
}

static void
put_head_json(GString *json, const struct yk_plugins_entry *entry)
{
    const struct yk_plugin *plugin = entry->plugin;
    json_text(json, "name", entry->name);
    json_text(json, "file", entry->file);
    if (plugin == NULL) {
        json_text(json, "refused", entry->reason);
        return;
    }
    json_text(json, "kind", yk_plugins_kind_name(plugin->kind));
    json_text(json, "version", plugin->version);
    json_text(json, "summary", plugin->summary);
}

static void
list_json(const struct job *job)
{
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '[');
    for (size_t i = 0; i < job->n_entries; i++) {
        if (is_wanted(job, &job->entries[i])) {
            json_open(json, NULL, '{');
            put_head_json(json, &job->entries[i]);
            json_close(json, '}');
        }
    }
    json_close(json, ']');
    puts(json->str);
}

enum { N_COLUMNS = 4 }; /* that are padded; the file comes behind them */

static void
row_of(const struct yk_plugin *plugin, const char *row[N_COLUMNS])
{
    row[0] = yk_plugins_kind_name(plugin->kind);
    row[1] = plugin->name;
    row[2] = plugin->version;
    row[3] = plugin->summary;
}

static void
print_row(const char *const row[N_COLUMNS], const size_t widths[N_COLUMNS], const char *file)
{
    for (size_t k = 0; k < N_COLUMNS; k++) {
        printf("%-*s  ", (int)widths[k], row[k]);
    }
    puts(file);
}

static void
list_text(const struct job *job)
{
    const char *row[N_COLUMNS] = {"KIND", "NAME", "VERSION", "SUMMARY"};
    size_t widths[N_COLUMNS];
    for (size_t k = 0; k < N_COLUMNS; k++) {
        widths[k] = strlen(row[k]);
    }
    const char *cells[N_COLUMNS];
    for (size_t i = 0; i < job->n_entries; i++) {
        if (job->entries[i].plugin != NULL && is_wanted(job, &job->entries[i])) {
            row_of(job->entries[i].plugin, cells);
            for (size_t k = 0; k < N_COLUMNS; k++) {
                widths[k] = MAX(widths[k], strlen(cells[k]));
            }
        }
    }
    print_row(row, widths, "FILE");
    for (size_t i = 0; i < job->n_entries; i++) {
        if (job->entries[i].plugin != NULL && is_wanted(job, &job->entries[i])) {
            row_of(job->entries[i].plugin, cells);
            print_row(cells, widths, job->entries[i].file);
        }
    }
    for (size_t i = 0; i < job->n_entries; i++) {
        /* What is refused has no kind to be chosen by. */
        if (job->entries[i].plugin == NULL && job->kind == 0) {
            printf("refused: %s: %s\n", job->entries[i].file, job->entries[i].reason);
        }
    }
}

static enum exit_code
list(const struct job *job)
{
    if (job->is_json) {
        list_json(job);
        return EXIT_DONE;
    }
    if (job->n_entries == 0) {
        g_autofree char *path = yk_plugins_path_default();
        fprintf(stderr, "yakumo plugins: found none in %s\n", path);
        return EXIT_FAILED;
    }
    list_text(job);
    return EXIT_DONE;
}

static void
dump_json(const struct job *job, const struct yk_plugins_entry *entry)
{
    const struct yk_plugin *plugin = entry->plugin;
    g_autoptr(GString) json = g_string_new(NULL);
    g_autofree char *section = describe_section(plugin);
    json_open(json, NULL, '{');
    put_head_json(json, entry);
    json_number(json, "abi", plugin->abi);
    json_number(json, "kind_abi", plugin->kind_abi);
    json_text(json, "details", plugin->details);
    json_text(json, "section", section);
    json_open(json, "options", '[');
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct yk_option *option = &plugin->options[i];
        json_open(json, NULL, '{');
        json_text(json, "name", option->name);
        json_text(json, "type", describe_type(option));
        json_text(json, "default", option->fallback);
        json_number(json, "min", option->min);
        json_number(json, "max", option->max);
        if (option->type == YK_OPTION_ENUM) {
            json_open(json, "choices", '[');
            for (size_t k = 0; option->choices[k] != NULL; k++) {
                json_text(json, NULL, option->choices[k]);
            }
            json_close(json, ']');
        }
        json_bool(json, "reload", (option->flags & YK_OPTION_RELOAD) != 0);
        json_bool(json, "fixed", (option->flags & YK_OPTION_FIXED) != 0);
        json_text(json, "help", option->help);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
    puts(json->str);
}

static void
print_indented(const char *text, const char *indent)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (size_t i = 0; lines[i] != NULL; i++) {
        printf("%s%s\n", lines[i][0] != '\0' ? indent : "", lines[i]);
    }
}

static void
dump_text(const struct job *job, const struct yk_plugins_entry *entry)
{
    const struct yk_plugin *plugin = entry->plugin;
    g_autofree char *section = describe_section(plugin);
    printf("%s: %s\n", plugin->name, plugin->summary);
    printf("kind     %s\n", yk_plugins_kind_name(plugin->kind));
    printf("version  %s\n", plugin->version);
    printf("abi      %u, %s %u\n", plugin->abi, yk_plugins_kind_name(plugin->kind),
           plugin->kind_abi);
    printf("file     %s\n", entry->file);
    if (plugin->details != NULL) {
        printf("\n");
        print_indented(plugin->details, "");
    }
    printf("\n%s%s\n", section, plugin->n_options == 0 ? " has no options." : "");
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct yk_option *option = &plugin->options[i];
        g_autofree char *bounds = describe_bounds(option);
        printf("\n%s = %s\n", option->name, option->fallback != NULL ? option->fallback : "");
        printf("    %s%s%s; %s\n", describe_type(option), bounds != NULL ? ", " : "",
               bounds != NULL ? bounds : "", describe_change(option));
        print_indented(option->help, "    ");
    }
}

static void
print_man(const struct job *job, const struct yk_plugins_entry *entry)
{
    g_autoptr(GString) page = g_string_new(NULL);
    man_plugin(page, entry->plugin);
    fputs(page->str, stdout);
}

/* The entry of that name, or NULL, said on standard error. */
static const struct yk_plugins_entry *
entry_find(const struct job *job, const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (size_t i = 0; i < job->n_entries; i++) {
        const struct yk_plugins_entry *entry = &job->entries[i];
        if (strcmp(entry->name, name) == 0 && entry->plugin == NULL) {
            fprintf(stderr, "yakumo plugins: %s: %s\n", entry->file, entry->reason);
            return NULL;
        }
        if (strcmp(entry->name, name) == 0 && is_wanted(job, entry)) {
            return entry;
        }
        if (is_wanted(job, entry)) {
            g_ptr_array_add(names, (gpointer)entry->name);
        }
    }
    g_ptr_array_add(names, NULL);
    const char *nearest = yk_nearest_name(name, (const char *const *)names->pdata);
    fprintf(stderr, "yakumo plugins: no %s is named '%s'%s%s%s\n",
            job->kind != 0 ? yk_plugins_kind_name(job->kind) : "plugin", name,
            nearest != NULL ? "; did you mean '" : "; 'yakumo plugins' lists them",
            nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
    return NULL;
}

/* False: no kind of that name, said on standard error. */
static bool
kind_find(const char *text, uint32_t *ret_kind)
{
    g_autofree char *wanted = g_strdelimit(g_strdup(text), "-_", ' ');
    for (uint32_t kind = YK_KIND_FRONTEND; kind <= YK_KIND_COORDINATOR; kind++) {
        if (strcmp(wanted, yk_plugins_kind_name(kind)) == 0) {
            *ret_kind = kind;
            return true;
        }
    }
    fprintf(stderr,
            "yakumo plugins: no kind is named '%s'; there are frontend, backend, filter, "
            "request-filter, coordinator\n",
            text);
    return false;
}

static enum exit_code
show(const struct job *job, const char *name,
     void (*print)(const struct job *job, const struct yk_plugins_entry *entry))
{
    const struct yk_plugins_entry *entry = entry_find(job, name);
    if (entry == NULL) {
        return EXIT_FAILED;
    }
    print(job, entry);
    return EXIT_DONE;
}

static enum exit_code
run(int argc, char **argv)
{
    gboolean is_json = false;
    g_autofree char *kind = NULL;
    g_autofree char *dump = NULL;
    g_autofree char *man = NULL;
    const GOptionEntry entries[] = {
        {"kind", 'k', 0, G_OPTION_ARG_STRING, &kind, "only plugins of this kind", "KIND"},
        {"dump", 'd', 0, G_OPTION_ARG_STRING, &dump, "all of one plugin, with its options", "NAME"},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &is_json, "print JSON", NULL},
        {"man", 'm', 0, G_OPTION_ARG_STRING, &man, "the man page of one plugin, in roff", "NAME"},
        {NULL}};
    if (!verb_options(&verb_plugins, entries, NULL, 0, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (dump != NULL && man != NULL) {
        fprintf(stderr, "yakumo plugins: --dump and --man do not go together\n");
        return EXIT_USAGE;
    }
    struct job job = {.is_json = is_json};
    if (kind != NULL && !kind_find(kind, &job.kind)) {
        return EXIT_USAGE;
    }
    struct yk_plugins *plugins = yk_plugins_new(NULL);
    job.entries = yk_plugins_list(plugins, &job.n_entries);
    enum exit_code code = dump != NULL  ? show(&job, dump, is_json ? dump_json : dump_text)
                          : man != NULL ? show(&job, man, print_man)
                                        : list(&job);
    yk_plugins_free(plugins);
    return code;
}

const struct verb verb_plugins = {"plugins", "list the plugins, or show one with its options", run};
