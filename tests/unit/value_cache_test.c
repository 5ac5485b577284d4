/* The values that a gateway keeps. */
#include <config.h>

#include <glib.h>

#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/node/value_cache.h"

static struct yk_value_cache_key
key_of(uint32_t bucket, const char *text)
{
    struct yk_slice key = yk_slice_of_text(text);
    return (struct yk_value_cache_key){bucket, yk_hash(key), key};
}

static void
put(struct yk_value_cache *cache, const char *key, uint64_t version, char byte, size_t size)
{
    g_autofree char *value = g_malloc(size);
    struct yk_value_cache_key of = key_of(0, key);
    memset(value, byte, size);
    yk_value_cache_put(cache, &of, version, yk_slice_of(value, size));
}

/* 0: it is not there. */
static uint64_t
version_of(struct yk_value_cache *cache, uint32_t bucket, const char *key)
{
    struct yk_value_cache_key of = key_of(bucket, key);
    uint64_t version = 0;
    yk_buffer_unref(yk_value_cache_find(cache, &of, &version));
    return version;
}

static void
test_values(void)
{
    struct yk_value_cache *cache = yk_value_cache_new(64 * 1024);
    put(cache, "a", 1, 'x', 200);
    put(cache, "a", 2, 'y', 300);
    g_assert_cmpuint(version_of(cache, 0, "a"), ==, 2);
    g_assert_cmpuint(version_of(cache, 1, "a"), ==, 0);
    g_assert_cmpuint(version_of(cache, 0, "b"), ==, 0);
    g_assert_cmpuint(yk_value_cache_figures(cache).items, ==, 1);

    struct yk_value_cache_key a = key_of(0, "a");
    uint64_t version;
    struct yk_buffer *lent = yk_value_cache_find(cache, &a, &version);
    yk_value_cache_drop(cache, &a);
    yk_value_cache_drop(cache, &a);
    g_assert_cmpuint(lent->size, ==, 300);
    g_assert_cmpint(lent->data[299], ==, 'y');
    yk_buffer_unref(lent);
    g_assert_cmpuint(yk_value_cache_figures(cache).items, ==, 0);
    g_assert_cmpuint(yk_value_cache_figures(cache).bytes, ==, 0);

    put(cache, "small", 1, 'x', YK_CACHED_VALUE_MIN - 1);
    put(cache, "large", 1, 'x', 64 * 1024 / 8 + 1);
    put(cache, "just", 1, 'x', 64 * 1024 / 8);
    put(cache, "least", 1, 'x', YK_CACHED_VALUE_MIN);
    g_assert_cmpuint(yk_value_cache_figures(cache).items, ==, 2);
    put(cache, "just", 2, 'x', 1); /* what it was is not true any more */
    g_assert_cmpuint(version_of(cache, 0, "just"), ==, 0);
    yk_value_cache_free(cache);
    yk_value_cache_free(NULL);
}

/* A scan does not drive out what is asked for again and again. */
static void
test_what_goes(void)
{
    enum { BYTES = 256 * 1024, HOT = 100, SCAN = 20000 };
    struct yk_value_cache *cache = yk_value_cache_new(BYTES);
    uint32_t n_left = 0;
    for (uint32_t i = 0; i < SCAN; i++) {
        g_autofree char *hot = g_strdup_printf("hot%u", i % HOT);
        g_autofree char *cold = g_strdup_printf("cold%u", i);
        if (version_of(cache, 0, hot) == 0) {
            put(cache, hot, 1, 'h', 500);
        }
        put(cache, cold, 1, 'c', 500);
        g_assert_cmpuint(yk_value_cache_figures(cache).bytes, <=, BYTES);
    }
    for (uint32_t i = 0; i < HOT; i++) {
        g_autofree char *hot = g_strdup_printf("hot%u", i);
        n_left += version_of(cache, 0, hot) != 0;
    }
    g_assert_cmpuint(n_left, ==, HOT);
    g_assert_cmpuint(version_of(cache, 0, "cold1"), ==, 0);
    yk_value_cache_free(cache);
}

/* Against a table that forgets nothing: what is there is what was put last. */
static void
test_random(void)
{
    enum { KEYS = 500 };
    struct yk_value_cache *cache = yk_value_cache_new(64 * 1024);
    uint64_t versions[KEYS] = {0};
    for (uint64_t step = 1; step < 200000; step++) {
        uint32_t n = (uint32_t)g_test_rand_int_range(0, KEYS);
        g_autofree char *key = g_strdup_printf("key%u", n);
        struct yk_value_cache_key of = key_of(0, key);
        uint64_t found = version_of(cache, 0, key);
        g_assert_true(found == 0 || found == versions[n]);
        if (g_test_rand_int_range(0, 10) == 0) {
            yk_value_cache_drop(cache, &of);
            versions[n] = 0;
        } else if (found == 0 || g_test_rand_int_range(0, 3) == 0) {
            put(cache, key, step, 'x', (size_t)g_test_rand_int_range(1, 2000));
            versions[n] = step;
        }
        g_assert_cmpuint(yk_value_cache_figures(cache).bytes, <=, 64 * 1024);
    }
    yk_value_cache_free(cache);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/value_cache/values", test_values);
    g_test_add_func("/value_cache/what_goes", test_what_goes);
    g_test_add_func("/value_cache/random", test_random);
    return g_test_run();
}
