/* The control as a whole: its life, what comes in and goes out, the views. */
#include <config.h>

#include "core/node/control.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/assert.h"
#include "core/node/control_inside.h"

/* Effects */

void
control_effect(struct yk_control *control, const struct yk_control_effect *effect)
{
    if (control->n_effects == control->effects_room) {
        uint32_t room = control->effects_room == 0 ? 64 : control->effects_room * 2;
        control->effects = realloc(control->effects, room * sizeof(*effect));
        YK_ASSERT(control->effects != NULL);
        control->effects_room = room;
    }
    control->effects[control->n_effects++] = *effect;
}

const struct yk_control_effect *
yk_control_take_effects(struct yk_control *control, uint32_t *ret_n)
{
    struct yk_control_effect *effects = control->effects;
    uint32_t room = control->effects_room;
    *ret_n = control->n_effects;
    control->effects = control->taken;
    control->effects_room = control->taken_room;
    control->n_effects = 0;
    control->taken = effects;
    control->taken_room = room;
    return effects;
}

static void
free_effects(struct yk_control *control)
{
    for (uint32_t i = 0; i < control->n_effects; i++) {
        const struct yk_control_effect *effect = &control->effects[i];
        if (effect->kind == YK_CONTROL_SEND) {
            yk_buffer_unref(effect->send.bytes);
        } else if (effect->kind == YK_CONTROL_COORDINATOR) {
            yk_buffer_unref(effect->message.bytes);
        } else if (effect->kind == YK_CONTROL_VIEW) {
            yk_view_unref(effect->view);
        } else if (effect->kind == YK_CONTROL_REFUSED) {
            free(effect->refused);
        }
    }
    free(control->effects);
    free(control->taken);
}

/* A letter to itself is read when what is being done has been done. */
static void
put_letter(struct yk_control *control, struct yk_buffer *bytes)
{
    struct letter *letter = malloc(sizeof(*letter));
    if (letter == NULL) {
        yk_buffer_unref(bytes);
        return;
    }
    *letter = (struct letter){NULL, bytes};
    *control->letters_end = letter;
    control->letters_end = &letter->next;
}

void
control_send(struct yk_control *control, uint32_t peer, struct yk_pack *pack)
{
    struct yk_buffer *bytes =
        pack->result == YK_OK ? yk_buffer_new_copy(yk_pack_bytes_of(pack)) : NULL;
    yk_pack_done(pack);
    if (bytes == NULL || peer == YK_PEER_NONE) {
        yk_buffer_unref(bytes);
        return; /* as if it had been lost on its way */
    }
    if (peer == YK_PEER_SELF) {
        put_letter(control, bytes);
        return;
    }
    control_effect(control,
                   &(struct yk_control_effect){.kind = YK_CONTROL_SEND, .send = {peer, bytes}});
}

int64_t
control_jitter(struct yk_control *control, int64_t us)
{
    return us * 3 / 4 + (int64_t)yk_random_below(&control->random, (uint64_t)(us / 2 + 1));
}

/* Other nodes */

uint32_t
yk_control_manager(const struct yk_config *config, uint32_t *ret_n_managers)
{
    uint32_t self = UINT32_MAX;
    *ret_n_managers = 0;
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        if ((config->nodes[i].roles & YK_ROLE_MANAGER) != 0) {
            if (strcmp(config->nodes[i].name, config->node.name) == 0) {
                self = *ret_n_managers;
            }
            ++*ret_n_managers;
        }
    }
    return self;
}

static void
meet(struct yk_control *control, uint32_t peer)
{
    for (uint32_t i = 0; i < control->n_others; i++) {
        if (control->others[i] == peer) {
            return;
        }
    }
    if (peer < YK_PEERS_MAX && peer != YK_PEER_SELF && control->n_others < OTHERS_MAX) {
        control->others[control->n_others++] = peer;
    }
}

static uint32_t
peer_of_file(struct yk_control *control, uint32_t node)
{
    const struct yk_node_config *of_file = &control->setup.config->nodes[node];
    return strcmp(of_file->name, control->setup.config->node.name) == 0
               ? YK_PEER_SELF
               : control->setup.peer(control->setup.arg, "", of_file->name, of_file->address);
}

