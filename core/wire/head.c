/* The table of MessagePack's longer heads. */
#include <config.h>

#include "core/wire/head.h"

const struct yk_head_form yk_head_forms[32] = {
    [0x00] = {YK_UNPACK_NIL, 0, 0, 0},       [0x02] = {YK_UNPACK_BOOL, 0, 0, 0},
    [0x03] = {YK_UNPACK_BOOL, 0, 0, 1},      [0x04] = {YK_UNPACK_BYTES, 1, 0, 0},
    [0x05] = {YK_UNPACK_BYTES, 2, 0, 0},     [0x06] = {YK_UNPACK_BYTES, 4, 0, 0},
    [0x07] = {YK_UNPACK_EXTENSION, 1, 0, 1}, [0x08] = {YK_UNPACK_EXTENSION, 2, 0, 1},
    [0x09] = {YK_UNPACK_EXTENSION, 4, 0, 1}, [0x0a] = {YK_UNPACK_FLOAT, 0, 0, 4},
    [0x0b] = {YK_UNPACK_FLOAT, 0, 0, 8},     [0x0c] = {YK_UNPACK_UINT, 1, 0, 0},
    [0x0d] = {YK_UNPACK_UINT, 2, 0, 0},      [0x0e] = {YK_UNPACK_UINT, 4, 0, 0},
    [0x0f] = {YK_UNPACK_UINT, 8, 0, 0},      [0x10] = {YK_UNPACK_UINT, 1, 1, 0},
    [0x11] = {YK_UNPACK_UINT, 2, 1, 0},      [0x12] = {YK_UNPACK_UINT, 4, 1, 0},
    [0x13] = {YK_UNPACK_UINT, 8, 1, 0},      [0x14] = {YK_UNPACK_EXTENSION, 0, 0, 2},
    [0x15] = {YK_UNPACK_EXTENSION, 0, 0, 3}, [0x16] = {YK_UNPACK_EXTENSION, 0, 0, 5},
    [0x17] = {YK_UNPACK_EXTENSION, 0, 0, 9}, [0x18] = {YK_UNPACK_EXTENSION, 0, 0, 17},
    [0x19] = {YK_UNPACK_TEXT, 1, 0, 0},      [0x1a] = {YK_UNPACK_TEXT, 2, 0, 0},
    [0x1b] = {YK_UNPACK_TEXT, 4, 0, 0},      [0x1c] = {YK_UNPACK_ARRAY, 2, 0, 0},
    [0x1d] = {YK_UNPACK_ARRAY, 4, 0, 0},     [0x1e] = {YK_UNPACK_MAP, 2, 0, 0},
    [0x1f] = {YK_UNPACK_MAP, 4, 0, 0},
};
