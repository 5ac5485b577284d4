/* The form of a bucket's register. */
#include <config.h>

#include "core/ring/register_form.h"

#include <stdio.h>

#include <glib.h>

static const char kind[] = "bucket";

/* Making */

uint64_t
yk_bucket_register_size_max(const struct yk_bucket_description *description)
{
    /* Texts and numbers of the description, and one node with an incarnation for each lane. */
    enum { HEAD_MAX = 4096, SLOT_MAX = 12, BEGINS_MAX = 5 };
    /* A slot: its array, epoch (5), primary, nonce, is lossy, three heads; and twice its copies. */
    uint64_t slot_max = SLOT_MAX + 2 * description->copies;
    if (description->copies > 1 && description->durability == YK_DURABILITY_MEMORY) {
        slot_max += BEGINS_MAX;
    }
    return HEAD_MAX + description->slots * slot_max;
}

enum yk_err
yk_bucket_register_init(struct yk_bucket_register *bucket,
                        const struct yk_bucket_description *description, char *error)
{
    uint64_t size = yk_bucket_register_size_max(description);
    if (size > YK_REGISTER_SIZE_MAX) {
        snprintf(error, YK_ERROR_SIZE,
                 "slots = %u with copies = %u make a register of up to %llu bytes, and it may have "
                 "%llu; take fewer slots",
                 description->slots, description->copies, (unsigned long long)size,
                 YK_REGISTER_SIZE_MAX);
        return YK_ETOOLARGE;
    }
    struct yk_register_node *nodes = g_try_new0(struct yk_register_node, YK_NODES_MAX);
    struct yk_slot_record *slots = g_try_new0(struct yk_slot_record, description->slots);
    if (nodes == NULL || slots == NULL) {
        snprintf(error, YK_ERROR_SIZE, "out of memory");
        g_free(nodes);
        g_free(slots);
        return YK_ENOMEM;
    }
    *bucket =
        (struct yk_bucket_register){.description = *description, .nodes = nodes, .slots = slots};
    return YK_OK;
}

void
yk_bucket_register_done(struct yk_bucket_register *bucket)
{
    g_free(bucket->nodes);
    g_free(bucket->slots);
    *bucket = (struct yk_bucket_register){.n_nodes = 0};
}

uint32_t
yk_bucket_register_find(const struct yk_bucket_register *bucket, const char *node_id)
{
    uint32_t index = 0;
    while (index < bucket->n_nodes && strcmp(bucket->nodes[index].id, node_id) != 0) {
        index++;
    }
    return index;
}

/* Writing */

static void
write_description(const struct yk_bucket_description *description, struct yk_pack *pack)
{
    yk_pack_array(pack, 10);
    yk_pack_uint(pack, description->copies);
    yk_pack_uint(pack, description->min_copies);
    yk_pack_uint(pack, description->durability);
    yk_pack_uint(pack, description->reads);
    yk_pack_text(pack, description->engine);
    yk_pack_array(pack, description->n_filters);
    for (uint32_t i = 0; i < description->n_filters; i++) {
        yk_pack_text(pack, description->filters[i]);
    }
    yk_pack_uint(pack, description->memory_max);
    yk_pack_uint(pack, description->evict);
    yk_pack_uint(pack, description->key_size_max);
    yk_pack_uint(pack, description->value_size_max);
}

static void
write_members(const struct yk_bucket_register *bucket, uint32_t slot,
              const struct yk_member *members, uint32_t n, struct yk_pack *pack)
{
    yk_pack_array(pack, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct yk_register_node *node = &bucket->nodes[members[i].node];
        if (members[i].incarnation == yk_register_incarnation(node, slot)) {
            yk_pack_uint(pack, members[i].node);
        } else {
            yk_pack_array(pack, 2);
            yk_pack_uint(pack, members[i].node);
            yk_pack_uint(pack, members[i].incarnation);
        }
    }
}

static void
write_slot(const struct yk_bucket_register *bucket, uint32_t index, struct yk_pack *pack)
{
    const struct yk_slot_record *slot = &bucket->slots[index];
    if (slot->epoch == 0) {
        yk_pack_nil(pack);
        return;
    }
    yk_pack_array(pack, slot->begins != 0 ? 8 : 7);
    yk_pack_uint(pack, slot->epoch);
    yk_pack_uint(pack, slot->primary);
    if (slot->nonce == bucket->nodes[slot->primary].nonce) {
        yk_pack_nil(pack);
    } else {
        yk_pack_uint(pack, slot->nonce);
    }
    write_members(bucket, index, slot->members, slot->n_members, pack);
    write_members(bucket, index, slot->eligible, slot->n_eligible, pack);
    yk_pack_array(pack, slot->n_targets);
    for (uint32_t i = 0; i < slot->n_targets; i++) {
        yk_pack_uint(pack, slot->targets[i]);
    }
    yk_pack_bool(pack, slot->is_lossy);
    if (slot->begins != 0) {
        yk_pack_uint(pack, slot->begins);
    }
}

