/* Statistics, under memcached's names where it has one for what is counted. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "core/base/buffer.h"
#include "core/router/session.h"

enum { CONNECTION_ENTRY_MAX = 512, CONNECTIONS_SHOWN_MAX = 1000 };

static bool
is_topic(struct yk_slice topic, const char *name)
{
    return yk_slice_equal(topic, yk_slice_of_text(name));
}

bool
stats_knows(struct yk_slice topic)
{
    static const char *const known[] = {"",      "settings", "items", "slabs",
                                        "sizes", "conns",    "reset"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (is_topic(topic, known[i])) {
            return true;
        }
    }
    return false;
}

bool
stats_asks_lanes(struct yk_slice topic)
{
    return is_topic(topic, "") || is_topic(topic, "items") || is_topic(topic, "slabs");
}

/* What a worker gives */

static void
add_counters(const struct counters *counters, struct yk_figures *figures)
{
#define YK_COUNTER(name, is_reset) yk_figures_add(figures, #name, counters->name);
#include "core/router/counters.def"
#undef YK_COUNTER
}

static void
reset_counters(struct counters *counters)
{
#define YK_COUNTER(name, is_reset) counters->name = (is_reset) ? 0 : counters->name;
#include "core/router/counters.def"
#undef YK_COUNTER
}

static size_t
put_pair(char *to, size_t room, uint64_t id, const char *name, const char *value)
{
    int size = snprintf(to, room, "%llu:%s%c%s", (unsigned long long)id, name, 0, value);
    return size >= 0 && (size_t)size + 1 <= room ? (size_t)size + 1 : 0;
}

static size_t
put_connection(const struct yk_session *session, uint64_t now_ms, char *to)
{
    char seconds[24];
    size_t size = 0;
    uint64_t idle_ms = now_ms > session->last_ms ? now_ms - session->last_ms : 0;
    const char *state = session->n_calls > 0 ? "conn_mwrite" : "conn_read";
    snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)(idle_ms / 1000));
    size += put_pair(to, CONNECTION_ENTRY_MAX, session->peer.id, "addr", session->address);
    size += put_pair(to + size, CONNECTION_ENTRY_MAX - size, session->peer.id, "listen_addr",
                     session->listener);
    size += put_pair(to + size, CONNECTION_ENTRY_MAX - size, session->peer.id, "state", state);
    size += put_pair(to + size, CONNECTION_ENTRY_MAX - size, session->peer.id,
                     "secs_since_last_cmd", seconds);
    return size;
}

/* Names and values, each with a NUL behind it. */
static struct yk_buffer *
list_connections(const struct yk_router *router)
{
    uint32_t n =
        router->n_sessions < CONNECTIONS_SHOWN_MAX ? router->n_sessions : CONNECTIONS_SHOWN_MAX;
    struct yk_buffer *buffer = yk_buffer_new((size_t)n * CONNECTION_ENTRY_MAX);
    size_t size = 0;
    if (buffer == NULL) {
        return NULL;
    }
    for (struct yk_session *session = router->newest; session != NULL && n > 0;
         session = session->older, n--) {
        size += put_connection(session, router->now_ms, (char *)buffer->data + size);
    }
    buffer->size = size;
    return buffer;
}

void
yk_router_execute(struct yk_router *router, struct yk_op *op)
{
    struct yk_slice topic = op->request.key;
    op->reply = (struct yk_reply){.struct_size = sizeof(op->reply), .result = YK_OK};
    if (is_topic(topic, "reset")) {
        reset_counters(&router->counters);
    } else if (is_topic(topic, "conns")) {
        op->old = list_connections(router);
        op->reply.result = op->old != NULL ? YK_OK : YK_ENOMEM;
    } else {
        add_counters(&router->counters, op->figures);
    }
}

/* What the client is told */

