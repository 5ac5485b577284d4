/* The event loop: sockets in, bytes and ends of sends out. One for each worker. Two engines stand
 * behind this interface, io_uring and epoll; so it speaks of completions: a send ends by a call of
 * sent, reads go on by themselves as long as they are wanted.
 *
 * Threads: the worker's, but for open and close (the main thread's, while no other uses the loop)
 * and yk_loop_wake. Ownership: the loop borrows fds; a yk_loop_conn is the caller's, from add to
 * remove. */
#ifndef YK_IO_LOOP_H
#define YK_IO_LOOP_H

#include <sys/socket.h>

#include "core/config/config.h"

struct yk_loop;
struct yk_loop_handler;

/* A connection, embedded in the caller's. */
struct yk_loop_conn {
    int fd;
    const struct yk_loop_handler *handler; /* whose connection it is */
    uint32_t slot;                         /* io_uring: the loop's number for it */
    uint32_t interest;                     /* epoll: what is asked for */
    int connect_error;                     /* epoll: of a connect that failed at once */
    bool wants_read;
    bool is_sending;    /* sent is still to be called */
    bool is_connecting; /* connected is still to be called */
    bool is_armed;      /* io_uring: a receive is under way */
    bool is_ended;      /* io_uring: nothing more comes */
};

struct yk_loop_handler {
    void *arg;
    /* A new connection on the listener of that index; fd is the callee's now. */
    void (*accepted)(void *arg, uint32_t listener, int fd);
    /* Accepting failed for want of descriptors or memory; the listener rests for a while. */
    void (*accept_failed)(void *arg, uint32_t listener, int error);
    /* Where the next bytes of the connection should go; size 0: the loop's own buffer. Asked by
     * epoll only: bytes of io_uring come in the loop's buffers. */
    void (*room)(void *arg, struct yk_loop_conn *conn, uint8_t **ret_room, size_t *ret_size);
    /* Bytes came; they stay until the next wait. size 0: the other end sends no more (error 0), or
     * the connection failed (error: errno). A few may come after reading was turned off. */
    void (*received)(void *arg, struct yk_loop_conn *conn, const uint8_t *bytes, size_t size,
                     int error);
    /* The send that was started took size bytes, or failed. */
    void (*sent)(void *arg, struct yk_loop_conn *conn, size_t size, int error);
    /* The connection is made, and read from now on, or it failed. NULL where nobody connects. */
    void (*connected)(void *arg, struct yk_loop_conn *conn, int error);
};

/* AUTO: io_uring where the system lets us, else epoll. On failure errno says why. The fds of
 * connections are not to be O_NONBLOCK. */
enum yk_err yk_loop_open(enum yk_io_engine engine, const struct yk_loop_handler *handler,
                         struct yk_loop **ret_loop) YK_MUST_CHECK;
void yk_loop_close(struct yk_loop *loop);               /* takes NULL */
void yk_loop_start(struct yk_loop *loop);               /* first, by the thread that will wait */
const char *yk_loop_engine(const struct yk_loop *loop); /* "io_uring", "epoll" */

void yk_loop_add_listener(struct yk_loop *loop, int fd, uint32_t listener);
/* Accepts from the listeners, or leaves who comes waiting. */
void yk_loop_listen(struct yk_loop *loop, bool is_on);

enum yk_err yk_loop_add(struct yk_loop *loop, struct yk_loop_conn *conn, int fd) YK_MUST_CHECK;
void yk_loop_remove(struct yk_loop *loop, struct yk_loop_conn *conn);
void yk_loop_read(struct yk_loop *loop, struct yk_loop_conn *conn, bool is_on);
/* Nothing is read any more, and nothing that was read is still to be told: after reading was turned
 * off, another thread may now have the descriptor. */
bool yk_loop_is_quiet(const struct yk_loop_conn *conn);

/* Others beside the owner of the loop have handlers of their own, which must outlive what was added
 * with them; listening is turned on and off for each handler. */
void yk_loop_add_listener_for(struct yk_loop *loop, const struct yk_loop_handler *handler, int fd,
                              uint32_t listener);
void yk_loop_listen_for(struct yk_loop *loop, const struct yk_loop_handler *handler, bool is_on);
enum yk_err yk_loop_add_for(struct yk_loop *loop, const struct yk_loop_handler *handler,
                            struct yk_loop_conn *conn, int fd) YK_MUST_CHECK;
/* Adds a new socket and starts to connect it; ends by handler->connected, in a wait. The address
 * must stay until then, or until the connection is removed. */
enum yk_err yk_loop_connect(struct yk_loop *loop, const struct yk_loop_handler *handler,
                            struct yk_loop_conn *conn, int fd, const struct sockaddr *address,
                            socklen_t size) YK_MUST_CHECK;
/* Starts to send; ends by handler.sent, before it returns or later, and until then no other is
 * started. The slices must stay until then. */
void yk_loop_send(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices,
                  size_t n);

/* Waits for at most timeout_ms (-1: for ever) and calls the handler for what happened. */
void yk_loop_wait(struct yk_loop *loop, int timeout_ms);
/* From any thread: the wait that is under way, or the next one, returns at once. from: the loop of
 * the thread that calls, or NULL; then it may be done with that loop's next wait. */
void yk_loop_wake(struct yk_loop *loop, struct yk_loop *from);

#endif
