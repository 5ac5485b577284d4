/* The interface of a frontend: a client protocol, as bytes in and bytes out.
 *
 * A frontend has no socket, thread, timer or buffer of its own. The core reads, writes, puts
 * replies in the order of the requests, limits, and later authenticates and encrypts; so the same
 * code serves TCP, a Unix socket, the simulator and a fuzzer.
 *
 *     bytes -> feed -> inbox->request, inbox->submit ... (the core executes) ... reply -> outbox ->
 * bytes
 *
 * feed and reply of one session never run inside each other: submit only queues.
 *
 * Threads: the core makes one instance for each worker and [frontend] section; an instance and all
 * its sessions are called by that worker only. Time and randomness come from the host. Ownership:
 * stated at each function. */
#ifndef YAKUMO_FRONTEND_H
#define YAKUMO_FRONTEND_H

#include <yakumo/plugin.h>
#include <yakumo/request.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YK_FRONTEND_ABI 1u

/* Who is at the other end. Lives as long as the session. */
struct yk_peer {
    uint32_t struct_size;
    uint32_t family;                /* enum yk_family */
    const char *address;            /* "127.0.0.1:40000", "[::1]:40000", "unix:PATH"; never NULL */
    const char *listener;           /* the listener's address, likewise */
    const char *certificate;        /* name in the client's TLS certificate, or NULL */
    int64_t uid;                    /* of a Unix socket's peer; -1: not known */
    uint64_t id;                    /* of the connection, unique in this node's run */
    const struct yk_bucket *bucket; /* the listener's */
    uint32_t key_size_max;          /* of that bucket, bytes */
    uint32_t value_size_max;
};

enum yk_family { YK_FAMILY_INET = 1, YK_FAMILY_INET6 = 2, YK_FAMILY_UNIX = 3, YK_FAMILY_SIM = 4 };

/* Where a session's requests go. Lent for one call of feed. */
struct yk_inbox {
    uint32_t struct_size;
    /* A zeroed request, or NULL: stop feeding, keep the bytes, you will be fed again. */
    struct yk_request *(*request)(struct yk_inbox *inbox);
    /* Bytes that live as long as that request, for what does not stand in the input as it is (a
     * decoded key, a note); NULL: no memory, submit the request as a NOOP that says so, or return
     * YK_ENOMEM. */
    void *(*alloc)(struct yk_inbox *inbox, struct yk_request *request, size_t size);
    /* Queues the request; each one taken must be submitted before the next is asked for. False:
     * stop feeding after this one, you will be fed again when there is room. */
    bool (*submit)(struct yk_inbox *inbox, struct yk_request *request);
    /* Has timer called at that time (clock of now_ms), unless it is called earlier; 0: not at all.
     */
    void (*wake_at)(struct yk_inbox *inbox, uint64_t at_ms);
};

/* Where a session's bytes go. Lent for one call. Write with the functions below. */
struct yk_outbox {
    uint32_t struct_size;
    uint32_t is_full; /* not 0: over its high mark; a stream pauses by itself */
    uint8_t *cur;     /* next byte to write */
    uint8_t *end;     /* end of what is reserved */
    /* Makes end - cur >= size; false: no memory, the connection is lost. */
    bool (*grow)(struct yk_outbox *outbox, size_t size);
    /* Sends the slice, which lies in the buffer, without copying it; takes a reference. */
    bool (*lend)(struct yk_outbox *outbox, struct yk_slice slice, struct yk_buffer *buffer);
};

enum yk_probe { YK_PROBE_NO = 0, YK_PROBE_YES = 1, YK_PROBE_MORE = 2 };

enum yk_timer_result { YK_TIMER_NONE = 0, YK_TIMER_CLOSE = 1 };

struct yk_frontend_ops {
    uint32_t struct_size;

    struct yk_life life;
    /* open may touch the world; close ends it. Defaults: succeed. */
    enum yk_err (*open)(void *self);
    void (*close)(void *self);

    /* Is this the start of your protocol? Asked where one listener serves several frontends, with
     * what has come so far (at least 1 byte); MORE only if size < 64. Default: NO. */
    enum yk_probe (*probe)(void *self, const uint8_t *bytes, size_t size);

    /* A connection. The peer outlives it. Required, as are session_free, feed and reply. */
    enum yk_err (*session_new)(void *self, const struct yk_peer *peer, void **ret_session);
    void (*session_free)(void *session);

