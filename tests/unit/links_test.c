/* Links between nodes, by each engine of the loop: nodes in one process on 127.0.0.1, and raw
 * sockets that say what no node would say. */
#include <config.h>

#include "core/io/links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "core/base/random.h"
#include "core/io/listen.h"
#include "core/io/system.h"

#define ID_A "0a0a0a0a-0000-4000-8000-00000000000a"
#define ID_B "0b0b0b0b-0000-4000-8000-00000000000b"
#define ID_C "0c0c0c0c-0000-4000-8000-00000000000c"
#define RING "11111111-2222-4333-8444-555555555555"

enum { SIDES_MAX = 4, PATIENCE_S = 30 };

/* -- Nodes. -- */

static enum yk_io_engine engine;
static struct yk_system the_system;
static uint64_t skipped_us; /* the clock of the links goes ahead by it */

static uint64_t
skipping_now_us(void *arg)
{
    struct yk_world *world = &the_system.world;
    (void)arg;
    return world->now_us(world->arg) + __atomic_load_n(&skipped_us, __ATOMIC_RELAXED);
}

static void
quiet_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    (void)arg;
    (void)level;
    g_test_message("%s: %s", from, line);
}

static struct yk_world world;

struct got {
    uint32_t peer, worker;
    GBytes *bytes;    /* of a frame; NULL: a state */
    const void *lent; /* where the frame lies, until the flush */
    bool is_up;
};

/* One thread's share of a node. */
struct side {
    struct yk_loop *loop;
    struct yk_links *links;
    uint32_t worker;
    GPtrArray *got;        /* struct got */
    guint n_checked;       /* of these, such as have been through a flush */
    uint32_t n_up, n_down; /* states told */
    size_t n_frames;
};

struct node {
    struct yk_peers *peers;
    struct yk_listener listener;
    struct side sides[SIDES_MAX];
    uint32_t n_sides;
};

static void
got_free(gpointer memory)
{
    struct got *got = memory;
    if (got->bytes != NULL) {
        g_bytes_unref(got->bytes);
    }
    g_free(got);
}

static void
take_frame(void *arg, uint32_t peer, uint32_t worker, struct yk_slice bytes)
{
    struct side *side = arg;
    struct got *got = g_new0(struct got, 1);
    *got = (struct got){peer, worker, g_bytes_new(bytes.data, bytes.size), bytes.data, false};
    g_ptr_array_add(side->got, got);
    side->n_frames++;
}

static void
take_state(void *arg, uint32_t peer, uint32_t worker, bool is_up)
{
    struct side *side = arg;
    struct got *got = g_new0(struct got, 1);
    *got = (struct got){peer, worker, NULL, NULL, is_up};
    g_ptr_array_add(side->got, got);
    side->n_up += is_up ? 1 : 0;
    side->n_down += is_up ? 0 : 1;
}

static void
unused_accepted(void *arg, uint32_t listener, int fd)
{
    (void)arg;
    (void)listener;
    (void)fd;
    g_assert_not_reached();
}

static void
open_side(struct node *node, struct side *side, uint32_t worker, int listener_fd)
{
    struct yk_loop_handler handler = {.arg = side, .accepted = unused_accepted};
    *side = (struct side){.worker = worker, .got = g_ptr_array_new_with_free_func(got_free)};
    g_assert_cmpint(yk_loop_open(engine, &handler, &side->loop), ==, YK_OK);
    struct yk_links_config config = {.world = &world,
                                     .loop = side->loop,
                                     .peers = node->peers,
                                     .worker = worker,
                                     .listener_fd = listener_fd,
                                     .arg = side,
                                     .frame = take_frame,
                                     .state = take_state};
    g_assert_cmpint(yk_links_new(&config, &side->links), ==, YK_OK);
}

static void
start_side(struct side *side)
{
    yk_loop_start(side->loop);
    yk_links_start(side->links);
}

/* A port that nobody listens on. */
static char *
free_address(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(to);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&to, size), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&to, &size), ==, 0);
    close(fd);
    return g_strdup_printf("127.0.0.1:%u", ntohs(to.sin_port));
}

/* address NULL: any. */
static void
open_peers(struct node *node, const char *id, const char *name, const char *address,
           uint32_t n_workers)
{
    char error[YK_ERROR_SIZE];
    struct yk_hello own = {.nonce = g_random_int() + 1ull, .n_workers = n_workers, .n_lanes = 16};
    enum yk_err result = YK_EIO;
    *node = (struct node){.n_sides = n_workers};
    for (int i = 0; result != YK_OK && i < 5; i++) { /* somebody may take the port meanwhile */
        g_autofree char *any = free_address();
        result =
            yk_listener_open(address != NULL ? address : any, 0, n_workers, &node->listener, error);
    }
    g_assert_cmpstr(result == YK_OK ? "" : error, ==, "");
    g_strlcpy(own.cluster_id, RING, YK_ID_SIZE);
    g_strlcpy(own.node_id, id, YK_ID_SIZE);
    g_strlcpy(own.name, name, sizeof(own.name));
    g_strlcpy(own.address, node->listener.text, sizeof(own.address));
    node->peers = yk_peers_new(&own);
    g_assert_nonnull(node->peers);
}

/* All of its sides are this thread's; the last of `n` is the control thread, if it has one. */
static void
open_node(struct node *node, const char *id, const char *name, const char *address, uint32_t n,
          bool has_control)
{
    open_peers(node, id, name, address, n);
    for (uint32_t i = 0; i < n; i++) {
        open_side(node, &node->sides[i], has_control && i == n - 1 ? YK_WORKER_CONTROL : i,
                  node->listener.fds[i]);
        start_side(&node->sides[i]);
    }
}

