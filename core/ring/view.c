/* Views are counted by references; their content is filled in by who makes them. */
#include <config.h>

#include "core/ring/view.h"

#include <stdlib.h>

struct yk_view *
yk_view_new(uint32_t n_buckets)
{
    struct yk_view *view = calloc(1, sizeof(*view) + n_buckets * sizeof(view->buckets[0]));
    if (view != NULL) {
        view->n_refs = 1;
        view->n_buckets = n_buckets;
    }
    return view;
}

struct yk_view *
yk_view_ref(struct yk_view *view)
{
    __atomic_add_fetch(&view->n_refs, 1, __ATOMIC_RELAXED);
    return view;
}

void
yk_view_unref(struct yk_view *view)
{
    if (view == NULL || __atomic_sub_fetch(&view->n_refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (uint32_t i = 0; i < view->n_buckets; i++) {
        yk_bucket_register_done(&view->buckets[i].bucket);
    }
    free(view);
}
