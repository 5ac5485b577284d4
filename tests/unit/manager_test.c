/* Each rule of reconfiguration, granted once and refused for each of its reasons; and the start of
 * a node of one. */
#include <config.h>

#include "core/manager/rules.h"

#include <glib.h>

#include "core/manager/alone.h"

enum { N_SLOTS = 8, N_LANES = 2 };

static const char id_a[] = "01234567-89ab-4def-8123-456789abcdef";
static const char id_b[] = "11234567-89ab-4def-8123-456789abcdef";
static const uint32_t incarnations[N_LANES] = {3, 3};
static const uint32_t newer[N_LANES] = {4, 4};

static char error[YK_ERROR_SIZE];

static const struct yk_bucket_description description = {.slots = N_SLOTS,
                                                         .copies = 2,
                                                         .min_copies = 2,
                                                         .durability = YK_DURABILITY_DISK,
                                                         .engine = "memory",
                                                         .key_size_max = 250,
                                                         .value_size_max = 1000};

static enum yk_refusal
propose_register(struct yk_bucket_register *bucket, const char *node, uint64_t nonce,
                 const uint32_t *lanes)
{
    struct yk_proposal proposal = {.kind = YK_PROPOSE_REGISTER,
                                   .node = node,
                                   .nonce = nonce,
                                   .incarnations = lanes,
                                   .n_lanes = N_LANES};
    return yk_manager_judge(bucket, &proposal);
}

static enum yk_refusal
propose_description(struct yk_bucket_register *bucket, const char *node, uint64_t nonce,
                    const struct yk_bucket_description *next)
{
    struct yk_proposal proposal = {
        .kind = YK_PROPOSE_DESCRIBE, .node = node, .nonce = nonce, .description = next};
    return yk_manager_judge(bucket, &proposal);
}

/* One slot; the refusal of the slot, or of the whole. */
static enum yk_refusal
propose(struct yk_bucket_register *bucket, enum yk_proposal_kind kind, const char *node,
        uint64_t nonce, uint32_t slot, uint32_t epoch)
{
    struct yk_slot_proposal slots[] = {{.slot = slot, .epoch = epoch, .dead = incarnations[0]}};
    struct yk_proposal proposal = {
        .kind = kind, .node = node, .nonce = nonce, .slots = slots, .n_slots = 1};
    enum yk_refusal refusal = yk_manager_judge(bucket, &proposal);
    return refusal != YK_REFUSAL_NONE ? refusal : slots[0].refusal;
}

/* Node a (nonce 1) holds slots 0 to 5 in epoch 1; 6 is shared with b (nonce 2), 7 is not created.
 */
static void
fill(struct yk_bucket_register *bucket)
{
    g_assert_cmpint(yk_bucket_register_init(bucket, &description, error), ==, YK_OK);
    g_assert_cmpint(propose_register(bucket, id_a, 1, incarnations), ==, YK_REFUSAL_NONE);
    g_assert_cmpint(propose_register(bucket, id_b, 2, incarnations), ==, YK_REFUSAL_NONE);
    for (uint32_t i = 0; i < 7; i++) {
        g_assert_cmpint(propose(bucket, YK_PROPOSE_CREATE, id_a, 1, i, 1), ==, YK_REFUSAL_NONE);
    }
    bucket->slots[6].n_members = 2;
    bucket->slots[6].members[1] = (struct yk_member){1, 3};
}

/* A refusal leaves the register as it was. */
static void
assert_refused(enum yk_refusal got, enum yk_refusal wanted, const struct yk_bucket_register *bucket,
               const struct yk_slot_record *before)
{
    g_assert_cmpstr(yk_refusal_text(got), ==, yk_refusal_text(wanted));
    g_assert_cmpmem(bucket->slots, N_SLOTS * sizeof(*before), before, N_SLOTS * sizeof(*before));
}

