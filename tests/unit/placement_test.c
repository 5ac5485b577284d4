/* The placement: nobody above his share, nothing moved without need, copies on different nodes and
 * in different zones, the same result for the same question. The worst figures are printed. */
#include <config.h>

#include "core/ring/placement.h"

#include <stdlib.h>

#include <glib.h>

#include "core/base/random.h"
#include "core/ring/quota.h"

enum { NODES_MAX = 1001, ZONES_MAX = 8, COPIES = 3 };

/* Nodes, and what they hold. */
struct ring {
    struct yk_placement_node nodes[NODES_MAX];
    char ids[NODES_MAX][40];
    uint32_t n_nodes, n_slots, copies;
    uint32_t *now; /* own */
    struct yk_random random;
};

static const char *const zone_names[ZONES_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static struct ring *
ring_new(uint32_t n_nodes, uint32_t n_slots, uint32_t copies, uint64_t seed)
{
    struct ring *ring = g_new0(struct ring, 1);
    *ring =
        (struct ring){.n_nodes = n_nodes, .n_slots = n_slots, .copies = copies, .random = {seed}};
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        uint64_t a = yk_random_next(&ring->random), b = yk_random_next(&ring->random);
        g_snprintf(ring->ids[i], sizeof(ring->ids[i]), "%08x-%04x-4%03x-8%03x-%012llx", (uint32_t)a,
                   (uint32_t)(a >> 32) & 0xffff, (uint32_t)(a >> 52), (uint32_t)b & 0xfff,
                   (unsigned long long)(b >> 16));
        ring->nodes[i] = (struct yk_placement_node){.id = ring->ids[i], .weight = 1};
    }
    return ring;
}

static void
ring_free(struct ring *ring)
{
    g_free(ring->now);
    g_free(ring);
}

static struct yk_placement_current
ring_current(const struct ring *ring)
{
    return (struct yk_placement_current){ring->now, ring->copies};
}

/* Places anew; the number of copies that moved. */
static uint64_t
ring_place(struct ring *ring)
{
    uint32_t *next = g_new(uint32_t, (size_t)ring->n_slots * ring->copies + 1);
    struct yk_placement_current to = {next, ring->copies};
    g_assert_cmpint(yk_placement_compute(ring->nodes, ring->n_nodes, ring->n_slots, ring->copies,
                                         ring_current(ring), next),
                    ==, YK_OK);
    uint64_t n_moves =
        ring->now != NULL ? yk_placement_moves(ring_current(ring), to, ring->n_slots) : 0;
    g_free(ring->now);
    ring->now = next;
    return n_moves;
}

static bool
takes_part(const struct ring *ring, uint32_t node)
{
    return !ring->nodes[node].is_out && ring->nodes[node].weight > 0;
}

static void
count(const struct ring *ring, uint32_t *copies, uint32_t *primaries)
{
    memset(copies, 0, NODES_MAX * sizeof(*copies));
    memset(primaries, 0, NODES_MAX * sizeof(*primaries));
    for (uint32_t i = 0; i < ring->n_slots * ring->copies; i++) {
        if (ring->now[i] != YK_PLACEMENT_NONE) {
            copies[ring->now[i]]++;
            primaries[ring->now[i]] += i % ring->copies == 0;
        }
    }
}

/* Shares by weight where no node gets more than max; what that leaves over goes to the others. */
static void
fair_shares(const struct ring *ring, double total, const double *max, double *ret_fair)
{
    bool is_full[NODES_MAX] = {false};
    for (bool is_settled = false; !is_settled;) {
        double weight = 0, left = total;
        for (uint32_t i = 0; i < ring->n_nodes; i++) {
            weight += takes_part(ring, i) && !is_full[i] ? ring->nodes[i].weight : 0;
            left -= takes_part(ring, i) && is_full[i] ? max[i] : 0;
        }
        is_settled = true;
        for (uint32_t i = 0; i < ring->n_nodes; i++) {
            double fair = weight > 0 ? left * ring->nodes[i].weight / weight : 0;
            ret_fair[i] = !takes_part(ring, i) ? 0 : is_full[i] || fair > max[i] ? max[i] : fair;
            if (takes_part(ring, i) && !is_full[i] && fair > max[i]) {
                is_full[i] = true;
                is_settled = false;
            }
        }
    }
}

