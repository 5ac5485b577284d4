/* The controls of a cluster in one process: virtual time, messages that are lost, doubled and late,
 * one coordinator in memory that conflicts and does not always know. */
#include <config.h>

#include "core/node/control.h"

#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "core/base/buffer.h"
#include "core/base/random.h"

#define MS(n) ((int64_t)(n)*1000)
#define TOOL  (0x80000000u | 7)

enum { NODES = 3, SLOTS = 16, LANES = 4, WORKERS = 2, REGISTERS = 2, REFUSED_MAX = 64 };

static const char text[] = "[cluster]\n"
                           "coordinator = quorum\n"
                           "[bucket default]\n"
                           "durability = os\n"
                           "slots = 16\n"
                           "[node a]\n"
                           "roles = manager, server\n"
                           "address = 127.0.0.1:1\n"
                           "[node b]\n"
                           "roles = manager, server\n"
                           "address = 127.0.0.1:2\n"
                           "[node c]\n"
                           "roles = manager, server\n"
                           "address = 127.0.0.1:3\n";
static const char *const names[NODES] = {"a", "b", "c"};
static const char *const register_names[REGISTERS] = {"cluster", "bucket.default"};
static const uint32_t lane_incarnations[LANES] = {1, 1, 1, 1};
static const uint32_t *const incarnations[] = {lane_incarnations};

struct node {
    struct yk_config *config;
    struct yk_control *control; /* NULL: down */
    uint64_t nonce;
    char cluster_id[YK_ID_SIZE]; /* what its folder says */
    struct yk_view *view;        /* the newest that its workers got */
    bool is_ready, is_cut;
    uint32_t n_refused;
    struct yk_slot_wish refused[REFUSED_MAX];
    uint32_t refused_worker;
};

/* Something that is to happen. */
struct entry {
    int64_t at_us;
    uint64_t number;
    uint32_t to;
    uint64_t nonce; /* of the start that it is for */
    uint32_t from;  /* a message's: node, or TOOL */
    GBytes *bytes;  /* a message; NULL: an answer of the coordinator */
    uint64_t token;
    struct yk_register_answer answer;
    GBytes *value;
};

static struct {
    struct node nodes[NODES];
    GArray *entries;
    int64_t now_us;
    uint64_t n_made;
    struct yk_random random;
    uint32_t loss, unsure; /* percent */
    struct {
        uint64_t revision;
        GBytes *bytes;
    } registers[REGISTERS];
    uint32_t n_conflicts, n_writes;
    uint64_t n_boots;
    GBytes *tool; /* the last answer to the tool */
} sim;

static bool
chance(uint32_t percent)
{
    return yk_random_below(&sim.random, 100) < percent;
}

/* Config */

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    static const struct yk_plugin memory = {
        .struct_size = sizeof(memory), .kind = YK_KIND_BACKEND, .name = "memory"};
    static const struct yk_plugin quorum = {
        .struct_size = sizeof(quorum), .kind = YK_KIND_COORDINATOR, .name = "quorum"};
    (void)arg;
    (void)error;
    const struct yk_plugin *plugin = kind == YK_KIND_COORDINATOR ? &quorum : &memory;
    g_assert_cmpint(kind, ==, plugin->kind);
    g_assert_cmpstr(name, ==, plugin->name);
    return plugin;
}

static struct yk_config *
config_of(const char *name)
{
    char error[YK_ERROR_SIZE] = "";
    struct yk_config *config = NULL;
    const struct yk_config_source source = {.file = "t.conf",
                                            .text = text,
                                            .size = sizeof(text) - 1,
                                            .node = name,
                                            .find_plugin = find_plugin};
    enum yk_err result = yk_config_parse(&source, &config, error);
    g_assert_cmpstr(error, ==, "");
    g_assert_cmpint(result, ==, YK_OK);
    return config;
}

/* The world */

static void
log_line(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    (void)arg;
    (void)level;
    g_test_message("%" G_GINT64_FORMAT " %s: %s", sim.now_us / 1000, from, line);
}

static const struct yk_world world = {.log = log_line};

