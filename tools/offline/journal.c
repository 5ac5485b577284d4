/* yakumo journal FILE...: segments and snapshots in words. It only reads, so the node may run. */
#include <config.h>

#include "tools/offline/journal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/io/chain.h"
#include "core/store/record.h"
#include "tools/json.h"
#include "tools/offline/pages.h"
#include "tools/offline/place.h"

enum { FILES_MAX = 1024, DAMAGE_TRIES = 3, WAIT_US = 100000 };

static const char name[] = "journal";

static const char *const kinds[] = {
    [YK_ENTRY_PUT] = "put",           [YK_ENTRY_DELETE] = "delete", [YK_ENTRY_FLUSH] = "flush",
    [YK_ENTRY_FLUSH_AT] = "flush-at", [YK_ENTRY_PAGE] = "page",     [YK_ENTRY_CUT] = "cut"};

/* What is wanted, and what has come of it. */
struct job {
    bool is_json, is_summary, with_values;
    const char *bucket, *key;
    const char *file; /* that is being read */
    struct pages_counts total;
    uint32_t n_files, n_damaged;
};

guint64
journal_number(const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    char *end;
    guint64 number = g_ascii_strtoull(base, &end, 10);
    return end > base && strcmp(end, ".log") == 0 ? number : 0;
}

/* Entries */

static bool
is_wanted(const struct job *job, const char *bucket, const struct yk_entry *entry)
{
    return (job->bucket == NULL || strcmp(job->bucket, bucket) == 0) &&
           (job->key == NULL || (entry->key.size == strlen(job->key) &&
                                 memcmp(entry->key.data, job->key, entry->key.size) == 0));
}

static char *
version_text(uint64_t version)
{
    return g_strdup_printf("%llu.%llu", (unsigned long long)(version >> 40),
                           (unsigned long long)(version & ((1ull << 40) - 1)));
}

static void
put_record_words(GString *line, const struct yk_record *record, bool with_values)
{
    g_string_append_printf(line, ": value of %zu bytes", record->value.size);
    if (record->client_flags != 0) {
        g_string_append_printf(line, ", flags %u", record->client_flags);
    }
    if (record->expiry_ms != 0) {
        g_autofree char *time = offline_time((uint64_t)record->expiry_ms);
        g_string_append_printf(line, ", expires %s", time);
    }
    if (record->cas != 0) {
        g_string_append_printf(line, ", cas %" G_GUINT64_FORMAT, record->cas);
    }
    g_string_append_printf(line, "%s%s%s", record->marks & YK_RECORD_STALE ? ", stale" : "",
                           record->marks & YK_RECORD_WON ? ", won" : "",
                           record->marks & YK_RECORD_TOMBSTONE ? ", tombstone" : "");
    if (with_values) {
        g_autofree char *value = offline_escape(record->value);
        g_string_append_printf(line, ", \"%s\"", value);
    }
}

static void
put_record_json(GString *json, const struct yk_record *record, bool with_values)
{
    json_number(json, "value_size", record->value.size);
    json_number(json, "flags", record->client_flags);
    json_number(json, "expiry_ms", (uint64_t)record->expiry_ms);
    json_number(json, "cas", record->cas);
    json_bool(json, "stale", (record->marks & YK_RECORD_STALE) != 0);
    json_bool(json, "won", (record->marks & YK_RECORD_WON) != 0);
    if (with_values) {
        g_autofree char *value = offline_escape(record->value);
        json_text(json, "value", value);
    }
}

static bool
decode_record(const struct yk_entry *entry, struct yk_record *ret_record)
{
    return yk_record_decode(entry->value, false, yk_hash(entry->key), ret_record) == YK_OK;
}

