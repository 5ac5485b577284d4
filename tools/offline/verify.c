/* yakumo verify FOLDER: everything in a data folder that can be checked, and what is wrong. */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/io/chain.h"
#include "core/io/registers.h"
#include "core/replica/look.h"
#include "core/ring/register.h"
#include "tools/json.h"
#include "tools/offline/pages.h"
#include "tools/offline/place.h"

static const char name[] = "verify";

enum { DAMAGES_SHOWN_MAX = 1000 };

/* What is found of a bucket. */
struct bucket_state {
    struct yk_bucket_register reg;
    bool has_register;
    uint32_t *epochs; /* of its slots, NULL: not known */
    uint64_t n_records, n_own, n_bytes, n_snapshots;
};

struct verify {
    struct offline_place place;
    struct yk_datadir datadir;
    uint8_t id[YK_JOURNAL_ID_SIZE];
    struct bucket_state buckets[YK_BUCKETS_MAX];
    bool is_json;
    uint64_t n_damages, n_records, n_bytes, n_entries, n_files;
    struct offline_progress progress;
    /* What is being looked at. */
    uint32_t bucket_index, lane;
    const char *file;
};

/* Telling */

static void
damage(struct verify *verify, const char *where, const char *format, ...) YK_PRINTF(3, 4);

static void
damage(struct verify *verify, const char *where, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *what = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    offline_progress_end(&verify->progress);
    if (++verify->n_damages > DAMAGES_SHOWN_MAX) {
        return;
    }
    if (!verify->is_json) {
        printf("DAMAGED %s: %s\n", where, what);
        return;
    }
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "kind", "damage");
    json_text(json, "where", where);
    json_text(json, "what", what);
    json_close(json, '}');
    puts(json->str);
}

static void note(struct verify *verify, const char *format, ...) YK_PRINTF(2, 3);

static void
note(struct verify *verify, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *what = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    offline_progress_end(&verify->progress);
    if (!verify->is_json) {
        printf("note: %s\n", what);
        return;
    }
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "kind", "note");
    json_text(json, "what", what);
    json_close(json, '}');
    puts(json->str);
}

static const struct yk_bucket_config *
bucket_of(const struct verify *verify, uint32_t index)
{
    return &verify->place.config->buckets[index];
}

static struct yk_ring
ring_of(const struct verify *verify, uint32_t index)
{
    uint32_t slots = bucket_of(verify, index)->slots;
    return (struct yk_ring){31u - (uint32_t)__builtin_clz(slots), verify->datadir.lanes, 1};
}

static char *
place_text(const struct verify *verify, uint32_t slot, struct yk_slice key)
{
    g_autofree char *text = offline_escape(key);
    return g_strdup_printf("bucket %s, lane %u, slot %u, key \"%s\"",
                           bucket_of(verify, verify->bucket_index)->name, verify->lane, slot, text);
}

/* Registers */

static void
check_cluster(struct verify *verify, struct yk_slice bytes)
{
    g_autofree struct yk_cluster_register *reg = g_new0(struct yk_cluster_register, 1);
    char reason[YK_ERROR_SIZE];
    if (yk_cluster_register_decode(bytes, reg, reason) != YK_OK) {
        damage(verify, "register cluster", "%s", reason);
    } else if (strcmp(reg->id, verify->datadir.cluster_id) != 0) {
        damage(verify, "register cluster", "it is of another cluster, %s", reg->id);
    }
}

static void
check_bucket_register(struct verify *verify, uint32_t index, struct yk_slice bytes,
                      const char *register_name)
{
    struct bucket_state *state = &verify->buckets[index];
    char reason[YK_ERROR_SIZE];
    g_autofree char *where = g_strdup_printf("register %s", register_name);
    if (yk_bucket_register_decode(bytes, &state->reg, reason) != YK_OK) {
        damage(verify, where, "%s", reason);
        return;
    }
    state->has_register = true;
    if (state->reg.description.slots != bucket_of(verify, index)->slots) {
        damage(verify, where, "it has %u slots, and the config says %u",
               state->reg.description.slots, bucket_of(verify, index)->slots);
        return;
    }
    state->epochs = g_new(uint32_t, state->reg.description.slots);
    for (uint32_t i = 0; i < state->reg.description.slots; i++) {
        state->epochs[i] = state->reg.slots[i].epoch;
        if (state->epochs[i] > verify->datadir.epoch) {
            damage(verify, where, "slot %u has epoch %u, and the folder has seen none above %llu",
                   i, state->epochs[i], (unsigned long long)verify->datadir.epoch);
        }
    }
}

