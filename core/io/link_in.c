/* Links that others open: hello, and the way to the thread that it asks for. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/io/links_inside.h"

/* A link for a connection that came in; the descriptor is closed if that fails. */
static struct link *
add_guest(struct yk_links *links, int fd)
{
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL ||
        yk_loop_add_for(links->config.loop, &links->handler, &link->loop, fd) != YK_OK) {
        yk_links_complain(links, "connection closed reason=\"out of memory\"");
        close(fd);
        free(link);
        return NULL;
    }
    link->links = links;
    link->has_conn = true;
    TAILQ_INSERT_TAIL(&links->guests, link, in_guests);
    links->counts.n_guests++;
    return link;
}

void
yk_link_accepted(struct yk_links *links, int fd)
{
    struct yk_peers *peers = links->config.peers;
    if (!yk_peers_admit(peers, YK_GUEST_ALL)) {
        yk_links_complain(links, "connection closed reason=\"%d are open\"", YK_GUESTS_MAX);
        close(fd);
        return;
    }
    if (!yk_peers_admit(peers, YK_GUEST_GREETING)) {
        yk_links_complain(links, "connection closed reason=\"%d wait for their hello\"",
                          YK_GREETINGS_MAX);
        yk_peers_release(peers, YK_GUEST_ALL);
        close(fd);
        return;
    }
    yk_link_set_options(fd);
    struct link *link = add_guest(links, fd);
    if (link == NULL) {
        yk_peers_release(peers, YK_GUEST_GREETING);
        yk_peers_release(peers, YK_GUEST_ALL);
        return;
    }
    link->state = LINK_GREETING;
    yk_link_expect(link, YK_HELLO_SIZE_MAX);
    yk_link_set_deadline(link, LINK_HELLO_MS);
}

/* Hello has come, for good or ill. */
static void
end_greeting(struct link *link)
{
    if (link->state == LINK_GREETING) {
        yk_peers_release(link->links->config.peers, YK_GUEST_GREETING);
    }
}

static void
refuse(struct link *link, struct yk_welcome *welcome)
{
    link->links->counts.refused++;
    end_greeting(link);
    link->state = LINK_REFUSED;
    yk_links_complain(link->links, "hello refused reason=\"%s\"", welcome->error);
    yk_link_set_deadline(link, LINK_FAREWELL_MS);
    if (!yk_link_put_welcome(link, welcome)) {
        yk_link_fail(link, "out of memory");
    }
    yk_link_touch(link);
}

/* The other end has begun anew: what may still come by its old connection must not come after what
 * comes by this one. */
static void
replace_older(const struct link *link)
{
    struct link *other;
    TAILQ_FOREACH(other, &link->links->guests, in_guests)
    {
        if (other != link && other->state == LINK_UP && other->peer == link->peer &&
            other->worker == link->worker) {
            yk_link_fail(other, NULL);
        }
    }
}

/* This is the thread that was asked for. */
static void
adopt(struct link *link, const struct yk_hello *hello)
{
    struct yk_links *links = link->links;
    struct yk_hello own;
    struct yk_welcome welcome;
    yk_peers_own(links->config.peers, &own);
    yk_hello_answer(&own, hello, &welcome);
    link->is_tool = hello->node_id[0] == '\0' && yk_peers_admit(links->config.peers, YK_GUEST_TOOL);
    if (link->is_tool) {
        TAILQ_REMOVE(&links->guests, link, in_guests);
        TAILQ_INSERT_TAIL(&links->tools, link, in_guests);
    } else if (hello->node_id[0] == '\0') {
        snprintf(welcome.error, YK_ERROR_SIZE, "%d tools are connected to this node already",
                 YK_TOOLS_MAX);
    }
    if (welcome.error[0] != '\0' || yk_peers_greeted(links->config.peers, hello, &welcome,
                                                     &link->peer, welcome.error) != YK_OK) {
        refuse(link, &welcome);
        return;
    }
    end_greeting(link);
    link->state = LINK_UP;
    link->worker = hello->from;
    yk_link_set_deadline(link, 0);
    yk_link_expect(link, YK_FRAME_SIZE_MAX);
    if (!yk_link_put_welcome(link, &welcome)) {
        yk_link_fail(link, "out of memory");
    }
    yk_link_touch(link);
    if (link->is_tool) {
        links->config.state(links->config.arg, link->peer, link->worker, true);
    } else {
        replace_older(link);
        yk_link_end_waits(links, link->peer);
    }
}

