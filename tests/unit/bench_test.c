/* The parts of the load generator that decide: which keys come, how large values are, what is sent,
 * and how answers are read, whole and in pieces. */
#include <config.h>

#include <math.h>
#include <string.h>

#include <glib.h>

#include "core/base/random.h"
#include "tools/bench/items.h"
#include "tools/bench/keys.h"
#include "tools/bench/protocol.h"
#include "tools/bench/sizes.h"

/* Keys */

/* Frequencies of the first keys against theory, for theta below, at and above 1. */
static void
test_zipf(void)
{
    const char *const names[] = {"zipf:0.5", "zipf:0.99", "zipf:1", "zipf:1.7"};
    const double thetas[] = {0.5, 0.99, 1, 1.7};
    enum { KEYS = 1000, DRAWS = 400000, CHECKED = 20 };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        struct bench_keys keys;
        struct bench_keys_source source;
        char error[BENCH_KEYS_ERROR_SIZE];
        static uint32_t counts[KEYS];
        memset(counts, 0, sizeof(counts));
        g_assert_true(bench_keys_parse(names[i], KEYS, &keys, error));
        bench_keys_source_init(&source, &keys, 5, 0, 1);
        double sum = 0;
        for (int k = 1; k <= KEYS; k++) {
            sum += pow(k, -thetas[i]);
        }
        for (int k = 0; k < DRAWS; k++) {
            uint64_t key = bench_keys_draw(&source);
            g_assert_cmpuint(key, <, KEYS);
            counts[key]++;
        }
        double n_last = 0, expected_last = 0; /* the rarer half, together */
        for (int k = 0; k < KEYS; k++) {
            double expected = DRAWS * pow(k + 1, -thetas[i]) / sum;
            if (k < CHECKED) {
                g_assert_cmpfloat(fabs(counts[k] - expected), <, 5 * sqrt(expected));
            } else if (k >= KEYS / 2) {
                n_last += counts[k];
                expected_last += expected;
            }
        }
        g_assert_cmpfloat(fabs(n_last - expected_last), <, 5 * sqrt(expected_last));
    }
}

/* One key, and very many. */
static void
test_zipf_bounds(void)
{
    char error[BENCH_KEYS_ERROR_SIZE];
    const uint64_t sizes[] = {1, 2, 1000000000000};
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct bench_keys keys;
        struct bench_keys_source source;
        g_assert_true(bench_keys_parse("zipf:0.99", sizes[i], &keys, error));
        bench_keys_source_init(&source, &keys, 5, 0, 1);
        for (int k = 0; k < 10000; k++) {
            g_assert_cmpuint(bench_keys_draw(&source), <, sizes[i]);
        }
    }
}

static void
test_sequential(void)
{
    struct bench_keys keys;
    struct bench_keys_source source;
    char error[BENCH_KEYS_ERROR_SIZE];
    g_assert_true(bench_keys_parse("sequential", 10, &keys, error));
    for (uint32_t index = 0; index < 2; index++) {
        bench_keys_source_init(&source, &keys, 1, index, 2);
        for (uint64_t i = 0; i < 25; i++) {
            g_assert_cmpuint(bench_keys_draw(&source), ==, (index * 5 + i) % 10);
        }
    }
}

/* Of all draws the share that was asked for is in rows of the length that was asked for. */
static void
test_scan(void)
{
    enum { KEYS = 1000000, DRAWS = 1000000, LENGTH = 100 };
    struct bench_keys keys;
    struct bench_keys_source source;
    char error[BENCH_KEYS_ERROR_SIZE];
    g_assert_true(bench_keys_parse("uniform+scan:100:0.3", KEYS, &keys, error));
    bench_keys_source_init(&source, &keys, 1, 0, 1);
    uint64_t last = KEYS, n_in_rows = 0;
    for (int i = 0; i < DRAWS; i++) {
        uint64_t key = bench_keys_draw(&source);
        n_in_rows += key == (last + 1) % KEYS;
        last = key;
    }
    double expected = 0.3 * DRAWS * (LENGTH - 1) / LENGTH;
    g_assert_cmpfloat(fabs((double)n_in_rows - expected), <, 0.05 * expected);
}

