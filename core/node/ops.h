/* Ops on their way to the primary of their slot and their answers, as frames between workers of two
 * nodes:
 *
 *     [2, "ops", [bucket, ops]]
 *         bucket   text, its name
 *         op       (id, slot, epoch, kind, mode, flags, kept max, key, value, cas, new cas, delta,
 *                  initial, expiry, vivify, recache, client flags): numbers, but key and value:
 *                  bytes; each of the three times: kind, ms. Of a GET of one who keeps values one
 *                  more number: the version that he has, or 0. Of a write that may be sent again
 *                  its token; and, when it is, the version behind which earlier tries would stand
 *     [2, "answers", [answers]]
 *         answer   (id, result, flags, version, number, client flags, expiry, last access, value,
 *                  text): numbers, but value: bytes or nil, text: text or nil. Of a write with a
 *                  token that was done one more number: the version that it was given
 *
 * The id is the asker's own. epoch is that of the slot as the asker knows it. kept max: bytes of a
 * value that may be answered, see struct yk_op. A FLUSH has no key, its slot stands for the lane
 * that holds it, its delta says which slots the asker takes to be led there. Signed numbers go as
 * their two's complement.
 *
 * Source: PROTOCOL "Writing" 1. Threads: pure. Ownership: what is read is lent by the frame. */
#ifndef YK_NODE_OPS_H
#define YK_NODE_OPS_H

#include <yakumo/request.h>

#include "core/wire/pack.h"
#include "core/wire/unpack.h"

#define YK_OPS_HEAD_MAX 256u /* bytes of a frame, or of an item, beyond keys, values and texts */
#define YK_OPS_TEXT_MAX 200u /* bytes of an answer's text */
/* What may be said of an op elsewhere; the rest is between frontend and router. */
#define YK_OPS_FLAGS                                                                               \
    (YK_REQUEST_CAS | YK_REQUEST_NEW_CAS | YK_REQUEST_VALUE | YK_REQUEST_VIVIFY |                  \
     YK_REQUEST_TOUCH | YK_REQUEST_RECACHE | YK_REQUEST_WIN | YK_REQUEST_INVALIDATE |              \
     YK_REQUEST_DROP_VALUE | YK_REQUEST_HINT)

struct yk_op_message {
    uint64_t id;
    uint32_t epoch;
    uint16_t slot;
    uint64_t kept_max;
    struct yk_request request; /* bucket is left out */
    bool may_cache; /* the asker keeps values, and has the one of known_version; 0: none */
    uint64_t known_version;
    uint64_t token, after; /* see struct yk_op */
    bool is_again;
};

struct yk_answer_message {
    uint64_t id;
    struct yk_reply reply; /* without its text */
    struct yk_slice text;  /* data NULL: none. Printable ASCII */
    uint64_t version;      /* of the change that was made, where that is told; 0 */
};

/* Items, one behind the other. */
void yk_ops_write(struct yk_pack *pack, const struct yk_op_message *message);
/* version: of the change that was made; 0: it is not told. */
void
yk_answers_write(struct yk_pack *pack, uint64_t id, const struct yk_reply *reply, uint64_t version);
/* The frame of so many items; NULL: something of it was left out, or there is no memory. */
struct yk_buffer *yk_ops_frame(const struct yk_pack *items, uint32_t n, const char *bucket);
struct yk_buffer *yk_answers_frame(const struct yk_pack *items, uint32_t n);

/* The params of a message, at which unpack stands: how many items follow. 0 where it is wrong. */
uint32_t yk_ops_begin(struct yk_unpack *unpack, struct yk_slice *ret_bucket);
uint32_t yk_answers_begin(struct yk_unpack *unpack);
/* The next item; false: it is wrong, and so is what follows. What is read can be executed: kinds,
 * modes and flags are known, and only sizes are still to be looked at. */
bool yk_ops_next(struct yk_unpack *unpack, struct yk_op_message *ret_message);
bool yk_answers_next(struct yk_unpack *unpack, struct yk_answer_message *ret_message);

#endif
