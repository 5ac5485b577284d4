/* Places that cannot be used, damaged files and a full disk: each must end in an error with words,
 * and never in a crash. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tools/kit/backend.h"

enum {
    N_ITEMS = 150,
    NOBODY = 65534,
    CHILD_SECONDS_MAX = 60,
    DISK_SIZE = 1 << 30,   /* of which a page is taken when it is written */
    DISK_LEFT = 512 << 10, /* left free for the engine */
    DISK_VALUE_SIZE = 10000,
    SCAN_STEPS_MAX = 5000
};

/* -- Places. -- */

/* Opens where it must not; error texts are asked for. False: it opened. */
static bool
is_refused(struct kit_bench *bench, const char *folder)
{
    char error[YK_ERROR_SIZE] = "";
    struct kit_place place = {.folder = folder, .durability = YK_DURABILITY_OS};
    enum yk_err result = kit_engine_open(&bench->engine, &place, error);
    if (result == YK_OK) {
        kit_engine_close(&bench->engine);
        return false;
    }
    if (error[0] == '\0') {
        kit_broken(bench->kit, KIT_ERROR_TEXT, "open fails with '%s' and no text",
                   yk_err_text(result));
    }
    return true;
}

/* In a child that has no rights; only one who may drop them can show it. */
static void
try_without_rights(struct kit *kit)
{
    char status[128];
    int pid = kit_fork(kit);
    if (pid == 0) {
        struct kit_bench *bench = kit_bench_new(kit, "denied", 0);
        if (chmod(bench->folder, 0500) != 0 ||
            (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0)) {
            kit_child_end();
        }
        if (!is_refused(bench, bench->folder)) {
            kit_broken(kit, KIT_PLACE, "opens in a folder in which it may not write");
        }
        kit_child_end();
    }
    if (!kit_wait(pid, status, sizeof(status))) {
        kit_broken(kit, KIT_PLACE, "in a folder without rights the process ends with %s", status);
    }
}

/* Texts may be empty where the table lets them: opened, or refused in words. */
static void
try_empty_options(struct kit *kit)
{
    char error[YK_ERROR_SIZE] = "";
    for (uint32_t i = 0; i < kit->plugin->n_options; i++) {
        const struct yk_option *option = &kit->plugin->options[i];
        if (option->type != YK_OPTION_STRING && option->type != YK_OPTION_LIST) {
            continue;
        }
        struct kit changed = *kit;
        changed.settings = yk_settings_new(kit->plugin, "kit");
        if (yk_settings_set(changed.settings, option->name, "", error) == YK_OK) {
            struct kit_bench *bench = kit_bench_new(&changed, "empty", 0);
            is_refused(bench, bench->folder);
            kit_bench_free(bench);
        }
        yk_settings_free(changed.settings);
    }
}

void
kit_run_place(struct kit *kit)
{
    try_empty_options(kit);
    if ((kit_bench_info(kit).caps & YK_BACKEND_VOLATILE) != 0) {
        return;
    }
    struct kit_bench *bench = kit_bench_new(kit, "place", 0);
    g_autofree char *file = g_build_filename(bench->folder, "file", NULL);
    if (!g_file_set_contents(file, "this is no folder", -1, NULL)) {
        abort();
    }
    if (!is_refused(bench, file)) {
        kit_broken(kit, KIT_PLACE, "opens on a path that is a file");
    }
    kit_bench_free(bench);
    try_without_rights(kit);
}

/* -- Damaged files. -- */

/* Shared with the children that look. */
struct tally {
    uint32_t n_refused, n_errors, n_served, n_lost, n_foreign;
};

static void
copy_folder(const char *from, const char *to)
{
    GDir *dir = g_dir_open(from, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *source = g_build_filename(from, name, NULL);
        g_autofree char *target = g_build_filename(to, name, NULL);
        g_autofree char *bytes = NULL;
        gsize size;
        if (g_file_test(source, G_FILE_TEST_IS_DIR)) {
            mkdir(target, 0755);
            copy_folder(source, target);
        } else if (g_file_get_contents(source, &bytes, &size, NULL)) {
            g_file_set_contents(target, bytes, (gssize)size, NULL);
        }
    }
    if (dir != NULL) {
        g_dir_close(dir);
    }
}

