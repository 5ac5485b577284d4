/* Records, decisions, chunks, figures, the budget, and stacks of filters over an engine. */
#include <config.h>

#include "core/store/stack.h"

#include <stdlib.h>

#include <glib.h>

#include "core/store/budget.h"
#include "core/store/decide.h"
#include "core/store/op.h"
#include "core/store/scan.h"

/* -- Records. -- */

enum { RECORD_ROOM = 128, KEY_HASH = 77 };

static struct yk_slice
encode(const struct yk_record *record, bool with_checksum, uint8_t *to)
{
    size_t size = yk_record_size(record, with_checksum);
    g_assert_cmpuint(size, <=, RECORD_ROOM);
    yk_record_encode(record, with_checksum, KEY_HASH, to);
    return yk_slice_of(to, size);
}

static void
test_record_fields(void)
{
    static const char text[] = "value";
    for (uint32_t bits = 0; bits < 128; bits++) {
        uint8_t bytes[RECORD_ROOM];
        struct yk_record decoded;
        struct yk_record record = {.version = 0xfedcba9876543210ull,
                                   .expiry_ms = (bits & 1) ? INT64_MAX : 0,
                                   .client_flags = (bits & 2) ? UINT32_MAX : 0,
                                   .cas = (bits & 4) ? UINT64_MAX : 0,
                                   .marks = bits >> 3 & 7,
                                   .value = yk_slice_of(text, (bits & 64) ? sizeof(text) : 0)};
        for (int with_checksum = 0; with_checksum < 2; with_checksum++) {
            struct yk_slice slice = encode(&record, with_checksum != 0, bytes);
            g_assert_cmpint(yk_record_decode(slice, with_checksum != 0, KEY_HASH, &decoded), ==,
                            YK_OK);
            g_assert_cmpuint(decoded.version, ==, record.version);
            g_assert_cmpint(decoded.expiry_ms, ==, record.expiry_ms);
            g_assert_cmpuint(decoded.client_flags, ==, record.client_flags);
            g_assert_cmpuint(decoded.cas, ==, record.cas);
            g_assert_cmpuint(decoded.marks, ==, record.marks);
            g_assert_true(yk_slice_equal(decoded.value, record.value));
            g_assert_cmpuint(yk_record_shown_cas(&decoded), ==,
                             (bits & 4) ? UINT64_MAX : record.version);
            g_assert_cmpuint(slice.size - record.value.size, <=, YK_RECORD_OVERHEAD_MAX);
        }
    }
}

/* A value that stands in place already. */
static void
test_record_in_place(void)
{
    uint8_t bytes[RECORD_ROOM], again[RECORD_ROOM];
    struct yk_record record = {.version = 1, .cas = 2, .value = yk_slice_of("value", 5)};
    struct yk_slice whole = encode(&record, true, bytes);
    memcpy(again + whole.size - 5, "value", 5);
    record.value.data = NULL;
    yk_record_encode(&record, true, KEY_HASH, again);
    g_assert_cmpmem(bytes, whole.size, again, whole.size);
}

static void
test_record_damage(void)
{
    uint8_t bytes[RECORD_ROOM];
    struct yk_record decoded, record = {.version = 1ull << 40 | 5,
                                        .expiry_ms = 1,
                                        .client_flags = 2,
                                        .cas = 3,
                                        .value = yk_slice_of("value", 5)};
    struct yk_slice slice = encode(&record, true, bytes);
    for (size_t i = 0; i < slice.size * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        g_assert_cmpint(yk_record_decode(slice, true, KEY_HASH, &decoded), ==, YK_ECORRUPT);
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t i = 0; i < slice.size; i++) {
        for (uint32_t mask = 1; mask < 256; mask++) {
            bytes[i] ^= (uint8_t)mask;
            g_assert_cmpint(yk_record_decode(slice, true, KEY_HASH, &decoded), ==, YK_ECORRUPT);
            bytes[i] ^= (uint8_t)mask;
        }
    }
    g_assert_cmpint(yk_record_decode(slice, true, KEY_HASH + 1, &decoded), ==, YK_ECORRUPT);
    g_assert_cmpint(yk_record_decode(slice, true, KEY_HASH, &decoded), ==, YK_OK);
}

static void
test_record_cut(void)
{
    struct yk_record decoded, record = {.version = 9,
                                        .expiry_ms = 1,
                                        .client_flags = 2,
                                        .cas = 3,
                                        .value = yk_slice_of("value", 5)};
    for (int with_checksum = 0; with_checksum < 2; with_checksum++) {
        uint8_t bytes[RECORD_ROOM];
        struct yk_slice slice = encode(&record, with_checksum != 0, bytes);
        for (size_t size = 0; size < slice.size; size++) {
            uint8_t *exact = g_memdup2(bytes, size);
            enum yk_err result =
                yk_record_decode(yk_slice_of(exact, size), with_checksum != 0, KEY_HASH, &decoded);
            /* Without a checksum a shorter value cannot be told from this one. */
            bool is_head_whole = with_checksum == 0 && size >= slice.size - 5;
            g_assert_cmpint(result, ==, is_head_whole ? YK_OK : YK_ECORRUPT);
            g_free(exact);
        }
    }
    uint8_t zeroes[RECORD_ROOM] = {YK_RECORD_FORMAT};
    g_assert_cmpint(yk_record_decode(yk_slice_of(zeroes, 30), false, KEY_HASH, &decoded), ==,
                    YK_ECORRUPT); /* version 0 */
}

/* -- Decisions. -- */

#define NOW_MS 1000000
#define FAR_MS (NOW_MS + 5000)
#define KEEP   (-2) /* the expiry of the old record */

struct decision_case {
    const char *op;      /* "set", "add", ... */
    const char *old;     /* value of the old record, or NULL */
    const char *value;   /* of the request */
    const char *options; /* "c": cas fits, "C": cas does not, "v": vivify, "n": new cas */
    struct yk_ttl expiry;
    uint64_t delta, initial;
    enum yk_err result;
    const char *left; /* the value after it; NULL: none */
    int64_t expiry_ms;
    uint64_t number;
};

#define FOR(ms_)                                                                                   \
    {                                                                                              \
        ms_, YK_EXPIRY_RELATIVE                                                                    \
    }
#define UNTIL(ms_)                                                                                 \
    {                                                                                              \
        ms_, YK_EXPIRY_ABSOLUTE                                                                    \
    }
#define MAX_TEXT "18446744073709551615"

