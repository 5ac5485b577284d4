/* The flags of a meta command. Every command takes every flag, and uses those that it knows: as in
 * memcached, where one may stand that another command needs. */
#include <config.h>

#include "frontends/memcached/meta.h"

#define BAD_TOKEN      "CLIENT_ERROR bad token in command line format\r\n"
#define DUPLICATE_FLAG "CLIENT_ERROR duplicate flag\r\n"
#define BAD_MODE_SIZE  "CLIENT_ERROR incorrect length for M token\r\n"
#define BAD_INITIAL    "CLIENT_ERROR invalid numeric initial value\r\n"
#define BAD_DELTA      "CLIENT_ERROR invalid numeric delta value\r\n"

#define LETTERS_END 127u

static const char bad_flag[] = "CLIENT_ERROR invalid flag\r\n";

/* Modes by name; letters stand for themselves. */
static const struct {
    const char *name;
    uint8_t letter;
} mode_names[] = {
    {"add", 'E'}, {"append", 'A'}, {"prepend", 'P'}, {"replace", 'R'},
    {"set", 'S'}, {"incr", 'I'},   {"decr", 'D'},
};

static const char *
parse_ttl(struct yk_slice token, struct yk_ttl *ret_ttl)
{
    int64_t seconds;
    if (!yk_mc_parse_i64(token, &seconds)) {
        return BAD_TOKEN;
    }
    *ret_ttl = yk_mc_expiry(seconds);
    return NULL;
}

static const char *
parse_number(struct yk_slice token, uint64_t *ret_number, const char *error)
{
    return yk_mc_parse_u64(token, ret_number) ? NULL : error;
}

static const char *
parse_mode(struct yk_slice token, uint8_t *ret_mode)
{
    if (token.size == 1) {
        *ret_mode = *(const uint8_t *)token.data;
        return NULL;
    }
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
        if (yk_mc_word_is(token, mode_names[i].name)) {
            *ret_mode = mode_names[i].letter;
            return NULL;
        }
    }
    return BAD_MODE_SIZE;
}

/* NULL: the flag is understood. bad_flag: there is none of that letter. */
static const char *
parse_flag(uint8_t letter, struct yk_slice token, struct yk_mc_flags *flags)
{
    switch (letter) {
    case 'T':
        return parse_ttl(token, &flags->expiry);
    case 'N':
        return parse_ttl(token, &flags->vivify);
    case 'R':
        return parse_ttl(token, &flags->recache);
    case 'C':
        return parse_number(token, &flags->cas, BAD_TOKEN);
    case 'E':
        return parse_number(token, &flags->new_cas, BAD_TOKEN);
    case 'D':
        return parse_number(token, &flags->delta, BAD_DELTA);
    case 'J':
        return parse_number(token, &flags->initial, BAD_INITIAL);
    case 'F':
        return yk_mc_parse_u32(token, &flags->client_flags) ? NULL : YK_MC_BAD_LINE;
    case 'M':
        return parse_mode(token, &flags->mode);
    case 'O':
        flags->has_long_opaque = token.size + 1 > YK_MC_OPAQUE_SIZE_MAX;
        return NULL;
    case 'I':
    case 'L':
    case 'P':
    case 'b':
    case 'c':
    case 'f':
    case 'h':
    case 'k':
    case 'l':
    case 'q':
    case 's':
    case 't':
    case 'u':
    case 'v':
    case 'x':
        return NULL;
    default:
        return bad_flag;
    }
}

const char *
yk_mc_flags_parse(struct yk_slice words, struct yk_mc_flags *ret_flags)
{
    struct yk_mc_flags flags = {.delta = 1};
    const char *error = NULL;
    struct yk_slice word;
    while (yk_mc_next_word(&words, &word)) {
        const uint8_t *bytes = word.data;
        uint64_t bit = UINT64_C(1) << (bytes[0] % 64);
        if (bytes[0] >= LETTERS_END || (flags.seen[bytes[0] / 64] & bit) != 0) {
            return DUPLICATE_FLAG;
        }
        flags.seen[bytes[0] / 64] |= bit;
        const char *wrong = parse_flag(bytes[0], yk_slice_of(bytes + 1, word.size - 1), &flags);
        if (wrong != NULL) {
            error = wrong;
            if (wrong == bad_flag) {
                break;
            }
        }
    }
    *ret_flags = flags;
    return error;
}
