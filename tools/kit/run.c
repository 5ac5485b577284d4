/* Runs the parts of a kit, each in a process of its own with its standard output and error in a
 * file, and gathers what they report.
 *
 * A report is one line: kind, then fields with TAB between them. It is written in one call below
 * PIPE_BUF, so that threads and children of a part may report too. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "tools/kit/kit.h"

enum {
    REPORT_SIZE = 2048,   /* of a line; below PIPE_BUF */
    SILENCE_MAX_S = 120,  /* so long a part may say nothing */
    OUTPUT_SHOWN = 600,   /* bytes of what a plugin wrote that are shown */
    BROKEN_STATUS = 10,   /* of a process that has said what is broken */
    PROGRESS_MIN_MS = 100 /* between two reports of progress */
};

static volatile sig_atomic_t is_asked_to_end;

static void
ask_to_end(int number)
{
    is_asked_to_end = 1;
}

/* -- In a part. -- */

/* Of each thread: a crash is told on the one that it came to. */
static __thread const char *volatile doing = "";

void
kit_doing(const char *text)
{
    doing = text;
}

/* The last words of a crash go where a plugin's would go, and are shown with the finding. */
static void
say_and_die(int number)
{
    const char *text = doing;
    if (text[0] != '\0' && write(2, "in ", 3) == 3 && write(2, text, strlen(text)) > 0) {
        doing = "";
    }
    signal(number, SIG_DFL);
    raise(number);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HAS_SANITIZER = 1 };
#else
enum { HAS_SANITIZER = 0 };
#endif

/* Not where a sanitizer has more to say. */
static void
watch_crashes(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < G_N_ELEMENTS(numbers) && !HAS_SANITIZER; i++) {
        signal(numbers[i], say_and_die);
    }
}

static void
report(struct kit *kit, char kind, const char *a, const char *b, const char *text)
{
    char line[REPORT_SIZE];
    int size = snprintf(line, sizeof(line) - 1, "%c\t%s\t%s\t%s", kind, a, b, text);
    size = MIN(size, (int)sizeof(line) - 2);
    for (int i = 0; i < size; i++) {
        if (line[i] == '\n' || line[i] == '\r') {
            line[i] = ' ';
        }
    }
    line[size] = '\n';
    if (write(kit->report_fd, line, (size_t)size + 1) < 0) {
        _exit(3);
    }
}

void
kit_broken(struct kit *kit, enum kit_rule rule, const char *format, ...)
{
    char text[REPORT_SIZE];
    char number[16];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snprintf(number, sizeof(number), "%d", (int)rule);
    report(kit, 'B', number, "", text);
    _exit(BROKEN_STATUS);
}

void
kit_remark(struct kit *kit, const char *format, ...)
{
    char text[REPORT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    report(kit, 'R', "", "", text);
}

void
kit_declares(struct kit *kit, const char *capability, const char *declared)
{
    report(kit, 'D', capability, "", declared);
}

void
kit_shows(struct kit *kit, const char *capability, enum kit_evidence evidence, const char *format,
          ...)
{
    char text[REPORT_SIZE];
    char kind[2] = {(char)evidence, '\0'};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    report(kit, 'C', capability, kind, text);
}

void
kit_progress(struct kit *kit, uint64_t done, uint64_t total)
{
    static int64_t last_ms;
    int64_t now_ms = g_get_monotonic_time() / 1000;
    char text[64];
    if (now_ms - last_ms < PROGRESS_MIN_MS) {
        return;
    }
    last_ms = now_ms;
    snprintf(text, sizeof(text), "%llu of %llu", (unsigned long long)done,
             (unsigned long long)total);
    report(kit, 'P', "", "", text);
}

uint64_t
kit_seed(const struct kit *kit, const char *purpose, uint64_t round)
{
    struct yk_random random = {kit->seed ^ yk_hash(yk_slice_of_text(purpose))};
    random.state ^= yk_random_next(&random) + round * 0x9e3779b97f4a7c15ull;
    return yk_random_next(&random);
}

char *
kit_make_folder(struct kit *kit, const char *name)
{
    char *path = g_build_filename(kit->folder, name, NULL);
    kit_remove(path);
    if (mkdir(path, 0755) != 0) {
        fprintf(stderr, "cannot make %s: %s\n", path, g_strerror(errno));
        _exit(3);
    }
    return path;
}

void
kit_remove(const char *path)
{
    GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *below = g_build_filename(path, name, NULL);
        kit_remove(below);
    }
    if (dir != NULL) {
        g_dir_close(dir);
    }
    remove(path);
}

void
kit_child_end(void)
{
    _exit(0);
}

