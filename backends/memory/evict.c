/* Making room: eviction, cleaning, and giving back.
 *
 * S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), segment by
 * segment: new items are written to the small queue, a tenth of the whole. When room is needed, the
 * oldest segment of the queue whose turn it is becomes the victim, and its items are looked at one
 * after another. From small, what was read since goes to main, the rest is evicted and remembered
 * as a ghost; a ghost that is stored again is written to main at once. From main, what was read
 * goes round once more with a hit less, the rest is evicted. When all are looked at, the segment is
 * free.
 *
 * An engine that may not evict, and one whose dead items are many, cleans instead: the segment with
 * most dead bytes of those looked at (a sample; the very best one is hardly better) is the victim,
 * and what lives in it moves.
 *
 * A victim is worked off a few items at a time, by each call that writes: so nobody waits for a
 * whole segment unless memory is short at once, as for a large record. How much a call does is
 * measured in bytes of items looked at: it is bounded by some times what the call writes. */
#include "backends/memory/memory.h"

enum {
    STEP = 8,        /* items whose buckets are fetched together */
    EFFORT_MIN = 64, /* bytes that the smallest item counts for */
    SAMPLE = 64,     /* segments looked at for one to clean */
    SMALL_PART = 10, /* of all segments */
    DEAD_PART = 5,   /* of the log: from here on it is cleaned in the background */
    DEAD_PART_EVICT = 8,
    DEAD_HALF = 2,   /* what a victim must have dead at least: half, */
    DEAD_FEW = 16,   /* or a sixteenth if nothing else helps */
    GHOSTS_PART = 16 /* of the share of the budget, at most */
};

void
memory_remove(struct memory *memory, struct table *table, struct entry entry, uint64_t hash)
{
    uint32_t ref = entry.bucket->refs[entry.index];
    table_remove(&memory->tables, table, entry, hash);
    log_drop(&memory->log, ref);
    if (memory->n_pending > 0) {
        return; /* what is admitted counts on its table */
    }
    table_release(&memory->tables, table);
    if (memory->tables.n_items == 0) {
        tables_reset(&memory->tables);
    }
}

/* Items */

struct found {
    struct item *item;
    uint32_t ref;
    uint32_t size; /* granules */
    uint64_t hash;
    struct table *table;
};

static void
evict(struct memory *memory, const struct found *found, bool is_small)
{
    struct entry entry = table_find_ref(&memory->tables, found->table, found->hash, found->ref);
    if (is_small) {
        ghosts_add(&memory->ghosts, found->hash);
    }
    memory->evictions++;
    memory_remove(memory, found->table, entry, found->hash);
}

/* False: no room. An item with a segment of its own moves with it. */
static bool
move(struct memory *memory, const struct found *found, enum queue_kind queue, uint32_t hits)
{
    struct log *log = &memory->log;
    uint32_t ref;
    found->item->flags = (uint8_t)((found->item->flags & ~ITEM_HITS) | hits);
    if (log_segment(log, found->ref >> OFFSET_BITS)->is_own) {
        log_requeue(log, found->ref >> OFFSET_BITS);
        return true;
    }
    if (!log_append(log, queue, found->size, true, &ref)) {
        return false;
    }
    memcpy(log_item(log, ref), found->item, (size_t)found->size * GRANULE);
    struct entry entry = table_find_ref(&memory->tables, found->table, found->hash, found->ref);
    entry.bucket->refs[entry.index] = ref;
    log_drop(log, found->ref);
    return true;
}

/* False: there is no room for what is to be kept. The hard way it is not kept. */
static bool
settle(struct memory *memory, const struct found *found, enum queue_kind queue, bool is_hard)
{
    uint32_t hits = found->item->flags & ITEM_HITS;
    bool is_small = queue == QUEUE_SMALL;
    if (memory->is_cleaning || hits > 0) {
        bool is_moved = memory->is_cleaning
                            ? move(memory, found, queue, hits)
                            : move(memory, found, QUEUE_MAIN, is_small ? 0 : hits - 1);
        if (is_moved || !is_hard) {
            return is_moved;
        }
    }
    evict(memory, found, is_small);
    return true;
}

