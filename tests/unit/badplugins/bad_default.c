/* Has an option whose default its own bounds refuse. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_UINT, 0, "number", "100", 1, 99, .help = "A number."},
};

YK_PLUGIN(bad_default) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("bad_default"),
    .n_options = sizeof(options) / sizeof(options[0]), .options = options, .ops = &ops};
