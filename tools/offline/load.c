/* yakumo load: records of a stream into a bucket. They go into the engines as a recovery puts them
 * there; then the lanes are checkpointed, by a node that runs without listeners for as long. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/replica/lane.h"
#include "tools/offline/lanes.h"
#include "tools/offline/stream.h"

static const char name[] = "load";

enum { POLL_US = 10000, STOP_TIMEOUT_MS = 10000 };

/* Epochs beyond these are kept for the years to come. */
#define EPOCH_LIMIT (YK_EPOCH_MAX / 10 * 9)

struct load {
    struct offline_place place;
    struct lanes lanes;
    struct yk_lane *lane; /* that is being looked at */
    struct stream_reader reader;
    struct offline_progress progress;
    uint64_t now_ms;
    uint64_t n_loaded, n_ended;
    bool is_merge, is_occupied;
};

/* The stream */

/* A file is read once before anything is written: what is cut short leaves no trace. */
static bool
check_file(struct load *load, int fd, const struct yk_bucket_config *bucket)
{
    struct stream_reader reader;
    struct yk_slice key;
    struct yk_record record;
    enum stream_kind kind = STREAM_RECORD;
    bool is_open = stream_open(&reader, fd, bucket->key_size_max, bucket->value_size_max);
    while (is_open && (kind = stream_next(&reader, &key, &record)) == STREAM_RECORD) {
    }
    if (!is_open || kind == STREAM_BAD) {
        offline_say(name, "the stream cannot be loaded: %s; nothing was changed", reader.error);
    }
    load->progress.total = reader.n_bytes;
    stream_reader_done(&reader);
    return is_open && kind == STREAM_END && lseek(fd, 0, SEEK_SET) == 0;
}

static bool
restore_record(struct load *load, struct yk_slice key, const struct yk_record *record)
{
    const struct yk_ring *ring = &load->lanes.start.node->buckets[load->lanes.bucket_index]->ring;
    if (record->expiry_ms != 0 && record->expiry_ms <= (int64_t)load->now_ms) {
        load->n_ended++;
        return true;
    }
    uint32_t index = yk_ring_lane(ring, yk_ring_slot(ring, yk_hash(key)));
    enum yk_err result = yk_lane_restore(lanes_at(&load->lanes, index), key, record);
    if (result == YK_OK) {
        load->n_loaded++;
        return true;
    }
    char error[YK_ERROR_SIZE];
    yk_stack_error(yk_lane_stack(lanes_at(&load->lanes, index)), error);
    offline_progress_end(&load->progress);
    offline_say(name, "lane %u cannot take a record: %s%s%s%s", index, yk_err_text(result),
                error[0] != '\0' ? ": " : "", error,
                result == YK_ENOMEM ? "; set a greater memory_max" : "");
    return false;
}

static bool
restore_all(struct load *load)
{
    struct yk_slice key;
    struct yk_record record;
    enum stream_kind kind;
    while ((kind = stream_next(&load->reader, &key, &record)) == STREAM_RECORD) {
        if (!restore_record(load, key, &record)) {
            return false;
        }
        offline_progress_show(&load->progress, load->n_loaded, load->reader.n_bytes);
    }
    offline_progress_end(&load->progress);
    if (kind == STREAM_BAD) {
        offline_say(name, "the stream cannot be loaded to its end: %s", load->reader.error);
        return false;
    }
    for (uint32_t i = 0; i < load->lanes.n; i++) {
        enum yk_err result = yk_lane_restored(lanes_at(&load->lanes, i));
        if (result != YK_OK) {
            offline_say(name, "lane %u cannot take its records: %s", i, yk_err_text(result));
            return false;
        }
    }
    return true;
}

/* The bucket */

static bool
look_for_any(void *arg, const struct yk_look_found *found)
{
    struct load *load = arg;
    bool is_record = !found->is_own && found->wrong == NULL;
    load->is_occupied =
        found->wrong != NULL ||
        (is_record && yk_lane_sees(load->lane, found->slot, &found->record, load->now_ms));
    return !load->is_occupied;
}

static bool
is_empty(struct load *load)
{
    for (uint32_t i = 0; i < load->lanes.n && !load->is_occupied; i++) {
        load->lane = lanes_at(&load->lanes, i);
        load->is_occupied = !lanes_look(&load->lanes, i, look_for_any, load) || load->is_occupied;
    }
    if (load->is_occupied) {
        offline_say(name,
                    "bucket %s is not empty; with --merge the stream's records are added, and take "
                    "the place of those with the same keys",
                    load->lanes.bucket->name);
    }
    return !load->is_occupied;
}

static bool
wants_checkpoint(struct load *load)
{
    struct yk_start *start = &load->lanes.start;
    const uint64_t *needed_from = yk_journal_needed_from(start->keep.journal);
    for (uint32_t i = 0; i < start->node->n_workers; i++) {
        if (__atomic_load_n(&needed_from[i], __ATOMIC_ACQUIRE) == 0) {
            return true;
        }
    }
    return false;
}

