/* A lane with a journal: what is answered when, what reads see meanwhile, checkpoints and
 * snapshots, and that a restart finds what was acknowledged. */
#include <config.h>

#include <stdio.h>

#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/base/random.h"
#include "core/store/record.h"
#include "tests/lib/lane_bench.h"

static void
open_held(struct bench *bench, gconstpointer setup)
{
    bench_open(bench, GPOINTER_TO_INT(setup) | SETUP_JOURNALED);
    bench->journal.is_held = true;
}

/* Everything goes on, once. */
static void
release(struct bench *bench)
{
    bench->journal.is_held = false;
    pump(bench);
    bench->journal.is_held = true;
}

/* Writes of one key wait for the engine: another thread admits them. */
static bool
admits_late(const struct bench *bench)
{
    return yk_lane_keeps(bench->lane) && (bench->setup & SETUP_PLAIN) == 0;
}

/* -- Writes. -- */

static void
test_answered_at_mark(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    release(&bench);
    struct answer *set = store(&bench, YK_MODE_SET, "a", "2", 0);
    struct answer *deleted = ask(&bench, YK_OP_DELETE, "b");
    pump(&bench);
    g_assert_cmpuint(set->n_done, ==, 0);
    g_assert_cmpuint(deleted->result, ==, YK_ENOTFOUND); /* judged on what is committed */
    assert_value(&bench, "a", "1");
    g_assert_false(yk_lane_is_idle(bench.lane));
    g_assert_true(reach(&bench));
    g_assert_cmpuint(set->n_done, ==, 1);
    struct answer *got = ask(&bench, YK_OP_GET, "a"); /* before the engine has it */
    yk_lane_run(bench.lane, bench.now_ms);
    run_jobs(&bench);
    g_assert_cmpstr(got->value->str, ==, "2");
    assert_value(&bench, "a", "2");
    deleted = ask(&bench, YK_OP_DELETE, "a");
    pump(&bench);
    assert_value(&bench, "a", "2");
    reach(&bench);
    g_assert_cmpuint(deleted->n_done, ==, 1);
    assert_value(&bench, "a", NULL);
    pump(&bench);
    g_assert_cmpint(n_records(), ==, 0);
    bench_close(&bench);
}

static void
test_chain(gconstpointer setup)
{
    enum { N = 64 };
    struct bench bench;
    struct answer *answers[N];
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "n", "0", 0);
    release(&bench);
    uint32_t n_applied = stub.n_applied, n_before = bench.journal.n_reached;
    for (int i = 0; i < N; i++) {
        answers[i] = incr(&bench, "n");
    }
    pump(&bench);
    if (!admits_late(&bench)) {
        g_assert_cmpuint(bench.journal.entries->len, ==, n_before + N);
    }
    assert_value(&bench, "n", "0");
    release(&bench);
    for (int i = 0; i < N; i++) {
        g_assert_cmpuint(answers[i]->result, ==, YK_OK);
        g_assert_cmpuint(answers[i]->number, ==, i + 1);
    }
    assert_value(&bench, "n", "64");
    g_assert_cmpuint(bench.journal.entries->len, ==, n_before + N);
    if (yk_lane_keeps(bench.lane) && !admits_late(&bench)) {
        g_assert_cmpuint(stub.n_applied, <=, n_applied + 2); /* the newest only */
    }
    bench_close(&bench);
}

/* What is refused on something prepared may not be said before that is committed. */
static void
test_verdict(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    struct answer *set = store(&bench, YK_MODE_SET, "a", "x", 0);
    struct answer *added = store(&bench, YK_MODE_ADD, "a", "y", 0);
    struct answer *counted = incr(&bench, "a");
    struct answer *deleted = ask(&bench, YK_OP_DELETE, "a");
    struct answer *replaced = store(&bench, YK_MODE_REPLACE, "a", "z", 0);
    struct answer *other = store(&bench, YK_MODE_REPLACE, "b", "z", 0);
    pump(&bench);
    g_assert_cmpuint(set->n_done + added->n_done + counted->n_done + replaced->n_done, ==, 0);
    g_assert_cmpuint(other->result, ==, YK_ENOTSTORED);
    release(&bench);
    g_assert_cmpuint(set->result, ==, YK_OK);
    g_assert_cmpuint(added->result, ==, YK_ENOTSTORED);
    g_assert_cmpuint(counted->result, !=, YK_OK);
    g_assert_cmpuint(deleted->result, ==, YK_OK);
    g_assert_cmpuint(replaced->result, ==, YK_ENOTSTORED);
    g_assert_cmpuint(set->order, <, added->order);
    assert_value(&bench, "a", NULL);
    bench_close(&bench);
}

