/* The thread: transfers of libcurl, each for a question, a login, a compaction or the watch. */
#include "plugins/coordinators/etcd/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>
#include <glib.h>

enum kind { READ, WRITE, LOGIN, COMPACT, WATCH };

static const char *const paths[] = {
    [READ] = "/v3/kv/range",         [WRITE] = "/v3/kv/txn", [LOGIN] = "/v3/auth/authenticate",
    [COMPACT] = "/v3/kv/compaction", [WATCH] = "/v3/watch",
};

enum {
    LOGINS_MAX = 2,        /* of one question */
    WATCH_AGAIN_MS = 1000, /* after a watch has ended */
    COMPLAINT_MS = 10000,  /* between two lines of the log about the same */
    POLL_MS = 1000,        /* at the most, without events */
    TCP_KEEPALIVE_S = 5,
};

/* A question to etcd, until it has ended; most have one transfer, some wait for a login. */
struct question {
    enum kind kind;
    struct etcd_client *client;
    char *name, *body; /* name: READ and WRITE; body: freed by free */
    uint8_t *bytes;    /* WRITE: what is to be written */
    size_t size;
    uint64_t if_revision, token;
    uint32_t n_tries, n_logins;
    uint32_t endpoint; /* that it was sent to */
    uint32_t login;    /* which login's token it was sent with */
    bool may_be_done;  /* some try of it */
    CURL *easy;
    struct curl_slist *headers;
    GByteArray *response; /* of a watch: what was not read yet */
    bool is_bad;          /* of a watch: it is over */
    char error[CURL_ERROR_SIZE];
};

struct etcd_client {
    const struct etcd_settings *settings;
    const struct yk_host *host;
    uint32_t n_endpoints;
    CURLM *multi;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock;
    GQueue asked;                       /* under lock: questions that the thread has not seen */
    struct etcd_news *news, **news_end; /* under lock */
    bool is_over;                       /* under lock */

    /* The thread's own. */
    GPtrArray *running; /* questions with a transfer */
    GQueue waiting;     /* those that wait for the login */
    uint32_t endpoint;  /* that answered last */
    char *token;        /* "Authorization: TOKEN"; NULL: none */
    uint32_t n_logins;
    bool is_logging_in, is_watching;
    uint64_t watch_ms, compact_ms; /* when to begin the next */
    uint64_t store_revision;       /* the greatest seen */
    uint64_t compact_revision;     /* as it was when compaction was thought of last */
    uint64_t complaint_ms;         /* when the last one was made; 0: all is well */
};

static uint64_t
now_ms(const struct etcd_client *client)
{
    return client->host->now_us(client->host) / 1000;
}

/* News */

void
etcd_news_free(struct etcd_news *news)
{
    g_free(news->changed);
    g_free(news->name);
    g_free(news->bytes);
    g_free(news);
}

static void
tell(struct etcd_client *client, struct etcd_news *news)
{
    pthread_mutex_lock(&client->lock);
    bool is_first = client->news == NULL;
    *client->news_end = news;
    client->news_end = &news->next;
    pthread_mutex_unlock(&client->lock);
    if (is_first) {
        client->settings->wake(client->settings->arg);
    }
}

static void
tell_changed(void *arg, const char *name)
{
    struct etcd_news *news = g_new0(struct etcd_news, 1);
    news->changed = g_strdup(name);
    tell(arg, news);
}

/* Takes over the answer's bytes. */
static void
tell_end(struct question *question, enum yk_register_result result, struct etcd_answer *answer)
{
    struct etcd_news *news = g_new0(struct etcd_news, 1);
    news->token = question->token;
    news->name = g_steal_pointer(&question->name);
    news->result = (uint32_t)result;
    if (answer != NULL) {
        news->revision = answer->revision;
        news->size = question->kind == READ ? answer->size : 0;
        news->bytes = question->kind == READ ? g_steal_pointer(&answer->bytes) : NULL;
    }
    tell(question->client, news);
}

