/* Results, borrowed bytes and lent buffers: the words that every plugin header uses.
 *
 * Threads: everything here is immutable or belongs to one thread, except the count of yk_buffer.
 * Ownership: a yk_slice is borrowed, always; who lends it says for how long. */
#ifndef YAKUMO_BASE_H
#define YAKUMO_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define YK_MUST_CHECK __attribute__((warn_unused_result))
#define YK_PRINTF(format_index, first_index)                                                       \
    __attribute__((format(printf, format_index, first_index)))
#define YK_EXPORT __attribute__((visibility("default")))
#else
#define YK_MUST_CHECK
#define YK_PRINTF(format_index, first_index)
#define YK_EXPORT
#endif

/* How an operation ended; see err.def for each one's meaning and promise. */
enum yk_err {
#define YK_ERR(name, number, outcome, text) YK_##name = number,
#include <yakumo/err.def>
#undef YK_ERR
};

/* The text of a result, as err.def has it. */
static inline const char *
yk_err_text(uint32_t result)
{
    switch (result) {
#define YK_ERR(name, number, outcome, text)                                                        \
    case number:                                                                                   \
        return text;
#include <yakumo/err.def>
#undef YK_ERR
    default:
        return "unknown error";
    }
}

/* Bytes that somebody else owns. data may be NULL when size is 0. */
struct yk_slice {
    const void *data;
    size_t size; /* bytes */
};

/* Bytes that live as long as somebody holds a reference. Made by the host, immutable once it is
 * shared. A plugin only keeps it alive (ref) and lets it go (unref), both from any thread. */
struct yk_buffer {
    uint32_t struct_size;
    uint32_t n_refs; /* atomic; use ref and unref */
    void (*ref)(struct yk_buffer *buffer);
    void (*unref)(struct yk_buffer *buffer); /* takes NULL */
    size_t size;                             /* bytes in data */
    uint8_t *data;
};

static inline struct yk_slice
yk_slice_of(const void *data, size_t size)
{
    struct yk_slice slice = {data, size};
    return slice;
}

static inline struct yk_slice
yk_slice_of_text(const char *text)
{
    return yk_slice_of(text, strlen(text));
}

static inline bool
yk_slice_equal(struct yk_slice a, struct yk_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#ifdef __cplusplus
}
#endif

#endif
