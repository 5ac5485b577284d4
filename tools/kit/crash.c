/* What an engine holds after close, after kill -9, and beside a second process in its folder. */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/kit/backend.h"

enum {
    N_ITEMS = 200,
    KILL_VALUE_SIZE_MAX = 3000,
    BATCHES_MAX = 20000, /* a child that nobody kills ends by itself */
    REPORTS_MAX = 60,    /* until it is killed */
    DELAY_US_MAX = 3000
};

/* -- Close and open again. -- */

void
kit_run_reopen(struct kit *kit)
{
    bool is_volatile = (kit_bench_info(kit).caps & YK_BACKEND_VOLATILE) != 0;
    for (uint32_t round = 0; round < kit->rounds; round++) {
        struct kit_bench *bench = kit_bench_new(kit, "reopen", round);
        for (int i = 0; i < 4; i++) {
            kit_bench_open(bench, N_ITEMS);
            bench->model.rule = is_volatile ? KIT_VOLATILE : KIT_REOPEN;
            kit_bench_check(bench);
            bench->model.rule = 0;
            kit_model_exercise(&bench->model, &bench->engine, &bench->random, kit->ops / 20);
            kit_bench_close(bench);
            if (is_volatile) {
                kit_model_clear(&bench->model);
            }
        }
        kit_progress(kit, round, kit->rounds);
        kit_bench_free(bench);
    }
    kit_shows(kit, "volatile", is_volatile ? KIT_SHOWN : KIT_LACKS,
              is_volatile ? "nothing was there after close" : "all was there after close and open");
}

/* -- kill -9. -- */

/* What the child says once it has looked at what it found, in one write; then one byte for each
 * batch that ended. */
struct found {
    uint32_t is_open;
    uint32_t n_kept, n_lost, n_stale, n_errors;
    uint8_t is_new[KIT_BATCH_MAX]; /* of the batch that was under way: 1 new, 0 old */
    char error[YK_ERROR_SIZE];
};

struct killing {
    struct kit_bench *bench;
    struct kit_batch flying;     /* under way when the last child was killed; n 0: none */
    bool is_told[KIT_BATCH_MAX]; /* of its changes: one can see whether it is there */
    uint64_t seed;               /* of the round's batches */
    bool must_survive;
    bool is_atomic;
    bool was_opening; /* when it was killed last */
    uint64_t n_rounds_kept, n_kept, n_lost, n_unopened, n_batches, n_whole, n_none;
};

struct looking {
    struct kit_item **items;
    struct found *found;
};

static void
look_at(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct looking *looking = arg;
    struct kit_item *item = looking->items[index];
    if (kit_item_match(item, result, value)) {
        looking->found->n_kept += item->states[0].id != 0;
    } else if (result == YK_OK && !kit_item_is_absent(item)) {
        looking->found->n_stale++;
    } else if (result == YK_OK || result == YK_ENOTFOUND) {
        looking->found->n_lost++;
    } else {
        looking->found->n_errors++;
    }
}

/* The rule that is broken by what is found now. */
static enum kit_rule
rule_of(const struct killing *killing, enum kit_rule rule)
{
    return killing->was_opening ? KIT_KILL_OPEN : rule;
}

static bool
is_whole(const struct found *found)
{
    return found->n_lost == 0 && found->n_stale == 0 && found->n_errors == 0;
}

static bool
is_state(const struct kit_item *item, const struct kit_value *value)
{
    return item->n_states == 1 && item->states[0].id == value->id;
}

/* Is the batch that was under way there, and all of it? */
static void
look_at_flying(const struct killing *killing, struct found *found)
{
    const struct kit_batch *flying = &killing->flying;
    uint32_t n_new = 0, n_old = 0;
    for (uint32_t i = 0; i < flying->n; i++) {
        bool is_new = is_state(flying->items[i], &flying->values[i]);
        const struct kit_item *item = flying->items[i];
        found->is_new[i] = is_new;
        if (item->n_states == 1 && killing->is_told[i]) {
            n_new += is_new;
            n_old += !is_new;
        }
    }
    if (killing->is_atomic && n_new > 0 && n_old > 0) {
        kit_broken(killing->bench->kit, rule_of(killing, KIT_ATOMIC),
                   "after kill -9 %u changes of the batch under way are there and %u are not",
                   n_new, n_old);
    }
}

static void
look(struct killing *killing, struct found *found)
{
    struct kit_bench *bench = killing->bench;
    for (uint32_t i = 0; i < bench->model.n_items; i++) {
        struct kit_item *item = &bench->model.items[i];
        const struct kit_key *key = &item->key;
        struct looking looking = {&item, found};
        if (kit_engine_get(&bench->engine, &key, 1, look_at, &looking) != YK_OK) {
            found->n_errors++;
        }
    }
    if (!is_whole(found)) {
        if (killing->must_survive) {
            kit_broken(bench->kit, rule_of(killing, KIT_KILL),
                       "after kill -9 %u records are gone, %u have an older value, %u end in error",
                       found->n_lost, found->n_stale, found->n_errors);
        }
        return;
    }
    look_at_flying(killing, found);
    const struct kit_disturbance none = {.bytes_max = YK_SCAN_BYTES_MAX};
    bench->model.rule = killing->must_survive ? rule_of(killing, KIT_KILL) : 0;
    kit_model_scan(&bench->model, &bench->engine, &bench->random, &none);
    bench->model.rule = 0;
}

