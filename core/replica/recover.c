/* Recovery: a lane is made again from what its engine kept, or a snapshot, and from the journal.
 *
 * The journal is replayed from the checkpoint on, in its order and whole; so each key ends with its
 * last change whatever the engine had of it already, and nothing has to be looked up. A slot that
 * was wiped for a copy is wiped again, at the same place of that order: what is not in the copy
 * would be back else. */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"

enum {
    PLACES = 1024, /* of the table of keys: a power of two, some times YK_BATCH_MAX */
    TRIES_MAX = 16,
    WIPE_BYTES = 64 * 1024 /* of keys, of one step */
};

/* A batch of changes, each key once. */
struct recovery {
    uint32_t n;
    uint64_t bytes, n_applied;
    struct yk_change changes[YK_BATCH_MAX];
    struct yk_buffer *memory[YK_BATCH_MAX]; /* key with its prefix, then the record */
    uint16_t places[PLACES];                /* index + 1 of the change of a key */
    uint64_t *wiped;                        /* bits of slots that are to be wiped; NULL: none was */
    bool has_wiped;
    struct yk_scan_state *wipe;
};

static void
forget_batch(struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->n; i++) {
        yk_buffer_unref(recovery->memory[i]);
    }
    recovery->n = 0;
    recovery->bytes = 0;
    memset(recovery->places, 0, sizeof(recovery->places));
}

/* What had been admitted once is tried a few times more: a filter may refuse by chance. */
static enum yk_err
admit_again(struct yk_lane *lane, const struct yk_change *change)
{
    enum yk_err result = YK_EBUSY;
    for (uint32_t tries = 0; result != YK_OK && tries < TRIES_MAX; tries++) {
        result = yk_stack_admit(lane->config.stack, change);
    }
    return result;
}

static enum yk_err
apply_some(struct yk_lane *lane, const struct yk_change *changes, uint32_t n)
{
    struct yk_job *job = &lane->jobs[0];
    yk_job_reset(job, lane->now_ms);
    enum yk_err result = yk_stack_apply(lane->config.stack, changes, n, &job->call);
    yk_job_done(job);
    return result;
}

static enum yk_err
apply_batch(struct yk_lane *lane)
{
    struct recovery *recovery = lane->recovery;
    struct yk_change *changes = recovery->changes;
    enum yk_err result = YK_OK;
    uint32_t done = 0;
    for (uint32_t i = 0; result == YK_OK && i < recovery->n; i++) {
        result = admit_again(lane, &changes[i]);
        if (result == YK_ENOMEM && done < i) { /* there may be room once these are applied */
            result = apply_some(lane, changes + done, i - done);
            done = i;
            result = result == YK_OK ? admit_again(lane, &changes[i]) : result;
        }
    }
    if (result == YK_OK && done < recovery->n) {
        result = apply_some(lane, changes + done, recovery->n - done);
    }
    recovery->n_applied += recovery->n;
    forget_batch(recovery);
    return result;
}

/* The place of the key's change, or the free one where it would stand. */
static uint16_t *
find_place(struct recovery *recovery, const struct yk_key *key)
{
    uint32_t at = (uint32_t)key->hash & (PLACES - 1);
    while (recovery->places[at] != 0) {
        const struct yk_key *other = &recovery->changes[recovery->places[at] - 1].key;
        if (other->hash == key->hash && other->size == key->size &&
            memcmp(other->data, key->data, key->size) == 0) {
            break;
        }
        at = (at + 1) & (PLACES - 1);
    }
    return &recovery->places[at];
}

static enum yk_err
make_change(const struct yk_lane *lane, const struct yk_entry *entry, struct yk_change *ret_change,
            struct yk_buffer **ret_memory)
{
    uint32_t prefix = lane_prefix(lane);
    size_t key_size = prefix + entry->key.size;
    struct yk_buffer *memory = yk_buffer_new(key_size + entry->value.size);
    if (memory == NULL) {
        return YK_ENOMEM;
    }
    if (prefix > 0) {
        memory->data[0] = (uint8_t)(entry->slot >> 8);
        memory->data[1] = (uint8_t)entry->slot;
        memory->data[2] = memory->data[3] = 0; /* generation */
    }
    memcpy(memory->data + prefix, entry->key.data, entry->key.size);
    if (entry->value.size > 0) {
        memcpy(memory->data + key_size, entry->value.data, entry->value.size);
    }
    *ret_change =
        (struct yk_change){.key = {.data = memory->data,
                                   .size = (uint32_t)key_size,
                                   .slot = entry->slot,
                                   .hash = yk_hash(entry->key)},
                           .kind = entry->kind == YK_ENTRY_PUT ? YK_CHANGE_PUT : YK_CHANGE_DELETE,
                           .value = yk_slice_of(memory->data + key_size, entry->value.size)};
    *ret_memory = memory;
    return YK_OK;
}

