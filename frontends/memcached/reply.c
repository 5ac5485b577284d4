/* Answers to bytes. The frequent ones reserve once for the whole answer and write it in place; the
 * order of the answers is the core's work. */
#include <config.h>

#include "frontends/memcached/binary.h"
#include "frontends/memcached/memcached.h"
#include "frontends/memcached/meta.h"
#include "frontends/memcached/put.h"

#define ERROR_TEXT_MAX 256u /* bytes of a reason that are shown */

/* Bytes of a VALUE line beyond its key, at most: the word, flags, size, CAS unique, spaces, line
 * ends of line and value, END. */
#define VALUE_ROOM (sizeof("VALUE ") + 10 + 20 + 20 + 3 + 2 + 2 + sizeof(YK_MC_END))

/* What stands behind a value: its line end, and END where it is the last of its command. */
static inline uint8_t *
put_value_end(uint8_t *to, bool is_last)
{
    to = yk_mc_put_bytes(to, "\r\n", 2);
    return is_last ? yk_mc_put_bytes(to, YK_MC_END, sizeof(YK_MC_END) - 1) : to;
}

static void
reply_value(const struct yk_request *request, const struct yk_reply *reply,
            struct yk_outbox *outbox)
{
    bool is_last = (request->flags & YK_REQUEST_LAST) != 0;
    uint8_t *to = yk_mc_reserve_value(outbox, reply, VALUE_ROOM + request->key.size);
    if (to == NULL) {
        return;
    }
    to = yk_mc_put_bytes(to, "VALUE ", 6);
    to = yk_mc_put_bytes(to, request->key.data, request->key.size);
    *to++ = ' ';
    to = yk_mc_put_u64(to, reply->client_flags);
    *to++ = ' ';
    to = yk_mc_put_u64(to, reply->value.size);
    if ((request->tag & YK_MC_TAG_CAS) != 0) {
        *to++ = ' ';
        to = yk_mc_put_u64(to, reply->version);
    }
    to = yk_mc_put_bytes(to, "\r\n", 2);
    to = yk_mc_put_value(outbox, reply, to, VALUE_ROOM);
    if (to != NULL) {
        outbox->cur = put_value_end(to, is_last);
    }
}

/* One answer of several that make up a get's: after a failure only the error line is written. */
static void
reply_get(struct yk_mc_session *session, const struct yk_request *request,
          const struct yk_reply *reply, struct yk_outbox *outbox)
{
    bool is_last = (request->flags & YK_REQUEST_LAST) != 0;
    if (session->get_failed) {
        session->get_failed = !is_last;
        return;
    }
    if (reply->result == YK_OK) {
        reply_value(request, reply, outbox);
    } else if (reply->result != YK_ENOTFOUND) {
        yk_mc_reply_error(request, reply, outbox);
        session->get_failed = !is_last;
    } else if (is_last) {
        yk_outbox_put(outbox, YK_MC_END, sizeof(YK_MC_END) - 1);
    }
}

/* The end of a get's answer that is a request of its own. */
static void
reply_get_end(struct yk_mc_session *session, const struct yk_request *request,
              struct yk_outbox *outbox)
{
    if (!session->get_failed) {
        yk_outbox_put(outbox, request->note.data, request->note.size);
    }
    session->get_failed = false;
}

/* "SERVER_ERROR " and the reason, on one line whatever the reason holds. */
static void
put_server_error(struct yk_outbox *outbox, const char *text)
{
    size_t size = strnlen(text, ERROR_TEXT_MAX);
    yk_outbox_put_text(outbox, "SERVER_ERROR ");
    uint8_t *to = yk_outbox_reserve(outbox, size + 2);
    if (to == NULL) {
        return;
    }
    for (size_t i = 0; i < size; i++) {
        *to++ = (uint8_t)text[i] < ' ' ? (uint8_t)' ' : (uint8_t)text[i];
    }
    outbox->cur = yk_mc_put_bytes(to, "\r\n", 2);
}

