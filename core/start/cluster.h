/* The node's place in its cluster, which for now is a cluster of one: at each start it takes all
 * its slots anew in the registers, so that no version (epoch, sequence) ever comes twice.
 *
 *     DATA/node: epoch + 1, incarnations     (yk_datadir_open)
 *     register `cluster`: made, or its id checked; this node's address and buckets
 *     register `bucket.NAME`, for each bucket: nonce, incarnations, a new epoch for each slot
 *
 * Each step is durable before the next, and all of them before anybody is answered. After a crash
 * in between the next start finds some registers and makes the others, above the epoch in
 * DATA/node, which no epoch in a register exceeds.
 *
 * Threads: the main thread's. Ownership: owns the coordinator and the epochs; the rest is lent. */
#ifndef YK_START_CLUSTER_H
#define YK_START_CLUSTER_H

#include "core/io/datadir.h"
#include "core/io/registers.h"

struct yk_cluster {
    const struct yk_world *world;
    const struct yk_config *config;
    struct yk_datadir *datadir;
    struct yk_registers *registers; /* own */
    bool is_restore;                /* every slot gets at least the epoch in DATA/node */
    uint32_t **epochs;              /* own; for each bucket of the config, for each slot */
};

/* On failure error (YK_ERROR_SIZE bytes) says why, and the cluster may still be ended. */
enum yk_err yk_cluster_start(struct yk_cluster *cluster, const struct yk_world *world,
                             const struct yk_config *config, struct yk_datadir *datadir,
                             bool is_restore, char *error) YK_MUST_CHECK;
/* Takes one that is all zeros. */
void yk_cluster_end(struct yk_cluster *cluster);

#endif
