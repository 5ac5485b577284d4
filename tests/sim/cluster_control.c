/* The control of each simulated node, as core/io/control.c runs it: the shipped machine, and on a
 * manager the shipped coordinator with its durable entries; or registers in one place (as etcd is)
 * that conflict, and whose answers get lost.
 *
 * A tool asks for the cluster again and again until it is made. */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include <yakumo/coordinator.h>

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/options.h"
#include "core/node/control.h"

#define TOOL 0x80000007u

enum { PORT_MS = 50, TOOL_MS = 100, REGISTERS = 2, REGISTER_MS = 1500 };

/* What the coordinator, or the data folder, has said, until the machine is stepped with it. */
struct said {
    struct said *next;
    struct yk_control_event event;
    struct yk_register_answer answer;
    char *name;
    GBytes *bytes;
};

/* One node's, of one start: left as it is when that dies. */
struct control {
    struct yk_coordinator_port port; /* first: the coordinator sees this */
    struct node *node;
    struct yk_control *machine;
    const struct yk_coordinator_ops *ops; /* NULL: no coordinator is here */
    struct yk_plugin_host host;
    void *self;
    int64_t timer_us, turn_us, stored_us; /* simulated time; timer, turn: 0: none is planned */
    struct said *said, **said_end;
};

/* Bytes for the device. */
struct entry {
    char *name;
    GBytes *bytes;
    uint64_t token;
};

/* A question for the registers in one place, and its answer. */
struct inquiry {
    char *name;
    GBytes *bytes; /* of a write, then of the answer to a read */
    bool is_write;
    uint64_t if_revision, token;
    struct yk_register_answer answer;
};

static void step(struct control *control, struct yk_control_event *event);
static void hear_said(struct control *control);

static struct control *
of_port(struct yk_coordinator_port *port)
{
    return (struct control *)port;
}

/* On the node's own clock */
static int64_t
now_us(const struct control *control)
{
    return (int64_t)control->node->world.now_us(control->node);
}

static uint32_t
index_of(const struct control *control)
{
    return (uint32_t)(control->node - sim.nodes);
}

static void
plan_turn(struct control *control)
{
    int64_t next_us = sim.now_us + MAX(yk_control_next_turn(control->machine) - now_us(control), 0);
    if (control->timer_us != 0) {
        next_us = MIN(next_us, control->timer_us);
    }
    next_us = MAX(next_us, sim.now_us + 100);
    if (control->turn_us == 0 || next_us < control->turn_us) {
        control->turn_us = next_us;
        sim_of_node(control->node, next_us - sim.now_us, CONTROL_TURN, 0, NULL);
    }
}

static void
run(struct control *control)
{
    step(control, &(struct yk_control_event){.kind = YK_CONTROL_TURN});
    hear_said(control);
    plan_turn(control);
}

/* What the coordinator says waits until it has returned */

static struct said *
say(struct control *control, enum yk_control_event_kind kind, struct yk_slice bytes)
{
    struct said *said = g_new0(struct said, 1);
    said->event.kind = kind;
    said->bytes = g_bytes_new(bytes.data, bytes.size);
    *control->said_end = said;
    control->said_end = &said->next;
    return said;
}

static void
port_answer(struct yk_coordinator_port *port, uint64_t token,
            const struct yk_register_answer *answer)
{
    struct said *said = say(of_port(port), YK_CONTROL_ANSWERED, answer->bytes);
    said->answer = *answer;
    said->answer.bytes.data = g_bytes_get_data(said->bytes, NULL);
    said->event.answered.token = token;
    said->event.answered.answer = &said->answer;
}

static void
port_changed(struct yk_coordinator_port *port, const char *name)
{
    struct said *said = say(of_port(port), YK_CONTROL_CHANGED, yk_slice_of(NULL, 0));
    said->name = g_strdup(name);
    said->event.changed = said->name;
}

static void
port_send(struct yk_coordinator_port *port, uint32_t manager_index, struct yk_slice message)
{
    struct said *said = say(of_port(port), YK_CONTROL_SENDS, message);
    said->event.sends.manager = manager_index;
    said->event.sends.bytes = yk_slice_of(g_bytes_get_data(said->bytes, NULL), message.size);
}

static void
port_set_timer(struct yk_coordinator_port *port, uint64_t at_ms)
{
    struct control *control = of_port(port);
    int64_t in_ms = (int64_t)at_ms - (int64_t)world_now_ms(control->node);
    control->timer_us = sim.now_us + MAX(MS(in_ms), 1);
}