/* The same seed, the same keys; another seed or thread, others. */
static void
test_seeds(void)
{
    struct bench_keys keys;
    struct bench_keys_source sources[4];
    char error[BENCH_KEYS_ERROR_SIZE];
    g_assert_true(bench_keys_parse("uniform", 1000000, &keys, error));
    bench_keys_source_init(&sources[0], &keys, 1, 0, 2);
    bench_keys_source_init(&sources[1], &keys, 1, 0, 2);
    bench_keys_source_init(&sources[2], &keys, 1, 1, 2);
    bench_keys_source_init(&sources[3], &keys, 2, 0, 2);
    int n_same[4] = {0};
    for (int i = 0; i < 1000; i++) {
        uint64_t key = bench_keys_draw(&sources[0]);
        for (int k = 1; k < 4; k++) {
            n_same[k] += bench_keys_draw(&sources[k]) == key;
        }
    }
    g_assert_cmpint(n_same[1], ==, 1000);
    g_assert_cmpint(n_same[2], <, 10);
    g_assert_cmpint(n_same[3], <, 10);
}

static void
test_bad_keys(void)
{
    const char *const bad[] = {"",
                               "zipf",
                               "zipf:",
                               "zipf:0",
                               "zipf:2",
                               "zipf:x",
                               "zipf:1x",
                               "uniform+",
                               "+scan:1:.5",
                               "uniform+scan",
                               "uniform+scan:0:0.5",
                               "sequential+scan:11:0.5",
                               "uniform+scan:5:1",
                               "uniform+scan:5:0",
                               "uniform+scan:5",
                               "hot"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct bench_keys keys;
        char error[BENCH_KEYS_ERROR_SIZE] = "";
        g_assert_false(bench_keys_parse(bad[i], 10, &keys, error));
        g_assert_cmpstr(error, !=, "");
    }
}

/* Sizes */

static void
test_sizes(void)
{
    const struct {
        const char *text;
        uint32_t min, max;
        double mean;
    } cases[] = {
        {"100", 100, 100, 100},
        {"0", 0, 0, 0},
        {"10-1000", 10, 1000, 505},
        {"etc", 0, 1000000, 329}, /* the mean of the law that the paper gives */
        {"lognormal:100:0.5", 0, 1000000, 113.3},
        {"pareto:100:0.2", 0, 1000000, 125},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct bench_sizes sizes;
        char error[BENCH_SIZES_ERROR_SIZE];
        g_assert_true(
            bench_sizes_parse(cases[i].text, BENCH_SIZES_OF_VALUES, 0, 1000000, &sizes, error));
        g_assert_cmpuint(sizes.min, >=, cases[i].min);
        g_assert_cmpuint(sizes.max, <=, cases[i].max);
        g_assert_cmpfloat(fabs(sizes.mean - cases[i].mean), <=, 0.02 * cases[i].mean);
        for (int k = 1; k < BENCH_QUANTILES; k++) {
            g_assert_cmpuint(sizes.quantiles[k - 1], <=, sizes.quantiles[k]);
        }
    }
    const char *const bad[] = {"",           "x",    "-1",   "5-",          "10-5",
                               "1.5",        "11",   "0-11", "lognormal:1", "pareto:0:1",
                               "pareto:1:0", "etc2", "1e400"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct bench_sizes sizes;
        char error[BENCH_SIZES_ERROR_SIZE] = "";
        g_assert_false(bench_sizes_parse(bad[i], BENCH_SIZES_OF_VALUES, 0, 10, &sizes, error));
        g_assert_cmpstr(error, !=, "");
    }
}

/* Items */

static void
items_init(struct bench_items *items, const char *key_size, const char *value_size)
{
    char error[BENCH_SIZES_ERROR_SIZE];
    memset(items, 0, sizeof(*items));
    items->n_keys = 1000;
    g_assert_true(
        bench_sizes_parse(key_size, BENCH_SIZES_OF_KEYS, 7, 250, &items->key_sizes, error));
    g_assert_true(bench_sizes_parse(value_size, BENCH_SIZES_OF_VALUES, 0, 100000,
                                    &items->value_sizes, error));
    bench_items_init(items, "key:", 3);
}

