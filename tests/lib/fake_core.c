/* See fake_core.h. What an operation makes of a record is the core's own decision
 * (core/store/decide.h); the rest is said plainly here. */
#include <config.h>

#include "tests/lib/fake_core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/store/decide.h"

struct fake_record {
    struct fake_bytes key;
    struct yk_buffer *value;
    struct yk_record head;   /* but for its value */
    uint64_t last_access_ms; /* what GET with HINT is told, and whether it was read */
    bool was_hit;
};

/* A request on its way, with all its bytes. */
struct fake_queued {
    struct yk_request request; /* first */
    struct fake_queued *next;
    void *note_memory; /* by inbox->alloc; lives as long as the request */
    void *pinned;      /* key, value and note once the input is gone */
};

struct fake_inbox {
    struct yk_inbox inbox; /* first */
    struct fake_client *client;
    struct fake_queued *first, **last;
    struct fake_queued *taken; /* by request(), not yet submitted */
    bool has_stopped;
};

struct fake_outbox {
    struct yk_outbox outbox; /* first */
    struct fake_client *client;
    uint8_t *block;
};

_Noreturn void
fake_core_broken(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: broken: %s\n", file, line, condition);
    abort();
}

uint64_t
fake_random(uint64_t *seed)
{
    uint64_t x = *seed;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *seed = x;
    return x;
}

void
fake_bytes_add(struct fake_bytes *bytes, const void *data, size_t size)
{
    if (bytes->size_max - bytes->size < size) {
        bytes->size_max = (bytes->size + size) * 2;
        bytes->data = realloc(bytes->data, bytes->size_max);
        FAKE_CHECK(bytes->data != NULL);
    }
    if (size > 0) {
        memcpy(bytes->data + bytes->size, data, size);
        bytes->size += size;
    }
}

void
fake_bytes_done(struct fake_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct fake_bytes){0};
}

/* -- The host. -- */

static void
host_log(const struct yk_host *host, enum yk_log_level level, const char *format, ...)
{
}

static void
host_error(const struct yk_host *host, const char *format, ...)
{
}

static void *
host_resize(const struct yk_host *host, void *memory, size_t size)
{
    struct fake_core *core = (struct fake_core *)host;
    if (core->alloc_fails_in > 0 && --core->alloc_fails_in == 0) {
        return NULL;
    }
    void *made = realloc(memory, size);
    FAKE_CHECK(made != NULL);
    core->n_allocs += memory == NULL ? 1 : 0;
    return made;
}

static void *
host_alloc(const struct yk_host *host, size_t size)
{
    return host_resize(host, NULL, size);
}

static void
host_release(const struct yk_host *host, void *memory)
{
    struct fake_core *core = (struct fake_core *)host;
    core->n_allocs -= memory != NULL ? 1 : 0;
    free(memory);
}

static uint64_t
host_now_ms(const struct yk_host *host)
{
    return ((const struct fake_core *)host)->now_ms;
}

static uint64_t
host_now_us(const struct yk_host *host)
{
    return ((const struct fake_core *)host)->now_ms * 1000;
}

static uint64_t
host_random(const struct yk_host *host)
{
    return fake_random(&((struct fake_core *)host)->seed);
}

/* -- Buffers. -- */

static void
buffer_ref(struct yk_buffer *buffer)
{
    buffer->n_refs++;
}

static void
buffer_unref(struct yk_buffer *buffer)
{
    if (buffer != NULL && --buffer->n_refs == 0) {
        free(buffer->data);
        free(buffer);
    }
}

/* A buffer of two parts, one behind the other. */
static struct yk_buffer *
buffer_new(struct yk_slice head, struct yk_slice tail)
{
    struct yk_buffer *buffer = malloc(sizeof(*buffer));
    FAKE_CHECK(buffer != NULL);
    *buffer = (struct yk_buffer){.struct_size = sizeof(*buffer),
                                 .n_refs = 1,
                                 .ref = buffer_ref,
                                 .unref = buffer_unref,
                                 .size = head.size + tail.size,
                                 .data = malloc(head.size + tail.size + 1)};
    FAKE_CHECK(buffer->data != NULL);
    if (head.size > 0) {
        memcpy(buffer->data, head.data, head.size);
    }
    if (tail.size > 0) {
        memcpy(buffer->data + head.size, tail.data, tail.size);
    }
    return buffer;
}

