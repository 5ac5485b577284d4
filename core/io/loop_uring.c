/* The loop by io_uring: one system call for a turn. It submits what the turn has started (sends,
 * receives that must be armed anew, messages to other workers) and waits for what has ended.
 *
 * A listener has one accept that ends many times (multishot). A receive ends once, and is armed
 * anew: of one that ends many times Linux 6.18 at least loses the end of the stream, or its reset,
 * where that comes right behind bytes, and the connection stays for ever. Bytes come in buffers
 * that are provided beforehand and go back when the turn has been worked off, so they stay where
 * they are until then. There is nothing to copy for a send: its bytes stay in the connection's
 * output until it has ended.
 *
 * What comes back is named by kind, slot and generation of the slot, never by a pointer: a
 * connection may have gone meanwhile. One that goes with a send under way is cancelled at once and
 * waited for, since its output goes with it. */
#include <config.h>

#include "core/io/loop_engine.h"

#ifdef HAVE_LIBURING

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/assert.h"

enum {
    SUBMISSIONS = 1024,
    COMPLETIONS = 4096,
    BUFFERS = 256, /* a power of two */
    BUFFER_SIZE = 4096,
    BUFFER_GROUP = 0,
    SLICES_MAX = 64,
    SLOTS_FIRST = 64
};

enum kind {
    KIND_ACCEPT = 1,
    KIND_RECEIVE,
    KIND_SEND,
    KIND_CONNECT,
    KIND_CANCEL,
    KIND_WAKE,
    KIND_MAIL,
    KIND_MAILED
};

/* What a send of several slices points to until it has ended. */
struct vectors {
    struct msghdr message;
    struct iovec slices[SLICES_MAX];
};

struct slot {
    struct yk_loop_conn *conn; /* NULL: free */
    struct vectors *vectors;
    uint32_t generation;
    uint32_t next_free;
};

struct uring_loop {
    struct yk_loop loop; /* first */
    struct io_uring ring;
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    uint16_t used[BUFFERS]; /* whose bytes belong to this turn */
    uint32_t n_used;
    struct slot *slots;
    uint32_t n_slots, first_free; /* n_slots: none is free */
    uint64_t wake_count;          /* read from wake_fd */
};

static struct uring_loop *
own(struct yk_loop *loop)
{
    return (struct uring_loop *)loop;
}

static uint64_t
name_of(enum kind kind, uint32_t generation, uint32_t slot)
{
    return (uint64_t)kind << 56 | (uint64_t)(generation & 0xffffff) << 32 | slot;
}

static struct io_uring_sqe *
next_sqe(struct uring_loop *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    while (sqe == NULL) {
        (void)io_uring_submit(&uring->ring);
        sqe = io_uring_get_sqe(&uring->ring);
    }
    return sqe;
}

/* Buffers */

static void
give_buffer(struct uring_loop *uring, uint16_t buffer, int offset)
{
    io_uring_buf_ring_add(uring->buffer_ring, uring->buffers + (size_t)buffer * BUFFER_SIZE,
                          BUFFER_SIZE, buffer, io_uring_buf_ring_mask(BUFFERS), offset);
}

static void
give_used(struct uring_loop *uring)
{
    for (uint32_t i = 0; i < uring->n_used; i++) {
        give_buffer(uring, uring->used[i], (int)i);
    }
    io_uring_buf_ring_advance(uring->buffer_ring, (int)uring->n_used);
    uring->n_used = 0;
}

static bool
make_buffers(struct uring_loop *uring)
{
    size_t ring_size = BUFFERS * sizeof(struct io_uring_buf);
    void *ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) {
        return false;
    }
    uring->buffer_ring = ring;
    void *buffers = mmap(NULL, (size_t)BUFFERS * BUFFER_SIZE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffers == MAP_FAILED) {
        return false;
    }
    uring->buffers = buffers;
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)ring, .ring_entries = BUFFERS, .bgid = BUFFER_GROUP};
    int result = io_uring_register_buf_ring(&uring->ring, &reg, 0);
    if (result < 0) {
        errno = -result;
        return false;
    }
    io_uring_buf_ring_init(uring->buffer_ring);
    for (uint16_t i = 0; i < BUFFERS; i++) {
        uring->used[uring->n_used++] = i;
    }
    give_used(uring);
    return true;
}

/* Slots */

static bool
grow_slots(struct uring_loop *uring)
{
    uint32_t n = uring->n_slots == 0 ? SLOTS_FIRST : uring->n_slots * 2;
    struct slot *slots = realloc(uring->slots, n * sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = uring->n_slots; i < n; i++) {
        slots[i] = (struct slot){.next_free = i + 1};
    }
    uring->slots = slots;
    uring->n_slots = n;
    return true;
}

