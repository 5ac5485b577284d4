/* What managers write: starts and wishes by the rules, and, when a tool asks for it, the first
 * registers of a cluster. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/assert.h"
#include "core/manager/describe.h"
#include "core/node/control_inside.h"
#include "core/ring/placement.h"

enum { CREATED = 0, UNDER_WAY = 1, NO_MANAGER = 2 };

/* Who is there */

void
creation_note(struct yk_control *control, const struct reg *reg, const struct yk_ask *ask)
{
    const struct yk_config *config = control->setup.config;
    uint32_t index = 0;
    while (index < config->n_nodes && strcmp(config->nodes[index].name, ask->start.name) != 0) {
        index++;
    }
    if (index == config->n_nodes) {
        return;
    }
    struct candidate *candidate = &control->candidates[index];
    if (candidate->nonce != ask->nonce) {
        for (uint32_t i = 0; i < YK_BUCKETS_MAX; i++) {
            free(candidate->incarnations[i]);
        }
        *candidate = (struct candidate){.nonce = ask->nonce};
        memcpy(candidate->id, ask->node_id, sizeof(candidate->id));
    }
    candidate->heard_us = control->now_us;
    candidate->n_workers = ask->start.n_workers;
    if (reg->bucket == UINT32_MAX || ask->start.n_lanes == 0) {
        return;
    }
    uint32_t *incarnations = calloc(ask->start.n_lanes, sizeof(*incarnations));
    if (incarnations != NULL) {
        memcpy(incarnations, ask->start.incarnations, ask->start.n_lanes * sizeof(*incarnations));
        free(candidate->incarnations[reg->bucket]);
        candidate->incarnations[reg->bucket] = incarnations;
        candidate->n_lanes = ask->start.n_lanes;
    }
}

/* The node is there, and what has to be known of it to make the registers is known. */
static bool
is_complete(const struct yk_control *control, uint32_t node)
{
    const struct yk_config *config = control->setup.config;
    const struct candidate *candidate = &control->candidates[node];
    bool is_server = (config->nodes[node].roles & YK_ROLE_SERVER) != 0;
    bool is_whole =
        candidate->id[0] != '\0' && control->now_us - candidate->heard_us < CONTROL_MS(SILENT_MS);
    for (uint32_t i = 0; is_server && is_whole && i < config->n_buckets; i++) {
        is_whole = candidate->incarnations[i] != NULL;
    }
    return is_whole;
}

/* The servers that are not there, with commas between them; returns how many are. */
static uint32_t
list_missing(const struct yk_control *control, char *text, size_t size)
{
    const struct yk_config *config = control->setup.config;
    uint32_t n_there = 0;
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        if ((config->nodes[i].roles & YK_ROLE_SERVER) == 0) {
            continue;
        }
        if (is_complete(control, i)) {
            n_there++;
        } else if (used + YK_NAME_SIZE_MAX + 3 < size) {
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     config->nodes[i].name);
        }
    }
    return n_there;
}

/* ★ Whoever makes a register has heard of all servers itself, whatever another manager knew that
 * made the one before: what it does not know of would never hold anything. */
static bool
is_everybody_there(const struct yk_control *control, const struct task *task)
{
    char missing[YK_ERROR_SIZE];
    return list_missing(control, missing, sizeof(missing)) > 0 &&
           (missing[0] == '\0' || task->is_now);
}

/* cluster */

static void
random_uuid(struct yk_control *control, char *to)
{
    uint64_t high = yk_random_next(&control->random);
    uint64_t low = yk_random_next(&control->random);
    high = (high & ~0xf000ull) | 0x4000;
    low = (low & ~(3ull << 62)) | (2ull << 62);
    snprintf(to, YK_UUID_SIZE, "%08x-%04x-%04x-%04x-%012llx", (uint32_t)(high >> 32),
             (uint32_t)(high >> 16) & 0xffff, (uint32_t)high & 0xffff, (uint32_t)(low >> 48),
             (unsigned long long)(low & 0xffffffffffffull));
}

