/* yakumo bench: what was typed becomes a plan, and the plan a run and a report. */
#include <config.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tools/bench/address.h"
#include "tools/bench/bare.h"
#include "tools/bench/report.h"
#include "tools/verb.h"

#define MEMORY_MAX (4ull << 30) /* for requests that are under way */

/* As typed; what stands here is what holds if nothing is typed. */
static struct {
    char *server, *protocol, *ratio, *prefix, *key_size, *value_size, *distribution, *pids, *listen;
    gint64 threads, connections, pipeline, multi_get, keys, seed, requests, warm_up_requests;
    gdouble seconds, warm_up, rate, timeout;
    gboolean fills, sets_on_miss, is_verified, is_json, is_quiet, has_progress, is_bare;
} typed = {
    .threads = 1,
    .connections = 50,
    .pipeline = 1,
    .multi_get = 1,
    .keys = 100000,
    .seed = 1,
    .seconds = NAN, /* by --requests, or 10 */
    .timeout = 10,
};

#define ENTRY(name_, kind_, member_, help_, word_)                                                 \
    {                                                                                              \
        name_, 0, 0, G_OPTION_ARG_##kind_, &typed.member_, help_, word_                            \
    }

static const GOptionEntry entries[] = {
    ENTRY("server", STRING, server, "where it listens (127.0.0.1:11211)", "HOST:PORT|unix:PATH"),
    ENTRY("protocol", STRING, protocol, "text, meta (memcached), resp or etcd (text)", "NAME"),
    ENTRY("threads", INT64, threads, "threads (1)", "N"),
    ENTRY("connections", INT64, connections, "connections, of all threads (50)", "N"),
    ENTRY("pipeline", INT64, pipeline, "requests sent in one go (1)", "N"),
    ENTRY("multi-get", INT64, multi_get, "keys of one get; not for meta (1)", "N"),
    ENTRY("ratio", STRING, ratio, "gets to sets (9:1)", "GETS:SETS"),
    ENTRY("keys", INT64, keys, "number of different keys (100000)", "N"),
    ENTRY("key-prefix", STRING, prefix, "each key begins with it (key:)", "TEXT"),
    ENTRY("key-size", STRING, key_size, "bytes of a key (19)", "SIZES"),
    ENTRY("value-size", STRING, value_size, "bytes of a value (100)", "SIZES"),
    ENTRY("key-distribution", STRING, distribution,
          "uniform, zipf:THETA or sequential, then perhaps +scan:LENGTH:SHARE (uniform)", "KEYS"),
    ENTRY("fill", NONE, fills, "set every key once before, in pipelines", NULL),
    ENTRY("set-on-miss", NONE, sets_on_miss, "a get that misses is followed by a set", NULL),
    ENTRY("verify", NONE, is_verified, "compare the values that come back", NULL),
    ENTRY("warm-up", DOUBLE, warm_up, "load without measuring, before (0)", "SECONDS"),
    ENTRY("warm-up-requests", INT64, warm_up_requests, "the same by number", "N"),
    ENTRY("seconds", DOUBLE, seconds, "measure for so long (10); 0: only fill", "SECONDS"),
    ENTRY("requests", INT64, requests, "measure so many requests instead", "N"),
    ENTRY("rate", DOUBLE, rate, "open loop: so many requests a second are due (closed loop)", "R"),
    ENTRY("timeout", DOUBLE, timeout, "fail when an answer takes longer (10)", "SECONDS"),
    ENTRY("seed", INT64, seed, "of all that is random (1)", "N"),
    ENTRY("pid", STRING, pids, "processes of the server: shows what they take", "PID[,PID...]"),
    ENTRY("json", NONE, is_json, "print JSON", NULL),
    ENTRY("progress", NONE, has_progress, "a progress line also where there is no terminal", NULL),
    ENTRY("quiet", NONE, is_quiet, "no progress line", NULL),
    ENTRY("bare", NONE, is_bare, "be a server of a few lines instead, to compare with", NULL),
    ENTRY("listen", STRING, listen, "where --bare listens (127.0.0.1:11211)",
          "HOST:PORT|unix:PATH"),
    {NULL}};

