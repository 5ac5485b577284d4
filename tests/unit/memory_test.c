/* The memory engine through its plugin struct, beside a plain hash table. */
#include <config.h>

#include <yakumo/backend.h>

#include <stdlib.h>

#include <glib.h>

#include "core/base/hash.h"
#include "core/base/random.h"
#include "core/base/world.h"
#include "core/store/budget.h"
#include "core/store/scan.h"

extern const struct yk_plugin memory_LTX_yk_plugin;

/* -- A host that counts. -- */

static struct {
    int64_t n_allocs;  /* alive */
    uint32_t fails_in; /* 1: the next one fails; 0: none does */
} heap;

static void *
heap_resize(void *arg, void *memory, size_t size)
{
    if (heap.fails_in > 0 && --heap.fails_in == 0) {
        return NULL;
    }
    heap.n_allocs += memory == NULL ? 1 : 0;
    return realloc(memory, size);
}

static void
heap_release(void *arg, void *memory)
{
    heap.n_allocs -= memory != NULL ? 1 : 0;
    free(memory);
}

static void
no_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static uint64_t clock_ms = 5000;

static uint64_t
read_clock(void *arg)
{
    return clock_ms;
}

static const struct yk_world world = {
    .now_ms = read_clock, .log = no_log, .resize = heap_resize, .release = heap_release};

/* -- Engines. -- */

enum { LANES_MAX = 16 };

struct bench {
    const struct yk_backend_ops *ops;
    struct yk_plugin_host host;
    struct yk_shared_budget budget;
    uint32_t n_lanes;
    void *lanes[LANES_MAX];
};

static enum yk_err
lane_open_slots(struct bench *bench, uint32_t lane, uint32_t n_slots, bool may_evict,
                void **ret_self)
{
    struct yk_backend_place place = {.struct_size = sizeof(place),
                                     .lane = lane,
                                     .n_lanes = bench->n_lanes,
                                     .n_slots = n_slots,
                                     .bucket = "b",
                                     .budget = &bench->budget.budget,
                                     .seed = 99,
                                     .may_evict = may_evict};
    enum yk_err result = bench->ops->life.create(&bench->host.host, ret_self);
    if (result != YK_OK) {
        return result;
    }
    result = bench->ops->open(*ret_self, &place);
    if (result != YK_OK) {
        bench->ops->life.destroy(*ret_self);
    }
    return result;
}

static enum yk_err
lane_open(struct bench *bench, uint32_t lane, bool may_evict, void **ret_self)
{
    return lane_open_slots(bench, lane, 16, may_evict, ret_self);
}

static void
bench_open(struct bench *bench, uint64_t size_max, uint32_t n_lanes, bool may_evict)
{
    heap.fails_in = 0;
    heap.n_allocs = 0;
    *bench = (struct bench){.ops = memory_LTX_yk_plugin.ops, .n_lanes = n_lanes};
    yk_plugin_host_init(&bench->host, &world, "memory");
    yk_budget_init(&bench->budget, size_max);
    for (uint32_t i = 0; i < n_lanes; i++) {
        g_assert_cmpint(lane_open(bench, i, may_evict, &bench->lanes[i]), ==, YK_OK);
    }
}

static void
bench_done(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->n_lanes; i++) {
        bench->ops->close(bench->lanes[i]);
        bench->ops->life.destroy(bench->lanes[i]);
    }
    g_assert_cmpint(heap.n_allocs, ==, 0);
    g_assert_cmpuint(bench->budget.taken, ==, 0);
}

static struct yk_key
key_of(const char *text, uint16_t slot)
{
    return (struct yk_key){.data = (const uint8_t *)text,
                           .size = (uint32_t)strlen(text),
                           .slot = slot,
                           .hash = yk_hash(yk_slice_of_text(text))};
}

static enum yk_err
put_slice(struct bench *bench, uint32_t lane, struct yk_key key, struct yk_slice value)
{
    struct yk_change change = {.key = key, .kind = YK_CHANGE_PUT, .value = value};
    enum yk_err result = bench->ops->admit(bench->lanes[lane], &change);
    if (result == YK_OK) {
        g_assert_cmpint(bench->ops->apply(bench->lanes[lane], &change, 1, NULL), ==, YK_OK);
    }
    return result;
}

static enum yk_err
put(struct bench *bench, const char *key, const char *value)
{
    return put_slice(bench, 0, key_of(key, 0), yk_slice_of_text(value));
}

static void
drop(struct bench *bench, uint32_t lane, struct yk_key key)
{
    struct yk_change change = {.key = key, .kind = YK_CHANGE_DELETE};
    g_assert_cmpint(bench->ops->admit(bench->lanes[lane], &change), ==, YK_OK);
    g_assert_cmpint(bench->ops->apply(bench->lanes[lane], &change, 1, NULL), ==, YK_OK);
}

static void
take_value(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    GString **got = arg;
    g_assert_cmpuint(index, ==, 0);
    if (result == YK_OK) {
        *got = g_string_new_len(value.data, (gssize)value.size);
    }
}

/* NULL: absent. */
static GString *
get(struct bench *bench, uint32_t lane, struct yk_key key)
{
    GString *got = NULL;
    g_assert_cmpint(bench->ops->get(bench->lanes[lane], &key, 1, take_value, &got, NULL), ==,
                    YK_OK);
    return got;
}

static void
assert_value(struct bench *bench, struct yk_key key, const char *value)
{
    GString *got = get(bench, 0, key);
    g_assert_cmpstr(got != NULL ? got->str : NULL, ==, value);
    if (got != NULL) {
        g_string_free(got, TRUE);
    }
}

static uint64_t
count(struct bench *bench, uint32_t lane)
{
    uint64_t records = 0;
    g_assert_cmpint(bench->ops->count(bench->lanes[lane], &records), ==, YK_OK);
    return records;
}

static void
take_figure(void *arg, const char *name, uint64_t number)
{
    struct yk_figure *figure = arg;
    if (strcmp(figure->name, name) == 0) {
        figure->number += number;
    }
}

static uint64_t
figure(struct bench *bench, const char *name)
{
    struct yk_figure wanted = {.number = 0};
    g_strlcpy(wanted.name, name, sizeof(wanted.name));
    for (uint32_t i = 0; i < bench->n_lanes; i++) {
        bench->ops->stats(bench->lanes[i], take_figure, &wanted);
    }
    return wanted.number;
}

/* -- As a map. -- */