static void
close_side(struct side *side)
{
    yk_links_free(side->links);
    yk_loop_close(side->loop);
    g_ptr_array_unref(side->got);
}

static void
close_node(struct node *node)
{
    for (uint32_t i = 0; i < node->n_sides; i++) {
        close_side(&node->sides[i]);
    }
    yk_listener_close(&node->listener);
    yk_peers_free(node->peers);
}

/* What was lent in this turn is still there at its end. */
static void
check_lent(struct side *side)
{
    for (; side->n_checked < side->got->len; side->n_checked++) {
        const struct got *got = g_ptr_array_index(side->got, side->n_checked);
        if (got->bytes != NULL) {
            gsize size;
            const void *bytes = g_bytes_get_data(got->bytes, &size);
            g_assert_true(memcmp(bytes, got->lent, size) == 0);
        }
    }
}

static void
turn_side(struct side *side, int timeout_ms)
{
    int links_ms = yk_links_timeout(side->links);
    yk_loop_wait(side->loop, links_ms >= 0 && links_ms < timeout_ms ? links_ms : timeout_ms);
    yk_links_run(side->links);
    check_lent(side);
    yk_links_flush(side->links);
}

static void
turn(struct node *node)
{
    for (uint32_t i = 0; i < node->n_sides; i++) {
        turn_side(&node->sides[i], 0);
    }
}

/* Turns of both nodes (b may be NULL) until the condition holds. */
#define TURN_UNTIL(a, b, condition)                                                                \
    do {                                                                                           \
        gint64 until_ = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;                  \
        struct node *b_ = (b);                                                                     \
        while (!(condition) && g_get_monotonic_time() < until_) {                                  \
            turn(a);                                                                               \
            if (b_ != NULL) {                                                                      \
                turn(b_);                                                                          \
            }                                                                                      \
            g_usleep(50);                                                                          \
        }                                                                                          \
        g_assert_true(condition);                                                                  \
    } while (0)

static uint32_t
meet(struct node *node, const char *id, const struct node *other)
{
    uint32_t peer = yk_peers_put(node->peers, id, id != NULL && strcmp(id, ID_A) == 0 ? "a" : "b",
                                 other->listener.text);
    g_assert_cmpuint(peer, !=, YK_PEER_NONE);
    return peer;
}

static void
skip_ms(uint64_t ms)
{
    __atomic_add_fetch(&skipped_us, ms * 1000, __ATOMIC_RELAXED);
}

static struct yk_links_counts
counts_of(const struct side *side)
{
    struct yk_links_counts counts;
    yk_links_count(side->links, &counts);
    return counts;
}

/* -- Frames. -- */

/* [2, number, bin of that size]. */
static GByteArray *
make_frame(uint32_t number, uint32_t size)
{
    GByteArray *frame = g_byte_array_sized_new(size + 16);
    uint32_t number_be = g_htonl(number), size_be = g_htonl(size);
    g_byte_array_append(frame, (const uint8_t[]){0x93, 2, 0xce}, 3);
    g_byte_array_append(frame, (const uint8_t *)&number_be, 4);
    g_byte_array_append(frame, (const uint8_t[]){0xc6}, 1);
    g_byte_array_append(frame, (const uint8_t *)&size_be, 4);
    g_byte_array_set_size(frame, frame->len + size);
    for (uint32_t i = 0; i < size; i++) {
        frame->data[frame->len - size + i] = (uint8_t)(number * 31 + i + i / 251);
    }
    return frame;
}

static void
send_frame(struct side *side, uint32_t peer, uint32_t worker, uint32_t number, uint32_t size)
{
    g_autoptr(GByteArray) frame = make_frame(number, size);
    struct yk_buffer *bytes = yk_buffer_new_copy(yk_slice_of(frame->data, frame->len));
    yk_links_send(side->links, peer, worker, bytes);
}

/* The index-th frame (states do not count) that the side got. */
static const struct got *
frame_at(const struct side *side, size_t index)
{
    for (guint i = 0; i < side->got->len; i++) {
        const struct got *got = g_ptr_array_index(side->got, i);
        if (got->bytes != NULL && index-- == 0) {
            return got;
        }
    }
    g_assert_not_reached();
}

static void
assert_frame(const struct side *side, size_t index, uint32_t peer, uint32_t worker, uint32_t number,
             uint32_t size)
{
    g_autoptr(GByteArray) frame = make_frame(number, size);
    const struct got *got = frame_at(side, index);
    gsize got_size;
    const void *bytes = g_bytes_get_data(got->bytes, &got_size);
    g_assert_cmpuint(got->peer, ==, peer);
    g_assert_cmpuint(got->worker, ==, worker);
    g_assert_cmpuint(got_size, ==, frame->len);
    g_assert_true(memcmp(bytes, frame->data, frame->len) == 0);
}

/* -- Raw sockets. -- */

static int
connect_raw(const struct node *node)
{
    union yk_socket_address address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = yk_socket_address_of(&node->listener.address, &address);
    g_assert_cmpint(connect(fd, &address.any, size), ==, 0);
    return fd;
}

static void
write_raw(int fd, const void *bytes, size_t size)
{
    g_assert_cmpint(send(fd, bytes, size, MSG_NOSIGNAL), ==, (gssize)size);
}

