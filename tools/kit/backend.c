/* The kit for engines: the parts in which nothing goes wrong. What goes wrong is in crash.c,
 * damage.c and no_memory.c. */
#include <config.h>

#include <pthread.h>

#include "tools/kit/backend.h"

#include <stdio.h>
#include <string.h>

#include "core/base/hash.h"

enum {
    N_ITEMS = 300,
    SLOW_US = 50000,             /* a median above this is told, unless BLOCKS is declared */
    VALUE_TESTED_MAX = 16 << 20, /* larger ones are not written */
    BUDGET_SIZE = 8 << 20,
    BUDGET_VALUE_SIZE = 20000,
    N_READERS = 2,
    FIGURE_NAME_SIZE_MAX = 47
};

static const struct {
    const char *name;
    uint32_t cap;
} caps[] = {
    {"ordered", YK_BACKEND_ORDERED},
    {"exact count", YK_BACKEND_EXACT_COUNT},
    {"atomic batch", YK_BACKEND_ATOMIC_BATCH},
    {"survives kill", YK_BACKEND_SURVIVES_KILL},
    {"survives power", YK_BACKEND_SURVIVES_POWER},
    {"blocks", YK_BACKEND_BLOCKS},
    {"async", YK_BACKEND_ASYNC},
    {"segments", YK_BACKEND_SEGMENTS},
    {"evicts", YK_BACKEND_EVICTS},
    {"sync beside", YK_BACKEND_SYNC_BESIDE},
    {"volatile", YK_BACKEND_VOLATILE},
};

/* -- What it says of itself, and an instance that only comes and goes. -- */

static void
tell_info(struct kit *kit, const struct yk_backend_info *info)
{
    static const char *const threads[] = {"serial", "readers", "parallel"};
    char text[64];
    for (size_t i = 0; i < G_N_ELEMENTS(caps); i++) {
        kit_declares(kit, caps[i].name, (info->caps & caps[i].cap) != 0 ? "yes" : "no");
    }
    kit_declares(kit, "threads", threads[MIN(info->threads, YK_THREADS_PARALLEL)]);
    snprintf(text, sizeof(text), "%u", info->key_size_max);
    kit_declares(kit, "key_size_max", text);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)info->value_size_max);
    kit_declares(kit, "value_size_max", text);
}

static void
run_life(struct kit *kit)
{
    struct yk_backend_info info = kit_bench_info(kit);
    tell_info(kit, &info);
    for (uint32_t i = 0; i < 3; i++) {
        struct kit_bench *bench = kit_bench_new(kit, "life", i);
        kit_bench_open(bench, N_ITEMS);
        kit_bench_check(bench); /* of nothing */
        kit_bench_free(bench);
    }
    kit_shows(kit, "survives power", KIT_UNSHOWN, "needs a machine that loses power");
    if ((info.caps & YK_BACKEND_VOLATILE) != 0) {
        kit_shows(kit, "survives kill", KIT_LACKS, "it is volatile");
    }
}

/* -- Random calls against the model. -- */

static void
check_count(struct kit_bench *bench)
{
    uint64_t counted = 0, n = kit_model_count(&bench->model);
    const struct yk_backend_ops *ops = bench->engine.ops;
    bool is_exact = kit_engine_has(&bench->engine, YK_BACKEND_EXACT_COUNT);
    enum yk_err result =
        ops->count != NULL ? ops->count(bench->engine.self, &counted) : YK_EUNSUPPORTED;
    if (is_exact && (result != YK_OK || counted != n)) {
        kit_broken(bench->kit, KIT_COUNT, "says %llu (%s), there are %llu",
                   (unsigned long long)counted, yk_err_text(result), (unsigned long long)n);
    }
    if (result == YK_OK && counted == n) {
        kit_shows(bench->kit, "exact count", is_exact ? KIT_SHOWN : KIT_HELD,
                  "as the model, each time it was asked");
    } else if (!is_exact) {
        kit_shows(bench->kit, "exact count", KIT_LACKS, "%s",
                  result == YK_OK ? "it was another number" : yk_err_text(result));
    }
}

