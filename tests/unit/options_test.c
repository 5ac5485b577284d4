/* Option values, nearest names, settings, and the making of instances from them. */
#include <config.h>

#include "core/base/options.h"

#include <glib.h>

#include "core/base/world.h"

static const char *const colours[] = {"red", "green", "blue", NULL};

struct value_case {
    struct yk_option option;
    const char *text;
    uint64_t number;
    const char *printed; /* of a good value */
    const char *error;   /* of a bad one */
};

static const struct value_case value_cases[] = {
    {{.type = YK_OPTION_BOOL}, "yes", 1, "yes"},
    {{.type = YK_OPTION_BOOL}, "true", 1, "yes"},
    {{.type = YK_OPTION_BOOL}, "on", 1, "yes"},
    {{.type = YK_OPTION_BOOL}, "1", 1, "yes"},
    {{.type = YK_OPTION_BOOL}, " no ", 0, "no"},
    {{.type = YK_OPTION_BOOL}, "false", 0, "no"},
    {{.type = YK_OPTION_BOOL}, "off", 0, "no"},
    {{.type = YK_OPTION_BOOL}, "0", 0, "no"},
    {{.type = YK_OPTION_BOOL},
     "Yes",
     0,
     NULL,
     "'Yes' is neither yes nor no: write yes, no, true, false, on, off, 1 or 0"},
    {{.type = YK_OPTION_BOOL, .fallback = "no"},
     "",
     0,
     NULL,
     "'' is neither yes nor no: write yes, no, true, false, on, off, 1 or 0"},
    {{.type = YK_OPTION_UINT}, "18446744073709551615", UINT64_MAX, "18446744073709551615"},
    {{.type = YK_OPTION_UINT}, "007", 7, "7"},
    {{.type = YK_OPTION_UINT, .min = 1, .max = 64}, "1", 1, "1"},
    {{.type = YK_OPTION_UINT, .min = 1, .max = 64}, "64", 64, "64"},
    {{.type = YK_OPTION_UINT, .min = 1, .max = 64},
     "0",
     0,
     NULL,
     "'0' is out of range: write 1 to 64"},
    {{.type = YK_OPTION_UINT, .min = 1, .max = 64},
     "65",
     0,
     NULL,
     "'65' is out of range: write 1 to 64"},
    {{.type = YK_OPTION_UINT, .min = 1}, "0", 0, NULL, "'0' is out of range: write at least 1"},
    {{.type = YK_OPTION_UINT},
     "18446744073709551616",
     0,
     NULL,
     "'18446744073709551616' is out of range: write at most 18446744073709551615"},
    {{.type = YK_OPTION_UINT},
     "-1",
     0,
     NULL,
     "'-1' is not a number: write decimal digits only, such as 16"},
    {{.type = YK_OPTION_UINT},
     "0x10",
     0,
     NULL,
     "'0x10' is not a number: write decimal digits only, such as 16"},
    {{.type = YK_OPTION_UINT},
     "1 2",
     0,
     NULL,
     "'1 2' is not a number: write decimal digits only, such as 16"},
    {{.type = YK_OPTION_SIZE}, "12", 12, "12"},
    {{.type = YK_OPTION_SIZE}, "0", 0, "0"},
    {{.type = YK_OPTION_SIZE}, "65536K", 64 << 20, "64M"},
    {{.type = YK_OPTION_SIZE}, "1T", 1ull << 40, "1T"},
    {{.type = YK_OPTION_SIZE}, "1025", 1025, "1025"},
    {{.type = YK_OPTION_SIZE}, "16777215T", 16777215ull << 40, "16777215T"},
    {{.type = YK_OPTION_SIZE, .max = 1 << 30},
     "2G",
     0,
     NULL,
     "'2G' is out of range: write at most 1G"},
    {{.type = YK_OPTION_SIZE},
     "16777216T",
     0,
     NULL,
     "'16777216T' is out of range: write at most 18446744073709551615"},
    {{.type = YK_OPTION_SIZE},
     "64MB",
     0,
     NULL,
     "'64MB' is not a size: write a number with an optional K, M, G or T, such as 64M"},
    {{.type = YK_OPTION_SIZE},
     "64 M",
     0,
     NULL,
     "'64 M' is not a size: write a number with an optional K, M, G or T, such as 64M"},
    {{.type = YK_OPTION_SIZE},
     "12x",
     0,
     NULL,
     "'12x' is not a size: write a number with an optional K, M, G or T, such as 64M"},
    {{.type = YK_OPTION_DURATION}, "250ms", 250000, "250ms"},
    {{.type = YK_OPTION_DURATION}, "1500ms", 1500000, "1500ms"},
    {{.type = YK_OPTION_DURATION}, "60s", 60000000, "1m"},
    {{.type = YK_OPTION_DURATION}, "7us", 7, "7us"},
    {{.type = YK_OPTION_DURATION}, "24h", 86400000000ull, "1d"},
    {{.type = YK_OPTION_DURATION}, "0", 0, "0"},
    {{.type = YK_OPTION_DURATION}, "0s", 0, "0"},
    {{.type = YK_OPTION_DURATION},
     "5",
     0,
     NULL,
     "'5' is not a duration: write a number and us, ms, s, m, h or d, such as 250ms"},
    {{.type = YK_OPTION_DURATION, .min = 1000, .max = 60000000},
     "2m",
     0,
     NULL,
     "'2m' is out of range: write 1ms to 1m"},
    {{.type = YK_OPTION_DURATION},
     "213503983d",
     0,
     NULL,
     "'213503983d' is out of range: write at most 18446744073709551615us"},
    {{.type = YK_OPTION_RATIO}, "0.25", 250000, "0.25"},
    {{.type = YK_OPTION_RATIO}, "25%", 250000, "0.25"},
    {{.type = YK_OPTION_RATIO}, "12.5%", 125000, "0.125"},
    {{.type = YK_OPTION_RATIO}, "1", 1000000, "1.0"},
    {{.type = YK_OPTION_RATIO}, "0.000001", 1, "0.000001"},
    {{.type = YK_OPTION_RATIO}, "0", 0, "0.0"},
    {{.type = YK_OPTION_RATIO, .max = 1000000},
     "100.0001%",
     0,
     NULL,
     "'100.0001%' is out of range: write at most 1.0"},
    {{.type = YK_OPTION_RATIO},
     "0.0000001",
     0,
     NULL,
     "'0.0000001' is not a ratio: write 0.25 or 25%, exact to a millionth"},
    {{.type = YK_OPTION_RATIO},
     ".5",
     0,
     NULL,
     "'.5' is not a ratio: write 0.25 or 25%, exact to a millionth"},
    {{.type = YK_OPTION_RATIO},
     "1.",
     0,
     NULL,
     "'1.' is not a ratio: write 0.25 or 25%, exact to a millionth"},
    {{.type = YK_OPTION_RATIO},
     "1%%",
     0,
     NULL,
     "'1%%' is not a ratio: write 0.25 or 25%, exact to a millionth"},
    {{.type = YK_OPTION_RATIO},
     "99999999999999999999",
     0,
     NULL,
     "'99999999999999999999' is out of range: write at most 18446744073709.551615"},
    {{.type = YK_OPTION_STRING}, "  a  b  ", 0, "a  b"},
    {{.type = YK_OPTION_STRING, .fallback = "x"}, "", 0, ""},
    {{.type = YK_OPTION_STRING, .min = 2, .max = 3}, "abc", 0, "abc"},
    {{.type = YK_OPTION_STRING, .min = 2, .max = 3},
     "abcd",
     0,
     NULL,
     "'abcd' has 4 bytes: write 2 to 3 bytes"},
    {{.type = YK_OPTION_STRING, .min = 2, .fallback = "ab"},
     "",
     0,
     NULL,
     "'' has 0 bytes: write at least 2 bytes"},
    {{.type = YK_OPTION_ENUM, .choices = colours}, "blue", 2, "blue"},
    {{.type = YK_OPTION_ENUM, .choices = colours},
     "bleu",
     0,
     NULL,
     "unknown value 'bleu'; did you mean 'blue'?"},
    {{.type = YK_OPTION_ENUM, .choices = colours},
     "yellow",
     0,
     NULL,
     "unknown value 'yellow'; known: red, green, blue"},
    {{.type = YK_OPTION_ENUM}, "red", 0, NULL, "unknown value 'red'; there is none to choose from"},
    {{.type = YK_OPTION_LIST}, "a,b ,  c", 0, "a, b, c"},
    {{.type = YK_OPTION_LIST}, "", 0, ""},
    {{.type = YK_OPTION_LIST}, "a,,b", 0, NULL, "'a,,b' has an empty entry: write a, b, c"},
    {{.type = YK_OPTION_LIST}, "a,", 0, NULL, "'a,' has an empty entry: write a, b, c"},
    {{.type = YK_OPTION_LIST, .max = 2},
     "a,b,c",
     0,
     NULL,
     "the list has 3 entries: write at most 2"},
    {{.type = 99}, "a", 0, NULL, "the option's type 99 is not known here"},
    {{.type = YK_OPTION_UINT, .min = 5}, "", 0, ""}, /* no default: empty is none */
    {{.type = YK_OPTION_UINT, .min = 5}, NULL, 0, ""},
    {{.type = YK_OPTION_UINT, .fallback = "7"}, NULL, 7, "7"},
    {{.type = YK_OPTION_UINT, .max = 5, .fallback = "7"},
     NULL,
     0,
     NULL,
     "'7' is out of range: write at most 5"},
};

