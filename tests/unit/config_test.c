/* The config: its grammar, its checks with the texts of all errors, overrides, dump, reload,
 * addresses. */
#include <config.h>

#include "core/config/config.h"

#include <glib.h>

/* Plugins that are nothing but option tables. */
static const char *const modes[] = {"slow", "fast", NULL};

static const struct yk_option memcached_options[] = {
    {YK_OPTION_HEAD, .name = "idle_timeout", .type = YK_OPTION_DURATION, .fallback = "0",
     .flags = YK_OPTION_RELOAD},
    {YK_OPTION_HEAD, .name = "greeting", .type = YK_OPTION_STRING, .max = 100},
};
static const struct yk_option memory_options[] = {
    {YK_OPTION_HEAD, .name = "buckets", .type = YK_OPTION_UINT, .fallback = "8", .min = 1,
     .max = 64},
    {YK_OPTION_HEAD, .name = "mode", .type = YK_OPTION_ENUM, .fallback = "fast", .choices = modes},
};
static const struct yk_option delay_options[] = {
    {YK_OPTION_HEAD, .name = "get", .type = YK_OPTION_DURATION, .fallback = "1ms", .max = 10000000,
     .flags = YK_OPTION_RELOAD},
    {YK_OPTION_HEAD, .name = "share", .type = YK_OPTION_RATIO, .fallback = "100%", .max = 1000000},
    {YK_OPTION_HEAD, .name = "only", .type = YK_OPTION_LIST},
};
static const struct yk_option broken_options[] = {
    {YK_OPTION_HEAD, .name = "n", .type = YK_OPTION_UINT, .fallback = "many"},
};

static const struct yk_option quorum_options[] = {
    {YK_OPTION_HEAD, .name = "timeout", .type = YK_OPTION_DURATION, .fallback = "1s"},
};

static const struct yk_option etcd_options[] = {
    {YK_OPTION_HEAD, .name = "endpoints", .type = YK_OPTION_LIST,
     .fallback = "http://127.0.0.1:2379", .min = 1, .max = 16},
    {YK_OPTION_HEAD, .name = "user", .type = YK_OPTION_STRING},
};

#define FAKE(kind_, name_) YK_PLUGIN_HEAD(YK_KIND_##kind_, 1), .name = (name_)
#define OPTIONS(table_)    .n_options = G_N_ELEMENTS(table_), .options = (table_)

static const struct yk_plugin fakes[] = {
    {FAKE(FRONTEND, "memcached"), OPTIONS(memcached_options)},
    {FAKE(FRONTEND, "http")},
    {FAKE(BACKEND, "memory"), OPTIONS(memory_options)},
    {FAKE(BACKEND, "broken"), OPTIONS(broken_options)},
    {FAKE(FILTER, "stats")},
    {FAKE(FILTER, "delay"), OPTIONS(delay_options)},
    {FAKE(REQUEST_FILTER, "readonly")},
    {FAKE(COORDINATOR, "local")},
    {FAKE(COORDINATOR, "quorum"), OPTIONS(quorum_options)},
    {FAKE(COORDINATOR, "etcd"), OPTIONS(etcd_options)},
};

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    const char *known[G_N_ELEMENTS(fakes) + 1] = {NULL};
    for (size_t i = 0, n = 0; i < G_N_ELEMENTS(fakes); i++) {
        if (fakes[i].kind == kind && strcmp(fakes[i].name, name) == 0) {
            return &fakes[i];
        }
        if (fakes[i].kind == kind) {
            known[n++] = fakes[i].name;
        }
    }
    yk_unknown_name("plugin", name, NULL, known, error);
    return NULL;
}

/* What a good file needs beside the lines under test. */
#define GOOD "[bucket default]\ndurability = memory\n"
#define TWO_NODES                                                                                  \
    "[node a]\nroles = manager, server\naddress = 127.0.0.1:1\n"                                   \
    "[node b]\naddress = 127.0.0.1:2\n"

struct source {
    const char *text; /* NULL: built in */
    const char *override, *override2;
    const char *node;
};

static enum yk_err
parse(const struct source *from, struct yk_config **ret_config, char *error)
{
    const char *overrides[] = {from->override, from->override2, NULL};
    const struct yk_config_source source = {
        .file = from->text != NULL ? "t.conf" : NULL,
        .text = from->text,
        .size = from->text != NULL ? strlen(from->text) : 0,
        .node = from->node,
        .overrides = overrides,
        .find_plugin = find_plugin,
    };
    *error = '\0';
    return yk_config_parse(&source, ret_config, error);
}

static struct yk_config *
parse_good(const char *text, const char *override)
{
    const struct source source = {.text = text, .override = override};
    struct yk_config *config = NULL;
    char error[YK_ERROR_SIZE];
    enum yk_err err = parse(&source, &config, error);
    g_assert_cmpstr(error, ==, "");
    g_assert_cmpint(err, ==, YK_OK);
    return config;
}

struct error_case {
    struct source source;
    const char *error; /* with its place */
};

