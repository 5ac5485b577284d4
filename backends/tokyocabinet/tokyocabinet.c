/* Backend "tokyocabinet": an unordered map in one file for each lane, by the hash database of Tokyo
 * Cabinet.
 *
 * Each apply is one transaction of the library, whose log of old bytes lets the next open undo what
 * a kill -9 cut off. The log is not forced to the device before the file is changed, so that a loss
 * of power in the middle of a write may damage the file. The library is told of no threads: one
 * call at a time.
 *
 * An error of the library other than "no record" makes its handle refuse all further writes; then
 * the file is opened again, which also undoes an unfinished transaction.
 *
 * A kill -9 in the middle of a write to that log leaves its last entry cut short. The library then
 * undoes the transaction in the file but not in what it has read of it already, and later leaves a
 * gap that ends every scan. So such an entry, whose change was not begun, is cut off before the
 * library sees it. And a file is made under another name first: half made, it does not open.
 *
 * The library does not notice that a disk is full: what it writes beyond the mapped part of the
 * file is lost without an error, and a write to a mapped hole ends the process. So room is reserved
 * on the disk before each apply, for the file as long as it may become. */
#define _GNU_SOURCE /* fallocate */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backends/tokyocabinet/scan.h"

enum {
    KEY_SIZE_MAX = 65535,
    PATH_ROOM = 4096,
    RESERVE_STEP = 1024 * 1024,
    RECORD_HEAD = 64,
    FILE_HEAD = 256, /* bytes of the database's head */
    WAL_HEAD = 8,    /* bytes of the log before its entries */
    WAL_ENTRY = 12   /* bytes of an entry before its data: offset (8), size (4) */
};

struct tokyocabinet {
    const struct yk_host *host;
    uint64_t bnum, xmsiz, rcnum, apow, fpow;
    bool tlarge;

    char path[PATH_ROOM];
    uint32_t n_lanes;
    uint64_t reserved; /* bytes of the file that the disk has room for */
    TCHDB *db;         /* NULL: it failed, and could not be opened again */
    struct passes passes;
};

/* Errors */

static enum yk_err
result_of(int code)
{
    switch (code) {
    case TCESUCCESS:
        return YK_OK;
    case TCENOREC:
        return YK_ENOTFOUND;
    case TCEMETA:
    case TCERHEAD:
    case TCEMISC:
        return YK_ECORRUPT;
    default:
        return YK_EIO;
    }
}

static enum yk_err
fail(const struct tokyocabinet *self, const char *what, int code, int system_code)
{
    self->host->error(self->host, "%s: %s%s%s", what, tchdberrmsg(code),
                      system_code != 0 ? ": " : "", system_code != 0 ? strerror(system_code) : "");
    return system_code == ENOSPC || system_code == EDQUOT ? YK_ENOSPACE : result_of(code);
}

/* Life */

static enum yk_err
tokyocabinet_create(const struct yk_host *host, void **ret_self)
{
    struct tokyocabinet *self = host->alloc(host, sizeof(*self));
    if (self == NULL) {
        return YK_ENOMEM;
    }
    memset(self, 0, sizeof(*self));
    self->host = host;
    *ret_self = self;
    return YK_OK;
}

static void
tokyocabinet_destroy(void *arg)
{
    struct tokyocabinet *self = arg;
    self->host->release(self->host, self);
}

static enum yk_err
tokyocabinet_config(void *arg, const char *name, const struct yk_option_value *value)
{
    struct tokyocabinet *self = arg;
    if (strcmp(name, "bnum") == 0) {
        self->bnum = value->number;
    } else if (strcmp(name, "xmsiz") == 0) {
        self->xmsiz = value->number;
    } else if (strcmp(name, "rcnum") == 0) {
        self->rcnum = value->number;
    } else if (strcmp(name, "apow") == 0) {
        self->apow = value->number;
    } else if (strcmp(name, "fpow") == 0) {
        self->fpow = value->number;
    } else {
        self->tlarge = value->number != 0;
    }
    return YK_OK;
}

static void
tokyocabinet_info(void *arg, struct yk_backend_info *info)
{
    info->caps |= YK_BACKEND_EXACT_COUNT | YK_BACKEND_ATOMIC_BATCH | YK_BACKEND_SURVIVES_KILL |
                  YK_BACKEND_BLOCKS;
    info->threads = YK_THREADS_SERIAL;
    info->key_size_max = KEY_SIZE_MAX;
    info->value_size_max = INT32_MAX;
}

static uint64_t
share_of(const struct tokyocabinet *self, uint64_t whole)
{
    return (whole + self->n_lanes - 1) / self->n_lanes;
}

