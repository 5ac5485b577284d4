/* What managers send each other, and what they store. The form, numbers little-endian:
 *
 *     message   version (1), type (1), sender (1), managers (1): bytes;
 *               the sender's id (16), the id that it knows the receiver by (16; zeros: by none);
 *               then what its type has, in this order:
 *         number    8 bytes: a question's, that its answer brings back; of HINT the revision
 *         name      its size (1), the register's name
 *         ballot    that it is about
 *         other     another ballot: QUERY, PREPARE: of the value that the sender has; STATE,
 *                   PROMISE: of the value that was accepted; NACK: that was promised
 *         value     size of it all (4; 0: none), then the value
 *     ballot    counter (8), manager (1), start (8)
 *     value     revision (8), writer (16), managers (1), the id of each (16), the register's bytes
 *
 * Whatever arrives may be stale or hostile: nothing is believed beyond the bytes that are there.
 *
 * Threads: pure. Ownership: what was decoded points into the bytes that were given. */
#ifndef QUORUM_MESSAGE_H
#define QUORUM_MESSAGE_H

#include "plugins/coordinators/quorum/bytes.h"

enum {
    QUORUM_MANAGERS_MAX = 5,
    QUORUM_NAME_SIZE_MAX = 78, /* an entry's name is two bytes longer */
    QUORUM_VALUE_SIZE_MAX = 512 * 1024,
    /* A message beyond the register's bytes. */
    QUORUM_OVERHEAD_MAX = 512,
    QUORUM_ID_SIZE = 16,
};

/* Random: of a manager's folder, of a write. All zeros: none. */
struct quorum_id {
    uint8_t bytes[QUORUM_ID_SIZE];
};

/* In what order proposals count. The start is random, so that a manager that has forgotten which
 * ones it used never uses one twice. A counter of 0: no ballot. */
struct quorum_ballot {
    uint64_t counter;
    uint32_t manager;
    uint64_t start;
};

/* Bounds of what peers can drive up. */
#define QUORUM_COUNTER_MAX  (1ull << 48)
#define QUORUM_REVISION_MAX (1ull << 62)

/* A register's value, as it stands in bytes. */
struct quorum_value_view {
    uint64_t revision; /* 0: there is no value */
    struct quorum_id writer;
    uint32_t n_managers;
    struct quorum_id managers[QUORUM_MANAGERS_MAX];
    struct yk_slice bytes;
};

enum quorum_type {
    QUORUM_HELLO = 1, /* who I am */
    QUORUM_QUERY,     /* what have you accepted? */
    QUORUM_STATE,
    QUORUM_PREPARE, /* promise to accept nothing below this ballot */
    QUORUM_PROMISE,
    QUORUM_ACCEPT, /* accept this value */
    QUORUM_ACCEPTED,
    QUORUM_NACK, /* a higher ballot was promised */
    QUORUM_HINT, /* the register has this revision */
    QUORUM_TYPES,
};

struct quorum_message {
    enum quorum_type type;
    uint32_t sender, n_managers;
    struct quorum_id sender_id, receiver_id;
    uint64_t number;
    struct yk_slice name;
    struct quorum_ballot ballot, other;
    struct quorum_value_view value;
};

/* False: it is no message. */
bool quorum_message_decode(struct yk_slice bytes, struct quorum_message *ret_message);
/* Room of QUORUM_OVERHEAD_MAX and the value's bytes is enough. */
void quorum_message_encode(const struct quorum_message *message, struct quorum_writer *writer);

/* Entries of the acceptor, which begin with a version. A value's ballot is the one at which it was
 * accepted. */
bool quorum_promise_decode(struct yk_slice bytes, struct quorum_ballot *ret_ballot);
void quorum_promise_encode(const struct quorum_ballot *ballot, struct quorum_writer *writer);
bool quorum_accepted_decode(struct yk_slice bytes, struct quorum_ballot *ret_ballot,
                            struct quorum_value_view *ret_value);
void quorum_accepted_encode(const struct quorum_ballot *ballot,
                            const struct quorum_value_view *value, struct quorum_writer *writer);

/* The folder's identity: which manager it is, and by which id each of them is known. */
struct quorum_identity {
    uint32_t self, n_managers;
    struct quorum_id ids[QUORUM_MANAGERS_MAX];
};

bool quorum_identity_decode(struct yk_slice bytes, struct quorum_identity *ret_identity);
void quorum_identity_encode(const struct quorum_identity *identity, struct quorum_writer *writer);

/* [a-z0-9._-]+ of at most QUORUM_NAME_SIZE_MAX bytes. */
bool quorum_is_name(struct yk_slice name);

static inline bool
quorum_id_is_none(const struct quorum_id *id)
{
    static const struct quorum_id none;
    return memcmp(id, &none, sizeof(none)) == 0;
}

static inline bool
quorum_id_equal(const struct quorum_id *a, const struct quorum_id *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Below, equal, above: -1, 0, 1. */
static inline int
quorum_ballot_compare(const struct quorum_ballot *a, const struct quorum_ballot *b)
{
    return a->counter != b->counter   ? (a->counter < b->counter ? -1 : 1)
           : a->manager != b->manager ? (a->manager < b->manager ? -1 : 1)
           : a->start != b->start     ? (a->start < b->start ? -1 : 1)
                                      : 0;
}

#endif
