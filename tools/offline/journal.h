/* `yakumo journal`, in two files: what is in a journal, and the way out of a damaged one.
 *
 * Threads: one. Ownership: nothing is kept. */
#ifndef YK_TOOLS_OFFLINE_JOURNAL_H
#define YK_TOOLS_OFFLINE_JOURNAL_H

#include "tools/verb.h"

/* The number in the name of a segment's file; 0: it is none. */
guint64 journal_number(const char *path);

/* Sets aside what cannot be read in the file and all that follows. is_agreed: do not ask. */
enum exit_code journal_accept_loss(const char *path, bool is_agreed);

#endif
