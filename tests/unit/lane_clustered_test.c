/* A lane of a node of several: what the other members send is made by the test. */
#include <config.h>

#include "core/base/assert.h"
#include "core/replica/group.h"
#include "tests/lib/lane_bench.h"

enum { SLOTS = 16, SELF = 0, OTHER = 1 };

static uint64_t last_token = 1000;

/* The lane learns of an epoch in which `primary` leads all slots, with one member or two. */
static void
show(struct bench *bench, uint32_t epoch, uint32_t primary, uint32_t n_members)
{
    struct yk_view *view = yk_view_new(1);
    struct yk_view_bucket *bucket = &view->buckets[0];
    char error[YK_ERROR_SIZE];
    struct yk_bucket_description description = {.slots = SLOTS,
                                                .copies = n_members,
                                                .min_copies = 1,
                                                .durability = YK_DURABILITY_MEMORY,
                                                .engine = "memory",
                                                .key_size_max = 100,
                                                .value_size_max = 1000};
    g_assert_cmpint(yk_bucket_register_init(&bucket->bucket, &description, error), ==, YK_OK);
    bucket->bucket.n_nodes = 2;
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct yk_slot_record *slot = &bucket->bucket.slots[i];
        slot->epoch = epoch;
        slot->primary = primary;
        slot->nonce = primary == SELF ? 7 : 8;
        slot->n_members = slot->n_eligible = n_members;
        for (uint32_t k = 0; k < n_members; k++) {
            slot->members[k] = slot->eligible[k] =
                (struct yk_member){.node = (uint8_t)k, .incarnation = 1};
        }
    }
    bucket->self = SELF;
    bucket->is_fresh = true;
    yk_lane_view(bench->lane, bucket);
    yk_view_unref(view);
}

static void
run(struct bench *bench)
{
    pump(bench);
    while (yk_lane_next_dirty(bench->lane) != NULL) {
    }
    pump(bench);
}

static struct yk_op *
make_write(struct bench *bench, enum yk_opcode opcode, const char *value, struct answer **ret)
{
    struct yk_request request = {.op = opcode,
                                 .mode = opcode == YK_OP_ARITH ? YK_MODE_INCR : YK_MODE_SET,
                                 .delta = 1,
                                 .key = yk_slice_of_text("key"),
                                 .value = yk_slice_of_text(value)};
    struct yk_op *op = op_new(bench, request, ret);
    op->token = ++last_token;
    return op;
}

static struct answer *
write_once(struct bench *bench, enum yk_opcode opcode, const char *value)
{
    struct answer *answer;
    yk_lane_submit(bench->lane, make_write(bench, opcode, value, &answer));
    run(bench);
    return answer;
}

static struct answer *
write_again(struct bench *bench, enum yk_opcode opcode, const char *value, uint64_t token,
            uint64_t after)
{
    struct answer *answer;
    struct yk_op *op = make_write(bench, opcode, value, &answer);
    op->token = token;
    op->after = after;
    op->is_again = true;
    yk_lane_submit(bench->lane, op);
    run(bench);
    return answer;
}

static void
assert_answer(const struct answer *answer, enum yk_err result, uint64_t version)
{
    g_assert_cmpuint(answer->n_done, ==, 1);
    g_assert_cmpuint(answer->result, ==, result);
    g_assert_cmpuint(answer->version, ==, version);
}

static void
open_alone(struct bench *bench, int mode)
{
    bench_open(bench, mode | SETUP_CLUSTERED);
    show(bench, 5, SELF, 1);
    run(bench);
}

/* What was done is not done again, and is answered as it was. */
static void
test_done(const void *mode)
{
    struct bench bench;
    open_alone(&bench, GPOINTER_TO_INT(mode));
    const struct answer *first = write_once(&bench, YK_OP_STORE, "1");
    uint64_t store = last_token;
    assert_answer(first, YK_OK, first->version);
    g_assert_cmpuint(first->version, >, 0);
    const struct answer *sum = write_once(&bench, YK_OP_ARITH, "");
    uint64_t incr = last_token;
    g_assert_cmpuint(sum->number, ==, 2);
    assert_answer(write_again(&bench, YK_OP_STORE, "1", store, 0), YK_OK, first->version);
    const struct answer *again = write_again(&bench, YK_OP_ARITH, "", incr, first->version);
    assert_answer(again, YK_OK, sum->version);
    g_assert_cmpuint(again->number, ==, 2);
    assert_value(&bench, "key", "2");
    g_assert_cmpuint(write_once(&bench, YK_OP_ARITH, "")->number, ==, 3);

    const struct answer *gone = write_once(&bench, YK_OP_DELETE, "");
    uint64_t delete = last_token;
    g_assert_cmpuint(gone->result, ==, YK_OK);
    g_assert_cmpuint(write_once(&bench, YK_OP_DELETE, "")->result, ==, YK_ENOTFOUND);
    uint64_t refused = last_token;
    g_assert_cmpuint(write_once(&bench, YK_OP_STORE, "new")->result, ==, YK_OK);
    g_assert_cmpuint(write_again(&bench, YK_OP_DELETE, "", delete, 0)->result, ==, YK_OK);
    assert_value(&bench, "key", "new");
    /* One that changed nothing may be judged anew. */
    g_assert_cmpuint(write_again(&bench, YK_OP_DELETE, "", refused, 0)->result, ==, YK_OK);
    assert_value(&bench, "key", NULL);
    bench_close(&bench);
}

