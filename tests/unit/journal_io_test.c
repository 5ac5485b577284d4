/* The journal over a folder: what several workers submit is what a second open reads; what is
 * damaged is refused with a text that names the file. */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "core/base/random.h"
#include "core/io/journal.h"

enum { WORKERS = 3, CLASSES = 2 };

struct place {
    char *folder;
    struct yk_world world;
    struct yk_random random;
    struct yk_journal_config config;
    struct yk_journal *journal;
    uint64_t n_done;                    /* atomic */
    uint64_t numbers[WORKERS][CLASSES]; /* of the last bundle that came back */
    uint64_t n_read, versions[WORKERS][CLASSES];
    uint64_t n_kept; /* atomic: pieces of snapshots */
    enum yk_err kept_result;
    bool needs_nothing; /* lanes are checkpointed as soon as they write */
};

static uint64_t
now_us(void *arg)
{
    return (uint64_t)g_get_monotonic_time();
}

static uint64_t
now_ms(void *arg)
{
    return (uint64_t)g_get_real_time() / 1000;
}

static uint64_t
next_random(void *arg)
{
    static uint64_t state;
    struct yk_random random = {__atomic_add_fetch(&state, 1, __ATOMIC_RELAXED)};
    return yk_random_next(&random);
}

static void
log_line(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static void
take_back(struct place *place, struct yk_bundle *bundle)
{
    uint64_t *number = &place->numbers[bundle->worker][bundle->syncs ? 1 : 0];
    g_assert_cmpuint(bundle->number, ==, *number + 1);
    *number = bundle->number;
    if (place->needs_nothing) { /* but for what is on its way, which stands behind it */
        __atomic_store_n(yk_journal_needed_from(place->journal), bundle->position,
                         __ATOMIC_RELEASE);
    }
    yk_bundle_free(bundle);
    __atomic_add_fetch(&place->n_done, 1, __ATOMIC_RELEASE);
}

static void
came_back(void *arg, struct yk_bundle *first)
{
    while (first != NULL) {
        struct yk_bundle *next = first->next;
        take_back(arg, first);
        first = next;
    }
}

static void
kept(void *arg, struct yk_lane *lane, enum yk_err result)
{
    struct place *place = arg;
    place->kept_result = result;
    __atomic_add_fetch(&place->n_kept, 1, __ATOMIC_RELEASE);
}

static void
pressed(void *arg)
{
}

static void
failed(void *arg)
{
    _exit(99);
}

static void
place_make(struct place *place, bool has_os, bool has_disk)
{
    static const char *const buckets[] = {"zero", "one"};
    *place = (struct place){.folder = g_dir_make_tmp("yakumo-journal-XXXXXX", NULL)};
    place->world = (struct yk_world){.arg = place,
                                     .now_us = now_us,
                                     .boot_us = now_us,
                                     .now_ms = now_ms,
                                     .random = next_random,
                                     .log = log_line};
    place->config = (struct yk_journal_config){.world = &place->world,
                                               .folder = place->folder,
                                               .id = "0123456789abcde",
                                               .has_disk = has_disk,
                                               .has_os = has_os,
                                               .n_buckets = 2,
                                               .buckets = buckets,
                                               .entry_size_max = 100000,
                                               .size_max = 8 << 20,
                                               .n_workers = WORKERS,
                                               .n_lanes = 1,
                                               .arg = place,
                                               .done = came_back,
                                               .kept = kept,
                                               .pressed = pressed,
                                               .failed = failed};
    g_autofree char *one = g_build_filename(place->folder, "one", NULL);
    g_assert_cmpint(g_mkdir(one, 0700), ==, 0);
}

static void
remove_all(const char *path)
{
    g_autoptr(GDir) names = g_dir_open(path, 0, NULL);
    const char *name;
    while (names != NULL && (name = g_dir_read_name(names)) != NULL) {
        g_autofree char *inner = g_build_filename(path, name, NULL);
        remove_all(inner);
    }
    (void)!g_remove(path);
}

static void
place_done(struct place *place)
{
    yk_journal_close(place->journal);
    remove_all(place->folder);
    g_free(place->folder);
}

static void
place_open(struct place *place)
{
    char error[YK_ERROR_SIZE] = "";
    g_assert_cmpint(yk_journal_open(&place->config, &place->journal, error), ==, YK_OK);
}

static void
place_start(struct place *place)
{
    char error[YK_ERROR_SIZE];
    g_assert_cmpint(yk_journal_start(place->journal, error), ==, YK_OK);
    memset(place->numbers, 0, sizeof(place->numbers));
}

static void
place_close(struct place *place)
{
    yk_journal_stop(place->journal);
    yk_journal_close(place->journal);
    place->journal = NULL;
}

/* One bundle of so many bytes; false: there is no room. */
static bool
put_bundle(struct place *place, uint32_t worker, bool syncs, uint64_t number, uint32_t size)
{
    g_autofree uint8_t *value = g_malloc(size);
    uint64_t needed = YK_BUNDLE_EXTRA + yk_entry_size(3, size);
    if (!yk_journal_take(yk_journal_room(place->journal), needed)) {
        return false;
    }
    memset(value, (int)(number & 0xff), size);
    struct yk_entry entry = {.kind = YK_ENTRY_PUT,
                             .bucket = syncs ? 1 : 0,
                             .slot = (uint16_t)worker,
                             .version = number,
                             .key = yk_slice_of("key", 3),
                             .value = yk_slice_of(value, size)};
    struct yk_bundle *bundle = yk_bundle_new();
    g_assert_true(yk_bundle_extend(bundle, yk_entry_size(3, size)));
    yk_bundle_add(bundle, &entry);
    bundle->worker = worker;
    bundle->syncs = syncs;
    bundle->number = number;
    bundle->reserved = needed;
    yk_journal_submit(place->journal, bundle);
    return true;
}

static void
wait_done(struct place *place, uint64_t n)
{
    for (int i = 0; i < 20000 && __atomic_load_n(&place->n_done, __ATOMIC_ACQUIRE) < n; i++) {
        g_usleep(1000);
    }
    g_assert_cmpuint(__atomic_load_n(&place->n_done, __ATOMIC_ACQUIRE), ==, n);
}

static enum yk_err
check_entry(void *arg, const char *bucket, const struct yk_entry *entry, uint64_t position,
            uint64_t at_ms)
{
    struct place *place = arg;
    const uint8_t *value = entry->value.data;
    bool is_one = strcmp(bucket, "one") == 0;
    g_assert_true(is_one || strcmp(bucket, "zero") == 0);
    g_assert_cmpuint(entry->slot, <, WORKERS);
    g_assert_cmpuint(entry->version, ==, ++place->versions[entry->slot][is_one ? 1 : 0]);
    for (size_t i = 0; i < entry->value.size; i++) {
        if (value[i] != (entry->version & 0xff)) {
            return YK_ECORRUPT;
        }
    }
    place->n_read++;
    return YK_OK;
}

static void
check_content(struct place *place, uint64_t n)
{
    memset(place->versions, 0, sizeof(place->versions));
    place->n_read = 0;
    g_assert_cmpint(yk_journal_replay(place->journal, check_entry, place), ==, YK_OK);
    g_assert_cmpuint(place->n_read, ==, n);
}

/* -- Whole ways. -- */

enum { N_PUTS = 250 };

struct writer {
    struct place *place;
    uint32_t worker;
};

static gpointer
write_much(gpointer arg)
{
    struct writer *writer = arg;
    const struct yk_journal_config *config = &writer->place->config;
    struct yk_random random = {writer->worker + 1};
    for (uint64_t number = 1; number <= N_PUTS; number++) {
        for (int syncs = config->has_os ? 0 : 1; syncs <= (config->has_disk ? 1 : 0); syncs++) {
            uint32_t size = (uint32_t)yk_random_below(&random, 60000);
            while (!put_bundle(writer->place, writer->worker, syncs == 1, number, size)) {
                g_usleep(500);
            }
        }
    }
    return NULL;
}

static void
test_ways(gconstpointer arg)
{
    int classes = GPOINTER_TO_INT(arg); /* bits: os, disk */
    struct place place;
    struct writer writers[WORKERS];
    GThread *threads[WORKERS];
    uint64_t n = (uint64_t)WORKERS * N_PUTS * (classes == 3 ? 2 : 1);
    place_make(&place, (classes & 1) != 0, (classes & 2) != 0);
    place_open(&place);
    place_start(&place);
    for (uint32_t i = 0; i < WORKERS; i++) {
        writers[i] = (struct writer){&place, i};
        threads[i] = g_thread_new("writer", write_much, &writers[i]);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        g_thread_join(threads[i]);
    }
    wait_done(&place, n);
    place_close(&place);
    place_open(&place);
    check_content(&place, n);
    g_assert_cmpuint(yk_journal_found_bytes(place.journal), >, 3 * (4u << 20));
    place_done(&place);
}

static uint32_t
n_files(const struct place *place, const char *suffix)
{
    g_autofree char *path = g_build_filename(place->folder, "journal", NULL);
    g_autoptr(GDir) names = g_dir_open(path, 0, NULL);
    const char *name;
    uint32_t n = 0;
    while ((name = g_dir_read_name(names)) != NULL) {
        n += g_str_has_suffix(name, suffix) ? 1 : 0;
    }
    return n;
}

static void
put_some(struct place *place, uint64_t from, uint64_t to, uint32_t size)
{
    uint64_t n_before = __atomic_load_n(&place->n_done, __ATOMIC_ACQUIRE);
    for (uint64_t number = from; number <= to; number++) {
        while (!put_bundle(place, 0, place->config.has_disk, number, size)) {
            g_usleep(500);
        }
    }
    wait_done(place, n_before + to - from + 1);
}

/* Likewise, each a round of its own. */
static void
put_each(struct place *place, uint64_t from, uint64_t to, uint32_t size)
{
    for (uint64_t number = from; number <= to; number++) {
        put_some(place, number, number, size);
    }
}

/* What is not needed is dropped, its files are used again, and what they held is never read. */
static void
test_reuse(gconstpointer arg)
{
    struct place place;
    place_make(&place, true, GPOINTER_TO_INT(arg) != 0);
    place_open(&place);
    place_start(&place);
    place.needs_nothing = true; /* the first worker, who is the only one to write */
    for (uint32_t i = 1; i < WORKERS; i++) {
        __atomic_store_n(&yk_journal_needed_from(place.journal)[i], UINT64_MAX, __ATOMIC_RELEASE);
    }
    put_some(&place, 1, 600, 60000);
    /* The keeper looks when a file is full, and may be a little late: of some forty megabytes, and
     * six more each time. */
    for (uint64_t n = 600; n_files(&place, ".log") >= 8; n += 100) {
        g_assert_cmpuint(n, <, 4000);
        put_some(&place, n + 1, n + 100, 60000);
    }
    yk_journal_stop(place.journal);
    yk_journal_drop_all(place.journal);
    yk_journal_close(place.journal);
    place_open(&place);
    check_content(&place, 0);
    place_start(&place);
    put_some(&place, 1, 3, 1000);
    place_close(&place);
    place_open(&place);
    check_content(&place, 3);
    place_done(&place);
}

/* -- Damage. -- */

/* A journal of some files, in which each begins with a number that is returned. */
static void
make_files(struct place *place, bool has_os)
{
    place_make(place, has_os, !has_os);
    place_open(place);
    place_start(place);
    put_each(place, 1, 250, 60000);
    place_close(place);
    g_assert_cmpuint(n_files(place, ".log"), >=, 4);
}

static void
file_path(const struct place *place, uint64_t number, char *to)
{
    g_autofree char *folder = g_build_filename(place->folder, "journal", NULL);
    yk_segment_path(folder, number, to);
}

static void
change(const struct place *place, uint64_t number, off_t at, uint8_t bits)
{
    char path[YK_SEGMENT_PATH_SIZE];
    uint8_t byte;
    file_path(place, number, path);
    int fd = open(path, O_RDWR);
    g_assert_cmpint(pread(fd, &byte, 1, at), ==, 1);
    byte ^= bits;
    g_assert_cmpint(pwrite(fd, &byte, 1, at), ==, 1);
    close(fd);
}

static void
assert_refused(struct place *place, uint64_t number, const char *text)
{
    char error[YK_ERROR_SIZE] = "";
    g_autofree char *name = g_strdup_printf("%012u.log", (unsigned)number);
    g_assert_cmpint(yk_journal_open(&place->config, &place->journal, error), !=, YK_OK);
    g_assert_nonnull(strstr(error, name));
    g_assert_nonnull(strstr(error, text));
    if (g_test_failed()) {
        g_test_message("%s", error);
    }
}

static void
test_missing(void)
{
    struct place place;
    char second[YK_SEGMENT_PATH_SIZE], third[YK_SEGMENT_PATH_SIZE], away[YK_SEGMENT_PATH_SIZE];
    make_files(&place, false);
    file_path(&place, 2, second);
    file_path(&place, 3, third);
    file_path(&place, 99, away);
    strcat(away, ".away");
    g_assert_cmpint(rename(second, away), ==, 0);
    assert_refused(&place, 3, "file 2 is missing");
    g_assert_cmpint(rename(third, second), ==, 0);
    assert_refused(&place, 2, "it is file 3 by its head");
    g_assert_cmpint(rename(away, third), ==, 0);
    assert_refused(&place, 2, "it is file 3 by its head");
    g_assert_cmpint(rename(second, away), ==, 0);
    g_assert_cmpint(rename(third, second), ==, 0);
    g_assert_cmpint(rename(away, third), ==, 0);
    g_assert_cmpint(truncate(second, 100 * 1000), ==, 0);
    assert_refused(&place, 3, "has lost its end");
    place_done(&place);
}

static void
test_damaged(void)
{
    struct place place;
    for (uint64_t number = 1; number <= 2; number++) {
        make_files(&place, false);
        for (int lost_power = 0; lost_power < 2;
             lost_power++) { /* it was on the device all the same */
            place.config.lost_power = lost_power != 0;
            change(&place, number, 200 * 1000, 1);
            assert_refused(&place, number, "is not readable, and there are writes behind it");
            change(&place, number, 200 * 1000, 1);
        }
        place.config.lost_power = false;
        change(&place, number, 40, 1);
        assert_refused(&place, number, "its head is not readable");
        change(&place, number, 40, 1);
        place_open(&place);
        check_content(&place, 250);
        place_done(&place);
    }
}

/* The oldest file that is kept may be any. */
static void
test_damaged_head_of_oldest(void)
{
    struct place place;
    char first[YK_SEGMENT_PATH_SIZE];
    make_files(&place, false);
    file_path(&place, 1, first);
    g_assert_cmpint(unlink(first), ==, 0);
    change(&place, 2, 40, 1);
    assert_refused(&place, 2, "its head is not readable");
    place_done(&place);
}

static void
test_foreign(void)
{
    struct place place;
    make_files(&place, false);
    place.config.id[3] ^= 1;
    assert_refused(&place, 1, "belongs to another node");
    place_done(&place);
}

static uint64_t
count_entries(struct place *place)
{
    memset(place->versions, 0, sizeof(place->versions));
    place->n_read = 0;
    g_assert_cmpint(yk_journal_replay(place->journal, check_entry, place), ==, YK_OK);
    return place->n_read;
}

/* Where durability is os a loss of power may take anything from somewhere on. */
static void
test_lost_power(void)
{
    struct place place;
    make_files(&place, true);
    change(&place, 2, 200 * 1000, 1);
    assert_refused(&place, 2, "is not readable");
    place.config.lost_power = true;
    place_open(&place);
    uint64_t n = count_entries(&place);
    g_assert_cmpuint(n, >, 60);
    g_assert_cmpuint(n, <, 200);
    yk_journal_close(place.journal);
    place.config.lost_power = false; /* what followed is gone for good */
    place_open(&place);
    g_assert_cmpuint(count_entries(&place), ==, n);
    place_done(&place);
}

/* A torn tail: the last write was under way. */
static void
test_torn(void)
{
    struct place place;
    place_make(&place, false, true);
    place_open(&place);
    place_start(&place);
    put_each(&place, 1, 3, 5000);
    place_close(&place);
    change(&place, 1, YK_JOURNAL_HEAD_SIZE + 2 * 8192 + 100, 1); /* in the third */
    place_open(&place);
    check_content(&place, 2);
    place_done(&place);
}

/* -- No space. -- */

static void
test_no_space(void)
{
    struct rlimit old, small;
    struct place place;
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    small = old;
    small.rlim_cur = 1 << 20;
    place_make(&place, true, false);
    place_open(&place);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
    place_start(&place);
    g_assert_false(put_bundle(&place, 0, false, 1, 100));
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    put_some(&place, 1, 5, 100); /* it is tried again */
    place_close(&place);
    place_open(&place);
    check_content(&place, 5);
    place_done(&place);
}

/* -- Snapshots. -- */

static void
keep(struct place *place, uint64_t number, uint32_t flags)
{
    struct yk_bundle *bundle = yk_bundle_new();
    struct yk_entry entry = {.kind = YK_ENTRY_PUT,
                             .version = number,
                             .key = yk_slice_of("key", 3),
                             .value = yk_slice_of("\1\1", 0)};
    uint64_t n_kept = __atomic_load_n(&place->n_kept, __ATOMIC_ACQUIRE);
    g_assert_true(yk_bundle_extend(bundle, 1000));
    yk_bundle_add(bundle, &entry);
    yk_journal_keep(place->journal, (struct yk_lane *)place, 1, 0, bundle, flags);
    while (__atomic_load_n(&place->n_kept, __ATOMIC_ACQUIRE) == n_kept) {
        g_usleep(500);
    }
    g_assert_cmpint(place->kept_result, ==, YK_OK);
    yk_bundle_free(bundle);
}

static enum yk_err
load(struct place *place, uint64_t n)
{
    char path[YK_SEGMENT_PATH_SIZE], error[YK_ERROR_SIZE] = "";
    memset(place->versions, 0, sizeof(place->versions));
    place->n_read = 0;
    yk_snapshot_path(place->folder, "one", 0, path);
    enum yk_err result = yk_snapshot_load(path, place->config.id, check_entry, place, error);
    if (result == YK_OK) {
        g_assert_cmpuint(place->n_read, ==, n);
    }
    return result;
}

static void
test_snapshot(void)
{
    struct place place;
    char path[YK_SEGMENT_PATH_SIZE], error[YK_ERROR_SIZE];
    place_make(&place, true, false);
    place_open(&place);
    place_start(&place);
    g_assert_cmpint(load(&place, 0), ==, YK_ENOTFOUND);
    yk_snapshot_path(place.folder, "one", 0, path);
    g_assert_cmpint(yk_snapshot_make_empty(path, place.config.id, "one", error), ==, YK_OK);
    g_assert_cmpint(load(&place, 0), ==, YK_OK);
    keep(&place, 1, 1);
    keep(&place, 2, 0);
    g_assert_cmpint(load(&place, 0), ==, YK_OK); /* still the old one */
    keep(&place, 3, 2);
    g_assert_cmpint(load(&place, 3), ==, YK_OK);
    keep(&place, 1, 1);
    yk_journal_keep(place.journal, (struct yk_lane *)&place, 1, 0, NULL, 4);
    keep(&place, 1, 3);
    g_assert_cmpint(load(&place, 1), ==, YK_OK);
    place_close(&place);
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    for (gsize cut = 0; cut < size; cut += cut < YK_JOURNAL_HEAD_SIZE - 100 ? 1000 : 1) {
        g_assert_true(g_file_set_contents(path, bytes, (gssize)cut, NULL));
        g_assert_cmpint(load(&place, 0), ==, YK_ECORRUPT);
    }
    place_done(&place);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_data_func("/journal-io/os", GINT_TO_POINTER(1), test_ways);
    g_test_add_data_func("/journal-io/disk", GINT_TO_POINTER(2), test_ways);
    g_test_add_data_func("/journal-io/mixed", GINT_TO_POINTER(3), test_ways);
    g_test_add_data_func("/journal-io/reuse-os", GINT_TO_POINTER(0), test_reuse);
    g_test_add_data_func("/journal-io/reuse-mixed", GINT_TO_POINTER(1), test_reuse);
    g_test_add_func("/journal-io/missing", test_missing);
    g_test_add_func("/journal-io/damaged", test_damaged);
    g_test_add_func("/journal-io/damaged-head-of-oldest", test_damaged_head_of_oldest);
    g_test_add_func("/journal-io/foreign", test_foreign);
    g_test_add_func("/journal-io/lost-power", test_lost_power);
    g_test_add_func("/journal-io/torn", test_torn);
    g_test_add_func("/journal-io/no-space", test_no_space);
    g_test_add_func("/journal-io/snapshot", test_snapshot);
    return g_test_run();
}
