/* The start of a cluster of one, register by register. */
#include <config.h>

#include "core/start/cluster.h"

#include <stdio.h>

#include <glib.h>

#include "core/manager/alone.h"
#include "core/manager/describe.h"

/* A register cannot be what it says: which one, and why. */
static enum yk_err
refuse(const struct yk_cluster *cluster, enum yk_err result, const char *name, const char *reason,
       char *error)
{
    snprintf(error, YK_ERROR_SIZE, "data folder %.150s: register %.80s: %.250s",
             cluster->datadir->path, name, reason);
    return result;
}

/* cluster */

/* Writes what the config says of this node over its entry. */
static bool
fill_node(const struct yk_cluster *cluster, struct yk_cluster_node *node)
{
    const struct yk_node_config *config = &cluster->config->node;
    node->weight = config->weight;
    return g_strlcpy(node->name, config->name, sizeof(node->name)) < sizeof(node->name) &&
           g_strlcpy(node->address, config->address, sizeof(node->address)) <
               sizeof(node->address) &&
           g_strlcpy(node->zone, config->zone, sizeof(node->zone)) < sizeof(node->zone);
}

static bool
add_buckets(const struct yk_cluster *cluster, struct yk_cluster_register *reg)
{
    for (uint32_t i = 0; i < cluster->config->n_buckets; i++) {
        const char *name = cluster->config->buckets[i].name;
        uint32_t index = 0;
        while (index < reg->n_buckets && strcmp(reg->buckets[index], name) != 0) {
            index++;
        }
        if (index == YK_BUCKETS_MAX) {
            return false;
        }
        if (index == reg->n_buckets) {
            g_strlcpy(reg->buckets[reg->n_buckets++], name, sizeof(reg->buckets[0]));
        }
    }
    return true;
}

/* Makes of the register what it has to be; reason says why it cannot. */
static enum yk_err
take_cluster(const struct yk_cluster *cluster, struct yk_cluster_register *reg, bool is_new,
             char *reason)
{
    const struct yk_datadir *datadir = cluster->datadir;
    if (is_new) {
        memcpy(reg->id, datadir->cluster_id, sizeof(reg->id));
        memcpy(reg->nodes[0].id, datadir->node_id, sizeof(reg->nodes[0].id));
        reg->n_nodes = 1;
    }
    if (strcmp(reg->id, datadir->cluster_id) != 0) {
        snprintf(reason, YK_ERROR_SIZE,
                 "it is of cluster %s, and the folder belongs to cluster %s: one of the two is "
                 "another cluster's",
                 reg->id, datadir->cluster_id);
        return YK_EINVALID;
    }
    uint32_t index = 0;
    while (index < reg->n_nodes && strcmp(reg->nodes[index].id, datadir->node_id) != 0) {
        index++;
    }
    if (index == reg->n_nodes || reg->n_nodes > 1) {
        snprintf(reason, YK_ERROR_SIZE,
                 "it has %u nodes, and this version serves a cluster of this one node (%s) only",
                 reg->n_nodes, datadir->node_id);
        return YK_EUNSUPPORTED;
    }
    if (!fill_node(cluster, &reg->nodes[index]) || !add_buckets(cluster, reg)) {
        snprintf(reason, YK_ERROR_SIZE,
                 "the node's name, address or zone is too long for it, or there have been more "
                 "than %d buckets",
                 YK_BUCKETS_MAX);
        return YK_ETOOLARGE;
    }
    return YK_OK;
}

static enum yk_err
start_cluster(struct yk_cluster *cluster, char *error)
{
    static const char name[] = "cluster";
    g_autofree struct yk_cluster_register *reg = g_new0(struct yk_cluster_register, 1);
    g_autofree void *bytes = NULL;
    char reason[YK_ERROR_SIZE];
    struct yk_pack pack;
    size_t size = 0;
    uint64_t revision;
    enum yk_err result =
        yk_registers_read(cluster->registers, name, &bytes, &size, &revision, error);
    if (result != YK_OK) {
        return result;
    }
    if (revision > 0) {
        result = yk_cluster_register_decode(yk_slice_of(bytes, size), reg, reason);
    }
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    if (result == YK_OK) {
        result = take_cluster(cluster, reg, revision == 0, reason);
    }
    if (result == YK_OK) {
        result = yk_cluster_register_encode(reg, &pack, reason);
    }
    if (result != YK_OK) {
        result = refuse(cluster, result, name, reason, error);
    } else if (!yk_slice_equal(yk_pack_bytes_of(&pack), yk_slice_of(bytes, size))) {
        result =
            yk_registers_write(cluster->registers, name, yk_pack_bytes_of(&pack), revision, error);
    }
    yk_pack_done(&pack);
    return result;
}

