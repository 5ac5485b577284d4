/* The operator's one program: yakumo VERB [OPTION...]. This file finds the verb; the verbs are in
 * files of their own. */
#include <config.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include <yakumo/plugin.h>

#include "core/base/options.h"
#include "tools/verb.h"

static enum exit_code run_help(int argc, char **argv);
static enum exit_code run_version(int argc, char **argv);

static const struct verb verb_help = {"help", "say what can be typed", run_help};
static const struct verb verb_version = {"version", "print the version and the plugin ABI",
                                         run_version};

static const struct verb *const verbs[] = {
    &verb_plugins, &verb_config, &verb_kit,           &verb_bench,   &verb_journal,
    &verb_verify,  &verb_dump,   &verb_load,          &verb_cluster, &verb_up,
    &verb_down,    &verb_status, &verb_check_history, &verb_help,    &verb_version};

static void
print_help(FILE *to)
{
    fprintf(to, "usage: yakumo VERB [OPTION...]\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (verbs[i]->summary != NULL) {
            fprintf(to, "  %-13s %s\n", verbs[i]->name, verbs[i]->summary);
        }
    }
    fprintf(to, "\n'yakumo VERB --help' says more; see also yakumo(1).\n");
}

static enum exit_code
run_help(int argc, char **argv)
{
    if (!verb_options(&verb_help, NULL, NULL, 0, &argc, &argv)) {
        return EXIT_USAGE;
    }
    print_help(stdout);
    return EXIT_DONE;
}

static enum exit_code
run_version(int argc, char **argv)
{
    if (!verb_options(&verb_version, NULL, NULL, 0, &argc, &argv)) {
        return EXIT_USAGE;
    }
    printf("yakumo %s, plugin ABI %u\n", PACKAGE_VERSION, YK_ABI);
    return EXIT_DONE;
}

bool
verb_options(const struct verb *verb, const GOptionEntry *entries, const char *arguments,
             int n_arguments_max, int *argc, char ***argv)
{
    g_autofree char *name = g_strdup_printf("yakumo %s", verb->name);
    g_set_prgname(name);
    g_autoptr(GOptionContext) context = g_option_context_new(arguments);
    g_option_context_set_summary(context, verb->summary);
    g_option_context_set_description(context, verb->help);
    if (entries != NULL) {
        g_option_context_add_main_entries(context, entries, NULL);
    }
    g_autoptr(GError) failure = NULL;
    if (!g_option_context_parse(context, argc, argv, &failure)) {
        fprintf(stderr, "%s: %s; try --help\n", name, failure->message);
        return false;
    }
    if (*argc - 1 > n_arguments_max) {
        fprintf(stderr, "%s: '%s' is too much; try --help\n", name, (*argv)[n_arguments_max + 1]);
        return false;
    }
    return true;
}

static const struct verb *
verb_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (strcmp(verbs[i]->name, name) == 0) {
            return verbs[i];
        }
    }
    return NULL;
}

static enum exit_code
say_unknown(const char *name)
{
    const char *names[G_N_ELEMENTS(verbs) + 1] = {NULL};
    for (size_t i = 0, n = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (verbs[i]->summary != NULL) {
            names[n++] = verbs[i]->name;
        }
    }
    const char *nearest = yk_nearest_name(name, names);
    if (nearest != NULL) {
        fprintf(stderr, "yakumo: no verb is named '%s'; did you mean '%s'?\n", name, nearest);
    } else {
        fprintf(stderr, "yakumo: no verb is named '%s'; 'yakumo help' lists them\n", name);
    }
    return EXIT_USAGE;
}

static enum exit_code
run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    const struct verb *verb = verb_find(name);
    return verb != NULL ? verb->run(argc - 1, argv + 1) : say_unknown(name);
}

int
main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    enum exit_code code = run(argc, argv);
    /* What did not reach its file was not done: a man page cut short must not be installed. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("yakumo: cannot write to standard output");
        return EXIT_FAILED;
    }
    return (int)code;
}