static void
fill_node(struct yk_cluster_node *node, const char *id, const char *name, const char *address,
          const char *zone, uint32_t weight)
{
    node->weight = weight;
    memcpy(node->id, id, sizeof(node->id));
    snprintf(node->name, sizeof(node->name), "%s", name);
    snprintf(node->address, sizeof(node->address), "%.127s", address);
    snprintf(node->zone, sizeof(node->zone), "%s", zone);
}

static void
add_buckets(const struct yk_control *control, struct yk_cluster_register *cluster)
{
    for (uint32_t i = 0; i < control->setup.config->n_buckets; i++) {
        const char *name = control->setup.config->buckets[i].name;
        uint32_t index = 0;
        while (index < cluster->n_buckets && strcmp(cluster->buckets[index], name) != 0) {
            index++;
        }
        if (index == cluster->n_buckets && index < YK_BUCKETS_MAX) {
            snprintf(cluster->buckets[cluster->n_buckets++], sizeof(cluster->buckets[0]), "%s",
                     name);
        }
    }
}

static void
make_cluster(struct yk_control *control, struct yk_cluster_register *cluster)
{
    const struct yk_config *config = control->setup.config;
    memset(cluster, 0, sizeof(*cluster));
    random_uuid(control, cluster->id);
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        const struct yk_node_config *node = &config->nodes[i];
        if (is_complete(control, i)) {
            fill_node(&cluster->nodes[cluster->n_nodes++], control->candidates[i].id, node->name,
                      node->address, node->zone, node->weight);
        }
    }
    yk_log(control->setup.world, YK_LOG_NOTICE, "manager", "makes cluster %s of %u nodes",
           cluster->id, cluster->n_nodes);
}

/* A node that has moved says where it is now; one that the manager's file names and the register
 * does not is taken in, and holds nothing until a plan gives it something. */
static void
start_in_cluster(struct yk_control *control, struct yk_cluster_register *cluster, struct task *task)
{
    const struct yk_ask_start *start = &task->ask.start;
    const struct yk_config *config = control->setup.config;
    const struct yk_node_config *named = NULL;
    for (uint32_t i = 0; i < cluster->n_nodes; i++) {
        struct yk_cluster_node *node = &cluster->nodes[i];
        if (strcmp(node->id, task->ask.node_id) == 0) {
            fill_node(node, task->ask.node_id, start->name, start->address, start->zone,
                      start->weight);
            return;
        }
        if (strcmp(node->name, start->name) == 0) {
            snprintf(task->text, sizeof(task->text),
                     "the cluster knows another node (%s) by the name %s: if its data folder was "
                     "lost, give the new one a name of its own",
                     node->id, node->name);
            return;
        }
    }
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        named = strcmp(config->nodes[i].name, start->name) == 0 ? &config->nodes[i] : named;
    }
    if (named == NULL || cluster->n_nodes == YK_NODES_MAX) {
        snprintf(task->text, sizeof(task->text), "%s",
                 named != NULL ? yk_refusal_text(YK_REFUSAL_TOO_MANY_NODES)
                               : "the manager's file does not name this node");
        return;
    }
    struct yk_cluster_node *node = &cluster->nodes[cluster->n_nodes++];
    fill_node(node, task->ask.node_id, start->name, start->address, start->zone, start->weight);
    node->state = (named->roles & YK_ROLE_SERVER) != 0 ? YK_NODE_NEW : YK_NODE_ATTACHED;
}

static void
judge_cluster(struct yk_control *control, struct yk_cluster_register *cluster, struct task *task)
{
    if (task->is_create && cluster->n_nodes == 0 && is_everybody_there(control, task)) {
        make_cluster(control, cluster);
    }
    if (cluster->n_nodes > 0 && task->is_create) {
        add_buckets(control, cluster);
    }
    if (cluster->n_nodes > 0 && task->ask.has_start) {
        start_in_cluster(control, cluster, task);
    }
}

/* Buckets */

static enum yk_refusal
register_candidate(struct yk_bucket_register *bucket, const struct candidate *candidate,
                   uint32_t index)
{
    struct yk_proposal proposal = {.kind = YK_PROPOSE_REGISTER,
                                   .node = candidate->id,
                                   .nonce = candidate->nonce,
                                   .incarnations = candidate->incarnations[index],
                                   .n_lanes = candidate->n_lanes,
                                   .n_workers = candidate->n_workers};
    return yk_manager_judge(bucket, &proposal);
}

