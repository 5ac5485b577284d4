/* The kit's own engine, for filters: a sorted array in memory that knows no failure but those it is
 * told to make, lends every value in memory that is gone after the call, and holds what is applied
 * against what was admitted. */
#include <config.h>

#include <pthread.h>

#include "tools/kit/engine.h"

#include <stdlib.h>

struct record {
    GBytes *key, *value;
    uint16_t slot, generation;
};

struct model_engine {
    const struct yk_host *host;
    struct kit *kit;
    GPtrArray *records; /* struct record, sorted by key */
    GQueue admitted;    /* struct yk_change, with their bytes behind them */
    bool is_async;
    pthread_mutex_t lock; /* of all above, for asynchronous calls */
    enum yk_err fails[KIT_N_CALLS + 1];
    uint64_t n_calls[KIT_N_CALLS + 1];
};

/* A call that is made by another thread. */
struct job {
    struct model_engine *engine;
    struct yk_call *call;
    enum kit_call_kind kind;
    const struct yk_key *keys;
    const struct yk_change *changes;
    const struct yk_scan *scan;
    struct yk_cursor *cursor;
    bool *ret_end;
    yk_value_fn value_fn;
    yk_record_fn record_fn;
    void *arg;
    uint32_t n;
};

void
kit_model_engine_fail(void *self, int kind, enum yk_err result)
{
    ((struct model_engine *)self)->fails[kind] = result;
}

uint64_t
kit_model_engine_calls(void *self, int kind)
{
    return ((struct model_engine *)self)->n_calls[kind];
}

void
kit_model_engine_set_async(void *self)
{
    ((struct model_engine *)self)->is_async = true;
}

static enum yk_err
strike(struct model_engine *engine, int kind)
{
    enum yk_err result = engine->fails[kind];
    engine->fails[kind] = YK_OK;
    engine->n_calls[kind]++;
    return result;
}

static int
compare(GBytes *a, const void *data, size_t size)
{
    size_t a_size;
    const void *a_data = g_bytes_get_data(a, &a_size);
    int order = memcmp(a_data, data, MIN(a_size, size));
    return order != 0 ? order : a_size < size ? -1 : a_size > size ? 1 : 0;
}

/* Where the key stands, or where it would. */
static guint
place_of(const struct model_engine *engine, const void *data, size_t size, bool *ret_found)
{
    guint low = 0, high = engine->records->len;
    *ret_found = false;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        const struct record *record = g_ptr_array_index(engine->records, middle);
        int order = compare(record->key, data, size);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
record_free(void *memory)
{
    struct record *record = memory;
    g_bytes_unref(record->key);
    g_bytes_unref(record->value);
    g_free(record);
}

/* The value in memory of its own, which is rubbish after the call. */
static void *
lend_value(const struct record *record, struct yk_slice *ret_value)
{
    size_t size;
    const void *data = g_bytes_get_data(record->value, &size);
    void *lent = g_malloc(size + 1);
    if (size > 0) {
        memcpy(lent, data, size);
    }
    *ret_value = yk_slice_of(lent, size);
    return lent;
}

static void
end_loan(void *lent, size_t size)
{
    memset(lent, 0xdb, size);
    g_free(lent);
}

static enum yk_err
run_get(struct model_engine *engine, const struct job *job)
{
    enum yk_err failure = strike(engine, KIT_CALL_GET);
    for (uint32_t i = 0; i < job->n; i++) {
        bool is_found;
        guint at = place_of(engine, job->keys[i].data, job->keys[i].size, &is_found);
        if (failure != YK_OK && i % 2 == 1) {
            continue; /* half of the keys are left to the call's own result */
        }
        if (failure != YK_OK || !is_found) {
            job->value_fn(job->arg, i, failure != YK_OK ? failure : YK_ENOTFOUND,
                          yk_slice_of(NULL, 0));
            continue;
        }
        struct yk_slice value;
        void *lent = lend_value(g_ptr_array_index(engine->records, at), &value);
        job->value_fn(job->arg, i, YK_OK, value);
        end_loan(lent, value.size);
    }
    return failure;
}

static void
check_admitted(struct model_engine *engine, const struct yk_change *change)
{
    struct yk_change *admitted = g_queue_pop_head(&engine->admitted);
    if (admitted == NULL) {
        kit_broken(engine->kit, KIT_ADMIT_BELOW, "a change is applied that was not admitted");
    }
    if (admitted->kind != change->kind ||
        !yk_slice_equal(yk_slice_of(admitted->key.data, admitted->key.size),
                        yk_slice_of(change->key.data, change->key.size)) ||
        !yk_slice_equal(admitted->value, change->value)) {
        kit_broken(engine->kit, KIT_ADMIT_BELOW,
                   "what is applied is not what was admitted, or in another order");
    }
    g_free(admitted);
}

static enum yk_err
run_apply(struct model_engine *engine, const struct job *job)
{
    enum yk_err failure = strike(engine, KIT_CALL_APPLY);
    for (uint32_t i = 0; i < job->n; i++) {
        const struct yk_change *change = &job->changes[i];
        bool is_found;
        check_admitted(engine, change);
        guint at = place_of(engine, change->key.data, change->key.size, &is_found);
        if (failure != YK_OK) {
            continue;
        }
        if (is_found) {
            g_ptr_array_remove_index(engine->records, at);
        }
        if (change->kind == YK_CHANGE_PUT) {
            struct record *record = g_new0(struct record, 1);
            record->key = g_bytes_new(change->key.data, change->key.size);
            record->value = g_bytes_new(change->value.data, change->value.size);
            record->slot = change->key.slot;
            record->generation = change->key.generation;
            g_ptr_array_insert(engine->records, (gint)at, record);
        }
    }
    return failure;
}

/* The cursor is the last key that was taken, behind one byte so that it is never empty. */
static enum yk_err
run_scan(struct model_engine *engine, const struct job *job)
{
    struct yk_cursor *cursor = job->cursor;
    bool is_found = false;
    uint64_t bytes = 0;
    enum yk_err failure = strike(engine, KIT_CALL_SCAN);
    guint at = 0;
    if (failure != YK_OK) {
        return failure;
    }
    if (cursor->size > 0) {
        at = place_of(engine, cursor->data + 1, cursor->size - 1, &is_found);
    }
    for (at += is_found; at < engine->records->len && bytes < job->scan->bytes_max; at++) {
        const struct record *record = g_ptr_array_index(engine->records, at);
        struct yk_slice value;
        size_t size;
        const void *data = g_bytes_get_data(record->key, &size);
        struct yk_key key = {.data = data,
                             .size = (uint32_t)size,
                             .slot = record->slot,
                             .generation = record->generation};
        void *lent = lend_value(record, &value);
        bool is_taken = job->record_fn(job->arg, &key, value);
        end_loan(lent, value.size);
        if (!is_taken) {
            break;
        }
        cursor->data[0] = 1;
        memcpy(cursor->data + 1, data, size);
        cursor->size = (uint32_t)size + 1;
        bytes += size + value.size;
    }
    *job->ret_end = at == engine->records->len;
    return YK_OK;
}

static enum yk_err
run(const struct job *job)
{
    struct model_engine *engine = job->engine;
    pthread_mutex_lock(&engine->lock);
    enum yk_err result = job->kind == KIT_CALL_GET     ? run_get(engine, job)
                         : job->kind == KIT_CALL_APPLY ? run_apply(engine, job)
                                                       : run_scan(engine, job);
    pthread_mutex_unlock(&engine->lock);
    return result;
}

static void *
thread_main(void *arg)
{
    struct job *job = arg;
    enum yk_err result = run(job);
    const struct yk_host *host = job->engine->host;
    struct yk_call *call = job->call;
    g_free(job);
    host->complete(host, call, result);
    return NULL;
}

static enum yk_err
start(const struct job *job)
{
    pthread_t thread;
    if (!job->engine->is_async) {
        return run(job);
    }
    struct job *copy = g_memdup2(job, sizeof(*job));
    if (pthread_create(&thread, NULL, thread_main, copy) != 0) {
        abort();
    }
    pthread_detach(thread);
    return YK_EPENDING;
}

static enum yk_err
model_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
          struct yk_call *call)
{
    struct job job = {.engine = self,
                      .call = call,
                      .kind = KIT_CALL_GET,
                      .keys = keys,
                      .n = n,
                      .value_fn = fn,
                      .arg = arg};
    return start(&job);
}