static const struct decision_case decision_cases[] = {
    {"set", NULL, "x", "", {0}, 0, 0, YK_OK, "x", 0, 0},
    {"set", "a", "x", "", FOR(10), 0, 0, YK_OK, "x", NOW_MS + 10, 0},
    {"set", "a", "", "", {0}, 0, 0, YK_OK, "", 0, 0},
    {"set", "a", "x", "", FOR(0), 0, 0, YK_OK, NULL, 1, 0},
    {"set", "a", "x", "", FOR(-5), 0, 0, YK_OK, NULL, 1, 0},
    {"set", "a", "x", "", FOR(INT64_MIN), 0, 0, YK_OK, NULL, 1, 0},
    {"set", "a", "x", "", FOR(INT64_MAX), 0, 0, YK_OK, "x", INT64_MAX, 0},
    {"set", "a", "x", "", UNTIL(NOW_MS), 0, 0, YK_OK, NULL, 1, 0},
    {"set", "a", "x", "", UNTIL(NOW_MS + 1), 0, 0, YK_OK, "x", NOW_MS + 1, 0},
    {"set", "a", "x", "", UNTIL(-1), 0, 0, YK_OK, NULL, 1, 0},
    {"set", "a", "x", "", UNTIL(INT64_MAX), 0, 0, YK_OK, "x", INT64_MAX, 0},
    {"set",
     NULL,
     "0123456789012345678901234",
     "",
     {0},
     0,
     0,
     YK_OK,
     "0123456789012345678901234",
     0,
     0},
    {"set", NULL, "01234567890123456789012345", "", {0}, 0, 0, YK_ETOOLARGE, NULL, 0, 0},
    {"set", "a", "x", "c", {0}, 0, 0, YK_OK, "x", 0, 0},
    {"set", "a", "x", "C", {0}, 0, 0, YK_EEXISTS, "a", 0, 0},
    {"set", NULL, "x", "c", {0}, 0, 0, YK_ENOTFOUND, NULL, 0, 0},
    {"set", "a", "x", "n", {0}, 0, 0, YK_OK, "x", 0, 0},
    {"add", NULL, "x", "", {0}, 0, 0, YK_OK, "x", 0, 0},
    {"add", "a", "x", "", {0}, 0, 0, YK_ENOTSTORED, "a", 0, 0},
    {"add", NULL, "x", "", FOR(-1), 0, 0, YK_OK, NULL, 1, 0},
    {"add", NULL, "x", "c", {0}, 0, 0, YK_OK, "x", 0, 0},
    {"add", "a", "x", "C", {0}, 0, 0, YK_ENOTSTORED, "a", 0, 0},
    {"replace", NULL, "x", "", {0}, 0, 0, YK_ENOTSTORED, NULL, 0, 0},
    {"replace", "a", "x", "", {0}, 0, 0, YK_OK, "x", 0, 0},
    {"replace", "a", "x", "C", {0}, 0, 0, YK_EEXISTS, "a", 0, 0},
    {"append", NULL, "x", "", {0}, 0, 0, YK_ENOTSTORED, NULL, 0, 0},
    {"append", "a", "x", "", FOR(10), 0, 0, YK_OK, "ax", KEEP, 0},
    {"append", "a", "", "", {0}, 0, 0, YK_OK, "a", KEEP, 0},
    {"append", "a", "x", "C", {0}, 0, 0, YK_EEXISTS, "a", 0, 0},
    {"append", NULL, "x", "c", {0}, 0, 0, YK_ENOTSTORED, NULL, 0, 0},
    {"append", NULL, "x", "v", FOR(10), 0, 0, YK_OK, "x", NOW_MS + 10, 0},
    {"append", NULL, "x", "cv", FOR(-1), 0, 0, YK_OK, NULL, 1, 0},
    {"append", "a", "x", "vn", FOR(10), 0, 0, YK_OK, "ax", KEEP, 0},
    {"append",
     "01234567890123456789",
     "01234",
     "",
     {0},
     0,
     0,
     YK_OK,
     "0123456789012345678901234",
     KEEP,
     0},
    {"append",
     "01234567890123456789",
     "012345",
     "",
     {0},
     0,
     0,
     YK_ETOOLARGE,
     "01234567890123456789",
     0,
     0},
    {"prepend", NULL, "x", "", {0}, 0, 0, YK_ENOTSTORED, NULL, 0, 0},
    {"prepend", NULL, "x", "v", {0}, 0, 0, YK_OK, "x", 0, 0},
    {"prepend", "a", "x", "", {0}, 0, 0, YK_OK, "xa", KEEP, 0},
    {"prepend", "", "x", "c", {0}, 0, 0, YK_OK, "x", KEEP, 0},
    {"incr", NULL, "", "", {0}, 1, 0, YK_ENOTFOUND, NULL, 0, 0},
    {"incr", "5", "", "", {0}, 3, 0, YK_OK, "8", KEEP, 8},
    {"incr", "5", "", "C", {0}, 3, 0, YK_EEXISTS, "5", 0, 0},
    {"incr", "9", "", "", {0}, 1, 0, YK_OK, "10", KEEP, 10},
    {"incr", MAX_TEXT, "", "", {0}, 1, 0, YK_OK, "0", KEEP, 0},
    {"incr", "0", "", "", {0}, UINT64_MAX, 0, YK_OK, MAX_TEXT, KEEP, UINT64_MAX},
    {"incr",
     "18446744073709551616",
     "",
     "",
     {0},
     1,
     0,
     YK_ENOTNUMBER,
     "18446744073709551616",
     0,
     0},
    {"incr",
     "99999999999999999999",
     "",
     "",
     {0},
     1,
     0,
     YK_ENOTNUMBER,
     "99999999999999999999",
     0,
     0},
    {"incr",
     "000000000000000000001",
     "",
     "",
     {0},
     1,
     0,
     YK_ENOTNUMBER,
     "000000000000000000001",
     0,
     0},
    {"incr", "00000000000000000001", "", "", {0}, 1, 0, YK_OK, "2", KEEP, 2},
    {"incr", "7   ", "", "", {0}, 1, 0, YK_ENOTNUMBER, "7   ", 0, 0},
    {"incr", "7 1", "", "", {0}, 1, 0, YK_ENOTNUMBER, "7 1", 0, 0},
    {"incr", " 7", "", "", {0}, 1, 0, YK_ENOTNUMBER, " 7", 0, 0},
    {"incr", "-7", "", "", {0}, 1, 0, YK_ENOTNUMBER, "-7", 0, 0},
    {"incr", "", "", "", {0}, 1, 0, YK_ENOTNUMBER, "", 0, 0},
    {"incr", "7a", "", "", {0}, 1, 0, YK_ENOTNUMBER, "7a", 0, 0},
    {"incr", NULL, "", "v", FOR(10), 1, 12, YK_OK, "12", NOW_MS + 10, 12},
    {"incr", NULL, "", "v", FOR(-1), 1, 12, YK_OK, NULL, 1, 12},
    {"incr", NULL, "", "v", {0}, 1, UINT64_MAX, YK_OK, MAX_TEXT, 0, UINT64_MAX},
    {"incr", "1", "", "v", FOR(10), 1, 12, YK_OK, "2", KEEP, 2},
    {"incr", NULL, "", "cv", FOR(10), 1, 12, YK_OK, "12", NOW_MS + 10, 12},
    {"incr", NULL, "", "c", {0}, 1, 0, YK_ENOTFOUND, NULL, 0, 0},
    {"incr", "1", "", "cn", {0}, 1, 0, YK_OK, "2", KEEP, 2},
    {"decr", "5", "", "", {0}, 3, 0, YK_OK, "2", KEEP, 2},
    {"decr", "5", "", "", {0}, 5, 0, YK_OK, "0", KEEP, 0},
    {"decr", "5", "", "", {0}, UINT64_MAX, 0, YK_OK, "0", KEEP, 0},
    {"decr", MAX_TEXT, "", "", {0}, 1, 0, YK_OK, "18446744073709551614", KEEP, UINT64_MAX - 1},
    {"delete", NULL, "", "", {0}, 0, 0, YK_ENOTFOUND, NULL, 0, 0},
    {"delete", "a", "", "", {0}, 0, 0, YK_OK, NULL, 1, 0},
    {"delete", "a", "", "c", {0}, 0, 0, YK_OK, NULL, 1, 0},
    {"delete", "a", "", "C", {0}, 0, 0, YK_EEXISTS, "a", 0, 0},
    {"touch", NULL, "", "", FOR(10), 0, 0, YK_ENOTFOUND, NULL, 0, 0},
    {"touch", "a", "", "", FOR(10), 0, 0, YK_OK, "a", NOW_MS + 10, 0},
    {"touch", "a", "", "", {0}, 0, 0, YK_OK, "a", 0, 0},
    {"touch", "a", "", "", FOR(-1), 0, 0, YK_OK, NULL, 1, 0},
};

