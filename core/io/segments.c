/* Making and dropping files of the journal. */
#include <config.h>

#include "core/io/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

static const char suffix[] = ".log";
static const char spare_name[] = "spare";
enum { ZEROS_SIZE = 1024 * 1024, DIGITS = 12 };

void
yk_segment_path(const char *folder, uint64_t number, char *to)
{
    snprintf(to, YK_SEGMENT_PATH_SIZE, "%.3900s/%0*llu%s", folder, DIGITS,
             (unsigned long long)number, suffix);
}

static int
compare_numbers(const void *a, const void *b)
{
    uint64_t left, right;
    memcpy(&left, a, sizeof(left));
    memcpy(&right, b, sizeof(right));
    return left < right ? -1 : left > right ? 1 : 0;
}

static bool
parse_name(const char *name, uint64_t *ret_number)
{
    char *end;
    *ret_number = g_ascii_strtoull(name, &end, 10);
    return end > name && strcmp(end, suffix) == 0 && *ret_number > 0;
}

uint64_t *
yk_segments_list(const char *folder, uint32_t *ret_n, char *error)
{
    g_autoptr(GArray) numbers = g_array_new(FALSE, TRUE, sizeof(uint64_t));
    g_autoptr(GDir) names = g_dir_open(folder, 0, NULL);
    const char *name;
    uint64_t number;
    if (names == NULL) {
        (void)yk_file_fail("read the folder", folder, error);
        return NULL;
    }
    while ((name = g_dir_read_name(names)) != NULL) {
        if (parse_name(name, &number)) {
            g_array_append_val(numbers, number);
        }
    }
    g_array_sort(numbers, compare_numbers);
    *ret_n = numbers->len;
    return (uint64_t *)(void *)g_array_free(g_steal_pointer(&numbers), FALSE);
}

/* Making */

static enum yk_err
fill_with_zeros(int fd, uint64_t size)
{
    static const uint8_t zeros[ZEROS_SIZE];
    for (uint64_t at = 0; at < size;) {
        uint64_t left = size - at;
        ssize_t written = pwrite(fd, zeros, left < ZEROS_SIZE ? left : ZEROS_SIZE, (off_t)at);
        if (written < 0 && errno != EINTR) {
            return errno == ENOSPC || errno == EDQUOT ? YK_ENOSPACE : YK_EIO;
        }
        at += written > 0 ? (uint64_t)written : 0;
    }
    return YK_OK;
}

static enum yk_err
set_aside(int fd, const struct yk_segments *segments)
{
    int failure = posix_fallocate(fd, 0, (off_t)segments->size);
    if (failure != 0) {
        errno = failure;
        return failure == ENOSPC || failure == EDQUOT ? YK_ENOSPACE : YK_EIO;
    }
    enum yk_err result = segments->zeroes ? fill_with_zeros(fd, segments->size) : YK_OK;
    return result == YK_OK && segments->zeroes && fsync(fd) < 0 ? YK_EIO : result;
}

static void
spare_path(const struct yk_segments *segments, char *to)
{
    snprintf(to, YK_SEGMENT_PATH_SIZE, "%.3900s/%s", segments->folder, spare_name);
}

static bool
has_size(const char *path, uint64_t size)
{
    struct stat status;
    return stat(path, &status) == 0 && (uint64_t)status.st_size == size;
}

static enum yk_err
write_head(int fd, const struct yk_journal_head *head)
{
    uint8_t bytes[YK_JOURNAL_HEAD_SIZE];
    yk_journal_head_encode(head, bytes);
    bool is_written = pwrite(fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes);
    return is_written && fdatasync(fd) == 0 ? YK_OK : YK_EIO;
}

static enum yk_err
fill(const struct yk_segments *segments, const struct yk_journal_head *head, const char *path,
     bool is_spare)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    enum yk_err result = fd < 0 ? YK_EIO : is_spare ? YK_OK : set_aside(fd, segments);
    if (result == YK_OK) {
        result = write_head(fd, head);
    }
    if (fd >= 0) {
        int failure = errno;
        close(fd);
        errno = failure;
    }
    return result;
}

enum yk_err
yk_segment_make(const struct yk_segments *segments, const struct yk_journal_head *head, char *error)
{
    char path[YK_SEGMENT_PATH_SIZE], fresh[YK_SEGMENT_PATH_SIZE];
    yk_segment_path(segments->folder, head->number, path);
    spare_path(segments, fresh);
    bool is_spare = has_size(fresh, segments->size);
    enum yk_err result = fill(segments, head, fresh, is_spare);
    if (result == YK_OK && rename(fresh, path) < 0) {
        result = YK_EIO;
    }
    if (result != YK_OK) {
        (void)yk_file_fail("make", path, error);
        result = errno == ENOSPC || errno == EDQUOT ? YK_ENOSPACE : result;
        (void)unlink(fresh);
        return result;
    }
    return yk_file_sync_folder(segments->folder, error);
}

enum yk_err
yk_segment_drop(const struct yk_segments *segments, uint64_t number, char *error)
{
    char path[YK_SEGMENT_PATH_SIZE], spare[YK_SEGMENT_PATH_SIZE];
    yk_segment_path(segments->folder, number, path);
    spare_path(segments, spare);
    bool is_kept = has_size(path, segments->size) && access(spare, F_OK) != 0;
    if (is_kept ? rename(path, spare) < 0 : unlink(path) < 0 && errno != ENOENT) {
        return yk_file_fail("remove", path, error);
    }
    return YK_OK;
}

/* Reading */

enum yk_err
yk_file_map(const char *path, struct yk_mapped *ret_mapped, char *error)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *ret_mapped = (struct yk_mapped){{NULL, 0}};
    if (fd < 0 || fstat(fd, &status) < 0) {
        enum yk_err result = yk_file_fail("read", path, error);
        if (fd >= 0) {
            close(fd);
        }
        return result;
    }
    if (status.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            enum yk_err result = yk_file_fail("read", path, error);
            close(fd);
            return result;
        }
        ret_mapped->bytes = yk_slice_of(bytes, (size_t)status.st_size);
    }
    close(fd);
    return YK_OK;
}

void
yk_file_unmap(struct yk_mapped *mapped)
{
    if (mapped->bytes.size > 0) {
        munmap((void *)mapped->bytes.data, mapped->bytes.size);
    }
    *mapped = (struct yk_mapped){{NULL, 0}};
}
