/* The option table of a plugin: what may stand in its section of the config file.
 *
 * From this one table come the checks, the messages, --help, the man page and --dump-config. The
 * host parses and bounds every value, and hands each option to config() once, defaults included, so
 * a plugin holds no default and no parser of its own.
 *
 * Threads: immutable. Ownership: tables are static in the module. */
#ifndef YAKUMO_OPTION_H
#define YAKUMO_OPTION_H

#include <yakumo/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum yk_option_type {
    YK_OPTION_BOOL = 1,     /* yes, no, true, false, on, off, 1, 0 */
    YK_OPTION_UINT = 2,     /* decimal; value in number */
    YK_OPTION_SIZE = 3,     /* bytes: a number with an optional K, M, G or T (powers of 1024) */
    YK_OPTION_DURATION = 4, /* us, ms, s, m, h or d behind a number; value in microseconds */
    YK_OPTION_STRING = 5,   /* any text */
    YK_OPTION_ENUM = 6,     /* one of choices */
    YK_OPTION_LIST = 7,     /* texts with commas between them, spaces around each dropped */
    YK_OPTION_RATIO = 8,    /* 0.25 or 25%; value in number as parts of a million */
};

enum yk_option_flags {
    YK_OPTION_RELOAD = 1u << 0, /* may change on SIGHUP: config() is called again while open */
    YK_OPTION_FIXED =
        1u << 1, /* part of the data's form: recorded in the data folder, never changed */
};

struct yk_option {
    uint32_t struct_size;
    uint32_t type;        /* enum yk_option_type */
    uint32_t flags;       /* enum yk_option_flags */
    const char *name;     /* [a-z0-9_]+ */
    const char *fallback; /* the default, written as in a file; NULL: none (empty) */
    uint64_t min, max;    /* bounds of UINT, SIZE, DURATION (us), RATIO (ppm); of a text's size for
                             STRING; of the count for LIST. max 0: no upper bound */
    const char *const *choices; /* for ENUM: names, ended by NULL */
    const char *help;           /* one or more full sentences, for the man page */
};

/* A checked value. Borrowed for the length of the call. */
struct yk_option_value {
    uint32_t struct_size;
    uint32_t type;    /* as in the table */
    const char *text; /* as written, outer spaces dropped; never NULL */
    uint64_t number;  /* BOOL (0, 1), UINT, SIZE, DURATION, RATIO; index into choices for ENUM */
    const char *const *list; /* LIST: the parts, ended by NULL */
    uint32_t n_list;
};

#define YK_OPTION_HEAD (uint32_t)sizeof(struct yk_option)

#ifdef __cplusplus
}
#endif

#endif
