/* Store filter "fault": lets calls fail now and then, to see what becomes of it. */
#include <yakumo/filter.h>

enum { PARTS = 1000000 };

struct fault {
    const struct yk_host *host;
    uint64_t get_ppm, admit_ppm, apply_ppm, scan_ppm;
    uint64_t after; /* calls that pass before the first fault */
    uint64_t n_calls;
    uint64_t n_faults;
};

static const struct yk_option fault_options[] = {
    {YK_OPTION_HEAD, YK_OPTION_RATIO, 0, "get", "0%", 0, PARTS, NULL,
     "Share of keys whose read fails with an input/output error."},
    {YK_OPTION_HEAD, YK_OPTION_RATIO, 0, "admit", "0%", 0, PARTS, NULL,
     "Share of changes that are refused before they are made, as if there were no space."},
    {YK_OPTION_HEAD, YK_OPTION_RATIO, 0, "apply", "0%", 0, PARTS, NULL,
     "Share of batches of changes that fail; the lane stops at the first one."},
    {YK_OPTION_HEAD, YK_OPTION_RATIO, 0, "scan", "0%", 0, PARTS, NULL,
     "Share of steps of a scan that fail."},
    {YK_OPTION_HEAD, YK_OPTION_UINT, 0, "after", "0", 0, 0, NULL,
     "How many keys, changes, batches and steps pass in each lane before the first fault."},
};

static enum yk_err
fault_create(const struct yk_host *host, void **ret_self)
{
    struct fault *fault = host->alloc(host, sizeof(*fault));
    if (fault == NULL) {
        return YK_ENOMEM;
    }
    *fault = (struct fault){.host = host};
    *ret_self = fault;
    return YK_OK;
}

static enum yk_err
fault_config(void *self, const char *name, const struct yk_option_value *value)
{
    struct fault *fault = self;
    if (strcmp(name, "get") == 0) {
        fault->get_ppm = value->number;
    } else if (strcmp(name, "admit") == 0) {
        fault->admit_ppm = value->number;
    } else if (strcmp(name, "apply") == 0) {
        fault->apply_ppm = value->number;
    } else if (strcmp(name, "scan") == 0) {
        fault->scan_ppm = value->number;
    } else if (strcmp(name, "after") == 0) {
        fault->after = value->number;
    } else {
        return YK_EINVALID;
    }
    return YK_OK;
}

static void
fault_destroy(void *self)
{
    struct fault *fault = self;
    fault->host->release(fault->host, fault);
}

static bool
strikes(struct fault *fault, uint64_t ppm)
{
    if (ppm == 0 || fault->n_calls++ < fault->after ||
        fault->host->random(fault->host) % PARTS >= ppm) {
        return false;
    }
    fault->n_faults++;
    return true;
}

struct passage {
    struct fault *fault;
    yk_value_fn fn;
    void *arg;
};

static void
spoil_value(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct passage *passage = arg;
    if (strikes(passage->fault, passage->fault->get_ppm)) {
        passage->fn(passage->arg, index, YK_EIO, yk_slice_of(NULL, 0));
        return;
    }
    passage->fn(passage->arg, index, result, value);
}

static enum yk_err
fault_get(void *self, struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
          void *arg, struct yk_call *call)
{
    struct passage *passage = call->alloc(call, sizeof(*passage));
    if (passage == NULL) {
        return YK_ENOMEM;
    }
    *passage = (struct passage){self, fn, arg};
    return next->get(next, keys, n, spoil_value, passage, call);
}

static enum yk_err
fault_apply(void *self, struct yk_next *next, const struct yk_change *changes, uint32_t n,
            struct yk_call *call)
{
    struct fault *fault = self;
    if (strikes(fault, fault->apply_ppm)) {
        return YK_EIO;
    }
    return next->apply(next, changes, n, call);
}

static enum yk_err
fault_scan(void *self, struct yk_next *next, const struct yk_scan *scan, struct yk_cursor *cursor,
           yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    struct fault *fault = self;
    if (strikes(fault, fault->scan_ppm)) {
        return YK_EIO;
    }
    return next->scan(next, scan, cursor, fn, arg, ret_end, call);
}

static enum yk_err
fault_admit(void *self, struct yk_next *next, const struct yk_change *change)
{
    struct fault *fault = self;
    if (strikes(fault, fault->admit_ppm)) {
        return YK_ENOSPACE;
    }
    return next->admit(next, change);
}

static void
fault_stats(void *self, yk_figure_fn fn, void *arg)
{
    fn(arg, "faults_injected", ((struct fault *)self)->n_faults);
}

static const struct yk_filter_ops fault_ops = {
    .struct_size = sizeof(fault_ops),
    .life = {.create = fault_create, .config = fault_config, .destroy = fault_destroy},
    .get = fault_get,
    .apply = fault_apply,
    .scan = fault_scan,
    .admit = fault_admit,
    .stats = fault_stats,
};

YK_PLUGIN(fault) = {
    YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
    .n_options = sizeof(fault_options) / sizeof(fault_options[0]),
    .name = "fault",
    .version = "1",
    .summary = "lets reads, changes and scans fail now and then",
    .details =
        "For tests of clients and of the node itself. A failed read is answered as an error for "
        "that "
        "key; a refused change leaves no trace; after a failed batch of changes the lane answers "
        "errors until the node is started again, because what the engine holds is not known.",
    .options = fault_options,
    .ops = &fault_ops,
};
