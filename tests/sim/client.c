/* Commands and answers of memcached's text protocol, as a client knows them. */
#include <config.h>

#include "tests/sim/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A command under way. A get of several keys has an operation for each. */
struct command {
    struct operation **operations;
    uint32_t n_operations;
    uint32_t n_answered;
    bool is_quit;
};

struct client {
    struct client_config config;
    struct yk_random random;
    GQueue *commands; /* struct command, oldest first */
    GQueue *quiet;    /* struct operation without an answer, oldest first */
    GByteArray *input;
    uint32_t n_sent;
    uint64_t n_operations;
    bool has_quit;
    uint64_t *seen_cas; /* of each key, the last shown */
};

static uint64_t
below(struct client *client, uint64_t bound)
{
    return yk_random_below(&client->random, bound);
}

struct client *
client_new(const struct client_config *config)
{
    struct client *client = g_new0(struct client, 1);
    client->config = *config;
    client->random.state = config->seed;
    client->commands = g_queue_new();
    client->quiet = g_queue_new();
    client->input = g_byte_array_new();
    client->seen_cas = g_new0(uint64_t, config->history->n_keys);
    return client;
}

static void
command_free(void *data)
{
    struct command *command = data;
    g_free(command->operations);
    g_free(command);
}

void
client_free(struct client *client)
{
    g_queue_free_full(client->commands, command_free);
    g_queue_free(client->quiet);
    g_byte_array_free(client->input, TRUE);
    g_free(client->seen_cas);
    g_free(client);
}

/* Making commands */

static struct operation *
add_operation_on(struct client *client, struct command *command, enum history_kind kind,
                 uint32_t key, int64_t now_us)
{
    struct operation *operation = history_add(client->config.history, kind, key);
    operation->connection = client->config.connection;
    operation->number = client->n_operations++;
    operation->invoked_us = now_us;
    command->operations =
        g_renew(struct operation *, command->operations, command->n_operations + 1);
    command->operations[command->n_operations++] = operation;
    return operation;
}

static struct operation *
add_operation(struct client *client, struct command *command, enum history_kind kind,
              int64_t now_us)
{
    uint32_t key = (uint32_t)below(client, client->config.history->n_keys);
    return add_operation_on(client, command, kind, key, now_us);
}

static GBytes *
new_value(struct client *client)
{
    uint64_t shape = below(client, 10);
    if (shape == 0) {
        return g_bytes_new("", 0);
    }
    if (shape < 5) {
        g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, below(client, 1000000));
        return g_bytes_new(number, strlen(number));
    }
    gsize size = below(client, shape < 9 ? 64 : client->config.value_size_max) + 1;
    guint8 *data = g_malloc(size);
    for (gsize i = 0; i < size; i++) {
        data[i] = (guint8)(yk_random_next(&client->random) >> 56);
    }
    return g_bytes_new_take(data, size);
}

static int64_t
new_expiry(struct client *client)
{
    uint64_t shape = below(client, 8);
    if (!client->config.uses_expiry || shape > 2) {
        return 0;
    }
    return shape == 0 ? -1 : (int64_t)below(client, 3) + 1;
}

static void put_text(GByteArray *to, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
put_text(GByteArray *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_byte_array_append(to, (const guint8 *)text, (guint)strlen(text));
}

static void
make_store(struct client *client, struct command *command, int64_t now_us, bool is_quiet,
           GByteArray *to)
{
    static const char *const verbs[] = {"set", "add", "replace", "append", "prepend", "cas"};
    static const uint8_t odds[] = {0, 0, 0, 1, 2, 3, 4, 5, 5};
    uint32_t which = odds[below(client, sizeof(odds))];
    struct operation *operation =
        add_operation(client, command, (enum history_kind)(HISTORY_SET + which), now_us);
    gsize size;
    operation->value = new_value(client);
    const guint8 *data = g_bytes_get_data(operation->value, &size);
    bool keeps = operation->kind == HISTORY_APPEND || operation->kind == HISTORY_PREPEND;
    operation->flags = keeps ? 0 : (uint32_t)below(client, 3);
    operation->expiry_s = keeps ? 0 : new_expiry(client);
    operation->cas = client->seen_cas[operation->key] + (below(client, 4) == 0 ? 1 : 0);
    put_text(to, "%s key%u %u %" G_GINT64_FORMAT " %zu", verbs[which], operation->key,
             operation->flags, operation->expiry_s, size);
    if (operation->kind == HISTORY_CAS) {
        put_text(to, " %" G_GUINT64_FORMAT, operation->cas);
    }
    put_text(to, "%s\r\n", is_quiet ? " noreply" : "");
    g_byte_array_append(to, data, (guint)size);
    put_text(to, "\r\n");
}

static void
make_get(struct client *client, struct command *command, int64_t now_us, GByteArray *to)
{
    static const char *const verbs[] = {"get", "gets", "gat"};
    enum history_kind kind = (enum history_kind)(HISTORY_GET + below(client, 3));
    uint32_t n_keys = client->config.history->n_keys;
    uint32_t first = (uint32_t)below(client, n_keys);
    uint32_t n = below(client, 3) == 0 ? (uint32_t)below(client, n_keys) + 1 : 1;
    int64_t expiry_s = kind == HISTORY_GAT ? new_expiry(client) : 0;
    put_text(to, "%s", verbs[kind - HISTORY_GET]);
    if (kind == HISTORY_GAT) {
        put_text(to, " %" G_GINT64_FORMAT, expiry_s);
    }
    /* No key twice: of two answers for one key nobody could say which is whose. */
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = (first + i) % n_keys;
        struct operation *operation = add_operation_on(client, command, kind, key, now_us);
        operation->expiry_s = expiry_s;
        put_text(to, " key%u", operation->key);
    }
    put_text(to, "\r\n");
}

