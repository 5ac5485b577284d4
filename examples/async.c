/* A sketch of an asynchronous engine: get, apply and scan only queue, and end on a thread of its
 * own, which alone touches the records: an array sorted by key, in memory.
 *
 * A queued call needs no memory of the engine: its job lives in call->alloc, and keys, changes,
 * cursor and ret_end stay lent until host->complete. So the queue is as long as the host has calls
 * under way. */
#include <yakumo/backend.h>

#include <pthread.h>

struct record {
    struct yk_key key; /* data behind this struct */
    size_t value_size; /* bytes, behind the key */
    uint8_t bytes[];
};

enum job_kind { JOB_GET, JOB_APPLY, JOB_SCAN };

/* One queued call. */
struct job {
    struct job *next;
    struct yk_call *call;
    enum job_kind kind;
    uint32_t n;
    const struct yk_key *keys;
    const struct yk_change *changes;
    const struct yk_scan *scan;
    struct yk_cursor *cursor;
    bool *ret_end;
    yk_value_fn value_fn;
    yk_record_fn record_fn;
    void *arg;
};

struct engine {
    const struct yk_host *host;
    const struct yk_budget *budget; /* may be NULL */
    pthread_t thread;
    pthread_mutex_t lock; /* of the four below */
    pthread_cond_t wake;
    struct job *first, **last;
    uint64_t admitted; /* bytes of the budget set aside by admit */
    bool is_closing;
    struct record **records; /* sorted; the thread's */
    size_t n_records, n_room;
};

static uint64_t
size_of(uint32_t key_size, size_t value_size)
{
    return sizeof(struct record) + sizeof(struct record *) + key_size + value_size;
}

/* Where the key is (*ret_found), or where it would stand. */
static size_t
find(const struct engine *engine, const uint8_t *data, uint32_t size, bool *ret_found)
{
    size_t low = 0, high = engine->n_records;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct yk_key *key = &engine->records[middle]->key;
        int order = memcmp(key->data, data, key->size < size ? key->size : size);
        if (order == 0 && key->size == size) {
            *ret_found = true;
            return middle;
        }
        if (order < 0 || (order == 0 && key->size < size)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct record *
record_new(const struct engine *engine, const struct yk_change *change)
{
    size_t size = sizeof(struct record) + change->key.size + change->value.size;
    struct record *record = engine->host->alloc(engine->host, size);
    if (record != NULL) {
        record->key = change->key;
        record->key.data = record->bytes;
        record->value_size = change->value.size;
        memcpy(record->bytes, change->key.data, change->key.size);
        if (change->value.size > 0) {
            memcpy(record->bytes + change->key.size, change->value.data, change->value.size);
        }
    }
    return record;
}

static struct yk_slice
value_of(const struct record *record)
{
    return yk_slice_of(record->bytes + record->key.size, record->value_size);
}

static void
record_free(const struct engine *engine, struct record *record)
{
    if (engine->budget != NULL) {
        engine->budget->give(engine->budget, size_of(record->key.size, record->value_size));
    }
    engine->host->release(engine->host, record);
}

/* Room for a record: what admit set aside first, then the budget. */
static bool
pay(struct engine *engine, uint64_t size)
{
    if (engine->budget == NULL) {
        return true;
    }
    pthread_mutex_lock(&engine->lock);
    uint64_t paid = size < engine->admitted ? size : engine->admitted;
    engine->admitted -= paid;
    pthread_mutex_unlock(&engine->lock);
    if (size > paid && !engine->budget->take(engine->budget, size - paid)) {
        engine->budget->give(engine->budget, paid);
        return false;
    }
    return true;
}

static bool
has_room(struct engine *engine)
{
    if (engine->n_records < engine->n_room) {
        return true;
    }
    size_t n_room = engine->n_room == 0 ? 64 : engine->n_room * 2;
    void *records =
        engine->host->resize(engine->host, engine->records, n_room * sizeof(*engine->records));
    if (records != NULL) {
        engine->records = records;
        engine->n_room = n_room;
    }
    return records != NULL;
}

static enum yk_err
change_one(struct engine *engine, const struct yk_change *change)
{
    bool is_found;
    size_t at = find(engine, change->key.data, change->key.size, &is_found);
    size_t n_after = engine->n_records - at;
    if (change->kind == YK_CHANGE_DELETE) {
        if (is_found) {
            struct record **slot = &engine->records[at];
            record_free(engine, *slot);
            memmove(slot, slot + 1, (n_after - 1) * sizeof(*slot));
            engine->n_records--;
        }
        return YK_OK;
    }
    uint64_t size = size_of(change->key.size, change->value.size);
    if ((!is_found && !has_room(engine)) || !pay(engine, size)) {
        return YK_ENOMEM;
    }
    struct record *record = record_new(engine, change);
    if (record == NULL) {
        if (engine->budget != NULL) {
            engine->budget->give(engine->budget, size);
        }
        return YK_ENOMEM;
    }
    struct record **slot = &engine->records[at];
    if (is_found) {
        record_free(engine, *slot);
    } else {
        memmove(slot + 1, slot, n_after * sizeof(*slot));
        engine->n_records++;
    }
    *slot = record;
    return YK_OK;
}

/* The cursor is the key of the last record that was taken. */
static void
scan_from(const struct engine *engine, struct job *job)
{
    struct yk_cursor *cursor = job->cursor;
    bool is_found = false;
    size_t at = cursor->size == 0 ? 0 : find(engine, cursor->data, cursor->size, &is_found);
    uint64_t bytes = 0;
    for (at += is_found; at < engine->n_records && bytes < job->scan->bytes_max; at++) {
        const struct record *record = engine->records[at];
        if (!job->record_fn(job->arg, &record->key, value_of(record))) {
            break;
        }
        memcpy(cursor->data, record->key.data, record->key.size);
        cursor->size = record->key.size;
        bytes += record->key.size + record->value_size;
    }
    *job->ret_end = at == engine->n_records;
}

static enum yk_err
run(struct engine *engine, struct job *job)
{
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; job->kind == JOB_GET && i < job->n; i++) {
        bool is_found;
        size_t at = find(engine, job->keys[i].data, job->keys[i].size, &is_found);
        struct yk_slice value = is_found ? value_of(engine->records[at]) : yk_slice_of(NULL, 0);
        job->value_fn(job->arg, i, is_found ? YK_OK : YK_ENOTFOUND, value);
    }
    for (uint32_t i = 0; job->kind == JOB_APPLY && i < job->n && result == YK_OK; i++) {
        result = change_one(engine, &job->changes[i]);
    }
    if (job->kind == JOB_SCAN) {
        scan_from(engine, job);
    }
    return result;
}

static void *
thread_main(void *arg)
{
    struct engine *engine = arg;
    pthread_mutex_lock(&engine->lock);
    while (engine->first != NULL || !engine->is_closing) {
        struct job *job = engine->first;
        if (job == NULL) {
            pthread_cond_wait(&engine->wake, &engine->lock);
            continue;
        }
        engine->first = job->next;
        engine->last = engine->first == NULL ? &engine->first : engine->last;
        pthread_mutex_unlock(&engine->lock);
        struct yk_call *call = job->call;
        enum yk_err result = run(engine, job);
        engine->host->complete(engine->host, call, result); /* the job is gone with this */
        pthread_mutex_lock(&engine->lock);
    }
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

static enum yk_err
queue(struct engine *engine, const struct job *job)
{
    struct job *copy = job->call->alloc(job->call, sizeof(*copy));
    if (copy == NULL) {
        return YK_ENOMEM;
    }
    *copy = *job;
    pthread_mutex_lock(&engine->lock);
    *engine->last = copy;
    engine->last = &copy->next;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->lock);
    return YK_EPENDING;
}

static enum yk_err
get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
    struct yk_call *call)
{
    struct job job = {
        .call = call, .kind = JOB_GET, .n = n, .keys = keys, .value_fn = fn, .arg = arg};
    return queue(self, &job);
}