static void
id_of(uint32_t node, char *to)
{
    snprintf(to, YK_ID_SIZE, "%08x-0000-4000-8000-000000000000", 10 + node);
}

/* 0 is the node itself, 1 + n node n. */
static uint32_t
peer_of(void *arg, const char *id, const char *name, const char *address)
{
    uint32_t self = (uint32_t)((struct node *)arg - sim.nodes);
    (void)address;
    for (uint32_t i = 0; i < NODES; i++) {
        char its_id[YK_ID_SIZE];
        id_of(i, its_id);
        if (strcmp(id[0] != '\0' ? id : name, id[0] != '\0' ? its_id : names[i]) == 0) {
            return i == self ? YK_PEER_SELF : 1 + i;
        }
    }
    return YK_PEER_NONE;
}

static void
put(struct entry entry, int64_t in_us)
{
    entry.at_us = sim.now_us + in_us;
    entry.number = sim.n_made++;
    entry.nonce = sim.nodes[entry.to].nonce;
    g_array_append_val(sim.entries, entry);
}

static void
send_bytes(uint32_t from, uint32_t to, struct yk_buffer *bytes)
{
    bool is_cut = sim.nodes[to].is_cut || (from < NODES && sim.nodes[from].is_cut);
    for (uint32_t n = 1 + chance(sim.loss / 3); n > 0 && !is_cut && !chance(sim.loss); n--) {
        put((struct entry){.to = to, .from = from, .bytes = g_bytes_new(bytes->data, bytes->size)},
            MS(1) + (int64_t)yk_random_below(&sim.random, chance(sim.loss) ? MS(900) : MS(3)));
    }
}

static void
coordinate(uint32_t node, const struct yk_control_effect *effect)
{
    struct entry entry = {.to = node, .token = effect->coordinator.token};
    uint32_t index = strcmp(effect->coordinator.name, register_names[0]) == 0 ? 0 : 1;
    bool is_lost = chance(sim.unsure), is_unsure = is_lost || chance(sim.unsure);
    entry.answer.struct_size = sizeof(entry.answer);
    if (effect->kind == YK_CONTROL_WRITE) {
        if (effect->coordinator.if_revision != sim.registers[index].revision) {
            entry.answer.result = YK_REGISTER_CONFLICT;
            sim.n_conflicts++;
        } else if (!is_lost) {
            g_clear_pointer(&sim.registers[index].bytes, g_bytes_unref);
            sim.registers[index].bytes =
                g_bytes_new(effect->coordinator.bytes.data, effect->coordinator.bytes.size);
            sim.registers[index].revision++;
            sim.n_writes++;
        }
    } else if (sim.registers[index].bytes != NULL) {
        entry.value = g_bytes_ref(sim.registers[index].bytes);
    }
    entry.answer.revision = sim.registers[index].revision;
    if (is_unsure) {
        entry.answer = (struct yk_register_answer){.struct_size = sizeof(entry.answer),
                                                   .result = YK_REGISTER_UNKNOWN};
    }
    put(entry, MS(1) + (int64_t)yk_random_below(&sim.random, MS(15)));
}

static void
take_refused(struct node *node, struct yk_wishes *refused)
{
    node->refused_worker = refused->worker;
    for (uint32_t i = 0; i < refused->n && node->n_refused < REFUSED_MAX; i++) {
        node->refused[node->n_refused++] = refused->wishes[i];
    }
    free(refused);
}

static void step(uint32_t index, struct yk_control_event event);

