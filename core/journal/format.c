/* Encoding and decoding of heads, batches and entries. */
#include <config.h>

#include "core/journal/format.h"

#include "core/base/assert.h"
#include "core/base/hash.h"

static const char head_magic[16] = "yakumo journal\n";
static const uint32_t batch_magic = 0x314a4b59; /* "YKJ1" */

enum {
    HEAD_NAMES = 80, /* offset of the first name */
    HEAD_CHECKSUM = YK_JOURNAL_HEAD_SIZE - 8,
    BATCH_CHECKSUM = YK_BATCH_HEAD_SIZE - 8,
    ENTRY_KIND_MAX = YK_ENTRY_COPIED,
    KIND_HAS_TOKEN = 0x80
};

static uint8_t *
put(uint8_t *to, const void *field, size_t size)
{
    memcpy(to, field, size);
    return to + size;
}

static const uint8_t *
take(const uint8_t *from, void *field, size_t size)
{
    memcpy(field, from, size);
    return from + size;
}

/* Heads of files */

void
yk_journal_head_encode(const struct yk_journal_head *head, uint8_t *to)
{
    uint32_t format = YK_JOURNAL_FORMAT, synced = head->is_synced ? 1 : 0;
    YK_ASSERT(head->n_buckets <= YK_BUCKETS_MAX);
    memset(to, 0, YK_JOURNAL_HEAD_SIZE);
    uint8_t *at = put(to, head_magic, sizeof(head_magic));
    at = put(at, &format, 4);
    at = put(at, &head->align, 4);
    at = put(at, &head->number, 8);
    at = put(at, &head->start, 8);
    at = put(at, &head->size, 8);
    at = put(at, &head->salt, 8);
    at = put(at, head->id, YK_JOURNAL_ID_SIZE);
    at = put(at, &synced, 4);
    at = put(at, &head->n_buckets, 4);
    YK_ASSERT(at == to + HEAD_NAMES);
    memcpy(at, head->buckets, (size_t)head->n_buckets * YK_NAME_SIZE_MAX);
    uint64_t checksum = XXH3_64bits(to, HEAD_CHECKSUM);
    put(to + HEAD_CHECKSUM, &checksum, 8);
}

static bool
are_names(const struct yk_journal_head *head)
{
    for (uint32_t i = 0; i < head->n_buckets; i++) {
        if (memchr(head->buckets[i], '\0', YK_NAME_SIZE_MAX) == NULL) {
            return false;
        }
    }
    return true;
}

enum yk_err
yk_journal_head_decode(struct yk_slice bytes, struct yk_journal_head *ret_head)
{
    const uint8_t *from = bytes.data;
    uint32_t format, synced;
    uint64_t checksum;
    struct yk_journal_head head = {.align = 0};
    if (bytes.size < YK_JOURNAL_HEAD_SIZE || memcmp(from, head_magic, sizeof(head_magic)) != 0) {
        return YK_ENOTFOUND;
    }
    const uint8_t *at = take(from + sizeof(head_magic), &format, 4);
    take(from + HEAD_CHECKSUM, &checksum, 8);
    if (checksum != XXH3_64bits(from, HEAD_CHECKSUM)) {
        return YK_ECORRUPT;
    }
    if (format != YK_JOURNAL_FORMAT) {
        return YK_EUNSUPPORTED;
    }
    at = take(at, &head.align, 4);
    at = take(at, &head.number, 8);
    at = take(at, &head.start, 8);
    at = take(at, &head.size, 8);
    at = take(at, &head.salt, 8);
    at = take(at, head.id, YK_JOURNAL_ID_SIZE);
    at = take(at, &synced, 4);
    at = take(at, &head.n_buckets, 4);
    head.is_synced = synced != 0;
    if (head.n_buckets > YK_BUCKETS_MAX || head.align < YK_JOURNAL_ALIGN ||
        head.align > YK_JOURNAL_HEAD_SIZE || (head.align & (head.align - 1)) != 0 ||
        head.start > UINT64_MAX / 2 || head.size > UINT64_MAX / 2) {
        return YK_ECORRUPT;
    }
    memcpy(head.buckets, at, (size_t)head.n_buckets * YK_NAME_SIZE_MAX);
    if (!are_names(&head)) {
        return YK_ECORRUPT;
    }
    *ret_head = head;
    return YK_OK;
}

/* Batches */

static uint64_t
batch_checksum(const uint8_t *bytes, uint32_t size, uint64_t salt)
{
    uint64_t of_head = XXH3_64bits_withSeed(bytes, BATCH_CHECKSUM, salt);
    return XXH3_64bits_withSeed(bytes + YK_BATCH_HEAD_SIZE, size - YK_BATCH_HEAD_SIZE, of_head);
}

