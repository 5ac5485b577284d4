/* Bytes to commands: finds lines, looks them up in commands.def, and keeps what must be remembered
 * between two calls. Nothing is copied; what is not whole stays in the core's buffer and is looked
 * at again. */
#include <config.h>

#include "frontends/memcached/binary.h"
#include "frontends/memcached/memcached.h"

static const struct yk_mc_command commands[] = {
#define YK_MC_COMMAND(name, handler, words_min, words_max, variant)                                \
    {name, sizeof(name) - 1, yk_mc_take_##handler, words_min, words_max, variant},
#include "frontends/memcached/commands.def"
#undef YK_MC_COMMAND
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

#define LINE_TOO_LONG "CLIENT_ERROR line too long\r\n"

#define EXPIRY_RELATIVE_MAX_S (60 * 60 * 24 * 30)

/* The end of the year 9999; later times are taken as this. */
#define EXPIRY_MAX_S 253402300799

/* The command of that name, or NULL. */
static const struct yk_mc_command *
command_find(struct yk_slice name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (commands[i].name_size == name.size && commands[i].name[0] == *(const char *)name.data &&
            memcmp(commands[i].name, name.data, name.size) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

struct yk_request *
yk_mc_request(struct yk_mc_feed *feed, enum yk_opcode op, uint64_t tag, bool is_silent)
{
    struct yk_request *request = feed->inbox->request(feed->inbox);
    if (request != NULL) {
        request->op = (uint16_t)op;
        request->tag = tag;
        request->flags = is_silent ? YK_REQUEST_QUIET : 0;
    }
    return request;
}

enum yk_mc_step
yk_mc_submit(struct yk_mc_feed *feed, struct yk_request *request)
{
    return feed->inbox->submit(feed->inbox, request) ? YK_MC_STEP_NEXT : YK_MC_STEP_STOP;
}

enum yk_mc_step
yk_mc_say_flags(struct yk_mc_feed *feed, const char *text, uint32_t flags, enum yk_mc_kind kind)
{
    struct yk_request *request = yk_mc_request(feed, YK_OP_NOOP, kind, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = flags;
    request->note = yk_slice_of_text(text);
    return yk_mc_submit(feed, request);
}

enum yk_mc_step
yk_mc_say(struct yk_mc_feed *feed, const char *text)
{
    return yk_mc_say_flags(feed, text, 0, YK_MC_KIND_LINE);
}

enum yk_mc_step
yk_mc_say_unless(struct yk_mc_feed *feed, bool is_silent, const char *text)
{
    return is_silent ? YK_MC_STEP_NEXT : yk_mc_say(feed, text);
}

bool
yk_mc_is_silent(const struct yk_mc_line *line)
{
    return line->n_words <= YK_MC_WORDS_MAX &&
           yk_mc_word_is(line->words[line->n_words - 1], "noreply");
}

bool
yk_mc_key_fits(const struct yk_mc_feed *feed, const struct yk_mc_line *line, struct yk_slice key)
{
    return key.size <= feed->session->key_size_max && !line->has_odd;
}

struct yk_ttl
yk_mc_expiry(int64_t seconds)
{
    struct yk_ttl ttl = {0, YK_EXPIRY_NEVER};
    if (seconds < 0) {
        ttl.ms = -1;
        ttl.kind = YK_EXPIRY_RELATIVE;
    } else if (seconds > EXPIRY_RELATIVE_MAX_S) {
        ttl.ms = (seconds < EXPIRY_MAX_S ? seconds : EXPIRY_MAX_S) * 1000;
        ttl.kind = YK_EXPIRY_ABSOLUTE;
    } else if (seconds > 0) {
        ttl.ms = seconds * 1000;
        ttl.kind = YK_EXPIRY_RELATIVE;
    }
    return ttl;
}

/* A line without an end within the bound: the keys of a get are taken as they come, any other ends
 * the connection. */
static enum yk_mc_step
feed_long_line(struct yk_mc_feed *feed, const struct yk_mc_line *line)
{
    const struct yk_mc_command *command = line->n_words > 0 ? command_find(line->words[0]) : NULL;
    enum yk_mc_step step;
    if (command != NULL && yk_mc_take_long_get(feed, command, line, &step)) {
        return step;
    }
    step = yk_mc_say_flags(feed, LINE_TOO_LONG, YK_REQUEST_CLOSE, YK_MC_KIND_LINE);
    if (step != YK_MC_STEP_AGAIN) {
        feed->session->state = YK_MC_STATE_ENDED;
    }
    return step;
}

static enum yk_mc_step
feed_line(struct yk_mc_feed *feed)
{
    const uint8_t *bytes = feed->bytes + feed->used;
    size_t left = feed->size - feed->used;
    size_t look = left < YK_MC_LINE_SIZE_MAX ? left : YK_MC_LINE_SIZE_MAX;
    struct yk_mc_line line;
    enum yk_mc_step step;
    if (yk_mc_take_short_get(feed, bytes, look, &step) ||
        yk_mc_take_short_set(feed, bytes, look, &step)) {
        /* as most lines are */
    } else if (yk_mc_parse_line(bytes, look, &line)) {
        const struct yk_mc_command *command = line.n_words > 0 ? command_find(line.words[0]) : NULL;
        feed->taken = line.size;
        if (command == NULL || line.n_words < command->words_min ||
            line.n_words > command->words_max) {
            step = yk_mc_say(feed, YK_MC_ERROR);
        } else {
            step = command->take(feed, command, &line);
        }
    } else if (look < YK_MC_LINE_SIZE_MAX) {
        return YK_MC_STEP_AGAIN;
    } else {
        feed->taken = line.size;
        step = feed_long_line(feed, &line);
    }
    if (step != YK_MC_STEP_AGAIN) {
        feed->used += feed->taken;
    }
    return step;
}

/* Drops the rest of a line with its end. */
static enum yk_mc_step
feed_skip(struct yk_mc_feed *feed)
{
    const uint8_t *front = feed->bytes + feed->used;
    const uint8_t *end = memchr(front, '\n', feed->size - feed->used);
    if (end == NULL) {
        feed->used = feed->size;
        return YK_MC_STEP_NEXT;
    }
    feed->used += (size_t)(end + 1 - front);
    feed->session->state = YK_MC_STATE_LINE;
    return YK_MC_STEP_NEXT;
}

/* Drops a value that was refused, with its line end, whatever it is. */
static enum yk_mc_step
feed_swallow(struct yk_mc_feed *feed)
{
    struct yk_mc_session *session = feed->session;
    size_t left = feed->size - feed->used;
    size_t n = left < session->swallow_size ? left : (size_t)session->swallow_size;
    feed->used += n;
    session->swallow_size -= n;
    if (session->swallow_size == 0) {
        session->state = session->is_binary ? YK_MC_STATE_FRAME : YK_MC_STATE_LINE;
    }
    return YK_MC_STEP_NEXT;
}

/* The first byte says which protocol the connection speaks, as in memcached. */
static enum yk_mc_step
feed_begin(struct yk_mc_feed *feed)
{
    struct yk_mc_session *session = feed->session;
    session->is_binary = feed->bytes[feed->used] == YK_MC_BINARY_REQUEST;
    session->state = session->is_binary ? YK_MC_STATE_FRAME : YK_MC_STATE_LINE;
    return YK_MC_STEP_NEXT;
}

static enum yk_mc_step
feed_step(struct yk_mc_feed *feed)
{
    switch (feed->session->state) {
    case YK_MC_STATE_LINE:
        return feed_line(feed);
    case YK_MC_STATE_KEYS:
        return yk_mc_take_keys(feed);
    case YK_MC_STATE_SKIP:
        return feed_skip(feed);
    case YK_MC_STATE_SWALLOW:
        return feed_swallow(feed);
    case YK_MC_STATE_BEGIN:
        return feed_begin(feed);
    case YK_MC_STATE_FRAME:
        return yk_mc_take_frame(feed);
    default:
        feed->used = feed->size;
        return YK_MC_STEP_NEXT;
    }
}

enum yk_err
yk_mc_feed(void *session_, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
           size_t *ret_used, size_t *ret_want)
{
    struct yk_mc_session *session = session_;
    struct yk_mc_feed feed = {.session = session, .inbox = inbox, .bytes = bytes, .size = size};
    enum yk_mc_step step = YK_MC_STEP_NEXT;
    if (session->frontend->idle_timeout_us != 0) {
        session->last_ms = session->frontend->host->now_ms(session->frontend->host);
    }
    if (size >= session->want) {
        while (step == YK_MC_STEP_NEXT && feed.used < size) {
            step = feed_step(&feed);
        }
        session->want = feed.want;
    }
    *ret_used = feed.used;
    *ret_want = session->want;
    return YK_OK;
}