static void
make_short(struct client *client, struct command *command, int64_t now_us, bool is_quiet,
           GByteArray *to)
{
    const char *end = is_quiet ? " noreply\r\n" : "\r\n";
    struct operation *operation;
    switch (below(client, 4)) {
    case 0:
        operation = add_operation(client, command, HISTORY_DELETE, now_us);
        put_text(to, "delete key%u%s", operation->key, end);
        break;
    case 1:
        operation = add_operation(client, command, HISTORY_TOUCH, now_us);
        operation->expiry_s = new_expiry(client);
        put_text(to, "touch key%u %" G_GINT64_FORMAT "%s", operation->key, operation->expiry_s,
                 end);
        break;
    default:
        operation =
            add_operation(client, command, below(client, 2) ? HISTORY_INCR : HISTORY_DECR, now_us);
        operation->delta = below(client, 1000);
        put_text(to, "%s key%u %" G_GUINT64_FORMAT "%s",
                 operation->kind == HISTORY_INCR ? "incr" : "decr", operation->key,
                 operation->delta, end);
        break;
    }
}

static void
make_command(struct client *client, int64_t now_us, GByteArray *to)
{
    struct command *command = g_new0(struct command, 1);
    bool is_quiet = client->config.uses_noreply && below(client, 6) == 0;
    uint64_t shape = below(client, 100);
    if (client->config.uses_flush && client->n_sent + 1 == client->config.n_commands &&
        below(client, 2) == 0) {
        shape = 99; /* what a restart must not bring back */
    }
    if (shape < 45) {
        is_quiet = false;
        make_get(client, command, now_us, to);
    } else if (shape < 75) {
        make_store(client, command, now_us, is_quiet, to);
    } else if (shape < 97 || !client->config.uses_flush) {
        make_short(client, command, now_us, is_quiet, to);
    } else {
        is_quiet = false;
        add_operation(client, command, HISTORY_FLUSH, now_us);
        put_text(to, "flush_all\r\n");
    }
    if (is_quiet) {
        g_queue_push_tail(client->quiet, command->operations[0]);
        command_free(command);
    } else {
        g_queue_push_tail(client->commands, command);
    }
}

void
client_write(struct client *client, int64_t now_us, GByteArray *to)
{
    uint64_t n = below(client, client->config.pipeline_max) + 1;
    while (client->n_sent < client->config.n_commands && n-- > 0 &&
           g_queue_get_length(client->commands) < client->config.pipeline_max) {
        make_command(client, now_us, to);
        client->n_sent++;
    }
    if (client->n_sent == client->config.n_commands && !client->has_quit) {
        client->has_quit = true;
        put_text(to, "quit\r\n");
    }
}

/* Reading answers */

/* The line at the front without its end; -1: not whole yet. */
static gssize
line_size(const struct client *client)
{
    const guint8 *end = memchr(client->input->data, '\n', client->input->len);
    if (client->input->len == 0 || end == NULL || end == client->input->data) {
        return -1;
    }
    return end - client->input->data - 1;
}

static bool
is_line(const char *line, const char *text)
{
    return strcmp(line, text) == 0;
}

static enum history_result
parse_result(const struct operation *operation, const char *line)
{
    static const struct {
        const char *line;
        enum history_result result;
    } lines[] = {
        {"STORED", RESULT_OK},
        {"DELETED", RESULT_OK},
        {"TOUCHED", RESULT_OK},
        {"OK", RESULT_OK},
        {"NOT_FOUND", RESULT_MISS},
        {"NOT_STORED", RESULT_REFUSED},
        {"EXISTS", RESULT_EXISTS},
        {"CLIENT_ERROR cannot increment or decrement non-numeric value", RESULT_NOT_NUMBER},
        {"SERVER_ERROR out of memory storing object", RESULT_FAILED},
        {"SERVER_ERROR out of memory", RESULT_FAILED},
        {"SERVER_ERROR object too large for cache", RESULT_FAILED},
        {"SERVER_ERROR no space left", RESULT_FAILED},
        {"SERVER_ERROR cannot read the stored record", RESULT_FAILED},
        {"SERVER_ERROR outcome unknown", RESULT_UNKNOWN},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        if (is_line(line, lines[i].line)) {
            return lines[i].result;
        }
    }
    bool is_number = operation->kind == HISTORY_INCR || operation->kind == HISTORY_DECR;
    return is_number && g_ascii_isdigit(line[0]) ? RESULT_OK : RESULT_NONE;
}

