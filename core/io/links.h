/* The connections of one thread to other nodes: whole frames out, whole frames in. What a frame
 * means is the machine's.
 *
 * Worker i of node A opens a connection to worker j of node B when it first has something for it,
 * and says hello; what B's worker j sends to A's worker i goes by a connection of its own. B may
 * have accepted on another of its threads: that one reads the hello and hands the connection over.
 * A tool is answered on its own connection.
 *
 * A link that fails forgets what it had to send, tells so (state), and connects again, after 10 ms
 * at first, after 1 s at last, with jitter; one that nobody has sent anything to for a minute gives
 * up until somebody does. Frames of one direction of a pair come in order, and none twice; after a
 * failure some may be missing.
 *
 *     outgoing:  IDLE -- send --> CONNECTING -- connected --> ASKING -- welcome --> UP
 *                CONNECTING, ASKING, UP -- failure, no answer in time --> WAITING --> CONNECTING
 *                WAITING -- nobody wants it --> IDLE
 *     incoming:  GREETING -- hello for this thread --> UP -- failure --> (gone)
 *                GREETING -- hello for another --> LEAVING -- nothing more is read --> (handed
 * over) GREETING -- a hello that is refused --> REFUSED -- said so --> (gone) GREETING -- no hello
 * in time, or other bytes --> (gone)
 *
 * Threads: new by any, before the thread runs; all else by the thread that waits on the loop.
 * Ownership: yk_links owns its connections; loop, peers and world are lent until free. */
#ifndef YK_IO_LINKS_H
#define YK_IO_LINKS_H

#include "core/base/buffer.h"
#include "core/base/world.h"
#include "core/io/peers.h"

struct yk_links;

struct yk_links_config {
    const struct yk_world *world;
    struct yk_loop *loop;
    struct yk_peers *peers;
    uint32_t worker; /* of this thread; YK_WORKER_CONTROL is one */
    int listener_fd; /* this thread's own socket of the node's listener, lent; -1: it accepts none
                      */
    void *arg;
    /* The machine may send from within these, and nothing else. */

    /* A whole frame, from that worker of that node (or tool). The bytes stay until the next
     * yk_links_flush. */
    void (*frame)(void *arg, uint32_t peer, uint32_t worker, struct yk_slice bytes);
    /* The link to it is up; or it is not, and what was queued or sent may be lost. The latter is
     * told again whenever something more was lost. Of a tool: it has come, it has gone. */
    void (*state)(void *arg, uint32_t peer, uint32_t worker, bool is_up);
};

enum yk_err
yk_links_new(const struct yk_links_config *config, struct yk_links **ret_links) YK_MUST_CHECK;
/* Closes all without a word. By the thread that waits, or after it has ended, if it never waited.
 * Takes NULL. */
void yk_links_free(struct yk_links *links);
/* Accepts from here on; after yk_loop_start. */
void yk_links_start(struct yk_links *links);

/* Takes the reference, in any case. bytes: one or more whole frames. They go out at the next flush,
 * or when the link is up; more than YK_LINK_OUTPUT_MAX that wait are a failure of the link. */
void yk_links_send(struct yk_links *links, uint32_t peer, uint32_t worker, struct yk_buffer *bytes);

/* After each wait and before the machine's turn: takes what was handed over, ends what has failed
 * or took too long. */
void yk_links_run(struct yk_links *links);
/* After the machine's turn: sends, one call for each connection, and connects. */
void yk_links_flush(struct yk_links *links);
/* How long the next wait may be at most, in ms; -1: for ever. */
int yk_links_timeout(const struct yk_links *links);

struct yk_links_counts {
    uint64_t frames;   /* received */
    uint64_t dropped;  /* buffers that were to be sent and are lost for sure */
    uint64_t refused;  /* connections that came in and got no welcome */
    uint32_t n_up;     /* outgoing links that are up */
    uint32_t n_guests; /* connections that came in and are open */
};
void yk_links_count(const struct yk_links *links, struct yk_links_counts *ret_counts);

#endif