static const struct error_case error_cases[] = {
    /* Grammar. */
    {{"workers = 1\n"},
     "t.conf:1: 'workers' stands before the first section: put it below a [section]"},
    {{"\n# c\n\n  nonsense\n"},
     "t.conf:4: 'nonsense' is neither [section] nor key = value nor # comment"},
    {{"[bucket default]\n= 3\n"}, "t.conf:2: there is no key before the '=': write key = value"},
    {{"[bucket default\n"},
     "t.conf:1: '[bucket default' is not a section: write [KIND NAME], and nothing behind the ']' "
     "(comments stand on lines of their own)"},
    {{"[bucket default] # mine\n"},
     "t.conf:1: '[bucket default] # mine' is not a section: write [KIND NAME], and nothing behind "
     "the ']' (comments stand on lines of their own)"},
    {{"[bucket default]\ncopies = 1 # one\n"},
     "t.conf:2: a value followed by ' #': comments stand on lines of their own (for a value with "
     "blank and '#' in it write \\s#)"},
    {{"[bucket default]\ncopies =\t# one\n"},
     "t.conf:2: a value followed by ' #': comments stand on lines of their own (for a value with "
     "blank and '#' in it write \\s#)"},
    {{"[bucket default]\ncopies[de] = 1\n"},
     "t.conf:2: 'copies[de]' is not a key: write key = value, without brackets"},
    {{"[bucket default]\ncopies = 1\n\n[node a]\n[bucket default]\n"},
     "t.conf:5: [bucket default] stands twice, first in line 1: join the two"},
    {{"[bucket default]\ncopies = 1\nslots = 1\ncopies = 1\n"},
     "t.conf:4: 'copies' stands twice in [bucket default], first in line 2: keep one"},
    {{"[bucket default]\n\tcopies = \x01\n"}, "t.conf:2: control byte 0x01: remove it"},
    {{"\xef\xbb\xbf[node a]\n"},
     "t.conf:1: the file begins with a byte order mark: save it without one"},
    {{"[node a]\nzone = \xff\n"}, "t.conf:2: byte 0xff is not UTF-8: save the file as UTF-8"},
    {{"[node a]\ndata = a\\b\n"},
     "t.conf:2: data: 'a\\b' has a bad escape: after a \\ write s, t, n, r or \\"},
    {{"[node a]\ndata = a\\\n"},
     "t.conf:2: data: 'a\\' has a bad escape: after a \\ write s, t, n, r or \\"},
    {{"[cluster]\nEncoding = latin1\n"},
     "t.conf:2: unknown key 'Encoding'; the file is UTF-8: remove it"},
    {{"[cluster]\x0c\n"}, "t.conf:1: control byte 0x0c: remove it"},
    {{"\x0c# c\n"}, "t.conf:1: control byte 0x0c: remove it"},
    {{"[cluster]\r"}, "t.conf:1: control byte 0x0d: remove it"},
    {{"; old\n"}, "t.conf:1: '; old' is neither [section] nor key = value nor # comment"},
    {{"a\rb\n"}, "t.conf:1: control byte 0x0d: remove it"},
    /* Sections and names. */
    {{"[]\n"},
     "t.conf:1: unknown section ''; known: cluster, coordinator, node, bucket, frontend, backend, "
     "filter"},
    {{"[buckets default]\n"}, "t.conf:1: unknown section 'buckets'; did you mean 'bucket'?"},
    {{"[BUCKET default]\n"}, "t.conf:1: unknown section 'BUCKET'; did you mean 'bucket'?"},
    {{"[zebra]\n"},
     "t.conf:1: unknown section 'zebra'; known: cluster, coordinator, node, bucket, frontend, "
     "backend, filter"},
    {{"[bucket]\n"}, "t.conf:1: write [bucket NAME] with one blank between words"},
    {{"[cluster x]\n"}, "t.conf:1: write [cluster] with one blank between words"},
    {{"[bucket a b]\n"}, "t.conf:1: write [bucket NAME] with one blank between words"},
    {{"[bucket  a]\n"}, "t.conf:1: write [bucket NAME] with one blank between words"},
    {{"[frontend memcached 2 3]\n"},
     "t.conf:1: write [frontend NAME] or [frontend NAME INSTANCE] with one blank between words"},
    {{"[frontend memcached \xc3\xa9]\n"},
     "t.conf:1: '\xc3\xa9' is not a name: use a-z, 0-9, _ and -, at most 64 of them"},
    {{"[node A]\n"}, "t.conf:1: 'A' is not a name: use a-z, 0-9, _ and -, at most 64 of them"},
    {{"[node a.b]\n"}, "t.conf:1: 'a.b' is not a name: use a-z, 0-9, _ and -, at most 64 of them"},
    {{"[bucket xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\n"},
     "t.conf:1: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' is not a name: "
     "use a-z, 0-9, _ and -, at most 64 of them"},
    {{""},
     "t.conf:1: there is no bucket: add [bucket default] with backend = memory and durability = "
     "memory"},
    {{"[node a]\n"},
     "t.conf:1: there is no bucket: add [bucket default] with backend = memory and durability = "
     "memory"},
    /* Unknown keys. */
    {{"[cluster]\nnam = x\n"}, "t.conf:2: unknown key 'nam' in [cluster]; did you mean 'name'?"},
    {{GOOD "colour = red\n"},
     "t.conf:3: unknown key 'colour' in [bucket default]; known: backend, filters, copies, "
     "min_copies, durability, reads, ack, memory_max, evict, slots, key_size_max, value_size_max"},
    {{GOOD "Copies = 1\n"},
     "t.conf:3: unknown key 'Copies' in [bucket default]; did you mean 'copies'?"},
    {{GOOD "[node a]\nworker = 1\n"},
     "t.conf:4: unknown key 'worker' in [node a]; did you mean 'workers'?"},
    {{GOOD "[node a]\nx=1\n"},
     "t.conf:4: unknown key 'x' in [node a]; known: roles, address, allow_remote, data, zone, "
     "weight, "
     "workers, lanes, executors, io, scheduling, journal_size, gateway_cache, "
     "max_connections, log_level"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nlistn = x\n"},
     "t.conf:5: unknown key 'listn' in [frontend memcached]; did you mean 'listen'?"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\ngreting = x\n"},
     "t.conf:5: unknown key 'greting' in [frontend memcached]; did you mean 'greeting'?"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nzzz = x\n"},
     "t.conf:5: unknown key 'zzz' in [frontend memcached]; known: listen, bucket, key_prefix, "
     "request_filters, allow_remote, idle_timeout, greeting"},
    {{GOOD "[backend memory]\nmod = fast\n"},
     "t.conf:4: unknown option 'mod' of memory; did you mean 'mode'?"},
    {{GOOD "[filter stats]\nx = 1\n"},
     "t.conf:4: unknown option 'x' of stats; there is none to choose from"},
    {{GOOD "[coordinator local]\nendpoints = x\n"},
     "t.conf:4: unknown option 'endpoints' of local; there is none to choose from"},
    /* Plugins. */
    {{GOOD "backend = memry\n"}, "t.conf:3: unknown plugin 'memry'; did you mean 'memory'?"},
    {{GOOD "backend = readonly\n"}, "t.conf:3: unknown plugin 'readonly'; known: memory, broken"},
    {{GOOD "backend = Memory!\n"},
     "t.conf:3: 'Memory!' is not the name of a plugin: use a-z, 0-9, _ and -, at most 64 of them"},
    {{GOOD "filters = stat\n"}, "t.conf:3: unknown plugin 'stat'; did you mean 'stats'?"},
    {{GOOD "filters = readonly\n"}, "t.conf:3: unknown plugin 'readonly'; known: stats, delay"},
    {{GOOD "filters = stats, stats\n"},
     "t.conf:3: filters = stats, stats names 'stats' twice: keep one"},
    {{GOOD "filters = stats,, delay\n"},
     "t.conf:3: filters: 'stats,, delay' has an empty entry: write a, b, c"},
    {{GOOD "filters = stats 2\n"},
     "t.conf:3: 'stats 2' is not the name of a plugin: use a-z, 0-9, _ and -, at most 64 of them"},
    {{GOOD "[frontend memcache]\n"},
     "t.conf:3: unknown plugin 'memcache'; did you mean 'memcached'?"},
    {{GOOD "[backend rocksdb]\n"}, "t.conf:3: unknown plugin 'rocksdb'; known: memory, broken"},
    {{GOOD "[filter cache]\n"}, "t.conf:3: unknown plugin 'cache'; known: stats, delay"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nrequest_filters = stats\n"},
     "t.conf:5: unknown plugin 'stats'; known: readonly"},
    {{GOOD
      "[frontend memcached]\nlisten = 127.0.0.1:11211\nrequest_filters = readonly, readonly\n"},
     "t.conf:5: request_filters = readonly, readonly names 'readonly' twice: keep one"},
    {{GOOD "[backend broken]\n"},
     "t.conf:3: plugin 'broken' has an option whose default it does not allow: mend the plugin"},
    {{GOOD "[backend memory]\nbuckets = 65\n"},
     "t.conf:4: buckets: '65' is out of range: write 1 to 64"},
    {{GOOD "[filter delay]\nget = 11s\n"},
     "t.conf:4: get: '11s' is out of range: write at most 10s"},
    {{GOOD "[filter delay]\nshare = 101%\n"},
     "t.conf:4: share: '101%' is out of range: write at most 1.0"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nidle_timeout = 5\n"},
     "t.conf:5: idle_timeout: '5' is not a duration: write a number and us, ms, s, m, h or d, such "
     "as 250ms"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\ngreeting = "
           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
           "xxxxxxxxxxxxxx\n"},
     "t.conf:5: greeting: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' has "
     "101 bytes: write at most 100 bytes"},
    /* Cluster and coordinator. */
    {{"[cluster]\nname = My Cluster\n"},
     "t.conf:2: name = My Cluster is not a name: use a-z, 0-9, _ and -"},
    {{"[cluster]\nname =\n"}, "t.conf:2: name: '' has 0 bytes: write 1 to 64 bytes"},
    {{"[cluster]\ncoordinator = quorum\n"},
     "t.conf:2: coordinator = quorum takes 3 or 5 managers, so that more than half of them are "
     "still there when one or two are not; this file has 1"},
    {{"[cluster]\ncoordinator = etcd\n"},
     "t.conf:2: coordinator = etcd is for several nodes; this file has one, which keeps its "
     "registers itself: remove the line, or add nodes"},
    {{"[cluster]\ncoordinator = quorum\n" GOOD TWO_NODES, .node = "a"},
     "t.conf:2: coordinator = quorum takes 3 or 5 managers, so that more than half of them are "
     "still there when one or two are not; this file has 1"},
    {{"[cluster]\nlease = 1s\ngrace = 1020ms\n" GOOD},
     "t.conf:3: grace = 1020ms does not do: grace must be greater than lease by more than 2 %, "
     "such as grace = 1300ms"},
    {{"[cluster]\nlease = 2s\n" GOOD},
     "t.conf:2: lease = 2s does not do: grace must be greater than lease by more than 2 %, such as "
     "grace = 2600ms"},
    {{"[cluster]\ncoordinator = loca\n"}, "t.conf:2: unknown plugin 'loca'; did you mean 'local'?"},
    {{"[coordinator etcd]\nendpoint = http://127.0.0.1:2379\n" GOOD},
     "t.conf:2: unknown option 'endpoint' of etcd; did you mean 'endpoints'?"},
    {{"[cluster]\ncoordinator = etcd\n" GOOD
      "[node a]\naddress = 127.0.0.1:1\n[node b]\naddress = 127.0.0.1:2\n",
      .node = "a"},
     "t.conf:2: none of the 2 nodes is a manager: give the role to one or more"},
    {{"[coordinator zookeeper]\n" GOOD},
     "t.conf:1: unknown plugin 'zookeeper'; known: local, quorum, etcd"},
    /* Node. */
    {{GOOD "[node a]\nroles = server, client\n"},
     "t.conf:4: unknown role 'client'; known: manager, server, gateway"},
    {{GOOD "[node a]\nroles = server, server\n"},
     "t.conf:4: roles = server, server names server twice: keep one"},
    {{GOOD "[node a]\nroles = managers\n"},
     "t.conf:4: unknown role 'managers'; did you mean 'manager'?"},
    {{GOOD "[node a]\naddress = 127.0.0.1\n"},
     "t.conf:4: address: '127.0.0.1' has no port: write IP:PORT, such as 127.0.0.1:11211"},
    {{GOOD "[node a]\naddress = unix:/x\n"},
     "t.conf:4: address = unix:/x is not reached from other nodes: write IP:PORT, such as "
     "127.0.0.1:19800"},
    {{GOOD "[node a]\naddress = example.org:1\n"},
     "t.conf:4: address: 'example.org:1' is not an address: write IP:PORT, [IPv6]:PORT, unix:/path "
     "or systemd:NAME (host names are not looked up, but for localhost)"},
    {{GOOD "[node a]\naddress = 10.0.0.1:19800\n"},
     "t.conf:4: address: other machines can reach '10.0.0.1:19800', and there is no authentication "
     "between nodes; take 127.0.0.1:19800, or allow it in words: allow_remote = yes"},
    {{GOOD "[node a]\naddress = [::]:1\nallow_remote = no\n"},
     "t.conf:4: address: other machines can reach '[::]:1', and there is no authentication between "
     "nodes; take 127.0.0.1:1, or allow it in words: allow_remote = yes"},
    {{GOOD "[node a]\nallow_remote = perhaps\n"},
     "t.conf:4: allow_remote: 'perhaps' is neither yes nor no: write yes, no, true, false, on, "
     "off, "
     "1 or 0"},
    {{GOOD "[node a]\nzone = rack 1\n"},
     "t.conf:4: zone = rack 1 is not a name: use a-z, 0-9, _ and -"},
    {{GOOD "[node a]\nweight = 0\n"}, "t.conf:4: weight: '0' is out of range: write 1 to 1000"},
    {{GOOD "[node a]\nweight = 1001\n"},
     "t.conf:4: weight: '1001' is out of range: write 1 to 1000"},
    {{GOOD "[node a]\nworkers = 0\n"},
     "t.conf:4: workers = 0 is not a number of threads: write auto, or 1 to 64"},
    {{GOOD "[node a]\nworkers = 65\n"},
     "t.conf:4: workers = 65 is not a number of threads: write auto, or 1 to 64"},
    {{GOOD "[node a]\nworkers = many\n"},
     "t.conf:4: workers = many is not a number of threads: write auto, or 1 to 64"},
    {{GOOD "[node a]\nworkers =\n"},
     "t.conf:4: workers =  is not a number of threads: write auto, or 1 to 64"},
    {{GOOD "[node a]\nlanes = 0\n"}, "t.conf:4: lanes: '0' is out of range: write 1 to 256"},
    {{GOOD "[node a]\nlanes = 257\n"}, "t.conf:4: lanes: '257' is out of range: write 1 to 256"},
    {{GOOD "[node a]\nexecutors = -1\n"},
     "t.conf:4: executors: '-1' is not a number: write decimal digits only, such as 16"},
    {{GOOD "[node a]\nexecutors = 257\n"},
     "t.conf:4: executors: '257' is out of range: write at most 256"},
    {{GOOD "[node a]\nio = uring\n"},
     "t.conf:4: io: unknown value 'uring'; did you mean 'io_uring'?"},
    {{GOOD "[node a]\nio = kqueue\n"},
     "t.conf:4: io: unknown value 'kqueue'; known: auto, epoll, io_uring"},
    {{GOOD "[node a]\nmax_connections = 0\n"},
     "t.conf:4: max_connections: '0' is out of range: write 1 to 1000000"},
    {{GOOD "[node a]\nmax_connections = 1000001\n"},
     "t.conf:4: max_connections: '1000001' is out of range: write 1 to 1000000"},
    {{GOOD "[node a]\nlog_level = warn\n"},
     "t.conf:4: log_level: unknown value 'warn'; did you mean 'warning'?"},
    {{GOOD "[node a]\nlog_level = loud\n"},
     "t.conf:4: log_level: unknown value 'loud'; known: error, warning, notice, info, debug"},
    {{GOOD "[node a]\nlog_level =\n"},
     "t.conf:4: log_level: unknown value ''; known: error, warning, notice, info, debug"},
    {{GOOD "[node a]\n[node b]\n"},
     "t.conf:1: the file has several nodes: say which one to run with --node (a, b)"},
    {{GOOD "[node a]\n[node b]\n", .node = "c"}, "t.conf:1: --node: unknown node 'c'; known: a, b"},
    {{GOOD "[node alpha]\n[node beta]\n", .node = "alpa"},
     "t.conf:1: --node: unknown node 'alpa'; did you mean 'alpha'?"},
    {{GOOD, .node = "a"}, "t.conf:1: --node: unknown node 'a'; there is none to choose from"},
    {{NULL, .node = "a"}, "built-in config: --node needs a file: add -c FILE"},
    {{GOOD "[node a]\nroles = manager\naddress = 127.0.0.1:1\n[node b]\nroles = server, manager\n"
           "address = 127.0.0.1:2\n",
      .node = "a"},
     "t.conf:1: coordinator = local takes exactly one manager, and 2 of the 2 nodes are: give the "
     "role manager to one, or to 3 or 5 and leave out coordinator"},
    {{GOOD "[node a]\naddress = 127.0.0.1:1\n[node b]\naddress = 127.0.0.1:2\n", .node = "a"},
     "t.conf:1: coordinator = local takes exactly one manager, and 0 of the 2 nodes are: give the "
     "role manager to one, or to 3 or 5 and leave out coordinator"},
    {{GOOD "[node a]\naddress = 127.0.0.1:1\n[node b]\nlanes = 0\n", .node = "a"},
     "t.conf:6: lanes: '0' is out of range: write 1 to 256"},
    {{GOOD "[node a]\n[node b]\n", .node = "a"},
     "t.conf:3: [node a] has no address, and the file has 2 nodes: give each an address of its "
     "own"},
    {{GOOD "[node b]\naddress = 127.0.0.1:1\n[node a]\naddress = 127.0.0.1:1\n", .node = "a"},
     "t.conf:5: [node a] and [node b] have the same address 127.0.0.1:1: give each node an address "
     "of its own"},
    /* Bucket. */
    {{GOOD "copies = 3\n"},
     "t.conf:3: copies = 3 is more than the servers of this cluster: set copies = 1, or add nodes "
     "with the role server"},
    {{GOOD "copies = 0\n"}, "t.conf:3: copies: '0' is out of range: write 1 to 7"},
    {{GOOD "copies = 8\n"}, "t.conf:3: copies: '8' is out of range: write 1 to 7"},
    {{GOOD "min_copies = 2\n"},
     "t.conf:3: min_copies = 2 is more than copies = 1; set min_copies = 1 or less"},
    {{GOOD "min_copies = 0\n"}, "t.conf:3: min_copies: '0' is out of range: write 1 to 7"},
    {{GOOD "reads = leases\n"}, "t.conf:3: reads: unknown value 'leases'; did you mean 'lease'?"},
    {{GOOD "ack = none\n"}, "t.conf:3: ack: unknown value 'none'; known: all, primary"},
    {{GOOD "memory_max = 12x\n"},
     "t.conf:3: memory_max: '12x' is not a size: write a number with an optional K, M, G or T, "
     "such as 64M"},
    {{GOOD "memory_max = 1g\n"},
     "t.conf:3: memory_max: '1g' is not a size: write a number with an optional K, M, G or T, such "
     "as 64M"},
    {{GOOD "evict = lru\n"}, "t.conf:3: evict: unknown value 'lru'; known: none, s3fifo"},
    {{GOOD "evict = s3fifo\n"},
     "t.conf:3: evict = s3fifo needs a bound to keep to; set memory_max, such as memory_max = 1G"},
    {{GOOD "slots = 0\n"}, "t.conf:3: slots: '0' is out of range: write 1 to 32768"},
    {{GOOD "slots = 1000\n"},
     "t.conf:3: slots = 1000 is not a power of two from 1 to 32768; the nearest are 512 and 1024"},
    {{GOOD "slots = 32767\n"},
     "t.conf:3: slots = 32767 is not a power of two from 1 to 32768; the nearest are 16384 and "
     "32768"},
    {{GOOD "slots = 65537\n"}, "t.conf:3: slots: '65537' is out of range: write 1 to 32768"},
    {{GOOD "key_size_max = 0\n"}, "t.conf:3: key_size_max: '0' is out of range: write 1 to 65531"},
    {{GOOD "key_size_max = 64K\n"},
     "t.conf:3: key_size_max: '64K' is out of range: write 1 to 65531"},
    {{GOOD "value_size_max = 0\n"}, "t.conf:3: value_size_max: '0' is out of range: write 1 to 1G"},
    {{GOOD "value_size_max = 1025M\n"},
     "t.conf:3: value_size_max: '1025M' is out of range: write 1 to 1G"},
    {{GOOD "value_size_max = 99999999999999999999\n"},
     "t.conf:3: value_size_max: '99999999999999999999' is out of range: write 1 to 1G"},
    {{"[bucket default]\ndurability = disc\n"},
     "t.conf:2: durability: unknown value 'disc'; did you mean 'disk'?"},
    /* Frontend. */
    {{GOOD "[frontend memcached]\n"},
     "t.conf:3: [frontend memcached] has no address to listen on: add listen = 127.0.0.1:11211"},
    {{GOOD "[frontend memcached]\nlisten =\n"},
     "t.conf:4: [frontend memcached] has no address to listen on: add listen = 127.0.0.1:11211"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1\n"},
     "t.conf:4: listen: '127.0.0.1' has no port: write IP:PORT, such as 127.0.0.1:11211"},
    {{GOOD "[frontend memcached]\nlisten = :11211\n"},
     "t.conf:4: listen: other machines can reach ':11211', and there is no authentication; listen "
     "on 127.0.0.1:11211, or allow it in words: allow_remote = yes"},
    {{GOOD "[frontend memcached]\nlisten = 192.168.0.1:11211, [::]:11211\n"},
     "t.conf:4: listen: other machines can reach '192.168.0.1:11211', and there is no "
     "authentication; listen on 127.0.0.1:11211, or allow it in words: allow_remote = yes"},
    {{GOOD "[frontend memcached]\nlisten = [::]:11211\n"},
     "t.conf:4: listen: other machines can reach '[::]:11211', and there is no authentication; "
     "listen on 127.0.0.1:11211, or allow it in words: allow_remote = yes"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nkey_prefix = a b\n"},
     "t.conf:5: key_prefix = a b has a blank or a control character, which no key has"},
    {{GOOD "key_size_max = 3\n[frontend memcached]\nlisten = 127.0.0.1:11211\n"
           "key_prefix = abc\n"},
     "t.conf:6: key_prefix = abc leaves no room for a key: [bucket default] has "
     "key_size_max = 3"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nallow_remote = maybe\n"},
     "t.conf:5: allow_remote: 'maybe' is neither yes nor no: write yes, no, true, false, on, off, "
     "1 or 0"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\n[frontend memcached 2]\nlisten = "
           "localhost:11211\n"},
     "t.conf:6: listen: 'localhost:11211' is taken by '127.0.0.1:11211' of [frontend memcached]: "
     "use another port"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:1, 127.0.0.1:1\n"},
     "t.conf:4: listen: '127.0.0.1:1' is taken by '127.0.0.1:1' of [frontend memcached]: use "
     "another port"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\n[frontend http]\nallow_remote = "
           "yes\nlisten = *:11211\n"},
     "t.conf:7: listen: '*:11211' is taken by '127.0.0.1:11211' of [frontend memcached]: use "
     "another port"},
    {{GOOD "[frontend memcached]\nlisten = unix:/a\n[frontend http]\nlisten = unix:/a?mode=0660\n"},
     "t.conf:6: listen: 'unix:/a?mode=0660' is taken by 'unix:/a' of [frontend memcached]: use "
     "another port"},
    {{GOOD "[frontend memcached]\nlisten = systemd:a\n[frontend http]\nlisten = systemd:a\n"},
     "t.conf:6: listen: 'systemd:a' is taken by 'systemd:a' of [frontend memcached]: use another "
     "port"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nbucket = defalt\n"},
     "t.conf:5: unknown bucket 'defalt'; did you mean 'default'?"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\nbucket = other\n"},
     "t.conf:5: unknown bucket 'other'; known: default"},
    {{"[bucket a]\ndurability = memory\n[bucket b]\ndurability = memory\n[frontend "
      "memcached]\nlisten = 127.0.0.1:11211\n"},
     "t.conf:5: bucket is not given, there are 2 and none is named default: add bucket = a, or "
     "another"},
    /* Overrides of a node. */
    {{GOOD "[node a]\nfrontend.memcached.listen = 127.0.0.1:1\n"},
     "t.conf:4: unknown frontend 'memcached'; there is none to choose from (an override makes "
     "none: add [frontend NAME] to the file)"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\n[node a]\nfrontend.memcache.listen = "
           "127.0.0.1:1\n"},
     "t.conf:6: unknown frontend 'memcache'; did you mean 'memcached'? (an override makes none: "
     "add [frontend NAME] to the file)"},
    {{GOOD "[frontend memcached]\nlisten = 127.0.0.1:11211\n[node a]\nfrontend.memcached.lsten = "
           "127.0.0.1:1\n"},
     "t.conf:6: unknown key 'lsten' in [frontend memcached]; did you mean 'listen'?"},
    {{GOOD "[node a]\nbucket.default = 1\n"},
     "t.conf:4: 'bucket.default' is not the way to a key: write bucket.NAME.KEY"},
    {{GOOD "[node a]\nbuckt.default.copies = 1\n"},
     "t.conf:4: unknown section 'buckt'; did you mean 'bucket'?"},
    {{GOOD "[node a]\nnode.b.zone = x\n"},
     "t.conf:4: 'node.b.zone' is not the way to a key: write node.KEY"},
    {{GOOD "[node a]\nnode.zone = x\n"},
     "t.conf:4: a node overrides bucket, frontend, backend and filter only: write this key in its "
     "own section"},
    {{GOOD "[node a]\ncluster.name = x\n"},
     "t.conf:4: a node overrides bucket, frontend, backend and filter only: write this key in its "
     "own section"},
    {{GOOD "[node a]\nbucket.default.copies = 3\n"},
     "t.conf:4: copies = 3 is more than the servers of this cluster: set copies = 1, or add nodes "
     "with the role server"},
    {{GOOD "[node a]\nbackend.rocks.x = 1\n"},
     "t.conf:4: unknown plugin 'rocks'; known: memory, broken"},
    {{GOOD "[node a]\nfilter.delay.get = x\n"},
     "t.conf:4: get: 'x' is not a duration: write a number and us, ms, s, m, h or d, such as "
     "250ms"},
    {{GOOD "[node a]\nbucket.De.copies = 1\n"},
     "t.conf:4: 'De' is not a name: use a-z, 0-9, _ and -, at most 64 of them"},
    {{GOOD "[node a]\nbucket.default. = 1\n"},
     "t.conf:4: 'bucket.default.' is not the way to a key: write bucket.NAME.KEY"},
    {{GOOD "[node a]\nbackend.memory.mode = fast\nbackend.memory.mode = slow\n"},
     "t.conf:5: 'backend.memory.mode' stands twice in [node a], first in line 4: keep one"},
    /* Overrides of the command line. */
    {{GOOD, .override = ""},
     "-o : there is no '=': write -o section.key=value, such as -o bucket.default.memory_max=64M"},
    {{GOOD, .override = "workers"},
     "-o workers: there is no '=': write -o section.key=value, such as -o "
     "bucket.default.memory_max=64M"},
    {{GOOD, .override = "node.workers"},
     "-o node.workers: there is no '=': write -o section.key=value, such as -o "
     "bucket.default.memory_max=64M"},
    {{GOOD, .override = "node.workers=0"},
     "-o node.workers=0: workers = 0 is not a number of threads: write auto, or 1 to 64"},
    {{GOOD, .override = "node.a.workers=2"},
     "-o node.a.workers=2: 'node.a.workers' is not the way to a key: write node.KEY"},
    {{GOOD, .override = "nod.workers=2"},
     "-o nod.workers=2: unknown section 'nod'; did you mean 'node'?"},
    {{GOOD, .override = "bucket.default.copies=2"},
     "-o bucket.default.copies=2: copies = 2 is more than the servers of this cluster: set copies "
     "= "
     "1, or add nodes with the role server"},
    {{GOOD, .override = "bucket.default=2"},
     "-o bucket.default=2: 'bucket.default' is not the way to a key: write bucket.NAME.KEY"},
    {{GOOD, .override = "bucket.x.copies=1"},
     "-o bucket.x.copies=1: unknown bucket 'x'; known: default (an override makes none: add "
     "[bucket NAME] to the file)"},
    {{GOOD, .override = "bucket.defaults.copies=1"},
     "-o bucket.defaults.copies=1: unknown bucket 'defaults'; did you mean 'default'? (an override "
     "makes none: add [bucket NAME] to the file)"},
    {{GOOD, .override = "frontend.memcached.listen=127.0.0.1:1"},
     "-o frontend.memcached.listen=127.0.0.1:1: unknown frontend 'memcached'; there is none to "
     "choose from (an override makes none: add [frontend NAME] to the file)"},
    {{GOOD, .override = "cluster.name="},
     "-o cluster.name=: name: '' has 0 bytes: write 1 to 64 bytes"},
    {{GOOD, .override = "cluster.x.name=a"},
     "-o cluster.x.name=a: 'cluster.x.name' is not the way to a key: write cluster.KEY"},
    {{GOOD, .override = "cluster.nme=a"},
     "-o cluster.nme=a: unknown key 'nme' in [cluster]; did you mean 'name'?"},
    {{GOOD, .override = "coordinator.local.x=1"},
     "-o coordinator.local.x=1: unknown option 'x' of local; there is none to choose from"},
    {{GOOD, .override = "coordinator.quorum.timeout=fast"},
     "-o coordinator.quorum.timeout=fast: timeout: 'fast' is not a duration: write a number and "
     "us, ms, s, m, h or d, such as 250ms"},
    {{GOOD, .override = "backend.memory.mode=fas"},
     "-o backend.memory.mode=fas: mode: unknown value 'fas'; did you mean 'fast'?"},
    {{GOOD, .override = "backend.memroy.mode=fast"},
     "-o backend.memroy.mode=fast: unknown plugin 'memroy'; did you mean 'memory'?"},
    {{GOOD, .override = "filter.delay.get=x"},
     "-o filter.delay.get=x: get: 'x' is not a duration: write a number and us, ms, s, m, h or d, "
     "such as 250ms"},
    {{GOOD, .override = "node.zone=a\nb"}, "-o node.zone=a?b: control byte 0x0a: remove it"},
    {{GOOD, .override = "node.zone=\xff"}, "-o node.zone=\xef\xbf\xbd: this is not UTF-8"},
    {{GOOD, .override = ".="},
     "-o .=: unknown section ''; known: cluster, coordinator, node, bucket, frontend, backend, "
     "filter"},
    {{GOOD, .override = "="},
     "-o =: unknown section ''; known: cluster, coordinator, node, bucket, frontend, backend, "
     "filter"},
    {{GOOD, .override = "node.=1"}, "-o node.=1: 'node.' is not the way to a key: write node.KEY"},
    {{GOOD, .override = "bucket.default.x.y=1"},
     "-o bucket.default.x.y=1: unknown key 'x.y' in [bucket default]; known: backend, filters, "
     "copies, min_copies, durability, reads, ack, memory_max, evict, slots, key_size_max, "
     "value_size_max"},
    {{GOOD, .override =
                "node.zone="
                "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
                "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
                "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
                "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"},
     "-o "
     "node.zone="
     "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
     "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz...: zone: "
     "'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz...' has 300 bytes: write at "
     "most 64 bytes"},
    {{NULL, .override = "frontend.http.bucket=default"},
     "-o frontend.http.bucket=default: [frontend http] has no address to listen on: add listen = "
     "127.0.0.1:11211"},
    {{NULL, .override = "frontend.gopher.listen=127.0.0.1:70"},
     "-o frontend.gopher.listen=127.0.0.1:70: unknown plugin 'gopher'; known: memcached, http"},
    {{NULL, .override = "frontend.memcached 2.listen=127.0.0.1:11211"},
     "-o frontend.memcached 2.listen=127.0.0.1:11211: listen: '127.0.0.1:11211' is taken by "
     "'127.0.0.1:11211' of [frontend memcached]: use another port"},
    {{NULL, .override = "backend.memory.mode=x"},
     "-o backend.memory.mode=x: mode: unknown value 'x'; known: slow, fast"},
    {{NULL, .override = "node.workers=2", .override2 = "node.workers=x"},
     "-o node.workers=x: workers = x is not a number of threads: write auto, or 1 to 64"},
};