static struct yk_request
request_of(const struct decision_case *c)
{
    static const struct {
        const char *name;
        enum yk_opcode op;
        enum yk_mode mode;
    } ops[] = {
        {"set", YK_OP_STORE, YK_MODE_SET},
        {"add", YK_OP_STORE, YK_MODE_ADD},
        {"replace", YK_OP_STORE, YK_MODE_REPLACE},
        {"append", YK_OP_STORE, YK_MODE_APPEND},
        {"prepend", YK_OP_STORE, YK_MODE_PREPEND},
        {"incr", YK_OP_ARITH, YK_MODE_INCR},
        {"decr", YK_OP_ARITH, YK_MODE_DECR},
        {"delete", YK_OP_DELETE, 0},
        {"touch", YK_OP_TOUCH, 0},
    };
    struct yk_request request = {.value = yk_slice_of_text(c->value),
                                 .client_flags = 6,
                                 .cas = strchr(c->options, 'C') != NULL ? 8 : 7,
                                 .new_cas = 99,
                                 .delta = c->delta,
                                 .initial = c->initial,
                                 .expiry = c->expiry,
                                 .vivify = c->expiry};
    request.flags = strpbrk(c->options, "cC") != NULL ? YK_REQUEST_CAS : 0;
    request.flags |= strchr(c->options, 'v') != NULL ? YK_REQUEST_VIVIFY : 0;
    request.flags |= strchr(c->options, 'n') != NULL ? YK_REQUEST_NEW_CAS : 0;
    for (size_t i = 0; i < G_N_ELEMENTS(ops); i++) {
        if (strcmp(ops[i].name, c->op) == 0) {
            request.op = (uint16_t)ops[i].op;
            request.mode = (uint16_t)ops[i].mode;
        }
    }
    return request;
}

static void
check_left(const struct decision_case *c, const struct yk_decision *decision)
{
    g_autoptr(GString) left = g_string_new(NULL);
    for (int i = 0; i < 2; i++) {
        g_string_append_len(left, decision->parts[i].data, (gssize)decision->parts[i].size);
    }
    g_assert_true(decision->is_delete == (c->left == NULL));
    if (c->left == NULL) {
        return;
    }
    bool keeps = c->expiry_ms == KEEP;
    g_assert_cmpstr(left->str, ==, c->left);
    g_assert_cmpuint(decision->record.value.size, ==, left->len);
    g_assert_cmpint(decision->record.expiry_ms, ==, keeps ? FAR_MS : c->expiry_ms);
    g_assert_cmpuint(decision->record.client_flags, ==,
                     keeps || strcmp(c->op, "touch") == 0 ? 5
                     : strcmp(c->op, "incr") == 0         ? 0
                                                          : 6);
    bool is_touch = strcmp(c->op, "touch") == 0;
    bool is_arith = strcmp(c->op, "incr") == 0 || strcmp(c->op, "decr") == 0;
    bool keeps_marks = is_touch || (is_arith && c->old != NULL);
    g_assert_cmpuint(decision->record.marks, ==, keeps_marks ? YK_RECORD_STALE | YK_RECORD_WON : 0);
    g_assert_cmpuint(decision->record.cas, ==,
                     strchr(c->options, 'n') != NULL ? 99
                     : is_touch                      ? 7
                                                     : 0);
    g_assert_cmpuint(decision->number, ==, is_touch || is_arith ? c->number : left->len);
}

static void
test_decide(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(decision_cases); i++) {
        const struct decision_case *c = &decision_cases[i];
        struct yk_request request = request_of(c);
        struct yk_record old = {.version = 7,
                                .expiry_ms = FAR_MS,
                                .client_flags = 5,
                                .marks = YK_RECORD_STALE | YK_RECORD_WON};
        struct yk_decision decision;
        old.value = yk_slice_of_text(c->old != NULL ? c->old : "");
        g_test_message("case %zu: %s of %s", i, c->op, c->old);
        yk_decide(&request, c->old != NULL ? &old : NULL, NOW_MS, 25, &decision);
        g_assert_cmpint(decision.result, ==, c->result);
        g_assert_true(decision.is_change == (c->result == YK_OK));
        if (c->result == YK_OK) {
            check_left(c, &decision);
        }
        if (strcmp(c->op, "set") != 0 || strpbrk(c->options, "cC") != NULL) {
            g_assert_true(yk_decide_needs_old(&request));
        }
    }
}

