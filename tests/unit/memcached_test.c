/* The memcached frontend, driven directly: no socket, a core of the test's own
 * (tests/lib/fake_core.h). Most of what the protocol says stands in the transcripts beside this
 * file; here they are played in every way in which bytes can come, and what a transcript cannot say
 * is tested by hand. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "frontends/memcached/base64.h"
#include "frontends/memcached/parse.h"
#include "tests/lib/fake_core.h"

extern const struct yk_plugin memcached_LTX_yk_plugin;

#define SPLIT_SIZE_MAX  8192u /* inputs up to here are split at every point */
#define N_RANDOM_SPLITS 64

/* -- Transcripts. -- */

enum { N_VARIABLES = 26 };

/* An exchange: what is sent, and the pattern of what must come. */
struct step {
    GString *sent;     /* with \{a} still in it, as the bytes VARIABLE a */
    GString *expected; /* likewise, and CAPTURE a, ANY */
    uint64_t pause_ms; /* before it */
    bool is_closed;    /* the connection must be closed after it */
    uint32_t line;     /* in the file, of its first line */
};

struct transcript {
    GPtrArray *steps;   /* struct step */
    GPtrArray *options; /* char *: name, value, name, value */
};

/* In patterns these bytes follow an ESCAPE; a literal ESCAPE is written twice. A CAS of the binary
 * protocol is 8 bytes: '8' and the name of the variable that it becomes, or ANY. */
enum { ESCAPE = 0x1a, ANY = '*', CAS = '8', CAS_SIZE = 8 };

static void
step_free(void *memory)
{
    struct step *step = memory;
    g_string_free(step->sent, TRUE);
    g_string_free(step->expected, TRUE);
    g_free(step);
}

static void
add_literal(GString *to, char c)
{
    if (c == ESCAPE) {
        g_string_append_c(to, ESCAPE);
    }
    g_string_append_c(to, c);
}

/* "\{...}": 120*k, *, a, =a. Returns what follows it. */
static const char *
add_braced(GString *to, const char *text)
{
    const char *end = strchr(text, '}');
    char *star;
    g_assert_nonnull(end);
    if (end == text + 1) {
        g_string_append_c(to, ESCAPE);
        g_string_append_c(to, *text);
        return end + 1;
    }
    if (*text == '=') {
        g_string_append_c(to, ESCAPE);
        g_string_append_c(to, (char)(text[1] - 'a' + 'A'));
        return end + 1;
    }
    uint64_t n = g_ascii_strtoull(text, &star, 10);
    g_assert_true(*star == '*' && end == star + 2);
    for (uint64_t i = 0; i < n; i++) {
        add_literal(to, star[1]);
    }
    return end + 1;
}

/* Adds the text up to its end or, with is_word, up to a space. Returns whether a \ ended it, which
 * takes away the line end. */
static bool
add_escaped(GString *to, const char *text, bool is_word)
{
    static const char names[] = "rnt0\\", bytes[] = "\r\n\t\0\\";
    while (*text != '\0' && (*text != ' ' || !is_word)) {
        const char *found;
        if (*text != '\\') {
            add_literal(to, *text++);
        } else if (text[1] == '\0') {
            return true;
        } else if (text[1] == '{') {
            text = add_braced(to, text + 2);
        } else if (text[1] == 'x') {
            add_literal(to,
                        (char)(g_ascii_xdigit_value(text[2]) * 16 + g_ascii_xdigit_value(text[3])));
            text += 4;
        } else {
            found = strchr(names, text[1]);
            g_assert_nonnull(found);
            add_literal(to, bytes[found - names]);
            text += 2;
        }
    }
    return false;
}

static void
add_text(GString *to, const char *text)
{
    if (!add_escaped(to, text, false)) {
        g_string_append(to, "\r\n");
    }
}

/* -- Frames of the binary protocol. -- */

/* A number's last bytes, the highest first. */
static void
add_number(GString *to, uint64_t number, uint32_t n_bytes)
{
    for (uint32_t i = n_bytes; i-- > 0;) {
        add_literal(to, (char)(number >> (8 * i)));
    }
}

/* What stands behind " NAME=" in the line, or NULL. */
static const char *
frame_field(const char *line, const char *name)
{
    g_autofree char *start = g_strdup_printf(" %s=", name);
    const char *found = strstr(line, start);
    return found != NULL ? found + strlen(start) : NULL;
}

static uint64_t
frame_number(const char *line, const char *name, uint32_t base, uint64_t fallback)
{
    const char *text = frame_field(line, name);
    return text != NULL ? g_ascii_strtoull(text, NULL, base) : fallback;
}

/* The field's bytes; *ret_size: how many, while a literal ESCAPE has two. */
static GString *
frame_part(const char *line, const char *name, size_t *ret_size)
{
    GString *part = g_string_new(NULL);
    const char *text = frame_field(line, name);
    add_escaped(part, text != NULL ? text : "", true);
    *ret_size = part->len;
    for (size_t i = 0; i < part->len; i++) {
        if (part->str[i] == ESCAPE) {
            (*ret_size)--;
            i++;
        }
    }
    return part;
}

static void
add_cas(GString *to, const char *text, bool is_answer)
{
    if (text == NULL || g_ascii_isdigit(*text)) {
        add_number(to, text != NULL ? g_ascii_strtoull(text, NULL, 10) : 0, CAS_SIZE);
        return;
    }
    bool is_capture = is_answer && (*text == ANY || *text == '=');
    g_string_append_c(to, ESCAPE);
    if (is_capture) {
        g_string_append_c(to, CAS);
    }
    g_string_append_c(to, *text == '=' ? g_ascii_toupper(text[1]) : *text);
}

/* "01 x=... k=... v=...": see the transcripts' README. */
static void
add_frame(GString *to, const char *line, bool is_answer)
{
    size_t extras_size, key_size, value_size;
    GString *extras = frame_part(line, "x", &extras_size);
    GString *key = frame_part(line, "k", &key_size);
    GString *value = frame_part(line, "v", &value_size);
    add_number(to, frame_number(line, "m", 16, is_answer ? 0x81 : 0x80), 1);
    add_number(to, g_ascii_strtoull(line, NULL, 16), 1);
    add_number(to, frame_number(line, "kl", 10, key_size), 2);
    add_number(to, frame_number(line, "xl", 10, extras_size), 1);
    add_number(to, 0, 1);
    add_number(to, frame_number(line, "s", 16, 0), 2);
    add_number(to, frame_number(line, "bl", 10, extras_size + key_size + value_size), 4);
    add_number(to, frame_number(line, "o", 16, 0x01020304), 4);
    add_cas(to, frame_field(line, "c"), is_answer);
    g_string_append_len(to, extras->str, (gssize)extras->len);
    g_string_append_len(to, key->str, (gssize)key->len);
    g_string_append_len(to, value->str, (gssize)value->len);
    g_string_free(extras, TRUE);
    g_string_free(key, TRUE);
    g_string_free(value, TRUE);
}