static void
test_values(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(value_cases); i++) {
        const struct value_case *c = &value_cases[i];
        struct yk_option_parsed parsed, again;
        char error[YK_ERROR_SIZE] = "";
        enum yk_err err = yk_option_parse(&c->option, c->text, &parsed, error);
        g_assert_cmpstr(error, ==, c->error != NULL ? c->error : "");
        g_assert_cmpint(err == YK_OK, ==, c->error == NULL);
        if (err != YK_OK) {
            continue;
        }
        g_autofree char *printed = yk_option_print(&parsed.value);
        g_assert_cmpuint(parsed.value.number, ==, c->number);
        g_assert_cmpuint(parsed.value.type, ==, c->option.type);
        g_assert_cmpuint(parsed.value.struct_size, ==, sizeof(struct yk_option_value));
        g_assert_cmpstr(printed, ==, c->printed);
        g_assert_cmpint(yk_option_parse(&c->option, printed, &again, error), ==, YK_OK);
        g_assert_cmpuint(again.value.number, ==, parsed.value.number);
        yk_option_parsed_done(&again);
        yk_option_parsed_done(&parsed);
    }
    yk_option_parsed_done(NULL);
}

static void
test_list(void)
{
    const struct yk_option option = {.type = YK_OPTION_LIST};
    struct yk_option_parsed parsed;
    char error[YK_ERROR_SIZE];
    g_assert_cmpint(yk_option_parse(&option, " a , b", &parsed, error), ==, YK_OK);
    g_assert_cmpuint(parsed.value.n_list, ==, 2);
    g_assert_cmpstr(parsed.value.list[0], ==, "a");
    g_assert_cmpstr(parsed.value.list[1], ==, "b");
    g_assert_null(parsed.value.list[2]);
    g_assert_cmpstr(parsed.value.text, ==, "a , b");
    yk_option_parsed_done(&parsed);
    g_assert_cmpint(yk_option_parse(&option, NULL, &parsed, error), ==, YK_OK);
    g_assert_cmpuint(parsed.value.n_list, ==, 0);
    g_assert_null(parsed.value.list[0]);
    yk_option_parsed_done(&parsed);
}

