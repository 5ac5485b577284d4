/* Backend "berkeleydb": a transactional B-tree with its own log for each lane, by Berkeley DB.
 *
 * Each apply is one transaction, written to the log: with durability os it has reached the system
 * when apply returns (DB_TXN_WRITE_NOSYNC; plain NOSYNC would lose it with the process). With disk
 * it waits for the device: the environment could not always be opened again after a loss of power
 * that hit a log of which much was not there yet. Recovery runs at every open, from the last
 * checkpoint on; checkpoints are taken as the log grows, and old log files removed.
 *
 * The library cannot go on after a write failed for lack of space: it wants recovery, which may
 * need more space still. So writes are refused while less is free than all lanes together might
 * need to put what is only in their logs into their files.
 *
 * Pages carry checksums: without them a damaged page can send a search in circles for ever. The
 * library gives its environment up when it finds one; it is opened again, and goes on.
 *
 * One call at a time, so the environment goes without locks and without their deadlocks. It is
 * private to the process: the host sees to it that no other opens the folder. */
#include <yakumo/backend.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include <db.h>

enum { KEY_SIZE_MAX = 65535, SLOT_SIZE = 2, CACHE_MIN = 512 * 1024, SPACE_SPARE = 4 * 1024 * 1024 };

/* Of all instances: bytes written since their last checkpoints. Atomic. */
static uint64_t unflushed_of_all;

struct berkeleydb {
    const struct yk_host *host;
    uint64_t cache_size, page_size, checkpoint_size, log_file_size;
    const char *folder; /* lent until close */
    uint64_t cache_of_lane;
    uint32_t commit_flags;

    DB_ENV *env; /* NULL, and db: it failed, and could not be opened again */
    DB *db;
    uint64_t unflushed; /* bytes written since the last checkpoint */
    uint64_t n_deletes; /* since pages were last given back to the file system */
    void *room;         /* what a read is copied to */
    uint32_t room_size;
    char said[256]; /* the library's own words on its last error */
};

/* Errors */

static enum yk_err
result_of(int code)
{
    switch (code) {
    case 0:
        return YK_OK;
    case DB_NOTFOUND:
    case DB_KEYEMPTY:
        return YK_ENOTFOUND;
    case ENOSPC:
    case EDQUOT:
        return YK_ENOSPACE;
    case ENOMEM:
        return YK_ENOMEM;
    case DB_RUNRECOVERY:
    case DB_CHKSUM_FAIL:
    case DB_VERIFY_BAD:
    case DB_PAGE_NOTFOUND:
    case DB_OLD_VERSION:
    case DB_LOG_VERIFY_BAD:
        return YK_ECORRUPT;
    default:
        return YK_EIO;
    }
}

static enum yk_err
fail(const struct berkeleydb *self, const char *what, int code)
{
    self->host->error(self->host, "%s: %s%s%s", what, db_strerror(code),
                      self->said[0] != '\0' ? ": " : "", self->said);
    return result_of(code);
}

static void
keep_words(const DB_ENV *env, const char *prefix, const char *text)
{
    struct berkeleydb *self = env->app_private;
    snprintf(self->said, sizeof(self->said), "%s", text);
}

static void
ignore_words(const DB_ENV *env, const char *text)
{
}

/* Life */

static enum yk_err
berkeleydb_create(const struct yk_host *host, void **ret_self)
{
    struct berkeleydb *self = host->alloc(host, sizeof(*self));
    if (self == NULL) {
        return YK_ENOMEM;
    }
    memset(self, 0, sizeof(*self));
    self->host = host;
    *ret_self = self;
    return YK_OK;
}

static void
berkeleydb_destroy(void *arg)
{
    struct berkeleydb *self = arg;
    self->host->release(self->host, self);
}

static enum yk_err
berkeleydb_config(void *arg, const char *name, const struct yk_option_value *value)
{
    struct berkeleydb *self = arg;
    if (strcmp(name, "cache_size") == 0) {
        self->cache_size = value->number;
    } else if (strcmp(name, "page_size") == 0) {
        self->page_size = value->number;
    } else if (strcmp(name, "checkpoint_size") == 0) {
        self->checkpoint_size = value->number;
    } else {
        self->log_file_size = value->number;
    }
    return YK_OK;
}

