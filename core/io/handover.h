/* Connections on their way from the thread that accepted them to the one that their hello asks for:
 * a box for each thread of the node that talks to other nodes, by its worker number.
 *
 * Threads: any; one lock for all boxes, since a connection passes only once. Ownership: what is put
 * belongs to the box, what is taken to the caller; a box borrows its loop from open to close. */
#ifndef YK_IO_HANDOVER_H
#define YK_IO_HANDOVER_H

#include <pthread.h>

#include "core/io/loop.h"
#include "core/wire/hello.h"

struct yk_handed {
    void *next;
    int fd;
    struct yk_hello hello;
    size_t size; /* bytes that came behind the hello */
    uint8_t bytes[];
};

struct yk_box {
    struct yk_loop *loop; /* to be woken; NULL: there is no such thread */
    struct yk_handed *first, *last;
    uint32_t n; /* atomic, written under the lock */
};

struct yk_handover {
    pthread_mutex_t lock;
    struct yk_box boxes[YK_WORKERS_MAX + 1]; /* the last is the control thread's */
};

/* The place of a worker number in an array of YK_WORKERS_MAX + 1; greater: there is none. */
static inline uint32_t
yk_worker_place(uint32_t worker)
{
    return worker == YK_WORKER_CONTROL ? YK_WORKERS_MAX
           : worker < YK_WORKERS_MAX   ? worker
                                       : YK_WORKERS_MAX + 1;
}

void yk_handover_init(struct yk_handover *handover);
/* Every box must be closed. */
void yk_handover_done(struct yk_handover *handover);

void yk_handover_open(struct yk_handover *handover, uint32_t worker, struct yk_loop *loop);
/* Nothing more is put; returns what was. */
struct yk_handed *yk_handover_close(struct yk_handover *handover, uint32_t worker);
bool yk_handover_has(struct yk_handover *handover, uint32_t worker);

/* False: nobody is there, or YK_GREETINGS_MAX wait already; the caller keeps it. Wakes the loop. */
bool yk_handover_put(struct yk_handover *handover, uint32_t worker,
                     struct yk_handed *handed) YK_MUST_CHECK;
/* A chain in the order in which they were put, or NULL. Without the lock where there is none. */
struct yk_handed *yk_handover_take(struct yk_handover *handover, uint32_t worker);

#endif
