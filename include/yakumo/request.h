/* What a client asked for, and what came of it, in no protocol's words.
 *
 * A frontend fills a request, the core executes it, the frontend writes the reply; request filters
 * stand between. Fields that an operation does not name below are ignored by it.
 *
 * Threads: a request belongs to its session's worker.
 * Ownership: the host allocates requests and replies, zeroed, struct_size set. Slices of a request
 * may point into the bytes given to feed, or to inbox->alloc: the host copies what it needs longer.
 */
#ifndef YAKUMO_REQUEST_H
#define YAKUMO_REQUEST_H

#include <yakumo/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum yk_opcode {
    YK_OP_NOOP = 0,  /* nothing but an answer, in its place: version, error lines, END */
    YK_OP_GET = 1,   /* key. Result OK with value, client_flags, version, expiry; ENOTFOUND. With
                        TOUCH, VIVIFY, RECACHE or WIN it may change the record: see there */
    YK_OP_STORE = 2, /* key, mode, value, client_flags, expiry; YK_REQUEST_CAS: only if cas matches.
                        OK with version; ENOTSTORED, EEXISTS, ENOTFOUND (cas of nothing).
                        INVALIDATE with CAS: an older cas stores too, but marks the record stale.
                        APPEND, PREPEND with VIVIFY: where absent, store value with `vivify` */
    YK_OP_ARITH = 3, /* key, mode, delta; YK_REQUEST_VIVIFY: where absent, store `initial` with
                        `vivify` as expiry. May carry cas; TOUCH: sets expiry too. OK with number;
                        ENOTFOUND, ENOTNUMBER, EEXISTS */
    YK_OP_DELETE = 4, /* key; may carry cas. OK; ENOTFOUND, EEXISTS. INVALIDATE: the record stays,
                         marked stale, nobody has its win, with a new version (or new_cas); TOUCH:
                         and gets expiry. DROP_VALUE: it stays with an empty value and no client
                         flags */
    YK_OP_TOUCH = 5,  /* key, expiry; YK_REQUEST_VALUE: answer with the record, as GET does */
    YK_OP_FLUSH = 6,  /* empties the bucket; expiry RELATIVE: only that much later */
    YK_OP_SCAN = 7,   /* streams every record of the bucket: name = key, value only with
                         YK_REQUEST_VALUE, else value.data is NULL and value.size the value's size;
                         each key that is present throughout at least once */
    YK_OP_STATS =
        8, /* key = topic ("" for all; "reset" sets counters to 0); streams name and value */
    YK_OP_WATCH = 9, /* key = key, or a prefix with YK_REQUEST_PREFIX (empty: all). A stream without
                        end: first a part without a name (the watch stands), then one for each
                        change: name = key, version; OK with value for a put, ENOTFOUND for a
                        deletion. Ends by YK_OP_CANCEL, by the end of the input, or with EBUSY
                        when changes were lost. EUNSUPPORTED for now */
    YK_OP_AUTH = 10, /* key = mechanism, number = step, value = bytes. EUNSUPPORTED for now */
    YK_OP_BUCKET_OPEN = 11, /* key = name. OK with reply.bucket; ENOTFOUND */
    YK_OP_ADMIN = 12,       /* key = verb, value = arguments; streams name and value */
    YK_OP_START_TLS = 13,   /* EUNSUPPORTED for now */
    YK_OP_SHUTDOWN = 14, /* ends the node as TERM does, if the frontend's config allows: EDENIED */
    YK_OP_CANCEL = 15,   /* ends the session's requests with the same tag. EUNSUPPORTED for now */
};

enum yk_mode {
    YK_MODE_SET = 0,
    YK_MODE_ADD = 1,     /* only where absent: ENOTSTORED */
    YK_MODE_REPLACE = 2, /* only where present: ENOTSTORED */
    YK_MODE_APPEND = 3,  /* keeps flags and expiry; ENOTSTORED where absent */
    YK_MODE_PREPEND = 4,
    YK_MODE_INCR = 5, /* of a decimal number up to 2^64 - 1, wraps around */
    YK_MODE_DECR = 6, /* stops at 0 */
};

enum yk_request_flags {
    YK_REQUEST_QUIET = 1u << 0,   /* success is silent: reply() is called only for a failure */
    YK_REQUEST_STREAM = 1u << 1,  /* set by the core: more than one reply may come */
    YK_REQUEST_CLOSE = 1u << 2,   /* the connection closes after this request's last reply */
    YK_REQUEST_BARRIER = 1u << 3, /* starts when all earlier requests of the session have ended;
                                     later ones start after it */
    YK_REQUEST_CAS = 1u << 4,     /* `cas` is compared with the record's */
    YK_REQUEST_NEW_CAS = 1u << 5, /* `new_cas` is shown from now on instead of the version */
    YK_REQUEST_VALUE = 1u << 6,   /* the answer carries the value */
    YK_REQUEST_VIVIFY = 1u << 7,  /* make the record where it is absent: GET an empty one, whose
                                     win the asker has */
    YK_REQUEST_LAST = 1u << 8,    /* the frontend's own: last of several requests of one command */
    YK_REQUEST_PREFIX = 1u << 9,  /* SCAN, WATCH: only keys that begin with `key` */

