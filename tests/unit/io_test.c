/* What meets the world and can be tested without a network: mail between threads, executors, the
 * data folder, the registers, the note to systemd. */
#include <config.h>

#include "core/io/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "core/base/hash.h"
#include "core/base/random.h"
#include "core/io/executor.h"
#include "core/io/mailbox.h"
#include "core/io/registers.h"
#include "core/io/system.h"
#include "core/replica/job.h"

/* -- Mail. -- */

enum { N_MAIL = 1000000, N_OPS = 500 };

struct post {
    struct yk_mailbox forth, back;
    struct yk_op ops[N_OPS];
};

/* Takes what waits, checks that it comes in order, sends it back in chains of another length. */
static gpointer
receive_mail(gpointer arg)
{
    struct post *post = arg;
    uint64_t n = 0;
    while (n < N_MAIL) {
        struct yk_op *op = yk_mailbox_take(&post->forth);
        struct yk_op *chain = NULL;
        if (op == NULL) {
            g_thread_yield();
        }
        while (op != NULL) {
            struct yk_op *next = op->next;
            if (op->hash != n++) {
                return NULL;
            }
            op->next = chain;
            chain = op;
            if (n % 7 == 0) {
                yk_mailbox_put(&post->back, chain);
                chain = NULL;
            }
            op = next;
        }
        if (chain != NULL) {
            yk_mailbox_put(&post->back, chain);
        }
    }
    return post;
}

static void
test_mailbox(void)
{
    struct post *post = g_new0(struct post, 1);
    struct yk_random random = {3};
    struct yk_op *idle = NULL;
    uint64_t n = 0, n_idle = N_OPS;
    g_assert_null(yk_mailbox_take(&post->forth));
    for (int i = 0; i < N_OPS; i++) {
        post->ops[i].next = idle;
        idle = &post->ops[i];
    }
    GThread *thread = g_thread_new("receiver", receive_mail, post);
    while (n < N_MAIL) {
        struct yk_op_queue chain = {NULL, NULL, 0};
        uint64_t length = 1 + yk_random_below(&random, 5);
        for (; idle != NULL && chain.n < length && n < N_MAIL; n++, n_idle--) {
            struct yk_op *op = idle;
            idle = op->next;
            op->hash = n;
            yk_op_queue_push(&chain, op);
        }
        if (chain.first != NULL) {
            yk_mailbox_put(&post->forth, chain.first);
        } else {
            g_thread_yield();
        }
        struct yk_op *op = yk_mailbox_take(&post->back);
        while (op != NULL) {
            struct yk_op *next = op->next;
            op->next = idle;
            idle = op;
            op = next;
            n_idle++;
        }
    }
    g_assert_nonnull(g_thread_join(thread)); /* all came, in order */
    for (struct yk_op *op = yk_mailbox_take(&post->back); op != NULL; op = op->next) {
        n_idle++;
    }
    g_assert_cmpuint(n_idle, ==, N_OPS);
    g_assert_null(yk_mailbox_take(&post->forth));
    g_free(post);
}

/* -- Jobs. -- */

enum { N_JOBS = 200, N_ROUNDS = 50, N_THREADS = 4 };

static struct yk_job_box box;

static void
job_is_done(void *arg, struct yk_job *job)
{
    g_assert_cmpint(job->step, ==, JOB_END);
    yk_job_box_put(&box, job);
}

/* Every job is run, once for each time it is submitted, by whichever thread. */
static void
test_executor(void)
{
    struct yk_executor *executor;
    struct yk_job *jobs = g_new0(struct yk_job, N_JOBS);
    uint32_t n_done[N_JOBS] = {0}, n_out = 0, n_all = 0;
    g_assert_cmpint(yk_job_box_init(&box, N_JOBS), ==, YK_OK);
    g_assert_true(yk_job_box_is_empty(&box));
    g_assert_cmpint(yk_executor_new(N_THREADS, N_JOBS, job_is_done, NULL, &executor), ==, YK_OK);
    for (int i = 0; i < N_JOBS; i++) {
        yk_job_init(&jobs[i], NULL, NULL);
        yk_executor_submit(executor, &jobs[i]);
        n_out++;
    }
    gint64 until = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
    while (n_out > 0 && g_get_monotonic_time() < until) {
        struct yk_job *job = yk_job_box_take(&box);
        if (job == NULL) {
            g_usleep(10);
            continue;
        }
        n_all++;
        if (++n_done[job - jobs] < N_ROUNDS) {
            yk_job_reset(job, 0);
            yk_executor_submit(executor, job);
        } else {
            n_out--;
        }
    }
    g_assert_cmpuint(n_all, ==, N_JOBS * N_ROUNDS);
    g_assert_true(yk_job_box_is_empty(&box));
    yk_executor_free(executor);
    yk_job_box_done(&box);
    g_free(jobs);
}

