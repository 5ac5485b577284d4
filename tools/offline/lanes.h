/* A node that was started to be looked at, lane by lane, and is ended again: for dump and load.
 *
 * Threads: the main thread's. Ownership: owns the start; the place is lent. */
#ifndef YK_TOOLS_OFFLINE_LANES_H
#define YK_TOOLS_OFFLINE_LANES_H

#include "core/replica/look.h"
#include "tools/offline/place.h"

struct lanes {
    const struct offline_place *place;
    struct yk_start start;
    uint32_t bucket_index;
    const struct yk_bucket_config *bucket;
    uint32_t n;
};

/* As yakumod starts: the journal is replayed. Lanes without one are told of their flushes.
 * epoch_min: see yk_start. False: said on standard error. */
bool lanes_open(struct lanes *lanes, const struct offline_place *place, uint32_t bucket_index,
                uint64_t epoch_min);
void lanes_close(struct lanes *lanes, bool is_clean);

struct yk_lane *lanes_at(struct lanes *lanes, uint32_t index);
/* Shows all that is in it; false: it cannot be read to its end, said on standard error. */
bool lanes_look(struct lanes *lanes, uint32_t index, yk_look_fn fn, void *arg);
/* Records of the bucket; 0 where the engine cannot say. */
uint64_t lanes_count(struct lanes *lanes);

#endif
