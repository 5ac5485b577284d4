/* Opening sockets to listen on. */
#include <config.h>

#include "core/io/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, SYSTEMD_FIRST_FD = 3, BIND_TRIES = 100, BIND_WAIT_US = 10000 };

socklen_t
yk_socket_address_of(const struct yk_address *address, union yk_socket_address *to)
{
    memset(to, 0, sizeof(*to));
    switch (address->kind) {
    case YK_ADDRESS_INET:
        to->inet.sin_family = AF_INET;
        to->inet.sin_port = htons(address->port);
        memcpy(&to->inet.sin_addr, address->bytes, 4);
        return sizeof(to->inet);
    case YK_ADDRESS_INET6:
        to->inet6.sin6_family = AF_INET6;
        to->inet6.sin6_port = htons(address->port);
        memcpy(&to->inet6.sin6_addr, address->bytes, 16);
        return sizeof(to->inet6);
    default:
        to->local.sun_family = AF_UNIX;
        snprintf(to->local.sun_path, sizeof(to->local.sun_path), "%s", address->path);
        return sizeof(to->local);
    }
}

static enum yk_err
fail(const struct yk_listener *listener, const char *what, char *error)
{
    int number = errno;
    snprintf(error, YK_ERROR_SIZE, "cannot %s %s: %s%s", what, listener->text, strerror(number),
             number == EADDRINUSE ? "; another process holds it (ss -ltnp shows which)" : "");
    return YK_EIO;
}

/* A process that was killed may keep its sockets for some time: the kernel ends its io_uring later.
 */
static bool
bind_in_time(int fd, const union yk_socket_address *to, socklen_t size)
{
    int result = bind(fd, &to->any, size);
    for (int i = 1; i < BIND_TRIES && result < 0 && errno == EADDRINUSE; i++) {
        usleep(BIND_WAIT_US);
        result = bind(fd, &to->any, size);
    }
    return result == 0;
}

/* One bound socket. reuse: several sockets may share the address. */
static enum yk_err
bind_socket(const struct yk_listener *listener, union yk_socket_address *to, socklen_t size,
            bool reuse, int *ret_fd, char *error)
{
    int on = 1;
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return fail(listener, "make a socket for", error);
    }
    if (to->any.sa_family != AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    if (to->any.sa_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (reuse) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (!bind_in_time(fd, to, size)) {
        enum yk_err result = fail(listener, "listen on", error);
        close(fd);
        return result;
    }
    *ret_fd = fd;
    return YK_OK;
}

uint16_t
yk_socket_address_print(const union yk_socket_address *address, char *text, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    uint16_t port = 0;
    if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->inet.sin_addr, ip, sizeof(ip));
        port = ntohs(address->inet.sin_port);
        snprintf(text, size, "%s:%u", ip, port);
    } else if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->inet6.sin6_addr, ip, sizeof(ip));
        port = ntohs(address->inet6.sin6_port);
        snprintf(text, size, "[%s]:%u", ip, port);
    } else {
        snprintf(text, size, "?");
    }
    return port;
}

/* Port 0 becomes the one that the system chose. */
static void
learn_port(struct yk_listener *listener, int fd, union yk_socket_address *to)
{
    socklen_t size = sizeof(*to);
    if (getsockname(fd, &to->any, &size) == 0) {
        listener->address.port =
            yk_socket_address_print(to, listener->text, sizeof(listener->text));
    }
}

/* SO_REUSEPORT hides that an address is in use: the first bind goes without it. */
static enum yk_err
open_inet(struct yk_listener *listener, uint32_t n_workers, char *error)
{
    union yk_socket_address to;
    socklen_t size = yk_socket_address_of(&listener->address, &to);
    int probe;
    enum yk_err result = bind_socket(listener, &to, size, false, &probe, error);
    if (result != YK_OK) {
        return result;
    }
    learn_port(listener, probe, &to);
    close(probe);
    for (; listener->n_fds < n_workers; listener->n_fds++) {
        int *fd = &listener->fds[listener->n_fds];
        result = bind_socket(listener, &to, size, true, fd, error);
        if (result != YK_OK) {
            return result;
        }
        if (listen(*fd, BACKLOG) < 0) {
            result = fail(listener, "listen on", error);
            close(*fd);
            return result;
        }
    }
    return YK_OK;
}

