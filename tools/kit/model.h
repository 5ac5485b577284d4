/* What an engine should hold: a fixed set of keys from a seed, each with the value that it has, or
 * the few that it may have after a change whose outcome is not known. And the calls that are held
 * against it.
 *
 * A value is made from its id: so the model keeps no bytes, and a value of 16 bytes or more tells
 * by itself whether it is one that was ever written.
 *
 * Threads: one, unless said otherwise. Ownership: a model owns its keys. */
#ifndef YK_TOOLS_KIT_MODEL_H
#define YK_TOOLS_KIT_MODEL_H

#include "tools/kit/engine.h"
#include "tools/kit/kit.h"

enum { KIT_STATES_MAX = 8, KIT_BATCH_MAX = 64, KIT_SELF_CHECK_SIZE = 16 };

/* id 0: absent. */
struct kit_value {
    uint64_t id;
    uint32_t size;
};

struct kit_item {
    struct kit_key key; /* bytes: own */
    uint32_t n_states;  /* 0: anything may be */
    struct kit_value states[KIT_STATES_MAX];
    uint64_t seen_in;    /* number of the scan that last saw it */
    uint64_t stopped_in; /* likewise, that was told to stop there */
    bool is_steady;      /* there since the scan began */
};

struct kit_model {
    struct kit *kit;
    struct kit_item *items; /* own */
    uint32_t n_items;
    GHashTable *by_key; /* struct kit_item by its key */
    uint64_t next_id;   /* of values */
    uint64_t n_scans;
    uint32_t value_size_max; /* of what is written */
    bool may_vanish;         /* the engine evicts */
    enum kit_rule rule;      /* what a difference breaks here; 0: the rule where it is found */
    /* Errors are expected: an allocation fails, or a filter refuses. They are counted. */
    bool may_fail;
    bool has_stopped; /* by an apply that failed: the core would ask for no change any more */
    uint64_t n_errors, n_refusals, n_changes, n_reads;
};

/* Keys of all lengths up to key_size_max, in KIT_SLOTS slots and the core's, of a few generations.
 */
void kit_model_init(struct kit_model *model, struct kit *kit, struct yk_random *random,
                    uint32_t n_items, uint32_t key_size_max, uint64_t value_size_max);
void kit_model_done(struct kit_model *model);
/* Nothing is there. */
void kit_model_clear(struct kit_model *model);

/* The item of a bare key, or NULL. */
struct kit_item *kit_model_find(const struct kit_model *model, const struct kit_key *key);
bool kit_item_is_there(const struct kit_item *item);     /* surely */
bool kit_item_is_absent(const struct kit_item *item);    /* surely */
uint64_t kit_model_count(const struct kit_model *model); /* of those that are surely there */

/* Writes the value's bytes; room for value->size. */
void kit_value_fill(const struct kit_value *value, const struct kit_key *key, uint8_t *room);
/* Is it what was written for this key at any time? Below KIT_SELF_CHECK_SIZE bytes: true. */
bool kit_value_is_own(struct yk_slice bytes, const struct kit_key *key);

/* Can one see by their bytes which of the two it is? Short ones may be the same. */
bool kit_values_differ(const struct kit_value *a, const struct kit_value *b);

/* Settles the item on the state that was read; false: it is none that it may have. */
bool kit_item_match(struct kit_item *item, enum yk_err result, struct yk_slice value);

/* Holds what was read of an item against the model; `where` is for messages. */
void kit_model_got(struct kit_model *model, struct kit_item *item, enum yk_err result,
                   struct yk_slice value, const char *where);

/* A batch that is to be applied: items, and the value each will have. */
struct kit_batch {
    uint32_t n;
    struct kit_item *items[KIT_BATCH_MAX];
    struct kit_value values[KIT_BATCH_MAX];
};

/* Different items of the model, some put, some deleted. */
void kit_batch_make(struct kit_model *model, struct yk_random *random, uint32_t n,
                    struct kit_batch *ret_batch);
/* What the model is after the batch ended so. */
void kit_batch_settle(struct kit_model *model, const struct kit_batch *batch, enum yk_err result,
                      bool is_atomic);
/* Admits and applies it; what is refused is taken out of the batch first. */
enum yk_err
kit_batch_apply(struct kit_model *model, struct kit_engine *engine, struct kit_batch *batch);
/* The two halves of it. */
void kit_batch_admit(struct kit_model *model, struct kit_engine *engine, struct kit_batch *batch);
enum yk_err kit_batch_apply_admitted(struct kit_model *model, struct kit_engine *engine,
                                     struct kit_batch *batch);

/* After a change that stopped the lane: as after a restart of the node, with nothing in the engine
 * below a filter. */
void kit_model_go_on(struct kit_model *model, struct kit_engine *engine);

/* Reads n random items, or all, and holds them against the model. */
void kit_model_read(struct kit_model *model, struct kit_engine *engine, struct yk_random *random,
                    uint32_t n);
void kit_model_read_all(struct kit_model *model, struct kit_engine *engine);

/* How a scan is disturbed. */
struct kit_disturbance {
    uint32_t stops_in;    /* one record in so many is answered with stop; 0: none */
    uint32_t changes_max; /* between two steps */
    bool has_other;       /* a second scan goes on between the steps */
    bool drops_last;      /* deletes the record where the cursor stands, now and then */
    uint64_t bytes_max;   /* of a step; 0: at random */
    const uint64_t *slots;
};

/* Scans all and holds what comes against the model. */
void kit_model_scan(struct kit_model *model, struct kit_engine *engine, struct yk_random *random,
                    const struct kit_disturbance *disturbance);

/* n calls of all kinds. */
void kit_model_exercise(struct kit_model *model, struct kit_engine *engine,
                        struct yk_random *random, uint32_t n);

#endif
