/* The output queue, and sessions through the router: a frontend of a few lines above it, a sink
 * below it that ends operations as the test says. */
#include <config.h>

#include "core/router/router.h"

#include <stdlib.h>

#include <glib.h>

#include "core/base/buffer.h"
#include "core/base/random.h"
#include "core/router/session.h"

/* -- The output queue. -- */

static void
put(struct yk_output *output, const char *text)
{
    yk_outbox_put_text(&output->outbox, text);
}

static void
lend(struct yk_output *output, const char *text)
{
    struct yk_buffer *buffer = yk_buffer_new_copy(yk_slice_of_text(text));
    output->outbox.lend(&output->outbox, yk_slice_of(buffer->data, buffer->size), buffer);
    yk_buffer_unref(buffer);
}

/* Takes up to size bytes, n_max slices at a time. */
static void
drain(struct yk_output *output, GString *to, size_t size, size_t n_max)
{
    struct yk_slice slices[8];
    size_t n;
    while (size > 0 && (n = yk_output_peek(output, slices, n_max)) > 0) {
        size_t taken = 0;
        for (size_t i = 0; i < n && taken < size; i++) {
            size_t part = MIN(slices[i].size, size - taken);
            g_string_append_len(to, slices[i].data, (gssize)part);
            taken += part;
        }
        yk_output_sent(output, taken);
        size -= taken;
    }
}

static void
test_output_partial(void)
{
    static const char text[] = "abcdefghijklmno";
    for (size_t split = 0; split < sizeof(text); split++) {
        struct yk_output output;
        struct yk_output_pool pool = {NULL, 0};
        g_autoptr(GString) got = g_string_new(NULL);
        yk_output_init(&output, &pool, 1000);
        put(&output, "abc");
        lend(&output, "defg");
        lend(&output, "h");
        put(&output, "ijkl");
        g_assert_cmpuint(yk_output_size(&output), ==, 12);
        drain(&output, got, MIN(split, 12), 2);
        put(&output, "mno"); /* into the block that is being sent, where it is still there */
        g_assert_cmpuint(yk_output_size(&output), ==, 15 - MIN(split, 12));
        drain(&output, got, 1, 8);
        drain(&output, got, 100, 8);
        g_assert_cmpstr(got->str, ==, text);
        g_assert_cmpuint(yk_output_size(&output), ==, 0);
        yk_output_done(&output);
        yk_output_pool_done(&pool);
    }
}

/* Random pieces and random sends against a plain string. */
static void
test_output_random(void)
{
    struct yk_random random = {7};
    struct yk_output output;
    struct yk_output_pool pool = {NULL, 0};
    g_autoptr(GString) put_in = g_string_new(NULL);
    g_autoptr(GString) got = g_string_new(NULL);
    yk_output_init(&output, &pool, 64 * YK_MIB);
    for (int i = 0; i < 3000; i++) {
        size_t size = yk_random_below(&random, yk_random_below(&random, 20) == 0 ? 40000 : 300);
        g_autofree char *piece = g_strnfill(size, (char)('a' + yk_random_below(&random, 26)));
        g_string_append(put_in, piece);
        if (yk_random_below(&random, 3) == 0) {
            lend(&output, piece);
        } else {
            put(&output, piece);
        }
        if (yk_random_below(&random, 2) == 0) {
            drain(&output, got, yk_random_below(&random, 2000), 1 + yk_random_below(&random, 8));
        }
        yk_output_sent(&output, 0);
    }
    g_assert_cmpuint(yk_output_size(&output), ==, put_in->len - got->len);
    drain(&output, got, SIZE_MAX, 8);
    g_assert_true(g_string_equal(got, put_in));
    yk_output_done(&output);
    yk_output_pool_done(&pool);
}

static void
test_output_grow(void)
{
    struct yk_output output;
    struct yk_output_pool pool = {NULL, 0};
    yk_output_init(&output, &pool, 10 * YK_MIB);
    uint8_t *to = yk_outbox_reserve(&output.outbox, 100000);
    g_assert_nonnull(to);
    memset(to, 'x', 100000);
    g_assert_cmpuint(output.outbox.end - output.outbox.cur, >=, 100000);
    g_assert_cmpuint(yk_output_size(&output), ==, 0); /* nothing until the caller moves cur */
    output.outbox.cur += 100000;
    g_assert_cmpuint(yk_output_size(&output), ==, 100000);
    g_assert_false(output.outbox.is_full);
    g_autofree char *more = g_strnfill(YK_OUTBOX_HIGH - 100000, 'y');
    put(&output, more);
    g_assert_cmpuint(yk_output_size(&output), ==, YK_OUTBOX_HIGH);
    g_assert_true(output.outbox.is_full);
    yk_output_sent(&output, 1);
    g_assert_false(output.outbox.is_full);
    yk_output_done(&output);
    yk_output_pool_done(&pool);
}

