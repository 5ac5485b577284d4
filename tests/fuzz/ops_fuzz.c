/* Any bytes as a frame of ops, and of answers: what is read of one is of known kinds and within its
 * bounds, and reads back the same when it is written again. */
#include <config.h>

#include <stdint.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/node/ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Up to the params. */
static void
open_frame(struct yk_unpack *unpack, struct yk_slice bytes)
{
    yk_unpack_init(unpack, bytes);
    (void)yk_unpack_array(unpack);
    (void)yk_unpack_uint(unpack, UINT32_MAX);
    (void)yk_unpack_text(unpack, YK_NAME_SIZE_MAX);
}

static void
check_op(const struct yk_op_message *message)
{
    struct yk_pack pack;
    struct yk_unpack unpack;
    struct yk_slice name;
    struct yk_op_message again;
    const struct yk_request *a = &message->request, *b = &again.request;
    YK_ASSERT((a->key.size > 0) != (a->op == YK_OP_FLUSH) && a->key.size <= YK_KEY_SIZE_MAX);
    YK_ASSERT((a->flags & ~(uint32_t)YK_OPS_FLAGS) == 0 && message->slot < YK_SLOTS_MAX);
    YK_ASSERT(a->op != YK_OP_STORE || a->mode <= YK_MODE_PREPEND);
    yk_pack_init(&pack, YK_FRAME_SIZE_MAX);
    yk_ops_write(&pack, message);
    struct yk_buffer *frame = yk_ops_frame(&pack, 1, "name");
    YK_ASSERT(frame != NULL);
    open_frame(&unpack, yk_slice_of(frame->data, frame->size));
    YK_ASSERT(yk_ops_begin(&unpack, &name) == 1 && yk_ops_next(&unpack, &again));
    YK_ASSERT(message->id == again.id && message->kept_max == again.kept_max);
    YK_ASSERT(message->token == again.token && message->after == again.after &&
              message->is_again == again.is_again);
    YK_ASSERT(a->op == b->op && a->mode == b->mode && a->flags == b->flags);
    YK_ASSERT(yk_slice_equal(a->key, b->key) && yk_slice_equal(a->value, b->value));
    YK_ASSERT(a->expiry.ms == b->expiry.ms && a->recache.kind == b->recache.kind);
    yk_buffer_unref(frame);
    yk_pack_done(&pack);
}

static void
check_answer(const struct yk_answer_message *message)
{
    struct yk_pack pack;
    struct yk_unpack unpack;
    struct yk_answer_message again;
    const struct yk_reply *a = &message->reply, *b = &again.reply;
    YK_ASSERT(a->result <= YK_ESYNTAX && a->result != YK_EPENDING);
    YK_ASSERT(message->text.size <= YK_OPS_TEXT_MAX && a->text == NULL);
    yk_pack_init(&pack, YK_FRAME_SIZE_MAX);
    yk_answers_write(&pack, message->id, a, message->version);
    struct yk_buffer *frame = yk_answers_frame(&pack, 1);
    YK_ASSERT(frame != NULL);
    open_frame(&unpack, yk_slice_of(frame->data, frame->size));
    YK_ASSERT(yk_answers_begin(&unpack) == 1 && yk_answers_next(&unpack, &again));
    YK_ASSERT(message->id == again.id && message->version == again.version);
    YK_ASSERT(a->result == b->result && a->flags == b->flags);
    YK_ASSERT(yk_slice_equal(a->value, b->value) && a->expiry_ms == b->expiry_ms);
    yk_buffer_unref(frame);
    yk_pack_done(&pack);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yk_unpack unpack;
    struct yk_slice name;
    struct yk_op_message op;
    struct yk_answer_message answer;
    open_frame(&unpack, yk_slice_of(data, size));
    for (uint32_t n = yk_ops_begin(&unpack, &name); n > 0 && yk_ops_next(&unpack, &op); n--) {
        check_op(&op);
    }
    open_frame(&unpack, yk_slice_of(data, size));
    for (uint32_t n = yk_answers_begin(&unpack); n > 0 && yk_answers_next(&unpack, &answer); n--) {
        check_answer(&answer);
    }
    return 0;
}
