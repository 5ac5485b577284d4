/* yakumo journal --accept-loss FILE: the operator gives up what cannot be read, and what follows.
 *
 * Nothing is deleted: later files are moved away, last one first, and FILE, after a link to it was
 * put beside them, is replaced by its readable beginning. So a crash in between leaves a journal
 * that is damaged in the same place, or repaired. Before that the lanes that have a journal get new
 * incarnations: they have forgotten something (PROTOCOL "R7"). */
#include <config.h>

#include "tools/offline/journal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/io/chain.h"
#include "core/io/datadir.h"
#include "core/start/keep.h"
#include "tools/offline/pages.h"
#include "tools/offline/place.h"

static const char name[] = "journal";

/* What is to be done. */
struct loss {
    const char *path;    /* FILE */
    char *folder, *data; /* of the file; DATA */
    struct yk_datadir datadir;
    bool has_datadir;
    uint8_t id[YK_JOURNAL_ID_SIZE];
    uint64_t number;          /* 0: a snapshot */
    uint64_t keeps;           /* bytes of the file that stay; 0: none of it */
    struct pages_counts lost; /* that could be read, and is given up */
    GArray *later;            /* numbers of the files that follow */
    char error[YK_ERROR_SIZE];
};

static enum exit_code refuse(const char *format, ...) YK_PRINTF(1, 2);

static enum exit_code
refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    offline_say(name, "%s", line);
    return EXIT_USAGE;
}

/* Looking */

static void
count_lost(struct loss *loss, const char *path, bool behind_only)
{
    struct yk_mapped mapped;
    struct yk_reader reader;
    struct pages pages = {.arg = NULL};
    char error[YK_ERROR_SIZE];
    if (yk_file_map(path, &mapped, error) == YK_OK) {
        if (yk_reader_open(mapped.bytes, NULL, &reader) == YK_OK) {
            pages_read(&pages, &reader);
            pages_add(&loss->lost, behind_only ? &pages.behind : &pages.counts);
        }
        yk_file_unmap(&mapped);
    }
}

/* Finds FILE in the chain: everything before it must be whole, and it must not. */
static enum exit_code
look_at_log(struct loss *loss)
{
    uint32_t n = UINT32_MAX; /* stays so where the folder cannot be read */
    struct yk_chain chain = {.id = loss->id};
    bool is_found = false;
    g_autofree uint64_t *numbers = yk_segments_list(loss->folder, &n, loss->error);
    if (numbers == NULL && n > 0) {
        return refuse("%s", loss->error);
    }
    for (uint32_t i = 0; numbers != NULL && i < n; i++) {
        char path[YK_SEGMENT_PATH_SIZE];
        struct yk_chain_file file;
        bool is_used;
        yk_segment_path(loss->folder, numbers[i], path);
        if (is_found) {
            g_array_append_val(loss->later, numbers[i]);
            count_lost(loss, path, false);
            continue;
        }
        enum yk_err result = yk_chain_read(&chain, path, numbers[i], &file, &is_used, loss->error);
        yk_file_unmap(&file.mapped);
        if (result != YK_OK && (result != YK_ECORRUPT || numbers[i] < loss->number)) {
            return refuse("it begins before that file: %s", loss->error);
        }
        if (numbers[i] == loss->number && result == YK_OK) {
            return refuse("%s is not damaged: there is nothing to be given up", loss->path);
        }
        is_found = numbers[i] == loss->number;
        loss->keeps = is_found && is_used ? file.end : 0;
        if (is_used) {
            yk_chain_add(&chain, &file);
        } else {
            yk_chain_skip(&chain, numbers[i]);
        }
    }
    if (!is_found) {
        return refuse("there is no such file: %s", loss->path);
    }
    count_lost(loss, loss->path, loss->keeps > 0);
    return EXIT_DONE;
}

