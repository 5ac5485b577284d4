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

static struct yk_stack_config
stack_config(const struct yk_node_setup *config, const struct yk_bucket *bucket)
{
    const struct yk_bucket_config *from = &config->config->buckets[bucket->index];
    return (struct yk_stack_config){.world = config->world,
                                    .backend = from->backend,
                                    .filters = from->filters,
                                    .n_filters = from->n_filters,
                                    .place = {.struct_size = sizeof(struct yk_backend_place),
                                              .n_lanes = bucket->ring.n_lanes,
                                              .n_slots = 1u << bucket->ring.slot_bits,
                                              .bucket = bucket->name,
                                              .budget = &bucket->budget.budget,
                                              .seed = config->seed,
                                              .may_evict = from->evict != YK_EVICT_NONE},
                                    .make_folder = config->make_folder,
                                    .arg = config->make_folder_arg,
                                    .value_size_max = bucket->value_size_max,
                                    .key_size_max = bucket->key_size_max};
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
    struct yk_stack_config stack = stack_config(config, bucket);
    enum yk_err result = yk_stack_ask(&stack, &info, error);
    if (result != YK_OK) {
        return result;
    }
    bucket->keeps_answers = (info.caps & (YK_BACKEND_BLOCKS | YK_BACKEND_ASYNC)) != 0;
    bucket->pins_ops = bucket->keeps_answers || (info.caps & YK_BACKEND_SEGMENTS) == 0;
    node->has_blocking = node->has_blocking || bucket->keeps_answers;
    return YK_OK;
}

static enum yk_err
make_lanes(struct yk_node *node, const struct yk_node_setup *config, const struct yk_bucket *bucket,
           char *error)
{
    for (uint32_t lane = 0; lane < bucket->ring.n_lanes; lane++) {
        struct yk_stack_config of_stack = stack_config(config, bucket);
        struct yk_stack *stack;
        of_stack.place.lane = lane;
        enum yk_err result = yk_stack_open(&of_stack, &stack, error);
        if (result != YK_OK) {
            return result;
        }
        struct yk_worker *worker = node->workers[yk_ring_worker(&bucket->ring, lane)];
        result = yk_worker_add_lane(worker, bucket->index, lane, stack, config->epoch);
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
        enum yk_err result = yk_frontend_open(config->world, from->settings, from->request_filters,
                                              from->n_request_filters,
                                              node->buckets[from->bucket_index], &frontend, error);
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
        struct yk_worker_config worker = {.world = config->world,
                                          .worker = i,
                                          .n_workers = node->n_workers,
                                          .buckets = node->buckets,
                                          .n_buckets = node->n_buckets,
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
