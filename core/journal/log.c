/* The layout of the log. */
#include <config.h>

#include "core/journal/log.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/journal/format.h"

enum { READY_AHEAD = 2, USED_FIRST = 16 };

void
yk_log_init(struct yk_log *log, const struct yk_log_config *config)
{
    YK_ASSERT(config->segment_size >= YK_JOURNAL_HEAD_SIZE + 4 * config->waste_max);
    *log = (struct yk_log){.config = *config, .next_number = 1};
}

void
yk_log_done(struct yk_log *log)
{
    free(log->used);
    log->used = NULL;
}

static enum yk_err
add_used(struct yk_log *log, const struct yk_log_segment *segment)
{
    if (log->n_used == log->used_room) {
        uint32_t room = log->used_room == 0 ? USED_FIRST : log->used_room * 2;
        struct yk_log_segment *used = realloc(log->used, room * sizeof(*used));
        if (used == NULL) {
            return YK_ENOMEM;
        }
        log->used = used;
        log->used_room = room;
    }
    log->used[log->n_used++] = *segment;
    return YK_OK;
}

enum yk_err
yk_log_found(struct yk_log *log, const struct yk_log_segment *segment)
{
    YK_ASSERT(!log->has_current && log->n_ready == 0 && segment->number >= log->next_number);
    log->next_number = segment->number + 1;
    log->next_start = segment->start + segment->size;
    return add_used(log, segment);
}

bool
yk_log_wants(const struct yk_log *log, struct yk_log_segment *ret_segment)
{
    *ret_segment = (struct yk_log_segment){.number = log->next_number,
                                           .start = log->next_start,
                                           .size = log->config.segment_size,
                                           .end = log->next_start + YK_JOURNAL_HEAD_SIZE};
    return log->n_ready < READY_AHEAD;
}

int64_t
yk_log_ready(struct yk_log *log)
{
    log->n_ready++;
    log->next_number++;
    log->next_start += log->config.segment_size;
    return (int64_t)(log->config.segment_size - YK_JOURNAL_HEAD_SIZE - log->config.waste_max);
}

static uint64_t
rest_of(const struct yk_log_segment *segment)
{
    return segment->start + segment->size - segment->end;
}

/* The next ready file becomes the current one. */
static enum yk_err
switch_over(struct yk_log *log, struct yk_log_place *place)
{
    if (log->n_ready == 0) {
        return YK_ENOSPACE;
    }
    place->is_first = true;
    if (log->n_used > 0) {
        const struct yk_log_segment *last = &log->used[log->n_used - 1];
        place->previous_end = last->end;
        place->room =
            log->has_current ? (int64_t)rest_of(last) - (int64_t)log->config.waste_max : 0;
    }
    uint64_t start = log->next_start - log->n_ready * log->config.segment_size;
    struct yk_log_segment fresh = {.number = log->next_number - log->n_ready,
                                   .start = start,
                                   .size = log->config.segment_size,
                                   .end = start + YK_JOURNAL_HEAD_SIZE};
    enum yk_err result = add_used(log, &fresh);
    if (result == YK_OK) {
        log->n_ready--;
        log->has_current = true;
    }
    return result;
}

enum yk_err
yk_log_place(struct yk_log *log, uint64_t size, struct yk_log_place *ret_place)
{
    struct yk_log_place place = {.is_first = false};
    uint64_t padded = yk_round_up(size, log->config.align);
    YK_ASSERT(padded <= log->config.waste_max);
    if (!log->has_current || rest_of(&log->used[log->n_used - 1]) < padded) {
        enum yk_err result = switch_over(log, &place);
        if (result != YK_OK) {
            return result;
        }
    }
    struct yk_log_segment *current = &log->used[log->n_used - 1];
    place.position = current->end;
    current->end += padded;
    place.segment = *current;
    *ret_place = place;
    return YK_OK;
}

uint64_t
yk_log_end(const struct yk_log *log)
{
    return log->n_used > 0 ? log->used[log->n_used - 1].end : 0;
}

uint64_t
yk_log_kept(const struct yk_log *log)
{
    return log->n_used > 0 ? yk_log_end(log) - log->used[0].start : 0;
}

bool
yk_log_trim(struct yk_log *log, uint64_t needed_from, struct yk_log_segment *ret_segment)
{
    uint32_t n_old = log->n_used - (log->has_current ? 1u : 0u);
    if (n_old == 0 || log->used[0].end > needed_from) {
        return false;
    }
    *ret_segment = log->used[0];
    log->n_used--;
    memmove(log->used, log->used + 1, log->n_used * sizeof(*log->used));
    return true;
}

uint64_t
yk_log_pressure(const struct yk_log *log, uint64_t size_max)
{
    uint64_t end = yk_log_end(log);
    return yk_log_kept(log) > size_max / 2 ? end - size_max / 4 : 0;
}