static void
print_entry_json(const struct job *job, const char *bucket, const struct yk_entry *entry)
{
    g_autoptr(GString) json = g_string_new(NULL);
    g_autofree char *version = version_text(entry->version);
    g_autofree char *key = offline_escape(entry->key);
    struct yk_record record;
    json_open(json, NULL, '{');
    json_text(json, "kind", kinds[entry->kind]);
    json_text(json, "bucket", bucket);
    json_number(json, "slot", entry->slot);
    json_text(json, "version", version);
    if (entry->key.size > 0) {
        json_text(json, "key", key);
    }
    json_number(json, "size", entry->value.size);
    if (entry->kind == YK_ENTRY_PUT && decode_record(entry, &record)) {
        put_record_json(json, &record, job->with_values);
    } else if (entry->kind == YK_ENTRY_PUT) {
        json_text(json, "wrong", "the record is not readable");
    }
    json_close(json, '}');
    puts(json->str);
}

static void
print_entry(void *arg, const char *bucket, const struct yk_entry *entry)
{
    const struct job *job = arg;
    if (!is_wanted(job, bucket, entry)) {
        return;
    }
    if (job->is_json) {
        print_entry_json(job, bucket, entry);
        return;
    }
    g_autoptr(GString) line = g_string_new(NULL);
    g_autofree char *version = version_text(entry->version);
    g_autofree char *key = offline_escape(entry->key);
    struct yk_record record;
    g_string_append_printf(line, "    %s %s %s %u", kinds[entry->kind], bucket,
                           entry->kind == YK_ENTRY_PAGE ? "page" : "slot", entry->slot);
    if (entry->version != 0) {
        g_string_append_printf(line, " version %s", version);
    }
    if (entry->kind == YK_ENTRY_PUT || entry->kind == YK_ENTRY_DELETE) {
        g_string_append_printf(line, " key \"%s\"", key);
    }
    if (entry->kind == YK_ENTRY_PUT && decode_record(entry, &record)) {
        put_record_words(line, &record, job->with_values);
    } else if (entry->kind == YK_ENTRY_PUT) {
        g_string_append(line, ": the record is not readable");
    } else if (entry->kind == YK_ENTRY_FLUSH_AT && entry->value.size == 8) {
        uint64_t ms;
        memcpy(&ms, entry->value.data, 8);
        g_autofree char *time = offline_time(ms);
        g_string_append_printf(line, " due %s", time);
    }
    puts(line->str);
}

/* Batches and files */

static void
print_batch(void *arg, uint64_t offset, const struct yk_batch *batch)
{
    const struct job *job = arg;
    g_autofree char *time = offline_time(batch->now_ms);
    if (!job->is_json) {
        printf("  batch at byte %" G_GUINT64_FORMAT ", position %" G_GUINT64_FORMAT
               ", %s: %u entries, %u bytes\n",
               offset, batch->position, time, batch->n_entries, batch->size);
        return;
    }
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "kind", "batch");
    json_number(json, "offset", offset);
    json_number(json, "position", batch->position);
    json_number(json, "time_ms", batch->now_ms);
    json_number(json, "entries", batch->n_entries);
    json_number(json, "size", batch->size);
    json_close(json, '}');
    puts(json->str);
}

static void
print_hole(void *arg, const struct pages_hole *hole)
{
    const struct job *job = arg;
    if (!job->is_json) {
        printf("  DAMAGED: bytes %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
               " are not readable; what follows stands behind them\n",
               hole->from, hole->to);
        return;
    }
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "kind", "damage");
    json_number(json, "from", hole->from);
    json_number(json, "to", hole->to);
    json_close(json, '}');
    puts(json->str);
}

