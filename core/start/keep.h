/* What the daemon keeps over its end: the journal, and recovery at the start.
 *
 * Threads: the main thread's, but for the calls of the journal. Ownership: see each function. */
#ifndef YK_START_KEEP_H
#define YK_START_KEEP_H

#include "core/io/datadir.h"
#include "core/io/journal.h"
#include "core/io/thread.h"

struct yk_keep {
    const struct yk_world *world;
    const struct yk_config *config;
    const struct yk_datadir *datadir;
    struct yk_journal *journal;        /* NULL: no bucket has one */
    struct yk_threads *const *threads; /* set while the journal has threads of its own */
    uint8_t id[YK_JOURNAL_ID_SIZE];
    bool is_wiped[YK_BUCKETS_MAX];        /* its engines' files cannot be trusted after what was */
    bool needs_snapshots[YK_BUCKETS_MAX]; /* an engine that keeps something, though not for sure */
    const char *names[YK_BUCKETS_MAX];
};

/* The node's id as files of the journal have it. */
void yk_keep_id(const struct yk_datadir *datadir, uint8_t id[YK_JOURNAL_ID_SIZE]);
/* Of a bucket whose stack is info: is it checkpointed by snapshots though its engine keeps
 * something; and are its engine's files not to be trusted after what has been? */
bool
yk_keep_needs_snapshots(const struct yk_bucket_config *bucket, const struct yk_backend_info *info);
bool yk_keep_is_trusted(const struct yk_datadir *datadir, const struct yk_backend_info *info);

/* Finds out what of the data folder can be trusted, and opens the journal; before any engine. */
enum yk_err
yk_keep_open(struct yk_keep *keep, const struct yk_world *world, const struct yk_config *config,
             const struct yk_datadir *datadir, uint32_t n_workers,
             struct yk_threads *const *threads, char *error) YK_MUST_CHECK;
/* The lane's folder, empty if what was in it cannot be trusted; g_malloc'd, NULL: error says why.
 */
char *yk_keep_lane_folder(struct yk_keep *keep, const struct yk_backend_place *place, char *error);
/* Makes the lanes again, and starts the journal; before the threads. */
enum yk_err yk_keep_recover(struct yk_keep *keep, struct yk_node *node, char *error) YK_MUST_CHECK;
/* After the threads have ended; node may be NULL. */
void yk_keep_close(struct yk_keep *keep, struct yk_node *node, bool is_clean);

#endif
