/* Copies of slots: the primary's side, for some slots of a lane at once, and the learner's. */
#include <config.h>

#include "core/replica/copy.h"

#include "core/replica/machine.h"

#include <stdlib.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"

enum {
    CHUNK_BYTES = 256 * 1024,
    CHUNK_RECORDS = YK_COPY_RECORDS_MAX,
    PATIENCE_US = 5 * 1000 * 1000,
    VOID_TAIL_MAX = 16 * 1024 * 1024
};

/* Whom a slot is copied to. */
struct target {
    uint32_t slot, node, incarnation, epoch;
    uint64_t copy;
    bool is_begun; /* in this round */
    bool is_ready; /* it has wiped */
    bool is_asked; /* an answer is awaited */
    bool is_failed;
};

enum sender_state {
    SENDER_IDLE,
    SENDER_BEGINNING,
    SENDER_SETTLING,
    SENDER_SCANNING,
    SENDER_WAITING,
    SENDER_ENDING
};

struct copying {
    /* The primary's side. */
    enum sender_state state;
    struct target targets[YK_COPY_TARGETS_MAX];
    uint32_t n_targets;
    uint64_t queue_number; /* entries queued up to here are in the engine before the scan */
    uint32_t number;       /* of the chunk */
    bool is_last;
    int64_t since_us;
    struct yk_scan_state *scan;
    struct yk_op *scan_op;
    struct yk_entry records[CHUNK_RECORDS]; /* of the chunk: keys and values in bytes */
    uint32_t n_records;
    uint8_t *bytes; /* own */
    size_t size, room;
    bool is_failed;

    /* The learner's: one scan wipes all slots that are marked. */
    struct yk_scan_state *wipe;
    struct yk_op *wipe_op;
    bool is_wiping, wipes_again;
    bool wipe_waits;            /* for what is on its way into the engine */
    uint64_t wipe_queue_number; /* entries queued up to here */

    /* For each slot of the lane: is it looked for? Written only while no scan is out. */
    uint8_t *scan_marks, *wipe_marks; /* own */
};

static int64_t
boot_us(const struct yk_lane *lane)
{
    return (int64_t)lane->config.world->boot_us(lane->config.world->arg);
}

static struct yk_replica *
replica_of(const struct yk_lane *lane, uint32_t slot)
{
    return &lane->replicas[yk_ring_slot_index(&lane->config.ring, slot)];
}

static void
say(struct yk_lane *lane, uint32_t node, const struct yk_copy *message)
{
    lane->config.sink.copy(lane->config.sink.arg, lane, node, message);
}

/* The primary */

void
lane_copy_wanted(struct yk_lane *lane, const struct yk_replica *replica, uint32_t node,
                 uint32_t incarnation)
{
    struct copying *copying = lane->copying;
    struct target *target = NULL;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        if (copying->targets[i].slot == replica->slot && copying->targets[i].node == node) {
            target = &copying->targets[i];
        }
    }
    if (target == NULL) {
        if (copying->n_targets == YK_COPY_TARGETS_MAX) {
            return; /* its stage is looked at again: see lane_copy_step */
        }
        target = &copying->targets[copying->n_targets++];
    }
    *target = (struct target){.slot = replica->slot,
                              .node = node,
                              .incarnation = incarnation,
                              .epoch = replica->record.epoch};
}

static void
ask(struct yk_lane *lane, struct target *target, enum yk_copy_kind kind)
{
    const struct yk_replica *replica = replica_of(lane, target->slot);
    target->is_asked = true;
    say(lane, target->node,
        &(struct yk_copy){.slot = (uint16_t)target->slot,
                          .kind = kind,
                          .epoch = target->epoch,
                          .incarnation = target->incarnation,
                          .copy = target->copy,
                          .start = replica->commit,
                          .flush_version = lane_slot(lane, target->slot)->flush_version,
                          .number = lane->copying->number});
}

