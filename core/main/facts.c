/* The process's part of `stats` and `stats settings`. */
#include <config.h>

#include "core/main/facts.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct teller {
    yk_fact_fn fn;
    void *arg;
};

static void
tell(const struct teller *teller, const char *name, const char *format, ...) YK_PRINTF(3, 4);

static void
tell(const struct teller *teller, const char *name, const char *format, ...)
{
    char value[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof(value), format, arguments);
    va_end(arguments);
    teller->fn(teller->arg, name, value);
}

static uint64_t
monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void
yk_facts_init(struct yk_facts *facts, const struct yk_config *config, const struct yk_node *node)
{
    *facts = (struct yk_facts){.config = config, .node = node, .start_ms = monotonic_ms()};
}

static void
tell_journal(struct yk_journal *journal, const struct teller *teller)
{
    struct yk_journal_figures figures;
    yk_journal_ask(journal, &figures);
    tell(teller, "journal_bytes", "%llu", (unsigned long long)figures.kept);
    tell(teller, "journal_bytes_written", "%llu", (unsigned long long)figures.bytes);
    tell(teller, "journal_batches", "%llu", (unsigned long long)figures.batches);
    tell(teller, "journal_rounds", "%llu", (unsigned long long)figures.rounds);
    tell(teller, "journal_snapshots", "%llu", (unsigned long long)figures.snapshots);
    tell(teller, "journal_room", "%lld",
         (long long)__atomic_load_n(&yk_journal_room(journal)->bytes, __ATOMIC_RELAXED));
}

static void
tell_general(const struct yk_facts *facts, const struct teller *teller)
{
    struct rusage usage;
    struct yk_threads *threads = __atomic_load_n(&facts->threads, __ATOMIC_ACQUIRE);
    getrusage(RUSAGE_SELF, &usage);
    tell(teller, "pid", "%ld", (long)getpid());
    tell(teller, "uptime", "%llu", (unsigned long long)((monotonic_ms() - facts->start_ms) / 1000));
    tell(teller, "time", "%lld", (long long)time(NULL));
    tell(teller, "version", "%s", PACKAGE_VERSION);
    tell(teller, "pointer_size", "%zu", sizeof(void *) * 8);
    tell(teller, "rusage_user", "%ld.%06ld", (long)usage.ru_utime.tv_sec,
         (long)usage.ru_utime.tv_usec);
    tell(teller, "rusage_system", "%ld.%06ld", (long)usage.ru_stime.tv_sec,
         (long)usage.ru_stime.tv_usec);
    tell(teller, "max_connections", "%u", facts->config->node.connections_max);
    tell(teller, "rejected_connections", "%llu",
         (unsigned long long)(threads != NULL ? yk_threads_rejected(threads) : 0));
    tell(teller, "threads", "%u", facts->node->n_workers);
    tell(teller, "accepting_conns", "1");
    if (facts->journal != NULL) {
        tell_journal(facts->journal, teller);
    }
}

static void
tell_settings(const struct yk_facts *facts, const struct teller *teller)
{
    const struct yk_config *config = facts->config;
    uint64_t item_size_max = 0;
    bool evicts = false;
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        const struct yk_bucket_config *bucket = &config->buckets[i];
        item_size_max =
            bucket->value_size_max > item_size_max ? bucket->value_size_max : item_size_max;
        evicts = evicts || bucket->evict != YK_EVICT_NONE;
    }
    tell(teller, "maxconns", "%u", config->node.connections_max);
    tell(teller, "udpport", "0");
    tell(teller, "evictions", "%s", evicts ? "on" : "off");
    tell(teller, "num_threads", "%u", facts->node->n_workers);
    tell(teller, "num_lanes", "%u", config->node.lanes);
    tell(teller, "cas_enabled", "yes");
    tell(teller, "auth_enabled_ascii", "no");
    tell(teller, "auth_enabled_sasl", "no");
    tell(teller, "item_size_max", "%llu", (unsigned long long)item_size_max);
    tell(teller, "ssl_enabled", "no");
    for (uint32_t i = 0; i < config->n_frontends; i++) {
        for (uint32_t k = 0; k < config->frontends[i].n_listen; k++) {
            tell(teller, "listen", "%s", config->frontends[i].listen[k]);
        }
    }
}

void
yk_facts_tell(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg)
{
    const struct yk_facts *facts = arg;
    struct teller teller = {fn, fn_arg};
    if (topic[0] == '\0') {
        tell_general(facts, &teller);
    } else {
        tell_settings(facts, &teller);
    }
}
