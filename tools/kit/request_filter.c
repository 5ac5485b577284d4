/* The kit for request filters: requests of all kinds, and replies to those that pass. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include <yakumo/request_filter.h>

#include "tools/kit/backend.h"

enum {
    KEY_SIZE_MAX = 250,
    VALUE_SIZE_MAX = 2000,
    NOTE_SIZE_MAX = 40,
    PARTS_MAX = 3,
    N_SESSIONS = 4,
    NTH_MAX = 10000
};

/* A filter and its connections. */
struct filter {
    struct kit *kit;
    struct kit_host host;
    struct yk_plugin_host instance;
    const struct yk_request_filter_ops *ops;
    void *self;
    struct yk_peer peer;
    void *sessions[N_SESSIONS];
    bool is_open, has_session[N_SESSIONS];
    struct yk_random random;
    uint64_t n_passed, n_answered;
};

static enum yk_err
session_open(struct filter *filter, uint32_t index)
{
    enum yk_err result = YK_OK;
    kit_doing("session_new");
    filter->sessions[index] = NULL;
    if (filter->ops->session_new != NULL) {
        result = filter->ops->session_new(filter->self, &filter->peer, &filter->sessions[index]);
    }
    filter->has_session[index] = result == YK_OK;
    return result;
}

static void
session_close(struct filter *filter, uint32_t index)
{
    kit_doing("session_free");
    if (filter->has_session[index] && filter->ops->session_free != NULL) {
        filter->ops->session_free(filter->self, filter->sessions[index]);
    }
    filter->has_session[index] = false;
}

static enum yk_err
filter_open(struct filter *filter, struct kit *kit, uint64_t round, uint64_t fails_at)
{
    char error[YK_ERROR_SIZE] = "";
    *filter = (struct filter){
        .kit = kit, .ops = kit->plugin->ops, .random = {kit_seed(kit, "requests", round)}};
    filter->peer = (struct yk_peer){.struct_size = sizeof(filter->peer),
                                    .family = YK_FAMILY_SIM,
                                    .address = "sim:1",
                                    .listener = "sim:0",
                                    .uid = -1,
                                    .id = 1,
                                    .key_size_max = KEY_SIZE_MAX,
                                    .value_size_max = VALUE_SIZE_MAX};
    kit_host_init(&filter->host, kit, kit_seed(kit, "host", round));
    kit_host_fail(&filter->host, fails_at, 0);
    filter->host.now_ms = 1700000000000;
    kit_host_lend(&filter->host, &filter->instance, kit->plugin->name);
    kit_doing("create, config or open");
    enum yk_err result =
        yk_instance_new(kit->settings, &filter->instance.host, &filter->self, error);
    if (result == YK_OK && filter->ops->open != NULL) {
        result = filter->ops->open(filter->self);
        if (result != YK_OK) {
            g_strlcpy(error, filter->instance.error, sizeof(error));
            yk_instance_free(kit->settings, filter->self);
        }
    }
    filter->is_open = result == YK_OK;
    if (result != YK_OK && filter->host.n_failed == 0) {
        kit_broken(kit, error[0] == '\0' ? KIT_ERROR_TEXT : KIT_START, "does not open: %s (%s)",
                   yk_err_text(result), error);
    }
    return result;
}

static void
filter_close(struct filter *filter)
{
    for (uint32_t i = 0; i < N_SESSIONS; i++) {
        session_close(filter, i);
    }
    kit_doing("close or destroy");
    if (filter->is_open) {
        if (filter->ops->close != NULL) {
            filter->ops->close(filter->self);
        }
        yk_instance_free(filter->kit->settings, filter->self);
    }
    if (filter->host.n_alive > 0) {
        kit_broken(filter->kit, KIT_LEAK, "%llu allocations are left after destroy",
                   (unsigned long long)filter->host.n_alive);
    }
    kit_host_done(&filter->host);
}

/* Touches every byte, for what is not there to be seen. */
static void
touch(struct yk_slice slice)
{
    const volatile uint8_t *bytes = slice.data;
    for (size_t i = 0; i < slice.size; i++) {
        (void)bytes[i];
    }
}

