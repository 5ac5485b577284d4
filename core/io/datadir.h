/* The data folder: what a node is, and what is in its folder, so that it is never misread.
 *
 *     DATA/node    a text in the grammar of the config (one section, and one for each bucket),
 * whose last line is a checksum; replaced by rename and fsync DATA/lock    held by the process that
 * uses the folder DATA/BUCKET/lane-NNN/   of engines that keep something
 *
 * A folder with a newer format, other lanes, another form of a bucket, or another process in it is
 * refused.
 *
 * Threads: the main thread's. Ownership: a yk_datadir owns the lock. */
#ifndef YK_IO_DATADIR_H
#define YK_IO_DATADIR_H

#include "core/config/config.h"

#define YK_DATADIR_FORMAT 1u

struct yk_datadir {
    char *path;
    int lock_fd;
    char cluster_id[37]; /* UUIDs as text */
    char node_id[37];
    uint64_t boots; /* this start is number `boots`, counted from 1 */
    uint64_t epoch; /* of this start: greater than that of any before, durable */
    uint32_t lanes;
    bool was_clean; /* the last run ended by yk_datadir_close */
    bool same_boot; /* the last run was under the boot of the kernel that runs now */
    char *state;    /* the text of DATA/node without its checksum */
};

/* A bucket as the folder records it. */
struct yk_datadir_bucket {
    const char *name;
    uint32_t slots;
    const char *engine;
    const char *filters; /* names with commas between them */
    bool is_volatile;    /* keeps nothing: may change its form from one start to the next */
};

/* Opens or makes the folder, takes the lock, checks what is there against lanes and buckets, and
 * raises the epoch durably. On failure error (YK_ERROR_SIZE bytes) says what and where. */
enum yk_err
yk_datadir_open(const char *path, uint32_t lanes, const struct yk_datadir_bucket *buckets,
                uint32_t n_buckets, struct yk_datadir *ret_datadir, char *error) YK_MUST_CHECK;
/* Marks the folder as cleanly left, if is_clean, and lets it go. */
void yk_datadir_close(struct yk_datadir *datadir, bool is_clean);
/* Makes and returns DATA/BUCKET/lane-NNN, g_malloc'd; NULL: error says why. */
char *yk_datadir_lane_folder(const struct yk_datadir *datadir, const char *bucket, uint32_t lane,
                             char *error);

#endif
