/* The kit for store filters, over the kit's own engine: what goes in comes out, whatever the filter
 * makes of it on the way; its own refusals are allowed, as long as they leave what they say. */
#include <config.h>

#include "tools/kit/backend.h"

enum { N_ITEMS = 100, N_KEYS = 16 };

static void
tell_change(struct kit *kit, const char *name, bool is_below, bool is_above)
{
    kit_declares(kit, name, is_above ? "yes" : "no");
    if (is_above != is_below) {
        kit_shows(kit, name, KIT_UNSHOWN, is_above ? "added by the filter" : "taken away by it");
    }
}

/* What the engine below says, and what the filter makes of it. */
static void
run_life(struct kit *kit)
{
    struct yk_backend_info below = {.struct_size = sizeof(below)};
    struct yk_backend_info info = kit_bench_info(kit);
    const struct yk_backend_ops *ops = kit_model_engine.ops;
    ops->info(NULL, &below);
    tell_change(kit, "blocks", (below.caps & YK_BACKEND_BLOCKS) != 0,
                (info.caps & YK_BACKEND_BLOCKS) != 0);
    tell_change(kit, "ordered", (below.caps & YK_BACKEND_ORDERED) != 0,
                (info.caps & YK_BACKEND_ORDERED) != 0);
    tell_change(kit, "atomic batch", (below.caps & YK_BACKEND_ATOMIC_BATCH) != 0,
                (info.caps & YK_BACKEND_ATOMIC_BATCH) != 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct kit_bench *bench = kit_bench_new(kit, "life", i);
        kit_bench_open(bench, N_ITEMS);
        kit_bench_check(bench);
        kit_bench_free(bench);
    }
}

static void
run_async(struct kit *kit)
{
    kit->is_async_below = true;
    kit_run_map(kit);
}

/* -- Errors from below. -- */

struct seen {
    uint32_t n_values; /* answered as if nothing had happened */
    enum yk_err first;
};

static void
see(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct seen *seen = arg;
    seen->n_values += result == YK_OK || result == YK_ENOTFOUND;
}

static bool
see_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    return true;
}

/* A filter that never asked below has nothing to pass on, and one that asks again may succeed. */
static void
check_passed(struct kit_bench *bench, int kind, uint64_t n_before, bool is_error, const char *name,
             enum yk_err result)
{
    uint64_t n = kit_model_engine_calls(bench->engine.self, kind) - n_before;
    kit_model_engine_fail(bench->engine.self, kind, YK_OK);
    if (n == 1 && !is_error) {
        kit_broken(bench->kit, KIT_FILTER_ERROR, "%s below failed with '%s', above it is good",
                   name, yk_err_text(result));
    }
}

static void
fail_get(struct kit_bench *bench, enum yk_err result)
{
    const struct kit_key *keys[N_KEYS];
    struct seen seen = {.n_values = 0};
    void *below = bench->engine.self;
    uint64_t n_before = kit_model_engine_calls(below, KIT_CALL_GET);
    for (uint32_t i = 0; i < N_KEYS; i++) {
        keys[i] = &bench->model.items[i].key;
    }
    kit_model_engine_fail(below, KIT_CALL_GET, result);
    enum yk_err above = kit_engine_get(&bench->engine, keys, N_KEYS, see, &seen);
    check_passed(bench, KIT_CALL_GET, n_before, above != YK_OK || seen.n_values < N_KEYS, "get",
                 result);
    if (seen.n_values > 0 && kit_model_engine_calls(below, KIT_CALL_GET) == n_before + 1) {
        kit_broken(bench->kit, KIT_FILTER_ERROR,
                   "get below failed with '%s', and %u keys have an answer above",
                   yk_err_text(result), seen.n_values);
    }
}

static void
fail_change(struct kit_bench *bench, int kind, enum yk_err result)
{
    struct kit_batch batch;
    struct kit_model *model = &bench->model;
    uint64_t n_before = kit_model_engine_calls(bench->engine.self, kind);
    uint64_t n_refusals = model->n_refusals;
    kit_batch_make(model, &bench->random, kind == KIT_CALL_APPLY ? 4 : 1, &batch);
    kit_model_engine_fail(bench->engine.self, kind, result);
    enum yk_err above = kit_batch_apply(model, &bench->engine, &batch);
    check_passed(bench, kind, n_before, above != YK_OK || model->n_refusals > n_refusals,
                 kind == KIT_CALL_APPLY ? "apply" : "admit", result);
}

static void
fail_scan(struct kit_bench *bench, enum yk_err result)
{
    struct kit_scan scan;
    uint64_t n_before = kit_model_engine_calls(bench->engine.self, KIT_CALL_SCAN);
    kit_scan_init(&scan, &bench->engine);
    kit_model_engine_fail(bench->engine.self, KIT_CALL_SCAN, result);
    enum yk_err above = kit_engine_scan(&bench->engine, &scan, see_record, NULL);
    check_passed(bench, KIT_CALL_SCAN, n_before, above != YK_OK, "scan", result);
    kit_scan_done(&scan, &bench->engine);
}

static void
run_errors(struct kit *kit)
{
    static const enum yk_err refusals[] = {YK_ENOMEM, YK_ENOSPACE, YK_ETOOLARGE};
    static const enum yk_err failures[] = {YK_EIO, YK_ECORRUPT, YK_ENOMEM, YK_EUNKNOWN};
    for (uint32_t round = 0; round < kit->rounds; round++) {
        kit->is_async_below = round % 2 != 0;
        struct kit_bench *bench = kit_bench_new(kit, "errors", round);
        kit_bench_open(bench, N_ITEMS);
        kit_bench_fill(bench, 20);
        for (size_t i = 0; i < G_N_ELEMENTS(failures); i++) {
            kit_model_go_on(&bench->model, &bench->engine);
            fail_get(bench, failures[i]);
            fail_scan(bench, failures[i]);
            fail_change(bench, KIT_CALL_APPLY, failures[i]);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
            kit_model_go_on(&bench->model, &bench->engine);
            fail_change(bench, KIT_N_CALLS, refusals[i]);
            fail_change(bench, KIT_CALL_APPLY, refusals[i]);
        }
        kit_bench_check(bench);
        kit_bench_free(bench);
    }
}

static void
run_stats(struct kit *kit)
{
    struct kit_bench *bench = kit_bench_new(kit, "stats", 0);
    kit_bench_open(bench, N_ITEMS);
    for (int i = 0; i < 3; i++) {
        kit_doing("stats");
        if (bench->engine.filter_ops->stats != NULL) {
            bench->engine.filter_ops->stats(bench->engine.filter_self, kit_take_figure, kit);
        }
        kit_bench_fill(bench, 10);
        kit_bench_check(bench);
    }
    kit_bench_free(bench);
}

const struct kit_part kit_filter_parts[] = {
    {"life", run_life},
    {"map", kit_run_map},
    {"async", run_async},
    {"scan", kit_run_scan},
    {"errors", run_errors},
    {"stats", run_stats},
    {"threads", kit_run_threads},
    {"place", kit_run_place},
    {"no-memory", kit_run_no_memory},
    {NULL, NULL},
};
