/* The effective config as a file. */
#include <config.h>

#include <glib.h>

#include "core/config/rows.h"

/* A value as GKeyFile and our scan read it back: "\s" keeps a '#' from looking like a comment. */
static void
value_escape(GString *to, const char *text)
{
    static const char escaped[] = "\n\t\r\\", letters[] = "ntr\\";
    for (const char *at = text; *at != '\0'; at++) {
        const char *found = strchr(escaped, *at);
        if (found != NULL) {
            g_string_append_c(to, '\\');
            g_string_append_c(to, letters[found - escaped]);
        } else if (*at == '#' && at == text) {
            g_string_append(to, "\\s#"); /* the blank is dropped again */
        } else if (*at == ' ' && at[1] == '#') {
            g_string_append(to, "\\s");
        } else {
            g_string_append_c(to, *at);
        }
    }
}

char *
yk_config_dump(const struct yk_config *config)
{
    g_autoptr(GPtrArray) rows = yk_config_rows(config, true);
    GString *text = g_string_new(NULL);
    const char *title = "";
    for (guint i = 0; i < rows->len; i++) {
        const struct yk_config_row *row = g_ptr_array_index(rows, i);
        if (strcmp(row->title, title) != 0) {
            g_string_append_printf(text, "%s[%s]\n", text->len > 0 ? "\n" : "", row->title);
            title = row->title;
        }
        g_string_append_printf(text, "%s =%s", row->key, *row->text != '\0' ? " " : "");
        value_escape(text, row->text);
        g_string_append_c(text, '\n');
    }
    return g_string_free(text, FALSE);
}
