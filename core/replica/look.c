/* Looking at a lane's engine. */
#include <config.h>

#include "core/replica/look.h"

#include <stdlib.h>

#include "core/base/hash.h"
#include "core/replica/machine.h"

enum { STEP_BYTES = 256 * 1024, CURSOR_EXTRA = 64, EMPTY_STEPS_MAX = 1 << 20 };

struct looking {
    const struct yk_look *look;
    yk_look_fn fn;
    void *arg;
    bool with_checksum;
    uint32_t prefix;
    bool is_stopped;
    uint64_t n_shown;
};

static uint32_t
lane_slots(const struct yk_look *look)
{
    return (1u << look->ring.slot_bits) / look->ring.n_lanes + 1;
}

static const char *
judge_place(const struct looking *looking, const struct yk_key *key, uint32_t slot)
{
    const struct yk_look *look = looking->look;
    if (looking->prefix > 0) {
        struct yk_key stored = yk_key_stored(key->data, key->size);
        if (stored.slot != slot || stored.generation != 0) {
            return "it stands under another slot than its key belongs to";
        }
    }
    return yk_ring_lane(&look->ring, slot) != look->lane
               ? "it stands in another lane than its key belongs to"
               : NULL;
}

static const char *
judge_version(const struct yk_look *look, uint32_t slot, const struct yk_record *record)
{
    bool is_ahead =
        look->epochs != NULL && record->version >> YK_SEQUENCE_BITS > look->epochs[slot];
    return is_ahead ? "its version is of an epoch that the register has not seen" : NULL;
}

static bool
found(void *arg, const struct yk_key *key, struct yk_slice value)
{
    struct looking *looking = arg;
    uint32_t prefix = looking->prefix;
    struct yk_look_found shown = {.size = value.size};
    looking->n_shown++;
    if (key->size < prefix) {
        shown.key = yk_slice_of(key->data, key->size);
        shown.wrong = "its key is too short to be one";
    } else {
        shown.key = yk_slice_of(key->data + prefix, key->size - prefix);
        shown.is_own = prefix > 0 && yk_key_stored(key->data, key->size).slot == YK_LANE_RECORDS;
    }
    if (shown.is_own) {
        shown.wrong = yk_page_judge(lane_slots(looking->look), shown.key, value);
    } else if (shown.wrong == NULL) {
        uint64_t hash = yk_hash(shown.key);
        shown.slot = yk_ring_slot(&looking->look->ring, hash);
        shown.wrong = judge_place(looking, key, shown.slot);
        if (yk_record_decode(value, looking->with_checksum, hash, &shown.record) != YK_OK) {
            shown.wrong = "its bytes are not what was stored";
        } else if (shown.wrong == NULL) {
            shown.wrong = judge_version(looking->look, shown.slot, &shown.record);
        }
    }
    looking->is_stopped = !looking->fn(looking->arg, &shown);
    return !looking->is_stopped;
}

/* One step of the engine, with memory that it may ask for. */
static enum yk_err
step(struct looking *looking, struct yk_cursor *cursor, bool *ret_end)
{
    struct yk_scan scan = {.struct_size = sizeof(scan), .bytes_max = STEP_BYTES};
    struct yk_job job = {.n_gets = 0};
    yk_job_init(&job, NULL, looking->look->stack);
    yk_job_reset(&job, 0);
    enum yk_err result =
        yk_stack_scan(looking->look->stack, &scan, cursor, found, looking, ret_end, &job.call);
    yk_job_done(&job);
    return result;
}

enum yk_err
yk_look(const struct yk_look *look, yk_look_fn fn, void *arg)
{
    const struct yk_backend_info *info = yk_stack_info(look->stack);
    struct looking looking = {.look = look,
                              .fn = fn,
                              .arg = arg,
                              .with_checksum = (info->caps & YK_BACKEND_VOLATILE) == 0,
                              .prefix = (info->caps & YK_BACKEND_SEGMENTS) != 0 ? 0 : 4};
    uint32_t size_max = look->key_size_max + CURSOR_EXTRA;
    uint8_t *memory = malloc(size_max);
    struct yk_cursor cursor = {.struct_size = sizeof(cursor), .size_max = size_max, .data = memory};
    enum yk_err result = memory != NULL ? YK_OK : YK_ENOMEM;
    bool is_end = false;
    uint32_t n_empty = 0;
    while (result == YK_OK && !is_end && !looking.is_stopped) {
        uint64_t n_before = looking.n_shown;
        result = step(&looking, &cursor, &is_end);
        n_empty = looking.n_shown > n_before ? 0 : n_empty + 1;
        if (n_empty > EMPTY_STEPS_MAX) {
            result = YK_ECORRUPT; /* a damaged engine may lead in a circle */
        }
    }
    free(memory);
    return result;
}