static void
test_output_lost(void)
{
    struct yk_output output;
    struct yk_output_pool pool = {NULL, 0};
    struct yk_slice slice;
    struct yk_buffer *buffer = yk_buffer_new_copy(yk_slice_of_text("0123456789"));
    struct yk_slice all = yk_slice_of(buffer->data, buffer->size);
    yk_output_init(&output, &pool, 25);
    g_assert_true(output.outbox.lend(&output.outbox, all, buffer));
    g_assert_true(output.outbox.lend(&output.outbox, all, buffer));
    g_assert_cmpuint(buffer->n_refs, ==, 3);
    g_assert_false(output.outbox.lend(&output.outbox, all, buffer));
    g_assert_true(output.is_lost);
    g_assert_cmpuint(buffer->n_refs, ==, 3);
    put(&output, "more"); /* written nowhere */
    g_assert_null(yk_outbox_reserve(&output.outbox, 1));
    g_assert_false(output.outbox.lend(&output.outbox, all, buffer));
    g_assert_cmpuint(yk_output_peek(&output, &slice, 1), ==, 0);
    g_assert_cmpuint(yk_output_size(&output), ==, 0);
    yk_output_sent(&output, 0);
    yk_output_done(&output);
    yk_output_pool_done(&pool);
    g_assert_cmpuint(buffer->n_refs, ==, 1);
    yk_buffer_unref(buffer);
    yk_output_init(&output, &pool, 25);
    g_assert_null(yk_outbox_reserve(&output.outbox, 26));
    g_assert_true(output.is_lost);
    yk_output_done(&output);
    yk_output_pool_done(&pool);
}

/* -- A frontend. Requests are lines; each answer is "TAG:what\n", tags count from 0:
 *     g KEY   s KEY SIZE\nBYTES\n   d KEY   n (noop)   f (flush)   c (scan)   x (noop, then close)
 *     t MS (wake)   ! (error) -- */

struct fake_session {
    uint64_t next_tag;
    uint64_t timer_at_ms, timer_next_ms;
    enum yk_timer_result timer_result;
    uint32_t n_timers;
};

static struct {
    uint32_t n_sessions, n_replies, n_cancels;
    struct fake_session *newest;
    uint64_t first_timer_ms;
    enum yk_timer_result first_timer_result;
    bool quiet;
} fake;

static enum yk_err
fake_session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    g_assert_cmpstr(peer->address, ==, "sim:1");
    *ret_session = fake.newest = g_new0(struct fake_session, 1);
    fake.n_sessions++;
    return YK_OK;
}

static void
fake_session_free(void *session)
{
    g_free(session);
    fake.n_sessions--;
}

static void
fill_request(struct yk_request *request, char verb, const char *at, const char *end)
{
    const char *key = at + 2 <= end ? at + 2 : end;
    const char *space = memchr(key, ' ', (size_t)(end - key));
    request->key = yk_slice_of(key, (size_t)((space != NULL ? space : end) - key));
    request->op = verb == 'g'   ? YK_OP_GET
                  : verb == 's' ? YK_OP_STORE
                  : verb == 'd' ? YK_OP_DELETE
                  : verb == 'f' ? YK_OP_FLUSH
                  : verb == 'c' ? YK_OP_SCAN
                                : YK_OP_NOOP;
    request->flags = verb == 'x' ? YK_REQUEST_CLOSE : 0;
    request->flags |= fake.quiet ? YK_REQUEST_QUIET : 0;
}

static enum yk_err
fake_feed(void *own, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
          size_t *ret_used, size_t *ret_want)
{
    struct fake_session *session = own;
    const char *at = (const char *)bytes, *newline;
    bool has_room = true;
    *ret_want = 0;
    while (has_room && (size_t)(at - (const char *)bytes) < size &&
           (newline = memchr(at, '\n', size - (size_t)(at - (const char *)bytes))) != NULL) {
        size_t left = size - (size_t)(at - (const char *)bytes);
        const char *next = newline + 1;
        size_t value_size = 0;
        if (*at == '!') {
            return YK_ESYNTAX;
        }
        if (*at == 's') {
            value_size = g_ascii_strtoull(g_strrstr_len(at, newline - at, " ") + 1, NULL, 10);
            size_t whole = (size_t)(next - at) + value_size + 1;
            if (left < whole) {
                *ret_want = whole;
                break;
            }
            next = at + whole;
        }
        if (*at == 't') {
            inbox->wake_at(inbox, g_ascii_strtoull(at + 2, NULL, 10));
            at = next;
            continue;
        }
        struct yk_request *request = inbox->request(inbox);
        if (request == NULL) {
            break;
        }
        fill_request(request, *at, at, newline);
        request->value = yk_slice_of(newline + 1, value_size);
        request->tag = session->next_tag++;
        has_room = inbox->submit(inbox, request);
        at = next;
    }
    *ret_used = (size_t)(at - (const char *)bytes);
    return YK_OK;
}

static void
fake_reply(void *session, const struct yk_request *request, const struct yk_reply *reply,
           struct yk_outbox *outbox)
{
    fake.n_replies += (reply->flags & YK_REPLY_MORE) ? 0 : 1;
    yk_outbox_put_u64(outbox, request->tag);
    yk_outbox_put_text(outbox, reply->flags & YK_REPLY_MORE ? "+" : ":");
    yk_outbox_put(outbox, reply->name.data, reply->name.size);
    if (reply->result != YK_OK) {
        yk_outbox_put_text(outbox, "E");
        yk_outbox_put_u64(outbox, reply->result);
    }
    if (reply->value.data != NULL) { /* of a scan that asks for no values only the size comes */
        yk_outbox_put_value(outbox, reply);
    }
    yk_outbox_put_text(outbox, "\n");
}

