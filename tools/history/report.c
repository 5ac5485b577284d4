/* The verdict in words, and the operations around what nothing explains. */
#include <config.h>

#include "tools/history/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "tools/json.h"

enum { BEFORE = 8, AFTER = 6, SAME_VALUE_MAX = 4, SHOWN_MAX = 40, KEYS_SHOWN_MAX = 100 };

/* Printable, short, and with its size where it is cut. */
static char *
show(GBytes *bytes)
{
    gsize size;
    const unsigned char *data = g_bytes_get_data(bytes, &size);
    g_autoptr(GString) text = g_string_new("\"");
    for (gsize i = 0; i < size && i < SHOWN_MAX; i++) {
        if (data[i] < 0x20 || data[i] > 0x7e || data[i] == '"' || data[i] == '\\') {
            g_string_append_printf(text, "\\x%02x", data[i]);
        } else {
            g_string_append_c(text, (char)data[i]);
        }
    }
    g_string_append_c(text, '"');
    if (size > SHOWN_MAX) {
        g_string_append_printf(text, "... of %zu bytes", (size_t)size);
    }
    return g_strdup(text->str);
}

static uint64_t
line_of(const struct operation *operation)
{
    return operation->number & ((1ull << REPORT_LINE_BITS) - 1);
}

static char *
place_of(const struct report *report, const struct operation *operation)
{
    return g_strdup_printf("%s:%" PRIu64, report->files[operation->number >> REPORT_LINE_BITS],
                           line_of(operation));
}

static uint32_t
client_of(const struct report *report, const struct operation *operation)
{
    return g_array_index(report->clients, uint32_t, operation->connection);
}

/* The operation and its answer. */
static char *
story_of(const struct operation *operation)
{
    g_autoptr(GString) text = g_string_new(history_kind_name(operation->kind));
    bool is_ok = operation->result == RESULT_OK;
    bool reads = operation->kind == HISTORY_GET || operation->kind == HISTORY_GETS ||
                 operation->kind == HISTORY_GAT;
    g_autofree char *value = operation->value != NULL ? show(operation->value) : g_strdup("");
    if (operation->value != NULL && !reads) {
        g_string_append_printf(text, " %s", value);
    }
    if (operation->kind == HISTORY_CAS) {
        g_string_append_printf(text, " if %" PRIu64, operation->cas);
    }
    if (operation->kind == HISTORY_INCR || operation->kind == HISTORY_DECR) {
        g_string_append_printf(text, " by %" PRIu64, operation->delta);
    }
    if (operation->expiry_s != 0) {
        g_string_append_printf(text, " for %" PRId64 " s", operation->expiry_s);
    }
    g_string_append_printf(text, ": %s", history_result_name(operation->result));
    if (reads && operation->value != NULL) {
        g_string_append_printf(text, " %s", value);
    }
    if (operation->kind == HISTORY_GETS && is_ok) {
        g_string_append_printf(text, " cas %" PRIu64, operation->cas);
    }
    if (operation->value != NULL && operation->flags != 0) {
        g_string_append_printf(text, " flags %" PRIu32, operation->flags);
    }
    if ((operation->kind == HISTORY_INCR || operation->kind == HISTORY_DECR) && is_ok) {
        g_string_append_printf(text, " %" PRIu64, operation->shown);
    }
    return g_strdup(text->str);
}

static int
by_time(gconstpointer a, gconstpointer b)
{
    const struct operation *left = *(struct operation *const *)a;
    const struct operation *right = *(struct operation *const *)b;
    return left->invoked_us != right->invoked_us
               ? (left->invoked_us > right->invoked_us ? 1 : -1)
               : (left->number > right->number) - (left->number < right->number);
}

static bool
has_value(const struct operation *operation, const struct operation *other)
{
    return operation->value != NULL && other->value != NULL &&
           g_bytes_equal(operation->value, other->value);
}

/* The neighbours in time, and whoever else wrote or saw the value, wherever that is. */
static GPtrArray *
choose(const struct history_finding *finding)
{
    GPtrArray *all = g_ptr_array_new(), *chosen = g_ptr_array_new();
    struct operation *stuck = finding->operations[finding->stuck];
    uint32_t at = 0, n_same = 0;
    for (uint32_t i = 0; i < finding->n; i++) {
        g_ptr_array_add(all, finding->operations[i]);
    }
    g_ptr_array_sort(all, by_time);
    while (all->pdata[at] != stuck) {
        at++;
    }
    for (uint32_t i = 0; i < all->len; i++) {
        bool is_near = i + BEFORE >= at && i <= at + AFTER;
        bool is_same = !is_near && n_same < SAME_VALUE_MAX && has_value(all->pdata[i], stuck);
        n_same += is_same;
        if (is_near || is_same) {
            g_ptr_array_add(chosen, all->pdata[i]);
        }
    }
    g_ptr_array_free(all, TRUE);
    return chosen;
}

