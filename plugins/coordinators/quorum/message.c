/* The forms. What each type of message has is a row of a table, from which both directions go. */
#include "plugins/coordinators/quorum/message.h"

enum { VERSION = 1 };

enum part { NUMBER = 1, NAME = 2, BALLOT = 4, OTHER = 8, VALUE = 16 };

static const uint8_t parts[QUORUM_TYPES] = {
    [QUORUM_HELLO] = 0,
    [QUORUM_QUERY] = NUMBER | NAME | OTHER,
    [QUORUM_STATE] = NUMBER | NAME | OTHER | VALUE,
    [QUORUM_PREPARE] = NAME | BALLOT | OTHER,
    [QUORUM_PROMISE] = NAME | BALLOT | OTHER | VALUE,
    [QUORUM_ACCEPT] = NAME | BALLOT | VALUE,
    [QUORUM_ACCEPTED] = NAME | BALLOT,
    [QUORUM_NACK] = NAME | BALLOT | OTHER,
    [QUORUM_HINT] = NUMBER | NAME,
};

bool
quorum_is_name(struct yk_slice name)
{
    const char *text = (const char *)name.data;
    bool is_name = name.size > 0 && name.size <= QUORUM_NAME_SIZE_MAX;
    for (size_t i = 0; is_name && i < name.size; i++) {
        is_name = memchr("abcdefghijklmnopqrstuvwxyz0123456789._-", text[i], 39) != NULL;
    }
    return is_name;
}

/* Parts */

static struct quorum_id
read_id(struct quorum_reader *reader)
{
    struct quorum_id id = {{0}};
    struct yk_slice bytes = quorum_read_bytes(reader, sizeof(id));
    if (bytes.size == sizeof(id)) {
        memcpy(&id, bytes.data, sizeof(id));
    }
    return id;
}

static void
write_id(struct quorum_writer *writer, const struct quorum_id *id)
{
    quorum_write_bytes(writer, id, sizeof(*id));
}

/* Without a counter there is nothing else. */
static struct quorum_ballot
read_ballot(struct quorum_reader *reader)
{
    struct quorum_ballot ballot;
    ballot.counter = quorum_read(reader, 8);
    ballot.manager = (uint32_t)quorum_read(reader, 1);
    ballot.start = quorum_read(reader, 8);
    if (ballot.counter > QUORUM_COUNTER_MAX || ballot.manager >= QUORUM_MANAGERS_MAX ||
        (ballot.counter == 0 && (ballot.manager != 0 || ballot.start != 0))) {
        reader->is_bad = true;
    }
    return ballot;
}

static void
write_ballot(struct quorum_writer *writer, const struct quorum_ballot *ballot)
{
    quorum_write(writer, ballot->counter, 8);
    quorum_write(writer, ballot->manager, 1);
    quorum_write(writer, ballot->start, 8);
}

static uint32_t
read_ids(struct quorum_reader *reader, struct quorum_id *ids)
{
    uint32_t n = (uint32_t)quorum_read(reader, 1);
    if (n == 0 || n > QUORUM_MANAGERS_MAX) {
        reader->is_bad = true;
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = read_id(reader);
    }
    return n;
}

static void
write_ids(struct quorum_writer *writer, const struct quorum_id *ids, uint32_t n)
{
    quorum_write(writer, n, 1);
    for (uint32_t i = 0; i < n; i++) {
        write_id(writer, &ids[i]);
    }
}

static size_t
value_size(const struct quorum_value_view *value)
{
    return 8 + QUORUM_ID_SIZE + 1 + QUORUM_ID_SIZE * (size_t)value->n_managers + value->bytes.size;
}

/* To the end of the bytes. */
static struct quorum_value_view
read_value(struct yk_slice bytes, bool *ret_is_good)
{
    struct quorum_reader reader = quorum_reader_of(bytes);
    struct quorum_value_view value = {.revision = quorum_read(&reader, 8)};
    value.writer = read_id(&reader);
    value.n_managers = read_ids(&reader, value.managers);
    value.bytes = quorum_read_bytes(&reader, reader.left);
    *ret_is_good = quorum_reader_is_done(&reader) && value.revision > 0 &&
                   value.revision <= QUORUM_REVISION_MAX &&
                   value.bytes.size <= QUORUM_VALUE_SIZE_MAX;
    return value;
}

static void
write_value(struct quorum_writer *writer, const struct quorum_value_view *value)
{
    quorum_write(writer, value->revision, 8);
    write_id(writer, &value->writer);
    write_ids(writer, value->managers, value->n_managers);
    quorum_write_bytes(writer, value->bytes.data, value->bytes.size);
}

static void
read_name(struct quorum_reader *reader, struct yk_slice *ret_name)
{
    *ret_name = quorum_read_bytes(reader, quorum_read(reader, 1));
    reader->is_bad = reader->is_bad || !quorum_is_name(*ret_name);
}

static void
read_optional_value(struct quorum_reader *reader, struct quorum_message *message)
{
    struct yk_slice bytes = quorum_read_bytes(reader, quorum_read(reader, 4));
    bool is_good = true;
    if (bytes.size > 0) {
        message->value = read_value(bytes, &is_good);
    }
    reader->is_bad = reader->is_bad || !is_good;
}

