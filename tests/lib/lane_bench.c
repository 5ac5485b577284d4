/* The engine and the bench of the lane's tests. */
#include <config.h>

#include "tests/lib/lane_bench.h"

#include <stdlib.h>

#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/journal/bundle.h"

struct stub stub;
uint32_t bench_mutant;

/* -- The engine. -- */

static gboolean
count_own(gpointer key, gpointer value, gpointer arg)
{
    const uint8_t *data = g_bytes_get_data(key, NULL);
    *(int *)arg -= stub.mode != MODE_INLINE && data[0] == 0xff && data[1] == 0xff ? 1 : 0;
    return FALSE;
}

/* Without the lane's own. */
int
n_records(void)
{
    int n = g_tree_nnodes(stub.records);
    g_tree_foreach(stub.records, count_own, &n);
    return n;
}

static gint
compare_keys(gconstpointer a, gconstpointer b, gpointer data)
{
    return g_bytes_compare(a, b);
}

static enum yk_err
stub_create(const struct yk_host *host, void **ret_self)
{
    stub.host = host;
    *ret_self = &stub;
    return YK_OK;
}

static void
stub_info(void *self, struct yk_backend_info *info)
{
    static const uint32_t caps[] = {YK_BACKEND_SEGMENTS | YK_BACKEND_VOLATILE,
                                    0,
                                    YK_BACKEND_BLOCKS,
                                    YK_BACKEND_BLOCKS | YK_BACKEND_ATOMIC_BATCH,
                                    YK_BACKEND_ASYNC,
                                    YK_BACKEND_ASYNC};
    info->caps |= caps[stub.mode];
    info->caps |= stub.survives ? YK_BACKEND_SURVIVES_KILL | YK_BACKEND_SURVIVES_POWER : 0;
    info->threads = stub.mode == MODE_READERS ? YK_THREADS_READERS : YK_THREADS_SERIAL;
}

static GTree *
tree_new(void)
{
    return g_tree_new_full(compare_keys, NULL, (GDestroyNotify)g_bytes_unref,
                           (GDestroyNotify)g_bytes_unref);
}

static gboolean
copy_pair(gpointer key, gpointer value, gpointer arg)
{
    g_tree_insert(arg, g_bytes_ref(key), g_bytes_ref(value));
    return FALSE;
}

static GTree *
tree_copy(GTree *from)
{
    GTree *copy = tree_new();
    if (from != NULL) {
        g_tree_foreach(from, copy_pair, copy);
    }
    return copy;
}

static enum yk_err
stub_open(void *self, const struct yk_backend_place *place)
{
    if (stub.records == NULL) {
        stub.records = tree_new();
    }
    stub.n_open++;
    return YK_OK;
}

static void
stub_close(void *self)
{
    stub.n_open--;
}

static enum yk_err
do_get(const struct pending *pending)
{
    for (uint32_t i = 0; i < pending->n && !stub.answers_not; i++) {
        uint32_t index = pending->n - 1 - i;
        g_autoptr(GBytes) key =
            g_bytes_new_static(pending->keys[index].data, pending->keys[index].size);
        if (stub.forgets_first) {
            g_tree_remove(stub.records, key);
        }
        GBytes *value = g_tree_lookup(stub.records, key);
        gsize size = 0;
        const void *data = value != NULL ? g_bytes_get_data(value, &size) : NULL;
        for (int again = 0; again < (stub.answers_twice ? 2 : 1); again++) {
            pending->value_fn(pending->arg, index, value != NULL ? YK_OK : YK_ENOTFOUND,
                              yk_slice_of(data, size));
        }
        if (stub.answers_outside) {
            pending->value_fn(pending->arg, pending->n, YK_OK, yk_slice_of(data, size));
            pending->value_fn(pending->arg, UINT32_MAX, YK_OK, yk_slice_of(data, size));
        }
    }
    stub.n_gets += pending->n;
    return stub.get_result;
}

