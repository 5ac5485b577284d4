/* Draws of keys. Zipf's law is drawn from in constant time and memory for any theta, 1 included, by
 * rejection-inversion (W. Hoermann, G. Derflinger, "Rejection-inversion to generate variates from
 * monotone discrete distributions", ACM TOMACS 6.3, 1996): the histogram of the law lies under
 * the curve 1/x^theta, whose integral H has an inverse; a point is drawn under the curve, and of
 * the few that fall beside the histogram another one is drawn. */
#include <config.h>

#include "tools/bench/keys.h"

#include <math.h>
#include <string.h>

#include <glib.h>

/* (exp(x) - 1) / x and log(1 + x) / x, right also at 0, where theta is 1. */
static double
expm1_over(double x)
{
    return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

static double
log1p_over(double x)
{
    return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

/* The curve 1/x^theta, its integral, and the integral's inverse. */
static double
curve(const struct bench_keys *keys, double x)
{
    return exp(-keys->theta * log(x));
}

static double
integral(const struct bench_keys *keys, double x)
{
    double log_x = log(x);
    return expm1_over((1 - keys->theta) * log_x) * log_x;
}

static double
inverse(const struct bench_keys *keys, double area)
{
    double t = MAX(area * (1 - keys->theta), -1.0);
    return exp(log1p_over(t) * area);
}

static void
zipf_init(struct bench_keys *keys)
{
    keys->h_first = integral(keys, 1.5) - 1;
    keys->h_last = integral(keys, (double)keys->n + 0.5);
    keys->shortcut = 2 - inverse(keys, integral(keys, 2.5) - curve(keys, 2));
}

/* 0 <= result < 1 */
static double
fraction(struct yk_random *random)
{
    return (double)(yk_random_next(random) >> 11) * 0x1p-53;
}

static uint64_t
zipf_draw(const struct bench_keys *keys, struct yk_random *random)
{
    for (;;) {
        double area = keys->h_last + fraction(random) * (keys->h_first - keys->h_last);
        double x = inverse(keys, area);
        double nearest = floor(x + 0.5);
        nearest = nearest < 1 ? 1 : nearest > (double)keys->n ? (double)keys->n : nearest;
        if (nearest - x <= keys->shortcut ||
            area >= integral(keys, nearest + 0.5) - curve(keys, nearest)) {
            return (uint64_t)nearest - 1;
        }
    }
}

static bool
scan_parse(const char *text, struct bench_keys *keys)
{
    char *after = NULL;
    keys->scan_length = g_ascii_strtoull(text, &after, 10);
    if (after == text || *after != ':' || keys->scan_length < 1 || keys->scan_length > keys->n) {
        return false;
    }
    const char *from = after + 1;
    double share = g_ascii_strtod(from, &after);
    if (after == from || *after != '\0' || !(share > 0 && share < 1)) {
        return false;
    }
    /* Of the draws outside of scans so many begin one: share = c L / (c L + 1 - c). */
    double length = (double)keys->scan_length;
    keys->scan_chance = (uint64_t)(0x1p32 * share / (length * (1 - share) + share));
    return true;
}

bool
bench_keys_parse(const char *text, uint64_t n, struct bench_keys *keys,
                 char error[BENCH_KEYS_ERROR_SIZE])
{
    *keys = (struct bench_keys){.kind = BENCH_KEYS_UNIFORM, .n = n};
    const char *plus = strchr(text, '+');
    g_autofree char *name = plus != NULL ? g_strndup(text, (gsize)(plus - text)) : g_strdup(text);
    bool is_right = true;
    if (g_str_has_prefix(name, "zipf:")) {
        char *after = NULL;
        keys->kind = BENCH_KEYS_ZIPF;
        keys->theta = g_ascii_strtod(name + 5, &after);
        if (*after != '\0' || !(keys->theta > 0 && keys->theta < 2)) {
            g_snprintf(error, BENCH_KEYS_ERROR_SIZE, "zipf takes more than 0 and less than 2: '%s'",
                       name);
            return false;
        }
        zipf_init(keys);
    } else if (strcmp(name, "sequential") == 0) {
        keys->kind = BENCH_KEYS_SEQUENTIAL;
    } else {
        is_right = strcmp(name, "uniform") == 0;
    }
    if (!is_right) {
        g_snprintf(
            error, BENCH_KEYS_ERROR_SIZE,
            "is uniform, zipf:THETA or sequential, then perhaps +scan:LENGTH:SHARE, not '%s'",
            text);
        return false;
    }
    if (plus != NULL && (!g_str_has_prefix(plus, "+scan:") || !scan_parse(plus + 6, keys))) {
        g_snprintf(error, BENCH_KEYS_ERROR_SIZE,
                   "a scan is +scan:LENGTH:SHARE with 1 to %" G_GUINT64_FORMAT
                   " keys and a share between 0 and 1, not '%s'",
                   n, plus);
        return false;
    }
    return true;
}

void
bench_keys_source_init(struct bench_keys_source *source, const struct bench_keys *keys,
                       uint64_t seed, uint32_t index, uint32_t n_sources)
{
    struct yk_random random = {seed ^ ((uint64_t)index * 0xd1b54a32d192ed03ull)};
    *source = (struct bench_keys_source){
        .keys = keys,
        .random = {yk_random_next(&random)},
        .next = (uint64_t)((unsigned __int128)keys->n * index / n_sources),
    };
}

static uint64_t
step(uint64_t *next, uint64_t n)
{
    uint64_t key = *next;
    *next = key + 1 < n ? key + 1 : 0;
    return key;
}

uint64_t
bench_keys_draw(struct bench_keys_source *source)
{
    const struct bench_keys *keys = source->keys;
    if (keys->scan_chance > 0) {
        if (source->scan_left == 0 && yk_random_next(&source->random) >> 32 < keys->scan_chance) {
            source->scan_left = keys->scan_length;
            source->scan_next = yk_random_below(&source->random, keys->n);
        }
        if (source->scan_left > 0) {
            source->scan_left--;
            return step(&source->scan_next, keys->n);
        }
    }
    switch (keys->kind) {
    case BENCH_KEYS_ZIPF:
        return zipf_draw(keys, &source->random);
    case BENCH_KEYS_SEQUENTIAL:
        return step(&source->next, keys->n);
    case BENCH_KEYS_UNIFORM:
        break;
    }
    return yk_random_below(&source->random, keys->n);
}
