/* See transcript.h. */
#include <config.h>

#include "tools/kit/transcript.h"

#include <string.h>

#include "core/base/limits.h"

/* In patterns these bytes follow an ESCAPE; a literal ESCAPE is written twice. */
enum { ESCAPE = 0x1a, ANY = '*', RUN_MAX = 64 << 20 };

static void
step_free(void *memory)
{
    struct kit_step *step = memory;
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

/* "\{...}": 120*k, *, u, =u. Returns what follows it; NULL: it is none of these. */
static const char *
add_braced(GString *to, const char *text)
{
    const char *end = strchr(text, '}');
    char *star;
    if (end == NULL) {
        return NULL;
    }
    if (end == text + 1 && (*text == ANY || g_ascii_islower(*text))) {
        g_string_append_c(to, ESCAPE);
        g_string_append_c(to, *text);
        return end + 1;
    }
    if (end == text + 2 && *text == '=' && g_ascii_islower(text[1])) {
        g_string_append_c(to, ESCAPE);
        g_string_append_c(to, g_ascii_toupper(text[1]));
        return end + 1;
    }
    uint64_t n = g_ascii_strtoull(text, &star, 10);
    if (*star != '*' || end != star + 2 || n > RUN_MAX) {
        return NULL;
    }
    for (uint64_t i = 0; i < n; i++) {
        add_literal(to, star[1]);
    }
    return end + 1;
}

static const char *
add_escaped(GString *to, const char *text)
{
    static const char names[] = "rnt0\\", bytes[] = "\r\n\t\0\\";
    if (text[1] == '{') {
        return add_braced(to, text + 2);
    }
    if (text[1] == 'x' && g_ascii_isxdigit(text[2]) && g_ascii_isxdigit(text[3])) {
        add_literal(to, (char)(g_ascii_xdigit_value(text[2]) * 16 + g_ascii_xdigit_value(text[3])));
        return text + 4;
    }
    const char *found = text[1] != '\0' ? strchr(names, text[1]) : NULL;
    if (found == NULL) {
        return NULL;
    }
    add_literal(to, bytes[found - names]);
    return text + 2;
}

static bool
add_text(GString *to, const char *text)
{
    while (text != NULL && *text != '\0') {
        if (*text != '\\') {
            add_literal(to, *text++);
        } else if (text[1] == '\0') {
            return true;
        } else {
            text = add_escaped(to, text);
        }
    }
    g_string_append(to, "\r\n");
    return text != NULL;
}

/* The step that a line of this sign belongs to: a new one where the last has its answer. */
static struct kit_step *
step_of(struct kit_transcript *transcript, char sign, uint32_t line)
{
    GPtrArray *steps = transcript->steps;
    struct kit_step *last = steps->len > 0 ? steps->pdata[steps->len - 1] : NULL;
    bool is_over = last == NULL || last->is_closed || (sign != '<' && last->expected->len > 0);
    if (last != NULL && (sign == '=' || !is_over)) {
        return last;
    }
    struct kit_step *step = g_new0(struct kit_step, 1);
    step->sent = g_string_new(NULL);
    step->expected = g_string_new(NULL);
    step->line = line;
    g_ptr_array_add(steps, step);
    return step;
}

static bool
read_option(struct kit_transcript *transcript, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " = ", 2);
    if (g_strv_length(words) != 2) {
        return false;
    }
    g_ptr_array_add(transcript->options, g_strdup(words[0]));
    g_ptr_array_add(transcript->options, g_strdup(words[1]));
    return true;
}

static bool
read_line(struct kit_transcript *transcript, const char *line, uint32_t number)
{
    const char *text = line[0] != '\0' && line[1] == ' ' ? line + 2 : line + 1;
    switch (line[0]) {
    case '\0':
    case '#':
    case '!':
        return true;
    case '>':
        return add_text(step_of(transcript, '>', number)->sent, text);
    case '<':
        return add_text(step_of(transcript, '<', number)->expected, text);
    case '=':
        step_of(transcript, '=', number)->is_closed = true;
        return true;
    case '~':
        step_of(transcript, '~', number)->pause_ms = g_ascii_strtoull(text, NULL, 10);
        transcript->has_pause = true;
        return true;
    case '?':
        return read_option(transcript, text);
    case '{':
    case '}':
        transcript->is_foreign = true;
        return true;
    default:
        return false;
    }
}

