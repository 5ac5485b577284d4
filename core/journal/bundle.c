/* Bundles. */
#include <config.h>

#include "core/journal/bundle.h"

#include <stdlib.h>

#include "core/base/assert.h"

enum { ROOM_FIRST = 16 * 1024, ROOM_KEPT = 256 * 1024 };

struct yk_bundle *
yk_bundle_new(void)
{
    struct yk_bundle *bundle = calloc(1, sizeof(*bundle));
    if (bundle != NULL) {
        bundle->size = YK_BATCH_HEAD_SIZE;
    }
    return bundle;
}

void
yk_bundle_free(struct yk_bundle *bundle)
{
    if (bundle != NULL) {
        free(bundle->bytes);
        free(bundle);
    }
}

void
yk_bundle_reset(struct yk_bundle *bundle)
{
    if (bundle->room > ROOM_KEPT) {
        free(bundle->bytes);
        bundle->bytes = NULL;
        bundle->room = 0;
    }
    bundle->next = NULL;
    bundle->size = YK_BATCH_HEAD_SIZE;
    bundle->n_entries = 0;
    bundle->reserved = 0;
    bundle->syncs = false;
}

bool
yk_bundle_extend(struct yk_bundle *bundle, uint64_t size)
{
    uint64_t needed = bundle->size + size;
    if (needed <= bundle->room) {
        return true;
    }
    uint64_t room = bundle->room == 0 ? ROOM_FIRST : bundle->room;
    while (room < needed) {
        room *= 2;
    }
    if (room > UINT32_MAX) {
        return false;
    }
    uint8_t *bytes = realloc(bundle->bytes, room);
    if (bytes == NULL) {
        return false;
    }
    bundle->bytes = bytes;
    bundle->room = (uint32_t)room;
    return true;
}

void
yk_bundle_add(struct yk_bundle *bundle, const struct yk_entry *entry)
{
    uint64_t size = yk_entry_size_of(entry);
    YK_ASSERT(bundle->size + size <= bundle->room);
    yk_entry_encode(entry, bundle->bytes + bundle->size);
    bundle->size += (uint32_t)size;
    bundle->n_entries++;
}
