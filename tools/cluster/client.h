/* One question to a node, as a tool: connect, hello, request, answer. Blocks, with a bound.
 *
 * Threads: any. Ownership: what is returned is the caller's. */
#ifndef YK_TOOLS_CLUSTER_CLIENT_H
#define YK_TOOLS_CLUSTER_CLIENT_H

#include "core/config/config.h"
#include "core/wire/messages.h"

/* address: of the node. On failure error (YK_ERROR_SIZE bytes) says why. */
enum yk_err
client_status(const char *address, struct yk_status *ret_status, char *error) YK_MUST_CHECK;
/* *ret_state and text (YK_ERROR_SIZE bytes): see CREATE in core/wire/messages.def. */
enum yk_err client_create(const char *address, bool is_now, uint32_t *ret_state, char *text,
                          char *error) YK_MUST_CHECK;

#endif
