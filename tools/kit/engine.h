/* One instance of an engine, with a store filter over it if there is one, called as strictly as the
 * interface allows: keys and values lie in memory of the call that is filled with rubbish after it,
 * the cursor moves between calls, asynchronous calls are waited for, every answer is held to the
 * rules that need no knowledge of what is stored.
 *
 * Threads: get and scan from any thread, the rest as the engine declares. Ownership: an engine's
 * host and place are its own; what it calls back with is lent for that call. */
#ifndef YK_TOOLS_KIT_ENGINE_H
#define YK_TOOLS_KIT_ENGINE_H

#include <yakumo/filter.h>

#include "tools/kit/host.h"
#include "tools/kit/kit.h"

enum kit_call_kind { KIT_CALL_GET, KIT_CALL_APPLY, KIT_CALL_SCAN, KIT_N_CALLS };

enum { KIT_TIMES_MAX = 4096, KIT_SLOTS = 16, KIT_SLOT_OF_CORE = 0xffff };

/* What an engine is opened with; zeros are good. */
struct kit_place {
    const char *folder; /* lent; ignored for VOLATILE */
    uint64_t memory_max;
    bool may_evict;
    uint32_t durability;
};

struct kit_engine {
    struct kit *kit;
    struct kit_host *host;
    const struct yk_settings *settings; /* of the engine; NULL: the kit's own (model_engine.c) */
    const struct yk_backend_ops *ops;
    const struct yk_settings *filter_settings; /* NULL: no filter */
    const struct yk_filter_ops *filter_ops;

    struct yk_plugin_host engine_host, filter_host;
    void *self, *filter_self;
    struct kit_budget budget;
    struct kit_place opened_at;
    struct yk_backend_place place;
    struct yk_backend_info info; /* as the outermost says */
    uint32_t prefix;             /* bytes in front of the bare key */
    uint32_t key_size_max;       /* of a bare key */
    bool is_damaged;             /* its files were: what it shows is not held to be sound */
    bool is_made, is_open;
    bool is_filter_made, is_filter_open;

    pthread_mutex_t lock; /* of the times */
    uint32_t n_times[KIT_N_CALLS];
    uint32_t times_us[KIT_N_CALLS][KIT_TIMES_MAX];
    uint64_t n_pending; /* calls that were; atomic */
};

/* A bare key and where it stands. */
struct kit_key {
    const uint8_t *bytes;
    uint32_t size;
    uint16_t slot, generation;
    uint64_t hash; /* of the bare key */
};

/* The kit's plugin as engine, or as filter over the kit's own engine. */
void kit_engine_init(struct kit_engine *engine, struct kit *kit, struct kit_host *host);
/* create, config, config_done, info. On failure nothing is left, and error (YK_ERROR_SIZE) says
 * why. */
enum yk_err kit_engine_make(struct kit_engine *engine, char *error) YK_MUST_CHECK;
/* Makes it and opens it. On failure likewise. */
enum yk_err kit_engine_open(struct kit_engine *engine, const struct kit_place *place,
                            char *error) YK_MUST_CHECK;
/* The same, and a failure breaks a promise. */
void kit_engine_must_open(struct kit_engine *engine, const struct kit_place *place);
/* Closes, destroys, and sees that nothing is left. Takes one that was never opened. */
void kit_engine_close(struct kit_engine *engine);

/* Closes it and opens it again where it was. */
void kit_engine_restart(struct kit_engine *engine);

bool kit_engine_has(const struct kit_engine *engine, uint32_t caps);

/* Room for the key as the engine has it: prefix and bare key. */
struct yk_key
kit_engine_key(const struct kit_engine *engine, const struct kit_key *key, uint8_t *room);
/* What a scan shows, as a bare key. False: too short to have its prefix. */
bool
kit_engine_bare(const struct kit_engine *engine, const struct yk_key *key, struct kit_key *ret_key);

/* One answer of a get: index is the caller's. */
typedef void (*kit_value_fn)(void *arg, uint32_t index, enum yk_err result, struct yk_slice value);

/* Each index is answered to fn once, those that the engine left out with its error. */
enum yk_err kit_engine_get(struct kit_engine *engine, const struct kit_key *const *keys, uint32_t n,
                           kit_value_fn fn, void *arg) YK_MUST_CHECK;

/* A change; size and fill() give the value. */
struct kit_change {
    const struct kit_key *key;
    uint32_t kind;         /* enum yk_change_kind */
    struct yk_slice value; /* lent for the call */
};

enum yk_err
kit_engine_admit(struct kit_engine *engine, const struct kit_change *change) YK_MUST_CHECK;
enum yk_err kit_engine_apply(struct kit_engine *engine, const struct kit_change *changes,
                             uint32_t n) YK_MUST_CHECK;

/* A scan under way. */
struct kit_scan {
    struct yk_cursor cursor;
    bool is_end;
    const uint64_t *slots; /* the caller's, KIT_SLOTS bits; NULL: all */
    uint64_t bytes_max;
    /* Of the step: */
    uint32_t n_shown, n_taken;
    bool has_stopped;
};

void kit_scan_init(struct kit_scan *scan, struct kit_engine *engine);
void kit_scan_done(struct kit_scan *scan, struct kit_engine *engine);
/* One step. */
enum yk_err kit_engine_scan(struct kit_engine *engine, struct kit_scan *scan, yk_record_fn fn,
                            void *arg) YK_MUST_CHECK;

/* 0 where there is none. */
uint64_t kit_engine_median_us(const struct kit_engine *engine, enum kit_call_kind kind);

/* The kit's own engine: exact, in memory, and it sees to it that what is applied was admitted.
 * plugin's ops are struct yk_backend_ops. */
extern const struct yk_plugin kit_model_engine;
/* What it answers from now on instead of doing what it is asked, once; YK_OK: nothing. Of a call
 * kind; admit is KIT_N_CALLS. */
void kit_model_engine_fail(void *self, int kind, enum yk_err result);
/* Calls of that kind that reached it. */
uint64_t kit_model_engine_calls(void *self, int kind);
/* Answers later, from another thread. Before open. */
void kit_model_engine_set_async(void *self);

#endif
