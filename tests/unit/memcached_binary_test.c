/* The binary protocol of the memcached frontend: what its transcripts cannot say. */
#include <config.h>

#include <glib.h>

#include "frontends/memcached/binary.h"
#include "tests/lib/fake_core.h"

extern const struct yk_plugin memcached_LTX_yk_plugin;

#define OPAQUE 0x0a0b0c0du

static struct fake_core *
core_new(void)
{
    struct fake_core *core = fake_core_new(&memcached_LTX_yk_plugin);
    g_assert_nonnull(core);
    return core;
}

static void
add_number(GString *to, uint64_t number, uint32_t n_bytes)
{
    for (uint32_t i = n_bytes; i-- > 0;) {
        g_string_append_c(to, (char)(number >> (8 * i)));
    }
}

/* A frame; extras and value of these sizes. */
static void
add_frame(GString *to, uint8_t opcode, struct yk_slice extras, const char *key,
          struct yk_slice value)
{
    size_t key_size = strlen(key);
    add_number(to, YK_MC_BINARY_REQUEST, 1);
    add_number(to, opcode, 1);
    add_number(to, key_size, 2);
    add_number(to, extras.size, 1);
    add_number(to, 0, 3);
    add_number(to, extras.size + key_size + value.size, 4);
    add_number(to, OPAQUE, 4);
    add_number(to, 0, 8);
    g_string_append_len(to, extras.data, (gssize)extras.size);
    g_string_append(to, key);
    g_string_append_len(to, value.data, (gssize)value.size);
}

/* The extras that most commands can do with: zeroes. */
static struct yk_slice
zeroes(size_t size)
{
    static const uint8_t bytes[20];
    return yk_slice_of(bytes, size);
}

static struct yk_slice
nothing(void)
{
    return yk_slice_of(NULL, 0);
}

static uint64_t
get_number(const uint8_t *at, uint32_t n_bytes)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < n_bytes; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

/* Takes an answer off the front of what came: its status, key and value. */
static uint32_t
take_answer(struct fake_client *client, uint8_t opcode, char **ret_key, char **ret_value)
{
    const uint8_t *bytes = client->output.data;
    g_assert_cmpuint(client->output.size, >=, YK_MC_HEADER_SIZE);
    uint64_t key_size = get_number(bytes + 2, 2), body_size = get_number(bytes + 8, 4);
    size_t extras_size = bytes[4], size = YK_MC_HEADER_SIZE + body_size;
    uint32_t status = (uint32_t)get_number(bytes + 6, 2);
    g_assert_cmpuint(bytes[0], ==, YK_MC_BINARY_ANSWER);
    g_assert_cmpuint(bytes[1], ==, opcode);
    g_assert_cmpuint(get_number(bytes + 12, 4), ==, OPAQUE);
    g_assert_cmpuint(client->output.size, >=, size);
    const uint8_t *key = bytes + YK_MC_HEADER_SIZE + extras_size;
    *ret_key = g_strndup((const char *)key, key_size);
    *ret_value = g_strndup((const char *)key + key_size, body_size - extras_size - key_size);
    client->output.size -= size;
    memmove(client->output.data, client->output.data + size, client->output.size);
    return status;
}

static void
check_answer(struct fake_client *client, uint8_t opcode, uint32_t status, const char *key,
             const char *value)
{
    g_autofree char *came_key = NULL, *came_value = NULL;
    uint32_t came = take_answer(client, opcode, &came_key, &came_value);
    g_assert_cmpuint(came, ==, status);
    g_assert_cmpstr(came_key, ==, key);
    g_assert_cmpstr(came_value, ==, value);
}

/* Sends one frame to a client. */
static void
send_frame(struct fake_client *client, uint8_t opcode, size_t extras_size, const char *key,
           const char *value)
{
    g_autoptr(GString) frame = g_string_new(NULL);
    add_frame(frame, opcode, zeroes(extras_size), key, yk_slice_of_text(value));
    fake_client_send(client, frame->str, frame->len);
}

