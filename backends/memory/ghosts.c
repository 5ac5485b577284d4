/* See ghosts.h. */
#include "backends/memory/ghosts.h"

enum {
    LINE = 32,  /* ghosts in one */
    TICKS = 8,  /* of the clock until as many have come as there is room for */
    CLOCK = 15, /* the clock goes from 1 to 15; 0: no ghost */
    GHOSTS_MIN = 256
};

void
ghosts_init(struct ghosts *ghosts, struct purse *purse)
{
    *ghosts = (struct ghosts){.purse = purse, .clock = 1};
}

uint64_t
ghosts_size(const struct ghosts *ghosts)
{
    return (uint64_t)ghosts->n_lines * LINE * sizeof(uint16_t);
}

void
ghosts_done(struct ghosts *ghosts)
{
    purse_free(ghosts->purse, ghosts->lines, ghosts_size(ghosts));
    ghosts->lines = NULL;
    ghosts->n_lines = ghosts->hand = 0;
    ghosts->next_tick = 0;
}

void
ghosts_fit(struct ghosts *ghosts, uint64_t n_wanted)
{
    uint64_t wanted = n_wanted > GHOSTS_MIN ? n_wanted : GHOSTS_MIN;
    uint64_t n_lines = (wanted + LINE - 1) / LINE;
    if (n_lines > UINT32_MAX) {
        n_lines = UINT32_MAX;
    }
    if (n_lines <= ghosts->n_lines + ghosts->n_lines / 4 && n_lines >= ghosts->n_lines / 2) {
        return;
    }
    ghosts_done(ghosts);
    ghosts->lines = purse_alloc(ghosts->purse, n_lines * LINE * sizeof(uint16_t));
    if (ghosts->lines != NULL) {
        ghosts->n_lines = (uint32_t)n_lines;
        memset(ghosts->lines, 0, ghosts_size(ghosts));
    }
}

static uint16_t *
line_of(const struct ghosts *ghosts, uint64_t hash)
{
    return ghosts->lines + (((hash >> 32) * ghosts->n_lines) >> 32) * LINE;
}

/* The low half of the hash is not what chose the line. */
static uint16_t
print_of(uint64_t hash)
{
    return (uint16_t)((hash >> 8 & 0xfff) << 4);
}

/* In ticks; no ghost is the oldest of all. */
static uint32_t
age_of(const struct ghosts *ghosts, uint16_t ghost)
{
    uint32_t born = ghost & 15u;
    return born == 0 ? CLOCK : (ghosts->clock + CLOCK - born) % CLOCK;
}

/* The clock would call what is old enough new again. So with every few ghosts one line is looked
 * through for such; it comes round long before. */
static void
forget_old(struct ghosts *ghosts)
{
    ghosts->hand = ghosts->hand + 1 < ghosts->n_lines ? ghosts->hand + 1 : 0;
    uint16_t *line = ghosts->lines + (uint64_t)ghosts->hand * LINE;
    for (uint32_t i = 0; i < LINE; i++) {
        line[i] = age_of(ghosts, line[i]) > TICKS ? 0 : line[i];
    }
}

static void
tick(struct ghosts *ghosts)
{
    ghosts->n_added++;
    if (ghosts->n_added % 16 == 0) {
        forget_old(ghosts);
    }
    if (ghosts->n_added >= ghosts->next_tick) {
        ghosts->next_tick = ghosts->n_added + (uint64_t)ghosts->n_lines * LINE / TICKS;
        ghosts->clock = ghosts->clock == CLOCK ? 1 : (uint16_t)(ghosts->clock + 1);
    }
}

void
ghosts_add(struct ghosts *ghosts, uint64_t hash)
{
    if (ghosts->n_lines == 0) {
        return;
    }
    tick(ghosts);
    uint16_t *line = line_of(ghosts, hash);
    uint32_t at = 0, oldest = 0;
    for (uint32_t i = 0; i < LINE; i++) {
        uint32_t age = age_of(ghosts, line[i]);
        if (age > oldest) {
            oldest = age;
            at = i;
        }
    }
    line[at] = (uint16_t)(print_of(hash) | ghosts->clock);
}

bool
ghosts_take(struct ghosts *ghosts, uint64_t hash)
{
    if (ghosts->n_lines == 0) {
        return false;
    }
    uint16_t *line = line_of(ghosts, hash);
    for (uint32_t i = 0; i < LINE; i++) {
        if ((line[i] & 0xfff0u) == print_of(hash) && age_of(ghosts, line[i]) <= TICKS) {
            line[i] = 0;
            return true;
        }
    }
    return false;
}
