/* Backend "logmap": one file to which every batch is appended by one write, and an index of its
 * keys in memory. A first engine to read, and to start from: see README.md beside it.
 *
 * The file is a row of batches, each a head and its changes. A process that is killed leaves at
 * most a part of the last one, which open drops; anything else that does not add up is damage. */
#include <yakumo/backend.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DELETED UINT32_MAX

struct head {
    uint64_t checksum;       /* of the changes */
    uint32_t size, not_size; /* of them, in bytes; and its complement */
};

struct change_head { /* then the key, then the value */
    uint32_t key_size, value_size;
};

struct entry {
    uint8_t *key; /* of the host's memory; own */
    uint32_t key_size, value_size;
    uint64_t value_at; /* in the file */
};

struct logmap {
    const struct yk_host *host;
    int fd;
    uint64_t end;          /* of the last whole batch */
    struct entry *entries; /* sorted by key; own */
    size_t n_entries, n_room;
};

static enum yk_err
fail(struct logmap *map, enum yk_err result, const char *what)
{
    map->host->error(map->host, "%s: %s", what, strerror(errno));
    return result;
}

static uint64_t
checksum(const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0xcbf29ce484222325ull; /* FNV-1a */
    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ bytes[i]) * 0x100000001b3ull;
    }
    return sum;
}

/* -- The index. -- */

