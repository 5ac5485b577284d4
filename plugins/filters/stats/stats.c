/* Store filter "stats": counts what passes, in calls, keys and bytes, and the time that it took
 * below. */
#include <yakumo/filter.h>

struct counters {
    uint64_t get_calls, get_keys, get_hits, get_bytes, get_us;
    uint64_t apply_calls, put_keys, put_bytes, delete_keys, apply_us;
    uint64_t scan_calls, scan_records, scan_us;
    uint64_t refused, errors;
};

struct stats {
    const struct yk_host *host;
    struct counters counters;
};

/* One get or scan on its way down; lives in the call, for it may end later. */
struct passage {
    struct stats *stats;
    yk_value_fn value_fn;
    yk_record_fn record_fn;
    void *arg;
};

static enum yk_err
stats_create(const struct yk_host *host, void **ret_self)
{
    struct stats *stats = host->alloc(host, sizeof(*stats));
    if (stats == NULL) {
        return YK_ENOMEM;
    }
    *stats = (struct stats){.host = host};
    *ret_self = stats;
    return YK_OK;
}

static void
stats_destroy(void *self)
{
    struct stats *stats = self;
    stats->host->release(stats->host, stats);
}

static struct passage *
passage_new(struct stats *stats, struct yk_call *call, void *arg)
{
    struct passage *passage = call->alloc(call, sizeof(*passage));
    if (passage != NULL) {
        *passage = (struct passage){.stats = stats, .arg = arg};
    }
    return passage;
}

static void
count_value(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct passage *passage = arg;
    struct counters *counters = &passage->stats->counters;
    counters->get_hits += result == YK_OK ? 1 : 0;
    counters->get_bytes += value.size;
    counters->errors += result != YK_OK && result != YK_ENOTFOUND ? 1 : 0;
    passage->value_fn(passage->arg, index, result, value);
}

static bool
count_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct passage *passage = arg;
    bool is_taken = passage->record_fn(passage->arg, key, value);
    passage->stats->counters.scan_records += is_taken ? 1 : 0;
    return is_taken;
}

static void
count_error(struct stats *stats, enum yk_err result)
{
    stats->counters.errors += result != YK_OK && result != YK_EPENDING ? 1 : 0;
}

static enum yk_err
stats_get(void *self, struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
          void *arg, struct yk_call *call)
{
    struct stats *stats = self;
    struct passage *passage = passage_new(stats, call, arg);
    if (passage == NULL) {
        return YK_ENOMEM;
    }
    passage->value_fn = fn;
    stats->counters.get_calls++;
    stats->counters.get_keys += n;
    uint64_t start_us = stats->host->now_us(stats->host);
    enum yk_err result = next->get(next, keys, n, count_value, passage, call);
    stats->counters.get_us += stats->host->now_us(stats->host) - start_us;
    count_error(stats, result);
    return result;
}

static enum yk_err
stats_apply(void *self, struct yk_next *next, const struct yk_change *changes, uint32_t n,
            struct yk_call *call)
{
    struct stats *stats = self;
    stats->counters.apply_calls++;
    for (uint32_t i = 0; i < n; i++) {
        stats->counters.put_keys += changes[i].kind == YK_CHANGE_PUT ? 1 : 0;
        stats->counters.delete_keys += changes[i].kind == YK_CHANGE_DELETE ? 1 : 0;
        stats->counters.put_bytes += changes[i].key.size + changes[i].value.size;
    }
    uint64_t start_us = stats->host->now_us(stats->host);
    enum yk_err result = next->apply(next, changes, n, call);
    stats->counters.apply_us += stats->host->now_us(stats->host) - start_us;
    count_error(stats, result);
    return result;
}

static enum yk_err
stats_scan(void *self, struct yk_next *next, const struct yk_scan *scan, struct yk_cursor *cursor,
           yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    struct stats *stats = self;
    struct passage *passage = passage_new(stats, call, arg);
    if (passage == NULL) {
        return YK_ENOMEM;
    }
    passage->record_fn = fn;
    stats->counters.scan_calls++;
    uint64_t start_us = stats->host->now_us(stats->host);
    enum yk_err result = next->scan(next, scan, cursor, count_record, passage, ret_end, call);
    stats->counters.scan_us += stats->host->now_us(stats->host) - start_us;
    count_error(stats, result);
    return result;
}

static enum yk_err
stats_admit(void *self, struct yk_next *next, const struct yk_change *change)
{
    struct stats *stats = self;
    enum yk_err result = next->admit(next, change);
    stats->counters.refused += result != YK_OK ? 1 : 0;
    return result;
}

static void
stats_stats(void *self, yk_figure_fn fn, void *arg)
{
    const struct counters *counters = &((struct stats *)self)->counters;
    fn(arg, "store_get_calls", counters->get_calls);
    fn(arg, "store_get_keys", counters->get_keys);
    fn(arg, "store_get_hits", counters->get_hits);
    fn(arg, "store_get_bytes", counters->get_bytes);
    fn(arg, "store_get_us", counters->get_us);
    fn(arg, "store_apply_calls", counters->apply_calls);
    fn(arg, "store_put_keys", counters->put_keys);
    fn(arg, "store_put_bytes", counters->put_bytes);
    fn(arg, "store_delete_keys", counters->delete_keys);
    fn(arg, "store_apply_us", counters->apply_us);
    fn(arg, "store_scan_calls", counters->scan_calls);
    fn(arg, "store_scan_records", counters->scan_records);
    fn(arg, "store_scan_us", counters->scan_us);
    fn(arg, "store_refused", counters->refused);
    fn(arg, "store_errors", counters->errors);
}

static const struct yk_filter_ops stats_ops = {
    .struct_size = sizeof(stats_ops),
    .life = {.create = stats_create, .destroy = stats_destroy},
    .get = stats_get,
    .apply = stats_apply,
    .scan = stats_scan,
    .admit = stats_admit,
    .stats = stats_stats,
};

YK_PLUGIN(stats) = {
    YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
    .name = "stats",
    .version = "1",
    .summary = "counts calls, keys, bytes and time of what lies below",
    .details =
        "Its figures appear in the general statistics with names that begin with store_; times are "
        "in microseconds, summed over all lanes. Put it above another filter to measure that one "
        "too.",
    .ops = &stats_ops,
};
