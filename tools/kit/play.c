/* See play.h. */
#include <config.h>

#include "tools/kit/play.h"

#include <stdio.h>
#include <string.h>

#include "tools/kit/engine.h"

enum { TURNS_MAX = 10000000, SLICES = 8 };

static const char config_text[] =
    "[bucket default]\nbackend = kit\ndurability = memory\nslots = 16\nmemory_max = 64M\n"
    "[frontend %s]\nlisten = 127.0.0.1:11211\n[node kit]\nworkers = 1\nlanes = 1\n";

static const struct yk_plugin *
find_plugin(void *arg, enum yk_plugin_kind kind, const char *name, char *error)
{
    struct kit_shim *shim = arg;
    return kind == YK_KIND_FRONTEND ? &shim->plugin : &kit_model_engine;
}

static void
tell_facts(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg)
{
    fn(fn_arg, "pid", "1");
}

static bool
set_option(struct kit_play *play, const char *name, const char *text, char *error)
{
    return yk_settings_set(play->config->frontends[0].settings, name, text, error) == YK_OK;
}

static bool
make_config(struct kit_play *play, const GPtrArray *options, char *error)
{
    const struct yk_plugin *plugin = play->kit->plugin;
    g_autofree char *text = g_strdup_printf(config_text, plugin->name);
    struct yk_config_source source = {.file = "kit",
                                      .text = text,
                                      .size = strlen(text),
                                      .find_plugin = find_plugin,
                                      .arg = &play->shim};
    bool is_good = yk_config_parse(&source, &play->config, error) == YK_OK;
    for (uint32_t i = 0; is_good && i < plugin->n_options; i++) {
        is_good = set_option(play, plugin->options[i].name,
                             play->kit->settings->values[i].value.text, error);
    }
    for (guint i = 0; is_good && options != NULL && i + 1 < options->len; i += 2) {
        is_good = set_option(play, options->pdata[i], options->pdata[i + 1], error);
    }
    return is_good;
}

static void
check_given_back(struct kit_play *play)
{
    if (play->shim.n_sessions > 0) {
        kit_broken(play->kit, KIT_LEAK, "%u sessions are left", play->shim.n_sessions);
    }
    if (play->host.n_alive > 0) {
        kit_broken(play->kit, KIT_LEAK, "%llu allocations are left after destroy",
                   (unsigned long long)play->host.n_alive);
    }
}

struct kit_play *
kit_play_new(struct kit *kit, const GPtrArray *options, uint64_t seed, uint64_t fails_at)
{
    char error[YK_ERROR_SIZE] = "";
    struct kit_play *play = g_new0(struct kit_play, 1);
    play->kit = kit;
    play->input = g_byte_array_new();
    play->output = g_byte_array_new();
    kit_host_init(&play->host, kit, seed);
    kit_host_fail(&play->host, fails_at, 0);
    play->host.now_ms = KIT_PLAY_NOW_MS;
    kit_shim_init(&play->shim, kit, &play->host, seed);
    bool is_good = make_config(play, options, error);
    if (is_good) {
        struct yk_node_setup setup = {.config = play->config,
                                      .world = &play->host.world,
                                      .n_workers = 1,
                                      .epoch = 1,
                                      .seed = 1,
                                      .facts = tell_facts};
        is_good = yk_node_new(&setup, &play->node, error) == YK_OK;
    }
    if (!is_good && play->host.n_failed == 0) {
        kit_broken(kit, KIT_START, "does not start: %s", error);
    }
    if (!is_good) {
        kit_play_free(play);
        return NULL;
    }
    return play;
}

void
kit_play_free(struct kit_play *play)
{
    if (play->session != NULL) {
        kit_play_vanish(play, NULL, 0);
    }
    yk_node_free(play->node);
    yk_config_free(play->config);
    check_given_back(play);
    kit_shim_done(&play->shim);
    kit_host_done(&play->host);
    g_byte_array_unref(play->input);
    g_byte_array_unref(play->output);
    g_free(play);
}

/* -- Turns. -- */

static void
step(struct kit_play *play, struct yk_event event)
{
    event.now_ms = play->host.now_ms;
    yk_worker_step(play->node->workers[0], &event);
}

static void
take_effects(struct kit_play *play)
{
    uint32_t n;
    const struct yk_effect *effects = yk_worker_take_effects(play->node->workers[0], &n);
    g_autofree struct yk_effect *copy = g_memdup2(effects, n * sizeof(*effects));
    for (uint32_t i = 0; i < n; i++) {
        if (copy[i].kind == YK_EFFECT_JOB) {
            while (!yk_job_run(copy[i].job)) {
            }
            step(play, (struct yk_event){.kind = YK_EVENT_JOB_DONE, .job_done = {copy[i].job}});
        }
    }
}

