/* The kit for frontends: the transcripts that come with the plugin, bytes in every way in which
 * they can come, and what can go wrong while they do. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kit/play.h"
#include "tools/kit/transcript.h"

enum {
    SPLIT_SIZE_MAX = 8192, /* longer inputs do not come byte by byte */
    NTH_MAX = 400,
    RANDOM_SIZE_MAX = 3000,
    RANDOM_PER_ROUND = 20,
    PLACES_PER_ROUND = 12,
    CHUNKS_MAX = 12,
    SHOWN_MAX = 160,
    TIMER_STEPS = 200
};

/* -- What is played. -- */

/* Input of a connection as it was sent, and what came of it. */
struct record {
    const struct kit_transcript *transcript; /* NULL: random bytes */
    GByteArray *sent;
    GByteArray *came;
    uint64_t digest, n_requests;
    bool is_inexact; /* has figures, or hints of what is read together, in its answers */
};

static void
record_free(void *memory)
{
    struct record *record = memory;
    g_byte_array_unref(record->sent);
    g_byte_array_unref(record->came);
    g_free(record);
}

static struct record *
record_new(const struct kit_transcript *transcript)
{
    struct record *record = g_new0(struct record, 1);
    record->transcript = transcript;
    record->sent = g_byte_array_new();
    record->came = g_byte_array_new();
    return record;
}

static const char *
name_of(const struct record *record)
{
    return record->transcript != NULL ? record->transcript->name : "random bytes";
}

static const GPtrArray *
options_of(const struct record *record)
{
    return record->transcript != NULL ? record->transcript->options : NULL;
}

static char *
show(const uint8_t *data, size_t size)
{
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < MIN(size, (size_t)SHOWN_MAX); i++) {
        bool is_plain = data[i] >= ' ' && data[i] < 0x7f;
        g_string_append_printf(text, is_plain ? "%c" : "\\x%02x", data[i]);
    }
    return g_string_free(text, FALSE);
}

static struct kit_play *
must_play(struct kit *kit, const struct record *record, uint64_t seed)
{
    struct kit_play *play = kit_play_new(kit, options_of(record), seed, 0);
    kit_play_connect(play);
    return play;
}

/* Line by line, each worked on before the next one comes. */
static void
send_lines(struct kit_play *play, const GString *bytes)
{
    size_t at = 0;
    while (at < bytes->len) {
        const char *end = memchr(bytes->str + at, '\n', bytes->len - at);
        size_t size = end != NULL ? (size_t)(end + 1 - bytes->str) - at : bytes->len - at;
        kit_play_send(play, bytes->str + at, size);
        at += size;
    }
}

/* Plays step by step, each answer against its pattern, and keeps what was sent and came. */
static struct record *
play_in_steps(struct kit *kit, const struct kit_transcript *transcript, uint32_t stops_one_in,
              uint64_t seed)
{
    struct record *record = record_new(transcript);
    struct kit_play *play = must_play(kit, record, seed);
    struct kit_variables variables;
    size_t at = 0;
    play->shim.stops_one_in = stops_one_in;
    kit_variables_init(&variables);
    for (guint i = 0; i < transcript->steps->len; i++) {
        const struct kit_step *step = transcript->steps->pdata[i];
        GString *bytes = kit_step_bytes(step, &variables);
        if (step->pause_ms > 0) {
            kit_play_advance(play, step->pause_ms);
        }
        size_t start = at;
        send_lines(play, bytes);
        g_byte_array_append(record->sent, (const guint8 *)bytes->str, (guint)bytes->len);
        g_string_free(bytes, TRUE);
        if (!kit_step_matches(step, play->output, &at, &variables) || at != play->output->len ||
            play->is_closed != step->is_closed) {
            g_autofree char *text = show(play->output->data + start, play->output->len - start);
            kit_broken(kit, KIT_TRANSCRIPT, "%s:%u: this came%s: %s", transcript->name, step->line,
                       play->is_closed ? " (closed)" : "", text);
        }
    }
    kit_play_eof(play);
    if (play->output->len != at) {
        kit_broken(kit, KIT_TRANSCRIPT, "%s: %zu more bytes came at the end", transcript->name,
                   (size_t)play->output->len - at);
    }
    g_byte_array_append(record->came, play->output->data, play->output->len);
    record->digest = play->shim.digest;
    record->n_requests = play->shim.n_requests;
    record->is_inexact = play->shim.n_inexact > 0;
    kit_variables_done(&variables);
    kit_play_free(play);
    return record;
}

