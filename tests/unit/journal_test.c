/* The journal's form, its reader and its layout: what was cut short or changed is never taken for
 * what was written, and what was accepted finds its place. */
#include <config.h>

#include <glib.h>

#include "core/base/random.h"
#include "core/journal/bundle.h"
#include "core/journal/log.h"
#include "core/journal/reader.h"

static const uint8_t id[YK_JOURNAL_ID_SIZE] = "0123456789abcdef";

/* -- A file made by the test. -- */

enum { N_BATCHES = 5, ROOM = 64 * 1024 };

struct file {
    struct yk_journal_head head;
    uint8_t *bytes;
    uint64_t size;            /* of the file */
    uint64_t end;             /* of its content */
    uint64_t at[N_BATCHES];   /* offsets of its batches */
    uint64_t ends[N_BATCHES]; /* behind them, without what fills the block */
    uint32_t n;
    uint32_t round;    /* batches of one write; 0: one */
    uint64_t round_at; /* offset where the last one began */
};

static struct yk_bundle *
make_bundle(struct yk_random *random, uint64_t version)
{
    struct yk_bundle *bundle = yk_bundle_new();
    uint64_t n = 1 + yk_random_below(random, 4);
    for (uint64_t i = 0; i < n; i++) {
        g_autofree char *key = g_strdup_printf("key%u", (unsigned)yk_random_below(random, 100));
        g_autofree char *value = g_strnfill(yk_random_below(random, 60), 'v');
        struct yk_entry entry = {.kind = YK_ENTRY_PUT,
                                 .bucket = 1,
                                 .slot = (uint16_t)i,
                                 .version = version + i,
                                 .key = yk_slice_of_text(key),
                                 .value = yk_slice_of_text(value)};
        g_assert_true(yk_bundle_extend(bundle, yk_entry_size(entry.key.size, entry.value.size)));
        yk_bundle_add(bundle, &entry);
    }
    g_assert_cmpuint(bundle->n_entries, ==, n);
    return bundle;
}

static void
add_batch(struct file *file, struct yk_random *random)
{
    struct yk_bundle *bundle = make_bundle(random, file->n * 100ull + 1);
    if (file->round == 0 || file->n % file->round == 0) {
        file->round_at = file->end;
    }
    struct yk_batch batch = {.position = file->head.start + file->end,
                             .now_ms = 1000 + file->n,
                             .previous_end = file->n == 0 ? file->head.start : 0,
                             .synced = file->head.start + file->round_at,
                             .n_entries = bundle->n_entries,
                             .size = bundle->size};
    memcpy(file->bytes + file->end, bundle->bytes, bundle->size);
    yk_batch_seal(file->bytes + file->end, &batch, file->head.salt);
    file->at[file->n] = file->end;
    file->ends[file->n++] = file->end + bundle->size;
    file->end = yk_round_up(file->end + bundle->size, file->head.align);
    yk_bundle_free(bundle);
}

static void
file_make(struct file *file, uint32_t align, uint64_t start, uint64_t salt, uint32_t n)
{
    struct yk_random random = {7};
    *file = (struct file){.head = {.align = align,
                                   .number = 3,
                                   .start = start,
                                   .size = ROOM,
                                   .salt = salt,
                                   .is_synced = true,
                                   .n_buckets = 2,
                                   .buckets = {"first", "second"}},
                          .bytes = g_malloc0(ROOM),
                          .size = ROOM,
                          .end = YK_JOURNAL_HEAD_SIZE};
    memcpy(file->head.id, id, sizeof(id));
    yk_journal_head_encode(&file->head, file->bytes);
    while (file->n < n) {
        add_batch(file, &random);
    }
}