static void
send_output(struct kit_play *play)
{
    struct yk_slice slices[SLICES];
    size_t n;
    while (play->session != NULL && (n = yk_session_peek(play->session, slices, SLICES)) > 0) {
        size_t size = 0;
        for (size_t i = 0; i < n; i++) {
            g_byte_array_append(play->output, slices[i].data, (guint)slices[i].size);
            size += slices[i].size;
        }
        step(play, (struct yk_event){.kind = YK_EVENT_SENT, .sent = {play->session, size}});
    }
    if (play->session != NULL && yk_session_is_over(play->session)) {
        step(play, (struct yk_event){.kind = YK_EVENT_CLOSED, .closed = {play->session}});
        play->session = NULL;
        play->is_closed = true;
    }
}

/* Gives the core what it would read; the bytes live until the turn is over. */
static uint8_t *
read_input(struct kit_play *play)
{
    guint size = play->input->len;
    bool is_end = size == 0 && play->has_eof && !play->was_eof_read;
    if (play->session == NULL || !yk_session_wants_input(play->session) || (size == 0 && !is_end)) {
        return NULL;
    }
    size = play->piece_max > 0 ? MIN(size, (guint)play->piece_max) : size;
    uint8_t *room, *bytes = g_malloc(size + 1), *from = bytes;
    size_t room_size;
    yk_session_room(play->session, &room, &room_size);
    if (room_size > 0 && size > 0) {
        size = (guint)MIN(size, room_size);
        from = room;
    }
    if (size > 0) {
        memcpy(from, play->input->data, size);
        g_byte_array_remove_range(play->input, 0, size);
    }
    play->was_eof_read = is_end;
    step(play, (struct yk_event){.kind = YK_EVENT_RECEIVED,
                                 .received = {play->session, from, size, is_end}});
    return bytes;
}

static void
turn(struct kit_play *play)
{
    step(play, (struct yk_event){.kind = YK_EVENT_TURN});
    take_effects(play);
    kit_shim_end_turn(&play->shim);
    send_output(play);
    take_effects(play);
}

static void
run(struct kit_play *play)
{
    for (uint32_t i = 0;; i++) {
        uint8_t *bytes = read_input(play);
        if (bytes == NULL && !yk_worker_wants_turn(play->node->workers[0])) {
            return;
        }
        turn(play);
        g_free(bytes);
        if (i == TURNS_MAX) {
            kit_broken(play->kit, KIT_HANG, "the connection never comes to rest");
        }
    }
}

bool
kit_play_connect(struct kit_play *play)
{
    struct yk_peer peer = {.struct_size = sizeof(peer),
                           .family = YK_FAMILY_SIM,
                           .address = "sim:1",
                           .listener = "sim:0",
                           .uid = -1,
                           .id = 1};
    play->has_eof = play->was_eof_read = play->is_closed = false;
    g_byte_array_set_size(play->input, 0);
    turn(play); /* so that the worker knows the time */
    step(play,
         (struct yk_event){
             .kind = YK_EVENT_OPEN,
             .open = {.frontend = 0, .peer = &peer, .conn = play, .ret_session = &play->session}});
    turn(play);
    if (play->session == NULL && !play->is_closed && play->host.n_failed == 0) {
        kit_broken(play->kit, KIT_START, "a connection is refused");
    }
    return play->session != NULL;
}

void
kit_play_send(struct kit_play *play, const void *bytes, size_t size)
{
    if (play->session != NULL) {
        g_byte_array_append(play->input, bytes, (guint)size);
        run(play);
    }
}

void
kit_play_eof(struct kit_play *play)
{
    if (play->session != NULL) {
        play->has_eof = true;
        run(play);
    }
}

void
kit_play_advance(struct kit_play *play, uint64_t ms)
{
    play->host.now_ms += ms;
    turn(play);
    run(play);
}

void
kit_play_vanish(struct kit_play *play, const void *bytes, size_t size)
{
    uint8_t *read = NULL;
    if (size > 0 && play->session != NULL) {
        g_byte_array_append(play->input, bytes, (guint)size);
        read = read_input(play);
    }
    if (play->session != NULL) {
        step(play, (struct yk_event){.kind = YK_EVENT_CLOSED, .closed = {play->session}});
        play->session = NULL;
        play->is_closed = true;
    }
    turn(play);
    run(play);
    g_free(read);
}
