/* Preloaded into a daemon, makes one of its calls on files fail: the N-th of a kind, on paths below
 * a folder. The tests use it to show that every such failure is survived or reported.
 *
 *     YK_FAIL=KIND:N:ERROR   as in fsync:3:EIO; a '+' behind it: that one and all after it. KIND is
 *                            write, fsync, open, truncate or rename; N 0: none, only count
 *     YK_FAIL_FOLDER=PATH    what is not below it is left alone; also sockets, events and the like
 *     YK_FAIL_REPORT=PATH    a file of 64-bit numbers: the calls of each kind in the order above,
 *                            and how many failed. It is mapped, so it is true after kill -9 too.
 *
 * Calls that a library makes inside itself (libc's own opening of files for stdio, the kernel's
 * work for io_uring) do not come by here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { KIND_WRITE, KIND_FSYNC, KIND_OPEN, KIND_TRUNCATE, KIND_RENAME, N_KINDS };

static const char *const kind_names[N_KINDS] = {"write", "fsync", "open", "truncate", "rename"};
static const struct {
    const char *name;
    int number;
} errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EACCES", EACCES}};

struct report {
    _Atomic uint64_t n_calls[N_KINDS];
    _Atomic uint64_t n_failed;
};

static struct report unreported;
static struct report *report = &unreported;
static char folder[PATH_MAX];
static enum kind failing_kind;
static uint64_t failing_from; /* 0: never */
static bool fails_on;         /* from then on */
static int failing_error;

/* A mistake in the environment would make a test that tests nothing. */
static void
refuse(const char *what)
{
    fprintf(stderr, "fail_calls: %s\n", what);
    _exit(99);
}

static void
read_failure(const char *text)
{
    char kind[16], error[16] = "";
    unsigned long long n = 0;
    if (sscanf(text, "%15[a-z]:%llu:%15[A-Z]", kind, &n, error) < 2) {
        refuse("YK_FAIL is not KIND:N:ERROR");
    }
    fails_on = text[strlen(text) - 1] == '+';
    failing_from = n;
    failing_kind = N_KINDS;
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(kind_names[i], kind) == 0) {
            failing_kind = (enum kind)i;
        }
    }
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(errors[i].name, error) == 0) {
            failing_error = errors[i].number;
        }
    }
    if (failing_kind == N_KINDS || (n > 0 && failing_error == 0)) {
        refuse("unknown kind or error in YK_FAIL");
    }
}

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("YK_FAIL_FOLDER");
    if (path == NULL || realpath(path, folder) == NULL) {
        refuse("YK_FAIL_FOLDER is no folder");
    }
    path = getenv("YK_FAIL_REPORT");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*report)) != 0) {
        refuse("cannot make YK_FAIL_REPORT");
    }
    void *map = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        refuse("cannot map YK_FAIL_REPORT");
    }
    close(fd);
    report = map;
    if (getenv("YK_FAIL") != NULL) {
        read_failure(getenv("YK_FAIL"));
    }
}

/* Counts a call; true: it is to fail, and errno is set. */
static bool
is_failing(enum kind kind)
{
    uint64_t n = atomic_fetch_add(&report->n_calls[kind], 1) + 1;
    if (failing_from == 0 || kind != failing_kind || n < failing_from ||
        (n > failing_from && !fails_on)) {
        return false;
    }
    atomic_fetch_add(&report->n_failed, 1);
    errno = failing_error;
    return true;
}

static bool
is_below(const char *path)
{
    size_t size = strlen(folder);
    return size > 0 && strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == 0);
}

static bool
is_fd_below(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    if (size <= 0) {
        return false;
    }
    path[size] = 0;
    return is_below(path);
}

/* A path without its folder is one of dir_fd's. */
static bool
is_path_below(int dir_fd, const char *path)
{
    return path[0] == '/' ? is_below(path) : dir_fd != AT_FDCWD && is_fd_below(dir_fd);
}

/* errno stays what it was where nothing fails. */
static bool
fails_fd(enum kind kind, int fd)
{
    int before = errno;
    if (is_fd_below(fd) && is_failing(kind)) {
        return true;
    }
    errno = before;
    return false;
}

static bool
fails_path(enum kind kind, int dir_fd, const char *path)
{
    int before = errno;
    if (path != NULL && is_path_below(dir_fd, path) && is_failing(kind)) {
        return true;
    }
    errno = before;
    return false;
}

/* What stands below takes the place of libc's; the tree is compiled with hidden names. */
#pragma GCC visibility push(default)

/* The function of this name that would have been called without us. */
#define NEXT(type, name)                                                                           \
    static __typeof__(type) next;                                                                  \
    if (next == NULL) {                                                                            \
        next = (type)dlsym(RTLD_NEXT, name);                                                       \
    }

