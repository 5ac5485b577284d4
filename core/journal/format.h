/* The form of journal files, the segments of a log that never ends, and of snapshots.
 *
 *     file   = head (YK_JOURNAL_HEAD_SIZE bytes) batch...
 *     batch  = head (56 bytes) entry... ; begins at a multiple of the file's `align`
 *     entry  = head (24 bytes) [token (8 bytes)] key value
 *
 * A position (LSN) is a count of bytes since the log began: byte `offset` of a segment is at
 * start + offset. Its own, and a salt that each file gets anew, keep what an earlier use of the
 * file left behind from being taken for its content. The head is on the device before the first
 * batch is written. All numbers are little-endian; checksums are XXH3-64.
 *
 *     head of a file    magic (16) | format u32 | align u32 | number u64 | start u64 | size u64 |
 *                       salt u64 | id (16) | synced u32 | n_buckets u32 |
 *                       n_buckets names of 64 bytes | zeros | checksum u64 (the last 8 bytes)
 *     head of a batch   magic u32 | size u32 (with this head) | position u64 | time u64 |
 *                       previous_end u64 | synced u64 | n_entries u32 | zero u32 |
 *                       checksum u64 (of all but itself, seeded by the salt)
 *     head of an entry  value_size u32 | key_size u16 | kind u8 | bucket u8 | slot u16 | zero u16 |
 *                       lag u32 | version u64; the highest bit of kind: a token follows
 *
 * Threads: pure. Ownership: decoded names, keys and values borrow from the bytes. */
#ifndef YK_JOURNAL_FORMAT_H
#define YK_JOURNAL_FORMAT_H

#include "core/base/limits.h"
#include "core/store/entry.h"

#define YK_JOURNAL_FORMAT     1u
#define YK_JOURNAL_HEAD_SIZE  8192u
#define YK_JOURNAL_ID_SIZE    16u
#define YK_BATCH_HEAD_SIZE    56u
#define YK_JOURNAL_ALIGN_DISK 4096u /* writes that go past the page cache are whole blocks */
#define YK_JOURNAL_ALIGN      8u

struct yk_journal_head {
    uint32_t align;
    uint64_t number; /* of the segment, from 1; a snapshot: 0 */
    uint64_t start;  /* position of its first byte; a snapshot: what it stands for begins here */
    uint64_t size;   /* bytes of the file; a snapshot: 0 */
    uint64_t salt;   /* random */
    uint8_t id[YK_JOURNAL_ID_SIZE]; /* of the node: a file of another one is refused */
    bool is_synced; /* some of its writes were answered when they were on the device */
    uint32_t n_buckets;
    char buckets[YK_BUCKETS_MAX][YK_NAME_SIZE_MAX];
};

/* Writes YK_JOURNAL_HEAD_SIZE bytes. */
void yk_journal_head_encode(const struct yk_journal_head *head, uint8_t *to);
/* ENOTFOUND: these bytes begin no file of ours (zeros, another use). ECORRUPT: they did once.
 * EUNSUPPORTED: a newer format. */
enum yk_err
yk_journal_head_decode(struct yk_slice bytes, struct yk_journal_head *ret_head) YK_MUST_CHECK;

struct yk_batch {
    uint64_t position;
    uint64_t now_ms;       /* the wall clock when it was closed */
    uint64_t previous_end; /* of the first of a segment: position where the one before ended */
    uint64_t synced;       /* position before which all was on the device when this was written */
    uint32_t n_entries;
    uint32_t size;           /* bytes in the file, with its head, without what fills the block */
    struct yk_slice entries; /* their bytes */
};

/* Writes the head of a batch that has its entries behind it; all but `entries` of
 * batch is looked at. */
void yk_batch_seal(uint8_t *bytes, const struct yk_batch *batch, uint64_t salt);
/* The batch that begins at bytes, at that position. ENOTFOUND: no batch of this place; ECORRUPT: it
 * begins like one, and is cut short or changed. */
enum yk_err yk_batch_decode(struct yk_slice bytes, uint64_t position, uint64_t salt,
                            struct yk_batch *ret_batch) YK_MUST_CHECK;

/* Writes yk_entry_size_of bytes. */
void yk_entry_encode(const struct yk_entry *entry, uint8_t *to);
/* Takes the entry at *offset of a batch's entries and moves it. ENOTFOUND: no more. ECORRUPT: the
 * writer made a mistake, since the batch's checksum was right. */
enum yk_err yk_entry_next(const struct yk_batch *batch, size_t *offset,
                          struct yk_entry *ret_entry) YK_MUST_CHECK;

static inline uint64_t
yk_round_up(uint64_t number, uint64_t multiple)
{
    return (number + multiple - 1) / multiple * multiple;
}

#endif
