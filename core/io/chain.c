/* Which files are part of the log, where each ends, and whether one is damaged. */
#include <config.h>

#include "core/io/chain.h"

#include <stdarg.h>
#include <stdio.h>

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

enum yk_err
yk_chain_damaged(const char *path, char *error, const char *format, ...)
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

/* Sets file->head, or *ret_is_used to false: the file is no part of the log. */
static enum yk_err
read_head(const struct yk_chain *chain, struct yk_chain_file *file, const char *path,
          bool *ret_is_used, char *error)
{
    enum yk_err result = yk_journal_head_decode(file->mapped.bytes, &file->head);
    *ret_is_used = result == YK_OK;
    if (result == YK_EUNSUPPORTED) {
        snprintf(error, YK_ERROR_SIZE, "%.300s: made by a newer version of yakumo", path);
        return YK_EINVALID;
    }
    if (*ret_is_used && chain->id != NULL &&
        memcmp(file->head.id, chain->id, YK_JOURNAL_ID_SIZE) != 0) {
        snprintf(error, YK_ERROR_SIZE, "%.300s: belongs to another node", path);
        return YK_EINVALID;
    }
    if (*ret_is_used && file->head.number != file->number) {
        return yk_chain_damaged(path, error, "it is file %llu by its head",
                                (unsigned long long)file->head.number);
    }
    file->is_certain = chain->number == 0 || chain->is_synced;
    if (!*ret_is_used &&
        has_batches(&file->mapped, chain->number != 0 ? chain->start : UINT64_MAX)) {
        return yk_chain_damaged(path, error,
                                "its head is not readable, and there are writes behind it");
    }
    return YK_OK;
}

/* Is the log whole up to this file? */
static enum yk_err
check_place(const struct yk_chain *chain, struct yk_chain_file *file, const struct yk_batch *first,
            const char *path, char *error)
{
    uint64_t previous_end = first->previous_end;
    file->is_certain = first->synced > (chain->number != 0 ? chain->end : file->head.start);
    if (chain->unused != 0 && chain->unused < file->number) {
        return yk_chain_damaged(path, error, "nothing can be read of file %llu before it",
                                (unsigned long long)chain->unused);
    }
    if (chain->number == 0) {
        return YK_OK;
    }
    if (file->number != chain->number + 1) {
        return yk_chain_damaged(path, error, "file %llu is missing before it",
                                (unsigned long long)chain->number + 1);
    }
    if (file->head.start != chain->start) {
        return yk_chain_damaged(path, error, "it does not follow the one before it");
    }
    if (previous_end != chain->end) {
        return yk_chain_damaged(
            path, error, "the file before it has lost its end (it has %llu bytes, and had %llu)",
            (unsigned long long)(chain->end - chain->file_start),
            (unsigned long long)(previous_end - chain->file_start));
    }
    return YK_OK;
}

/* *ret_is_used: there is anything in it. */
static enum yk_err
find_end(const struct yk_chain *chain, struct yk_chain_file *file, const char *path,
         bool *ret_is_used, char *error)
{
    struct yk_reader reader;
    struct yk_batch batch;
    enum yk_err result = yk_reader_open(file->mapped.bytes, chain->id, &reader);
    *ret_is_used = result == YK_OK && yk_reader_next(&reader, &batch);
    if (*ret_is_used) {
        result = check_place(chain, file, &batch, path, error);
        *ret_is_used = result == YK_OK; /* what follows a hole cannot be taken */
    }
    while (result == YK_OK && *ret_is_used && yk_reader_next(&reader, &batch)) {
    }
    if (result == YK_OK && reader.ending == YK_ENDING_DAMAGED) {
        file->is_certain = reader.is_certain;
        result = yk_chain_damaged(path, error,
                                  "what stands at byte %llu is not readable, and there are "
                                  "writes behind it (at byte %llu)",
                                  (unsigned long long)reader.offset,
                                  (unsigned long long)reader.damage_end);
    }
    file->end = reader.offset;
    return result;
}

enum yk_err
yk_chain_read(const struct yk_chain *chain, const char *path, uint64_t number,
              struct yk_chain_file *ret_file, bool *ret_is_used, char *error)
{
    *ret_is_used = false;
    *ret_file = (struct yk_chain_file){.number = number};
    enum yk_err result = yk_file_map(path, &ret_file->mapped, error);
    if (result == YK_OK) {
        result = read_head(chain, ret_file, path, ret_is_used, error);
    }
    if (result == YK_OK && *ret_is_used) {
        result = find_end(chain, ret_file, path, ret_is_used, error);
    }
    return result;
}

void
yk_chain_skip(struct yk_chain *chain, uint64_t number)
{
    chain->unused = chain->unused == 0 ? number : chain->unused;
}

void
yk_chain_add(struct yk_chain *chain, const struct yk_chain_file *file)
{
    chain->number = file->number;
    chain->is_synced = file->head.is_synced;
    chain->file_start = file->head.start;
    chain->start = file->head.start + file->head.size;
    chain->end = file->head.start + file->end;
}