static void
test_errors(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(error_cases); i++) {
        struct yk_config *config = NULL;
        char error[YK_ERROR_SIZE];
        enum yk_err err = parse(&error_cases[i].source, &config, error);
        g_assert_cmpint(err, !=, YK_OK);
        g_assert_null(config);
        g_assert_cmpstr(error, ==, error_cases[i].error);
        yk_config_free(config);
    }
}

static void
fails_with(const char *text, size_t size, const char *expected)
{
    const struct yk_config_source source = {
        .file = "t.conf", .text = text, .size = size, .find_plugin = find_plugin};
    struct yk_config *config = NULL;
    char error[YK_ERROR_SIZE] = "";
    g_assert_cmpint(yk_config_parse(&source, &config, error), !=, YK_OK);
    g_assert_cmpstr(error, ==, expected);
    yk_config_free(config);
}

/* Every bound is reached: one less passes, one more is refused. */
static void
test_limits(void)
{
    g_autoptr(GString) text = g_string_new(GOOD "#");
    while (text->len < YK_CONFIG_SIZE_MAX) {
        g_string_append_c(text, 'x');
    }
    yk_config_free(parse_good(text->str, NULL));
    g_string_append_c(text, '\n');
    fails_with(
        text->str, text->len,
        "t.conf:1: the file has 1048577 bytes, more than the 1048576 that are read: split it");
    static const char with_nul[] = "[node a]\nzone\0 = x\n";
    fails_with(with_nul, sizeof(with_nul) - 1, "t.conf:2: a NUL byte: this is not a text file");

    g_string_assign(text, "");
    for (uint32_t i = 0; i < YK_BUCKETS_MAX; i++) {
        g_string_append_printf(text, "[bucket b%u]\ndurability = memory\n", i);
    }
    yk_config_free(parse_good(text->str, NULL));
    g_string_append(text, "[bucket z]\ndurability = memory\n");
    fails_with(text->str, text->len,
               "t.conf:129: [bucket z] is more than the 64 buckets that a node takes: remove some");

    g_string_assign(text, GOOD);
    for (uint32_t i = 0; i < YK_LISTENERS_MAX; i++) {
        g_string_append_printf(text, "[frontend memcached %u]\nlisten = 127.0.0.1:%u\n", i, i + 1);
    }
    yk_config_free(parse_good(text->str, NULL));
    g_autofree char *more = g_strconcat(text->str, "[frontend http]\n", NULL);
    fails_with(
        more, strlen(more),
        "t.conf:131: [frontend http] is more than the 64 frontends that a node takes: remove some");
    g_string_replace(text, ":64\n", ":64, 127.0.0.1:65\n", 0);
    fails_with(text->str, text->len,
               "t.conf:130: listen: more than the 64 listeners that a node takes: remove some");

    g_string_assign(text, GOOD);
    for (uint32_t i = 0; i < YK_CONFIG_SECTIONS_MAX; i++) {
        g_string_append_printf(text, "[node n%u]\n", i);
    }
    fails_with(text->str, text->len, "t.conf:4098: more than 4096 sections: split the file");
}

