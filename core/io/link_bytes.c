/* What goes through a link: frames are found in what comes, where they lie if they are whole there,
 * else collected; what is to be sent waits in a ring of buffers. */
#include <config.h>

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/io/links_inside.h"

enum { PARTIAL_FIRST = 4096, DIRECT_MIN = 16 * 1024, QUEUE_FIRST = 8 };

/* Input */

void
yk_link_expect(struct link *link, uint64_t frame_size_max)
{
    yk_splitter_init(&link->splitter, frame_size_max);
}

/* Doubles, so memory follows the bytes that have really come. */
static bool
reserve(struct link *link, size_t size)
{
    struct link_bytes *partial = link->partial;
    size_t room = partial != NULL ? partial->room : 0;
    size_t needed = (partial != NULL ? partial->size : 0) + size;
    if (needed <= room) {
        return true;
    }
    room = room * 2 > needed ? room * 2 : needed > PARTIAL_FIRST ? needed : PARTIAL_FIRST;
    struct link_bytes *grown = realloc(partial, sizeof(*grown) + room);
    if (grown == NULL) {
        return false;
    }
    grown->size = partial != NULL ? grown->size : 0;
    grown->room = room;
    link->partial = grown;
    return true;
}

static bool
collect(struct link *link, const uint8_t *bytes, size_t size)
{
    struct link_bytes *partial = link->partial;
    bool is_there =
        partial != NULL && bytes == partial->data + partial->size; /* see yk_link_room */
    if (!is_there && !reserve(link, size)) {
        return false;
    }
    if (!is_there) {
        memcpy(link->partial->data + link->partial->size, bytes, size);
    }
    link->partial->size += size;
    return true;
}

/* What came behind a hello for another thread. */
static void
collect_rest(struct link *link, const uint8_t *bytes, size_t size)
{
    size_t there = link->partial != NULL ? link->partial->size : 0;
    if (size > YK_HANDOVER_SIZE_MAX - there) {
        yk_link_fail(link, "too much came behind its hello");
    } else if (!collect(link, bytes, size)) {
        yk_link_fail(link, "out of memory");
    }
}

static void
deliver(struct link *link, struct yk_slice frame)
{
    struct yk_links *links = link->links;
    switch (link->state) {
    case LINK_ASKING:
        yk_link_answered(link, frame);
        break;
    case LINK_GREETING:
        yk_link_greeted(link, frame);
        break;
    case LINK_UP:
        links->counts.frames++;
        links->config.frame(links->config.arg, link->peer, link->worker, frame);
        break;
    default:
        YK_ASSERT(false);
    }
}

/* A step: at most one frame. Returns the bytes that were used; 0: the link has failed. */
static size_t
split(struct link *link, const uint8_t *bytes, size_t size)
{
    size_t used;
    enum yk_split found = yk_splitter_take(&link->splitter, bytes, size, &used);
    if (found == YK_SPLIT_WRONG) {
        yk_link_fail(link, link->splitter.wrong);
        return 0;
    }
    if ((link->partial != NULL || found == YK_SPLIT_MORE) && !collect(link, bytes, used)) {
        yk_link_fail(link, "out of memory");
        return 0;
    }
    if (found == YK_SPLIT_WHOLE) {
        struct link_bytes *whole = link->partial;
        link->partial = NULL;
        deliver(link,
                whole != NULL ? yk_slice_of(whole->data, whole->size) : yk_slice_of(bytes, used));
        if (whole != NULL) {
            yk_links_retire(link->links, whole);
        }
    }
    return used;
}

void
yk_link_take(struct link *link, const uint8_t *bytes, size_t size)
{
    while (size > 0 && !link->is_failed && link->state != LINK_REFUSED) {
        if (link->state == LINK_LEAVING) {
            collect_rest(link, bytes, size);
            return;
        }
        size_t used = split(link, bytes, size);
        bytes += used;
        size -= used;
    }
}

