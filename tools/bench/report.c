/* Prints a run; see report.h. */
#include <config.h>

#include "tools/bench/report.h"

#include <stdio.h>

#include "tools/json.h"

static const char *const protocol_names[] = {"text", "meta", "resp", "etcd"};

static const struct {
    const char *name, *key;
    double share;
} quantiles[] = {{"p50", "p50", 0.5},
                 {"p90", "p90", 0.9},
                 {"p99", "p99", 0.99},
                 {"p99.9", "p99_9", 0.999},
                 {"p99.99", "p99_99", 0.9999}};

/* What is not counted, but follows. */
struct figures {
    uint64_t n_requests;
    double seconds, per_second;
    double keys; /* of gets and sets */
    double hit_rate;
    int64_t cpu_ns, user_ns, system_ns; /* of the server in the measured phase */
};

static struct figures
figures_of(const struct bench_plan *plan, const struct bench_report *report)
{
    const struct bench_results *measured = &report->measured;
    struct figures figures = {.n_requests = measured->n_gets + measured->n_sets};
    uint64_t n_looked = measured->n_hits + measured->n_misses;
    figures.seconds = (double)(measured->ended_ns - measured->begun_ns) / 1e9;
    figures.per_second = figures.seconds > 0 ? (double)figures.n_requests / figures.seconds : 0;
    figures.keys = (double)measured->n_gets * plan->multi_get + (double)measured->n_sets;
    figures.hit_rate = n_looked > 0 ? (double)measured->n_hits / (double)n_looked : 0;
    figures.cpu_ns = report->after.cpu_ns - report->before.cpu_ns;
    figures.user_ns = report->after.user_ns - report->before.user_ns;
    figures.system_ns = report->after.system_ns - report->before.system_ns;
    return figures;
}

/* Microseconds of ns for each of n. */
static double
each_us(int64_t ns, double n)
{
    return n > 0 ? (double)ns / 1e3 / n : 0;
}

static double
share_of(int64_t part, int64_t other)
{
    return part + other > 0 ? (double)part / (double)(part + other) : 0;
}

/* JSON */

static void
json_real(GString *json, const char *key, double number)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    json_raw(json, key, g_ascii_formatd(text, sizeof(text), "%.6g", number));
}

static void
json_latency(GString *json, const char *key, const struct yk_histogram *histogram)
{
    json_open(json, key, '{');
    json_real(json, "mean", yk_histogram_mean(histogram) / 1e3);
    for (size_t i = 0; i < G_N_ELEMENTS(quantiles); i++) {
        json_real(json, quantiles[i].key,
                  (double)yk_histogram_quantile(histogram, quantiles[i].share) / 1e3);
    }
    json_real(json, "max", (double)histogram->max / 1e3);
    json_close(json, '}');
}