/* What each result looks like; quiet commands say it too. */
static void
test_results(void)
{
    static const struct {
        uint8_t opcode;
        size_t extras_size;
        const char *key, *value;
        enum yk_err result;
        uint32_t status;
        const char *text;
    } cases[] = {
        {0x01, 8, "k", "x", YK_ENOMEM, YK_MC_STATUS_NO_MEMORY, "out of memory"},
        {0x11, 8, "k", "x", YK_ENOSPACE, YK_MC_STATUS_NO_MEMORY, "no space left"},
        {0x01, 8, "k", "x", YK_ETOOLARGE, YK_MC_STATUS_TOO_LARGE, "Too large."},
        {0x11, 8, "k", "x", YK_EREADONLY, YK_MC_STATUS_UNSUPPORTED, "read only"},
        {0x11, 8, "k", "x", YK_EIO, YK_MC_STATUS_INTERNAL, "outcome unknown"},
        {0x0e, 0, "k", "x", YK_EBUSY, YK_MC_STATUS_BUSY, "busy, try again"},
        {0x04, 0, "k", "", YK_EUNKNOWN, YK_MC_STATUS_INTERNAL, "outcome unknown"},
        {0x15, 20, "k", "", YK_ETIMEDOUT, YK_MC_STATUS_INTERNAL, "outcome unknown"},
        {0x09, 0, "k", "", YK_ETIMEDOUT, YK_MC_STATUS_INTERNAL, "no answer in time"},
        {0x0d, 0, "k", "", YK_ECORRUPT, YK_MC_STATUS_INTERNAL, "damaged data"},
        {0x1e, 4, "k", "", YK_EREADONLY, YK_MC_STATUS_UNSUPPORTED, "read only"},
        {0x00, 0, "k", "", YK_ESTOPPED, YK_MC_STATUS_TEMPORARY, "stopped"},
        {0x18, 0, "", "", YK_EREADONLY, YK_MC_STATUS_UNSUPPORTED, "read only"},
        {0x10, 0, "", "", YK_EDENIED, YK_MC_STATUS_DENIED, "not permitted"},
        {0x10, 0, "x", "", YK_EINVALID, YK_MC_STATUS_NOT_FOUND, "Not found"},
        {0x01, 8, "k", "x", YK_EINVALID, YK_MC_STATUS_INVALID, "Invalid arguments"},
    };
    struct fake_core *core = core_new();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct fake_client *client = fake_client_new(core);
        core->fault = cases[i].result;
        core->fault_in = 1;
        send_frame(client, cases[i].opcode, cases[i].extras_size, cases[i].key, cases[i].value);
        check_answer(client, cases[i].opcode, cases[i].status, "", cases[i].text);
        g_assert_cmpuint(client->output.size, ==, 0);
        fake_client_free(client);
    }
    fake_core_free(core);
}

/* Figures come one by one, and end with an empty frame. */
static void
test_stats(void)
{
    struct fake_core *core = core_new();
    struct fake_client *client = fake_client_new(core);
    send_frame(client, 0x10, 0, "", "");
    check_answer(client, 0x10, 0, "pid", "1");
    check_answer(client, 0x10, 0, "uptime", "2");
    check_answer(client, 0x10, 0, "version", "0");
    check_answer(client, 0x10, 0, "curr_items", "3");
    check_answer(client, 0x10, 0, "", "");
    send_frame(client, 0x10, 0, "settings", "");
    check_answer(client, 0x10, 0, "maxbytes", "67108864");
    check_answer(client, 0x10, 0, "", "");
    send_frame(client, 0x10, 0, "reset", "");
    check_answer(client, 0x10, 0, "", "");
    send_frame(client, 0x0b, 0, "", "");
    check_answer(client, 0x0b, 0, "", YK_MC_VERSION);
    g_assert_cmpuint(client->output.size, ==, 0);
    fake_client_free(client);
    fake_core_free(core);
}

