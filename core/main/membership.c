/* Opening and ending, in the order that threads need. */
#include <config.h>

#include "core/main/membership.h"

#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

static struct yk_hello
hello_of(const struct yk_start *start)
{
    const struct yk_config *config = start->config;
    const struct yk_datadir *datadir = &start->datadir;
    struct yk_hello hello = {
        .nonce = datadir->nonce, .n_workers = start->node->n_workers, .n_lanes = datadir->lanes};
    g_strlcpy(hello.node_id, datadir->node_id, sizeof(hello.node_id));
    g_strlcpy(hello.name, config->node.name, sizeof(hello.name));
    g_strlcpy(hello.address, config->node.address, sizeof(hello.address));
    if (datadir->has_joined) {
        g_strlcpy(hello.cluster_id, datadir->cluster_id, sizeof(hello.cluster_id));
    }
    return hello;
}

enum yk_err
yk_membership_open(struct yk_membership *member, struct yk_start *start, char *error)
{
    struct yk_hello hello = hello_of(start);
    member->start = start;
    member->peers = yk_peers_new(&hello);
    if (member->peers == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        return YK_ENOMEM;
    }
    /* One socket more than there are workers: the control's. */
    enum yk_err result = yk_listener_open(start->config->node.address, 0,
                                          start->node->n_workers + 1, &member->listener, error);
    if (result == YK_OK) {
        yk_log(start->world, YK_LOG_NOTICE, "main", "listening for=nodes address=%s node=%s",
               member->listener.text, hello.node_id);
    }
    return result;
}

static enum yk_err
join(void *arg, const char *cluster_id, char *error)
{
    struct yk_membership *member = arg;
    return yk_datadir_join(&member->start->datadir, cluster_id, error);
}

enum yk_err
yk_membership_start(struct yk_membership *member, char *error)
{
    struct yk_start *start = member->start;
    const struct yk_datadir *datadir = &start->datadir;
    struct yk_control_thread_config config = {
        .world = start->world,
        .setup = {.world = start->world,
                  .config = start->config,
                  .nonce = datadir->nonce,
                  .n_workers = start->node->n_workers,
                  .n_lanes = datadir->lanes,
                  .incarnations = (const uint32_t *const *)datadir->incarnations,
                  .seed = start->world->random(start->world->arg)},
        .io = start->config->node.io,
        .peers = member->peers,
        .listener_fd = member->listener.fds[start->node->n_workers],
        .folder = datadir->path,
        .threads = start->threads,
        .join = join,
        .arg = member};
    g_strlcpy(config.setup.node_id, datadir->node_id, sizeof(config.setup.node_id));
    if (datadir->has_joined) {
        g_strlcpy(config.setup.cluster_id, datadir->cluster_id, sizeof(config.setup.cluster_id));
    }
    if ((start->config->node.roles & YK_ROLE_MANAGER) != 0) {
        config.coordinator = start->config->coordinator;
    }
    struct yk_control_thread *control;
    enum yk_err result = yk_control_thread_start(&config, &control, error);
    if (result == YK_OK) {
        __atomic_store_n(&member->control, control, __ATOMIC_RELEASE);
    }
    return result;
}

void
yk_membership_stop(struct yk_membership *member)
{
    /* A worker that has just found the control may still hand it something: the threads have to
     * stop wishing first, and they do when they find it gone; so it is let go after them. */
    yk_control_thread_quit(member->control);
}

void
yk_membership_end(struct yk_membership *member)
{
    yk_control_thread_free(member->control);
    if (member->listener.fds != NULL) {
        yk_listener_close(&member->listener);
    }
    yk_peers_free(member->peers);
    *member = (struct yk_membership){.start = NULL};
}

void
yk_membership_wish(struct yk_membership *member, struct yk_wishes *wishes)
{
    struct yk_control_thread *control = __atomic_load_n(&member->control, __ATOMIC_ACQUIRE);
    if (control != NULL) {
        yk_control_thread_wish(control, wishes);
    } else {
        free(wishes); /* it is not there yet; who still wishes says so again */
    }
}

bool
yk_membership_is_ready(const struct yk_membership *member)
{
    return member->peers == NULL ||
           (member->control != NULL && yk_control_thread_is_ready(member->control));
}