static struct yk_slice
buffer_slice(const struct yk_buffer *buffer)
{
    return yk_slice_of(buffer->data, buffer->size);
}

/* -- The map. -- */

static void
record_remove(struct fake_core *core, struct fake_record *record)
{
    fake_bytes_done(&record->key);
    buffer_unref(record->value);
    size_t after = (size_t)(core->records + core->n_records - record) - 1;
    memmove(record, record + 1, after * sizeof(*record));
    core->n_records--;
}

static void
records_clear(struct fake_core *core)
{
    while (core->n_records > 0) {
        record_remove(core, &core->records[core->n_records - 1]);
    }
}

/* What is over goes: records past their expiry, all of them at a flush that was due. */
static void
records_expire(struct fake_core *core)
{
    if (core->flush_at_ms != 0 && core->now_ms >= core->flush_at_ms) {
        records_clear(core);
        core->flush_at_ms = 0;
    }
    for (size_t i = core->n_records; i-- > 0;) {
        struct fake_record *record = &core->records[i];
        if (record->head.expiry_ms != 0 && (uint64_t)record->head.expiry_ms <= core->now_ms) {
            record_remove(core, record);
        }
    }
}

static struct fake_record *
record_find(struct fake_core *core, struct yk_slice key)
{
    for (size_t i = 0; i < core->n_records; i++) {
        struct fake_record *record = &core->records[i];
        if (yk_slice_equal(yk_slice_of(record->key.data, record->key.size), key)) {
            return record;
        }
    }
    return NULL;
}

static struct fake_record *
record_make(struct fake_core *core, struct yk_slice key)
{
    if (core->n_records == core->n_records_max) {
        core->n_records_max = core->n_records_max * 2 + 16;
        core->records = realloc(core->records, core->n_records_max * sizeof(*core->records));
        FAKE_CHECK(core->records != NULL);
    }
    struct fake_record *record = &core->records[core->n_records++];
    *record = (struct fake_record){0};
    fake_bytes_add(&record->key, key.data, key.size);
    return record;
}

/* The record as the core sees it. */
static struct yk_record
record_view(const struct fake_record *record)
{
    struct yk_record view = record->head;
    view.value = buffer_slice(record->value);
    return view;
}

/* Makes the change that was decided; record: NULL where there was none. NULL: it left none. */
static struct fake_record *
record_change(struct fake_core *core, struct fake_record *record, struct yk_slice key,
              const struct yk_decision *decision)
{
    core->version++;
    if (decision->is_delete) {
        if (record != NULL) {
            record_remove(core, record);
        }
        return NULL;
    }
    struct yk_buffer *value = buffer_new(decision->parts[0], decision->parts[1]);
    if (record == NULL) {
        record = record_make(core, key);
        record->last_access_ms = core->now_ms;
    }
    buffer_unref(record->value);
    record->value = value;
    record->head = decision->record;
    record->head.version = core->version;
    return record;
}

static void
reply_head(const struct yk_record *head, struct yk_reply *reply)
{
    reply->client_flags = head->client_flags;
    reply->version = yk_record_shown_cas(head);
    reply->expiry_ms = head->expiry_ms;
}

static void
reply_record(const struct fake_record *record, struct yk_reply *reply)
{
    reply_head(&record->head, reply);
    reply->value = buffer_slice(record->value);
    reply->value_buffer = record->value;
}

/* -- The operations: each fills the final reply. -- */

/* What a GET is told of earlier reads. */
static void
reply_hint(const struct fake_core *core, const struct yk_request *request,
           struct fake_record *record, struct yk_reply *reply)
{
    if ((request->flags & YK_REQUEST_HINT) != 0) {
        reply->last_access_ms = record->last_access_ms;
        reply->flags |= record->was_hit ? YK_REPLY_WAS_HIT : 0;
    }
    record->last_access_ms = core->now_ms;
    record->was_hit = true;
}

