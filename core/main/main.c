/* yakumod: the command line. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "core/main/daemon.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct arguments {
    char *file;
    char *node;
    char **overrides;
    gboolean check, dump, version;
};

static bool
parse_arguments(struct arguments *arguments, int *argc, char ***argv)
{
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &arguments->file,
         "The config file; see yakumo-config(5)", "FILE"},
        {"node", 0, 0, G_OPTION_ARG_STRING, &arguments->node, "Which of the file's nodes to run",
         "NAME"},
        {"option", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &arguments->overrides,
         "Overrides one key; may be given several times", "SECTION.KEY=VALUE"},
        {"check-config", 0, 0, G_OPTION_ARG_NONE, &arguments->check, "Checks the config and ends",
         NULL},
        {"dump-config", 0, 0, G_OPTION_ARG_NONE, &arguments->dump,
         "Prints the effective config, defaults included, and ends", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &arguments->version, "Prints the version", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- serve a yakumo store");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(
        context, "Without -c: one node on 127.0.0.1, a cache on memcached's port 11211.");
    if (!g_option_context_parse(context, argc, argv, &error)) {
        fprintf(stderr, "yakumod: %s; see --help\n", error->message);
        return false;
    }
    if (*argc > 1) {
        fprintf(stderr, "yakumod: \"%s\" is one word too many; see --help\n", (*argv)[1]);
        return false;
    }
    return true;
}

static int
run(const struct arguments *arguments)
{
    char error[YK_ERROR_SIZE];
    struct yk_start_options options = {arguments->file, arguments->node,
                                       (const char *const *)arguments->overrides};
    struct yk_plugins *plugins = yk_plugins_new(NULL);
    struct yk_config *config;
    int status = 0;
    if (yk_start_read_config(&options, plugins, &config, error) != YK_OK) {
        fprintf(stderr, "yakumod: %s\n", error);
        yk_plugins_free(plugins);
        return EXIT_FAILED;
    }
    if (arguments->dump) {
        g_autofree char *text = yk_config_dump(config);
        fputs(text, stdout);
        yk_config_free(config);
    } else if (arguments->check) {
        printf("%s: ok\n", arguments->file != NULL ? arguments->file : "built-in config");
        yk_config_free(config);
    } else {
        status = yk_daemon_run(&options, plugins, config);
    }
    yk_plugins_free(plugins);
    return status;
}

int
main(int argc, char **argv)
{
    struct arguments arguments = {0};
    int status = EXIT_USAGE;
    if (parse_arguments(&arguments, &argc, &argv)) {
        if (arguments.version) {
            printf("yakumod %s\n", PACKAGE_VERSION);
            status = 0;
        } else {
            status = run(&arguments);
        }
    }
    g_free(arguments.file);
    g_free(arguments.node);
    g_strfreev(arguments.overrides);
    return status;
}
