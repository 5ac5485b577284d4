/* Man pages in roff, from option tables.
 *
 * Threads: one. Ownership: the caller's GString. */
#ifndef YK_TOOLS_MAN_H
#define YK_TOOLS_MAN_H

#include <glib.h>

#include <yakumo/plugin.h>

/* The page's title line. No date: the same tree gives the same page. */
void man_head(GString *page, const char *title, int section);
void man_section(GString *page, const char *title);
/* Paragraphs with blank lines between them, every byte as it is. */
void man_text(GString *page, const char *text);
/* Lines as they are, indented, in a fixed font. */
void man_example(GString *page, const char *text);
/* Each option with type, default, bounds, whether it may change, and its help. */
void man_options(GString *page, const struct yk_option *options, uint32_t n_options);
/* The whole page of a plugin: yakumo-NAME(7). */
void man_plugin(GString *page, const struct yk_plugin *plugin);

#endif
