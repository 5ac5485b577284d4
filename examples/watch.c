/* A sketch of a frontend that tells of changes, in lines:
 *
 *     set KEY VALUE      ok | error TEXT
 *     watch PREFIX       put KEY-SIZE VERSION, a line with the key | delete KEY-SIZE VERSION,
 * likewise; ... quit               the connection closes
 *
 * Replies come in the order of the requests, so whatever follows a watch on its connection is
 * answered when the watch has ended, which is never: a client that does both opens two connections.
 */
#include <yakumo/frontend.h>

enum { LINE_MAX = 4096 };
enum tag { TAG_ERROR = 0, TAG_QUIT, TAG_SET, TAG_WATCH };

struct session {
    const struct yk_host *host;
    const struct yk_peer *peer;
    bool is_watching; /* further lines are dropped */
};

/* The next word of *rest, which moves behind it and the space. */
static struct yk_slice
take_word(struct yk_slice *rest)
{
    const char *start = rest->data;
    const char *space = rest->size > 0 ? memchr(start, ' ', rest->size) : NULL;
    size_t size = space != NULL ? (size_t)(space - start) : rest->size;
    size_t skip = size + (space != NULL);
    *rest = yk_slice_of(start + skip, rest->size - skip);
    return yk_slice_of(start, size);
}

static void
fill(struct session *session, struct yk_request *request, struct yk_slice line)
{
    struct yk_slice rest = line;
    struct yk_slice verb = take_word(&rest);
    struct yk_slice key = take_word(&rest);
    if (yk_slice_equal(verb, yk_slice_of_text("quit"))) {
        request->tag = TAG_QUIT;
        request->flags = YK_REQUEST_CLOSE;
    } else if (key.size == 0 || key.size > session->peer->key_size_max) {
        request->tag = TAG_ERROR;
    } else if (yk_slice_equal(verb, yk_slice_of_text("set"))) {
        request->op = YK_OP_STORE;
        request->tag = TAG_SET;
        request->key = key;
        request->value = rest;
    } else if (yk_slice_equal(verb, yk_slice_of_text("watch"))) {
        request->op = YK_OP_WATCH;
        request->tag = TAG_WATCH;
        request->key = key;
        session->is_watching = true;
    }
}

static enum yk_err
feed(void *session_, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
     size_t *ret_used, size_t *ret_want)
{
    struct session *session = session_;
    bool may_go_on = true;
    *ret_used = *ret_want = 0;
    while (may_go_on && *ret_used < size && !session->is_watching) {
        const uint8_t *start = bytes + *ret_used;
        const uint8_t *end = memchr(start, '\n', size - *ret_used);
        if (end == NULL) {
            return size - *ret_used >= LINE_MAX ? YK_ETOOLARGE : YK_OK; /* an error closes */
        }
        struct yk_request *request = inbox->request(inbox);
        if (request == NULL) {
            return YK_OK;
        }
        fill(session, request, yk_slice_of(start, (size_t)(end - start)));
        *ret_used = (size_t)(end - bytes) + 1;
        may_go_on = inbox->submit(inbox, request);
    }
    if (session->is_watching) {
        *ret_used = size;
    }
    return YK_OK;
}

static void
put_change(struct yk_outbox *outbox, const struct yk_reply *reply)
{
    yk_outbox_put_text(outbox, reply->result == YK_OK ? "put " : "delete ");
    yk_outbox_put_u64(outbox, reply->name.size);
    yk_outbox_put_text(outbox, " ");
    yk_outbox_put_u64(outbox, reply->version);
    yk_outbox_put_text(outbox, "\n");
    yk_outbox_put(outbox, reply->name.data, reply->name.size);
    yk_outbox_put_text(outbox, "\n");
}

static void
reply(void *session_, const struct yk_request *request, const struct yk_reply *reply_,
      struct yk_outbox *outbox)
{
    struct session *session = session_;
    bool is_part = (reply_->flags & YK_REPLY_MORE) != 0;
    if (request->tag == TAG_ERROR) {
        yk_outbox_put_text(outbox, "error: set KEY VALUE, watch PREFIX, quit\n");
    } else if (request->tag == TAG_WATCH && is_part && reply_->name.size > 0) {
        put_change(outbox, reply_);
    } else if (reply_->result != YK_OK) {
        yk_outbox_put_text(outbox, "error: ");
        yk_outbox_put_text(outbox, yk_reply_text(reply_));
        yk_outbox_put_text(outbox, "\n");
    } else if (request->tag != TAG_QUIT) {
        yk_outbox_put_text(outbox, "ok\n"); /* also: the watch stands, changes follow */
    }
    session->is_watching = session->is_watching && (request->tag != TAG_WATCH || is_part);
}

static enum yk_err
session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    const struct yk_host *host = self;
    struct session *session = host->alloc(host, sizeof(*session));
    if (session == NULL) {
        return YK_ENOMEM;
    }
    *session = (struct session){.host = host, .peer = peer};
    *ret_session = session;
    return YK_OK;
}

static void
session_free(void *session_)
{
    struct session *session = session_;
    session->host->release(session->host, session);
}

static enum yk_err
create(const struct yk_host *host, void **ret_self)
{
    *ret_self = (void *)(uintptr_t)host; /* all that an instance needs */
    return YK_OK;
}

static const struct yk_frontend_ops ops = {.struct_size = sizeof(ops),
                                           .life = {.create = create},
                                           .session_new = session_new,
                                           .session_free = session_free,
                                           .feed = feed,
                                           .reply = reply};

YK_PLUGIN(watch) = {YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI), .name = "watch",
                    .version = "sketch", .summary = "tells of changes, in lines", .ops = &ops};
