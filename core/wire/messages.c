/* Each message is written and read in one place. Reading believes nothing: counts and sizes are
 * bounded before memory is asked for, and the cursor bounds the rest. */
#include <config.h>

#include "core/wire/messages.h"

#include <stdlib.h>
#include <string.h>

static const char *const methods[YK_N_MESSAGES] = {
#define YK_MESSAGE(name, method) method,
#include "core/wire/messages.def"
#undef YK_MESSAGE
};

enum { METHOD_SIZE_MAX = 32, STATES_MAX = 2 };

/* Parts */

static void
notice_begin(struct yk_pack *pack, enum yk_message message, uint32_t n_params)
{
    yk_pack_array(pack, 3);
    yk_pack_uint(pack, YK_FRAME_NOTICE);
    yk_pack_text(pack, methods[message]);
    yk_pack_array(pack, n_params);
}

/* A text into an array of `room` bytes, with its NUL; no byte of it is NUL. */
static void
read_text(struct yk_unpack *unpack, char *to, size_t room)
{
    struct yk_slice text = yk_unpack_text(unpack, room - 1);
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL) {
        yk_unpack_fail(unpack, "a text has a NUL in it");
        text.size = 0;
    }
    if (text.size > 0) {
        memcpy(to, text.data, text.size);
    }
    to[text.size] = '\0';
}

static void
read_id(struct yk_unpack *unpack, char *to)
{
    read_text(unpack, to, YK_ID_SIZE);
    if (unpack->wrong == NULL && to[0] != '\0' &&
        (strlen(to) != YK_ID_SIZE - 1 || strspn(to, "0123456789abcdef-") != YK_ID_SIZE - 1)) {
        yk_unpack_fail(unpack, "an id is not a UUID");
    }
}

static struct yk_slice
read_bytes_or_nil(struct yk_unpack *unpack)
{
    if (yk_unpack_peek(unpack) == YK_UNPACK_NIL) {
        yk_unpack_nil(unpack);
        return yk_slice_of(NULL, 0);
    }
    return yk_unpack_bytes(unpack, YK_REGISTER_SIZE_MAX);
}

/* Enters an array that must have n values at least. */
static uint32_t
enter(struct yk_unpack *unpack, uint32_t n_min)
{
    uint32_t n = yk_unpack_array(unpack);
    if (n < n_min) {
        yk_unpack_fail(unpack, "a message has fewer values than it must");
    }
    return n;
}

/* Leaves an array of n values of which n_read were read: further ones come from a later release. */
static void
leave(struct yk_unpack *unpack, uint32_t n, uint32_t n_read)
{
    for (; n_read < n && unpack->wrong == NULL; n_read++) {
        yk_unpack_skip(unpack);
    }
    yk_unpack_leave(unpack);
}

/* The end of params, and of the frame. */
static enum yk_err
end(struct yk_unpack *unpack, uint32_t n, uint32_t n_read)
{
    leave(unpack, n, n_read);
    yk_unpack_leave(unpack);
    return yk_unpack_end(unpack);
}

/* Wishes, of n_values each; memory is asked for once each is known to have a byte at least. */
static enum yk_err
read_wishes(struct yk_unpack *unpack, uint32_t n_values, struct yk_ask_wish **ret_wishes,
            uint32_t *ret_n)
{
    uint32_t n = yk_unpack_array(unpack);
    *ret_wishes = NULL;
    *ret_n = 0;
    if (n > YK_SLOTS_MAX) {
        yk_unpack_fail(unpack, "more wishes than there are slots");
    }
    if (unpack->wrong == NULL && n > 0) {
        *ret_wishes = calloc(n, sizeof(**ret_wishes));
        if (*ret_wishes == NULL) {
            return YK_ENOMEM;
        }
        *ret_n = n;
    }
    for (uint32_t i = 0; i < n && unpack->wrong == NULL; i++) {
        struct yk_ask_wish *wish = &(*ret_wishes)[i];
        uint32_t n_there = enter(unpack, n_values);
        wish->slot = (uint32_t)yk_unpack_uint(unpack, YK_SLOTS_MAX - 1);
        wish->kind = (uint32_t)yk_unpack_uint(unpack, UINT8_MAX);
        wish->epoch = (uint32_t)yk_unpack_uint(unpack, YK_EPOCH_MAX);
        if (n_values > 3) {
            wish->node = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
            wish->incarnation = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
        }
        leave(unpack, n_there, n_values);
    }
    yk_unpack_leave(unpack);
    return YK_OK;
}

