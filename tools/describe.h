/* An option table in words, for people: of a plugin, or of a section of the config file.
 *
 * Threads: one. Ownership: texts are the caller's (g_malloc'd). */
#ifndef YK_TOOLS_DESCRIBE_H
#define YK_TOOLS_DESCRIBE_H

#include <yakumo/plugin.h>

/* "size", "duration", ... */
const char *describe_type(const struct yk_option *option);
/* "1K to 64M", "at least 1", "red, green"; NULL: any. */
char *describe_bounds(const struct yk_option *option);
/* "may change on reload", "fixed when the data is made", "set at start". */
const char *describe_change(const struct yk_option *option);
/* "[backend memory]": where its options stand in a config file. */
char *describe_section(const struct yk_plugin *plugin);

#endif
