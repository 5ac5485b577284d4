/* The config between text and structs: sections of keys with the place where each was written.
 * Private to this room.
 *
 *     text -> yk_draft_read -> sections      -o -> yk_draft_override -> overrides
 *     both -> yk_draft_resolve -> yk_draft_layers: one section for one node, later entries win
 *
 * Threads: belongs to one parse. Ownership: a draft owns its sections and entries; texts of the
 * source (file name, -o) are borrowed. */
#ifndef YK_CONFIG_DRAFT_H
#define YK_CONFIG_DRAFT_H

#include <glib.h>

#include "core/config/config.h"

enum yk_section {
    YK_SECTION_CLUSTER,
    YK_SECTION_COORDINATOR,
    YK_SECTION_NODE,
    YK_SECTION_BUCKET,
    YK_SECTION_FRONTEND,
    YK_SECTION_BACKEND,
    YK_SECTION_FILTER,
    YK_N_SECTIONS,
};

/* Where something was written. */
struct yk_place {
    const char *file;     /* NULL: the built-in config */
    uint32_t line;        /* 0: nowhere in it */
    const char *override; /* the text of -o; NULL: not from there */
};

/* One key and its value. */
struct yk_entry {
    enum yk_section kind; /* of the section that it sets, wherever it stands */
    char *name;           /* of that section; NULL: the one it stands in, or the only one */
    char *key;
    char *text; /* escapes undone, outer blanks dropped */
    struct yk_place place;
};

struct yk_draft_section {
    enum yk_section kind;
    char *title; /* as between the brackets: "frontend memcached 2" */
    char *name;  /* without the kind: "memcached 2"; "" for cluster */
    struct yk_place place;
    GPtrArray *entries; /* struct yk_entry */
};

struct yk_draft {
    const char *file;     /* NULL: the built-in config */
    GPtrArray *sections;  /* struct yk_draft_section, in the order of the file */
    GHashTable *by_title; /* title -> its struct yk_draft_section; borrows both */
    GPtrArray *overrides; /* struct yk_entry, in the order of the command line */
};

void yk_draft_init(struct yk_draft *draft, const char *file);
void yk_draft_done(struct yk_draft *draft);
struct yk_draft_section *yk_draft_add(struct yk_draft *draft, enum yk_section kind,
                                      const char *name, const struct yk_place *place);
struct yk_draft_section *
yk_draft_find(const struct yk_draft *draft, enum yk_section kind, const char *name);
/* The names of all sections of that kind, ended by NULL; borrowed, in an array to g_free. */
const char **yk_draft_names(const struct yk_draft *draft, enum yk_section kind);

/* Reads the text of a file. */
enum yk_err
yk_draft_read(struct yk_draft *draft, const char *text, size_t size, char *error) YK_MUST_CHECK;

/* Adds one "section.key=value" of -o. */
enum yk_err yk_draft_override(struct yk_draft *draft, const char *text, char *error) YK_MUST_CHECK;

/* Turns the dotted keys of [node] sections into overrides, and sees that what they and -o speak of
 * is there. Sections of plugins are made; buckets and frontends by -o only over the built-in
 * config. */
enum yk_err yk_draft_resolve(struct yk_draft *draft, char *error) YK_MUST_CHECK;

/* The entries that make up a section for one node: its own, then the node's overrides, then -o.
 * Those of -o node.key count only where is_chosen. Borrowed entries in an array to free. */
GPtrArray *yk_draft_layers(const struct yk_draft *draft, const struct yk_draft_section *section,
                           const struct yk_draft_section *node, bool is_chosen);

/* "cluster", "node", ...; entry YK_N_SECTIONS is NULL. */
extern const char *const yk_section_names[YK_N_SECTIONS + 1];

/* The kind and name of "frontend memcached 2". On failure writes a sentence to error. */
enum yk_err yk_section_title_parse(const char *title, enum yk_section *ret_kind,
                                   const char **ret_name, char *error) YK_MUST_CHECK;

/* [a-z0-9_-]+, not too long. */
bool yk_name_is_valid(const char *name);

/* Writes "FILE:LINE: words" to error, one line, and returns err. */
enum yk_err yk_place_fail(const struct yk_place *place, enum yk_err err, char *error,
                          const char *format, ...) YK_PRINTF(4, 5);

#endif