static enum yk_err
do_apply(const struct pending *pending)
{
    if (stub.apply_result != YK_OK) {
        return stub.apply_result;
    }
    for (uint32_t i = 0; i < pending->n; i++) {
        const struct yk_key *key = &pending->changes[i].key;
        size_t size = stub.damaged != NULL ? strlen(stub.damaged) : 0;
        if (stub.is_full && pending->changes[i].kind == YK_CHANGE_PUT) {
            return YK_ENOSPACE;
        }
        if (stub.has_bad_pages && key->data[0] == 0xff && key->data[1] == 0xff) {
            return YK_ECORRUPT;
        }
        if (stub.damaged != NULL && key->size >= size &&
            memcmp(key->data + key->size - size, stub.damaged, size) == 0) {
            return YK_ECORRUPT;
        }
    }
    for (uint32_t i = 0; i < pending->n; i++) {
        const struct yk_change *change = &pending->changes[i];
        GBytes *key = g_bytes_new(change->key.data, change->key.size);
        if (change->kind == YK_CHANGE_PUT) {
            stub.n_admitted--;
            g_tree_replace(stub.records, key, g_bytes_new(change->value.data, change->value.size));
        } else {
            g_tree_remove(stub.records, key);
            g_bytes_unref(key);
        }
        stub.n_applied++;
    }
    return YK_OK;
}

struct walk {
    const struct pending *pending;
    GBytes *from;
    uint64_t bytes;
    bool is_stopped;
};

static gboolean
visit(gpointer key_bytes, gpointer value_bytes, gpointer arg)
{
    struct walk *walk = arg;
    gsize key_size, value_size;
    if (walk->from != NULL && g_bytes_compare(key_bytes, walk->from) <= 0) {
        return FALSE;
    }
    const uint8_t *data = g_bytes_get_data(key_bytes, &key_size);
    const void *value = g_bytes_get_data(value_bytes, &value_size);
    struct yk_key key = {.data = data, .size = (uint32_t)key_size};
    key.slot = stub.mode == MODE_INLINE ? (uint16_t)(XXH3_64bits(data, key_size) >> 60)
                                        : (uint16_t)(data[0] << 8 | data[1]);
    if (walk->bytes >= walk->pending->bytes_max ||
        !walk->pending->record_fn(walk->pending->arg, &key, yk_slice_of(value, value_size))) {
        walk->is_stopped = true;
        return TRUE;
    }
    walk->bytes += key_size + value_size;
    memcpy(walk->pending->cursor->data, data, key_size);
    walk->pending->cursor->size = (uint32_t)key_size;
    return FALSE;
}

static enum yk_err
do_scan(const struct pending *pending)
{
    struct yk_cursor *cursor = pending->cursor;
    struct walk walk = {.pending = pending};
    walk.from = cursor->size > 0 ? g_bytes_new(cursor->data, cursor->size) : NULL;
    if (stub.scan_result == YK_OK) {
        g_tree_foreach(stub.records, visit, &walk);
        *pending->ret_end = !walk.is_stopped;
    }
    g_clear_pointer(&walk.from, g_bytes_unref);
    stub.n_scans++;
    return stub.scan_result;
}

static enum yk_err
execute(const struct pending *pending)
{
    switch (pending->kind) {
    case 'g':
        return do_get(pending);
    case 'a':
        return do_apply(pending);
    default:
        return do_scan(pending);
    }
}

/* Executes now, or later. */
static enum yk_err
begin(struct pending pending, struct yk_call *call)
{
    g_assert_cmpint(stub.pending.kind, ==, 0); /* one call at a time */
    memset(call->alloc(call, 100), 'x', 100);
    if (stub.mode < MODE_ASYNC) {
        return execute(&pending);
    }
    pending.call = call;
    if (stub.mode == MODE_ASYNC) {
        stub.pending = pending;
    } else {
        enum yk_err result = execute(&pending);
        stub.host->complete(stub.host, call, result);
    }
    return YK_EPENDING;
}

