/* The daemon: one node with its data folder, listeners and threads, from start to end.
 *
 * Threads: the main thread's. Ownership: a yk_daemon owns all that it opened; plugins are lent. */
#ifndef YK_MAIN_DAEMON_H
#define YK_MAIN_DAEMON_H

#include "core/start/start.h"

/* Runs until TERM or INT, or a client's shutdown; returns the exit code of the process: 0, or 1
 * after one line that says what failed. Takes config. */
int yk_daemon_run(const struct yk_start_options *options, struct yk_plugins *plugins,
                  struct yk_config *config);

#endif
