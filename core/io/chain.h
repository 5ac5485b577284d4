/* The chain of a log's files: each begins where the one before has its last byte, and says in its
 * first batch where the content of that one ended. So a file that is missing, or has lost its end,
 * is told from one that was left unused.
 *
 *     struct yk_chain chain = {.id = id};
 *     for each file, by number: yk_chain_read, then yk_chain_add or, if it is not used,
 * yk_chain_skip
 *
 * Only looks: nothing on the disk is changed. Threads: one. Ownership: a file that was read is
 * unmapped by who read it (yk_file_unmap), whatever came of it. */
#ifndef YK_IO_CHAIN_H
#define YK_IO_CHAIN_H

#include "core/io/segments.h"

struct yk_chain_file {
    uint64_t number;
    struct yk_mapped mapped;
    struct yk_journal_head head;
    uint64_t end;    /* offset behind its last batch that can be read in a row */
    bool is_certain; /* where it is damaged: no loss of power explains that */
};

/* All zeros but for id: nothing has been added. */
struct yk_chain {
    const uint8_t *id;   /* of the node; NULL: any */
    uint64_t number;     /* of the last file; 0: there is none */
    uint64_t unused;     /* number of the first file with nothing of the log in it; 0: none */
    bool is_synced;      /* of the last file, as its head says */
    uint64_t file_start; /* positions: where it begins, */
    uint64_t start;      /* where the next one begins, */
    uint64_t end;        /* and where its content ends */
};

/* *ret_is_used: there is something of the log in the file. ECORRUPT: it is damaged, or the log
 * breaks off before it; error (YK_ERROR_SIZE bytes) names it and says how. Then too *ret_is_used
 * says whether some of its batches can be read, up to ret_file->end. */
enum yk_err
yk_chain_read(const struct yk_chain *chain, const char *path, uint64_t number,
              struct yk_chain_file *ret_file, bool *ret_is_used, char *error) YK_MUST_CHECK;
void yk_chain_add(struct yk_chain *chain, const struct yk_chain_file *file);
void yk_chain_skip(struct yk_chain *chain, uint64_t number); /* that file is not used */

/* Says that the journal is damaged at that file, how, and what to do. Returns YK_ECORRUPT. */
enum yk_err
yk_chain_damaged(const char *path, char *error, const char *format, ...) YK_PRINTF(3, 4);

#endif
