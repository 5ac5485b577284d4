/* See shim.h. */
#include <config.h>

#include "tools/kit/shim.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"

enum { RUBBISH = 0xdb, GUARD = 0x5c, GUARD_SIZE = 64 };

struct loan {
    size_t size;
    uint8_t bytes[];
};

struct session {
    struct kit_shim *shim;
    void *real;
    struct yk_peer peer;           /* what the tested one is told */
    uint64_t n_submitted, n_ended; /* requests */
    bool has_quiet, has_part;      /* so that n_ended cannot be known; a stream is under way */
};

/* -- Life. -- */

static struct kit_shim *
shim_of(const struct yk_host *host)
{
    return ((struct kit_host *)((const struct yk_plugin_host *)host)->world->arg)->shim;
}

static enum yk_err
shim_create(const struct yk_host *host, void **ret_self)
{
    struct kit_shim *shim = shim_of(host);
    const struct yk_life *life = &shim->real->life;
    kit_doing("create");
    kit_host_lend(shim->host, &shim->instance, shim->plugin.name);
    enum yk_err result =
        life->create != NULL ? life->create(&shim->instance.host, &shim->self) : YK_OK;
    *ret_self = shim;
    return result;
}

static enum yk_err
shim_config(void *self, const char *name, const struct yk_option_value *value)
{
    struct kit_shim *shim = self;
    kit_doing("config");
    return shim->real->life.config(shim->self, name, value);
}

static enum yk_err
shim_config_done(void *self)
{
    struct kit_shim *shim = self;
    const struct yk_life *life = &shim->real->life;
    return life->config_done != NULL ? life->config_done(shim->self) : YK_OK;
}

static void
shim_destroy(void *self)
{
    struct kit_shim *shim = self;
    kit_doing("destroy");
    if (shim->real->life.destroy != NULL) {
        shim->real->life.destroy(shim->self);
    }
}

static enum yk_err
shim_open(void *self)
{
    struct kit_shim *shim = self;
    kit_doing("open");
    return shim->real->open != NULL ? shim->real->open(shim->self) : YK_OK;
}

static void
shim_close(void *self)
{
    struct kit_shim *shim = self;
    kit_doing("close");
    if (shim->real->close != NULL) {
        shim->real->close(shim->self);
    }
}

static enum yk_err
shim_session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    struct kit_shim *shim = self;
    struct session *session = g_new0(struct session, 1);
    session->shim = shim;
    session->peer = *peer;
    kit_doing("session_new");
    enum yk_err result = shim->real->session_new(shim->self, &session->peer, &session->real);
    if (result != YK_OK) {
        g_free(session);
        return result;
    }
    shim->n_sessions++;
    *ret_session = session;
    return YK_OK;
}

static void
shim_session_free(void *session_)
{
    struct session *session = session_;
    kit_doing("session_free");
    session->shim->real->session_free(session->real);
    session->shim->n_sessions--;
    memset(session, RUBBISH, sizeof(*session));
    g_free(session);
}

/* -- In. -- */

struct inbox {
    struct yk_inbox inbox; /* first */
    struct yk_inbox *outer;
    struct session *session;
    struct yk_request *taken;
    bool has_stopped, has_outer_stopped;
};

static bool
strikes(struct kit_shim *shim)
{
    bool is_struck =
        shim->stops_one_in > 0 && yk_random_below(&shim->random, shim->stops_one_in) == 0;
    shim->n_stopped += is_struck;
    return is_struck;
}

static struct yk_request *
inbox_request(struct yk_inbox *inbox)
{
    struct inbox *box = (struct inbox *)inbox;
    struct kit_shim *shim = box->session->shim;
    if (box->taken != NULL) {
        kit_broken(shim->kit, KIT_SUBMIT, "a request is asked for while one is not submitted");
    }
    if (box->has_stopped) {
        kit_broken(shim->kit, KIT_STOP, "a request is asked for after the core had said stop");
    }
    if (strikes(shim)) {
        box->has_stopped = true;
        return NULL;
    }
    box->taken = box->outer->request(box->outer);
    box->has_stopped = box->has_outer_stopped = box->taken == NULL;
    return box->taken;
}

