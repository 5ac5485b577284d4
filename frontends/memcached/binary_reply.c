/* Answers to frames. */
#include <config.h>

#include "frontends/memcached/binary.h"
#include "frontends/memcached/put.h"

#define REASON_SIZE_MAX 256u /* bytes of a reason that are shown */
#define FLAGS_SIZE      4u   /* of a record's client flags, the extras of a get's answer */

static const struct {
    enum yk_mc_status status;
    const char *text;
} texts[] = {
    {YK_MC_STATUS_OK, ""},
    {YK_MC_STATUS_NOT_FOUND, "Not found"},
    {YK_MC_STATUS_EXISTS, "Data exists for key."},
    {YK_MC_STATUS_TOO_LARGE, "Too large."},
    {YK_MC_STATUS_INVALID, "Invalid arguments"},
    {YK_MC_STATUS_NOT_STORED, "Not stored."},
    {YK_MC_STATUS_NOT_NUMBER, "Non-numeric server-side value for incr or decr"},
    {YK_MC_STATUS_DENIED, "Auth failure."},
    {YK_MC_STATUS_UNKNOWN_COMMAND, "Unknown command"},
    {YK_MC_STATUS_NO_MEMORY, "Out of memory"},
    {YK_MC_STATUS_UNSUPPORTED, "Not supported"},
};

const char *
yk_mc_status_text(enum yk_mc_status status)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return NULL;
}

static uint8_t *
put_u16(uint8_t *to, uint16_t number)
{
    *to++ = (uint8_t)(number >> 8);
    *to++ = (uint8_t)number;
    return to;
}

static uint8_t *
put_u32(uint8_t *to, uint32_t number)
{
    return put_u16(put_u16(to, (uint16_t)(number >> 16)), (uint16_t)number);
}

static uint8_t *
put_u64(uint8_t *to, uint64_t number)
{
    return put_u32(put_u32(to, (uint32_t)(number >> 32)), (uint32_t)number);
}

/* Sizes of an answer's parts. */
struct body {
    size_t extras_size, key_size, value_size; /* bytes */
    uint64_t cas;
};

static uint8_t *
put_header(uint8_t *to, uint64_t tag, uint32_t status, const struct body *body)
{
    uint32_t opaque = (uint32_t)(tag >> YK_MC_TAG_OPAQUE_SHIFT);
    *to++ = YK_MC_BINARY_ANSWER;
    *to++ = (uint8_t)(tag >> YK_MC_TAG_OPCODE_SHIFT);
    to = put_u16(to, (uint16_t)body->key_size);
    *to++ = (uint8_t)body->extras_size;
    *to++ = 0;
    to = put_u16(to, (uint16_t)status);
    to = put_u32(to, (uint32_t)(body->extras_size + body->key_size + body->value_size));
    to = yk_mc_put_bytes(to, &opaque, sizeof(opaque));
    return put_u64(to, body->cas);
}

/* An answer with nothing but a key and a value. */
static void
reply_plain(uint64_t tag, uint32_t status, struct yk_slice key, struct yk_slice value, uint64_t cas,
            struct yk_outbox *outbox)
{
    struct body body = {.key_size = key.size, .value_size = value.size, .cas = cas};
    uint8_t *to = yk_outbox_reserve(outbox, YK_MC_HEADER_SIZE + key.size + value.size);
    if (to != NULL) {
        to = put_header(to, tag, status, &body);
        to = yk_mc_put_bytes(to, key.data, key.size);
        outbox->cur = yk_mc_put_bytes(to, value.data, value.size);
    }
}

/* A write that may have happened? Of a read there is no outcome to wonder about. */
static bool
outcome_is_unknown(const struct yk_request *request, uint32_t result)
{
    return request->op != YK_OP_GET && request->op != YK_OP_STATS &&
           (result == YK_ETIMEDOUT || result == YK_EIO || result == YK_EUNKNOWN ||
            result == YK_EPENDING);
}

static enum yk_mc_status
not_stored_status(uint16_t mode)
{
    switch (mode) {
    case YK_MODE_ADD:
        return YK_MC_STATUS_EXISTS;
    case YK_MODE_REPLACE:
        return YK_MC_STATUS_NOT_FOUND;
    default:
        return YK_MC_STATUS_NOT_STORED;
    }
}

static enum yk_mc_status
status_of(const struct yk_request *request, uint32_t result)
{
    switch (result) {
    case YK_OK:
        return YK_MC_STATUS_OK;
    case YK_ENOTFOUND:
        return YK_MC_STATUS_NOT_FOUND;
    case YK_EEXISTS:
        return YK_MC_STATUS_EXISTS;
    case YK_ETOOLARGE:
        return YK_MC_STATUS_TOO_LARGE;
    case YK_EINVALID: /* stats of a topic that there is not */
        return request->op == YK_OP_STATS ? YK_MC_STATUS_NOT_FOUND : YK_MC_STATUS_INVALID;
    case YK_ENOTSTORED:
        return not_stored_status(request->mode);
    case YK_ENOTNUMBER:
        return YK_MC_STATUS_NOT_NUMBER;
    case YK_ENOMEM:
    case YK_ENOSPACE:
        return YK_MC_STATUS_NO_MEMORY;
    case YK_EDENIED:
        return YK_MC_STATUS_DENIED;
    case YK_EREADONLY:
    case YK_EUNSUPPORTED:
        return YK_MC_STATUS_UNSUPPORTED;
    case YK_EBUSY:
        return YK_MC_STATUS_BUSY;
    case YK_ESTOPPED:
    case YK_ESTALE:
        return YK_MC_STATUS_TEMPORARY;
    default:
        return YK_MC_STATUS_INTERNAL;
    }
}

