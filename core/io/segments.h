/* The files of the journal: DATA/journal/NNNNNNNNNNNN.log, by number of the segment. A file is made
 * ready under its final name, with its head and filled with zeros; with its first batch it becomes
 * a part of the log. What is not needed any more is kept as a spare (spare-N) for the next one, or
 * removed.
 *
 * Threads: one at a time for each folder. Ownership: paths are borrowed. */
#ifndef YK_IO_SEGMENTS_H
#define YK_IO_SEGMENTS_H

#include <sys/types.h>

#include "core/io/file.h"
#include "core/journal/reader.h"

#define YK_SEGMENT_PATH_SIZE 4096

struct yk_segments {
    const char *folder;
    uint64_t size; /* of new ones */
    bool zeroes;   /* blocks are written before, not only set aside */
};

/* Path of the segment's file, YK_SEGMENT_PATH_SIZE bytes. */
void yk_segment_path(const char *folder, uint64_t number, char *to);
/* Numbers of all files there, rising; g_free. NULL: error says why. */
uint64_t *yk_segments_list(const char *folder, uint32_t *ret_n, char *error);

/* Makes a file ready, from a spare if there is one: with its head, durably. ENOSPACE: no space. */
enum yk_err yk_segment_make(const struct yk_segments *segments, const struct yk_journal_head *head,
                            char *error) YK_MUST_CHECK;
/* The file is not needed any more; it becomes a spare if it has the size and there is none. */
enum yk_err
yk_segment_drop(const struct yk_segments *segments, uint64_t number, char *error) YK_MUST_CHECK;

/* A file in memory, to be read. */
struct yk_mapped {
    struct yk_slice bytes;
};
enum yk_err yk_file_map(const char *path, struct yk_mapped *ret_mapped, char *error) YK_MUST_CHECK;
void yk_file_unmap(struct yk_mapped *mapped);

#endif