static void
add_hello(GByteArray *bytes, const char *id, uint32_t from, uint32_t to, const char *to_id)
{
    struct yk_hello hello = {.version_min = 1,
                             .version_max = 1,
                             .name = "c",
                             .nonce = 5,
                             .from = from,
                             .to = to,
                             .n_workers = 4,
                             .n_lanes = 4};
    struct yk_pack pack;
    g_strlcpy(hello.node_id, id, YK_ID_SIZE);
    g_strlcpy(hello.to_id, to_id, YK_ID_SIZE);
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    yk_hello_encode(&pack, &hello);
    g_byte_array_append(bytes, pack.data, (guint)pack.size);
    yk_pack_done(&pack);
}

static void
say_hello(int fd, const char *id, uint32_t from, uint32_t to, const char *to_id)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    add_hello(bytes, id, from, to, to_id);
    write_raw(fd, bytes->data, bytes->len);
}

/* What the node says on the connection: a value, or nothing any more (empty), while it turns. */
static GByteArray *
read_raw(struct node *node, int fd)
{
    gint64 until = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    GByteArray *bytes = g_byte_array_new();
    struct yk_splitter splitter;
    yk_splitter_init(&splitter, YK_FRAME_SIZE_MAX);
    while (g_get_monotonic_time() < until) {
        uint8_t byte;
        size_t used;
        ssize_t size = recv(fd, &byte, 1, MSG_DONTWAIT);
        if (size == 0 || (size < 0 && errno != EAGAIN)) {
            break;
        }
        if (size < 0) {
            turn(node);
            g_usleep(50);
            continue;
        }
        g_byte_array_append(bytes, &byte, 1);
        if (yk_splitter_take(&splitter, &byte, 1, &used) == YK_SPLIT_WHOLE) {
            return bytes;
        }
    }
    g_byte_array_set_size(bytes, 0);
    return bytes;
}

static void
assert_closed(struct node *node, int fd)
{
    g_autoptr(GByteArray) bytes = read_raw(node, fd);
    uint8_t byte;
    g_assert_cmpuint(bytes->len, ==, 0);
    ssize_t size = recv(fd, &byte, 1, MSG_DONTWAIT);
    g_assert_true(size == 0 || (size < 0 && errno != EAGAIN));
    close(fd);
}

/* The welcome, or the words of the refusal. */
static void
read_welcome(struct node *node, int fd, struct yk_welcome *ret_welcome)
{
    g_autoptr(GByteArray) bytes = read_raw(node, fd);
    const char *wrong = "";
    enum yk_err result =
        yk_welcome_decode(yk_slice_of(bytes->data, bytes->len), ret_welcome, &wrong);
    g_assert_cmpint(result, ==, YK_OK);
}

/* -- Cases. -- */

static void
test_both_ways(void)
{
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    uint32_t to_b = meet(&a, NULL, &b);
    g_assert_cmpuint(to_b, ==, 1);
    send_frame(&a.sides[0], to_b, 0, 1, 10);
    send_frame(&a.sides[0], to_b, 0, 2, 0);
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == 2);
    uint32_t to_a = yk_peers_find(b.peers, ID_A); /* b has learned of a by its hello */
    assert_frame(&b.sides[0], 0, to_a, 0, 1, 10);
    assert_frame(&b.sides[0], 1, to_a, 0, 2, 0);
    g_assert_cmpuint(a.sides[0].n_up, ==, 1);
    g_assert_cmpuint(b.sides[0].n_up, ==, 0); /* nothing of its own yet */
    g_assert_cmpuint(yk_peers_find(a.peers, ID_B), ==, to_b);
    for (uint32_t i = 0; i < 300; i++) {
        send_frame(&b.sides[0], to_a, 0, i, i);
        send_frame(&a.sides[0], to_b, 0, i, 300 - i);
    }
    TURN_UNTIL(&a, &b, a.sides[0].n_frames == 300 && b.sides[0].n_frames == 302);
    for (uint32_t i = 0; i < 300; i++) {
        assert_frame(&a.sides[0], i, to_b, 0, i, i);
        assert_frame(&b.sides[0], i + 2, to_a, 0, i, 300 - i);
    }
    struct yk_peer_info info;
    yk_peers_get(a.peers, to_b, &info);
    g_assert_cmpstr(info.node_id, ==, ID_B);
    g_assert_cmpuint(info.n_workers, ==, 1);
    g_assert_cmpuint(info.n_lanes, ==, 16);
    g_assert_cmpuint(info.version, ==, YK_RPC_VERSION_MAX);
    yk_peers_get(b.peers, to_a, &info);
    g_assert_cmpuint(info.version, ==, YK_RPC_VERSION_MAX);
    g_assert_cmpuint(a.sides[0].n_down + b.sides[0].n_down, ==, 0);
    g_assert_cmpuint(counts_of(&a.sides[0]).n_up, ==, 1);
    g_assert_cmpuint(counts_of(&a.sides[0]).n_guests, ==, 1);
    close_node(&a);
    close_node(&b);
}

/* To itself too: the control thread of the own node is reached like any. */
static void
test_itself(void)
{
    struct node a;
    open_node(&a, ID_A, "a", NULL, 2, true);
    send_frame(&a.sides[0], YK_PEER_SELF, YK_WORKER_CONTROL, 4, 5);
    TURN_UNTIL(&a, NULL, a.sides[1].n_frames == 1);
    assert_frame(&a.sides[1], 0, YK_PEER_SELF, 0, 4, 5);
    close_node(&a);
}

