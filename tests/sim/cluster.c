/* One run of a cluster of nodes, each with its disk. */
#include <config.h>

#include "tests/sim/cluster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib/gstdio.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/base/random.h"
#include "core/manager/rules.h"
#include "core/wire/unpack.h"
#include "tests/sim/disk.h"
#include "tools/history/history.h"

#define MS(n) ((int64_t)(n)*1000)

enum {
    NODES_MAX = 5,
    WORKERS = 2,
    LANES = 4,
    SLOTS = 4,
    CLIENTS = 5,
    KEYS = 6,
    COUNTERS = 2, /* keys whose SETs are numbers */
    MANAGER = NODES_MAX,
    PLACES,
    TROUBLE_MS = 13000,
    CALM_MS = 7000,
    LATE_MS = 2000,
    VALUE_MAX = 2000
};

enum kind {
    FRAME,
    TURN,
    WRITE,
    WRITTEN,
    KEPT,
    RUN_JOB,
    JOB_DONE,
    ASKED,
    TOLD,
    RESTART,
    TROUBLE,
    CLIENT,
    MAIL,
    UNCUT
};

struct happening {
    int64_t at_us;
    uint64_t number;
    enum kind kind;
    uint32_t node, worker, from;
    uint64_t about; /* boot of the node; a client's op number */
    void *thing;
};

/* A question to the managers, and what came of it. */
struct question {
    uint32_t node, worker;
    uint64_t boot;
    bool is_register, is_granted;
    struct yk_wishes *wishes; /* own; then those that were refused */
    struct yk_view *view;
};

struct node {
    struct yk_world world;
    struct yk_node *node; /* NULL: it is down */
    struct disk *disk;
    uint64_t boot, epoch;
    uint32_t incarnation, incarnations[LANES];
    bool is_registered;
    int64_t paused_until_us, offset_us, wall_us, asked_us, written_us, told_us, slept_us;
    int32_t rate;
    int64_t turn_us[WORKERS]; /* of the TURN that is planned; 0: none */
    char *folder;
    uint32_t n_folders;
};

struct client {
    struct operation *operation;
    struct yk_op *op; /* under way; NULL: none */
    uint64_t number;
    int64_t until_us, wait_us;
    uint32_t target, connection;
    uint64_t cas[KEYS];
    char key[16], value[VALUE_MAX + 32];
    struct yk_request request;
};

static struct {
    struct yk_plugins *plugins;
    struct cluster_result *result;
    struct yk_random random;
    FILE *traces; /* NULL: nobody wants to know */
    bool is_calm, is_slow;
    bool is_memory; /* durability: a crash forgets */
    uint32_t lost;  /* bits of slots that began anew, all having forgotten */
    uint32_t slots[KEYS];
    int64_t now_us;
    struct happening *heap;
    uint32_t n_heap, heap_room;
    uint64_t n_made;
    uint32_t n_nodes, loss, doubling, lateness;
    struct node nodes[NODES_MAX];
    bool cut[PLACES][PLACES];
    struct yk_config *config;
    struct yk_bucket_register bucket;
    struct history *history;
    struct client clients[CLIENTS];
    uint32_t n_values, n_connections;
    char text[512];
} sim;