static void
check_register(struct verify *verify, struct yk_registers *registers, const char *register_name,
               int bucket_index)
{
    g_autofree void *bytes = NULL;
    char error[YK_ERROR_SIZE];
    size_t size = 0;
    uint64_t revision = 0;
    if (yk_registers_read(registers, register_name, &bytes, &size, &revision, error) != YK_OK) {
        damage(verify, register_name, "%s", error);
    } else if (revision == 0) {
        note(verify, "there is no register %s yet", register_name);
    } else if (bucket_index < 0) {
        check_cluster(verify, yk_slice_of(bytes, size));
    } else {
        check_bucket_register(verify, (uint32_t)bucket_index, yk_slice_of(bytes, size),
                              register_name);
    }
}

/* Those of a cluster are where its managers are. */
static void
check_registers(struct verify *verify)
{
    char error[YK_ERROR_SIZE];
    struct yk_registers *registers;
    g_autofree char *folder = g_build_filename(verify->datadir.path, "registers", NULL);
    if (yk_start_is_clustered(verify->place.config)) {
        note(verify, "the registers are the managers' and are not looked at");
        return;
    }
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        note(verify, "there are no registers; the next start makes them");
        return;
    }
    if (yk_registers_open(&verify->place.system.world, verify->place.config->coordinator,
                          verify->datadir.path, NULL, &registers, error) != YK_OK) {
        damage(verify, folder, "%s", error);
        return;
    }
    check_register(verify, registers, "cluster", -1);
    for (uint32_t i = 0; i < verify->place.config->n_buckets; i++) {
        g_autofree char *text = g_strdup_printf("bucket.%s", bucket_of(verify, i)->name);
        check_register(verify, registers, text, (int)i);
    }
    yk_registers_close(registers);
}

/* The journal and the snapshots */

