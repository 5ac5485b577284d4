/* Writing and reading the frames of ops and of their answers. */
#include <config.h>

#include "core/node/ops.h"

#include "core/base/buffer.h"
#include "core/store/op.h"

enum { OP_FIELDS = 20, ANSWER_FIELDS = 10 };

static const uint32_t reply_flags = YK_REPLY_STALE | YK_REPLY_WON | YK_REPLY_TAKEN |
                                    YK_REPLY_WAS_HIT | YK_REPLY_FORGOTTEN | YK_REPLY_IS_VERSION |
                                    YK_REPLY_UNCHANGED;

/* Writing */

static void
write_ttl(struct yk_pack *pack, const struct yk_ttl *ttl)
{
    yk_pack_uint(pack, ttl->kind);
    yk_pack_uint(pack, (uint64_t)ttl->ms);
}

void
yk_ops_write(struct yk_pack *pack, const struct yk_op_message *message)
{
    const struct yk_request *request = &message->request;
    bool has_token = message->token != 0;
    uint32_t n_more = has_token && message->is_again ? 2 : has_token || message->may_cache ? 1 : 0;
    yk_pack_array(pack, OP_FIELDS + n_more);
    yk_pack_uint(pack, message->id);
    yk_pack_uint(pack, message->slot);
    yk_pack_uint(pack, message->epoch);
    yk_pack_uint(pack, request->op);
    yk_pack_uint(pack, request->mode);
    yk_pack_uint(pack, request->flags & YK_OPS_FLAGS);
    yk_pack_uint(pack, message->kept_max);
    yk_pack_bytes(pack, request->key);
    yk_pack_bytes(pack, request->value);
    yk_pack_uint(pack, request->cas);
    yk_pack_uint(pack, request->new_cas);
    yk_pack_uint(pack, request->delta);
    yk_pack_uint(pack, request->initial);
    write_ttl(pack, &request->expiry);
    write_ttl(pack, &request->vivify);
    write_ttl(pack, &request->recache);
    yk_pack_uint(pack, request->client_flags);
    if (n_more > 0) {
        yk_pack_uint(pack, has_token ? message->token : message->known_version);
    }
    if (n_more > 1) {
        yk_pack_uint(pack, message->after);
    }
}

void
yk_answers_write(struct yk_pack *pack, uint64_t id, const struct yk_reply *reply, uint64_t version)
{
    yk_pack_array(pack, version != 0 ? ANSWER_FIELDS + 1 : ANSWER_FIELDS);
    yk_pack_uint(pack, id);
    yk_pack_uint(pack, reply->result);
    yk_pack_uint(pack, reply->flags & reply_flags);
    yk_pack_uint(pack, reply->version);
    yk_pack_uint(pack, reply->number);
    yk_pack_uint(pack, reply->client_flags);
    yk_pack_uint(pack, (uint64_t)reply->expiry_ms);
    yk_pack_uint(pack, reply->last_access_ms);
    if (reply->value.data != NULL) {
        yk_pack_bytes(pack, reply->value);
    } else {
        yk_pack_nil(pack);
    }
    if (reply->text != NULL && strlen(reply->text) <= YK_OPS_TEXT_MAX) {
        yk_pack_text(pack, reply->text);
    } else {
        yk_pack_nil(pack);
    }
    if (version != 0) {
        yk_pack_uint(pack, version);
    }
}

static struct yk_buffer *
join(const struct yk_pack *head, const struct yk_pack *items)
{
    if (head->result != YK_OK || items->result != YK_OK) {
        return NULL;
    }
    struct yk_buffer *buffer = yk_buffer_new(head->size + items->size);
    if (buffer != NULL) {
        memcpy(buffer->data, head->data, head->size);
        if (items->size > 0) {
            memcpy(buffer->data + head->size, items->data, items->size);
        }
    }
    return buffer;
}

struct yk_buffer *
yk_ops_frame(const struct yk_pack *items, uint32_t n, const char *bucket)
{
    struct yk_pack head;
    yk_pack_init(&head, YK_OPS_HEAD_MAX);
    yk_pack_array(&head, 3);
    yk_pack_uint(&head, 2);
    yk_pack_text(&head, "ops");
    yk_pack_array(&head, 2);
    yk_pack_text(&head, bucket);
    yk_pack_array(&head, n);
    struct yk_buffer *buffer = join(&head, items);
    yk_pack_done(&head);
    return buffer;
}

struct yk_buffer *
yk_answers_frame(const struct yk_pack *items, uint32_t n)
{
    struct yk_pack head;
    yk_pack_init(&head, YK_OPS_HEAD_MAX);
    yk_pack_array(&head, 3);
    yk_pack_uint(&head, 2);
    yk_pack_text(&head, "answers");
    yk_pack_array(&head, 1);
    yk_pack_array(&head, n);
    struct yk_buffer *buffer = join(&head, items);
    yk_pack_done(&head);
    return buffer;
}

/* Reading */

uint32_t
yk_ops_begin(struct yk_unpack *unpack, struct yk_slice *ret_bucket)
{
    (void)yk_unpack_array(unpack);
    *ret_bucket = yk_unpack_text(unpack, YK_NAME_SIZE_MAX);
    return yk_unpack_array(unpack);
}

uint32_t
yk_answers_begin(struct yk_unpack *unpack)
{
    (void)yk_unpack_array(unpack);
    return yk_unpack_array(unpack);
}