/* Those that failed are probed again; they will ask for another copy. */
static void
drop_targets(struct yk_lane *lane, bool drops_all)
{
    struct copying *copying = lane->copying;
    uint32_t n = 0;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        struct target *target = &copying->targets[i];
        struct yk_replica *replica = replica_of(lane, target->slot);
        bool is_over = replica->role != YK_REPLICA_PRIMARY;
        if (is_over || target->is_failed || (drops_all && target->is_begun)) {
            yk_replica_copy_failed(replica, target->node, target->copy);
        } else {
            copying->targets[n++] = *target;
        }
    }
    copying->n_targets = n;
}

static bool
has_asked(const struct copying *copying)
{
    bool has = false;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        has = has || copying->targets[i].is_asked;
    }
    return has;
}

static void
begin_round(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    copying->number = 0;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        struct target *target = &copying->targets[i];
        const struct yk_replica *replica = replica_of(lane, target->slot);
        target->is_begun = true;
        target->is_ready = false;
        target->epoch = replica->record.epoch;
        target->copy = ++lane->n_copies + (lane->config.nonce << 32);
        yk_replica_copy_begins(replica_of(lane, target->slot), target->node, target->copy,
                               replica->commit);
        ask(lane, target, YK_COPY_BEGIN);
    }
    copying->queue_number = lane->queue_number;
    copying->since_us = boot_us(lane);
    copying->state = SENDER_BEGINNING;
}

static void
scan_on(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    copying->n_records = 0;
    copying->size = 0;
    copying->is_failed = false;
    memset(copying->scan_marks, 0, lane->n_slots);
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        const struct target *target = &copying->targets[i];
        copying->scan_marks[yk_ring_slot_index(&lane->config.ring, target->slot)] |=
            target->is_ready && !target->is_failed;
    }
    copying->state = SENDER_SCANNING;
    yk_op_queue_push(&lane->scans, copying->scan_op);
}

bool
lane_copy_is_scan(const struct yk_lane *lane, const struct yk_op *scan)
{
    return lane->copying != NULL &&
           (scan == lane->copying->scan_op || scan == lane->copying->wipe_op);
}

static bool
add_record(struct copying *copying, uint32_t slot, struct yk_slice key, struct yk_slice value)
{
    if (copying->n_records == CHUNK_RECORDS ||
        (copying->n_records > 0 && copying->size + key.size + value.size > CHUNK_BYTES)) {
        return false;
    }
    if (copying->size + key.size + value.size > copying->room) {
        size_t room = MAX(copying->size + key.size + value.size, (size_t)CHUNK_BYTES);
        uint8_t *bytes = realloc(copying->bytes, room);
        if (bytes == NULL) {
            copying->is_failed = true;
            return false;
        }
        copying->bytes = bytes;
        copying->room = room;
    }
    struct yk_entry *record = &copying->records[copying->n_records++];
    uint8_t *at = copying->bytes + copying->size; /* only offsets last: bytes may move */
    memcpy(at, key.data, key.size);
    if (value.size > 0) {
        memcpy(at + key.size, value.data, value.size);
    }
    *record = (struct yk_entry){.kind = YK_ENTRY_PUT,
                                .slot = (uint16_t)slot,
                                .key = yk_slice_of(NULL, key.size),
                                .value = yk_slice_of(NULL, value.size)};
    copying->size += key.size + value.size;
    return true;
}

/* By whatever thread scans. */
bool
lane_copy_add(struct yk_lane *lane, const struct yk_op *scan, uint32_t slot, struct yk_slice key,
              struct yk_slice value)
{
    struct copying *copying = lane->copying;
    uint32_t index = yk_ring_slot_index(&lane->config.ring, slot);
    if (scan == copying->wipe_op) {
        struct yk_record none = {0};
        return copying->wipe_marks[index] == 0 || yk_chunk_add(copying->wipe, key, &none);
    }
    return copying->scan_marks[index] == 0 || add_record(copying, slot, key, value);
}

static void
point_records(struct copying *copying)
{
    const uint8_t *at = copying->bytes;
    for (uint32_t i = 0; i < copying->n_records; i++) {
        struct yk_entry *record = &copying->records[i];
        record->key.data = at;
        record->value.data = at + record->key.size;
        at += record->key.size + record->value.size;
    }
}

