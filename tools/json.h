/* JSON, written by hand: enough for the tool's lists.
 *
 * Threads: one. Ownership: the caller's GString. */
#ifndef YK_TOOLS_JSON_H
#define YK_TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/* Each writes "key": value, with a ',' in front unless an object or array has just been opened.
 * text NULL: null. */
void json_text(GString *json, const char *key, const char *text);
void json_number(GString *json, const char *key, uint64_t number);
/* raw: JSON as it is, such as a number that was formatted elsewhere. */
void json_raw(GString *json, const char *key, const char *raw);
void json_bool(GString *json, const char *key, bool is_true);
/* bracket: '{' or '['. key NULL: an element of an array. */
void json_open(GString *json, const char *key, char bracket);
void json_close(GString *json, char bracket);

#endif
