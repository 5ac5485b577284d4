/* The search for an order that explains a history, key by key. */
#include <config.h>

#include "tools/history/history.h"

#include <string.h>

#include "core/base/hash.h"

enum {
    STATES_MAX = 300000,      /* that a search looks at before it gives up, where nobody says */
    TRIES_PER_STATE = 32,     /* at most, on an average */
    LOOK_AHEAD_MAX = 1000,    /* operations */
    TWIN_DISTANCE_MAX = 1000, /* likewise */
    EXPIRY_SLACK_US = 1000,   /* the store counts in milliseconds; where nobody says */
};

/* What a key holds. value NULL: nothing. The moment of its end is known only within the operation
 * that set it: between end_from and end_to; 0: it has none. */
struct state {
    GBytes *value;
    uint32_t flags;
    uint64_t cas;     /* 0: not seen yet */
    uint64_t cas_max; /* the greatest one seen so far: those of a key grow */
    int64_t end_from, end_to;
    bool is_floating; /* by an operation that floats */
};

struct search {
    const struct history *history;
    struct operation **operations; /* those that float last */
    uint32_t n, n_fixed;
    uint32_t
        *next_hit;  /* n_fixed + 1: from here on, the first fixed one that tells what was there */
    uint32_t *twin; /* of those that float: the one before it that is like it; n: none */
    uint64_t *done; /* bits */
    uint64_t done_hash; /* of the set of them: each one's own, by exclusive or */
    uint32_t n_done;    /* of the fixed ones */
    GHashTable *seen;   /* hashes of (done, state) */
    uint64_t n_tries;
    GPtrArray *values; /* made on the way, kept to the end */
    bool is_given_up;
    uint32_t deepest; /* how many operations the best order explained */
    uint32_t stuck;
};

