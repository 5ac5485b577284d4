/* Options of plugins and of the core's own config sections, checked against their tables; and the
 * making of plugin instances, which get them.
 *
 * Threads: none of it is shared while it changes. Ownership: a yk_settings owns its values. */
#ifndef YK_BASE_OPTIONS_H
#define YK_BASE_OPTIONS_H

#include <yakumo/plugin.h>

#include "core/base/limits.h"

/* A checked value with the memory behind it. */
struct yk_option_parsed {
    struct yk_option_value value; /* points into text and list below */
    char *text;                   /* g_malloc'd */
    char **list;                  /* g_strv, or NULL */
};

/* Checks text against the option. On failure writes a sentence without file and line ("'12x' is not
 * a size: ...") to error (YK_ERROR_SIZE bytes). text NULL: the option's default. Where there is no
 * default an empty text is none as well: number 0, no list. */
enum yk_err yk_option_parse(const struct yk_option *option, const char *text,
                            struct yk_option_parsed *ret_parsed, char *error) YK_MUST_CHECK;
void yk_option_parsed_done(struct yk_option_parsed *parsed);

/* The value in its one written form (64M for 65536K, yes for 1): the same values give the same
 * text, and parsing the text gives the value again. g_malloc'd. */
char *yk_option_print(const struct yk_option_value *value);

/* Entry `index` of a table, whose entries may be longer or shorter than the ones known here. */
const struct yk_option *yk_option_at(const struct yk_option *options, uint32_t index);

/* The entry of that name, or NULL. */
const struct yk_option *
yk_option_find(const struct yk_option *options, uint32_t n_options, const char *name);

/* The candidate that is most likely meant: nearest by edit distance without regard to case, and
 * either near or one a part of the other; else NULL. candidates ends with NULL. */
const char *yk_nearest_name(const char *name, const char *const *candidates);

/* Writes "unknown WHAT 'NAME' WHERE; did you mean 'X'?", or the known names where none is near, to
 * error (YK_ERROR_SIZE bytes). where may be NULL. */
void yk_unknown_name(const char *what, const char *name, const char *where,
                     const char *const *candidates, char *error);

/* Text for a message: in quotes, clipped, in valid UTF-8, on one line. g_malloc'd. */
char *yk_text_show(const char *text);

/* A plugin and the values of all its options, in the order of its table: what a config section
 * says. */
struct yk_settings {
    const struct yk_plugin *plugin;
    char *name;                      /* of the section: "memcached 2"; g_malloc'd */
    struct yk_option_parsed *values; /* plugin->n_options of them */
};

/* All options at their defaults. NULL: a default does not hold by the plugin's own table, which the
 * loader refuses beforehand. */
struct yk_settings *yk_settings_new(const struct yk_plugin *plugin, const char *name);
void yk_settings_free(struct yk_settings *settings);
/* Sets one option; unknown names are refused with the nearest known one. */
enum yk_err yk_settings_set(struct yk_settings *settings, const char *option, const char *text,
                            char *error) YK_MUST_CHECK;

/* create, config for each option, config_done. On failure nothing is left behind, and error
 * (YK_ERROR_SIZE bytes) says why: the plugin's own words where it gave some. host is a
 * yk_plugin_host's. */
enum yk_err yk_instance_new(const struct yk_settings *settings, const struct yk_host *host,
                            void **ret_self, char *error) YK_MUST_CHECK;
/* Calls config again for each option with YK_OPTION_RELOAD whose value in `next` is another; by the
 * thread that owns the instance. Stops at the first that the plugin refuses. */
enum yk_err yk_instance_reload(const struct yk_settings *now, const struct yk_settings *next,
                               const struct yk_host *host, void *self, char *error) YK_MUST_CHECK;
void yk_instance_free(const struct yk_settings *settings, void *self);

#endif