static void
fake_cancel(void *session, const struct yk_request *request)
{
    fake.n_cancels++;
}

static enum yk_timer_result
fake_timer(void *own, uint64_t now_ms, struct yk_outbox *outbox, uint64_t *ret_next_ms)
{
    struct fake_session *session = own;
    if (session->n_timers++ == 0) {
        *ret_next_ms = fake.first_timer_ms;
        return fake.first_timer_result;
    }
    session->timer_at_ms = now_ms;
    *ret_next_ms = session->timer_next_ms;
    return session->timer_result;
}

static const struct yk_frontend_ops fake_ops = {
    .struct_size = sizeof(fake_ops),
    .session_new = fake_session_new,
    .session_free = fake_session_free,
    .feed = fake_feed,
    .reply = fake_reply,
    .cancel = fake_cancel,
    .timer = fake_timer,
};

static const struct yk_plugin fake_plugin = {YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI),
                                             .name = "fake", .ops = &fake_ops};

/* -- The bench. -- */

static void
no_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static const struct yk_world world = {.log = no_log};
static const struct yk_peer peer = {
    .struct_size = sizeof(peer), .family = YK_FAMILY_SIM, .address = "sim:1", .listener = "sim:0"};

struct bench {
    struct yk_bucket bucket;
    struct yk_bucket *buckets[1];
    struct yk_settings *settings;
    struct yk_frontend *frontend;
    struct yk_router *router;
    struct yk_session *session;
    GPtrArray *out;    /* struct yk_op, given to the sink, in order */
    GPtrArray *inputs; /* bytes of this turn, each in a block of its exact size */
    GString *got;
    uint32_t n_executed;
    bool checks_conflicts;
};

static bool
is_barrier_op(const struct yk_op *op)
{
    return op->request.op == YK_OP_FLUSH || op->request.op == YK_OP_SCAN;
}

/* May both be under way for one session? */
static void
check_pair(const struct yk_op *a, const struct yk_op *b)
{
    bool are_parts = a->part_of != NULL && a->part_of == b->part_of;
    g_assert_true(are_parts || (!is_barrier_op(a) && !is_barrier_op(b)));
    if (yk_slice_equal(a->request.key, b->request.key)) {
        g_assert_true(are_parts || (!yk_op_is_write(a) && !yk_op_is_write(b)));
    }
}

static void
bench_execute(void *arg, struct yk_op *op)
{
    struct bench *bench = arg;
    for (guint i = 0; i < bench->out->len && bench->checks_conflicts; i++) {
        check_pair(bench->out->pdata[i], op);
    }
    g_assert_true(op->part_of != NULL || !bench->session->output.outbox.is_full);
    g_ptr_array_add(bench->out, op);
    bench->n_executed++;
}

static void
bench_touched(void *arg, struct yk_session *session)
{
    g_assert_false(session->is_closed);
}

static void
bench_open(struct bench *bench, bool keeps)
{
    char error[YK_ERROR_SIZE];
    memset(&fake, 0, sizeof(fake));
    *bench = (struct bench){.bucket = {.name = "main",
                                       .ring = {4, 3, 1},
                                       .key_size_max = 100,
                                       .value_size_max = 4 * YK_MIB,
                                       .keeps_answers = keeps},
                            .out = g_ptr_array_new(),
                            .inputs = g_ptr_array_new_with_free_func(free),
                            .got = g_string_new(NULL),
                            .checks_conflicts = true};
    yk_budget_init(&bench->bucket.budget, 0);
    bench->buckets[0] = &bench->bucket;
    bench->settings = yk_settings_new(&fake_plugin, "fake");
    g_assert_cmpint(yk_frontend_open(&world, bench->settings, NULL, 0, &bench->bucket,
                                     yk_slice_of(NULL, 0), &bench->frontend, error),
                    ==, YK_OK);
    struct yk_router_config config = {
        .world = &world,
        .buckets = bench->buckets,
        .n_buckets = 1,
        .n_workers = 1,
        .sink = {.arg = bench, .execute = bench_execute, .touched = bench_touched}};
    g_assert_cmpint(yk_router_new(&config, &bench->router), ==, YK_OK);
    bench->session = yk_router_open(bench->router, bench->frontend, &peer, bench, 0);
    g_assert_nonnull(bench->session);
    g_assert_true(yk_session_conn(bench->session) == bench);
}

/* The turn ends: the bytes that came go. */
static void
end_turn(struct bench *bench)
{
    yk_router_end_turn(bench->router);
    g_ptr_array_set_size(bench->inputs, 0);
}

static void
send_bytes(struct bench *bench, const char *bytes, size_t size, bool is_eof)
{
    uint8_t *copy = malloc(size + 1);
    uint8_t *exact = realloc(copy, size > 0 ? size : 1);
    memcpy(exact, bytes, size);
    g_ptr_array_add(bench->inputs, exact);
    yk_session_received(bench->session, exact, size, is_eof);
}

static void
send_text(struct bench *bench, const char *text)
{
    send_bytes(bench, text, strlen(text), false);
    yk_router_run(bench->router, 1000);
}