struct history *
history_new(uint32_t n_keys, bool may_evict)
{
    struct history *history = g_new0(struct history, 1);
    history->operations = g_ptr_array_new();
    history->n_keys = n_keys;
    history->may_evict = may_evict;
    history->states_max = STATES_MAX;
    history->expiry_slack_us = EXPIRY_SLACK_US;
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

const char *
history_kind_name(enum history_kind kind)
{
    static const char *const names[] = {"get",     "gets",   "gat",     "set",  "add",
                                        "replace", "append", "prepend", "cas",  "incr",
                                        "decr",    "delete", "touch",   "flush"};
    return names[kind];
}

const char *
history_result_name(enum history_result result)
{
    static const char *const names[] = {"none",   "ok",         "miss",   "refused",
                                        "exists", "not_number", "failed", "unknown"};
    return names[result];
}

/* The model */

static void
forget_record(struct state *state)
{
    state->value = NULL;
    state->flags = 0;
    state->cas = 0;
    state->end_from = state->end_to = 0;
}

static void
set_end(const struct search *search, const struct operation *operation, struct state *state)
{
    if (operation->expiry_s == 0) {
        state->end_from = state->end_to = 0;
        return;
    }
    int64_t slack_us = search->history->expiry_slack_us;
    int64_t length_us = operation->expiry_s < 0 ? 0 : operation->expiry_s * 1000000;
    int64_t last =
        operation->returned_us == TIME_NEVER ? TIME_NEVER : operation->returned_us + length_us;
    state->end_from = operation->invoked_us + length_us - slack_us;
    state->end_to = last == TIME_NEVER ? TIME_NEVER : last + slack_us;
    if (operation->expiry_s < 0) {
        forget_record(state);
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

/* What the model would answer, and the state after it. */
static enum history_result
write_value(const struct search *search, const struct operation *operation, struct state *state)
{
    state->value = operation->value;
    state->flags = operation->flags;
    state->cas = 0;
    set_end(search, operation, state);
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
        return write_value(search, operation, state);
    case HISTORY_ADD:
        return is_there ? RESULT_REFUSED : write_value(search, operation, state);
    case HISTORY_REPLACE:
        return is_there ? write_value(search, operation, state) : RESULT_REFUSED;
    case HISTORY_CAS:
        if (!is_there) {
            return RESULT_MISS;
        }
        /* Which CAS unique the state has is not known before somebody was shown it: both may be. */
        if (state->cas != 0 && state->cas != operation->cas) {
            return RESULT_EXISTS;
        }
        if (state->cas == 0 &&
            (operation->result == RESULT_EXISTS || operation->cas <= state->cas_max)) {
            return RESULT_EXISTS;
        }
        state->cas_max = operation->cas;
        return write_value(search, operation, state);
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
        forget_record(state);
        return is_there ? RESULT_OK : RESULT_MISS;
    case HISTORY_FLUSH:
        forget_record(state);
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
                (state->cas != 0 || operation->cas <= state->cas_max)) {
                return false;
            }
            state->cas = state->cas_max = operation->cas;
        }
    }
    if (touches) {
        set_end(search, operation, state);
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

/* Of what is done, and of the state. */
static uint64_t
hash_of(const struct search *search, const struct state *state)
{
    struct {
        uint64_t done, cas, cas_max;
        int64_t from, to;
        uint64_t flags;
    } all = {search->done_hash, state->cas,    state->cas_max,
             state->end_from,   state->end_to, state->flags | (uint64_t)state->is_floating << 32};
    uint64_t hash;
    hash = XXH3_64bits(&all, sizeof(all));
    if (state->value != NULL) {
        gsize size;
        const void *data = g_bytes_get_data(state->value, &size);
        hash = XXH3_64bits_withSeed(data, size, hash + 1);
    }
    return hash;
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

/* Nobody knows its outcome, nor until when: it may happen at any time since, or never, also after
 * what its client did next. So nothing waits for it. */
static bool
floats(const struct operation *operation)
{
    return operation->result == RESULT_UNKNOWN && operation->returned_us == TIME_NEVER;
}

/* How an operation may be next. */
enum way { WAY_NOTHING, WAY_ON_RECORD, WAY_ON_NONE, N_WAYS };

/* Takes the state over the operation: as if it had never happened; on the record as it is, if that
 * may still be there; on none, if it may have ended, or was evicted. */
static bool
try_way(struct search *search, const struct operation *operation, enum way way,
        const struct state *state, struct state *ret_state)
{
    bool ends = state->value != NULL && state->end_to != 0;
    *ret_state = *state;
    switch (way) {
    case WAY_NOTHING:
        return !floats(operation) && may_be_nothing(search, operation);
    case WAY_ON_RECORD:
        return (!ends || operation->invoked_us < state->end_to) &&
               step(search, operation, ret_state);
    default:
        forget_record(ret_state);
        return state->value != NULL &&
               (search->history->may_evict ||
                (ends && operation->returned_us >= state->end_from)) &&
               step(search, operation, ret_state);
    }
}

/* Does it leave the same, whatever was there, and say nothing of that? */
static bool
overwrites(const struct operation *operation)
{
    return operation->kind == HISTORY_SET || operation->kind == HISTORY_FLUSH ||
           (operation->kind == HISTORY_DELETE && floats(operation));
}

static bool
is_same(const struct state *state, const struct state *other)
{
    bool has_same_value =
        state->value == other->value ||
        (state->value != NULL && other->value != NULL && g_bytes_equal(state->value, other->value));
    return has_same_value && state->cas_max == other->cas_max && state->flags == other->flags &&
           state->cas == other->cas && state->end_from == other->end_from &&
           state->end_to == other->end_to;
}

static bool
is_part(GBytes *part, GBytes *whole)
{
    gsize part_size, whole_size;
    const void *part_data = g_bytes_get_data(part, &part_size);
    const void *whole_data = g_bytes_get_data(whole, &whole_size);
    return part_size == 0 || (whole_size >= part_size &&
                              memmem(whole_data, whole_size, part_data, part_size) != NULL);
}

static bool
has_number(GBytes *whole, uint64_t number)
{
    gsize size;
    const void *data = g_bytes_get_data(whole, &size);
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
    return memmem(data, size, text, strlen(text)) != NULL;
}

/* May it leave the value, or a part to which others append the rest? */
static bool
may_bring(const struct operation *operation, GBytes *value)
{
    if (operation->result != RESULT_OK && operation->result != RESULT_NONE &&
        operation->result != RESULT_UNKNOWN) {
        return false;
    }
    switch (operation->kind) {
    case HISTORY_SET:
    case HISTORY_ADD:
    case HISTORY_REPLACE:
    case HISTORY_CAS:
        return is_part(operation->value, value);
    case HISTORY_INCR:
    case HISTORY_DECR:
        return operation->result != RESULT_OK || has_number(value, operation->shown);
    default:
        return false;
    }
}

/* The number that was there before the operation, if its answer tells one. */
static bool
tells_number(const struct operation *operation, uint64_t *ret_number)
{
    if (operation->kind == HISTORY_INCR) {
        *ret_number = operation->shown - operation->delta;
        return operation->shown >= operation->delta;
    }
    return operation->kind != HISTORY_DECR && parse_number(operation->value, ret_number);
}

/* May others only add to the value until it is that number? Past 64 bits it begins at 0. */
static bool
may_count_to(GBytes *value, uint64_t number)
{
    uint64_t now;
    return parse_number(value, &now) && (now <= number || now > INT64_MAX);
}

/* May it leave a number that is not greater, or anything of which that is not known? */
static bool
may_bring_number(const struct operation *operation, uint64_t number)
{
    if (operation->result != RESULT_OK && operation->result != RESULT_NONE &&
        operation->result != RESULT_UNKNOWN) {
        return false;
    }
    switch (operation->kind) {
    case HISTORY_SET:
    case HISTORY_ADD:
    case HISTORY_REPLACE:
    case HISTORY_CAS:
        return may_count_to(operation->value, number);
    case HISTORY_APPEND:
    case HISTORY_PREPEND:
    case HISTORY_DECR:
        return true;
    case HISTORY_INCR:
        return operation->delta > UINT32_MAX;
    default:
        return false;
    }
}

/* The next operation whose answer tells what was there: only appending and prepending leave a value
 * where it is, so it has to be part of what was read; numbers only grow by counting up; or else an
 * operation is left that may bring another value. `taken` is done as well. False: no order goes on
 * from that state. Without it, writes that wait together would be tried in every order up to the
 * read that tells the right one. */
static bool
may_lead_on(struct search *search, uint32_t first, uint32_t taken, const struct state *state)
{
    uint64_t number;
    uint32_t read = search->next_hit[first];
    while (read < search->n_fixed && (read == taken || is_done(search, read))) {
        read = search->next_hit[read + 1];
    }
    if (read >= search->n_fixed || read - first > LOOK_AHEAD_MAX) {
        return true;
    }
    const struct operation *operation = search->operations[read];
    bool is_number = tells_number(operation, &number);
    if ((!is_number && operation->value == NULL) ||
        (state->value != NULL && (is_number ? may_count_to(state->value, number)
                                            : is_part(state->value, operation->value)))) {
        return true;
    }
    for (uint32_t i = first; i < search->n; i++) {
        const struct operation *other = search->operations[i];
        if (i < search->n_fixed && other->invoked_us > operation->returned_us) {
            i = search->n_fixed - 1; /* those that float are left */
        } else if (i != taken && i != read && !is_done(search, i) &&
                   (is_number ? may_bring_number(other, number)
                              : may_bring(other, operation->value))) {
            return true;
        }
    }
    uint32_t n_done = search->n_done + (taken < search->n_fixed);
    if (n_done >= search->deepest) {
        search->deepest = n_done;
        search->stuck = read;
    }
    return false;
}

/* One operation of the order that is being tried, and what is tried next in its place. */
struct place {
    struct state state; /* before it */
    int64_t first_return_us;
    uint32_t first; /* all before are done */
    uint32_t index;
    enum way way; /* of index, to be tried next */
};

/* The operation before this place floats, and this one belongs before it where both orders lead to
 * the same: then this is found on the way of the other order, which is `before` with this one. */
static bool
is_other_way_round(struct search *search, const struct place *before, const struct place *place,
                   enum way way, const struct state *after)
{
    const struct operation *operation = search->operations[place->index];
    const struct operation *floating = search->operations[before->index];
    struct state first, second;
    return before->index >= search->n_fixed && place->index < before->index &&
           operation->invoked_us <= before->first_return_us &&
           try_way(search, operation, way, &before->state, &first) &&
           try_way(search, floating, before->way - 1, &first, &second) && is_same(&second, after);
}

/* try_way() without ways that lead nowhere new: what floats may as well have been left out where it
 * changes nothing, or what it left is overwritten at once. Else each could double the states. */
static bool
try_useful(struct search *search, const struct place *before, const struct place *place,
           enum way way, struct state *ret_state)
{
    const struct operation *operation = search->operations[place->index];
    const struct state *state = &place->state;
    search->n_tries++;
    if (!try_way(search, operation, way, state, ret_state)) {
        return false;
    }
    if (way != WAY_NOTHING) {
        ret_state->is_floating = floats(operation);
        if ((state->is_floating && overwrites(operation)) ||
            (ret_state->is_floating && is_same(state, ret_state))) {
            return false;
        }
    }
    return (before == NULL || !is_other_way_round(search, before, place, way, ret_state)) &&
           may_lead_on(search, place->first, place->index, ret_state);
}

static void
mark(struct search *search, uint32_t index, bool is_done_now)
{
    uint64_t bit = 1ull << (index % 64);
    search->done_hash ^= XXH3_64bits(&index, sizeof(index));
    uint32_t counts = index < search->n_fixed;
    if (is_done_now) {
        search->done[index / 64] |= bit;
        search->n_done += counts;
    } else {
        search->done[index / 64] &= ~bit;
        search->n_done -= counts;
    }
}

/* May it be next? Nothing undone has returned before it began, nor stands before it on its
 * connection; of those that float and are alike, the first one comes first. */
static bool
may_be_next(const struct search *search, const struct place *place, uint32_t index)
{
    const struct operation *operation = search->operations[index];
    if (index >= search->n_fixed) {
        uint32_t twin = search->twin[index - search->n_fixed];
        return twin == search->n || is_done(search, twin);
    }
    for (uint32_t i = place->first; i < index; i++) {
        if (!is_done(search, i) && search->operations[i]->connection == operation->connection) {
            return false;
        }
    }
    return true;
}

/* Begins a place behind a state; false: nothing is to be found there. */
static bool
enter(struct search *search, const struct state *state, uint32_t first, struct place *ret_place)
{
    int64_t first_return_us = TIME_NEVER;
    uint32_t pressing;
    while (is_done(search, first)) {
        first++;
    }
    pressing = first;
    for (uint32_t i = first; i < search->n_fixed; i++) {
        const struct operation *operation = search->operations[i];
        if (operation->invoked_us > first_return_us) {
            break; /* in the order of invocation: none further can be next */
        }
        if (!is_done(search, i) && operation->returned_us < first_return_us) {
            first_return_us = operation->returned_us;
            pressing = i;
        }
    }
    if (search->n_done >= search->deepest) {
        search->deepest = search->n_done;
        search->stuck = pressing;
    }
    if (g_hash_table_size(search->seen) > search->history->states_max ||
        search->n_tries / TRIES_PER_STATE > search->history->states_max) {
        search->is_given_up = true;
        return false;
    }
    uint64_t *hash = g_new(uint64_t, 1);
    *hash = hash_of(search, state);
    *ret_place = (struct place){.state = *state,
                                .first_return_us = first_return_us,
                                .first = first,
                                .index = first,
                                .way = WAY_NOTHING};
    return g_hash_table_add(search->seen, hash);
}

/* Finds the next operation that may stand at this place, and the state after it. `before`: the
 * place before it, or NULL. */
static bool
advance(struct search *search, const struct place *before, struct place *place,
        struct state *ret_state)
{
    for (; place->index < search->n; place->index++, place->way = WAY_NOTHING) {
        const struct operation *operation = search->operations[place->index];
        if (operation->invoked_us > place->first_return_us) {
            if (place->index >= search->n_fixed) {
                return false;
            }
            place->index = search->n_fixed - 1; /* those that float are left */
            continue;
        }
        if (is_done(search, place->index) ||
            (place->way == WAY_NOTHING && !may_be_next(search, place, place->index))) {
            continue;
        }
        while (place->way < N_WAYS) {
            if (try_useful(search, before, place, place->way++, ret_state)) {
                return true;
            }
        }
    }
    return false;
}

/* Depth first, by a stack of its own: an order is as long as the history. */
static bool
explain(struct search *search)
{
    g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(struct place));
    struct state state = {.value = NULL};
    struct place place;
    if (search->n_fixed == 0) {
        return true;
    }
    if (enter(search, &state, 0, &place)) {
        g_array_append_val(places, place);
    }
    while (places->len > 0 && !search->is_given_up) {
        struct place *last = &g_array_index(places, struct place, places->len - 1);
        const struct place *before = places->len > 1 ? last - 1 : NULL;
        if (!advance(search, before, last, &state)) {
            g_array_set_size(places, places->len - 1);
            if (places->len > 0) {
                last = &g_array_index(places, struct place, places->len - 1);
                mark(search, last->index, false);
            }
            continue;
        }
        mark(search, last->index, true);
        if (search->n_done == search->n_fixed) {
            return true;
        }
        if (enter(search, &state, last->first, &place)) {
            g_array_append_val(places, place);
        } else {
            mark(search, last->index, false);
        }
    }
    return false;
}

/* The operations around the one that got stuck, a line each. */
static void
describe(const struct history_finding *finding, GString *why)
{
    uint32_t at = finding->stuck;
    for (uint32_t i = at < 8 ? 0 : at - 8; i < finding->n && i < at + 12; i++) {
        const struct operation *operation = finding->operations[i];
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
            history_kind_name(operation->kind), history_result_name(operation->result), shown, size,
            operation->flags, operation->cas, operation->delta, operation->expiry_s);
    }
}

/* Which operations are a key's, as places among all of them. */
struct shares {
    uint32_t *of_keys; /* those of key 0, those of key 1, ... */
    uint32_t *starts;  /* n_keys + 1 */
    uint32_t *flushes;
    uint32_t n_flushes;
};

static bool
is_flush(const struct operation *operation)
{
    return operation->kind == HISTORY_FLUSH;
}

static void
share(const struct history *history, struct shares *shares)
{
    uint32_t n = history->operations->len;
    g_autofree uint32_t *next = g_new0(uint32_t, history->n_keys + 1);
    *shares = (struct shares){.of_keys = g_new(uint32_t, n + 1),
                              .starts = g_new0(uint32_t, history->n_keys + 1),
                              .flushes = g_new(uint32_t, n + 1)};
    for (uint32_t i = 0; i < n; i++) {
        const struct operation *operation = history->operations->pdata[i];
        if (!is_flush(operation) && operation->key < history->n_keys) {
            shares->starts[operation->key + 1]++;
        }
    }
    for (uint32_t key = 0; key < history->n_keys; key++) {
        shares->starts[key + 1] += shares->starts[key];
        next[key] = shares->starts[key];
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct operation *operation = history->operations->pdata[i];
        if (is_flush(operation)) {
            shares->flushes[shares->n_flushes++] = i;
        } else if (operation->key < history->n_keys) {
            shares->of_keys[next[operation->key]++] = i;
        }
    }
}

/* Those of a key and the flushes, in the order of invocation, without what surely was not done;
 * those that float behind the others. */
static void
collect(const struct history *history, const struct shares *shares, uint32_t key,
        struct search *search)
{
    uint32_t own = shares->starts[key], end = shares->starts[key + 1], flush = 0, n = 0;
    g_autoptr(GPtrArray) floating = g_ptr_array_new();
    while (own < end || flush < shares->n_flushes) {
        bool is_own = flush == shares->n_flushes ||
                      (own < end && shares->of_keys[own] < shares->flushes[flush]);
        uint32_t at = is_own ? shares->of_keys[own++] : shares->flushes[flush++];
        struct operation *operation = history->operations->pdata[at];
        if (floats(operation)) {
            g_ptr_array_add(floating, operation);
        } else if (operation->result != RESULT_FAILED) {
            search->operations[n++] = operation;
        }
    }
    search->n_fixed = n;
    for (guint i = 0; i < floating->len; i++) {
        search->operations[n++] = floating->pdata[i];
    }
    search->n = n;
}

/* Leaves out the sets that float and that nobody has seen, where nothing but sets and gets is: what
 * follows them overwrites them. */
static void
leave_unseen(struct search *search)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_bytes_hash, g_bytes_equal);
    uint32_t n = search->n_fixed;
    for (uint32_t i = 0; i < search->n; i++) {
        const struct operation *operation = search->operations[i];
        if (operation->kind == HISTORY_GET && operation->value != NULL) {
            g_hash_table_add(seen, operation->value);
        } else if (operation->kind != HISTORY_GET && operation->kind != HISTORY_SET) {
            return;
        }
    }
    for (uint32_t i = n; i < search->n; i++) {
        const struct operation *operation = search->operations[i];
        if (operation->kind == HISTORY_SET && g_hash_table_contains(seen, operation->value)) {
            search->operations[n++] = search->operations[i];
        }
    }
    search->n = n;
}

