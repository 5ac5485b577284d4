/* The coordinator `local`, by a port that keeps what is stored and answers when it is told to. */
#include <config.h>

#include <yakumo/coordinator.h>

#include <stdlib.h>

#include <glib.h>

#include "core/base/world.h"

extern const struct yk_plugin local_LTX_yk_plugin;

static const struct yk_coordinator_ops *ops;

/* The device, and what the coordinator said last. */
struct desk {
    struct yk_coordinator_port port; /* first */
    struct yk_plugin_host host;
    void *self;
    char name[100]; /* of the entry that is being stored; "": none */
    uint8_t bytes[100];
    size_t size;
    uint64_t token;
    uint64_t answered; /* the token; 0: no answer */
    enum yk_register_result result;
    uint64_t revision;
    char text[100];
    uint32_t n_changed;
    int n_allocations; /* until memory ends; -1: never */
};

static void *
desk_resize(void *arg, void *memory, size_t size)
{
    struct desk *desk = arg;
    if (desk->n_allocations == 0) {
        return NULL;
    }
    desk->n_allocations -= desk->n_allocations > 0;
    return realloc(memory, size);
}

static void
desk_release(void *arg, void *memory)
{
    (void)arg;
    free(memory);
}

static void
desk_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    (void)arg;
    (void)level;
    (void)from;
    (void)line;
}

static void
desk_answer(struct yk_coordinator_port *port, uint64_t token,
            const struct yk_register_answer *answer)
{
    struct desk *desk = (struct desk *)port;
    desk->answered = token;
    desk->result = (enum yk_register_result)answer->result;
    desk->revision = answer->revision;
    g_assert_cmpuint(answer->bytes.size, <, sizeof(desk->text));
    memset(desk->text, 0, sizeof(desk->text));
    if (answer->bytes.size > 0) {
        memcpy(desk->text, answer->bytes.data, answer->bytes.size);
    }
}

static void
desk_changed(struct yk_coordinator_port *port, const char *name)
{
    (void)name;
    ((struct desk *)port)->n_changed++;
}

static void
desk_store(struct yk_coordinator_port *port, const char *name, struct yk_slice bytes,
           uint64_t token)
{
    struct desk *desk = (struct desk *)port;
    g_strlcpy(desk->name, name, sizeof(desk->name));
    memcpy(desk->bytes, bytes.data, bytes.size);
    desk->size = bytes.size;
    desk->token = token;
}

static struct yk_world world;

static void
desk_init(struct desk *desk)
{
    *desk = (struct desk){.port = {.struct_size = sizeof(desk->port),
                                   .n_managers = 1,
                                   .answer = desk_answer,
                                   .changed = desk_changed,
                                   .store = desk_store},
                          .n_allocations = -1};
    world = (struct yk_world){
        .arg = desk, .log = desk_log, .resize = desk_resize, .release = desk_release};
    ops = local_LTX_yk_plugin.ops;
    yk_plugin_host_init(&desk->host, &world, "local");
    g_assert_cmpint(ops->life.create(&desk->host.host, &desk->self), ==, YK_OK);
    g_assert_cmpint(ops->open(desk->self, &desk->port), ==, YK_OK);
}

static void
desk_done(struct desk *desk)
{
    ops->close(desk->self);
    ops->life.destroy(desk->self);
}

static void
assert_answer(struct desk *desk, uint64_t token, enum yk_register_result result, uint64_t revision,
              const char *text)
{
    g_assert_cmpuint(desk->answered, ==, token);
    g_assert_cmpint(desk->result, ==, result);
    g_assert_cmpuint(desk->revision, ==, revision);
    g_assert_cmpstr(desk->text, ==, text);
    desk->answered = 0;
}

static void
write_text(struct desk *desk, const char *name, const char *text, uint64_t if_revision,
           uint64_t token)
{
    desk->name[0] = '\0';
    ops->write(desk->self, name, yk_slice_of_text(text), if_revision, token);
}

static void
stored(struct desk *desk, enum yk_err result)
{
    g_assert_cmpstr(desk->name, !=, "");
    g_assert_cmpuint(desk->answered, ==, 0); /* nothing is said before it is durable */
    desk->name[0] = '\0';
    ops->stored(desk->self, desk->token, result);
}

