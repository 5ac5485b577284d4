/* What the daemon of a node that is one of several has beyond a node alone: the nodes that it
 * knows, the listener for them, its control.
 *
 * Threads: the main thread's. Ownership: owns all three; start and threads are lent. */
#ifndef YK_MAIN_MEMBERSHIP_H
#define YK_MAIN_MEMBERSHIP_H

#include "core/io/control.h"
#include "core/start/start.h"

struct yk_membership {
    struct yk_start *start;
    struct yk_peers *peers; /* NULL: the node is alone */
    struct yk_listener listener;
    struct yk_control_thread *control; /* atomic: the workers look for it */
};

/* Before the threads, which get peers and listener. On failure error (YK_ERROR_SIZE bytes) says
 * why; yk_membership_end in any case. */
enum yk_err
yk_membership_open(struct yk_membership *member, struct yk_start *start, char *error) YK_MUST_CHECK;
/* After the threads, which it tells what it hears. */
enum yk_err yk_membership_start(struct yk_membership *member, char *error) YK_MUST_CHECK;
/* Before the threads end, and after them. */
void yk_membership_stop(struct yk_membership *member);
void yk_membership_end(struct yk_membership *member);

/* From the workers; takes them over. */
void yk_membership_wish(struct yk_membership *member, struct yk_wishes *wishes);
/* A node alone always is. */
bool yk_membership_is_ready(const struct yk_membership *member);

#endif
