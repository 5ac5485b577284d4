/* Has options, but nothing that takes them. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {
    .struct_size = sizeof(ops), .get = base_get, .apply = base_apply, .scan = base_scan};

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_UINT, 0, "number", "1", .help = "A number."},
};

YK_PLUGIN(no_config) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("no_config"),
                        .n_options = 1, .options = options, .ops = &ops};
