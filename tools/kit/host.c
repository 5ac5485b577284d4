/* See host.h. */
#include <config.h>

#include "tools/kit/host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RUBBISH_NEW = 0xa5,
    RUBBISH_OLD = 0xdb,
    LOG_LINE_SIZE = 1024,
    SLEEP_US_MAX = 20,
    KEPT_SIZE_MAX = 65536
};

/* In front of each block, as long as its alignment. */
struct block {
    uint64_t size;
    uint64_t state; /* one of the two below, mixed with the address */
};

#define IS_ALIVE 0x6b69742d616c6976ull
#define IS_GONE  0x6b69742d676f6e65ull

static uint64_t
mark(const struct block *block, uint64_t state)
{
    return state ^ (uint64_t)(uintptr_t)block;
}

static struct block *
block_of(struct kit_host *host, void *memory)
{
    struct block *block = (struct block *)memory - 1;
    if ((uintptr_t)memory % 16 != 0) {
        kit_broken(host->kit, KIT_HEAP, "an address was released that the host never gave");
    }
    if (block->state == mark(block, IS_GONE)) {
        kit_broken(host->kit, KIT_HEAP, "a block was released twice");
    }
    if (block->state != mark(block, IS_ALIVE)) {
        kit_broken(host->kit, KIT_HEAP,
                   "an address was released that the host never gave, or bytes were written in "
                   "front of it");
    }
    return block;
}

static bool
fails(struct kit_host *host)
{
    uint64_t number = __atomic_add_fetch(&host->n_made, 1, __ATOMIC_RELAXED);
    uint64_t fails_at = __atomic_load_n(&host->fails_at, __ATOMIC_RELAXED);
    if (fails_at == 0 || number < fails_at || number - fails_at > host->fails_for) {
        return false;
    }
    __atomic_add_fetch(&host->n_failed, 1, __ATOMIC_RELAXED);
    return true;
}

void
kit_host_release(struct kit_host *host, void *memory)
{
    if (memory == NULL) {
        return;
    }
    struct block *block = block_of(host, memory);
    memset(memory, RUBBISH_OLD, block->size);
    block->state = mark(block, IS_GONE);
    __atomic_sub_fetch(&host->n_alive, 1, __ATOMIC_RELAXED);
    if (block->size > KEPT_SIZE_MAX) {
        free(block);
        return;
    }
    uint32_t at = __atomic_fetch_add(&host->n_kept, 1, __ATOMIC_RELAXED) % KIT_BLOCKS_KEPT;
    free(__atomic_exchange_n(&host->kept[at], block, __ATOMIC_ACQ_REL));
}

/* Always moves, so that nothing may count on the old address. */
void *
kit_host_resize(struct kit_host *host, void *memory, size_t size)
{
    struct block *old = memory != NULL ? block_of(host, memory) : NULL;
    if (fails(host)) {
        return NULL;
    }
    struct block *block = size <= SIZE_MAX - sizeof(*block) ? malloc(sizeof(*block) + size) : NULL;
    if (block == NULL) {
        return NULL;
    }
    block->size = size;
    block->state = mark(block, IS_ALIVE);
    memset(block + 1, RUBBISH_NEW, size);
    __atomic_add_fetch(&host->n_alive, 1, __ATOMIC_RELAXED);
    if (old != NULL) {
        memcpy(block + 1, memory, MIN(old->size, size));
        kit_host_release(host, memory);
    }
    return block + 1;
}

static void *
world_resize(void *arg, void *memory, size_t size)
{
    return kit_host_resize(arg, memory, size);
}

static void
world_release(void *arg, void *memory)
{
    kit_host_release(arg, memory);
}

static uint64_t
world_now_ms(void *arg)
{
    const struct kit_host *host = arg;
    return host->now_ms != 0 ? host->now_ms : (uint64_t)g_get_real_time() / 1000;
}

static uint64_t
world_now_us(void *arg)
{
    const struct kit_host *host = arg;
    return host->now_ms != 0 ? host->now_ms * 1000 : (uint64_t)g_get_monotonic_time();
}

static uint64_t
world_random(void *arg)
{
    struct kit_host *host = arg;
    struct yk_random random = {
        __atomic_add_fetch(&host->random, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED)};
    return yk_random_next(&random);
}