#define ASSERT_REFUSED(name, ...)                                                                  \
    do {                                                                                           \
        struct yk_slot_record before[N_SLOTS];                                                     \
        memcpy(before, bucket.slots, sizeof(before));                                              \
        enum yk_refusal got = __VA_ARGS__;                                                         \
        assert_refused(got, YK_REFUSAL_##name, &bucket, before);                                   \
    } while (0)

static void
test_register(void)
{
    static const uint32_t older[N_LANES] = {3, 2};
    struct yk_bucket_register bucket;
    fill(&bucket);
    g_assert_cmpuint(bucket.n_nodes, ==, 2);
    g_assert_cmpuint(bucket.nodes[1].nonce, ==, 2);
    ASSERT_REFUSED(OLD_INCARNATION, propose_register(&bucket, id_a, 9, older));
    ASSERT_REFUSED(BAD_NONCE, propose_register(&bucket, id_a, 0, incarnations));
    g_assert_cmpuint(bucket.nodes[0].nonce, ==, 1);
    g_assert_cmpint(propose_register(&bucket, id_a, 9, newer), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.n_nodes, ==, 2);
    g_assert_cmpuint(bucket.nodes[0].nonce, ==, 9);
    g_assert_cmpuint(bucket.nodes[0].incarnations[1], ==, 4);
    struct yk_proposal other_lanes = {.kind = YK_PROPOSE_REGISTER,
                                      .node = id_a,
                                      .nonce = 10,
                                      .incarnations = newer,
                                      .n_lanes = 1};
    ASSERT_REFUSED(OTHER_LANES, yk_manager_judge(&bucket, &other_lanes));
    while (bucket.n_nodes < YK_NODES_MAX) {
        g_autofree char *id = g_strdup_printf("%08x-0000-4000-8000-000000000000", bucket.n_nodes);
        g_assert_cmpint(propose_register(&bucket, id, 1, newer), ==, YK_REFUSAL_NONE);
    }
    ASSERT_REFUSED(TOO_MANY_NODES,
                   propose_register(&bucket, "ffffffff-0000-4000-8000-000000000000", 1, newer));
    yk_bucket_register_done(&bucket);
}

static void
test_create(void)
{
    struct yk_bucket_register bucket;
    fill(&bucket);
    ASSERT_REFUSED(CREATED, propose(&bucket, YK_PROPOSE_CREATE, id_a, 1, 0, 2));
    ASSERT_REFUSED(BAD_EPOCH, propose(&bucket, YK_PROPOSE_CREATE, id_a, 1, 7, 0));
    ASSERT_REFUSED(BAD_EPOCH, propose(&bucket, YK_PROPOSE_CREATE, id_a, 1, 7, YK_EPOCH_MAX + 1));
    ASSERT_REFUSED(NO_SUCH_SLOT, propose(&bucket, YK_PROPOSE_CREATE, id_a, 1, N_SLOTS, 1));
    ASSERT_REFUSED(OLD_NONCE, propose(&bucket, YK_PROPOSE_CREATE, id_a, 2, 7, 1));
    ASSERT_REFUSED(UNKNOWN_NODE, propose(&bucket, YK_PROPOSE_CREATE, "nobody", 1, 7, 1));
    g_assert_cmpint(propose(&bucket, YK_PROPOSE_CREATE, id_b, 2, 7, 40), ==, YK_REFUSAL_NONE);
    const struct yk_slot_record *slot = &bucket.slots[7];
    g_assert_cmpuint(slot->epoch, ==, 40);
    g_assert_cmpuint(slot->primary, ==, 1);
    g_assert_cmpuint(slot->nonce, ==, 2);
    g_assert_cmpuint(slot->n_members, ==, 1);
    g_assert_cmpuint(slot->members[0].incarnation, ==, 3);
    yk_bucket_register_done(&bucket);
}

static void
test_bump(void)
{
    struct yk_bucket_register bucket;
    fill(&bucket);
    g_assert_cmpint(propose_register(&bucket, id_a, 5, incarnations), ==, YK_REFUSAL_NONE);
    ASSERT_REFUSED(OLD_NONCE, propose(&bucket, YK_PROPOSE_BUMP, id_a, 1, 0, 1));
    ASSERT_REFUSED(OTHER_EPOCH, propose(&bucket, YK_PROPOSE_BUMP, id_a, 5, 0, 2));
    ASSERT_REFUSED(NOT_CREATED, propose(&bucket, YK_PROPOSE_BUMP, id_a, 5, 7, 0));
    ASSERT_REFUSED(NOT_PRIMARY, propose(&bucket, YK_PROPOSE_BUMP, id_b, 2, 6, 1));
    ASSERT_REFUSED(NO_SUCH_SLOT, propose(&bucket, YK_PROPOSE_BUMP, id_a, 5, 99, 1));
    bucket.slots[1].epoch = YK_EPOCH_MAX;
    ASSERT_REFUSED(NO_EPOCH_LEFT, propose(&bucket, YK_PROPOSE_BUMP, id_a, 5, 1, YK_EPOCH_MAX));
    g_assert_cmpint(propose(&bucket, YK_PROPOSE_BUMP, id_a, 5, 0, 1), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.slots[0].epoch, ==, 2);
    g_assert_cmpuint(bucket.slots[0].nonce, ==, 5);
    ASSERT_REFUSED(OTHER_EPOCH, propose(&bucket, YK_PROPOSE_BUMP, id_a, 5, 0, 1)); /* once */
    g_assert_cmpint(propose_register(&bucket, id_a, 6, newer), ==, YK_REFUSAL_NONE);
    ASSERT_REFUSED(LOST, propose(&bucket, YK_PROPOSE_BUMP, id_a, 6, 6, 1));
    yk_bucket_register_done(&bucket);
}

/* Each slot of a proposal is judged by itself. */
static void
test_many_slots(void)
{
    struct yk_bucket_register bucket;
    struct yk_slot_proposal slots[] = {{.slot = 0, .epoch = 1},
                                       {.slot = 1, .epoch = 9},
                                       {.slot = 2, .epoch = 1},
                                       {.slot = 2, .epoch = 1},
                                       {.slot = 7, .epoch = 1}};
    struct yk_proposal proposal = {
        .kind = YK_PROPOSE_BUMP, .node = id_a, .nonce = 1, .slots = slots, .n_slots = 5};
    fill(&bucket);
    g_assert_cmpint(yk_manager_judge(&bucket, &proposal), ==, YK_REFUSAL_NONE);
    g_assert_cmpint(slots[0].refusal, ==, YK_REFUSAL_NONE);
    g_assert_cmpint(slots[1].refusal, ==, YK_REFUSAL_OTHER_EPOCH);
    g_assert_cmpint(slots[2].refusal, ==, YK_REFUSAL_NONE);
    g_assert_cmpint(slots[3].refusal, ==, YK_REFUSAL_OTHER_EPOCH);
    g_assert_cmpint(slots[4].refusal, ==, YK_REFUSAL_NOT_CREATED);
    g_assert_cmpuint(bucket.slots[0].epoch, ==, 2);
    g_assert_cmpuint(bucket.slots[1].epoch, ==, 1);
    g_assert_cmpuint(bucket.slots[2].epoch, ==, 2);
    yk_bucket_register_done(&bucket);
}

static void
test_reinit(void)
{
    struct yk_bucket_register bucket;
    fill(&bucket);
    g_assert_cmpint(propose_register(&bucket, id_a, 5, newer), ==, YK_REFUSAL_NONE);
    ASSERT_REFUSED(KEEPS, propose(&bucket, YK_PROPOSE_REINIT, id_a, 5, 0, 1));
    bucket.description.durability = YK_DURABILITY_MEMORY;
    ASSERT_REFUSED(NOT_LOST, propose(&bucket, YK_PROPOSE_REINIT, id_a, 5, 6, 1)); /* b has it */
    ASSERT_REFUSED(NOT_MEMBER, propose(&bucket, YK_PROPOSE_REINIT, id_b, 2, 0, 1));
    ASSERT_REFUSED(OTHER_EPOCH, propose(&bucket, YK_PROPOSE_REINIT, id_a, 5, 0, 3));
    ASSERT_REFUSED(NOT_CREATED, propose(&bucket, YK_PROPOSE_REINIT, id_a, 5, 7, 0));
    bucket.slots[0].n_eligible = 1;
    bucket.slots[0].eligible[0] = (struct yk_member){1, 3};
    ASSERT_REFUSED(NOT_LOST, propose(&bucket, YK_PROPOSE_REINIT, id_a, 5, 0, 1));
    g_assert_cmpint(propose_register(&bucket, id_b, 7, newer), ==, YK_REFUSAL_NONE);
    g_assert_cmpint(propose(&bucket, YK_PROPOSE_REINIT, id_a, 5, 0, 1), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.slots[0].epoch, ==, 2);
    g_assert_cmpuint(bucket.slots[0].n_eligible, ==, 0);
    g_assert_cmpuint(bucket.slots[0].members[0].incarnation, ==, 4);
    g_assert_false(bucket.slots[0].is_lossy);
    g_assert_cmpint(propose(&bucket, YK_PROPOSE_REINIT, id_b, 7, 6, 1), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.slots[6].primary, ==, 1);
    g_assert_cmpuint(bucket.slots[6].nonce, ==, 7);
    g_assert_cmpuint(bucket.slots[6].n_members, ==, 2);
    ASSERT_REFUSED(NOT_LOST, propose(&bucket, YK_PROPOSE_REINIT, id_a, 5, 6, 2));
    yk_bucket_register_done(&bucket);
}

static void
test_accept_loss(void)
{
    struct yk_bucket_register bucket;
    fill(&bucket);
    ASSERT_REFUSED(NOT_LOST, propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_a, 1, 0, 1));
    g_assert_cmpint(propose_register(&bucket, id_a, 5, newer), ==, YK_REFUSAL_NONE);
    ASSERT_REFUSED(NOT_ALONE, propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_a, 5, 6, 1));
    ASSERT_REFUSED(NOT_ALONE, propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_b, 2, 0, 1));
    ASSERT_REFUSED(OTHER_EPOCH, propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_a, 5, 0, 2));
    bucket.slots[1].members[0].incarnation = 2; /* another one than is said to be dead */
    ASSERT_REFUSED(NOT_LOST, propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_a, 5, 1, 1));
    g_assert_cmpint(propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_a, 5, 0, 1), ==, YK_REFUSAL_NONE);
    g_assert_true(bucket.slots[0].is_lossy);
    g_assert_cmpuint(bucket.slots[0].epoch, ==, 2);
    g_assert_cmpuint(bucket.slots[0].members[0].incarnation, ==, 4);
    g_assert_cmpint(propose(&bucket, YK_PROPOSE_BUMP, id_a, 5, 0, 2), ==, YK_REFUSAL_NONE);
    g_assert_true(bucket.slots[0].is_lossy);
    yk_bucket_register_done(&bucket);
}

