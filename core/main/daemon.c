/* Starting, signals, reloading, stopping. */
#include <config.h>

#include "core/main/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "core/io/datadir.h"
#include "core/io/system.h"
#include "core/io/thread.h"
#include "core/main/facts.h"
#include "core/main/membership.h"

enum { DRAIN_TIMEOUT_MS = 10000, DESCRIPTORS_SPARE = 256 };

struct yk_daemon {
    const struct yk_start_options *options;
    struct yk_plugins *plugins;
    struct yk_config *config;   /* of the start: the node borrows from it */
    struct yk_config *reloaded; /* the newest that was taken over, or NULL */
    struct yk_system system;
    struct yk_start start;
    struct yk_listener *listeners;
    uint32_t n_listeners;
    struct yk_facts facts;
    struct yk_membership member; /* all zeros: the node is alone */
};

static enum yk_err
open_listeners(struct yk_daemon *daemon, char *error)
{
    const struct yk_config *config = daemon->config;
    uint32_t n_workers = yk_start_workers(config);
    daemon->listeners = g_new0(struct yk_listener, YK_LISTENERS_MAX);
    if ((config->node.roles & YK_ROLE_GATEWAY) == 0) {
        return YK_OK;
    }
    for (uint32_t i = 0; i < config->n_frontends; i++) {
        for (uint32_t k = 0; k < config->frontends[i].n_listen; k++) {
            if (daemon->n_listeners == YK_LISTENERS_MAX) {
                snprintf(error, YK_ERROR_SIZE, "a node listens on at most %d addresses",
                         YK_LISTENERS_MAX);
                return YK_EINVALID;
            }
            enum yk_err result = yk_listener_open(config->frontends[i].listen[k], i, n_workers,
                                                  &daemon->listeners[daemon->n_listeners], error);
            if (result != YK_OK) {
                return result;
            }
            daemon->n_listeners++;
        }
    }
    return YK_OK;
}

/* Each connection is a descriptor. */
static void
raise_descriptors(struct yk_daemon *daemon)
{
    struct rlimit limit;
    rlim_t wanted = daemon->config->node.connections_max + DESCRIPTORS_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted) {
        yk_log(&daemon->system.world, YK_LOG_WARNING, "main",
               "max_connections = %u needs %llu open files, and the limit is %llu",
               daemon->config->node.connections_max, (unsigned long long)wanted,
               (unsigned long long)limit.rlim_cur);
    }
}

/* For this thread and all that it starts. */
static void
set_scheduling(const struct yk_daemon *daemon)
{
    const struct sched_param parameters = {.sched_priority = 0};
    if (daemon->config->node.scheduling == YK_SCHEDULING_BATCH &&
        sched_getscheduler(0) == SCHED_OTHER &&
        sched_setscheduler(0, SCHED_BATCH, &parameters) < 0) {
        yk_log(&daemon->system.world, YK_LOG_INFO, "main", "scheduling stays normal: %s",
               strerror(errno));
    }
}

static void
ask_to_stop(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
}

static void
complete(void *arg, struct yk_call *call, enum yk_err result)
{
    struct yk_system *system = arg;
    struct yk_daemon *daemon =
        (struct yk_daemon *)((char *)system - offsetof(struct yk_daemon, system));
    yk_threads_complete(daemon->start.threads, call, result);
}

static void
wish(void *arg, struct yk_wishes *wishes)
{
    struct yk_daemon *daemon = arg;
    yk_membership_wish(&daemon->member, wishes);
}

static enum yk_err
start_threads(struct yk_daemon *daemon, char *error)
{
    bool is_clustered = daemon->member.peers != NULL;
    struct yk_threads_config config = {.world = &daemon->system.world,
                                       .node = daemon->start.node,
                                       .listeners = daemon->listeners,
                                       .n_listeners = daemon->n_listeners,
                                       .executors = daemon->config->node.executors,
                                       .io = daemon->config->node.io,
                                       .journal = daemon->start.keep.journal,
                                       .connections_max = daemon->config->node.connections_max,
                                       .peers = daemon->member.peers,
                                       .peer_listener =
                                           is_clustered ? &daemon->member.listener : NULL,
                                       .wish = wish,
                                       .shut_down = ask_to_stop,
                                       .arg = daemon};
    return yk_threads_start(&config, &daemon->start.threads, error);
}

