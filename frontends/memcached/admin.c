/* The commands that are about the server and not about one record: flush_all, version, quit,
 * shutdown, cache_memlimit; and those that tune parts which memcached has and we have not (slab
 * classes, LRU lists, its crawler): these are checked as there, answered as there, and have no
 * effect. */
#include <config.h>

#include "frontends/memcached/memcached.h"

/* libmemcached fails at a version whose first number is 0, and clients ask it for what they may
 * use: so the line begins with the version of memcached whose protocol this is. */
#define VERSION_LINE "VERSION " YK_MC_VERSION "\r\n"

#define MEMLIMIT_MIN_MB 8 /* memcached's own bound */
#define MB_SHIFT 20
#define CRAWLER_SLEEP_MAX_US 1000000
#define LRU_PERCENT_MAX 80 /* of hot and warm together */

enum yk_mc_step
yk_mc_take_version(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                   const struct yk_mc_line *line)
{
    return yk_mc_say(feed, VERSION_LINE);
}

enum yk_mc_step
yk_mc_take_quit(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                const struct yk_mc_line *line)
{
    enum yk_mc_step step = yk_mc_say_flags(feed, "", YK_REQUEST_CLOSE, YK_MC_KIND_LINE);
    if (step != YK_MC_STEP_AGAIN) {
        feed->session->state = YK_MC_STATE_ENDED;
    }
    return step;
}

enum yk_mc_step
yk_mc_take_shutdown(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                    const struct yk_mc_line *line)
{
    if (!feed->session->frontend->allow_shutdown) {
        return yk_mc_say(feed, YK_MC_NO_SHUTDOWN);
    }
    if (line->n_words > 2 || (line->n_words == 2 && !yk_mc_word_is(line->words[1], "graceful"))) {
        return yk_mc_say(feed, "CLIENT_ERROR invalid shutdown mode\r\n");
    }
    struct yk_request *request = yk_mc_request(feed, YK_OP_SHUTDOWN, YK_MC_KIND_SHUTDOWN, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = YK_REQUEST_BARRIER | YK_REQUEST_CLOSE;
    feed->session->state = YK_MC_STATE_ENDED;
    return yk_mc_submit(feed, request);
}

enum yk_mc_step
yk_mc_take_verbosity(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                     const struct yk_mc_line *line)
{
    uint64_t level;
    bool is_good = yk_mc_parse_u64(line->words[1], &level);
    return yk_mc_say_unless(feed, yk_mc_is_silent(line), is_good ? YK_MC_OK : YK_MC_BAD_LINE);
}

int64_t
yk_mc_flush_delay_ms(const struct yk_mc_feed *feed, int64_t seconds)
{
    const struct yk_host *host = feed->session->frontend->host;
    struct yk_ttl ttl = yk_mc_expiry(seconds);
    if (ttl.kind == YK_EXPIRY_ABSOLUTE) {
        ttl.ms -= (int64_t)host->now_ms(host);
    }
    return ttl.ms > 0 ? ttl.ms : 0;
}

enum yk_mc_step
yk_mc_take_flush_all(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                     const struct yk_mc_line *line)
{
    bool is_silent = yk_mc_is_silent(line);
    int64_t seconds = 0;
    if (!feed->session->frontend->allow_flush) {
        return yk_mc_say_unless(feed, is_silent, "CLIENT_ERROR flush_all not allowed\r\n");
    }
    if (line->n_words > (is_silent ? 2 : 1) && !yk_mc_parse_i64(line->words[1], &seconds)) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_EXPTIME);
    }
    struct yk_request *request = yk_mc_request(feed, YK_OP_FLUSH, YK_MC_KIND_FLUSH, is_silent);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags |= YK_REQUEST_BARRIER;
    request->expiry.kind = YK_EXPIRY_RELATIVE;
    request->expiry.ms = yk_mc_flush_delay_ms(feed, seconds);
    return yk_mc_submit(feed, request);
}

/* The line counts in MiB, the core in bytes. */
enum yk_mc_step
yk_mc_take_cache_memlimit(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                          const struct yk_mc_line *line)
{
    bool is_silent = yk_mc_is_silent(line);
    uint64_t mb;
    if (!yk_mc_parse_u64(line->words[1], &mb)) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_ERROR);
    }
    if (mb < MEMLIMIT_MIN_MB) {
        return yk_mc_say_unless(feed, is_silent,
                                "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n");
    }
    struct yk_request *request = yk_mc_request(feed, YK_OP_ADMIN, YK_MC_KIND_MEMLIMIT, is_silent);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    uint8_t *digits = feed->inbox->alloc(feed->inbox, request, 20);
    if (digits == NULL || mb > UINT64_MAX >> MB_SHIFT) {
        request->op = YK_OP_NOOP;
        request->tag = YK_MC_KIND_LINE;
        request->note = yk_slice_of_text(digits == NULL ? "SERVER_ERROR out of memory\r\n"
                                                        : YK_MC_MEMLIMIT_FAILED);
        return yk_mc_submit(feed, request);
    }
    request->flags |= YK_REQUEST_BARRIER;
    request->key = yk_slice_of_text("memory_max");
    request->value = yk_slice_of(digits, yk_format_u64(digits, mb << MB_SHIFT));
    return yk_mc_submit(feed, request);
}

