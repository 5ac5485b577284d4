/* Each rule of reconfiguration, granted once and refused for each of its reasons; proposals at
 * random against what must hold whatever is proposed; and the start of a node of one. */
#include <config.h>

#include "core/manager/rules.h"

#include <glib.h>

#include "core/base/random.h"
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
    uint32_t index = yk_bucket_register_find(bucket, node);
    struct yk_proposal proposal = {.kind = YK_PROPOSE_REGISTER,
                                   .node = node,
                                   .nonce = nonce,
                                   .replaces =
                                       index < bucket->n_nodes ? bucket->nodes[index].nonce : 0,
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
                                      .replaces = 9,
                                      .incarnations = newer,
                                      .n_lanes = 1};
    ASSERT_REFUSED(OTHER_LANES, yk_manager_judge(&bucket, &other_lanes));
    /* What an earlier start sent comes late: it names a nonce that stands there no more. */
    struct yk_proposal late = other_lanes;
    late.n_lanes = N_LANES;
    late.nonce = 8;
    late.replaces = 1;
    ASSERT_REFUSED(OLD_NONCE, yk_manager_judge(&bucket, &late));
    late.replaces = 0;
    ASSERT_REFUSED(OLD_NONCE, yk_manager_judge(&bucket, &late));
    g_assert_cmpuint(bucket.nodes[0].nonce, ==, 9);
    g_assert_cmpuint(bucket.nodes[0].n_workers, ==, 0);
    late.nonce = 9; /* the same once more */
    late.n_workers = YK_WORKERS_MAX;
    g_assert_cmpint(yk_manager_judge(&bucket, &late), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.nodes[0].n_workers, ==, YK_WORKERS_MAX);
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
    ASSERT_REFUSED(OTHER_EPOCH, propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_a, 5, 0, 2));
    bucket.slots[1].members[0].incarnation = 2; /* another one than is said to be dead */
    ASSERT_REFUSED(NOT_DEAD, propose(&bucket, YK_PROPOSE_ACCEPT_LOSS, id_a, 5, 1, 1));
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
    next.slots = 4;
    next.durability = bucket.description.durability = YK_DURABILITY_MEMORY;
    ASSERT_REFUSED(NOT_ALONE, propose_description(&bucket, NULL, 0, &next));
    next.slots = N_SLOTS;
    next.value_size_max = 77;
    g_assert_cmpint(propose_description(&bucket, NULL, 0, &next), ==, YK_REFUSAL_NONE);
    g_assert_cmpuint(bucket.description.value_size_max, ==, 77);
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

/* -- Slots with several members: a table. -- */

enum { N_LETTERS = 5, EPOCH = 10 };

/* Node a has the nonce 1, b 2, ...; a later start has 100 more. Each holds incarnation 3. */
static const char *
id_of(uint32_t node)
{
    static char ids[N_LETTERS + 1][YK_UUID_SIZE];
    g_snprintf(ids[node], YK_UUID_SIZE, "%08x-0000-4000-8000-000000000000", node);
    return ids[node];
}

/* A slot as text: the primary, the other members, /eligible, >targets, ! where it is lossy. */
static void
slot_read(struct yk_slot_record *slot, const char *text)
{
    *slot = (struct yk_slot_record){.epoch = EPOCH, .primary = (uint32_t)(text[0] - 'a')};
    slot->nonce = slot->primary + 1;
    char list = ' ';
    for (; *text != '\0'; text++) {
        uint32_t node = (uint32_t)(*text - 'a');
        if (node >= N_LETTERS) {
            list = *text;
        } else if (list == '>') {
            slot->targets[slot->n_targets++] = (uint8_t)node;
        } else if (list == '/') {
            slot->eligible[slot->n_eligible++] = (struct yk_member){node, 3};
        } else {
            slot->members[slot->n_members++] = (struct yk_member){node, 3};
        }
    }
}

static char *
slot_write(const struct yk_slot_record *slot)
{
    GString *text = g_string_new(NULL);
    g_string_append_c(text, (char)('a' + slot->primary));
    for (uint32_t i = 0; i < slot->n_members; i++) {
        if (slot->members[i].node != slot->primary) {
            g_string_append_c(text, (char)('a' + slot->members[i].node));
        }
    }
    for (uint32_t i = 0; i < slot->n_eligible; i++) {
        g_string_append_printf(text, "%s%c", i == 0 ? "/" : "",
                               (char)('a' + slot->eligible[i].node));
    }
    for (uint32_t i = 0; i < slot->n_targets; i++) {
        g_string_append_printf(text, "%s%c", i == 0 ? ">" : "", (char)('a' + slot->targets[i]));
    }
    g_string_append(text, slot->is_lossy ? "!" : "");
    return g_string_free(text, FALSE);
}

