/* See bench.h. */
#include <config.h>

#include "tools/kit/bench.h"

struct kit_bench *
kit_bench_new(struct kit *kit, const char *purpose, uint64_t round)
{
    struct kit_bench *bench = g_new0(struct kit_bench, 1);
    bench->kit = kit;
    bench->random = (struct yk_random){kit_seed(kit, purpose, round)};
    bench->folder = kit_make_folder(kit, purpose);
    bench->place = (struct kit_place){.folder = bench->folder, .durability = YK_DURABILITY_OS};
    kit_host_init(&bench->host, kit, kit_seed(kit, "host", round));
    kit_engine_init(&bench->engine, kit, &bench->host);
    return bench;
}

void
kit_bench_free(struct kit_bench *bench)
{
    if (bench->engine.is_made) {
        kit_engine_close(&bench->engine);
    }
    if (bench->model.items != NULL) {
        kit_model_done(&bench->model);
    }
    kit_host_done(&bench->host);
    kit_remove(bench->folder);
    g_free(bench->folder);
    g_free(bench);
}

struct yk_backend_info
kit_bench_info(struct kit *kit)
{
    struct kit_bench *bench = kit_bench_new(kit, "info", 0);
    char error[YK_ERROR_SIZE];
    if (kit_engine_make(&bench->engine, error) != YK_OK) {
        kit_broken(kit, KIT_START, "no instance can be made: %s", error);
    }
    struct yk_backend_info info = bench->engine.info;
    kit_bench_free(bench);
    return info;
}

void
kit_bench_model(struct kit_bench *bench, uint32_t n_items)
{
    struct yk_backend_info info = kit_bench_info(bench->kit);
    uint32_t prefix = (info.caps & YK_BACKEND_SEGMENTS) != 0 ? 0 : 4;
    kit_model_init(&bench->model, bench->kit, &bench->random, n_items,
                   MIN(info.key_size_max - prefix, (uint32_t)YK_KEY_SIZE_MAX), info.value_size_max);
}

void
kit_bench_open(struct kit_bench *bench, uint32_t n_items)
{
    kit_engine_must_open(&bench->engine, &bench->place);
    if (bench->model.items == NULL) {
        kit_model_init(&bench->model, bench->kit, &bench->random, n_items,
                       bench->engine.key_size_max, bench->engine.info.value_size_max);
    }
    if (bench->kit->plugin->kind != YK_KIND_BACKEND) {
        bench->model.may_fail = true; /* a filter may refuse by its purpose; wrong it may not be */
    }
    bench->model.has_stopped = false;
}

void
kit_bench_close(struct kit_bench *bench)
{
    kit_engine_close(&bench->engine);
}

void
kit_bench_fill(struct kit_bench *bench, uint32_t n)
{
    struct kit_batch batch;
    for (uint32_t i = 0; i < n; i++) {
        kit_model_go_on(&bench->model, &bench->engine);
        kit_batch_make(&bench->model, &bench->random,
                       1 + (uint32_t)yk_random_below(&bench->random, KIT_BATCH_MAX / 2), &batch);
        kit_batch_apply(&bench->model, &bench->engine, &batch);
    }
}

void
kit_bench_check(struct kit_bench *bench)
{
    const struct kit_disturbance none = {.bytes_max = YK_SCAN_BYTES_MAX};
    kit_model_read_all(&bench->model, &bench->engine);
    kit_model_scan(&bench->model, &bench->engine, &bench->random, &none);
}