/* Does its answer tell what was there? */
static bool
is_hit(const struct operation *operation)
{
    return operation->result == RESULT_OK &&
           (operation->kind == HISTORY_GET || operation->kind == HISTORY_GETS ||
            operation->kind == HISTORY_GAT || operation->kind == HISTORY_INCR);
}

/* Did nobody see what it wrote? Then it does not matter which bytes these were. */
static bool
is_unseen(const struct search *search, const struct operation *operation)
{
    uint64_t number;
    if (parse_number(operation->value, &number)) {
        return false;
    }
    for (uint32_t i = search->next_hit[0]; i < search->n_fixed; i = search->next_hit[i + 1]) {
        const struct operation *read = search->operations[i];
        if (read->value != NULL && is_part(operation->value, read->value)) {
            return false;
        }
    }
    return true;
}

/* Is it the same whichever of both happens? They stand in the order of invocation. */
static bool
are_alike(const struct operation *operation, const struct operation *other, bool are_unseen)
{
    bool has_value = operation->value != NULL;
    return operation->kind == other->kind && has_value == (other->value != NULL) &&
           (!has_value || are_unseen || g_bytes_equal(operation->value, other->value)) &&
           operation->flags == other->flags && operation->cas == other->cas &&
           operation->delta == other->delta && operation->expiry_s == 0 && other->expiry_s == 0;
}

