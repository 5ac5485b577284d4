/* What may change while a node runs. */
#include <config.h>

#include "core/config/draft.h"
#include "core/config/rows.h"

static bool
has_section(const GPtrArray *rows, const char *title)
{
    for (guint i = 0; i < rows->len; i++) {
        const struct yk_config_row *row = g_ptr_array_index(rows, i);
        if (strcmp(row->title, title) == 0) {
            return true;
        }
    }
    return false;
}

static enum yk_err
row_refuse(const struct yk_config *next, const struct yk_config_row *row, char *error,
           const char *what)
{
    const struct yk_place place = {.file = next->file, .line = row->line};
    return yk_place_fail(
        &place, YK_EINVALID, error,
        "[%s] %s while the node runs: restart it, or take this change back; the old "
        "config stays",
        row->title, what);
}

/* The rows differ at this index, at the latest. One of them may be NULL: that config has ended. */
static enum yk_err
rows_refuse(const struct yk_config *next, const GPtrArray *now_rows, const GPtrArray *next_rows,
            guint index, char *error)
{
    const struct yk_config_row *now_row =
        index < now_rows->len ? g_ptr_array_index(now_rows, index) : NULL;
    const struct yk_config_row *next_row =
        index < next_rows->len ? g_ptr_array_index(next_rows, index) : NULL;
    if (next_row != NULL && !has_section(now_rows, next_row->title)) {
        return row_refuse(next, next_row, error, "cannot be added");
    }
    if (now_row != NULL && !has_section(next_rows, now_row->title)) {
        struct yk_config_row gone = *now_row;
        gone.line = 0;
        return row_refuse(next, &gone, error, "cannot be removed");
    }
    g_autofree char *now_text = yk_text_show(now_row != NULL ? now_row->text : "");
    g_autofree char *next_text = yk_text_show(next_row != NULL ? next_row->text : "");
    g_autofree char *what =
        g_strdup_printf("%s cannot change from %s to %s",
                        (next_row != NULL ? next_row : now_row)->key, now_text, next_text);
    return row_refuse(next, next_row != NULL ? next_row : now_row, error, what);
}

enum yk_err
yk_config_check_reload(const struct yk_config *now, const struct yk_config *next, char *error)
{
    g_autoptr(GPtrArray) now_rows = yk_config_rows(now, false);
    g_autoptr(GPtrArray) next_rows = yk_config_rows(next, false);
    for (guint i = 0; i < MAX(now_rows->len, next_rows->len); i++) {
        if (i >= MIN(now_rows->len, next_rows->len)) {
            return rows_refuse(next, now_rows, next_rows, i, error);
        }
        const struct yk_config_row *a = g_ptr_array_index(now_rows, i);
        const struct yk_config_row *b = g_ptr_array_index(next_rows, i);
        bool is_same_key = strcmp(a->title, b->title) == 0 && strcmp(a->key, b->key) == 0;
        if (!is_same_key || (strcmp(a->text, b->text) != 0 && !b->may_reload)) {
            return rows_refuse(next, now_rows, next_rows, i, error);
        }
    }
    return YK_OK;
}