static void
port_store(struct yk_coordinator_port *port, const char *name, struct yk_slice bytes,
           uint64_t token)
{
    struct control *control = of_port(port);
    struct entry *entry = g_new0(struct entry, 1);
    *entry = (struct entry){g_strdup(name), g_bytes_new(bytes.data, bytes.size), token};
    int64_t at_us = sim.now_us + 1 + sim_below(!sim.is_calm && sim_chance(5) ? 200000 : 4000);
    control->stored_us = MAX(control->stored_us, at_us);
    sim_of_node(control->node, control->stored_us - sim.now_us, CONTROL_STORE, 0, entry);
}

static void
put_entry(struct node *node, struct entry *entry)
{
    g_tree_replace(node->entries, entry->name, entry->bytes);
}

static void
store(struct control *control, struct entry *entry)
{
    put_entry(control->node, entry);
    if (control->ops->stored != NULL) {
        control->ops->stored(control->self, entry->token, YK_OK);
    }
    g_free(entry);
}

static void
hear_said(struct control *control)
{
    if (control->timer_us != 0 && control->timer_us <= sim.now_us) {
        control->timer_us = 0;
        if (control->ops->timer != NULL) {
            control->ops->timer(control->self, world_now_ms(control->node));
        }
    }
    while (control->said != NULL) {
        struct said *said = control->said;
        control->said = said->next;
        if (control->said == NULL) {
            control->said_end = &control->said;
        }
        step(control, &said->event);
        g_bytes_unref(said->bytes);
        g_free(said->name);
        g_free(said);
    }
}

/* The registers in one place */

static void
inquire(struct control *control, const struct yk_control_effect *effect)
{
    struct inquiry *inquiry = g_new0(struct inquiry, 1);
    int64_t way = sim_way_us(index_of(control), MANAGER);
    inquiry->name = g_strdup(effect->coordinator.name);
    inquiry->is_write = effect->kind == YK_CONTROL_WRITE;
    inquiry->token = effect->coordinator.token;
    inquiry->if_revision = effect->coordinator.if_revision;
    inquiry->bytes = inquiry->is_write ? g_bytes_new(effect->coordinator.bytes.data,
                                                     effect->coordinator.bytes.size)
                                       : NULL;
    inquiry->answer.struct_size = sizeof(inquiry->answer);
    inquiry->answer.result = YK_REGISTER_UNKNOWN;
    if (way < 0) {
        sim_of_node(control->node, MS(REGISTER_MS), CONTROL_ANSWERED, 0, inquiry);
        return;
    }
    sim_put((struct happening){.at_us = sim.now_us + way,
                               .kind = INQUIRY,
                               .node = index_of(control),
                               .about = control->node->boot,
                               .thing = inquiry});
}

void
control_inquired(struct happening *happening)
{
    struct inquiry *inquiry = happening->thing;
    struct kept_register *kept = &sim.registers[strcmp(inquiry->name, "cluster") != 0];
    inquiry->answer.result = YK_REGISTER_OK;
    if (inquiry->is_write && inquiry->if_revision != kept->revision) {
        inquiry->answer.result = YK_REGISTER_CONFLICT;
    } else if (inquiry->is_write) {
        kept->bytes = g_bytes_ref(inquiry->bytes);
        kept->revision++;
    } else if (kept->bytes != NULL) {
        inquiry->bytes = g_bytes_ref(kept->bytes);
    }
    inquiry->answer.revision = kept->revision;
    int64_t way = sim_way_us(MANAGER, happening->node);
    if (way < 0) { /* whoever asked waits in vain */
        inquiry->answer = (struct yk_register_answer){.struct_size = sizeof(inquiry->answer),
                                                      .result = YK_REGISTER_UNKNOWN};
        way = MS(REGISTER_MS);
    }
    happening->at_us = sim.now_us + way;
    happening->kind = CONTROL_ANSWERED;
    sim_put(*happening);
}