static void
test_large_and_small(void)
{
    enum { LARGE = 8 * 1024 * 1024, ROUNDS = 3, SMALL = 20 };
    struct node a, b;
    size_t n = 0;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    uint32_t to_b = meet(&a, ID_B, &b);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        send_frame(&a.sides[0], to_b, 0, round, LARGE + round);
        for (uint32_t i = 0; i < SMALL; i++) {
            send_frame(&a.sides[0], to_b, 0, i, i * 100);
        }
    }
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == ROUNDS * (SMALL + 1));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        assert_frame(&b.sides[0], n++, 1, 0, round, LARGE + round);
        for (uint32_t i = 0; i < SMALL; i++) {
            assert_frame(&b.sides[0], n++, 1, 0, i, i * 100);
        }
    }
    g_assert_cmpuint(counts_of(&a.sides[0]).dropped, ==, 0);
    close_node(&a);
    close_node(&b);
}

/* Several whole frames in one buffer. */
static void
test_run_of_frames(void)
{
    struct node a, b;
    g_autoptr(GByteArray) run = g_byte_array_new();
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    for (uint32_t i = 0; i < 1000; i++) {
        g_autoptr(GByteArray) frame = make_frame(i, i % 97);
        g_byte_array_append(run, frame->data, frame->len);
    }
    yk_links_send(a.sides[0].links, meet(&a, ID_B, &b), 0,
                  yk_buffer_new_copy(yk_slice_of(run->data, run->len)));
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_frame(&b.sides[0], i, 1, 0, i, i % 97);
    }
    close_node(&a);
    close_node(&b);
}

static void
test_restart(void)
{
    struct node a, b;
    struct yk_peer_info before, after;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    g_autofree char *address = g_strdup(b.listener.text);
    uint32_t to_b = meet(&a, ID_B, &b);
    send_frame(&a.sides[0], to_b, 0, 1, 1);
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == 1);
    yk_peers_get(a.peers, to_b, &before);
    close_node(&b);
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 1);
    send_frame(&a.sides[0], to_b, 0, 2, 2); /* is lost: there is nobody, and that is told */
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 2);
    g_assert_cmpuint(counts_of(&a.sides[0]).dropped, ==, 1);
    open_node(&b, ID_B, "b", address, 1, false);
    TURN_UNTIL(&a, &b, a.sides[0].n_up == 2); /* without that anybody sends */
    send_frame(&a.sides[0], to_b, 0, 3, 3);
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == 1);
    assert_frame(&b.sides[0], 0, 1, 0, 3, 3);
    yk_peers_get(a.peers, to_b, &after);
    g_assert_cmpuint(before.nonce, !=, after.nonce);
    g_assert_cmpuint(a.sides[0].n_down, ==, 2);
    close_node(&b);
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 3);
    skip_ms(61000); /* nobody has sent anything for a minute: it is left alone */
    TURN_UNTIL(&a, NULL, yk_links_timeout(a.sides[0].links) == -1);
    open_node(&b, ID_B, "b", address, 1, false);
    send_frame(&a.sides[0], to_b, 0, 4, 4);
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == 1);
    close_node(&a);
    close_node(&b);
}

/* A node that has come to us is gone to at once, however long nobody was there. */
static void
test_comes_back(void)
{
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    g_autofree char *address = g_strdup(b.listener.text);
    send_frame(&a.sides[0], meet(&a, ID_B, &b), 0, 1, 1);
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == 1);
    close_node(&b);
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 1);
    for (int i = 0; i < 10; i++) {
        skip_ms(1000);
        TURN_UNTIL(&a, NULL, yk_links_timeout(a.sides[0].links) > 10);
    }
    g_assert_cmpint(yk_links_timeout(a.sides[0].links), >, 300);
    open_node(&b, ID_B, "b", address, 1, false);
    send_frame(&b.sides[0], meet(&b, ID_A, &a), 0, 2, 2);
    TURN_UNTIL(&a, &b, a.sides[0].n_frames == 1);
    int next_ms = yk_links_timeout(a.sides[0].links); /* of a back-off, or until it must be up */
    g_assert_true(a.sides[0].n_up == 2 || next_ms < 10 || next_ms > 1000);
    TURN_UNTIL(&a, &b, a.sides[0].n_up == 2);
    close_node(&a);
    close_node(&b);
}

/* The address answers, and it is another node, or of another cluster, or without that worker. */
static void
test_wrong_one(void)
{
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    uint32_t to_c = yk_peers_put(a.peers, ID_C, "c", b.listener.text);
    send_frame(&a.sides[0], to_c, 0, 1, 1);
    TURN_UNTIL(&a, &b, a.sides[0].n_down == 1);
    g_assert_cmpuint(counts_of(&b.sides[0]).refused, >=, 1);
    send_frame(&a.sides[0], meet(&a, ID_B, &b), 3, 1, 1);
    TURN_UNTIL(&a, &b, a.sides[0].n_down >= 2);
    yk_peers_set_cluster(b.peers, ID_C);
    send_frame(&a.sides[0], meet(&a, ID_B, &b), 0, 1, 1);
    TURN_UNTIL(&a, &b, a.sides[0].n_down >= 3);
    g_assert_cmpuint(a.sides[0].n_up, ==, 0);
    g_assert_cmpuint(b.sides[0].n_frames, ==, 0);
    close_node(&a);
    close_node(&b);
}

static void
test_nobody_there(void)
{
    struct node a;
    open_node(&a, ID_A, "a", NULL, 1, false);
    uint32_t nowhere = yk_peers_put(a.peers, ID_C, "c", ""); /* known by its hello alone */
    uint32_t dead = yk_peers_put(a.peers, ID_B, "b", "127.0.0.1:1");
    send_frame(&a.sides[0], nowhere, 0, 1, 1);
    send_frame(&a.sides[0], dead, 0, 1, 1);
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 2);
    g_assert_cmpuint(a.sides[0].n_up, ==, 0);
    g_assert_cmpuint(counts_of(&a.sides[0]).dropped, ==, 2);
    close_node(&a);
}

