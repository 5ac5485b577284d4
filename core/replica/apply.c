/* What is committed goes into the engine, in batches; until it is there reads find it in the
 * overlay. Of several changes of a key that wait only the newest is made.
 *
 * An engine that finds no space for what is committed keeps nothing from being served: the change
 * is stuck, is tried again from time to time, and meanwhile the lane refuses what would need more.
 */
#include <config.h>

#include "core/replica/machine.h"

#include "core/base/buffer.h"

enum { RETRY_MS = 1000 };

struct yk_key
lane_entry_key(const struct yk_lane *lane, const struct yk_overlay_entry *entry)
{
    uint32_t prefix = lane_prefix(lane);
    uint8_t *data = entry->own + YK_PIN_ROOM - prefix;
    if (prefix > 0) {
        data[0] = (uint8_t)(entry->slot >> 8);
        data[1] = (uint8_t)entry->slot;
        data[2] = data[3] = 0; /* generation */
    }
    return (struct yk_key){.data = data,
                           .size = (uint32_t)entry->key.size + prefix,
                           .slot = entry->slot,
                           .hash = entry->hash};
}

void
lane_apply_now(struct yk_lane *lane, const struct yk_change *change)
{
    struct yk_job *job = &lane->jobs[0];
    job->call.now_ms = lane->now_ms;
    enum yk_err result = yk_stack_apply(lane->config.stack, change, 1, &job->call);
    if (result != YK_OK) {
        lane_stop(lane, result);
    }
}

static void
push_unapplied(struct yk_lane *lane, struct yk_overlay_entry *entry)
{
    entry->is_queued = true;
    entry->next_queued = NULL;
    entry->queue_number = ++lane->queue_number;
    if (lane->unapplied == NULL) {
        lane->unapplied = entry;
    } else {
        lane->unapplied_last->next_queued = entry;
    }
    lane->unapplied_last = entry;
    lane->n_unapplied++;
}

static uint64_t
weight_of(const struct yk_buffer *record)
{
    return record != NULL ? record->size : 0;
}

void
lane_queue_applied(struct yk_lane *lane, struct yk_overlay_entry *entry, struct yk_buffer *record)
{
    if (record != NULL) {
        yk_buffer_ref(record);
    }
    lane->unapplied_bytes -= weight_of(entry->committed);
    lane->unapplied_bytes += weight_of(record);
    yk_buffer_unref(entry->committed);
    entry->committed = record;
    entry->has_committed = true;
    entry->was_admitted = true;
    if (!entry->is_queued) {
        push_unapplied(lane, entry);
    }
}

void
lane_take_unapplied(struct yk_lane *lane, struct yk_job *job)
{
    uint64_t bytes = 0;
    while (job->n_changes < YK_BATCH_MAX && bytes < YK_BATCH_BYTES_MAX && lane->unapplied != NULL) {
        struct yk_overlay_entry *entry = lane->unapplied;
        struct yk_change *change = &job->changes[job->n_changes];
        lane->unapplied = entry->next_queued;
        lane->n_unapplied--;
        entry->is_queued = entry->has_committed = false;
        entry->is_applying = true;
        job->is_strange[job->n_changes] = !entry->was_admitted;

        entry->applying = entry->committed;
        entry->committed = NULL;
        *change = (struct yk_change){.key = lane_entry_key(lane, entry), .kind = YK_CHANGE_DELETE};
        if (entry->applying != NULL) {
            change->kind = YK_CHANGE_PUT;
            change->value = yk_slice_of(entry->applying->data, entry->applying->size);
        }
        bytes += weight_of(entry->applying);
        job->mode = JOB_APPLIES;
        job->writes[job->n_changes++].entry = entry;
    }
}

/* It is in the engine, or a newer one is on its way. */
static void
drop_applied(struct yk_lane *lane, struct yk_overlay_entry *entry)
{
    lane->unapplied_bytes -= weight_of(entry->applying);
    yk_buffer_unref(entry->applying);
    entry->applying = NULL;
    entry->is_applying = false;
}

static void
put_stuck(struct yk_lane *lane, struct yk_overlay_entry *entry)
{
    if (entry->has_committed) {
        drop_applied(lane, entry);
        return;
    }
    entry->committed = entry->applying;
    entry->has_committed = entry->is_queued = true;
    entry->applying = NULL;
    entry->is_applying = false;
    entry->next_queued = lane->stuck;
    lane->stuck = entry;
    lane->n_stuck++;
    lane->retry_ms = lane->now_ms + RETRY_MS;
}

void
lane_retry_stuck(struct yk_lane *lane)
{
    while (lane->now_ms >= lane->retry_ms && lane->stuck != NULL) {
        struct yk_overlay_entry *entry = lane->stuck;
        lane->stuck = entry->next_queued;
        lane->n_stuck--;
        push_unapplied(lane, entry);
        if (lane->checkpoint.state == CHECKPOINT_SETTLING) {
            lane->checkpoint.queue_number = lane->queue_number; /* it may be from before */
        }
    }
}

void
lane_finish_applied(struct yk_lane *lane, struct yk_job *job)
{
    for (uint32_t i = 0; i < job->n_refused; i++) {
        put_stuck(lane, job->refused[i].entry);
        job->room_result = job->room_result == YK_OK ? job->refusals[i] : job->room_result;
    }
    lane_tell_state(lane, job);
    for (uint32_t i = 0; i < job->n_admitted; i++) {
        struct yk_overlay_entry *entry = job->writes[i].entry;
        if (job->apply_result != YK_OK) {
            put_stuck(lane, entry); /* the lane has stopped: a restart finds it in the journal */
            continue;
        }
        drop_applied(lane, entry);
        lane_entry_idle(lane, entry);
    }
    if (job->n_refused == 0 && job->n_admitted > 0) {
        lane->retry_ms = lane->now_ms; /* there may be room now */
    }
    lane->waits_room = false;
}
