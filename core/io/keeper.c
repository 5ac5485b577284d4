/* The thread behind the flusher: makes files ready ahead, drops those that no lane needs, asks for
 * checkpoints when too much is kept, and writes snapshots. What it does may take its time; writes
 * do not wait for it unless the files run out. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

#include "core/io/journal_inside.h"
#include "core/replica/lane.h"

enum { RETRY_US = 1000000, POLL_MS = 50 };

/* Files */

static void
tell_full(struct yk_journal *journal, enum yk_err result, const char *error)
{
    const struct yk_world *world = journal->config.world;
    if (result != YK_OK) {
        journal->retry_us = world->now_us(world->arg) + RETRY_US;
    }
    if (result != YK_OK && !journal->is_full) {
        yk_log(
            world, YK_LOG_ERROR, "journal",
            "%s; when the files that are ready are full, writes are refused until there is space",
            error);
    } else if (result == YK_OK && journal->is_full) {
        yk_log(world, YK_LOG_NOTICE, "journal", "there is space for the journal again");
    }
    journal->is_full = result != YK_OK;
}

void
keeper_make_ready(struct yk_journal *journal)
{
    const struct yk_world *world = journal->config.world;
    char error[YK_ERROR_SIZE];
    struct yk_log_segment wanted;
    while (yk_log_wants(&journal->log, &wanted) &&
           (!journal->is_full || world->now_us(world->arg) >= journal->retry_us)) {
        struct yk_journal_head head = journal->head;
        head.number = wanted.number;
        head.start = wanted.start;
        head.size = wanted.size;
        head.salt = journal->salts[wanted.number % SALTS] = world->random(world->arg);
        pthread_mutex_unlock(&journal->lock);
        enum yk_err result = yk_segment_make(&journal->segments, &head, error);
        tell_full(journal, result, error);
        pthread_mutex_lock(&journal->lock);
        if (result != YK_OK) {
            return;
        }
        yk_journal_give(&journal->room, yk_log_ready(&journal->log));
    }
}

static uint64_t
needed_from(const struct yk_journal *journal)
{
    uint64_t from = UINT64_MAX;
    for (uint32_t i = 0; i < journal->config.n_workers; i++) {
        uint64_t needed = __atomic_load_n(&journal->needed_from[i], __ATOMIC_ACQUIRE);
        from = needed < from ? needed : from;
    }
    return from;
}

static void
trim(struct yk_journal *journal)
{
    struct yk_log_segment segment;
    char error[YK_ERROR_SIZE];
    uint64_t from = needed_from(journal);
    while (yk_log_trim(&journal->log, from, &segment)) {
        pthread_mutex_unlock(&journal->lock);
        if (yk_segment_drop(&journal->segments, segment.number, error) != YK_OK) {
            yk_log(journal->config.world, YK_LOG_ERROR, "journal", "%s", error);
        }
        pthread_mutex_lock(&journal->lock);
    }
}

/* Where engines are checkpointed by snapshots, as much journal is kept as makes them worth it. */
static uint64_t
size_max(const struct yk_journal *journal)
{
    uint64_t snapshots = 0;
    for (uint32_t i = 0; i < journal->config.n_buckets * journal->n_lanes; i++) {
        snapshots += journal->snapshot_sizes[i];
    }
    return journal->config.size_max > 2 * snapshots ? journal->config.size_max : 2 * snapshots;
}

/* True: there is something that workers have to do. */
static bool
press(struct yk_journal *journal)
{
    uint64_t below = yk_log_pressure(&journal->log, size_max(journal));
    __atomic_store_n(&journal->room.checkpoint_below, below, __ATOMIC_RELEASE);
    return below > needed_from(journal);
}

/* Snapshots */

static uint64_t *
snapshot_size(struct yk_journal *journal, const struct piece *piece)
{
    return &journal->snapshot_sizes[piece->bucket_index * journal->n_lanes + piece->lane_index];
}

