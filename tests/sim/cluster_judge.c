/* The one place that stands for managers and coordinator: it judges registers by the shipped rules.
 */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/manager/rules.h"

void
judge_name_of(uint32_t index, char *to)
{
    snprintf(to, YK_UUID_SIZE, "00000000-0000-4000-8000-00000000000%u", index % 10);
}

static struct yk_view *
view_for(uint32_t node, bool is_fresh)
{
    struct yk_pack pack;
    char error[YK_ERROR_SIZE];
    char name[YK_UUID_SIZE];
    struct yk_view *view = yk_view_new(1);
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    YK_ASSERT(yk_bucket_register_encode(&sim.bucket, &pack, error) == YK_OK);
    YK_ASSERT(yk_bucket_register_decode(yk_pack_bytes_of(&pack), &view->buckets[0].bucket, error) ==
              YK_OK);
    yk_pack_done(&pack);
    judge_name_of(node, name);
    view->buckets[0].is_fresh = is_fresh;
    view->buckets[0].self = yk_bucket_register_find(&sim.bucket, name);
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        judge_name_of(i, name);
        uint32_t index = yk_bucket_register_find(&sim.bucket, name);
        view->buckets[0].peers[index] = i + 1;
        view->buckets[0].bucket.nodes[index].n_workers = WORKERS;
    }
    return view;
}

static bool
register_start(uint32_t from, uint64_t boot)
{
    char name[YK_UUID_SIZE];
    judge_name_of(from, name);
    uint32_t index = yk_bucket_register_find(&sim.bucket, name);
    uint64_t known = index < sim.bucket.n_nodes ? sim.bucket.nodes[index].nonce : 0;
    struct yk_proposal proposal = {.kind = YK_PROPOSE_REGISTER,
                                   .node = name,
                                   .nonce = boot,
                                   .replaces = known,
                                   .incarnations = sim.nodes[from].incarnations,
                                   .n_lanes = LANES};
    bool is_done = known <= boot && yk_manager_judge(&sim.bucket, &proposal) == YK_REFUSAL_NONE;
    index = yk_bucket_register_find(&sim.bucket, name);
    if (is_done) {
        sim.bucket.nodes[index].n_workers = WORKERS;
    }
    return is_done;
}

static bool
judge(const struct question *question, const struct yk_slot_wish *wish)
{
    static const enum yk_proposal_kind kinds[] = {[YK_WISH_BUMP] = YK_PROPOSE_BUMP,
                                                  [YK_WISH_PROMOTE] = YK_PROPOSE_PROMOTE,
                                                  [YK_WISH_REMOVE] = YK_PROPOSE_REMOVE,
                                                  [YK_WISH_ADD] = YK_PROPOSE_ADD,
                                                  [YK_WISH_REINIT] = YK_PROPOSE_REINIT};
    char name[YK_UUID_SIZE];
    judge_name_of(question->node, name);
    struct yk_slot_proposal slot = {.slot = wish->slot, .epoch = wish->wish.epoch};
    if (wish->wish.kind == YK_WISH_REMOVE || wish->wish.kind == YK_WISH_ADD) {
        slot.n_nodes = 1;
        slot.nodes[0] = (uint8_t)wish->wish.node;
        slot.incarnation = wish->wish.incarnation;
    }
    struct yk_proposal proposal = {.kind = kinds[wish->wish.kind],
                                   .node = name,
                                   .nonce = question->boot,
                                   .slots = &slot,
                                   .n_slots = 1};
    enum yk_refusal refusal = yk_manager_judge(&sim.bucket, &proposal);
    refusal = refusal != YK_REFUSAL_NONE ? refusal : slot.refusal;
    if (sim.traces != NULL) {
        sim_trace("manager: node %u slot %u wish %d of epoch %u about %u: %s", question->node,
                  wish->slot, wish->wish.kind, wish->wish.epoch, wish->wish.node,
                  yk_refusal_text(refusal));
    }
    if (refusal == YK_REFUSAL_NONE && wish->wish.kind == YK_WISH_REINIT) {
        sim.lost |= 1u << wish->slot;
    }
    return refusal == YK_REFUSAL_NONE;
}

