/* Clients of any node: what they say to its frontend, and what that answers, as bytes of
 * memcached's protocol. And the links on which nodes send ops to each other and answers back:
 *
 *     up -- a frame is lost, an end of it dies --> broken -- its sender is told --> down
 *      ^                                                                              |
 *      `---------------- it connects again, and its sender is told -------------------'
 *
 * While a link is up what goes on it comes, in order and once. */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"

struct session {
    struct yk_session *of_node; /* NULL: not opened yet, or closed */
    struct client *client;      /* NULL: it has gone */
    uint32_t node, worker;
    uint64_t boot;
};

/* A piece on its way to the client. */
struct piece {
    struct session *session;
    GBytes *bytes;
};

/* Links */

static struct link *
link_of(uint32_t from, uint32_t worker, uint32_t to, uint32_t to_worker)
{
    return &sim.links[((from * WORKERS + worker) * NODES_MAX + to) * WORKERS + to_worker];
}

static void
link_ends(struct link *link)
{
    link->number++; /* what is under way never comes */
    link->last_us = 0;
}

static void
link_later(struct node *node, int64_t delay_us, enum kind kind, const struct link *link)
{
    sim_of_node(node, delay_us, kind, 0, (void *)link);
}

static void
link_break(struct node *from, struct link *link, int64_t told_in_us)
{
    if (!link->is_broken) {
        link_ends(link);
        link->is_broken = true;
        link_later(from, told_in_us, LINK_DOWN, link);
    }
}

static void
tell_state(struct node *node, const struct link *link, bool is_up)
{
    uint32_t index = (uint32_t)(link - sim.links);
    uint32_t to_worker = index % WORKERS, to = index / WORKERS % NODES_MAX;
    uint32_t worker = index / WORKERS / NODES_MAX % WORKERS;
    sim_trace("node %u.%u: link to %u.%u is %s", (uint32_t)(node - sim.nodes), worker, to,
              to_worker, is_up ? "up" : "down");
    node_step(node, worker,
              (struct yk_event){.kind = YK_EVENT_PEER, .peer = {1 + to, to_worker, is_up}});
}

void
gateway_link_happens(struct node *node, const struct happening *happening)
{
    struct link *link = happening->thing;
    uint32_t to = (uint32_t)(link - sim.links) / WORKERS % NODES_MAX;
    if (happening->kind == LINK_DOWN) {
        tell_state(node, link, false);
        link_later(node, sim_between_ms(2, 60), LINK_UP, link);
    } else if (sim.nodes[to].node == NULL || sim_way_us(happening->node, to) < 0 ||
               sim.cut[to][happening->node]) {
        link_later(node, sim_between_ms(20, 300), LINK_UP, link);
    } else {
        link->is_broken = false;
        tell_state(node, link, true);
    }
}

/* Its process is no more. */
void
gateway_node_dies(uint32_t dead)
{
    for (uint32_t i = 0; sim.swarm.n_gateways > 0 && i < LINKS; i++) {
        struct link *link = &sim.links[i];
        uint32_t from = i / WORKERS / NODES_MAX / WORKERS, to = i / WORKERS % NODES_MAX;
        if (from == dead) {
            link_ends(link);
            link->is_broken = false;
        } else if (to == dead && sim.nodes[from].node != NULL) {
            link_break(&sim.nodes[from], link, sim_between_ms(0, sim_chance(80) ? 2 : 2000));
        }
    }
}

bool
gateway_is_op(const struct yk_buffer *bytes)
{
    static const char ops[] = "\x93\x02\xa3ops", answers[] = "\x93\x02\xa7"
                                                             "answers";
    return (bytes->size >= sizeof(ops) - 1 && memcmp(bytes->data, ops, sizeof(ops) - 1) == 0) ||
           (bytes->size >= sizeof(answers) - 1 &&
            memcmp(bytes->data, answers, sizeof(answers) - 1) == 0);
}

void
gateway_send(struct node *node, uint32_t worker, uint32_t to, uint32_t to_worker,
             struct yk_buffer *bytes)
{
    uint32_t from = (uint32_t)(node - sim.nodes);
    struct link *link = link_of(from, worker, to, to_worker);
    if (link->is_broken) {
        return;
    }
    int64_t way = sim_way_us(from, to);
    if (way < 0 || sim.nodes[to].node == NULL) {
        link_break(node, link, sim_between_ms(1, sim_chance(70) ? 50 : 2000));
        return;
    }
    yk_buffer_ref(bytes);
    link->last_us = MAX(link->last_us, sim.now_us + way);
    sim_put((struct happening){.at_us = link->last_us,
                               .kind = LINK_FRAME,
                               .node = to,
                               .worker = to_worker,
                               .from = from * WORKERS + worker,
                               .about = link->number,
                               .thing = bytes});
}

