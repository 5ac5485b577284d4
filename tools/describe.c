/* Words for what stands in an option table; the dump and the man pages share them. */
#include <config.h>

#include "tools/describe.h"

#include <glib.h>

#include "core/base/options.h"
#include "plugins/plugins.h"

const char *
describe_type(const struct yk_option *option)
{
    static const char *const names[] = {
        [YK_OPTION_BOOL] = "yes or no",    [YK_OPTION_UINT] = "number", [YK_OPTION_SIZE] = "size",
        [YK_OPTION_DURATION] = "duration", [YK_OPTION_STRING] = "text", [YK_OPTION_ENUM] = "choice",
        [YK_OPTION_LIST] = "list",         [YK_OPTION_RATIO] = "ratio",
    };
    return option->type < G_N_ELEMENTS(names) && names[option->type] != NULL ? names[option->type]
                                                                             : "unknown";
}

/* Texts and lists are bounded by a count, of these. */
static const char *
bound_unit(const struct yk_option *option)
{
    return option->type == YK_OPTION_STRING ? " bytes"
           : option->type == YK_OPTION_LIST ? " parts"
                                            : "";
}

/* A bound as it would stand in a file. */
static char *
bound_text(const struct yk_option *option, uint64_t number)
{
    bool is_count = *bound_unit(option) != '\0';
    struct yk_option_value value = {.struct_size = sizeof(value),
                                    .type = is_count ? YK_OPTION_UINT : option->type,
                                    .text = "-", /* "" would mean that there is none */
                                    .number = number};
    return yk_option_print(&value);
}

char *
describe_bounds(const struct yk_option *option)
{
    if (option->type == YK_OPTION_ENUM) {
        g_autofree char *choices = g_strjoinv(", ", (char **)option->choices);
        return g_strdup_printf("one of %s", choices);
    }
    if (option->type == YK_OPTION_BOOL || (option->min == 0 && option->max == 0)) {
        return NULL;
    }
    g_autofree char *min = bound_text(option, option->min);
    g_autofree char *max = bound_text(option, option->max);
    const char *unit = bound_unit(option);
    if (option->max == 0) {
        return g_strdup_printf("at least %s%s", min, unit);
    }
    return option->min == 0 ? g_strdup_printf("at most %s%s", max, unit)
                            : g_strdup_printf("%s to %s%s", min, max, unit);
}

const char *
describe_change(const struct yk_option *option)
{
    return (option->flags & YK_OPTION_RELOAD) != 0  ? "may change on reload"
           : (option->flags & YK_OPTION_FIXED) != 0 ? "fixed when the data is made"
                                                    : "set at start";
}

char *
describe_section(const struct yk_plugin *plugin)
{
    /* Both kinds of filters stand in [filter NAME]. */
    const char *kind =
        plugin->kind == YK_KIND_REQUEST_FILTER ? "filter" : yk_plugins_kind_name(plugin->kind);
    return g_strdup_printf("[%s %s]", kind, plugin->name);
}
