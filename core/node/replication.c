/* Writing and reading the frames of replicas. */
#include <config.h>

#include "core/node/replication.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/base/buffer.h"
#include "core/wire/unpack.h"

enum { FRAME_SOFT_MAX = 4 * 1024 * 1024, HEAD_MAX = 256, ENTRY_FIELDS = 5 };

static const char method[] = "replicate";
static const char copy_method[] = "copy";

/* Of one thread of another node and one bucket. */
struct yk_outgoing {
    uint32_t peer, worker, bucket;
    uint32_t n_appends, n_acks;
    bool is_copies;               /* they stand in appends */
    struct yk_pack appends, acks; /* the items, without the heads of their arrays */
};

/* Gathering */

static struct yk_outgoing *
outgoing_to(struct yk_talk *talk, uint32_t peer, uint32_t worker, uint32_t bucket, bool is_copies)
{
    for (uint32_t i = 0; i < talk->n_outgoing; i++) {
        struct yk_outgoing *out = &talk->outgoing[i];
        if (out->peer == peer && out->worker == worker && out->bucket == bucket &&
            out->is_copies == is_copies) {
            return out;
        }
    }
    if (talk->n_outgoing == talk->room) {
        uint32_t room = talk->room == 0 ? 8 : talk->room * 2;
        struct yk_outgoing *outgoing = calloc(room, sizeof(*outgoing));
        if (outgoing == NULL) {
            return NULL;
        }
        for (uint32_t i = 0; i < talk->n_outgoing; i++) {
            outgoing[i] = talk->outgoing[i];
            outgoing[i].appends.packer.data = &outgoing[i].appends;
            outgoing[i].acks.packer.data = &outgoing[i].acks;
        }
        free(talk->outgoing);
        talk->outgoing = outgoing;
        talk->room = room;
    }
    struct yk_outgoing *out = &talk->outgoing[talk->n_outgoing++];
    *out = (struct yk_outgoing){
        .peer = peer, .worker = worker, .bucket = bucket, .is_copies = is_copies};
    yk_pack_init(&out->appends, YK_FRAME_SIZE_MAX - HEAD_MAX);
    yk_pack_init(&out->acks, YK_FRAME_SIZE_MAX - HEAD_MAX);
    return out;
}

static void
write_members(struct yk_pack *pack, const struct yk_member *members, uint32_t n)
{
    yk_pack_array(pack, 2 * n);
    for (uint32_t i = 0; i < n; i++) {
        yk_pack_uint(pack, members[i].node);
        yk_pack_uint(pack, members[i].incarnation);
    }
}

static void
write_record(struct yk_pack *pack, const struct yk_slot_record *record)
{
    if (record == NULL) {
        yk_pack_nil(pack);
        return;
    }
    yk_pack_array(pack, 8);
    yk_pack_uint(pack, record->epoch);
    yk_pack_uint(pack, record->primary);
    yk_pack_uint(pack, record->nonce);
    yk_pack_uint(pack, record->begins);
    yk_pack_bool(pack, record->is_lossy);
    write_members(pack, record->members, record->n_members);
    write_members(pack, record->eligible, record->n_eligible);
    yk_pack_array(pack, record->n_targets);
    for (uint32_t i = 0; i < record->n_targets; i++) {
        yk_pack_uint(pack, record->targets[i]);
    }
}

static struct yk_slice
slice_of(const struct yk_buffer *buffer)
{
    return buffer != NULL ? yk_slice_of(buffer->data, buffer->size) : yk_slice_of(NULL, 0);
}

bool
yk_talk_append(struct yk_talk *talk, uint32_t peer, uint32_t worker, uint32_t bucket,
               const struct yk_append *append, const struct yk_tail *tail)
{
    struct yk_outgoing *out = outgoing_to(talk, peer, worker, bucket, false);
    if (out == NULL || out->appends.size > YK_FRAME_SIZE_MAX / 4) {
        return false;
    }
    struct yk_pack *pack = &out->appends;
    yk_pack_array(pack, append->record != NULL ? 13 : 11);
    yk_pack_uint(pack, append->slot);
    yk_pack_uint(pack, append->epoch);
    yk_pack_uint(pack, append->incarnation);
    yk_pack_uint(pack, append->prev);
    yk_pack_uint(pack, append->commit);
    yk_pack_uint(pack, append->floor);
    yk_pack_uint(pack, append->copy);
    yk_pack_uint(pack, append->slot_time_ms);
    yk_pack_uint(pack, (uint64_t)append->sent_us);
    write_record(pack, append->record);
    if (append->record != NULL) {
        yk_pack_uint(pack, append->reign);
        yk_pack_uint(pack, append->reign_epoch);
    }
    yk_pack_array(pack, ENTRY_FIELDS * append->n_entries);
    for (uint32_t i = 0; i < append->n_entries; i++) {
        const struct yk_tail_entry *entry = yk_tail_at(tail, append->first + i);
        yk_pack_uint(pack, entry->kind);
        yk_pack_uint(pack, entry->version);
        yk_pack_uint(pack, entry->token);
        yk_pack_bytes(pack, slice_of(entry->key));
        yk_pack_bytes(pack, slice_of(entry->value));
    }
    out->n_appends++;
    return true;
}

