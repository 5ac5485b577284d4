/* One flat JSON object (RFC 8259): names with texts, whole numbers, true, false or null; no arrays
 * and no objects within.
 *
 * Threads: one. Ownership: a field's text belongs to the reader, for the call only. */
#ifndef YK_TOOLS_HISTORY_FLAT_H
#define YK_TOOLS_HISTORY_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

enum { FLAT_ERROR_SIZE = 512 };

enum flat_kind { FLAT_NULL, FLAT_BOOL, FLAT_NUMBER, FLAT_TEXT };

struct flat_field {
    const char *name;
    enum flat_kind kind;
    bool is_true;
    bool is_negative; /* of a number, of which `number` is the size */
    uint64_t number;
    const GString *text; /* UTF-8; may hold NUL */
};

/* False: wrong, and `error` says why. */
typedef bool (*flat_take)(void *arg, const struct flat_field *field, char *error);

/* Reads a line without its end, and hands over its fields in their order. Whether a name stands
 * there twice is for the taker to see. */
bool flat_read(const char *line, size_t size, flat_take take, void *arg, char *error);

#endif