static void
test_describe(void)
{
    struct yk_bucket_register bucket;
    struct yk_bucket_description next = description;
    fill(&bucket);
    next.value_size_max = 2000;
    next.memory_max = 1;
    g_assert_cmpint(propose_description(&bucket, id_a, 1, &next), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.description.value_size_max, ==, 2000);
    g_assert_cmpuint(bucket.slots[0].epoch, ==, 1); /* promises nothing else */
    next.min_copies = 1;
    bucket.slots[0].n_eligible = 1;
    g_assert_cmpint(propose_description(&bucket, id_a, 1, &next), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.slots[0].epoch, ==, 2);
    g_assert_cmpuint(bucket.slots[0].n_eligible, ==, 0);
    g_assert_cmpuint(bucket.slots[7].epoch, ==, 0);
    next.durability = YK_DURABILITY_OS;
    bucket.slots[1].n_eligible = 1;
    g_assert_cmpint(propose_description(&bucket, id_a, 1, &next), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.slots[0].epoch, ==, 3);
    g_assert_cmpuint(bucket.slots[1].n_eligible, ==, 1);
    next.min_copies = 3;
    ASSERT_REFUSED(BAD_DESCRIPTION, propose_description(&bucket, id_a, 1, &next));
    next.min_copies = 1;
    next.slots = 7;
    ASSERT_REFUSED(BAD_DESCRIPTION, propose_description(&bucket, id_a, 1, &next));
    next.slots = YK_SLOTS_MAX;
    next.copies = 7;
    ASSERT_REFUSED(TOO_LARGE, propose_description(&bucket, id_a, 1, &next));
    ASSERT_REFUSED(OLD_NONCE, propose_description(&bucket, id_a, 2, &next));
    next = description;
    bucket.slots[4].epoch = YK_EPOCH_MAX;
    ASSERT_REFUSED(NO_EPOCH_LEFT, propose_description(&bucket, id_a, 1, &next));
    yk_bucket_register_done(&bucket);
}