static void fail(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void
fail(const char *format, ...)
{
    va_list arguments;
    if (sim.result->failure[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(sim.result->failure, sizeof(sim.result->failure), format, arguments);
        va_end(arguments);
    }
}

static void trace(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void
trace(const char *format, ...)
{
    va_list arguments;
    if (sim.traces != NULL) {
        fprintf(sim.traces, "%9.2f ", (double)sim.now_us / 1000);
        va_start(arguments, format);
        vfprintf(sim.traces, format, arguments);
        va_end(arguments);
        fputc('\n', sim.traces);
    }
}

static uint32_t
below(uint32_t n)
{
    return (uint32_t)yk_random_below(&sim.random, n);
}

static bool
chance(uint32_t percent)
{
    return below(100) < percent;
}

static int64_t
between_ms(uint32_t low, uint32_t high)
{
    return MS(low) + below((high - low) * 1000 + 1);
}

/* Happenings */

static bool
is_before(const struct happening *a, const struct happening *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

/* It keeps its place among those of one time. */
static void
put_again(struct happening happening)
{
    if (sim.n_heap == sim.heap_room) {
        sim.heap_room = sim.heap_room == 0 ? 256 : sim.heap_room * 2;
        sim.heap = g_renew(struct happening, sim.heap, sim.heap_room);
    }
    uint32_t i = sim.n_heap++;
    for (; i > 0 && is_before(&happening, &sim.heap[(i - 1) / 2]); i = (i - 1) / 2) {
        sim.heap[i] = sim.heap[(i - 1) / 2];
    }
    sim.heap[i] = happening;
}

static void
put(struct happening happening)
{
    happening.number = sim.n_made++;
    put_again(happening);
}

static struct happening
take(void)
{
    struct happening first = sim.heap[0];
    struct happening last = sim.heap[--sim.n_heap];
    uint32_t i = 0;
    for (uint32_t child = 1; child < sim.n_heap; child = 2 * i + 1) {
        if (child + 1 < sim.n_heap && is_before(&sim.heap[child + 1], &sim.heap[child])) {
            child++;
        }
        if (!is_before(&sim.heap[child], &last)) {
            break;
        }
        sim.heap[i] = sim.heap[child];
        i = child;
    }
    if (sim.n_heap > 0) {
        sim.heap[i] = last;
    }
    return first;
}

static void
of_node(const struct node *node, int64_t delay_us, enum kind kind, uint32_t worker, void *thing)
{
    put((struct happening){.at_us = sim.now_us + delay_us,
                           .kind = kind,
                           .node = (uint32_t)(node - sim.nodes),
                           .worker = worker,
                           .about = node->boot,
                           .thing = thing});
}

/* How long a message takes; negative: it is lost. */
static int64_t
way_us(uint32_t from, uint32_t to)
{
    int64_t way = 50 + below(sim.is_slow ? 5000 : 300);
    if (sim.cut[from][to] || (!sim.is_calm && chance(sim.loss))) {
        return -1;
    }
    return !sim.is_calm && chance(sim.lateness) ? way + between_ms(20, 1500) : way;
}

/* The world of a node */

static uint64_t
world_now_us(void *arg)
{
    const struct node *node = arg;
    return 1700000000000000ull + (uint64_t)(sim.now_us + node->slept_us + node->wall_us);
}

static uint64_t
world_now_ms(void *arg)
{
    return world_now_us(arg) / 1000;
}

static uint64_t
world_boot_us(void *arg)
{
    const struct node *node = arg;
    return (uint64_t)((sim.now_us + node->slept_us) * node->rate / 1000 + node->offset_us);
}

static uint64_t
world_random(void *arg)
{
    (void)arg;
    return yk_random_next(&sim.random);
}

static void
world_sleep_us(void *arg, uint64_t us)
{
    ((struct node *)arg)->slept_us += (int64_t)us;
}

static void
world_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    if (sim.traces != NULL) {
        trace("node %u log %d %s: %s", (uint32_t)((struct node *)arg - sim.nodes), level, from,
              line);
    }
}

static void *
world_resize(void *arg, void *memory, size_t size)
{
    (void)arg;
    return realloc(memory, size);
}

static void
world_release(void *arg, void *memory)
{
    (void)arg;
    free(memory);
}

static void
tell_facts(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg)
{
    (void)arg, (void)topic, (void)fn, (void)fn_arg;
}

/* Workers */

static void
want_turn(struct node *node, uint32_t worker, int64_t after_us)
{
    int64_t at_us = sim.now_us + after_us;
    if (node->turn_us[worker] == 0 || at_us < node->turn_us[worker]) {
        node->turn_us[worker] = at_us;
        of_node(node, after_us, TURN, worker, NULL);
    }
}

static void on_reply(struct yk_op *op);

static void
send_frame(struct node *node, const struct yk_effect *effect)
{
    uint32_t from = (uint32_t)(node - sim.nodes);
    uint32_t to = effect->send.peer - 1;
    struct yk_buffer *bytes = effect->send.bytes;
    YK_ASSERT(to < sim.n_nodes && to != from);
    if (sim.traces != NULL) {
        trace("node %u sends %u: %llx", from, to,
              (unsigned long long)yk_hash(yk_slice_of(bytes->data, bytes->size)));
    }
    for (uint32_t n = 1 + (!sim.is_calm && chance(sim.doubling)); n > 0; n--) {
        int64_t way = way_us(from, to);
        if (way >= 0) {
            yk_buffer_ref(bytes);
            put((struct happening){.at_us = sim.now_us + way,
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
ask(struct node *node, struct question *question)
{
    int64_t way = way_us((uint32_t)(node - sim.nodes), MANAGER);
    question->node = (uint32_t)(node - sim.nodes);
    question->boot = node->boot;
    if (way < 0) {
        free(question->wishes);
        g_free(question);
        return;
    }
    put((struct happening){.at_us = sim.now_us + way, .kind = ASKED, .thing = question});
}

static void
write_later(struct node *node, uint32_t worker, struct yk_bundle *bundle)
{
    int64_t at_us = sim.now_us + 1 + below(!sim.is_calm && chance(5) ? 100000 : 4000);
    node->written_us = MAX(at_us, node->written_us);
    of_node(node, node->written_us - sim.now_us, WRITE, worker, bundle);
}

static void
do_effect(struct node *node, uint32_t worker, const struct yk_effect *effect)
{
    switch (effect->kind) {
    case YK_EFFECT_JOB:
        of_node(node, below(100), RUN_JOB, worker, effect->job);
        break;
    case YK_EFFECT_JOURNAL:
        write_later(node, worker, effect->bundle);
        break;
    case YK_EFFECT_KEEP:
        disk_keep(node->disk, effect->keep.lane, effect->keep.bundle, effect->keep.flags);
        if ((effect->keep.flags & YK_KEEP_GIVE_UP) == 0) {
            of_node(node, 1 + below(3000), KEPT, worker, effect->keep.lane);
        }
        break;
    case YK_EFFECT_MAIL:
        for (struct yk_op *op = effect->mail.first, *next; op != NULL; op = next) {
            next = op->next;
            on_reply(op);
        }
        break;
    case YK_EFFECT_WISH: {
        struct question *question = g_new0(struct question, 1);
        question->worker = worker;
        question->wishes = effect->wishes;
        ask(node, question);
        break;
    }
    case YK_EFFECT_SEND:
        send_frame(node, effect);
        break;
    case YK_EFFECT_SESSION:
    case YK_EFFECT_SHUT_DOWN:
        fail("an effect that cannot be");
        break;
    }
}

static void
take_effects(struct node *node, uint32_t worker)
{
    uint32_t n;
    const struct yk_effect *effects = yk_worker_take_effects(node->node->workers[worker], &n);
    for (uint32_t i = 0; i < n; i++) {
        do_effect(node, worker, &effects[i]);
    }
}

static void
turn(struct node *node, uint32_t worker)
{
    struct yk_worker *machine = node->node->workers[worker];
    node->turn_us[worker] = 0;
    yk_worker_step(machine,
                   &(struct yk_event){.kind = YK_EVENT_TURN, .now_ms = world_now_ms(node)});
    take_effects(node, worker);
    if (yk_worker_wants_turn(machine)) {
        want_turn(node, worker, 1);
        return;
    }
    uint64_t next_ms = yk_worker_next_turn(machine);
    if (next_ms != 0) {
        int64_t in_us = ((int64_t)next_ms - (int64_t)world_now_ms(node)) * 1000;
        want_turn(node, worker, MAX(in_us, 1000));
    }
}

static void
step(struct node *node, uint32_t worker, struct yk_event event)
{
    event.now_ms = world_now_ms(node);
    yk_worker_step(node->node->workers[worker], &event);
    turn(node, worker);
}

/* The manager */

static void
name_of(uint32_t index, char *to)
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
    name_of(node, name);
    view->buckets[0].is_fresh = is_fresh;
    view->buckets[0].self = yk_bucket_register_find(&sim.bucket, name);
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        name_of(i, name);
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
    name_of(from, name);
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
    name_of(question->node, name);
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
        trace("manager: node %u slot %u wish %d of epoch %u about %u: %s", question->node,
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
    int64_t way = way_us(MANAGER, question->node);
    if (way < 0) {
        free(question->wishes);
        yk_view_unref(question->view);
        g_free(question);
        return;
    }
    put((struct happening){.at_us = sim.now_us + way, .kind = TOLD, .thing = question});
}

static void
on_asked(struct question *question)
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
        step(node, i, (struct yk_event){.kind = YK_EVENT_VIEW, .view = yk_view_ref(view)});
    }
}

static void
on_told(struct question *question)
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
        step(node, question->worker,
             (struct yk_event){.kind = YK_EVENT_REFUSED, .refused = question->wishes});
        question->wishes = NULL;
    }
    free(question->wishes);
    yk_view_unref(question->view);
    g_free(question);
}

/* Starts and crashes */

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    return yk_plugins_find(arg, kind, name, error);
}

static void
start(struct node *node)
{
    char error[YK_ERROR_SIZE];
    g_autoptr(GString) why = g_string_new(NULL);
    const uint32_t *incarnations[1] = {node->incarnations};
    node->boot++;
    node->incarnation += sim.is_memory && node->boot > 1;
    for (uint32_t i = 0; i < LANES; i++) {
        node->incarnations[i] = node->incarnation;
    }
    struct yk_node_setup setup = {.config = sim.config,
                                  .world = &node->world,
                                  .n_workers = WORKERS,
                                  .is_clustered = true,
                                  .nonce = node->boot,
                                  .incarnations = incarnations,
                                  .lease_us = MS(400),
                                  .grace_us = MS(500),
                                  .seed = yk_random_next(&sim.random),
                                  .facts = tell_facts,
                                  .room = &node->disk->room,
                                  .needed_from = node->disk->needed_from};
    memset(node->turn_us, 0, sizeof(node->turn_us));
    node->is_registered = false;
    node->paused_until_us = 0;
    node->asked_us = 0;
    if (yk_node_new(&setup, &node->node, error) != YK_OK) {
        fail("%s", error);
    } else if (!sim.is_memory && !disk_recover(node->disk, node->node, why)) {
        fail("recovery of node %u: %s", (uint32_t)(node - sim.nodes), why->str);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        want_turn(node, i, 1);
    }
    of_node(node, MS(1), CLIENT, UINT32_MAX, NULL);
    trace("node %u starts, boot %u", (uint32_t)(node - sim.nodes), (uint32_t)node->boot);
}

/* What is under way in it is left as it is, and lost. */
static void
crash(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    if (node->node == NULL) {
        return;
    }
    sim.result->n_crashes++;
    trace("node %u crashes", index);
    struct happening *oldest = NULL;
    for (uint32_t i = 0; i < sim.n_heap; i++) {
        struct happening *happening = &sim.heap[i];
        if (happening->kind == WRITE && happening->node == index &&
            happening->about == node->boot && (oldest == NULL || is_before(happening, oldest))) {
            oldest = happening;
        }
    }
    if (oldest != NULL && chance(50)) {
        struct yk_bundle *bundle = oldest->thing;
        disk_tear(node->disk, bundle, world_now_ms(node), below(bundle->size + 1));
    }
    node->node = NULL; /* leaked: it is as it was when it died */
    node->boot++;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *client = &sim.clients[i];
        if (client->op != NULL && client->target == index) {
            client->op = NULL; /* nobody will answer */
        }
    }
    node->written_us = node->told_us = 0;
    put((struct happening){
        .at_us = sim.now_us + between_ms(10, 2000), .kind = RESTART, .node = index});
}

static void
ask_to_register(struct node *node)
{
    struct question *question = g_new0(struct question, 1);
    question->is_register = !node->is_registered;
    ask(node, question);
    of_node(node, node->is_registered ? MS(250) : MS(60), CLIENT, UINT32_MAX, NULL);
}

/* Trouble */

/* It never ends before it was said to: what waits for its end would come behind what follows. */
static void
pause_node(struct node *node, int64_t time_us)
{
    node->paused_until_us = MAX(node->paused_until_us, sim.now_us + time_us);
}

static void
make_trouble(void)
{
    uint32_t kind = below(100);
    uint32_t a = below(sim.n_nodes);
    uint32_t b = below(PLACES);
    if (sim.is_calm) {
        return;
    }
    if (kind < 25) {
        crash(a);
    } else if (kind < 32) {
        for (uint32_t i = 0; i < sim.n_nodes; i++) {
            crash(i);
        }
    } else if (kind < 45) {
        pause_node(&sim.nodes[a], between_ms(50, 1500));
    } else if (kind < 60) {
        sim.cut[a][b] = true;
        sim.cut[b][a] = sim.cut[b][a] || chance(60);
    } else if (kind < 72) {
        uint32_t side = below(1u << PLACES);
        for (a = 0; a < PLACES; a++) {
            for (b = 0; b < PLACES; b++) {
                sim.cut[a][b] = sim.cut[a][b] || ((side >> a) & 1) != ((side >> b) & 1);
            }
        }
    } else if (kind < 76) {
        sim.nodes[a].wall_us += between_ms(0, 20000) - MS(10000);
    } else {
        memset(sim.cut, 0, sizeof(sim.cut));
    }
    put((struct happening){.at_us = sim.now_us + between_ms(20, 900), .kind = TROUBLE});
}

/* Clients: one op at a time, sent straight to the worker of the lane */

static void
deliver(struct client *client)
{
    struct node *node = &sim.nodes[client->target];
    if (node->node == NULL) {
        put((struct happening){.at_us = sim.now_us + between_ms(5, 40),
                               .kind = CLIENT,
                               .worker = (uint32_t)(client - sim.clients),
                               .about = client->number});
        client->target = below(sim.n_nodes);
        return;
    }
    struct yk_op *op = g_new0(struct yk_op, 1);
    size_t key_size = strlen(client->key);
    uint8_t *pinned = malloc(YK_PIN_ROOM + key_size + VALUE_MAX + 64);
    memcpy(pinned + YK_PIN_ROOM, client->key, key_size);
    op->request = client->request;
    op->pinned = pinned;
    op->request.key = yk_slice_of(pinned + YK_PIN_ROOM, key_size);
    if (op->request.value.size > 0) {
        memcpy(pinned + YK_PIN_ROOM + key_size, client->value, op->request.value.size);
        op->request.value.data = pinned + YK_PIN_ROOM + key_size;
    }
    op->request.struct_size = sizeof(op->request);
    op->hash = yk_hash(op->request.key);
    op->slot = (uint16_t)yk_ring_slot(&node->node->buckets[0]->ring, op->hash);
    sim.slots[client->operation->key] = op->slot;
    op->lane = (uint16_t)(op->slot % LANES);
    op->executor = (uint16_t)(op->lane % WORKERS);
    op->origin = (uint16_t)(1 - op->executor);
    op->is_kept = true;
    op->kept_max = VALUE_MAX * 100;
    op->mark = 0;
    op->part_of = (struct yk_op *)client;
    op->version = client->number;
    client->op = op;
    step(node, op->executor, (struct yk_event){.kind = YK_EVENT_MAIL, .mail = {op}});
}

static const struct {
    enum yk_opcode op;
    enum yk_mode mode;
} operation_of[] = {
    [HISTORY_GETS] = {YK_OP_GET, YK_MODE_SET},
    [HISTORY_SET] = {YK_OP_STORE, YK_MODE_SET},
    [HISTORY_ADD] = {YK_OP_STORE, YK_MODE_ADD},
    [HISTORY_REPLACE] = {YK_OP_STORE, YK_MODE_REPLACE},
    [HISTORY_APPEND] = {YK_OP_STORE, YK_MODE_APPEND},
    [HISTORY_CAS] = {YK_OP_STORE, YK_MODE_SET},
    [HISTORY_DELETE] = {YK_OP_DELETE, YK_MODE_SET},
    [HISTORY_INCR] = {YK_OP_ARITH, YK_MODE_INCR},
    [HISTORY_DECR] = {YK_OP_ARITH, YK_MODE_DECR},
};

static void
choose_request(struct client *client, uint32_t key)
{
    static const enum history_kind kinds[] = {
        HISTORY_GETS,   HISTORY_GETS, HISTORY_GETS,   HISTORY_SET,     HISTORY_SET,  HISTORY_ADD,
        HISTORY_DELETE, HISTORY_CAS,  HISTORY_APPEND, HISTORY_REPLACE, HISTORY_INCR, HISTORY_DECR};
    enum history_kind kind = kinds[below(G_N_ELEMENTS(kinds))];
    struct operation *operation;
    struct yk_request *request = &client->request;
    if (kind == HISTORY_CAS && client->cas[key] == 0) {
        kind = HISTORY_GETS;
    }
    operation = history_add(sim.history, kind, key);
    *request = (struct yk_request){.op = operation_of[kind].op, .mode = operation_of[kind].mode};
    if (request->op == YK_OP_ARITH) {
        request->delta = operation->delta = 1 + below(1000);
    }
    if (request->op == YK_OP_STORE) {
        bool is_number = kind == HISTORY_SET && key < COUNTERS;
        int size = snprintf(client->value, sizeof(client->value), is_number ? "%u" : "%u.",
                            ++sim.n_values);
        uint32_t more =
            is_number || kind == HISTORY_APPEND ? 0 : below(chance(10) ? VALUE_MAX : 20);
        memset(client->value + size, 'x', more);
        request->value = yk_slice_of(client->value, (size_t)size + more);
        operation->value = g_bytes_new(client->value, (gsize)size + more);
    }
    if (kind == HISTORY_CAS) {
        request->flags |= YK_REQUEST_CAS;
        request->cas = operation->cas = client->cas[key];
    }
    operation->connection = client->connection;
    operation->number = client->number;
    operation->invoked_us = sim.now_us;
    client->operation = operation;
    snprintf(client->key, sizeof(client->key), "key-%u", key);
}

static void
next_request(struct client *client)
{
    client->number++;
    client->until_us = sim.now_us + between_ms(400, 1500);
    choose_request(client, below(KEYS));
    deliver(client);
    put((struct happening){.at_us = client->until_us,
                           .kind = CLIENT,
                           .worker = (uint32_t)(client - sim.clients),
                           .about = client->number});
}

static void
on_client(struct client *client, uint64_t number)
{
    if (number != client->number) {
        return;
    }
    if (client->operation == NULL) {
        next_request(client);
    } else if (sim.now_us >= client->until_us) { /* it gives up, as another connection */
        client->operation = NULL;
        client->op = NULL;
        client->connection = sim.n_connections++;
        client->target = below(sim.n_nodes);
        next_request(client);
    } else if (client->op == NULL) {
        deliver(client);
    }
}

static enum history_result
result_of(const struct yk_reply *reply)
{
    switch (reply->result) {
    case YK_OK:
        return RESULT_OK;
    case YK_ENOTFOUND:
        return RESULT_MISS;
    case YK_EEXISTS:
        return RESULT_EXISTS;
    case YK_ENOTSTORED:
        return RESULT_REFUSED;
    case YK_ENOTNUMBER:
        return RESULT_NOT_NUMBER;
    case YK_EUNKNOWN:
    case YK_EIO:
    case YK_ETIMEDOUT:
        return RESULT_UNKNOWN;
    default:
        return RESULT_FAILED;
    }
}

static void
note_reply(struct client *client, const struct yk_reply *reply)
{
    trace("client %u from node %u %s kind %d result %u version %llx",
          (uint32_t)(client - sim.clients), client->target, client->key, client->operation->kind,
          reply->result, (unsigned long long)reply->version);
    struct operation *operation = client->operation;
    operation->result = result_of(reply);
    operation->returned_us = sim.now_us;
    if (operation->result == RESULT_UNKNOWN) {
        /* It may stand in a log, and be committed by a later primary, whatever the client does
         * then. */
        operation->returned_us = TIME_NEVER;
        operation->connection = sim.n_connections++;
    }
    operation->shown = reply->number;
    if (operation->kind == HISTORY_GETS && reply->result == YK_OK) {
        operation->value = g_bytes_new(reply->value.data, reply->value.size);
        operation->cas = reply->version;
        client->cas[operation->key] = reply->version;
    }
    sim.result->n_operations++;
    client->operation = NULL;
    client->number++;
    put((struct happening){.at_us = sim.now_us + between_ms(0, 25),
                           .kind = CLIENT,
                           .worker = (uint32_t)(client - sim.clients),
                           .about = client->number});
}

static void
on_reply(struct yk_op *op)
{
    struct client *client = (struct client *)op->part_of;
    if (client->op == op) {
        client->op = NULL;
        if (op->reply.result == YK_ESTALE) { /* surely not done: somewhere else */
            client->target = below(sim.n_nodes);
            put((struct happening){.at_us = sim.now_us + between_ms(5, 40),
                                   .kind = CLIENT,
                                   .worker = (uint32_t)(client - sim.clients),
                                   .about = client->number});
        } else {
            note_reply(client, &op->reply);
        }
    }
    yk_buffer_unref(op->reply.value_buffer);
    free(op->pinned);
    g_free(op);
}

/* What happens */

static void
hear(struct node *node, const struct happening *happening)
{
    const struct yk_buffer *bytes = happening->thing;
    step(node, happening->worker,
         (struct yk_event){.kind = YK_EVENT_FRAME,
                           .frame = {.peer = happening->from + 1,
                                     .worker = 0,
                                     .bytes = yk_slice_of(bytes->data, bytes->size)}});
}

static void
write_bundle(struct node *node, const struct happening *happening)
{
    struct yk_bundle *bundle = happening->thing;
    disk_write(node->disk, bundle, world_now_ms(node));
    disk_tend(node->disk, WORKERS);
    int64_t at_us = sim.now_us + below(50);
    node->told_us = MAX(at_us, node->told_us);
    of_node(node, node->told_us - sim.now_us, WRITTEN, happening->worker, bundle);
}

static void
run_job(struct node *node, const struct happening *happening)
{
    node->slept_us = 0;
    bool is_done = yk_job_run(happening->thing);
    YK_ASSERT(is_done);
    int64_t took_us = node->slept_us + below(200);
    node->slept_us = 0;
    of_node(node, took_us, JOB_DONE, happening->worker, happening->thing);
}

static void
happen_in(struct node *node, const struct happening *happening)
{
    uint32_t worker = happening->worker;
    switch (happening->kind) {
    case FRAME:
        hear(node, happening);
        break;
    case TURN:
        if (node->turn_us[worker] == happening->at_us) {
            turn(node, worker);
        }
        break;
    case WRITE:
        write_bundle(node, happening);
        break;
    case WRITTEN: {
        struct yk_bundle *bundle = happening->thing;
        disk_told(node->disk, bundle);
        step(node, worker, (struct yk_event){.kind = YK_EVENT_JOURNALED, .bundle = bundle});
        break;
    }
    case KEPT:
        step(node, worker,
             (struct yk_event){.kind = YK_EVENT_KEPT, .kept = {happening->thing, YK_OK}});
        break;
    case RUN_JOB:
        run_job(node, happening);
        break;
    case JOB_DONE:
        step(node, worker,
             (struct yk_event){.kind = YK_EVENT_JOB_DONE, .job_done = {happening->thing}});
        break;
    default:
        ask_to_register(node);
        break;
    }
}

static bool
is_of_node(const struct happening *happening)
{
    return happening->kind <= JOB_DONE ||
           (happening->kind == CLIENT && happening->worker == UINT32_MAX);
}

static void
happen(struct happening *happening)
{
    struct node *node = &sim.nodes[happening->node];
    if (is_of_node(happening)) {
        bool is_there =
            node->node != NULL && (happening->kind == FRAME || happening->about == node->boot);
        if (is_there && node->paused_until_us > sim.now_us) {
            if (happening->kind == TURN && node->turn_us[happening->worker] == happening->at_us) {
                node->turn_us[happening->worker] = node->paused_until_us;
            }
            happening->at_us = node->paused_until_us;
            put_again(*happening);
            return;
        }
        if (is_there) {
            happen_in(node, happening);
        }
        if (happening->kind == FRAME) {
            yk_buffer_unref(happening->thing);
        }
        return;
    }
    switch (happening->kind) {
    case ASKED:
        on_asked(happening->thing);
        break;
    case TOLD:
        on_told(happening->thing);
        break;
    case RESTART:
        if (node->node == NULL) {
            start(node);
        }
        break;
    case TROUBLE:
        make_trouble();
        break;
    case CLIENT:
        on_client(&sim.clients[happening->worker], happening->about);
        break;
    default:
        break;
    }
}

/* A run */

static bool
make_config(void)
{
    char error[YK_ERROR_SIZE];
    bool has_delay = chance(50);
    snprintf(sim.text, sizeof(sim.text),
             "[bucket default]\nbackend = memory\ndurability = %s\nslots = %u\n"
             "value_size_max = 64K\n%s[node n]\nworkers = %u\nlanes = %u\n",
             sim.is_memory ? "memory" : "os", SLOTS,
             has_delay ? "filters = delay\n[filter delay]\nget = 300us\napply = 900us\n"
                         "jitter = 500us\n"
                       : "",
             WORKERS, LANES);
    struct yk_config_source source = {.file = "sim",
                                      .text = sim.text,
                                      .size = strlen(sim.text),
                                      .find_plugin = find_plugin,
                                      .arg = sim.plugins};
    if (yk_config_parse(&source, &sim.config, error) != YK_OK) {
        fail("%s", error);
        return false;
    }
    return true;
}

static void
make_register(void)
{
    struct yk_bucket_description description = {.slots = SLOTS,
                                                .copies = 3,
                                                .min_copies = 2,
                                                .durability = sim.is_memory ? YK_DURABILITY_MEMORY
                                                                            : YK_DURABILITY_OS,
                                                .engine = "memory",
                                                .key_size_max = 250,
                                                .value_size_max = 65536};
    char error[YK_ERROR_SIZE];
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

static void
make_nodes(void)
{
    uint64_t record = yk_entry_size(250, 65536 + YK_RECORD_OVERHEAD_MAX);
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        struct node *node = &sim.nodes[i];
        node->rate = 990 + (int32_t)below(21);
        node->offset_us = between_ms(1, 100000);
        node->wall_us = between_ms(0, 2000);
        node->incarnation = 1;
        node->disk = disk_new(record, 8 * YK_KIB, (2 + below(6)) * record);
        node->world = (struct yk_world){.arg = node,
                                        .now_ms = world_now_ms,
                                        .now_us = world_now_us,
                                        .boot_us = world_boot_us,
                                        .random = world_random,
                                        .sleep_us = world_sleep_us,
                                        .log = world_log,
                                        .resize = world_resize,
                                        .release = world_release};
        for (uint32_t k = 0; k < LANES; k++) {
            node->incarnations[k] = 1;
        }
    }
}

static void
calm_down(void)
{
    sim.is_calm = true;
    trace("calm");
    memset(sim.cut, 0, sizeof(sim.cut));
}

/* In the end every slot has all its copies again. */
static void
check_members(void)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (sim.bucket.slots[i].n_members != 3) {
            fail("slot %u has %u members in the end", i, sim.bucket.slots[i].n_members);
        }
    }
}

