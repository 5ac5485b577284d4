/* What a start finds of the journal: which files are part of the log, where each ends, and whether
 * one is damaged. */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <glib.h>

#include "core/io/journal_inside.h"

/* Does a batch stand in the file, though its head does not say what it is? start: position of the
 * file; UINT64_MAX: not known, whatever the batch says of its own is believed. */
static bool
has_batches(const struct yk_mapped *mapped, uint64_t start)
{
    enum { POSITION = 8 /* offset of it in a batch's head */ };
    struct yk_batch batch;
    for (uint64_t at = YK_JOURNAL_HEAD_SIZE; at + YK_BATCH_HEAD_SIZE <= mapped->bytes.size;
         at += YK_JOURNAL_ALIGN) {
        struct yk_slice rest =
            yk_slice_of((const uint8_t *)mapped->bytes.data + at, mapped->bytes.size - at);
        uint64_t position = start + at;
        if (start == UINT64_MAX) {
            memcpy(&position, (const uint8_t *)rest.data + POSITION, sizeof(position));
        }
        if (yk_batch_decode(rest, position, 0, &batch) != YK_ENOTFOUND) {
            return true; /* that its checksum does not fit is because of the salt */
        }
    }
    return false;
}

static const struct found *
last_found(const struct yk_journal *journal)
{
    return journal->n_found > 0 ? &journal->found[journal->n_found - 1] : NULL;
}

static enum yk_err damaged(const char *path, char *error, const char *format, ...) YK_PRINTF(3, 4);

static enum yk_err
damaged(const char *path, char *error, const char *format, ...)
{
    char reason[YK_ERROR_SIZE / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    snprintf(
        error, YK_ERROR_SIZE,
        "the journal is damaged: %.160s: %.200s; restore the data folder, or see \"yakumo journal "
        "--help\"",
        path, reason);
    return YK_ECORRUPT;
}

/* Sets found->head, or *ret_is_used to false: the file is no part of the log. */
static enum yk_err
read_head(struct yk_journal *journal, struct found *found, const char *path, bool *ret_is_used,
          char *error)
{
    const struct found *before = last_found(journal);
    uint64_t start = before != NULL ? before->head.start + before->head.size : UINT64_MAX;
    enum yk_err result = yk_journal_head_decode(found->mapped.bytes, &found->head);
    *ret_is_used = result == YK_OK;
    if (result == YK_EUNSUPPORTED) {
        snprintf(error, YK_ERROR_SIZE, "%.300s: made by a newer version of yakumo", path);
        return YK_EINVALID;
    }
    if (*ret_is_used && memcmp(found->head.id, journal->config.id, YK_JOURNAL_ID_SIZE) != 0) {
        snprintf(error, YK_ERROR_SIZE, "%.300s: belongs to another node", path);
        return YK_EINVALID;
    }
    if (*ret_is_used && found->head.number != found->number) {
        return damaged(path, error, "it is file %llu by its head",
                       (unsigned long long)found->head.number);
    }
    if (!*ret_is_used && has_batches(&found->mapped, start)) {
        return damaged(path, error, "its head is not readable, and there are writes behind it");
    }
    return YK_OK;
}

/* Is the log whole up to this file? */
static enum yk_err
check_chain(struct yk_journal *journal, const struct found *found, uint64_t previous_end,
            const char *path, char *error)
{
    const struct found *before = last_found(journal);
    if (before == NULL) {
        return YK_OK;
    }
    if (found->number != before->number + 1) {
        return damaged(path, error, "file %llu is missing before it",
                       (unsigned long long)before->number + 1);
    }
    if (found->head.start != before->head.start + before->head.size) {
        return damaged(path, error, "it does not follow the one before it");
    }
    if (previous_end != before->head.start + before->end) {
        return damaged(path, error,
                       "the file before it has lost its end (it has %llu bytes, and had %llu)",
                       (unsigned long long)before->end,
                       (unsigned long long)(previous_end - before->head.start));
    }
    return YK_OK;
}

/* *ret_is_used: there is anything in it. */
static enum yk_err
find_end(struct yk_journal *journal, struct found *found, const char *path, bool *ret_is_used,
         char *error)
{
    struct yk_reader reader;
    struct yk_batch batch;
    enum yk_err result = yk_reader_open(found->mapped.bytes, journal->config.id, &reader);
    *ret_is_used = result == YK_OK && yk_reader_next(&reader, &batch);
    if (*ret_is_used) {
        result = check_chain(journal, found, batch.previous_end, path, error);
    }
    while (result == YK_OK && *ret_is_used && yk_reader_next(&reader, &batch)) {
    }
    if (result == YK_OK && reader.ending == YK_ENDING_DAMAGED) {
        result = damaged(path, error,
                         "what stands at byte %llu is not readable, and there are "
                         "writes behind it (at byte %llu)",
                         (unsigned long long)reader.offset, (unsigned long long)reader.damage_end);
    }
    found->end = reader.offset;
    return result;
}

/* ECORRUPT where the log breaks off; after a loss of power that is to be borne where nothing was
 * promised over one. */
static enum yk_err
take_file(struct yk_journal *journal, uint64_t number, char *error)
{
    char path[YK_SEGMENT_PATH_SIZE];
    struct found *found = &journal->found[journal->n_found];
    bool is_used = false;
    yk_segment_path(journal->folder, number, path);
    *found = (struct found){.number = number};
    enum yk_err result = yk_file_map(path, &found->mapped, error);
    if (result == YK_OK) {
        result = read_head(journal, found, path, &is_used, error);
    }
    if (result == YK_OK && is_used) {
        result = find_end(journal, found, path, &is_used, error);
        bool is_partly = result == YK_ECORRUPT && is_used && journal->config.lost_power &&
                         !found->head.is_synced;
        if (is_used && (result == YK_OK || is_partly)) {
            journal->n_found++;
            journal->found_bytes += found->end;
            return result;
        }
    }
    yk_file_unmap(&found->mapped);
    if (result == YK_OK) {
        result = yk_segment_drop(&journal->segments, number, error);
    }
    return result;
}

/* What stands behind the end of the last file is made zeros: it is not to be found by a later
 * start, which may not have lost power. */
static enum yk_err
clear_rest(const struct yk_journal *journal, const struct found *found, char *error)
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
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; result == YK_OK && i < n; i++) {
        const struct found *before = last_found(journal);
        const struct found *found = &journal->found[journal->n_found];
        result = take_file(journal, numbers[i], error);
        bool was_synced = before != NULL ? before->head.is_synced : found->head.is_synced;
        if (result == YK_ECORRUPT && journal->config.lost_power && !was_synced) {
            bool is_partly = last_found(journal) != before;
            drop_rest(journal, numbers + i + is_partly, n - i - is_partly, error);
            return is_partly ? clear_rest(journal, last_found(journal), error) : YK_OK;
        }
    }
    return result;
}

enum yk_err
found_open(struct yk_journal *journal, char *error)
{
    uint32_t n = UINT32_MAX; /* stays so where the folder cannot be read */
    g_autofree uint64_t *numbers = yk_segments_list(journal->folder, &n, error);
    if (numbers == NULL && n > 0) {
        return YK_EIO;
    }
    journal->found = calloc(n + 1u, sizeof(struct found));
    if (journal->found == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    enum yk_err result = take_files(journal, numbers, n, error);
    for (uint32_t i = 0; result == YK_OK && i < journal->n_found; i++) {
        const struct found *found = &journal->found[i];
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
        const struct found *found = &journal->found[i];
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
        return damaged(path, error, "it is not readable from byte %llu on",
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