static void
list_files(const char *folder, GPtrArray *files)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        char *path = g_build_filename(folder, name, NULL);
        if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
            list_files(path, files);
            g_free(path);
        } else {
            g_ptr_array_add(files, path);
        }
    }
    if (dir != NULL) {
        g_dir_close(dir);
    }
}

static int
compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Damages one file; says what it did. */
static char *
damage(const char *folder, uint32_t kind, struct yk_random *random)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *bytes = NULL;
    gsize size = 0;
    list_files(folder, files);
    g_ptr_array_sort(files, compare_paths);
    if (files->len == 0) {
        return NULL;
    }
    const char *path = g_ptr_array_index(files, yk_random_below(random, files->len));
    g_autofree char *name = g_path_get_basename(path);
    if (!g_file_get_contents(path, &bytes, &size, NULL) || size == 0) {
        return NULL;
    }
    uint64_t at = yk_random_below(random, size);
    switch (kind) {
    case 0:
    case 1:
        for (uint64_t i = 0; i < (kind == 0 ? 1 : 50); i++) {
            bytes[yk_random_below(random, size)] ^= (char)(1 + yk_random_below(random, 255));
        }
        g_file_set_contents(path, bytes, (gssize)size, NULL);
        return g_strdup_printf("%s: %s changed", name, kind == 0 ? "a byte" : "50 bytes");
    case 2:
        g_file_set_contents(path, bytes, (gssize)at, NULL);
        return g_strdup_printf("%s: cut off at %llu of %zu", name, (unsigned long long)at, size);
    case 3:
        memset(bytes + at, 0, MIN(size - at, 4096));
        g_file_set_contents(path, bytes, (gssize)size, NULL);
        return g_strdup_printf("%s: zeros from %llu on", name, (unsigned long long)at);
    case 4:
        g_file_set_contents(path, "", 0, NULL);
        return g_strdup_printf("%s: emptied", name);
    default:
        remove(path);
        return g_strdup_printf("%s: removed", name);
    }
}

struct looking {
    struct kit_item *item;
    uint32_t n_errors, n_lost, n_foreign;
};

static void
look_at(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct looking *looking = arg;
    looking->n_errors += result != YK_OK && result != YK_ENOTFOUND;
    looking->n_foreign += result == YK_OK && !kit_value_is_own(value, &looking->item->key);
    looking->n_lost += result == YK_ENOTFOUND && !kit_item_is_absent(looking->item);
}

static bool
skip_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    return true;
}

static _Noreturn void
look_at_damaged(struct kit_bench *bench, const char *folder, struct tally *tally)
{
    struct kit_place place = {.folder = folder, .durability = YK_DURABILITY_OS};
    struct looking looking = {.n_errors = 0};
    struct kit_scan scan;
    char error[YK_ERROR_SIZE] = "";
    alarm(CHILD_SECONDS_MAX);
    if (kit_engine_open(&bench->engine, &place, error) != YK_OK) {
        tally->n_refused++;
        if (error[0] == '\0') {
            kit_broken(bench->kit, KIT_ERROR_TEXT, "damaged files are refused without a word");
        }
        kit_child_end();
    }
    bench->engine.is_damaged = true;
    for (uint32_t i = 0; i < bench->model.n_items; i++) {
        looking.item = &bench->model.items[i];
        const struct kit_key *key = &looking.item->key;
        looking.n_errors += kit_engine_get(&bench->engine, &key, 1, look_at, &looking) != YK_OK;
    }
    kit_scan_init(&scan, &bench->engine);
    for (uint32_t i = 0; i < SCAN_STEPS_MAX && !scan.is_end; i++) {
        if (kit_engine_scan(&bench->engine, &scan, skip_record, NULL) != YK_OK) {
            looking.n_errors++;
            break;
        }
    }
    kit_scan_done(&scan, &bench->engine);
    kit_engine_close(&bench->engine);
    tally->n_errors += looking.n_errors > 0;
    tally->n_lost += looking.n_lost > 0;
    tally->n_foreign += looking.n_foreign > 0;
    tally->n_served += looking.n_errors + looking.n_lost + looking.n_foreign == 0;
    kit_child_end();
}