/* Ends the op at that index: a get with that value, a scan with one record; all else well. */
static bool
end_op(struct bench *bench, guint index, struct yk_slice value)
{
    struct yk_op *op = g_ptr_array_index(bench->out, index);
    struct yk_reply reply = {.struct_size = sizeof(reply), .result = YK_OK};
    g_ptr_array_remove_index(bench->out, index);
    if (op->request.op == YK_OP_GET) {
        reply.value = value;
        if (op->is_kept && value.size > op->kept_max) {
            reply = (struct yk_reply){
                .struct_size = sizeof(reply), .result = YK_EBUSY, .number = value.size};
        }
    } else if (op->request.op == YK_OP_SCAN) {
        struct yk_record record = {.version = 1, .value = value};
        op->scan->chunk_used = 0;
        g_assert_true(yk_chunk_add(op->scan, yk_slice_of("key", 3), &record));
        op->scan->is_end = true;
    }
    return yk_router_ended(bench->router, op, &reply);
}

static void
end_all(struct bench *bench, struct yk_random *random)
{
    do {
        while (bench->out->len > 0) {
            guint index = random != NULL ? (guint)yk_random_below(random, bench->out->len) : 0;
            (void)end_op(bench, index, yk_slice_of("v", 1));
        }
        yk_router_run(bench->router, 1000);
    } while (bench->out->len > 0);
}

/* The client reads. */
static void
receive(struct bench *bench, size_t size_max)
{
    struct yk_slice slices[4];
    size_t n, taken = 0;
    while (taken < size_max && (n = yk_session_peek(bench->session, slices, 4)) > 0) {
        size_t step = 0;
        for (size_t i = 0; i < n; i++) {
            g_string_append_len(bench->got, slices[i].data, (gssize)slices[i].size);
            step += slices[i].size;
        }
        yk_session_sent(bench->session, step);
        taken += step;
    }
    yk_router_run(bench->router, 1000);
}

static void
bench_done(struct bench *bench)
{
    if (bench->session != NULL) {
        yk_session_closed(bench->session);
    }
    while (bench->out->len > 0) {
        g_assert_true(end_op(bench, 0, yk_slice_of("late", 4)));
    }
    yk_router_run(bench->router, 2000);
    end_turn(bench);
    g_assert_cmpuint(yk_router_sessions(bench->router), ==, 0);
    g_assert_cmpuint(fake.n_sessions, ==, 0);
    g_assert_cmpuint(bench->out->len, ==, 0);
    yk_router_free(bench->router);
    yk_frontend_close(bench->frontend);
    yk_settings_free(bench->settings);
    g_ptr_array_free(bench->out, TRUE);
    g_ptr_array_free(bench->inputs, TRUE);
    g_string_free(bench->got, TRUE);
}

/* -- Sessions. -- */

static void
test_order(void)
{
    struct bench bench;
    bench_open(&bench, false);
    send_text(&bench, "g a\ng b\nn\ng c\n");
    g_assert_cmpuint(bench.out->len, ==, 3);
    g_assert_true(end_op(&bench, 2, yk_slice_of("C", 1)));
    g_assert_true(end_op(&bench, 1, yk_slice_of("B", 1)));
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "");
    g_assert_true(end_op(&bench, 0, yk_slice_of("A", 1)));
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:A\n1:B\n2:\n3:C\n");
    g_assert_false(yk_session_is_over(bench.session));
    bench_done(&bench);
}

static void
test_same_key(void)
{
    struct bench bench;
    bench_open(&bench, false);
    send_text(&bench, "s a 1\nx\ng a\ng a\ns a 1\ny\ng b\n");
    g_assert_cmpuint(bench.out->len, ==, 1); /* the reads wait, and all behind them */
    end_op(&bench, 0, yk_slice_of("", 0));
    yk_router_run(bench.router, 1000);
    g_assert_cmpuint(bench.out->len, ==, 2); /* two reads, beside each other */
    end_op(&bench, 1, yk_slice_of("x", 1));
    yk_router_run(bench.router, 1000);
    g_assert_cmpuint(bench.out->len, ==, 1); /* the write waits for both */
    end_op(&bench, 0, yk_slice_of("x", 1));
    yk_router_run(bench.router, 1000);
    g_assert_cmpuint(bench.out->len, ==, 2); /* the write, and what is about another key */
    end_all(&bench, NULL);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:\n1:x\n2:x\n3:\n4:v\n");
    bench_done(&bench);
}

static void
test_barriers(void)
{
    struct bench bench;
    bench_open(&bench, false);
    send_text(&bench, "g a\ng b\nf\ng c\nc\n");
    g_assert_cmpuint(bench.out->len, ==, 2);
    end_op(&bench, 0, yk_slice_of("v", 1));
    yk_router_run(bench.router, 1000);
    g_assert_cmpuint(bench.out->len, ==, 1);
    end_op(&bench, 0, yk_slice_of("v", 1));
    yk_router_run(bench.router, 1000);
    g_assert_cmpuint(bench.out->len, ==, 3); /* a flush of three lanes */
    end_op(&bench, 1, yk_slice_of("", 0));
    end_op(&bench, 1, yk_slice_of("", 0));
    yk_router_run(bench.router, 1000);
    g_assert_cmpuint(bench.out->len, ==, 1);
    end_all(&bench, NULL);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:v\n1:v\n2:\n3:v\n4+key\n4+key\n4+key\n4:\n");
    bench_done(&bench);
}

