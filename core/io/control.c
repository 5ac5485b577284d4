/* The control's thread: events of its loop into the machine, its effects back into the world. */
#include <config.h>

#include "core/io/control.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/io/loop.h"
#include "core/io/registers.h"

/* What the coordinator, or the data folder, has said, until the machine is stepped with it. */
struct said {
    struct said *next;
    struct yk_control_event event; /* what it points to is own */
    struct yk_register_answer answer;
    char *name;
    uint8_t *bytes;
};

struct yk_control_thread {
    struct yk_control_thread_config config;
    struct yk_control *machine;
    struct yk_loop *loop;
    struct yk_links *links;
    struct yk_registers *registers; /* NULL: no manager */
    struct said *said, **said_end;
    struct yk_wishes *wishes; /* atomic: a stack, newest first */
    uint64_t registers_us;    /* when to run the registers again; 0: no need */
    pthread_t id;
    bool is_running;
    bool is_ready, is_over; /* atomic */
};

static int64_t
now_us(const struct yk_control_thread *control)
{
    return (int64_t)control->config.world->now_us(control->config.world->arg);
}

static void take_effects(struct yk_control_thread *control);

static void
step(struct yk_control_thread *control, struct yk_control_event *event)
{
    event->now_us = now_us(control);
    yk_control_step(control->machine, event);
    take_effects(control);
}

/* The coordinator: what it says waits until it has returned */

static struct said *
say(struct yk_control_thread *control, enum yk_control_event_kind kind, struct yk_slice bytes)
{
    struct said *said = g_new0(struct said, 1);
    said->event.kind = kind;
    said->bytes = bytes.size > 0 ? g_memdup2(bytes.data, bytes.size) : NULL;
    *control->said_end = said;
    control->said_end = &said->next;
    return said;
}

static void
coordinator_answers(void *arg, uint64_t token, const struct yk_register_answer *answer)
{
    struct said *said = say(arg, YK_CONTROL_ANSWERED, answer->bytes);
    said->answer = *answer;
    said->answer.bytes.data = said->bytes;
    said->event.answered.token = token;
    said->event.answered.answer = &said->answer;
}

static void
coordinator_hints(void *arg, const char *name)
{
    struct said *said = say(arg, YK_CONTROL_CHANGED, yk_slice_of(NULL, 0));
    said->name = g_strdup(name);
    said->event.changed = said->name;
}

static void
coordinator_sends(void *arg, uint32_t manager_index, struct yk_slice message)
{
    struct said *said = say(arg, YK_CONTROL_SENDS, message);
    said->event.sends.manager = manager_index;
    said->event.sends.bytes = yk_slice_of(said->bytes, message.size);
}

/* From any thread. */
static void
coordinator_wakes(void *arg)
{
    const struct yk_control_thread *control = arg;
    yk_loop_wake(control->loop, NULL);
}

static void
free_said(struct said *said)
{
    g_free(said->name);
    g_free(said->bytes);
    g_free(said);
}

/* Runs the coordinator and the machine until neither has anything more to say. */
static void
hear_said(struct yk_control_thread *control)
{
    for (;;) {
        control->registers_us =
            control->registers != NULL ? yk_registers_run(control->registers) : 0;
        if (control->said == NULL) {
            return;
        }
        while (control->said != NULL) {
            struct said *said = control->said;
            control->said = said->next;
            if (control->said == NULL) {
                control->said_end = &control->said;
            }
            step(control, &said->event);
            free_said(said);
        }
    }
}

/* Effects */

static void
join(struct yk_control_thread *control, const char *cluster_id)
{
    char error[YK_ERROR_SIZE];
    enum yk_err result = control->config.join(control->config.arg, cluster_id, error);
    if (result == YK_OK) {
        yk_peers_set_cluster(control->config.peers, cluster_id);
        yk_log(control->config.world, YK_LOG_NOTICE, "control", "joined cluster=%s", cluster_id);
    } else {
        yk_log(control->config.world, YK_LOG_ERROR, "control", "%s", error);
    }
    struct said *said = say(control, YK_CONTROL_JOINED, yk_slice_of(NULL, 0));
    said->event.joined = result;
}

