/* The links of a thread: their life, their lists, their time. */
#include <config.h>

#include "core/io/links.h"

#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/io/links_inside.h"

enum { COMPLAINT_MS = 1000 };

static void
look_at_clock(struct yk_links *links)
{
    links->now_ms = links->config.world->now_us(links->config.world->arg) / 1000;
}

/* What the files share */

void
yk_link_touch(struct link *link)
{
    if (!link->is_touched) {
        link->is_touched = true;
        TAILQ_INSERT_TAIL(&link->links->touched, link, in_touched);
    }
}

void
yk_link_set_deadline(struct link *link, uint64_t in_ms)
{
    struct yk_links *links = link->links;
    look_at_clock(links);
    if (link->is_timed) {
        TAILQ_REMOVE(&links->timed, link, in_timed);
    }
    link->is_timed = in_ms > 0;
    link->deadline_ms = in_ms > 0 ? links->now_ms + in_ms : 0;
    if (link->is_timed) {
        TAILQ_INSERT_TAIL(&links->timed, link, in_timed);
        if (links->next_ms == 0 || link->deadline_ms < links->next_ms) {
            links->next_ms = link->deadline_ms;
        }
    }
}

void
yk_links_complain(struct yk_links *links, const char *format, ...)
{
    char line[YK_ERROR_SIZE];
    va_list arguments;
    if (links->complained_ms != 0 && links->now_ms - links->complained_ms < COMPLAINT_MS) {
        return;
    }
    links->complained_ms = links->now_ms;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    yk_log(links->config.world, YK_LOG_WARNING, "links", "%s", line);
}

static void
complain_of(struct link *link, const char *why)
{
    char from[INET6_ADDRSTRLEN + 16] = "?";
    union yk_socket_address address = {0};
    socklen_t size = sizeof(address);
    if (link->is_complained) {
        return;
    }
    if (link->is_outgoing) {
        struct yk_peer_info info;
        link->is_complained = true;
        yk_peers_get(link->links->config.peers, link->peer, &info);
        yk_links_complain(link->links, "link %s node=%s address=%s worker=%u reason=\"%s\"",
                          link->state == LINK_UP ? "lost" : "not made", info.name, info.address,
                          link->worker, why);
        return;
    }
    if (getpeername(link->loop.fd, &address.any, &size) == 0) {
        yk_socket_address_print(&address, from, sizeof(from));
    }
    yk_links_complain(link->links, "connection closed from=%s reason=\"%s\"", from, why);
}

void
yk_link_fail(struct link *link, const char *why)
{
    if (link->is_failed) {
        return;
    }
    link->is_failed = true;
    TAILQ_INSERT_TAIL(&link->links->failed, link, in_failed);
    if (why != NULL) {
        complain_of(link, why);
    }
}

void
yk_links_retire(struct yk_links *links, void *memory)
{
    *(void **)memory = links->retired;
    links->retired = memory;
}

/* So that a machine which has gone without a word is noticed. */
void
yk_link_set_options(int fd)
{
    int on = 1, silent_s = LINK_SILENT_S, between_s = 2, n = 3;
    unsigned int silent_ms = LINK_SILENT_S * 1000;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &silent_s, sizeof(silent_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between_s, sizeof(between_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &n, sizeof(n));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof(silent_ms));
}

int
yk_link_detach(struct link *link)
{
    YK_ASSERT(link->has_conn);
    yk_loop_remove(link->links->config.loop, &link->loop);
    link->has_conn = false;
    return link->loop.fd;
}

void
yk_link_free(struct link *link)
{
    struct yk_links *links = link->links;
    YK_ASSERT(!link->has_conn);
    yk_link_set_deadline(link, 0);
    if (link->is_failed) {
        TAILQ_REMOVE(&links->failed, link, in_failed);
    }
    if (link->is_touched) {
        TAILQ_REMOVE(&links->touched, link, in_touched);
    }
    if (!link->is_outgoing) {
        TAILQ_REMOVE(link->is_tool ? &links->tools : &links->guests, link, in_guests);
        links->counts.n_guests--;
    }
    yk_link_drop(link);
    free(link->hello);
    free(link);
}

/* The handler */

static void
accepted(void *arg, uint32_t listener, int fd)
{
    (void)listener;
    yk_link_accepted(arg, fd);
}

