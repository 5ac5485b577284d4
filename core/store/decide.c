/* The decisions of a write: set, add, replace, append, prepend, cas, incr, decr, delete, touch,
 * expire; and of a read that may mark, touch or make a record.
 *
 * The marks agree on who renews a record, as memcached's do: STALE says that it was invalidated,
 * WON that a client was told to renew it. A record that is stored anew has neither. */
#include <config.h>

#include "core/store/decide.h"

enum { NUMBER_SIZE_MAX = 20 };

bool
yk_decide_needs_old(const struct yk_request *request)
{
    return request->op != YK_OP_STORE || request->mode != YK_MODE_SET ||
           (request->flags & YK_REQUEST_CAS) != 0;
}

int64_t
yk_ttl_fix(struct yk_ttl ttl, uint64_t now_ms)
{
    int64_t now = (int64_t)now_ms;
    switch (ttl.kind) {
    case YK_EXPIRY_RELATIVE:
        if (ttl.ms <= 0) {
            return 1;
        }
        return ttl.ms > INT64_MAX - now ? INT64_MAX : now + ttl.ms;
    case YK_EXPIRY_ABSOLUTE:
        return ttl.ms <= now ? 1 : ttl.ms;
    default:
        return 0;
    }
}

static void
refuse(struct yk_decision *decision, enum yk_err result)
{
    decision->result = result;
    decision->is_change = false;
}

/* The change is made; a record that has already ended is not stored at all. Only what a client
 * sends can make a record too large: one that is there may be read and marked whatever the limit is
 * now. */
static void
accept(struct yk_decision *decision, const struct yk_request *request, uint64_t now_ms,
       uint64_t value_size_max)
{
    size_t size = decision->parts[0].size + decision->parts[1].size;
    decision->record.value = yk_slice_of(NULL, size);
    if (request->op == YK_OP_STORE) {
        if (size > value_size_max) {
            refuse(decision, YK_ETOOLARGE);
            return;
        }
        decision->number = size;
    }
    decision->result = YK_OK;
    decision->is_change = true;
    decision->is_delete =
        decision->record.expiry_ms != 0 && decision->record.expiry_ms <= (int64_t)now_ms;
}

/* The same record with a new version. */
static void
keep_old(struct yk_decision *decision, const struct yk_record *old)
{
    decision->record = *old;
    decision->record.cas = 0;
    decision->parts[0] = old->value;
}

/* The same record, and what its clients know as its CAS stays. */
static void
keep_old_cas(struct yk_decision *decision, const struct yk_record *old)
{
    keep_old(decision, old);
    decision->record.cas = yk_record_shown_cas(old);
}

bool
yk_decide_is_joining(const struct yk_request *request)
{
    return request->op == YK_OP_STORE &&
           (request->mode == YK_MODE_APPEND || request->mode == YK_MODE_PREPEND);
}

static void
decide_store(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
             struct yk_decision *decision)
{
    if (yk_decide_is_joining(request) && old != NULL) {
        keep_old(decision, old);
        decision->record.marks = 0;
        decision->parts[request->mode == YK_MODE_APPEND ? 1 : 0] = request->value;
        decision->parts[request->mode == YK_MODE_APPEND ? 0 : 1] = old->value;
        return;
    }
    decision->record.expiry_ms =
        yk_ttl_fix(yk_decide_is_joining(request) ? request->vivify : request->expiry, now_ms);
    decision->record.client_flags = request->client_flags;
    decision->parts[0] = request->value;
}

/* An older value than the one that is there, but better than what was invalidated. */
static void
decide_stale_store(const struct yk_request *request, const struct yk_record *old,
                   struct yk_decision *decision)
{
    decision->record.expiry_ms = old->expiry_ms;
    decision->record.client_flags = request->client_flags;
    decision->record.marks = old->marks | YK_RECORD_STALE;
    decision->parts[0] = request->value;
}

