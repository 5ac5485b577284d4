/* What is said to etcd's JSON gateway, and what it answers.
 *
 * Source: etcd's documentation, "gRPC gateway" (paths below /v3/, 64-bit numbers as texts, keys and
 * values in base64) and "etcd API". A register's revision is its key's mod_revision.
 *
 * Threads: pure. Ownership: bodies are to be freed by free(). */
#ifndef ETCD_MESSAGE_H
#define ETCD_MESSAGE_H

#include <yakumo/coordinator.h>

enum {
    ETCD_VALUE_SIZE_MAX = 1024 * 1024,      /* etcd takes 1.5 MiB in a request, by default */
    ETCD_ANSWER_SIZE_MAX = 4 * 1024 * 1024, /* two values in base64, and what stands around them */
    ETCD_NAME_SIZE_MAX = 80,
    ETCD_REASON_SIZE = 256,
};

/* Bodies of requests. */
char *etcd_range_body(const char *prefix, const char *name);
/* Puts the value if the key still has that mod_revision, else tells what it has. */
char *
etcd_put_body(const char *prefix, const char *name, struct yk_slice value, uint64_t if_revision);
/* Asks for changes of all keys that begin with prefix. */
char *etcd_watch_body(const char *prefix);
char *etcd_login_body(const char *user, const char *password);
char *etcd_compact_body(uint64_t revision);

/* What may have become of a request. */
enum etcd_outcome {
    ETCD_DONE = 1,
    ETCD_REFUSED,  /* surely not done, and no other member would do it */
    ETCD_LOGIN,    /* surely not done, since it does not know who asks: say it again */
    ETCD_UNCLEAR,  /* it may have been done, or may yet be */
    ETCD_NOT_ETCD, /* this is no answer of etcd's gateway; surely not done */
};

struct etcd_answer {
    enum etcd_outcome outcome;
    char reason[ETCD_REASON_SIZE]; /* where it is not DONE */
    uint64_t store_revision;       /* of etcd's store, when it answered */
    bool is_written;               /* of a put: the key's mod_revision is store_revision */
    uint64_t revision;             /* the key's mod_revision; 0: there is no such key */
    uint8_t *bytes;                /* own, g_free: the key's value; NULL: it is empty */
    size_t size;
    char *token; /* own, g_free: of a login */
};

/* Reads the answer to a range, a put, a login or a compaction; http_status as it came. */
void
etcd_answer_read(const char *text, size_t size, long http_status, struct etcd_answer *ret_answer);
void etcd_answer_done(struct etcd_answer *answer);

/* One value of the stream that a watch answers with. False: the watch is over, and reason (of
 * ETCD_REASON_SIZE) says why. changed is called with the name of each key that begins with prefix.
 */
bool etcd_watch_read(const char *text, size_t size, const char *prefix,
                     void (*changed)(void *arg, const char *name), void *arg, char *reason);

#endif
