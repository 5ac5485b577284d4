/* One run: an event queue in virtual microseconds; every choice comes from the seed. */
#include <config.h>

#include "tests/sim/slot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/random.h"
#include "core/manager/rules.h"

#define MS(n) ((int64_t)(n)*1000)

enum {
    LOG_MAX = 8192,
    PENDING_MAX = 24,
    END_MS = 15000,
    HEAL_MS = 8000,
    LATE_MS = 2500,
    EVENTS_MAX = 2000000
};

enum message_kind { APPEND, ACK, ASK, ANSWER, COPY, COPIED, REQUEST, REPLY };

enum event_kind { MESSAGE, TICK, SYNC, TROUBLE, RESTART, CLIENT, UNCUT };

enum outcome { DONE, NOT_DONE, REFUSED, UNKNOWN };

struct state { /* what the engine holds of a key */
    uint64_t version;
    uint32_t value;
};

struct message {
    enum message_kind kind;
    uint32_t from, to; /* a client: SLOT_PLACES + its number */
    struct yk_append append;
    struct yk_entry entries[8];
    uint32_t values[8], keys[8];
    struct yk_ack ack;
    struct yk_slot_record record;
    bool has_record;
    /* ASK, ANSWER */
    uint64_t nonce;
    uint32_t incarnation;
    struct yk_wish wish;
    bool is_register, is_refused;
    /* COPY */
    uint64_t start;
    struct state states[SLOT_KEYS];
    /* REQUEST, REPLY */
    uint64_t op;
    uint32_t key, value, expected;
    enum { READ, WRITE, CAS } what;
    enum outcome outcome;
    uint64_t version;
};

struct event {
    int64_t at_us;
    uint64_t number;
    enum event_kind kind;
    uint32_t node;
    uint64_t about;
    struct message *message; /* own */
};

enum item_kind { ITEM_ENTRY, ITEM_CUT, ITEM_WIPE, ITEM_COPIED };

/* What stands in a node's journal. */
struct item {
    enum item_kind kind;
    uint64_t version, commit;
    uint32_t key, value, n_cuts;
    struct state states[SLOT_KEYS];
};

struct pending {
    bool is_used, is_refusal;
    uint32_t client, value;
    uint64_t op, version;
};

/* A request that waits until the members have said that they still follow. */
struct held {
    struct message request;
    int64_t question;
    uint32_t reign;
};

struct node {
    struct yk_replica_setup setup;
    struct yk_replica replica;
    bool is_up, is_registered;
    uint64_t boot;
    int64_t paused_until_us, offset_us;
    int32_t rate; /* of its clock, per thousand */
    struct item *journal;
    uint32_t n_items, n_synced, room;
    bool is_syncing;
    struct state states[SLOT_KEYS];
    struct pending pending[PENDING_MAX];
    struct held held[PENDING_MAX];
    uint32_t n_held;
    int64_t asked_us;
    uint64_t copy; /* learner: of the copy that is being made durable */
    uint32_t copy_from;
    uint32_t copy_item;
    struct {
        bool is_wanted;
        uint32_t incarnation;
        uint64_t copy;
        int64_t sent_us;
    } copies[SLOT_NODES];
};

struct client {
    uint64_t op;
    bool is_busy;
    int64_t begun_us, until_us;
    uint32_t what, key, value, expected, target, tries, last_seen[SLOT_KEYS];
};

struct done {
    int64_t begun_us, ended_us;
    uint32_t key, value, expected;
    uint32_t what; /* 3: a CAS that was refused */
    uint64_t version;
};

static struct {
    struct yk_random random;
    int64_t now_us;
    struct event *heap;
    uint32_t n_events, events_room;
    uint64_t n_made;
    struct node nodes[SLOT_NODES];
    struct yk_bucket_register bucket;
    bool cut[SLOT_PLACES][SLOT_PLACES];
    uint32_t loss, doubling, lateness;
    bool is_memory, is_healed;
    struct client clients[SLOT_CLIENTS];
    uint32_t next_value;
    struct {
        uint64_t version;
        uint32_t key, value;
    } log[LOG_MAX];
    uint32_t n_log;
    uint64_t log_base; /* REINIT: what came before is forgotten */
    struct done *done;
    uint32_t n_done, done_room;
    const struct slot_options *options;
    struct slot_result *result;
} sim;

