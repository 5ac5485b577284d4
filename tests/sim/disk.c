/* Segments and snapshots in memory. */
#include <config.h>

#include "tests/sim/disk.h"

#include "core/journal/reader.h"

struct disk_file {
    struct yk_journal_head head;
    GByteArray *bytes;
};

enum { SECTOR = 64 }; /* bytes that are written whole or not: small, as the entries are */

static const uint8_t disk_id[YK_JOURNAL_ID_SIZE] = "simulated disk";

static void
free_file(gpointer data)
{
    struct disk_file *file = data;
    g_byte_array_unref(file->bytes);
    g_free(file);
}

static void
free_bytes(gpointer data)
{
    g_byte_array_unref(data);
}

struct disk *
disk_new(uint64_t entry_size_max, uint64_t bundle_size, uint64_t size_max)
{
    struct disk *disk = g_new0(struct disk, 1);
    uint64_t waste = yk_round_up(MAX(entry_size_max, bundle_size) + YK_BUNDLE_EXTRA, 8);
    struct yk_log_config config = {
        .align = 8, .segment_size = YK_JOURNAL_HEAD_SIZE + 4 * waste, .waste_max = waste};
    yk_log_init(&disk->log, &config);
    disk->size_max = size_max;
    disk->bundle_size = bundle_size;
    disk->files = g_ptr_array_new_with_free_func(free_file);
    disk->untold = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    disk->snapshots = g_hash_table_new_full(NULL, NULL, NULL, free_bytes);
    disk->being_written = g_hash_table_new_full(NULL, NULL, NULL, free_bytes);
    return disk;
}

void
disk_free(struct disk *disk)
{
    if (disk != NULL) {
        yk_log_done(&disk->log);
        g_ptr_array_free(disk->files, TRUE);
        g_array_free(disk->untold, TRUE);
        g_hash_table_unref(disk->snapshots);
        g_hash_table_unref(disk->being_written);
        g_free(disk);
    }
}

static struct disk_file *
find_file(const struct disk *disk, uint64_t number)
{
    for (guint i = 0; i < disk->files->len; i++) {
        struct disk_file *file = disk->files->pdata[i];
        if (file->head.number == number) {
            return file;
        }
    }
    g_assert_not_reached();
}

static void
make_ready(struct disk *disk)
{
    struct yk_log_segment wanted;
    while (yk_log_wants(&disk->log, &wanted)) {
        struct disk_file *file = g_new0(struct disk_file, 1);
        file->head = (struct yk_journal_head){.align = disk->log.config.align,
                                              .number = wanted.number,
                                              .start = wanted.start,
                                              .size = wanted.size,
                                              .salt = ++disk->next_salt,
                                              .is_synced = true,
                                              .n_buckets = 1};
        memcpy(file->head.id, disk_id, sizeof(disk_id));
        g_strlcpy(file->head.buckets[0], "default", YK_NAME_SIZE_MAX);
        file->bytes = g_byte_array_new();
        g_byte_array_set_size(file->bytes, (guint)wanted.size);
        memset(file->bytes->data, 0, wanted.size);
        yk_journal_head_encode(&file->head, file->bytes->data);
        g_ptr_array_add(disk->files, file);
        yk_journal_give(&disk->room, yk_log_ready(&disk->log));
    }
}

static void
place_and_write(struct disk *disk, struct yk_bundle *bundle, uint64_t now_ms, uint64_t cut,
                uint64_t sectors)
{
    struct yk_log_place place;
    enum yk_err result = yk_log_place(&disk->log, bundle->size, &place);
    g_assert_cmpint(result, ==, YK_OK);
    struct disk_file *file = find_file(disk, place.segment.number);
    struct yk_batch batch = {.position = place.position,
                             .now_ms = now_ms,
                             .previous_end = place.previous_end,
                             .synced = place.position,
                             .n_entries = bundle->n_entries,
                             .size = bundle->size};
    yk_batch_seal(bundle->bytes, &batch, file->head.salt);
    uint64_t size = bundle->size < cut ? bundle->size : cut;
    uint8_t *to = file->bytes->data + (place.position - place.segment.start);
    for (uint64_t at = 0; at < size; at += SECTOR) {
        if ((sectors >> (at / SECTOR % 64) & 1) != 0) {
            memcpy(to + at, bundle->bytes + at, MIN(size - at, SECTOR));
        }
    }
    bundle->position = place.position;
    int64_t used = (int64_t)yk_round_up(bundle->size, disk->log.config.align) + place.room;
    g_assert_cmpint((int64_t)bundle->reserved, >=, used);
    yk_journal_give(&disk->room, (int64_t)bundle->reserved - used);
}

