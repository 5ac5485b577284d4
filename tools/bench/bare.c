/* The bare responder; see bare.h. One read and one write for a connection's turn. */
#include <config.h>

#include "tools/bench/bare.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <glib.h>

#include "tools/bench/address.h"

enum {
    READ_SIZE = 64 * 1024,
    STASH_MAX = 2 * 1024 * 1024, /* of a request that has not come whole */
    OUT_SIZE = 256 * 1024,
    EVENTS_MAX = 256,
};

struct client {
    int fd;
    uint64_t skipped; /* bytes of a set's data that are still to come */
    size_t stash_size;
    char *stash;
};

struct bare {
    int epoll, listener;
    char *text_tail, *resp_tail; /* of an answer: what follows the key */
    size_t text_tail_size, resp_tail_size;
    struct client *client; /* whose turn it is */
    size_t out_size, out_max;
    char *out;
    char in[STASH_MAX + READ_SIZE];
};

static volatile sig_atomic_t is_over;

static void
on_end(int number)
{
    (void)number;
    is_over = 1;
}

/* Sends what has been put; waits where the client is slow. */
static bool
flush(struct bare *bare)
{
    for (size_t at = 0; at < bare->out_size && !is_over;) {
        ssize_t n = send(bare->client->fd, bare->out + at, bare->out_size - at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            return false;
        }
        at += n > 0 ? (size_t)n : 0;
        struct pollfd writable = {.fd = bare->client->fd, .events = POLLOUT};
        if (at < bare->out_size) {
            (void)poll(&writable, 1, 100);
        }
    }
    bare->out_size = 0;
    return true;
}

static bool
put(struct bare *bare, const char *bytes, size_t size)
{
    if (bare->out_max - bare->out_size < size && !flush(bare)) {
        return false;
    }
    memcpy(bare->out + bare->out_size, bytes, size);
    bare->out_size += size;
    return true;
}

/* "get KEY..." */
static bool
answer_gets(struct bare *bare, const char *at, const char *end)
{
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *key_end = space != NULL ? space : end;
        if (key_end > at && key_end - at <= 250 &&
            (!put(bare, "VALUE ", 6) || !put(bare, at, (size_t)(key_end - at)) ||
             !put(bare, bare->text_tail, bare->text_tail_size))) {
            return false;
        }
        at = key_end + 1;
    }
    return put(bare, "END\r\n", 5);
}

/* Returns where the next request begins; NULL: this one is not whole; failure: the client is gone.
 */
static const char *
answer_text(struct bare *bare, const char *at, const char *end, bool *is_gone)
{
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    if (line_end == NULL) {
        return NULL;
    }
    if (line_end - at > 4 && memcmp(at, "get ", 4) == 0) {
        *is_gone = !answer_gets(bare, at + 4, line_end - (line_end[-1] == '\r'));
    } else if (line_end - at > 4 && memcmp(at, "set ", 4) == 0) {
        const char *number = line_end;
        while (number[-1] != ' ') {
            number--;
        }
        bare->client->skipped = MIN(g_ascii_strtoull(number, NULL, 10), (guint64)G_MAXUINT32) + 2;
        *is_gone = !put(bare, "STORED\r\n", 8);
    } else {
        *is_gone = !put(bare, "ERROR\r\n", 7);
    }
    return line_end + 1;
}

/* "*3\r\n$3\r\nSET\r\n...": the sizes lead from word to word. */
static const char *
answer_resp(struct bare *bare, const char *at, const char *end, bool *is_gone)
{
    char *after;
    guint64 n_words = g_ascii_strtoull(at + 1, &after, 10);
    const char *word = NULL;
    at = after + 2;
    for (guint64 i = 0; i < n_words; i++) {
        const char *line_end = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (line_end == NULL) {
            return NULL;
        }
        guint64 size = MIN(g_ascii_strtoull(at + 1, NULL, 10), (guint64)G_MAXUINT32);
        word = i == 0 ? line_end + 1 : word;
        if ((guint64)(end - line_end) < size + 3) {
            return NULL;
        }
        at = line_end + 1 + size + 2;
    }
    if (word == NULL || *word == 'S') {
        *is_gone = !put(bare, "+OK\r\n", 5);
        return at;
    }
    if (*word == 'M') {
        char head[32];
        int size = g_snprintf(head, sizeof(head), "*%" G_GUINT64_FORMAT "\r\n", n_words - 1);
        *is_gone = !put(bare, head, (size_t)size);
    }
    for (guint64 i = 1; i < n_words && !*is_gone; i++) {
        *is_gone = !put(bare, bare->resp_tail, bare->resp_tail_size);
    }
    return at;
}

