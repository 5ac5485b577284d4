/* MessagePack: every form of every type, whatever is cut off or announced falsely, and what the
 * writer makes read back. */
#include <config.h>

#include "core/wire/unpack.h"

#include <glib.h>

#include "core/wire/pack.h"

#define BYTES(...)                                                                                 \
    yk_slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void
assert_uint(struct yk_slice bytes, uint64_t number)
{
    struct yk_unpack unpack;
    yk_unpack_init(&unpack, bytes);
    g_assert_cmpint(yk_unpack_peek(&unpack), ==, YK_UNPACK_UINT);
    g_assert_cmpuint(yk_unpack_uint(&unpack, UINT64_MAX), ==, number);
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_OK);
    yk_unpack_init(&unpack, bytes);
    g_assert_cmpuint(yk_unpack_uint(&unpack, number), ==, number);
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_OK);
    if (number > 0) {
        yk_unpack_init(&unpack, bytes);
        g_assert_cmpuint(yk_unpack_uint(&unpack, number - 1), ==, 0);
        g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_ECORRUPT);
    }
}

/* In the shortest form, and in longer ones. */
static void
test_uint(void)
{
    assert_uint(BYTES(0x00), 0);
    assert_uint(BYTES(0x7f), 127);
    assert_uint(BYTES(0xcc, 0x05), 5);
    assert_uint(BYTES(0xcc, 0xff), 255);
    assert_uint(BYTES(0xcd, 0x00, 0x05), 5);
    assert_uint(BYTES(0xcd, 0x12, 0x34), 0x1234);
    assert_uint(BYTES(0xce, 0x12, 0x34, 0x56, 0x78), 0x12345678);
    assert_uint(BYTES(0xcf, 0, 0, 0, 0, 0, 0, 0, 5), 5);
    assert_uint(BYTES(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), UINT64_MAX);
    assert_uint(BYTES(0xd0, 0x05), 5);
    assert_uint(BYTES(0xd1, 0x7f, 0xff), 0x7fff);
    assert_uint(BYTES(0xd2, 0, 0, 0, 5), 5);
    assert_uint(BYTES(0xd3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), INT64_MAX);
}

static void
test_types(void)
{
    const struct {
        struct yk_slice bytes;
        enum yk_unpack_type type;
    } cases[] = {
        {BYTES(0xc0), YK_UNPACK_NIL},
        {BYTES(0xc2), YK_UNPACK_BOOL},
        {BYTES(0xc3), YK_UNPACK_BOOL},
        {BYTES(0x05), YK_UNPACK_UINT},
        {BYTES(0xff), YK_UNPACK_NEGATIVE},
        {BYTES(0xd0, 0x80), YK_UNPACK_NEGATIVE},
        {BYTES(0xd3, 0xff, 0, 0, 0, 0, 0, 0, 0), YK_UNPACK_NEGATIVE},
        {BYTES(0xca, 0, 0, 0, 0), YK_UNPACK_FLOAT},
        {BYTES(0xcb, 0, 0, 0, 0, 0, 0, 0, 0), YK_UNPACK_FLOAT},
        {BYTES(0xa1, 'x'), YK_UNPACK_TEXT},
        {BYTES(0xd9, 1, 'x'), YK_UNPACK_TEXT},
        {BYTES(0xda, 0, 1, 'x'), YK_UNPACK_TEXT},
        {BYTES(0xdb, 0, 0, 0, 1, 'x'), YK_UNPACK_TEXT},
        {BYTES(0xc4, 1, 'x'), YK_UNPACK_BYTES},
        {BYTES(0xc5, 0, 1, 'x'), YK_UNPACK_BYTES},
        {BYTES(0xc6, 0, 0, 0, 1, 'x'), YK_UNPACK_BYTES},
        {BYTES(0x91, 0xc0), YK_UNPACK_ARRAY},
        {BYTES(0xdc, 0, 1, 0xc0), YK_UNPACK_ARRAY},
        {BYTES(0xdd, 0, 0, 0, 1, 0xc0), YK_UNPACK_ARRAY},
        {BYTES(0x81, 0xc0, 0xc0), YK_UNPACK_MAP},
        {BYTES(0xde, 0, 1, 0xc0, 0xc0), YK_UNPACK_MAP},
        {BYTES(0xdf, 0, 0, 0, 1, 0xc0, 0xc0), YK_UNPACK_MAP},
        {BYTES(0xd4, 7, 1), YK_UNPACK_EXTENSION},
        {BYTES(0xd8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), YK_UNPACK_EXTENSION},
        {BYTES(0xc7, 2, 7, 1, 2), YK_UNPACK_EXTENSION},
        {BYTES(0xc9, 0, 0, 0, 1, 7, 1), YK_UNPACK_EXTENSION},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_unpack unpack;
        for (size_t size = 0; size <= cases[i].bytes.size; size++) { /* whole only at the last */
            yk_unpack_init(&unpack, yk_slice_of(cases[i].bytes.data, size));
            yk_unpack_skip(&unpack);
            g_assert_true((yk_unpack_end(&unpack) == YK_OK) == (size == cases[i].bytes.size));
        }
        yk_unpack_init(&unpack, cases[i].bytes);
        g_assert_cmpint(yk_unpack_peek(&unpack), ==, cases[i].type);
        if (cases[i].type != YK_UNPACK_UINT) {
            g_assert_cmpuint(yk_unpack_uint(&unpack, UINT64_MAX), ==, 0);
            g_assert_nonnull(strstr(unpack.wrong, "another type"));
        }
        yk_unpack_init(&unpack, cases[i].bytes);
        yk_unpack_bytes(&unpack, 100);
        g_assert_true((yk_unpack_end(&unpack) == YK_OK) == (cases[i].type == YK_UNPACK_BYTES));
    }
}

