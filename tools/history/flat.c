/* Reads one flat JSON object from bytes that nobody vouches for. */
#include <config.h>

#include "tools/history/flat.h"

#include <stdio.h>
#include <string.h>

struct reader {
    const char *at, *end, *start;
    char *error;
};

static bool
wrong(const struct reader *reader, const char *expected)
{
    if (reader->at == reader->end) {
        snprintf(reader->error, FLAT_ERROR_SIZE, "the line ends where %s is expected", expected);
    } else {
        snprintf(reader->error, FLAT_ERROR_SIZE, "byte %zu is 0x%02x where %s is expected",
                 (size_t)(reader->at - reader->start) + 1, (unsigned char)*reader->at, expected);
    }
    return false;
}

static void
skip_space(struct reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\r')) {
        reader->at++;
    }
}

static bool
is_next(const struct reader *reader, char byte)
{
    return reader->at < reader->end && *reader->at == byte;
}

static bool
take_byte(struct reader *reader, char byte, const char *expected)
{
    skip_space(reader);
    if (!is_next(reader, byte)) {
        return wrong(reader, expected);
    }
    reader->at++;
    return true;
}

static bool
take_hex(struct reader *reader, gunichar *ret_unit)
{
    gunichar unit = 0;
    for (int i = 0; i < 4; i++) {
        if (reader->at == reader->end || !g_ascii_isxdigit(*reader->at)) {
            return wrong(reader, "one of four hexadecimal digits");
        }
        unit = unit << 4 | (gunichar)g_ascii_xdigit_value(*reader->at++);
    }
    *ret_unit = unit;
    return true;
}

/* Behind "\u": a character, or two halves of one. */
static bool
take_unit(struct reader *reader, GString *text)
{
    gunichar unit, low;
    if (!take_hex(reader, &unit)) {
        return false;
    }
    if (unit >= 0xd800 && unit < 0xdc00) {
        if (reader->end - reader->at < 2 || reader->at[0] != '\\' || reader->at[1] != 'u') {
            return wrong(reader, "the second half of a surrogate pair");
        }
        reader->at += 2;
        if (!take_hex(reader, &low)) {
            return false;
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return wrong(reader, "something behind a whole surrogate pair");
        }
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    } else if (unit >= 0xdc00 && unit <= 0xdfff) {
        return wrong(reader, "something behind the first half of a surrogate pair");
    }
    char bytes[6];
    g_string_append_len(text, bytes, g_unichar_to_utf8(unit, bytes));
    return true;
}

static bool
take_escape(struct reader *reader, GString *text)
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    if (is_next(reader, 'u')) {
        reader->at++;
        return take_unit(reader, text);
    }
    const char *found =
        reader->at < reader->end && *reader->at != '\0' ? strchr(names, *reader->at) : NULL;
    if (found == NULL) {
        return wrong(reader, "one of \" \\ / b f n r t u");
    }
    g_string_append_c(text, bytes[found - names]);
    reader->at++;
    return true;
}

static bool
take_text(struct reader *reader, GString *text, const char *expected)
{
    g_string_truncate(text, 0);
    if (!take_byte(reader, '"', expected)) {
        return false;
    }
    for (;;) {
        const char *from = reader->at;
        while (reader->at < reader->end && *reader->at != '"' && *reader->at != '\\' &&
               (unsigned char)*reader->at >= 0x20) {
            reader->at++;
        }
        g_string_append_len(text, from, reader->at - from);
        if (is_next(reader, '"')) {
            reader->at++;
            return true;
        }
        if (!is_next(reader, '\\')) {
            return wrong(reader, "the rest of a text");
        }
        reader->at++;
        if (!take_escape(reader, text)) {
            return false;
        }
    }
}

static bool
take_number(struct reader *reader, struct flat_field *field)
{
    const char *from;
    field->kind = FLAT_NUMBER;
    field->is_negative = is_next(reader, '-');
    reader->at += field->is_negative;
    from = reader->at;
    while (reader->at < reader->end && g_ascii_isdigit(*reader->at)) {
        uint64_t digit = (uint64_t)(*reader->at - '0');
        if (field->number > (UINT64_MAX - digit) / 10) {
            return wrong(reader, "the end of a number of at most 64 bits");
        }
        field->number = field->number * 10 + digit;
        reader->at++;
    }
    if (reader->at == from) {
        return wrong(reader, "a text, a whole number, true, false or null");
    }
    if (reader->at - from > 1 && *from == '0') {
        reader->at = from + 1;
        return wrong(reader, "the end of a number, which begins with no 0,");
    }
    if (is_next(reader, '.') || is_next(reader, 'e') || is_next(reader, 'E')) {
        return wrong(reader, "the end of a whole number");
    }
    return true;
}

static bool
take_word(struct reader *reader, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0) {
        return false;
    }
    reader->at += size;
    return true;
}

static bool
take_value(struct reader *reader, struct flat_field *field, GString *text)
{
    skip_space(reader);
    if (is_next(reader, '"')) {
        field->kind = FLAT_TEXT;
        field->text = text;
        return take_text(reader, text, "a text");
    }
    if (take_word(reader, "null")) {
        field->kind = FLAT_NULL;
    } else if (take_word(reader, "true") || take_word(reader, "false")) {
        field->kind = FLAT_BOOL;
        field->is_true = reader->at[-2] == 'u';
    } else {
        return take_number(reader, field);
    }
    return true;
}

static bool
take_fields(struct reader *reader, flat_take take, void *arg, GString *name, GString *text)
{
    skip_space(reader);
    if (is_next(reader, '}')) {
        reader->at++;
        return true;
    }
    for (;;) {
        struct flat_field field = {0};
        skip_space(reader);
        if (!take_text(reader, name, "a field's name in quotes")) {
            return false;
        }
        field.name = name->str;
        if (!take_byte(reader, ':', "':'") || !take_value(reader, &field, text) ||
            !take(arg, &field, reader->error)) {
            return false;
        }
        skip_space(reader);
        if (is_next(reader, '}')) {
            reader->at++;
            return true;
        }
        if (!take_byte(reader, ',', "',' or '}'")) {
            return false;
        }
    }
}

bool
flat_read(const char *line, size_t size, flat_take take, void *arg, char *error)
{
    struct reader reader = {.at = line, .end = line + size, .start = line, .error = error};
    g_autoptr(GString) name = g_string_new(NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    const char *invalid;
    /* A NUL is no space and no text of JSON: it is met by what follows. */
    if (!g_utf8_validate_len(line, size, &invalid) && *invalid != '\0') {
        snprintf(error, FLAT_ERROR_SIZE, "byte %zu is 0x%02x, which is not UTF-8",
                 (size_t)(invalid - line) + 1, (unsigned char)*invalid);
        return false;
    }
    if (!take_byte(&reader, '{', "'{'") || !take_fields(&reader, take, arg, name, text)) {
        return false;
    }
    skip_space(&reader);
    return reader.at == reader.end || wrong(&reader, "the end of the line");
}