void
disk_write(struct disk *disk, struct yk_bundle *bundle, uint64_t now_ms)
{
    place_and_write(disk, bundle, now_ms, UINT64_MAX, UINT64_MAX);
    g_array_append_val(disk->untold, bundle->position);
}

void
disk_told(struct disk *disk, const struct yk_bundle *bundle)
{
    for (guint i = 0; i < disk->untold->len; i++) {
        if (g_array_index(disk->untold, uint64_t, i) == bundle->position) {
            g_array_remove_index_fast(disk->untold, i);
            return;
        }
    }
    g_assert_not_reached();
}

void
disk_tear(struct disk *disk, struct yk_bundle *bundle, uint64_t now_ms, uint64_t cut)
{
    place_and_write(disk, bundle, now_ms, cut, UINT64_MAX);
}

void
disk_lose_power(struct disk *disk, struct yk_bundle *bundle, uint64_t now_ms, uint64_t sectors)
{
    place_and_write(disk, bundle, now_ms, UINT64_MAX, sectors);
}

void
disk_fill(struct disk *disk, bool is_full)
{
    int64_t taken = is_full ? MAX(disk->room.bytes + disk->taken, 0) : 0;
    yk_journal_give(&disk->room, disk->taken - taken);
    disk->taken = taken;
}

static void
append_batch(GByteArray *snapshot, uint64_t salt, struct yk_bundle *bundle)
{
    uint8_t empty[YK_BATCH_HEAD_SIZE];
    uint8_t *bytes = bundle != NULL ? bundle->bytes : empty;
    struct yk_batch batch = {.position = snapshot->len,
                             .n_entries = bundle != NULL ? bundle->n_entries : 0,
                             .size = bundle != NULL ? bundle->size : YK_BATCH_HEAD_SIZE};
    yk_batch_seal(bytes, &batch, salt);
    g_byte_array_append(snapshot, bytes, batch.size);
    g_byte_array_set_size(snapshot, (guint)yk_round_up(snapshot->len, YK_JOURNAL_ALIGN));
}

void
disk_keep(struct disk *disk, const struct yk_lane *lane, struct yk_bundle *bundle, uint32_t flags)
{
    gpointer key = GUINT_TO_POINTER(yk_lane_index(lane) + 1);
    struct yk_journal_head head = {.align = YK_JOURNAL_ALIGN, .salt = 7, .n_buckets = 1};
    if ((flags & YK_KEEP_FIRST) != 0) {
        GByteArray *fresh = g_byte_array_new();
        memcpy(head.id, disk_id, sizeof(disk_id));
        g_byte_array_set_size(fresh, YK_JOURNAL_HEAD_SIZE);
        yk_journal_head_encode(&head, fresh->data);
        g_hash_table_replace(disk->being_written, key, fresh);
    }
    GByteArray *snapshot = g_hash_table_lookup(disk->being_written, key);
    if (bundle != NULL && bundle->n_entries > 0) {
        append_batch(snapshot, head.salt, bundle);
    }
    if ((flags & YK_KEEP_LAST) != 0) {
        append_batch(snapshot, head.salt, NULL);
        g_hash_table_replace(disk->snapshots, key, g_byte_array_ref(snapshot));
        disk->n_snapshots++;
    }
    if ((flags & (YK_KEEP_LAST | YK_KEEP_GIVE_UP)) != 0) {
        g_hash_table_remove(disk->being_written, key);
    }
}

void
disk_tend(struct disk *disk, uint32_t n_workers)
{
    struct yk_log_segment segment;
    uint64_t needed_from = UINT64_MAX;
    for (uint32_t i = 0; i < n_workers; i++) {
        needed_from = MIN(needed_from, disk->needed_from[i]);
    }
    while (yk_log_trim(&disk->log, needed_from, &segment)) {
        for (guint i = 0; i < disk->untold->len; i++) {
            g_assert_cmpuint(g_array_index(disk->untold, uint64_t, i), >=, segment.end);
        }
        g_ptr_array_remove_fast(disk->files, find_file(disk, segment.number));
        disk->n_trimmed++;
    }
    make_ready(disk);
    disk->room.checkpoint_below = yk_log_pressure(&disk->log, disk->size_max);
}

/* Recovery */

