/* The coordinator `quorum`: 3 or 5 managers in one process, from a seed. Messages are lost,
 * doubled, late and out of order, links are cut; managers are killed with what they had not stored,
 * and one may lose its folder; memory ends now and then. Several clients read and write two
 * registers, and what they were told is checked:
 *
 * - each revision has one value, and that is one that was written on the revision before it;
 * - a read, and a write that succeeded, is no older than anything that had ended before it began;
 * - what was refused is nowhere;
 * - after healing every manager that counts reads and writes.
 *
 * YK_SEED=N runs the seed N alone, YK_LONG=1 twenty times as many. */
#include <config.h>

#include <yakumo/coordinator.h>

#include <stdlib.h>

#include <glib.h>

#include "core/base/random.h"
#include "core/base/world.h"
#include "plugins/coordinators/quorum/message.h"

extern const struct yk_plugin quorum_LTX_yk_plugin;

static const struct yk_coordinator_ops *ops;

enum {
    MANAGERS_MAX = QUORUM_MANAGERS_MAX,
    CLIENTS_MAX = 6,
    N_REGISTERS = 2,
    FAULTS_END_MS = 2500, /* from here on nothing fails */
    CLIENTS_END_MS = 4000,
    ASK_MS = 4500,
    TIMEOUT_MS = 400,
    POLL_MS = 150,
};

static const char *const register_names[N_REGISTERS] = {"cluster", "bucket.default"};

/* -- The simulation. -- */

enum event_kind { MESSAGE, TIMER, STORED, CLIENT, NEMESIS, START };

struct event {
    uint64_t at_us, number;
    enum event_kind kind;
    uint32_t manager, from, life; /* life: only in that one of the manager's */
    uint64_t token;
    char name[90];
    GBytes *bytes; /* own */
};

/* What a client asked, and was told. */
struct asked {
    uint32_t client, manager, reg;
    bool is_write, is_answered;
    uint64_t begin_us, end_us; /* UINT64_MAX: never answered */
    uint64_t if_revision, revision;
    uint32_t result; /* enum yk_register_result */
    uint32_t text; /* write: what is to be, a number of its own; read: what was there, 0: nothing */
};

struct client {
    uint32_t manager;
    uint64_t revisions[N_REGISTERS]; /* as it knows them */
    bool must_read[N_REGISTERS];
    int64_t waits_for; /* index into asked; -1: nothing */
};

struct sim;

struct manager {
    struct yk_coordinator_port port; /* first */
    struct sim *sim;
    uint32_t index;
    struct yk_world world;
    struct yk_plugin_host host;
    void *self;
    bool is_up, is_opening;
    uint32_t life;
    GHashTable *device; /* own: name -> GBytes */
    int64_t clock_ms;   /* of its wall clock against the simulation's */
    bool is_slow;       /* its device is */
    bool is_lost;       /* it has another folder than it had */
    uint64_t n_stores, n_changed;
};

struct sim {
    uint64_t seed, now_us, n_events;
    struct yk_random random;
    uint32_t n_managers, n_clients;
    struct manager managers[MANAGERS_MAX];
    struct client clients[CLIENTS_MAX + 1]; /* the last asks only once everything is healed */
    GPtrArray *heap;                        /* own: of struct event */
    GArray *asked;                          /* own: of struct asked */
    bool cut[MANAGERS_MAX][MANAGERS_MAX];
    uint32_t loss, doubling, late; /* percent */
    uint32_t no_memory;            /* once in so many; 0: never */
    uint32_t bad_store;            /* the same */
    bool is_healed, is_early_loss;
    uint64_t n_messages, n_kills;
};

static uint64_t
below(struct sim *sim, uint64_t bound)
{
    return yk_random_below(&sim->random, bound);
}

static bool
is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static struct event *
heap_at(const struct sim *sim, uint32_t index)
{
    return (struct event *)g_ptr_array_index(sim->heap, index);
}