static void *
inbox_alloc(struct yk_inbox *inbox, struct yk_request *request, size_t size)
{
    struct inbox *box = (struct inbox *)inbox;
    struct kit_host *host = box->session->shim->host;
    if (request == NULL || request != box->taken) {
        kit_broken(host->kit, KIT_SUBMIT, "memory is asked for a request that was not taken");
    }
    void *counted = kit_host_resize(host, NULL, 1); /* fails where the host's memory would */
    if (counted == NULL) {
        return NULL;
    }
    kit_host_release(host, counted);
    void *memory = box->outer->alloc(box->outer, request, size);
    if (memory != NULL) {
        memset(memory, RUBBISH, size);
    }
    return memory;
}

static bool
names_key(const struct yk_request *request)
{
    return request->op == YK_OP_GET || request->op == YK_OP_STORE || request->op == YK_OP_ARITH ||
           request->op == YK_OP_DELETE || request->op == YK_OP_TOUCH;
}

static void
check_request(const struct session *session, const struct yk_request *request)
{
    struct kit *kit = session->shim->kit;
    if (request->struct_size != sizeof(*request) || request->op > YK_OP_CANCEL ||
        request->mode > YK_MODE_DECR || request->expiry.kind > YK_EXPIRY_ABSOLUTE ||
        request->vivify.kind > YK_EXPIRY_ABSOLUTE || request->recache.kind > YK_EXPIRY_ABSOLUTE) {
        kit_broken(kit, KIT_REQUEST, "submits op %u, mode %u, kind of expiry %u", request->op,
                   request->mode, request->expiry.kind);
    }
    if (request->key.size > session->peer.key_size_max ||
        request->value.size > session->peer.value_size_max) {
        kit_broken(kit, KIT_REQUEST, "submits a key of %zu and a value of %zu bytes",
                   request->key.size, request->value.size);
    }
    if (names_key(request) && request->key.size == 0) {
        kit_broken(kit, KIT_REQUEST, "submits op %u with an empty key", request->op);
    }
}

static uint64_t
mix(uint64_t digest, const void *data, size_t size)
{
    return (digest ^ yk_hash(yk_slice_of(data, size))) * 0x9e3779b97f4a7c15ull + size;
}

/* Everything but what is the frontend's own: its tags and notes, and how it splits an answer. */
static void
digest_request(struct kit_shim *shim, const struct yk_request *request)
{
    uint32_t flags = request->flags & ~(uint32_t)YK_REQUEST_LAST;
    uint64_t words[] = {request->op,
                        request->mode,
                        flags,
                        request->client_flags,
                        request->cas,
                        request->new_cas,
                        request->delta,
                        request->initial,
                        (uint64_t)request->expiry.ms,
                        request->expiry.kind,
                        (uint64_t)request->vivify.ms,
                        request->vivify.kind,
                        (uint64_t)request->recache.ms,
                        request->recache.kind,
                        request->number};
    if (request->op == YK_OP_NOOP) {
        return;
    }
    shim->digest = mix(shim->digest, words, sizeof(words));
    shim->digest = mix(shim->digest, request->key.data, request->key.size);
    shim->digest = mix(shim->digest, request->value.data, request->value.size);
    shim->n_requests++;
}

static bool
inbox_submit(struct yk_inbox *inbox, struct yk_request *request)
{
    struct inbox *box = (struct inbox *)inbox;
    struct session *session = box->session;
    if (request == NULL || request != box->taken) {
        kit_broken(session->shim->kit, KIT_SUBMIT, "a request is submitted that was not taken");
    }
    box->taken = NULL;
    check_request(session, request);
    digest_request(session->shim, request);
    session->shim->n_inexact += (request->flags & YK_REQUEST_HINT) != 0 ||
                                request->op == YK_OP_STATS || request->op == YK_OP_ADMIN;
    session->n_submitted++;
    session->has_quiet = session->has_quiet || (request->flags & YK_REQUEST_QUIET) != 0;
    bool goes_on = box->outer->submit(box->outer, request);
    box->has_outer_stopped = !goes_on;
    box->has_stopped = !goes_on || strikes(session->shim);
    return !box->has_stopped;
}

static void
inbox_wake_at(struct yk_inbox *inbox, uint64_t at_ms)
{
    struct inbox *box = (struct inbox *)inbox;
    box->outer->wake_at(box->outer, at_ms);
}

static const uint8_t *
lend(struct kit_shim *shim, const uint8_t *bytes, size_t size)
{
    struct loan *loan = malloc(sizeof(*loan) + size);
    if (loan == NULL) {
        abort();
    }
    loan->size = size;
    if (size > 0) {
        memcpy(loan->bytes, bytes, size);
    }
    g_ptr_array_add(shim->loans, loan);
    return loan->bytes;
}

