/* The conformance kit: holds a plugin to what the headers in include/yakumo promise of its kind.
 *
 * A kit is a list of parts. Each part runs in a process of its own, so that a plugin that crashes,
 * hangs or writes to the terminal is one more finding and not the end of the kit, and so that a
 * part may simply end at the first broken promise: what the plugin holds after it is not known.
 * What a part finds it sends to the parent over a pipe (run.c), which prints it (report.c).
 *
 * Threads: a part's functions may be called by any thread of its process where it says so, else by
 * the one that runs it. Ownership: a kit outlives its parts. */
#ifndef YK_TOOLS_KIT_KIT_H
#define YK_TOOLS_KIT_KIT_H

#include <glib.h>

#include <yakumo/plugin.h>

#include "core/base/options.h"
#include "core/base/random.h"

enum kit_rule {
#define KIT_RULE(name, word, source, text) KIT_##name,
#include "tools/kit/rules.def"
#undef KIT_RULE
    KIT_N_RULES
};

struct kit_rule_text {
    const char *word, *source, *text;
};

const struct kit_rule_text *kit_rule_text(enum kit_rule rule);
/* False: no rule has this word. */
bool kit_rule_find(const char *word, enum kit_rule *ret_rule);

/* What was typed, and where things are. */
struct kit {
    const struct yk_plugin *plugin;
    struct yk_settings *settings;
    uint64_t seed;
    uint32_t rounds;         /* of what is done again with other random numbers */
    uint32_t ops;            /* calls in one round */
    const char *folder;      /* the part's own, empty at its start; removed after it */
    const char *transcripts; /* folder of a frontend's transcripts, or NULL */
    int report_fd;           /* in a part: to the parent */
    bool is_async_below;     /* in a part: the engine below a filter answers later */
};

struct kit_part {
    const char *name;
    void (*run)(struct kit *kit);
};

/* The parts of each kit, ended by a NULL name. */
extern const struct kit_part kit_backend_parts[];
extern const struct kit_part kit_filter_parts[];
extern const struct kit_part kit_request_filter_parts[];

/* How a capability stands. */
enum kit_evidence {
    KIT_SHOWN = 'S',   /* the kit saw that it holds */
    KIT_HELD = 'H',    /* not declared, but held in all that the kit did */
    KIT_LACKS = 'L',   /* not declared, and does not hold or is not there */
    KIT_UNSHOWN = 'U', /* cannot be shown here; the text says why */
};

/* -- For parts: what they found. Any thread. -- */

/* A broken promise: ends the part (its process). */
_Noreturn void
kit_broken(struct kit *kit, enum kit_rule rule, const char *format, ...) YK_PRINTF(3, 4);
/* Something to know that breaks no promise. */
void kit_remark(struct kit *kit, const char *format, ...) YK_PRINTF(2, 3);
/* What the plugin says of a capability; `declared` is shown as it is. */
void kit_declares(struct kit *kit, const char *capability, const char *declared);
void kit_shows(struct kit *kit, const char *capability, enum kit_evidence evidence,
               const char *format, ...) YK_PRINTF(4, 5);
/* What is being asked of the plugin: said if it crashes. text is static. */
void kit_doing(const char *text);
/* How far the part is, for who watches. */
void kit_progress(struct kit *kit, uint64_t done, uint64_t total);

/* A seed for one purpose of one round, the same in every process. */
uint64_t kit_seed(const struct kit *kit, const char *purpose, uint64_t round);

/* A new empty folder below the part's, g_malloc'd. */
char *kit_make_folder(struct kit *kit, const char *name);
/* Removes a folder with all that is in it, or a file. */
void kit_remove(const char *path);

/* Ends the process with 0 in a child of a part, without what exit() would run. */
_Noreturn void kit_child_end(void);
/* A child of the part that dies with it; 0 in the child. Never fails. */
int kit_fork(struct kit *kit);
/* Waits for it; false: a signal ended it, or it ended with another status than 0: text says so. */
bool kit_wait(int pid, char *text, size_t text_size);

/* -- For the verb. -- */

struct kit_finding {
    enum kit_rule rule;
    char *part; /* own, as all texts here */
    char *text;
    bool is_excepted; /* by --except: told, no failure */
};

struct kit_capability {
    char *name, *declared, *text;
    char evidence; /* enum kit_evidence, or 0 */
};

/* What all parts found. */
struct kit_results {
    GArray *findings;     /* struct kit_finding */
    GArray *capabilities; /* struct kit_capability, in the order in which they were told */
    GPtrArray *remarks;   /* char *, "PART: TEXT" */
    uint32_t n_parts;
};

struct kit_results *kit_results_new(void);
void kit_results_free(struct kit_results *results);

/* Runs the parts, or the one of that name. False: there is none of that name, or a signal asked to
 * end. */
bool kit_run(struct kit *kit, const struct kit_part *parts, const char *only,
             const bool *is_excepted, bool with_progress, struct kit_results *results);

/* Prints findings, remarks, the table and the verdict. */
void kit_print(const struct kit *kit, const struct kit_results *results, const char *command);
void kit_print_json(const struct kit *kit, const struct kit_results *results, const char *command);
uint32_t kit_n_failures(const struct kit_results *results);

#endif
