/* The event loop, by each of its engines: what a connection may do to it, and it to a connection.
 */
#include <config.h>

#include "core/io/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

enum { BIG = 3 * 1024 * 1024 };

struct place {
    struct yk_loop *loop;
    struct yk_loop_conn *conn; /* the one under test */
    int fds[2];                /* the loop's end, ours */
    GString *got;
    uint8_t room[1000];
    size_t room_size; /* what room is to offer; 0: nothing */
    bool is_eof;
    int error;
    size_t n_sent, n_ends;
    int n_connected, connect_error;
    struct yk_loop_handler handler; /* of connections that are made here */
    int accepted_fd;
    uint32_t accepted_listener;
    int accept_error;
    int round; /* of the test, where it has several */
};

/* -- The handler. -- */

static void
accepted(void *arg, uint32_t listener, int fd)
{
    struct place *place = arg;
    place->accepted_fd = fd;
    place->accepted_listener = listener;
}

static void
accept_failed(void *arg, uint32_t listener, int error)
{
    ((struct place *)arg)->accept_error = error;
}

static void
room(void *arg, struct yk_loop_conn *conn, uint8_t **ret_room, size_t *ret_size)
{
    struct place *place = arg;
    *ret_room = place->room;
    *ret_size = place->room_size;
}

static void
received(void *arg, struct yk_loop_conn *conn, const uint8_t *bytes, size_t size, int error)
{
    struct place *place = arg;
    g_assert_true(conn == place->conn);
    if (size > 0) {
        g_string_append_len(place->got, (const char *)bytes, (gssize)size);
    } else if (error == 0) {
        place->is_eof = true;
        yk_loop_read(place->loop, conn, false); /* as a session does that has seen the end */
    } else {
        place->error = error;
    }
}

static void
sent(void *arg, struct yk_loop_conn *conn, size_t size, int error)
{
    struct place *place = arg;
    place->n_sent += size;
    place->n_ends++;
    place->error = error != 0 ? error : place->error;
}

static void
connected(void *arg, struct yk_loop_conn *conn, int error)
{
    struct place *place = arg;
    g_assert_true(conn == place->conn);
    g_assert_false(conn->is_connecting);
    place->n_connected++;
    place->connect_error = error;
}

/* False: this system does not let us. */
static bool
open_place(struct place *place, enum yk_io_engine engine)
{
    struct yk_loop_handler handler = {.arg = place,
                                      .accepted = accepted,
                                      .accept_failed = accept_failed,
                                      .room = room,
                                      .received = received,
                                      .sent = sent,
                                      .connected = connected};
    *place = (struct place){.got = g_string_new(NULL), .accepted_fd = -1, .handler = handler};
    if (yk_loop_open(engine, &handler, &place->loop) != YK_OK) {
        place->loop = NULL;
        return false;
    }
    yk_loop_start(place->loop);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, place->fds), ==, 0);
    place->conn = g_new0(struct yk_loop_conn, 1);
    g_assert_cmpint(yk_loop_add(place->loop, place->conn, place->fds[0]), ==, YK_OK);
    return true;
}

static void
drop_conn(struct place *place)
{
    if (place->conn != NULL) {
        yk_loop_remove(place->loop, place->conn);
        close(place->fds[0]);
        g_free(place->conn);
        place->conn = NULL;
    }
}

static void
close_place(struct place *place)
{
    if (place->loop != NULL) {
        drop_conn(place);
        close(place->fds[1]);
        yk_loop_wait(place->loop, 0);
    }
    yk_loop_close(place->loop);
    g_string_free(place->got, TRUE);
}

static void
turn_until_size(struct place *place, size_t size)
{
    gint64 until = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;
    while (place->got->len < size && g_get_monotonic_time() < until) {
        yk_loop_wait(place->loop, 100);
    }
    g_assert_cmpuint(place->got->len, ==, size);
}

static void
put(int fd, const void *bytes, size_t size)
{
    g_assert_cmpint(write(fd, bytes, size), ==, (gssize)size);
}

static char *
big_bytes(void)
{
    char *bytes = g_malloc(BIG);
    for (size_t i = 0; i < BIG; i++) {
        bytes[i] = (char)('a' + i * 2654435761u % 26 + i / 4096 % 3);
    }
    return bytes;
}

/* -- Cases. -- */

