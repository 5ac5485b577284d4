/* Pages: what a lane knows of its slots beyond their records, 512 slots each. They stand in lane
 * records of an engine that keeps something, and at the head of a snapshot.
 *
 * A page: format (1 byte, 2) | slots (2) | time of a flush to come, ms (8) | slot time, ms (8) |
 * for each slot: flush version (8), position (8), floor (8) | checksum (4), little-endian; its key
 * is the slot 0xFFFF and "flush" with the page's number. Format 1, of folders made before there was
 * a journal, has no slot time, and the flush version alone for each slot.
 *
 * Without a journal they are stored when there is a flush (marks), so that a restart brings nothing
 * back; with one at each checkpoint. */
#include <config.h>

#include "core/replica/machine.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/store/decide.h"

enum {
    PAGE_FORMAT_FIRST = 1,
    PAGE_FORMAT = 2,
    PAGE_SLOTS = 512,
    PAGE_HEAD_FIRST = 11,
    PAGE_HEAD = 19,
    SLOT_SIZE = 24,
    CHECKSUM_SIZE = 4,
    KEY_SIZE = 7,
    KEY_ROOM = YK_PIN_ROOM + 8,
    RETRY_MS = 1000,
    TRIES_MAX = 4
};

static uint32_t
slots_of_page(uint32_t n_slots, uint32_t page)
{
    uint32_t left = n_slots - page * PAGE_SLOTS;
    return left < PAGE_SLOTS ? left : PAGE_SLOTS;
}

static uint32_t
page_slots(const struct yk_lane *lane, uint32_t page)
{
    return slots_of_page(lane->n_slots, page);
}

static void
put_page_key(uint8_t *to, uint32_t index)
{
    memcpy(to, "flush", 5);
    to[5] = (uint8_t)(index >> 8);
    to[6] = (uint8_t)index;
}

static uint32_t
page_checksum(const uint8_t *page, size_t size, uint32_t index)
{
    uint8_t key[KEY_SIZE];
    put_page_key(key, index);
    return (uint32_t)XXH3_64bits_withSeed(page, size - CHECKSUM_SIZE,
                                          yk_hash(yk_slice_of(key, KEY_SIZE)));
}

uint32_t
lane_pages(const struct yk_lane *lane)
{
    return (lane->n_slots + PAGE_SLOTS - 1) / PAGE_SLOTS;
}

