/* The data folder's own file, its lock, and the epoch. */
#include <config.h>

#include "core/io/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "core/base/hash.h"

#define EPOCH_MAX ((1ull << 24) - 1)
static const char state_name[] = "node";
static const char lock_name[] = "lock";
static const char checksum_mark[] = "# checksum = ";
enum { STATE_SIZE_MAX = 1024 * 1024 };

static enum yk_err
fail(const char *what, const char *path, char *error)
{
    snprintf(error, YK_ERROR_SIZE, "cannot %s %s: %s", what, path, strerror(errno));
    return YK_EIO;
}

/* Files */

static enum yk_err
sync_folder(const char *path, char *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0) {
        enum yk_err result = fail("sync the folder", path, error);
        if (fd >= 0) {
            close(fd);
        }
        return result;
    }
    close(fd);
    return YK_OK;
}

static enum yk_err
write_all(int fd, const char *path, const char *text, size_t size, char *error)
{
    while (size > 0) {
        ssize_t written = write(fd, text, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return fail("write", path, error);
        }
        text += written;
        size -= (size_t)written;
    }
    return fsync(fd) < 0 ? fail("sync", path, error) : YK_OK;
}

/* Replaces the file so that after a crash the old text or the new one is there, whole. */
static enum yk_err
replace_file(const char *folder, const char *name, const char *text, char *error)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *fresh = g_strconcat(path, ".new", NULL);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        return fail("write", fresh, error);
    }
    enum yk_err result = write_all(fd, fresh, text, strlen(text), error);
    close(fd);
    if (result == YK_OK && rename(fresh, path) < 0) {
        result = fail("rename", fresh, error);
    }
    return result == YK_OK ? sync_folder(folder, error) : result;
}

/* The state file */

static char *
with_checksum(const char *state)
{
    return g_strdup_printf("%s%s%016llx\n", state, checksum_mark,
                           (unsigned long long)XXH3_64bits(state, strlen(state)));
}

/* Cuts the checksum line off; false: there is none, or it is wrong. */
static bool
check_checksum(char *text)
{
    char *mark = g_strrstr(text, checksum_mark);
    if (mark == NULL) {
        return false;
    }
    const char *stored = mark + strlen(checksum_mark);
    char right[32];
    *mark = '\0';
    snprintf(right, sizeof(right), "%016llx\n",
             (unsigned long long)XXH3_64bits(text, strlen(text)));
    return strcmp(stored, right) == 0;
}

static enum yk_err refuse(const char *path, char *error, const char *format, ...) YK_PRINTF(3, 4);

static enum yk_err
refuse(const char *path, char *error, const char *format, ...)
{
    char reason[YK_ERROR_SIZE / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    snprintf(error, YK_ERROR_SIZE, "data folder %.200s: %s", path, reason);
    return YK_EINVALID;
}

static enum yk_err
read_state(const char *path, GKeyFile *state, bool *ret_is_new, char *error)
{
    g_autofree char *file = g_build_filename(path, state_name, NULL);
    g_autofree char *text = NULL;
    gsize size;
    struct stat status;
    *ret_is_new = false;
    if (lstat(file, &status) < 0 && errno == ENOENT) {
        *ret_is_new = true;
        return YK_OK;
    }
    if (status.st_size > STATE_SIZE_MAX || !g_file_get_contents(file, &text, &size, NULL)) {
        errno = errno != 0 ? errno : EIO;
        return fail("read", file, error);
    }
    if (strlen(text) != size || !check_checksum(text) ||
        !g_key_file_load_from_data(state, text, (gsize)-1, G_KEY_FILE_NONE, NULL)) {
        return refuse(path, error, "the file \"%s\" is damaged (its checksum does not fit)",
                      state_name);
    }
    return YK_OK;
}

/* A folder with files in it that no yakumo made is not taken over. */
static enum yk_err
check_empty(const char *path, char *error)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;
    while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
        if (strcmp(name, lock_name) != 0 && strcmp(name, "node.new") != 0 &&
            strcmp(name, "lost+found") != 0) {
            return refuse(path, error,
                          "it is not empty and was not made by yakumo (it holds \"%.60s\")", name);
        }
    }
    return YK_OK;
}

static void
new_uuid(char *to)
{
    uint8_t bytes[16];
    ssize_t size = getrandom(bytes, sizeof(bytes), 0);
    (void)size;
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        to += sprintf(to, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", bytes[i]);
    }
}

static void
read_boot_id(char *to, size_t size)
{
    g_autofree char *text = NULL;
    snprintf(to, size, "unknown");
    if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL)) {
        snprintf(to, size, "%s", g_strstrip(text));
    }
}

static uint64_t
get_number(GKeyFile *state, const char *key)
{
    return g_key_file_get_uint64(state, "node", key, NULL);
}

static enum yk_err
get_uuid(GKeyFile *state, const char *path, const char *key, char *to, char *error)
{
    g_autofree char *text = g_key_file_get_string(state, "node", key, NULL);
    if (text == NULL || strlen(text) != 36) {
        return refuse(path, error, "the file \"%s\" has no %s", state_name, key);
    }
    memcpy(to, text, 37);
    return YK_OK;
}