/* Its share of the chunk. */
static void
send_records(struct yk_lane *lane, struct target *target)
{
    struct copying *copying = lane->copying;
    struct yk_entry *share = malloc((copying->n_records + 1) * sizeof(*share));
    uint32_t n = 0;
    for (uint32_t i = 0; share != NULL && i < copying->n_records; i++) {
        if (copying->records[i].slot == target->slot) {
            share[n++] = copying->records[i];
        }
    }
    target->is_asked = true;
    if (share != NULL) {
        say(lane, target->node,
            &(struct yk_copy){.slot = (uint16_t)target->slot,
                              .kind = YK_COPY_RECORDS,
                              .epoch = target->epoch,
                              .incarnation = target->incarnation,
                              .copy = target->copy,
                              .number = copying->number,
                              .n_entries = n,
                              .entries = share});
    }
    free(share);
}

static void
send_chunk(struct yk_lane *lane, bool ends)
{
    struct copying *copying = lane->copying;
    point_records(copying);
    copying->number++;
    copying->is_last = ends;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        struct target *target = &copying->targets[i];
        if (target->is_ready && !target->is_failed) {
            send_records(lane, target);
        }
    }
    copying->since_us = boot_us(lane);
    copying->state = SENDER_WAITING;
}

/* The learner's wipe */

static void
start_wipe(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        copying->wipe_marks[i] = lane->slots[i].is_wiping;
    }
    copying->is_wiping = true;
    copying->wipes_again = false;
    yk_scan_state_restart(copying->wipe);
    yk_op_queue_push(&lane->scans, copying->wipe_op);
}

/* What was committed before may still be on its way into the engine: that first. */
static void
want_wipe(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    copying->is_wiping = copying->wipe_waits = true;
    copying->wipe_queue_number = lane->queue_number;
}

/* What was found goes. */
static void
finish_wipe(struct yk_lane *lane, const struct yk_job *job)
{
    struct copying *copying = lane->copying;
    struct yk_slice key;
    struct yk_record record;
    size_t offset = 0;
    while (yk_chunk_next(copying->wipe, &offset, &key, &record)) {
        lane_drop_key(lane, key);
    }
    if (job->scan_result != YK_OK || copying->wipe->no_memory || !job->scan_end) {
        yk_op_queue_push(&lane->scans, copying->wipe_op);
        return;
    }
    if (copying->wipes_again) {
        want_wipe(lane);
        return;
    }
    copying->is_wiping = false;
    for (uint32_t i = 0; i < lane->n_slots; i++) {
        struct slot *slot = &lane->slots[i];
        const struct yk_replica *replica = &lane->replicas[i];
        if (slot->is_wiping) {
            slot->is_wiping = false;
            say(lane, slot->copy_from,
                &(struct yk_copy){.slot = replica->slot,
                                  .kind = YK_COPY_BEGIN,
                                  .is_answer = true,
                                  .epoch = replica->record.epoch,
                                  .copy = replica->copy});
        }
    }
}

void
lane_copy_scanned(struct yk_lane *lane, const struct yk_job *job)
{
    struct copying *copying = lane->copying;
    if (job->scan == copying->wipe_op) {
        finish_wipe(lane, job);
        return;
    }
    if (copying->state != SENDER_SCANNING) {
        return;
    }
    if (job->scan_result != YK_OK || copying->is_failed) {
        drop_targets(lane, true);
        copying->state = SENDER_IDLE;
        yk_scan_state_restart(copying->scan);
        return;
    }
    send_chunk(lane, job->scan_end);
}

static bool
is_settled(const struct yk_lane *lane, uint64_t queue_number)
{
    bool is_applying = lane->jobs[0].is_out && lane->jobs[0].mode == JOB_APPLIES;
    return !is_applying && lane->stuck == NULL &&
           (lane->unapplied == NULL || lane->unapplied->queue_number > queue_number);
}

/* Those that have not answered in time, and those that are none any more. */
static void
look_at_targets(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    bool is_late = boot_us(lane) - copying->since_us > PATIENCE_US;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        struct target *target = &copying->targets[i];
        const struct yk_replica *replica = replica_of(lane, target->slot);
        target->is_failed = target->is_failed || (is_late && target->is_asked) ||
                            (target->is_begun && replica->record.epoch != target->epoch);
    }
    drop_targets(lane, false);
}

