/* The memcached frontend on arbitrary bytes, text, meta commands and frames: what it answers does
 * not depend on how they come. The input is played whole, then cut in two at every point (longer
 * ones at points drawn from the input), byte by byte, and with a core that says stop at random;
 * every rule of the interface is checked by the fake core. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fake_core.h"

#define SPLIT_EVERY_SIZE_MAX 512u
#define INPUT_SIZE_MAX       65536u
#define N_RANDOM_SPLITS      32u
#define VALUE_SIZE_MAX       256u /* small, so that values which are too large are found */

extern const struct yk_plugin memcached_LTX_yk_plugin;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Plays the input in chunks of `chunk` bytes after a first one of `first`. */
static struct fake_client *
play(struct fake_core *core, const uint8_t *data, size_t size, size_t first, size_t chunk,
     uint64_t stop_seed)
{
    fake_core_reset(core);
    struct fake_client *client = fake_client_new(core);
    FAKE_CHECK(client != NULL);
    client->stop_seed = stop_seed;
    fake_client_send(client, data, first);
    for (size_t at = first; at < size; at += chunk) {
        fake_client_send(client, data + at, size - at < chunk ? size - at : chunk);
    }
    fake_client_eof(client);
    return client;
}

static void
check_alike(struct fake_core *core, const uint8_t *data, size_t size, size_t first, size_t chunk,
            uint64_t stop_seed, const struct fake_client *whole)
{
    struct fake_client *client = play(core, data, size, first, chunk, stop_seed);
    struct yk_slice a = {whole->output.data, whole->output.size};
    struct yk_slice b = {client->output.data, client->output.size};
    if (!yk_slice_equal(a, b) || client->is_closed != whole->is_closed) {
        fprintf(stderr,
                "chunks of %zu and %zu bytes, seed %llu: another answer\nwhole: %.*s\nnow: %.*s\n",
                first, chunk, (unsigned long long)stop_seed, (int)a.size, (const char *)a.data,
                (int)b.size, (const char *)b.data);
        abort();
    }
    fake_client_free(client);
}

/* A number from the input, never 0. */
static uint64_t
seed_of(const uint8_t *data, size_t size)
{
    uint64_t seed = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        seed = (seed ^ data[i]) * 0x100000001b3u;
    }
    return seed | 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_SIZE_MAX) {
        return 0;
    }
    struct fake_core *core = fake_core_new(&memcached_LTX_yk_plugin);
    FAKE_CHECK(core != NULL);
    core->value_size_max = VALUE_SIZE_MAX;
    uint64_t seed = seed_of(data, size);
    if ((seed & 2) != 0) {
        fake_core_option(core, "allow_shutdown", "yes");
    }
    struct fake_client *whole = play(core, data, size, size, 1, 0);
    check_alike(core, data, size, size, 1, seed, whole);
    if (size <= SPLIT_EVERY_SIZE_MAX) {
        for (size_t i = 0; i < size; i++) {
            check_alike(core, data, size, i, size, i % 2 == 0 ? 0 : seed + i * 2, whole);
        }
        check_alike(core, data, size, 0, 1, 0, whole);
    } else {
        for (uint32_t i = 0; i < N_RANDOM_SPLITS; i++) {
            size_t first = fake_random(&seed) % size;
            size_t chunk = fake_random(&seed) % size + 1;
            check_alike(core, data, size, first, chunk, i % 2 == 0 ? 0 : seed, whole);
        }
    }
    fake_client_free(whole);
    fake_core_free(core);
    return 0;
}
