/* The backup, and the learner: they take what the primary sends and say what they have. */
#include <config.h>

#include "core/replica/group.h"

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"

/* Puts down what is to be answered; of several in one turn the last is sent. */
static void
answer(struct yk_replica *replica, uint32_t to, enum yk_ack_kind kind, uint64_t version,
       int64_t sent_us)
{
    replica->has_ack = true;
    replica->ack_to = to;
    replica->ack = (struct yk_ack){.slot = replica->slot,
                                   .kind = kind,
                                   .epoch = replica->record.epoch,
                                   .incarnation = replica->setup->incarnation,
                                   .version = version,
                                   .copy = replica->copy,
                                   .sent_us = sent_us};
    if (kind == YK_ACK_AHEAD) {
        replica->ack.record = &replica->record;
    }
}

/* It answers only for what stands in its journal and is known to be the primary's. */
static uint64_t
matched(const struct yk_replica *replica)
{
    return replica->setup->mutant == MUTANT_JOURNAL ? replica->verified
                                                    : MIN(replica->journaled, replica->verified);
}

void
replica_ack_journaled(struct yk_replica *replica)
{
    if (!replica->is_known || replica->verified == 0 || replica->is_promoting) {
        return;
    }
    if (replica->has_ack && replica->ack.kind != YK_ACK_MATCHED) {
        return;
    }
    int64_t sent_us = replica->has_ack ? replica->ack.sent_us : 0;
    answer(replica, replica->record.primary, YK_ACK_MATCHED, matched(replica), sent_us);
}

bool
yk_replica_take_ack(struct yk_replica *replica, uint32_t *ret_node, struct yk_ack *ret_ack)
{
    if (!replica->has_ack) {
        return false;
    }
    replica->has_ack = false;
    *ret_node = replica->ack_to;
    *ret_ack = replica->ack;
    return true;
}

/* Is the append from the primary of our epoch, for us as we are now? Else it is answered. */
static bool
is_ours(struct yk_replica *replica, uint32_t from, const struct yk_append *append, int64_t now_us)
{
    if (!replica->is_known) {
        return false;
    }
    if (append->epoch > replica->record.epoch && append->record != NULL) {
        yk_replica_configure(replica, append->record, false, now_us);
    }
    if (append->epoch > replica->record.epoch) {
        answer(replica, from, YK_ACK_BEHIND, 0, 0);
        replica->ack.epoch = append->epoch;
        return false;
    }
    if (append->epoch < replica->record.epoch) {
        answer(replica, from, YK_ACK_AHEAD, 0, 0);
        return false;
    }
    if (replica->role == YK_REPLICA_PRIMARY || from != replica->record.primary) {
        return false;
    }
    if (append->incarnation != 0 && append->incarnation != replica->setup->incarnation &&
        replica->setup->mutant != MUTANT_INCARNATION) {
        answer(replica, from, YK_ACK_OTHER, 0, 0);
        return false;
    }
    return true;
}

/* What a copy left half done, or another copy, is worth nothing. */
static bool
is_void(struct yk_replica *replica, const struct yk_append *append)
{
    if (append->copy != 0) {
        return append->copy != replica->copy;
    }
    if (!replica->is_void) {
        replica->copy = 0;
    }
    return replica->is_void;
}

/* Does our log hold the entry before the first? What is committed is the same everywhere. */
static bool
has_prev(const struct yk_replica *replica, uint64_t prev)
{
    return prev <= replica->commit || yk_tail_has(&replica->tail, prev) ||
           replica->setup->mutant == MUTANT_PREV;
}

/* From where the primary should try: the greatest entry of ours below prev. */
static uint64_t
hint_below(const struct yk_replica *replica, uint64_t prev)
{
    uint32_t above = yk_tail_above(&replica->tail, prev - 1);
    return above > 0 ? yk_tail_at(&replica->tail, above - 1)->version : replica->tail.base;
}

static bool
cut(struct yk_replica *replica, uint64_t version)
{
    const struct yk_replica_sink *sink = &replica->setup->sink;
    YK_ASSERT(version >= replica->commit); /* what is committed is never cut */
    /* ★ What stands in the journal before the cut, and waited for it, is journaled with the cut:
     * nothing may ever come behind that would say so. */
    replica->n_cuts++;
    if (!sink->cut(sink->arg, replica, version)) {
        replica->n_cuts--;
        return false;
    }
    yk_tail_cut(&replica->tail, version);
    replica->journaled = MIN(replica->journaled, version);
    return true;
}

