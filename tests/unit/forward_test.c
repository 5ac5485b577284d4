/* Ops between nodes: the frames, and two forward machines joined by hand, each with an executor of
 * a few lines: what they are asked to execute is a list, and the test ends what stands in it. */
#include <config.h>

#include "core/node/forward.h"

#include <stdlib.h>

#include <glib.h>

#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/base/world.h"
#include "core/node/ops.h"

/* -- Frames. -- */

static const uint16_t ops[] = {YK_OP_GET, YK_OP_STORE, YK_OP_ARITH, YK_OP_DELETE, YK_OP_TOUCH};

static struct yk_op_message
full_message(uint16_t op, size_t key_size, size_t value_size)
{
    static uint8_t bytes[65535];
    struct yk_op_message message = {
        .id = UINT64_MAX, .epoch = YK_EPOCH_MAX, .slot = YK_SLOTS_MAX - 1, .kept_max = 1u << 30};
    message.request =
        (struct yk_request){.op = op,
                            .mode = op == YK_OP_ARITH ? YK_MODE_DECR : YK_MODE_PREPEND,
                            .flags = YK_OPS_FLAGS,
                            .client_flags = UINT32_MAX,
                            .key = yk_slice_of(bytes, key_size),
                            .value = yk_slice_of(bytes, value_size),
                            .cas = UINT64_MAX,
                            .new_cas = UINT64_MAX - 1,
                            .delta = UINT64_MAX - 2,
                            .initial = UINT64_MAX - 3,
                            .expiry = {INT64_MIN, YK_EXPIRY_RELATIVE},
                            .vivify = {INT64_MAX, YK_EXPIRY_ABSOLUTE},
                            .recache = {-1, YK_EXPIRY_RELATIVE}};
    memset(bytes, 'k', sizeof(bytes));
    return message;
}

static struct yk_buffer *
frame_of(const struct yk_op_message *message)
{
    struct yk_pack pack;
    yk_pack_init(&pack, YK_FRAME_SIZE_MAX);
    yk_ops_write(&pack, message);
    struct yk_buffer *frame = yk_ops_frame(&pack, 1, "a-bucket");
    yk_pack_done(&pack);
    return frame;
}

/* Up to the params. */
static struct yk_slice
open_frame(struct yk_unpack *unpack, struct yk_slice bytes)
{
    yk_unpack_init(unpack, bytes);
    (void)yk_unpack_array(unpack);
    (void)yk_unpack_uint(unpack, 2);
    return yk_unpack_text(unpack, YK_NAME_SIZE_MAX);
}

static void
assert_same_ttl(const struct yk_ttl *a, const struct yk_ttl *b)
{
    g_assert_cmpint(a->ms, ==, b->ms);
    g_assert_cmpuint(a->kind, ==, b->kind);
}

static void
assert_round_trip(uint16_t op, size_t key_size, size_t value_size)
{
    struct yk_op_message message = full_message(op, key_size, value_size), got;
    message.may_cache = op == YK_OP_GET && value_size % 2 == 1;
    message.token = op == YK_OP_GET || value_size == 0 ? 0 : UINT64_MAX - key_size;
    message.is_again = message.token != 0 && value_size % 2 == 1;
    message.after = message.is_again ? UINT64_MAX - 7 : 0;
    message.known_version = message.may_cache ? UINT64_MAX - value_size : 0;
    const struct yk_request *a = &message.request, *b = &got.request;
    struct yk_buffer *frame = frame_of(&message);
    struct yk_unpack unpack;
    struct yk_slice name;
    g_assert_nonnull(frame);
    g_assert_true(yk_slice_equal(open_frame(&unpack, yk_slice_of(frame->data, frame->size)),
                                 yk_slice_of_text("ops")));
    g_assert_cmpuint(yk_ops_begin(&unpack, &name), ==, 1);
    g_assert_true(yk_slice_equal(name, yk_slice_of_text("a-bucket")));
    g_assert_true(yk_ops_next(&unpack, &got));
    yk_unpack_leave(&unpack);
    yk_unpack_leave(&unpack);
    yk_unpack_leave(&unpack);
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_OK);
    g_assert_true(got.id == message.id && got.slot == message.slot && got.epoch == message.epoch);
    g_assert_cmpuint(got.kept_max, ==, message.kept_max);
    g_assert_true(got.may_cache == message.may_cache);
    g_assert_cmphex(got.known_version, ==, message.known_version);
    g_assert_true(got.token == message.token && got.is_again == message.is_again);
    g_assert_cmphex(got.after, ==, message.after);
    g_assert_true(a->op == b->op && a->mode == b->mode && a->flags == b->flags);
    g_assert_true(yk_slice_equal(a->key, b->key) && yk_slice_equal(a->value, b->value));
    g_assert_true(a->cas == b->cas && a->new_cas == b->new_cas);
    g_assert_true(a->delta == b->delta && a->initial == b->initial);
    g_assert_cmpuint(a->client_flags, ==, b->client_flags);
    assert_same_ttl(&a->expiry, &b->expiry);
    assert_same_ttl(&a->vivify, &b->vivify);
    assert_same_ttl(&a->recache, &b->recache);
    yk_buffer_unref(frame);
}

