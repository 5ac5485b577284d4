/* The life of a journal, and its doors. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/io/journal_inside.h"

enum { SEGMENTS = 8, SEGMENT_SIZE_MIN = 1024 * 1024, SEGMENT_SIZE_MAX = 64 * 1024 * 1024 };

static uint64_t
waste_max(const struct yk_journal_config *config)
{
    uint64_t largest =
        config->entry_size_max > YK_BUNDLE_SIZE ? config->entry_size_max : YK_BUNDLE_SIZE;
    return yk_round_up(largest + YK_BUNDLE_EXTRA, YK_JOURNAL_ALIGN_DISK);
}

static uint64_t
segment_size(const struct yk_journal_config *config)
{
    uint64_t size = config->size_max / SEGMENTS;
    size = size < SEGMENT_SIZE_MIN ? SEGMENT_SIZE_MIN : size;
    size = size > SEGMENT_SIZE_MAX ? SEGMENT_SIZE_MAX : size;
    uint64_t least = 4 * waste_max(config) + YK_JOURNAL_HEAD_SIZE;
    return yk_round_up(size < least ? least : size, YK_JOURNAL_ALIGN_DISK);
}

static void
init_head(struct yk_journal *journal)
{
    const struct yk_journal_config *config = &journal->config;
    bool is_direct = config->has_disk && !config->has_os;
    journal->head.align = is_direct ? YK_JOURNAL_ALIGN_DISK : YK_JOURNAL_ALIGN;
    journal->head.is_synced = config->has_disk;
    memcpy(journal->head.id, config->id, YK_JOURNAL_ID_SIZE);
    journal->head.n_buckets = config->n_buckets;
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        snprintf(journal->head.buckets[i], YK_NAME_SIZE_MAX, "%s", config->buckets[i]);
    }
    journal->is_direct = is_direct;
}

static enum yk_err
init(struct yk_journal *journal, const struct yk_journal_config *config, char *error)
{
    pthread_condattr_t monotonic;
    journal->config = *config;
    journal->last = &journal->first;
    journal->last_piece = &journal->pieces;
    journal->n_lanes = config->n_lanes;
    journal->folder = g_build_filename(config->folder, "journal", NULL);
    journal->segments =
        (struct yk_segments){journal->folder, segment_size(config), config->has_disk};
    init_head(journal);
    journal->room.bundle_size = YK_BUNDLE_SIZE;
    struct yk_log_config log = {journal->head.align, journal->segments.size, waste_max(config)};
    yk_log_init(&journal->log, &log);
    pthread_mutex_init(&journal->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&journal->has_bundles, &monotonic);
    pthread_cond_init(&journal->has_tasks, &monotonic);
    pthread_condattr_destroy(&monotonic);
    journal->needed_from = calloc(config->n_workers, sizeof(uint64_t));
    journal->snapshot_sizes =
        calloc((size_t)config->n_buckets * config->n_lanes + 1, sizeof(uint64_t));
    if (flusher_open(journal) != YK_OK || journal->needed_from == NULL ||
        journal->snapshot_sizes == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    if (g_mkdir_with_parents(journal->folder, 0750) < 0) {
        return yk_file_fail("make the folder", journal->folder, error);
    }
    return yk_file_sync_folder(config->folder, error);
}

/* How much the snapshots that are there weigh. */
static void
weigh_snapshots(struct yk_journal *journal)
{
    char path[YK_SEGMENT_PATH_SIZE];
    struct stat status;
    for (uint32_t i = 0; i < journal->config.n_buckets; i++) {
        for (uint32_t lane = 0; lane < journal->n_lanes; lane++) {
            yk_snapshot_path(journal->config.folder, journal->config.buckets[i], lane, path);
            if (stat(path, &status) == 0) {
                journal->snapshot_sizes[i * journal->n_lanes + lane] = (uint64_t)status.st_size;
            }
        }
    }
}

