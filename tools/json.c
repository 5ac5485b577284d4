/* Writes JSON (RFC 8259). Texts that are not UTF-8, such as names of files, are made so. */
#include <config.h>

#include "tools/json.h"

static void
put_text(GString *json, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_string_append_c(json, '"');
    for (const char *at = valid; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            g_string_append_printf(json, "\\%c", *at);
        } else if ((unsigned char)*at < 0x20) {
            g_string_append_printf(json, "\\u%04x", (unsigned)*at);
        } else {
            g_string_append_c(json, *at);
        }
    }
    g_string_append_c(json, '"');
}

static void
put_key(GString *json, const char *key)
{
    char last = json->len > 0 ? json->str[json->len - 1] : '[';
    if (last != '{' && last != '[') {
        g_string_append_c(json, ',');
    }
    if (key != NULL) {
        put_text(json, key);
        g_string_append_c(json, ':');
    }
}

void
json_text(GString *json, const char *key, const char *text)
{
    put_key(json, key);
    if (text != NULL) {
        put_text(json, text);
    } else {
        g_string_append(json, "null");
    }
}

void
json_number(GString *json, const char *key, uint64_t number)
{
    put_key(json, key);
    g_string_append_printf(json, "%" G_GUINT64_FORMAT, number);
}

void
json_raw(GString *json, const char *key, const char *raw)
{
    put_key(json, key);
    g_string_append(json, raw);
}

void
json_bool(GString *json, const char *key, bool is_true)
{
    put_key(json, key);
    g_string_append(json, is_true ? "true" : "false");
}

void
json_open(GString *json, const char *key, char bracket)
{
    put_key(json, key);
    g_string_append_c(json, bracket);
}

void
json_close(GString *json, char bracket)
{
    g_string_append_c(json, bracket);
}
