/* What the offline verbs share: the config and the plugins, a world whose log is the tool's own
 * voice, words for keys and times, and a progress line.
 *
 * Threads: the main thread's, but for the log. Ownership: see each function. */
#ifndef YK_TOOLS_OFFLINE_PLACE_H
#define YK_TOOLS_OFFLINE_PLACE_H

#include <glib.h>

#include "core/io/system.h"
#include "core/start/start.h"
#include "tools/verb.h"

struct offline_place {
    struct yk_system system; /* first: the log finds the rest by it */
    const char *verb;
    uint32_t n_errors; /* lines of that level that were logged; atomic */
    struct yk_plugins *plugins;
    struct yk_config *config;
};

/* What is typed for every verb that needs a config. */
struct offline_typed {
    char *file, *node;
    char **overrides;
};

#define OFFLINE_CONFIG_ENTRIES(typed)                                                              \
    {"config", 'c', 0, G_OPTION_ARG_FILENAME, &(typed).file, "the config file, as for yakumod",    \
     "FILE"},                                                                                      \
        {"node", 0, 0, G_OPTION_ARG_STRING, &(typed).node, "which of the file's nodes", "NAME"},   \
    {                                                                                              \
        "option", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &(typed).overrides,                           \
            "overrides one key of the config; may be repeated", "SECTION.KEY=VALUE"                \
    }

void offline_typed_done(struct offline_typed *typed);

/* The world alone; it logs warnings and errors as lines of the verb on standard error. */
void offline_place_init(struct offline_place *place, const char *verb);
/* With the config and the plugins; false: said on standard error. */
bool offline_place_open(struct offline_place *place, const char *verb,
                        const struct offline_typed *typed);
void offline_place_close(struct offline_place *place);

/* "yakumo VERB: " and the rest on standard error. */
void offline_say(const char *verb, const char *format, ...) YK_PRINTF(2, 3);

/* Index of the bucket in the config, or -1, said on standard error. */
int offline_find_bucket(const struct offline_place *place, const char *name);
/* A bucket of which nothing outlives its node has nothing to check or to carry. */
bool offline_keeps_nothing(const struct offline_place *place, uint32_t bucket_index);

/* Bytes as text: what is printable as it is, the rest as \xHH, '\' and '"' as \\ and \"; g_free. */
char *offline_escape(struct yk_slice bytes);
/* A time in ms since 1970, in UTC; g_free. */
char *offline_time(uint64_t ms);

/* One line that is written over on a terminal; elsewhere, if it is wanted, one line each second. */
struct offline_progress {
    const char *verb;
    bool is_shown, is_terminal, has_line;
    uint64_t began_us, shown_us;
    uint64_t total; /* records, or bytes where total_is_bytes; 0: not known */
    bool total_is_bytes;
};

void offline_progress_init(struct offline_progress *progress, const char *verb, bool is_forced,
                           bool is_quiet);
/* Cheap: it looks at the clock now and then. */
void offline_progress_show(struct offline_progress *progress, uint64_t n_records, uint64_t n_bytes);
/* Wipes the line. */
void offline_progress_end(struct offline_progress *progress);

#endif