/* The client's own CAS, where it gave one, is what is compared. */
static void
test_decide_cas(void)
{
    struct yk_record old = {.version = 7, .cas = 1234, .value = yk_slice_of("a", 1)};
    struct yk_request request = {.op = YK_OP_DELETE, .flags = YK_REQUEST_CAS, .cas = 7};
    struct yk_decision decision;
    yk_decide(&request, &old, NOW_MS, 25, &decision);
    g_assert_cmpint(decision.result, ==, YK_EEXISTS);
    request.cas = 1234;
    yk_decide(&request, &old, NOW_MS, 25, &decision);
    g_assert_cmpint(decision.result, ==, YK_OK);
}

/* What is agreed upon by marks. The record there has version 7, client flags 5 and the value "old";
 * the request cas 8 or as said, new cas 99, client flags 6 and the value "new". */
struct mark_case {
    enum yk_opcode op;
    uint32_t mode, flags; /* enum yk_request_flags */
    bool has_old;
    uint32_t old_marks;
    struct yk_ttl ttl; /* expiry, vivify and recache */
    uint64_t cas;
    uint32_t reply_flags;
    bool is_change;
    uint32_t marks; /* after it, as what follows */
    int64_t expiry_ms;
    uint64_t shown_cas; /* 0: the new version */
    const char *value;
};

#define STALE YK_RECORD_STALE
#define WON   YK_RECORD_WON
#define IS_X  YK_REPLY_STALE
#define IS_W  YK_REPLY_WON
#define IS_Z  YK_REPLY_TAKEN
#define GET   YK_OP_GET, 0
#define Q(x)  YK_REQUEST_##x

static const struct mark_case mark_cases[] = {
    {GET, 0, true, 0, {0}, 0, 0, false, 0, FAR_MS, 7, "old"},
    {GET, Q(WIN), true, 0, {0}, 0, 0, false, 0, FAR_MS, 7, "old"},
    {GET, 0, true, STALE, {0}, 0, IS_X, false, STALE, FAR_MS, 7, "old"},
    {GET, Q(WIN), true, STALE, {0}, 0, IS_X | IS_W, true, STALE | WON, FAR_MS, 7, "old"},
    {GET, Q(WIN), true, STALE | WON, {0}, 0, IS_X | IS_Z, false, STALE | WON, FAR_MS, 7, "old"},
    {GET, Q(WIN), true, WON, {0}, 0, IS_Z, false, WON, FAR_MS, 7, "old"},
    {GET, Q(RECACHE), true, 0, FOR(6000), 0, IS_W, true, WON, FAR_MS, 7, "old"},
    {GET, Q(RECACHE), true, 0, FOR(5000), 0, 0, false, 0, FAR_MS, 7, "old"},
    {GET, Q(RECACHE), true, WON, FOR(6000), 0, IS_Z, false, WON, FAR_MS, 7, "old"},
    {GET, Q(RECACHE), true, 0, {0}, 0, 0, false, 0, FAR_MS, 7, "old"},
    {GET, Q(RECACHE), true, 0, FOR(-1), 0, 0, false, 0, FAR_MS, 7, "old"},
    {GET, Q(TOUCH), true, STALE, FOR(10), 0, IS_X, true, STALE, NOW_MS + 10, 7, "old"},
    {GET, Q(TOUCH), true, 0, FOR(5000), 0, 0, false, 0, FAR_MS, 7, "old"},
    {GET, Q(TOUCH) | Q(NEW_CAS), true, 0, {0}, 0, 0, true, 0, 0, 7, "old"},
    {GET, Q(TOUCH) | Q(RECACHE), true, 0, FOR(9000), 0, IS_W, true, WON, NOW_MS + 9000, 7, "old"},
    {GET, Q(TOUCH), true, 0, FOR(-1), 0, 0, true, 0, 1, 7, "old"},
    {GET, Q(VIVIFY), false, 0, FOR(10), 0, IS_W, true, WON, NOW_MS + 10, 0, ""},
    {GET, Q(VIVIFY) | Q(NEW_CAS), false, 0, {0}, 0, IS_W, true, WON, 0, 99, ""},
    {GET, Q(VIVIFY) | Q(WIN), true, WON, FOR(10), 0, IS_Z, false, WON, FAR_MS, 7, "old"},
    {YK_OP_STORE,
     YK_MODE_SET,
     Q(CAS) | Q(INVALIDATE),
     true,
     0,
     {0},
     6,
     0,
     true,
     STALE,
     FAR_MS,
     0,
     "new"},
    {YK_OP_STORE, YK_MODE_SET, Q(CAS) | Q(INVALIDATE), true, WON, FOR(10), 6, 0, true, STALE | WON,
     FAR_MS, 0, "new"},
    {YK_OP_STORE,
     YK_MODE_REPLACE,
     Q(CAS) | Q(INVALIDATE) | Q(NEW_CAS),
     true,
     0,
     {0},
     6,
     0,
     true,
     STALE,
     FAR_MS,
     99,
     "new"},
    {YK_OP_STORE,
     YK_MODE_SET,
     Q(CAS) | Q(INVALIDATE),
     true,
     STALE,
     {0},
     7,
     0,
     true,
     0,
     0,
     0,
     "new"},
    {YK_OP_STORE, YK_MODE_SET, Q(INVALIDATE), true, STALE | WON, {0}, 0, 0, true, 0, 0, 0, "new"},
    {YK_OP_DELETE, 0, Q(INVALIDATE), true, WON, FOR(10), 0, 0, true, STALE, FAR_MS, 0, "old"},
    {YK_OP_DELETE, 0, Q(INVALIDATE) | Q(TOUCH), true, 0, FOR(10), 0, 0, true, STALE, NOW_MS + 10, 0,
     "old"},
    {YK_OP_DELETE,
     0,
     Q(INVALIDATE) | Q(NEW_CAS),
     true,
     0,
     {0},
     0,
     0,
     true,
     STALE,
     FAR_MS,
     99,
     "old"},
    {YK_OP_DELETE, 0, Q(DROP_VALUE), true, STALE, {0}, 0, 0, true, 0, 0, 7, ""},
    {YK_OP_DELETE, 0, Q(DROP_VALUE) | Q(TOUCH), true, WON, FOR(10), 0, 0, true, 0, NOW_MS + 10, 7,
     ""},
    {YK_OP_DELETE, 0, Q(DROP_VALUE) | Q(INVALIDATE), true, WON, {0}, 0, 0, true, STALE, 0, 0, ""},
    {YK_OP_TOUCH, 0, 0, true, STALE | WON, FOR(10), 0, 0, true, STALE | WON, NOW_MS + 10, 7, "old"},
};

