/* Chunks of a scan, and figures. */
#include <config.h>

#include "core/store/scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/buffer.h"

struct entry_head {
    uint32_t key_size;
    uint32_t client_flags;
    uint64_t value_size;
    uint64_t version;
    uint64_t cas;
    int64_t expiry_ms;
};

struct yk_scan_state *
yk_scan_state_new(uint32_t key_size_max, uint64_t bytes_max, bool with_values)
{
    uint32_t cursor_size = key_size_max + 64;
    struct yk_scan_state *state = calloc(1, sizeof(*state) + cursor_size);
    if (state == NULL) {
        return NULL;
    }
    state->cursor = (struct yk_cursor){.struct_size = sizeof(state->cursor),
                                       .size_max = cursor_size,
                                       .data = (uint8_t *)(state + 1)};
    state->bytes_max = bytes_max;
    state->with_values = with_values;
    return state;
}

void
yk_scan_state_free(struct yk_scan_state *state)
{
    if (state != NULL) {
        yk_buffer_unref(state->chunk);
        free(state);
    }
}

void
yk_scan_state_restart(struct yk_scan_state *state)
{
    state->cursor.size = 0;
    state->is_end = false;
}

static bool
chunk_reserve(struct yk_scan_state *state, size_t size)
{
    if (state->chunk == NULL || (state->chunk_used == 0 && state->chunk->size < size)) {
        struct yk_buffer *chunk = yk_buffer_new(size > state->bytes_max ? size : state->bytes_max);
        if (chunk == NULL) {
            state->no_memory = true;
            return false;
        }
        yk_buffer_unref(state->chunk);
        state->chunk = chunk;
    }
    return state->chunk->size - state->chunk_used >= size;
}

bool
yk_chunk_add(struct yk_scan_state *state, struct yk_slice key, const struct yk_record *record)
{
    struct entry_head head = {.key_size = (uint32_t)key.size,
                              .client_flags = record->client_flags,
                              .value_size = record->value.size,
                              .version = record->version,
                              .cas = record->cas,
                              .expiry_ms = record->expiry_ms};
    size_t value_size = state->with_values ? record->value.size : 0;
    size_t size = sizeof(head) + key.size + value_size;
    if (!chunk_reserve(state, size)) {
        return false;
    }
    uint8_t *to = state->chunk->data + state->chunk_used;
    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), key.data, key.size);
    if (value_size > 0) {
        memcpy(to + sizeof(head) + key.size, record->value.data, value_size);
    }
    state->chunk_used += size;
    return true;
}

bool
yk_chunk_next(const struct yk_scan_state *state, size_t *offset, struct yk_slice *ret_key,
              struct yk_record *ret_record)
{
    struct entry_head head;
    if (*offset >= state->chunk_used) {
        return false;
    }
    const uint8_t *from = state->chunk->data + *offset;
    memcpy(&head, from, sizeof(head));
    *ret_key = yk_slice_of(from + sizeof(head), head.key_size);
    *ret_record = (struct yk_record){.version = head.version,
                                     .cas = head.cas,
                                     .expiry_ms = head.expiry_ms,
                                     .client_flags = head.client_flags};
    ret_record->value = yk_slice_of(state->with_values ? from + sizeof(head) + head.key_size : NULL,
                                    head.value_size);
    *offset += sizeof(head) + head.key_size + (state->with_values ? head.value_size : 0);
    return true;
}

void
yk_chunk_filter(struct yk_scan_state *state,
                bool (*keep)(void *arg, struct yk_slice key, const struct yk_record *record),
                void *arg)
{
    struct yk_slice key;
    struct yk_record record;
    size_t from = 0, to = 0, offset = 0;
    while (yk_chunk_next(state, &offset, &key, &record)) {
        if (keep(arg, key, &record)) {
            memmove(state->chunk->data + to, state->chunk->data + from, offset - from);
            to += offset - from;
        }
        from = offset;
    }
    state->chunk_used = to;
}

void
yk_figures_add(void *arg, const char *name, uint64_t number)
{
    struct yk_figures *figures = arg;
    for (uint32_t i = 0; i < figures->n; i++) {
        if (strncmp(figures->figures[i].name, name, YK_FIGURE_NAME_SIZE - 1) == 0) {
            figures->figures[i].number += number;
            return;
        }
    }
    if (figures->n < YK_FIGURES_MAX) {
        struct yk_figure *figure = &figures->figures[figures->n++];
        snprintf(figure->name, sizeof(figure->name), "%s", name);
        figure->number = number;
    }
}

uint64_t
yk_figures_get(const struct yk_figures *figures, const char *name)
{
    for (uint32_t i = 0; i < figures->n; i++) {
        if (strcmp(figures->figures[i].name, name) == 0) {
            return figures->figures[i].number;
        }
    }
    return 0;
}