static void
share(struct yk_listener *listener, uint32_t n_workers, int fd)
{
    listener->is_shared = true;
    for (uint32_t i = 0; i < n_workers; i++) {
        listener->fds[i] = fd;
    }
    listener->n_fds = n_workers;
}

/* Does a process answer at the path? If not, what lies there is left over. */
static bool
is_served(const union yk_socket_address *to, socklen_t size)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_connected = fd >= 0 && connect(fd, &to->any, size) == 0;
    bool is_refused = !is_connected && errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return !is_refused;
}

static enum yk_err
open_unix(struct yk_listener *listener, uint32_t n_workers, char *error)
{
    union yk_socket_address to;
    struct stat status;
    socklen_t size = yk_socket_address_of(&listener->address, &to);
    int fd;
    if (lstat(listener->address.path, &status) == 0 && S_ISSOCK(status.st_mode) &&
        !is_served(&to, size)) {
        (void)unlink(listener->address.path);
    }
    mode_t mask = umask(0177);
    enum yk_err result = bind_socket(listener, &to, size, false, &fd, error);
    umask(mask);
    if (result != YK_OK) {
        return result;
    }
    if (chmod(listener->address.path, listener->address.mode) < 0 || listen(fd, BACKLOG) < 0) {
        result = fail(listener, "listen on", error);
        close(fd);
        return result;
    }
    share(listener, n_workers, fd);
    return YK_OK;
}

/* The descriptor that systemd passed under this name (sd_listen_fds(3)). */
static enum yk_err
open_systemd(struct yk_listener *listener, uint32_t n_workers, char *error)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    size_t name_size = strlen(listener->address.path);
    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != getpid()) {
        snprintf(error, YK_ERROR_SIZE, "%s: systemd has passed no sockets to this process",
                 listener->text);
        return YK_EINVALID;
    }
    for (int i = 0; i < atoi(count) && names != NULL; i++) {
        size_t size = strcspn(names, ":");
        if (size == name_size && memcmp(names, listener->address.path, size) == 0) {
            int fd = SYSTEMD_FIRST_FD + i;
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
            (void)fcntl(fd, F_SETFL, O_NONBLOCK);
            share(listener, n_workers, fd);
            return YK_OK;
        }
        names += size + (names[size] == ':' ? 1 : 0);
    }
    snprintf(error, YK_ERROR_SIZE, "%s: systemd has passed no socket of that name", listener->text);
    return YK_EINVALID;
}

enum yk_err
yk_listener_open(const char *address, uint32_t frontend, uint32_t n_workers,
                 struct yk_listener *ret_listener, char *error)
{
    struct yk_listener listener = {.frontend = frontend};
    enum yk_err result = yk_address_parse(address, &listener.address, error);
    if (result != YK_OK) {
        return result;
    }
    snprintf(listener.text, sizeof(listener.text), "%s", address);
    listener.fds = calloc(n_workers, sizeof(int));
    if (listener.fds == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    switch (listener.address.kind) {
    case YK_ADDRESS_UNIX:
        result = open_unix(&listener, n_workers, error);
        break;
    case YK_ADDRESS_SYSTEMD:
        result = open_systemd(&listener, n_workers, error);
        break;
    default:
        result = open_inet(&listener, n_workers, error);
        break;
    }
    if (result != YK_OK) {
        yk_listener_close(&listener);
        return result;
    }
    *ret_listener = listener;
    return YK_OK;
}

void
yk_listener_close(struct yk_listener *listener)
{
    uint32_t n = listener->is_shared && listener->n_fds > 0 ? 1 : listener->n_fds;
    if (listener->address.kind == YK_ADDRESS_UNIX && n > 0) {
        (void)unlink(listener->address.path);
    }
    for (uint32_t i = 0; i < n; i++) {
        close(listener->fds[i]);
    }
    free(listener->fds);
    listener->fds = NULL;
    listener->n_fds = 0;
}
