/* The search for an order that explains a history, key by key. */
#include <config.h>

#include "tests/sim/history.h"

#include <string.h>

#include "core/base/hash.h"

enum {
    STATES_MAX = 300000,    /* that a search looks at before it gives up */
    EXPIRY_SLACK_US = 1000, /* the store counts in milliseconds */
};

/* What a key holds. value NULL: nothing. The moment of its end is known only within the operation
 * that set it: between end_from and end_to; 0: it has none. */
struct state {
    GBytes *value;
    uint32_t flags;
    uint64_t cas; /* 0: not seen yet */
    int64_t end_from, end_to;
};

struct search {
    const struct history *history;
    struct operation **operations;
    uint32_t n;
    uint64_t *done; /* bits */
    uint32_t n_done;
    GHashTable *seen;  /* hashes of (done, state) */
    GPtrArray *values; /* made on the way, kept to the end */
    bool is_given_up;
    uint32_t deepest; /* how many operations the best order explained */
    struct operation *stuck;
};

struct history *
history_new(uint32_t n_keys, bool may_evict)
{
    struct history *history = g_new0(struct history, 1);
    history->operations = g_ptr_array_new();
    history->n_keys = n_keys;
    history->may_evict = may_evict;
    return history;
}

void
history_free(struct history *history)
{
    for (guint i = 0; i < history->operations->len; i++) {
        struct operation *operation = history->operations->pdata[i];
        g_clear_pointer(&operation->value, g_bytes_unref);
        g_free(operation);
    }
    g_ptr_array_free(history->operations, TRUE);
    g_free(history);
}

struct operation *
history_add(struct history *history, enum history_kind kind, uint32_t key)
{
    struct operation *operation = g_new0(struct operation, 1);
    operation->kind = kind;
    operation->key = key;
    operation->returned_us = TIME_NEVER;
    g_ptr_array_add(history->operations, operation);
    return operation;
}

/* The model */

static void
set_end(struct state *state, const struct operation *operation)
{
    if (operation->expiry_s == 0) {
        state->end_from = state->end_to = 0;
        return;
    }
    int64_t length_us = operation->expiry_s < 0 ? 0 : operation->expiry_s * 1000000;
    int64_t last =
        operation->returned_us == TIME_NEVER ? TIME_NEVER : operation->returned_us + length_us;
    state->end_from = operation->invoked_us + length_us - EXPIRY_SLACK_US;
    state->end_to = last == TIME_NEVER ? TIME_NEVER : last + EXPIRY_SLACK_US;
    if (operation->expiry_s < 0) {
        state->value = NULL;
    }
}

