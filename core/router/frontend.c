/* Making and ending frontend instances. */
#include <config.h>

#include "core/router/frontend.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/assert.h"

static void
copy_ops(void *to, size_t room, const struct yk_plugin *plugin)
{
    uint32_t size;
    memcpy(&size, plugin->ops, sizeof(size));
    memcpy(to, plugin->ops, size < room ? size : room);
}

static enum yk_err
opened(const char *name, const struct yk_plugin_host *host, enum yk_err result, char *error)
{
    if (result != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "%s: cannot open: %.400s", name,
                 host->error[0] != '\0' ? host->error : yk_err_text(result));
    }
    return result;
}

static enum yk_err
open_filter(const struct yk_world *world, const struct yk_settings *settings,
            struct yk_request_filter *filter, char *error)
{
    const char *name = settings->plugin->name;
    copy_ops(&filter->ops, sizeof(filter->ops), settings->plugin);
    yk_plugin_host_init(&filter->host, world, name);
    enum yk_err result = yk_instance_new(settings, &filter->host.host, &filter->self, error);
    if (result != YK_OK) {
        return result;
    }
    filter->settings = settings;
    result = filter->ops.open != NULL ? filter->ops.open(filter->self) : YK_OK;
    filter->is_open = result == YK_OK;
    return opened(name, &filter->host, result, error);
}

static enum yk_err
open_all(struct yk_frontend *frontend, const struct yk_world *world,
         struct yk_settings *const *filters, uint32_t n_filters, const struct yk_settings *settings,
         char *error)
{
    enum yk_err result = yk_instance_new(settings, &frontend->host.host, &frontend->self, error);
    if (result != YK_OK) {
        return result;
    }
    frontend->settings = settings;
    for (uint32_t i = 0; i < n_filters; i++) {
        frontend->n_filters = i + 1;
        result = open_filter(world, filters[i], &frontend->filters[i], error);
        if (result != YK_OK) {
            return result;
        }
    }
    result = frontend->ops.open != NULL ? frontend->ops.open(frontend->self) : YK_OK;
    frontend->is_open = result == YK_OK;
    return opened(settings->plugin->name, &frontend->host, result, error);
}

enum yk_err
yk_frontend_open(const struct yk_world *world, const struct yk_settings *settings,
                 struct yk_settings *const *filters, uint32_t n_filters,
                 const struct yk_bucket *bucket, struct yk_slice prefix,
                 struct yk_frontend **ret_frontend, char *error)
{
    YK_ASSERT(n_filters <= YK_FILTERS_MAX);
    struct yk_frontend *frontend =
        calloc(1, sizeof(*frontend) + n_filters * sizeof(struct yk_request_filter));
    if (frontend == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    copy_ops(&frontend->ops, sizeof(frontend->ops), settings->plugin);
    frontend->bucket = bucket;
    frontend->prefix = prefix;
    yk_plugin_host_init(&frontend->host, world, settings->name);
    enum yk_err result = open_all(frontend, world, filters, n_filters, settings, error);
    if (result != YK_OK) {
        yk_frontend_close(frontend);
        return result;
    }
    *ret_frontend = frontend;
    return YK_OK;
}

void
yk_frontend_close(struct yk_frontend *frontend)
{
    if (frontend == NULL) {
        return;
    }
    if (frontend->is_open && frontend->ops.close != NULL) {
        frontend->ops.close(frontend->self);
    }
    for (uint32_t i = 0; i < frontend->n_filters; i++) {
        struct yk_request_filter *filter = &frontend->filters[i];
        if (filter->is_open && filter->ops.close != NULL) {
            filter->ops.close(filter->self);
        }
        if (filter->settings != NULL) {
            yk_instance_free(filter->settings, filter->self);
        }
    }
    if (frontend->settings != NULL) {
        yk_instance_free(frontend->settings, frontend->self);
    }
    free(frontend);
}
