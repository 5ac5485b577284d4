/* What yakumo check-history says, as text or as JSON.
 *
 * Threads: one. Ownership: a report borrows the names of the files and the keys. */
#ifndef YK_TOOLS_HISTORY_REPORT_H
#define YK_TOOLS_HISTORY_REPORT_H

#include "tools/history/history.h"

/* Where an operation was recorded, in its number: the file and its line. */
enum { REPORT_LINE_BITS = 40 };

struct report {
    bool is_json;
    char *const *files;
    GPtrArray *keys; /* GBytes */
    GArray *clients; /* by an operation's connection: the number in its file */
    uint64_t n_operations, n_unknown;
    uint64_t n_wrong, n_undecided;
    GString *json; /* one object, under way */
};

void report_begin(struct report *report);
/* A key that is not right. */
void report_key(struct report *report, const struct history_finding *finding);
void report_end(struct report *report);

#endif