static struct yk_slice
random_bytes(struct filter *filter, size_t size_min, size_t size_max)
{
    size_t size = size_min + yk_random_below(&filter->random, size_max - size_min + 1);
    uint8_t *bytes = g_malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(yk_random_next(&filter->random) >> 40);
    }
    return yk_slice_of(bytes, size);
}

static struct yk_request
random_request(struct filter *filter)
{
    struct yk_random *random = &filter->random;
    bool has_value = yk_random_below(random, 2) == 0;
    return (struct yk_request){
        .struct_size = sizeof(struct yk_request),
        .op = (uint16_t)yk_random_below(random, YK_OP_CANCEL + 1),
        .mode = (uint16_t)yk_random_below(random, YK_MODE_DECR + 1),
        .flags = (uint32_t)yk_random_next(random) & 0xffff,
        .client_flags = (uint32_t)yk_random_next(random),
        .key = random_bytes(filter, 1, KEY_SIZE_MAX),
        .value = random_bytes(filter, 0, has_value ? VALUE_SIZE_MAX : 0),
        .note = random_bytes(filter, 0, NOTE_SIZE_MAX),
        .tag = yk_random_next(random),
        .cas = yk_random_next(random),
        .delta = yk_random_next(random),
        .expiry = {(int64_t)yk_random_below(random, 100000), YK_EXPIRY_RELATIVE}};
}

static bool
is_result(uint32_t result)
{
    return result != YK_EPENDING && strcmp(yk_err_text(result), yk_err_text(UINT32_MAX)) != 0;
}

static void
check_request(struct filter *filter, const struct yk_request *before,
              const struct yk_request *after)
{
    if (after->struct_size != sizeof(*after) || after->op > YK_OP_CANCEL ||
        after->mode > YK_MODE_DECR) {
        kit_broken(filter->kit, KIT_REQUEST, "passes on op %u with mode %u", after->op,
                   after->mode);
    }
    if (after->key.size > KEY_SIZE_MAX || after->value.size > VALUE_SIZE_MAX) {
        kit_broken(filter->kit, KIT_REQUEST, "passes on a key of %zu and a value of %zu bytes",
                   after->key.size, after->value.size);
    }
    if (after->tag != before->tag || !yk_slice_equal(after->note, before->note)) {
        kit_broken(filter->kit, KIT_REQUEST, "changes the frontend's own note or tag");
    }
    touch(after->key);
    touch(after->value);
}

static void
check_reply(struct filter *filter, const struct yk_reply *reply, uint32_t flags)
{
    const uint8_t *at = reply->value.data;
    const struct yk_buffer *buffer = reply->value_buffer;
    if (!is_result(reply->result) || reply->struct_size != sizeof(*reply)) {
        kit_broken(filter->kit, KIT_RESULT, "a reply has result %u", reply->result);
    }
    if ((reply->flags & YK_REPLY_MORE) != (flags & YK_REPLY_MORE)) {
        kit_broken(filter->kit, KIT_REPLY_PARTS, "%s",
                   (flags & YK_REPLY_MORE) != 0 ? "makes a part the last reply"
                                                : "makes the last reply a part");
    }
    if (buffer != NULL && reply->value.size > 0 &&
        (at < buffer->data || at + reply->value.size > buffer->data + buffer->size)) {
        kit_broken(filter->kit, KIT_REPLY_VALUE, "a value does not lie in value_buffer");
    }
    touch(reply->value);
    touch(reply->name);
    touch(yk_slice_of_text(yk_reply_text(reply)));
}

static void
ref_nothing(struct yk_buffer *buffer)
{
}