static enum yk_err
check_state(struct yk_datadir *datadir, GKeyFile *state, uint32_t lanes, char *error)
{
    uint64_t format = get_number(state, "format");
    if (format != YK_DATADIR_FORMAT) {
        return refuse(
            datadir->path, error,
            "it has format %llu, made by another version of yakumo; this one reads format %u",
            (unsigned long long)format, YK_DATADIR_FORMAT);
    }
    datadir->lanes = (uint32_t)get_number(state, "lanes");
    if (datadir->lanes != lanes) {
        return refuse(
            datadir->path, error,
            "it was made with lanes = %u, and the config says lanes = %u; lanes are fixed when the "
            "folder is made",
            datadir->lanes, lanes);
    }
    datadir->boots = get_number(state, "boots");
    datadir->epoch = get_number(state, "epoch");
    datadir->was_clean = g_key_file_get_boolean(state, "node", "clean", NULL);
    char boot_id[64];
    g_autofree char *last_boot_id = g_key_file_get_string(state, "node", "boot_id", NULL);
    read_boot_id(boot_id, sizeof(boot_id));
    datadir->same_boot = g_strcmp0(last_boot_id, boot_id) == 0;
    if (datadir->epoch >= EPOCH_MAX) {
        return refuse(datadir->path, error, "its epochs are used up (%llu)",
                      (unsigned long long)datadir->epoch);
    }
    enum yk_err result = get_uuid(state, datadir->path, "id", datadir->node_id, error);
    return result == YK_OK ? get_uuid(state, datadir->path, "cluster", datadir->cluster_id, error)
                           : result;
}

static enum yk_err
check_bucket(const char *path, GKeyFile *state, const struct yk_datadir_bucket *bucket, char *error)
{
    g_autofree char *section = g_strdup_printf("bucket %s", bucket->name);
    if (!g_key_file_has_group(state, section) ||
        g_key_file_get_boolean(state, section, "volatile", NULL)) {
        return YK_OK;
    }
    g_autofree char *engine = g_key_file_get_string(state, section, "engine", NULL);
    g_autofree char *filters = g_key_file_get_string(state, section, "filters", NULL);
    uint64_t slots = g_key_file_get_uint64(state, section, "slots", NULL);
    if (g_strcmp0(engine, bucket->engine) != 0) {
        return refuse(path, error, "bucket %s is stored by %s, and the config says backend = %s",
                      bucket->name, engine, bucket->engine);
    }
    if (g_strcmp0(filters, bucket->filters) != 0) {
        return refuse(path, error,
                      "bucket %s was made with filters = %s, and the config says filters = %s",
                      bucket->name, filters, bucket->filters);
    }
    if (slots != bucket->slots) {
        return refuse(path, error,
                      "bucket %s was made with slots = %llu, and the config says slots = %u",
                      bucket->name, (unsigned long long)slots, bucket->slots);
    }
    return YK_OK;
}

static void
set_bucket(GKeyFile *state, const struct yk_datadir *datadir,
           const struct yk_datadir_bucket *bucket)
{
    g_autofree char *section = g_strdup_printf("bucket %s", bucket->name);
    g_autoptr(GString) incarnations = g_string_new(NULL);
    g_key_file_set_uint64(state, section, "slots", bucket->slots);
    g_key_file_set_string(state, section, "engine", bucket->engine);
    g_key_file_set_string(state, section, "filters", bucket->filters);
    g_key_file_set_boolean(state, section, "volatile", bucket->is_volatile);
    /* One for each lane; what is kept in memory is another incarnation at each start. */
    for (uint32_t i = 0; i < datadir->lanes; i++) {
        g_string_append_printf(incarnations, "%s%llu", i > 0 ? ";" : "",
                               (unsigned long long)(bucket->is_volatile ? datadir->boots : 1));
    }
    if (bucket->is_volatile || !g_key_file_has_key(state, section, "incarnations", NULL)) {
        g_key_file_set_string(state, section, "incarnations", incarnations->str);
    }
}

static void
set_node(GKeyFile *state, const struct yk_datadir *datadir, bool is_clean)
{
    char boot_id[64];
    read_boot_id(boot_id, sizeof(boot_id));
    g_key_file_set_uint64(state, "node", "format", YK_DATADIR_FORMAT);
    g_key_file_set_string(state, "node", "id", datadir->node_id);
    g_key_file_set_string(state, "node", "cluster", datadir->cluster_id);
    g_key_file_set_uint64(state, "node", "lanes", datadir->lanes);
    g_key_file_set_uint64(state, "node", "boots", datadir->boots);
    g_key_file_set_uint64(state, "node", "epoch", datadir->epoch);
    g_key_file_set_string(state, "node", "boot_id", boot_id);
    g_key_file_set_boolean(state, "node", "clean", is_clean);
}

