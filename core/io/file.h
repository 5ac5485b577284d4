/* Small files that are replaced whole, so that after a crash the old bytes or the new ones are
 * there.
 *
 * Threads: any, each with files of its own. Ownership: nothing is kept. */
#ifndef YK_IO_FILE_H
#define YK_IO_FILE_H

#include <yakumo/base.h>

#include "core/base/limits.h"

/* Writes FOLDER/NAME.new, syncs it, renames it to FOLDER/NAME and syncs the folder. On failure
 * error (YK_ERROR_SIZE bytes) says which step. */
enum yk_err yk_file_replace(const char *folder, const char *name, struct yk_slice bytes,
                            char *error) YK_MUST_CHECK;
enum yk_err yk_file_sync_folder(const char *path, char *error) YK_MUST_CHECK;
/* YK_EIO, with "cannot WHAT PATH: " and errno's text. */
enum yk_err yk_file_fail(const char *what, const char *path, char *error);

#endif
