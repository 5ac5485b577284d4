/* The start of a node that is a cluster of one: what it proposes in each bucket, in one write.
 *
 * Nobody else can have changed the register and nobody else can know better, so that it takes
 * every slot at once: a new one is created, one whose data was in memory is begun anew, one whose
 * data it holds gets the next epoch; and where durability os could not outlive a loss of power it
 * accepts the loss by itself, since there is no other copy to wait for.
 *
 * Threads: pure. Ownership: borrows all but the register. */
#ifndef YK_MANAGER_ALONE_H
#define YK_MANAGER_ALONE_H

#include "core/ring/register.h"

struct yk_alone {
    const char *node;
    uint64_t nonce;
    const uint32_t *incarnations;
    uint32_t n_lanes;
    uint32_t epoch_min; /* of slots that are created */
    const struct yk_bucket_description *description;
    bool is_restore; /* epoch_min is of all slots: what comes from elsewhere is below it */
};

/* What came of the bucket's slots. */
struct yk_alone_result {
    uint32_t n_created, n_bumped, n_begun_anew, n_lossy;
    uint32_t epoch; /* the greatest of its slots */
};

/* bucket->slots NULL: there is no register yet, and it is made. On failure error (YK_ERROR_SIZE
 * bytes) says why, and the register is worth nothing. */
enum yk_err yk_manager_start_alone(struct yk_bucket_register *bucket, const struct yk_alone *alone,
                                   struct yk_alone_result *ret_result, char *error) YK_MUST_CHECK;

#endif
