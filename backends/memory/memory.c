/* Backend "memory": a map in memory, with a cap that its lanes share, and S3-FIFO eviction for
 * buckets that ask for it.
 *
 * S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): new items go
 * to a small queue, a tenth of the whole; what is read there before its turn comes moves to the
 * main queue, the rest is dropped and remembered as a ghost; a ghost that is stored again goes
 * straight to the main queue.
 *
 * admit allocates the item, so that apply cannot fail. */
#include "backends/memory/table.h"

enum {
    CHUNK_SIZE_MAX = 1024 * 1024,
    SCAN_CHAINS_MAX = 16384, /* in one step: most may be empty */
    GHOSTS_MIN = 256,
    GHOSTS_MAX = 65536,
    HITS_MAX = 3,
    SHRINK_STEP = 16
};

/* What malloc keeps for itself, about. */
#define MALLOC_OVERHEAD 16u

struct queue {
    struct item *oldest, *newest;
    uint64_t size; /* bytes */
};

struct memory {
    const struct yk_host *host;
    const struct yk_budget *budget;
    struct table table;
    bool is_bounded;
    bool may_evict;

    uint64_t granted; /* taken from the budget */
    uint64_t used;
    uint64_t chunk; /* what is taken and given at once */
    uint32_t n_lanes;

    struct queue queues[2];
    struct item *admitted_first, *admitted_last; /* linked by older */

    uint64_t *ghosts;  /* high half: hash, low half: when, counted in ghosts */
    uint32_t n_ghosts; /* a power of two */
    uint32_t ghost_clock;
    uint64_t ghost_size; /* bytes, counted in used */

    uint64_t evictions;
};

static uint64_t
item_size(size_t key_size, size_t value_size)
{
    return sizeof(struct item) + key_size + value_size + MALLOC_OVERHEAD + sizeof(struct item *);
}

static uint64_t
size_of(const struct item *item)
{
    return item_size(item->key_size, item->value_size);
}

/* Queues */

static void
queue_push(struct memory *memory, struct item *item, enum queue_kind kind)
{
    struct queue *queue = &memory->queues[kind];
    item->queue = (uint8_t)kind;
    item->older = queue->newest;
    item->newer = NULL;
    if (queue->newest != NULL) {
        queue->newest->newer = item;
    } else {
        queue->oldest = item;
    }
    queue->newest = item;
    queue->size += size_of(item);
}

static void
queue_remove(struct memory *memory, struct item *item)
{
    struct queue *queue = &memory->queues[item->queue];
    if (item->older != NULL) {
        item->older->newer = item->newer;
    } else {
        queue->oldest = item->newer;
    }
    if (item->newer != NULL) {
        item->newer->older = item->older;
    } else {
        queue->newest = item->older;
    }
    queue->size -= size_of(item);
}

/* Ghosts: a small lossy table; an entry counts while fewer than n_ghosts others have come after it.
 */

static void
ghost_add(struct memory *memory, uint64_t hash)
{
    if (memory->n_ghosts > 0) {
        memory->ghosts[hash & (memory->n_ghosts - 1)] =
            (hash & 0xffffffff00000000ull) | ++memory->ghost_clock;
    }
}

static bool
ghost_take(struct memory *memory, uint64_t hash)
{
    if (memory->n_ghosts == 0) {
        return false;
    }
    uint64_t *ghost = &memory->ghosts[hash & (memory->n_ghosts - 1)];
    bool is_ghost = *ghost != 0 && (*ghost >> 32) == (hash >> 32) &&
                    memory->ghost_clock - (uint32_t)*ghost < memory->n_ghosts;
    if (is_ghost) {
        *ghost = 0;
    }
    return is_ghost;
}

/* Memory */

static void
item_free(struct memory *memory, struct item *item)
{
    memory->used -= size_of(item);
    memory->host->release(memory->host, item);
}

static void
item_drop(struct memory *memory, struct item *item)
{
    queue_remove(memory, item);
    item_free(memory, item);
}

