/* Bodies and answers as JSON. */
#include "plugins/coordinators/etcd/message.h"

#include <stdio.h>
#include <stdlib.h>

#include <glib.h>
#include <jansson.h>

/* Bodies */

static char *
base64(const char *head, struct yk_slice tail)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)head, (guint)strlen(head));
    if (tail.size > 0) {
        g_byte_array_append(bytes, tail.data, (guint)tail.size);
    }
    return g_base64_encode(bytes->data, bytes->len);
}

static char *
base64_key(const char *prefix, const char *name)
{
    return base64(prefix, yk_slice_of(name, strlen(name)));
}

/* Takes over the value. */
static char *
body_of(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    return text;
}

char *
etcd_range_body(const char *prefix, const char *name)
{
    g_autofree char *key = base64_key(prefix, name);
    return body_of(json_pack("{s:s}", "key", key));
}

char *
etcd_put_body(const char *prefix, const char *name, struct yk_slice value, uint64_t if_revision)
{
    g_autofree char *key = base64_key(prefix, name);
    g_autofree char *bytes = base64("", value);
    g_autofree char *revision = g_strdup_printf("%" G_GUINT64_FORMAT, if_revision);
    return body_of(json_pack("{s:[{s:s,s:s,s:s,s:s}],s:[{s:{s:s,s:s}}],s:[{s:{s:s}}]}", "compare",
                             "key", key, "target", "MOD", "result", "EQUAL", "mod_revision",
                             revision, "success", "request_put", "key", key, "value", bytes,
                             "failure", "request_range", "key", key));
}

/* The least text that is greater than all that begin with prefix. */
static char *
range_end(const char *prefix)
{
    size_t size = strlen(prefix);
    while (size > 0 && (unsigned char)prefix[size - 1] == 0xff) {
        size--;
    }
    g_autofree char *end = g_strndup(prefix, size);
    if (size == 0) {
        return g_base64_encode((const guchar *)"", 1); /* all keys */
    }
    end[size - 1] = (char)((unsigned char)end[size - 1] + 1);
    return g_base64_encode((const guchar *)end, size);
}

char *
etcd_watch_body(const char *prefix)
{
    g_autofree char *key = base64_key(prefix, "");
    g_autofree char *end = range_end(prefix);
    return body_of(json_pack("{s:{s:s,s:s}}", "create_request", "key", key, "range_end", end));
}

char *
etcd_login_body(const char *user, const char *password)
{
    return body_of(json_pack("{s:s,s:s}", "name", user, "password", password));
}

char *
etcd_compact_body(uint64_t revision)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, revision);
    return body_of(json_pack("{s:s}", "revision", text));
}

/* Answers */

/* A 64-bit number, which the gateway writes as a text; false: there is none. */
static bool
read_number(const json_t *object, const char *key, uint64_t *ret_number)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, ret_number, NULL);
}

/* The bytes of a base64 text; NULL: it is none. Empty where there is no such member, which is how
 * the gateway writes an empty one. */
static uint8_t *
read_bytes(const json_t *object, const char *key, size_t *ret_size)
{
    const char *text = json_string_value(json_object_get(object, key));
    size_t length = text != NULL ? strlen(text) : 0;
    size_t size = 0;
    if (length == 0) {
        *ret_size = 0;
        return g_malloc0(1);
    }
    if (length % 4 != 0) {
        return NULL;
    }
    uint8_t *bytes = g_base64_decode(text, &size);
    /* It leaves out what it does not know, which is seen by the size. */
    size_t padding = text[length - 1] != '=' ? 0 : text[length - 2] != '=' ? 1 : 2;
    if (size != length / 4 * 3 - padding) {
        g_free(bytes);
        return NULL;
    }
    *ret_size = size;
    return bytes;
}

static void
fail(struct etcd_answer *answer, enum etcd_outcome outcome, const char *reason)
{
    answer->outcome = outcome;
    g_autofree char *valid =
        g_utf8_make_valid(*reason != '\0' ? reason : "it does not say why", -1);
    g_strdelimit(valid, "\r\n\t", ' ');
    size_t size = strlen(valid);
    if (size >= sizeof(answer->reason)) {
        size = (size_t)(g_utf8_find_prev_char(valid, valid + sizeof(answer->reason)) - valid);
    }
    memcpy(answer->reason, valid, size);
    answer->reason[size] = '\0';
}

/* Codes of gRPC, as the gateway passes them on. */
enum {
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAUTHENTICATED = 16,
};

static enum etcd_outcome
outcome_of(json_int_t code, const char *reason)
{
    switch (code) {
    case GRPC_UNAUTHENTICATED:
        return ETCD_LOGIN;
    case GRPC_INVALID_ARGUMENT:
        /* Who has been given no token, or one from before users were changed. */
        return strstr(reason, "user name is empty") != NULL || strstr(reason, "auth store") != NULL
                   ? ETCD_LOGIN
                   : ETCD_REFUSED;
    case GRPC_NOT_FOUND:
    case GRPC_ALREADY_EXISTS:
    case GRPC_PERMISSION_DENIED:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNIMPLEMENTED:
        return ETCD_REFUSED;
    default:
        return ETCD_UNCLEAR;
    }
}

