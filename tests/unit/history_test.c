/* The checker of histories: what is right passes, and each kind of wrong answer is found. */
#include <config.h>

#include "tools/history/history.h"

#include <string.h>

static struct history *history;

/* An operation of key 0; result NONE with to < 0: never answered. */
static struct operation *
op(uint32_t connection, enum history_kind kind, int64_t from, int64_t to,
   enum history_result result, const char *value)
{
    struct operation *operation = history_add(history, kind, 0);
    operation->connection = connection;
    operation->number = history->operations->len;
    operation->invoked_us = from;
    operation->returned_us = to < 0 ? TIME_NEVER : to;
    operation->result = result;
    operation->value = value != NULL ? g_bytes_new(value, strlen(value)) : NULL;
    return operation;
}

static struct operation *
set(uint32_t connection, int64_t from, int64_t to, const char *value)
{
    return op(connection, HISTORY_SET, from, to, RESULT_OK, value);
}

/* value NULL: a miss. */
static struct operation *
get(uint32_t connection, int64_t from, int64_t to, const char *value)
{
    return op(connection, HISTORY_GET, from, to, value != NULL ? RESULT_OK : RESULT_MISS, value);
}

static struct operation *
cas(uint32_t connection, int64_t from, int64_t to, uint64_t unique, enum history_result result)
{
    struct operation *operation = op(connection, HISTORY_CAS, from, to, result, "cas");
    operation->cas = unique;
    return operation;
}

static void
gets(uint32_t connection, int64_t from, int64_t to, const char *value, uint64_t unique)
{
    op(connection, HISTORY_GETS, from, to, RESULT_OK, value)->cas = unique;
}

static void
incr(uint32_t connection, int64_t from, int64_t to, uint64_t delta, uint64_t shown)
{
    struct operation *operation = op(connection, HISTORY_INCR, from, to, RESULT_OK, NULL);
    operation->delta = delta;
    operation->shown = shown;
}

/* Times in microseconds; connections 1, 2, ...: operations whose times overlap may be in any order
 * unless they are of one connection. */

static void
right_sequence(void)
{
    get(1, 0, 10, NULL);
    set(1, 20, 30, "a");
    get(2, 40, 50, "a");
    op(2, HISTORY_ADD, 60, 70, RESULT_REFUSED, "b");
    op(2, HISTORY_APPEND, 80, 90, RESULT_OK, "c");
    op(1, HISTORY_PREPEND, 100, 110, RESULT_OK, "d");
    get(1, 120, 130, "dac");
    op(1, HISTORY_DELETE, 140, 150, RESULT_OK, NULL);
    op(1, HISTORY_REPLACE, 160, 170, RESULT_REFUSED, "e");
    op(1, HISTORY_DELETE, 180, 190, RESULT_MISS, NULL);
    op(1, HISTORY_TOUCH, 200, 210, RESULT_MISS, NULL);
    op(1, HISTORY_ADD, 220, 230, RESULT_OK, "x");
    op(1, HISTORY_INCR, 240, 250, RESULT_NOT_NUMBER, NULL);
}

/* While a write is under way both values may be seen, the old one by whoever began earlier. */
static void
right_overlap(void)
{
    set(1, 0, 10, "a");
    set(1, 20, 100, "b");
    get(2, 30, 40, "a");
    get(2, 50, 60, "b");
    get(3, 55, 70, "b");
}

static void
wrong_flicker(void)
{
    set(1, 0, 10, "a");
    set(1, 20, 100, "b");
    get(2, 30, 40, "b");
    get(3, 50, 60, "a");
}

static void
wrong_stale_read(void)
{
    set(1, 0, 10, "a");
    set(1, 20, 30, "b");
    get(2, 40, 50, "a");
}

static void
wrong_lost_update(void)
{
    set(1, 0, 10, "");
    op(1, HISTORY_APPEND, 20, 60, RESULT_OK, "x");
    op(2, HISTORY_APPEND, 20, 60, RESULT_OK, "y");
    get(1, 70, 80, "x");
}