static void
test_no_journal_room(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    release(&bench);
    uint32_t n_entries = bench.journal.entries->len;
    bench.journal.reserve_result = YK_ENOSPACE;
    struct answer *answers[] = {
        store(&bench, YK_MODE_SET, "a", "2", 0), store(&bench, YK_MODE_ADD, "b", "2", 0),
        ask(&bench, YK_OP_DELETE, "a"), flush(&bench, 0), flush(&bench, 500)};
    release(&bench);
    for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
        g_assert_cmpuint(answers[i]->result, ==, YK_ENOSPACE);
    }
    g_assert_cmpuint(bench.journal.entries->len, ==, n_entries);
    assert_value(&bench, "a", "1");
    assert_value(&bench, "b", NULL);
    bench.journal.reserve_result = YK_OK;
    store(&bench, YK_MODE_APPEND, "a", "3", 0);
    release(&bench);
    assert_value(&bench, "a", "13");
    bench_close(&bench);
}

/* A flush that is due finds no room; one that a client asks for meanwhile is only refused. */
static void
test_due_without_room(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    flush(&bench, 500);
    release(&bench);
    bench.now_ms += 500;
    bench.journal.reserve_result = YK_ENOSPACE;
    pump(&bench);
    struct answer *flushed = flush(&bench, 0);
    release(&bench);
    g_assert_cmpuint(flushed->result, ==, YK_ENOSPACE);
    assert_value(&bench, "a", "1");
    bench.journal.reserve_result = YK_OK;
    bench.now_ms += 1000;
    release(&bench);
    assert_value(&bench, "a", NULL);
    bench_close(&bench);
}

/* Admitted by an engine with little room: versions still go up in the journal, or a restart would
 * leave out what comes behind a greater one. */
static void
test_order_of_versions(gconstpointer setup)
{
    enum { N = 60 };
    struct bench bench;
    uint64_t last[16] = {0};
    open_held(&bench, setup);
    stub.n_admitted_max = 5;
    for (int i = 0; i < N; i++) {
        g_autofree char *key = g_strdup_printf("key%d", i);
        store(&bench, YK_MODE_SET, key, "a", 0);
        store(&bench, i % 3 == 0 ? YK_MODE_APPEND : YK_MODE_SET, key, "b", 0);
        if (i % 4 == 0) {
            yk_lane_run(bench.lane, bench.now_ms);
        }
    }
    release(&bench);
    for (guint i = 0; i < bench.journal.entries->len; i++) {
        const struct kept *kept = bench.journal.entries->pdata[i];
        g_assert_cmpuint(kept->entry.version, >, last[kept->entry.slot]);
        last[kept->entry.slot] = kept->entry.version;
    }
    for (guint i = 0; i < bench.answers->len; i++) {
        g_assert_cmpuint(((struct answer *)bench.answers->pdata[i])->result, ==, YK_OK);
    }
    bench_crash(&bench, 0, true, 0); /* it finds room again, a few at a time */
    assert_value(&bench, "key0", "ab");
    assert_value(&bench, "key59", "b");
    bench_close(&bench);
}

/* -- Engines that fail behind the journal. -- */

static void
refuse_and_retry(struct bench *bench, enum yk_err result)
{
    stub.is_full = result == YK_ENOSPACE;
    stub.damaged = result == YK_ECORRUPT ? "bad" : NULL;
    struct answer *set = store(bench, YK_MODE_SET, "1bad", "2", 0);
    release(bench);
    g_assert_cmpuint(set->result, ==, YK_OK); /* it stands in the journal */
    assert_value(bench, "1bad", "2");
    assert_value(bench, "old", "1");
    set = store(bench, YK_MODE_SET, "c", "3", 0);
    release(bench);
    g_assert_cmpuint(set->result, ==, YK_ENOSPACE);
    assert_value(bench, "c", NULL);
    struct answer *deleted = ask(bench, YK_OP_DELETE, "old");
    release(bench);
    g_assert_cmpuint(deleted->result, ==, YK_OK);
    assert_value(bench, "old", NULL);
    g_assert_true(yk_lane_has_to_sweep(bench->lane));
    stub.is_full = false;
    stub.damaged = NULL;
    bench->now_ms += 1000;
    yk_lane_sweep(bench->lane, bench->now_ms);
    pump(bench);
    set = store(bench, YK_MODE_SET, "c", "3", 0);
    release(bench);
    g_assert_cmpuint(set->result, ==, YK_OK);
    assert_value(bench, "1bad", "2");
    assert_value(bench, "c", "3");
}