static struct event *
event_add(struct sim *sim, enum event_kind kind, uint64_t after_us, uint32_t manager)
{
    struct event *event = g_new0(struct event, 1);
    *event = (struct event){.at_us = sim->now_us + after_us,
                            .number = ++sim->n_events,
                            .kind = kind,
                            .manager = manager,
                            .life = sim->managers[manager].life};
    g_ptr_array_add(sim->heap, event);
    uint32_t i = sim->heap->len - 1;
    while (i > 0 && is_before(event, heap_at(sim, (i - 1) / 2))) {
        sim->heap->pdata[i] = sim->heap->pdata[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->heap->pdata[i] = event;
    return event;
}

static struct event *
event_take(struct sim *sim)
{
    struct event *first = heap_at(sim, 0);
    struct event *last = heap_at(sim, sim->heap->len - 1);
    g_ptr_array_set_size(sim->heap, (int)sim->heap->len - 1);
    uint32_t i = 0, n = sim->heap->len;
    for (uint32_t child = 1; child < n; child = 2 * i + 1) {
        child += child + 1 < n && is_before(heap_at(sim, child + 1), heap_at(sim, child));
        if (!is_before(heap_at(sim, child), last)) {
            break;
        }
        sim->heap->pdata[i] = sim->heap->pdata[child];
        i = child;
    }
    if (n > 0) {
        sim->heap->pdata[i] = last;
    }
    return first;
}

static void
event_free(struct event *event)
{
    if (event->bytes != NULL) {
        g_bytes_unref(event->bytes);
    }
    g_free(event);
}

/* The world of a manager. */

static uint64_t
world_now_ms(void *arg)
{
    struct manager *manager = arg;
    return (uint64_t)((int64_t)(manager->sim->now_us / 1000) + manager->clock_ms);
}

static uint64_t
world_now_us(void *arg)
{
    struct manager *manager = arg;
    return manager->sim->now_us;
}

static uint64_t
world_random(void *arg)
{
    struct manager *manager = arg;
    return yk_random_next(&manager->sim->random);
}

static void
world_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static void *
world_resize(void *arg, void *memory, size_t size)
{
    struct manager *manager = arg;
    struct sim *sim = manager->sim;
    if (!sim->is_healed && sim->no_memory > 0 && below(sim, sim->no_memory) == 0) {
        return NULL;
    }
    return realloc(memory, size);
}

static void
world_release(void *arg, void *memory)
{
    free(memory);
}

/* The port of a manager. */

static void
port_answer(struct yk_coordinator_port *port, uint64_t token,
            const struct yk_register_answer *answer)
{
    struct manager *manager = (struct manager *)port;
    struct sim *sim = manager->sim;
    g_assert_cmpuint(token, <=, sim->asked->len);
    struct asked *asked = &g_array_index(sim->asked, struct asked, token - 1);
    struct client *client = &sim->clients[asked->client];
    g_assert_false(asked->is_answered); /* once */
    asked->is_answered = true;
    asked->end_us = sim->now_us;
    asked->result = answer->result;
    asked->revision = answer->revision;
    bool is_known = answer->result == YK_REGISTER_OK || answer->result == YK_REGISTER_CONFLICT;
    if (!asked->is_write && answer->result == YK_REGISTER_OK && answer->revision > 0) {
        g_autofree char *text = g_strndup(answer->bytes.data, answer->bytes.size);
        asked->text = (uint32_t)strtoul(text, NULL, 10);
    }
    client->must_read[asked->reg] = !is_known;
    if (is_known) {
        client->revisions[asked->reg] = answer->revision;
    }
    if (client->waits_for == (int64_t)token - 1) {
        client->waits_for = -1;
        event_add(sim, CLIENT, 1000 + below(sim, 40000), 0)->from = asked->client;
    }
}

static void
port_changed(struct yk_coordinator_port *port, const char *name)
{
    ((struct manager *)port)->n_changed++;
}

static void
port_send(struct yk_coordinator_port *port, uint32_t to, struct yk_slice message)
{
    struct manager *manager = (struct manager *)port;
    struct sim *sim = manager->sim;
    g_assert_cmpuint(to, <, sim->n_managers);
    g_assert_cmpuint(to, !=, manager->index);
    g_assert_false(manager->is_opening);
    sim->n_messages++;
    uint32_t n = 1;
    if (!sim->is_healed) {
        n += below(sim, 100) < sim->doubling;
        n -= sim->cut[manager->index][to] || below(sim, 100) < sim->loss ? n : 0;
    }
    for (; n > 0; n--) {
        uint64_t delay = 500 + below(sim, 5000);
        if (!sim->is_healed && below(sim, 100) < sim->late) {
            delay += below(sim, 300000);
        }
        struct event *event = event_add(sim, MESSAGE, delay, to);
        event->from = manager->index;
        event->bytes = g_bytes_new(message.data, message.size);
    }
}

static void
port_set_timer(struct yk_coordinator_port *port, uint64_t at_ms)
{
    struct manager *manager = (struct manager *)port;
    uint64_t now_ms = world_now_ms(manager);
    struct event *event = event_add(manager->sim, TIMER,
                                    at_ms > now_ms ? (at_ms - now_ms) * 1000 : 1, manager->index);
    event->token = at_ms;
}

static void
port_store(struct yk_coordinator_port *port, const char *name, struct yk_slice bytes,
           uint64_t token)
{
    struct manager *manager = (struct manager *)port;
    struct event *event =
        event_add(manager->sim, STORED,
                  manager->is_slow ? 60000000 : 200 + below(manager->sim, 8000), manager->index);
    g_assert_false(manager->is_opening);
    g_strlcpy(event->name, name, sizeof(event->name));
    event->bytes = g_bytes_new(bytes.data, bytes.size);
    event->token = token;
    manager->n_stores++;
}

/* Life. */

static void
manager_end(struct manager *manager)
{
    if (manager->is_up) {
        ops->close(manager->self);
        ops->life.destroy(manager->self);
    }
    manager->is_up = false;
    manager->life++;
}

static void
configure(void *self)
{
    struct yk_option_value value = {.struct_size = sizeof(value), .text = ""};
    value.number = TIMEOUT_MS * 1000;
    g_assert_cmpint(ops->life.config(self, "timeout", &value), ==, YK_OK);
    value.number = POLL_MS * 1000;
    g_assert_cmpint(ops->life.config(self, "poll", &value), ==, YK_OK);
}

/* An instance, not opened yet. False: no memory. */
static bool
manager_prepare(struct manager *manager)
{
    struct sim *sim = manager->sim;
    manager->port = (struct yk_coordinator_port){.struct_size = sizeof(manager->port),
                                                 .self_index = manager->index,
                                                 .n_managers = sim->n_managers,
                                                 .answer = port_answer,
                                                 .changed = port_changed,
                                                 .send = port_send,
                                                 .set_timer = port_set_timer,
                                                 .store = port_store};
    manager->world = (struct yk_world){.arg = manager,
                                       .now_ms = world_now_ms,
                                       .now_us = world_now_us,
                                       .random = world_random,
                                       .log = world_log,
                                       .resize = world_resize,
                                       .release = world_release};
    yk_plugin_host_init(&manager->host, &manager->world, "quorum");
    if (ops->life.create(&manager->host.host, &manager->self) != YK_OK) {
        return false;
    }
    configure(manager->self);
    return true;
}

static bool
manager_open(struct manager *manager)
{
    if (!manager_prepare(manager)) {
        return false;
    }
    g_assert_cmpint(ops->open(manager->self, &manager->port), ==, YK_OK);
    manager->is_up = true;
    return true;
}

/* False: it could not (no memory), and is to be started later. */
static bool
manager_start(struct manager *manager)
{
    GHashTableIter iter;
    gpointer name, bytes;
    if (!manager_open(manager)) {
        return false;
    }
    manager->is_opening = true;
    g_hash_table_iter_init(&iter, manager->device);
    while (g_hash_table_iter_next(&iter, &name, &bytes)) {
        gsize size;
        const void *data = g_bytes_get_data(bytes, &size);
        ops->loaded(manager->self, name, yk_slice_of(data, size));
    }
    manager->is_opening = false;
    enum yk_err result = ops->ready(manager->self);
    if (result != YK_OK) {
        g_assert_cmpint(result, ==, YK_ENOMEM);
        manager_end(manager);
        return false;
    }
    for (uint32_t i = 0; i < N_REGISTERS; i++) {
        ops->watch(manager->self, register_names[i]);
    }
    return true;
}

static void
device_put(struct manager *manager, const char *name, GBytes *bytes)
{
    g_hash_table_insert(manager->device, g_strdup(name), g_bytes_ref(bytes));
}

/* What it had not been told of as stored is on the device, or not; in their order for each name. */
static void
manager_kill(struct manager *manager)
{
    struct sim *sim = manager->sim;
    uint32_t life = manager->life;
    sim->n_kills++;
    manager_end(manager);
    bool is_kept = below(sim, 2) == 0;
    for (uint32_t i = 0; is_kept && i < sim->heap->len; i++) {
        struct event *event = heap_at(sim, i);
        if (event->kind == STORED && event->manager == manager->index && event->life == life) {
            device_put(manager, event->name, event->bytes);
        }
    }
    for (uint32_t i = 0; i < sim->n_clients; i++) {
        struct client *client = &sim->clients[i];
        if (client->waits_for >= 0 && client->manager == manager->index) {
            struct asked *asked =
                &g_array_index(sim->asked, struct asked, (guint)client->waits_for);
            client->must_read[asked->reg] = true;
            client->waits_for = -1;
            event_add(sim, CLIENT, below(sim, 100000), 0)->from = i;
        }
    }
    event_add(sim, START, 1000 + below(sim, 400000), manager->index);
}

/* All ids of all managers are on its device: it takes part. */
static bool
is_complete(const struct manager *manager)
{
    GBytes *bytes = g_hash_table_lookup(manager->device, "identity");
    struct quorum_identity identity;
    gsize size;
    const void *data = bytes != NULL ? g_bytes_get_data(bytes, &size) : NULL;
    bool is_known = data != NULL && quorum_identity_decode(yk_slice_of(data, size), &identity);
    for (uint32_t i = 0; is_known && i < identity.n_managers; i++) {
        is_known = !quorum_id_is_none(&identity.ids[i]);
    }
    return is_known;
}

static void
lose_folder(struct manager *manager)
{
    struct sim *sim = manager->sim;
    for (uint32_t i = 0; i < sim->n_managers; i++) {
        sim->is_early_loss = sim->is_early_loss || !is_complete(&sim->managers[i]);
    }
    g_hash_table_remove_all(manager->device);
    manager->is_lost = true;
}

static void
nemesis(struct sim *sim)
{
    uint32_t a = (uint32_t)below(sim, sim->n_managers);
    uint32_t b = (uint32_t)below(sim, sim->n_managers);
    uint64_t dice = below(sim, 100);
    if (sim->is_healed) {
        return;
    }
    if (dice < 30 && sim->managers[a].is_up) {
        manager_kill(&sim->managers[a]);
        uint32_t n_lost = 0;
        for (uint32_t i = 0; i < sim->n_managers; i++) {
            n_lost += sim->managers[i].is_lost;
        }
        if (sim->seed % 4 == 1 && n_lost < sim->n_managers / 2 && below(sim, 4) == 0) {
            lose_folder(&sim->managers[a]);
        }
    } else if (dice < 36) {
        for (uint32_t i = 0; i < sim->n_managers; i++) {
            if (sim->managers[i].is_up) {
                manager_kill(&sim->managers[i]);
            }
        }
    } else if (dice < 60) {
        sim->cut[a][b] = true;
        sim->cut[b][a] = below(sim, 2) == 0;
    } else if (dice < 70) {
        for (uint32_t i = 0; i < sim->n_managers; i++) {
            sim->cut[a][i] = sim->cut[i][a] = true;
        }
    } else {
        memset(sim->cut, 0, sizeof(sim->cut));
    }
    event_add(sim, NEMESIS, 10000 + below(sim, 150000), 0);
}

/* A client's next question. */
static void
client_ask(struct sim *sim, uint32_t index)
{
    struct client *client = &sim->clients[index];
    struct asked asked = {.client = index, .begin_us = sim->now_us, .end_us = UINT64_MAX};
    bool is_unsure = client->must_read[0] || client->must_read[1];
    if (below(sim, is_unsure ? 2 : 8) == 0 || !sim->managers[client->manager].is_up) {
        client->manager = (uint32_t)below(sim, sim->n_managers);
    }
    struct manager *manager = &sim->managers[client->manager];
    if (!manager->is_up) {
        event_add(sim, CLIENT, 20000, 0)->from = index;
        return;
    }
    asked.manager = client->manager;
    asked.reg = (uint32_t)below(sim, N_REGISTERS);
    asked.is_write = !client->must_read[asked.reg] && below(sim, 3) != 0;
    asked.if_revision = client->revisions[asked.reg];
    if (asked.is_write && below(sim, 10) == 0) {
        asked.if_revision += below(sim, 3) - (asked.if_revision > 0);
    }
    uint64_t token = sim->asked->len + 1;
    asked.text = asked.is_write ? (uint32_t)token : 0;
    client->waits_for = (int64_t)token - 1;
    g_array_append_val(sim->asked, asked);
    g_autofree char *text = g_strdup_printf("%u", (unsigned)token);
    if (asked.is_write) {
        ops->write(manager->self, register_names[asked.reg], yk_slice_of_text(text),
                   asked.if_revision, token);
    } else {
        ops->read(manager->self, register_names[asked.reg], token);
    }
}

static void
on_stored(struct sim *sim, struct manager *manager, const struct event *event)
{
    bool is_bad = !sim->is_healed && sim->bad_store > 0 && below(sim, sim->bad_store) == 0;
    if (!is_bad || below(sim, 2) == 0) {
        device_put(manager, event->name, event->bytes);
    }
    ops->stored(manager->self, event->token, is_bad ? YK_EIO : YK_OK);
}

static void
on_event(struct sim *sim, const struct event *event)
{
    struct manager *manager = &sim->managers[event->manager];
    bool is_alive = manager->is_up && event->life == manager->life;
    if (event->kind == MESSAGE && manager->is_up) {
        gsize size;
        const void *data = g_bytes_get_data(event->bytes, &size);
        ops->message(manager->self, event->from, yk_slice_of(data, size));
    } else if (event->kind == TIMER && is_alive) {
        ops->timer(manager->self, world_now_ms(manager));
    } else if (event->kind == STORED && is_alive) {
        on_stored(sim, manager, event);
    } else if (event->kind == CLIENT && sim->clients[event->from].waits_for < 0 &&
               sim->now_us < CLIENTS_END_MS * 1000) {
        client_ask(sim, event->from);
    } else if (event->kind == NEMESIS) {
        nemesis(sim);
    } else if (event->kind == START && !manager->is_up && !manager_start(manager)) {
        event_add(sim, START, 10000, manager->index);
    }
}

/* Nothing fails any more. Who had a store that failed is started again, as it asks for. */
static void
heal(struct sim *sim)
{
    sim->is_healed = true;
    for (uint32_t i = 0; i < sim->n_managers; i++) {
        if (sim->bad_store > 0 && sim->managers[i].is_up) {
            manager_kill(&sim->managers[i]);
        }
    }
}

static void
sim_init(struct sim *sim, uint64_t seed, uint32_t n_managers)
{
    *sim = (struct sim){.seed = seed, .random = {seed}, .n_managers = n_managers};
    ops = quorum_LTX_yk_plugin.ops;
    sim->heap = g_ptr_array_new();
    sim->asked = g_array_new(FALSE, FALSE, sizeof(struct asked));
    for (uint32_t i = 0; i < n_managers; i++) {
        sim->managers[i] =
            (struct manager){.sim = sim,
                             .index = i,
                             .clock_ms = 1000000 + (int64_t)below(sim, 1000000),
                             .device = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                                             (GDestroyNotify)g_bytes_unref)};
    }
}

static void
sim_done(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_managers; i++) {
        manager_end(&sim->managers[i]);
        g_hash_table_unref(sim->managers[i].device);
    }
    while (sim->heap->len > 0) {
        event_free(event_take(sim));
    }
    g_ptr_array_unref(sim->heap);
    g_array_unref(sim->asked);
}

