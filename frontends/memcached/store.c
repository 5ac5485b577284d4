/* The commands that change one record: set and its kin, cas, incr, decr, delete, touch.
 *
 * A command with noreply is silent whatever comes of it, as memcached 1.6 is: also where its line
 * or its data cannot be understood. */
#include <config.h>

#include "frontends/memcached/memcached.h"

#define BAD_DELTA  "CLIENT_ERROR invalid numeric delta argument\r\n"
#define BAD_DELETE "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"

#define LINE_END_SIZE 2u /* of the CR LF behind a value */

/* What a storage line says. */
struct store_words {
    uint32_t client_flags;
    int64_t seconds;
    uint64_t value_size; /* bytes */
    uint64_t cas;
};

static bool
store_parse(const struct yk_mc_feed *feed, const struct yk_mc_line *line, bool has_cas,
            struct store_words *ret_words)
{
    return yk_mc_key_fits(feed, line, line->words[1]) &&
           yk_mc_parse_u32(line->words[2], &ret_words->client_flags) &&
           yk_mc_parse_i64(line->words[3], &ret_words->seconds) &&
           yk_mc_parse_u64(line->words[4], &ret_words->value_size) &&
           ret_words->value_size <= YK_MC_VALUE_SIZE_SAID_MAX &&
           (!has_cas || yk_mc_parse_u64(line->words[5], &ret_words->cas));
}

enum yk_mc_value
yk_mc_find_value(struct yk_mc_feed *feed, const struct yk_mc_line *line, size_t value_size,
                 struct yk_slice *ret_value)
{
    size_t size = line->size + value_size + LINE_END_SIZE;
    if (feed->size - feed->used < size) {
        feed->want = size;
        return YK_MC_VALUE_PART;
    }
    const uint8_t *value = feed->bytes + feed->used + line->size;
    feed->taken = size;
    if (value[value_size] != '\r' || value[value_size + 1] != '\n') {
        return YK_MC_VALUE_BAD;
    }
    *ret_value = yk_slice_of(value, value_size);
    return YK_MC_VALUE_GOOD;
}

enum yk_mc_step
yk_mc_refuse_value(struct yk_mc_feed *feed, bool is_silent, const char *text, uint64_t value_size)
{
    enum yk_mc_step step = yk_mc_say_unless(feed, is_silent, text);
    if (step != YK_MC_STEP_AGAIN) {
        feed->session->state = YK_MC_STATE_SWALLOW;
        feed->session->swallow_size = value_size + LINE_END_SIZE;
    }
    return step;
}

static enum yk_mc_step
store_submit(struct yk_mc_feed *feed, uint32_t mode, const struct store_words *words,
             struct yk_slice key, struct yk_slice value, uint32_t flags)
{
    struct yk_request *request = yk_mc_request(feed, YK_OP_STORE, YK_MC_KIND_STORE, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->mode = (uint16_t)mode;
    request->flags = flags;
    request->cas = words->cas;
    request->client_flags = words->client_flags;
    request->expiry = yk_mc_expiry(words->seconds);
    request->key = key;
    request->value = value;
    return yk_mc_submit(feed, request);
}

static enum yk_mc_step
store_take(struct yk_mc_feed *feed, const struct yk_mc_command *command,
           const struct yk_mc_line *line, bool has_cas)
{
    bool is_silent = yk_mc_is_silent(line);
    struct store_words words = {0};
    struct yk_slice value;
    if (!store_parse(feed, line, has_cas, &words)) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_LINE);
    }
    if (words.value_size > feed->session->peer->value_size_max) {
        return yk_mc_refuse_value(feed, is_silent, YK_MC_TOO_LARGE, words.value_size);
    }
    switch (yk_mc_find_value(feed, line, (size_t)words.value_size, &value)) {
    case YK_MC_VALUE_PART:
        return YK_MC_STEP_AGAIN;
    case YK_MC_VALUE_BAD:
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_CHUNK);
    default:
        break;
    }
    return store_submit(feed, command->variant, &words, line->words[1], value,
                        (is_silent ? YK_REQUEST_QUIET : 0u) | (has_cas ? YK_REQUEST_CAS : 0u));
}

