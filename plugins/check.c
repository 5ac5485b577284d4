/* The checks of a module's struct. Nothing here trusts it: only what has been checked is read
 * further, each struct up to the size that its writer knew. */
#include <config.h>

#include "plugins/check.h"

#include <string.h>

#include <glib.h>

#include <yakumo/yakumo.h>

#include "core/base/options.h"
#include "plugins/plugins.h"

/* Beyond these a table is not meant, but broken. */
enum { STRUCT_SIZE_MAX = 65536, OPTIONS_MAX = 256 };

/* What a version 1 module has at least. */
enum {
    PLUGIN_SIZE_MIN = offsetof(struct yk_plugin, ops) + sizeof(void *),
    OPTION_SIZE_MIN = offsetof(struct yk_option, help) + sizeof(void *),
};

/* A callback without which a plugin cannot be. */
struct need {
    const char *name;
    size_t offset; /* in the ops */
};

struct kind {
    uint32_t kind; /* enum yk_plugin_kind */
    uint32_t abi;
    const char *name;
    size_t ops_size;          /* of this yakumo */
    size_t ops_size_min;      /* reaches to the end of the last member that must be there */
    const struct need *needs; /* ended by a NULL name */
};

#define NEED(ops, callback) #callback, offsetof(struct ops, callback)
#define SIZE_UP_TO(ops, member)                                                                    \
    (offsetof(struct ops, member) + sizeof(((struct ops *)NULL)->member))

static const struct need frontend_needs[] = {{NEED(yk_frontend_ops, session_new)},
                                             {NEED(yk_frontend_ops, session_free)},
                                             {NEED(yk_frontend_ops, feed)},
                                             {NEED(yk_frontend_ops, reply)},
                                             {NULL, 0}};
static const struct need backend_needs[] = {{NEED(yk_backend_ops, get)},
                                            {NEED(yk_backend_ops, apply)},
                                            {NEED(yk_backend_ops, scan)},
                                            {NULL, 0}};
static const struct need coordinator_needs[] = {
    {NEED(yk_coordinator_ops, read)}, {NEED(yk_coordinator_ops, write)}, {NULL, 0}};
static const struct need no_needs[] = {{NULL, 0}};

static const struct kind kinds[] = {
    {YK_KIND_FRONTEND, YK_FRONTEND_ABI, "frontend", sizeof(struct yk_frontend_ops),
     SIZE_UP_TO(yk_frontend_ops, reply), frontend_needs},
    {YK_KIND_BACKEND, YK_BACKEND_ABI, "backend", sizeof(struct yk_backend_ops),
     SIZE_UP_TO(yk_backend_ops, scan), backend_needs},
    {YK_KIND_FILTER, YK_FILTER_ABI, "filter", sizeof(struct yk_filter_ops),
     SIZE_UP_TO(yk_filter_ops, life), no_needs},
    {YK_KIND_REQUEST_FILTER, YK_REQUEST_FILTER_ABI, "request filter",
     sizeof(struct yk_request_filter_ops), SIZE_UP_TO(yk_request_filter_ops, life), no_needs},
    {YK_KIND_COORDINATOR, YK_COORDINATOR_ABI, "coordinator", sizeof(struct yk_coordinator_ops),
     SIZE_UP_TO(yk_coordinator_ops, write), coordinator_needs},
};

/* All ops begin with these two. */
struct any_ops {
    uint32_t struct_size;
    struct yk_life life;
};

static const struct kind *
kind_find(uint32_t number)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i].kind == number) {
            return &kinds[i];
        }
    }
    return NULL;
}

const char *
yk_plugins_kind_name(uint32_t number)
{
    const struct kind *kind = kind_find(number);
    return kind != NULL ? kind->name : "plugin of an unknown kind";
}

#define WORD_BYTES "abcdefghijklmnopqrstuvwxyz0123456789_"

static bool
is_made_of(const char *text, const char *bytes)
{
    size_t size = strlen(text);
    return size > 0 && size <= YK_NAME_SIZE_MAX && strspn(text, bytes) == size;
}

bool
yk_plugins_name_is_valid(const char *name)
{
    return is_made_of(name, WORD_BYTES "-");
}