static const struct table_case {
    enum yk_proposal_kind kind;
    const char *before;
    const char *by;    /* the proposer; "": a manager */
    const char *nodes; /* whom it names */
    const char *after; /* NULL: refused */
    enum yk_refusal refusal;
    const char *lost;      /* these have registered incarnation 4; NULL: none */
    const char *restarted; /* these have registered another nonce */
    uint32_t incarnation;  /* that is named; 0: 3 */
    uint32_t dead;         /* 0: 3 */
    uint64_t nonce;        /* of the proposer; 0: the registered one */
    uint64_t node_nonce;   /* 0: the registered one of the node named */
    uint32_t epoch;        /* 0: the slot's */
    bool is_memory;
} table[] = {
    {YK_PROPOSE_BUMP, "abc", "a", "", "abc", .restarted = "a"},
    {YK_PROPOSE_BUMP, "abc", "a", "", "abc"},
    {YK_PROPOSE_BUMP, "ab/c>d", "a", "", "ab>d", .restarted = "a"},
    {YK_PROPOSE_BUMP, "abc", "b", "", NULL, YK_REFUSAL_NOT_PRIMARY},
    {YK_PROPOSE_BUMP, "abc", "a", "", NULL, YK_REFUSAL_LOST, .lost = "a"},
    {YK_PROPOSE_BUMP, "abc", "a", "", NULL, YK_REFUSAL_OLD_NONCE, .restarted = "a", .nonce = 1},
    {YK_PROPOSE_BUMP, "abc", "a", "", NULL, YK_REFUSAL_OTHER_EPOCH, .epoch = EPOCH - 1},
    {YK_PROPOSE_BUMP, "abc", "", "", NULL, YK_REFUSAL_UNKNOWN_NODE},

    {YK_PROPOSE_REMOVE, "abc", "a", "b", "ac>b"},
    {YK_PROPOSE_REMOVE, "ab", "a", "b", "a/b>b"},
    {YK_PROPOSE_REMOVE, "ab/c", "a", "b", "a/cb>b"},
    {YK_PROPOSE_REMOVE, "ab", "a", "b", "a>b", .lost = "b"}, /* it has nothing left to give */
    {YK_PROPOSE_REMOVE, "ab>d", "a", "b", "a/b>db", .restarted = "b"},
    {YK_PROPOSE_REMOVE, "abc", "a", "a", NULL, YK_REFUSAL_IS_PRIMARY},
    {YK_PROPOSE_REMOVE, "abc", "a", "d", NULL, YK_REFUSAL_NOT_MEMBER},
    {YK_PROPOSE_REMOVE, "abc", "b", "c", NULL, YK_REFUSAL_NOT_PRIMARY},
    {YK_PROPOSE_REMOVE, "abc", "d", "c", NULL, YK_REFUSAL_NOT_PRIMARY},
    {YK_PROPOSE_REMOVE, "abc", "a", "b", NULL, YK_REFUSAL_OTHER_START, .restarted = "a"},
    {YK_PROPOSE_REMOVE, "abc", "a", "b", NULL, YK_REFUSAL_OLD_NONCE, .restarted = "a", .nonce = 1},
    {YK_PROPOSE_REMOVE, "abc", "a", "b", NULL, YK_REFUSAL_LOST, .lost = "a"},
    {YK_PROPOSE_REMOVE, "abc", "a", "b", NULL, YK_REFUSAL_OTHER_EPOCH, .epoch = EPOCH + 1},
    {YK_PROPOSE_REMOVE, "abc", "a", "", NULL, YK_REFUSAL_BAD_NODES},
    {YK_PROPOSE_REMOVE, "abc", "a", "bc", NULL, YK_REFUSAL_BAD_NODES},
    {YK_PROPOSE_REMOVE, "abc", "a", "z", NULL, YK_REFUSAL_NO_SUCH_NODE},
    {YK_PROPOSE_REMOVE, "abc", "", "b", NULL, YK_REFUSAL_UNKNOWN_NODE},

    {YK_PROPOSE_ADD, "ab>dc", "a", "c", "abc>d"},
    {YK_PROPOSE_ADD, "a/bc", "a", "b", "ab"}, /* reaches min_copies: nobody is eligible */
    {YK_PROPOSE_ADD, "a/bc", "a", "d", "ad"},
    {YK_PROPOSE_ADD, "ab", "a", "c", "abc", .lost = "c", .incarnation = 4},
    {YK_PROPOSE_ADD, "ab", "a", "b", NULL, YK_REFUSAL_IS_MEMBER},
    {YK_PROPOSE_ADD, "ab", "a", "c", NULL, YK_REFUSAL_OTHER_INCARNATION, .incarnation = 2},
    {YK_PROPOSE_ADD, "ab", "a", "c", NULL, YK_REFUSAL_OTHER_INCARNATION, .lost = "c"},
    {YK_PROPOSE_ADD, "ab", "b", "c", NULL, YK_REFUSAL_NOT_PRIMARY},
    {YK_PROPOSE_ADD, "ab", "c", "c", NULL, YK_REFUSAL_NOT_PRIMARY},
    {YK_PROPOSE_ADD, "ab", "a", "c", NULL, YK_REFUSAL_OTHER_START, .restarted = "a"},
    {YK_PROPOSE_ADD, "ab", "a", "c", NULL, YK_REFUSAL_OLD_NONCE, .restarted = "a", .nonce = 1},
    {YK_PROPOSE_ADD, "ab", "a", "c", NULL, YK_REFUSAL_LOST, .lost = "a"},
    {YK_PROPOSE_ADD, "ab", "a", "c", NULL, YK_REFUSAL_OTHER_EPOCH, .epoch = 1},
    {YK_PROPOSE_ADD, "ab", "a", "z", NULL, YK_REFUSAL_NO_SUCH_NODE},
    {YK_PROPOSE_ADD, "ab", "a", "", NULL, YK_REFUSAL_BAD_NODES},

    {YK_PROPOSE_PROMOTE, "abc", "b", "", "bc>a"},
    {YK_PROPOSE_PROMOTE, "abc", "c", "", "cb>a", .restarted = "c"},
    {YK_PROPOSE_PROMOTE, "ab", "b", "", "b/a>a"},
    {YK_PROPOSE_PROMOTE, "ab", "b", "", "b>a", .lost = "a"},
    {YK_PROPOSE_PROMOTE, "ab>d", "b", "", "b/a>da", .restarted = "a"},
    {YK_PROPOSE_PROMOTE, "abc", "a", "", NULL, YK_REFUSAL_IS_PRIMARY},
    {YK_PROPOSE_PROMOTE, "abc", "d", "", NULL, YK_REFUSAL_NOT_MEMBER},
    {YK_PROPOSE_PROMOTE, "abc", "b", "", NULL, YK_REFUSAL_LOST, .lost = "b"},
    {YK_PROPOSE_PROMOTE, "abc", "b", "", NULL, YK_REFUSAL_OLD_NONCE, .restarted = "b", .nonce = 2},
    {YK_PROPOSE_PROMOTE, "abc", "b", "", NULL, YK_REFUSAL_OTHER_EPOCH, .epoch = EPOCH - 1},
    /* By the eligible rule. */
    {YK_PROPOSE_PROMOTE, "a/bc", "b", "", "b/c>a", .lost = "a"},
    {YK_PROPOSE_PROMOTE, "a/bc>b", "c", "", "c/b>ba", .lost = "a"},
    {YK_PROPOSE_PROMOTE, "a/b>b", "b", "", "b>a", .lost = "a"},
    {YK_PROPOSE_PROMOTE, "a/bc", "b", "", NULL, YK_REFUSAL_NOT_LOST},
    {YK_PROPOSE_PROMOTE, "ad/bc", "b", "", NULL, YK_REFUSAL_NOT_LOST, .lost = "a"},
    {YK_PROPOSE_PROMOTE, "ad/bc", "b", "", NULL, YK_REFUSAL_NOT_LOST, .lost = "d"},
    {YK_PROPOSE_PROMOTE, "a/bc", "b", "", NULL, YK_REFUSAL_LOST, .lost = "ab"},
    {YK_PROPOSE_PROMOTE, "a/b", "b", "", NULL, YK_REFUSAL_OLD_NONCE, .lost = "a", .nonce = 9},

    {YK_PROPOSE_HANDOFF, "abc", "a", "c", "cab"},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", "cab", .restarted = "c"},
    {YK_PROPOSE_HANDOFF, "abc", "a", "a", NULL, YK_REFUSAL_IS_PRIMARY},
    {YK_PROPOSE_HANDOFF, "abc", "a", "d", NULL, YK_REFUSAL_NOT_MEMBER},
    {YK_PROPOSE_HANDOFF, "abc", "b", "c", NULL, YK_REFUSAL_NOT_PRIMARY},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", NULL, YK_REFUSAL_OTHER_INCARNATION, .incarnation = 2},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", NULL, YK_REFUSAL_LOST, .lost = "c", .incarnation = 4},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", NULL, YK_REFUSAL_OTHER_INCARNATION, .lost = "c"},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", NULL, YK_REFUSAL_OLD_NONCE, .restarted = "c",
     .node_nonce = 3},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", NULL, YK_REFUSAL_OTHER_START, .restarted = "a"},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", NULL, YK_REFUSAL_LOST, .lost = "a"},
    {YK_PROPOSE_HANDOFF, "abc", "a", "c", NULL, YK_REFUSAL_OTHER_EPOCH, .epoch = 1},
    {YK_PROPOSE_HANDOFF, "abc", "a", "", NULL, YK_REFUSAL_BAD_NODES},

    {YK_PROPOSE_REINIT, "abc", "b", "", "bac", .lost = "abc", .is_memory = true},
    {YK_PROPOSE_REINIT, "a/bc>d", "a", "", "a>d", .lost = "abc", .is_memory = true},
    {YK_PROPOSE_REINIT, "abc", "b", "", NULL, YK_REFUSAL_KEEPS, .lost = "abc"},
    {YK_PROPOSE_REINIT, "abc", "b", "", NULL, YK_REFUSAL_NOT_LOST, .lost = "ab", .is_memory = true},
    {YK_PROPOSE_REINIT, "a/bc", "a", "", NULL, YK_REFUSAL_NOT_LOST, .lost = "ab",
     .is_memory = true},
    {YK_PROPOSE_REINIT, "abc", "d", "", NULL, YK_REFUSAL_NOT_MEMBER, .lost = "abcd",
     .is_memory = true},
    {YK_PROPOSE_REINIT, "a/bc", "b", "", NULL, YK_REFUSAL_NOT_MEMBER, .lost = "abc",
     .is_memory = true},

    {YK_PROPOSE_ACCEPT_LOSS, "abc", "b", "", "b>ac!", .lost = "b"},
    {YK_PROPOSE_ACCEPT_LOSS, "abc", "", "b", "b>ac!", .lost = "b"},
    {YK_PROPOSE_ACCEPT_LOSS, "abc>d", "c", "a", "a>db!", .lost = "a"},
    {YK_PROPOSE_ACCEPT_LOSS, "ab/cd", "", "c", "c>ab!"}, /* it could not be promoted */
    {YK_PROPOSE_ACCEPT_LOSS, "ab>de", "", "d", "d>ea!"},
    {YK_PROPOSE_ACCEPT_LOSS, "abc", "", "b", NULL, YK_REFUSAL_NOT_LOST},
    {YK_PROPOSE_ACCEPT_LOSS, "abc", "", "d", NULL, YK_REFUSAL_NOT_DEAD, .dead = 4},
    {YK_PROPOSE_ACCEPT_LOSS, "abc", "", "", NULL, YK_REFUSAL_BAD_NODES},
    {YK_PROPOSE_ACCEPT_LOSS, "abc", "", "de", NULL, YK_REFUSAL_BAD_NODES},
    {YK_PROPOSE_ACCEPT_LOSS, "abc", "", "z", NULL, YK_REFUSAL_NO_SUCH_NODE},
    {YK_PROPOSE_ACCEPT_LOSS, "abc", "", "d", NULL, YK_REFUSAL_OTHER_EPOCH, .epoch = 3},

    {YK_PROPOSE_TARGET, "abc", "", "de", "abc>de"},
    {YK_PROPOSE_TARGET, "abc>d", "e", "", "abc"},
    {YK_PROPOSE_TARGET, "a/b>d", "", "be", "a/b>be"},
    {YK_PROPOSE_TARGET, "abc", "", "dc", NULL, YK_REFUSAL_IS_MEMBER},
    {YK_PROPOSE_TARGET, "abc", "", "dd", NULL, YK_REFUSAL_BAD_NODES},
    {YK_PROPOSE_TARGET, "abc", "", "z", NULL, YK_REFUSAL_NO_SUCH_NODE},
    {YK_PROPOSE_TARGET, "abc", "", "d", NULL, YK_REFUSAL_OTHER_EPOCH, .epoch = 3},
};

