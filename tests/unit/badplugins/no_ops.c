/* Has no ops at all. */
#include "tests/unit/badplugins/base.h"

YK_PLUGIN(no_ops) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("no_ops")};
