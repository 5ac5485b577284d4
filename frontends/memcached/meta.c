/* The meta commands: mn, mg, ms, md, ma, me. What their flags say becomes a request; what is wrong
 * with them is said also to a quiet command. */
#include <config.h>

#include "frontends/memcached/base64.h"
#include "frontends/memcached/meta.h"

#define WORDS_MAX 19u /* of a line, memcached's own bound */

#define LONG_FLAGS     "CLIENT_ERROR options flags too long\r\n"
#define LONG_GET_FLAGS "CLIENT_ERROR options flags are too long\r\n"
#define BAD_BASE64     "CLIENT_ERROR error decoding key\r\n"
#define BAD_STORE_MODE "CLIENT_ERROR invalid mode for ms M token\r\n"
#define BAD_ARITH_MODE "CLIENT_ERROR invalid mode for ma M token\r\n"
#define NO_MEMORY      "SERVER_ERROR out of memory\r\n"

/* What a line says besides the size of its value. */
struct meta_line {
    struct yk_slice key; /* as the record has it */
    struct yk_slice words;
    struct yk_mc_flags flags;
    uint8_t decoded[YK_MC_KEY_SIZE_MAX]; /* key may point here */
};

/* The line's words behind this one. */
static struct yk_slice
words_behind(const struct yk_mc_feed *feed, const struct yk_mc_line *line, struct yk_slice word)
{
    const uint8_t *start = (const uint8_t *)word.data + word.size;
    const uint8_t *end = feed->bytes + feed->used + line->size - 1;
    if (end > start && end[-1] == '\r') {
        end--;
    }
    return yk_slice_of(start, (size_t)(end - start));
}

/* NULL, or what is wrong. */
static const char *
decode_key(const struct yk_mc_feed *feed, struct meta_line *meta)
{
    size_t size;
    if (!yk_mc_base64_decode(meta->key, meta->decoded, &size)) {
        return BAD_BASE64;
    }
    if (size > feed->session->key_size_max) {
        return YK_MC_BAD_LINE;
    }
    meta->key = yk_slice_of(meta->decoded, size);
    return NULL;
}

/* The key's word as it stands: whether it fits the bucket shows when it is decoded. */
static bool
key_is_good(const struct yk_mc_line *line)
{
    return line->words[1].size <= YK_MC_KEY_SIZE_MAX && !line->has_odd;
}

/* Parses what stands behind the key, or the value's size. NULL, or what is wrong. */
static const char *
parse_flags(const struct yk_mc_feed *feed, const struct yk_mc_line *line, uint32_t n_before,
            struct meta_line *ret_meta)
{
    ret_meta->key = line->words[1];
    ret_meta->words = words_behind(feed, line, line->words[n_before - 1]);
    const char *error = yk_mc_flags_parse(ret_meta->words, &ret_meta->flags);
    if (error != NULL) {
        return error;
    }
    if (yk_mc_flags_have(&ret_meta->flags, 'b')) {
        return decode_key(feed, ret_meta);
    }
    return ret_meta->key.size <= feed->session->key_size_max ? NULL : YK_MC_BAD_LINE;
}

/* A request with what all meta commands take from a line; NULL: return AGAIN. Where there is no
 * memory for the key it becomes the line that says so. */
static struct yk_request *
meta_request(struct yk_mc_feed *feed, const struct meta_line *meta, enum yk_opcode op,
             enum yk_mc_kind kind)
{
    bool is_decoded = meta->key.data == meta->decoded;
    uint64_t tag = kind | (yk_mc_flags_have(&meta->flags, 'v') ? YK_MC_TAG_VALUE : 0) |
                   (is_decoded ? YK_MC_TAG_BASE64 : 0) |
                   (yk_mc_flags_have(&meta->flags, 'q') ? YK_MC_TAG_QUIET : 0);
    struct yk_request *request = yk_mc_request(feed, op, tag, false);
    if (request == NULL) {
        return NULL;
    }
    request->key = meta->key;
    request->note = meta->words;
    if (is_decoded) {
        void *key = feed->inbox->alloc(feed->inbox, request, meta->key.size);
        if (key == NULL) {
            request->op = YK_OP_NOOP;
            request->tag = YK_MC_KIND_LINE;
            request->key = yk_slice_of(NULL, 0);
            request->note = yk_slice_of_text(NO_MEMORY);
            return request;
        }
        memcpy(key, meta->key.data, meta->key.size);
        request->key.data = key;
    }
    return request;
}

enum yk_mc_step
yk_mc_take_mn(struct yk_mc_feed *feed, const struct yk_mc_command *command,
              const struct yk_mc_line *line)
{
    return yk_mc_say(feed, "MN\r\n");
}