struct etcd_news *
etcd_client_take(struct etcd_client *client)
{
    pthread_mutex_lock(&client->lock);
    struct etcd_news *news = client->news;
    client->news = NULL;
    client->news_end = &client->news;
    pthread_mutex_unlock(&client->lock);
    return news;
}

/* The log */

static void
complain(struct etcd_client *client, uint32_t endpoint, const char *reason)
{
    uint64_t now = now_ms(client);
    if (client->complaint_ms != 0 && now < client->complaint_ms + COMPLAINT_MS) {
        return;
    }
    client->complaint_ms = now;
    client->host->log(client->host, YK_LOG_WARNING, "etcd at %s: %s",
                      client->settings->endpoints[endpoint], reason);
}

static void
praise(struct etcd_client *client, uint32_t endpoint)
{
    if (client->complaint_ms != 0) {
        client->host->log(client->host, YK_LOG_NOTICE, "etcd at %s answers",
                          client->settings->endpoints[endpoint]);
    }
    client->complaint_ms = 0;
}

/* Transfers */

static void
question_free(struct question *question)
{
    if (question->easy != NULL) {
        curl_easy_cleanup(question->easy);
    }
    curl_slist_free_all(question->headers);
    g_clear_pointer(&question->response, g_byte_array_unref);
    g_free(question->name);
    free(question->body);
    g_free(question->bytes);
    g_free(question);
}

/* What has come of the watch so far: values with newlines behind them. */
static void
read_stream(struct question *watch)
{
    struct etcd_client *client = watch->client;
    const guint8 *end;
    while (!watch->is_bad &&
           (end = memchr(watch->response->data, '\n', watch->response->len)) != NULL) {
        size_t size = (size_t)(end - watch->response->data);
        char reason[ETCD_REASON_SIZE];
        if (size > 0 && !etcd_watch_read((const char *)watch->response->data, size,
                                         client->settings->prefix, tell_changed, client, reason)) {
            complain(client, watch->endpoint, reason);
            watch->is_bad = true;
        }
        g_byte_array_remove_range(watch->response, 0, (guint)size + 1);
    }
}

static size_t
receive(char *bytes, size_t size, size_t n, void *arg)
{
    struct question *question = arg;
    if (question->response->len + size * n > ETCD_ANSWER_SIZE_MAX) {
        return 0;
    }
    g_byte_array_append(question->response, (const guint8 *)bytes, (guint)(size * n));
    if (question->kind == WATCH) {
        read_stream(question);
    }
    return question->is_bad ? 0 : size * n;
}

static void
set_tls(CURL *easy, const struct etcd_settings *settings)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (settings->ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
    }
    if (settings->cert_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, settings->cert_file);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, settings->key_file);
    }
}

static void
set_times(CURL *easy, const struct question *question, const struct etcd_settings *settings)
{
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)settings->timeout_ms);
    if (question->kind != WATCH) {
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)settings->timeout_ms);
    }
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)TCP_KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)TCP_KEEPALIVE_S);
}

/* Begins a transfer of the question to the member that answered last. */
static void
begin(struct question *question)
{
    struct etcd_client *client = question->client;
    const struct etcd_settings *settings = client->settings;
    CURL *easy = curl_easy_init();
    question->easy = easy;
    question->endpoint = client->endpoint;
    question->login = client->n_logins;
    question->n_tries++;
    question->response = g_byte_array_new();
    question->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (client->token != NULL && question->kind != LOGIN) {
        question->headers = curl_slist_append(question->headers, client->token);
    }
    g_autofree char *url =
        g_strconcat(settings->endpoints[question->endpoint], paths[question->kind], NULL);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, question->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, question->body);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, question);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, question);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, question->error);
    set_tls(easy, settings);
    set_times(easy, question, settings);
    g_ptr_array_add(client->running, question);
    curl_multi_add_handle(client->multi, easy);
}

/* The transfer is over; the question may be begun again. */
static void
end_transfer(struct question *question)
{
    struct etcd_client *client = question->client;
    curl_multi_remove_handle(client->multi, question->easy);
    g_ptr_array_remove_fast(client->running, question);
    curl_easy_cleanup(question->easy);
    curl_slist_free_all(question->headers);
    g_clear_pointer(&question->response, g_byte_array_unref);
    question->easy = NULL;
    question->headers = NULL;
    question->error[0] = '\0';
}

