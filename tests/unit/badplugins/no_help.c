/* Has an option that nobody explains. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_UINT, 0, "number", "1"},
};

YK_PLUGIN(no_help) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("no_help"),
                      .n_options = sizeof(options) / sizeof(options[0]), .options = options,
                      .ops = &ops};