static void
must_succeed(struct kit_bench *bench, enum yk_err (*call)(void *), const char *name)
{
    enum yk_err result = call != NULL ? call(bench->engine.self) : YK_OK;
    if (result != YK_OK) {
        kit_broken(bench->kit, KIT_SYNC, "%s fails: %s", name, yk_err_text(result));
    }
}

static void
tell_times(struct kit_bench *bench)
{
    static const char *const names[] = {"get", "apply", "scan"};
    bool is_declared = kit_engine_has(&bench->engine, YK_BACKEND_BLOCKS);
    uint64_t us[KIT_N_CALLS];
    for (int kind = 0; kind < KIT_N_CALLS; kind++) {
        us[kind] = kit_engine_median_us(&bench->engine, (enum kit_call_kind)kind);
        if (us[kind] > SLOW_US && !is_declared) {
            kit_remark(bench->kit, "%s took %llu ms at the median, and BLOCKS is not declared",
                       names[kind], (unsigned long long)us[kind] / 1000);
        }
    }
    kit_shows(bench->kit, "blocks", is_declared ? KIT_UNSHOWN : KIT_LACKS,
              "at the median get took %llu us, apply %llu us, a step of scan %llu us",
              (unsigned long long)us[KIT_CALL_GET], (unsigned long long)us[KIT_CALL_APPLY],
              (unsigned long long)us[KIT_CALL_SCAN]);
}

static void
tell_async(struct kit_bench *bench)
{
    uint64_t n = bench->engine.n_pending;
    if (kit_engine_has(&bench->engine, YK_BACKEND_ASYNC)) {
        kit_shows(bench->kit, "async", n > 0 ? KIT_SHOWN : KIT_UNSHOWN,
                  n > 0 ? "calls were pending, and each was completed once"
                        : "no call was pending");
    }
}

/* What came of all rounds. */
struct sums {
    uint64_t n_calls, n_errors, n_refusals;
};

static void
add_sums(struct sums *sums, const struct kit_model *model)
{
    sums->n_calls += model->n_reads + model->n_changes + model->n_refusals;
    sums->n_errors += model->n_errors;
    sums->n_refusals += model->n_refusals;
}

static void
tell_sums(struct kit *kit, const struct sums *sums)
{
    if (sums->n_errors + sums->n_refusals > 0) {
        kit_remark(kit, "of %llu reads and changes %llu ended in errors, %llu were refused",
                   (unsigned long long)sums->n_calls, (unsigned long long)sums->n_errors,
                   (unsigned long long)sums->n_refusals);
    }
}

void
kit_run_map(struct kit *kit)
{
    static const uint32_t durabilities[] = {YK_DURABILITY_OS, YK_DURABILITY_MEMORY,
                                            YK_DURABILITY_DISK};
    struct sums sums = {0, 0, 0};
    for (uint32_t round = 0; round < kit->rounds; round++) {
        struct kit_bench *bench = kit_bench_new(kit, "map", round);
        bench->place.durability = durabilities[round % G_N_ELEMENTS(durabilities)];
        kit_bench_open(bench, 20 + (uint32_t)yk_random_below(&bench->random, N_ITEMS));
        for (uint32_t done = 0; done < kit->ops; done += 100) {
            kit_model_exercise(&bench->model, &bench->engine, &bench->random,
                               MIN(kit->ops - done, 100));
            check_count(bench);
            if (bench->place.durability == YK_DURABILITY_DISK) {
                must_succeed(bench, bench->engine.ops->sync, "sync");
            }
            kit_progress(kit, (uint64_t)round * kit->ops + done, (uint64_t)kit->rounds * kit->ops);
        }
        kit_bench_check(bench);
        tell_times(bench);
        tell_async(bench);
        add_sums(&sums, &bench->model);
        kit_bench_free(bench);
    }
    tell_sums(kit, &sums);
}

