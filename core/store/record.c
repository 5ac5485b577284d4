/* Encoding and decoding of records. */
#include <config.h>

#include "core/store/record.h"

#include "core/base/assert.h"
#include "core/base/hash.h"

enum { HEAD_SIZE = YK_RECORD_HEAD_SIZE, CHECKSUM_SIZE = 4 };

static uint32_t
bits_of(const struct yk_record *record, bool with_checksum)
{
    return record->marks | (record->expiry_ms != 0 ? YK_RECORD_EXPIRY : 0) |
           (record->client_flags != 0 ? YK_RECORD_FLAGS : 0) |
           (record->cas != 0 ? YK_RECORD_CAS : 0) | (with_checksum ? YK_RECORD_CHECKSUM : 0);
}

static size_t
head_size(uint32_t bits)
{
    return HEAD_SIZE + ((bits & YK_RECORD_EXPIRY) ? 8u : 0u) +
           ((bits & YK_RECORD_FLAGS) ? 4u : 0u) + ((bits & YK_RECORD_CAS) ? 8u : 0u) +
           ((bits & YK_RECORD_CHECKSUM) ? CHECKSUM_SIZE : 0u);
}

/* Over the head without the checksum, then the value. */
static uint32_t
checksum_of(const uint8_t *bytes, size_t head, size_t size, uint64_t key_hash)
{
    uint64_t of_head = XXH3_64bits_withSeed(bytes, head - CHECKSUM_SIZE, key_hash);
    return (uint32_t)XXH3_64bits_withSeed(bytes + head, size - head, of_head);
}

size_t
yk_record_size(const struct yk_record *record, bool with_checksum)
{
    return head_size(bits_of(record, with_checksum)) + record->value.size;
}

static uint8_t *
put(uint8_t *to, const void *field, size_t size)
{
    memcpy(to, field, size);
    return to + size;
}

void
yk_record_encode(const struct yk_record *record, bool with_checksum, uint64_t key_hash, uint8_t *to)
{
    uint32_t bits = bits_of(record, with_checksum);
    size_t head = head_size(bits);
    uint8_t *at = to;
    YK_ASSERT(record->version != 0);
    *at++ = YK_RECORD_FORMAT;
    *at++ = (uint8_t)bits;
    at = put(at, &record->version, 8);
    if (bits & YK_RECORD_EXPIRY) {
        at = put(at, &record->expiry_ms, 8);
    }
    if (bits & YK_RECORD_FLAGS) {
        at = put(at, &record->client_flags, 4);
    }
    if (bits & YK_RECORD_CAS) {
        at = put(at, &record->cas, 8);
    }
    if (record->value.data != NULL && record->value.size > 0) {
        memcpy(to + head, record->value.data, record->value.size);
    }
    if (with_checksum) {
        uint32_t checksum = checksum_of(to, head, head + record->value.size, key_hash);
        put(at, &checksum, CHECKSUM_SIZE);
    }
}

static const uint8_t *
take(const uint8_t *from, void *field, size_t size)
{
    memcpy(field, from, size);
    return from + size;
}

enum yk_err
yk_record_decode(struct yk_slice bytes, bool with_checksum, uint64_t key_hash,
                 struct yk_record *ret_record)
{
    const uint8_t *at = bytes.data;
    if (bytes.size < HEAD_SIZE || at[0] != YK_RECORD_FORMAT || (at[1] & 0x80) != 0) {
        return YK_ECORRUPT;
    }
    uint32_t bits = at[1];
    size_t head = head_size(bits);
    struct yk_record record = {.marks =
                                   bits & (YK_RECORD_TOMBSTONE | YK_RECORD_STALE | YK_RECORD_WON)};
    if (bytes.size < head || (with_checksum && !(bits & YK_RECORD_CHECKSUM))) {
        return YK_ECORRUPT;
    }
    at = take(at + 2, &record.version, 8);
    if (bits & YK_RECORD_EXPIRY) {
        at = take(at, &record.expiry_ms, 8);
    }
    if (bits & YK_RECORD_FLAGS) {
        at = take(at, &record.client_flags, 4);
    }
    if (bits & YK_RECORD_CAS) {
        at = take(at, &record.cas, 8);
    }
    if (bits & YK_RECORD_CHECKSUM) {
        uint32_t stored;
        take(at, &stored, CHECKSUM_SIZE);
        if (stored != checksum_of(bytes.data, head, bytes.size, key_hash)) {
            return YK_ECORRUPT;
        }
    }
    if (record.version == 0) {
        return YK_ECORRUPT;
    }
    record.value = yk_slice_of((const uint8_t *)bytes.data + head, bytes.size - head);
    *ret_record = record;
    return YK_OK;
}