/* Whatever the order in which ops end and bytes come: answers in order, and no two ops under way
 * that stand against each other (bench_execute looks). */
static void
test_random(void)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct yk_random random = {seed};
        struct bench bench;
        bench_open(&bench, seed % 2 == 0);
        g_autoptr(GString) wanted = g_string_new(NULL);
        for (int tag = 0; tag < 300; tag++) {
            static const char *const lines[] = {"g %c\n", "s %c 3\na%cb\n", "d %c\n", "n\n", "f\n"};
            uint64_t kind = yk_random_below(&random, 30);
            char key = (char)('a' + yk_random_below(&random, 8));
            int index = kind == 0 ? 4 : (int)(kind % 4);
            g_autofree char *line = NULL;
            line = index == 1   ? g_strdup_printf("s %c 3\na%cb\n", key, key)
                   : index == 0 ? g_strdup_printf("g %c\n", key)
                   : index == 2 ? g_strdup_printf("d %c\n", key)
                                : g_strdup(lines[index]);
            size_t cut = yk_random_below(&random, strlen(line) + 1);
            send_bytes(&bench, line, cut, false);
            if (yk_random_below(&random, 3) == 0) {
                yk_router_run(bench.router, 1000);
                end_turn(&bench);
            }
            send_bytes(&bench, line + cut, strlen(line) - cut, false);
            yk_router_run(bench.router, 1000);
            if (bench.out->len > 0 && yk_random_below(&random, 3) > 0) {
                end_op(&bench, (guint)yk_random_below(&random, bench.out->len),
                       yk_slice_of("v", 1));
            }
            if (yk_random_below(&random, 5) == 0) {
                end_turn(&bench);
                receive(&bench, SIZE_MAX);
            }
            g_string_append_printf(wanted, "%d:%s\n", tag, index == 0 ? "v" : "");
        }
        end_all(&bench, &random);
        receive(&bench, SIZE_MAX);
        g_assert_cmpstr(bench.got->str, ==, wanted->str);
        bench_done(&bench);
    }
}

/* With a full output nothing starts, and what has no room comes back; then all is answered. */
static void
test_back_pressure(void)
{
    enum { N = 200, SIZE = 300 * 1024 };
    g_autofree char *value = g_strnfill(SIZE, 'v');
    for (int keeps = 0; keeps < 2; keeps++) {
        struct bench bench;
        struct yk_random random = {3};
        size_t most = 0;
        uint32_t n_returned = 0;
        bench_open(&bench, keeps != 0);
        for (int i = 0; i < N; i++) {
            g_autofree char *line = g_strdup_printf("g k%d\n", i);
            send_bytes(&bench, line, strlen(line), false);
        }
        end_turn(&bench);
        for (int round = 0; fake.n_replies < N && round < 100000; round++) {
            yk_router_run(bench.router, 1000);
            while (bench.out->len > 0) {
                guint index = (guint)yk_random_below(&random, bench.out->len);
                n_returned += end_op(&bench, index, yk_slice_of(value, SIZE)) ? 0 : 1;
                g_assert_cmpuint(bench.session->stashed, <=, YK_SESSION_STASH_MAX + 2 * SIZE);
            }
            most = MAX(most, yk_output_size(&bench.session->output));
            if (round % 3 == 0) {
                receive(&bench, 1);
            }
        }
        g_assert_cmpuint(fake.n_replies, ==, N);
        g_assert_cmpuint(most, <=, YK_OUTBOX_HIGH + SIZE + 20000);
        g_assert_cmpuint(keeps != 0 ? 1 : n_returned, >, 0);
        receive(&bench, SIZE_MAX);
        const char *at = bench.got->str;
        for (int i = 0; i < N; i++) {
            g_autofree char *head = g_strdup_printf("%d:vvv", i);
            g_assert_true(g_str_has_prefix(at, head));
            at = strchr(at, '\n') + 1;
        }
        g_assert_cmpuint(bench.session->stashed, ==, 0);
        g_assert_cmpuint(bench.session->charged, ==, 0);
        bench_done(&bench);
    }
}

/* A first answer that is late: those behind it are held up to a bound, then their gets wait. */
static void
test_stash_bound(void)
{
    enum { N = 12, SIZE = 1024 * 1024 };
    struct bench bench;
    g_autofree char *value = g_strnfill(SIZE, 'v');
    bench_open(&bench, false);
    for (char key = 'a'; key < 'a' + N; key++) {
        char line[] = {'g', ' ', key, '\n', '\0'};
        send_text(&bench, line);
    }
    end_turn(&bench);
    uint32_t n_out = bench.out->len, n_back = 0;
    while (bench.out->len > 1) {
        n_back += end_op(&bench, 1, yk_slice_of(value, SIZE)) ? 0 : 1;
    }
    g_assert_cmpuint(bench.session->stashed, ==, YK_SESSION_STASH_MAX);
    g_assert_cmpuint(n_back, ==, n_out - 1 - YK_SESSION_STASH_MAX / SIZE);
    yk_router_run(bench.router, 1000);
    g_assert_cmpuint(bench.out->len, ==, 1); /* what came back does not go round and round */
    for (int round = 0; fake.n_replies < N && round < 1000; round++) {
        while (bench.out->len > 0) {
            (void)end_op(&bench, 0, yk_slice_of(value, SIZE));
        }
        receive(&bench, SIZE_MAX);
    }
    g_assert_cmpuint(fake.n_replies, ==, N);
    bench_done(&bench);
}