/* The log reaches back for so long; what it may have forgotten is not done again. */
static void
test_forgotten(const void *mode)
{
    struct bench bench;
    g_autofree char *value = g_strnfill(400, 'v');
    open_alone(&bench, GPOINTER_TO_INT(mode));
    const struct answer *first = write_once(&bench, YK_OP_STORE, "old");
    uint64_t token = last_token;
    uint64_t version = first->version;
    for (int i = 0; i < 300; i++) {
        version = write_once(&bench, YK_OP_STORE, value)->version;
    }
    const struct answer *again = write_again(&bench, YK_OP_STORE, "old", token, 0);
    assert_answer(again, YK_EUNKNOWN, 0);
    g_assert_true((again->flags & YK_REPLY_FORGOTTEN) != 0);
    assert_value(&bench, "key", value);
    g_assert_cmpuint(write_again(&bench, YK_OP_STORE, "new", 7, version)->result, ==, YK_OK);
    assert_value(&bench, "key", "new");
    bench_close(&bench);
}

static void
acknowledge(struct bench *bench, uint16_t slot, uint32_t epoch, uint64_t version)
{
    struct yk_ack ack = {.slot = slot,
                         .kind = YK_ACK_MATCHED,
                         .epoch = epoch,
                         .incarnation = 1,
                         .version = version,
                         .sent_us = 1};
    yk_lane_on_ack(bench->lane, OTHER, &ack);
    run(bench);
}

/* What stands in the log and is not committed is waited for, not done again. */
static void
test_waits(const void *mode)
{
    struct bench bench;
    bench_open(&bench, GPOINTER_TO_INT(mode) | SETUP_CLUSTERED);
    show(&bench, 5, SELF, 2);
    run(&bench);
    for (uint16_t i = 0; i < SLOTS; i++) {
        acknowledge(&bench, i, 5, 0);
    }
    const struct answer *first = write_once(&bench, YK_OP_STORE, "value");
    uint64_t token = last_token;
    g_assert_cmpuint(first->n_done, ==, 0);
    const struct answer *again = write_again(&bench, YK_OP_STORE, "value", token, 0);
    g_assert_cmpuint(again->n_done, ==, 0);

    show(&bench, 6, OTHER, 2); /* nobody knows */
    run(&bench);
    assert_answer(first, YK_EUNKNOWN, 0);
    g_assert_cmpuint(again->result, ==, YK_ESTALE);
    show(&bench, 7, SELF, 1); /* by now it is known */
    run(&bench);
    again = write_again(&bench, YK_OP_STORE, "value", token, 0);
    assert_answer(again, YK_OK, ((uint64_t)5 << YK_SEQUENCE_BITS) + 1);
    bench_close(&bench);
}

/* ★ What was sent in an earlier reign may have been done by another primary since. */
static void
test_outdated(const void *mode)
{
    struct bench bench;
    open_alone(&bench, GPOINTER_TO_INT(mode));
    show(&bench, 6, OTHER, 2);
    show(&bench, 7, SELF, 1);
    run(&bench);
    for (uint32_t epoch = 5; epoch <= 7; epoch++) {
        struct answer *answer;
        struct yk_op *op = make_write(&bench, YK_OP_STORE, "value", &answer);
        op->origin = YK_ORIGIN_REMOTE;
        op->sent_epoch = epoch;
        yk_lane_submit(bench.lane, op);
        run(&bench);
        g_assert_cmpuint(answer->result, ==, epoch < 7 ? YK_ESTALE : YK_OK);
    }
    bench_close(&bench);
}

/* Each rule is noticed when it is left out. */
static void
test_mutant(const void *mutant)
{
    static const GTestDataFunc tests[] = {[MUTANT_TOKENS - MUTANTS_OF_SLOTS] = test_done,
                                          [MUTANT_WINDOW - MUTANTS_OF_SLOTS] = test_forgotten,
                                          [MUTANT_OUTDATED - MUTANTS_OF_SLOTS] = test_outdated};
    if (g_test_subprocess()) {
        bench_mutant = GPOINTER_TO_UINT(mutant);
        tests[bench_mutant - MUTANTS_OF_SLOTS](GINT_TO_POINTER(MODE_INLINE));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        GTestDataFunc function;
    } tests[] = {{"done", test_done},
                 {"forgotten", test_forgotten},
                 {"waits", test_waits},
                 {"outdated", test_outdated}};
    static const char *const modes[] = {"inline", "prefix", "blocking", "readers"};
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        for (size_t mode = 0; mode < G_N_ELEMENTS(modes); mode++) {
            g_autofree char *path =
                g_strdup_printf("/lane-clustered/again/%s/%s", tests[i].name, modes[mode]);
            g_test_add_data_func(path, GINT_TO_POINTER(mode), tests[i].function);
        }
    }
    for (uint32_t mutant = MUTANTS_OF_SLOTS; mutant < MUTANTS; mutant++) {
        g_autofree char *path = g_strdup_printf("/lane-clustered/mutants/%u", mutant);
        g_test_add_data_func(path, GUINT_TO_POINTER(mutant), test_mutant);
    }
    return g_test_run();
}