static void
find_twins(struct search *search)
{
    uint32_t n_floating = search->n - search->n_fixed;
    struct operation **floating = search->operations + search->n_fixed;
    g_autofree bool *unseen = g_new0(bool, (gsize)n_floating + 1);
    search->twin = g_new(uint32_t, (gsize)n_floating + 1);
    for (uint32_t i = 0; i < n_floating; i++) {
        unseen[i] = floating[i]->value != NULL && is_unseen(search, floating[i]);
        search->twin[i] = search->n;
        for (uint32_t j = i; j > 0 && i - j < TWIN_DISTANCE_MAX; j--) {
            if (are_alike(floating[j - 1], floating[i], unseen[j - 1] && unseen[i])) {
                search->twin[i] = search->n_fixed + j - 1;
                break;
            }
        }
    }
}

static void
look_ahead(struct search *search)
{
    search->next_hit = g_new(uint32_t, (gsize)search->n_fixed + 1);
    search->next_hit[search->n_fixed] = search->n_fixed;
    for (uint32_t i = search->n_fixed; i-- > 0;) {
        search->next_hit[i] = is_hit(search->operations[i]) ? i : search->next_hit[i + 1];
    }
}

static enum history_verdict
check_key(const struct history *history, const struct shares *shares,
          struct history_finding *finding)
{
    struct search search = {.history = history};
    uint32_t n_max = shares->starts[finding->key + 1] - shares->starts[finding->key];
    search.operations = g_new(struct operation *, (gsize)n_max + shares->n_flushes + 1);
    collect(history, shares, finding->key, &search);
    leave_unseen(&search);
    look_ahead(&search);
    find_twins(&search);
    search.done = g_new0(uint64_t, search.n / 64 + 1);
    search.seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    search.values = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    bool is_right = explain(&search);
    g_hash_table_destroy(search.seen);
    g_ptr_array_free(search.values, TRUE);
    g_free(search.done);
    g_free(search.next_hit);
    g_free(search.twin);
    finding->operations = search.operations;
    finding->n = search.n;
    finding->n_fixed = search.n_fixed;
    finding->n_explained = search.deepest;
    finding->stuck = search.stuck;
    return is_right ? HISTORY_RIGHT : search.is_given_up ? HISTORY_UNDECIDED : HISTORY_WRONG;
}

