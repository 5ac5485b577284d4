/* Making a node. */
#include <config.h>

#include "core/node/node.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t
log2_of(uint32_t number)
{
    return 31u - (uint32_t)__builtin_clz(number);
}

struct yk_stack_config
yk_node_stack(const struct yk_config *config, const struct yk_world *world, uint32_t index,
              const struct yk_budget *budget)
{
    const struct yk_bucket_config *from = &config->buckets[index];
    return (struct yk_stack_config){.world = world,
                                    .backend = from->backend,
                                    .filters = from->filters,
                                    .n_filters = from->n_filters,
                                    .place = {.struct_size = sizeof(struct yk_backend_place),
                                              .n_lanes = config->node.lanes,
                                              .n_slots = from->slots,
                                              .bucket = from->name,
                                              .budget = budget,
                                              .may_evict = from->evict != YK_EVICT_NONE,
                                              .durability = from->durability},
                                    .value_size_max = from->value_size_max,
                                    .key_size_max = from->key_size_max};
}

enum yk_err
yk_node_ask(const struct yk_config *config, const struct yk_world *world, uint32_t bucket_index,
            struct yk_backend_info *ret_info, char *error)
{
    struct yk_shared_budget budget;
    yk_budget_init(&budget, config->buckets[bucket_index].memory_max);
    struct yk_stack_config stack = yk_node_stack(config, world, bucket_index, &budget.budget);
    return yk_stack_ask(&stack, ret_info, error);
}

/* Where there is no journal the engine's files are all there is. */
static void
warn_of_losses(const struct yk_node_setup *config, const struct yk_bucket_config *bucket,
               const struct yk_backend_info *info)
{
    if (bucket->durability == YK_DURABILITY_MEMORY && (info->caps & YK_BACKEND_VOLATILE) == 0 &&
        (info->caps & YK_BACKEND_SURVIVES_KILL) == 0) {
        yk_log(
            config->world, YK_LOG_WARNING, "store",
            "bucket %s: durability = memory, and the files of %s do not survive a kill -9 of this "
            "process; the bucket may lose its records then",
            bucket->name, bucket->backend->plugin->name);
    }
}

static enum yk_err
make_bucket(struct yk_node *node, const struct yk_node_setup *config, uint32_t index, char *error)
{
    const struct yk_bucket_config *from = &config->config->buckets[index];
    struct yk_backend_info info;
    struct yk_bucket *bucket = calloc(1, sizeof(*bucket));
    if (bucket == NULL) {
        return YK_ENOMEM;
    }
    node->buckets[node->n_buckets++] = bucket;
    snprintf(bucket->name, sizeof(bucket->name), "%s", from->name);
    bucket->index = index;
    bucket->ring =
        (struct yk_ring){log2_of(from->slots), config->config->node.lanes, node->n_workers};
    bucket->key_size_max = from->key_size_max;
    bucket->value_size_max = from->value_size_max;
    yk_budget_init(&bucket->budget, from->memory_max);
    bucket->memory_min =
        from->evict == YK_EVICT_NONE
            ? 0
            : yk_stack_memory_min(bucket->ring.n_lanes, from->key_size_max, from->value_size_max);
    enum yk_err result = yk_node_ask(config->config, config->world, index, &info, error);
    if (result != YK_OK) {
        return result;
    }
    uint32_t lane_jobs = yk_lane_jobs_max(&info);
    bucket->is_clustered = config->is_clustered;
    bucket->keeps_answers = lane_jobs > 0 || bucket->is_clustered;
    bucket->is_direct = !bucket->is_clustered && yk_lane_may_be_direct(&info);
    node->jobs_max += lane_jobs * bucket->ring.n_lanes;
    warn_of_losses(config, from, &info);
    bucket->pins_ops = bucket->keeps_answers || (info.caps & YK_BACKEND_SEGMENTS) == 0;
    return YK_OK;
}

static void
fill_cluster(const struct yk_node_setup *config, uint32_t bucket_index, struct yk_lane_config *lane)
{
    lane->is_clustered = true;
    lane->acks = config->config->buckets[bucket_index].acks;
    lane->nonce = config->nonce;
    lane->incarnation = config->incarnations[bucket_index][lane->lane];
    lane->lease_us = config->lease_us;
    lane->grace_us = config->grace_us;
    lane->mutant = config->mutant;
}