void
control_meet(struct yk_control *control)
{
    const struct yk_config *config = control->setup.config;
    control->n_others = 0;
    control->n_managers = 0;
    for (uint32_t i = 0; i < control->cluster->n_nodes; i++) {
        const struct yk_cluster_node *node = &control->cluster->nodes[i];
        if (strcmp(node->id, control->setup.node_id) != 0) {
            meet(control,
                 control->setup.peer(control->setup.arg, node->id, node->name, node->address));
        }
    }
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        uint32_t peer = peer_of_file(control, i);
        meet(control, peer);
        if ((config->nodes[i].roles & YK_ROLE_MANAGER) != 0 && control->n_managers < MANAGERS_MAX) {
            control->managers[control->n_managers++] = peer;
        }
    }
}

uint32_t
control_peer_of(const struct yk_control *control, const char *node_id)
{
    if (strcmp(node_id, control->setup.node_id) == 0) {
        return YK_PEER_SELF;
    }
    for (uint32_t i = 0; i < control->cluster->n_nodes; i++) {
        const struct yk_cluster_node *node = &control->cluster->nodes[i];
        if (strcmp(node->id, node_id) == 0) {
            return control->setup.peer(control->setup.arg, node->id, node->name, node->address);
        }
    }
    return YK_PEER_NONE;
}

bool
control_is_up(const struct yk_control *control, uint32_t peer)
{
    return peer == YK_PEER_SELF ||
           (peer < YK_PEERS_MAX && control->heard_us[peer] != 0 &&
            control->now_us - control->heard_us[peer] < CONTROL_MS(SILENT_MS));
}

static void
send_here(struct yk_control *control)
{
    if (control->now_us < control->here_us) {
        return;
    }
    control->here_us = control->now_us + control_jitter(control, CONTROL_MS(HERE_MS));
    for (uint32_t i = 0; i < control->n_others; i++) {
        struct yk_pack pack;
        yk_pack_init(&pack, YK_CONTROL_SIZE_MAX);
        yk_here_encode(&pack);
        control_send(control, control->others[i], &pack);
    }
}

/* Views */

const struct yk_bucket_register *
control_bucket(const struct yk_control *control, uint32_t bucket)
{
    static const struct yk_bucket_register none;
    const struct known *known = &control->known[1 + bucket];
    return known->next.slots != NULL ? &known->next
           : control->view != NULL   ? &control->view->buckets[bucket].bucket
                                     : &none;
}

static bool
copy_register(const struct yk_bucket_register *from, struct yk_bucket_register *to)
{
    char error[YK_ERROR_SIZE];
    if (from->slots == NULL) {
        return true;
    }
    if (yk_bucket_register_init(to, &from->description, error) != YK_OK) {
        return false;
    }
    memcpy(to->nodes, from->nodes, from->n_nodes * sizeof(*from->nodes));
    memcpy(to->slots, from->slots, from->description.slots * sizeof(*from->slots));
    to->n_nodes = from->n_nodes;
    return true;
}

static bool
fill_bucket(struct yk_control *control, uint32_t index, struct yk_view_bucket *to)
{
    struct known *known = &control->known[1 + index];
    if (known->next.slots != NULL) {
        to->bucket = known->next;
        known->next = (struct yk_bucket_register){.n_nodes = 0};
    } else if (control->view != NULL &&
               !copy_register(&control->view->buckets[index].bucket, &to->bucket)) {
        return false;
    }
    to->revision = known->revision;
    to->is_fresh = known->is_fresh;
    to->self =
        to->bucket.slots != NULL ? yk_bucket_register_find(&to->bucket, control->setup.node_id) : 0;
    to->self = to->self < to->bucket.n_nodes ? to->self : YK_NODE_NONE;
    for (uint32_t i = 0; i < to->bucket.n_nodes; i++) {
        to->peers[i] = control_peer_of(control, to->bucket.nodes[i].id);
    }
    return true;
}

/* No memory: it is tried again in the next turn; what was moved into the view that was not made
 * goes back. */