static enum yk_err
stub_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
         struct yk_call *call)
{
    return begin((struct pending){.kind = 'g', .keys = keys, .n = n, .value_fn = fn, .arg = arg},
                 call);
}

static enum yk_err
stub_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    return begin((struct pending){.kind = 'a', .changes = changes, .n = n}, call);
}

static enum yk_err
stub_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
          void *arg, bool *ret_end, struct yk_call *call)
{
    return begin((struct pending){.kind = 's',
                                  .bytes_max = scan->bytes_max,
                                  .cursor = cursor,
                                  .record_fn = fn,
                                  .arg = arg,
                                  .ret_end = ret_end},
                 call);
}

static enum yk_err
stub_admit(void *self, const struct yk_change *change)
{
    bool is_put = change->kind == YK_CHANGE_PUT;
    if (is_put && stub.n_admitted_max > 0 && stub.n_admitted == stub.n_admitted_max) {
        return YK_ENOMEM;
    }
    if (is_put && stub.refused != NULL &&
        memmem(change->value.data, change->value.size, stub.refused, strlen(stub.refused)) !=
            NULL) {
        return YK_ENOSPACE;
    }
    stub.n_admitted += is_put ? 1 : 0;
    return YK_OK;
}

static enum yk_err
stub_sync(void *self)
{
    stub.n_syncs++;
    if (stub.sync_result == YK_OK) {
        g_clear_pointer(&stub.synced, g_tree_destroy);
        stub.synced = tree_copy(stub.records);
    }
    return stub.sync_result;
}

static void
stub_stats(void *self, yk_figure_fn fn, void *arg)
{
    fn(arg, "records", (uint64_t)g_tree_nnodes(stub.records));
}

static const struct yk_backend_ops stub_ops = {
    .struct_size = sizeof(stub_ops),
    .life = {.create = stub_create},
    .info = stub_info,
    .open = stub_open,
    .close = stub_close,
    .get = stub_get,
    .apply = stub_apply,
    .scan = stub_scan,
    .admit = stub_admit,
    .sync = stub_sync,
    .stats = stub_stats,
};

static const struct yk_plugin stub_plugin = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
                                             .name = "stub", .ops = &stub_ops};

/* The same, which admits everything. */
static const struct yk_backend_ops plain_ops = {
    .struct_size = sizeof(plain_ops),
    .life = {.create = stub_create},
    .info = stub_info,
    .open = stub_open,
    .close = stub_close,
    .get = stub_get,
    .apply = stub_apply,
    .scan = stub_scan,
    .sync = stub_sync,
    .stats = stub_stats,
};

static const struct yk_plugin plain_plugin = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
                                              .name = "plain", .ops = &plain_ops};

/* -- The bench. -- */

static void
answer_free(void *memory)
{
    struct answer *answer = memory;
    g_string_free(answer->value, TRUE);
    g_free(answer);
}

static void
bench_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static void
bench_complete(void *arg, struct yk_call *call, enum yk_err result)
{
    struct bench *bench = arg;
    g_assert_null(bench->completed);
    bench->completed = yk_job_of_call(call, result);
}

static void
free_op(struct yk_op *op)
{
    free(op->pinned);
    memset(op, 0xee, sizeof(*op));
    free(op); /* whoever looks at it again is found out */
}

static bool
bench_done_op(void *arg, struct yk_op *op, const struct yk_reply *reply)
{
    struct bench *bench = arg;
    struct answer *answer = (struct answer *)(uintptr_t)op->request.tag;
    if (bench->has_no_room && op->request.op == YK_OP_GET && reply->value.size > 0) {
        bench->given_back = op;
        return false;
    }
    answer->n_done++;
    answer->order = ++bench->n_answered;
    answer->result = reply->result;
    answer->version = reply->version;
    answer->number = reply->number;
    answer->expiry_ms = reply->expiry_ms;
    answer->client_flags = reply->client_flags;
    answer->flags = reply->flags;
    g_string_append_len(answer->value, reply->value.data, (gssize)reply->value.size);
    g_assert_null(op->entry);
    g_assert_null(op->record);
    g_assert_null(op->old);
    g_assert_null(op->known);
    g_hash_table_remove(bench->ops_out, op);
    free_op(op);
    return true;
}

