/* The checker of histories against histories that are made from an order, and so are right; and
 * against the same with one answer altered, of which most are wrong. */
#include <config.h>

#include "tools/history/history.h"

#include <string.h>

enum { N_HISTORIES = 300, N_SMALL = 20000, N_CONNECTIONS = 8, STEP_US = 10 };

/* How histories are made. */
struct shape {
    int32_t n_operations;
    int32_t one_unknown_in;
    int32_t width_us; /* an operation takes up to twice that */
    bool has_cas;
};

static const struct shape large = {150, 50, 2 * STEP_US, true};
static const struct shape small = {6, 4, 5 * STEP_US, false};

/* What the key holds, as the order goes on. */
struct world {
    const struct shape *shape;
    GRand *chance;
    struct history *history;
    int64_t free_from_us[N_CONNECTIONS]; /* no answer of its is under way from then on */
    char *value;                         /* NULL: nothing */
    uint64_t cas;
    uint32_t n_values;
    GBytes *written; /* by the next operation; NULL: something new */
};

static void
world_put(struct world *world, char *take_value)
{
    g_free(world->value);
    world->value = take_value;
    world->cas += 1 + (world->chance != NULL ? (uint64_t)g_rand_int_range(world->chance, 0, 3) : 0);
}

static GBytes *
bytes_of(const char *text)
{
    return g_bytes_new(text, strlen(text));
}

static char *
new_value(struct world *world, bool is_number)
{
    if (world->written != NULL) {
        gsize size;
        const char *text = g_bytes_get_data(world->written, &size);
        return g_strndup(text, size);
    }
    world->n_values++;
    return g_strdup_printf(is_number ? "%u" : "v%u.", world->n_values * 100);
}

static enum history_result
store(struct world *world, struct operation *operation)
{
    bool is_there = world->value != NULL;
    bool is_number = world->written == NULL && g_rand_int_range(world->chance, 0, 3) == 0;
    g_autofree char *value = new_value(world, is_number);
    operation->value = bytes_of(value);
    if ((operation->kind == HISTORY_ADD && is_there) ||
        (operation->kind != HISTORY_ADD && operation->kind != HISTORY_SET && !is_there)) {
        return operation->kind == HISTORY_CAS ? RESULT_MISS : RESULT_REFUSED;
    }
    switch (operation->kind) {
    case HISTORY_CAS:
        if (operation->cas != world->cas) {
            return RESULT_EXISTS;
        }
        break;
    case HISTORY_APPEND:
        world_put(world, g_strconcat(world->value, value, NULL));
        return RESULT_OK;
    case HISTORY_PREPEND:
        world_put(world, g_strconcat(value, world->value, NULL));
        return RESULT_OK;
    default:
        break;
    }
    world_put(world, g_steal_pointer(&value));
    return RESULT_OK;
}

static enum history_result
count(struct world *world, struct operation *operation)
{
    if (world->value == NULL) {
        return RESULT_MISS;
    }
    if (strspn(world->value, "0123456789") != strlen(world->value) || strlen(world->value) > 15) {
        return RESULT_NOT_NUMBER;
    }
    uint64_t number = g_ascii_strtoull(world->value, NULL, 10);
    operation->shown = operation->kind == HISTORY_INCR ? number + operation->delta
                       : number > operation->delta     ? number - operation->delta
                                                       : 0;
    world_put(world, g_strdup_printf("%" G_GUINT64_FORMAT, operation->shown));
    return RESULT_OK;
}

/* Done at once: what it answers, and what it leaves. */
static enum history_result
perform(struct world *world, struct operation *operation)
{
    bool was_there = world->value != NULL;
    switch (operation->kind) {
    case HISTORY_GET:
    case HISTORY_GETS:
        operation->value = was_there ? bytes_of(world->value) : NULL;
        operation->cas = world->cas;
        return was_there ? RESULT_OK : RESULT_MISS;
    case HISTORY_INCR:
    case HISTORY_DECR:
        return count(world, operation);
    case HISTORY_DELETE:
        g_clear_pointer(&world->value, g_free);
        return was_there ? RESULT_OK : RESULT_MISS;
    default:
        return store(world, operation);
    }
}

