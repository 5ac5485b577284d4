/* One node: its buckets and its workers, made from the config. From here on it is run by events.
 *
 * Pure, but for what plugins do when they are opened. Threads: making and freeing by one thread;
 * each worker then by its own. Ownership: owns buckets and workers; config, world and plugins are
 * lent. */
#ifndef YK_NODE_NODE_H
#define YK_NODE_NODE_H

#include "core/config/config.h"
#include "core/node/worker.h"

struct yk_node {
    struct yk_bucket **buckets;
    uint32_t n_buckets;
    struct yk_worker **workers;
    uint32_t n_workers;
    uint32_t jobs_max; /* that can be out at executors at once; 0: none are needed */
};

struct yk_node_setup {
    const struct yk_config *config;
    const struct yk_world *world;
    uint32_t n_workers;            /* at most the number of lanes is used */
    const uint32_t *const *epochs; /* of each bucket's slots; NULL: all have `epoch` */
    uint64_t epoch;                /* the greatest of all */
    /* Of the log, and of each worker, see worker.h; NULL: no bucket has a journal. */
    struct yk_journal_room *room;
    uint64_t *needed_from;
    /* One of several nodes: slots are had by the views, not from the start. */
    bool is_clustered;
    uint64_t nonce;                      /* of this start */
    const uint32_t *const *incarnations; /* of each bucket, for each lane */
    int64_t lease_us, grace_us;
    uint32_t mutant; /* for tests, see core/replica/replica.h */
    uint64_t seed;   /* for hash tables */
    const char *(*make_folder)(void *arg, const struct yk_backend_place *place, char *error);
    void *make_folder_arg;
    void (*facts)(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg);
    void *facts_arg;
};

/* What the stack of a bucket would be, without opening anything; error says why it cannot be. */
enum yk_err
yk_node_ask(const struct yk_config *config, const struct yk_world *world, uint32_t bucket_index,
            struct yk_backend_info *ret_info, char *error) YK_MUST_CHECK;

/* How a lane's stack of the bucket is opened; its lane, seed and make_folder are still to be set.
 */
struct yk_stack_config yk_node_stack(const struct yk_config *config, const struct yk_world *world,
                                     uint32_t bucket_index, const struct yk_budget *budget);

/* On failure error (YK_ERROR_SIZE bytes) says why. */
enum yk_err yk_node_new(const struct yk_node_setup *config, struct yk_node **ret_node,
                        char *error) YK_MUST_CHECK;
struct yk_lane *yk_node_lane(struct yk_node *node, uint32_t bucket_index, uint32_t lane);
/* Every worker must be idle. Takes NULL. */
void yk_node_free(struct yk_node *node);

#endif
