/* Scans of a hash database that go on after a stop, whatever is deleted or moved meanwhile.
 *
 * Tokyo Cabinet has one iterator for each handle and can set it to a record that is there, by its
 * key. So each scan is a pass that this engine keeps: the key of the record that comes next. A
 * change of that very record moves the pass on first; and a record that grows may move to a place
 * that the pass has behind it, so its key is noted, and shown at the end.
 *
 * Passes are few; the one that was left alone longest makes room for a new one, and starts over if
 * it comes back: a record is seen at least once.
 *
 * Threads: as the engine's. Ownership: passes own their keys. */
#ifndef YK_BACKENDS_TOKYOCABINET_SCAN_H
#define YK_BACKENDS_TOKYOCABINET_SCAN_H

#include <yakumo/backend.h>

#include <tchdb.h>

#define PASSES_MAX 16

struct noted_key {
    uint8_t *data;
    uint32_t size;
};

struct pass {
    uint64_t id; /* 0: not in use */
    uint64_t used;
    bool is_lost;          /* starts over when it goes on */
    struct noted_key next; /* data NULL: all records were passed, the noted ones come */
    struct noted_key *moved;
    uint32_t n_moved, moved_max, moved_at;
};

struct passes {
    const struct yk_host *host;
    struct pass passes[PASSES_MAX];
    uint32_t n_used;
    uint64_t clock;
    TCXSTR *key, *value; /* of the record at the iterator */
};

/* false: no memory. */
bool passes_init(struct passes *passes, const struct yk_host *host);
void passes_done(struct passes *passes);
/* Before the change is made. */
void passes_note(struct passes *passes, TCHDB *db, const struct yk_change *change);
/* Records were moved in ways that nobody noted. */
void passes_lose(struct passes *passes);
/* A step of a scan. False: the database failed. */
bool passes_step(struct passes *passes, TCHDB *db, const struct yk_scan *scan,
                 struct yk_cursor *cursor, yk_record_fn fn, void *arg, bool *ret_end);

#endif
