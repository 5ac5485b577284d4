/* What has to be right in the end: answers, copies, and what these hold. */
#include <config.h>

#include "tests/sim/cluster_inside.h"

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/replica/machine.h"

/* In the end every slot has all its copies again. */
static void
tell_slot(uint32_t index)
{
    const struct yk_slot_record *slot = &sim.bucket.slots[index];
    g_autoptr(GString) text = g_string_new(NULL);
    for (uint32_t i = 0; i < slot->n_members; i++) {
        g_string_append_printf(text, " member %u (%u)", slot->members[i].node,
                               slot->members[i].incarnation);
    }
    for (uint32_t i = 0; i < slot->n_eligible; i++) {
        g_string_append_printf(text, " eligible %u (%u)", slot->eligible[i].node,
                               slot->eligible[i].incarnation);
    }
    for (uint32_t i = 0; i < slot->n_targets; i++) {
        g_string_append_printf(text, " target %u", slot->targets[i]);
    }
    sim_trace("slot %u epoch %u primary %u:%s", index, slot->epoch, slot->primary, text->str);
}

static void
check_members(void)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        tell_slot(i);
        if (sim.bucket.slots[i].n_members != 3) {
            sim_fail("slot %u has %u members in the end", i, sim.bucket.slots[i].n_members);
        }
    }
}

/* What a member shows of a key. */
struct sight {
    const struct node *node;
    struct yk_lane *lane;
    uint32_t slot;
    uint64_t hash;
    uint64_t version; /* 0: nothing */
    bool is_ending;   /* it may be there or not */
    uint64_t digest;  /* of the value and what belongs to it */
};

static void
see(void *arg, uint32_t index, enum yk_err result, struct yk_slice value)
{
    struct sight *sight = arg;
    struct yk_record record;
    (void)index;
    if (result != YK_OK ||
        yk_record_decode(value, sight->lane->with_checksum, sight->hash, &record) != YK_OK) {
        if (result != YK_ENOTFOUND) {
            sim_fail("node %u cannot read what it has", (uint32_t)(sight->node - sim.nodes));
        }
        return;
    }
    int64_t near_ms = (int64_t)world_now_ms((void *)sight->node) + 1000 * EXPIRY_SLACK_S;
    sight->is_ending = record.expiry_ms != 0 && record.expiry_ms <= near_ms;
    if (record.version > lane_slot(sight->lane, sight->slot)->flush_version) {
        sight->version = record.version;
        sight->digest = yk_hash(value);
    }
}

static struct sight
look(struct node *node, uint32_t slot, const char *key)
{
    uint8_t bytes[64] = {(uint8_t)(slot >> 8), (uint8_t)slot, 0, 0};
    struct sight sight = {.node = node,
                          .lane = yk_node_lane(node->node, 0, slot % LANES),
                          .slot = slot,
                          .hash = yk_hash(yk_slice_of_text(key))};
    struct yk_stack *stack = yk_lane_stack(sight.lane);
    size_t prefix = (yk_stack_info(stack)->caps & YK_BACKEND_SEGMENTS) != 0 ? 0 : 4;
    memcpy(bytes + prefix, key, strlen(key));
    const struct yk_key of_engine = {.data = bytes,
                                     .size = (uint32_t)(prefix + strlen(key)),
                                     .slot = (uint16_t)slot,
                                     .hash = sight.hash};
    struct yk_call call = {.struct_size = sizeof(call)};
    if (yk_stack_get(stack, &of_engine, 1, see, &sight, &call) != YK_OK) {
        sim_fail("node %u cannot read", (uint32_t)(node - sim.nodes));
    }
    return sight;
}

/* For the trace of a run that went wrong. */
static void
tell_replica(const struct node *node, uint32_t slot)
{
    const struct yk_lane *lane = yk_node_lane(node->node, 0, slot % LANES);
    const struct yk_replica *replica =
        &lane->replicas[yk_ring_slot_index(&lane->config.ring, slot)];
    sim_trace("node %u slot %u: role %d epoch %u log %llx to %llx journaled %llx commit %llx "
              "verified %llx flushed below %llx slot time %llu",
              (uint32_t)(node - sim.nodes), slot, replica->role, replica->record.epoch,
              (unsigned long long)replica->tail.base,
              (unsigned long long)yk_tail_last(&replica->tail),
              (unsigned long long)replica->journaled, (unsigned long long)replica->commit,
              (unsigned long long)replica->verified,
              (unsigned long long)lane_slot(lane, slot)->flush_version,
              (unsigned long long)replica->slot_time_ms);
    for (uint32_t i = 0; replica->role == YK_REPLICA_PRIMARY && i < replica->n_followers; i++) {
        const struct yk_follower *follower = &replica->followers[i];
        sim_trace("    follower %u stage %d matched %llx sent %llx copy %llx", follower->node,
                  follower->stage, (unsigned long long)follower->matched,
                  (unsigned long long)follower->sent, (unsigned long long)follower->copy);
    }
}

