/* See engine.h. */
#include <config.h>

#include <pthread.h>

#include "tools/kit/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/base/hash.h"

enum {
    CALL_SECONDS_MAX = 60,
    CALLS_KEPT = 256, /* so many ended calls are remembered, to see one completed late */
    CURSOR_ROOM = 32, /* beyond the key, as backend.h has it */
    GUARD_SIZE = 64,  /* bytes behind a cursor */
    GUARD = 0x5c,
    BYTES_SLACK = 65536, /* what "about bytes_max" leaves */
    RUBBISH = 0xdb
};

/* -- Calls that may end later. -- */

struct memory {
    struct memory *next;
    uint64_t unused; /* keeps what follows aligned to 16 bytes */
};

struct kit_call {
    struct yk_call call; /* first */
    struct kit_engine *engine;
    struct memory *memory; /* what the plugin asked for; own */
    pthread_mutex_t lock;  /* of what follows, and of memory */
    pthread_cond_t ended;
    bool is_under_way, is_completed;
    enum yk_err result;
};

static struct kit_call *calls_kept[CALLS_KEPT];
static uint32_t n_calls_kept;

static void *
call_alloc(struct yk_call *call_, size_t size)
{
    struct kit_call *call = (struct kit_call *)call_;
    struct memory *memory = kit_host_resize(call->engine->host, NULL, sizeof(*memory) + size);
    if (memory == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&call->lock);
    memory->next = call->memory;
    call->memory = memory;
    pthread_mutex_unlock(&call->lock);
    return memory + 1;
}

static void
call_complete(struct yk_call *call_, enum yk_err result)
{
    struct kit_call *call = (struct kit_call *)call_;
    struct kit *kit = call->engine->kit;
    pthread_mutex_lock(&call->lock);
    if (!call->is_under_way) {
        kit_broken(kit, KIT_COMPLETE, "completes a call that had ended");
    }
    if (call->is_completed) {
        kit_broken(kit, KIT_COMPLETE, "completes a call twice");
    }
    if (result == YK_EPENDING) {
        kit_broken(kit, KIT_COMPLETE, "completes a call with EPENDING");
    }
    call->is_completed = true;
    call->result = result;
    pthread_cond_signal(&call->ended);
    pthread_mutex_unlock(&call->lock);
}

static struct kit_call *
call_begin(struct kit_engine *engine)
{
    struct kit_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        abort();
    }
    call->call = (struct yk_call){.struct_size = sizeof(call->call), .alloc = call_alloc};
    call->engine = engine;
    call->is_under_way = true;
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->ended, NULL);
    return call;
}

static bool
is_result(enum yk_err result)
{
    switch ((int)result) {
#define YK_ERR(name, number, outcome, text) case number:
#include <yakumo/err.def>
#undef YK_ERR
        return result != YK_EPENDING;
    default:
        return false;
    }
}

/* Waits where the result says so, and gives the call's memory back. */
static enum yk_err
call_end(struct kit_call *call, enum yk_err result)
{
    struct kit_engine *engine = call->engine;
    pthread_mutex_lock(&call->lock);
    if (result != YK_EPENDING && call->is_completed) {
        kit_broken(engine->kit, KIT_COMPLETE, "completes a call that it answered itself");
    }
    if (result == YK_EPENDING) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += CALL_SECONDS_MAX;
        if ((engine->info.caps & YK_BACKEND_ASYNC) == 0) {
            kit_broken(engine->kit, KIT_PENDING, "answers EPENDING, and does not declare ASYNC");
        }
        while (!call->is_completed) {
            if (pthread_cond_timedwait(&call->ended, &call->lock, &until) != 0) {
                kit_broken(engine->kit, KIT_HANG, "a pending call was not completed in %d s",
                           CALL_SECONDS_MAX);
            }
        }
        result = call->result;
        __atomic_add_fetch(&engine->n_pending, 1, __ATOMIC_RELAXED);
    }
    call->is_under_way = false;
    while (call->memory != NULL) {
        struct memory *memory = call->memory;
        call->memory = memory->next;
        kit_host_release(engine->host, memory);
    }
    pthread_mutex_unlock(&call->lock);
    if (!is_result(result)) {
        kit_broken(engine->kit, KIT_RESULT, "a call ends with %d", (int)result);
    }
    uint32_t at = __atomic_fetch_add(&n_calls_kept, 1, __ATOMIC_RELAXED) % CALLS_KEPT;
    free(__atomic_exchange_n(&calls_kept[at], call, __ATOMIC_ACQ_REL));
    return result;
}

