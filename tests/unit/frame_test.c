/* Frames found in a stream that is cut anywhere, hostile ones, and what is agreed by a hello. */
#include <config.h>

#include "core/wire/frame.h"

#include <stdio.h>

#include <glib.h>

#include "core/wire/hello.h"

#define BYTES(...)                                                                                 \
    yk_slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* -- The splitter. -- */

/* Three messages of every type of value behind each other, and where each ends. */
static GByteArray *
make_stream(size_t *ret_ends)
{
    static const uint8_t types[] = {
        0xdc, 0, 19,   0xc0, 0xc2, 0xc3, 0x05, 0xff, 0xcd, 1,    2,    0xd3, 1, 2,    3, 4,
        5,    6, 7,    8,    0xca, 1,    2,    3,    4,    0xcb, 1,    2,    3, 4,    5, 6,
        7,    8, 0xa3, 'a',  'b',  'c',  0xd9, 2,    'd',  'e',  0xc5, 0,    3, 1,    2, 3,
        0xc6, 0, 0,    0,    1,    9,    0x90, 0x80, 0x82, 1,    0x91, 2,    3, 0xde, 0, 1,
        4,    5, 0xd4, 7,    1,    0xc7, 2,    7,    1,    2,    0xdd, 0,    0, 0,    1, 0xc0};
    GByteArray *stream = g_byte_array_new();
    g_byte_array_append(stream, types, sizeof(types));
    ret_ends[0] = stream->len;
    g_byte_array_append(stream, (const uint8_t[]){0x00}, 1);
    ret_ends[1] = stream->len;
    g_byte_array_append(stream, types, sizeof(types));
    ret_ends[2] = stream->len;
    return stream;
}

/* Feeds the stream in pieces that end at `cuts`, and checks where values end. */
static void
assert_split(const GByteArray *stream, const size_t *ends, const size_t *cuts, size_t n_cuts)
{
    struct yk_splitter splitter;
    size_t at = 0, n_ends = 0;
    yk_splitter_init(&splitter, 1000);
    for (size_t i = 0; i <= n_cuts; i++) {
        size_t to = i < n_cuts ? cuts[i] : stream->len;
        while (at < to) {
            size_t used = 0;
            enum yk_split found = yk_splitter_take(&splitter, stream->data + at, to - at, &used);
            at += used;
            g_assert_cmpint(found, !=, YK_SPLIT_WRONG);
            if (found == YK_SPLIT_MORE) {
                g_assert_cmpuint(at, ==, to);
                break;
            }
            g_assert_cmpuint(at, ==, ends[n_ends++]);
        }
    }
    g_assert_cmpuint(n_ends, ==, 3);
}

static void
test_every_cut(void)
{
    size_t ends[3], every[1000];
    g_autoptr(GByteArray) stream = make_stream(ends);
    struct yk_unpack unpack;
    yk_unpack_init(&unpack, yk_slice_of(stream->data, ends[0]));
    yk_unpack_skip(&unpack);
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_OK);
    assert_split(stream, ends, NULL, 0);
    for (size_t i = 0; i < stream->len; i++) {
        every[i] = i + 1;
        for (size_t k = i; k < stream->len; k++) {
            size_t cuts[2] = {i, k};
            assert_split(stream, ends, cuts, 2);
        }
    }
    assert_split(stream, ends, every, stream->len);
}

/* What a splitter with that bound makes of the bytes, whole or byte by byte. */
static const char *
wrong_of(struct yk_slice bytes, uint64_t size_max, enum yk_split *ret_found, size_t step)
{
    static struct yk_splitter splitter;
    size_t at = 0, used = 0;
    *ret_found = YK_SPLIT_MORE;
    yk_splitter_init(&splitter, size_max);
    while (at < bytes.size && *ret_found == YK_SPLIT_MORE) {
        *ret_found = yk_splitter_take(&splitter, (const uint8_t *)bytes.data + at,
                                      MIN(step, bytes.size - at), &used);
        at += used;
    }
    return splitter.wrong;
}