/* Logins */

static struct question *
question_new(struct etcd_client *client, enum kind kind, char *body)
{
    struct question *question = g_new0(struct question, 1);
    question->client = client;
    question->kind = kind;
    question->body = body;
    return question;
}

static void
log_in(struct etcd_client *client)
{
    if (!client->is_logging_in) {
        client->is_logging_in = true;
        g_clear_pointer(&client->token, g_free);
        begin(question_new(client, LOGIN,
                           etcd_login_body(client->settings->user, client->settings->password)));
    }
}

/* Begins it, when whoever asks is known. */
static void
ask(struct question *question)
{
    struct etcd_client *client = question->client;
    if (client->settings->user != NULL && client->token == NULL) {
        g_queue_push_tail(&client->waiting, question);
        log_in(client);
    } else {
        begin(question);
    }
}

/* The end of a question that was not answered, or not as it should have been. */
static void
give_up(struct question *question, enum yk_register_result result)
{
    struct etcd_client *client = question->client;
    switch (question->kind) {
    case READ:
        tell_end(question, YK_REGISTER_UNKNOWN, NULL);
        break;
    case WRITE:
        tell_end(question, result, NULL);
        break;
    case LOGIN:
        client->is_logging_in = false;
        for (struct question *next = g_queue_pop_head(&client->waiting); next != NULL;
             next = g_queue_pop_head(&client->waiting)) {
            give_up(next, next->may_be_done ? YK_REGISTER_UNKNOWN : YK_REGISTER_FAILED);
        }
        break;
    case WATCH:
        client->is_watching = false;
        client->watch_ms = now_ms(client) + WATCH_AGAIN_MS;
        break;
    case COMPACT:
        break;
    }
    question_free(question);
}

static void
logged_in(struct etcd_client *client, const struct etcd_answer *answer)
{
    client->is_logging_in = false;
    client->n_logins++;
    client->token = g_strdup_printf("Authorization: %s", answer->token);
    for (struct question *next = g_queue_pop_head(&client->waiting); next != NULL;
         next = g_queue_pop_head(&client->waiting)) {
        begin(next);
    }
}

/* Ends of transfers */

static bool
holds(const struct question *question, const struct etcd_answer *answer)
{
    return answer->size == question->size && question->size > 0 &&
           memcmp(answer->bytes, question->bytes, question->size) == 0;
}

static void
end_write(struct question *question, struct etcd_answer *answer)
{
    enum yk_register_result result = YK_REGISTER_OK;
    if (!answer->is_written) {
        /* libcurl sends again by itself what a connection from before did not take, and a try may
         * have been done that was not answered: then what is there may be this write. */
        bool is_unsure = question->may_be_done ||
                         (answer->revision > question->if_revision && holds(question, answer));
        result = is_unsure ? YK_REGISTER_UNKNOWN : YK_REGISTER_CONFLICT;
    }
    tell_end(question, result, answer);
}

static void
end_well(struct question *question, struct etcd_answer *answer)
{
    struct etcd_client *client = question->client;
    client->store_revision = MAX(client->store_revision, answer->store_revision);
    praise(client, question->endpoint);
    if (question->kind == READ) {
        tell_end(question, YK_REGISTER_OK, answer);
    } else if (question->kind == WRITE) {
        end_write(question, answer);
    } else if (question->kind == LOGIN && answer->token == NULL) {
        complain(client, question->endpoint, "it lets the user in without a token");
        give_up(question, YK_REGISTER_FAILED);
        return;
    } else if (question->kind == LOGIN) {
        logged_in(client, answer);
    }
    question_free(question);
}

/* Did libcurl end before anything was sent? */
static bool
is_unsent(CURL *easy, CURLcode code)
{
    curl_off_t sent_us = 0;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return true;
    case CURLE_OPERATION_TIMEDOUT:
        return curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us) == CURLE_OK &&
               sent_us == 0;
    default:
        return false;
    }
}

