/* Passes: see scan.h. */
#include "backends/tokyocabinet/scan.h"

#include <stdlib.h>

enum { MOVED_FIRST = 64, MOVED_MAX = 8192 };

/* Keys */

static void
key_free(struct passes *passes, struct noted_key *key)
{
    passes->host->release(passes->host, key->data);
    *key = (struct noted_key){NULL, 0};
}

static bool
key_set(struct passes *passes, struct noted_key *key, const void *data, size_t size)
{
    uint8_t *copy = passes->host->alloc(passes->host, size + 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, data, size);
    key_free(passes, key);
    *key = (struct noted_key){copy, (uint32_t)size};
    return true;
}

static bool
key_is(const struct noted_key *key, const struct yk_key *other)
{
    return key->data != NULL && key->size == other->size &&
           memcmp(key->data, other->data, key->size) == 0;
}

/* Passes */

static void
pass_forget(struct passes *passes, struct pass *pass)
{
    key_free(passes, &pass->next);
    while (pass->n_moved > 0) {
        key_free(passes, &pass->moved[--pass->n_moved]);
    }
    pass->moved_at = 0;
}

static void
pass_end(struct passes *passes, struct pass *pass)
{
    pass_forget(passes, pass);
    passes->host->release(passes->host, pass->moved);
    *pass = (struct pass){.id = 0};
    passes->n_used--;
}

static void
pass_lose(struct passes *passes, struct pass *pass)
{
    pass_forget(passes, pass);
    pass->is_lost = true;
}

/* The pass of the cursor, or a new one. */
static struct pass *
pass_of(struct passes *passes, struct yk_cursor *cursor)
{
    uint64_t id = 0;
    struct pass *oldest = NULL;
    if (cursor->size == sizeof(id)) {
        memcpy(&id, cursor->data, sizeof(id));
    }
    passes->clock++;
    for (int i = 0; i < PASSES_MAX; i++) {
        struct pass *pass = &passes->passes[i];
        if (id != 0 && pass->id == id) {
            pass->used = passes->clock;
            return pass;
        }
        if (oldest == NULL || pass->used < oldest->used) {
            oldest = pass;
        }
    }
    if (oldest->id != 0) {
        pass_end(passes, oldest);
    }
    *oldest = (struct pass){.id = passes->clock, .used = passes->clock, .is_lost = true};
    passes->n_used++;
    memcpy(cursor->data, &oldest->id, sizeof(oldest->id));
    cursor->size = sizeof(oldest->id);
    return oldest;
}

bool
passes_init(struct passes *passes, const struct yk_host *host)
{
    *passes = (struct passes){.host = host};
    passes->key = tcxstrnew();
    passes->value = tcxstrnew();
    return true;
}

void
passes_done(struct passes *passes)
{
    for (int i = 0; i < PASSES_MAX; i++) {
        if (passes->passes[i].id != 0) {
            pass_end(passes, &passes->passes[i]);
        }
    }
    tcxstrdel(passes->key);
    tcxstrdel(passes->value);
}

void
passes_lose(struct passes *passes)
{
    for (int i = 0; i < PASSES_MAX; i++) {
        if (passes->passes[i].id != 0) {
            pass_lose(passes, &passes->passes[i]);
        }
    }
}

/* Changes */

static void
note_moved(struct passes *passes, struct pass *pass, const struct yk_key *key)
{
    if (pass->n_moved > 0 && key_is(&pass->moved[pass->n_moved - 1], key)) {
        return;
    }
    if (pass->n_moved == pass->moved_max) {
        uint32_t max = pass->moved_max == 0 ? MOVED_FIRST : pass->moved_max * 2;
        struct noted_key *moved =
            max > MOVED_MAX ? NULL
                            : passes->host->resize(passes->host, pass->moved, max * sizeof(*moved));
        if (moved == NULL) {
            pass_lose(passes, pass);
            return;
        }
        pass->moved = moved;
        pass->moved_max = max;
    }
    pass->moved[pass->n_moved] = (struct noted_key){NULL, 0};
    if (!key_set(passes, &pass->moved[pass->n_moved], key->data, key->size)) {
        pass_lose(passes, pass);
        return;
    }
    pass->n_moved++;
}

