/* A memcached client of the simulator: makes commands from the seed, sends them in pipelines and in
 * pieces, reads the answers, and writes the history.
 *
 * Threads: one. Ownership: the history is lent. */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "core/base/random.h"
#include "tools/history/history.h"

struct client;

struct client_config {
    uint32_t connection;
    struct history *history;
    uint64_t seed;
    uint32_t n_commands;   /* then it says quit */
    uint32_t pipeline_max; /* commands without an answer, at most */
    uint32_t value_size_max;
    bool uses_expiry, uses_flush, uses_noreply;
};

struct client *client_new(const struct client_config *config);
void client_free(struct client *client);

/* Appends what it wants to send now, if anything. */
void client_write(struct client *client, int64_t now_us, GByteArray *to);
/* Bytes that the server sent. False: they are no right answer; `why` says so. */
bool
client_read(struct client *client, int64_t now_us, const uint8_t *bytes, size_t size, GString *why);
/* It waits for answers. */
bool client_is_waiting(const struct client *client);
/* It has said all it will, and was answered. */
bool client_is_done(const struct client *client);

#endif
