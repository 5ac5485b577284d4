/* The interface of a backend: a map from bytes to bytes, one instance for each (bucket, lane).
 *
 * An engine never decides. Newest wins, CAS, add, append, incr, expiry and tombstones are the
 * core's, decided before an engine is asked for anything; a value is the core's record, opaque
 * here.
 *
 * Threads: the host never makes two calls on one instance at once, but they may come from different
 * threads, one after another with the memory order that this needs. An engine with
 * YK_BACKEND_BLOCKS is called on executor threads, any other on the worker's loop, where a call
 * must end in microseconds. (READERS and PARALLEL are declared now and used by later versions of
 * the host.) Ownership: what is passed in is lent for the call; an asynchronous call ends at
 * host->complete. */
#ifndef YAKUMO_BACKEND_H
#define YAKUMO_BACKEND_H

#include <yakumo/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YK_BACKEND_ABI 1u

enum yk_backend_caps {
    YK_BACKEND_ORDERED = 1u << 0,        /* scan goes in the byte order of keys */
    YK_BACKEND_EXACT_COUNT = 1u << 1,    /* count is exact and O(1) */
    YK_BACKEND_ATOMIC_BATCH = 1u << 2,   /* apply is all or nothing, also over a crash; see apply */
    YK_BACKEND_SURVIVES_KILL = 1u << 3,  /* an ended apply survives kill -9 of the process */
    YK_BACKEND_SURVIVES_POWER = 1u << 4, /* an apply before an ended sync survives loss of power */
    YK_BACKEND_BLOCKS = 1u << 5,         /* calls may wait for a disk, or sleep */
    YK_BACKEND_ASYNC = 1u << 6,          /* get, apply and scan may return YK_EPENDING */
    YK_BACKEND_SEGMENTS = 1u << 7, /* keeps slots apart by itself: keys come bare, with wipe_slot */
    YK_BACKEND_EVICTS = 1u << 8,   /* may drop records by itself, when the bucket asks for it */
    YK_BACKEND_SYNC_BESIDE = 1u << 9, /* sync and snapshot may run beside other calls */
    YK_BACKEND_VOLATILE = 1u << 10,   /* keeps nothing over a close */
};

enum yk_backend_threads {
    YK_THREADS_SERIAL = 0,   /* one call at a time */
    YK_THREADS_READERS = 1,  /* get and scan beside each other and beside one apply */
    YK_THREADS_PARALLEL = 2, /* any call beside any other */
};

/* What an answered write of the bucket survives. From OS on the host's journal keeps that promise:
 * it applies what it has answered for already, calls sync at its checkpoints, and applies again
 * what came after the last of them. An engine is told how far its files are to stay whole, and need
 * do no more: after kill -9, or with DISK after a loss of power, they hold all from before the last
 * ended sync, and of what came later any batches whole. One that declares less gets an empty folder
 * after such an end, and its records from a snapshot of the host's. */
enum yk_durability {
    YK_DURABILITY_MEMORY = 0, /* nothing */
    YK_DURABILITY_OS = 1,     /* kill -9 of the process */
    YK_DURABILITY_DISK = 2,   /* loss of power */
};

/* What this instance is; asked after config_done. The host fills in defaults first: no capability,
 * SERIAL, key_size_max 65535, value_size_max 4 GiB - 1. Filters pass it on and may change it. */
struct yk_backend_info {
    uint32_t struct_size;
    uint32_t caps;           /* enum yk_backend_caps */
    uint32_t threads;        /* enum yk_backend_threads */
    uint32_t key_size_max;   /* bytes of a yk_key's data */
    uint64_t value_size_max; /* bytes of a record */
};

