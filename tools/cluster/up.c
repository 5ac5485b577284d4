/* yakumo up FILE: all nodes of the file that are of this machine, as processes in the background,
 * and the cluster of them. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include "tools/cluster/client.h"
#include "tools/cluster/file.h"
#include "tools/cluster/work.h"

enum { POLL_MS = 100, TIMEOUT_S = 60, SHOWN_MAX = 5 };

struct up {
    struct cluster_file file;
    char *yakumod;            /* own: the program */
    pid_t pids[YK_NODES_MAX]; /* that were started here; 0: not by us */
    int64_t until_us;
};

/* In the build folder, where it was installed, beside an installed tool. */
static char *
find_yakumod(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self != NULL ? g_path_get_dirname(self) : g_strdup(".");
    char *const places[] = {g_build_filename(folder, "..", "core", "main", "yakumod", NULL),
                            g_build_filename(folder, "..", "sbin", "yakumod", NULL),
                            g_build_filename(folder, "yakumod", NULL),
                            g_find_program_in_path("yakumod")};
    char *found = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (found == NULL && places[i] != NULL && access(places[i], X_OK) == 0) {
            found = g_strdup(places[i]);
        }
        g_free(places[i]);
    }
    return found;
}

/* The child: a session of its own, so that it outlives the terminal. */
static void
become_node(const struct up *up, const struct yk_node_config *node, const char *log)
{
    int in = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (in < 0 || out < 0 || setsid() < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
        dup2(out, 2) < 0) {
        _exit(127);
    }
    execl(up->yakumod, "yakumod", "-c", up->file.path, "--node", node->name, (char *)NULL);
    fprintf(stderr, "yakumod: %s: %s\n", up->yakumod, strerror(errno));
    _exit(127);
}

static bool
start_node(struct up *up, uint32_t index)
{
    const struct yk_node_config *node = &up->file.config->nodes[index];
    g_autofree char *data = cluster_file_data(node);
    g_autofree char *log = cluster_file_log(node);
    pid_t pid = cluster_file_pid(node);
    if (pid != 0) {
        printf("node %s: runs already, pid %ld\n", node->name, (long)pid);
        return true;
    }
    if (g_mkdir_with_parents(data, 0750) < 0) {
        cluster_file_say(&up->file, "node %s: cannot make its data folder %s: %s", node->name, data,
                         strerror(errno));
        return false;
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        become_node(up, node, log);
    }
    if (pid < 0) {
        cluster_file_say(&up->file, "node %s: cannot start a process: %s", node->name,
                         strerror(errno));
        return false;
    }
    up->pids[index] = pid;
    printf("node %s: started, pid %ld, log %s\n", node->name, (long)pid, log);
    return true;
}

/* The last lines of a log, for whoever has to find out why. */
static void
show_end(const char *path)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return;
    }
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    guint n = g_strv_length(lines);
    for (guint i = n > SHOWN_MAX ? n - SHOWN_MAX : 0; i < n; i++) {
        fprintf(stderr, "    %s\n", lines[i]);
    }
}

/* False: a node that was started has ended. */
static bool
are_alive(const struct up *up)
{
    bool are_all = true;
    for (uint32_t i = 0; i < up->file.config->n_nodes; i++) {
        int status;
        if (up->pids[i] != 0 && waitpid(up->pids[i], &status, WNOHANG) == up->pids[i]) {
            const struct yk_node_config *node = &up->file.config->nodes[i];
            g_autofree char *log = cluster_file_log(node);
            cluster_file_say(&up->file, "node %s has ended; its log is %s:", node->name, log);
            show_end(log);
            are_all = false;
        }
    }
    return are_all;
}

/* Every node that was started answers; so what went wrong at its start is told as that. */
static bool
wait_for_nodes(struct up *up)
{
    struct yk_status *status = g_new0(struct yk_status, 1);
    bool is_good = true;
    for (uint32_t i = 0; is_good && i < up->file.config->n_nodes; i++) {
        const struct yk_node_config *node = &up->file.config->nodes[i];
        char error[YK_ERROR_SIZE];
        while (is_good && up->pids[i] != 0 &&
               client_status(node->address, status, error) != YK_OK) {
            is_good = are_alive(up);
            if (is_good && g_get_monotonic_time() > up->until_us) {
                g_autofree char *log = cluster_file_log(node);
                cluster_file_say(&up->file,
                                 "node %s does not answer (%s); its log is %s:", node->name, error,
                                 log);
                show_end(log);
                is_good = false;
            }
            g_usleep(POLL_MS * 1000);
        }
    }
    g_free(status);
    return is_good;
}