static void
test_receive(struct place *place)
{
    put(place->fds[1], "hello", 5);
    turn_until_size(place, 5);
    place->room_size = sizeof(place->room);
    put(place->fds[1], " there", 6);
    turn_until_size(place, 11);
    g_assert_cmpstr(place->got->str, ==, "hello there");
    shutdown(place->fds[1], SHUT_WR);
    while (!place->is_eof) {
        yk_loop_wait(place->loop, 100);
    }
    g_assert_cmpint(place->error, ==, 0);
}

static gpointer
write_big(gpointer arg)
{
    g_autofree char *bytes = big_bytes();
    int fd = GPOINTER_TO_INT(arg);
    for (size_t at = 0; at < BIG;) {
        ssize_t size = write(fd, bytes + at, MIN(BIG - at, 100000));
        g_assert_cmpint(size, >, 0);
        at += (size_t)size;
    }
    return NULL;
}

/* More than all buffers of the loop, with pauses: nothing is lost, nothing changes places. */
static void
test_receive_much(struct place *place)
{
    g_autofree char *bytes = big_bytes();
    GThread *thread = g_thread_new("writer", write_big, GINT_TO_POINTER(place->fds[1]));
    for (size_t step = 1; place->got->len < BIG; step++) {
        bool is_off = step % 5 == 0;
        yk_loop_read(place->loop, place->conn, !is_off);
        yk_loop_wait(place->loop, is_off ? 1 : 100);
    }
    g_thread_join(thread);
    g_assert_cmpuint(place->got->len, ==, BIG);
    g_assert_true(memcmp(place->got->str, bytes, BIG) == 0);
}

/* What is turned off stays off, but for a little that was under way. */
static void
test_read_off(struct place *place)
{
    yk_loop_wait(place->loop, 0);
    yk_loop_read(place->loop, place->conn, false);
    yk_loop_wait(place->loop, 0);
    put(place->fds[1], "later", 5);
    yk_loop_wait(place->loop, 20);
    yk_loop_wait(place->loop, 20);
    g_assert_cmpuint(place->got->len, ==, 0);
    yk_loop_read(place->loop, place->conn, true);
    turn_until_size(place, 5);
}

static void
make_slow(const struct place *place)
{
    int size = 4096;
    g_assert_cmpint(setsockopt(place->fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), ==, 0);
}

/* Slices of all sizes to one that reads slowly: each send ends once, and says what it took. */
static void
test_send(struct place *place)
{
    g_autofree char *bytes = big_bytes();
    g_autofree char *got = g_malloc(BIG);
    size_t n_got = 0, n_started = 0;
    make_slow(place);
    g_assert_cmpint(fcntl(place->fds[1], F_SETFL, O_NONBLOCK), ==, 0);
    while (n_got < BIG) {
        if (!place->conn->is_sending && place->n_sent < BIG) {
            size_t left = BIG - place->n_sent, first = MIN(left, 1 + n_started % 7000);
            struct yk_slice slices[2] = {{bytes + place->n_sent, first},
                                         {bytes + place->n_sent + first, left - first}};
            n_started++;
            yk_loop_send(place->loop, place->conn, slices, left > first ? 1 + n_started % 2 : 1);
        }
        yk_loop_wait(place->loop, 0);
        ssize_t size =
            read(place->fds[1], got + n_got, MIN(BIG - n_got, 1 + n_started * 97 % 9000));
        n_got += size > 0 ? (size_t)size : 0;
    }
    while (place->n_ends < n_started) {
        yk_loop_wait(place->loop, 100);
    }
    g_assert_cmpuint(place->n_sent, ==, BIG);
    g_assert_cmpint(place->error, ==, 0);
    g_assert_true(memcmp(got, bytes, BIG) == 0);
}

/* A connection goes while its bytes are being sent: they are not looked at again. */
static void
test_remove_sending(struct place *place)
{
    char *bytes = big_bytes();
    struct yk_slice slice = {bytes, BIG};
    make_slow(place);
    yk_loop_send(place->loop, place->conn, &slice, 1);
    for (int i = 0; i < place->round % 3; i++) {
        yk_loop_wait(place->loop, 0);
    }
    drop_conn(place);
    memset(bytes, '!', BIG);
    yk_loop_wait(place->loop, 0); /* io_uring lets go of the socket here */
    g_free(bytes);
    char got[8192];
    for (ssize_t size = 1; size > 0;) {
        size = recv(place->fds[1], got, sizeof(got), 0);
        g_assert_true(size <= 0 || memchr(got, '!', (size_t)size) == NULL);
    }
    size_t n_ends = place->n_ends;
    yk_loop_wait(place->loop, 0);
    g_assert_cmpuint(place->n_ends, ==, n_ends); /* nothing is told of one that is gone */
}