/* Memory that the instances of one bucket share. Callable from any thread that calls the engine. */
struct yk_budget {
    uint32_t struct_size;
    uint64_t size_max; /* bytes for the whole bucket; 0: no bound */
    bool (*take)(const struct yk_budget *budget, uint64_t size); /* false: not so much is left */
    void (*give)(const struct yk_budget *budget, uint64_t size);
    /* Both or none; may be NULL. An instance with less than its even part that found no more says
     * how much it looked for; from then on as much is to be left free. What is missing of that, in
     * bytes, is for those to give back, over time, who have more than their even part. */
    void (*want)(const struct yk_budget *budget, uint64_t size);
    uint64_t (*missing)(const struct yk_budget *budget);
};

/* Where an instance lives. Lent until close. */
struct yk_backend_place {
    uint32_t struct_size;
    uint32_t lane, n_lanes;
    uint32_t n_slots;   /* of the bucket; this lane has those with slot % n_lanes == lane */
    const char *bucket; /* name */
    const char *folder; /* of this lane, exists; for engines with VOLATILE NULL */
    const struct yk_budget *budget;
    uint64_t seed;       /* for hash tables */
    bool may_evict;      /* the bucket asked for it */
    uint32_t durability; /* enum yk_durability */
};

/* A key as the engine stores it: data is the bare key for engines with YK_BACKEND_SEGMENTS, else
 * slot (16 bits, big-endian), generation (16 bits, big-endian), key. Slot 0xFFFF holds the core's
 * own records. */
struct yk_key {
    const uint8_t *data;
    uint32_t size;
    uint16_t slot;
    uint16_t generation;
    uint64_t hash; /* XXH3-64 of the bare key; an engine may leave it 0 in what a scan shows */
};

enum yk_change_kind { YK_CHANGE_PUT = 1, YK_CHANGE_DELETE = 2 };

struct yk_change {
    struct yk_key key;
    uint32_t kind;         /* enum yk_change_kind */
    struct yk_slice value; /* PUT: the record */
};

/* Where a scan goes on. The host gives room; size 0: from the start. Opaque to all but the engine.
 */
struct yk_cursor {
    uint32_t struct_size;
    uint32_t size;     /* bytes in data */
    uint32_t size_max; /* at least key_size_max + 32 */
    uint8_t *data;
};

struct yk_scan {
    uint32_t struct_size;
    uint32_t n_slots;
    /* Bit slot % 64 of word slot / 64: wanted; NULL: all. May be taken as a hint. */
    const uint64_t *slots;
    /* Stop after about this many bytes of keys and values: at least one record, unless the engine
     * looked for long and found none. */
    uint64_t bytes_max;
};

/* The key of a stored record, as a scan shows it, for engines without YK_BACKEND_SEGMENTS. */
static inline struct yk_key
yk_key_stored(const void *data, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)data;
    struct yk_key key;
    memset(&key, 0, sizeof(key));
    key.data = bytes;
    key.size = (uint32_t)size;
    if (size >= 4) {
        key.slot = (uint16_t)(bytes[0] << 8 | bytes[1]);
        key.generation = (uint16_t)(bytes[2] << 8 | bytes[3]);
    }
    return key;
}

/* Is the slot one that the scan asks for? The core's own is in no set. */
static inline bool
yk_scan_wants(const struct yk_scan *scan, uint16_t slot)
{
    return scan->slots == NULL ||
           (slot < scan->n_slots && (scan->slots[slot / 64] >> (slot % 64) & 1) != 0);
}

/* What an engine may remember of a record beside it. Not kept over a close. */
struct yk_hint {
    uint32_t struct_size;
    uint32_t was_hit;        /* not 0: it was read since it was stored */
    uint64_t last_access_ms; /* of the last read or store, since 1970; may be coarse */
};

/* One call that may end later; passed through filters untouched. */
struct yk_call {
    uint32_t struct_size;
    /* Memory that lives until the call ends; NULL when there is none. */
    void *(*alloc)(struct yk_call *call, size_t size);
    /* The wall clock in ms when the host began with what it is doing now; 0: ask host->now_ms. */
    uint64_t now_ms;
};

