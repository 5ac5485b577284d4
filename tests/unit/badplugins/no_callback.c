/* Lacks a callback that every backend must have. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {
    .struct_size = sizeof(ops), .get = base_get, .apply = base_apply};

YK_PLUGIN(no_callback) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
                          BASE_TEXTS("no_callback"), .ops = &ops};
