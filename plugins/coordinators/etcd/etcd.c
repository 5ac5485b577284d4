/* Coordinator "etcd": the registers of a cluster as keys of an etcd that is there already.
 *
 * The client has a thread of its own; what it says is taken when the host calls woken(). A register
 * that goes back, since etcd was put back from a copy or the key was deleted, is not believed: the
 * greatest revision of each is an entry of the host, "revisions", with a line "NAME REVISION" for
 * each. It is stored a while after it has grown: it guards against operators, not against crashes.
 */
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>
#include <glib.h>

#include "plugins/coordinators/etcd/client.h"

static const char marks_name[] = "revisions";
enum { STORE_AFTER_MS = 1000, COMPLAINT_MS = 10000, PASSWORD_SIZE_MAX = 4096 };

struct etcd {
    const struct yk_host *host;
    struct yk_coordinator_port *port;
    struct etcd_settings settings;
    char *password_file;
    struct etcd_client *client;
    GHashTable *watched; /* names */
    GHashTable *marks;   /* name -> uint64_t *: the greatest revision seen */
    bool is_dirty;       /* the marks are to be stored, and the timer is set */
    uint64_t complaint_ms;
};

static enum yk_err
etcd_create(const struct yk_host *host, void **ret_self)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        host->error(host, "libcurl does not start");
        return YK_ENOMEM;
    }
    struct etcd *self = g_new0(struct etcd, 1);
    self->host = self->settings.host = host;
    self->watched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->marks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    *ret_self = self;
    return YK_OK;
}

static void
etcd_destroy(void *arg)
{
    struct etcd *self = arg;
    g_hash_table_unref(self->watched);
    g_hash_table_unref(self->marks);
    g_strfreev(self->settings.endpoints);
    g_free(self->settings.prefix);
    g_free(self->settings.ca_file);
    g_free(self->settings.cert_file);
    g_free(self->settings.key_file);
    g_free(self->settings.user);
    g_free(self->settings.password);
    g_free(self->password_file);
    g_free(self);
    curl_global_cleanup();
}

/* Options */

static char *
text_of(const struct yk_option_value *value)
{
    return *value->text != '\0' ? g_strdup(value->text) : NULL;
}

static enum yk_err
etcd_config(void *arg, const char *name, const struct yk_option_value *value)
{
    struct etcd *self = arg;
    struct etcd_settings *settings = &self->settings;
    if (strcmp(name, "endpoints") == 0) {
        settings->endpoints = g_strdupv((char **)(uintptr_t)value->list);
    } else if (strcmp(name, "prefix") == 0) {
        settings->prefix = g_strdup(value->text);
    } else if (strcmp(name, "ca_file") == 0) {
        settings->ca_file = text_of(value);
    } else if (strcmp(name, "cert_file") == 0) {
        settings->cert_file = text_of(value);
    } else if (strcmp(name, "key_file") == 0) {
        settings->key_file = text_of(value);
    } else if (strcmp(name, "user") == 0) {
        settings->user = text_of(value);
    } else if (strcmp(name, "password_file") == 0) {
        self->password_file = text_of(value);
    } else if (strcmp(name, "timeout") == 0) {
        settings->timeout_ms = value->number / 1000;
    } else if (strcmp(name, "compact") == 0) {
        settings->compact_ms = value->number / 1000;
    } else {
        return YK_EINVALID;
    }
    return YK_OK;
}

/* Takes a '/' off the end, and refuses what is no address. */
static bool
check_endpoint(char *endpoint)
{
    const char *host = g_str_has_prefix(endpoint, "http://")    ? endpoint + 7
                       : g_str_has_prefix(endpoint, "https://") ? endpoint + 8
                                                                : NULL;
    if (host == NULL) {
        return false;
    }
    size_t size = strlen(endpoint);
    if (endpoint[size - 1] == '/') {
        endpoint[size - 1] = '\0';
    }
    return *host != '\0' && strpbrk(host, "/?#@ ") == NULL;
}

