/* Layers: index 0 is the outermost filter, the last one the engine. Each layer's yk_next is what
 * the layer above it calls. */
#include <config.h>

#include "core/store/stack.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/assert.h"

enum {
    RECORD_ROOM = 4096, /* what a record may need beyond key and value */
    LANE_ROOM = 65536   /* what a lane needs for itself before it can evict */
};

struct layer {
    struct yk_next next; /* first: a filter above gets this */
    struct yk_plugin_host host;
    const struct yk_settings *settings;
    void *self;
    bool is_engine;
    bool is_made;
    bool is_open;
    struct yk_filter_ops filter; /* copies, members beyond the plugin's struct_size are NULL */
    struct yk_backend_ops backend;
};

struct yk_stack {
    struct yk_backend_info info;
    struct yk_backend_place place; /* lent to the layers until they are closed */
    uint32_t n_layers;
    struct layer layers[];
};

static struct layer *
layer_of(struct yk_next *next)
{
    return (struct layer *)next;
}

static enum yk_err
layer_get(struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
          struct yk_call *call)
{
    struct layer *layer = layer_of(next);
    if (layer->is_engine) {
        return layer->backend.get(layer->self, keys, n, fn, arg, call);
    }
    if (layer->filter.get == NULL) {
        return layer_get(&layer[1].next, keys, n, fn, arg, call);
    }
    return layer->filter.get(layer->self, &layer[1].next, keys, n, fn, arg, call);
}

static enum yk_err
layer_apply(struct yk_next *next, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct layer *layer = layer_of(next);
    if (layer->is_engine) {
        return layer->backend.apply(layer->self, changes, n, call);
    }
    if (layer->filter.apply == NULL) {
        return layer_apply(&layer[1].next, changes, n, call);
    }
    return layer->filter.apply(layer->self, &layer[1].next, changes, n, call);
}

static enum yk_err
layer_scan(struct yk_next *next, const struct yk_scan *scan, struct yk_cursor *cursor,
           yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    struct layer *layer = layer_of(next);
    if (layer->is_engine) {
        return layer->backend.scan(layer->self, scan, cursor, fn, arg, ret_end, call);
    }
    if (layer->filter.scan == NULL) {
        return layer_scan(&layer[1].next, scan, cursor, fn, arg, ret_end, call);
    }
    return layer->filter.scan(layer->self, &layer[1].next, scan, cursor, fn, arg, ret_end, call);
}

static enum yk_err
layer_admit(struct yk_next *next, const struct yk_change *change)
{
    struct layer *layer = layer_of(next);
    if (layer->is_engine) {
        return layer->backend.admit != NULL ? layer->backend.admit(layer->self, change) : YK_OK;
    }
    if (layer->filter.admit == NULL) {
        return layer_admit(&layer[1].next, change);
    }
    return layer->filter.admit(layer->self, &layer[1].next, change);
}

static void
layer_init(struct layer *layer, const struct yk_stack_config *config,
           const struct yk_settings *settings)
{
    const struct yk_plugin *plugin = settings->plugin;
    uint32_t size;
    layer->next = (struct yk_next){.struct_size = sizeof(struct yk_next),
                                   .get = layer_get,
                                   .apply = layer_apply,
                                   .scan = layer_scan,
                                   .admit = layer_admit};
    layer->settings = settings;
    layer->is_engine = plugin->kind == YK_KIND_BACKEND;
    memcpy(&size, plugin->ops, sizeof(size));
    if (layer->is_engine) {
        memcpy(&layer->backend, plugin->ops,
               size < sizeof(layer->backend) ? size : sizeof(layer->backend));
    } else {
        memcpy(&layer->filter, plugin->ops,
               size < sizeof(layer->filter) ? size : sizeof(layer->filter));
    }
    yk_plugin_host_init(&layer->host, config->world, plugin->name);
}

static void
layer_close(struct layer *layer)
{
    void (*closing)(void *) = layer->is_engine ? layer->backend.close : layer->filter.close;
    if (layer->is_open && closing != NULL) {
        closing(layer->self);
    }
    layer->is_open = false;
}

static void
layer_info(struct layer *layer, struct yk_backend_info *info)
{
    void (*inform)(void *, struct yk_backend_info *) =
        layer->is_engine ? layer->backend.info : layer->filter.info;
    uint32_t threads = info->threads;
    if (inform != NULL) {
        inform(layer->self, info);
    }
    if (!layer->is_engine) {
        uint32_t own = layer->filter.threads;
        info->threads = own < threads ? own : threads;
    }
}

static enum yk_err
layer_open(struct layer *layer, const struct yk_backend_place *place, char *error)
{
    enum yk_err (*opening)(void *, const struct yk_backend_place *) =
        layer->is_engine ? layer->backend.open : layer->filter.open;
    layer->host.error[0] = '\0';
    enum yk_err result = opening != NULL ? opening(layer->self, place) : YK_OK;
    layer->is_open = result == YK_OK;
    if (result != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "%s: cannot open lane %u of bucket %s: %.300s",
                 layer->settings->plugin->name, place->lane, place->bucket,
                 layer->host.error[0] != '\0' ? layer->host.error : yk_err_text(result));
    }
    return result;
}

