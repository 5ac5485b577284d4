/* The example engine with one broken promise, which the option `fault` chooses: the kit must name
 * it. With fault = none it is as sound as the example. */
#define _GNU_SOURCE
#define logmap_LTX_yk_plugin unused_LTX_yk_plugin /* the example is not what is exported here */
#include "examples/plugin-backend/logmap.c"
#undef logmap_LTX_yk_plugin

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FAULTS(F)                                                                                  \
    F(none)                                                                                        \
    F(get_twice)                                                                                   \
    F(get_leaves_out)                                                                              \
    F(get_fails)                                                                                   \
    F(get_crashes)                                                                                 \
    F(value_is_cut)                                                                                \
    F(unknown_result)                                                                              \
    F(drops_changes)                                                                               \
    F(absent_delete_fails)                                                                         \
    F(apply_fails)                                                                                 \
    F(admit_maybe)                                                                                 \
    F(admit_refuses)                                                                               \
    F(scan_misses)                                                                                 \
    F(scan_by_position)                                                                            \
    F(scan_spoils)                                                                                 \
    F(scan_fails)                                                                                  \
    F(scan_does_not_stop)                                                                          \
    F(scan_passes_stop)                                                                            \
    F(scan_without_bound)                                                                          \
    F(scan_unordered)                                                                              \
    F(scan_never_ends)                                                                             \
    F(scan_overruns)                                                                               \
    F(count_is_off)                                                                                \
    F(leaks)                                                                                       \
    F(releases_twice)                                                                              \
    F(keeps_budget)                                                                                \
    F(prints)                                                                                      \
    F(logs_line_end)                                                                               \
    F(sleeps)                                                                                      \
    F(pends_undeclared)                                                                            \
    F(completes_twice)                                                                             \
    F(keys_are_shorter)                                                                            \
    F(values_are_shorter)                                                                          \
    F(ignores_generation)                                                                          \
    F(wipes_too_much)                                                                              \
    F(figure_without_name)                                                                         \
    F(hint_of_the_future)                                                                          \
    F(sync_fails)                                                                                  \
    F(snapshot_is_empty)                                                                           \
    F(forgets)                                                                                     \
    F(keeps_in_memory)                                                                             \
    F(tears_batches)                                                                               \
    F(opens_anywhere)                                                                              \
    F(refuses_silently)                                                                            \
    F(damage_crashes)                                                                              \
    F(ignores_full_disk)                                                                           \
    F(ignores_no_memory)                                                                           \
    F(is_not_volatile)

enum fault {
#define FAULT(name) FAULT_##name,
    FAULTS(FAULT)
#undef FAULT
};

static const char *const fault_names[] = {
#define FAULT(name) #name,
    FAULTS(FAULT)
#undef FAULT
        NULL};

static const struct yk_option broken_options[] = {{YK_OPTION_HEAD, YK_OPTION_ENUM, 0, "fault",
                                                   "none", 0, 0, fault_names,
                                                   "The promise that is broken."}};

/* One engine in a process is enough here. */
static enum fault fault;
static const struct yk_budget *budget;
static uint64_t n_calls;
static char log_path[4096];

static bool
strikes(uint64_t one_in)
{
    return ++n_calls % one_in == 0;
}

static enum yk_err
broken_config(void *self, const char *name, const struct yk_option_value *value)
{
    fault = (enum fault)value->number;
    return YK_OK;
}

static void
broken_info(void *self, struct yk_backend_info *info)
{
    logmap_info(self, info);
    if (fault == FAULT_sleeps) {
        info->caps &= ~(uint32_t)YK_BACKEND_BLOCKS;
    } else if (fault == FAULT_completes_twice) {
        info->caps |= YK_BACKEND_ASYNC;
    } else if (fault == FAULT_scan_by_position) {
        info->caps &= ~(uint32_t)YK_BACKEND_ORDERED;
    } else if (fault == FAULT_is_not_volatile) {
        info->caps |= YK_BACKEND_VOLATILE;
    }
}

/* -- Life. -- */

static enum yk_err
open_elsewhere(struct logmap *map)
{
    map->fd = memfd_create("log", MFD_CLOEXEC);
    return YK_OK;
}