static void
accept_failed(void *arg, uint32_t listener, int error)
{
    (void)listener;
    yk_links_complain(arg, "cannot accept error=\"%s\"; raise the limit of open files (ulimit -n)",
                      strerror(error));
}

static void
room(void *arg, struct yk_loop_conn *conn, uint8_t **ret_room, size_t *ret_size)
{
    (void)arg;
    yk_link_room((struct link *)conn, ret_room, ret_size);
}

static void
received(void *arg, struct yk_loop_conn *conn, const uint8_t *bytes, size_t size, int error)
{
    struct link *link = (struct link *)conn;
    (void)arg;
    if (size > 0) {
        yk_link_take(link, bytes, size);
        return;
    }
    /* A guest that goes is nothing to speak of. */
    yk_link_fail(link, !link->is_outgoing ? NULL
                       : error == 0       ? "closed by the other node"
                                          : strerror(error));
}

static void
sent(void *arg, struct yk_loop_conn *conn, size_t size, int error)
{
    struct link *link = (struct link *)conn;
    (void)arg;
    if (error != 0) {
        yk_link_fail(link, link->is_outgoing ? strerror(error) : NULL);
        return;
    }
    yk_link_sent(link, size);
    if (link->state == LINK_REFUSED && link->head == NULL) {
        (void)shutdown(link->loop.fd, SHUT_WR); /* it is read to its end, so that this arrives */
    }
    if (link->head != NULL || link->n_queued > 0) {
        yk_link_touch(link);
    }
}

static void
connected(void *arg, struct yk_loop_conn *conn, int error)
{
    (void)arg;
    yk_link_connected((struct link *)conn, error);
}

/* Time */

/* Its time is over, whatever it was given for. */
static void
expire(struct link *link)
{
    switch (link->state) {
    case LINK_WAITING:
        yk_link_waited(link);
        break;
    case LINK_CONNECTING:
    case LINK_ASKING:
        yk_link_fail(link, "no answer in time");
        break;
    case LINK_GREETING:
        yk_link_fail(link, "no hello in time");
        break;
    default:
        yk_link_fail(link, NULL);
    }
}

static void
expire_all(struct yk_links *links)
{
    struct link *link = TAILQ_FIRST(&links->timed), *next;
    uint64_t next_ms = 0;
    for (; link != NULL; link = next) {
        next = TAILQ_NEXT(link, in_timed);
        if (link->deadline_ms <= links->now_ms) {
            yk_link_set_deadline(link, 0);
            expire(link);
        }
    }
    TAILQ_FOREACH(link, &links->timed, in_timed)
    {
        next_ms = next_ms == 0 || link->deadline_ms < next_ms ? link->deadline_ms : next_ms;
    }
    links->next_ms = next_ms;
}

static void
leave_all(struct yk_links *links)
{
    struct link *link = TAILQ_FIRST(&links->timed), *next;
    for (; link != NULL; link = next) {
        next = TAILQ_NEXT(link, in_timed);
        if (link->state == LINK_LEAVING && !link->is_failed) {
            yk_link_leave(link);
        }
    }
}

static void
end_failed(struct yk_links *links)
{
    const struct link *last = TAILQ_LAST(&links->failed, link_list);
    bool is_over = last == NULL;
    while (!is_over) { /* what fails meanwhile is for the next run */
        struct link *link = TAILQ_FIRST(&links->failed);
        is_over = link == last;
        TAILQ_REMOVE(&links->failed, link, in_failed);
        link->is_failed = false;
        if (link->has_conn) {
            close(yk_link_detach(link));
        }
        if (link->is_outgoing) {
            yk_link_lost(link);
        } else {
            yk_link_gone(link);
        }
    }
}

void
yk_links_run(struct yk_links *links)
{
    look_at_clock(links);
    yk_links_take_handed(links);
    if (links->next_ms != 0 && links->now_ms >= links->next_ms) {
        expire_all(links);
    }
    if (links->n_leaving > 0) {
        leave_all(links);
    }
    end_failed(links);
}

void
yk_links_flush(struct yk_links *links)
{
    struct link *link;
    while ((link = TAILQ_FIRST(&links->touched)) != NULL) {
        TAILQ_REMOVE(&links->touched, link, in_touched);
        link->is_touched = false;
        if (link->state == LINK_IDLE && !link->is_failed) {
            yk_link_connect(link);
        }
        yk_link_send(link);
    }
    while (links->retired != NULL) {
        void *memory = links->retired;
        links->retired = *(void **)memory;
        free(memory);
    }
}