static void
test_long_file_name(void)
{
    g_autofree char *file = g_strnfill(5000, 'd');
    const struct yk_config_source source = {
        .file = file, .text = "x", .size = 1, .find_plugin = find_plugin};
    struct yk_config *config = NULL;
    char error[YK_ERROR_SIZE] = "";
    g_assert_cmpint(yk_config_parse(&source, &config, error), ==, YK_ESYNTAX);
    g_assert_true(
        g_str_has_suffix(error, "ddd:1: 'x' is neither [section] nor key = value nor # comment"));
}

static void
test_built_in(void)
{
    struct yk_config *config = parse_good(NULL, NULL);
    g_assert_null(config->file);
    g_assert_cmpstr(config->cluster_name, ==, "yakumo");
    g_assert_cmpstr(config->coordinator->plugin->name, ==, "local");
    const struct yk_node_config *node = &config->node;
    g_assert_cmpstr(node->name, ==, "node");
    g_assert_cmpuint(node->roles, ==, YK_ROLE_MANAGER | YK_ROLE_SERVER | YK_ROLE_GATEWAY);
    g_assert_cmpstr(node->address, ==, "127.0.0.1:19800");
    g_assert_false(node->allow_remote);
    g_assert_cmpuint(config->n_nodes, ==, 1);
    g_assert_cmpstr(config->nodes[0].name, ==, "node");
    g_assert_null(node->data);
    g_assert_cmpstr(node->zone, ==, "");
    g_assert_cmpuint(node->weight, ==, 1);
    g_assert_cmpuint(node->workers, ==, 0);
    g_assert_cmpuint(node->lanes, ==, 16);
    g_assert_cmpuint(node->executors, ==, 0);
    g_assert_cmpint(node->io, ==, YK_IO_AUTO);
    g_assert_cmpuint(node->connections_max, ==, 1024);
    g_assert_cmpint(node->log_level, ==, YK_LOG_NOTICE);
    g_assert_cmpuint(config->n_buckets, ==, 1);
    const struct yk_bucket_config *bucket = &config->buckets[0];
    g_assert_cmpstr(bucket->name, ==, "default");
    g_assert_cmpstr(bucket->backend->plugin->name, ==, "memory");
    g_assert_cmpuint(bucket->n_filters, ==, 0);
    g_assert_cmpuint(bucket->copies, ==, 1);
    g_assert_cmpuint(bucket->min_copies, ==, 1);
    g_assert_cmpint(bucket->durability, ==, YK_DURABILITY_MEMORY);
    g_assert_cmpint(bucket->evict, ==, YK_EVICT_S3FIFO);
    g_assert_cmpuint(bucket->memory_max, ==, YK_GIB);
    g_assert_cmpuint(bucket->slots, ==, 1024);
    g_assert_cmpuint(bucket->key_size_max, ==, 250);
    g_assert_cmpuint(bucket->value_size_max, ==, YK_MIB);
    g_assert_cmpuint(bucket->line, ==, 0);
    g_assert_cmpuint(config->n_frontends, ==, 1);
    g_assert_cmpstr(config->frontends[0].name, ==, "memcached");
    g_assert_cmpuint(config->frontends[0].n_listen, ==, 1);
    g_assert_cmpstr(config->frontends[0].listen[0], ==, "127.0.0.1:11211");
    g_assert_cmpuint(config->frontends[0].bucket_index, ==, 0);
    g_assert_false(config->frontends[0].allow_remote);
    g_assert_cmpuint(config->frontends[0].line, ==, 0);
    yk_config_free(config);
    yk_config_free(NULL);
}