/* Another form: only where nothing is kept, and above all epochs that were. */
static void
test_reshape(void)
{
    struct yk_bucket_register bucket;
    struct yk_bucket_description next = description;
    fill(&bucket);
    next.slots = 4;
    ASSERT_REFUSED(KEEPS, propose_description(&bucket, id_a, 1, &next));
    bucket.description.durability = next.durability = YK_DURABILITY_MEMORY;
    ASSERT_REFUSED(NOT_LOST, propose_description(&bucket, id_a, 1, &next));
    g_assert_cmpint(propose_register(&bucket, id_a, 5, newer), ==, YK_REFUSAL_NONE);
    ASSERT_REFUSED(NOT_ALONE, propose_description(&bucket, id_a, 5, &next)); /* slot 6 */
    bucket.slots[6].n_members = 1;
    bucket.slots[3].epoch = YK_EPOCH_MAX;
    ASSERT_REFUSED(NO_EPOCH_LEFT, propose_description(&bucket, id_a, 5, &next));
    bucket.slots[3].epoch = 70;
    g_assert_cmpint(propose_description(&bucket, id_a, 5, &next), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.description.slots, ==, 4);
    g_assert_cmpuint(bucket.n_nodes, ==, 2);
    for (uint32_t i = 0; i < 4; i++) {
        g_assert_cmpuint(bucket.slots[i].epoch, ==, 71);
        g_assert_cmpuint(bucket.slots[i].members[0].incarnation, ==, 4);
        g_assert_cmpuint(bucket.slots[i].nonce, ==, 5);
    }
    yk_bucket_register_done(&bucket);
}