bool
yk_talk_ack(struct yk_talk *talk, uint32_t peer, uint32_t worker, uint32_t bucket,
            const struct yk_ack *ack)
{
    struct yk_outgoing *out = outgoing_to(talk, peer, worker, bucket, false);
    if (out == NULL) {
        return false;
    }
    struct yk_pack *pack = &out->acks;
    yk_pack_array(pack, 8);
    yk_pack_uint(pack, ack->slot);
    yk_pack_uint(pack, ack->kind);
    yk_pack_uint(pack, ack->epoch);
    yk_pack_uint(pack, ack->incarnation);
    yk_pack_uint(pack, ack->version);
    yk_pack_uint(pack, ack->copy);
    yk_pack_uint(pack, (uint64_t)ack->sent_us);
    write_record(pack, ack->record);
    out->n_acks++;
    return true;
}

bool
yk_talk_copy(struct yk_talk *talk, uint32_t peer, uint32_t worker, uint32_t bucket,
             const struct yk_copy *copy)
{
    struct yk_outgoing *out = outgoing_to(talk, peer, worker, bucket, true);
    if (out == NULL || out->appends.size > YK_FRAME_SIZE_MAX / 4) {
        return false;
    }
    struct yk_pack *pack = &out->appends;
    yk_pack_array(pack, 10);
    yk_pack_uint(pack, copy->slot);
    yk_pack_uint(pack, copy->kind);
    yk_pack_bool(pack, copy->is_answer);
    yk_pack_uint(pack, copy->epoch);
    yk_pack_uint(pack, copy->incarnation);
    yk_pack_uint(pack, copy->copy);
    yk_pack_uint(pack, copy->start);
    yk_pack_uint(pack, copy->flush_version);
    yk_pack_uint(pack, copy->number);
    yk_pack_array(pack, 2 * copy->n_entries);
    for (uint32_t i = 0; i < copy->n_entries; i++) {
        yk_pack_bytes(pack, copy->entries[i].key);
        yk_pack_bytes(pack, copy->entries[i].value);
    }
    out->n_appends++;
    return true;
}

/* Frames */

static struct yk_buffer *
frame_of(const struct yk_outgoing *out, const char *name)
{
    struct yk_pack head;
    struct yk_pack middle;
    struct yk_buffer *buffer = NULL;
    yk_pack_init(&head, HEAD_MAX);
    yk_pack_init(&middle, HEAD_MAX);
    yk_pack_array(&head, 3);
    yk_pack_uint(&head, 2);
    yk_pack_text(&head, out->is_copies ? copy_method : method);
    yk_pack_array(&head, out->is_copies ? 2 : 3);
    yk_pack_text(&head, name);
    yk_pack_array(&head, out->n_appends);
    if (!out->is_copies) {
        yk_pack_array(&middle, out->n_acks);
    }
    bool is_whole = head.result == YK_OK && middle.result == YK_OK &&
                    out->appends.result == YK_OK && out->acks.result == YK_OK;
    if (is_whole) {
        buffer = yk_buffer_new(head.size + out->appends.size + middle.size + out->acks.size);
    }
    if (buffer != NULL) {
        const struct yk_pack *parts[] = {&head, &out->appends, &middle, &out->acks};
        uint8_t *to = buffer->data;
        for (uint32_t i = 0; i < 4; i++) {
            if (parts[i]->size > 0) {
                memcpy(to, parts[i]->data, parts[i]->size);
                to += parts[i]->size;
            }
        }
    }
    yk_pack_done(&head);
    yk_pack_done(&middle);
    return buffer;
}

struct yk_buffer *
yk_talk_take(struct yk_talk *talk, const char *const *names, uint32_t *ret_peer,
             uint32_t *ret_worker)
{
    while (talk->n_outgoing > 0) {
        struct yk_outgoing *out = &talk->outgoing[--talk->n_outgoing];
        struct yk_buffer *frame = frame_of(out, names[out->bucket]);
        *ret_peer = out->peer;
        *ret_worker = out->worker;
        yk_pack_done(&out->appends);
        yk_pack_done(&out->acks);
        if (frame != NULL) {
            return frame;
        }
    }
    return NULL;
}

void
yk_talk_done(struct yk_talk *talk)
{
    while (talk->n_outgoing > 0) {
        talk->n_outgoing--;
        yk_pack_done(&talk->outgoing[talk->n_outgoing].appends);
        yk_pack_done(&talk->outgoing[talk->n_outgoing].acks);
    }
    free(talk->outgoing);
}

