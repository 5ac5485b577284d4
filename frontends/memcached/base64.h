/* Base64 as RFC 4648, section 4, has it: keys of the meta commands that are not text.
 *
 * Threads: pure. Ownership: the caller's memory. */
#ifndef YK_MC_BASE64_H
#define YK_MC_BASE64_H

#include <yakumo/base.h>

/* Bytes that `size` bytes have as base64. */
#define YK_MC_BASE64_SIZE(size) (((size) + 2) / 3 * 4)

/* Decodes into `to`, which has room for text.size / 4 * 3 bytes and may lie on the text. False: it
 * is empty, of a length that is not a multiple of 4, or has another byte than the alphabet's. */
bool yk_mc_base64_decode(struct yk_slice text, uint8_t *to, size_t *ret_size);

/* Writes YK_MC_BASE64_SIZE(bytes.size) bytes, and returns what is behind them. */
uint8_t *yk_mc_base64_encode(struct yk_slice bytes, uint8_t *to);

#endif