/* Every pair of threads, whoever accepts. */
static void
test_handover(void)
{
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 3, true);
    open_node(&b, ID_B, "b", NULL, 4, true);
    uint32_t to_b = meet(&a, ID_B, &b);
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t k = 0; k < 4; k++) {
            send_frame(&a.sides[i], to_b, b.sides[k].worker, i * 10 + k, i * 1000 + k);
        }
    }
    for (uint32_t k = 0; k < 4; k++) {
        TURN_UNTIL(&a, &b, b.sides[k].n_frames == 3);
        for (uint32_t i = 0; i < 3; i++) {
            const struct got *got = frame_at(&b.sides[k], i);
            uint32_t from = got->worker == YK_WORKER_CONTROL ? 2 : got->worker;
            assert_frame(&b.sides[k], i, got->peer, got->worker, from * 10 + k, from * 1000 + k);
        }
        g_assert_cmpuint(counts_of(&b.sides[k]).n_guests, ==, 3);
    }
    close_node(&a);
    close_node(&b);
}

/* Much comes right behind the hello, in pieces, and none of it is lost on the way. */
static void
test_bytes_behind_hello(void)
{
    struct node b;
    open_node(&b, ID_B, "b", NULL, 4, false);
    for (uint32_t round = 0; round < 40; round++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        struct side *side = &b.sides[round % 4];
        struct yk_welcome welcome;
        size_t n_before = side->n_frames;
        int fd = connect_raw(&b);
        add_hello(bytes, ID_C, round, round % 4, round % 2 == 0 ? ID_B : "");
        for (uint32_t i = 0; i < 30; i++) {
            g_autoptr(GByteArray) frame = make_frame(i, i * round * 20);
            g_byte_array_append(bytes, frame->data, frame->len);
        }
        guint first = round < 20 ? MIN(bytes->len, 1 + round * 30) : bytes->len;
        write_raw(fd, bytes->data, first);
        turn(&b);
        write_raw(fd, bytes->data + first, bytes->len - first);
        TURN_UNTIL(&b, NULL, side->n_frames == n_before + 30);
        for (uint32_t i = 0; i < 30; i++) {
            assert_frame(side, n_before + i, 1, round, i, i * round * 20);
        }
        read_welcome(&b, fd, &welcome);
        g_assert_cmpstr(welcome.error, ==, "");
        close(fd);
    }
    close_node(&b);
}

struct other_thread {
    struct side *side;
    int is_over;     /* atomic */
    size_t n_frames; /* atomic */
};

static gpointer
run_side(gpointer arg)
{
    struct other_thread *thread = arg;
    start_side(thread->side);
    while (!__atomic_load_n(&thread->is_over, __ATOMIC_ACQUIRE)) {
        turn_side(thread->side, 1000);
        __atomic_store_n(&thread->n_frames, thread->side->n_frames, __ATOMIC_RELEASE);
    }
    yk_links_free(
        thread->side->links); /* by the thread that waited; the loop is woken until then */
    thread->side->links = NULL;
    return NULL;
}

/* One thread accepts, another serves; it sleeps for ever where nobody wakes it. */
static void
test_threads(void)
{
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_peers(&b, ID_B, "b", NULL, 1);
    open_side(&b, &b.sides[0], 0, b.listener.fds[0]);
    open_side(&b, &b.sides[1], YK_WORKER_CONTROL, -1);
    start_side(&b.sides[0]);
    struct other_thread other = {&b.sides[1], 0, 0};
    GThread *thread = g_thread_new("control", run_side, &other);
    uint32_t to_b = meet(&a, ID_B, &b);
    for (uint32_t i = 1; i <= 100; i++) {
        send_frame(&a.sides[0], to_b, YK_WORKER_CONTROL, i, i * 1000);
        send_frame(&a.sides[0], to_b, 0, i, i);
        TURN_UNTIL(&a, &b,
                   __atomic_load_n(&other.n_frames, __ATOMIC_ACQUIRE) == i &&
                       b.sides[0].n_frames == i);
    }
    __atomic_store_n(&other.is_over, 1, __ATOMIC_RELEASE);
    yk_loop_wake(b.sides[1].loop, NULL);
    g_thread_join(thread);
    close_side(&b.sides[1]);
    TURN_UNTIL(&a, &b, a.sides[0].n_down == 1);
    send_frame(&a.sides[0], to_b, YK_WORKER_CONTROL, 1, 1); /* refused in words from now on */
    TURN_UNTIL(&a, &b, counts_of(&b.sides[0]).refused > 0);
    close_node(&a);
    close_node(&b);
}