int
kit_fork(struct kit *kit)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "cannot fork: %s\n", g_strerror(errno));
        _exit(3);
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(3);
        }
    }
    return pid;
}

static bool
describe_status(int status, char *text, size_t text_size)
{
    if (WIFSIGNALED(status)) {
        snprintf(text, text_size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        return false;
    }
    snprintf(text, text_size, "status %d", WEXITSTATUS(status));
    return WEXITSTATUS(status) == 0;
}

bool
kit_wait(int pid, char *text, size_t text_size)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            snprintf(text, text_size, "%s", g_strerror(errno));
            return false;
        }
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == BROKEN_STATUS) {
        _exit(BROKEN_STATUS); /* the part is over with it */
    }
    return describe_status(status, text, text_size);
}

/* -- In the parent. -- */

struct kit_results *
kit_results_new(void)
{
    struct kit_results *results = g_new0(struct kit_results, 1);
    results->findings = g_array_new(FALSE, TRUE, sizeof(struct kit_finding));
    results->capabilities = g_array_new(FALSE, TRUE, sizeof(struct kit_capability));
    results->remarks = g_ptr_array_new_with_free_func(g_free);
    return results;
}

void
kit_results_free(struct kit_results *results)
{
    for (guint i = 0; i < results->findings->len; i++) {
        struct kit_finding *finding = &g_array_index(results->findings, struct kit_finding, i);
        g_free(finding->part);
        g_free(finding->text);
    }
    for (guint i = 0; i < results->capabilities->len; i++) {
        struct kit_capability *one =
            &g_array_index(results->capabilities, struct kit_capability, i);
        g_free(one->name);
        g_free(one->declared);
        g_free(one->text);
    }
    g_array_unref(results->findings);
    g_array_unref(results->capabilities);
    g_ptr_array_unref(results->remarks);
    g_free(results);
}

/* One part under way, as the parent sees it. */
struct watch {
    const struct kit_part *part;
    struct kit_results *results;
    const bool *is_excepted;
    bool with_progress;
    GString *line; /* of a report, as far as it came */
    bool is_broken;
};

static void
add_finding(struct watch *watch, enum kit_rule rule, const char *text)
{
    struct kit_finding finding = {.rule = rule,
                                  .part = g_strdup(watch->part->name),
                                  .text = g_strdup(text),
                                  .is_excepted = watch->is_excepted[rule]};
    g_array_append_val(watch->results->findings, finding);
    watch->is_broken = true;
}

static struct kit_capability *
capability_of(struct kit_results *results, const char *name)
{
    for (guint i = 0; i < results->capabilities->len; i++) {
        struct kit_capability *one =
            &g_array_index(results->capabilities, struct kit_capability, i);
        if (strcmp(one->name, name) == 0) {
            return one;
        }
    }
    struct kit_capability made = {.name = g_strdup(name)};
    g_array_append_val(results->capabilities, made);
    return &g_array_index(results->capabilities, struct kit_capability,
                          results->capabilities->len - 1);
}

/* The first word on a capability stays, unless a later one says that it does not hold. */
static void
add_evidence(struct watch *watch, const char *name, char evidence, const char *text)
{
    struct kit_capability *one = capability_of(watch->results, name);
    if (one->evidence == 0 || evidence == KIT_LACKS) {
        g_free(one->text);
        one->text = g_strdup(text);
        one->evidence = evidence;
    }
}

static void
take_report(struct watch *watch, char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, "\t", 4);
    if (g_strv_length(fields) != 4) {
        return;
    }
    switch (fields[0][0]) {
    case 'B':
        add_finding(watch, (enum kit_rule)(atoi(fields[1]) % KIT_N_RULES), fields[3]);
        break;
    case 'R':
        g_ptr_array_add(watch->results->remarks,
                        g_strdup_printf("%s: %s", watch->part->name, fields[3]));
        break;
    case 'D': {
        struct kit_capability *one = capability_of(watch->results, fields[1]);
        g_free(one->declared);
        one->declared = g_strdup(fields[3]);
        break;
    }
    case 'C':
        add_evidence(watch, fields[1], fields[2][0], fields[3]);
        break;
    default:
        if (watch->with_progress) {
            fprintf(stderr, "\r\033[K%s: %s", watch->part->name, fields[3]);
        }
        break;
    }
}

static void
take_bytes(struct watch *watch, const char *bytes, size_t size)
{
    g_string_append_len(watch->line, bytes, (gssize)size);
    char *end;
    while ((end = memchr(watch->line->str, '\n', watch->line->len)) != NULL) {
        *end = '\0';
        take_report(watch, watch->line->str);
        g_string_erase(watch->line, 0, end + 1 - watch->line->str);
    }
}

