/* Any bytes as a config file: refused with one line, or taken, and then its dump is a config too,
 * the same.
 *
 * Comment lines "#-o section.key=value" and "#--node NAME" stand for the command line's options. */
#include <config.h>

#include <stdint.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OVERRIDES_MAX = 8, LINES_MAX = 100 };

struct options {
    char *overrides[OVERRIDES_MAX + 1]; /* ended by NULL */
    char *node;                         /* or NULL */
};

static const char *const colours[] = {"red", "green", "blue", NULL};
static const struct yk_option all_options[] = {
    {YK_OPTION_HEAD, .name = "bool", .type = YK_OPTION_BOOL, .fallback = "no"},
    {YK_OPTION_HEAD, .name = "uint", .type = YK_OPTION_UINT, .fallback = "5", .min = 1,
     .max = 1000},
    {YK_OPTION_HEAD, .name = "size", .type = YK_OPTION_SIZE, .flags = YK_OPTION_RELOAD},
    {YK_OPTION_HEAD, .name = "duration", .type = YK_OPTION_DURATION, .fallback = "250ms"},
    {YK_OPTION_HEAD, .name = "text", .type = YK_OPTION_STRING},
    {YK_OPTION_HEAD, .name = "colour", .type = YK_OPTION_ENUM, .fallback = "red",
     .choices = colours},
    {YK_OPTION_HEAD, .name = "list", .type = YK_OPTION_LIST, .max = 5},
    {YK_OPTION_HEAD, .name = "ratio", .type = YK_OPTION_RATIO, .fallback = "1%"},
};

#define FAKE(kind_, name_)                                                                         \
    YK_PLUGIN_HEAD(YK_KIND_##kind_, 1), .name = (name_), .n_options = G_N_ELEMENTS(all_options),   \
                                        .options = all_options

static const struct yk_plugin fakes[] = {
    {FAKE(FRONTEND, "memcached")}, {FAKE(BACKEND, "memory")},          {FAKE(FILTER, "delay")},
    {FAKE(FILTER, "stats")},       {FAKE(REQUEST_FILTER, "readonly")}, {FAKE(COORDINATOR, "local")},
    {FAKE(COORDINATOR, "quorum")}, {FAKE(COORDINATOR, "etcd")},
};

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    static const char *const none[] = {NULL};
    for (size_t i = 0; i < G_N_ELEMENTS(fakes); i++) {
        if (fakes[i].kind == kind && strcmp(fakes[i].name, name) == 0) {
            return &fakes[i];
        }
    }
    yk_unknown_name("plugin", name, NULL, none, error);
    return NULL;
}

static void
options_read(struct options *options, const char *text, size_t size)
{
    static const char override_head[] = "#-o ", node_head[] = "#--node ";
    g_autofree char *copy = g_strndup(size > 0 ? text : "", size);
    g_auto(GStrv) lines = g_strsplit(copy, "\n", LINES_MAX);
    size_t n = 0;
    for (char **line = lines; *line != NULL; line++) {
        if (n < OVERRIDES_MAX && g_str_has_prefix(*line, override_head)) {
            options->overrides[n++] = g_strdup(*line + sizeof(override_head) - 1);
        } else if (options->node == NULL && g_str_has_prefix(*line, node_head)) {
            options->node = g_strdup(*line + sizeof(node_head) - 1);
        }
    }
}

static struct yk_config *
parse(const char *file, const char *text, size_t size, const struct options *options)
{
    const struct yk_config_source source = {
        .file = file,
        .text = text,
        .size = size,
        .node = options->node,
        .overrides = (const char *const *)options->overrides,
        .find_plugin = find_plugin,
    };
    char error[YK_ERROR_SIZE];
    struct yk_config *config = NULL;
    if (yk_config_parse(&source, &config, error) == YK_OK) {
        return config;
    }
    YK_ASSERT(memchr(error, '\0', sizeof(error)) != NULL);
    YK_ASSERT(*error != '\0' && strchr(error, '\n') == NULL);
    YK_ASSERT(g_utf8_validate(error, -1, NULL));
    YK_ASSERT(!g_str_has_prefix(error, "f:1: GKeyFile refuses")); /* what our scan took */
    return NULL;
}

static void
round_trip(const char *file, const char *text, size_t size, const struct options *options)
{
    static const struct options no_options;
    struct yk_config *config = parse(file, text, size, options);
    if (config == NULL) {
        return;
    }
    char error[YK_ERROR_SIZE];
    g_autofree char *dump = yk_config_dump(config);
    struct yk_config *again = parse("dump", dump, strlen(dump), &no_options);
    YK_ASSERT(again != NULL);
    g_autofree char *second_dump = yk_config_dump(again);
    YK_ASSERT(strcmp(dump, second_dump) == 0);
    YK_ASSERT(yk_config_check_reload(config, again, error) == YK_OK);
    yk_config_free(again);
    yk_config_free(config);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct options options = {{NULL}};
    options_read(&options, (const char *)data, size);
    round_trip("f", (const char *)data, size, &options);
    if (options.overrides[0] != NULL) {
        round_trip(NULL, "", 0, &options);
    }
    for (size_t i = 0; i < OVERRIDES_MAX; i++) {
        g_free(options.overrides[i]);
    }
    g_free(options.node);
    return 0;
}