static void
test_hostile(void)
{
    const struct {
        struct yk_slice bytes;
        const char *wrong;
    } cases[] = {
        {BYTES(0xc1), "does not exist"},
        {BYTES(0x91, 0xc1), "does not exist"},
        {BYTES(0xdd, 0xff, 0xff, 0xff, 0xff), "larger"},
        {BYTES(0xdf, 0xff, 0xff, 0xff, 0xff), "larger"},
        {BYTES(0xdf, 0x80, 0x00, 0x00, 0x00), "larger"},
        {BYTES(0xdb, 0xff, 0xff, 0xff, 0xff), "larger"},
        {BYTES(0xc6, 0xff, 0xff, 0xff, 0xff), "larger"},
        {BYTES(0xc9, 0xff, 0xff, 0xff, 0xff), "larger"},
        {BYTES(0xc6, 0, 0, 0x03, 0xe4), "larger"}, /* 996 bytes and a head of 5 are 1001 */
        {BYTES(0xdc, 0x03, 0xe6), "larger"},
        {BYTES(0xdc, 0x03, 0xe5, 0xa1), "larger"}, /* 997 values, and the first takes two bytes */
        {BYTES(0xde, 0x01, 0xf3), "larger"},
        {BYTES(0x92, 0xc5, 0x03, 0xe4), "larger"},
        {BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91), "deep"},
        {BYTES(0x81, 1, 0x81, 1, 0x81, 1, 0x81, 1, 0x81, 1, 0x81, 1, 0x81, 1, 0x81, 1, 0x90),
         "deep"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (size_t step = 1; step <= cases[i].bytes.size; step++) {
            enum yk_split found;
            const char *wrong = wrong_of(cases[i].bytes, 1000, &found, step);
            g_assert_cmpint(found, ==, YK_SPLIT_WRONG);
            g_assert_nonnull(wrong);
            g_assert_nonnull(strstr(wrong, cases[i].wrong));
        }
        /* Before the last byte nothing was wrong, and it is not whole. */
        enum yk_split found = YK_SPLIT_MORE;
        (void)wrong_of(yk_slice_of(cases[i].bytes.data, cases[i].bytes.size - 1), 1000, &found, 1);
        g_assert_cmpint(found, ==, YK_SPLIT_MORE);
    }
}

/* As large and as deep as may be. */
static void
test_bounds(void)
{
    g_autofree uint8_t *bytes = g_malloc0(1000);
    enum yk_split found;
    memcpy(bytes, (const uint8_t[]){0xc6, 0, 0, 0x03, 0xe3}, 5);
    (void)wrong_of(yk_slice_of(bytes, 1000), 1000, &found, 1);
    g_assert_cmpint(found, ==, YK_SPLIT_WHOLE);
    (void)wrong_of(yk_slice_of(bytes, 999), 1000, &found, 7);
    g_assert_cmpint(found, ==, YK_SPLIT_MORE);
    memcpy(bytes, (const uint8_t[]){0xdc, 0x03, 0xe5, 0, 0}, 5);
    (void)wrong_of(yk_slice_of(bytes, 1000), 1000, &found, 13);
    g_assert_cmpint(found, ==, YK_SPLIT_WHOLE);
    (void)wrong_of(BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x01), 9, &found, 3);
    g_assert_cmpint(found, ==, YK_SPLIT_WHOLE);
    (void)wrong_of(BYTES(0xce, 0, 0, 0, 0), 4, &found, 1); /* a head beyond the bound */
    g_assert_cmpint(found, ==, YK_SPLIT_WRONG);
}

/* -- Hello. -- */

#define ID_A "0a0a0a0a-0000-4000-8000-00000000000a"
#define ID_B "0b0b0b0b-0000-4000-8000-00000000000b"
#define ID_C "0c0c0c0c-0000-4000-8000-00000000000c"
#define RING "11111111-2222-4333-8444-555555555555"

static const struct yk_hello own = {.version_min = 2,
                                    .version_max = 4,
                                    .cluster_id = RING,
                                    .node_id = ID_A,
                                    .name = "a",
                                    .address = "127.0.0.1:19800",
                                    .nonce = 99,
                                    .n_workers = 3,
                                    .n_lanes = 16};