static void
test_stuck(gconstpointer setup)
{
    static const enum yk_err results[] = {YK_ENOSPACE, YK_ECORRUPT};
    for (size_t i = 0; i < G_N_ELEMENTS(results); i++) {
        struct bench bench;
        open_held(&bench, setup);
        store(&bench, YK_MODE_SET, "old", "1", 0);
        release(&bench);
        refuse_and_retry(&bench, results[i]);
        bench_close(&bench);
    }
}

/* A checkpoint that waits for what is stuck does not take its next try for its end. */
static void
test_stuck_checkpoint(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    stub.damaged = "bad";
    store(&bench, YK_MODE_SET, "bad", "1", 0);
    release(&bench);
    g_assert_true(yk_lane_checkpoint(bench.lane, bench.now_ms));
    pump(&bench);
    bench.now_ms += 1000;
    yk_lane_sweep(bench.lane, bench.now_ms);
    pump(&bench);
    g_assert_cmpuint(first_needed(&bench), ==, 0);
    g_assert_true(yk_lane_has_checkpoint(bench.lane));
    stub.damaged = NULL;
    bench.now_ms += 1000;
    yk_lane_sweep(bench.lane, bench.now_ms);
    pump(&bench);
    g_assert_false(yk_lane_has_checkpoint(bench.lane));
    g_assert_cmpuint(first_needed(&bench), ==, 1);
    bench_crash(&bench, 0, true, UINT32_MAX);
    assert_value(&bench, "bad", "1");
    bench_close(&bench);
}

static void
test_stopped(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    release(&bench);
    stub.apply_result = YK_EIO;
    struct answer *set = store(&bench, YK_MODE_SET, "a", "2", 0);
    release(&bench);
    g_assert_cmpuint(set->n_done, ==, 1);
    g_assert_true(set->result == YK_OK || set->result == YK_EIO);
    g_assert_true(yk_lane_is_stopped(bench.lane));
    struct answer *later[] = {store(&bench, YK_MODE_SET, "b", "1", 0), ask(&bench, YK_OP_GET, "a"),
                              flush(&bench, 0)};
    release(&bench);
    for (size_t i = 0; i < G_N_ELEMENTS(later); i++) {
        g_assert_cmpuint(later[i]->result, ==, YK_ESTOPPED);
    }
    g_assert_false(yk_lane_checkpoint(bench.lane, bench.now_ms));
    stub.apply_result = YK_OK;
    bench_crash(&bench, 0, true, UINT32_MAX);
    assert_value(&bench, "a", "2");
    bench_close(&bench);
}

/* The lane stops while a checkpoint waits for the same change: it ends too, or nothing would. */
static void
test_stopped_in_checkpoint(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    pump(&bench);
    stub.apply_result = YK_EIO;
    reach(&bench);
    yk_lane_run(bench.lane, bench.now_ms);
    (void)yk_lane_checkpoint(bench.lane, bench.now_ms);
    pump(&bench);
    g_assert_false(yk_lane_has_checkpoint(bench.lane));
    g_assert_true(yk_lane_is_idle(bench.lane));
    g_assert_cmpuint(first_needed(&bench), ==, 0);
    bench_close(&bench);
}

/* -- Flushes. -- */

static void
test_flush_waits(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    store(&bench, YK_MODE_SET, "b", "1", 0);
    release(&bench);
    struct answer *before = store(&bench, YK_MODE_SET, "c", "2", 0);
    struct answer *flushed = flush(&bench, 0);
    struct answer *after = store(&bench, YK_MODE_ADD, "a", "3", 0);
    struct answer *got = ask(&bench, YK_OP_GET, "b");
    pump(&bench);
    g_assert_cmpuint(before->n_done + flushed->n_done + after->n_done, ==, 0);
    g_assert_true(got->n_done == 0 || strcmp(got->value->str, "1") == 0);
    release(&bench);
    g_assert_cmpuint(before->order, <, flushed->order);
    g_assert_cmpuint(flushed->order, <, after->order);
    g_assert_cmpuint(after->result, ==, YK_OK);
    assert_value(&bench, "b", NULL);
    assert_value(&bench, "c", NULL);
    assert_value(&bench, "a", "3");
    bench_crash(&bench, 0, true, UINT32_MAX);
    assert_value(&bench, "b", NULL);
    assert_value(&bench, "a", "3");
    bench_close(&bench);
}

