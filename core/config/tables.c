/* The keys of the core's own sections. help is full sentences: the man page is made from it. */
#include <config.h>

#include "core/config/tables.h"

#include <stdarg.h>

#include "core/base/assert.h"

const char *const yk_role_names[] = {"manager", "server", "gateway", NULL};
const char *const yk_durability_names[] = {"memory", "os", "disk", NULL};
const char *const yk_evict_names[] = {"none", "s3fifo", NULL};
const char *const yk_io_engine_names[] = {"auto", "epoll", "io_uring", NULL};
const char *const yk_scheduling_names[] = {"batch", "normal", NULL};
const char *const yk_log_level_names[] = {"error", "warning", "notice", "info", "debug", NULL};
const char *const yk_reads_names[] = {"lease", "confirm", "any", NULL};
const char *const yk_ack_names[] = {"all", "primary", NULL};

#define KEY(name_, type_) .struct_size = YK_OPTION_HEAD, .name = (name_), .type = YK_OPTION_##type_

static const struct yk_option cluster_table[YK_N_CLUSTER_KEYS] = {
    [YK_CLUSTER_NAME] = {KEY("name", STRING), .fallback = "yakumo", .min = 1,
                         .max = YK_NAME_SIZE_MAX,
                         .help = "Name of the cluster: a-z, 0-9, _ and -."},
    [YK_CLUSTER_COORDINATOR] =
        {KEY("coordinator", STRING), .max = YK_NAME_SIZE_MAX,
         .help =
             "Where the cluster's shared record lives, by the name of a plugin: local (files of "
             "the one manager), quorum (among 3 or 5 managers) or etcd (an etcd that is there "
             "already). Its options stand in [coordinator NAME]. Without it: quorum where the "
             "file names 3 or 5 managers, else local."},
    [YK_CLUSTER_LEASE] =
        {KEY("lease", DURATION), .fallback = "1s", .min = 100000, .max = 60000000,
         .help = "How long a primary may answer reads by the word of a copy. The longer it is, the "
                 "longer a slot is without a primary after one has failed; the shorter, the sooner "
                 "a machine that is overloaded loses its slots."},
    [YK_CLUSTER_GRACE] =
        {KEY("grace", DURATION), .fallback = "1300ms", .min = 100000, .max = 120000000,
         .help = "How long a copy that hears nothing of its primary waits before it seeks to take "
                 "its place: more than lease by 2 % at least, which is what the clocks of two "
                 "machines may differ by."},
};

static const struct yk_option node_table[YK_N_NODE_KEYS] = {
    [YK_NODE_ROLES] =
        {KEY("roles", LIST),
         .help =
             "What this node is: manager, server (stores), gateway (speaks to clients). A node "
             "alone in its file is all three, any other one server and gateway unless it says so."},
    [YK_NODE_ADDRESS] = {KEY("address", STRING), .fallback = "127.0.0.1:19800", .min = 1,
                         .help =
                             "Where other nodes and tools reach this node. With several nodes each "
                             "must give its own."},
    [YK_NODE_ALLOW_REMOTE] =
        {KEY("allow_remote", BOOL), .fallback = "no",
         .help = "Whether address may be one that other machines reach, though nobody proves yet "
                 "who he is. For a network that only the cluster uses."},
    [YK_NODE_DATA] = {KEY("data", STRING), .max = 4095,
                      .help = "Data folder. Without it: $XDG_STATE_HOME/yakumo, for root "
                              "/var/lib/yakumo."},
    [YK_NODE_ZONE] = {KEY("zone", STRING), .max = YK_NAME_SIZE_MAX,
                      .help =
                          "Rack or site of the node; copies of a slot go to different zones where "
                          "they can."},
    [YK_NODE_WEIGHT] = {KEY("weight", UINT), .fallback = "1", .min = 1, .max = 1000,
                        .help = "Share of the data, in proportion to other nodes' weights."},
    [YK_NODE_WORKERS] =
        {KEY("workers", STRING), .fallback = "auto",
         .help = "Threads that serve, 1 to 64; auto: one for each core, shared with the "
                 "other nodes of the file that have this address."},
    [YK_NODE_LANES] = {KEY("lanes", UINT), .flags = YK_OPTION_FIXED, .fallback = "16", .min = 1,
                       .max = YK_LANES_MAX,
                       .help =
                           "Parts that the node's data is cut into; each belongs to one worker. "
                           "Fixed when the data folder is made."},
    [YK_NODE_EXECUTORS] = {KEY("executors", UINT), .fallback = "0", .max = YK_EXECUTORS_MAX,
                           .help =
                               "Threads for backends and filters that wait for a disk or sleep. 0: "
                               "as many as there can be calls at once, so that a slow one delays "
                               "nobody else, at most 256."},
    [YK_NODE_IO] =
        {KEY("io", ENUM), .fallback = "auto", .choices = yk_io_engine_names,
         .help = "Engine of the event loop. auto: io_uring where a trial at the start shows that "
                 "this system lets us (Linux 6.1 or later; many containers forbid it), else "
                 "epoll. io_uring: that, or the node does not start."},
    [YK_NODE_SCHEDULING] =
        {KEY("scheduling", ENUM), .fallback = "batch", .choices = yk_scheduling_names,
         .help = "How the node's threads take the cores (sched(7)). batch: one that wakes does not "
                 "interrupt another that works, so that more is done in one go where cores are "
                 "busy, for less CPU. normal: as other programs, for a node beside work that never "
                 "rests. A policy that the service manager has set is kept."},
    [YK_NODE_JOURNAL_SIZE] =
        {KEY("journal_size", SIZE), .fallback = "256M", .min = 8 * YK_MIB, .max = 1024 * YK_GIB,
         .help = "Bytes of journal from which on the lanes are checkpointed, so that its oldest "
                 "parts can go: about what a start after kill -9 has to read. Where the memory "
                 "backend is checkpointed by snapshots, up to twice their size is kept."},
    [YK_NODE_GATEWAY_CACHE] =
        {KEY("gateway_cache", SIZE), .fallback = "0", .max = 1024 * YK_GIB,
         .help = "Memory for values that this node's clients got from other nodes. The node that "
                 "has a key is asked all the same, so that a read is as new as without, but does "
                 "not send a value of 128 bytes or more again that has not changed. Divided by "
                 "the workers; 0: none."},
    [YK_NODE_MAX_CONNECTIONS] = {KEY("max_connections", UINT), .fallback = "1024", .min = 1,
                                 .max = YK_CONNECTIONS_MAX, .help = "Client connections at once."},
    [YK_NODE_LOG_LEVEL] = {KEY("log_level", ENUM), .flags = YK_OPTION_RELOAD, .fallback = "notice",
                           .choices = yk_log_level_names,
                           .help = "The least important lines that are logged."},
};

