/* [frontend NAME]: the core's keys and the plugin's options stand in one section. */
#include <config.h>

#include "core/config/assembly.h"

#include <stdlib.h>

static enum yk_err
key_unknown(const struct yk_assembly *assembly, const struct yk_draft_section *section,
            const struct yk_fields *fields, const struct yk_plugin *plugin,
            const struct yk_entry *entry)
{
    g_autofree const char **known = g_new0(const char *, fields->n + plugin->n_options + 1);
    uint32_t n = 0;
    for (; n < fields->n; n++) {
        known[n] = fields->table[n].name;
    }
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        known[n++] = yk_option_at(plugin->options, i)->name;
    }
    g_autofree char *where = g_strdup_printf("in [%s]", section->title);
    char reason[YK_ERROR_SIZE];
    yk_unknown_name("key", entry->key, where, known, reason);
    return yk_place_fail(&entry->place, YK_EINVALID, assembly->error, "%s", reason);
}

static enum yk_err
keys_read(const struct yk_assembly *assembly, const struct yk_draft_section *section,
          struct yk_fields *fields, struct yk_settings *settings)
{
    g_autoptr(GPtrArray) layers =
        yk_draft_layers(assembly->draft, section, assembly->node, assembly->is_chosen);
    const struct yk_plugin *plugin = settings->plugin;
    for (guint i = 0; i < layers->len; i++) {
        const struct yk_entry *entry = g_ptr_array_index(layers, i);
        bool is_known = false;
        enum yk_err err = yk_fields_set(fields, entry, &is_known, assembly->error);
        if (err != YK_OK) {
            return err;
        }
        if (is_known) {
            continue;
        }
        if (yk_option_find(plugin->options, plugin->n_options, entry->key) == NULL) {
            return key_unknown(assembly, section, fields, plugin, entry);
        }
        char reason[YK_ERROR_SIZE];
        err = yk_settings_set(settings, entry->key, entry->text, reason);
        if (err != YK_OK) {
            return yk_place_fail(&entry->place, err, assembly->error, "%s", reason);
        }
    }
    return YK_OK;
}

static bool
is_wildcard(const struct yk_address *address)
{
    static const uint8_t zeroes[sizeof(address->bytes)];
    return memcmp(address->bytes, zeroes, sizeof(zeroes)) == 0;
}

/* Whether two listeners cannot be there at once. */
static bool
addresses_collide(const struct yk_address *a, const struct yk_address *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    if (a->kind == YK_ADDRESS_UNIX || a->kind == YK_ADDRESS_SYSTEMD) {
        return strcmp(a->path, b->path) == 0;
    }
    return a->port == b->port &&
           (memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0 || is_wildcard(a) || is_wildcard(b));
}

static enum yk_err
listener_check(const struct yk_assembly *assembly, const struct yk_draft_section *section,
               const struct yk_fields *fields, const char *text)
{
    struct yk_listener listener = {.text = text, .frontend = section->name};
    const struct yk_place *place = &fields->fields[YK_FRONTEND_LISTEN].place;
    char reason[YK_ERROR_SIZE];
    enum yk_err err = yk_address_parse(text, &listener.address, reason);
    if (err != YK_OK) {
        return yk_place_fail(place, err, assembly->error, "listen: %s", reason);
    }
    if (!listener.address.is_loopback && yk_field_number(fields, YK_FRONTEND_ALLOW_REMOTE) == 0) {
        return yk_place_fail(
            place, YK_EDENIED, assembly->error,
            "listen: other machines can reach '%s', and there is no authentication; "
            "listen on 127.0.0.1:%u, or allow it in words: allow_remote = yes",
            text, listener.address.port);
    }
    for (guint i = 0; i < assembly->listeners->len; i++) {
        const struct yk_listener *other =
            &g_array_index(assembly->listeners, struct yk_listener, i);
        if (addresses_collide(&listener.address, &other->address)) {
            return yk_place_fail(place, YK_EINVALID, assembly->error,
                                 "listen: '%s' is taken by '%s' of [frontend %s]: use another port",
                                 text, other->text, other->frontend);
        }
    }
    if (assembly->listeners->len == YK_LISTENERS_MAX) {
        return yk_place_fail(place, YK_ETOOLARGE, assembly->error,
                             "listen: more than the %d listeners that a node takes: remove some",
                             YK_LISTENERS_MAX);
    }
    g_array_append_val(assembly->listeners, listener);
    return YK_OK;
}

static enum yk_err
listen_read(const struct yk_assembly *assembly, const struct yk_draft_section *section,
            const struct yk_fields *fields, struct yk_frontend_config *frontend)
{
    const char *const *texts = yk_field_list(fields, YK_FRONTEND_LISTEN);
    if (*texts == NULL) {
        return yk_place_fail(
            &fields->fields[YK_FRONTEND_LISTEN].place, YK_EINVALID, assembly->error,
            "[%s] has no address to listen on: add listen = 127.0.0.1:11211", section->title);
    }
    frontend->listen = g_strdupv((char **)(uintptr_t)texts);
    frontend->n_listen = g_strv_length(frontend->listen);
    for (uint32_t i = 0; i < frontend->n_listen; i++) {
        enum yk_err err = listener_check(assembly, section, fields, frontend->listen[i]);
        if (err != YK_OK) {
            return err;
        }
    }
    return YK_OK;
}

