/* What an engine of the loop is to loop.c (internal to this room).
 *
 * Threads: as in loop.h. Ownership: the engine's memory begins with a yk_loop; close frees it. */
#ifndef YK_IO_LOOP_ENGINE_H
#define YK_IO_LOOP_ENGINE_H

#include "core/io/loop.h"

/* The node's own for clients, and one for other nodes. */
#define YK_LOOP_LISTENERS_MAX (YK_LISTENERS_MAX + 1)

struct yk_loop_listener;

struct yk_loop_engine {
    const char *name;
    void (*close)(struct yk_loop *loop);
    void (*start)(struct yk_loop *loop); /* NULL: nothing to do */
    /* listener->is_on is new. */
    void (*listen)(struct yk_loop *loop, struct yk_loop_listener *listener);
    enum yk_err (*add)(struct yk_loop *loop, struct yk_loop_conn *conn);
    void (*remove)(struct yk_loop *loop, struct yk_loop_conn *conn);
    void (*read)(struct yk_loop *loop, struct yk_loop_conn *conn); /* conn->wants_read is new */
    void (*send)(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices,
                 size_t n);
    /* Adds it too; conn->is_connecting is set. */
    enum yk_err (*connect)(struct yk_loop *loop, struct yk_loop_conn *conn,
                           const struct sockaddr *address, socklen_t size);
    void (*wait)(struct yk_loop *loop, int timeout_ms);
    void (*wake)(struct yk_loop *loop, struct yk_loop *from); /* NULL: by wake_fd */
};

struct yk_loop_listener {
    int fd;
    uint32_t index;
    const struct yk_loop_handler *handler;
    bool is_wanted; /* its owner listens */
    bool is_on;     /* the engine accepts: the loop does not rest either */
};

/* The part that all engines have; theirs begins with it. */
struct yk_loop {
    const struct yk_loop_engine *engine;
    struct yk_loop_handler handler;
    struct yk_loop_listener listeners[YK_LOOP_LISTENERS_MAX];
    uint32_t n_listeners;
    uint64_t rest_until_ms; /* accepting failed: not before; 0: not resting */
    int wake_fd;            /* an eventfd */
};

/* On failure errno says why. */
struct yk_loop *yk_loop_open_epoll(void);
struct yk_loop *yk_loop_open_uring(void);
/* Closes what could be opened of it and keeps errno; returns NULL. */
struct yk_loop *yk_loop_give_up(struct yk_loop *loop);

/* Accepting on the listener failed. True: for want of descriptors or memory, so that all rest. */
bool yk_loop_rest(struct yk_loop *loop, const struct yk_loop_listener *listener, int error);

#endif