    /* How clients agree on who renews a record: one of them is given the win (YK_REPLY_WON), the
     * others are told that somebody has it (YK_REPLY_TAKEN), until the record is stored anew. */
    YK_REQUEST_TOUCH = 1u << 10,      /* GET, ARITH, DELETE: sets the record's expiry too */
    YK_REQUEST_RECACHE = 1u << 11,    /* GET: offers the win when `recache` would end later */
    YK_REQUEST_WIN = 1u << 12,        /* GET: offers the win of a stale record */
    YK_REQUEST_INVALIDATE = 1u << 13, /* STORE, DELETE: see there */
    YK_REQUEST_DROP_VALUE = 1u << 14, /* DELETE: see there */
    YK_REQUEST_HINT = 1u << 15,       /* GET: the answer says what is known of earlier reads */
};

enum yk_expiry {
    YK_EXPIRY_NEVER = 0,
    YK_EXPIRY_RELATIVE = 1, /* milliseconds from now; 0 or less: expired at once */
    YK_EXPIRY_ABSOLUTE = 2, /* milliseconds since 1970 */
};

/* When a record ends. The primary turns it into absolute milliseconds. */
struct yk_ttl {
    int64_t ms;
    uint32_t kind; /* enum yk_expiry */
};

struct yk_bucket; /* a handle; compared, never looked into */

struct yk_request {
    uint32_t struct_size;
    uint16_t op;    /* enum yk_opcode */
    uint16_t mode;  /* enum yk_mode */
    uint32_t flags; /* enum yk_request_flags */
    uint32_t client_flags;
    const struct yk_bucket *bucket; /* NULL: the listener's */
    struct yk_slice key;   /* at most the bucket's key_size_max; not empty where a key is named */
    struct yk_slice value; /* at most the bucket's value_size_max */
    struct yk_slice note;  /* the frontend's own bytes, given back with each reply */
    uint64_t tag;          /* the frontend's own number, likewise */
    uint64_t cas;
    uint64_t new_cas;
    uint64_t delta;
    uint64_t initial;
    struct yk_ttl expiry;
    struct yk_ttl vivify; /* expiry of a record made by YK_REQUEST_VIVIFY */
    struct yk_ttl
        recache;     /* GET: a client may be told to renew a record that ends sooner than this */
    uint32_t number; /* AUTH: step */
};

enum yk_reply_flags {
    YK_REPLY_MORE = 1u << 0,    /* a part; others follow */
    YK_REPLY_STALE = 1u << 1,   /* GET: the record was invalidated */
    YK_REPLY_WON = 1u << 2,     /* GET: this client is to renew the record */
    YK_REPLY_TAKEN = 1u << 3,   /* GET: another client was told so before */
    YK_REPLY_WAS_HIT = 1u << 4, /* GET with HINT: it was read before, as far as is known */
};

/* Borrowed for the length of reply(); whoever wants a part longer copies it, or refs value_buffer.
 */
struct yk_reply {
    uint32_t struct_size;
    uint32_t result; /* enum yk_err */
    uint32_t flags;  /* enum yk_reply_flags */
    uint32_t client_flags;
    uint64_t
        version; /* (epoch 24 bits | sequence 40 bits) or the client's new_cas; the CAS unique */
    int64_t expiry_ms;    /* since 1970; 0: never */
    uint64_t number;      /* ARITH: the new number; STORE: bytes of the value now */
    struct yk_slice name; /* SCAN: key. STATS, ADMIN: name */
    struct yk_slice value;
    struct yk_buffer
        *value_buffer; /* if not NULL, holds value's bytes: may be lent to the outbox */
    const struct yk_bucket *bucket; /* BUCKET_OPEN */
    const char *text;        /* why it failed, for people, or NULL: then yk_err's text serves */
    uint64_t last_access_ms; /* GET with HINT: of the last read or store before, since 1970; 0: not
                                known. A hint: it does not survive a restart, and may be coarse */
};

static inline const char *
yk_reply_text(const struct yk_reply *reply)
{
    return reply->text != NULL ? reply->text : yk_err_text(reply->result);
}

#ifdef __cplusplus
}
#endif

#endif
