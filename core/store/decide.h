/* The decisions: what a write makes of the record that is there. Written once, for every engine and
 * protocol, and made before anything is stored.
 *
 * The CAS that clients see of a record changes with its value, and where it is invalidated; a touch
 * or a win keeps it, so that the client that won can store by the CAS it was shown.
 *
 * Threads: pure. Ownership: a decision borrows from the request and the old record. */
#ifndef YK_STORE_DECIDE_H
#define YK_STORE_DECIDE_H

#include <yakumo/request.h>

#include "core/store/record.h"

struct yk_decision {
    enum yk_err result; /* what the client is told, if the change (where there is one) is made */
    bool is_change;
    bool is_delete;           /* the change leaves no record */
    struct yk_record record;  /* the new record but for its version; value.data is NULL ... */
    struct yk_slice parts[2]; /* ... and its value is these two, one after the other */
    uint32_t reply_flags;     /* enum yk_reply_flags: STALE, WON, TAKEN */
    uint64_t number;          /* ARITH: the new number; STORE: bytes of the value */
    uint8_t digits[20];       /* ARITH: the number's text; parts may point here */
};

/* Must the old record be known to judge this request? A plain set overwrites whatever is there. */
bool yk_decide_needs_old(const struct yk_request *request);

/* Judges a write, or a GET that may become one: with result OK and no change it is answered with
 * the old record, with a change with the new one (whose value is the same). old: the record, if it
 * is there and neither expired nor flushed, else NULL. */
void yk_decide(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
               uint64_t value_size_max, struct yk_decision *ret_decision);

/* Does it store the old value and its own in one? */
bool yk_decide_is_joining(const struct yk_request *request);

/* The number that ARITH sees in a value: decimal, of at most 64 bits, and nothing else. */
bool yk_decide_number(struct yk_slice value, uint64_t *ret_number);

/* Milliseconds since 1970; 0: never; a time that has passed: 1. */
int64_t yk_ttl_fix(struct yk_ttl ttl, uint64_t now_ms);

#endif