static void
test_items(void)
{
    static struct bench_items items;
    char key[BENCH_KEY_SIZE_MAX];
    items_init(&items, "19", "100");
    const struct {
        uint64_t key;
        const char *text;
    } cases[] = {{0, "key:000000000000000"},     {7, "key:000000000000007"},
                 {10, "key:000000000000010"},    {99, "key:000000000000099"},
                 {100, "key:000000000000100"},   {12345, "key:000000000012345"},
                 {909090, "key:000000000909090"}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint32_t size = bench_items_key(&items, cases[i].key, key);
        g_assert_cmpmem(key, size, cases[i].text, 19);
    }
    bench_items_done(&items);
    /* Of every size no two keys are alike. */
    items_init(&items, "etc", "0-5");
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (uint64_t i = 0; i < 1000; i++) {
        uint32_t size = bench_items_key(&items, i, key);
        g_assert_cmpuint(size, >=, 7);
        g_assert_true(g_hash_table_add(seen, g_strndup(key, size)));
        g_assert_cmpuint(bench_items_value_size(&items, i), <=, 5);
    }
    bench_items_done(&items);
    g_assert_cmpuint(bench_items_digits(1), ==, 1);
    g_assert_cmpuint(bench_items_digits(10), ==, 1);
    g_assert_cmpuint(bench_items_digits(11), ==, 2);
    g_assert_cmpuint(bench_items_digits(1000000), ==, 6);
}

/* Requests and answers */

enum { OUT_MAX = 1 << 20, ASKS_MAX = 64 };

struct fixture {
    struct bench_items items;
    struct bench_exchange exchange;
    struct bench_errors errors;
    struct bench_ask asks[ASKS_MAX];
    uint64_t missed[ASKS_MAX];
    char out[OUT_MAX];
};

static struct fixture *
fixture_new(enum bench_protocol protocol)
{
    struct fixture *fixture = g_new0(struct fixture, 1);
    items_init(&fixture->items, "19", "3");
    fixture->exchange = (struct bench_exchange){
        .items = &fixture->items,
        .protocol = protocol,
        .is_verified = true,
        .out = fixture->out,
        .asks = fixture->asks,
        .missed = fixture->missed,
        .errors = &fixture->errors,
    };
    return fixture;
}

static void
fixture_free(struct fixture *fixture)
{
    bench_items_done(&fixture->items);
    g_free(fixture);
}

/* Text with %V for the value of key 1. */
static char *
with_value(struct fixture *fixture, const char *text)
{
    g_autofree char *value = g_strndup(bench_items_value(&fixture->items, 1), 3);
    g_auto(GStrv) parts = g_strsplit(text, "%V", -1);
    return g_strjoinv(value, parts);
}

/* Asks for keys 1 and 2, sets 1, asks for 1, 2, 1 in one go (where there is that). */
static void
ask(struct fixture *fixture)
{
    struct bench_exchange *exchange = &fixture->exchange;
    const uint64_t keys[] = {1, 2, 1};
    bench_exchange_clear(exchange);
    bench_exchange_get(exchange, keys, 1);
    bench_exchange_get(exchange, keys + 1, 1);
    bench_exchange_set(exchange, 1);
    if (exchange->protocol != BENCH_META) {
        bench_exchange_get(exchange, keys, 3);
    }
}

/* In pieces of random sizes, at most piece_max bytes, with what was left over in front. */
static bool
feed(struct bench_exchange *exchange, const char *data, size_t size, struct yk_random *random,
     size_t piece_max)
{
    g_autoptr(GByteArray) came = g_byte_array_new();
    for (size_t at = 0; at < size;) {
        size_t piece = 1 + (size_t)yk_random_below(random, piece_max), used;
        piece = MIN(piece, size - at);
        g_byte_array_append(came, (const guint8 *)data + at, (guint)piece);
        at += piece;
        /* Of exactly its size, so that a sanitizer sees a read beyond it. */
        g_autofree char *exact = g_memdup2(came->data, came->len);
        if (!bench_exchange_feed(exchange, exact, came->len, &used)) {
            return false;
        }
        g_assert_cmpuint(came->len - used, <, BENCH_LINE_MAX);
        g_byte_array_remove_range(came, 0, (guint)used);
    }
    return true;
}