/* -- A node of one. -- */

static struct yk_alone_result
start(struct yk_bucket_register *bucket, uint64_t nonce, const uint32_t *lanes, uint32_t epoch_min,
      const struct yk_bucket_description *wanted)
{
    struct yk_alone alone = {id_a, nonce, lanes, N_LANES, epoch_min, wanted};
    struct yk_alone_result result;
    error[0] = '\0';
    g_assert_cmpint(yk_manager_start_alone(bucket, &alone, &result, error), ==, YK_OK);
    g_assert_cmpstr(error, ==, "");
    return result;
}

static void
assert_epochs(const struct yk_bucket_register *bucket, uint32_t epoch, uint64_t nonce)
{
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        g_assert_cmpuint(bucket->slots[i].epoch, ==, epoch);
        g_assert_cmpuint(bucket->slots[i].nonce, ==, nonce);
    }
}

static void
test_alone(void)
{
    static const uint32_t one_newer[N_LANES] = {4, 5};
    struct yk_bucket_register bucket = {.n_nodes = 0};
    struct yk_bucket_description wanted = description;
    struct yk_alone_result came = start(&bucket, 1, incarnations, 12, &wanted);
    g_assert_cmpuint(came.n_created, ==, N_SLOTS);
    g_assert_cmpuint(came.epoch, ==, 12);
    assert_epochs(&bucket, 12, 1);
    came = start(&bucket, 2, incarnations, 13, &wanted);
    g_assert_cmpuint(came.n_bumped, ==, N_SLOTS);
    assert_epochs(&bucket, 13, 2);
    came = start(&bucket, 3, newer, 14, &wanted); /* the machine had lost its power */
    g_assert_cmpuint(came.n_lossy, ==, N_SLOTS);
    assert_epochs(&bucket, 14, 3);
    came = start(&bucket, 4, one_newer, 15, &wanted); /* one lane is damaged */
    g_assert_cmpuint(came.n_lossy, ==, N_SLOTS / 2);
    g_assert_cmpuint(came.n_bumped, ==, N_SLOTS / 2);
    assert_epochs(&bucket, 15, 4);
    wanted.durability = YK_DURABILITY_OS;
    came = start(&bucket, 5, one_newer, 16, &wanted); /* by the description, and by the start */
    g_assert_cmpuint(came.epoch, ==, 17);
    assert_epochs(&bucket, 17, 5);
    yk_bucket_register_done(&bucket);
}