/* Two of the largest records, so that one can come while the other is still there. */
uint64_t
yk_stack_memory_min(uint32_t n_lanes, uint32_t key_size_max, uint64_t value_size_max)
{
    return (value_size_max + key_size_max + RECORD_ROOM) * 2 + (uint64_t)n_lanes * LANE_ROOM;
}

static enum yk_err
check_memory(const struct yk_stack_config *config, char *error)
{
    uint64_t size_max = config->place.may_evict ? config->place.budget->size_max : 0;
    uint64_t least =
        yk_stack_memory_min(config->place.n_lanes, config->key_size_max, config->value_size_max);
    if (size_max == 0 || size_max >= least) {
        return YK_OK;
    }
    snprintf(error, YK_ERROR_SIZE,
             "bucket %s: memory_max = %lluK is too little to evict for values of up to %lluK in %u "
             "lanes; set memory_max = %lluM, or lower value_size_max or lanes",
             config->place.bucket, (unsigned long long)(size_max / YK_KIB),
             (unsigned long long)(config->value_size_max / YK_KIB), config->place.n_lanes,
             (unsigned long long)(least / YK_MIB + 1));
    return YK_EINVALID;
}

static enum yk_err
check_info(const struct yk_stack_config *config, const struct yk_backend_info *info, char *error)
{
    const char *name = config->backend->plugin->name;
    uint32_t prefix = (info->caps & YK_BACKEND_SEGMENTS) ? 0 : 4;
    if (config->key_size_max + prefix > info->key_size_max) {
        snprintf(error, YK_ERROR_SIZE,
                 "bucket %s: key_size_max = %u, but %s takes keys of at most %u bytes; set "
                 "key_size_max = %u",
                 config->place.bucket, config->key_size_max, name, info->key_size_max - prefix,
                 info->key_size_max - prefix);
        return YK_EINVALID;
    }
    if (config->value_size_max + YK_RECORD_OVERHEAD_MAX > info->value_size_max) {
        snprintf(error, YK_ERROR_SIZE,
                 "bucket %s: value_size_max = %llu, but %s takes records of at most %llu bytes",
                 config->place.bucket, (unsigned long long)config->value_size_max, name,
                 (unsigned long long)info->value_size_max);
        return YK_EINVALID;
    }
    if (config->place.durability != YK_DURABILITY_MEMORY && (info->caps & YK_BACKEND_ASYNC) != 0) {
        snprintf(
            error, YK_ERROR_SIZE,
            "bucket %s: %s answers later, and such engines have no journal yet; set durability "
            "= memory",
            config->place.bucket, name);
        return YK_EINVALID;
    }
    if (config->place.may_evict && !(info->caps & YK_BACKEND_EVICTS)) {
        snprintf(error, YK_ERROR_SIZE, "bucket %s: %s cannot evict; set evict = none",
                 config->place.bucket, name);
        return YK_EINVALID;
    }
    return check_memory(config, error);
}

static enum yk_err
make_instances(struct yk_stack *stack, char *error)
{
    for (uint32_t i = stack->n_layers; i-- > 0;) {
        struct layer *layer = &stack->layers[i];
        enum yk_err result =
            yk_instance_new(layer->settings, &layer->host.host, &layer->self, error);
        if (result != YK_OK) {
            return result;
        }
        layer->is_made = true;
        layer_info(layer, &stack->info);
    }
    bool is_synced = stack->place.durability != YK_DURABILITY_MEMORY &&
                     (stack->info.caps & YK_BACKEND_VOLATILE) == 0;
    if (is_synced) {
        stack->info.caps |= YK_BACKEND_BLOCKS; /* a checkpoint waits for the device */
    }
    return YK_OK;
}

static enum yk_err
open_layers(struct yk_stack *stack, const struct yk_stack_config *config, char *error)
{
    enum yk_err result = YK_OK;
    if ((stack->info.caps & YK_BACKEND_VOLATILE) == 0 && config->make_folder != NULL) {
        stack->place.folder = config->make_folder(config->arg, &stack->place, error);
        result = stack->place.folder != NULL ? YK_OK : YK_EIO;
    }
    for (uint32_t i = stack->n_layers; result == YK_OK && i-- > 0;) {
        result = layer_open(&stack->layers[i], &stack->place, error);
    }
    return result;
}

static void
close_layers(struct yk_stack *stack)
{
    for (uint32_t i = 0; i < stack->n_layers; i++) {
        layer_close(&stack->layers[i]);
    }
}

static struct yk_stack *
stack_new(const struct yk_stack_config *config)
{
    YK_ASSERT(config->n_filters <= YK_FILTERS_MAX);
    uint32_t n_layers = config->n_filters + 1;
    struct yk_stack *stack = calloc(1, sizeof(*stack) + n_layers * sizeof(struct layer));
    if (stack == NULL) {
        return NULL;
    }
    stack->n_layers = n_layers;
    stack->place = config->place;
    stack->info = (struct yk_backend_info){
        .struct_size = sizeof(stack->info), .key_size_max = 65535, .value_size_max = UINT32_MAX};
    for (uint32_t i = 0; i < n_layers; i++) {
        layer_init(&stack->layers[i], config,
                   i < config->n_filters ? config->filters[i] : config->backend);
    }
    return stack;
}

