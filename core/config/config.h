/* The config file: its grammar, its tables, its checks, and the effective config of one node.
 *
 * Pure: text in, structs out. Reading the file and loading plugins are the caller's.
 *
 * Threads: a yk_config is immutable once made. Ownership: it owns all that it points to, except
 * plugins. */
#ifndef YK_CONFIG_CONFIG_H
#define YK_CONFIG_CONFIG_H

#include <yakumo/backend.h>

#include "core/base/options.h"
#include "core/base/promises.h"

enum yk_role { YK_ROLE_MANAGER = 1u << 0, YK_ROLE_SERVER = 1u << 1, YK_ROLE_GATEWAY = 1u << 2 };
enum yk_evict { YK_EVICT_NONE = 0, YK_EVICT_S3FIFO = 1 };
enum yk_io_engine { YK_IO_AUTO = 0, YK_IO_EPOLL = 1, YK_IO_URING = 2 };
enum yk_scheduling { YK_SCHEDULING_BATCH = 0, YK_SCHEDULING_NORMAL = 1 };

struct yk_bucket_config {
    char *name;
    struct yk_settings *backend;
    struct yk_settings **filters; /* outermost first */
    uint32_t n_filters;
    uint32_t copies, min_copies;
    enum yk_durability durability;
    enum yk_reads reads;
    enum yk_acks acks;
    enum yk_evict evict;
    uint64_t memory_max;   /* bytes; 0: no bound */
    uint32_t slots;        /* power of two */
    uint32_t key_size_max; /* bytes */
    uint64_t value_size_max;
    uint32_t line; /* of its section; 0: not from a file */
};

struct yk_frontend_config {
    char *name; /* "memcached", "memcached 2" */
    struct yk_settings *settings;
    char **listen; /* addresses as written; see yk_address_parse */
    uint32_t n_listen;
    uint32_t bucket_index;                /* into buckets */
    char *key_prefix;                     /* "": none */
    struct yk_settings **request_filters; /* outermost first */
    uint32_t n_request_filters;
    bool allow_remote; /* may listen beyond loopback without authentication */
    uint32_t line;
};

struct yk_node_config {
    char *name;
    uint32_t roles; /* enum yk_role */
    char *address;
    bool allow_remote; /* address may be one that other machines reach */
    char *data;        /* folder; NULL: the caller's default */
    char *zone;        /* "": none */
    uint32_t weight;
    uint32_t workers;       /* 0: one for each core */
    uint32_t lanes;         /* fixed when the data folder is made */
    uint32_t executors;     /* threads for blocking engines */
    uint64_t journal_size;  /* bytes from which lanes are checkpointed */
    uint64_t gateway_cache; /* bytes for values of other nodes */
    enum yk_io_engine io;
    enum yk_scheduling scheduling;
    uint32_t connections_max;
    enum yk_log_level log_level;
    uint32_t line; /* of its section; 0: not from a file */
};

struct yk_config {
    char *file; /* NULL: built in */
    char *cluster_name;
    struct yk_settings *coordinator;
    uint64_t lease_us, grace_us;
    struct yk_node_config node; /* the one that this process runs */
    /* All of the file, by name, that one too. More than one: the node is one of a cluster. */
    struct yk_node_config *nodes;
    uint32_t n_nodes, n_managers, n_servers;
    struct yk_bucket_config *buckets; /* by name, whatever the order of the file */
    uint32_t n_buckets;
    struct yk_frontend_config *frontends; /* likewise; whether or not the node is a gateway */
    uint32_t n_frontends;
};

/* How the parser learns of plugins. Returns NULL and writes error where there is none of that name.
 */
typedef const struct yk_plugin *(*yk_find_plugin_fn)(void *arg, enum yk_plugin_kind kind,
                                                     const char *name, char *error);

struct yk_config_source {
    const char *file;             /* for messages; NULL: no file, the built-in single node */
    const char *text;             /* of the file; need not end with NUL */
    size_t size;                  /* at most YK_CONFIG_SIZE_MAX */
    const char *node;             /* --node; NULL: the only one in the file, or the built-in one */
    bool takes_any;               /* with node NULL: the first of several will do, for a tool */
    const char *const *overrides; /* "section.key=value" of -o, ended by NULL; may be NULL */
    yk_find_plugin_fn find_plugin;
    void *arg;
};

/* Parses and checks everything. On failure error (YK_ERROR_SIZE bytes) is "FILE:LINE: what is
 * wrong, the bound, what to do". */
enum yk_err yk_config_parse(const struct yk_config_source *source, struct yk_config **ret_config,
                            char *error) YK_MUST_CHECK;
void yk_config_free(struct yk_config *config);

/* The effective config of this node, in the grammar of the file, each key with its value, defaults
 * included; parsing it, for this node, gives the same config. Of other nodes it has the [node]
 * sections. g_malloc'd. */
char *yk_config_dump(const struct yk_config *config);

/* Whether a node that runs with `now` can go on with `next`: they differ only in what may change at
 * run time (options with YK_OPTION_RELOAD, log_level). Then buckets, frontends and filters of the
 * two have the same indexes, and yk_instance_reload tells the instances. Else error names the first
 * key that differs. Neither config is changed. */
enum yk_err yk_config_check_reload(const struct yk_config *now, const struct yk_config *next,
                                   char *error) YK_MUST_CHECK;

/* The core's own tables, for the man page: sections "cluster", "node", "bucket", "frontend". NULL:
 * there is no such table. */
const struct yk_option *yk_config_table(const char *section, uint32_t *ret_n_options);

enum yk_address_kind {
    YK_ADDRESS_INET = 1,
    YK_ADDRESS_INET6 = 2,
    YK_ADDRESS_UNIX = 3,
    YK_ADDRESS_SYSTEMD = 4
};

/* "127.0.0.1:11211", "[::1]:11211", "localhost:11211" (127.0.0.1), ":11211" and "*:11211" (every
 * IPv4 address; "[::]:11211" for IPv6), "unix:/path" with an optional "?mode=0660", "systemd:NAME".
 */
struct yk_address {
    enum yk_address_kind kind;
    uint8_t bytes[16]; /* INET: 4, INET6: 16, network order */
    uint16_t port;
    uint32_t mode;    /* UNIX: permission bits, 0600 by default */
    bool is_loopback; /* INET and INET6: only this machine reaches it; true for UNIX and SYSTEMD */
    char path[108];   /* UNIX: path; SYSTEMD: name */
};

enum yk_err
yk_address_parse(const char *text, struct yk_address *ret_address, char *error) YK_MUST_CHECK;

#endif