static struct yk_buffer *
copy_bytes(struct yk_slice bytes, enum yk_err *result)
{
    struct yk_buffer *buffer = bytes.size > 0 ? yk_buffer_new_copy(bytes) : NULL;
    if (bytes.size > 0 && buffer == NULL) {
        *result = YK_ENOMEM;
    }
    return buffer;
}

static enum yk_err
take_entry(struct yk_replica *replica, const struct yk_entry *entry)
{
    const struct yk_replica_sink *sink = &replica->setup->sink;
    enum yk_err result = YK_OK;
    struct yk_tail_entry own = {.version = entry->version,
                                .token = entry->token,
                                .kind = entry->kind,
                                .hash = entry->key.size > 0 ? yk_hash(entry->key) : 0,
                                .key = copy_bytes(entry->key, &result),
                                .value = copy_bytes(entry->value, &result)};
    if (result == YK_OK) {
        result = yk_tail_push(&replica->tail, &own);
    }
    if (result != YK_OK) {
        yk_buffer_unref(own.key);
        yk_buffer_unref(own.value);
        return result;
    }
    if (!sink->append(sink->arg, replica, yk_tail_at(&replica->tail, replica->tail.n - 1))) {
        yk_tail_cut(&replica->tail, entry->version - 1);
        return YK_ENOSPACE;
    }
    return YK_OK;
}

/* Makes our log behind prev the primary's, as far as it was sent. Returns up to where it is. */
static uint64_t
take_entries(struct yk_replica *replica, const struct yk_append *append)
{
    uint64_t at = append->prev; /* our log is the primary's up to here */
    for (uint32_t i = 0; i < append->n_entries; i++) {
        const struct yk_entry *entry = &append->entries[i];
        if (entry->version <= replica->commit || yk_tail_has(&replica->tail, entry->version)) {
            at = entry->version;
            continue;
        }
        /* What stands behind in ours was never committed. */
        if (yk_tail_last(&replica->tail) > at &&
            !cut(replica, at > replica->commit ? at : replica->commit)) {
            break;
        }
        if (entry->version <= at || take_entry(replica, entry) != YK_OK) {
            break;
        }
        at = entry->version;
    }
    return at;
}

/* ★ What stands above the primary's reign and is older than that is not in its log, and was never
 * committed; nothing may ever come that conflicts with it. False: it could not be cut. */
static bool
cut_stale(struct yk_replica *replica)
{
    uint64_t last = yk_tail_last(&replica->tail);
    bool is_stale = last > replica->told_reign && last > replica->commit &&
                    last >> YK_SEQUENCE_BITS < replica->told_reign_epoch;
    return !is_stale || cut(replica, MAX(replica->told_reign, replica->commit));
}

void
yk_replica_on_append(struct yk_replica *replica, uint32_t from, const struct yk_append *append,
                     int64_t now_us)
{
    if (!is_ours(replica, from, append, now_us)) {
        return;
    }
    if (replica->is_promoting && replica->setup->mutant != MUTANT_PROMISE) {
        return; /* ★ no answer, and so no promise, while its PROMOTE is under way */
    }
    replica->heard_us = now_us;
    if (append->record != NULL) {
        replica->told_reign = append->reign;
        replica->told_reign_epoch = append->reign_epoch;
    }
    replica->slot_time_ms = MAX(replica->slot_time_ms, append->slot_time_ms);
    replica->is_time_told = true;
    replica->floor = MAX(replica->floor, append->floor);
    if (is_void(replica, append)) {
        answer(replica, from, YK_ACK_VOID, 0, append->sent_us);
        return;
    }
    if (!has_prev(replica, append->prev)) {
        answer(replica, from, YK_ACK_MISMATCHED, hint_below(replica, append->prev),
               append->sent_us);
        return;
    }
    if (!cut_stale(replica)) {
        return;
    }
    uint64_t same = take_entries(replica, append);
    replica->verified = MAX(replica->verified, same);
    bool waits = replica->is_void; /* the log comes behind the copy */
    if (!waits && MIN(append->commit, replica->verified) > replica->commit) {
        replica_commit(replica, MIN(append->commit, replica->verified));
    }
    answer(replica, from, YK_ACK_MATCHED, matched(replica), append->sent_us);
}

/* Copies */

void
yk_replica_wiped(struct yk_replica *replica, uint64_t copy, uint64_t start)
{
    yk_tail_done(&replica->tail);
    yk_tail_init(&replica->tail, start);
    replica->n_cuts++;
    replica->commit = replica->journaled = start;
    replica->verified = start;
    replica->copy = copy;
    replica->is_void = copy != 0;
    replica->has_ack = false;
}

void
yk_replica_copy_ends(struct yk_replica *replica)
{
    replica->is_void = false;
}