static struct slot *
slot_of(struct uring_loop *uring, uint64_t name)
{
    uint32_t index = (uint32_t)name;
    struct slot *slot = index < uring->n_slots ? &uring->slots[index] : NULL;
    bool is_ours = slot != NULL && slot->conn != NULL &&
                   (slot->generation & 0xffffff) == ((uint32_t)(name >> 32) & 0xffffff);
    return is_ours ? slot : NULL;
}

/* Starting */

static uint64_t
name_for(struct uring_loop *uring, enum kind kind, const struct yk_loop_conn *conn)
{
    return name_of(kind, uring->slots[conn->slot].generation, conn->slot);
}

static void
arm_receive(struct uring_loop *uring, struct yk_loop_conn *conn)
{
    if (conn->is_armed || conn->is_ended || !conn->wants_read) {
        return;
    }
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_recv(sqe, conn->fd, NULL, BUFFER_SIZE, 0);
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST; /* there is mostly nothing yet */
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    io_uring_sqe_set_data64(sqe, name_for(uring, KIND_RECEIVE, conn));
    conn->is_armed = true;
}

static void
arm_accept(struct uring_loop *uring, uint32_t index)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_multishot_accept(sqe, uring->loop.listeners[index].fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, name_of(KIND_ACCEPT, 0, index));
}

static void
arm_wake(struct uring_loop *uring)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_read(sqe, uring->loop.wake_fd, &uring->wake_count, sizeof(uring->wake_count), 0);
    io_uring_sqe_set_data64(sqe, name_of(KIND_WAKE, 0, 0));
}

static void
cancel(struct uring_loop *uring, uint64_t name)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_cancel64(sqe, name, 0);
    io_uring_sqe_set_data64(sqe, name_of(KIND_CANCEL, 0, 0));
}

static void
loop_listen(struct yk_loop *loop, struct yk_loop_listener *listener)
{
    uint32_t index = (uint32_t)(listener - loop->listeners);
    if (listener->is_on) {
        /* An accept on a socket that does not block would end at once instead of waiting. */
        (void)fcntl(listener->fd, F_SETFL, 0);
        arm_accept(own(loop), index);
    } else {
        cancel(own(loop), name_of(KIND_ACCEPT, 0, index));
    }
}

static enum yk_err
take_slot(struct uring_loop *uring, struct yk_loop_conn *conn)
{
    if (uring->first_free == uring->n_slots && !grow_slots(uring)) {
        return YK_ENOMEM;
    }
    conn->slot = uring->first_free;
    struct slot *slot = &uring->slots[conn->slot];
    uring->first_free = slot->next_free;
    slot->conn = conn;
    return YK_OK;
}

static enum yk_err
loop_add(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    enum yk_err result = take_slot(own(loop), conn);
    if (result == YK_OK) {
        arm_receive(own(loop), conn);
    }
    return result;
}

static enum yk_err
loop_connect(struct yk_loop *loop, struct yk_loop_conn *conn, const struct sockaddr *address,
             socklen_t size)
{
    struct uring_loop *uring = own(loop);
    enum yk_err result = take_slot(uring, conn);
    if (result == YK_OK) {
        struct io_uring_sqe *sqe = next_sqe(uring);
        io_uring_prep_connect(sqe, conn->fd, address, size);
        io_uring_sqe_set_data64(sqe, name_for(uring, KIND_CONNECT, conn));
    }
    return result;
}

/* Ends what is under way on the connection, and returns when it has ended. */
static void
cancel_all(struct uring_loop *uring, const struct yk_loop_conn *conn)
{
    struct io_uring_sync_cancel_reg reg = {.fd = conn->fd,
                                           .flags =
                                               IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL,
                                           .timeout = {-1, -1}};
    (void)io_uring_submit(&uring->ring); /* what is not submitted cannot be cancelled */
    (void)io_uring_register_sync_cancel(&uring->ring, &reg);
}

static void
loop_remove(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    struct uring_loop *uring = own(loop);
    struct slot *slot = &uring->slots[conn->slot];
    if (conn->is_armed || conn->is_sending || conn->is_connecting) {
        cancel_all(uring, conn);
    }
    free(slot->vectors);
    *slot = (struct slot){.generation = slot->generation + 1, .next_free = uring->first_free};
    uring->first_free = conn->slot;
}

