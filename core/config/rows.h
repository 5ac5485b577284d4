/* A config as rows of section, key and value: what dump prints and what reload compares. Private to
 * this room.
 *
 * Threads: belongs to one caller. Ownership: rows own their texts. */
#ifndef YK_CONFIG_ROWS_H
#define YK_CONFIG_ROWS_H

#include <glib.h>

#include "core/config/config.h"

struct yk_config_row {
    char *title;     /* of the section: "bucket default" */
    const char *key; /* of a table, lives as long as the plugins */
    char *text;      /* the value in its one written form, not escaped */
    uint32_t line;   /* of the section; 0: not from a file, or not one section */
    bool may_reload;
};

/* struct yk_config_row, sections and keys always in the same order. with_others: the sections of
 * the other nodes too, which this one needs to know of but does not run by. */
GPtrArray *yk_config_rows(const struct yk_config *config, bool with_others);

#endif
