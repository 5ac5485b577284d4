/* A sketch of a request filter: so many requests a second for each connection, with room for
 * bursts. What is too much is refused with a text; nothing waits here, and nothing is counted
 * beyond one number.
 *
 * The number is the time at which the connection will have paid for all its requests, each at 1 s /
 * rate. A connection may be in debt up to `burst` requests (the token bucket, written as a clock).
 */
#include <yakumo/request_filter.h>

enum { SECOND_NS = 1000000000 };

struct ratelimit {
    const struct yk_host *host;
    uint64_t cost_ns; /* of one request */
    uint64_t burst;   /* requests */
};

struct session {
    uint64_t paid_at_ns; /* on the clock of host->now_us */
};

static enum yk_verdict
request(void *self, void *session_, struct yk_request *request_, struct yk_reply *ret_reply)
{
    struct ratelimit *limit = self;
    struct session *session = session_;
    uint64_t now_ns = limit->host->now_us(limit->host) * 1000;
    if (request_->op == YK_OP_NOOP) {
        return YK_VERDICT_PASS; /* costs nothing, and carries the protocol's own answers */
    }
    if (session->paid_at_ns < now_ns) {
        session->paid_at_ns = now_ns;
    }
    if (session->paid_at_ns - now_ns > (limit->burst - 1) * limit->cost_ns) {
        ret_reply->result = YK_EBUSY;
        ret_reply->text = "too many requests on this connection, try again later";
        return YK_VERDICT_ANSWER;
    }
    session->paid_at_ns += limit->cost_ns;
    return YK_VERDICT_PASS;
}

static enum yk_err
session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    struct ratelimit *limit = self;
    struct session *session = limit->host->alloc(limit->host, sizeof(*session));
    if (session == NULL) {
        return YK_ENOMEM;
    }
    *session = (struct session){0};
    *ret_session = session;
    return YK_OK;
}

static void
session_free(void *self, void *session)
{
    struct ratelimit *limit = self;
    limit->host->release(limit->host, session);
}

static enum yk_err
create(const struct yk_host *host, void **ret_self)
{
    struct ratelimit *limit = host->alloc(host, sizeof(*limit));
    if (limit == NULL) {
        return YK_ENOMEM;
    }
    *limit = (struct ratelimit){.host = host};
    *ret_self = limit;
    return YK_OK;
}

static enum yk_err
config(void *self, const char *name, const struct yk_option_value *value)
{
    struct ratelimit *limit = self;
    if (strcmp(name, "rate") == 0) {
        limit->cost_ns = SECOND_NS / value->number;
    } else {
        limit->burst = value->number;
    }
    return YK_OK;
}

static void
destroy(void *self)
{
    struct ratelimit *limit = self;
    limit->host->release(limit->host, limit);
}

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_UINT, YK_OPTION_RELOAD, "rate", "1000", 1, 100000000,
     .help = "Requests a second that one connection may make in the long run."},
    {YK_OPTION_HEAD, YK_OPTION_UINT, YK_OPTION_RELOAD, "burst", "100", 1, 1000000,
     .help = "Requests that it may make at once after a pause."},
};

static const struct yk_request_filter_ops ops = {
    .struct_size = sizeof(ops),
    .life = {.create = create, .config = config, .destroy = destroy},
    .session_new = session_new,
    .session_free = session_free,
    .request = request};

YK_PLUGIN(ratelimit) = {YK_PLUGIN_HEAD(YK_KIND_REQUEST_FILTER, YK_REQUEST_FILTER_ABI),
                        .name = "ratelimit",
                        .version = "sketch",
                        .summary = "so many requests a second for each connection",
                        .n_options = sizeof(options) / sizeof(options[0]),
                        .options = options,
                        .ops = &ops};
