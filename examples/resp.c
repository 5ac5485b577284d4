/* A sketch of a frontend: a little of the Redis protocol (RESP 2): GET, SET, DEL, PING, as arrays
 * of bulk strings or as plain lines.
 *
 * It shows a command of several keys: each key of DEL is a request of its own, their answers are
 * added up, and where the core says stop in the middle, the session remembers how many keys are
 * done. */
#include <yakumo/frontend.h>

#include <strings.h>

enum { ARGS_MAX = 64, LINE_MAX = 4096 };
enum tag { TAG_TEXT = 0, TAG_PING, TAG_GET, TAG_SET, TAG_DEL }; /* TEXT: the note is the answer */

struct session {
    const struct yk_host *host;
    const struct yk_peer *peer;
    uint32_t n_done;    /* requests already submitted of the command at the front */
    uint64_t n_deleted; /* by the DEL whose answers are coming in */
    uint32_t failure;   /* enum yk_err; the first of that DEL */
};

/* Arguments lie in the input. A command that is wrong has its whole answer in error. */
struct command {
    struct yk_slice args[ARGS_MAX];
    uint64_t n_args;
    size_t used, want;
    const char *error;
    enum tag tag;
};

static bool
parse_number(struct yk_slice line, uint64_t max, uint64_t *ret_number)
{
    const uint8_t *digits = line.data;
    uint64_t number = 0;
    for (size_t i = 1; i < line.size; i++) { /* behind the '*' or '$' */
        if (digits[i] < '0' || digits[i] > '9' || (number = number * 10 + digits[i] - '0') > max) {
            return false;
        }
    }
    *ret_number = number;
    return line.size > 1;
}

/* Moves command->used behind the line. False: it has not ended yet, or never will. */
static bool
parse_line(struct command *command, const uint8_t *bytes, size_t size, struct yk_slice *ret_line)
{
    const uint8_t *start = bytes + command->used;
    size_t room = size - command->used < LINE_MAX ? size - command->used : LINE_MAX;
    const uint8_t *end = memchr(start, '\n', room);
    if (end == NULL) {
        command->error = room == LINE_MAX ? "-ERR Protocol error: too long a line\r\n" : NULL;
        return false;
    }
    command->used += (size_t)(end - start) + 1;
    *ret_line = yk_slice_of(start, (size_t)(end - start) - (end > start && end[-1] == '\r'));
    return true;
}

static void
parse_words(struct command *command, struct yk_slice line)
{
    const char *at = line.data, *end = at + line.size;
    while (at < end && command->n_args < ARGS_MAX) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *stop = space != NULL ? space : end;
        if (stop > at) {
            command->args[command->n_args++] = yk_slice_of(at, (size_t)(stop - at));
        }
        at = stop + (stop < end);
    }
}

/* One "$5\r\nhello\r\n". */
static bool
parse_bulk(struct command *command, const struct yk_peer *peer, const uint8_t *bytes, size_t size)
{
    struct yk_slice line;
    uint64_t bulk_size;
    if (!parse_line(command, bytes, size, &line)) {
        return false;
    }
    if (*(const char *)line.data != '$' || !parse_number(line, peer->value_size_max, &bulk_size)) {
        command->error = "-ERR Protocol error: invalid bulk length\r\n";
        return false;
    }
    if (size - command->used < bulk_size + 2) {
        command->want = command->used + bulk_size + 2; /* the core reads it into one buffer */
        return false;
    }
    if (memcmp(bytes + command->used + bulk_size, "\r\n", 2) != 0) {
        command->error = "-ERR Protocol error: no end of line behind a bulk\r\n";
        return false;
    }
    command->args[command->n_args++] = yk_slice_of(bytes + command->used, bulk_size);
    command->used += bulk_size + 2;
    return true;
}

/* False: not whole yet, or no command at all (error). */
static bool
parse_command(struct command *command, const struct yk_peer *peer, const uint8_t *bytes,
              size_t size)
{
    struct yk_slice line;
    uint64_t n_args = 0;
    if (!parse_line(command, bytes, size, &line)) {
        return false;
    }
    if (bytes[0] != '*') {
        parse_words(command, line);
        return true;
    }
    if (!parse_number(line, ARGS_MAX, &n_args)) {
        command->error = "-ERR Protocol error: invalid multibulk length\r\n";
    }
    while (command->n_args < n_args) {
        if (!parse_bulk(command, peer, bytes, size)) {
            return false;
        }
    }
    return command->error == NULL;
}

/* What the command is, and how many requests it makes. One that is whole but wrong gets an answer.
 */
static uint32_t
understand(struct command *command, const struct yk_peer *peer)
{
    static const struct {
        const char *name;
        enum tag tag;
        uint32_t n_args_min, n_args_max;
    } known[] = {{"PING", TAG_PING, 1, 2},
                 {"GET", TAG_GET, 2, 2},
                 {"SET", TAG_SET, 3, 3},
                 {"DEL", TAG_DEL, 2, ARGS_MAX}};
    struct yk_slice name = command->args[0];
    command->error = "-ERR unknown command or wrong number of arguments\r\n";
    for (size_t i = 0; command->n_args > 0 && i < sizeof(known) / sizeof(known[0]); i++) {
        if (name.size == strlen(known[i].name) &&
            strncasecmp(name.data, known[i].name, name.size) == 0 &&
            command->n_args >= known[i].n_args_min && command->n_args <= known[i].n_args_max) {
            command->tag = known[i].tag;
            command->error = NULL;
        }
    }
    uint32_t n_keys = command->tag == TAG_DEL   ? (uint32_t)command->n_args - 1
                      : command->tag >= TAG_GET ? 1
                                                : 0;
    for (uint32_t i = 1; i <= n_keys; i++) {
        if (command->args[i].size == 0 || command->args[i].size > peer->key_size_max) {
            command->error = "-ERR invalid size of key\r\n";
        }
    }
    return command->n_args == 0 ? 0 : command->error == NULL && n_keys > 0 ? n_keys : 1;
}