/* The worst that was seen, printed in the end. */
struct worst {
    double copies, primaries; /* the greatest part of the fair share, 1.0: fair */
    double moves;             /* of the least */
};

static double
up(double share)
{
    return (double)(uint64_t)(share + 0.999999);
}

/* Nodes without zones: nobody holds more than his share, rounded up to whole slots. */
static void
check_balance(const struct ring *ring, struct worst *worst)
{
    static uint32_t copies[NODES_MAX], primaries[NODES_MAX];
    static double fair[NODES_MAX], max[NODES_MAX], fair_primary[NODES_MAX];
    uint32_t n_usable = 0;
    count(ring, copies, primaries);
    for (uint32_t i = 0; i < ring->n_nodes; i++) {
        max[i] = ring->n_slots;
        n_usable += takes_part(ring, i);
    }
    fair_shares(ring, (double)ring->n_slots * MIN(ring->copies, n_usable), max, fair);
    fair_shares(ring, ring->n_slots, max, fair_primary);
    for (uint32_t i = 0; i < ring->n_nodes; i++) {
        g_assert_cmpfloat(copies[i], <=, up(fair[i]));
        g_assert_cmpfloat(copies[i] + 1, >=, fair[i]);
        g_assert_cmpfloat(primaries[i], <=, up(fair_primary[i]));
        if (takes_part(ring, i) && fair_primary[i] >= 20) {
            worst->copies = MAX(worst->copies, copies[i] / fair[i]);
            worst->primaries = MAX(worst->primaries, primaries[i] / fair_primary[i]);
        }
    }
}

/* Copies are on different nodes that take part, and as many as can be. zone_max: in one zone. */
static void
check_rows(const struct ring *ring, uint32_t zone_max)
{
    uint32_t n_usable = 0, n_wrong = 0;
    for (uint32_t i = 0; i < ring->n_nodes; i++) {
        n_usable += takes_part(ring, i);
    }
    for (uint32_t slot = 0; slot < ring->n_slots; slot++) {
        const uint32_t *row = ring->now + (size_t)slot * ring->copies;
        for (uint32_t i = 0; i < ring->copies; i++) {
            uint32_t n_in_zone = 1;
            if (i >= n_usable || row[i] == YK_PLACEMENT_NONE) {
                n_wrong += i < n_usable || row[i] != YK_PLACEMENT_NONE;
                continue;
            }
            n_wrong += row[i] >= ring->n_nodes || !takes_part(ring, row[i]);
            for (uint32_t k = 0; k < i; k++) {
                n_wrong += row[k] == row[i];
                n_in_zone += g_strcmp0(ring->nodes[row[k]].zone, ring->nodes[row[i]].zone) == 0;
            }
            n_wrong += zone_max > 0 && n_in_zone > zone_max;
        }
    }
    g_assert_cmpuint(n_wrong, ==, 0);
}

/* -- The least number of moves, found slowly. -- */

/* A flow of the least cost from a source over slots and the zones in them to nodes and a sink: what
 * a slot has costs nothing. By paths of the least cost, one copy at a time. */
enum { VERTICES_MAX = 2048, ARCS_MAX = 40000 };

struct flow {
    uint32_t n_vertices, n_arcs;
    struct arc {
        uint32_t to, next;
        int capacity, cost;
    } arcs[ARCS_MAX];
    uint32_t first[VERTICES_MAX];
};

static void
flow_arc(struct flow *flow, uint32_t from, uint32_t to, int capacity, int cost)
{
    g_assert_cmpuint(flow->n_arcs + 2, <=, ARCS_MAX);
    flow->arcs[flow->n_arcs] = (struct arc){to, flow->first[from], capacity, cost};
    flow->first[from] = flow->n_arcs++;
    flow->arcs[flow->n_arcs] = (struct arc){from, flow->first[to], 0, -cost};
    flow->first[to] = flow->n_arcs++;
}