static void
print_head(const struct job *job, const struct yk_journal_head *head)
{
    g_autoptr(GString) buckets = g_string_new(NULL);
    g_autoptr(GString) id = g_string_new(NULL);
    for (uint32_t i = 0; i < head->n_buckets; i++) {
        g_string_append_printf(buckets, "%s%s", i > 0 ? ", " : "", head->buckets[i]);
    }
    for (uint32_t i = 0; i < YK_JOURNAL_ID_SIZE; i++) {
        g_string_append_printf(id, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                               head->id[i]);
    }
    if (job->is_json) {
        g_autoptr(GString) json = g_string_new(NULL);
        json_open(json, NULL, '{');
        json_text(json, "kind", head->number > 0 ? "segment" : "snapshot");
        json_text(json, "file", job->file);
        json_number(json, "number", head->number);
        json_number(json, "start", head->start);
        json_number(json, "size", head->size);
        json_number(json, "align", head->align);
        json_bool(json, "synced", head->is_synced);
        json_text(json, "node", id->str);
        json_text(json, "buckets", buckets->str);
        json_close(json, '}');
        puts(json->str);
    } else if (head->number > 0) {
        printf(
            "%s: file %" G_GUINT64_FORMAT " of the journal of node %s, positions %" G_GUINT64_FORMAT
            " to %" G_GUINT64_FORMAT ", blocks of %u%s; buckets: %s\n",
            job->file, head->number, id->str, head->start, head->start + head->size, head->align,
            head->is_synced ? ", writes answered when they are on the device" : "", buckets->str);
    } else {
        printf("%s: a snapshot of node %s; bucket: %s\n", job->file, id->str, buckets->str);
    }
}

static const char *
ending_text(const struct pages *pages, bool is_snapshot)
{
    return pages->n_holes > 0                ? "damaged"
           : is_snapshot && !pages->is_whole ? "not whole"
           : pages->ending == YK_ENDING_TORN ? "torn"
                                             : "clean";
}

static void
print_ending(const struct job *job, const struct pages *pages, bool is_snapshot)
{
    const char *ending = ending_text(pages, is_snapshot);
    if (job->is_json) {
        g_autoptr(GString) json = g_string_new(NULL);
        json_open(json, NULL, '{');
        json_text(json, "kind", "end");
        json_text(json, "file", job->file);
        json_text(json, "ending", ending);
        json_number(json, "offset", pages->end);
        json_number(json, "batches", pages->counts.batches);
        json_number(json, "entries", pages->counts.entries);
        for (uint32_t i = YK_ENTRY_PUT; i <= YK_ENTRY_CUT; i++) {
            json_number(json, kinds[i], pages->counts.kinds[i]);
        }
        json_close(json, '}');
        puts(json->str);
        return;
    }
    printf("  %s at byte %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT " batches, %" G_GUINT64_FORMAT
           " entries",
           ending, pages->end, pages->counts.batches, pages->counts.entries);
    for (uint32_t i = YK_ENTRY_PUT; i <= YK_ENTRY_CUT; i++) {
        if (pages->counts.kinds[i] > 0) {
            printf(", %" G_GUINT64_FORMAT " %s", pages->counts.kinds[i], kinds[i]);
        }
    }
    puts("");
    if (strcmp(ending, "torn") == 0) {
        printf("  a batch was being written there when the node ended; nobody was told of it\n");
    }
}

static void
print_wrong(struct job *job, const char *error)
{
    fflush(stdout);
    offline_say(name, "%s", error);
    if (job->is_json) {
        g_autoptr(GString) json = g_string_new(NULL);
        json_open(json, NULL, '{');
        json_text(json, "kind", "damaged");
        json_text(json, "file", job->file);
        json_text(json, "reason", error);
        json_close(json, '}');
        puts(json->str);
    }
    job->n_damaged++;
}

/* Reads the content of a file whose head can be read. */
static void
print_content(struct job *job, const struct yk_reader *reader)
{
    struct pages pages = {.arg = job};
    bool is_snapshot = reader->head.number == 0;
    if (!job->is_summary) {
        bool is_filtered = job->bucket != NULL || job->key != NULL;
        pages.batch = is_filtered ? NULL : print_batch;
        pages.entry = print_entry;
        pages.hole = print_hole;
    }
    print_head(job, &reader->head);
    pages_read(&pages, reader);
    print_ending(job, &pages, is_snapshot);
    pages_add(&job->total, &pages.counts);
    if (is_snapshot && !pages.is_whole) {
        print_wrong(job, "the snapshot is not whole: its end does not stand there");
    }
}

