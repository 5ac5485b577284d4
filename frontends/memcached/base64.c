/* Base64, three bytes to four letters and back. */
#include <config.h>

#include "frontends/memcached/base64.h"

/* The letter's six bits, or -1. */
static int
letter_bits(uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z') {
        return letter - 'A';
    }
    if (letter >= 'a' && letter <= 'z') {
        return letter - 'a' + 26;
    }
    if (letter >= '0' && letter <= '9') {
        return letter - '0' + 52;
    }
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

/* Letters of the last four that are not padding: 2 to 4. */
static size_t
last_letters(const uint8_t *quad)
{
    if (quad[3] != '=') {
        return 4;
    }
    return quad[2] != '=' ? 3 : 2;
}

bool
yk_mc_base64_decode(struct yk_slice text, uint8_t *to, size_t *ret_size)
{
    const uint8_t *bytes = text.data;
    size_t size = 0;
    if (text.size == 0 || text.size % 4 != 0) {
        return false;
    }
    for (size_t at = 0; at < text.size; at += 4) {
        size_t n = at + 4 == text.size ? last_letters(bytes + at) : 4;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            int six = i < n ? letter_bits(bytes[at + i]) : 0;
            if (six < 0) {
                return false;
            }
            bits = bits << 6 | (uint32_t)six;
        }
        for (size_t i = 0; i + 1 < n; i++) {
            to[size++] = (uint8_t)(bits >> (16 - 8 * i));
        }
    }
    *ret_size = size;
    return true;
}

uint8_t *
yk_mc_base64_encode(struct yk_slice bytes, uint8_t *to)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *from = bytes.data;
    for (size_t at = 0; at < bytes.size; at += 3) {
        size_t n = bytes.size - at < 3 ? bytes.size - at : 3;
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++) {
            bits = bits << 8 | (i < n ? from[at + i] : 0u);
        }
        for (size_t i = 0; i < 4; i++) {
            *to++ = i <= n ? (uint8_t)letters[bits >> (18 - 6 * i) & 63] : (uint8_t)'=';
        }
    }
    return to;
}