static void
test_executor_idle(void)
{
    for (int i = 0; i < 50; i++) {
        struct yk_executor *executor;
        g_assert_cmpint(yk_executor_new(3, 1, job_is_done, NULL, &executor), ==, YK_OK);
        yk_executor_free(executor);
    }
    yk_executor_free(NULL);
}

/* -- The data folder. -- */

static const struct yk_datadir_bucket kept = {
    "main", 256, "lmdb", "stats, delay", false, YK_DURABILITY_DISK, NULL, 0};
static const struct yk_datadir_bucket forgotten = {
    "cache", 64, "memory", "", true, YK_DURABILITY_MEMORY, NULL, 0};

struct folder {
    char *parent, *path, *file;
    char error[YK_ERROR_SIZE];
};

static void
folder_init(struct folder *folder)
{
    folder->parent = g_dir_make_tmp("yakumo-io-XXXXXX", NULL);
    folder->path = g_build_filename(folder->parent, "a", "data", NULL);
    folder->file = g_build_filename(folder->path, "node", NULL);
    folder->error[0] = '\0';
}

static void
remove_all(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        remove_all(child);
    }
    if (dir != NULL) {
        g_dir_close(dir);
    }
    g_remove(path);
}

static void
folder_done(struct folder *folder)
{
    remove_all(folder->parent);
    g_free(folder->parent);
    g_free(folder->path);
    g_free(folder->file);
}

static enum yk_err
open_lanes(struct folder *folder, uint32_t lanes, struct yk_datadir *ret_datadir)
{
    const struct yk_datadir_bucket buckets[] = {kept, forgotten};
    return yk_datadir_open(folder->path, lanes, buckets, 2, ret_datadir, folder->error);
}

/* Opens it once more and closes it at once. */
static enum yk_err
try_buckets(struct folder *folder, const struct yk_datadir_bucket *buckets, uint32_t n)
{
    struct yk_datadir datadir;
    enum yk_err result = yk_datadir_open(folder->path, 8, buckets, n, &datadir, folder->error);
    if (result == YK_OK) {
        yk_datadir_close(&datadir, true);
    }
    return result;
}

static void
test_datadir(void)
{
    struct folder folder;
    struct yk_datadir datadir, second;
    char node_id[37], cluster_id[37];
    folder_init(&folder);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_cmpuint(datadir.boots, ==, 1);
    g_assert_cmpuint(datadir.epoch, ==, 1);
    g_assert_false(datadir.was_clean);
    g_assert_cmpuint(strlen(datadir.node_id), ==, 36);
    g_assert_cmpstr(datadir.node_id, !=, datadir.cluster_id);
    g_assert_cmpint(open_lanes(&folder, 8, &second), ==, YK_EINVALID); /* it is locked */
    g_autofree char *pid = g_strdup_printf("(pid %ld)", (long)getpid());
    g_assert_nonnull(strstr(folder.error, pid));
    memcpy(node_id, datadir.node_id, sizeof(node_id));
    memcpy(cluster_id, datadir.cluster_id, sizeof(cluster_id));
    yk_datadir_close(&datadir, true);
    for (uint64_t boots = 2; boots < 6; boots++) {
        g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
        g_assert_cmpuint(datadir.boots, ==, boots);
        g_assert_cmpuint(datadir.epoch, ==, boots);
        g_assert_true(datadir.was_clean == (boots % 2 == 0));
        g_assert_cmpstr(datadir.node_id, ==, node_id);
        g_assert_cmpstr(datadir.cluster_id, ==, cluster_id);
        yk_datadir_close(&datadir, boots % 2 == 1);
    }
    g_assert_cmpint(open_lanes(&folder, 7, &datadir), ==, YK_EINVALID);
    g_assert_nonnull(strstr(folder.error, "lanes = 8, and the config says lanes = 7"));
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_cmpuint(datadir.epoch, ==, 6); /* what was refused has left no trace */
    yk_datadir_close(&datadir, false);
    folder_done(&folder);
}