/* What the end of a transfer says. */
static void
read_end(struct question *question, CURLcode code, struct etcd_answer *ret_answer)
{
    long status = 0;
    curl_easy_getinfo(question->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK) {
        etcd_answer_read((const char *)question->response->data, question->response->len, status,
                         ret_answer);
        return;
    }
    *ret_answer = (struct etcd_answer){.outcome = is_unsent(question->easy, code) ? ETCD_NOT_ETCD
                                                                                  : ETCD_UNCLEAR};
    snprintf(ret_answer->reason, sizeof(ret_answer->reason), "%s",
             question->error[0] != '\0' ? question->error : curl_easy_strerror(code));
}

static void
end_badly(struct question *question, const struct etcd_answer *answer)
{
    struct etcd_client *client = question->client;
    bool may_ask_again = question->n_tries < client->n_endpoints + question->n_logins;
    question->may_be_done = question->may_be_done || answer->outcome == ETCD_UNCLEAR;
    bool is_unsure = question->kind == WRITE && question->may_be_done;
    if (answer->outcome == ETCD_LOGIN && client->settings->user != NULL &&
        question->kind != LOGIN && question->n_logins < LOGINS_MAX) {
        question->n_logins++;
        if (question->login == client->n_logins) {
            g_clear_pointer(&client->token, g_free);
        }
        ask(question);
        return;
    }
    /* Another manager may have been first with a compaction. */
    if (question->kind != COMPACT || strstr(answer->reason, "compacted") == NULL) {
        complain(client, question->endpoint, answer->reason);
    }
    bool is_member_bad = answer->outcome == ETCD_NOT_ETCD || answer->outcome == ETCD_UNCLEAR;
    if (is_member_bad && client->endpoint == question->endpoint) {
        client->endpoint = (client->endpoint + 1) % client->n_endpoints;
    }
    if (is_member_bad && may_ask_again && !is_unsure && question->kind != WATCH) {
        ask(question);
    } else {
        give_up(question, is_unsure ? YK_REGISTER_UNKNOWN : YK_REGISTER_FAILED);
    }
}

static void
end(struct question *question, CURLcode code)
{
    struct etcd_answer answer;
    read_end(question, code, &answer);
    if (question->kind == WATCH && answer.outcome == ETCD_DONE) {
        answer.outcome = ETCD_UNCLEAR;
        snprintf(answer.reason, sizeof(answer.reason), "the watch has ended");
    }
    end_transfer(question);
    if (answer.outcome == ETCD_DONE) {
        end_well(question, &answer);
    } else if (question->kind == LOGIN) {
        /* As begun anew elsewhere it needs no login before it. */
        complain(question->client, question->endpoint, answer.reason);
        question->client->endpoint = (question->endpoint + 1) % question->client->n_endpoints;
        if (answer.outcome != ETCD_REFUSED && question->n_tries < question->client->n_endpoints) {
            begin(question);
        } else {
            give_up(question, YK_REGISTER_FAILED);
        }
    } else {
        end_badly(question, &answer);
    }
    etcd_answer_done(&answer);
}

/* The thread */

static bool
take_asked(struct etcd_client *client)
{
    pthread_mutex_lock(&client->lock);
    GQueue asked = client->asked;
    g_queue_init(&client->asked);
    bool is_over = client->is_over;
    pthread_mutex_unlock(&client->lock);
    for (struct question *question = g_queue_pop_head(&asked); question != NULL;
         question = g_queue_pop_head(&asked)) {
        ask(question);
    }
    return !is_over;
}

static void
begin_watch(struct etcd_client *client)
{
    client->is_watching = true;
    ask(question_new(client, WATCH, etcd_watch_body(client->settings->prefix)));
    tell_changed(client, ""); /* whatever was changed while nobody watched */
}