/* The answer for keys[index]: result YK_OK with value (lent for this call only), YK_ENOTFOUND, or
 * what went wrong with this key. Each index once, in any order, before get ends. */
typedef void (*yk_value_fn)(void *arg, uint32_t index, enum yk_err result, struct yk_slice value);

/* One record of a scan; false: stop before this record (the cursor stands before it). */
typedef bool (*yk_record_fn)(void *arg, const struct yk_key *key, struct yk_slice value);

/* One figure; numbers of lanes are added up by name. */
typedef void (*yk_figure_fn)(void *arg, const char *name, uint64_t number);

struct yk_backend_ops {
    uint32_t struct_size;

    struct yk_life life;
    void (*info)(void *self, struct yk_backend_info *info);
    /* open may touch the world; close ends it. Defaults: succeed. */
    enum yk_err (*open)(void *self, const struct yk_backend_place *place);
    void (*close)(void *self);

    /* Required. Looks up n keys, answers each through fn. An error says that the call as a whole
     * failed; indexes not answered by then count as failed with it. */
    enum yk_err (*get)(void *self, const struct yk_key *keys, uint32_t n, yk_value_fn fn, void *arg,
                       struct yk_call *call);

    /* Required. Makes the changes, in order. A key may stand in it once. DELETE of an absent key is
     * no error. After an error the lane stops: which changes were made is not known. Except with
     * ATOMIC_BATCH: ENOSPACE, ENOMEM, ETOOLARGE and ECORRUPT say that none was made; the lane goes
     * on, and what had been admitted for this call is given up. ECORRUPT: the host tries the
     * changes one by one. The clients of what cannot be made are refused. */
    enum yk_err (*apply)(void *self, const struct yk_change *changes, uint32_t n,
                         struct yk_call *call);

    /* Required. Calls fn for records from the cursor on and moves it; *ret_end: nothing is left. A
     * record present from the first call to the last is seen at least once, whatever comes and goes
     * meanwhile. */
    enum yk_err (*scan)(void *self, const struct yk_scan *scan, struct yk_cursor *cursor,
                        yk_record_fn fn, void *arg, bool *ret_end, struct yk_call *call);

    /* Will apply of this change find room? YK_OK is a promise and sets the room aside; each change
     * that was admitted is applied later, in the same order. ENOMEM, ENOSPACE, ETOOLARGE: the
     * client is refused. Default: YK_OK. */
    enum yk_err (*admit)(void *self, const struct yk_change *change);

    /* What was applied before is on the device when this returns. Default: nothing. */
    enum yk_err (*sync)(void *self);
    /* A copy into an empty folder, from which an instance can be opened. Default: EUNSUPPORTED. */
    enum yk_err (*snapshot)(void *self, const char *path);
    enum yk_err (*compact)(void *self);                      /* default: nothing */
    enum yk_err (*count)(void *self, uint64_t *ret_records); /* default: EUNSUPPORTED */
    void (*stats)(void *self, yk_figure_fn fn, void *arg);   /* default: nothing */

    /* With SEGMENTS required: forgets the slot's records of other generations. Default:
     * EUNSUPPORTED. */
    enum yk_err (*wipe_slot)(void *self, uint16_t slot, uint16_t generation);
    enum yk_err (*count_slot)(void *self, uint16_t slot, uint64_t *ret_records); /* EUNSUPPORTED */

    /* What is remembered of the record's reads, which get notes by itself. Never blocks. Default:
     * ENOTFOUND, nothing is known. */
    enum yk_err (*hint)(void *self, const struct yk_key *key, struct yk_hint *ret_hint);

    /* For engines that answer at once: this key will soon be read or changed. Brings what a look at
     * it will need near the processor and changes nothing. Called for several keys with stage 0,
     * then for the same ones with stage 1 (what stage 0 brought may be looked at now), then they
     * are used. Default: nothing. */
    void (*prefetch)(void *self, const struct yk_key *key, uint32_t stage);
};

#ifdef __cplusplus
}
#endif

#endif
