/* The nodes that this process knows, by an index that stays theirs while it lives; and what its
 * threads share for talking to them: the facts of its own hello, the boxes of handover.h, the
 * counts of connections that came in.
 *
 * A node is known by its id. One of which only name and address are known (from a config) has an
 * index too, and its id is learned from the first hello of that name, or from the answer to ours.
 * Nobody proves yet who he is, so a node must not listen where strangers reach it (allow_remote).
 *
 * A tool is no node: its connection gets an index of its own for as long as it lives, with
 * YK_PEER_TOOL set, by which it can be answered there.
 *
 * Threads: any; one lock, never on the way of a frame. Ownership: owns all. */
#ifndef YK_IO_PEERS_H
#define YK_IO_PEERS_H

#include "core/io/handover.h"
#include "core/ring/view.h"

#define YK_PEER_TOOL 0x80000000u /* set in the index of a tool's connection */

struct yk_peers;

struct yk_peer_info {
    char node_id[YK_ID_SIZE]; /* "": not known yet */
    char name[YK_NAME_SIZE_MAX + 1];
    char address[YK_PEER_ADDRESS_SIZE]; /* "": not known */
    uint64_t nonce;                     /* boot nonce, as told last; 0: not yet */
    uint32_t n_workers, n_lanes;        /* likewise */
    uint32_t version;                   /* of the messages, as agreed last; 0: not yet */
};

/* own: what this node says of itself, in a hello; versions, msgid, from, to and to_id are ignored.
 * NULL: no memory. */
struct yk_peers *yk_peers_new(const struct yk_hello *own);
void yk_peers_free(struct yk_peers *peers); /* takes NULL */

/* Finds the node by its id, or by its name where one of the two ids is not known ("" or NULL), or
 * adds it; its address and name are as told last. YK_PEER_NONE: YK_PEERS_MAX are known, or the
 * address is none that can be connected to. */
uint32_t
yk_peers_put(struct yk_peers *peers, const char *node_id, const char *name, const char *address);
uint32_t yk_peers_find(struct yk_peers *peers, const char *node_id); /* or YK_PEER_NONE */
uint32_t yk_peers_count(struct yk_peers *peers); /* indexes below it are known */
void yk_peers_get(struct yk_peers *peers, uint32_t index, struct yk_peer_info *ret_info);
/* The cluster has become known: hellos name it from now on. */
void yk_peers_set_cluster(struct yk_peers *peers, const char *cluster_id);

/* For links. */

/* What this node says in its next hello. */
void yk_peers_own(struct yk_peers *peers, struct yk_hello *ret_hello);
/* A hello is to be answered so: who is it? Of a tool, a new index. EDENIED: error (YK_ERROR_SIZE
 * bytes) says why it cannot be known. */
enum yk_err
yk_peers_greeted(struct yk_peers *peers, const struct yk_hello *hello,
                 const struct yk_welcome *welcome, uint32_t *ret_index, char *error) YK_MUST_CHECK;
/* The node of that index has answered our hello. EDENIED likewise. */
enum yk_err yk_peers_welcomed(struct yk_peers *peers, uint32_t index,
                              const struct yk_welcome *welcome, char *error) YK_MUST_CHECK;
struct yk_handover *yk_peers_handover(struct yk_peers *peers);

/* Bounded counts over all threads. */
enum yk_guest_count {
    YK_GUEST_ALL,      /* connections that came in: YK_GUESTS_MAX */
    YK_GUEST_GREETING, /* of these, without a hello yet: YK_GREETINGS_MAX */
    YK_GUEST_TOOL,     /* of tools: YK_TOOLS_MAX */
    YK_N_GUEST_COUNTS,
};
bool yk_peers_admit(struct yk_peers *peers, enum yk_guest_count what) YK_MUST_CHECK;
void yk_peers_release(struct yk_peers *peers, enum yk_guest_count what);

#endif