static void
snapshot_paths(const struct yk_journal *journal, const struct piece *piece, char *path, char *fresh)
{
    yk_snapshot_path(journal->config.folder, journal->config.buckets[piece->bucket_index],
                     piece->lane_index, path);
    snprintf(fresh, YK_SEGMENT_PATH_SIZE, "%.4080s.new", path);
}

static struct snapshot **
find_snapshot(struct yk_journal *journal, const struct yk_lane *lane)
{
    struct snapshot **at = &journal->snapshots;
    while (*at != NULL && (*at)->lane != lane) {
        at = &(*at)->next;
    }
    return at;
}

static void
drop_snapshot(struct snapshot **at)
{
    struct snapshot *snapshot = *at;
    *at = snapshot->next;
    if (snapshot->fd >= 0) {
        close(snapshot->fd);
    }
    free(snapshot);
}

static enum yk_err
write_at_end(struct snapshot *snapshot, const uint8_t *bytes, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t written =
            pwrite(snapshot->fd, bytes + done, size - done, (off_t)(snapshot->size + done));
        if (written < 0 && errno != EINTR) {
            return errno == ENOSPC || errno == EDQUOT ? YK_ENOSPACE : YK_EIO;
        }
        done += written > 0 ? (uint64_t)written : 0;
    }
    snapshot->size += size;
    return YK_OK;
}

static enum yk_err
begin_snapshot(struct yk_journal *journal, const struct piece *piece, const char *fresh,
               struct snapshot **at)
{
    uint8_t bytes[YK_JOURNAL_HEAD_SIZE];
    struct yk_journal_head head = journal->head;
    head.align = YK_JOURNAL_ALIGN;
    head.n_buckets = 1;
    head.salt = journal->config.world->random(journal->config.world->arg);
    snprintf(head.buckets[0], YK_NAME_SIZE_MAX, "%s", journal->config.buckets[piece->bucket_index]);
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (snapshot == NULL) {
        return YK_ENOMEM;
    }
    *snapshot = (struct snapshot){.lane = piece->lane, .salt = head.salt};
    *at = snapshot;
    snapshot->fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    yk_journal_head_encode(&head, bytes);
    return snapshot->fd < 0 ? YK_EIO : write_at_end(snapshot, bytes, sizeof(bytes));
}

static enum yk_err
add_batch(struct yk_journal *journal, struct snapshot *snapshot, uint8_t *bytes, uint32_t size,
          uint32_t n_entries)
{
    const struct yk_world *world = journal->config.world;
    static const uint8_t zeros[YK_JOURNAL_ALIGN];
    struct yk_batch batch = {.position = snapshot->size,
                             .now_ms = world->now_ms(world->arg),
                             .n_entries = n_entries,
                             .size = size};
    yk_batch_seal(bytes, &batch, snapshot->salt);
    enum yk_err result = write_at_end(snapshot, bytes, size);
    if (result == YK_OK) {
        result = write_at_end(snapshot, zeros, yk_round_up(size, YK_JOURNAL_ALIGN) - size);
    }
    return result;
}

/* An empty batch says that nothing is missing. */
static enum yk_err
end_snapshot(struct yk_journal *journal, struct snapshot *snapshot, const char *fresh,
             const char *path)
{
    uint8_t bytes[YK_BATCH_HEAD_SIZE];
    char error[YK_ERROR_SIZE];
    enum yk_err result = add_batch(journal, snapshot, bytes, sizeof(bytes), 0);
    if (result == YK_OK && (fdatasync(snapshot->fd) < 0 || rename(fresh, path) < 0)) {
        result = YK_EIO;
    }
    if (result == YK_OK) {
        g_autofree char *folder = g_path_get_dirname(path);
        result = yk_file_sync_folder(folder, error);
    }
    return result;
}