enum yk_err
yk_journal_open(const struct yk_journal_config *config, struct yk_journal **ret_journal,
                char *error)
{
    struct yk_journal *journal = calloc(1, sizeof(*journal));
    if (journal == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    enum yk_err result = init(journal, config, error);
    if (result == YK_OK) {
        weigh_snapshots(journal);
        result = found_open(journal, error);
    }
    if (result != YK_OK) {
        yk_journal_close(journal);
        return result;
    }
    *ret_journal = journal;
    return YK_OK;
}

void
yk_journal_close(struct yk_journal *journal)
{
    if (journal == NULL) {
        return;
    }
    YK_ASSERT(!journal->is_running);
    found_close(journal);
    flusher_close(journal);
    keeper_close(journal);
    yk_log_done(&journal->log);
    pthread_cond_destroy(&journal->has_bundles);
    pthread_cond_destroy(&journal->has_tasks);
    pthread_mutex_destroy(&journal->lock);
    free(journal->needed_from);
    g_free(journal->folder);
    free(journal);
}

struct yk_journal_room *
yk_journal_room(struct yk_journal *journal)
{
    return &journal->room;
}

uint64_t *
yk_journal_needed_from(struct yk_journal *journal)
{
    return journal->needed_from;
}

uint64_t
yk_journal_found_bytes(const struct yk_journal *journal)
{
    return journal->found_bytes;
}

enum yk_err
yk_journal_start(struct yk_journal *journal, char *error)
{
    found_close(journal);
    pthread_mutex_lock(&journal->lock);
    keeper_make_ready(journal);
    pthread_mutex_unlock(&journal->lock);
    if (pthread_create(&journal->flusher, NULL, flusher_run, journal) != 0) {
        snprintf(error, YK_ERROR_SIZE, "cannot start the journal's threads");
        return YK_ENOMEM;
    }
    if (pthread_create(&journal->keeper, NULL, keeper_run, journal) != 0) {
        journal->is_ending = true;
        pthread_cond_signal(&journal->has_bundles);
        pthread_join(journal->flusher, NULL);
        snprintf(error, YK_ERROR_SIZE, "cannot start the journal's threads");
        return YK_ENOMEM;
    }
    journal->is_running = true;
    return YK_OK;
}

/* A write that waits for no device takes less than waking a thread for it does. */
static bool
writes_here(const struct yk_journal *journal)
{
    const struct yk_world *world = journal->config.world;
    return !journal->config.has_disk && !journal->is_writing &&
           (journal->here_from_us == 0 || world->now_us(world->arg) >= journal->here_from_us);
}

void
yk_journal_submit(struct yk_journal *journal, struct yk_bundle *bundle)
{
    bundle->next = NULL;
    pthread_mutex_lock(&journal->lock);
    bool was_empty = journal->first == NULL;
    *journal->last = bundle;
    journal->last = &bundle->next;
    journal->n_waiting += bundle->n_entries;
    if (writes_here(journal)) {
        flusher_write_here(journal);
    } else if (was_empty || journal->n_waiting >= journal->n_answered) {
        pthread_cond_signal(&journal->has_bundles);
    }
    pthread_mutex_unlock(&journal->lock);
}

void
yk_journal_keep(struct yk_journal *journal, struct yk_lane *lane, uint32_t bucket_index,
                uint32_t lane_index, struct yk_bundle *bundle, uint32_t flags)
{
    struct piece *piece = malloc(sizeof(*piece));
    YK_ASSERT(piece != NULL);
    *piece = (struct piece){NULL, lane, bucket_index, lane_index, bundle, flags};
    pthread_mutex_lock(&journal->lock);
    *journal->last_piece = piece;
    journal->last_piece = &piece->next;
    pthread_cond_signal(&journal->has_tasks);
    pthread_mutex_unlock(&journal->lock);
}

void
yk_journal_stop(struct yk_journal *journal)
{
    if (!journal->is_running) {
        return;
    }
    pthread_mutex_lock(&journal->lock);
    journal->is_ending = true;
    pthread_cond_signal(&journal->has_bundles);
    pthread_cond_signal(&journal->has_tasks);
    pthread_mutex_unlock(&journal->lock);
    pthread_join(journal->flusher, NULL);
    pthread_join(journal->keeper, NULL);
    journal->is_running = false;
}

void
yk_journal_drop_all(struct yk_journal *journal)
{
    char error[YK_ERROR_SIZE];
    YK_ASSERT(!journal->is_running);
    flusher_close(journal);
    for (uint32_t i = 0; i < journal->log.n_used; i++) {
        if (yk_segment_drop(&journal->segments, journal->log.used[i].number, error) != YK_OK) {
            yk_log(journal->config.world, YK_LOG_WARNING, "journal", "%s", error);
            return;
        }
    }
}

void
yk_journal_ask(struct yk_journal *journal, struct yk_journal_figures *ret_figures)
{
    pthread_mutex_lock(&journal->lock);
    *ret_figures = journal->figures;
    ret_figures->kept = yk_log_kept(&journal->log);
    pthread_mutex_unlock(&journal->lock);
}
