/* Hello: the first message on a connection between nodes, and its answer. It says who calls, which
 * versions of the messages it speaks, and which of the node's threads it wants; the answer says the
 * same of the other side.
 *
 *     [0, msgid, "hello", [version_min, version_max, cluster id, node id, node name, address,
 *                          boot nonce, from worker, to worker, n_workers, n_lanes, auth,
 *                          node id that is meant]]
 *     [1, msgid, nil, [version, cluster id, node id, boot nonce, n_workers, n_lanes, auth methods]]
 *     [1, msgid, text, nil]
 *
 * Further elements at the end of either array are passed over, so that a later release may add
 * some. auth is nil, and the array of methods empty: the place of an exchange that is still to
 * come. The version of the connection is the smaller of the two version_max.
 *
 * Threads: pure. Ownership: plain values. */
#ifndef YK_WIRE_HELLO_H
#define YK_WIRE_HELLO_H

#include "core/wire/frame.h"
#include "core/wire/pack.h"

/* Versions of the messages that this release speaks. */
#define YK_RPC_VERSION_MIN 1u
#define YK_RPC_VERSION_MAX 1u

struct yk_hello {
    uint32_t msgid;
    uint32_t version_min, version_max;
    char cluster_id[YK_ID_SIZE];        /* "": not known yet */
    char node_id[YK_ID_SIZE];           /* of the caller; "": a tool */
    char name[YK_NAME_SIZE_MAX + 1];    /* of the node, or of the tool: [a-z0-9_-]+ */
    char address[YK_PEER_ADDRESS_SIZE]; /* where the caller is reached; "": nowhere */
    uint64_t nonce;                     /* of the caller's start */
    uint32_t from, to;                  /* worker numbers; YK_WORKER_CONTROL is one */
    uint32_t n_workers, n_lanes;        /* of the caller */
    char to_id[YK_ID_SIZE];             /* the node that is meant; "": whoever is there */
};

struct yk_welcome {
    uint32_t msgid;
    uint32_t version;
    char cluster_id[YK_ID_SIZE];
    char node_id[YK_ID_SIZE];
    uint64_t nonce;
    uint32_t n_workers, n_lanes;
    uint32_t n_auth_methods;   /* 0: none is needed */
    char error[YK_ERROR_SIZE]; /* "": welcome; else why not, and nothing above but msgid counts */
};

/* Lower-case hex with dashes, as the data folder has it. */
bool yk_id_is_valid(const char *id);

void yk_hello_encode(struct yk_pack *pack, const struct yk_hello *hello);
void yk_welcome_encode(struct yk_pack *pack, const struct yk_welcome *welcome);
/* ECORRUPT: it is none; *ret_wrong is a constant that says why. */
enum yk_err yk_hello_decode(struct yk_slice bytes, struct yk_hello *ret_hello,
                            const char **ret_wrong) YK_MUST_CHECK;
enum yk_err yk_welcome_decode(struct yk_slice bytes, struct yk_welcome *ret_welcome,
                              const char **ret_wrong) YK_MUST_CHECK;

/* What `own` answers to a hello; own is the hello that it would say itself. Whether it has the
 * worker is not looked at. */
void yk_hello_answer(const struct yk_hello *own, const struct yk_hello *hello,
                     struct yk_welcome *ret_welcome);
/* Whether the caller takes the answer; own is what it said. EDENIED: error (YK_ERROR_SIZE bytes)
 * says why not. */
enum yk_err yk_welcome_check(const struct yk_hello *own, const struct yk_welcome *welcome,
                             char *error) YK_MUST_CHECK;

#endif
