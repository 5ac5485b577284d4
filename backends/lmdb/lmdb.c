/* Backend "lmdb": an ordered map in one memory-mapped file for each lane, by the Lightning
 * Memory-Mapped Database.
 *
 * Each apply is one write transaction. Readers never wait for the writer: they see the state
 * before it or after it. Their transactions are kept for reuse, since each costs an allocation and
 * a slot in the table of readers.
 *
 * With durability disk the pages of each commit wait for the device, and the state that names them
 * goes there with the next one, or with sync (MDB_NOMETASYNC): without that (MDB_NOSYNC) LMDB
 * reuses pages that the last state on the device still needs.
 *
 * The library asserts what a damaged file may break, and would end the process. Its assertions are
 * left by a jump instead; the environment is then given up as it is, with its memory, and every
 * later call refused. */
#include <config.h>

#include <yakumo/backend.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <lmdb.h>

enum {
    IDLE_TXNS_MAX = 8,
    KEY_SIZE_MAX = 511,
    SLOT_SIZE = 2,
    PATH_ROOM = 4096,
    LOCK_SIZE = 8192, /* of the lock file, with the library's 126 readers */
    FILE_MODE = 0640
};

#define SPACE_MIN (32ull * 1024 * 1024) /* more than a batch of writes takes */

struct lmdb {
    const struct yk_host *host;
    uint64_t map_size;
    bool readahead;
    bool syncs;         /* the pages of each commit wait for the device */
    const char *folder; /* lent until close */

    MDB_env *env;
    MDB_dbi dbi;
    pthread_mutex_t lock; /* of the idle transactions */
    MDB_txn *idle[IDLE_TXNS_MAX];
    uint32_t n_idle;

    bool is_given_up; /* atomic */
};

/* Where an assertion of the library goes, for the call that this thread is in. */
static __thread jmp_buf *escape;

/* Errors */

static enum yk_err
result_of(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return YK_OK;
    case MDB_NOTFOUND:
        return YK_ENOTFOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        return YK_ENOSPACE;
    case MDB_BAD_VALSIZE:
        return YK_ETOOLARGE;
    case ENOMEM:
        return YK_ENOMEM;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return YK_ECORRUPT;
    default:
        return YK_EIO;
    }
}

static enum yk_err
fail(const struct lmdb *lmdb, const char *what, int code)
{
    lmdb->host->error(lmdb->host, "%s: %s", what, mdb_strerror(code));
    return result_of(code);
}

/* Assertions */

static void
assertion_failed(MDB_env *env, const char *text)
{
    struct lmdb *lmdb = mdb_env_get_userctx(env);
    if (!__atomic_exchange_n(&lmdb->is_given_up, true, __ATOMIC_ACQ_REL)) {
        lmdb->host->log(lmdb->host, YK_LOG_ERROR, "the file is damaged: %s", text);
    }
    if (escape != NULL) {
        longjmp(*escape, 1);
    }
}

static enum yk_err
refuse(const struct lmdb *lmdb)
{
    escape = NULL;
    lmdb->host->error(lmdb->host, "the file is damaged; see the log");
    return YK_ECORRUPT;
}

static bool
is_given_up(const struct lmdb *lmdb)
{
    return __atomic_load_n(&lmdb->is_given_up, __ATOMIC_ACQUIRE);
}

/* Life */

static enum yk_err
lmdb_create(const struct yk_host *host, void **ret_self)
{
    struct lmdb *lmdb = host->alloc(host, sizeof(*lmdb));
    if (lmdb == NULL) {
        return YK_ENOMEM;
    }
    memset(lmdb, 0, sizeof(*lmdb));
    lmdb->host = host;
    pthread_mutex_init(&lmdb->lock, NULL);
    *ret_self = lmdb;
    return YK_OK;
}

static void
lmdb_destroy(void *self)
{
    struct lmdb *lmdb = self;
    pthread_mutex_destroy(&lmdb->lock);
    lmdb->host->release(lmdb->host, lmdb);
}

static enum yk_err
lmdb_config(void *self, const char *name, const struct yk_option_value *value)
{
    struct lmdb *lmdb = self;
    if (strcmp(name, "map_size") == 0) {
        lmdb->map_size = value->number;
    } else {
        lmdb->readahead = value->number != 0;
    }
    return YK_OK;
}