/* A restore begins above all that it restores, whatever the slots had; epochs never go back. */
static void
test_alone_restores(void)
{
    struct yk_bucket_register bucket = {.n_nodes = 0};
    struct yk_bucket_description wanted = description;
    struct yk_alone alone = {.node = id_a,
                             .nonce = 2,
                             .incarnations = incarnations,
                             .n_lanes = N_LANES,
                             .epoch_min = 90,
                             .description = &wanted,
                             .is_restore = true};
    struct yk_alone_result came = start(&bucket, 1, incarnations, 12, &wanted);
    g_assert_cmpint(yk_manager_start_alone(&bucket, &alone, &came, error), ==, YK_OK);
    g_assert_cmpuint(came.n_bumped, ==, N_SLOTS);
    g_assert_cmpuint(came.epoch, ==, 90);
    assert_epochs(&bucket, 90, 2);
    alone.nonce = 3;
    alone.epoch_min = 50;
    alone.incarnations = newer;
    g_assert_cmpint(yk_manager_start_alone(&bucket, &alone, &came, error), ==, YK_OK);
    g_assert_cmpuint(came.n_lossy, ==, N_SLOTS);
    assert_epochs(&bucket, 91, 3);
    alone.epoch_min = YK_EPOCH_MAX + 1;
    g_assert_cmpint(yk_manager_start_alone(&bucket, &alone, &came, error), ==, YK_EINVALID);
    yk_bucket_register_done(&bucket);
}

static void
test_alone_in_memory(void)
{
    struct yk_bucket_register bucket = {.n_nodes = 0};
    struct yk_bucket_description wanted = description;
    wanted.durability = YK_DURABILITY_MEMORY;
    for (uint32_t i = 1; i < 5; i++) {
        const uint32_t lanes[N_LANES] = {i, i};
        struct yk_alone_result came = start(&bucket, i, lanes, i, &wanted);
        g_assert_cmpuint(i == 1 ? came.n_created : came.n_begun_anew, ==, N_SLOTS);
        assert_epochs(&bucket, i, i);
    }
    const uint32_t lanes[N_LANES] = {5, 5};
    wanted.slots = 2 * N_SLOTS;
    struct yk_alone_result came = start(&bucket, 5, lanes, 5, &wanted);
    g_assert_cmpuint(came.n_bumped, ==, 2 * N_SLOTS);
    assert_epochs(&bucket, 6, 5);
    yk_bucket_register_done(&bucket);
}

static void
test_alone_refused(void)
{
    struct yk_bucket_register bucket;
    struct yk_alone alone = {id_b, 9, incarnations, N_LANES, 1, &description};
    struct yk_alone_result came;
    fill(&bucket);
    g_assert_cmpint(yk_manager_start_alone(&bucket, &alone, &came, error), ==, YK_EINVALID);
    g_assert_cmpstr(error, ==, "slot 0 cannot be taken: the node is not the slot's primary");
    static const uint32_t older[N_LANES] = {1, 1};
    alone.incarnations = older;
    g_assert_cmpint(yk_manager_start_alone(&bucket, &alone, &came, error), ==, YK_EINVALID);
    g_assert_nonnull(strstr(error, "cannot register: an incarnation is older"));
    struct yk_bucket_description other = description;
    other.slots = 2;
    alone.incarnations = incarnations;
    alone.description = &other;
    g_assert_cmpint(yk_manager_start_alone(&bucket, &alone, &came, error), ==, YK_EINVALID);
    g_assert_nonnull(strstr(error, "durability is not memory"));
    yk_bucket_register_done(&bucket);
    bucket = (struct yk_bucket_register){.n_nodes = 0};
    other.slots = YK_SLOTS_MAX;
    other.copies = 3;
    g_assert_cmpint(yk_manager_start_alone(&bucket, &alone, &came, error), ==, YK_ETOOLARGE);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/manager/register", test_register);
    g_test_add_func("/manager/create", test_create);
    g_test_add_func("/manager/bump", test_bump);
    g_test_add_func("/manager/many-slots", test_many_slots);
    g_test_add_func("/manager/reinit", test_reinit);
    g_test_add_func("/manager/accept-loss", test_accept_loss);
    g_test_add_func("/manager/describe", test_describe);
    g_test_add_func("/manager/reshape", test_reshape);
    g_test_add_func("/manager/alone", test_alone);
    g_test_add_func("/manager/alone-restores", test_alone_restores);
    g_test_add_func("/manager/alone-in-memory", test_alone_in_memory);
    g_test_add_func("/manager/alone-refused", test_alone_refused);
    return g_test_run();
}
