/* Requests that ask several lanes or workers: flush and stats ask all at once, a scan one after
 * another. */
#include <config.h>

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/router/session.h"

void
parts_free(struct parts *parts)
{
    if (parts == NULL) {
        return;
    }
    for (uint32_t i = 0; i < parts->n_ops; i++) {
        yk_buffer_unref(parts->ops[i].old);
    }
    yk_scan_state_free(parts->scan);
    free(parts->figures);
    free(parts->ops);
    free(parts);
}

static bool
parts_new(struct call *call, uint32_t n_ops, bool with_figures)
{
    struct parts *parts = calloc(1, sizeof(*parts));
    if (parts == NULL) {
        return false;
    }
    call->parts = parts;
    parts->ops = calloc(n_ops, sizeof(struct yk_op));
    if (with_figures) {
        parts->figures = calloc(n_ops, sizeof(struct yk_figures));
    }
    if (parts->ops == NULL || (with_figures && parts->figures == NULL)) {
        return false;
    }
    parts->n_ops = n_ops;
    for (uint32_t i = 0; i < n_ops; i++) {
        struct yk_op *op = &parts->ops[i];
        op->request = call->op.request;
        op->part_of = &call->op;
        op->origin = call->op.origin;
        op->bucket_index = (uint16_t)call->bucket->index;
        op->is_kept = true;
        op->figures = with_figures ? &parts->figures[i] : NULL;
    }
    return true;
}

static void
to_lane(const struct call *call, struct yk_op *op, uint32_t lane)
{
    op->lane = (uint16_t)lane;
    op->executor = (uint16_t)yk_ring_worker(&call->bucket->ring, lane);
}

static void
execute(struct call *call, struct yk_op *op)
{
    struct yk_router_sink *sink = &call->session->router->config.sink;
    call->parts->n_left++;
    sink->execute(sink->arg, op);
}

static bool
start_flush(struct call *call)
{
    uint32_t n_lanes = call->bucket->ring.n_lanes;
    bool is_clustered = call->bucket->is_clustered;
    if (!parts_new(call, n_lanes + is_clustered, false)) {
        return false;
    }
    for (uint32_t i = 0; i < n_lanes; i++) {
        to_lane(call, &call->parts->ops[i], i);
        execute(call, &call->parts->ops[i]);
    }
    if (is_clustered) {
        struct yk_op *op = &call->parts->ops[n_lanes];
        op->lane = YK_OP_OTHER_NODES;
        op->executor = op->origin;
        execute(call, op);
    }
    return true;
}

static bool
start_stats(struct call *call)
{
    uint32_t n_workers = call->session->router->config.n_workers;
    uint32_t n_lanes = stats_asks_lanes(call->op.request.key) ? call->bucket->ring.n_lanes : 0;
    if (!parts_new(call, n_workers + n_lanes, true)) {
        return false;
    }
    for (uint32_t i = 0; i < n_workers + n_lanes; i++) {
        struct yk_op *op = &call->parts->ops[i];
        if (i < n_workers) {
            op->lane = YK_OP_WHOLE_WORKER;
            op->executor = (uint16_t)i;
        } else {
            to_lane(call, op, i - n_workers);
        }
        execute(call, op);
    }
    return true;
}

static bool
start_scan(struct call *call)
{
    bool with_values = (call->op.request.flags & YK_REQUEST_VALUE) != 0;
    if (!parts_new(call, 1, false)) {
        return false;
    }
    call->parts->scan =
        yk_scan_state_new(call->bucket->key_size_max, YK_SCAN_BYTES_MAX, with_values);
    if (call->parts->scan == NULL) {
        return false;
    }
    call->parts->ops[0].scan = call->parts->scan;
    to_lane(call, &call->parts->ops[0], 0);
    execute(call, &call->parts->ops[0]);
    return true;
}