/* The servers of the file as the placement wants them, in the order of the register. */
static void
list_places(const struct yk_control *control, const struct yk_bucket_register *bucket,
            struct yk_placement_node *places)
{
    const struct yk_config *config = control->setup.config;
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        uint32_t index = yk_bucket_register_find(bucket, control->candidates[i].id);
        if (index < bucket->n_nodes) {
            places[index] = (struct yk_placement_node){.id = bucket->nodes[index].id,
                                                       .zone = config->nodes[i].zone,
                                                       .weight = config->nodes[i].weight};
        }
    }
}

/* Each slot where the placement wants it. */
static bool
create_slots(const struct yk_control *control, struct yk_bucket_register *bucket)
{
    const struct yk_bucket_description *description = &bucket->description;
    struct yk_placement_node places[YK_NODES_MAX] = {{.id = NULL}};
    uint32_t *assignment = calloc(description->slots, description->copies * sizeof(*assignment));
    list_places(control, bucket, places);
    bool is_good =
        assignment != NULL &&
        yk_placement_compute(places, bucket->n_nodes, description->slots, description->copies,
                             (struct yk_placement_current){NULL, 0}, assignment) == YK_OK;
    for (uint32_t i = 0; is_good && i < description->slots; i++) {
        const uint32_t *nodes = &assignment[(size_t)i * description->copies];
        struct yk_slot_proposal slot = {.slot = i, .epoch = 1};
        struct yk_proposal proposal = {.kind = YK_PROPOSE_CREATE, .slots = &slot, .n_slots = 1};
        while (slot.n_nodes < description->copies && nodes[slot.n_nodes] != YK_PLACEMENT_NONE) {
            slot.nodes[slot.n_nodes] = (uint8_t)nodes[slot.n_nodes];
            slot.n_nodes++;
        }
        is_good = yk_manager_judge(bucket, &proposal) == YK_REFUSAL_NONE &&
                  slot.refusal == YK_REFUSAL_NONE;
    }
    free(assignment);
    return is_good;
}

static void
make_bucket(struct yk_control *control, struct reg *reg)
{
    const struct yk_config *config = control->setup.config;
    struct yk_bucket_description description;
    char error[YK_ERROR_SIZE] = "no server is there, or a rule speaks against it";
    bool is_good;
    yk_bucket_describe(&config->buckets[reg->bucket], &description);
    is_good = yk_bucket_register_init(&reg->decoded, &description, error) == YK_OK;
    for (uint32_t i = 0; is_good && i < config->n_nodes; i++) {
        if ((config->nodes[i].roles & YK_ROLE_SERVER) != 0 && is_complete(control, i)) {
            is_good = register_candidate(&reg->decoded, &control->candidates[i], reg->bucket) ==
                      YK_REFUSAL_NONE;
        }
    }
    if (!is_good || reg->decoded.n_nodes == 0 || !create_slots(control, &reg->decoded)) {
        yk_log(control->setup.world, YK_LOG_ERROR, "manager", "register %s cannot be made: %s",
               reg->name, error);
        yk_bucket_register_done(&reg->decoded);
        return;
    }
    yk_log(control->setup.world, YK_LOG_NOTICE, "manager", "makes register %s slots=%u nodes=%u",
           reg->name, description.slots, reg->decoded.n_nodes);
}

static void
judge_start(struct yk_bucket_register *bucket, struct task *task)
{
    const struct yk_ask_start *start = &task->ask.start;
    struct yk_proposal proposal = {.kind = YK_PROPOSE_REGISTER,
                                   .node = task->ask.node_id,
                                   .nonce = task->ask.nonce,
                                   .replaces = start->replaces,
                                   .incarnations = start->incarnations,
                                   .n_lanes = start->n_lanes,
                                   .n_workers = start->n_workers};
    enum yk_refusal refusal =
        start->n_lanes > 0 ? yk_manager_judge(bucket, &proposal) : YK_REFUSAL_OTHER_LANES;
    if (refusal != YK_REFUSAL_NONE) {
        snprintf(task->text, sizeof(task->text), "%s", yk_refusal_text(refusal));
    }
}