/* Closed at each point of a pipeline, with ops that end afterwards. */
static void
test_close(void)
{
    static const char lines[] = "s a 1\nx\ng a\ng b\nn\ng c\nf\ng d\nc\nd a\ng e\n";
    enum { N = 10 };
    for (int keeps = 0; keeps < 2; keeps++) {
        for (int n_ended = 0;; n_ended++) {
            struct bench bench;
            int left = n_ended;
            bench_open(&bench, keeps != 0);
            send_text(&bench, lines);
            if (n_ended % 2 == 0) {
                end_turn(&bench);
            }
            while (left > 0 && bench.out->len > 0) {
                end_op(&bench, bench.out->len - 1, yk_slice_of("v", 1));
                left--;
                if (left > 0 || n_ended % 3 != 0) { /* or close it while it stands in the list */
                    yk_router_run(bench.router, 1000);
                }
            }
            yk_session_closed(bench.session);
            bench.session = NULL;
            g_assert_cmpuint(fake.n_replies + fake.n_cancels, ==, N);
            g_assert_cmpuint(fake.n_sessions, ==, 0);
            uint32_t n_replies = fake.n_replies;
            bench_done(&bench);
            g_assert_cmpuint(fake.n_replies, ==, n_replies);
            if (left > 0) {
                break;
            }
        }
    }
}

/* A scan whose client does not read: it waits, and may be closed there. */
static void
test_scan_paused(void)
{
    enum { SIZE = 2 * 1024 * 1024 };
    g_autofree char *value = g_strnfill(SIZE, 'v');
    for (int closes = 0; closes < 2; closes++) {
        struct bench bench;
        bench_open(&bench, false);
        send_text(&bench, "g a\nc\ng b\n");
        end_op(&bench, 0, yk_slice_of(value, SIZE));
        yk_router_run(bench.router, 1000);
        g_assert_cmpuint(bench.out->len, ==, 0); /* full: the scan has not begun */
        receive(&bench, SIZE_MAX);
        g_assert_cmpuint(bench.out->len, ==, 1);
        g_autofree char *text = g_strnfill(2 * YK_OUTBOX_HIGH, 'w');
        put(&bench.session->output, text);
        g_assert_cmpuint(yk_output_size(&bench.session->output), >, YK_OUTBOX_HIGH);
        end_op(&bench, 0, yk_slice_of("v", 1));
        yk_router_run(bench.router, 1000);
        g_assert_cmpuint(bench.out->len, ==, 0); /* the chunk waits for room */
        if (closes == 0) {
            g_string_truncate(bench.got, 0);
            receive(&bench, SIZE_MAX);
            end_all(&bench, NULL);
            receive(&bench, SIZE_MAX);
            g_assert_true(g_str_has_suffix(bench.got->str, "w1+key\n1+key\n1+key\n1:\n2:v\n"));
        }
        bench_done(&bench);
    }
}

static void
test_eof(void)
{
    static const char lines[] = "g a\ns a 2\nxy\nn\ng b";
    struct bench bench;
    bench_open(&bench, false);
    send_bytes(&bench, lines, strlen(lines), true);
    g_assert_false(yk_session_wants_input(bench.session));
    yk_router_run(bench.router, 1000);
    end_turn(&bench);
    g_assert_false(yk_session_is_over(bench.session));
    end_all(&bench, NULL);
    g_assert_false(yk_session_is_over(bench.session)); /* not sent yet */
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:v\n1:\n2:\n");
    g_assert_true(yk_session_is_over(bench.session));
    bench_done(&bench);
}

static void
test_closing_request(void)
{
    struct bench bench;
    bench_open(&bench, false);
    send_text(&bench, "g a\nx\ng b\n");
    g_assert_false(yk_session_wants_input(bench.session));
    send_text(&bench, "g c\n");
    end_all(&bench, NULL);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:v\n1:\n");
    g_assert_cmpuint(bench.n_executed, ==, 1);
    g_assert_true(yk_session_is_over(bench.session));
    bench_done(&bench);
    bench_open(&bench, false);
    send_text(&bench, "g a\n!\n");
    g_assert_false(yk_session_is_over(bench.session));
    end_all(&bench, NULL);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:v\n");
    g_assert_true(yk_session_is_over(bench.session));
    bench_done(&bench);
}

static void
test_drain(void)
{
    struct bench bench;
    bench_open(&bench, false);
    send_text(&bench, "g a\ng b\n");
    yk_router_drain(bench.router);
    send_text(&bench, "g c\n");
    struct yk_session *late = yk_router_open(bench.router, bench.frontend, &peer, NULL, 0);
    g_assert_true(yk_session_is_over(late));
    yk_session_closed(late);
    g_assert_false(yk_session_is_over(bench.session));
    end_all(&bench, NULL);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:v\n1:v\n");
    g_assert_true(yk_session_is_over(bench.session));
    bench_done(&bench);
}