/* What asks for one record or changes it. */
static enum yk_err
execute_record(struct fake_core *core, const struct yk_request *request, struct yk_reply *reply)
{
    struct fake_record *record = record_find(core, request->key);
    struct yk_record old = {0};
    struct yk_decision decision;
    bool with_value = request->op == YK_OP_GET ||
                      (request->op == YK_OP_TOUCH && (request->flags & YK_REQUEST_VALUE) != 0);
    if (record != NULL) {
        old = record_view(record);
    }
    yk_decide(request, record != NULL ? &old : NULL, core->now_ms, core->value_size_max, &decision);
    reply->flags = decision.reply_flags;
    reply->number = decision.number;
    if (decision.result != YK_OK) {
        return decision.result;
    }
    if (with_value && record != NULL) {
        reply_record(record, reply);
        reply_hint(core, request, record, reply);
        record->value->ref(record->value);
        core->lent = record->value;
    }
    if (decision.is_change) {
        record = record_change(core, record, request->key, &decision);
        decision.record.version = core->version;
        reply_head(&decision.record, reply);
    }
    return YK_OK;
}

static bool
number_of(struct yk_slice text, uint64_t *ret_number)
{
    const uint8_t *bytes = text.data;
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)bytes[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return text.size > 0 && text.size <= 20;
}

static enum yk_err
execute_flush(struct fake_core *core, const struct yk_request *request)
{
    FAKE_CHECK(request->expiry.kind == YK_EXPIRY_RELATIVE);
    if (request->expiry.ms <= 0) {
        records_clear(core);
    } else {
        core->flush_at_ms = core->now_ms + (uint64_t)request->expiry.ms;
    }
    return YK_OK;
}

static enum yk_err
execute_admin(struct fake_core *core, const struct yk_request *request)
{
    if (!yk_slice_equal(request->key, yk_slice_of_text("memory_max"))) {
        return YK_EUNSUPPORTED;
    }
    return number_of(request->value, &core->memory_max) ? YK_OK : YK_EINVALID;
}

/* Parts of a stream go through `part`. */
typedef void (*part_fn)(struct fake_client *client, const struct yk_request *request,
                        struct yk_reply *reply);

static enum yk_err
execute_stats(struct fake_client *client, const struct yk_request *request, part_fn part)
{
    static const char *const figures[][3] = {
        {"", "pid", "1"},
        {"", "uptime", "2"},
        {"", "version", "0"},
        {"", "curr_items", "3"},
        {"settings", "maxbytes", "67108864"},
        {"items", "items:1:number", "1"},
        {"slabs", "active_slabs", "1"},
        {"sizes", "sizes_status", "disabled"},
        {"conns", "1:addr", "tcp:127.0.0.1:1"},
    };
    bool is_known = yk_slice_equal(request->key, yk_slice_of_text("reset"));
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        if (yk_slice_equal(request->key, yk_slice_of_text(figures[i][0]))) {
            struct yk_reply reply = {.struct_size = sizeof(reply), .flags = YK_REPLY_MORE};
            reply.name = yk_slice_of_text(figures[i][1]);
            reply.value = yk_slice_of_text(figures[i][2]);
            part(client, request, &reply);
            is_known = true;
        }
    }
    return is_known ? YK_OK : YK_EINVALID;
}

static enum yk_err
execute_scan(struct fake_client *client, const struct yk_request *request, part_fn part)
{
    const struct fake_core *core = client->core;
    for (size_t i = 0; i < core->n_records; i++) {
        struct yk_reply reply = {.struct_size = sizeof(reply), .flags = YK_REPLY_MORE};
        reply_record(&core->records[i], &reply);
        reply.name = yk_slice_of(core->records[i].key.data, core->records[i].key.size);
        if ((request->flags & YK_REQUEST_VALUE) == 0) {
            reply.value.data = NULL;
            reply.value_buffer = NULL;
        }
        part(client, request, &reply);
    }
    return YK_OK;
}