static void
clean_up(void)
{
    while (sim.n_heap > 0) {
        struct happening happening = take();
        if (happening.kind == FRAME) {
            yk_buffer_unref(happening.thing);
        }
    }
    g_free(sim.heap);
    yk_bucket_register_done(&sim.bucket);
    history_free(sim.history);
}

static void
run_all(void)
{
    int64_t end_us = MS(TROUBLE_MS + CALM_MS);
    uint64_t late = 0;
    while (sim.n_heap > 0 && sim.result->failure[0] == '\0') {
        struct happening happening = take();
        if (happening.at_us > end_us) {
            put(happening);
            break;
        }
        sim.now_us = happening.at_us;
        sim.result->n_events++;
        if (sim.now_us >= MS(TROUBLE_MS) && !sim.is_calm) {
            calm_down();
        }
        if (sim.now_us < end_us - MS(LATE_MS)) {
            late = sim.result->n_operations;
        }
        happen(&happening);
    }
    if (sim.result->failure[0] == '\0' && sim.result->n_operations == late) {
        fail("nothing was answered in the last %u ms, all being well", LATE_MS);
    }
}

/* Of keys that everybody was allowed to forget nothing can be said. */
static void
leave_out_lost(void)
{
    GPtrArray *operations = sim.history->operations;
    for (guint i = operations->len; sim.lost != 0 && i-- > 0;) {
        const struct operation *operation = operations->pdata[i];
        if ((sim.lost >> sim.slots[operation->key] & 1) != 0) {
            g_ptr_array_remove_index(operations, i);
        }
    }
}