static enum yk_err
etcd_config_done(void *arg)
{
    struct etcd *self = arg;
    const struct etcd_settings *settings = &self->settings;
    bool has_https = false, has_http = false;
    for (char **endpoint = settings->endpoints; *endpoint != NULL; endpoint++) {
        if (!check_endpoint(*endpoint)) {
            self->host->error(self->host,
                              "endpoints: '%s' is no address of etcd: write http://HOST:PORT or "
                              "https://HOST:PORT",
                              *endpoint);
            return YK_EINVALID;
        }
        bool is_https = g_str_has_prefix(*endpoint, "https://");
        has_https = has_https || is_https;
        has_http = has_http || !is_https;
    }
    const char *reason = NULL;
    if (has_http && (settings->ca_file != NULL || settings->cert_file != NULL)) {
        reason = "ca_file and cert_file are for TLS, and an endpoint begins with http://: write "
                 "https:// for all of them, or remove the files";
    } else if ((settings->cert_file == NULL) != (settings->key_file == NULL)) {
        reason = "cert_file and key_file go together: give both, or none";
    } else if ((settings->user == NULL) != (self->password_file == NULL)) {
        reason = "user and password_file go together: give both, or none";
    }
    if (reason != NULL) {
        self->host->error(self->host, "%s", reason);
        return YK_EINVALID;
    }
    return YK_OK;
}

/* Life */

static enum yk_err
read_password(struct etcd *self)
{
    g_autoptr(GError) error = NULL;
    gsize size;
    if (!g_file_get_contents(self->password_file, &self->settings.password, &size, &error)) {
        self->host->error(self->host, "password_file: %s", error->message);
        return YK_EIO;
    }
    g_strchomp(self->settings.password);
    if (*self->settings.password == '\0' || size > PASSWORD_SIZE_MAX ||
        !g_utf8_validate(self->settings.password, -1, NULL)) {
        self->host->error(self->host,
                          "password_file: %s must have one line of text, the password, of at most "
                          "%d bytes",
                          self->password_file, PASSWORD_SIZE_MAX);
        return YK_EINVALID;
    }
    return YK_OK;
}

static enum yk_err
check_file(const struct etcd *self, const char *option, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    if (path != NULL && !g_file_get_contents(path, &text, NULL, &error)) {
        self->host->error(self->host, "%s: %s", option, error->message);
        return YK_EIO;
    }
    return YK_OK;
}

static void
wake(void *arg)
{
    const struct etcd *self = arg;
    self->port->wake(self->port);
}

static enum yk_err
etcd_open(void *arg, struct yk_coordinator_port *port)
{
    struct etcd *self = arg;
    self->port = port;
    enum yk_err result = self->password_file != NULL ? read_password(self) : YK_OK;
    if (result == YK_OK) {
        result = check_file(self, "ca_file", self->settings.ca_file);
    }
    if (result == YK_OK) {
        result = check_file(self, "cert_file", self->settings.cert_file);
    }
    if (result == YK_OK) {
        result = check_file(self, "key_file", self->settings.key_file);
    }
    return result;
}

/* Marks */

static void
etcd_loaded(void *arg, const char *name, struct yk_slice bytes)
{
    struct etcd *self = arg;
    if (strcmp(name, marks_name) != 0) {
        return;
    }
    g_autofree char *text = g_strndup(bytes.data, bytes.size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        char *space = strchr(*line, ' ');
        uint64_t revision;
        if (space != NULL &&
            g_ascii_string_to_unsigned(space + 1, 10, 1, G_MAXINT64, &revision, NULL)) {
            *space = '\0';
            g_hash_table_replace(self->marks, g_strdup(*line),
                                 g_memdup2(&revision, sizeof(revision)));
        }
    }
}

static gint
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(a, b);
}

static void
store_marks(struct etcd *self)
{
    g_autoptr(GString) text = g_string_new(NULL);
    GList *names = g_list_sort(g_hash_table_get_keys(self->marks), compare_names);
    for (const GList *at = names; at != NULL; at = at->next) {
        const uint64_t *revision = g_hash_table_lookup(self->marks, at->data);
        g_string_append_printf(text, "%s %" G_GUINT64_FORMAT "\n", (const char *)at->data,
                               *revision);
    }
    g_list_free(names);
    self->port->store(self->port, marks_name, yk_slice_of(text->str, text->len), 0);
}