static bool
parse_number(GBytes *value, uint64_t *ret_number)
{
    gsize size;
    const char *text = g_bytes_get_data(value, &size);
    uint64_t number = 0;
    if (size == 0 || size > 20) {
        return false;
    }
    for (gsize i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' ||
            number > (UINT64_MAX - (uint64_t)(text[i] - '0')) / 10) {
            return false;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_number = number;
    return true;
}

static GBytes *
keep(struct search *search, GBytes *value)
{
    g_ptr_array_add(search->values, value);
    return value;
}

static GBytes *
join(struct search *search, GBytes *first, GBytes *second)
{
    GByteArray *bytes = g_byte_array_new();
    gsize size;
    const guint8 *data = g_bytes_get_data(first, &size);
    g_byte_array_append(bytes, data, (guint)size);
    data = g_bytes_get_data(second, &size);
    g_byte_array_append(bytes, data, (guint)size);
    return keep(search, g_byte_array_free_to_bytes(bytes));
}

static bool
is_done(const struct search *search, uint32_t index)
{
    return (search->done[index / 64] >> (index % 64) & 1) != 0;
}

/* Was the CAS unique shown by an earlier operation? Then it belongs to the version that was there,
 * and to no later one. */
static bool
was_shown(const struct search *search, uint64_t cas)
{
    for (uint32_t i = 0; i < search->n; i++) {
        const struct operation *operation = search->operations[i];
        if (operation->kind == HISTORY_GETS && operation->result == RESULT_OK &&
            operation->cas == cas && is_done(search, i)) {
            return true;
        }
    }
    return false;
}

/* What the model would answer, and the state after it. */
static enum history_result
write_value(const struct operation *operation, struct state *state)
{
    state->value = operation->value;
    state->flags = operation->flags;
    state->cas = 0;
    set_end(state, operation);
    return RESULT_OK;
}

static enum history_result
calculate(struct search *search, const struct operation *operation, struct state *state,
          uint64_t *ret_number)
{
    uint64_t number;
    if (state->value == NULL) {
        return RESULT_MISS;
    }
    if (!parse_number(state->value, &number)) {
        return RESULT_NOT_NUMBER;
    }
    if (operation->kind == HISTORY_INCR) {
        number += operation->delta;
    } else {
        number = number > operation->delta ? number - operation->delta : 0;
    }
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
    state->value = keep(search, g_bytes_new(text, strlen(text)));
    state->cas = 0;
    *ret_number = number;
    return RESULT_OK;
}

static enum history_result
change(struct search *search, const struct operation *operation, struct state *state,
       uint64_t *ret_number)
{
    bool is_there = state->value != NULL;
    switch (operation->kind) {
    case HISTORY_SET:
        return write_value(operation, state);
    case HISTORY_ADD:
        return is_there ? RESULT_REFUSED : write_value(operation, state);
    case HISTORY_REPLACE:
        return is_there ? write_value(operation, state) : RESULT_REFUSED;
    case HISTORY_CAS:
        if (!is_there) {
            return RESULT_MISS;
        }
        /* Which CAS unique the state has is not known before somebody was shown it: both may be. */
        if (state->cas != 0 && state->cas != operation->cas) {
            return RESULT_EXISTS;
        }
        if (state->cas == 0 &&
            (operation->result == RESULT_EXISTS || was_shown(search, operation->cas))) {
            return RESULT_EXISTS;
        }
        return write_value(operation, state);
    case HISTORY_APPEND:
    case HISTORY_PREPEND:
        if (!is_there) {
            return RESULT_REFUSED;
        }
        state->value = operation->kind == HISTORY_APPEND
                           ? join(search, state->value, operation->value)
                           : join(search, operation->value, state->value);
        state->cas = 0;
        return RESULT_OK;
    case HISTORY_INCR:
    case HISTORY_DECR:
        return calculate(search, operation, state, ret_number);
    case HISTORY_DELETE:
        state->value = NULL;
        return is_there ? RESULT_OK : RESULT_MISS;
    case HISTORY_FLUSH:
        state->value = NULL;
        return RESULT_OK;
    default:
        return RESULT_FAILED;
    }
}

/* A read, or a touch: is what it saw the state? */
static bool
look(const struct search *search, const struct operation *operation, struct state *state)
{
    bool touches = operation->kind == HISTORY_TOUCH || operation->kind == HISTORY_GAT;
    if (operation->result == RESULT_MISS) {
        return state->value == NULL;
    }
    if (state->value == NULL) {
        return operation->result == RESULT_NONE || operation->result == RESULT_UNKNOWN;
    }
    if (operation->result == RESULT_OK && operation->kind != HISTORY_TOUCH) {
        if (!g_bytes_equal(operation->value, state->value) || operation->flags != state->flags) {
            return false;
        }
        if (operation->kind == HISTORY_GETS) {
            if (state->cas != operation->cas &&
                (state->cas != 0 || was_shown(search, operation->cas))) {
                return false;
            }
            state->cas = operation->cas;
        }
    }
    if (touches) {
        set_end(state, operation);
    }
    return true;
}

/* Takes the state over the operation; false: its answer does not fit. */
static bool
step(struct search *search, const struct operation *operation, struct state *state)
{
    uint64_t number = 0;
    switch (operation->kind) {
    case HISTORY_GET:
    case HISTORY_GETS:
    case HISTORY_GAT:
    case HISTORY_TOUCH:
        return look(search, operation, state);
    default:
        break;
    }
    enum history_result result = change(search, operation, state, &number);
    if (operation->result == RESULT_NONE || operation->result == RESULT_UNKNOWN) {
        return true;
    }
    if (result != operation->result) {
        return false;
    }
    return (operation->kind != HISTORY_INCR && operation->kind != HISTORY_DECR) ||
           result != RESULT_OK || number == operation->shown;
}

/* The search */

static uint64_t
hash_of(const struct search *search, const struct state *state)
{
    uint64_t hash = XXH3_64bits(search->done, (search->n + 63) / 64 * 8);
    struct {
        uint64_t hash, cas;
        int64_t from, to;
        uint64_t flags;
    } all = {hash, state->cas, state->end_from, state->end_to, state->flags};
    hash = XXH3_64bits(&all, sizeof(all));
    if (state->value != NULL) {
        gsize size;
        const void *data = g_bytes_get_data(state->value, &size);
        hash = XXH3_64bits_withSeed(data, size, hash + 1);
    }
    return hash;
}

static bool explain(struct search *search, const struct state *state);

static bool
try_state(struct search *search, uint32_t index, struct state state)
{
    if (!step(search, search->operations[index], &state)) {
        return false;
    }
    search->done[index / 64] |= 1ull << (index % 64);
    search->n_done++;
    bool is_right = explain(search, &state);
    search->done[index / 64] &= ~(1ull << (index % 64));
    search->n_done--;
    return is_right;
}

/* May it never have happened? */
static bool
may_be_nothing(const struct search *search, const struct operation *operation)
{
    return operation->result == RESULT_UNKNOWN ||
           (operation->result == RESULT_NONE &&
            (operation->returned_us == TIME_NEVER || search->history->may_fail ||
             operation->kind == HISTORY_CAS)); /* it may have met another version */
}

/* Tries the operation next: on the record as it is, if it may still be there, and on none, if it
 * may have ended, or was evicted. */
static bool
try_next(struct search *search, uint32_t index, const struct state *state)
{
    const struct operation *operation = search->operations[index];
    bool ends = state->value != NULL && state->end_to != 0;
    if (may_be_nothing(search, operation)) {
        search->done[index / 64] |= 1ull << (index % 64);
        search->n_done++;
        bool is_right = explain(search, state);
        search->done[index / 64] &= ~(1ull << (index % 64));
        search->n_done--;
        if (is_right) {
            return true;
        }
    }
    if ((!ends || operation->invoked_us < state->end_to) && try_state(search, index, *state)) {
        return true;
    }
    struct state none = *state;
    none.value = NULL;
    bool may_be_gone =
        state->value != NULL &&
        (search->history->may_evict || (ends && operation->returned_us >= state->end_from));
    return may_be_gone && try_state(search, index, none);
}

/* May it be next? Nothing undone has returned before it began, nor stands before it on its
 * connection. */
static bool
may_be_next(const struct search *search, uint32_t index, int64_t first_return_us)
{
    const struct operation *operation = search->operations[index];
    if (operation->invoked_us > first_return_us) {
        return false;
    }
    for (uint32_t i = 0; i < index; i++) {
        if (!is_done(search, i) && search->operations[i]->connection == operation->connection) {
            return false;
        }
    }
    return true;
}

static void
note_depth(struct search *search, uint32_t first_undone)
{
    if (search->n_done >= search->deepest) {
        search->deepest = search->n_done;
        search->stuck = search->operations[first_undone];
    }
}

static bool
explain(struct search *search, const struct state *state)
{
    uint32_t first = 0;
    int64_t first_return_us = TIME_NEVER;
    while (first < search->n && is_done(search, first)) {
        first++;
    }
    if (first == search->n) {
        return true;
    }
    note_depth(search, first);
    if (g_hash_table_size(search->seen) > STATES_MAX) {
        search->is_given_up = true;
        return false;
    }
    uint64_t *hash = g_new(uint64_t, 1);
    *hash = hash_of(search, state);
    if (!g_hash_table_add(search->seen, hash)) {
        return false;
    }
    for (uint32_t i = first; i < search->n; i++) {
        const struct operation *operation = search->operations[i];
        if (operation->invoked_us > first_return_us) {
            break; /* in the order of invocation: none further can be next */
        }
        if (!is_done(search, i) && operation->returned_us < first_return_us) {
            first_return_us = operation->returned_us;
        }
    }
    for (uint32_t i = first; i < search->n; i++) {
        if (search->operations[i]->invoked_us > first_return_us) {
            return false;
        }
        if (!is_done(search, i) && may_be_next(search, i, first_return_us) &&
            try_next(search, i, state)) {
            return true;
        }
    }
    return false;
}

static bool
matters(const struct operation *operation, uint32_t key)
{
    return (operation->key == key || operation->kind == HISTORY_FLUSH) &&
           operation->result != RESULT_FAILED;
}

/* The operations around the one that got stuck, a line each. */
static void
describe(const struct search *search, GString *why)
{
    static const char *const kinds[] = {"get",     "gets",   "gat",     "set",  "add",
                                        "replace", "append", "prepend", "cas",  "incr",
                                        "decr",    "delete", "touch",   "flush"};
    static const char *const results[] = {"no answer", "ok",        "miss",   "not stored",
                                          "exists",    "no number", "failed", "unknown"};
    uint32_t at = 0;
    while (search->operations[at] != search->stuck) {
        at++;
    }
    for (uint32_t i = at < 8 ? 0 : at - 8; i < search->n && i < at + 12; i++) {
        const struct operation *operation = search->operations[i];
        gsize size = 0;
        const char *data =
            operation->value != NULL ? g_bytes_get_data(operation->value, &size) : "";
        g_autofree char *start = g_strndup(size > 0 ? data : "", size < 8 ? size : 8);
        g_autofree char *shown = g_strescape(start, NULL);
        g_string_append_printf(
            why,
            "\n#   %s%u.%" G_GUINT64_FORMAT " %" G_GINT64_FORMAT "..%" G_GINT64_FORMAT
            " %s -> %s value=%s(%zu) flags=%u cas=%" G_GUINT64_FORMAT " delta=%" G_GUINT64_FORMAT
            " expiry=%" G_GINT64_FORMAT,
            i == at ? "> " : "  ", operation->connection, operation->number, operation->invoked_us,
            operation->returned_us == TIME_NEVER ? -1 : operation->returned_us,
            kinds[operation->kind], results[operation->result], shown, size, operation->flags,
            operation->cas, operation->delta, operation->expiry_s);
    }
}

static enum history_verdict
check_key(const struct history *history, uint32_t key, GString *why)
{
    struct search search = {.history = history};
    struct state nothing = {NULL, 0, 0, 0, 0};
    search.operations = g_new(struct operation *, history->operations->len + 1);
    for (guint i = 0; i < history->operations->len; i++) {
        if (matters(history->operations->pdata[i], key)) {
            search.operations[search.n++] = history->operations->pdata[i];
        }
    }
    search.done = g_new0(uint64_t, search.n / 64 + 1);
    search.seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    search.values = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    bool is_right = explain(&search, &nothing);
    enum history_verdict verdict = is_right             ? HISTORY_RIGHT
                                   : search.is_given_up ? HISTORY_UNDECIDED
                                                        : HISTORY_WRONG;
    if (verdict == HISTORY_WRONG) {
        const struct operation *stuck = search.stuck;
        g_string_append_printf(why,
                               "key %u: no order explains operation %" G_GUINT64_FORMAT
                               " of connection %u (kind %d, result %d, from %" G_GINT64_FORMAT
                               " us to %" G_GINT64_FORMAT " us); %u of %u explained",
                               key, stuck->number, stuck->connection, stuck->kind, stuck->result,
                               stuck->invoked_us, stuck->returned_us, search.deepest, search.n);
        describe(&search, why);
    }
    g_hash_table_destroy(search.seen);
    g_ptr_array_free(search.values, TRUE);
    g_free(search.done);
    g_free(search.operations);
    return verdict;
}

enum history_verdict
history_check(const struct history *history, GString *why)
{
    enum history_verdict worst = HISTORY_RIGHT;
    for (uint32_t key = 0; key < history->n_keys && worst != HISTORY_WRONG; key++) {
        enum history_verdict verdict = check_key(history, key, why);
        worst = verdict != HISTORY_RIGHT ? verdict : worst;
    }
    return worst;
}