static void
violation(const char *format, ...)
{
    va_list arguments;
    if (sim.result->violation[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(sim.result->violation, sizeof(sim.result->violation), format, arguments);
        va_end(arguments);
    }
}

static uint32_t
below(uint32_t n)
{
    return (uint32_t)(yk_random_next(&sim.random) >> 16) % n;
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

static int64_t
clock_us(const struct node *node)
{
    return sim.now_us * node->rate / 1000 + node->offset_us;
}

/* Events */

static bool
is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static void
push_event(struct event event)
{
    if (sim.n_events == sim.events_room) {
        sim.events_room = sim.events_room == 0 ? 256 : sim.events_room * 2;
        sim.heap = g_renew(struct event, sim.heap, sim.events_room);
    }
    event.number = sim.n_made++;
    uint32_t i = sim.n_events++;
    while (i > 0 && is_before(&event, &sim.heap[(i - 1) / 2])) {
        sim.heap[i] = sim.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim.heap[i] = event;
}

static struct event
pop_event(void)
{
    struct event first = sim.heap[0];
    struct event last = sim.heap[--sim.n_events];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= sim.n_events) {
            break;
        }
        if (child + 1 < sim.n_events && is_before(&sim.heap[child + 1], &sim.heap[child])) {
            child++;
        }
        if (!is_before(&sim.heap[child], &last)) {
            break;
        }
        sim.heap[i] = sim.heap[child];
        i = child;
    }
    if (sim.n_events > 0) {
        sim.heap[i] = last;
    }
    return first;
}

static void
later(int64_t delay_us, enum event_kind kind, uint32_t node, uint64_t about)
{
    push_event(
        (struct event){.at_us = sim.now_us + delay_us, .kind = kind, .node = node, .about = about});
}

static void
fix_pointers(struct message *message)
{
    for (uint32_t i = 0; i < message->append.n_entries; i++) {
        message->entries[i].key = yk_slice_of(&message->keys[i], 4);
        message->entries[i].value = yk_slice_of(&message->values[i], 4);
    }
    message->append.entries = message->entries;
    message->append.record = message->has_record ? &message->record : NULL;
    message->ack.record = message->has_record ? &message->record : NULL;
}

static void
send_message(const struct message *message)
{
    bool is_client = message->from >= SLOT_PLACES || message->to >= SLOT_PLACES;
    bool is_rough = !sim.is_healed && !is_client;
    if (!is_client && sim.cut[message->from][message->to]) {
        return;
    }
    if (is_rough && chance(sim.loss)) {
        return;
    }
    for (uint32_t n = 1 + (is_rough && chance(sim.doubling)); n > 0; n--) {
        int64_t delay_us = between_ms(1, 6);
        if (is_rough && (message->from == SLOT_MANAGER || message->to == SLOT_MANAGER) &&
            chance(25)) {
            delay_us += between_ms(1, 400);
        }
        if (is_rough && chance(sim.lateness)) {
            delay_us += between_ms(20, 1500);
        }
        if (is_client && !sim.is_healed && chance(10)) {
            delay_us += between_ms(1, 300);
        }
        struct message *copy = g_new(struct message, 1);
        *copy = *message;
        fix_pointers(copy);
        push_event((struct event){
            .at_us = sim.now_us + delay_us, .kind = MESSAGE, .node = message->to, .message = copy});
    }
}

/* Clients' answers */

static void
reply(uint32_t node, uint32_t client, uint64_t op, enum outcome outcome, uint32_t value,
      uint64_t version)
{
    send_message(&(struct message){.kind = REPLY,
                                   .from = node,
                                   .to = SLOT_PLACES + client,
                                   .op = op,
                                   .outcome = outcome,
                                   .value = value,
                                   .version = version});
}

/* The committed log, as the one who looks at everything knows it */

static void
note_commit(uint32_t index, const struct yk_tail_entry *entry, uint64_t before, uint32_t key,
            uint32_t value)
{
    uint64_t last = sim.n_log > 0 ? sim.log[sim.n_log - 1].version : 0;
    if (entry->version > last) {
        if (before != last && !(before == 0 && last < sim.log_base)) {
            violation("node %u commits %llx after %llx, but %llx was committed", index,
                      (unsigned long long)entry->version, (unsigned long long)before,
                      (unsigned long long)last);
        }
        YK_ASSERT(sim.n_log < LOG_MAX);
        sim.log[sim.n_log].version = entry->version;
        sim.log[sim.n_log].key = key;
        sim.log[sim.n_log++].value = value;
        sim.result->commits++;
        return;
    }
    for (uint32_t i = sim.n_log; i-- > 0;) {
        if (sim.log[i].version == entry->version) {
            if (sim.log[i].key != key || sim.log[i].value != value) {
                violation("node %u commits another entry %llx", index,
                          (unsigned long long)entry->version);
            }
            return;
        }
    }
    violation("node %u commits %llx, which is not in the log", index,
              (unsigned long long)entry->version);
}

/* Journals */

static void
start_sync(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    if (node->is_syncing || node->n_synced == node->n_items) {
        return;
    }
    node->is_syncing = true;
    push_event(
        (struct event){.at_us = sim.now_us + between_ms(1, !sim.is_healed && chance(5) ? 200 : 8),
                       .kind = SYNC,
                       .node = index,
                       .about = (uint64_t)node->boot << 32 | node->n_items});
}

static void
write_item(uint32_t index, struct item item)
{
    struct node *node = &sim.nodes[index];
    if (node->n_items == node->room) {
        node->room = node->room == 0 ? 64 : node->room * 2;
        node->journal = g_renew(struct item, node->journal, node->room);
    }
    item.commit = node->replica.commit;
    item.n_cuts = node->replica.n_cuts;
    node->journal[node->n_items++] = item;
    start_sync(index);
}

static void
read_entry(const struct yk_tail_entry *entry, uint32_t *ret_key, uint32_t *ret_value)
{
    memcpy(ret_key, entry->key->data, 4);
    memcpy(ret_value, entry->value->data, 4);
}

static bool
sink_append(void *arg, struct yk_replica *replica, const struct yk_tail_entry *entry)
{
    struct item item = {.kind = ITEM_ENTRY, .version = entry->version};
    (void)replica;
    if (!sim.is_healed && chance(1)) {
        return false; /* no room in the journal */
    }
    read_entry(entry, &item.key, &item.value);
    write_item((uint32_t)((struct node *)arg - sim.nodes), item);
    return true;
}

static bool
sink_cut(void *arg, struct yk_replica *replica, uint64_t version)
{
    struct node *node = arg;
    for (uint32_t i = 0; i < replica->tail.n; i++) {
        uint64_t cut = yk_tail_at(&replica->tail, i)->version;
        for (uint32_t k = 0; cut > version && k < sim.n_log; k++) {
            if (sim.log[k].version == cut) {
                violation("node %u cuts %llx, which is committed", (uint32_t)(node - sim.nodes),
                          (unsigned long long)cut);
            }
        }
    }
    write_item((uint32_t)(node - sim.nodes), (struct item){.kind = ITEM_CUT, .version = version});
    return true;
}

static void
sink_committed(void *arg, struct yk_replica *replica, struct yk_tail_entry *entry)
{
    struct node *node = arg;
    uint32_t index = (uint32_t)(node - sim.nodes);
    uint32_t above = yk_tail_above(&replica->tail, entry->version - 1);
    uint64_t before =
        above > 0 ? yk_tail_at(&replica->tail, above - 1)->version : replica->tail.base;
    uint32_t key;
    uint32_t value;
    read_entry(entry, &key, &value);
    note_commit(index, entry, before, key, value);
    node->states[key] = (struct state){entry->version, value};
    struct pending *pending = entry->waiter;
    if (pending != NULL) {
        reply(index, pending->client, pending->op, DONE, value, entry->version);
        pending->is_used = false;
    }
}

static void
sink_changed(void *arg, struct yk_replica *replica, bool steps_down)
{
    struct node *node = arg;
    if (!steps_down) {
        return;
    }
    for (uint32_t i = 0; i < replica->tail.n; i++) {
        yk_tail_at(&replica->tail, i)->waiter = NULL;
    }
    for (uint32_t i = 0; i < PENDING_MAX; i++) {
        struct pending *pending = &node->pending[i];
        if (pending->is_used) {
            reply((uint32_t)(node - sim.nodes), pending->client, pending->op, UNKNOWN, 0, 0);
            pending->is_used = false;
        }
    }
}

static void
sink_wiped(void *arg, struct yk_replica *replica)
{
    struct node *node = arg;
    (void)replica;
    memset(node->states, 0, sizeof(node->states));
    write_item((uint32_t)(node - sim.nodes), (struct item){.kind = ITEM_COPIED});
}

static void
sink_copy(void *arg, struct yk_replica *replica, uint32_t to, uint32_t incarnation)
{
    struct node *node = arg;
    (void)replica;
    node->copies[to].is_wanted = true;
    node->copies[to].incarnation = incarnation;
    node->copies[to].copy = 0;
    node->copies[to].sent_us = INT64_MIN / 2;
    sim.result->copies++;
}

/* What a node sends */

static void
fill_append(struct node *node, const struct yk_append *append, struct message *message)
{
    message->append = *append;
    if (append->record != NULL) {
        message->record = *append->record;
        message->has_record = true;
    }
    for (uint32_t i = 0; i < append->n_entries; i++) {
        const struct yk_tail_entry *entry = yk_tail_at(&node->replica.tail, append->first + i);
        message->entries[i] = (struct yk_entry){.kind = entry->kind, .version = entry->version};
        read_entry(entry, &message->keys[i], &message->values[i]);
    }
}

static void
send_copies(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    for (uint32_t i = 0; i < SLOT_NODES; i++) {
        if (!node->copies[i].is_wanted) {
            continue;
        }
        const struct yk_follower *follower = NULL;
        for (uint32_t k = 0; k < node->replica.n_followers; k++) {
            follower =
                node->replica.followers[k].node == i ? &node->replica.followers[k] : follower;
        }
        if (node->replica.role != YK_REPLICA_PRIMARY || follower == NULL ||
            follower->stage != YK_FOLLOWER_COPIED) {
            node->copies[i].is_wanted = false;
            continue;
        }
        if (clock_us(node) < node->copies[i].sent_us + MS(300)) {
            continue;
        }
        node->copies[i].sent_us = clock_us(node);
        node->copies[i].copy = sim.n_made;
        yk_replica_copy_begins(&node->replica, i, sim.n_made, node->replica.commit);
        struct message message = {.kind = COPY,
                                  .from = index,
                                  .to = i,
                                  .incarnation = node->copies[i].incarnation,
                                  .start = node->replica.commit,
                                  .op = node->copies[i].copy,
                                  .wish.epoch = node->replica.record.epoch};
        memcpy(message.states, node->states, sizeof(message.states));
        send_message(&message);
    }
}

static void
send_out(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    uint32_t to;
    struct yk_append append;
    struct yk_ack ack;
    struct yk_wish wish;
    while (yk_replica_take_append(&node->replica, clock_us(node), 6, 1000, &to, &append)) {
        struct message message = {.kind = APPEND, .from = index, .to = to};
        fill_append(node, &append, &message);
        send_message(&message);
    }
    while (yk_replica_take_ack(&node->replica, &to, &ack)) {
        struct message message = {.kind = ACK, .from = index, .to = to, .ack = ack};
        if (ack.record != NULL) {
            message.record = *ack.record;
            message.has_record = true;
        }
        send_message(&message);
    }
    if (node->is_registered && yk_replica_take_wish(&node->replica, clock_us(node), &wish)) {
        node->asked_us = clock_us(node);
        send_message(&(struct message){.kind = ASK,
                                       .from = index,
                                       .to = SLOT_MANAGER,
                                       .nonce = node->boot,
                                       .incarnation = node->setup.incarnation,
                                       .wish = wish});
    }
    send_copies(index);
}

static void
ask(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    int64_t pause_us = node->is_registered ? MS(300) : MS(60);
    if (clock_us(node) - node->asked_us < pause_us) {
        return;
    }
    node->asked_us = clock_us(node);
    send_message(&(struct message){.kind = ASK,
                                   .from = index,
                                   .to = SLOT_MANAGER,
                                   .nonce = node->boot,
                                   .incarnation = node->setup.incarnation,
                                   .is_register = !node->is_registered});
}

/* The manager: one place where the register is read and written */

static void
node_name(uint32_t index, char *to)
{
    snprintf(to, YK_UUID_SIZE, "00000000-0000-4000-8000-00000000000%u", index);
}

static bool
register_start(uint32_t from, uint64_t nonce, uint32_t incarnation)
{
    char name[YK_UUID_SIZE];
    node_name(from, name);
    uint32_t index = yk_bucket_register_find(&sim.bucket, name);
    uint64_t known = index < sim.bucket.n_nodes ? sim.bucket.nodes[index].nonce : 0;
    struct yk_proposal proposal = {.kind = YK_PROPOSE_REGISTER,
                                   .node = name,
                                   .nonce = nonce,
                                   .replaces = known,
                                   .incarnations = &incarnation,
                                   .n_lanes = 1};
    return known <= nonce && yk_manager_judge(&sim.bucket, &proposal) == YK_REFUSAL_NONE;
}

static enum yk_refusal
judge_wish(uint32_t from, const struct message *message)
{
    static const enum yk_proposal_kind kinds[] = {[YK_WISH_BUMP] = YK_PROPOSE_BUMP,
                                                  [YK_WISH_PROMOTE] = YK_PROPOSE_PROMOTE,
                                                  [YK_WISH_REMOVE] = YK_PROPOSE_REMOVE,
                                                  [YK_WISH_ADD] = YK_PROPOSE_ADD,
                                                  [YK_WISH_REINIT] = YK_PROPOSE_REINIT};
    const struct yk_wish *wish = &message->wish;
    char name[YK_UUID_SIZE];
    node_name(from, name);
    struct yk_slot_proposal slot = {.epoch = wish->epoch};
    if (wish->kind == YK_WISH_REMOVE || wish->kind == YK_WISH_ADD) {
        slot.n_nodes = 1;
        slot.nodes[0] = (uint8_t)wish->node;
        slot.incarnation = wish->incarnation;
    }
    struct yk_proposal proposal = {.kind = kinds[wish->kind],
                                   .node = name,
                                   .nonce = message->nonce,
                                   .slots = &slot,
                                   .n_slots = 1};
    enum yk_refusal refusal = yk_manager_judge(&sim.bucket, &proposal);
    refusal = refusal != YK_REFUSAL_NONE ? refusal : slot.refusal;
    if (refusal == YK_REFUSAL_NONE && wish->kind == YK_WISH_REINIT) {
        sim.log_base = (uint64_t)sim.bucket.slots[0].epoch << 40;
        sim.result->reinits++;
    }
    return refusal;
}

static void
answer_manager(uint32_t to, bool is_refused, const struct message *question)
{
    struct message message = {.kind = ANSWER,
                              .from = SLOT_MANAGER,
                              .to = to,
                              .is_refused = is_refused,
                              .record = sim.bucket.slots[0]};
    if (question != NULL) {
        message.nonce = question->nonce;
        message.wish = question->wish;
        message.is_register = question->is_register;
    }
    send_message(&message);
}

static void
on_ask(const struct message *message)
{
    uint32_t epoch = sim.bucket.slots[0].epoch;
    bool is_refused = false;
    if (message->is_register) {
        is_refused = !register_start(message->from, message->nonce, message->incarnation);
    } else if (message->wish.kind != YK_WISH_NONE) {
        is_refused = judge_wish(message->from, message) != YK_REFUSAL_NONE;
    }
    if (sim.options->traces) {
        const struct yk_slot_record *slot = &sim.bucket.slots[0];
        printf("%8.1f manager: node %u wish %d of epoch %u %s; epoch %u primary %u members",
               (double)sim.now_us / 1000, message->from, message->wish.kind, message->wish.epoch,
               is_refused ? "refused" : "ok", slot->epoch, slot->primary);
        for (uint32_t i = 0; i < slot->n_members; i++) {
            printf(" %u", slot->members[i].node);
        }
        printf(" targets %u eligible %u\n", slot->n_targets, slot->n_eligible);
    }
    answer_manager(message->from, is_refused, message);
    if (sim.bucket.slots[0].epoch != epoch) {
        sim.result->epochs++;
        for (uint32_t i = 0; i < SLOT_NODES; i++) {
            answer_manager(i, false, NULL); /* a hint to all */
        }
    }
}

/* What comes to a node */

static void
on_answer(uint32_t index, const struct message *message)
{
    struct node *node = &sim.nodes[index];
    if (message->nonce != node->boot) { /* a hint, or for an earlier start */
        yk_replica_configure(&node->replica, &message->record, false, clock_us(node));
        return;
    }
    if (message->is_register) {
        node->is_registered = node->is_registered || !message->is_refused;
    }
    if (node->is_registered) {
        yk_replica_configure(&node->replica, &message->record, true, clock_us(node));
    }
    if (message->is_refused) {
        yk_replica_refused(&node->replica, message->wish.kind, message->wish.epoch, clock_us(node));
    }
}

static void
on_copy(uint32_t index, const struct message *message)
{
    struct node *node = &sim.nodes[index];
    struct yk_replica *replica = &node->replica;
    if (!replica->is_known || replica->role != YK_REPLICA_IDLE ||
        replica->record.epoch != message->wish.epoch || replica->record.primary != message->from ||
        message->incarnation != node->setup.incarnation || replica->copy >= message->op) {
        return;
    }
    yk_replica_wiped(replica, message->op, message->start);
    memcpy(node->states, message->states, sizeof(node->states));
    write_item(index, (struct item){.kind = ITEM_WIPE, .version = message->start});
    struct item item = {.kind = ITEM_COPIED, .version = message->start};
    memcpy(item.states, message->states, sizeof(item.states));
    write_item(index, item);
    node->copy = message->op;
    node->copy_from = message->from;
    node->copy_item = node->n_items;
}

static void
on_copied(uint32_t index, const struct message *message)
{
    struct node *node = &sim.nodes[index];
    if (node->copies[message->from].is_wanted && node->copies[message->from].copy == message->op) {
        node->copies[message->from].is_wanted = false;
        yk_replica_copied(&node->replica, message->from, message->op);
    }
}

static struct pending *
free_pending(struct node *node)
{
    for (uint32_t i = 0; i < PENDING_MAX; i++) {
        if (!node->pending[i].is_used) {
            return &node->pending[i];
        }
    }
    return NULL;
}

/* What the next write of the key is judged on. */
static struct state
newest(const struct node *node, uint32_t key)
{
    const struct yk_tail *tail = &node->replica.tail;
    for (uint32_t i = tail->n; i-- > 0;) {
        const struct yk_tail_entry *entry = yk_tail_at(tail, i);
        uint32_t entry_key;
        uint32_t value;
        read_entry(entry, &entry_key, &value);
        if (entry->version <= node->replica.commit) {
            break;
        }
        if (entry_key == key) {
            return (struct state){entry->version, value};
        }
    }
    return node->states[key];
}

static void
on_write(uint32_t index, const struct message *request)
{
    struct node *node = &sim.nodes[index];
    struct yk_replica *replica = &node->replica;
    uint32_t client = request->from - SLOT_PLACES;
    struct state seen = newest(node, request->key);
    struct pending *pending = free_pending(node);
    if (!yk_replica_takes_writes(replica) || pending == NULL || sim.n_log > LOG_MAX - 64) {
        reply(index, client, request->op, NOT_DONE, replica->record.primary, 0);
        return;
    }
    if (request->what == CAS && seen.value != request->expected) {
        *pending = (struct pending){.is_used = true,
                                    .is_refusal = true,
                                    .client = client,
                                    .op = request->op,
                                    .value = seen.value,
                                    .version = seen.version};
        return;
    }
    uint64_t last = yk_tail_last(&replica->tail);
    struct yk_tail_entry entry = {.version = (uint64_t)replica->record.epoch << 40 |
                                             ((last & ((1ull << 40) - 1)) + 1),
                                  .kind = YK_ENTRY_PUT,
                                  .key = yk_buffer_new_copy(yk_slice_of(&request->key, 4)),
                                  .value = yk_buffer_new_copy(yk_slice_of(&request->value, 4)),
                                  .waiter = pending};
    *pending = (struct pending){
        .is_used = true, .client = client, .op = request->op, .version = entry.version};
    enum yk_err result = yk_replica_propose(replica, &entry);
    YK_ASSERT(result == YK_OK);
    write_item(index, (struct item){.kind = ITEM_ENTRY,
                                    .version = entry.version,
                                    .key = request->key,
                                    .value = request->value});
    if (replica->setup->mutant == 7) { /* MUTANT_JOURNAL */
        yk_replica_tick(replica, clock_us(node));
    }
}

static bool
is_confirmed_mode(void)
{
    return sim.options->schedule == SLOT_CONFIRMED;
}

static bool
may_answer(const struct node *node)
{
    return is_confirmed_mode() ? yk_replica_serves(&node->replica)
                               : yk_replica_may_read(&node->replica, clock_us(node));
}

static void
execute(uint32_t index, const struct message *request)
{
    struct node *node = &sim.nodes[index];
    uint32_t client = request->from - SLOT_PLACES;
    if (request->what != READ) {
        on_write(index, request);
    } else {
        struct state state = node->states[request->key];
        bool is_legal = may_answer(node);
        reply(index, client, request->op, is_legal ? DONE : NOT_DONE, is_legal ? state.value : 99,
              state.version);
    }
}

static void
refuse_request(uint32_t index, const struct message *request)
{
    const struct yk_replica *replica = &sim.nodes[index].replica;
    reply(index, request->from - SLOT_PLACES, request->op, NOT_DONE,
          replica->is_known ? replica->record.primary : 99, 0);
}

static void
on_request(uint32_t index, const struct message *request)
{
    struct node *node = &sim.nodes[index];
    struct yk_replica *replica = &node->replica;
    if (!yk_replica_serves(replica) || (is_confirmed_mode() && node->n_held == PENDING_MAX)) {
        refuse_request(index, request);
    } else if (is_confirmed_mode()) {
        node->held[node->n_held++] =
            (struct held){*request, yk_replica_ask(replica), replica->n_reigns};
    } else {
        execute(index, request);
    }
}

static void
let_in(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    const struct yk_replica *replica = &node->replica;
    while (node->n_held > 0) {
        struct held first = node->held[0];
        bool goes_on = yk_replica_serves(replica) && replica->n_reigns == first.reign;
        if (goes_on && !yk_replica_is_confirmed(replica, first.question)) {
            return;
        }
        memmove(node->held, node->held + 1, --node->n_held * sizeof(first));
        if (goes_on) {
            execute(index, &first.request);
        } else {
            refuse_request(index, &first.request);
        }
    }
}

/* Refusals wait for what they were judged on, and then for the lease. */
static void
answer_refusals(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    for (uint32_t i = 0; i < PENDING_MAX; i++) {
        struct pending *pending = &node->pending[i];
        if (pending->is_used && pending->is_refusal && pending->version <= node->replica.commit &&
            may_answer(node)) {
            reply(index, pending->client, pending->op, REFUSED, pending->value, pending->version);
            pending->is_used = false;
        }
    }
}

static void
on_message(uint32_t index, const struct message *message)
{
    struct node *node = &sim.nodes[index];
    switch (message->kind) {
    case APPEND:
        yk_replica_on_append(&node->replica, message->from, &message->append, clock_us(node));
        break;
    case ACK:
        yk_replica_on_ack(&node->replica, message->from, &message->ack, clock_us(node));
        break;
    case ANSWER:
        on_answer(index, message);
        break;
    case COPY:
        on_copy(index, message);
        break;
    case COPIED:
        on_copied(index, message);
        break;
    case REQUEST:
        on_request(index, message);
        break;
    default:
        break;
    }
    let_in(index);
    answer_refusals(index);
    send_out(index);
}

static void
synced(uint32_t index, uint32_t n_items)
{
    struct node *node = &sim.nodes[index];
    uint32_t n_before = node->n_synced;
    node->is_syncing = false;
    node->n_synced = n_items;
    for (uint32_t i = n_before; i < n_items; i++) {
        const struct item *item = &node->journal[i];
        if (item->kind == ITEM_ENTRY) {
            yk_replica_journaled(&node->replica, item->version, item->n_cuts);
        }
    }
    if (node->copy != 0 && node->copy_item <= n_items) {
        if (node->replica.copy == node->copy) {
            yk_replica_copy_ends(&node->replica);
        }
        send_message(&(struct message){
            .kind = COPIED, .from = index, .to = node->copy_from, .op = node->copy});
        node->copy = 0;
    }
    start_sync(index);
    let_in(index);
    answer_refusals(index);
    send_out(index);
}

static void
tick(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    ask(index);
    yk_replica_tick(&node->replica, clock_us(node));
    let_in(index);
    answer_refusals(index);
    send_out(index);
    push_event((struct event){
        .at_us = sim.now_us + MS(20), .kind = TICK, .node = index, .about = node->boot});
}

/* Crashes and starts */

static void
crash(uint32_t index, bool forgets)
{
    struct node *node = &sim.nodes[index];
    if (!node->is_up) {
        return;
    }
    sim.result->crashes++;
    node->is_up = false;
    node->n_held = 0;
    node->n_items = node->n_synced;
    forgets = forgets || sim.is_memory;
    if (forgets) {
        node->n_items = node->n_synced = 0;
        node->setup.incarnation++;
    }
    yk_replica_done(&node->replica);
    later(between_ms(10, 2500), RESTART, index, 0);
}

static void
replay_item(struct node *node, const struct item *item, bool *is_void)
{
    struct yk_replica *replica = &node->replica;
    struct yk_tail_entry entry = {.version = item->version, .kind = YK_ENTRY_PUT};
    switch (item->kind) {
    case ITEM_ENTRY:
        entry.key = yk_buffer_new_copy(yk_slice_of(&item->key, 4));
        entry.value = yk_buffer_new_copy(yk_slice_of(&item->value, 4));
        YK_ASSERT(yk_tail_push(&replica->tail, &entry) == YK_OK);
        break;
    case ITEM_CUT:
        yk_tail_cut(&replica->tail, item->version);
        break;
    case ITEM_WIPE:
        yk_tail_done(&replica->tail);
        yk_tail_init(&replica->tail, item->version);
        replica->commit = item->version;
        *is_void = true;
        break;
    case ITEM_COPIED:
        memcpy(node->states, item->states, sizeof(node->states));
        if (item->version == 0) {
            yk_tail_done(&replica->tail);
            replica->commit = 0;
        }
        *is_void = false;
        break;
    }
    while (replica->commit < item->commit) { /* what was known to be committed then */
        uint32_t above = yk_tail_above(&replica->tail, replica->commit);
        if (above == replica->tail.n || yk_tail_at(&replica->tail, above)->version > item->commit) {
            break;
        }
        const struct yk_tail_entry *committed = yk_tail_at(&replica->tail, above);
        uint32_t key;
        uint32_t value;
        read_entry(committed, &key, &value);
        node->states[key] = (struct state){committed->version, value};
        replica->commit = committed->version;
    }
}

static void
restart(uint32_t index)
{
    struct node *node = &sim.nodes[index];
    bool is_void = false;
    node->is_up = true;
    node->is_registered = false;
    node->boot++;
    node->setup.nonce = node->boot;
    node->paused_until_us = 0;
    node->is_syncing = false;
    node->copy = 0;
    node->asked_us = INT64_MIN / 2;
    memset(node->pending, 0, sizeof(node->pending));
    memset(node->copies, 0, sizeof(node->copies));
    memset(node->states, 0, sizeof(node->states));
    yk_replica_init(&node->replica, &node->setup, 0, 0, clock_us(node));
    for (uint32_t i = 0; i < node->n_items; i++) {
        replay_item(node, &node->journal[i], &is_void);
    }
    node->replica.journaled = yk_tail_last(&node->replica.tail);
    node->replica.is_void = is_void;
    later(MS(1), TICK, index, node->boot);
}

/* Trouble */

static void
cut_some(void)
{
    uint32_t kind = below(100);
    uint32_t a = below(SLOT_PLACES);
    uint32_t b = below(SLOT_PLACES);
    uint32_t primary = sim.bucket.slots[0].primary;
    if (kind < 40) {
        sim.cut[a][b] = true;
        sim.cut[b][a] = sim.cut[b][a] || chance(60);
    } else if (kind < 60) {
        uint32_t side = below(1u << SLOT_PLACES);
        for (a = 0; a < SLOT_PLACES; a++) {
            for (b = 0; b < SLOT_PLACES; b++) {
                sim.cut[a][b] = sim.cut[a][b] || ((side >> a) & 1) != ((side >> b) & 1);
            }
        }
    } else if (kind < 80) { /* a backup hears nothing for about G */
        b = below(SLOT_NODES);
        sim.cut[primary][b] = true;
        later(between_ms(470, 750), UNCUT, primary, b);
        if (chance(60)) {
            for (a = 0; a < SLOT_PLACES; a++) {
                sim.cut[a][primary] = true;
                later(between_ms(500, 1600), UNCUT, a, primary);
            }
        }
        if (chance(40)) {
            sim.cut[SLOT_MANAGER][primary] = true;
            later(between_ms(500, 2000), UNCUT, SLOT_MANAGER, primary);
        }
    } else {
        for (b = 0; b < SLOT_PLACES; b++) {
            sim.cut[primary][b] = sim.cut[primary][b] || chance(70);
            sim.cut[b][primary] = sim.cut[b][primary] || chance(50);
        }
    }
}

/* A backup is killed and back before G, and the primary is alone with the manager. */
static void
kill_a_backup(void)
{
    uint32_t primary = sim.bucket.slots[0].primary;
    uint32_t backup = below(SLOT_NODES);
    if (backup == primary) {
        return;
    }
    crash(backup, false);
    later(between_ms(5, 40), RESTART, backup, 0);
    for (uint32_t a = 0; a < SLOT_PLACES; a++) {
        sim.cut[a][primary] = true;
        later(between_ms(300, 900), UNCUT, a, primary);
    }
    if (chance(50)) { /* its beacons would make the backup promise again */
        sim.cut[primary][backup] = true;
        later(between_ms(300, 900), UNCUT, primary, backup);
    }
}

/* May it lose its disk: does another member hold what it holds? */
static bool
may_forget(uint32_t index)
{
    const struct yk_slot_record *slot = &sim.bucket.slots[0];
    bool has_other = false;
    for (uint32_t i = 0; i < slot->n_members; i++) {
        has_other = has_other || (slot->members[i].node != index &&
                                  slot->members[i].incarnation ==
                                      sim.nodes[slot->members[i].node].setup.incarnation);
    }
    return has_other;
}

static void
trouble(void)
{
    uint32_t kind = below(100);
    uint32_t index = below(SLOT_NODES);
    if (sim.is_healed) {
        return;
    }
    if (sim.options->schedule == SLOT_RESTARTED_BACKUP) {
        kill_a_backup();
        later(between_ms(1000, 1800), TROUBLE, 0, 0);
        return;
    }
    if (kind < 4) {
        kill_a_backup();
    } else if (kind < 22) {
        crash(index, false);
    } else if (kind < 28) {
        crash(index, may_forget(index));
    } else if (kind < 34) {
        for (uint32_t i = 0; i < SLOT_NODES; i++) {
            crash(i, false);
        }
    } else if (kind < 48) {
        sim.nodes[index].paused_until_us = sim.now_us + between_ms(50, 2000);
    } else if (kind < 78) {
        cut_some();
    } else {
        memset(sim.cut, 0, sizeof(sim.cut));
    }
    later(between_ms(20, 700), TROUBLE, 0, 0);
}

/* Clients */

static void
send_request(uint32_t index)
{
    const struct client *client = &sim.clients[index];
    send_message(&(struct message){.kind = REQUEST,
                                   .from = SLOT_PLACES + index,
                                   .to = client->target,
                                   .op = client->op,
                                   .what = client->what,
                                   .key = client->key,
                                   .value = client->value,
                                   .expected = client->expected});
}

static void
next_request(uint32_t index)
{
    struct client *client = &sim.clients[index];
    uint32_t kind = below(10);
    client->op++;
    client->is_busy = true;
    client->begun_us = sim.now_us;
    client->until_us = sim.now_us + between_ms(300, 1200);
    client->tries = 0;
    client->key = below(SLOT_KEYS);
    client->what = kind < 5 ? READ : kind < 8 ? WRITE : CAS;
    client->value = ++sim.next_value;
    client->expected = client->last_seen[client->key];
    send_request(index);
    later(client->until_us - sim.now_us, CLIENT, index, client->op);
}

static void
note_done(const struct client *client, const struct message *message, uint32_t what)
{
    if (sim.n_done == sim.done_room) {
        sim.done_room = sim.done_room == 0 ? 1024 : sim.done_room * 2;
        sim.done = g_renew(struct done, sim.done, sim.done_room);
    }
    sim.done[sim.n_done++] = (struct done){.begun_us = client->begun_us,
                                           .ended_us = sim.now_us,
                                           .key = client->key,
                                           .value = message->value,
                                           .expected = client->expected,
                                           .what = what,
                                           .version = message->version};
}

static void
on_reply(uint32_t index, const struct message *message)
{
    struct client *client = &sim.clients[index];
    if (!client->is_busy || message->op != client->op) {
        return;
    }
    if (message->outcome == NOT_DONE) { /* surely: it is tried again, under another number */
        client->op++;
        client->tries++;
        client->target =
            message->value < SLOT_NODES && chance(70) ? message->value : below(SLOT_NODES);
        later(between_ms(5, 40), CLIENT, index, client->op);
        return;
    }
    if (message->outcome != UNKNOWN) {
        client->last_seen[client->key] = message->value;
        note_done(client, message, message->outcome == REFUSED ? 3 : client->what);
        sim.result->answers++;
        sim.result->reads += client->what == READ;
    }
    client->is_busy = false;
    client->op++;
    later(between_ms(1, 30), CLIENT, index, client->op);
}

static void
on_client(uint32_t index, uint64_t op)
{
    struct client *client = &sim.clients[index];
    if (op != client->op) {
        return;
    }
    if (!client->is_busy) {
        next_request(index);
    } else if (sim.now_us >= client->until_us || client->tries > 40) {
        client->is_busy = false;
        client->target = below(SLOT_NODES);
        client->op++;
        later(between_ms(1, 20), CLIENT, index, client->op);
    } else {
        send_request(index);
        later(client->until_us - sim.now_us, CLIENT, index, client->op);
    }
}

/* What was answered, against the committed log */

static int
compare_ended(const void *a, const void *b)
{
    const struct done *x = a;
    const struct done *y = b;
    return x->ended_us < y->ended_us ? -1 : x->ended_us > y->ended_us;
}

static int
compare_begun(const void *a, const void *b)
{
    const struct done *x = *(const struct done *const *)a;
    const struct done *y = *(const struct done *const *)b;
    return x->begun_us < y->begun_us ? -1 : x->begun_us > y->begun_us;
}

static void
check_content(const struct done *done)
{
    uint32_t before = 0;
    bool is_found = done->version == 0;
    for (uint32_t i = 0; i < sim.n_log; i++) {
        if (sim.log[i].version == done->version) {
            is_found = sim.log[i].key == done->key && sim.log[i].value == done->value;
            break;
        }
        if (sim.log[i].key == done->key) {
            before = sim.log[i].value;
        }
    }
    if (!is_found) {
        violation("an answer tells of %llx value %u, which is not in the log",
                  (unsigned long long)done->version, done->value);
    }
    if (done->what == CAS && before != done->expected && sim.log_base == 0) {
        violation("a cas of %u succeeded after %u", done->expected, before);
    }
    if (done->what == 3 && done->value == done->expected) {
        violation("a cas was refused though it found what it expected");
    }
}

static void
check_history(void)
{
    uint64_t seen[SLOT_KEYS] = {0};
    uint32_t ended = 0;
    struct done **begun = g_new(struct done *, sim.n_done + 1);
    qsort(sim.done, sim.n_done, sizeof(*sim.done), compare_ended);
    for (uint32_t i = 0; i < sim.n_done; i++) {
        begun[i] = &sim.done[i];
        check_content(&sim.done[i]);
    }
    qsort(begun, sim.n_done, sizeof(*begun), compare_begun);
    for (uint32_t i = 0; i < sim.n_done && sim.log_base == 0; i++) {
        const struct done *done = begun[i];
        for (; ended < sim.n_done && sim.done[ended].ended_us < done->begun_us; ended++) {
            uint64_t *last = &seen[sim.done[ended].key];
            *last = MAX(*last, sim.done[ended].version);
        }
        bool is_write = done->what == WRITE || done->what == CAS;
        if (done->version < seen[done->key] || (is_write && done->version == seen[done->key])) {
            violation("stale: an answer of %llx begun after one of %llx had ended",
                      (unsigned long long)done->version, (unsigned long long)seen[done->key]);
        }
    }
    g_free(begun);
}

/* A run */

static void
make_nodes(uint32_t mutant)
{
    bool has_long_tail = chance(50);
    for (uint32_t i = 0; i < SLOT_NODES; i++) {
        struct node *node = &sim.nodes[i];
        node->rate = is_confirmed_mode() ? 300 + (int32_t)below(1500) : 990 + (int32_t)below(21);
        node->offset_us = between_ms(0, 100000);
        node->setup =
            (struct yk_replica_setup){.self = i,
                                      .incarnation = 1,
                                      .copies = 3,
                                      .min_copies = 2,
                                      .forgets = sim.is_memory,
                                      .lease_us = MS(400),
                                      .grace_us = MS(500),
                                      .beacon_us = MS(40),
                                      .tail_bytes_max = has_long_tail ? 1000000 : 600,
                                      .uncommitted_max = 16,
                                      .mutant = mutant,
                                      .sink = {node, sink_append, sink_cut, sink_committed,
                                               sink_changed, sink_copy, sink_wiped}};
    }
}

static void
make_register(void)
{
    struct yk_bucket_description description = {.slots = 1,
                                                .copies = 3,
                                                .min_copies = 2,
                                                .durability = sim.is_memory ? YK_DURABILITY_MEMORY
                                                                            : YK_DURABILITY_DISK,
                                                .engine = "memory",
                                                .key_size_max = 250,
                                                .value_size_max = 1000};
    char error[YK_ERROR_SIZE];
    YK_ASSERT(yk_bucket_register_init(&sim.bucket, &description, error) == YK_OK);
    for (uint32_t i = 0; i < SLOT_NODES; i++) {
        YK_ASSERT(register_start(i, 1, 1));
    }
    struct yk_slot_proposal slot = {.epoch = 1, .n_nodes = 3, .nodes = {0, 1, 2}};
    struct yk_proposal proposal = {.kind = YK_PROPOSE_CREATE, .slots = &slot, .n_slots = 1};
    YK_ASSERT(yk_manager_judge(&sim.bucket, &proposal) == YK_REFUSAL_NONE &&
              slot.refusal == YK_REFUSAL_NONE);
}

static void
step(struct event *event)
{
    struct node *node = event->node < SLOT_NODES ? &sim.nodes[event->node] : NULL;
    bool is_nodes = event->kind == TICK || event->kind == SYNC || event->kind == MESSAGE;
    if (is_nodes && node != NULL && node->is_up && node->paused_until_us > sim.now_us) {
        event->at_us = node->paused_until_us;
        push_event(*event);
        event->message = NULL;
        return;
    }
    switch (event->kind) {
    case MESSAGE:
        if (event->node == SLOT_MANAGER) {
            on_ask(event->message);
        } else if (node == NULL) {
            on_reply(event->node - SLOT_PLACES, event->message);
        } else if (node->is_up) {
            on_message(event->node, event->message);
        }
        break;
    case TICK:
        if (node->is_up && event->about == node->boot) {
            tick(event->node);
        }
        break;
    case SYNC:
        if (node->is_up && event->about >> 32 == node->boot) {
            synced(event->node, (uint32_t)event->about);
        }
        break;
    case TROUBLE:
        trouble();
        break;
    case RESTART:
        if (!node->is_up) {
            restart(event->node);
        }
        break;
    case CLIENT:
        on_client(event->node, event->about);
        break;
    case UNCUT:
        sim.cut[event->node][event->about] = false;
        break;
    }
}

static void
heal(void)
{
    sim.is_healed = true;
    memset(sim.cut, 0, sizeof(sim.cut));
    for (uint32_t i = 0; i < SLOT_NODES; i++) {
        sim.nodes[i].paused_until_us = 0;
    }
}

/* Is there a node left that holds what was committed? */
static bool
is_intact(void)
{
    const struct yk_slot_record *slot = &sim.bucket.slots[0];
    bool is_held = sim.is_memory;
    for (uint32_t i = 0; i < slot->n_members; i++) {
        is_held = is_held || slot->members[i].incarnation ==
                                 sim.nodes[slot->members[i].node].setup.incarnation;
    }
    for (uint32_t i = 0; i < slot->n_eligible; i++) {
        is_held = is_held || slot->eligible[i].incarnation ==
                                 sim.nodes[slot->eligible[i].node].setup.incarnation;
    }
    return is_held;
}

static void
clean_up(void)
{
    for (uint32_t i = 0; i < SLOT_NODES; i++) {
        if (sim.nodes[i].is_up) {
            yk_replica_done(&sim.nodes[i].replica);
        }
        g_free(sim.nodes[i].journal);
    }
    while (sim.n_events > 0) {
        g_free(pop_event().message);
    }
    g_free(sim.heap);
    g_free(sim.done);
    yk_bucket_register_done(&sim.bucket);
}

void
slot_run(uint64_t seed, const struct slot_options *options, struct slot_result *ret_result)
{
    int64_t end_us = MS(END_MS + HEAL_MS);
    uint64_t late_answers = 0;
    memset(&sim, 0, sizeof(sim));
    memset(ret_result, 0, sizeof(*ret_result));
    sim.options = options;
    sim.result = ret_result;
    sim.random.state = seed * 0x9e3779b97f4a7c15ull;
    sim.is_memory = chance(25);
    sim.loss = below(15);
    sim.doubling = below(20);
    sim.lateness = below(6);
    make_nodes(options->mutant);
    make_register();
    for (uint32_t i = 0; i < SLOT_NODES; i++) {
        restart(i);
    }
    for (uint32_t i = 0; i < SLOT_CLIENTS; i++) {
        later(between_ms(600, 650), CLIENT, i, 0);
    }
    later(MS(900), TROUBLE, 0, 0);
    while (sim.n_events > 0 && ret_result->violation[0] == '\0') {
        struct event event = pop_event();
        sim.now_us = event.at_us;
        if (sim.now_us >= MS(END_MS) && !sim.is_healed) {
            heal();
        }
        if (sim.now_us < end_us - MS(LATE_MS)) {
            late_answers = ret_result->answers;
        }
        if (sim.n_made > EVENTS_MAX) {
            violation("a storm of messages");
        }
        if (sim.now_us < end_us) {
            step(&event);
        }
        g_free(event.message);
        if (sim.now_us >= end_us) {
            break;
        }
    }
    if (ret_result->violation[0] == '\0') {
        check_history();
    }
    ret_result->lost = !is_intact();
    if (is_intact() && ret_result->answers == late_answers) {
        violation("nothing was answered in the last %u ms, all being well", LATE_MS);
    }
    clean_up();
}
