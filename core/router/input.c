/* Bytes that came, and the frontend's requests from them. */
#include <config.h>

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/router/session.h"

enum { INPUT_ROOM_MIN = 4096, INPUT_GROWTH_MIN = 32 * 1024 };

struct inbox {
    struct yk_inbox inbox; /* first */
    struct yk_session *session;
    struct call *taken;
};

static struct inbox *
inbox_of(struct yk_inbox *inbox)
{
    return (struct inbox *)inbox;
}

static struct yk_request *
inbox_request(struct yk_inbox *inbox)
{
    struct inbox *own = inbox_of(inbox);
    struct yk_session *session = own->session;
    YK_ASSERT(own->taken == NULL);
    if (session->n_calls >= YK_SESSION_REQUESTS_MAX || session->is_closing) {
        session->is_stopped = true;
        return NULL;
    }
    own->taken = call_new(session);
    if (own->taken == NULL) {
        session->is_stopped = true;
        session->is_lost = true;
        return NULL;
    }
    return &own->taken->op.request;
}

static void *
inbox_alloc(struct yk_inbox *inbox, struct yk_request *request, size_t size)
{
    struct call *call = (struct call *)request;
    YK_ASSERT(call == inbox_of(inbox)->taken);
    if (size > YK_KEY_SIZE_MAX + YK_FEED_EXTRA_MAX) {
        return NULL;
    }
    struct memory_piece *piece = malloc(sizeof(*piece) + size);
    if (piece == NULL) {
        return NULL;
    }
    piece->next = call->memory;
    call->memory = piece;
    return piece->bytes;
}

static void
append(struct yk_session *session, struct call *call)
{
    call->state = CALL_QUEUED;
    call->next = NULL;
    if (session->last != NULL) {
        session->last->next = call;
    } else {
        session->first = call;
    }
    session->last = call;
    session->n_calls++;
    call->bytes = call->op.request.key.size + call->op.request.value.size;
    session->bytes += call->bytes;
    if (session->next_start == NULL) {
        session->next_start = call;
    }
}

/* The key as it stands in the bucket. False: no memory. */
static bool
add_prefix(struct yk_inbox *inbox, struct yk_request *request)
{
    const struct call *call = (const struct call *)request;
    struct yk_slice prefix = call->session->frontend->prefix;
    struct yk_slice key = request->key;
    bool scans = request->op == YK_OP_SCAN;
    if (prefix.size == 0 || !(scans || (yk_op_has_key(&call->op) && key.size > 0))) {
        return true;
    }
    if (scans && (request->flags & YK_REQUEST_PREFIX) == 0) {
        key.size = 0;
    }
    uint8_t *whole = inbox_alloc(inbox, request, prefix.size + key.size);
    if (whole == NULL) {
        return false;
    }
    memcpy(whole, prefix.data, prefix.size);
    if (key.size > 0) {
        memcpy(whole + prefix.size, key.data, key.size);
    }
    request->key = yk_slice_of(whole, prefix.size + key.size);
    request->flags |= scans ? YK_REQUEST_PREFIX : 0;
    return true;
}

static bool
inbox_submit(struct yk_inbox *inbox, struct yk_request *request)
{
    struct inbox *own = inbox_of(inbox);
    struct yk_session *session = own->session;
    struct call *call = own->taken;
    YK_ASSERT(request == &call->op.request);
    session->is_lost = session->is_lost || !add_prefix(inbox, request);
    own->taken = NULL;
    session->router->n_submitted++;
    call->bucket = request->bucket != NULL ? request->bucket : session->frontend->bucket;
    append(session, call);
    session->is_closing = session->is_closing || (request->flags & YK_REQUEST_CLOSE) != 0;
    if (session->n_calls >= YK_SESSION_REQUESTS_MAX || session->bytes >= YK_SESSION_BYTES_MAX ||
        session->is_closing) {
        session->is_stopped = true;
    }
    return !session->is_stopped;
}

static void
inbox_wake_at(struct yk_inbox *inbox, uint64_t at_ms)
{
    struct yk_session *session = inbox_of(inbox)->session;
    if (session->frontend->ops.timer != NULL &&
        (at_ms == 0 || session->timer_ms == 0 || at_ms < session->timer_ms)) {
        timer_set(session, at_ms);
    }
}

static void
remember_fed(struct yk_session *session)
{
    if (!session->is_fed) {
        session->is_fed = true;
        session->next_fed = session->router->fed;
        session->router->fed = session;
    }
}

static void
lose(struct yk_session *session, const char *why)
{
    yk_log(session->router->config.world, YK_LOG_NOTICE, "router",
           "connection closed peer=%s reason=\"%s\"", session->peer.address, why);
    session->is_lost = true;
}

