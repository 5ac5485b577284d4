/* What a start does before it serves: lanes that have a journal are made again from what their
 * engines kept, their snapshots and the journal.
 *
 * Threads: the main thread's; each worker's lanes are done by a thread of their own meanwhile.
 * Ownership: all is lent. */
#ifndef YK_IO_RECOVERY_H
#define YK_IO_RECOVERY_H

#include "core/io/journal.h"
#include "core/node/node.h"

struct yk_recovery {
    const struct yk_world *world;
    const struct yk_config *config;
    struct yk_node *node;
    const struct yk_journal *journal;
    const char *folder; /* DATA */
    const uint8_t *id;
    const bool *is_wiped; /* of each bucket: its engines begin empty, snapshots are to be loaded */
};

struct yk_recovery_figures {
    uint64_t records; /* of snapshots and the journal, that were put into engines */
    uint64_t journal_bytes;
};

/* On failure error (YK_ERROR_SIZE bytes) says why; then nothing may be served. */
enum yk_err yk_recover(const struct yk_recovery *recovery, struct yk_recovery_figures *ret_figures,
                       char *error) YK_MUST_CHECK;

#endif
