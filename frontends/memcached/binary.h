/* The binary protocol: frames of a header of 24 bytes, extras, a key and a value.
 *
 *     binary.c        frames -> requests, by the table of binary.def
 *     binary_reply.c  answers -> frames
 *
 * A request's tag has what the answer's header gives back, so nothing is allocated for it. An
 * answer that the frontend makes itself is a NOOP request whose tag has the status, and whose note
 * is the value.
 *
 * Threads: an instance and its sessions are called by one worker.
 * Ownership: slices point into the bytes given. */
#ifndef YK_MC_BINARY_H
#define YK_MC_BINARY_H

#include "frontends/memcached/memcached.h"

#define YK_MC_BINARY_REQUEST 0x80u /* the first byte of a request, and so of a connection */
#define YK_MC_BINARY_ANSWER  0x81u
#define YK_MC_HEADER_SIZE    24u

enum yk_mc_status {
    YK_MC_STATUS_OK = 0x00,
    YK_MC_STATUS_NOT_FOUND = 0x01,
    YK_MC_STATUS_EXISTS = 0x02,
    YK_MC_STATUS_TOO_LARGE = 0x03,
    YK_MC_STATUS_INVALID = 0x04,
    YK_MC_STATUS_NOT_STORED = 0x05,
    YK_MC_STATUS_NOT_NUMBER = 0x06,
    YK_MC_STATUS_DENIED = 0x20,
    YK_MC_STATUS_UNKNOWN_COMMAND = 0x81,
    YK_MC_STATUS_NO_MEMORY = 0x82,
    YK_MC_STATUS_UNSUPPORTED = 0x83,
    YK_MC_STATUS_INTERNAL = 0x84,
    YK_MC_STATUS_BUSY = 0x85,
    YK_MC_STATUS_TEMPORARY = 0x86,
};

/* A request as it came. */
struct yk_mc_frame {
    uint8_t opcode;
    uint8_t extras_size; /* bytes, as the next two */
    uint16_t key_size;
    uint32_t body_size; /* of extras, key and value */
    uint32_t opaque;    /* the client's, given back */
    uint64_t cas;       /* 0: none */
    const uint8_t *extras;
    struct yk_slice key, value;
};

/* Variants of get, as bits. */
enum yk_mc_frame_get {
    YK_MC_FRAME_GET = 0,
    YK_MC_FRAME_KEY = 1,      /* the answer has the key */
    YK_MC_FRAME_TOUCH = 2,    /* sets the expiry too */
    YK_MC_FRAME_NO_VALUE = 4, /* the answer has no value */
};

/* A tag's bits above its kind. */
#define YK_MC_TAG_OPCODE_SHIFT   8
#define YK_MC_TAG_STATUS_SHIFT   16       /* BINARY_STATUS: 16 bits */
#define YK_MC_TAG_FRAME_KEY      0x10000u /* BINARY_GET */
#define YK_MC_TAG_FRAME_QUIET    0x20000u /* BINARY_GET: nothing is said of a miss */
#define YK_MC_TAG_FRAME_NO_VALUE 0x40000u /* BINARY_GET */
#define YK_MC_TAG_OPAQUE_SHIFT   32

/* The text that stands in an error's value. */
const char *yk_mc_status_text(enum yk_mc_status status);

/* binary.c: a frame at the front of the bytes. */
enum yk_mc_step yk_mc_take_frame(struct yk_mc_feed *feed);

/* binary_reply.c: the answer to a request of a kind from YK_MC_KIND_BINARY_STATUS on. */
void yk_mc_reply_binary(const struct yk_request *request, const struct yk_reply *reply,
                        struct yk_outbox *outbox);

#endif
