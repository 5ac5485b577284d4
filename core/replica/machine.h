/* The inside of a lane, for the files of this room only.
 *
 * Threads: the lane's, but for what a job calls back on an executor: yk_lane_got and
 * yk_lane_scanned of an engine that is not inline. Ownership: see lane.h. */
#ifndef YK_REPLICA_MACHINE_H
#define YK_REPLICA_MACHINE_H

#include "core/replica/job.h"
#include "core/replica/overlay.h"

#define SEQUENCE_BITS 40
#define SEQUENCE_MAX  ((1ull << SEQUENCE_BITS) - 1)
#define SWEEP_BYTES   (32u * 1024)

/* What a slot knows beyond its records. */
struct slot {
    uint64_t sequence;      /* of the last version given */
    uint64_t flush_version; /* records up to this one are absent */
    uint64_t flush_at_ms;   /* a flush to come, judged by slot time; 0: none */
};

struct yk_lane {
    struct yk_lane_config config;
    const struct yk_backend_info *info;
    struct slot *slots; /* of this lane: index slot / n_lanes */
    uint32_t n_slots;
    uint64_t now_ms; /* slot time: never goes back */
    bool is_inline;  /* the engine answers at once */
    bool with_checksum;
    bool is_stopped; /* apply failed: what the engine holds is not known */
    struct yk_overlay overlay;
    struct yk_op_queue queue;   /* submitted */
    struct yk_op_queue scans;   /* SCAN and STATS, one of each in a job */
    struct yk_op_queue decided; /* writes with their record, to be admitted and applied */
    struct yk_job *job;
    bool job_is_out;
    uint32_t n_errands;

    /* The sweep. */
    struct yk_scan_state *sweep;
    struct yk_op *sweep_op;
    bool has_mortals; /* records with an end, or flushed ones, were seen since the sweep began */
    bool sweep_is_out;
};

/* Bytes of the prefix that this lane's engine wants in front of a key. */
static inline uint32_t
lane_prefix(const struct yk_lane *lane)
{
    return (lane->info->caps & YK_BACKEND_SEGMENTS) ? 0 : 4;
}

/* slot.c */
void lane_settle(struct yk_lane *lane, struct slot *slot);   /* a flush whose time has come */
struct slot *lane_slot(struct yk_lane *lane, uint32_t slot); /* settled */
bool lane_sees(struct yk_lane *lane, uint32_t slot, const struct yk_record *record);

/* judge.c */
extern const char lane_stopped_text[];
void lane_judge(struct yk_lane *lane, struct yk_op *op, struct yk_slice old); /* empty: no record */
void lane_answer(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text);
void lane_fail_write(struct yk_lane *lane, struct yk_op *op, enum yk_err result, const char *text);
void lane_finish_kept(struct yk_lane *lane, struct yk_op *op); /* what an executor read for it */
void lane_finish_writes(struct yk_lane *lane, struct yk_job *job);

/* sweep.c */
void lane_finish_scan(struct yk_lane *lane, struct yk_job *job);

#endif
