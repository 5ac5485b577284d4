/* The memcached protocols as a frontend: its options, and the life of its instances and
 * sessions. */
#include <config.h>

#include "frontends/memcached/binary.h"
#include "frontends/memcached/memcached.h"

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_BOOL, YK_OPTION_RELOAD, "allow_shutdown", "no", 0, 0, NULL,
     "Whether a client may end the node by the command shutdown."},
    {YK_OPTION_HEAD, YK_OPTION_BOOL, YK_OPTION_RELOAD, "allow_flush", "yes", 0, 0, NULL,
     "Whether a client may empty the bucket by the command flush_all."},
    {YK_OPTION_HEAD, YK_OPTION_BOOL, YK_OPTION_RELOAD, "allow_dump", "yes", 0, 0, NULL,
     "Whether a client may list keys by lru_crawler metadump and stats cachedump."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, YK_OPTION_RELOAD, "idle_timeout", "0s", 0, 0, NULL,
     "Connections on which nothing comes or goes for so long are closed; 0 means never. A change "
     "from 0 holds for connections made from then on."},
};

static const char details[] =
    "Speaks the protocols of memcached 1.6, so that its clients need no change. The text protocol: "
    "get, gets, gat, gats, set, add, replace, append, prepend, cas, incr, decr, delete, touch, "
    "flush_all, stats, version, verbosity, quit, shutdown, cache_memlimit and lru_crawler "
    "metadump. The meta commands: mg, ms, md, ma, me and mn with all their flags. The binary "
    "protocol: every command but those of SASL. A connection whose first byte is 0x80 speaks the "
    "binary protocol, any other the text protocol and the meta commands, in any mixture.\n"
    "\n"
    "Keys have up to 250 bytes; on a line none of them is a space, CR, LF or NUL, but meta "
    "commands "
    "take other keys as base64 and the binary protocol takes any. The CAS unique of a record is "
    "its "
    "version, unless a client gave it one. Commands that tune the slabs and lists of memcached are "
    "answered and have no "
    "effect. Each command and each difference from memcached stands in PROTOCOL.md of this plugin.";

static enum yk_err
memcached_create(const struct yk_host *host, void **ret_self)
{
    struct yk_mc_frontend *frontend = host->alloc(host, sizeof(*frontend));
    if (frontend == NULL) {
        return YK_ENOMEM;
    }
    *frontend = (struct yk_mc_frontend){.host = host};
    *ret_self = frontend;
    return YK_OK;
}

static enum yk_err
memcached_config(void *self, const char *name, const struct yk_option_value *value)
{
    struct yk_mc_frontend *frontend = self;
    if (strcmp(name, "allow_shutdown") == 0) {
        frontend->allow_shutdown = value->number != 0;
    } else if (strcmp(name, "allow_flush") == 0) {
        frontend->allow_flush = value->number != 0;
    } else if (strcmp(name, "allow_dump") == 0) {
        frontend->allow_dump = value->number != 0;
    } else if (strcmp(name, "idle_timeout") == 0) {
        frontend->idle_timeout_us = value->number;
    } else {
        return YK_EINVALID;
    }
    return YK_OK;
}

static void
memcached_destroy(void *self)
{
    struct yk_mc_frontend *frontend = self;
    if (frontend != NULL) {
        frontend->host->release(frontend->host, frontend);
    }
}

/* Every command begins with a small letter, or with the first byte of a binary request; a space
 * before it is served, but not recognized. */
static enum yk_probe
memcached_probe(void *self, const uint8_t *bytes, size_t size)
{
    bool is_ours = (bytes[0] >= 'a' && bytes[0] <= 'z') || bytes[0] == YK_MC_BINARY_REQUEST;
    return is_ours ? YK_PROBE_YES : YK_PROBE_NO;
}

static enum yk_err
memcached_session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    struct yk_mc_frontend *frontend = self;
    const struct yk_host *host = frontend->host;
    struct yk_mc_session *session = host->alloc(host, sizeof(*session));
    if (session == NULL) {
        return YK_ENOMEM;
    }
    *session = (struct yk_mc_session){
        .frontend = frontend,
        .peer = peer,
        .state = YK_MC_STATE_BEGIN,
        .key_size_max =
            peer->key_size_max < YK_MC_KEY_SIZE_MAX ? peer->key_size_max : YK_MC_KEY_SIZE_MAX,
        .last_ms = frontend->idle_timeout_us != 0 ? host->now_ms(host) : 0,
    };
    *ret_session = session;
    return YK_OK;
}

static void
memcached_session_free(void *session_)
{
    struct yk_mc_session *session = session_;
    if (session != NULL) {
        const struct yk_host *host = session->frontend->host;
        host->release(host, session);
    }
}

/* Closes a connection on which nothing moved for idle_timeout. */
static enum yk_timer_result
memcached_timer(void *session_, uint64_t now_ms, struct yk_outbox *outbox, uint64_t *ret_next_ms)
{
    const struct yk_mc_session *session = session_;
    uint64_t timeout_us = session->frontend->idle_timeout_us;
    uint64_t timeout_ms = timeout_us / 1000 + (timeout_us % 1000 != 0 ? 1 : 0);
    if (timeout_ms == 0) {
        *ret_next_ms = 0;
        return YK_TIMER_NONE;
    }
    uint64_t idle_ms = now_ms > session->last_ms ? now_ms - session->last_ms : 0;
    if (idle_ms >= timeout_ms) {
        return YK_TIMER_CLOSE;
    }
    *ret_next_ms = now_ms + (timeout_ms - idle_ms);
    return YK_TIMER_NONE;
}

static const struct yk_frontend_ops ops = {
    .struct_size = (uint32_t)sizeof(ops),
    .life =
        {
            .create = memcached_create,
            .config = memcached_config,
            .destroy = memcached_destroy,
        },
    .probe = memcached_probe,
    .session_new = memcached_session_new,
    .session_free = memcached_session_free,
    .feed = yk_mc_feed,
    .reply = yk_mc_reply,
    .timer = memcached_timer,
};

YK_PLUGIN(memcached) = {
    YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI),
    .n_options = (uint32_t)(sizeof(options) / sizeof(options[0])),
    .name = "memcached",
    .version = PACKAGE_VERSION,
    .summary = "the memcached protocols: text, meta commands, binary",
    .details = details,
    .options = options,
    .ops = &ops,
};