/* The step that a line of this sign belongs to: a new one where the last has its answer. */
static struct step *
transcript_step(struct transcript *transcript, char sign, uint32_t line)
{
    struct step *last = NULL;
    if (transcript->steps->len > 0) {
        last = g_ptr_array_index(transcript->steps, transcript->steps->len - 1);
    }
    bool is_over =
        last == NULL || last->is_closed || (strchr("<{", sign) == NULL && last->expected->len > 0);
    if (sign == '=' || !is_over) {
        g_assert_nonnull(last);
        return last;
    }
    struct step *step = g_new0(struct step, 1);
    step->sent = g_string_new(NULL);
    step->expected = g_string_new(NULL);
    step->line = line;
    g_ptr_array_add(transcript->steps, step);
    return step;
}

static void
transcript_line(struct transcript *transcript, const char *line, uint32_t number)
{
    const char *text = line[0] != '\0' && line[1] == ' ' ? line + 2 : line + 1;
    switch (line[0]) {
    case '\0':
    case '#':
    case '!':
        return;
    case '>':
        add_text(transcript_step(transcript, '>', number)->sent, text);
        return;
    case '<':
        add_text(transcript_step(transcript, '<', number)->expected, text);
        return;
    case '}':
        add_frame(transcript_step(transcript, '}', number)->sent, text, false);
        return;
    case '{':
        add_frame(transcript_step(transcript, '{', number)->expected, text, true);
        return;
    case '=':
        transcript_step(transcript, '=', number)->is_closed = true;
        return;
    case '~':
        transcript_step(transcript, '~', number)->pause_ms = g_ascii_strtoull(text, NULL, 10);
        return;
    default: {
        char **words = g_strsplit(text, " = ", 2);
        g_assert_cmpint(line[0], ==, '?');
        g_ptr_array_add(transcript->options, words[0]);
        g_ptr_array_add(transcript->options, words[1]);
        g_free(words);
    }
    }
}

static struct transcript *
transcript_read(const char *path)
{
    struct transcript *transcript = g_new0(struct transcript, 1);
    char *content;
    g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
    char **lines = g_strsplit(content, "\n", -1);
    transcript->steps = g_ptr_array_new_with_free_func(step_free);
    transcript->options = g_ptr_array_new_with_free_func(g_free);
    for (uint32_t i = 0; lines[i] != NULL; i++) {
        transcript_line(transcript, lines[i], i + 1);
    }
    g_strfreev(lines);
    g_free(content);
    return transcript;
}

static void
transcript_free(struct transcript *transcript)
{
    g_ptr_array_unref(transcript->steps);
    g_ptr_array_unref(transcript->options);
    g_free(transcript);
}

static bool
is_plain(uint8_t c)
{
    return c > ' ' && c != 0x7f;
}

/* Does output, from *at on, start with pattern? Moves *at behind it; keeps what is captured. */
static bool
match(const GString *pattern, const struct fake_bytes *output, size_t *at, GString **variables)
{
    size_t o = *at;
    for (size_t p = 0; p < pattern->len; p++) {
        if (pattern->str[p] != ESCAPE || pattern->str[++p] == ESCAPE) {
            if (o == output->size || output->data[o++] != (uint8_t)pattern->str[p]) {
                return false;
            }
            continue;
        }
        char name = pattern->str[p];
        size_t start = o;
        if (g_ascii_islower(name)) {
            const GString *value = variables[name - 'a'];
            if (output->size - o < value->len ||
                memcmp(output->data + o, value->str, value->len) != 0) {
                return false;
            }
            o += value->len;
            continue;
        }
        if (name == CAS) {
            name = pattern->str[++p];
            if (output->size - o < CAS_SIZE) {
                return false;
            }
            o += CAS_SIZE;
        } else {
            while (o < output->size && is_plain(output->data[o])) {
                o++;
            }
        }
        if (name != ANY) {
            g_string_truncate(variables[name - 'A'], 0);
            g_string_append_len(variables[name - 'A'], (const char *)output->data + start,
                                (gssize)(o - start));
        }
    }
    *at = o;
    return true;
}

/* The step's bytes with the variables put in. */
static GString *
resolve(const GString *text, GString **variables)
{
    GString *bytes = g_string_new(NULL);
    for (size_t i = 0; i < text->len; i++) {
        if (text->str[i] != ESCAPE || text->str[++i] == ESCAPE) {
            g_string_append_c(bytes, text->str[i]);
        } else {
            const GString *value = variables[text->str[i] - 'a'];
            g_string_append_len(bytes, value->str, (gssize)value->len);
        }
    }
    return bytes;
}

static char *
show(const uint8_t *data, size_t size)
{
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < size && i < 400; i++) {
        if (is_plain(data[i]) || data[i] == ' ') {
            g_string_append_c(text, (char)data[i]);
        } else {
            g_string_append_printf(text, data[i] == '\n' ? "\\n\n" : "\\x%02x", data[i]);
        }
    }
    return g_string_free(text, FALSE);
}

/* Plays step by step, each answer against its pattern. Adds what was sent to `sent`, what came to
 * `came`; returns whether time has passed. */
static bool
play_in_steps(const char *path, const struct transcript *transcript, struct fake_core *core,
              uint64_t stop_seed, GString *sent, GString *came)
{
    GString *variables[N_VARIABLES];
    struct fake_client *client = fake_client_new(core);
    size_t at = 0;
    bool has_pause = false;
    client->stop_seed = stop_seed;
    for (uint32_t i = 0; i < N_VARIABLES; i++) {
        variables[i] = g_string_new(NULL);
    }
    for (uint32_t i = 0; i < transcript->steps->len; i++) {
        const struct step *step = g_ptr_array_index(transcript->steps, i);
        GString *bytes = resolve(step->sent, variables);
        core->now_ms += step->pause_ms;
        has_pause = has_pause || step->pause_ms > 0;
        fake_client_send(client, bytes->str, bytes->len);
        g_string_append_len(sent, bytes->str, (gssize)bytes->len);
        g_string_free(bytes, TRUE);
        size_t start = at;
        bool is_match = match(step->expected, &client->output, &at, variables);
        if (!is_match || at != client->output.size || client->is_closed != step->is_closed) {
            char *text = show(client->output.data + start, client->output.size - start);
            g_error("%s:%u: this came instead%s: %s", path, step->line,
                    client->is_closed ? " (closed)" : "", text);
        }
    }
    fake_client_eof(client);
    g_assert_cmpuint(client->output.size, ==, at);
    g_assert_cmpuint(client->input.size, ==, 0);
    g_string_append_len(came, (const char *)client->output.data, (gssize)client->output.size);
    for (uint32_t i = 0; i < N_VARIABLES; i++) {
        g_string_free(variables[i], TRUE);
    }
    fake_client_free(client);
    return has_pause;
}

