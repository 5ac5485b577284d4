/* The registers: what the nodes of a cluster agree on. They live in the coordinator and are changed
 * whole, by compare-and-swap, after the rules of core/manager.
 *
 * `cluster` says who belongs to it, and one register for each bucket says how the bucket is kept,
 * and by whom, slot by slot. Every rule is judged from the one register that it writes: so a node
 * stands in each bucket's register with the boot nonce and the incarnations that it registered
 * last.
 *
 * The form, in MessagePack, of format 1. (...) is an array of just these values:
 *
 *     cluster: ("cluster", format, cluster id, nodes, buckets, plan)
 *         cluster id  text, a UUID
 *         nodes       array of (uuid, name, address, zone: texts, weight, state: numbers)
 *         buckets     array of names, in no order
 *         plan        array, empty in this format
 *     bucket:  ("bucket", format, description, nodes, slots)
 *         description (copies, min_copies, durability, reads, engine, filters, memory_max, evict,
 *                     key_size_max, value_size_max): numbers, but engine: text, filters: array of
 *                     texts, outermost first
 *         nodes       array of (uuid: text, nonce: number, incarnations: array of a number for each
 *                     lane, number of workers, which may be missing: 0); elsewhere a node is
 *                     named by its index here
 *         slots       array with a value for each slot: nil for one that has not been created, else
 *                     (epoch, primary, nonce, members, eligible, targets, is lossy), and begins
 *                     where it is not 0
 *             nonce   of the primary when it took the epoch; nil: the one that stands in nodes
 *             members, eligible
 *                     arrays of a node's index, where the incarnation is the one that stands in
 *                     nodes for the lane of the slot; else of (index, incarnation)
 *             targets array of indexes
 *
 * A newer format is refused. With one node a slot takes 10 to 14 bytes.
 *
 * Threads: plain values. Ownership: a yk_bucket_register owns its arrays. */
#ifndef YK_RING_REGISTER_H
#define YK_RING_REGISTER_H

#include <yakumo/backend.h>

#include "core/base/limits.h"
#include "core/base/promises.h"
#include "core/wire/pack.h"

enum { YK_REGISTER_FORMAT = 1, YK_UUID_SIZE = 37, YK_NODE_ADDRESS_SIZE = 128 };

enum yk_node_state {
    YK_NODE_ATTACHED = 0,
    YK_NODE_DETACHING = 1, /* it is to get rid of what it holds */
    YK_NODE_NEW = 2,       /* a server that holds nothing until it is attached */
};

struct yk_cluster_node {
    char id[YK_UUID_SIZE];
    char name[YK_NAME_SIZE_MAX + 1];
    char address[YK_NODE_ADDRESS_SIZE]; /* where other nodes reach it */
    char zone[YK_NAME_SIZE_MAX + 1];    /* "": none */
    uint32_t weight;
    enum yk_node_state state;
};

struct yk_cluster_register {
    char id[YK_UUID_SIZE];
    uint32_t n_nodes, n_buckets;
    struct yk_cluster_node nodes[YK_NODES_MAX];
    char buckets[YK_BUCKETS_MAX][YK_NAME_SIZE_MAX + 1];
};

/* What the bucket's keys in the config file say. */
struct yk_bucket_description {
    uint32_t slots; /* a power of two; as many as the register has */
    uint32_t copies, min_copies;
    enum yk_durability durability;
    enum yk_reads reads;
    char engine[YK_NAME_SIZE_MAX + 1];
    uint32_t n_filters;
    char filters[YK_FILTERS_MAX][YK_NAME_SIZE_MAX + 1];
    uint64_t memory_max;   /* bytes; 0: no bound */
    uint32_t evict;        /* enum yk_evict */
    uint32_t key_size_max; /* bytes */
    uint64_t value_size_max;
};

/* A node as it registered last in this bucket. */
struct yk_register_node {
    char id[YK_UUID_SIZE];
    uint64_t nonce;     /* of its last start; never 0 */
    uint32_t n_workers; /* then; 0: not told */
    uint32_t n_lanes;
    uint32_t incarnations[YK_LANES_MAX];
};

struct yk_member {
    uint32_t node;        /* index into nodes */
    uint32_t incarnation; /* of its lane, when it became a member */
};

struct yk_slot_record {
    uint32_t epoch;   /* 0: not created, the rest means nothing */
    uint32_t primary; /* index into nodes; one of the members */
    uint64_t nonce;   /* the primary's, when it took this epoch */
    uint32_t n_members, n_eligible, n_targets;
    struct yk_member members[YK_MEMBERS_MAX];
    struct yk_member eligible[YK_MEMBERS_MAX]; /* were members, and may hold what no member does */
    uint8_t targets[YK_MEMBERS_MAX];           /* nodes that are to become members */
    bool is_lossy; /* something that was acknowledged may be lost: an operator said to go on */
    /* The epoch from which on its records count: REINIT has forgotten those of older ones, wherever
     * one may still be found. 0: all do. */
    uint32_t begins;
};

struct yk_bucket_register {
    struct yk_bucket_description description;
    uint32_t n_nodes;
    struct yk_register_node *nodes; /* own, room for YK_NODES_MAX */
    struct yk_slot_record *slots;   /* own, description.slots of them */
};

/* Appends the bytes to pack, whose bound should be YK_REGISTER_SIZE_MAX. On failure error
 * (YK_ERROR_SIZE bytes) says why. */
enum yk_err yk_cluster_register_encode(const struct yk_cluster_register *cluster,
                                       struct yk_pack *pack, char *error) YK_MUST_CHECK;
enum yk_err yk_bucket_register_encode(const struct yk_bucket_register *bucket, struct yk_pack *pack,
                                      char *error) YK_MUST_CHECK;

/* YK_ECORRUPT: these bytes are no such register; YK_EUNSUPPORTED: they have a newer format. error
 * says what is wrong. */
enum yk_err yk_cluster_register_decode(struct yk_slice bytes, struct yk_cluster_register *ret,
                                       char *error) YK_MUST_CHECK;
enum yk_err yk_bucket_register_decode(struct yk_slice bytes, struct yk_bucket_register *ret,
                                      char *error) YK_MUST_CHECK;

/* A register without nodes, none of its slots created. Refuses a description whose register could
 * grow beyond YK_REGISTER_SIZE_MAX. */
enum yk_err
yk_bucket_register_init(struct yk_bucket_register *bucket,
                        const struct yk_bucket_description *description, char *error) YK_MUST_CHECK;
void yk_bucket_register_done(struct yk_bucket_register *bucket);

/* Bytes of a register whose slots have as many members as the description has copies. */
uint64_t yk_bucket_register_size_max(const struct yk_bucket_description *description);

/* The node's index in the register; n_nodes: it is not there. */
uint32_t yk_bucket_register_find(const struct yk_bucket_register *bucket, const char *node_id);

/* What the node registered last for the lane that holds the slot. */
static inline uint32_t
yk_register_incarnation(const struct yk_register_node *node, uint32_t slot)
{
    return node->incarnations[slot % node->n_lanes];
}

#endif
