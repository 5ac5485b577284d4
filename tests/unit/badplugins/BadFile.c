/* Stands in a file whose name no plugin may have. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

YK_PLUGIN(BadFile) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("BadFile"),
                      .ops = &ops};