static enum yk_refusal
judge_wish(struct yk_bucket_register *bucket, const struct yk_ask *ask,
           const struct yk_ask_wish *wish)
{
    static const enum yk_proposal_kind kinds[] = {[YK_WISH_BUMP] = YK_PROPOSE_BUMP,
                                                  [YK_WISH_PROMOTE] = YK_PROPOSE_PROMOTE,
                                                  [YK_WISH_REMOVE] = YK_PROPOSE_REMOVE,
                                                  [YK_WISH_ADD] = YK_PROPOSE_ADD,
                                                  [YK_WISH_REINIT] = YK_PROPOSE_REINIT};
    struct yk_slot_proposal slot = {.slot = wish->slot, .epoch = wish->epoch};
    struct yk_proposal proposal = {
        .node = ask->node_id, .nonce = ask->nonce, .slots = &slot, .n_slots = 1};
    if (wish->kind == YK_WISH_NONE || wish->kind > YK_WISH_REINIT) {
        return YK_REFUSAL_BAD_NODES; /* of a later release */
    }
    proposal.kind = kinds[wish->kind];
    if (wish->kind == YK_WISH_REMOVE || wish->kind == YK_WISH_ADD) {
        if (wish->node >= bucket->n_nodes) {
            return YK_REFUSAL_NO_SUCH_NODE;
        }
        slot.n_nodes = 1;
        slot.nodes[0] = (uint8_t)wish->node;
        slot.incarnation = wish->incarnation;
    }
    enum yk_refusal refusal = yk_manager_judge(bucket, &proposal);
    return refusal != YK_REFUSAL_NONE ? refusal : slot.refusal;
}

static void
judge_bucket(struct yk_control *control, struct reg *reg, struct task *task)
{
    if (task->is_create && reg->decoded.slots == NULL && is_everybody_there(control, task)) {
        make_bucket(control, reg);
    }
    if (reg->decoded.slots == NULL) {
        return;
    }
    if (task->ask.has_start) {
        judge_start(&reg->decoded, task);
    }
    for (uint32_t i = 0; i < task->ask.n_wishes; i++) {
        task->refusals[i] = (uint8_t)judge_wish(&reg->decoded, &task->ask, &task->ask.wishes[i]);
    }
}

void
creation_judge(struct yk_control *control, struct reg *reg, struct task *task)
{
    task->text[0] = '\0';
    if (reg->bucket == UINT32_MAX) {
        judge_cluster(control, reg->cluster, task);
    } else {
        judge_bucket(control, reg, task);
    }
}

/* What a tool asks */

/* Does what can be done now; the tool asks again until all is there. */
static uint32_t
create(struct yk_control *control, bool is_now, char *text)
{
    char missing[YK_ERROR_SIZE - 64];
    struct reg *cluster = &control->regs[0];
    uint32_t state = CREATED;
    uint32_t n_there = list_missing(control, missing, sizeof(missing));
    if (!cluster->is_known) { /* it is read every now and then */
        snprintf(text, YK_ERROR_SIZE, "looking for the registers");
        return UNDER_WAY;
    }
    for (uint32_t i = 0; i < control->n_known && (i == 0 || cluster->revision > 0); i++) {
        struct reg *reg = &control->regs[i];
        bool is_made = reg->is_known && reg->revision > 0;
        if (reg->is_known && !is_made && (n_there == 0 || (missing[0] != '\0' && !is_now))) {
            snprintf(text, YK_ERROR_SIZE, "waiting for %s", missing);
            return UNDER_WAY;
        }
        if (!is_made) {
            managing_create(control, reg, is_now);
            snprintf(text, YK_ERROR_SIZE, "%s register %s",
                     reg->is_known ? "making" : "looking for", reg->name);
            state = UNDER_WAY;
        }
    }
    return state;
}

void
creation_asked(struct yk_control *control, uint32_t peer, uint32_t msgid, bool is_now)
{
    char text[YK_ERROR_SIZE] = "";
    struct yk_pack pack;
    uint32_t state = control->is_manager ? create(control, is_now, text) : NO_MANAGER;
    yk_pack_init(&pack, YK_CONTROL_SIZE_MAX);
    yk_created_encode(&pack, msgid, state, text);
    control_send(control, peer, &pack);
}