static void
test_nearest(void)
{
    static const char *const names[] = {"memory", "memcached", "workers", "io", "lanes", NULL};
    static const char *const none[] = {NULL};
    g_assert_cmpstr(yk_nearest_name("memcache", names), ==, "memcached");
    g_assert_cmpstr(yk_nearest_name("memroy", names), ==, "memory");
    g_assert_cmpstr(yk_nearest_name("Workers", names), ==, "workers");
    g_assert_cmpstr(yk_nearest_name("WORKERS", names), ==, "workers");
    g_assert_cmpstr(yk_nearest_name("mem", names), ==, "memory");
    g_assert_cmpstr(yk_nearest_name("lanes_max", names), ==, "lanes");
    g_assert_cmpstr(yk_nearest_name("oi", names), ==, "io");
    g_assert_cmpstr(yk_nearest_name("lane", names), ==, "lanes");
    g_assert_cmpstr(yk_nearest_name("copies", names), ==, NULL);
    g_assert_cmpstr(yk_nearest_name("", names), ==, NULL);
    g_assert_cmpstr(yk_nearest_name("x", names), ==, NULL);
    g_assert_cmpstr(yk_nearest_name("memory", none), ==, NULL);
    g_autofree char *huge = g_strnfill(100000, 'm');
    g_assert_cmpstr(yk_nearest_name(huge, names), ==, NULL);
    const char *const long_names[] = {huge, "memory", NULL};
    g_assert_cmpstr(yk_nearest_name("memori", long_names), ==, "memory");
}