static void
test_round_trips(void)
{
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535};
    for (size_t i = 0; i < G_N_ELEMENTS(ops); i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(sizes); k++) {
            assert_round_trip(ops[i], 1, sizes[k]);
            assert_round_trip(ops[i], MIN(sizes[k] + 1, YK_KEY_SIZE_MAX), 3);
        }
    }
    assert_round_trip(YK_OP_FLUSH, 0, 0);
}

static void
test_answers(void)
{
    static const char text[] = "too few copies";
    const struct yk_slice values[] = {{NULL, 0}, {"", 0}, {text, 1}, {text, sizeof(text)}};
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        struct yk_reply reply = {.result = YK_EEXISTS,
                                 .flags = YK_REPLY_STALE | YK_REPLY_WON | YK_REPLY_WAS_HIT,
                                 .client_flags = UINT32_MAX,
                                 .version = UINT64_MAX,
                                 .expiry_ms = -5,
                                 .number = UINT64_MAX - 1,
                                 .last_access_ms = 77,
                                 .value = values[i],
                                 .text = i % 2 == 0 ? text : NULL};
        struct yk_pack pack;
        struct yk_unpack unpack;
        struct yk_answer_message got;
        yk_pack_init(&pack, 1000);
        yk_answers_write(&pack, 12345, &reply, i == 0 ? 0 : UINT64_MAX - i);
        struct yk_buffer *frame = yk_answers_frame(&pack, 1);
        (void)open_frame(&unpack, yk_slice_of(frame->data, frame->size));
        g_assert_cmpuint(yk_answers_begin(&unpack), ==, 1);
        g_assert_true(yk_answers_next(&unpack, &got));
        g_assert_cmpuint(got.id, ==, 12345);
        g_assert_true(got.reply.result == reply.result && got.reply.flags == reply.flags);
        g_assert_true(got.reply.version == reply.version && got.reply.number == reply.number);
        g_assert_true(got.reply.client_flags == reply.client_flags);
        g_assert_cmpint(got.reply.expiry_ms, ==, -5);
        g_assert_cmpuint(got.reply.last_access_ms, ==, 77);
        g_assert_true(yk_slice_equal(got.reply.value, reply.value));
        g_assert_true((got.reply.value.data == NULL) == (values[i].data == NULL));
        g_assert_cmpuint(got.text.size, ==, i % 2 == 0 ? strlen(text) : 0);
        yk_buffer_unref(frame);
        yk_pack_done(&pack);
    }
}

static bool
reads_ops(struct yk_slice bytes)
{
    struct yk_unpack unpack;
    struct yk_slice name;
    struct yk_op_message message;
    (void)open_frame(&unpack, bytes);
    uint32_t n = yk_ops_begin(&unpack, &name);
    bool is_right = n > 0;
    for (uint32_t i = 0; i < n && is_right; i++) {
        is_right = yk_ops_next(&unpack, &message);
    }
    return is_right && unpack.wrong == NULL;
}

static void
test_hostile(void)
{
    struct yk_op_message message = full_message(YK_OP_STORE, 3, 40);
    struct yk_buffer *frame = frame_of(&message);
    g_assert_true(reads_ops(yk_slice_of(frame->data, frame->size)));
    for (size_t size = 0; size < frame->size; size++) {
        g_autofree uint8_t *cut = g_memdup2(frame->data, size);
        g_assert_false(reads_ops(yk_slice_of(cut, size)));
    }
    for (size_t i = 0; i < frame->size; i++) { /* whatever comes of it: no crash */
        for (int byte = 0; byte < 256; byte++) {
            g_autofree uint8_t *other = g_memdup2(frame->data, frame->size);
            other[i] = (uint8_t)byte;
            (void)reads_ops(yk_slice_of(other, frame->size));
        }
    }
    yk_buffer_unref(frame);
    struct yk_op_message bad[5];
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        bad[i] = message;
    }
    bad[0].request.op = YK_OP_SCAN;
    bad[1].request.op = 4711;
    bad[2].request.mode = YK_MODE_INCR;
    bad[3].request.key.size = 0;
    bad[4].request.vivify.kind = 3;
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        frame = frame_of(&bad[i]);
        g_assert_false(reads_ops(yk_slice_of(frame->data, frame->size)));
        yk_buffer_unref(frame);
    }
}

