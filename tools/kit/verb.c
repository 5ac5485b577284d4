/* yakumo kit KIND NAME [key=value...]: what was typed, the plugin that is meant, and its kit. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "plugins/loader.h"
#include "plugins/plugins.h"
#include "tools/kit/kit.h"
#include "tools/verb.h"

enum { ARGUMENTS_MAX = 256 };

static const struct kind {
    const char *word;
    uint32_t kinds[2]; /* enum yk_plugin_kind, 0: none */
} kinds[] = {
    {"backend", {YK_KIND_BACKEND, 0}},
    {"filter", {YK_KIND_FILTER, YK_KIND_REQUEST_FILTER}},
};

static const struct kit_part *
parts_of(uint32_t kind)
{
    return kind == YK_KIND_BACKEND  ? kit_backend_parts
           : kind == YK_KIND_FILTER ? kit_filter_parts
                                    : kit_request_filter_parts;
}

static const struct kind *
kind_find(const char *word)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (strcmp(kinds[i].word, word) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* A file is loaded under the name that it has; anything else is looked for on the plugin path. */
static const struct yk_plugin *
plugin_find(const struct kind *kind, const char *name, char *error)
{
    const struct yk_plugin *plugin = NULL;
    if (strchr(name, '/') != NULL) {
        g_autofree char *base = g_path_get_basename(name);
        char *dot = strrchr(base, '.');
        if (dot != NULL) {
            *dot = '\0';
        }
        plugin = yk_plugins_load(name, base, error);
        if (plugin != NULL && plugin->kind != kind->kinds[0] && plugin->kind != kind->kinds[1]) {
            g_snprintf(error, YK_ERROR_SIZE, "is a %s, not a %s",
                       yk_plugins_kind_name(plugin->kind), kind->word);
            plugin = NULL;
        }
        return plugin;
    }
    struct yk_plugins *plugins = yk_plugins_new(NULL);
    char ignored[YK_ERROR_SIZE];
    plugin = yk_plugins_find(plugins, (enum yk_plugin_kind)kind->kinds[0], name, error);
    if (plugin == NULL && kind->kinds[1] != 0) {
        plugin = yk_plugins_find(plugins, (enum yk_plugin_kind)kind->kinds[1], name, ignored);
    }
    yk_plugins_free(plugins);
    return plugin;
}

/* key=value; NULL: said on standard error. */
static struct yk_settings *
settings_read(const struct yk_plugin *plugin, char **arguments, int n_arguments)
{
    struct yk_settings *settings = yk_settings_new(plugin, plugin->name);
    for (int i = 0; i < n_arguments; i++) {
        g_auto(GStrv) pair = g_strsplit(arguments[i], "=", 2);
        char error[YK_ERROR_SIZE] = "";
        if (pair[0] == NULL || pair[1] == NULL) {
            g_snprintf(error, sizeof(error), "'%s' is no key=value", arguments[i]);
        } else if (yk_settings_set(settings, g_strstrip(pair[0]), g_strstrip(pair[1]), error) ==
                   YK_OK) {
            continue;
        }
        fprintf(stderr, "yakumo kit: %s\n", error);
        yk_settings_free(settings);
        return NULL;
    }
    return settings;
}

static bool
exceptions_read(char **words, bool *is_excepted)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        enum kit_rule rule;
        if (!kit_rule_find(words[i], &rule)) {
            fprintf(stderr, "yakumo kit: no rule is named '%s'\n", words[i]);
            return false;
        }
        is_excepted[rule] = true;
    }
    return true;
}

static bool
part_is_known(const struct kit_part *parts, const char *name)
{
    if (name == NULL) {
        return true;
    }
    g_autoptr(GString) known = g_string_new(NULL);
    for (size_t i = 0; parts[i].name != NULL; i++) {
        if (strcmp(parts[i].name, name) == 0) {
            return true;
        }
        g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", parts[i].name);
    }
    fprintf(stderr, "yakumo kit: no part is named '%s'; there are %s\n", name, known->str);
    return false;
}