/* What was changed before the last time this was thought of is forgotten. */
static void
begin_compaction(struct etcd_client *client)
{
    client->compact_ms = now_ms(client) + client->settings->compact_ms;
    if (client->compact_revision != 0) {
        ask(question_new(client, COMPACT, etcd_compact_body(client->compact_revision)));
    }
    client->compact_revision = client->store_revision;
}

static void *
run(void *arg)
{
    struct etcd_client *client = arg;
    while (take_asked(client)) {
        if (!client->is_watching && now_ms(client) >= client->watch_ms) {
            begin_watch(client);
        }
        if (client->settings->compact_ms > 0 && now_ms(client) >= client->compact_ms) {
            begin_compaction(client);
        }
        int n;
        curl_multi_perform(client->multi, &n);
        for (CURLMsg *message = curl_multi_info_read(client->multi, &n); message != NULL;
             message = curl_multi_info_read(client->multi, &n)) {
            CURLcode code = message->data.result;
            char *question;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &question);
            end((struct question *)(void *)question, code);
        }
        curl_multi_poll(client->multi, NULL, 0, POLL_MS, NULL);
    }
    return NULL;
}

/* Life */

struct etcd_client *
etcd_client_open(const struct etcd_settings *settings)
{
    struct etcd_client *client = g_new0(struct etcd_client, 1);
    client->settings = settings;
    client->host = settings->host;
    client->n_endpoints = g_strv_length(settings->endpoints);
    client->endpoint = (uint32_t)(settings->host->random(settings->host) % client->n_endpoints);
    client->news_end = &client->news;
    client->running = g_ptr_array_new();
    pthread_mutex_init(&client->lock, NULL);
    g_queue_init(&client->asked);
    g_queue_init(&client->waiting);
    client->multi = curl_multi_init();
    client->has_thread =
        client->multi != NULL && pthread_create(&client->thread, NULL, run, client) == 0;
    if (!client->has_thread) {
        etcd_client_close(client);
        return NULL;
    }
    return client;
}

static void
free_questions(GQueue *queue)
{
    for (struct question *question = g_queue_pop_head(queue); question != NULL;
         question = g_queue_pop_head(queue)) {
        question_free(question);
    }
}

void
etcd_client_close(struct etcd_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->has_thread) {
        pthread_mutex_lock(&client->lock);
        client->is_over = true;
        pthread_mutex_unlock(&client->lock);
        curl_multi_wakeup(client->multi);
        pthread_join(client->thread, NULL);
    }
    while (client->running->len > 0) {
        struct question *question = g_ptr_array_index(client->running, client->running->len - 1);
        end_transfer(question);
        question_free(question);
    }
    free_questions(&client->asked);
    free_questions(&client->waiting);
    for (struct etcd_news *news = etcd_client_take(client); news != NULL;) {
        struct etcd_news *next = news->next;
        etcd_news_free(news);
        news = next;
    }
    g_ptr_array_unref(client->running);
    if (client->multi != NULL) {
        curl_multi_cleanup(client->multi);
    }
    pthread_mutex_destroy(&client->lock);
    g_free(client->token);
    g_free(client);
}

/* Questions */

static void
hand_over(struct question *question)
{
    struct etcd_client *client = question->client;
    pthread_mutex_lock(&client->lock);
    g_queue_push_tail(&client->asked, question);
    pthread_mutex_unlock(&client->lock);
    curl_multi_wakeup(client->multi);
}

void
etcd_client_read(struct etcd_client *client, const char *name, uint64_t token)
{
    struct question *question =
        question_new(client, READ, etcd_range_body(client->settings->prefix, name));
    question->name = g_strdup(name);
    question->token = token;
    hand_over(question);
}

void
etcd_client_write(struct etcd_client *client, const char *name, struct yk_slice bytes,
                  uint64_t if_revision, uint64_t token)
{
    struct question *question = question_new(
        client, WRITE, etcd_put_body(client->settings->prefix, name, bytes, if_revision));
    question->name = g_strdup(name);
    question->bytes = g_memdup2(bytes.data, bytes.size);
    question->size = bytes.size;
    question->if_revision = if_revision;
    question->token = token;
    hand_over(question);
}
