/* A lane over an engine of the test's own, which answers at once, blocks, or ends its calls later;
 * and does what an engine must not do. Each case runs without a journal, and with one that has what
 * was appended as soon as nothing else goes on. */
#include <config.h>

#include <stdlib.h>

#include "core/base/buffer.h"
#include "core/base/random.h"
#include "tests/lib/lane_bench.h"

/* -- Tests, in each mode. -- */

static void
test_pipeline(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    struct answer *answers[] = {
        store(&bench, YK_MODE_APPEND, "k", "x", 0),
        store(&bench, YK_MODE_ADD, "k", "1", 0),
        store(&bench, YK_MODE_ADD, "k", "2", 0),
        store(&bench, YK_MODE_APPEND, "k", "3", 0),
        store(&bench, YK_MODE_PREPEND, "k", "9", 0),
        ask(&bench, YK_OP_DELETE, "k"),
        ask(&bench, YK_OP_DELETE, "k"),
        store(&bench, YK_MODE_SET, "k", "a", 0),
        store(&bench, YK_MODE_REPLACE, "k", "b", 0),
        store(&bench, YK_MODE_APPEND, "k", "c", 0),
    };
    static const enum yk_err results[] = {YK_ENOTSTORED, YK_OK,        YK_ENOTSTORED, YK_OK, YK_OK,
                                          YK_OK,         YK_ENOTFOUND, YK_OK,         YK_OK, YK_OK};
    pump(&bench);
    uint64_t version = 3ull << 40;
    for (size_t i = 0; i < G_N_ELEMENTS(results); i++) {
        g_assert_cmpuint(answers[i]->result, ==, results[i]);
        g_assert_cmpuint(answers[i]->order, ==, i + 1);
        if (results[i] == YK_OK) {
            g_assert_cmpuint(answers[i]->version, >, version);
            version = answers[i]->version;
        }
    }
    assert_value(&bench, "k", "bc");
    bench_close(&bench);
}

/* Random writes on a few keys, in batches, against a model; a read sees nothing but what was there
 * at some time. */
static void
test_random(gconstpointer mode)
{
    struct yk_random random = {5};
    struct bench bench;
    GString *model[4] = {NULL, NULL, NULL, NULL};
    bench_open(&bench, GPOINTER_TO_INT(mode));
    for (int round = 0; round < 300; round++) {
        struct answer *answers[40];
        enum yk_err expected[40];
        uint64_t n = 1 + yk_random_below(&random, 40);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t key = yk_random_below(&random, 4), kind = yk_random_below(&random, 4);
            const char name[] = {(char)('a' + key), '\0'};
            char text[] = {(char)('A' + yk_random_below(&random, 26)), '\0'};
            static const enum yk_mode modes[] = {YK_MODE_SET, YK_MODE_ADD, YK_MODE_APPEND};
            bool is_there = model[key] != NULL;
            if (kind == 3) {
                answers[i] = ask(&bench, YK_OP_DELETE, name);
                expected[i] = is_there ? YK_OK : YK_ENOTFOUND;
                if (is_there) {
                    g_string_free(g_steal_pointer(&model[key]), TRUE);
                }
                continue;
            }
            answers[i] = store(&bench, modes[kind], name, text, 0);
            expected[i] = kind == 0 || is_there == (kind == 2) ? YK_OK : YK_ENOTSTORED;
            if (kind != 2 && expected[i] == YK_OK && is_there) {
                g_string_truncate(model[key], 0);
            }
            if (expected[i] == YK_OK) {
                model[key] = model[key] != NULL ? model[key] : g_string_new(NULL);
                g_string_append(model[key], text);
            }
        }
        pump(&bench);
        for (uint64_t i = 0; i < n; i++) {
            g_assert_cmpuint(answers[i]->result, ==, expected[i]);
        }
        for (int key = 0; key < 4; key++) {
            const char name[] = {(char)('a' + key), '\0'};
            assert_value(&bench, name, model[key] != NULL ? model[key]->str : NULL);
        }
    }
    for (int key = 0; key < 4; key++) {
        if (model[key] != NULL) {
            g_string_free(model[key], TRUE);
        }
    }
    bench_close(&bench);
}

/* More of everything than one batch holds. */
static void
test_many(gconstpointer mode)
{
    enum { N = 3 * YK_BATCH_MAX + 7 };
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    for (int i = 0; i < N; i++) {
        g_autofree char *key = g_strdup_printf("key%d", i);
        store(&bench, YK_MODE_SET, key, key, 0);
        store(&bench, YK_MODE_APPEND, key, "+", 0);
        ask(&bench, YK_OP_GET, "key0");
    }
    pump(&bench);
    g_assert_cmpint(n_records(), ==, N);
    for (int i = 0; i < N; i += 50) {
        g_autofree char *key = g_strdup_printf("key%d", i);
        g_autofree char *value = g_strdup_printf("key%d+", i);
        assert_value(&bench, key, value);
    }
    bench_close(&bench);
}