/* What is in the file goes into memory, and what is in memory never back. */
static enum yk_err
open_copy(struct logmap *map, const struct yk_backend_place *place)
{
    char bytes[65536];
    ssize_t n;
    enum yk_err result = logmap_open(map, place);
    if (result != YK_OK) {
        return result;
    }
    int copy = memfd_create("log", MFD_CLOEXEC);
    for (off_t at = 0; (n = pread(map->fd, bytes, sizeof(bytes), at)) > 0; at += n) {
        if (pwrite(copy, bytes, (size_t)n, at) != n) {
            abort();
        }
    }
    close(map->fd);
    map->fd = copy;
    return YK_OK;
}

static enum yk_err
broken_open(void *self, const struct yk_backend_place *place)
{
    struct logmap *map = self;
    struct yk_backend_place changed = *place;
    budget = place->budget;
    if (fault == FAULT_is_not_volatile) {
        changed.folder = getenv("TMPDIR");
    }
    if (changed.folder != NULL) {
        snprintf(log_path, sizeof(log_path), "%s/log", changed.folder);
    }
    if (fault == FAULT_leaks && map->host->alloc(map->host, 10) == NULL) {
        return YK_ENOMEM;
    }
    if (fault == FAULT_prints) {
        puts("here I am");
    }
    if (fault == FAULT_logs_line_end) {
        map->host->log(map->host, YK_LOG_INFO, "opened\n");
    }
    enum yk_err result =
        fault == FAULT_keeps_in_memory ? open_copy(map, &changed) : logmap_open(map, &changed);
    if (result == YK_ECORRUPT && fault == FAULT_damage_crashes) {
        raise(SIGSEGV);
    }
    if (result != YK_OK && fault == FAULT_opens_anywhere) {
        return open_elsewhere(map);
    }
    if (result != YK_OK && fault == FAULT_refuses_silently) {
        map->host->error(map->host, "%s", "");
    }
    return result;
}

static void
broken_close(void *self)
{
    struct logmap *map = self;
    logmap_close(self);
    if (fault == FAULT_forgets && truncate(log_path, 0) != 0) {
        map->host->log(map->host, YK_LOG_INFO, "nothing to forget");
    }
    if (fault == FAULT_releases_twice) {
        void *memory = map->host->alloc(map->host, 100);
        map->host->release(map->host, memory);
        map->host->release(map->host, memory);
    }
}

/* -- Get. -- */

struct answers {
    yk_value_fn fn;
    void *arg;
    uint32_t n;
};

static void
spoil_answer(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    const struct answers *answers = arg;
    if (fault == FAULT_get_leaves_out && index + 1 == answers->n) {
        return;
    }
    if (fault == FAULT_value_is_cut && value.size > 20) {
        value.size--;
    }
    if (fault == FAULT_get_fails && strikes(10)) {
        result = YK_EIO;
    }
    if (fault == FAULT_unknown_result && strikes(10)) {
        result = (enum yk_err)999;
    }
    answers->fn(answers->arg, index, result, value);
    if (fault == FAULT_get_twice && index == 0) {
        answers->fn(answers->arg, index, result, value);
    }
}

struct renumbered {
    yk_value_fn fn;
    void *arg;
    uint32_t index;
};

static void
renumber(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    const struct renumbered *renumbered = arg;
    renumbered->fn(renumbered->arg, renumbered->index, result, value);
}

static uint8_t *
without_generation(const struct yk_key *key)
{
    static uint8_t bytes[65536];
    memcpy(bytes, key->data, key->size);
    bytes[2] = bytes[3] = 0;
    return bytes;
}

static enum yk_err
broken_get(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
           struct yk_call *call)
{
    struct logmap *map = self;
    struct answers answers = {fn, arg, n};
    if (fault == FAULT_get_crashes && strikes(20)) {
        raise(SIGSEGV);
    }
    if (fault == FAULT_sleeps) {
        map->host->sleep_us(map->host, 10);
    }
    if (fault == FAULT_pends_undeclared && strikes(10)) {
        return YK_EPENDING;
    }
    for (uint32_t i = 0; fault == FAULT_ignores_generation && i < n; i++) {
        struct yk_key key = keys[i];
        struct renumbered renumbered = {fn, arg, i};
        key.data = without_generation(&keys[i]);
        (void)logmap_get(self, &key, 1, renumber, &renumbered, call);
    }
    if (fault == FAULT_ignores_generation) {
        return YK_OK;
    }
    enum yk_err result = logmap_get(self, keys, n, spoil_answer, &answers, call);
    if (fault == FAULT_completes_twice) {
        map->host->complete(map->host, call, result);
        map->host->complete(map->host, call, result);
        return YK_EPENDING;
    }
    return result;
}

