/* Which requests may start, and where they go. */
#include <config.h>

#include "core/base/hash.h"
#include "core/router/session.h"

static bool
is_barrier(const struct yk_request *request)
{
    switch (request->op) {
    case YK_OP_FLUSH:
    case YK_OP_SCAN:
    case YK_OP_STATS:
    case YK_OP_ADMIN:
    case YK_OP_SHUTDOWN:
        return true;
    default:
        return (request->flags & YK_REQUEST_BARRIER) != 0;
    }
}

static bool
test_mask(const uint64_t *mask, uint64_t hash)
{
    return (mask[(hash >> 6) & 3] >> (hash & 63) & 1) != 0;
}

static void
set_mask(uint64_t *mask, uint64_t hash)
{
    mask[(hash >> 6) & 3] |= 1ull << (hash & 63);
}

/* Bytes that must be set aside for an answer that is copied. */
static uint64_t
charge_of(const struct call *call)
{
    const struct yk_session *session = call->session;
    if (!call->op.is_kept) {
        return 0;
    }
    if (yk_op_is_read(&call->op)) {
        return call->value_size > session->value_guess ? call->value_size : session->value_guess;
    }
    return call->op.request.op == YK_OP_GET || (call->op.request.flags & YK_REQUEST_VALUE) != 0
               ? call->bucket->value_size_max
               : 0;
}

static bool
may_start(const struct call *call)
{
    const struct yk_session *session = call->session;
    if (session->n_in_flight == 0) {
        return true;
    }
    if (call->is_barrier) {
        return false;
    }
    if (!yk_op_has_key(&call->op)) {
        return true;
    }
    if (test_mask(session->writing, call->op.hash) ||
        (yk_op_is_write(&call->op) && test_mask(session->reading, call->op.hash))) {
        return false;
    }
    return session->charged == 0 || session->charged + charge_of(call) <= YK_SESSION_STASH_MAX;
}

/* Finds out where a request on a key goes. */
static void
locate(struct call *call)
{
    const struct yk_router *router = call->session->router;
    const struct yk_ring *ring = &call->bucket->ring;
    struct yk_op *op = &call->op;
    op->hash = yk_hash(op->request.key);
    op->slot = (uint16_t)yk_ring_slot(ring, op->hash);
    op->lane = (uint16_t)yk_ring_lane(ring, op->slot);
    op->bucket_index = (uint16_t)call->bucket->index;
    op->executor = (uint16_t)yk_ring_worker(ring, op->lane);
    op->is_kept = call->bucket->keeps_answers || op->executor != router->config.worker;
}

static enum yk_err
check_key_request(const struct call *call, const char **ret_text)
{
    const struct yk_request *request = &call->op.request;
    if (request->key.size == 0 || request->key.size > call->bucket->key_size_max) {
        *ret_text = request->key.size == 0 ? "the key is empty" : "the key is too long";
        return YK_EINVALID;
    }
    if (request->value.size > call->bucket->value_size_max) {
        *ret_text = "object too large for cache";
        return YK_ETOOLARGE;
    }
    return YK_OK;
}

/* Later requests on the key wait for it, and its answer counts. */
static void
take_place(struct call *call)
{
    struct yk_session *session = call->session;
    set_mask(yk_op_is_write(&call->op) ? session->writing : session->reading, call->op.hash);
    if (!call->op.is_kept) {
        return;
    }
    call->charge = charge_of(call);
    call->op.kept_max = call->charge;
    session->charged += call->charge;
    if (call->op.executor != session->router->config.worker && yk_op_is_read(&call->op)) {
        call_lend_room(call);
    }
}

static void
start_key(struct call *call)
{
    struct yk_session *session = call->session;
    const char *text = NULL;
    enum yk_err result = check_key_request(call, &text);
    if (result != YK_OK) {
        call_fail(call, result, text);
        return;
    }
    if ((call->op.is_kept || call->bucket->pins_ops) && !call_pin(call)) {
        call_fail(call, YK_ENOMEM, NULL);
        return;
    }
    take_place(call);
    session->router->config.sink.execute(session->router->config.sink.arg, &call->op);
}

