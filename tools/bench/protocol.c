/* Requests and answers of memcached's text protocol and meta commands (protocol.txt of memcached)
 * and of RESP2 (Redis, Valkey), and sets through etcd's JSON gateway (its api_grpc_gateway). */
#include <config.h>

#include "tools/bench/protocol.h"

#include <inttypes.h>
#include <stdio.h>

#include <glib.h>

/* Requests */

static void
put(struct bench_exchange *exchange, const char *bytes, size_t size)
{
    memcpy(exchange->out + exchange->out_size, bytes, size);
    exchange->out_size += size;
}

#define PUT(exchange, text) put(exchange, text, sizeof(text) - 1)

static void
put_number(struct bench_exchange *exchange, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put(exchange, digits + at, sizeof(digits) - at);
}

static size_t
base64_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

static void
put_base64(struct bench_exchange *exchange, const char *bytes, size_t size)
{
    gint state = 0;
    gint save = 0;
    char *to = exchange->out + exchange->out_size;
    size_t n = g_base64_encode_step((const guchar *)bytes, size, FALSE, to, &state, &save);
    exchange->out_size += n + g_base64_encode_close(FALSE, to + n, &state, &save);
}

/* RESP says a size before each word, so the key is written behind room for it. */
static struct bench_ask *
put_key(struct bench_exchange *exchange, uint64_t key)
{
    struct bench_ask *ask = &exchange->asks[exchange->n_asks++];
    char text[BENCH_KEY_SIZE_MAX];
    uint32_t size;
    if (exchange->protocol == BENCH_RESP) {
        size = bench_items_key(exchange->items, key, text);
        PUT(exchange, "$");
        put_number(exchange, size);
        PUT(exchange, "\r\n");
        ask->at = (uint32_t)exchange->out_size;
        put(exchange, text, size);
        PUT(exchange, "\r\n");
    } else {
        ask->at = (uint32_t)exchange->out_size;
        size = bench_items_key(exchange->items, key, exchange->out + exchange->out_size);
        exchange->out_size += size;
    }
    ask->key = key;
    ask->key_size = (uint8_t)size;
    ask->is_last = true;
    return ask;
}

void
bench_exchange_clear(struct bench_exchange *exchange)
{
    exchange->out_size = 0;
    exchange->n_asks = 0;
    exchange->at = 0;
    exchange->n_missed = 0;
}

static void
put_etcd_set(struct bench_exchange *exchange, uint64_t key)
{
    char text[BENCH_KEY_SIZE_MAX];
    uint32_t key_size = bench_items_key(exchange->items, key, text);
    uint32_t size = bench_items_value_size(exchange->items, key);
    PUT(exchange, "POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: ");
    put_number(exchange,
               sizeof("{'key':'','value':''}") - 1 + base64_size(key_size) + base64_size(size));
    PUT(exchange, "\r\n\r\n{\"key\":\"");
    put_base64(exchange, text, key_size);
    PUT(exchange, "\",\"value\":\"");
    put_base64(exchange, bench_items_value(exchange->items, key), size);
    PUT(exchange, "\"}");
    exchange->asks[exchange->n_asks++] =
        (struct bench_ask){.key = key, .is_set = true, .is_last = true};
}

void
bench_exchange_set(struct bench_exchange *exchange, uint64_t key)
{
    uint32_t size = bench_items_value_size(exchange->items, key);
    switch (exchange->protocol) {
    case BENCH_TEXT:
        PUT(exchange, "set ");
        put_key(exchange, key)->is_set = true;
        PUT(exchange, " 0 0 ");
        break;
    case BENCH_META:
        PUT(exchange, "ms ");
        put_key(exchange, key)->is_set = true;
        PUT(exchange, " ");
        break;
    case BENCH_RESP:
        PUT(exchange, "*3\r\n$3\r\nSET\r\n");
        put_key(exchange, key)->is_set = true;
        PUT(exchange, "$");
        break;
    case BENCH_ETCD:
        put_etcd_set(exchange, key);
        return;
    }
    put_number(exchange, size);
    PUT(exchange, "\r\n");
    put(exchange, bench_items_value(exchange->items, key), size);
    PUT(exchange, "\r\n");
}