static void
check_marked(const struct mark_case *c, const struct yk_decision *decision)
{
    g_autoptr(GString) value = g_string_new(NULL);
    for (int i = 0; i < 2; i++) {
        g_string_append_len(value, decision->parts[i].data, (gssize)decision->parts[i].size);
    }
    g_assert_cmpstr(value->str, ==, c->value);
    g_assert_cmpuint(decision->record.marks, ==, c->marks);
    g_assert_cmpint(decision->record.expiry_ms, ==, c->expiry_ms);
    g_assert_cmpuint(decision->record.cas, ==, c->shown_cas);
}

static void
test_decide_marks(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(mark_cases); i++) {
        const struct mark_case *c = &mark_cases[i];
        struct yk_request request = {.op = (uint16_t)c->op,
                                     .mode = (uint16_t)c->mode,
                                     .flags = c->flags,
                                     .client_flags = 6,
                                     .value = yk_slice_of("new", 3),
                                     .cas = c->cas,
                                     .new_cas = 99,
                                     .expiry = c->ttl,
                                     .vivify = c->ttl,
                                     .recache = c->ttl};
        struct yk_record old = {.version = 7,
                                .expiry_ms = FAR_MS,
                                .client_flags = 5,
                                .marks = c->old_marks,
                                .value = yk_slice_of("old", 3)};
        struct yk_decision decision;
        g_test_message("case %zu", i);
        yk_decide(&request, c->has_old ? &old : NULL, NOW_MS, 25, &decision);
        g_assert_cmpint(decision.result, ==, YK_OK);
        g_assert_true(decision.is_change == c->is_change);
        g_assert_cmpuint(decision.reply_flags, ==, c->reply_flags);
        g_assert_true(decision.is_delete == (c->is_change && c->expiry_ms == 1));
        g_assert_true(yk_decide_needs_old(&request) || c->flags == Q(INVALIDATE));
        check_marked(c, &decision);
    }
}

/* What marks do not help: a newer cas, none, and a record that is not there. */
static void
test_decide_marks_refused(void)
{
    static const struct {
        uint32_t op, mode, flags;
        uint64_t cas;
        bool has_old;
        enum yk_err result;
    } cases[] = {
        {GET, 0, 0, false, YK_ENOTFOUND},
        {GET, Q(WIN) | Q(RECACHE) | Q(TOUCH), 0, false, YK_ENOTFOUND},
        {YK_OP_STORE, YK_MODE_SET, Q(CAS) | Q(INVALIDATE), 8, true, YK_EEXISTS},
        {YK_OP_STORE, YK_MODE_SET, Q(CAS) | Q(INVALIDATE), 0, true, YK_EEXISTS},
        {YK_OP_STORE, YK_MODE_APPEND, Q(CAS) | Q(INVALIDATE), 6, true, YK_EEXISTS},
        {YK_OP_STORE, YK_MODE_SET, Q(CAS) | Q(INVALIDATE), 6, false, YK_ENOTFOUND},
        {YK_OP_DELETE, 0, Q(INVALIDATE) | Q(CAS), 6, true, YK_EEXISTS},
        {YK_OP_DELETE, 0, Q(INVALIDATE) | Q(DROP_VALUE), 0, false, YK_ENOTFOUND},
        {YK_OP_ARITH, YK_MODE_INCR, Q(TOUCH), 0, false, YK_ENOTFOUND},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_request request = {.op = (uint16_t)cases[i].op,
                                     .mode = (uint16_t)cases[i].mode,
                                     .flags = cases[i].flags,
                                     .cas = cases[i].cas};
        struct yk_record old = {.version = 7, .value = yk_slice_of("old", 3)};
        struct yk_decision decision;
        yk_decide(&request, cases[i].has_old ? &old : NULL, NOW_MS, 25, &decision);
        g_assert_cmpint(decision.result, ==, cases[i].result);
        g_assert_false(decision.is_change);
    }
}

/* A record that was stored under a larger limit is still marked and touched. */
static void
test_decide_large_old(void)
{
    struct yk_record old = {
        .version = 7, .marks = YK_RECORD_STALE, .value = yk_slice_of("0123456789", 10)};
    struct yk_request request = {.op = YK_OP_GET, .flags = YK_REQUEST_WIN};
    struct yk_decision decision;
    yk_decide(&request, &old, NOW_MS, 5, &decision);
    g_assert_cmpint(decision.result, ==, YK_OK);
    g_assert_true(decision.is_change);
}

/* An incr may name the client's own CAS, and set a new expiry. */
static void
test_decide_arith_touch(void)
{
    struct yk_record old = {
        .version = 7, .cas = 3, .expiry_ms = FAR_MS, .value = yk_slice_of("5", 1)};
    struct yk_request request = {.op = YK_OP_ARITH,
                                 .mode = YK_MODE_INCR,
                                 .flags = YK_REQUEST_TOUCH | YK_REQUEST_CAS,
                                 .cas = 3,
                                 .delta = 1,
                                 .expiry = FOR(10)};
    struct yk_decision decision;
    yk_decide(&request, &old, NOW_MS, 25, &decision);
    g_assert_cmpint(decision.result, ==, YK_OK);
    g_assert_cmpint(decision.record.expiry_ms, ==, NOW_MS + 10);
    g_assert_cmpuint(decision.record.cas, ==, 0);
}