/* The cost of one more from vertex 0 to vertex 1; -1: there is no way. */
static int
flow_augment(struct flow *flow)
{
    static int distance[VERTICES_MAX];
    static uint32_t queue[VERTICES_MAX], via[VERTICES_MAX];
    static bool is_queued[VERTICES_MAX];
    uint32_t head = 0, n = 1;
    memset(is_queued, 0, sizeof(is_queued));
    for (uint32_t i = 0; i < flow->n_vertices; i++) {
        distance[i] = G_MAXINT;
    }
    distance[0] = 0;
    for (queue[0] = 0; n > 0;) {
        uint32_t from = queue[head];
        n--;
        head = (head + 1) % VERTICES_MAX;
        is_queued[from] = false;
        for (uint32_t i = flow->first[from]; i != G_MAXUINT32; i = flow->arcs[i].next) {
            const struct arc *arc = &flow->arcs[i];
            if (arc->capacity > 0 && distance[from] + arc->cost < distance[arc->to]) {
                distance[arc->to] = distance[from] + arc->cost;
                via[arc->to] = i;
                if (!is_queued[arc->to]) {
                    queue[(head + n++) % VERTICES_MAX] = arc->to;
                    is_queued[arc->to] = true;
                }
            }
        }
    }
    for (uint32_t at = 1; distance[1] != G_MAXINT && at != 0; at = flow->arcs[via[at] ^ 1].to) {
        flow->arcs[via[at]].capacity--;
        flow->arcs[via[at] ^ 1].capacity++;
    }
    return distance[1] == G_MAXINT ? -1 : distance[1];
}

/* From what the ring had to as many copies on each node, at most zone_max of a slot in a zone. */
static uint32_t
least_moves(const struct ring *ring, const uint32_t *had, const uint32_t *copies, uint32_t zone_max)
{
    static struct flow flow;
    uint32_t n_slots = ring->n_slots, first_zone = 2 + n_slots, n_moves = 0;
    uint32_t first_node = first_zone + n_slots * ZONES_MAX;
    flow.n_arcs = 0;
    flow.n_vertices = first_node + ring->n_nodes;
    g_assert_cmpuint(flow.n_vertices, <=, VERTICES_MAX);
    memset(flow.first, 0xff, sizeof(flow.first));
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        flow_arc(&flow, 0, 2 + slot, (int)ring->copies, 0);
        for (uint32_t zone = 0; zone < ZONES_MAX; zone++) {
            flow_arc(&flow, 2 + slot, first_zone + slot * ZONES_MAX + zone, (int)zone_max, 0);
        }
        for (uint32_t i = 0; i < ring->n_nodes; i++) {
            bool is_there = false;
            for (uint32_t k = 0; k < ring->copies; k++) {
                is_there = is_there || had[slot * ring->copies + k] == i;
            }
            uint32_t zone =
                ring->nodes[i].zone != NULL ? (uint32_t)ring->nodes[i].zone[0] - 'a' : 0;
            flow_arc(&flow, first_zone + slot * ZONES_MAX + zone, first_node + i, 1, !is_there);
        }
    }
    for (uint32_t i = 0; i < ring->n_nodes; i++) {
        flow_arc(&flow, first_node + i, 1, (int)copies[i], 0);
    }
    for (uint32_t i = 0; i < n_slots * ring->copies; i++) {
        int cost = flow_augment(&flow);
        g_assert_cmpint(cost, >=, 0);
        n_moves += (uint32_t)cost;
    }
    return n_moves;
}

static uint32_t
slots_for(uint32_t n_nodes)
{
    return n_nodes <= 128 ? 1024 : 32768;
}

static const uint32_t sizes[] = {3, 4, 5, 6, 7, 10, 16, 31, 64, 100, 127, 200, 500, 999};

