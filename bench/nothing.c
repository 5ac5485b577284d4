/* A store filter that hands everything on as it is: what a request costs with it, less what it
 * costs without it, is the cost of a filter. Only `make bench` builds it. */
#include <yakumo/filter.h>

static enum yk_err
nothing_create(const struct yk_host *host, void **ret_self)
{
    *ret_self = (void *)host; /* it has no state of its own */
    return YK_OK;
}

static enum yk_err
nothing_get(void *self, struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
            void *arg, struct yk_call *call)
{
    (void)self;
    return next->get(next, keys, n, fn, arg, call);
}

static enum yk_err
nothing_apply(void *self, struct yk_next *next, const struct yk_change *changes, uint32_t n,
              struct yk_call *call)
{
    (void)self;
    return next->apply(next, changes, n, call);
}

static enum yk_err
nothing_admit(void *self, struct yk_next *next, const struct yk_change *change)
{
    (void)self;
    return next->admit(next, change);
}

static const struct yk_filter_ops nothing_ops = {
    .struct_size = sizeof(nothing_ops),
    .life = {.create = nothing_create},
    .get = nothing_get,
    .apply = nothing_apply,
    .admit = nothing_admit,
    .threads = YK_THREADS_PARALLEL,
};

YK_PLUGIN(nothing) = {
    YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
    .name = "nothing",
    .version = "1",
    .summary = "hands everything on",
    .ops = &nothing_ops,
};
