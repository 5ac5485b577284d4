/* The example frontend with one broken promise, which the option `fault` chooses. */
#define lines_LTX_yk_plugin unused_LTX_yk_plugin /* the example is not what is exported here */
#include "examples/plugin-frontend/lines.c"
#undef lines_LTX_yk_plugin

#include <stdlib.h>

#define FAULTS(F)                                                                                  \
    F(none)                                                                                        \
    F(uses_too_much)                                                                               \
    F(wants_too_little)                                                                            \
    F(never_submits)                                                                               \
    F(goes_on_after_stop)                                                                          \
    F(empty_key)                                                                                   \
    F(writes_beyond)                                                                               \
    F(lends_foreign)                                                                               \
    F(counts_chunks)                                                                               \
    F(keeps_bytes)                                                                                 \
    F(says_otherwise)                                                                              \
    F(wakes_early)                                                                                 \
    F(probes_for_ever)                                                                             \
    F(leaks)                                                                                       \
    F(trusts_memory)

enum fault {
#define FAULT(name) FAULT_##name,
    FAULTS(FAULT)
#undef FAULT
};

static const char *const fault_names[] = {
#define FAULT(name) #name,
    FAULTS(FAULT)
#undef FAULT
        NULL};

static const struct yk_option options[] = {{YK_OPTION_HEAD, YK_OPTION_ENUM, 0, "fault", "none", 0,
                                            0, fault_names, "The promise that is broken."}};

/* One instance in a process is enough here. */
static enum fault fault;
static uint64_t n_feeds;

static enum yk_err
broken_config(void *self, const char *name, const struct yk_option_value *value)
{
    fault = (enum fault)value->number;
    return YK_OK;
}

static enum yk_err
broken_session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    const struct yk_host *host = self;
    n_feeds = 0;
    if (fault == FAULT_leaks && host->alloc(host, 10) == NULL) {
        return YK_ENOMEM;
    }
    if (fault == FAULT_trusts_memory) {
        void *memory = host->alloc(host, 10);
        memset(memory, 0, 10);
        host->release(host, memory);
    }
    return lines_session_new(self, peer, ret_session);
}

static enum yk_err
broken_feed(void *session, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
            size_t *ret_used, size_t *ret_want)
{
    static const uint8_t *last; /* a feed ago */
    struct yk_request *request = NULL;
    enum yk_err result = lines_feed(session, bytes, size, eof, inbox, ret_used, ret_want);
    n_feeds++;
    if (fault == FAULT_uses_too_much) {
        *ret_used = size + 1;
    } else if (fault == FAULT_wants_too_little && *ret_used < size) {
        *ret_want = 1;
    } else if (fault == FAULT_never_submits || fault == FAULT_goes_on_after_stop) {
        request = inbox->request(inbox);
    } else if (fault == FAULT_empty_key && (request = inbox->request(inbox)) != NULL) {
        request->op = YK_OP_GET;
    } else if (fault == FAULT_keeps_bytes && last != NULL &&
               (request = inbox->request(inbox)) != NULL) {
        say(request, "");
        request->op = YK_OP_GET;
        request->key = yk_slice_of(last, 1);
    }
    last = size > 0 ? bytes : NULL;
    if (request != NULL && fault != FAULT_never_submits) {
        inbox->submit(inbox, request);
    }
    return result;
}

static void
broken_reply(void *session, const struct yk_request *request, const struct yk_reply *reply,
             struct yk_outbox *outbox)
{
    struct yk_buffer buffer = {.struct_size = sizeof(buffer), .size = 4, .data = (uint8_t *)"abcd"};
    if (fault == FAULT_writes_beyond && yk_outbox_reserve(outbox, 3) != NULL) {
        memcpy(outbox->cur, "abcd", 4);
        outbox->cur += 3;
    } else if (fault == FAULT_lends_foreign) {
        outbox->lend(outbox, yk_slice_of_text("text"), &buffer);
    } else if (fault == FAULT_counts_chunks) {
        yk_outbox_put_u64(outbox, n_feeds);
    } else if (fault == FAULT_says_otherwise && reply->result == YK_ENOTFOUND) {
        yk_outbox_put_text(outbox, "NOTHING\n");
        return;
    }
    lines_reply(session, request, reply, outbox);
}

static enum yk_probe
broken_probe(void *self, const uint8_t *bytes, size_t size)
{
    return fault == FAULT_probes_for_ever || size < 10 ? YK_PROBE_MORE : YK_PROBE_NO;
}

static enum yk_timer_result
broken_timer(void *session, uint64_t now_ms, struct yk_outbox *outbox, uint64_t *ret_next_ms)
{
    *ret_next_ms = fault == FAULT_wakes_early ? now_ms - 1 : now_ms + 1000;
    return YK_TIMER_NONE;
}

static const struct yk_frontend_ops broken_ops = {
    .struct_size = sizeof(broken_ops),
    .life = {.create = lines_create, .config = broken_config},
    .probe = broken_probe,
    .session_new = broken_session_new,
    .session_free = lines_session_free,
    .feed = broken_feed,
    .reply = broken_reply,
    .timer = broken_timer,
};

YK_PLUGIN(broken_frontend) = {
    YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI),
    .n_options = 1,
    .name = "broken_frontend",
    .version = "1",
    .summary = "a frontend that breaks one promise",
    .options = options,
    .ops = &broken_ops,
};
