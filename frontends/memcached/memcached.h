/* The frontend's instance, its sessions, and how its files meet (internal to this folder).
 *
 *     feed.c    bytes -> lines -> the command of commands.def -> requests
 *     get.c, store.c, admin.c, stats.c, meta.c   yk_mc_take_X for each command: words -> request
 *     reply.c   answers -> bytes; stats.c does so for the streams, meta_reply.c for meta commands
 *     binary.c, binary_reply.c   the same for the binary protocol: see binary.h
 *
 * A request's tag says what its answer looks like, so nothing is allocated for it. A line that the
 * frontend makes itself is a NOOP request whose note is the line, so that it comes in its place.
 *
 * Threads: an instance and its sessions are called by one worker.
 * Ownership: a session lives from session_new to session_free; the peer outlives it. */
#ifndef YK_MC_MEMCACHED_H
#define YK_MC_MEMCACHED_H

#include <yakumo/frontend.h>

#include "frontends/memcached/parse.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

#define YK_MC_WORDS_ANY UINT32_MAX

/* What the option table sets. */
struct yk_mc_frontend {
    const struct yk_host *host; /* lent */
    uint64_t idle_timeout_us;   /* 0: off */
    bool allow_shutdown;
    bool allow_flush;
    bool allow_dump;
};

/* Variants of get. */
enum yk_mc_get_variant {
    YK_MC_GET = 0,
    YK_MC_GETS = 1, /* bit 0: with the CAS unique */
    YK_MC_GAT = 2,  /* bit 1: touches */
    YK_MC_GATS = 3,
};

/* Where feed stands between two calls.
 *
 *     BEGIN --any first byte--> LINE, --0x80--> FRAME
 *     LINE --get's line--> KEYS --line's end--> LINE
 *                          KEYS --bad key--> SKIP --line's end--> LINE
 *     LINE, FRAME --value refused--> SWALLOW --its last byte--> LINE, FRAME
 *     LINE --quit, line too long--> ENDED
 *     FRAME --quit, wrong form--> ENDED */
enum yk_mc_state {
    YK_MC_STATE_LINE = 0,    /* at the start of a command */
    YK_MC_STATE_KEYS = 1,    /* among the keys of a get */
    YK_MC_STATE_SKIP = 2,    /* in the rest of a line that was answered */
    YK_MC_STATE_SWALLOW = 3, /* in a value that was refused */
    YK_MC_STATE_ENDED = 4,   /* nothing further is listened to */
    YK_MC_STATE_BEGIN = 5,   /* nothing has come yet */
    YK_MC_STATE_FRAME = 6,   /* at the start of a frame of the binary protocol */
};

struct yk_mc_session {
    struct yk_mc_frontend *frontend;
    const struct yk_peer *peer; /* lent */
    size_t key_size_max;        /* the lesser of memcached's bound and the bucket's */

    /* feed's side */
    uint32_t state;        /* enum yk_mc_state */
    bool is_binary;        /* known from BEGIN on */
    uint32_t get_variant;  /* KEYS: enum yk_mc_get_variant */
    bool has_key;          /* KEYS: one has been taken */
    struct yk_ttl expiry;  /* KEYS: of gat */
    uint64_t swallow_size; /* SWALLOW: bytes left */
    size_t want;           /* bytes without which feed need not look again; 0: any */

    /* reply's side */
    bool get_failed;   /* this get's error line is written: nothing more until its last request */
    uint64_t n_dumped; /* lines of the cachedump under way */

    uint64_t last_ms; /* when something last came or went; kept only with an idle_timeout */
};

/* What an answer looks like: the low byte of a request's tag. The kinds of a protocol stand
 * together. */