static void
test_datadir_buckets(void)
{
    struct folder folder;
    struct yk_datadir_bucket buckets[] = {kept, forgotten};
    folder_init(&folder);
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_OK);
    buckets[0].engine = "bdb";
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_EINVALID);
    g_assert_nonnull(strstr(folder.error, "bucket main is stored by lmdb"));
    buckets[0] = kept;
    buckets[0].filters = "stats";
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_EINVALID);
    buckets[0] = kept;
    buckets[0].slots = 512;
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_EINVALID);
    buckets[0] = kept;
    buckets[1].slots = 128; /* keeps nothing: may change */
    buckets[1].engine = "other";
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_OK);
    buckets[1].is_volatile = false;
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_OK);
    buckets[1].slots = 64; /* now it keeps something */
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_EINVALID);
    g_assert_cmpint(try_buckets(&folder, buckets, 1), ==, YK_OK); /* one that is not used now */
    g_assert_cmpint(try_buckets(&folder, buckets, 2), ==, YK_EINVALID);
    folder_done(&folder);
}

static void
test_datadir_foreign(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_assert_cmpint(g_mkdir_with_parents(folder.path, 0700), ==, 0);
    g_autofree char *file = g_build_filename(folder.path, "precious", NULL);
    g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_EINVALID);
    g_assert_nonnull(strstr(folder.error, "precious"));
    g_assert_false(g_file_test(folder.file, G_FILE_TEST_EXISTS));
    g_remove(file);
    g_autofree char *torn = g_build_filename(folder.path, "node.new", NULL);
    g_assert_true(g_file_set_contents(torn, "[no", 3, NULL)); /* of a start that was cut off */
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_false(g_file_test(torn, G_FILE_TEST_EXISTS));
    yk_datadir_close(&datadir, true);
    folder_done(&folder);
}

static void
write_with_checksum(const struct folder *folder, const char *state)
{
    g_autofree char *text = g_strdup_printf("%s# checksum = %016llx\n", state,
                                            (unsigned long long)yk_hash(yk_slice_of_text(state)));
    g_assert_true(g_file_set_contents(folder->file, text, -1, NULL));
}

/* Puts `to` in the place of `from` in the state, with a checksum that fits. */
static void
replace_in_state(const struct folder *folder, const char *state, const char *from, const char *to)
{
    g_auto(GStrv) parts = g_strsplit(state, from, 2);
    g_assert_cmpuint(g_strv_length(parts), ==, 2);
    g_autofree char *changed = g_strjoinv(to, parts);
    write_with_checksum(folder, changed);
}

static void
test_datadir_versions(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_autofree char *state = g_strdup(datadir.state);
    yk_datadir_close(&datadir, false);
    replace_in_state(&folder, state, "format=2", "format=3");
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_EINVALID);
    g_assert_nonnull(strstr(folder.error, "format 3"));
    replace_in_state(&folder, state, "format=2", "norm=2");
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_EINVALID);
    replace_in_state(&folder, state, "\nid=", "\nid=x");
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_EINVALID);
    replace_in_state(&folder, state, "epoch=1", "epoch=16777215");
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_EINVALID);
    g_assert_nonnull(strstr(folder.error, "used up"));
    replace_in_state(&folder, state, "epoch=1", "epoch=16777214");
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_cmpuint(datadir.epoch, ==, 16777215);
    yk_datadir_close(&datadir, false);
    replace_in_state(&folder, state, "epoch=1\n", "later=2\nepoch=1\n"); /* kept, not understood */
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_nonnull(strstr(datadir.state, "later=2"));
    yk_datadir_close(&datadir, false);
    folder_done(&folder);
}