static void
bench_start(void *arg, struct yk_job *job)
{
    struct bench *bench = arg;
    g_queue_push_tail(&bench->jobs, job);
}

/* -- The journal. -- */

static void
kept_free(void *memory)
{
    struct kept *kept = memory;
    g_bytes_unref(kept->key);
    g_bytes_unref(kept->value);
    g_free(kept);
}

static struct kept *
kept_new(const struct yk_entry *entry)
{
    struct kept *kept = g_new0(struct kept, 1);
    gsize size;
    kept->entry = *entry;
    kept->key = g_bytes_new(entry->key.data, entry->key.size);
    kept->value = g_bytes_new(entry->value.data, entry->value.size);
    kept->entry.key.data = g_bytes_get_data(kept->key, &size);
    kept->entry.value.data = g_bytes_get_data(kept->value, &size);
    return kept;
}

static enum yk_err
bench_reserve(void *arg, struct yk_lane *lane, uint64_t size, const char **ret_text)
{
    struct fake_journal *journal = &((struct bench *)arg)->journal;
    if (journal->reserve_result == YK_OK) {
        journal->reserved += size;
    } else {
        *ret_text = "no room";
    }
    return journal->reserve_result;
}

static void
bench_unreserve(void *arg, struct yk_lane *lane, uint64_t size)
{
    struct fake_journal *journal = &((struct bench *)arg)->journal;
    journal->reserved -= size;
    g_assert_cmpuint(journal->reserved, >=, journal->used);
}

static uint64_t
bench_append(void *arg, struct yk_lane *lane, const struct yk_entry *entry)
{
    struct bench *bench = arg;
    struct fake_journal *journal = &bench->journal;
    struct kept *kept = kept_new(entry);
    kept->mark = journal->mark;
    kept->position = journal->entries->len * 10ull + 5;
    kept->now_ms = bench->now_ms;
    g_ptr_array_add(journal->entries, kept);
    journal->used += yk_entry_size_of(entry);
    journal->n_flushes += entry->kind == YK_ENTRY_FLUSH ? 1 : 0;
    g_assert_cmpuint(journal->reserved, >=, journal->used);
    return journal->mark;
}

static void
bench_keep(void *arg, struct yk_lane *lane, struct yk_bundle *bundle, uint32_t flags)
{
    struct fake_journal *journal = &((struct bench *)arg)->journal;
    g_assert_false(journal->has_piece);
    if ((flags & YK_KEEP_GIVE_UP) != 0) {
        g_clear_pointer(&journal->fresh, g_ptr_array_unref);
        journal->n_given_up++;
        return;
    }
    g_assert_true(((flags & YK_KEEP_FIRST) != 0) == (journal->fresh == NULL));
    journal->piece = bundle;
    journal->flags = flags;
    journal->has_piece = true;
}

bool
reach(struct bench *bench)
{
    struct fake_journal *journal = &bench->journal;
    if (journal->n_reached == journal->entries->len) {
        return false;
    }
    const struct kept *first = journal->entries->pdata[journal->n_reached];
    journal->n_reached = journal->entries->len;
    uint64_t position = first->position;
    yk_lane_journaled(bench->lane, journal->mark++, position);
    return true;
}

