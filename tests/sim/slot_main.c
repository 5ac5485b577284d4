/* slot_sim: runs of one replicated slot by seed, with all rules or with one left out.
 *
 *     slot_sim --tap                  as make check calls it: seeds without a violation, then a run
 *                                     for each rule that is left out, which must be noticed
 *     slot_sim --first=X --count=N    N seeds; --mutant=M leaves out a rule of
 * core/replica/group.h,
 *                                     --schedule=S directs what goes wrong (slot.h)
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include "core/replica/group.h"
#include "tests/sim/slot.h"

struct arguments {
    gint64 first, count;
    gint mutant, schedule;
    gboolean traces, tap;
};

/* The rules, and the seed from which on their absence is noticed soon. */
static const struct {
    const char *name;
    gint64 first;
    enum slot_schedule schedule;
} mutants[MUTANTS_OF_SLOTS] = {
    [MUTANT_PENDING_ADD] = {"commit waits for a pending ADD", 1},
    [MUTANT_PROMISE] = {"no answers while a PROMOTE is under way", 8200},
    [MUTANT_RESTART_WAIT] = {"a restarted backup waits G", 1, SLOT_RESTARTED_BACKUP},
    [MUTANT_RECONCILE] = {"a new primary reconciles before it serves", 1},
    [MUTANT_LEASE] = {"reads need leases", 1},
    [MUTANT_EARLY_DROP] = {"a slow backup is waited for until it is removed", 1},
    [MUTANT_JOURNAL] = {"answers come after the journal", 1},
    [MUTANT_PREV] = {"the entry before is compared", 1},
    [MUTANT_INCARNATION] = {"one that has forgotten is not the one it was", 1},
    [MUTANT_RESUME] = {"a restarted primary takes a new epoch", 1},
    [MUTANT_CANCEL_ADD] = {"an ADD is taken back by an epoch only", 2700},
    [MUTANT_PENDING_ADD_LEASE] = {"leases of a pending ADD are needed", 14800},
    [MUTANT_MIN_COPIES] = {"nothing is committed below min_copies", 1},
    [MUTANT_BEGINS] = {"what is older than a REINIT is forgotten", 1100},
    [MUTANT_CONFIRM] = {"confirmed reads wait for the members", 1, SLOT_CONFIRMED},
};

static const char *const schedules[SLOT_SCHEDULES] = {
    [SLOT_ANYTHING] = "whatever the seed chooses",
    [SLOT_RESTARTED_BACKUP] = "backups that are back soon, of a primary that hears nobody",
    [SLOT_CONFIRMED] = "confirmed reads, by clocks that run as they like",
};

static uint32_t
run_seeds(const struct arguments *arguments)
{
    struct slot_result sum = {""};
    uint32_t n_bad = 0;
    const struct slot_options options = {.mutant = (uint32_t)arguments->mutant,
                                         .schedule = (enum slot_schedule)arguments->schedule,
                                         .traces = arguments->traces};
    for (gint64 seed = arguments->first; seed < arguments->first + arguments->count; seed++) {
        struct slot_result result;
        slot_run((uint64_t)seed, &options, &result);
        sum.commits += result.commits;
        sum.answers += result.answers;
        sum.epochs += result.epochs;
        sum.crashes += result.crashes;
        sum.copies += result.copies;
        sum.reinits += result.reinits;
        if (result.violation[0] != '\0') {
            printf(
                "# seed %lld: %s\n# again: tests/sim/slot_sim --first=%lld --count=1 --mutant=%d "
                "--schedule=%d --trace\n",
                (long long)seed, result.violation, (long long)seed, arguments->mutant,
                arguments->schedule);
            if (++n_bad == 3 || arguments->mutant != 0) {
                break;
            }
        }
    }
    printf(
        "# %u violations; %llu commits, %llu answers, %llu epochs, %llu crashes, %llu copies, %llu "
        "begun anew\n",
        n_bad, (unsigned long long)sum.commits, (unsigned long long)sum.answers,
        (unsigned long long)sum.epochs, (unsigned long long)sum.crashes,
        (unsigned long long)sum.copies, (unsigned long long)sum.reinits);
    fflush(stdout);
    return n_bad;
}

/* In a process of its own: an assertion of the core notices some, and ends it. */
static bool
is_noticed(int mutant)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct arguments arguments = {.first = mutants[mutant].first,
                                      .count = 3000,
                                      .mutant = mutant,
                                      .schedule = (gint)mutants[mutant].schedule};
        if (freopen("/dev/null", "w", stdout) == NULL ||
            freopen("/dev/null", "w", stderr) == NULL) {
            _exit(0);
        }
        _exit(run_seeds(&arguments) > 0 ? 1 : 0);
    }
    return child > 0 && waitpid(child, &status, 0) == child &&
           !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool
tell(bool is_right, int n, const char *what, const char *name)
{
    printf("%s %d - %s: %s\n", is_right ? "ok" : "not ok", n, what, name);
    fflush(stdout);
    return is_right;
}

static int
run_tap(struct arguments *arguments)
{
    int n = 0;
    int n_failed = 0;
    bool is_slow = getenv("YK_SLOW") != NULL;
    arguments->count = getenv("YK_LONG") != NULL ? 200000 : is_slow ? 100 : 3000;
    for (int i = 0; i < SLOT_SCHEDULES; i++) {
        arguments->schedule = i;
        arguments->count /= i == SLOT_RESTARTED_BACKUP ? 10 : 1;
        n_failed += !tell(run_seeds(arguments) == 0, ++n, "no violation", schedules[i]);
    }
    for (int i = 1; i < MUTANTS_OF_SLOTS && !is_slow; i++) {
        n_failed += !tell(is_noticed(i), ++n, "it is noticed without", mutants[i].name);
    }
    printf("1..%d\n", n);
    return n_failed > 0;
}

int
main(int argc, char **argv)
{
    struct arguments arguments = {.first = 1, .count = 300};
    const GOptionEntry entries[] = {
        {"first", 0, 0, G_OPTION_ARG_INT64, &arguments.first, "The first seed", "X"},
        {"count", 0, 0, G_OPTION_ARG_INT64, &arguments.count, "How many seeds", "N"},
        {"mutant", 0, 0, G_OPTION_ARG_INT, &arguments.mutant, "Leaves out that rule", "M"},
        {"schedule", 0, 0, G_OPTION_ARG_INT, &arguments.schedule, "Directs what goes wrong", "S"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &arguments.traces, "Prints what the manager does", NULL},
        {"tap", 0, 0, G_OPTION_ARG_NONE, &arguments.tap, "As make check calls it", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new("- simulate one replicated slot");
    g_autoptr(GError) error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "slot_sim: %s\n", error->message);
        return 2;
    }
    return arguments.tap ? run_tap(&arguments) : run_seeds(&arguments) > 0;
}