void
yk_mc_reply_error(const struct yk_request *request, const struct yk_reply *reply,
                  struct yk_outbox *outbox)
{
    switch (reply->result) {
    case YK_ENOTFOUND:
        yk_outbox_put_text(outbox, "NOT_FOUND\r\n");
        return;
    case YK_EEXISTS:
        yk_outbox_put_text(outbox, "EXISTS\r\n");
        return;
    case YK_ENOTSTORED:
        yk_outbox_put_text(outbox, "NOT_STORED\r\n");
        return;
    case YK_ENOTNUMBER:
        yk_outbox_put_text(outbox,
                           "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
        return;
    case YK_ETOOLARGE:
        yk_outbox_put_text(outbox, YK_MC_TOO_LARGE);
        return;
    case YK_ENOMEM:
        if (request->op == YK_OP_STORE) {
            yk_outbox_put_text(outbox, "SERVER_ERROR out of memory storing object\r\n");
            return;
        }
        break;
    case YK_ETIMEDOUT:
    case YK_EIO:
    case YK_EUNKNOWN:
    case YK_EPENDING:
        /* Of a read there is no outcome to wonder about: its reason serves. */
        if (request->op != YK_OP_GET && request->op != YK_OP_SCAN && request->op != YK_OP_STATS) {
            yk_outbox_put_text(outbox, "SERVER_ERROR outcome unknown\r\n");
            return;
        }
        break;
    default:
        break;
    }
    put_server_error(outbox, yk_reply_text(reply));
}

static void
reply_memlimit(const struct yk_request *request, const struct yk_reply *reply,
               struct yk_outbox *outbox)
{
    if ((reply->flags & YK_REPLY_MORE) != 0) {
        return;
    }
    switch (reply->result) {
    case YK_OK:
        yk_outbox_put_text(outbox, YK_MC_OK);
        break;
    case YK_EINVALID:
    case YK_EUNSUPPORTED:
        yk_outbox_put_text(outbox, YK_MC_MEMLIMIT_FAILED);
        break;
    default:
        yk_mc_reply_error(request, reply, outbox);
        break;
    }
}

/* A success is answered by the closed connection alone. */
static void
reply_shutdown(const struct yk_request *request, const struct yk_reply *reply,
               struct yk_outbox *outbox)
{
    if (reply->result == YK_EDENIED) {
        yk_outbox_put_text(outbox, YK_MC_NO_SHUTDOWN);
    } else if (reply->result != YK_OK) {
        yk_mc_reply_error(request, reply, outbox);
    }
}

/* One line for success, another for each failure. */
static void
reply_line(const struct yk_request *request, const struct yk_reply *reply, struct yk_outbox *outbox,
           const char *success)
{
    if (reply->result == YK_OK) {
        yk_outbox_put_text(outbox, success);
    } else {
        yk_mc_reply_error(request, reply, outbox);
    }
}

static void
reply_arith(const struct yk_request *request, const struct yk_reply *reply,
            struct yk_outbox *outbox)
{
    if (reply->result == YK_OK) {
        yk_outbox_put_u64(outbox, reply->number);
        yk_outbox_put(outbox, "\r\n", 2);
    } else {
        yk_mc_reply_error(request, reply, outbox);
    }
}

void
yk_mc_reply(void *session_, const struct yk_request *request, const struct yk_reply *reply,
            struct yk_outbox *outbox)
{
    struct yk_mc_session *session = session_;
    if (session->frontend->idle_timeout_us != 0) {
        session->last_ms = session->frontend->host->now_ms(session->frontend->host);
    }
    if ((request->tag & YK_MC_TAG_KIND) >= YK_MC_KIND_BINARY_STATUS) {
        yk_mc_reply_binary(request, reply, outbox);
        return;
    }
    if ((request->tag & YK_MC_TAG_KIND) >= YK_MC_KIND_META_GET) {
        yk_mc_reply_meta(session, request, reply, outbox);
        return;
    }
    if ((request->flags & YK_REQUEST_QUIET) != 0) {
        return; /* noreply: failures too */
    }
    switch (request->tag & YK_MC_TAG_KIND) {
    case YK_MC_KIND_GET:
        reply_get(session, request, reply, outbox);
        break;
    case YK_MC_KIND_STORE:
        reply_line(request, reply, outbox, "STORED\r\n");
        break;
    case YK_MC_KIND_ARITH:
        reply_arith(request, reply, outbox);
        break;
    case YK_MC_KIND_DELETE:
        reply_line(request, reply, outbox, "DELETED\r\n");
        break;
    case YK_MC_KIND_TOUCH:
        reply_line(request, reply, outbox, "TOUCHED\r\n");
        break;
    case YK_MC_KIND_FLUSH:
        reply_line(request, reply, outbox, YK_MC_OK);
        break;
    case YK_MC_KIND_LINE:
        yk_outbox_put(outbox, request->note.data, request->note.size);
        break;
    case YK_MC_KIND_GET_END:
        reply_get_end(session, request, outbox);
        break;
    case YK_MC_KIND_STATS:
    case YK_MC_KIND_RESET:
        yk_mc_reply_stats(request, reply, outbox);
        break;
    case YK_MC_KIND_METADUMP:
    case YK_MC_KIND_CACHEDUMP:
        yk_mc_reply_dump(session, request, reply, outbox);
        break;
    case YK_MC_KIND_MEMLIMIT:
        reply_memlimit(request, reply, outbox);
        break;
    case YK_MC_KIND_SHUTDOWN:
        reply_shutdown(request, reply, outbox);
        break;
    default:
        break;
    }
}