/* Reading must end before another thread may begin: see yk_link_leave. */
static void
begin_leaving(struct link *link, const struct yk_hello *hello)
{
    link->hello = malloc(sizeof(*hello));
    if (link->hello == NULL) {
        yk_link_fail(link, "out of memory");
        return;
    }
    *link->hello = *hello;
    link->state = LINK_LEAVING;
    link->links->n_leaving++;
    yk_loop_read(link->links->config.loop, &link->loop, false);
}

void
yk_link_greeted(struct link *link, struct yk_slice frame)
{
    struct yk_links *links = link->links;
    struct yk_hello hello, own;
    struct yk_welcome welcome;
    const char *wrong;
    if (yk_hello_decode(frame, &hello, &wrong) != YK_OK) {
        links->counts.refused++;
        yk_link_fail(link, wrong);
        return;
    }
    yk_peers_own(links->config.peers, &own);
    yk_hello_answer(&own, &hello, &welcome);
    if (welcome.error[0] == '\0' &&
        !yk_handover_has(yk_peers_handover(links->config.peers), hello.to)) {
        snprintf(welcome.error, YK_ERROR_SIZE, "this node has no worker %u", hello.to);
    }
    if (welcome.error[0] != '\0') {
        refuse(link, &welcome);
    } else if (hello.to == links->config.worker) {
        adopt(link, &hello);
    } else {
        begin_leaving(link, &hello);
    }
}

/* Nothing more is read here: the connection goes, with what has been read. */
static void
hand_over(struct link *link)
{
    struct yk_links *links = link->links;
    size_t size = link->partial != NULL ? link->partial->size : 0;
    struct yk_handed *handed = malloc(sizeof(*handed) + size);
    if (handed == NULL) {
        yk_link_fail(link, "out of memory");
        return;
    }
    *handed = (struct yk_handed){.hello = *link->hello, .size = size};
    if (size > 0) {
        memcpy(handed->bytes, link->partial->data, size);
    }
    handed->fd = yk_link_detach(link);
    yk_peers_release(links->config.peers, YK_GUEST_GREETING);
    links->n_leaving--;
    if (!yk_handover_put(yk_peers_handover(links->config.peers), handed->hello.to, handed)) {
        yk_links_complain(links, "connection closed reason=\"worker %u does not take it\"",
                          handed->hello.to);
        close(handed->fd);
        yk_peers_release(links->config.peers, YK_GUEST_ALL);
        free(handed);
    }
    yk_link_free(link);
}

void
yk_link_leave(struct link *link)
{
    if (yk_loop_is_quiet(&link->loop)) {
        hand_over(link);
    }
}

void
yk_links_take_handed(struct yk_links *links)
{
    struct yk_handed *handed =
        yk_handover_take(yk_peers_handover(links->config.peers), links->config.worker);
    while (handed != NULL) {
        struct yk_handed *next = handed->next;
        struct link *link = add_guest(links, handed->fd);
        if (link == NULL) {
            yk_peers_release(links->config.peers, YK_GUEST_ALL);
        } else {
            link->state = LINK_LEAVING; /* not counted as greeting here */
            adopt(link, &handed->hello);
            yk_link_take(link, handed->bytes, handed->size);
        }
        yk_links_retire(links, handed);
        handed = next;
    }
}

/* The connection is closed. */
void
yk_link_gone(struct link *link)
{
    struct yk_links *links = link->links;
    end_greeting(link);
    if (link->state == LINK_LEAVING) {
        yk_peers_release(links->config.peers, YK_GUEST_GREETING);
        links->n_leaving--;
    }
    yk_peers_release(links->config.peers, YK_GUEST_ALL);
    if (link->is_tool) {
        yk_peers_release(links->config.peers, YK_GUEST_TOOL);
        if (link->state == LINK_UP) {
            links->config.state(links->config.arg, link->peer, link->worker, false);
        }
    }
    yk_link_free(link);
}