static void
lmdb_info(void *self, struct yk_backend_info *info)
{
    info->caps |= YK_BACKEND_ORDERED | YK_BACKEND_EXACT_COUNT | YK_BACKEND_ATOMIC_BATCH |
                  YK_BACKEND_SURVIVES_KILL | YK_BACKEND_SURVIVES_POWER | YK_BACKEND_BLOCKS |
                  YK_BACKEND_SYNC_BESIDE;
    info->threads = YK_THREADS_READERS;
    info->key_size_max = KEY_SIZE_MAX;
    info->value_size_max = INT32_MAX;
}

/* A file that ends before its last page would end the process when that is read (SIGBUS); filled
 * up with zeros it is an error instead. Pages that were never written may lie beyond the end. */
static int
fill_up(struct lmdb *lmdb, const char *folder)
{
    char path[PATH_ROOM];
    MDB_envinfo info;
    MDB_stat stat_of;
    struct stat status;
    mdb_env_info(lmdb->env, &info);
    mdb_env_stat(lmdb->env, &stat_of);
    off_t size = (off_t)(info.me_last_pgno + 1) * (off_t)stat_of.ms_psize;
    snprintf(path, sizeof(path), "%s/data.mdb", folder);
    if (stat(path, &status) < 0) {
        return errno;
    }
    if (status.st_size >= size) {
        return MDB_SUCCESS;
    }
    lmdb->host->log(lmdb->host, YK_LOG_WARNING,
                    "%s has %lld bytes where its pages take %lld; if it was cut, records are "
                    "damaged",
                    path, (long long)status.st_size, (long long)size);
    return truncate(path, size) < 0 ? errno : MDB_SUCCESS;
}

/* The lock file is written through memory: with no room left for its pages that would end the
 * process (SIGBUS); set aside beforehand, they are an error instead. */
static int
reserve_lock(const char *folder)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/lock.mdb", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return errno;
    }
    int code = fallocate(fd, 0, 0, LOCK_SIZE) == 0 ? MDB_SUCCESS : errno;
    close(fd);
    return code == EOPNOTSUPP || code == ENOSYS ? MDB_SUCCESS : code;
}

static int
open_table(struct lmdb *lmdb)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (code != MDB_SUCCESS) {
        return code;
    }
    code = mdb_dbi_open(txn, NULL, 0, &lmdb->dbi);
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

static int
open_env(struct lmdb *lmdb, const struct yk_backend_place *place)
{
    unsigned int flags = MDB_NOTLS | (lmdb->readahead ? 0 : MDB_NORDAHEAD) |
                         (lmdb->syncs ? MDB_NOMETASYNC : MDB_NOSYNC);
    int code = mdb_env_set_mapsize(lmdb->env, (size_t)lmdb->map_size);
    if (code == MDB_SUCCESS) {
        code = reserve_lock(place->folder);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_open(lmdb->env, place->folder, flags, FILE_MODE);
    }
    if (code == MDB_SUCCESS) {
        code = fill_up(lmdb, place->folder);
    }
    return code == MDB_SUCCESS ? open_table(lmdb) : code;
}

static enum yk_err
open_place(struct lmdb *lmdb, const struct yk_backend_place *place)
{
    lmdb->syncs = place->durability == YK_DURABILITY_DISK;
    lmdb->folder = place->folder;
    int code = mdb_env_create(&lmdb->env);
    if (code != MDB_SUCCESS) {
        return fail(lmdb, place->folder, code);
    }
    mdb_env_set_userctx(lmdb->env, lmdb);
    mdb_env_set_assert(lmdb->env, assertion_failed);
    code = open_env(lmdb, place);
    if (code != MDB_SUCCESS) {
        mdb_env_close(lmdb->env);
        return fail(lmdb, place->folder, code);
    }
    return YK_OK;
}

static enum yk_err
lmdb_open(void *self, const struct yk_backend_place *place)
{
    struct lmdb *lmdb = self;
    jmp_buf here;
    if (setjmp(here) != 0) {
        return refuse(lmdb);
    }
    escape = &here;
    enum yk_err result = open_place(lmdb, place);
    escape = NULL;
    return result;
}