static void
note_time(struct kit_engine *engine, enum kit_call_kind kind, int64_t start_us)
{
    int64_t us = g_get_monotonic_time() - start_us;
    pthread_mutex_lock(&engine->lock);
    if (engine->n_times[kind] < KIT_TIMES_MAX) {
        engine->times_us[kind][engine->n_times[kind]++] = (uint32_t)CLAMP(us, 0, UINT32_MAX);
    }
    pthread_mutex_unlock(&engine->lock);
}

static int
compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

uint64_t
kit_engine_median_us(const struct kit_engine *engine, enum kit_call_kind kind)
{
    uint32_t n = engine->n_times[kind];
    if (n == 0) {
        return 0;
    }
    g_autofree uint32_t *times = g_memdup2(engine->times_us[kind], n * sizeof(*times));
    qsort(times, n, sizeof(*times), compare_times);
    return times[n / 2];
}

/* -- Life. -- */

void
kit_engine_init(struct kit_engine *engine, struct kit *kit, struct kit_host *host)
{
    memset(engine, 0, sizeof(*engine));
    engine->kit = kit;
    engine->host = host;
    host->complete = call_complete;
    pthread_mutex_init(&engine->lock, NULL);
    if (kit->plugin->kind == YK_KIND_BACKEND) {
        engine->settings = kit->settings;
        engine->ops = kit->plugin->ops;
    } else {
        engine->ops = kit_model_engine.ops;
        engine->filter_settings = kit->settings;
        engine->filter_ops = kit->plugin->ops;
    }
}

static void
check_info(struct kit_engine *engine)
{
    const struct yk_backend_info *info = &engine->info;
    engine->prefix = kit_engine_has(engine, YK_BACKEND_SEGMENTS) ? 0 : 4;
    if (info->key_size_max <= engine->prefix) {
        kit_broken(engine->kit, KIT_KEY_SIZE, "declares key_size_max %u", info->key_size_max);
    }
    if (info->threads > YK_THREADS_PARALLEL) {
        kit_broken(engine->kit, KIT_THREADS, "declares threads %u, which is none of the enum",
                   info->threads);
    }
    engine->key_size_max = MIN(info->key_size_max - engine->prefix, (uint32_t)YK_KEY_SIZE_MAX);
    engine->host->may_sleep = kit_engine_has(engine, YK_BACKEND_BLOCKS);
}

static enum yk_err
make_filter(struct kit_engine *engine, char *error)
{
    kit_host_lend(engine->host, &engine->filter_host, engine->filter_settings->plugin->name);
    enum yk_err result = yk_instance_new(engine->filter_settings, &engine->filter_host.host,
                                         &engine->filter_self, error);
    engine->is_filter_made = result == YK_OK;
    if (result == YK_OK && engine->filter_ops->info != NULL) {
        engine->filter_ops->info(engine->filter_self, &engine->info);
    }
    engine->info.threads = MIN(engine->info.threads, engine->filter_ops->threads);
    return result;
}

enum yk_err
kit_engine_make(struct kit_engine *engine, char *error)
{
    struct yk_settings own = {.plugin = &kit_model_engine};
    const struct yk_settings *settings = engine->settings != NULL ? engine->settings : &own;
    error[0] = '\0';
    kit_doing("create, config or info");
    engine->info = (struct yk_backend_info){
        .struct_size = sizeof(engine->info), .key_size_max = 65535, .value_size_max = UINT32_MAX};
    kit_host_lend(engine->host, &engine->engine_host, settings->plugin->name);
    enum yk_err result = yk_instance_new(settings, &engine->engine_host.host, &engine->self, error);
    engine->is_made = result == YK_OK;
    if (result == YK_OK && engine->ops->info != NULL) {
        engine->ops->info(engine->self, &engine->info);
    }
    if (result == YK_OK && engine->filter_ops != NULL) {
        result = make_filter(engine, error);
    }
    if (result == YK_OK) {
        check_info(engine);
    } else {
        kit_engine_close(engine);
    }
    return result;
}

