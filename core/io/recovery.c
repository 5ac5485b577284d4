/* Recovery, one thread for each worker: each reads the whole journal and takes what is its own. */
#include <config.h>

#include "core/io/recovery.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "core/base/limits.h"

/* One worker's part. */
struct part {
    const struct yk_recovery *recovery;
    uint32_t worker;
    struct yk_lane *lane; /* whose snapshot is being loaded */
    bool only_pages;      /* of it: the engine has the records */
    enum yk_err result;
    uint64_t n_records;
    char error[YK_ERROR_SIZE];
};

static bool
is_own(const struct part *part, const struct yk_lane *lane)
{
    return yk_lane_index(lane) % part->recovery->node->n_workers == part->worker;
}

/* Calls fn for the worker's lanes that have a journal. */
static enum yk_err
each_lane(struct part *part, enum yk_err (*fn)(struct part *part, struct yk_lane *lane))
{
    struct yk_node *node = part->recovery->node;
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; i < node->n_buckets; i++) {
        for (uint32_t k = 0; result == YK_OK && k < node->buckets[i]->ring.n_lanes; k++) {
            struct yk_lane *lane = yk_node_lane(node, i, k);
            if (is_own(part, lane) && yk_lane_is_journaled(lane) && !yk_lane_is_shut(lane)) {
                result = fn(part, lane);
            }
        }
    }
    return result;
}

static enum yk_err
failed(struct part *part, const struct yk_lane *lane, const char *what, enum yk_err result)
{
    snprintf(part->error, YK_ERROR_SIZE, "bucket %s, lane %u: cannot %s: %s%s",
             part->recovery->node->buckets[yk_lane_bucket(lane)]->name, yk_lane_index(lane), what,
             yk_err_text(result),
             result == YK_ENOMEM ? "; set a greater memory_max, or give it more memory" : "");
    return result;
}

/* Engines and snapshots */

static enum yk_err
take_snapshot_entry(void *arg, const char *bucket, const struct yk_entry *entry, uint64_t position,
                    uint64_t now_ms)
{
    struct part *part = arg;
    (void)bucket;
    (void)now_ms;
    if (part->only_pages && entry->kind != YK_ENTRY_PAGE) {
        return YK_OK;
    }
    return yk_lane_replay(part->lane, entry, position, 0);
}

static enum yk_err
load_snapshot(struct part *part, struct yk_lane *lane)
{
    const struct yk_recovery *recovery = part->recovery;
    const char *bucket = recovery->node->buckets[yk_lane_bucket(lane)]->name;
    char path[YK_SEGMENT_PATH_SIZE];
    yk_snapshot_path(recovery->folder, bucket, yk_lane_index(lane), path);
    part->lane = lane;
    part->error[0] = '\0';
    enum yk_err result =
        yk_snapshot_load(path, recovery->id, take_snapshot_entry, part, part->error);
    if (result == YK_ENOTFOUND) {
        return YK_OK;
    }
    return result == YK_OK || part->error[0] != '\0'
               ? result
               : failed(part, lane, "load the snapshot", result);
}

/* It holds something that cannot be read or changed: then its keys are refused, and the others are
 * served. */
static enum yk_err
shut(struct part *part, struct yk_lane *lane, const char *what)
{
    yk_log(part->recovery->world, YK_LOG_ERROR, "store",
           "bucket %s, lane %u: %s is damaged; this part of the keys is refused, the others are "
           "served",
           part->recovery->node->buckets[yk_lane_bucket(lane)]->name, yk_lane_index(lane), what);
    yk_lane_shut(lane);
    return YK_OK;
}

static enum yk_err
begin_lane(struct part *part, struct yk_lane *lane)
{
    enum yk_err result = yk_lane_recover(lane);
    if (result == YK_ECORRUPT) {
        return shut(part, lane, "what the engine says of itself");
    }
    if (result != YK_OK) {
        return failed(part, lane, "read what the engine says of itself", result);
    }
    bool is_empty = yk_lane_is_volatile(lane) || part->recovery->is_wiped[yk_lane_bucket(lane)];
    part->only_pages = !is_empty;
    return yk_lane_needs_snapshots(lane) ? load_snapshot(part, lane) : YK_OK;
}

/* The journal */

