/* Checkpoints: what a lane has committed is put where a restart finds it without the journal, with
 * the lane's pages; then the journal before it is not needed.
 *
 * Where the engine keeps what it holds over any end of the node (of the kind that the bucket's
 * durability speaks of), that is a sync, with the pages put in before. Else it is a snapshot: the
 * records that a scan sees while the lane goes on serving, under the pages as they were at its
 * begin. It is not one point in time; the journal from there on makes it whole when it is replayed.
 *
 * Source: PROTOCOL "Durability". */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/journal/bundle.h"

enum { RETRY_MS = 5000, SCAN_BYTES = 64 * 1024, SCAN_BYTES_LATE = 256 * 1024 };

enum yk_err
lane_checkpoint_init(struct yk_lane *lane)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    uint32_t caps = lane->info->caps;
    bool survives_power = (caps & YK_BACKEND_SURVIVES_POWER) != 0;
    bool survives_kill = (caps & YK_BACKEND_SURVIVES_KILL) != 0;
    bool is_volatile = (caps & YK_BACKEND_VOLATILE) != 0;
    lane->needs_snapshots = is_volatile || !survives_kill ||
                            (lane->config.durability == YK_DURABILITY_DISK && !survives_power);
    checkpoint->pages = calloc(lane_pages(lane), sizeof(struct yk_buffer *));
    checkpoint->bundle = yk_bundle_new();
    checkpoint->scan_op = calloc(1, sizeof(struct yk_op));
    checkpoint->scan = yk_scan_state_new(lane->config.key_size_max,
                                         lane->is_inline ? SCAN_BYTES : SCAN_BYTES_LATE, true);
    if (checkpoint->pages == NULL || checkpoint->bundle == NULL || checkpoint->scan_op == NULL ||
        checkpoint->scan == NULL) {
        return YK_ENOMEM;
    }
    checkpoint->scan_op->request.op = YK_OP_SCAN;
    checkpoint->scan_op->scan = checkpoint->scan;
    return YK_OK;
}

static void
drop_pages(struct yk_lane *lane)
{
    for (uint32_t i = 0; i < lane_pages(lane); i++) {
        yk_buffer_unref(lane->checkpoint.pages[i]);
        lane->checkpoint.pages[i] = NULL;
    }
}

void
lane_checkpoint_done(struct yk_lane *lane)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    if (checkpoint->pages != NULL) {
        drop_pages(lane);
    }
    free(checkpoint->pages);
    yk_bundle_free(checkpoint->bundle);
    free(checkpoint->scan_op);
    yk_scan_state_free(checkpoint->scan);
}

static bool
make_pages(struct yk_lane *lane)
{
    for (uint32_t i = 0; i < lane_pages(lane); i++) {
        lane->checkpoint.pages[i] = lane_page_make(lane, i, lane->flush_at_ms, false);
        if (lane->checkpoint.pages[i] == NULL) {
            drop_pages(lane);
            return false;
        }
    }
    return true;
}

static void
end_checkpoint(struct yk_lane *lane, enum yk_err result)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    checkpoint->state = CHECKPOINT_NONE;
    drop_pages(lane);
    if (result == YK_OK) {
        lane->needed_from = checkpoint->needed_next;
        return;
    }
    checkpoint->retry_ms = lane->now_ms + RETRY_MS;
    if (result == YK_ESTOPPED) {
        return; /* nobody waits for it */
    }
    yk_log(lane->config.world, YK_LOG_ERROR, "journal",
           "a checkpoint failed and will be tried again bucket=%u lane=%u error=\"%s\"",
           lane->config.bucket_index, lane->config.lane, yk_err_text(result));
}

bool
yk_lane_checkpoint(struct yk_lane *lane, uint64_t now_ms)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    if (checkpoint->state != CHECKPOINT_NONE || lane->is_stopped || lane->is_flushing ||
        now_ms < checkpoint->retry_ms || !make_pages(lane)) {
        return false;
    }
    checkpoint->state = CHECKPOINT_SETTLING;
    checkpoint->needed_next = lane_uncommitted_from(lane);
    checkpoint->queue_number = lane->queue_number;
    checkpoint->has_begun = false;
    checkpoint->size = checkpoint->n_records = 0;
    yk_lane_run(lane, now_ms);
    return true;
}

/* Is all that was committed at its begin in the engine? */
static bool
is_settled(const struct yk_lane *lane)
{
    bool is_applying = lane->jobs[0].is_out && lane->jobs[0].mode == JOB_APPLIES;
    return !is_applying && lane->stuck == NULL &&
           (lane->unapplied == NULL ||
            lane->unapplied->queue_number > lane->checkpoint.queue_number);
}

static void
scan_on(struct yk_lane *lane)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    checkpoint->state = CHECKPOINT_SCANNING;
    checkpoint->is_failed = false;
    yk_bundle_reset(checkpoint->bundle);
    yk_op_queue_push(&lane->scans, checkpoint->scan_op);
}

void
lane_checkpoint_step(struct yk_lane *lane)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    if (checkpoint->state != CHECKPOINT_SETTLING || (!lane->is_stopped && !is_settled(lane))) {
        return;
    }
    if (lane->is_stopped) {
        end_checkpoint(lane, YK_ESTOPPED);
    } else if (lane->needs_snapshots) {
        yk_scan_state_restart(checkpoint->scan);
        scan_on(lane);
    } else {
        checkpoint->state = CHECKPOINT_STORING;
    }
}

/* In the engine */

