/* The decisions of a write: set, add, replace, append, prepend, cas, incr, decr, delete, touch,
 * expire. */
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

/* The change is made; a record that has already ended is not stored at all. */
static void
accept(struct yk_decision *decision, uint64_t now_ms, uint64_t value_size_max)
{
    decision->record.value = yk_slice_of(NULL, decision->parts[0].size + decision->parts[1].size);
    if (decision->record.value.size > value_size_max) {
        refuse(decision, YK_ETOOLARGE);
        return;
    }
    decision->result = YK_OK;
    decision->is_change = true;
    decision->is_delete =
        decision->record.expiry_ms != 0 && decision->record.expiry_ms <= (int64_t)now_ms;
}

static void
keep_old(struct yk_decision *decision, const struct yk_record *old)
{
    decision->record = *old;
    decision->record.marks = 0;
    decision->record.cas = 0;
    decision->parts[0] = old->value;
}

static void
decide_store(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
             struct yk_decision *decision)
{
    if (request->mode == YK_MODE_APPEND || request->mode == YK_MODE_PREPEND) {
        keep_old(decision, old);
        decision->parts[request->mode == YK_MODE_APPEND ? 1 : 0] = request->value;
        decision->parts[request->mode == YK_MODE_APPEND ? 0 : 1] = old->value;
        return;
    }
    decision->record.expiry_ms = yk_ttl_fix(request->expiry, now_ms);
    decision->record.client_flags = request->client_flags;
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
    case YK_MODE_APPEND:
    case YK_MODE_PREPEND:
        return old != NULL ? YK_OK : YK_ENOTSTORED;
    default:
        return YK_OK;
    }
}

/* A decimal number of at most 64 bits, and nothing else. */
static bool
parse_number(struct yk_slice text, uint64_t *ret_number)
{
    const uint8_t *at = text.data;
    uint64_t number = 0;
    size_t i = 0;
    for (; i < text.size && at[i] >= '0' && at[i] <= '9'; i++) {
        uint64_t digit = at[i] - (uint64_t)'0';
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (i == 0 || i < text.size) {
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
    if (old->value.size > NUMBER_SIZE_MAX || !parse_number(old->value, &number)) {
        return YK_ENOTNUMBER;
    }
    keep_old(decision, old);
    if (request->mode == YK_MODE_DECR) {
        set_number(decision, number > request->delta ? number - request->delta : 0);
    } else {
        set_number(decision, number + request->delta);
    }
    return YK_OK;
}

static enum yk_err
cas_condition(const struct yk_request *request, const struct yk_record *old)
{
    if (!(request->flags & YK_REQUEST_CAS)) {
        return YK_OK;
    }
    if (old == NULL) {
        return YK_ENOTFOUND;
    }
    return yk_record_shown_cas(old) == request->cas ? YK_OK : YK_EEXISTS;
}

static enum yk_err
decide_kind(const struct yk_request *request, const struct yk_record *old, uint64_t now_ms,
            struct yk_decision *decision)
{
    enum yk_err result = cas_condition(request, old);
    if (result != YK_OK) {
        return result;
    }
    switch (request->op) {
    case YK_OP_STORE:
        result = store_condition(request, old);
        if (result == YK_OK) {
            decide_store(request, old, now_ms, decision);
        }
        return result;
    case YK_OP_ARITH:
        return decide_arith(request, old, now_ms, decision);
    case YK_OP_DELETE:
        decision->record.expiry_ms = 1;
        return old != NULL ? YK_OK : YK_ENOTFOUND;
    case YK_OP_TOUCH:
        if (old == NULL) {
            return YK_ENOTFOUND;
        }
        keep_old(decision, old);
        decision->record.expiry_ms = yk_ttl_fix(request->expiry, now_ms);
        return YK_OK;
    default:
        return YK_EUNSUPPORTED;
    }
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
    if ((request->flags & YK_REQUEST_NEW_CAS) != 0) {
        ret_decision->record.cas = request->new_cas;
    }
    accept(ret_decision, now_ms, value_size_max);
}