static void
check(void)
{
    g_autoptr(GString) why = g_string_new(NULL);
    if (sim.result->failure[0] != '\0') {
        return;
    }
    check_members();
    leave_out_lost();
    enum history_verdict verdict = history_check(sim.history, why);
    sim.result->is_undecided = verdict == HISTORY_UNDECIDED;
    if (verdict == HISTORY_WRONG) {
        fail("%s", why->str);
    }
}

void
cluster_run(struct yk_plugins *plugins, uint64_t seed, FILE *traces,
            struct cluster_result *ret_result)
{
    memset(&sim, 0, sizeof(sim));
    memset(ret_result, 0, sizeof(*ret_result));
    sim.plugins = plugins;
    sim.result = ret_result;
    sim.traces = traces;
    sim.random.state = seed * 0x9e3779b97f4a7c15ull;
    sim.n_nodes = 3 + below(3);
    sim.loss = below(10);
    sim.doubling = below(15);
    sim.lateness = below(4);
    sim.is_slow = chance(50);
    sim.is_memory = chance(25);
    sim.history = history_new(KEYS, false);
    sim.history->may_fail = true;
    if (make_config()) {
        make_nodes();
        make_register();
        for (uint32_t i = 0; i < sim.n_nodes; i++) {
            start(&sim.nodes[i]);
        }
        for (uint32_t i = 0; i < CLIENTS; i++) {
            sim.clients[i].connection = sim.n_connections++;
            put((struct happening){.at_us = between_ms(700, 800), .kind = CLIENT, .worker = i});
        }
        put((struct happening){.at_us = MS(1000), .kind = TROUBLE});
        run_all();
        check();
    }
    clean_up();
}