static void
evict(struct memory *memory, struct item *item)
{
    table_remove(&memory->table, item);
    if (item->queue == QUEUE_SMALL) {
        ghost_add(memory, item->hash);
    }
    item_drop(memory, item);
    memory->evictions++;
}

/* Looks at one item and evicts it, or gives it another round; false: there is none. */
static bool
evict_step(struct memory *memory)
{
    struct queue *small = &memory->queues[QUEUE_SMALL];
    struct queue *main_queue = &memory->queues[QUEUE_MAIN];
    bool from_small = small->oldest != NULL && (main_queue->oldest == NULL ||
                                                small->size * 10 >= small->size + main_queue->size);
    struct item *item = from_small ? small->oldest : main_queue->oldest;
    if (item == NULL) {
        return false;
    }
    if (item->hits == 0) {
        evict(memory, item);
        return true;
    }
    item->hits = from_small ? 0 : (uint8_t)(item->hits - 1);
    queue_remove(memory, item);
    queue_push(memory, item, QUEUE_MAIN);
    return true;
}

static uint64_t
share_of(const struct memory *memory)
{
    return __atomic_load_n(&memory->budget->size_max, __ATOMIC_RELAXED) / memory->n_lanes;
}

/* What a lane that evicts never gives back: so it finds room in itself, whatever the others hold.
 * The core sees to it that any record fits (see stack.c). */
static uint64_t
base_of(const struct memory *memory)
{
    return memory->may_evict ? share_of(memory) / 2 : 0;
}

static uint64_t
spare_of(const struct memory *memory)
{
    return memory->granted - memory->used;
}

static void
set_chunk(struct memory *memory)
{
    memory->chunk = share_of(memory) / 16;
    if (memory->chunk > CHUNK_SIZE_MAX) {
        memory->chunk = CHUNK_SIZE_MAX;
    }
    if (memory->chunk == 0) {
        memory->chunk = 1;
    }
}

/* What was measured by the budget when the lane was opened follows it down. */
static void
fit(struct memory *memory)
{
    set_chunk(memory);
    if (memory->ghost_size > share_of(memory) / 16) {
        memory->host->release(memory->host, memory->ghosts);
        memory->ghosts = NULL;
        memory->n_ghosts = 0;
        memory->used -= memory->ghost_size;
        memory->ghost_size = 0;
    }
}

static void
give_back(struct memory *memory)
{
    while (memory->is_bounded && memory->granted >= base_of(memory) + memory->chunk &&
           spare_of(memory) >= 2 * memory->chunk) {
        memory->budget->give(memory->budget, memory->chunk);
        memory->granted -= memory->chunk;
    }
}

/* After the budget was lowered: gives up a little with each change. */
static void
shrink(struct memory *memory)
{
    for (int i = 0; i < SHRINK_STEP && memory->granted > base_of(memory) &&
                    !memory->budget->take(memory->budget, 0);
         i++) {
        fit(memory);
        if (spare_of(memory) < memory->chunk && memory->may_evict) {
            evict_step(memory);
        }
        if (spare_of(memory) >= memory->chunk) {
            memory->budget->give(memory->budget, memory->chunk);
            memory->granted -= memory->chunk;
        }
    }
}

static bool
take(struct memory *memory, uint64_t size)
{
    if (!memory->budget->take(memory->budget, size)) {
        return false;
    }
    memory->granted += size;
    return true;
}