void
bench_exchange_get(struct bench_exchange *exchange, const uint64_t *keys, uint32_t n)
{
    switch (exchange->protocol) {
    case BENCH_TEXT:
        PUT(exchange, "get");
        break;
    case BENCH_META:
        PUT(exchange, "mg");
        break;
    case BENCH_RESP:
        if (n == 1) {
            PUT(exchange, "*2\r\n$3\r\nGET\r\n");
        } else {
            PUT(exchange, "*");
            put_number(exchange, (uint64_t)n + 1);
            PUT(exchange, "\r\n$4\r\nMGET\r\n");
        }
        break;
    case BENCH_ETCD:
        g_assert_not_reached(); /* see verb.c */
    }
    for (uint32_t i = 0; i < n; i++) {
        if (exchange->protocol != BENCH_RESP) {
            PUT(exchange, " ");
        }
        struct bench_ask *ask = put_key(exchange, keys[i]);
        ask->is_set = false;
        ask->is_last = i + 1 == n;
    }
    if (exchange->protocol == BENCH_META) {
        PUT(exchange, " v");
    }
    if (exchange->protocol != BENCH_RESP) {
        PUT(exchange, "\r\n");
    }
}

size_t
bench_request_size_max(const struct bench_items *items, enum bench_protocol protocol,
                       uint32_t n_keys)
{
    size_t n = MAX(n_keys, 1u);
    if (protocol == BENCH_ETCD) {
        return BENCH_REQUEST_HEAD_MAX + base64_size(items->key_sizes.max) +
               base64_size(items->value_sizes.max);
    }
    return BENCH_REQUEST_HEAD_MAX + n * (BENCH_KEY_HEAD_MAX + (size_t)items->key_sizes.max) +
           (n_keys == 0 ? items->value_sizes.max : 0);
}

/* Answers */