static const char full_text[] = "# a comment\r\n"
                                "[cluster]\r\n"
                                "name=demo\r\n"
                                "\r\n"
                                "[coordinator local]\n"
                                "[frontend memcached]\n"
                                "listen = 127.0.0.1:11211, unix:/run/y\\s#1?mode=0660\n"
                                "bucket = cache\n"
                                "key_prefix = shop:\n"
                                "request_filters = readonly\n"
                                "idle_timeout = 60s\n"
                                "greeting = \\s# hello \\\\ \\n\\tyou\n"
                                "[frontend memcached 2]\n"
                                "  listen   =   *:11212   \n"
                                "allow_remote = on\n"
                                "[bucket default]\n"
                                "backend = memory\n"
                                "filters = stats,delay\n"
                                "durability = memory\n"
                                "memory_max = 65536K\n"
                                "evict = s3fifo\n"
                                "slots = 64\n"
                                "key_size_max = 1K\n"
                                "value_size_max = 1G\n"
                                "[bucket cache]\n"
                                "durability = memory\n"
                                "copies = 1\n"
                                "min_copies = 1\n"
                                "reads = lease\n"
                                "ack = all\n"
                                "[backend memory]\n"
                                "buckets = 16\n"
                                "[filter delay]\n"
                                "get = 2000us\n"
                                "share = 12.5%\n"
                                "only = a, #b\n"
                                "[node a]\n"
                                "roles = gateway, server\n"
                                "address = [::1]:19800\n"
                                "data = /var/lib/yakumo/a\n"
                                "zone = rack1\n"
                                "weight = 3\n"
                                "workers = 2\n"
                                "lanes = 256\n"
                                "executors = 64\n"
                                "io = epoll\n"
                                "max_connections = 7\n"
                                "log_level = debug\n"
                                "frontend.memcached 2.listen = 127.0.0.1:11213\n"
                                "bucket.cache.memory_max = 1M\n"
                                "backend.memory.mode = slow\n"
                                "filter.delay.get = 3ms";