/* -- Two machines. -- */

enum { SLOTS = 4, LANES = 2, FRAMES_MAX = 64, ENDED_MAX = 16384 };

struct side {
    struct yk_forward *forward;
    struct yk_view *view;
    struct yk_op_queue here; /* to be executed */
    struct yk_buffer *frames[FRAMES_MAX];
    uint32_t n_frames;
    bool owns_none;
};

struct ended {
    struct yk_op *op;
    enum yk_err result;
    uint64_t number;
    char text[80], value[80];
};

static uint64_t now_us, n_random;
static struct side sides[2];
static struct ended ended[ENDED_MAX];
static uint32_t n_ended;

static uint64_t
world_boot_us(void *arg)
{
    (void)arg;
    return now_us;
}

static uint64_t
world_random(void *arg)
{
    (void)arg;
    return n_random += 0x123456789abcdefull;
}

static const struct yk_world world = {.boot_us = world_boot_us, .random = world_random};
static struct yk_bucket the_bucket = {.name = "b",
                                      .ring = {2, LANES, 1},
                                      .key_size_max = 250,
                                      .value_size_max = 1000,
                                      .is_clustered = true};
static struct yk_bucket *const buckets[] = {&the_bucket};

static void
on_execute(void *arg, struct yk_op *op)
{
    yk_op_queue_push(&((struct side *)arg)->here, op);
}

static void
on_ended(void *arg, struct yk_op *op, const struct yk_reply *reply)
{
    struct ended *end = &ended[n_ended++];
    (void)arg;
    *end = (struct ended){.op = op, .result = (enum yk_err)reply->result, .number = reply->number};
    g_strlcpy(end->text, reply->text != NULL ? reply->text : "", sizeof(end->text));
    memcpy(end->value, reply->value.data != NULL ? reply->value.data : "",
           MIN(reply->value.size, sizeof(end->value) - 1));
}

static bool
on_owns(void *arg, uint32_t bucket, uint32_t lane)
{
    return !((struct side *)arg)->owns_none && bucket == 0 && lane < LANES;
}

static void
on_send(void *arg, uint32_t peer, uint32_t worker, struct yk_buffer *frame)
{
    struct side *side = arg;
    g_assert_cmpuint(peer, ==, 1);
    g_assert_cmpuint(worker, ==, 0);
    g_assert_cmpuint(side->n_frames, <, FRAMES_MAX);
    side->frames[side->n_frames++] = frame;
}

/* A view of that side in which `primary` leads all slots. Its own slots a side knows as node 0. */
static struct yk_view *
make_view(uint32_t self, uint32_t primary, uint32_t epoch)
{
    struct yk_view *view = yk_view_new(1);
    char error[YK_ERROR_SIZE];
    struct yk_bucket_description description = {.slots = SLOTS,
                                                .copies = 1,
                                                .min_copies = 1,
                                                .durability = YK_DURABILITY_MEMORY,
                                                .engine = "memory",
                                                .key_size_max = 250,
                                                .value_size_max = 1000};
    struct yk_bucket_register *bucket = &view->buckets[0].bucket;
    g_assert_cmpint(yk_bucket_register_init(bucket, &description, error), ==, YK_OK);
    bucket->n_nodes = 2;
    for (uint32_t i = 0; i < 2; i++) {
        bucket->nodes[i].nonce = i + 1;
        bucket->nodes[i].n_workers = 1;
        bucket->nodes[i].n_lanes = LANES;
        view->buckets[0].peers[i] = i == self ? YK_PEER_SELF : 1;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        bucket->slots[i].epoch = epoch;
        bucket->slots[i].primary = primary;
        bucket->slots[i].n_members = 1;
        bucket->slots[i].members[0].node = primary;
    }
    view->buckets[0].self = self;
    view->buckets[0].is_fresh = true;
    return view;
}

static void
show(uint32_t side, uint32_t primary, uint32_t epoch)
{
    yk_view_unref(sides[side].view);
    sides[side].view = make_view(side, primary, epoch);
    yk_forward_view(sides[side].forward, sides[side].view);
}

static void
set_up(uint32_t primary)
{
    now_us = 1000000;
    n_ended = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct yk_forward_config config = {
            .world = &world,
            .buckets = buckets,
            .n_buckets = 1,
            .sink = {&sides[i], on_execute, on_ended, on_owns, on_send}};
        sides[i] = (struct side){0};
        g_assert_cmpint(yk_forward_new(&config, &sides[i].forward), ==, YK_OK);
        show(i, primary, 1);
    }
}

static void
tear_down(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        g_assert_true(yk_forward_is_idle(sides[i].forward));
        g_assert_cmpuint(sides[i].here.n, ==, 0);
        g_assert_cmpuint(sides[i].n_frames, ==, 0);
        yk_forward_free(sides[i].forward);
        yk_view_unref(sides[i].view);
    }
}

