/* What a line must hold: which fields an operation has, and which results. */
#include <config.h>

#include "tools/history/record.h"

#include <stdio.h>
#include <string.h>

#include "core/base/limits.h"

enum { EXPIRY_MAX = 30 * 24 * 3600, SHOWN_MAX = 40 };

enum field {
    FIELD_OP,
    FIELD_KEY,
    FIELD_CLIENT,
    FIELD_START,
    FIELD_END,
    FIELD_RESULT,
    FIELD_VALUE,
    FIELD_VALUE64,
    FIELD_FLAGS,
    FIELD_CAS,
    FIELD_DELTA,
    FIELD_SHOWN,
    FIELD_EXPIRY,
    N_FIELDS,
};

static const char *const field_names[N_FIELDS] = {"op",     "key",   "client",  "start", "end",
                                                  "result", "value", "value64", "flags", "cas",
                                                  "delta",  "shown", "expiry"};

#define BIT(n) (1u << (n))
#define ALWAYS                                                                                     \
    (BIT(FIELD_OP) | BIT(FIELD_CLIENT) | BIT(FIELD_START) | BIT(FIELD_END) | BIT(FIELD_RESULT))
#define OF_KEY    (ALWAYS | BIT(FIELD_KEY))
#define OF_VALUE  (BIT(FIELD_VALUE) | BIT(FIELD_VALUE64))
#define OF_STORE  (OF_KEY | OF_VALUE | BIT(FIELD_FLAGS) | BIT(FIELD_EXPIRY))
#define OF_COUNT  (OF_KEY | BIT(FIELD_DELTA) | BIT(FIELD_SHOWN))
#define ANY_TIME  (BIT(RESULT_OK) | BIT(RESULT_FAILED) | BIT(RESULT_UNKNOWN))
#define OF_NUMBER (ANY_TIME | BIT(RESULT_MISS) | BIT(RESULT_NOT_NUMBER))

enum needs_value { VALUE_NEVER, VALUE_ALWAYS, VALUE_OF_HIT };

static const struct {
    uint32_t fields;  /* that it may have */
    uint32_t results; /* that it may have */
    enum needs_value value;
} ops[] = {
    [HISTORY_GET] = {OF_KEY | OF_VALUE | BIT(FIELD_FLAGS) | BIT(FIELD_CAS),
                     ANY_TIME | BIT(RESULT_MISS), VALUE_OF_HIT},
    [HISTORY_GETS] = {OF_KEY | OF_VALUE | BIT(FIELD_FLAGS) | BIT(FIELD_CAS),
                      ANY_TIME | BIT(RESULT_MISS), VALUE_OF_HIT},
    [HISTORY_GAT] = {OF_STORE, ANY_TIME | BIT(RESULT_MISS), VALUE_OF_HIT},
    [HISTORY_SET] = {OF_STORE, ANY_TIME, VALUE_ALWAYS},
    [HISTORY_ADD] = {OF_STORE, ANY_TIME | BIT(RESULT_REFUSED), VALUE_ALWAYS},
    [HISTORY_REPLACE] = {OF_STORE, ANY_TIME | BIT(RESULT_REFUSED), VALUE_ALWAYS},
    [HISTORY_APPEND] = {OF_KEY | OF_VALUE, ANY_TIME | BIT(RESULT_REFUSED), VALUE_ALWAYS},
    [HISTORY_PREPEND] = {OF_KEY | OF_VALUE, ANY_TIME | BIT(RESULT_REFUSED), VALUE_ALWAYS},
    [HISTORY_CAS] = {OF_STORE | BIT(FIELD_CAS), ANY_TIME | BIT(RESULT_MISS) | BIT(RESULT_EXISTS),
                     VALUE_ALWAYS},
    [HISTORY_INCR] = {OF_COUNT, OF_NUMBER, VALUE_NEVER},
    [HISTORY_DECR] = {OF_COUNT, OF_NUMBER, VALUE_NEVER},
    [HISTORY_DELETE] = {OF_KEY, ANY_TIME | BIT(RESULT_MISS), VALUE_NEVER},
    [HISTORY_TOUCH] = {OF_KEY | BIT(FIELD_EXPIRY), ANY_TIME | BIT(RESULT_MISS), VALUE_NEVER},
    [HISTORY_FLUSH] = {ALWAYS, ANY_TIME, VALUE_NEVER},
};

