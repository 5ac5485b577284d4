/* The data folder: what a node is, and what is in its folder, so that it is never misread.
 *
 *     DATA/node            the superblock: a text in the grammar of the config (one section, and
 * one for each bucket), whose last line is a checksum; replaced by rename and fsync DATA/lock held
 * by the process that uses the folder DATA/registers/      of the coordinator, see registers.h
 *     DATA/BUCKET/lane-NNN/   of engines that keep something
 *
 * A folder with a newer format, other lanes, another form of a bucket, or another process in it is
 * refused. One of an older format is taken over: format 1 knew no registers, and its incarnations
 * did not look at the kernel's boot.
 *
 * An incarnation stands for what a lane remembers: it is another one whenever something that was
 * acknowledged may be forgotten. Numbers only rise, and none is given out twice.
 *
 *     durability   the lanes are another incarnation
 *     memory       at each start (as with any engine that keeps nothing)
 *     os           at a start under another boot of the kernel, if the node was not stopped cleanly
 *     disk         never by a start; see yk_datadir_renew_lanes
 *
 * Threads: the main thread's. Ownership: a yk_datadir owns the lock and all that it points to. */
#ifndef YK_IO_DATADIR_H
#define YK_IO_DATADIR_H

#include "core/config/config.h"

#define YK_DATADIR_FORMAT 2u

struct yk_datadir {
    char *path;
    int lock_fd;
    char cluster_id[37]; /* UUIDs as text */
    bool has_joined;     /* it is that of a cluster of several nodes; else the folder's own */
    char node_id[37];
    uint64_t nonce; /* of this start: random, not 0 */
    uint64_t boots; /* this start is number `boots`, counted from 1 */
    uint64_t epoch; /* of this start: greater than that of any before, durable; at least as great as
                       any in the registers */
    uint32_t lanes;
    bool is_looked_at; /* by yk_datadir_look: what is recorded of the last run stays */
    bool was_clean;    /* the last run ended by yk_datadir_close */
    bool same_boot;    /* the last run was under the boot of the kernel that runs now; of a run that
                          was not ended cleanly, still so after starts that did not get far */
    char boot_id[64];  /* that is recorded */
    uint32_t n_buckets;
    char **buckets;          /* names, as given to yk_datadir_open */
    uint32_t **incarnations; /* of each bucket, one for each lane */
    uint32_t incarnation;    /* the last that was given out */
    char *state;             /* the text of DATA/node without its checksum */
};

/* An option of the bucket's engine or of a filter that is part of the data's form. */
struct yk_datadir_option {
    const char *name; /* "PLUGIN.OPTION" */
    const char *text;
};

/* A bucket as the folder records it. */
struct yk_datadir_bucket {
    const char *name;
    uint32_t slots;
    const char *engine;
    const char *filters; /* names with commas between them */
    bool is_volatile;    /* keeps nothing: may change its form from one start to the next */
    enum yk_durability durability;
    const struct yk_datadir_option *options;
    uint32_t n_options;
};

/* Opens or makes the folder, takes the lock, checks what is there against lanes and buckets, and
 * raises the epoch durably. On failure error (YK_ERROR_SIZE bytes) says what and where. */
enum yk_err
yk_datadir_open(const char *path, uint32_t lanes, const struct yk_datadir_bucket *buckets,
                uint32_t n_buckets, struct yk_datadir *ret_datadir, char *error) YK_MUST_CHECK;
/* Likewise, but only to look: the folder must be there, takes the lock, and changes nothing; the
 * epoch is that of the last start, and buckets are all that the folder knows, also those that the
 * config does not name. *ret_is_damaged, on failure: DATA/node cannot be read. */
enum yk_err yk_datadir_look(const char *path, struct yk_datadir *ret_datadir, bool *ret_is_damaged,
                            char *error) YK_MUST_CHECK;
/* Is a bucket of the config as the folder that is being looked at has it? EINVALID: error says how
 * it differs. *ret_is_there: the folder knows it. */
enum yk_err
yk_datadir_compare(const struct yk_datadir *datadir, const struct yk_datadir_bucket *bucket,
                   bool *ret_is_there, char *error) YK_MUST_CHECK;
/* Marks the folder as cleanly left, if is_clean, and lets it go. */
void yk_datadir_close(struct yk_datadir *datadir, bool is_clean);
/* What the last run left has been looked through: from here on it is this boot of the kernel under
 * which something may be lost. */
enum yk_err yk_datadir_recovered(struct yk_datadir *datadir, char *error) YK_MUST_CHECK;
/* Makes epoch the one of this start, durably, if it is greater. Before a register with it is
 * written: so registers that are lost are made again above it. */
enum yk_err
yk_datadir_raise_epoch(struct yk_datadir *datadir, uint64_t epoch, char *error) YK_MUST_CHECK;
/* The folder is one of that cluster's from here on, durably. While no other thread looks at it. */
enum yk_err
yk_datadir_join(struct yk_datadir *datadir, const char *cluster_id, char *error) YK_MUST_CHECK;
/* Some lanes of a bucket have forgotten something (they are damaged): each gets a new incarnation,
 * durably. */
enum yk_err
yk_datadir_renew_lanes(struct yk_datadir *datadir, uint32_t bucket_index, const uint32_t *lanes,
                       uint32_t n_lanes, char *error) YK_MUST_CHECK;
/* Makes and returns DATA/BUCKET/lane-NNN, g_malloc'd; NULL: error says why. */
char *yk_datadir_lane_folder(const struct yk_datadir *datadir, const char *bucket, uint32_t lane,
                             char *error);

#endif