/* A turn of one; its frames are kept. */
static void
turn(uint32_t side)
{
    yk_forward_tick(sides[side].forward);
    yk_forward_speak(sides[side].forward);
}

static void
drop_frames(uint32_t side)
{
    while (sides[side].n_frames > 0) {
        yk_buffer_unref(sides[side].frames[--sides[side].n_frames]);
    }
}

/* What the side has sent comes to the other. */
static void
deliver(uint32_t side)
{
    struct yk_forward *to = sides[1 - side].forward;
    for (uint32_t i = 0; i < sides[side].n_frames; i++) {
        struct yk_buffer *frame = sides[side].frames[i];
        struct yk_unpack unpack;
        struct yk_slice method = open_frame(&unpack, yk_slice_of(frame->data, frame->size));
        if (yk_slice_equal(method, yk_slice_of_text("ops"))) {
            yk_forward_hear_ops(to, 1, 0, &unpack);
        } else {
            yk_forward_hear_answers(to, 1, 0, &unpack);
        }
    }
    drop_frames(side);
}

/* Both, until nothing is on its way. */
static void
settle(void)
{
    turn(0);
    turn(1);
    while (sides[0].n_frames + sides[1].n_frames > 0) {
        deliver(0);
        deliver(1);
        turn(0);
        turn(1);
    }
}

static void
pass_ms(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        now_us += 1000;
        settle();
    }
}

static struct yk_op *
make_op(uint16_t kind, const char *key, const char *value)
{
    struct yk_op *op = g_new0(struct yk_op, 1);
    op->request = (struct yk_request){.struct_size = sizeof(op->request),
                                      .op = kind,
                                      .key = yk_slice_of_text(key),
                                      .value = yk_slice_of_text(value)};
    op->hash = yk_hash(op->request.key);
    op->slot = (uint16_t)yk_ring_slot(&the_bucket.ring, op->hash);
    op->is_kept = true;
    op->kept_max = 70;
    return op;
}

/* Ends the first op that the side is to execute. */
static void
end_first(uint32_t side, enum yk_err result, const char *value, const char *text)
{
    struct yk_op *op = yk_op_queue_pop(&sides[side].here);
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = result, .text = text};
    reply.value = value != NULL ? yk_slice_of_text(value) : yk_slice_of(NULL, 0);
    g_assert_nonnull(op);
    if (op->origin == YK_ORIGIN_REMOTE) {
        yk_forward_answer(sides[side].forward, op, &reply);
    } else if (!yk_forward_ended(sides[side].forward, op, &reply)) {
        on_ended(&sides[side], op, &reply);
    }
}

static void
assert_ended(const struct yk_op *op, enum yk_err result, const char *text)
{
    g_assert_cmpuint(n_ended, ==, 1);
    g_assert_true(ended[0].op == op);
    g_assert_null(op->pending);
    g_assert_cmpint(ended[0].result, ==, result);
    g_assert_cmpstr(ended[0].text, ==, text);
    n_ended = 0;
}

static void
test_there_and_back(void)
{
    set_up(1);
    g_autofree struct yk_op *op = make_op(YK_OP_GET, "key", "");
    g_assert_true(yk_forward_submit(sides[0].forward, op));
    settle();
    struct yk_op *remote = sides[1].here.first;
    g_assert_nonnull(remote);
    g_assert_true(yk_slice_equal(remote->request.key, op->request.key));
    g_assert_true((const uint8_t *)remote->request.key.data ==
                  (const uint8_t *)remote->pinned + YK_PIN_ROOM);
    g_assert_true(remote->is_kept && remote->kept_max == 70 && remote->hash == op->hash);
    g_assert_true(remote->slot == op->slot && remote->lane == op->slot % LANES);
    end_first(1, YK_OK, "a value", NULL);
    settle();
    g_assert_cmpstr(ended[0].value, ==, "a value");
    assert_ended(op, YK_OK, "");

    g_autofree struct yk_op *own = make_op(YK_OP_GET, "key", "");
    g_assert_false(yk_forward_submit(sides[1].forward, own)); /* it is the primary */
    tear_down();
}

static void
test_value_too_large(void)
{
    static const char value[] = "01234567890123456789012345678901234567890123456789"
                                "0123456789012345678901234567890123456789";
    set_up(1);
    g_autofree struct yk_op *op = make_op(YK_OP_GET, "key", "");
    g_assert_true(yk_forward_submit(sides[0].forward, op));
    settle();
    end_first(1, YK_OK, value, NULL);
    settle();
    g_assert_cmpuint(ended[0].number, ==, strlen(value));
    assert_ended(op, YK_EBUSY, "");
    tear_down();
}