static enum yk_err
execute(struct fake_client *client, const struct yk_request *request, struct yk_reply *reply,
        part_fn part)
{
    struct fake_core *core = client->core;
    records_expire(core);
    if (request->op != YK_OP_NOOP && core->fault_in > 0 && --core->fault_in == 0) {
        reply->text = core->fault_text;
        return core->fault;
    }
    switch (request->op) {
    case YK_OP_NOOP:
        return YK_OK;
    case YK_OP_FLUSH:
        return execute_flush(core, request);
    case YK_OP_ADMIN:
        return execute_admin(core, request);
    case YK_OP_STATS:
        return execute_stats(client, request, part);
    case YK_OP_SCAN:
        return execute_scan(client, request, part);
    case YK_OP_SHUTDOWN:
        core->n_shutdowns++;
        return YK_OK;
    case YK_OP_GET:
    case YK_OP_STORE:
    case YK_OP_ARITH:
    case YK_OP_DELETE:
    case YK_OP_TOUCH:
        return execute_record(core, request, reply);
    default:
        FAKE_CHECK(request->op == YK_OP_NOOP);
        return YK_EUNSUPPORTED;
    }
}

/* -- The outbox. -- */

static void
outbox_commit(struct fake_outbox *box)
{
    if (box->block != NULL) {
        fake_bytes_add(&box->client->output, box->block, (size_t)(box->outbox.cur - box->block));
        free(box->block);
        box->block = NULL;
    }
    box->outbox.cur = box->outbox.end = NULL;
}

/* Counts down to the failure that the test asked for. */
static bool
outbox_fails(struct fake_outbox *box)
{
    FAKE_CHECK(!box->client->is_lost);
    if (box->client->grow_fails_in > 0 && --box->client->grow_fails_in == 0) {
        box->client->is_lost = true;
        box->client->is_closed = true;
    }
    return box->client->is_lost;
}

static bool
outbox_grow(struct yk_outbox *outbox, size_t size)
{
    struct fake_outbox *box = (struct fake_outbox *)outbox;
    if (box->client->is_lost || outbox_fails(box)) {
        return false;
    }
    outbox_commit(box);
    box->block = malloc(size);
    FAKE_CHECK(box->block != NULL);
    outbox->cur = box->block;
    outbox->end = box->block + size;
    return true;
}

static bool
outbox_lend(struct yk_outbox *outbox, struct yk_slice slice, struct yk_buffer *buffer)
{
    struct fake_outbox *box = (struct fake_outbox *)outbox;
    const uint8_t *data = slice.data;
    FAKE_CHECK(data >= buffer->data && data + slice.size <= buffer->data + buffer->size);
    if (box->client->is_lost || outbox_fails(box)) {
        return false;
    }
    outbox_commit(box);
    fake_bytes_add(&box->client->output, slice.data, slice.size);
    box->client->n_lent += slice.size;
    return true;
}

static void
client_reply(struct fake_client *client, const struct yk_request *request, struct yk_reply *reply)
{
    struct fake_outbox box = {
        .outbox = {.struct_size = sizeof(box.outbox), .grow = outbox_grow, .lend = outbox_lend},
        .client = client};
    if (client->is_lost) {
        return;
    }
    client->core->ops->reply(client->session, request, reply, &box.outbox);
    FAKE_CHECK(box.outbox.cur <= box.outbox.end);
    outbox_commit(&box);
}

/* -- The inbox. -- */

static bool
inbox_stops(struct fake_inbox *box, uint64_t one_in)
{
    struct fake_client *client = box->client;
    if (client->stop_seed != 0 && fake_random(&client->stop_seed) % one_in == 0) {
        box->has_stopped = true;
    }
    return box->has_stopped;
}

static struct yk_request *
inbox_request(struct yk_inbox *inbox)
{
    struct fake_inbox *box = (struct fake_inbox *)inbox;
    FAKE_CHECK(box->taken == NULL);
    FAKE_CHECK(!box->has_stopped);
    if (inbox_stops(box, 5)) {
        return NULL;
    }
    box->taken = calloc(1, sizeof(*box->taken));
    FAKE_CHECK(box->taken != NULL);
    box->taken->request.struct_size = sizeof(struct yk_request);
    return &box->taken->request;
}

static void *
inbox_alloc(struct yk_inbox *inbox, struct yk_request *request, size_t size)
{
    struct fake_inbox *box = (struct fake_inbox *)inbox;
    FAKE_CHECK(box->taken != NULL && request == &box->taken->request);
    FAKE_CHECK(box->taken->note_memory == NULL);
    if (!box->client->core->inbox_alloc_fails) {
        box->taken->note_memory = malloc(size);
        FAKE_CHECK(box->taken->note_memory != NULL);
    }
    return box->taken->note_memory;
}