/* What the engines hold is put where the next start finds it. */
static bool
checkpoint(struct load *load)
{
    struct yk_start *start = &load->lanes.start;
    char error[YK_ERROR_SIZE];
    if (start->keep.journal == NULL) {
        return true;
    }
    struct yk_threads_config config = {.world = start->world,
                                       .node = start->node,
                                       .executors = start->config->node.executors,
                                       .io = start->config->node.io,
                                       .journal = start->keep.journal,
                                       .connections_max = start->config->node.connections_max};
    if (yk_threads_start(&config, &start->threads, error) != YK_OK) {
        offline_say(name, "%s", error);
        return false;
    }
    uint32_t n_errors = __atomic_load_n(&load->place.n_errors, __ATOMIC_RELAXED);
    bool has_failed = false;
    while (!has_failed && wants_checkpoint(load)) {
        usleep(POLL_US);
        yk_threads_wake(start->threads);
        has_failed = __atomic_load_n(&load->place.n_errors, __ATOMIC_RELAXED) != n_errors;
    }
    struct yk_threads *threads = start->threads;
    yk_threads_stop(threads, STOP_TIMEOUT_MS);
    __atomic_store_n(&start->threads, NULL, __ATOMIC_RELEASE);
    return !has_failed;
}

static enum exit_code
load_stream(struct load *load, uint32_t bucket_index)
{
    const struct stream_head *head = &load->reader.head;
    if (head->epoch >= EPOCH_LIMIT) {
        offline_say(name,
                    "the stream's epoch is %" G_GUINT64_FORMAT ", and no node can go on above it",
                    head->epoch);
        return EXIT_FAILED;
    }
    if (!lanes_open(&load->lanes, &load->place, bucket_index, head->epoch + 1)) {
        return EXIT_USAGE;
    }
    const struct yk_world *world = &load->place.system.world;
    load->now_ms = world->now_ms(world->arg);
    if (!load->is_merge && !is_empty(load)) {
        lanes_close(&load->lanes, true);
        return EXIT_FAILED;
    }
    bool is_restored = restore_all(load);
    bool is_done = is_restored && checkpoint(load);
    if (!is_done) {
        offline_say(name,
                    "the bucket is not whole: some of the stream's records may be in it; repair "
                    "what is wrong and load again with --merge");
    }
    lanes_close(&load->lanes, is_done);
    return is_done ? EXIT_DONE : EXIT_FAILED;
}

static enum exit_code
do_it(struct load *load, uint32_t bucket_index, int fd)
{
    const struct yk_bucket_config *bucket = &load->place.config->buckets[bucket_index];
    struct stat status;
    bool is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    load->progress.total_is_bytes = true;
    if (is_file && !check_file(load, fd, bucket)) {
        return EXIT_FAILED;
    }
    enum exit_code code = EXIT_FAILED;
    if (stream_open(&load->reader, fd, bucket->key_size_max, bucket->value_size_max)) {
        code = load_stream(load, bucket_index);
    } else {
        offline_say(name, "the stream cannot be loaded: %s; nothing was changed",
                    load->reader.error);
    }
    if (code == EXIT_DONE) {
        fprintf(stderr,
                "yakumo load: %" G_GUINT64_FORMAT " records, %" G_GUINT64_FORMAT
                " bytes, made from %s; left out: %" G_GUINT64_FORMAT " that have ended\n",
                load->n_loaded, load->reader.n_bytes, load->reader.head.engine, load->n_ended);
    }
    stream_reader_done(&load->reader);
    return code;
}

static enum exit_code
open_input(struct load *load, uint32_t bucket_index, const char *input)
{
    if (input == NULL) {
        return do_it(load, bucket_index, STDIN_FILENO);
    }
    int fd = open(input, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        offline_say(name, "cannot read %s: %s", input, strerror(errno));
        return EXIT_USAGE;
    }
    enum exit_code code = do_it(load, bucket_index, fd);
    close(fd);
    return code;
}

static enum exit_code
run(int argc, char **argv)
{
    struct offline_typed typed = {NULL, NULL, NULL};
    struct load load = {.n_loaded = 0};
    gboolean is_forced = FALSE, is_quiet = FALSE, is_merge = FALSE;
    g_autofree char *bucket = NULL, *input = NULL;
    const GOptionEntry entries[] = {
        OFFLINE_CONFIG_ENTRIES(typed),
        {"bucket", 'b', 0, G_OPTION_ARG_STRING, &bucket, "which bucket", "NAME"},
        {"input", 0, 0, G_OPTION_ARG_FILENAME, &input, "where from (standard input)", "FILE"},
        {"merge", 0, 0, G_OPTION_ARG_NONE, &is_merge,
         "into a bucket that holds something: the stream's records replace those of the same keys",
         NULL},
        {"progress", 0, 0, G_OPTION_ARG_NONE, &is_forced, "also where there is no terminal", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &is_quiet, "no progress line", NULL},
        {NULL}};
    enum exit_code code = EXIT_USAGE;
    if (verb_options(&verb_load, entries, NULL, 0, &argc, &argv)) {
        offline_progress_init(&load.progress, name, is_forced, is_quiet);
        load.is_merge = is_merge;
        if (offline_place_open(&load.place, name, &typed)) {
            int index = offline_find_bucket(&load.place, bucket);
            if (index >= 0 && offline_keeps_nothing(&load.place, (uint32_t)index)) {
                offline_say(name, "bucket %s keeps nothing over the end of its node", bucket);
            } else if (index >= 0) {
                code = open_input(&load, (uint32_t)index, input);
            }
        }
        offline_place_close(&load.place);
    }
    offline_typed_done(&typed);
    return code;
}

static const char help[] =
    "The node must not run; its data folder is made, if it is not there. A file is read to its "
    "end\n"
    "before anything is written. When load has ended, all of it is on the device. Records keep\n"
    "their flags, expiry and CAS unique; the node gives versions above all that was loaded. The\n"
    "stream is described in yakumo-dump(5).\n";

const struct verb verb_load = {name, "put the records of a stream into a bucket", run, help};