/* -- Calls on descriptors. -- */

#define ON_FD(kind, result, name, parameters, arguments)                                           \
    result name parameters;                                                                        \
    result name parameters                                                                         \
    {                                                                                              \
        NEXT(result(*) parameters, #name)                                                          \
        return fails_fd(kind, fd) ? -1 : next arguments;                                           \
    }

ON_FD(KIND_WRITE, ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(KIND_WRITE, ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at),
      (fd, data, size, at))
ON_FD(KIND_WRITE, ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at),
      (fd, data, size, at))
ON_FD(KIND_WRITE, ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n))
ON_FD(KIND_WRITE, ssize_t, pwritev, (int fd, const struct iovec *parts, int n, off_t at),
      (fd, parts, n, at))
ON_FD(KIND_WRITE, ssize_t, pwritev64, (int fd, const struct iovec *parts, int n, off64_t at),
      (fd, parts, n, at))
ON_FD(KIND_WRITE, ssize_t, pwritev2,
      (int fd, const struct iovec *parts, int n, off_t at, int flags), (fd, parts, n, at, flags))
ON_FD(KIND_WRITE, ssize_t, pwritev64v2,
      (int fd, const struct iovec *parts, int n, off64_t at, int flags), (fd, parts, n, at, flags))
ON_FD(KIND_FSYNC, int, fsync, (int fd), (fd))
ON_FD(KIND_FSYNC, int, fdatasync, (int fd), (fd))
ON_FD(KIND_FSYNC, int, sync_file_range, (int fd, off64_t at, off64_t size, unsigned flags),
      (fd, at, size, flags))
ON_FD(KIND_TRUNCATE, int, ftruncate, (int fd, off_t size), (fd, size))
ON_FD(KIND_TRUNCATE, int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_FD(KIND_TRUNCATE, int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
ON_FD(KIND_TRUNCATE, int, fallocate64, (int fd, int mode, off64_t at, off64_t size),
      (fd, mode, at, size))

/* These two return the error instead of setting errno. */
#define ON_FALLOCATE(name, offset)                                                                 \
    int name(int fd, offset at, offset size);                                                      \
    int name(int fd, offset at, offset size)                                                       \
    {                                                                                              \
        NEXT(int (*)(int, offset, offset), #name)                                                  \
        return fails_fd(KIND_TRUNCATE, fd) ? failing_error : next(fd, at, size);                   \
    }

ON_FALLOCATE(posix_fallocate, off_t)
ON_FALLOCATE(posix_fallocate64, off64_t)

/* Only engines map files, and only files of the folder: no need to look whose these pages are. */
int
msync(void *data, size_t size, int flags)
{
    NEXT(int (*)(void *, size_t, int), "msync")
    return is_failing(KIND_FSYNC) ? -1 : next(data, size, flags);
}

/* -- Calls on paths. -- */

static mode_t
mode_of(int flags, va_list rest)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

#define ON_OPEN(name)                                                                              \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        NEXT(int (*)(const char *, int, ...), #name)                                               \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = mode_of(flags, rest);                                                        \
        va_end(rest);                                                                              \
        return fails_path(KIND_OPEN, AT_FDCWD, path) ? -1 : next(path, flags, mode);               \
    }

#define ON_OPENAT(name)                                                                            \
    int name(int dir_fd, const char *path, int flags, ...)                                         \
    {                                                                                              \
        NEXT(int (*)(int, const char *, int, ...), #name)                                          \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = mode_of(flags, rest);                                                        \
        va_end(rest);                                                                              \
        return fails_path(KIND_OPEN, dir_fd, path) ? -1 : next(dir_fd, path, flags, mode);         \
    }

#define ON_CREAT(name)                                                                             \
    int name(const char *path, mode_t mode)                                                        \
    {                                                                                              \
        NEXT(int (*)(const char *, mode_t), #name)                                                 \
        return fails_path(KIND_OPEN, AT_FDCWD, path) ? -1 : next(path, mode);                      \
    }

ON_OPEN(open)
ON_OPEN(open64)
ON_OPENAT(openat)
ON_OPENAT(openat64)
ON_CREAT(creat)
ON_CREAT(creat64)

int
rename(const char *from, const char *to)
{
    NEXT(int (*)(const char *, const char *), "rename")
    return fails_path(KIND_RENAME, AT_FDCWD, to) ? -1 : next(from, to);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    NEXT(int (*)(int, const char *, int, const char *), "renameat")
    return fails_path(KIND_RENAME, to_fd, to) ? -1 : next(from_fd, from, to_fd, to);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    NEXT(int (*)(int, const char *, int, const char *, unsigned), "renameat2")
    return fails_path(KIND_RENAME, to_fd, to) ? -1 : next(from_fd, from, to_fd, to, flags);
}

#pragma GCC visibility pop