static const struct yk_hello caller = {.msgid = 7,
                                       .version_min = 3,
                                       .version_max = 5,
                                       .cluster_id = RING,
                                       .node_id = ID_B,
                                       .name = "b",
                                       .address = "[::1]:19801",
                                       .nonce = UINT64_MAX,
                                       .from = YK_WORKER_CONTROL,
                                       .to = 2,
                                       .n_workers = 64,
                                       .n_lanes = 256,
                                       .to_id = ID_A};

static void
test_hello_form(void)
{
    struct yk_pack pack;
    struct yk_hello read;
    const char *wrong = NULL;
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    yk_hello_encode(&pack, &caller);
    g_assert_cmpint(pack.result, ==, YK_OK);
    g_assert_cmpint(yk_hello_decode(yk_pack_bytes_of(&pack), &read, &wrong), ==, YK_OK);
    g_assert_cmpuint(read.msgid, ==, 7);
    g_assert_cmpuint(read.version_min, ==, 3);
    g_assert_cmpuint(read.version_max, ==, 5);
    g_assert_cmpstr(read.cluster_id, ==, RING);
    g_assert_cmpstr(read.node_id, ==, ID_B);
    g_assert_cmpstr(read.name, ==, "b");
    g_assert_cmpstr(read.address, ==, "[::1]:19801");
    g_assert_cmpuint(read.nonce, ==, UINT64_MAX);
    g_assert_cmpuint(read.from, ==, YK_WORKER_CONTROL);
    g_assert_cmpuint(read.to, ==, 2);
    g_assert_cmpuint(read.n_workers, ==, 64);
    g_assert_cmpuint(read.n_lanes, ==, 256);
    g_assert_cmpstr(read.to_id, ==, ID_A);
    for (size_t size = 0; size < pack.size; size++) {
        g_assert_cmpint(yk_hello_decode(yk_slice_of(pack.data, size), &read, &wrong), ==,
                        YK_ECORRUPT);
        g_assert_nonnull(wrong);
    }
    yk_pack_done(&pack);
}

/* [0, 0, method, params] with `n` params: those of a good hello, number `bad` changed, and what a
 * later release may add. */
static void
pack_params(struct yk_pack *pack, const char *method, uint32_t n, int bad)
{
    yk_pack_array(pack, 4);
    yk_pack_uint(pack, 0);
    yk_pack_uint(pack, 0);
    yk_pack_text(pack, method);
    yk_pack_array(pack, n);
    for (int i = 0; i < (int)n; i++) {
        if (i == bad) {
            yk_pack_bool(pack, true);
        } else if (i < 2 || (i >= 6 && i <= 10)) {
            yk_pack_uint(pack, 1);
        } else if (i == 11) {
            yk_pack_nil(pack);
        } else if (i > 12) {
            yk_pack_map(pack, 1);
            yk_pack_text(pack, "more");
            yk_pack_array(pack, 0);
        } else {
            yk_pack_text(pack, i == 2 ? RING : i == 3 ? ID_B : i == 12 ? "" : "x");
        }
    }
}

static enum yk_err
read_params(const char *method, uint32_t n, int bad)
{
    struct yk_pack pack;
    struct yk_hello read;
    const char *wrong;
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    pack_params(&pack, method, n, bad);
    enum yk_err result = yk_hello_decode(yk_pack_bytes_of(&pack), &read, &wrong);
    yk_pack_done(&pack);
    return result;
}

static void
test_hello_later(void)
{
    for (uint32_t n = 0; n < 17; n++) {
        g_assert_cmpint(read_params("hello", n, -1), ==, n < 13 ? YK_ECORRUPT : YK_OK);
    }
    for (int bad = 0; bad < 13; bad++) { /* auth may be anything, and anything behind the known */
        g_assert_cmpint(read_params("hello", 14, bad), ==, bad == 11 ? YK_OK : YK_ECORRUPT);
    }
    g_assert_cmpint(read_params("get", 13, -1), ==, YK_ECORRUPT);
    g_assert_cmpint(read_params("hello there", 13, -1), ==, YK_ECORRUPT);
}

