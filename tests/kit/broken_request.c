/* A request filter that with the option `fault` breaks one promise. */
#include <yakumo/request_filter.h>

enum fault {
    FAULT_NONE,
    FAULT_UNKNOWN_VERDICT,
    FAULT_ANSWERS_IN_PARTS,
    FAULT_UNKNOWN_RESULT,
    FAULT_CHANGES_TAG,
    FAULT_GROWS_KEY,
    FAULT_ENDS_STREAMS,
    FAULT_VALUE_ELSEWHERE,
    FAULT_LEAKS,
};

static const char *const fault_names[] = {
    "none",      "unknown_verdict", "answers_in_parts", "unknown_result", "changes_tag",
    "grows_key", "ends_streams",    "value_elsewhere",  "leaks",          NULL};

static const struct yk_option options[] = {{YK_OPTION_HEAD, YK_OPTION_ENUM, 0, "fault", "none", 0,
                                            0, fault_names, "The promise that is broken."}};

struct filter {
    const struct yk_host *host;
    enum fault fault;
};

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

static enum yk_verdict
broken_request(void *self, void *session, struct yk_request *request, struct yk_reply *ret_reply)
{
    static const uint8_t long_key[5000];
    const struct filter *filter = self;
    switch (filter->fault) {
    case FAULT_UNKNOWN_VERDICT:
        return (enum yk_verdict)7;
    case FAULT_ANSWERS_IN_PARTS:
        ret_reply->flags = YK_REPLY_MORE;
        return YK_VERDICT_ANSWER;
    case FAULT_UNKNOWN_RESULT:
        ret_reply->result = 999;
        return YK_VERDICT_ANSWER;
    case FAULT_CHANGES_TAG:
        request->tag++;
        return YK_VERDICT_PASS;
    case FAULT_GROWS_KEY:
        request->key = yk_slice_of(long_key, sizeof(long_key));
        return YK_VERDICT_PASS;
    default:
        return YK_VERDICT_PASS;
    }
}

static void
broken_reply(void *self, void *session, const struct yk_request *request, struct yk_reply *reply)
{
    const struct filter *filter = self;
    if (filter->fault == FAULT_ENDS_STREAMS) {
        reply->flags &= ~(uint32_t)YK_REPLY_MORE;
    } else if (filter->fault == FAULT_VALUE_ELSEWHERE) {
        reply->value = yk_slice_of("other", 5);
    }
}

static const struct yk_request_filter_ops ops = {
    .struct_size = sizeof(ops),
    .life = {.create = broken_create, .config = broken_config, .destroy = broken_destroy},
    .request = broken_request,
    .reply = broken_reply,
};

YK_PLUGIN(broken_request) = {
    YK_PLUGIN_HEAD(YK_KIND_REQUEST_FILTER, YK_REQUEST_FILTER_ABI),
    .n_options = 1,
    .name = "broken_request",
    .version = "1",
    .summary = "a request filter that breaks one promise",
    .options = options,
    .ops = &ops,
};