static void
right_both_updates(void)
{
    set(1, 0, 10, "");
    op(1, HISTORY_APPEND, 20, 60, RESULT_OK, "x");
    op(2, HISTORY_APPEND, 20, 60, RESULT_OK, "y");
    get(1, 70, 80, "yx");
}

static void
wrong_from_nowhere(void)
{
    set(1, 0, 10, "a");
    get(2, 5, 50, "z");
}

static void
wrong_flags(void)
{
    set(1, 0, 10, "a")->flags = 7;
    get(2, 20, 50, "a")->flags = 8;
}

static void
wrong_two_adds(void)
{
    op(1, HISTORY_ADD, 0, 50, RESULT_OK, "a");
    op(2, HISTORY_ADD, 0, 50, RESULT_OK, "b");
}

static void
right_two_adds(void)
{
    op(1, HISTORY_ADD, 0, 50, RESULT_REFUSED, "a");
    op(2, HISTORY_ADD, 0, 50, RESULT_OK, "b");
    get(3, 60, 70, "b");
}

/* Refused, though nothing had ever been there. */
static void
wrong_add_refused(void)
{
    op(1, HISTORY_ADD, 0, 50, RESULT_REFUSED, "a");
    set(2, 60, 70, "b");
}

static void
right_cas(void)
{
    set(1, 0, 10, "a");
    gets(1, 20, 30, "a", 5);
    cas(1, 40, 50, 5, RESULT_OK);
    gets(1, 60, 70, "cas", 6);
    cas(1, 80, 90, 5, RESULT_EXISTS);
    cas(2, 80, 90, 6, RESULT_OK);
}

/* The version was seen, and another one was written since. */
static void
wrong_cas_seen(void)
{
    set(1, 0, 10, "a");
    gets(1, 20, 30, "a", 5);
    set(2, 40, 50, "b");
    gets(2, 60, 70, "b", 6);
    cas(1, 80, 90, 5, RESULT_OK);
}

/* The same, and nobody has looked at the new version. */
static void
wrong_cas_unseen(void)
{
    set(1, 0, 10, "a");
    gets(1, 20, 30, "a", 5);
    set(2, 40, 50, "b");
    cas(1, 80, 90, 5, RESULT_OK);
}

static void
wrong_cas_twice(void)
{
    set(1, 0, 10, "a");
    gets(1, 20, 30, "a", 5);
    cas(1, 40, 90, 5, RESULT_OK);
    cas(2, 40, 90, 5, RESULT_OK);
}

static void
wrong_cas_refused(void)
{
    set(1, 0, 10, "a");
    gets(1, 20, 30, "a", 5);
    cas(1, 40, 90, 5, RESULT_EXISTS);
}

/* Two versions that show one CAS unique. */
static void
wrong_cas_shown_again(void)
{
    set(1, 0, 10, "a");
    gets(1, 20, 30, "a", 5);
    set(1, 40, 50, "b");
    gets(1, 60, 70, "b", 5);
}

static void
right_incr(void)
{
    set(1, 0, 10, "10");
    incr(1, 20, 90, 1, 16);
    incr(2, 20, 90, 5, 15);
    get(1, 100, 110, "16");
}

static void
wrong_incr_sum(void)
{
    set(1, 0, 10, "10");
    incr(1, 20, 90, 1, 11);
    incr(2, 20, 90, 5, 15);
}

static void
wrong_read_after_delete(void)
{
    set(1, 0, 10, "a");
    op(1, HISTORY_DELETE, 20, 30, RESULT_OK, NULL);
    get(2, 40, 50, "a");
}

/* Sent one after another on one connection, all under way at once: the order is that of sending. */
static void
wrong_program_order(void)
{
    set(1, 0, 100, "a");
    set(1, 1, 100, "b");
    get(2, 110, 120, "a");
}

static void
right_two_connections(void)
{
    set(1, 0, 100, "a");
    set(2, 1, 100, "b");
    get(2, 110, 120, "a");
}

