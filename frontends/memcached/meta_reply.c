/* Answers to the meta commands: a status, what the request's flags ask for in their order, the
 * marks, the value. */
#include <config.h>

#include "frontends/memcached/base64.h"
#include "frontends/memcached/meta.h"
#include "frontends/memcached/put.h"

/* Bytes of an answer without its value, at most: the status and a size, a number for each of s, t,
 * c, f and l, then h, the opaque, the key, the marks and line ends. */
#define ANSWER_ROOM                                                                                \
    (sizeof("VA ") + 20 + 5 * (sizeof(" x") + 20) + sizeof(" h1") + YK_MC_OPAQUE_SIZE_MAX + 1 +    \
     sizeof(" k b") + YK_MC_BASE64_SIZE(YK_MC_KEY_SIZE_MAX) + sizeof(" Z X W") +                   \
     2 * sizeof("\r\n"))

#define DEBUG_ROOM                                                                                 \
    (sizeof("ME  exp= la= cas= fetch=yes cls=1 size=\r\n") + 4 * 20 +                              \
     YK_MC_BASE64_SIZE(YK_MC_KEY_SIZE_MAX))

/* Letters that an answer shows: of a success, and of anything else. */
static const char *const shown_letters[][2] = {
    [YK_MC_KIND_META_GET - YK_MC_KIND_META_GET] = {"stcflhOk", "Ok"},
    [YK_MC_KIND_META_STORE - YK_MC_KIND_META_GET] = {"Okcs", "Okc"},
    [YK_MC_KIND_META_DELETE - YK_MC_KIND_META_GET] = {"Ok", "Ok"},
    [YK_MC_KIND_META_ARITH - YK_MC_KIND_META_GET] = {"tcOk", "Ok"},
};

static uint8_t *
put_key(uint8_t *to, const struct yk_request *request)
{
    return (request->tag & YK_MC_TAG_BASE64) != 0
               ? yk_mc_base64_encode(request->key, to)
               : yk_mc_put_bytes(to, request->key.data, request->key.size);
}

/* Seconds that the record has left, a begun one counted as whole; -1: it never ends. */
static uint8_t *
put_ttl(uint8_t *to, const struct yk_mc_session *session, int64_t expiry_ms)
{
    const struct yk_host *host = session->frontend->host;
    if (expiry_ms == 0) {
        return yk_mc_put_text(to, "-1");
    }
    int64_t left_ms = expiry_ms - (int64_t)host->now_ms(host);
    return yk_mc_put_u64(to, left_ms > 0 ? ((uint64_t)left_ms + 999) / 1000 : 0);
}

/* Seconds since the record was last read or stored, as far as that is known. */
static uint8_t *
put_last_access(uint8_t *to, const struct yk_mc_session *session, const struct yk_reply *reply)
{
    const struct yk_host *host = session->frontend->host;
    uint64_t now_ms = host->now_ms(host);
    bool is_known = reply->last_access_ms != 0 && reply->last_access_ms < now_ms;
    return yk_mc_put_u64(to, is_known ? (now_ms - reply->last_access_ms) / 1000 : 0);
}

/* The answer to one flag. */
static uint8_t *
put_flag(uint8_t *to, const struct yk_mc_session *session, const struct yk_request *request,
         const struct yk_reply *reply, struct yk_slice word)
{
    uint8_t letter = *(const uint8_t *)word.data;
    *to++ = ' ';
    if (letter == 'O') {
        return yk_mc_put_bytes(to, word.data, word.size);
    }
    *to++ = letter;
    switch (letter) {
    case 's':
        return yk_mc_put_u64(to, request->op == YK_OP_STORE ? reply->number : reply->value.size);
    case 't':
        return put_ttl(to, session, reply->expiry_ms);
    case 'c':
        return yk_mc_put_u64(to, reply->version);
    case 'f':
        return yk_mc_put_u64(to, reply->client_flags);
    case 'l':
        return put_last_access(to, session, reply);
    case 'h':
        return yk_mc_put_text(to, (reply->flags & YK_REPLY_WAS_HIT) != 0 ? "1" : "0");
    default:
        to = put_key(to, request);
        return (request->tag & YK_MC_TAG_BASE64) != 0 ? yk_mc_put_text(to, " b") : to;
    }
}

/* What the flags ask for, the marks, and the line's end. */
static uint8_t *
put_flags(uint8_t *to, const struct yk_mc_session *session, const struct yk_request *request,
          const struct yk_reply *reply)
{
    uint64_t kind = (request->tag & YK_MC_TAG_KIND) - YK_MC_KIND_META_GET;
    const char *letters = shown_letters[kind][reply->result == YK_OK ? 0 : 1];
    struct yk_slice words = request->note;
    struct yk_slice word;
    while (yk_mc_next_word(&words, &word)) {
        if (strchr(letters, *(const uint8_t *)word.data) != NULL) {
            to = put_flag(to, session, request, reply, word);
        }
    }
    if ((reply->flags & YK_REPLY_TAKEN) != 0) {
        to = yk_mc_put_text(to, " Z");
    }
    if ((reply->flags & YK_REPLY_STALE) != 0) {
        to = yk_mc_put_text(to, " X");
    }
    if ((reply->flags & YK_REPLY_WON) != 0) {
        to = yk_mc_put_text(to, " W");
    }
    return yk_mc_put_text(to, "\r\n");
}

