/* Takes command lines apart by hand, one pass over the bytes; no memory, no library, no locale.
 * What the words mean is the business of the commands' files. */
#include <config.h>

#include "frontends/memcached/parse.h"

/* Eight bytes are looked at at once: subtracting 0x21 from each sets the high bit of those that are
 * less, and of none below the first of them; those with a high bit of their own are masked out. */
size_t
yk_mc_find_low(const uint8_t *bytes, size_t size, size_t at)
{
    const uint64_t ones = 0x0101010101010101u;
    for (; at + 8 <= size; at += 8) {
        uint64_t eight;
        memcpy(&eight, bytes + at, 8);
        uint64_t low = (eight - ones * (' ' + 1)) & ~eight & (ones << 7);
        if (low != 0) {
            return at + (size_t)__builtin_ctzll(low) / 8;
        }
    }
    while (at < size && bytes[at] > ' ') {
        at++;
    }
    return at;
}

/* Where the word that starts at `at` ends: at a space or LF, or at size. Notes a CR that does not
 * belong to the line's end, and NUL. */
static size_t
word_end(const uint8_t *bytes, size_t size, size_t at, bool *has_odd)
{
    for (;; at++) {
        at = yk_mc_find_low(bytes, size, at);
        if (at == size) {
            break;
        }
        uint8_t c = bytes[at];
        if (c == ' ' || c == '\n') {
            break;
        }
        if (c == '\0' || (c == '\r' && at + 1 < size && bytes[at + 1] != '\n')) {
            *has_odd = true;
        }
    }
    return at;
}

static size_t
spaces_end(const uint8_t *bytes, size_t size, size_t at)
{
    while (at < size && bytes[at] == ' ') {
        at++;
    }
    return at;
}

/* Bytes of the word from start to end, without the CR of the line's end. */
static size_t
word_size(const uint8_t *bytes, size_t start, size_t end)
{
    bool has_cr = bytes[end] == '\n' && end > start && bytes[end - 1] == '\r';
    return end - start - (has_cr ? 1 : 0);
}

bool
yk_mc_parse_line(const uint8_t *bytes, size_t size, struct yk_mc_line *ret_line)
{
    uint32_t n_words = 0;
    size_t size_max = 0;
    size_t at = 0;
    ret_line->has_odd = false;
    ret_line->size = 0;
    for (;;) {
        size_t start = spaces_end(bytes, size, at);
        size_t end = word_end(bytes, size, start, &ret_line->has_odd);
        if (end == size) {
            ret_line->n_words = n_words;
            ret_line->word_size_max = size_max;
            return false;
        }
        size_t n = word_size(bytes, start, end);
        if (n > 0) {
            if (n_words < YK_MC_WORDS_MAX) {
                ret_line->words[n_words] = yk_slice_of(bytes + start, n);
            }
            n_words++;
            size_max = n > size_max ? n : size_max;
            ret_line->size = end;
        }
        at = end + 1;
        if (bytes[end] == '\n') {
            break;
        }
    }
    ret_line->n_words = n_words;
    ret_line->word_size_max = size_max;
    ret_line->size = at;
    return true;
}

enum yk_mc_key
yk_mc_parse_key(const uint8_t *bytes, size_t size, size_t key_size_max, struct yk_slice *ret_key,
                size_t *ret_used)
{
    bool has_odd = false;
    size_t start = spaces_end(bytes, size, 0);
    /* A key, the CR behind it and the byte that ends it: nothing further need be looked at. */
    size_t look = size - start > key_size_max + 2 ? start + key_size_max + 2 : size;
    size_t end = word_end(bytes, look, start, &has_odd);
    *ret_used = start;
    if (end == look) {
        return look < size || has_odd || look - start > key_size_max + 1 ? YK_MC_KEY_BAD
                                                                         : YK_MC_KEY_PART;
    }
    size_t n = word_size(bytes, start, end);
    if (n > key_size_max || has_odd) {
        return YK_MC_KEY_BAD;
    }
    *ret_key = yk_slice_of(bytes + start, n);
    if (bytes[end] == '\n') {
        *ret_used = end + 1;
        return n > 0 ? YK_MC_KEY_LAST : YK_MC_KEY_NONE;
    }
    size_t next = spaces_end(bytes, size, end);
    if (next + 1 < size && bytes[next] == '\r' && bytes[next + 1] == '\n') {
        next++;
    }
    if (next < size && bytes[next] == '\n') {
        *ret_used = next + 1;
        return YK_MC_KEY_LAST;
    }
    *ret_used = end + 1;
    return YK_MC_KEY_NEXT;
}

bool
yk_mc_next_word(struct yk_slice *words, struct yk_slice *ret_word)
{
    const uint8_t *bytes = words->data;
    size_t start = spaces_end(bytes, words->size, 0);
    size_t end = start;
    while (end < words->size && bytes[end] != ' ') {
        end++;
    }
    if (end == start) {
        return false;
    }
    *ret_word = yk_slice_of(bytes + start, end - start);
    *words = yk_slice_of(bytes + end, words->size - end);
    return true;
}

/* Digits from `at` to the word's end. */
static bool
parse_digits(struct yk_slice word, size_t at, uint64_t *ret_number)
{
    const uint8_t *bytes = word.data;
    uint64_t number = 0;
    if (at == word.size) {
        return false;
    }
    for (; at < word.size; at++) {
        uint8_t digit = (uint8_t)(bytes[at] - '0');
        if (digit > 9 || number > UINT64_MAX / 10 || number * 10 > UINT64_MAX - digit) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}

/* Bytes of the sign at the word's front that is `sign`: 0 or 1. */
static size_t
sign_size(struct yk_slice word, char sign)
{
    return word.size > 0 && *(const char *)word.data == sign ? 1 : 0;
}

bool
yk_mc_parse_u64(struct yk_slice word, uint64_t *ret_number)
{
    return parse_digits(word, sign_size(word, '+'), ret_number);
}

bool
yk_mc_parse_u32(struct yk_slice word, uint32_t *ret_number)
{
    uint64_t number;
    if (!yk_mc_parse_u64(word, &number) || number > UINT32_MAX) {
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

bool
yk_mc_parse_i64(struct yk_slice word, int64_t *ret_number)
{
    bool is_negative = sign_size(word, '-') != 0;
    uint64_t number;
    if (!parse_digits(word, is_negative ? 1 : sign_size(word, '+'), &number) ||
        number > INT64_MAX) {
        return false;
    }
    *ret_number = is_negative ? -(int64_t)number : (int64_t)number;
    return true;
}

bool
yk_mc_parse_classes(struct yk_slice word, bool *ret_has_first)
{
    const uint8_t *bytes = word.data;
    bool has_first = false;
    size_t start = 0;
    for (size_t at = 0; at <= word.size; at++) {
        if (at < word.size && bytes[at] != ',') {
            continue;
        }
        uint64_t number = 0;
        if (at > start && (!parse_digits(yk_slice_of(bytes + start, at - start), 0, &number) ||
                           number == 0 || number >= YK_MC_CLASSES_MAX)) {
            return false;
        }
        has_first = has_first || number == 1;
        start = at + 1;
    }
    *ret_has_first = has_first;
    return true;
}