static bool
names(const char *letters, uint32_t node)
{
    return letters != NULL && strchr(letters, (int)('a' + node)) != NULL;
}

/* Nodes a to e, a bucket of three copies, all slots as the text says. */
static void
fill_from(struct yk_bucket_register *bucket, const struct table_case *row)
{
    struct yk_bucket_description wanted = description;
    wanted.copies = 3;
    wanted.durability = row->is_memory ? YK_DURABILITY_MEMORY : YK_DURABILITY_DISK;
    g_assert_cmpint(yk_bucket_register_init(bucket, &wanted, error), ==, YK_OK);
    for (uint32_t i = 0; i < N_LETTERS; i++) {
        g_assert_cmpint(propose_register(bucket, id_of(i), i + 1, incarnations), ==,
                        YK_REFUSAL_NONE);
        if (names(row->lost, i) || names(row->restarted, i)) {
            g_assert_cmpint(propose_register(bucket, id_of(i),
                                             names(row->restarted, i) ? i + 101 : i + 1,
                                             names(row->lost, i) ? newer : incarnations),
                            ==, YK_REFUSAL_NONE);
        }
    }
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        slot_read(&bucket->slots[i], row->before);
    }
}

static enum yk_refusal
propose_row(struct yk_bucket_register *bucket, const struct table_case *row)
{
    struct yk_slot_proposal slot = {.slot = 1,
                                    .epoch = row->epoch != 0 ? row->epoch : EPOCH,
                                    .dead = row->dead != 0 ? row->dead : 3,
                                    .n_nodes = (uint32_t)strlen(row->nodes),
                                    .incarnation = row->incarnation != 0 ? row->incarnation : 3};
    for (uint32_t i = 0; i < slot.n_nodes; i++) {
        slot.nodes[i] = (uint8_t)(row->nodes[i] - 'a');
    }
    slot.node_nonce = row->node_nonce;
    if (slot.node_nonce == 0 && slot.n_nodes > 0 && slot.nodes[0] < N_LETTERS) {
        slot.node_nonce = bucket->nodes[slot.nodes[0]].nonce;
    }
    struct yk_proposal proposal = {.kind = row->kind, .slots = &slot, .n_slots = 1};
    if (row->by[0] != '\0') {
        uint32_t by = (uint32_t)(row->by[0] - 'a');
        proposal.node = id_of(by);
        proposal.nonce = row->nonce != 0 ? row->nonce : bucket->nodes[by].nonce;
    }
    enum yk_refusal refusal = yk_manager_judge(bucket, &proposal);
    return refusal != YK_REFUSAL_NONE ? refusal : slot.refusal;
}