static void
say(int fd, const void *data, size_t size)
{
    if (write(fd, data, size) != (ssize_t)size) {
        kit_child_end();
    }
}

/* Opens, says what is there, and applies until it is killed. */
static _Noreturn void
be_victim(struct killing *killing, int fd)
{
    struct kit_bench *bench = killing->bench;
    struct found found = {.is_open = 1};
    struct kit_batch batch;
    if (kit_engine_open(&bench->engine, &bench->place, found.error) != YK_OK) {
        if (killing->must_survive) {
            kit_broken(bench->kit, rule_of(killing, KIT_KILL), "after kill -9 it does not open: %s",
                       found.error);
        }
        found.is_open = 0;
    } else {
        look(killing, &found);
    }
    say(fd, &found, sizeof(found));
    if (!found.is_open || !is_whole(&found)) {
        kit_child_end();
    }
    bench->random.state = killing->seed;
    for (uint32_t i = 0; i < BATCHES_MAX; i++) {
        kit_batch_make(&bench->model, &bench->random, 1 + i % KIT_BATCH_MAX, &batch);
        kit_batch_apply(&bench->model, &bench->engine, &batch);
        say(fd, "A", 1);
    }
    kit_child_end();
}

/* Reads until n bytes came or the other end is closed. */
static size_t
hear(int fd, void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    return done;
}

static void
start_anew(struct killing *killing)
{
    struct kit_bench *bench = killing->bench;
    g_free(kit_make_folder(bench->kit, "kill")); /* again, empty */
    kit_model_clear(&bench->model);
    killing->flying.n = 0;
}

/* Brings the model to what the child said and did. */
static void
follow(struct killing *killing, const struct found *found, size_t n_ended)
{
    struct kit_bench *bench = killing->bench;
    struct kit_batch *flying = &killing->flying;
    uint32_t n_new = 0, n_old = 0;
    for (uint32_t i = 0; i < flying->n; i++) {
        struct kit_item *item = flying->items[i];
        n_new += killing->is_told[i] && found->is_new[i];
        n_old += killing->is_told[i] && !found->is_new[i];
        item->states[0] = item->states[found->is_new[i] ? item->n_states - 1 : 0];
        item->n_states = 1;
    }
    killing->n_whole += n_new > 0 && n_old == 0;
    killing->n_none += n_new == 0 && n_old > 0;
    bench->random.state = killing->seed;
    for (size_t i = 0; i <= n_ended; i++) {
        kit_batch_make(&bench->model, &bench->random, 1 + i % KIT_BATCH_MAX, flying);
        for (uint32_t k = 0; k < flying->n; k++) {
            killing->is_told[k] =
                kit_values_differ(&flying->items[k]->states[0], &flying->values[k]);
        }
        kit_batch_settle(&bench->model, flying, i < n_ended ? YK_OK : YK_EUNKNOWN, false);
    }
    killing->n_batches += n_ended;
    killing->n_kept += found->n_kept;
    killing->n_rounds_kept++;
}

/* True: the child broke no promise and what it said was followed. */
static void
kill_once(struct killing *killing, bool is_last)
{
    struct kit_bench *bench = killing->bench;
    struct found found;
    int fds[2];
    char ended[BATCHES_MAX], status[128];
    size_t n_before = yk_random_below(&bench->random, REPORTS_MAX);
    uint64_t delay_us = yk_random_below(&bench->random, DELAY_US_MAX);
    bool is_early = !is_last && yk_random_below(&bench->random, 8) == 0;
    killing->seed = yk_random_next(&bench->random);
    uint64_t state = bench->random.state;
    if (pipe(fds) != 0) {
        abort();
    }
    int pid = kit_fork(bench->kit);
    if (pid == 0) {
        close(fds[0]);
        be_victim(killing, fds[1]);
    }
    close(fds[1]);
    bool has_found = !is_early && hear(fds[0], &found, sizeof(found)) == sizeof(found);
    size_t n_ended = has_found ? hear(fds[0], ended, n_before) : 0;
    g_usleep(delay_us);
    kill(pid, SIGKILL);
    if (is_early) {
        has_found = hear(fds[0], &found, sizeof(found)) == sizeof(found);
    }
    n_ended += has_found ? hear(fds[0], ended, BATCHES_MAX - n_ended) : 0;
    close(fds[0]);
    if (!kit_wait(pid, status, sizeof(status)) && strstr(status, "signal 9") == NULL) {
        kit_broken(bench->kit, rule_of(killing, KIT_KILL),
                   "opening after kill -9 ends the process with %s", status);
    }
    if (!has_found && !is_early) {
        kit_child_end(); /* it said itself what was broken */
    }
    killing->was_opening = !has_found;
    if (has_found && (!found.is_open || !is_whole(&found))) {
        killing->n_unopened += !found.is_open;
        killing->n_lost += found.n_lost + found.n_stale + found.n_errors;
        start_anew(killing);
    } else if (has_found) {
        follow(killing, &found, n_ended);
    }
    bench->random.state = state;
}