static const struct yk_option bucket_table[YK_N_BUCKET_KEYS] = {
    [YK_BUCKET_BACKEND] = {KEY("backend", STRING), .flags = YK_OPTION_FIXED, .fallback = "memory",
                           .min = 1, .max = YK_NAME_SIZE_MAX,
                           .help = "The storage engine; its options stand in [backend NAME]."},
    [YK_BUCKET_FILTERS] = {KEY("filters", LIST), .flags = YK_OPTION_FIXED, .max = YK_FILTERS_MAX,
                           .help = "Store filters over the backend, outermost first; their options "
                                   "stand in [filter NAME]."},
    [YK_BUCKET_COPIES] = {KEY("copies", UINT), .min = 1, .max = YK_COPIES_MAX,
                          .help = "Nodes that hold each record, at most as many as the file has "
                                  "servers. Without it: 3, or all servers if they are fewer."},
    [YK_BUCKET_MIN_COPIES] = {KEY("min_copies", UINT), .min = 1, .max = 7,
                              .help =
                                  "Copies that must be there for writes to be taken. Without it: "
                                  "2, or copies if that is less."},
    [YK_BUCKET_DURABILITY] =
        {KEY("durability", ENUM), .fallback = "disk", .choices = yk_durability_names,
         .help =
             "What an answered write survives: memory (nothing), os (kill -9 of all nodes) or disk "
             "(loss of power of all nodes). The node's journal keeps the promise, whatever the "
             "backend: with os a write is in it before it is answered, with disk it is on the "
             "device too. With memory there is no journal."},
    [YK_BUCKET_READS] = {KEY("reads", ENUM), .fallback = "lease", .choices = yk_reads_names,
                         .help =
                             "How a read is known to be the newest: lease: by what the copies have "
                             "promised to the primary for some time, by their clocks. confirm: the "
                             "primary asks all copies each time, which no clock can spoil and "
                             "costs a round trip. any: it is not; any copy answers with something "
                             "that was the newest once, so that reads are spread over them all."},
    [YK_BUCKET_ACK] = {KEY("ack", ENUM), .fallback = "all", .choices = yk_ack_names,
                       .help =
                           "Which copies must have a write before it is answered: all, or only "
                           "the primary, which sends it on at the same time: a write of which no "
                           "other copy knew yet is lost with that node, though it was answered."},
    [YK_BUCKET_MEMORY_MAX] = {KEY("memory_max", SIZE), .fallback = "0",
                              .help = "Memory for the bucket's items on this node; 0: no bound."},
    [YK_BUCKET_EVICT] =
        {KEY("evict", ENUM), .fallback = "none", .choices = yk_evict_names,
         .help = "What happens when memory_max is reached: none refuses writes, s3fifo "
                 "drops items that were little used. memory_max must be at least "
                 "twice value_size_max and 64K for each lane: 3200K for values of 1M in "
                 "16 lanes. Values that are larger than memory_max divided by the "
                 "number of lanes may be refused now and then."},
    [YK_BUCKET_SLOTS] = {KEY("slots", UINT), .flags = YK_OPTION_FIXED, .fallback = "1024", .min = 1,
                         .max = YK_SLOTS_MAX,
                         .help =
                             "Parts of the bucket's ring, a power of two. Fixed when the bucket is "
                             "made."},
    [YK_BUCKET_KEY_SIZE_MAX] = {KEY("key_size_max", SIZE), .fallback = "250", .min = 1,
                                .max = YK_KEY_SIZE_MAX, .help = "Bytes of the longest key."},
    [YK_BUCKET_VALUE_SIZE_MAX] = {KEY("value_size_max", SIZE), .fallback = "1M", .min = 1,
                                  .max = YK_VALUE_SIZE_MAX, .help = "Bytes of the longest value."},
};