static void
test_refused(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    stub.refused = "no";
    struct answer *first = store(&bench, YK_MODE_SET, "k", "no", 0);
    struct answer *second = store(&bench, YK_MODE_APPEND, "k", "x", 0);
    pump(&bench);
    g_assert_cmpuint(first->result, ==, YK_ENOSPACE);
    g_assert_cmpuint(second->result, ==, YK_ENOTSTORED);
    first = store(&bench, YK_MODE_SET, "k", "1", 0);
    second = store(&bench, YK_MODE_APPEND, "k", "no", 0);
    struct answer *third = store(&bench, YK_MODE_APPEND, "k", "2", 0);
    struct answer *fourth = store(&bench, YK_MODE_SET, "k", "no", 0);
    struct answer *fifth = store(&bench, YK_MODE_APPEND, "k", "3", 0);
    struct answer *other = store(&bench, YK_MODE_SET, "other", "4", 0);
    pump(&bench);
    g_assert_cmpuint(first->result, ==, YK_OK);
    g_assert_cmpuint(second->result, ==, YK_ENOSPACE);
    g_assert_cmpuint(third->result, ==, YK_OK);
    g_assert_cmpuint(fourth->result, ==, YK_ENOSPACE);
    g_assert_cmpuint(fifth->result, ==, YK_OK);
    g_assert_cmpuint(other->result, ==, YK_OK);
    assert_value(&bench, "k", "123");
    bench_close(&bench);
}

/* An engine with room for a few changes at a time: the others wait, none is refused. */
static void
test_deferred(gconstpointer mode)
{
    enum { N = 100 };
    struct bench bench;
    struct answer *answers[2 * N];
    bench_open(&bench, GPOINTER_TO_INT(mode));
    stub.n_admitted_max = 7;
    for (int i = 0; i < N; i++) {
        g_autofree char *key = g_strdup_printf("key%d", i);
        answers[2 * i] = store(&bench, YK_MODE_SET, key, "a", 0);
        answers[2 * i + 1] = store(&bench, YK_MODE_APPEND, key, "b", 0);
    }
    pump(&bench);
    for (int i = 0; i < 2 * N; i++) {
        g_assert_cmpuint(answers[i]->result, ==, YK_OK);
    }
    g_assert_cmpuint(stub.n_applied, ==, 2 * N);
    assert_value(&bench, "key99", "ab");
    stub.n_admitted = stub.n_admitted_max; /* no room at all: refused, not put off for ever */
    struct answer *refused = store(&bench, YK_MODE_APPEND, "key0", "c", 0);
    pump(&bench);
    g_assert_cmpuint(refused->result, ==, YK_ENOMEM);
    assert_value(&bench, "key0", "ab");
    bench_close(&bench);
}

static void
test_stopped(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "k", "1", 0);
    pump(&bench);
    stub.apply_result = GPOINTER_TO_INT(mode) == MODE_READERS ? YK_EFAULT : YK_ENOSPACE;
    struct answer *failed[] = {store(&bench, YK_MODE_SET, "k", "2", 0),
                               store(&bench, YK_MODE_SET, "j", "2", 0)};
    struct answer *waiting[] = {store(&bench, YK_MODE_APPEND, "k", "3", 0),
                                ask(&bench, YK_OP_DELETE, "k")};
    pump(&bench);
    for (size_t i = 0; i < 2; i++) {
        g_assert_cmpuint(failed[i]->result, ==, YK_EIO); /* what the engine did is not known */
        g_assert_cmpuint(waiting[i]->result, ==, YK_ESTOPPED);
    }
    stub.apply_result = YK_OK;
    struct answer *later[] = {store(&bench, YK_MODE_SET, "k", "4", 0), ask(&bench, YK_OP_GET, "k"),
                              ask(&bench, YK_OP_TOUCH, "j")};
    pump(&bench);
    for (size_t i = 0; i < G_N_ELEMENTS(later); i++) {
        g_assert_cmpuint(later[i]->result, ==, YK_ESTOPPED);
    }
    g_assert_false(yk_lane_has_to_sweep(bench.lane));
    g_assert_cmpuint(stub.n_applied, ==, 1);
    bench_close(&bench);
}

static void
test_flush(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    struct answer *flushed = flush(&bench, 0);
    struct answer *appended = store(&bench, YK_MODE_APPEND, "a", "2", 0);
    struct answer *added = store(&bench, YK_MODE_ADD, "a", "3", 0);
    pump(&bench);
    g_assert_cmpuint(flushed->result, ==, YK_OK);
    g_assert_cmpuint(appended->result, ==, YK_ENOTSTORED);
    g_assert_cmpuint(added->result, ==, YK_OK);
    assert_value(&bench, "a", "3");
    flush(&bench, 500);
    store(&bench, YK_MODE_SET, "b", "4", 0);
    pump(&bench);
    bench.now_ms += 499;
    assert_value(&bench, "a", "3");
    bench.now_ms += 1;
    store(&bench, YK_MODE_SET, "c", "5", 0);
    assert_value(&bench, "a", NULL);
    assert_value(&bench, "b", NULL);
    assert_value(&bench, "c", "5");
    bench_close(&bench);
}

