/* The record: what an engine stores for a key, the same in every engine.
 *
 *     format (1 byte, 1) | bits (1) | version (8) | [expiry ms (8)] | [client flags (4)] | [cas
 * (8)] | [checksum (4)] | value
 *
 * Little-endian; bits say which of the optional fields are present and hold the tombstone, stale
 * and won marks. The checksum is over everything but itself, seeded by the key's hash: a record
 * that stands at a wrong key is damaged too. Engines in memory go without it.
 *
 * Threads: pure. Ownership: a decoded record borrows its value. */
#ifndef YK_STORE_RECORD_H
#define YK_STORE_RECORD_H

#include <yakumo/base.h>

enum yk_record_bits {
    YK_RECORD_TOMBSTONE = 1u << 0,
    YK_RECORD_STALE = 1u << 1,
    YK_RECORD_WON = 1u << 2,
    YK_RECORD_EXPIRY = 1u << 3,
    YK_RECORD_FLAGS = 1u << 4,
    YK_RECORD_CAS = 1u << 5,
    YK_RECORD_CHECKSUM = 1u << 6,
};

#define YK_RECORD_FORMAT    1u
#define YK_RECORD_HEAD_SIZE 10u /* bytes without the optional fields */

struct yk_record {
    uint64_t version;  /* epoch (24 bits) | sequence (40 bits), never 0 */
    int64_t expiry_ms; /* since 1970; 0: never */
    uint64_t cas;      /* set by the client; 0: none */
    uint32_t client_flags;
    uint32_t marks; /* TOMBSTONE, STALE, WON */
    struct yk_slice value;
};

/* Bytes that encode needs. */
size_t yk_record_size(const struct yk_record *record, bool with_checksum);

/* Writes record and value to `to`, which has room for yk_record_size bytes. With value.data NULL
 * and a size: the value's bytes stand at the end of `to` already. */
void yk_record_encode(const struct yk_record *record, bool with_checksum, uint64_t key_hash,
                      uint8_t *to);

/* ECORRUPT: unknown format, cut short, a wrong checksum, or none although with_checksum: else
 * damage to the bit that announces it would pass. */
enum yk_err yk_record_decode(struct yk_slice bytes, bool with_checksum, uint64_t key_hash,
                             struct yk_record *ret_record) YK_MUST_CHECK;

/* Likewise, quick for the usual record of an engine in memory, which has a version and a value. */
static inline enum yk_err
yk_record_read(struct yk_slice bytes, bool with_checksum, uint64_t key_hash,
               struct yk_record *ret_record)
{
    const uint8_t *at = (const uint8_t *)bytes.data;
    if (with_checksum || bytes.size < YK_RECORD_HEAD_SIZE || at[0] != YK_RECORD_FORMAT ||
        at[1] != 0) {
        return yk_record_decode(bytes, with_checksum, key_hash, ret_record);
    }
    ret_record->expiry_ms = 0;
    ret_record->cas = 0;
    ret_record->client_flags = ret_record->marks = 0;
    ret_record->value = yk_slice_of(at + YK_RECORD_HEAD_SIZE, bytes.size - YK_RECORD_HEAD_SIZE);
    memcpy(&ret_record->version, at + 2, sizeof(ret_record->version));
    return ret_record->version != 0 ? YK_OK : YK_ECORRUPT;
}

/* What clients see as the CAS unique. */
static inline uint64_t
yk_record_shown_cas(const struct yk_record *record)
{
    return record->cas != 0 ? record->cas : record->version;
}

#endif