/* Whoever is primary by then gets it, this node too. */
static void
test_stale_goes_on(void)
{
    set_up(1);
    g_autofree struct yk_op *op = make_op(YK_OP_STORE, "key", "value");
    g_assert_true(yk_forward_submit(sides[0].forward, op));
    settle();
    end_first(1, YK_ESTALE, NULL, "not reconciled");
    settle();
    g_assert_cmpuint(n_ended + sides[1].here.n, ==, 0);
    pass_ms(6); /* asked again */
    g_assert_cmpuint(sides[1].here.n, ==, 1);
    end_first(1, YK_ESTALE, NULL, NULL);
    show(0, 0, 2);
    pass_ms(11);
    g_assert_cmpuint(sides[0].here.n, ==, 1);
    end_first(0, YK_ESTALE, NULL, NULL); /* of its own lane: likewise */
    show(0, 1, 3);
    show(1, 1, 3);
    pass_ms(21);
    g_assert_cmpuint(sides[1].here.n, ==, 1);
    end_first(1, YK_OK, NULL, NULL);
    settle();
    assert_ended(op, YK_OK, "");
    tear_down();
}

static void
test_nobody(void)
{
    set_up(1);
    g_autofree struct yk_op *write = make_op(YK_OP_STORE, "key", "value");
    g_autofree struct yk_op *read = make_op(YK_OP_GET, "key", "");
    show(0, 0, 0); /* no slot is made yet */
    g_assert_true(yk_forward_submit(sides[0].forward, write));
    g_assert_true(yk_forward_submit(sides[0].forward, read));
    pass_ms(4999);
    g_assert_cmpuint(n_ended, ==, 0);
    pass_ms(1);
    g_assert_cmpuint(n_ended, ==, 2);
    for (uint32_t i = 0; i < 2; i++) {
        g_assert_cmpint(ended[i].result, ==, ended[i].op == write ? YK_EBUSY : YK_ETIMEDOUT);
        g_assert_cmpstr(ended[i].text, ==, "no primary for this part of the keys");
    }
    tear_down();
}

/* The other refuses what is not its own: another lane's, a bucket that it has not, an epoch that
 * it has not heard of. */
static void
test_refusals(void)
{
    set_up(1);
    g_autofree struct yk_op *op = make_op(YK_OP_STORE, "key", "value");
    sides[1].owns_none = true;
    g_assert_true(yk_forward_submit(sides[0].forward, op));
    pass_ms(50);
    sides[1].owns_none = false;
    show(0, 1, 2);
    pass_ms(200);
    g_assert_cmpuint(sides[1].here.n, ==, 0);
    show(1, 1, 2);
    pass_ms(200);
    g_assert_cmpuint(sides[1].here.n, ==, 1);
    end_first(1, YK_OK, NULL, NULL);
    settle();
    assert_ended(op, YK_OK, "");
    tear_down();
}

static void
test_link_lost(void)
{
    set_up(1);
    g_autofree struct yk_op *write = make_op(YK_OP_GET, "key", ""); /* has no token */
    g_autofree struct yk_op *read = make_op(YK_OP_GET, "key", "");
    write->request.flags = YK_REQUEST_TOUCH;
    g_assert_true(yk_forward_submit(sides[0].forward, write));
    g_assert_true(yk_forward_submit(sides[0].forward, read));
    settle();
    g_assert_cmpuint(sides[1].here.n, ==, 2);
    yk_forward_peer(sides[0].forward, 1, 0, false);
    assert_ended(write, YK_EUNKNOWN, "outcome unknown");
    end_first(1, YK_OK, NULL, NULL); /* what comes late is nobody's */
    end_first(1, YK_OK, "old", NULL);
    settle();
    g_assert_cmpuint(n_ended, ==, 0);
    pass_ms(50); /* only a frame without ops, so that the link comes up */
    g_assert_cmpuint(sides[1].here.n, ==, 0);
    yk_forward_peer(sides[0].forward, 1, 0, true);
    pass_ms(101);
    g_assert_cmpuint(sides[1].here.n, ==, 1);
    end_first(1, YK_OK, "new", NULL);
    settle();
    g_assert_cmpstr(ended[0].value, ==, "new");
    assert_ended(read, YK_OK, "");
    tear_down();
}

/* A write with that version is done. */
static void
end_done(uint32_t side, uint64_t version)
{
    sides[side].here.first->version = version;
    end_first(side, YK_OK, NULL, NULL);
}