static void
sim_run_until(struct sim *sim, uint64_t until_ms)
{
    while (sim->heap->len > 0 && heap_at(sim, 0)->at_us <= until_ms * 1000) {
        struct event *event = event_take(sim);
        sim->now_us = event->at_us;
        on_event(sim, event);
        event_free(event);
    }
    sim->now_us = until_ms * 1000;
}

/* -- The history. -- */

struct history {
    struct sim *sim;
    uint32_t reg;
    uint32_t *texts; /* own: of each revision, as far as anybody saw it; 0: nobody did */
    uint64_t n_texts;
};

static const struct asked *
asked_at(const struct sim *sim, uint64_t index)
{
    return &g_array_index(sim->asked, struct asked, index);
}

/* Each revision has one text; that of a write that was not refused, on the revision before it. */
static void
note_text(struct history *history, uint64_t revision, uint32_t text)
{
    g_assert_cmpuint(revision, <, history->n_texts);
    g_assert_cmpuint(text, >, 0);
    g_assert_cmpuint(text, <=, history->sim->asked->len);
    if (g_test_failed()) {
        return;
    }
    const struct asked *write = asked_at(history->sim, text - 1);
    g_assert_true(write->is_write && write->reg == history->reg);
    g_assert_cmpuint(write->if_revision + 1, ==, revision);
    g_assert_true(!write->is_answered || write->result == YK_REGISTER_OK ||
                  write->result == YK_REGISTER_UNKNOWN);
    g_assert_true(history->texts[revision] == 0 || history->texts[revision] == text);
    history->texts[revision] = text;
}