static void
etcd_timer(void *arg, uint64_t now_ms)
{
    struct etcd *self = arg;
    if (self->is_dirty) {
        self->is_dirty = false;
        store_marks(self);
    }
}

/* False: the register has gone back. */
static bool
note_revision(struct etcd *self, const char *name, uint64_t revision)
{
    const uint64_t *mark = g_hash_table_lookup(self->marks, name);
    uint64_t seen = mark != NULL ? *mark : 0;
    uint64_t now_ms = self->host->now_ms(self->host);
    if (revision > seen) {
        g_hash_table_replace(self->marks, g_strdup(name), g_memdup2(&revision, sizeof(revision)));
        if (!self->is_dirty) {
            self->is_dirty = true;
            self->port->set_timer(self->port, now_ms + STORE_AFTER_MS);
        }
    } else if (revision < seen && now_ms >= self->complaint_ms) {
        self->complaint_ms = now_ms + COMPLAINT_MS;
        self->host->log(self->host, YK_LOG_ERROR,
                        "the register %s went back from revision %" G_GUINT64_FORMAT
                        " to %" G_GUINT64_FORMAT " (key %s%s): was etcd put back from a copy, or "
                        "the key deleted? Nothing is done by it. To go on with what is there, "
                        "stop this manager and remove registers/%s from its data folder",
                        name, seen, revision, self->settings.prefix, name, marks_name);
    }
    return revision >= seen;
}

/* Questions */

static void
etcd_read(void *arg, const char *name, uint64_t token)
{
    struct etcd *self = arg;
    etcd_client_read(self->client, name, token);
}

static void
etcd_write(void *arg, const char *name, struct yk_slice bytes, uint64_t if_revision, uint64_t token)
{
    struct etcd *self = arg;
    if (bytes.size > ETCD_VALUE_SIZE_MAX) {
        struct yk_register_answer answer = {.struct_size = sizeof(answer),
                                            .result = YK_REGISTER_FAILED};
        self->port->answer(self->port, token, &answer);
        return;
    }
    etcd_client_write(self->client, name, bytes, if_revision, token);
}

static void
etcd_watch(void *arg, const char *name)
{
    struct etcd *self = arg;
    g_hash_table_add(self->watched, g_strdup(name));
}

static void
take_change(struct etcd *self, const char *name)
{
    GHashTableIter iter;
    gpointer watched;
    g_hash_table_iter_init(&iter, self->watched);
    while (g_hash_table_iter_next(&iter, &watched, NULL)) {
        if (*name == '\0' || strcmp(name, watched) == 0) {
            self->port->changed(self->port, watched);
        }
    }
}

static void
take_end(struct etcd *self, const struct etcd_news *news)
{
    struct yk_register_answer answer = {.struct_size = sizeof(answer),
                                        .result = news->result,
                                        .revision = news->revision,
                                        .bytes = yk_slice_of(news->bytes, news->size)};
    bool has_revision = news->result == YK_REGISTER_OK || news->result == YK_REGISTER_CONFLICT;
    if (has_revision && !note_revision(self, news->name, news->revision)) {
        answer = (struct yk_register_answer){.struct_size = sizeof(answer),
                                             .result = YK_REGISTER_UNKNOWN};
    }
    self->port->answer(self->port, news->token, &answer);
}

static void
etcd_woken(void *arg)
{
    struct etcd *self = arg;
    for (struct etcd_news *news = etcd_client_take(self->client); news != NULL;) {
        struct etcd_news *next = news->next;
        if (news->changed != NULL) {
            take_change(self, news->changed);
        } else {
            take_end(self, news);
        }
        etcd_news_free(news);
        news = next;
    }
}

/* The client is begun when the marks are there. */
static enum yk_err
etcd_ready(void *arg)
{
    struct etcd *self = arg;
    self->settings.wake = wake;
    self->settings.arg = self;
    self->client = etcd_client_open(&self->settings);
    if (self->client == NULL) {
        self->host->error(self->host, "there is no thread to be had");
        return YK_ENOMEM;
    }
    return YK_OK;
}

