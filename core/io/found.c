/* What a start finds of the journal: which files are part of the log, where each ends, and whether
 * one is damaged. */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <glib.h>

#include "core/io/journal_inside.h"

static const struct yk_chain_file *
last_found(const struct yk_journal *journal)
{
    return journal->n_found > 0 ? &journal->found[journal->n_found - 1] : NULL;
}

/* ECORRUPT where the log breaks off; after a loss of power that is to be borne where nothing was
 * promised over one. */
static enum yk_err
take_file(struct yk_journal *journal, struct yk_chain *chain, uint64_t number, char *error)
{
    char path[YK_SEGMENT_PATH_SIZE];
    struct yk_chain_file *found = &journal->found[journal->n_found];
    bool is_used;
    yk_segment_path(journal->folder, number, path);
    enum yk_err result = yk_chain_read(chain, path, number, found, &is_used, error);
    bool is_partly =
        result == YK_ECORRUPT && is_used && journal->config.lost_power && !found->is_certain;
    if (is_used && (result == YK_OK || is_partly)) {
        yk_chain_add(chain, found);
        journal->n_found++;
        journal->found_bytes += found->end;
        return result;
    }
    yk_file_unmap(&found->mapped);
    if (result == YK_OK) {
        yk_chain_skip(chain, number);
    }
    return result;
}

/* Files that were ready, and those of which nothing can be read, behind the log's end. */
static enum yk_err
drop_unused(struct yk_journal *journal, const uint64_t *numbers, uint32_t n, char *error)
{
    uint64_t last = journal->n_found > 0 ? last_found(journal)->number : 0;
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; result == YK_OK && i < n; i++) {
        if (numbers[i] > last) {
            result = yk_segment_drop(&journal->segments, numbers[i], error);
        }
    }
    return result;
}

/* What stands behind the end of the last file is made zeros: it is not to be found by a later
 * start, which may not have lost power. */
static enum yk_err
clear_rest(const struct yk_journal *journal, const struct yk_chain_file *found, char *error)
{
    char path[YK_SEGMENT_PATH_SIZE];
    yk_segment_path(journal->folder, found->number, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_clear = fd >= 0 && ftruncate(fd, (off_t)found->end) == 0 &&
                    ftruncate(fd, (off_t)found->mapped.bytes.size) == 0 && fsync(fd) == 0;
    enum yk_err result = is_clear ? YK_OK : yk_file_fail("clear the end of", path, error);
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

static void
drop_rest(struct yk_journal *journal, const uint64_t *numbers, uint32_t n, const char *reason)
{
    char error[YK_ERROR_SIZE];
    yk_log(journal->config.world, YK_LOG_WARNING, "journal",
           "what followed is lost with the power, as durability = os allows: %s", reason);
    for (uint32_t i = 0; i < n; i++) {
        (void)!yk_segment_drop(&journal->segments, numbers[i], error);
    }
}

static enum yk_err
take_files(struct yk_journal *journal, const uint64_t *numbers, uint32_t n, char *error)
{
    struct yk_chain chain = {.id = journal->config.id};
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; result == YK_OK && i < n; i++) {
        const struct yk_chain_file *before = last_found(journal);
        const struct yk_chain_file *found = &journal->found[journal->n_found];
        result = take_file(journal, &chain, numbers[i], error);
        if (result == YK_ECORRUPT && journal->config.lost_power && !found->is_certain) {
            bool is_partly = last_found(journal) != before;
            drop_rest(journal, numbers + i + is_partly, n - i - is_partly, error);
            return is_partly ? clear_rest(journal, last_found(journal), error) : YK_OK;
        }
    }
    return result == YK_OK ? drop_unused(journal, numbers, n, error) : result;
}

enum yk_err
found_open(struct yk_journal *journal, char *error)
{
    uint32_t n = UINT32_MAX; /* stays so where the folder cannot be read */
    g_autofree uint64_t *numbers = yk_segments_list(journal->folder, &n, error);
    if (numbers == NULL && n > 0) {
        return YK_EIO;
    }
    journal->found = calloc(n + 1u, sizeof(struct yk_chain_file));
    if (journal->found == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    enum yk_err result = take_files(journal, numbers, n, error);
    for (uint32_t i = 0; result == YK_OK && i < journal->n_found; i++) {
        const struct yk_chain_file *found = &journal->found[i];
        struct yk_log_segment segment = {.number = found->number,
                                         .start = found->head.start,
                                         .size = found->head.size,
                                         .end = found->head.start + found->end};
        result = yk_log_found(&journal->log, &segment);
    }
    return result;
}

void
found_close(struct yk_journal *journal)
{
    for (uint32_t i = 0; i < journal->n_found; i++) {
        yk_file_unmap(&journal->found[i].mapped);
    }
    free(journal->found);
    journal->found = NULL;
    journal->n_found = 0;
}

/* Replay */

static enum yk_err
replay_batch(const struct yk_journal_head *head, const struct yk_batch *batch, uint64_t position,
             yk_replay_fn fn, void *arg)
{
    struct yk_entry entry;
    size_t offset = 0;
    enum yk_err result;
    while ((result = yk_entry_next(batch, &offset, &entry)) == YK_OK) {
        const char *bucket = entry.bucket < head->n_buckets ? head->buckets[entry.bucket] : "";
        result = fn(arg, bucket, &entry, position, batch->now_ms);
        if (result != YK_OK) {
            return result;
        }
    }
    return result == YK_ENOTFOUND ? YK_OK : result;
}

enum yk_err
yk_journal_replay(const struct yk_journal *journal, yk_replay_fn fn, void *arg)
{
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; result == YK_OK && i < journal->n_found; i++) {
        const struct yk_chain_file *found = &journal->found[i];
        struct yk_reader reader;
        struct yk_batch batch;
        result = yk_reader_open(found->mapped.bytes, journal->config.id, &reader);
        while (result == YK_OK && reader.offset < found->end && yk_reader_next(&reader, &batch)) {
            result = replay_batch(&found->head, &batch, batch.position, fn, arg);
        }
    }
    return result;
}

/* Snapshots */

void
yk_snapshot_path(const char *folder, const char *bucket, uint32_t lane, char *to)
{
    snprintf(to, YK_SEGMENT_PATH_SIZE, "%.3800s/%.64s/lane-%03u.snapshot", folder, bucket, lane);
}

static enum yk_err
load_batches(const char *path, const uint8_t *id, const struct yk_mapped *mapped, yk_replay_fn fn,
             void *arg, char *error)
{
    struct yk_reader reader;
    struct yk_batch batch;
    bool is_whole = false;
    enum yk_err result = yk_reader_open(mapped->bytes, id, &reader);
    while (result == YK_OK && !is_whole && yk_reader_next(&reader, &batch)) {
        result = replay_batch(&reader.head, &batch, UINT64_MAX, fn, arg);
        is_whole = batch.n_entries == 0;
    }
    if (result == YK_ENOTFOUND || result == YK_ECORRUPT || (result == YK_OK && !is_whole)) {
        return yk_chain_damaged(path, error, "it is not readable from byte %llu on",
                                (unsigned long long)(result == YK_OK ? reader.offset : 0));
    }
    return result;
}

enum yk_err
yk_snapshot_load(const char *path, const uint8_t *id, yk_replay_fn fn, void *arg, char *error)
{
    struct yk_mapped mapped;
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        return YK_ENOTFOUND;
    }
    enum yk_err result = yk_file_map(path, &mapped, error);
    if (result == YK_OK) {
        result = load_batches(path, id, &mapped, fn, arg, error);
        yk_file_unmap(&mapped);
    }
    return result;
}