/* The other end goes, with bytes of ours unread: sends fail, and reads say so. */
static void
test_reset(struct place *place)
{
    g_autofree char *bytes = big_bytes();
    struct yk_slice slice = {bytes, BIG};
    make_slow(place);
    yk_loop_send(place->loop, place->conn, &slice, 1);
    yk_loop_wait(place->loop, 0);
    close(place->fds[1]);
    place->fds[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; place->error == 0 && i < 100; i++) {
        if (!place->conn->is_sending) {
            yk_loop_send(place->loop, place->conn, &slice, 1);
        }
        yk_loop_wait(place->loop, 10);
    }
    g_assert_true(place->error == EPIPE || place->error == ECONNRESET);
}

struct waker {
    struct yk_loop *loop;
    int n_rung; /* atomic */
};

static gpointer
ring_often(gpointer arg)
{
    struct waker *waker = arg;
    for (int i = 0; i < 1000; i++) {
        __atomic_add_fetch(&waker->n_rung, 1, __ATOMIC_SEQ_CST);
        yk_loop_wake(waker->loop, NULL);
        if (i % 10 == 0) {
            g_usleep(200);
        }
    }
    return NULL;
}

/* No wake is lost: every wait without a timeout returns. */
static void
test_wake(struct place *place)
{
    struct waker waker = {place->loop, 0};
    GThread *thread = g_thread_new("waker", ring_often, &waker);
    while (__atomic_load_n(&waker.n_rung, __ATOMIC_SEQ_CST) < 1000) {
        yk_loop_wait(place->loop, -1);
    }
    g_thread_join(thread);
    yk_loop_wake(place->loop, NULL);
    yk_loop_wait(place->loop, -1);
}

static int
listen_any(struct sockaddr_in *ret_address)
{
    socklen_t size = sizeof(*ret_address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    g_assert_cmpint(bind(fd, (struct sockaddr *)ret_address, size), ==, 0);
    g_assert_cmpint(listen(fd, 10), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)ret_address, &size), ==, 0);
    return fd;
}

static int
connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (const struct sockaddr *)address, sizeof(*address)), ==, 0);
    return fd;
}

/* Off: who comes waits; on: is accepted. */
static void
test_listen(struct place *place)
{
    struct sockaddr_in address;
    int listener = listen_any(&address);
    yk_loop_add_listener(place->loop, listener, 7);
    for (int round = 0; round < 3; round++) {
        place->accepted_fd = -1;
        yk_loop_listen(place->loop, true);
        int one = connect_to(&address);
        while (place->accepted_fd < 0) {
            yk_loop_wait(place->loop, 100);
        }
        g_assert_cmpuint(place->accepted_listener, ==, 7);
        close(place->accepted_fd);
        close(one);
        yk_loop_listen(place->loop, false);
        yk_loop_wait(place->loop, 0);
        yk_loop_wait(place->loop, 10);
        place->accepted_fd = -1;
        int two = connect_to(&address);
        yk_loop_wait(place->loop, 30);
        g_assert_cmpint(place->accepted_fd, ==, -1);
        yk_loop_listen(place->loop, true);
        while (place->accepted_fd < 0) {
            yk_loop_wait(place->loop, 100);
        }
        close(place->accepted_fd);
        close(two);
    }
    g_assert_cmpint(place->accept_error, ==, 0);
    close(listener);
}

/* Another socket in the place of the one under test. */
static void
start_connect(struct place *place, const struct sockaddr_in *address)
{
    drop_conn(place);
    yk_loop_wait(place->loop, 0);
    place->fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    place->conn = g_new0(struct yk_loop_conn, 1);
    place->n_connected = 0;
    g_assert_cmpint(yk_loop_connect(place->loop, &place->handler, place->conn, place->fds[0],
                                    (const struct sockaddr *)address, sizeof(*address)),
                    ==, YK_OK);
    g_assert_cmpint(place->n_connected, ==, 0); /* never before a wait */
}

static void
wait_connected(struct place *place)
{
    for (int i = 0; place->n_connected == 0 && i < 200; i++) {
        yk_loop_wait(place->loop, 100);
    }
    g_assert_cmpint(place->n_connected, ==, 1);
}

