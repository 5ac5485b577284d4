/* Runs a fuzz target over files, for builds without libFuzzer: every argument is a file, or a
 * folder whose files are taken in the order of their names. Prints TAP; a finding ends the program.
 */
#include <config.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
path_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
paths_add(GPtrArray *paths, const char *path)
{
    if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        g_ptr_array_add(paths, g_strdup(path));
        return true;
    }
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    if (folder == NULL) {
        return false;
    }
    guint first = paths->len;
    for (const char *name = g_dir_read_name(folder); name != NULL; name = g_dir_read_name(folder)) {
        g_ptr_array_add(paths, g_build_filename(path, name, NULL));
    }
    qsort(paths->pdata + first, paths->len - first, sizeof(void *), path_compare);
    return true;
}

/* The target gets memory of exactly the file's size, so that a sanitizer sees a read beyond it. */
static bool
file_run(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *contents;
    gsize size;
    if (!g_file_get_contents(path, &contents, &size, &error)) {
        printf("# %s\n", error->message);
        return false;
    }
    uint8_t *data = g_memdup2(contents, size);
    g_free(contents);
    LLVMFuzzerTestOneInput(data, size);
    g_free(data);
    return true;
}

int
main(int argc, char **argv)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    for (int i = 1; i < argc; i++) {
        if (!paths_add(paths, argv[i])) {
            printf("Bail out! cannot read the folder %s\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    int status = EXIT_SUCCESS;
    printf("1..%u%s\n", paths->len, paths->len == 0 ? " # SKIP no files" : "");
    for (guint i = 0; i < paths->len; i++) {
        const char *path = g_ptr_array_index(paths, i);
        /* Said before it runs: a finding is a crash, and this names the file to run again. */
        printf("# %s\n", path);
        fflush(stdout);
        bool is_ok = file_run(path);
        printf("%sok %u - %s\n", is_ok ? "" : "not ", i + 1, path);
        status = is_ok ? status : EXIT_FAILURE;
    }
    return status;
}
