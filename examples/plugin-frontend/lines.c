/* Frontend "lines": a protocol of four commands, one line each. A first frontend to read, and to
 * start from: see README.md beside it.
 *
 *     get KEY            VALUE text, or NONE
 *     put KEY text       OK
 *     del KEY            OK, or NONE
 *     quit               the connection is closed
 *
 * What goes wrong is answered with ERROR and why. A line ends with LF; a CR before it is dropped.
 */
#include <yakumo/frontend.h>

enum { LINE_MAX = 4096 };
enum tag { TAG_GET = 1, TAG_PUT, TAG_DEL, TAG_TEXT }; /* TEXT: the note is the answer */

struct session {
    const struct yk_host *host;
    const struct yk_peer *peer;
};

/* Takes the word at the front of the rest of the line. */
static struct yk_slice
take_word(struct yk_slice *rest)
{
    const char *start = rest->data;
    const char *space = rest->size > 0 ? memchr(start, ' ', rest->size) : NULL;
    size_t size = space != NULL ? (size_t)(space - start) : rest->size;
    size_t skipped = size + (space != NULL ? 1 : 0);
    *rest = yk_slice_of(start + skipped, rest->size - skipped);
    return yk_slice_of(start, size);
}

static bool
is_word(struct yk_slice word, const char *text)
{
    return yk_slice_equal(word, yk_slice_of_text(text));
}

static void
say(struct yk_request *request, const char *text)
{
    request->op = YK_OP_NOOP;
    request->tag = TAG_TEXT;
    request->note = yk_slice_of_text(text);
}

/* Key and value lie in the line, which stays as it is until the core has started the request. */
static void
fill_request(const struct session *session, struct yk_slice line, struct yk_request *request)
{
    struct yk_slice command = take_word(&line);
    if (is_word(command, "quit") && line.size == 0) {
        say(request, "");
        request->flags = YK_REQUEST_CLOSE;
        return;
    }
    request->tag = is_word(command, "get")   ? TAG_GET
                   : is_word(command, "put") ? TAG_PUT
                   : is_word(command, "del") ? TAG_DEL
                                             : 0;
    request->key = take_word(&line);
    request->value = line;
    if (request->tag == 0 || request->key.size == 0 || (request->tag != TAG_PUT && line.size > 0)) {
        say(request, "ERROR unknown command\n");
    } else if (request->key.size > session->peer->key_size_max ||
               line.size > session->peer->value_size_max) {
        say(request, "ERROR too large\n");
    } else {
        request->op = request->tag == TAG_GET   ? YK_OP_GET
                      : request->tag == TAG_PUT ? YK_OP_STORE
                                                : YK_OP_DELETE;
    }
    if (request->op != YK_OP_STORE) {
        request->value = yk_slice_of(NULL, 0);
    }
    if (request->tag == TAG_TEXT) {
        request->key = yk_slice_of(NULL, 0);
    }
}

static enum yk_err
lines_feed(void *session_, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
           size_t *ret_used, size_t *ret_want)
{
    const struct session *session = session_;
    bool goes_on = true;
    *ret_used = *ret_want = 0;
    while (goes_on && *ret_used < size) {
        const uint8_t *start = bytes + *ret_used;
        size_t left = size - *ret_used;
        const uint8_t *end = memchr(start, '\n', left < LINE_MAX ? left : LINE_MAX);
        if (end == NULL && left < LINE_MAX) {
            return YK_OK; /* the rest of the line has not come yet */
        }
        struct yk_request *request = inbox->request(inbox);
        if (request == NULL) {
            return YK_OK; /* the line will be given again */
        }
        if (end == NULL) {
            say(request, "ERROR the line is too long\n");
            request->flags = YK_REQUEST_CLOSE;
            *ret_used = size;
        } else {
            size_t line_size = (size_t)(end - start);
            bool has_cr = line_size > 0 && start[line_size - 1] == '\r';
            fill_request(session, yk_slice_of(start, line_size - has_cr), request);
            *ret_used += line_size + 1;
        }
        goes_on = (request->flags & YK_REQUEST_CLOSE) == 0;
        goes_on = inbox->submit(inbox, request) && goes_on;
    }
    return YK_OK;
}

static void
lines_reply(void *session, const struct yk_request *request, const struct yk_reply *reply,
            struct yk_outbox *outbox)
{
    if (request->tag == TAG_TEXT) {
        yk_outbox_put(outbox, request->note.data, request->note.size);
    } else if (reply->result == YK_ENOTFOUND) {
        yk_outbox_put_text(outbox, "NONE\n");
    } else if (reply->result != YK_OK) {
        yk_outbox_put_text(outbox, "ERROR ");
        yk_outbox_put_text(outbox, yk_reply_text(reply));
        yk_outbox_put_text(outbox, "\n");
    } else if (request->tag == TAG_GET) {
        yk_outbox_put_text(outbox, "VALUE ");
        yk_outbox_put_value(outbox, reply);
        yk_outbox_put_text(outbox, "\n");
    } else {
        yk_outbox_put_text(outbox, "OK\n");
    }
}

static enum yk_err
lines_session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    const struct yk_host *host = self;
    struct session *session = host->alloc(host, sizeof(*session));
    if (session == NULL) {
        return YK_ENOMEM;
    }
    *session = (struct session){host, peer};
    *ret_session = session;
    return YK_OK;
}

static void
lines_session_free(void *session_)
{
    struct session *session = session_;
    session->host->release(session->host, session);
}

/* An instance has nothing of its own: its host will do as self. */
static enum yk_err
lines_create(const struct yk_host *host, void **ret_self)
{
    *ret_self = (void *)(uintptr_t)host;
    return YK_OK;
}

static const struct yk_frontend_ops lines_ops = {
    .struct_size = sizeof(lines_ops),
    .life = {.create = lines_create},
    .session_new = lines_session_new,
    .session_free = lines_session_free,
    .feed = lines_feed,
    .reply = lines_reply,
};

YK_PLUGIN(lines) = {
    YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI),       .name = "lines",   .version = "1",
    .summary = "a protocol of four commands, one line each", .ops = &lines_ops,
};