/* Is the store's condition met? */
static enum yk_err
store_condition(const struct yk_request *request, const struct yk_record *old)
{
    switch (request->mode) {
    case YK_MODE_ADD:
        return old == NULL ? YK_OK : YK_ENOTSTORED;
    case YK_MODE_REPLACE:
        return old != NULL ? YK_OK : YK_ENOTSTORED;
    case YK_MODE_APPEND:
    case YK_MODE_PREPEND:
        return old != NULL || (request->flags & YK_REQUEST_VIVIFY) != 0 ? YK_OK : YK_ENOTSTORED;
    default:
        return YK_OK;
    }
}

bool
yk_decide_number(struct yk_slice value, uint64_t *ret_number)
{
    const uint8_t *at = value.data;
    uint64_t number = 0;
    size_t i = 0;
    for (; i < value.size && i < NUMBER_SIZE_MAX && at[i] >= '0' && at[i] <= '9'; i++) {
        uint64_t digit = at[i] - (uint64_t)'0';
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (i == 0 || i < value.size) {
        return false;
    }
    *ret_number = number;
    return true;
}

static void
set_number(struct yk_decision *decision, uint64_t number)
{
    size_t at = sizeof(decision->digits);
    decision->number = number;
    do {
        decision->digits[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    decision->parts[0] = yk_slice_of(decision->digits + at, sizeof(decision->digits) - at);
}

static enum yk_err
decide_arith(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
             struct yk_decision *decision)
{
    uint64_t number;
    if (old == NULL) {
        if (!(request->flags & YK_REQUEST_VIVIFY)) {
            return YK_ENOTFOUND;
        }
        decision->record.expiry_ms = yk_ttl_fix(request->vivify, now_ms);
        set_number(decision, request->initial);
        return YK_OK;
    }
    if (!yk_decide_number(old->value, &number)) {
        return YK_ENOTNUMBER;
    }
    keep_old(decision, old);
    if ((request->flags & YK_REQUEST_TOUCH) != 0) {
        decision->record.expiry_ms = yk_ttl_fix(request->expiry, now_ms);
    }
    if (request->mode == YK_MODE_DECR) {
        set_number(decision, number > request->delta ? number - request->delta : 0);
    } else {
        set_number(decision, number + request->delta);
    }
    return YK_OK;
}

static void
decide_delete(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
              struct yk_decision *decision)
{
    bool is_invalidation = (request->flags & YK_REQUEST_INVALIDATE) != 0;
    bool drops_value = (request->flags & YK_REQUEST_DROP_VALUE) != 0;
    if (!is_invalidation && !drops_value) {
        decision->record.expiry_ms = 1;
        return;
    }
    if (is_invalidation) {
        keep_old(decision, old);
        decision->record.marks = YK_RECORD_STALE;
    } else {
        keep_old_cas(decision, old);
        decision->record.marks = 0;
    }
    if (drops_value) {
        decision->record.client_flags = request->client_flags;
        decision->record.expiry_ms = 0;
        decision->parts[0] = yk_slice_of(NULL, 0);
    }
    if ((request->flags & YK_REQUEST_TOUCH) != 0) {
        decision->record.expiry_ms = yk_ttl_fix(request->expiry, now_ms);
    }
}

/* Is this client to renew the record? One is told so, until it is stored anew. */
static bool
get_wins(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms)
{
    if ((old->marks & YK_RECORD_WON) != 0) {
        return false;
    }
    if ((request->flags & YK_REQUEST_WIN) != 0 && (old->marks & YK_RECORD_STALE) != 0) {
        return true;
    }
    return (request->flags & YK_REQUEST_RECACHE) != 0 && old->expiry_ms != 0 &&
           old->expiry_ms < yk_ttl_fix(request->recache, now_ms);
}

static enum yk_err
decide_get(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
           struct yk_decision *decision)
{
    if (old == NULL) {
        if ((request->flags & YK_REQUEST_VIVIFY) == 0) {
            return YK_ENOTFOUND;
        }
        decision->record.marks = YK_RECORD_WON;
        decision->record.expiry_ms = yk_ttl_fix(request->vivify, now_ms);
        decision->reply_flags = YK_REPLY_WON;
        return YK_OK;
    }
    keep_old_cas(decision, old);
    if (get_wins(request, old, now_ms)) {
        decision->record.marks |= YK_RECORD_WON;
        decision->reply_flags |= YK_REPLY_WON;
    }
    if ((request->flags & YK_REQUEST_TOUCH) != 0) {
        decision->record.expiry_ms = yk_ttl_fix(request->expiry, now_ms);
    }
    decision->reply_flags |= (old->marks & YK_RECORD_STALE) != 0 ? YK_REPLY_STALE : 0;
    decision->reply_flags |= (old->marks & YK_RECORD_WON) != 0 ? YK_REPLY_TAKEN : 0;
    return YK_OK;
}

/* Of an absent record only a set asks this: the others say in their own words that it is not there,
 * or make it. */
static enum yk_err
cas_condition(const struct yk_request *request, const struct yk_record *old)
{
    if ((request->flags & YK_REQUEST_CAS) == 0 ||
        (request->op == YK_OP_STORE && request->mode == YK_MODE_ADD)) {
        return YK_OK;
    }
    if (old == NULL) {
        return request->op == YK_OP_STORE && !yk_decide_is_joining(request) ? YK_ENOTFOUND : YK_OK;
    }
    return yk_record_shown_cas(old) == request->cas ? YK_OK : YK_EEXISTS;
}

/* May a store whose cas does not fit store all the same? */
static bool
is_stale_store(const struct yk_request *request, const struct yk_record *old)
{
    return request->op == YK_OP_STORE && !yk_decide_is_joining(request) &&
           (request->flags & YK_REQUEST_INVALIDATE) != 0 && request->cas != 0 &&
           request->cas < yk_record_shown_cas(old);
}

static enum yk_err
decide_kind(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
            struct yk_decision *decision)
{
    enum yk_err result = cas_condition(request, old);
    if (result == YK_EEXISTS && is_stale_store(request, old)) {
        decide_stale_store(request, old, decision);
        return YK_OK;
    }
    if (result != YK_OK) {
        return result;
    }
    switch (request->op) {
    case YK_OP_GET:
        return decide_get(request, old, now_ms, decision);
    case YK_OP_STORE:
        result = store_condition(request, old);
        if (result == YK_OK) {
            decide_store(request, old, now_ms, decision);
        }
        return result;
    case YK_OP_ARITH:
        return decide_arith(request, old, now_ms, decision);
    case YK_OP_DELETE:
        if (old == NULL) {
            return YK_ENOTFOUND;
        }
        decide_delete(request, old, now_ms, decision);
        return YK_OK;
    case YK_OP_TOUCH:
        if (old == NULL) {
            return YK_ENOTFOUND;
        }
        keep_old_cas(decision, old);
        decision->record.expiry_ms = yk_ttl_fix(request->expiry, now_ms);
        return YK_OK;
    default:
        return YK_EUNSUPPORTED;
    }
}

/* A GET that changes nothing is only a read. */
static bool
is_only_read(const struct yk_request *request, const struct yk_record *old,
             const struct yk_decision *decision)
{
    return request->op == YK_OP_GET && old != NULL && decision->record.marks == old->marks &&
           decision->record.expiry_ms == old->expiry_ms;
}

void
yk_decide(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
          uint64_t value_size_max, struct yk_decision *ret_decision)
{
    *ret_decision = (struct yk_decision){.result = YK_OK};
    enum yk_err result = decide_kind(request, old, now_ms, ret_decision);
    if (result != YK_OK) {
        refuse(ret_decision, result);
        return;
    }
    if (is_only_read(request, old, ret_decision)) {
        return;
    }
    /* memcached gives the CAS of a mg to the record that it makes, not to one that it touches. */
    if ((request->flags & YK_REQUEST_NEW_CAS) != 0 && (request->op != YK_OP_GET || old == NULL)) {
        ret_decision->record.cas = request->new_cas;
    }
    accept(ret_decision, request, now_ms, value_size_max);
}