/* How input comes: in chunks that end at the offsets given, the last at its end. */
static void
play_split(struct fake_core *core, const GString *input, const size_t *ends, size_t n_ends,
           uint64_t stop_seed, const GString *expected)
{
    fake_core_reset(core);
    struct fake_client *client = fake_client_new(core);
    size_t at = 0;
    client->stop_seed = stop_seed;
    for (size_t i = 0; i < n_ends; i++) {
        fake_client_send(client, input->str + at, ends[i] - at);
        at = ends[i];
    }
    fake_client_send(client, input->str + at, input->len - at);
    fake_client_eof(client);
    struct yk_slice came = {client->output.data, client->output.size};
    if (!yk_slice_equal(came, yk_slice_of(expected->str, expected->len))) {
        char *text = show(client->output.data, client->output.size);
        g_error("split at %zu (of %zu), seed %" G_GUINT64_FORMAT ": this came: %s",
                n_ends > 0 ? ends[0] : 0, n_ends, stop_seed, text);
    }
    fake_client_free(client);
}

static int
compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

/* Whole, byte by byte, in two at every point, and in random pieces with random stops. */
static void
play_splits(struct fake_core *core, const GString *input, const GString *expected)
{
    uint64_t seed = 1;
    size_t ends[SPLIT_SIZE_MAX];
    play_split(core, input, NULL, 0, 0, expected);
    for (uint64_t i = 1; i <= 20; i++) {
        play_split(core, input, NULL, 0, i, expected);
    }
    if (input->len <= SPLIT_SIZE_MAX) {
        for (size_t i = 0; i < input->len; i++) {
            ends[i] = i;
            play_split(core, input, &i, 1, 0, expected);
            play_split(core, input, &i, 1, i + 1, expected);
        }
        play_split(core, input, ends, input->len, 0, expected);
        play_split(core, input, ends, input->len, 1, expected);
    }
    for (uint32_t i = 0; i < N_RANDOM_SPLITS; i++) {
        size_t n = fake_random(&seed) % 8;
        for (size_t j = 0; j < n; j++) {
            ends[j] = fake_random(&seed) % (input->len + 1);
        }
        qsort(ends, n, sizeof(ends[0]), compare_sizes);
        play_split(core, input, ends, n, i % 2 == 0 ? 0 : i, expected);
    }
}

static struct fake_core *
core_new(void)
{
    struct fake_core *core = fake_core_new(&memcached_LTX_yk_plugin);
    g_assert_nonnull(core);
    return core;
}

static void
test_transcript(const void *path)
{
    struct transcript *transcript = transcript_read(path);
    struct fake_core *core = core_new();
    GString *sent = g_string_new(NULL), *came = g_string_new(NULL);
    for (uint32_t i = 0; i < transcript->options->len; i += 2) {
        fake_core_option(core, g_ptr_array_index(transcript->options, i),
                         g_ptr_array_index(transcript->options, i + 1));
    }
    bool has_pause = play_in_steps(path, transcript, core, 0, sent, came);
    if (!has_pause) {
        play_splits(core, sent, came);
    } else {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            GString *again = g_string_new(NULL);
            fake_core_reset(core);
            play_in_steps(path, transcript, core, seed, sent, again);
            g_assert_true(g_string_equal(again, came));
            g_string_free(again, TRUE);
        }
    }
    g_string_free(sent, TRUE);
    g_string_free(came, TRUE);
    fake_core_free(core);
    transcript_free(transcript);
}

static int
compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A test for each file of the folder. */
static void
add_transcripts(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *name;
    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_suffix(name, ".txt")) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    g_ptr_array_sort(names, compare_texts);
    g_assert_cmpuint(names->len, >, 0);
    for (uint32_t i = 0; i < names->len; i++) {
        name = g_ptr_array_index(names, i);
        char *test = g_strdup_printf("/memcached/transcript/%.*s", (int)strlen(name) - 4, name);
        g_test_add_data_func_full(test, g_build_filename(folder, name, NULL), test_transcript,
                                  g_free);
        g_free(test);
    }
    g_ptr_array_unref(names);
    g_dir_close(dir);
}

/* -- Parsing. -- */

static void
test_numbers(void)
{
    static const struct {
        const char *text;
        bool is_u64, is_u32, is_i64;
        uint64_t number;
    } cases[] = {
        {"0", true, true, true, 0},
        {"+7", true, true, true, 7},
        {"-7", false, false, true, (uint64_t)-7},
        {"007", true, true, true, 7},
        {"4294967295", true, true, true, UINT32_MAX},
        {"4294967296", true, false, true, (uint64_t)UINT32_MAX + 1},
        {"9223372036854775807", true, false, true, INT64_MAX},
        {"-9223372036854775807", false, false, true, (uint64_t)-INT64_MAX},
        {"9223372036854775808", true, false, false, (uint64_t)INT64_MAX + 1},
        {"18446744073709551615", true, false, false, UINT64_MAX},
        {"18446744073709551616", false, false, false, 0},
        {"99999999999999999999", false, false, false, 0},
        {"184467440737095516150", false, false, false, 0},
        {"", false, false, false, 0},
        {"+", false, false, false, 0},
        {"-", false, false, false, 0},
        {"--1", false, false, false, 0},
        {"+-1", false, false, false, 0},
        {"1x", false, false, false, 0},
        {"x1", false, false, false, 0},
        {"1 ", false, false, false, 0},
        {"0x1", false, false, false, 0},
        {"1.5", false, false, false, 0},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_slice word = yk_slice_of_text(cases[i].text);
        uint64_t u64 = 0;
        uint32_t u32 = 0;
        int64_t i64 = 0;
        g_assert_cmpint(yk_mc_parse_u64(word, &u64), ==, cases[i].is_u64);
        g_assert_cmpint(yk_mc_parse_u32(word, &u32), ==, cases[i].is_u32);
        g_assert_cmpint(yk_mc_parse_i64(word, &i64), ==, cases[i].is_i64);
        g_assert_cmpuint(u64, ==, cases[i].is_u64 ? cases[i].number : 0);
        g_assert_cmpuint(u32, ==, cases[i].is_u32 ? cases[i].number : 0);
        g_assert_cmpint(i64, ==, cases[i].is_i64 ? (int64_t)cases[i].number : 0);
    }
}

