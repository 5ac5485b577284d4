/* See model.h. */
#include <config.h>

#include "tools/kit/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"

enum {
    LONG_KEYS_MAX = 12,       /* of the greatest size */
    USUAL_KEY_SIZE_MAX = 250, /* most are not longer */
    SCAN_STEPS_PER_ITEM = 64,
    SCAN_STEPS_MIN = 20000
};

/* -- Keys. -- */

static guint
hash_key(gconstpointer item_)
{
    const struct kit_key *key = item_;
    return (guint)(key->hash ^ (uint64_t)key->slot << 16 ^ key->generation);
}

static gboolean
equal_keys(gconstpointer a_, gconstpointer b_)
{
    const struct kit_key *a = a_, *b = b_;
    return a->slot == b->slot && a->generation == b->generation && a->size == b->size &&
           memcmp(a->bytes, b->bytes, a->size) == 0;
}

static uint32_t
key_size(struct yk_random *random, uint32_t index, uint32_t key_size_max)
{
    uint32_t usual = MIN(key_size_max, (uint32_t)USUAL_KEY_SIZE_MAX);
    if (index < LONG_KEYS_MAX) {
        return index % 2 == 0 ? key_size_max : 1 + index % key_size_max;
    }
    switch (yk_random_below(random, 8)) {
    case 0:
        return 1 + (uint32_t)yk_random_below(random, MIN(usual, 4));
    case 1:
        return 1 + (uint32_t)yk_random_below(random, usual);
    case 2:
        return 1 + (uint32_t)yk_random_below(random, MIN(key_size_max, 2000));
    default:
        return 1 + (uint32_t)yk_random_below(random, MIN(usual, 40));
    }
}

/* Random bytes, bytes from the ends of their range, or the start of another key. */
static void
key_bytes(struct kit_model *model, struct yk_random *random, uint32_t index, uint8_t *bytes,
          uint32_t size)
{
    uint64_t style = yk_random_below(random, 4);
    for (uint32_t i = 0; i < size; i++) {
        uint64_t byte = yk_random_next(random) >> 32;
        bytes[i] = style == 0   ? (uint8_t)((byte & 1) != 0 ? 0xff : 0x00)
                   : style == 1 ? (uint8_t)('a' + byte % 26)
                                : (uint8_t)byte;
    }
    if (index > 0 && style == 3) {
        const struct kit_key *other = &model->items[yk_random_below(random, index)].key;
        memcpy(bytes, other->bytes, MIN(size, other->size));
    }
}

static void
make_key(struct kit_model *model, struct yk_random *random, uint32_t index, uint32_t key_size_max)
{
    static const uint16_t generations[] = {0, 0, 0, 1, 2, 0xffff};
    struct kit_key *key = &model->items[index].key;
    do {
        uint32_t size = key_size(random, index, key_size_max);
        uint8_t *bytes = g_malloc(size);
        key_bytes(model, random, index, bytes, size);
        g_free((void *)key->bytes);
        *key = (struct kit_key){.bytes = bytes,
                                .size = size,
                                .slot = (uint16_t)(yk_random_below(random, KIT_SLOTS + 1)),
                                .generation =
                                    generations[yk_random_below(random, G_N_ELEMENTS(generations))],
                                .hash = yk_hash(yk_slice_of(bytes, size))};
        if (key->slot == KIT_SLOTS) {
            key->slot = KIT_SLOT_OF_CORE;
        }
    } while (g_hash_table_contains(model->by_key, key));
    g_hash_table_insert(model->by_key, key, &model->items[index]);
}

void
kit_model_init(struct kit_model *model, struct kit *kit, struct yk_random *random, uint32_t n_items,
               uint32_t key_size_max, uint64_t value_size_max)
{
    *model = (struct kit_model){.kit = kit, .n_items = n_items, .next_id = 1};
    model->items = g_new0(struct kit_item, n_items);
    model->by_key = g_hash_table_new(hash_key, equal_keys);
    model->value_size_max = (uint32_t)MIN(value_size_max, YK_MIB);
    for (uint32_t i = 0; i < n_items; i++) {
        make_key(model, random, i, key_size_max);
    }
    kit_model_clear(model);
}

void
kit_model_done(struct kit_model *model)
{
    g_hash_table_unref(model->by_key);
    for (uint32_t i = 0; i < model->n_items; i++) {
        g_free((void *)model->items[i].key.bytes);
    }
    g_free(model->items);
}