static void
take_effect(struct yk_control_thread *control, const struct yk_control_effect *effect)
{
    switch (effect->kind) {
    case YK_CONTROL_SEND:
        yk_links_send(control->links, effect->send.peer, YK_WORKER_CONTROL, effect->send.bytes);
        break;
    case YK_CONTROL_READ:
        yk_registers_ask_read(control->registers, effect->coordinator.name,
                              effect->coordinator.token);
        break;
    case YK_CONTROL_WRITE:
        yk_registers_ask_write(control->registers, effect->coordinator.name,
                               effect->coordinator.bytes, effect->coordinator.if_revision,
                               effect->coordinator.token);
        break;
    case YK_CONTROL_WATCH:
        yk_registers_watch(control->registers, effect->coordinator.name);
        break;
    case YK_CONTROL_COORDINATOR:
        if (effect->message.bytes != NULL) {
            yk_registers_message(
                control->registers, effect->message.manager,
                yk_slice_of(effect->message.bytes->data, effect->message.bytes->size));
            yk_buffer_unref(effect->message.bytes);
        }
        break;
    case YK_CONTROL_JOIN:
        join(control, effect->join);
        break;
    case YK_CONTROL_VIEW:
        yk_threads_view(control->config.threads, effect->view);
        yk_view_unref(effect->view);
        break;
    case YK_CONTROL_REFUSED:
        yk_threads_refused(control->config.threads, effect->refused);
        break;
    case YK_CONTROL_READY:
        __atomic_store_n(&control->is_ready, true, __ATOMIC_RELEASE);
        break;
    }
}

static void
take_effects(struct yk_control_thread *control)
{
    uint32_t n;
    const struct yk_control_effect *effects = yk_control_take_effects(control->machine, &n);
    for (uint32_t i = 0; i < n; i++) {
        take_effect(control, &effects[i]);
    }
}

/* Events */

static void
take_frame(void *arg, uint32_t peer, uint32_t worker, struct yk_slice bytes)
{
    /* Workers of other nodes talk to workers. */
    if (worker == YK_WORKER_CONTROL || (peer & YK_PEER_TOOL) != 0) {
        step(arg, &(struct yk_control_event){.kind = YK_CONTROL_FRAME, .frame = {peer, bytes}});
    }
}

static void
take_state(void *arg, uint32_t peer, uint32_t worker, bool is_up)
{
    if (worker == YK_WORKER_CONTROL && (peer & YK_PEER_TOOL) == 0) {
        step(arg, &(struct yk_control_event){.kind = YK_CONTROL_PEER, .peer = {peer, is_up}});
    }
}

static void
take_wishes(struct yk_control_thread *control)
{
    struct yk_wishes *newest = __atomic_exchange_n(&control->wishes, NULL, __ATOMIC_SEQ_CST);
    struct yk_wishes *oldest = NULL;
    while (newest != NULL) {
        struct yk_wishes *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct yk_wishes *next = oldest->next;
        step(control, &(struct yk_control_event){.kind = YK_CONTROL_WISHES, .wishes = oldest});
        oldest = next;
    }
}

