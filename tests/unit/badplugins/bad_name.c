/* Calls itself otherwise than its file. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

YK_PLUGIN(bad_name) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("another"),
                       .ops = &ops};
