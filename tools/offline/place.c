/* Config, log, words and progress of the offline verbs. */
#include <config.h>

#include "tools/offline/place.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { SHOW_EVERY_US = 200000, LINES_EVERY_US = 1000000 };

void
offline_typed_done(struct offline_typed *typed)
{
    g_free(typed->file);
    g_free(typed->node);
    g_strfreev(typed->overrides);
}

void
offline_say(const char *verb, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    fprintf(stderr, "yakumo %s: %s\n", verb, text);
}

/* The node's own lines, as far as they matter to who looks at its folder. */
static void
take_line(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    struct offline_place *place = arg;
    (void)from;
    if (level == YK_LOG_ERROR) {
        __atomic_add_fetch(&place->n_errors, 1, __ATOMIC_RELAXED);
    }
    if (level == YK_LOG_ERROR || level == YK_LOG_WARNING) {
        offline_say(place->verb, "%s", line);
    }
}

void
offline_place_init(struct offline_place *place, const char *verb)
{
    *place = (struct offline_place){.verb = verb};
    yk_system_init(&place->system, YK_LOG_WARNING);
    place->system.world.log = take_line;
}

bool
offline_place_open(struct offline_place *place, const char *verb, const struct offline_typed *typed)
{
    char error[YK_ERROR_SIZE];
    struct yk_start_options options = {typed->file, typed->node,
                                       (const char *const *)typed->overrides};
    offline_place_init(place, verb);
    place->plugins = yk_plugins_new(NULL);
    if (yk_start_read_config(&options, place->plugins, &place->config, error) != YK_OK) {
        offline_say(verb, "%s", error);
        place->config = NULL;
        return false;
    }
    return true;
}

void
offline_place_close(struct offline_place *place)
{
    yk_config_free(place->config);
    if (place->plugins != NULL) {
        yk_plugins_free(place->plugins);
    }
    *place = (struct offline_place){.verb = place->verb};
}

int
offline_find_bucket(const struct offline_place *place, const char *name)
{
    g_autoptr(GString) known = g_string_new(NULL);
    for (uint32_t i = 0; i < place->config->n_buckets; i++) {
        if (g_strcmp0(place->config->buckets[i].name, name) == 0) {
            return (int)i;
        }
        g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", place->config->buckets[i].name);
    }
    if (name == NULL) {
        offline_say(place->verb, "which bucket? Type --bucket NAME; there are %s", known->str);
    } else {
        offline_say(place->verb, "the config has no bucket '%s'; there are %s", name, known->str);
    }
    return -1;
}

bool
offline_keeps_nothing(const struct offline_place *place, uint32_t bucket_index)
{
    struct yk_backend_info info;
    char error[YK_ERROR_SIZE];
    return place->config->buckets[bucket_index].durability == YK_DURABILITY_MEMORY &&
           yk_node_ask(place->config, &place->system.world, bucket_index, &info, error) == YK_OK &&
           (info.caps & YK_BACKEND_VOLATILE) != 0;
}

/* Words */

char *
offline_escape(struct yk_slice bytes)
{
    const uint8_t *from = bytes.data;
    GString *text = g_string_sized_new(bytes.size + 1);
    for (size_t i = 0; i < bytes.size; i++) {
        if (from[i] == '\\' || from[i] == '"') {
            g_string_append_printf(text, "\\%c", from[i]);
        } else if (from[i] < 0x20 || from[i] >= 0x7f) {
            g_string_append_printf(text, "\\x%02x", from[i]);
        } else {
            g_string_append_c(text, (char)from[i]);
        }
    }
    return g_string_free(text, FALSE);
}

char *
offline_time(uint64_t ms)
{
    g_autoptr(GDateTime) time =
        ms / 1000 < INT64_MAX / 1000000 ? g_date_time_new_from_unix_utc((gint64)(ms / 1000)) : NULL;
    if (time == NULL) {
        return g_strdup_printf("%" G_GUINT64_FORMAT " ms", ms);
    }
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%03uZ", text, (unsigned)(ms % 1000));
}

/* Progress */

void
offline_progress_init(struct offline_progress *progress, const char *verb, bool is_forced,
                      bool is_quiet)
{
    bool is_terminal = isatty(STDERR_FILENO) != 0;
    *progress = (struct offline_progress){.verb = verb,
                                          .is_terminal = is_terminal,
                                          .is_shown = is_forced || (is_terminal && !is_quiet),
                                          .began_us = (uint64_t)g_get_monotonic_time()};
    progress->shown_us = progress->began_us;
}

void
offline_progress_show(struct offline_progress *progress, uint64_t n_records, uint64_t n_bytes)
{
    if (!progress->is_shown) {
        return;
    }
    uint64_t now_us = (uint64_t)g_get_monotonic_time();
    uint64_t every_us = progress->is_terminal ? SHOW_EVERY_US : LINES_EVERY_US;
    if (now_us - progress->shown_us < every_us) {
        return;
    }
    progress->shown_us = now_us;
    double seconds = (double)(now_us - progress->began_us) / 1e6;
    uint64_t done = progress->total_is_bytes ? n_bytes : n_records;
    g_autofree char *size = g_format_size_full(n_bytes, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *share =
        progress->total > 0
            ? g_strdup_printf("%3.0f %%, ",
                              MIN(100.0, 100.0 * (double)done / (double)progress->total))
            : g_strdup("");
    fprintf(stderr, "%syakumo %s: %s%" G_GUINT64_FORMAT " records, %s, %.0f records/s%s",
            progress->is_terminal ? "\r\033[K" : "", progress->verb, share, n_records, size,
            (double)n_records / seconds, progress->is_terminal ? "" : "\n");
    progress->has_line = progress->is_terminal;
}

void
offline_progress_end(struct offline_progress *progress)
{
    if (progress->has_line) {
        fprintf(stderr, "\r\033[K");
        progress->has_line = false;
    }
}
