/* The host of a coordinator: its timer, whatever is done to the wall clock. */
#include <config.h>

#include "core/io/registers.h"

#include <stdlib.h>

#include <glib.h>
#include <glib/gstdio.h>

static struct {
    uint64_t now_us;
    int64_t wall_ms;
    struct yk_coordinator_port *port;
    uint32_t n_timers;
} test;

static uint64_t
world_now_ms(void *arg)
{
    (void)arg;
    return (uint64_t)((int64_t)(test.now_us / 1000) + test.wall_ms);
}

static uint64_t
world_now_us(void *arg)
{
    (void)arg;
    return test.now_us;
}

static void
log_line(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    (void)arg, (void)level;
    g_test_message("%s: %s", from, line);
}

static enum yk_err
clock_create(const struct yk_host *host, void **ret_self)
{
    (void)host;
    *ret_self = &test;
    return YK_OK;
}

static void
clock_destroy(void *self)
{
    (void)self;
}

static enum yk_err
clock_open(void *self, struct yk_coordinator_port *port)
{
    (void)self;
    test.port = port;
    return YK_OK;
}

static void
clock_timer(void *self, uint64_t now_ms)
{
    (void)self;
    g_assert_cmpuint(now_ms, ==, world_now_ms(NULL));
    test.n_timers++;
}

static const struct yk_coordinator_ops clock_ops = {
    .struct_size = sizeof(clock_ops),
    .life = {.create = clock_create, .destroy = clock_destroy},
    .open = clock_open,
    .timer = clock_timer,
};

static const struct yk_plugin clock_plugin = {
    YK_PLUGIN_HEAD(YK_KIND_COORDINATOR, YK_COORDINATOR_ABI),
    .name = "clock",
    .version = "1",
    .ops = &clock_ops,
};

static void
test_timer(void)
{
    const struct yk_world world = {.now_ms = world_now_ms, .now_us = world_now_us, .log = log_line};
    struct yk_registers_place place = {.n_managers = 1};
    struct yk_registers *registers = NULL;
    char error[YK_ERROR_SIZE] = "";
    g_autofree char *folder = g_dir_make_tmp("yakumo-registers-XXXXXX", NULL);
    g_autofree char *inner = g_build_filename(folder, "registers", NULL);
    test.now_us = 5000000;
    test.wall_ms = 1700000000000;
    struct yk_settings *settings = yk_settings_new(&clock_plugin, "clock");
    enum yk_err result = yk_registers_open(&world, settings, folder, &place, &registers, error);
    g_assert_cmpstr(error, ==, "");
    g_assert_cmpint(result, ==, YK_OK);
    g_assert_cmpuint(yk_registers_run(registers), ==, 0);
    for (int64_t jump_ms = -3600000; jump_ms <= 3600000; jump_ms += 3600000) {
        test.n_timers = 0;
        test.port->set_timer(test.port, world_now_ms(NULL) + 20);
        test.wall_ms += jump_ms;
        uint64_t due_us = yk_registers_run(registers);
        g_assert_cmpuint(test.n_timers, ==, 0);
        g_assert_cmpuint(due_us, >=, test.now_us + 20000);
        g_assert_cmpuint(due_us, <=, test.now_us + 21000);
        test.now_us = due_us;
        g_assert_cmpuint(yk_registers_run(registers), ==, 0);
        g_assert_cmpuint(test.n_timers, ==, 1);
    }
    yk_registers_close(registers);
    yk_settings_free(settings);
    g_rmdir(inner);
    g_rmdir(folder);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/registers/timer", test_timer);
    return g_test_run();
}
