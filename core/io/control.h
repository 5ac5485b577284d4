/* The control thread of a node that is one of several: its machine (core/node/control.h) on a loop
 * of its own, with its links to the controls of other nodes and to tools, and, where the node is a
 * manager, the coordinator.
 *
 * Threads: start, quit and free by the main thread; yk_control_thread_wish from any. Ownership: a
 * yk_control_thread owns machine, loop, links and coordinator; what its config names is lent until
 * free. */
#ifndef YK_IO_CONTROL_H
#define YK_IO_CONTROL_H

#include "core/io/thread.h"
#include "core/node/control.h"

struct yk_control_thread;

struct yk_control_thread_config {
    const struct yk_world *world;
    struct yk_control_setup setup; /* but for peer and arg */
    enum yk_io_engine io;
    struct yk_peers *peers;
    int listener_fd; /* a socket of the node's listener for this thread alone */
    const struct yk_settings *coordinator; /* of a manager */
    const char *folder;                    /* DATA */
    struct yk_threads *threads;            /* the workers, to whom views and refusals go */
    /* From the control's thread: the data folder is to be one of that cluster, durably, before
     * anything is done in its name. */
    enum yk_err (*join)(void *arg, const char *cluster_id, char *error);
    void *arg;
};

enum yk_err
yk_control_thread_start(const struct yk_control_thread_config *config,
                        struct yk_control_thread **ret_control, char *error) YK_MUST_CHECK;
/* Its thread ends, and says nothing to the workers any more; before they are stopped. What they
 * still wish is dropped. Takes NULL. */
void yk_control_thread_quit(struct yk_control_thread *control);
/* After the workers have ended; quits, if that was not done. Takes NULL. */
void yk_control_thread_free(struct yk_control_thread *control);
/* Takes them over. */
void yk_control_thread_wish(struct yk_control_thread *control, struct yk_wishes *wishes);
/* The first fresh view has gone to the workers. */
bool yk_control_thread_is_ready(const struct yk_control_thread *control);

#endif
