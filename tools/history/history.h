/* Histories of clients, and their check: is there for each key an order of its operations, within
 * their times and each connection's order, in which every answer is right?
 *
 * The check is Wing and Gong's search ("Testing and verifying concurrent objects", 1993) with the
 * memory of seen states of Lowe ("Testing for linearizability", 2017). The model is memcached's
 * register: value, flags, CAS unique, expiry.
 *
 * Threads: one. Ownership: a history owns its operations and their bytes. */
#ifndef YK_TOOLS_HISTORY_HISTORY_H
#define YK_TOOLS_HISTORY_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

enum history_kind {
    HISTORY_GET,
    HISTORY_GETS,
    HISTORY_GAT,
    HISTORY_SET,
    HISTORY_ADD,
    HISTORY_REPLACE,
    HISTORY_APPEND,
    HISTORY_PREPEND,
    HISTORY_CAS,
    HISTORY_INCR,
    HISTORY_DECR,
    HISTORY_DELETE,
    HISTORY_TOUCH,
    HISTORY_FLUSH, /* of all keys: stands in the history of each */
};

enum history_result {
    RESULT_NONE,    /* no answer came, or none was asked for (then returned_us says until when) */
    RESULT_OK,      /* done; a hit */
    RESULT_MISS,    /* NOT_FOUND; a get of nothing */
    RESULT_REFUSED, /* NOT_STORED */
    RESULT_EXISTS,
    RESULT_NOT_NUMBER,
    RESULT_FAILED, /* an error that promises: surely not done */
    /* An error that promises nothing. With returned_us TIME_NEVER it may still happen afterwards,
     * later than what the same connection did next. */
    RESULT_UNKNOWN,
};

#define TIME_NEVER INT64_MAX

struct operation {
    enum history_kind kind;
    uint32_t key;
    uint32_t connection;
    uint64_t number; /* rising within a connection */
    int64_t invoked_us;
    int64_t returned_us; /* TIME_NEVER: no answer */
    enum history_result result;
    GBytes *value; /* written, or read by a hit */
    uint32_t flags;
    uint64_t cas;     /* CAS: asked; GETS: shown */
    uint64_t delta;   /* INCR, DECR */
    uint64_t shown;   /* INCR, DECR: the number answered */
    int64_t expiry_s; /* SET..., TOUCH, GAT: as sent; 0: never, negative: at once, else relative */
};

struct history {
    GPtrArray *operations; /* struct operation, in the order of invocation */
    uint32_t n_keys;
    bool may_evict;          /* a miss is always right */
    bool may_fail;           /* what was not answered, as asked, may have failed */
    int64_t expiry_slack_us; /* a record's end may come so much earlier or later */
    uint32_t states_max;     /* that the search for one key looks at before it gives up */
};

struct history *history_new(uint32_t n_keys, bool may_evict);
void history_free(struct history *history);
/* The history owns it; result is NONE and returned_us TIME_NEVER until they are set. */
struct operation *history_add(struct history *history, enum history_kind kind, uint32_t key);

enum history_verdict { HISTORY_RIGHT, HISTORY_WRONG, HISTORY_UNDECIDED };

struct history_finding {
    enum history_verdict verdict;
    uint32_t key;
    struct operation **operations; /* of the key; for the call only */
    uint32_t n, n_fixed;  /* each in the order of invocation: those that must fit, and the others */
    uint32_t n_explained; /* by the best order */
    uint32_t stuck;       /* WRONG: the one that had to come next then, and could not */
};

/* False: the other keys are not looked at any more. */
typedef bool (*history_judged)(void *arg, const struct history_finding *finding);

/* Checks one key after another and tells each. */
void history_check_keys(const struct history *history, history_judged judged, void *arg);

const char *history_kind_name(enum history_kind kind);
const char *history_result_name(enum history_result result);

/* The first wrong key. WRONG: `why` tells the key, and the operation that nothing explains.
 * UNDECIDED: the search was given up after very many steps. */
enum history_verdict history_check(const struct history *history, GString *why);

#endif