static struct operation *
new_operation(struct world *world)
{
    static const enum history_kind kinds[] = {
        HISTORY_GET,  HISTORY_GET,  HISTORY_GET,     HISTORY_SET,    HISTORY_SET,
        HISTORY_SET,  HISTORY_ADD,  HISTORY_REPLACE, HISTORY_APPEND, HISTORY_PREPEND,
        HISTORY_INCR, HISTORY_DECR, HISTORY_DELETE,  HISTORY_GETS,   HISTORY_GETS,
        HISTORY_CAS,  HISTORY_CAS};
    int32_t n_kinds = (int32_t)G_N_ELEMENTS(kinds) - (world->shape->has_cas ? 0 : 4);
    struct operation *operation =
        history_add(world->history, kinds[g_rand_int_range(world->chance, 0, n_kinds)], 0);
    operation->number = world->history->operations->len;
    operation->delta = (uint64_t)g_rand_int_range(world->chance, 1, 4);
    operation->cas =
        world->cas > 0 && g_rand_int_range(world->chance, 0, 3) == 0 ? world->cas - 1 : world->cas;
    return operation;
}

/* No answer came; it is done now, long after, or never. */
static void
perform_unknown(struct world *world, struct operation *operation, int64_t now_us)
{
    operation->connection = N_CONNECTIONS + (uint32_t)operation->number;
    operation->invoked_us = now_us - g_rand_int_range(world->chance, 0, 100 * STEP_US);
    if (g_rand_boolean(world->chance)) {
        (void)perform(world, operation);
    } else {
        g_autofree char *value = new_value(world, false);
        operation->value = bytes_of(value);
    }
    operation->result = RESULT_UNKNOWN;
    operation->shown = 0;
}

static void
perform_known(struct world *world, struct operation *operation, int64_t now_us)
{
    uint32_t connection = (uint32_t)g_rand_int_range(world->chance, 0, N_CONNECTIONS);
    while (world->free_from_us[connection] > now_us) {
        connection = (connection + 1) % N_CONNECTIONS;
    }
    int64_t earliest_us = now_us - g_rand_int_range(world->chance, 0, world->shape->width_us);
    operation->connection = connection;
    operation->invoked_us = MAX(earliest_us, world->free_from_us[connection]);
    operation->returned_us = now_us + g_rand_int_range(world->chance, 0, world->shape->width_us);
    world->free_from_us[connection] = operation->returned_us + 1;
    operation->result = perform(world, operation);
}

static int
by_start(gconstpointer a, gconstpointer b)
{
    const struct operation *left = *(struct operation *const *)a;
    const struct operation *right = *(struct operation *const *)b;
    return (left->invoked_us > right->invoked_us) - (left->invoked_us < right->invoked_us);
}

static struct history *
make(const struct shape *shape, uint32_t seed)
{
    struct world world = {
        .shape = shape, .chance = g_rand_new_with_seed(seed), .history = history_new(1, false)};
    for (int i = 0; i < shape->n_operations; i++) {
        int64_t now_us = (i + 200) * STEP_US;
        struct operation *operation = new_operation(&world);
        bool reads = operation->kind == HISTORY_GET || operation->kind == HISTORY_GETS;
        if (!reads && g_rand_int_range(world.chance, 0, shape->one_unknown_in) == 0) {
            perform_unknown(&world, operation, now_us);
        } else {
            perform_known(&world, operation, now_us);
        }
    }
    g_ptr_array_sort(world.history->operations, by_start);
    g_free(world.value);
    g_rand_free(world.chance);
    return world.history;
}

/* Another answer than the right one; false: this one has no other. */
static bool
alter(struct operation *operation, GRand *chance, int32_t n_operations)
{
    if (operation->result == RESULT_UNKNOWN) {
        return false;
    }
    switch (operation->kind) {
    case HISTORY_GET:
    case HISTORY_GETS:
        if (operation->result == RESULT_OK && g_rand_boolean(chance)) {
            g_clear_pointer(&operation->value, g_bytes_unref);
            operation->result = RESULT_MISS;
        } else {
            g_clear_pointer(&operation->value, g_bytes_unref);
            g_autofree char *value =
                g_strdup_printf("v%d.", g_rand_int_range(chance, 1, n_operations / 2 + 1) * 100);
            operation->value = bytes_of(value);
            operation->result = RESULT_OK;
        }
        return true;
    case HISTORY_INCR:
    case HISTORY_DECR:
        operation->shown++;
        return operation->result == RESULT_OK;
    case HISTORY_ADD:
    case HISTORY_REPLACE:
    case HISTORY_APPEND:
    case HISTORY_PREPEND:
        operation->result = operation->result == RESULT_OK ? RESULT_REFUSED : RESULT_OK;
        return true;
    case HISTORY_CAS:
        operation->result = operation->result == RESULT_OK ? RESULT_EXISTS : RESULT_OK;
        return true;
    case HISTORY_DELETE:
        operation->result = operation->result == RESULT_OK ? RESULT_MISS : RESULT_OK;
        return true;
    default:
        return false; /* a set */
    }
}

