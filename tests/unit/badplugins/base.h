/* What the test modules have in common: a backend that answers nothing, right in every way, so that
 * each module differs from a good one in the one point that its name tells.
 *
 * Threads: none. Ownership: static. */
#ifndef YK_TESTS_BADPLUGINS_BASE_H
#define YK_TESTS_BADPLUGINS_BASE_H

#include <yakumo/backend.h>

static inline enum yk_err
base_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
         struct yk_call *call)
{
    return YK_EUNSUPPORTED;
}

static inline enum yk_err
base_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    return YK_EUNSUPPORTED;
}

static inline enum yk_err
base_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
          void *arg, bool *ret_end, struct yk_call *call)
{
    return YK_EUNSUPPORTED;
}

static inline enum yk_err
base_config(void *self, const char *name, const struct yk_option_value *value)
{
    return YK_OK;
}

#define BASE_CALLS                                                                                 \
    .life = {.config = base_config}, .get = base_get, .apply = base_apply, .scan = base_scan
#define BASE_OPS          .struct_size = sizeof(struct yk_backend_ops), BASE_CALLS
#define BASE_TEXTS(name_) .name = (name_), .version = "1", .summary = "a test"

#endif
