/* The simulated disk: the log's segments and the lanes' snapshots, as bytes in the shipped form,
 * laid out by the shipped core/journal. What was written stays when the node is killed.
 *
 * Threads: one. Ownership: a disk owns all that was written to it. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <glib.h>

#include "core/journal/bundle.h"
#include "core/journal/log.h"
#include "core/node/node.h"

enum { DISK_WORKERS_MAX = 4 };

struct disk {
    struct yk_log log;
    struct yk_journal_room room;
    uint64_t needed_from[DISK_WORKERS_MAX];
    uint64_t size_max, bundle_size;
    uint64_t next_salt;
    GPtrArray *files;          /* struct disk_file: segments that are ready or used */
    GHashTable *snapshots;     /* lane -> GByteArray, whole ones */
    GHashTable *being_written; /* likewise */
    uint64_t n_snapshots, n_trimmed;
    int64_t taken;  /* room that somebody else fills */
    GArray *untold; /* positions of bundles of which the workers do not know yet */
};

/* In bytes: the largest entry or flush of a lane, bundles, and what is kept before lanes are
 * checkpointed. */
struct disk *disk_new(uint64_t entry_size_max, uint64_t bundle_size, uint64_t size_max);
void disk_free(struct disk *disk);

/* Writes it, and gives its room back; position is filled in. */
void disk_write(struct disk *disk, struct yk_bundle *bundle, uint64_t now_ms);
/* The worker is told of it. */
void disk_told(struct disk *disk, const struct yk_bundle *bundle);
/* cut: bytes of it that still come to be written, before the node dies. */
void disk_tear(struct disk *disk, struct yk_bundle *bundle, uint64_t now_ms, uint64_t cut);
/* Likewise with the power: sectors that are written by then, a bit for each, taken in turn. */
void
disk_lose_power(struct disk *disk, struct yk_bundle *bundle, uint64_t now_ms, uint64_t sectors);
/* There is no more room for anything, until it is given back; or there is again. */
void disk_fill(struct disk *disk, bool is_full);
void
disk_keep(struct disk *disk, const struct yk_lane *lane, struct yk_bundle *bundle, uint32_t flags);
/* Makes files ready, drops those that are not needed, asks for checkpoints. */
void disk_tend(struct disk *disk, uint32_t n_workers);

/* A node starts on what is there: its lanes are made again. False: why. */
bool disk_recover(struct disk *disk, struct yk_node *node, GString *why);

#endif