static void
tell(struct question *question)
{
    int64_t way = sim_way_us(MANAGER, question->node);
    if (way < 0) {
        free(question->wishes);
        yk_view_unref(question->view);
        g_free(question);
        return;
    }
    sim_put((struct happening){.at_us = sim.now_us + way, .kind = TOLD, .thing = question});
}

void
judge_ask(struct node *node, struct question *question)
{
    int64_t way = sim_way_us((uint32_t)(node - sim.nodes), MANAGER);
    question->node = (uint32_t)(node - sim.nodes);
    question->boot = node->boot;
    if (way < 0) {
        free(question->wishes);
        g_free(question);
        return;
    }
    sim_put((struct happening){.at_us = sim.now_us + way, .kind = ASKED, .thing = question});
}

void
judge_asked(struct question *question)
{
    bool has_changed = false;
    if (question->is_register) {
        question->is_granted = register_start(question->node, question->boot);
    } else if (question->wishes != NULL) {
        struct yk_wishes *wishes = question->wishes;
        uint32_t n = 0;
        for (uint32_t i = 0; i < wishes->n; i++) {
            if (judge(question, &wishes->wishes[i])) {
                has_changed = true;
                sim.result->n_epochs++;
            } else {
                wishes->wishes[n++] = wishes->wishes[i];
            }
        }
        wishes->n = n;
    }
    question->view = view_for(question->node, true);
    tell(question);
    for (uint32_t i = 0; has_changed && i < sim.n_nodes; i++) {
        struct question *hint = g_new0(struct question, 1);
        hint->node = i;
        hint->view = view_for(i, false);
        tell(hint);
    }
}

static void
show_view(struct node *node, struct yk_view *view)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        node_step(node, i, (struct yk_event){.kind = YK_EVENT_VIEW, .view = yk_view_ref(view)});
    }
}

void
judge_told(struct question *question)
{
    struct node *node = &sim.nodes[question->node];
    bool is_ours = node->node != NULL && question->boot == node->boot;
    if (is_ours && question->is_register) {
        node->is_registered = node->is_registered || question->is_granted;
    }
    if (node->node != NULL && (node->is_registered || !is_ours)) {
        question->view->buckets[0].is_fresh = is_ours && node->is_registered;
        show_view(node, question->view);
    }
    if (is_ours && question->wishes != NULL && node->is_registered) {
        node_step(node, question->worker,
                  (struct yk_event){.kind = YK_EVENT_REFUSED, .refused = question->wishes});
        question->wishes = NULL;
    }
    free(question->wishes);
    yk_view_unref(question->view);
    g_free(question);
}

void
judge_register_later(struct node *node)
{
    struct question *question = g_new0(struct question, 1);
    question->is_register = !node->is_registered;
    judge_ask(node, question);
    sim_of_node(node, node->is_registered ? MS(250) : MS(60), CLIENT, UINT32_MAX, NULL);
}

void
judge_make_register(void)
{
    struct yk_bucket_description description = {.slots = SLOTS,
                                                .copies = 3,
                                                .min_copies = 2,
                                                .durability = sim.is_memory ? YK_DURABILITY_MEMORY
                                                                            : YK_DURABILITY_OS,
                                                .reads = sim.swarm.reads,
                                                .key_size_max = 250,
                                                .value_size_max = 65536};
    char error[YK_ERROR_SIZE];
    g_strlcpy(description.engine, sim.swarm.engine, sizeof(description.engine));
    YK_ASSERT(yk_bucket_register_init(&sim.bucket, &description, error) == YK_OK);
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        YK_ASSERT(register_start(i, 1));
    }
    struct yk_slot_proposal slots[SLOTS];
    for (uint32_t i = 0; i < SLOTS; i++) {
        slots[i] = (struct yk_slot_proposal){.slot = i, .epoch = 1, .n_nodes = 3};
        for (uint32_t k = 0; k < 3; k++) {
            slots[i].nodes[k] = (uint8_t)((i + k) % sim.n_nodes);
        }
    }
    struct yk_proposal proposal = {.kind = YK_PROPOSE_CREATE, .slots = slots, .n_slots = SLOTS};
    YK_ASSERT(yk_manager_judge(&sim.bucket, &proposal) == YK_REFUSAL_NONE);
}