static void
check_row(const struct table_case *row, uint32_t index)
{
    struct yk_bucket_register bucket;
    struct yk_slot_record before[N_SLOTS];
    fill_from(&bucket, row);
    memcpy(before, bucket.slots, sizeof(before));
    enum yk_refusal refusal = propose_row(&bucket, row);
    if (row->after == NULL) {
        assert_refused(refusal, row->refusal, &bucket, before);
    } else {
        const struct yk_slot_record *slot = &bucket.slots[1];
        g_autofree char *after = slot_write(slot);
        g_assert_cmpstr(yk_refusal_text(refusal), ==, yk_refusal_text(YK_REFUSAL_NONE));
        g_assert_cmpstr(after, ==, row->after);
        g_assert_cmpuint(slot->epoch, ==, row->kind == YK_PROPOSE_TARGET ? EPOCH : EPOCH + 1);
        g_assert_cmpuint(slot->nonce, ==,
                         row->kind == YK_PROPOSE_TARGET ? before[1].nonce
                                                        : bucket.nodes[slot->primary].nonce);
        const struct yk_member *primary = slot->members;
        while (primary->node != slot->primary) {
            primary++;
        }
        if (row->kind == YK_PROPOSE_REINIT || row->kind == YK_PROPOSE_ACCEPT_LOSS) {
            g_assert_cmpuint(primary->incarnation, ==, bucket.nodes[slot->primary].incarnations[1]);
        }
    }
    if (g_test_failed()) {
        g_test_message("row %u of the table: %s, by '%s', names '%s'", index, row->before, row->by,
                       row->nodes);
    }
    yk_bucket_register_done(&bucket);
}