/* The text without the line that would be an error: a '#' behind a blank. */
static char *
full_text_good(void)
{
    g_autoptr(GString) text = g_string_new(full_text);
    g_string_replace(text, "only = a, #b", "only = a,\\s#b", 0);
    return g_strdup(text->str);
}

static const char full_dump[] = "[cluster]\n"
                                "name = demo\n"
                                "coordinator = local\n"
                                "lease = 1s\n"
                                "grace = 1300ms\n"
                                "\n"
                                "[node a]\n"
                                "roles = server, gateway\n"
                                "address = [::1]:19800\n"
                                "allow_remote = no\n"
                                "data = /var/lib/yakumo/a\n"
                                "zone = rack1\n"
                                "weight = 3\n"
                                "workers = 2\n"
                                "lanes = 256\n"
                                "executors = 64\n"
                                "io = epoll\n"
                                "scheduling = batch\n"
                                "journal_size = 256M\n"
                                "gateway_cache = 0\n"
                                "max_connections = 7\n"
                                "log_level = debug\n"
                                "\n"
                                "[bucket cache]\n"
                                "backend = memory\n"
                                "filters =\n"
                                "copies = 1\n"
                                "min_copies = 1\n"
                                "durability = memory\n"
                                "reads = lease\n"
                                "ack = all\n"
                                "memory_max = 1M\n"
                                "evict = none\n"
                                "slots = 1024\n"
                                "key_size_max = 250\n"
                                "value_size_max = 1M\n"
                                "\n"
                                "[bucket default]\n"
                                "backend = memory\n"
                                "filters = stats, delay\n"
                                "copies = 1\n"
                                "min_copies = 1\n"
                                "durability = memory\n"
                                "reads = lease\n"
                                "ack = all\n"
                                "memory_max = 64M\n"
                                "evict = s3fifo\n"
                                "slots = 64\n"
                                "key_size_max = 1K\n"
                                "value_size_max = 1G\n"
                                "\n"
                                "[frontend memcached]\n"
                                "listen = 127.0.0.1:11211, unix:/run/y\\s#1?mode=0660\n"
                                "bucket = cache\n"
                                "key_prefix = shop:\n"
                                "request_filters = readonly\n"
                                "allow_remote = no\n"
                                "idle_timeout = 1m\n"
                                "greeting = \\s# hello \\\\ \\n\\tyou\n"
                                "\n"
                                "[frontend memcached 2]\n"
                                "listen = 127.0.0.1:11213\n"
                                "bucket = default\n"
                                "key_prefix =\n"
                                "request_filters =\n"
                                "allow_remote = yes\n"
                                "idle_timeout = 0\n"
                                "greeting =\n"
                                "\n"
                                "[backend memory]\n"
                                "buckets = 16\n"
                                "mode = slow\n"
                                "\n"
                                "[filter delay]\n"
                                "get = 3ms\n"
                                "share = 0.125\n"
                                "only = a,\\s#b\n";

static void
test_full(void)
{
    g_autofree char *text = full_text_good();
    struct yk_config *config = parse_good(text, NULL);
    g_assert_cmpstr(config->file, ==, "t.conf");
    g_assert_cmpuint(config->node.line, ==, 37);
    g_assert_cmpuint(config->node.roles, ==, YK_ROLE_SERVER | YK_ROLE_GATEWAY);
    g_assert_cmpuint(config->node.workers, ==, 2);
    g_assert_cmpint(config->node.log_level, ==, YK_LOG_DEBUG);
    g_assert_cmpuint(config->n_buckets, ==, 2);
    g_assert_cmpstr(config->buckets[0].name, ==, "cache");
    g_assert_cmpuint(config->buckets[0].line, ==, 25);
    g_assert_cmpuint(config->buckets[1].n_filters, ==, 2);
    g_assert_cmpstr(config->buckets[1].filters[0]->name, ==, "stats");
    g_assert_cmpstr(config->buckets[1].filters[1]->name, ==, "delay");
    g_assert_cmpuint(config->buckets[1].filters[1]->values[0].value.number, ==, 3000);
    g_assert_cmpuint(config->n_frontends, ==, 2);
    g_assert_cmpstr(config->frontends[0].settings->values[1].value.text, ==, "# hello \\ \n\tyou");
    g_assert_cmpstr(config->frontends[0].listen[1], ==, "unix:/run/y #1?mode=0660");
    g_assert_cmpuint(config->frontends[0].n_request_filters, ==, 1);
    g_assert_cmpstr(config->frontends[1].name, ==, "memcached 2");
    g_assert_cmpstr(config->frontends[1].settings->plugin->name, ==, "memcached");
    g_assert_cmpuint(config->frontends[1].bucket_index, ==, 1);
    g_assert_true(config->frontends[1].allow_remote);
    yk_config_free(config);
    fails_with(
        full_text, sizeof(full_text) - 1,
        "t.conf:36: a value followed by ' #': comments stand on lines of their own (for a value "
        "with blank and '#' in it write \\s#)");
}

