/* Writes man pages. Every text comes from a table and may hold any byte, so all of it is escaped
 * here; only the requests are roff. */
#include <config.h>

#include "tools/man.h"

#include <string.h>

#include "plugins/plugins.h"
#include "tools/describe.h"

/* One line of text, without its newline: a '.' or ''' in front would be a request, a '\' an escape,
 * and a bare '-' may be set as a hyphen that cannot be searched for. */
static void
put_line(GString *page, const char *text, size_t size)
{
    if (size > 0 && (text[0] == '.' || text[0] == '\'')) {
        g_string_append(page, "\\&");
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\\') {
            g_string_append(page, "\\e");
        } else if (text[i] == '-') {
            g_string_append(page, "\\-");
        } else {
            g_string_append_c(page, text[i]);
        }
    }
    g_string_append_c(page, '\n');
}

static void
put_text_line(GString *page, const char *text)
{
    put_line(page, text, strlen(text));
}

/* Lines of text, `between` for each run of blank ones. */
static void
put_lines(GString *page, const char *text, const char *between)
{
    bool is_pending = false;
    bool is_first = true;
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        if (size == 0) {
            is_pending = !is_first;
        } else {
            g_string_append(page, is_pending ? between : "");
            put_line(page, text, size);
            is_pending = is_first = false;
        }
        text += size + (text[size] == '\n');
    }
}

void
man_head(GString *page, const char *title, int section)
{
    g_autofree char *upper = g_ascii_strup(title, -1);
    g_string_append_printf(page, ".\\\" Made from the option tables by yakumo; do not edit.\n");
    g_string_append_printf(page, ".TH \"%s\" \"%d\" \"\" \"yakumo %s\" \"yakumo\"\n", upper,
                           section, PACKAGE_VERSION);
}

void
man_section(GString *page, const char *title)
{
    g_string_append_printf(page, ".SH %s\n", title);
}

void
man_text(GString *page, const char *text)
{
    g_string_append(page, ".PP\n");
    put_lines(page, text, ".PP\n");
}

void
man_example(GString *page, const char *text)
{
    g_string_append(page, ".PP\n.RS 4\n.nf\n");
    put_lines(page, text, ".sp\n");
    g_string_append(page, ".fi\n.RE\n");
}

static void
put_option(GString *page, const struct yk_option *option)
{
    g_autofree char *bounds = describe_bounds(option);
    g_string_append(page, ".TP\n.B ");
    put_text_line(page, option->name);
    g_autofree char *facts = g_strdup_printf(
        "%s%s%s; default %s; %s.", describe_type(option), bounds != NULL ? ", " : "",
        bounds != NULL ? bounds : "", option->fallback != NULL ? option->fallback : "(none)",
        describe_change(option));
    facts[0] = g_ascii_toupper(facts[0]);
    put_text_line(page, facts);
    g_string_append(page, ".br\n");
    put_lines(page, option->help, ".sp\n");
}

void
man_options(GString *page, const struct yk_option *options, uint32_t n_options)
{
    for (uint32_t i = 0; i < n_options; i++) {
        put_option(page, &options[i]);
    }
}

void
man_plugin(GString *page, const struct yk_plugin *plugin)
{
    g_autofree char *title = g_strdup_printf("yakumo-%s", plugin->name);
    g_autofree char *name = g_strdup_printf("%s - %s", title, plugin->summary);
    g_autofree char *section = describe_section(plugin);
    g_autofree char *what = g_strdup_printf("%s is a %s of yakumo(1), version %s.", plugin->name,
                                            yk_plugins_kind_name(plugin->kind), plugin->version);
    man_head(page, title, 7);
    man_section(page, "NAME");
    /* Tools that index pages want this line's " \- " as it is, so it stands without a paragraph. */
    put_text_line(page, name);
    man_section(page, "SYNOPSIS");
    man_example(page, section);
    man_section(page, "DESCRIPTION");
    man_text(page, what);
    if (plugin->details != NULL) {
        man_text(page, plugin->details);
    }
    man_section(page, "OPTIONS");
    if (plugin->n_options == 0) {
        man_text(page, "It has none.");
    }
    man_options(page, plugin->options, plugin->n_options);
    man_section(page, "SEE ALSO");
    man_text(page, "yakumod(8), yakumo(1), yakumo-config(5)");
}
