/* What the files of the links share (internal to them): links.c is their life and time, link_out.c
 * and link_in.c the two kinds, link_bytes.c what goes through them.
 *
 * Threads: the one that waits on the loop. Ownership: a link owns its socket, its input and the
 * references in its output. */
#ifndef YK_IO_LINKS_INSIDE_H
#define YK_IO_LINKS_INSIDE_H

#include <sys/queue.h>

#include "core/base/random.h"
#include "core/io/links.h"
#include "core/io/listen.h"

enum {
    LINK_HELLO_MS = 5000,    /* to connect and to have an answer; to say hello */
    LINK_FAREWELL_MS = 1000, /* to read why it is refused */
    LINK_BACKOFF_FIRST_MS = 20,
    LINK_BACKOFF_MAX_MS = 1000, /* half of it, or more, at random */
    LINK_PROVEN_MS = 1000,      /* up for so long: the next back-off is the first again */
    LINK_WANTED_MS = 60000,     /* after the last send */
    LINK_SILENT_S = 10,         /* bytes not acknowledged, or no answer of the system there */
    LINK_SLICES_MAX = 64
};

enum link_state {
    LINK_IDLE,       /* outgoing: no connection, and nobody wants one */
    LINK_WAITING,    /* outgoing: connects when its time has come */
    LINK_CONNECTING, /* outgoing */
    LINK_ASKING,     /* outgoing: hello is on its way, or its answer */
    LINK_GREETING,   /* incoming: no hello yet */
    LINK_LEAVING,    /* incoming: to be handed over */
    LINK_REFUSED,    /* incoming: it is being told why */
    LINK_UP
};

/* Bytes of a frame that is not whole, or of what goes with a connection. */
struct link_bytes {
    void *next; /* in yk_links.retired */
    size_t size, room;
    uint8_t data[];
};

struct link {
    struct yk_loop_conn loop; /* first */
    struct yk_links *links;
    enum link_state state;
    uint32_t peer, worker; /* of the other end; incoming: once it is known */
    bool is_outgoing;
    bool has_conn;        /* loop is in the loop, and its fd is open */
    bool is_failed;       /* in links->failed */
    bool is_touched;      /* in links->touched */
    bool is_timed;        /* in links->timed */
    bool has_lost;        /* something that was to be sent */
    bool is_tool;         /* in links->tools, not in links->guests */
    bool is_complained;   /* its failure is in the log; until it is up */
    uint64_t deadline_ms; /* of its state; 0: none */
    TAILQ_ENTRY(link) in_failed, in_touched, in_timed, in_guests;

    /* Input. */
    struct yk_splitter splitter;
    struct link_bytes *partial; /* NULL: no part of a frame waits */

    /* Output: the head goes first; the queue only while the link is up. */
    struct yk_buffer *head;
    struct yk_buffer **queue; /* a ring */
    uint32_t first, n_queued, queue_room;
    uint64_t queued_size;
    size_t offset; /* bytes of the first buffer that are sent */

    /* Outgoing. */
    union yk_socket_address address;
    uint64_t wanted_until_ms, up_since_ms;
    uint32_t backoff_ms;

    /* Incoming. */
    struct yk_hello *hello; /* of one that is leaving */
};

TAILQ_HEAD(link_list, link);

struct yk_links {
    struct yk_links_config config;
    struct yk_loop_handler handler;
    uint64_t now_ms;                   /* monotonic */
    uint64_t next_ms;                  /* no deadline is before it; 0: there is none */
    struct link **peers[YK_PEERS_MAX]; /* outgoing, by worker place; NULL: none yet */
    struct link_list guests, tools;    /* incoming */
    struct link_list failed, touched, timed;
    uint32_t n_leaving;
    void *retired; /* memory that frames of this turn lie in */
    uint64_t complained_ms;
    struct yk_random random;
    struct yk_links_counts counts;
};

/* links.c */
void yk_link_touch(struct link *link);
void yk_link_set_deadline(struct link *link, uint64_t in_ms); /* 0: none */
/* It is ended by the next run. why goes into the log at once; NULL: there is nothing to say. */
void yk_link_fail(struct link *link, const char *why);
/* One line in a second at most. */
void yk_links_complain(struct yk_links *links, const char *format, ...) YK_PRINTF(2, 3);
void yk_links_retire(struct yk_links *links, void *memory); /* its first word is ours */
void yk_link_set_options(int fd);
/* Out of the loop; the descriptor is the caller's. */
int yk_link_detach(struct link *link);
/* Out of all lists; the link is freed. */
void yk_link_free(struct link *link);

/* link_bytes.c */
void yk_link_expect(struct link *link, uint64_t frame_size_max);
void yk_link_take(struct link *link, const uint8_t *bytes, size_t size);
void yk_link_room(struct link *link, uint8_t **ret_room, size_t *ret_size);
bool yk_link_put(struct link *link, struct yk_buffer *bytes) YK_MUST_CHECK;
/* Packs what goes before the queue; false: no memory. */
bool yk_link_put_hello(struct link *link, const struct yk_hello *hello) YK_MUST_CHECK;
bool yk_link_put_welcome(struct link *link, const struct yk_welcome *welcome) YK_MUST_CHECK;
void yk_link_send(struct link *link);
void yk_link_sent(struct link *link, size_t size);
void yk_link_drop(struct link *link); /* all input and output */

/* link_out.c */
struct link *yk_link_to(struct yk_links *links, uint32_t peer, uint32_t worker); /* or NULL */
void yk_link_connect(struct link *link);
void yk_link_connected(struct link *link, int error);
void yk_link_answered(struct link *link, struct yk_slice frame);
void yk_link_waited(struct link *link);
void yk_link_lost(struct link *link);
/* A node that has come to us can be gone to: the back-offs of links to it end. */
void yk_link_end_waits(struct yk_links *links, uint32_t peer);

/* link_in.c */
void yk_link_accepted(struct yk_links *links, int fd);
void yk_link_greeted(struct link *link, struct yk_slice frame);
void yk_link_leave(struct link *link); /* if nothing more is read */
void yk_links_take_handed(struct yk_links *links);
void yk_link_gone(struct link *link);

#endif