static void
take_effects(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    uint32_t n;
    const struct yk_control_effect *effects = yk_control_take_effects(node->control, &n);
    bool has_joined = false;
    for (uint32_t i = 0; i < n; i++) {
        const struct yk_control_effect *effect = &effects[i];
        switch (effect->kind) {
        case YK_CONTROL_SEND:
            if (effect->send.peer == TOOL) {
                g_clear_pointer(&sim.tool, g_bytes_unref);
                sim.tool = g_bytes_new(effect->send.bytes->data, effect->send.bytes->size);
            } else {
                send_bytes(index, effect->send.peer - 1, effect->send.bytes);
            }
            yk_buffer_unref(effect->send.bytes);
            break;
        case YK_CONTROL_READ:
        case YK_CONTROL_WRITE:
            coordinate(index, effect);
            break;
        case YK_CONTROL_JOIN:
            memcpy(node->cluster_id, effect->join, YK_ID_SIZE);
            has_joined = true;
            break;
        case YK_CONTROL_VIEW:
            yk_view_unref(node->view);
            node->view = effect->view;
            break;
        case YK_CONTROL_REFUSED:
            take_refused(node, effect->refused);
            break;
        case YK_CONTROL_READY:
            node->is_ready = true;
            break;
        case YK_CONTROL_WATCH:
        case YK_CONTROL_COORDINATOR:
            break;
        }
    }
    if (has_joined) {
        step(index, (struct yk_control_event){.kind = YK_CONTROL_JOINED, .joined = YK_OK});
    }
}

static void
step(uint32_t index, struct yk_control_event event)
{
    event.now_us = sim.now_us;
    yk_control_step(sim.nodes[index].control, &event);
    take_effects(index);
}

static void
start_node(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    node->nonce = 1000 * (index + 1) + ++sim.n_boots;
    struct yk_control_setup setup = {.world = &world,
                                     .config = node->config,
                                     .nonce = node->nonce,
                                     .n_workers = WORKERS,
                                     .n_lanes = LANES,
                                     .incarnations = incarnations,
                                     .seed = yk_random_next(&sim.random),
                                     .peer = peer_of,
                                     .arg = node};
    id_of(index, setup.node_id);
    memcpy(setup.cluster_id, node->cluster_id, YK_ID_SIZE);
    node->control = yk_control_new(&setup);
    g_assert_nonnull(node->control);
    take_effects(index);
}

static void
stop_node(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    yk_control_free(node->control);
    yk_view_unref(node->view);
    node->control = NULL;
    node->view = NULL;
    node->is_ready = false;
    node->nonce = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        if (sim.nodes[i].control != NULL) {
            step(i, (struct yk_control_event){.kind = YK_CONTROL_PEER, .peer = {1 + index, false}});
        }
    }
}

static void
sim_init(uint64_t seed, uint32_t loss, uint32_t unsure)
{
    memset(&sim, 0, sizeof(sim));
    sim.random.state = seed;
    sim.now_us = MS(1000);
    sim.loss = loss;
    sim.unsure = unsure;
    sim.entries = g_array_new(FALSE, FALSE, sizeof(struct entry));
    for (uint32_t i = 0; i < NODES; i++) {
        sim.nodes[i].config = config_of(names[i]);
        start_node(i);
    }
}

static void
entry_done(struct entry *entry)
{
    if (entry->bytes != NULL) {
        g_bytes_unref(entry->bytes);
    }
    if (entry->value != NULL) {
        g_bytes_unref(entry->value);
    }
}

static void
sim_done(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        if (sim.nodes[i].control != NULL) {
            stop_node(i);
        }
        yk_config_free(sim.nodes[i].config);
    }
    for (guint i = 0; i < sim.entries->len; i++) {
        entry_done(&g_array_index(sim.entries, struct entry, i));
    }
    g_array_unref(sim.entries);
    for (uint32_t i = 0; i < REGISTERS; i++) {
        g_clear_pointer(&sim.registers[i].bytes, g_bytes_unref);
    }
    g_clear_pointer(&sim.tool, g_bytes_unref);
}

static void
deliver(struct entry *entry)
{
    gsize size = 0;
    if (sim.nodes[entry->to].control == NULL || sim.nodes[entry->to].nonce != entry->nonce) {
        return;
    }
    if (entry->bytes != NULL) {
        const void *data = g_bytes_get_data(entry->bytes, &size);
        uint32_t peer = entry->from == TOOL ? TOOL : 1 + entry->from;
        step(entry->to, (struct yk_control_event){.kind = YK_CONTROL_FRAME,
                                                  .frame = {peer, yk_slice_of(data, size)}});
        return;
    }
    if (entry->value != NULL) {
        const void *data = g_bytes_get_data(entry->value, &size);
        entry->answer.bytes = yk_slice_of(data, size);
    }
    step(entry->to, (struct yk_control_event){.kind = YK_CONTROL_ANSWERED,
                                              .answered = {entry->token, &entry->answer}});
}

