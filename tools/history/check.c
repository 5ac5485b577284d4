/* yakumo check-history FILE...: is there for each key an order of its operations that explains what
 * the clients were told? */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/limits.h"
#include "tools/history/record.h"
#include "tools/history/report.h"
#include "tools/verb.h"

#define LINE_SIZE_MAX  (8 * YK_MIB)
#define BYTES_MAX      (4 * YK_GIB) /* of values and operations in memory */
#define OPERATIONS_MAX 5000000u
#define STATES_MAX     3000000
#define STATES_MOST    100000000
#define SLACK_MS       1100 /* a lease, or the second in which memcached counts */
#define SLACK_MOST_MS  3600000
#define PROGRESS_LINES 1000000

static const char help[] =
    "A FILE ('-': standard input) has one operation a line, a JSON object with these fields:\n"
    "  op       get, gets, gat, set, add, replace, append, prepend, cas, incr, decr, delete, "
    "touch\n"
    "           or flush\n"
    "  key      a text; none of a flush, which is of all keys\n"
    "  client   a number; a client asks its next operation when it has its answer\n"
    "  start    when it was asked, in nanoseconds of one clock for all clients\n"
    "  end      when the answer came; absent or null: none came\n"
    "  result   ok (done; found), miss, refused, exists, not_number, failed (surely not done),\n"
    "           or unknown (it may have happened, or may still; the same without an end)\n"
    "  value    what was written, or found by a get; or value64, in base64\n"
    "  flags    of a value; 0 if not given\n"
    "  cas      of a cas: the number that it asked for; of a get: the one that was shown\n"
    "  delta, shown   of incr and decr: by how much, and the number answered\n"
    "  expiry   in seconds from then; 0: never, -1: at once\n"
    "The clients of a file are others than those of another file.\n"
    "Lines may be in any order. Keys hold nothing at first: what was there before must be written "
    "in\n"
    "the history. Values that differ from each other find the most.\n"
    "\n"
    "Ends with 0: linearizable; 1: it is not; 2: wrong usage or a line that is none; 3: a key had "
    "too\n"
    "many orders to look at, and none is wrong.";

struct loader {
    struct history *history;
    GHashTable *numbers; /* GBytes -> number of the key + 1 */
    GHashTable *clients; /* of this file: its number there -> of all files, + 1 */
    struct report *report;
    uint64_t n_bytes;
    uint32_t file;
    uint64_t line;
};

static bool
say(const struct loader *loader, const char *what)
{
    fprintf(stderr, "yakumo check-history: %s:%" G_GUINT64_FORMAT ": %s\n",
            loader->report->files[loader->file], loader->line, what);
    return false;
}

static uint32_t
number_of(struct loader *loader, GBytes *key)
{
    GPtrArray *keys = loader->report->keys;
    gpointer found = g_hash_table_lookup(loader->numbers, key);
    if (found == NULL) {
        g_ptr_array_add(keys, g_bytes_ref(key));
        found = GUINT_TO_POINTER(keys->len);
        g_hash_table_insert(loader->numbers, g_bytes_ref(key), found);
    }
    return GPOINTER_TO_UINT(found) - 1;
}

/* Another file's client of the same number is another client. */
static uint32_t
client_of(struct loader *loader, uint32_t number)
{
    GArray *clients = loader->report->clients;
    gpointer found = g_hash_table_lookup(loader->clients, GUINT_TO_POINTER(number));
    if (found == NULL) {
        g_array_append_val(clients, number);
        found = GUINT_TO_POINTER(clients->len);
        g_hash_table_insert(loader->clients, GUINT_TO_POINTER(number), found);
    }
    return GPOINTER_TO_UINT(found) - 1;
}

/* A read that was not answered says nothing. */
static bool
says_nothing(const struct record *record)
{
    return record->result == RESULT_UNKNOWN &&
           (record->kind == HISTORY_GET || record->kind == HISTORY_GETS);
}

static void
add(struct loader *loader, struct record *record)
{
    uint32_t key = record->key != NULL ? number_of(loader, record->key) : 0;
    loader->report->n_operations++;
    loader->report->n_unknown += record->result == RESULT_UNKNOWN;
    uint32_t client = client_of(loader, record->client);
    if (says_nothing(record)) {
        return;
    }
    struct operation *operation = history_add(loader->history, record->kind, key);
    operation->connection = client;
    operation->number = (uint64_t)loader->file << REPORT_LINE_BITS | loader->line;
    operation->invoked_us = record->start_us;
    operation->returned_us = record->end_us;
    operation->result = record->result;
    operation->value = g_steal_pointer(&record->value);
    operation->flags = record->flags;
    operation->cas = record->cas;
    operation->delta = record->delta;
    operation->shown = record->shown;
    operation->expiry_s = record->expiry_s;
    loader->n_bytes += sizeof(*operation) + 2 * sizeof(void *);
    loader->n_bytes += operation->value != NULL ? g_bytes_get_size(operation->value) + 64 : 0;
}

/* Where a person waits. */
static void
say_progress(const struct loader *loader)
{
    if (loader->report->n_operations % PROGRESS_LINES == 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "yakumo check-history: %" G_GUINT64_FORMAT " operations read\n",
                loader->report->n_operations);
    }
}