static void
test_garbage(void)
{
    static const char http[] = "GET / HTTP/1.0\r\n\r\n";
    static const uint8_t request[] = {0x94, 0, 1, 0xa3, 'g', 'e', 't', 0x90};
    static const uint8_t notice[] = {0x93, 2, 0xa5, 'h', 'e', 'l', 'l', 'o', 0x90};
    static const uint8_t bomb[] = {0x94, 0, 0, 0xdb, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t large[] = {0x94, 0, 0, 0xc5, 0x10, 0x00};
    static const uint8_t deep[] = {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91};
    const struct yk_slice cases[] = {{http, sizeof(http) - 1},  {request, sizeof(request)},
                                     {notice, sizeof(notice)},  {bomb, sizeof(bomb)},
                                     {large, sizeof(large)},    {deep, sizeof(deep)},
                                     {"\xc1 and so on, on", 15}};
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 2, false);
    uint32_t to_b = meet(&a, ID_B, &b);
    send_frame(&a.sides[0], to_b, 1, 1, 1);
    TURN_UNTIL(&a, &b, b.sides[1].n_frames == 1);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        int fd = connect_raw(&b);
        write_raw(fd, cases[i].data, cases[i].size);
        assert_closed(&b, fd);
        struct yk_welcome welcome;
        fd = connect_raw(&b); /* the same behind a hello; text is numbers in MessagePack */
        say_hello(fd, ID_C, 0, 0, "");
        read_welcome(&b, fd, &welcome);
        size_t n_before = b.sides[0].n_frames;
        write_raw(fd, cases[i].data, cases[i].size);
        if (i == 3 || i >= 5) {
            assert_closed(&b, fd);
        } else {
            if (i != 4) {
                TURN_UNTIL(&b, NULL, b.sides[0].n_frames > n_before);
            }
            close(fd);
        }
    }
    struct yk_random random = {11};
    for (int i = 0; i < 200; i++) {
        uint8_t bytes[64];
        int fd = connect_raw(&b);
        for (size_t k = 0; k < sizeof(bytes); k++) {
            bytes[k] = (uint8_t)yk_random_next(&random);
        }
        write_raw(fd, bytes, sizeof(bytes));
        turn(&b);
        close(fd);
    }
    send_frame(&a.sides[0], to_b, 1, 2, 2);
    TURN_UNTIL(&a, &b, b.sides[1].n_frames == 2);
    g_assert_cmpuint(a.sides[0].n_down, ==, 0);
    close_node(&a);
    close_node(&b);
}

static void
test_refusals(void)
{
    const struct {
        const char *id, *to_id;
        uint32_t to;
        const char *words;
    } cases[] = {
        {ID_C, ID_C, 0, "this is node " ID_B ", and node " ID_C " is meant"},
        {ID_C, ID_B, 1, "this node has no worker 1"},
        {"", "", 0xfffe, "this node has no worker 65534"},
        {ID_C, ID_B, YK_WORKER_CONTROL, "this node has no worker 65535"},
    };
    struct node b;
    open_node(&b, ID_B, "b", NULL, 1, false);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_welcome welcome;
        int fd = connect_raw(&b);
        say_hello(fd, cases[i].id, 0, cases[i].to, cases[i].to_id);
        read_welcome(&b, fd, &welcome);
        g_assert_cmpstr(welcome.error, ==, cases[i].words);
        write_raw(fd, "\xc1", 1); /* is not looked at any more */
        shutdown(fd, SHUT_WR);
        assert_closed(&b, fd);
    }
    struct yk_welcome welcome;
    int fd = connect_raw(&b); /* one that stays is closed in the end */
    say_hello(fd, ID_C, 0, 1, "");
    read_welcome(&b, fd, &welcome);
    TURN_UNTIL(&b, NULL, recv(fd, &welcome, 1, MSG_DONTWAIT) == 0); /* nothing more is said */
    g_assert_cmpuint(counts_of(&b.sides[0]).n_guests, ==, 1);
    skip_ms(1100);
    TURN_UNTIL(&b, NULL, counts_of(&b.sides[0]).n_guests == 0);
    g_assert_cmpuint(counts_of(&b.sides[0]).refused, ==, 5);
    close(fd);
    close_node(&b);
}

static void
test_deadline(void)
{
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    int silent = connect_raw(&b), slow = connect_raw(&b);
    TURN_UNTIL(&b, NULL, counts_of(&b.sides[0]).n_guests == 2);
    write_raw(slow, "\x94", 1);
    skip_ms(4000);
    turn(&b);
    g_assert_cmpuint(counts_of(&b.sides[0]).n_guests, ==, 2);
    skip_ms(1500);
    assert_closed(&b, silent);
    assert_closed(&b, slow);
    send_frame(&a.sides[0], meet(&a, ID_B, &b), 0, 1, 1); /* and one that is not answered */
    turn(&a);
    turn(&a);
    skip_ms(5500);
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 1);
    TURN_UNTIL(&a, &b, a.sides[0].n_up == 1);
    close_node(&a);
    close_node(&b);
}

/* The other node does not read: what waits is bounded, and that some is lost is told. */
static void
test_output_bound(void)
{
    enum { SIZE = 4 * 1024 * 1024 };
    struct node a, b;
    open_node(&a, ID_A, "a", NULL, 1, false);
    open_node(&b, ID_B, "b", NULL, 1, false);
    uint32_t to_b = meet(&a, ID_B, &b);
    send_frame(&a.sides[0], to_b, 0, 1, 1);
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == 1);
    uint32_t n_sent = 0;
    for (; a.sides[0].n_down == 0; n_sent++) {
        g_assert_cmpuint(n_sent, <, 40);
        send_frame(&a.sides[0], to_b, 0, n_sent, SIZE);
        turn(&a);
    }
    g_assert_cmpuint(n_sent, >, YK_LINK_OUTPUT_MAX / SIZE - 2);
    g_assert_cmpuint(counts_of(&a.sides[0]).dropped, >=, YK_LINK_OUTPUT_MAX / SIZE - 2);
    TURN_UNTIL(&a, &b, a.sides[0].n_up == 2); /* a new connection, and it goes on */
    size_t n_before = b.sides[0].n_frames;
    send_frame(&a.sides[0], to_b, 0, 7, 7);
    TURN_UNTIL(&a, &b, b.sides[0].n_frames == n_before + 1);
    assert_frame(&b.sides[0], n_before, 1, 0, 7, 7);
    close_node(&b);
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 2);
    for (uint32_t i = 0; i < 20; i++) { /* all in one turn, while it is not up */
        send_frame(&a.sides[0], to_b, 0, i, SIZE);
    }
    g_assert_cmpuint(counts_of(&a.sides[0]).dropped, >, 0);
    TURN_UNTIL(&a, NULL, a.sides[0].n_down == 3);
    close_node(&a);
}

