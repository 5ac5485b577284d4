/* The messages between control threads, and of tools: see messages.def. Encoders append one whole
 * frame; decoders take what stands behind the method.
 *
 * Threads: pure. Ownership: what a decoder gives points into the bytes, but for arrays that it
 * says are the caller's. */
#ifndef YK_WIRE_MESSAGES_H
#define YK_WIRE_MESSAGES_H

#include "core/wire/frame.h"
#include "core/wire/pack.h"

enum yk_message {
#define YK_MESSAGE(name, method) YK_MESSAGE_##name,
#include "core/wire/messages.def"
#undef YK_MESSAGE
    YK_N_MESSAGES,
};

/* A slot, and what is asked of it, or refused. */
struct yk_ask_wish {
    uint32_t slot, kind, epoch, node, incarnation;
};

/* What a node says of its start. */
struct yk_ask_start {
    char name[YK_NAME_SIZE_MAX + 1];
    char address[YK_PEER_ADDRESS_SIZE];
    char zone[YK_NAME_SIZE_MAX + 1];
    uint32_t weight, n_workers;
    uint64_t replaces; /* the nonce that the register has of this node; 0: none */
    uint32_t n_lanes;
    uint32_t incarnations[YK_LANES_MAX];
};

struct yk_ask {
    uint64_t question;
    char name[YK_REGISTER_NAME_SIZE];
    uint64_t revision;
    bool is_fresh;
    char node_id[YK_ID_SIZE];
    uint64_t nonce;
    bool has_start;
    struct yk_ask_start start;
    uint32_t n_wishes;
    struct yk_ask_wish *wishes; /* of one that was decoded: the caller's, free() */
};

enum yk_answer_result {
    YK_ANSWER_HOLDS = 0,
    YK_ANSWER_LATER = 1,
    YK_ANSWER_UNKNOWN = 2,
    YK_ANSWER_REFUSED = 3,
};

struct yk_answer {
    uint64_t question;
    char name[YK_REGISTER_NAME_SIZE];
    enum yk_answer_result result;
    uint64_t revision;
    struct yk_slice bytes; /* data NULL: none */
    uint32_t n_refused;
    struct yk_ask_wish *refused; /* slot, kind, epoch; likewise */
    char text[YK_ERROR_SIZE];
};

struct yk_changed {
    char name[YK_REGISTER_NAME_SIZE];
    uint64_t revision;
    struct yk_slice bytes;
};

/* A node's answer to a tool. */
struct yk_status_node {
    char name[YK_NAME_SIZE_MAX + 1], id[YK_ID_SIZE], address[YK_PEER_ADDRESS_SIZE];
    uint32_t
        roles; /* as the file of the node that answers has them; 0: it does not name the node */
    bool is_up;
    bool is_attached, is_detaching; /* neither: it holds nothing until it is attached */
};

struct yk_status_bucket {
    char name[YK_NAME_SIZE_MAX + 1];
    uint64_t revision; /* 0: there is no such register, or it is not known here */
    bool is_fresh;     /* read after this node's start */
    uint32_t slots, copies, min_copies;
    /* Slots with all copies, with fewer than copies, of these with fewer than min_copies, without a
     * primary that is there, lossy. */
    uint32_t n_full, n_below, n_below_min, n_headless, n_lossy;
};

struct yk_status {
    char cluster_id[YK_ID_SIZE]; /* "": there is no cluster yet, or it is not known here */
    char cluster_name[YK_NAME_SIZE_MAX + 1], node[YK_NAME_SIZE_MAX + 1];
    uint64_t revision; /* of the register `cluster` */
    bool is_ready;     /* the node's view is fresh */
    uint32_t n_nodes, n_buckets;
    struct yk_status_node nodes[YK_NODES_MAX];
    struct yk_status_bucket buckets[YK_BUCKETS_MAX];
};

/* The frame's kind, method and id; YK_N_MESSAGES: a method that is not known, or no such frame.
 * unpack is left before the params, and the frame's end is still to be checked. */
enum yk_message yk_message_head(struct yk_unpack *unpack, struct yk_slice frame,
                                enum yk_frame_kind *ret_kind, uint32_t *ret_msgid);

void yk_ask_encode(struct yk_pack *pack, const struct yk_ask *ask);
void yk_answer_encode(struct yk_pack *pack, const struct yk_answer *answer);
void yk_changed_encode(struct yk_pack *pack, const struct yk_changed *changed);
void yk_coordinator_encode(struct yk_pack *pack, struct yk_slice bytes);
void yk_here_encode(struct yk_pack *pack);
/* To a tool: the result of its request, or why there is none. */
void yk_status_encode(struct yk_pack *pack, uint32_t msgid, const struct yk_status *status);
void yk_created_encode(struct yk_pack *pack, uint32_t msgid, uint32_t state, const char *text);
/* Of a tool. */
void yk_request_encode(struct yk_pack *pack, uint32_t msgid, enum yk_message message, bool is_now);

/* Each takes the params and the frame's end. ECORRUPT: unpack->wrong says why; ENOMEM. */
enum yk_err yk_ask_decode(struct yk_unpack *unpack, struct yk_ask *ret_ask) YK_MUST_CHECK;
enum yk_err yk_answer_decode(struct yk_unpack *unpack, struct yk_answer *ret_answer) YK_MUST_CHECK;
enum yk_err
yk_changed_decode(struct yk_unpack *unpack, struct yk_changed *ret_changed) YK_MUST_CHECK;
enum yk_err
yk_coordinator_decode(struct yk_unpack *unpack, struct yk_slice *ret_bytes) YK_MUST_CHECK;
/* Of HERE, STATUS and CREATE; *ret_is_now: of CREATE. */
enum yk_err yk_request_decode(struct yk_unpack *unpack, bool *ret_is_now) YK_MUST_CHECK;
/* Whole frames that a tool got. */
enum yk_err yk_status_decode(struct yk_slice frame, struct yk_status *ret_status) YK_MUST_CHECK;
/* text: YK_ERROR_SIZE bytes. */
enum yk_err
yk_created_decode(struct yk_slice frame, uint32_t *ret_state, char *ret_text) YK_MUST_CHECK;

#endif
