/* Checks what a module says of itself, before anything of it is called.
 *
 * Threads: start-up only. Ownership: what is returned lives for ever, as modules do. */
#ifndef YK_PLUGINS_CHECK_H
#define YK_PLUGINS_CHECK_H

#include <yakumo/plugin.h>

#include "core/base/limits.h"

/* [a-z0-9_-]+, at most YK_NAME_SIZE_MAX bytes. */
bool yk_plugins_name_is_valid(const char *name);

/* Checks the struct that the file of that name exports: magic, ABI, sizes, names, callbacks,
 * options. Returns it, or, where the module was built with other sizes of these structs, a copy in
 * the sizes of this yakumo, zeros where the module knew nothing; so nobody else has to look at a
 * struct_size. NULL: error (YK_ERROR_SIZE bytes) says why it is refused. */
const struct yk_plugin *
yk_plugins_check(const struct yk_plugin *plugin, const char *name, char *error);

#endif
