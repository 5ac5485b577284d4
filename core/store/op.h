/* One operation on its way: from the frontend's request through router and lane, over mailboxes and
 * back.
 *
 * Threads: an op is touched by one worker (or executor) at a time; a queue hands it over.
 * Ownership: made and freed by the router of its origin, or by the lane for its own errands. The
 * request's bytes live until it is answered; `pinned` holds them once they may not point into the
 * input any more. */
#ifndef YK_STORE_OP_H
#define YK_STORE_OP_H

#include <yakumo/request.h>

struct yk_lane;
struct yk_overlay_entry;
struct yk_pending;

/* Pinned bytes start with this much room, then the key: there an engine's key gets its prefix. */
#define YK_PIN_ROOM        8u
#define YK_OP_WHOLE_WORKER UINT16_MAX
#define YK_OP_OTHER_NODES  (UINT16_MAX - 1) /* as lane: a FLUSH for lanes of other nodes */
#define YK_ORIGIN_REMOTE   UINT16_MAX       /* as origin: another node */
#define YK_LANE_RECORDS    UINT16_MAX       /* the slot of the core's own records */

enum yk_errand {
    YK_ERRAND_NONE = 0,
    YK_ERRAND_SWEEP = 1, /* drops a record that has ended */
    YK_ERRAND_MARKS = 2, /* reads or writes a lane record: the flush marks */
};

struct yk_op {
    struct yk_request request; /* first: plugins see this */
    struct yk_op *next;        /* in the one queue that holds it */
    struct yk_op *part_of; /* of a request that asks several lanes or workers: that request's op */

    uint64_t hash;
    uint16_t slot;
    uint16_t lane; /* of the request's bucket; YK_OP_WHOLE_WORKER: not for one lane */
    uint16_t bucket_index;
    uint16_t origin;   /* worker that made it and gets it back, or YK_ORIGIN_REMOTE */
    uint16_t executor; /* worker that is to execute it */
    bool is_kept;      /* the bytes of its answer must outlive the callback: they are copied */
    uint64_t kept_max; /* then: the value may have this many bytes; above, result EBUSY with number
                          = size */

    struct yk_buffer *room; /* of the origin, for an answer's value up to its size, or NULL */
    void *pinned;           /* YK_PIN_ROOM, key, value, note; free(). NULL: they point elsewhere */

    /* The origin's: it is sent to another node, or tried again (core/node/forward.h); NULL. */
    struct yk_pending *pending;

    /* Of another node's GET: it keeps values (core/node/value_cache.h), and has the one of that
     * version; 0: none. */
    bool is_cached_there;
    uint64_t known_version;

    /* Clustered, of a write that may be sent again: known by that, 0: it may not; what it may have
     * done already has a greater version than `after`. is_again: it may have. Another node's write
     * was sent in that epoch of its slot, by what was known there. */
    uint64_t token, after;
    uint32_t sent_epoch;
    bool is_again;

    /* The lane's. */
    struct yk_overlay_entry *entry;
    struct yk_buffer *record; /* of a change that was decided; NULL: a deletion */
    struct yk_buffer *old;    /* record that it is to be judged on, where it had to be kept */
    struct yk_buffer *known;  /* is_known: the record that the write before left; NULL: none */
    bool is_known;
    uint64_t version;           /* of a change that was decided */
    uint64_t mark;              /* with a journal: of the bundle that its end waits for */
    uint32_t reign;             /* clustered: of its slot, when its record was looked for */
    int64_t question_us;        /* clustered: reads = confirm, which question it waits for */
    int64_t since_us;           /* clustered: waits for the other members, about since then */
    bool is_verdict;            /* then: changes nothing, and waits for what it was judged on */
    uint8_t errand;             /* enum yk_errand: the lane's own, no client waits for it */
    bool is_promoted;           /* a read that found something to write: it is a write now */
    bool was_hit;               /* with HINT: what the engine knew before it was read */
    uint64_t last_access_ms;    /* likewise */
    struct yk_scan_state *scan; /* SCAN: where it stands, and the chunk that was read */
    struct yk_figures *figures; /* STATS: added to */

    /* The answer, for ops that travel back; value_buffer holds a reference. */
    struct yk_reply reply;
};

/* Flags of a reply between nodes, beside enum yk_reply_flags: what became of an earlier try will
 * never be known; its version is the record's own, and no number that a client chose; and the value
 * of that version, which the asker has, is left out. */
#define YK_REPLY_FORGOTTEN  (1u << 29)
#define YK_REPLY_IS_VERSION (1u << 30)
#define YK_REPLY_UNCHANGED  (1u << 31)

/* Where ops wait, first in, first out. */
struct yk_op_queue {
    struct yk_op *first;
    struct yk_op *last;
    uint32_t n;
};

static inline void
yk_op_queue_push(struct yk_op_queue *queue, struct yk_op *op)
{
    op->next = NULL;
    if (queue->last != NULL) {
        queue->last->next = op;
    } else {
        queue->first = op;
    }
    queue->last = op;
    queue->n++;
}

static inline struct yk_op *
yk_op_queue_pop(struct yk_op_queue *queue)
{
    struct yk_op *op = queue->first;
    if (op != NULL) {
        queue->first = op->next;
        if (queue->first == NULL) {
            queue->last = NULL;
        }
        op->next = NULL;
        queue->n--;
    }
    return op;
}

/* Does it change the record of a key? A GET with only WIN is a read, until its lane sees that it
 * must mark the record. */
static inline bool
yk_op_is_write(const struct yk_op *op)
{
    const uint32_t changes = YK_REQUEST_TOUCH | YK_REQUEST_VIVIFY | YK_REQUEST_RECACHE;
    return (op->request.op == YK_OP_GET && (op->request.flags & changes) != 0) ||
           op->request.op == YK_OP_STORE || op->request.op == YK_OP_ARITH ||
           op->request.op == YK_OP_DELETE || op->request.op == YK_OP_TOUCH;
}

/* Does it only read? */
static inline bool
yk_op_is_read(const struct yk_op *op)
{
    return op->request.op == YK_OP_GET && !op->is_promoted && !yk_op_is_write(op);
}

/* May it be sent again where nobody knows whether it was done? What its log entry says of it must
 * be its whole answer. */
static inline bool
yk_op_has_token(const struct yk_op *op)
{
    return op->request.op == YK_OP_STORE || op->request.op == YK_OP_ARITH ||
           op->request.op == YK_OP_DELETE || op->request.op == YK_OP_TOUCH;
}

/* Is it about one key? */
static inline bool
yk_op_has_key(const struct yk_op *op)
{
    return op->request.op == YK_OP_GET || yk_op_is_write(op);
}

#endif