static void
print_worst(const char *what, const struct worst *worst)
{
    g_test_message("%s: a node's copies %.4f and primaries %.4f of its fair share, moves %.4f of "
                   "the least",
                   what, worst->copies, worst->primaries, worst->moves);
}

static void
test_balance(void)
{
    struct worst worst = {0};
    for (uint32_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct ring *ring = ring_new(sizes[i], slots_for(sizes[i]), COPIES, sizes[i]);
        ring_place(ring);
        check_rows(ring, 0);
        check_balance(ring, &worst);
        g_assert_cmpuint(ring_place(ring), ==, 0); /* it stays */
        ring_free(ring);
    }
    print_worst("fresh, 3 to 999 nodes", &worst);
}

/* 20 slots or more of difference are what a ratio can be told of. */
static void
check_moves(uint64_t n_moves, double least, struct worst *worst)
{
    g_assert_cmpfloat((double)n_moves, <=, up(1.05 * least));
    if (least >= 20) {
        worst->moves = MAX(worst->moves, (double)n_moves / least);
    }
}

static void
test_join_and_leave(void)
{
    struct worst joined = {0}, left = {0};
    static uint32_t before[NODES_MAX], copies[NODES_MAX], primaries[NODES_MAX];
    for (uint32_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct ring *ring = ring_new(sizes[i], slots_for(sizes[i]), COPIES, sizes[i]);
        ring_place(ring);
        ring->n_nodes++;
        uint64_t n_moves = ring_place(ring);
        check_rows(ring, 0);
        check_balance(ring, &joined);
        /* The share of the new one. */
        double share = (double)ring->n_slots * COPIES / ring->n_nodes;
        check_moves(n_moves, share, &joined);
        count(ring, before, primaries);
        uint32_t leaver = sizes[i] / 2;
        ring->nodes[leaver].is_out = true;
        n_moves = ring_place(ring);
        check_rows(ring, 0);
        check_balance(ring, &left);
        count(ring, copies, primaries);
        g_assert_cmpuint(copies[leaver], ==, 0);
        check_moves(n_moves, before[leaver], &left);
        ring_free(ring);
    }
    print_worst("one joins, 3 to 999 nodes", &joined);
    print_worst("one leaves, 4 to 1000 nodes", &left);
}

/* Several at once, and one after another many times: what was moved before costs nothing now. */
static void
test_growth(void)
{
    struct worst worst = {0};
    struct ring *ring = ring_new(3, 1024, COPIES, 5);
    ring_place(ring);
    uint64_t n_moves = 0;
    double least = 0;
    for (uint32_t n = 4; n <= 128; n++) {
        ring->n_nodes = n;
        n_moves += ring_place(ring);
        least += 1024.0 * COPIES / n;
        check_rows(ring, 0);
        check_balance(ring, &worst);
    }
    check_moves(n_moves, least, &worst);
    print_worst("3 to 128 nodes, one by one", &worst);
    for (uint32_t i = 0; i < 64; i++) {
        ring->nodes[2 * i].is_out = true;
    }
    n_moves = ring_place(ring);
    check_rows(ring, 0);
    check_balance(ring, &worst);
    check_moves(n_moves, 1024.0 * COPIES / 2, &worst);
    ring_free(ring);
}

static void
test_weights(void)
{
    struct worst worst = {0};
    static uint32_t before[NODES_MAX], copies[NODES_MAX], primaries[NODES_MAX];
    for (uint32_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct ring *ring = ring_new(sizes[i], slots_for(sizes[i]), COPIES, sizes[i]);
        for (uint32_t k = 0; k < ring->n_nodes; k++) {
            ring->nodes[k].weight = 1 + (uint32_t)yk_random_below(&ring->random, 8);
        }
        ring_place(ring);
        check_rows(ring, 0);
        check_balance(ring, &worst);
        for (uint32_t round = 0; round < 3; round++) {
            uint32_t changed = (uint32_t)yk_random_below(&ring->random, ring->n_nodes);
            ring->nodes[changed].weight = round == 0        ? 2 * ring->nodes[changed].weight
                                          : round == 1      ? 1
                                          : sizes[i] <= 128 ? 4000000000
                                                            : 100;
            count(ring, before, primaries);
            uint64_t n_moves = ring_place(ring);
            check_rows(ring, 0);
            check_balance(ring, &worst);
            count(ring, copies, primaries);
            double least = 0;
            for (uint32_t k = 0; k < ring->n_nodes; k++) {
                least += copies[k] > before[k] ? copies[k] - before[k] : 0;
            }
            /* With a few nodes it takes more than this; test_least_moves knows how much. */
            if (ring->n_nodes >= 10) {
                check_moves(n_moves, least, &worst);
            }
        }
        ring_free(ring);
    }
    print_worst("weights 1 to 8, and one that changes", &worst);
}