static void
test_model(void)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct yk_random random = {seed};
        struct bench bench;
        GHashTable *model = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        bench_open(&bench, seed % 2 == 0 ? 64 * YK_MIB : 0, 1, seed % 3 == 0);
        for (int i = 0; i < 20000; i++) {
            g_autofree char *key = g_strdup_printf("%d", (int)yk_random_below(&random, 3000));
            switch (yk_random_below(&random, i < 10000 ? 4 : 6)) {
            case 0:
            case 1: {
                char *value = g_strnfill(yk_random_below(&random, 50), (char)('a' + i % 26));
                g_assert_cmpint(put(&bench, key, value), ==, YK_OK);
                g_hash_table_replace(model, g_strdup(key), value);
                break;
            }
            case 2:
                assert_value(&bench, key_of(key, 0), g_hash_table_lookup(model, key));
                break;
            default:
                drop(&bench, 0, key_of(key, 0));
                g_hash_table_remove(model, key);
                break;
            }
            if (i % 1000 == 0) {
                g_assert_cmpuint(count(&bench, 0), ==, g_hash_table_size(model));
            }
        }
        for (int i = 0; i < 3000; i++) {
            g_autofree char *key = g_strdup_printf("%d", i);
            assert_value(&bench, key_of(key, 0), g_hash_table_lookup(model, key));
        }
        g_hash_table_destroy(model);
        bench_done(&bench);
    }
}

/* Slot and generation are part of the key; and keys with the same hash are told apart. */
static void
test_same_hash(void)
{
    struct bench bench;
    struct yk_key keys[] = {key_of("a", 1), key_of("a", 2), key_of("a", 1), key_of("b", 1),
                            key_of("ab", 1)};
    bench_open(&bench, 0, 1, false);
    keys[2].generation = 7;
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        char value[] = {(char)('0' + i), '\0'};
        keys[i].hash = keys[0].hash;
        g_assert_cmpint(put_slice(&bench, 0, keys[i], yk_slice_of_text(value)), ==, YK_OK);
    }
    g_assert_cmpuint(count(&bench, 0), ==, G_N_ELEMENTS(keys));
    drop(&bench, 0, keys[1]);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        const char value[] = {(char)('0' + i), '\0'};
        assert_value(&bench, keys[i], i == 1 ? NULL : value);
    }
    bench_done(&bench);
}

/* What is admitted in one order and applied in it, with deletions of the same keys between. */
static void
test_batches(void)
{
    struct yk_random random = {4};
    struct bench bench;
    bench_open(&bench, 0, 1, false);
    for (int round = 0; round < 200; round++) {
        struct yk_change changes[50];
        char keys[50][8], values[50][16];
        uint32_t n = 1 + (uint32_t)yk_random_below(&random, 50);
        for (uint32_t i = 0; i < n; i++) {
            g_snprintf(keys[i], sizeof(keys[i]), "%u", i);
            g_snprintf(values[i], sizeof(values[i]), "%d.%u", round, i);
            changes[i] = (struct yk_change){
                .key = key_of(keys[i], 0),
                .kind = yk_random_below(&random, 3) == 0 ? YK_CHANGE_DELETE : YK_CHANGE_PUT,
                .value = yk_slice_of_text(values[i])};
            g_assert_cmpint(bench.ops->admit(bench.lanes[0], &changes[i]), ==, YK_OK);
        }
        g_assert_cmpint(bench.ops->apply(bench.lanes[0], changes, n, NULL), ==, YK_OK);
        for (uint32_t i = 0; i < n; i++) {
            assert_value(&bench, changes[i].key,
                         changes[i].kind == YK_CHANGE_PUT ? values[i] : NULL);
        }
    }
    struct yk_change change = {.key = key_of("k", 0), .kind = YK_CHANGE_PUT};
    g_assert_cmpint(bench.ops->admit(bench.lanes[0], &change), ==, YK_OK); /* freed by close */
    bench_done(&bench);
}

static void
test_not_admitted(void)
{
    struct bench bench;
    struct yk_change change = {.key = key_of("k", 0), .kind = YK_CHANGE_PUT};
    bench_open(&bench, 0, 1, false);
    g_assert_cmpint(bench.ops->apply(bench.lanes[0], &change, 1, NULL), ==, YK_EINVALID);
    g_assert_cmpuint(count(&bench, 0), ==, 0);
    bench_done(&bench);
}

static void
test_slots(void)
{
    struct bench bench;
    uint64_t records;
    bench_open(&bench, YK_MIB, 1, true);
    for (int i = 0; i < 300; i++) {
        g_autofree char *text = g_strdup_printf("%d", i);
        struct yk_key key = key_of(text, (uint16_t)(i % 3));
        key.generation = (uint16_t)(i % 2);
        g_assert_cmpint(put_slice(&bench, 0, key, yk_slice_of("v", 1)), ==, YK_OK);
    }
    uint64_t used = figure(&bench, "bytes");
    g_assert_cmpint(bench.ops->count_slot(bench.lanes[0], 1, &records), ==, YK_OK);
    g_assert_cmpuint(records, ==, 100);
    g_assert_cmpint(bench.ops->wipe_slot(bench.lanes[0], 1, 1), ==, YK_OK);
    g_assert_cmpint(bench.ops->count_slot(bench.lanes[0], 1, &records), ==, YK_OK);
    g_assert_cmpuint(records, ==, 50);
    g_assert_cmpuint(count(&bench, 0), ==, 250);
    g_assert_cmpuint(figure(&bench, "bytes"), <, used);
    g_assert_cmpint(bench.ops->count_slot(bench.lanes[0], 9, &records), ==, YK_OK);
    g_assert_cmpuint(records, ==, 0);
    struct yk_key kept = key_of("1", 1), wiped = key_of("4", 1);
    kept.generation = 1;
    assert_value(&bench, kept, "v");
    assert_value(&bench, wiped, NULL);
    bench_done(&bench);
}

/* -- Scans. -- */

struct collector {
    GHashTable *seen;  /* key text */
    uint32_t n, n_max; /* of this step */
    uint16_t slot;     /* UINT16_MAX: any */
};

static bool
collect(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct collector *collector = arg;
    if (collector->n >= collector->n_max) {
        return false;
    }
    g_assert_true(collector->slot == UINT16_MAX || collector->slot == key->slot);
    g_hash_table_add(collector->seen, g_strdup_printf("%u.%u.%.*s", key->slot, key->generation,
                                                      (int)key->size, (const char *)key->data));
    collector->n++;
    return true;
}

