/* The stream of `yakumo dump` and `yakumo load`: MessagePack values, one behind the other; see
 * yakumo-dump(5).
 *
 *     head      map: "format": "yakumo-dump", "version": 1, and what is said of the bucket
 *     record    array: key, value (bytes), version, expiry_ms, client_flags, cas, marks (numbers)
 *     ...
 *     end       map: "records": their number, "checksum": XXH3-64 of all bytes before this map
 *
 * What is read comes from anywhere: nothing is believed before its bytes are there, and no more
 * memory is asked for than a record of the bucket may take.
 *
 * Threads: one. Ownership: a writer and a reader own their buffers; the descriptors are lent. */
#ifndef YK_TOOLS_OFFLINE_STREAM_H
#define YK_TOOLS_OFFLINE_STREAM_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/base/limits.h"
#include "core/store/record.h"
#include "core/wire/pack.h"

#define STREAM_VERSION 1u
enum stream_marks { STREAM_STALE = 1, STREAM_WON = 2 };

struct stream_head {
    char bucket[YK_NAME_SIZE_MAX + 1];
    char engine[YK_NAME_SIZE_MAX + 1];
    uint64_t slots;
    uint64_t epoch;      /* no version in the stream has a greater one */
    uint64_t made_at_ms; /* since 1970 */
    uint64_t key_size_max, value_size_max;
};

struct stream_writer {
    int fd;
    struct yk_pack pack;
    XXH3_state_t *sum;
    uint64_t n_records, n_bytes;
};

/* False from any of these: errno says why. */
bool stream_begin(struct stream_writer *writer, int fd, const struct stream_head *head);
bool stream_put(struct stream_writer *writer, struct yk_slice key, const struct yk_record *record);
bool stream_finish(struct stream_writer *writer);
void stream_writer_done(struct stream_writer *writer);

enum stream_kind { STREAM_RECORD, STREAM_END, STREAM_BAD };

struct stream_reader {
    int fd;
    uint8_t *bytes; /* what has come and was not taken */
    size_t at, size, room, room_max;
    bool is_over; /* nothing more will come */
    XXH3_state_t *sum;
    uint32_t key_size_max; /* of the bucket that it is for */
    uint64_t value_size_max;
    struct stream_head head;
    uint64_t n_records, n_bytes; /* that were taken */
    char error[YK_ERROR_SIZE];
};

/* Reads the head; false: reader->error says what is wrong. */
bool
stream_open(struct stream_reader *reader, int fd, uint32_t key_size_max, uint64_t value_size_max);
/* The next one, lent until the next call. BAD: reader->error says where and why. END: it was whole,
 * and nothing stands behind it. */
enum stream_kind
stream_next(struct stream_reader *reader, struct yk_slice *ret_key, struct yk_record *ret_record);
void stream_reader_done(struct stream_reader *reader);

#endif