/* More requests than a session may have: feeding stops, and goes on, also at the end. */
static void
test_requests_max(void)
{
    enum { N = 5000 };
    for (int with_eof = 0; with_eof < 2; with_eof++) {
        struct bench bench;
        g_autoptr(GString) lines = g_string_new(NULL);
        bench_open(&bench, false);
        for (int i = 0; i < N; i++) {
            g_string_append_printf(lines, "g k%d\n", i);
        }
        send_bytes(&bench, lines->str, lines->len, with_eof != 0);
        yk_router_run(bench.router, 1000);
        end_turn(&bench);
        g_assert_cmpuint(bench.session->n_calls, ==, YK_SESSION_REQUESTS_MAX);
        g_assert_false(yk_session_wants_input(bench.session));
        for (int round = 0; fake.n_replies < N && round < 100; round++) {
            g_assert_cmpuint(bench.session->n_calls, <=, YK_SESSION_REQUESTS_MAX);
            g_assert_false(yk_session_is_over(bench.session));
            end_all(&bench, NULL);
            end_turn(&bench);
            receive(&bench, SIZE_MAX);
        }
        g_assert_cmpuint(fake.n_replies, ==, N);
        g_assert_true(yk_session_is_over(bench.session) == (with_eof != 0));
        g_assert_true(yk_session_wants_input(bench.session) == (with_eof == 0));
        bench_done(&bench);
    }
}

/* A large request is read into the room that the session gives, in pieces of any size. */
/* The first of three reads is too large to be copied, and done again: what the others have seen by
 * then may be older than what it sees. */
static void
test_reads_again(void)
{
    struct bench bench;
    g_autofree char *large = g_strnfill(100000, 'v');
    bench_open(&bench, true);
    send_text(&bench, "g a\ng a\ng a\n");
    g_assert_cmpuint(bench.out->len, ==, 3);
    g_assert_true(end_op(&bench, 1, yk_slice_of("old", 3)));
    g_assert_true(end_op(&bench, 0, yk_slice_of(large, 100000)));
    yk_router_run(bench.router, 1000);
    g_assert_true(end_op(&bench, 0, yk_slice_of("old", 3))); /* the third one's */
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "");
    do {
        yk_router_run(bench.router, 1000);
        while (bench.out->len > 0) {
            g_assert_true(end_op(&bench, 0, yk_slice_of("new", 3)));
        }
        yk_router_run(bench.router, 1000);
    } while (bench.out->len > 0);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:new\n1:new\n2:new\n");
    bench_done(&bench);
}

static void
test_room(void)
{
    enum { SIZE = 200000 };
    static const size_t steps[] = {1000, 4096, 33333, SIZE};
    g_autofree char *value = g_strnfill(SIZE, 'v');
    g_autofree char *whole = g_strdup_printf("s a %d\n%s\ng b\n", SIZE, value);
    size_t total = strlen(whole);
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        struct bench bench;
        size_t at = 0;
        uint32_t n_direct = 0;
        bench_open(&bench, false);
        while (at < total) {
            uint8_t *room;
            size_t room_size;
            size_t step = MIN(steps[i], total - at);
            yk_session_room(bench.session, &room, &room_size);
            if (room_size > 0) {
                step = MIN(step, room_size);
                memcpy(room, whole + at, step);
                yk_session_received(bench.session, room, step, false);
                n_direct++;
            } else {
                send_bytes(&bench, whole + at, step, false);
            }
            at += step;
            yk_router_run(bench.router, 1000);
            end_turn(&bench);
        }
        g_assert_cmpuint(bench.out->len, ==, 2);
        g_assert_cmpuint(((struct yk_op *)bench.out->pdata[0])->request.value.size, ==, SIZE);
        g_assert_cmpint(
            memcmp(((struct yk_op *)bench.out->pdata[0])->request.value.data, value, SIZE), ==, 0);
        g_assert_true(steps[i] == SIZE || n_direct > 0);
        bench_done(&bench);
    }
}

static void
test_too_large(void)
{
    struct bench bench;
    bench_open(&bench, false);
    send_text(&bench, "s a 100000000\nxxx");
    g_assert_true(yk_session_is_over(bench.session));
    bench_done(&bench);
    bench_open(&bench, false);
    send_text(&bench,
              "g \ng aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
    g_assert_cmpuint(bench.n_executed, ==, 0);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:E5\n1:E5\n");
    bench_done(&bench);
}

static void
test_quiet(void)
{
    struct bench bench;
    bench_open(&bench, false);
    fake.quiet = true;
    send_text(&bench, "s a 1\nx\ng b\ng \nn\n");
    fake.quiet = false;
    send_text(&bench, "n\n");
    end_all(&bench, NULL);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "2:E5\n4:\n"); /* only what failed, or was not quiet */
    bench_done(&bench);
}

/* -- Timers. -- */