static void
send_ends(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        if (copying->targets[i].is_ready) {
            ask(lane, &copying->targets[i], YK_COPY_END);
        }
    }
    copying->since_us = boot_us(lane);
    copying->state = SENDER_ENDING;
}

void
lane_copy_step(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    if (copying->wipe_waits && is_settled(lane, copying->wipe_queue_number)) {
        copying->wipe_waits = false;
        start_wipe(lane);
    }
    if (copying->state != SENDER_IDLE && copying->state != SENDER_SCANNING) {
        look_at_targets(lane);
    }
    switch (copying->state) {
    case SENDER_IDLE:
        if (copying->n_targets > 0) {
            begin_round(lane);
        }
        break;
    case SENDER_BEGINNING:
        if (!has_asked(copying)) {
            copying->state = SENDER_SETTLING;
        }
        break;
    case SENDER_SETTLING:
        if (is_settled(lane, copying->queue_number)) {
            yk_scan_state_restart(copying->scan);
            scan_on(lane);
        }
        break;
    case SENDER_SCANNING:
        break;
    case SENDER_WAITING:
        if (!has_asked(copying)) {
            if (copying->is_last) {
                send_ends(lane);
            } else {
                scan_on(lane);
            }
        }
        break;
    case SENDER_ENDING:
        if (!has_asked(copying)) {
            drop_targets(lane, true);
            copying->state = SENDER_IDLE;
        }
        break;
    }
}

static void
on_answer(struct yk_lane *lane, uint32_t from, const struct yk_copy *message)
{
    struct copying *copying = lane->copying;
    for (uint32_t i = 0; i < copying->n_targets; i++) {
        struct target *target = &copying->targets[i];
        if (target->slot != message->slot || target->node != from ||
            target->copy != message->copy) {
            continue;
        }
        if (message->kind == YK_COPY_BEGIN) {
            target->is_ready = true;
            target->is_asked = target->is_asked && copying->state != SENDER_BEGINNING;
        } else if (message->kind == YK_COPY_RECORDS) {
            target->is_asked = target->is_asked && message->number != copying->number;
        } else {
            target->is_asked = false;
            yk_replica_copied(replica_of(lane, target->slot), from, target->copy);
        }
    }
}

/* The learner */

static void
answer(struct yk_lane *lane, uint32_t to, const struct yk_copy *message)
{
    struct yk_copy back = *message;
    back.is_answer = true;
    back.n_entries = 0;
    say(lane, to, &back);
}

static void
on_begin(struct yk_lane *lane, uint32_t from, const struct yk_copy *message)
{
    struct copying *copying = lane->copying;
    struct yk_replica *replica = replica_of(lane, message->slot);
    struct slot *slot = lane_slot(lane, message->slot);
    if (replica->copy == message->copy) {
        if (!slot->is_wiping && replica->is_void) {
            answer(lane, from, message);
        }
        return;
    }
    if (!lane_journal_copy(lane, replica,
                           &(struct yk_entry){.kind = YK_ENTRY_WIPE, .version = message->start})) {
        return;
    }
    yk_replica_wiped(replica, message->copy, message->start);
    slot->position = 0; /* in pages: nothing of it can be relied on */
    slot->flush_version = 0;
    slot->copy_from = from;
    slot->copy_flush_version = message->flush_version;
    slot->copy_start = message->start;
    slot->copy_number = 0;
    slot->is_wiping = true;
    slot->is_ending = false; /* ★ the end of an earlier copy may be on its way to the journal */
    if (copying->is_wiping) {
        copying->wipes_again = true;
    } else {
        want_wipe(lane);
    }
}

static void
on_records(struct yk_lane *lane, uint32_t from, const struct yk_copy *message)
{
    struct yk_replica *replica = replica_of(lane, message->slot);
    struct slot *slot = lane_slot(lane, message->slot);
    if (message->number == slot->copy_number) {
        answer(lane, from, message);
        return;
    }
    if (slot->is_wiping || !replica->is_void || message->number != slot->copy_number + 1) {
        return;
    }
    for (uint32_t i = 0; i < message->n_entries; i++) {
        struct yk_entry record = message->entries[i];
        record.kind = YK_ENTRY_COPY;
        if (!lane_journal_copy(lane, replica, &record) ||
            !lane_put_copied(lane, replica, &record)) {
            return; /* it will be given up, and begun again */
        }
    }
    slot->copy_number++;
    answer(lane, from, message);
}