static enum exit_code
look_at_snapshot(struct loss *loss)
{
    struct yk_mapped mapped;
    struct yk_reader reader;
    struct pages pages = {.arg = NULL};
    if (yk_file_map(loss->path, &mapped, loss->error) != YK_OK) {
        return refuse("%s", loss->error);
    }
    enum yk_err result = yk_reader_open(mapped.bytes, loss->id, &reader);
    if (result == YK_OK) {
        pages_read(&pages, &reader);
        loss->keeps = pages.counts.batches > pages.behind.batches ? pages.end : 0;
        loss->lost = pages.behind;
    }
    yk_file_unmap(&mapped);
    if (result == YK_OK && pages.n_holes == 0 && pages.is_whole) {
        return refuse("%s is not damaged: there is nothing to be given up", loss->path);
    }
    return EXIT_DONE;
}

/* DATA of the file, which may be DATA/journal/N.log or DATA/BUCKET/lane-N.snapshot. */
static enum exit_code
open_place(struct loss *loss)
{
    bool is_damaged;
    g_autofree char *absolute = g_canonicalize_filename(loss->path, NULL);
    loss->folder = g_path_get_dirname(absolute);
    loss->data = g_path_get_dirname(loss->folder);
    loss->number = journal_number(loss->path);
    if (!g_file_test(loss->path, G_FILE_TEST_IS_REGULAR)) {
        return refuse("%s is no file; give the one that yakumod names", loss->path);
    }
    if (loss->number == 0 && !g_str_has_suffix(loss->path, ".snapshot")) {
        return refuse("%s is neither a file of the journal nor a snapshot", loss->path);
    }
    if (yk_datadir_look(loss->data, &loss->datadir, &is_damaged, loss->error) != YK_OK) {
        return refuse("%s", loss->error);
    }
    loss->has_datadir = true;
    yk_keep_id(&loss->datadir, loss->id);
    return loss->number > 0 ? look_at_log(loss) : look_at_snapshot(loss);
}

/* Asking */

static void
tell(const struct loss *loss)
{
    struct stat status;
    bool is_there = stat(loss->path, &status) == 0;
    printf("%s: its first %" G_GUINT64_FORMAT " bytes stay, and the rest of its %" G_GUINT64_FORMAT
           " bytes is given up; so are %u files that follow.\n",
           loss->path, loss->keeps, is_there ? (uint64_t)status.st_size : 0, loss->later->len);
    printf("Of what is given up %" G_GUINT64_FORMAT " batches with %" G_GUINT64_FORMAT
           " entries could still be read: writes that were answered. What cannot be read comes to "
           "that.\n",
           loss->lost.batches, loss->lost.entries);
}

static bool
ask(void)
{
    char line[16] = "";
    if (!isatty(STDIN_FILENO)) {
        offline_say(name, "nobody is here to ask: add --yes if that loss is accepted");
        return false;
    }
    printf("Accept the loss? Type yes: ");
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) != NULL && strcmp(g_strstrip(line), "yes") == 0;
}

/* Doing */

static char *
make_lost_folder(const struct loss *loss, char *error)
{
    g_autofree char *journal = g_build_filename(loss->data, "journal", NULL);
    for (uint32_t i = 1; i < 100000; i++) {
        g_autofree char *path = g_strdup_printf("%s/lost-%u", journal, i);
        if (mkdir(path, 0750) == 0) {
            return yk_file_sync_folder(journal, error) == YK_OK ? g_steal_pointer(&path) : NULL;
        }
        if (errno != EEXIST) {
            (void)yk_file_fail("make the folder", path, error);
            return NULL;
        }
    }
    snprintf(error, YK_ERROR_SIZE, "there are too many folders lost-N in %.300s", journal);
    return NULL;
}

static enum yk_err
move_to(const char *lost, const char *path, bool by_link, char *error)
{
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *to = g_build_filename(lost, base, NULL);
    int result = by_link ? link(path, to) : rename(path, to);
    return result < 0 ? yk_file_fail("move away", path, error) : YK_OK;
}