static void
end_loan(void *memory)
{
    struct loan *loan = memory;
    memset(loan->bytes, RUBBISH, loan->size);
    free(loan);
}

static void
check_fed(const struct inbox *box, enum yk_err result, size_t size, size_t used, size_t want)
{
    struct kit *kit = box->session->shim->kit;
    if (used > size) {
        kit_broken(kit, KIT_FEED_USED, "uses %zu of %zu bytes", used, size);
    }
    if (box->taken != NULL && result == YK_OK) {
        kit_broken(kit, KIT_SUBMIT, "a request is taken and never submitted");
    }
    if (result == YK_OK && !box->has_stopped && want != 0 && want <= size - used) {
        kit_broken(kit, KIT_FEED_WANT, "leaves %zu bytes and wants to be fed with %zu", size - used,
                   want);
    }
}

/* A stop that the core did not ask for is followed by the feed that the core would do. */
static enum yk_err
shim_feed(void *session_, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *outer,
          size_t *ret_used, size_t *ret_want)
{
    struct session *session = session_;
    struct kit_shim *shim = session->shim;
    size_t done = 0;
    for (;;) {
        struct inbox box = {.inbox = {.struct_size = sizeof(box.inbox),
                                      .request = inbox_request,
                                      .alloc = inbox_alloc,
                                      .submit = inbox_submit,
                                      .wake_at = inbox_wake_at},
                            .outer = outer,
                            .session = session};
        size_t used = SIZE_MAX, want = SIZE_MAX;
        const uint8_t *lent = lend(shim, bytes + done, size - done);
        kit_doing("feed");
        enum yk_err result =
            shim->real->feed(session->real, lent, size - done, eof, &box.inbox, &used, &want);
        check_fed(&box, result, size - done, used, want);
        done += used;
        if (result != YK_OK || box.has_outer_stopped || !box.has_stopped) {
            *ret_used = done;
            *ret_want = want;
            return result;
        }
    }
}

/* -- Out. -- */

struct outbox {
    struct yk_outbox outbox; /* first */
    struct yk_outbox *outer;
    struct kit_shim *shim;
    uint8_t *block;
    size_t block_size, n_written;
};

static void
commit(struct outbox *box)
{
    struct yk_outbox *outbox = &box->outbox;
    if (box->block == NULL) {
        return;
    }
    size_t size = (size_t)(outbox->cur - box->block);
    if (outbox->cur < box->block || size > box->block_size) {
        kit_broken(box->shim->kit, KIT_OUTBOX, "cur is outside of what was reserved");
    }
    for (size_t i = 0; i < GUARD_SIZE; i++) {
        if (box->block[box->block_size + i] != GUARD) {
            kit_broken(box->shim->kit, KIT_OUTBOX, "bytes are written behind what was reserved");
        }
    }
    yk_outbox_put(box->outer, box->block, size);
    box->n_written += size;
    free(box->block);
    box->block = NULL;
    outbox->cur = outbox->end = NULL;
}

/* The core's own outbox is lost by a wish that it cannot fulfil. */
static bool
is_lost(struct outbox *box)
{
    struct kit_shim *shim = box->shim;
    if (shim->grow_fails_in > 0 && --shim->grow_fails_in == 0) {
        shim->n_lost++;
        return !box->outer->grow(box->outer, SIZE_MAX / 4);
    }
    return false;
}

static bool
outbox_grow(struct yk_outbox *outbox, size_t size)
{
    struct outbox *box = (struct outbox *)outbox;
    commit(box);
    if (is_lost(box) || !box->outer->grow(box->outer, size)) {
        return false;
    }
    box->block = malloc(size + GUARD_SIZE);
    if (box->block == NULL) {
        abort();
    }
    memset(box->block + size, GUARD, GUARD_SIZE);
    box->block_size = size;
    outbox->cur = box->block;
    outbox->end = box->block + size;
    return true;
}

static bool
outbox_lend(struct yk_outbox *outbox, struct yk_slice slice, struct yk_buffer *buffer)
{
    struct outbox *box = (struct outbox *)outbox;
    const uint8_t *data = slice.data;
    if (buffer == NULL || data < buffer->data || data + slice.size > buffer->data + buffer->size) {
        kit_broken(box->shim->kit, KIT_LEND, "lends %zu bytes that do not lie in the buffer",
                   slice.size);
    }
    commit(box);
    box->n_written += slice.size;
    return !is_lost(box) && box->outer->lend(box->outer, slice, buffer);
}