static void
test_classes(void)
{
    static const struct {
        const char *text;
        bool is_good, has_first;
    } cases[] = {
        {"1", true, true},    {"2", true, false},   {"63", true, false},    {"2,1", true, true},
        {"1,", true, true},   {",1", true, true},   {"", true, false},      {",", true, false},
        {"0", false, false},  {"64", false, false}, {"1,64", false, false}, {"x", false, false},
        {"1x", false, false}, {"-1", false, false}, {"+1", false, false},   {"all", false, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        bool has_first = false;
        g_assert_cmpint(yk_mc_parse_classes(yk_slice_of_text(cases[i].text), &has_first), ==,
                        cases[i].is_good);
        g_assert_cmpint(has_first, ==, cases[i].has_first);
    }
}

static void
test_line(void)
{
    static const char text[] = " set  k 0\t \r 7 \rx 1 2 3 4 5 6 \r\nrest";
    size_t size = sizeof(text) - 1 - strlen("rest");
    struct yk_mc_line line;
    for (size_t i = 0; i < size; i++) {
        g_assert_false(yk_mc_parse_line((const uint8_t *)text, i, &line));
    }
    g_assert_true(yk_mc_parse_line((const uint8_t *)text, sizeof(text) - 1, &line));
    g_assert_cmpuint(line.size, ==, size);
    g_assert_cmpuint(line.n_words, ==, 12);
    g_assert_cmpuint(line.word_size_max, ==, 3);
    g_assert_true(line.has_odd);
    g_assert_true(yk_mc_word_is(line.words[0], "set"));
    g_assert_true(yk_mc_word_is(line.words[2], "0\t"));
    g_assert_true(yk_mc_word_is(line.words[3], "\r"));
    g_assert_true(yk_mc_word_is(line.words[7], "2"));
    g_assert_true(yk_mc_parse_line((const uint8_t *)"\r\n", 2, &line));
    g_assert_cmpuint(line.n_words, ==, 0);
    g_assert_false(line.has_odd);
}

/* Every length, there and back; what is no base64 is refused. */
static void
test_base64(void)
{
    static const char *const bad[] = {
        "",         "a",    "ab",   "abc",   "=",    "====", "a===",  "YQ=",
        "YQ==YQ==", "Y=Q=", "YW=j", "YWJj=", "Y*==", "YQ=A", "YWJ\n", "\xff\xff=="};
    uint8_t bytes[YK_MC_KEY_SIZE_MAX], text[YK_MC_BASE64_SIZE(YK_MC_KEY_SIZE_MAX)];
    size_t size;
    for (size_t n = 1; n <= sizeof(bytes); n++) {
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)(i * 37 + n);
        }
        g_autofree char *expected = g_base64_encode(bytes, n);
        size_t n_text = (size_t)(yk_mc_base64_encode(yk_slice_of(bytes, n), text) - text);
        g_assert_cmpmem(text, n_text, expected, strlen(expected));
        g_assert_true(yk_mc_base64_decode(yk_slice_of(text, n_text), text, &size));
        g_assert_cmpmem(text, size, bytes, n);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(yk_mc_base64_decode(yk_slice_of_text(bad[i]), text, &size));
    }
}

static void
test_words(void)
{
    struct yk_slice words = yk_slice_of_text("  v  O1 k "), word;
    g_assert_true(yk_mc_next_word(&words, &word) && yk_mc_word_is(word, "v"));
    g_assert_true(yk_mc_next_word(&words, &word) && yk_mc_word_is(word, "O1"));
    g_assert_true(yk_mc_next_word(&words, &word) && yk_mc_word_is(word, "k"));
    g_assert_false(yk_mc_next_word(&words, &word));
}

/* -- One command at a time. -- */

/* Sends text to a new connection and requires this answer. */
static void
check_answer(struct fake_core *core, const char *text, const char *answer)
{
    struct fake_client *client = fake_client_new(core);
    fake_client_send(client, text, strlen(text));
    fake_client_eof(client);
    fake_bytes_add(&client->output, "", 1);
    g_assert_cmpstr((const char *)client->output.data, ==, answer);
    fake_client_free(client);
}

#define OUTCOME "SERVER_ERROR outcome unknown\r\n"