static int
bucket_index(const struct yk_node *node, const char *name)
{
    for (uint32_t i = 0; i < node->n_buckets; i++) {
        if (strcmp(node->buckets[i]->name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Writes of a bucket that the config does not know, or of which it wants no journal any more. */
static enum yk_err
check_stranger(struct part *part, const char *bucket, bool is_known)
{
    g_autofree char *folder = g_build_filename(part->recovery->folder, bucket, NULL);
    if (!is_known && !g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        return YK_OK; /* its data was removed, and so was its claim */
    }
    snprintf(part->error, YK_ERROR_SIZE,
             is_known
                 ? "bucket %s has durability = memory now, and the journal holds writes that its "
                   "engine has not yet; start it once with durability = os, and stop it"
                 : "the journal holds writes of bucket %s, which the config does not name; add "
                   "the bucket again, or remove its folder from the data folder",
             bucket);
    return YK_EINVALID;
}

static enum yk_err
take_entry(void *arg, const char *bucket, const struct yk_entry *entry, uint64_t position,
           uint64_t now_ms)
{
    struct part *part = arg;
    struct yk_node *node = part->recovery->node;
    int index = bucket_index(node, bucket);
    if (index < 0) {
        return check_stranger(part, bucket, false);
    }
    const struct yk_ring *ring = &node->buckets[index]->ring;
    if (entry->slot >> ring->slot_bits != 0) {
        return YK_ECORRUPT;
    }
    uint32_t number = yk_ring_lane(ring, entry->slot);
    if (number % node->n_workers != part->worker) {
        return YK_OK;
    }
    struct yk_lane *lane = yk_node_lane(node, (uint32_t)index, number);
    if (yk_lane_is_shut(lane)) {
        return YK_OK;
    }
    if (!yk_lane_is_journaled(lane)) {
        return yk_lane_is_volatile(lane) ? YK_OK : check_stranger(part, bucket, true);
    }
    enum yk_err result = yk_lane_replay(lane, entry, position, now_ms);
    if (result == YK_ECORRUPT && !yk_lane_is_volatile(lane)) {
        return shut(part, lane, "what the journal changes in the engine");
    }
    return result == YK_OK ? YK_OK : failed(part, lane, "replay the journal", result);
}

static enum yk_err
end_lane(struct part *part, struct yk_lane *lane)
{
    uint64_t n_records = 0;
    enum yk_err result = yk_lane_recovered(lane, &n_records);
    part->n_records += n_records;
    if (result == YK_ECORRUPT && !yk_lane_is_volatile(lane)) {
        return shut(part, lane, "what the journal changes in the engine");
    }
    return result == YK_OK ? YK_OK : failed(part, lane, "end its recovery", result);
}

/* All */

static void *
run_part(void *arg)
{
    struct part *part = arg;
    part->result = each_lane(part, begin_lane);
    if (part->result == YK_OK) {
        part->result = yk_journal_replay(part->recovery->journal, take_entry, part);
    }
    if (part->result == YK_OK) {
        part->result = each_lane(part, end_lane);
    }
    if (part->result != YK_OK && part->error[0] == '\0') {
        snprintf(part->error, YK_ERROR_SIZE, "cannot replay the journal: %s",
                 yk_err_text(part->result));
    }
    return NULL;
}

enum yk_err
yk_recover(const struct yk_recovery *recovery, struct yk_recovery_figures *ret_figures, char *error)
{
    uint32_t n = recovery->node->n_workers;
    g_autofree struct part *parts = g_new0(struct part, n);
    g_autofree pthread_t *threads = g_new0(pthread_t, n);
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; i < n; i++) {
        parts[i].recovery = recovery;
        parts[i].worker = i;
        if (i == n - 1 || pthread_create(&threads[i], NULL, run_part, &parts[i]) != 0) {
            threads[i] = 0;
            run_part(&parts[i]);
        }
    }
    *ret_figures =
        (struct yk_recovery_figures){.journal_bytes = yk_journal_found_bytes(recovery->journal)};
    for (uint32_t i = 0; i < n; i++) {
        if (threads[i] != 0) {
            pthread_join(threads[i], NULL);
        }
        ret_figures->records += parts[i].n_records;
        if (parts[i].result != YK_OK && result == YK_OK) {
            result = parts[i].result;
            memcpy(error, parts[i].error, YK_ERROR_SIZE);
        }
    }
    return result;
}