/* Writes the reason and returns false, so that a check can end in it. */
static bool G_GNUC_PRINTF(2, 3) refuse(char *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_vsnprintf(error, YK_ERROR_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

static bool
check_size(const char *what, uint32_t size, size_t size_min, char *error)
{
    if (size < size_min || size > STRUCT_SIZE_MAX) {
        return refuse(error, "struct_size of its %s is %u: too %s, ABI %u has %zu bytes or more",
                      what, size, size < size_min ? "small" : "large", YK_ABI, size_min);
    }
    return true;
}

/* The head: in the order in which it may be read. */
static bool
check_head(const struct yk_plugin *plugin, char *error)
{
    if (plugin->magic != YK_PLUGIN_MAGIC) {
        return refuse(error, "not a yakumo plugin: its magic is 0x%08x, not 0x%08x", plugin->magic,
                      YK_PLUGIN_MAGIC);
    }
    if (plugin->abi != YK_ABI) {
        return refuse(error, "was built for plugin ABI %u, this yakumo has ABI %u: build it again",
                      plugin->abi, YK_ABI);
    }
    if (!check_size("struct yk_plugin", plugin->struct_size, PLUGIN_SIZE_MIN, error)) {
        return false;
    }
    const struct kind *kind = kind_find(plugin->kind);
    if (kind == NULL) {
        return refuse(error, "is of kind %u, which this yakumo does not know", plugin->kind);
    }
    if (plugin->kind_abi != kind->abi) {
        return refuse(error, "was built for %s ABI %u, this yakumo has %s ABI %u: build it again",
                      kind->name, plugin->kind_abi, kind->name, kind->abi);
    }
    return true;
}

static bool
check_texts(const struct yk_plugin *plugin, const char *name, char *error)
{
    if (plugin->name == NULL || !yk_plugins_name_is_valid(plugin->name)) {
        return refuse(error,
                      "calls itself '%.*s': a name is made of a-z, 0-9, '_' and '-', at most %d",
                      YK_NAME_SIZE_MAX, plugin->name != NULL ? plugin->name : "", YK_NAME_SIZE_MAX);
    }
    if (strcmp(plugin->name, name) != 0) {
        return refuse(error, "calls itself '%s', but its file is named '%s'", plugin->name, name);
    }
    if (plugin->version == NULL || plugin->summary == NULL || plugin->summary[0] == '\0') {
        return refuse(error, "has no version or no summary");
    }
    return true;
}

static bool
check_ops(const struct yk_plugin *plugin, char *error)
{
    const struct kind *kind = kind_find(plugin->kind);
    const struct any_ops *ops = plugin->ops;
    if (ops == NULL) {
        return refuse(error, "has no ops");
    }
    if (!check_size("ops", ops->struct_size, kind->ops_size_min, error)) {
        return false;
    }
    for (const struct need *need = kind->needs; need->name != NULL; need++) {
        void *callback = NULL;
        memcpy(&callback, (const char *)plugin->ops + need->offset, sizeof(callback));
        if (callback == NULL) {
            return refuse(error, "lacks the callback %s, which every %s must have", need->name,
                          kind->name);
        }
    }
    if (plugin->n_options > 0 && ops->life.config == NULL) {
        return refuse(error, "has options, but no callback life.config to take them");
    }
    return true;
}

/* A module's options lie as far apart as its own struct was long. */
static const struct yk_option *
option_at(const struct yk_plugin *plugin, uint32_t index)
{
    size_t size = plugin->options[0].struct_size;
    return (const struct yk_option *)((const char *)plugin->options + index * size);
}

static bool
check_default(const struct yk_option *option, char *error)
{
    if (option->fallback == NULL) {
        return true;
    }
    char reason[YK_ERROR_SIZE] = "";
    struct yk_option_parsed parsed;
    if (yk_option_parse(option, option->fallback, &parsed, reason) != YK_OK) {
        return refuse(error, "option '%s': its own default '%s' is refused: %s", option->name,
                      option->fallback, reason);
    }
    yk_option_parsed_done(&parsed);
    return true;
}

static bool
check_option(const struct yk_option *option, uint32_t index, char *error)
{
    if (option->name == NULL || !is_made_of(option->name, WORD_BYTES)) {
        return refuse(
            error, "option %u is named '%.*s': a name is made of a-z, 0-9 and '_', at most %d",
            index, YK_NAME_SIZE_MAX, option->name != NULL ? option->name : "", YK_NAME_SIZE_MAX);
    }
    if (option->type < YK_OPTION_BOOL || option->type > YK_OPTION_RATIO) {
        return refuse(error, "option '%s' has type %u, which this yakumo does not know",
                      option->name, option->type);
    }
    if ((option->flags & ~(uint32_t)(YK_OPTION_RELOAD | YK_OPTION_FIXED)) != 0 ||
        option->flags == (YK_OPTION_RELOAD | YK_OPTION_FIXED)) {
        return refuse(error, "option '%s' has flags 0x%x, which make no sense", option->name,
                      option->flags);
    }
    if (option->max != 0 && option->min > option->max) {
        return refuse(error, "option '%s' has a least value above its greatest", option->name);
    }
    if (option->type == YK_OPTION_ENUM && (option->choices == NULL || option->choices[0] == NULL)) {
        return refuse(error, "option '%s' has no choices", option->name);
    }
    if (option->help == NULL || option->help[0] == '\0') {
        return refuse(error, "option '%s' has no help text", option->name);
    }
    return check_default(option, error);
}

static bool
check_options(const struct yk_plugin *plugin, char *error)
{
    if (plugin->n_options > OPTIONS_MAX || (plugin->n_options > 0 && plugin->options == NULL)) {
        return refuse(error, "has a broken table of options: %u of them, at most %d may be",
                      plugin->n_options, OPTIONS_MAX);
    }
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        uint32_t size = plugin->options[0].struct_size;
        if (i == 0 && !check_size("options", size, OPTION_SIZE_MIN, error)) {
            return false;
        }
        const struct yk_option *option = option_at(plugin, i);
        if (option->struct_size != size) {
            return refuse(error, "option %u has struct_size %u, the first one %u", i,
                          option->struct_size, size);
        }
        if (!check_option(option, i, error)) {
            return false;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(option_at(plugin, k)->name, option->name) == 0) {
                return refuse(error, "option '%s' stands in its table twice", option->name);
            }
        }
    }
    return true;
}