/* What options forbid, and limits that are lower than memcached's. */
static void
test_limits(void)
{
    struct fake_core *core = core_new();
    fake_core_option(core, "allow_flush", "no");
    core->key_size_max = 10;
    core->value_size_max = 4;
    struct fake_client *client = fake_client_new(core);
    send_frame(client, 0x08, 0, "", "");
    check_answer(client, 0x08, YK_MC_STATUS_DENIED, "", "Auth failure.");
    send_frame(client, 0x18, 4, "", "");
    check_answer(client, 0x18, YK_MC_STATUS_DENIED, "", "Auth failure.");
    send_frame(client, 0x01, 8, "0123456789", "abcd");
    check_answer(client, 0x01, 0, "", "");
    send_frame(client, 0x11, 8, "k", "abcde");
    check_answer(client, 0x11, YK_MC_STATUS_TOO_LARGE, "", "Too large.");
    send_frame(client, 0x0e, 0, "0123456789", "e");
    check_answer(client, 0x0e, YK_MC_STATUS_TOO_LARGE, "", "Too large.");
    send_frame(client, 0x0c, 0, "0123456789", "");
    check_answer(client, 0x0c, 0, "0123456789", "abcd");
    send_frame(client, 0x0c, 0, "0123456789a", "");
    check_answer(client, 0x0c, YK_MC_STATUS_INVALID, "", "Invalid arguments");
    g_assert_true(client->is_closed);
    fake_client_free(client);
    fake_core_free(core);
}

/* A header is judged as soon as it is there, and says how many bytes are missing. */
static void
test_want(void)
{
    struct fake_core *core = core_new();
    struct fake_client *client = fake_client_new(core);
    g_autoptr(GString) frame = g_string_new(NULL);
    add_frame(frame, 0x01, zeroes(8), "key", yk_slice_of_text("value"));
    fake_client_send(client, frame->str, 1);
    g_assert_cmpuint(client->want, ==, YK_MC_HEADER_SIZE);
    fake_client_send(client, frame->str + 1, YK_MC_HEADER_SIZE - 1);
    g_assert_cmpuint(client->want, ==, frame->len);
    fake_client_send(client, frame->str + YK_MC_HEADER_SIZE, frame->len - YK_MC_HEADER_SIZE);
    check_answer(client, 0x01, 0, "", "");
    /* 4 GiB that will not be waited for: they are dropped as they come. */
    memset(frame->str + 8, 0xff, 4);
    fake_client_send(client, frame->str, YK_MC_HEADER_SIZE);
    check_answer(client, 0x01, YK_MC_STATUS_TOO_LARGE, "", "Too large.");
    fake_client_send(client, frame->str, frame->len);
    g_assert_cmpuint(client->input.size, ==, 0);
    g_assert_cmpuint(client->output.size, ==, 0);
    fake_client_free(client);
    fake_core_free(core);
}

/* Large values go out as they lie, also with a key in front of them. */
static void
test_large_values(void)
{
    static const size_t sizes[] = {YK_LEND_SIZE_MIN - 1, YK_LEND_SIZE_MIN, 300000};
    struct fake_core *core = core_new();
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct fake_client *client = fake_client_new(core);
        g_autofree char *value = g_strnfill(sizes[i], 'v');
        send_frame(client, 0x01, 8, "k", value);
        send_frame(client, 0x0c, 0, "k", "");
        send_frame(client, 0x1c, 4, "k", "");
        send_frame(client, 0x1d, 4, "k", "");
        check_answer(client, 0x01, 0, "", "");
        check_answer(client, 0x0c, 0, "k", value);
        check_answer(client, 0x1c, 0, "", "");
        check_answer(client, 0x1d, 0, "", value);
        g_assert_cmpuint(client->output.size, ==, 0);
        g_assert_cmpuint(client->n_lent, ==, sizes[i] < YK_LEND_SIZE_MIN ? 0 : 2 * sizes[i]);
        fake_client_free(client);
    }
    fake_core_free(core);
}

