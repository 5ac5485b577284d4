/* What the verbs of a cluster share: the file of its nodes, and where each of them is on this
 * machine.
 *
 * Threads: one. Ownership: a cluster_file owns config and plugins. */
#ifndef YK_TOOLS_CLUSTER_FILE_H
#define YK_TOOLS_CLUSTER_FILE_H

#include <sys/types.h>

#include "core/start/start.h"
#include "tools/verb.h"

struct cluster_file {
    const char *verb; /* for messages */
    const char *path;
    struct yk_plugins *plugins;
    struct yk_config *config; /* of the first node; nodes has all */
};

/* False: said on standard error. */
bool cluster_file_open(struct cluster_file *file, const char *verb, const char *path);
void cluster_file_close(struct cluster_file *file);

/* g_free. */
char *cluster_file_data(const struct yk_node_config *node);
char *cluster_file_log(const struct yk_node_config *node);
/* Whether the node's address is one of this machine. */
bool cluster_file_is_here(const struct yk_node_config *node);

/* The process that holds the node's data folder; 0: none does. */
pid_t cluster_file_pid(const struct yk_node_config *node);

/* "yakumo VERB: ..." on standard error. */
void cluster_file_say(const struct cluster_file *file, const char *format, ...) YK_PRINTF(2, 3);

#endif