static void
answered(struct control *control, struct inquiry *inquiry)
{
    if (!inquiry->is_write && inquiry->answer.result == YK_REGISTER_OK && inquiry->bytes != NULL) {
        inquiry->answer.bytes =
            yk_slice_of(g_bytes_get_data(inquiry->bytes, NULL), g_bytes_get_size(inquiry->bytes));
    }
    step(control, &(struct yk_control_event){.kind = YK_CONTROL_ANSWERED,
                                             .answered = {inquiry->token, &inquiry->answer}});
    g_clear_pointer(&inquiry->bytes, g_bytes_unref);
    g_free(inquiry->name);
    g_free(inquiry);
}

/* Effects */

static void
send_message(struct control *control, const struct yk_control_effect *effect)
{
    uint32_t from = index_of(control), to = effect->send.peer - 1;
    struct yk_buffer *bytes = effect->send.bytes;
    if (effect->send.peer == TOOL) {
        uint32_t state;
        char text[YK_ERROR_SIZE];
        sim.is_created =
            yk_created_decode(yk_slice_of(bytes->data, bytes->size), &state, text) == YK_OK &&
            state == 0;
        sim_trace("the cluster %s", sim.is_created ? "is made" : text);
        yk_buffer_unref(bytes);
        return;
    }
    YK_ASSERT(to < sim.n_nodes && to != from);
    for (uint32_t n = 1 + (!sim.is_calm && sim_chance(sim.doubling)); n > 0; n--) {
        int64_t way = sim_way_us(from, to);
        if (way >= 0) {
            yk_buffer_ref(bytes);
            sim_put((struct happening){.at_us = sim.now_us + way,
                                       .kind = CONTROL_FRAME,
                                       .node = to,
                                       .from = from,
                                       .thing = bytes});
        }
    }
    yk_buffer_unref(bytes);
}

static void
ask_coordinator(struct control *control, const struct yk_control_effect *effect)
{
    const struct yk_coordinator_ops *ops = control->ops;
    if (ops == NULL && effect->kind != YK_CONTROL_WATCH) {
        inquire(control, effect);
    } else if (effect->kind == YK_CONTROL_READ) {
        ops->read(control->self, effect->coordinator.name, effect->coordinator.token);
    } else if (effect->kind == YK_CONTROL_WRITE) {
        ops->write(control->self, effect->coordinator.name, effect->coordinator.bytes,
                   effect->coordinator.if_revision, effect->coordinator.token);
    } else if (ops != NULL && ops->watch != NULL) {
        ops->watch(control->self, effect->coordinator.name);
    }
}

static void
tell_coordinator(struct control *control, const struct yk_control_effect *effect)
{
    struct yk_buffer *bytes = effect->message.bytes;
    if (control->ops != NULL && control->ops->message != NULL) {
        control->ops->message(control->self, effect->message.manager,
                              yk_slice_of(bytes->data, bytes->size));
    }
    yk_buffer_unref(bytes);
}

static void
take_view(struct control *control, struct yk_view *view)
{
    yk_view_unref(control->node->view);
    control->node->view = view;
    for (uint32_t i = 0; i < WORKERS; i++) {
        sim_of_node(control->node, 1, CONTROL_VIEW, i, yk_view_ref(view));
    }
    sim_trace("node %u: view of revision %u", index_of(control),
              (uint32_t)view->buckets[0].revision);
}

static void
take_effect(struct control *control, const struct yk_control_effect *effect)
{
    switch (effect->kind) {
    case YK_CONTROL_SEND:
        send_message(control, effect);
        break;
    case YK_CONTROL_READ:
    case YK_CONTROL_WRITE:
    case YK_CONTROL_WATCH:
        ask_coordinator(control, effect);
        break;
    case YK_CONTROL_COORDINATOR:
        tell_coordinator(control, effect);
        break;
    case YK_CONTROL_JOIN:
        memcpy(control->node->cluster_id, effect->join, YK_ID_SIZE);
        say(control, YK_CONTROL_JOINED, yk_slice_of(NULL, 0))->event.joined = YK_OK;
        break;
    case YK_CONTROL_VIEW:
        take_view(control, effect->view);
        break;
    case YK_CONTROL_REFUSED:
        sim_of_node(control->node, 1, CONTROL_REFUSED, effect->refused->worker, effect->refused);
        break;
    case YK_CONTROL_READY:
        sim_trace("node %u is ready", index_of(control));
        break;
    }
}

static void
step(struct control *control, struct yk_control_event *event)
{
    uint32_t n;
    event->now_us = now_us(control);
    yk_control_step(control->machine, event);
    const struct yk_control_effect *effects = yk_control_take_effects(control->machine, &n);
    for (uint32_t i = 0; i < n; i++) {
        take_effect(control, &effects[i]);
    }
}

