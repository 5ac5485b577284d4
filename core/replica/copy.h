/* Copies: how a learner whom the log does not reach gets all that is committed in a slot.
 *
 *     primary                                      learner
 *     BEGIN (start, flush mark)            ->      wipes what it holds of the slot
 *     scans its engine, once for all
 *     the lane's slots that are copied             <- BEGIN
 *     RECORDS 1, 2, ... each when the one
 *     before was taken                     ->      puts them blindly  <- RECORDS
 *     END                                  ->      then the log from start on, when this stands in
 *                                                  its journal        <- END
 *
 * Meanwhile the learner takes the log behind start and keeps it back: so each key ends with its
 * last change, whatever of it was in the copy already. What an interrupted copy leaves is void.
 *
 * Threads: plain values. Ownership: keys and values are lent. */
#ifndef YK_REPLICA_COPY_H
#define YK_REPLICA_COPY_H

#include "core/store/entry.h"

enum yk_copy_kind { YK_COPY_BEGIN = 1, YK_COPY_RECORDS = 2, YK_COPY_END = 3 };

struct yk_copy {
    uint16_t slot;
    enum yk_copy_kind kind;
    bool is_answer;
    uint32_t epoch, incarnation;
    uint64_t copy;          /* its number, of the primary's; never 0 */
    uint64_t start;         /* BEGIN: what is committed up to here is in the copy */
    uint64_t flush_version; /* likewise: records up to this one are absent */
    uint32_t number;        /* RECORDS: from 1; END: how many there were */
    uint32_t n_entries;
    const struct yk_entry *entries; /* RECORDS: keys and records */
};

#endif