static const struct {
    const char *requests, *answers;
} talks[] = {
    [BENCH_TEXT] = {"get key:000000000000001\r\nget key:000000000000002\r\n"
                    "set key:000000000000001 0 0 3\r\n%V\r\n"
                    "get key:000000000000001 key:000000000000002 key:000000000000001\r\n",
                    "VALUE key:000000000000001 0 3\r\n%V\r\nEND\r\nEND\r\nSTORED\r\n"
                    "VALUE key:000000000000001 0 3\r\n%V\r\nVALUE key:000000000000001 0 3\r\n"
                    "%V\r\nEND\r\n"},
    [BENCH_META] = {"mg key:000000000000001 v\r\nmg key:000000000000002 v\r\n"
                    "ms key:000000000000001 3\r\n%V\r\n",
                    "VA 3\r\n%V\r\nEN\r\nHD\r\n"},
    [BENCH_RESP] = {"*2\r\n$3\r\nGET\r\n$19\r\nkey:000000000000001\r\n"
                    "*2\r\n$3\r\nGET\r\n$19\r\nkey:000000000000002\r\n"
                    "*3\r\n$3\r\nSET\r\n$19\r\nkey:000000000000001\r\n$3\r\n%V\r\n"
                    "*4\r\n$4\r\nMGET\r\n$19\r\nkey:000000000000001\r\n$19\r\n"
                    "key:000000000000002\r\n$19\r\nkey:000000000000001\r\n",
                    "$3\r\n%V\r\n$-1\r\n+OK\r\n*3\r\n$3\r\n%V\r\n$-1\r\n$3\r\n%V\r\n"},
};

static void
test_talks(void)
{
    struct yk_random random = {1};
    for (size_t i = 0; i < G_N_ELEMENTS(talks); i++) {
        struct fixture *fixture = fixture_new((enum bench_protocol)i);
        struct bench_exchange *exchange = &fixture->exchange;
        g_autofree char *requests = with_value(fixture, talks[i].requests);
        g_autofree char *answers = with_value(fixture, talks[i].answers);
        bool has_multi = i != BENCH_META;
        for (uint64_t n = 1; n <= 200; n++) {
            ask(fixture);
            g_assert_cmpmem(exchange->out, exchange->out_size, requests, strlen(requests));
            g_assert_cmpuint(bench_request_size_max(&fixture->items, fixture->exchange.protocol, 3),
                             >, 100);
            size_t piece_max = n == 1 ? 1 : n == 2 ? 10000 : 1 + n / 10;
            if (!feed(exchange, answers, strlen(answers), &random, piece_max)) {
                g_error("round %u: %s", (unsigned)n, exchange->wrong);
            }
            g_assert_true(bench_exchange_is_done(exchange));
            g_assert_cmpuint(exchange->n_gets, ==, n * (has_multi ? 3 : 2));
            g_assert_cmpuint(exchange->n_sets, ==, n);
            g_assert_cmpuint(exchange->n_hits, ==, n * (has_multi ? 3 : 1));
            g_assert_cmpuint(exchange->n_misses, ==, n * (has_multi ? 2 : 1));
            g_assert_cmpuint(exchange->n_missed, ==, has_multi ? 2 : 1);
            g_assert_cmpuint(fixture->missed[0], ==, 2);
            g_assert_cmpuint(exchange->n_errors, ==, 0);
        }
        fixture_free(fixture);
    }
}

/* Error replies end their request and are counted by their text. */
static void
test_errors(void)
{
    const char *const answers[] = {
        [BENCH_TEXT] = "SERVER_ERROR no\r\nERROR\r\nSERVER_ERROR no\r\n"
                       "VALUE key:000000000000001 0 3\r\n%V\r\nCLIENT_ERROR x\r\n",
        [BENCH_META] = "SERVER_ERROR no\r\nERROR\r\nSERVER_ERROR no\r\n",
        [BENCH_RESP] = "-ERR no\r\n-ERR\r\n-ERR no\r\n-LOADING\r\n",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
        struct fixture *fixture = fixture_new((enum bench_protocol)i);
        struct yk_random random = {1};
        g_autofree char *answer = with_value(fixture, answers[i]);
        ask(fixture);
        g_assert_true(feed(&fixture->exchange, answer, strlen(answer), &random, 7));
        g_assert_true(bench_exchange_is_done(&fixture->exchange));
        g_assert_cmpuint(fixture->exchange.n_errors, ==, i == BENCH_META ? 3 : 4);
        g_assert_cmpuint(fixture->errors.n_texts, ==, i == BENCH_META ? 2 : 3);
        g_assert_cmpstr(fixture->errors.texts[0].text, ==,
                        i == BENCH_RESP ? "-ERR no" : "SERVER_ERROR no");
        g_assert_cmpuint(fixture->errors.texts[0].n, ==, 2);
        fixture_free(fixture);
    }
    /* As many texts as there is room for, and the others together. */
    struct bench_errors errors = {0};
    for (uint64_t i = 0; i < BENCH_ERROR_TEXTS + 5; i++) {
        g_autofree char *text = g_strdup_printf("ERROR %u\x01", (unsigned)i);
        bench_errors_count(&errors, text, strlen(text), 1);
    }
    g_assert_cmpuint(errors.n_texts, ==, BENCH_ERROR_TEXTS);
    g_assert_cmpuint(errors.n_others, ==, 5);
    g_assert_cmpstr(errors.texts[3].text, ==, "ERROR 3?");
}

