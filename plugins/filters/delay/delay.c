/* Store filter "delay": makes an engine slow, as a disk may be. A stack with it counts as blocking,
 * and so runs on executor threads. */
#include <yakumo/filter.h>

struct delay {
    const struct yk_host *host;
    uint64_t get_us, apply_us, scan_us, jitter_us;
};

static const struct yk_option delay_options[] = {
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "get", "1ms", 0, 60000000, NULL,
     "How long each batch of reads waits before it goes on."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "apply", "1ms", 0, 60000000, NULL,
     "How long each batch of changes waits before it goes on."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "scan", "0ms", 0, 60000000, NULL,
     "How long each step of a scan waits before it goes on."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "jitter", "0ms", 0, 60000000, NULL,
     "Each wait is longer by a random time below this."},
};

static enum yk_err
delay_create(const struct yk_host *host, void **ret_self)
{
    struct delay *delay = host->alloc(host, sizeof(*delay));
    if (delay == NULL) {
        return YK_ENOMEM;
    }
    *delay = (struct delay){.host = host};
    *ret_self = delay;
    return YK_OK;
}

static enum yk_err
delay_config(void *self, const char *name, const struct yk_option_value *value)
{
    struct delay *delay = self;
    if (strcmp(name, "get") == 0) {
        delay->get_us = value->number;
    } else if (strcmp(name, "apply") == 0) {
        delay->apply_us = value->number;
    } else if (strcmp(name, "scan") == 0) {
        delay->scan_us = value->number;
    } else if (strcmp(name, "jitter") == 0) {
        delay->jitter_us = value->number;
    } else {
        return YK_EINVALID;
    }
    return YK_OK;
}

static void
delay_destroy(void *self)
{
    struct delay *delay = self;
    delay->host->release(delay->host, delay);
}

static void
delay_info(void *self, struct yk_backend_info *info)
{
    info->caps |= YK_BACKEND_BLOCKS;
}

static void
wait_us(struct delay *delay, uint64_t us)
{
    if (us > 0 && delay->jitter_us > 0) {
        us += delay->host->random(delay->host) % delay->jitter_us;
    }
    if (us > 0) {
        delay->host->sleep_us(delay->host, us);
    }
}

static enum yk_err
delay_get(void *self, struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
          void *arg, struct yk_call *call)
{
    struct delay *delay = self;
    wait_us(delay, delay->get_us);
    return next->get(next, keys, n, fn, arg, call);
}

static enum yk_err
delay_apply(void *self, struct yk_next *next, const struct yk_change *changes, uint32_t n,
            struct yk_call *call)
{
    struct delay *delay = self;
    wait_us(delay, delay->apply_us);
    return next->apply(next, changes, n, call);
}

static enum yk_err
delay_scan(void *self, struct yk_next *next, const struct yk_scan *scan, struct yk_cursor *cursor,
           yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    struct delay *delay = self;
    wait_us(delay, delay->scan_us);
    return next->scan(next, scan, cursor, fn, arg, ret_end, call);
}

static const struct yk_filter_ops delay_ops = {
    .struct_size = sizeof(delay_ops),
    .life = {.create = delay_create, .config = delay_config, .destroy = delay_destroy},
    .info = delay_info,
    .get = delay_get,
    .apply = delay_apply,
    .scan = delay_scan,
};

YK_PLUGIN(delay) = {
    YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
    .n_options = sizeof(delay_options) / sizeof(delay_options[0]),
    .name = "delay",
    .version = "1",
    .summary = "makes an engine slow, to see how clients and the node bear it",
    .details =
        "A bucket with this filter runs on executor threads, whatever its engine. A lane has one "
        "call under way at a time; what comes meanwhile goes into the next one together.",
    .options = delay_options,
    .ops = &delay_ops,
};
