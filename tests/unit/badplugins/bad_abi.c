/* Was built for another ABI. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

YK_PLUGIN(bad_abi) = {.struct_size = sizeof(struct yk_plugin),
                      .magic = YK_PLUGIN_MAGIC,
                      .abi = YK_ABI + 1,
                      .kind = YK_KIND_BACKEND,
                      .kind_abi = YK_BACKEND_ABI,
                      BASE_TEXTS("bad_abi"),
                      .ops = &ops};
