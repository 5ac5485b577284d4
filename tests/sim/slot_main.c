/* slot-sim: runs of one replicated slot by seed, with a rule left out or with all of them. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "tests/sim/slot.h"

int
main(int argc, char **argv)
{
    gint64 first = 1;
    gint64 count = 300;
    gint mutant = 0;
    gboolean traces = FALSE;
    const GOptionEntry entries[] = {
        {"first", 0, 0, G_OPTION_ARG_INT64, &first, "The first seed", "N"},
        {"count", 0, 0, G_OPTION_ARG_INT64, &count, "How many runs", "N"},
        {"mutant", 0, 0, G_OPTION_ARG_INT, &mutant, "Leave out rule N of core/replica/group.h",
         "N"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &traces, "Print what the manager does", NULL},
        {NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    g_autoptr(GError) error = NULL;
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "slot-sim: %s\n", error->message);
        return 2;
    }
    struct slot_result sum = {""};
    uint32_t n_bad = 0;
    const struct slot_options options = {.mutant = (uint32_t)mutant, .traces = traces};
    for (gint64 seed = first; seed < first + count; seed++) {
        struct slot_result result;
        slot_run((uint64_t)seed, &options, &result);
        sum.commits += result.commits;
        sum.answers += result.answers;
        sum.reads += result.reads;
        sum.epochs += result.epochs;
        sum.crashes += result.crashes;
        sum.copies += result.copies;
        sum.reinits += result.reinits;
        sum.lost += result.lost;
        if (result.violation[0] != '\0') {
            printf("seed %lld: %s\n", (long long)seed, result.violation);
            if (++n_bad == 3 || mutant != 0) {
                break;
            }
        }
    }
    printf("%u violations; %llu commits, %llu answers (%llu reads), %llu epochs, %llu crashes, "
           "%llu copies, %llu begun anew, %llu lost with every disk\n",
           n_bad, (unsigned long long)sum.commits, (unsigned long long)sum.answers,
           (unsigned long long)sum.reads, (unsigned long long)sum.epochs,
           (unsigned long long)sum.crashes, (unsigned long long)sum.copies,
           (unsigned long long)sum.reinits, (unsigned long long)sum.lost);
    return n_bad > 0;
}
