/* What an engine may hold after damage, or by a plugin's mistake: any keys and any bytes as
 * records, lane records among them. A lane over such an engine reads, scans, sweeps, flushes and
 * writes, and starts once more on what is left; a record by itself is decoded, and what is taken
 * for one is encoded again, the same.
 *
 * Input: records, one after another: size of the key (1 byte), key, size of the value (2 bytes,
 * little-endian), value. A first byte of 0 asks for an engine without checksums. */
#include <config.h>

#include <stdint.h>
#include <stdlib.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/hash.h"
#include "core/replica/lane.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS_MAX = 64, KEY_MAX = 255, SCANS_MAX = 300 };

/* The engine: a few records in a row. */

struct record {
    uint8_t *key;
    uint8_t key_size;
    uint8_t *value;
    uint32_t value_size;
};

static struct {
    struct record records[RECORDS_MAX + 1];
    uint32_t n;
    bool is_volatile;
} held;

static struct record *
find(const struct yk_key *key)
{
    for (uint32_t i = 0; i < held.n; i++) {
        if (yk_slice_equal(yk_slice_of(held.records[i].key, held.records[i].key_size),
                           yk_slice_of(key->data, key->size))) {
            return &held.records[i];
        }
    }
    return NULL;
}

static void
held_info(void *self, struct yk_backend_info *info)
{
    info->caps |= YK_BACKEND_ATOMIC_BATCH | (held.is_volatile ? YK_BACKEND_VOLATILE : 0);
    info->key_size_max = KEY_MAX;
}

static enum yk_err
held_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
         struct yk_call *call)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct record *record = find(&keys[i]);
        fn(arg, i, record != NULL ? YK_OK : YK_ENOTFOUND,
           record != NULL ? yk_slice_of(record->value, record->value_size) : yk_slice_of(NULL, 0));
    }
    return YK_OK;
}

static enum yk_err
held_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    uint32_t n_new = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_new += changes[i].kind == YK_CHANGE_PUT && find(&changes[i].key) == NULL ? 1 : 0;
    }
    if (held.n + n_new > RECORDS_MAX) {
        return YK_ENOSPACE;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct record *record = find(&changes[i].key);
        if (changes[i].kind == YK_CHANGE_PUT && record == NULL) {
            record = &held.records[held.n++];
            record->key = g_memdup2(changes[i].key.data, changes[i].key.size);
            record->key_size = (uint8_t)changes[i].key.size;
            record->value = NULL;
        }
        if (changes[i].kind == YK_CHANGE_PUT) {
            g_free(record->value);
            record->value = g_memdup2(changes[i].value.data, changes[i].value.size);
            record->value_size = (uint32_t)changes[i].value.size;
        } else if (record != NULL) {
            g_free(record->key);
            g_free(record->value);
            *record = held.records[--held.n];
        }
    }
    return YK_OK;
}

static enum yk_err
held_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
          void *arg, bool *ret_end, struct yk_call *call)
{
    uint32_t at = cursor->size > 0 ? cursor->data[0] : 0;
    for (; at < held.n; at++) {
        const struct record *record = &held.records[at];
        struct yk_key key = {.data = record->key, .size = record->key_size};
        if (!fn(arg, &key, yk_slice_of(record->value, record->value_size))) {
            break;
        }
    }
    cursor->data[0] = (uint8_t)at;
    cursor->size = 1;
    *ret_end = at == held.n;
    return YK_OK;
}

static const struct yk_backend_ops held_ops = {
    .struct_size = sizeof(held_ops),
    .info = held_info,
    .get = held_get,
    .apply = held_apply,
    .scan = held_scan,
};

static const struct yk_plugin held_plugin = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
                                             .name = "held", .ops = &held_ops};

static void
fill(const uint8_t *data, size_t size)
{
    held.is_volatile = size > 0 && data[0] == 0;
    size_t at = held.is_volatile ? 1 : 0;
    while (at < size && held.n < RECORDS_MAX / 2) {
        struct record *record = &held.records[held.n];
        size_t key_size = data[at++];
        key_size = key_size < size - at ? key_size : size - at;
        struct yk_key key = {.data = data + at, .size = (uint32_t)key_size};
        at += key_size;
        if (size - at < 2) {
            return;
        }
        size_t value_size = (size_t)(data[at] | data[at + 1] << 8);
        at += 2;
        value_size = value_size < size - at ? value_size : size - at;
        if (find(&key) == NULL) {
            *record = (struct record){.key = g_memdup2(key.data, key.size),
                                      .key_size = (uint8_t)key.size,
                                      .value = g_memdup2(data + at, value_size),
                                      .value_size = (uint32_t)value_size};
            held.n++;
        }
        at += value_size;
    }
}

static void
empty(void)
{
    while (held.n > 0) {
        struct record *record = &held.records[--held.n];
        g_free(record->key);
        g_free(record->value);
    }
}

/* The lane */

static void
no_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static void *
resize(void *arg, void *memory, size_t size)
{
    return realloc(memory, size);
}

static void
release(void *arg, void *memory)
{
    free(memory);
}

static const struct yk_world world = {.log = no_log, .resize = resize, .release = release};

static bool
ended(void *arg, struct yk_op *op, const struct yk_reply *reply)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < reply->value.size; i++) {
        sum ^= ((const uint8_t *)reply->value.data)[i]; /* it can be read */
    }
    *(volatile uint8_t *)&sum;
    ++*(uint32_t *)arg;
    free(op->pinned);
    free(op);
    return true;
}