/* Events */

static void
tell_wishes(const struct node *node, const char *what, const struct yk_wishes *wishes)
{
    for (uint32_t i = 0; sim.traces != NULL && i < wishes->n; i++) {
        const struct yk_slot_wish *wish = &wishes->wishes[i];
        sim_trace("node %u %s: slot %u kind %d epoch %u about %u", (uint32_t)(node - sim.nodes),
                  what, wish->slot, wish->wish.kind, wish->wish.epoch, wish->wish.node);
    }
}

void
control_happens(struct node *node, const struct happening *happening)
{
    struct control *control = node->control;
    const struct yk_buffer *bytes = happening->thing;
    switch (happening->kind) {
    case CONTROL_FRAME:
        step(control, &(struct yk_control_event){
                          .kind = YK_CONTROL_FRAME,
                          .frame = {happening->from + 1, yk_slice_of(bytes->data, bytes->size)}});
        break;
    case CONTROL_LOST:
        step(control, &(struct yk_control_event){.kind = YK_CONTROL_PEER,
                                                 .peer = {happening->worker + 1, false}});
        break;
    case CONTROL_WISHES:
        tell_wishes(node, "wishes", happening->thing);
        step(control,
             &(struct yk_control_event){.kind = YK_CONTROL_WISHES, .wishes = happening->thing});
        break;
    case CONTROL_STORE:
        store(control, happening->thing);
        break;
    case CONTROL_ANSWERED:
        answered(control, happening->thing);
        break;
    default: /* a turn that may have been planned again since */
        if (control->turn_us > sim.now_us) {
            return;
        }
        control->turn_us = 0;
        break;
    }
    run(control);
}

/* What the control gives to workers. */
void
control_gives(struct node *node, const struct happening *happening)
{
    if (happening->kind == CONTROL_VIEW) {
        node_step(node, happening->worker,
                  (struct yk_event){.kind = YK_EVENT_VIEW, .view = happening->thing});
    } else {
        tell_wishes(node, "is refused", happening->thing);
        node_step(node, happening->worker,
                  (struct yk_event){.kind = YK_EVENT_REFUSED, .refused = happening->thing});
    }
}

/* The tool */

void
control_create(void)
{
    uint32_t n_managers;
    struct node *node = &sim.nodes[sim_below(sim.n_nodes)];
    yk_control_manager(sim.configs[0], &n_managers);
    if (sim.is_created) {
        return;
    }
    if (node->node != NULL && node->paused_until_us <= sim.now_us) {
        struct yk_pack pack;
        yk_pack_init(&pack, YK_KIB);
        yk_request_encode(&pack, 1, YK_MESSAGE_CREATE, false);
        step(node->control, &(struct yk_control_event){.kind = YK_CONTROL_FRAME,
                                                       .frame = {TOOL, yk_pack_bytes_of(&pack)}});
        run(node->control);
        yk_pack_done(&pack);
    }
    sim_put((struct happening){.at_us = sim.now_us + MS(TOOL_MS), .kind = CREATE});
}

/* Life */

static uint32_t
find_peer(void *arg, const char *id, const char *name, const char *address)
{
    uint32_t self = (uint32_t)((struct node *)arg - sim.nodes);
    const char *last = id[0] != '\0' ? id + strlen(id) - 1 : name + strlen(name) - 1;
    uint32_t index = (uint32_t)(*last - '0');
    (void)address;
    return index == self ? YK_PEER_SELF : index < sim.n_nodes ? 1 + index : YK_PEER_NONE;
}

static gboolean
load_entry(gpointer name, gpointer bytes, gpointer arg)
{
    struct control *control = arg;
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);
    if (control->ops->loaded != NULL) {
        control->ops->loaded(control->self, name, yk_slice_of(data, size));
    }
    return FALSE;
}

