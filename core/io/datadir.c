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

#include "core/base/assert.h"
#include "core/base/hash.h"
#include "core/io/file.h"

static const char state_name[] = "node";
static const char lock_name[] = "lock";
static const char checksum_mark[] = "# checksum = ";
static const char no_boot_id[] = "unknown"; /* where the kernel does not say */
enum { STATE_SIZE_MAX = 1024 * 1024 };

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
        return yk_file_fail("read", file, error);
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
            strcmp(name, "yakumod.log") != 0 && strcmp(name, "lost+found") != 0) {
            return refuse(path, error,
                          "it is not empty and was not made by yakumo (it holds \"%.60s\")", name);
        }
    }
    return YK_OK;
}

static uint64_t
new_nonce(void)
{
    uint64_t nonce = 0;
    ssize_t size = getrandom(&nonce, sizeof(nonce), 0);
    (void)size;
    return nonce != 0 ? nonce : 1;
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
    const char *given = g_getenv("YK_BOOT_ID"); /* of tests that stand for a loss of power */
    snprintf(to, size, "%s", given != NULL ? given : no_boot_id);
    if (given == NULL &&
        g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL)) {
        snprintf(to, size, "%s", g_strstrip(text));
    }
}

/* Reads what is recorded of the last run's boot. After a stop that was not clean the recorded boot
 * stays until the start has come through: else a start that failed would hide that the power was
 * lost. */
