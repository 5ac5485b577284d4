/* Writing: what all workers have submitted is taken as one round, laid out, written, and given
 * back, after a wait for the device where that was asked for.
 *
 * Where no bucket waits for the device, the worker that submits writes: into the page cache, which
 * takes less than waking another thread for it. A thread of its own, the flusher, does it else, and
 * for a while after such a write took long, because too much waits for the disk: a loop that is
 * held up answers nobody.
 *
 * Group commit: while a round is on its way the next one gathers. After a round whose writers are
 * being answered, their next writes are about to come: so a round with fewer entries than the last
 * waits for them, no longer than the last one took, nor than a millisecond. A round costs the
 * kernel as much work as some requests do: many small ones, though the device would bear them,
 * leave less of the cores for the requests themselves. Waiting a quarter of that time, or not at
 * all, was measured to be slower. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/io/journal_inside.h"

enum {
    STAGING_SIZE = 4 * 1024 * 1024,
    ROUND_MAX = 1024,
    GATHER_MAX_US = 1000,
    HERE_MAX = 4, /* rounds that a worker writes before the flusher goes on */
    SLOW_US = 10000,
    SLOW_PAUSE_US = 10000000
};

void
journal_fail(struct yk_journal *journal, const char *what, uint64_t number)
{
    yk_log(journal->config.world, YK_LOG_ERROR, "journal",
           "cannot %s %s/%012llu.log: %s; what it holds is not known now: the node ends, and finds "
           "out at its next start",
           what, journal->folder, (unsigned long long)number, strerror(errno));
    journal->config.failed(journal->config.arg);
}

static uint64_t
now_us(const struct yk_journal *journal)
{
    return journal->config.world->now_us(journal->config.world->arg);
}

/* Writing */

static int
open_flags(const struct yk_journal *journal)
{
    return journal->is_direct ? O_WRONLY | O_CLOEXEC | O_DIRECT | O_DSYNC : O_WRONLY | O_CLOEXEC;
}

static void
sync_current(struct yk_journal *journal, uint64_t number)
{
    if (journal->is_dirty && fdatasync(journal->fd) < 0) {
        journal_fail(journal, "sync", number);
    }
    journal->is_dirty = false;
    journal->synced_to = journal->written_to;
}

static void
open_segment(struct yk_journal *journal, uint64_t number)
{
    char path[YK_SEGMENT_PATH_SIZE];
    if (journal->fd >= 0) {
        if (journal->config.has_disk) {
            sync_current(journal, number - 1);
        }
        close(journal->fd);
    }
    yk_segment_path(journal->folder, number, path);
    journal->fd = open(path, open_flags(journal));
    if (journal->fd < 0 && journal->is_direct && errno == EINVAL) {
        journal->is_direct = false; /* not on this file system: fdatasync, then */
        journal->fd = open(path, open_flags(journal));
    }
    if (journal->fd < 0) {
        journal_fail(journal, "open", number);
    }
}

static void
write_staged(struct yk_journal *journal, uint64_t number)
{
    uint64_t done = 0;
    while (done < journal->staged) {
        ssize_t written = pwrite(journal->fd, journal->staging + done, journal->staged - done,
                                 (off_t)(journal->staged_at + done));
        if (written < 0 && errno != EINTR) {
            journal_fail(journal, "write", number);
        }
        done += written > 0 ? (uint64_t)written : 0;
    }
    journal->is_dirty = journal->is_dirty || (journal->staged > 0 && !journal->is_direct);
    journal->staged_at += journal->staged;
    journal->staged = 0;
    journal->written_to = journal->segment_start + journal->staged_at;
    journal->synced_to = journal->is_direct ? journal->written_to : journal->synced_to;
}

static void
stage_room(struct yk_journal *journal, uint64_t size, uint64_t number)
{
    if (journal->staged > 0 && journal->staged + size > STAGING_SIZE) {
        write_staged(journal, number);
    }
    if (size > journal->staging_size) {
        free(journal->staging);
        journal->staging_size = yk_round_up(size, STAGING_SIZE);
        if (posix_memalign((void **)&journal->staging, YK_JOURNAL_ALIGN_DISK,
                           journal->staging_size) != 0) {
            errno = ENOMEM;
            journal_fail(journal, "write", number);
        }
    }
}

