/* Backend "memory": a map in memory, with a cap that its lanes share, and S3-FIFO eviction for
 * buckets that ask for it.
 *
 * Two structures: a log of items (log.h) and a hash table of references into it (table.h). An item
 * costs 10 bytes of head, its rounding to 4, and about 8 bytes of the table; with the record's own
 * head of 10 bytes that is some 30 bytes beyond key and value. The log is why: memory of its own
 * for each item would cost 16 bytes of malloc and a size class's rounding, an eviction queue of
 * items two pointers, a chained hash table one more and the hash. Here the order in which items
 * were written is the queue, and eviction, cleaning and growth all work by small steps of which
 * each call that writes does some, so that no call waits for the whole.
 *
 * admit writes the item to the log, so that apply cannot fail: it only leads the table to it. A
 * record that is as large as the one it replaces is written over that one instead, and the room at
 * the end of the log is taken back.
 *
 * get looks up a batch in three passes, each of which asks for the memory that the next one needs:
 * a batch costs about as much as its slowest key, not the sum. prefetch is the same, for a host
 * that asks key by key. */
#include "backends/memory/memory.h"

enum {
    PENDING_FIRST = 16,
    GET_GROUP = 16,         /* keys that are looked up beside each other */
    CLEAN_ITEMS_MAX = 4096, /* looked at to find room without evicting, before giving up */
    WORK = 4096,            /* bytes of items looked at between two tries to find room, */
    TEND = 2048,            /* by each call, when there is work in the background, */
    TEND_PER_BYTE = 4       /* and for each byte that it writes */
};

/* Life */

static enum yk_err
memory_create(const struct yk_host *host, void **ret_self)
{
    struct memory *memory = host->alloc(host, sizeof(*memory));
    if (memory == NULL) {
        return YK_ENOMEM;
    }
    memset(memory, 0, sizeof(*memory));
    memory->host = host;
    *ret_self = memory;
    return YK_OK;
}

static void
memory_destroy(void *self)
{
    struct memory *memory = self;
    memory->host->release(memory->host, memory);
}

static void
memory_info(void *self, struct yk_backend_info *info)
{
    info->caps |= YK_BACKEND_EXACT_COUNT | YK_BACKEND_ATOMIC_BATCH | YK_BACKEND_SEGMENTS |
                  YK_BACKEND_EVICTS | YK_BACKEND_VOLATILE;
    info->key_size_max = UINT16_MAX;
    info->value_size_max = UINT32_MAX;
}

static enum yk_err
memory_open(void *self, const struct yk_backend_place *place)
{
    struct memory *memory = self;
    memory->may_evict = place->may_evict && place->budget->size_max != 0;
    purse_init(&memory->purse, memory->host, place);
    log_init(&memory->log, &memory->purse, memory->may_evict);
    tables_init(&memory->tables, &memory->purse, &memory->log, place);
    ghosts_init(&memory->ghosts, &memory->purse);
    enum yk_err result = tables_open(&memory->tables);
    if (result != YK_OK) {
        memory->host->error(memory->host, "memory_max is too small for %u lanes", place->n_lanes);
        return result;
    }
    while (log_restock(&memory->log)) {
        /* A lane that comes late finds its first segments here, whatever the others have taken. */
    }
    return YK_OK;
}

static void
memory_close(void *self)
{
    struct memory *memory = self;
    ghosts_done(&memory->ghosts);
    tables_done(&memory->tables);
    log_done(&memory->log);
    purse_free(&memory->purse, memory->pending, memory->pending_room * sizeof(uint32_t));
}

/* Reading */

static uint32_t
seconds_now(const struct memory *memory, const struct yk_call *call)
{
    bool is_told = call != NULL &&
                   call->struct_size >= offsetof(struct yk_call, now_ms) + sizeof(call->now_ms) &&
                   call->now_ms != 0;
    return (uint32_t)((is_told ? call->now_ms : memory->host->now_ms(memory->host)) / 1000);
}

static void
answer(struct item *item, uint32_t now_s, uint32_t index, yk_value_fn fn, void *arg)
{
    struct parts parts = item_parts(item);
    uint8_t flags = item->flags | ITEM_WAS_HIT;
    flags = (uint8_t)(flags + ((flags & ITEM_HITS) < HITS_MAX ? 1 : 0));
    if (flags != item->flags || item->accessed_s != now_s) {
        item->flags = flags;
        item->accessed_s = now_s;
    }
    fn(arg, index, YK_OK, yk_slice_of(parts.value, parts.value_size));
}