/* Batches that the reader yields; all of them as they were written. */
static uint32_t
read_file(const struct file *file, uint64_t size, struct yk_reader *ret_reader)
{
    struct yk_batch batch;
    uint32_t n = 0;
    g_assert_cmpint(yk_reader_open(yk_slice_of(file->bytes, size), id, ret_reader), ==, YK_OK);
    while (yk_reader_next(ret_reader, &batch)) {
        struct yk_entry entry;
        size_t offset = 0;
        uint32_t n_entries = 0;
        g_assert_cmpuint(n, <, file->n);
        g_assert_cmpuint(batch.position, ==, file->head.start + file->at[n]);
        g_assert_cmpuint(batch.now_ms, ==, 1000 + n);
        while (yk_entry_next(&batch, &offset, &entry) == YK_OK) {
            g_assert_cmpuint(entry.version, ==, n * 100ull + 1 + n_entries);
            g_assert_cmpuint(entry.slot, ==, n_entries++);
            g_assert_cmpint(entry.kind, ==, YK_ENTRY_PUT);
            g_assert_cmpmem(entry.key.data, 3, "key", 3);
        }
        g_assert_cmpuint(n_entries, ==, batch.n_entries);
        g_assert_cmpuint(offset, ==, batch.entries.size);
        n++;
    }
    return n;
}

/* -- Form. -- */

static void
test_heads(void)
{
    struct file file;
    struct yk_journal_head head;
    file_make(&file, 4096, 1 << 20, 99, 0);
    struct yk_slice bytes = yk_slice_of(file.bytes, YK_JOURNAL_HEAD_SIZE);
    g_assert_cmpint(yk_journal_head_decode(bytes, &head), ==, YK_OK);
    g_assert_cmpmem(&head, sizeof(head), &file.head, sizeof(head));
    for (size_t i = 0; i < YK_JOURNAL_HEAD_SIZE; i++) {
        file.bytes[i] ^= 8;
        enum yk_err result = yk_journal_head_decode(bytes, &head);
        g_assert_cmpint(result, ==, i < 16 ? YK_ENOTFOUND : YK_ECORRUPT);
        file.bytes[i] ^= 8;
    }
    bytes.size--;
    g_assert_cmpint(yk_journal_head_decode(bytes, &head), ==, YK_ENOTFOUND);
    struct yk_reader reader;
    bytes.size++;
    g_assert_cmpint(yk_reader_open(bytes, (const uint8_t *)"another node's..", &reader), ==,
                    YK_ECORRUPT);
    g_free(file.bytes);
}

static void
test_round_trip(void)
{
    static const uint32_t aligns[] = {8, 4096};
    for (size_t i = 0; i < G_N_ELEMENTS(aligns); i++) {
        struct file file;
        struct yk_reader reader;
        file_make(&file, aligns[i], 1 << 20, 99, N_BATCHES);
        g_assert_cmpuint(read_file(&file, file.size, &reader), ==, N_BATCHES);
        g_assert_cmpint(reader.ending, ==, YK_ENDING_CLEAN);
        g_assert_cmpuint(reader.offset, ==, file.end);
        g_free(file.bytes);
    }
}

static void
test_entries(void)
{
    static const enum yk_entry_kind kinds[] = {YK_ENTRY_PUT,      YK_ENTRY_DELETE, YK_ENTRY_FLUSH,
                                               YK_ENTRY_FLUSH_AT, YK_ENTRY_PAGE,   YK_ENTRY_CUT};
    uint8_t bytes[100];
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        struct yk_entry entry = {.kind = kinds[i],
                                 .bucket = 255,
                                 .slot = 65535,
                                 .version = UINT64_MAX,
                                 .key = yk_slice_of("\0key", i % 2 == 0 ? 4 : 0),
                                 .value = yk_slice_of("val\0", i % 3 == 0 ? 4 : 0)};
        struct yk_entry again;
        size_t size = yk_entry_size(entry.key.size, entry.value.size), offset = 0;
        yk_entry_encode(&entry, bytes);
        struct yk_batch batch = {.entries = yk_slice_of(bytes, size)};
        g_assert_cmpint(yk_entry_next(&batch, &offset, &again), ==, YK_OK);
        g_assert_cmpint(again.kind, ==, kinds[i]);
        g_assert_cmpuint(again.version, ==, UINT64_MAX);
        g_assert_true(again.bucket == 255 && again.slot == 65535);
        g_assert_true(yk_slice_equal(again.key, entry.key));
        g_assert_true(yk_slice_equal(again.value, entry.value));
        g_assert_cmpint(yk_entry_next(&batch, &offset, &again), ==, YK_ENOTFOUND);
        for (size_t cut = 1; cut < size; cut++) {
            batch.entries.size = cut;
            offset = 0;
            g_assert_cmpint(yk_entry_next(&batch, &offset, &again), ==, YK_ECORRUPT);
        }
    }
}