bool
parts_start(struct call *call)
{
    bool is_started;
    if (!call_pin(call)) {
        call_fail(call, YK_ENOMEM, NULL);
        return false;
    }
    switch (call->op.request.op) {
    case YK_OP_FLUSH:
        if (call->session->frontend->prefix.size > 0) {
            call_fail(call, YK_EUNSUPPORTED,
                      "a flush is not supported here: it would empty the bucket for all");
            return false;
        }
        if (call->bucket->is_clustered && call->op.request.expiry.kind == YK_EXPIRY_RELATIVE &&
            call->op.request.expiry.ms > 0) {
            call_fail(call, YK_EUNSUPPORTED, "a delayed flush is not supported in a cluster");
            return false;
        }
        is_started = start_flush(call);
        break;
    case YK_OP_STATS:
        if (!stats_knows(call->op.request.key)) {
            call_fail(call, YK_EINVALID, "there are no statistics of that name");
            return false;
        }
        is_started = start_stats(call);
        break;
    default:
        is_started = start_scan(call);
        break;
    }
    if (!is_started) {
        call_fail(call, YK_ENOMEM, NULL);
    }
    return is_started;
}

static bool
is_wanted(const struct call *call, struct yk_slice key)
{
    struct yk_slice prefix = call->op.request.key;
    return (call->op.request.flags & YK_REQUEST_PREFIX) == 0 ||
           (key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0);
}

static void
write_record(struct call *call, struct yk_slice key, const struct yk_record *record)
{
    struct yk_reply reply = {.struct_size = sizeof(reply),
                             .result = YK_OK,
                             .flags = YK_REPLY_MORE,
                             .client_flags = record->client_flags,
                             .version = yk_record_shown_cas(record),
                             .expiry_ms = record->expiry_ms,
                             .name = key,
                             .value = record->value};
    session_write(call, &reply);
}

/* Writes what the chunk holds as far as there is room; true: all of it. */
static bool
write_chunk(struct call *call)
{
    struct parts *parts = call->parts;
    struct yk_slice key;
    struct yk_record record;
    while (!call->session->output.outbox.is_full && !call->session->is_lost) {
        if (!yk_chunk_next(parts->scan, &parts->scan_offset, &key, &record)) {
            return true;
        }
        if (is_wanted(call, key)) {
            write_record(call, key, &record);
        }
    }
    return false;
}

void
parts_pump(struct call *call)
{
    struct parts *parts = call->parts;
    if (parts == NULL || !parts->scan_has_chunk || !write_chunk(call)) {
        return;
    }
    struct yk_op *op = &parts->ops[0];
    parts->scan_has_chunk = false;
    parts->scan_offset = 0;
    if (parts->scan->is_end) {
        uint32_t lane = op->lane + 1u;
        if (lane == call->bucket->ring.n_lanes) {
            call_fail(call, YK_OK, NULL);
            return;
        }
        yk_scan_state_restart(parts->scan);
        to_lane(call, op, lane);
    }
    execute(call, op);
}

static void
all_ended(struct call *call)
{
    struct parts *parts = call->parts;
    if (call->session->is_closed) {
        call_fail(call, YK_ESTOPPED, NULL);
    } else if (parts->result != YK_OK) {
        call_fail(call, call->op.request.op == YK_OP_FLUSH ? YK_EUNKNOWN : parts->result, NULL);
    } else if (call->op.request.op == YK_OP_SCAN) {
        parts->scan_has_chunk = true;
        parts_pump(call);
    } else if (call->op.request.op == YK_OP_STATS) {
        stats_answer(call);
    } else {
        call_fail(call, YK_OK, NULL);
    }
}

void
parts_ended(struct yk_router *router, struct yk_op *op, const struct yk_reply *reply)
{
    struct call *call = (struct call *)op->part_of;
    struct parts *parts = call->parts;
    YK_ASSERT(parts->n_left > 0);
    if (reply->result != YK_OK) {
        parts->result = reply->result;
    }
    if (--parts->n_left == 0) {
        all_ended(call);
    }
}