static void
test_timers(void)
{
    enum { N = 150 };
    struct yk_random random = {11};
    struct bench bench;
    struct yk_session *sessions[N];
    struct fake_session *states[N];
    uint64_t wanted[N];
    bench_open(&bench, false);
    for (int i = 0; i < N; i++) {
        wanted[i] = fake.first_timer_ms =
            yk_random_below(&random, 4) == 0 ? 0 : 2000 + yk_random_below(&random, 500);
        sessions[i] = yk_router_open(bench.router, bench.frontend, &peer, NULL, 0);
        states[i] = fake.newest;
    }
    for (uint64_t now_ms = 2000; now_ms < 3500; now_ms += yk_random_below(&random, 20)) {
        uint64_t soonest = 0;
        for (int i = 0; i < N; i++) {
            if (wanted[i] != 0 && (soonest == 0 || wanted[i] < soonest)) {
                soonest = wanted[i];
            }
            states[i]->timer_at_ms = 0;
            states[i]->timer_next_ms =
                yk_random_below(&random, 2) == 0 ? 0 : now_ms + 1 + yk_random_below(&random, 400);
        }
        g_assert_cmpuint(yk_router_next_timer(bench.router), ==, soonest);
        yk_router_timers(bench.router, now_ms);
        for (int i = 0; i < N; i++) {
            bool is_due = wanted[i] != 0 && wanted[i] <= now_ms;
            g_assert_cmpuint(states[i]->timer_at_ms, ==, is_due ? now_ms : 0);
            wanted[i] = is_due ? states[i]->timer_next_ms : wanted[i];
        }
        int i = (int)yk_random_below(&random, N);
        g_autofree char *line = g_strdup_printf("t %" G_GUINT64_FORMAT "\n", now_ms + 50);
        yk_session_received(sessions[i], (const uint8_t *)line, strlen(line), false);
        wanted[i] = wanted[i] == 0 || wanted[i] > now_ms + 50 ? now_ms + 50 : wanted[i];
        i = (int)yk_random_below(&random, N);
        yk_session_closed(sessions[i]);
        wanted[i] = fake.first_timer_ms = now_ms + 1 + yk_random_below(&random, 99);
        sessions[i] = yk_router_open(bench.router, bench.frontend, &peer, NULL, 0);
        states[i] = fake.newest;
        yk_router_end_turn(bench.router);
        yk_router_run(bench.router, now_ms);
    }
    for (int i = 0; i < N; i++) {
        yk_session_closed(sessions[i]);
    }
    g_assert_cmpuint(yk_router_next_timer(bench.router), ==, 0);
    bench_done(&bench);
}

/* A timer that asks for a time that has passed is not called for ever; one may end the session. */
static void
test_timer_results(void)
{
    struct bench bench;
    bench_open(&bench, false);
    send_text(&bench, "t 1500\n");
    fake.newest->timer_next_ms = 7;
    yk_router_timers(bench.router, 1499);
    g_assert_cmpuint(fake.newest->timer_at_ms, ==, 0);
    yk_router_timers(bench.router, 1500);
    g_assert_cmpuint(yk_router_next_timer(bench.router), ==, 1501);
    send_text(&bench, "t 9999\nt 0\n");
    g_assert_cmpuint(yk_router_next_timer(bench.router), ==, 0);
    send_text(&bench, "t 1600\ng a\n");
    fake.newest->timer_next_ms = 0;
    fake.newest->timer_result = YK_TIMER_CLOSE;
    yk_router_timers(bench.router, 1700);
    g_assert_false(yk_session_is_over(bench.session));
    end_all(&bench, NULL);
    receive(&bench, SIZE_MAX);
    g_assert_cmpstr(bench.got->str, ==, "0:v\n");
    g_assert_true(yk_session_is_over(bench.session));
    fake.first_timer_result = YK_TIMER_CLOSE; /* already when the session is new */
    struct yk_session *unwanted = yk_router_open(bench.router, bench.frontend, &peer, NULL, 0);
    g_assert_true(yk_session_is_over(unwanted));
    yk_session_closed(unwanted);
    bench_done(&bench);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/router/output/partial", test_output_partial);
    g_test_add_func("/router/output/random", test_output_random);
    g_test_add_func("/router/output/grow", test_output_grow);
    g_test_add_func("/router/output/lost", test_output_lost);
    g_test_add_func("/router/order", test_order);
    g_test_add_func("/router/same-key", test_same_key);
    g_test_add_func("/router/barriers", test_barriers);
    g_test_add_func("/router/random", test_random);
    g_test_add_func("/router/back-pressure", test_back_pressure);
    g_test_add_func("/router/stash-bound", test_stash_bound);
    g_test_add_func("/router/close", test_close);
    g_test_add_func("/router/scan-paused", test_scan_paused);
    g_test_add_func("/router/eof", test_eof);
    g_test_add_func("/router/closing-request", test_closing_request);
    g_test_add_func("/router/drain", test_drain);
    g_test_add_func("/router/requests-max", test_requests_max);
    g_test_add_func("/router/reads-again", test_reads_again);
    g_test_add_func("/router/room", test_room);
    g_test_add_func("/router/too-large", test_too_large);
    g_test_add_func("/router/quiet", test_quiet);
    g_test_add_func("/router/timers", test_timers);
    g_test_add_func("/router/timer-results", test_timer_results);
    return g_test_run();
}