enum yk_err
yk_stack_open(const struct yk_stack_config *config, struct yk_stack **ret_stack, char *error)
{
    struct yk_stack *stack = stack_new(config);
    if (stack == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    enum yk_err result = make_instances(stack, error);
    if (result == YK_OK) {
        result = check_info(config, &stack->info, error);
    }
    if (result == YK_OK) {
        result = open_layers(stack, config, error);
        if (result == YK_ECORRUPT) {
            close_layers(stack);
            *ret_stack = stack;
            return result;
        }
    }
    if (result != YK_OK) {
        yk_stack_close(stack);
        return result;
    }
    *ret_stack = stack;
    return YK_OK;
}

enum yk_err
yk_stack_ask(const struct yk_stack_config *config, struct yk_backend_info *ret_info, char *error)
{
    struct yk_stack *stack = stack_new(config);
    if (stack == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    enum yk_err result = make_instances(stack, error);
    if (result == YK_OK) {
        result = check_info(config, &stack->info, error);
    }
    if (result == YK_OK) {
        *ret_info = stack->info;
    }
    yk_stack_close(stack);
    return result;
}

void
yk_stack_close(struct yk_stack *stack)
{
    if (stack == NULL) {
        return;
    }
    for (uint32_t i = 0; i < stack->n_layers; i++) {
        if (stack->layers[i].is_made) {
            layer_close(&stack->layers[i]);
            yk_instance_free(stack->layers[i].settings, stack->layers[i].self);
        }
    }
    free(stack);
}

const struct yk_backend_info *
yk_stack_info(const struct yk_stack *stack)
{
    return &stack->info;
}

void
yk_stack_error(struct yk_stack *stack, char *to)
{
    yk_plugin_host_error(&stack->layers[stack->n_layers - 1].host, to);
}

enum yk_err
yk_stack_get(struct yk_stack *stack, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
             void *arg, struct yk_call *call)
{
    return layer_get(&stack->layers[0].next, keys, n, fn, arg, call);
}

enum yk_err
yk_stack_apply(struct yk_stack *stack, const struct yk_change *changes, uint32_t n,
               struct yk_call *call)
{
    return layer_apply(&stack->layers[0].next, changes, n, call);
}

enum yk_err
yk_stack_scan(struct yk_stack *stack, const struct yk_scan *scan, struct yk_cursor *cursor,
              yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    return layer_scan(&stack->layers[0].next, scan, cursor, fn, arg, ret_end, call);
}

enum yk_err
yk_stack_admit(struct yk_stack *stack, const struct yk_change *change)
{
    return layer_admit(&stack->layers[0].next, change);
}

bool
yk_stack_has_admit(const struct yk_stack *stack)
{
    for (uint32_t i = 0; i < stack->n_layers; i++) {
        const struct layer *layer = &stack->layers[i];
        if (layer->is_engine ? layer->backend.admit != NULL : layer->filter.admit != NULL) {
            return true;
        }
    }
    return false;
}

void
yk_stack_prefetch(struct yk_stack *stack, const struct yk_key *key, uint32_t stage)
{
    struct layer *engine = &stack->layers[stack->n_layers - 1];
    engine->backend.prefetch(engine->self, key, stage);
}

bool
yk_stack_has_prefetch(const struct yk_stack *stack)
{
    return stack->layers[stack->n_layers - 1].backend.prefetch != NULL;
}

enum yk_err
yk_stack_sync(struct yk_stack *stack)
{
    struct layer *engine = &stack->layers[stack->n_layers - 1];
    return engine->backend.sync != NULL ? engine->backend.sync(engine->self) : YK_OK;
}

enum yk_err
yk_stack_hint(struct yk_stack *stack, const struct yk_key *key, struct yk_hint *ret_hint)
{
    struct layer *engine = &stack->layers[stack->n_layers - 1];
    return engine->backend.hint != NULL ? engine->backend.hint(engine->self, key, ret_hint)
                                        : YK_ENOTFOUND;
}

bool
yk_stack_has_hints(const struct yk_stack *stack)
{
    return stack->layers[stack->n_layers - 1].backend.hint != NULL;
}

void
yk_stack_figures(struct yk_stack *stack, yk_figure_fn fn, void *arg)
{
    for (uint32_t i = 0; i < stack->n_layers; i++) {
        struct layer *layer = &stack->layers[i];
        void (*stats)(void *, yk_figure_fn, void *) =
            layer->is_engine ? layer->backend.stats : layer->filter.stats;
        uint64_t records;
        if (stats != NULL) {
            stats(layer->self, fn, arg);
        }
        if (layer->is_engine && layer->backend.count != NULL &&
            layer->backend.count(layer->self, &records) == YK_OK) {
            fn(arg, "curr_items", records);
        }
    }
}