static bool
scan_step(struct bench *bench, struct collector *collector, struct yk_cursor *cursor,
          uint64_t bytes_max, const uint64_t *slots)
{
    bool is_end;
    struct yk_scan scan = {
        .struct_size = sizeof(scan), .n_slots = 64, .slots = slots, .bytes_max = bytes_max};
    collector->n = 0;
    g_assert_cmpint(
        bench->ops->scan(bench->lanes[0], &scan, cursor, collect, collector, &is_end, NULL), ==,
        YK_OK);
    g_assert_cmpuint(cursor->size, <=, cursor->size_max);
    return is_end;
}

/* Keys that stay are seen whatever comes and goes between the steps, with the table growing. */
static void
test_scan(void)
{
    static const uint64_t sizes[] = {1, 100, 2000};
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct yk_random random = {seed};
        struct bench bench;
        uint8_t data[64];
        struct yk_cursor cursor = {sizeof(cursor), 0, sizeof(data), data};
        struct collector collector = {.n_max = seed % 4 == 0 ? 1 : UINT32_MAX, .slot = UINT16_MAX};
        uint32_t n_steps = 0;
        bench_open(&bench, 0, 1, false);
        collector.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (int i = 0; i < 500; i++) {
            g_autofree char *key = g_strdup_printf("stays%d", i);
            g_assert_cmpint(put(&bench, key, "value"), ==, YK_OK);
        }
        while (!scan_step(&bench, &collector, &cursor, sizes[seed % 3], NULL)) {
            g_assert_cmpuint(++n_steps, <, 20000);
            for (int i = 0; i < 5 && n_steps < 400; i++) {
                g_autofree char *key =
                    g_strdup_printf("goes%d", (int)yk_random_below(&random, 3000));
                if (yk_random_below(&random, 3) > 0) {
                    g_assert_cmpint(put(&bench, key, "v"), ==, YK_OK);
                } else {
                    drop(&bench, 0, key_of(key, 0));
                }
            }
            g_autofree char *again = g_strdup_printf("stays%d", (int)yk_random_below(&random, 500));
            g_assert_cmpint(put(&bench, again, "again"), ==, YK_OK);
        }
        for (int i = 0; i < 500; i++) {
            g_autofree char *key = g_strdup_printf("0.0.stays%d", i);
            g_assert_true(g_hash_table_contains(collector.seen, key));
        }
        g_hash_table_destroy(collector.seen);
        bench_done(&bench);
    }
}

/* One key in several slots and generations: all have one hash, and a step may end between them. */
static void
test_scan_same_hash(void)
{
    struct bench bench;
    uint8_t data[64];
    struct yk_cursor cursor = {sizeof(cursor), 0, sizeof(data), data};
    struct collector collector = {.n_max = UINT32_MAX, .slot = UINT16_MAX};
    uint32_t n_steps = 0;
    bench_open(&bench, 0, 1, false);
    collector.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (uint16_t i = 0; i < 6; i++) {
        struct yk_key key = key_of("k", (uint16_t)(i / 2));
        key.generation = i % 2;
        g_assert_cmpint(put_slice(&bench, 0, key, yk_slice_of("v", 1)), ==, YK_OK);
    }
    while (!scan_step(&bench, &collector, &cursor, 1, NULL)) {
        g_assert_cmpuint(++n_steps, <, 1000);
    }
    g_assert_cmpuint(g_hash_table_size(collector.seen), ==, 6);
    g_hash_table_destroy(collector.seen);
    bench_done(&bench);
}

static void
test_scan_slots(void)
{
    struct bench bench;
    uint8_t data[64];
    struct yk_cursor cursor = {sizeof(cursor), 0, sizeof(data), data};
    struct collector collector = {.n_max = UINT32_MAX, .slot = 5};
    uint64_t slots = 1ull << 5;
    bench_open(&bench, 0, 1, false);
    collector.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_assert_true(scan_step(&bench, &collector, &cursor, 1, NULL)); /* nothing there */
    cursor.size = 0;
    for (int i = 0; i < 100; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        g_assert_cmpint(put_slice(&bench, 0, key_of(key, (uint16_t)(i % 10)), yk_slice_of("v", 1)),
                        ==, YK_OK);
    }
    for (int i = 0; i < 1000 && !scan_step(&bench, &collector, &cursor, 1, &slots); i++) {
    }
    g_assert_cmpuint(g_hash_table_size(collector.seen), ==, 10);
    collector.n_max = 0; /* who takes nothing gets no further, and loses nothing */
    cursor.size = 0;
    for (int i = 0; i < 10; i++) {
        g_assert_false(scan_step(&bench, &collector, &cursor, 1000, &slots));
    }
    g_hash_table_remove_all(collector.seen);
    collector.n_max = 3;
    for (int i = 0; i < 1000 && !scan_step(&bench, &collector, &cursor, 10000, &slots); i++) {
    }
    g_assert_cmpuint(g_hash_table_size(collector.seen), ==, 10);
    g_hash_table_destroy(collector.seen);
    bench_done(&bench);
}

/* -- Memory. -- */

/* Never above the bound, and what the engine says it used is what was taken at least. */
static void
check_bounds(struct bench *bench)
{
    g_assert_cmpuint(bench->budget.taken, <=, yk_budget_max(&bench->budget));
    g_assert_cmpuint(figure(bench, "bytes"), <=, bench->budget.taken);
}

static void
test_evict(gconstpointer lanes)
{
    struct yk_random random = {8};
    struct bench bench;
    uint32_t n_lanes = GPOINTER_TO_UINT(lanes);
    uint64_t n_puts = 0, n_replaced = 0, n_left = 0;
    bench_open(&bench, 4 * YK_MIB, n_lanes, true);
    for (int i = 0; i < 60000; i++) {
        g_autofree char *text = g_strdup_printf("%d", (int)yk_random_below(&random, 30000));
        struct yk_key key = key_of(text, 0);
        uint32_t lane = (uint32_t)(key.hash >> 32) % n_lanes;
        uint64_t before = count(&bench, lane), evicted = figure(&bench, "evictions");
        uint8_t value[2000];
        size_t size = yk_random_below(&random, yk_random_below(&random, 10) == 0 ? 2000 : 100);
        memset(value, 'v', size);
        g_assert_cmpint(put_slice(&bench, lane, key, yk_slice_of(value, size)), ==, YK_OK);
        GString *got = get(&bench, lane, key);
        g_assert_nonnull(got); /* admitted, so it is there */
        g_assert_cmpuint(got->len, ==, size);
        g_string_free(got, TRUE);
        evicted = figure(&bench, "evictions") - evicted;
        n_replaced += before + 1 - evicted - count(&bench, lane);
        n_puts++;
        check_bounds(&bench);
    }
    for (uint32_t i = 0; i < n_lanes; i++) {
        n_left += count(&bench, i);
    }
    g_assert_cmpuint(figure(&bench, "evictions"), >, 0);
    g_assert_cmpuint(n_puts - n_replaced, ==, figure(&bench, "evictions") + n_left);
    g_assert_cmpuint(figure(&bench, "bytes"), >, 2 * YK_MIB); /* not half empty either */
    bench_done(&bench);
}