bool
lane_take_pages(struct yk_lane *lane, struct yk_job *job)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    lane_checkpoint_step(lane);
    if (checkpoint->state != CHECKPOINT_STORING) {
        return false;
    }
    job->mode = JOB_PAGES;
    job->syncs = true;
    for (uint32_t i = 0; i < lane->marks.n_pages; i++) {
        const struct yk_buffer *page = checkpoint->pages[i];
        job->changes[i] = (struct yk_change){.key = lane_key(lane, &lane->marks.ops[i]),
                                             .kind = YK_CHANGE_PUT,
                                             .value = yk_slice_of(page->data, page->size)};
    }
    job->n_changes = lane->marks.n_pages;
    return true;
}

void
lane_finish_pages(struct yk_lane *lane, const struct yk_job *job)
{
    enum yk_err result = job->apply_result != YK_OK ? job->apply_result : job->room_result;
    if (job->apply_result != YK_OK) {
        lane_stop(lane, job->apply_result);
    }
    if (result == YK_OK && job->n_refused > 0) {
        result = job->refusals[0];
    }
    if (result == YK_OK) {
        lane->marks.n_stored = lane->marks.n_pages;
    }
    end_checkpoint(lane, result);
}

/* As a snapshot */

static bool
add_entry(struct yk_bundle *bundle, const struct yk_entry *entry)
{
    if (!yk_bundle_extend(bundle, yk_entry_size_of(entry))) {
        return false;
    }
    yk_bundle_add(bundle, entry);
    return true;
}

bool
lane_snapshot_add(struct yk_lane *lane, uint32_t slot, struct yk_slice key, struct yk_slice record)
{
    struct yk_entry entry = {
        .kind = YK_ENTRY_PUT, .slot = (uint16_t)slot, .key = key, .value = record};
    lane->checkpoint.is_failed =
        lane->checkpoint.is_failed || !add_entry(lane->checkpoint.bundle, &entry);
    return !lane->checkpoint.is_failed;
}

static bool
add_pages(struct yk_lane *lane)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    for (uint32_t i = 0; i < lane_pages(lane); i++) {
        struct yk_entry entry = {
            .kind = YK_ENTRY_PAGE,
            .slot = (uint16_t)i,
            .value = yk_slice_of(checkpoint->pages[i]->data, checkpoint->pages[i]->size)};
        if (!add_entry(checkpoint->bundle, &entry)) {
            return false;
        }
    }
    return true;
}

void
lane_snapshot_scanned(struct yk_lane *lane, const struct yk_job *job)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    const struct yk_lane_sink *sink = &lane->config.sink;
    bool is_first = !checkpoint->has_begun;
    checkpoint->n_records += checkpoint->bundle->n_entries;
    if (checkpoint->is_failed || job->scan_result != YK_OK || (is_first && !add_pages(lane))) {
        enum yk_err result = job->scan_result != YK_OK ? job->scan_result : YK_ENOMEM;
        if (!is_first) {
            sink->keep(sink->arg, lane, NULL, YK_KEEP_GIVE_UP);
        }
        end_checkpoint(lane, result);
        return;
    }
    checkpoint->state = CHECKPOINT_KEEPING;
    checkpoint->has_begun = true;
    checkpoint->is_last = job->scan_end;
    checkpoint->size += checkpoint->bundle->size;
    sink->keep(sink->arg, lane, checkpoint->bundle,
               (is_first ? YK_KEEP_FIRST : 0) | (job->scan_end ? YK_KEEP_LAST : 0));
}

void
yk_lane_kept(struct yk_lane *lane, enum yk_err result, uint64_t now_ms)
{
    struct checkpoint *checkpoint = &lane->checkpoint;
    YK_ASSERT(checkpoint->state == CHECKPOINT_KEEPING);
    lane_advance(lane, now_ms);
    if (result == YK_ESTOPPED && checkpoint->is_last) {
        result = YK_OK; /* it was about to end anyway */
    } else if (result == YK_ESTOPPED) {
        lane->config.sink.keep(lane->config.sink.arg, lane, NULL, YK_KEEP_GIVE_UP);
    }
    if (result != YK_OK || checkpoint->is_last) {
        end_checkpoint(lane, result);
        return;
    }
    scan_on(lane);
}

bool
yk_lane_has_checkpoint(const struct yk_lane *lane)
{
    return lane->checkpoint.state != CHECKPOINT_NONE;
}

void
yk_lane_want_checkpoint(struct yk_lane *lane)
{
    lane->needed_from = 0;
}

bool
yk_lane_is_stopped(const struct yk_lane *lane)
{
    return lane->is_stopped;
}

uint64_t
yk_lane_needed_from(const struct yk_lane *lane)
{
    return lane->needed_from;
}

/* At the end of a node */

enum yk_err
yk_lane_settle(struct yk_lane *lane)
{
    struct yk_job *job = &lane->jobs[0];
    bool may = lane->has_log && !lane->needs_snapshots && !lane->is_stopped &&
               lane->needed_from != UINT64_MAX && lane->stuck == NULL && !job->is_out &&
               lane->checkpoint.state == CHECKPOINT_NONE && make_pages(lane);
    if (!may || (lane->info->caps & YK_BACKEND_ASYNC) != 0) {
        return lane->needed_from == UINT64_MAX ? YK_OK : YK_EBUSY;
    }
    lane->checkpoint.needed_next = lane_uncommitted_from(lane);
    lane->checkpoint.state = CHECKPOINT_STORING;
    yk_job_reset(job, lane->now_ms);
    (void)lane_take_pages(lane, job);
    bool is_done = yk_job_run(job);
    YK_ASSERT(is_done);
    lane_finish_pages(lane, job);
    return lane->needed_from == UINT64_MAX             ? YK_OK
           : lane_uncommitted_from(lane) != UINT64_MAX ? YK_EBUSY
                                                       : YK_EIO;
}
