/* Says that its ops end before a callback that must be there. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {.struct_size = offsetof(struct yk_backend_ops, scan),
                                          BASE_CALLS};

YK_PLUGIN(small_ops) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("small_ops"),
                        .ops = &ops};
