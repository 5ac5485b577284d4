/* Finds module files: which stand on the search path, and which shared object each one means.
 *
 * Threads: start-up only. Ownership: what is returned is the caller's. */
#ifndef YK_PLUGINS_PATH_H
#define YK_PLUGINS_PATH_H

#include <stdbool.h>

#include <glib.h>

/* A module file by the name that its plugin must have. */
struct yk_plugins_file {
    char *name; /* of the file, without folder and ending; g_malloc'd */
    char *file; /* with its folder; g_malloc'd */
};

/* The path that holds where none is given: YK_PLUGIN_PATH from the environment, unless the process
 * runs with raised rights, then the installed folder. g_malloc'd. */
char *yk_plugins_path_default(void);

/* NAME.la and NAME.so in each DIR and DIR/(any)/ of path, sorted by name; of several files of one
 * name the first on the path, DIR before DIR/(any)/, .la before .so. Elements are struct
 * yk_plugins_file, freed with the array. Folders that cannot be read count as empty. */
GPtrArray *yk_plugins_path_files(const char *path);

/* The shared object that a file means: itself, or what a libtool archive (.la) names. NULL: error
 * (YK_ERROR_SIZE bytes) says why there is none. g_malloc'd. */
char *yk_plugins_path_object(const char *file, char *error);

#endif
