/* The heads of MessagePack values, as the reader and the splitter know them (private to this room).
 *
 * Threads: constants. Ownership: none. */
#ifndef YK_WIRE_HEAD_H
#define YK_WIRE_HEAD_H

#include "core/wire/unpack.h"

/* What follows a type byte from 0xc0 to 0xdf. */
struct yk_head_form {
    uint8_t type;      /* enum yk_unpack_type; NOTHING: no such byte */
    uint8_t n_follow;  /* bytes of the number behind the type byte */
    uint8_t is_signed; /* it is a number with a sign */
    uint8_t fixed;     /* n_follow 0: the number; EXTENSION: added to it for its type byte */
};

extern const struct yk_head_form yk_head_forms[32]; /* index: type byte - 0xc0 */

/* As many bytes as its number says follow the head. */
static inline bool
yk_head_has_bytes(enum yk_unpack_type type)
{
    return type == YK_UNPACK_TEXT || type == YK_UNPACK_BYTES || type == YK_UNPACK_FLOAT ||
           type == YK_UNPACK_EXTENSION;
}

#endif
