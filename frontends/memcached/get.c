/* get, gets, gat and gats: a request for each key. The last one of a command carries
 * YK_REQUEST_LAST; where the line's end came only after its last key was taken, a NOOP follows that
 * carries it.
 *
 * A line of up to YK_MC_LINE_SIZE_MAX is looked at as a whole first, so that a bad key is answered
 * by one error line and nothing else. A longer one is taken as it comes, and may so have any
 * length; a bad key there ends the answer where it stands. Which way a line goes depends on its
 * length alone, never on how the bytes came. */
#include <config.h>

#include "frontends/memcached/memcached.h"

/* Words before the first key. */
static uint32_t
get_n_before(uint32_t variant)
{
    return (variant & YK_MC_GAT) != 0 ? 2 : 1;
}

static enum yk_mc_step
get_submit(struct yk_mc_feed *feed, uint32_t variant, struct yk_slice key, struct yk_ttl expiry,
           bool is_last)
{
    bool is_touch = (variant & YK_MC_GAT) != 0;
    uint64_t tag = YK_MC_KIND_GET | ((variant & YK_MC_GETS) != 0 ? YK_MC_TAG_CAS : 0);
    struct yk_request *request =
        yk_mc_request(feed, is_touch ? YK_OP_TOUCH : YK_OP_GET, tag, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = (is_touch ? YK_REQUEST_VALUE : 0) | (is_last ? YK_REQUEST_LAST : 0);
    request->key = key;
    request->expiry = expiry;
    return yk_mc_submit(feed, request);
}

/* Makes the line's keys the next thing to take, from the byte at `taken` of the line on. */
static void
get_start(struct yk_mc_feed *feed, uint32_t variant, struct yk_ttl expiry, size_t taken)
{
    feed->session->state = YK_MC_STATE_KEYS;
    feed->session->get_variant = variant;
    feed->session->expiry = expiry;
    feed->session->has_key = false;
    feed->taken = taken;
}

/* Where the word ends, in bytes from the front of the line. */
static size_t
get_word_end(const struct yk_mc_feed *feed, struct yk_slice word)
{
    return (size_t)((const uint8_t *)word.data + word.size - (feed->bytes + feed->used));
}

enum yk_mc_step
yk_mc_take_get(struct yk_mc_feed *feed, const struct yk_mc_command *command,
               const struct yk_mc_line *line)
{
    uint32_t n_before = get_n_before(command->variant);
    struct yk_ttl expiry = {0, YK_EXPIRY_NEVER};
    if (n_before == 2) {
        int64_t seconds;
        if (!yk_mc_parse_i64(line->words[1], &seconds)) {
            return yk_mc_say(feed, YK_MC_BAD_EXPTIME);
        }
        expiry = yk_mc_expiry(seconds);
    }
    if (line->has_odd) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    if (line->n_words == n_before) {
        return yk_mc_say(feed, YK_MC_END);
    }
    if (line->word_size_max > feed->session->key_size_max) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    if (line->n_words == n_before + 1) {
        return get_submit(feed, command->variant, line->words[n_before], expiry, true);
    }
    get_start(feed, command->variant, expiry, get_word_end(feed, line->words[n_before - 1]));
    return YK_MC_STEP_NEXT;
}

bool
yk_mc_take_short_get(struct yk_mc_feed *feed, const uint8_t *line, size_t size,
                     enum yk_mc_step *ret_step)
{
    const size_t n_before = sizeof("get ") - 1;
    if (size <= n_before || memcmp(line, "get ", n_before) != 0) {
        return false;
    }
    size_t end = yk_mc_find_low(line, size, n_before);
    size_t key_size = end - n_before;
    if (key_size == 0 || key_size > feed->session->key_size_max || size - end < 2 ||
        line[end] != '\r' || line[end + 1] != '\n') {
        return false;
    }
    feed->taken = end + 2;
    *ret_step = get_submit(feed, YK_MC_GET, yk_slice_of(line + n_before, key_size),
                           (struct yk_ttl){0, YK_EXPIRY_NEVER}, true);
    return true;
}

bool
yk_mc_take_long_get(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                    const struct yk_mc_line *line, enum yk_mc_step *ret_step)
{
    uint32_t n_before = get_n_before(command->variant);
    struct yk_ttl expiry = {0, YK_EXPIRY_NEVER};
    if (command->take != yk_mc_take_get || line->n_words < n_before) {
        return false;
    }
    if (n_before == 2) {
        int64_t seconds;
        if (!yk_mc_parse_i64(line->words[1], &seconds)) {
            *ret_step = yk_mc_say(feed, YK_MC_BAD_EXPTIME);
            if (*ret_step != YK_MC_STEP_AGAIN) {
                feed->session->state = YK_MC_STATE_SKIP;
            }
            return true;
        }
        expiry = yk_mc_expiry(seconds);
    }
    get_start(feed, command->variant, expiry, get_word_end(feed, line->words[n_before - 1]));
    *ret_step = YK_MC_STEP_NEXT;
    return true;
}

/* The line is at its end and its last key was taken before that was known; or it has none. */
static enum yk_mc_step
keys_end(struct yk_mc_feed *feed)
{
    const struct yk_mc_session *session = feed->session;
    if (!session->has_key && (session->get_variant & YK_MC_GAT) == 0) {
        return yk_mc_say(feed, YK_MC_ERROR);
    }
    return yk_mc_say_flags(feed, YK_MC_END, YK_REQUEST_LAST, YK_MC_KIND_GET_END);
}

enum yk_mc_step
yk_mc_take_keys(struct yk_mc_feed *feed)
{
    struct yk_mc_session *session = feed->session;
    struct yk_slice key;
    size_t used;
    bool is_last;
    enum yk_mc_step step;
    enum yk_mc_key found = yk_mc_parse_key(feed->bytes + feed->used, feed->size - feed->used,
                                           session->key_size_max, &key, &used);
    switch (found) {
    case YK_MC_KEY_NEXT:
    case YK_MC_KEY_LAST:
        is_last = found == YK_MC_KEY_LAST;
        step = get_submit(feed, session->get_variant, key, session->expiry, is_last);
        break;
    case YK_MC_KEY_NONE:
        step = keys_end(feed);
        break;
    case YK_MC_KEY_BAD:
        step = yk_mc_say_flags(feed, YK_MC_BAD_LINE, YK_REQUEST_LAST, YK_MC_KIND_GET_END);
        break;
    default:
        feed->used += used;
        return YK_MC_STEP_AGAIN;
    }
    if (step != YK_MC_STEP_AGAIN) {
        feed->used += used;
        session->has_key = true;
        if (found == YK_MC_KEY_BAD) {
            session->state = YK_MC_STATE_SKIP;
        } else if (found != YK_MC_KEY_NEXT) {
            session->state = YK_MC_STATE_LINE;
        }
    }
    return step;
}