void
yk_control_thread_wish(struct yk_control_thread *control, struct yk_wishes *wishes)
{
    wishes->next = __atomic_load_n(&control->wishes, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&control->wishes, &wishes->next, wishes, true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
    yk_loop_wake(control->loop, NULL);
}

/* The turn */

static int
sooner(int timeout_ms, int64_t in_ms)
{
    int64_t bounded = in_ms < 0 ? 0 : in_ms > 1000 ? 1000 : in_ms;
    return timeout_ms < 0 || bounded < timeout_ms ? (int)bounded : timeout_ms;
}

static int
timeout_of(struct yk_control_thread *control)
{
    int timeout_ms = yk_links_timeout(control->links);
    int64_t next_us = yk_control_next_turn(control->machine);
    timeout_ms = sooner(timeout_ms, (next_us - now_us(control) + 999) / 1000);
    if (control->registers_us != 0) {
        timeout_ms =
            sooner(timeout_ms, ((int64_t)control->registers_us - now_us(control) + 999) / 1000);
    }
    return timeout_ms;
}

static void
take_turn(struct yk_control_thread *control)
{
    yk_links_run(control->links);
    take_wishes(control);
    step(control, &(struct yk_control_event){.kind = YK_CONTROL_TURN});
    hear_said(control);
    yk_links_flush(control->links);
}

/* Of the node's threads this one has little to do, and who waits for it waits for a primary: it may
 * interrupt others, also where those are scheduled as batch. */
static void
set_scheduling(void)
{
    const struct sched_param parameters = {.sched_priority = 0};
    if (sched_getscheduler(0) == SCHED_BATCH) {
        (void)sched_setscheduler(0, SCHED_OTHER, &parameters);
    }
}

static void *
run(void *arg)
{
    struct yk_control_thread *control = arg;
    set_scheduling();
    yk_loop_start(control->loop);
    yk_links_start(control->links);
    while (!__atomic_load_n(&control->is_over, __ATOMIC_ACQUIRE)) {
        take_turn(control);
        yk_loop_wait(control->loop, timeout_of(control));
    }
    yk_links_free(control->links);
    control->links = NULL;
    return NULL;
}

/* Life */

static uint32_t
find_peer(void *arg, const char *id, const char *name, const char *address)
{
    const struct yk_control_thread *control = arg;
    return yk_peers_put(control->config.peers, id, name, address);
}

static enum yk_err
open_registers(struct yk_control_thread *control, char *error)
{
    struct yk_registers_place place = {.arg = control,
                                       .answer = coordinator_answers,
                                       .changed = coordinator_hints,
                                       .send = coordinator_sends,
                                       .wake = coordinator_wakes};
    place.self_index = yk_control_manager(control->config.setup.config, &place.n_managers);
    return place.self_index == UINT32_MAX
               ? YK_OK
               : yk_registers_open(control->config.world, control->config.coordinator,
                                   control->config.folder, &place, &control->registers, error);
}

static enum yk_err
open_loop(struct yk_control_thread *control, char *error)
{
    static const struct yk_loop_handler nobody;
    enum yk_err result = yk_loop_open(control->config.io, &nobody, &control->loop);
    if (result != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "cannot set up the control's event loop: %s",
                 strerror(errno));
        return result;
    }
    struct yk_links_config links = {.world = control->config.world,
                                    .loop = control->loop,
                                    .peers = control->config.peers,
                                    .worker = YK_WORKER_CONTROL,
                                    .listener_fd = control->config.listener_fd,
                                    .arg = control,
                                    .frame = take_frame,
                                    .state = take_state};
    return yk_links_new(&links, &control->links);
}

enum yk_err
yk_control_thread_start(const struct yk_control_thread_config *config,
                        struct yk_control_thread **ret_control, char *error)
{
    struct yk_control_thread *control = g_new0(struct yk_control_thread, 1);
    control->config = *config;
    control->config.setup.peer = find_peer;
    control->config.setup.arg = control;
    control->said_end = &control->said;
    snprintf(error, YK_ERROR_SIZE, "cannot start the control: out of memory or threads");
    enum yk_err result = open_loop(control, error); /* first: the registers may wake it */
    if (result == YK_OK) {
        result = open_registers(control, error);
    }
    if (result == YK_OK) {
        control->machine = yk_control_new(&control->config.setup);
        result = control->machine != NULL ? YK_OK : YK_ENOMEM;
    }
    if (result == YK_OK && pthread_create(&control->id, NULL, run, control) != 0) {
        result = YK_ENOMEM;
    }
    control->is_running = result == YK_OK;
    if (result != YK_OK) {
        yk_control_thread_free(control);
        return result;
    }
    *ret_control = control;
    return YK_OK;
}

void
yk_control_thread_quit(struct yk_control_thread *control)
{
    if (control != NULL && control->is_running) {
        __atomic_store_n(&control->is_over, true, __ATOMIC_RELEASE);
        yk_loop_wake(control->loop, NULL);
        pthread_join(control->id, NULL);
        control->is_running = false;
    }
}

void
yk_control_thread_free(struct yk_control_thread *control)
{
    if (control == NULL) {
        return;
    }
    yk_control_thread_quit(control);
    yk_registers_close(control->registers);
    yk_links_free(control->links);
    yk_loop_close(control->loop);
    yk_control_free(control->machine);
    while (control->said != NULL) {
        struct said *next = control->said->next;
        free_said(control->said);
        control->said = next;
    }
    while (control->wishes != NULL) {
        struct yk_wishes *next = control->wishes->next;
        free(control->wishes);
        control->wishes = next;
    }
    g_free(control);
}

bool
yk_control_thread_is_ready(const struct yk_control_thread *control)
{
    return __atomic_load_n(&control->is_ready, __ATOMIC_ACQUIRE);
}