/* Answers what has come whole and keeps the rest. */
static bool
answer(struct bare *bare, size_t size)
{
    struct client *client = bare->client;
    const char *at = bare->in, *end = bare->in + size;
    bool is_gone = false;
    while (at < end && !is_gone) {
        if (client->skipped > 0) {
            uint64_t n = MIN(client->skipped, (uint64_t)(end - at));
            client->skipped -= n;
            at += n;
            continue;
        }
        const char *next = *at == '*' ? answer_resp(bare, at, end, &is_gone)
                                      : answer_text(bare, at, end, &is_gone);
        if (next == NULL) {
            break;
        }
        at = next;
    }
    size_t left = (size_t)(end - at);
    if (is_gone || left > STASH_MAX || !flush(bare)) {
        return false;
    }
    if (left > 0) {
        client->stash = g_realloc(client->stash, left);
        memcpy(client->stash, at, left);
    }
    client->stash_size = left;
    return true;
}

static void
turn(struct bare *bare, struct client *client)
{
    bare->client = client;
    bare->out_size = 0;
    if (client->stash_size > 0) {
        memcpy(bare->in, client->stash, client->stash_size);
    }
    ssize_t n = recv(client->fd, bare->in + client->stash_size, READ_SIZE - 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    size_t size = client->stash_size + (size_t)MAX(n, 0);
    bare->in[size] = '\0'; /* numbers end somewhere */
    if (n <= 0 || !answer(bare, size)) {
        close(client->fd);
        g_free(client->stash);
        g_free(client);
    }
}

static void
take_client(struct bare *bare)
{
    int fd = accept4(bare->listener, NULL, NULL, SOCK_CLOEXEC);
    int one = 1;
    if (fd < 0) {
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct client *client = g_new0(struct client, 1);
    client->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = client}};
    if (epoll_ctl(bare->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        g_free(client);
    }
}

static bool
listen_on(struct bare *bare, const char *text)
{
    struct sockaddr_storage address;
    socklen_t size;
    char error[256];
    if (!bench_address(text, &address, &size, error, sizeof(error))) {
        fprintf(stderr, "yakumo bench: %s\n", error);
        return false;
    }
    int one = 1;
    bare->listener = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bare->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (bare->listener < 0 || bare->epoll < 0 ||
        setsockopt(bare->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(bare->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(bare->listener, 4096) != 0 ||
        getsockname(bare->listener, (struct sockaddr *)&address, &size) != 0 ||
        epoll_ctl(bare->epoll, EPOLL_CTL_ADD, bare->listener, &event) != 0) {
        fprintf(stderr, "yakumo bench: cannot listen on %s: %s\n", text, g_strerror(errno));
        return false;
    }
    if (address.ss_family == AF_UNIX) {
        printf("listening on %s\n", text);
    } else {
        /* Port 0 has become another one; it stands at the same place for both families. */
        unsigned port = ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
        printf("listening on %.*s:%u\n", (int)(strrchr(text, ':') - text), text, port);
    }
    fflush(stdout);
    return true;
}

bool
bench_bare(const char *listen, uint32_t value_size)
{
    g_autofree char *data = g_strnfill(value_size, 'x');
    struct bare *bare = g_new0(struct bare, 1);
    bare->text_tail = g_strdup_printf(" 0 %u\r\n%s\r\n", value_size, data);
    bare->resp_tail = g_strdup_printf("$%u\r\n%s\r\n", value_size, data);
    bare->text_tail_size = strlen(bare->text_tail);
    bare->resp_tail_size = strlen(bare->resp_tail);
    bare->out_max = OUT_SIZE + bare->text_tail_size;
    bare->out = g_malloc(bare->out_max);
    bare->listener = bare->epoll = -1;
    struct sigaction action = {.sa_handler = on_end};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool is_right = listen_on(bare, listen);
    while (is_right && !is_over) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(bare->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                take_client(bare);
            } else {
                turn(bare, events[i].data.ptr);
            }
        }
    }
    close(bare->listener);
    close(bare->epoll);
    g_free(bare->out);
    g_free(bare->text_tail);
    g_free(bare->resp_tail);
    g_free(bare);
    return is_right;
}