/* Rounds: the bundles of one are as few batches as they fit into, since each begins a block. */

struct plan {
    struct yk_log_place place;
    uint32_t first, n; /* bundles */
    uint32_t size, n_entries;
    uint64_t reserved; /* what its bundles had set aside */
};

struct round {
    struct yk_bundle *bundles[ROUND_MAX];
    bool syncs[ROUND_MAX]; /* of bundles: one that was given back may be anything by now */
    struct plan plans[ROUND_MAX];
    uint32_t n, n_plans, n_entries;
    bool has_disk;
};

static void
stage_plan(struct yk_journal *journal, const struct round *round, const struct plan *plan)
{
    const struct yk_log_place *place = &plan->place;
    uint64_t padded = yk_round_up(plan->size, journal->head.align);
    uint64_t number = place->segment.number;
    if (place->is_first) {
        write_staged(journal, number - 1);
        open_segment(journal, number);
        journal->segment_start = place->segment.start;
    }
    stage_room(journal, padded, number);
    if (journal->staged == 0) {
        journal->staged_at = place->position - place->segment.start;
    }
    struct yk_batch batch = {.position = place->position,
                             .now_ms = journal->config.world->now_ms(journal->config.world->arg),
                             .previous_end = place->previous_end,
                             .synced = journal->synced_to,
                             .n_entries = plan->n_entries,
                             .size = plan->size};
    uint8_t *start = journal->staging + journal->staged, *to = start + YK_BATCH_HEAD_SIZE;
    for (uint32_t i = plan->first; i < plan->first + plan->n; i++) {
        struct yk_bundle *bundle = round->bundles[i];
        memcpy(to, bundle->bytes + YK_BATCH_HEAD_SIZE, bundle->size - YK_BATCH_HEAD_SIZE);
        to += bundle->size - YK_BATCH_HEAD_SIZE;
        bundle->position = place->position;
    }
    memset(to, 0, padded - plan->size);
    yk_batch_seal(start, &batch, journal->salts[number % SALTS]);
    journal->staged += padded;
}

static void
take_bundle(struct yk_journal *journal, struct round *round, struct plan *plan)
{
    struct yk_bundle *bundle = journal->first;
    journal->first = bundle->next;
    journal->n_waiting -= bundle->n_entries;
    plan->reserved += bundle->reserved;
    plan->size += bundle->size - YK_BATCH_HEAD_SIZE;
    plan->n_entries += bundle->n_entries;
    plan->n++;
    round->syncs[round->n] = bundle->syncs;
    round->bundles[round->n++] = bundle;
    round->n_entries += bundle->n_entries;
    round->has_disk = round->has_disk || bundle->syncs;
}

/* With the lock held. What its bundles had set aside becomes what the batch takes. */
static bool
plan_batch(struct yk_journal *journal, struct round *round)
{
    uint64_t size_max = journal->log.config.waste_max - YK_JOURNAL_ALIGN_DISK;
    struct plan *plan = &round->plans[round->n_plans++];
    *plan = (struct plan){.first = round->n, .size = YK_BATCH_HEAD_SIZE};
    do {
        take_bundle(journal, round, plan);
    } while (journal->first != NULL && round->n < ROUND_MAX &&
             plan->size + journal->first->size - YK_BATCH_HEAD_SIZE <= size_max);
    enum yk_err result = yk_log_place(&journal->log, plan->size, &plan->place);
    YK_ASSERT(result == YK_OK); /* its room was taken before it was accepted */
    uint64_t padded = yk_round_up(plan->size, journal->head.align);
    yk_journal_give(&journal->room, (int64_t)(plan->reserved - padded) - plan->place.room);
    journal->figures.bytes += padded;
    return plan->place.is_first;
}