static void
tell_kills(const struct killing *killing, uint32_t n_kills)
{
    struct kit *kit = killing->bench->kit;
    bool is_kept = killing->n_lost == 0 && killing->n_unopened == 0;
    if (killing->must_survive) {
        kit_shows(kit, "survives kill", KIT_SHOWN, "%u kills, %llu batches that had ended", n_kills,
                  (unsigned long long)killing->n_batches);
    } else if (is_kept) {
        kit_shows(kit, "survives kill", KIT_HELD, "%u kills cost nothing", n_kills);
    } else {
        kit_shows(kit, "survives kill", KIT_LACKS,
                  "of %u kills %llu left it unreadable; %llu records were lost", n_kills,
                  (unsigned long long)killing->n_unopened, (unsigned long long)killing->n_lost);
    }
    bool is_seen = killing->n_whole + killing->n_none > 0;
    if (killing->is_atomic) {
        kit_shows(kit, "atomic batch", is_seen ? KIT_SHOWN : KIT_UNSHOWN,
                  "of the batches under way at a kill %llu were there whole, %llu not at all",
                  (unsigned long long)killing->n_whole, (unsigned long long)killing->n_none);
    } else {
        kit_shows(kit, "atomic batch", KIT_LACKS, "not held to it");
    }
}

void
kit_run_kill(struct kit *kit)
{
    struct yk_backend_info info = kit_bench_info(kit);
    if ((info.caps & YK_BACKEND_VOLATILE) != 0) {
        kit_shows(kit, "atomic batch",
                  (info.caps & YK_BACKEND_ATOMIC_BATCH) != 0 ? KIT_UNSHOWN : KIT_LACKS,
                  "it is volatile: nothing is left to look at after a kill");
        return;
    }
    struct killing killing = {.bench = kit_bench_new(kit, "kill", 0),
                              .must_survive = (info.caps & YK_BACKEND_SURVIVES_KILL) != 0,
                              .is_atomic = (info.caps & YK_BACKEND_ATOMIC_BATCH) != 0};
    uint32_t n_kills = kit->rounds * 3;
    kit_bench_model(killing.bench, N_ITEMS);
    killing.bench->model.value_size_max =
        MIN(killing.bench->model.value_size_max, (uint32_t)KILL_VALUE_SIZE_MAX);
    for (uint32_t i = 0; i <= n_kills; i++) {
        kill_once(&killing, i == n_kills);
        kit_progress(kit, i, n_kills);
    }
    tell_kills(&killing, n_kills);
    kit_bench_free(killing.bench);
}

/* -- A second process. -- */

static _Noreturn void
be_second(struct kit_bench *bench, int fd)
{
    char error[YK_ERROR_SIZE] = "", go;
    if (hear(fd, &go, 1) != 1) {
        kit_child_end();
    }
    alarm(30); /* one that waits for the lock is told as such */
    enum yk_err result = kit_engine_open(&bench->engine, &bench->place, error);
    if (result != YK_OK) {
        kit_remark(bench->kit, "a second process on the same folder is refused: %s", error);
        if (error[0] == '\0') {
            kit_broken(bench->kit, KIT_ERROR_TEXT, "a second process is refused without a word");
        }
    } else {
        kit_remark(bench->kit, "a second process on the same folder opens it too");
        kit_engine_close(&bench->engine);
    }
    kit_child_end();
}

void
kit_run_second(struct kit *kit)
{
    int fds[2];
    char status[128];
    if ((kit_bench_info(kit).caps & YK_BACKEND_VOLATILE) != 0) {
        return;
    }
    struct kit_bench *bench = kit_bench_new(kit, "second", 0);
    if (pipe(fds) != 0) {
        abort();
    }
    int pid = kit_fork(kit); /* before the first is open, for it must not inherit that */
    if (pid == 0) {
        close(fds[1]);
        be_second(bench, fds[0]);
    }
    close(fds[0]);
    kit_bench_open(bench, N_ITEMS);
    kit_bench_fill(bench, 20);
    say(fds[1], "g", 1);
    if (!kit_wait(pid, status, sizeof(status))) {
        kit_remark(kit, "a second process on the same folder ends with %s", status);
    }
    close(fds[1]);
    kit_bench_check(bench);
    kit_bench_free(bench);
}