/* A flush to come does not undo one that has been, nor one whose time came with nobody looking. */
static void
test_flush_twice(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    flush(&bench, 0);
    flush(&bench, 500);
    assert_value(&bench, "a", NULL);
    store(&bench, YK_MODE_SET, "a", "2", 0);
    pump(&bench);
    assert_value(&bench, "a", "2");
    bench.now_ms += 600;
    flush(&bench, 500);
    assert_value(&bench, "a", NULL);
    bench_close(&bench);
}

static void
test_expiry(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    struct answer *set = store(&bench, YK_MODE_SET, "a", "1", 100);
    struct answer *past = store(&bench, YK_MODE_SET, "b", "1", -1);
    pump(&bench);
    g_assert_cmpint(set->expiry_ms, ==, 1000100);
    g_assert_cmpuint(past->result, ==, YK_OK);
    assert_value(&bench, "b", NULL);
    bench.now_ms += 99;
    assert_value(&bench, "a", "1");
    bench.now_ms += 1;
    assert_value(&bench, "a", NULL);
    bench.now_ms -= 50; /* slot time does not go back */
    assert_value(&bench, "a", NULL);
    struct answer *added = store(&bench, YK_MODE_ADD, "a", "2", 0);
    pump(&bench);
    g_assert_cmpuint(added->result, ==, YK_OK);
    assert_value(&bench, "a", "2");
    bench_close(&bench);
}

/* Touch with the value, also into the past. */
static void
test_touch(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "value", 0);
    pump(&bench);
    for (int64_t ttl_ms = 100; ttl_ms >= -100; ttl_ms -= 200) {
        struct answer *touched =
            submit(&bench, (struct yk_request){.op = YK_OP_TOUCH,
                                               .flags = YK_REQUEST_VALUE,
                                               .key = yk_slice_of_text("a"),
                                               .expiry = {ttl_ms, YK_EXPIRY_RELATIVE}});
        pump(&bench);
        g_assert_cmpuint(touched->result, ==, YK_OK);
        g_assert_cmpstr(touched->value->str, ==, "value");
        g_assert_cmpint(touched->expiry_ms, ==, ttl_ms > 0 ? 1000100 : 1);
    }
    assert_value(&bench, "a", NULL);
    g_assert_cmpint(n_records(), ==, 0);
    bench_close(&bench);
}

/* -- Scans and the sweep. -- */

static void
add_name(GString *to, const struct yk_scan_state *state)
{
    struct yk_slice key;
    struct yk_record record;
    size_t offset = 0;
    while (yk_chunk_next(state, &offset, &key, &record)) {
        g_string_append_len(to, key.data, (gssize)key.size);
        g_string_append_c(to, '=');
        if (record.value.data != NULL) {
            g_string_append_len(to, record.value.data, (gssize)record.value.size);
        }
        g_string_append_c(to, ' ');
    }
}

/* The keys that a whole scan brings, sorted. */
static char *
scan_all(struct bench *bench, uint64_t bytes_max, bool with_values)
{
    struct yk_scan_state *state = yk_scan_state_new(100, bytes_max, with_values);
    g_autoptr(GString) names = g_string_new(NULL);
    for (int step = 0; !state->is_end && step < 100; step++) {
        struct answer *answer;
        struct yk_op *op = op_new(bench, (struct yk_request){.op = YK_OP_SCAN}, &answer);
        op->scan = state;
        yk_lane_submit(bench->lane, op);
        pump(bench);
        g_assert_cmpuint(answer->result, ==, YK_OK);
        add_name(names, state);
    }
    g_assert_true(state->is_end);
    yk_scan_state_free(state);
    g_auto(GStrv) words = g_strsplit(names->str, " ", 0);
    for (size_t i = 1; words[0] != NULL && words[i] != NULL && *words[i] != '\0'; i++) {
        for (size_t k = i; k > 0 && strcmp(words[k - 1], words[k]) > 0; k--) {
            char *word = words[k];
            words[k] = words[k - 1];
            words[k - 1] = word;
        }
    }
    return g_strjoinv(" ", words);
}

static void
test_scan(gconstpointer mode)
{
    static const uint64_t sizes[] = {1, 60, 10000};
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "flushed", "1", 0);
    pump(&bench);
    flush(&bench, 0);
    store(&bench, YK_MODE_SET, "b", "2", 1000);
    store(&bench, YK_MODE_SET, "a", "3", 0);
    store(&bench, YK_MODE_SET, "expired", "4", 100);
    store(&bench, YK_MODE_SET, "c", "5", 0);
    pump(&bench);
    bench.now_ms += 100;
    g_assert_cmpint(n_records(), ==, 5);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *values = scan_all(&bench, sizes[i], true);
        g_autofree char *names = scan_all(&bench, sizes[i], false);
        g_assert_cmpstr(values, ==, "a=3 b=2 c=5 ");
        g_assert_cmpstr(names, ==, "a= b= c= ");
    }
    bench_close(&bench);
}

