/* Frames to requests. What a header says of sizes is held against the bounds before anything waits
 * for as many bytes; a frame that does not have the form of its command ends the connection, since
 * nothing tells where the next one begins. */
#include <config.h>

#include "frontends/memcached/binary.h"

#define FLUSH_EXTRAS_SIZE 4u         /* or none */
#define ARITH_NO_VIVIFY   UINT32_MAX /* this expiry says: only where there is a record */

/* May a part of a frame be empty, must it, must it not? */
enum presence { NO, YES, MAY };

struct frame_kind;

typedef enum yk_mc_step (*take_fn)(struct yk_mc_feed *feed, const struct frame_kind *kind,
                                   const struct yk_mc_frame *frame);

struct frame_kind {
    take_fn take; /* NULL: there is no such command */
    uint8_t extras_size;
    uint8_t key, value; /* enum presence */
    bool is_quiet;
    uint32_t variant;
};

static uint16_t
get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t
get_u32(const uint8_t *at)
{
    return (uint32_t)get_u16(at) << 16 | get_u16(at + 2);
}

static uint64_t
get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) << 32 | get_u32(at + 4);
}

static uint64_t
frame_tag(const struct yk_mc_frame *frame, enum yk_mc_kind kind)
{
    return kind | (uint64_t)frame->opcode << YK_MC_TAG_OPCODE_SHIFT |
           (uint64_t)frame->opaque << YK_MC_TAG_OPAQUE_SHIFT;
}