/* A frame for each kind of answer. */
static void
add_each(GString *to, struct yk_slice value)
{
    static const uint8_t with_key[] = {0x00, 0x0c, 0x09, 0x0d, 0x04, 0x14};
    add_frame(to, 0x01, zeroes(8), "k", value);
    add_frame(to, 0x02, zeroes(8), "k", value);
    add_frame(to, 0x0e, nothing(), "k", value);
    add_frame(to, 0x05, zeroes(20), "k", nothing());
    add_frame(to, 0x05, zeroes(20), "n", nothing());
    add_frame(to, 0x10, nothing(), "", nothing());
    add_frame(to, 0x10, nothing(), "none", nothing());
    add_frame(to, 0x1c, zeroes(4), "k", nothing());
    add_frame(to, 0x23, zeroes(4), "k", nothing());
    for (size_t i = 0; i < G_N_ELEMENTS(with_key); i++) {
        add_frame(to, with_key[i], nothing(), "k", nothing());
    }
    add_frame(to, 0x0c, nothing(), "k", nothing());
    add_frame(to, 0x60, nothing(), "k", value);
    add_frame(to, 0x0b, nothing(), "", nothing());
    add_frame(to, 0x08, zeroes(4), "", nothing());
    add_frame(to, 0x07, nothing(), "", nothing());
}

/* The outbox fails at its N-th growth, for every N. */
static void
test_outbox_failures(void)
{
    struct fake_core *core = core_new();
    g_autoptr(GString) input = g_string_new(NULL);
    g_autofree char *large = g_strnfill(YK_LEND_SIZE_MIN, 'v');
    add_each(input, yk_slice_of_text("5"));
    g_string_truncate(input, input->len - YK_MC_HEADER_SIZE); /* the quit */
    add_each(input, yk_slice_of_text(large));
    bool has_failed = true;
    for (uint32_t fails_in = 1; has_failed; fails_in++) {
        fake_core_reset(core);
        struct fake_client *client = fake_client_new(core);
        client->grow_fails_in = fails_in;
        fake_client_send(client, input->str, input->len);
        has_failed = client->is_lost;
        g_assert_true(client->is_closed);
        fake_client_free(client);
        g_assert_cmpuint(fails_in, <, 1000);
    }
    fake_core_free(core);
}

/* The end of the input in the middle of a frame, at every byte: the half is nothing. */
static void
test_half_frames(void)
{
    struct fake_core *core = core_new();
    g_autoptr(GString) frame = g_string_new(NULL);
    add_frame(frame, 0x01, zeroes(8), "k", yk_slice_of_text("value"));
    for (size_t size = 0; size < frame->len; size++) {
        struct fake_client *client = fake_client_new(core);
        fake_client_send(client, frame->str, size);
        fake_client_eof(client);
        g_assert_cmpuint(client->n_submitted, ==, 0);
        g_assert_cmpuint(client->output.size, ==, 0);
        fake_client_free(client);
    }
    g_assert_cmpuint(core->n_records, ==, 0);
    fake_core_free(core);
}

static void
test_probe(void)
{
    struct fake_core *core = core_new();
    uint8_t request = YK_MC_BINARY_REQUEST, answer = YK_MC_BINARY_ANSWER;
    g_assert_cmpint(core->ops->probe(core->self, &request, 1), ==, YK_PROBE_YES);
    g_assert_cmpint(core->ops->probe(core->self, &answer, 1), ==, YK_PROBE_NO);
    fake_core_free(core);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memcached/binary/results", test_results);
    g_test_add_func("/memcached/binary/stats", test_stats);
    g_test_add_func("/memcached/binary/limits", test_limits);
    g_test_add_func("/memcached/binary/want", test_want);
    g_test_add_func("/memcached/binary/large_values", test_large_values);
    g_test_add_func("/memcached/binary/outbox_failures", test_outbox_failures);
    g_test_add_func("/memcached/binary/half_frames", test_half_frames);
    g_test_add_func("/memcached/binary/probe", test_probe);
    return g_test_run();
}