static void
test_scan_error(gconstpointer mode)
{
    struct bench bench;
    struct answer *answer;
    struct yk_scan_state *state = yk_scan_state_new(100, 1000, true);
    bench_open(&bench, GPOINTER_TO_INT(mode));
    stub.scan_result = YK_EIO;
    struct yk_op *op = op_new(&bench, (struct yk_request){.op = YK_OP_SCAN}, &answer);
    op->scan = state;
    yk_lane_submit(bench.lane, op);
    pump(&bench);
    g_assert_cmpuint(answer->result, ==, YK_EIO);
    g_assert_cmpuint(state->chunk_used, ==, 0);
    yk_scan_state_free(state);
    bench_close(&bench);
}

static void
test_sweep(gconstpointer mode)
{
    enum { N = 2000 };
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    sweep_all(&bench);
    g_assert_false(yk_lane_has_to_sweep(bench.lane));
    for (int i = 0; i < N; i++) {
        g_autofree char *key = g_strdup_printf("key%d", i);
        store(&bench, YK_MODE_SET, key, "value", i % 2 == 0 ? 100 : 0);
    }
    pump(&bench);
    g_assert_true(yk_lane_has_to_sweep(bench.lane));
    bench.now_ms += 99;
    for (int i = 0; i < 100; i++) {
        yk_lane_sweep(bench.lane, bench.now_ms);
        pump(&bench);
    }
    g_assert_cmpint(n_records(), ==, N);
    g_assert_true(yk_lane_has_to_sweep(bench.lane));
    bench.now_ms += 1;
    sweep_all(&bench);
    g_assert_cmpint(n_records(), ==, N / 2);
    g_assert_false(yk_lane_has_to_sweep(bench.lane));
    assert_value(&bench, "key1", "value");
    flush(&bench, 0);
    pump(&bench);
    sweep_all(&bench);
    g_assert_cmpint(n_records(), ==, 0);
    bench_close(&bench);
}

/* What a flush to come makes absent is dropped too, once somebody has looked. */
static void
test_sweep_later(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    store(&bench, YK_MODE_SET, "b", "1", 0);
    flush(&bench, 500);
    pump(&bench);
    sweep_all(&bench);
    g_assert_cmpint(n_records(), ==, 2);
    bench.now_ms += 500;
    assert_value(&bench, "a", NULL);
    sweep_all(&bench);
    g_assert_cmpint(n_records(), ==, 0);
    bench_close(&bench);
}

/* Swept while its key is written: the new record stays. And an engine that dropped the record by
 * itself between the sweep's look and its second one. */
static void
test_sweep_races(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 100);
    store(&bench, YK_MODE_SET, "b", "1", 100);
    pump(&bench);
    bench.now_ms += 200;
    ask(&bench, YK_OP_TOUCH, "a");
    store(&bench, YK_MODE_SET, "a", "2", 0);
    yk_lane_sweep(bench.lane, bench.now_ms);
    store(&bench, YK_MODE_APPEND, "a", "3", 0);
    stub.forgets_first = true;
    pump(&bench);
    stub.forgets_first = false;
    sweep_all(&bench);
    assert_value(&bench, "b", NULL);
    g_assert_cmpint(n_records(), <=, 1);
    bench_close(&bench);
}

/* -- Engines that err. -- */

static void
test_answers(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    stub.answers_twice = stub.answers_outside = true;
    struct answer *appended = store(&bench, YK_MODE_APPEND, "a", "2", 0);
    struct answer *got[] = {ask(&bench, YK_OP_GET, "a"), ask(&bench, YK_OP_GET, "b")};
    pump(&bench);
    g_assert_cmpuint(appended->result, ==, YK_OK);
    g_assert_cmpuint(got[0]->result, ==, YK_OK);
    g_assert_cmpuint(got[1]->result, ==, YK_ENOTFOUND);
    assert_value(&bench, "a", "12");
    stub.answers_twice = stub.answers_outside = false;
    stub.answers_not = true;
    appended = store(&bench, YK_MODE_APPEND, "a", "3", 0);
    got[0] = ask(&bench, YK_OP_GET, "a");
    pump(&bench);
    g_assert_cmpuint(appended->result, ==, YK_EFAULT); /* surely not done, unlike EIO */
    g_assert_cmpuint(got[0]->result, ==, YK_EIO);
    stub.get_result = YK_ECORRUPT;
    appended = store(&bench, YK_MODE_APPEND, "a", "3", 0);
    got[0] = ask(&bench, YK_OP_GET, "a");
    pump(&bench);
    g_assert_cmpuint(appended->result, ==, YK_ECORRUPT);
    g_assert_cmpuint(got[0]->result, ==, YK_ECORRUPT);
    stub.answers_not = false; /* all were answered, and then the call failed: the answers count */
    assert_value(&bench, "a", "12");
    stub.get_result = YK_OK;
    assert_value(&bench, "a", "12");
    bench_close(&bench);
}