/* Where the key stands (*ret_found), or where it would. */
static size_t
find(const struct logmap *map, const uint8_t *key, uint32_t size, bool *ret_found)
{
    size_t low = 0, high = map->n_entries;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct entry *entry = &map->entries[middle];
        int order = memcmp(entry->key, key, entry->key_size < size ? entry->key_size : size);
        if (order == 0 && entry->key_size == size) {
            *ret_found = true;
            return middle;
        }
        if (order < 0 || (order == 0 && entry->key_size < size)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool
make_room(struct logmap *map, size_t n)
{
    if (map->n_room - map->n_entries >= n) {
        return true;
    }
    size_t n_room = map->n_room * 2 + n;
    void *entries = map->host->resize(map->host, map->entries, n_room * sizeof(*map->entries));
    if (entries != NULL) {
        map->entries = entries;
        map->n_room = n_room;
    }
    return entries != NULL;
}

/* Takes entry->key. There is room. */
static void
index_change(struct logmap *map, const struct entry *entry)
{
    bool is_found;
    size_t at = find(map, entry->key, entry->key_size, &is_found);
    struct entry *place = &map->entries[at];
    size_t n_after = map->n_entries - at;
    if (is_found) {
        map->host->release(map->host, place->key);
    } else if (entry->value_size != DELETED) {
        memmove(place + 1, place, n_after * sizeof(*place));
        map->n_entries++;
    }
    if (entry->value_size != DELETED) {
        *place = *entry;
        return;
    }
    map->host->release(map->host, entry->key);
    if (is_found) {
        memmove(place, place + 1, (n_after - 1) * sizeof(*place));
        map->n_entries--;
    }
}

/* The entries of a batch's n changes, with keys in memory of their own; false: no memory. */
static bool
make_entries(struct logmap *map, const uint8_t *bytes, uint64_t at, uint32_t n,
             struct entry *entries)
{
    for (uint32_t i = 0; i < n; i++) {
        struct change_head head;
        memcpy(&head, bytes, sizeof(head));
        entries[i] = (struct entry){.key = map->host->alloc(map->host, head.key_size),
                                    .key_size = head.key_size,
                                    .value_size = head.value_size,
                                    .value_at = at + sizeof(head) + head.key_size};
        if (entries[i].key == NULL) {
            while (i-- > 0) {
                map->host->release(map->host, entries[i].key);
            }
            return false;
        }
        memcpy(entries[i].key, bytes + sizeof(head), head.key_size);
        uint64_t size =
            sizeof(head) + head.key_size + (head.value_size == DELETED ? 0 : head.value_size);
        bytes += size;
        at += size;
    }
    return true;
}

/* -- Opening: the file is read from its start. -- */

/* How many changes the batch has; 0: they do not fill it, which no checksum lets happen. */
static uint32_t
count_changes(const uint8_t *bytes, uint64_t size)
{
    uint32_t n = 0;
    while (size > 0) {
        struct change_head head;
        if (size < sizeof(head)) {
            return 0;
        }
        memcpy(&head, bytes, sizeof(head));
        uint64_t whole = sizeof(head) + (uint64_t)head.key_size +
                         (head.value_size == DELETED ? 0 : head.value_size);
        if (whole > size) {
            return 0;
        }
        bytes += whole;
        size -= whole;
        n++;
    }
    return n;
}

static enum yk_err
load_changes(struct logmap *map, const struct head *head, uint8_t *bytes, bool *ret_is_good)
{
    uint64_t at = map->end + sizeof(*head);
    if (pread(map->fd, bytes, head->size, (off_t)at) != (ssize_t)head->size) {
        return fail(map, YK_EIO, "cannot read the log");
    }
    uint32_t n = count_changes(bytes, head->size);
    *ret_is_good = n > 0 && checksum(bytes, head->size) == head->checksum;
    if (!*ret_is_good) {
        return YK_OK;
    }
    struct entry *entries = map->host->alloc(map->host, n * sizeof(*entries));
    if (entries == NULL || !make_room(map, n) || !make_entries(map, bytes, at, n, entries)) {
        map->host->release(map->host, entries);
        return YK_ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        index_change(map, &entries[i]);
    }
    map->host->release(map->host, entries);
    map->end = at + head->size;
    return YK_OK;
}

/* Reads one batch; false in *ret_more: that was the last, or a part of one. */
static enum yk_err
load_batch(struct logmap *map, uint64_t file_size, bool *ret_more)
{
    struct head head;
    bool is_good = false;
    uint64_t left = file_size - map->end;
    *ret_more = false;
    if (left < sizeof(head)) {
        return YK_OK;
    }
    if (pread(map->fd, &head, sizeof(head), (off_t)map->end) != (ssize_t)sizeof(head)) {
        return fail(map, YK_EIO, "cannot read the log");
    }
    if (head.not_size != ~head.size) {
        map->host->error(map->host, "the log is damaged at byte %llu",
                         (unsigned long long)map->end);
        return YK_ECORRUPT;
    }
    if (head.size > left - sizeof(head)) {
        return YK_OK; /* its end was never written */
    }
    uint8_t *bytes = map->host->alloc(map->host, head.size);
    enum yk_err result = bytes != NULL ? load_changes(map, &head, bytes, &is_good) : YK_ENOMEM;
    map->host->release(map->host, bytes);
    if (result == YK_OK && !is_good) {
        map->host->error(map->host, "the log is damaged behind byte %llu",
                         (unsigned long long)map->end);
        return YK_ECORRUPT;
    }
    *ret_more = true;
    return result;
}

static enum yk_err
load(struct logmap *map)
{
    struct stat about;
    bool has_more = true;
    enum yk_err result = YK_OK;
    if (flock(map->fd, LOCK_EX | LOCK_NB) != 0) {
        return fail(map, YK_EBUSY, "cannot lock the log, another process may have it");
    }
    if (fstat(map->fd, &about) != 0) {
        return fail(map, YK_EIO, "cannot look at the log");
    }
    while (result == YK_OK && has_more) {
        result = load_batch(map, (uint64_t)about.st_size, &has_more);
    }
    if (result == YK_OK && ftruncate(map->fd, (off_t)map->end) != 0) {
        return fail(map, YK_EIO, "cannot cut the log off behind its last whole batch");
    }
    return result;
}

static void
logmap_close(void *self)
{
    struct logmap *map = self;
    for (size_t i = 0; i < map->n_entries; i++) {
        map->host->release(map->host, map->entries[i].key);
    }
    map->host->release(map->host, map->entries);
    map->entries = NULL;
    map->n_entries = map->n_room = 0;
    close(map->fd);
}

static enum yk_err
logmap_open(void *self, const struct yk_backend_place *place)
{
    struct logmap *map = self;
    char path[4096];
    if (snprintf(path, sizeof(path), "%s/log", place->folder) >= (int)sizeof(path)) {
        map->host->error(map->host, "the folder's path is too long");
        return YK_EINVALID;
    }
    map->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (map->fd < 0) {
        return fail(map, YK_EIO, path);
    }
    enum yk_err result = load(map);
    if (result != YK_OK) {
        logmap_close(map); /* the host does not, after an open that failed */
    }
    return result;
}

/* -- Calls. -- */

static enum yk_err
logmap_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
           struct yk_call *call)
{
    struct logmap *map = self;
    for (uint32_t i = 0; i < n; i++) {
        bool is_found;
        const struct entry *entry = &map->entries[find(map, keys[i].data, keys[i].size, &is_found)];
        if (!is_found) {
            fn(arg, i, YK_ENOTFOUND, yk_slice_of(NULL, 0));
            continue;
        }
        uint8_t *value = map->host->alloc(map->host, entry->value_size);
        bool is_read = value != NULL && pread(map->fd, value, entry->value_size,
                                              (off_t)entry->value_at) == entry->value_size;
        enum yk_err result = is_read ? YK_OK : value == NULL ? YK_ENOMEM : YK_EIO;
        fn(arg, i, result, yk_slice_of(value, is_read ? entry->value_size : 0));
        map->host->release(map->host, value);
    }
    return YK_OK;
}

static uint64_t
size_of(const struct yk_change *changes, uint32_t n)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < n; i++) {
        size += sizeof(struct change_head) + changes[i].key.size + changes[i].value.size;
    }
    return size;
}

static void
write_batch(uint8_t *bytes, uint64_t size, const struct yk_change *changes, uint32_t n)
{
    uint8_t *at = bytes + sizeof(struct head);
    for (uint32_t i = 0; i < n; i++) {
        const struct yk_change *change = &changes[i];
        bool is_put = change->kind == YK_CHANGE_PUT;
        struct change_head head = {change->key.size,
                                   is_put ? (uint32_t)change->value.size : DELETED};
        memcpy(at, &head, sizeof(head));
        memcpy(at + sizeof(head), change->key.data, change->key.size);
        at += sizeof(head) + change->key.size;
        if (is_put && change->value.size > 0) {
            memcpy(at, change->value.data, change->value.size);
            at += change->value.size;
        }
    }
    struct head head = {checksum(bytes + sizeof(head), size), (uint32_t)size, ~(uint32_t)size};
    memcpy(bytes, &head, sizeof(head));
}

