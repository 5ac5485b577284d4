/* cluster_sim: runs of a cluster by seed.
 *
 *     cluster_sim --tap                       as make check calls it
 *     cluster_sim --first=X --count=N         N seeds; --jobs=J shares them among processes
 *     cluster_sim --first=X --count=1 --trace what happens in a run
 *     cluster_sim --backend=lmdb ...          with an engine that keeps what it has
 *     cluster_sim --generation=0 ...          with what the first simulator had alone
 *     cluster_sim --mutant=M ...              with a rule of core/replica/group.h left out
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include "tests/sim/cluster.h"

enum { JOBS_MAX = 64, FAILURES_MAX = 5, REPEATED = 5, BATCH = 25 };

/* Seeds that found a bug: they fail without its fix, as long as the simulator makes the same of
 * them.
 */
static const struct {
    gint64 seed;
    enum cluster_generation generation;
} kept[] = {
    /* A slot wiped for a copy was not wiped again when the journal was replayed. */
    {1001644, CLUSTER_FIRST},
    {1002269, CLUSTER_FIRST},
    /* A copy that began while the end of the last one was written never ended. */
    {2005149, CLUSTER_FIRST},
    {2009363, CLUSTER_FIRST},
    /* A manager made a bucket's register without servers that it did not know. */
    {2, CLUSTER_CONTROL},
    /* A read passed a write that was judged before the record ended. */
    {407, CLUSTER_CONTROL},
    {2246, CLUSTER_CONTROL},
    /* Slot time ran ahead with each epoch, and went back at a restart. */
    {4105777, CLUSTER_CONTROL},
    /* A member that had come by a copy and restarted was not believed; its slot stood still. */
    {79, CLUSTER_CONTROL},
    /* The sweep took a record that had come since it had looked. */
    {168, CLUSTER_CONTROL},
    /* A backup kept what a later primary did not have, and committed it when it became one. */
    {10014924, CLUSTER_DISKS},
    /* What was cut behind an entry hid that this one was journaled. */
    {40000097, CLUSTER_DISKS},
    {40018222, CLUSTER_DISKS},
    /* A checkpoint took the entry before a CUT to stand where the CUT does, and dropped it. */
    {60011741, CLUSTER_READS},
    /* A flush missed a slot of which the node had become primary, and only some threads knew. */
    {60002162, CLUSTER_READS},
    /* A read passed a write that was judged before the record ended, and committed during it. */
    {70003100, CLUSTER_READS},
};

struct arguments {
    gint64 first, count;
    gint jobs;
    gint generation, mutant;
    gboolean traces, tap;
    gchar *engine;
};

struct sum {
    uint64_t n_runs, n_failed, n_undecided, n_operations, n_events, n_crashes, n_epochs;
};

static void
add(struct sum *sum, const struct cluster_result *result)
{
    sum->n_runs++;
    sum->n_failed += result->failure[0] != '\0';
    sum->n_undecided += result->is_undecided;
    sum->n_operations += result->n_operations;
    sum->n_events += result->n_events;
    sum->n_crashes += result->n_crashes;
    sum->n_epochs += result->n_epochs;
}

static void
merge(struct sum *sum, const struct sum *part)
{
    sum->n_runs += part->n_runs;
    sum->n_failed += part->n_failed;
    sum->n_undecided += part->n_undecided;
    sum->n_operations += part->n_operations;
    sum->n_events += part->n_events;
    sum->n_crashes += part->n_crashes;
    sum->n_epochs += part->n_epochs;
}

/* Nodes that crash are left as they are, and cost memory: so a process does not run long. */
static struct sum
run_batch(struct yk_plugins *plugins, const struct arguments *arguments, gint64 first, gint64 end)
{
    struct sum sum = {0};
    for (gint64 seed = first; seed < end; seed++) {
        struct cluster_result result;
        const struct cluster_arguments one = {.seed = (uint64_t)seed,
                                              .generation =
                                                  (enum cluster_generation)arguments->generation,
                                              .engine = arguments->engine,
                                              .mutant = (uint32_t)arguments->mutant,
                                              .traces = arguments->traces ? stdout : NULL};
        cluster_run(plugins, &one, &result);
        add(&sum, &result);
        if (result.failure[0] != '\0') {
            printf("# seed %lld (%s): %s\n# again: tests/sim/cluster_sim --first=%lld --count=1 "
                   "--trace --generation=%d%s%s\n",
                   (long long)seed, result.options, result.failure, (long long)seed,
                   arguments->generation, arguments->engine != NULL ? " --backend=" : "",
                   arguments->engine != NULL ? arguments->engine : "");
        }
        fflush(stdout);
    }
    return sum;
}

static bool
start_batch(struct yk_plugins *plugins, const struct arguments *arguments, gint64 first, int to)
{
    gint64 end = MIN(first + BATCH, arguments->first + arguments->count);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct sum sum = run_batch(plugins, arguments, first, end);
        _exit(write(to, &sum, sizeof(sum)) == sizeof(sum) ? 0 : 1);
    }
    return child > 0;
}

static void
show_progress(const struct arguments *arguments, uint64_t n_runs)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%llu of %lld seeds", (unsigned long long)n_runs,
                (long long)arguments->count);
    }
}