/* Each of these is wrong as the answer to ask(), and says what was expected. */
static void
test_wrong(void)
{
    const struct {
        enum bench_protocol protocol;
        const char *answer, *expected;
    } cases[] = {
        {BENCH_TEXT, "STORED\r\n", "VALUE or END, got \"STORED\""},
        {BENCH_TEXT, "\r\n", "VALUE or END"},
        {BENCH_TEXT, "END\n", "\\r\\n, got \"END\\x0a\""},
        {BENCH_TEXT, "VALUE key:000000000000003 0 3\r\n", "a key that was asked for"},
        {BENCH_TEXT, "VALUE \r\n", "a key that was asked for"},
        {BENCH_TEXT, "VALUE key:000000000000001\r\n", "a key that was asked for"},
        {BENCH_TEXT, "VALUE key:000000000000001 \r\n", "flags and a size"},
        {BENCH_TEXT, "VALUE key:000000000000001 0\r\n", "flags and a size"},
        {BENCH_TEXT, "VALUE key:000000000000001 0 x\r\n", "flags and a size"},
        {BENCH_TEXT, "VALUE key:000000000000001 0 99999999999\r\n", "flags and a size"},
        {BENCH_TEXT, "VALUE key:000000000000001 0 4\r\n", "a value of 3 bytes"},
        {BENCH_TEXT, "VALUE key:000000000000001 0 3\r\nabc\r\n", "belongs to the key"},
        {BENCH_TEXT, "VALUE key:000000000000001 0 3\r\n%Vx", "after a value, got \"x"},
        {BENCH_TEXT, "VALUE key:000000000000001 0 3\r\n%V\r\nVALUE key:000000000000001 0 3\r\n",
         "expected END"},
        {BENCH_TEXT, "END\r\nEND\r\nEND\r\n", "STORED"},
        {BENCH_TEXT, "END\r\nEND\r\nNOT_STORED\r\n", "STORED"},
        {BENCH_TEXT, "END\r\nEND\r\nSTORED\r\nEND\r\nEND\r\n", "nothing more"},
        {BENCH_META, "HD\r\n", "VA with a size, or EN"},
        {BENCH_META, "VA\r\n", "VA with a size, or EN"},
        {BENCH_META, "EN\r\nEN\r\nNS\r\n", "HD"},
        {BENCH_RESP, "END\r\n", "$ and a size"},
        {BENCH_RESP, "$x\r\n", "$ and a size"},
        {BENCH_RESP, "$2\r\n", "a value of 3 bytes"},
        {BENCH_RESP, "$-1\r\n$-1\r\n$-1\r\n", "+OK"},
        {BENCH_RESP, "$-1\r\n$-1\r\n+OK\r\n*2\r\n", "as many as were asked for"},
        {BENCH_RESP, "$-1\r\n$-1\r\n+OK\r\n$-1\r\n", "as many as were asked for"},
    };
    struct yk_random random = {1};
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
        struct fixture *fixture = fixture_new(cases[i / 2].protocol);
        g_autofree char *answer = with_value(fixture, cases[i / 2].answer);
        ask(fixture);
        g_assert_false(
            feed(&fixture->exchange, answer, strlen(answer), &random, i % 2 == 0 ? 1 : 10000));
        g_assert_nonnull(strstr(fixture->exchange.wrong, cases[i / 2].expected));
        fixture_free(fixture);
    }
}