static enum yk_mc_step
slabs_automove(struct yk_mc_feed *feed, const struct yk_mc_line *line, bool is_silent)
{
    uint32_t level;
    if (yk_mc_word_is(line->words[2], "ratio")) {
        return yk_mc_say_unless(feed, is_silent, line->n_words > 3 ? YK_MC_OK : YK_MC_ERROR);
    }
    if (!yk_mc_parse_u32(line->words[2], &level)) {
        return yk_mc_say_unless(feed, is_silent, YK_MC_BAD_LINE);
    }
    return yk_mc_say_unless(feed, is_silent, level <= 2 ? YK_MC_OK : YK_MC_ERROR);
}

enum yk_mc_step
yk_mc_take_slabs(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                 const struct yk_mc_line *line)
{
    if (yk_mc_word_is(line->words[1], "automove")) {
        return slabs_automove(feed, line, yk_mc_is_silent(line));
    }
    if (yk_mc_word_is(line->words[1], "reassign") && line->n_words == 4) {
        int64_t from, to;
        bool is_good =
            yk_mc_parse_i64(line->words[2], &from) && yk_mc_parse_i64(line->words[3], &to);
        return yk_mc_say(feed, is_good ? YK_MC_OK : YK_MC_BAD_LINE);
    }
    return yk_mc_say(feed, YK_MC_ERROR);
}

static const char *
lru_tune_answer(const struct yk_mc_line *line)
{
    uint32_t hot, warm;
    if (line->n_words < 6 || !yk_mc_parse_u32(line->words[2], &hot) ||
        !yk_mc_parse_u32(line->words[3], &warm)) {
        return YK_MC_ERROR;
    }
    if ((uint64_t)hot + warm > LRU_PERCENT_MAX) {
        return "ERROR hot and warm pcts must not exceed 80\r\n";
    }
    return YK_MC_OK;
}

enum yk_mc_step
yk_mc_take_lru(struct yk_mc_feed *feed, const struct yk_mc_command *command,
               const struct yk_mc_line *line)
{
    const char *answer = YK_MC_ERROR;
    int64_t seconds;
    if (yk_mc_word_is(line->words[1], "tune")) {
        answer = lru_tune_answer(line);
    } else if (yk_mc_word_is(line->words[1], "mode")) {
        bool is_known =
            yk_mc_word_is(line->words[2], "flat") || yk_mc_word_is(line->words[2], "segmented");
        answer = is_known ? YK_MC_OK : YK_MC_ERROR;
    } else if (yk_mc_word_is(line->words[1], "temp_ttl")) {
        answer = yk_mc_parse_i64(line->words[2], &seconds) ? YK_MC_OK : YK_MC_ERROR;
    }
    return yk_mc_say_unless(feed, yk_mc_is_silent(line), answer);
}

/* "all", "hash" or a list of classes. Every item is said to be in class 1. */
static enum yk_mc_step
crawler_metadump(struct yk_mc_feed *feed, struct yk_slice which)
{
    bool has_first = true;
    if (!feed->session->frontend->allow_dump) {
        return yk_mc_say(feed, "ERROR metadump not allowed\r\n");
    }
    if (!yk_mc_word_is(which, "all") && !yk_mc_word_is(which, "hash") &&
        !yk_mc_parse_classes(which, &has_first)) {
        return yk_mc_say(feed, YK_MC_BAD_CLASS);
    }
    return has_first ? yk_mc_take_dump(feed, YK_MC_KIND_METADUMP, 0) : yk_mc_say(feed, YK_MC_END);
}

enum yk_mc_step
yk_mc_take_lru_crawler(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                       const struct yk_mc_line *line)
{
    struct yk_slice verb = line->words[1];
    uint32_t number;
    bool has_first;
    if (line->n_words == 2) {
        bool is_known = yk_mc_word_is(verb, "enable") || yk_mc_word_is(verb, "disable");
        return yk_mc_say(feed, is_known ? YK_MC_OK : YK_MC_ERROR);
    }
    if (yk_mc_word_is(verb, "metadump")) {
        return crawler_metadump(feed, line->words[2]);
    }
    if (yk_mc_word_is(verb, "crawl")) {
        bool is_good =
            yk_mc_word_is(line->words[2], "all") || yk_mc_parse_classes(line->words[2], &has_first);
        return yk_mc_say(feed, is_good ? YK_MC_OK : YK_MC_BAD_CLASS);
    }
    bool is_sleep = yk_mc_word_is(verb, "sleep");
    if (!is_sleep && !yk_mc_word_is(verb, "tocrawl")) {
        return yk_mc_say(feed, YK_MC_ERROR);
    }
    if (!yk_mc_parse_u32(line->words[2], &number)) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    if (is_sleep && number > CRAWLER_SLEEP_MAX_US) {
        return yk_mc_say(feed, "CLIENT_ERROR sleep must be one second or less\r\n");
    }
    return yk_mc_say(feed, YK_MC_OK);
}

enum yk_mc_step
yk_mc_take_watch(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                 const struct yk_mc_line *line)
{
    return yk_mc_say(feed, "ERROR watch is not supported\r\n");
}