/* Nobody knows what became of a write: it is sent again, and says so. */
static void
test_again(void)
{
    set_up(1);
    g_autofree struct yk_op *first = make_op(YK_OP_STORE, "key", "value");
    g_autofree struct yk_op *write = make_op(YK_OP_STORE, "key", "value");
    g_assert_true(yk_forward_submit(sides[0].forward, first));
    settle();
    g_assert_false(sides[1].here.first->is_again);
    end_done(1, 1234);
    settle();
    assert_ended(first, YK_OK, "");
    g_assert_true(yk_forward_submit(sides[0].forward, write));
    settle();
    uint64_t token = sides[1].here.first->token;
    g_assert_true(token != 0 && token != first->token && sides[1].here.first->sent_epoch == 1);
    yk_forward_peer(sides[0].forward, 1, 0, false);
    yk_forward_peer(sides[0].forward, 1, 0, true);
    end_first(1, YK_EEXISTS, NULL, NULL); /* comes late, and is nobody's */
    settle();
    pass_ms(20);
    g_assert_cmpuint(n_ended, ==, 0);
    for (int i = 0; i < 3; i++) { /* none of these says what became of the first try */
        static const enum yk_err refusals[] = {YK_ENOSPACE, YK_EBUSY, YK_EUNKNOWN};
        const struct yk_op *again = sides[1].here.first;
        g_assert_true(again != NULL && again->token == token && again->is_again);
        g_assert_cmpuint(again->after, ==, 1234);
        end_first(1, refusals[i], NULL, NULL);
        pass_ms(101);
        g_assert_cmpuint(n_ended, ==, 0);
    }
    end_first(1, YK_EEXISTS, NULL, NULL);
    settle();
    assert_ended(write, YK_EEXISTS, "");
    tear_down();
}

/* Its primary says nothing, and is none any more: whoever is one is asked. */
static void
test_moved(void)
{
    set_up(1);
    g_autofree struct yk_op *write = make_op(YK_OP_DELETE, "key", "");
    g_autofree struct yk_op *read = make_op(YK_OP_GET, "key", "");
    g_assert_true(yk_forward_submit(sides[0].forward, write));
    g_assert_true(yk_forward_submit(sides[0].forward, read));
    settle();
    show(0, 0, 2);
    pass_ms(19);
    g_assert_cmpuint(sides[0].here.n, ==, 0); /* an answer may be on its way */
    pass_ms(2);
    g_assert_cmpuint(sides[0].here.n, ==, 2);
    g_assert_true(write->is_again && !read->is_again);
    end_first(1, YK_OK, NULL, NULL);
    end_first(1, YK_OK, "old", NULL);
    settle();
    g_assert_cmpuint(n_ended, ==, 0);
    end_first(0, YK_ENOTFOUND, NULL, NULL);
    end_first(0, YK_ENOTFOUND, NULL, NULL);
    g_assert_cmpuint(n_ended, ==, 2);
    g_assert_true(ended[0].result == YK_ENOTFOUND && ended[1].result == YK_ENOTFOUND);
    tear_down();
}

/* Of a lane of its own: nobody knows, and then it is known that nobody will. */
static void
test_forgotten(void)
{
    set_up(0);
    g_autofree struct yk_op *op = make_op(YK_OP_STORE, "key", "value");
    g_assert_false(yk_forward_submit(sides[0].forward, op));
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = YK_EUNKNOWN};
    op->version = 77;
    op->since_us = now_us;
    g_assert_true(yk_forward_ended(sides[0].forward, op, &reply));
    show(0, 1, 2);
    show(1, 1, 2);
    pass_ms(11);
    g_assert_cmpuint(sides[1].here.n, ==, 1);
    g_assert_true(sides[1].here.first->is_again && sides[1].here.first->after == 76);
    struct yk_op *remote = yk_op_queue_pop(&sides[1].here);
    reply.flags = YK_REPLY_FORGOTTEN;
    reply.text = "forgotten";
    yk_forward_answer(sides[1].forward, remote, &reply);
    settle();
    assert_ended(op, YK_EUNKNOWN, "forgotten");

    g_autofree struct yk_op *late = make_op(YK_OP_STORE, "key", "value");
    show(0, 0, 3);
    g_assert_false(yk_forward_submit(sides[0].forward, late));
    late->since_us = now_us;
    pass_ms(5000);
    reply = (struct yk_reply){.struct_size = sizeof(reply), .result = YK_EUNKNOWN};
    g_assert_true(yk_forward_ended(sides[0].forward, late, &reply));
    settle();
    assert_ended(late, YK_EUNKNOWN, "outcome unknown");
    tear_down();
}