static enum yk_err
start(struct yk_daemon *daemon, char *error)
{
    raise_descriptors(daemon);
    set_scheduling(daemon);
    enum yk_err result = open_listeners(daemon, error);
    if (result == YK_OK) {
        result = yk_start(&daemon->start, error);
    }
    if (result == YK_OK) {
        yk_facts_init(&daemon->facts, daemon->config, daemon->start.node);
        daemon->facts.journal = daemon->start.keep.journal;
        result = yk_start_is_clustered(daemon->config)
                     ? yk_membership_open(&daemon->member, &daemon->start, error)
                     : YK_OK;
    }
    if (result == YK_OK) {
        result = start_threads(daemon, error);
        __atomic_store_n(&daemon->facts.threads, daemon->start.threads, __ATOMIC_RELEASE);
    }
    if (result == YK_OK && daemon->member.peers != NULL) {
        result = yk_membership_start(&daemon->member, error);
    }
    return result;
}

static void
end(struct yk_daemon *daemon, bool is_clean)
{
    yk_membership_stop(&daemon->member);
    if (daemon->start.threads != NULL) {
        yk_threads_stop(daemon->start.threads, DRAIN_TIMEOUT_MS);
    }
    __atomic_store_n(&daemon->start.threads, NULL, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < daemon->n_listeners; i++) {
        yk_listener_close(&daemon->listeners[i]);
    }
    g_free(daemon->listeners);
    yk_membership_end(&daemon->member);
    yk_start_end(&daemon->start, is_clean);
    yk_config_free(daemon->reloaded);
    yk_config_free(daemon->config);
}

/* Running */

struct reload {
    const struct yk_world *world;
    const struct yk_config *now, *next;
};

static void
reload_instance(const struct reload *reload, const struct yk_settings *now,
                const struct yk_settings *next, const struct yk_host *host, void *self)
{
    char error[YK_ERROR_SIZE];
    if (yk_instance_reload(now, next, host, self, error) != YK_OK) {
        yk_log(reload->world, YK_LOG_ERROR, "main", "%s", error);
    }
}

/* On a worker's thread: its frontends learn the options that may change. */
static void
reload_frontends(void *arg, struct yk_worker *worker)
{
    const struct reload *reload = arg;
    for (uint32_t i = 0; i < reload->next->n_frontends; i++) {
        struct yk_frontend *frontend = yk_worker_frontend(worker, i);
        const struct yk_frontend_config *now = &reload->now->frontends[i];
        const struct yk_frontend_config *next = &reload->next->frontends[i];
        reload_instance(reload, now->settings, next->settings, &frontend->host.host,
                        frontend->self);
        for (uint32_t k = 0; k < next->n_request_filters; k++) {
            reload_instance(reload, now->request_filters[k], next->request_filters[k],
                            &frontend->filters[k].host.host, frontend->filters[k].self);
        }
    }
}

static enum yk_err
take_over(struct yk_daemon *daemon, struct yk_config *next, char *error)
{
    struct yk_config *now = daemon->reloaded != NULL ? daemon->reloaded : daemon->config;
    enum yk_err result = yk_config_check_reload(now, next, error);
    if (result != YK_OK) {
        yk_config_free(next);
        return result;
    }
    struct reload reload = {&daemon->system.world, now, next};
    yk_threads_call(daemon->start.threads, reload_frontends, &reload);
    yk_log(&daemon->system.world, YK_LOG_NOTICE, "main", "config reloaded");
    yk_system_set_level(&daemon->system, next->node.log_level);
    yk_config_free(daemon->reloaded);
    daemon->reloaded = next;
    return YK_OK;
}

static void
reload(struct yk_daemon *daemon)
{
    const struct yk_world *world = &daemon->system.world;
    char error[YK_ERROR_SIZE];
    struct yk_config *next;
    yk_system_notify("RELOADING=1");
    enum yk_err result = yk_start_read_config(daemon->options, daemon->plugins, &next, error);
    if (result == YK_OK) {
        result = take_over(daemon, next, error);
    }
    if (result != YK_OK) {
        yk_log(world, YK_LOG_ERROR, "main", "config not reloaded, the old one stays: %s", error);
    }
    yk_system_notify("READY=1");
}

