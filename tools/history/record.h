/* A recorded operation: from a line of JSON to the operation that is checked.
 *
 * Threads: one. Ownership: a record owns its key and its value. */
#ifndef YK_TOOLS_HISTORY_RECORD_H
#define YK_TOOLS_HISTORY_RECORD_H

#include "tools/history/flat.h"
#include "tools/history/history.h"

struct record {
    enum history_kind kind;
    enum history_result result; /* UNKNOWN: or no answer came */
    GBytes *key;                /* NULL: of a flush */
    GBytes *value;              /* NULL: none */
    uint32_t client;
    uint32_t flags;
    int64_t start_us;
    int64_t end_us; /* TIME_NEVER: its outcome is unknown */
    uint64_t cas, delta, shown;
    int64_t expiry_s;
};

/* False: it is none, `error` (FLAT_ERROR_SIZE bytes) says what is wrong, with the value and what is
 * allowed, and nothing is owned. */
bool record_read(const char *line, size_t size, struct record *ret_record, char *error);
void record_clear(struct record *record);

#endif