bool
gateway_is_lost(const struct happening *frame)
{
    return link_of(frame->from / WORKERS, frame->from % WORKERS, frame->node, frame->worker)
               ->number != frame->about;
}

/* Sessions */

static void
send_output(struct node *node, struct session *session)
{
    struct yk_slice slices[8];
    GByteArray *bytes = g_byte_array_new();
    while (yk_session_peek(session->of_node, slices, 8) > 0) {
        size_t size = slices[0].size;
        g_byte_array_append(bytes, slices[0].data, (guint)size);
        yk_worker_step(node->node->workers[session->worker],
                       &(struct yk_event){.kind = YK_EVENT_SENT,
                                          .now_ms = world_now_ms(node),
                                          .sent = {session->of_node, size}});
    }
    if (bytes->len == 0 || session->client == NULL) {
        g_byte_array_unref(bytes);
        return;
    }
    struct piece *piece = g_new0(struct piece, 1);
    *piece = (struct piece){session, g_byte_array_free_to_bytes(bytes)};
    sim_put((struct happening){
        .at_us = sim.now_us + 1 + sim_below(200), .kind = ANSWER, .thing = piece});
}

static void
close_session(struct node *node, struct session *session)
{
    if (session->of_node != NULL) {
        struct yk_session *of_node = session->of_node;
        session->of_node = NULL;
        yk_worker_step(node->node->workers[session->worker],
                       &(struct yk_event){.kind = YK_EVENT_CLOSED, .closed = {of_node}});
    }
}

/* After the turn in which it was touched. */
void
gateway_settle(struct node *node, struct session *session)
{
    if (session->of_node == NULL) {
        return;
    }
    send_output(node, session);
    if (yk_session_is_over(session->of_node)) {
        close_session(node, session);
    }
}

static void
open_session(struct node *node, struct session *session)
{
    struct yk_peer peer = {.struct_size = sizeof(peer),
                           .family = YK_FAMILY_SIM,
                           .address = "sim",
                           .listener = "sim",
                           .uid = -1,
                           .id = session->client->connection};
    yk_worker_step(node->node->workers[session->worker],
                   &(struct yk_event){
                       .kind = YK_EVENT_OPEN,
                       .now_ms = world_now_ms(node),
                       .open = {.peer = &peer, .conn = session, .ret_session = &session->of_node}});
    YK_ASSERT(session->of_node != NULL);
}

/* At the node: a client's command, or its end. */
void
gateway_session_happens(struct node *node, const struct happening *happening)
{
    struct session *session = happening->thing;
    if (happening->kind == SESSION_ENDS) {
        close_session(node, session);
        node_want_turn(node, session->worker, 1);
        return;
    }
    if (session->client == NULL || session->client->number != happening->from) {
        return;
    }
    if (session->of_node == NULL) {
        open_session(node, session);
    }
    const GString *command = session->client->command;
    uint8_t *room;
    size_t room_size;
    yk_session_room(session->of_node, &room, &room_size);
    YK_ASSERT(room_size == 0);
    node_step(node, session->worker,
              (struct yk_event){.kind = YK_EVENT_RECEIVED,
                                .received = {session->of_node, (const uint8_t *)command->str,
                                             command->len, false}});
}

/* The client's end */

static const char *const verb_of[] = {
    [HISTORY_GETS] = "gets",       [HISTORY_SET] = "set",       [HISTORY_ADD] = "add",
    [HISTORY_REPLACE] = "replace", [HISTORY_APPEND] = "append", [HISTORY_CAS] = "cas",
    [HISTORY_DELETE] = "delete",   [HISTORY_INCR] = "incr",     [HISTORY_DECR] = "decr",
    [HISTORY_FLUSH] = "flush_all",
};

