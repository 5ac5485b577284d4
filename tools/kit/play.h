/* One node with the tested frontend (shim.h) over the kit's own engine, and one connection to it:
 * the core's own router executes, in one thread, on a clock that stands still.
 *
 * Threads: one. Ownership: a play owns its node; kit is lent. */
#ifndef YK_TOOLS_KIT_PLAY_H
#define YK_TOOLS_KIT_PLAY_H

#include "core/node/node.h"
#include "tools/kit/shim.h"

#define KIT_PLAY_NOW_MS 1700000000000ull

struct kit_play {
    struct kit *kit;
    struct kit_host host;
    struct kit_shim shim;
    struct yk_config *config;
    struct yk_node *node;
    struct yk_session *session; /* NULL: none, or closed */
    GByteArray *input;          /* not yet read by the core; own */
    GByteArray *output;         /* all that came; own */
    size_t piece_max;           /* bytes that the core reads at once; 0: all there are */
    bool has_eof, was_eof_read, is_closed;
};

/* options: name, value, name, value; NULL: none beyond the kit's. fails_at: the number of the
 * allocation that fails; 0: none. NULL: that one made it fail. */
struct kit_play *
kit_play_new(struct kit *kit, const GPtrArray *options, uint64_t seed, uint64_t fails_at);
/* Closes all, and sees that the plugin gave all back. */
void kit_play_free(struct kit_play *play);

/* A connection; false: it was refused. One at a time. */
bool kit_play_connect(struct kit_play *play);
/* Bytes come, and are worked on until nothing is left to do. */
void kit_play_send(struct kit_play *play, const void *bytes, size_t size);
void kit_play_eof(struct kit_play *play);
void kit_play_advance(struct kit_play *play, uint64_t ms);
/* The bytes come, and the client is gone before anything is done. */
void kit_play_vanish(struct kit_play *play, const void *bytes, size_t size);

#endif