static void
lmdb_close(void *self)
{
    struct lmdb *lmdb = self;
    if (is_given_up(lmdb)) {
        return;
    }
    while (lmdb->n_idle > 0) {
        mdb_txn_abort(lmdb->idle[--lmdb->n_idle]);
    }
    (void)mdb_env_sync(lmdb->env, 1);
    mdb_env_close(lmdb->env);
}

/* Reading */

static int
begin_read(struct lmdb *lmdb, MDB_txn **ret_txn)
{
    MDB_txn *txn = NULL;
    pthread_mutex_lock(&lmdb->lock);
    if (lmdb->n_idle > 0) {
        txn = lmdb->idle[--lmdb->n_idle];
    }
    pthread_mutex_unlock(&lmdb->lock);
    if (txn == NULL) {
        return mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, ret_txn);
    }
    int code = mdb_txn_renew(txn);
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(txn);
        return code;
    }
    *ret_txn = txn;
    return MDB_SUCCESS;
}

static void
end_read(struct lmdb *lmdb, MDB_txn *txn)
{
    mdb_txn_reset(txn);
    pthread_mutex_lock(&lmdb->lock);
    bool is_kept = lmdb->n_idle < IDLE_TXNS_MAX;
    if (is_kept) {
        lmdb->idle[lmdb->n_idle++] = txn;
    }
    pthread_mutex_unlock(&lmdb->lock);
    if (!is_kept) {
        mdb_txn_abort(txn);
    }
}

static MDB_val
val_of(const void *data, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = (void *)(uintptr_t)data};
}

static enum yk_err
get_inside(struct lmdb *lmdb, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg)
{
    MDB_txn *txn;
    int code = begin_read(lmdb, &txn);
    if (code != MDB_SUCCESS) {
        return fail(lmdb, "cannot read", code);
    }
    for (uint32_t i = 0; i < n; i++) {
        MDB_val key = val_of(keys[i].data, keys[i].size), value = {0, NULL};
        code = mdb_get(txn, lmdb->dbi, &key, &value);
        fn(arg, i, result_of(code), yk_slice_of(value.mv_data, value.mv_size));
    }
    end_read(lmdb, txn);
    return YK_OK;
}

static enum yk_err
lmdb_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
         struct yk_call *call)
{
    struct lmdb *lmdb = self;
    jmp_buf here;
    if (is_given_up(lmdb) || setjmp(here) != 0) {
        return refuse(lmdb);
    }
    escape = &here;
    enum yk_err result = get_inside(lmdb, keys, n, fn, arg);
    escape = NULL;
    return result;
}

/* Writing */

static int
change_one(struct lmdb *lmdb, MDB_txn *txn, const struct yk_change *change)
{
    MDB_val key = val_of(change->key.data, change->key.size);
    MDB_val value = val_of(change->value.data, change->value.size);
    if (change->kind == YK_CHANGE_PUT) {
        return mdb_put(txn, lmdb->dbi, &key, &value, 0);
    }
    int code = mdb_del(txn, lmdb->dbi, &key, NULL);
    return code == MDB_NOTFOUND ? MDB_SUCCESS : code;
}

/* A write cut short by a full disk is EIO to the library. */
static enum yk_err
fail_apply(const struct lmdb *lmdb, int code)
{
    struct statvfs status;
    if (code == EIO && statvfs(lmdb->folder, &status) == 0 &&
        (uint64_t)status.f_bavail * status.f_frsize < SPACE_MIN) {
        code = ENOSPC;
    }
    return fail(lmdb, "cannot write", code);
}

static enum yk_err
apply_inside(struct lmdb *lmdb, const struct yk_change *changes, uint32_t n)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (code != MDB_SUCCESS) {
        return fail(lmdb, "cannot write", code);
    }
    for (uint32_t i = 0; i < n && code == MDB_SUCCESS; i++) {
        code = change_one(lmdb, txn, &changes[i]);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_txn_commit(txn);
    } else {
        mdb_txn_abort(txn);
    }
    return code == MDB_SUCCESS ? YK_OK : fail_apply(lmdb, code);
}

