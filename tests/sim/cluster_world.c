/* Time and chance of a simulated cluster: what is to happen, in order, and the world of its nodes.
 */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include <stdarg.h>
#include <stdlib.h>

struct cluster_simulation sim;

void
sim_fail(const char *format, ...)
{
    va_list arguments;
    if (sim.result->failure[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(sim.result->failure, sizeof(sim.result->failure), format, arguments);
        va_end(arguments);
    }
}

void
sim_trace(const char *format, ...)
{
    va_list arguments;
    if (sim.traces != NULL) {
        fprintf(sim.traces, "%9.2f ", (double)sim.now_us / 1000);
        va_start(arguments, format);
        vfprintf(sim.traces, format, arguments);
        va_end(arguments);
        fputc('\n', sim.traces);
    }
}

uint32_t
sim_below(uint32_t n)
{
    return (uint32_t)yk_random_below(&sim.random, n);
}

bool
sim_chance(uint32_t percent)
{
    return sim_below(100) < percent;
}

int64_t
sim_between_ms(uint32_t low, uint32_t high)
{
    return MS(low) + sim_below((high - low) * 1000 + 1);
}

/* Happenings */

bool
sim_is_before(const struct happening *a, const struct happening *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

/* It keeps its place among those of one time. */
void
sim_put_again(struct happening happening)
{
    if (sim.n_heap == sim.heap_room) {
        sim.heap_room = sim.heap_room == 0 ? 256 : sim.heap_room * 2;
        sim.heap = g_renew(struct happening, sim.heap, sim.heap_room);
    }
    uint32_t i = sim.n_heap++;
    for (; i > 0 && sim_is_before(&happening, &sim.heap[(i - 1) / 2]); i = (i - 1) / 2) {
        sim.heap[i] = sim.heap[(i - 1) / 2];
    }
    sim.heap[i] = happening;
}

void
sim_put(struct happening happening)
{
    happening.number = sim.n_made++;
    sim_put_again(happening);
}

struct happening
sim_take(void)
{
    struct happening first = sim.heap[0];
    struct happening last = sim.heap[--sim.n_heap];
    uint32_t i = 0;
    for (uint32_t child = 1; child < sim.n_heap; child = 2 * i + 1) {
        if (child + 1 < sim.n_heap && sim_is_before(&sim.heap[child + 1], &sim.heap[child])) {
            child++;
        }
        if (!sim_is_before(&sim.heap[child], &last)) {
            break;
        }
        sim.heap[i] = sim.heap[child];
        i = child;
    }
    if (sim.n_heap > 0) {
        sim.heap[i] = last;
    }
    return first;
}

void
sim_of_node(const struct node *node, int64_t delay_us, enum kind kind, uint32_t worker, void *thing)
{
    sim_put((struct happening){.at_us = sim.now_us + delay_us,
                               .kind = kind,
                               .node = (uint32_t)(node - sim.nodes),
                               .worker = worker,
                               .about = node->boot,
                               .thing = thing});
}

/* How long a message takes; negative: it is lost. */
int64_t
sim_way_us(uint32_t from, uint32_t to)
{
    int64_t way = 50 + sim_below(sim.is_slow ? 5000 : 300);
    if (sim.cut[from][to] || (!sim.is_calm && sim_chance(sim.loss))) {
        return -1;
    }
    return !sim.is_calm && sim_chance(sim.lateness) ? way + sim_between_ms(20, 1500) : way;
}

/* The world of a node */

static uint64_t
world_now_us(void *arg)
{
    const struct node *node = arg;
    return 1700000000000000ull +
           (uint64_t)(sim.now_us + node->slept_us + (sim.swarm.is_plain ? node->wall_us : 0));
}

uint64_t
world_now_ms(void *arg)
{
    const struct node *node = arg;
    return (1700000000000000ull + (uint64_t)(sim.now_us + node->slept_us + node->wall_us)) / 1000;
}

static uint64_t
world_boot_us(void *arg)
{
    const struct node *node = arg;
    return (uint64_t)((sim.now_us + node->slept_us) * node->rate / 1000 + node->offset_us);
}

static uint64_t
world_random(void *arg)
{
    (void)arg;
    return yk_random_next(&sim.random);
}

static void
world_sleep_us(void *arg, uint64_t us)
{
    ((struct node *)arg)->slept_us += (int64_t)us;
}

static void
world_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
    if (sim.traces != NULL) {
        sim_trace("node %u log %d %s: %s", (uint32_t)((struct node *)arg - sim.nodes), level, from,
                  line);
    }
}

static void *
world_resize(void *arg, void *memory, size_t size)
{
    (void)arg;
    return realloc(memory, size);
}

static void
world_release(void *arg, void *memory)
{
    (void)arg;
    free(memory);
}

void
world_facts(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg)
{
    (void)arg, (void)topic, (void)fn, (void)fn_arg;
}

void
world_init(struct node *node)
{
    node->world = (struct yk_world){.arg = node,
                                    .now_ms = world_now_ms,
                                    .now_us = world_now_us,
                                    .boot_us = world_boot_us,
                                    .random = world_random,
                                    .sleep_us = world_sleep_us,
                                    .log = world_log,
                                    .resize = world_resize,
                                    .release = world_release};
}