static void
give_back(struct yk_control *control, struct yk_view *view)
{
    for (uint32_t i = 0; i < view->n_buckets; i++) {
        struct known *known = &control->known[1 + i];
        if (known->next.slots == NULL) {
            known->next = view->buckets[i].bucket;
            view->buckets[i].bucket = (struct yk_bucket_register){.n_nodes = 0};
        }
    }
    yk_view_unref(view);
}

static void
make_view(struct yk_control *control)
{
    uint32_t n_buckets = control->n_known - 1;
    struct yk_view *view = yk_view_new(n_buckets);
    bool is_ready = true;
    for (uint32_t i = 0; view != NULL && i < n_buckets; i++) {
        if (!fill_bucket(control, i, &view->buckets[i])) {
            give_back(control, view);
            return;
        }
        is_ready = is_ready && view->buckets[i].is_fresh;
    }
    if (view == NULL) {
        return;
    }
    yk_view_unref(control->view);
    control->view = view;
    control->is_view_dirty = false;
    control_effect(control,
                   &(struct yk_control_effect){.kind = YK_CONTROL_VIEW, .view = yk_view_ref(view)});
    if (is_ready && !control->is_ready) {
        control->is_ready = true;
        control->manager = control->home;
        control_effect(control, &(struct yk_control_effect){.kind = YK_CONTROL_READY});
    }
}

/* Events */

static void
read_notice(struct yk_control *control, uint32_t peer, enum yk_message message,
            struct yk_unpack *unpack)
{
    struct yk_ask ask;
    struct yk_answer answer;
    struct yk_changed changed;
    struct yk_slice bytes;
    if (message == YK_MESSAGE_ASK && yk_ask_decode(unpack, &ask) == YK_OK) {
        managing_asked(control, peer, &ask);
    } else if (message == YK_MESSAGE_ANSWER && yk_answer_decode(unpack, &answer) == YK_OK) {
        member_answered(control, &answer);
        free(answer.refused);
    } else if (message == YK_MESSAGE_CHANGED && yk_changed_decode(unpack, &changed) == YK_OK) {
        member_told(control, &changed);
        managing_told(control, &changed);
    } else if (message == YK_MESSAGE_COORDINATOR &&
               yk_coordinator_decode(unpack, &bytes) == YK_OK) {
        for (uint32_t i = 0; control->is_manager && i < control->n_managers; i++) {
            if (control->managers[i] == peer) {
                control_effect(control, &(struct yk_control_effect){
                                            .kind = YK_CONTROL_COORDINATOR,
                                            .message = {i, yk_buffer_new_copy(bytes)}});
            }
        }
    }
}

static void
read_frame(struct yk_control *control, uint32_t peer, struct yk_slice frame)
{
    struct yk_unpack unpack;
    enum yk_frame_kind kind;
    uint32_t msgid;
    bool is_now;
    enum yk_message message = yk_message_head(&unpack, frame, &kind, &msgid);
    if (message == YK_N_MESSAGES) {
        return;
    }
    if (kind == YK_FRAME_NOTICE) {
        if (peer < YK_PEERS_MAX) {
            control->heard_us[peer] = control->now_us;
            read_notice(control, peer, message, &unpack);
        }
    } else if (message == YK_MESSAGE_STATUS && yk_request_decode(&unpack, &is_now) == YK_OK) {
        status_asked(control, peer, msgid);
    } else if (message == YK_MESSAGE_CREATE && yk_request_decode(&unpack, &is_now) == YK_OK) {
        creation_asked(control, peer, msgid, is_now);
    }
}

static void
read_letters(struct yk_control *control)
{
    while (control->letters != NULL) {
        struct letter *letter = control->letters;
        control->letters = letter->next;
        if (control->letters == NULL) {
            control->letters_end = &control->letters;
        }
        read_frame(control, YK_PEER_SELF, yk_slice_of(letter->bytes->data, letter->bytes->size));
        yk_buffer_unref(letter->bytes);
        free(letter);
    }
}

static void
send_for_coordinator(struct yk_control *control, uint32_t manager, struct yk_slice bytes)
{
    struct yk_pack pack;
    if (manager < control->n_managers) {
        yk_pack_init(&pack, YK_COORDINATOR_SIZE_MAX + YK_KIB);
        yk_coordinator_encode(&pack, bytes);
        control_send(control, control->managers[manager], &pack);
    }
}