static int
find_bucket(const struct verify *verify, const char *bucket)
{
    for (uint32_t i = 0; i < verify->place.config->n_buckets; i++) {
        if (strcmp(bucket_of(verify, i)->name, bucket) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Why it cannot have been written so; NULL: it can. */
static const char *
judge_entry(const struct verify *verify, uint32_t index, const struct yk_entry *entry)
{
    const struct yk_ring ring = ring_of(verify, index);
    const uint32_t *epochs = verify->buckets[index].epochs;
    struct yk_record record;
    if (entry->kind == YK_ENTRY_PAGE) {
        return NULL;
    }
    if (entry->slot >> ring.slot_bits != 0) {
        return "there is no such slot";
    }
    if (epochs != NULL && entry->version >> 40 > epochs[entry->slot]) {
        return "its version is of an epoch that the register has not seen";
    }
    if (entry->kind != YK_ENTRY_PUT && entry->kind != YK_ENTRY_DELETE) {
        return NULL;
    }
    uint64_t hash = yk_hash(entry->key);
    if (yk_ring_slot(&ring, hash) != entry->slot) {
        return "its key belongs to another slot";
    }
    return entry->kind == YK_ENTRY_PUT &&
                   yk_record_decode(entry->value, false, hash, &record) != YK_OK
               ? "its record is not what was stored"
               : NULL;
}

static void
check_entry(void *arg, const char *bucket, const struct yk_entry *entry)
{
    struct verify *verify = arg;
    int index = find_bucket(verify, bucket);
    verify->n_entries++;
    const char *wrong = index < 0 ? NULL : judge_entry(verify, (uint32_t)index, entry);
    if (wrong != NULL) {
        verify->bucket_index = (uint32_t)index;
        verify->lane = entry->slot % verify->datadir.lanes;
        g_autofree char *where = place_text(verify, entry->slot, entry->key);
        g_autofree char *all = g_strdup_printf("%s: an entry of %s", verify->file, where);
        damage(verify, all, "%s", wrong);
    }
}

/* What a loss of power may do to a journal of which durability = os promised nothing more. */
static bool
may_be_cut(const struct verify *verify, const struct yk_chain_file *file)
{
    return !verify->datadir.same_boot && !verify->datadir.was_clean && !file->is_certain;
}

static void
check_journal(struct verify *verify)
{
    char error[YK_ERROR_SIZE];
    uint32_t n = UINT32_MAX; /* stays so where the folder cannot be read */
    struct yk_chain chain = {.id = verify->id};
    g_autofree char *folder = g_build_filename(verify->datadir.path, "journal", NULL);
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        return;
    }
    g_autofree uint64_t *numbers = yk_segments_list(folder, &n, error);
    if (numbers == NULL && n > 0) {
        damage(verify, folder, "%s", error);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        char path[YK_SEGMENT_PATH_SIZE];
        struct yk_chain_file file;
        struct yk_reader reader;
        struct pages pages = {.arg = verify, .entry = check_entry};
        bool is_used;
        yk_segment_path(folder, numbers[i], path);
        verify->file = path;
        enum yk_err result = yk_chain_read(&chain, path, numbers[i], &file, &is_used, error);
        if (result == YK_ECORRUPT && may_be_cut(verify, &file)) {
            note(verify, "%s; the power was lost, and durability = os allows it", error);
        } else if (result != YK_OK) {
            damage(verify, path, "%s", error);
        }
        if (is_used && yk_reader_open(file.mapped.bytes, verify->id, &reader) == YK_OK) {
            yk_chain_add(&chain, &file);
            pages_read(&pages, &reader);
            verify->n_files++;
        } else {
            yk_chain_skip(&chain, numbers[i]);
        }
        yk_file_unmap(&file.mapped);
    }
}

static void
check_snapshot(struct verify *verify, uint32_t index, uint32_t lane)
{
    char path[YK_SEGMENT_PATH_SIZE], error[YK_ERROR_SIZE];
    struct yk_mapped mapped;
    struct yk_reader reader;
    struct pages pages = {.arg = verify, .entry = check_entry};
    yk_snapshot_path(verify->datadir.path, bucket_of(verify, index)->name, lane, path);
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        return;
    }
    verify->file = path;
    if (yk_file_map(path, &mapped, error) != YK_OK) {
        damage(verify, path, "%s", error);
        return;
    }
    if (yk_reader_open(mapped.bytes, verify->id, &reader) != YK_OK) {
        damage(verify, path, "its head is not readable, or it belongs to another node");
    } else {
        pages_read(&pages, &reader);
        if (pages.n_holes > 0 || !pages.is_whole) {
            damage(verify, path, "it is not readable from byte %" G_GUINT64_FORMAT " on",
                   pages.end);
        }
        verify->buckets[index].n_snapshots++;
        verify->n_files++;
    }
    yk_file_unmap(&mapped);
}

/* Engines */

static bool
check_record(void *arg, const struct yk_look_found *found)
{
    struct verify *verify = arg;
    struct bucket_state *state = &verify->buckets[verify->bucket_index];
    if (found->wrong != NULL) {
        g_autofree char *where = place_text(verify, found->slot, found->key);
        damage(verify, where, "%s", found->wrong);
    }
    state->n_records += !found->is_own;
    state->n_own += found->is_own;
    state->n_bytes += found->size;
    verify->n_records += !found->is_own;
    verify->n_bytes += found->size;
    offline_progress_show(&verify->progress, verify->n_records, verify->n_bytes);
    return true;
}

static const char *
give_folder(void *arg, const struct yk_backend_place *place, char *error)
{
    (void)place;
    (void)error;
    return arg;
}

static void
check_lane(struct verify *verify, uint32_t index, uint32_t lane)
{
    const struct yk_bucket_config *bucket = bucket_of(verify, index);
    char error[YK_ERROR_SIZE];
    g_autofree char *base = g_strdup_printf("lane-%03u", lane);
    g_autofree char *folder = g_build_filename(verify->datadir.path, bucket->name, base, NULL);
    g_autofree char *where = g_strdup_printf("bucket %s, lane %u", bucket->name, lane);
    struct yk_shared_budget budget;
    struct yk_stack *stack = NULL;
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        damage(verify, where, "its folder %s is missing", folder);
        return;
    }
    yk_budget_init(&budget, bucket->memory_max);
    struct yk_stack_config config =
        yk_node_stack(verify->place.config, &verify->place.system.world, index, &budget.budget);
    config.place.lane = lane;
    config.make_folder = give_folder;
    config.arg = folder;
    enum yk_err result = yk_stack_open(&config, &stack, error);
    if (result != YK_OK) {
        damage(verify, where, "%s", error);
        yk_stack_close(stack);
        return;
    }
    struct yk_look look = {.stack = stack,
                           .ring = ring_of(verify, index),
                           .lane = lane,
                           .key_size_max = bucket->key_size_max,
                           .epochs = verify->buckets[index].epochs};
    verify->bucket_index = index;
    verify->lane = lane;
    result = yk_look(&look, check_record, verify);
    if (result != YK_OK) {
        yk_stack_error(stack, error);
        damage(verify, where, "it cannot be read to its end: %s",
               error[0] != '\0' ? error : yk_err_text(result));
    }
    yk_stack_close(stack);
}