static enum yk_err
reserve(struct memory *memory, uint64_t need)
{
    if (!memory->is_bounded) {
        memory->used += need;
        return YK_OK;
    }
    shrink(memory);
    while (spare_of(memory) < need) {
        uint64_t missing = need - spare_of(memory);
        bool has_taken =
            (missing < memory->chunk && take(memory, memory->chunk)) || take(memory, missing);
        bool may_fit = memory->may_evict && need <= memory->granted - memory->ghost_size;
        if (!has_taken && (!may_fit || !evict_step(memory))) {
            return YK_ENOMEM;
        }
    }
    memory->used += need;
    return YK_OK;
}

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
open_ghosts(struct memory *memory, const struct yk_backend_place *place)
{
    uint64_t wanted = share_of(memory) / 512;
    if (!place->may_evict || place->budget->size_max == 0) {
        return YK_OK;
    }
    memory->n_ghosts = GHOSTS_MIN;
    while (memory->n_ghosts < wanted && memory->n_ghosts < GHOSTS_MAX) {
        memory->n_ghosts *= 2;
    }
    size_t size = memory->n_ghosts * sizeof(uint64_t);
    if (size > memory->granted / 2) {
        memory->n_ghosts = 0; /* so small a lane goes without */
        return YK_OK;
    }
    memory->ghosts = memory->host->alloc(memory->host, size);
    if (memory->ghosts == NULL) {
        return YK_ENOMEM;
    }
    memset(memory->ghosts, 0, size);
    memory->ghost_size = size;
    memory->used += memory->ghost_size;
    return YK_OK;
}

static enum yk_err
memory_open(void *self, const struct yk_backend_place *place)
{
    struct memory *memory = self;
    memory->budget = place->budget;
    memory->may_evict = place->may_evict;
    memory->n_lanes = place->n_lanes;
    set_chunk(memory);
    memory->is_bounded = place->budget->size_max != 0;
    if (memory->is_bounded && !take(memory, base_of(memory))) {
        memory->host->error(memory->host, "memory_max is too small for %u lanes", place->n_lanes);
        return YK_ENOMEM;
    }
    enum yk_err result = table_init(&memory->table, memory->host, place->seed);
    if (result == YK_OK) {
        result = open_ghosts(memory, place);
    }
    if (result != YK_OK) {
        table_done(&memory->table);
        place->budget->give(place->budget, memory->granted);
    }
    return result;
}

static void
memory_close(void *self)
{
    struct memory *memory = self;
    for (int kind = 0; kind < 2; kind++) {
        while (memory->queues[kind].oldest != NULL) {
            item_drop(memory, memory->queues[kind].oldest);
        }
    }
    while (memory->admitted_first != NULL) {
        struct item *item = memory->admitted_first;
        memory->admitted_first = item->older;
        item_free(memory, item);
    }
    memory->host->release(memory->host, memory->ghosts);
    table_done(&memory->table);
    memory->budget->give(memory->budget, memory->granted);
}

/* Calls */

static uint32_t
seconds_now(const struct memory *memory)
{
    return (uint32_t)(memory->host->now_ms(memory->host) / 1000) & INT32_MAX;
}

static enum yk_err
memory_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
           struct yk_call *call)
{
    struct memory *memory = self;
    uint32_t now_s = seconds_now(memory);
    for (uint32_t i = 0; i < n; i++) {
        struct item *item =
            table_find(&memory->table, &keys[i], table_hash(&memory->table, &keys[i]));
        if (item == NULL) {
            fn(arg, i, YK_ENOTFOUND, yk_slice_of(NULL, 0));
            continue;
        }
        if (item->hits < HITS_MAX) {
            item->hits++;
        }
        item->was_hit = 1;
        item->accessed_s = now_s;
        fn(arg, i, YK_OK, yk_slice_of(item->bytes + item->key_size, item->value_size));
    }
    return YK_OK;
}

static struct item *
item_new(struct memory *memory, const struct yk_change *change)
{
    struct item *item =
        memory->host->alloc(memory->host, sizeof(*item) + change->key.size + change->value.size);
    if (item == NULL) {
        return NULL;
    }
    *item = (struct item){.hash = table_hash(&memory->table, &change->key),
                          .value_size = (uint32_t)change->value.size,
                          .key_size = (uint16_t)change->key.size,
                          .slot = change->key.slot,
                          .generation = change->key.generation};
    memcpy(item->bytes, change->key.data, change->key.size);
    if (change->value.size > 0) {
        memcpy(item->bytes + item->key_size, change->value.data, change->value.size);
    }
    return item;
}