/* Refused, or of the same meaning. */
static void
check_damaged(struct folder *folder, const char *text, size_t size, const struct yk_datadir *whole)
{
    struct yk_datadir datadir;
    int fd = open(folder->file, O_WRONLY | O_TRUNC | O_CREAT, 0600);
    g_assert_cmpint(write(fd, text, size), ==, (ssize_t)size);
    close(fd);
    enum yk_err result = open_lanes(folder, 8, &datadir);
    if (result != YK_OK) {
        g_assert_nonnull(strstr(folder->error, "damaged"));
        return;
    }
    g_assert_cmpuint(datadir.epoch, ==, whole->epoch + 1);
    g_assert_cmpstr(datadir.node_id, ==, whole->node_id);
    g_assert_cmpstr(datadir.cluster_id, ==, whole->cluster_id);
    yk_datadir_close(&datadir, false);
}

static void
test_datadir_damaged(void)
{
    static const uint8_t masks[] = {0x01, 0x20, 0x80};
    struct folder folder;
    struct yk_datadir whole;
    g_autofree char *text = NULL;
    gsize size;
    folder_init(&folder);
    g_assert_cmpint(open_lanes(&folder, 8, &whole), ==, YK_OK);
    g_assert_true(g_file_get_contents(folder.file, &text, &size, NULL));
    close(whole.lock_fd);
    whole.lock_fd = -1;
    for (gsize i = 0; i < size; i++) {
        for (size_t k = 0; k <= G_N_ELEMENTS(masks); k++) {
            uint8_t mask = k < G_N_ELEMENTS(masks) ? masks[k] : (uint8_t)text[i]; /* a NUL */
            text[i] = (char)((uint8_t)text[i] ^ mask);
            check_damaged(&folder, text, size, &whole);
            text[i] = (char)((uint8_t)text[i] ^ mask);
        }
    }
    for (gsize i = 0; i < size; i++) {
        check_damaged(&folder, text, i, &whole);
    }
    check_damaged(&folder, text, size, &whole);
    yk_datadir_close(&whole, false);
    folder_done(&folder);
}

/* A folder as the first version of yakumo left it, after 41 starts. */
static void
test_datadir_format_1(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_assert_cmpint(g_mkdir_with_parents(folder.path, 0700), ==, 0);
    write_with_checksum(&folder, "[bucket main]\nslots=256\nengine=lmdb\nfilters=stats, delay\n"
                                 "volatile=false\nincarnations=1;1;1;1;1;1;1;1\n\n"
                                 "[bucket cache]\nslots=64\nengine=memory\nfilters=\n"
                                 "volatile=true\nincarnations=41;41;41;41;41;41;41;41\n\n"
                                 "[node]\nformat=1\nid=01234567-89ab-4def-8123-456789abcdef\n"
                                 "cluster=11234567-89ab-4def-8123-456789abcdef\nlanes=8\n"
                                 "boots=41\nepoch=41\nboot_id=x\nclean=true\n");
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_cmpuint(datadir.epoch, ==, 42);
    g_assert_cmpstr(datadir.cluster_id, ==, "11234567-89ab-4def-8123-456789abcdef");
    g_assert_cmpuint(datadir.incarnations[0][7], ==, 1);
    g_assert_cmpuint(datadir.incarnations[1][7], ==, 42);
    g_assert_nonnull(strstr(datadir.state, "format=2"));
    yk_datadir_close(&datadir, true);
    folder_done(&folder);
}

/* Opens it with one bucket of that durability; as if under another boot of the kernel, if asked
 * for. Returns the incarnation of lane 3. */
static uint32_t
incarnation_at(struct folder *folder, enum yk_durability durability, bool is_clean,
               bool is_other_boot)
{
    struct yk_datadir_bucket bucket = kept;
    struct yk_datadir datadir;
    bucket.durability = durability;
    g_assert_cmpint(yk_datadir_open(folder->path, 8, &bucket, 1, &datadir, folder->error), ==,
                    YK_OK);
    uint32_t incarnation = datadir.incarnations[0][3];
    yk_datadir_close(&datadir, is_clean);
    if (is_other_boot) {
        g_autofree char *text = NULL;
        g_assert_true(g_file_get_contents(folder->file, &text, NULL, NULL));
        *strstr(text, "# checksum") = '\0';
        replace_in_state(folder, text, "boot_id=", "boot_id=x");
    }
    return incarnation;
}