static void
test_damaged(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    struct answer *probe;
    struct yk_op *op =
        op_new(&bench, (struct yk_request){.op = YK_OP_GET, .key = yk_slice_of_text("a")}, &probe);
    uint8_t *key = g_malloc(5);
    memcpy(key, (uint8_t[]){(uint8_t)(op->slot >> 8), (uint8_t)op->slot, 0, 0, 'a'}, 5);
    int prefix = stub.mode == MODE_INLINE ? 0 : 4;
    g_tree_replace(stub.records, g_bytes_new(key + 4 - prefix, (gsize)prefix + 1),
                   g_bytes_new("\1\0garbage", 9));
    g_free(key);
    yk_lane_submit(bench.lane, op);
    struct answer *appended = store(&bench, YK_MODE_APPEND, "a", "2", 0);
    pump(&bench);
    g_assert_cmpuint(probe->result, ==, YK_ECORRUPT);
    g_assert_cmpuint(appended->result, ==, YK_ECORRUPT);
    struct answer *set = store(&bench, YK_MODE_SET, "a", "3", 0); /* heals it */
    pump(&bench);
    g_assert_cmpuint(set->result, ==, YK_OK);
    assert_value(&bench, "a", "3");
    bench_close(&bench);
}

/* -- What depends on the mode. -- */

static void
test_kept_max(gconstpointer mode)
{
    struct bench bench;
    g_autofree char *value = g_strnfill(900, 'v');
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", value, 0);
    pump(&bench);
    struct answer *got = ask(&bench, YK_OP_GET, "a");
    pump(&bench);
    g_assert_cmpuint(got->result, ==, YK_EBUSY);
    g_assert_cmpuint(got->number, >=, 900);
    g_assert_cmpuint(got->number, <=, 900 + YK_RECORD_OVERHEAD_MAX);
    struct answer *again;
    struct yk_op *op =
        op_new(&bench, (struct yk_request){.op = YK_OP_GET, .key = yk_slice_of_text("a")}, &again);
    op->kept_max = got->number;
    yk_lane_submit(bench.lane, op);
    pump(&bench);
    g_assert_cmpuint(again->result, ==, YK_OK);
    g_assert_cmpstr(again->value->str, ==, value);
    bench_close(&bench);
}

static void
test_no_room(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    bench.has_no_room = true;
    struct answer *got = ask(&bench, YK_OP_GET, "a");
    struct answer *appended = store(&bench, YK_MODE_APPEND, "a", "2", 0);
    pump(&bench);
    g_assert_nonnull(bench.given_back);
    g_assert_cmpuint(got->n_done, ==, 0);
    g_assert_cmpuint(appended->result, ==, YK_OK);
    g_assert_true(yk_lane_is_idle(bench.lane));
    bench.has_no_room = false;
    yk_lane_submit(bench.lane, bench.given_back);
    pump(&bench);
    g_assert_cmpstr(got->value->str, ==, "12");
    bench_close(&bench);
}

/* Reads in one batch with a write see what was committed before it. */
static void
test_reads_committed(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    stub.refused = "no";
    struct answer *set = store(&bench, YK_MODE_SET, "a", "no", 0);
    struct answer *got = ask(&bench, YK_OP_GET, "a");
    pump(&bench);
    g_assert_cmpuint(set->result, ==, YK_ENOSPACE);
    g_assert_cmpstr(got->value->str, ==, "1"); /* never what was refused */
    bench_close(&bench);
}

static void
test_stats(gconstpointer mode)
{
    struct bench bench;
    struct yk_figures figures = {.n = 0};
    struct answer *answer;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    store(&bench, YK_MODE_SET, "b", "1", 0);
    pump(&bench);
    struct yk_op *op = op_new(&bench, (struct yk_request){.op = YK_OP_STATS}, &answer);
    op->figures = &figures;
    yk_lane_submit(bench.lane, op);
    pump(&bench);
    g_assert_cmpuint(yk_figures_get(&figures, "records"), ==, 2);
    bench_close(&bench);
}

/* -- Lane records. -- */

