/* Reading a journal file or a snapshot, batch by batch, and telling where its content ends from
 * where it was damaged.
 *
 * A batch that is cut short or changed, with nothing good behind it, was being written when the
 * node died: a torn tail, which nobody was told of. With a good one behind it it is damage; but a
 * loss of power may have done it, unless one behind it says that this was on the device before.
 *
 * Threads: one for each reader. Ownership: bytes are borrowed until the reader is let go. */
#ifndef YK_JOURNAL_READER_H
#define YK_JOURNAL_READER_H

#include "core/journal/format.h"

enum yk_log_ending {
    YK_ENDING_CLEAN,   /* nothing was begun behind the last batch */
    YK_ENDING_TORN,    /* the beginning of one stands there */
    YK_ENDING_DAMAGED, /* what stands there is bad, and there are good ones behind it */
};

struct yk_reader {
    struct yk_journal_head head;
    struct yk_slice bytes; /* of the whole file */
    uint64_t offset;       /* of the next batch; at the end: where the content ends */
    enum yk_log_ending ending;
    uint64_t damage_end; /* DAMAGED: offset of the next good batch */
    bool is_certain;     /* DAMAGED: no loss of power explains it */
};

/* As yk_journal_head_decode. ECORRUPT also if the file is of another node (id; NULL: any). */
enum yk_err yk_reader_open(struct yk_slice bytes, const uint8_t *id,
                           struct yk_reader *ret_reader) YK_MUST_CHECK;
/* The next batch; false: the content has ended, ending says how. */
bool yk_reader_next(struct yk_reader *reader, struct yk_batch *ret_batch);

#endif
