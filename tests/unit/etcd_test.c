/* What is said to etcd, and what is made of its answers. */
#include <config.h>

#include <stdlib.h>

#include <glib.h>

#include "plugins/coordinators/etcd/message.h"

static void
assert_body(char *body, const char *expected)
{
    g_assert_cmpstr(body, ==, expected);
    free(body);
}

static void
test_bodies(void)
{
    assert_body(etcd_range_body("/y/", "cluster"), "{\"key\":\"L3kvY2x1c3Rlcg==\"}");
    assert_body(etcd_put_body("/y/", "c", yk_slice_of("\0\xff", 2), 7),
                "{\"compare\":[{\"key\":\"L3kvYw==\",\"target\":\"MOD\",\"result\":\"EQUAL\","
                "\"mod_revision\":\"7\"}],"
                "\"success\":[{\"request_put\":{\"key\":\"L3kvYw==\",\"value\":\"AP8=\"}}],"
                "\"failure\":[{\"request_range\":{\"key\":\"L3kvYw==\"}}]}");
    /* From "/y/" to "/y0"; behind bytes that have none after them; of all keys. */
    assert_body(etcd_watch_body("/y/"),
                "{\"create_request\":{\"key\":\"L3kv\",\"range_end\":\"L3kw\"}}");
    assert_body(etcd_watch_body("a\xff\xff"),
                "{\"create_request\":{\"key\":\"Yf//\",\"range_end\":\"Yg==\"}}");
    assert_body(etcd_watch_body("\xff"),
                "{\"create_request\":{\"key\":\"/w==\",\"range_end\":\"AA==\"}}");
    assert_body(etcd_login_body("eve", "\"x\\"), "{\"name\":\"eve\",\"password\":\"\\\"x\\\\\"}");
    assert_body(etcd_compact_body(12), "{\"revision\":\"12\"}");
}

static struct etcd_answer
read_answer(const char *text, long status)
{
    struct etcd_answer answer;
    etcd_answer_read(text, strlen(text), status, &answer);
    return answer;
}

static void
test_values(void)
{
    struct etcd_answer answer = read_answer(
        "{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"5\","
        "\"value\":\"AP8=\"}],\"count\":\"1\"}",
        200);
    g_assert_cmpint(answer.outcome, ==, ETCD_DONE);
    g_assert_cmpuint(answer.store_revision, ==, 9);
    g_assert_cmpuint(answer.revision, ==, 5);
    g_assert_cmpmem(answer.bytes, answer.size, "\0\xff", 2);
    etcd_answer_done(&answer);

    answer = read_answer("{\"header\":{\"revision\":\"9\"}}", 200); /* there is no such key */
    g_assert_cmpint(answer.outcome, ==, ETCD_DONE);
    g_assert_cmpuint(answer.revision, ==, 0);
    etcd_answer_done(&answer);

    answer = read_answer("{\"header\":{\"revision\":\"12\"},\"succeeded\":true,"
                         "\"responses\":[{\"response_put\":{\"header\":{\"revision\":\"12\"}}}]}",
                         200);
    g_assert_cmpint(answer.outcome, ==, ETCD_DONE);
    g_assert_true(answer.is_written);
    g_assert_cmpuint(answer.revision, ==, 12);
    etcd_answer_done(&answer);

    answer = read_answer("{\"header\":{\"revision\":\"12\"},\"responses\":[{\"response_range\":"
                         "{\"kvs\":[{\"mod_revision\":\"11\",\"value\":\"eA==\"}]}}]}",
                         200);
    g_assert_cmpint(answer.outcome, ==, ETCD_DONE);
    g_assert_false(answer.is_written);
    g_assert_cmpuint(answer.revision, ==, 11);
    etcd_answer_done(&answer);

    answer = read_answer("{\"header\":{\"revision\":\"3\"},\"token\":\"t.1\"}", 200);
    g_assert_cmpstr(answer.token, ==, "t.1");
    etcd_answer_done(&answer);
}

