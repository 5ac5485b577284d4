/* The n-th allocation fails, for every n until none does: once alone, and once with all that follow
 * it for a while. */
#include <config.h>

#include "tools/kit/backend.h"

enum {
    N_ITEMS = 40,
    EVERY_UP_TO = 400, /* from here on not every n, but more and more of them are left out */
    NTH_MAX = 100000,
    N_BATCHES = 8
};

/* False: a change failed so that the core would ask for none any more. */
static bool
use(struct kit_bench *bench)
{
    const struct kit_disturbance calm = {.bytes_max = 1000};
    for (int i = 0; i < N_BATCHES; i++) {
        struct kit_batch batch;
        kit_batch_make(&bench->model, &bench->random, 8, &batch);
        (void)kit_batch_apply(&bench->model, &bench->engine, &batch);
        if (bench->model.has_stopped) {
            kit_model_read(&bench->model, &bench->engine, &bench->random, 8);
            return false;
        }
        kit_model_read(&bench->model, &bench->engine, &bench->random, 16);
    }
    kit_model_scan(&bench->model, &bench->engine, &bench->random, &calm);
    return true;
}

/* False: no allocation failed any more. */
static bool
fail_nth(struct kit *kit, uint64_t nth, uint64_t n_more)
{
    struct kit_bench *bench = kit_bench_new(kit, "no-memory", nth);
    char error[YK_ERROR_SIZE] = "";
    kit_bench_model(bench, N_ITEMS);
    bench->model.value_size_max = MIN(bench->model.value_size_max, 500);
    bench->model.may_fail = true;
    bench->model.rule = KIT_NO_MEMORY;
    kit_host_fail(&bench->host, nth, n_more);
    enum yk_err result = kit_engine_open(&bench->engine, &bench->place, error);
    if (result != YK_OK && bench->host.n_failed == 0) {
        kit_broken(kit, KIT_START, "does not open: %s", error);
    }
    if (result == YK_OK) {
        bool goes_on = use(bench);
        bool has_failed = bench->host.n_failed > 0;
        kit_host_fail(&bench->host, 0, 0);
        if (goes_on) {
            bench->model.may_fail = kit->plugin->kind != YK_KIND_BACKEND;
            kit_bench_fill(bench, 3);
            kit_bench_check(bench);
        }
        kit_bench_close(bench);
        kit_bench_free(bench);
        return has_failed;
    }
    kit_bench_free(bench);
    return true;
}

void
kit_run_no_memory(struct kit *kit)
{
    uint64_t n_tried = 0;
    for (uint64_t more = 0; more <= 10; more += 10) {
        for (uint64_t nth = 1; nth < NTH_MAX; nth += nth < EVERY_UP_TO ? 1 : nth / 10) {
            n_tried++;
            if (!fail_nth(kit, nth, more)) {
                break;
            }
            kit_progress(kit, nth, EVERY_UP_TO);
        }
    }
    kit_declares(kit, "no memory", "");
    kit_shows(kit, "no memory", KIT_SHOWN, "%llu runs, each with an allocation that failed",
              (unsigned long long)n_tried - 2);
}