static void
test_flush_later(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    struct answer *flushed = flush(&bench, 500);
    pump(&bench);
    g_assert_cmpuint(flushed->n_done, ==, 0);
    release(&bench);
    g_assert_cmpuint(flushed->result, ==, YK_OK);
    bench_crash(&bench, 0, true, UINT32_MAX);
    assert_value(&bench, "a", "1");
    bench.now_ms += 500;
    struct answer *got = ask(&bench, YK_OP_GET, "a");
    pump(&bench);
    g_assert_true(got->n_done == 0 || got->result == YK_OK);
    release(&bench);
    assert_value(&bench, "a", NULL);
    bench_close(&bench);
}

/* The journal that is kept goes back before a checkpoint: a flush to come that was long ago stands
 * there, and does not come again. */
static void
test_flush_once(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    flush(&bench, 500);
    release(&bench);
    bench.now_ms += 500;
    release(&bench);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    release(&bench);
    g_assert_true(yk_lane_checkpoint(bench.lane, bench.now_ms));
    release(&bench);
    g_assert_cmpuint(first_needed(&bench), ==, bench.journal.n_reached);
    bench_crash(&bench, 0, true, 0);
    bench.now_ms += 1000;
    release(&bench);
    assert_value(&bench, "a", "1");
    bench_close(&bench);
}

static void
test_no_slot(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, GINT_TO_POINTER(GPOINTER_TO_INT(setup) | SETUP_NO_SLOT));
    struct answer *flushed[] = {flush(&bench, 0), flush(&bench, 500)};
    pump(&bench);
    bench.now_ms += 500;
    release(&bench);
    g_assert_cmpuint(flushed[0]->result, ==, YK_OK);
    g_assert_cmpuint(flushed[1]->result, ==, YK_OK);
    g_assert_cmpuint(bench.journal.entries->len, ==, 0);
    (void)yk_lane_checkpoint(bench.lane, bench.now_ms);
    release(&bench);
    g_assert_false(yk_lane_has_checkpoint(bench.lane));
    bench.journal.reserved = 0; /* it was set aside, and belongs to the bundle */
    bench_close(&bench);
}

static void
test_sweep(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 100);
    store(&bench, YK_MODE_SET, "b", "1", 100);
    release(&bench);
    bench.now_ms += 200;
    struct answer *set = store(&bench, YK_MODE_SET, "a", "2", 0);
    pump(&bench);
    for (int i = 0; i < 10; i++) {
        yk_lane_sweep(bench.lane, bench.now_ms);
        pump(&bench);
    }
    g_assert_cmpuint(set->n_done, ==, 0);
    release(&bench);
    sweep_all(&bench);
    assert_value(&bench, "a", "2");
    g_assert_cmpint(n_records(), ==, 1);
    bench_crash(&bench, 0, false, UINT32_MAX);
    assert_value(&bench, "a", "2");
    assert_value(&bench, "b", NULL);
    bench_close(&bench);
}

/* -- Checkpoints. -- */

static void
test_checkpoint(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    store(&bench, YK_MODE_SET, "b", "1", 0);
    release(&bench);
    g_assert_cmpuint(first_needed(&bench), ==, 0);
    uint32_t n_syncs = stub.n_syncs;
    bench.journal.keeps_held = true;
    store(&bench, YK_MODE_SET, "a", "2", 0); /* under way */
    pump(&bench);
    g_assert_true(yk_lane_checkpoint(bench.lane, bench.now_ms));
    g_assert_false(yk_lane_checkpoint(bench.lane, bench.now_ms));
    reach(&bench);
    release(&bench);
    store(&bench, YK_MODE_SET, "c", "3", 0);
    bench.journal.keeps_held = false;
    release(&bench);
    g_assert_false(yk_lane_has_checkpoint(bench.lane));
    g_assert_cmpuint(first_needed(&bench), ==, 2);
    g_assert_true(yk_lane_needs_snapshots(bench.lane) ? bench.journal.n_snapshots == 1
                                                      : stub.n_syncs == n_syncs + 1);
    bench_crash(&bench, 0, true, UINT32_MAX);
    assert_value(&bench, "a", "2");
    assert_value(&bench, "b", "1");
    assert_value(&bench, "c", "3");
    bench_close(&bench);
}