/* What each result looks like, by the kind of command. */
static void
test_results(void)
{
    static const struct {
        const char *text;
        enum yk_err result;
        const char *answer;
    } cases[] = {
        {"set k 0 0 1\r\nx\r\n", YK_ENOMEM, "SERVER_ERROR out of memory storing object\r\n"},
        {"cas k 0 0 1 1\r\nx\r\n", YK_ENOMEM, "SERVER_ERROR out of memory storing object\r\n"},
        {"set k 0 0 1\r\nx\r\n", YK_ETOOLARGE, "SERVER_ERROR object too large for cache\r\n"},
        {"set k 0 0 1\r\nx\r\n", YK_EREADONLY, "SERVER_ERROR read only\r\n"},
        {"set k 0 0 1\r\nx\r\n", YK_EUNKNOWN, OUTCOME},
        {"set k 0 0 1\r\nx\r\n", YK_ETIMEDOUT, OUTCOME},
        {"set k 0 0 1\r\nx\r\n", YK_EIO, OUTCOME},
        {"set k 0 0 1\r\nx\r\n", YK_EBUSY, "SERVER_ERROR busy, try again\r\n"},
        {"set k 0 0 1\r\nx\r\n", YK_ENOSPACE, "SERVER_ERROR no space left\r\n"},
        {"set k 0 0 1 noreply\r\nx\r\n", YK_EIO, ""},
        {"delete k noreply\r\n", YK_EREADONLY, ""},
        {"flush_all noreply\r\n", YK_EREADONLY, ""},
        {"incr k 1\r\n", YK_EIO, OUTCOME},
        {"incr k 1\r\n", YK_ENOMEM, "SERVER_ERROR out of memory\r\n"},
        {"delete k\r\n", YK_EUNKNOWN, OUTCOME},
        {"touch k 0\r\n", YK_EREADONLY, "SERVER_ERROR read only\r\n"},
        {"gat 0 k\r\n", YK_EUNKNOWN, OUTCOME},
        {"get k\r\n", YK_ETIMEDOUT, "SERVER_ERROR no answer in time\r\n"},
        {"get k\r\n", YK_ECORRUPT, "SERVER_ERROR damaged data\r\n"},
        {"flush_all\r\n", YK_EREADONLY, "SERVER_ERROR read only\r\n"},
        {"stats\r\n", YK_EBUSY, "SERVER_ERROR busy, try again\r\n"},
        {"stats reset\r\n", YK_EDENIED, "SERVER_ERROR not permitted\r\n"},
        {"lru_crawler metadump all\r\n", YK_EIO, "SERVER_ERROR input/output error\r\n"},
        {"stats cachedump 1 0\r\n", YK_EBUSY, "SERVER_ERROR busy, try again\r\n"},
        {"cache_memlimit 64\r\n", YK_EINVALID,
         "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"},
        {"cache_memlimit 64\r\n", YK_EUNSUPPORTED,
         "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"},
        {"cache_memlimit 64\r\n", YK_EDENIED, "SERVER_ERROR not permitted\r\n"},
        {"shutdown\r\n", YK_EDENIED, "ERROR: shutdown not enabled\r\n"},
        {"shutdown\r\n", YK_EBUSY, "SERVER_ERROR busy, try again\r\n"},
        {"get k\r\n", (enum yk_err)999, "SERVER_ERROR unknown error\r\n"},
        {"mg k v q\r\n", YK_ETIMEDOUT, "SERVER_ERROR no answer in time\r\n"},
        {"mg k T0\r\n", YK_EREADONLY, "SERVER_ERROR read only\r\n"},
        {"me k\r\n", YK_EBUSY, "SERVER_ERROR busy, try again\r\n"},
        {"ms k 1 q\r\nx\r\n", YK_EIO, OUTCOME},
        {"ms k 1 q\r\nx\r\n", YK_ENOMEM, "SERVER_ERROR out of memory storing object\r\n"},
        {"ms k 1 MA\r\nx\r\n", YK_ETOOLARGE, "SERVER_ERROR object too large for cache\r\n"},
        {"md k q\r\n", YK_EREADONLY, "SERVER_ERROR read only\r\n"},
        {"ma k v q\r\n", YK_EUNKNOWN, OUTCOME},
    };
    struct fake_core *core = core_new();
    fake_core_option(core, "allow_shutdown", "yes");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        fake_core_reset(core);
        core->fault = cases[i].result;
        core->fault_in = 1;
        check_answer(core, cases[i].text, cases[i].answer);
        g_assert_cmpuint(core->fault_in, ==, 0);
    }
    core->fault = YK_EBUSY;
    core->fault_in = 1;
    core->fault_text = "two\r\nlines";
    check_answer(core, "get k\r\n", "SERVER_ERROR two  lines\r\n");
    fake_core_free(core);
}

/* A get that fails ends the answer of its command with one line, wherever it stands; the next
 * command is served. */
static void
test_failed_get(void)
{
    static const char before[] = "set a 0 0 1\r\nx\r\n";
    static const char gets[] = "get a b a a\r\nget a\r\n";
    static const char value[] = "VALUE a 0 1\r\nx\r\n",
                      failed[] = "SERVER_ERROR busy, try again\r\n";
    struct fake_core *core = core_new();
    for (uint32_t i = 1; i <= 4; i++) {
        GString *input = g_string_new(before), *expected = g_string_new("STORED\r\n");
        g_string_append(input, gets);
        g_string_append(expected, i > 1 ? value : "");
        g_string_append(expected, i > 3 ? value : "");
        g_string_append_printf(expected, "%s%sEND\r\n", failed, value);
        for (size_t split = 0; split < input->len; split++) {
            for (uint64_t seed = 0; seed < 4; seed++) {
                fake_core_reset(core);
                struct fake_client *client = fake_client_new(core);
                client->stop_seed = seed;
                core->fault = YK_EBUSY;
                core->fault_in = i + 1;
                core->fault_text = NULL;
                fake_client_send(client, input->str, split);
                fake_client_send(client, input->str + split, input->len - split);
                fake_bytes_add(&client->output, "", 1);
                g_assert_cmpstr((const char *)client->output.data, ==, expected->str);
                fake_client_free(client);
            }
        }
        g_string_free(input, TRUE);
        g_string_free(expected, TRUE);
    }
    fake_core_free(core);
}

/* Lines of get longer than any buffer: taken key by key, nothing kept. */
static void
test_long_get(void)
{
    struct fake_core *core = core_new();
    GString *input = g_string_new("set key-7 0 0 1\r\nx\r\nget");
    GString *expected = g_string_new("STORED\r\n");
    for (uint32_t i = 0; i < 3000; i++) {
        g_string_append_printf(input, " key-%u", i % 10);
        g_string_append(expected, i % 10 == 7 ? "VALUE key-7 0 1\r\nx\r\n" : "");
    }
    g_string_append_printf(input, " %0250d\r\nget key-7 nokey\r\n", 0);
    g_string_append(expected, "END\r\nVALUE key-7 0 1\r\nx\r\nEND\r\n");
    play_splits(core, input, expected);

    /* Fed in small pieces, no more than a line's bound lies in the buffer. */
    fake_core_reset(core);
    struct fake_client *client = fake_client_new(core);
    for (size_t i = 0; i < input->len; i += 10) {
        fake_client_send(client, input->str + i, MIN(10, input->len - i));
        g_assert_cmpuint(client->input.size, <=, YK_MC_LINE_SIZE_MAX);
    }
    g_assert_cmpuint(client->output.size, ==, expected->len);
    fake_client_free(client);
    g_string_free(input, TRUE);
    g_string_free(expected, TRUE);
    fake_core_free(core);
}

/* The end of a long line, in two pieces at every point, with and without failures. */
static void
check_long_get_end(const char *line_end)
{
    static const char failed[] = "SERVER_ERROR busy, try again\r\n";
    struct fake_core *core = core_new();
    GString *input = g_string_new("get a"), *expected = g_string_new(NULL);
    while (input->len < YK_MC_LINE_SIZE_MAX) {
        g_string_append(input, " b");
    }
    g_string_append_printf(input, " %0250d%s\r\nget a\r\nget %0250d\r\n", 0, line_end, 0);
    for (uint32_t fault_in = 0; fault_in < 3; fault_in++) {
        g_string_printf(expected, "%sEND\r\nEND\r\n", fault_in > 0 ? failed : "END\r\n");
        for (size_t split = 0; split < input->len; split++) {
            fake_core_reset(core);
            core->fault = YK_EBUSY;
            core->fault_in = fault_in;
            struct fake_client *client = fake_client_new(core);
            fake_client_send(client, input->str, split);
            fake_client_send(client, input->str + split, input->len - split);
            fake_client_eof(client);
            fake_bytes_add(&client->output, "", 1);
            g_assert_cmpstr((const char *)client->output.data, ==, expected->str);
            fake_client_free(client);
        }
    }
    g_string_free(input, TRUE);
    g_string_free(expected, TRUE);
    fake_core_free(core);
}

