/* write, fsync, rename, fsync. */
#include <config.h>

#include "core/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <glib.h>

enum yk_err
yk_file_fail(const char *what, const char *path, char *error)
{
    snprintf(error, YK_ERROR_SIZE, "cannot %s %s: %s", what, path, strerror(errno));
    return YK_EIO;
}

enum yk_err
yk_file_sync_folder(const char *path, char *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0) {
        enum yk_err result = yk_file_fail("sync the folder", path, error);
        if (fd >= 0) {
            close(fd);
        }
        return result;
    }
    close(fd);
    return YK_OK;
}

static enum yk_err
write_all(int fd, const char *path, struct yk_slice bytes, char *error)
{
    const char *at = bytes.data;
    size_t size = bytes.size;
    while (size > 0) {
        ssize_t written = write(fd, at, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return yk_file_fail("write", path, error);
        }
        at += written;
        size -= (size_t)written;
    }
    return fsync(fd) < 0 ? yk_file_fail("sync", path, error) : YK_OK;
}

enum yk_err
yk_file_replace(const char *folder, const char *name, struct yk_slice bytes, char *error)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *fresh = g_strconcat(path, ".new", NULL);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        return yk_file_fail("write", fresh, error);
    }
    enum yk_err result = write_all(fd, fresh, bytes, error);
    close(fd);
    if (result == YK_OK && rename(fresh, path) < 0) {
        result = yk_file_fail("rename", fresh, error);
    }
    return result == YK_OK ? yk_file_sync_folder(folder, error) : result;
}
