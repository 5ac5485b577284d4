/* The loop by epoll, level-triggered. Each wait takes at most as many events as there are receive
 * buffers, so that all bytes of a turn stay where they are until it has been worked off. */
#include <config.h>

#include "core/io/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/base/limits.h"

enum {
    BUFFERS = 64,
    BUFFER_SIZE = 16 * 1024,
    ACCEPTS_MAX = 64, /* of one listener in a wait */
    SLICES_MAX = 64,
    REST_MS = 100
};

struct listener {
    int fd;
    uint32_t index;
};

struct yk_loop {
    struct yk_loop_handler handler;
    int epoll_fd, wake_fd;
    struct listener listeners[YK_LISTENERS_MAX];
    uint32_t n_listeners;
    bool is_listening;
    uint64_t rest_until_ms; /* 0: not resting */
    uint32_t n_buffers_used;
    uint8_t *buffers;
};

static uint64_t
clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

enum yk_err
yk_loop_open(const struct yk_loop_handler *handler, struct yk_loop **ret_loop)
{
    struct yk_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return YK_ENOMEM;
    }
    loop->handler = *handler;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->buffers = malloc((size_t)BUFFERS * BUFFER_SIZE);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = loop}};
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 || loop->buffers == NULL ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0) {
        yk_loop_close(loop);
        return YK_EIO;
    }
    *ret_loop = loop;
    return YK_OK;
}

void
yk_loop_close(struct yk_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    free(loop->buffers);
    free(loop);
}

const char *
yk_loop_engine(const struct yk_loop *loop)
{
    (void)loop;
    return "epoll";
}

enum yk_err
yk_loop_add_listener(struct yk_loop *loop, int fd, uint32_t listener)
{
    YK_ASSERT(loop->n_listeners < YK_LISTENERS_MAX && !loop->is_listening);
    loop->listeners[loop->n_listeners++] = (struct listener){fd, listener};
    return YK_OK;
}

void
yk_loop_listen(struct yk_loop *loop, bool is_on)
{
    if (loop->is_listening == is_on) {
        return;
    }
    loop->is_listening = is_on;
    for (uint32_t i = 0; i < loop->n_listeners; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data = {.ptr = &loop->listeners[i]}};
        (void)epoll_ctl(loop->epoll_fd, is_on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                        loop->listeners[i].fd, &event);
    }
}

static void
set_interest(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    uint32_t interest = (conn->wants_read ? (uint32_t)(EPOLLIN | EPOLLRDHUP) : 0) |
                        (conn->waits_to_send ? (uint32_t)EPOLLOUT : 0);
    if (interest == conn->interest) {
        return;
    }
    struct epoll_event event = {.events = interest, .data = {.ptr = conn}};
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
    YK_ASSERT(result == 0);
    conn->interest = interest;
}

enum yk_err
yk_loop_add(struct yk_loop *loop, struct yk_loop_conn *conn, int fd)
{
    *conn = (struct yk_loop_conn){.fd = fd, .interest = EPOLLIN | EPOLLRDHUP, .wants_read = true};
    struct epoll_event event = {.events = conn->interest, .data = {.ptr = conn}};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? YK_OK : YK_ENOMEM;
}

void
yk_loop_remove(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
}

void
yk_loop_read(struct yk_loop *loop, struct yk_loop_conn *conn, bool is_on)
{
    conn->wants_read = is_on;
    set_interest(loop, conn);
}

void
yk_loop_send(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices,
             size_t n)
{
    struct iovec vectors[SLICES_MAX];
    size_t n_vectors = n < SLICES_MAX ? n : SLICES_MAX;
    YK_ASSERT(!conn->waits_to_send);
    for (size_t i = 0; i < n_vectors; i++) {
        vectors[i] = (struct iovec){(void *)(uintptr_t)slices[i].data, slices[i].size};
    }
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = n_vectors};
    ssize_t size = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size >= 0) {
        loop->handler.sent(loop->handler.arg, conn, (size_t)size, 0);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        conn->waits_to_send = true;
        set_interest(loop, conn);
    } else {
        loop->handler.sent(loop->handler.arg, conn, 0, errno);
    }
}

static void
accept_all(struct yk_loop *loop, const struct listener *listener)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            loop->handler.accepted(loop->handler.arg, listener->index, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            loop->handler.accept_failed(loop->handler.arg, listener->index, errno);
            yk_loop_listen(loop, false);
            loop->rest_until_ms = clock_ms() + REST_MS;
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static void
receive(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    uint8_t *room;
    size_t size;
    loop->handler.room(loop->handler.arg, conn, &room, &size);
    if (size == 0) {
        YK_ASSERT(loop->n_buffers_used < BUFFERS);
        room = loop->buffers + (size_t)loop->n_buffers_used++ * BUFFER_SIZE;
        size = BUFFER_SIZE;
    }
    ssize_t got = recv(conn->fd, room, size, MSG_DONTWAIT);
    if (got >= 0) {
        loop->handler.received(loop->handler.arg, conn, room, (size_t)got, 0);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        loop->handler.received(loop->handler.arg, conn, NULL, 0, errno);
    }
}

static bool
is_listener(const struct yk_loop *loop, const void *pointer)
{
    return (const struct listener *)pointer >= loop->listeners &&
           (const struct listener *)pointer < loop->listeners + YK_LISTENERS_MAX;
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
    if (conn->waits_to_send && (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        conn->waits_to_send = false;
        set_interest(loop, conn);
        loop->handler.sent(loop->handler.arg, conn, 0, 0);
    }
    if ((event->events & (EPOLLIN | EPOLLRDHUP)) != 0 && conn->wants_read) {
        receive(loop, conn);
    } else if ((event->events & (EPOLLERR | EPOLLHUP)) != 0) {
        loop->handler.received(loop->handler.arg, conn, NULL, 0, ECONNRESET);
    }
}

/* Listens again when the rest is over; returns how long to wait at most. */
static int
end_rest(struct yk_loop *loop, int timeout_ms)
{
    if (loop->rest_until_ms == 0) {
        return timeout_ms;
    }
    uint64_t now_ms = clock_ms();
    if (now_ms >= loop->rest_until_ms) {
        loop->rest_until_ms = 0;
        yk_loop_listen(loop, true);
        return timeout_ms;
    }
    int rest_ms = (int)(loop->rest_until_ms - now_ms);
    return timeout_ms < 0 || timeout_ms > rest_ms ? rest_ms : timeout_ms;
}

void
yk_loop_wait(struct yk_loop *loop, int timeout_ms)
{
    struct epoll_event events[BUFFERS];
    loop->n_buffers_used = 0;
    int n = epoll_wait(loop->epoll_fd, events, BUFFERS, end_rest(loop, timeout_ms));
    for (int i = 0; i < n; i++) {
        handle(loop, &events[i]);
    }
}

void
yk_loop_wake(struct yk_loop *loop)
{
    uint64_t one = 1;
    ssize_t size = write(loop->wake_fd, &one, sizeof(one));
    (void)size;
}