static void
test_long_get_end(void)
{
    check_long_get_end("");
    check_long_get_end("  ");
}

/* One line at the bound of what is looked at as a whole, and one byte over it. */
static void
test_line_bound(void)
{
    struct fake_core *core = core_new();
    for (uint32_t over = 0; over < 3; over++) {
        GString *input = g_string_new("set a 0 0 1\r\nx\r\n"),
                *expected = g_string_new("STORED\r\n");
        GString *line = g_string_new("get a");
        while (line->len < YK_MC_LINE_SIZE_MAX - 2 - 4) {
            g_string_append(line, " ab");
        }
        while (line->len < YK_MC_LINE_SIZE_MAX - 2 - 4 + over) {
            g_string_append_c(line, ' ');
        }
        g_string_append(line, " a\rb\r\n");
        g_string_append(input, line->str);
        g_string_append(input, "get a\r\n");
        if (line->len > YK_MC_LINE_SIZE_MAX) {
            g_string_append(expected, "VALUE a 0 1\r\nx\r\n");
        }
        g_string_append(expected,
                        "CLIENT_ERROR bad command line format\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
        play_splits(core, input, expected);
        g_string_free(input, TRUE);
        g_string_free(expected, TRUE);
        g_string_free(line, TRUE);
    }
    fake_core_free(core);
}

/* A store says how many bytes it needs, to the byte. */
static void
test_want(void)
{
    struct fake_core *core = core_new();
    struct fake_client *client = fake_client_new(core);
    fake_client_send(client, "version\r\nset k 0 0 100", 22);
    g_assert_cmpuint(client->want, ==, 0);
    g_assert_cmpuint(client->input.size, ==, 13);
    fake_client_send(client, "0\r\nxx", 5);
    g_assert_cmpuint(client->want, ==, 16 + 1000 + 2);
    fake_client_send(client, "yy", 2);
    g_assert_cmpuint(client->want, ==, 16 + 1000 + 2);
    fake_client_eof(client);
    g_assert_cmpuint(client->n_submitted, ==, 1);
    fake_client_free(client);
    fake_core_free(core);
}

/* Large values go out as they lie; a failing outbox is left alone. */
static void
test_large_values(void)
{
    static const size_t sizes[] = {YK_LEND_SIZE_MIN - 1, YK_LEND_SIZE_MIN, 300000};
    struct fake_core *core = core_new();
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        GString *input = g_string_new(NULL), *expected = g_string_new(NULL);
        g_string_printf(input, "set k 1 0 %zu\r\n", sizes[i]);
        g_string_printf(expected, "STORED\r\nVALUE k 1 %zu\r\n", sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            g_string_append_c(input, (char)j);
            g_string_append_c(expected, (char)j);
        }
        g_string_append(input, "\r\nget k\r\n");
        g_string_append(expected, "\r\nEND\r\n");
        fake_core_reset(core);
        struct fake_client *client = fake_client_new(core);
        fake_client_send(client, input->str, input->len);
        g_assert_cmpuint(client->n_lent, ==, sizes[i] < YK_LEND_SIZE_MIN ? 0 : sizes[i]);
        g_assert_cmpmem(client->output.data, client->output.size, expected->str, expected->len);
        fake_client_free(client);
        for (uint32_t fails_in = 1; fails_in < 8; fails_in++) {
            client = fake_client_new(core);
            client->grow_fails_in = fails_in;
            fake_client_send(client, input->str, input->len);
            g_assert_cmpint(client->is_lost, ==, client->grow_fails_in == 0);
            fake_client_free(client);
        }
        g_string_free(input, TRUE);
        g_string_free(expected, TRUE);
    }
    fake_core_free(core);
}

/* Every answer, with the outbox failing at its N-th growth, for every N. */
static void
test_outbox_failures(void)
{
    static const char input[] =
        "set k 0 0 1\r\n5\r\nget k k\r\ngets k\r\nincr k 1\r\ntouch k 0\r\nstats\r\nstats foo\r\n"
        "stats reset\r\nlru_crawler metadump all\r\nstats cachedump 1 0\r\ncache_memlimit 64\r\n"
        "mg k v k s t c f h l O1\r\nms a= 1 b k\r\nx\r\nms YQ== 1 b k c s O2\r\nx\r\n"
        "ma k v k c t\r\nma k q\r\nme k\r\nme none\r\nmd k I k O3\r\nmg k v\r\nmn\r\nmg none\r\n"
        "delete k\r\ndelete k\r\nflush_all\r\nversion\r\nset k 0 0 x\r\n";
    struct fake_core *core = core_new();
    bool has_failed = true;
    for (uint32_t fails_in = 1; has_failed; fails_in++) {
        fake_core_reset(core);
        struct fake_client *client = fake_client_new(core);
        client->grow_fails_in = fails_in;
        fake_client_send(client, input, sizeof(input) - 1);
        has_failed = client->is_lost;
        fake_client_free(client);
        g_assert_cmpuint(fails_in, <, 1000);
    }
    fake_core_free(core);
}

/* Limits that are lower than memcached's own. */
static void
test_small_limits(void)
{
    struct fake_core *core = core_new();
    core->key_size_max = 10;
    core->value_size_max = 4;
    check_answer(core, "set 0123456789 0 0 4\r\nabcd\r\nget 0123456789\r\n",
                 "STORED\r\nVALUE 0123456789 0 4\r\nabcd\r\nEND\r\n");
    check_answer(core, "set 0123456789a 0 0 1\r\n", "CLIENT_ERROR bad command line format\r\n");
    check_answer(core, "get a 0123456789a\r\n", "CLIENT_ERROR bad command line format\r\n");
    check_answer(core, "set k 0 0 5\r\nabcde\r\nget k\r\n",
                 "SERVER_ERROR object too large for cache\r\nEND\r\n");
    check_answer(core, "append 0123456789 0 0 1\r\ne\r\n",
                 "SERVER_ERROR object too large for cache\r\n");
    check_answer(core, "stats 0123456789a\r\n", "ERROR\r\n");
    check_answer(core, "mg 0123456789 v\r\nmg MDEyMzQ1Njc4OQ== b v k\r\n",
                 "VA 4\r\nabcd\r\nVA 4 kMDEyMzQ1Njc4OQ== b\r\nabcd\r\n");
    check_answer(core, "mg 0123456789a v\r\nmg MDEyMzQ1Njc4OWE= b\r\n",
                 "CLIENT_ERROR bad command line format\r\n"
                 "CLIENT_ERROR bad command line format\r\n");
    check_answer(core, "ms 0123456789a 1\r\nx\r\nms k 5 q\r\nabcde\r\nmn\r\n",
                 "CLIENT_ERROR bad command line format\r\n"
                 "SERVER_ERROR object too large for cache\r\nMN\r\n");
    fake_core_free(core);
}