static void
test_hello_values(void)
{
    const struct {
        struct yk_hello hello;
        const char *wrong;
    } cases[] = {
        {{.name = "x", .version_min = 2, .version_max = 1}, "order"},
        {{.name = "x", .from = 64}, "no such worker"},
        {{.name = "x", .from = 0x10000}, "greater"},
        {{.name = "x", .n_workers = 65}, "greater"},
        {{.name = "x", .n_lanes = 257}, "greater"},
        {{.name = "x", .node_id = "0A0a0a0a-0000-4000-8000-00000000000a"}, "id"},
        {{.name = "x", .node_id = "x"}, "id"},
        {{.name = "x", .cluster_id = "0a0a0a0a-0000-4000-8000-00000000000"}, "id"},
        {{.name = "x", .to_id = "0a0a0a0a00000-4000-8000-00000000000a"}, "id"},
        {{.name = ""}, "name"},
        {{.name = "a b"}, "name"},
        {{.name = "a\n"}, "name"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_pack pack;
        struct yk_hello read;
        const char *wrong = NULL;
        yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
        yk_hello_encode(&pack, &cases[i].hello);
        g_assert_cmpint(yk_hello_decode(yk_pack_bytes_of(&pack), &read, &wrong), ==, YK_ECORRUPT);
        g_assert_nonnull(strstr(wrong, cases[i].wrong));
        yk_pack_done(&pack);
    }
}

struct change {
    uint32_t own_min, own_max, min, max; /* 0: as they are */
    const char *own_cluster, *cluster, *to;
    uint32_t version; /* that is chosen; 0: refused */
    const char *words[2];
};

static const struct change changes[] = {
    {.version = 4},
    {1, 1, 1, 1, .version = 1},
    {1, 9, 9, 12, .version = 9},
    {5, 6, 4, 5, .version = 5},
    {1, 2, 3, 4, .words = {"1 to 2", "3 to 4"}},
    {5, 6, 3, 4, .words = {"5 to 6", "3 to 4"}},
    {.own_cluster = "", .version = 4},
    {.cluster = "", .version = 4},
    {.own_cluster = "", .cluster = "", .version = 4},
    {.cluster = ID_C, .words = {RING, ID_C}},
    {.to = "", .version = 4},
    {.to = ID_C, .words = {ID_A, ID_C}},
};

static void
answer(const struct change *change, struct yk_hello *hello, struct yk_welcome *ret_welcome)
{
    struct yk_hello here = own;
    *hello = caller;
    here.version_min = change->own_min > 0 ? change->own_min : here.version_min;
    here.version_max = change->own_max > 0 ? change->own_max : here.version_max;
    hello->version_min = change->min > 0 ? change->min : hello->version_min;
    hello->version_max = change->max > 0 ? change->max : hello->version_max;
    if (change->own_cluster != NULL) {
        g_strlcpy(here.cluster_id, change->own_cluster, YK_ID_SIZE);
    }
    if (change->cluster != NULL) {
        g_strlcpy(hello->cluster_id, change->cluster, YK_ID_SIZE);
    }
    if (change->to != NULL) {
        g_strlcpy(hello->to_id, change->to, YK_ID_SIZE);
    }
    yk_hello_answer(&here, hello, ret_welcome);
}

static void
test_negotiation(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        struct yk_hello hello;
        struct yk_welcome welcome, read;
        struct yk_pack pack;
        const char *wrong;
        char error[YK_ERROR_SIZE] = "";
        answer(&changes[i], &hello, &welcome);
        yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
        yk_welcome_encode(&pack, &welcome);
        g_assert_cmpint(yk_welcome_decode(yk_pack_bytes_of(&pack), &read, &wrong), ==, YK_OK);
        yk_pack_done(&pack);
        g_assert_cmpstr(read.error, ==, welcome.error);
        g_assert_cmpuint(read.msgid, ==, 7);
        if (changes[i].version > 0) {
            g_assert_cmpstr(read.error, ==, "");
            g_assert_cmpuint(read.version, ==, changes[i].version);
            g_assert_cmpstr(read.node_id, ==, ID_A);
            g_assert_cmpuint(read.nonce, ==, 99);
            g_assert_cmpuint(read.n_workers, ==, 3);
            g_assert_cmpuint(read.n_lanes, ==, 16);
            g_assert_cmpint(yk_welcome_check(&hello, &read, error), ==, YK_OK);
            continue;
        }
        g_assert_nonnull(strstr(read.error, changes[i].words[0]));
        g_assert_nonnull(strstr(read.error, changes[i].words[1]));
        g_assert_cmpint(yk_welcome_check(&hello, &read, error), ==, YK_EDENIED);
        g_assert_nonnull(strstr(error, changes[i].words[0]));
    }
}