void
kit_model_clear(struct kit_model *model)
{
    for (uint32_t i = 0; i < model->n_items; i++) {
        model->items[i].n_states = 1;
        model->items[i].states[0] = (struct kit_value){0, 0};
    }
}

struct kit_item *
kit_model_find(const struct kit_model *model, const struct kit_key *key)
{
    return g_hash_table_lookup(model->by_key, key);
}

bool
kit_item_is_there(const struct kit_item *item)
{
    for (uint32_t i = 0; i < item->n_states; i++) {
        if (item->states[i].id == 0) {
            return false;
        }
    }
    return item->n_states > 0;
}

bool
kit_item_is_absent(const struct kit_item *item)
{
    return item->n_states == 1 && item->states[0].id == 0;
}

uint64_t
kit_model_count(const struct kit_model *model)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < model->n_items; i++) {
        n += kit_item_is_there(&model->items[i]);
    }
    return n;
}

/* -- Values. -- */

/* The id, then bytes that follow from id, size and key. */
void
kit_value_fill(const struct kit_value *value, const struct kit_key *key, uint8_t *room)
{
    struct yk_random random = {value->id * 31 + value->size + key->hash};
    uint64_t word = value->id;
    for (uint32_t i = 0; i < value->size; i += sizeof(word)) {
        memcpy(room + i, &word, MIN(sizeof(word), value->size - i));
        word = yk_random_next(&random);
    }
}

static bool
value_is(struct yk_slice bytes, const struct kit_value *value, const struct kit_key *key)
{
    struct yk_random random = {value->id * 31 + value->size + key->hash};
    uint64_t word = value->id;
    if (bytes.size != value->size) {
        return false;
    }
    for (uint32_t i = 0; i < value->size; i += sizeof(word)) {
        if (memcmp((const uint8_t *)bytes.data + i, &word, MIN(sizeof(word), value->size - i)) !=
            0) {
            return false;
        }
        word = yk_random_next(&random);
    }
    return true;
}

bool
kit_value_is_own(struct yk_slice bytes, const struct kit_key *key)
{
    struct kit_value value = {.size = (uint32_t)bytes.size};
    if (bytes.size < KIT_SELF_CHECK_SIZE) {
        return true;
    }
    memcpy(&value.id, bytes.data, sizeof(value.id));
    return value_is(bytes, &value, key);
}

bool
kit_values_differ(const struct kit_value *a, const struct kit_value *b)
{
    if (a->id == 0 || b->id == 0) {
        return a->id != b->id;
    }
    return a->size != b->size || memcmp(&a->id, &b->id, MIN(a->size, sizeof(a->id))) != 0;
}

static uint32_t
value_size(const struct kit_model *model, struct yk_random *random)
{
    uint64_t size_max = model->value_size_max;
    uint64_t style = yk_random_below(random, 200);
    if (style < 10) {
        return 0;
    }
    return (uint32_t)yk_random_below(random, style < 130   ? MIN(size_max, 64) + 1
                                             : style < 180 ? MIN(size_max, 1000) + 1
                                             : style < 198 ? MIN(size_max, 16384) + 1
                                                           : size_max + 1);
}

/* -- Reading. -- */

static const char *
show_key(const struct kit_key *key, char *room, size_t room_size)
{
    int size = snprintf(room, room_size, "slot %u, generation %u, key of %u bytes ", key->slot,
                        key->generation, key->size);
    for (uint32_t i = 0; i < key->size && i < 8 && size < (int)room_size - 3; i++) {
        size += snprintf(room + size, room_size - (size_t)size, "%02x", key->bytes[i]);
    }
    return room;
}

static _Noreturn void
wrong(struct kit_model *model, enum kit_rule rule, const struct kit_item *item, const char *where,
      const char *what)
{
    char key[128];
    kit_broken(model->kit, model->rule != 0 ? model->rule : rule, "%s: %s (%s)", where, what,
               show_key(&item->key, key, sizeof(key)));
}

static bool
may_be_absent(const struct kit_item *item)
{
    for (uint32_t i = 0; i < item->n_states; i++) {
        if (item->states[i].id == 0) {
            return true;
        }
    }
    return item->n_states == 0;
}

/* The state that these bytes are; an item of which anything may be takes what it is. */
static bool
match(struct kit_item *item, struct yk_slice value)
{
    for (uint32_t i = 0; i < item->n_states; i++) {
        if (item->states[i].id != 0 && value_is(value, &item->states[i], &item->key)) {
            item->states[0] = item->states[i];
            item->n_states = 1;
            return true;
        }
    }
    return item->n_states == 0 && kit_value_is_own(value, &item->key);
}