static void
test_tools(void)
{
    struct node b;
    struct yk_welcome welcome;
    int fds[YK_TOOLS_MAX];
    open_node(&b, ID_B, "b", NULL, 2, false);
    for (int i = 0; i < YK_TOOLS_MAX; i++) {
        fds[i] = connect_raw(&b);
        say_hello(fds[i], "", 0, 1, "");
        read_welcome(&b, fds[i], &welcome);
        g_assert_cmpstr(welcome.error, ==, "");
        g_assert_cmpstr(welcome.node_id, ==, ID_B);
    }
    int one_more = connect_raw(&b);
    say_hello(one_more, "", 0, 1, "");
    read_welcome(&b, one_more, &welcome);
    g_assert_nonnull(strstr(welcome.error, "64 tools"));
    close(one_more);
    g_assert_cmpuint(b.sides[1].n_up, ==, YK_TOOLS_MAX);
    g_autoptr(GByteArray) question = make_frame(1, 100);
    write_raw(fds[5], question->data, question->len);
    TURN_UNTIL(&b, NULL, b.sides[1].n_frames == 1);
    const struct got *got = frame_at(&b.sides[1], 0);
    uint32_t tool = got->peer;
    g_assert_true((tool & YK_PEER_TOOL) != 0);
    send_frame(&b.sides[1], tool, got->worker, 2, 200);
    g_autoptr(GByteArray) expected = make_frame(2, 200);
    g_autoptr(GByteArray) answered = read_raw(&b, fds[5]);
    g_assert_cmpmem(answered->data, answered->len, expected->data, expected->len);
    close(fds[5]);
    TURN_UNTIL(&b, NULL, b.sides[1].n_down == 1);
    send_frame(&b.sides[1], tool, 0, 3, 3); /* it is gone, and its index with it */
    g_assert_cmpuint(counts_of(&b.sides[1]).dropped, ==, 1);
    fds[5] = connect_raw(&b);
    say_hello(fds[5], "", 0, 1, "");
    read_welcome(&b, fds[5], &welcome);
    g_assert_cmpstr(welcome.error, ==, "");
    for (int i = 0; i < YK_TOOLS_MAX; i++) {
        close(fds[i]);
    }
    TURN_UNTIL(&b, NULL, b.sides[1].n_down == YK_TOOLS_MAX + 1);
    g_assert_cmpuint(yk_peers_count(b.peers), ==, 1);
    close_node(&b);
}

/* So many wait for their hello that no more are let in; one that goes makes room. */
static void
test_greetings_bound(void)
{
    struct node b;
    struct yk_welcome welcome;
    int fds[YK_GREETINGS_MAX];
    open_node(&b, ID_B, "b", NULL, 1, false);
    for (int i = 0; i < YK_GREETINGS_MAX; i++) {
        fds[i] = connect_raw(&b);
        turn(&b);
    }
    TURN_UNTIL(&b, NULL, counts_of(&b.sides[0]).n_guests == YK_GREETINGS_MAX);
    assert_closed(&b, connect_raw(&b));
    close(fds[0]);
    TURN_UNTIL(&b, NULL, counts_of(&b.sides[0]).n_guests == YK_GREETINGS_MAX - 1);
    fds[0] = connect_raw(&b);
    say_hello(fds[0], ID_C, 0, 0, "");
    read_welcome(&b, fds[0], &welcome);
    g_assert_cmpstr(welcome.error, ==, "");
    for (int i = 0; i < YK_GREETINGS_MAX; i++) {
        close(fds[i]);
    }
    TURN_UNTIL(&b, NULL, counts_of(&b.sides[0]).n_guests == 0);
    close_node(&b);
}

/* A node's new connection ends the old one, so that frames keep their order. */
static void
test_replaced(void)
{
    struct node b;
    struct yk_welcome welcome;
    open_node(&b, ID_B, "b", NULL, 1, false);
    int first = connect_raw(&b);
    say_hello(first, ID_C, 3, 0, "");
    read_welcome(&b, first, &welcome);
    int beside = connect_raw(&b);
    say_hello(beside, ID_C, 2, 0, "");
    read_welcome(&b, beside, &welcome);
    int second = connect_raw(&b);
    say_hello(second, ID_C, 3, 0, "");
    read_welcome(&b, second, &welcome);
    assert_closed(&b, first);
    g_assert_cmpuint(counts_of(&b.sides[0]).n_guests, ==, 2);
    close(beside);
    close(second);
    close_node(&b);
}

/* Who reads slowly gets all in the end, and memory follows what has come. */
static void
test_slow_sender(void)
{
    struct node b;
    struct yk_welcome welcome;
    g_autoptr(GByteArray) frame = make_frame(9, 300000);
    open_node(&b, ID_B, "b", NULL, 1, false);
    int fd = connect_raw(&b);
    say_hello(fd, ID_C, 0, 0, "");
    read_welcome(&b, fd, &welcome);
    for (guint at = 0; at < frame->len;) {
        guint size = MIN(frame->len - at, at < 100 ? 1 : 1 + at % 5000);
        write_raw(fd, frame->data + at, size);
        at += size;
        turn(&b);
    }
    TURN_UNTIL(&b, NULL, b.sides[0].n_frames == 1);
    assert_frame(&b.sides[0], 0, 1, 0, 9, 300000);
    close(fd);
    close_node(&b);
}