static void
write_fact(void *arg, const char *name, const char *value)
{
    struct yk_reply reply = {.struct_size = sizeof(reply),
                             .result = YK_OK,
                             .flags = YK_REPLY_MORE,
                             .name = yk_slice_of_text(name),
                             .value = yk_slice_of_text(value)};
    session_write(arg, &reply);
}

static void
write_number(struct call *call, const char *name, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    write_fact(call, name, text);
}

static void
write_connections(struct call *call)
{
    for (uint32_t i = 0; i < call->parts->n_ops; i++) {
        const struct yk_buffer *buffer = call->parts->ops[i].old;
        const char *at = buffer != NULL ? (const char *)buffer->data : NULL;
        const char *end = buffer != NULL ? at + buffer->size : NULL;
        while (at < end) {
            const char *value = at + strlen(at) + 1;
            write_fact(call, at, value);
            at = value + strlen(value) + 1;
        }
    }
}

static void
sum_figures(const struct parts *parts, struct yk_figures *sum)
{
    sum->n = 0;
    for (uint32_t i = 0; i < parts->n_ops; i++) {
        for (uint32_t k = 0; k < parts->figures[i].n; k++) {
            yk_figures_add(sum, parts->figures[i].figures[k].name,
                           parts->figures[i].figures[k].number);
        }
    }
}

static void
write_general(struct call *call, const struct yk_figures *sum)
{
    struct yk_router_sink *sink = &call->session->router->config.sink;
    sink->facts(sink->arg, "", write_fact, call);
    for (uint32_t i = 0; i < sum->n; i++) {
        write_number(call, sum->figures[i].name, sum->figures[i].number);
    }
    write_number(call, "limit_maxbytes", yk_budget_max(&call->bucket->budget));
}

/* All items are of one class, number 1. */
static void
write_items(struct call *call, const struct yk_figures *sum)
{
    uint64_t items = yk_figures_get(sum, "curr_items");
    if (items == 0) {
        return;
    }
    write_number(call, "items:1:number", items);
    write_number(call, "items:1:mem_requested", yk_figures_get(sum, "bytes"));
    write_number(call, "items:1:evicted", yk_figures_get(sum, "evictions"));
}

static void
write_slabs(struct call *call, const struct yk_figures *sum)
{
    uint64_t items = yk_figures_get(sum, "curr_items");
    if (items > 0) {
        write_number(call, "1:used_chunks", items);
        write_number(call, "1:mem_requested", yk_figures_get(sum, "bytes"));
        write_number(call, "1:get_hits", yk_figures_get(sum, "get_hits"));
        write_number(call, "1:cmd_set", yk_figures_get(sum, "cmd_set"));
        write_number(call, "1:delete_hits", yk_figures_get(sum, "delete_hits"));
    }
    write_number(call, "active_slabs", items > 0 ? 1 : 0);
    write_number(call, "total_malloced", yk_figures_get(sum, "bytes"));
}

void
stats_answer(struct call *call)
{
    struct yk_slice topic = call->op.request.key;
    struct yk_router_sink *sink = &call->session->router->config.sink;
    struct yk_figures *sum = malloc(sizeof(*sum));
    if (sum == NULL) {
        call_fail(call, YK_ENOMEM, NULL);
        return;
    }
    sum_figures(call->parts, sum);
    if (is_topic(topic, "")) {
        write_general(call, sum);
    } else if (is_topic(topic, "settings")) {
        sink->facts(sink->arg, "settings", write_fact, call);
        write_number(call, "maxbytes", yk_budget_max(&call->bucket->budget));
    } else if (is_topic(topic, "items")) {
        write_items(call, sum);
    } else if (is_topic(topic, "slabs")) {
        write_slabs(call, sum);
    } else if (is_topic(topic, "sizes")) {
        write_fact(call, "sizes_status", "disabled");
    } else if (is_topic(topic, "conns")) {
        write_connections(call);
    }
    free(sum);
    call_fail(call, YK_OK, NULL);
}