/* The next thing, if it is not after until_us. */
static bool
happen(int64_t until_us)
{
    guint first = 0;
    int64_t at_us = INT64_MAX;
    uint32_t turn = NODES;
    for (guint i = 0; i < sim.entries->len; i++) {
        const struct entry *entry = &g_array_index(sim.entries, struct entry, i);
        if (entry->at_us < at_us) {
            at_us = entry->at_us;
            first = i;
        }
    }
    for (uint32_t i = 0; i < NODES; i++) {
        const struct node *node = &sim.nodes[i];
        int64_t next_us = node->control != NULL ? yk_control_next_turn(node->control) : INT64_MAX;
        if (next_us < at_us) {
            at_us = next_us;
            turn = i;
        }
    }
    if (at_us > until_us) {
        sim.now_us = until_us;
        return false;
    }
    sim.now_us = at_us > sim.now_us ? at_us : sim.now_us;
    if (turn < NODES) {
        step(turn, (struct yk_control_event){.kind = YK_CONTROL_TURN});
        return true;
    }
    struct entry entry = g_array_index(sim.entries, struct entry, first);
    g_array_remove_index_fast(sim.entries, first);
    deliver(&entry);
    entry_done(&entry);
    return true;
}

static void
run_for(uint32_t ms)
{
    int64_t until_us = sim.now_us + MS(ms);
    while (happen(until_us)) {
    }
}

/* What a test waits for */

static void
ask_as_tool(uint32_t node, enum yk_message message, bool is_now)
{
    struct yk_pack pack;
    yk_pack_init(&pack, YK_KIB);
    yk_request_encode(&pack, 1, message, is_now);
    g_clear_pointer(&sim.tool, g_bytes_unref);
    step(node, (struct yk_control_event){.kind = YK_CONTROL_FRAME,
                                         .frame = {TOOL, yk_pack_bytes_of(&pack)}});
    yk_pack_done(&pack);
    g_assert_nonnull(sim.tool);
}

static uint32_t
create(uint32_t node, bool is_now, char *ret_text)
{
    uint32_t state;
    gsize size;
    ask_as_tool(node, YK_MESSAGE_CREATE, is_now);
    const void *data = g_bytes_get_data(sim.tool, &size);
    g_assert_cmpint(yk_created_decode(yk_slice_of(data, size), &state, ret_text), ==, YK_OK);
    return state;
}

static bool
are_ready(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        if (sim.nodes[i].control != NULL && !sim.nodes[i].is_ready) {
            return false;
        }
    }
    return true;
}

static void
form(uint32_t timeout_ms)
{
    char said[YK_ERROR_SIZE];
    int64_t until_us = sim.now_us + MS(timeout_ms);
    while (create(1, false, said) != 0 || !are_ready()) {
        g_assert_cmpint(sim.now_us, <, until_us);
        run_for(100);
    }
}

static const struct yk_slot_record *
slot_of(uint32_t node, uint32_t slot)
{
    return &sim.nodes[node].view->buckets[0].bucket.slots[slot];
}

static void
wish_at(uint32_t node, uint32_t slot, struct yk_wish wish)
{
    struct yk_wishes *wishes = calloc(1, sizeof(*wishes) + sizeof(wishes->wishes[0]));
    g_assert_nonnull(wishes);
    wishes->worker = slot % LANES % WORKERS;
    wishes->n = 1;
    wishes->wishes[0] = (struct yk_slot_wish){.slot = (uint16_t)slot, .wish = wish};
    step(node, (struct yk_control_event){.kind = YK_CONTROL_WISHES, .wishes = wishes});
    step(node, (struct yk_control_event){.kind = YK_CONTROL_TURN});
}