/* A module whose structs have other sizes than this yakumo's, as translated. Kept for ever, like
 * the modules, so that each is translated once. */
struct translation {
    const struct yk_plugin *from;
    const struct yk_plugin *to;
    struct translation *next;
};

static struct translation *translations;

/* A copy in our size: what the module has of it, then zeros. */
static void *
copy_in_size(const void *from, uint32_t from_size, size_t size)
{
    void *copy = g_malloc0(size);
    memcpy(copy, from, MIN(from_size, size));
    *(uint32_t *)copy = (uint32_t)size;
    return copy;
}

static const struct yk_plugin *
translate(const struct yk_plugin *plugin)
{
    const struct kind *kind = kind_find(plugin->kind);
    const struct any_ops *ops = plugin->ops;
    struct yk_plugin *copy = copy_in_size(plugin, plugin->struct_size, sizeof(*copy));
    copy->ops = copy_in_size(ops, ops->struct_size, kind->ops_size);
    struct yk_option *options = g_new0(struct yk_option, plugin->n_options + 1);
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct yk_option *option = option_at(plugin, i);
        memcpy(&options[i], option, MIN(option->struct_size, sizeof(options[i])));
        options[i].struct_size = YK_OPTION_HEAD;
    }
    copy->options = options;
    return copy;
}

/* The module's structs in this yakumo's sizes. */
static const struct yk_plugin *
in_our_sizes(const struct yk_plugin *plugin)
{
    const struct any_ops *ops = plugin->ops;
    uint32_t option_size = plugin->n_options > 0 ? plugin->options[0].struct_size : YK_OPTION_HEAD;
    if (plugin->struct_size == sizeof(*plugin) && option_size == YK_OPTION_HEAD &&
        ops->struct_size == kind_find(plugin->kind)->ops_size) {
        return plugin;
    }
    for (const struct translation *known = translations; known != NULL; known = known->next) {
        if (known->from == plugin) {
            return known->to;
        }
    }
    struct translation *translation = g_new(struct translation, 1);
    *translation = (struct translation){plugin, translate(plugin), translations};
    translations = translation;
    return translation->to;
}

const struct yk_plugin *
yk_plugins_check(const struct yk_plugin *plugin, const char *name, char *error)
{
    bool is_good = check_head(plugin, error) && check_texts(plugin, name, error) &&
                   check_ops(plugin, error) && check_options(plugin, error);
    return is_good ? in_our_sizes(plugin) : NULL;
}
