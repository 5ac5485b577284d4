/* A good module built when the ops ended after scan and options were longer by eight bytes. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {
    .struct_size = offsetof(struct yk_backend_ops, scan) + sizeof(void *),
    BASE_CALLS,
    .admit = (enum yk_err(*)(void *, const struct yk_change *))(uintptr_t)16 /* beyond its size */};

struct longer_option {
    struct yk_option option;
    uint64_t more;
};

static const struct longer_option options[] = {
    {{sizeof(struct longer_option), YK_OPTION_UINT, 0, "first", "1", 0, 9, .help = "One."}, 1},
    {{sizeof(struct longer_option), YK_OPTION_UINT, 0, "second", "2", 0, 9, .help = "Two."}, 2},
};

YK_PLUGIN(older) = {YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI), BASE_TEXTS("older"),
                    .n_options = 2, .options = &options[0].option, .ops = &ops};