/* Every node's view has what the register has. */
static void
assert_agreed(void)
{
    struct yk_bucket_register bucket;
    char error[YK_ERROR_SIZE];
    gsize size;
    const void *data = g_bytes_get_data(sim.registers[1].bytes, &size);
    g_assert_cmpint(yk_bucket_register_decode(yk_slice_of(data, size), &bucket, error), ==, YK_OK);
    for (uint32_t i = 0; i < NODES; i++) {
        const struct yk_view_bucket *seen = &sim.nodes[i].view->buckets[0];
        g_assert_cmpuint(seen->revision, ==, sim.registers[1].revision);
        g_assert_cmpmem(seen->bucket.slots, SLOTS * sizeof(*bucket.slots), bucket.slots,
                        SLOTS * sizeof(*bucket.slots));
    }
    yk_bucket_register_done(&bucket);
}

/* Tests */

static void
test_formation(void)
{
    char said[YK_ERROR_SIZE];
    sim_init(1, 0, 0);
    run_for(5000); /* nobody makes anything by himself */
    g_assert_cmpuint(sim.n_writes, ==, 0);
    g_assert_null(sim.nodes[0].view);
    stop_node(2);
    run_for(4000);
    g_assert_cmpuint(create(0, false, said), ==, 1);
    g_assert_cmpstr(said, ==, "waiting for c");
    run_for(1000);
    g_assert_cmpuint(sim.n_writes, ==, 0);
    start_node(2);
    run_for(1000);
    form(5000);
    g_assert_cmpuint(sim.registers[0].revision, ==, 1);
    for (uint32_t i = 0; i < NODES; i++) {
        const struct yk_view_bucket *bucket = &sim.nodes[i].view->buckets[0];
        g_assert_cmpuint(bucket->bucket.n_nodes, ==, NODES);
        g_assert_cmpuint(bucket->self, ==, i);
        g_assert_cmpuint(bucket->peers[i], ==, YK_PEER_SELF);
        g_assert_cmpuint(bucket->peers[(i + 1) % NODES], ==, 1 + (i + 1) % NODES);
        g_assert_cmpuint(bucket->bucket.nodes[i].n_workers, ==, WORKERS);
        g_assert_true(bucket->is_fresh);
        g_assert_cmpstr(sim.nodes[i].cluster_id, ==, sim.nodes[0].cluster_id);
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        g_assert_cmpuint(slot_of(0, slot)->epoch, ==, 1);
        g_assert_cmpuint(slot_of(0, slot)->n_members, ==, NODES);
    }
    assert_agreed();
    g_assert_cmpuint(create(2, true, said), ==, 0); /* once more: nothing */
    g_assert_cmpuint(sim.registers[0].revision, ==, 1);
    sim_done();
}

static void
test_now(void)
{
    char said[YK_ERROR_SIZE];
    sim_init(2, 0, 0);
    stop_node(2);
    run_for(4000);
    while (create(0, true, said) != 0) {
        run_for(100);
    }
    run_for(1000);
    g_assert_true(are_ready());
    g_assert_cmpuint(sim.nodes[0].view->buckets[0].bucket.n_nodes, ==, 2);
    start_node(2); /* which comes later: it is taken in, and holds nothing */
    run_for(2000);
    g_assert_true(sim.nodes[2].is_ready);
    g_assert_cmpuint(sim.nodes[2].view->buckets[0].self, ==, 2);
    g_assert_cmpuint(sim.nodes[0].view->buckets[0].peers[2], ==, 3);
    sim_done();
}

/* The cluster is made, and a server goes before the bucket is: another manager waits for it, too.
 */
static void
test_half_made(void)
{
    char said[YK_ERROR_SIZE];
    sim_init(8, 0, 0);
    run_for(2000);
    while (sim.registers[0].revision == 0) {
        g_assert_cmpuint(create(0, false, said), ==, 1);
        run_for(20);
    }
    g_assert_cmpuint(sim.registers[1].revision, ==, 0);
    stop_node(2);
    run_for(5000);
    for (uint32_t i = 0; i < 20; i++) {
        g_assert_cmpuint(create(i % 2, false, said), ==, 1);
        run_for(100);
    }
    g_assert_cmpstr(said, ==, "waiting for c");
    g_assert_cmpuint(sim.registers[1].revision, ==, 0);
    start_node(2);
    run_for(1000);
    form(5000);
    g_assert_cmpuint(slot_of(0, 0)->n_members, ==, NODES);
    sim_done();
}

