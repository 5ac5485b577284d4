/* Has a choice of nothing. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_ENUM, 0, "colour", "red", .help = "A colour."},
};

YK_PLUGIN(no_choices) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("no_choices"),
                         .n_options = sizeof(options) / sizeof(options[0]), .options = options,
                         .ops = &ops};