/* A status of two letters and the flags. */
static void
reply_status(const struct yk_mc_session *session, const struct yk_request *request,
             const struct yk_reply *reply, struct yk_outbox *outbox, const char *status)
{
    uint8_t *to = yk_outbox_reserve(outbox, ANSWER_ROOM);
    if (to != NULL) {
        outbox->cur = put_flags(yk_mc_put_text(to, status), session, request, reply);
    }
}

/* The record or number with its size in front, and its line end. */
static void
reply_value(const struct yk_mc_session *session, const struct yk_request *request,
            const struct yk_reply *reply, struct yk_outbox *outbox)
{
    uint8_t *to = yk_mc_reserve_value(outbox, reply, ANSWER_ROOM);
    if (to == NULL) {
        return;
    }
    to = yk_mc_put_text(to, "VA ");
    to = yk_mc_put_u64(to, reply->value.size);
    to = put_flags(to, session, request, reply);
    to = yk_mc_put_value(outbox, reply, to, sizeof("\r\n"));
    if (to != NULL) {
        outbox->cur = yk_mc_put_text(to, "\r\n");
    }
}

static void
reply_get(const struct yk_mc_session *session, const struct yk_request *request,
          const struct yk_reply *reply, struct yk_outbox *outbox)
{
    if (reply->result == YK_ENOTFOUND) {
        if ((request->tag & YK_MC_TAG_QUIET) == 0) {
            reply_status(session, request, reply, outbox, "EN");
        }
    } else if (reply->result != YK_OK) {
        yk_mc_reply_error(request, reply, outbox);
    } else if ((request->tag & YK_MC_TAG_VALUE) != 0) {
        reply_value(session, request, reply, outbox);
    } else {
        reply_status(session, request, reply, outbox, "HD");
    }
}

static void
reply_change(const struct yk_mc_session *session, const struct yk_request *request,
             const struct yk_reply *reply, struct yk_outbox *outbox)
{
    switch (reply->result) {
    case YK_OK:
        reply_status(session, request, reply, outbox, "HD");
        break;
    case YK_ENOTFOUND:
        reply_status(session, request, reply, outbox, "NF");
        break;
    case YK_EEXISTS:
        reply_status(session, request, reply, outbox, "EX");
        break;
    case YK_ENOTSTORED:
        reply_status(session, request, reply, outbox, "NS");
        break;
    default:
        yk_mc_reply_error(request, reply, outbox);
        break;
    }
}

static void
reply_arith(const struct yk_mc_session *session, const struct yk_request *request,
            const struct yk_reply *reply, struct yk_outbox *outbox)
{
    if (reply->result != YK_OK || (request->tag & YK_MC_TAG_VALUE) == 0) {
        reply_change(session, request, reply, outbox);
        return;
    }
    uint8_t digits[20];
    struct yk_reply shown = *reply;
    shown.value = yk_slice_of(digits, yk_format_u64(digits, reply->number));
    shown.value_buffer = NULL;
    reply_value(session, request, &shown, outbox);
}

/* What is known of a record, but not its value. */
static void
reply_debug(const struct yk_mc_session *session, const struct yk_request *request,
            const struct yk_reply *reply, struct yk_outbox *outbox)
{
    if (reply->result == YK_ENOTFOUND) {
        yk_outbox_put_text(outbox, "EN\r\n");
        return;
    }
    if (reply->result != YK_OK) {
        yk_mc_reply_error(request, reply, outbox);
        return;
    }
    uint8_t *to = yk_outbox_reserve(outbox, DEBUG_ROOM);
    if (to == NULL) {
        return;
    }
    to = put_key(yk_mc_put_text(to, "ME "), request);
    to = put_ttl(yk_mc_put_text(to, " exp="), session, reply->expiry_ms);
    to = put_last_access(yk_mc_put_text(to, " la="), session, reply);
    to = yk_mc_put_u64(yk_mc_put_text(to, " cas="), reply->version);
    to = yk_mc_put_text(to, " fetch=");
    to = yk_mc_put_text(to, (reply->flags & YK_REPLY_WAS_HIT) != 0 ? "yes" : "no");
    to = yk_mc_put_text(to, " cls=1 size=");
    to = yk_mc_put_u64(to, request->key.size + reply->value.size);
    outbox->cur = yk_mc_put_text(to, "\r\n");
}

void
yk_mc_reply_meta(const struct yk_mc_session *session, const struct yk_request *request,
                 const struct yk_reply *reply, struct yk_outbox *outbox)
{
    switch (request->tag & YK_MC_TAG_KIND) {
    case YK_MC_KIND_META_GET:
        reply_get(session, request, reply, outbox);
        break;
    case YK_MC_KIND_META_STORE:
    case YK_MC_KIND_META_DELETE:
        reply_change(session, request, reply, outbox);
        break;
    case YK_MC_KIND_META_ARITH:
        reply_arith(session, request, reply, outbox);
        break;
    default:
        reply_debug(session, request, reply, outbox);
        break;
    }
}