/* Until the part's end of the pipe is closed. False: it was silent for too long. */
static bool
read_reports(struct watch *watch, int fd)
{
    int silent_s = 0;
    char bytes[4096];
    while (silent_s < SILENCE_MAX_S && !is_asked_to_end) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 1000) <= 0) {
            silent_s++;
            continue;
        }
        ssize_t size = read(fd, bytes, sizeof(bytes));
        if (size <= 0) {
            return true;
        }
        silent_s = 0;
        take_bytes(watch, bytes, (size_t)size);
    }
    return is_asked_to_end;
}

static _Noreturn void
be_part(struct kit *kit, const struct kit_part *part, int report_fd, int output_fd)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(output_fd, 1) < 0 || dup2(output_fd, 2) < 0) {
        _exit(3);
    }
    kit->report_fd = report_fd;
    watch_crashes();
    part->run(kit);
    fflush(NULL);
    _exit(0);
}

/* What the plugin wrote where it should not, or its last words. */
static char *
read_output(const char *path)
{
    char *text = NULL;
    gsize size = 0;
    if (!g_file_get_contents(path, &text, &size, NULL)) {
        return g_strdup("");
    }
    text[MIN(size, (gsize)OUTPUT_SHOWN)] = '\0';
    char *valid = g_utf8_make_valid(g_strstrip(text), -1);
    g_free(text);
    return g_strdelimit(valid, "\n\r\t", ' ');
}

static void
end_part(struct watch *watch, int pid, bool is_ended, const char *output)
{
    char status[128];
    if (!is_ended) {
        add_finding(watch, KIT_HANG, "nothing was heard of this part for two minutes");
    }
    if (!is_ended || is_asked_to_end) {
        kill(pid, SIGKILL);
    }
    int ended = 0;
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR) {
    }
    bool is_good = describe_status(ended, status, sizeof(status)) ||
                   (WIFEXITED(ended) && WEXITSTATUS(ended) == BROKEN_STATUS);
    kill(-pid, SIGKILL); /* what it left behind */
    g_autofree char *words = read_output(output);
    if (is_asked_to_end || !is_ended) {
        return;
    }
    if (!is_good) {
        g_autofree char *text = g_strdup_printf("the process ended with %s%s%s", status,
                                                words[0] != '\0' ? ": " : "", words);
        add_finding(watch, KIT_CRASH, text);
    } else if (words[0] != '\0' && !watch->is_broken) {
        add_finding(watch, KIT_QUIET, words);
    }
}

static void
run_part(struct kit *kit, const char *root, struct watch *watch)
{
    int pipe_fds[2];
    g_autofree char *output = g_build_filename(root, "output", NULL);
    g_autofree char *folder = g_build_filename(root, watch->part->name, NULL);
    int output_fd = open(output, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (output_fd < 0 || mkdir(folder, 0755) != 0 || pipe2(pipe_fds, O_CLOEXEC) != 0) {
        fprintf(stderr, "yakumo kit: %s: %s\n", root, g_strerror(errno));
        exit(1);
    }
    kit->folder = folder;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(pipe_fds[0]);
        be_part(kit, watch->part, pipe_fds[1], output_fd);
    }
    close(pipe_fds[1]);
    close(output_fd);
    bool is_ended = read_reports(watch, pipe_fds[0]);
    close(pipe_fds[0]);
    end_part(watch, pid, is_ended, output);
    kit_remove(folder);
    kit->folder = NULL;
    watch->results->n_parts++;
}

bool
kit_run(struct kit *kit, const struct kit_part *parts, const char *only, const bool *is_excepted,
        bool with_progress, struct kit_results *results)
{
    g_autofree char *root = g_dir_make_tmp("yakumo-kit-XXXXXX", NULL);
    if (root == NULL) {
        fprintf(stderr, "yakumo kit: cannot make a folder for temporary files\n");
        return false;
    }
    chmod(root, 0755); /* a part may drop its rights */
    struct sigaction action = {.sa_handler = ask_to_end};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    for (const struct kit_part *part = parts; part->name != NULL && !is_asked_to_end; part++) {
        if (only == NULL || strcmp(only, part->name) == 0) {
            struct watch watch = {.part = part,
                                  .results = results,
                                  .is_excepted = is_excepted,
                                  .with_progress = with_progress,
                                  .line = g_string_new(NULL)};
            run_part(kit, root, &watch);
            g_string_free(watch.line, TRUE);
        }
    }
    if (with_progress) {
        fprintf(stderr, "\r\033[K");
    }
    kit_remove(root);
    return results->n_parts > 0 && !is_asked_to_end;
}