/* Room on the disk up to `size` bytes of the file: 0, or why not, as errno. Where the file system
 * cannot reserve, there must be so much room at least. */
static int
reserve_exactly(struct tokyocabinet *self, TCHDB *db, uint64_t size)
{
    struct statvfs status;
    if (fallocate(db->fd, FALLOC_FL_KEEP_SIZE, (off_t)self->reserved,
                  (off_t)(size - self->reserved)) == 0) {
        self->reserved = size;
        return 0;
    }
    if (errno != EOPNOTSUPP && errno != ENOSYS) {
        return errno;
    }
    if (fstatvfs(db->fd, &status) < 0) {
        return errno;
    }
    return (uint64_t)status.f_bavail * status.f_frsize > size - self->reserved ? 0 : ENOSPC;
}

static int
reserve(struct tokyocabinet *self, TCHDB *db, uint64_t size)
{
    if (size <= self->reserved) {
        return 0;
    }
    if (reserve_exactly(self, db, size + RESERVE_STEP) == 0) {
        return 0;
    }
    return reserve_exactly(self, db, size);
}

static enum yk_err
fail_system(const struct tokyocabinet *self, const char *path)
{
    return fail(self, path, TCEOPEN, errno);
}

static TCHDB *
new_handle(const struct tokyocabinet *self)
{
    TCHDB *db = tchdbnew();
    if (tchdbtune(db, (int64_t)share_of(self, self->bnum), (int8_t)self->apow, (int8_t)self->fpow,
                  self->tlarge ? HDBTLARGE : 0) &&
        tchdbsetcache(db, (int32_t)share_of(self, self->rcnum)) &&
        tchdbsetxmsiz(db, (int64_t)share_of(self, self->xmsiz))) {
        return db;
    }
    tchdbdel(db);
    return NULL;
}

/* Makes the file, whole or not at all. */
static enum yk_err
make_file(struct tokyocabinet *self)
{
    char fresh[PATH_ROOM + 8];
    struct stat status;
    if (stat(self->path, &status) == 0) {
        return YK_OK;
    }
    if (errno != ENOENT) {
        return fail_system(self, self->path);
    }
    snprintf(fresh, sizeof(fresh), "%s.new", self->path);
    TCHDB *db = new_handle(self);
    if (db == NULL) {
        return YK_EINVALID;
    }
    errno = 0;
    if (!tchdbopen(db, fresh, HDBOWRITER | HDBOCREAT | HDBOTRUNC) || !tchdbclose(db)) {
        enum yk_err result = fail(self, fresh, tchdbecode(db), errno);
        tchdbdel(db);
        return result;
    }
    tchdbdel(db);
    return rename(fresh, self->path) == 0 ? YK_OK : fail_system(self, self->path);
}

/* Where the last whole entry of the log ends; its size if that cannot be told. The first entry is
 * the head of the file, by whose size it is known in which order builds of the library write bytes.
 */
static off_t
end_of_entries(int fd, off_t size)
{
    off_t at = WAL_HEAD;
    uint8_t head[WAL_ENTRY];
    bool is_swapped = false;
    while (at + WAL_ENTRY <= size && pread(fd, head, WAL_ENTRY, at) == WAL_ENTRY) {
        uint32_t data_size;
        memcpy(&data_size, head + 8, sizeof(data_size));
        if (at == WAL_HEAD) {
            is_swapped = data_size == __builtin_bswap32(FILE_HEAD);
        }
        data_size = is_swapped ? __builtin_bswap32(data_size) : data_size;
        if (at == WAL_HEAD && data_size != FILE_HEAD) {
            return size;
        }
        if (at + WAL_ENTRY + (off_t)data_size > size) {
            break;
        }
        at += WAL_ENTRY + (off_t)data_size;
    }
    return at;
}

static enum yk_err
trim_log(struct tokyocabinet *self)
{
    char path[PATH_ROOM + 8];
    struct stat status;
    snprintf(path, sizeof(path), "%s.wal", self->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? YK_OK : fail_system(self, path);
    }
    bool is_done = fstat(fd, &status) == 0;
    if (is_done && status.st_size > WAL_HEAD) {
        off_t end = end_of_entries(fd, status.st_size);
        is_done = end == status.st_size || ftruncate(fd, end) == 0;
    }
    enum yk_err result = is_done ? YK_OK : fail_system(self, path);
    close(fd);
    return result;
}