bool
kit_item_match(struct kit_item *item, enum yk_err result, struct yk_slice value)
{
    if (result == YK_ENOTFOUND && may_be_absent(item)) {
        item->n_states = 1;
        item->states[0] = (struct kit_value){0, 0};
        return true;
    }
    return result == YK_OK && match(item, value);
}

void
kit_model_got(struct kit_model *model, struct kit_item *item, enum yk_err result,
              struct yk_slice value, const char *where)
{
    model->n_reads++;
    if (result == YK_ENOTFOUND) {
        if (!may_be_absent(item) && !model->may_vanish) {
            wrong(model, KIT_VALUE, item, where, "is not there, and was put");
        }
        item->n_states = 1;
        item->states[0] = (struct kit_value){0, 0};
        return;
    }
    if (result != YK_OK) {
        model->n_errors++;
        if (!model->may_fail) {
            wrong(model, KIT_GET_FAILS, item, where, yk_err_text(result));
        }
        return;
    }
    if (!match(item, value)) {
        wrong(model, KIT_VALUE, item, where,
              kit_item_is_absent(item)              ? "is there, and was deleted or never put"
              : kit_value_is_own(value, &item->key) ? "has an older value"
                                                    : "has other bytes than were put");
    }
}

struct read_run {
    struct kit_model *model;
    struct kit_item **items;
};

static void
take_read(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct read_run *run = arg;
    kit_model_got(run->model, run->items[index], result, value, "get");
}

static void
read_items(struct kit_model *model, struct kit_engine *engine, struct kit_item **items, uint32_t n)
{
    const struct kit_key *keys[KIT_BATCH_MAX];
    struct read_run run = {model, items};
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = &items[i]->key;
    }
    enum yk_err result = kit_engine_get(engine, keys, n, take_read, &run);
    if (result != YK_OK && !model->may_fail) {
        kit_broken(model->kit, KIT_GET_FAILS, "get of %u keys fails: %s", n, yk_err_text(result));
    }
}

void
kit_model_read(struct kit_model *model, struct kit_engine *engine, struct yk_random *random,
               uint32_t n)
{
    struct kit_item *items[KIT_BATCH_MAX];
    for (uint32_t i = 0; i < n; i++) {
        items[i] = &model->items[yk_random_below(random, model->n_items)];
    }
    read_items(model, engine, items, n);
}

void
kit_model_read_all(struct kit_model *model, struct kit_engine *engine)
{
    for (uint32_t i = 0; i < model->n_items; i += KIT_BATCH_MAX) {
        struct kit_item *items[KIT_BATCH_MAX];
        uint32_t n = MIN((uint32_t)KIT_BATCH_MAX, model->n_items - i);
        for (uint32_t k = 0; k < n; k++) {
            items[k] = &model->items[i + k];
        }
        read_items(model, engine, items, n);
    }
}

/* -- Changing. -- */

void
kit_batch_make(struct kit_model *model, struct yk_random *random, uint32_t n,
               struct kit_batch *ret_batch)
{
    uint32_t start = (uint32_t)yk_random_below(random, model->n_items);
    uint32_t stride = 1 + (uint32_t)yk_random_below(random, 7);
    ret_batch->n = 0;
    for (uint32_t i = 0; i < n && i * stride < model->n_items; i++) {
        bool is_put = yk_random_below(random, 3) != 0;
        ret_batch->items[i] = &model->items[(start + i * stride) % model->n_items];
        ret_batch->values[i] = (struct kit_value){0, 0};
        if (is_put) {
            ret_batch->values[i] = (struct kit_value){model->next_id++, value_size(model, random)};
        }
        ret_batch->n++;
    }
}

static void
add_state(struct kit_item *item, const struct kit_value *value)
{
    if (item->n_states == 0 || item->n_states == KIT_STATES_MAX) {
        item->n_states = 0;
        return;
    }
    item->states[item->n_states++] = *value;
}

static bool
is_refusal(enum yk_err result)
{
    return result == YK_ENOSPACE || result == YK_ENOMEM || result == YK_ETOOLARGE;
}

void
kit_batch_settle(struct kit_model *model, const struct kit_batch *batch, enum yk_err result,
                 bool is_atomic)
{
    if (is_atomic && is_refusal(result)) {
        return;
    }
    for (uint32_t i = 0; i < batch->n; i++) {
        struct kit_item *item = batch->items[i];
        if (result != YK_OK) {
            add_state(item, &batch->values[i]);
            continue;
        }
        item->n_states = 1;
        item->states[0] = batch->values[i];
    }
}

