/* yakumo down FILE: ends the nodes of the file that run on this machine. */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <glib.h>

#include "tools/cluster/file.h"

enum { POLL_MS = 50, TIMEOUT_S = 30 };

/* False: it is still there. */
static bool
wait_for_end(const struct yk_node_config *node, pid_t pid, int64_t until_us)
{
    while (cluster_file_pid(node) == pid) {
        if (g_get_monotonic_time() > until_us) {
            return false;
        }
        g_usleep(POLL_MS * 1000);
    }
    return true;
}

static bool
end_node(const struct cluster_file *file, const struct yk_node_config *node, pid_t pid,
         int timeout_s)
{
    g_autofree char *log = cluster_file_log(node);
    int64_t until_us = g_get_monotonic_time() + (int64_t)timeout_s * 1000000;
    if (wait_for_end(node, pid, until_us)) {
        printf("node %s: stopped\n", node->name);
        return true;
    }
    cluster_file_say(file,
                     "node %s (pid %ld) has not stopped in %d seconds: it is killed; what it "
                     "acknowledged is in its journal, or with the other copies. Its log is %s",
                     node->name, (long)pid, timeout_s, log);
    if (kill(pid, SIGKILL) < 0 && errno != ESRCH) {
        cluster_file_say(file, "node %s (pid %ld): cannot be killed: %s", node->name, (long)pid,
                         strerror(errno));
        return false;
    }
    return wait_for_end(node, pid, until_us + (int64_t)timeout_s * 1000000);
}

static bool
end_all(const struct cluster_file *file, int timeout_s)
{
    pid_t pids[YK_NODES_MAX];
    bool is_done = true;
    const struct yk_config *config = file->config;
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        const struct yk_node_config *node = &config->nodes[i];
        pids[i] = cluster_file_is_here(node) ? cluster_file_pid(node) : 0;
        if (pids[i] != 0 && kill(pids[i], SIGTERM) < 0) {
            cluster_file_say(file, "node %s (pid %ld): cannot be told to stop: %s", node->name,
                             (long)pids[i], strerror(errno));
            pids[i] = 0;
            is_done = false;
        }
    }
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        if (pids[i] != 0) {
            is_done = end_node(file, &config->nodes[i], pids[i], timeout_s) && is_done;
        }
    }
    return is_done;
}

static enum exit_code
run(int argc, char **argv)
{
    int timeout_s = TIMEOUT_S;
    const GOptionEntry entries[] = {{"timeout", 't', 0, G_OPTION_ARG_INT, &timeout_s,
                                     "how long a node may take to stop before it is killed (30)",
                                     "SECONDS"},
                                    {NULL}};
    struct cluster_file file;
    if (!verb_options(&verb_down, entries, "FILE", 1, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (!cluster_file_open(&file, "down", argc > 1 ? argv[1] : NULL)) {
        return EXIT_FAILED;
    }
    bool is_done = end_all(&file, timeout_s);
    cluster_file_close(&file);
    return is_done ? EXIT_DONE : EXIT_FAILED;
}

const struct verb verb_down = {"down", "stop the nodes of a config file on this machine", run,
                               "Tells each to stop, all at once, and waits for them. One that does "
                               "not stop in time is killed,\n"
                               "and that is said.\n"};
