/* Flush marks: a flush makes all records up to a version absent, slot by slot, and is kept in lane
 * records of the engine, so that a restart brings nothing back.
 *
 * A page: format (1 byte, 1) | slots (2) | time of a flush to come, ms (8) | versions (8 each) |
 * checksum (4), little-endian; its key is the slot 0xFFFF and "flush" with the page's number. */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/store/decide.h"

enum {
    PAGE_FORMAT = 1,
    PAGE_SLOTS = 512,
    PAGE_HEAD = 11,
    CHECKSUM_SIZE = 4,
    KEY_SIZE = 7,
    KEY_ROOM = YK_PIN_ROOM + 8,
    RETRY_MS = 1000,
    TRIES_MAX = 4
};

static uint32_t
page_slots(const struct yk_lane *lane, uint32_t page)
{
    uint32_t left = lane->n_slots - page * PAGE_SLOTS;
    return left < PAGE_SLOTS ? left : PAGE_SLOTS;
}

static uint32_t
page_checksum(const uint8_t *page, size_t size, const struct yk_op *op)
{
    return (uint32_t)XXH3_64bits_withSeed(page, size - CHECKSUM_SIZE, op->hash);
}

enum yk_err
lane_marks_init(struct yk_lane *lane)
{
    struct marks *marks = &lane->marks;
    if ((lane->info->caps & YK_BACKEND_VOLATILE) != 0) {
        return YK_OK;
    }
    marks->state = MARKS_TO_LOAD;
    marks->n_pages = (lane->n_slots + PAGE_SLOTS - 1) / PAGE_SLOTS;
    YK_ASSERT(marks->n_pages <= YK_BATCH_MAX);
    marks->ops = calloc(marks->n_pages, sizeof(struct yk_op));
    marks->keys = calloc(marks->n_pages, KEY_ROOM);
    if (marks->ops == NULL || marks->keys == NULL) {
        return YK_ENOMEM;
    }
    for (uint32_t i = 0; i < marks->n_pages; i++) {
        struct yk_op *op = &marks->ops[i];
        uint8_t *key = marks->keys + i * KEY_ROOM + YK_PIN_ROOM;
        memcpy(key, "flush", 5);
        key[5] = (uint8_t)(i >> 8);
        key[6] = (uint8_t)i;
        op->pinned = marks->keys + i * KEY_ROOM;
        op->request = (struct yk_request){.struct_size = sizeof(op->request),
                                          .op = YK_OP_STORE,
                                          .key = yk_slice_of(key, KEY_SIZE)};
        op->hash = yk_hash(op->request.key);
        op->slot = YK_LANE_RECORDS;
        op->lane = (uint16_t)lane->config.lane;
        op->is_kept = true;
        op->errand = YK_ERRAND_MARKS;
    }
    return YK_OK;
}

void
lane_marks_done(struct yk_lane *lane)
{
    free(lane->marks.ops);
    free(lane->marks.keys);
}

/* Flushes */

void
lane_flush(struct yk_lane *lane, struct yk_op *op)
{
    struct yk_ttl delay = op->request.expiry;
    uint64_t at_ms =
        delay.kind == YK_EXPIRY_NEVER ? lane->now_ms : (uint64_t)yk_ttl_fix(delay, lane->now_ms);
    if (lane->marks.state != MARKS_VOLATILE) {
        lane->marks.flush = op;
        lane->marks.at_ms = at_ms;
        lane->marks.state = MARKS_WAITING;
        return;
    }
    lane->flush_at_ms = at_ms;
    lane->has_mortals = true;
    lane_flush_due(lane);
    lane_answer(lane, op, YK_OK, NULL);
}

void
lane_flush_due(struct yk_lane *lane)
{
    struct marks *marks = &lane->marks;
    if (lane->flush_at_ms == 0 || lane->flush_at_ms > lane->now_ms) {
        return;
    }
    if (marks->state == MARKS_VOLATILE) {
        lane->flush_at_ms = 0;
        lane_flush_slots(lane);
    } else if (marks->state == MARKS_IDLE && marks->retry_ms <= lane->now_ms && !lane->is_stopped) {
        marks->flush = NULL;
        marks->at_ms = lane->flush_at_ms;
        marks->state = MARKS_WAITING;
    }
}

/* Storing */