static void
end_operation(struct operation *operation, enum history_result result, int64_t now_us)
{
    operation->result = result;
    operation->returned_us = now_us;
}

/* Answers come in order: what went before without one has ended too. */
static void
end_command(struct client *client, int64_t now_us)
{
    struct command *command = g_queue_pop_head(client->commands);
    struct operation *quiet;
    while ((quiet = g_queue_peek_head(client->quiet)) != NULL &&
           quiet->number < command->operations[0]->number) {
        quiet->returned_us = now_us;
        g_queue_pop_head(client->quiet);
    }
    command_free(command);
}

static bool
is_read(const struct operation *operation)
{
    return operation->kind == HISTORY_GET || operation->kind == HISTORY_GETS ||
           operation->kind == HISTORY_GAT;
}

/* Keys of a get come in the order asked; what is passed over was a miss. */
static bool
take_value(struct client *client, struct command *command, const char *line, gsize head,
           int64_t now_us, bool *ret_is_whole, GString *why)
{
    uint32_t key, flags;
    unsigned long long size, cas = 0;
    int n = sscanf(line, "VALUE key%u %u %llu %llu", &key, &flags, &size, &cas);
    *ret_is_whole = n >= 3 && client->input->len >= head + size + 2;
    if (n < 3) {
        g_string_append_printf(why, "bad line: %s", line);
        return false;
    }
    if (!*ret_is_whole) {
        return true;
    }
    while (command->n_answered < command->n_operations &&
           command->operations[command->n_answered]->key != key) {
        end_operation(command->operations[command->n_answered++], RESULT_MISS, now_us);
    }
    if (command->n_answered == command->n_operations) {
        g_string_append_printf(why, "value of a key that was not asked for: %s", line);
        return false;
    }
    struct operation *operation = command->operations[command->n_answered++];
    end_operation(operation, RESULT_OK, now_us);
    operation->value = g_bytes_new(client->input->data + head, (gsize)size);
    operation->flags = flags;
    operation->cas = cas;
    if (operation->kind == HISTORY_GETS) {
        client->seen_cas[key] = cas;
    }
    bool is_ended = memcmp(client->input->data + head + size, "\r\n", 2) == 0;
    g_byte_array_remove_range(client->input, 0, (guint)(head + size + 2));
    g_string_append(why, is_ended ? "" : "a value does not end with its line");
    return is_ended;
}

static bool
take_read(struct client *client, struct command *command, const char *line, gsize head,
          int64_t now_us, bool *ret_is_whole, GString *why)
{
    *ret_is_whole = true;
    if (g_str_has_prefix(line, "VALUE ")) {
        return take_value(client, command, line, head, now_us, ret_is_whole, why);
    }
    bool is_error = g_str_has_prefix(line, "SERVER_ERROR ");
    if (!is_line(line, "END") && !is_error) {
        g_string_append_printf(why, "bad line in a get: %s", line);
        return false;
    }
    while (command->n_answered < command->n_operations) {
        struct operation *operation = command->operations[command->n_answered++];
        end_operation(operation, is_error ? RESULT_UNKNOWN : RESULT_MISS, now_us);
    }
    g_byte_array_remove_range(client->input, 0, (guint)head);
    end_command(client, now_us);
    return true;
}

static bool
take_answer(struct client *client, int64_t now_us, bool *ret_is_whole, GString *why)
{
    gssize size = line_size(client);
    *ret_is_whole = size >= 0;
    if (size < 0) {
        return true;
    }
    g_autofree char *line = g_strndup((const char *)client->input->data, (gsize)size);
    struct command *command = g_queue_peek_head(client->commands);
    if (command == NULL) {
        g_string_append_printf(why, "an answer that nobody asked for: %s", line);
        return false;
    }
    struct operation *operation = command->operations[0];
    if (is_read(operation)) {
        return take_read(client, command, line, (gsize)size + 2, now_us, ret_is_whole, why);
    }
    enum history_result result = parse_result(operation, line);
    if (result == RESULT_NONE) {
        g_string_append_printf(why, "bad answer to a command of kind %d: %s", operation->kind,
                               line);
        return false;
    }
    operation->shown = g_ascii_strtoull(line, NULL, 10);
    end_operation(operation, result, now_us);
    g_byte_array_remove_range(client->input, 0, (guint)size + 2);
    end_command(client, now_us);
    return true;
}

bool
client_read(struct client *client, int64_t now_us, const uint8_t *bytes, size_t size, GString *why)
{
    bool is_whole = true;
    g_byte_array_append(client->input, bytes, (guint)size);
    while (is_whole) {
        if (!take_answer(client, now_us, &is_whole, why)) {
            return false;
        }
    }
    return true;
}

bool
client_is_waiting(const struct client *client)
{
    return g_queue_get_length(client->commands) > 0;
}

bool
client_is_done(const struct client *client)
{
    return client->has_quit && !client_is_waiting(client);
}