static void
test_datadir_incarnations(void)
{
    static const struct {
        enum yk_durability durability;
        bool is_clean, is_other_boot, renews;
    } cases[] = {
        {YK_DURABILITY_MEMORY, true, false, true}, {YK_DURABILITY_MEMORY, false, true, true},
        {YK_DURABILITY_OS, true, false, false},    {YK_DURABILITY_OS, false, false, false},
        {YK_DURABILITY_OS, true, true, false},     {YK_DURABILITY_OS, false, true, true},
        {YK_DURABILITY_DISK, false, false, false}, {YK_DURABILITY_DISK, false, true, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct folder folder;
        folder_init(&folder);
        uint32_t first =
            incarnation_at(&folder, cases[i].durability, cases[i].is_clean, cases[i].is_other_boot);
        uint32_t second = incarnation_at(&folder, cases[i].durability, true, false);
        g_assert_cmpuint(first, ==, 1);
        g_assert_cmpuint(second, ==, cases[i].renews ? 2 : 1);
        folder_done(&folder);
    }
}

static void
test_datadir_same_boot(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_false(datadir.same_boot);
    uint64_t nonce = datadir.nonce;
    yk_datadir_close(&datadir, true);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_true(datadir.same_boot);
    g_assert_cmpuint(datadir.nonce, !=, nonce);
    g_assert_cmpuint(datadir.nonce, !=, 0);
    g_autofree char *state = g_strdup(datadir.state);
    yk_datadir_close(&datadir, true);
    replace_in_state(&folder, state, "boot_id=", "boot_id=x");
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_false(datadir.same_boot);
    yk_datadir_close(&datadir, true);
    folder_done(&folder);
}

/* A loss of power is not forgotten because a start after it failed. */
static void
test_datadir_failed_start(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_autofree char *state = g_strdup(datadir.state);
    yk_datadir_close(&datadir, false);
    replace_in_state(&folder, state, "boot_id=", "boot_id=x");
    for (int i = 0; i < 4; i++) {
        g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
        g_assert_true(datadir.same_boot == (i == 3));
        g_assert_false(datadir.was_clean);
        if (i == 2) {
            g_assert_cmpint(yk_datadir_recovered(&datadir, folder.error), ==, YK_OK);
        }
        yk_datadir_close(&datadir, false);
    }
    folder_done(&folder);
}

/* Single lanes, and the epoch, while the node runs. */
static void
test_datadir_renewed(void)
{
    static const uint32_t lanes[] = {2, 5};
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_cmpint(yk_datadir_renew_lanes(&datadir, 0, lanes, 2, folder.error), ==, YK_OK);
    g_assert_cmpuint(datadir.incarnations[0][5], ==, 2);
    g_assert_cmpint(yk_datadir_raise_epoch(&datadir, 30, folder.error), ==, YK_OK);
    g_assert_cmpint(yk_datadir_raise_epoch(&datadir, 20, folder.error), ==, YK_OK);
    yk_datadir_close(&datadir, false);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    g_assert_cmpuint(datadir.epoch, ==, 31);
    for (uint32_t i = 0; i < 8; i++) {
        g_assert_cmpuint(datadir.incarnations[0][i], ==, i == 2 || i == 5 ? 2 : 1);
        g_assert_cmpuint(datadir.incarnations[1][i], ==, 3);
    }
    yk_datadir_close(&datadir, false);
    folder_done(&folder);
}

static void
test_datadir_options(void)
{
    struct folder folder;
    struct yk_datadir_option options[] = {{"lmdb.page", "4K"}, {"lmdb.new", "1"}};
    struct yk_datadir_bucket bucket = kept;
    folder_init(&folder);
    bucket.options = options;
    bucket.n_options = 1;
    g_assert_cmpint(try_buckets(&folder, &bucket, 1), ==, YK_OK);
    bucket.n_options = 2; /* one that the plugin did not have before */
    g_assert_cmpint(try_buckets(&folder, &bucket, 1), ==, YK_OK);
    options[0].text = "8K";
    g_assert_cmpint(try_buckets(&folder, &bucket, 1), ==, YK_EINVALID);
    g_assert_nonnull(strstr(folder.error, "was made with lmdb.page = 4K, and the config says 8K"));
    options[0].text = "4K";
    options[1].text = "2";
    g_assert_cmpint(try_buckets(&folder, &bucket, 1), ==, YK_EINVALID);
    bucket.is_volatile = true; /* recorded as one that keeps what it has */
    g_assert_cmpint(try_buckets(&folder, &bucket, 1), ==, YK_EINVALID);
    folder_done(&folder);
}

/* -- Registers, with the coordinator `local`. -- */

extern const struct yk_plugin local_LTX_yk_plugin;

/* With all options at their defaults; they outlive the registers. */
static const struct yk_settings *
coordinator_settings(const struct yk_plugin *plugin)
{
    static struct yk_settings *settings;
    yk_settings_free(settings);
    settings = yk_settings_new(plugin, plugin->name);
    g_assert_nonnull(settings);
    return settings;
}

static enum yk_err
open_registers(struct folder *folder, struct yk_registers **ret_registers)
{
    static struct yk_system system;
    yk_system_init(&system, YK_LOG_ERROR);
    g_assert_cmpint(g_mkdir_with_parents(folder->path, 0700), ==, 0);
    return yk_registers_open(&system.world, coordinator_settings(&local_LTX_yk_plugin),
                             folder->path, NULL, ret_registers, folder->error);
}

static void
assert_register(struct folder *folder, struct yk_registers *registers, const char *name,
                uint64_t revision, const char *text)
{
    g_autofree void *bytes = NULL;
    size_t size;
    uint64_t got;
    g_assert_cmpint(yk_registers_read(registers, name, &bytes, &size, &got, folder->error), ==,
                    YK_OK);
    g_assert_cmpuint(got, ==, revision);
    g_assert_cmpmem(bytes, size, text, strlen(text));
}

static void
test_registers(void)
{
    struct folder folder;
    struct yk_registers *registers;
    folder_init(&folder);
    g_assert_cmpint(open_registers(&folder, &registers), ==, YK_OK);
    assert_register(&folder, registers, "cluster", 0, "");
    for (uint64_t i = 0; i < 3; i++) {
        g_assert_cmpint(
            yk_registers_write(registers, "cluster", yk_slice_of_text("one"), i, folder.error), ==,
            YK_OK);
        assert_register(&folder, registers, "cluster", i + 1, "one");
    }
    g_assert_cmpint(
        yk_registers_write(registers, "cluster", yk_slice_of_text("two"), 1, folder.error), ==,
        YK_EEXISTS);
    g_assert_cmpint(
        yk_registers_write(registers, "bucket.a-b_c", yk_slice_of_text(""), 0, folder.error), ==,
        YK_OK);
    g_assert_cmpint(yk_registers_write(registers, "../x", yk_slice_of_text(""), 0, folder.error),
                    ==, YK_EIO);
    g_assert_nonnull(strstr(folder.error, "no name"));
    yk_registers_close(registers);
    g_assert_cmpint(open_registers(&folder, &registers), ==, YK_OK);
    assert_register(&folder, registers, "cluster", 3, "one");
    assert_register(&folder, registers, "bucket.a-b_c", 1, "");
    yk_registers_close(registers);
    yk_registers_close(NULL);
    folder_done(&folder);
}

static const char *ready_error; /* NULL: it is ready */
static uint32_t n_ready;
static const struct yk_host *ready_host;

static enum yk_err
ready_create(const struct yk_host *host, void **ret_self)
{
    const struct yk_coordinator_ops *local = local_LTX_yk_plugin.ops;
    ready_host = host;
    return local->life.create(host, ret_self);
}

static enum yk_err
ready(void *self)
{
    n_ready++;
    if (ready_error != NULL) {
        ready_host->error(ready_host, "%s", ready_error);
        return YK_EINVALID;
    }
    return YK_OK;
}

/* A coordinator that looks at all its entries may refuse them. */
static void
test_registers_ready(void)
{
    struct folder folder;
    struct yk_registers *registers;
    struct yk_plugin plugin = local_LTX_yk_plugin;
    struct yk_coordinator_ops ops = *(const struct yk_coordinator_ops *)plugin.ops;
    static struct yk_system system;
    yk_system_init(&system, YK_LOG_ERROR);
    ops.life.create = ready_create;
    ops.ready = ready;
    plugin.ops = &ops;
    folder_init(&folder);
    g_assert_cmpint(g_mkdir_with_parents(folder.path, 0700), ==, 0);
    g_assert_cmpint(yk_registers_open(&system.world, coordinator_settings(&plugin), folder.path,
                                      NULL, &registers, folder.error),
                    ==, YK_OK);
    g_assert_cmpuint(n_ready, ==, 1);
    assert_register(&folder, registers, "cluster", 0, "");
    yk_registers_close(registers);
    ready_error = "they are of somebody else";
    g_assert_cmpint(yk_registers_open(&system.world, coordinator_settings(&plugin), folder.path,
                                      NULL, &registers, folder.error),
                    ==, YK_EINVALID);
    g_assert_cmpstr(folder.error, ==, ready_error);
    folder_done(&folder);
}

/* Whatever bit or length changes: the file is named, and nothing of it is used. */
static void
test_registers_damaged(void)
{
    struct folder folder;
    struct yk_registers *registers;
    g_autofree char *text = NULL;
    gsize size;
    folder_init(&folder);
    g_autofree char *file = g_build_filename(folder.path, "registers", "cluster", NULL);
    g_assert_cmpint(open_registers(&folder, &registers), ==, YK_OK);
    g_assert_cmpint(
        yk_registers_write(registers, "cluster", yk_slice_of_text("one"), 0, folder.error), ==,
        YK_OK);
    yk_registers_close(registers);
    g_assert_true(g_file_get_contents(file, &text, &size, NULL));
    for (gsize i = 0; i < size * 9; i++) {
        gsize cut = i < size * 8 ? size : i - size * 8;
        text[i / 8 % size] ^= (char)(i < size * 8 ? 1 << i % 8 : 0);
        g_assert_true(g_file_set_contents(file, text, (gssize)cut, NULL));
        text[i / 8 % size] ^= (char)(i < size * 8 ? 1 << i % 8 : 0);
        g_assert_cmpint(open_registers(&folder, &registers), ==, YK_ECORRUPT);
        g_assert_nonnull(strstr(folder.error, file));
    }
    g_assert_true(g_file_set_contents(file, text, (gssize)size, NULL));
    g_autofree char *torn = g_strconcat(file, ".new", NULL); /* of a write that was cut off */
    g_assert_true(g_file_set_contents(torn, text, 5, NULL));
    g_assert_cmpint(open_registers(&folder, &registers), ==, YK_OK);
    assert_register(&folder, registers, "cluster", 1, "one");
    yk_registers_close(registers);
    folder_done(&folder);
}

/* The device fails: the caller hears of it, and the register says nothing any more. */
static void
test_registers_no_folder(void)
{
    struct folder folder;
    struct yk_registers *registers;
    g_autofree void *bytes = NULL;
    size_t size;
    uint64_t revision;
    folder_init(&folder);
    g_assert_cmpint(open_registers(&folder, &registers), ==, YK_OK);
    g_autofree char *path = g_build_filename(folder.path, "registers", NULL);
    remove_all(path);
    g_assert_cmpint(
        yk_registers_write(registers, "cluster", yk_slice_of_text("one"), 0, folder.error), ==,
        YK_EIO);
    g_assert_nonnull(strstr(folder.error, "No such file"));
    g_assert_cmpint(yk_registers_read(registers, "cluster", &bytes, &size, &revision, folder.error),
                    ==, YK_EIO);
    yk_registers_close(registers);
    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    g_assert_cmpint(open_registers(&folder, &registers), ==, YK_EIO);
    folder_done(&folder);
}

static void
test_datadir_lane_folder(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    for (int i = 0; i < 2; i++) { /* made, and there already */
        g_autofree char *lane = yk_datadir_lane_folder(&datadir, "main", 7, folder.error);
        g_autofree char *wanted = g_build_filename(folder.path, "main", "lane-007", NULL);
        g_assert_cmpstr(lane, ==, wanted);
        g_assert_true(g_file_test(lane, G_FILE_TEST_IS_DIR));
    }
    g_autofree char *blocked = g_build_filename(folder.path, "other", NULL);
    g_assert_true(g_file_set_contents(blocked, "x", 1, NULL));
    g_assert_null(yk_datadir_lane_folder(&datadir, "other", 0, folder.error));
    g_assert_nonnull(strstr(folder.error, "lane-000"));
    yk_datadir_close(&datadir, true);
    folder_done(&folder);
}

/* As somebody who may not write there; root becomes one for a while. */
static void
test_datadir_read_only(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    uid_t user = geteuid();
    folder_init(&folder);
    g_assert_cmpint(g_mkdir_with_parents(folder.path, 0755), ==, 0);
    g_autofree char *middle = g_path_get_dirname(folder.path);
    g_assert_cmpint(chmod(folder.parent, 0755) + chmod(middle, 0755), ==, 0);
    g_assert_cmpint(chmod(folder.path, 0555), ==, 0);
    if (user != 0 || seteuid(65534) == 0) { /* in some containers there is nobody else */
        g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_EIO);
        g_assert_nonnull(strstr(folder.error, "ermission"));
    }
    g_assert_cmpint(seteuid(user), ==, 0);
    g_assert_cmpint(chmod(folder.path, 0755), ==, 0);
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_OK);
    yk_datadir_close(&datadir, true);
    folder_done(&folder);
}

