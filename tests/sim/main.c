/* sim: runs seeds. Each is run twice, and the two traces must be the same, byte for byte.
 *
 *     sim                      three hundred seeds, as a TAP test
 *     sim --seed=X             one seed; --trace prints what happened
 *     sim --first=X --count=N  N seeds from X on
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/simulation.h"

struct arguments {
    gint64 seed, first, count, commands;
    gboolean trace;
    gboolean tap;
};

struct totals {
    uint64_t n_operations, n_undecided, n_failed;
};

static bool
run_seed(struct yk_plugins *plugins, uint64_t seed, const struct arguments *arguments,
         struct totals *totals)
{
    struct simulation_result first, second;
    simulation_run(plugins, seed, (uint32_t)arguments->commands, &first);
    if (arguments->trace) {
        fputs(first.trace->str, stdout);
    }
    bool is_right = first.failure->len == 0;
    if (is_right) {
        simulation_run(plugins, seed, (uint32_t)arguments->commands, &second);
        if (!g_string_equal(first.trace, second.trace)) {
            g_string_append(first.failure, "two runs of the seed differ");
            is_right = false;
        }
        simulation_result_done(&second);
    }
    totals->n_operations += first.n_operations;
    totals->n_undecided += first.is_undecided ? 1 : 0;
    if (!is_right) {
        printf("# seed %" G_GUINT64_FORMAT " (%" G_GUINT64_FORMAT " operations): %s\n# with\n",
               seed, first.n_operations, first.failure->str);
        g_auto(GStrv) lines = g_strsplit(first.options->str, "\n", -1);
        for (char **line = lines; *line != NULL; line++) {
            printf("#     %s\n", *line);
        }
        printf("# again: tests/sim/sim --seed=%" G_GUINT64_FORMAT " --commands=%" G_GINT64_FORMAT
               " --trace\n",
               seed, arguments->commands);
    }
    simulation_result_done(&first);
    return is_right;
}

static uint64_t
run_seeds(struct yk_plugins *plugins, const struct arguments *arguments)
{
    struct totals totals = {0, 0, 0};
    gint64 n = 0;
    for (; n < arguments->count && totals.n_failed < 5; n++) {
        uint64_t seed = (uint64_t)(arguments->first + n);
        totals.n_failed += run_seed(plugins, seed, arguments, &totals) ? 0 : 1;
        if (arguments->count > 1000 && n % 1000 == 999) {
            fprintf(stderr, "# %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT "\n", n + 1,
                    arguments->count);
        }
    }
    printf("# %" G_GINT64_FORMAT " seeds from %" G_GINT64_FORMAT ", %" G_GUINT64_FORMAT
           " operations, %" G_GUINT64_FORMAT " histories undecided\n",
           n, arguments->first, totals.n_operations, totals.n_undecided);
    return totals.n_failed;
}

int
main(int argc, char **argv)
{
    struct arguments arguments = {.seed = -1, .first = 1, .count = 300, .commands = 300};
    const GOptionEntry entries[] = {
        {"seed", 0, 0, G_OPTION_ARG_INT64, &arguments.seed, "Runs this seed only", "X"},
        {"first", 0, 0, G_OPTION_ARG_INT64, &arguments.first, "The first seed", "X"},
        {"count", 0, 0, G_OPTION_ARG_INT64, &arguments.count, "How many seeds", "N"},
        {"commands", 0, 0, G_OPTION_ARG_INT64, &arguments.commands, "Commands in a run", "N"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &arguments.trace, "Prints what happens", NULL},
        {"tap", 0, 0, G_OPTION_ARG_NONE, &arguments.tap, "As make check calls it", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- simulate a node from seeds");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "sim: %s\n", error->message);
        return 2;
    }
    if (arguments.tap && getenv("YK_LONG") != NULL) {
        arguments.count = 5000;
    } else if (arguments.tap && getenv("YK_SLOW") != NULL) {
        arguments.count = 40; /* under a sanitizer */
    }
    if (arguments.seed >= 0) {
        arguments.first = arguments.seed;
        arguments.count = 1;
    }
    struct yk_plugins *plugins = yk_plugins_new(NULL);
    uint64_t n_failed = run_seeds(plugins, &arguments);
    printf("1..1\n%s 1 - every history is linearizable, every run is the same twice\n",
           n_failed == 0 ? "ok" : "not ok");
    yk_plugins_free(plugins);
    return n_failed == 0 ? 0 : 1;
}