static void
fail_checkpoint(struct bench *bench, enum yk_err result)
{
    bool is_snapshot = yk_lane_needs_snapshots(bench->lane);
    bench->journal.keep_result = is_snapshot ? result : YK_OK;
    stub.has_bad_pages = !is_snapshot;
    g_assert_true(yk_lane_checkpoint(bench->lane, bench->now_ms));
    release(bench);
    g_assert_false(yk_lane_has_checkpoint(bench->lane));
    g_assert_cmpuint(first_needed(bench), ==, 0);
    g_assert_cmpuint(bench->journal.n_snapshots, ==, 0);
    bench->journal.keep_result = YK_OK;
    stub.has_bad_pages = false;
    g_assert_false(yk_lane_checkpoint(bench->lane, bench->now_ms)); /* not so soon */
    bench->now_ms += 5000;
}

static void
test_checkpoint_failed(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    for (int i = 0; i < 30; i++) {
        g_autofree char *key = g_strdup_printf("a%d", i);
        store(&bench, YK_MODE_SET, key, "1", 0);
    }
    release(&bench);
    bool is_snapshot = yk_lane_needs_snapshots(bench.lane);
    if (is_snapshot || stub.mode == MODE_READERS) {
        fail_checkpoint(&bench, YK_ENOSPACE);
    }
    if (is_snapshot) {
        stub.scan_result = YK_EIO;
        g_assert_true(yk_lane_checkpoint(bench.lane, bench.now_ms));
        release(&bench);
        stub.scan_result = YK_OK;
        g_assert_cmpuint(first_needed(&bench), ==, 0);
        bench.now_ms += 5000;
    }
    g_assert_true(yk_lane_checkpoint(bench.lane, bench.now_ms));
    release(&bench);
    g_assert_cmpuint(first_needed(&bench), ==, 30);
    bench_crash(&bench, 0, true, UINT32_MAX);
    assert_value(&bench, "a7", "1");
    bench_close(&bench);
}

static void
test_sync_failed(gconstpointer setup)
{
    struct bench bench;
    open_held(&bench, setup);
    store(&bench, YK_MODE_SET, "a", "1", 0);
    release(&bench);
    stub.sync_result = YK_EIO;
    g_assert_true(yk_lane_checkpoint(bench.lane, bench.now_ms));
    release(&bench);
    g_assert_true(yk_lane_is_stopped(bench.lane));
    g_assert_cmpuint(first_needed(&bench), ==, 0);
    stub.sync_result = YK_OK;
    bench_crash(&bench, 0, true, UINT32_MAX);
    assert_value(&bench, "a", "1");
    bench_close(&bench);
}

/* -- Against a model. -- */

enum { N_KEYS = 6, N_STEPS = 120, N_LIVES = 3, N_SEEDS = 60 };

struct life {
    struct bench bench;
    struct yk_random random;
    uint32_t n_values;
};

static void
key_name(uint64_t key, char *to)
{
    to[0] = (char)('a' + key);
    to[1] = '\0';
}

static void
step_write(struct life *life)
{
    struct bench *bench = &life->bench;
    char key[2], value[16];
    key_name(yk_random_below(&life->random, N_KEYS), key);
    snprintf(value, sizeof(value), "%u", ++life->n_values);
    switch (yk_random_below(&life->random, 24)) {
    case 0:
        flush(bench, 0);
        break;
    case 1:
        flush(bench, 1 + (int64_t)yk_random_below(&life->random, 400));
        break;
    case 2:
    case 3:
    case 4:
        ask(bench, YK_OP_DELETE, key);
        break;
    case 5:
        store(bench, YK_MODE_SET, key, value, 300);
        break;
    case 6:
    case 7:
        incr(bench, key);
        break;
    case 8:
        ask(bench, YK_OP_GET, key);
        break;
    default:
        store(bench, YK_MODE_SET, key, value, 0);
        break;
    }
}

