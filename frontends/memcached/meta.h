/* The meta commands' flags: words of one letter and sometimes a token, in any order.
 *
 *     meta.c        mn, mg, ms, md, ma, me: words -> request
 *     meta_flags.c  the flags of a line -> struct yk_mc_flags
 *     meta_reply.c  answers -> bytes
 *
 * A request's note is the flags as they stood on the line: the answer shows what they ask for in
 * their order, and so needs no memory.
 *
 * Threads: pure. Ownership: slices point into the line. */
#ifndef YK_MC_META_H
#define YK_MC_META_H

#include "frontends/memcached/memcached.h"

#define YK_MC_OPAQUE_SIZE_MAX 32u /* bytes of an opaque with its letter */

#define YK_MC_BAD_FLAGS   "CLIENT_ERROR invalid or duplicate flag\r\n"
#define YK_MC_LONG_OPAQUE "CLIENT_ERROR opaque token too long\r\n"

/* What the flags of a line say. */
struct yk_mc_flags {
    uint64_t seen[2]; /* a bit for each letter */
    struct yk_ttl expiry, vivify, recache;
    uint64_t cas, new_cas;
    uint64_t delta, initial;
    uint32_t client_flags;
    uint8_t mode;         /* of M; 0: none */
    bool has_long_opaque; /* which is an error of its own, said after all others */
};

static inline bool
yk_mc_flags_have(const struct yk_mc_flags *flags, char letter)
{
    return (flags->seen[(uint8_t)letter / 64] >> ((uint8_t)letter % 64) & 1) != 0;
}

/* The request flag, if the letter is there. */
static inline uint32_t
yk_mc_flags_as(const struct yk_mc_flags *flags, char letter, uint32_t request_flag)
{
    return yk_mc_flags_have(flags, letter) ? request_flag : 0;
}

/* Takes the words apart. NULL, or the line that says what is wrong with them. */
const char *yk_mc_flags_parse(struct yk_slice words, struct yk_mc_flags *ret_flags);

/* meta_reply.c: the answer to a request of a kind from YK_MC_KIND_META_GET on. */
void yk_mc_reply_meta(const struct yk_mc_session *session, const struct yk_request *request,
                      const struct yk_reply *reply, struct yk_outbox *outbox);

#endif