static void
test_show(void)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"", "''"},
        {"a\nb\x7f", "'a?b?'"},
        {"\xff\xc3", "'\xef\xbf\xbd\xef\xbf\xbd'"},
        {"123456789012345678901234567890123456789012345678901234567890",
         "'123456789012345678901234567890123456789012345678901234567890'"},
        {"12345678901234567890123456789012345678901234567890123456789\xc3\xa9xy",
         "'12345678901234567890123456789012345678901234567890123456789...'"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *shown = yk_text_show(cases[i].text);
        g_assert_cmpstr(shown, ==, cases[i].shown);
    }
}

/* A plugin that writes down what it is told. */
static GString *events;
static const char *failing_step;

static enum yk_err
step(const struct yk_host *host, const char *name, const char *text)
{
    g_string_append_printf(events, "%s%s%s ", name, *text != '\0' ? "=" : "", text);
    if (g_strcmp0(failing_step, name) != 0) {
        return YK_OK;
    }
    if (host != NULL) {
        host->error(host, "no %s today", name);
    }
    return YK_EIO;
}

static enum yk_err
fake_create(const struct yk_host *host, void **ret_self)
{
    *ret_self = (void *)(uintptr_t)host;
    return step(host, "create", "");
}

static enum yk_err
fake_config(void *self, const char *name, const struct yk_option_value *value)
{
    return step(self, name, value->text);
}

static enum yk_err
fake_config_done(void *self)
{
    return step(NULL, "done", "");
}

static void
fake_destroy(void *self)
{
    step(NULL, "destroy", "");
}

struct fake_ops {
    uint32_t struct_size;
    struct yk_life life;
};

static const struct fake_ops fake_ops = {sizeof(fake_ops),
                                         {fake_create, fake_config, fake_config_done,
                                          fake_destroy}};

/* Entries of a table made for a later, longer struct. */
struct long_option {
    struct yk_option option;
    uint64_t later;
};

#define LONG_HEAD .struct_size = (uint32_t)sizeof(struct long_option)

static const struct long_option fake_options[] = {
    {{LONG_HEAD, .name = "size", .type = YK_OPTION_SIZE, .fallback = "1M",
      .flags = YK_OPTION_RELOAD}},
    {{LONG_HEAD, .name = "colour", .type = YK_OPTION_ENUM, .fallback = "red", .choices = colours}},
};

static const struct yk_plugin fake_plugin = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, 1), .name = "fake",   .n_options = 2,
    .options = &fake_options[0].option, .ops = &fake_ops,
};

static const struct yk_world no_world;

static void
test_settings(void)
{
    char error[YK_ERROR_SIZE] = "";
    struct yk_settings *settings = yk_settings_new(&fake_plugin, "fake 2");
    g_assert_cmpstr(settings->name, ==, "fake 2");
    g_assert_cmpuint(settings->values[0].value.number, ==, 1 << 20);
    g_assert_cmpstr(settings->values[1].value.text, ==, "red");
    g_assert_cmpint(yk_settings_set(settings, "colour", "blue", error), ==, YK_OK);
    g_assert_cmpuint(settings->values[1].value.number, ==, 2);
    g_assert_cmpint(yk_settings_set(settings, "colour", "pink", error), ==, YK_EINVALID);
    g_assert_cmpstr(error, ==, "colour: unknown value 'pink'; known: red, green, blue");
    g_assert_cmpuint(settings->values[1].value.number, ==, 2);
    g_assert_cmpint(yk_settings_set(settings, "color", "red", error), ==, YK_EINVALID);
    g_assert_cmpstr(error, ==, "unknown option 'color' of fake; did you mean 'colour'?");
    g_assert_cmpint(yk_settings_set(settings, "depth", "red", error), ==, YK_EINVALID);
    g_assert_cmpstr(error, ==, "unknown option 'depth' of fake; known: size, colour");
    yk_settings_free(settings);
    yk_settings_free(NULL);
    const struct yk_option bad = {YK_OPTION_HEAD, .name = "n", .type = YK_OPTION_UINT,
                                  .fallback = "many"};
    const struct yk_plugin bad_plugin = {.name = "bad", .n_options = 1, .options = &bad};
    g_assert_null(yk_settings_new(&bad_plugin, "bad"));
}