static bool
replay_batch(struct yk_node *node, const struct yk_batch *batch, int lane, GString *why)
{
    struct yk_entry entry;
    size_t offset = 0;
    enum yk_err result;
    while ((result = yk_entry_next(batch, &offset, &entry)) == YK_OK) {
        uint32_t number =
            lane >= 0 ? (uint32_t)lane : yk_ring_lane(&node->buckets[0]->ring, entry.slot);
        result =
            yk_lane_replay(yk_node_lane(node, 0, number), &entry,
                           lane >= 0 ? UINT64_MAX : batch->position, lane >= 0 ? 0 : batch->now_ms);
        if (result != YK_OK) {
            g_string_append_printf(why, "replay of kind %d failed: %s", entry.kind,
                                   yk_err_text(result));
            return false;
        }
    }
    return result == YK_ENOTFOUND;
}

static bool
replay_file(struct disk *disk, struct yk_node *node, const struct disk_file *file, GString *why)
{
    struct yk_reader reader;
    struct yk_batch batch;
    if (yk_reader_open(yk_slice_of(file->bytes->data, file->bytes->len), disk_id, &reader) !=
        YK_OK) {
        g_string_append(why, "a segment's head is damaged");
        return false;
    }
    while (yk_reader_next(&reader, &batch)) {
        if (!replay_batch(node, &batch, -1, why)) {
            return false;
        }
    }
    if (reader.ending == YK_ENDING_DAMAGED) {
        g_string_append(why, "a torn tail looks like damage");
        return false;
    }
    struct yk_log_segment segment = {.number = reader.head.number,
                                     .start = reader.head.start,
                                     .size = reader.head.size,
                                     .end = reader.head.start + reader.offset};
    return yk_log_found(&disk->log, &segment) == YK_OK;
}

static bool
load_snapshot(struct disk *disk, struct yk_node *node, uint32_t lane, GString *why)
{
    GByteArray *snapshot = g_hash_table_lookup(disk->snapshots, GUINT_TO_POINTER(lane + 1));
    struct yk_reader reader;
    struct yk_batch batch;
    if (snapshot == NULL) {
        return true;
    }
    if (yk_reader_open(yk_slice_of(snapshot->data, snapshot->len), disk_id, &reader) != YK_OK) {
        g_string_append(why, "a snapshot's head is damaged");
        return false;
    }
    while (yk_reader_next(&reader, &batch)) {
        if (batch.n_entries == 0) {
            return true;
        }
        if (!replay_batch(node, &batch, (int)lane, why)) {
            return false;
        }
    }
    g_string_append(why, "a snapshot has no end");
    return false;
}

static int
compare_files(gconstpointer a, gconstpointer b)
{
    const struct disk_file *left = *(struct disk_file *const *)a;
    const struct disk_file *right = *(struct disk_file *const *)b;
    return left->head.number < right->head.number ? -1 : 1;
}

/* What is ready, and not used, is made anew: with another salt. */
static void
drop_unused(struct disk *disk)
{
    for (guint i = disk->files->len; i-- > 0;) {
        const struct disk_file *file = disk->files->pdata[i];
        bool is_used = false;
        for (uint32_t k = 0; k < disk->log.n_used; k++) {
            is_used = is_used || disk->log.used[k].number == file->head.number;
        }
        if (!is_used) {
            g_ptr_array_remove_index(disk->files, i);
        }
    }
}

bool
disk_recover(struct disk *disk, struct yk_node *node, GString *why)
{
    uint32_t n_lanes = node->buckets[0]->ring.n_lanes;
    uint64_t n_applied;
    struct yk_log_config config = disk->log.config;
    drop_unused(disk);
    yk_log_done(&disk->log);
    yk_log_init(&disk->log, &config);
    g_hash_table_remove_all(disk->being_written);
    g_array_set_size(disk->untold, 0);
    g_ptr_array_sort(disk->files, compare_files);
    disk->room = (struct yk_journal_room){.bundle_size = disk->bundle_size};
    disk->taken = 0;
    memset(disk->needed_from, 0, sizeof(disk->needed_from));
    for (uint32_t i = 0; i < n_lanes; i++) {
        if (yk_lane_recover(yk_node_lane(node, 0, i)) != YK_OK ||
            (yk_lane_is_volatile(yk_node_lane(node, 0, i)) && !load_snapshot(disk, node, i, why))) {
            return false;
        }
    }
    for (guint i = 0; i < disk->files->len; i++) {
        if (!replay_file(disk, node, disk->files->pdata[i], why)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n_lanes; i++) {
        enum yk_err result = yk_lane_recovered(yk_node_lane(node, 0, i), &n_applied);
        if (result != YK_OK) {
            g_string_append_printf(why, "lane %u is not recovered: %s", i, yk_err_text(result));
            return false;
        }
    }
    make_ready(disk);
    return true;
}