/* The newest revision that anybody had been told of before that time. */
static uint64_t
newest_before(const struct history *history, uint64_t at_us)
{
    uint64_t newest = 0;
    for (uint64_t i = 0; i < history->sim->asked->len; i++) {
        const struct asked *one = asked_at(history->sim, i);
        if (one->reg == history->reg && one->is_answered && one->end_us < at_us &&
            (one->result == YK_REGISTER_OK || one->result == YK_REGISTER_CONFLICT)) {
            newest = MAX(newest, one->revision);
        }
    }
    return newest;
}

static void
check_answer(struct history *history, const struct asked *one)
{
    uint64_t newest = newest_before(history, one->begin_us);
    if (!one->is_write) {
        g_assert_cmpuint(one->revision, >=, newest);
        if (one->revision > 0) {
            note_text(history, one->revision, one->text);
            const struct asked *write = asked_at(history->sim, one->text - 1);
            g_assert_cmpuint(write->begin_us, <=, one->end_us);
        }
    } else if (one->result == YK_REGISTER_OK) {
        g_assert_cmpuint(one->revision, ==, one->if_revision + 1);
        g_assert_cmpuint(one->revision, >, newest);
        note_text(history, one->revision, one->text);
    } else {
        g_assert_cmpuint(one->revision, !=, one->if_revision);
        g_assert_cmpuint(one->revision, >=, newest);
    }
}