static enum yk_err
put_change(struct yk_lane *lane, const struct yk_entry *entry)
{
    struct recovery *recovery = lane->recovery;
    struct yk_change change;
    struct yk_buffer *memory;
    enum yk_err result = make_change(lane, entry, &change, &memory);
    if (result != YK_OK) {
        return result;
    }
    uint16_t *place = find_place(recovery, &change.key);
    uint32_t index = *place != 0 ? *place - 1u : recovery->n++;
    if (*place != 0) {
        yk_buffer_unref(recovery->memory[index]);
    }
    *place = (uint16_t)(index + 1);
    recovery->changes[index] = change;
    recovery->memory[index] = memory;
    recovery->bytes += memory->size;
    if (recovery->n == YK_BATCH_MAX || recovery->bytes > YK_BATCH_BYTES_MAX) {
        return apply_batch(lane);
    }
    return YK_OK;
}

/* Wiping: all slots that wait for it in one scan, when the first of them goes on. */

static size_t
wiped_size(const struct yk_lane *lane)
{
    return (((size_t)1 << lane->config.ring.slot_bits) + 63) / 64 * sizeof(uint64_t);
}

static bool
is_wiped(const struct recovery *recovery, uint32_t slot)
{
    return recovery->has_wiped && (recovery->wiped[slot / 64] >> (slot % 64) & 1) != 0;
}

static bool
found_key(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct yk_lane *lane = arg;
    struct recovery *recovery = lane->recovery;
    const struct yk_record none = {0};
    uint32_t prefix = lane_prefix(lane);
    (void)value;
    if (key->size < prefix || lane_is_own_record(lane, key)) {
        return true;
    }
    struct yk_slice bare = yk_slice_of(key->data + prefix, key->size - prefix);
    return !is_wiped(recovery, yk_ring_slot(&lane->config.ring, yk_hash(bare))) ||
           yk_chunk_add(recovery->wipe, bare, &none);
}

static enum yk_err
find_keys(struct yk_lane *lane, bool *ret_end)
{
    struct yk_scan_state *wipe = lane->recovery->wipe;
    struct yk_job *job = &lane->jobs[0];
    struct yk_scan scan = {.struct_size = sizeof(scan), .bytes_max = WIPE_BYTES};
    enum yk_err result = YK_EBUSY;
    for (uint32_t tries = 0; result == YK_EBUSY && tries < TRIES_MAX; tries++) {
        wipe->chunk_used = 0;
        yk_job_reset(job, lane->now_ms);
        result = yk_stack_scan(lane->config.stack, &scan, &wipe->cursor, found_key, lane, ret_end,
                               &job->call);
        yk_job_done(job);
    }
    return result == YK_OK && wipe->no_memory ? YK_ENOMEM : result;
}

static enum yk_err
drop_keys(struct yk_lane *lane)
{
    enum yk_err result = YK_OK;
    struct yk_slice key;
    struct yk_record record;
    size_t offset = 0;
    while (result == YK_OK && yk_chunk_next(lane->recovery->wipe, &offset, &key, &record)) {
        struct yk_entry drop = {.kind = YK_ENTRY_DELETE,
                                .slot = (uint16_t)yk_ring_slot(&lane->config.ring, yk_hash(key)),
                                .key = key};
        result = put_change(lane, &drop);
    }
    return result == YK_OK ? apply_batch(lane) : result;
}

static enum yk_err
wipe_slots(struct yk_lane *lane)
{
    struct recovery *recovery = lane->recovery;
    bool is_end = false;
    if (!recovery->has_wiped) {
        return YK_OK;
    }
    yk_scan_state_restart(recovery->wipe);
    enum yk_err result = apply_batch(lane);
    while (result == YK_OK && !is_end) {
        result = find_keys(lane, &is_end);
        result = result == YK_OK ? drop_keys(lane) : result;
    }
    recovery->has_wiped = false;
    memset(recovery->wiped, 0, wiped_size(lane));
    return result;
}

static enum yk_err
add_change(struct yk_lane *lane, const struct yk_entry *entry)
{
    enum yk_err result = is_wiped(lane->recovery, entry->slot) ? wipe_slots(lane) : YK_OK;
    return result == YK_OK ? put_change(lane, entry) : result;
}

