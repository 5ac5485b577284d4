/* A core for tests of frontends: a map in memory, a clock that stands still, and clients whose
 * bytes come and whose answers go as the test says. It is the strictest host that the interface
 * allows: input lies in memory of exactly its size that is freed before anything is executed, an
 * outbox has exactly the room that was asked for, and each rule that a frontend has to keep is
 * checked.
 *
 * Threads: one. Ownership: a core outlives its clients. A broken rule aborts, so that fuzzers see
 * it. */
#ifndef YK_TESTS_FAKE_CORE_H
#define YK_TESTS_FAKE_CORE_H

#include <yakumo/frontend.h>

#define FAKE_CORE_NOW_MS 1700000000000ull

#define FAKE_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fake_core_broken(__FILE__, __LINE__, #condition);                                      \
        }                                                                                          \
    } while (0)

struct fake_record;

/* Bytes that grow. */
struct fake_bytes {
    uint8_t *data;
    size_t size, size_max;
};

struct fake_core {
    struct yk_host host; /* first: what plugins see */
    const struct yk_plugin *plugin;
    const struct yk_frontend_ops *ops;
    void *self; /* the frontend's instance */
    uint64_t now_ms;
    uint64_t seed;         /* of host->random */
    uint32_t key_size_max; /* what peers are told */
    uint32_t value_size_max;

    struct fake_record *records; /* in the order in which they came */
    size_t n_records, n_records_max;
    uint64_t version;       /* of the latest change */
    struct yk_buffer *lent; /* the value that the reply under way shows */
    uint64_t flush_at_ms;   /* 0: no flush is due */
    uint64_t memory_max;    /* as ADMIN set it */
    uint32_t n_shutdowns;

    uint32_t n_allocs;       /* alive, through the host */
    uint32_t alloc_fails_in; /* 1: the next one fails; 0: none does */
    uint32_t fault_in;       /* 1: the next request but NOOP gets `fault` as its only reply */
    enum yk_err fault;
    const char *fault_text;
    bool inbox_alloc_fails;
};

/* A connection. */
struct fake_client {
    struct fake_core *core;
    struct yk_peer peer;
    void *session;
    struct fake_bytes input; /* came, not yet used */
    struct fake_bytes output;
    bool is_eof;                     /* the client sends no more */
    bool is_ending;                  /* a request that closes was submitted: none may follow */
    bool is_closed;                  /* by the frontend; what comes then is dropped */
    bool is_lost;                    /* the outbox failed */
    uint64_t stop_seed;              /* not 0: request and submit say stop at random */
    uint32_t grow_fails_in;          /* 1: the next grow or lend fails; 0: none does */
    size_t want;                     /* what the latest feed asked for */
    uint64_t n_submitted, n_replies; /* replies: final ones, and silent successes */
    uint64_t n_lent;                 /* bytes */
};

_Noreturn void fake_core_broken(const char *file, int line, const char *condition);

/* The plugin's instance with all options at their defaults. NULL: create failed. */
struct fake_core *fake_core_new(const struct yk_plugin *plugin);
/* Checks that the frontend gave everything back. */
void fake_core_free(struct fake_core *core);
/* BOOL: yes, no; DURATION: a number of s or ms; others as they are. */
void fake_core_option(struct fake_core *core, const char *name, const char *text);
/* Forgets the records and all that was set for them. */
void fake_core_reset(struct fake_core *core);

/* NULL: session_new failed. */
struct fake_client *fake_client_new(struct fake_core *core);
void fake_client_free(struct fake_client *client);
/* Bytes come; the frontend is fed, what it submits is executed and answered. */
void fake_client_send(struct fake_client *client, const void *data, size_t size);
void fake_client_eof(struct fake_client *client);

void fake_bytes_add(struct fake_bytes *bytes, const void *data, size_t size);
void fake_bytes_done(struct fake_bytes *bytes);

/* xorshift: never 0 from a seed that is not 0. */
uint64_t fake_random(uint64_t *seed);

#endif