/* An answer that nobody could mean. */
static void
test_welcome_check(void)
{
    const struct {
        struct yk_welcome welcome;
        const char *words;
    } cases[] = {
        {{.msgid = 8, .version = 4, .node_id = ID_A}, "another request"},
        {{.msgid = 7, .version = 2, .node_id = ID_A}, "no version"},
        {{.msgid = 7, .version = 6, .node_id = ID_A}, "no version"},
        {{.msgid = 7, .version = 4, .node_id = ID_C}, "meant"},
        {{.msgid = 7, .version = 4, .node_id = ""}, "meant"},
        {{.msgid = 7, .version = 4, .node_id = ID_A, .cluster_id = ID_C}, "cluster"},
        {{.msgid = 7, .version = 4, .node_id = ID_A, .n_auth_methods = 1}, "authentication"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char error[YK_ERROR_SIZE] = "";
        g_assert_cmpint(yk_welcome_check(&caller, &cases[i].welcome, error), ==, YK_EDENIED);
        g_assert_nonnull(strstr(error, cases[i].words));
    }
}

/* Methods are counted, more elements passed over, and either half must be there. */
static void
test_welcome_form(void)
{
    const struct {
        struct yk_slice bytes;
        enum yk_err result;
        uint32_t n_methods;
    } cases[] = {
        {BYTES(0x94, 1, 7, 0xc0, 0x97, 1, 0xa0, 0xa0, 5, 1, 1, 0x90), YK_OK, 0},
        {BYTES(0x94, 1, 7, 0xc0, 0x97, 1, 0xa0, 0xa0, 5, 1, 1, 0x92, 0xa1, 'x', 0x91, 1), YK_OK, 2},
        {BYTES(0x94, 1, 7, 0xc0, 0x99, 1, 0xa0, 0xa0, 5, 1, 1, 0x90, 0xc0, 0x91, 1), YK_OK, 0},
        {BYTES(0x94, 1, 7, 0xc0, 0x96, 1, 0xa0, 0xa0, 5, 1, 1), YK_ECORRUPT, 0},
        {BYTES(0x94, 1, 7, 0xc0, 0xc0), YK_ECORRUPT, 0},
        {BYTES(0x94, 1, 7, 0xa0, 0xc0), YK_ECORRUPT, 0},
        {BYTES(0x94, 1, 7, 0xa1, 'e', 0xc0), YK_OK, 0},
        {BYTES(0x94, 1, 7, 0xa2, 'e', 0, 0xc0), YK_ECORRUPT, 0},
        {BYTES(0x94, 0, 7, 0xa1, 'e', 0xc0), YK_ECORRUPT, 0},
        {BYTES(0x93, 1, 7, 0xa1, 'e'), YK_ECORRUPT, 0},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_welcome read = {0};
        const char *wrong;
        g_assert_cmpint(yk_welcome_decode(cases[i].bytes, &read, &wrong), ==, cases[i].result);
        g_assert_cmpuint(read.n_auth_methods, ==, cases[i].n_methods);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/frame/every_cut", test_every_cut);
    g_test_add_func("/frame/hostile", test_hostile);
    g_test_add_func("/frame/bounds", test_bounds);
    g_test_add_func("/hello/form", test_hello_form);
    g_test_add_func("/hello/later", test_hello_later);
    g_test_add_func("/hello/values", test_hello_values);
    g_test_add_func("/hello/negotiation", test_negotiation);
    g_test_add_func("/hello/welcome_check", test_welcome_check);
    g_test_add_func("/hello/welcome_form", test_welcome_form);
    return g_test_run();
}