static struct kit_change
change_of(const struct kit_batch *batch, uint32_t index, GByteArray *room)
{
    const struct kit_value *value = &batch->values[index];
    struct kit_change change = {.key = &batch->items[index]->key, .kind = YK_CHANGE_DELETE};
    if (value->id != 0) {
        g_byte_array_set_size(room, value->size);
        kit_value_fill(value, change.key, room->data);
        change.kind = YK_CHANGE_PUT;
        change.value = yk_slice_of(room->data, value->size);
    }
    return change;
}

static bool
is_not_done(enum yk_err result)
{
    switch ((int)result) {
#define NOT_DONE true
#define DONE     false
#define MAYBE    false
#define YK_ERR(name, number, outcome, text)                                                        \
    case number:                                                                                   \
        return outcome;
#include <yakumo/err.def>
#undef YK_ERR
#undef NOT_DONE
#undef DONE
#undef MAYBE
    default:
        return false;
    }
}

void
kit_batch_admit(struct kit_model *model, struct kit_engine *engine, struct kit_batch *batch)
{
    g_autoptr(GByteArray) room = g_byte_array_new();
    uint32_t n = 0;
    if (model->has_stopped) {
        batch->n = 0;
    }
    for (uint32_t i = 0; i < batch->n; i++) {
        struct kit_change change = change_of(batch, i, room);
        enum yk_err result = kit_engine_admit(engine, &change);
        if (result != YK_OK && !is_not_done(result)) {
            kit_broken(model->kit, KIT_ADMIT, "refuses with '%s', which may have happened",
                       yk_err_text(result));
        }
        if (result != YK_OK && !model->may_fail) {
            kit_broken(model->kit, KIT_ROOM,
                       "refuses a %s with a key of %u and a value of %zu bytes: %s",
                       change.kind == YK_CHANGE_PUT ? "put" : "delete", change.key->size,
                       change.value.size, yk_err_text(result));
        }
        if (result != YK_OK) {
            model->n_refusals++;
            continue;
        }
        batch->items[n] = batch->items[i];
        batch->values[n++] = batch->values[i];
    }
    batch->n = n;
}

enum yk_err
kit_batch_apply_admitted(struct kit_model *model, struct kit_engine *engine,
                         struct kit_batch *batch)
{
    struct kit_change changes[KIT_BATCH_MAX];
    GByteArray *rooms[KIT_BATCH_MAX];
    bool has_absent = false, is_atomic = kit_engine_has(engine, YK_BACKEND_ATOMIC_BATCH);
    if (model->has_stopped) {
        batch->n = 0;
    }
    for (uint32_t i = 0; i < batch->n; i++) {
        rooms[i] = g_byte_array_new();
        changes[i] = change_of(batch, i, rooms[i]);
        has_absent = has_absent ||
                     (changes[i].kind == YK_CHANGE_DELETE && kit_item_is_absent(batch->items[i]));
    }
    enum yk_err result = batch->n > 0 ? kit_engine_apply(engine, changes, batch->n) : YK_OK;
    for (uint32_t i = 0; i < batch->n; i++) {
        g_byte_array_unref(rooms[i]);
    }
    model->n_changes += batch->n;
    if (result != YK_OK) {
        model->n_errors++;
        if (!model->may_fail) {
            kit_broken(model->kit, has_absent && result == YK_ENOTFOUND ? KIT_DELETE : KIT_APPLY,
                       "a batch of %u admitted changes fails: %s (%s)", batch->n,
                       yk_err_text(result), engine->engine_host.error);
        }
    }
    kit_batch_settle(model, batch, result, is_atomic);
    model->has_stopped =
        model->has_stopped || (result != YK_OK && !(is_atomic && is_refusal(result)));
    return result;
}

void
kit_model_go_on(struct kit_model *model, struct kit_engine *engine)
{
    if (model->has_stopped) {
        kit_engine_restart(engine);
        kit_model_clear(model);
        model->has_stopped = false;
    }
}

enum yk_err
kit_batch_apply(struct kit_model *model, struct kit_engine *engine, struct kit_batch *batch)
{
    kit_batch_admit(model, engine, batch);
    return kit_batch_apply_admitted(model, engine, batch);
}

/* -- Scanning. -- */

