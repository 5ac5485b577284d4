/* yakumo dump: the records of a bucket as a stream. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "core/replica/lane.h"
#include "tools/offline/lanes.h"
#include "tools/offline/stream.h"

static const char name[] = "dump";

struct dump {
    struct offline_place place;
    struct lanes lanes;
    struct yk_lane *lane;
    struct stream_writer writer;
    struct offline_progress progress;
    uint64_t now_ms;
    uint64_t n_left_out, n_damaged;
    bool is_broken; /* the output */
};

static bool
take_record(void *arg, const struct yk_look_found *found)
{
    struct dump *dump = arg;
    if (found->is_own && found->wrong == NULL) {
        return true;
    }
    if (found->wrong != NULL) {
        g_autofree char *key = offline_escape(found->key);
        offline_progress_end(&dump->progress);
        offline_say(name, "left out, damaged: key \"%s\": %s", key, found->wrong);
        dump->n_damaged++;
        return true;
    }
    if (!yk_lane_sees(dump->lane, found->slot, &found->record, dump->now_ms)) {
        dump->n_left_out++;
        return true;
    }
    dump->is_broken = !stream_put(&dump->writer, found->key, &found->record);
    offline_progress_show(&dump->progress, dump->writer.n_records, dump->writer.n_bytes);
    return !dump->is_broken;
}

static bool
write_all(struct dump *dump, int fd)
{
    struct lanes *lanes = &dump->lanes;
    struct stream_head head = {.slots = lanes->bucket->slots,
                               .epoch = lanes->start.datadir.epoch,
                               .made_at_ms = dump->now_ms,
                               .key_size_max = lanes->bucket->key_size_max,
                               .value_size_max = lanes->bucket->value_size_max};
    g_strlcpy(head.bucket, lanes->bucket->name, sizeof(head.bucket));
    g_strlcpy(head.engine, lanes->bucket->backend->plugin->name, sizeof(head.engine));
    dump->is_broken = !stream_begin(&dump->writer, fd, &head);
    for (uint32_t i = 0; !dump->is_broken && i < lanes->n; i++) {
        dump->lane = lanes_at(lanes, i);
        dump->n_damaged += !lanes_look(lanes, i, take_record, dump);
    }
    dump->is_broken = dump->is_broken || !stream_finish(&dump->writer);
    offline_progress_end(&dump->progress);
    if (dump->is_broken) {
        offline_say(name, "cannot write: %s", strerror(errno));
    }
    stream_writer_done(&dump->writer);
    return !dump->is_broken;
}

/* Under another name until it is whole and on the device. */
static bool
write_file(struct dump *dump, const char *path)
{
    g_autofree char *fresh = g_strdup_printf("%s.part", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        offline_say(name, "cannot write %s: %s", fresh, strerror(errno));
        return false;
    }
    bool is_done = write_all(dump, fd);
    if (is_done && (fsync(fd) < 0 || g_rename(fresh, path) < 0)) {
        offline_say(name, "cannot write %s: %s", path, strerror(errno));
        is_done = false;
    }
    close(fd);
    if (!is_done) {
        (void)g_unlink(fresh);
    }
    return is_done;
}

static enum exit_code
do_it(struct dump *dump, uint32_t bucket_index, const char *output)
{
    if (!lanes_open(&dump->lanes, &dump->place, bucket_index, 0)) {
        return EXIT_USAGE;
    }
    const struct yk_world *world = &dump->place.system.world;
    dump->now_ms = world->now_ms(world->arg);
    dump->progress.total = lanes_count(&dump->lanes);
    bool is_done = output != NULL ? write_file(dump, output) : write_all(dump, STDOUT_FILENO);
    lanes_close(&dump->lanes, true);
    if (is_done) {
        fprintf(stderr,
                "yakumo dump: %" G_GUINT64_FORMAT " records, %" G_GUINT64_FORMAT
                " bytes; left out: %" G_GUINT64_FORMAT " that have ended, %" G_GUINT64_FORMAT
                " damaged\n",
                dump->writer.n_records, dump->writer.n_bytes, dump->n_left_out, dump->n_damaged);
    }
    return is_done && dump->n_damaged == 0 ? EXIT_DONE : EXIT_FAILED;
}

static enum exit_code
run(int argc, char **argv)
{
    struct offline_typed typed = {NULL, NULL, NULL};
    struct dump dump = {.n_damaged = 0};
    gboolean is_forced = FALSE, is_quiet = FALSE;
    g_autofree char *bucket = NULL, *output = NULL;
    const GOptionEntry entries[] = {
        OFFLINE_CONFIG_ENTRIES(typed),
        {"bucket", 'b', 0, G_OPTION_ARG_STRING, &bucket, "which bucket", "NAME"},
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &output, "where to (standard output)", "FILE"},
        {"progress", 0, 0, G_OPTION_ARG_NONE, &is_forced, "also where there is no terminal", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &is_quiet, "no progress line", NULL},
        {NULL}};
    enum exit_code code = EXIT_USAGE;
    if (verb_options(&verb_dump, entries, NULL, 0, &argc, &argv)) {
        offline_progress_init(&dump.progress, name, is_forced, is_quiet);
        if (output == NULL && isatty(STDOUT_FILENO)) {
            offline_say(name, "a dump is nothing for a terminal: --output FILE, or a pipe");
        } else if (offline_place_open(&dump.place, name, &typed)) {
            int index = offline_find_bucket(&dump.place, bucket);
            if (index >= 0 && offline_keeps_nothing(&dump.place, (uint32_t)index)) {
                offline_say(name, "bucket %s keeps nothing over the end of its node", bucket);
            } else if (index >= 0) {
                code = do_it(&dump, (uint32_t)index, output);
            }
        }
        offline_place_close(&dump.place);
    }
    offline_typed_done(&typed);
    return code;
}

static const char help[] =
    "The node must not run: its data folder is opened as yakumod does it, so what stands in the\n"
    "journal is in the dump too. The stream is described in yakumo-dump(5).\n";

const struct verb verb_dump = {name, "write a bucket's records as a stream", run, help};
