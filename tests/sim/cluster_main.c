/* cluster_sim: runs of a cluster by seed. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "tests/sim/cluster.h"

int
main(int argc, char **argv)
{
    gint64 first = 1;
    gint64 count = 100;
    gboolean traces = FALSE;
    gboolean tap = FALSE;
    const GOptionEntry entries[] = {
        {"first", 0, 0, G_OPTION_ARG_INT64, &first, "The first seed", "X"},
        {"count", 0, 0, G_OPTION_ARG_INT64, &count, "How many seeds", "N"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &traces, "Prints what happens", NULL},
        {"tap", 0, 0, G_OPTION_ARG_NONE, &tap, "As make check calls it", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- simulate a cluster from seeds");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "cluster_sim: %s\n", error->message);
        return 2;
    }
    count = tap && getenv("YK_LONG") != NULL ? 2000 : tap && getenv("YK_SLOW") != NULL ? 10 : count;
    struct yk_plugins *plugins = yk_plugins_new(NULL);
    struct cluster_result sum = {""};
    uint32_t n_failed = 0;
    uint32_t n_undecided = 0;
    for (gint64 seed = first; seed < first + count && n_failed < 5; seed++) {
        struct cluster_result result;
        cluster_run(plugins, (uint64_t)seed, traces, &result);
        sum.n_operations += result.n_operations;
        sum.n_events += result.n_events;
        sum.n_crashes += result.n_crashes;
        sum.n_epochs += result.n_epochs;
        n_undecided += result.is_undecided;
        if (result.failure[0] != '\0') {
            n_failed++;
            printf(
                "# seed %lld: %s\n# again: tests/sim/cluster_sim --first=%lld --count=1 --trace\n",
                (long long)seed, result.failure, (long long)seed);
        }
        fflush(stdout);
    }
    printf("# %lld seeds from %lld: %llu operations, %llu events, %llu crashes, %llu epochs, %u "
           "histories undecided\n",
           (long long)count, (long long)first, (unsigned long long)sum.n_operations,
           (unsigned long long)sum.n_events, (unsigned long long)sum.n_crashes,
           (unsigned long long)sum.n_epochs, n_undecided);
    printf("1..1\n%s 1 - every history is linearizable, every slot has its copies again\n",
           n_failed == 0 ? "ok" : "not ok");
    yk_plugins_free(plugins);
    return n_failed == 0 ? 0 : 1;
}
