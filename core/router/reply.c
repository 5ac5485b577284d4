/* Answers: kept until their turn comes, then written by the frontend. */
#include <config.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/router/session.h"

/* Counting, by memcached's names */

static void
count_hit(bool is_hit, uint64_t *hits, uint64_t *misses)
{
    *(is_hit ? hits : misses) += 1;
}

static void
count_store(struct counters *counters, const struct yk_request *request, enum yk_err result)
{
    counters->cmd_set++;
    counters->total_items += result == YK_OK ? 1 : 0;
    if ((request->flags & YK_REQUEST_CAS) != 0) {
        counters->cas_hits += result == YK_OK ? 1 : 0;
        counters->cas_misses += result == YK_ENOTFOUND ? 1 : 0;
        counters->cas_badval += result == YK_EEXISTS ? 1 : 0;
    }
}

static void
count_arith(struct counters *counters, const struct yk_request *request, enum yk_err result)
{
    bool is_hit = result != YK_ENOTFOUND;
    if (request->mode == YK_MODE_DECR) {
        count_hit(is_hit, &counters->decr_hits, &counters->decr_misses);
    } else {
        count_hit(is_hit, &counters->incr_hits, &counters->incr_misses);
    }
}

/* A read that touches is a touch; one that only wants to know of the record counts as nothing. */
static void
count_get(struct counters *counters, const struct yk_request *request, bool is_hit)
{
    bool touches = request->op == YK_OP_TOUCH || (request->flags & YK_REQUEST_TOUCH) != 0;
    if ((request->flags & (YK_REQUEST_HINT | YK_REQUEST_WIN)) == YK_REQUEST_HINT) {
        return;
    }
    if (touches && (is_hit || request->op == YK_OP_TOUCH)) {
        counters->cmd_touch++;
        count_hit(is_hit, &counters->touch_hits, &counters->touch_misses);
    } else {
        counters->cmd_get++;
        count_hit(is_hit, &counters->get_hits, &counters->get_misses);
    }
}

void
count_outcome(struct yk_router *router, const struct yk_request *request, enum yk_err result)
{
    struct counters *counters = &router->counters;
    bool is_hit = result == YK_OK;
    switch (request->op) {
    case YK_OP_GET:
    case YK_OP_TOUCH:
        count_get(counters, request, is_hit);
        break;
    case YK_OP_STORE:
        count_store(counters, request, result);
        break;
    case YK_OP_DELETE:
        if ((request->flags & YK_REQUEST_INVALIDATE) == 0) {
            count_hit(is_hit, &counters->delete_hits, &counters->delete_misses);
        }
        break;
    case YK_OP_ARITH:
        count_arith(counters, request, result);
        break;
    case YK_OP_FLUSH:
        counters->cmd_flush++;
        break;
    default:
        break;
    }
    counters->errors += result >= YK_EINVALID && result != YK_OK ? 1 : 0;
}

/* Writing */

void
session_touched(struct yk_session *session)
{
    if (!session->is_closed && session->touched != session->router->look) {
        session->touched = session->router->look;
        session->router->config.sink.touched(session->router->config.sink.arg, session);
    }
}

static void
filter_reply(struct call *call, struct yk_reply *reply)
{
    struct yk_session *session = call->session;
    for (uint32_t i = session->frontend->n_filters; i-- > 0;) {
        struct yk_request_filter *filter = &session->frontend->filters[i];
        if (filter->ops.reply != NULL) {
            filter->ops.reply(filter->self, session->filter_states[i], &call->op.request, reply);
        }
    }
}

static void
strip(struct yk_slice *key, struct yk_slice prefix)
{
    if (key->size >= prefix.size) {
        *key = yk_slice_of((const uint8_t *)key->data + prefix.size, key->size - prefix.size);
    }
}

/* To the frontend, which does not know of the prefix of its keys. */
static void
write_without_prefix(struct call *call, const struct yk_reply *reply)
{
    struct yk_session *session = call->session;
    struct yk_slice prefix = session->frontend->prefix;
    struct yk_request request = call->op.request;
    struct yk_reply shown = *reply;
    if (yk_op_has_key(&call->op) || request.op == YK_OP_SCAN) {
        strip(&request.key, prefix);
    }
    if (request.op == YK_OP_SCAN) {
        strip(&shown.name, prefix);
    }
    session->frontend->ops.reply(session->state, &request, &shown, &session->output.outbox);
}

void
session_write(struct call *call, const struct yk_reply *reply)
{
    struct yk_session *session = call->session;
    struct yk_reply seen;
    if (session->frontend->n_filters > 0) {
        seen = *reply;
        filter_reply(call, &seen);
        reply = &seen;
    }
    bool is_quiet = (call->op.request.flags & YK_REQUEST_QUIET) != 0 && reply->result == YK_OK;
    if (!is_quiet && session->frontend->prefix.size > 0) {
        write_without_prefix(call, reply);
    } else if (!is_quiet) {
        session->frontend->ops.reply(session->state, &call->op.request, reply,
                                     &session->output.outbox);
    }
    session->is_lost = session->is_lost || session->output.is_lost;
    session_touched(session);
}

void
session_pop(struct yk_session *session)
{
    struct call *call = session->first;
    session->first = call->next;
    if (session->first == NULL) {
        session->last = NULL;
    }
    if (session->next_start == call) {
        session->next_start = call->next;
    }
    session->n_calls--;
    session->bytes -= call->bytes;
    session->stashed -= call->stash != NULL ? call->stash->size : 0;
    session->is_blocked = false;
    if (session->is_stopped || session->next_start != NULL) {
        session_runnable(session);
    }
    call_free(session->router, call);
}