static void
test_peers(void)
{
    struct node a;
    struct yk_peer_info info;
    struct yk_hello hello = {.name = "b", .node_id = ID_B, .address = "127.0.0.1:5", .nonce = 8};
    char error[YK_ERROR_SIZE];
    struct yk_welcome yes = {.version = 1};
    uint32_t index;
    open_peers(&a, ID_A, "a", NULL, 1);
    g_assert_cmpuint(yk_peers_put(a.peers, "", "b", "127.0.0.1:4"), ==, 1);
    g_assert_cmpuint(yk_peers_put(a.peers, NULL, "c", "[::1]:4"), ==, 2);
    g_assert_cmpuint(yk_peers_put(a.peers, NULL, "b", ""), ==, 1);
    g_assert_cmpuint(yk_peers_put(a.peers, ID_A, "a", "127.0.0.1:4"), ==, YK_PEER_SELF);
    g_assert_cmpuint(yk_peers_put(a.peers, ID_C, "d", "unix:/x"), ==, YK_PEER_NONE);
    g_assert_cmpuint(yk_peers_put(a.peers, ID_C, "d", "example.org:1"), ==, YK_PEER_NONE);
    g_assert_cmpint(yk_peers_greeted(a.peers, &hello, &yes, &index, error), ==, YK_OK);
    g_assert_cmpuint(index, ==, 1); /* by its name */
    g_assert_cmpuint(yk_peers_find(a.peers, ID_B), ==, 1);
    yk_peers_get(a.peers, 1, &info);
    g_assert_cmpstr(info.address, ==, "127.0.0.1:5");
    g_assert_cmpuint(info.nonce, ==, 8);
    g_strlcpy(hello.node_id, ID_C, YK_ID_SIZE); /* a node of that name with another folder */
    g_assert_cmpint(yk_peers_greeted(a.peers, &hello, &yes, &index, error), ==, YK_OK);
    g_assert_cmpuint(index, ==, 3);
    g_assert_cmpuint(yk_peers_put(a.peers, "", "b", "127.0.0.1:6"), ==, 3);
    struct yk_welcome welcome = {.node_id = ID_B, .nonce = 1};
    g_assert_cmpint(yk_peers_welcomed(a.peers, 2, &welcome, error), ==, YK_EDENIED);
    g_assert_cmpint(yk_peers_welcomed(a.peers, 1, &welcome, error), ==, YK_OK);
    g_strlcpy(hello.address, "systemd:x", sizeof(hello.address));
    g_assert_cmpint(yk_peers_greeted(a.peers, &hello, &yes, &index, error), ==, YK_EDENIED);
    hello.address[0] = '\0';
    for (uint32_t i = yk_peers_count(a.peers); i < YK_PEERS_MAX; i++) {
        snprintf(hello.node_id, YK_ID_SIZE, "0d0d0d0d-0000-4000-8000-%012x", i);
        g_assert_cmpint(yk_peers_greeted(a.peers, &hello, &yes, &index, error), ==, YK_OK);
        g_assert_cmpuint(index, ==, i);
    }
    g_strlcpy(hello.node_id, "0e0d0d0d-0000-4000-8000-00000000000a", YK_ID_SIZE);
    g_assert_cmpint(yk_peers_greeted(a.peers, &hello, &yes, &index, error), ==, YK_EDENIED);
    g_assert_nonnull(strstr(error, "1023"));
    g_assert_cmpuint(yk_peers_put(a.peers, hello.node_id, "e", ""), ==, YK_PEER_NONE);
    yk_listener_close(&a.listener);
    yk_peers_free(a.peers);
}

struct test {
    const char *name;
    void (*run)(void);
    enum yk_io_engine engine;
};

static void
run_test(gconstpointer data)
{
    const struct test *test = data;
    struct yk_loop_handler handler = {0};
    struct yk_loop *loop;
    engine = test->engine;
    if (yk_loop_open(engine, &handler, &loop) != YK_OK) {
        g_test_skip("this system does not let us");
        return;
    }
    yk_loop_close(loop);
    test->run();
}

#define TESTS(engine)                                                                              \
    {"both_ways", test_both_ways, engine}, {"itself", test_itself, engine},                        \
        {"large_and_small", test_large_and_small, engine},                                         \
        {"run_of_frames", test_run_of_frames, engine}, {"restart", test_restart, engine},          \
        {"comes_back", test_comes_back, engine}, {"wrong_one", test_wrong_one, engine},            \
        {"nobody_there", test_nobody_there, engine}, {"handover", test_handover, engine},          \
        {"bytes_behind_hello", test_bytes_behind_hello, engine},                                   \
        {"threads", test_threads, engine}, {"garbage", test_garbage, engine},                      \
        {"refusals", test_refusals, engine}, {"deadline", test_deadline, engine},                  \
        {"output_bound", test_output_bound, engine}, {"tools", test_tools, engine},                \
        {"greetings_bound", test_greetings_bound, engine}, {"replaced", test_replaced, engine},    \
    {                                                                                              \
        "slow_sender", test_slow_sender, engine                                                    \
    }

int
main(int argc, char **argv)
{
    static const struct test tests[] = {TESTS(YK_IO_EPOLL), TESTS(YK_IO_URING)};
    g_test_init(&argc, &argv, NULL);
    yk_system_init(&the_system, YK_LOG_ERROR);
    world = the_system.world;
    world.now_us = skipping_now_us;
    world.log = quiet_log;
    g_test_add_func("/peers/table", test_peers);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf(
            "/links/%s/%s", tests[i].engine == YK_IO_EPOLL ? "epoll" : "io_uring", tests[i].name);
        g_test_add_data_func(path, &tests[i], run_test);
    }
    return g_test_run();
}