static void
write_wishes(struct yk_pack *pack, const struct yk_ask_wish *wishes, uint32_t n, uint32_t n_values)
{
    yk_pack_array(pack, n);
    for (uint32_t i = 0; i < n; i++) {
        yk_pack_array(pack, n_values);
        yk_pack_uint(pack, wishes[i].slot);
        yk_pack_uint(pack, wishes[i].kind);
        yk_pack_uint(pack, wishes[i].epoch);
        if (n_values > 3) {
            yk_pack_uint(pack, wishes[i].node);
            yk_pack_uint(pack, wishes[i].incarnation);
        }
    }
}

/* Heads */

enum yk_message
yk_message_head(struct yk_unpack *unpack, struct yk_slice frame, enum yk_frame_kind *ret_kind,
                uint32_t *ret_msgid)
{
    yk_unpack_init(unpack, frame);
    uint32_t n = yk_unpack_array(unpack);
    uint64_t kind = yk_unpack_uint(unpack, YK_FRAME_NOTICE);
    bool is_request = kind == YK_FRAME_REQUEST && n == 4;
    *ret_msgid = is_request ? (uint32_t)yk_unpack_uint(unpack, UINT32_MAX) : 0;
    *ret_kind = (enum yk_frame_kind)kind;
    if (unpack->wrong != NULL || (!is_request && (kind != YK_FRAME_NOTICE || n != 3))) {
        return YK_N_MESSAGES;
    }
    struct yk_slice method = yk_unpack_text(unpack, METHOD_SIZE_MAX);
    uint32_t message = 0;
    while (message < YK_N_MESSAGES && (method.size != strlen(methods[message]) ||
                                       memcmp(method.data, methods[message], method.size) != 0)) {
        message++;
    }
    return (enum yk_message)message;
}

/* ask */

static void
write_start(struct yk_pack *pack, const struct yk_ask_start *start)
{
    yk_pack_array(pack, 7);
    yk_pack_text(pack, start->name);
    yk_pack_text(pack, start->address);
    yk_pack_text(pack, start->zone);
    yk_pack_uint(pack, start->weight);
    yk_pack_uint(pack, start->n_workers);
    yk_pack_uint(pack, start->replaces);
    yk_pack_array(pack, start->n_lanes);
    for (uint32_t i = 0; i < start->n_lanes; i++) {
        yk_pack_uint(pack, start->incarnations[i]);
    }
}

void
yk_ask_encode(struct yk_pack *pack, const struct yk_ask *ask)
{
    notice_begin(pack, YK_MESSAGE_ASK, 8);
    yk_pack_uint(pack, ask->question);
    yk_pack_text(pack, ask->name);
    yk_pack_uint(pack, ask->revision);
    yk_pack_bool(pack, ask->is_fresh);
    yk_pack_text(pack, ask->node_id);
    yk_pack_uint(pack, ask->nonce);
    if (ask->has_start) {
        write_start(pack, &ask->start);
    } else {
        yk_pack_nil(pack);
    }
    write_wishes(pack, ask->wishes, ask->n_wishes, 5);
}

static void
read_start(struct yk_unpack *unpack, struct yk_ask_start *start)
{
    uint32_t n = enter(unpack, 7);
    read_text(unpack, start->name, sizeof(start->name));
    read_text(unpack, start->address, sizeof(start->address));
    read_text(unpack, start->zone, sizeof(start->zone));
    start->weight = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    start->n_workers = (uint32_t)yk_unpack_uint(unpack, YK_WORKERS_MAX);
    start->replaces = yk_unpack_uint(unpack, UINT64_MAX);
    start->n_lanes = yk_unpack_array(unpack);
    if (start->n_lanes > YK_LANES_MAX) {
        yk_unpack_fail(unpack, "more lanes than a node may have");
        start->n_lanes = 0;
    }
    for (uint32_t i = 0; i < start->n_lanes; i++) {
        start->incarnations[i] = (uint32_t)yk_unpack_uint(unpack, UINT32_MAX);
    }
    yk_unpack_leave(unpack);
    leave(unpack, n, 7);
}

