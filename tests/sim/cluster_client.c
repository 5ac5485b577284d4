/* Clients of a simulated cluster: one op at a time, sent straight to the worker of the lane. */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/buffer.h"
#include "core/base/hash.h"

static void
deliver_op(struct client *client, struct node *node)
{

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
    op->lane = (uint16_t)(op->slot % LANES);
    op->executor = (uint16_t)(op->lane % WORKERS);
    op->origin = (uint16_t)(1 - op->executor);
    op->is_kept = true;
    op->kept_max = VALUE_MAX * 100;
    op->mark = 0;
    op->part_of = (struct yk_op *)client;
    op->version = client->number;
    client->op = op;
    node_step(node, op->executor, (struct yk_event){.kind = YK_EVENT_MAIL, .mail = {op}});
}

static void
deliver(struct client *client)
{
    struct node *node = &sim.nodes[client->target];
    if (node->node == NULL) {
        sim_put((struct happening){.at_us = sim.now_us + sim_between_ms(5, 40),
                                   .kind = CLIENT,
                                   .worker = (uint32_t)(client - sim.clients),
                                   .about = client->number});
        client->target = sim_below(sim.n_nodes);
        return;
    }
    const struct yk_ring *ring = &node->node->buckets[0]->ring;
    sim.slots[client->operation->key] = yk_ring_slot(ring, yk_hash(yk_slice_of_text(client->key)));
    if (client->is_of_gateway) {
        gateway_say(client);
    } else {
        deliver_op(client, node);
    }
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
choose_expiry(struct yk_request *request, struct operation *operation)
{
    if (sim.swarm.has_expiry && sim_chance(40)) {
        operation->expiry_s = sim_chance(60) ? 1 + sim_below(3) : FAR_S;
        request->expiry.kind = YK_EXPIRY_RELATIVE;
        request->expiry.ms = operation->expiry_s * 1000;
    }
}

static void
choose_request(struct client *client, uint32_t key)
{
    static const enum history_kind kinds[] = {
        HISTORY_GETS,   HISTORY_GETS, HISTORY_GETS,   HISTORY_SET,     HISTORY_SET,  HISTORY_ADD,
        HISTORY_DELETE, HISTORY_CAS,  HISTORY_APPEND, HISTORY_REPLACE, HISTORY_INCR, HISTORY_DECR};
    enum history_kind kind = kinds[sim_below(G_N_ELEMENTS(kinds))];
    if (client->is_of_gateway && sim.swarm.has_flushes && sim_chance(2)) {
        kind = HISTORY_FLUSH;
    }
    struct operation *operation;
    struct yk_request *request = &client->request;
    if (kind == HISTORY_CAS && client->cas[key] == 0) {
        kind = HISTORY_GETS;
    }
    operation = history_add(sim.history, kind, key);
    *request = (struct yk_request){.op = YK_OP_FLUSH};
    if (kind != HISTORY_FLUSH) {
        request->op = operation_of[kind].op;
        request->mode = operation_of[kind].mode;
    }
    if (request->op == YK_OP_ARITH) {
        request->delta = operation->delta = 1 + sim_below(1000);
    }
    if (request->op == YK_OP_STORE) {
        bool is_number = kind == HISTORY_SET && key < COUNTERS;
        int size = snprintf(client->value, sizeof(client->value), is_number ? "%u" : "%u.",
                            ++sim.n_values);
        uint32_t more =
            is_number || kind == HISTORY_APPEND ? 0 : sim_below(sim_chance(10) ? VALUE_MAX : 20);
        memset(client->value + size, 'x', more);
        request->value = yk_slice_of(client->value, (size_t)size + more);
        operation->value = g_bytes_new(client->value, (gsize)size + more);
    }
    if (request->op == YK_OP_STORE && kind != HISTORY_APPEND) {
        choose_expiry(request, operation);
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
    client->until_us = sim.now_us + sim_between_ms(400, 1500);
    if (client->is_of_gateway && sim_chance(30)) { /* until it must have been answered */
        client->until_us = sim.now_us + sim_between_ms(5500, 7000);
    }
    choose_request(client, sim_below(KEYS));
    sim_trace("client %u asks: %s %s number %u, ends %d", (uint32_t)(client - sim.clients),
              history_kind_name(client->operation->kind), client->key, sim.n_values,
              (int)client->operation->expiry_s);
    deliver(client);
    sim_put((struct happening){.at_us = client->until_us,
                               .kind = CLIENT,
                               .worker = (uint32_t)(client - sim.clients),
                               .about = client->number});
}

void
client_happen(struct client *client, uint64_t number)
{
    if (number != client->number || sim.is_quiet) {
        return;
    }
    if (client->operation == NULL) {
        next_request(client);
    } else if (sim.now_us >= client->until_us) { /* it gives up, as another connection */
        client->operation = NULL;
        client->op = NULL;
        client->is_said = false;
        gateway_hang_up(client);
        client->connection = sim.n_connections++;
        client->target = sim_below(sim.n_nodes);
        next_request(client);
    } else if (client->op == NULL && !client->is_said) {
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

void
client_answered(struct client *client, enum history_result result)
{
    struct operation *operation = client->operation;
    if (sim.swarm.reads == YK_READS_ANY && operation->kind == HISTORY_GETS) {
        operation->invoked_us = 0; /* it tells what was there at some time, whenever */
        operation->connection = sim.n_connections++;
    }
    operation->result = result;
    operation->returned_us = sim.now_us;
    if (result == RESULT_UNKNOWN) {
        /* It may stand in a log, and be committed by a later primary, whatever the client does
         * then. */
        operation->returned_us = TIME_NEVER;
        operation->connection = sim.n_connections++;
    }
    if (operation->kind == HISTORY_GETS && result == RESULT_OK) {
        client->cas[operation->key] = operation->cas;
    }
    sim.result->n_operations++;
    client->operation = NULL;
    client->is_said = false;
    client->number++;
    sim_put((struct happening){.at_us = sim.now_us + sim_between_ms(0, 25),
                               .kind = CLIENT,
                               .worker = (uint32_t)(client - sim.clients),
                               .about = client->number});
}

static void
note_reply(struct client *client, const struct yk_reply *reply)
{
    sim_trace("client %u from node %u %s kind %d result %u version %llx",
              (uint32_t)(client - sim.clients), client->target, client->key,
              client->operation->kind, reply->result, (unsigned long long)reply->version);
    struct operation *operation = client->operation;
    operation->shown = reply->number;
    if (operation->kind == HISTORY_GETS && reply->result == YK_OK) {
        operation->value = g_bytes_new(reply->value.data, reply->value.size);
        operation->cas = reply->version;
    }
    client_answered(client, result_of(reply));
}

bool
client_is_op(const struct yk_op *op)
{
    const struct client *client = (const struct client *)(const void *)op->part_of;
    return client >= sim.clients && client < sim.clients + CLIENTS;
}

void
client_replied(struct yk_op *op)
{
    struct client *client = (struct client *)op->part_of;
    if (client->op == op) {
        client->op = NULL;
        if (op->reply.result == YK_ESTALE) { /* surely not done: somewhere else */
            client->target = sim_below(sim.n_nodes);
            sim_put((struct happening){.at_us = sim.now_us + sim_between_ms(5, 40),
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