void
bench_errors_count(struct bench_errors *errors, const char *text, size_t size, uint64_t n)
{
    size = MIN(size, (size_t)BENCH_ERROR_TEXT_SIZE - 1);
    for (uint32_t i = 0; i < errors->n_texts; i++) {
        if (strncmp(errors->texts[i].text, text, size) == 0 &&
            errors->texts[i].text[size] == '\0') {
            errors->texts[i].n += n;
            return;
        }
    }
    if (errors->n_texts == BENCH_ERROR_TEXTS) {
        errors->n_others += n;
        return;
    }
    char *to = errors->texts[errors->n_texts].text;
    for (size_t i = 0; i < size; i++) {
        to[i] = (char)(text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?');
    }
    to[size] = '\0';
    errors->texts[errors->n_texts++].n = n;
}

/* Says what came instead; false, to be returned. */
static bool
wrong(struct bench_exchange *exchange, const char *expected, const char *came, size_t size)
{
    enum { SHOWN = 60 };
    char shown[SHOWN * 4 + 1];
    size_t at = 0;
    for (size_t i = 0; i < size && i < SHOWN; i++) {
        unsigned char byte = (unsigned char)came[i];
        if (byte == '\\' || byte == '"') {
            at += (size_t)g_snprintf(shown + at, 3, "\\%c", byte);
        } else if (byte >= ' ' && byte < 0x7f) {
            shown[at++] = (char)byte;
        } else {
            at += (size_t)g_snprintf(shown + at, 5, "\\x%02x", byte);
        }
    }
    shown[at] = '\0';
    g_snprintf(exchange->wrong, sizeof(exchange->wrong), "expected %s, got \"%s\"%s", expected,
               shown, size > SHOWN ? "..." : "");
    return false;
}

static bool
is_text(const char *line, size_t size, const char *text)
{
    return strlen(text) == size && memcmp(line, text, size) == 0;
}

static bool
begins(const char *line, size_t size, const char *text)
{
    return strlen(text) <= size && memcmp(line, text, strlen(text)) == 0;
}

/* Digits at *at, then the end of the line or a space; *at is then there. */
static bool
take_number(const char *line, size_t size, size_t *at, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t from = *at, i = from;
    for (; i < size && line[i] >= '0' && line[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(line[i] - '0');
    }
    if (i == from || i - from > 10 || (i < size && line[i] != ' ')) {
        return false;
    }
    *at = i;
    *ret_number = number;
    return true;
}

static void
request_done(struct bench_exchange *exchange, const struct bench_ask *last)
{
    *(last->is_set ? &exchange->n_sets : &exchange->n_gets) += 1;
    exchange->is_begun = false;
}

/* Where each key has an answer of its own. */
static void
ask_done(struct bench_exchange *exchange)
{
    const struct bench_ask *ask = &exchange->asks[exchange->at++];
    if (ask->is_last) {
        request_done(exchange, ask);
    }
}

static void
miss(struct bench_exchange *exchange, const struct bench_ask *ask)
{
    exchange->n_misses++;
    if (exchange->missed != NULL) {
        exchange->missed[exchange->n_missed++] = ask->key;
    }
}

/* An error reply ends its request; anything else is wrong. */
static bool
refused(struct bench_exchange *exchange, const char *expected, const char *line, size_t size)
{
    bool is_error = exchange->protocol == BENCH_RESP
                        ? size > 0 && line[0] == '-'
                        : is_text(line, size, "ERROR") || begins(line, size, "SERVER_ERROR") ||
                              begins(line, size, "CLIENT_ERROR");
    if (!is_error) {
        return wrong(exchange, expected, line, size);
    }
    bench_errors_count(exchange->errors, line, size, 1);
    exchange->n_errors++;
    while (!exchange->asks[exchange->at].is_last) {
        exchange->at++;
    }
    ask_done(exchange);
    return true;
}

/* A value of that size begins; its ask counts as a hit. */
static bool
value_begin(struct bench_exchange *exchange, const struct bench_ask *ask, uint64_t size,
            const char *line, size_t line_size)
{
    if (exchange->is_verified) {
        uint32_t expected = bench_items_value_size(exchange->items, ask->key);
        if (size != expected) {
            char text[64];
            g_snprintf(text, sizeof(text), "a value of %u bytes", expected);
            return wrong(exchange, text, line, line_size);
        }
        exchange->value = bench_items_value(exchange->items, ask->key);
    }
    exchange->n_hits++;
    exchange->value_size = size;
    exchange->value_left = size + 2;
    return true;
}

static bool
set_line(struct bench_exchange *exchange, const char *expected, const char *line, size_t size)
{
    if (!is_text(line, size, expected)) {
        return refused(exchange, expected, line, size);
    }
    ask_done(exchange);
    return true;
}

/* "VALUE KEY FLAGS SIZE": the first key not answered yet that is this one; those before it missed.
 * Keys are answered in the order in which they were asked for. */
static bool
text_value(struct bench_exchange *exchange, const char *line, size_t size)
{
    enum { HEAD = sizeof("VALUE ") - 1 };
    const struct bench_ask *ask = &exchange->asks[exchange->at];
    if (exchange->is_begun) {
        return wrong(exchange, "END", line, size);
    }
    while (size <= HEAD + (size_t)ask->key_size || line[HEAD + ask->key_size] != ' ' ||
           memcmp(line + HEAD, exchange->out + ask->at, ask->key_size) != 0) {
        if (ask->is_last) {
            return wrong(exchange, "VALUE of a key that was asked for", line, size);
        }
        miss(exchange, ask++);
        exchange->at++;
    }
    size_t at = HEAD + (size_t)ask->key_size + 1;
    uint64_t flags, value_size;
    if (!take_number(line, size, &at, &flags) || at++ == size ||
        !take_number(line, size, &at, &value_size)) {
        return wrong(exchange, "VALUE with a key, flags and a size", line, size);
    }
    exchange->is_begun = ask->is_last;
    exchange->at += ask->is_last ? 0 : 1;
    return value_begin(exchange, ask, value_size, line, size);
}

static bool
text_line(struct bench_exchange *exchange, const char *line, size_t size)
{
    const struct bench_ask *ask = &exchange->asks[exchange->at];
    if (ask->is_set) {
        return set_line(exchange, "STORED", line, size);
    }
    if (begins(line, size, "VALUE ")) {
        return text_value(exchange, line, size);
    }
    if (!is_text(line, size, "END")) {
        return refused(exchange, "VALUE or END", line, size);
    }
    if (!exchange->is_begun) {
        for (; !ask->is_last; ask++) {
            miss(exchange, ask);
        }
        miss(exchange, ask);
    }
    exchange->at = (uint32_t)(ask - exchange->asks) + 1;
    request_done(exchange, ask);
    return true;
}

static bool
meta_line(struct bench_exchange *exchange, const char *line, size_t size)
{
    const struct bench_ask *ask = &exchange->asks[exchange->at];
    if (ask->is_set) {
        return set_line(exchange, "HD", line, size);
    }
    if (is_text(line, size, "EN")) {
        miss(exchange, ask);
        ask_done(exchange);
        return true;
    }
    size_t at = 3;
    uint64_t value_size;
    if (!begins(line, size, "VA ") || !take_number(line, size, &at, &value_size)) {
        return refused(exchange, "VA with a size, or EN", line, size);
    }
    return value_begin(exchange, ask, value_size, line, size);
}

static bool
resp_line(struct bench_exchange *exchange, const char *line, size_t size)
{
    const struct bench_ask *ask = &exchange->asks[exchange->at];
    size_t at = 1;
    uint64_t number;
    if (ask->is_set) {
        return set_line(exchange, "+OK", line, size);
    }
    if (!exchange->is_begun && !ask->is_last) {
        uint64_t n = 1;
        for (const struct bench_ask *next = ask; !next->is_last; next++) {
            n++;
        }
        if (size == 0 || line[0] != '*' || !take_number(line, size, &at, &number) || number != n) {
            return refused(exchange, "* and as many as were asked for", line, size);
        }
        exchange->is_begun = true;
        return true;
    }
    if (is_text(line, size, "$-1") || is_text(line, size, "_")) {
        miss(exchange, ask);
        ask_done(exchange);
        return true;
    }
    if (size == 0 || line[0] != '$' || !take_number(line, size, &at, &number)) {
        return refused(exchange, "$ and a size", line, size);
    }
    return value_begin(exchange, ask, number, line, size);
}

static void
etcd_end(struct bench_exchange *exchange)
{
    exchange->n_errors += exchange->is_refused;
    exchange->is_refused = false;
    ask_done(exchange);
}

/* A line of an answer's head; an empty one ends it. */
static bool
etcd_line(struct bench_exchange *exchange, const char *line, size_t size)
{
    size_t at = sizeof("Content-Length: ") - 1;
    if (!exchange->is_begun) {
        if (!begins(line, size, "HTTP/1.1 ")) {
            return wrong(exchange, "HTTP/1.1", line, size);
        }
        exchange->is_begun = true;
        exchange->body_left = 0;
        exchange->is_refused = !begins(line, size, "HTTP/1.1 200");
        if (exchange->is_refused) {
            bench_errors_count(exchange->errors, line, size, 1);
        }
    } else if (begins(line, size, "Content-Length: ")) {
        if (!take_number(line, size, &at, &exchange->body_left)) {
            return wrong(exchange, "a Content-Length", line, size);
        }
    } else if (size == 0 && exchange->body_left == 0) {
        etcd_end(exchange);
    } else if (size == 0) {
        exchange->is_begun = false; /* the body comes */
    }
    return true;
}

/* Returns how many of the bytes belong to the body. */
static size_t
etcd_body(struct bench_exchange *exchange, size_t size)
{
    size_t n = (size_t)MIN(exchange->body_left, (uint64_t)size);
    exchange->body_left -= n;
    if (exchange->body_left == 0) {
        etcd_end(exchange);
    }
    return n;
}

/* Bytes of the value under way. */
static bool
take_value(struct bench_exchange *exchange, const char *data, size_t size)
{
    uint64_t from = exchange->value_size + 2 - exchange->value_left;
    size_t n_value = 0;
    exchange->value_left -= size;
    if (from < exchange->value_size) {
        n_value = (size_t)MIN((uint64_t)size, exchange->value_size - from);
        if (exchange->value != NULL && memcmp(exchange->value + from, data, n_value) != 0) {
            return wrong(exchange, "the value that belongs to the key", data, n_value);
        }
    }
    for (size_t i = n_value; i < size; i++) {
        if (data[i] != "\r\n"[from + i - exchange->value_size]) {
            return wrong(exchange, "\\r\\n after a value", data + i, size - i);
        }
    }
    if (exchange->value_left == 0) {
        exchange->value = NULL;
        if (exchange->protocol != BENCH_TEXT) { /* there END is still to come */
            ask_done(exchange);
        }
    }
    return true;
}

bool
bench_exchange_feed(struct bench_exchange *exchange, const char *data, size_t size,
                    size_t *ret_used)
{
    size_t at = 0;
    while (at < size) {
        if (exchange->value_left > 0) {
            size_t n = (size_t)MIN(exchange->value_left, (uint64_t)(size - at));
            if (!take_value(exchange, data + at, n)) {
                return false;
            }
            at += n;
            continue;
        }
        if (exchange->body_left > 0 && !exchange->is_begun) {
            at += etcd_body(exchange, size - at);
            continue;
        }
        const char *line = data + at;
        const char *end = memchr(line, '\n', MIN(size - at, (size_t)BENCH_LINE_MAX));
        if (exchange->at == exchange->n_asks) {
            return wrong(exchange, "nothing more", line, size - at);
        }
        if (end == NULL && size - at < BENCH_LINE_MAX) {
            break;
        }
        if (end == NULL || end == line || end[-1] != '\r') {
            return wrong(exchange, "a line that ends in \\r\\n", line, size - at);
        }
        size_t line_size = (size_t)(end - line) - 1;
        if (!(exchange->protocol == BENCH_TEXT   ? text_line(exchange, line, line_size)
              : exchange->protocol == BENCH_META ? meta_line(exchange, line, line_size)
              : exchange->protocol == BENCH_ETCD ? etcd_line(exchange, line, line_size)
                                                 : resp_line(exchange, line, line_size))) {
            return false;
        }
        at += line_size + 2;
    }
    *ret_used = at;
    return true;
}