/* Finds the next living items of the victim and has their buckets fetched. */
static uint32_t
look(struct memory *memory, uint32_t number, struct found *found, uint32_t n_max)
{
    struct segment *segment = log_segment(&memory->log, number);
    uint32_t n = 0, at = segment->walked;
    while (at < segment->used && n < n_max) {
        uint32_t ref = number << OFFSET_BITS | at;
        struct item *item = log_item(&memory->log, ref);
        uint32_t size = item_size(item);
        if ((item->flags & ITEM_DEAD) == 0) {
            struct found *to = &found[n++];
            *to = (struct found){.item = item, .ref = ref, .size = size};
            if ((item->flags & ITEM_PENDING) != 0) {
                break;
            }
            to->table = table_of(&memory->tables, item->slot);
            to->hash = table_hash_item(&memory->tables, item);
            __builtin_prefetch(table_home(to->table, to->hash));
        } else {
            segment->walked += n == 0 ? size : 0;
        }
        at += size;
    }
    return n;
}

static uint32_t
effort_of(const struct found *found)
{
    uint32_t bytes = found->size * GRANULE;
    return bytes > EFFORT_MIN ? bytes : EFFORT_MIN;
}

/* Looks at some items of the victim and takes from *effort; false: something bars its way, and
 * another must be chosen. */
static bool
step(struct memory *memory, int64_t *effort, bool is_hard)
{
    struct log *log = &memory->log;
    struct found found[STEP];
    uint32_t number = log->victim;
    enum queue_kind queue = (enum queue_kind)log_segment(log, number)->queue;
    uint32_t n = look(memory, number, found, STEP);
    bool is_free = n > 0;
    for (uint32_t i = 0; i < n && is_free && *effort > 0; i++) {
        uint32_t end = (found[i].ref & ((1u << OFFSET_BITS) - 1)) + found[i].size;
        memory->n_looked++;
        *effort -= effort_of(&found[i]);
        is_free =
            (found[i].item->flags & ITEM_PENDING) == 0 && settle(memory, &found[i], queue, is_hard);
        memory->n_settled += is_free ? 1 : 0;
        if (log->victim == number && is_free) {
            log_segment(log, number)->walked = end;
        }
    }
    if (!is_free) {
        log->victim = NO_SEGMENT;
    }
    return is_free;
}

/* Victims */

/* The best of some segments, or NO_SEGMENT: it must have one part in so many dead. */
static uint32_t
sample(struct memory *memory, uint32_t part)
{
    struct log *log = &memory->log;
    uint32_t best = NO_SEGMENT;
    double best_dead = 1.0 / part;
    for (uint32_t i = 0; i < SAMPLE && i < log->n_numbers; i++) {
        memory->hand = memory->hand + 1 < log->n_numbers ? memory->hand + 1 : 1;
        if (memory->hand >= log->n_numbers) {
            break;
        }
        const struct segment *segment = log_segment(log, memory->hand);
        if (segment->is_used && !segment->is_open && !segment->is_own) {
            double dead = (double)(segment->size - segment->live) / segment->size;
            if (dead >= best_dead) {
                best = memory->hand;
                best_dead = dead;
            }
        }
    }
    return best;
}

static bool
choose_dead(struct memory *memory, uint32_t part)
{
    uint32_t number = sample(memory, part);
    if (number == NO_SEGMENT) {
        return false;
    }
    memory->log.victim = number;
    log_segment(&memory->log, number)->walked = 0;
    memory->is_cleaning = true;
    return true;
}

/* The oldest segment of the queue, closed; NO_SEGMENT: the queue is empty, or what is admitted and
 * not applied lies there. */
static uint32_t
oldest_of(struct memory *memory, enum queue_kind kind)
{
    struct log *log = &memory->log;
    uint32_t number = log->queues[kind].oldest;
    if (number != NO_SEGMENT && log_segment(log, number)->is_open) {
        log_close(log, number);
        number = log->queues[kind].oldest;
    }
    return number;
}

static bool
choose_oldest(struct memory *memory, bool from_small)
{
    uint32_t number = oldest_of(memory, from_small ? QUEUE_SMALL : QUEUE_MAIN);
    if (number == NO_SEGMENT) {
        return false;
    }
    memory->log.victim = number;
    memory->is_cleaning = false;
    return true;
}