static void
get_one(struct memory *memory, const struct yk_key *key, uint64_t hash, uint32_t now_s,
        uint32_t index, yk_value_fn fn, void *arg)
{
    struct entry entry = table_find(&memory->tables, key, hash);
    if (entry.bucket == NULL) {
        fn(arg, index, YK_ENOTFOUND, yk_slice_of(NULL, 0));
        return;
    }
    answer(log_item(&memory->log, entry.bucket->refs[entry.index]), now_s, index, fn, arg);
}

/* gcc takes a function that does nothing but prefetch for one without effect, and drops its calls:
 * so these two must be inlined. */
__attribute__((always_inline)) static inline void
prefetch_home(const struct memory *memory, const struct yk_key *key, uint64_t hash)
{
    const struct table *table = table_of(&memory->tables, key->slot);
    if (table->n_buckets > 0) {
        __builtin_prefetch(table_home(table, hash));
    }
}

/* The first entry with the key's tag is almost always the key's own. */
__attribute__((always_inline)) static inline void
prefetch_item(const struct memory *memory, const struct yk_key *key, uint64_t hash)
{
    const struct table *table = table_of(&memory->tables, key->slot);
    if (table->n_buckets > 0) {
        const struct bucket *home = table_home(table, hash);
        uint32_t mask = bucket_match(home, tag_of(hash));
        if (mask != 0) {
            const char *item =
                (const char *)log_item(&memory->log, home->refs[__builtin_ctz(mask)]);
            __builtin_prefetch(item);
            __builtin_prefetch(item + 64);
            __builtin_prefetch(item + 128);
        }
    }
}