static void
loop_read(struct yk_loop *loop, struct yk_loop_conn *conn)
{
    struct uring_loop *uring = own(loop);
    if (conn->wants_read) {
        arm_receive(uring, conn);
    } else if (conn->is_armed) {
        cancel(uring, name_for(uring, KIND_RECEIVE, conn));
    }
}

static void
prep_vectors(struct io_uring_sqe *sqe, struct yk_loop_conn *conn, struct vectors *vectors,
             const struct yk_slice *slices, size_t n)
{
    size_t n_slices = n < SLICES_MAX ? n : SLICES_MAX;
    for (size_t i = 0; i < n_slices; i++) {
        vectors->slices[i] = (struct iovec){(void *)(uintptr_t)slices[i].data, slices[i].size};
    }
    vectors->message = (struct msghdr){.msg_iov = vectors->slices, .msg_iovlen = n_slices};
    io_uring_prep_sendmsg(sqe, conn->fd, &vectors->message, MSG_NOSIGNAL);
}

static void
loop_send(struct yk_loop *loop, struct yk_loop_conn *conn, const struct yk_slice *slices, size_t n)
{
    struct uring_loop *uring = own(loop);
    struct slot *slot = &uring->slots[conn->slot];
    struct io_uring_sqe *sqe = next_sqe(uring);
    if (n > 1 && slot->vectors == NULL) {
        slot->vectors = malloc(sizeof(*slot->vectors));
    }
    if (n > 1 && slot->vectors != NULL) {
        prep_vectors(sqe, conn, slot->vectors, slices, n);
    } else {
        io_uring_prep_send(sqe, conn->fd, slices->data, slices->size, MSG_NOSIGNAL);
    }
    io_uring_sqe_set_data64(sqe, name_for(uring, KIND_SEND, conn));
    conn->is_sending = true;
}

/* Ending */

static void
accepted(struct uring_loop *uring, uint32_t index, int result, bool has_more)
{
    const struct yk_loop_listener *listener = &uring->loop.listeners[index];
    bool is_resting = false;
    if (result >= 0) {
        listener->handler->accepted(listener->handler->arg, listener->index, result);
    } else {
        is_resting = yk_loop_rest(&uring->loop, listener, -result);
    }
    if (!has_more && !is_resting && listener->is_on) {
        arm_accept(uring, index);
    }
}

static void
received(struct uring_loop *uring, uint64_t name, int result, uint32_t flags)
{
    struct slot *slot = slot_of(uring, name);
    const uint8_t *bytes = NULL;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        uint16_t buffer = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        bytes = uring->buffers + (size_t)buffer * BUFFER_SIZE;
        uring->used[uring->n_used++] = buffer;
    }
    if (slot == NULL) {
        return;
    }
    struct yk_loop_conn *conn = slot->conn;
    const struct yk_loop_handler *handler = conn->handler;
    conn->is_armed = false;
    if (result > 0) {
        handler->received(handler->arg, conn, bytes, (size_t)result, 0);
    } else if (result != -ENOBUFS && result != -ECANCELED && result != -EINTR &&
               result != -EAGAIN) {
        conn->is_ended = true;
        handler->received(handler->arg, conn, NULL, 0, -result);
    }
    arm_receive(uring, conn);
}

static void
sent(struct uring_loop *uring, uint64_t name, int result)
{
    struct slot *slot = slot_of(uring, name);
    if (slot == NULL) {
        return;
    }
    const struct yk_loop_handler *handler = slot->conn->handler;
    bool is_well = result >= 0 || result == -EAGAIN || result == -EINTR;
    slot->conn->is_sending = false;
    handler->sent(handler->arg, slot->conn, result > 0 ? (size_t)result : 0, is_well ? 0 : -result);
}

static void
connected(struct uring_loop *uring, uint64_t name, int result)
{
    struct slot *slot = slot_of(uring, name);
    if (slot == NULL) {
        return;
    }
    struct yk_loop_conn *conn = slot->conn;
    conn->is_connecting = false;
    conn->wants_read = result == 0;
    arm_receive(uring, conn);
    conn->handler->connected(conn->handler->arg, conn, -result);
}

/* A message that could not be given to the other ring: it is woken as by any thread. */
static void
mailed(uint64_t name, int result)
{
    if (result < 0) {
        uint64_t one = 1;
        ssize_t size = write((int)(uint32_t)name, &one, sizeof(one));
        (void)size;
    }
}