enum yk_mc_kind {
    YK_MC_KIND_LINE = 0,    /* NOOP: the note */
    YK_MC_KIND_GET_END = 1, /* NOOP: the note, unless the get failed */
    YK_MC_KIND_GET = 2,
    YK_MC_KIND_STORE = 3,
    YK_MC_KIND_ARITH = 4,
    YK_MC_KIND_DELETE = 5,
    YK_MC_KIND_TOUCH = 6,
    YK_MC_KIND_FLUSH = 7,
    YK_MC_KIND_STATS = 8,
    YK_MC_KIND_RESET = 9,
    YK_MC_KIND_METADUMP = 10,
    YK_MC_KIND_CACHEDUMP = 11, /* from YK_MC_TAG_LIMIT_SHIFT on: how many lines; 0: all */
    YK_MC_KIND_MEMLIMIT = 12,
    YK_MC_KIND_SHUTDOWN = 13,
    YK_MC_KIND_META_GET = 16,
    YK_MC_KIND_META_STORE = 17,
    YK_MC_KIND_META_DELETE = 18,
    YK_MC_KIND_META_ARITH = 19,
    YK_MC_KIND_META_DEBUG = 20,
    YK_MC_KIND_BINARY_STATUS = 32, /* NOOP: a status and the note */
    YK_MC_KIND_BINARY_GET = 33,
    YK_MC_KIND_BINARY_STORE = 34,
    YK_MC_KIND_BINARY_ARITH = 35,
    YK_MC_KIND_BINARY_DELETE = 36,
    YK_MC_KIND_BINARY_FLUSH = 37,
    YK_MC_KIND_BINARY_STATS = 38,
};

#define YK_MC_TAG_KIND        0xffu
#define YK_MC_TAG_CAS         0x100u /* GET: the line carries the CAS unique */
#define YK_MC_TAG_VALUE       0x200u /* META: the answer carries the value */
#define YK_MC_TAG_BASE64      0x400u /* META: the key is shown as base64 */
#define YK_MC_TAG_QUIET       0x800u /* META_GET: nothing is said of a miss */
#define YK_MC_TAG_LIMIT_SHIFT 32

/* What became of a command's bytes. */
enum yk_mc_step {
    YK_MC_STEP_NEXT = 0,  /* taken, go on */
    YK_MC_STEP_STOP = 1,  /* taken, then wait to be fed again */
    YK_MC_STEP_AGAIN = 2, /* not taken: bytes or room are missing; nothing was changed */
};

/* One call of feed. */
struct yk_mc_feed {
    struct yk_mc_session *session;
    struct yk_inbox *inbox;
    const uint8_t *bytes;
    size_t size;
    size_t used;  /* bytes done with */
    size_t taken; /* bytes of the present command, unless its handler says otherwise */
    size_t want;  /* with AGAIN: bytes that the command needs; 0: not known */
};

struct yk_mc_command;

/* Turns a line into requests, or into the line that says what is wrong with it. */
typedef enum yk_mc_step (*yk_mc_take_fn)(struct yk_mc_feed *feed,
                                         const struct yk_mc_command *command,
                                         const struct yk_mc_line *line);

struct yk_mc_command {
    const char *name;
    size_t name_size;
    yk_mc_take_fn take;
    uint32_t words_min, words_max;
    uint32_t variant;
};

/* What clients are told; admin.c says why. */
#define YK_MC_VERSION "1.6.18-yakumo-" PACKAGE_VERSION

/* Lines that several files write. */
#define YK_MC_ERROR           "ERROR\r\n"
#define YK_MC_OK              "OK\r\n"
#define YK_MC_END             "END\r\n"
#define YK_MC_BAD_LINE        "CLIENT_ERROR bad command line format\r\n"
#define YK_MC_BAD_EXPTIME     "CLIENT_ERROR invalid exptime argument\r\n"
#define YK_MC_BAD_CLASS       "BADCLASS invalid class id\r\n"
#define YK_MC_BAD_CHUNK       "CLIENT_ERROR bad data chunk\r\n"
#define YK_MC_TOO_LARGE       "SERVER_ERROR object too large for cache\r\n"
#define YK_MC_NO_SHUTDOWN     "ERROR: shutdown not enabled\r\n"
#define YK_MC_MEMLIMIT_FAILED "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"

/* feed.c: see frontend.h. */
enum yk_err yk_mc_feed(void *session, const uint8_t *bytes, size_t size, bool eof,
                       struct yk_inbox *inbox, size_t *ret_used, size_t *ret_want);