static void
test_bundle(void)
{
    struct yk_bundle *bundle = yk_bundle_new();
    g_autofree char *value = g_strnfill(3000, 'v');
    struct yk_entry entry = {
        .kind = YK_ENTRY_PUT, .key = yk_slice_of_text("k"), .value = yk_slice_of_text(value)};
    uint64_t size = yk_entry_size(entry.key.size, entry.value.size);
    for (int i = 0; i < 500; i++) {
        g_assert_true(yk_bundle_extend(bundle, size));
        yk_bundle_add(bundle, &entry);
    }
    g_assert_cmpuint(bundle->size, ==, YK_BATCH_HEAD_SIZE + 500 * size);
    g_assert_false(yk_bundle_extend(bundle, UINT32_MAX));
    yk_bundle_reset(bundle);
    g_assert_cmpuint(bundle->room, ==, 0); /* that was much */
    g_assert_cmpuint(bundle->size, ==, YK_BATCH_HEAD_SIZE);
    g_assert_cmpuint(bundle->n_entries, ==, 0);
    yk_bundle_free(bundle);
    yk_bundle_free(NULL);
}

/* -- Cuts and changes. -- */

static uint32_t
whole_before(const struct file *file, uint64_t cut)
{
    uint32_t n = 0;
    while (n < file->n && file->ends[n] <= cut) {
        n++;
    }
    return n;
}

/* Cut short by truncation, and by what was never written. */
static void
test_cuts(void)
{
    static const uint32_t aligns[] = {8, 4096};
    for (size_t i = 0; i < G_N_ELEMENTS(aligns); i++) {
        struct file file;
        struct yk_reader reader;
        file_make(&file, aligns[i], 1 << 20, 99, N_BATCHES);
        g_autofree uint8_t *whole = g_memdup2(file.bytes, file.size);
        uint64_t step = 1; /* every byte; between batches, where nothing stands, some */
        for (uint64_t cut = file.end + 1; cut-- > YK_JOURNAL_HEAD_SIZE; cut -= step - 1) {
            uint32_t n = whole_before(&file, cut);
            bool is_inside = n < N_BATCHES && cut >= file.at[n];
            step = is_inside || cut < 600 + YK_JOURNAL_HEAD_SIZE ? 1 : 8;
            g_assert_cmpuint(read_file(&file, cut, &reader), ==, n);
            g_assert_cmpint(reader.ending, !=, YK_ENDING_DAMAGED);
            memset(file.bytes + cut, 0, file.size - cut);
            uint32_t n_found = read_file(&file, file.size, &reader);
            g_assert_cmpint(reader.ending, !=, YK_ENDING_DAMAGED);
            g_assert_true(n_found == n); /* no batch ends with zeros */
            g_assert_true(reader.ending == YK_ENDING_TORN || !is_inside || cut == file.at[n]);
            memcpy(file.bytes + cut, whole + cut, file.size - cut);
        }
        g_free(file.bytes);
    }
}

static uint32_t
batch_of(const struct file *file, uint64_t at)
{
    uint32_t n = 0;
    while (n < file->n && file->ends[n] <= at) {
        n++;
    }
    return n;
}

static void
test_bits(void)
{
    struct file file;
    struct yk_reader reader;
    file_make(&file, 8, 1 << 20, 99, N_BATCHES);
    for (uint64_t bit = YK_JOURNAL_HEAD_SIZE * 8; bit < file.end * 8; bit++) {
        uint64_t at = bit / 8;
        uint32_t hit = batch_of(&file, at);
        bool is_between = hit == file.n || at < file.at[hit];
        file.bytes[at] ^= (uint8_t)(1u << bit % 8);
        uint32_t n = read_file(&file, file.size, &reader);
        g_assert_cmpuint(n, ==, is_between ? N_BATCHES : hit);
        if (!is_between && hit < N_BATCHES - 1) {
            g_assert_cmpint(reader.ending, ==, YK_ENDING_DAMAGED);
            g_assert_cmpuint(reader.offset, ==, file.at[hit]);
            g_assert_cmpuint(reader.damage_end, ==, file.at[hit + 1]);
        } else {
            g_assert_cmpint(reader.ending, ==, is_between ? YK_ENDING_CLEAN : YK_ENDING_TORN);
        }
        file.bytes[at] ^= (uint8_t)(1u << bit % 8);
    }
    g_free(file.bytes);
}