/* The readable beginning, as long as the file was for a segment, with its end for a snapshot. */
static enum yk_err
write_beginning(const struct loss *loss, char *error)
{
    struct yk_mapped mapped;
    struct yk_reader reader;
    g_autofree char *base = g_path_get_basename(loss->path);
    enum yk_err result = yk_file_map(loss->path, &mapped, error);
    if (result != YK_OK) {
        return result;
    }
    uint64_t size =
        loss->number > 0 ? mapped.bytes.size : loss->keeps + (uint64_t)YK_BATCH_HEAD_SIZE;
    g_autofree uint8_t *bytes = g_try_malloc0(size);
    result = bytes == NULL ? YK_ENOMEM : yk_reader_open(mapped.bytes, NULL, &reader);
    if (result == YK_OK) {
        memcpy(bytes, mapped.bytes.data, loss->keeps);
        if (loss->number == 0) {
            struct yk_batch end = {.position = reader.head.start + loss->keeps,
                                   .size = YK_BATCH_HEAD_SIZE};
            yk_batch_seal(bytes + loss->keeps, &end, reader.head.salt);
        }
        result = yk_file_replace(loss->folder, base, yk_slice_of(bytes, size), error);
    } else {
        snprintf(error, YK_ERROR_SIZE, "%.300s: %s", loss->path, yk_err_text(result));
    }
    yk_file_unmap(&mapped);
    return result;
}

static enum yk_err
replace_file(const struct loss *loss, const char *lost, char *error)
{
    if (loss->number > 0 && loss->keeps == 0) {
        return move_to(lost, loss->path, false, error);
    }
    enum yk_err result = move_to(lost, loss->path, true, error);
    if (result != YK_OK) {
        return result;
    }
    if (loss->keeps > 0) {
        return write_beginning(loss, error);
    }
    g_autofree char *bucket = g_path_get_basename(loss->folder);
    return yk_snapshot_make_empty(loss->path, loss->id, bucket, error);
}

/* Which of them had a journal the folder does not say; where nothing was lost it does no harm. */
static enum yk_err
renew_lanes(struct loss *loss, char *error)
{
    g_autofree char *bucket = loss->number > 0 ? NULL : g_path_get_basename(loss->folder);
    g_autofree uint32_t *lanes = g_new0(uint32_t, loss->datadir.lanes);
    enum yk_err result = YK_OK;
    for (uint32_t i = 0; i < loss->datadir.lanes; i++) {
        lanes[i] = i;
    }
    for (uint32_t i = 0; result == YK_OK && i < loss->datadir.n_buckets; i++) {
        if (bucket == NULL || strcmp(bucket, loss->datadir.buckets[i]) == 0) {
            result = yk_datadir_renew_lanes(&loss->datadir, i, lanes, loss->datadir.lanes, error);
        }
    }
    return result;
}

static enum yk_err
give_up(struct loss *loss, const char *lost, char *error)
{
    enum yk_err result = renew_lanes(loss, error);
    for (uint32_t i = loss->later->len; result == YK_OK && i-- > 0;) {
        char path[YK_SEGMENT_PATH_SIZE];
        yk_segment_path(loss->folder, g_array_index(loss->later, uint64_t, i), path);
        result = move_to(lost, path, false, error);
    }
    if (result == YK_OK) {
        result = yk_file_sync_folder(lost, error);
    }
    if (result == YK_OK) {
        result = replace_file(loss, lost, error);
    }
    if (result == YK_OK) {
        result = yk_file_sync_folder(lost, error);
    }
    return result == YK_OK ? yk_file_sync_folder(loss->folder, error) : result;
}

static enum exit_code
do_it(struct loss *loss)
{
    char error[YK_ERROR_SIZE];
    g_autofree char *lost = make_lost_folder(loss, error);
    if (lost == NULL || give_up(loss, lost, error) != YK_OK) {
        offline_say(name, "%s", error);
        return EXIT_FAILED;
    }
    printf("The loss is accepted; what was set aside is in %s. The node can be started.\n", lost);
    return EXIT_DONE;
}

enum exit_code
journal_accept_loss(const char *path, bool agreed)
{
    struct loss loss = {.path = path, .later = g_array_new(FALSE, FALSE, sizeof(uint64_t))};
    enum exit_code code = open_place(&loss);
    if (code == EXIT_DONE) {
        tell(&loss);
        code = agreed || ask() ? do_it(&loss) : EXIT_USAGE;
    }
    if (loss.has_datadir) {
        yk_datadir_close(&loss.datadir, false);
    }
    g_array_free(loss.later, TRUE);
    g_free(loss.folder);
    g_free(loss.data);
    return code;
}
