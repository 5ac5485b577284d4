/* yakumo cluster create FILE: makes the registers of a new cluster. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include <glib.h>

#include "tools/cluster/client.h"
#include "tools/cluster/file.h"
#include "tools/cluster/work.h"

enum { POLL_MS = 200, TIMEOUT_S = 60 };

/* Asks each manager in turn; false: none could say, and error is the last one's. */
static bool
ask_managers(const struct cluster_file *file, bool is_now, uint32_t *ret_state, char *text,
             char *error)
{
    const struct yk_config *config = file->config;
    snprintf(error, YK_ERROR_SIZE, "no node of %s is a manager", file->path);
    for (uint32_t i = 0; i < config->n_nodes; i++) {
        if ((config->nodes[i].roles & YK_ROLE_MANAGER) != 0 &&
            client_create(config->nodes[i].address, is_now, ret_state, text, error) == YK_OK) {
            return true;
        }
    }
    return false;
}

bool
cluster_create(const struct cluster_file *file, bool is_now, int64_t until_us)
{
    char text[YK_ERROR_SIZE] = "";
    char said[YK_ERROR_SIZE] = "";
    char error[YK_ERROR_SIZE];
    for (;;) {
        uint32_t state = 1;
        bool is_answered = ask_managers(file, is_now, &state, text, error);
        if (is_answered && state == 0) {
            return true;
        }
        if (is_answered && state == 2) {
            cluster_file_say(file, "the nodes that run do not go by this file: those that it calls "
                                   "managers are none");
            return false;
        }
        const char *why = is_answered ? text : error;
        if (strcmp(why, said) != 0) {
            g_strlcpy(said, why, sizeof(said));
            printf("%s\n", why);
            fflush(stdout);
        }
        if (g_get_monotonic_time() > until_us) {
            cluster_file_say(file, "there is no cluster yet: %s", why);
            return false;
        }
        g_usleep(POLL_MS * 1000);
    }
}

static enum exit_code
run(int argc, char **argv)
{
    gboolean is_now = FALSE;
    int timeout_s = TIMEOUT_S;
    const GOptionEntry entries[] = {
        {"now", 0, 0, G_OPTION_ARG_NONE, &is_now, "without waiting for servers that are not there",
         NULL},
        {"timeout", 't', 0, G_OPTION_ARG_INT, &timeout_s, "how long to wait (60)", "SECONDS"},
        {NULL}};
    struct cluster_file file;
    if (!verb_options(&verb_cluster, entries, "create FILE", 2, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (argc < 3 || strcmp(argv[1], "create") != 0) {
        fprintf(stderr, "yakumo cluster: write 'yakumo cluster create FILE'; try --help\n");
        return EXIT_USAGE;
    }
    if (!cluster_file_open(&file, "cluster create", argv[2])) {
        return EXIT_FAILED;
    }
    bool is_done =
        cluster_create(&file, is_now, g_get_monotonic_time() + (int64_t)timeout_s * 1000000);
    if (is_done) {
        printf("the cluster is there\n");
    }
    cluster_file_close(&file);
    return is_done ? EXIT_DONE : EXIT_FAILED;
}

const struct verb verb_cluster = {
    "cluster", "make the cluster of a config file (cluster create FILE)", run,
    "The nodes must run; their managers write the registers of the cluster once. Where there are\n"
    "some already, only those of new buckets are made.\n"};
