/* A bounded reader of MessagePack: for what comes from a file, a peer or a client.
 *
 * It walks over bytes that it borrows and allocates nothing. An announced count is believed only as
 * far as the bytes that are left could hold it; arrays and maps lie in each other at most
 * YK_UNPACK_DEPTH_MAX deep; the whole is one value with no byte behind it. A number or a length may
 * be written longer than it needs.
 *
 * The first thing that is wrong stays: from then on every call gives 0 or nothing, counts too, so
 * that a caller reads a whole structure and asks once, at the end. What it read until then means
 * nothing if yk_unpack_end fails.
 *
 *     struct yk_unpack unpack;
 *     yk_unpack_init(&unpack, bytes);
 *     uint32_t n = yk_unpack_array(&unpack);   -- enters the array
 *     ... n values ...
 *     yk_unpack_leave(&unpack);                -- it must have been read to its end
 *     if (yk_unpack_end(&unpack) != YK_OK) { ... unpack.wrong says why }
 *
 * Threads: pure. Ownership: borrows the bytes; texts and bytes that it gives point into them. */
#ifndef YK_WIRE_UNPACK_H
#define YK_WIRE_UNPACK_H

#include <yakumo/base.h>

#include "core/base/limits.h"

struct yk_unpack {
    const uint8_t *at, *end;
    const char *wrong; /* the first thing that was wrong, a constant; NULL: nothing yet */
    uint32_t depth;    /* arrays and maps that were entered and not left */
    uint32_t left[YK_UNPACK_DEPTH_MAX + 1]; /* values still to come, at each depth */
};

enum yk_unpack_type {
    YK_UNPACK_NOTHING = 0, /* no value is left here, or something was wrong */
    YK_UNPACK_NIL,
    YK_UNPACK_BOOL,
    YK_UNPACK_UINT,
    YK_UNPACK_NEGATIVE,
    YK_UNPACK_FLOAT,
    YK_UNPACK_TEXT,
    YK_UNPACK_BYTES,
    YK_UNPACK_ARRAY,
    YK_UNPACK_MAP,
    YK_UNPACK_EXTENSION,
};

void yk_unpack_init(struct yk_unpack *unpack, struct yk_slice bytes);
/* YK_ECORRUPT: something was wrong, or the value has not been read to its end, or there is more
 * behind it; unpack->wrong says which. */
enum yk_err yk_unpack_end(struct yk_unpack *unpack) YK_MUST_CHECK;

/* What the next value is; takes nothing. */
enum yk_unpack_type yk_unpack_peek(const struct yk_unpack *unpack);
void yk_unpack_nil(struct yk_unpack *unpack);
bool yk_unpack_bool(struct yk_unpack *unpack);
/* A whole number from 0 to max. */
uint64_t yk_unpack_uint(struct yk_unpack *unpack, uint64_t max);
/* At most size_max bytes. */
struct yk_slice yk_unpack_text(struct yk_unpack *unpack, size_t size_max);
struct yk_slice yk_unpack_bytes(struct yk_unpack *unpack, size_t size_max);
/* Enters it; the number of values, of pairs for a map. */
uint32_t yk_unpack_array(struct yk_unpack *unpack);
uint32_t yk_unpack_map(struct yk_unpack *unpack);
void yk_unpack_leave(struct yk_unpack *unpack);
/* Goes over one value, whatever it is. */
void yk_unpack_skip(struct yk_unpack *unpack);

/* For the caller's own checks: from here on it is wrong, unless it is already. why is a constant.
 */
void yk_unpack_fail(struct yk_unpack *unpack, const char *why);

#endif