static void
wrong_read_own_write(void)
{
    set(1, 0, 10, "a");
    set(1, 20, 100, "b");
    get(1, 21, 100, "a");
}

static void
right_expired(void)
{
    set(1, 0, 10, "a")->expiry_s = 1;
    get(2, 900000, 900010, "a");
    get(2, 999500, 1000500, NULL);
    get(2, 1100000, 1100010, NULL);
}

static void
wrong_seen_late(void)
{
    set(1, 0, 10, "a")->expiry_s = 1;
    get(2, 1100000, 1100010, "a");
}

static void
wrong_ended_early(void)
{
    set(1, 0, 10, "a")->expiry_s = 1;
    get(2, 500000, 500010, NULL);
}

static void
right_touched(void)
{
    set(1, 0, 10, "a")->expiry_s = 1;
    op(1, HISTORY_TOUCH, 500000, 500010, RESULT_OK, NULL)->expiry_s = 2;
    get(2, 2400000, 2400010, "a");
    get(2, 2600000, 2600010, NULL);
}

static void
wrong_touched(void)
{
    set(1, 0, 10, "a")->expiry_s = 0;
    op(1, HISTORY_TOUCH, 500000, 500010, RESULT_OK, NULL)->expiry_s = 2;
    get(2, 2600000, 2600010, "a");
}

/* A touch leaves the CAS unique as it is. */
static void
right_touched_cas(void)
{
    set(1, 0, 10, "a");
    gets(2, 20, 30, "a", 5);
    op(1, HISTORY_TOUCH, 40, 50, RESULT_OK, NULL)->expiry_s = 0;
    gets(2, 60, 70, "a", 5);
}

static void
wrong_touched_cas(void)
{
    set(1, 0, 10, "a");
    gets(2, 20, 30, "a", 5);
    op(1, HISTORY_TOUCH, 40, 50, RESULT_OK, NULL)->expiry_s = 0;
    gets(2, 60, 70, "a", 6);
}

/* Back from the dead: it was found to have ended, and is seen again. */
static void
wrong_undead(void)
{
    set(1, 0, 10, "a")->expiry_s = 1;
    get(2, 999800, 999900, NULL);
    get(2, 999901, 999950, "a");
}

static void
wrong_miss(void)
{
    set(1, 0, 10, "a");
    get(2, 20, 30, NULL);
}

static void
right_miss_evicted(void)
{
    history->may_evict = true;
    wrong_miss();
    get(2, 40, 50, NULL);
}

static void
wrong_hit_after_evicted(void)
{
    history->may_evict = true;
    wrong_miss();
    get(2, 40, 50, "a");
}

static void
right_flush(void)
{
    set(1, 0, 10, "a");
    op(2, HISTORY_FLUSH, 20, 60, RESULT_OK, NULL);
    get(1, 30, 40, "a");
    set(1, 70, 80, "b");
    get(1, 90, 100, "b");
}

static void
wrong_flush_undone(void)
{
    set(1, 0, 10, "a");
    op(2, HISTORY_FLUSH, 20, 60, RESULT_OK, NULL);
    get(1, 70, 80, NULL);
    get(1, 90, 100, "a");
}

static void
wrong_flush_ignored(void)
{
    set(1, 0, 10, "a");
    op(2, HISTORY_FLUSH, 20, 60, RESULT_OK, NULL);
    get(1, 70, 80, "a");
}

/* Never answered: it may have happened at any time since, or not. */
static void
right_no_answer(void)
{
    set(1, 0, 10, "a");
    op(1, HISTORY_SET, 20, -1, RESULT_NONE, "b");
    get(2, 30, 40, "a");
    get(2, 50, 60, "b");
}

static void
wrong_no_answer_undone(void)
{
    right_no_answer();
    get(2, 70, 80, "a");
}

static void
wrong_before_it_was_asked(void)
{
    get(2, 0, 10, "b");
    op(1, HISTORY_SET, 20, -1, RESULT_NONE, "b");
}