static void
test_table(void)
{
    for (uint32_t i = 0; i < G_N_ELEMENTS(table) && !g_test_failed(); i++) {
        check_row(&table[i], i);
    }
}

static void
test_create_with_placement(void)
{
    struct yk_bucket_register bucket;
    struct yk_slot_proposal slot = {.slot = 1, .epoch = 1, .n_nodes = 3, .nodes = {2, 0, 4}};
    struct yk_proposal proposal = {.kind = YK_PROPOSE_CREATE, .slots = &slot, .n_slots = 1};
    const struct table_case row = {.before = "abc", .lost = "e"};
    fill_from(&bucket, &row);
    memset(&bucket.slots[1], 0, sizeof(bucket.slots[1]));
    struct yk_slot_proposal bad = slot;
    proposal.slots = &bad;
    bad.nodes[2] = 2;
    ASSERT_REFUSED(BAD_NODES, (yk_manager_judge(&bucket, &proposal), bad.refusal));
    bad.nodes[2] = N_LETTERS;
    ASSERT_REFUSED(NO_SUCH_NODE, (yk_manager_judge(&bucket, &proposal), bad.refusal));
    bad.n_nodes = YK_COPIES_MAX + 1;
    ASSERT_REFUSED(BAD_NODES, (yk_manager_judge(&bucket, &proposal), bad.refusal));
    bad.n_nodes = 0;
    ASSERT_REFUSED(BAD_NODES, (yk_manager_judge(&bucket, &proposal), bad.refusal));
    proposal.slots = &slot;
    g_assert_cmpint(yk_manager_judge(&bucket, &proposal), ==, YK_REFUSAL_NONE);
    g_assert_cmpint(slot.refusal, ==, YK_REFUSAL_NONE);
    const struct yk_slot_record *made = &bucket.slots[1];
    g_autofree char *text = slot_write(made);
    g_assert_cmpstr(text, ==, "cae");
    g_assert_cmpuint(made->epoch, ==, 1);
    g_assert_cmpuint(made->nonce, ==, 3);
    g_assert_cmpuint(made->members[0].incarnation, ==, 3);
    g_assert_cmpuint(made->members[2].incarnation, ==, 4);
    yk_bucket_register_done(&bucket);
}

/* Only what is open to anybody may be proposed without a node. */
static void
test_manager_proposes(void)
{
    static const enum yk_proposal_kind closed[] = {YK_PROPOSE_BUMP,    YK_PROPOSE_REMOVE,
                                                   YK_PROPOSE_ADD,     YK_PROPOSE_PROMOTE,
                                                   YK_PROPOSE_HANDOFF, YK_PROPOSE_REINIT};
    struct yk_bucket_register bucket;
    fill(&bucket);
    for (uint32_t i = 0; i < G_N_ELEMENTS(closed); i++) {
        ASSERT_REFUSED(UNKNOWN_NODE, propose(&bucket, closed[i], NULL, 1, 0, 1));
    }
    yk_bucket_register_done(&bucket);
}

/* Fewer commit from then on, of which an eligible node knows nothing; but one that alone is left
 * stays. */
static void
test_lower_min_copies(void)
{
    struct yk_bucket_register bucket;
    const struct table_case row = {.before = "a/b", .lost = "a"};
    fill_from(&bucket, &row);
    slot_read(&bucket.slots[2], "c/b");
    slot_read(&bucket.slots[4], "a/bd");
    struct yk_bucket_description next = bucket.description;
    next.min_copies = 1;
    g_assert_cmpint(propose_description(&bucket, NULL, 0, &next), ==, YK_REFUSAL_NONE);
    g_autofree char *kept = slot_write(&bucket.slots[0]);
    g_assert_cmpstr(kept, ==, "a/b");
    g_autofree char *emptied = slot_write(&bucket.slots[2]);
    g_assert_cmpstr(emptied, ==, "c");
    /* It goes on by itself, and from then on the other one may be behind. */
    g_assert_cmpint(propose(&bucket, YK_PROPOSE_PROMOTE, id_of(1), 2, 4, EPOCH + 1), ==,
                    YK_REFUSAL_NONE);
    g_autofree char *promoted = slot_write(&bucket.slots[4]);
    g_assert_cmpstr(promoted, ==, "b>a");
    yk_bucket_register_done(&bucket);
}