bool
keep_piece(struct bench *bench)
{
    struct fake_journal *journal = &bench->journal;
    if (!journal->has_piece) {
        return false;
    }
    struct yk_batch batch = {.entries = {NULL, 0}};
    struct yk_entry entry;
    size_t offset = 0;
    if (journal->piece->size > YK_BATCH_HEAD_SIZE) {
        batch.entries = yk_slice_of(journal->piece->bytes + YK_BATCH_HEAD_SIZE,
                                    journal->piece->size - YK_BATCH_HEAD_SIZE);
    }
    if ((journal->flags & YK_KEEP_FIRST) != 0) {
        journal->fresh = g_ptr_array_new_with_free_func(kept_free);
    }
    while (yk_entry_next(&batch, &offset, &entry) == YK_OK) {
        g_ptr_array_add(journal->fresh, kept_new(&entry));
    }
    g_assert_cmpuint(offset, ==, batch.entries.size);
    journal->has_piece = false;
    if (journal->keep_result != YK_OK) {
        g_clear_pointer(&journal->fresh, g_ptr_array_unref);
    } else if ((journal->flags & YK_KEEP_LAST) != 0) {
        g_clear_pointer(&journal->snapshot, g_ptr_array_unref);
        journal->snapshot = g_steal_pointer(&journal->fresh);
        journal->n_snapshots++;
    }
    yk_lane_kept(bench->lane, journal->keep_result, bench->now_ms);
    return true;
}

uint32_t
first_needed(const struct bench *bench)
{
    uint64_t needed_from = yk_lane_needed_from(bench->lane);
    uint32_t i = 0;
    while (i < bench->journal.n_reached && /* of what is behind it the lane does not know yet */

           ((struct kept *)bench->journal.entries->pdata[i])->position < needed_from) {
        i++;
    }
    return i;
}

/* -- Life. -- */

static void
recover(struct bench *bench, uint32_t from, bool is_wiped)
{
    const struct fake_journal *journal = &bench->journal;
    uint64_t n_applied;
    g_assert_cmpint(yk_lane_recover(bench->lane), ==, YK_OK);
    for (uint32_t i = 0; is_wiped && journal->snapshot != NULL && i < journal->snapshot->len; i++) {
        const struct kept *kept = journal->snapshot->pdata[i];
        g_assert_cmpint(yk_lane_replay(bench->lane, &kept->entry, UINT64_MAX, 0), ==, YK_OK);
    }
    for (uint32_t i = from; i < journal->entries->len; i++) {
        const struct kept *kept = journal->entries->pdata[i];
        enum yk_err result =
            yk_lane_replay(bench->lane, &kept->entry, kept->position, kept->now_ms);
        g_assert_cmpint(result, ==, YK_OK);
    }
    g_assert_cmpint(yk_lane_recovered(bench->lane, &n_applied), ==, YK_OK);
}

static uint64_t
bench_boot_us(void *arg)
{
    return ((const struct bench *)arg)->now_ms * 1000;
}

static void
make_lane(struct bench *bench, uint64_t epoch, bool is_shut)
{
    char error[YK_ERROR_SIZE];
    struct yk_stack *stack;
    bool is_journaled = (bench->setup & SETUP_JOURNALED) != 0;
    enum yk_durability durability = is_journaled ? YK_DURABILITY_DISK : YK_DURABILITY_MEMORY;
    struct yk_stack_config stack_config = {.world = &bench->world,
                                           .backend = bench->settings,
                                           .place = {.n_lanes = 1,
                                                     .n_slots = 16,
                                                     .bucket = "b",
                                                     .budget = &bench->budget.budget,
                                                     .durability = durability},
                                           .value_size_max = 1000,
                                           .key_size_max = 100};
    g_assert_cmpint(yk_stack_open(&stack_config, &stack, error), ==, YK_OK);
    struct yk_lane_config config = {
        .world = &bench->world,
        .stack = stack,
        .is_shut = is_shut,
        .durability = durability,
        .ring = bench->ring,
        .lane = bench->ring.n_lanes - 1,
        .epoch = epoch,
        .value_size_max = 1000,
        .key_size_max = 100,
        .sink = {.arg = bench, .done = bench_done_op, .start = bench_start}};
    if ((bench->setup & SETUP_CLUSTERED) != 0) {
        config.is_clustered = true;
        config.nonce = 7;
        config.mutant = bench_mutant;
        config.incarnation = 1;
        config.lease_us = 400000;
        config.grace_us = 500000;
    }
    if (is_journaled) {
        config.sink.reserve = bench_reserve;
        config.sink.unreserve = bench_unreserve;
        config.sink.append = bench_append;
        config.sink.keep = bench_keep;
    }
    bench->epoch = epoch;
    g_assert_cmpint(yk_lane_new(&config, &bench->lane), ==, YK_OK);
    bool is_inline = stub.mode == MODE_INLINE || (stub.mode == MODE_PREFIX && !is_journaled);
    g_assert_true(yk_lane_keeps(bench->lane) == !is_inline); /* a checkpoint may wait for a disk */
    g_assert_true(yk_lane_pins(bench->lane) == (stub.mode != MODE_INLINE));
    g_assert_true(yk_lane_is_journaled(bench->lane) == is_journaled);
}