/* An error that promises that nothing was done. */
static void
wrong_failed_but_done(void)
{
    set(1, 0, 10, "a");
    op(1, HISTORY_SET, 20, 30, RESULT_FAILED, "b");
    get(2, 40, 50, "b");
}

static void
right_unknown(void)
{
    set(1, 0, 10, "a");
    op(1, HISTORY_SET, 20, 30, RESULT_UNKNOWN, "b");
    get(2, 40, 50, "b");
}

/* Other keys do not excuse anything. */
static void
wrong_second_key(void)
{
    set(1, 0, 10, "a");
    get(1, 20, 30, "a");
    get(1, 40, 50, "a")->key = 1;
}

struct test_case {
    const char *name;
    void (*fill)(void);
    enum history_verdict verdict;
};

#define RIGHT(name_)                                                                               \
    {                                                                                              \
#name_, right_##name_, HISTORY_RIGHT                                                       \
    }
#define WRONG(name_)                                                                               \
    {                                                                                              \
#name_, wrong_##name_, HISTORY_WRONG                                                       \
    }
static const struct test_case cases[] = {
    RIGHT(sequence),
    RIGHT(overlap),
    WRONG(flicker),
    WRONG(stale_read),
    WRONG(lost_update),
    RIGHT(both_updates),
    WRONG(from_nowhere),
    WRONG(flags),
    WRONG(two_adds),
    RIGHT(two_adds),
    WRONG(add_refused),
    RIGHT(cas),
    WRONG(cas_seen),
    WRONG(cas_unseen),
    WRONG(cas_twice),
    WRONG(cas_refused),
    WRONG(cas_shown_again),
    RIGHT(incr),
    WRONG(incr_sum),
    WRONG(read_after_delete),
    WRONG(program_order),
    RIGHT(two_connections),
    WRONG(read_own_write),
    RIGHT(expired),
    WRONG(seen_late),
    WRONG(ended_early),
    RIGHT(touched),
    WRONG(touched),
    RIGHT(touched_cas),
    WRONG(touched_cas),
    WRONG(undead),
    WRONG(miss),
    RIGHT(miss_evicted),
    WRONG(hit_after_evicted),
    RIGHT(flush),
    WRONG(flush_undone),
    WRONG(flush_ignored),
    RIGHT(no_answer),
    WRONG(no_answer_undone),
    WRONG(before_it_was_asked),
    WRONG(failed_but_done),
    RIGHT(unknown),
    WRONG(second_key),
};

static void
test_case(gconstpointer data)
{
    const struct test_case *c = data;
    g_autoptr(GString) why = g_string_new(NULL);
    history = history_new(2, false);
    c->fill();
    g_assert_cmpint(history_check(history, why), ==, c->verdict);
    g_assert_true((why->len > 0) == (c->verdict == HISTORY_WRONG));
    history_free(history);
}

/* A long right history is judged, one with many operations at once too; and the same with one
 * wrong answer at its end. */
static void
test_long(void)
{
    for (int is_wrong = 0; is_wrong < 2; is_wrong++) {
        g_autoptr(GString) why = g_string_new(NULL);
        int64_t now = 0;
        history = history_new(1, false);
        for (int round = 0; round < 300; round++) {
            g_autofree char *value = g_strdup_printf("v%d", round);
            for (uint32_t connection = 1; connection <= 4; connection++) {
                set(connection, now, now + 100, value);
            }
            get(5, now + 110, now + 120, value);
            now += 200;
        }
        get(5, now, now + 10, is_wrong ? "v298" : "v299");
        g_assert_cmpint(history_check(history, why), ==, is_wrong ? HISTORY_WRONG : HISTORY_RIGHT);
        history_free(history);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf(
            "/history/%s/%s", cases[i].verdict == HISTORY_RIGHT ? "right" : "wrong", cases[i].name);
        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/history/long", test_long);
    return g_test_run();
}
