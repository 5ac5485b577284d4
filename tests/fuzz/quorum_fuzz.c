/* Any bytes as what managers send each other and what they store: refused, or read, and then what
 * is written of it is the same; and a manager that is sent them goes on. */
#include <config.h>

#include <stdint.h>
#include <stdlib.h>

#include <yakumo/coordinator.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/world.h"
#include "plugins/coordinators/quorum/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct yk_plugin quorum_LTX_yk_plugin;

enum { ROOM = 4096, STORES_MAX = 64 };

/* What was written is what was read. */
static void
check_same(struct yk_slice bytes, const struct quorum_writer *writer)
{
    YK_ASSERT(writer->size <= writer->room);
    YK_ASSERT(yk_slice_equal(bytes, yk_slice_of(writer->data, writer->size)));
}

static void
check_forms(struct yk_slice bytes)
{
    g_autofree uint8_t *memory = g_malloc(ROOM + bytes.size);
    struct quorum_message message;
    struct quorum_ballot ballot;
    struct quorum_value_view value;
    struct quorum_identity identity;
    struct quorum_writer writer = {.data = memory, .room = ROOM + bytes.size};
    if (quorum_message_decode(bytes, &message)) {
        writer.room = QUORUM_OVERHEAD_MAX + message.value.bytes.size;
        quorum_message_encode(&message, &writer);
        check_same(bytes, &writer);
    }
    writer.size = 0;
    if (quorum_promise_decode(bytes, &ballot)) {
        quorum_promise_encode(&ballot, &writer);
        check_same(bytes, &writer);
    }
    writer.size = 0;
    if (quorum_accepted_decode(bytes, &ballot, &value)) {
        quorum_accepted_encode(&ballot, &value, &writer);
        check_same(bytes, &writer);
    }
    writer.size = 0;
    if (quorum_identity_decode(bytes, &identity)) {
        quorum_identity_encode(&identity, &writer);
        check_same(bytes, &writer);
    }
}

/* A manager that has met the others, whose ids are 1, 2 and 3 throughout. */
struct desk {
    struct yk_coordinator_port port; /* first */
    uint64_t tokens[STORES_MAX];
    uint32_t n_stores;
    uint64_t n_random;
};

static uint64_t
desk_now(void *arg)
{
    return 1000;
}

static uint64_t
desk_random(void *arg)
{
    return ++((struct desk *)arg)->n_random;
}

static void
desk_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static void *
desk_resize(void *arg, void *memory, size_t size)
{
    return realloc(memory, size);
}

static void
desk_release(void *arg, void *memory)
{
    free(memory);
}

static void
desk_answer(struct yk_coordinator_port *port, uint64_t token,
            const struct yk_register_answer *answer)
{
}

static void
desk_changed(struct yk_coordinator_port *port, const char *name)
{
}

static void
desk_send(struct yk_coordinator_port *port, uint32_t manager_index, struct yk_slice message)
{
    struct quorum_message sent;
    bool is_good = quorum_message_decode(message, &sent);
    YK_ASSERT(is_good && sent.sender == 0 && manager_index > 0 && manager_index < 3);
}

static void
desk_set_timer(struct yk_coordinator_port *port, uint64_t at_ms)
{
}

static void
desk_store(struct yk_coordinator_port *port, const char *name, struct yk_slice bytes,
           uint64_t token)
{
    struct desk *desk = (struct desk *)port;
    YK_ASSERT(desk->n_stores < STORES_MAX);
    desk->tokens[desk->n_stores++] = token;
}

static void
check_manager(struct yk_slice bytes)
{
    static const struct yk_option_value second = {
        .struct_size = sizeof(second), .text = "", .number = 1000000};
    const struct yk_coordinator_ops *ops = quorum_LTX_yk_plugin.ops;
    struct desk desk = {.port = {.struct_size = sizeof(desk.port),
                                 .n_managers = 3,
                                 .answer = desk_answer,
                                 .changed = desk_changed,
                                 .send = desk_send,
                                 .set_timer = desk_set_timer,
                                 .store = desk_store}};
    struct yk_world world = {.arg = &desk,
                             .now_ms = desk_now,
                             .now_us = desk_now,
                             .random = desk_random,
                             .log = desk_log,
                             .resize = desk_resize,
                             .release = desk_release};
    struct yk_plugin_host host;
    struct quorum_identity identity = {.n_managers = 3};
    uint8_t entry[128];
    struct quorum_writer writer = {.data = entry, .room = sizeof(entry)};
    void *self;
    yk_plugin_host_init(&host, &world, "quorum");
    for (int i = 0; i < 3; i++) {
        memset(&identity.ids[i], i + 1, sizeof(identity.ids[i]));
    }
    quorum_identity_encode(&identity, &writer);
    bool is_up = ops->life.create(&host.host, &self) == YK_OK &&
                 ops->life.config(self, "timeout", &second) == YK_OK &&
                 ops->life.config(self, "poll", &second) == YK_OK &&
                 ops->open(self, &desk.port) == YK_OK;
    YK_ASSERT(is_up);
    ops->loaded(self, "identity", yk_slice_of(entry, writer.size));
    enum yk_err result = ops->ready(self);
    YK_ASSERT(result == YK_OK);
    ops->write(self, "r", yk_slice_of_text("text"), 0, 1);
    for (uint32_t i = 0; i < 3; i++) {
        ops->message(self, i, bytes);
        for (uint32_t k = 0; k < desk.n_stores; k++) {
            ops->stored(self, desk.tokens[k], YK_OK);
        }
        desk.n_stores = 0;
    }
    ops->close(self);
    ops->life.destroy(self);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_forms(yk_slice_of(data, size));
    check_manager(yk_slice_of(data, size));
    return 0;
}