void
lane_open(struct bench *bench, uint64_t epoch, bool is_shut)
{
    make_lane(bench, epoch, is_shut);
    if ((bench->setup & SETUP_JOURNALED) != 0 && !is_shut) {
        recover(bench, first_needed(bench), false);
    }
}

void
bench_make(struct bench *bench, int setup)
{
    memset(&stub, 0, sizeof(stub));
    stub.mode = (enum mode)(setup & (SETUP_JOURNALED - 1));
    stub.survives = (setup & SETUP_SURVIVES) != 0;
    *bench = (struct bench){
        .setup = setup,
        .world = {.arg = bench,
                  .boot_us = bench_boot_us,
                  .log = bench_log,
                  .complete = bench_complete},
        .answers = g_ptr_array_new_with_free_func(answer_free),
        .ops_out = g_hash_table_new(NULL, NULL),
        .settings = (setup & SETUP_PLAIN) != 0 ? yk_settings_new(&plain_plugin, "plain")
                                               : yk_settings_new(&stub_plugin, "stub"),
        .ring = {4, (setup & SETUP_NO_SLOT) != 0 ? 32 : 1, 1},
        .now_ms = 1000000,
        .journal = {.entries = g_ptr_array_new_with_free_func(kept_free), .mark = 1},
    };
    yk_budget_init(&bench->budget, 0);
}

void
bench_open(struct bench *bench, int setup)
{
    bench_make(bench, setup);
    lane_open(bench, 3, false);
}

static struct yk_job *
end_call(struct bench *bench)
{
    if (bench->completed == NULL) {
        struct pending pending = stub.pending;
        stub.pending.kind = 0;
        enum yk_err result = execute(&pending);
        stub.host->complete(stub.host, pending.call, result);
    }
    return g_steal_pointer(&bench->completed);
}

void
run_jobs(struct bench *bench)
{
    while (bench->jobs.length > 0 || stub.pending.kind != 0 || bench->completed != NULL) {
        struct yk_job *job = g_queue_pop_head(&bench->jobs);
        if (job == NULL) {
            job = end_call(bench);
        }
        g_assert_true(yk_job_lane(job) == bench->lane);
        if (yk_job_run(job)) {
            yk_lane_job_done(bench->lane, job, bench->now_ms);
        }
    }
}

void
run_job(struct bench *bench, struct yk_job *job)
{
    g_queue_remove(&bench->jobs, job);
    g_assert_true(yk_job_run(job));
    yk_lane_job_done(bench->lane, job, bench->now_ms);
}

void
pump(struct bench *bench)
{
    const struct fake_journal *journal = &bench->journal;
    bool goes_on;
    do {
        yk_lane_run(bench->lane, bench->now_ms);
        run_jobs(bench);
        yk_lane_run(bench->lane, bench->now_ms);
        goes_on = bench->jobs.length > 0;
        goes_on = (!journal->is_held && reach(bench)) || goes_on;
        goes_on = (!journal->keeps_held && keep_piece(bench)) || goes_on;
    } while (goes_on);
}

