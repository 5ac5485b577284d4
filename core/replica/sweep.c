/* Scans of a lane: for clients, and the sweep that drops what has ended or was flushed. */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/hash.h"

enum { ERRANDS_MAX = 512 };

/* An errand to drop the key's record, if it has ended when its turn comes. */
static void
add_errand(struct yk_lane *lane, struct yk_slice key)
{
    struct yk_op *op = calloc(1, sizeof(*op));
    uint8_t *bytes = malloc(key.size + YK_PIN_ROOM);
    if (op == NULL || bytes == NULL) {
        free(op);
        free(bytes);
        lane->has_mortals = true;
        return;
    }
    memcpy(bytes + YK_PIN_ROOM, key.data, key.size);
    op->pinned = bytes;
    op->request = (struct yk_request){.struct_size = sizeof(op->request),
                                      .op = YK_OP_DELETE,
                                      .key = yk_slice_of(bytes + YK_PIN_ROOM, key.size)};
    op->hash = yk_hash(key);
    op->slot = (uint16_t)yk_ring_slot(&lane->config.ring, op->hash);
    op->lane = (uint16_t)lane->config.lane;
    op->errand = YK_ERRAND_SWEEP;
    op->is_kept = true;
    lane->n_errands++;
    yk_op_queue_push(&lane->queue, op);
}

/* For an engine on the loop only what is worth a second look goes into the chunk; elsewhere the
 * lane's state may not be read, and everything that ends, or may be flushed, does. */
static bool
scan_wants(struct yk_lane *lane, const struct yk_op *scan, uint32_t slot,
           const struct yk_record *record)
{
    if (!lane->is_inline) {
        return true;
    }
    bool is_dead = !lane_sees(lane, slot, record);
    if (scan != lane->sweep_op) {
        return !is_dead;
    }
    lane->has_mortals = lane->has_mortals || record->expiry_ms != 0;
    return is_dead;
}

bool
lane_is_own_record(const struct yk_lane *lane, const struct yk_key *key)
{
    return lane_prefix(lane) > 0 ? key->data[0] == 0xff && key->data[1] == 0xff
                                 : key->slot == YK_LANE_RECORDS;
}

bool
yk_lane_scanned(struct yk_lane *lane, struct yk_job *job, const struct yk_key *key,
                struct yk_slice value)
{
    struct yk_record record;
    uint32_t prefix = lane_prefix(lane);
    if (key->size < prefix || lane_is_own_record(lane, key)) {
        return true;
    }
    struct yk_slice bare = yk_slice_of(key->data + prefix, key->size - prefix);
    uint64_t hash = yk_hash(bare);
    if (yk_record_decode(value, lane->with_checksum, hash, &record) != YK_OK) {
        return true;
    }
    if (job->scan == lane->checkpoint.scan_op) {
        return lane_snapshot_add(lane, yk_ring_slot(&lane->config.ring, hash), bare, value);
    }
    if (lane_copy_is_scan(lane, job->scan)) {
        return lane_copy_add(lane, job->scan, yk_ring_slot(&lane->config.ring, hash), bare, value);
    }
    if (!scan_wants(lane, job->scan, yk_ring_slot(&lane->config.ring, hash), &record)) {
        return true;
    }
    return yk_chunk_add(job->scan->scan, bare, &record);
}

static void
end_sweep(struct yk_lane *lane, struct yk_job *job)
{
    struct yk_slice key;
    struct yk_record record;
    size_t offset = 0;
    lane->sweep_is_out = false;
    while (yk_chunk_next(lane->sweep, &offset, &key, &record)) {
        uint32_t slot = yk_ring_slot(&lane->config.ring, yk_hash(key));
        lane->has_mortals =
            lane->has_mortals || record.expiry_ms != 0 || lane->n_errands >= ERRANDS_MAX;
        if (lane->n_errands < ERRANDS_MAX && !lane_sees(lane, slot, &record)) {
            add_errand(lane, key);
        }
    }
    if (job->scan_result != YK_OK || job->scan_end) {
        yk_scan_state_restart(lane->sweep);
    }
}

static bool
has_to_look(const struct yk_lane *lane)
{
    return !lane->sweep_is_out && (lane->has_mortals || lane->sweep->cursor.size > 0);
}

bool
yk_lane_has_to_sweep(const struct yk_lane *lane)
{
    return !lane->is_stopped && (lane->stuck != NULL || has_to_look(lane));
}

void
yk_lane_sweep(struct yk_lane *lane, uint64_t now_ms)
{
    if (!yk_lane_has_to_sweep(lane)) {
        return;
    }
    lane_advance(lane, now_ms);
    lane_retry_stuck(lane);
    if (!has_to_look(lane)) {
        yk_lane_run(lane, now_ms);
        return;
    }
    if (lane->sweep->cursor.size == 0) {
        lane->has_mortals = false;
    }
    lane->sweep_is_out = true;
    yk_op_queue_push(&lane->scans, lane->sweep_op);
    yk_lane_run(lane, now_ms);
}

static bool
is_key_visible(void *arg, struct yk_slice key, const struct yk_record *record)
{
    struct yk_lane *lane = arg;
    return lane_sees(lane, yk_ring_slot(&lane->config.ring, yk_hash(key)), record);
}

void
lane_finish_scan(struct yk_lane *lane, struct yk_job *job)
{
    struct yk_scan_state *state = job->scan->scan;
    if (job->scan == lane->checkpoint.scan_op) {
        lane_snapshot_scanned(lane, job);
        return;
    }
    if (job->scan == lane->sweep_op) {
        end_sweep(lane, job);
        return;
    }
    if (lane_copy_is_scan(lane, job->scan)) {
        lane_copy_scanned(lane, job);
        return;
    }
    state->is_end = job->scan_end;
    if (!lane->is_inline) {
        yk_chunk_filter(state, is_key_visible, lane);
    }
    lane_answer(lane, job->scan, state->no_memory ? YK_ENOMEM : job->scan_result, NULL);
}