static void
print_story(const struct report *report, const struct history_finding *finding)
{
    g_autoptr(GPtrArray) chosen = choose(finding);
    for (guint i = 0; i < chosen->len; i++) {
        const struct operation *operation = chosen->pdata[i];
        g_autofree char *place = place_of(report, operation);
        g_autofree char *story = story_of(operation);
        g_autofree char *end = operation->returned_us == TIME_NEVER
                                   ? g_strdup("")
                                   : g_strdup_printf("%" PRId64, operation->returned_us);
        printf("  %c %s client %" PRIu32 " %" PRId64 "..%s %s\n",
               operation == finding->operations[finding->stuck] ? '>' : ' ', place,
               client_of(report, operation), operation->invoked_us, end, story);
    }
}

static void
add_story(const struct report *report, const struct history_finding *finding)
{
    GString *json = report->json;
    g_autoptr(GPtrArray) chosen = choose(finding);
    json_open(json, "operations", '[');
    for (guint i = 0; i < chosen->len; i++) {
        const struct operation *operation = chosen->pdata[i];
        g_autofree char *story = story_of(operation);
        json_open(json, NULL, '{');
        json_text(json, "file", report->files[operation->number >> REPORT_LINE_BITS]);
        json_number(json, "line", line_of(operation));
        json_number(json, "client", client_of(report, operation));
        json_number(json, "start", (uint64_t)operation->invoked_us);
        if (operation->returned_us == TIME_NEVER) {
            json_text(json, "end", NULL);
        } else {
            json_number(json, "end", (uint64_t)operation->returned_us);
        }
        json_text(json, "what", story);
        json_bool(json, "is_stuck", operation == finding->operations[finding->stuck]);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void
report_begin(struct report *report)
{
    report->json = g_string_new(NULL);
    json_open(report->json, NULL, '{');
    json_open(report->json, "found", '[');
}

void
report_key(struct report *report, const struct history_finding *finding)
{
    bool is_wrong = finding->verdict == HISTORY_WRONG;
    g_autofree char *key = show(report->keys->pdata[finding->key]);
    report->n_wrong += is_wrong;
    report->n_undecided += !is_wrong;
    if (report->n_wrong + report->n_undecided > KEYS_SHOWN_MAX) {
        return;
    }
    if (report->is_json) {
        json_open(report->json, NULL, '{');
        json_text(report->json, "key", key);
        json_text(report->json, "verdict", is_wrong ? "wrong" : "undecided");
        json_number(report->json, "explained", finding->n_explained);
        json_number(report->json, "of", finding->n_fixed);
        if (is_wrong) {
            add_story(report, finding);
        }
        json_close(report->json, '}');
    } else if (is_wrong) {
        g_autofree char *place = place_of(report, finding->operations[finding->stuck]);
        printf("WRONG key %s: no order explains the %s at %s; the best explains %" PRIu32
               " of %" PRIu32 " operations\n",
               key, history_kind_name(finding->operations[finding->stuck]->kind), place,
               finding->n_explained, finding->n_fixed);
        print_story(report, finding);
    } else {
        printf("UNDECIDED key %s: too many orders of its %" PRIu32 " operations\n", key,
               finding->n);
    }
}

void
report_end(struct report *report)
{
    const char *verdict = report->n_wrong > 0       ? "not linearizable"
                          : report->n_undecided > 0 ? "undecided"
                                                    : "linearizable";
    GString *json = report->json;
    if (report->is_json) {
        json_close(json, ']');
        json_number(json, "operations", report->n_operations);
        json_number(json, "unknown", report->n_unknown);
        json_number(json, "keys", report->keys->len);
        json_number(json, "clients", report->clients->len);
        json_number(json, "wrong", report->n_wrong);
        json_number(json, "undecided", report->n_undecided);
        json_text(json, "verdict", verdict);
        json_close(json, '}');
        puts(json->str);
    } else {
        printf("%" PRIu64 " operations (%" PRIu64
               " of unknown outcome) on %u keys by %u clients: %s",
               report->n_operations, report->n_unknown, report->keys->len, report->clients->len,
               verdict);
        if (report->n_wrong + report->n_undecided > 0) {
            printf(", %" PRIu64 " keys wrong, %" PRIu64 " undecided", report->n_wrong,
                   report->n_undecided);
        }
        putchar('\n');
    }
    g_string_free(json, TRUE);
}
