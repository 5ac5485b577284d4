/* Steps that more than one verb of a cluster takes.
 *
 * Threads: one. Ownership: files are lent. */
#ifndef YK_TOOLS_CLUSTER_WORK_H
#define YK_TOOLS_CLUSTER_WORK_H

#include "core/wire/messages.h"
#include "tools/cluster/file.h"

/* Has a manager make the registers, if there are none; until that time of the monotonic clock.
 * False: said on standard error. */
bool cluster_create(const struct cluster_file *file, bool is_now, int64_t until_us);

/* What the first node says that answers. False: error (YK_ERROR_SIZE bytes) is the last one's. */
bool cluster_ask(const struct cluster_file *file, struct yk_status *ret_status, char *error);

#endif