/* What to type to have the same again. */
static char *
command_of(const struct kit *kit, char **argv, int argc)
{
    GString *command = g_string_new("yakumo kit");
    for (int i = 1; i < argc; i++) {
        g_autofree char *quoted = g_shell_quote(argv[i]);
        bool is_plain = strpbrk(argv[i], " '\"$&|;<>()`\\*?!#~") == NULL && argv[i][0] != '\0';
        g_string_append_printf(command, " %s", is_plain ? argv[i] : quoted);
    }
    g_string_append_printf(command, " --seed=%llu --rounds=%u --ops=%u",
                           (unsigned long long)kit->seed, kit->rounds, kit->ops);
    if (kit->transcripts != NULL) {
        g_autofree char *quoted = g_shell_quote(kit->transcripts);
        g_string_append_printf(command, " --transcripts=%s", quoted);
    }
    return g_string_free(command, FALSE);
}

static enum exit_code
hold(struct kit *kit, const char *only, const bool *is_excepted, bool is_json, const char *command)
{
    const struct kit_part *parts = parts_of(kit->plugin->kind);
    if (!part_is_known(parts, only)) {
        return EXIT_USAGE;
    }
    struct kit_results *results = kit_results_new();
    bool has_run =
        kit_run(kit, parts, only, is_excepted, !is_json && isatty(STDERR_FILENO), results);
    if (has_run) {
        (is_json ? kit_print_json : kit_print)(kit, results, command);
    }
    enum exit_code code = has_run && kit_n_failures(results) == 0 ? EXIT_DONE : EXIT_FAILED;
    kit_results_free(results);
    return code;
}

static enum exit_code
run(int argc, char **argv)
{
    gint64 seed = 1;
    gint rounds = 10, ops = 2000;
    gboolean is_json = FALSE;
    bool is_excepted[KIT_N_RULES] = {false};
    g_autofree char *only = NULL, *transcripts = NULL;
    g_auto(GStrv) exceptions = NULL;
    char error[YK_ERROR_SIZE] = "";
    const GOptionEntry entries[] = {
        {"seed", 's', 0, G_OPTION_ARG_INT64, &seed, "of all that is random (1)", "N"},
        {"rounds", 'r', 0, G_OPTION_ARG_INT, &rounds, "how often parts are done again (10)", "N"},
        {"ops", 'o', 0, G_OPTION_ARG_INT, &ops, "calls in one round (2000)", "N"},
        {"part", 'p', 0, G_OPTION_ARG_STRING, &only, "only this part", "NAME"},
        {"except", 'x', 0, G_OPTION_ARG_STRING_ARRAY, &exceptions,
         "a rule that the plugin is known to break: told, no failure; may be repeated", "RULE"},
        {"transcripts", 't', 0, G_OPTION_ARG_FILENAME, &transcripts,
         "folder of a frontend's transcripts", "DIR"},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &is_json, "print JSON", NULL},
        {NULL}};
    if (!verb_options(&verb_kit, entries, "backend|filter|frontend NAME|FILE [KEY=VALUE...]",
                      ARGUMENTS_MAX, &argc, &argv)) {
        return EXIT_USAGE;
    }
    const struct kind *kind = argc >= 3 ? kind_find(argv[1]) : NULL;
    if (kind == NULL || rounds < 1 || ops < 1 || !exceptions_read(exceptions, is_excepted)) {
        fprintf(stderr, "yakumo kit: type a kind (backend, filter or frontend) and a name; --seed, "
                        "--rounds and --ops are 1 or more; try --help\n");
        return EXIT_USAGE;
    }
    struct kit kit = {.seed = (uint64_t)seed,
                      .rounds = (uint32_t)rounds,
                      .ops = (uint32_t)ops,
                      .transcripts = transcripts};
    kit.plugin = plugin_find(kind, argv[2], error);
    if (kit.plugin == NULL) {
        fprintf(stderr, "yakumo kit: %s: %s\n", argv[2], error);
        return EXIT_USAGE;
    }
    kit.settings = settings_read(kit.plugin, argv + 3, argc - 3);
    if (kit.settings == NULL) {
        return EXIT_USAGE;
    }
    g_autofree char *command = command_of(&kit, argv, argc);
    enum exit_code code = hold(&kit, only, is_excepted, is_json, command);
    yk_settings_free(kit.settings);
    return code;
}

const struct verb verb_kit = {"kit", "hold a plugin to what the headers promise", run};