/* One round: a node comes, goes, or has another weight; against what is possible at all. */
static void
check_change(struct ring *ring, uint32_t round, uint32_t zone_max, struct worst *worst)
{
    static uint32_t copies[NODES_MAX], primaries[NODES_MAX];
    uint32_t node = (uint32_t)yk_random_below(&ring->random, ring->n_nodes);
    uint32_t *had = g_memdup2(ring->now, ring->n_slots * ring->copies * sizeof(*had));
    ring->n_nodes += round % 3 == 1;
    ring->nodes[node].is_out = round % 3 == 0 && node >= ZONES_MAX;
    ring->nodes[node].weight +=
        round % 3 == 2 ? 1 + (uint32_t)yk_random_below(&ring->random, 5) : 0;
    uint64_t n_moves = ring_place(ring);
    check_rows(ring, ring->nodes[0].zone != NULL ? zone_max : 0);
    count(ring, copies, primaries);
    check_moves(n_moves, least_moves(ring, had, copies, zone_max), worst);
    g_free(had);
}

/* As many zones as copies, or more: never two copies in one. */
static void
test_zones(void)
{
    struct worst worst = {0};
    for (uint32_t seed = 1; seed <= 30; seed++) {
        uint32_t n_zones = 2 + seed % 4;
        struct ring *ring = ring_new(ZONES_MAX + 2 * n_zones + seed % 7, 64, COPIES, seed);
        for (uint32_t i = 0; i < NODES_MAX; i++) {
            ring->nodes[i].zone = zone_names[i % n_zones];
        }
        ring_place(ring);
        check_rows(ring, n_zones < COPIES ? 2 : 1);
        for (uint32_t round = 0; round < 6; round++) {
            check_change(ring, round, n_zones < COPIES ? 2 : 1, &worst);
        }
        ring_free(ring);
    }
    print_worst("two to five zones (moves only)", &worst);
}

/* Few nodes of different weights, some of which hold every slot. */
static void
test_least_moves(void)
{
    struct worst worst = {0};
    for (uint32_t seed = 1; seed <= 30; seed++) {
        struct ring *ring = ring_new(4 + seed % 12, 64, COPIES, seed);
        ring_place(ring);
        for (uint32_t round = 0; round < 9; round++) {
            check_change(ring, round, COPIES, &worst);
            check_balance(ring, &worst);
        }
        ring_free(ring);
    }
    print_worst("4 to 19 nodes, weights 1 and more", &worst);
}

/* Zones of the same size: everybody the same. Two zones, three copies: two at most in one. One node
 * in a zone: it has one copy of each slot, the others share the rest. */
