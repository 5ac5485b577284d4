/* A lane over an engine of the tests' own, with a journal of the tests' own where it has one: the
 * test says when entries stand in it, when a piece of a snapshot is written, when the node dies.
 *
 * Threads: one. Ownership: a bench owns all that belongs to it, from open to close; the engine is
 * one for the whole program. */
#ifndef TESTS_LIB_LANE_BENCH_H
#define TESTS_LIB_LANE_BENCH_H

#include <glib.h>

#include "core/replica/lane.h"
#include "core/store/budget.h"

enum mode {
    MODE_INLINE,      /* with segments, as the memory engine */
    MODE_PREFIX,      /* at once, but keys come with their slot */
    MODE_BLOCKING,    /* jobs run by the test */
    MODE_READERS,     /* likewise, some that only read beside the one that writes; with syncs */
    MODE_ASYNC,       /* calls completed by the test, after they returned */
    MODE_ASYNC_EARLY, /* completed before they return */
    N_MODES
};

/* Added to a mode: the whole is what bench_open takes. */
enum setup {
    SETUP_JOURNALED = 16, /* durability disk */
    SETUP_SURVIVES = 32,  /* the engine keeps over any end what it has synced */
    SETUP_PLAIN = 64,     /* it admits everything, unasked */
    SETUP_NO_SLOT = 128,  /* there are more lanes than slots */
    SETUP_CLUSTERED = 256 /* of a node with nonce 7; all lanes have incarnation 1 */
};

/* A call that an asynchronous engine ends later. */
struct pending {
    char kind; /* 'g', 'a', 's', or 0 */
    const struct yk_key *keys;
    const struct yk_change *changes;
    uint32_t n;
    yk_value_fn value_fn;
    yk_record_fn record_fn;
    void *arg;
    const struct yk_scan *scan;
    uint64_t bytes_max;
    struct yk_cursor *cursor;
    bool *ret_end;
    struct yk_call *call;
};

struct stub {
    enum mode mode;
    bool survives;
    GTree *records; /* GBytes -> GBytes, the whole key */
    GTree *synced;  /* likewise, as of the last sync; NULL: there was none */
    const struct yk_host *host;
    struct pending pending;
    const char *refused; /* admit refuses values that hold this text */
    enum yk_err apply_result, get_result, scan_result;
    bool answers_twice, answers_not, answers_outside, forgets_first;
    bool is_full;        /* apply refuses batches with puts */
    const char *damaged; /* apply fails with ECORRUPT where a key ends with this text */
    bool has_bad_pages;  /* likewise the pages of a lane */
    enum yk_err sync_result;
    uint32_t n_applied, n_gets, n_scans, n_open, n_syncs;
    uint32_t n_admitted, n_admitted_max; /* puts not applied yet; 0: no bound */
};
extern struct stub stub;

struct answer {
    uint32_t n_done; /* how often it ended */
    uint32_t order;  /* among all answers, from 1 */
    uint32_t result;
    GString *value;
    uint64_t version, number;
    int64_t expiry_ms;
    uint32_t client_flags;
    uint32_t flags;
    uint16_t slot;
    bool is_lost; /* the node died before it ended */
};

/* An entry as the journal has it. */
struct kept {
    struct yk_entry entry; /* its bytes are in key and value */
    GBytes *key, *value;
    uint64_t mark, position, now_ms;
};

struct fake_journal {
    GPtrArray
        *entries; /* struct kept, all that were ever appended, but for what died with a node */
    uint32_t n_reached;      /* of them, the first */
    uint64_t mark;           /* of what is appended now */
    uint64_t reserved, used; /* bytes, since the beginning */
    uint32_t n_flushes;      /* entries; more is set aside for them than they take */
    enum yk_err reserve_result;
    bool is_held; /* nothing is reached until the test says so */

    GPtrArray *fresh, *snapshot; /* struct kept: the one being written, and the whole one or NULL */
    struct yk_bundle *piece;     /* waits to be written; NULL with GIVE_UP */
    uint32_t flags;
    bool has_piece;
    enum yk_err keep_result;
    bool keeps_held; /* pieces wait until the test says so */
    uint32_t n_snapshots, n_given_up;
};

struct bench {
    int setup;
    struct yk_world world;
    struct yk_settings *settings;
    struct yk_shared_budget budget;
    struct yk_ring ring;
    struct yk_lane *lane;
    GQueue jobs; /* to be run */
    struct yk_job *completed;
    GPtrArray *answers;  /* all of them, in the order of submission */
    GHashTable *ops_out; /* ops that have not ended */
    uint64_t now_ms, epoch;
    uint32_t n_answered;
    bool has_no_room;
    struct yk_op *given_back;
    struct fake_journal journal;
};

/* The rule that lanes made from now on leave out (core/replica/group.h); 0: none. */
extern uint32_t bench_mutant;

void bench_make(struct bench *bench, int setup);
void bench_open(struct bench *bench, int setup); /* make, and a lane of epoch 3 */
/* On what the engine holds already, if anything; with a journal on what that has, too. */
void lane_open(struct bench *bench, uint64_t epoch, bool is_shut);
void bench_close(struct bench *bench);
/* The node starts anew on what the engine has kept. */
void bench_restart(struct bench *bench, uint64_t epoch);
/* It dies: of what was appended and not reached n_more entries stand in the journal all the same.
 * An engine that survives has what it had, or, with loses_power, what it had synced. Then a new one
 * starts, and replays the journal from the entry of this index on; UINT32_MAX: from where the lane
 * said that it needs it. */
void bench_crash(struct bench *bench, uint32_t n_more, bool loses_power, uint32_t from);
/* Index of the first entry that a restart needs; n_reached: none of these. */
uint32_t first_needed(const struct bench *bench);

/* Runs what is to be run, until nothing is; what is held waits. */
void pump(struct bench *bench);
/* Runs the jobs, and no more. */
void run_jobs(struct bench *bench);
/* Runs the job, out of its turn. */
void run_job(struct bench *bench, struct yk_job *job);
/* All that was appended stands in the journal; false: it did already. */
bool reach(struct bench *bench);
/* The piece of a snapshot is written; false: there is none. */
bool keep_piece(struct bench *bench);

struct yk_op *op_new(struct bench *bench, struct yk_request request, struct answer **ret_answer);
struct answer *submit(struct bench *bench, struct yk_request request);
struct answer *
store(struct bench *bench, enum yk_mode mode, const char *key, const char *value, int64_t ttl_ms);
struct answer *ask(struct bench *bench, enum yk_opcode op, const char *key);
struct answer *incr(struct bench *bench, const char *key);
struct answer *flush(struct bench *bench, int64_t delay_ms);
void assert_value(struct bench *bench, const char *key, const char *value);
int n_records(void); /* of the engine, without the lane's own */
void sweep_all(struct bench *bench);

#endif