static const struct yk_option frontend_table[YK_N_FRONTEND_KEYS] = {
    [YK_FRONTEND_LISTEN] =
        {KEY("listen", LIST), .max = YK_LISTENERS_MAX,
         .help = "Addresses to listen on, at least one: 127.0.0.1:11211, [::1]:11211, "
                 "unix:/run/yakumo.sock?mode=0660, systemd:NAME."},
    [YK_FRONTEND_BUCKET] = {KEY("bucket", STRING), .max = YK_NAME_SIZE_MAX,
                            .help =
                                "The bucket that clients see at first. Without it: the one named "
                                "default, or the only one."},
    [YK_FRONTEND_KEY_PREFIX] =
        {KEY("key_prefix", STRING), .max = YK_KEY_PREFIX_MAX,
         .help = "Stands before each key of these clients in the bucket, which they do not see: "
                 "several frontends share a bucket without meeting each other's keys. A flush is "
                 "refused then, since it would empty the bucket for all."},
    [YK_FRONTEND_REQUEST_FILTERS] =
        {KEY("request_filters", LIST), .max = YK_FILTERS_MAX,
         .help = "Filters that see each request and reply, outermost first; their options stand in "
                 "[filter NAME]."},
    [YK_FRONTEND_ALLOW_REMOTE] =
        {KEY("allow_remote", BOOL), .fallback = "no",
         .help = "Whether it may listen where other machines reach it, without authentication."},
};

static const struct {
    const struct yk_option *options;
    uint32_t n;
} tables[YK_N_SECTIONS] = {
    [YK_SECTION_CLUSTER] = {cluster_table, YK_N_CLUSTER_KEYS},
    [YK_SECTION_NODE] = {node_table, YK_N_NODE_KEYS},
    [YK_SECTION_BUCKET] = {bucket_table, YK_N_BUCKET_KEYS},
    [YK_SECTION_FRONTEND] = {frontend_table, YK_N_FRONTEND_KEYS},
};

const struct yk_option *
yk_config_table(const char *section, uint32_t *ret_n_options)
{
    for (uint32_t kind = 0; kind < YK_N_SECTIONS; kind++) {
        if (strcmp(section, yk_section_names[kind]) == 0) {
            *ret_n_options = tables[kind].n;
            return tables[kind].options;
        }
    }
    *ret_n_options = 0;
    return NULL;
}

void
yk_fields_init(struct yk_fields *fields, enum yk_section kind, const struct yk_place *place)
{
    char error[YK_ERROR_SIZE];
    *fields = (struct yk_fields){.table = tables[kind].options, .n = tables[kind].n};
    for (uint32_t i = 0; i < fields->n; i++) {
        enum yk_err err =
            yk_option_parse(&fields->table[i], NULL, &fields->fields[i].parsed, error);
        YK_ASSERT(err == YK_OK);
        fields->fields[i].place = *place;
    }
}

void
yk_fields_done(struct yk_fields *fields)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        yk_option_parsed_done(&fields->fields[i].parsed);
    }
    fields->n = 0;
}

enum yk_err
yk_fields_set(struct yk_fields *fields, const struct yk_entry *entry, bool *ret_is_known,
              char *error)
{
    const struct yk_option *option = yk_option_find(fields->table, fields->n, entry->key);
    if (option == NULL) {
        *ret_is_known = false;
        return YK_OK;
    }
    char reason[YK_ERROR_SIZE];
    struct yk_option_parsed parsed;
    enum yk_err err = yk_option_parse(option, entry->text, &parsed, reason);
    if (err != YK_OK) {
        return yk_place_fail(&entry->place, err, error, "%s: %s", entry->key, reason);
    }
    struct yk_field *field = &fields->fields[option - fields->table];
    yk_option_parsed_done(&field->parsed);
    *field = (struct yk_field){.parsed = parsed, .place = entry->place, .is_given = true};
    *ret_is_known = true;
    return YK_OK;
}

enum yk_err
yk_field_fail(const struct yk_fields *fields, uint32_t key, enum yk_err err, char *error,
              const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *words = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    const struct yk_field *field = &fields->fields[key];
    g_autofree char *shown = yk_text_show(field->parsed.value.text);
    return yk_place_fail(&field->place, err, error, "%s = %.*s %s", fields->table[key].name,
                         (int)strlen(shown) - 2, shown + 1, words);
}
