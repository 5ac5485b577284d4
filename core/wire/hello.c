/* Hello and welcome: their form, and what is agreed by them. */
#include <config.h>

#include "core/wire/hello.h"

#include <stdio.h>

#include "core/base/assert.h"

enum { HELLO_PARAMS = 13, WELCOME_RESULTS = 7 };

bool
yk_id_is_valid(const char *id)
{
    for (uint32_t i = 0; i < YK_ID_SIZE - 1; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_hex = (id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f');
        if (is_dash ? id[i] != '-' : !is_hex) {
            return false;
        }
    }
    return id[YK_ID_SIZE - 1] == '\0';
}

/* Writing */

void
yk_hello_encode(struct yk_pack *pack, const struct yk_hello *hello)
{
    yk_pack_array(pack, 4);
    yk_pack_uint(pack, YK_FRAME_REQUEST);
    yk_pack_uint(pack, hello->msgid);
    yk_pack_text(pack, "hello");
    yk_pack_array(pack, HELLO_PARAMS);
    yk_pack_uint(pack, hello->version_min);
    yk_pack_uint(pack, hello->version_max);
    yk_pack_text(pack, hello->cluster_id);
    yk_pack_text(pack, hello->node_id);
    yk_pack_text(pack, hello->name);
    yk_pack_text(pack, hello->address);
    yk_pack_uint(pack, hello->nonce);
    yk_pack_uint(pack, hello->from);
    yk_pack_uint(pack, hello->to);
    yk_pack_uint(pack, hello->n_workers);
    yk_pack_uint(pack, hello->n_lanes);
    yk_pack_nil(pack);
    yk_pack_text(pack, hello->to_id);
}

void
yk_welcome_encode(struct yk_pack *pack, const struct yk_welcome *welcome)
{
    YK_ASSERT(welcome->n_auth_methods == 0);
    yk_pack_array(pack, 4);
    yk_pack_uint(pack, YK_FRAME_ANSWER);
    yk_pack_uint(pack, welcome->msgid);
    if (welcome->error[0] != '\0') {
        yk_pack_text(pack, welcome->error);
        yk_pack_nil(pack);
        return;
    }
    yk_pack_nil(pack);
    yk_pack_array(pack, WELCOME_RESULTS);
    yk_pack_uint(pack, welcome->version);
    yk_pack_text(pack, welcome->cluster_id);
    yk_pack_text(pack, welcome->node_id);
    yk_pack_uint(pack, welcome->nonce);
    yk_pack_uint(pack, welcome->n_workers);
    yk_pack_uint(pack, welcome->n_lanes);
    yk_pack_array(pack, 0);
}

/* Reading */

/* A text without NUL into `to` of `size` bytes. */
static void
read_text(struct yk_unpack *unpack, char *to, size_t size)
{
    struct yk_slice text = yk_unpack_text(unpack, size - 1);
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL) {
        yk_unpack_fail(unpack, "a NUL in a text");
        return;
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
    if (to[0] != '\0' && !yk_id_is_valid(to)) {
        yk_unpack_fail(unpack, "an id that is none");
    }
}

/* [a-z0-9_-]+; it goes into logs. */
static bool
is_name(const char *name)
{
    return name[0] != '\0' && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

static uint32_t
read_number(struct yk_unpack *unpack, uint32_t max)
{
    return (uint32_t)yk_unpack_uint(unpack, max);
}

/* Enters an array of at least n values; returns how many there are. */
static uint32_t
enter(struct yk_unpack *unpack, uint32_t n)
{
    uint32_t n_there = yk_unpack_array(unpack);
    if (n_there < n) {
        yk_unpack_fail(unpack, "there are too few values");
    }
    return n_there;
}

/* Goes over what a later release has added. */
static void
leave(struct yk_unpack *unpack, uint32_t n_added)
{
    for (uint32_t i = 0; i < n_added && unpack->wrong == NULL; i++) {
        yk_unpack_skip(unpack);
    }
    yk_unpack_leave(unpack);
}

static void
read_caller(struct yk_unpack *unpack, struct yk_hello *hello)
{
    hello->version_min = read_number(unpack, UINT32_MAX);
    hello->version_max = read_number(unpack, UINT32_MAX);
    read_id(unpack, hello->cluster_id);
    read_id(unpack, hello->node_id);
    read_text(unpack, hello->name, sizeof(hello->name));
    read_text(unpack, hello->address, sizeof(hello->address));
    hello->nonce = yk_unpack_uint(unpack, UINT64_MAX);
    hello->from = read_number(unpack, YK_WORKER_CONTROL);
    hello->to = read_number(unpack, YK_WORKER_CONTROL);
    hello->n_workers = read_number(unpack, YK_WORKERS_MAX);
    hello->n_lanes = read_number(unpack, YK_LANES_MAX);
    yk_unpack_skip(unpack);
    read_id(unpack, hello->to_id);
    if (!is_name(hello->name)) {
        yk_unpack_fail(unpack, "a name that is none");
    }
    if (hello->version_min > hello->version_max) {
        yk_unpack_fail(unpack, "the versions are in the wrong order");
    }
    if (hello->from >= YK_WORKERS_MAX && hello->from != YK_WORKER_CONTROL) {
        yk_unpack_fail(unpack, "there is no such worker");
    }
}

enum yk_err
yk_hello_decode(struct yk_slice bytes, struct yk_hello *ret_hello, const char **ret_wrong)
{
    struct yk_unpack unpack;
    struct yk_hello hello = {0};
    yk_unpack_init(&unpack, bytes);
    if (yk_unpack_array(&unpack) != 4 || read_number(&unpack, UINT32_MAX) != YK_FRAME_REQUEST) {
        yk_unpack_fail(&unpack, "not a request");
    }
    hello.msgid = read_number(&unpack, UINT32_MAX);
    if (!yk_slice_equal(yk_unpack_text(&unpack, 255), yk_slice_of_text("hello"))) {
        yk_unpack_fail(&unpack, "another request before hello");
    }
    uint32_t n = enter(&unpack, HELLO_PARAMS);
    read_caller(&unpack, &hello);
    leave(&unpack, n > HELLO_PARAMS ? n - HELLO_PARAMS : 0);
    yk_unpack_leave(&unpack);
    enum yk_err result = yk_unpack_end(&unpack);
    if (result != YK_OK) {
        *ret_wrong = unpack.wrong;
        return result;
    }
    *ret_hello = hello;
    return YK_OK;
}

static void
read_host(struct yk_unpack *unpack, struct yk_welcome *welcome)
{
    uint32_t n = enter(unpack, WELCOME_RESULTS);
    welcome->version = read_number(unpack, UINT32_MAX);
    read_id(unpack, welcome->cluster_id);
    read_id(unpack, welcome->node_id);
    welcome->nonce = yk_unpack_uint(unpack, UINT64_MAX);
    welcome->n_workers = read_number(unpack, YK_WORKERS_MAX);
    welcome->n_lanes = read_number(unpack, YK_LANES_MAX);
    welcome->n_auth_methods = yk_unpack_array(unpack);
    leave(unpack, welcome->n_auth_methods);
    leave(unpack, n > WELCOME_RESULTS ? n - WELCOME_RESULTS : 0);
}

enum yk_err
yk_welcome_decode(struct yk_slice bytes, struct yk_welcome *ret_welcome, const char **ret_wrong)
{
    struct yk_unpack unpack;
    struct yk_welcome welcome = {0};
    yk_unpack_init(&unpack, bytes);
    if (yk_unpack_array(&unpack) != 4 || read_number(&unpack, UINT32_MAX) != YK_FRAME_ANSWER) {
        yk_unpack_fail(&unpack, "not an answer");
    }
    welcome.msgid = read_number(&unpack, UINT32_MAX);
    if (yk_unpack_peek(&unpack) == YK_UNPACK_NIL) {
        yk_unpack_nil(&unpack);
        read_host(&unpack, &welcome);
    } else {
        read_text(&unpack, welcome.error, sizeof(welcome.error));
        yk_unpack_skip(&unpack);
        if (welcome.error[0] == '\0') {
            yk_unpack_fail(&unpack, "an error without words");
        }
    }
    yk_unpack_leave(&unpack);
    enum yk_err result = yk_unpack_end(&unpack);
    if (result != YK_OK) {
        *ret_wrong = unpack.wrong;
        return result;
    }
    *ret_welcome = welcome;
    return YK_OK;
}

/* Agreeing */

/* Of two ids, either of which may be unknown. */
static bool
ids_differ(const char *a, const char *b)
{
    return a[0] != '\0' && b[0] != '\0' && strcmp(a, b) != 0;
}

void
yk_hello_answer(const struct yk_hello *own, const struct yk_hello *hello,
                struct yk_welcome *ret_welcome)
{
    struct yk_welcome *welcome = ret_welcome;
    *welcome = (struct yk_welcome){
        .msgid = hello->msgid,
        .version = own->version_max < hello->version_max ? own->version_max : hello->version_max,
        .nonce = own->nonce,
        .n_workers = own->n_workers,
        .n_lanes = own->n_lanes};
    memcpy(welcome->cluster_id, own->cluster_id, YK_ID_SIZE);
    memcpy(welcome->node_id, own->node_id, YK_ID_SIZE);
    if (welcome->version < own->version_min || welcome->version < hello->version_min) {
        snprintf(welcome->error, YK_ERROR_SIZE,
                 "no version in common: this node speaks %u to %u, the caller %u to %u; run "
                 "releases that are nearer to each other",
                 own->version_min, own->version_max, hello->version_min, hello->version_max);
    } else if (ids_differ(own->cluster_id, hello->cluster_id)) {
        snprintf(welcome->error, YK_ERROR_SIZE,
                 "this node is of cluster %s, and the caller is of cluster %s", own->cluster_id,
                 hello->cluster_id);
    } else if (ids_differ(own->node_id, hello->to_id)) {
        snprintf(welcome->error, YK_ERROR_SIZE, "this is node %s, and node %s is meant",
                 own->node_id, hello->to_id);
    }
}

enum yk_err
yk_welcome_check(const struct yk_hello *own, const struct yk_welcome *welcome, char *error)
{
    if (welcome->error[0] != '\0') {
        snprintf(error, YK_ERROR_SIZE, "refused: %.*s", YK_ERROR_SIZE - 16, welcome->error);
    } else if (welcome->msgid != own->msgid) {
        snprintf(error, YK_ERROR_SIZE, "the answer is of another request");
    } else if (welcome->version < own->version_min || welcome->version > own->version_max) {
        snprintf(error, YK_ERROR_SIZE,
                 "no version in common: it chose %u, this node speaks %u to %u", welcome->version,
                 own->version_min, own->version_max);
    } else if (ids_differ(own->cluster_id, welcome->cluster_id)) {
        snprintf(error, YK_ERROR_SIZE, "it is of cluster %s, and this node is of cluster %s",
                 welcome->cluster_id, own->cluster_id);
    } else if (welcome->node_id[0] == '\0' || ids_differ(own->to_id, welcome->node_id)) {
        snprintf(error, YK_ERROR_SIZE, "it is node %s, and node %s is meant", welcome->node_id,
                 own->to_id);
    } else if (welcome->n_auth_methods > 0) {
        snprintf(error, YK_ERROR_SIZE,
                 "it asks for authentication, which this release does not have");
    } else {
        return YK_OK;
    }
    return YK_EDENIED;
}