/* What clients know by its status has memcached's text, all else the reason. */
static void
reply_error(const struct yk_request *request, const struct yk_reply *reply,
            struct yk_outbox *outbox)
{
    enum yk_mc_status status = status_of(request, reply->result);
    const char *text = status < YK_MC_STATUS_DENIED ? yk_mc_status_text(status) : NULL;
    if (text == NULL) {
        text =
            outcome_is_unknown(request, reply->result) ? "outcome unknown" : yk_reply_text(reply);
    }
    reply_plain(request->tag, status, yk_slice_of(NULL, 0),
                yk_slice_of(text, strnlen(text, REASON_SIZE_MAX)), 0, outbox);
}

static void
reply_hit(const struct yk_request *request, const struct yk_reply *reply, struct yk_outbox *outbox)
{
    bool has_key = (request->tag & YK_MC_TAG_FRAME_KEY) != 0;
    bool has_value = (request->tag & YK_MC_TAG_FRAME_NO_VALUE) == 0;
    struct body body = {.extras_size = FLAGS_SIZE,
                        .key_size = has_key ? request->key.size : 0,
                        .value_size = has_value ? reply->value.size : 0,
                        .cas = reply->version};
    uint8_t *to =
        yk_mc_reserve_value(outbox, reply, YK_MC_HEADER_SIZE + body.extras_size + body.key_size);
    if (to == NULL) {
        return;
    }
    to = put_header(to, request->tag, YK_MC_STATUS_OK, &body);
    to = put_u32(to, reply->client_flags);
    to = yk_mc_put_bytes(to, request->key.data, body.key_size);
    if (has_value) {
        to = yk_mc_put_value(outbox, reply, to, 0);
    }
    if (to != NULL) {
        outbox->cur = to;
    }
}

static void
reply_get(const struct yk_request *request, const struct yk_reply *reply, struct yk_outbox *outbox)
{
    if (reply->result == YK_OK) {
        reply_hit(request, reply, outbox);
    } else if (reply->result != YK_ENOTFOUND) {
        reply_error(request, reply, outbox);
    } else if ((request->tag & YK_MC_TAG_FRAME_QUIET) != 0) {
        return;
    } else if ((request->tag & YK_MC_TAG_FRAME_KEY) != 0) {
        reply_plain(request->tag, YK_MC_STATUS_NOT_FOUND, request->key, yk_slice_of(NULL, 0), 0,
                    outbox);
    } else {
        reply_error(request, reply, outbox);
    }
}

/* A frame for each figure, and one without key and value at the end. */
static void
reply_stats(const struct yk_request *request, const struct yk_reply *reply,
            struct yk_outbox *outbox)
{
    if ((reply->flags & YK_REPLY_MORE) == 0) {
        reply_plain(request->tag, YK_MC_STATUS_OK, yk_slice_of(NULL, 0), yk_slice_of(NULL, 0), 0,
                    outbox);
    } else if (!yk_mc_word_is(request->key, "reset")) {
        reply_plain(request->tag, YK_MC_STATUS_OK, reply->name, reply->value, 0, outbox);
    }
}

void
yk_mc_reply_binary(const struct yk_request *request, const struct yk_reply *reply,
                   struct yk_outbox *outbox)
{
    uint8_t digits[sizeof(uint64_t)];
    struct yk_slice none = {NULL, 0};
    uint64_t kind = request->tag & YK_MC_TAG_KIND;
    if (kind == YK_MC_KIND_BINARY_GET) {
        reply_get(request, reply, outbox);
    } else if (reply->result != YK_OK) {
        reply_error(request, reply, outbox);
    } else if (kind == YK_MC_KIND_BINARY_STATUS) {
        uint16_t status = (uint16_t)(request->tag >> YK_MC_TAG_STATUS_SHIFT);
        reply_plain(request->tag, status, none, request->note, 0, outbox);
    } else if (kind == YK_MC_KIND_BINARY_ARITH) {
        put_u64(digits, reply->number);
        reply_plain(request->tag, YK_MC_STATUS_OK, none, yk_slice_of(digits, sizeof(digits)),
                    reply->version, outbox);
    } else if (kind == YK_MC_KIND_BINARY_STATS) {
        reply_stats(request, reply, outbox);
    } else {
        uint64_t cas = kind == YK_MC_KIND_BINARY_STORE ? reply->version : 0;
        reply_plain(request->tag, YK_MC_STATUS_OK, none, none, cas, outbox);
    }
}