/* Reading */

static uint32_t
read_members(struct yk_unpack *unpack, struct yk_member *members)
{
    uint32_t n = yk_unpack_array(unpack);
    if (n % 2 != 0 || n / 2 > YK_MEMBERS_MAX) {
        yk_unpack_fail(unpack, "a list of members that cannot be");
        return 0;
    }
    for (uint32_t i = 0; i < n / 2; i++) {
        members[i].node = (uint32_t)yk_unpack_uint(unpack, YK_NODES_MAX - 1);
        members[i].incarnation = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    }
    yk_unpack_leave(unpack);
    return n / 2;
}

/* False: there is none. */
static bool
read_record(struct yk_unpack *unpack, struct yk_slot_record *record)
{
    if (yk_unpack_peek(unpack) == YK_UNPACK_NIL) {
        yk_unpack_nil(unpack);
        return false;
    }
    *record = (struct yk_slot_record){0};
    (void)yk_unpack_array(unpack);
    record->epoch = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
    record->primary = (uint32_t)yk_unpack_uint(unpack, YK_NODES_MAX - 1);
    record->nonce = yk_unpack_uint(unpack, UINT64_MAX);
    record->begins = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
    record->is_lossy = yk_unpack_bool(unpack);
    record->n_members = read_members(unpack, record->members);
    record->n_eligible = read_members(unpack, record->eligible);
    record->n_targets = yk_unpack_array(unpack);
    if (record->n_targets > YK_MEMBERS_MAX || record->n_members == 0) {
        yk_unpack_fail(unpack, "a record that cannot be");
        return false;
    }
    for (uint32_t i = 0; i < record->n_targets; i++) {
        record->targets[i] = (uint8_t)yk_unpack_uint(unpack, YK_NODES_MAX - 1);
    }
    yk_unpack_leave(unpack);
    yk_unpack_leave(unpack);
    return unpack->wrong == NULL;
}

static void
read_entries(struct yk_unpack *unpack, struct yk_append *append, struct yk_entry *entries)
{
    uint32_t n = yk_unpack_array(unpack);
    uint64_t last = append->prev;
    if (n % ENTRY_FIELDS != 0 || n / ENTRY_FIELDS > YK_APPEND_ENTRIES_MAX) {
        yk_unpack_fail(unpack, "too many entries");
        return;
    }
    for (uint32_t i = 0; i < n / ENTRY_FIELDS; i++) {
        struct yk_entry *entry = &entries[i];
        uint64_t kind = yk_unpack_uint(unpack, YK_ENTRY_FLUSH);
        *entry = (struct yk_entry){.kind = (enum yk_entry_kind)kind, .slot = append->slot};
        entry->version = yk_unpack_uint(unpack, UINT64_MAX);
        entry->token = yk_unpack_uint(unpack, UINT64_MAX);
        entry->key = yk_unpack_bytes(unpack, YK_KEY_SIZE_MAX);
        entry->value = yk_unpack_bytes(unpack, YK_VALUE_SIZE_MAX + YK_RECORD_OVERHEAD_MAX);
        bool has_key = kind == YK_ENTRY_PUT || kind == YK_ENTRY_DELETE;
        if (kind == 0 || entry->version <= last || has_key != (entry->key.size > 0) ||
            (kind == YK_ENTRY_PUT) != (entry->value.size > 0)) {
            yk_unpack_fail(unpack, "an entry that cannot be");
            return;
        }
        last = entry->version;
    }
    yk_unpack_leave(unpack);
    append->n_entries = n / ENTRY_FIELDS;
    append->entries = entries;
}

static void
read_append(struct yk_unpack *unpack, uint32_t bucket, const struct yk_listener_fns *fns)
{
    struct yk_append append = {0};
    struct yk_slot_record record;
    struct yk_entry entries[YK_APPEND_ENTRIES_MAX];
    (void)yk_unpack_array(unpack);
    append.slot = (uint16_t)yk_unpack_uint(unpack, YK_SLOTS_MAX - 1);
    append.epoch = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
    append.incarnation = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    append.prev = yk_unpack_uint(unpack, UINT64_MAX);
    append.commit = yk_unpack_uint(unpack, UINT64_MAX);
    append.floor = yk_unpack_uint(unpack, UINT64_MAX);
    append.copy = yk_unpack_uint(unpack, UINT64_MAX);
    append.slot_time_ms = yk_unpack_uint(unpack, INT64_MAX);
    append.sent_us = (int64_t)yk_unpack_uint(unpack, INT64_MAX);
    append.record = read_record(unpack, &record) ? &record : NULL;
    if (append.record != NULL) {
        append.reign = yk_unpack_uint(unpack, UINT64_MAX);
        append.reign_epoch = (uint32_t)yk_unpack_uint(unpack, append.epoch);
    }
    read_entries(unpack, &append, entries);
    yk_unpack_leave(unpack);
    if (unpack->wrong == NULL) {
        fns->append(fns->arg, bucket, &append);
    }
}