/* Messages */

bool
quorum_message_decode(struct yk_slice bytes, struct quorum_message *ret_message)
{
    struct quorum_reader reader = quorum_reader_of(bytes);
    struct quorum_message message = {.type = QUORUM_TYPES};
    uint64_t version = quorum_read(&reader, 1), type = quorum_read(&reader, 1);
    if (version != VERSION || type == 0 || type >= QUORUM_TYPES) {
        return false;
    }
    message.type = (enum quorum_type)type;
    message.sender = (uint32_t)quorum_read(&reader, 1);
    message.n_managers = (uint32_t)quorum_read(&reader, 1);
    message.sender_id = read_id(&reader);
    message.receiver_id = read_id(&reader);
    if ((parts[type] & NUMBER) != 0) {
        message.number = quorum_read(&reader, 8);
    }
    if ((parts[type] & NAME) != 0) {
        read_name(&reader, &message.name);
    }
    if ((parts[type] & BALLOT) != 0) {
        message.ballot = read_ballot(&reader);
        reader.is_bad = reader.is_bad || message.ballot.counter == 0;
    }
    if ((parts[type] & OTHER) != 0) {
        message.other = read_ballot(&reader);
    }
    if ((parts[type] & VALUE) != 0) {
        read_optional_value(&reader, &message);
    }
    if (message.type == QUORUM_ACCEPT && message.value.revision == 0) {
        return false;
    }
    *ret_message = message;
    return quorum_reader_is_done(&reader) && !quorum_id_is_none(&message.sender_id) &&
           message.sender < message.n_managers && message.n_managers <= QUORUM_MANAGERS_MAX;
}

void
quorum_message_encode(const struct quorum_message *message, struct quorum_writer *writer)
{
    quorum_write(writer, VERSION, 1);
    quorum_write(writer, message->type, 1);
    quorum_write(writer, message->sender, 1);
    quorum_write(writer, message->n_managers, 1);
    write_id(writer, &message->sender_id);
    write_id(writer, &message->receiver_id);
    if ((parts[message->type] & NUMBER) != 0) {
        quorum_write(writer, message->number, 8);
    }
    if ((parts[message->type] & NAME) != 0) {
        quorum_write(writer, message->name.size, 1);
        quorum_write_bytes(writer, message->name.data, message->name.size);
    }
    if ((parts[message->type] & BALLOT) != 0) {
        write_ballot(writer, &message->ballot);
    }
    if ((parts[message->type] & OTHER) != 0) {
        write_ballot(writer, &message->other);
    }
    if ((parts[message->type] & VALUE) != 0) {
        bool has_value = message->value.revision > 0;
        quorum_write(writer, has_value ? value_size(&message->value) : 0, 4);
        if (has_value) {
            write_value(writer, &message->value);
        }
    }
}

/* Entries */

bool
quorum_promise_decode(struct yk_slice bytes, struct quorum_ballot *ret_ballot)
{
    struct quorum_reader reader = quorum_reader_of(bytes);
    bool is_known = quorum_read(&reader, 1) == VERSION;
    *ret_ballot = read_ballot(&reader);
    return is_known && quorum_reader_is_done(&reader) && ret_ballot->counter > 0;
}

void
quorum_promise_encode(const struct quorum_ballot *ballot, struct quorum_writer *writer)
{
    quorum_write(writer, VERSION, 1);
    write_ballot(writer, ballot);
}

bool
quorum_accepted_decode(struct yk_slice bytes, struct quorum_ballot *ret_ballot,
                       struct quorum_value_view *ret_value)
{
    struct quorum_reader reader = quorum_reader_of(bytes);
    bool is_good, is_known = quorum_read(&reader, 1) == VERSION;
    *ret_ballot = read_ballot(&reader);
    *ret_value = read_value(quorum_read_bytes(&reader, reader.left), &is_good);
    return is_known && is_good && quorum_reader_is_done(&reader) && ret_ballot->counter > 0;
}

void
quorum_accepted_encode(const struct quorum_ballot *ballot, const struct quorum_value_view *value,
                       struct quorum_writer *writer)
{
    quorum_write(writer, VERSION, 1);
    write_ballot(writer, ballot);
    write_value(writer, value);
}

bool
quorum_identity_decode(struct yk_slice bytes, struct quorum_identity *ret_identity)
{
    struct quorum_reader reader = quorum_reader_of(bytes);
    struct quorum_identity identity = {0};
    bool is_known = quorum_read(&reader, 1) == VERSION;
    identity.self = (uint32_t)quorum_read(&reader, 1);
    identity.n_managers = read_ids(&reader, identity.ids);
    *ret_identity = identity;
    return is_known && quorum_reader_is_done(&reader) && identity.self < identity.n_managers &&
           !quorum_id_is_none(&identity.ids[identity.self]);
}

void
quorum_identity_encode(const struct quorum_identity *identity, struct quorum_writer *writer)
{
    quorum_write(writer, VERSION, 1);
    quorum_write(writer, identity->self, 1);
    write_ids(writer, identity->ids, identity->n_managers);
}