static bool
is_smalls_turn(const struct memory *memory)
{
    const struct queue *queues = memory->log.queues;
    return queues[QUEUE_MAIN].size == 0 || queues[QUEUE_SMALL].size * SMALL_PART >=
                                               queues[QUEUE_SMALL].size + queues[QUEUE_MAIN].size;
}

static void
fit_ghosts(struct memory *memory)
{
    uint64_t n_max = memory->purse.share / GHOSTS_PART / sizeof(uint16_t);
    ghosts_fit(&memory->ghosts, memory->tables.n_items < n_max ? memory->tables.n_items : n_max);
}

/* What bars the way of eviction, by queue, and of cleaning: what is admitted and not applied, or
 * that there is no room to move to. */
enum bars { BAR_SMALL = 1 << QUEUE_SMALL, BAR_MAIN = 1 << QUEUE_MAIN, BAR_CLEANING = 4 };

/* The next victim; false: there is none that could be worked off now. */
static bool
choose(struct memory *memory, uint32_t bars)
{
    const struct log *log = &memory->log;
    if (!memory->may_evict) {
        return bars == 0 && choose_dead(memory, DEAD_FEW);
    }
    fit_ghosts(memory);
    if ((bars & BAR_CLEANING) == 0 && log_dead(log) * DEAD_PART_EVICT > log->size &&
        choose_dead(memory, DEAD_HALF)) {
        return true;
    }
    bool from_small = is_smalls_turn(memory);
    return ((bars & (from_small ? BAR_SMALL : BAR_MAIN)) == 0 &&
            choose_oldest(memory, from_small)) ||
           ((bars & (from_small ? BAR_MAIN : BAR_SMALL)) == 0 &&
            choose_oldest(memory, !from_small));
}

bool
memory_work(struct memory *memory, int64_t effort)
{
    struct log *log = &memory->log;
    uint64_t settled_before = memory->n_settled;
    uint32_t bars = 0;
    bool is_hard = false;
    while (effort > 0) {
        if (log->victim == NO_SEGMENT && !choose(memory, bars)) {
            if (is_hard || !memory->may_evict) {
                return memory->n_settled > settled_before;
            }
            is_hard = true;
            bars = 0;
            continue;
        }
        uint32_t bar =
            memory->is_cleaning ? BAR_CLEANING : 1u << log_segment(log, log->victim)->queue;
        if (!step(memory, &effort, is_hard)) {
            bars |= bar;
        }
    }
    return true;
}

/* Background */

/* Cleans where it pays most; nothing is evicted for that unless memory is short. */
static void
clean(struct memory *memory, int64_t effort, uint32_t part)
{
    bool goes_on = true;
    while (goes_on && effort > 0) {
        goes_on = (memory->log.victim != NO_SEGMENT || choose_dead(memory, part)) &&
                  step(memory, &effort, false);
    }
}

/* Open segments may stand half empty, and are not counted as waste. */
static bool
is_wasteful(const struct log *log)
{
    uint64_t dead = log_dead(log), open = 2ull * log->segment_size;
    return dead > open && (dead - open) * DEAD_PART > log->size;
}

/* The others miss memory, and this lane has more than its share. */
static void
give_back(struct memory *memory, int64_t effort)
{
    if (ghosts_size(&memory->ghosts) > memory->purse.share / GHOSTS_PART) {
        ghosts_done(&memory->ghosts);
    }
    if (memory->may_evict) {
        memory_work(memory, effort);
    } else {
        clean(memory, effort, DEAD_FEW);
    }
}

void
memory_tend(struct memory *memory, int64_t effort)
{
    struct log *log = &memory->log;
    bool is_over = purse_is_over(&memory->purse);
    log_fit(log);
    if (is_over) {
        give_back(memory, effort);
    } else if (log->n_stock < log->n_stock_max && !log_restock(log) && memory->may_evict) {
        if (!purse_may_hope(&memory->purse)) {
            memory_work(memory, effort);
        }
    } else if ((memory->is_cleaning && log->victim != NO_SEGMENT) || is_wasteful(log)) {
        clean(memory, effort, DEAD_PART);
    }
}
