/* The journal's start and end in a daemon. */
#include <config.h>

#include "core/start/keep.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "core/io/recovery.h"

/* Threads of the journal */

static void
done(void *arg, struct yk_bundle *first)
{
    struct yk_keep *keep = arg;
    yk_threads_journaled(*keep->threads, first);
}

static void
kept(void *arg, struct yk_lane *lane, enum yk_err result)
{
    struct yk_keep *keep = arg;
    yk_threads_kept(*keep->threads, lane, result);
}

static void
pressed(void *arg)
{
    struct yk_keep *keep = arg;
    struct yk_threads *threads = __atomic_load_n(keep->threads, __ATOMIC_ACQUIRE);
    if (threads != NULL) {
        yk_threads_wake(threads);
    }
}

static void
failed(void *arg)
{
    (void)arg;
    _exit(1);
}

/* Opening */

static bool
has_journal(const struct yk_bucket_config *bucket)
{
    return bucket->durability != YK_DURABILITY_MEMORY;
}

/* Bytes of the longest record that a bucket may hold, or of the flush of a lane. */
static uint64_t
entry_size_max(const struct yk_config *config)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        const struct yk_bucket_config *bucket = &config->buckets[i];
        uint64_t flush = (uint64_t)(bucket->slots / config->node.lanes + 2) * yk_entry_size(0, 8);
        uint64_t record =
            yk_entry_size(bucket->key_size_max, bucket->value_size_max + YK_RECORD_OVERHEAD_MAX) +
            YK_ENTRY_TOKEN_SIZE;
        if (has_journal(bucket)) {
            largest = flush > largest ? flush : largest;
            largest = record > largest ? record : largest;
        }
    }
    return largest;
}

static void
read_uuid(const char *text, uint8_t *to)
{
    uint32_t n = 0;
    for (; *text != '\0' && n < 2 * YK_JOURNAL_ID_SIZE; text++) {
        int digit = g_ascii_xdigit_value(*text);
        if (digit >= 0) {
            to[n / 2] = (uint8_t)(to[n / 2] << 4 | digit);
            n++;
        }
    }
}

void
yk_keep_id(const struct yk_datadir *datadir, uint8_t id[YK_JOURNAL_ID_SIZE])
{
    memset(id, 0, YK_JOURNAL_ID_SIZE);
    read_uuid(datadir->node_id, id);
}

bool
yk_keep_needs_snapshots(const struct yk_bucket_config *bucket, const struct yk_backend_info *info)
{
    bool is_volatile = (info->caps & YK_BACKEND_VOLATILE) != 0;
    bool survives_kill = (info->caps & YK_BACKEND_SURVIVES_KILL) != 0;
    bool survives_power = (info->caps & YK_BACKEND_SURVIVES_POWER) != 0;
    bool may_be_lost =
        !survives_kill || (bucket->durability == YK_DURABILITY_DISK && !survives_power);
    return has_journal(bucket) && !is_volatile && may_be_lost;
}

/* What an engine keeps is trusted after an end that it bears; the journal makes up for the rest. */
bool
yk_keep_is_trusted(const struct yk_datadir *datadir, const struct yk_backend_info *info)
{
    bool survives_kill = (info->caps & YK_BACKEND_SURVIVES_KILL) != 0;
    bool survives_power = (info->caps & YK_BACKEND_SURVIVES_POWER) != 0;
    return datadir->was_clean ||
           (datadir->same_boot ? survives_kill : survives_kill && survives_power);
}

static void
look_at_bucket(struct yk_keep *keep, uint32_t index, const struct yk_backend_info *info)
{
    const struct yk_bucket_config *bucket = &keep->config->buckets[index];
    keep->names[index] = bucket->name;
    keep->needs_snapshots[index] = yk_keep_needs_snapshots(bucket, info);
    keep->is_wiped[index] =
        keep->needs_snapshots[index] && !yk_keep_is_trusted(keep->datadir, info);
}

static enum yk_err
open_journal(struct yk_keep *keep, uint32_t n_workers, char *error)
{
    const struct yk_config *config = keep->config;
    struct yk_journal_config journal = {.world = keep->world,
                                        .folder = keep->datadir->path,
                                        .lost_power =
                                            !keep->datadir->same_boot && !keep->datadir->was_clean,
                                        .n_buckets = config->n_buckets,
                                        .buckets = keep->names,
                                        .entry_size_max = entry_size_max(config),
                                        .size_max = config->node.journal_size,
                                        .n_workers = n_workers,
                                        .n_lanes = config->node.lanes,
                                        .arg = keep,
                                        .done = done,
                                        .kept = kept,
                                        .pressed = pressed,
                                        .failed = failed};
    memcpy(journal.id, keep->id, sizeof(journal.id));
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        journal.has_disk |= config->buckets[i].durability == YK_DURABILITY_DISK;
        journal.has_os |= config->buckets[i].durability == YK_DURABILITY_OS;
    }
    return journal.has_disk || journal.has_os ? yk_journal_open(&journal, &keep->journal, error)
                                              : YK_OK;
}

/* Where snapshots go, also of engines that keep nothing. */
static enum yk_err
make_bucket_folder(struct yk_keep *keep, uint32_t index, char *error)
{
    g_autofree char *path = g_build_filename(keep->datadir->path, keep->names[index], NULL);
    if (g_mkdir_with_parents(path, 0750) < 0) {
        return yk_file_fail("make the folder", path, error);
    }
    return yk_file_sync_folder(keep->datadir->path, error);
}

