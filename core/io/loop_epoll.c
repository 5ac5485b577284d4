/* The loop by epoll, level-triggered. Each wait takes at most as many events as there are receive
 * buffers, so that all bytes of a turn stay where they are until it has been worked off. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/io/loop_engine.h"

enum {
    BUFFERS = 64,
    BUFFER_SIZE = 16 * 1024,
    ACCEPTS_MAX = 64, /* of one listener in a wait */
    SLICES_MAX = 64
};

struct epoll_loop {
    struct yk_loop loop; /* first */
    int epoll_fd;
    uint32_t n_buffers_used;
    uint8_t *buffers;
};

static struct epoll_loop *
own(struct yk_loop *loop)
{
    return (struct epoll_loop *)loop;
}

static void
loop_close(struct yk_loop *loop)
{
    if (own(loop)->epoll_fd >= 0) {
        close(own(loop)->epoll_fd);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    free(own(loop)->buffers);
    free(loop);
}

static void
loop_listen(struct yk_loop *loop, struct yk_loop_listener *listener)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data = {.ptr = listener}};
    (void)epoll_ctl(own(loop)->epoll_fd, listener->is_on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                    listener->fd, &event);
}

static void
set_interest(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    uint32_t interest = (conn->wants_read ? (uint32_t)(EPOLLIN | EPOLLRDHUP) : 0) |
                        (conn->is_sending || conn->is_connecting ? (uint32_t)EPOLLOUT : 0);
    if (interest == conn->interest) {
        return;
    }
    struct epoll_event event = {.events = interest, .data = {.ptr = conn}};
    int result = epoll_ctl(own(loop)->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
    YK_ASSERT(result == 0);
    conn->interest = interest;
}

static enum yk_err
loop_add(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    conn->interest = EPOLLIN | EPOLLRDHUP;
    struct epoll_event event = {.events = conn->interest, .data = {.ptr = conn}};
    return epoll_ctl(own(loop)->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) == 0 ? YK_OK : YK_ENOMEM;
}

/* The descriptor stays O_NONBLOCK: this engine never waits in a call. */
static enum yk_err
loop_connect(struct yk_loop *loop, struct yk_loop_conn *conn, const struct sockaddr *address,
             socklen_t size)
{
    struct epoll_event event = {.events = EPOLLOUT, .data = {.ptr = conn}};
    (void)fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    if (connect(conn->fd, address, size) < 0 && errno != EINPROGRESS) {
        conn->connect_error = errno;
    }
    conn->interest = EPOLLOUT;
    return epoll_ctl(own(loop)->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) == 0 ? YK_OK : YK_ENOMEM;
}

static void
loop_remove(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    (void)epoll_ctl(own(loop)->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
}

static void
loop_read(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    set_interest(loop, conn);
}

static ssize_t
send_now(struct yk_loop_conn *conn, const struct yk_slice *slices, size_t n)
{
    struct iovec vectors[SLICES_MAX];
    if (n == 1) {
        return send(conn->fd, slices->data, slices->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    size_t n_vectors = n < SLICES_MAX ? n : SLICES_MAX;
    for (size_t i = 0; i < n_vectors; i++) {
        vectors[i] = (struct iovec){(void *)(uintptr_t)slices[i].data, slices[i].size};
    }
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = n_vectors};
    return sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
loop_send(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices, size_t n)
{
    ssize_t size = send_now(conn, slices, n);
    if (size >= 0) {
        conn->handler->sent(conn->handler->arg, conn, (size_t)size, 0);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        conn->is_sending = true;
        set_interest(loop, conn);
    } else {
        conn->handler->sent(conn->handler->arg, conn, 0, errno);
    }
}

static void
accept_all(struct yk_loop *loop, const struct yk_loop_listener *listener)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->handler->accepted(listener->handler->arg, listener->index, fd);
        } else if (yk_loop_rest(loop, listener, errno)) {
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static void
receive(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    const struct yk_loop_handler *handler = conn->handler;
    uint8_t *room;
    size_t size;
    handler->room(handler->arg, conn, &room, &size);
    if (size == 0) {
        YK_ASSERT(own(loop)->n_buffers_used < BUFFERS);
        room = own(loop)->buffers + (size_t)own(loop)->n_buffers_used++ * BUFFER_SIZE;
        size = BUFFER_SIZE;
    }
    ssize_t got = recv(conn->fd, room, size, MSG_DONTWAIT);
    if (got >= 0) {
        handler->received(handler->arg, conn, room, (size_t)got, 0);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        handler->received(handler->arg, conn, NULL, 0, errno);
    }
}

static void
end_connect(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    int error = conn->connect_error;
    socklen_t size = sizeof(error);
    if (error == 0) {
        (void)getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    conn->is_connecting = false;
    conn->wants_read = error == 0;
    set_interest(loop, conn);
    conn->handler->connected(conn->handler->arg, conn, error);
}

static bool
is_listener(const struct yk_loop *loop, const void *pointer)
{
    return (const struct yk_loop_listener *)pointer >= loop->listeners &&
           (const struct yk_loop_listener *)pointer < loop->listeners + YK_LOOP_LISTENERS_MAX;
}

static void
handle(struct yk_loop *loop, const struct epoll_event *event)
{
    if (event->data.ptr == loop) {
        uint64_t count;
        ssize_t size = read(loop->wake_fd, &count, sizeof(count));
        (void)size;
        return;
    }
    if (is_listener(loop, event->data.ptr)) {
        accept_all(loop, event->data.ptr);
        return;
    }
    struct yk_loop_conn *conn = event->data.ptr;
    if (conn->is_connecting) {
        end_connect(loop, conn);
        return;
    }
    if (conn->is_sending && (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        conn->is_sending = false;
        set_interest(loop, conn);
        conn->handler->sent(conn->handler->arg, conn, 0, 0);
    }
    if ((event->events & (EPOLLIN | EPOLLRDHUP)) != 0 && conn->wants_read) {
        receive(loop, conn);
    } else if ((event->events & (EPOLLERR | EPOLLHUP)) != 0) {
        conn->handler->received(conn->handler->arg, conn, NULL, 0, ECONNRESET);
    }
}

static void
loop_wait(struct yk_loop *loop, int timeout_ms)
{
    struct epoll_event events[BUFFERS];
    own(loop)->n_buffers_used = 0;
    int n = epoll_wait(own(loop)->epoll_fd, events, BUFFERS, timeout_ms);
    for (int i = 0; i < n; i++) {
        handle(loop, &events[i]);
    }
}

static const struct yk_loop_engine engine = {.name = "epoll",
                                             .close = loop_close,
                                             .listen = loop_listen,
                                             .add = loop_add,
                                             .remove = loop_remove,
                                             .read = loop_read,
                                             .send = loop_send,
                                             .connect = loop_connect,
                                             .wait = loop_wait};

struct yk_loop *
yk_loop_open_epoll(void)
{
    struct epoll_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return NULL;
    }
    loop->loop.engine = &engine;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->loop.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->buffers = malloc((size_t)BUFFERS * BUFFER_SIZE);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = loop}};
    if (loop->epoll_fd < 0 || loop->loop.wake_fd < 0 || loop->buffers == NULL ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->loop.wake_fd, &event) < 0) {
        return yk_loop_give_up(&loop->loop);
    }
    return &loop->loop;
}