/* On failure says why. */
static enum yk_err
open_file(struct tokyocabinet *self)
{
    enum yk_err result = make_file(self);
    if (result == YK_OK) {
        result = trim_log(self);
    }
    TCHDB *db = result == YK_OK ? new_handle(self) : NULL;
    if (db == NULL) {
        return result == YK_OK ? YK_EINVALID : result;
    }
    errno = 0;
    if (!tchdbopen(db, self->path, HDBOWRITER | HDBOLCKNB)) {
        result = fail(self, self->path, tchdbecode(db), errno);
        tchdbdel(db);
        return result;
    }
    self->reserved = 0;
    int code = reserve(self, db, tchdbfsiz(db) > db->msiz ? tchdbfsiz(db) : db->msiz);
    if (code != 0) {
        tchdbdel(db);
        return fail(self, self->path, TCETRUNC, code);
    }
    self->db = db;
    return YK_OK;
}

static enum yk_err
tokyocabinet_open(void *arg, const struct yk_backend_place *place)
{
    struct tokyocabinet *self = arg;
    self->n_lanes = place->n_lanes;
    int size = snprintf(self->path, sizeof(self->path), "%s/records.tch", place->folder);
    if (size >= (int)sizeof(self->path)) {
        self->host->error(self->host, "the folder's name is too long");
        return YK_EINVALID;
    }
    enum yk_err result = open_file(self);
    return result == YK_OK && !passes_init(&self->passes, self->host) ? YK_ENOMEM : result;
}

static void
tokyocabinet_close(void *arg)
{
    struct tokyocabinet *self = arg;
    passes_done(&self->passes);
    if (self->db != NULL) {
        tchdbdel(self->db); /* closes it */
    }
    self->db = NULL;
}

/* After an error: a handle that works again, and an unfinished transaction undone. */
static enum yk_err
revive(struct tokyocabinet *self)
{
    tchdbdel(self->db);
    self->db = NULL;
    passes_lose(&self->passes);
    return open_file(self);
}

static enum yk_err
get_ready(struct tokyocabinet *self)
{
    return self->db != NULL ? YK_OK : open_file(self);
}

/* Calls */

static enum yk_err
tokyocabinet_get(void *arg_self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
                 struct yk_call *call)
{
    struct tokyocabinet *self = arg_self;
    for (uint32_t i = 0; i < n; i++) {
        int size = 0;
        enum yk_err result = get_ready(self);
        if (result != YK_OK) {
            return result;
        }
        char *value = tchdbget(self->db, keys[i].data, (int)keys[i].size, &size);
        result = value != NULL ? YK_OK : result_of(tchdbecode(self->db));
        fn(arg, i, result, yk_slice_of(value, value != NULL ? (size_t)size : 0));
        free(value);
        if (result != YK_OK && result != YK_ENOTFOUND) {
            (void)revive(self);
        }
    }
    return YK_OK;
}

/* Each record may come to lie at the end of the file, aligned and padded. */
static int
reserve_for(struct tokyocabinet *self, const struct yk_change *changes, uint32_t n)
{
    uint64_t size = tchdbfsiz(self->db);
    for (uint32_t i = 0; i < n; i++) {
        if (changes[i].kind == YK_CHANGE_PUT) {
            size += RECORD_HEAD + changes[i].key.size + changes[i].value.size +
                    2 * ((uint64_t)1 << self->apow);
        }
    }
    return reserve(self, self->db, size);
}

static bool
change_one(struct tokyocabinet *self, const struct yk_change *change)
{
    passes_note(&self->passes, self->db, change);
    if (change->kind == YK_CHANGE_PUT) {
        return tchdbput(self->db, change->key.data, (int)change->key.size,
                        change->value.data != NULL ? change->value.data : "",
                        (int)change->value.size);
    }
    return tchdbout(self->db, change->key.data, (int)change->key.size) ||
           tchdbecode(self->db) == TCENOREC;
}

static enum yk_err
tokyocabinet_apply(void *arg, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct tokyocabinet *self = arg;
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    int code = reserve_for(self, changes, n);
    if (code != 0) {
        return fail(self, self->path, TCEWRITE, code);
    }
    errno = 0;
    bool is_done = tchdbtranbegin(self->db);
    for (uint32_t i = 0; i < n && is_done; i++) {
        is_done = change_one(self, &changes[i]);
    }
    if (is_done && tchdbtrancommit(self->db)) {
        return YK_OK;
    }
    result = fail(self, self->path, tchdbecode(self->db), errno);
    enum yk_err revived = revive(self);
    return revived == YK_OK || revived == YK_ENOSPACE ? result : revived;
}

static enum yk_err
tokyocabinet_scan(void *arg_self, const struct yk_scan *scan, struct yk_cursor *cursor,
                  yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    struct tokyocabinet *self = arg_self;
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    if (passes_step(&self->passes, self->db, scan, cursor, fn, arg, ret_end)) {
        return YK_OK;
    }
    result = fail(self, self->path, tchdbecode(self->db), 0);
    (void)revive(self);
    return result != YK_ENOTFOUND ? result : YK_ECORRUPT;
}

