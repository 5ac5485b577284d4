/* Has an option of a type that nobody knows. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, 99, 0, "number", "1", .help = "A number."},
};

YK_PLUGIN(bad_type) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("bad_type"),
                       .n_options = sizeof(options) / sizeof(options[0]), .options = options,
                       .ops = &ops};