/* As many members as there may be, and as many eligible ones. */
static void
test_full_lists(void)
{
    struct yk_bucket_register bucket;
    struct yk_bucket_description wanted = description;
    wanted.copies = wanted.min_copies = YK_COPIES_MAX;
    g_assert_cmpint(yk_bucket_register_init(&bucket, &wanted, error), ==, YK_OK);
    struct yk_slot_proposal slot = {.slot = 0, .epoch = 1, .n_nodes = 1, .incarnation = 3};
    struct yk_proposal proposal = {
        .node = "00000000-0000-4000-8000-000000000000", .nonce = 1, .slots = &slot, .n_slots = 1};
    for (uint32_t i = 0; i < 2 * YK_MEMBERS_MAX; i++) {
        g_autofree char *id = g_strdup_printf("%08x-0000-4000-8000-000000000000", i);
        g_assert_cmpint(propose_register(&bucket, id, 1, incarnations), ==, YK_REFUSAL_NONE);
        slot.nodes[0] = (uint8_t)i;
        proposal.kind = i == 0 ? YK_PROPOSE_CREATE : YK_PROPOSE_ADD;
        g_assert_cmpint(yk_manager_judge(&bucket, &proposal), ==, YK_REFUSAL_NONE);
        g_assert_cmpint(slot.refusal, ==,
                        i < YK_MEMBERS_MAX ? YK_REFUSAL_NONE : YK_REFUSAL_TOO_MANY_MEMBERS);
        slot.epoch = bucket.slots[0].epoch;
    }
    g_assert_cmpuint(bucket.slots[0].n_members, ==, YK_MEMBERS_MAX);
    /* One after another joins and leaves below min_copies, and each stays eligible. */
    bucket.slots[0] =
        (struct yk_slot_record){.epoch = 1, .nonce = 1, .n_members = 1, .members = {{0, 3}}};
    for (uint32_t i = 0; i < 2 * (2 * YK_MEMBERS_MAX - 1); i++) {
        slot.nodes[0] = (uint8_t)(1 + i / 2);
        slot.epoch = i + 1;
        proposal.kind = i % 2 == 0 ? YK_PROPOSE_ADD : YK_PROPOSE_REMOVE;
        g_assert_cmpint(yk_manager_judge(&bucket, &proposal), ==, YK_REFUSAL_NONE);
        g_assert_cmpint(slot.refusal, ==, YK_REFUSAL_NONE);
    }
    g_assert_cmpuint(bucket.slots[0].n_eligible, ==, YK_MEMBERS_MAX);
    g_assert_cmpuint(bucket.slots[0].eligible[0].node, ==, 1);
    yk_bucket_register_done(&bucket);
}

/* -- Proposals at random. -- */

/* What is proposed is near to what could be granted: each part of it is at times an older one. */
struct walk {
    struct yk_random random;
    struct yk_bucket_register bucket;
    uint32_t n_nodes;
    uint64_t nonce; /* the last that was given */
    uint32_t n_granted[YK_PROPOSE_KINDS];
};

static uint32_t
below(struct walk *walk, uint32_t bound)
{
    return (uint32_t)yk_random_below(&walk->random, bound);
}

static void
walk_register(struct walk *walk)
{
    uint32_t index = below(walk, walk->n_nodes);
    uint32_t lanes[N_LANES] = {1, 1};
    const struct yk_register_node *node = &walk->bucket.nodes[index];
    bool is_there = index < walk->bucket.n_nodes;
    for (uint32_t i = 0; is_there && i < N_LANES; i++) {
        lanes[i] = node->incarnations[i] + (below(walk, 3) == 0);
        lanes[i] -= lanes[i] > 1 && below(walk, 20) == 0;
    }
    struct yk_proposal proposal = {.kind = YK_PROPOSE_REGISTER,
                                   .node = id_of(is_there ? index : walk->bucket.n_nodes),
                                   .nonce = ++walk->nonce,
                                   .replaces = is_there ? node->nonce : 0,
                                   .incarnations = lanes,
                                   .n_lanes = N_LANES};
    if (below(walk, 10) == 0) {
        proposal.replaces = below(walk, (uint32_t)walk->nonce);
        proposal.nonce = 1 + below(walk, (uint32_t)walk->nonce);
    }
    walk->n_granted[YK_PROPOSE_REGISTER] +=
        yk_manager_judge(&walk->bucket, &proposal) == YK_REFUSAL_NONE;
}

static bool
has(const struct yk_member *members, uint32_t n, uint32_t node, uint32_t incarnation)
{
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].node == node && members[i].incarnation == incarnation) {
            return true;
        }
    }
    return false;
}

static bool
is_newer(const struct walk *walk, uint32_t slot, const struct yk_member *members, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (yk_register_incarnation(&walk->bucket.nodes[members[i].node], slot) <=
            members[i].incarnation) {
            return false;
        }
    }
    return true;
}