static void
read_ttl(struct yk_unpack *unpack, struct yk_ttl *ttl)
{
    ttl->kind = (uint32_t)yk_unpack_uint(unpack, YK_EXPIRY_ABSOLUTE);
    ttl->ms = (int64_t)yk_unpack_uint(unpack, UINT64_MAX);
}

/* Is it one that a lane can be given? */
static bool
is_sound(const struct yk_request *request)
{
    switch (request->op) {
    case YK_OP_GET:
    case YK_OP_DELETE:
    case YK_OP_TOUCH:
        return request->key.size > 0;
    case YK_OP_STORE:
        return request->key.size > 0 && request->mode <= YK_MODE_PREPEND;
    case YK_OP_ARITH:
        return request->key.size > 0 &&
               (request->mode == YK_MODE_INCR || request->mode == YK_MODE_DECR);
    case YK_OP_FLUSH:
        return request->key.size == 0;
    default:
        return false;
    }
}

bool
yk_ops_next(struct yk_unpack *unpack, struct yk_op_message *ret_message)
{
    struct yk_op_message message = {.request.struct_size = sizeof(message.request)};
    struct yk_request *request = &message.request;
    uint32_t n = yk_unpack_array(unpack);
    message.id = yk_unpack_uint(unpack, UINT64_MAX);
    message.slot = (uint16_t)yk_unpack_uint(unpack, YK_SLOTS_MAX - 1);
    message.epoch = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
    request->op = (uint16_t)yk_unpack_uint(unpack, UINT16_MAX);
    request->mode = (uint16_t)yk_unpack_uint(unpack, YK_MODE_DECR);
    request->flags = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    message.kept_max = yk_unpack_uint(unpack, UINT64_MAX);
    request->key = yk_unpack_bytes(unpack, YK_KEY_SIZE_MAX);
    request->value = yk_unpack_bytes(unpack, YK_VALUE_SIZE_MAX);
    request->cas = yk_unpack_uint(unpack, UINT64_MAX);
    request->new_cas = yk_unpack_uint(unpack, UINT64_MAX);
    request->delta = yk_unpack_uint(unpack, UINT64_MAX);
    request->initial = yk_unpack_uint(unpack, UINT64_MAX);
    read_ttl(unpack, &request->expiry);
    read_ttl(unpack, &request->vivify);
    read_ttl(unpack, &request->recache);
    request->client_flags = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    message.may_cache = n > OP_FIELDS && request->op == YK_OP_GET;
    message.known_version = message.may_cache ? yk_unpack_uint(unpack, UINT64_MAX) : 0;
    if (n > OP_FIELDS && !message.may_cache) {
        message.token = yk_unpack_uint(unpack, UINT64_MAX);
        message.is_again = n > OP_FIELDS + 1;
        message.after = message.is_again ? yk_unpack_uint(unpack, UINT64_MAX) : 0;
    }
    yk_unpack_leave(unpack);
    if (unpack->wrong == NULL &&
        (!is_sound(request) || (request->flags & ~(uint32_t)YK_OPS_FLAGS) != 0 ||
         (message.is_again && message.token == 0))) {
        yk_unpack_fail(unpack, "an op that cannot be");
    }
    *ret_message = message;
    return unpack->wrong == NULL;
}

/* It will stand in a line of a client's protocol. */
static bool
is_printable(struct yk_slice text)
{
    const uint8_t *bytes = text.data;
    for (size_t i = 0; i < text.size; i++) {
        if (bytes[i] < ' ' || bytes[i] > '~') {
            return false;
        }
    }
    return true;
}

static enum yk_err
read_result(struct yk_unpack *unpack)
{
    uint64_t result = yk_unpack_uint(unpack, UINT32_MAX);
    bool is_known = result <= YK_ESYNTAX && result != YK_EPENDING;
    return is_known ? (enum yk_err)result : YK_EUNKNOWN;
}

bool
yk_answers_next(struct yk_unpack *unpack, struct yk_answer_message *ret_message)
{
    struct yk_answer_message message = {.reply.struct_size = sizeof(message.reply)};
    struct yk_reply *reply = &message.reply;
    uint32_t n = yk_unpack_array(unpack);
    message.id = yk_unpack_uint(unpack, UINT64_MAX);
    reply->result = read_result(unpack);
    reply->flags = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX) & reply_flags;
    reply->version = yk_unpack_uint(unpack, UINT64_MAX);
    reply->number = yk_unpack_uint(unpack, UINT64_MAX);
    reply->client_flags = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    reply->expiry_ms = (int64_t)yk_unpack_uint(unpack, UINT64_MAX);
    reply->last_access_ms = yk_unpack_uint(unpack, UINT64_MAX);
    if (yk_unpack_peek(unpack) == YK_UNPACK_NIL) {
        yk_unpack_nil(unpack);
    } else {
        reply->value = yk_unpack_bytes(unpack, YK_VALUE_SIZE_MAX);
    }
    if (yk_unpack_peek(unpack) == YK_UNPACK_NIL) {
        yk_unpack_nil(unpack);
    } else {
        message.text = yk_unpack_text(unpack, YK_OPS_TEXT_MAX);
    }
    message.version = n > ANSWER_FIELDS ? yk_unpack_uint(unpack, UINT64_MAX) : 0;
    yk_unpack_leave(unpack);
    if (unpack->wrong == NULL && !is_printable(message.text)) {
        yk_unpack_fail(unpack, "a text that cannot be printed");
    }
    *ret_message = message;
    return unpack->wrong == NULL;
}