enum yk_err
yk_snapshot_make_empty(const char *path, const uint8_t *id, const char *bucket, char *error)
{
    uint8_t bytes[YK_JOURNAL_HEAD_SIZE + YK_BATCH_HEAD_SIZE];
    struct yk_journal_head head = {.align = YK_JOURNAL_ALIGN, .n_buckets = 1};
    struct yk_batch batch = {.position = YK_JOURNAL_HEAD_SIZE, .size = YK_BATCH_HEAD_SIZE};
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    memcpy(head.id, id, YK_JOURNAL_ID_SIZE);
    snprintf(head.buckets[0], YK_NAME_SIZE_MAX, "%s", bucket);
    yk_journal_head_encode(&head, bytes);
    yk_batch_seal(bytes + YK_JOURNAL_HEAD_SIZE, &batch, head.salt);
    return yk_file_replace(folder, name, yk_slice_of(bytes, sizeof(bytes)), error);
}

static enum yk_err
write_piece(struct yk_journal *journal, const struct piece *piece)
{
    char path[YK_SEGMENT_PATH_SIZE], fresh[YK_SEGMENT_PATH_SIZE];
    struct snapshot **at = find_snapshot(journal, piece->lane);
    enum yk_err result = YK_OK;
    snapshot_paths(journal, piece, path, fresh);
    if ((piece->flags & YK_KEEP_FIRST) != 0) {
        result = begin_snapshot(journal, piece, fresh, at);
    }
    if (*at == NULL) {
        return result;
    }
    struct yk_bundle *bundle = piece->bundle;
    if (result == YK_OK && bundle != NULL && bundle->n_entries > 0) {
        result = add_batch(journal, *at, bundle->bytes, bundle->size, bundle->n_entries);
    }
    bool is_last = (piece->flags & YK_KEEP_LAST) != 0;
    if (result == YK_OK && is_last) {
        result = end_snapshot(journal, *at, fresh, path);
        *snapshot_size(journal, piece) = (*at)->size;
    }
    if (result != YK_OK) {
        yk_log(journal->config.world, YK_LOG_WARNING, "journal", "no snapshot %s: %s", path,
               strerror(errno));
    }
    if (result != YK_OK || (piece->flags & YK_KEEP_GIVE_UP) != 0) {
        (void)unlink(fresh);
        drop_snapshot(at);
    } else if (is_last) {
        drop_snapshot(at);
    }
    return result;
}

static void
write_pieces(struct yk_journal *journal)
{
    while (journal->pieces != NULL) {
        struct piece *piece = journal->pieces;
        journal->pieces = piece->next;
        if (journal->pieces == NULL) {
            journal->last_piece = &journal->pieces;
        }
        pthread_mutex_unlock(&journal->lock);
        enum yk_err result = write_piece(journal, piece);
        if ((piece->flags & YK_KEEP_GIVE_UP) == 0) {
            journal->config.kept(journal->config.arg, piece->lane, result);
        }
        pthread_mutex_lock(&journal->lock);
        journal->figures.snapshots += result == YK_OK && (piece->flags & YK_KEEP_LAST) != 0 ? 1 : 0;
        free(piece);
    }
}

/* The thread */

static void
wait_for_tasks(struct yk_journal *journal, bool is_attentive)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_MS * 1000000l;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (is_attentive) {
        (void)pthread_cond_timedwait(&journal->has_tasks, &journal->lock, &until);
    } else {
        (void)pthread_cond_wait(&journal->has_tasks, &journal->lock);
    }
}

void *
keeper_run(void *arg)
{
    struct yk_journal *journal = arg;
    pthread_mutex_lock(&journal->lock);
    while (!journal->is_ending || journal->pieces != NULL) {
        write_pieces(journal);
        trim(journal);
        keeper_make_ready(journal);
        bool is_pressed = press(journal);
        if (is_pressed) {
            pthread_mutex_unlock(&journal->lock);
            journal->config.pressed(journal->config.arg);
            pthread_mutex_lock(&journal->lock);
        }
        if (journal->pieces == NULL && !journal->is_ending) {
            wait_for_tasks(journal, is_pressed || journal->is_full);
        }
    }
    pthread_mutex_unlock(&journal->lock);
    return NULL;
}

void
keeper_close(struct yk_journal *journal)
{
    while (journal->snapshots != NULL) {
        drop_snapshot(&journal->snapshots);
    }
    free(journal->snapshot_sizes);
    journal->snapshot_sizes = NULL;
}