static void
world_sleep_us(void *arg, uint64_t us)
{
    struct kit_host *host = arg;
    if (!host->may_sleep) {
        kit_broken(host->kit, KIT_SLEEP, "sleeps %llu us, and does not declare BLOCKS",
                   (unsigned long long)us);
    }
    g_usleep(MIN(us, SLEEP_US_MAX));
}

static void
world_log(void *arg, enum yk_log_level level, const char *from, const char *line)
{
}

static void
world_complete(void *arg, struct yk_call *call, enum yk_err result)
{
    struct kit_host *host = arg;
    host->complete(call, result);
}

static struct kit_host *
host_of(const struct yk_host *host)
{
    return ((const struct yk_plugin_host *)host)->world->arg;
}

static void instance_log(const struct yk_host *host, enum yk_log_level level, const char *format,
                         ...) YK_PRINTF(3, 4);

/* The host's own way of logging makes any line good; here it is seen as the plugin wrote it. */
static void
instance_log(const struct yk_host *host, enum yk_log_level level, const char *format, ...)
{
    char line[LOG_LINE_SIZE + 1];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (level < YK_LOG_ERROR || level > YK_LOG_DEBUG) {
        kit_broken(host_of(host)->kit, KIT_LOG_LINE, "logs with level %d", (int)level);
    }
    if (size > LOG_LINE_SIZE) {
        kit_broken(host_of(host)->kit, KIT_LOG_LINE, "logs a line of %d bytes", size);
    }
    if (strchr(line, '\n') != NULL) {
        kit_broken(host_of(host)->kit, KIT_LOG_LINE, "logs a line end: '%.100s'", line);
    }
}

void
kit_host_init(struct kit_host *host, struct kit *kit, uint64_t seed)
{
    *host = (struct kit_host){.kit = kit, .random = seed};
    host->world = (struct yk_world){.arg = host,
                                    .now_ms = world_now_ms,
                                    .now_us = world_now_us,
                                    .boot_us = world_now_us,
                                    .random = world_random,
                                    .sleep_us = world_sleep_us,
                                    .log = world_log,
                                    .resize = world_resize,
                                    .release = world_release,
                                    .complete = world_complete};
}

void
kit_host_done(struct kit_host *host)
{
    for (uint32_t i = 0; i < KIT_BLOCKS_KEPT; i++) {
        free(host->kept[i]);
    }
}

void
kit_host_fail(struct kit_host *host, uint64_t nth, uint64_t n_more)
{
    host->n_failed = 0;
    host->fails_for = n_more;
    host->fails_at = nth != 0 ? __atomic_load_n(&host->n_made, __ATOMIC_RELAXED) + nth : 0;
}

void
kit_host_lend(struct kit_host *host, struct yk_plugin_host *instance, const char *name)
{
    yk_plugin_host_init(instance, &host->world, name);
    instance->host.log = instance_log;
}

/* -- The budget. -- */

static bool
budget_take(const struct yk_budget *budget, uint64_t size)
{
    struct kit_budget *own = (struct kit_budget *)(uintptr_t)budget;
    uint64_t taken = __atomic_load_n(&own->taken, __ATOMIC_RELAXED);
    do {
        if (budget->size_max != 0 &&
            (taken > budget->size_max || size > budget->size_max - taken)) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&own->taken, &taken, taken + size, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    if (taken + size > __atomic_load_n(&own->taken_max, __ATOMIC_RELAXED)) {
        __atomic_store_n(&own->taken_max, taken + size, __ATOMIC_RELAXED);
    }
    return true;
}

static void
budget_give(const struct yk_budget *budget, uint64_t size)
{
    struct kit_budget *own = (struct kit_budget *)(uintptr_t)budget;
    uint64_t taken = __atomic_fetch_sub(&own->taken, size, __ATOMIC_RELAXED);
    if (size > taken) {
        kit_broken(own->kit, KIT_BUDGET, "gives back %llu bytes, and holds only %llu",
                   (unsigned long long)size, (unsigned long long)taken);
    }
}

void
kit_budget_init(struct kit_budget *budget, struct kit *kit, uint64_t size_max)
{
    *budget = (struct kit_budget){.budget = {.struct_size = sizeof(budget->budget),
                                             .size_max = size_max,
                                             .take = budget_take,
                                             .give = budget_give},
                                  .kit = kit};
}