static void
test_datadir_not_a_folder(void)
{
    struct folder folder;
    struct yk_datadir datadir;
    folder_init(&folder);
    g_autofree char *file = g_build_filename(folder.parent, "a", NULL);
    g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    g_assert_cmpint(open_lanes(&folder, 8, &datadir), ==, YK_EIO);
    g_assert_nonnull(strstr(folder.error, folder.path));
    folder_done(&folder);
}

/* -- systemd. -- */

static int
listen_at(const char *path, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {5, 0};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    memcpy(address.sun_path, path, size);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
                    ==, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void
assert_notified(int fd, const char *state)
{
    char text[100] = "";
    yk_system_notify(state);
    g_assert_cmpint(recv(fd, text, sizeof(text) - 1, 0), ==, (ssize_t)strlen(state));
    g_assert_cmpstr(text, ==, state);
    close(fd);
}

static void
test_notify(void)
{
    struct folder folder;
    folder_init(&folder);
    g_autofree char *path = g_build_filename(folder.parent, "notify", NULL);
    setenv("NOTIFY_SOCKET", path, 1);
    yk_system_notify("READY=1"); /* nobody there */
    assert_notified(listen_at(path, strlen(path)), "READY=1");
    g_autofree char *name = g_strdup_printf("@yakumo-io-test-%ld", (long)getpid());
    g_autofree char *abstract = g_strdup(name);
    abstract[0] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    assert_notified(listen_at(abstract, strlen(name)), "STOPPING=1");
    for (size_t size = 100; size < 120; size++) {
        g_autofree char *too_long = g_strnfill(size, 'x');
        setenv("NOTIFY_SOCKET", too_long, 1);
        yk_system_notify("READY=1");
    }
    setenv("NOTIFY_SOCKET", "", 1);
    yk_system_notify("READY=1");
    unsetenv("NOTIFY_SOCKET");
    yk_system_notify("READY=1");
    folder_done(&folder);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/io/mailbox", test_mailbox);
    g_test_add_func("/io/executor/all", test_executor);
    g_test_add_func("/io/executor/idle", test_executor_idle);
    g_test_add_func("/io/datadir/life", test_datadir);
    g_test_add_func("/io/datadir/buckets", test_datadir_buckets);
    g_test_add_func("/io/datadir/foreign", test_datadir_foreign);
    g_test_add_func("/io/datadir/versions", test_datadir_versions);
    g_test_add_func("/io/datadir/damaged", test_datadir_damaged);
    g_test_add_func("/io/datadir/lane-folder", test_datadir_lane_folder);
    g_test_add_func("/io/datadir/read-only", test_datadir_read_only);
    g_test_add_func("/io/datadir/not-a-folder", test_datadir_not_a_folder);
    g_test_add_func("/io/datadir/format-1", test_datadir_format_1);
    g_test_add_func("/io/datadir/incarnations", test_datadir_incarnations);
    g_test_add_func("/io/datadir/same-boot", test_datadir_same_boot);
    g_test_add_func("/io/datadir/failed-start", test_datadir_failed_start);
    g_test_add_func("/io/datadir/renewed", test_datadir_renewed);
    g_test_add_func("/io/datadir/options", test_datadir_options);
    g_test_add_func("/io/registers/life", test_registers);
    g_test_add_func("/io/registers/ready", test_registers_ready);
    g_test_add_func("/io/registers/damaged", test_registers_damaged);
    g_test_add_func("/io/registers/no-folder", test_registers_no_folder);
    g_test_add_func("/io/notify", test_notify);
    return g_test_run();
}