/* A batch that is admitted before any of it is applied outlives the evictions that it causes. */
static void
test_evict_batch(void)
{
    enum { N = 256, SIZE = 1000 };
    struct bench bench;
    struct yk_change changes[N];
    char keys[N][16];
    static const uint8_t value[SIZE];
    bench_open(&bench, YK_MIB, 1, true);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            g_snprintf(keys[i], sizeof(keys[i]), "%d.%d", round, i);
            changes[i] = (struct yk_change){.key = key_of(keys[i], 0),
                                            .kind = YK_CHANGE_PUT,
                                            .value = yk_slice_of(value, SIZE)};
            g_assert_cmpint(bench.ops->admit(bench.lanes[0], &changes[i]), ==, YK_OK);
            check_bounds(&bench);
        }
        g_assert_cmpint(bench.ops->apply(bench.lanes[0], changes, N, NULL), ==, YK_OK);
        for (int i = 0; i < N; i++) {
            GString *got = get(&bench, 0, changes[i].key);
            g_assert_nonnull(got);
            g_string_free(got, TRUE);
        }
    }
    g_assert_cmpuint(figure(&bench, "evictions"), >, 0);
    bench_done(&bench);
}

/* What is read again and again outlives a flood of what is not. */
static void
test_evict_hot(void)
{
    struct bench bench;
    uint32_t n_lost = 0;
    bench_open(&bench, YK_MIB, 1, true);
    for (int i = 0; i < 50000; i++) {
        g_autofree char *flood = g_strdup_printf("flood%d", i);
        g_autofree char *hot = g_strdup_printf("hot%d", i % 100);
        g_assert_cmpint(put(&bench, flood, "0123456789"), ==, YK_OK);
        GString *got = get(&bench, 0, key_of(hot, 0));
        if (got != NULL) {
            g_string_free(got, TRUE);
        } else {
            n_lost++;
            g_assert_cmpint(put(&bench, hot, "x"), ==, YK_OK);
        }
    }
    g_assert_cmpuint(n_lost, <, 300); /* 100 of them are the first of each */
    bench_done(&bench);
}

static void
test_refuse(void)
{
    enum { SIZE = 1000 };
    struct bench bench;
    static const uint8_t value[SIZE];
    int n = 0;
    bench_open(&bench, YK_MIB, 1, false);
    for (int round = 0; round < 5; round++) {
        int n_before = n;
        g_autofree char *key = NULL;
        for (n = 0;; n++) {
            g_free(key);
            key = g_strdup_printf("%d", n);
            if (put_slice(&bench, 0, key_of(key, 0), yk_slice_of(value, SIZE)) != YK_OK) {
                break;
            }
            check_bounds(&bench);
        }
        g_assert_cmpint(n, >, 850);
        g_assert_cmpint(n, <, 1048);
        g_assert_true(round == 0 || n == n_before); /* nothing was lost on the way */
        g_assert_cmpuint(count(&bench, 0), ==, (uint64_t)n);
        g_assert_cmpuint(figure(&bench, "evictions"), ==, 0);
        for (int i = 0; i < n; i++) {
            g_autofree char *old = g_strdup_printf("%d", i);
            drop(&bench, 0, key_of(old, 0));
        }
        g_assert_cmpuint(figure(&bench, "bytes"), ==, 0);
    }
    bench_done(&bench);
}

/* What one lane gives back, another can take. */
static void
test_share(void)
{
    enum { SIZE = 1000 };
    static const uint8_t value[SIZE];
    struct bench bench;
    bench_open(&bench, 4 * YK_MIB, 4, false);
    for (uint32_t lane = 0; lane < 4; lane++) {
        int n = 0;
        for (;; n++) {
            g_autofree char *key = g_strdup_printf("%d", n);
            if (put_slice(&bench, lane, key_of(key, 0), yk_slice_of(value, SIZE)) != YK_OK) {
                break;
            }
        }
        g_assert_cmpint(n, >, 2200); /* its own eighth, and the common half */
        for (int i = 0; i < n; i++) {
            g_autofree char *key = g_strdup_printf("%d", i);
            drop(&bench, lane, key_of(key, 0));
        }
        check_bounds(&bench);
    }
    bench_done(&bench);
}

/* Lowered at run time: changes bring memory down to the new bound. */
static void
test_lower(gconstpointer divisor)
{
    static const uint8_t value[200];
    uint64_t size_max = 16 * YK_MIB;
    struct bench bench;
    uint32_t n_refused = 0;
    bench_open(&bench, size_max, 2, true);
    for (int i = 0; i < 160000; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        if (i == 80000) {
            g_assert_cmpuint(bench.budget.taken, >, size_max / 2);
            g_assert_cmpint(yk_budget_set_max(&bench.budget, size_max / GPOINTER_TO_UINT(divisor)),
                            ==, YK_OK);
        }
        n_refused += put_slice(&bench, (uint32_t)i % 2, key_of(key, 0),
                               yk_slice_of(value, sizeof(value))) != YK_OK;
    }
    /* The lane that is done first may have to wait until the other is. */
    g_assert_cmpuint(n_refused, <, 50);
    check_bounds(&bench);
    bench_done(&bench);
}

static void
test_lower_refuses(void)
{
    static const uint8_t value[200];
    struct bench bench;
    bench_open(&bench, 16 * YK_MIB, 1, false);
    for (int i = 0; i < 20000; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        g_assert_cmpint(put_slice(&bench, 0, key_of(key, 0), yk_slice_of(value, 200)), ==, YK_OK);
    }
    uint64_t records = count(&bench, 0);
    g_assert_cmpint(yk_budget_set_max(&bench.budget, 4 * YK_MIB), ==, YK_OK);
    uint32_t n_admitted = 0;
    for (int i = 0; i < 20000; i++) {
        g_autofree char *key = g_strdup_printf("new%d", i);
        n_admitted +=
            put_slice(&bench, 0, key_of(key, 0), yk_slice_of(value, 200)) == YK_OK ? 1 : 0;
    }
    g_assert_cmpuint(count(&bench, 0), ==, records + n_admitted); /* nothing is dropped */
    g_assert_cmpuint(n_admitted * 300, <, 2 * YK_MIB);
    bench_done(&bench);
}

