/* Overrides: "section.key=value" of -o, and "section.key = value" in a [node] section.
 *
 * No name and no key has a dot in it, so the first dot ends the kind, the second the name. */
#include <config.h>

#include <stdio.h>

#include "core/config/draft.h"

/* "frontend.memcached 2.listen" -> the entry's kind, name and key. [cluster] and [node] come
 * without a name: the node is the one that this process runs. On failure writes a sentence. */
static enum yk_err
path_parse(const char *path, struct yk_entry *entry, char *error)
{
    g_auto(GStrv) parts = g_strsplit(path, ".", 3);
    guint n_parts = g_strv_length(parts);
    const char *word = n_parts > 0 ? parts[0] : "";
    if (!g_strv_contains(yk_section_names, word)) {
        yk_unknown_name("section", word, NULL, yk_section_names, error);
        return YK_EINVALID;
    }
    bool is_cluster = strcmp(word, "cluster") == 0;
    bool has_name = !is_cluster && strcmp(word, "node") != 0;
    if (n_parts != (has_name ? 3 : 2) || *parts[n_parts - 1] == '\0') {
        g_autofree char *shown = yk_text_show(path);
        snprintf(error, YK_ERROR_SIZE, "%s is not the way to a key: write %s%s.KEY", shown, word,
                 has_name ? ".NAME" : "");
        return YK_EINVALID;
    }
    char *key = g_strdup(parts[n_parts - 1]);
    g_free(entry->key);
    entry->key = key;
    if (!has_name) {
        entry->kind = is_cluster ? YK_SECTION_CLUSTER : YK_SECTION_NODE;
        return YK_OK;
    }
    g_autofree char *title = g_strdup_printf("%s %s", word, parts[1]);
    const char *name;
    enum yk_err err = yk_section_title_parse(title, &entry->kind, &name, error);
    if (err == YK_OK) {
        entry->name = g_strdup(name);
    }
    return err;
}

static enum yk_err
text_check(const struct yk_place *place, const char *text, char *error)
{
    if (!g_utf8_validate(text, -1, NULL)) {
        return yk_place_fail(place, YK_ESYNTAX, error, "this is not UTF-8");
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (g_ascii_iscntrl(*at) && *at != '\t') {
            return yk_place_fail(place, YK_ESYNTAX, error, "control byte 0x%02x: remove it",
                                 (unsigned)(unsigned char)*at);
        }
    }
    if (strlen(text) > YK_CONFIG_SIZE_MAX) {
        return yk_place_fail(place, YK_ETOOLARGE, error, "more than %llu bytes: shorten it",
                             YK_CONFIG_SIZE_MAX);
    }
    return YK_OK;
}

enum yk_err
yk_draft_override(struct yk_draft *draft, const char *text, char *error)
{
    const struct yk_place place = {.file = draft->file, .override = text};
    enum yk_err err = text_check(&place, text, error);
    if (err != YK_OK) {
        return err;
    }
    const char *equals = strchr(text, '=');
    if (equals == NULL) {
        return yk_place_fail(&place, YK_ESYNTAX, error,
                             "there is no '=': write -o section.key=value, such as "
                             "-o bucket.default.memory_max=64M");
    }
    struct yk_entry *entry = g_new0(struct yk_entry, 1);
    entry->text = g_strstrip(g_strdup(equals + 1));
    entry->place = place;
    g_ptr_array_add(draft->overrides, entry);
    g_autofree char *path = g_strstrip(g_strndup(text, (size_t)(equals - text)));
    char reason[YK_ERROR_SIZE];
    err = path_parse(path, entry, reason);
    return err == YK_OK ? YK_OK : yk_place_fail(&place, err, error, "%s", reason);
}

/* What may be set from elsewhere is there, or can be made. */
static enum yk_err
target_find(struct yk_draft *draft, const struct yk_entry *entry, char *error)
{
    if (entry->name == NULL || yk_draft_find(draft, entry->kind, entry->name) != NULL) {
        return YK_OK;
    }
    bool is_plugin = entry->kind == YK_SECTION_BACKEND || entry->kind == YK_SECTION_FILTER;
    bool is_built_in = draft->file == NULL && entry->place.override != NULL;
    if (is_plugin || is_built_in || entry->kind == YK_SECTION_COORDINATOR) {
        yk_draft_add(draft, entry->kind, entry->name, &entry->place);
        return YK_OK;
    }
    g_autofree const char **known = yk_draft_names(draft, entry->kind);
    char reason[YK_ERROR_SIZE];
    yk_unknown_name(yk_section_names[entry->kind], entry->name, NULL, known, reason);
    return yk_place_fail(&entry->place, YK_EINVALID, error,
                         "%s (an override makes none: add [%s NAME] to the file)", reason,
                         yk_section_names[entry->kind]);
}

static enum yk_err
node_resolve(struct yk_draft *draft, const struct yk_draft_section *node, char *error)
{
    for (guint i = 0; i < node->entries->len; i++) {
        struct yk_entry *entry = g_ptr_array_index(node->entries, i);
        if (strchr(entry->key, '.') == NULL) {
            continue;
        }
        char reason[YK_ERROR_SIZE];
        enum yk_err err = path_parse(entry->key, entry, reason);
        if (err != YK_OK) {
            return yk_place_fail(&entry->place, err, error, "%s", reason);
        }
        if (entry->kind < YK_SECTION_BUCKET) {
            return yk_place_fail(
                &entry->place, YK_EINVALID, error,
                "a node overrides bucket, frontend, backend and filter only: write "
                "this key in its own section");
        }
        err = target_find(draft, entry, error);
        if (err != YK_OK) {
            return err;
        }
    }
    return YK_OK;
}

enum yk_err
yk_draft_resolve(struct yk_draft *draft, char *error)
{
    enum yk_err err = YK_OK;
    for (guint i = 0; i < draft->overrides->len && err == YK_OK; i++) {
        err = target_find(draft, g_ptr_array_index(draft->overrides, i), error);
    }
    for (guint i = 0; i < draft->sections->len && err == YK_OK; i++) {
        const struct yk_draft_section *section = g_ptr_array_index(draft->sections, i);
        if (section->kind == YK_SECTION_NODE) {
            err = node_resolve(draft, section, error);
        }
    }
    return err;
}
