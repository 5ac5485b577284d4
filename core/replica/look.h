/* Looking at all that a lane's engine holds, record by record, and at whether it is in order: for
 * tools that check or copy a data folder, while nothing else is done with it.
 *
 * Threads: any that may block. Ownership: all is lent; what is shown, for the call only. */
#ifndef YK_REPLICA_LOOK_H
#define YK_REPLICA_LOOK_H

#include "core/ring/ring.h"
#include "core/store/record.h"
#include "core/store/stack.h"

struct yk_look {
    struct yk_stack *stack;
    struct yk_ring ring;
    uint32_t lane;
    uint32_t key_size_max;
    const uint32_t *epochs; /* of the bucket's slots; NULL: versions are not compared with them */
};

/* One record. wrong: why it cannot be what was stored; NULL: it is in order. Without a record, and
 * without a slot: one of the lane's own, which says what the lane knows of its slots. */
struct yk_look_found {
    struct yk_slice key;
    bool is_own;
    uint32_t slot;
    const char *wrong;
    struct yk_record record; /* if nothing is wrong, or only its place or version */
    uint64_t size;           /* bytes in the engine */
};

/* False: stop. */
typedef bool (*yk_look_fn)(void *arg, const struct yk_look_found *found);

/* YK_OK: all was shown, or fn stopped it. Else the engine failed on the way: see yk_stack_error. */
enum yk_err yk_look(const struct yk_look *look, yk_look_fn fn, void *arg) YK_MUST_CHECK;

#endif
