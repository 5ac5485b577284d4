/* A sketch of an HTTP/1.1 frontend: GET, PUT and DELETE of /key, and GET /events/PREFIX, which
 * streams changes as server-sent events, with a comment now and then so that proxies keep the line
 * open.
 *
 * It shows a stream (YK_OP_WATCH), a timer, a decoded key in the request's own memory, and an
 * answer in the middle of a request: "100 Continue" is a NOOP, so it keeps its place among the
 * replies. */
#include <yakumo/frontend.h>

#include <strings.h>

enum { HEAD_SIZE_MAX = 8192 };
enum tag {
    TAG_STATUS = 0,
    TAG_RECORD,
    TAG_CHANGE,
    TAG_EVENTS
}; /* STATUS: number is the answer's */

struct http {
    const struct yk_host *host;
    uint64_t keep_alive_ms;
};

struct session {
    const struct http *http;
    const struct yk_peer *peer;
    bool is_continued; /* the request at the front has had its 100 */
    bool is_watching;  /* an event stream was asked for: whatever else comes is dropped */
    bool is_streaming; /* and its head has been written */
};

struct head {
    struct yk_slice method, target; /* in the input */
    size_t size;                    /* bytes with the empty line; 0: not whole yet */
    uint64_t body_size;
    uint32_t status; /* not 0: refused with this */
    bool has_size, is_close, is_continue;
};

static const char *
status_text(uint32_t status)
{
    static const struct {
        uint32_t status;
        const char *text;
    } texts[] = {{100, "Continue"},          {200, "OK"},
                 {201, "Created"},           {204, "No Content"},
                 {400, "Bad Request"},       {403, "Forbidden"},
                 {404, "Not Found"},         {405, "Method Not Allowed"},
                 {411, "Length Required"},   {412, "Precondition Failed"},
                 {413, "Content Too Large"}, {431, "Request Header Fields Too Large"},
                 {501, "Not Implemented"},   {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},   {507, "Insufficient Storage"}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "Internal Server Error";
}

static uint32_t
status_of(uint32_t result)
{
    switch (result) {
    case YK_OK:
        return 204;
    case YK_ENOTFOUND:
        return 404;
    case YK_EEXISTS:
        return 412;
    case YK_ETOOLARGE:
        return 413;
    case YK_EDENIED:
    case YK_EREADONLY:
        return 403;
    case YK_EUNSUPPORTED:
        return 501;
    case YK_ENOMEM:
    case YK_EBUSY:
    case YK_ESTOPPED:
        return 503;
    case YK_ETIMEDOUT:
        return 504;
    case YK_ENOSPACE:
        return 507;
    default:
        return 500;
    }
}

static bool
is_exactly(struct yk_slice slice, const char *text)
{
    return yk_slice_equal(slice, yk_slice_of_text(text));
}

/* Likewise, in any mix of upper and lower case. */
static bool
is_text(struct yk_slice slice, const char *text)
{
    return slice.size == strlen(text) && strncasecmp(slice.data, text, slice.size) == 0;
}

/* The part of *rest up to separator, which is dropped; all of it where there is none. */
static struct yk_slice
take_until(struct yk_slice *rest, char separator)
{
    const char *start = rest->data;
    const char *end = rest->size > 0 ? memchr(start, separator, rest->size) : NULL;
    size_t size = end != NULL ? (size_t)(end - start) : rest->size;
    *rest = yk_slice_of(start + size + (end != NULL), rest->size - size - (end != NULL));
    return yk_slice_of(start, size);
}

static void
parse_size(struct head *head, struct yk_slice value)
{
    const char *digits = value.data;
    if (head->has_size || value.size == 0 || value.size > 15) {
        head->status = 400; /* two lengths are how requests are smuggled */
        return;
    }
    head->has_size = true;
    for (size_t i = 0; i < value.size; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            head->status = 400;
            return;
        }
        head->body_size = head->body_size * 10 + (uint64_t)(digits[i] - '0');
    }
}

static void
parse_field(struct head *head, struct yk_slice line)
{
    struct yk_slice value = line;
    struct yk_slice name = take_until(&value, ':');
    const char *bytes = name.data;
    if (name.size == 0 || name.size == line.size || bytes[0] == ' ' || bytes[0] == '\t' ||
        bytes[name.size - 1] == ' ') {
        head->status = 400;
        return;
    }
    while (value.size > 0 && *(const char *)value.data == ' ') {
        value = yk_slice_of((const char *)value.data + 1, value.size - 1);
    }
    while (value.size > 0 && ((const char *)value.data)[value.size - 1] == ' ') {
        value.size--;
    }
    if (is_text(name, "content-length")) {
        parse_size(head, value);
    } else if (is_text(name, "transfer-encoding")) {
        head->status = 501;
    } else if (is_text(name, "connection")) {
        head->is_close = head->is_close || is_text(value, "close");
    } else if (is_text(name, "expect")) {
        head->is_continue = is_text(value, "100-continue");
    }
}