/* Answers that name what no transcript can know are held against the patterns, others against the
 * bytes that came before. */
static bool
is_same_answer(const struct record *record, const GByteArray *output)
{
    if (yk_slice_equal(yk_slice_of(output->data, output->len),
                       yk_slice_of(record->came->data, record->came->len))) {
        return true;
    }
    if (record->is_inexact || record->transcript == NULL) {
        return record->is_inexact;
    }
    struct kit_variables variables;
    size_t at = 0;
    bool is_same = true;
    kit_variables_init(&variables);
    for (guint i = 0; is_same && i < record->transcript->steps->len; i++) {
        is_same = kit_step_matches(record->transcript->steps->pdata[i], output, &at, &variables);
    }
    kit_variables_done(&variables);
    return is_same && at == output->len;
}

/* How input comes: in chunks that end at the offsets given, the last at its end. */
struct chunks {
    size_t ends[CHUNKS_MAX];
    uint32_t n;
    size_t piece_max; /* of what the core reads */
    uint32_t stops_one_in;
    uint64_t seed;
};

static void
describe(const struct chunks *chunks, char *text, size_t size)
{
    int at = snprintf(text, size, "in %u chunks", chunks->n + 1);
    for (uint32_t i = 0; i < chunks->n && at < (int)size; i++) {
        at += snprintf(text + at, size - (size_t)at, "%s%zu", i == 0 ? ", cut at " : " ",
                       chunks->ends[i]);
    }
    if (chunks->piece_max > 0 && at < (int)size) {
        at += snprintf(text + at, size - (size_t)at, ", read by %zu", chunks->piece_max);
    }
    if (chunks->stops_one_in > 0 && at < (int)size) {
        snprintf(text + at, size - (size_t)at, ", with stops");
    }
}

static void
play_in_chunks(struct kit *kit, const struct record *record, const struct chunks *chunks)
{
    struct kit_play *play = must_play(kit, record, chunks->seed);
    const GByteArray *sent = record->sent;
    size_t at = 0;
    char how[200];
    play->shim.stops_one_in = chunks->stops_one_in;
    play->piece_max = chunks->piece_max;
    for (uint32_t i = 0; i < chunks->n; i++) {
        kit_play_send(play, sent->data + at, chunks->ends[i] - at);
        at = chunks->ends[i];
    }
    kit_play_send(play, sent->data + at, sent->len - at);
    kit_play_eof(play);
    describe(chunks, how, sizeof(how));
    if (play->shim.n_requests != record->n_requests || play->shim.digest != record->digest) {
        kit_broken(kit, KIT_CHUNKS, "%s, %s: %llu requests came of it, else %llu; or others",
                   name_of(record), how, (unsigned long long)play->shim.n_requests,
                   (unsigned long long)record->n_requests);
    }
    if (!is_same_answer(record, play->output)) {
        size_t same = 0, least = MIN(play->output->len, record->came->len);
        while (same < least && play->output->data[same] == record->came->data[same]) {
            same++;
        }
        g_autofree char *text = show(play->output->data + same, play->output->len - same);
        kit_broken(kit, KIT_CHUNKS, "%s, %s: from byte %zu on this is answered: %s",
                   name_of(record), how, same, text);
    }
    kit_play_free(play);
}

static int
compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static void
play_in_all_ways(struct kit *kit, const struct record *record, struct yk_random *random)
{
    struct chunks whole = {.n = 0}, stopped = {.stops_one_in = 4, .seed = 1};
    play_in_chunks(kit, record, &whole);
    play_in_chunks(kit, record, &stopped);
    if (record->sent->len <= SPLIT_SIZE_MAX) {
        struct chunks bytes = {.piece_max = 1}, both = {.piece_max = 1, .stops_one_in = 3};
        play_in_chunks(kit, record, &bytes);
        play_in_chunks(kit, record, &both);
    }
    for (uint32_t i = 0; i < kit->rounds; i++) {
        struct chunks chunks = {.n = (uint32_t)yk_random_below(random, CHUNKS_MAX),
                                .stops_one_in = i % 2 == 0 ? 0 : 5,
                                .seed = yk_random_next(random)};
        for (uint32_t k = 0; k < chunks.n; k++) {
            chunks.ends[k] = yk_random_below(random, record->sent->len + 1);
        }
        qsort(chunks.ends, chunks.n, sizeof(chunks.ends[0]), compare_sizes);
        play_in_chunks(kit, record, &chunks);
    }
}