static void
check_history(struct sim *sim)
{
    for (uint32_t reg = 0; reg < N_REGISTERS && !g_test_failed(); reg++) {
        struct history history = {.sim = sim, .reg = reg, .n_texts = sim->asked->len + 2};
        history.texts = g_new0(uint32_t, history.n_texts);
        for (uint64_t i = 0; i < sim->asked->len && !g_test_failed(); i++) {
            const struct asked *one = asked_at(sim, i);
            if (one->reg == reg && one->is_answered &&
                (one->result == YK_REGISTER_OK || one->result == YK_REGISTER_CONFLICT)) {
                check_answer(&history, one);
            }
        }
        g_free(history.texts);
    }
}

static void
ask_one(struct sim *sim, uint32_t manager, uint32_t reg, bool is_write)
{
    struct asked asked = {.client = CLIENTS_MAX,
                          .manager = manager,
                          .reg = reg,
                          .is_write = is_write,
                          .begin_us = sim->now_us,
                          .end_us = UINT64_MAX,
                          .if_revision = sim->clients[CLIENTS_MAX].revisions[reg],
                          .text = is_write ? sim->asked->len + 1 : 0};
    g_autofree char *text = g_strdup_printf("%u", asked.text);
    g_assert_true(sim->managers[manager].is_up);
    g_array_append_val(sim->asked, asked);
    if (is_write) {
        ops->write(sim->managers[manager].self, register_names[reg], yk_slice_of_text(text),
                   asked.if_revision, sim->asked->len);
    } else {
        ops->read(sim->managers[manager].self, register_names[reg], sim->asked->len);
    }
}

/* When all is quiet each manager reads, then one after the other writes. */
static void
ask_all(struct sim *sim)
{
    sim->clients[CLIENTS_MAX].waits_for = -1;
    for (uint32_t i = 0; i < sim->n_managers * N_REGISTERS; i++) {
        ask_one(sim, i / N_REGISTERS, i % N_REGISTERS, false);
    }
    for (uint32_t i = 0; i < sim->n_managers; i++) {
        sim_run_until(sim, ASK_MS + (i + 1) * TIMEOUT_MS);
        ask_one(sim, i, i % N_REGISTERS, true);
    }
    sim_run_until(sim, ASK_MS + (sim->n_managers + 2) * TIMEOUT_MS);
}

/* After healing each manager that counts was answered, and one that does not was not; and each was
 * told of changes. */
static void
check_progress(const struct sim *sim)
{
    if (sim->is_early_loss) {
        return; /* then the others may never have met */
    }
    for (uint64_t i = 0; i < sim->asked->len; i++) {
        const struct asked *one = asked_at(sim, i);
        if (one->client == CLIENTS_MAX) {
            g_assert_true(one->is_answered);
            g_assert_true((one->result == YK_REGISTER_OK) != sim->managers[one->manager].is_lost);
        }
    }
    for (uint32_t i = 0; i < sim->n_managers; i++) {
        g_assert_true(sim->managers[i].is_lost || sim->managers[i].n_changed > 0);
    }
}

struct totals {
    uint64_t n_asked, n_ok, n_conflict, n_unknown, n_failed, n_never, n_kills, n_messages;
};

static void
add_totals(const struct sim *sim, struct totals *totals)
{
    for (uint64_t i = 0; i < sim->asked->len; i++) {
        const struct asked *one = asked_at(sim, i);
        totals->n_asked++;
        totals->n_never += !one->is_answered;
        totals->n_ok += one->is_answered && one->result == YK_REGISTER_OK;
        totals->n_conflict += one->is_answered && one->result == YK_REGISTER_CONFLICT;
        totals->n_unknown += one->is_answered && one->result == YK_REGISTER_UNKNOWN;
        totals->n_failed += one->is_answered && one->result == YK_REGISTER_FAILED;
    }
    totals->n_kills += sim->n_kills;
    totals->n_messages += sim->n_messages;
}