static void
test_connect(struct place *place)
{
    struct sockaddr_in address;
    int listener = listen_any(&address);
    struct yk_slice slice = {"hello", 5};
    char got[8];
    start_connect(place, &address);
    wait_connected(place);
    g_assert_cmpint(place->connect_error, ==, 0);
    g_assert_cmpint(fcntl(listener, F_SETFL, 0), ==, 0);
    int other = accept(listener, NULL, NULL);
    yk_loop_send(place->loop, place->conn, &slice, 1);
    while (place->n_ends == 0) {
        yk_loop_wait(place->loop, 100);
    }
    g_assert_cmpint(read(other, got, sizeof(got)), ==, 5);
    put(other, "there", 5);
    turn_until_size(place, 5);
    close(other);
    while (!place->is_eof) {
        yk_loop_wait(place->loop, 100);
    }
    close(listener);
    start_connect(place, &address); /* nobody listens any more */
    wait_connected(place);
    g_assert_cmpint(place->connect_error, ==, ECONNREFUSED);
    g_assert_false(place->conn->wants_read);
}

/* It goes while it is being connected: nothing is told of it. */
static void
test_remove_connecting(struct place *place)
{
    struct sockaddr_in address;
    int listener = listen_any(&address);
    for (int i = 0; i < 20; i++) { /* more than its queue holds, so that some are left waiting */
        start_connect(place, &address);
        for (int k = 0; k < i % 3; k++) {
            yk_loop_wait(place->loop, 0);
        }
        drop_conn(place);
        int n_connected = place->n_connected;
        yk_loop_wait(place->loop, 1);
        g_assert_cmpint(place->n_connected, ==, n_connected);
    }
    close(listener);
}

/* Connections and listeners of others beside the owner: each is told of its own, and listens on its
 * own. */
static void
test_handlers(struct place *place)
{
    struct sockaddr_in address;
    struct place other = {.accepted_fd = -1};
    struct yk_loop_handler handler = {
        .arg = &other, .accepted = accepted, .accept_failed = accept_failed};
    int listener = listen_any(&address);
    yk_loop_add_listener_for(place->loop, &handler, listener, 3);
    yk_loop_listen_for(place->loop, &handler, true);
    yk_loop_listen(place->loop, false); /* the owner's, of which there is none */
    int one = connect_to(&address);
    while (other.accepted_fd < 0) {
        yk_loop_wait(place->loop, 100);
    }
    g_assert_cmpint(place->accepted_fd, ==, -1);
    g_assert_cmpuint(other.accepted_listener, ==, 3);
    yk_loop_listen_for(place->loop, &handler, false);
    yk_loop_wait(place->loop, 10);
    close(other.accepted_fd);
    close(one);
    close(listener);
}

struct test {
    const char *name;
    void (*run)(struct place *place);
    int n_rounds;
    enum yk_io_engine engine;
};

static void
run_test(gconstpointer data)
{
    const struct test *test = data;
    for (int round = 0; round < test->n_rounds; round++) {
        struct place place;
        bool is_open = open_place(&place, test->engine);
        place.round = round;
        if (is_open) {
            test->run(&place);
        }
        close_place(&place);
        if (!is_open) {
            g_test_skip("this system does not let us");
            return;
        }
    }
}

#define TESTS(engine)                                                                              \
    {"receive", test_receive, 1, engine}, {"receive_much", test_receive_much, 1, engine},          \
        {"read_off", test_read_off, 1, engine}, {"send", test_send, 1, engine},                    \
        {"reset", test_reset, 1, engine}, {"remove_sending", test_remove_sending, 20, engine},     \
        {"wake", test_wake, 1, engine}, {"connect", test_connect, 3, engine},                      \
        {"remove_connecting", test_remove_connecting, 1, engine},                                  \
        {"handlers", test_handlers, 1, engine},                                                    \
    {                                                                                              \
        "listen", test_listen, 1, engine                                                           \
    }

int
main(int argc, char **argv)
{
    static const struct test tests[] = {TESTS(YK_IO_EPOLL), TESTS(YK_IO_URING)};
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf(
            "/loop/%s/%s", tests[i].engine == YK_IO_EPOLL ? "epoll" : "io_uring", tests[i].name);
        g_test_add_data_func(path, &tests[i], run_test);
    }
    return g_test_run();
}