static struct yk_lane *
open_lane(struct yk_settings *settings, uint64_t epoch, uint32_t *n_ended)
{
    char error[YK_ERROR_SIZE];
    struct yk_stack_config stack_config = {
        .world = &world,
        .backend = settings,
        .place = {.n_lanes = 1, .n_slots = 16, .bucket = "b", .durability = YK_DURABILITY_MEMORY},
        .value_size_max = 70000,
        .key_size_max = 200};
    struct yk_lane_config config = {.world = &world,
                                    .ring = {4, 1, 1},
                                    .epoch = epoch,
                                    .value_size_max = 70000,
                                    .key_size_max = 200,
                                    .sink = {.arg = n_ended, .done = ended}};
    struct yk_lane *lane;
    YK_ASSERT(yk_stack_open(&stack_config, &config.stack, error) == YK_OK);
    YK_ASSERT(yk_lane_new(&config, &lane) == YK_OK);
    return lane;
}

static void
submit(struct yk_lane *lane, struct yk_request request, struct yk_scan_state *scan)
{
    struct yk_op *op = calloc(1, sizeof(*op));
    uint8_t *bytes = malloc(YK_PIN_ROOM + request.key.size + request.value.size + 1);
    YK_ASSERT(op != NULL && bytes != NULL);
    op->request = request;
    op->pinned = bytes;
    if (request.key.size > 0) {
        memcpy(bytes + YK_PIN_ROOM, request.key.data, request.key.size);
    }
    op->request.key = yk_slice_of(bytes + YK_PIN_ROOM, request.key.size);
    op->hash = yk_hash(op->request.key);
    op->slot = (uint16_t)(op->hash >> 60);
    op->scan = scan;
    yk_lane_submit(lane, op);
}

static void
ask_key(struct yk_lane *lane, struct yk_slice key)
{
    static const struct yk_request requests[] = {
        {.op = YK_OP_GET, .flags = YK_REQUEST_WIN},
        {.op = YK_OP_STORE, .mode = YK_MODE_APPEND, .value = {"x", 1}},
        {.op = YK_OP_ARITH, .mode = YK_MODE_INCR, .delta = 1},
        {.op = YK_OP_DELETE, .flags = YK_REQUEST_INVALIDATE},
        {.op = YK_OP_GET, .flags = YK_REQUEST_WIN | YK_REQUEST_RECACHE},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
        struct yk_request request = requests[i];
        request.key = key;
        submit(lane, request, NULL);
    }
}

/* Asks for every key that the engine held at first. */
static uint32_t
ask_all(struct yk_lane *lane)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < held.n; i++) {
        const struct record *record = &held.records[i];
        if (record->key_size > 4 && record->key_size <= 204) {
            ask_key(lane, yk_slice_of(record->key + 4, record->key_size - 4u));
            n += 5;
        }
    }
    yk_lane_run(lane, 1000000);
    return n;
}

static uint32_t
scan_all(struct yk_lane *lane)
{
    struct yk_scan_state *state = yk_scan_state_new(200, 1000, true);
    uint32_t n = 0;
    while (!state->is_end && n < SCANS_MAX) {
        submit(lane, (struct yk_request){.op = YK_OP_SCAN}, state);
        yk_lane_run(lane, 1000000);
        n++;
    }
    YK_ASSERT(state->is_end);
    yk_scan_state_free(state);
    return n;
}

static void
live(struct yk_settings *settings, uint64_t epoch)
{
    uint32_t n_ended = 0;
    struct yk_lane *lane = open_lane(settings, epoch, &n_ended);
    uint32_t n = ask_all(lane) + scan_all(lane);
    for (int i = 0; i < 100 && yk_lane_has_to_sweep(lane); i++) {
        yk_lane_sweep(lane, 2000000);
    }
    submit(lane, (struct yk_request){.op = YK_OP_FLUSH}, NULL);
    yk_lane_run(lane, 3000000);
    YK_ASSERT(n_ended == n + 1);
    YK_ASSERT(yk_lane_is_idle(lane));
    yk_lane_free(lane);
}

static void
check_record(const uint8_t *data, size_t size, bool with_checksum)
{
    struct yk_record record;
    if (yk_record_decode(yk_slice_of(data, size), with_checksum, 7, &record) != YK_OK) {
        return;
    }
    bool has_checksum = (data[1] & YK_RECORD_CHECKSUM) != 0;
    size_t size_again = yk_record_size(&record, has_checksum);
    YK_ASSERT(size_again <= size); /* fields of 0 are not written */
    uint8_t *again = g_malloc(size_again);
    struct yk_record read;
    yk_record_encode(&record, has_checksum, 7, again);
    YK_ASSERT(yk_record_decode(yk_slice_of(again, size_again), has_checksum, 7, &read) == YK_OK);
    YK_ASSERT(read.version == record.version && read.expiry_ms == record.expiry_ms &&
              read.cas == record.cas && read.client_flags == record.client_flags &&
              read.marks == record.marks && yk_slice_equal(read.value, record.value));
    g_free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yk_settings *settings = yk_settings_new(&held_plugin, "held");
    check_record(data, size, false);
    check_record(data, size, true);
    fill(data, size);
    live(settings, 3);
    live(settings, 4);
    empty();
    yk_settings_free(settings);
    return 0;
}
