/* The file, and the traces that nodes leave in their data folders. */
#include <config.h>

#include "tools/cluster/file.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/io/listen.h"

static const char log_name[] = "yakumod.log";

void
cluster_file_say(const struct cluster_file *file, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    fprintf(stderr, "yakumo %s: %s\n", file->verb, line);
}

bool
cluster_file_open(struct cluster_file *file, const char *verb, const char *path)
{
    char error[YK_ERROR_SIZE];
    *file = (struct cluster_file){.verb = verb, .path = path};
    if (path == NULL) {
        cluster_file_say(file, "say which config file names the nodes; try --help");
        return false;
    }
    struct yk_start_options options = {.file = path, .takes_any = true};
    file->plugins = yk_plugins_new(NULL);
    if (yk_start_read_config(&options, file->plugins, &file->config, error) != YK_OK) {
        cluster_file_say(file, "%s", error);
        cluster_file_close(file);
        return false;
    }
    if (file->config->n_nodes < 2) {
        cluster_file_say(file,
                         "%s names one node: that one is its own cluster; start it with "
                         "yakumod -c %s",
                         path, path);
        cluster_file_close(file);
        return false;
    }
    return true;
}

void
cluster_file_close(struct cluster_file *file)
{
    yk_config_free(file->config);
    yk_plugins_free(file->plugins);
    *file = (struct cluster_file){.verb = NULL};
}

char *
cluster_file_data(const struct yk_node_config *node)
{
    const struct yk_config config = {.node = *node};
    return yk_start_data_path(&config);
}

char *
cluster_file_log(const struct yk_node_config *node)
{
    g_autofree char *data = cluster_file_data(node);
    return g_build_filename(data, log_name, NULL);
}

bool
cluster_file_is_here(const struct yk_node_config *node)
{
    struct yk_address address;
    union yk_socket_address to;
    char error[YK_ERROR_SIZE];
    if (yk_address_parse(node->address, &address, error) != YK_OK) {
        return false;
    }
    address.port = 0; /* only a machine that has the address can bind to it */
    socklen_t size = yk_socket_address_of(&address, &to);
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_here = fd >= 0 && bind(fd, &to.any, size) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is_here;
}

pid_t
cluster_file_pid(const struct yk_node_config *node)
{
    g_autofree char *data = cluster_file_data(node);
    g_autofree char *path = g_build_filename(data, "lock", NULL);
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    /* The node holds the lock while it runs; what an earlier one has written there says nothing. */
    bool is_held = flock(fd, LOCK_SH | LOCK_NB) < 0;
    ssize_t size = is_held ? pread(fd, text, sizeof(text) - 1, 0) : 0;
    close(fd);
    long pid = size > 0 ? strtol(text, NULL, 10) : 0;
    return pid > 1 ? (pid_t)pid : 0;
}
