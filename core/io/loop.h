/* The event loop: sockets in, bytes and ends of sends out. One for each worker. Two engines stand
 * behind this interface: epoll now, io_uring later; so it speaks of completions: a send ends by a
 * call of sent, reads go on by themselves as long as they are wanted.
 *
 * Threads: the worker's, but for yk_loop_wake. Ownership: the loop borrows fds; a yk_loop_conn is
 * the caller's, from add to remove. */
#ifndef YK_IO_LOOP_H
#define YK_IO_LOOP_H

#include <yakumo/base.h>

struct yk_loop;

/* A connection, embedded in the caller's. */
struct yk_loop_conn {
    int fd;
    uint32_t interest; /* the loop's */
    bool wants_read;
    bool waits_to_send;
};

struct yk_loop_handler {
    void *arg;
    /* A new connection on the listener of that index; fd is the callee's now. */
    void (*accepted)(void *arg, uint32_t listener, int fd);
    /* Accepting failed for want of descriptors or memory; the listener rests for a while. */
    void (*accept_failed)(void *arg, uint32_t listener, int error);
    /* Where the next bytes of the connection should go; size 0: the loop's own buffer. */
    void (*room)(void *arg, struct yk_loop_conn *conn, uint8_t **ret_room, size_t *ret_size);
    /* Bytes came, at most once for each connection in a wait; they stay until the next wait. size
     * 0: the other end sends no more (error 0), or the connection failed (error: errno). */
    void (*received)(void *arg, struct yk_loop_conn *conn, const uint8_t *bytes, size_t size,
                     int error);
    /* The send that was started took size bytes, or failed. */
    void (*sent)(void *arg, struct yk_loop_conn *conn, size_t size, int error);
};

enum yk_err
yk_loop_open(const struct yk_loop_handler *handler, struct yk_loop **ret_loop) YK_MUST_CHECK;
void yk_loop_close(struct yk_loop *loop);               /* takes NULL */
const char *yk_loop_engine(const struct yk_loop *loop); /* "epoll" */

enum yk_err yk_loop_add_listener(struct yk_loop *loop, int fd, uint32_t listener) YK_MUST_CHECK;
/* Accepts from the listeners, or leaves who comes waiting. */
void yk_loop_listen(struct yk_loop *loop, bool is_on);

enum yk_err yk_loop_add(struct yk_loop *loop, struct yk_loop_conn *conn, int fd) YK_MUST_CHECK;
void yk_loop_remove(struct yk_loop *loop, struct yk_loop_conn *conn);
void yk_loop_read(struct yk_loop *loop, struct yk_loop_conn *conn, bool is_on);
/* Starts to send; ends by handler.sent, before it returns or later, and until then no other is
 * started. The slices must stay until then. */
void yk_loop_send(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices,
                  size_t n);

/* Waits for at most timeout_ms (-1: for ever) and calls the handler for what happened. */
void yk_loop_wait(struct yk_loop *loop, int timeout_ms);
/* From any thread: the wait that is under way, or the next one, returns at once. */
void yk_loop_wake(struct yk_loop *loop);

#endif