/* -- Records to play: transcripts, else random bytes. -- */

static GPtrArray *
read_transcripts(struct kit *kit, uint32_t *ret_n_foreign)
{
    char error[YK_ERROR_SIZE];
    uint32_t n_foreign = 0;
    if (kit->transcripts == NULL) {
        return g_ptr_array_new();
    }
    GPtrArray *transcripts = kit_transcripts_read(kit->transcripts, &n_foreign, error);
    if (transcripts == NULL) {
        kit_broken(kit, KIT_TRANSCRIPT, "%s", error);
    }
    if (ret_n_foreign != NULL) {
        *ret_n_foreign = n_foreign;
    }
    return transcripts;
}

/* Pieces of transcripts, changed here and there, among random bytes. */
static struct record *
random_record(struct kit *kit, const GPtrArray *transcripts, struct yk_random *random)
{
    struct record *record = record_new(NULL);
    struct kit_variables none;
    size_t size = 1 + yk_random_below(random, RANDOM_SIZE_MAX);
    kit_variables_init(&none);
    while (record->sent->len < size) {
        guint8 byte = (guint8)(yk_random_next(random) >> 40);
        if (transcripts->len == 0 || yk_random_below(random, 8) == 0) {
            g_byte_array_append(record->sent, &byte, 1);
            continue;
        }
        const struct kit_transcript *from =
            transcripts->pdata[yk_random_below(random, transcripts->len)];
        if (from->steps->len == 0) {
            continue;
        }
        GString *bytes =
            kit_step_bytes(from->steps->pdata[yk_random_below(random, from->steps->len)], &none);
        size_t n = yk_random_below(random, MIN(bytes->len, (size_t)300) + 1);
        if (n > 0 && yk_random_below(random, 2) == 0) {
            bytes->str[yk_random_below(random, n)] = (char)byte;
        }
        bool is_cut = yk_random_below(random, 4) == 0;
        g_byte_array_append(record->sent, (const guint8 *)bytes->str,
                            (guint)(is_cut ? n : MIN(bytes->len, (size_t)2000)));
        g_string_free(bytes, TRUE);
    }
    kit_variables_done(&none);
    struct kit_play *play = must_play(kit, record, 0);
    kit_play_send(play, record->sent->data, record->sent->len);
    kit_play_eof(play);
    g_byte_array_append(record->came, play->output->data, play->output->len);
    record->digest = play->shim.digest;
    record->is_inexact = play->shim.n_inexact > 0;
    record->n_requests = play->shim.n_requests;
    kit_play_free(play);
    return record;
}

/* What the parts below play: each transcript without pauses, or a few random inputs. */
static GPtrArray *
all_records(struct kit *kit, GPtrArray *transcripts)
{
    GPtrArray *records = g_ptr_array_new_with_free_func(record_free);
    struct yk_random random = {kit_seed(kit, "records", 0)};
    for (guint i = 0; i < transcripts->len; i++) {
        const struct kit_transcript *transcript = transcripts->pdata[i];
        if (!transcript->has_pause) {
            g_ptr_array_add(records, play_in_steps(kit, transcript, 0, 0));
        }
    }
    for (uint32_t i = 0; i < kit->rounds; i++) {
        g_ptr_array_add(records, random_record(kit, transcripts, &random));
    }
    return records;
}

/* -- Parts. -- */

static void
probe(struct kit *kit, const struct kit_play *play, const uint8_t *bytes, size_t size)
{
    kit_doing("probe");
    g_autofree uint8_t *lent = g_memdup2(bytes, size);
    enum yk_probe answer = play->shim.real->probe(play->shim.self, lent, size);
    if (answer != YK_PROBE_NO && answer != YK_PROBE_YES &&
        (answer != YK_PROBE_MORE || size >= 64)) {
        kit_broken(kit, KIT_PROBE, "of %zu bytes it says %d", size, (int)answer);
    }
}

