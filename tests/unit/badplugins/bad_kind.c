/* Is of a kind that nobody knows. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

YK_PLUGIN(bad_kind) = {YK_PLUGIN_HEAD(77, 1), BASE_TEXTS("bad_kind"), .ops = &ops};