enum yk_err
lane_replay_wipe(struct yk_lane *lane, uint32_t slot)
{
    struct recovery *recovery = lane->recovery;
    if (recovery->wiped == NULL) {
        recovery->wiped = calloc(1, wiped_size(lane));
        recovery->wipe = yk_scan_state_new(lane->config.key_size_max, WIPE_BYTES, false);
        if (recovery->wiped == NULL || recovery->wipe == NULL) {
            return YK_ENOMEM;
        }
    }
    recovery->has_wiped = true;
    recovery->wiped[slot / 64] |= (uint64_t)1 << (slot % 64);
    return YK_OK;
}

void
lane_recovery_free(struct yk_lane *lane)
{
    if (lane->recovery != NULL) {
        yk_scan_state_free(lane->recovery->wipe);
        free(lane->recovery->wiped);
        free(lane->recovery);
        lane->recovery = NULL;
    }
}

/* What the slots learn from an entry of the journal. */
static void
note_entry(struct yk_lane *lane, const struct yk_entry *entry, uint64_t position)
{
    struct slot *slot = lane_slot(lane, entry->slot);
    slot->position = entry->version;
    slot->sequence = entry->version & SEQUENCE_MAX;
    if (entry->kind == YK_ENTRY_DELETE) {
        slot->floor = entry->version;
    } else if (entry->kind == YK_ENTRY_FLUSH) {
        slot->flush_version = entry->version;
        lane->flush_at_ms = 0;
    } else if (entry->kind == YK_ENTRY_FLUSH_AT) {
        memcpy(&lane->flush_at_ms, entry->value.data, 8);
    }
    if (lane->needed_from == UINT64_MAX) {
        lane->needed_from = position;
    }
}

enum yk_err
lane_replay_change(struct yk_lane *lane, const struct yk_entry *entry, uint64_t position)
{
    bool is_change = entry->kind == YK_ENTRY_PUT || entry->kind == YK_ENTRY_DELETE;
    note_entry(lane, entry, position);
    return is_change ? add_change(lane, entry) : YK_OK;
}

enum yk_err
lane_replay_put(struct yk_lane *lane, const struct yk_entry *entry)
{
    return add_change(lane, entry);
}

static enum yk_err
replay_journal(struct yk_lane *lane, const struct yk_entry *entry, uint64_t position)
{
    if (entry->slot >> lane->config.ring.slot_bits != 0) {
        return YK_ECORRUPT;
    }
    if (entry->kind == YK_ENTRY_FLUSH_AT && entry->value.size != 8) {
        return YK_ECORRUPT;
    }
    if (entry->kind == YK_ENTRY_PAGE) {
        return YK_EUNSUPPORTED; /* these stand in snapshots */
    }
    if (lane->is_clustered) {
        return lane_replay_clustered(lane, entry, position);
    }
    if (entry->kind == YK_ENTRY_CUT) {
        return YK_EUNSUPPORTED; /* of a cluster */
    }
    if (entry->version <= lane_slot(lane, entry->slot)->position) {
        return YK_OK; /* before the checkpoint */
    }
    return lane_replay_change(lane, entry, position);
}

enum yk_err
yk_lane_replay(struct yk_lane *lane, const struct yk_entry *entry, uint64_t position,
               uint64_t now_ms)
{
    lane->now_ms = now_ms > lane->now_ms ? now_ms : lane->now_ms;
    if (position != UINT64_MAX) {
        return replay_journal(lane, entry, position);
    }
    if (entry->kind == YK_ENTRY_PAGE) {
        return lane_page_read(lane, entry->slot, entry->value);
    }
    return entry->kind == YK_ENTRY_PUT ? add_change(lane, entry) : YK_ECORRUPT;
}

static void
got_page(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct yk_lane *lane = arg;
    if (result == YK_OK) {
        result = lane_page_read(lane, index, value);
        lane->marks.n_stored += result == YK_OK ? 1 : 0;
    }
    if (result != YK_OK && result != YK_ENOTFOUND) {
        lane->marks.result = result;
    }
}

static enum yk_err
load_pages(struct yk_lane *lane)
{
    struct yk_key keys[YK_BATCH_MAX];
    struct yk_job *job = &lane->jobs[0];
    for (uint32_t i = 0; i < lane->marks.n_pages; i++) {
        keys[i] = lane_key(lane, &lane->marks.ops[i]);
    }
    lane->marks.result = YK_OK;
    lane->marks.n_stored = 0;
    yk_job_reset(job, lane->now_ms);
    enum yk_err result =
        yk_stack_get(lane->config.stack, keys, lane->marks.n_pages, got_page, lane, &job->call);
    yk_job_done(job);
    result = result == YK_OK ? lane->marks.result : result;
    lane->marks.result = YK_OK;
    return result;
}

