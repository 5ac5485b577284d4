/* The inside of a journal, for its files only: journal.c (life), found.c (what was there at the
 * start), flusher.c and keeper.c (its threads).
 *
 * Threads: members say whose they are. Ownership: see journal.h. */
#ifndef YK_IO_JOURNAL_INSIDE_H
#define YK_IO_JOURNAL_INSIDE_H

#include <pthread.h>

#include "core/io/chain.h"
#include "core/io/journal.h"

/* A piece of a snapshot that waits to be written. */
struct piece {
    struct piece *next;
    struct yk_lane *lane;
    uint32_t bucket_index, lane_index;
    struct yk_bundle *bundle;
    uint32_t flags; /* enum yk_keep_flags */
};

/* A snapshot that is being written. The keeper's. */
struct snapshot {
    struct snapshot *next;
    struct yk_lane *lane;
    int fd;
    uint64_t size;
    uint64_t salt;
};

enum { SALTS = 16 /* more than can be ready */ };

struct yk_journal {
    struct yk_journal_config config;
    char *folder; /* DATA/journal */
    char *names;  /* copies of the buckets' names */
    struct yk_segments segments;
    struct yk_journal_head head; /* of every new segment, but for its numbers */
    uint64_t salts[SALTS];       /* of the segments that are ready or current, by number */
    struct yk_journal_room room;
    uint64_t *needed_from;

    struct yk_chain_file *found; /* segments that were there at the start */
    uint32_t n_found;
    uint64_t found_bytes;

    pthread_mutex_t lock; /* of all that follows, where it does not say otherwise */
    pthread_cond_t has_bundles, has_tasks;
    struct yk_log log;
    bool is_ending;
    bool is_running;
    bool is_writing;       /* a round is on its way: the next one gathers */
    uint64_t here_from_us; /* workers write themselves from then on */
    pthread_t flusher, keeper;
    struct yk_bundle *first, **last; /* submitted */
    uint32_t n_waiting;              /* entries of those */
    uint64_t sync_us;                /* what the last round waited for the device */
    uint32_t n_answered;             /* entries of the last round */
    struct yk_journal_figures figures;

    /* Of who writes. */
    struct round *round;
    int fd; /* of the current segment, -1: none */
    bool is_direct, is_dirty;
    uint64_t segment_start, written_to, synced_to; /* positions */
    uint8_t *staging;
    uint64_t staged, staging_size, staged_at; /* bytes, room, offset in the file */

    /* The keeper's. */
    struct piece *pieces, **last_piece;
    struct snapshot *snapshots; /* its own */
    uint64_t *snapshot_sizes;   /* of the last ones, by bucket and lane: its own */
    uint32_t n_lanes;
    bool is_full;
    uint64_t retry_us;
};

/* found.c */
enum yk_err found_open(struct yk_journal *journal, char *error) YK_MUST_CHECK;
void found_close(struct yk_journal *journal);

/* flusher.c */
enum yk_err flusher_open(struct yk_journal *journal) YK_MUST_CHECK;
void *flusher_run(void *journal);
/* With the lock held: writes what has been submitted, on the caller's thread. */
void flusher_write_here(struct yk_journal *journal);
void flusher_close(struct yk_journal *journal);
/* Says what failed, and ends the process. */
void journal_fail(struct yk_journal *journal, const char *what, uint64_t number);

/* keeper.c */
void *keeper_run(void *journal);
/* Makes files ready as far as there is space. */
void keeper_make_ready(struct yk_journal *journal);
void keeper_close(struct yk_journal *journal);

#endif
