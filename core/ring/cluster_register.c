/* The form of the register `cluster`. */
#include <config.h>

#include "core/ring/register_form.h"

static const char kind[] = "cluster";

enum yk_err
yk_cluster_register_encode(const struct yk_cluster_register *cluster, struct yk_pack *pack,
                           char *error)
{
    yk_pack_array(pack, 6);
    yk_pack_text(pack, kind);
    yk_pack_uint(pack, YK_REGISTER_FORMAT);
    yk_pack_text(pack, cluster->id);
    yk_pack_array(pack, cluster->n_nodes);
    for (uint32_t i = 0; i < cluster->n_nodes; i++) {
        const struct yk_cluster_node *node = &cluster->nodes[i];
        yk_pack_array(pack, 6);
        yk_pack_text(pack, node->id);
        yk_pack_text(pack, node->name);
        yk_pack_text(pack, node->address);
        yk_pack_text(pack, node->zone);
        yk_pack_uint(pack, node->weight);
        yk_pack_uint(pack, node->state);
    }
    yk_pack_array(pack, cluster->n_buckets);
    for (uint32_t i = 0; i < cluster->n_buckets; i++) {
        yk_pack_text(pack, cluster->buckets[i]);
    }
    yk_pack_array(pack, 0);
    return yk_register_written(pack, kind, error);
}

static void
read_node(struct yk_unpack *unpack, struct yk_cluster_register *cluster, uint32_t index)
{
    struct yk_cluster_node *node = &cluster->nodes[index];
    (void)yk_unpack_array(unpack);
    yk_register_uuid(unpack, node->id);
    yk_register_name(unpack, node->name);
    yk_register_text(unpack, node->address, sizeof(node->address));
    yk_register_text(unpack, node->zone, sizeof(node->zone));
    node->weight = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    node->state = (enum yk_node_state)yk_unpack_uint(unpack, YK_NODE_NEW);
    yk_unpack_leave(unpack);
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(cluster->nodes[i].id, node->id) == 0) {
            yk_unpack_fail(unpack, "a node stands there twice");
        }
    }
}

static void
read_bucket(struct yk_unpack *unpack, struct yk_cluster_register *cluster, uint32_t index)
{
    yk_register_name(unpack, cluster->buckets[index]);
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(cluster->buckets[i], cluster->buckets[index]) == 0) {
            yk_unpack_fail(unpack, "a bucket stands there twice");
        }
    }
}

enum yk_err
yk_cluster_register_decode(struct yk_slice bytes, struct yk_cluster_register *ret, char *error)
{
    struct yk_unpack unpack;
    bool is_newer;
    *ret = (struct yk_cluster_register){.n_nodes = 0};
    yk_unpack_init(&unpack, bytes);
    if (yk_register_head(&unpack, kind, &is_newer)) {
        yk_register_uuid(&unpack, ret->id);
        ret->n_nodes = yk_register_count(&unpack, YK_NODES_MAX);
        for (uint32_t i = 0; i < ret->n_nodes && unpack.wrong == NULL; i++) {
            read_node(&unpack, ret, i);
        }
        yk_unpack_leave(&unpack);
        ret->n_buckets = yk_register_count(&unpack, YK_BUCKETS_MAX);
        for (uint32_t i = 0; i < ret->n_buckets && unpack.wrong == NULL; i++) {
            read_bucket(&unpack, ret, i);
        }
        yk_unpack_leave(&unpack);
        (void)yk_register_count(&unpack, 0);
        yk_unpack_leave(&unpack);
    }
    return yk_register_end(&unpack, kind, is_newer, error);
}
