/* A client of etcd's JSON gateway, on a thread of its own: reads and writes of keys, and a watch
 * that is begun again for as long as the client is open.
 *
 * Which member answers: the one that did last; after it has failed the next of the list. A read
 * goes round all of them. A write does so for as long as it surely was not done; where it may have
 * been, its outcome is unknown. HTTP keeps connections open, so that most questions cost one round
 * trip.
 *
 * Threads: the functions here by one thread; `wake` is called from the client's own. Ownership: the
 * settings are lent until close. */
#ifndef ETCD_CLIENT_H
#define ETCD_CLIENT_H

#include "plugins/coordinators/etcd/message.h"

struct etcd_settings {
    const struct yk_host *host;
    char **endpoints; /* "http://HOST:PORT" or "https://HOST:PORT", ended by NULL */
    char *prefix;
    char *ca_file, *cert_file, *key_file; /* NULL: none */
    char *user, *password;                /* NULL: none */
    uint64_t timeout_ms;                  /* for one member */
    uint64_t compact_ms;                  /* 0: never */
    void (*wake)(void *arg);              /* there is something to take */
    void *arg;
};

/* What the client has to say: the end of a question, or a change of which it was told. */
struct etcd_news {
    struct etcd_news *next;
    char *changed; /* own: the name of a register, "" for any; NULL: it is the end of a question */
    uint64_t token;
    char *name;      /* own: whose register the question was about */
    uint32_t result; /* enum yk_register_result */
    uint64_t revision;
    uint8_t *bytes; /* own: what was read */
    size_t size;
};

struct etcd_client;

/* Starts the thread; NULL: there is none to be had. */
struct etcd_client *etcd_client_open(const struct etcd_settings *settings);
/* Questions that are open are dropped, and no news comes any more. Takes NULL. */
void etcd_client_close(struct etcd_client *client);

void etcd_client_read(struct etcd_client *client, const char *name, uint64_t token);
void etcd_client_write(struct etcd_client *client, const char *name, struct yk_slice bytes,
                       uint64_t if_revision, uint64_t token);
/* All news there is, oldest first; each to be freed. */
struct etcd_news *etcd_client_take(struct etcd_client *client);
void etcd_news_free(struct etcd_news *news);

#endif