static void
run_seed(uint64_t seed, struct totals *totals)
{
    struct sim *sim = g_new(struct sim, 1);
    sim_init(sim, seed, seed % 3 == 0 ? 5 : 3);
    sim->n_clients = 3 + (uint32_t)below(sim, CLIENTS_MAX - 2);
    sim->loss = (uint32_t)below(sim, 20);
    sim->doubling = (uint32_t)below(sim, 20);
    sim->late = (uint32_t)below(sim, 15);
    sim->no_memory = seed % 5 == 2 ? 200 : 0;
    sim->bad_store = seed % 7 == 3 ? 40 : 0;
    for (uint32_t i = 0; i < sim->n_managers; i++) {
        event_add(sim, START, below(sim, 100000), i);
    }
    for (uint32_t i = 0; i < sim->n_clients; i++) {
        sim->clients[i] = (struct client){.waits_for = -1, .must_read = {true, true}};
        event_add(sim, CLIENT, below(sim, 100000), 0)->from = i;
    }
    event_add(sim, NEMESIS, 100000 + below(sim, 300000), 0);
    sim_run_until(sim, FAULTS_END_MS);
    heal(sim);
    sim_run_until(sim, ASK_MS);
    ask_all(sim);
    check_history(sim);
    check_progress(sim);
    add_totals(sim, totals);
    if (g_test_failed()) {
        g_test_message("YK_SEED=%llu", (unsigned long long)seed);
    }
    sim_done(sim);
    g_free(sim);
}

static void
test_seeds(void)
{
    struct totals totals = {0};
    const char *one = g_getenv("YK_SEED");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one != NULL ? first : g_getenv("YK_LONG") != NULL ? 40000 : 3000;
    for (uint64_t seed = first; seed <= last && !g_test_failed(); seed++) {
        run_seed(seed, &totals);
    }
    g_test_message("%llu seeds: %llu questions: %llu ok, %llu conflicts, %llu unknown, %llu not "
                   "done, %llu never answered; %llu kills, %llu messages",
                   (unsigned long long)(last - first + 1), (unsigned long long)totals.n_asked,
                   (unsigned long long)totals.n_ok, (unsigned long long)totals.n_conflict,
                   (unsigned long long)totals.n_unknown, (unsigned long long)totals.n_failed,
                   (unsigned long long)totals.n_never, (unsigned long long)totals.n_kills,
                   (unsigned long long)totals.n_messages);
}

/* -- One thing each. -- */

/* All managers up, with nothing that fails. */
static struct sim *
quiet_new(uint32_t n_managers)
{
    struct sim *sim = g_new(struct sim, 1);
    sim_init(sim, 1, n_managers);
    sim->is_healed = true;
    sim->clients[CLIENTS_MAX].waits_for = -1;
    for (uint32_t i = 0; i < n_managers; i++) {
        event_add(sim, START, 0, i);
    }
    sim_run_until(sim, 1000);
    return sim;
}

static void
quiet_free(struct sim *sim)
{
    sim_done(sim);
    g_free(sim);
}

/* Asks, and lets time go by. */
static const struct asked *
ask_and_wait(struct sim *sim, uint32_t manager, uint32_t reg, bool is_write)
{
    uint64_t index = sim->asked->len;
    ask_one(sim, manager, reg, is_write);
    sim_run_until(sim, sim->now_us / 1000 + TIMEOUT_MS + 200);
    const struct asked *one = asked_at(sim, index);
    g_assert_true(one->is_answered);
    return one;
}

static void
assert_result(const struct asked *one, enum yk_register_result result, uint64_t revision)
{
    g_assert_cmpuint(one->result, ==, result);
    g_assert_cmpuint(one->revision, ==, revision);
}

static void
test_life(void)
{
    for (uint32_t n = 3; n <= 5; n += 2) {
        struct sim *sim = quiet_new(n);
        assert_result(ask_and_wait(sim, 0, 0, false), YK_REGISTER_OK, 0);
        assert_result(ask_and_wait(sim, 1, 0, true), YK_REGISTER_OK, 1);
        assert_result(ask_and_wait(sim, 2, 0, false), YK_REGISTER_OK, 1);
        sim->clients[CLIENTS_MAX].revisions[0] = 0;
        assert_result(ask_and_wait(sim, 2, 0, true), YK_REGISTER_CONFLICT, 1);
        assert_result(ask_and_wait(sim, 2, 0, true), YK_REGISTER_OK, 2);
        for (uint32_t i = 0; i < n; i++) {
            g_assert_cmpuint(sim->managers[i].n_changed, ==, 2);
        }
        for (uint32_t i = 0; i < n; i++) {
            manager_kill(&sim->managers[i]);
        }
        sim_run_until(sim, sim->now_us / 1000 + 1000);
        const struct asked *one = ask_and_wait(sim, 0, 0, false);
        assert_result(one, YK_REGISTER_OK, 2);
        g_assert_cmpuint(one->text, >, 0);
        assert_result(ask_and_wait(sim, 0, 1, false), YK_REGISTER_OK, 0);
        quiet_free(sim);
    }
}

/* Reads and polls put nothing on the device while all agree. */
static void
test_reads_store_nothing(void)
{
    struct sim *sim = quiet_new(3);
    ask_and_wait(sim, 0, 0, true);
    uint64_t n_stores = 0, n_now = 0;
    for (uint32_t i = 0; i < 3; i++) {
        n_stores += sim->managers[i].n_stores;
    }
    for (uint32_t i = 0; i < 10; i++) {
        assert_result(ask_and_wait(sim, i % 3, 0, false), YK_REGISTER_OK, 1);
    }
    for (uint32_t i = 0; i < 3; i++) {
        n_now += sim->managers[i].n_stores;
    }
    g_assert_cmpuint(n_now, ==, n_stores);
    quiet_free(sim);
}