static void
run_life(struct kit *kit)
{
    struct yk_random random = {kit_seed(kit, "life", 0)};
    for (uint32_t i = 0; i < 3; i++) {
        struct kit_play *play = kit_play_new(kit, NULL, i, 0);
        kit_play_connect(play);
        for (uint32_t k = 0; k < 200 && play->shim.real->probe != NULL; k++) {
            uint8_t bytes[100];
            for (size_t b = 0; b < sizeof(bytes); b++) {
                bytes[b] = (uint8_t)(yk_random_next(&random) >> 40);
            }
            probe(kit, play, bytes, 1 + yk_random_below(&random, sizeof(bytes)));
        }
        if (i > 0) {
            kit_play_eof(play);
        }
        kit_play_free(play);
    }
}

static void
run_transcripts(struct kit *kit)
{
    uint32_t n_foreign = 0;
    g_autoptr(GPtrArray) transcripts = read_transcripts(kit, &n_foreign);
    struct yk_random random = {kit_seed(kit, "transcripts", 0)};
    kit->has_hints = true; /* elsewhere not: what they say depends on what comes together */
    for (guint i = 0; i < transcripts->len; i++) {
        const struct kit_transcript *transcript = transcripts->pdata[i];
        struct record *record = play_in_steps(kit, transcript, 0, 0);
        if (!transcript->has_pause) {
            play_in_all_ways(kit, record, &random);
        }
        for (uint64_t seed = 1; seed <= MIN(kit->rounds, 5); seed++) {
            record_free(play_in_steps(kit, transcript, 4, seed));
        }
        record_free(record);
        kit_progress(kit, i, transcripts->len);
    }
    kit_declares(kit, "transcripts", transcripts->len > 0 ? "shipped" : "none");
    if (transcripts->len > 0) {
        kit_shows(kit, "transcripts", KIT_SHOWN, "%u, each whole, byte by byte and in pieces",
                  transcripts->len);
    } else {
        kit_shows(kit, "transcripts", KIT_UNSHOWN, "give --transcripts=DIR");
    }
    if (n_foreign > 0) {
        kit_remark(kit, "%u files are in a notation of the protocol's own, and left out",
                   n_foreign);
    }
}

static void
run_random(struct kit *kit)
{
    g_autoptr(GPtrArray) transcripts = read_transcripts(kit, NULL);
    struct yk_random random = {kit_seed(kit, "random", 0)};
    uint32_t n = kit->rounds * RANDOM_PER_ROUND;
    for (uint32_t i = 0; i < n; i++) {
        struct record *record = random_record(kit, transcripts, &random);
        struct chunks bytes = {.piece_max = 1, .stops_one_in = i % 2 == 0 ? 0 : 4, .seed = i};
        struct chunks cut = {.n = 1, .ends = {yk_random_below(&random, record->sent->len + 1)}};
        play_in_chunks(kit, record, &bytes);
        play_in_chunks(kit, record, &cut);
        record_free(record);
        kit_progress(kit, i, n);
    }
}

/* The client says no more, or is gone, at any place of what it had to say. */
static void
run_ends(struct kit *kit)
{
    g_autoptr(GPtrArray) transcripts = read_transcripts(kit, NULL);
    g_autoptr(GPtrArray) records = all_records(kit, transcripts);
    struct yk_random random = {kit_seed(kit, "ends", 0)};
    for (guint i = 0; i < records->len; i++) {
        const struct record *record = records->pdata[i];
        uint32_t n_places = kit->rounds * PLACES_PER_ROUND;
        bool is_short = record->sent->len <= n_places;
        for (uint32_t k = 0; k < MIN(n_places, record->sent->len + 1); k++) {
            size_t at = is_short ? k : yk_random_below(&random, record->sent->len + 1);
            size_t before = yk_random_below(&random, at + 1);
            struct kit_play *play = must_play(kit, record, k);
            play->shim.stops_one_in = k % 2 == 0 ? 0 : 4;
            kit_play_send(play, record->sent->data, before);
            if (k % 3 != 0) {
                kit_play_vanish(play, record->sent->data + before, at - before);
            } else {
                kit_play_send(play, record->sent->data + before, at - before);
                kit_play_eof(play);
                if (!play->is_closed) {
                    kit_broken(kit, KIT_CHUNKS, "%s, ended at byte %zu: stays open",
                               name_of(record), at);
                }
            }
            kit_play_free(play);
        }
        kit_progress(kit, i, records->len);
    }
}