static void
test_too_small(void)
{
    struct bench bench;
    static uint8_t value[250000];
    void *self;
    bench_open(&bench, 60, 0, true); /* less than one item */
    bench.n_lanes = 1;
    g_assert_cmpint(lane_open(&bench, 0, true, &self), ==, YK_ENOMEM);
    bench.n_lanes = 0;
    bench_done(&bench);
    bench_open(&bench, 200000, 4, true);
    g_assert_cmpint(put(&bench, "k", "v"), ==, YK_OK);
    g_assert_cmpint(put_slice(&bench, 0, key_of("big", 0), yk_slice_of(value, sizeof(value))), ==,
                    YK_ENOMEM);
    check_bounds(&bench);
    bench_done(&bench);
}

/* -- The layout. -- */

static struct yk_key
key_number(char *text, size_t size, uint32_t number, uint32_t n_slots)
{
    g_snprintf(text, size, "key-%015u", number);
    struct yk_key key = key_of(text, 0);
    key.slot = (uint16_t)(number % n_slots);
    return key;
}

/* What an item costs beyond its key and its value, with the record's head of 18 bytes (with an
 * expiry), at a million items and less: the tables' growth goes up and down with their number. */
static void
test_overhead(void)
{
    enum { HEAD = 18, VALUE = 100, KEY = 19, LANES = 16, N_LAST = 1200000 };
    static const uint8_t record[HEAD + VALUE];
    struct bench bench;
    char text[32];
    uint32_t n = 0;
    bench_open(&bench, 0, 0, false);
    bench.n_lanes = LANES; /* but only one is open: a sixteenth of a node */
    g_assert_cmpint(lane_open_slots(&bench, 3, 1024, false, &bench.lanes[3]), ==, YK_OK);
    for (uint32_t i = 0; i < N_LAST / LANES; i++) {
        struct yk_key key = key_number(text, sizeof(text), i, 64);
        key.slot = (uint16_t)(key.slot * LANES + 3);
        g_assert_cmpint(put_slice(&bench, 3, key, yk_slice_of(record, sizeof(record))), ==, YK_OK);
        if (++n >= 500000 / LANES && n % 5000 == 0) {
            struct yk_figure taken = {.name = "memory_bytes"};
            bench.ops->stats(bench.lanes[3], take_figure, &taken);
            g_assert_cmpuint(taken.number / n, <, KEY + VALUE + 40);
        }
    }
    bench.lanes[0] = bench.lanes[3];
    bench.n_lanes = 1;
    bench_done(&bench);
}

struct modelled {
    struct bench bench;
    struct yk_random random;
    GHashTable *model; /* key text -> value bytes */
    bool may_vanish;
    uint32_t n_keys, value_max;
};

static void
modelled_get(struct modelled *modelled, struct yk_key key, const char *text)
{
    GBytes *wanted = g_hash_table_lookup(modelled->model, text);
    GString *got = get(&modelled->bench, 0, key);
    if (got == NULL) {
        g_assert_true(wanted == NULL || modelled->may_vanish);
        g_hash_table_remove(modelled->model, text);
        return;
    }
    g_assert_nonnull(wanted);
    size_t size;
    const void *data = g_bytes_get_data(wanted, &size);
    g_assert_cmpmem(got->str, got->len, data, size);
    g_string_free(got, TRUE);
}

/* Some are of a size that is often the same, some of any, few are large. */
static size_t
value_size(struct modelled *modelled)
{
    switch (yk_random_below(&modelled->random, 8)) {
    case 0:
        return yk_random_below(&modelled->random, modelled->value_max + 1);
    case 1:
    case 2:
        return yk_random_below(&modelled->random, 200);
    default:
        return 60;
    }
}

static void
modelled_put(struct modelled *modelled, struct yk_key key, const char *text)
{
    size_t size = value_size(modelled);
    g_autofree uint8_t *value = g_malloc(size + 1);
    memset(value, (int)yk_random_next(&modelled->random), size + 1);
    enum yk_err result = put_slice(&modelled->bench, 0, key, yk_slice_of(value, size));
    if (result == YK_OK) {
        g_hash_table_replace(modelled->model, g_strdup(text), g_bytes_new(value, size));
    } else {
        g_assert_cmpint(result, ==, YK_ENOMEM);
        g_assert_cmpuint(modelled->bench.budget.budget.size_max, !=, 0);
    }
    modelled_get(modelled, key, text);
}

static void
modelled_step(struct modelled *modelled, bool shrinks)
{
    char text[300];
    uint32_t number = (uint32_t)yk_random_below(&modelled->random, modelled->n_keys);
    struct yk_key key = key_number(text, sizeof(text), number, 16);
    if (number % 50 == 0) { /* a key that needs the long head */
        memset(text, 'k', sizeof(text));
        g_snprintf(text + 280, 20, "%u", number);
        key = key_of(text, key.slot);
    }
    key.generation = number % 7 == 0 ? 3 : 0;
    switch (yk_random_below(&modelled->random, 8)) {
    case 0:
    case 1:
    case 2:
    case 3:
        if (!shrinks) {
            modelled_put(modelled, key, text);
            break;
        } /* fall through */
    case 4:
        drop(&modelled->bench, 0, key);
        g_hash_table_remove(modelled->model, text);
        break;
    default:
        modelled_get(modelled, key, text);
        break;
    }
}

/* Random calls in little memory: cleaning, splits, overflow and eviction all the time, and the
 * bound goes down and up again. */
static void
test_churn(gconstpointer arg)
{
    static const uint64_t bounds[] = {0, 200000, YK_MIB, 8 * YK_MIB};
    bool may_evict = GPOINTER_TO_UINT(arg) != 0;
    for (uint32_t seed = 1; seed <= 8; seed++) {
        uint64_t bound = bounds[seed % G_N_ELEMENTS(bounds)];
        struct modelled modelled = {.random = {seed + (may_evict ? 100 : 0)},
                                    .may_vanish = may_evict && bound != 0,
                                    .n_keys = 20u << (seed % 8),
                                    .value_max = seed % 2 == 0 ? 20000 : 1500};
        modelled.model =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
        bench_open(&modelled.bench, bound, 1, may_evict);
        for (int i = 0; i < 20000; i++) {
            if (bound != 0 && i % 4000 == 2000) {
                g_assert_cmpint(
                    yk_budget_set_max(&modelled.bench.budget, i % 8000 == 2000 ? bound / 3 : bound),
                    ==, YK_OK);
            }
            modelled_step(&modelled, i / 3000 % 3 == 2);
            if (i % 100 == 0 && !modelled.may_vanish) {
                g_assert_cmpuint(count(&modelled.bench, 0), ==, g_hash_table_size(modelled.model));
            }
        }
        g_hash_table_destroy(modelled.model);
        bench_done(&modelled.bench);
    }
}