static void
cut_off(struct sim *sim, uint32_t manager)
{
    sim->is_healed = false;
    for (uint32_t i = 0; i < sim->n_managers; i++) {
        sim->cut[manager][i] = sim->cut[i][manager] = true;
    }
}

/* Without a majority: what nobody was asked to accept is surely not done. */
static void
test_minority(void)
{
    struct sim *sim = quiet_new(3);
    ask_and_wait(sim, 0, 0, true);
    cut_off(sim, 0);
    assert_result(ask_and_wait(sim, 0, 0, true), YK_REGISTER_FAILED, 0);
    assert_result(ask_and_wait(sim, 0, 0, false), YK_REGISTER_UNKNOWN, 0);
    assert_result(ask_and_wait(sim, 1, 0, true), YK_REGISTER_OK, 2);
    memset(sim->cut, 0, sizeof(sim->cut));
    assert_result(ask_and_wait(sim, 0, 0, false), YK_REGISTER_OK, 2);
    quiet_free(sim);
}

/* Nobody takes part before all have met; from then on a majority is enough. */
static void
test_meeting(void)
{
    struct sim *sim = g_new(struct sim, 1);
    sim_init(sim, 1, 3);
    sim->is_healed = true;
    sim->clients[CLIENTS_MAX].waits_for = -1;
    event_add(sim, START, 0, 0);
    event_add(sim, START, 0, 1);
    sim_run_until(sim, 1000);
    assert_result(ask_and_wait(sim, 0, 0, false), YK_REGISTER_UNKNOWN, 0);
    assert_result(ask_and_wait(sim, 0, 0, true), YK_REGISTER_FAILED, 0);
    event_add(sim, START, 0, 2);
    sim_run_until(sim, sim->now_us / 1000 + 1000);
    for (uint32_t i = 0; i < 3; i++) {
        g_assert_true(is_complete(&sim->managers[i]));
    }
    manager_end(&sim->managers[2]);
    assert_result(ask_and_wait(sim, 0, 0, true), YK_REGISTER_OK, 1);
    quiet_free(sim);
}

/* A folder that was lost: what it knew is gone, and it does not count; two of those are no majority
 * either, though the third is away. */
static void
test_lost_folders(void)
{
    struct sim *sim = quiet_new(3);
    assert_result(ask_and_wait(sim, 0, 0, true), YK_REGISTER_OK, 1);
    for (uint32_t i = 1; i < 3; i++) {
        manager_kill(&sim->managers[i]);
        lose_folder(&sim->managers[i]);
    }
    cut_off(sim, 0);
    sim_run_until(sim, sim->now_us / 1000 + 2000);
    assert_result(ask_and_wait(sim, 1, 0, false), YK_REGISTER_UNKNOWN, 0);
    assert_result(ask_and_wait(sim, 2, 0, true), YK_REGISTER_FAILED, 0);
    memset(sim->cut, 0, sizeof(sim->cut));
    sim->is_healed = true;
    sim_run_until(sim, sim->now_us / 1000 + 2000);
    for (uint32_t i = 0; i < 3; i++) {
        assert_result(ask_and_wait(sim, i, 0, false), YK_REGISTER_UNKNOWN, 0);
    }
    g_assert_false(is_complete(&sim->managers[1]));
    g_assert_false(is_complete(&sim->managers[2]));
    quiet_free(sim);
}

/* A ballot is used once: not again by a manager that is killed before its own promise is on its
 * device, when the others have promised already and one of them has accepted. */
static void
test_ballot_is_used_once(void)
{
    struct sim *sim = quiet_new(3);
    struct manager *manager = &sim->managers[0];
    assert_result(ask_and_wait(sim, 1, 0, true), YK_REGISTER_OK, 1);
    sim->is_healed = false;
    for (uint64_t round = 0; round < 200 && !g_test_failed(); round++) {
        ask_and_wait(sim, 0, 0, false);
        manager->is_slow = true;
        ask_one(sim, 0, 0, true);
        sim_run_until(sim, sim->now_us / 1000 + 1 + round % 14);
        sim->cut[0][2] = sim->cut[2][0] = true;
        sim_run_until(sim, sim->now_us / 1000 + round / 14);
        manager_end(manager);
        manager->is_slow = false;
        g_assert_true(manager_start(manager));
        sim->cut[0][2] = sim->cut[2][0] = false;
        sim->cut[0][1] = sim->cut[1][0] = true;
        ask_and_wait(sim, 0, 0, true);
        memset(sim->cut, 0, sizeof(sim->cut));
        for (uint32_t i = 0; i < 6; i++) {
            g_assert_cmpuint(ask_and_wait(sim, i % 3, 0, i > 2)->result, !=, YK_REGISTER_FAILED);
        }
    }
    check_history(sim);
    quiet_free(sim);
}

/* What a failed store has left comes to light only with the next start: until then the manager says
 * nothing of the register. */
static void
test_failed_store(void)
{
    struct sim *sim = quiet_new(3);
    assert_result(ask_and_wait(sim, 1, 0, true), YK_REGISTER_OK, 1);
    manager_end(&sim->managers[2]);
    sim->is_healed = false;
    sim->bad_store = 1;
    assert_result(ask_and_wait(sim, 1, 0, true), YK_REGISTER_FAILED, 0);
    sim->bad_store = 0;
    assert_result(ask_and_wait(sim, 1, 0, false), YK_REGISTER_UNKNOWN, 0);
    assert_result(ask_and_wait(sim, 0, 0, true), YK_REGISTER_FAILED, 0);
    sim->clients[CLIENTS_MAX].revisions[1] = 0;
    assert_result(ask_and_wait(sim, 1, 1, true), YK_REGISTER_OK, 1); /* another one */
    for (uint32_t i = 0; i < 2; i++) {
        manager_end(&sim->managers[i]);
        g_assert_true(manager_start(&sim->managers[i]));
    }
    assert_result(ask_and_wait(sim, 0, 0, false), YK_REGISTER_OK, 1);
    quiet_free(sim);
}

