/* From a file to a checked plugin.
 *
 * libltdl opens the module and finds its symbol, but it binds lazily and calls every failure "file
 * not found". So the shared object is opened by dlopen(RTLD_NOW) first: that gives the true
 * message, and refuses a symbol that nobody defines here rather than in the middle of a request. A
 * module stays loaded, a refused one too: nothing says that its code could go again. */
#include <config.h>

#include "plugins/loader.h"

#include <dlfcn.h>
#include <string.h>

#include <glib.h>
#include <ltdl.h>

#include "core/base/limits.h"
#include "plugins/check.h"
#include "plugins/path.h"

static bool
ltdl_is_ready(char *error)
{
    static bool is_ready;
    if (!is_ready && lt_dlinit() != 0) {
        g_snprintf(error, YK_ERROR_SIZE, "libltdl does not start: %s", lt_dlerror());
        return false;
    }
    is_ready = true;
    return true;
}

/* dlerror() begins with the file, which the caller names anyway. */
static const char *
without_file(const char *message, const char *file)
{
    size_t size = strlen(file);
    bool has_file = strncmp(message, file, size) == 0 && strncmp(message + size, ": ", 2) == 0;
    return has_file ? message + size + 2 : message;
}

static const struct yk_plugin *
symbol_of(const char *object, const char *name, char *error)
{
    if (dlopen(object, RTLD_NOW | RTLD_LOCAL) == NULL) {
        g_snprintf(error, YK_ERROR_SIZE, "cannot be loaded: %s", without_file(dlerror(), object));
        return NULL;
    }
    lt_dlhandle handle = lt_dlopen(object);
    if (handle == NULL) {
        g_snprintf(error, YK_ERROR_SIZE, "cannot be loaded: %s", lt_dlerror());
        return NULL;
    }
    /* Asks for NAME_LTX_yk_plugin first. */
    const struct yk_plugin *plugin = lt_dlsym(handle, "yk_plugin");
    if (plugin == NULL) {
        g_autofree char *prefix = g_strdelimit(g_strdup(name), "-", '_');
        g_snprintf(error, YK_ERROR_SIZE, "is no yakumo plugin: it has no symbol %s_LTX_yk_plugin",
                   prefix);
    }
    return plugin;
}

const struct yk_plugin *
yk_plugins_load(const char *file, const char *name, char *error)
{
    if (!yk_plugins_name_is_valid(name)) {
        g_snprintf(error, YK_ERROR_SIZE,
                   "is named '%s': a name is made of a-z, 0-9, '_' and '-', at most %d", name,
                   YK_NAME_SIZE_MAX);
        return NULL;
    }
    if (!ltdl_is_ready(error)) {
        return NULL;
    }
    g_autofree char *object = yk_plugins_path_object(file, error);
    if (object == NULL) {
        return NULL;
    }
    const struct yk_plugin *plugin = symbol_of(object, name, error);
    return plugin != NULL ? yk_plugins_check(plugin, name, error) : NULL;
}