static enum yk_err
open_both(struct kit_engine *engine, char *error)
{
    enum yk_err result = YK_OK;
    const struct yk_plugin_host *host = &engine->engine_host;
    kit_doing("open");
    if (engine->ops->open != NULL) {
        result = engine->ops->open(engine->self, &engine->place);
    }
    engine->is_open = result == YK_OK;
    if (result == YK_OK && engine->filter_ops != NULL && engine->filter_ops->open != NULL) {
        host = &engine->filter_host;
        result = engine->filter_ops->open(engine->filter_self, &engine->place);
    }
    engine->is_filter_open = result == YK_OK && engine->filter_ops != NULL;
    if (result != YK_OK) {
        g_strlcpy(error, host->error, YK_ERROR_SIZE);
    }
    if (!is_result(result)) {
        kit_broken(engine->kit, KIT_RESULT, "open ends with %d", (int)result);
    }
    return result;
}

enum yk_err
kit_engine_open(struct kit_engine *engine, const struct kit_place *place, char *error)
{
    enum yk_err result = kit_engine_make(engine, error);
    if (result != YK_OK) {
        return result;
    }
    engine->opened_at = *place;
    kit_budget_init(&engine->budget, engine->kit, place->memory_max);
    engine->place = (struct yk_backend_place){
        .struct_size = sizeof(engine->place),
        .n_lanes = 1,
        .n_slots = KIT_SLOTS,
        .bucket = "kit",
        .folder = kit_engine_has(engine, YK_BACKEND_VOLATILE) ? NULL : place->folder,
        .budget = &engine->budget.budget,
        .seed = kit_seed(engine->kit, "place", 0),
        .may_evict = place->may_evict,
        .durability = place->durability};
    if (engine->settings == NULL && engine->kit->is_async_below) {
        kit_model_engine_set_async(engine->self);
    }
    result = open_both(engine, error);
    if (result != YK_OK) {
        kit_engine_close(engine);
    }
    return result;
}

void
kit_engine_must_open(struct kit_engine *engine, const struct kit_place *place)
{
    char error[YK_ERROR_SIZE] = "";
    enum yk_err result = kit_engine_open(engine, place, error);
    if (result != YK_OK) {
        kit_broken(engine->kit, KIT_START, "does not open: %s (%s)", yk_err_text(result), error);
    }
}

static void
end_instance(const struct yk_life *life, void (*closing)(void *), bool is_open, void *self)
{
    if (is_open && closing != NULL) {
        closing(self);
    }
    if (life->destroy != NULL) {
        life->destroy(self);
    }
}

/* The engine goes last, as a filter may still need it. */
void
kit_engine_close(struct kit_engine *engine)
{
    kit_doing("close or destroy");
    if (engine->is_filter_made) {
        end_instance(&engine->filter_ops->life, engine->filter_ops->close, engine->is_filter_open,
                     engine->filter_self);
    }
    if (engine->is_made) {
        end_instance(&engine->ops->life, engine->ops->close, engine->is_open, engine->self);
    }
    engine->is_made = engine->is_open = false;
    engine->is_filter_made = engine->is_filter_open = false;
    uint64_t n_alive = __atomic_load_n(&engine->host->n_alive, __ATOMIC_RELAXED);
    if (n_alive > 0) {
        kit_broken(engine->kit, KIT_LEAK, "%llu allocations are left after destroy",
                   (unsigned long long)n_alive);
    }
    if (engine->budget.taken > 0) {
        kit_broken(engine->kit, KIT_BUDGET, "%llu bytes were not given back by close",
                   (unsigned long long)engine->budget.taken);
    }
}

void
kit_engine_restart(struct kit_engine *engine)
{
    struct kit_place place = engine->opened_at;
    kit_engine_close(engine);
    kit_engine_must_open(engine, &place);
}

bool
kit_engine_has(const struct kit_engine *engine, uint32_t caps)
{
    return (engine->info.caps & caps) == caps;
}

/* -- Keys. -- */

struct yk_key
kit_engine_key(const struct kit_engine *engine, const struct kit_key *key, uint8_t *room)
{
    if (engine->prefix > 0) {
        room[0] = (uint8_t)(key->slot >> 8);
        room[1] = (uint8_t)key->slot;
        room[2] = (uint8_t)(key->generation >> 8);
        room[3] = (uint8_t)key->generation;
    }
    memcpy(room + engine->prefix, key->bytes, key->size);
    return (struct yk_key){.data = room,
                           .size = engine->prefix + key->size,
                           .slot = key->slot,
                           .generation = key->generation,
                           .hash = key->hash};
}