static enum exit_code
print_snapshot(struct job *job)
{
    char error[YK_ERROR_SIZE];
    struct yk_mapped mapped;
    struct yk_reader reader;
    if (yk_file_map(job->file, &mapped, error) != YK_OK) {
        offline_say(name, "%s", error);
        return EXIT_USAGE;
    }
    enum yk_err result = yk_reader_open(mapped.bytes, NULL, &reader);
    if (result == YK_OK) {
        print_content(job, &reader);
    } else if (result == YK_ECORRUPT) {
        g_autofree char *text = g_strdup_printf("%s: its head is not readable", job->file);
        print_wrong(job, text);
    } else {
        offline_say(name, "%s: it is no journal file of yakumo%s", job->file,
                    result == YK_EUNSUPPORTED ? " that this version can read" : "");
    }
    yk_file_unmap(&mapped);
    return result == YK_OK || result == YK_ECORRUPT ? EXIT_DONE : EXIT_USAGE;
}

/* A running node drops files, and uses them again: what looks damaged is looked at again. */
static enum yk_err
read_file(const struct yk_chain *chain, const char *path, uint64_t number,
          struct yk_chain_file *ret_file, bool *ret_is_used, char *error)
{
    enum yk_err result = YK_OK;
    for (uint32_t tries = 0; tries < DAMAGE_TRIES; tries++) {
        result = yk_chain_read(chain, path, number, ret_file, ret_is_used, error);
        if (result != YK_ECORRUPT) {
            break;
        }
        if (tries + 1 < DAMAGE_TRIES) {
            yk_file_unmap(&ret_file->mapped);
            usleep(WAIT_US);
        }
    }
    return result;
}

static enum exit_code
print_segment(struct job *job, struct yk_chain *chain, const char *path, bool in_folder)
{
    char error[YK_ERROR_SIZE];
    struct yk_chain_file file;
    struct yk_reader reader;
    bool is_used;
    job->file = path;
    enum yk_err result = read_file(chain, path, journal_number(path), &file, &is_used, error);
    if (result != YK_OK && access(path, F_OK) != 0 && in_folder) {
        return EXIT_DONE; /* the node did not need it any more */
    }
    if (result == YK_EIO || result == YK_EINVALID) {
        offline_say(name, "%s", error);
        yk_file_unmap(&file.mapped);
        return EXIT_USAGE;
    }
    if (result == YK_OK && !is_used && in_folder) {
        if (!job->is_json && !job->is_summary) {
            printf("%s: ready to be used, nothing is in it\n", path);
        }
    } else if (yk_reader_open(file.mapped.bytes, NULL, &reader) == YK_OK) {
        print_content(job, &reader);
        job->n_files++;
    } else if (result == YK_OK && !in_folder) {
        offline_say(name, "%s: it is no journal file of yakumo", path);
        yk_file_unmap(&file.mapped);
        return EXIT_USAGE;
    }
    if (result == YK_ECORRUPT) {
        print_wrong(job, error);
    }
    if (is_used) {
        yk_chain_add(chain, &file);
    } else {
        yk_chain_skip(chain, journal_number(path));
    }
    yk_file_unmap(&file.mapped);
    return EXIT_DONE;
}

static enum exit_code
print_folder(struct job *job, const char *path)
{
    char error[YK_ERROR_SIZE];
    g_autofree char *inner = g_build_filename(path, "journal", NULL);
    const char *folder = g_file_test(inner, G_FILE_TEST_IS_DIR) ? inner : path;
    struct yk_chain chain = {.id = NULL};
    uint32_t n = UINT32_MAX; /* stays so where the folder cannot be read */
    enum exit_code code = EXIT_DONE;
    g_autofree uint64_t *numbers = yk_segments_list(folder, &n, error);
    if (numbers == NULL && n > 0) {
        offline_say(name, "%s", error);
        return EXIT_USAGE;
    }
    for (uint32_t i = 0; code == EXIT_DONE && i < n; i++) {
        char segment[YK_SEGMENT_PATH_SIZE];
        yk_segment_path(folder, numbers[i], segment);
        code = print_segment(job, &chain, segment, true);
    }
    if (n == 0) {
        printf("%s: no journal files; a node that was stopped well needs none\n", folder);
    }
    return code;
}