static void
json_errors(GString *json, const struct bench_errors *errors)
{
    json_open(json, "errors", '[');
    for (uint32_t i = 0; i < errors->n_texts; i++) {
        json_open(json, NULL, '{');
        json_text(json, "text", errors->texts[i].text);
        json_number(json, "count", errors->texts[i].n);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void
json_server(GString *json, const struct bench_report *report, const struct figures *figures)
{
    json_open(json, "server", '{');
    json_real(json, "cpu_seconds", (double)figures->cpu_ns / 1e9);
    json_real(json, "cpu_us_per_request", each_us(figures->cpu_ns, (double)figures->n_requests));
    json_real(json, "cpu_us_per_key", each_us(figures->cpu_ns, figures->keys));
    json_real(json, "user_share", share_of(figures->user_ns, figures->system_ns));
    json_number(json, "rss_at_start", report->at_start.rss);
    json_number(json, "rss_after_fill", report->after_fill.rss);
    json_number(json, "rss_at_end", report->after.rss);
    json_close(json, '}');
}

void
bench_report_print_json(const struct bench_plan *plan, const struct bench_report *report)
{
    const struct bench_results *measured = &report->measured, *fill = &report->fill;
    struct figures figures = figures_of(plan, report);
    struct yk_histogram all = measured->get_latency;
    yk_histogram_add(&all, &measured->set_latency);
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "server_address", plan->server);
    json_text(json, "protocol", protocol_names[plan->protocol]);
    json_number(json, "threads", plan->n_threads);
    json_number(json, "connections", plan->n_connections);
    json_number(json, "pipeline", plan->pipeline);
    json_number(json, "multi_get", plan->multi_get);
    json_number(json, "keys", plan->items.n_keys);
    json_real(json, "rate", plan->rate);
    json_bool(json, "interrupted", report->is_interrupted);
    json_open(json, "fill", '{');
    json_number(json, "sets", fill->n_sets);
    json_real(json, "seconds", (double)(fill->ended_ns - fill->begun_ns) / 1e9);
    json_close(json, '}');
    json_real(json, "seconds", figures.seconds);
    json_number(json, "requests", figures.n_requests);
    json_real(json, "requests_per_second", figures.per_second);
    json_number(json, "gets", measured->n_gets);
    json_number(json, "sets", measured->n_sets);
    json_number(json, "hits", measured->n_hits);
    json_number(json, "misses", measured->n_misses);
    json_real(json, "hit_rate", figures.hit_rate);
    json_number(json, "error_replies", measured->n_errors);
    json_errors(json, &measured->errors);
    json_number(json, "late", measured->n_late);
    json_open(json, "latency_us", '{');
    json_latency(json, "get", &measured->get_latency);
    json_latency(json, "set", &measured->set_latency);
    json_latency(json, "all", &all);
    json_close(json, '}');
    if (plan->n_pids > 0) {
        json_server(json, report, &figures);
    }
    json_open(json, "loader", '{');
    json_real(json, "cpu_us_per_request",
              each_us(report->loader_cpu_ns, (double)figures.n_requests));
    json_close(json, '}');
    json_close(json, '}');
    printf("%s\n", json->str);
}

/* Words */

static void
print_latency(const char *name, const struct yk_histogram *histogram)
{
    if (histogram->n == 0) {
        return;
    }
    printf("  %-8s %10.1f", name, yk_histogram_mean(histogram) / 1e3);
    for (size_t i = 0; i < G_N_ELEMENTS(quantiles); i++) {
        printf(" %10.1f", (double)yk_histogram_quantile(histogram, quantiles[i].share) / 1e3);
    }
    printf(" %10.1f\n", (double)histogram->max / 1e3);
}

static void
print_latencies(const struct bench_results *measured)
{
    struct yk_histogram all = measured->get_latency;
    yk_histogram_add(&all, &measured->set_latency);
    printf("latency, us      mean");
    for (size_t i = 0; i < G_N_ELEMENTS(quantiles); i++) {
        printf(" %10s", quantiles[i].name);
    }
    printf(" %10s\n", "max");
    print_latency("get", &measured->get_latency);
    print_latency("set", &measured->set_latency);
    print_latency("all", &all);
}

static void
print_server(const struct bench_plan *plan, const struct bench_report *report,
             const struct figures *figures)
{
    const double mib = 1024.0 * 1024;
    printf("server   CPU %.3f us per request",
           each_us(figures->cpu_ns, (double)figures->n_requests));
    if (plan->multi_get > 1) {
        printf(", %.3f us per key", each_us(figures->cpu_ns, figures->keys));
    }
    printf(" (%.0f %% of it user), %.2f cores busy\n",
           100 * share_of(figures->user_ns, figures->system_ns),
           figures->seconds > 0 ? (double)figures->cpu_ns / 1e9 / figures->seconds : 0);
    printf("         resident %.1f MiB at the start", (double)report->at_start.rss / mib);
    if (report->fill.n_sets > 0) {
        printf(", %.1f after the fill", (double)report->after_fill.rss / mib);
    }
    printf(", %.1f at the end\n", (double)report->after.rss / mib);
}

static void
print_measured(const struct bench_plan *plan, const struct bench_report *report)
{
    const struct bench_results *measured = &report->measured;
    struct figures figures = figures_of(plan, report);
    printf("measured %" G_GUINT64_FORMAT " requests in %.2f s, %.0f a second: %" G_GUINT64_FORMAT
           " gets, %" G_GUINT64_FORMAT " sets\n",
           figures.n_requests, figures.seconds, figures.per_second, measured->n_gets,
           measured->n_sets);
    if (measured->n_gets > 0) {
        printf("         %" G_GUINT64_FORMAT " hits, %" G_GUINT64_FORMAT " misses: %.3f %% hits\n",
               measured->n_hits, measured->n_misses, 100 * figures.hit_rate);
    }
    if (measured->n_late > 0) {
        printf("         the server is behind: %" G_GUINT64_FORMAT
               " more requests were due, and are not in the latencies\n",
               measured->n_late);
    }
    print_latencies(measured);
    if (plan->n_pids > 0) {
        print_server(plan, report, &figures);
    }
    printf("loader   CPU %.3f us per request\n",
           each_us(report->loader_cpu_ns, (double)figures.n_requests));
    for (uint32_t i = 0; i < measured->errors.n_texts; i++) {
        printf("refused  %" G_GUINT64_FORMAT " requests: %s\n", measured->errors.texts[i].n,
               measured->errors.texts[i].text);
    }
    if (measured->errors.n_others > 0) {
        printf("refused  %" G_GUINT64_FORMAT " requests with other texts\n",
               measured->errors.n_others);
    }
}

void
bench_report_print(const struct bench_plan *plan, const struct bench_report *report)
{
    const struct bench_results *fill = &report->fill;
    printf("%s, %s: threads %u, connections %u, pipeline %u", plan->server,
           protocol_names[plan->protocol], plan->n_threads, plan->n_connections, plan->pipeline);
    if (plan->rate > 0) {
        printf(", %.0f requests a second\n", plan->rate);
    } else {
        printf(", closed loop\n");
    }
    if (fill->n_sets > 0) {
        double seconds = (double)(fill->ended_ns - fill->begun_ns) / 1e9;
        printf("filled   %" G_GUINT64_FORMAT " keys in %.2f s, %.0f a second\n", fill->n_sets,
               seconds, (double)fill->n_sets / seconds);
    }
    if (report->measured.n_gets + report->measured.n_sets > 0) {
        print_measured(plan, report);
    }
    if (report->is_interrupted) {
        printf("interrupted\n");
    }
}