enum yk_mc_step
yk_mc_take_mg(struct yk_mc_feed *feed, const struct yk_mc_command *command,
              const struct yk_mc_line *line)
{
    struct meta_line meta;
    const struct yk_mc_flags *flags = &meta.flags;
    if (!key_is_good(line)) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    if (line->n_words > WORDS_MAX) {
        return yk_mc_say(feed, LONG_GET_FLAGS);
    }
    const char *error = parse_flags(feed, line, 2, &meta);
    if (error == NULL && flags->has_long_opaque) {
        error = YK_MC_LONG_OPAQUE;
    }
    if (error != NULL) {
        return yk_mc_say(feed, error);
    }
    struct yk_request *request = meta_request(feed, &meta, YK_OP_GET, YK_MC_KIND_META_GET);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = YK_REQUEST_WIN | yk_mc_flags_as(flags, 'T', YK_REQUEST_TOUCH) |
                     yk_mc_flags_as(flags, 'N', YK_REQUEST_VIVIFY) |
                     yk_mc_flags_as(flags, 'R', YK_REQUEST_RECACHE) |
                     yk_mc_flags_as(flags, 'E', YK_REQUEST_NEW_CAS) |
                     yk_mc_flags_as(flags, 'h', YK_REQUEST_HINT) |
                     yk_mc_flags_as(flags, 'l', YK_REQUEST_HINT);
    request->expiry = flags->expiry;
    request->vivify = flags->vivify;
    request->recache = flags->recache;
    request->new_cas = flags->new_cas;
    return yk_mc_submit(feed, request);
}

/* The mode of M, and whether a CAS is asked for in it: an add looks at none, and append and prepend
 * take 0 for none. NULL, or what is wrong. */
static const char *
store_mode(const struct yk_mc_flags *flags, uint16_t *ret_mode, bool *ret_has_cas)
{
    bool has_cas = yk_mc_flags_have(flags, 'C');
    switch (flags->mode) {
    case 0:
    case 'S':
        *ret_mode = YK_MODE_SET;
        break;
    case 'R':
        *ret_mode = YK_MODE_REPLACE;
        break;
    case 'E':
        *ret_mode = YK_MODE_ADD;
        has_cas = false;
        break;
    case 'A':
    case 'P':
        *ret_mode = flags->mode == 'A' ? YK_MODE_APPEND : YK_MODE_PREPEND;
        has_cas = flags->cas != 0;
        break;
    default:
        return BAD_STORE_MODE;
    }
    *ret_has_cas = has_cas;
    return NULL;
}

static enum yk_mc_step
submit_store(struct yk_mc_feed *feed, const struct meta_line *meta, uint16_t mode, bool has_cas,
             struct yk_slice value)
{
    const struct yk_mc_flags *flags = &meta->flags;
    struct yk_request *request = meta_request(feed, meta, YK_OP_STORE, YK_MC_KIND_META_STORE);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    if (request->op == YK_OP_NOOP) {
        return yk_mc_submit(feed, request);
    }
    request->mode = mode;
    request->flags = (has_cas ? YK_REQUEST_CAS : 0) | yk_mc_flags_as(flags, 'q', YK_REQUEST_QUIET) |
                     yk_mc_flags_as(flags, 'E', YK_REQUEST_NEW_CAS) |
                     yk_mc_flags_as(flags, 'I', YK_REQUEST_INVALIDATE) |
                     yk_mc_flags_as(flags, 'N', YK_REQUEST_VIVIFY);
    request->cas = flags->cas;
    request->new_cas = flags->new_cas;
    request->client_flags = flags->client_flags;
    request->expiry = flags->expiry;
    request->vivify = flags->vivify;
    request->value = value;
    return yk_mc_submit(feed, request);
}

enum yk_mc_step
yk_mc_take_ms(struct yk_mc_feed *feed, const struct yk_mc_command *command,
              const struct yk_mc_line *line)
{
    struct meta_line meta;
    struct yk_slice value;
    uint64_t value_size;
    uint16_t mode = 0;
    bool has_cas = false;
    if (line->n_words == 2 || !key_is_good(line)) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    if (line->n_words > WORDS_MAX) {
        return yk_mc_say(feed, LONG_FLAGS);
    }
    if (!yk_mc_parse_u64(line->words[2], &value_size) || value_size > YK_MC_VALUE_SIZE_SAID_MAX) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    const char *error = parse_flags(feed, line, 3, &meta);
    if (error == NULL) {
        error = store_mode(&meta.flags, &mode, &has_cas);
    }
    if (error == NULL && meta.flags.has_long_opaque) {
        error = YK_MC_LONG_OPAQUE;
    }
    if (error == NULL && value_size > feed->session->peer->value_size_max) {
        error = YK_MC_TOO_LARGE;
    }
    if (error != NULL) {
        return yk_mc_refuse_value(feed, false, error, value_size);
    }
    switch (yk_mc_find_value(feed, line, (size_t)value_size, &value)) {
    case YK_MC_VALUE_PART:
        return YK_MC_STEP_AGAIN;
    case YK_MC_VALUE_BAD:
        return yk_mc_say(feed, YK_MC_BAD_CHUNK);
    default:
        return submit_store(feed, &meta, mode, has_cas, value);
    }
}