struct yk_op *
op_new(struct bench *bench, struct yk_request request, struct answer **ret_answer)
{
    struct yk_op *op = calloc(1, sizeof(*op));
    struct answer *answer = g_new0(struct answer, 1);
    uint8_t *bytes = malloc(YK_PIN_ROOM + request.key.size + request.value.size);
    answer->value = g_string_new(NULL);
    g_ptr_array_add(bench->answers, answer);
    op->request = request;
    op->request.struct_size = sizeof(op->request);
    op->request.tag = (uintptr_t)answer;
    op->pinned = bytes;
    if (request.key.size > 0) {
        memcpy(bytes + YK_PIN_ROOM, request.key.data, request.key.size);
    }
    op->request.key = yk_slice_of(bytes + YK_PIN_ROOM, request.key.size);
    if (request.value.size > 0) {
        memcpy(bytes + YK_PIN_ROOM + request.key.size, request.value.data, request.value.size);
    }
    op->request.value = yk_slice_of(bytes + YK_PIN_ROOM + request.key.size, request.value.size);
    op->hash = yk_hash(op->request.key);
    answer->slot = op->slot = (uint16_t)(op->hash >> 60);
    op->is_kept = yk_lane_keeps(bench->lane);
    op->kept_max = 500;
    g_hash_table_add(bench->ops_out, op);
    *ret_answer = answer;
    return op;
}

struct answer *
submit(struct bench *bench, struct yk_request request)
{
    struct answer *answer;
    yk_lane_submit(bench->lane, op_new(bench, request, &answer));
    return answer;
}

struct answer *
store(struct bench *bench, enum yk_mode mode, const char *key, const char *value, int64_t ttl_ms)
{
    return submit(bench,
                  (struct yk_request){.op = YK_OP_STORE,
                                      .mode = mode,
                                      .key = yk_slice_of_text(key),
                                      .value = yk_slice_of_text(value),
                                      .expiry = {ttl_ms, ttl_ms != 0 ? YK_EXPIRY_RELATIVE : 0}});
}

struct answer *
ask(struct bench *bench, enum yk_opcode op, const char *key)
{
    return submit(bench, (struct yk_request){.op = (uint16_t)op, .key = yk_slice_of_text(key)});
}

struct answer *
incr(struct bench *bench, const char *key)
{
    return submit(bench, (struct yk_request){.op = YK_OP_ARITH,
                                             .mode = YK_MODE_INCR,
                                             .key = yk_slice_of_text(key),
                                             .delta = 1});
}

struct answer *
flush(struct bench *bench, int64_t delay_ms)
{
    return submit(
        bench, (struct yk_request){.op = YK_OP_FLUSH,
                                   .expiry = {delay_ms, delay_ms != 0 ? YK_EXPIRY_RELATIVE : 0}});
}

void
assert_value(struct bench *bench, const char *key, const char *value)
{
    struct answer *answer = ask(bench, YK_OP_GET, key);
    pump(bench);
    g_assert_cmpuint(answer->n_done, ==, 1);
    g_assert_cmpuint(answer->result, ==, value != NULL ? YK_OK : YK_ENOTFOUND);
    g_assert_cmpstr(answer->value->str, ==, value != NULL ? value : "");
}

static void
close_engine(void)
{
    g_assert_cmpuint(stub.n_open, ==, 0);
    g_clear_pointer(&stub.records, g_tree_destroy);
    g_clear_pointer(&stub.synced, g_tree_destroy);
}

/* What was set aside went into the journal, or was given back. */
static void
check_books(const struct bench *bench)
{
    const struct fake_journal *journal = &bench->journal;
    g_assert_cmpuint(journal->reserved, >=, journal->used);
    if (journal->n_flushes == 0) {
        g_assert_cmpuint(journal->reserved, ==, journal->used);
    }
}

