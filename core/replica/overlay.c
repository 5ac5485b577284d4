/* A chained hash table; entries are kept for reuse, so that a write costs no allocation in the long
 * run. */
#include <config.h>

#include "core/replica/overlay.h"

#include <stdlib.h>

#include "core/base/assert.h"

enum { CHAINS_FIRST = 64 };

enum yk_err
yk_overlay_init(struct yk_overlay *overlay)
{
    *overlay = (struct yk_overlay){.n_chains = CHAINS_FIRST};
    overlay->chains = calloc(CHAINS_FIRST, sizeof(struct yk_overlay_entry *));
    return overlay->chains != NULL ? YK_OK : YK_ENOMEM;
}

void
yk_overlay_done(struct yk_overlay *overlay)
{
    YK_ASSERT(overlay->n_entries == 0);
    while (overlay->free_entries != NULL) {
        struct yk_overlay_entry *entry = overlay->free_entries;
        overlay->free_entries = entry->next;
        free(entry);
    }
    free(overlay->chains);
}

static struct yk_overlay_entry **
chain_of(const struct yk_overlay *overlay, uint64_t hash)
{
    return &overlay->chains[hash & (overlay->n_chains - 1)];
}

struct yk_overlay_entry *
yk_overlay_find(const struct yk_overlay *overlay, const struct yk_op *op)
{
    if (overlay->n_entries == 0) {
        return NULL;
    }
    struct yk_overlay_entry *entry = *chain_of(overlay, op->hash);
    while (entry != NULL && (entry->hash != op->hash ||
                             !yk_slice_equal(entry->holder->request.key, op->request.key))) {
        entry = entry->next;
    }
    return entry;
}

/* Doubles the chains; without memory they just grow longer. */
static void
grow(struct yk_overlay *overlay)
{
    struct yk_overlay old = *overlay;
    struct yk_overlay_entry **chains = calloc(old.n_chains * 2, sizeof(struct yk_overlay_entry *));
    if (chains == NULL) {
        return;
    }
    overlay->chains = chains;
    overlay->n_chains = old.n_chains * 2;
    for (uint32_t i = 0; i < old.n_chains; i++) {
        while (old.chains[i] != NULL) {
            struct yk_overlay_entry *entry = old.chains[i];
            struct yk_overlay_entry **chain = chain_of(overlay, entry->hash);
            old.chains[i] = entry->next;
            entry->next = *chain;
            *chain = entry;
        }
    }
    free(old.chains);
}

struct yk_overlay_entry *
yk_overlay_pin(struct yk_overlay *overlay, struct yk_op *op)
{
    struct yk_overlay_entry *entry = overlay->free_entries;
    if (entry != NULL) {
        overlay->free_entries = entry->next;
    } else {
        entry = malloc(sizeof(*entry));
        if (entry == NULL) {
            return NULL;
        }
    }
    if (overlay->n_entries >= overlay->n_chains) {
        grow(overlay);
    }
    struct yk_overlay_entry **chain = chain_of(overlay, op->hash);
    *entry = (struct yk_overlay_entry){.next = *chain, .hash = op->hash, .holder = op};
    *chain = entry;
    overlay->n_entries++;
    op->entry = entry;
    return entry;
}

struct yk_op *
yk_overlay_release(struct yk_overlay *overlay, struct yk_overlay_entry *entry)
{
    entry->holder->entry = NULL;
    struct yk_op *next = yk_op_queue_pop(&entry->waiters);
    if (next != NULL) {
        entry->holder = next;
        next->entry = entry;
        return next;
    }
    struct yk_overlay_entry **at = chain_of(overlay, entry->hash);
    while (*at != entry) {
        at = &(*at)->next;
    }
    *at = entry->next;
    overlay->n_entries--;
    entry->next = overlay->free_entries;
    overlay->free_entries = entry;
    return NULL;
}