/* Buckets */

static void
log_bucket(const struct yk_cluster *cluster, const char *name, const struct yk_alone_result *came)
{
    yk_log(cluster->world, YK_LOG_INFO, "cluster",
           "bucket %s: created=%u bumped=%u begun_anew=%u lossy=%u epoch=%u", name, came->n_created,
           came->n_bumped, came->n_begun_anew, came->n_lossy, came->epoch);
    if (came->n_lossy > 0) {
        yk_log(cluster->world, YK_LOG_WARNING, "cluster",
               "bucket %s: the machine was restarted and the node had not been stopped (durability "
               "= os), or an operator accepted a loss: the last writes of %u slots may be lost",
               name, came->n_lossy);
    }
}

/* Takes the slots in a register that was read, and writes it. */
static enum yk_err
take_bucket(struct yk_cluster *cluster, uint32_t index, const char *name,
            struct yk_bucket_register *bucket, uint64_t revision, char *error)
{
    struct yk_datadir *datadir = cluster->datadir;
    struct yk_bucket_description description;
    struct yk_alone alone = {.node = datadir->node_id,
                             .nonce = datadir->nonce,
                             .incarnations = datadir->incarnations[index],
                             .n_lanes = datadir->lanes,
                             .epoch_min = (uint32_t)datadir->epoch,
                             .is_restore = cluster->is_restore,
                             .description = &description};
    struct yk_alone_result came;
    struct yk_pack pack;
    char reason[YK_ERROR_SIZE];
    yk_bucket_describe(&cluster->config->buckets[index], &description);
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    enum yk_err result = yk_manager_start_alone(bucket, &alone, &came, reason);
    if (result == YK_OK) {
        result = yk_bucket_register_encode(bucket, &pack, reason);
    }
    if (result != YK_OK) {
        result = refuse(cluster, result, name, reason, error);
    }
    if (result == YK_OK) {
        result = yk_datadir_raise_epoch(datadir, came.epoch, error);
    }
    if (result == YK_OK) {
        result =
            yk_registers_write(cluster->registers, name, yk_pack_bytes_of(&pack), revision, error);
    }
    if (result == YK_OK) {
        log_bucket(cluster, cluster->config->buckets[index].name, &came);
    }
    yk_pack_done(&pack);
    return result;
}

static enum yk_err
start_bucket(struct yk_cluster *cluster, uint32_t index, char *error)
{
    const struct yk_bucket_config *config = &cluster->config->buckets[index];
    g_autofree char *name = g_strdup_printf("bucket.%s", config->name);
    g_autofree void *bytes = NULL;
    struct yk_bucket_register bucket = {.n_nodes = 0};
    char reason[YK_ERROR_SIZE];
    size_t size = 0;
    uint64_t revision;
    enum yk_err result =
        yk_registers_read(cluster->registers, name, &bytes, &size, &revision, error);
    if (result == YK_OK && revision > 0) {
        result = yk_bucket_register_decode(yk_slice_of(bytes, size), &bucket, reason);
        if (result != YK_OK) {
            return refuse(cluster, result, name, reason, error);
        }
    }
    if (result == YK_OK) {
        result = take_bucket(cluster, index, name, &bucket, revision, error);
    }
    if (result == YK_OK) {
        cluster->epochs[index] = g_new(uint32_t, config->slots);
        for (uint32_t i = 0; i < config->slots; i++) {
            cluster->epochs[index][i] = bucket.slots[i].epoch;
        }
    }
    yk_bucket_register_done(&bucket);
    return result;
}

enum yk_err
yk_cluster_start(struct yk_cluster *cluster, const struct yk_world *world,
                 const struct yk_config *config, struct yk_datadir *datadir, bool is_restore,
                 char *error)
{
    *cluster = (struct yk_cluster){
        .world = world, .config = config, .datadir = datadir, .is_restore = is_restore};
    cluster->epochs = g_new0(uint32_t *, config->n_buckets);
    enum yk_err result = yk_registers_open(world, config->coordinator, datadir->path, NULL,
                                           &cluster->registers, error);
    if (result == YK_OK) {
        result = start_cluster(cluster, error);
    }
    for (uint32_t i = 0; result == YK_OK && i < config->n_buckets; i++) {
        result = start_bucket(cluster, i, error);
    }
    return result;
}

void
yk_cluster_end(struct yk_cluster *cluster)
{
    for (uint32_t i = 0; cluster->epochs != NULL && i < cluster->config->n_buckets; i++) {
        g_free(cluster->epochs[i]);
    }
    g_free(cluster->epochs);
    yk_registers_close(cluster->registers);
    *cluster = (struct yk_cluster){.registers = NULL};
}