/* All memory is asked for first, so that what fails before the write leaves no trace, and nothing
 * can fail after it. */
static enum yk_err
logmap_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct logmap *map = self;
    uint64_t size = size_of(changes, n);
    if (size >= UINT32_MAX) {
        return YK_ETOOLARGE;
    }
    uint64_t whole = sizeof(struct head) + size;
    uint8_t *bytes = call->alloc(call, whole);
    struct entry *entries = call->alloc(call, n * sizeof(*entries));
    if (bytes == NULL || entries == NULL || !make_room(map, n)) {
        return YK_ENOMEM;
    }
    write_batch(bytes, size, changes, n);
    if (!make_entries(map, bytes + sizeof(struct head), map->end + sizeof(struct head), n,
                      entries)) {
        return YK_ENOMEM;
    }
    if (pwrite(map->fd, bytes, whole, (off_t)map->end) != (ssize_t)whole) {
        for (uint32_t i = 0; i < n; i++) {
            map->host->release(map->host, entries[i].key);
        }
        /* Cut off again, no change was made. */
        return ftruncate(map->fd, (off_t)map->end) == 0 ? YK_ENOSPACE : YK_EIO;
    }
    map->end += whole;
    for (uint32_t i = 0; i < n; i++) {
        index_change(map, &entries[i]);
    }
    return YK_OK;
}

/* The cursor is the key that was taken last, so it does not matter if that record goes. */
static enum yk_err
logmap_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
            void *arg, bool *ret_end, struct yk_call *call)
{
    struct logmap *map = self;
    bool is_found = false, goes_on = true;
    uint64_t bytes = 0;
    size_t i = cursor->size == 0 ? 0 : find(map, cursor->data, cursor->size, &is_found);
    for (i += is_found; i < map->n_entries && bytes < scan->bytes_max; i++) {
        const struct entry *entry = &map->entries[i];
        const uint8_t *at = entry->key;
        struct yk_key key = {.data = at,
                             .size = entry->key_size,
                             .slot = (uint16_t)(at[0] << 8 | at[1]),
                             .generation = (uint16_t)(at[2] << 8 | at[3])};
        uint8_t *value = map->host->alloc(map->host, entry->value_size);
        if (value == NULL) {
            return YK_ENOMEM;
        }
        if (pread(map->fd, value, entry->value_size, (off_t)entry->value_at) !=
            (ssize_t)entry->value_size) {
            map->host->release(map->host, value);
            return YK_EIO;
        }
        goes_on = fn(arg, &key, yk_slice_of(value, entry->value_size));
        map->host->release(map->host, value);
        if (!goes_on) {
            break;
        }
        memcpy(cursor->data, entry->key, entry->key_size);
        cursor->size = entry->key_size;
        bytes += entry->key_size + entry->value_size;
    }
    *ret_end = i == map->n_entries;
    return YK_OK;
}

static enum yk_err
logmap_sync(void *self)
{
    return fdatasync(((struct logmap *)self)->fd) == 0 ? YK_OK : YK_EIO;
}

static enum yk_err
logmap_count(void *self, uint64_t *ret_records)
{
    *ret_records = ((struct logmap *)self)->n_entries;
    return YK_OK;
}

/* -- What it is. -- */

static void
logmap_info(void *self, struct yk_backend_info *info)
{
    info->caps = YK_BACKEND_ORDERED | YK_BACKEND_EXACT_COUNT | YK_BACKEND_ATOMIC_BATCH |
                 YK_BACKEND_SURVIVES_KILL | YK_BACKEND_SURVIVES_POWER | YK_BACKEND_BLOCKS;
    info->value_size_max = UINT32_MAX / 2;
}

static enum yk_err
logmap_create(const struct yk_host *host, void **ret_self)
{
    struct logmap *map = host->alloc(host, sizeof(*map));
    if (map == NULL) {
        return YK_ENOMEM;
    }
    *map = (struct logmap){.host = host, .fd = -1};
    *ret_self = map;
    return YK_OK;
}

static void
logmap_destroy(void *self)
{
    struct logmap *map = self;
    map->host->release(map->host, map);
}

static const struct yk_backend_ops logmap_ops = {
    .struct_size = sizeof(logmap_ops),
    .life = {.create = logmap_create, .destroy = logmap_destroy},
    .info = logmap_info,
    .open = logmap_open,
    .close = logmap_close,
    .get = logmap_get,
    .apply = logmap_apply,
    .scan = logmap_scan,
    .sync = logmap_sync,
    .count = logmap_count,
};

YK_PLUGIN(logmap) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .name = "logmap",
    .version = "1",
    .summary = "a log file with an index of its keys in memory",
    .ops = &logmap_ops,
};