static void
handle(struct uring_loop *uring, const struct io_uring_cqe *cqe)
{
    uint64_t name = cqe->user_data;
    switch ((enum kind)(name >> 56)) {
    case KIND_ACCEPT:
        accepted(uring, (uint32_t)name, cqe->res, (cqe->flags & IORING_CQE_F_MORE) != 0);
        break;
    case KIND_RECEIVE:
        received(uring, name, cqe->res, cqe->flags);
        break;
    case KIND_SEND:
        sent(uring, name, cqe->res);
        break;
    case KIND_CONNECT:
        connected(uring, name, cqe->res);
        break;
    case KIND_WAKE:
        arm_wake(uring);
        break;
    case KIND_MAILED:
        mailed(name, cqe->res);
        break;
    case KIND_CANCEL:
    case KIND_MAIL:
        break;
    }
}

static void
enter(struct uring_loop *uring, int timeout_ms)
{
    struct io_uring_cqe *cqe;
    struct __kernel_timespec timeout = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000ll};
    if (timeout_ms == 0) {
        (void)io_uring_submit_and_get_events(&uring->ring);
    } else {
        (void)io_uring_submit_and_wait_timeout(&uring->ring, &cqe, 1,
                                               timeout_ms < 0 ? NULL : &timeout, NULL);
    }
}

static void
loop_wait(struct yk_loop *loop, int timeout_ms)
{
    struct uring_loop *uring = own(loop);
    struct io_uring_cqe *cqe;
    unsigned int head, n = 0;
    give_used(uring);
    enter(uring, timeout_ms);
    io_uring_for_each_cqe(&uring->ring, head, cqe)
    {
        handle(uring, cqe);
        n++;
    }
    io_uring_cq_advance(&uring->ring, n);
}

/* By the ring of the thread that calls, with what else it submits at the end of its turn. */
static void
loop_wake(struct yk_loop *loop, struct yk_loop *from)
{
    struct io_uring_sqe *sqe = next_sqe(own(from));
    io_uring_prep_msg_ring(sqe, own(loop)->ring.ring_fd, 0, name_of(KIND_MAIL, 0, 0), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, name_of(KIND_MAILED, 0, (uint32_t)loop->wake_fd));
}

/* Life */

static void
loop_start(struct yk_loop *loop)
{
    /* liburing 2.3 declares a function for this and does not export it. */
    long result = syscall(__NR_io_uring_register, own(loop)->ring.ring_fd,
                          IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    YK_ASSERT(result == 0);
    arm_wake(own(loop));
}

static void
loop_close(struct yk_loop *loop)
{
    struct uring_loop *uring = own(loop);
    if (uring->ring.ring_fd >= 0) {
        io_uring_queue_exit(&uring->ring);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    if (uring->buffer_ring != NULL) {
        munmap(uring->buffer_ring, BUFFERS * sizeof(struct io_uring_buf));
    }
    if (uring->buffers != NULL) {
        munmap(uring->buffers, (size_t)BUFFERS * BUFFER_SIZE);
    }
    free(uring->slots);
    free(uring);
}

static const struct yk_loop_engine engine = {.name = "io_uring",
                                             .close = loop_close,
                                             .start = loop_start,
                                             .listen = loop_listen,
                                             .add = loop_add,
                                             .remove = loop_remove,
                                             .read = loop_read,
                                             .send = loop_send,
                                             .connect = loop_connect,
                                             .wait = loop_wait,
                                             .wake = loop_wake};

/* The main thread makes the ring, so that what is refused is refused before the node serves; it
 * belongs to the thread that enables it. */
static bool
make_ring(struct uring_loop *uring)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
                                              IORING_SETUP_CQSIZE,
                                     .cq_entries = COMPLETIONS};
    int result = io_uring_queue_init_params(SUBMISSIONS, &uring->ring, &params);
    if (result < 0) {
        uring->ring.ring_fd = -1;
        errno = -result;
    }
    return result == 0;
}

struct yk_loop *
yk_loop_open_uring(void)
{
    struct uring_loop *uring = calloc(1, sizeof(*uring));
    if (uring == NULL) {
        return NULL;
    }
    uring->loop.engine = &engine;
    uring->ring.ring_fd = -1;
    uring->loop.wake_fd = eventfd(0, EFD_CLOEXEC);
    if (uring->loop.wake_fd < 0 || !make_ring(uring) || !make_buffers(uring)) {
        return yk_loop_give_up(&uring->loop);
    }
    return &uring->loop;
}

#else

#include <errno.h>
#include <stddef.h>

struct yk_loop *
yk_loop_open_uring(void)
{
    errno = ENOSYS;
    return NULL;
}

#endif
