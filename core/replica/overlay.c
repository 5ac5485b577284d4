/* A chained hash table; entries are kept for reuse, so that a write costs no allocation in the long
 * run. */
#include <config.h>

#include "core/replica/overlay.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"

enum {
    CHAINS_FIRST = 64,
    OWN_ROOM_FIRST = 64, /* bytes for a key and the room before it */
    OWN_ROOM_KEPT = 1024 /* more than this is not kept for the next use */
};

enum yk_err
yk_overlay_init(struct yk_overlay *overlay)
{
    overlay->n_chains = CHAINS_FIRST;
    overlay->chains = calloc(CHAINS_FIRST, sizeof(struct yk_overlay_entry *));
    return overlay->chains != NULL ? YK_OK : YK_ENOMEM;
}

static void
drop_records(struct yk_overlay_entry *entry)
{
    yk_buffer_unref(entry->newest);
    yk_buffer_unref(entry->committed);
    yk_buffer_unref(entry->applying);
    entry->newest = entry->committed = entry->applying = NULL;
}

static void
free_list(struct yk_overlay_entry *entry)
{
    while (entry != NULL) {
        struct yk_overlay_entry *next = entry->next;
        drop_records(entry);
        free(entry->own);
        free(entry);
        entry = next;
    }
}

void
yk_overlay_done(struct yk_overlay *overlay)
{
    for (uint32_t i = 0; i < overlay->n_chains; i++) {
        free_list(overlay->chains[i]);
    }
    free_list(overlay->free_entries);
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
    while (entry != NULL &&
           (entry->hash != op->hash || !yk_slice_equal(entry->key, op->request.key))) {
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

static struct yk_overlay_entry *
take_entry(struct yk_overlay *overlay)
{
    struct yk_overlay_entry *entry = overlay->free_entries;
    if (entry == NULL) {
        return calloc(1, sizeof(*entry));
    }
    overlay->free_entries = entry->next;
    return entry;
}

static void
give_entry(struct yk_overlay *overlay, struct yk_overlay_entry *entry)
{
    if (entry->own_room > OWN_ROOM_KEPT) {
        free(entry->own);
        entry->own = NULL;
        entry->own_room = 0;
    }
    entry->next = overlay->free_entries;
    overlay->free_entries = entry;
}

/* The key into memory of the entry. */
static bool
copy_key(struct yk_overlay_entry *entry, struct yk_slice key)
{
    size_t size = YK_PIN_ROOM + key.size;
    if (entry->own_room < size) {
        uint32_t room = size < OWN_ROOM_FIRST ? OWN_ROOM_FIRST : (uint32_t)size;
        uint8_t *own = realloc(entry->own, room);
        if (own == NULL) {
            return false;
        }
        entry->own = own;
        entry->own_room = room;
    }
    memcpy(entry->own + YK_PIN_ROOM, key.data, key.size);
    entry->key = yk_slice_of(entry->own + YK_PIN_ROOM, key.size);
    return true;
}

struct yk_overlay_entry *
yk_overlay_pin(struct yk_overlay *overlay, struct yk_op *op)
{
    struct yk_overlay_entry *entry = take_entry(overlay);
    if (entry == NULL) {
        return NULL;
    }
    entry->key = op->request.key;
    if (overlay->owns_keys && !copy_key(entry, op->request.key)) {
        give_entry(overlay, entry);
        return NULL;
    }
    if (overlay->n_entries >= overlay->n_chains) {
        grow(overlay);
    }
    struct yk_overlay_entry **chain = chain_of(overlay, op->hash);
    entry->next = *chain;
    entry->hash = op->hash;
    entry->slot = op->slot;
    entry->holder = op;
    entry->waiters = (struct yk_op_queue){NULL, NULL, 0};
    *chain = entry;
    overlay->n_entries++;
    op->entry = entry;
    return entry;
}

void
yk_overlay_forget(struct yk_overlay *overlay, struct yk_overlay_entry *entry)
{
    YK_ASSERT(entry->waiters.first == NULL);
    struct yk_overlay_entry **at = chain_of(overlay, entry->hash);
    while (*at != entry) {
        at = &(*at)->next;
    }
    *at = entry->next;
    overlay->n_entries--;
    drop_records(entry);
    uint8_t *own = entry->own;
    uint32_t own_room = entry->own_room;
    *entry = (struct yk_overlay_entry){.own = own, .own_room = own_room};
    give_entry(overlay, entry);
}

struct yk_op *
yk_overlay_release(struct yk_overlay *overlay, struct yk_overlay_entry *entry)
{
    entry->holder->entry = NULL;
    struct yk_op *next = yk_op_queue_pop(&entry->waiters);
    if (next != NULL) {
        entry->holder = next;
        entry->key = next->request.key;
        next->entry = entry;
        return next;
    }
    yk_overlay_forget(overlay, entry);
    return NULL;
}