static void
get_group(struct memory *memory, const struct yk_key *keys, uint32_t first, uint32_t n,
          uint32_t now_s, yk_value_fn fn, void *arg)
{
    uint64_t hashes[GET_GROUP];
    for (uint32_t i = 0; i < n; i++) {
        hashes[i] = table_hash(&memory->tables, &keys[first + i]);
        prefetch_home(memory, &keys[first + i], hashes[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        prefetch_item(memory, &keys[first + i], hashes[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        get_one(memory, &keys[first + i], hashes[i], now_s, first + i, fn, arg);
    }
}

static void
memory_prefetch(void *self, const struct yk_key *key, uint32_t stage)
{
    struct memory *memory = self;
    uint64_t hash = table_hash(&memory->tables, key);
    if (stage == 0) {
        prefetch_home(memory, key, hash);
    } else {
        prefetch_item(memory, key, hash);
    }
}

static enum yk_err
memory_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
           struct yk_call *call)
{
    struct memory *memory = self;
    uint32_t now_s = seconds_now(memory, call);
    if (n == 1) {
        get_one(memory, &keys[0], table_hash(&memory->tables, &keys[0]), now_s, 0, fn, arg);
    } else {
        for (uint32_t i = 0; i < n; i += GET_GROUP) {
            get_group(memory, keys, i, n - i < GET_GROUP ? n - i : GET_GROUP, now_s, fn, arg);
        }
    }
    if (memory->may_evict && purse_is_over(&memory->purse)) {
        memory_tend(memory, TEND); /* a lane that is only read must give back too */
    }
    return YK_OK;
}

/* Admission */

static bool
pending_push(struct memory *memory, uint32_t ref)
{
    if (memory->n_pending == memory->pending_room) {
        uint32_t room = memory->pending_room;
        uint32_t wanted = room == 0 ? PENDING_FIRST : room * 2;
        uint32_t *pending = purse_alloc(&memory->purse, wanted * sizeof(*pending));
        if (pending == NULL) {
            return false;
        }
        for (uint32_t i = 0; i < memory->n_pending; i++) {
            pending[i] = memory->pending[(memory->pending_first + i) & (room - 1)];
        }
        purse_free(&memory->purse, memory->pending, room * sizeof(*pending));
        memory->pending = pending;
        memory->pending_room = wanted;
        memory->pending_first = 0;
    }
    memory->pending[(memory->pending_first + memory->n_pending++) & (memory->pending_room - 1)] =
        ref;
    return true;
}

static uint32_t
pending_at(const struct memory *memory, uint32_t index)
{
    return memory->pending[(memory->pending_first + index) & (memory->pending_room - 1)];
}

static void
pending_pop(struct memory *memory)
{
    memory->pending_first = (memory->pending_first + 1) & (memory->pending_room - 1);
    memory->n_pending--;
}

/* What replaces an item stays in its queue, and a ghost comes to main. */
static enum queue_kind
queue_for(struct memory *memory, const struct yk_key *key, uint64_t hash)
{
    if (!memory->may_evict) {
        return QUEUE_MAIN;
    }
    struct entry old = table_find(&memory->tables, key, hash);
    if (old.bucket != NULL) {
        uint32_t number = old.bucket->refs[old.index] >> OFFSET_BITS;
        return (enum queue_kind)log_segment(&memory->log, number)->queue;
    }
    return ghosts_take(&memory->ghosts, hash) ? QUEUE_MAIN : QUEUE_SMALL;
}

/* Tries to get all that apply will need; false: some of it was not there. */
static bool
try_admit(struct memory *memory, const struct yk_change *change, uint32_t size,
          enum queue_kind queue, bool spare)
{
    struct table *table = table_of(&memory->tables, change->key.slot);
    uint32_t ref;
    if (!table_prepare(&memory->tables, table, memory->n_pending + 1) ||
        !log_append(&memory->log, queue, size, spare, &ref)) {
        return false;
    }
    item_write(log_item(&memory->log, ref), change, ITEM_PENDING);
    if (!pending_push(memory, ref)) {
        log_drop(&memory->log, ref);
        return false;
    }
    return true;
}

/* Has it been tried for long enough? A bucket that evicts goes on until nothing is left. */
static bool
goes_on(struct memory *memory, uint32_t size, uint64_t n_looked_max)
{
    return (memory->may_evict || memory->n_looked < n_looked_max) && memory->purse.is_bounded &&
           memory_work(memory, log_is_own(&memory->log, size) ? 1 : WORK);
}

static enum yk_err
memory_admit(void *self, const struct yk_change *change)
{
    struct memory *memory = self;
    if (change->kind != YK_CHANGE_PUT) {
        return YK_OK;
    }
    uint32_t size = change_size(change);
    uint64_t bytes = (uint64_t)size * GRANULE;
    if (memory->purse.is_bounded) {
        memory_tend(memory, TEND + (int64_t)bytes * TEND_PER_BYTE);
        if (log_is_own(&memory->log, size) &&
            !purse_may_find(&memory->purse, bytes,
                            memory->may_evict ? memory->log.size : log_dead(&memory->log))) {
            return YK_ENOMEM; /* not worth evicting for */
        }
    }
    uint64_t hash = table_hash(&memory->tables, &change->key);
    enum queue_kind queue = queue_for(memory, &change->key, hash);
    uint64_t n_looked_max = memory->n_looked + CLEAN_ITEMS_MAX;
    while (!try_admit(memory, change, size, queue, false)) {
        if (!goes_on(memory, size, n_looked_max)) {
            bool is_admitted = memory->may_evict && try_admit(memory, change, size, queue, true);
            return is_admitted ? YK_OK : YK_ENOMEM;
        }
    }
    return YK_OK;
}

/* Changes */

static bool
is_change(const struct item *item, const struct yk_change *change)
{
    return item_is(item, &change->key) && item_parts(item).value_size == change->value.size;
}

/* The item that was admitted for the change. What was admitted before it and is still here was
 * given up, by a filter above: it goes. False: the change was not admitted. */
static bool
take_pending(struct memory *memory, const struct yk_change *change, uint32_t *ret_ref)
{
    uint32_t n = 0;
    while (n < memory->n_pending &&
           !is_change(log_item(&memory->log, pending_at(memory, n)), change)) {
        n++;
    }
    if (n == memory->n_pending) {
        return false;
    }
    for (; n > 0; n--) {
        log_drop(&memory->log, pending_at(memory, 0));
        pending_pop(memory);
    }
    *ret_ref = pending_at(memory, 0);
    pending_pop(memory);
    return true;
}

/* Over an old item of the same size the record is written in place: the log does not grow. */
static void
replace(struct memory *memory, struct entry old, uint32_t ref)
{
    uint32_t old_ref = old.bucket->refs[old.index];
    struct item *from = log_item(&memory->log, ref), *to = log_item(&memory->log, old_ref);
    uint32_t size = item_size(from);
    from->flags = (uint8_t)((from->flags & ~ITEM_PENDING) | (to->flags & ITEM_HITS));
    if (size == item_size(to)) {
        memcpy(to, from, (size_t)size * GRANULE);
        log_drop(&memory->log, ref);
    } else {
        old.bucket->refs[old.index] = ref;
        log_drop(&memory->log, old_ref);
    }
}

static enum yk_err
put(struct memory *memory, const struct yk_change *change, uint64_t hash, uint32_t now_s)
{
    uint32_t ref;
    if (!take_pending(memory, change, &ref)) {
        memory->host->error(memory->host, "apply of a change that was not admitted");
        return YK_EINVALID;
    }
    log_item(&memory->log, ref)->accessed_s = now_s;
    struct entry old = table_find(&memory->tables, &change->key, hash);
    if (old.bucket != NULL) {
        replace(memory, old, ref);
    } else {
        log_item(&memory->log, ref)->flags &= (uint8_t)~ITEM_PENDING;
        table_insert(&memory->tables, table_of(&memory->tables, change->key.slot), hash, ref);
    }
    return YK_OK;
}

static enum yk_err
memory_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct memory *memory = self;
    uint32_t now_s = seconds_now(memory, call);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = table_hash(&memory->tables, &changes[i].key);
        if (changes[i].kind == YK_CHANGE_PUT) {
            enum yk_err result = put(memory, &changes[i], hash, now_s);
            if (result != YK_OK) {
                return result;
            }
            continue;
        }
        struct entry old = table_find(&memory->tables, &changes[i].key, hash);
        if (old.bucket != NULL) {
            memory_remove(memory, table_of(&memory->tables, changes[i].key.slot), old, hash);
        }
    }
    memory_tend(memory, TEND);
    return YK_OK;
}

/* Figures */

static enum yk_err
memory_count(void *self, uint64_t *ret_records)
{
    struct memory *memory = self;
    *ret_records = memory->tables.n_items;
    return YK_OK;
}

static enum yk_err
memory_count_slot(void *self, uint16_t slot, uint64_t *ret_records)
{
    struct memory *memory = self;
    *ret_records = table_of(&memory->tables, slot)->n_items;
    return YK_OK;
}

static void
memory_stats(void *self, yk_figure_fn fn, void *arg)
{
    struct memory *memory = self;
    fn(arg, "bytes", memory->log.live);
    fn(arg, "evictions", memory->evictions);
    fn(arg, "log_bytes", memory->log.size);
    fn(arg, "hash_bytes", memory->tables.size);
    fn(arg, "ghost_bytes", ghosts_size(&memory->ghosts));
    fn(arg, "memory_bytes", memory->purse.taken);
    fn(arg, "items_looked_at", memory->n_looked);
}

static enum yk_err
memory_hint(void *self, const struct yk_key *key, struct yk_hint *ret_hint)
{
    struct memory *memory = self;
    struct entry entry = table_find(&memory->tables, key, table_hash(&memory->tables, key));
    if (entry.bucket == NULL) {
        return YK_ENOTFOUND;
    }
    const struct item *item = log_item(&memory->log, entry.bucket->refs[entry.index]);
    ret_hint->was_hit = (item->flags & ITEM_WAS_HIT) != 0;
    ret_hint->last_access_ms = item->accessed_s * 1000ull;
    return YK_OK;
}

static const struct yk_backend_ops memory_ops = {
    .struct_size = sizeof(memory_ops),
    .life = {.create = memory_create, .destroy = memory_destroy},
    .info = memory_info,
    .open = memory_open,
    .close = memory_close,
    .get = memory_get,
    .apply = memory_apply,
    .scan = memory_scan,
    .admit = memory_admit,
    .count = memory_count,
    .stats = memory_stats,
    .wipe_slot = memory_wipe_slot,
    .count_slot = memory_count_slot,
    .hint = memory_hint,
    .prefetch = memory_prefetch,
};

YK_PLUGIN(memory) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .name = "memory",
    .version = "2",
    .summary = "records in memory, with a cap and S3-FIFO eviction",
    .details =
        "Keeps nothing over a restart. The bucket's memory_max bounds all that the engine "
        "allocates: "
        "keys, values, its tables and its own overhead, some 30 bytes for each item. A bucket with "
        "evict = s3fifo drops what is read least when it is full, one with evict = none refuses "
        "writes with \"out of memory storing object\". The lanes share the memory: one that has "
        "more than its part gives back when others miss some, a little with each of its calls. A "
        "record for which no room is found by then is refused, in a bucket that evicts too; this "
        "may happen where records are large beside memory_max divided by the number of lanes.\n\n"
        "The engine has no options of its own.",
    .ops = &memory_ops,
};