static enum yk_err
bucket_find(const struct yk_assembly *assembly, const struct yk_fields *fields, uint32_t *ret_index)
{
    const struct yk_config *config = assembly->config;
    const struct yk_place *place = &fields->fields[YK_FRONTEND_BUCKET].place;
    const char *given = yk_field_text(fields, YK_FRONTEND_BUCKET);
    const char *name = *given != '\0' ? given : "default";
    const char *known[YK_BUCKETS_MAX + 1] = {NULL};
    for (uint32_t i = 0; i < config->n_buckets; i++) {
        known[i] = config->buckets[i].name;
        if (strcmp(name, known[i]) == 0) {
            *ret_index = i;
            return YK_OK;
        }
    }
    if (*given == '\0' && config->n_buckets == 1) {
        *ret_index = 0;
        return YK_OK;
    }
    if (*given == '\0') {
        return yk_place_fail(
            place, YK_EINVALID, assembly->error,
            "bucket is not given, there are %u and none is named default: add bucket = "
            "%s, or another",
            config->n_buckets, known[0]);
    }
    char reason[YK_ERROR_SIZE];
    yk_unknown_name("bucket", name, NULL, known, reason);
    return yk_place_fail(place, YK_EINVALID, assembly->error, "%s", reason);
}

static enum yk_err
prefix_read(const struct yk_assembly *assembly, const struct yk_fields *fields,
            struct yk_frontend_config *frontend)
{
    const struct yk_bucket_config *bucket = &assembly->config->buckets[frontend->bucket_index];
    frontend->key_prefix = g_strdup(yk_field_text(fields, YK_FRONTEND_KEY_PREFIX));
    for (const char *at = frontend->key_prefix; *at != '\0'; at++) {
        if ((unsigned char)*at <= ' ' || *at == 127) {
            return yk_field_fail(fields, YK_FRONTEND_KEY_PREFIX, YK_EINVALID, assembly->error,
                                 "has a blank or a control character, which no key has");
        }
    }
    if (strlen(frontend->key_prefix) >= bucket->key_size_max) {
        return yk_field_fail(fields, YK_FRONTEND_KEY_PREFIX, YK_EINVALID, assembly->error,
                             "leaves no room for a key: [bucket %s] has key_size_max = %u",
                             bucket->name, bucket->key_size_max);
    }
    return YK_OK;
}

static enum yk_err
frontend_fill(const struct yk_assembly *assembly, const struct yk_draft_section *section,
              struct yk_fields *fields, struct yk_frontend_config *frontend)
{
    const char *second = strchr(section->name, ' ');
    g_autofree char *plugin = second != NULL
                                  ? g_strndup(section->name, (size_t)(second - section->name))
                                  : g_strdup(section->name);
    enum yk_err err = yk_assemble_settings(assembly, YK_KIND_FRONTEND, plugin, section->name,
                                           &section->place, &frontend->settings);
    if (err == YK_OK) {
        err = keys_read(assembly, section, fields, frontend->settings);
    }
    if (err == YK_OK) {
        frontend->allow_remote = yk_field_number(fields, YK_FRONTEND_ALLOW_REMOTE) != 0;
        err = listen_read(assembly, section, fields, frontend);
    }
    if (err == YK_OK) {
        err = bucket_find(assembly, fields, &frontend->bucket_index);
    }
    if (err == YK_OK) {
        err = prefix_read(assembly, fields, frontend);
    }
    if (err == YK_OK) {
        err =
            yk_assemble_stack(assembly, YK_KIND_REQUEST_FILTER, fields, YK_FRONTEND_REQUEST_FILTERS,
                              &frontend->request_filters, &frontend->n_request_filters);
    }
    return err;
}

static int
frontend_compare(const void *a, const void *b)
{
    return strcmp(((const struct yk_frontend_config *)a)->name,
                  ((const struct yk_frontend_config *)b)->name);
}

enum yk_err
yk_assemble_frontends(struct yk_assembly *assembly)
{
    struct yk_config *config = assembly->config;
    const GPtrArray *sections = assembly->draft->sections;
    /* Each has a listener of its own, so that there cannot be more. */
    config->frontends = g_new0(struct yk_frontend_config, YK_LISTENERS_MAX);
    for (guint i = 0; i < sections->len; i++) {
        const struct yk_draft_section *section = g_ptr_array_index(sections, i);
        if (section->kind != YK_SECTION_FRONTEND) {
            continue;
        }
        if (config->n_frontends == YK_LISTENERS_MAX) {
            return yk_place_fail(
                &section->place, YK_ETOOLARGE, assembly->error,
                "[%s] is more than the %d frontends that a node takes: remove some", section->title,
                YK_LISTENERS_MAX);
        }
        struct yk_frontend_config *frontend = &config->frontends[config->n_frontends++];
        frontend->name = g_strdup(section->name);
        frontend->line = assembly->draft->file != NULL ? section->place.line : 0;
        struct yk_fields fields;
        yk_fields_init(&fields, YK_SECTION_FRONTEND, &section->place);
        enum yk_err err = frontend_fill(assembly, section, &fields, frontend);
        yk_fields_done(&fields);
        if (err != YK_OK) {
            return err;
        }
    }
    qsort(config->frontends, config->n_frontends, sizeof(*config->frontends), frontend_compare);
    return YK_OK;
}