static void
test_zone_shares(void)
{
    struct worst worst = {0};
    static uint32_t copies[NODES_MAX], primaries[NODES_MAX];
    struct ring *ring = ring_new(30, 1024, COPIES, 9);
    for (uint32_t i = 0; i < ring->n_nodes; i++) {
        ring->nodes[i].zone = zone_names[i % 3];
    }
    ring_place(ring);
    check_rows(ring, 1);
    check_balance(ring, &worst);
    for (uint32_t i = 0; i < ring->n_nodes; i++) {
        ring->nodes[i].zone = zone_names[i % 2];
    }
    ring_place(ring);
    check_rows(ring, 2);
    check_balance(ring, &worst);
    for (uint32_t i = 0; i < ring->n_nodes; i++) {
        ring->nodes[i].zone = i == 0 ? "a" : i % 2 == 0 ? "b" : "c";
    }
    ring_place(ring);
    check_rows(ring, 1);
    count(ring, copies, primaries);
    g_assert_cmpuint(copies[0], ==, 1024);
    for (uint32_t i = 1; i < ring->n_nodes; i++) {
        g_assert_cmpuint(copies[i], >=, 1024 / 15);
        g_assert_cmpuint(copies[i], <=, 1024 / 14 + 1);
    }
    ring->copies = 5; /* a: 1, b and c: 2 each */
    g_clear_pointer(&ring->now, g_free);
    ring_place(ring);
    check_rows(ring, 2);
    ring_free(ring);
}

/* Nodes come, go, change their weights and zones at random. */
static void
test_random(void)
{
    for (uint32_t seed = 1; seed <= 60; seed++) {
        struct worst worst = {0};
        bool has_zones = seed % 2 == 0;
        uint32_t copies = 1 + seed % 5;
        struct ring *ring = ring_new(2 + seed % 30, 64 << seed % 4, copies, seed);
        for (uint32_t round = 0; round < 20; round++) {
            uint32_t node = (uint32_t)yk_random_below(&ring->random, ring->n_nodes);
            uint64_t dice = yk_random_below(&ring->random, 4);
            ring->n_nodes += dice == 0;
            ring->nodes[node].is_out = dice == 1;
            ring->nodes[node].weight = (uint32_t)yk_random_below(&ring->random, 6);
            if (has_zones) {
                ring->nodes[node].zone =
                    dice == 3 ? NULL : zone_names[yk_random_below(&ring->random, ZONES_MAX)];
            }
            ring_place(ring);
            check_rows(ring, 0);
            if (!has_zones) {
                check_balance(ring, &worst);
            }
            uint32_t *again = g_new(uint32_t, (size_t)ring->n_slots * copies);
            g_assert_cmpint(yk_placement_compute(ring->nodes, ring->n_nodes, ring->n_slots, copies,
                                                 ring_current(ring), again),
                            ==, YK_OK);
            g_assert_cmpmem(again, ring->n_slots * copies * sizeof(*again), ring->now,
                            ring->n_slots * copies * sizeof(*again));
            g_free(again);
        }
        ring_free(ring);
        if (g_test_failed()) {
            g_test_message("seed %u", seed);
            return;
        }
    }
}

/* In whatever order the nodes are listed. */
static void
test_order(void)
{
    struct ring *ring = ring_new(20, 1024, COPIES, 3);
    struct ring *other = ring_new(20, 1024, COPIES, 3);
    for (uint32_t i = 0; i < 20; i++) {
        ring->nodes[i].weight = 1 + i % 3;
        other->nodes[(7 * i + 3) % 20] = ring->nodes[i];
    }
    ring_place(ring);
    ring_place(other);
    for (uint32_t i = 0; i < 1024 * COPIES; i++) {
        g_assert_cmpuint((7 * ring->now[i] + 3) % 20, ==, other->now[i]);
    }
    ring_free(ring);
    ring_free(other);
}

static void
test_few_nodes(void)
{
    struct worst worst = {0};
    struct ring *ring = ring_new(2, 64, COPIES, 4);
    ring_place(ring);
    check_rows(ring, 0);
    check_balance(ring, &worst);
    ring->nodes[0].is_out = true;
    ring_place(ring);
    check_rows(ring, 0);
    ring->nodes[1].weight = 0;
    ring_place(ring);
    check_rows(ring, 0);
    ring->nodes[0].is_out = false;
    ring->n_nodes = 3;
    ring_place(ring);
    check_rows(ring, 0);
    ring_free(ring);
}

