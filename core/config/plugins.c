/* Sections into values: of the core's tables, and of plugins' tables. */
#include <config.h>

#include "core/config/assembly.h"

enum yk_err
yk_assemble_fields(const struct yk_assembly *assembly, const struct yk_draft_section *section,
                   struct yk_fields *ret_fields)
{
    yk_fields_init(ret_fields, section->kind, &section->place);
    g_autoptr(GPtrArray) layers =
        yk_draft_layers(assembly->draft, section, assembly->node, assembly->is_chosen);
    for (guint i = 0; i < layers->len; i++) {
        const struct yk_entry *entry = g_ptr_array_index(layers, i);
        bool is_known = false;
        enum yk_err err = yk_fields_set(ret_fields, entry, &is_known, assembly->error);
        if (err != YK_OK) {
            return err;
        }
        if (!is_known) {
            const char *known[YK_FIELDS_MAX + 1] = {NULL};
            for (uint32_t key = 0; key < ret_fields->n; key++) {
                known[key] = ret_fields->table[key].name;
            }
            g_autofree char *where = g_strdup_printf("in [%s]", section->title);
            char reason[YK_ERROR_SIZE];
            yk_unknown_name("key", entry->key, where, known, reason);
            return yk_place_fail(&entry->place, YK_EINVALID, assembly->error, "%s", reason);
        }
    }
    return YK_OK;
}

enum yk_err
yk_assemble_settings(const struct yk_assembly *assembly, enum yk_plugin_kind kind,
                     const char *plugin_name, const char *name, const struct yk_place *place,
                     struct yk_settings **ret_settings)
{
    if (!yk_name_is_valid(plugin_name)) {
        g_autofree char *shown = yk_text_show(plugin_name);
        return yk_place_fail(
            place, YK_EINVALID, assembly->error,
            "%s is not the name of a plugin: use a-z, 0-9, _ and -, at most %d of them", shown,
            YK_NAME_SIZE_MAX);
    }
    const struct yk_config_source *source = assembly->source;
    char reason[YK_ERROR_SIZE] = "";
    const struct yk_plugin *plugin = source->find_plugin(source->arg, kind, plugin_name, reason);
    if (plugin == NULL) {
        return yk_place_fail(place, YK_ENOTFOUND, assembly->error, "%s", reason);
    }
    *ret_settings = yk_settings_new(plugin, name);
    if (*ret_settings == NULL) {
        return yk_place_fail(
            place, YK_EINVALID, assembly->error,
            "plugin '%s' has an option whose default it does not allow: mend the plugin",
            plugin_name);
    }
    return YK_OK;
}

static enum yk_err
settings_fill(const struct yk_assembly *assembly, const struct yk_draft_section *section,
              struct yk_settings *settings)
{
    g_autoptr(GPtrArray) layers =
        yk_draft_layers(assembly->draft, section, assembly->node, assembly->is_chosen);
    for (guint i = 0; i < layers->len; i++) {
        const struct yk_entry *entry = g_ptr_array_index(layers, i);
        char reason[YK_ERROR_SIZE];
        enum yk_err err = yk_settings_set(settings, entry->key, entry->text, reason);
        if (err != YK_OK) {
            return yk_place_fail(&entry->place, err, assembly->error, "%s", reason);
        }
    }
    return YK_OK;
}

enum yk_err
yk_assemble_shared(const struct yk_assembly *assembly, enum yk_plugin_kind kind, const char *plugin,
                   const struct yk_place *place, struct yk_settings **ret_settings)
{
    struct yk_settings *settings = NULL;
    enum yk_err err = yk_assemble_settings(assembly, kind, plugin, plugin, place, &settings);
    if (err != YK_OK) {
        return err;
    }
    enum yk_section section_kind = kind == YK_KIND_BACKEND       ? YK_SECTION_BACKEND
                                   : kind == YK_KIND_COORDINATOR ? YK_SECTION_COORDINATOR
                                                                 : YK_SECTION_FILTER;
    const struct yk_draft_section *section = yk_draft_find(assembly->draft, section_kind, plugin);
    if (section != NULL) {
        err = settings_fill(assembly, section, settings);
    }
    if (err != YK_OK) {
        yk_settings_free(settings);
        return err;
    }
    *ret_settings = settings;
    return YK_OK;
}

enum yk_err
yk_assemble_stack(const struct yk_assembly *assembly, enum yk_plugin_kind kind,
                  const struct yk_fields *fields, uint32_t key, struct yk_settings ***ret_stack,
                  uint32_t *ret_n)
{
    const char *const *names = yk_field_list(fields, key);
    *ret_stack = g_new0(struct yk_settings *, YK_FILTERS_MAX);
    *ret_n = 0;
    for (uint32_t i = 0; names[i] != NULL; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(names[i], names[j]) == 0) {
                g_autofree char *shown = yk_text_show(names[i]);
                return yk_field_fail(fields, key, YK_EINVALID, assembly->error,
                                     "names %s twice: keep one", shown);
            }
        }
        enum yk_err err = yk_assemble_shared(assembly, kind, names[i], &fields->fields[key].place,
                                             &(*ret_stack)[i]);
        if (err != YK_OK) {
            return err;
        }
        (*ret_n)++;
    }
    return YK_OK;
}

static enum yk_err
plugin_section_check(const struct yk_assembly *assembly, const struct yk_draft_section *section)
{
    struct yk_settings *settings = NULL;
    enum yk_plugin_kind kind = section->kind == YK_SECTION_BACKEND       ? YK_KIND_BACKEND
                               : section->kind == YK_SECTION_COORDINATOR ? YK_KIND_COORDINATOR
                                                                         : YK_KIND_FILTER;
    enum yk_err err = yk_assemble_shared(assembly, kind, section->name, &section->place, &settings);
    if (err == YK_ENOTFOUND && kind == YK_KIND_FILTER) {
        /* The options of both kinds of filter stand in [filter NAME]. */
        struct yk_assembly second = *assembly;
        char reason[YK_ERROR_SIZE];
        second.error = reason;
        enum yk_err second_err = yk_assemble_shared(&second, YK_KIND_REQUEST_FILTER, section->name,
                                                    &section->place, &settings);
        if (second_err != YK_ENOTFOUND) {
            err = second_err;
            memcpy(assembly->error, reason, second_err != YK_OK ? sizeof(reason) : 0);
        }
    }
    if (err == YK_OK) {
        yk_settings_free(settings);
    }
    return err;
}

enum yk_err
yk_assemble_plugin_sections(struct yk_assembly *assembly)
{
    const GPtrArray *sections = assembly->draft->sections;
    for (guint i = 0; i < sections->len; i++) {
        const struct yk_draft_section *section = g_ptr_array_index(sections, i);
        if (section->kind != YK_SECTION_BACKEND && section->kind != YK_SECTION_FILTER &&
            section->kind != YK_SECTION_COORDINATOR) {
            continue;
        }
        enum yk_err err = plugin_section_check(assembly, section);
        if (err != YK_OK) {
            return err;
        }
    }
    return YK_OK;
}