/* -- Scans. -- */

void
kit_run_scan(struct kit *kit)
{
    bool is_ordered = false;
    for (uint32_t round = 0; round < kit->rounds; round++) {
        struct kit_bench *bench = kit_bench_new(kit, "scan", round);
        kit_bench_open(bench, 20 + (uint32_t)yk_random_below(&bench->random, 2 * N_ITEMS));
        bench->model.value_size_max = MIN(bench->model.value_size_max, 3000);
        kit_bench_fill(bench, 40);
        uint64_t slots[1] = {yk_random_next(&bench->random)};
        const struct kit_disturbance hows[] = {
            {.bytes_max = 1},
            {.stops_in = 3},
            {.bytes_max = 1, .changes_max = 3, .drops_last = true},
            {.stops_in = 5, .changes_max = 20, .drops_last = true},
            {.has_other = true, .bytes_max = 300},
            {.has_other = true, .stops_in = 7, .changes_max = 4, .drops_last = true},
            {.slots = slots},
            {.slots = slots, .changes_max = 5, .drops_last = true, .bytes_max = 500},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(hows); i++) {
            kit_model_scan(&bench->model, &bench->engine, &bench->random, &hows[i]);
            kit_bench_fill(bench, 5);
            kit_progress(kit, round, kit->rounds);
        }
        is_ordered = kit_engine_has(&bench->engine, YK_BACKEND_ORDERED);
        kit_bench_free(bench);
    }
    kit_shows(kit, "ordered", is_ordered ? KIT_SHOWN : KIT_LACKS,
              is_ordered ? "every scan went in byte order" : "scans are not held to an order");
}

/* -- Slots and generations. -- */

/* Are the records of that slot there whose generation is `kept`, and not the others? */
static void
settle_wipe(struct kit_model *model, uint16_t slot, uint16_t kept)
{
    for (uint32_t i = 0; i < model->n_items; i++) {
        struct kit_item *item = &model->items[i];
        if (item->key.slot == slot && item->key.generation != kept) {
            item->n_states = 1;
            item->states[0] = (struct kit_value){0, 0};
        }
    }
}

/* The first half of the items get the keys of the second half, in another generation or slot that
 * no other item has. */
