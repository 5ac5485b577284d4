/* Making, pinning and ending calls. */
#include <config.h>

#include <stdlib.h>

#include "core/base/buffer.h"
#include "core/router/session.h"

enum { FREE_CALLS_MAX = 4096, ROOM_SIZE = 1024 };

struct call *
call_new(struct yk_session *session)
{
    struct yk_router *router = session->router;
    struct call *call = router->free_calls;
    if (call != NULL) {
        router->free_calls = call->next;
        router->n_free_calls--;
        /* Not the reply, a quarter of it: it is written whole before it is read. */
        memset(call, 0, offsetof(struct yk_op, reply));
        memset((uint8_t *)call + sizeof(call->op), 0,
               offsetof(struct call, room) - sizeof(call->op));
    } else {
        call = calloc(1, sizeof(*call));
        if (call == NULL) {
            return NULL;
        }
    }
    call->session = session;
    call->op.request.struct_size = sizeof(call->op.request);
    call->op.origin = (uint16_t)router->config.worker;
    return call;
}

void
call_lend_room(struct call *call)
{
    if (call->op.kept_max > ROOM_SIZE) {
        return;
    }
    if (call->room != NULL && __atomic_load_n(&call->room->n_refs, __ATOMIC_ACQUIRE) != 1) {
        yk_buffer_unref(call->room);
        call->room = NULL;
    }
    if (call->room == NULL) {
        call->room = yk_buffer_new(ROOM_SIZE);
    }
    call->op.room = call->room;
}

void
call_destroy(struct call *call)
{
    yk_buffer_unref(call->room);
    free(call);
}

static void
call_release(struct call *call)
{
    while (call->memory != NULL) {
        struct memory_piece *piece = call->memory;
        call->memory = piece->next;
        free(piece);
    }
    free(call->op.pinned);
    yk_buffer_unref(call->stash);
    parts_free(call->parts);
}

void
call_free(struct yk_router *router, struct call *call)
{
    if (call->memory != NULL || call->op.pinned != NULL || call->stash != NULL ||
        call->parts != NULL) {
        call_release(call);
    }
    if (router->n_free_calls >= FREE_CALLS_MAX) {
        call_destroy(call);
        return;
    }
    call->next = router->free_calls;
    router->free_calls = call;
    router->n_free_calls++;
}

static struct yk_slice
copy_to(uint8_t **to, struct yk_slice bytes)
{
    struct yk_slice copy = yk_slice_of(*to, bytes.size);
    if (bytes.size > 0) {
        memcpy(*to, bytes.data, bytes.size);
        *to += bytes.size;
    }
    return copy;
}

bool
call_pin(struct call *call)
{
    struct yk_request *request = &call->op.request;
    if (call->op.pinned != NULL) {
        return true;
    }
    uint8_t *to =
        malloc(YK_PIN_ROOM + request->key.size + request->value.size + request->note.size);
    if (to == NULL) {
        return false;
    }
    call->op.pinned = to;
    to += YK_PIN_ROOM;
    request->key = copy_to(&to, request->key);
    request->value = copy_to(&to, request->value);
    request->note = copy_to(&to, request->note);
    return true;
}