/* Submits a NOOP with this line as its answer; text is static. */
enum yk_mc_step yk_mc_say(struct yk_mc_feed *feed, const char *text);
/* Likewise with request flags and another kind. */
enum yk_mc_step
yk_mc_say_flags(struct yk_mc_feed *feed, const char *text, uint32_t flags, enum yk_mc_kind kind);
/* Likewise, but says nothing to a command with noreply. */
enum yk_mc_step yk_mc_say_unless(struct yk_mc_feed *feed, bool is_silent, const char *text);
/* A request with op and tag set, QUIET if it is silent; NULL: return YK_MC_STEP_AGAIN. */
struct yk_request *
yk_mc_request(struct yk_mc_feed *feed, enum yk_opcode op, uint64_t tag, bool is_silent);
enum yk_mc_step yk_mc_submit(struct yk_mc_feed *feed, struct yk_request *request);
/* Does the line end in the word noreply? */
bool yk_mc_is_silent(const struct yk_mc_line *line);
/* May this word of the line be a key? */
bool
yk_mc_key_fits(const struct yk_mc_feed *feed, const struct yk_mc_line *line, struct yk_slice key);
/* protocol.txt, "Expiration times": 0 never, negative at once, to 30 days from now, beyond: since
 * 1970. */
struct yk_ttl yk_mc_expiry(int64_t seconds);

/* store.c: the data block behind a line. */
enum yk_mc_value { YK_MC_VALUE_PART = 0, YK_MC_VALUE_BAD = 1, YK_MC_VALUE_GOOD = 2 };

#define YK_MC_VALUE_SIZE_SAID_MAX (INT32_MAX - 2) /* bytes; a line that says more is a bad line */

/* Looks for all of a value: PART: return AGAIN; BAD: its line end is missing. But for PART
 * feed->taken is then what the line and it have. */
enum yk_mc_value yk_mc_find_value(struct yk_mc_feed *feed, const struct yk_mc_line *line,
                                  size_t value_size, struct yk_slice *ret_value);
/* Says why a value is refused, unless the command is silent, and drops it with its line end. */
enum yk_mc_step
yk_mc_refuse_value(struct yk_mc_feed *feed, bool is_silent, const char *text, uint64_t value_size);

/* admin.c: milliseconds from now until a flush: a time in the past, and none, is now. */
int64_t yk_mc_flush_delay_ms(const struct yk_mc_feed *feed, int64_t seconds);

/* get.c: takes a line that is a get of one key; false: it is another. */
bool yk_mc_take_short_get(struct yk_mc_feed *feed, const uint8_t *line, size_t size,
                          enum yk_mc_step *ret_step);
/* store.c: takes a line that is a plain set, and its value; false: it is another, or not all of it
 * is there. */
bool yk_mc_take_short_set(struct yk_mc_feed *feed, const uint8_t *line, size_t size,
                          enum yk_mc_step *ret_step);
/* get.c: the rest of a get's line, a key at each call. */
enum yk_mc_step yk_mc_take_keys(struct yk_mc_feed *feed);
/* Starts a get whose line is longer than YK_MC_LINE_SIZE_MAX; line has the words so far. False: it
 * has not even its arguments. */
bool yk_mc_take_long_get(struct yk_mc_feed *feed, const struct yk_mc_command *command,
                         const struct yk_mc_line *line, enum yk_mc_step *ret_step);

/* stats.c: a scan that is answered line by line; limit 0: all. */
enum yk_mc_step yk_mc_take_dump(struct yk_mc_feed *feed, enum yk_mc_kind kind, uint64_t limit);

/* reply.c: see frontend.h. */
void yk_mc_reply(void *session, const struct yk_request *request, const struct yk_reply *reply,
                 struct yk_outbox *outbox);
/* The line that says why a request failed. */
void yk_mc_reply_error(const struct yk_request *request, const struct yk_reply *reply,
                       struct yk_outbox *outbox);

/* stats.c: answers of STATS and SCAN, part by part. */
void yk_mc_reply_stats(const struct yk_request *request, const struct yk_reply *reply,
                       struct yk_outbox *outbox);
void yk_mc_reply_dump(struct yk_mc_session *session, const struct yk_request *request,
                      const struct yk_reply *reply, struct yk_outbox *outbox);

#define YK_MC_COMMAND(name, handler, words_min, words_max, variant)                                \
    enum yk_mc_step yk_mc_take_##handler(struct yk_mc_feed *feed,                                  \
                                         const struct yk_mc_command *command,                      \
                                         const struct yk_mc_line *line);
#include "frontends/memcached/commands.def"
#undef YK_MC_COMMAND

#endif