bool
kit_engine_bare(const struct kit_engine *engine, const struct yk_key *key, struct kit_key *ret_key)
{
    const uint8_t *data = key->data;
    if (key->size < engine->prefix) {
        return false;
    }
    ret_key->bytes = data + engine->prefix;
    ret_key->size = key->size - engine->prefix;
    ret_key->slot = engine->prefix > 0 ? (uint16_t)(data[0] << 8 | data[1]) : key->slot;
    ret_key->generation = engine->prefix > 0 ? (uint16_t)(data[2] << 8 | data[3]) : key->generation;
    ret_key->hash = yk_hash(yk_slice_of(ret_key->bytes, ret_key->size));
    return true;
}

/* -- The way down. -- */

struct next {
    struct yk_next next; /* first */
    struct kit_engine *engine;
};

static enum yk_err
next_get(struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
         struct yk_call *call)
{
    struct kit_engine *engine = ((struct next *)next)->engine;
    return engine->ops->get(engine->self, keys, n, fn, arg, call);
}

static enum yk_err
next_apply(struct yk_next *next, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct kit_engine *engine = ((struct next *)next)->engine;
    return engine->ops->apply(engine->self, changes, n, call);
}

static enum yk_err
next_scan(struct yk_next *next, const struct yk_scan *scan, struct yk_cursor *cursor,
          yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    struct kit_engine *engine = ((struct next *)next)->engine;
    return engine->ops->scan(engine->self, scan, cursor, fn, arg, ret_end, call);
}

static enum yk_err
next_admit(struct yk_next *next, const struct yk_change *change)
{
    struct kit_engine *engine = ((struct next *)next)->engine;
    return engine->ops->admit != NULL ? engine->ops->admit(engine->self, change) : YK_OK;
}

/* Lives as long as the filter is open, as filter.h promises; one for each engine is enough. */
static struct yk_next *
next_of(struct kit_engine *engine)
{
    static struct next next = {.next = {.struct_size = sizeof(struct yk_next),
                                        .get = next_get,
                                        .apply = next_apply,
                                        .scan = next_scan,
                                        .admit = next_admit}};
    __atomic_store_n(&next.engine, engine, __ATOMIC_RELAXED);
    return &next.next;
}

/* -- Get. -- */

struct get_run {
    struct kit_engine *engine;
    kit_value_fn fn;
    void *arg;
    uint32_t n;
    bool is_over;
    bool *is_answered;
};

static void
take_value(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct get_run *run = arg;
    struct kit *kit = run->engine->kit;
    if (run->is_over) {
        kit_broken(kit, KIT_GET_ONCE, "index %u is answered after get had ended", index);
    }
    if (index >= run->n) {
        kit_broken(kit, KIT_GET_ONCE, "index %u is answered, of %u keys", index, run->n);
    }
    if (run->is_answered[index]) {
        kit_broken(kit, KIT_GET_ONCE, "index %u is answered twice", index);
    }
    if (!is_result(result)) {
        kit_broken(kit, KIT_RESULT, "index %u is answered with %d", index, (int)result);
    }
    run->is_answered[index] = true;
    run->fn(run->arg, index, result, value);
}

static enum yk_err
top_get(struct kit_engine *engine, const struct yk_key *keys, uint32_t n, struct get_run *run,
        struct yk_call *call)
{
    const struct yk_filter_ops *filter = engine->filter_ops;
    if (filter != NULL && filter->get != NULL) {
        return filter->get(engine->filter_self, next_of(engine), keys, n, take_value, run, call);
    }
    return engine->ops->get(engine->self, keys, n, take_value, run, call);
}

