/* Writing and reading of a dump. */
#include <config.h>

#include "tools/offline/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/wire/unpack.h"

static const char format_name[] = "yakumo-dump";

enum {
    WRITE_AT = 256 * 1024, /* bytes that are gathered before they are written */
    READ_ROOM = 256 * 1024,
    RECORD_EXTRA = 256, /* bytes of a record's form, or of the end, at the most */
    TEXT_MAX = 32
};

/* Writing */

static bool
write_out(struct stream_writer *writer, bool counts)
{
    struct yk_pack *pack = &writer->pack;
    if (pack->result != YK_OK) {
        errno = ENOMEM;
        return false;
    }
    if (counts) {
        XXH3_64bits_update(writer->sum, pack->data, pack->size);
    }
    for (size_t done = 0; done < pack->size;) {
        ssize_t written = write(writer->fd, pack->data + done, pack->size - done);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    writer->n_bytes += pack->size;
    pack->size = 0;
    return true;
}

bool
stream_begin(struct stream_writer *writer, int fd, const struct stream_head *head)
{
    *writer = (struct stream_writer){.fd = fd, .sum = XXH3_createState()};
    yk_pack_init(&writer->pack, 3 * (size_t)YK_VALUE_SIZE_MAX);
    if (writer->sum == NULL) {
        return false;
    }
    XXH3_64bits_reset(writer->sum);
    yk_pack_map(&writer->pack, 9);
    yk_pack_text(&writer->pack, "format");
    yk_pack_text(&writer->pack, format_name);
    yk_pack_text(&writer->pack, "version");
    yk_pack_uint(&writer->pack, STREAM_VERSION);
    yk_pack_text(&writer->pack, "bucket");
    yk_pack_text(&writer->pack, head->bucket);
    yk_pack_text(&writer->pack, "engine");
    yk_pack_text(&writer->pack, head->engine);
    yk_pack_text(&writer->pack, "slots");
    yk_pack_uint(&writer->pack, head->slots);
    yk_pack_text(&writer->pack, "epoch");
    yk_pack_uint(&writer->pack, head->epoch);
    yk_pack_text(&writer->pack, "made_at_ms");
    yk_pack_uint(&writer->pack, head->made_at_ms);
    yk_pack_text(&writer->pack, "key_size_max");
    yk_pack_uint(&writer->pack, head->key_size_max);
    yk_pack_text(&writer->pack, "value_size_max");
    yk_pack_uint(&writer->pack, head->value_size_max);
    return write_out(writer, true);
}

bool
stream_put(struct stream_writer *writer, struct yk_slice key, const struct yk_record *record)
{
    struct yk_pack *pack = &writer->pack;
    yk_pack_array(pack, 7);
    yk_pack_bytes(pack, key);
    yk_pack_bytes(pack, record->value);
    yk_pack_uint(pack, record->version);
    yk_pack_uint(pack, (uint64_t)record->expiry_ms);
    yk_pack_uint(pack, record->client_flags);
    yk_pack_uint(pack, record->cas);
    yk_pack_uint(pack, (record->marks & YK_RECORD_STALE ? STREAM_STALE : 0u) |
                           (record->marks & YK_RECORD_WON ? STREAM_WON : 0u));
    writer->n_records++;
    return pack->result == YK_OK && pack->size < WRITE_AT ? true : write_out(writer, true);
}

bool
stream_finish(struct stream_writer *writer)
{
    if (!write_out(writer, true)) {
        return false;
    }
    yk_pack_map(&writer->pack, 2);
    yk_pack_text(&writer->pack, "records");
    yk_pack_uint(&writer->pack, writer->n_records);
    yk_pack_text(&writer->pack, "checksum");
    yk_pack_uint(&writer->pack, XXH3_64bits_digest(writer->sum));
    return write_out(writer, false);
}

void
stream_writer_done(struct stream_writer *writer)
{
    yk_pack_done(&writer->pack);
    XXH3_freeState(writer->sum);
}

/* Reading */

static enum stream_kind bad(struct stream_reader *reader, const char *what) YK_MUST_CHECK;

static enum stream_kind
bad(struct stream_reader *reader, const char *what)
{
    snprintf(reader->error, YK_ERROR_SIZE, "%s (at byte %llu, behind %llu records)", what,
             (unsigned long long)reader->n_bytes, (unsigned long long)reader->n_records);
    return STREAM_BAD;
}

/* Makes room in front, or more of it, up to the greatest record. */
static bool
make_room(struct stream_reader *reader)
{
    memmove(reader->bytes, reader->bytes + reader->at, reader->size - reader->at);
    reader->size -= reader->at;
    reader->at = 0;
    if (reader->size < reader->room) {
        return true;
    }
    size_t room = reader->room * 2 < reader->room_max ? reader->room * 2 : reader->room_max;
    uint8_t *bytes = room > reader->room ? realloc(reader->bytes, room) : NULL;
    if (bytes == NULL) {
        return false;
    }
    reader->bytes = bytes;
    reader->room = room;
    return true;
}

/* False: nothing more comes, or there is no room for it. */
static bool
read_more(struct stream_reader *reader)
{
    if (reader->is_over || !make_room(reader)) {
        return false;
    }
    ssize_t came;
    do {
        came = read(reader->fd, reader->bytes + reader->size, reader->room - reader->size);
    } while (came < 0 && errno == EINTR);
    reader->is_over = came <= 0;
    reader->size += came > 0 ? (size_t)came : 0;
    return came > 0;
}

static void
take(struct stream_reader *reader, size_t size, bool counts)
{
    if (counts) {
        XXH3_64bits_update(reader->sum, reader->bytes + reader->at, size);
    }
    reader->at += size;
    reader->n_bytes += size;
}

static void
unpack_name(struct yk_unpack *unpack, char *to)
{
    struct yk_slice text = yk_unpack_text(unpack, YK_NAME_SIZE_MAX);
    if (text.size > 0) {
        memcpy(to, text.data, text.size);
    }
    to[text.size] = '\0';
}

static bool
is_text(struct yk_slice slice, const char *text)
{
    return yk_slice_equal(slice, yk_slice_of_text(text));
}

/* What is not known here is for later versions, and gone over. */
static void
unpack_head(struct yk_unpack *unpack, struct stream_head *head, bool *ret_is_ours,
            uint64_t *ret_version)
{
    uint32_t n = yk_unpack_map(unpack);
    for (uint32_t i = 0; i < n; i++) {
        struct yk_slice key = yk_unpack_text(unpack, TEXT_MAX);
        if (is_text(key, "format")) {
            *ret_is_ours = is_text(yk_unpack_text(unpack, TEXT_MAX), format_name);
        } else if (is_text(key, "version")) {
            *ret_version = yk_unpack_uint(unpack, UINT64_MAX);
        } else if (is_text(key, "bucket")) {
            unpack_name(unpack, head->bucket);
        } else if (is_text(key, "engine")) {
            unpack_name(unpack, head->engine);
        } else if (is_text(key, "slots")) {
            head->slots = yk_unpack_uint(unpack, YK_SLOTS_MAX);
        } else if (is_text(key, "epoch")) {
            head->epoch = yk_unpack_uint(unpack, YK_EPOCH_MAX);
        } else if (is_text(key, "made_at_ms")) {
            head->made_at_ms = yk_unpack_uint(unpack, UINT64_MAX);
        } else if (is_text(key, "key_size_max")) {
            head->key_size_max = yk_unpack_uint(unpack, UINT64_MAX);
        } else if (is_text(key, "value_size_max")) {
            head->value_size_max = yk_unpack_uint(unpack, UINT64_MAX);
        } else {
            yk_unpack_skip(unpack);
        }
    }
    yk_unpack_leave(unpack);
}

bool
stream_open(struct stream_reader *reader, int fd, uint32_t key_size_max, uint64_t value_size_max)
{
    uint64_t version = 0;
    bool is_ours = false;
    *reader = (struct stream_reader){.fd = fd,
                                     .bytes = malloc(READ_ROOM),
                                     .room = READ_ROOM,
                                     .room_max = READ_ROOM + key_size_max + value_size_max,
                                     .sum = XXH3_createState(),
                                     .key_size_max = key_size_max,
                                     .value_size_max = value_size_max};
    if (reader->bytes == NULL || reader->sum == NULL) {
        snprintf(reader->error, YK_ERROR_SIZE, "out of memory");
        return false;
    }
    XXH3_64bits_reset(reader->sum);
    while (reader->size < READ_ROOM && read_more(reader)) {
    }
    struct yk_unpack unpack;
    yk_unpack_init(&unpack, yk_slice_of(reader->bytes, reader->size));
    bool is_map = yk_unpack_peek(&unpack) == YK_UNPACK_MAP;
    unpack_head(&unpack, &reader->head, &is_ours, &version);
    if (!is_map || !is_ours || version == 0) {
        snprintf(reader->error, YK_ERROR_SIZE, "%s",
                 reader->size == 0 ? "it is empty" : "it is no dump of yakumo");
        return false;
    }
    if (version > STREAM_VERSION) {
        snprintf(reader->error, YK_ERROR_SIZE, "it has version %llu, and this yakumo reads %u",
                 (unsigned long long)version, STREAM_VERSION);
        return false;
    }
    if (unpack.wrong != NULL || reader->head.epoch == 0) {
        snprintf(reader->error, YK_ERROR_SIZE, "its head is damaged: %s",
                 unpack.wrong != NULL ? unpack.wrong : "it has no epoch");
        return false;
    }
    take(reader, (size_t)(unpack.at - reader->bytes), true);
    return true;
}

static void
unpack_record(const struct stream_reader *reader, struct yk_unpack *unpack, struct yk_slice *key,
              struct yk_record *record)
{
    if (yk_unpack_array(unpack) != 7) {
        yk_unpack_fail(unpack, "a record has seven values");
    }
    *key = yk_unpack_bytes(unpack, YK_KEY_SIZE_MAX);
    record->value = yk_unpack_bytes(unpack, reader->value_size_max);
    record->version = yk_unpack_uint(unpack, UINT64_MAX);
    record->expiry_ms = (int64_t)yk_unpack_uint(unpack, INT64_MAX);
    record->client_flags = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    record->cas = yk_unpack_uint(unpack, UINT64_MAX);
    uint64_t marks = yk_unpack_uint(unpack, STREAM_STALE | STREAM_WON);
    record->marks = (marks & STREAM_STALE ? (uint32_t)YK_RECORD_STALE : 0u) |
                    (marks & STREAM_WON ? (uint32_t)YK_RECORD_WON : 0u);
    yk_unpack_leave(unpack);
}

static enum stream_kind
take_end(struct stream_reader *reader, struct yk_unpack *unpack)
{
    uint64_t n_records = UINT64_MAX, sum = 0;
    uint32_t n = yk_unpack_map(unpack);
    for (uint32_t i = 0; i < n; i++) {
        struct yk_slice key = yk_unpack_text(unpack, TEXT_MAX);
        if (is_text(key, "records")) {
            n_records = yk_unpack_uint(unpack, UINT64_MAX);
        } else if (is_text(key, "checksum")) {
            sum = yk_unpack_uint(unpack, UINT64_MAX);
        } else {
            yk_unpack_skip(unpack);
        }
    }
    yk_unpack_leave(unpack);
    if (unpack->wrong != NULL) {
        return bad(reader, reader->is_over ? "it is cut short: its end is not whole"
                                           : "its end is damaged");
    }
    if (n_records != reader->n_records || sum != XXH3_64bits_digest(reader->sum)) {
        return bad(reader, "it is damaged: its checksum does not fit");
    }
    take(reader, (size_t)(unpack->at - (reader->bytes + reader->at)), false);
    return reader->at < reader->size || read_more(reader)
               ? bad(reader, "there is something behind its end")
               : STREAM_END;
}

static enum stream_kind
check_record(struct stream_reader *reader, struct yk_slice key, const struct yk_record *record)
{
    if (key.size > reader->key_size_max) {
        return bad(reader, "a key is longer than the bucket's key_size_max");
    }
    if (key.size == 0 || record->version == 0 || record->version >> 40 > reader->head.epoch) {
        return bad(reader, "it is damaged: there is a record that cannot be one");
    }
    return STREAM_RECORD;
}

/* Why the value at hand cannot be read. */
static enum stream_kind
tell_wrong(struct stream_reader *reader, const char *wrong)
{
    char text[YK_ERROR_SIZE / 2];
    snprintf(text, sizeof(text), "it is %s: %s",
             reader->is_over ? "cut short, or damaged"
                             : "damaged, or a value is larger than the bucket's value_size_max",
             wrong);
    return bad(reader, text);
}

enum stream_kind
stream_next(struct stream_reader *reader, struct yk_slice *ret_key, struct yk_record *ret_record)
{
    for (;;) {
        struct yk_unpack unpack;
        struct yk_record record;
        struct yk_slice key;
        /* So much that an end, if it is one, is there as a whole. */
        while (reader->size - reader->at < RECORD_EXTRA && read_more(reader)) {
        }
        yk_unpack_init(&unpack, yk_slice_of(reader->bytes + reader->at, reader->size - reader->at));
        if (yk_unpack_peek(&unpack) == YK_UNPACK_MAP) {
            return take_end(reader, &unpack);
        }
        unpack_record(reader, &unpack, &key, &record);
        if (unpack.wrong == NULL) {
            enum stream_kind kind = check_record(reader, key, &record);
            take(reader, (size_t)(unpack.at - (reader->bytes + reader->at)), true);
            reader->n_records++;
            *ret_key = key;
            *ret_record = record;
            return kind;
        }
        if (!read_more(reader)) {
            return tell_wrong(reader, unpack.wrong);
        }
    }
}

void
stream_reader_done(struct stream_reader *reader)
{
    free(reader->bytes);
    XXH3_freeState(reader->sum);
}
