/* Transcripts: what a client says, and what it must hear. One file is one connection to an empty
 * bucket. A line begins with a sign and a space:
 *
 *     # text   a remark
 *     > text   the client sends text and CR LF
 *     < text   the server answers text and CR LF, after the lines sent so far
 *     = closed the server closes the connection
 *     ~ ms     so many milliseconds pass
 *     ? a = b  the frontend has this option
 *     ! reason for people
 *
 * In a text: \r \n \t \0 \\ and \xHH are bytes; \{120*k} is 120 times the byte k; a \ at the end of
 * the line takes away the CR LF. In an answer \{*} stands for a run of anything but spaces and
 * control bytes, and \{=u} keeps such a run; \{u} puts it in, in what is sent or answered later.
 *
 * A file may hold lines of a notation that a protocol has for itself, with the signs } and {: it is
 * left to that plugin's own tests.
 *
 * Threads: one. Ownership: a transcript owns its steps. */
#ifndef YK_TOOLS_KIT_TRANSCRIPT_H
#define YK_TOOLS_KIT_TRANSCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

enum { KIT_VARIABLES = 26 };

/* An exchange: what is sent, and the pattern of what must come. */
struct kit_step {
    GString *sent;     /* with \{u} still in it */
    GString *expected; /* a pattern */
    uint64_t pause_ms; /* before it */
    bool is_closed;    /* the connection must be closed after it */
    uint32_t line;     /* in the file, of its first line */
};

struct kit_transcript {
    char *name;
    GPtrArray *steps;   /* struct kit_step */
    GPtrArray *options; /* char *: name, value, name, value */
    bool has_pause;
    bool is_foreign; /* has lines of another notation */
};

/* What \{=u} kept, one for each letter. */
struct kit_variables {
    GString *values[KIT_VARIABLES];
};

void kit_variables_init(struct kit_variables *variables);
void kit_variables_done(struct kit_variables *variables);

/* NULL: error (YK_ERROR_SIZE bytes) has the line that cannot be read. */
struct kit_transcript *kit_transcript_read(const char *path, char *error);
void kit_transcript_free(struct kit_transcript *transcript);
/* All *.txt of the folder by name, as struct kit_transcript, without foreign ones, which are
 * counted; NULL likewise. */
GPtrArray *kit_transcripts_read(const char *folder, uint32_t *ret_n_foreign, char *error);

/* The bytes of a step with the variables put in. */
GString *kit_step_bytes(const struct kit_step *step, const struct kit_variables *variables);
/* Does output, from *at on, start with what is expected? Moves *at behind it. */
bool kit_step_matches(const struct kit_step *step, const GByteArray *output, size_t *at,
                      struct kit_variables *variables);

#endif