enum yk_err
lane_marks_init(struct yk_lane *lane)
{
    struct marks *marks = &lane->marks;
    if ((lane->info->caps & YK_BACKEND_VOLATILE) != 0) {
        return YK_OK;
    }
    marks->state = lane->is_journaled ? MARKS_IDLE : MARKS_TO_LOAD;
    marks->n_pages = lane_pages(lane);
    YK_ASSERT(marks->n_pages <= YK_BATCH_MAX);
    marks->ops = calloc(marks->n_pages, sizeof(struct yk_op));
    marks->keys = calloc(marks->n_pages, KEY_ROOM);
    if (marks->ops == NULL || marks->keys == NULL) {
        return YK_ENOMEM;
    }
    for (uint32_t i = 0; i < marks->n_pages; i++) {
        struct yk_op *op = &marks->ops[i];
        uint8_t *key = marks->keys + i * KEY_ROOM + YK_PIN_ROOM;
        put_page_key(key, i);
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

static uint64_t
flush_time(const struct yk_lane *lane, const struct yk_op *op)
{
    struct yk_ttl delay = op->request.expiry;
    return delay.kind == YK_EXPIRY_NEVER ? lane->now_ms : (uint64_t)yk_ttl_fix(delay, lane->now_ms);
}

void
lane_flush(struct yk_lane *lane, struct yk_op *op)
{
    uint64_t at_ms = flush_time(lane, op);
    if (lane->is_clustered) {
        lane_flush_clustered(lane, op, at_ms);
        return;
    }
    if (lane->is_journaled) {
        lane_flush_journaled(lane, op, at_ms);
        return;
    }
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
    if (lane->is_journaled) {
        lane_flush_journaled(lane, NULL, lane->flush_at_ms);
    } else if (marks->state == MARKS_VOLATILE) {
        lane->flush_at_ms = 0;
        lane_flush_slots(lane);
    } else if (marks->state == MARKS_IDLE && marks->retry_ms <= lane->now_ms && !lane->is_stopped) {
        marks->flush = NULL;
        marks->at_ms = lane->flush_at_ms;
        marks->state = MARKS_WAITING;
    }
}

/* Storing */

struct yk_buffer *
lane_page_make(const struct yk_lane *lane, uint32_t index, uint64_t flush_at_ms, bool flushes)
{
    uint16_t n = (uint16_t)page_slots(lane, index);
    struct yk_buffer *page = yk_buffer_new(PAGE_HEAD + n * (size_t)SLOT_SIZE + CHECKSUM_SIZE);
    if (page == NULL) {
        return NULL;
    }
    page->data[0] = PAGE_FORMAT;
    memcpy(page->data + 1, &n, 2);
    memcpy(page->data + 3, &flush_at_ms, 8);
    memcpy(page->data + 11, &lane->now_ms, 8);
    for (uint32_t i = 0; i < n; i++) {
        const struct slot *slot = &lane->slots[index * PAGE_SLOTS + i];
        uint64_t flush_version = flushes ? slot_last(slot) : slot->flush_version;
        uint8_t *to = page->data + PAGE_HEAD + i * (size_t)SLOT_SIZE;
        memcpy(to, &flush_version, 8);
        memcpy(to + 8, &slot->position, 8);
        memcpy(to + 16, &slot->floor, 8);
    }
    uint32_t checksum = page_checksum(page->data, page->size, index);
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
        op->record = lane_page_make(lane, i, marks->is_due ? 0 : marks->at_ms, marks->is_due);
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

static bool
is_page(uint32_t n_slots, uint32_t index, struct yk_slice bytes)
{
    const uint8_t *page = bytes.data;
    size_t size_first = PAGE_HEAD_FIRST + n_slots * 8u + CHECKSUM_SIZE;
    size_t size = PAGE_HEAD + n_slots * (size_t)SLOT_SIZE + CHECKSUM_SIZE;
    uint16_t n;
    uint32_t checksum;
    if (bytes.size < size_first || page[0] < PAGE_FORMAT_FIRST || page[0] > PAGE_FORMAT ||
        bytes.size != (page[0] == PAGE_FORMAT ? size : size_first)) {
        return false;
    }
    memcpy(&n, page + 1, 2);
    memcpy(&checksum, page + bytes.size - CHECKSUM_SIZE, CHECKSUM_SIZE);
    return n == n_slots && checksum == page_checksum(page, bytes.size, index);
}

const char *
yk_page_judge(uint32_t n_slots, struct yk_slice key, struct yk_slice bytes)
{
    const uint8_t *name = key.data;
    if (key.size != KEY_SIZE || memcmp(name, "flush", 5) != 0) {
        return "it is none of the records that a lane keeps of itself";
    }
    uint32_t index = (uint32_t)name[5] << 8 | name[6];
    if (index * PAGE_SLOTS >= n_slots) {
        return "it is a page of slots that the lane has not";
    }
    return is_page(slots_of_page(n_slots, index), index, bytes)
               ? NULL
               : "the page of what the lane knows of its slots is not what was stored";
}

static void
read_slot(struct slot *slot, const uint8_t *from, bool is_first_format)
{
    memcpy(&slot->flush_version, from, 8);
    if (!is_first_format) {
        memcpy(&slot->position, from + 8, 8);
        memcpy(&slot->floor, from + 16, 8);
    }
    slot->sequence = slot->position & SEQUENCE_MAX;
}

enum yk_err
lane_page_read(struct yk_lane *lane, uint32_t index, struct yk_slice bytes)
{
    const uint8_t *page = bytes.data;
    if (index >= lane_pages(lane) || !is_page(page_slots(lane, index), index, bytes)) {
        return YK_ECORRUPT;
    }
    bool is_first_format = page[0] == PAGE_FORMAT_FIRST;
    memcpy(&lane->flush_at_ms, page + 3, 8);
    if (!is_first_format) {
        uint64_t now_ms;
        memcpy(&now_ms, page + 11, 8);
        lane->now_ms = now_ms > lane->now_ms ? now_ms : lane->now_ms;
    }
    for (uint32_t i = 0; i < page_slots(lane, index); i++) {
        read_slot(&lane->slots[index * PAGE_SLOTS + i],
                  is_first_format ? page + PAGE_HEAD_FIRST + i * 8u
                                  : page + PAGE_HEAD + i * (size_t)SLOT_SIZE,
                  is_first_format);
    }
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
        result = lane_page_read(lane, (uint32_t)(op - marks->ops), page);
        marks->n_stored += result == YK_OK ? 1 : 0;
    }
    if (result != YK_OK && result != YK_ENOTFOUND) {
        marks->result = result;
    }
    if (--marks->n_out == 0) {
        end_load(lane);
    }
}
