/* The memcached text protocol's lines, taken apart in place.
 *
 * Words stand between spaces (only the space parts them: a tab belongs to a word, as in memcached);
 * a line ends in LF, with or without a CR before it.
 *
 * Threads: pure functions. Ownership: slices point into the bytes given. */
#ifndef YK_MC_PARSE_H
#define YK_MC_PARSE_H

#include <yakumo/base.h>

#define YK_MC_LINE_SIZE_MAX 2048u /* bytes of a line with its end; a get's may be longer */
#define YK_MC_WORDS_MAX     8u    /* words of a line that are kept; the others are counted */
#define YK_MC_KEY_SIZE_MAX  250u  /* memcached's own bound */
#define YK_MC_CLASSES_MAX   64u   /* ids of memcached's slab classes are below it */

/* One command line. */
struct yk_mc_line {
    struct yk_slice words[YK_MC_WORDS_MAX]; /* the first n_words of them, at most YK_MC_WORDS_MAX */
    uint32_t n_words;                       /* on the whole line */
    size_t word_size_max;                   /* bytes of the longest word */
    size_t size;                            /* bytes of the line with its end */
    bool has_odd;                           /* a CR or NUL stands within a word */
};

/* What stands next on a get's line. */
enum yk_mc_key {
    YK_MC_KEY_NEXT = 0, /* a key, more may follow */
    YK_MC_KEY_LAST = 1, /* a key and the line's end */
    YK_MC_KEY_NONE = 2, /* the line's end */
    YK_MC_KEY_BAD = 3,  /* a key that is too long or holds a CR or NUL */
    YK_MC_KEY_PART = 4, /* not all of it is there yet */
};

/* Takes the line at the front of bytes apart. False: its end has not come; ret_line then holds the
 * words that are surely whole, and in size the bytes to the end of the last of them. */
bool yk_mc_parse_line(const uint8_t *bytes, size_t size, struct yk_mc_line *ret_line);

/* Where the first byte up to the space stands, from `at` on; size: there is none. */
size_t yk_mc_find_low(const uint8_t *bytes, size_t size, size_t at);

/* Takes the next key off the front of bytes. *ret_used: bytes that are done with: to behind the
 * key, and to behind the line's end for LAST and NONE; the leading spaces for BAD and PART. */
enum yk_mc_key yk_mc_parse_key(const uint8_t *bytes, size_t size, size_t key_size_max,
                               struct yk_slice *ret_key, size_t *ret_used);

/* Takes the next word off the front of words, which are parted by spaces; false: none is left. */
bool yk_mc_next_word(struct yk_slice *words, struct yk_slice *ret_word);

/* Decimal numbers that fill the word. A plus sign may stand before them, for i64 also a minus. */
bool yk_mc_parse_u64(struct yk_slice word, uint64_t *ret_number);
bool yk_mc_parse_u32(struct yk_slice word, uint32_t *ret_number);
bool yk_mc_parse_i64(struct yk_slice word, int64_t *ret_number);

/* A list of slab classes: numbers from 1 to 63 with commas between them (more commas do no harm).
 * *ret_has_first: 1 is one of them, the class that all our items are said to be in. */
bool yk_mc_parse_classes(struct yk_slice word, bool *ret_has_first);

/* Is the word this text? */
static inline bool
yk_mc_word_is(struct yk_slice word, const char *text)
{
    return yk_slice_equal(word, yk_slice_of_text(text));
}

#endif