static bool
take_line(struct loader *loader, const GString *line)
{
    char error[FLAT_ERROR_SIZE];
    struct record record;
    if (loader->report->n_operations == OPERATIONS_MAX) {
        return say(loader, "one operation more than the 5000000 that can be checked at once");
    }
    if (!record_read(line->str, line->len, &record, error)) {
        return say(loader, error);
    }
    add(loader, &record);
    record_clear(&record);
    say_progress(loader);
    return loader->n_bytes <= BYTES_MAX ||
           say(loader, "more values than the 4 GiB that can be checked at once");
}

/* The next line without its end; false: there is none, or it is too long. */
static bool
read_line(FILE *from, GString *line)
{
    int byte;
    g_string_truncate(line, 0);
    while ((byte = getc_unlocked(from)) != EOF && byte != '\n') {
        g_string_append_c(line, (char)byte);
        if (line->len > LINE_SIZE_MAX) {
            return false;
        }
    }
    return byte != EOF || line->len > 0;
}

static bool
read_lines(struct loader *loader, FILE *from)
{
    g_autoptr(GString) line = g_string_new(NULL);
    for (loader->line = 1; read_line(from, line); loader->line++) {
        if (!take_line(loader, line)) {
            return false;
        }
    }
    if (line->len > LINE_SIZE_MAX) {
        return say(loader, "the line is longer than 8388608 bytes");
    }
    return !ferror(from) || say(loader, g_strerror(errno));
}

static bool
read_file(struct loader *loader)
{
    const char *path = loader->report->files[loader->file];
    FILE *from = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (from == NULL) {
        fprintf(stderr, "yakumo check-history: %s: %s\n", path, g_strerror(errno));
        return false;
    }
    g_hash_table_remove_all(loader->clients);
    bool is_right = read_lines(loader, from);
    if (from != stdin) {
        fclose(from);
    }
    return is_right;
}

static int
by_start(gconstpointer a, gconstpointer b)
{
    const struct operation *left = *(struct operation *const *)a;
    const struct operation *right = *(struct operation *const *)b;
    if (left->invoked_us != right->invoked_us) {
        return left->invoked_us > right->invoked_us ? 1 : -1;
    }
    return (left->number > right->number) - (left->number < right->number);
}

static bool
tell(void *arg, const struct history_finding *finding)
{
    if (finding->verdict != HISTORY_RIGHT) {
        report_key(arg, finding);
    }
    return true;
}

static enum exit_code
judge(struct loader *loader)
{
    struct report *report = loader->report;
    loader->history->n_keys = report->keys->len;
    g_ptr_array_sort(loader->history->operations, by_start);
    report_begin(report);
    history_check_keys(loader->history, tell, report);
    report_end(report);
    return report->n_wrong > 0 ? EXIT_FAILED : report->n_undecided > 0 ? EXIT_UNDECIDED : EXIT_DONE;
}

struct settings {
    bool may_evict;
    uint32_t states_max;
    int64_t slack_us;
};

static enum exit_code
check(struct report *report, uint32_t n_files, const struct settings *settings)
{
    struct loader loader = {.report = report, .history = history_new(0, settings->may_evict)};
    bool is_read = true;
    loader.history->states_max = settings->states_max;
    loader.history->expiry_slack_us = settings->slack_us;
    loader.numbers =
        g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, NULL);
    loader.clients = g_hash_table_new(NULL, NULL);
    report->keys = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    report->clients = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (loader.file = 0; loader.file < n_files && is_read; loader.file++) {
        is_read = read_file(&loader);
    }
    enum exit_code code = is_read ? judge(&loader) : EXIT_USAGE;
    g_hash_table_destroy(loader.numbers);
    g_hash_table_destroy(loader.clients);
    g_ptr_array_free(report->keys, TRUE);
    g_array_free(report->clients, TRUE);
    history_free(loader.history);
    return code;
}

static enum exit_code
run(int argc, char **argv)
{
    gboolean is_json = FALSE, may_evict = FALSE;
    int states_max = STATES_MAX, slack_ms = SLACK_MS;
    const GOptionEntry entries[] = {
        {"may-evict", 0, 0, G_OPTION_ARG_NONE, &may_evict,
         "a cache: a miss is always right, and what was missed stays away", NULL},
        {"states", 0, 0, G_OPTION_ARG_INT, &states_max,
         "how many states to look at for one key before it is given up (3000000)", "N"},
        {"slack", 0, 0, G_OPTION_ARG_INT, &slack_ms,
         "by how much a value's end may come earlier or later than its expiry says (1100 ms)",
         "MS"},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &is_json, "print JSON", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    if (!verb_options(&verb_check_history, entries, "FILE...", INT_MAX - 1, &argc, &argv)) {
        return EXIT_USAGE;
    }
    if (argc < 2) {
        fprintf(stderr, "yakumo check-history: a FILE is missing; try --help\n");
        return EXIT_USAGE;
    }
    if (states_max < 1 || states_max > STATES_MOST) {
        fprintf(stderr, "yakumo check-history: --states is %d; allowed is 1 to %d\n", states_max,
                STATES_MOST);
        return EXIT_USAGE;
    }
    if (slack_ms < 0 || slack_ms > SLACK_MOST_MS) {
        fprintf(stderr, "yakumo check-history: --slack is %d; allowed is 0 to %d\n", slack_ms,
                SLACK_MOST_MS);
        return EXIT_USAGE;
    }
    struct report report = {.is_json = is_json, .files = argv + 1};
    const struct settings settings = {may_evict, (uint32_t)states_max, slack_ms * INT64_C(1000)};
    return check(&report, (uint32_t)argc - 1, &settings);
}

const struct verb verb_check_history = {
    "check-history", "check what clients have seen for linearizability", run, help};