static enum yk_err
memory_admit(void *self, const struct yk_change *change)
{
    struct memory *memory = self;
    if (change->kind != YK_CHANGE_PUT) {
        return YK_OK;
    }
    uint64_t need = item_size(change->key.size, change->value.size);
    enum yk_err result = reserve(memory, need);
    if (result != YK_OK) {
        return result;
    }
    struct item *item = item_new(memory, change);
    if (item == NULL) {
        memory->used -= need;
        return YK_ENOMEM;
    }
    if (memory->admitted_last != NULL) {
        memory->admitted_last->older = item;
    } else {
        memory->admitted_first = item;
    }
    memory->admitted_last = item;
    return YK_OK;
}

static enum yk_err
put(struct memory *memory, uint32_t now_s)
{
    struct item *item = memory->admitted_first;
    if (item == NULL) {
        memory->host->error(memory->host, "apply of a change that was not admitted");
        return YK_EINVALID;
    }
    memory->admitted_first = item->older;
    if (memory->admitted_first == NULL) {
        memory->admitted_last = NULL;
    }
    item->accessed_s = now_s;
    struct item *old = table_put(&memory->table, item);
    if (old != NULL) {
        enum queue_kind kind = (enum queue_kind)old->queue;
        item->hits = old->hits;
        item_drop(memory, old);
        queue_push(memory, item, kind);
    } else {
        queue_push(memory, item, ghost_take(memory, item->hash) ? QUEUE_MAIN : QUEUE_SMALL);
    }
    return YK_OK;
}

static enum yk_err
memory_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct memory *memory = self;
    uint32_t now_s = seconds_now(memory);
    for (uint32_t i = 0; i < n; i++) {
        if (changes[i].kind == YK_CHANGE_PUT) {
            enum yk_err result = put(memory, now_s);
            if (result != YK_OK) {
                return result;
            }
            continue;
        }
        const struct yk_key *key = &changes[i].key;
        struct item *old = table_take(&memory->table, key, table_hash(&memory->table, key));
        if (old != NULL) {
            item_drop(memory, old);
        }
    }
    give_back(memory);
    return YK_OK;
}

/* The cursor: a chain, and the last record seen in it, whose key follows in the cursor. Slot and
 * generation count too: one key in several of them has one hash. */
struct position {
    uint64_t chain;
    uint64_t hash;
    uint32_t is_inside; /* hash, slot, generation and key count */
    uint16_t slot;
    uint16_t generation;
};

static bool
was_seen(const struct item *item, const struct position *position, const struct yk_cursor *cursor)
{
    struct yk_key last = {.data = cursor->data + sizeof(*position),
                          .size = cursor->size - (uint32_t)sizeof(*position),
                          .slot = position->slot,
                          .generation = position->generation};
    return position->is_inside && table_compare(item, &last, position->hash) <= 0;
}

/* The cursor stands behind item, or with NULL before the chain. */
static void
move_cursor(struct yk_cursor *cursor, struct position *position, const struct item *item)
{
    position->is_inside = item != NULL;
    cursor->size = sizeof(*position);
    if (item != NULL) {
        position->hash = item->hash;
        position->slot = item->slot;
        position->generation = item->generation;
        memcpy(cursor->data + sizeof(*position), item->bytes, item->key_size);
        cursor->size += item->key_size;
    }
    memcpy(cursor->data, position, sizeof(*position));
}

