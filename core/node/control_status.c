/* What a tool asks: the cluster as this node sees it. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/node/control_inside.h"

static void
fill_nodes(const struct yk_control *control, struct yk_status *status)
{
    const struct yk_config *config = control->setup.config;
    for (uint32_t i = 0; i < control->cluster->n_nodes; i++) {
        const struct yk_cluster_node *from = &control->cluster->nodes[i];
        struct yk_status_node *node = &status->nodes[status->n_nodes++];
        snprintf(node->name, sizeof(node->name), "%s", from->name);
        snprintf(node->address, sizeof(node->address), "%.63s", from->address);
        memcpy(node->id, from->id, sizeof(node->id));
        node->is_up = control_is_up(control, control_peer_of(control, from->id));
        node->is_attached = from->state == YK_NODE_ATTACHED;
        node->is_detaching = from->state == YK_NODE_DETACHING;
    }
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        const struct yk_node_config *from = &config->nodes[i];
        uint32_t at = 0;
        while (at < status->n_nodes && strcmp(status->nodes[at].name, from->name) != 0) {
            at++;
        }
        struct yk_status_node *node = &status->nodes[at];
        if (at == status->n_nodes && at < YK_NODES_MAX) {
            bool is_self = strcmp(from->name, config->node.name) == 0;
            status->n_nodes++;
            snprintf(node->name, sizeof(node->name), "%s", from->name);
            snprintf(node->address, sizeof(node->address), "%.63s", from->address);
            node->is_up =
                is_self || control_is_up(control, control->setup.peer(control->setup.arg, "",
                                                                      from->name, from->address));
        }
        if (at < YK_NODES_MAX) {
            node->roles = from->roles;
        }
    }
}

/* A slot has a primary if the node that the register names is there, and by the start that took it:
 * nobody else acts as one. */
static bool
has_primary(const struct yk_bucket_register *bucket, const struct yk_slot_record *slot,
            const bool *is_up)
{
    return slot->epoch > 0 && slot->nonce == bucket->nodes[slot->primary].nonce &&
           is_up[slot->primary];
}

static void
count_slots(const struct yk_control *control, const struct yk_bucket_register *bucket,
            struct yk_status_bucket *to)
{
    bool is_up[YK_NODES_MAX];
    for (uint32_t i = 0; i < bucket->n_nodes; i++) {
        is_up[i] = control_is_up(control, control_peer_of(control, bucket->nodes[i].id));
    }
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        const struct yk_slot_record *slot = &bucket->slots[i];
        uint32_t n = slot->epoch > 0 ? slot->n_members : 0;
        to->n_full += n >= bucket->description.copies;
        to->n_below += n < bucket->description.copies;
        to->n_below_min += n < bucket->description.min_copies;
        to->n_headless += !has_primary(bucket, slot, is_up);
        to->n_lossy += slot->epoch > 0 && slot->is_lossy;
    }
}

static void
fill_buckets(const struct yk_control *control, struct yk_status *status)
{
    for (uint32_t i = 0; i + 1 < control->n_known; i++) {
        const struct yk_bucket_register *bucket = control_bucket(control, i);
        struct yk_status_bucket *to = &status->buckets[status->n_buckets++];
        snprintf(to->name, sizeof(to->name), "%s", control->setup.config->buckets[i].name);
        to->revision = control->known[i + 1].revision;
        to->is_fresh = control->known[i + 1].is_fresh;
        if (bucket->slots != NULL) {
            to->slots = bucket->description.slots;
            to->copies = bucket->description.copies;
            to->min_copies = bucket->description.min_copies;
            count_slots(control, bucket, to);
        }
    }
}

void
status_asked(struct yk_control *control, uint32_t peer, uint32_t msgid)
{
    struct yk_status *status = calloc(1, sizeof(*status));
    struct yk_pack pack;
    if (status == NULL) {
        return;
    }
    memcpy(status->cluster_id, control->cluster->id, sizeof(status->cluster_id));
    snprintf(status->cluster_name, sizeof(status->cluster_name), "%s",
             control->setup.config->cluster_name);
    snprintf(status->node, sizeof(status->node), "%s", control->setup.config->node.name);
    status->revision = control->known[0].revision;
    status->is_ready = control->is_ready;
    fill_nodes(control, status);
    fill_buckets(control, status);
    yk_pack_init(&pack, YK_CONTROL_SIZE_MAX);
    yk_status_encode(&pack, msgid, status);
    control_send(control, peer, &pack);
    free(status);
}