static enum yk_err
lmdb_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct lmdb *lmdb = self;
    jmp_buf here;
    if (is_given_up(lmdb) || setjmp(here) != 0) {
        return refuse(lmdb);
    }
    escape = &here;
    enum yk_err result = apply_inside(lmdb, changes, n);
    escape = NULL;
    return result;
}

static enum yk_err
lmdb_sync(void *self)
{
    struct lmdb *lmdb = self;
    if (is_given_up(lmdb)) {
        return refuse(lmdb);
    }
    int code = mdb_env_sync(lmdb->env, 1);
    return code == MDB_SUCCESS ? YK_OK : fail(lmdb, "cannot sync", code);
}

/* Scans: the cursor is the last key that was seen. */

static int
go_to(MDB_cursor *at, const struct yk_cursor *cursor, MDB_val *key, MDB_val *value)
{
    if (cursor->size == 0) {
        return mdb_cursor_get(at, key, value, MDB_FIRST);
    }
    *key = val_of(cursor->data, cursor->size);
    int code = mdb_cursor_get(at, key, value, MDB_SET_RANGE);
    if (code == MDB_SUCCESS && key->mv_size == cursor->size &&
        memcmp(key->mv_data, cursor->data, cursor->size) == 0) {
        code = mdb_cursor_get(at, key, value, MDB_NEXT);
    }
    return code;
}

/* To the first key of the slot after this one. */
static int
skip_slot(MDB_cursor *at, uint16_t slot, MDB_val *key, MDB_val *value)
{
    uint8_t next[SLOT_SIZE] = {(uint8_t)((slot + 1) >> 8), (uint8_t)(slot + 1)};
    if (slot == UINT16_MAX) {
        return MDB_NOTFOUND;
    }
    *key = val_of(next, SLOT_SIZE);
    return mdb_cursor_get(at, key, value, MDB_SET_RANGE);
}

static int
walk(MDB_cursor *at, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
     void *arg)
{
    MDB_val key, value;
    uint64_t bytes = 0;
    int code = go_to(at, cursor, &key, &value);
    while (code == MDB_SUCCESS) {
        struct yk_key shown = yk_key_stored(key.mv_data, key.mv_size);
        if (!yk_scan_wants(scan, shown.slot)) {
            code = skip_slot(at, shown.slot, &key, &value);
            continue;
        }
        if (bytes >= scan->bytes_max ||
            !fn(arg, &shown, yk_slice_of(value.mv_data, value.mv_size))) {
            return MDB_SUCCESS;
        }
        bytes += key.mv_size + value.mv_size;
        memcpy(cursor->data, shown.data, key.mv_size);
        cursor->size = (uint32_t)key.mv_size;
        code = mdb_cursor_get(at, &key, &value, MDB_NEXT);
    }
    return code;
}

static enum yk_err
scan_inside(struct lmdb *lmdb, const struct yk_scan *scan, struct yk_cursor *cursor,
            yk_record_fn fn, void *arg, bool *ret_end)
{
    MDB_txn *txn;
    MDB_cursor *at;
    int code = begin_read(lmdb, &txn);
    if (code != MDB_SUCCESS) {
        return fail(lmdb, "cannot scan", code);
    }
    code = mdb_cursor_open(txn, lmdb->dbi, &at);
    if (code == MDB_SUCCESS) {
        code = walk(at, scan, cursor, fn, arg);
        mdb_cursor_close(at);
    }
    end_read(lmdb, txn);
    *ret_end = code == MDB_NOTFOUND;
    return code == MDB_SUCCESS || code == MDB_NOTFOUND ? YK_OK : fail(lmdb, "cannot scan", code);
}

static enum yk_err
lmdb_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
          void *arg, bool *ret_end, struct yk_call *call)
{
    struct lmdb *lmdb = self;
    jmp_buf here;
    if (is_given_up(lmdb) || setjmp(here) != 0) {
        return refuse(lmdb);
    }
    escape = &here;
    enum yk_err result = scan_inside(lmdb, scan, cursor, fn, arg, ret_end);
    escape = NULL;
    return result;
}

/* The rest */

