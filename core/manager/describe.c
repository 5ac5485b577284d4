/* From the config to the register. */
#include <config.h>

#include "core/manager/describe.h"

#include <glib.h>

void
yk_bucket_describe(const struct yk_bucket_config *config,
                   struct yk_bucket_description *ret_description)
{
    *ret_description = (struct yk_bucket_description){.slots = config->slots,
                                                      .copies = config->copies,
                                                      .min_copies = config->min_copies,
                                                      .durability = config->durability,
                                                      .reads = config->reads,
                                                      .n_filters = config->n_filters,
                                                      .memory_max = config->memory_max,
                                                      .evict = config->evict,
                                                      .key_size_max = config->key_size_max,
                                                      .value_size_max = config->value_size_max};
    g_strlcpy(ret_description->engine, config->backend->plugin->name,
              sizeof(ret_description->engine));
    for (uint32_t i = 0; i < config->n_filters; i++) {
        g_strlcpy(ret_description->filters[i], config->filters[i]->plugin->name,
                  sizeof(ret_description->filters[i]));
    }
}

bool
yk_bucket_has_form(const struct yk_bucket_description *a, const struct yk_bucket_description *b)
{
    bool is_same =
        a->slots == b->slots && strcmp(a->engine, b->engine) == 0 && a->n_filters == b->n_filters;
    for (uint32_t i = 0; is_same && i < a->n_filters; i++) {
        is_same = strcmp(a->filters[i], b->filters[i]) == 0;
    }
    return is_same;
}