static enum yk_err
berkeleydb_config_done(void *arg)
{
    struct berkeleydb *self = arg;
    if ((self->page_size & (self->page_size - 1)) != 0) {
        self->host->error(self->host, "page_size = %llu is not a power of two",
                          (unsigned long long)self->page_size);
        return YK_EINVALID;
    }
    return YK_OK;
}

static void
berkeleydb_info(void *arg, struct yk_backend_info *info)
{
    info->caps |= YK_BACKEND_ORDERED | YK_BACKEND_ATOMIC_BATCH | YK_BACKEND_SURVIVES_KILL |
                  YK_BACKEND_SURVIVES_POWER | YK_BACKEND_BLOCKS;
    info->threads = YK_THREADS_SERIAL;
    info->key_size_max = KEY_SIZE_MAX;
    info->value_size_max = INT32_MAX;
}

static int
open_env(struct berkeleydb *self)
{
    const uint32_t flags =
        DB_CREATE | DB_PRIVATE | DB_RECOVER | DB_INIT_MPOOL | DB_INIT_LOG | DB_INIT_TXN;
    int code = db_env_create(&self->env, 0);
    if (code != 0) {
        self->env = NULL;
        return code;
    }
    self->said[0] = '\0';
    self->env->app_private = self;
    self->env->set_errcall(self->env, keep_words);
    self->env->set_msgcall(self->env, ignore_words);
    code = self->env->set_cachesize(self->env, (uint32_t)(self->cache_of_lane >> 30),
                                    (uint32_t)(self->cache_of_lane & 0x3fffffff), 1);
    if (code == 0) {
        code = self->env->set_lg_max(self->env, (uint32_t)self->log_file_size);
    }
    if (code == 0) {
        code = self->env->log_set_config(self->env, DB_LOG_AUTO_REMOVE, 1);
    }
    return code == 0 ? self->env->open(self->env, self->folder, flags, 0640) : code;
}

static int
open_table(struct berkeleydb *self)
{
    int code = db_create(&self->db, self->env, 0);
    if (code != 0) {
        self->db = NULL;
        return code;
    }
    code = self->db->set_pagesize(self->db, (uint32_t)self->page_size);
    if (code == 0) {
        code = self->db->set_flags(self->db, DB_CHKSUM);
    }
    if (code != 0) {
        return code;
    }
    return self->db->open(self->db, NULL, "records.db", NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT,
                          0640);
}

static void
shut(struct berkeleydb *self)
{
    if (self->db != NULL) {
        (void)self->db->close(self->db, 0);
        self->db = NULL;
    }
    if (self->env != NULL) {
        (void)self->env->close(self->env, 0);
        self->env = NULL;
    }
}

/* After an error nothing more is written, and the library is told to free what it gave up, which it
 * would leak else. */
static void
give_up(struct berkeleydb *self)
{
    if (self->env != NULL) {
        (void)self->env->set_flags(self->env, DB_NOPANIC, 1);
    }
    if (self->db != NULL) {
        (void)self->db->close(self->db, DB_NOSYNC);
        self->db = NULL;
    }
    shut(self);
}

static int
open_all(struct berkeleydb *self)
{
    int code = open_env(self);
    if (code == 0) {
        code = open_table(self);
    }
    if (code != 0) {
        give_up(self);
    }
    return code;
}

static uint64_t
share_of(uint64_t whole, uint32_t n_lanes)
{
    uint64_t share = whole / n_lanes;
    return share < CACHE_MIN ? CACHE_MIN : share;
}

static void
checkpoint(struct berkeleydb *self)
{
    if (self->env->txn_checkpoint(self->env, 0, 0, 0) == 0) {
        __atomic_fetch_sub(&unflushed_of_all, self->unflushed, __ATOMIC_RELAXED);
        self->unflushed = 0;
    }
}

static enum yk_err
get_ready(struct berkeleydb *self)
{
    if (self->db != NULL) {
        return YK_OK;
    }
    int code = open_all(self);
    return code == 0 ? YK_OK : fail(self, self->folder, code);
}