static void
on_end(struct yk_lane *lane, uint32_t from, const struct yk_copy *message)
{
    struct yk_replica *replica = replica_of(lane, message->slot);
    struct slot *slot = lane_slot(lane, message->slot);
    if (!replica->is_void) {
        answer(lane, from, message);
        return;
    }
    if (slot->is_wiping || slot->copy_number != message->number || slot->is_ending) {
        return;
    }
    struct yk_entry entry = {.kind = YK_ENTRY_COPIED,
                             .version = slot->copy_start,
                             .value = yk_slice_of(&slot->copy_flush_version, 8)};
    slot->is_ending = lane_journal_copy(lane, replica, &entry);
}

void
lane_copy_ends(struct yk_lane *lane, struct yk_replica *replica)
{
    struct slot *slot = lane_slot(lane, replica->slot);
    slot->is_ending = false;
    slot->flush_version = slot->copy_flush_version;
    slot->position = slot->copy_start;
    slot->wiped_from = UINT64_MAX;
    yk_replica_copy_ends(replica);
    say(lane, slot->copy_from,
        &(struct yk_copy){.slot = replica->slot,
                          .kind = YK_COPY_END,
                          .is_answer = true,
                          .epoch = replica->record.epoch,
                          .copy = replica->copy,
                          .number = slot->copy_number});
}

bool
lane_is_void_full(const struct yk_replica *replica)
{
    return replica->is_void && replica->tail.bytes > VOID_TAIL_MAX;
}

void
yk_lane_on_copy(struct yk_lane *lane, uint32_t from, const struct yk_copy *message)
{
    const struct yk_replica *replica = replica_of(lane, message->slot);
    if (message->is_answer) {
        on_answer(lane, from, message);
        return;
    }
    if (!replica->is_known || replica->role != YK_REPLICA_IDLE || lane->is_stopped ||
        replica->record.epoch != message->epoch || replica->record.primary != from ||
        message->incarnation != lane->replica_setup.incarnation ||
        (message->kind != YK_COPY_BEGIN && message->copy != replica->copy)) {
        return;
    }
    if (message->kind == YK_COPY_BEGIN) {
        on_begin(lane, from, message);
    } else if (message->kind == YK_COPY_RECORDS) {
        on_records(lane, from, message);
    } else {
        on_end(lane, from, message);
    }
}

/* Life */

static struct yk_op *
scan_op_new(struct yk_scan_state *scan)
{
    struct yk_op *op = calloc(1, sizeof(*op));
    if (op != NULL) {
        op->request.op = YK_OP_SCAN;
        op->scan = scan;
    }
    return op;
}

enum yk_err
lane_copying_init(struct yk_lane *lane)
{
    struct copying *copying = calloc(1, sizeof(*copying));
    lane->copying = copying;
    if (copying == NULL) {
        return YK_ENOMEM;
    }
    copying->scan = yk_scan_state_new(lane->config.key_size_max, CHUNK_BYTES, false);
    copying->wipe = yk_scan_state_new(lane->config.key_size_max, CHUNK_BYTES, false);
    copying->scan_op = scan_op_new(copying->scan);
    copying->wipe_op = scan_op_new(copying->wipe);
    copying->scan_marks = calloc(lane->n_slots, 1);
    copying->wipe_marks = calloc(lane->n_slots, 1);
    return copying->scan_marks != NULL && copying->wipe_marks != NULL && copying->scan != NULL &&
                   copying->wipe != NULL && copying->scan_op != NULL && copying->wipe_op != NULL
               ? YK_OK
               : YK_ENOMEM;
}

void
lane_copying_done(struct yk_lane *lane)
{
    struct copying *copying = lane->copying;
    if (copying == NULL) {
        return;
    }
    yk_scan_state_free(copying->scan);
    yk_scan_state_free(copying->wipe);
    free(copying->scan_op);
    free(copying->wipe_op);
    free(copying->bytes);
    free(copying->scan_marks);
    free(copying->wipe_marks);

    free(copying);
}
