/* Where batches go: the segments of a node's one log, from the oldest that is still needed to those
 * that are made ready ahead. Says what is to be done with files, and does nothing to them.
 *
 *     wants -> (made) -> ready -> current -> old -> (every lane is past it) -> trimmed
 *
 * Room: what is accepted must find its place, so it is set aside before a write is judged
 * (yk_journal_room in bundle.h). A ready segment gives its size without head and without the most
 * that can be left over at its end; what was not left over is given back when it is known.
 *
 * Source: PROTOCOL "Durability". Threads: whoever holds the owner's lock. Ownership: owns its
 * tables. */
#ifndef YK_JOURNAL_LOG_H
#define YK_JOURNAL_LOG_H

#include <yakumo/base.h>

struct yk_log_config {
    uint32_t align;        /* of batches */
    uint64_t segment_size; /* bytes of a new one: at least 4 * waste_max */
    uint64_t waste_max;    /* bytes of the largest batch, with what fills its block */
};

struct yk_log_segment {
    uint64_t number; /* from 1, without gaps */
    uint64_t start;  /* position of its first byte */
    uint64_t size;   /* bytes of the file */
    uint64_t end;    /* position where its content ends for now */
};

struct yk_log {
    struct yk_log_config config;
    struct yk_log_segment *used; /* oldest first; the last is current, if has_current */
    uint32_t n_used, used_room;
    bool has_current;
    uint32_t n_ready;     /* files that wait to be current: the numbers after the last used one */
    uint64_t next_number; /* of the next one to be made */
    uint64_t next_start;  /* of it */
};

void yk_log_init(struct yk_log *log, const struct yk_log_config *config);
void yk_log_done(struct yk_log *log);

/* At a start: a segment that is there, in the order of numbers. Nothing will be added to it. */
enum yk_err yk_log_found(struct yk_log *log, const struct yk_log_segment *segment) YK_MUST_CHECK;

/* Another file should be made ready: with this number, start and size. */
bool yk_log_wants(const struct yk_log *log, struct yk_log_segment *ret_segment);
/* It is. Returns the bytes of room that came with it. */
int64_t yk_log_ready(struct yk_log *log);

struct yk_log_place {
    struct yk_log_segment segment; /* as it is after this batch */
    uint64_t position;             /* of the batch; its offset is position - segment.start */
    bool is_first;                 /* of its segment */
    uint64_t previous_end;         /* then: where the one before ended; 0: there was none */
    int64_t room; /* bytes that leave the room beyond the batch; negative: come back */
};

/* A place for a batch of size bytes. ENOSPACE: more was accepted than there was room. */
enum yk_err
yk_log_place(struct yk_log *log, uint64_t size, struct yk_log_place *ret_place) YK_MUST_CHECK;

/* Where the next batch would go, at the least. */
uint64_t yk_log_end(const struct yk_log *log);
/* Bytes from the oldest segment that is kept to the end. */
uint64_t yk_log_kept(const struct yk_log *log);
/* Takes off the oldest segment, if all that is in it is before needed_from. */
bool yk_log_trim(struct yk_log *log, uint64_t needed_from, struct yk_log_segment *ret_segment);
/* Lanes that need what is before this position are to be checkpointed, so that no more than
 * size_max bytes are kept; 0: none. */
uint64_t yk_log_pressure(const struct yk_log *log, uint64_t size_max);

#endif