/* Digits at *at, at most nine, and the byte behind them, which must be `end`. */
static bool
take_number(const uint8_t *line, size_t size, size_t *at, char end, uint32_t *ret_number)
{
    uint32_t number = 0;
    size_t first = *at, i = first;
    for (; i < size && i - first < 9 && (uint8_t)(line[i] - '0') <= 9; i++) {
        number = number * 10 + (uint32_t)(line[i] - '0');
    }
    *at = i + 1;
    *ret_number = number;
    return i > first && i < size && line[i] == (uint8_t)end;
}

bool
yk_mc_take_short_set(struct yk_mc_feed *feed, const uint8_t *line, size_t size,
                     enum yk_mc_step *ret_step)
{
    const size_t n_before = sizeof("set ") - 1;
    uint32_t client_flags, seconds, value_size;
    if (size <= n_before || memcmp(line, "set ", n_before) != 0) {
        return false;
    }
    size_t end = yk_mc_find_low(line, size, n_before);
    size_t at = end + 1;
    if (end == n_before || end - n_before > feed->session->key_size_max || end == size ||
        line[end] != ' ' || !take_number(line, size, &at, ' ', &client_flags) ||
        !take_number(line, size, &at, ' ', &seconds) ||
        !take_number(line, size, &at, '\r', &value_size) || at == size || line[at] != '\n' ||
        value_size > feed->session->peer->value_size_max) {
        return false;
    }
    const uint8_t *value = line + at + 1;
    size_t taken = at + 1 + value_size + LINE_END_SIZE;
    if (feed->size - feed->used < taken || value[value_size] != '\r' ||
        value[value_size + 1] != '\n') {
        return false;
    }
    struct store_words words = {.client_flags = client_flags, .seconds = seconds};
    feed->taken = taken;
    *ret_step =
        store_submit(feed, YK_MODE_SET, &words, yk_slice_of(line + n_before, end - n_before),
                     yk_slice_of(value, value_size), 0);
    return true;
}

enum yk_mc_step
yk_mc_take_store(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                 const struct yk_mc_line *line)
{
    return store_take(feed, command, line, false);
}

enum yk_mc_step
yk_mc_take_cas(struct yk_mc_feed *feed, const struct yk_mc_command *command,
               const struct yk_mc_line *line)
{
    return store_take(feed, command, line, true);
}

enum yk_mc_step
yk_mc_take_arith(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                 const struct yk_mc_line *line)
{
    bool is_silent = yk_mc_is_silent(line);
    uint64_t delta;
    if (!yk_mc_key_fits(feed, line, line->words[1])) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_LINE);
    }
    if (!yk_mc_parse_u64(line->words[2], &delta)) {
        return yk_mc_say_unless(feed, is_silent, BAD_DELTA);
    }
    struct yk_request *request = yk_mc_request(feed, YK_OP_ARITH, YK_MC_KIND_ARITH, is_silent);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->mode = (uint16_t)command->variant;
    request->key = line->words[1];
    request->delta = delta;
    return yk_mc_submit(feed, request);
}

/* Of the times that old clients send, only 0 is taken: "delete k 0". */
enum yk_mc_step
yk_mc_take_delete(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                  const struct yk_mc_line *line)
{
    bool is_silent = line->n_words > 2 && yk_mc_is_silent(line);
    if (line->n_words > 2) {
        bool has_zero = yk_mc_word_is(line->words[2], "0");
        bool is_good = line->n_words == 3 ? has_zero || is_silent : has_zero && is_silent;
        if (!is_good) {
            return yk_mc_say_unless(feed, is_silent, BAD_DELETE);
        }
    }
    if (!yk_mc_key_fits(feed, line, line->words[1])) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_LINE);
    }
    struct yk_request *request = yk_mc_request(feed, YK_OP_DELETE, YK_MC_KIND_DELETE, is_silent);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->key = line->words[1];
    return yk_mc_submit(feed, request);
}

enum yk_mc_step
yk_mc_take_touch(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                 const struct yk_mc_line *line)
{
    bool is_silent = yk_mc_is_silent(line);
    int64_t seconds;
    if (!yk_mc_key_fits(feed, line, line->words[1])) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_LINE);
    }
    if (!yk_mc_parse_i64(line->words[2], &seconds)) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_EXPTIME);
    }
    struct yk_request *request = yk_mc_request(feed, YK_OP_TOUCH, YK_MC_KIND_TOUCH, is_silent);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->key = line->words[1];
    request->expiry = yk_mc_expiry(seconds);
    return yk_mc_submit(feed, request);
}
