/* What a scan of a lane brings: a chunk of records in one buffer, and where to go on; and figures
 * by name.
 *
 * Threads: handed over with the op that carries it. Ownership: the op's maker. */
#ifndef YK_STORE_SCAN_H
#define YK_STORE_SCAN_H

#include <yakumo/backend.h>

#include "core/store/record.h"

/* One step of a scan of one lane. */
struct yk_scan_state {
    struct yk_cursor cursor;
    struct yk_buffer *chunk; /* records, one after another; see yk_chunk_next */
    size_t chunk_used;       /* bytes of chunk that are filled */
    uint64_t bytes_max;
    bool with_values;
    bool is_end; /* nothing is left in this lane */
    bool no_memory;
};

/* NULL: no memory. */
struct yk_scan_state *
yk_scan_state_new(uint32_t key_size_max, uint64_t bytes_max, bool with_values);
void yk_scan_state_free(struct yk_scan_state *state);
/* Back to the start of (another) lane. */
void yk_scan_state_restart(struct yk_scan_state *state);
/* Adds a record to the chunk; false: it is full (never for the first one) or there is no memory. */
bool yk_chunk_add(struct yk_scan_state *state, struct yk_slice key, const struct yk_record *record);
/* Takes the record at *offset and moves it; false: no more. value.data is NULL without values. */
bool yk_chunk_next(const struct yk_scan_state *state, size_t *offset, struct yk_slice *ret_key,
                   struct yk_record *ret_record);

/* Drops the records of the chunk that keep() does not want. */
void yk_chunk_filter(struct yk_scan_state *state,
                     bool (*keep)(void *arg, struct yk_slice key, const struct yk_record *record),
                     void *arg);

#define YK_FIGURES_MAX      128
#define YK_FIGURE_NAME_SIZE 48

struct yk_figure {
    char name[YK_FIGURE_NAME_SIZE];
    uint64_t number;
};

struct yk_figures {
    uint32_t n;
    struct yk_figure figures[YK_FIGURES_MAX];
};

/* Adds number to the figure of that name; a yk_figure_fn. Beyond YK_FIGURES_MAX names: dropped. */
void yk_figures_add(void *figures, const char *name, uint64_t number);
/* 0 where there is none. */
uint64_t yk_figures_get(const struct yk_figures *figures, const char *name);

#endif