static void
test_dump(void)
{
    g_autofree char *text = full_text_good();
    struct yk_config *config = parse_good(text, NULL);
    g_autofree char *dump = yk_config_dump(config);
    g_assert_cmpstr(dump, ==, full_dump);
    yk_config_free(config);
    const char *const sources[] = {dump, NULL, GOOD};
    for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
        char error[YK_ERROR_SIZE] = "";
        struct yk_config *first = parse_good(sources[i], "node.data=#x # y ");
        g_autofree char *first_dump = yk_config_dump(first);
        struct yk_config *second = parse_good(first_dump, NULL);
        g_autofree char *second_dump = yk_config_dump(second);
        g_assert_cmpstr(second->node.data, ==, "#x # y");
        g_assert_cmpstr(first_dump, ==, second_dump);
        g_assert_cmpint(yk_config_check_reload(first, second, error), ==, YK_OK);
        yk_config_free(first);
        yk_config_free(second);
    }
}

/* The dump of a source has this line. */
static void
dump_has(struct source source, const char *line)
{
    struct yk_config *config = NULL;
    char error[YK_ERROR_SIZE];
    g_assert_cmpint(parse(&source, &config, error), ==, YK_OK);
    g_assert_cmpstr(error, ==, "");
    g_autofree char *dump = yk_config_dump(config);
    g_autofree char *whole_line = g_strdup_printf("\n%s\n", line);
    if (strstr(dump, whole_line) == NULL) {
        g_test_message("no line '%s' in:\n%s", line, dump);
        g_test_fail();
    }
    yk_config_free(config);
}

static const char cluster_text[] = "[cluster]\n"
                                   "lease = 500ms\n"
                                   "grace = 700ms\n"
                                   "[bucket default]\n"
                                   "durability = os\n"
                                   "[bucket one]\n"
                                   "copies = 1\n"
                                   "durability = memory\n"
                                   "[node c]\n"
                                   "roles = manager\n"
                                   "address = 127.0.0.1:3\n"
                                   "zone = rack3\n"
                                   "[node a]\n"
                                   "roles = manager, server, gateway\n"
                                   "address = 127.0.0.1:1\n"
                                   "weight = 2\n"
                                   "[node b]\n"
                                   "roles = manager, server\n"
                                   "address = 10.0.0.2:2\n"
                                   "allow_remote = yes\n"
                                   "data = /b\n";

/* Several nodes: the table of all, what follows from how many there are, and the dump of one. */
static void
test_cluster(void)
{
    char error[YK_ERROR_SIZE] = "";
    struct yk_config *config = NULL, *again = NULL;
    const struct source source = {cluster_text, .node = "b"};
    g_assert_cmpint(parse(&source, &config, error), ==, YK_OK);
    g_assert_cmpstr(error, ==, "");
    g_assert_cmpstr(config->coordinator->plugin->name, ==, "quorum");
    g_assert_cmpuint(config->lease_us, ==, 500000);
    g_assert_cmpuint(config->grace_us, ==, 700000);
    g_assert_cmpuint(config->n_nodes, ==, 3);
    g_assert_cmpuint(config->n_managers, ==, 3);
    g_assert_cmpuint(config->n_servers, ==, 2);
    g_assert_cmpstr(config->node.name, ==, "b");
    g_assert_cmpstr(config->nodes[0].name, ==, "a");
    g_assert_cmpuint(config->nodes[0].weight, ==, 2);
    g_assert_cmpstr(config->nodes[1].data, ==, "/b");
    g_assert_cmpstr(config->nodes[2].zone, ==, "rack3");
    g_assert_cmpuint(config->nodes[2].roles, ==, YK_ROLE_MANAGER);
    g_assert_cmpuint(config->buckets[0].copies, ==, 2);
    g_assert_cmpuint(config->buckets[0].min_copies, ==, 2);
    g_assert_cmpuint(config->buckets[1].copies, ==, 1);
    g_autofree char *dump = yk_config_dump(config);
    const struct source dumped = {dump, .node = "b"};
    g_assert_cmpint(parse(&dumped, &again, error), ==, YK_OK);
    g_autofree char *second_dump = yk_config_dump(again);
    g_assert_cmpstr(dump, ==, second_dump);
    g_assert_cmpint(yk_config_check_reload(config, again, error), ==, YK_OK);
    yk_config_free(config);
    yk_config_free(again);
}

/* Section, then node, then command line; later ones win. */
static void
test_layers(void)
{
    static const char text[] = GOOD "memory_max = 1M\n"
                                    "[node a]\n"
                                    "address = 127.0.0.1:1\n"
                                    "roles = manager\n"
                                    "bucket.default.memory_max = 2M\n"
                                    "[node b]\n"
                                    "address = 127.0.0.1:2\n"
                                    "[node c]\n"
                                    "address = 127.0.0.1:3\n"
                                    "backend.memory.mode = slow\n";
    static const struct {
        struct source source;
        const char *line;
    } cases[] = {
        {{text, .node = "a"}, "memory_max = 2M"},
        {{text, .node = "b"}, "memory_max = 1M"},
        {{text, .node = "c"}, "mode = slow"},
        {{text, .node = "b"}, "mode = fast"},
        {{text, .node = "b"}, "roles = server, gateway"},
        {{text, .node = "a", .override = "bucket.default.memory_max=3M"}, "memory_max = 3M"},
        {{text, .node = "b", .override = "bucket.default.memory_max = 3M"}, "memory_max = 3M"},
        {{text, .node = "b", .override = "node.zone=z"}, "zone = z"},
        {{text, .node = "c", .override = "backend.memory.mode=fast"}, "mode = fast"},
        {{GOOD, .override = "node.zone=a", .override2 = "node.zone=b"}, "zone = b"},
        {{GOOD}, "roles = manager, server, gateway"},
        {{GOOD "[node a]\n"}, "roles = manager, server, gateway"},
        {{GOOD "[node a]\nroles =\ndata =\n"}, "roles = manager, server, gateway"},
        {{GOOD "[node a]\nworkers = 64\n"}, "workers = 64"},
        {{GOOD "[node a]\nworkers = auto\n"}, "workers = auto"},
        {{GOOD, .override = "cluster.name=x"}, "name = x"},
        {{GOOD, .override = "node.data=/a=b.c"}, "data = /a=b.c"},
        {{GOOD, .override = "backend.memory.buckets=9"}, "buckets = 9"},
        {{NULL, .override = "node.workers=2"}, "workers = 2"},
        {{NULL, .override = "bucket.default.memory_max=64M"}, "memory_max = 64M"},
        {{NULL, .override = "frontend.memcached.listen=127.0.0.1:11212"},
         "listen = 127.0.0.1:11212"},
        {{NULL, .override = "frontend.memcached 2.listen=127.0.0.1:11212"},
         "[frontend memcached 2]"},
        {{NULL, .override = "frontend.http.listen=127.0.0.1:8080"}, "[frontend http]"},
        {{NULL, .override = "bucket.cache.durability=memory"}, "[bucket cache]"},
        {{"[bucket only]\ndurability=memory\n[frontend http]\nlisten=:80\nallow_remote=yes\n"},
         "bucket = only"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        dump_has(cases[i].source, cases[i].line);
    }
}

static void
test_reload(void)
{
    static const char base[] = GOOD "[frontend memcached]\nlisten = 127.0.0.1:1\n";
    static const char moved[] = "[frontend memcached]\nlisten = 127.0.0.1:1\n" GOOD;
    static const struct {
        const char *text, *override, *error;
    } cases[] = {
        {base, NULL, ""},
        {moved, NULL, ""},
        {base, "node.log_level=debug", ""},
        {base, "frontend.memcached.idle_timeout=5s", ""},
        {base, "bucket.default.memory_max=0", ""},
        {base, "node.workers=2",
         "t.conf:1: [node node] workers cannot change from 'auto' to '2' while the node runs: "
         "restart "
         "it, or take this change back; the old config stays"},
        {base, "cluster.name=x",
         "t.conf: [cluster] name cannot change from 'yakumo' to 'x' while the node runs: restart "
         "it, or "
         "take this change back; the old config stays"},
        {base, "bucket.default.memory_max=64M",
         "t.conf:1: [bucket default] memory_max cannot change from '0' to '64M' while the node "
         "runs: "
         "restart it, or take this change back; the old config stays"},
        {base, "bucket.default.filters=delay",
         "t.conf:1: [bucket default] filters cannot change from '' to 'delay' while the node runs: "
         "restart it, or take this change back; the old config stays"},
        {base, "backend.memory.buckets=9",
         "t.conf: [backend memory] buckets cannot change from '8' to '9' while the node runs: "
         "restart "
         "it, or take this change back; the old config stays"},
        {base, "frontend.memcached.greeting=hello",
         "t.conf:3: [frontend memcached] greeting cannot change from '' to 'hello' while the node "
         "runs: "
         "restart it, or take this change back; the old config stays"},
        {GOOD, NULL,
         "t.conf: [frontend memcached] cannot be removed while the node runs: restart it, or take "
         "this "
         "change back; the old config stays"},
        {GOOD "[frontend http]\nlisten = 127.0.0.1:2\n[frontend memcached]\nlisten = 127.0.0.1:1\n",
         NULL,
         "t.conf:3: [frontend http] cannot be added while the node runs: restart it, or take this "
         "change "
         "back; the old config stays"},
        {"[bucket a]\ndurability=memory\n[frontend memcached]\nlisten = 127.0.0.1:1\n", NULL,
         "t.conf:1: [bucket a] cannot be added while the node runs: restart it, or take this "
         "change "
         "back; the old config stays"},
        {GOOD "[node b]\n[frontend memcached]\nlisten = 127.0.0.1:1\n", NULL,
         "t.conf:3: [node b] cannot be added while the node runs: restart it, or take this change "
         "back; "
         "the old config stays"},
    };
    struct yk_config *now = parse_good(base, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char error[YK_ERROR_SIZE] = "";
        struct yk_config *next = parse_good(cases[i].text, cases[i].override);
        enum yk_err err = yk_config_check_reload(now, next, error);
        g_assert_cmpstr(error, ==, cases[i].error);
        g_assert_cmpint(err == YK_OK, ==, *cases[i].error == '\0');
        yk_config_free(next);
    }
    yk_config_free(now);
}

/* An address as text again, for comparison. */
static char *
address_print(const struct yk_address *address)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint32_t n_bytes = address->kind == YK_ADDRESS_INET    ? 4
                       : address->kind == YK_ADDRESS_INET6 ? 16
                                                           : 0;
    for (uint32_t i = 0; i < n_bytes; i++) {
        g_string_append_printf(text, "%02x", address->bytes[i]);
    }
    g_string_append_printf(text, "%s %u %o%s", address->path, address->port, address->mode,
                           address->is_loopback ? " loopback" : "");
    return g_strdup(text->str);
}