/* Walks one chain; false: fn said stop, or enough was read. */
static bool
scan_chain(struct memory *memory, const struct yk_scan *scan, struct yk_cursor *cursor,
           struct position *position, uint64_t *bytes, yk_record_fn fn, void *arg)
{
    const struct item *last = NULL;
    for (struct item *item = memory->table.chains[position->chain]; item != NULL;
         item = item->next) {
        if (was_seen(item, position, cursor) || !yk_scan_wants(scan, item->slot)) {
            continue;
        }
        struct yk_key key = {.data = item->bytes,
                             .size = item->key_size,
                             .slot = item->slot,
                             .generation = item->generation};
        if (*bytes >= scan->bytes_max ||
            !fn(arg, &key, yk_slice_of(item->bytes + item->key_size, item->value_size))) {
            if (last != NULL) {
                move_cursor(cursor, position, last);
            }
            return false;
        }
        *bytes += size_of(item);
        last = item;
    }
    position->chain++;
    move_cursor(cursor, position, NULL);
    return true;
}

static enum yk_err
memory_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
            void *arg, bool *ret_end, struct yk_call *call)
{
    struct memory *memory = self;
    struct position position = {.chain = 0};
    uint64_t bytes = 0;
    if (cursor->size >= sizeof(position)) {
        memcpy(&position, cursor->data, sizeof(position));
    } else {
        move_cursor(cursor, &position, NULL);
    }
    uint64_t chains_end = position.chain + SCAN_CHAINS_MAX;
    if (chains_end > memory->table.n_chains) {
        chains_end = memory->table.n_chains;
    }
    while (position.chain < chains_end &&
           scan_chain(memory, scan, cursor, &position, &bytes, fn, arg)) {
    }
    *ret_end = position.chain >= memory->table.n_chains;
    return YK_OK;
}

static enum yk_err
memory_count(void *self, uint64_t *ret_records)
{
    struct memory *memory = self;
    *ret_records = memory->table.n_items;
    return YK_OK;
}

static void
memory_stats(void *self, yk_figure_fn fn, void *arg)
{
    struct memory *memory = self;
    fn(arg, "bytes", memory->used - memory->ghost_size);
    fn(arg, "evictions", memory->evictions);
    fn(arg, "hash_chains", memory->table.n_chains);
    fn(arg, "hash_bytes", memory->table.n_room * sizeof(struct item *));
}

static enum yk_err
memory_wipe_slot(void *self, uint16_t slot, uint16_t generation)
{
    struct memory *memory = self;
    for (size_t i = 0; i < memory->table.n_chains; i++) {
        struct item *next;
        for (struct item *item = memory->table.chains[i]; item != NULL; item = next) {
            next = item->next;
            if (item->slot == slot && item->generation != generation) {
                table_remove(&memory->table, item);
                item_drop(memory, item);
            }
        }
    }
    return YK_OK;
}

static enum yk_err
memory_hint(void *self, const struct yk_key *key, struct yk_hint *ret_hint)
{
    struct memory *memory = self;
    const struct item *item = table_find(&memory->table, key, table_hash(&memory->table, key));
    if (item == NULL) {
        return YK_ENOTFOUND;
    }
    ret_hint->was_hit = item->was_hit;
    ret_hint->last_access_ms = item->accessed_s * 1000ull;
    return YK_OK;
}

static enum yk_err
memory_count_slot(void *self, uint16_t slot, uint64_t *ret_records)
{
    struct memory *memory = self;
    uint64_t records = 0;
    for (size_t i = 0; i < memory->table.n_chains; i++) {
        for (struct item *item = memory->table.chains[i]; item != NULL; item = item->next) {
            records += item->slot == slot ? 1 : 0;
        }
    }
    *ret_records = records;
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
};

YK_PLUGIN(memory) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .name = "memory",
    .version = "1",
    .summary = "records in memory, with a cap and S3-FIFO eviction",
    .details =
        "Keeps nothing over a restart. The bucket's memory_max bounds keys, values and the "
        "engine's "
        "own overhead; a bucket with evict = s3fifo drops what is read least when it is full, one "
        "with evict = none refuses writes with \"out of memory storing object\".\n\n"
        "The engine has no options of its own.",
    .ops = &memory_ops,
};