static void
check_engine(struct verify *verify, uint32_t index)
{
    const struct yk_bucket_config *bucket = bucket_of(verify, index);
    struct yk_backend_info info;
    char error[YK_ERROR_SIZE];
    g_autofree char *folder = g_build_filename(verify->datadir.path, bucket->name, NULL);
    if (yk_node_ask(verify->place.config, &verify->place.system.world, index, &info, error) !=
            YK_OK ||
        (info.caps & YK_BACKEND_VOLATILE) != 0 || !g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        return;
    }
    if (yk_keep_needs_snapshots(bucket, &info) && !yk_keep_is_trusted(&verify->datadir, &info)) {
        note(verify,
             "bucket %s: the node did not end well, and what %s left is not looked at: the next "
             "start makes it again from the snapshots and the journal",
             bucket->name, bucket->backend->plugin->name);
        return;
    }
    for (uint32_t lane = 0; lane < verify->datadir.lanes; lane++) {
        check_lane(verify, index, lane);
    }
}

/* All */

static void
print_bucket(struct verify *verify, uint32_t index)
{
    const struct bucket_state *state = &verify->buckets[index];
    const struct yk_bucket_config *bucket = bucket_of(verify, index);
    if (!verify->is_json) {
        printf("bucket %s (%s): %" G_GUINT64_FORMAT " records, %" G_GUINT64_FORMAT
               " bytes; %" G_GUINT64_FORMAT " pages, %" G_GUINT64_FORMAT " snapshots\n",
               bucket->name, bucket->backend->plugin->name, state->n_records, state->n_bytes,
               state->n_own, state->n_snapshots);
        return;
    }
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "kind", "bucket");
    json_text(json, "bucket", bucket->name);
    json_text(json, "engine", bucket->backend->plugin->name);
    json_number(json, "records", state->n_records);
    json_number(json, "bytes", state->n_bytes);
    json_number(json, "pages", state->n_own);
    json_number(json, "snapshots", state->n_snapshots);
    json_close(json, '}');
    puts(json->str);
}

static void
print_total(const struct verify *verify)
{
    if (!verify->is_json) {
        printf("%s: %" G_GUINT64_FORMAT " records, %" G_GUINT64_FORMAT
               " files of the journal and snapshots with %" G_GUINT64_FORMAT
               " entries; %" G_GUINT64_FORMAT " damaged\n",
               verify->n_damages == 0 ? "all is well" : "DAMAGE WAS FOUND", verify->n_records,
               verify->n_files, verify->n_entries, verify->n_damages);
        return;
    }
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "kind", "end");
    json_number(json, "records", verify->n_records);
    json_number(json, "bytes", verify->n_bytes);
    json_number(json, "files", verify->n_files);
    json_number(json, "entries", verify->n_entries);
    json_number(json, "damaged", verify->n_damages);
    json_close(json, '}');
    puts(json->str);
}

