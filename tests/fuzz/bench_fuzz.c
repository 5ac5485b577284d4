/* Any bytes as what a server answers to `yakumo bench`: refused, or taken in, and the same whether
 * they come at once or one by one.
 *
 * The first byte says which protocol is spoken (its remainder by 3), and whether values are
 * compared (its fourth bit); a get, a set, a get of three keys and a get are under way. */
#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "core/base/assert.h"
#include "tools/bench/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ASKS = 6, OUT_SIZE = 4096 };

static struct bench_items items;

struct player {
    struct bench_exchange exchange;
    struct bench_errors errors;
    struct bench_ask asks[ASKS];
    uint64_t missed[ASKS];
    char out[OUT_SIZE];
};

static void
items_make(void)
{
    char error[BENCH_SIZES_ERROR_SIZE];
    items.n_keys = 10;
    YK_ASSERT(bench_sizes_parse("4", BENCH_SIZES_OF_KEYS, 1, 250, &items.key_sizes, error));
    YK_ASSERT(bench_sizes_parse("2", BENCH_SIZES_OF_VALUES, 0, 100, &items.value_sizes, error));
    bench_items_init(&items, "k:", 1);
}

static void
player_init(struct player *player, uint8_t mode)
{
    const uint64_t keys[] = {1, 2, 1};
    memset(player, 0, sizeof(*player));
    struct bench_exchange *exchange = &player->exchange;
    *exchange = (struct bench_exchange){
        .items = &items,
        .protocol = (enum bench_protocol)(mode % 3),
        .is_verified = (mode & 8) != 0,
        .out = player->out,
        .asks = player->asks,
        .missed = player->missed,
        .errors = &player->errors,
    };
    bench_exchange_get(exchange, keys, 1);
    bench_exchange_set(exchange, 1);
    bench_exchange_get(exchange, keys, exchange->protocol == BENCH_META ? 1 : 3);
    bench_exchange_get(exchange, keys, 1);
    YK_ASSERT(exchange->out_size <= OUT_SIZE);
}

static void
check(const struct bench_exchange *exchange, bool is_right)
{
    YK_ASSERT(exchange->at <= exchange->n_asks);
    YK_ASSERT(exchange->n_hits + exchange->n_misses <= ASKS);
    YK_ASSERT(exchange->n_gets <= 3 && exchange->n_sets <= 1);
    YK_ASSERT(is_right == (exchange->wrong[0] == '\0'));
    YK_ASSERT(memchr(exchange->wrong, '\0', sizeof(exchange->wrong)) != NULL);
}

/* Byte by byte, each time in memory of exactly the size of what is there. */
static bool
play_slowly(struct bench_exchange *exchange, const char *data, size_t size)
{
    size_t from = 0, used = 0;
    bool is_right = true;
    for (size_t end = 1; end <= size && is_right; end++) {
        char *piece = g_memdup2(data + from, end - from);
        is_right = bench_exchange_feed(exchange, piece, end - from, &used);
        g_free(piece);
        YK_ASSERT(!is_right || end - from - used < BENCH_LINE_MAX);
        from += is_right ? used : 0;
    }
    check(exchange, is_right);
    return is_right;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (items.pattern == NULL) {
        items_make();
    }
    if (size == 0) {
        return 0;
    }
    static struct player whole, slow;
    size_t used = 0;
    player_init(&whole, data[0]);
    player_init(&slow, data[0]);
    const char *answers = (const char *)data + 1;
    bool is_right = bench_exchange_feed(&whole.exchange, answers, size - 1, &used);
    check(&whole.exchange, is_right);
    YK_ASSERT(!is_right || size - 1 - used < BENCH_LINE_MAX);
    YK_ASSERT(play_slowly(&slow.exchange, answers, size - 1) == is_right);
    YK_ASSERT(whole.exchange.at == slow.exchange.at || !is_right);
    YK_ASSERT(whole.exchange.n_hits == slow.exchange.n_hits);
    YK_ASSERT(whole.exchange.n_misses == slow.exchange.n_misses);
    YK_ASSERT(whole.exchange.n_errors == slow.exchange.n_errors);
    return 0;
}