struct scan_run {
    struct kit_model *model;
    struct kit_engine *engine;
    struct yk_random *random;
    const struct kit_disturbance *how;
    GByteArray *last_shown; /* the engine's key, for the order */
    uint16_t last_slot, last_generation;
    struct kit_item *last_taken; /* where the cursor stands */
    struct kit_scan other;       /* with how->has_other */
    bool is_ordered;
    uint64_t number;
};

/* Engines that keep slots apart order the keys of each. */
static void
check_order(struct scan_run *run, const struct yk_key *key, const struct kit_key *bare)
{
    const GByteArray *last = run->last_shown;
    bool is_same_part = run->engine->prefix > 0 ||
                        (bare->slot == run->last_slot && bare->generation == run->last_generation);
    if (run->is_ordered && last->len > 0 && is_same_part) {
        int order = memcmp(last->data, key->data, MIN(last->len, key->size));
        if (order > 0 || (order == 0 && last->len >= key->size)) {
            kit_broken(run->model->kit, KIT_SCAN_ORDER,
                       "a key of %u bytes comes behind one of %u bytes that is not less", key->size,
                       last->len);
        }
    }
}

static void
note_shown(struct scan_run *run, const struct yk_key *key, const struct kit_key *bare)
{
    g_byte_array_set_size(run->last_shown, 0);
    g_byte_array_append(run->last_shown, key->data, key->size);
    run->last_slot = bare->slot;
    run->last_generation = bare->generation;
}

static bool
take_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct scan_run *run = arg;
    struct kit_model *model = run->model;
    struct kit_key bare;
    if (!kit_engine_bare(run->engine, key, &bare)) {
        kit_broken(model->kit, KIT_SCAN_GHOST, "a key of %u bytes is shown, too short for a prefix",
                   key->size);
    }
    if (key->slot != bare.slot || key->generation != bare.generation) {
        kit_broken(model->kit, KIT_SCAN_GHOST,
                   "a key is shown with slot %u and generation %u, its bytes say %u and %u",
                   key->slot, key->generation, bare.slot, bare.generation);
    }
    struct kit_item *item = kit_model_find(model, &bare);
    if (item == NULL) {
        char text[128];
        kit_broken(model->kit, model->rule != 0 ? model->rule : KIT_SCAN_GHOST,
                   "shows a record that was never put (%s)", show_key(&bare, text, sizeof(text)));
    }
    if (kit_item_is_absent(item)) {
        wrong(model, KIT_SCAN_GHOST, item, "scan", "is shown, and was deleted or never put");
    }
    if (!match(item, value)) {
        wrong(model, KIT_SCAN_GHOST, item, "scan", "is shown with other bytes than it has");
    }
    check_order(run, key, &bare);
    if (run->how->stops_in > 0 && yk_random_below(run->random, run->how->stops_in) == 0) {
        item->stopped_in = run->number;
        return false;
    }
    note_shown(run, key, &bare);
    run->last_taken = item;
    item->seen_in = run->number;
    return true;
}

static bool
take_other(void *arg, const struct yk_key *key, struct yk_slice value)
{
    return yk_random_below(arg, 8) != 0;
}

/* Goes a step further, starts over, or is left alone; what it sees is not looked at. */
static void
step_other(struct scan_run *run)
{
    uint64_t choice = yk_random_below(run->random, 8);
    if (run->other.is_end || choice == 0) {
        kit_scan_done(&run->other, run->engine);
        kit_scan_init(&run->other, run->engine);
        run->other.bytes_max = 200;
    }
    if (choice > 2) {
        enum yk_err result = kit_engine_scan(run->engine, &run->other, take_other, run->random);
        if (result != YK_OK && !run->model->may_fail) {
            kit_broken(run->model->kit, KIT_SCAN_FAILS, "a second scan fails: %s",
                       yk_err_text(result));
        }
    }
}

/* Records come and go between two steps; what is gone has not been there throughout. */
static void
disturb(struct scan_run *run)
{
    struct kit_batch batch;
    struct kit_model *model = run->model;
    uint64_t n = yk_random_below(run->random, run->how->changes_max + 1);
    if (run->how->has_other) {
        step_other(run);
    }
    if (run->how->drops_last && run->last_taken != NULL && yk_random_below(run->random, 2) == 0) {
        batch = (struct kit_batch){.n = 1, .items = {run->last_taken}};
        kit_batch_apply(model, run->engine, &batch);
        run->last_taken->is_steady = false;
    }
    kit_batch_make(model, run->random, (uint32_t)n, &batch);
    if (n > 0) {
        kit_batch_apply(model, run->engine, &batch);
    }
    for (uint32_t i = 0; n > 0 && i < batch.n; i++) {
        batch.items[i]->is_steady = batch.items[i]->is_steady && batch.values[i].id != 0;
    }
}