static void
test_refusals(void)
{
    const struct {
        struct yk_slice bytes;
        const char *wrong;
    } cases[] = {
        {BYTES(0x05, 0x05), "behind"},
        {BYTES(0xc1), "does not exist"},
        {BYTES(0xdd, 0xff, 0xff, 0xff, 0xff), "left"},
        {BYTES(0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0), "left"},
        {BYTES(0x82, 0, 0, 0), "left"}, /* two pairs cannot be in three bytes */
        {BYTES(0x93, 0, 0), "left"},
        {BYTES(0xdb, 0xff, 0xff, 0xff, 0xff, 'x'), "left"},
        {BYTES(0xc9, 0xff, 0xff, 0xff, 0xff, 1, 1), "left"},
        {BYTES(0x92, 0xa1, 'x'), "too early"},
        {BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0), "deep"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_unpack unpack;
        yk_unpack_init(&unpack, cases[i].bytes);
        yk_unpack_skip(&unpack);
        g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_ECORRUPT);
        g_assert_nonnull(strstr(unpack.wrong, cases[i].wrong));
    }
    struct yk_unpack unpack;
    yk_unpack_init(&unpack, BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0));
    yk_unpack_skip(&unpack);
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_OK);
}

/* Arrays are read to their end, and no further; what is wrong stays wrong. */
static void
test_arrays(void)
{
    struct yk_slice two = BYTES(0x92, 0x01, 0x02);
    struct yk_unpack unpack;
    yk_unpack_init(&unpack, two);
    g_assert_cmpuint(yk_unpack_array(&unpack), ==, 2);
    g_assert_cmpuint(yk_unpack_uint(&unpack, 9), ==, 1);
    yk_unpack_leave(&unpack);
    g_assert_nonnull(strstr(unpack.wrong, "too many"));
    yk_unpack_init(&unpack, two);
    g_assert_cmpuint(yk_unpack_array(&unpack), ==, 2);
    yk_unpack_skip(&unpack);
    yk_unpack_skip(&unpack);
    g_assert_cmpint(yk_unpack_peek(&unpack), ==, YK_UNPACK_NOTHING);
    g_assert_cmpuint(yk_unpack_uint(&unpack, 9), ==, 0);
    g_assert_nonnull(strstr(unpack.wrong, "too few"));
    g_assert_cmpuint(yk_unpack_array(&unpack), ==, 0);
    g_assert_cmpuint(yk_unpack_text(&unpack, 9).size, ==, 0);
    yk_unpack_leave(&unpack);
    yk_unpack_fail(&unpack, "later");
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_ECORRUPT);
    g_assert_nonnull(strstr(unpack.wrong, "too few"));
    yk_unpack_init(&unpack, two);
    g_assert_cmpuint(yk_unpack_array(&unpack), ==, 2);
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_ECORRUPT);
    g_assert_nonnull(strstr(unpack.wrong, "to its end"));
    yk_unpack_init(&unpack, yk_slice_of(NULL, 0));
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_ECORRUPT);
}

static void
pack_all(struct yk_pack *pack)
{
    yk_pack_array(pack, 6);
    yk_pack_nil(pack);
    yk_pack_bool(pack, true);
    yk_pack_uint(pack, 1ull << 40);
    yk_pack_text(pack, "text");
    yk_pack_bytes(pack, yk_slice_of("\0x", 2));
    yk_pack_map(pack, 1);
    yk_pack_uint(pack, 1);
    yk_pack_array(pack, 0);
}

static void
test_pack(void)
{
    struct yk_pack pack;
    struct yk_unpack unpack;
    yk_pack_init(&pack, 1000);
    pack_all(&pack);
    g_assert_cmpint(pack.result, ==, YK_OK);
    yk_unpack_init(&unpack, yk_pack_bytes_of(&pack));
    g_assert_cmpuint(yk_unpack_array(&unpack), ==, 6);
    yk_unpack_nil(&unpack);
    g_assert_true(yk_unpack_bool(&unpack));
    g_assert_cmpuint(yk_unpack_uint(&unpack, UINT64_MAX), ==, 1ull << 40);
    g_assert_true(yk_slice_equal(yk_unpack_text(&unpack, 4), yk_slice_of_text("text")));
    g_assert_true(yk_slice_equal(yk_unpack_bytes(&unpack, 2), yk_slice_of("\0x", 2)));
    g_assert_cmpuint(yk_unpack_map(&unpack), ==, 1);
    g_assert_cmpuint(yk_unpack_uint(&unpack, 1), ==, 1);
    g_assert_cmpuint(yk_unpack_array(&unpack), ==, 0);
    yk_unpack_leave(&unpack);
    yk_unpack_leave(&unpack);
    yk_unpack_leave(&unpack);
    g_assert_cmpint(yk_unpack_end(&unpack), ==, YK_OK);
    for (size_t size = 0; size <= pack.size; size++) {
        struct yk_pack bounded;
        yk_pack_init(&bounded, size);
        pack_all(&bounded);
        g_assert_cmpint(bounded.result, ==, size < pack.size ? YK_ETOOLARGE : YK_OK);
        g_assert_cmpuint(bounded.size, <=, size);
        yk_pack_done(&bounded);
    }
    yk_pack_done(&pack);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/wire/uint", test_uint);
    g_test_add_func("/wire/types", test_types);
    g_test_add_func("/wire/refusals", test_refusals);
    g_test_add_func("/wire/arrays", test_arrays);
    g_test_add_func("/wire/pack", test_pack);
    return g_test_run();
}