/* The slots that have no primary; UINT32_MAX: it is not known yet. */
static uint32_t
count_headless(const struct yk_status *status)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < status->n_buckets; i++) {
        if (status->buckets[i].slots == 0 || !status->is_ready) {
            return UINT32_MAX;
        }
        n += status->buckets[i].n_headless;
    }
    return n;
}

static bool
wait_until_serves(struct up *up)
{
    struct yk_status *status = g_new0(struct yk_status, 1);
    char error[YK_ERROR_SIZE];
    uint32_t n_headless = UINT32_MAX;
    bool is_terminal = isatty(STDOUT_FILENO) != 0;
    bool is_alive = true;
    while (n_headless > 0 && is_alive && g_get_monotonic_time() < up->until_us) {
        n_headless = cluster_ask(&up->file, status, error) ? count_headless(status) : UINT32_MAX;
        if (n_headless > 0) {
            if (is_terminal && n_headless < UINT32_MAX) {
                printf("\r%u slots without a primary  ", n_headless);
                fflush(stdout);
            }
            g_usleep(POLL_MS * 1000);
            is_alive = are_alive(up);
        }
    }
    printf(is_terminal ? "\r" : "");
    if (n_headless == 0) {
        printf("the cluster serves: every slot has a primary\n");
    } else if (is_alive && n_headless == UINT32_MAX) {
        cluster_file_say(&up->file,
                         "the cluster does not serve yet: no node is ready; see "
                         "'yakumo status %s' and the logs",
                         up->file.path);
    } else if (is_alive) {
        cluster_file_say(&up->file,
                         "the cluster does not serve yet: %u slots have no primary; see "
                         "'yakumo status %s' and the logs",
                         n_headless, up->file.path);
    }
    g_free(status);
    return n_headless == 0;
}

static bool
start_all(struct up *up)
{
    uint32_t n_here = 0;
    for (uint32_t i = 0; i < up->file.config->n_nodes; i++) {
        if (!cluster_file_is_here(&up->file.config->nodes[i])) {
            continue;
        }
        n_here++;
        if (!start_node(up, i)) {
            return false;
        }
    }
    if (n_here == 0) {
        cluster_file_say(&up->file, "no node of %s has an address of this machine", up->file.path);
    }
    return n_here > 0;
}

static enum exit_code
run(int argc, char **argv)
{
    int timeout_s = TIMEOUT_S;
    const GOptionEntry entries[] = {
        {"timeout", 't', 0, G_OPTION_ARG_INT, &timeout_s, "how long to wait (60)", "SECONDS"},
        {NULL}};
    static struct up up;
    if (!verb_options(&verb_up, entries, "FILE", 1, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (!cluster_file_open(&up.file, "up", argc > 1 ? argv[1] : NULL)) {
        return EXIT_FAILED;
    }
    up.until_us = g_get_monotonic_time() + (int64_t)timeout_s * 1000000;
    up.yakumod = find_yakumod();
    bool is_done = up.yakumod != NULL;
    if (!is_done) {
        cluster_file_say(&up.file, "yakumod is not found: install it, or put it on the PATH");
    }
    is_done = is_done && start_all(&up) && wait_for_nodes(&up) &&
              cluster_create(&up.file, false, up.until_us) && wait_until_serves(&up);
    g_free(up.yakumod);
    cluster_file_close(&up.file);
    return is_done ? EXIT_DONE : EXIT_FAILED;
}

const struct verb verb_up = {"up", "start the nodes of a config file on this machine", run,
                             "Starts each node whose address is one of this machine, in the "
                             "background, with its log in its\n"
                             "data folder; makes the cluster, if there is none; and waits until "
                             "every slot has a primary.\n"};