/* No call looks at more than some items, though all memory is taken, dead items are many, and
 * tables grow all the time. */
static void
test_bounded_work(gconstpointer arg)
{
    static const uint8_t value[120];
    bool may_evict = GPOINTER_TO_UINT(arg) != 0;
    struct yk_random random = {3};
    struct bench bench;
    char text[32];
    uint64_t looked = 0, most = 0;
    bench_open(&bench, may_evict ? 2 * YK_MIB : 0, 1, may_evict);
    for (uint32_t i = 0; i < 100000; i++) {
        struct yk_key key =
            key_number(text, sizeof(text), (uint32_t)yk_random_below(&random, 30000), 16);
        if (i % 5 == 0) {
            drop(&bench, 0, key);
        } else {
            size_t size = 40 + yk_random_below(&random, 80);
            g_assert_cmpint(put_slice(&bench, 0, key, yk_slice_of(value, size)), ==, YK_OK);
        }
        if (yk_random_below(&random, 2) == 0) {
            GString *got = get(&bench, 0, key);
            if (got != NULL) {
                g_string_free(got, TRUE);
            }
        }
        uint64_t now = figure(&bench, "items_looked_at");
        most = MAX(most, now - looked);
        looked = now;
    }
    g_assert_cmpuint(looked, >, 10000);
    g_assert_cmpuint(most, <, 150);
    bench_done(&bench);
}

/* What is deleted comes back to the budget by the deletions alone. */
static void
test_returned(void)
{
    static const uint8_t value[100];
    enum { N = 40000 };
    struct yk_random random = {3};
    struct bench bench;
    char text[32];
    bench_open(&bench, 0, 1, false);
    for (uint32_t i = 0; i < N; i++) {
        g_assert_cmpint(put_slice(&bench, 0, key_number(text, sizeof(text), i, 16),
                                  yk_slice_of(value, sizeof(value))),
                        ==, YK_OK);
    }
    uint64_t full = figure(&bench, "memory_bytes");
    for (uint32_t i = 0; i < N; i++) {
        struct yk_key key = key_number(text, sizeof(text), i, 16);
        if (yk_random_below(&random, 10) != 0) {
            drop(&bench, 0, key);
        }
    }
    uint64_t left = count(&bench, 0);
    g_assert_cmpuint(figure(&bench, "memory_bytes"), <, full / 4);
    for (uint32_t i = 0; i < N; i++) {
        drop(&bench, 0, key_number(text, sizeof(text), i, 16));
        left -= left > 0 && count(&bench, 0) == left - 1 ? 1 : 0;
    }
    g_assert_cmpuint(left, ==, 0);
    g_assert_cmpuint(figure(&bench, "memory_bytes"), <, 150000);
    bench_done(&bench);
}

/* What a filter above gave up: it was admitted, and is never applied. */
static void
test_given_up(void)
{
    static const uint8_t value[1000];
    struct bench bench;
    bench_open(&bench, YK_MIB, 1, true);
    for (int round = 0; round < 100; round++) {
        struct yk_change changes[20];
        char keys[20][16];
        for (uint32_t i = 0; i < 20; i++) {
            g_snprintf(keys[i], sizeof(keys[i]), "%d.%u", round, i);
            changes[i] = (struct yk_change){.key = key_of(keys[i], 0),
                                            .kind = YK_CHANGE_PUT,
                                            .value = yk_slice_of(value, 100 + 30 * i)};
            g_assert_cmpint(bench.ops->admit(bench.lanes[0], &changes[i]), ==, YK_OK);
        }
        g_assert_cmpint(bench.ops->apply(bench.lanes[0], &changes[12], 8, NULL), ==, YK_OK);
        for (uint32_t i = 0; i < 20; i++) {
            GString *got = get(&bench, 0, changes[i].key);
            g_assert_cmpint(got != NULL, ==, i >= 12);
            if (got != NULL) {
                g_assert_cmpuint(got->len, ==, 100 + 30 * i);
                g_string_free(got, TRUE);
            }
        }
        check_bounds(&bench);
    }
    bench_done(&bench);
}

/* A record over another of its size takes no room, and a scan under way sees it. */
static void
test_in_place(void)
{
    struct bench bench;
    uint8_t data[64];
    struct yk_cursor cursor = {sizeof(cursor), 0, sizeof(data), data};
    struct collector collector = {.n_max = UINT32_MAX, .slot = UINT16_MAX};
    bench_open(&bench, 0, 1, false);
    collector.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (int i = 0; i < 1000; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        g_assert_cmpint(put(&bench, key, "first"), ==, YK_OK);
    }
    uint64_t log = figure(&bench, "log_bytes"), live = figure(&bench, "bytes");
    for (int round = 0; !scan_step(&bench, &collector, &cursor, 200, NULL); round++) {
        for (int i = round % 7; i < 1000; i += 7) {
            g_autofree char *key = g_strdup_printf("%d", i);
            g_assert_cmpint(put(&bench, key, round % 2 == 0 ? "other" : "third"), ==, YK_OK);
        }
    }
    g_assert_cmpuint(g_hash_table_size(collector.seen), ==, 1000);
    g_assert_cmpuint(figure(&bench, "bytes"), ==, live);
    g_assert_cmpuint(figure(&bench, "log_bytes"), ==, log);
    g_hash_table_destroy(collector.seen);
    bench_done(&bench);
}

/* Records larger than a lane's even part: they find room as soon as those who have more than theirs
 * are called at all. */
static void
test_large(void)
{
    enum { LANES = 16, N = 500 };
    static uint8_t value[1000 * 1000];
    struct yk_random random = {1};
    struct bench bench;
    uint32_t n_refused = 0;
    bench_open(&bench, 8 * YK_MIB, LANES, true);
    for (uint32_t i = 0; i < N; i++) {
        g_autofree char *text = g_strdup_printf("%u", i);
        uint32_t lane = (uint32_t)yk_random_below(&random, LANES);
        struct yk_key key = key_of(text, (uint16_t)lane);
        enum yk_err result =
            put_slice(&bench, lane, key, yk_slice_of(value, yk_random_below(&random, 1000000)));
        for (uint32_t j = 0; result != YK_OK && j < LANES; j++) {
            g_assert_cmpint(result, ==, YK_ENOMEM);
            GString *got = get(&bench, j, key);
            g_assert_null(got);
        }
        n_refused += result != YK_OK ? 1 : 0;
        if (result != YK_OK) {
            result = put_slice(&bench, lane, key, yk_slice_of(value, 1000));
            g_assert_cmpint(result, ==, YK_OK); /* what is small always fits */
        }
        check_bounds(&bench);
    }
    g_test_message("%u of %u were refused", n_refused, (uint32_t)N);
    g_assert_cmpuint(n_refused, <, N / 4);
    bench_done(&bench);
}

