/* Refcounted bytes: one allocation each. */
#include <config.h>

#include "core/base/buffer.h"

#include <stdlib.h>

#include "core/base/assert.h"

void
yk_buffer_ref(struct yk_buffer *buffer)
{
    __atomic_fetch_add(&buffer->n_refs, 1, __ATOMIC_RELAXED);
}

void
yk_buffer_unref(struct yk_buffer *buffer)
{
    if (buffer != NULL && __atomic_fetch_sub(&buffer->n_refs, 1, __ATOMIC_ACQ_REL) == 1) {
        free(buffer);
    }
}

struct yk_buffer *
yk_buffer_new(size_t size)
{
    struct yk_buffer *buffer = malloc(sizeof(*buffer) + size);
    if (buffer == NULL) {
        return NULL;
    }
    *buffer = (struct yk_buffer){.struct_size = sizeof(*buffer),
                                 .n_refs = 1,
                                 .ref = yk_buffer_ref,
                                 .unref = yk_buffer_unref,
                                 .size = size,
                                 .data = (uint8_t *)(buffer + 1)};
    return buffer;
}

struct yk_buffer *
yk_buffer_new_copy(struct yk_slice bytes)
{
    struct yk_buffer *buffer = yk_buffer_new(bytes.size);
    if (buffer != NULL && bytes.size > 0) {
        memcpy(buffer->data, bytes.data, bytes.size);
    }
    return buffer;
}