static void
test_life(void)
{
    struct desk desk;
    desk_init(&desk);
    ops->read(desk.self, "cluster", 1);
    assert_answer(&desk, 1, YK_REGISTER_OK, 0, "");
    write_text(&desk, "cluster", "one", 0, 2);
    ops->read(desk.self, "cluster", 3); /* not durable yet: what was before */
    assert_answer(&desk, 3, YK_REGISTER_OK, 0, "");
    write_text(&desk, "bucket.x", "other", 0, 4); /* another register does not wait */
    stored(&desk, YK_OK);
    assert_answer(&desk, 4, YK_REGISTER_OK, 1, "");
    ops->stored(desk.self, 2, YK_OK);
    assert_answer(&desk, 2, YK_REGISTER_OK, 1, "");
    g_assert_cmpuint(desk.n_changed, ==, 2);
    ops->read(desk.self, "cluster", 5);
    assert_answer(&desk, 5, YK_REGISTER_OK, 1, "one");
    write_text(&desk, "cluster", "two", 0, 6);
    assert_answer(&desk, 6, YK_REGISTER_CONFLICT, 1, "");
    write_text(&desk, "cluster", "two", 2, 7);
    assert_answer(&desk, 7, YK_REGISTER_CONFLICT, 1, "");
    write_text(&desk, "cluster", "two", 1, 8);
    stored(&desk, YK_OK);
    assert_answer(&desk, 8, YK_REGISTER_OK, 2, "");
    /* Another start, from what is on the device. */
    struct desk again;
    desk_init(&again);
    ops->loaded(again.self, "cluster", yk_slice_of(desk.bytes, desk.size));
    ops->read(again.self, "cluster", 1);
    assert_answer(&again, 1, YK_REGISTER_OK, 2, "two");
    write_text(&again, "cluster", "", 2, 2);
    stored(&again, YK_OK);
    assert_answer(&again, 2, YK_REGISTER_OK, 3, "");
    desk_done(&again);
    world.arg = &desk;
    desk_done(&desk);
}

static void
test_one_at_a_time(void)
{
    struct desk desk;
    desk_init(&desk);
    write_text(&desk, "cluster", "one", 0, 1);
    ops->write(desk.self, "cluster", yk_slice_of_text("two"), 0, 2);
    assert_answer(&desk, 2, YK_REGISTER_FAILED, 0, "");
    stored(&desk, YK_OK);
    assert_answer(&desk, 1, YK_REGISTER_OK, 1, "");
    desk_done(&desk);
}

/* Nobody knows what is on the device: nothing is said of it any more. */
static void
test_failure(void)
{
    struct desk desk;
    desk_init(&desk);
    write_text(&desk, "cluster", "one", 0, 1);
    stored(&desk, YK_OK);
    desk.answered = 0;
    write_text(&desk, "cluster", "two", 1, 2);
    stored(&desk, YK_EIO);
    assert_answer(&desk, 2, YK_REGISTER_UNKNOWN, 1, "");
    ops->read(desk.self, "cluster", 3);
    assert_answer(&desk, 3, YK_REGISTER_UNKNOWN, 0, "");
    write_text(&desk, "cluster", "two", 1, 4);
    assert_answer(&desk, 4, YK_REGISTER_FAILED, 0, "");
    ops->stored(desk.self, 99, YK_OK); /* of nobody */
    g_assert_cmpuint(desk.answered, ==, 0);
    desk_done(&desk);
}

static void
test_damaged_entries(void)
{
    struct desk desk;
    desk_init(&desk);
    ops->loaded(desk.self, "short", yk_slice_of("\1\0\0", 3));
    ops->loaded(desk.self, "zero", yk_slice_of("\0\0\0\0\0\0\0\0x", 9));
    ops->read(desk.self, "short", 1);
    assert_answer(&desk, 1, YK_REGISTER_UNKNOWN, 0, "");
    ops->read(desk.self, "zero", 2);
    assert_answer(&desk, 2, YK_REGISTER_UNKNOWN, 0, "");
    g_autofree char *long_name = g_strnfill(81, 'x');
    write_text(&desk, long_name, "one", 0, 3);
    assert_answer(&desk, 3, YK_REGISTER_FAILED, 0, "");
    write_text(&desk, "", "one", 0, 4);
    assert_answer(&desk, 4, YK_REGISTER_FAILED, 0, "");
    desk_done(&desk);
}

static void
test_no_memory(void)
{
    for (int n = 0; n < 2; n++) {
        struct desk desk;
        desk_init(&desk);
        desk.n_allocations = n;
        write_text(&desk, "cluster", "one", 0, 1);
        assert_answer(&desk, 1, YK_REGISTER_FAILED, 0, "");
        desk.n_allocations = n;
        ops->loaded(desk.self, "other", yk_slice_of("\1\0\0\0\0\0\0\0x", 9));
        desk.n_allocations = -1;
        write_text(&desk, "cluster", "one", 0, 2);
        stored(&desk, YK_OK);
        assert_answer(&desk, 2, YK_REGISTER_OK, 1, "");
        desk_done(&desk);
    }
    struct desk desk;
    void *self;
    desk_init(&desk);
    desk.n_allocations = 0;
    g_assert_cmpint(ops->life.create(&desk.host.host, &self), ==, YK_ENOMEM);
    desk_done(&desk);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/local/life", test_life);
    g_test_add_func("/local/one-at-a-time", test_one_at_a_time);
    g_test_add_func("/local/failure", test_failure);
    g_test_add_func("/local/damaged-entries", test_damaged_entries);
    g_test_add_func("/local/no-memory", test_no_memory);
    return g_test_run();
}