/* Which operations a lane must take as writes from the start. */
static void
test_is_write(void)
{
    static const struct {
        uint32_t op, flags;
        bool is_write;
    } cases[] = {
        {YK_OP_GET, 0, false},         {YK_OP_GET, Q(WIN) | Q(HINT) | Q(VALUE), false},
        {YK_OP_GET, Q(TOUCH), true},   {YK_OP_GET, Q(VIVIFY), true},
        {YK_OP_GET, Q(RECACHE), true}, {YK_OP_STORE, 0, true},
        {YK_OP_FLUSH, 0, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_op op = {.request = {.op = (uint16_t)cases[i].op, .flags = cases[i].flags}};
        g_assert_true(yk_op_is_write(&op) == cases[i].is_write);
        g_assert_true(yk_op_has_key(&op) == (cases[i].op != YK_OP_FLUSH));
    }
}

/* -- Chunks and figures. -- */

static bool
keep_odd(void *arg, struct yk_slice key, const struct yk_record *record)
{
    uint64_t *n = arg;
    (*n)++;
    return record->version % 2 == 1;
}

static void
test_chunk(gconstpointer with_values)
{
    struct yk_scan_state *state = yk_scan_state_new(100, 400, with_values != NULL);
    struct yk_record record = {.expiry_ms = 5, .client_flags = 6, .cas = 7};
    struct yk_slice key;
    char value[500];
    size_t offset = 0;
    uint64_t n = 0, n_seen = 0, n_asked = 0;
    g_assert_false(yk_chunk_next(state, &offset, &key, &record));
    memset(value, 'v', sizeof(value));
    for (record.version = 1;; record.version++) {
        g_autofree char *name = g_strdup_printf("key%d", (int)record.version);
        record.value = yk_slice_of(value, 20 + record.version);
        if (!yk_chunk_add(state, yk_slice_of_text(name), &record)) {
            break;
        }
        n++;
    }
    g_assert_false(state->no_memory);
    g_assert_cmpuint(n, >=, 4);
    g_assert_cmpuint(state->chunk_used, <=, 400);
    yk_chunk_filter(state, keep_odd, &n_asked);
    g_assert_cmpuint(n_asked, ==, n);
    while (yk_chunk_next(state, &offset, &key, &record)) {
        g_autofree char *name = g_strdup_printf("key%d", (int)record.version);
        n_seen++;
        g_assert_cmpuint(record.version, ==, n_seen * 2 - 1);
        g_assert_true(yk_slice_equal(key, yk_slice_of_text(name)));
        g_assert_cmpuint(record.value.size, ==, 20 + record.version);
        g_assert_true((record.value.data != NULL) == (with_values != NULL));
        g_assert_cmpint(record.expiry_ms, ==, 5);
        g_assert_cmpuint(record.client_flags, ==, 6);
        g_assert_cmpuint(record.cas, ==, 7);
    }
    g_assert_cmpuint(n_seen, ==, (n + 1) / 2);
    yk_scan_state_free(state);
}

/* The first record is taken however large it is; the next is not. */
static void
test_chunk_large(void)
{
    struct yk_scan_state *state = yk_scan_state_new(100, 100, true);
    g_autofree char *value = g_strnfill(5000, 'v');
    struct yk_record record = {.version = 1, .value = yk_slice_of(value, 5000)};
    struct yk_slice key;
    size_t offset = 0;
    for (int round = 0; round < 2; round++) {
        g_assert_true(yk_chunk_add(state, yk_slice_of("a", 1), &record));
        g_assert_false(yk_chunk_add(state, yk_slice_of("b", 1), &record));
        offset = 0;
        g_assert_true(yk_chunk_next(state, &offset, &key, &record));
        g_assert_cmpuint(record.value.size, ==, 5000);
        g_assert_false(yk_chunk_next(state, &offset, &key, &record));
        record.value = yk_slice_of(value, 5000);
        state->chunk_used = 0;
    }
    state->cursor.size = 3;
    state->is_end = true;
    yk_scan_state_restart(state);
    g_assert_cmpuint(state->cursor.size, ==, 0);
    g_assert_false(state->is_end);
    g_assert_cmpuint(state->cursor.size_max, >=, 100 + 4 + 32);
    yk_scan_state_free(state);
    yk_scan_state_free(NULL);
}

static void
test_figures(void)
{
    struct yk_figures figures = {.n = 0};
    char name[100];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    yk_figures_add(&figures, "a", 1);
    yk_figures_add(&figures, "ab", 10);
    yk_figures_add(&figures, "a", 2);
    yk_figures_add(&figures, name, 4);
    yk_figures_add(&figures, name, 5);
    g_assert_cmpuint(figures.n, ==, 3);
    g_assert_cmpuint(yk_figures_get(&figures, "a"), ==, 3);
    g_assert_cmpuint(yk_figures_get(&figures, "ab"), ==, 10);
    g_assert_cmpuint(yk_figures_get(&figures, "b"), ==, 0);
    name[YK_FIGURE_NAME_SIZE - 1] = '\0';
    g_assert_cmpuint(yk_figures_get(&figures, name), ==, 9);
    for (int i = 0; i < 2 * YK_FIGURES_MAX; i++) {
        g_snprintf(name, sizeof(name), "n%d", i);
        yk_figures_add(&figures, name, 1);
    }
    yk_figures_add(&figures, "a", 1);
    g_assert_cmpuint(figures.n, ==, YK_FIGURES_MAX);
    g_assert_cmpuint(yk_figures_get(&figures, "a"), ==, 4);
    g_assert_cmpuint(yk_figures_get(&figures, "n0"), ==, 1);
    g_assert_cmpuint(yk_figures_get(&figures, "n200"), ==, 0);
}

/* -- The budget. -- */

static void
test_budget(void)
{
    struct yk_shared_budget shared;
    const struct yk_budget *budget = &shared.budget;
    yk_budget_init(&shared, 100);
    g_assert_true(budget->take(budget, 0));
    g_assert_false(budget->take(budget, 101));
    g_assert_false(budget->take(budget, UINT64_MAX));
    g_assert_true(budget->take(budget, 60));
    g_assert_false(budget->take(budget, 41));
    g_assert_true(budget->take(budget, 40));
    g_assert_true(budget->take(budget, 0)); /* full, but not over */
    g_assert_false(budget->take(budget, 1));
    g_assert_cmpint(yk_budget_set_max(&shared, 0), ==, YK_EINVALID);
    g_assert_cmpint(yk_budget_set_max(&shared, 99), ==, YK_OK);
    g_assert_false(budget->take(budget, 0));
    budget->give(budget, 1);
    g_assert_true(budget->take(budget, 0));
    g_assert_cmpint(yk_budget_set_max(&shared, UINT64_MAX), ==, YK_OK);
    g_assert_false(budget->take(budget, UINT64_MAX - 98));
    g_assert_true(budget->take(budget, UINT64_MAX - 99));
    yk_budget_init(&shared, 1000);
    g_assert_true(budget->take(budget, 900));
    g_assert_cmpuint(budget->missing(budget), ==, 0);
    budget->want(budget, 130);
    budget->want(budget, 120); /* the most counts */
    g_assert_cmpuint(budget->missing(budget), ==, 30);
    g_assert_true(budget->take(budget, 50)); /* it is for the engines to heed it */
    g_assert_cmpuint(budget->missing(budget), ==, 80);
    budget->want(budget, 5000);
    g_assert_cmpuint(budget->missing(budget), ==, 200); /* a quarter of the whole at most */
    g_assert_cmpint(yk_budget_set_max(&shared, 800), ==, YK_OK);
    g_assert_cmpuint(budget->missing(budget), ==, 350);
    yk_budget_init(&shared, 0);
    budget->want(budget, 5000);
    g_assert_cmpuint(budget->missing(budget), ==, 0);
    g_assert_true(budget->take(budget, UINT64_MAX / 2));
    g_assert_cmpint(yk_budget_set_max(&shared, 100), ==, YK_EINVALID);
    g_assert_cmpuint(yk_budget_max(&shared), ==, 0);
}

/* -- Stacks. -- */

static GString *events;
static const char *failing_step; /* "open b" */
static const struct yk_backend_place *lent_place;

struct fake {
    const char *name;
    const struct yk_host *host;
};

static enum yk_err
note(const char *what, const char *name)
{
    g_autofree char *event = g_strdup_printf("%s %s", what, name);
    g_string_append_printf(events, "%s; ", event);
    return g_strcmp0(event, failing_step) == 0 ? YK_EIO : YK_OK;
}

static enum yk_err
fake_create(const struct yk_host *host, const char *name, void **ret_self)
{
    enum yk_err result = note("create", name);
    if (result == YK_OK) {
        struct fake *fake = g_new0(struct fake, 1);
        *fake = (struct fake){name, host};
        *ret_self = fake;
    }
    return result;
}

static enum yk_err
create_engine(const struct yk_host *host, void **ret_self)
{
    return fake_create(host, "engine", ret_self);
}

static enum yk_err
create_a(const struct yk_host *host, void **ret_self)
{
    return fake_create(host, "a", ret_self);
}

static enum yk_err
create_b(const struct yk_host *host, void **ret_self)
{
    return fake_create(host, "b", ret_self);
}

static void
fake_destroy(void *self)
{
    (void)note("destroy", ((struct fake *)self)->name);
    g_free(self);
}

static enum yk_err
fake_open(void *self, const struct yk_backend_place *place)
{
    struct fake *fake = self;
    enum yk_err result = note("open", fake->name);
    lent_place = place;
    if (result != YK_OK) {
        fake->host->error(fake->host, "the %s is stuck", fake->name);
    }
    return result;
}

static void
fake_close(void *self)
{
    (void)note("close", ((struct fake *)self)->name);
    g_assert_cmpstr(lent_place->bucket, ==, "main"); /* lent until now */
    g_assert_cmpstr(lent_place->folder, ==, "/folder");
}

static void
engine_info(void *self, struct yk_backend_info *info)
{
    info->key_size_max = 54;
    info->value_size_max = 1000;
}

static void
b_info(void *self, struct yk_backend_info *info)
{
    info->value_size_max -= 100;
}

static enum yk_err
engine_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
           struct yk_call *call)
{
    return note("get", "engine");
}