static enum yk_err
count_inside(struct lmdb *lmdb, uint64_t *ret_records)
{
    MDB_stat stat_of;
    MDB_txn *txn;
    int code = begin_read(lmdb, &txn);
    if (code != MDB_SUCCESS) {
        return fail(lmdb, "cannot count", code);
    }
    code = mdb_stat(txn, lmdb->dbi, &stat_of);
    end_read(lmdb, txn);
    *ret_records = stat_of.ms_entries;
    return code == MDB_SUCCESS ? YK_OK : fail(lmdb, "cannot count", code);
}

static enum yk_err
lmdb_count(void *self, uint64_t *ret_records)
{
    struct lmdb *lmdb = self;
    jmp_buf here;
    if (is_given_up(lmdb) || setjmp(here) != 0) {
        return refuse(lmdb);
    }
    escape = &here;
    enum yk_err result = count_inside(lmdb, ret_records);
    escape = NULL;
    return result;
}

static enum yk_err
snapshot_inside(struct lmdb *lmdb, const char *path)
{
    int code = mdb_env_copy2(lmdb->env, path, MDB_CP_COMPACT);
    return code == MDB_SUCCESS ? YK_OK : fail(lmdb, path, code);
}

static enum yk_err
lmdb_snapshot(void *self, const char *path)
{
    struct lmdb *lmdb = self;
    jmp_buf here;
    if (is_given_up(lmdb) || setjmp(here) != 0) {
        return refuse(lmdb);
    }
    escape = &here;
    enum yk_err result = snapshot_inside(lmdb, path);
    escape = NULL;
    return result;
}

static void
lmdb_stats(void *self, yk_figure_fn fn, void *arg)
{
    struct lmdb *lmdb = self;
    MDB_envinfo info;
    MDB_stat stat_of;
    if (is_given_up(lmdb)) {
        return;
    }
    mdb_env_info(lmdb->env, &info);
    mdb_env_stat(lmdb->env, &stat_of);
    uint64_t bytes = (info.me_last_pgno + 1) * stat_of.ms_psize;
    fn(arg, "bytes", bytes);
    fn(arg, "lmdb_map_bytes", info.me_mapsize);
    fn(arg, "lmdb_readers", info.me_numreaders);
}

static const struct yk_backend_ops lmdb_ops = {
    .struct_size = sizeof(lmdb_ops),
    .life = {.create = lmdb_create, .config = lmdb_config, .destroy = lmdb_destroy},
    .info = lmdb_info,
    .open = lmdb_open,
    .close = lmdb_close,
    .get = lmdb_get,
    .apply = lmdb_apply,
    .scan = lmdb_scan,
    .sync = lmdb_sync,
    .snapshot = lmdb_snapshot,
    .count = lmdb_count,
    .stats = lmdb_stats,
};

static const struct yk_option lmdb_options[] = {
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_SIZE,
     .name = "map_size",
     .fallback = "16G",
     .min = 1024 * 1024,
     .max = 1ull << 44,
     .help = "The largest size of each lane's file. It takes address space, not disk: the file "
             "grows as it is filled. When it is reached, writes are refused."},
    {.struct_size = YK_OPTION_HEAD,
     .type = YK_OPTION_BOOL,
     .name = "readahead",
     .fallback = "no",
     .help =
         "Lets the system read ahead of what is asked for: good for scans, bad for random reads "
         "of a store larger than the memory."},
};

YK_PLUGIN(lmdb) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .n_options = sizeof(lmdb_options) / sizeof(lmdb_options[0]),
    .name = "lmdb",
    .version = "1",
    .summary = "ordered records in memory-mapped files, by LMDB",
    .details =
        "One file, data.mdb, for each lane. It survives kill -9, and with durability = disk the "
        "loss of power; with durability = os a loss of power may damage the file, since LMDB then "
        "writes without waiting for the device.\n\n"
        "Keys have at most 511 bytes, of which the node takes 4: key_size_max is at most 507. "
        "Reads run beside each other and beside a write. Pages carry no checksums: what the "
        "library "
        "notices of damage is an error, what it does not may end the process. A file never "
        "shrinks; the room of what "
        "was deleted is used again.",
    .options = lmdb_options,
    .ops = &lmdb_ops,
};