struct parse {
    struct record *record;
    uint32_t given; /* fields */
    uint64_t start_ns, end_ns;
};

static bool wrong(char *error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool
wrong(char *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, FLAT_ERROR_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

/* The value of a field as a complaint shows it. */
static char *
show(const struct flat_field *field)
{
    switch (field->kind) {
    case FLAT_NULL:
        return g_strdup("null");
    case FLAT_BOOL:
        return g_strdup(field->is_true ? "true" : "false");
    case FLAT_NUMBER:
        return g_strdup_printf("%s%" G_GUINT64_FORMAT, field->is_negative ? "-" : "",
                               field->number);
    default: {
        g_autofree char *start = g_strndup(
            field->text->str, field->text->len < SHOWN_MAX ? field->text->len : SHOWN_MAX);
        g_autofree char *escaped = g_strescape(start, NULL);
        return g_strdup_printf("\"%s\"%s", escaped, field->text->len > SHOWN_MAX ? "..." : "");
    }
    }
}

static bool
wrong_field(const struct flat_field *field, const char *allowed, char *error)
{
    g_autofree char *shown = show(field);
    return wrong(error, "%s is %s; allowed is %s", field->name, shown, allowed);
}

static bool
take_number(const struct flat_field *field, uint64_t most, uint64_t *ret_number, char *error)
{
    if (field->kind != FLAT_NUMBER || (field->is_negative && field->number > 0) ||
        field->number > most) {
        g_autofree char *allowed =
            g_strdup_printf("a whole number from 0 to %" G_GUINT64_FORMAT, most);
        return wrong_field(field, allowed, error);
    }
    *ret_number = field->number;
    return true;
}

static bool
take_expiry(const struct flat_field *field, int64_t *ret_expiry, char *error)
{
    if (field->kind != FLAT_NUMBER || field->number > (field->is_negative ? 1 : EXPIRY_MAX)) {
        return wrong_field(field,
                           "a whole number from -1 (at once) and 0 (never) to 2592000 "
                           "seconds",
                           error);
    }
    *ret_expiry = field->is_negative ? -(int64_t)field->number : (int64_t)field->number;
    return true;
}

static bool
is_text(const struct flat_field *field, const char *text)
{
    return field->kind == FLAT_TEXT && strlen(text) == field->text->len &&
           memcmp(text, field->text->str, field->text->len) == 0;
}

static bool
take_op(const struct flat_field *field, enum history_kind *ret_kind, char *error)
{
    g_autoptr(GString) allowed = g_string_new("one of");
    for (unsigned kind = 0; kind < G_N_ELEMENTS(ops); kind++) {
        if (is_text(field, history_kind_name(kind))) {
            *ret_kind = kind;
            return true;
        }
        g_string_append_printf(allowed, " %s", history_kind_name(kind));
    }
    return wrong_field(field, allowed->str, error);
}

static bool
take_result(const struct flat_field *field, enum history_result *ret_result, char *error)
{
    g_autoptr(GString) allowed = g_string_new("one of");
    for (unsigned result = RESULT_OK; result <= RESULT_UNKNOWN; result++) {
        if (is_text(field, history_result_name(result))) {
            *ret_result = result;
            return true;
        }
        g_string_append_printf(allowed, " %s", history_result_name(result));
    }
    return wrong_field(field, allowed->str, error);
}

static bool
take_bytes(const struct flat_field *field, uint64_t most, GBytes **ret_bytes, char *error)
{
    if (field->kind != FLAT_TEXT || field->text->len > most) {
        g_autofree char *allowed =
            g_strdup_printf("a text of at most %" G_GUINT64_FORMAT " bytes", most);
        return wrong_field(field, allowed, error);
    }
    *ret_bytes = g_bytes_new(field->text->str, field->text->len);
    return true;
}

static bool
take_base64(const struct flat_field *field, GBytes **ret_bytes, char *error)
{
    if (field->kind == FLAT_TEXT && strlen(field->text->str) == field->text->len) {
        gsize size;
        guchar *bytes = g_base64_decode(field->text->str, &size);
        g_autofree char *again = g_base64_encode(bytes, size);
        if (strcmp(again, field->text->str) == 0) {
            *ret_bytes = g_bytes_new_take(bytes, size);
            return true;
        }
        g_free(bytes);
    }
    return wrong_field(field, "base64 (RFC 4648) with its padding", error);
}

static bool
take_known(struct parse *parse, enum field which, const struct flat_field *field, char *error)
{
    struct record *record = parse->record;
    uint64_t number = 0;
    bool is_right;
    switch (which) {
    case FIELD_OP:
        return take_op(field, &record->kind, error);
    case FIELD_RESULT:
        return take_result(field, &record->result, error);
    case FIELD_KEY:
        return take_bytes(field, YK_KEY_SIZE_MAX, &record->key, error);
    case FIELD_VALUE:
        return take_bytes(field, YK_VALUE_SIZE_MAX, &record->value, error);
    case FIELD_VALUE64:
        return take_base64(field, &record->value, error);
    case FIELD_EXPIRY:
        return take_expiry(field, &record->expiry_s, error);
    case FIELD_CAS:
        return take_number(field, UINT64_MAX, &record->cas, error);
    case FIELD_DELTA:
        return take_number(field, UINT64_MAX, &record->delta, error);
    case FIELD_SHOWN:
        return take_number(field, UINT64_MAX, &record->shown, error);
    case FIELD_START:
        return take_number(field, INT64_MAX, &parse->start_ns, error);
    case FIELD_END:
        return take_number(field, INT64_MAX, &parse->end_ns, error);
    default:
        is_right = take_number(field, UINT32_MAX, &number, error);
        *(which == FIELD_CLIENT ? &record->client : &record->flags) = (uint32_t)number;
        return is_right;
    }
}

static bool
take_field(void *arg, const struct flat_field *field, char *error)
{
    struct parse *parse = arg;
    uint32_t which = 0;
    while (which < N_FIELDS && strcmp(field_names[which], field->name) != 0) {
        which++;
    }
    if (which == N_FIELDS) {
        g_autofree char *start = g_strndup(field->name, SHOWN_MAX);
        g_autofree char *escaped = g_strescape(start, NULL);
        g_autoptr(GString) allowed = g_string_new(NULL);
        for (uint32_t i = 0; i < N_FIELDS; i++) {
            g_string_append_printf(allowed, " %s", field_names[i]);
        }
        return wrong(error, "no field is named \"%s\"; there are%s", escaped, allowed->str);
    }
    uint32_t same = (OF_VALUE & BIT(which)) != 0 ? OF_VALUE : BIT(which);
    if ((parse->given & same) != 0) {
        return wrong(error, "%s stands there twice%s", field->name,
                     same == OF_VALUE ? ", as it is or in base64" : "");
    }
    /* An answer that did not come may be said so. */
    if (field->kind == FLAT_NULL && (which == FIELD_END || which == FIELD_RESULT)) {
        return true;
    }
    parse->given |= BIT(which);
    return take_known(parse, which, field, error);
}

static bool
is_given(const struct parse *parse, enum field field)
{
    return (parse->given & BIT(field)) != 0;
}

static bool
check_times(const struct parse *parse, char *error)
{
    const struct record *record = parse->record;
    if (!is_given(parse, FIELD_END)) {
        return !is_given(parse, FIELD_RESULT) || record->result == RESULT_UNKNOWN ||
               wrong(error,
                     "result is \"%s\" without an end; allowed without one is unknown, or none",
                     history_result_name(record->result));
    }
    if (!is_given(parse, FIELD_RESULT)) {
        return wrong(error, "result is missing, and there is an end");
    }
    return parse->end_ns >= parse->start_ns ||
           wrong(error,
                 "end is %" G_GUINT64_FORMAT "; allowed is start (%" G_GUINT64_FORMAT ") or later",
                 parse->end_ns, parse->start_ns);
}

/* What an operation needs by its answer. */
static bool
check_needs(const struct parse *parse, char *error)
{
    const struct record *record = parse->record;
    const char *op = history_kind_name(record->kind);
    bool is_ok = record->result == RESULT_OK;
    bool has_value = (parse->given & OF_VALUE) != 0;
    bool counts = record->kind == HISTORY_INCR || record->kind == HISTORY_DECR;
    enum needs_value needs = ops[record->kind].value;
    if (!has_value && (needs == VALUE_ALWAYS || (needs == VALUE_OF_HIT && is_ok))) {
        return wrong(error, "value (or value64) of a %s is missing", op);
    }
    if (has_value && needs == VALUE_OF_HIT && !is_ok) {
        return wrong(error, "value stands at a %s that found nothing", op);
    }
    if ((record->kind == HISTORY_CAS || (record->kind == HISTORY_GETS && is_ok)) &&
        !is_given(parse, FIELD_CAS)) {
        return wrong(error, "cas of a %s is missing", op);
    }
    if (counts && !is_given(parse, FIELD_DELTA)) {
        return wrong(error, "delta of a %s is missing", op);
    }
    return !counts || is_given(parse, FIELD_SHOWN) == is_ok ||
           wrong(error, "shown, the number answered, is %s a %s of result %s",
                 is_ok ? "missing at" : "given at", op, history_result_name(record->result));
}

static bool
check(const struct parse *parse, char *error)
{
    static const enum field needed[] = {FIELD_OP, FIELD_CLIENT, FIELD_START};
    const struct record *record = parse->record;
    for (size_t i = 0; i < G_N_ELEMENTS(needed); i++) {
        if (!is_given(parse, needed[i])) {
            return wrong(error, "%s is missing", field_names[needed[i]]);
        }
    }
    const char *op = history_kind_name(record->kind);
    if (record->kind != HISTORY_FLUSH && !is_given(parse, FIELD_KEY)) {
        return wrong(error, "key of a %s is missing", op);
    }
    for (uint32_t i = 0; i < N_FIELDS; i++) {
        if (is_given(parse, i) && (ops[record->kind].fields & BIT(i)) == 0) {
            return wrong(error, "a %s has no %s", op, field_names[i]);
        }
    }
    if (!check_times(parse, error)) {
        return false;
    }
    if (record->result != RESULT_NONE && (ops[record->kind].results & BIT(record->result)) == 0) {
        g_autoptr(GString) allowed = g_string_new(NULL);
        for (unsigned i = RESULT_OK; i <= RESULT_UNKNOWN; i++) {
            if ((ops[record->kind].results & BIT(i)) != 0) {
                g_string_append_printf(allowed, " %s", history_result_name(i));
            }
        }
        return wrong(error, "result of a %s is \"%s\"; allowed is one of%s", op,
                     history_result_name(record->result), allowed->str);
    }
    return check_needs(parse, error);
}

bool
record_read(const char *line, size_t size, struct record *ret_record, char *error)
{
    struct parse parse = {.record = ret_record};
    *ret_record = (struct record){.key = NULL};
    if (!flat_read(line, size, take_field, &parse, error) || !check(&parse, error)) {
        record_clear(ret_record);
        return false;
    }
    /* Outwards: what overlaps does so still. */
    ret_record->start_us = (int64_t)(parse.start_ns / 1000);
    ret_record->end_us = (int64_t)(parse.end_ns / 1000 + (parse.end_ns % 1000 != 0));
    if (ret_record->kind == HISTORY_GET && is_given(&parse, FIELD_CAS)) {
        ret_record->kind = HISTORY_GETS;
    }
    /* What nobody knows the outcome of may still happen long after it was said so. */
    if (ret_record->result == RESULT_UNKNOWN || ret_record->result == RESULT_NONE) {
        ret_record->result = RESULT_UNKNOWN;
        ret_record->end_us = TIME_NEVER;
    }
    return true;
}

void
record_clear(struct record *record)
{
    g_clear_pointer(&record->key, g_bytes_unref);
    g_clear_pointer(&record->value, g_bytes_unref);
}
