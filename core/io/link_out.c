/* Links that this thread opens. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/io/links_inside.h"

struct link *
yk_link_to(struct yk_links *links, uint32_t peer, uint32_t worker)
{
    uint32_t place = yk_worker_place(worker);
    YK_ASSERT(peer < YK_PEERS_MAX && place <= YK_WORKERS_MAX);
    if (links->peers[peer] == NULL) {
        links->peers[peer] = calloc(YK_WORKERS_MAX + 1, sizeof(struct link *));
    }
    if (links->peers[peer] == NULL) {
        return NULL;
    }
    struct link **at = &links->peers[peer][place];
    if (*at == NULL && (*at = calloc(1, sizeof(struct link))) != NULL) {
        (*at)->links = links;
        (*at)->is_outgoing = true;
        (*at)->peer = peer;
        (*at)->worker = worker;
        (*at)->backoff_ms = LINK_BACKOFF_FIRST_MS;
    }
    return *at;
}

/* What it says in its hello. */
static void
own_hello(const struct link *link, struct yk_hello *ret_hello)
{
    struct yk_peer_info info;
    yk_peers_own(link->links->config.peers, ret_hello);
    yk_peers_get(link->links->config.peers, link->peer, &info);
    ret_hello->from = link->links->config.worker;
    ret_hello->to = link->worker;
    memcpy(ret_hello->to_id, info.node_id, sizeof(info.node_id));
}

static bool
open_socket(struct link *link, socklen_t size)
{
    int fd = socket(link->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        yk_link_fail(link, strerror(errno));
        return false;
    }
    yk_link_set_options(fd);
    if (yk_loop_connect(link->links->config.loop, &link->links->handler, &link->loop, fd,
                        &link->address.any, size) != YK_OK) {
        close(fd);
        yk_link_fail(link, "out of memory");
        return false;
    }
    link->has_conn = true;
    return true;
}

void
yk_link_connect(struct link *link)
{
    struct yk_peer_info info;
    struct yk_address address;
    char error[YK_ERROR_SIZE];
    link->state = LINK_CONNECTING;
    yk_peers_get(link->links->config.peers, link->peer, &info);
    if (yk_address_parse(info.address, &address, error) != YK_OK) {
        yk_link_fail(link, "its address is not known");
        return;
    }
    if (open_socket(link, yk_socket_address_of(&address, &link->address))) {
        yk_link_set_deadline(link, LINK_HELLO_MS);
    }
}

void
yk_link_connected(struct link *link, int error)
{
    struct yk_hello hello;
    if (error != 0) {
        yk_link_fail(link, strerror(error));
        return;
    }
    own_hello(link, &hello);
    link->state = LINK_ASKING;
    yk_link_expect(link, YK_HELLO_SIZE_MAX);
    if (!yk_link_put_hello(link, &hello)) {
        yk_link_fail(link, "out of memory");
    }
    yk_link_touch(link);
}

void
yk_link_answered(struct link *link, struct yk_slice frame)
{
    struct yk_links *links = link->links;
    struct yk_hello hello;
    struct yk_welcome welcome;
    const char *wrong;
    char error[YK_ERROR_SIZE];
    own_hello(link, &hello);
    if (yk_welcome_decode(frame, &welcome, &wrong) != YK_OK) {
        yk_link_fail(link, wrong);
        return;
    }
    if (yk_welcome_check(&hello, &welcome, error) != YK_OK ||
        yk_peers_welcomed(links->config.peers, link->peer, &welcome, error) != YK_OK) {
        yk_link_fail(link, error);
        return;
    }
    link->state = LINK_UP;
    link->is_complained = false;
    links->counts.n_up++;
    yk_link_set_deadline(link, 0);
    link->up_since_ms = links->now_ms;
    yk_link_expect(link, YK_FRAME_SIZE_MAX);
    yk_link_touch(link);
    links->config.state(links->config.arg, link->peer, link->worker, true);
}

/* The back-off is over. */
void
yk_link_waited(struct link *link)
{
    link->state = LINK_IDLE;
    if (link->n_queued > 0 || link->links->now_ms < link->wanted_until_ms) {
        yk_link_touch(link); /* the next flush connects */
    }
}

void
yk_link_end_waits(struct yk_links *links, uint32_t peer)
{
    for (uint32_t i = 0; links->peers[peer] != NULL && i <= YK_WORKERS_MAX; i++) {
        struct link *link = links->peers[peer][i];
        if (link != NULL && link->state == LINK_WAITING) {
            link->backoff_ms = LINK_BACKOFF_FIRST_MS;
            yk_link_set_deadline(link, 1);
        }
    }
}

/* The connection is closed, if there was one. */
void
yk_link_lost(struct link *link)
{
    struct yk_links *links = link->links;
    bool was_up = link->state == LINK_UP;
    yk_link_drop(link);
    bool has_lost = link->has_lost;
    link->has_lost = false;
    if (was_up) {
        links->counts.n_up--;
        if (links->now_ms - link->up_since_ms >= LINK_PROVEN_MS) {
            link->backoff_ms = LINK_BACKOFF_FIRST_MS;
        }
    }
    link->state = LINK_WAITING;
    yk_link_set_deadline(link,
                         link->backoff_ms - yk_random_below(&links->random, link->backoff_ms / 2));
    link->backoff_ms =
        link->backoff_ms * 2 < LINK_BACKOFF_MAX_MS ? link->backoff_ms * 2 : LINK_BACKOFF_MAX_MS;
    if (was_up || has_lost) {
        links->config.state(links->config.arg, link->peer, link->worker, false);
    }
}