/* With the lock held. */
static bool
lay_out(struct yk_journal *journal, struct round *round)
{
    round->n = round->n_plans = round->n_entries = 0;
    round->has_disk = false;
    bool has_switched = false;
    while (journal->first != NULL && round->n < ROUND_MAX) {
        has_switched = plan_batch(journal, round) || has_switched;
    }
    if (journal->first == NULL) {
        journal->last = &journal->first;
    }
    journal->figures.batches += round->n_plans;
    journal->figures.rounds++;
    return has_switched;
}

static void
give_back(struct yk_journal *journal, const struct round *round, bool syncs)
{
    struct yk_bundle *first = NULL, **last = &first;
    for (uint32_t i = 0; i < round->n; i++) {
        if (round->syncs[i] == syncs) {
            *last = round->bundles[i];
            last = &round->bundles[i]->next;
        }
    }
    *last = NULL;
    if (first != NULL) {
        journal->config.done(journal->config.arg, first);
    }
}

static void
write_round(struct yk_journal *journal, const struct round *round)
{
    uint64_t number = round->plans[round->n_plans - 1].place.segment.number;
    for (uint32_t i = 0; i < round->n_plans; i++) {
        stage_plan(journal, round, &round->plans[i]);
    }
    write_staged(journal, number);
    give_back(journal, round, false);
    if (round->has_disk) {
        sync_current(journal, number);
        give_back(journal, round, true);
    }
}

/* With the lock held, and lets go of it meanwhile. Returns how long it took. */
static uint64_t
take_round(struct yk_journal *journal)
{
    struct round *round = journal->round;
    journal->is_writing = true;
    if (lay_out(journal, round)) {
        pthread_cond_signal(&journal->has_tasks); /* another file is to be made ready */
    }
    pthread_mutex_unlock(&journal->lock);
    uint64_t began_us = now_us(journal);
    write_round(journal, round);
    uint64_t took_us = now_us(journal) - began_us;
    pthread_mutex_lock(&journal->lock);
    journal->is_writing = false;
    journal->sync_us = round->has_disk ? took_us : 0;
    journal->n_answered = round->n_entries;
    return took_us;
}

/* With the lock held: those who were just answered may write again. */
static void
gather(struct yk_journal *journal)
{
    uint64_t wait_us = journal->sync_us < GATHER_MAX_US ? journal->sync_us : GATHER_MAX_US;
    struct timespec until;
    if (wait_us == 0 || journal->n_waiting >= journal->n_answered) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)wait_us * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int waited = 0;
    while (waited == 0 && journal->n_waiting < journal->n_answered && !journal->is_ending) {
        waited = pthread_cond_timedwait(&journal->has_bundles, &journal->lock, &until);
    }
}

void
flusher_write_here(struct yk_journal *journal)
{
    for (uint32_t i = 0; i < HERE_MAX && journal->first != NULL; i++) {
        uint64_t took_us = take_round(journal);
        if (took_us > SLOW_US) {
            journal->here_from_us = now_us(journal) + SLOW_PAUSE_US;
            break;
        }
    }
    if (journal->first != NULL) {
        pthread_cond_signal(&journal->has_bundles);
    }
}

void *
flusher_run(void *arg)
{
    struct yk_journal *journal = arg;
    pthread_mutex_lock(&journal->lock);
    for (;;) {
        while ((journal->first == NULL || journal->is_writing) && !journal->is_ending) {
            pthread_cond_wait(&journal->has_bundles, &journal->lock);
        }
        if (journal->first == NULL) {
            break;
        }
        gather(journal);
        (void)take_round(journal);
    }
    pthread_mutex_unlock(&journal->lock);
    return NULL;
}

enum yk_err
flusher_open(struct yk_journal *journal)
{
    journal->fd = -1;
    journal->round = malloc(sizeof(*journal->round));
    return journal->round != NULL ? YK_OK : YK_ENOMEM;
}

void
flusher_close(struct yk_journal *journal)
{
    if (journal->fd >= 0) {
        close(journal->fd);
        journal->fd = -1;
    }
    free(journal->staging);
    journal->staging = NULL;
    free(journal->round);
    journal->round = NULL;
}
