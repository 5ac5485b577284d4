/* The plugin host: what it finds, and that every kind of broken module is refused with its file and
 * the true reason. The modules are those of badplugins/, built beside this test. */
#include <config.h>

#include "plugins/plugins.h"

#include <string.h>

#include <glib.h>
#include <glib/gstdio.h>

#include <yakumo/backend.h>

#include "core/base/limits.h"

/* The build folder's tests/unit/badplugins. */
static char *
modules_folder(void)
{
    const char *top = g_getenv("top_builddir");
    return g_build_filename(top != NULL ? top : ".", "tests", "unit", "badplugins", NULL);
}

static void
assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        g_test_message("'%s' does not have '%s'", text, part);
        g_test_fail();
    }
}

static void
assert_refused(struct yk_plugins *plugins, enum yk_plugin_kind kind, const char *name,
               const char *const *parts)
{
    char error[YK_ERROR_SIZE] = "";
    g_assert_null(yk_plugins_find(plugins, kind, name, error));
    g_test_message("%s", error);
    for (; *parts != NULL; parts++) {
        assert_has(error, *parts);
    }
}

struct bad_case {
    const char *name;
    const char *parts[4]; /* that the reason must have, ended by NULL */
};

static const struct bad_case bad_cases[] = {
    {"bad_magic", {"not a yakumo plugin", "0x12345678", "0x796b6d6f"}},
    {"bad_abi", {"ABI 2", "this yakumo has ABI 1"}},
    {"bad_kind_abi", {"backend ABI 7", "this yakumo has backend ABI 1"}},
    {"bad_kind", {"kind 77"}},
    {"bad_name", {"calls itself 'another'", "'bad_name'"}},
    {"bad_word", {"calls itself 'Bad Word'", "a-z, 0-9"}},
    {"BadFile", {"is named 'BadFile'", "a-z, 0-9"}},
    {"no_symbol", {"no symbol no_symbol_LTX_yk_plugin"}},
    {"unresolved", {"undefined symbol: defined_by_nobody"}},
    {"no_callback", {"lacks the callback scan"}},
    {"no_ops", {"has no ops"}},
    {"small_struct", {"struct_size of its struct yk_plugin is 32: too small"}},
    {"small_ops", {"struct_size of its ops", "too small"}},
    {"bad_default", {"option 'number'", "default '100'", "refused"}},
    {"bad_option", {"option 0 is named 'A Number'"}},
    {"twice_option", {"option 'number' stands in its table twice"}},
    {"bad_type", {"option 'number' has type 99"}},
    {"no_choices", {"option 'colour' has no choices"}},
    {"no_help", {"option 'number' has no help text"}},
    {"no_config", {"life.config"}},
};

static void
test_refused(void)
{
    g_autofree char *folder = modules_folder();
    struct yk_plugins *plugins = yk_plugins_new(folder);
    for (size_t i = 0; i < G_N_ELEMENTS(bad_cases); i++) {
        assert_refused(plugins, YK_KIND_BACKEND, bad_cases[i].name, bad_cases[i].parts);
        assert_refused(plugins, YK_KIND_BACKEND, bad_cases[i].name,
                       (const char *const[]){folder, bad_cases[i].name, NULL});
    }
    yk_plugins_free(plugins);
}

static void
test_found(void)
{
    g_autofree char *folder = modules_folder();
    struct yk_plugins *plugins = yk_plugins_new(folder);
    char error[YK_ERROR_SIZE] = "";
    const struct yk_plugin *plugin = yk_plugins_find(plugins, YK_KIND_BACKEND, "good-one", error);
    g_assert_cmpstr(error, ==, "");
    g_assert_nonnull(plugin);
    g_assert_cmpstr(plugin->name, ==, "good-one");
    g_assert_cmpuint(plugin->n_options, ==, 8);
    g_assert_true(plugin == yk_plugins_find(plugins, YK_KIND_BACKEND, "good-one", error));
    g_assert_nonnull(yk_plugins_find(plugins, YK_KIND_FRONTEND, "good_frontend", error));
    assert_refused(
        plugins, YK_KIND_BACKEND, "good_frontend",
        (const char *const[]){"good_frontend is a frontend, not a backend", folder, NULL});
    yk_plugins_free(plugins);
}

/* A module with other sizes of the structs: what it did not know is zero, and nothing beyond its
 * own sizes is read. */
static void
test_other_sizes(void)
{
    g_autofree char *folder = modules_folder();
    struct yk_plugins *plugins = yk_plugins_new(folder);
    char error[YK_ERROR_SIZE] = "";
    const struct yk_plugin *plugin = yk_plugins_find(plugins, YK_KIND_BACKEND, "older", error);
    g_assert_cmpstr(error, ==, "");
    g_assert_nonnull(plugin);
    const struct yk_backend_ops *ops = plugin->ops;
    g_assert_cmpuint(ops->struct_size, ==, sizeof(*ops));
    g_assert_nonnull(ops->scan);
    g_assert_true(ops->admit == NULL);
    g_assert_cmpuint(plugin->n_options, ==, 2);
    g_assert_cmpuint(plugin->options[1].struct_size, ==, sizeof(struct yk_option));
    g_assert_cmpstr(plugin->options[1].name, ==, "second");
    g_assert_cmpstr(plugin->options[1].help, ==, "Two.");
    yk_plugins_free(plugins);
}

