/* Reading batches. */
#include <config.h>

#include "core/journal/reader.h"

enum yk_err
yk_reader_open(struct yk_slice bytes, const uint8_t *id, struct yk_reader *ret_reader)
{
    struct yk_reader reader = {.bytes = bytes, .offset = YK_JOURNAL_HEAD_SIZE};
    enum yk_err result = yk_journal_head_decode(bytes, &reader.head);
    if (result != YK_OK) {
        return result;
    }
    if (id != NULL && memcmp(id, reader.head.id, YK_JOURNAL_ID_SIZE) != 0) {
        return YK_ECORRUPT;
    }
    *ret_reader = reader;
    return YK_OK;
}

static enum yk_err
decode_at(const struct yk_reader *reader, uint64_t offset, struct yk_batch *ret_batch)
{
    struct yk_slice rest =
        yk_slice_of((const uint8_t *)reader->bytes.data + offset, reader->bytes.size - offset);
    return yk_batch_decode(rest, reader->head.start + offset, reader->head.salt, ret_batch);
}

static bool
are_zeros(const struct yk_reader *reader, uint64_t offset)
{
    const uint8_t *bytes = reader->bytes.data;
    for (uint64_t i = offset; i < offset + YK_BATCH_HEAD_SIZE && i < reader->bytes.size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Nothing good stands at the offset: is there anything behind it? */
static void
find_ending(struct yk_reader *reader, enum yk_err result)
{
    struct yk_batch batch;
    uint64_t align = reader->head.align;
    reader->damage_end = 0; /* who went on behind damage may meet more of it */
    reader->is_certain = false;
    for (uint64_t at = reader->offset + align; at + YK_BATCH_HEAD_SIZE <= reader->bytes.size;
         at += align) {
        if (decode_at(reader, at, &batch) == YK_OK) {
            reader->damage_end = reader->damage_end == 0 ? at : reader->damage_end;
            reader->is_certain =
                reader->is_certain || batch.synced > reader->head.start + reader->offset;
        }
    }
    if (reader->damage_end != 0) {
        reader->ending = YK_ENDING_DAMAGED;
        return;
    }
    bool is_torn = result == YK_ECORRUPT || !are_zeros(reader, reader->offset);
    reader->ending = is_torn ? YK_ENDING_TORN : YK_ENDING_CLEAN;
}

bool
yk_reader_next(struct yk_reader *reader, struct yk_batch *ret_batch)
{
    if (reader->offset + YK_BATCH_HEAD_SIZE > reader->bytes.size) {
        reader->ending = YK_ENDING_CLEAN;
        return false;
    }
    enum yk_err result = decode_at(reader, reader->offset, ret_batch);
    if (result != YK_OK) {
        find_ending(reader, result);
        return false;
    }
    reader->offset = yk_round_up(reader->offset + ret_batch->size, reader->head.align);
    if (reader->offset > reader->bytes.size) {
        reader->offset = reader->bytes.size;
    }
    return true;
}