static void
test_instance(void)
{
    static const struct {
        const char *fail, *error, *events;
    } cases[] = {
        {NULL, "", "create size=1M colour=red done destroy "},
        {"create", "fake: create: no create today", "create "},
        {"colour", "fake: colour: no colour today", "create size=1M colour=red destroy "},
        {"done", "fake: options: input/output error", "create size=1M colour=red done destroy "},
    };
    struct yk_plugin_host host;
    yk_plugin_host_init(&host, &no_world, "fake");
    struct yk_settings *settings = yk_settings_new(&fake_plugin, "fake");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char error[YK_ERROR_SIZE] = "";
        void *self = NULL;
        events = g_string_new(NULL);
        failing_step = cases[i].fail;
        enum yk_err err = yk_instance_new(settings, &host.host, &self, error);
        g_assert_cmpint(err, ==, cases[i].fail == NULL ? YK_OK : YK_EIO);
        g_assert_true(self == (err == YK_OK ? &host : NULL));
        yk_instance_free(settings, self);
        g_assert_cmpstr(error, ==, cases[i].error);
        g_assert_cmpstr(events->str, ==, cases[i].events);
        g_string_free(events, TRUE);
    }
    yk_settings_free(settings);
}

static void
test_instance_reload(void)
{
    char error[YK_ERROR_SIZE] = "";
    void *self = NULL;
    struct yk_plugin_host host;
    yk_plugin_host_init(&host, &no_world, "fake");
    events = g_string_new(NULL);
    failing_step = NULL;
    struct yk_settings *now = yk_settings_new(&fake_plugin, "fake");
    struct yk_settings *next = yk_settings_new(&fake_plugin, "fake");
    g_assert_cmpint(yk_instance_new(now, &host.host, &self, error), ==, YK_OK);
    g_string_truncate(events, 0);
    g_assert_cmpint(yk_settings_set(next, "colour", "blue", error), ==, YK_OK);
    g_assert_cmpint(yk_settings_set(next, "size", "1024K", error), ==, YK_OK);
    g_assert_cmpint(yk_instance_reload(now, next, &host.host, self, error), ==, YK_OK);
    g_assert_cmpstr(events->str, ==, "");
    g_assert_cmpint(yk_settings_set(next, "size", "2M", error), ==, YK_OK);
    g_assert_cmpint(yk_instance_reload(now, next, &host.host, self, error), ==, YK_OK);
    g_assert_cmpstr(events->str, ==, "size=2M ");
    failing_step = "size";
    g_assert_cmpint(yk_instance_reload(now, next, &host.host, self, error), ==, YK_EIO);
    g_assert_cmpstr(error, ==, "fake: size: no size today");
    failing_step = NULL;
    yk_instance_free(now, self);
    yk_settings_free(now);
    yk_settings_free(next);
    g_string_free(events, TRUE);
}

/* Callbacks that are NULL, or beyond the plugin's struct_size, have their defaults. */
static void
test_instance_defaults(void)
{
    static const struct fake_ops short_ops = {offsetof(struct fake_ops, life.config_done),
                                              {fake_create, fake_config, fake_config_done,
                                               fake_destroy}};
    static const struct fake_ops empty_ops = {sizeof(empty_ops), {NULL, NULL, NULL, NULL}};
    char error[YK_ERROR_SIZE] = "";
    void *self = NULL;
    struct yk_plugin_host host;
    yk_plugin_host_init(&host, &no_world, "fake");
    struct yk_plugin plugin = fake_plugin;
    plugin.ops = &short_ops;
    events = g_string_new(NULL);
    struct yk_settings *settings = yk_settings_new(&plugin, "fake");
    g_assert_cmpint(yk_instance_new(settings, &host.host, &self, error), ==, YK_OK);
    yk_instance_free(settings, self);
    g_assert_cmpstr(events->str, ==, "create size=1M colour=red ");
    plugin.ops = &empty_ops;
    g_assert_cmpint(yk_instance_new(settings, &host.host, &self, error), ==, YK_EUNSUPPORTED);
    g_assert_cmpstr(error, ==, "fake: size: not supported");
    yk_settings_free(settings);
    plugin.n_options = 0;
    settings = yk_settings_new(&plugin, "fake");
    g_assert_cmpint(yk_instance_new(settings, &host.host, &self, error), ==, YK_OK);
    g_assert_null(self);
    yk_instance_free(settings, self);
    yk_settings_free(settings);
    g_string_free(events, TRUE);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/options/values", test_values);
    g_test_add_func("/options/list", test_list);
    g_test_add_func("/options/nearest", test_nearest);
    g_test_add_func("/options/show", test_show);
    g_test_add_func("/options/settings", test_settings);
    g_test_add_func("/options/instance", test_instance);
    g_test_add_func("/options/instance-reload", test_instance_reload);
    g_test_add_func("/options/instance-defaults", test_instance_defaults);
    return g_test_run();
}
