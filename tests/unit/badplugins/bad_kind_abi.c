/* Was built for another ABI of its kind. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

YK_PLUGIN(bad_kind_abi) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI + 6),
                           BASE_TEXTS("bad_kind_abi"), .ops = &ops};