    /* Takes whole requests off the front of bytes.
     *   eof       the client sends nothing after these bytes
     *   ret_used  <= size: bytes not to be given again (a part of a request may be taken, if the
     * session remembers it) ret_want  the least size worth feeding again, counted from the new
     * front; 0: any more. The core checks it against its limits, and reads a large request straight
     * into one buffer. Called again with the same bytes and more. bytes stay as they are until the
     * core has started what was submitted. Returns YK_OK, or an error: the connection closes after
     * the replies to what was submitted. Size 0 without eof: there is room again after submit said
     * stop. */
    enum yk_err (*feed)(void *session, const uint8_t *bytes, size_t size, bool eof,
                        struct yk_inbox *inbox, size_t *ret_used, size_t *ret_want);

    /* Writes the answer, or with YK_REPLY_MORE a part of it. In the order of submission, exactly
     * one call without MORE for each request (see YK_REQUEST_QUIET). */
    void (*reply)(void *session, const struct yk_request *request, const struct yk_reply *reply,
                  struct yk_outbox *outbox);

    /* The client is gone; the request will have no (more) reply. Default: nothing. */
    void (*cancel)(void *session, const struct yk_request *request);

    /* Called once when the session is new, then at the times it asks for: ret_next_ms on the clock
     * of now_ms (never early), 0: no more. May write only while the session has no request under
     * way, or between the parts of a stream (keep-alive of server-sent events). Default: none. */
    enum yk_timer_result (*timer)(void *session, uint64_t now_ms, struct yk_outbox *outbox,
                                  uint64_t *ret_next_ms);
};

/* Room for size bytes at outbox->cur, which the caller advances; NULL: lost, write nothing more. */
static inline uint8_t *
yk_outbox_reserve(struct yk_outbox *outbox, size_t size)
{
    if ((size_t)(outbox->end - outbox->cur) < size && !outbox->grow(outbox, size)) {
        return NULL;
    }
    return outbox->cur;
}

static inline void
yk_outbox_put(struct yk_outbox *outbox, const void *data, size_t size)
{
    uint8_t *to = yk_outbox_reserve(outbox, size);
    if (to != NULL && size > 0) {
        memcpy(to, data, size);
        outbox->cur = to + size;
    }
}

static inline void
yk_outbox_put_text(struct yk_outbox *outbox, const char *text)
{
    yk_outbox_put(outbox, text, strlen(text));
}

/* From this size on a value is sent from where it lies, if it may be. */
#define YK_LEND_SIZE_MIN 16384u

/* The reply's value: lent where that pays, else copied. */
static inline void
yk_outbox_put_value(struct yk_outbox *outbox, const struct yk_reply *reply)
{
    if (reply->value_buffer != NULL && reply->value.size >= YK_LEND_SIZE_MIN) {
        outbox->lend(outbox, reply->value, reply->value_buffer);
    } else {
        yk_outbox_put(outbox, reply->value.data, reply->value.size);
    }
}

static inline size_t
yk_format_u64_long(uint8_t *to, uint64_t number)
{
    uint64_t rest = number;
    size_t n = 1, i;
    while ((rest /= 10) != 0) {
        n++;
    }
    for (i = n; i-- > 0; number /= 10) {
        to[i] = (uint8_t)('0' + number % 10);
    }
    return n;
}

/* Decimal digits of number at `to`, which has room for 20; returns how many. Most are short. */
static inline size_t
yk_format_u64(uint8_t *to, uint64_t number)
{
    uint8_t *at = to;
    uint32_t rest = (uint32_t)number;
    if (number >= 10000) {
        at += yk_format_u64_long(at, number / 10000);
        rest = (uint32_t)(number % 10000);
        *at++ = (uint8_t)('0' + rest / 1000);
        *at++ = (uint8_t)('0' + rest / 100 % 10);
        *at++ = (uint8_t)('0' + rest / 10 % 10);
    } else {
        if (rest >= 1000) {
            *at++ = (uint8_t)('0' + rest / 1000);
        }
        if (rest >= 100) {
            *at++ = (uint8_t)('0' + rest / 100 % 10);
        }
        if (rest >= 10) {
            *at++ = (uint8_t)('0' + rest / 10 % 10);
        }
    }
    *at++ = (uint8_t)('0' + rest % 10);
    return (size_t)(at - to);
}

static inline void
yk_outbox_put_u64(struct yk_outbox *outbox, uint64_t number)
{
    uint8_t *to = yk_outbox_reserve(outbox, 20);
    if (to != NULL) {
        outbox->cur = to + yk_format_u64(to, number);
    }
}

#ifdef __cplusplus
}
#endif

#endif