static void
damage_once(struct kit_bench *bench, uint32_t kind, struct tally *tally)
{
    char status[128];
    g_autofree char *copy = kit_make_folder(bench->kit, "damaged");
    copy_folder(bench->folder, copy);
    g_autofree char *what = damage(copy, kind, &bench->random);
    if (what == NULL) {
        return;
    }
    int pid = kit_fork(bench->kit);
    if (pid == 0) {
        look_at_damaged(bench, copy, tally);
    }
    if (!kit_wait(pid, status, sizeof(status))) {
        kit_broken(bench->kit, KIT_DAMAGE, "%s: the process ends with %s", what, status);
    }
}

/* A child fills the folder, so that this process never has the engine open when it forks. */
static void
fill_in_child(struct kit_bench *bench)
{
    char status[128];
    uint64_t state = bench->random.state;
    int pid = kit_fork(bench->kit);
    if (pid == 0) {
        kit_bench_open(bench, N_ITEMS);
        kit_bench_fill(bench, 30);
        kit_bench_close(bench);
        kit_child_end();
    }
    if (!kit_wait(pid, status, sizeof(status))) {
        kit_broken(bench->kit, KIT_CRASH, "filling a folder ends the process with %s", status);
    }
    bench->random.state = state;
    for (uint32_t i = 0; i < 30; i++) {
        struct kit_batch batch;
        kit_batch_make(&bench->model, &bench->random,
                       1 + (uint32_t)yk_random_below(&bench->random, KIT_BATCH_MAX / 2), &batch);
        kit_batch_settle(&bench->model, &batch, YK_OK, true);
    }
}

void
kit_run_damage(struct kit *kit)
{
    if ((kit_bench_info(kit).caps & YK_BACKEND_VOLATILE) != 0) {
        return;
    }
    struct kit_bench *bench = kit_bench_new(kit, "damage", 0);
    struct tally *tally =
        mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t n = kit->rounds * 6;
    if (tally == MAP_FAILED) {
        abort();
    }
    kit_bench_model(bench, N_ITEMS);
    bench->model.value_size_max = MIN(bench->model.value_size_max, 3000);
    fill_in_child(bench);
    for (uint32_t i = 0; i < n; i++) {
        damage_once(bench, i % 6, tally);
        kit_progress(kit, i, n);
    }
    kit_remark(
        kit,
        "of %u times with a damaged file %u were refused, in %u reads ended in errors, in %u "
        "records were missing, %u gave wrong bytes (the core's checksum finds those), %u "
        "noticed nothing",
        n, tally->n_refused, tally->n_errors, tally->n_lost, tally->n_foreign, tally->n_served);
    kit_bench_free(bench);
}

/* -- A full disk. -- */

static bool
write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        close(fd);
    }
    return is_written;
}

/* A small disk at path, in a mount namespace of this process. Root may; others where users may make
 * namespaces. */
static bool
mount_disk(const char *path)
{
    char map[64], options[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (uid != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            return false;
        }
        snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
        write_text("/proc/self/setgroups", "deny");
        if (!write_text("/proc/self/uid_map", map)) {
            return false;
        }
        snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
        write_text("/proc/self/gid_map", map);
    } else if (unshare(CLONE_NEWNS) != 0) {
        return false;
    }
    snprintf(options, sizeof(options), "size=%d,mode=755", (int)DISK_SIZE);
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("yakumo-kit", path, "tmpfs", 0, options) == 0;
}

/* Leaves so many bytes free on the disk, or all that it has. */
static void
resize_disk(const char *path, uint64_t left)
{
    struct statvfs about;
    char options[64];
    uint64_t size = DISK_SIZE;
    if (left < DISK_SIZE && statvfs(path, &about) == 0) {
        size = (about.f_blocks - about.f_bfree) * about.f_frsize + left;
    }
    snprintf(options, sizeof(options), "size=%llu", (unsigned long long)size);
    if (mount(NULL, path, NULL, MS_REMOUNT, options) != 0) {
        abort();
    }
}

