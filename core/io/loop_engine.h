/* What an engine of the loop is to loop.c (internal to this room).
 *
 * Threads: as in loop.h. Ownership: the engine's memory begins with a yk_loop; close frees it. */
#ifndef YK_IO_LOOP_ENGINE_H
#define YK_IO_LOOP_ENGINE_H

#include "core/io/loop.h"

struct yk_loop_engine {
    const char *name;
    void (*close)(struct yk_loop *loop);
    void (*start)(struct yk_loop *loop); /* NULL: nothing to do */
    /* The engine's part of yk_loop_listen; loop->is_listening has the new state. */
    void (*listen)(struct yk_loop *loop);
    enum yk_err (*add)(struct yk_loop *loop, struct yk_loop_conn *conn);
    void (*remove)(struct yk_loop *loop, struct yk_loop_conn *conn);
    void (*read)(struct yk_loop *loop, struct yk_loop_conn *conn); /* conn->wants_read is new */
    void (*send)(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices,
                 size_t n);
    void (*wait)(struct yk_loop *loop, int timeout_ms);
    void (*wake)(struct yk_loop *loop, struct yk_loop *from); /* NULL: by wake_fd */
};

struct yk_loop_listener {
    int fd;
    uint32_t index;
};

/* The part that all engines have; theirs begins with it. */
struct yk_loop {
    const struct yk_loop_engine *engine;
    struct yk_loop_handler handler;
    struct yk_loop_listener listeners[YK_LISTENERS_MAX];
    uint32_t n_listeners;
    bool is_listening;
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