void
history_check_keys(const struct history *history, history_judged judged, void *arg)
{
    struct shares shares;
    bool goes_on = true;
    share(history, &shares);
    for (uint32_t key = 0; key < history->n_keys && goes_on; key++) {
        struct history_finding finding = {.key = key};
        finding.verdict = check_key(history, &shares, &finding);
        goes_on = judged(arg, &finding);
        g_free(finding.operations);
    }
    g_free(shares.of_keys);
    g_free(shares.starts);
    g_free(shares.flushes);
}

/* The worst verdict of all keys, and words on it. */
struct worst {
    enum history_verdict verdict;
    GString *why;
};

static bool
keep_worst(void *arg, const struct history_finding *finding)
{
    struct worst *worst = arg;
    worst->verdict = finding->verdict != HISTORY_RIGHT ? finding->verdict : worst->verdict;
    if (finding->verdict != HISTORY_WRONG) {
        return true;
    }
    const struct operation *stuck = finding->operations[finding->stuck];
    g_string_append_printf(worst->why,
                           "key %u: no order explains operation %" G_GUINT64_FORMAT
                           " of connection %u (kind %d, result %d, from %" G_GINT64_FORMAT
                           " us to %" G_GINT64_FORMAT " us); %u of %u explained",
                           finding->key, stuck->number, stuck->connection, stuck->kind,
                           stuck->result, stuck->invoked_us, stuck->returned_us,
                           finding->n_explained, finding->n_fixed);
    describe(finding, worst->why);
    return false;
}

enum history_verdict
history_check(const struct history *history, GString *why)
{
    struct worst worst = {HISTORY_RIGHT, why};
    history_check_keys(history, keep_worst, &worst);
    return worst.verdict;
}