static enum yk_err
berkeleydb_open(void *arg, const struct yk_backend_place *place)
{
    static const uint32_t flags[] = {DB_TXN_NOSYNC, DB_TXN_WRITE_NOSYNC, DB_TXN_SYNC};
    struct berkeleydb *self = arg;
    self->folder = place->folder;
    self->cache_of_lane = share_of(self->cache_size, place->n_lanes);
    self->commit_flags = flags[place->durability];
    int code = open_all(self);
    if (code == 0) {
        return YK_OK;
    }
    enum yk_err result = fail(self, self->folder, code);
    return code == EINVAL ? YK_ECORRUPT : result; /* no file of its own */
}

static void
berkeleydb_close(void *arg)
{
    struct berkeleydb *self = arg;
    if (self->env != NULL) {
        checkpoint(self);
    }
    shut(self);
    __atomic_fetch_sub(&unflushed_of_all, self->unflushed, __ATOMIC_RELAXED);
    self->unflushed = 0;
    self->host->release(self->host, self->room);
    self->room = NULL;
    self->room_size = 0;
}

/* Reading */

static DBT
dbt_of(const void *data, size_t size)
{
    return (DBT){.data = (void *)(uintptr_t)data, .size = (uint32_t)size};
}

/* A value that is lent must lie in memory of ours: the library's own goes with its next call. */
static bool
make_room(struct berkeleydb *self, uint32_t size)
{
    if (self->room_size >= size) {
        return true;
    }
    void *room = self->host->resize(self->host, self->room, size);
    if (room == NULL) {
        return false;
    }
    self->room = room;
    self->room_size = size;
    return true;
}

static int
get_one(struct berkeleydb *self, const struct yk_key *at, DBT *value)
{
    DBT key = dbt_of(at->data, at->size);
    *value = (DBT){.data = self->room, .ulen = self->room_size, .flags = DB_DBT_USERMEM};
    int code = self->db->get(self->db, NULL, &key, value, 0);
    if (code == DB_BUFFER_SMALL) {
        if (!make_room(self, value->size)) {
            return ENOMEM;
        }
        value->data = self->room;
        value->ulen = self->room_size;
        code = self->db->get(self->db, NULL, &key, value, 0);
    }
    return code;
}

static enum yk_err
berkeleydb_get(void *arg_self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
               struct yk_call *call)
{
    struct berkeleydb *self = arg_self;
    for (uint32_t i = 0; i < n; i++) {
        DBT value;
        enum yk_err result = get_ready(self);
        if (result != YK_OK) {
            return result;
        }
        int code = get_one(self, &keys[i], &value);
        fn(arg, i, result_of(code), yk_slice_of(value.data, code == 0 ? value.size : 0));
        if (code != 0 && code != DB_NOTFOUND) {
            (void)fail(self, "cannot read", code);
            give_up(self);
        }
    }
    return YK_OK;
}

/* Writing */

static int
change_one(struct berkeleydb *self, DB_TXN *txn, const struct yk_change *change)
{
    DBT key = dbt_of(change->key.data, change->key.size);
    DBT value = dbt_of(change->value.data, change->value.size);
    if (change->kind == YK_CHANGE_PUT) {
        return self->db->put(self->db, txn, &key, &value, 0);
    }
    int code = self->db->del(self->db, txn, &key, 0);
    return code == DB_NOTFOUND ? 0 : code;
}

static int
apply_all(struct berkeleydb *self, const struct yk_change *changes, uint32_t n)
{
    DB_TXN *txn;
    int code = self->env->txn_begin(self->env, NULL, &txn, self->commit_flags);
    if (code != 0) {
        return code;
    }
    for (uint32_t i = 0; i < n && code == 0; i++) {
        code = change_one(self, txn, &changes[i]);
    }
    if (code != 0) {
        (void)txn->abort(txn);
        return code;
    }
    return txn->commit(txn, self->commit_flags);
}

static uint64_t
size_of(const struct yk_change *changes, uint32_t n, uint32_t *ret_puts)
{
    uint64_t size = 0;
    *ret_puts = 0;
    for (uint32_t i = 0; i < n; i++) {
        size += changes[i].key.size + changes[i].value.size;
        *ret_puts += changes[i].kind == YK_CHANGE_PUT ? 1 : 0;
    }
    return size;
}