static void
step(struct life *life)
{
    struct bench *bench = &life->bench;
    struct yk_job *job = g_queue_peek_nth(
        &bench->jobs, (guint)yk_random_below(&life->random, bench->jobs.length + 1));
    switch (yk_random_below(&life->random, 16)) {
    case 0:
    case 1:
        reach(bench);
        yk_lane_run(bench->lane, bench->now_ms);
        break;
    case 2:
        (void)yk_lane_checkpoint(bench->lane, bench->now_ms);
        break;
    case 3:
        keep_piece(bench);
        yk_lane_run(bench->lane, bench->now_ms);
        break;
    case 4:
    case 5:
    case 6:
        if (job != NULL) {
            run_job(bench, job);
        }
        break;
    case 7:
        bench->now_ms += yk_random_below(&life->random, 100);
        break;
    case 8:
        if (yk_random_below(&life->random, 8) == 0) {
            bench->journal.is_held = bench->journal.keeps_held = false;
            pump(bench);
            sweep_all(bench); /* its errands must not die with the node: nobody else frees them */
            bench->journal.is_held = bench->journal.keeps_held = true;
        }
        break;
    default:
        step_write(life);
        yk_lane_run(bench->lane, bench->now_ms);
        break;
    }
}

/* What the journal says of a key: the last change, if no flush came behind it. NULL: no record. */
static const struct kept *
model_find(const struct bench *bench, const char *key)
{
    const struct kept *found = NULL;
    for (guint i = 0; i < bench->journal.entries->len; i++) {
        const struct kept *kept = bench->journal.entries->pdata[i];
        const struct yk_entry *entry = &kept->entry;
        if (entry->kind == YK_ENTRY_FLUSH && found != NULL && found->entry.slot == entry->slot) {
            found = NULL;
        } else if (yk_slice_equal(entry->key, yk_slice_of_text(key))) {
            found = entry->kind == YK_ENTRY_PUT ? kept : NULL;
        }
    }
    return found;
}

/* When the journal has a flush to come; 0: none. */
static uint64_t
model_flush_at(const struct bench *bench)
{
    uint64_t at_ms = 0;
    for (guint i = 0; i < bench->journal.entries->len; i++) {
        const struct kept *kept = bench->journal.entries->pdata[i];
        if (kept->entry.kind == YK_ENTRY_FLUSH) {
            at_ms = 0;
        } else if (kept->entry.kind == YK_ENTRY_FLUSH_AT) {
            memcpy(&at_ms, kept->entry.value.data, sizeof(at_ms));
        }
    }
    return at_ms;
}

static void
check_key(struct bench *bench, const char *key)
{
    const struct kept *kept = model_find(bench, key);
    struct yk_record record;
    g_autofree char *expected = NULL;
    if (kept != NULL) {
        enum yk_err result = yk_record_decode(kept->entry.value, stub.mode != MODE_INLINE,
                                              yk_hash(yk_slice_of_text(key)), &record);
        g_assert_cmpint(result, ==, YK_OK);
        if (record.expiry_ms == 0 || record.expiry_ms > (int64_t)bench->now_ms) {
            expected = g_strndup(record.value.data, record.value.size);
        }
    }
    assert_value(bench, key, expected);
}

/* Each answer of a write is older than the end of its entry; what was acknowledged is in the
 * journal. */
static void
check_answers(const struct bench *bench)
{
    for (guint i = 0; i < bench->answers->len; i++) {
        const struct answer *answer = bench->answers->pdata[i];
        g_assert_true(answer->is_lost || answer->n_done <= 1);
    }
    for (guint i = bench->journal.n_reached; i < bench->journal.entries->len; i++) {
        const struct kept *kept = bench->journal.entries->pdata[i];
        for (guint k = 0; k < bench->answers->len; k++) {
            const struct answer *answer = bench->answers->pdata[k];
            bool is_it = answer->n_done > 0 && answer->result == YK_OK &&
                         answer->version == kept->entry.version &&
                         answer->slot == kept->entry.slot && answer->value->len == 0;
            g_assert_false(is_it && kept->entry.kind <= YK_ENTRY_DELETE);
        }
    }
}

