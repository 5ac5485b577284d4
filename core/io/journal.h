/* The node's journal: one log for all workers, kept by one thread that writes (the flusher), so
 * that a round's bundles go to the device together, and one that makes files ready, drops old ones
 * and writes snapshots (the keeper).
 *
 * Buckets with durability disk are answered when their bundle is on the device, those with os when
 * it is written. Where all are disk, writes go past the page cache (O_DIRECT, O_DSYNC) in whole
 * blocks; where only some are, fdatasync follows the writes of a round.
 *
 * A failed write or sync ends the process: what it had written cannot be known (PROTOCOL
 * "Durability"). No space is met before a write is accepted, by the room (core/journal/bundle.h).
 *
 * Threads: open, replay, start and stop: the main thread's; submit and keep: any; done, kept and
 * pressed are called on threads of the journal. Ownership: a submitted bundle belongs to the
 * journal until done; owns its threads and files. */
#ifndef YK_IO_JOURNAL_H
#define YK_IO_JOURNAL_H

#include "core/base/world.h"
#include "core/io/segments.h"
#include "core/journal/bundle.h"
#include "core/journal/log.h"

struct yk_journal;
struct yk_lane;

struct yk_journal_config {
    const struct yk_world *world;
    const char *folder; /* DATA; the files go to DATA/journal */
    uint8_t id[YK_JOURNAL_ID_SIZE];
    bool has_disk, has_os; /* durabilities of the buckets that have a journal */
    bool lost_power;       /* the kernel has restarted since the last run, which did not end well */
    uint32_t n_buckets;
    const char *const *buckets; /* names, by index */
    uint64_t entry_size_max;    /* bytes of the largest entry, or flush of a lane */
    uint64_t size_max;          /* bytes of journal from which lanes are checkpointed */
    uint32_t n_workers, n_lanes;
    void *arg;
    void (*done)(void *arg, struct yk_bundle *first); /* all of a round, linked by next, in order */
    void (*kept)(void *arg, struct yk_lane *lane, enum yk_err result);
    void (*pressed)(void *arg); /* every worker is to take a turn: there is a checkpoint to make */
    void (*failed)(void *arg);  /* must not return */
};

/* Finds and checks the files. On failure error (YK_ERROR_SIZE bytes) names the file and what is
 * wrong with it. */
enum yk_err yk_journal_open(const struct yk_journal_config *config, struct yk_journal **ret_journal,
                            char *error) YK_MUST_CHECK;
void yk_journal_close(struct yk_journal *journal); /* before start, or after stop; takes NULL */

/* For workers, see node.h; needed_from has one for each. */
struct yk_journal_room *yk_journal_room(struct yk_journal *journal);
uint64_t *yk_journal_needed_from(struct yk_journal *journal);

/* One entry that was found; bucket is its name, lent. Not YK_OK ends the replay with it. */
typedef enum yk_err (*yk_replay_fn)(void *arg, const char *bucket, const struct yk_entry *entry,
                                    uint64_t position, uint64_t now_ms);
/* Calls fn for all entries, oldest first. From several threads at once, if need be. */
enum yk_err
yk_journal_replay(const struct yk_journal *journal, yk_replay_fn fn, void *arg) YK_MUST_CHECK;
uint64_t yk_journal_found_bytes(const struct yk_journal *journal);

/* The path of a lane's snapshot, YK_SEGMENT_PATH_SIZE bytes. */
void yk_snapshot_path(const char *folder, const char *bucket, uint32_t lane, char *to);
/* Makes a snapshot of nothing: what a lane begins with whose engine cannot be trusted later. */
enum yk_err yk_snapshot_make_empty(const char *path, const uint8_t *id, const char *bucket,
                                   char *error) YK_MUST_CHECK;
/* Calls fn for all entries of a snapshot, with its own position. ENOTFOUND: there is none. */
enum yk_err yk_snapshot_load(const char *path, const uint8_t *id, yk_replay_fn fn, void *arg,
                             char *error) YK_MUST_CHECK;

/* Makes the first files ready and starts the threads; without space for them too: then there is
 * no room until there is. */
enum yk_err yk_journal_start(struct yk_journal *journal, char *error) YK_MUST_CHECK;
void yk_journal_submit(struct yk_journal *journal, struct yk_bundle *bundle);
void yk_journal_keep(struct yk_journal *journal, struct yk_lane *lane, uint32_t bucket_index,
                     uint32_t lane_index, struct yk_bundle *bundle, uint32_t flags);
/* Ends the threads. Nothing may be under way. */
void yk_journal_stop(struct yk_journal *journal);
/* After stop: no lane needs any of it. */
void yk_journal_drop_all(struct yk_journal *journal);

struct yk_journal_figures {
    uint64_t bytes, batches; /* written since the start */
    uint64_t rounds;         /* each one write, and one wait for the device if need be */
    uint64_t kept;           /* bytes of files that a restart would read */
    uint64_t snapshots;      /* written since the start */
};
void yk_journal_ask(struct yk_journal *journal, struct yk_journal_figures *ret_figures);

#endif