static void
make_twins(struct kit_model *model, uint32_t n)
{
    g_hash_table_remove_all(model->by_key);
    for (uint32_t i = n; i < model->n_items; i++) {
        g_hash_table_insert(model->by_key, &model->items[i].key, &model->items[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct kit_key *key = &model->items[i].key;
        if (i + n < model->n_items) {
            const struct kit_key *other = &model->items[i + n].key;
            uint8_t *bytes = g_memdup2(other->bytes, other->size);
            g_free((void *)key->bytes);
            *key = *other;
            key->bytes = bytes;
            key->generation = (uint16_t)(other->generation + 1 + i % 2);
            key->slot = i % 3 == 0 && other->slot != KIT_SLOT_OF_CORE
                            ? (uint16_t)((other->slot + 1) % KIT_SLOTS)
                            : other->slot;
        }
        while (g_hash_table_contains(model->by_key, key)) {
            key->generation++;
        }
        g_hash_table_insert(model->by_key, key, &model->items[i]);
    }
}

static void
check_slot_counts(struct kit_bench *bench)
{
    const struct yk_backend_ops *ops = bench->engine.ops;
    uint64_t counted = 0;
    for (uint16_t slot = 0; slot < KIT_SLOTS && ops->count_slot != NULL; slot++) {
        uint64_t n = 0;
        for (uint32_t i = 0; i < bench->model.n_items; i++) {
            const struct kit_item *item = &bench->model.items[i];
            n += item->key.slot == slot && kit_item_is_there(item);
        }
        enum yk_err result = ops->count_slot(bench->engine.self, slot, &counted);
        if (result == YK_OK && counted != n) {
            kit_broken(bench->kit, KIT_COUNT_SLOT, "says %llu of slot %u, there are %llu",
                       (unsigned long long)counted, slot, (unsigned long long)n);
        }
    }
}

static void
wipe(struct kit_bench *bench)
{
    const struct yk_backend_ops *ops = bench->engine.ops;
    const struct kit_key *key =
        &bench->model.items[yk_random_below(&bench->random, bench->model.n_items)].key;
    enum yk_err result = ops->wipe_slot != NULL
                             ? ops->wipe_slot(bench->engine.self, key->slot, key->generation)
                             : YK_EUNSUPPORTED;
    bool is_required = kit_engine_has(&bench->engine, YK_BACKEND_SEGMENTS);
    if (result != YK_OK && (is_required || result != YK_EUNSUPPORTED)) {
        kit_broken(bench->kit, KIT_WIPE, "fails: %s", yk_err_text(result));
    }
    if (result == YK_OK) {
        settle_wipe(&bench->model, key->slot, key->generation);
    }
    kit_shows(bench->kit, "segments", is_required ? KIT_SHOWN : KIT_LACKS,
              is_required ? "slots and generations are apart, and are wiped alone"
                          : "keys come with slot and generation in front");
}

static void
run_slots(struct kit *kit)
{
    for (uint32_t round = 0; round < kit->rounds; round++) {
        struct kit_bench *bench = kit_bench_new(kit, "slots", round);
        kit_bench_open(bench, N_ITEMS);
        bench->model.value_size_max = MIN(bench->model.value_size_max, 200);
        make_twins(&bench->model, N_ITEMS / 2);
        for (int i = 0; i < 5; i++) {
            bench->model.rule = KIT_GENERATIONS;
            kit_bench_fill(bench, 20);
            kit_bench_check(bench);
            check_slot_counts(bench);
            wipe(bench);
            bench->model.rule = KIT_WIPE;
            kit_bench_check(bench);
            check_slot_counts(bench);
            check_count(bench);
        }
        kit_progress(kit, round, kit->rounds);
        kit_bench_free(bench);
    }
}

/* -- Sizes. -- */

/* Puts one record of these sizes, reads, scans and deletes it. */
static void
try_sizes(struct kit_bench *bench, uint32_t key_size, uint32_t value_size, enum kit_rule rule)
{
    g_autofree uint8_t *bytes = g_malloc(key_size), *value = g_malloc(value_size + 1);
    memset(bytes, 'k', key_size);
    struct kit_key key = {
        .bytes = bytes, .size = key_size, .slot = 1, .hash = yk_hash(yk_slice_of(bytes, key_size))};
    struct kit_value made = {.id = 1, .size = value_size};
    struct kit_item item = {.key = key, .n_states = 1, .states = {made}};
    kit_value_fill(&made, &key, value);
    struct kit_change change = {
        .key = &key, .kind = YK_CHANGE_PUT, .value = yk_slice_of(value, value_size)};
    enum yk_err result = kit_engine_admit(&bench->engine, &change);
    result = result == YK_OK ? kit_engine_apply(&bench->engine, &change, 1) : result;
    if (result != YK_OK) {
        kit_broken(bench->kit, rule, "a key of %u with a value of %u bytes is refused: %s",
                   key_size, value_size, yk_err_text(result));
    }
    struct kit_model model = {.kit = bench->kit, .items = &item, .n_items = 1};
    model.by_key = bench->model.by_key;
    g_hash_table_insert(model.by_key, &item.key, &item);
    const struct kit_disturbance none = {.bytes_max = 1};
    kit_model_read_all(&model, &bench->engine);
    kit_model_scan(&model, &bench->engine, &bench->random, &none);
    struct kit_batch batch = {.n = 1, .items = {&item}};
    kit_batch_apply(&model, &bench->engine, &batch);
    kit_model_read_all(&model, &bench->engine);
    g_hash_table_remove(model.by_key, &item.key);
    kit_progress(bench->kit, 0, 1);
}

static void
run_sizes(struct kit *kit)
{
    struct kit_bench *bench = kit_bench_new(kit, "sizes", 0);
    kit_bench_open(bench, 1);
    uint32_t key_max = bench->engine.key_size_max;
    uint64_t declared = bench->engine.info.value_size_max;
    uint32_t value_max = (uint32_t)MIN(declared, (uint64_t)VALUE_TESTED_MAX);
    const uint32_t key_sizes[] = {1, 2, MIN(key_max, 255), MIN(key_max, 256), key_max - 1, key_max};
    for (size_t i = 0; i < G_N_ELEMENTS(key_sizes); i++) {
        try_sizes(bench, MAX(key_sizes[i], 1), 0, KIT_KEY_SIZE);
        try_sizes(bench, MAX(key_sizes[i], 1), 100, KIT_KEY_SIZE);
    }
    for (uint32_t size = 1; size < value_max / 2; size *= 2) {
        try_sizes(bench, 10, size - 1, KIT_VALUE_SIZE);
        try_sizes(bench, MIN(key_max, 33), size + 1, KIT_VALUE_SIZE);
    }
    try_sizes(bench, 1, value_max, KIT_VALUE_SIZE);
    try_sizes(bench, key_max, value_max, KIT_VALUE_SIZE);
    kit_shows(kit, "key_size_max", KIT_SHOWN, "keys of up to %u bytes beyond slot and generation",
              key_max);
    kit_shows(kit, "value_size_max", value_max == declared ? KIT_SHOWN : KIT_UNSHOWN,
              value_max == declared ? "values of up to %u bytes" : "only up to %u bytes were tried",
              value_max);
    kit_bench_free(bench);
}

/* -- Memory that is bounded. -- */

/* Puts new records until one is refused; false: none was. */
static bool
fill_budget(struct kit_bench *bench)
{
    struct kit_model *model = &bench->model;
    for (uint32_t i = 0; i < model->n_items; i++) {
        struct kit_batch batch = {
            .n = 1, .items = {&model->items[i]}, .values = {{model->next_id++, BUDGET_VALUE_SIZE}}};
        uint64_t n_before = model->n_refusals + model->n_errors;
        kit_batch_apply(model, &bench->engine, &batch);
        if (model->n_refusals + model->n_errors > n_before) {
            return true;
        }
        kit_progress(bench->kit, i, model->n_items);
    }
    return false;
}

static void
empty_all(struct kit_bench *bench)
{
    for (uint32_t i = 0; i < bench->model.n_items; i++) {
        struct kit_batch batch = {.n = 1, .items = {&bench->model.items[i]}};
        kit_batch_apply(&bench->model, &bench->engine, &batch);
    }
}

/* Changes that were admitted up to the first refusal can be applied, all of them. */
static void
apply_admitted(struct kit_bench *bench)
{
    struct kit_batch batch = {.n = KIT_BATCH_MAX};
    for (uint32_t i = 0; i < KIT_BATCH_MAX; i++) {
        batch.items[i] = &bench->model.items[i];
        batch.values[i] = (struct kit_value){bench->model.next_id++, 8 * BUDGET_VALUE_SIZE};
    }
    kit_batch_admit(&bench->model, &bench->engine, &batch);
    enum yk_err result = kit_batch_apply_admitted(&bench->model, &bench->engine, &batch);
    if (result != YK_OK && bench->engine.budget.taken_max > 0) {
        kit_broken(bench->kit, KIT_APPLY, "%u changes were admitted and are then refused: %s",
                   batch.n, yk_err_text(result));
    }
}

static void
run_budget(struct kit *kit)
{
    struct kit_bench *bench = kit_bench_new(kit, "budget", 0);
    bench->place.memory_max = BUDGET_SIZE;
    kit_bench_open(bench, BUDGET_SIZE / BUDGET_VALUE_SIZE * 2);
    bench->model.may_fail = true;
    bool is_full = fill_budget(bench);
    uint64_t n_before = bench->model.n_errors;
    kit_bench_check(bench);
    if (bench->model.n_errors > n_before) {
        kit_broken(kit, KIT_BUDGET_FULL, "when memory is used up, reads fail");
    }
    kit_declares(kit, "memory budget", bench->engine.budget.taken_max > 0 ? "used" : "not used");
    if (bench->engine.budget.taken_max > 0 && !is_full) {
        kit_broken(kit, KIT_BUDGET_FULL, "twice as much as memory_max was stored without refusal");
    }
    if (is_full) {
        apply_admitted(bench);
        empty_all(bench);
        bench->model.may_fail = false; /* there is room again */
        struct kit_batch batch = {.n = 1,
                                  .items = {&bench->model.items[0]},
                                  .values = {{bench->model.next_id++, BUDGET_VALUE_SIZE}}};
        kit_batch_apply(&bench->model, &bench->engine, &batch);
        kit_bench_check(bench);
        kit_shows(kit, "memory budget", KIT_SHOWN, "refuses when it is used up, and serves on");
    }
    kit_bench_free(bench);
}

static void
run_evicts(struct kit *kit)
{
    struct kit_bench *bench = kit_bench_new(kit, "evicts", 0);
    struct yk_backend_info info = kit_bench_info(kit);
    if ((info.caps & YK_BACKEND_EVICTS) != 0) {
        bench->place.memory_max = BUDGET_SIZE;
        bench->place.may_evict = true;
        kit_bench_open(bench, BUDGET_SIZE / BUDGET_VALUE_SIZE * 2);
        bench->model.may_fail = bench->model.may_vanish = true;
        for (int i = 0; i < 3; i++) {
            if (fill_budget(bench)) {
                kit_broken(kit, KIT_EVICTS, "a record is refused in a bucket that evicts");
            }
            kit_bench_check(bench);
        }
        kit_shows(kit, "evicts", KIT_SHOWN, "found room for six times its memory");
    } else {
        kit_shows(kit, "evicts", KIT_LACKS, "nothing vanished in any part");
    }
    kit_bench_free(bench);
}

/* -- What is optional. -- */

void
kit_take_figure(void *arg, const char *name, uint64_t number)
{
    struct kit *kit = arg;
    if (name == NULL || name[0] == '\0' || strlen(name) > FIGURE_NAME_SIZE_MAX) {
        kit_broken(kit, KIT_STATS, "a figure has %s name",
                   name == NULL || name[0] == '\0' ? "no" : "too long a");
    }
}

static void
check_hint(struct kit_bench *bench)
{
    const struct yk_backend_ops *ops = bench->engine.ops;
    struct kit_model *model = &bench->model;
    uint64_t now_ms = (uint64_t)g_get_real_time() / 1000;
    g_autofree uint8_t *room = g_malloc(bench->engine.info.key_size_max);
    const char *known = "knows nothing of reads";
    for (uint32_t i = 0; i < model->n_items && ops->hint != NULL; i++) {
        struct yk_hint hint = {.struct_size = sizeof(hint)};
        struct yk_key key = kit_engine_key(&bench->engine, &model->items[i].key, room);
        enum yk_err result = ops->hint(bench->engine.self, &key, &hint);
        if (result == YK_OK && kit_item_is_absent(&model->items[i])) {
            kit_broken(bench->kit, KIT_HINT, "there is one of a record that is not there");
        }
        if (result == YK_OK && hint.last_access_ms > now_ms + 1000) {
            kit_broken(bench->kit, KIT_HINT, "last_access_ms lies %llu ms ahead",
                       (unsigned long long)(hint.last_access_ms - now_ms));
        }
        known = result == YK_OK ? "knows of reads" : known;
    }
    kit_declares(bench->kit, "hint", ops->hint != NULL ? "yes" : "no");
    kit_shows(bench->kit, "hint", ops->hint != NULL ? KIT_SHOWN : KIT_LACKS, "%s", known);
}

/* Takes one, changes what was copied, and opens the copy: it must be as it was. */
static void
check_snapshot(struct kit_bench *bench)
{
    const struct yk_backend_ops *ops = bench->engine.ops;
    struct kit *kit = bench->kit;
    g_autofree char *path = kit_make_folder(kit, "snapshot");
    enum yk_err result =
        ops->snapshot != NULL ? ops->snapshot(bench->engine.self, path) : YK_EUNSUPPORTED;
    kit_declares(kit, "snapshot", result == YK_OK ? "yes" : "no");
    if (result != YK_OK) {
        kit_shows(kit, "snapshot", KIT_LACKS, "%s", yk_err_text(result));
        if (result != YK_EUNSUPPORTED) {
            kit_broken(kit, KIT_SNAPSHOT, "fails: %s (%s)", yk_err_text(result),
                       bench->engine.engine_host.error);
        }
        return;
    }
    if (!kit_engine_has(&bench->engine, YK_BACKEND_VOLATILE)) {
        g_autofree struct kit_item *items =
            g_memdup2(bench->model.items, bench->model.n_items * sizeof(struct kit_item));
        kit_bench_fill(bench, 10);
        kit_bench_close(bench);
        memcpy(bench->model.items, items, bench->model.n_items * sizeof(struct kit_item));
        struct kit_place place = {.folder = path, .durability = YK_DURABILITY_OS};
        kit_engine_must_open(&bench->engine, &place);
        bench->model.rule = KIT_SNAPSHOT;
        kit_bench_check(bench);
    }
    kit_shows(kit, "snapshot", KIT_SHOWN, "opens, and holds what was there");
}

static void
run_extras(struct kit *kit)
{
    struct kit_bench *bench = kit_bench_new(kit, "extras", 0);
    kit_bench_open(bench, N_ITEMS);
    const struct yk_backend_ops *ops = bench->engine.ops;
    for (int i = 0; i < 3; i++) {
        kit_bench_fill(bench, 20);
        check_hint(bench);
        if (ops->stats != NULL) {
            ops->stats(bench->engine.self, kit_take_figure, kit);
        }
        must_succeed(bench, ops->sync, "sync");
        must_succeed(bench, ops->compact, "compact");
        bench->model.rule = KIT_SYNC;
        kit_bench_check(bench);
        bench->model.rule = 0;
        check_hint(bench);
    }
    check_snapshot(bench);
    kit_bench_free(bench);
}

/* -- Threads. -- */

struct reader {
    pthread_t thread;
    struct kit_bench *bench;
    struct kit_model model; /* of its own, over the steady items */
    uint64_t seed;
    bool is_scanner;
    uint32_t is_stopped; /* atomic */
};

static bool
take_any(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct reader *reader = arg;
    struct kit_key bare;
    if (!kit_engine_bare(&reader->bench->engine, key, &bare) || !kit_value_is_own(value, &bare)) {
        kit_broken(reader->bench->kit, KIT_THREADS, "a scan shows bytes that were never put");
    }
    return true;
}

static void *
reader_main(void *arg)
{
    struct reader *reader = arg;
    struct yk_random random = {reader->seed};
    struct kit_engine *engine = &reader->bench->engine;
    while (!__atomic_load_n(&reader->is_stopped, __ATOMIC_ACQUIRE)) {
        kit_model_read(&reader->model, engine, &random, 16);
        if (!reader->is_scanner) {
            continue;
        }
        struct kit_scan scan;
        enum yk_err result = YK_OK;
        kit_scan_init(&scan, engine);
        while (!scan.is_end && result == YK_OK) {
            result = kit_engine_scan(engine, &scan, take_any, reader);
        }
        if (result != YK_OK && !reader->model.may_fail) {
            kit_broken(reader->bench->kit, KIT_THREADS, "a scan beside apply fails: %s",
                       yk_err_text(result));
        }
        kit_scan_done(&scan, engine);
    }
    return NULL;
}

/* The readers' items are never changed meanwhile: the writer has the second half. */
static void
run_beside(struct kit_bench *bench, bool with_sync)
{
    struct kit_model *model = &bench->model;
    struct kit_model upper = *model;
    struct reader readers[N_READERS];
    uint32_t half = model->n_items / 2;
    for (int i = 0; i < N_READERS; i++) {
        readers[i] = (struct reader){.bench = bench,
                                     .model = *model,
                                     .seed = yk_random_next(&bench->random),
                                     .is_scanner = i % 2 == 0};
        readers[i].model.n_items = half;
        readers[i].model.items = g_memdup2(model->items, half * sizeof(struct kit_item));
        if (pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]) != 0) {
            kit_broken(bench->kit, KIT_THREADS, "no thread can be made");
        }
    }
    upper.items = model->items + half;
    upper.n_items = model->n_items - half;
    for (uint32_t i = 0; i < bench->kit->ops / 4; i++) {
        struct kit_batch batch;
        kit_batch_make(&upper, &bench->random, 16, &batch);
        kit_batch_apply(&upper, &bench->engine, &batch);
        if (with_sync && i % 16 == 0) {
            must_succeed(bench, bench->engine.ops->sync, "sync");
        }
    }
    for (int i = 0; i < N_READERS; i++) {
        __atomic_store_n(&readers[i].is_stopped, 1, __ATOMIC_RELEASE);
        pthread_join(readers[i].thread, NULL);
        g_free(readers[i].model.items);
    }
}

