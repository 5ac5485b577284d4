/* Has an option whose name cannot stand in a file. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_UINT, 0, "A Number", "1", .help = "A number."},
};

YK_PLUGIN(bad_option) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("bad_option"),
                         .n_options = sizeof(options) / sizeof(options[0]), .options = options,
                         .ops = &ops};