static bool say(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* False, to be returned. */
static bool
say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("yakumo bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

static bool
check_bounds(void)
{
    const struct {
        const char *name;
        gint64 value, min, max;
    } bounds[] = {
        {"threads", typed.threads, 1, BENCH_THREADS_MAX},
        {"connections", typed.connections, 1, BENCH_CONNECTIONS_MAX},
        {"pipeline", typed.pipeline, 1, BENCH_PIPELINE_MAX},
        {"multi-get", typed.multi_get, 1, BENCH_MULTI_GET_MAX},
        {"keys", typed.keys, 1, 1000000000000},
        {"requests", typed.requests, 0, G_MAXINT64},
        {"warm-up-requests", typed.warm_up_requests, 0, G_MAXINT64},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bounds); i++) {
        if (bounds[i].value < bounds[i].min || bounds[i].value > bounds[i].max) {
            return say("--%s is %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                       ", not %" G_GINT64_FORMAT,
                       bounds[i].name, bounds[i].min, bounds[i].max, bounds[i].value);
        }
    }
    const struct {
        const char *name;
        double value, min, max;
    } times[] = {
        {"seconds", typed.seconds, 0, 1e6},
        {"warm-up", typed.warm_up, 0, 1e6},
        {"timeout", typed.timeout, 0.001, 1e6},
        {"rate", typed.rate, 0, 1e9},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
        if (!(times[i].value >= times[i].min && times[i].value <= times[i].max)) {
            return say("--%s is %g to %g, not %g", times[i].name, times[i].min, times[i].max,
                       times[i].value);
        }
    }
    if (typed.connections < typed.threads) {
        return say("--connections is %" G_GINT64_FORMAT
                   " and so less than --threads, %" G_GINT64_FORMAT,
                   typed.connections, typed.threads);
    }
    return true;
}

static bool
read_protocol(struct bench_plan *plan)
{
    static const char *const names[] = {"text", "meta", "resp", "etcd"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (typed.protocol == NULL || strcmp(typed.protocol, names[i]) == 0) {
            plan->protocol = (enum bench_protocol)i;
            return (plan->protocol == BENCH_META && typed.multi_get > 1)
                       ? say("meta commands have one key each: --multi-get is 1 with them, not "
                             "%" G_GINT64_FORMAT "; see --pipeline",
                             typed.multi_get)
                       : true;
        }
    }
    return say("--protocol is text, meta, resp or etcd, not '%s'", typed.protocol);
}

static bool
read_ratio(struct bench_plan *plan)
{
    unsigned gets = 9, sets = 1;
    char more;
    if (typed.ratio != NULL &&
        (strchr(typed.ratio, '-') != NULL ||
         sscanf(typed.ratio, "%6u:%6u%c", &gets, &sets, &more) != 2 || gets + sets == 0)) {
        return say("--ratio is GETS:SETS, two numbers that are not both 0, such as 9:1, not '%s'",
                   typed.ratio);
    }
    if (plan->protocol == BENCH_ETCD && (gets > 0 || typed.sets_on_miss)) {
        return say("etcd is loaded with sets only: --ratio=0:1, and no --set-on-miss");
    }
    plan->n_gets_of_ratio = gets;
    plan->n_sets_of_ratio = sets;
    return true;
}

static bool
read_items(struct bench_plan *plan)
{
    enum { VALUE_SIZE_MAX = 16 * 1024 * 1024, TAILED_VALUE_SIZE_MAX = 1000000 };
    struct bench_items *items = &plan->items;
    const char *prefix = typed.prefix != NULL ? typed.prefix : "key:";
    const char *value_size = typed.value_size != NULL ? typed.value_size : "100";
    items->n_keys = plan->keys.n = (uint64_t)typed.keys;
    uint32_t digits = bench_items_digits(items->n_keys);
    for (const char *at = prefix; *at != '\0'; at++) {
        if (*at <= ' ' || *at == 0x7f) {
            return say("--key-prefix has a blank or control character: '%s'", prefix);
        }
    }
    if (strlen(prefix) + digits > BENCH_KEY_SIZE_MAX) {
        return say("--key-prefix is at most %d bytes here, not %zu",
                   BENCH_KEY_SIZE_MAX - (int)digits, strlen(prefix));
    }
    char error[BENCH_SIZES_ERROR_SIZE];
    if (!bench_sizes_parse(typed.key_size != NULL ? typed.key_size : "19", BENCH_SIZES_OF_KEYS,
                           (uint32_t)strlen(prefix) + digits, BENCH_KEY_SIZE_MAX, &items->key_sizes,
                           error)) {
        return say("--key-size: %s", error);
    }
    /* What has a tail is cut off where memcached would refuse it. */
    bool is_tailed = !g_ascii_isdigit(*value_size);
    if (!bench_sizes_parse(value_size, BENCH_SIZES_OF_VALUES, 0,
                           is_tailed ? TAILED_VALUE_SIZE_MAX : VALUE_SIZE_MAX, &items->value_sizes,
                           error)) {
        return say("--value-size: %s", error);
    }
    if (!bench_keys_parse(typed.distribution != NULL ? typed.distribution : "uniform",
                          items->n_keys, &plan->keys, error)) {
        return say("--key-distribution: %s", error);
    }
    bench_items_init(items, prefix, (uint64_t)typed.seed);
    return true;
}

static bool
read_pids(struct bench_plan *plan)
{
    g_auto(GStrv) words = g_strsplit(typed.pids != NULL ? typed.pids : "", ",", -1);
    for (char **word = words; *word != NULL; word++) {
        guint64 pid;
        if (!g_ascii_string_to_unsigned(*word, 10, 1, G_MAXINT, &pid, NULL)) {
            return say("--pid is process numbers with commas between them, not '%s'", typed.pids);
        }
        if (plan->n_pids == BENCH_PIDS_MAX) {
            return say("--pid is at most %d processes", BENCH_PIDS_MAX);
        }
        plan->pids[plan->n_pids++] = (int)pid;
    }
    return true;
}

/* Memory, and open files, which are raised as far as the system lets us. */
static bool
check_resources(const struct bench_plan *plan)
{
    uint64_t memory = bench_load_memory(plan);
    if (memory > MEMORY_MAX) {
        return say("requests under way would need %" G_GUINT64_FORMAT " MiB, at most %llu: "
                   "less of --connections, --pipeline, --multi-get or --value-size",
                   memory >> 20, MEMORY_MAX >> 20);
    }
    struct rlimit files;
    rlim_t needed = plan->n_connections + 3 * plan->n_threads + 16;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < needed) {
        files.rlim_cur = files.rlim_max < needed ? files.rlim_max : needed;
        if (files.rlim_cur < needed || setrlimit(RLIMIT_NOFILE, &files) != 0) {
            return say("--connections needs %llu open files, and this process may have %llu",
                       (unsigned long long)needed, (unsigned long long)files.rlim_max);
        }
    }
    return true;
}

