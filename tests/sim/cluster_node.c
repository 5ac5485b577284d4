/* A simulated node: its workers with their effects, its start and its end. */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include <stdlib.h>

#include <glib/gstdio.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"

/* Workers */

void
node_want_turn(struct node *node, uint32_t worker, int64_t after_us)
{
    int64_t at_us = sim.now_us + after_us;
    if (node->turn_us[worker] == 0 || at_us < node->turn_us[worker]) {
        node->turn_us[worker] = at_us;
        sim_of_node(node, after_us, TURN, worker, NULL);
    }
}

static void
send_frame(struct node *node, uint32_t worker, const struct yk_effect *effect)
{
    uint32_t from = (uint32_t)(node - sim.nodes);
    uint32_t to = effect->send.peer - 1;
    struct yk_buffer *bytes = effect->send.bytes;
    YK_ASSERT(to < sim.n_nodes && to != from);
    if (sim.traces != NULL) {
        sim_trace("node %u sends %u: %llx", from, to,
                  (unsigned long long)yk_hash(yk_slice_of(bytes->data, bytes->size)));
    }
    if (gateway_is_op(bytes)) {
        gateway_send(node, worker, to, effect->send.worker % WORKERS, bytes);
        yk_buffer_unref(bytes);
        return;
    }
    for (uint32_t n = 1 + (!sim.is_calm && sim_chance(sim.doubling)); n > 0; n--) {
        int64_t way = sim_way_us(from, to);
        if (way >= 0) {
            yk_buffer_ref(bytes);
            sim_put((struct happening){.at_us = sim.now_us + way,
                                       .kind = FRAME,
                                       .node = to,
                                       .worker = effect->send.worker % WORKERS,
                                       .from = from,
                                       .thing = bytes});
        }
    }
    yk_buffer_unref(bytes);
}

static void
write_later(struct node *node, uint32_t worker, struct yk_bundle *bundle)
{
    int64_t at_us = sim.now_us + 1 + sim_below(!sim.is_calm && sim_chance(5) ? 100000 : 4000);
    node->written_us = MAX(at_us, node->written_us);
    sim_of_node(node, node->written_us - sim.now_us, WRITE, worker, bundle);
}

/* Answers to clients, and what workers have for each other. */
static void
send_mail(struct node *node, uint32_t worker, const struct yk_effect *effect)
{
    struct yk_op_queue queue = {NULL, NULL, 0};
    for (struct yk_op *op = effect->mail.first, *next; op != NULL; op = next) {
        next = op->next;
        if (client_is_op(op)) {
            client_replied(op);
        } else {
            yk_op_queue_push(&queue, op);
        }
    }
    if (queue.first != NULL) {
        sim_of_node(node, 1 + worker, MAIL, effect->mail.to, queue.first);
    }
}

static void
do_effect(struct node *node, uint32_t worker, const struct yk_effect *effect)
{
    switch (effect->kind) {
    case YK_EFFECT_JOB:
        sim_of_node(node, sim_below(100), RUN_JOB, worker, effect->job);
        break;
    case YK_EFFECT_JOURNAL:
        write_later(node, worker, effect->bundle);
        break;
    case YK_EFFECT_KEEP:
        disk_keep(node->disk, effect->keep.lane, effect->keep.bundle, effect->keep.flags);
        if ((effect->keep.flags & YK_KEEP_GIVE_UP) == 0) {
            sim_of_node(node, 1 + sim_below(3000), KEPT, worker, effect->keep.lane);
        }
        break;
    case YK_EFFECT_MAIL:
        send_mail(node, worker, effect);
        break;
    case YK_EFFECT_WISH: {
        if (sim.swarm.coordinator != COORDINATOR_NONE) {
            effect->wishes->worker = worker;
            sim_of_node(node, 1 + sim_below(50), CONTROL_WISHES, worker, effect->wishes);
            break;
        }
        struct question *question = g_new0(struct question, 1);
        question->worker = worker;
        question->wishes = effect->wishes;
        judge_ask(node, question);
        break;
    }
    case YK_EFFECT_SEND:
        send_frame(node, worker, effect);
        break;
    case YK_EFFECT_SESSION:
        g_ptr_array_add(sim.touched, yk_session_conn(effect->session));
        break;
    case YK_EFFECT_SHUT_DOWN:
        sim_fail("an effect that cannot be");
        break;
    }
}