/* Said in other words than the rules: who may be primary after a grant. */
static void
check_primary(const struct walk *walk, enum yk_proposal_kind kind, uint32_t index,
              const struct yk_slot_record *before, const struct yk_slot_record *now)
{
    const struct yk_register_node *primary = &walk->bucket.nodes[now->primary];
    uint32_t incarnation = yk_register_incarnation(primary, index);
    bool was_member = has(before->members, before->n_members, now->primary, incarnation);
    bool was_eligible = has(before->eligible, before->n_eligible, now->primary, incarnation);
    if (kind == YK_PROPOSE_TARGET) {
        g_assert_cmpuint(now->primary, ==, before->primary);
        return;
    }
    g_assert_true(has(now->members, now->n_members, now->primary, incarnation));
    g_assert_cmpuint(now->nonce, ==, primary->nonce);
    if (kind == YK_PROPOSE_REINIT) {
        g_assert_true(is_newer(walk, index, before->members, before->n_members));
        g_assert_true(is_newer(walk, index, before->eligible, before->n_eligible));
    } else if (kind != YK_PROPOSE_CREATE && kind != YK_PROPOSE_ACCEPT_LOSS) {
        g_assert_true(was_member || was_eligible);
        g_assert_true(was_member || is_newer(walk, index, before->members, before->n_members));
        g_assert_true(now->is_lossy == before->is_lossy);
    }
}

static void
check_slot(const struct walk *walk, enum yk_proposal_kind kind, uint32_t index,
           const struct yk_slot_record *before)
{
    const struct yk_slot_record *now = &walk->bucket.slots[index];
    g_assert_cmpuint(now->epoch, ==,
                     kind == YK_PROPOSE_TARGET   ? before->epoch
                     : kind == YK_PROPOSE_CREATE ? 1
                                                 : before->epoch + 1);
    g_assert_cmpuint(now->n_members, >, 0);
    g_assert_cmpuint(now->n_members, <=, YK_MEMBERS_MAX);
    for (uint32_t i = 0; i < now->n_members; i++) {
        uint32_t node = now->members[i].node;
        for (uint32_t k = 0; k < now->n_members; k++) {
            g_assert_true(k == i || now->members[k].node != node);
        }
        for (uint32_t k = 0; k < now->n_eligible; k++) {
            g_assert_cmpuint(now->eligible[k].node, !=, node);
        }
        g_assert_true(memchr(now->targets, (int)node, now->n_targets) == NULL);
    }
    if (kind != YK_PROPOSE_TARGET) {
        g_assert_true(now->n_eligible == 0 || now->n_members < walk->bucket.description.min_copies);
    }
    /* Only a member stays eligible, with the incarnation that it had as one. */
    for (uint32_t i = 0; i < now->n_eligible; i++) {
        const struct yk_member *one = &now->eligible[i];
        g_assert_true(has(before->eligible, before->n_eligible, one->node, one->incarnation) ||
                      has(before->members, before->n_members, one->node, one->incarnation));
    }
    check_primary(walk, kind, index, before, now);
}

/* Another min_copies: each slot gets a new epoch, nobody becomes what he was not. */
static void
walk_describe(struct walk *walk)
{
    struct yk_slot_record before[N_SLOTS];
    struct yk_bucket_description next = walk->bucket.description;
    memcpy(before, walk->bucket.slots, sizeof(before));
    next.min_copies = 1 + below(walk, 3);
    bool is_lower = next.min_copies < walk->bucket.description.min_copies;
    bool is_other = next.min_copies != walk->bucket.description.min_copies;
    g_assert_cmpint(propose_description(&walk->bucket, NULL, 0, &next), ==, YK_REFUSAL_NONE);
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        const struct yk_slot_record *now = &walk->bucket.slots[i];
        bool is_lost = is_newer(walk, i, before[i].members, before[i].n_members);
        uint32_t n_eligible = is_lower && !is_lost ? 0 : before[i].n_eligible;
        g_assert_cmpuint(now->epoch, ==, before[i].epoch + (before[i].epoch > 0 && is_other));
        g_assert_cmpuint(now->n_eligible, ==, n_eligible);
        g_assert_cmpmem(now->members, sizeof(now->members), before[i].members,
                        sizeof(now->members));
    }
    walk->n_granted[YK_PROPOSE_DESCRIBE]++;
}

static struct yk_slot_proposal
walk_slot(struct walk *walk)
{
    uint32_t index = below(walk, N_SLOTS);
    const struct yk_slot_record *slot = &walk->bucket.slots[index];
    struct yk_slot_proposal proposal = {
        .slot = index,
        .epoch = slot->epoch == 0       ? 1
                 : below(walk, 10) == 0 ? below(walk, slot->epoch + 2)
                                        : slot->epoch,
        .dead = below(walk, 3) == 0 ? below(walk, 5) : slot->members[0].incarnation,
        .n_nodes = below(walk, 8) == 0 ? below(walk, 5) : 1};
    for (uint32_t i = 0; i < proposal.n_nodes; i++) {
        proposal.nodes[i] = (uint8_t)below(walk, walk->n_nodes);
    }
    const struct yk_register_node *named = &walk->bucket.nodes[proposal.nodes[0]];
    proposal.incarnation = named->incarnations[index % N_LANES] - (below(walk, 10) == 0);
    proposal.node_nonce = below(walk, 10) == 0 ? below(walk, (uint32_t)walk->nonce) : named->nonce;
    return proposal;
}

