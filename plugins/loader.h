/* Loads one module file and checks what it holds.
 *
 * Threads: start-up only; modules are never unloaded. Ownership: a plugin lives for ever. */
#ifndef YK_PLUGINS_LOADER_H
#define YK_PLUGINS_LOADER_H

#include <yakumo/plugin.h>

/* The checked plugin of the file, which must be called name. NULL: error (YK_ERROR_SIZE bytes) has
 * the reason, without the file. */
const struct yk_plugin *yk_plugins_load(const char *file, const char *name, char *error);

#endif