/* The record that comes next is about to go: the one behind it is next. */
static void
step_over(struct passes *passes, struct pass *pass, TCHDB *db)
{
    if (!tchdbiterinit2(db, pass->next.data, (int)pass->next.size) ||
        !tchdbiternext3(db, passes->key, passes->value)) {
        pass_lose(passes, pass);
        return;
    }
    if (!tchdbiternext3(db, passes->key, passes->value)) {
        key_free(passes, &pass->next);
    } else if (!key_set(passes, &pass->next, tcxstrptr(passes->key),
                        (size_t)tcxstrsize(passes->key))) {
        pass_lose(passes, pass);
    }
}

void
passes_note(struct passes *passes, TCHDB *db, const struct yk_change *change)
{
    if (passes->n_used == 0) {
        return;
    }
    bool is_put = change->kind == YK_CHANGE_PUT;
    int size = is_put ? tchdbvsiz(db, change->key.data, (int)change->key.size) : -1;
    bool may_move = size >= 0 && (size_t)size < change->value.size;
    for (int i = 0; i < PASSES_MAX; i++) {
        struct pass *pass = &passes->passes[i];
        if (pass->id == 0 || pass->is_lost) {
            continue;
        }
        if (may_move) {
            note_moved(passes, pass, &change->key);
        }
        if ((may_move || !is_put) && key_is(&pass->next, &change->key)) {
            step_over(passes, pass, db);
        }
    }
}

/* Steps */

struct step {
    const struct yk_scan *scan;
    yk_record_fn fn;
    void *arg;
    uint64_t bytes;
};

/* False: it is to be shown by the next step. */
static bool
show(struct step *step, const void *data, size_t size, struct yk_slice value)
{
    struct yk_key key = yk_key_stored(data, size);
    if (step->bytes >= step->scan->bytes_max || !step->fn(step->arg, &key, value)) {
        return false;
    }
    step->bytes += size + value.size;
    return true;
}

/* From the first record, or the one that comes next. False: the database failed. */
static bool
set_out(struct passes *passes, struct pass *pass, TCHDB *db)
{
    if (!pass->is_lost && tchdbiterinit2(db, pass->next.data, (int)pass->next.size)) {
        return true;
    }
    pass_forget(passes, pass);
    pass->is_lost = false;
    return tchdbiterinit(db);
}

/* True: all that can be shown now was shown, or the pass is over. */
static bool
show_records(struct passes *passes, struct pass *pass, TCHDB *db, struct step *step, bool *ret_stop)
{
    *ret_stop = false;
    if (!set_out(passes, pass, db)) {
        return false;
    }
    while (tchdbiternext3(db, passes->key, passes->value)) {
        size_t size = (size_t)tcxstrsize(passes->key);
        struct yk_slice value =
            yk_slice_of(tcxstrptr(passes->value), (size_t)tcxstrsize(passes->value));
        if (!show(step, tcxstrptr(passes->key), size, value)) {
            *ret_stop = true;
            if (!key_set(passes, &pass->next, tcxstrptr(passes->key), size)) {
                pass_lose(passes, pass);
            }
            return true;
        }
    }
    key_free(passes, &pass->next);
    return tchdbecode(db) == TCENOREC || tchdbecode(db) == TCESUCCESS;
}

static void
show_moved(struct pass *pass, TCHDB *db, struct step *step)
{
    for (; pass->moved_at < pass->n_moved; pass->moved_at++) {
        const struct noted_key *key = &pass->moved[pass->moved_at];
        int size;
        char *value = tchdbget(db, key->data, (int)key->size, &size);
        bool is_shown =
            value == NULL || show(step, key->data, key->size, yk_slice_of(value, (size_t)size));
        free(value);
        if (!is_shown) {
            return;
        }
    }
}

bool
passes_step(struct passes *passes, TCHDB *db, const struct yk_scan *scan, struct yk_cursor *cursor,
            yk_record_fn fn, void *arg, bool *ret_end)
{
    struct pass *pass = pass_of(passes, cursor);
    struct step step = {.scan = scan, .fn = fn, .arg = arg};
    bool is_stopped = false;
    if ((pass->is_lost || pass->next.data != NULL) &&
        !show_records(passes, pass, db, &step, &is_stopped)) {
        return false;
    }
    if (!is_stopped) {
        show_moved(pass, db, &step);
    }
    *ret_end = !is_stopped && pass->moved_at == pass->n_moved;
    if (*ret_end) {
        pass_end(passes, pass);
    }
    return true;
}