/* No answer: a read is sent again, a write has an end. */
static void
test_silence(void)
{
    set_up(1);
    g_autofree struct yk_op *write = make_op(YK_OP_ARITH, "key", "");
    g_autofree struct yk_op *read = make_op(YK_OP_GET, "key", "");
    write->request.mode = YK_MODE_INCR;
    g_assert_true(yk_forward_submit(sides[0].forward, write));
    g_assert_true(yk_forward_submit(sides[0].forward, read));
    pass_ms(4900);
    g_assert_cmpuint(sides[1].here.n, ==, 6); /* the write, and five times the read */
    g_assert_cmpuint(n_ended, ==, 0);
    pass_ms(100);
    g_assert_cmpuint(n_ended, ==, 2);
    for (uint32_t i = 0; i < 2; i++) {
        g_assert_cmpint(ended[i].result, ==, ended[i].op == write ? YK_EUNKNOWN : YK_ETIMEDOUT);
    }
    n_ended = 0;
    while (sides[1].here.n > 0) {
        end_first(1, YK_OK, NULL, NULL);
    }
    settle();
    g_assert_cmpuint(n_ended, ==, 0);
    tear_down();
}

/* Texts of other nodes stand in clients' protocols. */
static void
test_texts(void)
{
    set_up(1);
    for (int i = 0; i < 100; i++) { /* a bounded number of different ones is kept */
        g_autofree struct yk_op *op = make_op(YK_OP_STORE, "key", "value");
        g_autofree char *text = g_strdup_printf("text %d", i);
        g_assert_true(yk_forward_submit(sides[0].forward, op));
        settle();
        end_first(1, YK_ENOSPACE, NULL, text);
        settle();
        assert_ended(op, YK_ENOSPACE, i < 64 ? text : "");
    }
    g_autofree struct yk_op *op = make_op(YK_OP_STORE, "key", "value");
    g_assert_true(yk_forward_submit(sides[0].forward, op));
    settle();
    end_first(1, YK_ENOSPACE, NULL, "a\r\nSTORED");
    settle();
    g_assert_cmpuint(n_ended, ==, 0);
    g_assert_cmpuint(yk_forward_dropped(sides[0].forward), ==, 1);
    pass_ms(5000);
    assert_ended(op, YK_EUNKNOWN, "outcome unknown");
    tear_down();
}

static void
test_bounds(void)
{
    set_up(1);
    struct yk_op **all = g_new0(struct yk_op *, YK_FORWARD_OPS_MAX + 1);
    for (uint32_t i = 0; i <= YK_FORWARD_OPS_MAX; i++) {
        all[i] = make_op(YK_OP_STORE, "key", "value");
        g_assert_true(yk_forward_submit(sides[0].forward, all[i]));
    }
    g_assert_cmpuint(n_ended, ==, 0); /* nothing ends within submit */
    turn(0);
    assert_ended(all[YK_FORWARD_OPS_MAX], YK_EBUSY, "too many requests wait for other nodes");
    settle();
    while (sides[1].here.n > 0) {
        end_first(1, YK_OK, NULL, NULL);
    }
    settle();
    g_assert_cmpuint(n_ended, ==, YK_FORWARD_OPS_MAX);
    for (uint32_t i = 0; i <= YK_FORWARD_OPS_MAX; i++) {
        g_free(all[i]);
    }
    g_free(all);
    tear_down();
}

/* A write that is not sent again when its link is lost. */
static struct yk_op *
make_unrepeated(const char *value)
{
    struct yk_op *op = make_op(YK_OP_GET, "key", value);
    op->request.flags = YK_REQUEST_TOUCH;
    return op;
}

/* Bytes of keys and values, at both ends; one op is always let through. */
static void
test_bounds_of_bytes(void)
{
    uint64_t value_size_max = the_bucket.value_size_max;
    struct yk_op *all[4];
    g_autofree char *value = g_strnfill(YK_FORWARD_BYTES_MAX / 2, 'v');
    set_up(1);
    the_bucket.value_size_max = YK_FORWARD_BYTES_MAX;
    for (uint32_t i = 0; i < 2; i++) {
        all[i] = make_unrepeated(value);
        g_assert_true(yk_forward_submit(sides[0].forward, all[i]));
    }
    turn(0);
    assert_ended(all[1], YK_EBUSY, "too many requests wait for other nodes");
    for (uint32_t i = 2; i < 4; i++) { /* what a worker takes is bounded by itself */
        yk_forward_peer(sides[0].forward, 1, 0, false);
        yk_forward_peer(sides[0].forward, 1, 0, true);
        n_ended = 0;
        all[i] = make_unrepeated(value);
        g_assert_true(yk_forward_submit(sides[0].forward, all[i]));
        turn(0);
    }
    deliver(0);
    g_assert_cmpuint(sides[1].here.n, ==, 3);
    g_autofree struct yk_op *more = make_unrepeated(value);
    yk_forward_peer(sides[0].forward, 1, 0, false);
    yk_forward_peer(sides[0].forward, 1, 0, true);
    n_ended = 0;
    g_assert_true(yk_forward_submit(sides[0].forward, more));
    settle();
    assert_ended(more, YK_EBUSY, "");
    while (sides[1].here.n > 0) {
        end_first(1, YK_OK, NULL, NULL);
    }
    settle();
    g_assert_cmpuint(n_ended, ==, 0);
    for (uint32_t i = 0; i < 4; i++) {
        g_free(all[i]);
    }
    the_bucket.value_size_max = value_size_max;
    tear_down();
}