static enum exit_code
print_one(struct job *job, const char *path)
{
    struct yk_chain chain = {.id = NULL};
    job->file = path;
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        return print_folder(job, path);
    }
    return journal_number(path) > 0 ? print_segment(job, &chain, path, false) : print_snapshot(job);
}

static void
print_total(const struct job *job)
{
    if (job->is_json || job->n_files < 2) {
        return;
    }
    printf("%u files, %" G_GUINT64_FORMAT " batches, %" G_GUINT64_FORMAT
           " entries, %" G_GUINT64_FORMAT " bytes; %u damaged\n",
           job->n_files, job->total.batches, job->total.entries, job->total.bytes, job->n_damaged);
}

static enum exit_code
run(int argc, char **argv)
{
    struct job job = {.is_json = false};
    gboolean is_json = FALSE, is_summary = FALSE, with_values = FALSE, accepts = FALSE, yes = FALSE;
    g_autofree char *bucket = NULL, *key = NULL;
    const GOptionEntry entries[] = {
        {"summary", 's', 0, G_OPTION_ARG_NONE, &is_summary, "heads, ends and counts only", NULL},
        {"bucket", 'b', 0, G_OPTION_ARG_STRING, &bucket, "only entries of this bucket", "NAME"},
        {"key", 'k', 0, G_OPTION_ARG_STRING, &key, "only entries of this key", "KEY"},
        {"values", 0, 0, G_OPTION_ARG_NONE, &with_values, "print values too", NULL},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &is_json, "print JSON, an object a line", NULL},
        {"accept-loss", 0, 0, G_OPTION_ARG_NONE, &accepts,
         "set aside what is damaged in FILE, and all that follows (see below)", NULL},
        {"yes", 'y', 0, G_OPTION_ARG_NONE, &yes, "with --accept-loss: do not ask", NULL},
        {NULL}};
    if (!verb_options(&verb_journal, entries, "FILE|FOLDER...", FILES_MAX, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (argc < 2 || (accepts && argc != 2) || (yes && !accepts)) {
        offline_say(name, accepts || yes ? "--accept-loss takes one file; try --help"
                                         : "which file, or folder? Try --help");
        return EXIT_USAGE;
    }
    if (accepts) {
        return journal_accept_loss(argv[1], yes);
    }
    job.is_json = is_json;
    job.is_summary = is_summary;
    job.with_values = with_values;
    job.bucket = bucket;
    job.key = key;
    enum exit_code code = EXIT_DONE;
    for (int i = 1; code == EXIT_DONE && i < argc; i++) {
        code = print_one(&job, argv[i]);
    }
    print_total(&job);
    return code != EXIT_DONE ? code : job.n_damaged > 0 ? EXIT_FAILED : EXIT_DONE;
}

static const char help[] =
    "A journal is DATA/journal with its files NUMBER.log, oldest first; a snapshot is\n"
    "DATA/BUCKET/lane-NNN.snapshot. Both can be read while the node runs.\n"
    "\n"
    "If yakumod says \"the journal is damaged: FILE\", then a part of FILE cannot be read, and\n"
    "writes that were answered stand in it or behind it. In this order:\n"
    "\n"
    "  1. Copy the whole data folder away. Look at the disk (dmesg, smartctl).\n"
    "  2. yakumo journal --summary DATA  says where the damage is, and what stands behind it.\n"
    "  3. If there is a backup, restore the data folder from it.\n"
    "  4. If not, accept the loss: yakumo journal --accept-loss FILE. What can be read before\n"
    "     the damage stays; the rest of FILE and all later files are moved to a folder\n"
    "     DATA/journal/lost-N, nothing is deleted. It says how much is given up, and asks. The\n"
    "     node then starts with what was before, in new incarnations of its lanes, and marks the\n"
    "     slots as lossy. A snapshot's FILE keeps its readable part, too.\n";

const struct verb verb_journal = {name, "print a journal in words; a way out of a damaged one", run,
                                  help};
