/* stats, and the two dumps of keys. The core knows the figures and their names; here they become
 * lines, a part of the stream at a time, so that a dump of any size needs no memory. */
#include <config.h>

#include "frontends/memcached/memcached.h"

static enum yk_mc_step
stats_detail(struct yk_mc_feed *feed, const struct yk_mc_line *line)
{
    struct yk_slice verb = line->n_words > 2 ? line->words[2] : yk_slice_of("", 0);
    if (yk_mc_word_is(verb, "on")) {
        return yk_mc_say(feed, "SERVER_ERROR stats detail is not supported\r\n");
    }
    if (yk_mc_word_is(verb, "off")) {
        return yk_mc_say(feed, YK_MC_OK);
    }
    if (yk_mc_word_is(verb, "dump")) {
        return yk_mc_say(feed, YK_MC_END);
    }
    return yk_mc_say(feed, "CLIENT_ERROR usage: stats detail on|off|dump\r\n");
}

static enum yk_mc_step
stats_cachedump(struct yk_mc_feed *feed, const struct yk_mc_line *line)
{
    uint32_t class_id, limit;
    if (!feed->session->frontend->allow_dump) {
        return yk_mc_say(feed, "CLIENT_ERROR stats cachedump not allowed\r\n");
    }
    if (line->n_words < 4) {
        return yk_mc_say(feed, "CLIENT_ERROR bad command line\r\n");
    }
    if (!yk_mc_parse_u32(line->words[2], &class_id) || !yk_mc_parse_u32(line->words[3], &limit)) {
        return yk_mc_say(feed, YK_MC_BAD_LINE);
    }
    if (class_id >= YK_MC_CLASSES_MAX) {
        return yk_mc_say(feed, "CLIENT_ERROR Illegal slab id\r\n");
    }
    return class_id == 1 ? yk_mc_take_dump(feed, YK_MC_KIND_CACHEDUMP, limit)
                         : yk_mc_say(feed, YK_MC_END);
}