enum yk_err
yk_bucket_register_encode(const struct yk_bucket_register *bucket, struct yk_pack *pack,
                          char *error)
{
    yk_pack_array(pack, 5);
    yk_pack_text(pack, kind);
    yk_pack_uint(pack, YK_REGISTER_FORMAT);
    write_description(&bucket->description, pack);
    yk_pack_array(pack, bucket->n_nodes);
    for (uint32_t i = 0; i < bucket->n_nodes; i++) {
        const struct yk_register_node *node = &bucket->nodes[i];
        yk_pack_array(pack, node->n_workers != 0 ? 4 : 3);
        yk_pack_text(pack, node->id);
        yk_pack_uint(pack, node->nonce);
        yk_pack_array(pack, node->n_lanes);
        for (uint32_t lane = 0; lane < node->n_lanes; lane++) {
            yk_pack_uint(pack, node->incarnations[lane]);
        }
        if (node->n_workers != 0) {
            yk_pack_uint(pack, node->n_workers);
        }
    }
    yk_pack_array(pack, bucket->description.slots);
    for (uint32_t i = 0; i < bucket->description.slots; i++) {
        write_slot(bucket, i, pack);
    }
    return yk_register_written(pack, kind, error);
}

/* Reading */

static void
read_description(struct yk_unpack *unpack, struct yk_bucket_description *description)
{
    (void)yk_unpack_array(unpack);
    description->copies = (uint32_t)yk_unpack_uint(unpack, YK_COPIES_MAX);
    description->min_copies = (uint32_t)yk_unpack_uint(unpack, description->copies);
    description->durability = (enum yk_durability)yk_unpack_uint(unpack, YK_DURABILITY_DISK);
    description->reads = (enum yk_reads)yk_unpack_uint(unpack, YK_READS_ANY);
    yk_register_name(unpack, description->engine);
    description->n_filters = yk_register_count(unpack, YK_FILTERS_MAX);
    for (uint32_t i = 0; i < description->n_filters; i++) {
        yk_register_name(unpack, description->filters[i]);
    }
    yk_unpack_leave(unpack);
    description->memory_max = yk_unpack_uint(unpack, UINT64_MAX);
    description->evict = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    description->key_size_max = (uint32_t)yk_unpack_uint(unpack, YK_KEY_SIZE_MAX);
    description->value_size_max = yk_unpack_uint(unpack, YK_VALUE_SIZE_MAX);
    yk_unpack_leave(unpack);
    if (description->min_copies == 0) {
        yk_unpack_fail(unpack, "a bucket without copies");
    }
}

static void
read_node(struct yk_unpack *unpack, struct yk_bucket_register *bucket, uint32_t index)
{
    struct yk_register_node *node = &bucket->nodes[index];
    uint32_t n = yk_unpack_array(unpack);
    yk_register_uuid(unpack, node->id);
    node->nonce = yk_unpack_uint(unpack, UINT64_MAX);
    node->n_lanes = yk_register_count(unpack, YK_LANES_MAX);
    for (uint32_t i = 0; i < node->n_lanes; i++) {
        node->incarnations[i] = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    }
    yk_unpack_leave(unpack);
    node->n_workers = n > 3 ? (uint32_t)yk_unpack_uint(unpack, YK_WORKERS_MAX) : 0;
    yk_unpack_leave(unpack);
    if (node->nonce == 0 || node->n_lanes == 0) {
        yk_unpack_fail(unpack, "a node without nonce or lanes");
    } else if (yk_bucket_register_find(bucket, node->id) < index) {
        yk_unpack_fail(unpack, "a node stands there twice");
    }
}

static bool
has_node(const struct yk_member *members, uint32_t n, uint32_t node)
{
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].node == node) {
            return true;
        }
    }
    return false;
}

static uint32_t
read_index(struct yk_unpack *unpack, const struct yk_bucket_register *bucket)
{
    uint32_t index = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    if (index >= bucket->n_nodes) {
        yk_unpack_fail(unpack, "a slot names a node that is not there");
        return 0;
    }
    return index;
}