/* Another number of managers, another index, other entries than its own. */
static void
test_refusals(void)
{
    static const uint8_t ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const struct {
        const char *name;
        enum yk_err result;
        uint32_t self, n_managers;
        const char *why;
    } rows[] = {{"identity", YK_OK, 0, 3, ""},
                {"identity", YK_EINVALID, 1, 3, "of another manager"},
                {"identity", YK_EINVALID, 0, 5, "another number of them"},
                {"identity", YK_ECORRUPT, 3, 3, "damaged"},
                {"p.cluster", YK_ECORRUPT, 0, 3, "damaged"},
                {"v.cluster", YK_ECORRUPT, 0, 3, "damaged"},
                {"cluster", YK_EUNSUPPORTED, 0, 3, "of another coordinator"}};
    for (uint32_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct quorum_identity identity = {rows[i].self, rows[i].n_managers, {{{0}}}};
        uint8_t bytes[128];
        struct quorum_writer writer = {.data = bytes, .room = sizeof(bytes)};
        char error[YK_ERROR_SIZE] = "";
        struct sim *sim = g_new(struct sim, 1);
        sim_init(sim, 1, 3);
        sim->is_healed = true;
        struct manager *manager = &sim->managers[0];
        for (uint32_t k = 0; k < rows[i].n_managers; k++) {
            memcpy(&identity.ids[k], ones, sizeof(ones));
        }
        quorum_identity_encode(&identity, &writer);
        manager_open(manager);
        ops->loaded(manager->self, rows[i].name, yk_slice_of(bytes, writer.size));
        g_assert_cmpint(ops->ready(manager->self), ==, rows[i].result);
        yk_plugin_host_error(&manager->host, error);
        g_assert_nonnull(strstr(error, rows[i].why));
        quiet_free(sim);
    }
    for (uint32_t n = 1; n <= 7; n++) {
        struct sim *sim = quiet_new(3);
        struct manager *manager = &sim->managers[0];
        manager_end(manager);
        sim->n_managers = n;
        g_assert_true(manager_prepare(manager));
        g_assert_cmpint(ops->open(manager->self, &manager->port), ==,
                        n == 3 || n == 5 ? YK_OK : YK_EINVALID);
        manager->is_up = n == 3 || n == 5;
        if (!manager->is_up) {
            ops->life.destroy(manager->self);
        }
        sim->n_managers = 3;
        quiet_free(sim);
    }
}

/* What no register can be is surely not done. */
static void
test_bounds(void)
{
    struct sim *sim = quiet_new(3);
    struct manager *manager = &sim->managers[0];
    g_autofree char *text = g_strnfill(QUORUM_VALUE_SIZE_MAX + 1, '7');
    g_autofree char *name = g_strnfill(QUORUM_NAME_SIZE_MAX + 1, 'n');
    for (uint32_t i = 0; i < 4; i++) {
        struct asked asked = {.client = CLIENTS_MAX, .is_write = true};
        g_array_append_val(sim->asked, asked);
        ops->write(manager->self,
                   i == 1   ? name
                   : i == 2 ? "No Name"
                            : "cluster",
                   yk_slice_of(text, i == 0 ? QUORUM_VALUE_SIZE_MAX + 1 : 1),
                   i == 3 ? UINT64_MAX : 0, sim->asked->len);
        g_assert_true(asked_at(sim, i)->is_answered);
        assert_result(asked_at(sim, i), YK_REGISTER_FAILED, 0);
    }
    struct asked asked = {.client = CLIENTS_MAX, .is_write = true};
    g_array_append_val(sim->asked, asked);
    ops->write(manager->self, "cluster", yk_slice_of(text, QUORUM_VALUE_SIZE_MAX), 0,
               sim->asked->len);
    sim_run_until(sim, 3000);
    assert_result(asked_at(sim, 4), YK_REGISTER_OK, 1);
    /* A peer that makes up names does not fill the memory. */
    for (uint32_t i = 0; i < 2000; i++) {
        g_autofree char *other = g_strdup_printf("r%u", i);
        g_array_append_val(sim->asked, asked);
        ops->read(manager->self, other, sim->asked->len);
    }
    sim_run_until(sim, 5000);
    assert_result(asked_at(sim, 5), YK_REGISTER_OK, 0);
    assert_result(asked_at(sim, 2004), YK_REGISTER_FAILED, 0);
    quiet_free(sim);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/quorum/life", test_life);
    g_test_add_func("/quorum/reads-store-nothing", test_reads_store_nothing);
    g_test_add_func("/quorum/minority", test_minority);
    g_test_add_func("/quorum/meeting", test_meeting);
    g_test_add_func("/quorum/lost-folders", test_lost_folders);
    g_test_add_func("/quorum/ballot-is-used-once", test_ballot_is_used_once);
    g_test_add_func("/quorum/failed-store", test_failed_store);
    g_test_add_func("/quorum/refusals", test_refusals);
    g_test_add_func("/quorum/bounds", test_bounds);
    g_test_add_func("/quorum/seeds", test_seeds);
    return g_test_run();
}