static void
test_wishes(void)
{
    sim_init(3, 0, 0);
    run_for(500);
    form(5000);
    run_for(1000);
    uint32_t primary = slot_of(0, 5)->primary, other = (primary + 1) % NODES;
    const struct yk_wish remove = {YK_WISH_REMOVE, 1, other, 1};
    wish_at(primary, 5, remove);
    run_for(200); /* so fast it reaches everybody */
    for (uint32_t i = 0; i < NODES; i++) {
        g_assert_cmpuint(slot_of(i, 5)->epoch, ==, 2);
        g_assert_cmpuint(slot_of(i, 5)->n_members, ==, NODES - 1);
    }
    g_assert_cmpuint(sim.nodes[primary].n_refused, ==, 0);
    /* The same again: its epoch is over. One that the rules refuse. */
    wish_at(primary, 5, remove);
    wish_at(other, 5, (struct yk_wish){YK_WISH_BUMP, 2, 0, 0});
    run_for(200);
    g_assert_cmpuint(sim.nodes[primary].n_refused, ==, 1);
    g_assert_cmpuint(sim.nodes[primary].refused[0].slot, ==, 5);
    g_assert_cmpuint(sim.nodes[primary].refused[0].wish.epoch, ==, 1);
    g_assert_cmpint(sim.nodes[primary].refused[0].wish.kind, ==, YK_WISH_REMOVE);
    g_assert_cmpuint(sim.nodes[primary].refused_worker, ==, 5 % LANES % WORKERS);
    g_assert_cmpuint(sim.nodes[other].n_refused, ==, 1);
    g_assert_cmpuint(slot_of(0, 5)->epoch, ==, 2);
    assert_agreed();
    sim_done();
}

/* What one node asks for many slots goes in few writes, whoever else asks at the same time. */
static void
test_batches(void)
{
    sim_init(4, 0, 0);
    run_for(500);
    form(5000);
    run_for(1000);
    uint32_t n_writes = sim.n_writes;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        uint32_t primary = slot_of(0, slot)->primary;
        wish_at(primary, slot, (struct yk_wish){YK_WISH_REMOVE, 1, (primary + 1) % NODES, 1});
    }
    run_for(2000);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        g_assert_cmpuint(slot_of(0, slot)->epoch, ==, 2);
    }
    g_assert_cmpuint(sim.n_conflicts, >, 0); /* three managers at once */
    g_assert_cmpuint(sim.n_writes - n_writes, <=, 2 * NODES);
    assert_agreed();
    sim_done();
}

static void
test_restart(void)
{
    sim_init(5, 0, 0);
    run_for(500);
    form(5000);
    stop_node(1);
    run_for(500);
    sim.nodes[1].is_cut = true;
    sim.unsure = 100; /* nobody can say anything for sure */
    start_node(1);
    run_for(3000);
    g_assert_false(sim.nodes[1].is_ready);
    sim.nodes[1].is_cut = false;
    sim.unsure = 0;
    run_for(3000);
    g_assert_true(sim.nodes[1].is_ready);
    g_assert_cmpuint(sim.nodes[0].view->buckets[0].bucket.nodes[1].nonce, ==, sim.nodes[1].nonce);
    assert_agreed();
    sim_done();
}