static void
test_addresses(void)
{
    static const struct {
        const char *text, *printed;
    } cases[] = {
        {"127.0.0.1:11211", "7f000001 11211 0 loopback"},
        {"127.9.9.9:1", "7f090909 1 0 loopback"},
        {"localhost:65535", "7f000001 65535 0 loopback"},
        {":11211", "00000000 11211 0"},
        {"*:11211", "00000000 11211 0"},
        {"0.0.0.0:11211", "00000000 11211 0"},
        {"10.1.2.3:11211", "0a010203 11211 0"},
        {"128.0.0.1:1", "80000001 1 0"},
        {"[::1]:11211", "00000000000000000000000000000001 11211 0 loopback"},
        {"[::]:11211", "00000000000000000000000000000000 11211 0"},
        {"[::ffff:127.0.0.1]:1", "00000000000000000000ffff7f000001 1 0 loopback"},
        {"[::ffff:10.0.0.1]:1", "00000000000000000000ffff0a000001 1 0"},
        {"[2001:db8::1]:1", "20010db8000000000000000000000001 1 0"},
        {"unix:/run/y", "/run/y 0 600 loopback"},
        {"unix:/run/y?mode=0660", "/run/y 0 660 loopback"},
        {"unix:/run/y?mode=777", "/run/y 0 777 loopback"},
        {"systemd:memcached.socket", "memcached.socket 0 0 loopback"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct yk_address address;
        char error[YK_ERROR_SIZE] = "";
        g_assert_cmpint(yk_address_parse(cases[i].text, &address, error), ==, YK_OK);
        g_autofree char *printed = address_print(&address);
        g_assert_cmpstr(printed, ==, cases[i].printed);
    }
}

static void
test_address_errors(void)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "has no port"},
        {"11211", "has no port"},
        {"127.0.0.1", "has no port"},
        {"[::1]", "has no port"},
        {"[::1:11211", "is not an address"},
        {"::1:11211", "is ambiguous"},
        {"127.0.0.1:", "has no port from 1 to 65535"},
        {"127.0.0.1:0", "has no port from 1 to 65535"},
        {"127.0.0.1:65536", "has no port from 1 to 65535"},
        {"127.0.0.1:000001", "has no port from 1 to 65535"},
        {"127.0.0.1:-1", "has no port from 1 to 65535"},
        {"127.0.0.1:http", "has no port from 1 to 65535"},
        {"127.0.0.256:1", "is not an address"},
        {"127.1:1", "is not an address"},
        {"example.org:1", "is not an address"},
        {"[127.0.0.1]:1", "is not an address"},
        {"[]:1", "is not an address"},
        {"[fe80::1%eth0]:1", "is not an address"},
        {"unix:", "has no absolute path"},
        {"unix:run/y", "has no absolute path"},
        {"unix:@y", "has no absolute path"},
        {"unix:/y?mode=", "has no permission bits"},
        {"unix:/y?mode=8", "has no permission bits"},
        {"unix:/y?mode=1777", "has no permission bits"},
        {"unix:/y?mode=0660x", "has no permission bits"},
        {"unix:/y?owner=me", "has no permission bits"},
        {"systemd:", "names no socket"},
        {"systemd:a b", "names no socket"},
    };
    struct yk_address address;
    char error[YK_ERROR_SIZE];
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *expected = g_strdup_printf("'%s' %s", cases[i].text, cases[i].words);
        g_assert_cmpint(yk_address_parse(cases[i].text, &address, error), ==, YK_EINVALID);
        if (!g_str_has_prefix(error, expected)) {
            g_assert_cmpstr(error, ==, expected);
        }
    }
    g_autofree char *path = g_strnfill(106, 'p');
    g_autofree char *longest = g_strconcat("unix:/", path, NULL);
    g_autofree char *too_long = g_strconcat(longest, "p", NULL);
    g_assert_cmpint(yk_address_parse(longest, &address, error), ==, YK_OK);
    g_assert_cmpuint(strlen(address.path), ==, 107);
    g_assert_cmpint(yk_address_parse(too_long, &address, error), ==, YK_EINVALID);
}

/* What the man page is made from. */
static void
test_tables(void)
{
    static const char *const sections[] = {"cluster", "node", "bucket", "frontend"};
    uint32_t n_options = 7;
    for (size_t i = 0; i < G_N_ELEMENTS(sections); i++) {
        const struct yk_option *options = yk_config_table(sections[i], &n_options);
        g_assert_nonnull(options);
        g_assert_cmpuint(n_options, >, 0);
        for (uint32_t j = 0; j < n_options; j++) {
            g_assert_cmpuint(options[j].struct_size, ==, sizeof(struct yk_option));
            g_assert_true(g_str_has_suffix(options[j].help, "."));
            g_assert_true(yk_option_find(options, n_options, options[j].name) == &options[j]);
        }
    }
    g_assert_null(yk_config_table("backend", &n_options));
    g_assert_cmpuint(n_options, ==, 0);
    g_assert_null(yk_config_table("zebra", &n_options));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/config/errors", test_errors);
    g_test_add_func("/config/limits", test_limits);
    g_test_add_func("/config/long-file-name", test_long_file_name);
    g_test_add_func("/config/built-in", test_built_in);
    g_test_add_func("/config/full", test_full);
    g_test_add_func("/config/dump", test_dump);
    g_test_add_func("/config/cluster", test_cluster);
    g_test_add_func("/config/layers", test_layers);
    g_test_add_func("/config/reload", test_reload);
    g_test_add_func("/config/addresses", test_addresses);
    g_test_add_func("/config/address-errors", test_address_errors);
    g_test_add_func("/config/tables", test_tables);
    return g_test_run();
}