static void
compare_boot(struct yk_datadir *datadir, GKeyFile *state)
{
    char now[sizeof(datadir->boot_id)];
    g_autofree char *last = g_key_file_get_string(state, "node", "boot_id", NULL);
    read_boot_id(now, sizeof(now));
    datadir->was_clean = g_key_file_get_boolean(state, "node", "clean", NULL);
    datadir->same_boot = strcmp(now, no_boot_id) != 0 && g_strcmp0(last, now) == 0;
    g_strlcpy(datadir->boot_id, datadir->was_clean || last == NULL ? now : last,
              sizeof(datadir->boot_id));
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
    if (format == 0 || format > YK_DATADIR_FORMAT) {
        return refuse(datadir->path, error,
                      "it has format %llu, made by another version of yakumo; this one reads "
                      "formats 1 to %u",
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
    datadir->has_joined = g_key_file_get_boolean(state, "node", "joined", NULL);
    datadir->epoch = get_number(state, "epoch");
    compare_boot(datadir, state);
    datadir->incarnation = (uint32_t)(g_key_file_has_key(state, "node", "incarnation", NULL)
                                          ? get_number(state, "incarnation")
                                          : datadir->boots);
    if (datadir->epoch >= YK_EPOCH_MAX) {
        return refuse(datadir->path, error, "its epochs are used up (%llu)",
                      (unsigned long long)datadir->epoch);
    }
    enum yk_err result = get_uuid(state, datadir->path, "id", datadir->node_id, error);
    return result == YK_OK ? get_uuid(state, datadir->path, "cluster", datadir->cluster_id, error)
                           : result;
}

/* One that is not recorded yet is new in its plugin, and then its default is what it was. */
static enum yk_err
check_options(const char *path, GKeyFile *state, const struct yk_datadir_bucket *bucket,
              const char *section, char *error)
{
    for (uint32_t i = 0; i < bucket->n_options; i++) {
        const struct yk_datadir_option *option = &bucket->options[i];
        g_autofree char *key = g_strdup_printf("option.%s", option->name);
        g_autofree char *text = g_key_file_get_string(state, section, key, NULL);
        if (text != NULL && strcmp(text, option->text) != 0) {
            return refuse(path, error,
                          "bucket %s was made with %s = %.60s, and the config says %.60s; it is "
                          "fixed when the data is made",
                          bucket->name, option->name, text, option->text);
        }
    }
    return YK_OK;
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
    return check_options(path, state, bucket, section, error);
}

/* What was recorded for each lane; false: nothing, or for other lanes. */
static bool
read_incarnations(GKeyFile *state, const char *section, uint32_t *incarnations, uint32_t lanes)
{
    gsize n = 0;
    g_auto(GStrv) texts = g_key_file_get_string_list(state, section, "incarnations", &n, NULL);
    for (gsize i = 0; n == lanes && i < n; i++) {
        incarnations[i] = (uint32_t)g_ascii_strtoull(texts[i], NULL, 10);
    }
    return texts != NULL && n == lanes;
}

static void
set_incarnations(GKeyFile *state, const char *section, const uint32_t *incarnations, uint32_t lanes)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (uint32_t i = 0; i < lanes; i++) {
        g_string_append_printf(text, "%s%u", i > 0 ? ";" : "", incarnations[i]);
    }
    g_key_file_set_string(state, section, "incarnations", text->str);
}

static bool
has_forgotten(const struct yk_datadir *datadir, const struct yk_datadir_bucket *bucket)
{
    return bucket->is_volatile || bucket->durability == YK_DURABILITY_MEMORY ||
           (bucket->durability == YK_DURABILITY_OS && !datadir->same_boot && !datadir->was_clean);
}

/* `fresh` is the incarnation of what begins anew at this start. */
static void
set_bucket(GKeyFile *state, struct yk_datadir *datadir, const struct yk_datadir_bucket *bucket,
           uint32_t index, uint32_t fresh)
{
    g_autofree char *section = g_strdup_printf("bucket %s", bucket->name);
    uint32_t *incarnations = g_new0(uint32_t, datadir->lanes);
    bool is_known = read_incarnations(state, section, incarnations, datadir->lanes);
    for (uint32_t i = 0; i < datadir->lanes && (!is_known || has_forgotten(datadir, bucket)); i++) {
        incarnations[i] = fresh;
        datadir->incarnation = fresh;
    }
    datadir->buckets[index] = g_strdup(bucket->name);
    datadir->incarnations[index] = incarnations;
    set_incarnations(state, section, incarnations, datadir->lanes);
    g_key_file_set_uint64(state, section, "slots", bucket->slots);
    g_key_file_set_string(state, section, "engine", bucket->engine);
    g_key_file_set_string(state, section, "filters", bucket->filters);
    g_key_file_set_boolean(state, section, "volatile", bucket->is_volatile);
    for (uint32_t i = 0; i < bucket->n_options; i++) {
        g_autofree char *key = g_strdup_printf("option.%s", bucket->options[i].name);
        g_key_file_set_string(state, section, key, bucket->options[i].text);
    }
}

static void
set_node(GKeyFile *state, const struct yk_datadir *datadir, bool is_clean)
{
    g_key_file_set_uint64(state, "node", "format", YK_DATADIR_FORMAT);
    g_key_file_set_string(state, "node", "id", datadir->node_id);
    g_key_file_set_string(state, "node", "cluster", datadir->cluster_id);
    if (datadir->has_joined) {
        g_key_file_set_boolean(state, "node", "joined", TRUE);
    }
    g_key_file_set_uint64(state, "node", "lanes", datadir->lanes);
    g_key_file_set_uint64(state, "node", "boots", datadir->boots);
    g_key_file_set_uint64(state, "node", "epoch", datadir->epoch);
    g_key_file_set_uint64(state, "node", "incarnation", datadir->incarnation);
    g_key_file_set_string(state, "node", "boot_id", datadir->boot_id);
    g_key_file_set_boolean(state, "node", "clean", is_clean);
}

static enum yk_err
write_state(struct yk_datadir *datadir, GKeyFile *state, char *error)
{
    g_autofree char *text = g_key_file_to_data(state, NULL, NULL);
    g_autofree char *whole = with_checksum(text);
    enum yk_err result = yk_file_replace(datadir->path, state_name, yk_slice_of_text(whole), error);
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
        return yk_file_fail("use the data folder: cannot open", path, error);
    }
    if (flock(datadir->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        char holder[32] = "";
        ssize_t size = pread(datadir->lock_fd, holder, sizeof(holder) - 1, 0);
        long pid = size > 0 ? strtol(holder, NULL, 10) : 0;
        return refuse(datadir->path, error, "another process uses it (pid %ld)", pid);
    }
    if (ftruncate(datadir->lock_fd, 0) < 0 ||
        dprintf(datadir->lock_fd, "%ld\n", (long)getpid()) < 0) {
        return yk_file_fail("write", path, error);
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
    read_boot_id(datadir->boot_id, sizeof(datadir->boot_id));
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
        return yk_file_fail("make the data folder", datadir->path, error);
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
    datadir->nonce = new_nonce();
    datadir->n_buckets = n_buckets;
    datadir->buckets = g_new0(char *, n_buckets + 1);
    datadir->incarnations = g_new0(uint32_t *, n_buckets + 1);
    uint32_t fresh = datadir->incarnation + 1;
    for (uint32_t i = 0; i < n_buckets; i++) {
        set_bucket(state, datadir, &buckets[i], i, fresh);
    }
    set_node(state, datadir, false);
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

/* Looking */

/* All buckets that the folder knows, and what it says of their lanes. */
static void
look_at_buckets(struct yk_datadir *datadir, GKeyFile *state)
{
    gsize n = 0;
    g_auto(GStrv) sections = g_key_file_get_groups(state, &n);
    datadir->buckets = g_new0(char *, n + 1);
    datadir->incarnations = g_new0(uint32_t *, n + 1);
    for (gsize i = 0; i < n; i++) {
        if (!g_str_has_prefix(sections[i], "bucket ")) {
            continue;
        }
        uint32_t index = datadir->n_buckets++;
        datadir->buckets[index] = g_strdup(sections[i] + strlen("bucket "));
        datadir->incarnations[index] = g_new0(uint32_t, datadir->lanes + 1u);
        (void)read_incarnations(state, sections[i], datadir->incarnations[index], datadir->lanes);
    }
}

static enum yk_err
look(struct yk_datadir *datadir, bool *ret_is_damaged, char *error)
{
    g_autoptr(GKeyFile) state = g_key_file_new();
    g_autofree char *file = g_build_filename(datadir->path, state_name, NULL);
    bool is_new = false;
    if (!g_file_test(file, G_FILE_TEST_EXISTS)) {
        return refuse(datadir->path, error,
                      "it is no data folder of yakumo: there is no file "
                      "\"%s\" in it",
                      state_name);
    }
    enum yk_err result = take_lock(datadir, error);
    if (result == YK_OK) {
        result = read_state(datadir->path, state, &is_new, error);
        *ret_is_damaged = result == YK_EINVALID;
    }
    if (result == YK_OK) {
        result = check_state(datadir, state, (uint32_t)get_number(state, "lanes"), error);
    }
    if (result == YK_OK && (datadir->lanes == 0 || datadir->lanes > YK_LANES_MAX)) {
        result = refuse(datadir->path, error, "it says lanes = %u", datadir->lanes);
    }
    if (result == YK_OK) {
        look_at_buckets(datadir, state);
        datadir->state = g_key_file_to_data(state, NULL, NULL);
    }
    return result;
}

enum yk_err
yk_datadir_look(const char *path, struct yk_datadir *ret_datadir, bool *ret_is_damaged, char *error)
{
    struct yk_datadir datadir = {.path = g_strdup(path), .lock_fd = -1, .is_looked_at = true};
    *ret_is_damaged = false;
    enum yk_err result = look(&datadir, ret_is_damaged, error);
    if (result != YK_OK) {
        yk_datadir_close(&datadir, false);
        return result;
    }
    *ret_datadir = datadir;
    return YK_OK;
}

/* The state as it was written last, to be changed. */
static GKeyFile *
load_own_state(const struct yk_datadir *datadir)
{
    GKeyFile *state = g_key_file_new();
    gboolean is_read =
        g_key_file_load_from_data(state, datadir->state, (gsize)-1, G_KEY_FILE_NONE, NULL);
    YK_ASSERT(is_read);
    return state;
}

enum yk_err
yk_datadir_compare(const struct yk_datadir *datadir, const struct yk_datadir_bucket *bucket,
                   bool *ret_is_there, char *error)
{
    g_autoptr(GKeyFile) state = load_own_state(datadir);
    *ret_is_there = false;
    for (uint32_t i = 0; i < datadir->n_buckets; i++) {
        *ret_is_there = *ret_is_there || strcmp(datadir->buckets[i], bucket->name) == 0;
    }
    return check_bucket(datadir->path, state, bucket, error);
}

enum yk_err
yk_datadir_recovered(struct yk_datadir *datadir, char *error)
{
    char now[sizeof(datadir->boot_id)];
    read_boot_id(now, sizeof(now));
    if (strcmp(datadir->boot_id, now) == 0) {
        return YK_OK;
    }
    g_autoptr(GKeyFile) state = load_own_state(datadir);
    memcpy(datadir->boot_id, now, sizeof(now));
    set_node(state, datadir, false);
    return write_state(datadir, state, error);
}

enum yk_err
yk_datadir_raise_epoch(struct yk_datadir *datadir, uint64_t epoch, char *error)
{
    if (epoch <= datadir->epoch) {
        return YK_OK;
    }
    g_autoptr(GKeyFile) state = load_own_state(datadir);
    datadir->epoch = epoch;
    set_node(state, datadir, false);
    return write_state(datadir, state, error);
}

enum yk_err
yk_datadir_join(struct yk_datadir *datadir, const char *cluster_id, char *error)
{
    if (datadir->has_joined && strcmp(datadir->cluster_id, cluster_id) == 0) {
        return YK_OK;
    }
    if (datadir->has_joined) {
        return refuse(datadir->path, error, "it belongs to cluster %s, not to %s",
                      datadir->cluster_id, cluster_id);
    }
    g_autoptr(GKeyFile) state = load_own_state(datadir);
    datadir->has_joined = true;
    g_strlcpy(datadir->cluster_id, cluster_id, sizeof(datadir->cluster_id));
    set_node(state, datadir, false);
    return write_state(datadir, state, error);
}

enum yk_err
yk_datadir_renew_lanes(struct yk_datadir *datadir, uint32_t bucket_index, const uint32_t *lanes,
                       uint32_t n_lanes, char *error)
{
    g_autoptr(GKeyFile) state = load_own_state(datadir);
    g_autofree char *section = g_strdup_printf("bucket %s", datadir->buckets[bucket_index]);
    uint32_t *incarnations = datadir->incarnations[bucket_index];
    datadir->incarnation++;
    for (uint32_t i = 0; i < n_lanes; i++) {
        YK_ASSERT(lanes[i] < datadir->lanes);
        incarnations[lanes[i]] = datadir->incarnation;
    }
    set_incarnations(state, section, incarnations, datadir->lanes);
    set_node(state, datadir, datadir->is_looked_at && datadir->was_clean);
    return write_state(datadir, state, error);
}

void
yk_datadir_close(struct yk_datadir *datadir, bool is_clean)
{
    char error[YK_ERROR_SIZE];
    if (is_clean && datadir->state != NULL) {
        g_autoptr(GKeyFile) state = load_own_state(datadir);
        read_boot_id(datadir->boot_id, sizeof(datadir->boot_id));
        set_node(state, datadir, true);
        (void)!write_state(datadir, state, error);
    }
    if (datadir->lock_fd >= 0) {
        close(datadir->lock_fd);
    }
    for (uint32_t i = 0; i < datadir->n_buckets; i++) {
        g_free(datadir->buckets[i]);
        g_free(datadir->incarnations[i]);
    }
    g_free(datadir->buckets);
    g_free(datadir->incarnations);
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
    if (g_mkdir_with_parents(path, 0750) < 0 || yk_file_sync_folder(parent, error) != YK_OK ||
        yk_file_sync_folder(datadir->path, error) != YK_OK) {
        (void)yk_file_fail("make the folder", path, error);
        g_free(path);
        return NULL;
    }
    return path;
}