/* A loss of power in the middle of a round may leave a later batch of it on the device without one
 * before; never one of a later round. */
static void
test_rounds(void)
{
    for (uint32_t round = 1; round <= N_BATCHES; round++) {
        struct yk_random random = {7};
        struct yk_reader reader;
        struct file file;
        file_make(&file, 8, 1 << 20, 99, 0);
        file.round = round;
        while (file.n < N_BATCHES) {
            add_batch(&file, &random);
        }
        for (uint32_t hit = 0; hit < N_BATCHES - 1; hit++) {
            file.bytes[file.at[hit] + YK_BATCH_HEAD_SIZE] ^= 1;
            g_assert_cmpuint(read_file(&file, file.size, &reader), ==, hit);
            g_assert_cmpint(reader.ending, ==, YK_ENDING_DAMAGED);
            g_assert_cmpint(reader.is_certain, ==, hit / round < (N_BATCHES - 1) / round);
            file.bytes[file.at[hit] + YK_BATCH_HEAD_SIZE] ^= 1;
        }
        g_free(file.bytes);
    }
}

/* The file was used before, with another salt, or at another position. */
static void
test_stale(void)
{
    static const uint64_t starts[] = {1 << 20, 0};
    for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
        struct file old, file;
        struct yk_reader reader;
        file_make(&old, 8, starts[i], 98, N_BATCHES);
        for (uint32_t n = 0; n < N_BATCHES; n++) {
            file_make(&file, 8, 1 << 20, starts[i] == 0 ? 98 : 99, n);
            memcpy(file.bytes + file.end, old.bytes + file.end, file.size - file.end);
            g_assert_cmpuint(read_file(&file, file.size, &reader), ==, n);
            g_assert_cmpint(reader.ending, !=, YK_ENDING_DAMAGED);
            g_free(file.bytes);
        }
        g_free(old.bytes);
    }
}

/* -- Layout. -- */

struct layout {
    struct yk_log log;
    struct yk_random random;
    int64_t room;    /* as the keeper and the workers count it */
    uint64_t placed; /* position behind the last batch */
    uint64_t number, trimmed;
};

static void
make_ready(struct layout *layout)
{
    struct yk_log_segment wanted;
    while (yk_log_wants(&layout->log, &wanted)) {
        g_assert_cmpuint(wanted.number, ==, ++layout->number);
        layout->room += yk_log_ready(&layout->log);
    }
}

/* As a worker and the flusher do. */
static void
place(struct layout *layout)
{
    const struct yk_log_config *config = &layout->log.config;
    uint64_t size_max = config->waste_max - YK_JOURNAL_ALIGN_DISK;
    uint64_t size =
        1 + (yk_random_below(&layout->random, 4) == 0 ? size_max - 1
                                                      : yk_random_below(&layout->random, size_max));
    int64_t reserved = (int64_t)(size + YK_JOURNAL_ALIGN_DISK);
    struct yk_log_place placed;
    if (layout->room < reserved) {
        return;
    }
    layout->room -= reserved;
    g_assert_cmpint(yk_log_place(&layout->log, size, &placed), ==, YK_OK);
    uint64_t padded = yk_round_up(size, config->align);
    layout->room += reserved - (int64_t)padded - placed.room;
    g_assert_cmpuint(placed.position, >=, layout->placed);
    g_assert_cmpuint(placed.position % config->align, ==, 0);
    g_assert_cmpuint(placed.position + padded, <=, placed.segment.start + placed.segment.size);
    if (placed.is_first) {
        g_assert_cmpuint(placed.previous_end, ==, layout->placed);
        g_assert_cmpuint(placed.position, ==, placed.segment.start + YK_JOURNAL_HEAD_SIZE);
    }
    layout->placed = placed.position + padded;
    g_assert_cmpuint(yk_log_end(&layout->log), ==, layout->placed);
}