/* -- Changes. -- */

static enum yk_err
broken_admit(void *self, const struct yk_change *change)
{
    bool is_put = change->kind == YK_CHANGE_PUT;
    if (fault == FAULT_admit_maybe && strikes(10)) {
        return YK_EIO;
    }
    if (fault == FAULT_admit_refuses && strikes(10)) {
        return YK_ENOMEM;
    }
    if ((fault == FAULT_keys_are_shorter && change->key.size > 60000) ||
        (fault == FAULT_values_are_shorter && change->value.size > 3000000)) {
        return YK_ETOOLARGE;
    }
    if (fault == FAULT_keeps_budget && is_put && !budget->take(budget, 100)) {
        return YK_ENOMEM;
    }
    return YK_OK;
}

/* Each change becomes a batch of its own. */
static enum yk_err
apply_one_by_one(struct logmap *map, const struct yk_change *changes, uint32_t n,
                 struct yk_call *call)
{
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; i < n && result == YK_OK; i++) {
        struct yk_change change = changes[i];
        if (fault == FAULT_ignores_generation) {
            change.key.data = without_generation(&change.key);
        }
        result = logmap_apply(map, &change, 1, call);
    }
    return result;
}

static enum yk_err
broken_apply(void *self, const struct yk_change *changes, uint32_t n, struct yk_call *call)
{
    struct logmap *map = self;
    for (uint32_t i = 0; fault == FAULT_absent_delete_fails && i < n; i++) {
        bool is_found;
        find(map, changes[i].key.data, changes[i].key.size, &is_found);
        if (changes[i].kind == YK_CHANGE_DELETE && !is_found) {
            return YK_ENOTFOUND;
        }
    }
    if (fault == FAULT_apply_fails && n > 20) {
        return YK_ENOMEM;
    }
    if (fault == FAULT_drops_changes && n > 1 && strikes(5)) {
        n--;
    }
    if (fault == FAULT_tears_batches || fault == FAULT_ignores_generation) {
        return apply_one_by_one(map, changes, n, call);
    }
    enum yk_err result = logmap_apply(self, changes, n, call);
    if ((fault == FAULT_ignores_full_disk && result == YK_ENOSPACE) ||
        (fault == FAULT_ignores_no_memory && result == YK_ENOMEM)) {
        return YK_OK;
    }
    return result;
}

/* -- Scan. -- */

struct shown {
    struct yk_cursor *cursor;
    yk_record_fn fn;
    void *arg;
};

static bool
spoil_record(void *arg, const struct yk_key *key, struct yk_slice value)
{
    const struct shown *shown = arg;
    struct yk_cursor *cursor = shown->cursor;
    uint8_t changed[100];
    if (fault == FAULT_scan_misses && key->size % 7 == 0) {
        return true;
    }
    if (fault == FAULT_scan_spoils && value.size > 0 && value.size < sizeof(changed)) {
        memcpy(changed, value.data, value.size);
        changed[value.size - 1] ^= 1;
        value.data = changed;
    }
    bool goes_on = shown->fn(shown->arg, key, value);
    if (fault == FAULT_scan_passes_stop && !goes_on) {
        memcpy(cursor->data, key->data, key->size);
        cursor->size = key->size;
    }
    return goes_on || fault == FAULT_scan_does_not_stop;
}

/* The cursor is a number of entries: what comes and goes in front of it moves it. Unordered ones
 * are shown in pairs, the second first. */
static enum yk_err
scan_by_number(struct logmap *map, const struct yk_scan *scan, struct yk_cursor *cursor,
               yk_record_fn fn, void *arg, bool *ret_end)
{
    static uint8_t value[1 << 24];
    uint64_t i = 0, bytes = 0;
    if (cursor->size == sizeof(i)) {
        memcpy(&i, cursor->data, sizeof(i));
    }
    for (; i < map->n_entries && bytes < scan->bytes_max; i++) {
        uint64_t pair = i ^ 1;
        bool is_swapped = fault == FAULT_scan_unordered && pair < map->n_entries;
        const struct entry *entry = &map->entries[is_swapped ? pair : i];
        struct yk_key key = {.data = entry->key,
                             .size = entry->key_size,
                             .slot = (uint16_t)(entry->key[0] << 8 | entry->key[1]),
                             .generation = (uint16_t)(entry->key[2] << 8 | entry->key[3])};
        if (pread(map->fd, value, entry->value_size, (off_t)entry->value_at) < 0) {
            return YK_EIO;
        }
        if (!fn(arg, &key, yk_slice_of(value, entry->value_size))) {
            break;
        }
        bytes += entry->key_size + entry->value_size;
    }
    *ret_end = i >= map->n_entries;
    memcpy(cursor->data, &i, sizeof(i));
    cursor->size = sizeof(i);
    return YK_OK;
}