static void
write_command(struct client *client)
{
    const struct operation *operation = client->operation;
    GString *to = client->command;
    g_string_assign(to, verb_of[operation->kind]);
    if (operation->kind != HISTORY_FLUSH) {
        g_string_append_printf(to, " %s", client->key);
    }
    if (operation->value != NULL) {
        gsize size;
        const char *value = g_bytes_get_data(operation->value, &size);
        g_string_append_printf(to, " 0 %d %u", (int)operation->expiry_s, (unsigned)size);
        if (operation->kind == HISTORY_CAS) {
            g_string_append_printf(to, " %" G_GUINT64_FORMAT, operation->cas);
        }
        g_string_append(to, "\r\n");
        g_string_append_len(to, value, (gssize)size);
    } else if (operation->kind == HISTORY_INCR || operation->kind == HISTORY_DECR) {
        g_string_append_printf(to, " %" G_GUINT64_FORMAT, operation->delta);
    }
    g_string_append(to, "\r\n");
}

void
gateway_hang_up(struct client *client)
{
    struct session *session = client->session;
    client->session = NULL;
    if (session == NULL) {
        return;
    }
    struct node *node = &sim.nodes[session->node];
    session->client = NULL;
    if (node->node != NULL && node->boot == session->boot) {
        sim_of_node(node, 500, SESSION_ENDS, session->worker, session);
    }
}

/* Says what the client wants to the node that it has chosen, which is there. */
void
gateway_say(struct client *client)
{
    struct node *node = &sim.nodes[client->target];
    if (client->session == NULL) {
        client->session = g_new0(struct session, 1);
        client->session->client = client;
        client->session->node = client->target;
        client->session->worker = sim_below(WORKERS);
        client->session->boot = node->boot;
    }
    client->is_said = true;
    write_command(client);
    g_string_truncate(client->answer, 0);
    sim_put((struct happening){.at_us = sim.now_us + 1 + sim_below(200),
                               .kind = SESSION_SAYS,
                               .node = client->target,
                               .worker = client->session->worker,
                               .from = (uint32_t)client->number,
                               .about = node->boot,
                               .thing = client->session});
}

static enum history_result
result_of_line(const char *line)
{
    static const struct {
        const char *line;
        enum history_result result;
    } results[] = {
        {"STORED", RESULT_OK},
        {"DELETED", RESULT_OK},
        {"OK", RESULT_OK},
        {"NOT_FOUND", RESULT_MISS},
        {"END", RESULT_MISS},
        {"NOT_STORED", RESULT_REFUSED},
        {"EXISTS", RESULT_EXISTS},
        {"CLIENT_ERROR cannot increment or decrement non-numeric value", RESULT_NOT_NUMBER},
        {"SERVER_ERROR outcome unknown", RESULT_UNKNOWN},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(results); i++) {
        if (strcmp(line, results[i].line) == 0) {
            return results[i].result;
        }
    }
    return g_ascii_isdigit(line[0]) ? RESULT_OK : RESULT_FAILED;
}

/* "VALUE key flags size cas", the value, "END". False: it is not whole yet. */
static bool
read_value(struct client *client, gsize head)
{
    unsigned size;
    unsigned long long cas;
    const GString *answer = client->answer;
    if (sscanf(answer->str, "VALUE %*s %*u %u %llu", &size, &cas) != 2) {
        sim_fail("an answer that cannot be: %.80s", answer->str);
        return false;
    }
    if (answer->len < head + size + 7) {
        return false;
    }
    client->operation->value = g_bytes_new(answer->str + head, size);
    client->operation->cas = cas;
    client_answered(client, RESULT_OK);
    return true;
}

static void
read_answer(struct client *client)
{
    const GString *answer = client->answer;
    const char *end = memchr(answer->str, '\n', answer->len);
    if (end == NULL || end == answer->str) {
        return;
    }
    gsize head = (gsize)(end - answer->str) + 1;
    if (strncmp(answer->str, "VALUE ", 6) == 0) {
        read_value(client, head);
        return;
    }
    g_autofree char *line = g_strndup(answer->str, head - 2);
    enum history_result result = result_of_line(line);
    if (result == RESULT_FAILED && strncmp(line, "SERVER_ERROR ", 13) != 0) {
        sim_fail("an answer that cannot be: %s", line);
    }
    sim_trace("client %u: %s", (uint32_t)(client - sim.clients), line);
    client->operation->shown = g_ascii_strtoull(line, NULL, 10);
    client_answered(client, result);
}

void
gateway_answers(struct piece *piece)
{
    struct client *client = piece->session->client;
    gsize size;
    const char *bytes = g_bytes_get_data(piece->bytes, &size);
    if (client != NULL && client->operation != NULL) {
        g_string_append_len(client->answer, bytes, (gssize)size);
        read_answer(client);
    }
    g_bytes_unref(piece->bytes);
    g_free(piece);
}