/* Is the folder's form the config's? False: said. */
static bool
compare(struct verify *verify)
{
    const struct yk_config *config = verify->place.config;
    char error[YK_ERROR_SIZE];
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autofree struct yk_datadir_bucket *buckets =
        yk_start_buckets(config, &verify->place.system.world, texts, error);
    bool is_same = buckets != NULL && config->node.lanes == verify->datadir.lanes;
    if (buckets != NULL && !is_same) {
        snprintf(error, sizeof(error), "the folder has lanes = %u, and the config says %u",
                 verify->datadir.lanes, config->node.lanes);
    }
    for (uint32_t i = 0; is_same && i < config->n_buckets; i++) {
        bool is_there;
        is_same = yk_datadir_compare(&verify->datadir, &buckets[i], &is_there, error) == YK_OK;
        if (is_same && !is_there) {
            note(verify, "the folder has no bucket %s yet", buckets[i].name);
        }
    }
    if (!is_same) {
        offline_say(name, "%s; give the config that the folder was made with: -c FILE", error);
        return false;
    }
    for (uint32_t i = 0; i < verify->datadir.n_buckets; i++) {
        if (find_bucket(verify, verify->datadir.buckets[i]) < 0) {
            note(verify,
                 "bucket %s is in the folder and not in the config; its engines are not "
                 "looked at",
                 verify->datadir.buckets[i]);
        }
    }
    return true;
}

static enum exit_code
check_all(struct verify *verify)
{
    if (!compare(verify)) {
        return EXIT_USAGE;
    }
    check_registers(verify);
    check_journal(verify);
    for (uint32_t i = 0; i < verify->place.config->n_buckets; i++) {
        for (uint32_t lane = 0; lane < verify->datadir.lanes; lane++) {
            check_snapshot(verify, i, lane);
        }
        check_engine(verify, i);
        offline_progress_end(&verify->progress);
        print_bucket(verify, i);
    }
    print_total(verify);
    return verify->n_damages > 0 ? EXIT_FAILED : EXIT_DONE;
}

static enum exit_code
check_folder(struct verify *verify, const char *path)
{
    char error[YK_ERROR_SIZE];
    bool is_damaged;
    if (yk_datadir_look(path, &verify->datadir, &is_damaged, error) != YK_OK) {
        if (is_damaged) {
            damage(verify, path, "%s", error);
            return EXIT_FAILED;
        }
        offline_say(name, "%s", error);
        return EXIT_USAGE;
    }
    yk_keep_id(&verify->datadir, verify->id);
    enum exit_code code = check_all(verify);
    for (uint32_t i = 0; i < YK_BUCKETS_MAX; i++) {
        if (verify->buckets[i].has_register) {
            yk_bucket_register_done(&verify->buckets[i].reg);
        }
        g_free(verify->buckets[i].epochs);
    }
    yk_datadir_close(&verify->datadir, false);
    return code;
}

static enum exit_code
run(int argc, char **argv)
{
    struct offline_typed typed = {NULL, NULL, NULL};
    g_autofree struct verify *verify = g_new0(struct verify, 1);
    gboolean is_json = FALSE, is_forced = FALSE, is_quiet = FALSE;
    const GOptionEntry entries[] = {
        OFFLINE_CONFIG_ENTRIES(typed),
        {"json", 'j', 0, G_OPTION_ARG_NONE, &is_json, "print JSON, an object a line", NULL},
        {"progress", 0, 0, G_OPTION_ARG_NONE, &is_forced, "also where there is no terminal", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &is_quiet, "no progress line", NULL},
        {NULL}};
    enum exit_code code = EXIT_USAGE;
    if (verb_options(&verb_verify, entries, "FOLDER", 1, &argc, &argv)) {
        verify->is_json = is_json;
        offline_progress_init(&verify->progress, name, is_forced, is_quiet);
        if (argc < 2) {
            offline_say(name, "which data folder? Try --help");
        } else if (offline_place_open(&verify->place, name, &typed)) {
            code = check_folder(verify, argv[1]);
        }
        offline_place_close(&verify->place);
    }
    offline_typed_done(&typed);
    return code;
}

static const char help[] =
    "Checks, while no node uses the folder: the superblock, the registers, the journal and the\n"
    "snapshots to their ends, and every record of every engine, with its checksum, its place and\n"
    "its version. After a kill the engines may lag behind the journal: that is no damage. Opening\n"
    "an engine may have it repair its own files, as a start of the node does; nothing is lost by\n"
    "it. Exit status: 0 all is well, 1 there is damage, 2 it could not be looked at.\n";

const struct verb verb_verify = {name, "check a data folder, record by record", run, help};