static enum yk_err
broken_scan(void *self, const struct yk_scan *scan, struct yk_cursor *cursor, yk_record_fn fn,
            void *arg, bool *ret_end, struct yk_call *call)
{
    struct shown shown = {cursor, fn, arg};
    struct yk_scan changed = *scan;
    if (fault == FAULT_scan_by_position || fault == FAULT_scan_unordered) {
        return scan_by_number(self, scan, cursor, fn, arg, ret_end);
    }
    if (fault == FAULT_scan_fails && strikes(20)) {
        return YK_EIO;
    }
    if (fault == FAULT_scan_without_bound) {
        changed.bytes_max = UINT64_MAX;
    }
    enum yk_err result = logmap_scan(self, &changed, cursor, spoil_record, &shown, ret_end, call);
    if (fault == FAULT_scan_never_ends) {
        *ret_end = false;
    }
    if (fault == FAULT_scan_overruns) {
        cursor->data[cursor->size_max] = 0;
    }
    return result;
}

/* -- What is optional. -- */

static enum yk_err
broken_sync(void *self)
{
    return fault == FAULT_sync_fails ? YK_EIO : logmap_sync(self);
}

static enum yk_err
broken_snapshot(void *self, const char *path)
{
    return fault == FAULT_snapshot_is_empty ? YK_OK : YK_EUNSUPPORTED;
}

static enum yk_err
broken_count(void *self, uint64_t *ret_records)
{
    enum yk_err result = logmap_count(self, ret_records);
    *ret_records += fault == FAULT_count_is_off && *ret_records > 10;
    return result;
}

static void
broken_stats(void *self, yk_figure_fn fn, void *arg)
{
    fn(arg, fault == FAULT_figure_without_name ? "" : "entries", 1);
}

/* Deletes the slot's records, whatever their generation. */
static enum yk_err
broken_wipe_slot(void *self, uint16_t slot, uint16_t generation)
{
    struct logmap *map = self;
    if (fault != FAULT_wipes_too_much) {
        return YK_EUNSUPPORTED;
    }
    for (size_t i = map->n_entries; i-- > 0;) {
        const uint8_t *key = map->entries[i].key;
        if ((key[0] << 8 | key[1]) == slot) {
            map->host->release(map->host, map->entries[i].key);
            memmove(&map->entries[i], &map->entries[i + 1],
                    (map->n_entries - i - 1) * sizeof(map->entries[0]));
            map->n_entries--;
        }
    }
    return YK_OK;
}

static enum yk_err
broken_hint(void *self, const struct yk_key *key, struct yk_hint *ret_hint)
{
    struct logmap *map = self;
    bool is_found;
    find(map, key->data, key->size, &is_found);
    ret_hint->last_access_ms = map->host->now_ms(map->host) + 1000000;
    return fault == FAULT_hint_of_the_future && is_found ? YK_OK : YK_ENOTFOUND;
}

static const struct yk_backend_ops broken_ops = {
    .struct_size = sizeof(broken_ops),
    .life = {.create = logmap_create, .config = broken_config, .destroy = logmap_destroy},
    .info = broken_info,
    .open = broken_open,
    .close = broken_close,
    .get = broken_get,
    .apply = broken_apply,
    .scan = broken_scan,
    .admit = broken_admit,
    .sync = broken_sync,
    .snapshot = broken_snapshot,
    .count = broken_count,
    .stats = broken_stats,
    .wipe_slot = broken_wipe_slot,
    .hint = broken_hint,
};

YK_PLUGIN(broken_backend) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    .n_options = 1,
    .name = "broken_backend",
    .version = "1",
    .summary = "an engine that breaks one promise",
    .options = broken_options,
    .ops = &broken_ops,
};