static void
log_state(void *arg, struct yk_worker *worker)
{
    struct yk_daemon *daemon = arg;
    yk_log(&daemon->system.world, YK_LOG_NOTICE, "main",
           "state worker=%u connections=%u idle=%s frames_dropped=%llu", yk_worker_index(worker),
           yk_worker_sessions(worker), yk_worker_is_idle(worker) ? "yes" : "no",
           (unsigned long long)yk_worker_frames_dropped(worker));
}

static void
log_start(struct yk_daemon *daemon)
{
    const struct yk_world *world = &daemon->system.world;
    for (uint32_t i = 0; i < daemon->n_listeners; i++) {
        const struct yk_frontend_config *frontend =
            &daemon->config->frontends[daemon->listeners[i].frontend];
        yk_log(world, YK_LOG_NOTICE, "main", "listening frontend=\"%s\" address=%s bucket=%s",
               frontend->name, daemon->listeners[i].text,
               daemon->config->buckets[frontend->bucket_index].name);
    }
    yk_log(world, YK_LOG_NOTICE, "main",
           "ready version=%s pid=%ld node=%s data=%s epoch=%llu workers=%u lanes=%u io=%s",
           PACKAGE_VERSION, (long)getpid(), daemon->start.datadir.node_id,
           daemon->start.datadir.path, (unsigned long long)daemon->start.datadir.epoch,
           daemon->start.node->n_workers, daemon->config->node.lanes,
           yk_threads_engine(daemon->start.threads));
}

static void
become_ready(struct yk_daemon *daemon)
{
    log_start(daemon);
    yk_system_notify("READY=1");
}

/* The next signal; 0: the node has become ready meanwhile. One of a cluster is when it knows what
 * the managers say. */
static int
next_signal(struct yk_daemon *daemon, const sigset_t *signals, bool is_ready)
{
    static const struct timespec look = {.tv_nsec = 20 * 1000000};
    for (;;) {
        int number = is_ready ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &look);
        if (number > 0) {
            return number;
        }
        if (!is_ready && yk_membership_is_ready(&daemon->member)) {
            return 0;
        }
    }
}

static void
serve(struct yk_daemon *daemon, const sigset_t *signals)
{
    bool is_ready = yk_membership_is_ready(&daemon->member);
    if (is_ready) {
        become_ready(daemon);
    }
    for (;;) {
        int number = next_signal(daemon, signals, is_ready);
        if (number == 0) {
            is_ready = true;
            become_ready(daemon);
        } else if (number == SIGHUP) {
            reload(daemon);
        } else if (number == SIGUSR1) {
            yk_log(&daemon->system.world, YK_LOG_NOTICE, "main",
                   "state connections=%u rejected=%llu",
                   yk_threads_connections(daemon->start.threads),
                   (unsigned long long)yk_threads_rejected(daemon->start.threads));
            yk_threads_call(daemon->start.threads, log_state, daemon);
        } else {
            yk_log(&daemon->system.world, YK_LOG_NOTICE, "main", "stopping signal=%s",
                   number == SIGINT ? "INT" : "TERM");
            yk_system_notify("STOPPING=1");
            return;
        }
    }
}

int
yk_daemon_run(const struct yk_start_options *options, struct yk_plugins *plugins,
              struct yk_config *config)
{
    struct yk_daemon daemon = {.options = options, .plugins = plugins, .config = config};
    char error[YK_ERROR_SIZE];
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    yk_system_init(&daemon.system, config->node.log_level);
    daemon.system.world.complete = complete;
    daemon.start = (struct yk_start){.world = &daemon.system.world,
                                     .plugins = plugins,
                                     .config = config,
                                     .facts = yk_facts_tell,
                                     .facts_arg = &daemon.facts};
    enum yk_err result = start(&daemon, error);
    if (result == YK_OK) {
        serve(&daemon, &signals);
        /* A second signal does not wait for the connections. */
        sigdelset(&signals, SIGHUP);
        sigdelset(&signals, SIGUSR1);
        pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    } else {
        fprintf(stderr, "yakumod: %s\n", error);
    }
    end(&daemon, result == YK_OK);
    return result == YK_OK ? 0 : 1;
}
