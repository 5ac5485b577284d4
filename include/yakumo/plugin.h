/* How a module says what it is: one exported symbol, one struct, checked before anything is called.
 *
 * A module named "memory" exports `memory_LTX_yk_plugin` (a '-' in a name becomes '_' there):
 *
 *     YK_PLUGIN(memory) = {
 *         YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), .name = "memory", ...
 *     };
 *
 * The life of an instance, in this order, each step at most once unless said otherwise:
 *
 *     create -> config (each option of the table once) -> config_done -> open -> calls -> close ->
 * destroy
 *
 * config_done checks the options against each other and touches nothing; open may touch the world.
 * After a failed create nothing more is called; after any other failure, destroy; after a failed
 * open there is no close.
 *
 * ABI: each struct that crosses begins with struct_size as its writer knew it; members are only
 * added at the end; a callback that is NULL or lies beyond struct_size has the default that its
 * header states. YK_ABI changes when something older is broken.
 *
 * Threads: one instance is called by one thread at a time unless its kind's header says otherwise.
 * Ownership: the struct and all that it points to are static. */
#ifndef YAKUMO_PLUGIN_H
#define YAKUMO_PLUGIN_H

#include <yakumo/base.h>
#include <yakumo/host.h>
#include <yakumo/option.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YK_ABI          1u
#define YK_PLUGIN_MAGIC 0x796b6d6fu /* "ykmo" */

enum yk_plugin_kind {
    YK_KIND_FRONTEND = 1,
    YK_KIND_BACKEND = 2,
    YK_KIND_FILTER = 3,         /* store filter: below the core */
    YK_KIND_REQUEST_FILTER = 4, /* above the router */
    YK_KIND_COORDINATOR = 5,
};

struct yk_plugin {
    uint32_t struct_size;
    uint32_t magic;    /* YK_PLUGIN_MAGIC */
    uint32_t abi;      /* YK_ABI */
    uint32_t kind;     /* enum yk_plugin_kind */
    uint32_t kind_abi; /* YK_FRONTEND_ABI, YK_BACKEND_ABI, ... */
    uint32_t n_options;
    const char *name;    /* [a-z0-9_-]+, the same as the file's */
    const char *version; /* of the plugin, free text */
    const char *summary; /* one line, no full stop */
    const char *details; /* paragraphs for the man page, blank lines between them; may be NULL */
    const struct yk_option *options; /* n_options of them */
    const void *ops;                 /* struct yk_frontend_ops, yk_backend_ops, ... by kind */
};

/* The part of each kind's ops that makes and ends an instance; the first member after struct_size.
 * Defaults for NULL: create gives a NULL self, config refuses every option, the others succeed.
 * Called by the thread that starts the node; config again, for options with YK_OPTION_RELOAD, by
 * the thread that owns the instance. */
struct yk_life {
    enum yk_err (*create)(const struct yk_host *host, void **ret_self);
    enum yk_err (*config)(void *self, const char *name, const struct yk_option_value *value);
    enum yk_err (*config_done)(void *self);
    void (*destroy)(void *self);
};

#define YK_PLUGIN_HEAD(kind_, kind_abi_)                                                           \
    .struct_size = (uint32_t)sizeof(struct yk_plugin), .magic = YK_PLUGIN_MAGIC, .abi = YK_ABI,    \
    .kind = (kind_), .kind_abi = (kind_abi_)

#ifdef __cplusplus
#define YK_PLUGIN(name_)                                                                           \
    extern "C" YK_EXPORT const struct yk_plugin name_##_LTX_yk_plugin;                             \
    const struct yk_plugin name_##_LTX_yk_plugin
#else
#define YK_PLUGIN(name_)                                                                           \
    extern YK_EXPORT const struct yk_plugin name_##_LTX_yk_plugin;                                 \
    const struct yk_plugin name_##_LTX_yk_plugin
#endif

#ifdef __cplusplus
}
#endif

#endif
