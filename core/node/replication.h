/* What replicas say to each other, as frames between workers of two nodes:
 *
 *     [2, "replicate", [bucket, appends, acks]]
 *         bucket   text, its name
 *         append   (slot, epoch, incarnation, prev, commit, floor, copy, slot time, sent, record,
 *                  reign, reign epoch, entries): numbers, but record: nil or a slot's record, reign
 *                  and reign epoch: only where there is one, entries: array of kind, version,
 * token, key, value, one behind the other ack      (slot, kind, epoch, incarnation, version, copy,
 * sent, record) record   (epoch, primary, nonce, begins, is lossy, members, eligible, targets):
 * members and eligible as arrays of index, incarnation, one behind the other
 *
 *     [2, "copy", [bucket, copies]]
 *         copy     (slot, kind, is answer, epoch, incarnation, copy, start, flush version, number,
 *                  records: array of key, record, one behind the other); see core/replica/copy.h
 *
 * What is to be sent in a turn is gathered for each thread of another node, one frame for each
 * bucket. A frame that is not of this form is left out, as if it had been lost.
 *
 * Source: PROTOCOL "Writing" 3, 4. Threads: the worker's. Ownership: owns what is gathered. */
#ifndef YK_NODE_REPLICATION_H
#define YK_NODE_REPLICATION_H

#include "core/replica/lane.h"
#include "core/wire/pack.h"
#include "core/wire/unpack.h"

#define YK_APPEND_ENTRIES_MAX 128            /* in one append */
#define YK_APPEND_BYTES_MAX   (1024u * 1024) /* of them, beyond the first */

struct yk_outgoing;

struct yk_talk {
    struct yk_outgoing *outgoing; /* own */
    uint32_t n_outgoing, room;
};

void yk_talk_done(struct yk_talk *talk);
/* false: no memory; it is as if it had been lost. */
bool yk_talk_append(struct yk_talk *talk, uint32_t peer, uint32_t worker, uint32_t bucket,
                    const struct yk_append *append, const struct yk_tail *tail);
bool yk_talk_ack(struct yk_talk *talk, uint32_t peer, uint32_t worker, uint32_t bucket,
                 const struct yk_ack *ack);
bool yk_talk_copy(struct yk_talk *talk, uint32_t peer, uint32_t worker, uint32_t bucket,
                  const struct yk_copy *copy);
/* Takes a frame of what was gathered, for that bucket (whose name it is to have); NULL: nothing
 * more is to be sent. */
struct yk_buffer *yk_talk_take(struct yk_talk *talk, const char *const *names, uint32_t *ret_peer,
                               uint32_t *ret_worker);

struct yk_listener_fns {
    void *arg;
    /* The bucket's index, or UINT32_MAX. */
    uint32_t (*bucket)(void *arg, struct yk_slice name);
    void (*append)(void *arg, uint32_t bucket, const struct yk_append *append);
    void (*ack)(void *arg, uint32_t bucket, const struct yk_ack *ack);
    void (*copy)(void *arg, uint32_t bucket, const struct yk_copy *copy);
};

/* The params of a "replicate", at which unpack stands; what was right until something was wrong has
 * been told. */
void yk_talk_hear(struct yk_unpack *unpack, const struct yk_listener_fns *fns);
/* Likewise of a "copy". */
void yk_talk_hear_copies(struct yk_unpack *unpack, const struct yk_listener_fns *fns);

#endif
