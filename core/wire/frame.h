/* Frames: where one MessagePack value ends and the next begins, in a stream that comes in pieces.
 *
 * The messages between nodes are those of MessagePack-RPC, each one value: a request
 * [0, msgid, method, params], its answer [1, msgid, error, result], a notice [2, method, params].
 * The splitter looks at each byte of structure once, steps over the body of a text in one go, and
 * keeps what it knows from one piece to the next. It believes no announced size or count that could
 * not fit below the bound, and knows no deeper nesting than yk_unpack, which takes whatever it lets
 * through.
 *
 * Threads: pure. Ownership: a plain value; borrows the bytes of a call. */
#ifndef YK_WIRE_FRAME_H
#define YK_WIRE_FRAME_H

#include "core/wire/unpack.h"

/* The kinds of message: the first element. */
enum yk_frame_kind { YK_FRAME_REQUEST = 0, YK_FRAME_ANSWER = 1, YK_FRAME_NOTICE = 2 };

enum yk_split {
    YK_SPLIT_MORE,  /* all bytes are taken, and the value goes on */
    YK_SPLIT_WHOLE, /* it ends with the last byte that was taken; the next call begins another */
    YK_SPLIT_WRONG, /* splitter->wrong says why; nothing more comes of this stream */
};

struct yk_splitter {
    uint64_t size_max;
    uint64_t size;      /* of the value so far */
    uint64_t body;      /* bytes to step over before the next head */
    uint64_t n_pending; /* values still to come, at all depths: each takes a byte at least */
    uint64_t number;    /* of a head that is not whole */
    uint32_t depth;
    uint32_t left[YK_UNPACK_DEPTH_MAX + 1]; /* values still to come, at each depth */
    uint8_t type;                           /* type byte of a head that is not whole */
    uint8_t n_follow;                       /* bytes of its number still to come */
    const char *wrong;                      /* a constant, or NULL */
};

/* size_max: of one value. */
void yk_splitter_init(struct yk_splitter *splitter, uint64_t size_max);
/* Takes bytes of the front of `bytes`, to the end of the value at most. */
enum yk_split yk_splitter_take(struct yk_splitter *splitter, const uint8_t *bytes, size_t size,
                               size_t *ret_used) YK_MUST_CHECK;

#endif