/* Times are exact to the millisecond; the time of a flush becomes a delay. */
static void
test_times(void)
{
    struct fake_core *core = core_new();
    check_answer(core, "set k 0 100 1\r\nx\r\n", "STORED\r\n");
    core->now_ms += 99999;
    check_answer(core, "get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    core->now_ms += 1;
    check_answer(core, "get k\r\n", "END\r\n");

    check_answer(core, "set k 0 0 1\r\nx\r\nflush_all 2147483647\r\n", "STORED\r\nOK\r\n");
    g_assert_cmpuint(core->flush_at_ms, ==, 2147483647000);
    check_answer(core, "flush_all 2592000\r\n", "OK\r\n");
    g_assert_cmpuint(core->flush_at_ms, ==, core->now_ms + 2592000000);
    check_answer(core, "flush_all 9223372036854775807\r\n", "OK\r\n");
    g_assert_cmpuint(core->flush_at_ms, ==, 253402300799000);
    check_answer(core, "get k\r\nflush_all 2592001\r\nget k\r\n",
                 "VALUE k 0 1\r\nx\r\nEND\r\nOK\r\nEND\r\n");
    fake_core_free(core);
}

/* What the meta commands show of times: rounded up where it is left, down where it has passed. */
static void
test_meta_times(void)
{
    struct fake_core *core = core_new();
    check_answer(core, "ms k 1 T100\r\nx\r\nmg k t\r\n", "HD\r\nHD t100\r\n");
    core->now_ms += 98001;
    check_answer(core, "mg k t l h\r\nmg k l h\r\n", "HD t2 l98 h1\r\nHD l0 h1\r\n");
    core->now_ms += 999;
    check_answer(core, "mg k t\r\nme k\r\n",
                 "HD t1\r\nME k exp=1 la=0 cas=1 fetch=yes cls=1 size=2\r\n");
    core->now_ms += 999;
    check_answer(core, "mg k t\r\n", "HD t1\r\n");
    core->now_ms += 1;
    check_answer(core, "mg k t\r\n", "EN\r\n");
    check_answer(core, "ms k 1 T-1\r\nx\r\nmg k t N-1\r\nmg k\r\n", "HD\r\nHD t0 W\r\nEN\r\n");
    check_answer(core, "ms k 1\r\nx\r\nmg k t T-1 v\r\nmg k\r\n", "HD\r\nVA 1 t0\r\nx\r\nEN\r\n");
    fake_core_free(core);
}

/* A decoded key needs memory; where there is none, the command says so and did nothing. */
static void
test_meta_no_memory(void)
{
    struct fake_core *core = core_new();
    core->inbox_alloc_fails = true;
    check_answer(
        core,
        "ms YQ== 1 b q\r\nx\r\nmg YQ== b q\r\nmd YQ== b q\r\nma YQ== b N0 q\r\nme YQ== b\r\n"
        "ms k 1\r\nx\r\n",
        "SERVER_ERROR out of memory\r\nSERVER_ERROR out of memory\r\n"
        "SERVER_ERROR out of memory\r\nSERVER_ERROR out of memory\r\n"
        "SERVER_ERROR out of memory\r\nHD\r\n");
    g_assert_cmpuint(core->n_records, ==, 1);
    fake_core_free(core);
}

/* The core's figures and records as lines. */
static void
test_streams(void)
{
    struct fake_core *core = core_new();
    check_answer(core, "stats\r\n",
                 "STAT pid 1\r\nSTAT uptime 2\r\nSTAT version 0\r\nSTAT curr_items 3\r\nEND\r\n");
    check_answer(core, "stats settings\r\n", "STAT maxbytes 67108864\r\nEND\r\n");
    check_answer(core, "stats items x\r\n", "STAT items:1:number 1\r\nEND\r\n");
    check_answer(core, "stats slabs\r\n", "STAT active_slabs 1\r\nEND\r\n");
    check_answer(core, "stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n");
    check_answer(core, "stats conns\r\n", "STAT 1:addr tcp:127.0.0.1:1\r\nEND\r\n");

    check_answer(core, "set \xff~ 0 0 1\r\nx\r\nset b/c 5 1000 3\r\nabc\r\nset c 0 0 0\r\n\r\n",
                 "STORED\r\nSTORED\r\nSTORED\r\n");
    check_answer(core, "lru_crawler metadump all\r\n",
                 "key=%FF~ exp=-1 la=0 cas=1 fetch=no cls=1 size=3\n"
                 "key=b%2Fc exp=1700001000 la=0 cas=2 fetch=no cls=1 size=6\n"
                 "key=c exp=-1 la=0 cas=3 fetch=no cls=1 size=1\nEND\r\n");
    check_answer(
        core, "stats cachedump 1 0\r\nstats cachedump 1 2\r\nstats cachedump 1 1\r\n",
        "ITEM \xff~ [1 b; 0 s]\r\nITEM b/c [3 b; 1700001000 s]\r\nITEM c [0 b; 0 s]\r\nEND\r\n"
        "ITEM \xff~ [1 b; 0 s]\r\nITEM b/c [3 b; 1700001000 s]\r\nEND\r\n"
        "ITEM \xff~ [1 b; 0 s]\r\nEND\r\n");
    fake_core_reset(core);
    check_answer(core, "ms ICUKfw== 1 b\r\nx\r\nstats cachedump 1 0\r\n",
                 "HD\r\nITEM %20%25%0A%7F [1 b; 0 s]\r\nEND\r\n");
    fake_core_free(core);
}

/* Things that are asked of the core by name. */
static void
test_admin(void)
{
    struct fake_core *core = core_new();
    check_answer(core, "cache_memlimit 100\r\n", "OK\r\n");
    g_assert_cmpuint(core->memory_max, ==, 100 << 20);
    core->inbox_alloc_fails = true;
    check_answer(core, "cache_memlimit 200\r\n", "SERVER_ERROR out of memory\r\n");
    check_answer(core, "cache_memlimit 200 noreply\r\n", "");
    g_assert_cmpuint(core->memory_max, ==, 100 << 20);
    check_answer(core, "shutdown\r\n", "ERROR: shutdown not enabled\r\n");
    g_assert_cmpuint(core->n_shutdowns, ==, 0);
    fake_core_option(core, "allow_shutdown", "yes");
    check_answer(core, "shutdown\r\nversion\r\n", "");
    g_assert_cmpuint(core->n_shutdowns, ==, 1);
    fake_core_free(core);
}

/* A client that goes in the middle of a command: the half is nothing. */
static void
test_half_commands(void)
{
    static const char *const halves[] = {"get",
                                         "get a",
                                         "get a ",
                                         "set k 0 0 5\r\nabc",
                                         "set k 0 0 5\r\nabcde\r",
                                         "version",
                                         "set k 0 0 2000000\r\nx"};
    struct fake_core *core = core_new();
    for (size_t i = 0; i < G_N_ELEMENTS(halves); i++) {
        bool is_refused = strstr(halves[i], "2000000") != NULL;
        check_answer(core, halves[i],
                     is_refused ? "SERVER_ERROR object too large for cache\r\n" : "");
    }
    g_assert_cmpuint(core->n_records, ==, 0);
    fake_core_free(core);
}

/* -- The plugin. -- */

static void
test_plugin(void)
{
    const struct yk_plugin *plugin = &memcached_LTX_yk_plugin;
    const struct yk_frontend_ops *ops = plugin->ops;
    struct yk_option_value value = {.struct_size = sizeof(value)};
    struct fake_core *core = core_new();
    g_assert_cmpuint(plugin->magic, ==, YK_PLUGIN_MAGIC);
    g_assert_cmpuint(plugin->kind, ==, YK_KIND_FRONTEND);
    g_assert_cmpstr(plugin->name, ==, "memcached");
    g_assert_cmpuint(plugin->n_options, ==, 4);
    g_assert_cmpint(ops->life.config(core->self, "nothing", &value), ==, YK_EINVALID);
    g_assert_cmpint(ops->probe(core->self, (const uint8_t *)"get", 3), ==, YK_PROBE_YES);
    g_assert_cmpint(ops->probe(core->self, (const uint8_t *)"a", 1), ==, YK_PROBE_YES);
    g_assert_cmpint(ops->probe(core->self, (const uint8_t *)"z", 1), ==, YK_PROBE_YES);
    g_assert_cmpint(ops->probe(core->self, (const uint8_t *)"GET / HTTP/1.1", 14), ==, YK_PROBE_NO);
    g_assert_cmpint(ops->probe(core->self, (const uint8_t *)"\x16\x03\x01", 3), ==, YK_PROBE_NO);
    g_assert_cmpint(ops->probe(core->self, (const uint8_t *)"*1\r\n", 4), ==, YK_PROBE_NO);
    ops->life.destroy(NULL);
    ops->session_free(NULL);
    fake_core_free(core);
}

static void
test_no_memory(void)
{
    struct fake_core *core = core_new();
    void *self = NULL;
    core->alloc_fails_in = 1;
    g_assert_null(fake_client_new(core));
    core->alloc_fails_in = 1;
    g_assert_cmpint(core->ops->life.create(&core->host, &self), ==, YK_ENOMEM);
    g_assert_null(self);
    fake_core_free(core);
}

/* Calls the session's timer at the core's present time. */
static uint64_t
check_timer(const struct fake_client *client, enum yk_timer_result expected)
{
    uint64_t next_ms = 0;
    g_assert_cmpint(client->core->ops->timer(client->session, client->core->now_ms, NULL, &next_ms),
                    ==, expected);
    return next_ms;
}

static void
test_idle_timeout(void)
{
    struct fake_core *core = core_new();
    struct fake_client *client = fake_client_new(core);
    g_assert_cmpuint(check_timer(client, YK_TIMER_NONE), ==, 0);
    fake_client_free(client);

    fake_core_option(core, "idle_timeout", "10s");
    client = fake_client_new(core);
    g_assert_cmpuint(check_timer(client, YK_TIMER_NONE), ==, core->now_ms + 10000);
    core->now_ms += 4000;
    fake_client_send(client, "vers", 4);
    core->now_ms += 6000;
    g_assert_cmpuint(check_timer(client, YK_TIMER_NONE), ==, core->now_ms + 4000);
    core->now_ms += 4000;
    g_assert_cmpuint(check_timer(client, YK_TIMER_CLOSE), ==, 0);
    fake_client_send(client, "ion\r\n", 5);
    core->now_ms += 9999;
    g_assert_cmpuint(check_timer(client, YK_TIMER_NONE), ==, core->now_ms + 1);
    core->now_ms -= 60000; /* the clock was set back */
    g_assert_cmpuint(check_timer(client, YK_TIMER_NONE), ==, core->now_ms + 10000);
    fake_core_option(core, "idle_timeout", "0s");
    g_assert_cmpuint(check_timer(client, YK_TIMER_NONE), ==, 0);
    fake_client_free(client);
    fake_core_free(core);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    const char *top = g_getenv("srcdir");
    char *folder =
        g_build_filename(top != NULL ? top : ".", "tests", "unit", "memcached_transcripts", NULL);
    g_test_add_func("/memcached/parse/numbers", test_numbers);
    g_test_add_func("/memcached/parse/classes", test_classes);
    g_test_add_func("/memcached/parse/line", test_line);
    g_test_add_func("/memcached/parse/base64", test_base64);
    g_test_add_func("/memcached/parse/words", test_words);
    g_test_add_func("/memcached/meta/times", test_meta_times);
    g_test_add_func("/memcached/meta/no_memory", test_meta_no_memory);
    g_test_add_func("/memcached/plugin", test_plugin);
    g_test_add_func("/memcached/no_memory", test_no_memory);
    g_test_add_func("/memcached/idle_timeout", test_idle_timeout);
    g_test_add_func("/memcached/results", test_results);
    g_test_add_func("/memcached/failed_get", test_failed_get);
    g_test_add_func("/memcached/long_get", test_long_get);
    g_test_add_func("/memcached/long_get_end", test_long_get_end);
    g_test_add_func("/memcached/line_bound", test_line_bound);
    g_test_add_func("/memcached/want", test_want);
    g_test_add_func("/memcached/large_values", test_large_values);
    g_test_add_func("/memcached/outbox_failures", test_outbox_failures);
    g_test_add_func("/memcached/small_limits", test_small_limits);
    g_test_add_func("/memcached/times", test_times);
    g_test_add_func("/memcached/streams", test_streams);
    g_test_add_func("/memcached/admin", test_admin);
    g_test_add_func("/memcached/half_commands", test_half_commands);
    add_transcripts(folder);
    g_free(folder);
    return g_test_run();
}