enum yk_err
yk_ask_decode(struct yk_unpack *unpack, struct yk_ask *ret_ask)
{
    *ret_ask = (struct yk_ask){.question = 0};
    uint32_t n = enter(unpack, 8);
    ret_ask->question = yk_unpack_uint(unpack, UINT64_MAX);
    read_text(unpack, ret_ask->name, sizeof(ret_ask->name));
    ret_ask->revision = yk_unpack_uint(unpack, UINT64_MAX);
    ret_ask->is_fresh = yk_unpack_bool(unpack);
    read_id(unpack, ret_ask->node_id);
    ret_ask->nonce = yk_unpack_uint(unpack, UINT64_MAX);
    ret_ask->has_start = yk_unpack_peek(unpack) == YK_UNPACK_ARRAY;
    if (ret_ask->has_start) {
        read_start(unpack, &ret_ask->start);
    } else {
        yk_unpack_nil(unpack);
    }
    enum yk_err result = read_wishes(unpack, 5, &ret_ask->wishes, &ret_ask->n_wishes);
    if (ret_ask->node_id[0] == '\0' || ret_ask->nonce == 0) {
        yk_unpack_fail(unpack, "nobody asks");
    }
    if (result == YK_OK) {
        result = end(unpack, n, 8);
    }
    if (result != YK_OK) {
        free(ret_ask->wishes);
        ret_ask->wishes = NULL;
    }
    return result;
}

/* answer */

void
yk_answer_encode(struct yk_pack *pack, const struct yk_answer *answer)
{
    notice_begin(pack, YK_MESSAGE_ANSWER, 7);
    yk_pack_uint(pack, answer->question);
    yk_pack_text(pack, answer->name);
    yk_pack_uint(pack, answer->result);
    yk_pack_uint(pack, answer->revision);
    if (answer->bytes.data != NULL) {
        yk_pack_bytes(pack, answer->bytes);
    } else {
        yk_pack_nil(pack);
    }
    write_wishes(pack, answer->refused, answer->n_refused, 3);
    yk_pack_text(pack, answer->text);
}

enum yk_err
yk_answer_decode(struct yk_unpack *unpack, struct yk_answer *ret_answer)
{
    *ret_answer = (struct yk_answer){.question = 0};
    uint32_t n = enter(unpack, 7);
    ret_answer->question = yk_unpack_uint(unpack, UINT64_MAX);
    read_text(unpack, ret_answer->name, sizeof(ret_answer->name));
    ret_answer->result = (enum yk_answer_result)yk_unpack_uint(unpack, YK_ANSWER_REFUSED);
    ret_answer->revision = yk_unpack_uint(unpack, UINT64_MAX);
    ret_answer->bytes = read_bytes_or_nil(unpack);
    enum yk_err result = read_wishes(unpack, 3, &ret_answer->refused, &ret_answer->n_refused);
    read_text(unpack, ret_answer->text, sizeof(ret_answer->text));
    if (result == YK_OK) {
        result = end(unpack, n, 7);
    }
    if (result != YK_OK) {
        free(ret_answer->refused);
        ret_answer->refused = NULL;
    }
    return result;
}

/* changed, coordinator, here */

void
yk_changed_encode(struct yk_pack *pack, const struct yk_changed *changed)
{
    notice_begin(pack, YK_MESSAGE_CHANGED, 3);
    yk_pack_text(pack, changed->name);
    yk_pack_uint(pack, changed->revision);
    yk_pack_bytes(pack, changed->bytes);
}

enum yk_err
yk_changed_decode(struct yk_unpack *unpack, struct yk_changed *ret_changed)
{
    *ret_changed = (struct yk_changed){.revision = 0};
    uint32_t n = enter(unpack, 3);
    read_text(unpack, ret_changed->name, sizeof(ret_changed->name));
    ret_changed->revision = yk_unpack_uint(unpack, UINT64_MAX);
    ret_changed->bytes = yk_unpack_bytes(unpack, YK_REGISTER_SIZE_MAX);
    return end(unpack, n, 3);
}