/* Lines end in CR LF, and no other control byte stands in a head. */
static bool
is_clean(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool is_end = bytes[i] == '\r' && i + 1 < size && bytes[i + 1] == '\n';
        if ((bytes[i] < 0x20 && bytes[i] != '\t' && !is_end) || bytes[i] == 0x7f) {
            return false;
        }
        i += is_end;
    }
    return true;
}

/* Bytes up to and with the empty line; 0: it has not come yet. */
static size_t
head_size(const uint8_t *bytes, size_t size)
{
    for (size_t i = 3; i < size; i++) {
        if (bytes[i] == '\n' && memcmp(bytes + i - 3, "\r\n\r", 3) == 0) {
            return i + 1;
        }
    }
    return 0;
}

static void
parse_head(struct head *head, const uint8_t *bytes, size_t size)
{
    head->size = head_size(bytes, size < HEAD_SIZE_MAX ? size : HEAD_SIZE_MAX);
    if (head->size == 0) {
        head->status = size >= HEAD_SIZE_MAX ? 431 : 0;
        return;
    }
    struct yk_slice rest = yk_slice_of(bytes, head->size - 2);
    struct yk_slice first = take_until(&rest, '\r');
    head->method = take_until(&first, ' ');
    head->target = take_until(&first, ' ');
    head->is_close = is_exactly(first, "HTTP/1.0");
    if (!is_clean(bytes, head->size) || head->target.size == 0 ||
        *(const char *)head->target.data != '/' ||
        (!head->is_close && !is_exactly(first, "HTTP/1.1"))) {
        head->status = 400;
    }
    while (rest.size > 1 && head->status == 0) {
        rest = yk_slice_of((const char *)rest.data + 1, rest.size - 1); /* the '\n' */
        parse_field(head, take_until(&rest, '\r'));
    }
}