struct kit_transcript *
kit_transcript_read(const char *path, char *error)
{
    g_autofree char *content = NULL;
    g_autoptr(GError) failure = NULL;
    if (!g_file_get_contents(path, &content, NULL, &failure)) {
        g_snprintf(error, YK_ERROR_SIZE, "%s", failure->message);
        return NULL;
    }
    struct kit_transcript *transcript = g_new0(struct kit_transcript, 1);
    transcript->name = g_path_get_basename(path);
    transcript->steps = g_ptr_array_new_with_free_func(step_free);
    transcript->options = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) lines = g_strsplit(content, "\n", -1);
    for (uint32_t i = 0; lines[i] != NULL; i++) {
        if (!read_line(transcript, lines[i], i + 1)) {
            g_snprintf(error, YK_ERROR_SIZE, "%s:%u: this line cannot be read", path, i + 1);
            kit_transcript_free(transcript);
            return NULL;
        }
    }
    return transcript;
}

void
kit_transcript_free(struct kit_transcript *transcript)
{
    g_ptr_array_unref(transcript->steps);
    g_ptr_array_unref(transcript->options);
    g_free(transcript->name);
    g_free(transcript);
}

static gint
compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
free_transcript(void *transcript)
{
    kit_transcript_free(transcript);
}

GPtrArray *
kit_transcripts_read(const char *folder, uint32_t *ret_n_foreign, char *error)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) transcripts = g_ptr_array_new_with_free_func(free_transcript);
    const char *name;
    uint32_t n_foreign = 0;
    if (dir == NULL) {
        g_snprintf(error, YK_ERROR_SIZE, "%s: cannot be read", folder);
        return NULL;
    }
    while ((name = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_suffix(name, ".txt")) {
            g_ptr_array_add(names, g_build_filename(folder, name, NULL));
        }
    }
    g_ptr_array_sort(names, compare_texts);
    for (guint i = 0; i < names->len; i++) {
        struct kit_transcript *transcript = kit_transcript_read(names->pdata[i], error);
        if (transcript == NULL) {
            return NULL;
        }
        if (transcript->is_foreign) {
            n_foreign++;
            kit_transcript_free(transcript);
        } else {
            g_ptr_array_add(transcripts, transcript);
        }
    }
    *ret_n_foreign = n_foreign;
    return g_steal_pointer(&transcripts);
}

void
kit_variables_init(struct kit_variables *variables)
{
    for (uint32_t i = 0; i < KIT_VARIABLES; i++) {
        variables->values[i] = g_string_new(NULL);
    }
}

void
kit_variables_done(struct kit_variables *variables)
{
    for (uint32_t i = 0; i < KIT_VARIABLES; i++) {
        g_string_free(variables->values[i], TRUE);
    }
}

GString *
kit_step_bytes(const struct kit_step *step, const struct kit_variables *variables)
{
    const GString *text = step->sent;
    GString *bytes = g_string_new(NULL);
    for (size_t i = 0; i < text->len; i++) {
        if (text->str[i] != ESCAPE || text->str[++i] == ESCAPE) {
            g_string_append_c(bytes, text->str[i]);
        } else if (g_ascii_islower(text->str[i])) {
            const GString *value = variables->values[text->str[i] - 'a'];
            g_string_append_len(bytes, value->str, (gssize)value->len);
        }
    }
    return bytes;
}

static bool
is_plain(uint8_t c)
{
    return c > ' ' && c != 0x7f;
}

/* One of the letters behind an ESCAPE. */
static bool
match_variable(char name, const GByteArray *output, size_t *at, struct kit_variables *variables)
{
    size_t start = *at, o = start;
    if (g_ascii_islower(name)) {
        const GString *value = variables->values[name - 'a'];
        *at += value->len;
        return output->len - o >= value->len &&
               memcmp(output->data + o, value->str, value->len) == 0;
    }
    while (o < output->len && is_plain(output->data[o])) {
        o++;
    }
    if (name != ANY) {
        GString *value = variables->values[name - 'A'];
        g_string_truncate(value, 0);
        g_string_append_len(value, (const char *)output->data + start, (gssize)(o - start));
    }
    *at = o;
    return true;
}

bool
kit_step_matches(const struct kit_step *step, const GByteArray *output, size_t *at,
                 struct kit_variables *variables)
{
    const GString *pattern = step->expected;
    size_t o = *at;
    for (size_t p = 0; p < pattern->len; p++) {
        if (pattern->str[p] != ESCAPE || pattern->str[++p] == ESCAPE) {
            if (o == output->len || output->data[o++] != (uint8_t)pattern->str[p]) {
                return false;
            }
        } else if (!match_variable(pattern->str[p], output, &o, variables)) {
            return false;
        }
    }
    *at = o;
    return true;
}
