/* What a load says to a server and hears from it: requests as bytes, and answers read in place as
 * they come, in pieces of any size. Bytes in, bytes out: it never meets a socket, and allocates
 * nothing on the way. What a server answers is never trusted: whatever was not asked for is wrong,
 * and its first bytes are kept for the message.
 *
 * Threads: an exchange belongs to one thread, items and protocol are read by all.
 * Ownership: the exchange's arrays are its maker's. */
#ifndef YK_TOOLS_BENCH_PROTOCOL_H
#define YK_TOOLS_BENCH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/bench/items.h"

/* ETCD: its JSON gateway, and sets only. */
enum bench_protocol { BENCH_TEXT, BENCH_META, BENCH_RESP, BENCH_ETCD };

enum {
    BENCH_LINE_MAX = 2048, /* bytes of a line of an answer */
    BENCH_ERROR_TEXTS = 8, /* error replies that are kept apart */
    BENCH_ERROR_TEXT_SIZE = 120,
    BENCH_WRONG_SIZE = 512,
    BENCH_REQUEST_HEAD_MAX = 128, /* bytes of a request beside its keys and its value */
    BENCH_KEY_HEAD_MAX = 16,      /* bytes that a further key takes beside itself */
};

/* Error replies by their text. */
struct bench_errors {
    uint32_t n_texts;
    struct {
        char text[BENCH_ERROR_TEXT_SIZE];
        uint64_t n;
    } texts[BENCH_ERROR_TEXTS];
    uint64_t n_others;
};

void bench_errors_count(struct bench_errors *errors, const char *text, size_t size, uint64_t n);

/* One key of a request that has been sent. A request to get several has one for each. */
struct bench_ask {
    uint64_t key;
    uint32_t at; /* where the key stands in the bytes that were sent */
    uint8_t key_size;
    bool is_set;
    bool is_last; /* of its request */
};

/* Requests that were sent in one go, and what has come back for them. */
struct bench_exchange {
    /* Set by its maker, once. */
    const struct bench_items *items;
    enum bench_protocol protocol;
    bool is_verified; /* values are compared */
    char *out;        /* the requests */
    struct bench_ask *asks;
    uint64_t *missed;            /* keys of gets that found nothing, if anybody wants them */
    struct bench_errors *errors; /* of the thread */

    /* The requests. */
    size_t out_size;
    uint32_t n_asks;

    /* The answers: asks below at are done. */
    uint32_t at;
    bool is_begun;       /* a request for several keys: its answer's head, or last key, has come */
    uint64_t value_left; /* bytes that still come of a value and its line end */
    uint64_t value_size;
    uint64_t body_left; /* ETCD: bytes that still come of an answer's body */
    bool is_refused;    /* ETCD: by the answer's first line */
    const char *value;  /* what it should be; NULL: not compared */
    uint32_t n_missed;

    /* Of all exchanges so far: requests answered, and keys of gets. */
    uint64_t n_gets, n_sets, n_hits, n_misses, n_errors;
    char wrong[BENCH_WRONG_SIZE]; /* what was expected, and what came */
};

/* Forgets the requests; the answers to all of them have come. */
void bench_exchange_clear(struct bench_exchange *exchange);
void bench_exchange_set(struct bench_exchange *exchange, uint64_t key);
/* n > 1: one request for all of them. */
void bench_exchange_get(struct bench_exchange *exchange, const uint64_t *keys, uint32_t n);
/* Bytes that a request takes at most in out; n_keys of a get, 0: a set. */
size_t bench_request_size_max(const struct bench_items *items, enum bench_protocol protocol,
                              uint32_t n_keys);

static inline bool
bench_exchange_is_done(const struct bench_exchange *exchange)
{
    return exchange->at == exchange->n_asks;
}

/* Takes in what has come, as far as it goes: the rest is the beginning of a line, shorter than
 * BENCH_LINE_MAX, and is to come again with what follows it. False: the answer is wrong. */
bool bench_exchange_feed(struct bench_exchange *exchange, const char *data, size_t size,
                         size_t *ret_used);

#endif