static void
read_error(const json_t *root, long http_status, struct etcd_answer *answer)
{
    const char *reason = json_string_value(json_object_get(root, "message"));
    const json_t *code = json_object_get(root, "code");
    if (reason == NULL) {
        reason = json_string_value(json_object_get(root, "error"));
    }
    if (reason != NULL && json_is_integer(code)) {
        fail(answer, outcome_of(json_integer_value(code), reason), reason);
        return;
    }
    char text[64];
    snprintf(text, sizeof(text), "HTTP status %ld, and no word why", http_status);
    fail(answer, http_status == 404 ? ETCD_NOT_ETCD : ETCD_UNCLEAR, text);
}

/* What is no JSON: of something else than etcd, or a refusal by its server before the gateway. */
static void
read_foreign(const char *text, size_t size, long http_status, struct etcd_answer *answer)
{
    g_autofree char *start = g_strndup(text, MIN(size, ETCD_REASON_SIZE / 4));
    g_autofree char *reason =
        g_strdup_printf("HTTP status %ld, \"%s\"%s", http_status, g_strstrip(start),
                        http_status == 404 ? ": it is no etcd, or one before "
                                             "3.4, or its gateway is off"
                                           : "");
    fail(answer, http_status >= 400 && http_status < 500 ? ETCD_NOT_ETCD : ETCD_UNCLEAR, reason);
}

/* The key and value of a range; no key: revision 0. */
static bool
read_range(const json_t *range, struct etcd_answer *answer)
{
    const json_t *kv = json_array_get(json_object_get(range, "kvs"), 0);
    if (kv == NULL) {
        return true;
    }
    answer->bytes = read_bytes(kv, "value", &answer->size);
    return answer->bytes != NULL && answer->size <= ETCD_VALUE_SIZE_MAX &&
           read_number(kv, "mod_revision", &answer->revision) && answer->revision > 0;
}

/* Anything but an error; false: it does not make sense. */
static bool
read_result(const json_t *root, struct etcd_answer *answer)
{
    if (!read_number(json_object_get(root, "header"), "revision", &answer->store_revision)) {
        return false;
    }
    answer->token = g_strdup(json_string_value(json_object_get(root, "token")));
    const json_t *responses = json_object_get(root, "responses");
    if (responses == NULL) {
        return read_range(root, answer);
    }
    if (json_is_true(json_object_get(root, "succeeded"))) {
        answer->is_written = true;
        answer->revision = answer->store_revision;
        return true;
    }
    const json_t *range = json_object_get(json_array_get(responses, 0), "response_range");
    return range != NULL && read_range(range, answer);
}

void
etcd_answer_read(const char *text, size_t size, long http_status, struct etcd_answer *ret_answer)
{
    *ret_answer = (struct etcd_answer){.outcome = ETCD_DONE};
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        read_foreign(text, size, http_status, ret_answer);
    } else if (http_status != 200) {
        read_error(root, http_status, ret_answer);
    } else if (!read_result(root, ret_answer)) {
        fail(ret_answer, ETCD_UNCLEAR, "what it answers makes no sense");
    }
    json_decref(root);
}

void
etcd_answer_done(struct etcd_answer *answer)
{
    g_free(answer->bytes);
    g_free(answer->token);
    *answer = (struct etcd_answer){.bytes = NULL};
}

/* Watches */

static bool
is_name(const uint8_t *bytes, size_t size)
{
    return size > 0 && size <= ETCD_NAME_SIZE_MAX && memchr(bytes, '\0', size) == NULL;
}

static void
read_event(const json_t *event, const char *prefix, void (*changed)(void *arg, const char *name),
           void *arg)
{
    size_t size, prefix_size = strlen(prefix);
    g_autofree uint8_t *key = read_bytes(json_object_get(event, "kv"), "key", &size);
    if (key == NULL || size < prefix_size || memcmp(key, prefix, prefix_size) != 0 ||
        !is_name(key + prefix_size, size - prefix_size)) {
        return;
    }
    g_autofree char *name = g_strndup((const char *)key + prefix_size, size - prefix_size);
    changed(arg, name);
}

bool
etcd_watch_read(const char *text, size_t size, const char *prefix,
                void (*changed)(void *arg, const char *name), void *arg, char *reason)
{
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *result = json_object_get(root, "result");
    bool is_open = json_is_object(result) && !json_is_true(json_object_get(result, "canceled"));
    if (is_open) {
        size_t i;
        const json_t *event;
        json_array_foreach(json_object_get(result, "events"), i, event)
        {
            read_event(event, prefix, changed, arg);
        }
    } else {
        const json_t *error = json_object_get(root, "error");
        const char *why = json_string_value(json_object_get(result, "cancel_reason"));
        why = why != NULL ? why : json_string_value(json_object_get(error, "message"));
        why = why != NULL ? why : json_string_value(json_object_get(root, "message"));
        snprintf(reason, ETCD_REASON_SIZE, "%s",
                 why != NULL && *why != '\0' ? why : "it makes no sense");
    }
    json_decref(root);
    return is_open;
}
