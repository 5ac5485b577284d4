/* Says that its struct ends in the middle. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

YK_PLUGIN(small_struct) = {.struct_size = 32,
                           .magic = YK_PLUGIN_MAGIC,
                           .abi = YK_ABI,
                           .kind = YK_KIND_BACKEND,
                           .kind_abi = YK_BACKEND_ABI,
                           BASE_TEXTS("small_struct"),
                           .ops = &ops};