static void
node_take_effects(struct node *node, uint32_t worker)
{
    uint32_t n;
    const struct yk_effect *effects = yk_worker_take_effects(node->node->workers[worker], &n);
    for (uint32_t i = 0; i < n; i++) {
        do_effect(node, worker, &effects[i]);
    }
    for (guint i = 0; i < sim.touched->len; i++) {
        gateway_settle(node, sim.touched->pdata[i]);
    }
    g_ptr_array_set_size(sim.touched, 0);
}

static void
node_turn(struct node *node, uint32_t worker)
{
    struct yk_worker *machine = node->node->workers[worker];
    node->turn_us[worker] = 0;
    yk_worker_step(machine,
                   &(struct yk_event){.kind = YK_EVENT_TURN, .now_ms = world_now_ms(node)});
    node_take_effects(node, worker);
    if (yk_worker_wants_turn(machine)) {
        node_want_turn(node, worker, 1);
        return;
    }
    uint64_t next_ms = yk_worker_next_turn(machine);
    if (next_ms != 0) {
        int64_t in_us = ((int64_t)next_ms - (int64_t)world_now_ms(node)) * 1000;
        node_want_turn(node, worker, MAX(in_us, 1000));
    }
}

void
node_step(struct node *node, uint32_t worker, struct yk_event event)
{
    event.now_ms = world_now_ms(node);
    yk_worker_step(node->node->workers[worker], &event);
    node_turn(node, worker);
}

/* Starts and crashes */

/* Each lane's folder; it lives as long as the run. */
static const char *
make_folder(void *arg, const struct yk_backend_place *place, char *error)
{
    (void)error;
    char *path = g_strdup_printf("%s/%u-%u", sim.folder, (uint32_t)((struct node *)arg - sim.nodes),
                                 place->lane);
    g_ptr_array_add(sim.folders, path);
    YK_ASSERT(g_mkdir_with_parents(path, 0700) == 0);
    return path;
}

/* Of a node that is no more, what engines hold of this process; what they have written stays. */
void
node_close_engines(struct node *node)
{
    for (uint32_t i = 0; sim.folder != NULL && node->node != NULL && i < LANES; i++) {
        yk_stack_close(yk_lane_stack(yk_node_lane(node->node, 0, i)));
    }
}

void
node_start(struct node *node)
{
    char error[YK_ERROR_SIZE];
    g_autoptr(GString) why = g_string_new(NULL);
    const uint32_t *incarnations[1] = {node->incarnations};
    node->boot++;
    node->incarnation += sim.is_memory && node->boot > 1;
    for (uint32_t i = 0; i < LANES; i++) {
        node->incarnations[i] = node->incarnation;
    }
    struct yk_node_setup setup = {.config = sim.configs[0] != NULL ? sim.configs[node - sim.nodes]
                                                                   : sim.config,
                                  .world = &node->world,
                                  .n_workers = WORKERS,
                                  .is_clustered = true,
                                  .nonce = node->boot,
                                  .incarnations = incarnations,
                                  .lease_us = MS(400),
                                  .grace_us = MS(500),
                                  .mutant = sim.mutant,
                                  .seed = yk_random_next(&sim.random),
                                  .facts = world_facts,
                                  .make_folder = make_folder,
                                  .make_folder_arg = node,
                                  .room = &node->disk->room,
                                  .needed_from = node->disk->needed_from};
    memset(node->turn_us, 0, sizeof(node->turn_us));
    node->is_registered = false;
    node->paused_until_us = 0;
    node->asked_us = 0;
    if (yk_node_new(&setup, &node->node, error) != YK_OK) {
        sim_fail("%s", error);
    } else if (!sim.is_memory && !disk_recover(node->disk, node->node, why)) {
        sim_fail("recovery of node %u: %s", (uint32_t)(node - sim.nodes), why->str);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        node_want_turn(node, i, 1);
    }
    if (sim.swarm.coordinator != COORDINATOR_NONE && node->node != NULL) {
        control_start(node);
    } else {
        sim_of_node(node, MS(1), CLIENT, UINT32_MAX, NULL);
    }
    sim_trace("node %u starts, boot %u", (uint32_t)(node - sim.nodes), (uint32_t)node->boot);
}