static void
trim(struct layout *layout)
{
    struct yk_log_segment segment;
    uint64_t needed = yk_random_below(&layout->random, layout->placed + 1);
    while (yk_log_trim(&layout->log, needed, &segment)) {
        g_assert_cmpuint(segment.number, ==, ++layout->trimmed);
        g_assert_cmpuint(segment.end, <=, needed);
    }
    g_assert_cmpuint(layout->log.n_used, >=, layout->log.has_current ? 1 : 0);
}

/* Room is what the files have left, but for what may be left over at the end of each. */
static void
check_room(const struct layout *layout)
{
    const struct yk_log *log = &layout->log;
    const struct yk_log_config *config = &log->config;
    int64_t room =
        log->n_ready * (int64_t)(config->segment_size - YK_JOURNAL_HEAD_SIZE - config->waste_max);
    if (log->has_current) {
        const struct yk_log_segment *last = &log->used[log->n_used - 1];
        room += (int64_t)(last->start + last->size - last->end) - (int64_t)config->waste_max;
    }
    g_assert_cmpint(layout->room, ==, room);
}

static void
test_layout(void)
{
    static const uint32_t aligns[] = {8, 4096};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct layout layout = {.random = {seed}};
        struct yk_log_config config = {.align = aligns[seed % 2],
                                       .waste_max = 4096 * (2 + seed % 5)};
        config.segment_size = YK_JOURNAL_HEAD_SIZE + 4 * config.waste_max + 4096 * (seed % 3);
        yk_log_init(&layout.log, &config);
        g_assert_cmpuint(yk_log_kept(&layout.log), ==, 0);
        for (int i = 0; i < 2000; i++) {
            switch (yk_random_below(&layout.random, 8)) {
            case 0:
                make_ready(&layout);
                break;
            case 1:
                trim(&layout);
                break;
            default:
                place(&layout);
                break;
            }
            check_room(&layout);
        }
        g_assert_cmpuint(layout.number, >, 10);
        yk_log_done(&layout.log);
    }
}

static void
test_pressure(void)
{
    struct yk_log log;
    struct yk_log_config config = {.align = 8, .segment_size = 1 << 20, .waste_max = 1 << 16};
    struct yk_log_segment found = {.number = 5, .start = 5 << 20, .size = 1 << 20},
                          trimmed = {.number = 0};
    found.end = found.start + found.size / 2;
    yk_log_init(&log, &config);
    g_assert_cmpint(yk_log_found(&log, &found), ==, YK_OK);
    g_assert_cmpuint(yk_log_kept(&log), ==, 1 << 19);
    g_assert_cmpuint(yk_log_pressure(&log, 1 << 20), ==, 0);
    g_assert_cmpuint(yk_log_pressure(&log, 1 << 19), ==, found.end - (1 << 17));
    struct yk_log_segment wanted;
    g_assert_true(yk_log_wants(&log, &wanted));
    g_assert_cmpuint(wanted.number, ==, 6);
    g_assert_cmpuint(wanted.start, ==, 6 << 20);
    g_assert_false(yk_log_trim(&log, found.end - 1, &trimmed));
    g_assert_true(yk_log_trim(&log, found.end, &trimmed));
    g_assert_cmpuint(trimmed.number, ==, 5);
    g_assert_false(yk_log_trim(&log, UINT64_MAX, &trimmed));
    struct yk_log_place placed;
    g_assert_cmpint(yk_log_place(&log, 100, &placed), ==, YK_ENOSPACE); /* nothing is ready */
    yk_log_done(&log);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/journal/heads", test_heads);
    g_test_add_func("/journal/round-trip", test_round_trip);
    g_test_add_func("/journal/entries", test_entries);
    g_test_add_func("/journal/bundle", test_bundle);
    g_test_add_func("/journal/cuts", test_cuts);
    g_test_add_func("/journal/bits", test_bits);
    g_test_add_func("/journal/rounds", test_rounds);
    g_test_add_func("/journal/stale", test_stale);
    g_test_add_func("/journal/layout", test_layout);
    g_test_add_func("/journal/pressure", test_pressure);
    return g_test_run();
}