static void
walk_propose(struct walk *walk)
{
    struct yk_slot_proposal slot = walk_slot(walk);
    const struct yk_slot_record before = walk->bucket.slots[slot.slot];
    uint32_t by = below(walk, 3) == 0 ? before.primary : below(walk, walk->n_nodes);
    uint64_t nonce = by < walk->bucket.n_nodes ? walk->bucket.nodes[by].nonce : 1;
    struct yk_proposal proposal = {
        .kind = YK_PROPOSE_CREATE + below(walk, YK_PROPOSE_KINDS - YK_PROPOSE_CREATE),
        .node = id_of(by),
        .nonce = below(walk, 10) == 0 ? below(walk, (uint32_t)walk->nonce) : nonce,
        .slots = &slot,
        .n_slots = 1};
    /* Else most slots would end lossy. */
    if (proposal.kind == YK_PROPOSE_ACCEPT_LOSS && below(walk, 4) != 0) {
        proposal.kind = YK_PROPOSE_PROMOTE;
    }
    enum yk_refusal refusal = yk_manager_judge(&walk->bucket, &proposal);
    refusal = refusal != YK_REFUSAL_NONE ? refusal : slot.refusal;
    if (refusal != YK_REFUSAL_NONE) {
        g_assert_cmpmem(&before, sizeof(before), &walk->bucket.slots[slot.slot], sizeof(before));
        return;
    }
    g_assert_cmpuint(proposal.nonce, ==, nonce);
    walk->n_granted[proposal.kind]++;
    check_slot(walk, proposal.kind, slot.slot, &before);
}

/* What is written of it reads the same, by what is written of that. */
static void
check_form(const struct walk *walk)
{
    struct yk_bucket_register again;
    struct yk_pack first, second;
    yk_pack_init(&first, YK_REGISTER_SIZE_MAX);
    yk_pack_init(&second, YK_REGISTER_SIZE_MAX);
    g_assert_cmpint(yk_bucket_register_encode(&walk->bucket, &first, error), ==, YK_OK);
    g_assert_cmpint(yk_bucket_register_decode(yk_pack_bytes_of(&first), &again, error), ==, YK_OK);
    g_assert_cmpint(yk_bucket_register_encode(&again, &second, error), ==, YK_OK);
    g_assert_true(yk_slice_equal(yk_pack_bytes_of(&first), yk_pack_bytes_of(&second)));
    yk_pack_done(&first);
    yk_pack_done(&second);
    yk_bucket_register_done(&again);
}

static void
walk_from(uint64_t seed, uint32_t *n_granted)
{
    struct walk walk = {.random = {seed}};
    struct yk_bucket_description wanted = description;
    walk.n_nodes = 3 + below(&walk, 4);
    wanted.copies = 3;
    wanted.min_copies = 1 + below(&walk, 3);
    wanted.durability = below(&walk, 2) == 0 ? YK_DURABILITY_MEMORY : YK_DURABILITY_DISK;
    g_assert_cmpint(yk_bucket_register_init(&walk.bucket, &wanted, error), ==, YK_OK);
    for (uint32_t i = 0; i < 3000 && !g_test_failed(); i++) {
        if (walk.bucket.n_nodes < walk.n_nodes || below(&walk, 30) == 0) {
            walk_register(&walk);
        } else if (below(&walk, 300) == 0) {
            walk_describe(&walk);
        } else {
            walk_propose(&walk);
        }
        if (i % 50 == 0) {
            check_form(&walk);
        }
    }
    for (uint32_t i = 0; i < YK_PROPOSE_KINDS; i++) {
        n_granted[i] += walk.n_granted[i];
    }
    if (g_test_failed()) {
        g_test_message("seed %llu", (unsigned long long)seed);
    }
    yk_bucket_register_done(&walk.bucket);
}

static void
test_walk(void)
{
    uint32_t n_granted[YK_PROPOSE_KINDS] = {0};
    for (uint64_t seed = 1; seed <= 200 && !g_test_failed(); seed++) {
        walk_from(seed, n_granted);
    }
    for (uint32_t i = 0; i < YK_PROPOSE_KINDS && !g_test_failed(); i++) {
        g_test_message("kind %u: granted %u times", i, n_granted[i]);
        g_assert_cmpuint(n_granted[i], >, 100);
    }
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
    g_test_add_func("/manager/table", test_table);
    g_test_add_func("/manager/create-with-placement", test_create_with_placement);
    g_test_add_func("/manager/manager-proposes", test_manager_proposes);
    g_test_add_func("/manager/lower-min-copies", test_lower_min_copies);
    g_test_add_func("/manager/full-lists", test_full_lists);
    g_test_add_func("/manager/walk", test_walk);
    g_test_add_func("/manager/alone", test_alone);
    g_test_add_func("/manager/alone-restores", test_alone_restores);
    g_test_add_func("/manager/alone-in-memory", test_alone_in_memory);
    g_test_add_func("/manager/alone-refused", test_alone_refused);
    return g_test_run();
}