void
yk_batch_seal(uint8_t *bytes, const struct yk_batch *batch, uint64_t salt)
{
    uint32_t zero = 0;
    YK_ASSERT(batch->size >= YK_BATCH_HEAD_SIZE);
    uint8_t *at = put(bytes, &batch_magic, 4);
    at = put(at, &batch->size, 4);
    at = put(at, &batch->position, 8);
    at = put(at, &batch->now_ms, 8);
    at = put(at, &batch->previous_end, 8);
    at = put(at, &batch->synced, 8);
    at = put(at, &batch->n_entries, 4);
    at = put(at, &zero, 4);
    uint64_t checksum = batch_checksum(bytes, batch->size, salt);
    put(at, &checksum, 8);
}

enum yk_err
yk_batch_decode(struct yk_slice bytes, uint64_t position, uint64_t salt, struct yk_batch *ret_batch)
{
    const uint8_t *from = bytes.data;
    uint32_t magic, zero;
    uint64_t checksum;
    struct yk_batch batch;
    if (bytes.size < YK_BATCH_HEAD_SIZE) {
        return YK_ENOTFOUND;
    }
    const uint8_t *at = take(from, &magic, 4);
    at = take(at, &batch.size, 4);
    at = take(at, &batch.position, 8);
    at = take(at, &batch.now_ms, 8);
    at = take(at, &batch.previous_end, 8);
    at = take(at, &batch.synced, 8);
    at = take(at, &batch.n_entries, 4);
    at = take(at, &zero, 4);
    take(at, &checksum, 8);
    if (magic != batch_magic || batch.position != position) {
        return YK_ENOTFOUND;
    }
    if (batch.size < YK_BATCH_HEAD_SIZE || batch.size > bytes.size ||
        checksum != batch_checksum(from, batch.size, salt)) {
        return YK_ECORRUPT;
    }
    batch.entries = yk_slice_of(from + YK_BATCH_HEAD_SIZE, batch.size - YK_BATCH_HEAD_SIZE);
    *ret_batch = batch;
    return YK_OK;
}

/* Entries */

void
yk_entry_encode(const struct yk_entry *entry, uint8_t *to)
{
    uint32_t value_size = (uint32_t)entry->value.size;
    uint16_t zero = 0;
    uint16_t key_size = (uint16_t)entry->key.size;
    uint8_t kind = (uint8_t)(entry->kind | (entry->token != 0 ? KIND_HAS_TOKEN : 0));
    YK_ASSERT(entry->key.size <= UINT16_MAX && entry->value.size <= UINT32_MAX);
    uint8_t *at = put(to, &value_size, 4);
    at = put(at, &key_size, 2);
    at = put(at, &kind, 1);
    at = put(at, &entry->bucket, 1);
    at = put(at, &entry->slot, 2);
    at = put(at, &zero, 2);
    at = put(at, &entry->lag, 4);
    at = put(at, &entry->version, 8);
    if (entry->token != 0) {
        at = put(at, &entry->token, 8);
    }
    if (key_size > 0) {
        at = put(at, entry->key.data, key_size);
    }
    if (value_size > 0) {
        put(at, entry->value.data, value_size);
    }
}

enum yk_err
yk_entry_next(const struct yk_batch *batch, size_t *offset, struct yk_entry *ret_entry)
{
    uint32_t value_size;
    uint16_t key_size;
    uint8_t kind;
    size_t left = batch->entries.size - *offset;
    if (left == 0) {
        return YK_ENOTFOUND;
    }
    if (left < YK_ENTRY_HEAD_SIZE) {
        return YK_ECORRUPT;
    }
    const uint8_t *from = (const uint8_t *)batch->entries.data + *offset;
    struct yk_entry entry = {0};
    const uint8_t *at = take(from, &value_size, 4);
    at = take(at, &key_size, 2);
    at = take(at, &kind, 1);
    at = take(at, &entry.bucket, 1);
    take(at, &entry.slot, 2);
    take(from + YK_ENTRY_HEAD_SIZE - 12, &entry.lag, 4);
    take(from + YK_ENTRY_HEAD_SIZE - 8, &entry.version, 8);
    bool has_token = (kind & KIND_HAS_TOKEN) != 0;
    uint64_t size = yk_entry_size(key_size, value_size) + (has_token ? YK_ENTRY_TOKEN_SIZE : 0);
    kind &= (uint8_t)~KIND_HAS_TOKEN;
    if (kind == 0 || kind > ENTRY_KIND_MAX || size > left) {
        return YK_ECORRUPT;
    }
    at = from + YK_ENTRY_HEAD_SIZE;
    if (has_token) {
        at = take(at, &entry.token, 8);
        if (entry.token == 0) {
            return YK_ECORRUPT;
        }
    }
    entry.kind = (enum yk_entry_kind)kind;
    entry.key = yk_slice_of(at, key_size);
    entry.value = yk_slice_of(at + key_size, value_size);
    *offset += size;
    *ret_entry = entry;
    return YK_OK;
}