static struct yk_buffer *
make_page(const struct yk_lane *lane, uint32_t index)
{
    const struct yk_op *op = &lane->marks.ops[index];
    uint16_t n = (uint16_t)page_slots(lane, index);
    bool is_due = lane->marks.is_due;
    uint64_t at_ms = is_due ? 0 : lane->marks.at_ms;
    struct yk_buffer *page = yk_buffer_new(PAGE_HEAD + n * 8u + CHECKSUM_SIZE);
    if (page == NULL) {
        return NULL;
    }
    page->data[0] = PAGE_FORMAT;
    memcpy(page->data + 1, &n, 2);
    memcpy(page->data + 3, &at_ms, 8);
    for (uint32_t i = 0; i < n; i++) {
        const struct slot *slot = &lane->slots[index * PAGE_SLOTS + i];
        uint64_t version =
            is_due ? lane->config.epoch << SEQUENCE_BITS | slot->sequence : slot->flush_version;
        memcpy(page->data + PAGE_HEAD + i * 8, &version, 8);
    }
    uint32_t checksum = page_checksum(page->data, page->size, op);
    memcpy(page->data + page->size - CHECKSUM_SIZE, &checksum, CHECKSUM_SIZE);
    return page;
}

static void
end_flush(struct yk_lane *lane)
{
    struct marks *marks = &lane->marks;
    struct yk_op *flush = marks->flush;
    enum yk_err result = marks->result;
    marks->state = MARKS_IDLE;
    marks->flush = NULL;
    if (result == YK_OK) {
        marks->n_stored = marks->n_pages;
        lane->flush_at_ms = marks->is_due ? 0 : marks->at_ms;
        lane->has_mortals = true;
        if (marks->is_due) {
            lane_flush_slots(lane);
        }
    } else {
        marks->retry_ms = lane->now_ms + RETRY_MS;
        result = marks->n_done > 0 ? YK_EUNKNOWN : result;
    }
    if (flush != NULL) {
        lane_answer(lane, flush, result, NULL);
    }
}

void
lane_marks_store(struct yk_lane *lane)
{
    struct marks *marks = &lane->marks;
    marks->state = MARKS_STORING;
    marks->is_due = marks->at_ms <= lane->now_ms;
    marks->n_out = marks->n_pages;
    marks->n_done = 0;
    marks->result = YK_OK;
    for (uint32_t i = 0; i < marks->n_pages; i++) {
        struct yk_op *op = &marks->ops[i];
        op->record = make_page(lane, i);
        if (op->record == NULL) {
            lane_fail_write(lane, op, YK_ENOMEM, NULL);
        } else {
            op->reply.result = YK_OK;
            yk_op_queue_push(&lane->decided, op);
        }
    }
}

void
lane_marks_stored(struct yk_lane *lane, struct yk_op *op, enum yk_err result)
{
    struct marks *marks = &lane->marks;
    if (result == YK_OK) {
        marks->n_done++;
    } else {
        marks->result = result;
    }
    if (--marks->n_out == 0) {
        end_flush(lane);
    }
}

/* Loading */

static enum yk_err
read_page(struct yk_lane *lane, const struct yk_op *op, struct yk_slice bytes)
{
    uint32_t index = (uint32_t)(op - lane->marks.ops);
    const uint8_t *page = bytes.data;
    uint16_t n;
    uint32_t checksum;
    if (bytes.size != PAGE_HEAD + page_slots(lane, index) * 8u + CHECKSUM_SIZE ||
        page[0] != PAGE_FORMAT) {
        return YK_ECORRUPT;
    }
    memcpy(&n, page + 1, 2);
    memcpy(&checksum, page + bytes.size - CHECKSUM_SIZE, CHECKSUM_SIZE);
    if (n != page_slots(lane, index) || checksum != page_checksum(page, bytes.size, op)) {
        return YK_ECORRUPT;
    }
    memcpy(&lane->flush_at_ms, page + 3, 8);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(&lane->slots[index * PAGE_SLOTS + i].flush_version, page + PAGE_HEAD + i * 8, 8);
    }
    lane->marks.n_stored++;
    return YK_OK;
}

static void
end_load(struct yk_lane *lane)
{
    struct marks *marks = &lane->marks;
    enum yk_err result = marks->result;
    marks->result = YK_OK;
    if (result != YK_OK && result != YK_ECORRUPT && ++marks->n_tries < TRIES_MAX) {
        marks->state = MARKS_TO_LOAD;
        return;
    }
    if (result != YK_OK) {
        lane->is_stopped = true;
        yk_log(lane->config.world, YK_LOG_ERROR, "store",
               "lane stopped: cannot read its flush marks bucket=%u lane=%u error=\"%s\"",
               lane->config.bucket_index, lane->config.lane, yk_err_text(result));
    }
    marks->state = MARKS_IDLE;
    lane_flush_due(lane);
}

void
lane_marks_loaded(struct yk_lane *lane, struct yk_op *op, enum yk_err result, struct yk_slice page)
{
    struct marks *marks = &lane->marks;
    if (result == YK_OK) {
        result = read_page(lane, op, page);
    }
    if (result != YK_OK && result != YK_ENOTFOUND) {
        marks->result = result;
    }
    if (--marks->n_out == 0) {
        end_load(lane);
    }
}