/* Without a journal a bucket begins anew: what an earlier one kept must not come back later. */
static void
forget_snapshots(struct yk_keep *keep, uint32_t index)
{
    char path[YK_SEGMENT_PATH_SIZE];
    for (uint32_t lane = 0; lane < keep->config->node.lanes; lane++) {
        yk_snapshot_path(keep->datadir->path, keep->names[index], lane, path);
        (void)unlink(path);
    }
}

enum yk_err
yk_keep_open(struct yk_keep *keep, const struct yk_world *world, const struct yk_config *config,
             const struct yk_datadir *datadir, uint32_t n_workers,
             struct yk_threads *const *threads, char *error)
{
    *keep =
        (struct yk_keep){.world = world, .config = config, .datadir = datadir, .threads = threads};
    yk_keep_id(datadir, keep->id);
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        struct yk_backend_info info;
        enum yk_err result = yk_node_ask(config, world, i, &info, error);
        if (result != YK_OK) {
            return result;
        }
        look_at_bucket(keep, i, &info);
        if (!has_journal(&config->buckets[i])) {
            forget_snapshots(keep, i);
            continue;
        }
        result = make_bucket_folder(keep, i, error);
        if (result != YK_OK) {
            return result;
        }
    }
    return open_journal(keep, n_workers, error);
}

/* Folders of lanes */

static enum yk_err
empty_folder(const char *path, char *error)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;
    while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        if (g_remove(file) < 0) {
            return yk_file_fail("remove", file, error);
        }
    }
    return yk_file_sync_folder(path, error);
}

static uint32_t
bucket_index(const struct yk_keep *keep, const char *name)
{
    uint32_t i = 0;
    while (strcmp(keep->names[i], name) != 0) {
        i++;
    }
    return i;
}

char *
yk_keep_lane_folder(struct yk_keep *keep, const struct yk_backend_place *place, char *error)
{
    uint32_t index = bucket_index(keep, place->bucket);
    g_autofree char *lane = g_strdup_printf("lane-%03u", place->lane);
    g_autofree char *old = g_build_filename(keep->datadir->path, place->bucket, lane, NULL);
    bool was_there = g_file_test(old, G_FILE_TEST_IS_DIR);
    char snapshot[YK_SEGMENT_PATH_SIZE];
    g_autofree char *path =
        yk_datadir_lane_folder(keep->datadir, place->bucket, place->lane, error);
    if (path == NULL || !keep->needs_snapshots[index]) {
        return g_steal_pointer(&path);
    }
    yk_snapshot_path(keep->datadir->path, place->bucket, place->lane, snapshot);
    enum yk_err result = YK_OK;
    if (!was_there) {
        result = yk_snapshot_make_empty(snapshot, keep->id, place->bucket, error);
    } else if (keep->is_wiped[index] && g_file_test(snapshot, G_FILE_TEST_EXISTS)) {
        result = empty_folder(path, error);
    }
    return result == YK_OK ? g_steal_pointer(&path) : NULL;
}

/* Recovery */

/* A lane that has no snapshot, though it needs one: the bucket had another durability before. */
static void
want_snapshots(struct yk_keep *keep, struct yk_node *node)
{
    char path[YK_SEGMENT_PATH_SIZE];
    for (uint32_t i = 0; i < node->n_buckets; i++) {
        for (uint32_t lane = 0; keep->needs_snapshots[i] && lane < keep->config->node.lanes;
             lane++) {
            yk_snapshot_path(keep->datadir->path, keep->names[i], lane, path);
            if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
                yk_lane_want_checkpoint(yk_node_lane(node, i, lane));
            }
        }
    }
}

enum yk_err
yk_keep_recover(struct yk_keep *keep, struct yk_node *node, char *error)
{
    if (keep->journal == NULL) {
        return YK_OK;
    }
    struct yk_recovery recovery = {.world = keep->world,
                                   .config = keep->config,
                                   .node = node,
                                   .journal = keep->journal,
                                   .folder = keep->datadir->path,
                                   .id = keep->id,
                                   .is_wiped = keep->is_wiped};
    struct yk_recovery_figures figures;
    uint64_t began_us = keep->world->now_us(keep->world->arg);
    enum yk_err result = yk_recover(&recovery, &figures, error);
    if (result != YK_OK) {
        return result;
    }
    uint64_t took_us = keep->world->now_us(keep->world->arg) - began_us;
    yk_log(keep->world, YK_LOG_NOTICE, "journal",
           "recovered records=%llu journal_bytes=%llu ms=%llu clean=%s",
           (unsigned long long)figures.records, (unsigned long long)figures.journal_bytes,
           (unsigned long long)(took_us / 1000), keep->datadir->was_clean ? "yes" : "no");
    want_snapshots(keep, node);
    return yk_journal_start(keep->journal, error);
}

/* Closing */

void
yk_keep_close(struct yk_keep *keep, struct yk_node *node, bool is_clean)
{
    if (keep->journal == NULL) {
        return;
    }
    yk_journal_stop(keep->journal);
    bool needs_none = is_clean && node != NULL;
    for (uint32_t i = 0; is_clean && node != NULL && i < node->n_buckets; i++) {
        for (uint32_t k = 0; k < keep->config->node.lanes; k++) {
            needs_none = yk_lane_settle(yk_node_lane(node, i, k)) == YK_OK && needs_none;
        }
    }
    if (needs_none) {
        yk_journal_drop_all(keep->journal);
    }
    yk_journal_close(keep->journal);
    keep->journal = NULL;
}
