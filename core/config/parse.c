/* The grammar: GKeyFile's, after a scan of our own.
 *
 * GKeyFile joins sections of one name, lets the last of two equal keys win, takes a comment behind
 * a value as part of it and knows no line numbers. So the scan finds sections, keys and their lines
 * and refuses all that; GKeyFile then gives the values, with its escapes undone. What the scan
 * accepts, GKeyFile must. */
#include <config.h>

#include <stdio.h>

#include "core/config/draft.h"

struct scan {
    struct yk_draft *draft;
    struct yk_place place;            /* of the line under the scan */
    struct yk_draft_section *section; /* the one it stands in, or NULL */
    GHashTable *keys;                 /* key -> its struct yk_entry, of the section; all borrowed */
    char *error;
};

static enum yk_err
section_scan(struct scan *scan, char *line)
{
    char *end = strchr(line, ']');
    if (end == NULL || end[1] != '\0') {
        g_autofree char *shown = yk_text_show(line);
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "%s is not a section: write [KIND NAME], and nothing behind the ']' "
                             "(comments stand on lines of their own)",
                             shown);
    }
    *end = '\0';
    const char *title = line + 1, *name;
    enum yk_section kind;
    char reason[YK_ERROR_SIZE];
    enum yk_err err = yk_section_title_parse(title, &kind, &name, reason);
    if (err != YK_OK) {
        return yk_place_fail(&scan->place, err, scan->error, "%s", reason);
    }
    const struct yk_draft_section *first = yk_draft_find(scan->draft, kind, name);
    if (first != NULL) {
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "[%s] stands twice, first in line %u: join the two", title,
                             first->place.line);
    }
    if (scan->draft->sections->len >= YK_CONFIG_SECTIONS_MAX) {
        return yk_place_fail(&scan->place, YK_ETOOLARGE, scan->error,
                             "more than %d sections: split the file", YK_CONFIG_SECTIONS_MAX);
    }
    scan->section = yk_draft_add(scan->draft, kind, name, &scan->place);
    g_hash_table_remove_all(scan->keys);
    return YK_OK;
}

/* A '#' behind a blank, anywhere after the '='. */
static bool
has_comment(const char *value)
{
    for (const char *at = strchr(value, '#'); at != NULL; at = strchr(at + 1, '#')) {
        if (at[-1] == ' ' || at[-1] == '\t') {
            return true;
        }
    }
    return false;
}

static enum yk_err
key_check(struct scan *scan, const char *key, const char *value)
{
    g_autofree char *shown = yk_text_show(key);
    if (*key == '\0') {
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "there is no key before the '=': write key = value");
    }
    if (strpbrk(key, "[]") != NULL) {
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "%s is not a key: write key = value, without brackets", shown);
    }
    if (strcmp(key, "Encoding") == 0) {
        /* GKeyFile takes this one for its own. */
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "unknown key 'Encoding'; the file is UTF-8: remove it");
    }
    if (scan->section == NULL) {
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "%s stands before the first section: put it below a [section]", shown);
    }
    const struct yk_entry *first = g_hash_table_lookup(scan->keys, key);
    if (first != NULL) {
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "%s stands twice in [%s], first in line %u: keep one", shown,
                             scan->section->title, first->place.line);
    }
    if (has_comment(value)) {
        return yk_place_fail(
            &scan->place, YK_ESYNTAX, scan->error,
            "a value followed by ' #': comments stand on lines of their own (for a "
            "value with blank and '#' in it write \\s#)");
    }
    return YK_OK;
}

static enum yk_err
line_scan(struct scan *scan, char *line)
{
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#') {
        return YK_OK;
    }
    for (const char *at = line; *at != '\0'; at++) {
        if (g_ascii_iscntrl(*at) && *at != '\t') {
            return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                                 "control byte 0x%02x: remove it", (unsigned)(unsigned char)*at);
        }
    }
    g_strchomp(line);
    if (*line == '[') {
        return section_scan(scan, line);
    }
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        g_autofree char *shown = yk_text_show(line);
        return yk_place_fail(&scan->place, YK_ESYNTAX, scan->error,
                             "%s is neither [section] nor key = value nor # comment", shown);
    }
    *equals = '\0';
    g_strchomp(line);
    enum yk_err err = key_check(scan, line, equals + 1);
    if (err != YK_OK) {
        return err;
    }
    struct yk_entry *entry = g_new0(struct yk_entry, 1);
    entry->kind = scan->section->kind;
    entry->key = g_strdup(line);
    entry->place = scan->place;
    g_ptr_array_add(scan->section->entries, entry);
    g_hash_table_insert(scan->keys, entry->key, entry);
    return YK_OK;
}