static uint32_t
read_members(struct yk_unpack *unpack, const struct yk_bucket_register *bucket, uint32_t slot,
             struct yk_member *members)
{
    uint32_t n = yk_register_count(unpack, YK_MEMBERS_MAX);
    for (uint32_t i = 0; i < n && unpack->wrong == NULL; i++) {
        bool is_pair = yk_unpack_peek(unpack) == YK_UNPACK_ARRAY;
        if (is_pair) {
            (void)yk_unpack_array(unpack);
        }
        uint32_t node = read_index(unpack, bucket);
        members[i] = (struct yk_member){node, 0};
        if (is_pair) {
            members[i].incarnation = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
            yk_unpack_leave(unpack);
        } else if (unpack->wrong == NULL) {
            members[i].incarnation = yk_register_incarnation(&bucket->nodes[node], slot);
        }
        if (has_node(members, i, node)) {
            yk_unpack_fail(unpack, "a member stands there twice");
        }
    }
    yk_unpack_leave(unpack);
    return n;
}

static void
read_slot(struct yk_unpack *unpack, struct yk_bucket_register *bucket, uint32_t index)
{
    struct yk_slot_record *slot = &bucket->slots[index];
    if (yk_unpack_peek(unpack) == YK_UNPACK_NIL) {
        yk_unpack_nil(unpack);
        return;
    }
    uint32_t n = yk_unpack_array(unpack);
    slot->epoch = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
    slot->primary = read_index(unpack, bucket);
    if (yk_unpack_peek(unpack) == YK_UNPACK_NIL) {
        yk_unpack_nil(unpack);
        slot->nonce = bucket->nodes[slot->primary].nonce;
    } else {
        slot->nonce = yk_unpack_uint(unpack, UINT64_MAX);
    }
    slot->n_members = read_members(unpack, bucket, index, slot->members);
    slot->n_eligible = read_members(unpack, bucket, index, slot->eligible);
    slot->n_targets = yk_register_count(unpack, YK_MEMBERS_MAX);
    for (uint32_t i = 0; i < slot->n_targets; i++) {
        slot->targets[i] = (uint8_t)read_index(unpack, bucket);
    }
    yk_unpack_leave(unpack);
    slot->is_lossy = yk_unpack_bool(unpack);
    slot->begins = n > 7 ? (uint32_t)yk_unpack_uint(unpack, slot->epoch) : 0;
    yk_unpack_leave(unpack);
    if (slot->epoch == 0 || !has_node(slot->members, slot->n_members, slot->primary)) {
        yk_unpack_fail(unpack, "a slot without epoch, or whose primary is no member");
    }
}

/* Nodes and slots. Memory is asked for only once the slots have been counted, each of them at least
 * a byte of what is left. */
static enum yk_err
read_contents(struct yk_unpack *unpack, struct yk_bucket_register *bucket, char *error)
{
    struct yk_bucket_description description = {.slots = 1};
    read_description(unpack, &description);
    struct yk_unpack ahead = *unpack;
    yk_unpack_skip(&ahead);
    description.slots = yk_register_count(&ahead, YK_SLOTS_MAX);
    if (ahead.wrong != NULL || (description.slots & (description.slots - 1)) != 0 ||
        description.slots == 0) {
        yk_unpack_fail(unpack, ahead.wrong != NULL ? ahead.wrong : "slots are no power of two");
        return YK_OK;
    }
    enum yk_err result = yk_bucket_register_init(bucket, &description, error);
    if (result != YK_OK) {
        return result;
    }
    uint32_t n_nodes = yk_register_count(unpack, YK_NODES_MAX);
    for (uint32_t i = 0; i < n_nodes && unpack->wrong == NULL; i++) {
        read_node(unpack, bucket, i);
        bucket->n_nodes++;
    }
    yk_unpack_leave(unpack);
    (void)yk_unpack_array(unpack);
    for (uint32_t i = 0; i < description.slots && unpack->wrong == NULL; i++) {
        read_slot(unpack, bucket, i);
    }
    yk_unpack_leave(unpack);
    return YK_OK;
}

enum yk_err
yk_bucket_register_decode(struct yk_slice bytes, struct yk_bucket_register *ret, char *error)
{
    struct yk_bucket_register bucket = {.n_nodes = 0};
    struct yk_unpack unpack;
    bool is_newer;
    enum yk_err result = YK_OK;
    yk_unpack_init(&unpack, bytes);
    if (yk_register_head(&unpack, kind, &is_newer)) {
        result = read_contents(&unpack, &bucket, error);
    }
    if (result == YK_OK) {
        result = yk_register_end(&unpack, kind, is_newer, error);
    }
    if (result != YK_OK) {
        yk_bucket_register_done(&bucket);
        return result;
    }
    *ret = bucket;
    return YK_OK;
}