static void
read_ack(struct yk_unpack *unpack, uint32_t bucket, const struct yk_listener_fns *fns)
{
    struct yk_ack ack = {0};
    struct yk_slot_record record;
    (void)yk_unpack_array(unpack);
    ack.slot = (uint16_t)yk_unpack_uint(unpack, YK_SLOTS_MAX - 1);
    ack.kind = (enum yk_ack_kind)yk_unpack_uint(unpack, YK_ACK_OTHER);
    ack.epoch = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
    ack.incarnation = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    ack.version = yk_unpack_uint(unpack, UINT64_MAX);
    ack.copy = yk_unpack_uint(unpack, UINT64_MAX);
    ack.sent_us = (int64_t)yk_unpack_uint(unpack, INT64_MAX);
    ack.record = read_record(unpack, &record) ? &record : NULL;
    yk_unpack_leave(unpack);
    if (ack.kind == YK_ACK_AHEAD && ack.record == NULL) {
        yk_unpack_fail(unpack, "a record is missing");
    }
    if (unpack->wrong == NULL) {
        fns->ack(fns->arg, bucket, &ack);
    }
}

void
yk_talk_hear(struct yk_unpack *unpack, const struct yk_listener_fns *fns)
{
    if (yk_unpack_array(unpack) < 3) {
        return;
    }
    uint32_t bucket = fns->bucket(fns->arg, yk_unpack_text(unpack, YK_NAME_SIZE_MAX));
    if (bucket == UINT32_MAX) {
        return;
    }
    uint32_t n_appends = yk_unpack_array(unpack);
    for (uint32_t i = 0; i < n_appends && unpack->wrong == NULL; i++) {
        read_append(unpack, bucket, fns);
    }
    yk_unpack_leave(unpack);
    uint32_t n_acks = yk_unpack_array(unpack);
    for (uint32_t i = 0; i < n_acks && unpack->wrong == NULL; i++) {
        read_ack(unpack, bucket, fns);
    }
}

static void
read_copy(struct yk_unpack *unpack, uint32_t bucket, const struct yk_listener_fns *fns)
{
    struct yk_copy copy = {0};
    struct yk_entry entries[YK_COPY_RECORDS_MAX];
    (void)yk_unpack_array(unpack);
    copy.slot = (uint16_t)yk_unpack_uint(unpack, YK_SLOTS_MAX - 1);
    copy.kind = (enum yk_copy_kind)yk_unpack_uint(unpack, YK_COPY_END);
    copy.is_answer = yk_unpack_bool(unpack);
    copy.epoch = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
    copy.incarnation = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    copy.copy = yk_unpack_uint(unpack, UINT64_MAX);
    copy.start = yk_unpack_uint(unpack, UINT64_MAX);
    copy.flush_version = yk_unpack_uint(unpack, UINT64_MAX);
    copy.number = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    uint32_t n = yk_unpack_array(unpack);
    if (n % 2 != 0 || n / 2 > YK_COPY_RECORDS_MAX || copy.kind == 0 || copy.copy == 0) {
        yk_unpack_fail(unpack, "a copy that cannot be");
        return;
    }
    for (uint32_t i = 0; i < n / 2; i++) {
        entries[i] = (struct yk_entry){.kind = YK_ENTRY_PUT, .slot = copy.slot};
        entries[i].key = yk_unpack_bytes(unpack, YK_KEY_SIZE_MAX);
        entries[i].value = yk_unpack_bytes(unpack, YK_VALUE_SIZE_MAX + YK_RECORD_OVERHEAD_MAX);
        if (entries[i].key.size == 0 || entries[i].value.size == 0) {
            yk_unpack_fail(unpack, "an empty record");
        }
    }
    yk_unpack_leave(unpack);
    yk_unpack_leave(unpack);
    copy.n_entries = n / 2;
    copy.entries = entries;
    if (unpack->wrong == NULL) {
        fns->copy(fns->arg, bucket, &copy);
    }
}

void
yk_talk_hear_copies(struct yk_unpack *unpack, const struct yk_listener_fns *fns)
{
    if (yk_unpack_array(unpack) < 2) {
        return;
    }
    uint32_t bucket = fns->bucket(fns->arg, yk_unpack_text(unpack, YK_NAME_SIZE_MAX));
    if (bucket == UINT32_MAX) {
        return;
    }
    uint32_t n = yk_unpack_array(unpack);
    for (uint32_t i = 0; i < n && unpack->wrong == NULL; i++) {
        read_copy(unpack, bucket, fns);
    }
}