static struct node *
member_of(const struct yk_slot_record *slot, uint32_t index)
{
    char name[YK_UUID_SIZE];
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        judge_name_of(i, name);
        if (yk_bucket_register_find(&sim.bucket, name) == slot->members[index].node) {
            return &sim.nodes[i];
        }
    }
    return NULL;
}

static const struct yk_replica *
replica_at(const struct node *node, uint32_t slot)
{
    const struct yk_lane *lane = yk_node_lane(node->node, 0, slot % LANES);
    return &lane->replicas[yk_ring_slot_index(&lane->config.ring, slot)];
}

/* All members of a slot have all of its log, and all of that is committed. */
static void
check_logs(void)
{
    for (uint32_t i = 0; i < SLOTS && sim.result->failure[0] == '\0'; i++) {
        const struct yk_slot_record *slot = &sim.bucket.slots[i];
        uint64_t last = yk_tail_last(&replica_at(member_of(slot, 0), i)->tail);
        for (uint32_t k = 0; k < slot->n_members; k++) {
            const struct yk_replica *replica = replica_at(member_of(slot, k), i);
            if (replica->commit != last || yk_tail_last(&replica->tail) != last) {
                tell_replica(member_of(slot, 0), i);
                tell_replica(member_of(slot, k), i);
                sim_fail("slot %u stands still at node %u", i,
                         (uint32_t)(member_of(slot, k) - sim.nodes));
            }
        }
    }
}

/* All members of a slot hold the same. */
static void
check_digests(void)
{
    for (uint32_t key = 0; key < KEYS && sim.result->failure[0] == '\0'; key++) {
        char name[16];
        snprintf(name, sizeof(name), "key-%u", key % 10);
        uint32_t index = sim.slots[key];
        const struct yk_slot_record *slot = &sim.bucket.slots[index];
        struct sight first = look(member_of(slot, 0), index, name);
        for (uint32_t i = 1; i < slot->n_members; i++) {
            struct sight other = look(member_of(slot, i), index, name);
            if ((first.version != other.version || first.digest != other.digest) &&
                !first.is_ending && !other.is_ending) {
                tell_replica(first.node, index);
                tell_replica(other.node, index);
                sim_fail("%s of slot %u has version %llx at node %u, %llx at node %u", name, index,
                         (unsigned long long)first.version, (uint32_t)(first.node - sim.nodes),
                         (unsigned long long)other.version, (uint32_t)(other.node - sim.nodes));
            }
        }
    }
}

/* Of keys that everybody was allowed to forget nothing can be said. */
static void
leave_out_lost(void)
{
    GPtrArray *operations = sim.history->operations;
    for (guint i = operations->len; sim.lost != 0 && i-- > 0;) {
        const struct operation *operation = operations->pdata[i];
        if (operation->kind != HISTORY_FLUSH && (sim.lost >> sim.slots[operation->key] & 1) != 0) {
            g_ptr_array_remove_index(operations, i);
        }
    }
}

static gint
by_start(gconstpointer a, gconstpointer b)
{
    const struct operation *one = *(const struct operation *const *)a;
    const struct operation *other = *(const struct operation *const *)b;
    return one->invoked_us < other->invoked_us ? -1 : one->invoked_us > other->invoked_us;
}

void
check_run(void)
{
    g_autoptr(GString) why = g_string_new(NULL);
    if (sim.result->failure[0] != '\0') {
        return;
    }
    if (sim.swarm.coordinator != COORDINATOR_NONE) {
        control_settle_register();
    }
    if (sim.result->failure[0] != '\0') {
        return;
    }
    check_members();
    if (!sim.swarm.is_plain && sim.result->failure[0] == '\0') {
        check_logs();
        check_digests();
    }
    leave_out_lost();
    g_ptr_array_sort(sim.history->operations, by_start); /* some were put to the very beginning */
    enum history_verdict verdict = history_check(sim.history, why);
    sim.result->is_undecided = verdict == HISTORY_UNDECIDED;
    if (verdict == HISTORY_WRONG) {
        sim_fail("%s", why->str);
    }
}
