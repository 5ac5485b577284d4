/* Request filter "readonly": refuses everything that changes what is stored. */
#include <yakumo/request_filter.h>

static const char refusal[] = "this listener is read only";

/* What makes a read change the record. */
static const uint32_t get_changes = YK_REQUEST_TOUCH | YK_REQUEST_VIVIFY | YK_REQUEST_RECACHE;

static enum yk_verdict
readonly_request(void *self, void *session, struct yk_request *request, struct yk_reply *ret_reply)
{
    switch (request->op) {
    case YK_OP_GET:
        if ((request->flags & get_changes) == 0) {
            request->flags &= ~(uint32_t)YK_REQUEST_WIN; /* a win is noted in the record */
            return YK_VERDICT_PASS;
        }
        ret_reply->result = YK_EREADONLY;
        ret_reply->text = refusal;
        return YK_VERDICT_ANSWER;
    case YK_OP_STORE:
    case YK_OP_ARITH:
    case YK_OP_DELETE:
    case YK_OP_TOUCH:
    case YK_OP_FLUSH:
    case YK_OP_ADMIN:
    case YK_OP_SHUTDOWN:
        ret_reply->result = YK_EREADONLY;
        ret_reply->text = refusal;
        return YK_VERDICT_ANSWER;
    default:
        return YK_VERDICT_PASS;
    }
}

static const struct yk_request_filter_ops readonly_ops = {
    .struct_size = sizeof(readonly_ops),
    .request = readonly_request,
};

YK_PLUGIN(readonly) = {
    YK_PLUGIN_HEAD(YK_KIND_REQUEST_FILTER, YK_REQUEST_FILTER_ABI),
    .name = "readonly",
    .version = "1",
    .summary = "refuses every request that would change something",
    .details =
        "Stands in request_filters of a frontend. Writes, touches (also get-and-touch, and reads "
        "that may make a "
        "record or win it), flushes, administration and shutdown are answered with \"read only\"; "
        "reads, scans and statistics pass. Nobody wins a stale record here.",
    .ops = &readonly_ops,
};