static void
etcd_close(void *arg)
{
    struct etcd *self = arg;
    etcd_client_close(self->client);
    self->client = NULL;
}

static const struct yk_option etcd_options[] = {
    {YK_OPTION_HEAD, YK_OPTION_LIST, 0, "endpoints", "http://127.0.0.1:2379", 1, 16, NULL,
     "The members of etcd, as http://HOST:PORT or https://HOST:PORT. One that does not answer is "
     "left for the next."},
    {YK_OPTION_HEAD, YK_OPTION_STRING, 0, "prefix", "/yakumo/", 1, 200, NULL,
     "What the keys of this cluster begin with; no other cluster may have the same, nor one that "
     "begins with it."},
    {YK_OPTION_HEAD, YK_OPTION_STRING, 0, "ca_file", NULL, 0, 4095, NULL,
     "Certificates (PEM) by which those of https endpoints are checked. Without it: the "
     "system's."},
    {YK_OPTION_HEAD, YK_OPTION_STRING, 0, "cert_file", NULL, 0, 4095, NULL,
     "Certificate (PEM) that is shown to https endpoints which ask for one. etcd's gateway takes "
     "it for who may connect, and not for a user's name: where etcd has users, it refuses one with "
     "a common name."},
    {YK_OPTION_HEAD, YK_OPTION_STRING, 0, "key_file", NULL, 0, 4095, NULL,
     "Key (PEM, without a password) of cert_file."},
    {YK_OPTION_HEAD, YK_OPTION_STRING, 0, "user", NULL, 0, 255, NULL,
     "User of etcd, who may read and write the keys below prefix. Without it: none, for an etcd "
     "without authentication."},
    {YK_OPTION_HEAD, YK_OPTION_STRING, 0, "password_file", NULL, 0, 4095, NULL,
     "File whose one line is the user's password; it should be readable by nobody else."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "timeout", "1s", 50000, 60000000, NULL,
     "How long one member of etcd is given for an answer. A read then asks the next one; a write "
     "that may have been done ends without an outcome, and is judged anew."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "compact", NULL, 1000000, 0, NULL,
     "How often etcd is told to forget the history of all its keys up to the time before. etcd "
     "keeps each version of a register until then, and takes no writes when its quota is full. "
     "Without it: never, for an etcd that does so itself (--auto-compaction-retention) or that "
     "others use as well."},
};

static const struct yk_coordinator_ops etcd_ops = {
    .struct_size = sizeof(etcd_ops),
    .life = {.create = etcd_create,
             .config = etcd_config,
             .config_done = etcd_config_done,
             .destroy = etcd_destroy},
    .open = etcd_open,
    .close = etcd_close,
    .read = etcd_read,
    .write = etcd_write,
    .watch = etcd_watch,
    .loaded = etcd_loaded,
    .timer = etcd_timer,
    .ready = etcd_ready,
    .woken = etcd_woken,
};

YK_PLUGIN(etcd) = {
    YK_PLUGIN_HEAD(YK_KIND_COORDINATOR, YK_COORDINATOR_ABI),
    .name = "etcd",
    .version = "1",
    .summary = "keeps a cluster's registers in an etcd that is there already",
    .details =
        "For those who run etcd (3.4 or newer), or whose managers come and go: any number of "
        "managers will do, and they keep nothing that cannot be lost. It speaks to the JSON "
        "gateway, which is on the same port as the rest of etcd.\n\n"
        "Each register is one key, written by a transaction that compares its revision; all are "
        "read linearizably. While etcd does not answer, or has no majority, the members of slots "
        "cannot change; data is served all the same.\n\n"
        "A register that goes back, since etcd was put back from a copy or a key was deleted, is "
        "not believed: the manager says so in its log and changes nothing. The greatest revisions "
        "that it has seen are in its data folder, in the file registers/revisions.",
    .n_options = sizeof(etcd_options) / sizeof(etcd_options[0]),
    .options = etcd_options,
    .ops = &etcd_ops,
};