enum yk_mc_step
yk_mc_take_dump(struct yk_mc_feed *feed, enum yk_mc_kind kind, uint64_t limit)
{
    uint64_t tag = kind | limit << YK_MC_TAG_LIMIT_SHIFT;
    struct yk_request *request = yk_mc_request(feed, YK_OP_SCAN, tag, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = YK_REQUEST_BARRIER;
    return yk_mc_submit(feed, request);
}

enum yk_mc_step
yk_mc_take_stats(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                 const struct yk_mc_line *line)
{
    struct yk_slice topic = line->n_words > 1 ? line->words[1] : yk_slice_of("", 0);
    if (yk_mc_word_is(topic, "detail")) {
        return stats_detail(feed, line);
    }
    if (yk_mc_word_is(topic, "cachedump")) {
        return stats_cachedump(feed, line);
    }
    if (topic.size > feed->session->key_size_max) {
        return yk_mc_say(feed, YK_MC_ERROR);
    }
    uint64_t tag = yk_mc_word_is(topic, "reset") ? YK_MC_KIND_RESET : YK_MC_KIND_STATS;
    struct yk_request *request = yk_mc_request(feed, YK_OP_STATS, tag, false);
    if (request == NULL) {
        return YK_MC_STEP_AGAIN;
    }
    request->flags = YK_REQUEST_BARRIER;
    request->key = topic;
    return yk_mc_submit(feed, request);
}

void
yk_mc_reply_stats(const struct yk_request *request, const struct yk_reply *reply,
                  struct yk_outbox *outbox)
{
    bool is_reset = (request->tag & YK_MC_TAG_KIND) == YK_MC_KIND_RESET;
    if ((reply->flags & YK_REPLY_MORE) != 0) {
        if (!is_reset) {
            yk_outbox_put_text(outbox, "STAT ");
            yk_outbox_put(outbox, reply->name.data, reply->name.size);
            yk_outbox_put_text(outbox, " ");
            yk_outbox_put(outbox, reply->value.data, reply->value.size);
            yk_outbox_put_text(outbox, "\r\n");
        }
    } else if (reply->result == YK_OK) {
        yk_outbox_put_text(outbox, is_reset ? "RESET\r\n" : YK_MC_END);
    } else if (reply->result == YK_EINVALID) {
        yk_outbox_put_text(outbox, YK_MC_ERROR);
    } else {
        yk_mc_reply_error(request, reply, outbox);
    }
}

/* The key with every byte but letters, digits and "-._~" as %XX. */
static void
put_key_encoded(struct yk_outbox *outbox, struct yk_slice key)
{
    static const char hex[] = "0123456789ABCDEF";
    const uint8_t *bytes = key.data;
    uint8_t *to = yk_outbox_reserve(outbox, key.size * 3);
    if (to == NULL) {
        return;
    }
    for (size_t i = 0; i < key.size; i++) {
        uint8_t c = bytes[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (is_plain) {
            *to++ = c;
        } else {
            *to++ = '%';
            *to++ = (uint8_t)hex[c >> 4];
            *to++ = (uint8_t)hex[c & 15];
        }
    }
    outbox->cur = to;
}

/* The line ends in LF alone, as memcached's does. */
static void
put_metadump_line(const struct yk_reply *reply, struct yk_outbox *outbox)
{
    yk_outbox_put_text(outbox, "key=");
    put_key_encoded(outbox, reply->name);
    if (reply->expiry_ms == 0) {
        yk_outbox_put_text(outbox, " exp=-1");
    } else {
        yk_outbox_put_text(outbox, " exp=");
        yk_outbox_put_u64(outbox, (uint64_t)reply->expiry_ms / 1000);
    }
    yk_outbox_put_text(outbox, " la=0 cas=");
    yk_outbox_put_u64(outbox, reply->version);
    yk_outbox_put_text(outbox, " fetch=no cls=1 size=");
    yk_outbox_put_u64(outbox, reply->name.size + reply->value.size);
    yk_outbox_put_text(outbox, "\n");
}

/* Could the key stand on a line of the text protocol? */
static bool
is_text(struct yk_slice key)
{
    const uint8_t *bytes = key.data;
    for (size_t i = 0; i < key.size; i++) {
        if (bytes[i] == ' ' || bytes[i] == '\0' || bytes[i] == '\r' || bytes[i] == '\n') {
            return false;
        }
    }
    return true;
}

static void
put_cachedump_line(const struct yk_reply *reply, struct yk_outbox *outbox)
{
    yk_outbox_put_text(outbox, "ITEM ");
    if (is_text(reply->name)) {
        yk_outbox_put(outbox, reply->name.data, reply->name.size);
    } else {
        put_key_encoded(outbox, reply->name);
    }
    yk_outbox_put_text(outbox, " [");
    yk_outbox_put_u64(outbox, reply->value.size);
    yk_outbox_put_text(outbox, " b; ");
    yk_outbox_put_u64(outbox, (uint64_t)reply->expiry_ms / 1000);
    yk_outbox_put_text(outbox, " s]\r\n");
}

void
yk_mc_reply_dump(struct yk_mc_session *session, const struct yk_request *request,
                 const struct yk_reply *reply, struct yk_outbox *outbox)
{
    uint64_t limit = request->tag >> YK_MC_TAG_LIMIT_SHIFT;
    if ((reply->flags & YK_REPLY_MORE) != 0) {
        if ((request->tag & YK_MC_TAG_KIND) == YK_MC_KIND_METADUMP) {
            put_metadump_line(reply, outbox);
        } else if (limit == 0 || session->n_dumped < limit) {
            put_cachedump_line(reply, outbox);
            session->n_dumped++;
        }
        return;
    }
    session->n_dumped = 0;
    if (reply->result == YK_OK) {
        yk_outbox_put_text(outbox, YK_MC_END);
    } else {
        yk_mc_reply_error(request, reply, outbox);
    }
}
