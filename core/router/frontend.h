/* One instance of a frontend with its request filters, for one worker.
 *
 * Threads: the worker's, after open. Ownership: owns the plugin instances; settings and prefix
 * are lent. */
#ifndef YK_ROUTER_FRONTEND_H
#define YK_ROUTER_FRONTEND_H

#include <yakumo/request_filter.h>

#include "core/base/options.h"
#include "core/base/world.h"
#include "core/router/bucket.h"

struct yk_request_filter {
    struct yk_request_filter_ops ops;
    struct yk_plugin_host host;
    const struct yk_settings *settings;
    void *self;
    bool is_open;
};

struct yk_frontend {
    struct yk_frontend_ops ops; /* a copy: members beyond the plugin's struct_size are NULL */
    struct yk_plugin_host host;
    const struct yk_settings *settings;
    void *self;
    bool is_open;
    const struct yk_bucket *bucket;
    struct yk_slice prefix; /* of each key in the bucket, without which clients see them; lent */
    uint32_t n_filters;
    struct yk_request_filter filters[]; /* outermost first */
};

/* Makes and opens the instances. On failure error (YK_ERROR_SIZE bytes) says which plugin and why.
 */
enum yk_err yk_frontend_open(const struct yk_world *world, const struct yk_settings *settings,
                             struct yk_settings *const *filters, uint32_t n_filters,
                             const struct yk_bucket *bucket, struct yk_slice prefix,
                             struct yk_frontend **ret_frontend, char *error) YK_MUST_CHECK;
/* Every session must be gone. Takes NULL. */
void yk_frontend_close(struct yk_frontend *frontend);

#endif
