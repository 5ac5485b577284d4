/* Going through a file's batches, over what cannot be read. */
#include <config.h>

#include "tools/offline/pages.h"

#include <unistd.h>

/* A node that writes may be in the middle of a batch: what looks torn is looked at again. */
enum { TRIES_MAX = 5, WAIT_US = 20000 };

void
pages_add(struct pages_counts *to, const struct pages_counts *counts)
{
    to->batches += counts->batches;
    to->entries += counts->entries;
    to->bytes += counts->bytes;
    for (uint32_t i = 0; i <= YK_ENTRY_CUT; i++) {
        to->kinds[i] += counts->kinds[i];
    }
}

static void
read_batch(struct pages *pages, const struct yk_reader *reader, uint64_t offset,
           const struct yk_batch *batch)
{
    struct pages_counts counts = {.batches = 1, .bytes = batch->size};
    struct yk_entry entry;
    size_t at = 0;
    if (pages->batch != NULL) {
        pages->batch(pages->arg, offset, batch);
    }
    while (yk_entry_next(batch, &at, &entry) == YK_OK) {
        counts.entries++;
        counts.kinds[entry.kind]++;
        if (pages->entry != NULL) {
            const struct yk_journal_head *head = &reader->head;
            pages->entry(pages->arg,
                         entry.bucket < head->n_buckets ? head->buckets[entry.bucket] : "?",
                         &entry);
        }
    }
    pages_add(&pages->counts, &counts);
    if (pages->n_holes > 0) {
        pages_add(&pages->behind, &counts);
    }
    pages->is_whole = batch->n_entries == 0;
}

static bool
next_batch(struct yk_reader *reader, struct yk_batch *ret_batch)
{
    uint32_t tries = 0;
    bool is_there = yk_reader_next(reader, ret_batch);
    while (!is_there && reader->ending != YK_ENDING_CLEAN && ++tries < TRIES_MAX) {
        usleep(WAIT_US);
        is_there = yk_reader_next(reader, ret_batch);
    }
    return is_there;
}

void
pages_read(struct pages *pages, const struct yk_reader *reader)
{
    struct yk_reader at = *reader;
    struct yk_batch batch;
    for (;;) {
        uint64_t offset = at.offset;
        if (next_batch(&at, &batch)) {
            read_batch(pages, &at, offset, &batch);
            pages->end = pages->n_holes == 0 ? at.offset : pages->end;
            continue;
        }
        pages->end = pages->n_holes == 0 ? at.offset : pages->end;
        pages->ending = at.ending;
        if (at.ending != YK_ENDING_DAMAGED) {
            return;
        }
        struct pages_hole hole = {at.offset, at.damage_end};
        pages->n_holes++;
        if (pages->hole != NULL) {
            pages->hole(pages->arg, &hole);
        }
        at.offset = at.damage_end;
    }
}