static struct outbox
outbox_over(struct kit_shim *shim, struct yk_outbox *outer)
{
    return (struct outbox){.outbox = {.struct_size = sizeof(struct yk_outbox),
                                      .is_full = outer->is_full,
                                      .grow = outbox_grow,
                                      .lend = outbox_lend},
                           .outer = outer,
                           .shim = shim};
}

/* Names and values that are not held by a buffer are gone after the call. */
static void
shim_reply(void *session_, const struct yk_request *request, const struct yk_reply *reply,
           struct yk_outbox *outer)
{
    struct session *session = session_;
    struct outbox box = outbox_over(session->shim, outer);
    struct yk_reply lent = *reply;
    bool is_part = (reply->flags & YK_REPLY_MORE) != 0;
    GPtrArray *loans = session->shim->loans;
    guint n_loans = loans->len;
    if (lent.name.data != NULL) {
        lent.name.data = lend(session->shim, lent.name.data, lent.name.size);
    }
    if (lent.value.data != NULL && lent.value_buffer == NULL) {
        lent.value.data = lend(session->shim, lent.value.data, lent.value.size);
    }
    session->has_part = is_part;
    session->n_ended += !is_part;
    kit_doing("reply");
    session->shim->real->reply(session->real, request, &lent, &box.outbox);
    commit(&box);
    g_ptr_array_set_size(loans, (gint)n_loans);
}

static void
shim_cancel(void *session_, const struct yk_request *request)
{
    struct session *session = session_;
    kit_doing("cancel");
    session->shim->real->cancel(session->real, request);
}

static enum yk_timer_result
shim_timer(void *session_, uint64_t now_ms, struct yk_outbox *outer, uint64_t *ret_next_ms)
{
    struct session *session = session_;
    struct kit *kit = session->shim->kit;
    struct outbox box = outbox_over(session->shim, outer);
    uint64_t next_ms = 0;
    kit_doing("timer");
    enum yk_timer_result result =
        session->shim->real->timer(session->real, now_ms, &box.outbox, &next_ms);
    commit(&box);
    if (result != YK_TIMER_NONE && result != YK_TIMER_CLOSE) {
        kit_broken(kit, KIT_TIMER, "ends with %d", (int)result);
    }
    if (result == YK_TIMER_NONE && next_ms != 0 && next_ms <= now_ms) {
        kit_broken(kit, KIT_TIMER, "asks to be called %llu ms ago",
                   (unsigned long long)(now_ms - next_ms));
    }
    bool is_busy = session->n_submitted > session->n_ended && !session->has_quiet;
    if (box.n_written > 0 && is_busy && !session->has_part) {
        kit_broken(kit, KIT_TIMER, "writes %zu bytes while a request is under way", box.n_written);
    }
    *ret_next_ms = next_ms;
    return result;
}

/* -- The layer. -- */

void
kit_shim_init(struct kit_shim *shim, struct kit *kit, struct kit_host *host, uint64_t seed)
{
    *shim = (struct kit_shim){.kit = kit,
                              .host = host,
                              .plugin = *kit->plugin,
                              .real = kit->plugin->ops,
                              .random = {seed}};
    shim->ops = (struct yk_frontend_ops){.struct_size = sizeof(shim->ops),
                                         .life = {.create = shim_create,
                                                  .config = shim_config,
                                                  .config_done = shim_config_done,
                                                  .destroy = shim_destroy},
                                         .open = shim_open,
                                         .close = shim_close,
                                         .probe = shim->real->probe,
                                         .session_new = shim_session_new,
                                         .session_free = shim_session_free,
                                         .feed = shim_feed,
                                         .reply = shim_reply,
                                         .cancel = shim->real->cancel != NULL ? shim_cancel : NULL,
                                         .timer = shim->real->timer != NULL ? shim_timer : NULL};
    shim->plugin.ops = &shim->ops;
    shim->loans = g_ptr_array_new_with_free_func(end_loan);
    host->shim = shim;
}

void
kit_shim_done(struct kit_shim *shim)
{
    g_ptr_array_unref(shim->loans);
}

void
kit_shim_end_turn(struct kit_shim *shim)
{
    g_ptr_array_set_size(shim->loans, 0);
}