static enum yk_err
engine_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    return note("apply", "engine");
}

static enum yk_err
engine_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
            void *arg, bool *ret_end, struct yk_call *call)
{
    *ret_end = true;
    return note("scan", "engine");
}

static enum yk_err
engine_admit(void *self, const struct yk_change *change)
{
    return note("admit", "engine");
}

static enum yk_err
engine_count(void *self, uint64_t *ret_records)
{
    *ret_records = 42;
    return YK_OK;
}

static enum yk_err
filter_get(void *self, struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
           void *arg, struct yk_call *call)
{
    enum yk_err result = note("get", ((struct fake *)self)->name);
    return result == YK_OK ? next->get(next, keys, n, fn, arg, call) : result;
}

static enum yk_err
filter_admit(void *self, struct yk_next *next, const struct yk_change *change)
{
    enum yk_err result = note("admit", ((struct fake *)self)->name);
    return result == YK_OK ? next->admit(next, change) : result;
}

static const struct yk_backend_ops engine_ops = {
    .struct_size = sizeof(engine_ops),
    .life = {.create = create_engine, .destroy = fake_destroy},
    .info = engine_info,
    .open = fake_open,
    .close = fake_close,
    .get = engine_get,
    .apply = engine_apply,
    .scan = engine_scan,
    .admit = engine_admit,
    .count = engine_count,
};
static const struct yk_filter_ops a_ops = {.struct_size = sizeof(a_ops),
                                           .life = {.create = create_a, .destroy = fake_destroy},
                                           .open = fake_open,
                                           .close = fake_close,
                                           .get = filter_get,
                                           .admit = filter_admit};
static const struct yk_filter_ops b_ops = {.struct_size = sizeof(b_ops),
                                           .life = {.create = create_b, .destroy = fake_destroy},
                                           .info = b_info,
                                           .open = fake_open,
                                           .close = fake_close,
                                           .get = filter_get};
/* As an old plugin has them: what lies beyond struct_size does not count. */
static const struct yk_filter_ops short_ops = {
    .struct_size = offsetof(struct yk_filter_ops, get),
    .life = {.create = create_a, .destroy = fake_destroy},
    .open = fake_open,
    .close = fake_close,
    .get = filter_get,
    .admit = filter_admit};
static const struct yk_plugin engine = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
                                        .name = "engine", .ops = &engine_ops};
static const struct yk_plugin filter_a = {YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
                                          .name = "a", .ops = &a_ops};
static const struct yk_plugin filter_b = {YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
                                          .name = "b", .ops = &b_ops};
static const struct yk_plugin filter_short = {YK_PLUGIN_HEAD(YK_KIND_FILTER, YK_FILTER_ABI),
                                              .name = "a", .ops = &short_ops};
static const struct yk_world no_world;

struct setup {
    struct yk_settings *backend, *filters[2];
    struct yk_stack_config config;
    struct yk_shared_budget budget;
    char error[YK_ERROR_SIZE];
};

static char folder[] = "/folder";

static const char *
make_folder(void *arg, const struct yk_backend_place *place, char *error)
{
    g_assert_cmpuint(place->lane, ==, 2);
    return arg;
}

static void
setup_init(struct setup *setup, const struct yk_plugin *outer)
{
    *setup =
        (struct setup){.backend = yk_settings_new(&engine, "engine"),
                       .filters = {yk_settings_new(outer, "a"), yk_settings_new(&filter_b, "b")}};
    setup->config = (struct yk_stack_config){
        .world = &no_world,
        .backend = setup->backend,
        .filters = setup->filters,
        .n_filters = 2,
        .place = {.lane = 2, .n_lanes = 4, .bucket = "main", .budget = &setup->budget.budget},
        .make_folder = make_folder,
        .arg = folder,
        .value_size_max = 836,
        .key_size_max = 50};
    yk_budget_init(&setup->budget, 0);
    events = g_string_new(NULL);
    failing_step = NULL;
}

static void
setup_done(struct setup *setup)
{
    yk_settings_free(setup->backend);
    yk_settings_free(setup->filters[0]);
    yk_settings_free(setup->filters[1]);
    g_string_free(events, TRUE);
}