/* The output's n-th growth fails, for every n. */
static void
run_outbox(struct kit *kit)
{
    g_autoptr(GPtrArray) transcripts = read_transcripts(kit, NULL);
    g_autoptr(GPtrArray) records = all_records(kit, transcripts);
    for (guint i = 0; i < records->len; i++) {
        const struct record *record = records->pdata[i];
        bool has_failed = true;
        for (uint32_t nth = 1; has_failed && nth < NTH_MAX; nth += nth < 50 ? 1 : nth / 8) {
            struct kit_play *play = must_play(kit, record, 0);
            play->shim.grow_fails_in = nth;
            kit_play_send(play, record->sent->data, record->sent->len);
            kit_play_eof(play);
            has_failed = play->shim.n_lost > 0;
            kit_play_free(play);
        }
        kit_progress(kit, i, records->len);
    }
}

static bool
fail_nth(struct kit *kit, const struct record *record, uint64_t nth)
{
    struct kit_play *play = kit_play_new(kit, options_of(record), 0, nth);
    if (play == NULL) {
        return true;
    }
    if (kit_play_connect(play)) {
        kit_play_send(play, record->sent->data, record->sent->len);
        kit_play_eof(play);
    }
    bool has_failed = play->host.n_failed > 0;
    kit_host_fail(&play->host, 0, 0);
    if (has_failed && play->session == NULL && kit_play_connect(play)) {
        kit_play_send(play, record->sent->data, record->sent->len); /* and it still serves */
        kit_play_eof(play);
    }
    kit_play_free(play);
    return has_failed;
}

static void
run_no_memory(struct kit *kit)
{
    g_autoptr(GPtrArray) transcripts = read_transcripts(kit, NULL);
    g_autoptr(GPtrArray) records = all_records(kit, transcripts);
    uint64_t n = 0;
    for (guint i = 0; i < records->len; i++) {
        uint64_t nth = 1;
        while (nth < NTH_MAX && fail_nth(kit, records->pdata[i], nth)) {
            nth += nth < 50 ? 1 : nth / 8;
            n++;
        }
        kit_progress(kit, i, records->len);
    }
    kit_declares(kit, "no memory", "");
    kit_shows(kit, "no memory", KIT_SHOWN, "%llu runs, each with an allocation that failed",
              (unsigned long long)n);
}

/* Time passes: while the client says nothing, in the middle of what it says, and between answers.
 */
static void
run_timer(struct kit *kit)
{
    g_autoptr(GPtrArray) transcripts = read_transcripts(kit, NULL);
    g_autoptr(GPtrArray) records = all_records(kit, transcripts);
    struct yk_random random = {kit_seed(kit, "timer", 0)};
    for (guint i = 0; i < records->len; i++) {
        const struct record *record = records->pdata[i];
        struct kit_play *play = must_play(kit, record, i);
        size_t at = 0, left;
        for (uint32_t k = 0; k < TIMER_STEPS && !play->is_closed; k++) {
            left = record->sent->len - at;
            size_t n = k % 4 == 0 ? yk_random_below(&random, MIN(left, (size_t)100) + 1) : 0;
            kit_play_send(play, record->sent->data + at, n);
            at += n;
            kit_play_advance(play, yk_random_below(&random, k % 10 == 9 ? 3600000 : 2000));
        }
        kit_play_free(play);
    }
}

const struct kit_part kit_frontend_parts[] = {
    {"life", run_life},     {"transcripts", run_transcripts},
    {"random", run_random}, {"ends", run_ends},
    {"outbox", run_outbox}, {"no-memory", run_no_memory},
    {"timer", run_timer},   {NULL, NULL},
};
