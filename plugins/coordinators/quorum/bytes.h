/* Numbers as bytes, little-endian: a bounded reader over bytes that are borrowed, and a writer into
 * memory that is large enough. The first thing that is missing stays: from then on a reader gives
 * zeros, and the caller asks once, at the end.
 *
 * Threads: pure. Ownership: borrows. */
#ifndef QUORUM_BYTES_H
#define QUORUM_BYTES_H

#include <yakumo/base.h>

struct quorum_reader {
    const uint8_t *at;
    size_t left;
    bool is_bad;
};

struct quorum_writer {
    uint8_t *data;
    size_t size, room;
};

static inline struct quorum_reader
quorum_reader_of(struct yk_slice bytes)
{
    return (struct quorum_reader){.at = (const uint8_t *)bytes.data, .left = bytes.size};
}

/* They have all been read, and nothing was missing. */
static inline bool
quorum_reader_is_done(const struct quorum_reader *reader)
{
    return !reader->is_bad && reader->left == 0;
}

static inline struct yk_slice
quorum_read_bytes(struct quorum_reader *reader, size_t size)
{
    if (reader->is_bad || size > reader->left) {
        reader->is_bad = true;
        return yk_slice_of(NULL, 0);
    }
    struct yk_slice bytes = yk_slice_of(reader->at, size);
    reader->at += size;
    reader->left -= size;
    return bytes;
}

/* A number of at most 8 bytes. */
static inline uint64_t
quorum_read(struct quorum_reader *reader, size_t size)
{
    struct yk_slice bytes = quorum_read_bytes(reader, size);
    uint64_t number = 0;
    for (size_t i = bytes.size; i > 0; i--) {
        number = number << 8 | ((const uint8_t *)bytes.data)[i - 1];
    }
    return number;
}

static inline void
quorum_write_bytes(struct quorum_writer *writer, const void *data, size_t size)
{
    if (size > 0 && size <= writer->room - writer->size) {
        memcpy(writer->data + writer->size, data, size);
    }
    writer->size += size;
}

static inline void
quorum_write(struct quorum_writer *writer, uint64_t number, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(number >> (8 * i));
    }
    quorum_write_bytes(writer, bytes, size);
}

#endif
