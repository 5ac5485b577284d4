/* Makes the tables of quantiles; see sizes.h. */
#include <config.h>

#include "tools/bench/sizes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

/* A number that ends where end says. */
static bool
number_read(const char **text, char end, double *ret_number)
{
    char *after = NULL;
    double number = g_ascii_strtod(*text, &after);
    if (after == *text || *after != end || !isfinite(number)) {
        return false;
    }
    *text = after + (end != '\0');
    *ret_number = number;
    return true;
}

/* "NAME:A:B" */
static bool
pair_read(const char *text, const char *name, double *ret_a, double *ret_b)
{
    size_t size = strlen(name);
    if (strncmp(text, name, size) != 0) {
        return false;
    }
    text += size;
    return number_read(&text, ':', ret_a) && number_read(&text, '\0', ret_b);
}

/* The quantile of the standard normal distribution, by bisection: made once, so it may be slow. */
static double
normal_quantile(double share)
{
    double low = -8, high = 8;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        *(0.5 * erfc(-middle / sqrt(2)) < share ? &low : &high) = middle;
    }
    return low;
}

struct shape {
    enum { SHAPE_UNIFORM, SHAPE_LOGNORMAL, SHAPE_PARETO, SHAPE_EXTREME } kind;
    double a, b;
};

static double
quantile(const struct shape *shape, double share)
{
    switch (shape->kind) {
    case SHAPE_UNIFORM:
        return shape->a + floor(share * (shape->b - shape->a + 1));
    case SHAPE_LOGNORMAL:
        return shape->a * exp(shape->b * normal_quantile(share));
    case SHAPE_PARETO: /* generalized, from 0 on */
        return shape->a / shape->b * (pow(1 - share, -shape->b) - 1);
    case SHAPE_EXTREME: /* generalized extreme value, of keys of ETC */
        return 30.7984 + shape->a / shape->b * (pow(-log(share), -shape->b) - 1);
    }
    return 0;
}

static bool
shape_read(const char *text, enum bench_sizes_of of, struct shape *shape)
{
    const char *at = text;
    if (strcmp(text, "etc") == 0) {
        *shape = of == BENCH_SIZES_OF_KEYS ? (struct shape){SHAPE_EXTREME, 8.20449, 0.078688}
                                           : (struct shape){SHAPE_PARETO, 214.476, 0.348468};
        return true;
    }
    if (pair_read(text, "lognormal:", &shape->a, &shape->b)) {
        shape->kind = SHAPE_LOGNORMAL;
        return shape->a > 0 && shape->b >= 0;
    }
    if (pair_read(text, "pareto:", &shape->a, &shape->b)) {
        shape->kind = SHAPE_PARETO;
        return shape->a > 0 && shape->b > 0;
    }
    shape->kind = SHAPE_UNIFORM;
    if (number_read(&at, '\0', &shape->a)) {
        shape->b = shape->a;
    } else if (!number_read(&at, '-', &shape->a) || !number_read(&at, '\0', &shape->b)) {
        return false;
    }
    return shape->a >= 0 && shape->a <= shape->b && floor(shape->a) == shape->a &&
           floor(shape->b) == shape->b;
}

bool
bench_sizes_parse(const char *text, enum bench_sizes_of of, uint32_t min, uint32_t max,
                  struct bench_sizes *sizes, char error[BENCH_SIZES_ERROR_SIZE])
{
    struct shape shape;
    if (!shape_read(text, of, &shape)) {
        g_snprintf(error, BENCH_SIZES_ERROR_SIZE,
                   "'%s' is no size: N, LEAST-MOST, etc, lognormal:MEDIAN:SIGMA or "
                   "pareto:SCALE:SHAPE",
                   text);
        return false;
    }
    if (shape.kind == SHAPE_UNIFORM && (shape.a < min || shape.b > max)) {
        g_snprintf(error, BENCH_SIZES_ERROR_SIZE, "is %u to %u here, not %s", min, max, text);
        return false;
    }
    double sum = 0;
    for (int i = 0; i < BENCH_QUANTILES; i++) {
        double size = quantile(&shape, (i + 0.5) / BENCH_QUANTILES);
        sizes->quantiles[i] = size <= min ? min : size >= max ? max : (uint32_t)size;
        sum += sizes->quantiles[i];
    }
    sizes->mean = sum / BENCH_QUANTILES;
    sizes->min = sizes->quantiles[0];
    sizes->max = sizes->quantiles[BENCH_QUANTILES - 1];
    return true;
}