static void
test_unknown(void)
{
    g_autofree char *folder = modules_folder();
    struct yk_plugins *plugins = yk_plugins_new(folder);
    assert_refused(
        plugins, YK_KIND_BACKEND, "good-onw",
        (const char *const[]){"no backend is named 'good-onw'", "'good-one'", folder, NULL});
    assert_refused(plugins, YK_KIND_FRONTEND, "zzzzzzzzzz",
                   (const char *const[]){"no frontend is named", "there are: good_frontend", NULL});
    assert_refused(plugins, YK_KIND_COORDINATOR, "local",
                   (const char *const[]){"no coordinator is named", "there is none", NULL});
    yk_plugins_free(plugins);
}

static void
test_list(void)
{
    g_autofree char *folder = modules_folder();
    struct yk_plugins *plugins = yk_plugins_new(folder);
    size_t n = 0;
    const struct yk_plugins_entry *entries = yk_plugins_list(plugins, &n);
    size_t n_good = 0;
    for (size_t i = 0; i < n; i++) {
        n_good += entries[i].plugin != NULL;
        g_assert_true((entries[i].plugin == NULL) == (entries[i].reason != NULL));
        g_assert_true(g_file_test(entries[i].file, G_FILE_TEST_EXISTS));
        g_assert_true(i == 0 || strcmp(entries[i - 1].name, entries[i].name) < 0);
    }
    g_assert_cmpuint(n_good, ==, 3);
    g_assert_cmpuint(n, ==, n_good + G_N_ELEMENTS(bad_cases));
    yk_plugins_free(plugins);
}

static void
write_file(const char *folder, const char *name, const char *text)
{
    g_autofree char *file = g_build_filename(folder, name, NULL);
    g_assert_true(g_file_set_contents(file, text, -1, NULL));
}

static void
remove_all(const char *folder, const char *const *names)
{
    for (; *names != NULL; names++) {
        g_autofree char *file = g_build_filename(folder, *names, NULL);
        g_assert_cmpint(g_remove(file), ==, 0);
    }
    g_assert_cmpint(g_rmdir(folder), ==, 0);
}

/* The path: folders in their order, each with those below it; archives and files that are none. */
static void
test_path(void)
{
    g_autofree char *folder = g_dir_make_tmp("yakumo-plugins-XXXXXX", NULL);
    g_assert_nonnull(folder);
    write_file(folder, "empty.la", "dlname=''\ninstalled=no\n");
    write_file(folder, "gone.la", "dlname='gone.so'\ninstalled=yes\nlibdir='/nowhere'\n");
    write_file(
        folder, "text.so",
        "no shared object at all, but text as long as the head of one would be, or longer\n");
    write_file(folder, "older.so", "");
    g_autofree char *top = modules_folder();
    g_autofree char *above = g_path_get_dirname(top);
    g_autofree char *path = g_strconcat("/nowhere:", folder, "::", above, NULL);
    struct yk_plugins *plugins = yk_plugins_new(path);
    assert_refused(plugins, YK_KIND_BACKEND, "empty",
                   (const char *const[]){"empty.la", "no shared object", NULL});
    assert_refused(plugins, YK_KIND_BACKEND, "gone",
                   (const char *const[]){"gone.la", "gone.so, which is not there", NULL});
    assert_refused(plugins, YK_KIND_BACKEND, "text", (const char *const[]){"text.so", "ELF", NULL});
    /* The first of a name wins, also when it is broken: nothing is guessed. */
    assert_refused(plugins, YK_KIND_BACKEND, "older",
                   (const char *const[]){folder, "too short", NULL});
    char error[YK_ERROR_SIZE] = "";
    g_assert_nonnull(yk_plugins_find(plugins, YK_KIND_BACKEND, "good-one", error));
    yk_plugins_free(plugins);
    remove_all(folder, (const char *const[]){"empty.la", "gone.la", "text.so", "older.so", NULL});
}

static void
test_environment(void)
{
    g_autofree char *folder = modules_folder();
    g_autofree char *saved = g_strdup(g_getenv("YK_PLUGIN_PATH"));
    char error[YK_ERROR_SIZE] = "";
    g_setenv("YK_PLUGIN_PATH", folder, true);
    struct yk_plugins *plugins = yk_plugins_new(NULL);
    g_assert_nonnull(yk_plugins_find(plugins, YK_KIND_BACKEND, "good-one", error));
    yk_plugins_free(plugins);
    if (saved != NULL) {
        g_setenv("YK_PLUGIN_PATH", saved, true);
    } else {
        g_unsetenv("YK_PLUGIN_PATH");
    }
    yk_plugins_free(NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/plugins/refused", test_refused);
    g_test_add_func("/plugins/found", test_found);
    g_test_add_func("/plugins/other-sizes", test_other_sizes);
    g_test_add_func("/plugins/unknown", test_unknown);
    g_test_add_func("/plugins/list", test_list);
    g_test_add_func("/plugins/path", test_path);
    g_test_add_func("/plugins/environment", test_environment);
    return g_test_run();
}