void
yk_coordinator_encode(struct yk_pack *pack, struct yk_slice bytes)
{
    notice_begin(pack, YK_MESSAGE_COORDINATOR, 1);
    yk_pack_bytes(pack, bytes);
}

enum yk_err
yk_coordinator_decode(struct yk_unpack *unpack, struct yk_slice *ret_bytes)
{
    uint32_t n = enter(unpack, 1);
    *ret_bytes = yk_unpack_bytes(unpack, YK_COORDINATOR_SIZE_MAX);
    return end(unpack, n, 1);
}

void
yk_here_encode(struct yk_pack *pack)
{
    notice_begin(pack, YK_MESSAGE_HERE, 0);
}

/* Tools */

void
yk_request_encode(struct yk_pack *pack, uint32_t msgid, enum yk_message message, bool is_now)
{
    yk_pack_array(pack, 4);
    yk_pack_uint(pack, YK_FRAME_REQUEST);
    yk_pack_uint(pack, msgid);
    yk_pack_text(pack, methods[message]);
    yk_pack_array(pack, message == YK_MESSAGE_CREATE ? 1 : 0);
    if (message == YK_MESSAGE_CREATE) {
        yk_pack_bool(pack, is_now);
    }
}

enum yk_err
yk_request_decode(struct yk_unpack *unpack, bool *ret_is_now)
{
    uint32_t n = yk_unpack_array(unpack);
    bool has_flag = n > 0 && yk_unpack_peek(unpack) == YK_UNPACK_BOOL;
    *ret_is_now = has_flag && yk_unpack_bool(unpack);
    return end(unpack, n, has_flag ? 1 : 0);
}

static void
answer_begin(struct yk_pack *pack, uint32_t msgid)
{
    yk_pack_array(pack, 4);
    yk_pack_uint(pack, YK_FRAME_ANSWER);
    yk_pack_uint(pack, msgid);
    yk_pack_nil(pack);
}

/* Enters the result of an answer; false: it is none, or an error. */
static bool
result_enter(struct yk_unpack *unpack, struct yk_slice frame)
{
    yk_unpack_init(unpack, frame);
    uint32_t n = yk_unpack_array(unpack);
    uint64_t kind = yk_unpack_uint(unpack, UINT8_MAX);
    (void)yk_unpack_uint(unpack, UINT32_MAX);
    yk_unpack_nil(unpack);
    if (kind != YK_FRAME_ANSWER || n != 4) {
        yk_unpack_fail(unpack, "it is no answer");
    }
    return unpack->wrong == NULL;
}

void
yk_created_encode(struct yk_pack *pack, uint32_t msgid, uint32_t state, const char *text)
{
    answer_begin(pack, msgid);
    yk_pack_array(pack, 2);
    yk_pack_uint(pack, state);
    yk_pack_text(pack, text);
}

enum yk_err
yk_created_decode(struct yk_slice frame, uint32_t *ret_state, char *ret_text)
{
    struct yk_unpack unpack;
    if (!result_enter(&unpack, frame)) {
        return YK_ECORRUPT;
    }
    uint32_t n = enter(&unpack, 2);
    *ret_state = (uint32_t)yk_unpack_uint(&unpack, STATES_MAX);
    read_text(&unpack, ret_text, YK_ERROR_SIZE);
    return end(&unpack, n, 2);
}