static void
open_coordinator(struct control *control, uint32_t self_index, uint32_t n_managers)
{
    char error[YK_ERROR_SIZE] = "";
    const char *name = sim.swarm.coordinator == COORDINATOR_LOCAL ? "local" : "quorum";
    const struct yk_plugin *plugin = yk_plugins_find(sim.plugins, YK_KIND_COORDINATOR, name, error);
    if (plugin == NULL) {
        sim_fail("%s", error);
        return;
    }
    control->port = (struct yk_coordinator_port){.struct_size = sizeof(control->port),
                                                 .self_index = self_index,
                                                 .n_managers = n_managers,
                                                 .answer = port_answer,
                                                 .changed = port_changed,
                                                 .send = port_send,
                                                 .set_timer = port_set_timer,
                                                 .store = port_store};
    control->ops = plugin->ops;
    struct yk_settings *settings = yk_settings_new(plugin, name);
    yk_plugin_host_init(&control->host, &control->node->world, name);
    enum yk_err result = yk_instance_new(settings, &control->host.host, &control->self, error);
    if (result == YK_OK && control->ops->open != NULL) {
        result = control->ops->open(control->self, &control->port);
    }
    if (result == YK_OK) {
        g_tree_foreach(control->node->entries, load_entry, control);
        result = control->ops->ready != NULL ? control->ops->ready(control->self) : YK_OK;
    }
    if (result != YK_OK) {
        yk_plugin_host_error(&control->host, error);
        sim_fail("coordinator of node %u: %s", index_of(control), error);
    }
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(a, b);
}

void
control_start(struct node *node)
{
    uint32_t index = (uint32_t)(node - sim.nodes), n_managers;
    uint32_t self_index = yk_control_manager(sim.configs[index], &n_managers);
    struct control *control = g_new0(struct control, 1);
    if (node->entries == NULL) {
        node->entries = g_tree_new(compare_names);
    }
    node->incarnations_of_buckets[0] = node->incarnations;
    node->control = control;
    control->node = node;
    control->said_end = &control->said;
    struct yk_control_setup setup = {.world = &node->world,
                                     .config = sim.configs[index],
                                     .nonce = node->boot,
                                     .n_workers = WORKERS,
                                     .n_lanes = LANES,
                                     .incarnations = node->incarnations_of_buckets,
                                     .seed = yk_random_next(&sim.random),
                                     .peer = find_peer,
                                     .arg = node};
    judge_name_of(index, setup.node_id);
    memcpy(setup.cluster_id, node->cluster_id, YK_ID_SIZE);
    if (self_index != UINT32_MAX && sim.swarm.coordinator != COORDINATOR_MODEL) {
        open_coordinator(control, self_index, n_managers);
    }
    control->machine = yk_control_new(&setup);
    YK_ASSERT(control->machine != NULL);
    run(control);
}

/* An entry that is being written may be there, or what was there before. */
void
control_dies(struct node *node)
{
    const struct happening *oldest = NULL;
    uint32_t index = (uint32_t)(node - sim.nodes);
    for (uint32_t i = 0; i < sim.n_heap; i++) {
        const struct happening *happening = &sim.heap[i];
        if (happening->kind == CONTROL_STORE && happening->node == index &&
            happening->about == node->boot &&
            (oldest == NULL || sim_is_before(happening, oldest))) {
            oldest = happening;
        }
    }
    if (oldest != NULL && sim_chance(50)) {
        put_entry(node, oldest->thing);
    }
    yk_view_unref(node->view);
    node->view = NULL;
    node->control = NULL;
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        if (i != index && sim.nodes[i].node != NULL && sim_chance(80)) {
            sim_of_node(&sim.nodes[i], sim_below(3000), CONTROL_LOST, index, NULL);
        }
    }
}

/* In the end all know the same, and that is what is looked at. */
void
control_settle_register(void)
{
    const struct yk_view_bucket *newest = NULL;
    char error[YK_ERROR_SIZE];
    struct yk_pack pack;
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        const struct yk_view *view = sim.nodes[i].view;
        if (view == NULL || !view->buckets[0].is_fresh) {
            sim_fail("node %u knows nothing of the cluster in the end", i);
            return;
        }
        if (newest == NULL || view->buckets[0].revision > newest->revision) {
            newest = &view->buckets[0];
        }
    }
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    YK_ASSERT(yk_bucket_register_encode(&newest->bucket, &pack, error) == YK_OK);
    YK_ASSERT(yk_bucket_register_decode(yk_pack_bytes_of(&pack), &sim.bucket, error) == YK_OK);
    yk_pack_done(&pack);
    for (uint32_t i = 0; i < SLOTS; i++) {
        sim.lost |= sim.bucket.slots[i].begins > 0 ? 1u << i : 0;
        sim.result->n_epochs += sim.bucket.slots[i].epoch - 1;
    }
}
