/* Reads a process's clock and its files in /proc. The clock counts nanoseconds; the files say how
 * they were shared between user and system, and what memory is resident. */
#include <config.h>

#include "tools/bench/watch.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

static bool
read_proc(int pid, const char *name, char **ret_text)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, name);
    return g_file_get_contents(path, ret_text, NULL, NULL);
}

/* The sum of both is the clock's; the ticks give the shares. */
static bool
take_cpu(int pid, struct bench_sample *sample)
{
    clockid_t clock;
    struct timespec spent;
    g_autofree char *text = NULL;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0 ||
        !read_proc(pid, "stat", &text)) {
        return false;
    }
    /* The name in parentheses may hold anything. */
    const char *after = strrchr(text, ')');
    unsigned long user = 0, system = 0;
    if (after == NULL || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                &user, &system) != 2) {
        return false;
    }
    int64_t tick_ns = 1000000000ll / sysconf(_SC_CLK_TCK);
    sample->cpu_ns += spent.tv_sec * 1000000000ll + spent.tv_nsec;
    sample->user_ns += (int64_t)user * tick_ns;
    sample->system_ns += (int64_t)system * tick_ns;
    return true;
}

/* smaps_rollup counts pages; the cheaper files may be a few megabytes behind. */
static bool
take_rss(int pid, struct bench_sample *sample)
{
    static const struct {
        const char *file, *head;
    } places[] = {{"smaps_rollup", "\nRss:"}, {"status", "\nVmRSS:"}};
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *text = NULL;
        if (read_proc(pid, places[i].file, &text)) {
            const char *at = strstr(text, places[i].head);
            if (at != NULL) {
                sample->rss += g_ascii_strtoull(at + strlen(places[i].head), NULL, 10) * 1024;
                return true;
            }
        }
    }
    return false;
}

bool
bench_watch(const int *pids, uint32_t n_pids, struct bench_sample *ret_sample, char *error,
            size_t error_size)
{
    struct bench_sample sample = {0};
    for (uint32_t i = 0; i < n_pids; i++) {
        if (!take_cpu(pids[i], &sample) || !take_rss(pids[i], &sample)) {
            g_snprintf(error, error_size, "process %d is not there, or may not be looked at",
                       pids[i]);
            return false;
        }
    }
    *ret_sample = sample;
    return true;
}
