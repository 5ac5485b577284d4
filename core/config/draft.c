/* Drafts: sections and entries, their names and places. */
#include <config.h>

#include "core/config/draft.h"

#include <stdarg.h>
#include <stdio.h>

/* Bytes of a file's name and of an -o that a message shows. */
enum { PLACE_SIZE_MAX = 160 };

const char *const yk_section_names[YK_N_SECTIONS + 1] = {
    "cluster", "coordinator", "node", "bucket", "frontend", "backend", "filter", NULL,
};

static void
entry_free(void *arg)
{
    struct yk_entry *entry = arg;
    g_free(entry->name);
    g_free(entry->key);
    g_free(entry->text);
    g_free(entry);
}

static void
section_free(void *arg)
{
    struct yk_draft_section *section = arg;
    g_free(section->title);
    g_free(section->name);
    g_ptr_array_unref(section->entries);
    g_free(section);
}

void
yk_draft_init(struct yk_draft *draft, const char *file)
{
    *draft = (struct yk_draft){
        .file = file,
        .sections = g_ptr_array_new_with_free_func(section_free),
        .by_title = g_hash_table_new(g_str_hash, g_str_equal),
        .overrides = g_ptr_array_new_with_free_func(entry_free),
    };
}

void
yk_draft_done(struct yk_draft *draft)
{
    g_hash_table_unref(draft->by_title);
    g_ptr_array_unref(draft->sections);
    g_ptr_array_unref(draft->overrides);
    *draft = (struct yk_draft){0};
}

static char *
title_make(enum yk_section kind, const char *name)
{
    return g_strconcat(yk_section_names[kind], *name != '\0' ? " " : "", name, NULL);
}

struct yk_draft_section *
yk_draft_add(struct yk_draft *draft, enum yk_section kind, const char *name,
             const struct yk_place *place)
{
    struct yk_draft_section *section = g_new0(struct yk_draft_section, 1);
    section->kind = kind;
    section->title = title_make(kind, name);
    section->name = g_strdup(name);
    section->place = *place;
    section->entries = g_ptr_array_new_with_free_func(entry_free);
    g_ptr_array_add(draft->sections, section);
    g_hash_table_insert(draft->by_title, section->title, section);
    return section;
}

struct yk_draft_section *
yk_draft_find(const struct yk_draft *draft, enum yk_section kind, const char *name)
{
    g_autofree char *title = title_make(kind, name);
    return g_hash_table_lookup(draft->by_title, title);
}

const char **
yk_draft_names(const struct yk_draft *draft, enum yk_section kind)
{
    const char **names = g_new0(const char *, draft->sections->len + 1);
    size_t n = 0;
    for (guint i = 0; i < draft->sections->len; i++) {
        const struct yk_draft_section *section = g_ptr_array_index(draft->sections, i);
        if (section->kind == kind) {
            names[n++] = section->name;
        }
    }
    return names;
}

static void
layers_add(GPtrArray *layers, const struct yk_draft_section *section, const GPtrArray *entries)
{
    for (guint i = 0; i < entries->len; i++) {
        struct yk_entry *entry = g_ptr_array_index(entries, i);
        bool is_named = entry->name == NULL || strcmp(entry->name, section->name) == 0;
        if (entry->kind == section->kind && is_named) {
            g_ptr_array_add(layers, entry);
        }
    }
}

GPtrArray *
yk_draft_layers(const struct yk_draft *draft, const struct yk_draft_section *section,
                const struct yk_draft_section *node, bool is_chosen)
{
    GPtrArray *layers = g_ptr_array_new();
    layers_add(layers, section, section->entries);
    if (section != node) {
        layers_add(layers, section, node->entries);
    }
    if (section != node || is_chosen) {
        layers_add(layers, section, draft->overrides);
    }
    return layers;
}

bool
yk_name_is_valid(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return size > 0 && size <= YK_NAME_SIZE_MAX && name[size] == '\0';
}

/* How many names stand behind each kind. */
static bool
words_count_is_right(enum yk_section kind, guint n_names)
{
    switch (kind) {
    case YK_SECTION_CLUSTER:
        return n_names == 0;
    case YK_SECTION_FRONTEND:
        return n_names == 1 || n_names == 2;
    default:
        return n_names == 1;
    }
}

enum yk_err
yk_section_title_parse(const char *title, enum yk_section *ret_kind, const char **ret_name,
                       char *error)
{
    g_auto(GStrv) words = g_strsplit(title, " ", 4);
    uint32_t kind = 0;
    while (kind < YK_N_SECTIONS && g_strcmp0(words[0], yk_section_names[kind]) != 0) {
        kind++;
    }
    if (kind == YK_N_SECTIONS) {
        yk_unknown_name("section", words[0] != NULL ? words[0] : "", NULL, yk_section_names, error);
        return YK_EINVALID;
    }
    guint n_names = g_strv_length(words) - 1;
    if (!words_count_is_right(kind, n_names)) {
        snprintf(error, YK_ERROR_SIZE, "write [%s%s] with one blank between words",
                 yk_section_names[kind],
                 kind == YK_SECTION_CLUSTER    ? ""
                 : kind == YK_SECTION_FRONTEND ? " NAME] or [frontend NAME INSTANCE"
                                               : " NAME");
        return YK_EINVALID;
    }
    for (guint i = 1; i <= n_names; i++) {
        if (!yk_name_is_valid(words[i])) {
            g_autofree char *shown = yk_text_show(words[i]);
            snprintf(error, YK_ERROR_SIZE,
                     "%s is not a name: use a-z, 0-9, _ and -, at most %d of them", shown,
                     YK_NAME_SIZE_MAX);
            return YK_EINVALID;
        }
    }
    *ret_kind = kind;
    *ret_name = n_names == 0 ? "" : strchr(title, ' ') + 1;
    return YK_OK;
}

/* The place as it stands at the head of a message; of a long file name its end, of a long -o its
 * start. */
static char *
place_print(const struct yk_place *place)
{
    if (place->override != NULL) {
        bool is_long = strlen(place->override) > PLACE_SIZE_MAX;
        return g_strdup_printf("-o %.*s%s", PLACE_SIZE_MAX, place->override, is_long ? "..." : "");
    }
    const char *file = place->file != NULL ? place->file : "built-in config";
    size_t size = strlen(file);
    const char *tail = size > PLACE_SIZE_MAX ? file + size - PLACE_SIZE_MAX : file;
    if (place->line == 0) {
        return g_strdup(tail);
    }
    return g_strdup_printf("%s:%u", tail, place->line);
}

enum yk_err
yk_place_fail(const struct yk_place *place, enum yk_err err, char *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *words = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_autofree char *where = place_print(place);
    g_autofree char *line = g_strdup_printf("%s: %s", where, words);
    g_autofree char *valid = g_utf8_make_valid(line, -1);
    for (char *at = valid; *at != '\0'; at++) {
        if (g_ascii_iscntrl(*at)) {
            *at = '?';
        }
    }
    size_t size = strlen(valid);
    if (size >= YK_ERROR_SIZE) {
        size = YK_ERROR_SIZE - 1;
        while (size > 0 && ((unsigned char)valid[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    memcpy(error, valid, size);
    error[size] = '\0';
    return err;
}