static void *
lend(size_t size)
{
    void *memory = malloc(size + 1);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void
end_loan(void *memory, size_t size)
{
    memset(memory, RUBBISH, size);
    free(memory);
}

enum yk_err
kit_engine_get(struct kit_engine *engine, const struct kit_key *const *keys, uint32_t n,
               kit_value_fn fn, void *arg)
{
    kit_doing("get");
    size_t size = n * sizeof(struct yk_key);
    for (uint32_t i = 0; i < n; i++) {
        size += engine->prefix + keys[i]->size;
    }
    struct yk_key *lent = lend(size);
    uint8_t *at = (uint8_t *)(lent + n);
    for (uint32_t i = 0; i < n; i++) {
        lent[i] = kit_engine_key(engine, keys[i], at);
        at += lent[i].size;
    }
    /* The run is kept like the call, so that a late answer is seen. */
    static struct get_run *kept[CALLS_KEPT];
    static uint32_t n_kept;
    struct get_run *run = g_new0(struct get_run, 1);
    *run = (struct get_run){
        .engine = engine, .fn = fn, .arg = arg, .n = n, .is_answered = g_new0(bool, n + 1)};
    struct kit_call *call = call_begin(engine);
    int64_t start_us = g_get_monotonic_time();
    enum yk_err result = call_end(call, top_get(engine, lent, n, run, &call->call));
    note_time(engine, KIT_CALL_GET, start_us);
    run->is_over = true;
    end_loan(lent, size);
    for (uint32_t i = 0; i < n; i++) {
        if (!run->is_answered[i] && result == YK_OK) {
            kit_broken(engine->kit, KIT_GET_ONCE, "index %u of %u is not answered", i, n);
        }
        if (!run->is_answered[i]) {
            fn(arg, i, result, yk_slice_of(NULL, 0));
        }
    }
    g_clear_pointer(&run->is_answered, g_free);
    uint32_t slot = __atomic_fetch_add(&n_kept, 1, __ATOMIC_RELAXED) % CALLS_KEPT;
    g_free(__atomic_exchange_n(&kept[slot], run, __ATOMIC_ACQ_REL));
    return result;
}

/* -- Changes. -- */

/* The changes with their keys and values in one block, which the caller frees. */
static struct yk_change *
lend_changes(const struct kit_engine *engine, const struct kit_change *changes, uint32_t n,
             size_t *ret_size)
{
    size_t size = n * sizeof(struct yk_change);
    for (uint32_t i = 0; i < n; i++) {
        size += engine->prefix + changes[i].key->size + changes[i].value.size;
    }
    struct yk_change *lent = lend(size);
    uint8_t *at = (uint8_t *)(lent + n);
    for (uint32_t i = 0; i < n; i++) {
        lent[i] = (struct yk_change){.key = kit_engine_key(engine, changes[i].key, at),
                                     .kind = changes[i].kind};
        at += lent[i].key.size;
        if (changes[i].kind == YK_CHANGE_PUT) {
            lent[i].value = yk_slice_of(at, changes[i].value.size);
            if (changes[i].value.size > 0) {
                memcpy(at, changes[i].value.data, changes[i].value.size);
            }
            at += changes[i].value.size;
        }
    }
    *ret_size = size;
    return lent;
}

enum yk_err
kit_engine_admit(struct kit_engine *engine, const struct kit_change *change)
{
    kit_doing("admit");
    const struct yk_filter_ops *filter = engine->filter_ops;
    size_t size;
    enum yk_err result = YK_OK;
    struct yk_change *lent = lend_changes(engine, change, 1, &size);
    if (filter != NULL && filter->admit != NULL) {
        result = filter->admit(engine->filter_self, next_of(engine), lent);
    } else if (engine->ops->admit != NULL) {
        result = engine->ops->admit(engine->self, lent);
    }
    end_loan(lent, size);
    if (!is_result(result)) {
        kit_broken(engine->kit, KIT_RESULT, "admit ends with %d", (int)result);
    }
    return result;
}

enum yk_err
kit_engine_apply(struct kit_engine *engine, const struct kit_change *changes, uint32_t n)
{
    kit_doing("apply");
    const struct yk_filter_ops *filter = engine->filter_ops;
    size_t size;
    enum yk_err result;
    struct yk_change *lent = lend_changes(engine, changes, n, &size);
    struct kit_call *call = call_begin(engine);
    int64_t start_us = g_get_monotonic_time();
    if (filter != NULL && filter->apply != NULL) {
        result = filter->apply(engine->filter_self, next_of(engine), lent, n, &call->call);
    } else {
        result = engine->ops->apply(engine->self, lent, n, &call->call);
    }
    result = call_end(call, result);
    note_time(engine, KIT_CALL_APPLY, start_us);
    end_loan(lent, size);
    return result;
}

/* -- Scans. -- */

struct scan_run {
    struct kit_engine *engine;
    struct kit_scan *scan;
    yk_record_fn fn;
    void *arg;
    uint64_t bytes; /* of keys and values that were taken */
};

static uint8_t *
cursor_room(uint32_t size_max)
{
    uint8_t *room = lend(size_max + GUARD_SIZE);
    memset(room, GUARD, size_max + GUARD_SIZE);
    return room;
}

void
kit_scan_init(struct kit_scan *scan, struct kit_engine *engine)
{
    *scan = (struct kit_scan){.bytes_max = YK_SCAN_BYTES_MAX};
    scan->cursor = (struct yk_cursor){.struct_size = sizeof(scan->cursor),
                                      .size_max = engine->info.key_size_max + CURSOR_ROOM};
    scan->cursor.data = cursor_room(scan->cursor.size_max);
}

void
kit_scan_done(struct kit_scan *scan, struct kit_engine *engine)
{
    end_loan(scan->cursor.data, scan->cursor.size_max);
}

static bool
take_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct scan_run *run = arg;
    struct kit_scan *scan = run->scan;
    struct kit *kit = run->engine->kit;
    if (scan->has_stopped) {
        kit_broken(kit, KIT_SCAN_STOP, "a record is shown after the caller had said stop");
    }
    if (key->size > run->engine->info.key_size_max && !run->engine->is_damaged) {
        kit_broken(kit, KIT_SCAN_GHOST, "a key of %u bytes is shown", key->size);
    }
    if (scan->n_taken > 0 && !run->engine->is_damaged &&
        run->bytes > 2 * scan->bytes_max + BYTES_SLACK) {
        kit_broken(kit, KIT_SCAN_BYTES, "%llu bytes are shown in a step, with bytes_max %llu",
                   (unsigned long long)run->bytes, (unsigned long long)scan->bytes_max);
    }
    scan->n_shown++;
    bool is_taken = run->fn(run->arg, key, value);
    scan->n_taken += is_taken;
    scan->has_stopped = !is_taken;
    run->bytes += key->size + value.size;
    return is_taken;
}