/* What must not be taken for done, nor for surely not done. */
static void
test_refusals(void)
{
    static const struct {
        const char *text;
        long status;
        enum etcd_outcome outcome;
        const char *reason;
    } cases[] = {
        {"{\"error\":\"x\",\"message\":\"etcdserver: no leader\",\"code\":14}", 503, ETCD_UNCLEAR,
         "etcdserver: no leader"},
        {"{\"error\":\"etcdserver: request timed out\",\"code\":14}", 503, ETCD_UNCLEAR,
         "etcdserver: request timed out"},
        {"{\"message\":\"etcdserver: invalid auth token\",\"code\":16}", 401, ETCD_LOGIN, NULL},
        {"{\"message\":\"etcdserver: user name is empty\",\"code\":3}", 400, ETCD_LOGIN, NULL},
        {"{\"message\":\"etcdserver: revision of auth store is old\",\"code\":3}", 400, ETCD_LOGIN,
         NULL},
        {"{\"message\":\"etcdserver: permission denied\",\"code\":7}", 403, ETCD_REFUSED, NULL},
        {"{\"message\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", 503,
         ETCD_REFUSED, NULL},
        {"{\"message\":\"a\\nb\",\"code\":13}", 500, ETCD_UNCLEAR, "a b"},
        {"{}", 503, ETCD_UNCLEAR, "HTTP status 503, and no word why"},
        {"{}", 200, ETCD_UNCLEAR, "what it answers makes no sense"},
        {"{\"header\":{\"revision\":9}}", 200, ETCD_UNCLEAR, NULL},
        {"{\"header\":{\"revision\":\"-9\"}}", 200, ETCD_UNCLEAR, NULL},
        {"{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"value\":\"eA==\"}]}", 200, ETCD_UNCLEAR,
         NULL},
        {"{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"mod_revision\":\"1\",\"value\":\"eA=\"}]}",
         200, ETCD_UNCLEAR, NULL},
        {"{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"mod_revision\":\"1\",\"value\":\"=\"}]}",
         200, ETCD_UNCLEAR, NULL},
        {"{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"mod_revision\":\"1\",\"value\":\"e-==\"}]}",
         200, ETCD_UNCLEAR, NULL},
        {"{\"header\":{\"revision\":\"9\"},\"responses\":[]}", 200, ETCD_UNCLEAR, NULL},
        {"404 page not found\n", 404, ETCD_NOT_ETCD,
         "HTTP status 404, \"404 page not found\": it is no etcd, or one before 3.4, or its "
         "gateway "
         "is off"},
        {"Client sent an HTTP request", 400, ETCD_NOT_ETCD, NULL},
        {"", 200, ETCD_UNCLEAR, "HTTP status 200, \"\""},
        {"[]", 200, ETCD_UNCLEAR, NULL},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct etcd_answer answer = read_answer(cases[i].text, cases[i].status);
        g_test_message("%s", cases[i].text);
        g_assert_cmpint(answer.outcome, ==, cases[i].outcome);
        if (cases[i].reason != NULL) {
            g_assert_cmpstr(answer.reason, ==, cases[i].reason);
        }
        etcd_answer_done(&answer);
    }
}

static void
note(void *arg, const char *name)
{
    g_string_append_printf(arg, "%s;", name);
}

static void
test_watch(void)
{
    static const char events[] = "{\"result\":{\"events\":["
                                 "{\"kv\":{\"key\":\"L3kvYQ==\"}},{\"type\":\"DELETE\",\"kv\":"
                                 "{\"key\":\"L3kvYmI=\"}},{\"kv\":{\"key\":\"L3gvYQ==\"}},"
                                 "{\"kv\":{\"key\":\"L3kv\"}},{\"kv\":{\"key\":\"?\"}},7]}}";
    static const char *const ends[][2] = {
        {"{\"result\":{\"canceled\":true,\"cancel_reason\":\"compacted\"}}", "compacted"},
        {"{\"error\":{\"grpc_code\":14,\"message\":\"no leader\"}}", "no leader"},
        {"{\"message\":\"invalid auth token\",\"code\":16}", "invalid auth token"},
        {"[", "it makes no sense"},
    };
    char reason[ETCD_REASON_SIZE] = "";
    g_autoptr(GString) names = g_string_new(NULL);
    g_assert_true(etcd_watch_read(events, strlen(events), "/y/", note, names, reason));
    g_assert_cmpstr(names->str, ==, "a;bb;"); /* below the prefix, and with a name */
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_assert_false(etcd_watch_read(ends[i][0], strlen(ends[i][0]), "/y/", note, names, reason));
        g_assert_cmpstr(reason, ==, ends[i][1]);
    }
    g_assert_cmpstr(names->str, ==, "a;bb;");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/etcd/bodies", test_bodies);
    g_test_add_func("/etcd/values", test_values);
    g_test_add_func("/etcd/refusals", test_refusals);
    g_test_add_func("/etcd/watch", test_watch);
    return g_test_run();
}