static enum yk_err
model_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct job job = {
        .engine = self, .call = call, .kind = KIT_CALL_APPLY, .changes = changes, .n = n};
    return start(&job);
}

static enum yk_err
model_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
           void *arg, bool *ret_end, struct yk_call *call)
{
    struct job job = {.engine = self,
                      .call = call,
                      .kind = KIT_CALL_SCAN,
                      .scan = scan,
                      .cursor = cursor,
                      .ret_end = ret_end,
                      .record_fn = fn,
                      .arg = arg};
    return start(&job);
}

static enum yk_err
model_admit(void *self, const struct yk_change *change)
{
    struct model_engine *engine = self;
    pthread_mutex_lock(&engine->lock);
    enum yk_err failure = strike(engine, KIT_N_CALLS);
    if (failure != YK_OK) {
        pthread_mutex_unlock(&engine->lock);
        return failure;
    }
    struct yk_change *copy = g_malloc(sizeof(*copy) + change->key.size + change->value.size + 1);
    uint8_t *bytes = (uint8_t *)(copy + 1);
    *copy = *change;
    memcpy(bytes, change->key.data, change->key.size);
    copy->key.data = bytes;
    if (change->value.size > 0) {
        memcpy(bytes + change->key.size, change->value.data, change->value.size);
    }
    copy->value.data = bytes + change->key.size;
    g_queue_push_tail(&engine->admitted, copy);
    pthread_mutex_unlock(&engine->lock);
    return YK_OK;
}

static void
model_info(void *self, struct yk_backend_info *info)
{
    info->caps |=
        YK_BACKEND_ORDERED | YK_BACKEND_ATOMIC_BATCH | YK_BACKEND_VOLATILE | YK_BACKEND_ASYNC;
    info->threads = YK_THREADS_PARALLEL;
    info->key_size_max = UINT16_MAX;
}

static enum yk_err
model_create(const struct yk_host *host, void **ret_self)
{
    struct model_engine *engine = g_new0(struct model_engine, 1);
    const struct kit_host *kit_host = ((const struct yk_plugin_host *)host)->world->arg;
    engine->host = host;
    engine->kit = kit_host->kit;
    engine->records = g_ptr_array_new_with_free_func(record_free);
    g_queue_init(&engine->admitted);
    pthread_mutex_init(&engine->lock, NULL);
    *ret_self = engine;
    return YK_OK;
}

static void
model_destroy(void *self)
{
    struct model_engine *engine = self;
    g_ptr_array_unref(engine->records);
    g_queue_clear_full(&engine->admitted, g_free);
    g_free(engine);
}

static const struct yk_backend_ops model_ops = {
    .struct_size = sizeof(model_ops),
    .life = {.create = model_create, .destroy = model_destroy},
    .info = model_info,
    .get = model_get,
    .apply = model_apply,
    .scan = model_scan,
    .admit = model_admit,
};

const struct yk_plugin kit_model_engine = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .name = "kit",
    .version = "1",
    .summary = "the kit's own engine",
    .ops = &model_ops,
};