void
yk_status_encode(struct yk_pack *pack, uint32_t msgid, const struct yk_status *status)
{
    answer_begin(pack, msgid);
    yk_pack_array(pack, 7);
    yk_pack_text(pack, status->cluster_id);
    yk_pack_text(pack, status->cluster_name);
    yk_pack_text(pack, status->node);
    yk_pack_uint(pack, status->revision);
    yk_pack_bool(pack, status->is_ready);
    yk_pack_array(pack, status->n_nodes);
    for (uint32_t i = 0; i < status->n_nodes; i++) {
        const struct yk_status_node *node = &status->nodes[i];
        yk_pack_array(pack, 7);
        yk_pack_text(pack, node->name);
        yk_pack_text(pack, node->id);
        yk_pack_text(pack, node->address);
        yk_pack_uint(pack, node->roles);
        yk_pack_bool(pack, node->is_up);
        yk_pack_bool(pack, node->is_attached);
        yk_pack_bool(pack, node->is_detaching);
    }
    yk_pack_array(pack, status->n_buckets);
    for (uint32_t i = 0; i < status->n_buckets; i++) {
        const struct yk_status_bucket *bucket = &status->buckets[i];
        const uint32_t numbers[] = {bucket->slots,      bucket->copies,  bucket->min_copies,
                                    bucket->n_full,     bucket->n_below, bucket->n_below_min,
                                    bucket->n_headless, bucket->n_lossy};
        yk_pack_array(pack, 11);
        yk_pack_text(pack, bucket->name);
        yk_pack_uint(pack, bucket->revision);
        yk_pack_bool(pack, bucket->is_fresh);
        for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
            yk_pack_uint(pack, numbers[k]);
        }
    }
}

static void
read_status_node(struct yk_unpack *unpack, struct yk_status_node *node)
{
    uint32_t n = enter(unpack, 7);
    read_text(unpack, node->name, sizeof(node->name));
    read_id(unpack, node->id);
    read_text(unpack, node->address, sizeof(node->address));
    node->roles = (uint32_t)yk_unpack_uint(unpack, UINT8_MAX);
    node->is_up = yk_unpack_bool(unpack);
    node->is_attached = yk_unpack_bool(unpack);
    node->is_detaching = yk_unpack_bool(unpack);
    leave(unpack, n, 7);
}

static void
read_status_bucket(struct yk_unpack *unpack, struct yk_status_bucket *bucket)
{
    uint32_t *const numbers[] = {&bucket->slots,      &bucket->copies,  &bucket->min_copies,
                                 &bucket->n_full,     &bucket->n_below, &bucket->n_below_min,
                                 &bucket->n_headless, &bucket->n_lossy};
    uint32_t n = enter(unpack, 11);
    read_text(unpack, bucket->name, sizeof(bucket->name));
    bucket->revision = yk_unpack_uint(unpack, UINT64_MAX);
    bucket->is_fresh = yk_unpack_bool(unpack);
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
        *numbers[k] = (uint32_t)yk_unpack_uint(unpack, YK_SLOTS_MAX);
    }
    leave(unpack, n, 11);
}

enum yk_err
yk_status_decode(struct yk_slice frame, struct yk_status *ret_status)
{
    struct yk_unpack unpack;
    memset(ret_status, 0, sizeof(*ret_status));
    if (!result_enter(&unpack, frame)) {
        return YK_ECORRUPT;
    }
    uint32_t n = enter(&unpack, 7);
    read_id(&unpack, ret_status->cluster_id);
    read_text(&unpack, ret_status->cluster_name, sizeof(ret_status->cluster_name));
    read_text(&unpack, ret_status->node, sizeof(ret_status->node));
    ret_status->revision = yk_unpack_uint(&unpack, UINT64_MAX);
    ret_status->is_ready = yk_unpack_bool(&unpack);
    uint32_t n_nodes = yk_unpack_array(&unpack);
    if (n_nodes > YK_NODES_MAX) {
        yk_unpack_fail(&unpack, "more nodes than a cluster has");
    }
    for (uint32_t i = 0; i < n_nodes && unpack.wrong == NULL; i++) {
        read_status_node(&unpack, &ret_status->nodes[ret_status->n_nodes++]);
    }
    yk_unpack_leave(&unpack);
    uint32_t n_buckets = yk_unpack_array(&unpack);
    if (n_buckets > YK_BUCKETS_MAX) {
        yk_unpack_fail(&unpack, "more buckets than a node has");
    }
    for (uint32_t i = 0; i < n_buckets && unpack.wrong == NULL; i++) {
        read_status_bucket(&unpack, &ret_status->buckets[ret_status->n_buckets++]);
    }
    yk_unpack_leave(&unpack);
    return end(&unpack, n, 7);
}