/* A lane alone has all memory; when another comes, it gives back, by reads too. */
static void
test_give_back(void)
{
    static const uint8_t value[1000];
    struct bench bench;
    uint32_t n_refused = 0;
    bench_open(&bench, 4 * YK_MIB, 4, true);
    for (int i = 0; i < 8000; i++) {
        g_autofree char *text = g_strdup_printf("%d", i);
        g_assert_cmpint(put_slice(&bench, 0, key_of(text, 0), yk_slice_of(value, 1000)), ==, YK_OK);
    }
    uint64_t alone = count(&bench, 0);
    g_assert_cmpuint(alone, >, 3400);
    for (int i = 0; i < 8000; i++) {
        g_autofree char *text = g_strdup_printf("%d", i);
        n_refused += put_slice(&bench, 1, key_of(text, 1), yk_slice_of(value, 1000)) != YK_OK;
        GString *got = get(&bench, 0, key_of("never", 0));
        g_assert_null(got);
    }
    g_assert_cmpuint(n_refused, <, 50);         /* until the first is given back */
    g_assert_cmpuint(count(&bench, 1), >, 850); /* its even part */
    g_assert_cmpuint(count(&bench, 0), >, 850);
    bench_done(&bench);
}

/* A host whose budget knows nothing of what lanes miss. */
static void
test_older_host(void)
{
    struct bench bench;
    bench_open(&bench, 0, 0, false);
    yk_budget_init(&bench.budget, YK_MIB);
    bench.budget.budget.struct_size = offsetof(struct yk_budget, want);
    bench.budget.budget.want = NULL;
    bench.n_lanes = 2;
    for (uint32_t i = 0; i < 2; i++) {
        g_assert_cmpint(lane_open(&bench, i, true, &bench.lanes[i]), ==, YK_OK);
    }
    for (int i = 0; i < 20000; i++) {
        g_autofree char *text = g_strdup_printf("%d", i);
        g_assert_cmpint(put_slice(&bench, (uint32_t)i % 2, key_of(text, (uint16_t)(i % 2)),
                                  yk_slice_of("0123456789", 10)),
                        ==, YK_OK);
        check_bounds(&bench);
    }
    g_assert_cmpint(yk_budget_set_max(&bench.budget, YK_MIB / 2), ==, YK_OK);
    for (int i = 0; i < 20000; i++) {
        g_autofree char *text = g_strdup_printf("%d", i);
        (void)!put_slice(&bench, (uint32_t)i % 2, key_of(text, (uint16_t)(i % 2)),
                         yk_slice_of("0123456789", 10));
    }
    check_bounds(&bench);
    bench_done(&bench);
}

/* Keys of one XXH3-64: eight bytes of its secret cancel the next eight, whatever these are. They
 * are found as fast as others, and a scan that was under way when they came misses nothing. */
static void
test_colliding(void)
{
    static const uint8_t secret[] = {0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe};
    enum { N = 5000, N_OTHERS = 500 };
    uint8_t data[64], bytes[32] = {0};
    struct bench bench;
    struct yk_cursor cursor = {sizeof(cursor), 0, sizeof(data), data};
    struct collector collector = {.n_max = UINT32_MAX, .slot = UINT16_MAX};
    struct yk_key key = {.data = bytes, .size = sizeof(bytes)};
    memcpy(bytes, secret, sizeof(secret));
    key.hash = yk_hash(yk_slice_of(bytes, sizeof(bytes)));
    bench_open(&bench, 0, 1, false);
    collector.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (int i = 0; i < N_OTHERS; i++) {
        g_autofree char *text = g_strdup_printf("%d", i);
        g_assert_cmpint(put(&bench, text, text), ==, YK_OK);
    }
    for (uint64_t i = 0; i < N; i++) {
        memcpy(bytes + 8, &i, sizeof(i));
        g_assert_cmpuint(yk_hash(yk_slice_of(bytes, sizeof(bytes))), ==, key.hash);
        g_assert_cmpint(put_slice(&bench, 0, key, yk_slice_of(&i, sizeof(i))), ==, YK_OK);
        if (i % 10 == 0) {
            (void)scan_step(&bench, &collector, &cursor, 30, NULL);
        }
    }
    gint64 start = g_get_monotonic_time();
    for (uint64_t i = 0; i < N; i++) {
        memcpy(bytes + 8, &i, sizeof(i));
        GString *got = get(&bench, 0, key);
        g_assert_nonnull(got);
        g_assert_cmpmem(got->str, got->len, &i, sizeof(i));
        g_string_free(got, TRUE);
    }
    g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
    while (!scan_step(&bench, &collector, &cursor, 300, NULL)) {
    }
    for (int i = 0; i < N_OTHERS; i++) {
        g_autofree char *text = g_strdup_printf("0.0.%d", i);
        g_assert_true(g_hash_table_contains(collector.seen, text));
        g_autofree char *other = g_strdup_printf("%d", i);
        assert_value(&bench, key_of(other, 0), other);
    }
    g_hash_table_destroy(collector.seen);
    bench_done(&bench);
}

/* Many slots, in many tables; each is counted and wiped alone. */
static void
test_wipe(void)
{
    struct bench bench;
    char text[32];
    uint64_t records;
    bench_open(&bench, 64 * YK_MIB, 1, true);
    for (uint32_t i = 0; i < 16000; i++) {
        struct yk_key key = key_number(text, sizeof(text), i, 16);
        key.generation = (uint16_t)(i / 16 % 3);
        g_assert_cmpint(put_slice(&bench, 0, key, yk_slice_of("v", 1)), ==, YK_OK);
    }
    g_assert_cmpint(bench.ops->wipe_slot(bench.lanes[0], 5, 1), ==, YK_OK);
    g_assert_cmpint(bench.ops->wipe_slot(bench.lanes[0], 6, 9), ==, YK_OK);
    for (uint16_t slot = 0; slot < 16; slot++) {
        g_assert_cmpint(bench.ops->count_slot(bench.lanes[0], slot, &records), ==, YK_OK);
        g_assert_cmpuint(records, ==, slot == 5 ? 333 : slot == 6 ? 0 : 1000);
    }
    g_assert_cmpuint(count(&bench, 0), ==, 14333);
    bench_done(&bench);
}

