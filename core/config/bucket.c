/* [bucket NAME]. */
#include <config.h>

#include "core/config/assembly.h"

#include <stdlib.h>

static enum yk_err
copies_read(const struct yk_assembly *assembly, const struct yk_fields *fields,
            struct yk_bucket_config *bucket)
{
    uint32_t n_servers = MAX(assembly->n_servers, 1);
    bucket->copies = (uint32_t)yk_field_number(fields, YK_BUCKET_COPIES);
    if (bucket->copies == 0) {
        bucket->copies = MIN(3, n_servers);
    }
    if (bucket->copies > n_servers) {
        return yk_field_fail(fields, YK_BUCKET_COPIES, YK_EINVALID, assembly->error,
                             "is more than the servers of this cluster: set copies = %u, or add "
                             "nodes with the role server",
                             n_servers);
    }
    bucket->min_copies = (uint32_t)yk_field_number(fields, YK_BUCKET_MIN_COPIES);
    if (bucket->min_copies == 0) {
        bucket->min_copies = MIN(2, bucket->copies);
    }
    if (bucket->min_copies > bucket->copies) {
        return yk_field_fail(fields, YK_BUCKET_MIN_COPIES, YK_EINVALID, assembly->error,
                             "is more than copies = %u; set min_copies = %u or less",
                             bucket->copies, bucket->copies);
    }
    return YK_OK;
}

static enum yk_err
memory_read(const struct yk_assembly *assembly, const struct yk_fields *fields,
            struct yk_bucket_config *bucket)
{
    bucket->evict = (enum yk_evict)yk_field_number(fields, YK_BUCKET_EVICT);
    bucket->memory_max = yk_field_number(fields, YK_BUCKET_MEMORY_MAX);
    if (bucket->evict != YK_EVICT_NONE && bucket->memory_max == 0) {
        return yk_field_fail(fields, YK_BUCKET_EVICT, YK_EINVALID, assembly->error,
                             "needs a bound to keep to; set memory_max, such as memory_max = 1G");
    }
    return YK_OK;
}

static enum yk_err
slots_read(const struct yk_assembly *assembly, const struct yk_fields *fields,
           struct yk_bucket_config *bucket)
{
    bucket->slots = (uint32_t)yk_field_number(fields, YK_BUCKET_SLOTS);
    if ((bucket->slots & (bucket->slots - 1)) == 0) {
        return YK_OK;
    }
    uint32_t above = 1;
    while (above < bucket->slots) {
        above *= 2;
    }
    return yk_field_fail(fields, YK_BUCKET_SLOTS, YK_EINVALID, assembly->error,
                         "is not a power of two from 1 to %d; the nearest are %u and %u",
                         YK_SLOTS_MAX, above / 2, above);
}

static enum yk_err
bucket_fill(const struct yk_assembly *assembly, const struct yk_fields *fields,
            struct yk_bucket_config *bucket)
{
    bucket->key_size_max = (uint32_t)yk_field_number(fields, YK_BUCKET_KEY_SIZE_MAX);
    bucket->value_size_max = yk_field_number(fields, YK_BUCKET_VALUE_SIZE_MAX);
    bucket->reads = (enum yk_reads)yk_field_number(fields, YK_BUCKET_READS);
    bucket->acks = (enum yk_acks)yk_field_number(fields, YK_BUCKET_ACK);
    bucket->durability = (enum yk_durability)yk_field_number(fields, YK_BUCKET_DURABILITY);
    enum yk_err err = copies_read(assembly, fields, bucket);
    if (err == YK_OK) {
        err = memory_read(assembly, fields, bucket);
    }
    if (err == YK_OK) {
        err = slots_read(assembly, fields, bucket);
    }
    if (err == YK_OK) {
        err =
            yk_assemble_shared(assembly, YK_KIND_BACKEND, yk_field_text(fields, YK_BUCKET_BACKEND),
                               &fields->fields[YK_BUCKET_BACKEND].place, &bucket->backend);
    }
    if (err == YK_OK) {
        err = yk_assemble_stack(assembly, YK_KIND_FILTER, fields, YK_BUCKET_FILTERS,
                                &bucket->filters, &bucket->n_filters);
    }
    return err;
}

static int
bucket_compare(const void *a, const void *b)
{
    return strcmp(((const struct yk_bucket_config *)a)->name,
                  ((const struct yk_bucket_config *)b)->name);
}

/* Names that stand beside the buckets' folders. */
static bool
is_taken(const char *name)
{
    static const char *const taken[] = {"journal", "lock", "node", "registers"};
    for (size_t i = 0; i < G_N_ELEMENTS(taken); i++) {
        if (strcmp(name, taken[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum yk_err
yk_assemble_buckets(struct yk_assembly *assembly)
{
    struct yk_config *config = assembly->config;
    const GPtrArray *sections = assembly->draft->sections;
    config->buckets = g_new0(struct yk_bucket_config, YK_BUCKETS_MAX);
    for (guint i = 0; i < sections->len; i++) {
        const struct yk_draft_section *section = g_ptr_array_index(sections, i);
        if (section->kind != YK_SECTION_BUCKET) {
            continue;
        }
        if (config->n_buckets == YK_BUCKETS_MAX) {
            return yk_place_fail(&section->place, YK_ETOOLARGE, assembly->error,
                                 "[%s] is more than the %d buckets that a node takes: remove some",
                                 section->title, YK_BUCKETS_MAX);
        }
        if (is_taken(section->name)) {
            return yk_place_fail(&section->place, YK_EINVALID, assembly->error,
                                 "[%s]: the data folder has something else of that name: choose "
                                 "another",
                                 section->title);
        }
        struct yk_bucket_config *bucket = &config->buckets[config->n_buckets++];
        bucket->name = g_strdup(section->name);
        bucket->line = assembly->draft->file != NULL ? section->place.line : 0;
        struct yk_fields fields;
        enum yk_err err = yk_assemble_fields(assembly, section, &fields);
        if (err == YK_OK) {
            err = bucket_fill(assembly, &fields, bucket);
        }
        yk_fields_done(&fields);
        if (err != YK_OK) {
            return err;
        }
    }
    if (config->n_buckets == 0) {
        const struct yk_place place = {.file = assembly->draft->file, .line = 1};
        return yk_place_fail(&place, YK_EINVALID, assembly->error,
                             "there is no bucket: add [bucket default] with backend = memory and "
                             "durability = memory");
    }
    qsort(config->buckets, config->n_buckets, sizeof(*config->buckets), bucket_compare);
    return YK_OK;
}