/* One call of the frontend's feed; returns what it took. */
static size_t
feed(struct yk_session *session, const uint8_t *bytes, size_t size)
{
    struct inbox inbox = {.inbox = {.struct_size = sizeof(struct yk_inbox),
                                    .request = inbox_request,
                                    .alloc = inbox_alloc,
                                    .submit = inbox_submit,
                                    .wake_at = inbox_wake_at},
                          .session = session};
    size_t used = 0, want = 0;
    size_t want_max = session->frontend->bucket->value_size_max + YK_FEED_EXTRA_MAX;
    remember_fed(session);
    enum yk_err result = session->frontend->ops.feed(session->state, bytes, size, session->is_eof,
                                                     &inbox.inbox, &used, &want);
    if (inbox.taken != NULL) {
        call_free(session->router, inbox.taken);
    }
    YK_ASSERT(used <= size);
    session->want = want;
    session->was_fed_eof = session->is_eof && !session->is_stopped;
    if (result != YK_OK) {
        session->is_closing = true;
    } else if (want > want_max || (!session->is_stopped && size - used >= want_max)) {
        lose(session, "a request is larger than the limit");
    }
    session_runnable(session);
    return used;
}

/* Room for size bytes from input_from on; moves the bytes only if no call borrows them. */
static bool
reserve_input(struct yk_session *session, size_t size)
{
    if (session->input_from + size <= session->input_room) {
        return true;
    }
    for (struct call *call = session->first; call != NULL; call = call->next) {
        if (!call_pin(call)) {
            return false;
        }
    }
    if (session->input_from > 0) {
        memmove(session->input, session->input + session->input_from, session->input_size);
        session->input_from = 0;
    }
    if (size <= session->input_room) {
        return true;
    }
    uint8_t *input = realloc(session->input, size);
    if (input == NULL) {
        return false;
    }
    session->input = input;
    session->input_room = size;
    return true;
}

/* Twice what there is, as long as the request is not whole: it grows as bytes really come. */
static size_t
grown_room(const struct yk_session *session, size_t size)
{
    size_t grown = session->input_size * 2;
    if (grown < INPUT_GROWTH_MIN) {
        grown = INPUT_GROWTH_MIN;
    }
    if (grown > session->want) {
        grown = session->want;
    }
    return grown > size ? grown : size;
}

static void
keep_input(struct yk_session *session, const uint8_t *bytes, size_t size)
{
    size_t room = session->input_size + size;
    if (size == 0) {
        return;
    }
    if (!reserve_input(session,
                       room < INPUT_ROOM_MIN ? INPUT_ROOM_MIN : grown_room(session, room))) {
        lose(session, "out of memory");
        return;
    }
    memcpy(session->input + session->input_from + session->input_size, bytes, size);
    session->input_size += size;
}

void
session_feed(struct yk_session *session)
{
    size_t used = feed(session, session->input + session->input_from, session->input_size);
    session->input_from += used;
    session->input_size -= used;
}

bool
session_refeed(struct yk_session *session)
{
    if (!session->is_stopped || session->is_closing || session->is_lost ||
        session->output.outbox.is_full || session->n_calls > YK_SESSION_REQUESTS_MAX / 2) {
        return false;
    }
    session->is_stopped = false;
    session_feed(session);
    return true;
}

void
yk_session_room(struct yk_session *session, uint8_t **ret_room, size_t *ret_size)
{
    *ret_room = NULL;
    *ret_size = 0;
    if (session->input_size == 0 || session->want <= session->input_size || session->n_calls > 0) {
        return;
    }
    if (!reserve_input(session, grown_room(session, session->input_size + 1))) {
        return;
    }
    size_t end = session->input_from + session->input_size;
    *ret_room = session->input + end;
    *ret_size = session->input_room - end;
}

void
yk_session_received(struct yk_session *session, const uint8_t *bytes, size_t size, bool is_eof)
{
    session->router->counters.bytes_read += size;
    session->last_ms = session->router->now_ms;
    session->is_eof = session->is_eof || is_eof;
    if (session->is_closing || session->is_lost) {
        session_touched(session);
        return;
    }
    if (session->input_size == 0 && !session->is_stopped) {
        size_t used = feed(session, bytes, size);
        keep_input(session, bytes + used, size - used);
        return;
    }
    if (session->input != NULL &&
        bytes == session->input + session->input_from + session->input_size) {
        session->input_size += size; /* it was read into the room that was given */
    } else {
        keep_input(session, bytes, size);
    }
    if (!session->is_lost && !session->is_stopped &&
        (session->is_eof || session->input_size >= session->want)) {
        session_feed(session);
    }
}

/* What is still queued or waits to be written may not borrow any more. */
void
session_release_input(struct yk_session *session)
{
    for (struct call *call = session->first; call != NULL; call = call->next) {
        if (!call_pin(call)) {
            lose(session, "out of memory");
            session_touched(session);
            return;
        }
    }
    if (session->input_size == 0) {
        free(session->input);
        session->input = NULL;
        session->input_from = session->input_room = 0;
    }
}
