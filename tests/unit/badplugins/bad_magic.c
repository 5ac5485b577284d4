/* Has a wrong magic number. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

YK_PLUGIN(bad_magic) = {.struct_size = sizeof(struct yk_plugin),
                        .magic = 0x12345678u,
                        .abi = YK_ABI,
                        .kind = YK_KIND_BACKEND,
                        .kind_abi = YK_BACKEND_ABI,
                        BASE_TEXTS("bad_magic"),
                        .ops = &ops};