/* Another number of copies: fewer moves nothing, more makes only what is new. */
static void
test_copies_change(void)
{
    struct ring *ring = ring_new(10, 1024, 3, 4);
    uint32_t *next = g_new(uint32_t, 1024 * 4);
    ring_place(ring);
    for (uint32_t copies = 1; copies <= 4; copies++) {
        struct yk_placement_current to = {next, copies};
        g_assert_cmpint(
            yk_placement_compute(ring->nodes, 10, 1024, copies, ring_current(ring), next), ==,
            YK_OK);
        uint64_t n_moves = yk_placement_moves(ring_current(ring), to, 1024);
        uint64_t least = copies > 3 ? 1024 : 0;
        g_test_message("from 3 copies to %u: %u moves", copies, (unsigned)n_moves);
        g_assert_cmpuint(n_moves, <=, least + (copies < 3 ? 1024 / 10 : 10));
    }
    g_free(next);
    ring_free(ring);
}

static void
test_speed(void)
{
    struct ring *ring = ring_new(128, 1024, COPIES, 1);
    g_test_timer_start();
    ring_place(ring);
    double fresh = g_test_timer_elapsed();
    ring->nodes[5].is_out = true;
    g_test_timer_start();
    ring_place(ring);
    g_test_message("1024 slots, 128 nodes, 3 copies: fresh %.1f ms, one leaves %.1f ms",
                   fresh * 1e3, g_test_timer_elapsed() * 1e3);
    ring_free(ring);
    ring = ring_new(1000, 32768, COPIES, 1);
    g_test_timer_start();
    ring_place(ring);
    g_test_message("32768 slots, 1000 nodes, 3 copies: fresh %.1f ms",
                   g_test_timer_elapsed() * 1e3);
    ring_free(ring);
    g_assert_cmpfloat(fresh, <, 5.0); /* of the slowest machine, under valgrind */
}

static void
test_quota(void)
{
    struct yk_quota_item items[] = {{.weight = 1, .max = 10},
                                    {.weight = 3, .max = 10},
                                    {.weight = 1, .group = 1, .max = 10},
                                    {.weight = 1, .group = 1, .max = 10, .held = 9}};
    const uint64_t all[] = {100, 100}, bounded[] = {100, 3}, little[] = {1, 1};
    g_assert_cmpint(yk_quota_share(items, 4, all, 2, 12), ==, YK_OK);
    g_assert_cmpuint(items[0].quota, ==, 2);
    g_assert_cmpuint(items[1].quota, ==, 6);
    g_assert_cmpuint(items[2].quota, ==, 2);
    g_assert_cmpuint(items[3].quota, ==, 2);
    g_assert_cmpint(yk_quota_share(items, 4, bounded, 2, 15), ==, YK_OK); /* the group is full */
    g_assert_cmpuint(items[0].quota, ==, 3);
    g_assert_cmpuint(items[1].quota, ==, 9);
    g_assert_cmpuint(items[2].quota, ==, 1);
    g_assert_cmpuint(items[3].quota, ==, 2);                             /* it has it already */
    g_assert_cmpint(yk_quota_share(items, 4, little, 2, 50), ==, YK_OK); /* no room */
    g_assert_cmpuint(items[0].quota + items[1].quota, ==, 1);
    g_assert_cmpint(yk_quota_share(items, 4, all, 2, 0), ==, YK_OK);
    g_assert_cmpuint(items[1].quota, ==, 0);
    g_assert_cmpint(yk_quota_share(items, 0, all, 2, 7), ==, YK_OK);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/placement/quota", test_quota);
    g_test_add_func("/placement/balance", test_balance);
    g_test_add_func("/placement/join-and-leave", test_join_and_leave);
    g_test_add_func("/placement/growth", test_growth);
    g_test_add_func("/placement/weights", test_weights);
    g_test_add_func("/placement/zones", test_zones);
    g_test_add_func("/placement/least-moves", test_least_moves);
    g_test_add_func("/placement/zone-shares", test_zone_shares);
    g_test_add_func("/placement/random", test_random);
    g_test_add_func("/placement/order", test_order);
    g_test_add_func("/placement/few-nodes", test_few_nodes);
    g_test_add_func("/placement/copies-change", test_copies_change);
    g_test_add_func("/placement/speed", test_speed);
    return g_test_run();
}
