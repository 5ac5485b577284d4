/* Any bytes as a segment of the journal: the reader ends, and yields no batch that goes beyond
 * them. The bytes follow a good head, as they are; and once more with the checksum of each batch,
 * and of the head if they bring one, made right, so that what they say is looked at. */
#include <config.h>

#include <stdint.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/hash.h"
#include "core/journal/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_MAX_HERE = 64 * 1024, HEAD_CHECKSUM = YK_JOURNAL_HEAD_SIZE - 8 };

static void
read_entries(const struct yk_batch *batch)
{
    struct yk_entry entry;
    size_t offset = 0;
    enum yk_err result;
    while ((result = yk_entry_next(batch, &offset, &entry)) == YK_OK) {
        const uint8_t *end = (const uint8_t *)batch->entries.data + batch->entries.size;
        YK_ASSERT(offset <= batch->entries.size);
        YK_ASSERT((const uint8_t *)entry.key.data + entry.key.size <= end);
        YK_ASSERT(entry.value.size == 0 ||
                  (const uint8_t *)entry.value.data + entry.value.size <= end);
    }
    YK_ASSERT(result == YK_ENOTFOUND || result == YK_ECORRUPT);
}

static void
read_all(const uint8_t *bytes, size_t size)
{
    struct yk_reader reader;
    struct yk_batch batch;
    if (yk_reader_open(yk_slice_of(bytes, size), NULL, &reader) != YK_OK) {
        return;
    }
    uint64_t before = 0;
    while (yk_reader_next(&reader, &batch)) {
        YK_ASSERT(reader.offset > before && reader.offset <= size);
        before = reader.offset;
        read_entries(&batch);
    }
    YK_ASSERT(reader.ending != YK_ENDING_DAMAGED || reader.damage_end > reader.offset);
    YK_ASSERT(reader.ending != YK_ENDING_DAMAGED || reader.damage_end < size);
}

/* Makes position and checksum of each batch right, as far as sizes lead. */
static void
repair(uint8_t *bytes, size_t size, const struct yk_journal_head *head)
{
    uint64_t at = YK_JOURNAL_HEAD_SIZE;
    while (at + YK_BATCH_HEAD_SIZE <= size) {
        struct yk_batch batch = {.position = head->start + at};
        memcpy(&batch.size, bytes + at + 4, 4);
        memcpy(&batch.n_entries, bytes + at + 32, 4);
        if (batch.size < YK_BATCH_HEAD_SIZE || batch.size > size - at) {
            return;
        }
        yk_batch_seal(bytes + at, &batch, head->salt);
        at = yk_round_up(at + batch.size, head->align);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[YK_JOURNAL_HEAD_SIZE + SIZE_MAX_HERE];
    struct yk_journal_head head = {.align = YK_JOURNAL_ALIGN, .number = 1, .salt = 5};
    size = size < SIZE_MAX_HERE ? size : SIZE_MAX_HERE;
    read_all(data, size);
    yk_journal_head_encode(&head, bytes);
    if (size > 0) {
        memcpy(bytes + YK_JOURNAL_HEAD_SIZE, data, size);
    }
    read_all(bytes, YK_JOURNAL_HEAD_SIZE + size);
    repair(bytes, YK_JOURNAL_HEAD_SIZE + size, &head);
    read_all(bytes, YK_JOURNAL_HEAD_SIZE + size);
    if (size >= YK_JOURNAL_HEAD_SIZE) {
        memcpy(bytes, data, size);
        uint64_t checksum = XXH3_64bits(bytes, HEAD_CHECKSUM);
        memcpy(bytes + HEAD_CHECKSUM, &checksum, sizeof(checksum));
        read_all(bytes, size);
    }
    return 0;
}
