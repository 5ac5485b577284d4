/* Writing an answer in place: the room for all of it is reserved once, then `to` walks over it.
 * What is written here never fails; the caller has reserved enough.
 *
 * Threads: pure. Ownership: bytes are copied, but for a value that is lent. */
#ifndef YK_MC_PUT_H
#define YK_MC_PUT_H

#include <yakumo/frontend.h>

static inline uint8_t *
yk_mc_put_bytes(uint8_t *to, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(to, data, size);
    }
    return to + size;
}

static inline uint8_t *
yk_mc_put_text(uint8_t *to, const char *text)
{
    return yk_mc_put_bytes(to, text, strlen(text));
}

static inline uint8_t *
yk_mc_put_u64(uint8_t *to, uint64_t number)
{
    return to + yk_format_u64(to, number);
}

/* Is the value large enough to be sent from where it lies? */
static inline bool
yk_mc_is_lent(const struct yk_reply *reply)
{
    return reply->value_buffer != NULL && reply->value.size >= YK_LEND_SIZE_MIN;
}

/* Room for `room` bytes around the reply's value, and for the value unless it is lent; NULL: the
 * connection is lost. */
static inline uint8_t *
yk_mc_reserve_value(struct yk_outbox *outbox, const struct yk_reply *reply, size_t room)
{
    return yk_outbox_reserve(outbox, room + (yk_mc_is_lent(reply) ? 0 : reply->value.size));
}

/* The value at `to`, and then again room for `room` bytes; NULL: the connection is lost. */
static inline uint8_t *
yk_mc_put_value(struct yk_outbox *outbox, const struct yk_reply *reply, uint8_t *to, size_t room)
{
    if (!yk_mc_is_lent(reply)) {
        return yk_mc_put_bytes(to, reply->value.data, reply->value.size);
    }
    outbox->cur = to;
    if (!outbox->lend(outbox, reply->value, reply->value_buffer)) {
        return NULL;
    }
    return yk_outbox_reserve(outbox, room);
}

#endif