static bool
make_plan(struct bench_plan *plan)
{
    char error[BENCH_ERROR_SIZE];
    bool is_by_number = typed.requests > 0;
    if (isnan(typed.seconds)) {
        typed.seconds = is_by_number ? 0 : 10;
    }
    if (!check_bounds()) {
        return false;
    }
    plan->server = typed.server != NULL ? typed.server : "127.0.0.1:11211";
    plan->n_threads = (uint32_t)typed.threads;
    plan->n_connections = (uint32_t)typed.connections;
    plan->pipeline = (uint32_t)typed.pipeline;
    plan->multi_get = (uint32_t)typed.multi_get;
    plan->sets_on_miss = typed.sets_on_miss;
    plan->is_verified = typed.is_verified;
    plan->fills = typed.fills;
    plan->seed = (uint64_t)typed.seed;
    plan->warm_up_ns = (int64_t)(typed.warm_up * 1e9);
    plan->n_warm_up_requests = (uint64_t)typed.warm_up_requests;
    plan->measure_ns = (int64_t)(typed.seconds * 1e9);
    plan->n_requests = (uint64_t)typed.requests;
    plan->rate = typed.rate;
    plan->timeout_ns = (int64_t)(typed.timeout * 1e9);
    plan->has_progress = typed.has_progress || (!typed.is_quiet && isatty(STDERR_FILENO));
    if (!read_protocol(plan) || !read_ratio(plan) || !read_pids(plan)) {
        return false;
    }
    if (!bench_address(plan->server, &plan->address, &plan->address_size, error, sizeof(error))) {
        return say("--server: %s", error);
    }
    return read_items(plan) && check_resources(plan);
}

static enum exit_code
run_bare(void)
{
    char error[BENCH_SIZES_ERROR_SIZE];
    struct bench_sizes sizes;
    if (!bench_sizes_parse(typed.value_size != NULL ? typed.value_size : "100",
                           BENCH_SIZES_OF_VALUES, 0, BENCH_BARE_VALUE_MAX, &sizes, error)) {
        say("--value-size: %s", error);
        return EXIT_USAGE;
    }
    const char *listen = typed.listen != NULL ? typed.listen : "127.0.0.1:11211";
    return bench_bare(listen, (uint32_t)(sizes.mean + 0.5)) ? EXIT_DONE : EXIT_FAILED;
}

static enum exit_code
run_load(const struct bench_plan *plan)
{
    g_autofree struct bench_report *report = g_new0(struct bench_report, 1);
    char error[BENCH_ERROR_SIZE];
    if (!bench_run(plan, report, error)) {
        say("%s: %s", plan->server, error);
        return EXIT_FAILED;
    }
    (typed.is_json ? bench_report_print_json : bench_report_print)(plan, report);
    if (report->measured.n_errors > 0) {
        say("%s: %" G_GUINT64_FORMAT " requests were refused, such as by \"%s\"", plan->server,
            report->measured.n_errors, report->measured.errors.texts[0].text);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static enum exit_code
run(int argc, char **argv)
{
    if (!verb_options(&verb_bench, entries, NULL, 0, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (typed.is_bare) {
        return run_bare();
    }
    g_autofree struct bench_plan *plan = g_new0(struct bench_plan, 1);
    enum exit_code code = make_plan(plan) ? run_load(plan) : EXIT_USAGE;
    bench_items_done(&plan->items);
    return code;
}

const struct verb verb_bench = {"bench", "load a server, and say how fast it answers", run};