/* What is under way in it is left as it is, and lost. */
void
node_crash(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    if (node->node == NULL) {
        return;
    }
    sim.result->n_crashes++;
    sim_trace("node %u crashes", index);
    struct happening *oldest = NULL;
    for (uint32_t i = 0; i < sim.n_heap; i++) {
        struct happening *happening = &sim.heap[i];
        if (happening->kind == WRITE && happening->node == index &&
            happening->about == node->boot &&
            (oldest == NULL || sim_is_before(happening, oldest))) {
            oldest = happening;
        }
    }
    if (oldest != NULL && sim_chance(50)) {
        struct yk_bundle *bundle = oldest->thing;
        if (sim.swarm.has_disk_trouble && sim_chance(50)) {
            disk_lose_power(node->disk, bundle, world_now_ms(node), yk_random_next(&sim.random));
        } else {
            disk_tear(node->disk, bundle, world_now_ms(node), sim_below(bundle->size + 1));
        }
    }
    if (node->control != NULL) {
        control_dies(node);
    }
    node_close_engines(node);
    node->node = NULL; /* leaked: it is as it was when it died */
    node->boot++;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *client = &sim.clients[i];
        if (client->op != NULL && client->target == index) {
            client->op = NULL; /* nobody will answer */
        }
    }
    gateway_node_dies(index);
    node->written_us = node->told_us = 0;
    sim_put((struct happening){
        .at_us = sim.now_us + sim_between_ms(10, 2000), .kind = RESTART, .node = index});
}

/* It never ends before it was said to: what waits for its end would come behind what follows. */
void
node_pause(struct node *node, int64_t time_us)
{
    node->paused_until_us = MAX(node->paused_until_us, sim.now_us + time_us);
}

/* What happens */

static void
hear(struct node *node, const struct happening *happening)
{
    const struct yk_buffer *bytes = happening->thing;
    bool is_link = happening->kind == LINK_FRAME;
    uint32_t from = is_link ? happening->from / WORKERS : happening->from;
    uint32_t worker = is_link ? happening->from % WORKERS : 0;
    node_step(node, happening->worker,
              (struct yk_event){.kind = YK_EVENT_FRAME,
                                .frame = {.peer = from + 1,
                                          .worker = worker,
                                          .bytes = yk_slice_of(bytes->data, bytes->size)}});
}

static void
write_bundle(struct node *node, const struct happening *happening)
{
    struct yk_bundle *bundle = happening->thing;
    disk_write(node->disk, bundle, world_now_ms(node));
    disk_tend(node->disk, WORKERS);
    int64_t at_us = sim.now_us + sim_below(50);
    node->told_us = MAX(at_us, node->told_us);
    sim_of_node(node, node->told_us - sim.now_us, WRITTEN, happening->worker, bundle);
}

static void
run_job(struct node *node, const struct happening *happening)
{
    node->slept_us = 0;
    bool is_done = yk_job_run(happening->thing);
    YK_ASSERT(is_done);
    int64_t took_us = node->slept_us + sim_below(200);
    node->slept_us = 0;
    sim_of_node(node, took_us, JOB_DONE, happening->worker, happening->thing);
}

void
node_happen(struct node *node, const struct happening *happening)
{
    uint32_t worker = happening->worker;
    switch (happening->kind) {
    case FRAME:
    case LINK_FRAME:
        hear(node, happening);
        break;
    case LINK_DOWN:
    case LINK_UP:
        gateway_link_happens(node, happening);
        break;
    case SESSION_SAYS:
    case SESSION_ENDS:
        gateway_session_happens(node, happening);
        break;
    case CONTROL_VIEW:
    case CONTROL_REFUSED:
        control_gives(node, happening);
        break;
    case CONTROL_FRAME:
    case CONTROL_LOST:
    case CONTROL_WISHES:
    case CONTROL_STORE:
    case CONTROL_ANSWERED:
    case CONTROL_TURN:
        control_happens(node, happening);
        break;
    case MAIL:
        node_step(node, worker,
                  (struct yk_event){.kind = YK_EVENT_MAIL, .mail = {happening->thing}});
        break;
    case TURN:
        if (node->turn_us[worker] == happening->at_us) {
            node_turn(node, worker);
        }
        break;
    case WRITE:
        write_bundle(node, happening);
        break;
    case WRITTEN: {
        struct yk_bundle *bundle = happening->thing;
        disk_told(node->disk, bundle);
        node_step(node, worker, (struct yk_event){.kind = YK_EVENT_JOURNALED, .bundle = bundle});
        break;
    }
    case KEPT:
        node_step(node, worker,
                  (struct yk_event){.kind = YK_EVENT_KEPT, .kept = {happening->thing, YK_OK}});
        break;
    case RUN_JOB:
        run_job(node, happening);
        break;
    case JOB_DONE:
        node_step(node, worker,
                  (struct yk_event){.kind = YK_EVENT_JOB_DONE, .job_done = {happening->thing}});
        break;
    default:
        judge_register_later(node);
        break;
    }
}