/* New pages may be half empty; the log takes as much as the change. Deletions, which make space,
 * may go nearer to the end. */
static bool
has_space(const struct berkeleydb *self, uint64_t size, bool has_puts)
{
    struct statvfs status;
    uint64_t unflushed = __atomic_load_n(&unflushed_of_all, __ATOMIC_RELAXED);
    uint64_t needed = has_puts ? 2 * unflushed + SPACE_SPARE : unflushed + SPACE_SPARE / 4;
    return statvfs(self->folder, &status) < 0 ||
           (uint64_t)status.f_bavail * status.f_frsize >= needed + 3 * size;
}

static bool
make_space(struct berkeleydb *self, uint64_t size, bool has_puts)
{
    if (has_space(self, size, has_puts)) {
        return true;
    }
    if (self->n_deletes > 0) {
        self->n_deletes = 0;
        (void)self->db->compact(self->db, NULL, NULL, NULL, NULL, DB_FREELIST_ONLY, NULL);
    }
    checkpoint(self);
    return has_space(self, size, has_puts);
}

static enum yk_err
berkeleydb_apply(void *arg, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct berkeleydb *self = arg;
    uint32_t n_puts;
    uint64_t size = size_of(changes, n, &n_puts);
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    if (!make_space(self, size, n_puts > 0)) {
        return fail(self, self->folder, ENOSPC);
    }
    self->said[0] = '\0';
    int code = apply_all(self, changes, n);
    if (code == 0) {
        self->unflushed += size;
        self->n_deletes += n - n_puts;
        __atomic_fetch_add(&unflushed_of_all, size, __ATOMIC_RELAXED);
        if (self->unflushed >= self->checkpoint_size) {
            checkpoint(self);
        }
        return YK_OK;
    }
    result = fail(self, "cannot write", code);
    give_up(self); /* the library may have given itself up: recovery undoes what was begun */
    code = open_all(self);
    return code == 0 || result_of(code) == result ? result : YK_EIO;
}

static enum yk_err
berkeleydb_sync(void *arg)
{
    struct berkeleydb *self = arg;
    int code = self->env != NULL ? self->env->log_flush(self->env, NULL) : EIO;
    return code == 0 ? YK_OK : fail(self, "cannot sync", code);
}

/* Scans: the cursor is the last key that was seen. */

static int
go_to(DBC *at, const struct yk_cursor *cursor, DBT *key, DBT *value)
{
    if (cursor->size == 0) {
        return at->get(at, key, value, DB_FIRST);
    }
    *key = dbt_of(cursor->data, cursor->size);
    int code = at->get(at, key, value, DB_SET_RANGE);
    if (code == 0 && key->size == cursor->size &&
        memcmp(key->data, cursor->data, cursor->size) == 0) {
        code = at->get(at, key, value, DB_NEXT);
    }
    return code;
}

/* To the first key of the slot after this one. */
static int
skip_slot(DBC *at, uint16_t slot, DBT *key, DBT *value)
{
    uint8_t next[SLOT_SIZE] = {(uint8_t)((slot + 1) >> 8), (uint8_t)(slot + 1)};
    if (slot == UINT16_MAX) {
        return DB_NOTFOUND;
    }
    *key = dbt_of(next, SLOT_SIZE);
    return at->get(at, key, value, DB_SET_RANGE);
}

static int
walk(DBC *at, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn, void *arg)
{
    DBT key = {0}, value = {0};
    uint64_t bytes = 0;
    int code = go_to(at, cursor, &key, &value);
    while (code == 0) {
        struct yk_key shown = yk_key_stored(key.data, key.size);
        if (!yk_scan_wants(scan, shown.slot)) {
            code = skip_slot(at, shown.slot, &key, &value);
            continue;
        }
        if (bytes >= scan->bytes_max || !fn(arg, &shown, yk_slice_of(value.data, value.size))) {
            return 0;
        }
        bytes += key.size + value.size;
        memcpy(cursor->data, shown.data, key.size);
        cursor->size = key.size;
        code = at->get(at, &key, &value, DB_NEXT);
    }
    return code;
}