static void
check_seen(const struct scan_run *run)
{
    struct kit_model *model = run->model;
    for (uint32_t i = 0; i < model->n_items; i++) {
        struct kit_item *item = &model->items[i];
        uint16_t slot = item->key.slot;
        bool is_wanted =
            run->how->slots == NULL || (slot < KIT_SLOTS && (run->how->slots[0] >> slot & 1) != 0);
        if (item->is_steady && is_wanted && item->seen_in != run->number && !model->may_vanish) {
            bool was_stopped = item->stopped_in == run->number;
            wrong(model, was_stopped ? KIT_SCAN_STOP : KIT_SCAN_MISSED, item, "scan",
                  was_stopped ? "did not come again after the caller had stopped there"
                              : "was there throughout and was not shown");
        }
    }
}

void
kit_model_scan(struct kit_model *model, struct kit_engine *engine, struct yk_random *random,
               const struct kit_disturbance *how)
{
    static const uint64_t bytes_max[] = {1, 100, 3000, 50000, YK_SCAN_BYTES_MAX};
    uint64_t n_steps_max = (uint64_t)model->n_items * SCAN_STEPS_PER_ITEM + SCAN_STEPS_MIN;
    struct scan_run run = {.model = model,
                           .engine = engine,
                           .random = random,
                           .how = how,
                           .last_shown = g_byte_array_new(),
                           .is_ordered = kit_engine_has(engine, YK_BACKEND_ORDERED),
                           .number = ++model->n_scans};
    struct kit_scan scan;
    kit_scan_init(&scan, engine);
    kit_scan_init(&run.other, engine);
    scan.slots = how->slots;
    for (uint32_t i = 0; i < model->n_items; i++) {
        model->items[i].is_steady = kit_item_is_there(&model->items[i]);
    }
    for (uint64_t step = 0; !scan.is_end; step++) {
        scan.bytes_max = how->bytes_max != 0
                             ? how->bytes_max
                             : bytes_max[yk_random_below(random, G_N_ELEMENTS(bytes_max))];
        enum yk_err result = kit_engine_scan(engine, &scan, take_record, &run);
        if (result != YK_OK) {
            model->n_errors++;
            if (!model->may_fail) {
                kit_broken(model->kit, model->rule != 0 ? model->rule : KIT_SCAN_FAILS,
                           "a step of a scan fails: %s", yk_err_text(result));
            }
        }
        if (step == n_steps_max || (result != YK_OK && step > 1000)) {
            if (!model->may_fail) {
                kit_broken(model->kit, KIT_SCAN_END, "does not end after %llu steps",
                           (unsigned long long)step);
            }
            break;
        }
        disturb(&run);
    }
    if (scan.is_end) {
        check_seen(&run);
    }
    kit_scan_done(&scan, engine);
    kit_scan_done(&run.other, engine);
    g_byte_array_unref(run.last_shown);
}

/* -- All together. -- */

static void
change_some(struct kit_model *model, struct kit_engine *engine, struct yk_random *random)
{
    struct kit_batch batch, second;
    kit_batch_make(model, random, 1 + (uint32_t)yk_random_below(random, KIT_BATCH_MAX / 2), &batch);
    if (yk_random_below(random, 4) != 0) {
        kit_batch_apply(model, engine, &batch);
        return;
    }
    /* What is admitted and not yet applied is not there yet; two batches may be so. */
    kit_batch_admit(model, engine, &batch);
    kit_model_read(model, engine, random, 8);
    kit_batch_make(model, random, 4, &second);
    kit_batch_admit(model, engine, &second);
    kit_batch_apply_admitted(model, engine, &batch);
    kit_batch_apply_admitted(model, engine, &second);
}

void
kit_model_exercise(struct kit_model *model, struct kit_engine *engine, struct yk_random *random,
                   uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t kind = yk_random_below(random, 100);
        kit_model_go_on(model, engine);
        if (kind < 50) {
            kit_model_read(model, engine, random, 1 + (uint32_t)yk_random_below(random, 32));
        } else if (kind < 99) {
            change_some(model, engine, random);
        } else {
            const struct kit_disturbance none = {.stops_in = 0};
            kit_model_scan(model, engine, random, &none);
        }
    }
}
