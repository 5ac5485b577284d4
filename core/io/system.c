/* Clocks, getrandom, malloc and standard error. */
#include <config.h>

#include "core/io/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/base/random.h"

enum { LINE_SIZE = 1400 };

static uint64_t
clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t
system_now_ms(void *arg)
{
    (void)arg;
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

static uint64_t
system_now_us(void *arg)
{
    (void)arg;
    return clock_ns(CLOCK_MONOTONIC) / 1000;
}

static uint64_t
system_boot_us(void *arg)
{
    (void)arg;
    return clock_ns(CLOCK_BOOTTIME) / 1000;
}

static uint64_t
system_random(void *arg)
{
    static __thread struct yk_random random;
    static __thread bool is_seeded;
    (void)arg;
    if (!is_seeded) {
        is_seeded = getrandom(&random.state, sizeof(random.state), 0) == sizeof(random.state);
    }
    return yk_random_next(&random);
}

static void
system_sleep_us(void *arg, uint64_t us)
{
    struct timespec rest = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    (void)arg;
    while (nanosleep(&rest, &rest) < 0) {
    }
}

static const char *
level_name(enum yk_log_level level)
{
    switch (level) {
    case YK_LOG_ERROR:
        return "error";
    case YK_LOG_WARNING:
        return "warning";
    case YK_LOG_NOTICE:
        return "notice";
    case YK_LOG_INFO:
        return "info";
    default:
        return "debug";
    }
}

/* One write for a line, so that lines of several threads stay whole. */
static void
system_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    const struct yk_system *system = arg;
    char text[LINE_SIZE];
    char when[32];
    struct tm parts;
    int size;
    if ((int)level > __atomic_load_n(&system->level, __ATOMIC_RELAXED)) {
        return;
    }
    if (system->for_journald) {
        size = snprintf(text, sizeof(text), "<%d>%s: %s\n", level, from, line);
    } else {
        uint64_t now_ms = system_now_ms(NULL);
        time_t seconds = (time_t)(now_ms / 1000);
        gmtime_r(&seconds, &parts);
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &parts);
        size = snprintf(text, sizeof(text), "%s.%03uZ %s %s: %s\n", when, (unsigned)(now_ms % 1000),
                        level_name(level), from, line);
    }
    if (size >= (int)sizeof(text)) {
        size = sizeof(text) - 1;
        text[size - 1] = '\n';
    }
    ssize_t written = write(STDERR_FILENO, text, (size_t)size);
    (void)written;
}

static void *
system_resize(void *arg, void *memory, size_t size)
{
    (void)arg;
    return realloc(memory, size);
}

static void
system_release(void *arg, void *memory)
{
    (void)arg;
    free(memory);
}

void
yk_system_init(struct yk_system *system, enum yk_log_level level)
{
    *system = (struct yk_system){.world = {.arg = system,
                                           .now_ms = system_now_ms,
                                           .now_us = system_now_us,
                                           .boot_us = system_boot_us,
                                           .random = system_random,
                                           .sleep_us = system_sleep_us,
                                           .log = system_log,
                                           .resize = system_resize,
                                           .release = system_release},
                                 .level = level,
                                 .for_journald = getenv("JOURNAL_STREAM") != NULL};
}

void
yk_system_set_level(struct yk_system *system, enum yk_log_level level)
{
    __atomic_store_n(&system->level, (int)level, __ATOMIC_RELAXED);
}

void
yk_system_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t size = path != NULL ? strlen(path) : 0;
    if (size == 0 || size >= sizeof(to.sun_path)) {
        return;
    }
    memcpy(to.sun_path, path, size);
    if (to.sun_path[0] == '@') {
        to.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
        close(fd);
    }
}
