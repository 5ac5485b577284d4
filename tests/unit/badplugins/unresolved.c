/* Calls what nobody defines; linked so that only its use would show it. */
#include "tests/unit/badplugins/base.h"

void defined_by_nobody(void);

static enum yk_err
open_it(void *self, const struct yk_backend_place *place)
{
    defined_by_nobody();
    return YK_OK;
}

static const struct yk_backend_ops ops = {BASE_OPS, .open = open_it};

YK_PLUGIN(unresolved) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("unresolved"),
                         .ops = &ops};
