/* What a node is before it serves: its config, its data folder, its place in the registers, its
 * journal and its lanes, recovered. The daemon serves with it; tools look at what is in it.
 *
 *     yk_start -> (threads, if it is to serve: start.threads) -> threads ended -> yk_start_end
 *
 * Threads: the main thread's. Ownership: a yk_start owns what it opened; what the caller sets is
 * lent, the config too. */
#ifndef YK_START_START_H
#define YK_START_START_H

#include <glib.h>

#include "core/start/cluster.h"
#include "core/start/keep.h"
#include "plugins/plugins.h"

/* Reads FILE (NULL: none) and parses it; see yk_config_source. */
struct yk_start_options {
    const char *file;
    const char *node;
    const char *const *overrides;
    bool takes_any; /* see yk_config_source */
};

enum yk_err yk_start_read_config(const struct yk_start_options *options, struct yk_plugins *plugins,
                                 struct yk_config **ret_config, char *error) YK_MUST_CHECK;

/* The folder that the config names, or the default; g_free. */
char *yk_start_data_path(const struct yk_config *config);
/* The buckets of the config as the folder records them, g_free; NULL: error says why. What they
 * point to is added to texts, which frees it. */
struct yk_datadir_bucket *
yk_start_buckets(const struct yk_config *config, const struct yk_world *world, GPtrArray *texts,
                 char *error);
uint32_t yk_start_workers(const struct yk_config *config);
/* Whether the node is one of several, which have their registers from managers. */
bool yk_start_is_clustered(const struct yk_config *config);

struct yk_start {
    /* Set by the caller. */
    const struct yk_world *world;
    struct yk_plugins *plugins;
    const struct yk_config *config;
    uint64_t epoch_min; /* of a restore: every slot gets at least this epoch; 0: the next one */
    void (*facts)(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg); /* may be NULL */
    void *facts_arg;
    struct yk_threads *threads; /* while there are any */

    struct yk_datadir datadir;
    bool has_datadir;
    struct yk_cluster cluster;
    struct yk_keep keep;
    struct yk_node *node;
    GPtrArray *folders; /* of lanes, lent to engines */
};

/* On failure error (YK_ERROR_SIZE bytes) says why, and yk_start_end is still to be called. */
enum yk_err yk_start(struct yk_start *start, char *error) YK_MUST_CHECK;
/* Takes one that is all zeros, and leaves such a one. is_clean: nothing is under way, and what was
 * acknowledged is in the engines and the journal. */
void yk_start_end(struct yk_start *start, bool is_clean);

#endif