static void
test_etcd(void)
{
    static const char answers[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
        "{\"header\":{}}HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"
        "HTTP/1.1 200 OK\r\n\r\n";
    struct yk_random random = {1};
    for (size_t piece_max = 1; piece_max < 300; piece_max += 13) {
        struct fixture *fixture = fixture_new(BENCH_ETCD);
        struct bench_exchange *exchange = &fixture->exchange;
        for (uint64_t key = 1; key <= 3; key++) {
            bench_exchange_set(exchange, key);
        }
        g_autofree char *first = g_strndup(exchange->out, exchange->out_size / 3);
        g_autofree char *key = g_base64_encode((const guchar *)"key:000000000000001", 19);
        g_autofree char *value =
            g_base64_encode((const guchar *)bench_items_value(&fixture->items, 1), 3);
        g_autofree char *body = g_strdup_printf("{\"key\":\"%s\",\"value\":\"%s\"}", key, value);
        g_autofree char *expected = g_strdup_printf(
            "POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
            body);
        g_assert_cmpstr(first, ==, expected);
        g_assert_cmpuint(bench_request_size_max(&fixture->items, BENCH_ETCD, 0), >=,
                         strlen(expected));
        g_assert_true(feed(exchange, answers, strlen(answers), &random, piece_max));
        g_assert_true(bench_exchange_is_done(exchange));
        g_assert_cmpuint(exchange->n_sets, ==, 3);
        g_assert_cmpuint(exchange->n_errors, ==, 1);
        g_assert_cmpstr(fixture->errors.texts[0].text, ==, "HTTP/1.1 503 Service Unavailable");
        fixture_free(fixture);
    }
}

/* A line without end is refused, not kept. */
static void
test_long_line(void)
{
    struct fixture *fixture = fixture_new(BENCH_TEXT);
    struct yk_random random = {1};
    g_autofree char *line = g_strnfill(BENCH_LINE_MAX, 'a');
    ask(fixture);
    g_assert_true(feed(&fixture->exchange, line, BENCH_LINE_MAX - 1, &random, 100));
    g_assert_false(feed(&fixture->exchange, line, BENCH_LINE_MAX, &random, 100));
    fixture_free(fixture);
}

/* No request is larger than what its maker is told. */
static void
test_request_size(void)
{
    const char *const sizes[] = {"7", "250", "etc"};
    for (size_t i = 0; i < 3 * G_N_ELEMENTS(sizes); i++) {
        struct fixture *fixture = fixture_new((enum bench_protocol)(i % 3));
        bench_items_done(&fixture->items);
        items_init(&fixture->items, sizes[i / 3], "0-5000");
        uint64_t keys[ASKS_MAX] = {0};
        for (uint32_t n = 0; n <= ASKS_MAX; n += 8) {
            bench_exchange_clear(&fixture->exchange);
            if (n == 0) {
                bench_exchange_set(&fixture->exchange, 999);
            } else {
                bench_exchange_get(&fixture->exchange, keys, i % 3 == BENCH_META ? 1 : n);
            }
            g_assert_cmpuint(
                fixture->exchange.out_size, <=,
                bench_request_size_max(&fixture->items, fixture->exchange.protocol, n));
        }
        fixture_free(fixture);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bench/keys/zipf", test_zipf);
    g_test_add_func("/bench/keys/zipf-bounds", test_zipf_bounds);
    g_test_add_func("/bench/keys/sequential", test_sequential);
    g_test_add_func("/bench/keys/scan", test_scan);
    g_test_add_func("/bench/keys/seeds", test_seeds);
    g_test_add_func("/bench/keys/bad", test_bad_keys);
    g_test_add_func("/bench/sizes", test_sizes);
    g_test_add_func("/bench/items", test_items);
    g_test_add_func("/bench/protocol/talks", test_talks);
    g_test_add_func("/bench/protocol/errors", test_errors);
    g_test_add_func("/bench/protocol/wrong", test_wrong);
    g_test_add_func("/bench/protocol/etcd", test_etcd);
    g_test_add_func("/bench/protocol/long-line", test_long_line);
    g_test_add_func("/bench/protocol/request-size", test_request_size);
    return g_test_run();
}