static enum history_verdict
judge(struct history *history)
{
    g_autoptr(GString) why = g_string_new(NULL);
    return history_check(history, why);
}

static void
test_made_from_an_order(void)
{
    for (uint32_t seed = 0; seed < N_HISTORIES; seed++) {
        struct history *history = make(&large, seed);
        enum history_verdict verdict = judge(history);
        history_free(history);
        if (verdict != HISTORY_RIGHT) {
            g_test_message("seed %u", seed);
            g_assert_cmpint(verdict, ==, HISTORY_RIGHT);
            return;
        }
    }
}

/* Some of them are right still: the other answer fits another order. */
static void
test_altered(void)
{
    uint32_t n_altered = 0, n_wrong = 0, n_undecided = 0;
    for (uint32_t seed = 0; seed < N_HISTORIES; seed++) {
        struct history *history = make(&large, seed);
        GRand *chance = g_rand_new_with_seed(seed);
        int32_t which = g_rand_int_range(chance, 0, large.n_operations);
        if (alter(history->operations->pdata[which], chance, large.n_operations)) {
            enum history_verdict verdict = judge(history);
            n_altered++;
            n_wrong += verdict == HISTORY_WRONG;
            n_undecided += verdict == HISTORY_UNDECIDED;
        }
        g_rand_free(chance);
        history_free(history);
    }
    g_test_message("%u altered: %u wrong, %u undecided", n_altered, n_wrong, n_undecided);
    g_assert_cmpuint(n_undecided, ==, 0);
    g_assert_cmpuint(n_wrong * 100, >=, n_altered * 70);
}

/* Is there an order of those that are left? Every one is tried, by the model above; `left` and what
 * is tried are bits. */
static bool
has_order(const struct history *history, uint32_t left, const char *value)
{
    bool is_over = true;
    int64_t first_return_us = TIME_NEVER;
    for (guint i = 0; i < history->operations->len; i++) {
        const struct operation *operation = history->operations->pdata[i];
        if ((left >> i & 1) != 0 && operation->result != RESULT_UNKNOWN) {
            is_over = false;
            first_return_us = MIN(first_return_us, operation->returned_us);
        }
    }
    for (guint i = 0; i < history->operations->len && !is_over; i++) {
        const struct operation *asked = history->operations->pdata[i];
        if ((left >> i & 1) == 0 || asked->invoked_us > first_return_us) {
            continue;
        }
        struct operation operation = *asked;
        struct world world = {.value = g_strdup(value), .written = asked->value};
        operation.value = NULL;
        operation.result = perform(&world, &operation);
        bool fits = asked->result == RESULT_UNKNOWN ||
                    (asked->result == operation.result && asked->shown == operation.shown &&
                     (asked->kind != HISTORY_GET || asked->result != RESULT_OK ||
                      g_bytes_equal(asked->value, operation.value)));
        g_clear_pointer(&operation.value, g_bytes_unref);
        is_over = fits && has_order(history, left & ~(1u << i), world.value);
        g_free(world.value);
    }
    return is_over;
}

/* Small ones with up to two answers altered: the checker leaves out orders that it need not try,
 * and finds what is found by trying all. */
static void
test_as_by_all_orders(void)
{
    uint32_t n_right = 0;
    for (uint32_t seed = 0; seed < N_SMALL; seed++) {
        struct history *history = make(&small, seed);
        GRand *chance = g_rand_new_with_seed(seed);
        for (int32_t i = g_rand_int_range(chance, 0, 3); i > 0; i--) {
            int32_t which = g_rand_int_range(chance, 0, small.n_operations);
            (void)alter(history->operations->pdata[which], chance, small.n_operations);
        }
        bool is_right = has_order(history, (1u << small.n_operations) - 1, NULL);
        enum history_verdict verdict = judge(history);
        g_rand_free(chance);
        history_free(history);
        n_right += is_right;
        if (verdict != (is_right ? HISTORY_RIGHT : HISTORY_WRONG)) {
            g_test_message("seed %u: %s by all orders", seed, is_right ? "right" : "wrong");
            g_assert_cmpint(verdict, ==, is_right ? HISTORY_RIGHT : HISTORY_WRONG);
            return;
        }
    }
    g_test_message("%u of %u right", n_right, (uint32_t)N_SMALL);
    g_assert_cmpuint(n_right, >, N_SMALL / 10);
    g_assert_cmpuint(n_right, <, N_SMALL - N_SMALL / 10);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/history_random/made_from_an_order", test_made_from_an_order);
    g_test_add_func("/history_random/altered", test_altered);
    g_test_add_func("/history_random/as_by_all_orders", test_as_by_all_orders);
    return g_test_run();
}