static void
test_flush(void)
{
    set_up(1);
    g_autofree struct yk_op *op = make_op(YK_OP_FLUSH, "", "");
    yk_forward_flush(sides[0].forward, op);
    settle();
    g_assert_cmpuint(sides[1].here.n, ==, LANES);
    g_assert_cmpuint(sides[1].here.first->lane, !=, sides[1].here.last->lane);
    end_first(1, YK_OK, NULL, NULL);
    settle();
    g_assert_cmpuint(n_ended, ==, 0);
    end_first(1, YK_OK, NULL, NULL);
    settle();
    assert_ended(op, YK_OK, "");

    yk_forward_flush(sides[0].forward, op);
    settle();
    end_first(1, YK_OK, NULL, NULL);
    end_first(1, YK_EUNKNOWN, NULL, NULL);
    settle();
    assert_ended(op, YK_EUNKNOWN, "");

    /* It says of which slots it takes the lane to be primary; one that knows better does nothing.
     */
    yk_forward_flush(sides[0].forward, op);
    settle();
    g_autofree struct yk_op *own = make_op(YK_OP_FLUSH, "", "");
    own->lane = sides[1].here.first->lane;
    yk_forward_flush_here(sides[1].forward, own);
    g_assert_cmphex(sides[1].here.first->request.delta, ==, own->request.delta);
    g_assert_cmphex(own->request.delta, !=, 0);
    own->lane = (uint16_t)(1 - own->lane);
    yk_forward_flush_here(sides[1].forward, own);
    g_assert_cmphex(sides[1].here.first->request.delta, !=, own->request.delta);
    yk_forward_flush_here(sides[0].forward, own);
    g_assert_cmphex(own->request.delta, ==, 0);
    end_first(1, YK_ESTALE, NULL, NULL);
    end_first(1, YK_OK, NULL, NULL);
    settle();
    assert_ended(op, YK_ESTALE, "");

    show(0, 0, 3); /* no other node leads anything */
    yk_forward_flush(sides[0].forward, op);
    g_assert_cmpuint(n_ended, ==, 0);
    settle();
    assert_ended(op, YK_OK, "");
    tear_down();
}

/* A node that is no member anywhere, and does not even stand in the register. */
static void
test_gateway(void)
{
    set_up(1);
    sides[0].view->buckets[0].self = YK_NODE_NONE;
    g_autofree struct yk_op *op = make_op(YK_OP_DELETE, "key", "");
    g_assert_true(yk_forward_submit(sides[0].forward, op));
    settle();
    end_first(1, YK_ENOTFOUND, NULL, NULL);
    settle();
    assert_ended(op, YK_ENOTFOUND, "");
    g_autofree struct yk_op *back = make_op(YK_OP_DELETE, "key", "");
    show(1, 0, 2);
    g_assert_true(yk_forward_submit(sides[1].forward, back)); /* to one that serves nothing */
    settle();
    g_assert_cmpuint(sides[0].here.n, ==, 0);
    pass_ms(5000);
    assert_ended(back, YK_EBUSY, "no primary for this part of the keys");
    tear_down();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/forward/frames/round-trips", test_round_trips);
    g_test_add_func("/forward/frames/answers", test_answers);
    g_test_add_func("/forward/frames/hostile", test_hostile);
    g_test_add_func("/forward/there-and-back", test_there_and_back);
    g_test_add_func("/forward/value-too-large", test_value_too_large);
    g_test_add_func("/forward/stale-goes-on", test_stale_goes_on);
    g_test_add_func("/forward/nobody", test_nobody);
    g_test_add_func("/forward/refusals", test_refusals);
    g_test_add_func("/forward/link-lost", test_link_lost);
    g_test_add_func("/forward/again", test_again);
    g_test_add_func("/forward/moved", test_moved);
    g_test_add_func("/forward/forgotten", test_forgotten);
    g_test_add_func("/forward/silence", test_silence);
    g_test_add_func("/forward/texts", test_texts);
    g_test_add_func("/forward/bounds", test_bounds);
    g_test_add_func("/forward/bounds-of-bytes", test_bounds_of_bytes);
    g_test_add_func("/forward/flush", test_flush);
    g_test_add_func("/forward/gateway", test_gateway);
    return g_test_run();
}