/* One call at a time, but by one thread after another. */
static void *
exercise_main(void *arg)
{
    struct kit_bench *bench = arg;
    kit_model_exercise(&bench->model, &bench->engine, &bench->random, 20);
    return NULL;
}

void
kit_run_threads(struct kit *kit)
{
    struct kit_bench *bench = kit_bench_new(kit, "threads", 0);
    kit_bench_open(bench, N_ITEMS);
    bench->model.value_size_max = MIN(bench->model.value_size_max, 2000);
    bench->model.rule = KIT_THREADS;
    for (uint32_t i = 0; i < 20; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, exercise_main, bench) != 0) {
            kit_broken(kit, KIT_THREADS, "no thread can be made");
        }
        pthread_join(thread, NULL);
    }
    if (bench->engine.info.threads == YK_THREADS_SERIAL) {
        kit_shows(kit, "threads", KIT_SHOWN,
                  "by one thread after another, never beside each other");
    } else {
        run_beside(bench, kit_engine_has(&bench->engine, YK_BACKEND_SYNC_BESIDE));
        kit_shows(kit, "threads", KIT_SHOWN, "gets and scans beside apply, in %d threads",
                  N_READERS + 1);
    }
    if (kit_engine_has(&bench->engine, YK_BACKEND_SYNC_BESIDE)) {
        kit_shows(kit, "sync beside", KIT_UNSHOWN, "%s",
                  bench->engine.info.threads == YK_THREADS_SERIAL
                      ? "the kit keeps to SERIAL"
                      : "sync ran beside gets and scans, by the thread that applies");
    }
    kit_bench_check(bench);
    kit_bench_free(bench);
}

const struct kit_part kit_backend_parts[] = {
    {"life", run_life},
    {"map", kit_run_map},
    {"scan", kit_run_scan},
    {"slots", run_slots},
    {"sizes", run_sizes},
    {"budget", run_budget},
    {"evicts", run_evicts},
    {"extras", run_extras},
    {"threads", kit_run_threads},
    {"reopen", kit_run_reopen},
    {"kill", kit_run_kill},
    {"second", kit_run_second},
    {"place", kit_run_place},
    {"damage", kit_run_damage},
    {"disk", kit_run_disk},
    {"no-memory", kit_run_no_memory},
    {NULL, NULL},
};