/* A few parts, then the last reply. */
static void
reply_to(struct filter *filter, void *session, const struct yk_request *request)
{
    struct yk_random *random = &filter->random;
    uint64_t n_parts = yk_random_below(random, PARTS_MAX + 1);
    for (uint64_t i = 0; i <= n_parts; i++) {
        struct yk_slice value = random_bytes(filter, 0, VALUE_SIZE_MAX);
        struct yk_slice name = random_bytes(filter, 0, KEY_SIZE_MAX);
        struct yk_buffer buffer = {.struct_size = sizeof(buffer),
                                   .n_refs = 1,
                                   .ref = ref_nothing,
                                   .unref = ref_nothing,
                                   .size = value.size,
                                   .data = (uint8_t *)(uintptr_t)value.data};
        bool has_buffer = yk_random_below(random, 2) == 0;
        struct yk_reply reply = {.struct_size = sizeof(reply),
                                 .result = (uint32_t)yk_random_below(random, YK_EPENDING),
                                 .flags = i < n_parts ? YK_REPLY_MORE : 0,
                                 .version = yk_random_next(random),
                                 .name = name,
                                 .value = value,
                                 .value_buffer = has_buffer ? &buffer : NULL};
        kit_doing("reply");
        if (filter->ops->reply != NULL) {
            filter->ops->reply(filter->self, session, request, &reply);
        }
        check_reply(filter, &reply, i < n_parts ? YK_REPLY_MORE : 0);
        g_free((void *)(uintptr_t)value.data);
        g_free((void *)(uintptr_t)name.data);
    }
}

static void
request_once(struct filter *filter, void *session)
{
    struct yk_request before = random_request(filter), request = before;
    struct yk_reply reply = {.struct_size = sizeof(reply)};
    enum yk_verdict verdict = YK_VERDICT_PASS;
    kit_doing("request");
    if (filter->ops->request != NULL) {
        verdict = filter->ops->request(filter->self, session, &request, &reply);
    }
    if (verdict == YK_VERDICT_ANSWER) {
        filter->n_answered++;
        if (!is_result(reply.result) || (reply.flags & YK_REPLY_MORE) != 0) {
            kit_broken(filter->kit, KIT_ANSWER, "answers with result %u, flags %u", reply.result,
                       reply.flags);
        }
        check_reply(filter, &reply, 0);
    } else if (verdict == YK_VERDICT_PASS) {
        filter->n_passed++;
        check_request(filter, &before, &request);
        reply_to(filter, session, &request);
    } else {
        kit_broken(filter->kit, KIT_VERDICT, "the verdict is %d", (int)verdict);
    }
    g_free((void *)(uintptr_t)before.key.data);
    g_free((void *)(uintptr_t)before.value.data);
    g_free((void *)(uintptr_t)before.note.data);
    filter->host.now_ms += yk_random_below(&filter->random, 3);
}

/* Requests of several connections that come and go. */
static void
use(struct filter *filter, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = (uint32_t)yk_random_below(&filter->random, N_SESSIONS);
        if (!filter->has_session[index]) {
            enum yk_err result = session_open(filter, index);
            if (result != YK_OK && filter->host.n_failed == 0) {
                kit_broken(filter->kit, KIT_START, "session_new fails: %s", yk_err_text(result));
            }
        } else if (yk_random_below(&filter->random, 20) == 0) {
            session_close(filter, index);
        } else {
            request_once(filter, filter->sessions[index]);
        }
    }
}

static void
run_requests(struct kit *kit)
{
    uint64_t n_passed = 0, n_answered = 0;
    for (uint32_t round = 0; round < kit->rounds; round++) {
        struct filter filter;
        (void)!filter_open(&filter, kit, round, 0);
        use(&filter, kit->ops);
        n_passed += filter.n_passed;
        n_answered += filter.n_answered;
        filter_close(&filter);
        kit_progress(kit, round, kit->rounds);
    }
    kit_remark(kit, "%llu requests passed, %llu were answered by the filter",
               (unsigned long long)n_passed, (unsigned long long)n_answered);
}

static void
run_no_memory(struct kit *kit)
{
    for (uint64_t nth = 1; nth < NTH_MAX; nth += nth < 200 ? 1 : nth / 10) {
        struct filter filter;
        if (filter_open(&filter, kit, 0, nth) == YK_OK) {
            use(&filter, MIN(kit->ops, 300));
        }
        bool has_failed = filter.host.n_failed > 0;
        filter_close(&filter);
        if (!has_failed) {
            break;
        }
    }
}

const struct kit_part kit_request_filter_parts[] = {
    {"requests", run_requests},
    {"no-memory", run_no_memory},
    {NULL, NULL},
};
