/* Listening sockets: TCP with a socket for each worker, Unix sockets, sockets from systemd.
 *
 * Threads: the main thread's. Ownership: a yk_listener owns its descriptors, and the path of a Unix
 * socket. */
#ifndef YK_IO_LISTEN_H
#define YK_IO_LISTEN_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/config/config.h"

union yk_socket_address {
    struct sockaddr any;
    struct sockaddr_in inet;
    struct sockaddr_in6 inet6;
    struct sockaddr_un local;
};

struct yk_listener {
    struct yk_address address;
    char text[160];    /* as people write it, with the real port */
    uint32_t frontend; /* index in the config */
    uint32_t n_fds;    /* one for each worker; shared ones are the same fd */
    bool is_shared;
    int *fds;
};

/* Opens one listener for n_workers. On failure error (YK_ERROR_SIZE bytes) names the address and
 * the reason. A Unix socket's path that is left over from a dead process is taken over. */
enum yk_err yk_listener_open(const char *address, uint32_t frontend, uint32_t n_workers,
                             struct yk_listener *ret_listener, char *error) YK_MUST_CHECK;
void yk_listener_close(struct yk_listener *listener);

/* What the system calls take; not for SYSTEMD. Returns its size. */
socklen_t yk_socket_address_of(const struct yk_address *address, union yk_socket_address *to);
/* As people write it, "?" where it is none of the internet; returns the port. */
uint16_t yk_socket_address_print(const union yk_socket_address *address, char *text, size_t size);

#endif