int
yk_links_timeout(const struct yk_links *links)
{
    if (!TAILQ_EMPTY(&links->failed) || !TAILQ_EMPTY(&links->touched)) {
        return 0;
    }
    if (links->next_ms == 0) {
        return -1;
    }
    uint64_t now_ms = links->config.world->now_us(links->config.world->arg) / 1000;
    return links->next_ms <= now_ms ? 0 : (int)(links->next_ms - now_ms);
}

/* Sending */

static struct link *
tool_of(struct yk_links *links, uint32_t peer)
{
    struct link *link;
    TAILQ_FOREACH(link, &links->tools, in_guests)
    {
        if (link->peer == peer && !link->is_failed) {
            return link;
        }
    }
    return NULL;
}

void
yk_links_send(struct yk_links *links, uint32_t peer, uint32_t worker, struct yk_buffer *bytes)
{
    bool is_tool = (peer & YK_PEER_TOOL) != 0;
    struct link *link = is_tool ? tool_of(links, peer) : yk_link_to(links, peer, worker);
    if (link == NULL || !yk_link_put(link, bytes)) {
        yk_buffer_unref(bytes);
        links->counts.dropped++;
        if (link != NULL) {
            link->has_lost = true;
            yk_link_fail(link, "more is to be sent than may wait");
        }
        return;
    }
    link->wanted_until_ms = links->now_ms + LINK_WANTED_MS;
    yk_link_touch(link);
}

/* Life */

enum yk_err
yk_links_new(const struct yk_links_config *config, struct yk_links **ret_links)
{
    struct yk_links *links = calloc(1, sizeof(*links));
    if (links == NULL) {
        return YK_ENOMEM;
    }
    links->config = *config;
    links->handler = (struct yk_loop_handler){.arg = links,
                                              .accepted = accepted,
                                              .accept_failed = accept_failed,
                                              .room = room,
                                              .received = received,
                                              .sent = sent,
                                              .connected = connected};
    links->random.state = config->world->random(config->world->arg);
    TAILQ_INIT(&links->guests);
    TAILQ_INIT(&links->tools);
    TAILQ_INIT(&links->failed);
    TAILQ_INIT(&links->touched);
    TAILQ_INIT(&links->timed);
    look_at_clock(links);
    if (config->listener_fd >= 0) {
        yk_loop_add_listener_for(config->loop, &links->handler, config->listener_fd, 0);
    }
    yk_handover_open(yk_peers_handover(config->peers), config->worker, config->loop);
    *ret_links = links;
    return YK_OK;
}

void
yk_links_start(struct yk_links *links)
{
    yk_loop_listen_for(links->config.loop, &links->handler, true);
}

static void
free_list(struct link_list *list)
{
    struct link *link;
    while ((link = TAILQ_FIRST(list)) != NULL) {
        if (link->has_conn) {
            close(yk_link_detach(link));
        }
        yk_link_gone(link);
    }
}

static void
free_row(struct link **row)
{
    for (uint32_t i = 0; row != NULL && i <= YK_WORKERS_MAX; i++) {
        if (row[i] != NULL && row[i]->has_conn) {
            close(yk_link_detach(row[i]));
        }
        if (row[i] != NULL) {
            yk_link_free(row[i]);
        }
    }
    free(row);
}

static void
ignore_state(void *arg, uint32_t peer, uint32_t worker, bool is_up)
{
    (void)arg;
    (void)peer;
    (void)worker;
    (void)is_up;
}

void
yk_links_free(struct yk_links *links)
{
    if (links == NULL) {
        return;
    }
    links->config.state = ignore_state;
    struct yk_handed *handed =
        yk_handover_close(yk_peers_handover(links->config.peers), links->config.worker);
    while (handed != NULL) {
        struct yk_handed *next = handed->next;
        close(handed->fd);
        yk_peers_release(links->config.peers, YK_GUEST_ALL);
        free(handed);
        handed = next;
    }
    yk_loop_listen_for(links->config.loop, &links->handler, false);
    free_list(&links->guests);
    free_list(&links->tools);
    for (uint32_t i = 0; i < YK_PEERS_MAX; i++) {
        free_row(links->peers[i]);
    }
    yk_links_flush(links); /* what frames lay in */
    free(links);
}

void
yk_links_count(const struct yk_links *links, struct yk_links_counts *ret_counts)
{
    *ret_counts = links->counts;
}
