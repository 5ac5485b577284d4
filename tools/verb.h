/* The verbs of the yakumo tool: each is one function that reads its own options.
 *
 * Threads: one. Ownership: verbs are static. */
#ifndef YK_TOOLS_VERB_H
#define YK_TOOLS_VERB_H

#include <stdbool.h>

#include <glib.h>

/* What the tool ends with. */
enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNDECIDED = 3 };

struct verb {
    const char *name;
    const char *summary; /* one line; NULL: not shown by help */
    /* argv[0] is the verb. Prints to standard output; says itself what went wrong. */
    enum exit_code (*run)(int argc, char **argv);
    const char *help; /* what --help prints behind the options; NULL: nothing */
};

extern const struct verb verb_plugins;
extern const struct verb verb_config;
extern const struct verb verb_kit;
extern const struct verb verb_bench;
extern const struct verb verb_journal;
extern const struct verb verb_verify;
extern const struct verb verb_dump;
extern const struct verb verb_load;
extern const struct verb verb_cluster;
extern const struct verb verb_up;
extern const struct verb verb_down;
extern const struct verb verb_status;
extern const struct verb verb_check_history;

/* Reads the options of a verb into entries' variables and takes them out of argv, --help included:
 * it prints and ends the program. The first n_arguments_max arguments may remain, as argv[1] and
 * on. False: wrong usage, said on standard error. */
bool verb_options(const struct verb *verb, const GOptionEntry *entries, const char *arguments,
                  int n_arguments_max, int *argc, char ***argv);

#endif