enum yk_err
yk_lane_recover(struct yk_lane *lane)
{
    lane->recovery = calloc(1, sizeof(struct recovery));
    if (lane->recovery == NULL) {
        return YK_ENOMEM;
    }
    if ((lane->info->caps & YK_BACKEND_VOLATILE) != 0) {
        return YK_OK;
    }
    enum yk_err result = YK_EBUSY;
    for (uint32_t tries = 0; result != YK_OK && result != YK_ECORRUPT && tries < TRIES_MAX;
         tries++) {
        result = load_pages(lane);
    }
    return result;
}

enum yk_err
yk_lane_recovered(struct yk_lane *lane, uint64_t *ret_applied)
{
    enum yk_err result = wipe_slots(lane);
    result = result == YK_OK ? apply_batch(lane) : result;
    *ret_applied = lane->recovery->n_applied;
    lane_recovery_free(lane);
    for (uint32_t i = 0; result == YK_OK && i < lane->n_slots; i++) {
        bool is_past = lane->is_clustered ||
                       lane->slots[i].position >> YK_SEQUENCE_BITS <= lane->slots[i].epoch;
        result = is_past ? YK_OK : YK_ECORRUPT; /* of a time that is still to come */
    }
    lane->has_mortals = true;
    if (lane->is_clustered) {
        lane_recovered_clustered(lane);
    }
    return result;
}

/* Restoring */

/* The record as it is stored here: newly numbered, with the CAS unique that clients know. */
static struct yk_buffer *
number_anew(struct yk_lane *lane, struct slot *slot, uint64_t hash, const struct yk_record *record)
{
    struct yk_record fresh = *record;
    fresh.cas = yk_record_shown_cas(record);
    fresh.version = slot->epoch << YK_SEQUENCE_BITS | (slot->sequence + 1);
    struct yk_buffer *bytes = yk_buffer_new(yk_record_size(&fresh, lane->with_checksum));
    if (bytes != NULL) {
        yk_record_encode(&fresh, lane->with_checksum, hash, bytes->data);
        slot->sequence++;
        slot->position = fresh.version;
    }
    return bytes;
}

enum yk_err
yk_lane_restore(struct yk_lane *lane, struct yk_slice key, const struct yk_record *record)
{
    uint64_t hash = yk_hash(key);
    uint32_t slot = yk_ring_slot(&lane->config.ring, hash);
    if (lane->recovery == NULL) {
        lane->recovery = calloc(1, sizeof(struct recovery));
    }
    if (lane->recovery == NULL) {
        return YK_ENOMEM;
    }
    if (lane_slot(lane, slot)->sequence == SEQUENCE_MAX) {
        return YK_EUNSUPPORTED;
    }
    struct yk_buffer *bytes = number_anew(lane, lane_slot(lane, slot), hash, record);
    if (bytes == NULL) {
        return YK_ENOMEM;
    }
    struct yk_entry entry = {.kind = YK_ENTRY_PUT,
                             .slot = (uint16_t)slot,
                             .key = key,
                             .value = yk_slice_of(bytes->data, bytes->size)};
    enum yk_err result = add_change(lane, &entry);
    yk_buffer_unref(bytes);
    return result;
}

enum yk_err
yk_lane_restored(struct yk_lane *lane)
{
    if (lane->recovery == NULL) {
        return YK_OK;
    }
    enum yk_err result = apply_batch(lane);
    lane_recovery_free(lane);
    if (result == YK_OK && !yk_lane_is_volatile(lane)) {
        result = yk_stack_sync(lane->config.stack);
    }
    lane->has_mortals = true;
    if (lane->is_journaled) {
        yk_lane_want_checkpoint(lane);
    }
    return result;
}

struct yk_stack *
yk_lane_stack(const struct yk_lane *lane)
{
    return lane->config.stack;
}

bool
yk_lane_sees(const struct yk_lane *lane, uint32_t slot, const struct yk_record *record,
             uint64_t now_ms)
{
    bool is_flushed = lane->flush_at_ms != 0 && lane->flush_at_ms <= now_ms;
    bool has_ended = record->expiry_ms != 0 && record->expiry_ms <= (int64_t)now_ms;
    return !is_flushed && !has_ended && lane_sees(lane, slot, record);
}
