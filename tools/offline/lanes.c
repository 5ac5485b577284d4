/* Starting a node for a tool. */
#include <config.h>

#include "tools/offline/lanes.h"

#include <string.h>

#include "core/replica/lane.h"

struct yk_lane *
lanes_at(struct lanes *lanes, uint32_t index)
{
    return yk_node_lane(lanes->start.node, lanes->bucket_index, index);
}

/* A lane that has a journal knows them since its recovery. */
static bool
load_pages(struct lanes *lanes)
{
    for (uint32_t i = 0; i < lanes->n; i++) {
        struct yk_lane *lane = lanes_at(lanes, i);
        uint64_t n_applied;
        if (yk_lane_is_shut(lane)) {
            offline_say(lanes->place->verb, "lane %u of bucket %s cannot be opened", i,
                        lanes->bucket->name);
            return false;
        }
        if (yk_lane_is_journaled(lane)) {
            continue;
        }
        enum yk_err result = yk_lane_recover(lane);
        if (result == YK_OK) {
            result = yk_lane_recovered(lane, &n_applied);
        }
        if (result != YK_OK) {
            offline_say(lanes->place->verb, "lane %u of bucket %s: %s", i, lanes->bucket->name,
                        yk_err_text(result));
            return false;
        }
    }
    return true;
}

bool
lanes_open(struct lanes *lanes, const struct offline_place *place, uint32_t bucket_index,
           uint64_t epoch_min)
{
    char error[YK_ERROR_SIZE];
    *lanes = (struct lanes){.place = place,
                            .bucket_index = bucket_index,
                            .bucket = &place->config->buckets[bucket_index],
                            .n = place->config->node.lanes,
                            .start = {.world = &place->system.world,
                                      .plugins = place->plugins,
                                      .config = place->config,
                                      .epoch_min = epoch_min}};
    bool is_open = yk_start(&lanes->start, error) == YK_OK;
    if (!is_open) {
        offline_say(place->verb, "%s", error);
    }
    if (!is_open || !load_pages(lanes)) {
        lanes_close(lanes, false);
        return false;
    }
    return true;
}

void
lanes_close(struct lanes *lanes, bool is_clean)
{
    yk_start_end(&lanes->start, is_clean);
}

bool
lanes_look(struct lanes *lanes, uint32_t index, yk_look_fn fn, void *arg)
{
    char error[YK_ERROR_SIZE];
    struct yk_look look = {.stack = yk_lane_stack(lanes_at(lanes, index)),
                           .ring = lanes->start.node->buckets[lanes->bucket_index]->ring,
                           .lane = index,
                           .key_size_max = lanes->bucket->key_size_max};
    enum yk_err result = yk_look(&look, fn, arg);
    if (result == YK_OK) {
        return true;
    }
    yk_stack_error(look.stack, error);
    offline_say(lanes->place->verb, "lane %u of bucket %s cannot be read to its end: %s", index,
                lanes->bucket->name, error[0] != '\0' ? error : yk_err_text(result));
    return false;
}

static void
add_count(void *arg, const char *name, uint64_t number)
{
    uint64_t *count = arg;
    *count += strcmp(name, "curr_items") == 0 ? number : 0;
}

uint64_t
lanes_count(struct lanes *lanes)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < lanes->n; i++) {
        yk_stack_figures(yk_lane_stack(lanes_at(lanes, i)), add_count, &count);
    }
    return count;
}