static void
open_bucket(struct call *call)
{
    const struct yk_router_config *config = &call->session->router->config;
    struct yk_slice name = call->op.request.key;
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = YK_ENOTFOUND};
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        if (yk_slice_equal(name, yk_slice_of_text(config->buckets[i]->name))) {
            reply.result = YK_OK;
            reply.bucket = config->buckets[i];
        }
    }
    call_answered(call, &reply);
}

/* The one verb so far: "memory_max", bytes in decimal. */
static void
administer(struct call *call)
{
    struct yk_slice verb = call->op.request.key;
    struct yk_slice text = call->op.request.value;
    struct yk_bucket *bucket = call->session->router->config.buckets[call->bucket->index];
    uint64_t number = 0;
    bool is_number = text.size > 0 && text.size < 20;
    for (size_t i = 0; i < text.size && is_number; i++) {
        uint8_t digit = ((const uint8_t *)text.data)[i];
        is_number = digit >= '0' && digit <= '9';
        number = number * 10 + (digit - (uint8_t)'0');
    }
    if (!yk_slice_equal(verb, yk_slice_of_text("memory_max"))) {
        call_fail(call, YK_EUNSUPPORTED, NULL);
    } else if (!is_number) {
        call_fail(call, YK_EINVALID, "memory_max is not a number");
    } else if (number < bucket->memory_min) {
        call_fail(call, YK_EINVALID,
                  "memory_max is too little for the lanes and values of the bucket");
    } else {
        call_fail(call, yk_budget_set_max(&bucket->budget, number), NULL);
    }
}

static void
dispatch(struct call *call)
{
    struct yk_router *router = call->session->router;
    switch (call->op.request.op) {
    case YK_OP_NOOP:
        call_fail(call, YK_OK, NULL);
        break;
    case YK_OP_GET:
    case YK_OP_STORE:
    case YK_OP_ARITH:
    case YK_OP_DELETE:
    case YK_OP_TOUCH:
        start_key(call);
        break;
    case YK_OP_FLUSH:
    case YK_OP_SCAN:
    case YK_OP_STATS:
        parts_start(call);
        break;
    case YK_OP_BUCKET_OPEN:
        open_bucket(call);
        break;
    case YK_OP_ADMIN:
        administer(call);
        break;
    case YK_OP_SHUTDOWN:
        router->config.sink.shut_down(router->config.sink.arg);
        call_fail(call, YK_OK, NULL);
        break;
    default:
        call_fail(call, YK_EUNSUPPORTED, NULL);
        break;
    }
}

static void
mark_started(struct call *call)
{
    call->state = CALL_STARTED;
    call->session->n_in_flight++;
    call->session->has_barrier = call->is_barrier;
}

/* Lets the filters see it, once, and finds out where it goes. False: a filter has answered it. */
static bool
prepare(struct call *call)
{
    struct yk_session *session = call->session;
    call->is_prepared = true;
    call->is_barrier = is_barrier(&call->op.request);
    for (uint32_t i = 0; i < session->frontend->n_filters; i++) {
        struct yk_request_filter *filter = &session->frontend->filters[i];
        struct yk_reply reply = {.struct_size = sizeof(reply)};
        if (filter->ops.request != NULL && call->op.request.op != YK_OP_NOOP &&
            filter->ops.request(filter->self, session->filter_states[i], &call->op.request,
                                &reply) == YK_VERDICT_ANSWER) {
            session->next_start = call->next;
            mark_started(call);
            call_answered(call, &reply);
            return false;
        }
    }
    if (yk_op_has_key(&call->op)) {
        locate(call);
    }
    return true;
}

void
session_start(struct yk_session *session)
{
    while (session->next_start != NULL && !session->has_barrier && !session->is_lost &&
           !session->is_closed) {
        struct call *call = session->next_start;
        if (call->state != CALL_QUEUED) {
            session->next_start = call->next;
            continue;
        }
        if (session->output.outbox.is_full || (session->is_blocked && call != session->first)) {
            return;
        }
        if (!call->is_prepared && !prepare(call)) {
            continue;
        }
        if (!may_start(call)) {
            return;
        }
        session->next_start = call->next;
        mark_started(call);
        dispatch(call);
    }
}

void
session_runnable(struct yk_session *session)
{
    if (!session->is_runnable && !session->is_closed) {
        session->is_runnable = true;
        session->next_runnable = session->router->runnable;
        session->router->runnable = session;
    }
}