static enum yk_err
apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct job job = {.call = call, .kind = JOB_APPLY, .n = n, .changes = changes};
    return queue(self, &job);
}

static enum yk_err
scan(void *self, const struct yk_scan *scan_, struct yk_cursor *cursor, yk_record_fn fn, void *arg,
     bool *ret_end, struct yk_call *call)
{
    struct job job = {.call = call,
                      .kind = JOB_SCAN,
                      .scan = scan_,
                      .cursor = cursor,
                      .ret_end = ret_end,
                      .record_fn = fn,
                      .arg = arg};
    return queue(self, &job);
}

static enum yk_err
admit(void *self, const struct yk_change *change)
{
    struct engine *engine = self;
    uint64_t size = size_of(change->key.size, change->value.size);
    if (change->kind == YK_CHANGE_DELETE || engine->budget == NULL) {
        return YK_OK;
    }
    if (!engine->budget->take(engine->budget, size)) {
        return YK_ENOMEM;
    }
    pthread_mutex_lock(&engine->lock);
    engine->admitted += size;
    pthread_mutex_unlock(&engine->lock);
    return YK_OK;
}

static void
info(void *self, struct yk_backend_info *info_)
{
    info_->caps = YK_BACKEND_ASYNC | YK_BACKEND_ORDERED | YK_BACKEND_VOLATILE;
}

static enum yk_err
open(void *self, const struct yk_backend_place *place)
{
    struct engine *engine = self;
    engine->budget = place->budget;
    engine->is_closing = false;
    if (pthread_create(&engine->thread, NULL, thread_main, engine) != 0) {
        engine->host->error(engine->host, "cannot start a thread");
        return YK_ENOMEM;
    }
    return YK_OK;
}

static void
close(void *self)
{
    struct engine *engine = self;
    pthread_mutex_lock(&engine->lock);
    engine->is_closing = true;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->lock);
    pthread_join(engine->thread, NULL); /* what is queued ends first */
    for (size_t i = 0; i < engine->n_records; i++) {
        record_free(engine, engine->records[i]);
    }
    if (engine->budget != NULL) {
        engine->budget->give(engine->budget, engine->admitted);
    }
    engine->host->release(engine->host, engine->records);
    engine->records = NULL;
    engine->n_records = engine->n_room = 0;
    engine->admitted = 0;
}

static enum yk_err
create(const struct yk_host *host, void **ret_self)
{
    struct engine *engine = host->alloc(host, sizeof(*engine));
    if (engine == NULL) {
        return YK_ENOMEM;
    }
    *engine = (struct engine){.host = host};
    engine->last = &engine->first;
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->wake, NULL);
    *ret_self = engine;
    return YK_OK;
}

static void
destroy(void *self)
{
    struct engine *engine = self;
    pthread_cond_destroy(&engine->wake);
    pthread_mutex_destroy(&engine->lock);
    engine->host->release(engine->host, engine);
}

static const struct yk_backend_ops ops = {.struct_size = sizeof(ops),
                                          .life = {.create = create, .destroy = destroy},
                                          .info = info,
                                          .open = open,
                                          .close = close,
                                          .get = get,
                                          .apply = apply,
                                          .scan = scan,
                                          .admit = admit};

YK_PLUGIN(async) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), .name = "async",
                    .version = "sketch", .summary = "records in memory, behind a thread of its own",
                    .ops = &ops};
