/* The reading of journal files for people: every batch that can be read, also behind damage.
 *
 * Threads: one. Ownership: what is shown is lent for the call. */
#ifndef YK_TOOLS_OFFLINE_PAGES_H
#define YK_TOOLS_OFFLINE_PAGES_H

#include "core/journal/reader.h"

/* A stretch of a file that cannot be read. */
struct pages_hole {
    uint64_t from, to; /* offsets */
};

struct pages_counts {
    uint64_t batches, entries, bytes;
    uint64_t kinds[YK_ENTRY_CUT + 1];
};

struct pages {
    void *arg;
    /* Any may be NULL. */
    void (*batch)(void *arg, uint64_t offset, const struct yk_batch *batch);
    void (*entry)(void *arg, const char *bucket, const struct yk_entry *entry);
    void (*hole)(void *arg, const struct pages_hole *hole);

    struct pages_counts counts; /* of all that can be read */
    struct pages_counts behind; /* of these, what stands behind the first hole */
    uint32_t n_holes;
    uint64_t end;              /* offset where the content ends, of what is before the first hole */
    enum yk_log_ending ending; /* of the content as a whole: CLEAN or TORN */
    bool is_whole;             /* of a snapshot: its end stands there */
};

/* The file's head can be read. */
void pages_read(struct pages *pages, const struct yk_reader *reader);
void pages_add(struct pages_counts *to, const struct pages_counts *counts);

#endif