/* The rest of a long text goes where it is to lie. */
void
yk_link_room(struct link *link, uint8_t **ret_room, size_t *ret_size)
{
    uint64_t body = link->splitter.body;
    *ret_room = NULL;
    *ret_size = 0;
    if (link->state != LINK_UP || link->partial == NULL || body < DIRECT_MIN ||
        !reserve(link, DIRECT_MIN)) {
        return;
    }
    size_t room = link->partial->room - link->partial->size;
    *ret_room = link->partial->data + link->partial->size;
    *ret_size = room < body ? room : body;
}

/* Output */

static bool
grow_queue(struct link *link)
{
    uint32_t room = link->queue_room == 0 ? QUEUE_FIRST : link->queue_room * 2;
    struct yk_buffer **queue = malloc(room * sizeof(*queue));
    if (queue == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < link->n_queued; i++) {
        queue[i] = link->queue[(link->first + i) % link->queue_room];
    }
    free(link->queue);
    link->queue = queue;
    link->queue_room = room;
    link->first = 0;
    return true;
}

bool
yk_link_put(struct link *link, struct yk_buffer *bytes)
{
    if (link->queued_size + bytes->size > YK_LINK_OUTPUT_MAX ||
        (link->n_queued == link->queue_room && !grow_queue(link))) {
        return false;
    }
    link->queue[(link->first + link->n_queued++) % link->queue_room] = bytes;
    link->queued_size += bytes->size;
    return true;
}

static bool
put_head(struct link *link, struct yk_pack *pack)
{
    YK_ASSERT(link->head == NULL && link->offset == 0);
    link->head = pack->result == YK_OK ? yk_buffer_new_copy(yk_pack_bytes_of(pack)) : NULL;
    yk_pack_done(pack);
    return link->head != NULL;
}

bool
yk_link_put_hello(struct link *link, const struct yk_hello *hello)
{
    struct yk_pack pack;
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    yk_hello_encode(&pack, hello);
    return put_head(link, &pack);
}

bool
yk_link_put_welcome(struct link *link, const struct yk_welcome *welcome)
{
    struct yk_pack pack;
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    yk_welcome_encode(&pack, welcome);
    return put_head(link, &pack);
}

static size_t
peek(const struct link *link, struct yk_slice *slices)
{
    size_t n = 0;
    if (link->head != NULL) {
        slices[n++] = yk_slice_of(link->head->data + link->offset, link->head->size - link->offset);
    } else if (link->state == LINK_UP) {
        for (uint32_t i = 0; i < link->n_queued && n < LINK_SLICES_MAX; i++) {
            const struct yk_buffer *bytes = link->queue[(link->first + i) % link->queue_room];
            size_t from = i == 0 ? link->offset : 0;
            slices[n++] = yk_slice_of(bytes->data + from, bytes->size - from);
        }
    }
    return n;
}

void
yk_link_send(struct link *link)
{
    struct yk_slice slices[LINK_SLICES_MAX];
    while (link->has_conn && !link->is_failed && !link->loop.is_sending &&
           !link->loop.is_connecting) {
        size_t n = peek(link, slices);
        if (n == 0) {
            break;
        }
        yk_loop_send(link->links->config.loop, &link->loop, slices, n);
    }
}

static void
take_first(struct link *link)
{
    struct yk_buffer *first = link->queue[link->first];
    link->first = (link->first + 1) % link->queue_room;
    link->n_queued--;
    link->queued_size -= first->size;
    yk_buffer_unref(first);
}

void
yk_link_sent(struct link *link, size_t size)
{
    link->offset += size;
    if (link->head != NULL) {
        if (link->offset == link->head->size) {
            yk_buffer_unref(link->head);
            link->head = NULL;
            link->offset = 0;
        }
        return;
    }
    while (link->n_queued > 0 && link->offset >= link->queue[link->first]->size) {
        link->offset -= link->queue[link->first]->size;
        take_first(link);
    }
}

void
yk_link_drop(struct link *link)
{
    yk_buffer_unref(link->head);
    link->head = NULL;
    link->offset = 0;
    while (link->n_queued > 0) {
        take_first(link);
        link->links->counts.dropped++;
        link->has_lost = true;
    }
    free(link->queue);
    link->queue = NULL;
    link->queue_room = 0;
    free(link->partial);
    link->partial = NULL;
}