static enum yk_err
write_state(struct yk_datadir *datadir, GKeyFile *state, char *error)
{
    g_autofree char *text = g_key_file_to_data(state, NULL, NULL);
    g_autofree char *whole = with_checksum(text);
    enum yk_err result = replace_file(datadir->path, state_name, whole, error);
    if (result == YK_OK) {
        g_free(datadir->state);
        datadir->state = g_steal_pointer(&text);
    }
    return result;
}

/* Life */

static enum yk_err
take_lock(struct yk_datadir *datadir, char *error)
{
    g_autofree char *path = g_build_filename(datadir->path, lock_name, NULL);
    datadir->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (datadir->lock_fd < 0) {
        return fail("use the data folder: cannot open", path, error);
    }
    if (flock(datadir->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        char holder[32] = "";
        ssize_t size = pread(datadir->lock_fd, holder, sizeof(holder) - 1, 0);
        long pid = size > 0 ? strtol(holder, NULL, 10) : 0;
        return refuse(datadir->path, error, "another process uses it (pid %ld)", pid);
    }
    if (ftruncate(datadir->lock_fd, 0) < 0 ||
        dprintf(datadir->lock_fd, "%ld\n", (long)getpid()) < 0) {
        return fail("write", path, error);
    }
    return YK_OK;
}

/* Before anything is written there. */
static enum yk_err
check_foreign(const char *path, char *error)
{
    g_autofree char *file = g_build_filename(path, state_name, NULL);
    struct stat status;
    return lstat(file, &status) < 0 && errno == ENOENT ? check_empty(path, error) : YK_OK;
}

static enum yk_err
open_state(struct yk_datadir *datadir, GKeyFile *state, uint32_t lanes, char *error)
{
    bool is_new;
    enum yk_err result = read_state(datadir->path, state, &is_new, error);
    if (result != YK_OK) {
        return result;
    }
    if (!is_new) {
        return check_state(datadir, state, lanes, error);
    }
    datadir->lanes = lanes;
    new_uuid(datadir->node_id);
    new_uuid(datadir->cluster_id);
    return YK_OK;
}

static enum yk_err
open_folder(struct yk_datadir *datadir, uint32_t lanes, const struct yk_datadir_bucket *buckets,
            uint32_t n_buckets, char *error)
{
    g_autoptr(GKeyFile) state = g_key_file_new();
    if (g_mkdir_with_parents(datadir->path, 0750) < 0) {
        return fail("make the data folder", datadir->path, error);
    }
    enum yk_err result = check_foreign(datadir->path, error);
    if (result == YK_OK) {
        result = take_lock(datadir, error);
    }
    if (result == YK_OK) {
        result = open_state(datadir, state, lanes, error);
    }
    for (uint32_t i = 0; result == YK_OK && i < n_buckets; i++) {
        result = check_bucket(datadir->path, state, &buckets[i], error);
    }
    if (result != YK_OK) {
        return result;
    }
    datadir->boots++;
    datadir->epoch++;
    set_node(state, datadir, false);
    for (uint32_t i = 0; i < n_buckets; i++) {
        set_bucket(state, datadir, &buckets[i]);
    }
    return write_state(datadir, state, error);
}

enum yk_err
yk_datadir_open(const char *path, uint32_t lanes, const struct yk_datadir_bucket *buckets,
                uint32_t n_buckets, struct yk_datadir *ret_datadir, char *error)
{
    struct yk_datadir datadir = {.path = g_strdup(path), .lock_fd = -1};
    enum yk_err result = open_folder(&datadir, lanes, buckets, n_buckets, error);
    if (result != YK_OK) {
        yk_datadir_close(&datadir, false);
        return result;
    }
    *ret_datadir = datadir;
    return YK_OK;
}

void
yk_datadir_close(struct yk_datadir *datadir, bool is_clean)
{
    char error[YK_ERROR_SIZE];
    if (is_clean && datadir->state != NULL) {
        g_autoptr(GKeyFile) state = g_key_file_new();
        if (g_key_file_load_from_data(state, datadir->state, (gsize)-1, G_KEY_FILE_NONE, NULL)) {
            set_node(state, datadir, true);
            (void)!write_state(datadir, state, error);
        }
    }
    if (datadir->lock_fd >= 0) {
        close(datadir->lock_fd);
    }
    g_free(datadir->path);
    g_free(datadir->state);
    *datadir = (struct yk_datadir){.lock_fd = -1};
}

char *
yk_datadir_lane_folder(const struct yk_datadir *datadir, const char *bucket, uint32_t lane,
                       char *error)
{
    g_autofree char *name = g_strdup_printf("lane-%03u", lane);
    g_autofree char *parent = g_build_filename(datadir->path, bucket, NULL);
    char *path = g_build_filename(parent, name, NULL);
    if (g_mkdir_with_parents(path, 0750) < 0 || sync_folder(parent, error) != YK_OK ||
        sync_folder(datadir->path, error) != YK_OK) {
        (void)fail("make the folder", path, error);
        g_free(path);
        return NULL;
    }
    return path;
}