/* Applies until it fails; false: many times what is left was taken. */
static bool
apply_until_full(struct kit_bench *bench, enum yk_err *ret_result)
{
    struct kit_model *model = &bench->model;
    for (uint32_t i = 0; i < 16 * DISK_LEFT / DISK_VALUE_SIZE; i++) {
        struct kit_batch batch = {.n = 2};
        for (uint32_t k = 0; k < 2; k++) {
            batch.items[k] = &model->items[(2 * i + k) % model->n_items];
            batch.values[k] = (struct kit_value){model->next_id++, DISK_VALUE_SIZE};
        }
        uint64_t n_refusals = model->n_refusals;
        *ret_result = kit_batch_apply(model, &bench->engine, &batch);
        if (*ret_result != YK_OK) {
            return true;
        }
        if (model->n_refusals > n_refusals) {
            *ret_result = YK_ENOSPACE;
            return true;
        }
    }
    return false;
}

/* Opening where nothing at all is left: in words, or good. In a child, for it may crash. */
static void
open_on_full(struct kit_bench *bench, const char *disk)
{
    char status[128];
    g_autofree char *fresh = g_build_filename(disk, "fresh", NULL);
    if (mkdir(fresh, 0755) != 0) {
        abort();
    }
    resize_disk(disk, 0);
    int pid = kit_fork(bench->kit);
    if (pid == 0) {
        is_refused(bench, fresh);
        kit_child_end();
    }
    if (!kit_wait(pid, status, sizeof(status))) {
        kit_broken(bench->kit, KIT_DISK_FULL, "open on a full disk ends the process with %s",
                   status);
    }
}

static void
use_full_disk(struct kit_bench *bench, const char *disk)
{
    struct kit *kit = bench->kit;
    struct kit_model *model = &bench->model;
    enum yk_err result = YK_OK;
    kit_bench_open(bench, 400);
    model->rule = KIT_DISK_FULL;
    kit_bench_fill(bench, 3);
    resize_disk(disk, DISK_LEFT);
    model->may_fail = true;
    bool is_full = apply_until_full(bench, &result);
    uint64_t n_errors = model->n_errors;
    kit_model_read_all(model, &bench->engine); /* wrong it may not be */
    if (model->n_errors > n_errors) {
        kit_remark(kit, "while the disk is full some reads end in errors");
    }
    model->may_fail = false;
    bool goes_on = kit_engine_has(&bench->engine, YK_BACKEND_ATOMIC_BATCH) &&
                   (result == YK_ENOSPACE || result == YK_ENOMEM || result == YK_ETOOLARGE);
    resize_disk(disk, DISK_SIZE);
    if (is_full && goes_on) {
        kit_bench_fill(bench, 5); /* the lane goes on */
    }
    kit_bench_close(bench);
    kit_engine_must_open(&bench->engine, &bench->place);
    kit_bench_check(bench);
    kit_bench_close(bench);
    kit_declares(kit, "full disk", is_full ? "an error" : "no error");
    kit_shows(kit, "full disk", KIT_SHOWN, "%s; nothing that was acknowledged was lost",
              is_full ? yk_err_text(result) : "its room was set aside before");
    model->rule = 0;
    open_on_full(bench, disk);
}

void
kit_run_disk(struct kit *kit)
{
    if ((kit_bench_info(kit).caps & YK_BACKEND_VOLATILE) != 0) {
        return;
    }
    struct kit_bench *bench = kit_bench_new(kit, "disk", 0);
    g_autofree char *lane = g_build_filename(bench->folder, "lane", NULL);
    if (!mount_disk(bench->folder)) {
        kit_shows(kit, "full disk", KIT_UNSHOWN, "a small disk can be mounted by root only");
    } else if (mkdir(lane, 0755) == 0) {
        bench->place.folder = lane;
        use_full_disk(bench, bench->folder);
    }
    kit_bench_free(bench);
}
