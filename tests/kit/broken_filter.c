/* A store filter that changes what is stored, and with the option `fault` breaks one promise. */
#include <yakumo/filter.h>

#include <stdlib.h>

enum fault {
    FAULT_NONE,
    FAULT_ADMITS_ALONE,
    FAULT_ADMITS_PLAIN,
    FAULT_GETS_RAW,
    FAULT_SCANS_RAW,
    FAULT_HIDES_GET_ERRORS,
    FAULT_HIDES_APPLY_ERRORS,
    FAULT_HIDES_SCAN_ERRORS,
    FAULT_LEAKS,
};

static const char *const fault_names[] = {"none",
                                          "admits_alone",
                                          "admits_plain",
                                          "gets_raw",
                                          "scans_raw",
                                          "hides_get_errors",
                                          "hides_apply_errors",
                                          "hides_scan_errors",
                                          "leaks",
                                          NULL};

static const struct yk_option options[] = {{YK_OPTION_HEAD, YK_OPTION_ENUM, 0, "fault", "none", 0,
                                            0, fault_names, "The promise that is broken."}};

struct filter {
    const struct yk_host *host;
    enum fault fault;
};

/* Each byte of a value is stored as another one. */
static void
turn(const struct yk_slice *value, uint8_t *to)
{
    for (size_t i = 0; i < value->size; i++) {
        to[i] = ((const uint8_t *)value->data)[i] ^ 0x55;
    }
}

static enum yk_err
broken_create(const struct yk_host *host, void **ret_self)
{
    struct filter *filter = host->alloc(host, sizeof(*filter));
    if (filter == NULL) {
        return YK_ENOMEM;
    }
    *filter = (struct filter){.host = host};
    *ret_self = filter;
    return YK_OK;
}

static enum yk_err
broken_config(void *self, const char *name, const struct yk_option_value *value)
{
    struct filter *filter = self;
    filter->fault = (enum fault)value->number;
    return YK_OK;
}

static void
broken_destroy(void *self)
{
    struct filter *filter = self;
    if (filter->fault != FAULT_LEAKS) {
        filter->host->release(filter->host, filter);
    }
}

struct passage {
    struct filter *filter;
    yk_value_fn value_fn;
    yk_record_fn record_fn;
    void *arg;
};

/* NULL: no memory. Lives as long as the call. */
static struct passage *
passage_new(struct filter *filter, struct yk_call *call, void *arg)
{
    struct passage *passage = call->alloc(call, sizeof(*passage));
    if (passage != NULL) {
        *passage = (struct passage){.filter = filter, .arg = arg};
    }
    return passage;
}

static void
pass_value(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    const struct passage *passage = arg;
    struct filter *filter = passage->filter;
    uint8_t *plain = malloc(value.size + 1);
    if (plain == NULL) {
        passage->value_fn(passage->arg, index, YK_ENOMEM, yk_slice_of(NULL, 0));
        return;
    }
    if (result != YK_OK && filter->fault == FAULT_HIDES_GET_ERRORS) {
        result = YK_ENOTFOUND;
    }
    turn(&value, plain);
    passage->value_fn(passage->arg, index, result,
                      filter->fault == FAULT_GETS_RAW ? value : yk_slice_of(plain, value.size));
    free(plain);
}

static enum yk_err
broken_get(void *self, struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
           void *arg, struct yk_call *call)
{
    struct passage *passage = passage_new(self, call, arg);
    if (passage == NULL) {
        return YK_ENOMEM;
    }
    passage->value_fn = fn;
    return next->get(next, keys, n, pass_value, passage, call);
}

/* The changes as they are stored, in memory of the call. */
static struct yk_change *
turn_changes(const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct yk_change *turned = call->alloc(call, n * sizeof(*turned));
    for (uint32_t i = 0; turned != NULL && i < n; i++) {
        uint8_t *value = call->alloc(call, changes[i].value.size + 1);
        if (value == NULL) {
            return NULL;
        }
        turn(&changes[i].value, value);
        turned[i] = changes[i];
        turned[i].value = yk_slice_of(value, changes[i].value.size);
    }
    return turned;
}

static enum yk_err
broken_apply(void *self, struct yk_next *next, const struct yk_change *changes, uint32_t n,
             struct yk_call *call)
{
    const struct filter *filter = self;
    struct yk_change *turned = turn_changes(changes, n, call);
    if (turned == NULL) {
        return YK_EIO; /* what was admitted below cannot be given up from here */
    }
    enum yk_err result = next->apply(next, turned, n, call);
    bool is_hidden = filter->fault == FAULT_HIDES_APPLY_ERRORS && result != YK_EPENDING;
    return is_hidden ? YK_OK : result;
}

static bool
pass_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    const struct passage *passage = arg;
    uint8_t *plain = malloc(value.size + 1);
    if (plain == NULL) {
        return false;
    }
    turn(&value, plain);
    bool is_raw = passage->filter->fault == FAULT_SCANS_RAW;
    bool goes_on =
        passage->record_fn(passage->arg, key, is_raw ? value : yk_slice_of(plain, value.size));
    free(plain);
    return goes_on;
}

static enum yk_err
broken_scan(void *self, struct yk_next *next, const struct yk_scan *scan, struct yk_cursor *cursor,
            yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    const struct filter *filter = self;
    struct passage *passage = passage_new(self, call, arg);
    if (passage == NULL) {
        return YK_ENOMEM;
    }
    passage->record_fn = fn;
    enum yk_err result = next->scan(next, scan, cursor, pass_record, passage, ret_end, call);
    bool is_hidden = filter->fault == FAULT_HIDES_SCAN_ERRORS && result != YK_EPENDING;
    return is_hidden ? YK_OK : result;
}

static enum yk_err
broken_admit(void *self, struct yk_next *next, const struct yk_change *change)
{
    const struct filter *filter = self;
    struct yk_change turned = *change;
    if (filter->fault == FAULT_ADMITS_ALONE) {
        return YK_OK;
    }
    if (filter->fault == FAULT_ADMITS_PLAIN) {
        return next->admit(next, change);
    }
    uint8_t *value = filter->host->alloc(filter->host, change->value.size + 1);
    if (value == NULL) {
        return YK_ENOMEM;
    }
    turn(&change->value, value);
    turned.value = yk_slice_of(value, change->value.size);
    enum yk_err result = next->admit(next, &turned);
    filter->host->release(filter->host, value);
    return result;
}

static const struct yk_filter_ops ops = {
    .struct_size = sizeof(ops),
    .life = {.create = broken_create, .config = broken_config, .destroy = broken_destroy},
    .get = broken_get,
    .apply = broken_apply,
    .scan = broken_scan,
    .admit = broken_admit,
    .threads = YK_THREADS_READERS,
};

YK_PLUGIN(broken_filter) = {
    YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
    .n_options = 1,
    .name = "broken_filter",
    .version = "1",
    .summary = "a filter that breaks one promise",
    .options = options,
    .ops = &ops,
};
