/* The interface of a store filter: a layer between the core and an engine, one instance for each
 * (bucket, lane). It transforms, delays, counts or refuses; what lies below it is `next`.
 *
 * A filter that changes what is stored is part of the bucket's form and recorded in the data
 * folder. After a record has been committed an error of apply stops the lane: what may be refused
 * is refused in admit. A filter does not refuse an apply by itself with a result that leaves the
 * lane going (see apply in backend.h): what lies below would keep what it had admitted.
 *
 * Threads and ownership: as in backend.h. Filters carry no ABI promise from one version to the
 * next. */
#ifndef YAKUMO_FILTER_H
#define YAKUMO_FILTER_H

#include <yakumo/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YK_FILTER_ABI 1u

/* What lies below: call these with next itself as first argument. Lives as long as the filter is
 * open. */
struct yk_next {
    uint32_t struct_size;
    enum yk_err (*get)(struct yk_next *next, const struct yk_key *keys, uint32_t n, yk_value_fn fn,
                       void *arg, struct yk_call *call);
    enum yk_err (*apply)(struct yk_next *next, const struct yk_change *changes, uint32_t n,
                         struct yk_call *call);
    enum yk_err (*scan)(struct yk_next *next, const struct yk_scan *scan, struct yk_cursor *cursor,
                        yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call);
    enum yk_err (*admit)(struct yk_next *next, const struct yk_change *change);
};

/* Default for each call that is NULL: straight to what lies below. */
struct yk_filter_ops {
    uint32_t struct_size;

    struct yk_life life;
    void (*info)(void *self, struct yk_backend_info *info); /* holds what lies below says */
    /* open may touch the world; close ends it. Defaults: succeed. */
    enum yk_err (*open)(void *self, const struct yk_backend_place *place);
    void (*close)(void *self);

    enum yk_err (*get)(void *self, struct yk_next *next, const struct yk_key *keys, uint32_t n,
                       yk_value_fn fn, void *arg, struct yk_call *call);
    enum yk_err (*apply)(void *self, struct yk_next *next, const struct yk_change *changes,
                         uint32_t n, struct yk_call *call);
    enum yk_err (*scan)(void *self, struct yk_next *next, const struct yk_scan *scan,
                        struct yk_cursor *cursor, yk_record_fn fn, void *arg, bool *ret_end,
                        struct yk_call *call);
    enum yk_err (*admit)(void *self, struct yk_next *next, const struct yk_change *change);
    void (*stats)(void *self, yk_figure_fn fn, void *arg); /* default: nothing of its own */

    /* enum yk_backend_threads that the filter copes with; the stack has the least of all its
     * layers. */
    uint32_t threads;
};

#ifdef __cplusplus
}
#endif

#endif