void
bench_close(struct bench *bench)
{
    bench->journal.is_held = bench->journal.keeps_held = false;
    pump(bench);
    g_assert_true(yk_lane_is_idle(bench->lane));
    check_books(bench);
    for (guint i = 0; i < bench->answers->len; i++) {
        const struct answer *answer = bench->answers->pdata[i];
        g_assert_cmpuint(answer->n_done, ==, answer->is_lost ? 0 : 1);
    }
    g_assert_cmpuint(g_hash_table_size(bench->ops_out), ==, 0);
    yk_lane_free(bench->lane);
    close_engine();
    yk_settings_free(bench->settings);
    g_ptr_array_free(bench->answers, TRUE);
    g_hash_table_destroy(bench->ops_out);
    g_ptr_array_free(bench->journal.entries, TRUE);
    g_clear_pointer(&bench->journal.snapshot, g_ptr_array_unref);
    g_clear_pointer(&bench->journal.fresh, g_ptr_array_unref);
}

void
bench_restart(struct bench *bench, uint64_t epoch)
{
    pump(bench);
    g_assert_true(yk_lane_is_idle(bench->lane));
    uint32_t from = first_needed(bench);
    bool is_volatile = yk_lane_is_volatile(bench->lane);
    yk_lane_free(bench->lane);
    if (is_volatile) {
        g_clear_pointer(&stub.records, g_tree_destroy);
    }
    make_lane(bench, epoch, false);
    if ((bench->setup & SETUP_JOURNALED) != 0) {
        recover(bench, from, is_volatile);
    }
}

static void
lose_op(struct yk_op *op)
{
    struct answer *answer = (struct answer *)(uintptr_t)op->request.tag;
    answer->is_lost = true;
    yk_buffer_unref(op->record);
    yk_buffer_unref(op->old);
    yk_buffer_unref(op->known);
    free_op(op);
}

static void
lose_ops(struct bench *bench)
{
    GHashTableIter iter;
    gpointer op;
    g_hash_table_iter_init(&iter, bench->ops_out);
    while (g_hash_table_iter_next(&iter, &op, NULL)) {
        lose_op(op);
    }
    g_hash_table_remove_all(bench->ops_out);
    g_queue_clear(&bench->jobs);
}

/* What the engine has after the end of the node. */
static bool
lose_records(struct bench *bench, bool loses_power)
{
    bool is_wiped = yk_lane_needs_snapshots(bench->lane);
    if (is_wiped || (loses_power && stub.synced == NULL)) {
        g_clear_pointer(&stub.records, g_tree_destroy);
    } else if (loses_power) {
        g_tree_destroy(stub.records);
        stub.records = tree_copy(stub.synced);
    }
    stub.n_admitted = 0;
    return is_wiped;
}

void
bench_crash(struct bench *bench, uint32_t n_more, bool loses_power, uint32_t from)
{
    struct fake_journal *journal = &bench->journal;
    uint32_t needed = first_needed(bench);
    lose_ops(bench);
    bool is_wiped = lose_records(bench, loses_power);
    yk_lane_free(bench->lane);
    g_ptr_array_set_size(journal->entries, (gint)(journal->n_reached + n_more));
    journal->n_reached = journal->entries->len;
    journal->mark++;
    journal->has_piece = false;
    journal->reserved = journal->used;
    g_clear_pointer(&journal->fresh, g_ptr_array_unref);
    make_lane(bench, bench->epoch + 1, false);
    recover(bench, MIN(MIN(from, needed), journal->entries->len), is_wiped);
}

void
sweep_all(struct bench *bench)
{
    for (int i = 0; i < 1000 && yk_lane_has_to_sweep(bench->lane); i++) {
        yk_lane_sweep(bench->lane, bench->now_ms);
        pump(bench);
    }
}