static void
peer_changed(struct yk_control *control, uint32_t peer, bool is_up)
{
    if (peer < YK_PEERS_MAX && !is_up) {
        control->heard_us[peer] = 0;
        member_lost(control, peer);
    }
}

static void
joined(struct yk_control *control, enum yk_err result)
{
    control->is_joining = false;
    control->is_joined = result == YK_OK;
    control->is_view_dirty = true;
}

void
yk_control_step(struct yk_control *control, const struct yk_control_event *event)
{
    control->now_us = event->now_us;
    switch (event->kind) {
    case YK_CONTROL_FRAME:
        read_frame(control, event->frame.peer, event->frame.bytes);
        break;
    case YK_CONTROL_PEER:
        peer_changed(control, event->peer.peer, event->peer.is_up);
        break;
    case YK_CONTROL_WISHES:
        member_wishes(control, event->wishes);
        break;
    case YK_CONTROL_ANSWERED:
        managing_answered(control, event->answered.token, event->answered.answer);
        break;
    case YK_CONTROL_CHANGED:
        managing_changed(control, event->changed);
        break;
    case YK_CONTROL_SENDS:
        send_for_coordinator(control, event->sends.manager, event->sends.bytes);
        break;
    case YK_CONTROL_JOINED:
        joined(control, event->joined);
        break;
    case YK_CONTROL_TURN:
        member_turn(control);
        managing_turn(control);
        send_here(control);
        break;
    }
    read_letters(control);
    if (control->is_view_dirty && control->is_joined && control->cluster->n_nodes > 0) {
        make_view(control);
    }
}

int64_t
yk_control_next_turn(const struct yk_control *control)
{
    int64_t next_us = control->here_us;
    int64_t member_us = member_next_turn(control);
    int64_t managing_us = managing_next_turn(control);
    next_us = member_us < next_us ? member_us : next_us;
    return managing_us < next_us ? managing_us : next_us;
}

bool
yk_control_is_ready(const struct yk_control *control)
{
    return control->is_ready;
}

/* Life */

struct yk_control *
yk_control_new(const struct yk_control_setup *setup)
{
    uint32_t n_managers;
    struct yk_control *control = calloc(1, sizeof(*control));
    if (control == NULL) {
        return NULL;
    }
    YK_ASSERT(setup->nonce != 0 && setup->config->n_nodes > 0);
    control->setup = *setup;
    control->random.state = setup->seed;
    control->letters_end = &control->letters;
    control->is_manager = yk_control_manager(setup->config, &n_managers) != UINT32_MAX;
    control->is_server = (setup->config->node.roles & YK_ROLE_SERVER) != 0;
    control->is_joined = setup->cluster_id[0] != '\0';
    control->n_known = 1 + setup->config->n_buckets;
    control->n_questions = yk_random_next(&control->random) >> 16;
    control->n_tokens = control->n_questions;
    control->heard_us = calloc(YK_PEERS_MAX, sizeof(*control->heard_us));
    control->cluster = calloc(1, sizeof(*control->cluster));
    if (control->heard_us == NULL || control->cluster == NULL || !member_init(control) ||
        (control->is_manager && !managing_init(control))) {
        yk_control_free(control);
        return NULL;
    }
    control_meet(control);
    for (uint32_t i = 0; i < control->n_managers; i++) {
        if (control->managers[i] == YK_PEER_SELF) {
            control->home = i;
        }
    }
    if (!control->is_manager && control->n_managers > 0) {
        control->home = (uint32_t)yk_random_below(&control->random, control->n_managers);
    }
    control->manager = control->home;
    return control;
}

void
yk_control_free(struct yk_control *control)
{
    if (control == NULL) {
        return;
    }
    while (control->letters != NULL) {
        struct letter *letter = control->letters;
        control->letters = letter->next;
        yk_buffer_unref(letter->bytes);
        free(letter);
    }
    free_effects(control);
    managing_done(control);
    member_done(control);
    yk_view_unref(control->view);
    free(control->cluster);
    free(control->heard_us);
    free(control);
}