static int
hex_value(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* The key in a target, decoded into `to`, which has room for all of it. False: broken. */
static bool
decode_key(struct yk_slice target, uint8_t *to, struct yk_slice *ret_key)
{
    const char *from = target.data;
    size_t size = 0;
    for (size_t i = 0; i < target.size && from[i] != '?'; i++) {
        int byte = from[i];
        if (byte == '%') {
            int high = i + 2 < target.size ? hex_value(from[i + 1]) : -1;
            int low = i + 2 < target.size ? hex_value(from[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = high * 16 + low;
            i += 2;
        }
        to[size++] = (uint8_t)byte;
    }
    *ret_key = yk_slice_of(to, size);
    return true;
}

static void
fill_status(struct yk_request *request, uint32_t status)
{
    *request = (struct yk_request){.struct_size = request->struct_size,
                                   .op = YK_OP_NOOP,
                                   .flags = status >= 400 ? YK_REQUEST_CLOSE : 0,
                                   .tag = TAG_STATUS,
                                   .number = status};
}

/* A whole request into one of the core's. */
static void
fill(struct session *session, struct yk_inbox *inbox, struct yk_request *request,
     const struct head *head, struct yk_slice body)
{
    static const char events[] = "/events/";
    bool is_get = is_exactly(head->method, "GET");
    bool is_events = is_get && head->target.size >= strlen(events) &&
                     memcmp(head->target.data, events, strlen(events)) == 0;
    size_t skip = is_events ? strlen(events) : 1;
    struct yk_slice text =
        yk_slice_of((const char *)head->target.data + skip, head->target.size - skip);
    uint8_t *room = inbox->alloc(inbox, request, text.size + 1);
    if (room == NULL) {
        fill_status(request, 503);
        return;
    }
    if (!decode_key(text, room, &request->key) || request->key.size > session->peer->key_size_max ||
        (request->key.size == 0 && !is_events)) {
        fill_status(request, 400);
        return;
    }
    request->flags = head->is_close ? YK_REQUEST_CLOSE : 0;
    request->value = body;
    request->tag = is_events ? TAG_EVENTS : is_get ? TAG_RECORD : TAG_CHANGE;
    if (is_events) {
        request->op = YK_OP_WATCH;
        request->flags = YK_REQUEST_CLOSE; /* such a stream ends with its connection */
        session->is_watching = true;
    } else if (is_get) {
        request->op = YK_OP_GET;
    } else if (is_exactly(head->method, "PUT")) {
        request->op = YK_OP_STORE;
    } else if (is_exactly(head->method, "DELETE")) {
        request->op = YK_OP_DELETE;
    } else {
        fill_status(request, 405);
    }
}

/* One request off the front, or an answer to what is none. False: stop feeding. */
static bool
feed_one(struct session *session, const uint8_t *bytes, size_t size, struct yk_inbox *inbox,
         size_t *used, size_t *ret_want)
{
    struct head head = {.size = 0};
    parse_head(&head, bytes, size);
    if (head.status == 0 && head.body_size > session->peer->value_size_max) {
        head.status = 413;
    }
    if (head.status == 0 && head.size > 0 && is_exactly(head.method, "PUT") && !head.has_size) {
        head.status = 411;
    }
    bool is_whole = head.size > 0 && size - head.size >= head.body_size;
    bool is_continue = head.size > 0 && !is_whole && head.is_continue && !session->is_continued;
    if (head.status == 0 && !is_whole && !is_continue) {
        *ret_want = head.size > 0 ? head.size + head.body_size : 0;
        return false;
    }
    struct yk_request *request = inbox->request(inbox);
    if (request == NULL) {
        return false;
    }
    if (head.status != 0) {
        fill_status(request, head.status);
        *used += size;
    } else if (is_continue) {
        fill_status(request, 100);
        session->is_continued = true;
    } else {
        fill(session, inbox, request, &head, yk_slice_of(bytes + head.size, head.body_size));
        session->is_continued = false;
        *used += head.size + head.body_size;
    }
    return inbox->submit(inbox, request);
}

static enum yk_err
feed(void *session_, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
     size_t *ret_used, size_t *ret_want)
{
    struct session *session = session_;
    bool may_go_on = true;
    *ret_used = *ret_want = 0;
    while (may_go_on && *ret_used < size && !session->is_watching) {
        may_go_on =
            feed_one(session, bytes + *ret_used, size - *ret_used, inbox, ret_used, ret_want);
    }
    if (session->is_watching) {
        *ret_used = size;
    }
    return YK_OK;
}

static void
put_head(struct yk_outbox *outbox, uint32_t status, bool is_close)
{
    yk_outbox_put_text(outbox, "HTTP/1.1 ");
    yk_outbox_put_u64(outbox, status);
    yk_outbox_put_text(outbox, " ");
    yk_outbox_put_text(outbox, status_text(status));
    yk_outbox_put_text(outbox, is_close ? "\r\nConnection: close\r\n" : "\r\n");
}

static void
put_size(struct yk_outbox *outbox, uint64_t size)
{
    yk_outbox_put_text(outbox, "Content-Length: ");
    yk_outbox_put_u64(outbox, size);
    yk_outbox_put_text(outbox, "\r\n\r\n");
}

static void
put_status(struct yk_outbox *outbox, uint32_t status, bool is_close, const char *text)
{
    put_head(outbox, status, is_close);
    if (status == 100 || status == 204) {
        yk_outbox_put_text(outbox, "\r\n");
        return;
    }
    yk_outbox_put_text(outbox, "Content-Type: text/plain\r\n");
    put_size(outbox, strlen(text) + 1);
    yk_outbox_put_text(outbox, text);
    yk_outbox_put_text(outbox, "\n");
}

/* A key may hold any byte, an event's line may not: it goes out as it would stand in a target. */
static void
put_encoded(struct yk_outbox *outbox, struct yk_slice key)
{
    static const char digits[] = "0123456789ABCDEF";
    const uint8_t *bytes = key.data;
    for (size_t i = 0; i < key.size; i++) {
        char code[3] = {'%', digits[bytes[i] >> 4], digits[bytes[i] & 15]};
        bool is_plain = bytes[i] > 0x20 && bytes[i] < 0x7f && bytes[i] != '%';
        yk_outbox_put(outbox, is_plain ? (const void *)&bytes[i] : code, is_plain ? 1 : 3);
    }
}

static void
reply_events(struct session *session, const struct yk_reply *reply, struct yk_outbox *outbox)
{
    bool is_part = (reply->flags & YK_REPLY_MORE) != 0;
    if (!session->is_streaming && !is_part) {
        put_status(outbox, status_of(reply->result), true, yk_reply_text(reply));
        return;
    }
    if (!session->is_streaming) {
        session->is_streaming = true;
        put_head(outbox, 200, true);
        yk_outbox_put_text(outbox,
                           "Content-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n");
    }
    if (is_part && reply->name.size > 0) {
        yk_outbox_put_text(outbox,
                           reply->result == YK_OK ? "event: put\nid: " : "event: delete\nid: ");
        yk_outbox_put_u64(outbox, reply->version);
        yk_outbox_put_text(outbox, "\ndata: ");
        put_encoded(outbox, reply->name);
        yk_outbox_put_text(outbox, "\n\n");
    }
    session->is_streaming = is_part;
}

static void
reply(void *session, const struct yk_request *request, const struct yk_reply *reply_,
      struct yk_outbox *outbox)
{
    bool is_close = (request->flags & YK_REQUEST_CLOSE) != 0;
    if (request->tag == TAG_STATUS) {
        put_status(outbox, request->number, is_close, status_text(request->number));
    } else if (request->tag == TAG_EVENTS) {
        reply_events(session, reply_, outbox);
    } else if (request->tag == TAG_RECORD && reply_->result == YK_OK) {
        put_head(outbox, 200, is_close);
        yk_outbox_put_text(outbox, "ETag: \"");
        yk_outbox_put_u64(outbox, reply_->version);
        yk_outbox_put_text(outbox, "\"\r\n");
        put_size(outbox, reply_->value.size);
        yk_outbox_put_value(outbox, reply_);
    } else {
        put_status(outbox, status_of(reply_->result), is_close, yk_reply_text(reply_));
    }
}

static void
cancel(void *session_, const struct yk_request *request)
{
    struct session *session = session_;
    session->is_streaming = false;
}

static enum yk_timer_result
timer(void *session_, uint64_t now_ms, struct yk_outbox *outbox, uint64_t *ret_next_ms)
{
    struct session *session = session_;
    if (session->is_streaming && !outbox->is_full) {
        yk_outbox_put_text(outbox, ": still here\n\n");
    }
    *ret_next_ms = now_ms + session->http->keep_alive_ms;
    return YK_TIMER_NONE;
}

static enum yk_probe
probe(void *self, const uint8_t *bytes, size_t size)
{
    static const char *const starts[] = {"GET /", "PUT /", "DELETE /"};
    enum yk_probe answer = YK_PROBE_NO;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        size_t start_size = strlen(starts[i]);
        if (memcmp(bytes, starts[i], size < start_size ? size : start_size) == 0) {
            answer = size < start_size ? YK_PROBE_MORE : YK_PROBE_YES;
        }
    }
    return answer;
}

static enum yk_err
session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    struct http *http = self;
    struct session *session = http->host->alloc(http->host, sizeof(*session));
    if (session == NULL) {
        return YK_ENOMEM;
    }
    *session = (struct session){.http = http, .peer = peer};
    *ret_session = session;
    return YK_OK;
}

static void
session_free(void *session_)
{
    struct session *session = session_;
    session->http->host->release(session->http->host, session);
}

static enum yk_err
create(const struct yk_host *host, void **ret_self)
{
    struct http *http = host->alloc(host, sizeof(*http));
    if (http == NULL) {
        return YK_ENOMEM;
    }
    *http = (struct http){.host = host};
    *ret_self = http;
    return YK_OK;
}

static enum yk_err
config(void *self, const char *name, const struct yk_option_value *value)
{
    struct http *http = self;
    http->keep_alive_ms = value->number / 1000;
    return YK_OK;
}

static void
destroy(void *self)
{
    struct http *http = self;
    http->host->release(http->host, http);
}

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_DURATION, YK_OPTION_RELOAD, "keep_alive", "15s", 1000000, 3600000000,
     .help =
         "How often a comment is sent on a stream of events, so that nobody on the way takes the "
         "connection for dead."},
};

static const struct yk_frontend_ops ops = {
    .struct_size = sizeof(ops),
    .life = {.create = create, .config = config, .destroy = destroy},
    .probe = probe,
    .session_new = session_new,
    .session_free = session_free,
    .feed = feed,
    .reply = reply,
    .cancel = cancel,
    .timer = timer};

YK_PLUGIN(http) = {YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI),
                   .name = "http",
                   .version = "sketch",
                   .summary = "records by GET, PUT and DELETE, changes as server-sent events",
                   .n_options = sizeof(options) / sizeof(options[0]),
                   .options = options,
                   .ops = &ops};
