/* Refcounted bytes, made by the host; see struct yk_buffer.
 *
 * Threads: ref and unref from any. Ownership: a new buffer has one reference, the caller's. */
#ifndef YK_BASE_BUFFER_H
#define YK_BASE_BUFFER_H

#include <yakumo/base.h>

/* NULL: no memory. data is not zeroed. */
struct yk_buffer *yk_buffer_new(size_t size);
struct yk_buffer *yk_buffer_new_copy(struct yk_slice bytes);
void yk_buffer_ref(struct yk_buffer *buffer);
void yk_buffer_unref(struct yk_buffer *buffer);

#endif
