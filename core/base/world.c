/* Plugin hosts, made from a world. */
#include <config.h>

#include "core/base/world.h"

#include <yakumo/plugin.h>

#include <stdarg.h>
#include <stdio.h>

enum { LOG_LINE_SIZE = 1024 };

static const struct yk_plugin_host *
host_of(const struct yk_host *host)
{
    return (const struct yk_plugin_host *)host;
}

static void log_list(const struct yk_world *world, enum yk_log_level level, const char *from,
                     const char *format, va_list arguments) YK_PRINTF(4, 0);
static void host_error(const struct yk_host *host, const char *format, ...) YK_PRINTF(2, 3);
static void host_log(const struct yk_host *host, enum yk_log_level level, const char *format, ...)
    YK_PRINTF(3, 4);

static void
log_list(const struct yk_world *world, enum yk_log_level level, const char *from,
         const char *format, va_list arguments)
{
    char line[LOG_LINE_SIZE];
    vsnprintf(line, sizeof(line), format, arguments);
    for (char *at = line; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = '?';
        }
    }
    world->log(world->arg, level, from, line);
}

void
yk_log(const struct yk_world *world, enum yk_log_level level, const char *from, const char *format,
       ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_list(world, level, from, format, arguments);
    va_end(arguments);
}

static void
host_log(const struct yk_host *host, enum yk_log_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_list(host_of(host)->world, level, host_of(host)->name, format, arguments);
    va_end(arguments);
}

static void
copy_error(struct yk_plugin_host *host, char *to, const char *from)
{
    while (__atomic_exchange_n(&host->error_lock, 1, __ATOMIC_ACQUIRE) != 0) {
    }
    memcpy(to, from, YK_ERROR_SIZE);
    __atomic_store_n(&host->error_lock, 0, __ATOMIC_RELEASE);
}

static void
host_error(const struct yk_host *host, const char *format, ...)
{
    struct yk_plugin_host *own = (struct yk_plugin_host *)(uintptr_t)host;
    char text[YK_ERROR_SIZE] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    copy_error(own, own->error, text);
}

void
yk_plugin_host_error(struct yk_plugin_host *host, char *to)
{
    copy_error(host, to, host->error);
}

static void *
host_alloc(const struct yk_host *host, size_t size)
{
    const struct yk_world *world = host_of(host)->world;
    return world->resize(world->arg, NULL, size);
}

static void *
host_resize(const struct yk_host *host, void *memory, size_t size)
{
    const struct yk_world *world = host_of(host)->world;
    return world->resize(world->arg, memory, size);
}

static void
host_release(const struct yk_host *host, void *memory)
{
    const struct yk_world *world = host_of(host)->world;
    world->release(world->arg, memory);
}

static uint64_t
host_now_ms(const struct yk_host *host)
{
    const struct yk_world *world = host_of(host)->world;
    return world->now_ms(world->arg);
}

static uint64_t
host_now_us(const struct yk_host *host)
{
    const struct yk_world *world = host_of(host)->world;
    return world->now_us(world->arg);
}

static uint64_t
host_random(const struct yk_host *host)
{
    const struct yk_world *world = host_of(host)->world;
    return world->random(world->arg);
}

static void
host_sleep_us(const struct yk_host *host, uint64_t us)
{
    const struct yk_world *world = host_of(host)->world;
    world->sleep_us(world->arg, us);
}

static void
host_complete(const struct yk_host *host, struct yk_call *call, enum yk_err result)
{
    const struct yk_world *world = host_of(host)->world;
    world->complete(world->arg, call, result);
}

void
yk_plugin_host_init(struct yk_plugin_host *host, const struct yk_world *world, const char *name)
{
    *host = (struct yk_plugin_host){
        .host = {.struct_size = sizeof(struct yk_host),
                 .abi = YK_ABI,
                 .log = host_log,
                 .error = host_error,
                 .alloc = host_alloc,
                 .resize = host_resize,
                 .release = host_release,
                 .now_ms = host_now_ms,
                 .now_us = host_now_us,
                 .random = host_random,
                 .sleep_us = host_sleep_us,
                 .complete = host_complete},
        .world = world,
    };
    snprintf(host->name, sizeof(host->name), "%s", name);
}