static void
die(struct life *life)
{
    struct bench *bench = &life->bench;
    uint32_t needed = first_needed(bench);
    uint32_t n_open = bench->journal.entries->len - bench->journal.n_reached;
    check_answers(bench);
    bench_crash(bench, (uint32_t)yk_random_below(&life->random, n_open + 1ull),
                yk_random_below(&life->random, 2) == 0,
                (uint32_t)yk_random_below(&life->random, needed + 1ull));
    uint64_t flush_at_ms = model_flush_at(bench);
    uint32_t n_entries = bench->journal.entries->len;
    bench->journal.is_held = bench->journal.keeps_held = false;
    pump(bench);
    if (flush_at_ms == 0 || flush_at_ms > bench->now_ms) {
        g_assert_cmpuint(bench->journal.entries->len, ==, n_entries);
    }
    for (uint64_t key = 0; key < N_KEYS; key++) {
        char name[2];
        key_name(key, name);
        check_key(bench, name);
    }
    bench->journal.is_held = bench->journal.keeps_held = true;
}

static void
test_model(gconstpointer setup)
{
    for (uint64_t seed = 1; seed <= N_SEEDS && !g_test_failed(); seed++) {
        struct life life = {.random = {seed}};
        open_held(&life.bench, setup);
        life.bench.journal.keeps_held = true;
        for (int i = 0; i < N_LIVES; i++) {
            uint64_t n = yk_random_below(&life.random, N_STEPS);
            for (uint64_t k = 0; k < n; k++) {
                step(&life);
            }
            die(&life);
        }
        bench_close(&life.bench);
        if (g_test_failed()) {
            g_test_message("seed %u", (unsigned)seed);
        }
    }
}

static void
add(const char *name, const int *setups, GTestDataFunc test)
{
    static const char *const names[] = {"inline", "prefix", "blocking", "readers"};
    for (; *setups >= 0; setups++) {
        g_autofree char *path =
            g_strdup_printf("/lane-journal/%s%s%s/%s", names[*setups & 15],
                            (*setups & SETUP_PLAIN) != 0 ? "-plain" : "",
                            (*setups & SETUP_SURVIVES) != 0 ? "-survives" : "", name);
        g_test_add_data_func(path, GINT_TO_POINTER(*setups), test);
    }
}

int
main(int argc, char **argv)
{
    static const int all[] = {MODE_INLINE,
                              MODE_INLINE | SETUP_PLAIN,
                              MODE_PREFIX,
                              MODE_PREFIX | SETUP_SURVIVES,
                              MODE_PREFIX | SETUP_PLAIN | SETUP_SURVIVES,
                              MODE_BLOCKING,
                              MODE_BLOCKING | SETUP_PLAIN,
                              MODE_BLOCKING | SETUP_SURVIVES,
                              MODE_READERS,
                              MODE_READERS | SETUP_SURVIVES,
                              MODE_READERS | SETUP_PLAIN,
                              MODE_READERS | SETUP_PLAIN | SETUP_SURVIVES,
                              -1};
    static const int admits[] = {MODE_INLINE, MODE_PREFIX, MODE_BLOCKING | SETUP_SURVIVES,
                                 MODE_READERS, -1};
    static const int atomic[] = {MODE_READERS, MODE_READERS | SETUP_PLAIN | SETUP_SURVIVES, -1};
    static const int survives[] = {MODE_PREFIX | SETUP_SURVIVES, MODE_BLOCKING | SETUP_SURVIVES,
                                   MODE_READERS | SETUP_SURVIVES, -1};
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    add("answered-at-mark", all, test_answered_at_mark);
    add("chain", all, test_chain);
    add("verdict", all, test_verdict);
    add("no-journal-room", all, test_no_journal_room);
    add("due-without-room", all, test_due_without_room);
    add("order-of-versions", admits, test_order_of_versions);
    add("stuck", atomic, test_stuck);
    add("stuck-checkpoint", atomic, test_stuck_checkpoint);
    add("stopped", all, test_stopped);
    add("stopped-in-checkpoint", all, test_stopped_in_checkpoint);
    add("flush-waits", all, test_flush_waits);
    add("flush-later", all, test_flush_later);
    add("flush-once", all, test_flush_once);
    add("no-slot", all, test_no_slot);
    add("sweep", all, test_sweep);
    add("checkpoint", all, test_checkpoint);
    add("checkpoint-failed", all, test_checkpoint_failed);
    add("sync-failed", survives, test_sync_failed);
    add("model", all, test_model);
    return g_test_run();
}