static void
fill(struct yk_request *request, const struct command *command, uint32_t index, bool is_last)
{
    static const uint16_t ops_by_tag[] = {YK_OP_NOOP, YK_OP_NOOP, YK_OP_GET, YK_OP_STORE,
                                          YK_OP_DELETE};
    request->tag = command->error != NULL ? TAG_TEXT : command->tag;
    request->op = ops_by_tag[request->tag];
    request->flags = is_last ? YK_REQUEST_LAST : 0;
    if (request->tag == TAG_TEXT) {
        request->note = yk_slice_of_text(command->error);
    } else if (request->tag == TAG_PING) {
        request->note = command->n_args > 1 ? command->args[1] : yk_slice_of(NULL, 0);
    } else {
        request->key = command->args[1 + index];
        request->value = request->tag == TAG_SET ? command->args[2] : yk_slice_of(NULL, 0);
    }
}

static enum yk_err
feed(void *session_, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
     size_t *ret_used, size_t *ret_want)
{
    struct session *session = session_;
    bool may_go_on = true;
    *ret_used = *ret_want = 0;
    while (may_go_on && *ret_used < size) {
        struct command command = {.n_args = 0};
        bool is_whole = parse_command(&command, session->peer, bytes + *ret_used, size - *ret_used);
        if (!is_whole && command.error == NULL) {
            *ret_want = command.want;
            break;
        }
        uint32_t n_requests = is_whole ? understand(&command, session->peer) : 1;
        while (may_go_on && session->n_done < n_requests) {
            struct yk_request *request = inbox->request(inbox);
            if (request == NULL) {
                return YK_OK; /* the bytes stay, and n_done says where to go on */
            }
            session->n_done++;
            fill(request, &command, session->n_done - 1, session->n_done == n_requests);
            request->flags |= is_whole ? 0 : YK_REQUEST_CLOSE;
            may_go_on = inbox->submit(inbox, request);
        }
        if (session->n_done == n_requests) {
            session->n_done = 0;
            *ret_used = is_whole ? *ret_used + command.used : size;
        }
    }
    return YK_OK;
}

static void
put_line(struct yk_outbox *outbox, const char *start, const char *text)
{
    yk_outbox_put_text(outbox, start);
    yk_outbox_put_text(outbox, text);
    yk_outbox_put_text(outbox, "\r\n");
}

static void
put_number(struct yk_outbox *outbox, const char *start, uint64_t number)
{
    yk_outbox_put_text(outbox, start);
    yk_outbox_put_u64(outbox, number);
    yk_outbox_put_text(outbox, "\r\n");
}

/* The answers of one DEL come one after another, nothing between them; the last one is written. */
static void
reply_delete(struct session *session, const struct yk_request *request, uint32_t result,
             struct yk_outbox *outbox)
{
    session->n_deleted += result == YK_OK;
    if (session->failure == YK_OK && result != YK_ENOTFOUND) {
        session->failure = result;
    }
    if ((request->flags & YK_REQUEST_LAST) != 0) {
        if (session->failure != YK_OK) {
            put_line(outbox, "-ERR ", yk_err_text(session->failure));
        } else {
            put_number(outbox, ":", session->n_deleted);
        }
        session->n_deleted = 0;
        session->failure = YK_OK;
    }
}

static void
reply(void *session, const struct yk_request *request, const struct yk_reply *reply_,
      struct yk_outbox *outbox)
{
    if (request->tag == TAG_TEXT) {
        yk_outbox_put(outbox, request->note.data, request->note.size);
    } else if (request->tag == TAG_DEL) {
        reply_delete(session, request, reply_->result, outbox);
    } else if (reply_->result == YK_ENOTFOUND) {
        yk_outbox_put_text(outbox, "$-1\r\n");
    } else if (reply_->result != YK_OK) {
        put_line(outbox, "-ERR ", yk_reply_text(reply_));
    } else if (request->tag == TAG_GET) {
        put_number(outbox, "$", reply_->value.size);
        yk_outbox_put_value(outbox, reply_);
        yk_outbox_put_text(outbox, "\r\n");
    } else if (request->tag == TAG_PING && request->note.size > 0) {
        put_number(outbox, "$", request->note.size);
        yk_outbox_put(outbox, request->note.data, request->note.size);
        yk_outbox_put_text(outbox, "\r\n");
    } else {
        put_line(outbox, "+", request->tag == TAG_PING ? "PONG" : "OK");
    }
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

YK_PLUGIN(resp) = {YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI), .name = "resp",
                   .version = "sketch", .summary = "a little of the Redis protocol", .ops = &ops};
