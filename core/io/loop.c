/* The loop's choice of an engine, and what they have in common. */
#include <config.h>

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/io/loop_engine.h"

enum { REST_MS = 100 };

static uint64_t
clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Nothing but a real set-up tells whether io_uring may be used here: containers forbid it in their
 * own ways. */
enum yk_err
yk_loop_open(enum yk_io_engine engine, const struct yk_loop_handler *handler,
             struct yk_loop **ret_loop)
{
    struct yk_loop *loop = NULL;
    if (engine != YK_IO_EPOLL) {
        loop = yk_loop_open_uring();
    }
    if (loop == NULL && engine != YK_IO_URING) {
        loop = yk_loop_open_epoll();
    }
    if (loop == NULL) {
        return errno == ENOMEM ? YK_ENOMEM : YK_EIO;
    }
    loop->handler = *handler;
    *ret_loop = loop;
    return YK_OK;
}

struct yk_loop *
yk_loop_give_up(struct yk_loop *loop)
{
    int error = errno;
    loop->engine->close(loop);
    errno = error;
    return NULL;
}

void
yk_loop_close(struct yk_loop *loop)
{
    if (loop != NULL) {
        loop->engine->close(loop);
    }
}

void
yk_loop_start(struct yk_loop *loop)
{
    if (loop->engine->start != NULL) {
        loop->engine->start(loop);
    }
}

const char *
yk_loop_engine(const struct yk_loop *loop)
{
    return loop->engine->name;
}

void
yk_loop_add_listener_for(struct yk_loop *loop, const struct yk_loop_handler *handler, int fd,
                         uint32_t listener)
{
    YK_ASSERT(loop->n_listeners < YK_LOOP_LISTENERS_MAX);
    loop->listeners[loop->n_listeners++] =
        (struct yk_loop_listener){.fd = fd, .index = listener, .handler = handler};
}

void
yk_loop_add_listener(struct yk_loop *loop, int fd, uint32_t listener)
{
    yk_loop_add_listener_for(loop, &loop->handler, fd, listener);
}

static void
set_listeners(struct yk_loop *loop)
{
    for (uint32_t i = 0; i < loop->n_listeners; i++) {
        struct yk_loop_listener *listener = &loop->listeners[i];
        bool is_on = listener->is_wanted && loop->rest_until_ms == 0;
        if (listener->is_on != is_on) {
            listener->is_on = is_on;
            loop->engine->listen(loop, listener);
        }
    }
}

void
yk_loop_listen_for(struct yk_loop *loop, const struct yk_loop_handler *handler, bool is_on)
{
    for (uint32_t i = 0; i < loop->n_listeners; i++) {
        if (loop->listeners[i].handler == handler) {
            loop->listeners[i].is_wanted = is_on;
        }
    }
    set_listeners(loop);
}

void
yk_loop_listen(struct yk_loop *loop, bool is_on)
{
    yk_loop_listen_for(loop, &loop->handler, is_on);
}

bool
yk_loop_rest(struct yk_loop *loop, const struct yk_loop_listener *listener, int error)
{
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) {
        return false;
    }
    listener->handler->accept_failed(listener->handler->arg, listener->index, error);
    loop->rest_until_ms = clock_ms() + REST_MS;
    set_listeners(loop);
    return true;
}

enum yk_err
yk_loop_add_for(struct yk_loop *loop, const struct yk_loop_handler *handler,
                struct yk_loop_conn *conn, int fd)
{
    *conn = (struct yk_loop_conn){.fd = fd, .handler = handler, .wants_read = true};
    return loop->engine->add(loop, conn);
}

enum yk_err
yk_loop_add(struct yk_loop *loop, struct yk_loop_conn *conn, int fd)
{
    return yk_loop_add_for(loop, &loop->handler, conn, fd);
}

enum yk_err
yk_loop_connect(struct yk_loop *loop, const struct yk_loop_handler *handler,
                struct yk_loop_conn *conn, int fd, const struct sockaddr *address, socklen_t size)
{
    *conn = (struct yk_loop_conn){.fd = fd, .handler = handler, .is_connecting = true};
    return loop->engine->connect(loop, conn, address, size);
}

bool
yk_loop_is_quiet(const struct yk_loop_conn *conn)
{
    return !conn->wants_read && !conn->is_armed;
}

void
yk_loop_remove(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    loop->engine->remove(loop, conn);
}

void
yk_loop_read(struct yk_loop *loop, struct yk_loop_conn *conn, bool is_on)
{
    conn->wants_read = is_on;
    loop->engine->read(loop, conn);
}

void
yk_loop_send(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices,
             size_t n)
{
    YK_ASSERT(!conn->is_sending && !conn->is_connecting && n > 0);
    loop->engine->send(loop, conn, slices, n);
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
        set_listeners(loop);
        return timeout_ms;
    }
    int rest_ms = (int)(loop->rest_until_ms - now_ms);
    return timeout_ms < 0 || timeout_ms > rest_ms ? rest_ms : timeout_ms;
}

void
yk_loop_wait(struct yk_loop *loop, int timeout_ms)
{
    loop->engine->wait(loop, end_rest(loop, timeout_ms));
}

void
yk_loop_wake(struct yk_loop *loop, struct yk_loop *from)
{
    if (from != NULL && from->engine == loop->engine && loop->engine->wake != NULL) {
        loop->engine->wake(loop, from);
        return;
    }
    uint64_t one = 1;
    ssize_t size = write(loop->wake_fd, &one, sizeof(one));
    (void)size;
}