/* An answer that needs nothing of the core. */
static enum yk_mc_step
frame_say(struct yk_mc_feed *feed, const struct yk_mc_frame *frame, enum yk_mc_status status,
          const char *value, uint32_t flags)
{
    uint64_t tag = frame_tag(frame, YK_MC_KIND_BINARY_STATUS) | (uint64_t)status
                                                                    << YK_MC_TAG_STATUS_SHIFT;
    struct yk_request *request = yk_mc_request(feed, YK_OP_NOOP, tag, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = flags;
    request->note = yk_slice_of_text(value);
    if ((flags & YK_REQUEST_CLOSE) != 0) {
        feed->session->state = YK_MC_STATE_ENDED;
    }
    return yk_mc_submit(feed, request);
}

static enum yk_mc_step
frame_refuse(struct yk_mc_feed *feed, const struct yk_mc_frame *frame, enum yk_mc_status status)
{
    return frame_say(feed, frame, status, yk_mc_status_text(status), 0);
}

/* Says what is wrong, and drops the frame's body. */
static enum yk_mc_step
frame_refuse_body(struct yk_mc_feed *feed, const struct yk_mc_frame *frame,
                  enum yk_mc_status status)
{
    enum yk_mc_step step = frame_refuse(feed, frame, status);
    if (step != YK_MC_STEP_AGAIN) {
        feed->taken = YK_MC_HEADER_SIZE;
        feed->session->state = YK_MC_STATE_SWALLOW;
        feed->session->swallow_size = frame->body_size;
    }
    return step;
}

static enum yk_mc_step
frame_close(struct yk_mc_feed *feed, const struct yk_mc_frame *frame, enum yk_mc_status status)
{
    return frame_say(feed, frame, status, yk_mc_status_text(status), YK_REQUEST_CLOSE);
}

static struct yk_request *
frame_request(struct yk_mc_feed *feed, const struct frame_kind *kind,
              const struct yk_mc_frame *frame, enum yk_opcode op, enum yk_mc_kind tag_kind)
{
    struct yk_request *request =
        yk_mc_request(feed, op, frame_tag(frame, tag_kind), kind->is_quiet);
    if (request != NULL) {
        request->key = frame->key;
        request->cas = frame->cas;
        request->flags |= frame->cas != 0 ? YK_REQUEST_CAS : 0;
    }
    return request;
}

/* A quiet get says nothing of a miss, and so is not quiet in the core's words. */
static enum yk_mc_step
take_get(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    bool is_touch = (kind->variant & YK_MC_FRAME_TOUCH) != 0;
    bool has_value = (kind->variant & YK_MC_FRAME_NO_VALUE) == 0;
    uint64_t tag = frame_tag(frame, YK_MC_KIND_BINARY_GET) |
                   ((kind->variant & YK_MC_FRAME_KEY) != 0 ? YK_MC_TAG_FRAME_KEY : 0) |
                   (has_value ? 0 : YK_MC_TAG_FRAME_NO_VALUE) |
                   (kind->is_quiet ? YK_MC_TAG_FRAME_QUIET : 0);
    struct yk_request *request =
        yk_mc_request(feed, is_touch ? YK_OP_TOUCH : YK_OP_GET, tag, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->key = frame->key;
    if (is_touch) {
        request->expiry = yk_mc_expiry(get_u32(frame->extras));
        request->flags = has_value ? YK_REQUEST_VALUE : 0;
    }
    return yk_mc_submit(feed, request);
}

/* With a CAS all three are a set, as in memcached. */
static enum yk_mc_step
take_store(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    struct yk_request *request =
        frame_request(feed, kind, frame, YK_OP_STORE, YK_MC_KIND_BINARY_STORE);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->mode = frame->cas != 0 ? YK_MODE_SET : (uint16_t)kind->variant;
    request->client_flags = get_u32(frame->extras);
    request->expiry = yk_mc_expiry(get_u32(frame->extras + 4));
    request->value = frame->value;
    return yk_mc_submit(feed, request);
}

/* append, prepend */
static enum yk_mc_step
take_join(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    struct yk_request *request =
        frame_request(feed, kind, frame, YK_OP_STORE, YK_MC_KIND_BINARY_STORE);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->mode = (uint16_t)kind->variant;
    request->value = frame->value;
    return yk_mc_submit(feed, request);
}

static enum yk_mc_step
take_delete(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    struct yk_request *request =
        frame_request(feed, kind, frame, YK_OP_DELETE, YK_MC_KIND_BINARY_DELETE);
    return request != NULL ? yk_mc_submit(feed, request) : YK_MC_STEP_AGAIN;
}

static enum yk_mc_step
take_arith(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    uint32_t seconds = get_u32(frame->extras + 16);
    struct yk_request *request =
        frame_request(feed, kind, frame, YK_OP_ARITH, YK_MC_KIND_BINARY_ARITH);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->mode = (uint16_t)kind->variant;
    request->delta = get_u64(frame->extras);
    request->initial = get_u64(frame->extras + 8);
    if (seconds != ARITH_NO_VIVIFY) {
        request->flags |= YK_REQUEST_VIVIFY;
        request->vivify = yk_mc_expiry(seconds);
    }
    return yk_mc_submit(feed, request);
}

static enum yk_mc_step
take_quit(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    uint32_t flags = YK_REQUEST_CLOSE | (kind->is_quiet ? YK_REQUEST_QUIET : 0);
    return frame_say(feed, frame, YK_MC_STATUS_OK, "", flags);
}

static enum yk_mc_step
take_flush(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    if (!feed->session->frontend->allow_flush) {
        return frame_refuse(feed, frame, YK_MC_STATUS_DENIED);
    }
    struct yk_request *request =
        frame_request(feed, kind, frame, YK_OP_FLUSH, YK_MC_KIND_BINARY_FLUSH);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags |= YK_REQUEST_BARRIER;
    request->expiry.kind = YK_EXPIRY_RELATIVE;
    request->expiry.ms =
        frame->extras_size > 0 ? yk_mc_flush_delay_ms(feed, get_u32(frame->extras)) : 0;
    return yk_mc_submit(feed, request);
}

/* Answers come in order: so this one says that all before it have come. */
static enum yk_mc_step
take_noop(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    return frame_say(feed, frame, YK_MC_STATUS_OK, "", 0);
}

static enum yk_mc_step
take_version(struct yk_mc_feed *feed, const struct frame_kind *kind,
             const struct yk_mc_frame *frame)
{
    return frame_say(feed, frame, YK_MC_STATUS_OK, YK_MC_VERSION, 0);
}

static enum yk_mc_step
take_stat(struct yk_mc_feed *feed, const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    if (yk_mc_word_is(frame->key, "detail on")) {
        return frame_refuse(feed, frame, YK_MC_STATUS_UNSUPPORTED);
    }
    if (yk_mc_word_is(frame->key, "detail off") || yk_mc_word_is(frame->key, "detail dump")) {
        return frame_say(feed, frame, YK_MC_STATUS_OK, "", 0);
    }
    struct yk_request *request =
        frame_request(feed, kind, frame, YK_OP_STATS, YK_MC_KIND_BINARY_STATS);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = YK_REQUEST_BARRIER;
    return yk_mc_submit(feed, request);
}

static const struct frame_kind kinds[UINT8_MAX + 1] = {
#define YK_MC_FRAME(opcode, handler, extras_size, key, value, is_quiet, variant)                   \
    [opcode] = {take_##handler, extras_size, key, value, is_quiet, variant},
#include "frontends/memcached/binary.def"
#undef YK_MC_FRAME
};

static bool
presence_fits(enum presence presence, size_t size)
{
    return presence == MAY || (presence == YES) == (size > 0);
}

/* Has the frame the form of its command? */
static bool
form_fits(const struct frame_kind *kind, const struct yk_mc_frame *frame)
{
    bool may_lack = kind->take == take_flush && frame->extras_size == 0;
    return (frame->extras_size == kind->extras_size || may_lack) &&
           presence_fits(kind->key, frame->key_size) &&
           presence_fits(kind->value, frame->value.size);
}

/* The header's fields, and the sizes of what is behind it; false: they contradict each other. */
static bool
header_parse(const uint8_t *bytes, struct yk_mc_frame *ret_frame)
{
    struct yk_mc_frame *frame = ret_frame;
    frame->opcode = bytes[1];
    frame->key_size = get_u16(bytes + 2);
    frame->extras_size = bytes[4];
    frame->body_size = get_u32(bytes + 8);
    memcpy(&frame->opaque, bytes + 12, sizeof(frame->opaque));
    frame->cas = get_u64(bytes + 16);
    size_t before_value = (size_t)frame->extras_size + frame->key_size;
    if (before_value > frame->body_size) {
        return false;
    }
    frame->value.size = frame->body_size - before_value;
    return true;
}

static enum yk_mc_step
take_header(struct yk_mc_feed *feed, const struct yk_mc_frame *frame)
{
    const struct yk_mc_session *session = feed->session;
    const struct frame_kind *kind = &kinds[frame->opcode];
    if (frame->key_size > session->key_size_max) {
        return frame_close(feed, frame, YK_MC_STATUS_INVALID);
    }
    if (kind->take == NULL) {
        return frame_refuse_body(feed, frame, YK_MC_STATUS_UNKNOWN_COMMAND);
    }
    if (!form_fits(kind, frame)) {
        return frame_close(feed, frame, YK_MC_STATUS_INVALID);
    }
    if (frame->value.size > session->peer->value_size_max) {
        return frame_refuse_body(feed, frame, YK_MC_STATUS_TOO_LARGE);
    }
    size_t size = YK_MC_HEADER_SIZE + (size_t)frame->body_size;
    if (feed->size - feed->used < size) {
        feed->want = size;
        return YK_MC_STEP_AGAIN;
    }
    struct yk_mc_frame whole = *frame;
    whole.extras = feed->bytes + feed->used + YK_MC_HEADER_SIZE;
    whole.key = yk_slice_of(whole.extras + frame->extras_size, frame->key_size);
    whole.value.data = whole.extras + frame->extras_size + frame->key_size;
    feed->taken = size;
    return kind->take(feed, kind, &whole);
}

enum yk_mc_step
yk_mc_take_frame(struct yk_mc_feed *feed)
{
    const uint8_t *bytes = feed->bytes + feed->used;
    struct yk_mc_frame frame = {0};
    enum yk_mc_step step;
    if (bytes[0] != YK_MC_BINARY_REQUEST) {
        step = yk_mc_say_flags(feed, "", YK_REQUEST_CLOSE, YK_MC_KIND_LINE);
        if (step != YK_MC_STEP_AGAIN) {
            feed->session->state = YK_MC_STATE_ENDED;
        }
        return step;
    }
    if (feed->size - feed->used < YK_MC_HEADER_SIZE) {
        feed->want = YK_MC_HEADER_SIZE;
        return YK_MC_STEP_AGAIN;
    }
    feed->taken = YK_MC_HEADER_SIZE;
    step = header_parse(bytes, &frame) ? take_header(feed, &frame)
                                       : frame_close(feed, &frame, YK_MC_STATUS_UNKNOWN_COMMAND);
    if (step != YK_MC_STEP_AGAIN) {
        feed->used += feed->taken;
    }
    return step;
}