static void
test_stack_calls(void)
{
    struct setup setup;
    struct yk_stack *stack;
    struct yk_figures figures = {.n = 0};
    struct yk_change change = {.kind = YK_CHANGE_DELETE};
    bool is_end = false;
    setup_init(&setup, &filter_a);
    g_assert_cmpint(yk_stack_open(&setup.config, &stack, setup.error), ==, YK_OK);
    g_assert_cmpstr(events->str, ==,
                    "create engine; create b; create a; open engine; open b; open a; ");
    g_assert_cmpuint(yk_stack_info(stack)->value_size_max, ==, 900);
    g_string_truncate(events, 0);
    g_assert_cmpint(yk_stack_get(stack, NULL, 0, NULL, NULL, NULL), ==, YK_OK);
    g_assert_cmpint(yk_stack_admit(stack, &change), ==, YK_OK);
    g_assert_cmpint(yk_stack_apply(stack, &change, 1, NULL), ==, YK_OK);
    g_assert_cmpint(yk_stack_scan(stack, NULL, NULL, NULL, NULL, &is_end, NULL), ==, YK_OK);
    g_assert_true(is_end);
    g_assert_cmpstr(events->str, ==,
                    "get a; get b; get engine; admit a; admit engine; apply engine; scan engine; ");
    g_string_truncate(events, 0);
    failing_step = "get b";
    g_assert_cmpint(yk_stack_get(stack, NULL, 0, NULL, NULL, NULL), ==, YK_EIO);
    g_assert_cmpstr(events->str, ==, "get a; get b; ");
    yk_stack_figures(stack, yk_figures_add, &figures);
    g_assert_cmpuint(yk_figures_get(&figures, "curr_items"), ==, 42);
    g_string_truncate(events, 0);
    yk_stack_close(stack);
    g_assert_cmpstr(events->str, ==,
                    "close a; destroy a; close b; destroy b; close engine; destroy engine; ");
    yk_stack_close(NULL);
    setup_done(&setup);
}

static void
test_stack_short(void)
{
    struct setup setup;
    struct yk_stack *stack;
    struct yk_change change = {.kind = YK_CHANGE_DELETE};
    setup_init(&setup, &filter_short);
    g_assert_cmpint(yk_stack_open(&setup.config, &stack, setup.error), ==, YK_OK);
    g_string_truncate(events, 0);
    g_assert_cmpint(yk_stack_get(stack, NULL, 0, NULL, NULL, NULL), ==, YK_OK);
    g_assert_cmpint(yk_stack_admit(stack, &change), ==, YK_OK);
    g_assert_cmpstr(events->str, ==, "get b; get engine; admit engine; ");
    yk_stack_close(stack);
    setup_done(&setup);
}

static void
test_stack_failures(void)
{
    static const struct {
        const char *step, *events, *error;
    } cases[] = {
        {"create engine", "create engine; ", "engine: cannot create"},
        {"create a", "create engine; create b; create a; destroy b; destroy engine; ", "a: "},
        {"open engine",
         "create engine; create b; create a; open engine; destroy a; destroy b; destroy engine; ",
         "engine: cannot open lane 2 of bucket main: the engine is stuck"},
        {"open b",
         "create engine; create b; create a; open engine; open b; destroy a; destroy b; "
         "close engine; destroy engine; ",
         "b: cannot open lane 2 of bucket main: the b is stuck"},
        {"open a",
         "create engine; create b; create a; open engine; open b; open a; destroy a; close b; "
         "destroy b; close engine; destroy engine; ",
         "a: cannot open lane 2 of bucket main: the a is stuck"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct setup setup;
        struct yk_stack *stack = NULL;
        setup_init(&setup, &filter_a);
        failing_step = cases[i].step;
        g_assert_cmpint(yk_stack_open(&setup.config, &stack, setup.error), ==, YK_EIO);
        g_assert_null(stack);
        g_assert_cmpstr(events->str, ==, cases[i].events);
        g_assert_nonnull(g_strstr_len(setup.error, -1, i == 0 ? "engine" : cases[i].error));
        setup_done(&setup);
    }
}

/* A bucket that asks for more than the stack gives. */
static void
test_stack_limits(void)
{
    struct setup setup;
    struct yk_stack *stack = NULL;
    struct yk_backend_info info;
    setup_init(&setup, &filter_a);
    setup.config.key_size_max = 51; /* 54 less the prefix of four is 50 */
    g_assert_cmpint(yk_stack_open(&setup.config, &stack, setup.error), ==, YK_EINVALID);
    g_assert_nonnull(strstr(setup.error, "set key_size_max = 50"));
    setup.config.key_size_max = 50;
    setup.config.value_size_max = 837; /* 900 less 64 is 836 */
    g_assert_cmpint(yk_stack_open(&setup.config, &stack, setup.error), ==, YK_EINVALID);
    setup.config.value_size_max = 836;
    setup.config.place.may_evict = true;
    g_assert_cmpint(yk_stack_open(&setup.config, &stack, setup.error), ==, YK_EINVALID);
    g_assert_nonnull(strstr(setup.error, "evict = none"));
    setup.config.place.may_evict = false;
    setup.config.arg = NULL; /* the folder cannot be made */
    g_assert_cmpint(yk_stack_open(&setup.config, &stack, setup.error), ==, YK_EIO);
    g_assert_null(strstr(events->str, "open"));
    g_string_truncate(events, 0);
    g_assert_cmpint(yk_stack_ask(&setup.config, &info, setup.error), ==, YK_OK);
    g_assert_cmpuint(info.key_size_max, ==, 54);
    g_assert_cmpuint(info.value_size_max, ==, 900);
    g_assert_cmpstr(events->str, ==,
                    "create engine; create b; create a; destroy a; destroy b; destroy engine; ");
    setup_done(&setup);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/store/record/fields", test_record_fields);
    g_test_add_func("/store/record/in-place", test_record_in_place);
    g_test_add_func("/store/record/damage", test_record_damage);
    g_test_add_func("/store/record/cut", test_record_cut);
    g_test_add_func("/store/decide/table", test_decide);
    g_test_add_func("/store/decide/cas", test_decide_cas);
    g_test_add_func("/store/decide/marks", test_decide_marks);
    g_test_add_func("/store/decide/marks_refused", test_decide_marks_refused);
    g_test_add_func("/store/decide/large_old", test_decide_large_old);
    g_test_add_func("/store/decide/arith_touch", test_decide_arith_touch);
    g_test_add_func("/store/is_write", test_is_write);
    g_test_add_data_func("/store/chunk/names", NULL, test_chunk);
    g_test_add_data_func("/store/chunk/values", "", test_chunk);
    g_test_add_func("/store/chunk/large", test_chunk_large);
    g_test_add_func("/store/figures", test_figures);
    g_test_add_func("/store/budget", test_budget);
    g_test_add_func("/store/stack/calls", test_stack_calls);
    g_test_add_func("/store/stack/short", test_stack_short);
    g_test_add_func("/store/stack/failures", test_stack_failures);
    g_test_add_func("/store/stack/limits", test_stack_limits);
    return g_test_run();
}