static enum yk_err
berkeleydb_scan(void *arg_self, const struct yk_scan *scan, struct yk_cursor *cursor,
                yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call)
{
    struct berkeleydb *self = arg_self;
    DBC *at;
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    int code = self->db->cursor(self->db, NULL, &at, 0);
    if (code != 0) {
        return fail(self, "cannot scan", code);
    }
    code = walk(at, scan, cursor, fn, arg);
    (void)at->close(at);
    *ret_end = code == DB_NOTFOUND;
    if (code == 0 || code == DB_NOTFOUND) {
        return YK_OK;
    }
    result = fail(self, "cannot scan", code);
    give_up(self);
    return result;
}

/* The rest */

static enum yk_err
berkeleydb_compact(void *arg)
{
    struct berkeleydb *self = arg;
    enum yk_err result = get_ready(self);
    if (result != YK_OK) {
        return result;
    }
    int code = self->db->compact(self->db, NULL, NULL, NULL, NULL, DB_FREE_SPACE, NULL);
    return code == 0 ? YK_OK : fail(self, "cannot compact", code);
}

static void
berkeleydb_stats(void *arg_self, yk_figure_fn fn, void *arg)
{
    struct berkeleydb *self = arg_self;
    DB_BTREE_STAT *stat_of;
    if (self->db == NULL || self->db->stat(self->db, NULL, &stat_of, DB_FAST_STAT) != 0) {
        return;
    }
    fn(arg, "bytes", (uint64_t)stat_of->bt_pagecnt * stat_of->bt_pagesize);
    free(stat_of);
}

static const struct yk_backend_ops berkeleydb_ops = {
    .struct_size = sizeof(berkeleydb_ops),
    .life = {.create = berkeleydb_create,
             .config = berkeleydb_config,
             .config_done = berkeleydb_config_done,
             .destroy = berkeleydb_destroy},
    .info = berkeleydb_info,
    .open = berkeleydb_open,
    .close = berkeleydb_close,
    .get = berkeleydb_get,
    .apply = berkeleydb_apply,
    .scan = berkeleydb_scan,
    .sync = berkeleydb_sync,
    .compact = berkeleydb_compact,
    .stats = berkeleydb_stats,
};

#define OPTION(name_, fallback_, min_, max_, help_)                                                \
    {                                                                                              \
        .struct_size = YK_OPTION_HEAD, .type = YK_OPTION_SIZE, .name = (name_),                    \
        .fallback = (fallback_), .min = (min_), .max = (max_), .help = (help_)                     \
    }

static const struct yk_option berkeleydb_options[] = {
    OPTION("cache_size", "256M", 1024 * 1024, 1ull << 44,
           "Memory for pages, for all lanes of the bucket together; a lane has at least 512K."),
    OPTION("page_size", "4K", 512, 65536,
           "Bytes of a page of the B-tree, a power of two. Used when a lane's file is made."),
    OPTION("checkpoint_size", "4M", 1024 * 1024, 1024 * 1024 * 1024,
           "How much is written to a lane before its next checkpoint: less makes a start after a "
           "crash "
           "faster, more makes writing cheaper."),
    OPTION("log_file_size", "4M", 1024 * 1024, 1024 * 1024 * 1024,
           "Bytes of each file of the log; those that no recovery needs are removed."),
};

YK_PLUGIN(berkeleydb) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .n_options = sizeof(berkeleydb_options) / sizeof(berkeleydb_options[0]),
    .name = "berkeleydb",
    .version = "1",
    .summary = "ordered records in transactional B-trees, by Berkeley DB",
    .details =
        "An environment for each lane: a B-tree in records.db, and its log. Survives kill -9, and "
        "with durability = disk the loss of power: each batch of writes is one transaction, which "
        "then waits for the device, and recovery runs at every start.\n\n"
        "Reads of a lane wait while a write of it is on its way to the device.\n\n"
        "Pages carry checksums; a damaged one is an error for the records on it. A page of zeros "
        "passes for one that was never written, and may send a search in circles: the lane then "
        "answers no more.\n\n"
        "Writes are refused while less room is left on the disk than the lanes may need to bring "
        "what is in their logs into their files.",
    .options = berkeleydb_options,
    .ops = &berkeleydb_ops,
};