static void *
pin(uint8_t **at, struct yk_slice *slice)
{
    uint8_t *to = *at;
    if (slice->size > 0) {
        memcpy(to, slice->data, slice->size);
    }
    slice->data = to;
    *at = to + slice->size;
    return to;
}

/* The rules for what a request may hold, and its bytes out of the input. */
static void
request_check(const struct fake_core *core, const struct yk_request *request)
{
    bool has_key = request->op == YK_OP_GET || request->op == YK_OP_STORE ||
                   request->op == YK_OP_ARITH || request->op == YK_OP_DELETE ||
                   request->op == YK_OP_TOUCH || request->op == YK_OP_ADMIN;
    FAKE_CHECK(request->struct_size == sizeof(*request));
    FAKE_CHECK(!has_key || request->key.size > 0);
    FAKE_CHECK(request->key.size <= core->key_size_max);
    FAKE_CHECK(request->value.size <= core->value_size_max);
    bool has_barrier = (request->flags & YK_REQUEST_BARRIER) != 0;
    bool is_of_all = request->op == YK_OP_FLUSH || request->op == YK_OP_SCAN ||
                     request->op == YK_OP_STATS || request->op == YK_OP_ADMIN ||
                     request->op == YK_OP_SHUTDOWN;
    FAKE_CHECK(has_barrier == is_of_all);
}

static bool
inbox_submit(struct yk_inbox *inbox, struct yk_request *request)
{
    struct fake_inbox *box = (struct fake_inbox *)inbox;
    struct fake_queued *queued = box->taken;
    FAKE_CHECK(queued != NULL && request == &queued->request);
    FAKE_CHECK(!box->client->is_ending);
    request_check(box->client->core, request);
    box->client->is_ending = (request->flags & YK_REQUEST_CLOSE) != 0;
    box->taken = NULL;
    uint8_t *at = queued->pinned =
        malloc(request->key.size + request->value.size + request->note.size + 1);
    FAKE_CHECK(at != NULL);
    pin(&at, &request->key);
    pin(&at, &request->value);
    pin(&at, &request->note);
    *box->last = queued;
    box->last = &queued->next;
    box->client->n_submitted++;
    return !inbox_stops(box, 3);
}

/* -- Clients. -- */

static void
client_execute(struct fake_client *client, struct fake_queued *queued)
{
    const struct yk_request *request = &queued->request;
    struct yk_reply reply = {.struct_size = sizeof(reply)};
    if (!client->is_closed) {
        reply.result = execute(client, request, &reply, client_reply);
        if (reply.result != YK_OK || (request->flags & YK_REQUEST_QUIET) == 0) {
            client_reply(client, request, &reply);
        }
        buffer_unref(client->core->lent);
        client->core->lent = NULL;
        client->n_replies++;
        client->is_closed = client->is_closed || (request->flags & YK_REQUEST_CLOSE) != 0;
    } else if (client->core->ops->cancel != NULL) {
        client->core->ops->cancel(client->session, request);
    }
    free(queued->note_memory);
    free(queued->pinned);
    free(queued);
}

/* Feeds once and executes what came of it. True: the frontend was stopped and is fed again. */
static bool
client_feed(struct fake_client *client)
{
    struct fake_inbox box = {.inbox = {.struct_size = sizeof(box.inbox),
                                       .request = inbox_request,
                                       .alloc = inbox_alloc,
                                       .submit = inbox_submit},
                             .client = client,
                             .last = &box.first};
    size_t size = client->input.size, used = SIZE_MAX, want = SIZE_MAX;
    uint8_t *bytes = malloc(size);
    FAKE_CHECK(bytes != NULL || size == 0);
    if (size > 0) {
        memcpy(bytes, client->input.data, size);
    }
    enum yk_err result = client->core->ops->feed(client->session, bytes, size, client->is_eof,
                                                 &box.inbox, &used, &want);
    free(bytes);
    FAKE_CHECK(box.taken == NULL);
    FAKE_CHECK(used <= size);
    FAKE_CHECK(box.has_stopped || want == 0 || want > size - used);
    client->want = want;
    for (struct fake_queued *queued = box.first, *next; queued != NULL; queued = next) {
        next = queued->next;
        client_execute(client, queued);
    }
    if (size > 0) {
        memmove(client->input.data, client->input.data + used, size - used);
    }
    client->input.size -= used;
    client->is_closed = client->is_closed || result != YK_OK;
    return box.has_stopped;
}

