/* The search path of modules. The loader asks it for files; it opens directories and libtool
 * archives, and loads nothing. */
#include <config.h>

#include "plugins/path.h"

#include <string.h>
#include <sys/auxv.h>

#include "core/base/limits.h"

char *
yk_plugins_path_default(void)
{
    /* A process with raised rights must not run code that its caller's environment names. */
    const char *from_environment = getauxval(AT_SECURE) == 0 ? g_getenv("YK_PLUGIN_PATH") : NULL;
    if (from_environment == NULL || from_environment[0] == '\0') {
        return g_strdup(YK_PLUGIN_DIR);
    }
    return g_strconcat(from_environment, ":", YK_PLUGIN_DIR, NULL);
}

static void
file_free(gpointer data)
{
    struct yk_plugins_file *file = data;
    g_free(file->name);
    g_free(file->file);
    g_free(file);
}

static bool
is_known(const GPtrArray *files, const char *name)
{
    for (guint i = 0; i < files->len; i++) {
        const struct yk_plugins_file *file = g_ptr_array_index(files, i);
        if (strcmp(file->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static gint
compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gint
compare_files(gconstpointer a, gconstpointer b)
{
    const struct yk_plugins_file *const *left = a;
    const struct yk_plugins_file *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* The names in a folder, sorted, hidden ones left out (libtool's .libs among them). */
static GPtrArray *
folder_names(const char *folder)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(folder, 0, NULL);
    if (dir == NULL) {
        return names;
    }
    for (const char *name = g_dir_read_name(dir); name != NULL; name = g_dir_read_name(dir)) {
        if (name[0] != '.') {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    g_dir_close(dir);
    g_ptr_array_sort(names, compare_texts);
    return names;
}

static void
add_ending(GPtrArray *files, const char *folder, const GPtrArray *names, const char *ending)
{
    for (guint i = 0; i < names->len; i++) {
        const char *entry = g_ptr_array_index(names, i);
        if (!g_str_has_suffix(entry, ending) || strlen(entry) == strlen(ending)) {
            continue;
        }
        g_autofree char *name = g_strndup(entry, strlen(entry) - strlen(ending));
        g_autofree char *path = g_build_filename(folder, entry, NULL);
        if (is_known(files, name) || !g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
            continue;
        }
        struct yk_plugins_file *file = g_new0(struct yk_plugins_file, 1);
        file->name = g_steal_pointer(&name);
        file->file = g_steal_pointer(&path);
        g_ptr_array_add(files, file);
    }
}

static void
add_folder(GPtrArray *files, const char *folder, bool with_subfolders)
{
    g_autoptr(GPtrArray) names = folder_names(folder);
    add_ending(files, folder, names, ".la");
    add_ending(files, folder, names, ".so");
    for (guint i = 0; with_subfolders && i < names->len; i++) {
        g_autofree char *below = g_build_filename(folder, g_ptr_array_index(names, i), NULL);
        if (g_file_test(below, G_FILE_TEST_IS_DIR)) {
            add_folder(files, below, false);
        }
    }
}

GPtrArray *
yk_plugins_path_files(const char *path)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(file_free);
    g_auto(GStrv) folders = g_strsplit(path, ":", -1);
    for (size_t i = 0; folders[i] != NULL; i++) {
        if (folders[i][0] != '\0') {
            add_folder(files, folders[i], true);
        }
    }
    g_ptr_array_sort(files, compare_files);
    return files;
}

/* The value of key='value' in the text of a libtool archive, or NULL. */
static char *
archive_value(const char *text, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *start = g_strdup_printf("%s=", key);
    for (size_t i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], start)) {
            char *value = lines[i] + strlen(start);
            size_t size = strlen(value);
            bool is_quoted = size >= 2 && value[0] == '\'' && value[size - 1] == '\'';
            return is_quoted ? g_strndup(value + 1, size - 2) : g_strdup(value);
        }
    }
    return NULL;
}

char *
yk_plugins_path_object(const char *file, char *error)
{
    if (!g_str_has_suffix(file, ".la")) {
        return g_strdup(file);
    }
    g_autofree char *text = NULL;
    g_autoptr(GError) failure = NULL;
    if (!g_file_get_contents(file, &text, NULL, &failure)) {
        g_snprintf(error, YK_ERROR_SIZE, "%s", failure->message);
        return NULL;
    }
    g_autofree char *dlname = archive_value(text, "dlname");
    if (dlname == NULL || dlname[0] == '\0') {
        g_snprintf(error, YK_ERROR_SIZE,
                   "names no shared object (dlname is empty): it was built "
                   "without -shared or without -module");
        return NULL;
    }
    /* Beside the archive where it is installed, in .libs where it was built. An archive that has
     * been moved still says where it was meant to go; what lies beside it counts, never another
     * folder's file. */
    g_autofree char *folder = g_path_get_dirname(file);
    g_autofree char *built = g_build_filename(folder, ".libs", dlname, NULL);
    g_autofree char *installed = g_build_filename(folder, dlname, NULL);
    g_autofree char *is_installed = archive_value(text, "installed");
    if (g_strcmp0(is_installed, "yes") != 0 && g_file_test(built, G_FILE_TEST_EXISTS)) {
        return g_steal_pointer(&built);
    }
    if (g_file_test(installed, G_FILE_TEST_EXISTS)) {
        return g_steal_pointer(&installed);
    }
    g_snprintf(error, YK_ERROR_SIZE, "names the shared object %s, which is not there", dlname);
    return NULL;
}