static void
test_flush_kept(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    store(&bench, YK_MODE_SET, "b", "1", 0);
    pump(&bench);
    struct answer *flushed = flush(&bench, 0);
    struct answer *set = store(&bench, YK_MODE_APPEND, "a", "2", 0);
    store(&bench, YK_MODE_ADD, "b", "3", 0);
    pump(&bench);
    g_assert_cmpuint(flushed->result, ==, YK_OK);
    g_assert_cmpuint(set->result, ==, YK_ENOTSTORED);
    bench_restart(&bench, 4);
    assert_value(&bench, "a", NULL);
    assert_value(&bench, "b", "3");
    flush(&bench, 500);
    pump(&bench);
    bench_restart(&bench, 5);
    assert_value(&bench, "b", "3");
    bench.now_ms += 500;
    assert_value(&bench, "b", NULL);
    store(&bench, YK_MODE_SET, "a", "4", 0);
    pump(&bench);
    bench_restart(&bench, 6);
    bench.now_ms += 5000;
    assert_value(&bench, "a", "4");
    assert_value(&bench, "b", NULL);
    bench_close(&bench);
}

/* A flush that comes due while the node is down takes what was stored before it ended, no more. */
static void
test_flush_while_down(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    flush(&bench, 500);
    pump(&bench);
    bench_restart(&bench, 4);
    bench.now_ms += 1000;
    struct answer *set = store(&bench, YK_MODE_ADD, "a", "2", 0);
    pump(&bench);
    g_assert_cmpuint(set->result, ==, YK_OK);
    assert_value(&bench, "a", "2");
    bench_restart(&bench, 5);
    assert_value(&bench, "a", "2");
    bench_close(&bench);
}

static void
test_flush_refused(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    stub.is_full = true;
    struct answer *flushed = flush(&bench, 0);
    pump(&bench);
    g_assert_cmpuint(flushed->result, ==, YK_ENOSPACE);
    assert_value(&bench, "a", "1");
    stub.is_full = false;
    flushed = flush(&bench, 0);
    pump(&bench);
    g_assert_cmpuint(flushed->result, ==, YK_OK);
    assert_value(&bench, "a", NULL);
    bench_close(&bench);
}

static gboolean
find_page(gpointer key, gpointer value, gpointer arg)
{
    const uint8_t *data = g_bytes_get_data(key, NULL);
    if (data[0] == 0xff && data[1] == 0xff) {
        *(GBytes **)arg = key;
        return TRUE;
    }
    return FALSE;
}

static void
test_marks_damaged(gconstpointer mode)
{
    struct bench bench;
    GBytes *key = NULL;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    flush(&bench, 0);
    pump(&bench);
    g_tree_foreach(stub.records, find_page, &key);
    g_assert_nonnull(key);
    gsize size;
    const uint8_t *page = g_bytes_get_data(g_tree_lookup(stub.records, key), &size);
    for (gsize i = 0; i < size; i += 13) {
        uint8_t *damaged = g_memdup2(page, size);
        damaged[i] ^= 4;
        GBytes *whole = g_bytes_ref(g_tree_lookup(stub.records, key));
        g_tree_replace(stub.records, g_bytes_ref(key), g_bytes_new_take(damaged, size));
        find_page(key, NULL, &key);
        bench_restart(&bench, 4);
        struct answer *got = ask(&bench, YK_OP_GET, "a");
        struct answer *set = store(&bench, YK_MODE_SET, "b", "1", 0);
        struct answer *flushed = flush(&bench, 0);
        pump(&bench);
        g_assert_cmpuint(got->result, ==, YK_ESTOPPED);
        g_assert_cmpuint(set->result, ==, YK_ESTOPPED);
        g_assert_cmpuint(flushed->result, ==, YK_ESTOPPED);
        g_tree_foreach(stub.records, find_page, &key);
        g_tree_replace(stub.records, g_bytes_ref(key), whole);
        g_tree_foreach(stub.records, find_page, &key);
        page = g_bytes_get_data(g_tree_lookup(stub.records, key), &size);
    }
    bench_restart(&bench, 5);
    assert_value(&bench, "a", NULL);
    bench_close(&bench);
}

static void
test_shut(gconstpointer mode)
{
    struct bench bench;
    struct answer *scanned;
    struct yk_scan_state *state = yk_scan_state_new(100, 1000, true);
    bench_make(&bench, GPOINTER_TO_INT(mode));
    lane_open(&bench, 3, true);
    struct answer *answers[] = {ask(&bench, YK_OP_GET, "a"),
                                store(&bench, YK_MODE_SET, "a", "1", 0),
                                ask(&bench, YK_OP_DELETE, "a"), flush(&bench, 0)};
    struct yk_op *op = op_new(&bench, (struct yk_request){.op = YK_OP_SCAN}, &scanned);
    op->scan = state;
    yk_lane_submit(bench.lane, op);
    pump(&bench);
    for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
        g_assert_cmpuint(answers[i]->result, ==, YK_ESTOPPED);
    }
    g_assert_cmpuint(scanned->result, ==, YK_ESTOPPED);
    g_assert_cmpuint(stub.n_gets + stub.n_applied + stub.n_scans, ==, 0);
    yk_scan_state_free(state);
    bench_close(&bench);
}

/* -- An engine that applies all or nothing, syncs, and is read beside a write. -- */