static void
client_run(struct fake_client *client)
{
    while (!client->is_closed && client_feed(client)) {
    }
}

void
fake_client_send(struct fake_client *client, const void *data, size_t size)
{
    if (!client->is_closed) {
        fake_bytes_add(&client->input, data, size);
        client_run(client);
    }
}

void
fake_client_eof(struct fake_client *client)
{
    if (!client->is_closed) {
        client->is_eof = true;
        client_run(client);
        FAKE_CHECK(client->is_closed || client->n_replies == client->n_submitted);
    }
}

struct fake_client *
fake_client_new(struct fake_core *core)
{
    struct fake_client *client = calloc(1, sizeof(*client));
    FAKE_CHECK(client != NULL);
    client->core = core;
    client->peer = (struct yk_peer){.struct_size = sizeof(client->peer),
                                    .family = YK_FAMILY_SIM,
                                    .address = "sim:1",
                                    .listener = "sim:0",
                                    .uid = -1,
                                    .id = 1,
                                    .key_size_max = core->key_size_max,
                                    .value_size_max = core->value_size_max};
    if (core->ops->session_new(core->self, &client->peer, &client->session) != YK_OK) {
        free(client);
        return NULL;
    }
    return client;
}

void
fake_client_free(struct fake_client *client)
{
    if (client != NULL) {
        client->core->ops->session_free(client->session);
        fake_bytes_done(&client->input);
        fake_bytes_done(&client->output);
        free(client);
    }
}

/* -- The core. -- */

void
fake_core_option(struct fake_core *core, const char *name, const char *text)
{
    const struct yk_plugin *plugin = core->plugin;
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct yk_option *option = &plugin->options[i];
        if (strcmp(option->name, name) == 0) {
            struct yk_option_value value = {.struct_size = sizeof(value), .type = option->type};
            char *end;
            value.text = text;
            value.number = strtoull(text, &end, 10);
            if (option->type == YK_OPTION_BOOL) {
                value.number = strcmp(text, "yes") == 0;
            } else if (option->type == YK_OPTION_DURATION) {
                value.number *= strcmp(end, "ms") == 0 ? 1000 : 1000000;
            }
            FAKE_CHECK(core->ops->life.config(core->self, name, &value) == YK_OK);
            return;
        }
    }
    FAKE_CHECK(name == NULL);
}

struct fake_core *
fake_core_new(const struct yk_plugin *plugin)
{
    struct fake_core *core = calloc(1, sizeof(*core));
    FAKE_CHECK(core != NULL);
    core->host = (struct yk_host){.struct_size = sizeof(core->host),
                                  .abi = YK_ABI,
                                  .log = host_log,
                                  .error = host_error,
                                  .alloc = host_alloc,
                                  .resize = host_resize,
                                  .release = host_release,
                                  .now_ms = host_now_ms,
                                  .now_us = host_now_us,
                                  .random = host_random};
    core->plugin = plugin;
    core->ops = plugin->ops;
    core->now_ms = FAKE_CORE_NOW_MS;
    core->seed = 1;
    core->key_size_max = 65531;
    core->value_size_max = 1 << 20;
    if (core->ops->life.create(&core->host, &core->self) != YK_OK) {
        free(core);
        return NULL;
    }
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        fake_core_option(core, plugin->options[i].name, plugin->options[i].fallback);
    }
    return core;
}

void
fake_core_reset(struct fake_core *core)
{
    records_clear(core);
    core->now_ms = FAKE_CORE_NOW_MS;
    core->seed = 1;
    core->version = 0;
    core->flush_at_ms = 0;
    core->memory_max = 0;
    core->n_shutdowns = 0;
    core->alloc_fails_in = core->fault_in = 0;
    core->inbox_alloc_fails = false;
}

void
fake_core_free(struct fake_core *core)
{
    if (core != NULL) {
        core->ops->life.destroy(core->self);
        FAKE_CHECK(core->n_allocs == 0);
        records_clear(core);
        free(core->records);
        free(core);
    }
}