/* What md and ma have in common. NULL, or what is wrong. */
static const char *
parse_change(const struct yk_mc_feed *feed, const struct yk_mc_line *line,
             struct meta_line *ret_meta)
{
    if (!key_is_good(line)) {
        return YK_MC_BAD_LINE;
    }
    if (line->n_words > WORDS_MAX) {
        return LONG_FLAGS;
    }
    return parse_flags(feed, line, 2, ret_meta) == NULL ? NULL : YK_MC_BAD_FLAGS;
}

enum yk_mc_step
yk_mc_take_md(struct yk_mc_feed *feed, const struct yk_mc_command *command,
              const struct yk_mc_line *line)
{
    struct meta_line meta;
    const struct yk_mc_flags *flags = &meta.flags;
    const char *error = parse_change(feed, line, &meta);
    if (error == NULL && flags->has_long_opaque) {
        error = YK_MC_LONG_OPAQUE;
    }
    if (error != NULL) {
        return yk_mc_say(feed, error);
    }
    struct yk_request *request = meta_request(feed, &meta, YK_OP_DELETE, YK_MC_KIND_META_DELETE);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    if (request->op != YK_OP_NOOP) {
        request->flags = yk_mc_flags_as(flags, 'q', YK_REQUEST_QUIET) |
                         yk_mc_flags_as(flags, 'C', YK_REQUEST_CAS) |
                         yk_mc_flags_as(flags, 'E', YK_REQUEST_NEW_CAS) |
                         yk_mc_flags_as(flags, 'I', YK_REQUEST_INVALIDATE) |
                         yk_mc_flags_as(flags, 'T', YK_REQUEST_TOUCH) |
                         yk_mc_flags_as(flags, 'x', YK_REQUEST_DROP_VALUE);
    }
    request->cas = flags->cas;
    request->new_cas = flags->new_cas;
    request->client_flags = flags->client_flags;
    request->expiry = flags->expiry;
    return yk_mc_submit(feed, request);
}

enum yk_mc_step
yk_mc_take_ma(struct yk_mc_feed *feed, const struct yk_mc_command *command,
              const struct yk_mc_line *line)
{
    struct meta_line meta;
    const struct yk_mc_flags *flags = &meta.flags;
    const char *error = parse_change(feed, line, &meta);
    if (error == NULL && flags->mode != 0 && strchr("I+D-", flags->mode) == NULL) {
        error = BAD_ARITH_MODE;
    }
    if (error == NULL && flags->has_long_opaque) {
        error = YK_MC_LONG_OPAQUE;
    }
    if (error != NULL) {
        return yk_mc_say(feed, error);
    }
    struct yk_request *request = meta_request(feed, &meta, YK_OP_ARITH, YK_MC_KIND_META_ARITH);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    if (request->op != YK_OP_NOOP) {
        request->flags = yk_mc_flags_as(flags, 'q', YK_REQUEST_QUIET) |
                         (flags->cas != 0 ? YK_REQUEST_CAS : 0) |
                         yk_mc_flags_as(flags, 'E', YK_REQUEST_NEW_CAS) |
                         yk_mc_flags_as(flags, 'N', YK_REQUEST_VIVIFY) |
                         yk_mc_flags_as(flags, 'T', YK_REQUEST_TOUCH);
    }
    request->mode = flags->mode == 'D' || flags->mode == '-' ? YK_MODE_DECR : YK_MODE_INCR;
    request->cas = flags->cas;
    request->new_cas = flags->new_cas;
    request->delta = flags->delta;
    request->initial = flags->initial;
    request->expiry = flags->expiry;
    request->vivify = flags->vivify;
    return yk_mc_submit(feed, request);
}

/* Its one flag is a word of its own. */
enum yk_mc_step
yk_mc_take_me(struct yk_mc_feed *feed, const struct yk_mc_command *command,
              const struct yk_mc_line *line)
{
    struct meta_line meta = {0};
    if (line->n_words < 2 || !key_is_good(line)) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    meta.key = line->words[1];
    bool is_base64 = line->n_words > 2 && yk_mc_word_is(line->words[2], "b");
    if ((is_base64 && decode_key(feed, &meta) != NULL) ||
        meta.key.size > feed->session->key_size_max) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    struct yk_request *request = meta_request(feed, &meta, YK_OP_GET, YK_MC_KIND_META_DEBUG);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = request->op == YK_OP_GET ? YK_REQUEST_HINT : 0;
    return yk_mc_submit(feed, request);
}