void
session_flush(struct yk_session *session)
{
    while (session->first != NULL && session->first->state == CALL_ANSWERED &&
           !session->is_closed &&
           (!session->output.outbox.is_full || session->first->op.reply.value.size == 0)) {
        session_write(session->first, &session->first->op.reply);
        session_pop(session);
    }
}

/* Keeps an answer whose turn has not come; what it lends is copied, or its buffer held. */
static void
stash(struct call *call, const struct yk_reply *reply)
{
    struct yk_reply *kept = &call->op.reply;
    *kept = *reply;
    call->state = CALL_ANSWERED;
    if (reply->value.size == 0) {
        return;
    }
    if (reply->value_buffer != NULL) {
        reply->value_buffer->ref(reply->value_buffer);
        call->stash = reply->value_buffer;
    } else {
        call->stash = yk_buffer_new_copy(reply->value);
        if (call->stash == NULL) {
            *kept = (struct yk_reply){.struct_size = sizeof(*kept), .result = YK_ENOMEM};
            return;
        }
        kept->value = yk_slice_of(call->stash->data, reply->value.size);
        kept->value_buffer = call->stash;
    }
    call->session->stashed += call->stash->size;
}

static void
deliver(struct call *call, const struct yk_reply *reply)
{
    struct yk_session *session = call->session;
    bool has_room = !session->output.outbox.is_full || reply->value.size == 0;
    if (session->first != call || !has_room) {
        stash(call, reply);
        return;
    }
    session_write(call, reply);
    session_pop(session);
    session_flush(session);
}

/* The call is not under way any more. */
static void
land(struct call *call)
{
    struct yk_session *session = call->session;
    YK_ASSERT(call->state == CALL_STARTED && session->n_in_flight > 0);
    session->n_in_flight--;
    session->charged -= call->charge;
    call->charge = 0;
    session->has_barrier = false;
    if (session->n_in_flight == 0) {
        memset(session->reading, 0, sizeof(session->reading));
        memset(session->writing, 0, sizeof(session->writing));
    }
    if (session->next_start != NULL) {
        session_runnable(session);
    }
}

/* Ends a call of a session that was closed meanwhile; the last one takes the session with it. */
static void
bury(struct call *call)
{
    struct yk_session *session = call->session;
    struct yk_router *router = session->router;
    land(call);
    call_free(router, call);
    if (session->n_in_flight == 0) {
        session_free(session);
    }
}

void
call_answered(struct call *call, const struct yk_reply *reply)
{
    count_outcome(call->session->router, &call->op.request, reply->result);
    if (call->session->is_closed) {
        bury(call);
        return;
    }
    land(call);
    deliver(call, reply);
}

void
call_fail(struct call *call, enum yk_err result, const char *text)
{
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result, .text = text};
    call_answered(call, &reply);
}

static bool
reads_the_same(const struct call *call, const struct call *other)
{
    return yk_op_is_read(&call->op) && yk_op_is_read(&other->op) && call->op.hash == other->op.hash;
}

/* Later reads of the key that have their answer, or are under way, would be older than the one that
 * is done again: they are done again too. */
static void
repeat_later_reads(struct call *call)
{
    struct yk_session *session = call->session;
    for (struct call *later = call->next; later != NULL; later = later->next) {
        if (later->state == CALL_STARTED && reads_the_same(call, later)) {
            later->must_repeat = true;
        } else if (later->state == CALL_ANSWERED && reads_the_same(call, later)) {
            session->stashed -= later->stash != NULL ? later->stash->size : 0;
            yk_buffer_unref(later->stash);
            later->stash = NULL;
            later->op.reply = (struct yk_reply){.struct_size = sizeof(later->op.reply)};
            later->state = CALL_QUEUED;
        }
    }
}

/* Back to the queue, to be started again when there is room. */
static void
start_again(struct call *call)
{
    struct yk_session *session = call->session;
    land(call);
    call->state = CALL_QUEUED;
    call->must_repeat = false;
    repeat_later_reads(call);
    session->next_start = session->first;
    session->is_blocked = session->is_blocked || call != session->first;
    session_runnable(session);
}

static bool
has_room_for(const struct call *call, const struct yk_reply *reply)
{
    const struct yk_session *session = call->session;
    if (session->is_closed || reply->value.size == 0) {
        return true;
    }
    if (session->first == call) {
        return !session->output.outbox.is_full;
    }
    return session->stashed + reply->value.size <= YK_SESSION_STASH_MAX;
}

bool
yk_router_ended(struct yk_router *router, struct yk_op *op, const struct yk_reply *reply)
{
    if (op->part_of != NULL) {
        parts_ended(router, op, reply);
        return true;
    }
    struct call *call = (struct call *)op;
    struct yk_session *session = call->session;
    bool is_get = yk_op_is_read(op);
    bool is_too_much = reply->result == YK_EBUSY && reply->number > 0;
    if (is_get && op->is_kept && is_too_much && !session->is_closed) {
        session->value_guess = call->value_size = reply->number;
        start_again(call);
        return true;
    }
    if (is_get && !op->is_kept && !has_room_for(call, reply)) {
        start_again(call);
        return false;
    }
    if (is_get && call->must_repeat && !session->is_closed) {
        start_again(call);
        return op->is_kept;
    }
    if (is_get) {
        uint64_t faded = session->value_guess - session->value_guess / 8;
        session->value_guess = reply->value.size > faded ? reply->value.size : faded;
    }
    call_answered(call, reply);
    return true;
}