static enum yk_err
tokyocabinet_sync(void *arg)
{
    struct tokyocabinet *self = arg;
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    return tchdbsync(self->db) ? YK_OK : fail(self, self->path, tchdbecode(self->db), errno);
}

static enum yk_err
tokyocabinet_snapshot(void *arg, const char *folder)
{
    struct tokyocabinet *self = arg;
    char path[PATH_ROOM + 16];
    snprintf(path, sizeof(path), "%s/records.tch", folder);
    enum yk_err result = path[0] != '@' ? get_ready(self) : YK_EINVALID; /* '@' runs a command */
    if (result != YK_OK) {
        return result;
    }
    return tchdbcopy(self->db, path) ? YK_OK : fail(self, path, tchdbecode(self->db), errno);
}

static enum yk_err
tokyocabinet_compact(void *arg)
{
    struct tokyocabinet *self = arg;
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    passes_lose(&self->passes);
    if (tchdboptimize(self->db, -1, -1, -1, UINT8_MAX)) {
        return YK_OK;
    }
    result = fail(self, self->path, tchdbecode(self->db), errno);
    (void)revive(self);
    return result;
}

static enum yk_err
tokyocabinet_count(void *arg, uint64_t *ret_records)
{
    struct tokyocabinet *self = arg;
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    *ret_records = tchdbrnum(self->db);
    return YK_OK;
}

static void
tokyocabinet_stats(void *arg_self, yk_figure_fn fn, void *arg)
{
    struct tokyocabinet *self = arg_self;
    if (self->db != NULL) {
        fn(arg, "bytes", tchdbfsiz(self->db));
        fn(arg, "tokyocabinet_buckets", tchdbbnum(self->db));
    }
}

static const struct yk_backend_ops tokyocabinet_ops = {
    .struct_size = sizeof(tokyocabinet_ops),
    .life = {.create = tokyocabinet_create,
             .config = tokyocabinet_config,
             .destroy = tokyocabinet_destroy},
    .info = tokyocabinet_info,
    .open = tokyocabinet_open,
    .close = tokyocabinet_close,
    .get = tokyocabinet_get,
    .apply = tokyocabinet_apply,
    .scan = tokyocabinet_scan,
    .sync = tokyocabinet_sync,
    .snapshot = tokyocabinet_snapshot,
    .compact = tokyocabinet_compact,
    .count = tokyocabinet_count,
    .stats = tokyocabinet_stats,
};

static const struct yk_option tokyocabinet_options[] = {
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_UINT,
     .name = "bnum",
     .fallback = "1000000",
     .min = 1,
     .max = 1ull << 40,
     .help = "Buckets of the hash tables, for all lanes of the bucket together: from half to four "
             "times the number of records. Used when a lane's file is made."},
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_SIZE,
     .name = "xmsiz",
     .fallback = "64M",
     .max = 1ull << 44,
     .help = "Bytes of the files that are mapped into memory beyond the tables, for all lanes "
             "together. More makes it faster."},
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_UINT,
     .name = "rcnum",
     .fallback = "0",
     .max = 1ull << 31,
     .help = "Records kept in a cache of the library, for all lanes together."},
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_UINT,
     .name = "apow",
     .fallback = "4",
     .max = 16,
     .help = "Records lie at multiples of 2 to the power of this many bytes. Used when a lane's "
             "file is made."},
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_UINT,
     .name = "fpow",
     .fallback = "10",
     .max = 20,
     .help = "Room that was given up is remembered in at most 2 to the power of this many places. "
             "Used when a lane's file is made."},
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_BOOL,
     .name = "tlarge",
     .fallback = "yes",
     .help =
         "Lets a lane's file grow beyond 2G, for 4 bytes more in each bucket. Used when a lane's "
         "file is made."},
};

YK_PLUGIN(tokyocabinet) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .n_options = sizeof(tokyocabinet_options) / sizeof(tokyocabinet_options[0]),
    .name = "tokyocabinet",
    .version = "1",
    .summary = "records in hash database files, by Tokyo Cabinet",
    .details =
        "One file, records.tch, for each lane. Each batch of writes is a transaction, so that the "
        "file survives kill -9. A loss of power in the middle of a write may damage it; so with "
        "durability = disk the node keeps snapshots beside it, and after a loss of power makes the "
        "file anew from those and its journal. That takes the room of the records once more, or "
        "twice while a snapshot is written.\n\n"
        "Debian builds the library with checks that make it two to four times slower than it "
        "needs to be. The library ends the process when it gets no memory.",
    .options = tokyocabinet_options,
    .ops = &tokyocabinet_ops,
};