static void
test_full(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    store(&bench, YK_MODE_SET, "b", "1", 0);
    pump(&bench);
    stub.is_full = true;
    struct answer *refused[] = {store(&bench, YK_MODE_SET, "a", "2", 0),
                                store(&bench, YK_MODE_SET, "c", "2", 0)};
    struct answer *deleted = ask(&bench, YK_OP_DELETE, "b");
    pump(&bench);
    g_assert_cmpuint(refused[0]->result, ==, YK_ENOSPACE);
    g_assert_cmpuint(refused[1]->result, ==, YK_ENOSPACE);
    g_assert_cmpuint(deleted->result, ==, YK_OK);
    assert_value(&bench, "a", "1");
    assert_value(&bench, "b", NULL);
    stub.is_full = false;
    store(&bench, YK_MODE_APPEND, "a", "3", 0);
    pump(&bench);
    assert_value(&bench, "a", "13");
    bench_close(&bench);
}

static void
test_damaged_batch(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    stub.damaged = "bad";
    struct answer *fine[] = {store(&bench, YK_MODE_SET, "a", "1", 0),
                             store(&bench, YK_MODE_SET, "b", "2", 0)};
    struct answer *bad[] = {store(&bench, YK_MODE_SET, "1bad", "x", 0),
                            store(&bench, YK_MODE_SET, "2bad", "x", 0)};
    struct answer *after = store(&bench, YK_MODE_SET, "c", "3", 0);
    pump(&bench);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpuint(fine[i]->result, ==, YK_OK);
        g_assert_cmpuint(bad[i]->result, ==, YK_ECORRUPT);
    }
    g_assert_cmpuint(after->result, ==, YK_OK);
    assert_value(&bench, "b", "2");
    assert_value(&bench, "1bad", NULL);
    assert_value(&bench, "c", "3");
    bench_close(&bench);
}

static void
test_read_beside(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    store(&bench, YK_MODE_SET, "b", "1", 0);
    pump(&bench);
    struct answer *set = store(&bench, YK_MODE_SET, "a", "2", 0);
    yk_lane_run(bench.lane, bench.now_ms);
    struct yk_job *writer = g_queue_peek_head(&bench.jobs);
    struct answer *got[] = {ask(&bench, YK_OP_GET, "b"), ask(&bench, YK_OP_GET, "a")};
    yk_lane_run(bench.lane, bench.now_ms);
    g_assert_cmpuint(bench.jobs.length, >=, 2);
    while (bench.jobs.length > 1) {
        run_job(&bench, g_queue_peek_tail(&bench.jobs));
    }
    g_assert_cmpstr(got[0]->value->str, ==, "1");
    g_assert_cmpstr(got[1]->value->str, ==, "1");
    g_assert_cmpuint(set->n_done, ==, 0);
    run_job(&bench, writer);
    g_assert_cmpuint(set->result, ==, YK_OK);
    assert_value(&bench, "a", "2");
    bench_close(&bench);
}

/* -- Reads that write. -- */

static struct answer *
get_to_win(struct bench *bench, const char *key, uint32_t flags)
{
    return submit(bench, (struct yk_request){.op = YK_OP_GET,
                                             .flags = YK_REQUEST_WIN | flags,
                                             .key = yk_slice_of_text(key)});
}

static void
test_win(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    struct answer *plain = get_to_win(&bench, "a", 0);
    pump(&bench);
    g_assert_cmpuint(plain->flags, ==, 0);
    submit(&bench, (struct yk_request){.op = YK_OP_DELETE,
                                       .flags = YK_REQUEST_INVALIDATE,
                                       .key = yk_slice_of_text("a")});
    pump(&bench);
    struct answer *got[8];
    int n_won = 0;
    for (int i = 0; i < 8; i++) {
        got[i] = get_to_win(&bench, "a", 0);
        if (i == 4) {
            pump(&bench);
        }
    }
    pump(&bench);
    for (int i = 0; i < 8; i++) {
        g_assert_cmpuint(got[i]->result, ==, YK_OK);
        g_assert_cmpstr(got[i]->value->str, ==, "1");
        g_assert_true((got[i]->flags & YK_REPLY_STALE) != 0);
        n_won += (got[i]->flags & YK_REPLY_WON) != 0 ? 1 : 0;
        g_assert_true((got[i]->flags & (YK_REPLY_WON | YK_REPLY_TAKEN)) != 0);
    }
    g_assert_cmpint(n_won, ==, 1);
    store(&bench, YK_MODE_SET, "a", "2", 0);
    pump(&bench);
    plain = get_to_win(&bench, "a", 0);
    pump(&bench);
    g_assert_cmpuint(plain->flags, ==, 0);
    bench_close(&bench);
}

