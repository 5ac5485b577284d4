/* yakumo config --man: the man page yakumo-config(5), from the tables that the parser itself uses.
 * A verb for the build, not for people. */
#include <config.h>

#include <stdio.h>

#include <glib.h>

#include "core/config/config.h"
#include "tools/man.h"
#include "tools/verb.h"

static const char grammar[] =
    "The file is made of sections, each a line \"[KIND NAME]\" and below it lines \"key = value\". "
    "A "
    "line that begins with # is a comment; a comment behind a value is an error. A section or a "
    "key "
    "that stands there twice, an unknown one, and a value out of its bounds are errors, told with "
    "file "
    "and line.\n"
    "\n"
    "A size is a number of bytes with an optional K, M, G or T (powers of 1024): 64M. A duration "
    "is a "
    "number with us, ms, s, m, h or d: 250ms. A ratio is 0.25 or 25%. A list has commas between "
    "its "
    "parts. Yes or no may be written yes, no, true, false, on, off, 1, 0.\n"
    "\n"
    "One file describes all nodes; yakumod(8) runs the one that --node names. A key "
    "\"SECTION.NAME.key\" in a [node] section, such as frontend.memcached.listen, overrides that "
    "key "
    "for this node; -o on the command line overrides both.\n"
    "\n"
    "The options of a plugin stand in its own section: [frontend NAME], [backend NAME], [filter "
    "NAME] "
    "or [coordinator NAME]; its man page yakumo-NAME(7) has them. A second instance of a frontend "
    "is "
    "[frontend NAME 2].\n"
    "\n"
    "On the signal HUP the file is read again. What may change on reload is taken over; if "
    "anything "
    "else differs the whole file is refused and the old one stays.";

static const char example[] = "[cluster]\n"
                              "name = demo\n"
                              "\n"
                              "[bucket default]\n"
                              "backend = memory\n"
                              "durability = memory\n"
                              "memory_max = 1G\n"
                              "\n"
                              "[frontend memcached]\n"
                              "listen = 127.0.0.1:11211\n"
                              "bucket = default\n"
                              "\n"
                              "[node a]\n"
                              "data = /var/lib/yakumo/a";

static const struct {
    const char *name;
    const char *title;
    const char *what;
} sections[] = {
    {"cluster", "THE SECTION [cluster]", "What all nodes share."},
    {"node", "SECTIONS [node NAME]",
     "One for each node. With a single one --node may be left out."},
    {"bucket", "SECTIONS [bucket NAME]", "A namespace with its own backend, filters and limits."},
    {"frontend", "SECTIONS [frontend NAME]",
     "A client protocol and where it listens. Besides these keys it takes the options of the "
     "frontend's own man page."},
};

static void
put_page(GString *page)
{
    man_head(page, "yakumo-config", 5);
    man_section(page, "NAME");
    g_string_append(page, "yakumo\\-config \\- the config file of yakumod\n");
    man_section(page, "DESCRIPTION");
    man_text(page, grammar);
    for (size_t i = 0; i < G_N_ELEMENTS(sections); i++) {
        uint32_t n_options = 0;
        const struct yk_option *options = yk_config_table(sections[i].name, &n_options);
        man_section(page, sections[i].title);
        man_text(page, sections[i].what);
        man_options(page, options, n_options);
    }
    man_section(page, "EXAMPLE");
    man_example(page, example);
    man_section(page, "SEE ALSO");
    man_text(page, "yakumod(8), yakumo(1)");
}

static enum exit_code
run(int argc, char **argv)
{
    gboolean is_man = false;
    const GOptionEntry entries[] = {
        {"man", 0, 0, G_OPTION_ARG_NONE, &is_man, "the man page yakumo-config(5), in roff", NULL},
        {NULL}};
    if (!verb_options(&verb_config, entries, NULL, 0, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (!is_man) {
        fprintf(stderr, "yakumo config: nothing to do; it has --man\n");
        return EXIT_USAGE;
    }
    g_autoptr(GString) page = g_string_new(NULL);
    put_page(page);
    fputs(page->str, stdout);
    return EXIT_DONE;
}

const struct verb verb_config = {"config", NULL, run};