/* False: a batch died, of an assertion say. */
static bool
run(struct yk_plugins *plugins, const struct arguments *arguments, struct sum *sum)
{
    int pipes[2];
    int status = 0;
    gint n_running = 0;
    gint64 next = arguments->first;
    gint64 end = arguments->first + arguments->count;
    bool is_right = pipe(pipes) == 0;
    while (n_running > 0 || (is_right && next < end && sum->n_failed < FAILURES_MAX)) {
        if (is_right && next < end && n_running < arguments->jobs) {
            is_right = start_batch(plugins, arguments, next, pipes[1]);
            n_running += is_right;
            next += BATCH;
            continue;
        }
        struct sum part;
        is_right = wait(&status) > 0 && status == 0 &&
                   read(pipes[0], &part, sizeof(part)) == sizeof(part) && is_right;
        n_running--;
        if (is_right) {
            merge(sum, &part);
        }
        show_progress(arguments, sum->n_runs);
    }
    close(pipes[0]);
    close(pipes[1]);
    return is_right;
}

/* Two runs of a seed tell the same, with every frame. */
static bool
is_repeated(struct yk_plugins *plugins, uint64_t seed)
{
    char *told[2];
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        struct cluster_result result;
        FILE *to = open_memstream(&told[i], &sizes[i]);
        cluster_run(
            plugins,
            &(struct cluster_arguments){.seed = seed, .generation = CLUSTER_NEWEST, .traces = to},
            &result);
        fclose(to);
    }
    bool is_same = sizes[0] == sizes[1] && memcmp(told[0], told[1], sizes[0]) == 0;
    free(told[0]);
    free(told[1]);
    return is_same;
}

static bool
are_repeated(struct yk_plugins *plugins, uint64_t first)
{
    bool is_right = true;
    for (uint64_t seed = first; seed < first + REPEATED; seed++) {
        if (!is_repeated(plugins, seed)) {
            printf("# seed %llu: two runs differ\n", (unsigned long long)seed);
            is_right = false;
        }
    }
    return is_right;
}

int
main(int argc, char **argv)
{
    struct arguments arguments = {
        .first = 1, .count = 100, .jobs = 1, .generation = CLUSTER_NEWEST};
    const GOptionEntry entries[] = {
        {"first", 0, 0, G_OPTION_ARG_INT64, &arguments.first, "The first seed", "X"},
        {"count", 0, 0, G_OPTION_ARG_INT64, &arguments.count, "How many seeds", "N"},
        {"jobs", 0, 0, G_OPTION_ARG_INT, &arguments.jobs, "Processes", "J"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &arguments.traces, "Prints what happens", NULL},
        {"generation", 0, 0, G_OPTION_ARG_INT, &arguments.generation,
         "Of the simulator: 0 is the first", "G"},
        {"mutant", 0, 0, G_OPTION_ARG_INT, &arguments.mutant, "Leaves out a rule", "M"},
        {"backend", 0, 0, G_OPTION_ARG_STRING, &arguments.engine, "In every run", "NAME"},
        {"tap", 0, 0, G_OPTION_ARG_NONE, &arguments.tap, "As make check calls it", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- simulate a cluster from seeds");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || arguments.jobs < 1 ||
        arguments.jobs > JOBS_MAX) {
        fprintf(stderr, "cluster_sim: %s\n", error != NULL ? error->message : "--jobs is 1 to 64");
        return 2;
    }
    if (arguments.tap) {
        arguments.count = getenv("YK_LONG") != NULL ? 20000 : getenv("YK_SLOW") != NULL ? 10 : 300;
        arguments.jobs = getenv("YK_LONG") != NULL ? (gint)g_get_num_processors() : 1;
    }
    struct yk_plugins *plugins = yk_plugins_new(NULL);
    struct sum sum = {0};
    bool is_right = run(plugins, &arguments, &sum);
    for (size_t i = 0; arguments.tap && i < G_N_ELEMENTS(kept); i++) {
        struct arguments again = {
            .first = kept[i].seed, .count = 1, .jobs = 1, .generation = (gint)kept[i].generation};
        is_right = run(plugins, &again, &sum) && is_right;
    }
    is_right = is_right && sum.n_failed == 0;
    printf("# %llu seeds from %lld: %llu operations, %llu events, %llu crashes, %llu epochs, %llu "
           "histories undecided\n",
           (unsigned long long)sum.n_runs, (long long)arguments.first,
           (unsigned long long)sum.n_operations, (unsigned long long)sum.n_events,
           (unsigned long long)sum.n_crashes, (unsigned long long)sum.n_epochs,
           (unsigned long long)sum.n_undecided);
    printf("%s 1 - every history is linearizable, every slot has its copies again\n",
           is_right ? "ok" : "not ok");
    if (arguments.tap) {
        bool is_same = are_repeated(plugins, (uint64_t)arguments.first);
        printf("%s 2 - a seed says everything\n", is_same ? "ok" : "not ok");
        is_right = is_right && is_same;
    }
    printf("1..%d\n", arguments.tap ? 2 : 1);
    yk_plugins_free(plugins);
    return is_right ? 0 : 1;
}