static void
test_vivify(gconstpointer mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode));
    struct answer *got[] = {get_to_win(&bench, "a", YK_REQUEST_VIVIFY),
                            get_to_win(&bench, "a", YK_REQUEST_VIVIFY)};
    pump(&bench);
    g_assert_cmpuint(got[0]->result, ==, YK_OK);
    g_assert_cmpuint(got[0]->flags, ==, YK_REPLY_WON);
    g_assert_cmpuint(got[1]->flags, ==, YK_REPLY_TAKEN);
    assert_value(&bench, "a", "");
    struct answer *touched =
        submit(&bench, (struct yk_request){.op = YK_OP_GET,
                                           .flags = YK_REQUEST_TOUCH,
                                           .key = yk_slice_of_text("a"),
                                           .expiry = {100, YK_EXPIRY_RELATIVE}});
    pump(&bench);
    g_assert_cmpint(touched->expiry_ms, ==, (int64_t)bench.now_ms + 100);
    bench.now_ms += 100;
    assert_value(&bench, "a", NULL);
    bench_close(&bench);
}

static void
add_as(const char *name, int from, int to, int more, GTestDataFunc test)
{
    static const char *const names[] = {"inline",  "prefix", "blocking",
                                        "readers", "async",  "async-early"};
    for (int mode = from; mode <= to; mode++) {
        g_autofree char *path =
            g_strdup_printf("/lane/%s%s%s/%s", names[mode], more != 0 ? "-journaled" : "",
                            (more & SETUP_PLAIN) != 0      ? "-plain"
                            : (more & SETUP_SURVIVES) != 0 ? "-survives"
                                                           : "",
                            name);
        g_test_add_data_func(path, GINT_TO_POINTER(mode + more), test);
    }
}

static void
add(const char *name, enum mode from, enum mode to, GTestDataFunc test)
{
    add_as(name, (int)from, (int)to, 0, test);
}

/* Also with a journal, in the modes that may have one. */
static void
add_both(const char *name, enum mode from, enum mode to, GTestDataFunc test)
{
    int last = to < MODE_READERS ? (int)to : MODE_READERS;
    add(name, from, to, test);
    add_as(name, (int)from, last, SETUP_JOURNALED, test);
    add_as(name, (int)from, last, SETUP_JOURNALED | SETUP_SURVIVES, test);
    add_as(name, (int)from, last, SETUP_JOURNALED | SETUP_PLAIN, test);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    add_both("pipeline", 0, N_MODES - 1, test_pipeline);
    add_both("random", 0, N_MODES - 1, test_random);
    add_both("many", 0, N_MODES - 1, test_many);
    add("refused", 0, N_MODES - 1, test_refused);
    add_as("refused", 0, MODE_READERS, SETUP_JOURNALED, test_refused);
    add("deferred", 0, N_MODES - 1, test_deferred);
    add_as("deferred", 0, MODE_READERS, SETUP_JOURNALED, test_deferred);
    add("stopped", 0, N_MODES - 1, test_stopped);
    add_both("flush", 0, N_MODES - 1, test_flush);
    add_both("flush-twice", 0, N_MODES - 1, test_flush_twice);
    add_both("expiry", 0, N_MODES - 1, test_expiry);
    add_both("touch", 0, N_MODES - 1, test_touch);
    add_both("scan", 0, N_MODES - 1, test_scan);
    add_both("scan-error", 0, N_MODES - 1, test_scan_error);
    add_both("sweep", 0, N_MODES - 1, test_sweep);
    add_both("sweep-later", 0, N_MODES - 1, test_sweep_later);
    add_both("sweep-races", 0, N_MODES - 1, test_sweep_races);
    add_both("answers", 0, N_MODES - 1, test_answers);
    add_both("damaged", 0, N_MODES - 1, test_damaged);
    add_both("kept-max", MODE_BLOCKING, N_MODES - 1, test_kept_max);
    add("no-room", MODE_INLINE, MODE_PREFIX, test_no_room);
    add_as("no-room", MODE_INLINE, MODE_INLINE, SETUP_JOURNALED, test_no_room);
    add("reads-committed", 0, N_MODES - 1, test_reads_committed);
    add_as("reads-committed", 0, MODE_READERS, SETUP_JOURNALED, test_reads_committed);
    add_both("stats", 0, N_MODES - 1, test_stats);
    add_both("flush-kept", MODE_PREFIX, N_MODES - 1, test_flush_kept);
    add_both("flush-while-down", MODE_PREFIX, N_MODES - 1, test_flush_while_down);
    add("flush-refused", MODE_READERS, MODE_READERS, test_flush_refused);
    add("marks-damaged", MODE_PREFIX, N_MODES - 1, test_marks_damaged);
    add_both("shut", 0, N_MODES - 1, test_shut);
    add("full", MODE_READERS, MODE_READERS, test_full);
    add("damaged-batch", MODE_READERS, MODE_READERS, test_damaged_batch);
    add("read-beside", MODE_READERS, MODE_READERS, test_read_beside);
    add_both("win", 0, N_MODES - 1, test_win);
    add_both("vivify", 0, N_MODES - 1, test_vivify);
    return g_test_run();
}