static void
test_status(void)
{
    struct yk_status *status = g_new0(struct yk_status, 1);
    gsize size;
    sim_init(6, 0, 0);
    run_for(500);
    form(5000);
    stop_node(2);
    run_for(100);
    ask_as_tool(0, YK_MESSAGE_STATUS, false);
    const void *data = g_bytes_get_data(sim.tool, &size);
    g_assert_cmpint(yk_status_decode(yk_slice_of(data, size), status), ==, YK_OK);
    g_assert_cmpstr(status->cluster_id, ==, sim.nodes[0].cluster_id);
    g_assert_cmpuint(status->n_nodes, ==, NODES);
    g_assert_true(status->nodes[0].is_up);
    g_assert_true(status->nodes[1].is_up);
    g_assert_false(status->nodes[2].is_up);
    g_assert_true(status->nodes[2].is_attached);
    g_assert_cmpuint(status->n_buckets, ==, 1);
    g_assert_cmpuint(status->buckets[0].slots, ==, SLOTS);
    g_assert_cmpuint(status->buckets[0].n_full, ==, SLOTS);
    g_assert_cmpuint(status->buckets[0].n_headless, >=, SLOTS / NODES); /* its share */
    g_assert_cmpuint(status->buckets[0].n_headless, <=, SLOTS / NODES + 1);
    for (gsize cut = 0; cut < size; cut++) {
        g_assert_cmpint(yk_status_decode(yk_slice_of(data, cut), status), ==, YK_ECORRUPT);
    }
    g_free(status);
    sim_done();
}

/* Messages are lost, the coordinator is often not sure, nodes restart: in the end all agree, and
 * each wish was granted once or refused. */
static void
test_troubles(void)
{
    for (uint64_t seed = 100; seed < 160; seed++) {
        g_test_message("seed %" G_GUINT64_FORMAT, seed);
        sim_init(seed, 20, 20);
        run_for(500);
        form(60000);
        for (uint32_t round = 0; round < 20; round++) {
            uint32_t slot = (uint32_t)yk_random_below(&sim.random, SLOTS);
            uint32_t node = (uint32_t)yk_random_below(&sim.random, NODES);
            if (chance(10)) {
                stop_node(node);
                run_for((uint32_t)yk_random_below(&sim.random, 500));
                start_node(node);
            } else if (sim.nodes[node].is_ready) {
                wish_at(node, slot,
                        (struct yk_wish){chance(50) ? YK_WISH_PROMOTE : YK_WISH_BUMP,
                                         slot_of(node, slot)->epoch, 0, 0});
            }
            run_for((uint32_t)yk_random_below(&sim.random, 200));
        }
        sim.loss = 0;
        sim.unsure = 0;
        run_for(5000);
        g_assert_true(are_ready());
        assert_agreed();
        sim_done();
    }
}

/* Frames of anybody: whatever they are, nothing breaks. */
static void
test_garbage(void)
{
    struct yk_ask ask = {.question = 1,
                         .name = "bucket.default",
                         .is_fresh = true,
                         .nonce = 5,
                         .has_start = true,
                         .start = {.name = "c", .n_lanes = LANES, .n_workers = 1}};
    struct yk_ask_wish wishes[2] = {{3, YK_WISH_ADD, 1, 99, 1}, {SLOTS + 1, 77, 1, 0, 0}};
    struct yk_pack pack;
    sim_init(7, 0, 0);
    run_for(500);
    form(5000);
    id_of(2, ask.node_id);
    ask.wishes = wishes;
    ask.n_wishes = 2;
    yk_pack_init(&pack, YK_CONTROL_SIZE_MAX);
    yk_ask_encode(&pack, &ask);
    for (size_t i = 0; i < pack.size * 8; i++) {
        pack.data[i / 8] ^= (uint8_t)(1u << i % 8);
        step(0, (struct yk_control_event){.kind = YK_CONTROL_FRAME,
                                          .frame = {3, yk_pack_bytes_of(&pack)}});
        pack.data[i / 8] ^= (uint8_t)(1u << i % 8);
        step(0, (struct yk_control_event){.kind = YK_CONTROL_FRAME,
                                          .frame = {3, yk_slice_of(pack.data, i / 8)}});
        run_for(10);
    }
    yk_pack_done(&pack);
    run_for(3000);
    g_assert_nonnull(sim.nodes[0].view);
    sim_done();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/formation", test_formation);
    g_test_add_func("/control/now", test_now);
    g_test_add_func("/control/half-made", test_half_made);
    g_test_add_func("/control/wishes", test_wishes);
    g_test_add_func("/control/batches", test_batches);
    g_test_add_func("/control/restart", test_restart);
    g_test_add_func("/control/status", test_status);
    g_test_add_func("/control/troubles", test_troubles);
    g_test_add_func("/control/garbage", test_garbage);
    return g_test_run();
}