static enum yk_err
make_lanes(struct yk_node *node, const struct yk_node_setup *config, const struct yk_bucket *bucket,
           char *error)
{
    uint32_t n_shut = 0;
    for (uint32_t lane = 0; lane < bucket->ring.n_lanes; lane++) {
        struct yk_stack_config of_stack =
            yk_node_stack(config->config, config->world, bucket->index, &bucket->budget.budget);
        struct yk_stack *stack;
        of_stack.make_folder = config->make_folder;
        of_stack.arg = config->make_folder_arg;
        of_stack.place.seed = config->seed;
        of_stack.place.lane = lane;
        enum yk_err result = yk_stack_open(&of_stack, &stack, error);
        if (result == YK_ECORRUPT && ++n_shut < bucket->ring.n_lanes) {
            yk_log(config->world, YK_LOG_ERROR, "store",
                   "%s; this part of the keys is refused, the others are served", error);
        } else if (result == YK_ECORRUPT) {
            yk_stack_close(stack);
            return result;
        } else if (result != YK_OK) {
            return result;
        }
        struct yk_worker *worker = node->workers[yk_ring_worker(&bucket->ring, lane)];
        struct yk_lane_config of_lane = {
            .stack = stack,
            .lane = lane,
            .bucket_index = bucket->index,
            .epochs = config->epochs != NULL ? config->epochs[bucket->index] : NULL,
            .epoch = config->epoch,
            .is_shut = result == YK_ECORRUPT,
            .durability = of_stack.place.durability};
        if (config->is_clustered) {
            fill_cluster(config, bucket->index, &of_lane);
        }
        result = yk_worker_add_lane(worker, &of_lane);
        if (result != YK_OK) {
            return result;
        }
    }
    return YK_OK;
}

static enum yk_err
make_frontends(struct yk_node *node, const struct yk_node_setup *config, struct yk_worker *worker,
               char *error)
{
    for (uint32_t i = 0; i < config->config->n_frontends; i++) {
        const struct yk_frontend_config *from = &config->config->frontends[i];
        struct yk_frontend *frontend;
        enum yk_err result =
            yk_frontend_open(config->world, from->settings, from->request_filters,
                             from->n_request_filters, node->buckets[from->bucket_index],
                             yk_slice_of_text(from->key_prefix), &frontend, error);
        if (result != YK_OK) {
            return result;
        }
        yk_worker_add_frontend(worker, frontend);
    }
    return YK_OK;
}

static enum yk_err
make_workers(struct yk_node *node, const struct yk_node_setup *config, char *error)
{
    for (uint32_t i = 0; i < node->n_workers; i++) {
        struct yk_worker_config worker = {
            .world = config->world,
            .worker = i,
            .n_workers = node->n_workers,
            .buckets = node->buckets,
            .n_buckets = node->n_buckets,
            .room = config->room,
            .needed_from = config->room != NULL ? &config->needed_from[i] : NULL,
            .gateway_cache = config->config->node.gateway_cache / node->n_workers,
            .facts = config->facts,
            .facts_arg = config->facts_arg};
        enum yk_err result = yk_worker_new(&worker, &node->workers[i]);
        if (result == YK_OK) {
            result = make_frontends(node, config, node->workers[i], error);
        }
        if (result != YK_OK) {
            return result;
        }
    }
    return YK_OK;
}

static enum yk_err
make_all(struct yk_node *node, const struct yk_node_setup *config, char *error)
{
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; result == YK_OK && i < config->config->n_buckets; i++) {
        result = make_bucket(node, config, i, error);
    }
    if (result == YK_OK) {
        result = make_workers(node, config, error);
    }
    for (uint32_t i = 0; result == YK_OK && i < node->n_buckets; i++) {
        result = make_lanes(node, config, node->buckets[i], error);
    }
    return result;
}

enum yk_err
yk_node_new(const struct yk_node_setup *config, struct yk_node **ret_node, char *error)
{
    struct yk_node *node = calloc(1, sizeof(*node));
    snprintf(error, YK_ERROR_SIZE, "out of memory");
    if (node == NULL) {
        return YK_ENOMEM;
    }
    uint32_t n_lanes = config->config->node.lanes;
    node->n_workers = config->n_workers < n_lanes ? config->n_workers : n_lanes;
    node->buckets = calloc(config->config->n_buckets + 1u, sizeof(struct yk_bucket *));
    node->workers = calloc(node->n_workers, sizeof(struct yk_worker *));
    if (node->buckets == NULL || node->workers == NULL) {
        yk_node_free(node);
        return YK_ENOMEM;
    }
    enum yk_err result = make_all(node, config, error);
    if (result != YK_OK) {
        yk_node_free(node);
        return result;
    }
    *ret_node = node;
    return YK_OK;
}

struct yk_lane *
yk_node_lane(struct yk_node *node, uint32_t bucket_index, uint32_t lane)
{
    const struct yk_ring *ring = &node->buckets[bucket_index]->ring;
    return yk_worker_lane(node->workers[yk_ring_worker(ring, lane)], bucket_index, lane);
}

void
yk_node_free(struct yk_node *node)
{
    if (node == NULL) {
        return;
    }
    for (uint32_t i = 0; node->workers != NULL && i < node->n_workers; i++) {
        yk_worker_free(node->workers[i]);
    }
    for (uint32_t i = 0; node->buckets != NULL && i < node->n_buckets; i++) {
        free(node->buckets[i]);
    }
    free(node->workers);
    free(node->buckets);
    free(node);
}