static enum yk_err
top_scan(struct kit_engine *engine, const struct yk_scan *how, struct scan_run *run,
         struct yk_cursor *cursor, struct yk_call *call)
{
    const struct yk_filter_ops *filter = engine->filter_ops;
    bool *ret_end = &run->scan->is_end;
    if (filter != NULL && filter->scan != NULL) {
        return filter->scan(engine->filter_self, next_of(engine), how, cursor, take_record, run,
                            ret_end, call);
    }
    return engine->ops->scan(engine->self, how, cursor, take_record, run, ret_end, call);
}

/* The bits stand at the end of a page, with nothing behind them: n_slots says how many there are.
 */
static uint64_t *
guarded_slots(const uint64_t *slots)
{
    static uint8_t *pages;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t beyond = (65536 / 8 / page + 1) * page;
    if (pages == NULL) {
        pages = mmap(NULL, page + beyond, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED || mprotect(pages, page, PROT_READ | PROT_WRITE) != 0) {
            abort();
        }
    }
    uint64_t *to = (uint64_t *)(void *)(pages + page) - 1;
    G_STATIC_ASSERT(KIT_SLOTS <= 64);
    *to = *slots;
    return to;
}

static void
check_step(struct kit_engine *engine, const struct kit_scan *scan)
{
    const struct yk_cursor *cursor = &scan->cursor;
    if (cursor->size > cursor->size_max) {
        kit_broken(engine->kit, KIT_SCAN_CURSOR, "the cursor has %u bytes, at most %u may be",
                   cursor->size, cursor->size_max);
    }
    for (uint32_t i = 0; i < GUARD_SIZE; i++) {
        if (cursor->data[cursor->size_max + i] != GUARD) {
            kit_broken(engine->kit, KIT_SCAN_CURSOR, "bytes were written behind the cursor");
        }
    }
}

enum yk_err
kit_engine_scan(struct kit_engine *engine, struct kit_scan *scan, yk_record_fn fn, void *arg)
{
    kit_doing("scan");
    struct scan_run run = {.engine = engine, .scan = scan, .fn = fn, .arg = arg};
    struct yk_scan *how = lend(sizeof(*how));
    uint32_t before_size = scan->cursor.size;
    uint8_t *before = scan->cursor.data, *now = cursor_room(scan->cursor.size_max);
    memcpy(now, before, before_size);
    scan->cursor.data = now;
    scan->n_shown = scan->n_taken = 0;
    scan->has_stopped = scan->is_end = false;
    *how = (struct yk_scan){.struct_size = sizeof(*how),
                            .n_slots = KIT_SLOTS,
                            .slots = scan->slots != NULL ? guarded_slots(scan->slots) : NULL,
                            .bytes_max = scan->bytes_max};
    struct kit_call *call = call_begin(engine);
    int64_t start_us = g_get_monotonic_time();
    enum yk_err result = call_end(call, top_scan(engine, how, &run, &scan->cursor, &call->call));
    note_time(engine, KIT_CALL_SCAN, start_us);
    if (result == YK_OK) {
        check_step(engine, scan);
    }
    end_loan(how, sizeof(*how));
    end_loan(before, scan->cursor.size_max);
    return result;
}
