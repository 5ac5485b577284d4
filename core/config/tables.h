/* The core's option tables, and the values of one section read by them. Private to this room.
 *
 * Threads: tables are constants; fields belong to one parse. Ownership: fields own their values. */
#ifndef YK_CONFIG_TABLES_H
#define YK_CONFIG_TABLES_H

#include "core/config/draft.h"

enum yk_cluster_key {
    YK_CLUSTER_NAME,
    YK_CLUSTER_COORDINATOR,
    YK_CLUSTER_LEASE,
    YK_CLUSTER_GRACE,
    YK_N_CLUSTER_KEYS
};

enum yk_node_key {
    YK_NODE_ROLES,
    YK_NODE_ADDRESS,
    YK_NODE_ALLOW_REMOTE,
    YK_NODE_DATA,
    YK_NODE_ZONE,
    YK_NODE_WEIGHT,
    YK_NODE_WORKERS,
    YK_NODE_LANES,
    YK_NODE_EXECUTORS,
    YK_NODE_IO,
    YK_NODE_SCHEDULING,
    YK_NODE_JOURNAL_SIZE,
    YK_NODE_GATEWAY_CACHE,
    YK_NODE_MAX_CONNECTIONS,
    YK_NODE_LOG_LEVEL,
    YK_N_NODE_KEYS,
};

enum yk_bucket_key {
    YK_BUCKET_BACKEND,
    YK_BUCKET_FILTERS,
    YK_BUCKET_COPIES,
    YK_BUCKET_MIN_COPIES,
    YK_BUCKET_DURABILITY,
    YK_BUCKET_READS,
    YK_BUCKET_ACK,
    YK_BUCKET_MEMORY_MAX,
    YK_BUCKET_EVICT,
    YK_BUCKET_SLOTS,
    YK_BUCKET_KEY_SIZE_MAX,
    YK_BUCKET_VALUE_SIZE_MAX,
    YK_N_BUCKET_KEYS,
};

enum yk_frontend_key {
    YK_FRONTEND_LISTEN,
    YK_FRONTEND_BUCKET,
    YK_FRONTEND_KEY_PREFIX,
    YK_FRONTEND_REQUEST_FILTERS,
    YK_FRONTEND_ALLOW_REMOTE,
    YK_N_FRONTEND_KEYS,
};

enum { YK_FIELDS_MAX = 16 };

/* Index: number of the choice. */
extern const char *const yk_role_names[];       /* bit of enum yk_role */
extern const char *const yk_durability_names[]; /* enum yk_durability */
extern const char *const yk_reads_names[];      /* enum yk_reads */
extern const char *const yk_ack_names[];        /* enum yk_acks */
extern const char *const yk_evict_names[];      /* enum yk_evict */
extern const char *const yk_io_engine_names[];  /* enum yk_io_engine */
extern const char *const yk_scheduling_names[]; /* enum yk_scheduling */
extern const char *const yk_log_level_names[];  /* enum yk_log_level - YK_LOG_ERROR */

/* The value of one key. */
struct yk_field {
    struct yk_option_parsed parsed;
    struct yk_place place; /* where it was given; else the section's */
    bool is_given;
};

/* The values of a section's keys, in the order of its table. */
struct yk_fields {
    const struct yk_option *table;
    uint32_t n; /* at most YK_FIELDS_MAX */
    struct yk_field fields[YK_FIELDS_MAX];
};

/* All keys at their defaults. */
void yk_fields_init(struct yk_fields *fields, enum yk_section kind, const struct yk_place *place);
void yk_fields_done(struct yk_fields *fields);
/* Sets the key that the entry names. *ret_is_known false: the table has no such key. */
enum yk_err yk_fields_set(struct yk_fields *fields, const struct yk_entry *entry,
                          bool *ret_is_known, char *error) YK_MUST_CHECK;

static inline uint64_t
yk_field_number(const struct yk_fields *fields, uint32_t key)
{
    return fields->fields[key].parsed.value.number;
}

static inline const char *
yk_field_text(const struct yk_fields *fields, uint32_t key)
{
    return fields->fields[key].parsed.value.text;
}

/* Ended by NULL. */
static inline const char *const *
yk_field_list(const struct yk_fields *fields, uint32_t key)
{
    return fields->fields[key].parsed.value.list;
}

/* Writes "PLACE: KEY = VALUE words" to error, and returns err. */
enum yk_err yk_field_fail(const struct yk_fields *fields, uint32_t key, enum yk_err err,
                          char *error, const char *format, ...) YK_PRINTF(5, 6);

#endif
