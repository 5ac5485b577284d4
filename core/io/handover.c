/* Boxes of connections that change threads. */
#include <config.h>

#include "core/io/handover.h"

#include "core/base/assert.h"

void
yk_handover_init(struct yk_handover *handover)
{
    memset(handover, 0, sizeof(*handover));
    pthread_mutex_init(&handover->lock, NULL);
}

void
yk_handover_done(struct yk_handover *handover)
{
    for (uint32_t i = 0; i <= YK_WORKERS_MAX; i++) {
        YK_ASSERT(handover->boxes[i].loop == NULL);
    }
    pthread_mutex_destroy(&handover->lock);
}

static struct yk_box *
box_of(struct yk_handover *handover, uint32_t worker)
{
    uint32_t place = yk_worker_place(worker);
    return place <= YK_WORKERS_MAX ? &handover->boxes[place] : NULL;
}

void
yk_handover_open(struct yk_handover *handover, uint32_t worker, struct yk_loop *loop)
{
    struct yk_box *box = box_of(handover, worker);
    YK_ASSERT(box != NULL && loop != NULL);
    pthread_mutex_lock(&handover->lock);
    YK_ASSERT(box->loop == NULL);
    box->loop = loop;
    pthread_mutex_unlock(&handover->lock);
}

/* With the lock. */
static struct yk_handed *
empty(struct yk_box *box)
{
    struct yk_handed *first = box->first;
    box->first = NULL;
    box->last = NULL;
    __atomic_store_n(&box->n, 0, __ATOMIC_RELAXED);
    return first;
}

struct yk_handed *
yk_handover_close(struct yk_handover *handover, uint32_t worker)
{
    struct yk_box *box = box_of(handover, worker);
    pthread_mutex_lock(&handover->lock);
    box->loop = NULL;
    struct yk_handed *first = empty(box);
    pthread_mutex_unlock(&handover->lock);
    return first;
}

bool
yk_handover_has(struct yk_handover *handover, uint32_t worker)
{
    const struct yk_box *box = box_of(handover, worker);
    if (box == NULL) {
        return false;
    }
    pthread_mutex_lock(&handover->lock);
    bool is_there = box->loop != NULL;
    pthread_mutex_unlock(&handover->lock);
    return is_there;
}

/* The loop is woken under the lock: it cannot go meanwhile. */
bool
yk_handover_put(struct yk_handover *handover, uint32_t worker, struct yk_handed *handed)
{
    struct yk_box *box = box_of(handover, worker);
    pthread_mutex_lock(&handover->lock);
    bool is_taken = box != NULL && box->loop != NULL && box->n < YK_GREETINGS_MAX;
    if (is_taken) {
        handed->next = NULL;
        if (box->last != NULL) {
            box->last->next = handed;
        } else {
            box->first = handed;
        }
        box->last = handed;
        __atomic_store_n(&box->n, box->n + 1, __ATOMIC_RELEASE);
        yk_loop_wake(box->loop, NULL);
    }
    pthread_mutex_unlock(&handover->lock);
    return is_taken;
}

struct yk_handed *
yk_handover_take(struct yk_handover *handover, uint32_t worker)
{
    struct yk_box *box = box_of(handover, worker);
    if (__atomic_load_n(&box->n, __ATOMIC_ACQUIRE) == 0) {
        return NULL;
    }
    pthread_mutex_lock(&handover->lock);
    struct yk_handed *first = empty(box);
    pthread_mutex_unlock(&handover->lock);
    return first;
}