static uint32_t
line_of(const char *text, const char *at)
{
    uint32_t line = 1;
    for (; text < at; text++) {
        line += *text == '\n';
    }
    return line;
}

/* What no line of the file may have. */
static enum yk_err
text_check(const char *file, const char *text, size_t size, char *error)
{
    struct yk_place place = {.file = file, .line = 1};
    if (size > YK_CONFIG_SIZE_MAX) {
        return yk_place_fail(&place, YK_ETOOLARGE, error,
                             "the file has %zu bytes, more than the %llu that are read: split it",
                             size, YK_CONFIG_SIZE_MAX);
    }
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        return yk_place_fail(&place, YK_ESYNTAX, error,
                             "the file begins with a byte order mark: save it without one");
    }
    const char *nul = size > 0 ? memchr(text, '\0', size) : NULL;
    if (nul != NULL) {
        place.line = line_of(text, nul);
        return yk_place_fail(&place, YK_ESYNTAX, error, "a NUL byte: this is not a text file");
    }
    const char *end;
    if (size > 0 && !g_utf8_validate(text, (gssize)size, &end)) {
        place.line = line_of(text, end);
        return yk_place_fail(&place, YK_ESYNTAX, error,
                             "byte 0x%02x is not UTF-8: save the file as UTF-8",
                             (unsigned)(unsigned char)*end);
    }
    return YK_OK;
}

static enum yk_err
lines_scan(struct yk_draft *draft, const char *text, size_t size, char *error)
{
    g_autoptr(GHashTable) keys = g_hash_table_new(g_str_hash, g_str_equal);
    struct scan scan = {
        .draft = draft, .place = {.file = draft->file}, .keys = keys, .error = error};
    for (const char *at = text, *end = text + size; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        bool has_return = newline != NULL && newline > at && newline[-1] == '\r';
        g_autofree char *line = g_strndup(at, (size_t)(line_end - at) - has_return);
        scan.place.line++;
        enum yk_err err = line_scan(&scan, line);
        if (err != YK_OK) {
            return err;
        }
        at = newline != NULL ? newline + 1 : end;
    }
    return YK_OK;
}

static enum yk_err
values_read(struct yk_draft *draft, GKeyFile *key_file, char *error)
{
    for (guint i = 0; i < draft->sections->len; i++) {
        const struct yk_draft_section *section = g_ptr_array_index(draft->sections, i);
        for (guint j = 0; j < section->entries->len; j++) {
            struct yk_entry *entry = g_ptr_array_index(section->entries, j);
            g_autoptr(GError) escape_error = NULL;
            entry->text =
                g_key_file_get_string(key_file, section->title, entry->key, &escape_error);
            if (escape_error != NULL) {
                g_autofree char *raw =
                    g_key_file_get_value(key_file, section->title, entry->key, NULL);
                g_autofree char *shown = yk_text_show(raw != NULL ? raw : "");
                return yk_place_fail(
                    &entry->place, YK_ESYNTAX, error,
                    "%.60s: %s has a bad escape: after a \\ write s, t, n, r or \\", entry->key,
                    shown);
            }
            g_strstrip(entry->text);
        }
    }
    return YK_OK;
}

enum yk_err
yk_draft_read(struct yk_draft *draft, const char *text, size_t size, char *error)
{
    enum yk_err err = text_check(draft->file, text, size, error);
    if (err == YK_OK) {
        err = lines_scan(draft, text, size, error);
    }
    if (err != YK_OK) {
        return err;
    }
    g_autoptr(GKeyFile) key_file = g_key_file_new();
    g_autoptr(GError) key_file_error = NULL;
    if (size > 0 &&
        !g_key_file_load_from_data(key_file, text, size, G_KEY_FILE_NONE, &key_file_error)) {
        const struct yk_place place = {.file = draft->file, .line = 1};
        return yk_place_fail(&place, YK_ESYNTAX, error, "GKeyFile refuses the file: %s",
                             key_file_error->message);
    }
    return values_read(draft, key_file, error);
}