/* -- Without memory. -- */

static void
test_alloc_open(void)
{
    for (uint32_t n = 1;; n++) {
        struct bench bench;
        void *self;
        bench_open(&bench, YK_MIB, 0, false);
        bench.n_lanes = 1;
        heap.fails_in = n;
        enum yk_err result = lane_open(&bench, 0, true, &self);
        bool is_over = heap.fails_in > 0;
        heap.fails_in = 0;
        if (is_over) {
            g_assert_cmpint(result, ==, YK_OK);
            g_assert_cmpuint(n, >, 2);
            bench.lanes[0] = self;
            bench_done(&bench);
            break;
        }
        bench.n_lanes = result == YK_OK ? 1 : 0; /* it opens without what it only likes to have */
        bench.lanes[0] = self;
        g_assert_true(result == YK_OK || result == YK_ENOMEM);
        bench_done(&bench); /* nothing is held: memory, nor budget */
    }
}

/* Each allocation on the way to 200 records fails once: the item's is an error, the table's is
 * not; either way nothing is lost. */
static void
test_alloc_put(void)
{
    for (uint32_t n = 1;; n++) {
        struct bench bench;
        bool is_over;
        uint32_t n_failed = 0;
        bench_open(&bench, YK_MIB, 1, false);
        heap.fails_in = n;
        for (int i = 0; i < 200; i++) {
            g_autofree char *key = g_strdup_printf("%d", i);
            uint64_t bytes = figure(&bench, "bytes");
            enum yk_err result = put(&bench, key, key);
            if (result != YK_OK) {
                g_assert_cmpint(result, ==, YK_ENOMEM);
                g_assert_cmpuint(figure(&bench, "bytes"), ==, bytes);
                assert_value(&bench, key_of(key, 0), NULL);
                n_failed++;
                g_assert_cmpint(put(&bench, key, key), ==, YK_OK);
            }
        }
        is_over = heap.fails_in > 0;
        heap.fails_in = 0;
        g_assert_cmpuint(n_failed, <=, 1);
        for (int i = 0; i < 200; i++) {
            g_autofree char *key = g_strdup_printf("%d", i);
            assert_value(&bench, key_of(key, 0), key);
        }
        bench_done(&bench);
        if (is_over) {
            g_assert_cmpuint(n, >, 5);
            break;
        }
    }
}

/* -- Hints. -- */

static void
assert_hint(struct bench *bench, bool was_hit, uint64_t last_access_ms)
{
    struct yk_key key = key_of("k", 0);
    struct yk_hint hint = {.struct_size = sizeof(hint)};
    g_assert_cmpint(bench->ops->hint(bench->lanes[0], &key, &hint), ==, YK_OK);
    g_assert_cmpint(hint.was_hit != 0, ==, was_hit);
    g_assert_cmpuint(hint.last_access_ms, ==, last_access_ms);
}

static void
test_hint(void)
{
    struct bench bench;
    struct yk_key key = key_of("k", 0);
    struct yk_hint hint = {.struct_size = sizeof(hint)};
    bench_open(&bench, 0, 1, false);
    g_assert_cmpint(bench.ops->hint(bench.lanes[0], &key, &hint), ==, YK_ENOTFOUND);
    g_assert_cmpint(put(&bench, "k", "v"), ==, YK_OK);
    clock_ms = 7999;
    assert_hint(&bench, false, 5000);
    assert_value(&bench, key, "v");
    clock_ms = 9000;
    assert_hint(&bench, true, 7000);
    g_assert_cmpint(put(&bench, "k", "w"), ==, YK_OK);
    assert_hint(&bench, false, 9000);
    clock_ms = 5000;
    bench_done(&bench);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/memory/model", test_model);
    g_test_add_func("/memory/same-hash", test_same_hash);
    g_test_add_func("/memory/batches", test_batches);
    g_test_add_func("/memory/not-admitted", test_not_admitted);
    g_test_add_func("/memory/slots", test_slots);
    g_test_add_func("/memory/scan", test_scan);
    g_test_add_func("/memory/scan-same-hash", test_scan_same_hash);
    g_test_add_func("/memory/scan-slots", test_scan_slots);
    g_test_add_data_func("/memory/evict/1", GUINT_TO_POINTER(1), test_evict);
    g_test_add_data_func("/memory/evict/2", GUINT_TO_POINTER(2), test_evict);
    g_test_add_data_func("/memory/evict/16", GUINT_TO_POINTER(16), test_evict);
    g_test_add_func("/memory/evict/batch", test_evict_batch);
    g_test_add_func("/memory/evict/hot", test_evict_hot);
    g_test_add_func("/memory/refuse", test_refuse);
    g_test_add_func("/memory/share", test_share);
    g_test_add_data_func("/memory/lower/4", GUINT_TO_POINTER(4), test_lower);
    g_test_add_data_func("/memory/lower/64", GUINT_TO_POINTER(64), test_lower);
    g_test_add_func("/memory/lower/refuses", test_lower_refuses);
    g_test_add_func("/memory/too-small", test_too_small);
    g_test_add_func("/memory/hint", test_hint);
    g_test_add_func("/memory/overhead", test_overhead);
    g_test_add_data_func("/memory/churn/keeps", GUINT_TO_POINTER(0), test_churn);
    g_test_add_data_func("/memory/churn/evicts", GUINT_TO_POINTER(1), test_churn);
    g_test_add_data_func("/memory/bounded-work/keeps", GUINT_TO_POINTER(0), test_bounded_work);
    g_test_add_data_func("/memory/bounded-work/evicts", GUINT_TO_POINTER(1), test_bounded_work);
    g_test_add_func("/memory/returned", test_returned);
    g_test_add_func("/memory/given-up", test_given_up);
    g_test_add_func("/memory/in-place", test_in_place);
    g_test_add_func("/memory/large", test_large);
    g_test_add_func("/memory/give-back", test_give_back);
    g_test_add_func("/memory/older-host", test_older_host);
    g_test_add_func("/memory/wipe", test_wipe);
    g_test_add_func("/memory/colliding", test_colliding);
    g_test_add_func("/memory/alloc/open", test_alloc_open);
    g_test_add_func("/memory/alloc/put", test_alloc_put);
    return g_test_run();
}
