/* Files of entries, the port, and questions that wait for their answer. */
#include <config.h>

#include "core/io/registers.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/base/hash.h"
#include "core/base/options.h"
#include "core/io/file.h"

static const char folder_name[] = "registers";
static const char head[] = "yakumo-entry 1\n";
enum {
    HEAD_SIZE = sizeof(head) - 1,
    SUM_SIZE = 8,
    ENTRY_SIZE_MAX = 1024 * 1024,
    NAME_MAX_SIZE = 80
};

/* What the coordinator has asked to be stored and has not been told of. */
struct pending {
    struct pending *next;
    char *name;
    GByteArray *file;
    uint64_t token;
};

struct yk_registers {
    struct yk_coordinator_port port; /* first: the coordinator sees this */
    const struct yk_coordinator_ops *ops;
    const struct yk_world *world;
    bool has_place;
    struct yk_registers_place place;    /* if it has one */
    uint64_t timer_us;                  /* on the clock that is never set; 0: none is set */
    const struct yk_settings *settings; /* lent */
    struct yk_plugin_host host;
    void *self;
    bool is_open;
    bool is_woken; /* atomic */
    char *folder;  /* DATA/registers */
    struct pending *pending, **pending_end;
    uint64_t token; /* of the last question */
    bool has_answer;
    struct yk_register_answer answer; /* to it; bytes are answer_bytes */
    void *answer_bytes;               /* own */
    char error[YK_ERROR_SIZE];        /* of the last store that failed; "": none did */
};

/* Files */

static GByteArray *
file_make(struct yk_slice bytes)
{
    GByteArray *file = g_byte_array_sized_new((guint)(HEAD_SIZE + bytes.size + SUM_SIZE));
    g_byte_array_append(file, (const guint8 *)head, HEAD_SIZE);
    g_byte_array_append(file, bytes.data, (guint)bytes.size);
    uint64_t sum = XXH3_64bits(file->data, file->len);
    uint8_t end[SUM_SIZE];
    for (int i = 0; i < SUM_SIZE; i++) {
        end[i] = (uint8_t)(sum >> (8 * i));
    }
    g_byte_array_append(file, end, SUM_SIZE);
    return file;
}

/* The bytes in a file; false: it is damaged. */
static bool
file_check(const char *text, size_t size, struct yk_slice *ret_bytes)
{
    if (size < HEAD_SIZE + SUM_SIZE || memcmp(text, head, HEAD_SIZE) != 0) {
        return false;
    }
    uint64_t sum = XXH3_64bits(text, size - SUM_SIZE);
    for (int i = 0; i < SUM_SIZE; i++) {
        if ((uint8_t)text[size - SUM_SIZE + (size_t)i] != (uint8_t)(sum >> (8 * i))) {
            return false;
        }
    }
    *ret_bytes = yk_slice_of(text + HEAD_SIZE, size - HEAD_SIZE - SUM_SIZE);
    return true;
}

/* Others are left alone: what a rename was to replace, and what is hidden. */
static bool
is_entry_name(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size <= NAME_MAX_SIZE && name[0] != '.' && !g_str_has_suffix(name, ".new") &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == size;
}

static enum yk_err
load_file(struct yk_registers *registers, const char *name, char *error)
{
    g_autofree char *path = g_build_filename(registers->folder, name, NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) reason = NULL;
    struct yk_slice bytes;
    struct stat status;
    gsize size;
    bool is_good = stat(path, &status) < 0 || status.st_size <= ENTRY_SIZE_MAX;
    if (is_good && !g_file_get_contents(path, &text, &size, &reason)) {
        snprintf(error, YK_ERROR_SIZE, "cannot read a register: %.400s", reason->message);
        return YK_EIO;
    }
    if (!is_good || !file_check(text, size, &bytes)) {
        snprintf(error, YK_ERROR_SIZE,
                 "the register %.300s is damaged (its checksum does not fit): put back a copy of "
                 "it, or remove it, and the node makes a new one",
                 path);
        return YK_ECORRUPT;
    }
    if (registers->ops->loaded != NULL) {
        registers->ops->loaded(registers->self, name, bytes);
    }
    return YK_OK;
}

static enum yk_err
load_all(struct yk_registers *registers, char *error)
{
    struct dirent **entries = NULL;
    int n = scandir(registers->folder, &entries, NULL, alphasort);
    enum yk_err result = n < 0 ? yk_file_fail("read the folder", registers->folder, error) : YK_OK;
    for (int i = 0; i < n; i++) {
        if (result == YK_OK && is_entry_name(entries[i]->d_name)) {
            result = load_file(registers, entries[i]->d_name, error);
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* The port */

static void
port_answer(struct yk_coordinator_port *port, uint64_t token,
            const struct yk_register_answer *answer)
{
    struct yk_registers *registers = (struct yk_registers *)port;
    if (registers->has_place) {
        registers->place.answer(registers->place.arg, token, answer);
        return;
    }
    if (token != registers->token || registers->has_answer) {
        return;
    }
    registers->has_answer = true;
    registers->answer = *answer;
    registers->answer_bytes =
        answer->bytes.size > 0 ? g_memdup2(answer->bytes.data, answer->bytes.size) : NULL;
    registers->answer.bytes.data = registers->answer_bytes;
}

static void
port_changed(struct yk_coordinator_port *port, const char *name)
{
    const struct yk_registers *registers = (struct yk_registers *)port;
    if (registers->has_place) {
        registers->place.changed(registers->place.arg, name);
    }
}

/* The one manager has nobody to talk to. */
static void
port_send(struct yk_coordinator_port *port, uint32_t manager_index, struct yk_slice message)
{
    const struct yk_registers *registers = (struct yk_registers *)port;
    if (registers->has_place) {
        registers->place.send(registers->place.arg, manager_index, message);
    }
}

static void
port_set_timer(struct yk_coordinator_port *port, uint64_t at_ms)
{
    struct yk_registers *registers = (struct yk_registers *)port;
    const struct yk_world *world = registers->world;
    uint64_t now_ms = world->now_ms(world->arg);
    uint64_t in_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    registers->timer_us = world->now_us(world->arg) + in_ms * 1000 + 1;
}

static void
port_store(struct yk_coordinator_port *port, const char *name, struct yk_slice bytes,
           uint64_t token)
{
    struct yk_registers *registers = (struct yk_registers *)port;
    struct pending *pending = g_new(struct pending, 1);
    *pending = (struct pending){.name = g_strdup(name), .file = file_make(bytes), .token = token};
    *registers->pending_end = pending;
    registers->pending_end = &pending->next;
}

/* From any thread. */
static void
port_wake(struct yk_coordinator_port *port)
{
    struct yk_registers *registers = (struct yk_registers *)port;
    __atomic_store_n(&registers->is_woken, true, __ATOMIC_RELEASE);
    if (registers->has_place) {
        registers->place.wake(registers->place.arg);
    }
}

static void
pending_free(struct pending *pending)
{
    g_free(pending->name);
    g_byte_array_unref(pending->file);
    g_free(pending);
}

static struct pending *
pending_take(struct yk_registers *registers)
{
    struct pending *pending = registers->pending;
    if (pending != NULL) {
        registers->pending = pending->next;
        if (registers->pending == NULL) {
            registers->pending_end = &registers->pending;
        }
    }
    return pending;
}

static void
store_pending(struct yk_registers *registers)
{
    for (struct pending *pending = pending_take(registers); pending != NULL;
         pending = pending_take(registers)) {
        enum yk_err result = YK_EINVALID;
        snprintf(registers->error, sizeof(registers->error), "'%.80s' is no name of an entry",
                 pending->name);
        if (is_entry_name(pending->name)) {
            result = yk_file_replace(registers->folder, pending->name,
                                     yk_slice_of(pending->file->data, pending->file->len),
                                     registers->error);
        }
        if (result == YK_OK) {
            registers->error[0] = '\0';
        }
        if (registers->ops->stored != NULL) {
            registers->ops->stored(registers->self, pending->token, result);
        }
        pending_free(pending);
    }
}

/* Life */

static enum yk_err
make_folder(const struct yk_registers *registers, const char *data, char *error)
{
    if (g_mkdir_with_parents(registers->folder, 0750) < 0) {
        return yk_file_fail("make the folder", registers->folder, error);
    }
    return yk_file_sync_folder(data, error);
}

static enum yk_err
open_coordinator(struct yk_registers *registers, char *error)
{
    enum yk_err result =
        yk_instance_new(registers->settings, &registers->host.host, &registers->self, error);
    if (result != YK_OK) {
        return result;
    }
    if (registers->ops->open != NULL) {
        result = registers->ops->open(registers->self, &registers->port);
    }
    if (result != YK_OK) {
        yk_plugin_host_error(&registers->host, error);
        yk_instance_free(registers->settings, registers->self);
        return result;
    }
    registers->is_open = true;
    return YK_OK;
}

enum yk_err
yk_registers_open(const struct yk_world *world, const struct yk_settings *coordinator,
                  const char *folder, const struct yk_registers_place *place,
                  struct yk_registers **ret_registers, char *error)
{
    struct yk_registers *registers = g_new0(struct yk_registers, 1);
    registers->world = world;
    registers->port = (struct yk_coordinator_port){.struct_size = sizeof(registers->port),
                                                   .n_managers = 1,
                                                   .answer = port_answer,
                                                   .changed = port_changed,
                                                   .send = port_send,
                                                   .set_timer = port_set_timer,
                                                   .store = port_store,
                                                   .wake = port_wake};
    if (place != NULL) {
        registers->has_place = true;
        registers->place = *place;
        registers->port.self_index = place->self_index;
        registers->port.n_managers = place->n_managers;
    }
    registers->ops = coordinator->plugin->ops;
    registers->folder = g_build_filename(folder, folder_name, NULL);
    registers->pending_end = &registers->pending;
    registers->settings = coordinator;
    yk_plugin_host_init(&registers->host, world, coordinator->plugin->name);
    enum yk_err result = make_folder(registers, folder, error);
    if (result == YK_OK) {
        result = open_coordinator(registers, error);
    }
    if (result == YK_OK) {
        result = load_all(registers, error);
    }
    if (result == YK_OK && registers->ops->ready != NULL) {
        result = registers->ops->ready(registers->self);
        if (result != YK_OK) {
            yk_plugin_host_error(&registers->host, error);
        }
    }
    if (result != YK_OK) {
        yk_registers_close(registers);
        return result;
    }
    *ret_registers = registers;
    return YK_OK;
}

void
yk_registers_close(struct yk_registers *registers)
{
    if (registers == NULL) {
        return;
    }
    if (registers->is_open) {
        if (registers->ops->close != NULL) {
            registers->ops->close(registers->self);
        }
        yk_instance_free(registers->settings, registers->self);
    }
    for (struct pending *pending = pending_take(registers); pending != NULL;
         pending = pending_take(registers)) {
        pending_free(pending);
    }
    g_free(registers->answer_bytes);
    g_free(registers->folder);
    g_free(registers);
}

/* Questions */

static void
begin_question(struct yk_registers *registers)
{
    registers->token++;
    registers->has_answer = false;
    registers->error[0] = '\0';
    g_free(registers->answer_bytes);
    registers->answer_bytes = NULL;
}

static enum yk_err
end_question(struct yk_registers *registers, const char *verb, const char *name, char *error)
{
    store_pending(registers);
    if (registers->has_answer && registers->answer.result == YK_REGISTER_OK) {
        return YK_OK;
    }
    bool is_conflict = registers->has_answer && registers->answer.result == YK_REGISTER_CONFLICT;
    snprintf(error, YK_ERROR_SIZE, "cannot %s the register %s: %.380s", verb, name,
             is_conflict                   ? "somebody else has changed it"
             : registers->error[0] != '\0' ? registers->error
                                           : "the coordinator does not know what it holds");
    return is_conflict ? YK_EEXISTS : YK_EIO;
}

enum yk_err
yk_registers_read(struct yk_registers *registers, const char *name, void **ret_bytes,
                  size_t *ret_size, uint64_t *ret_revision, char *error)
{
    begin_question(registers);
    registers->ops->read(registers->self, name, registers->token);
    enum yk_err result = end_question(registers, "read", name, error);
    if (result == YK_OK) {
        *ret_bytes = g_steal_pointer(&registers->answer_bytes);
        *ret_size = registers->answer.bytes.size;
        *ret_revision = registers->answer.revision;
    }
    return result;
}

enum yk_err
yk_registers_write(struct yk_registers *registers, const char *name, struct yk_slice bytes,
                   uint64_t if_revision, char *error)
{
    begin_question(registers);
    registers->ops->write(registers->self, name, bytes, if_revision, registers->token);
    return end_question(registers, "write", name, error);
}

/* With a place */

void
yk_registers_ask_read(struct yk_registers *registers, const char *name, uint64_t token)
{
    registers->ops->read(registers->self, name, token);
}

void
yk_registers_ask_write(struct yk_registers *registers, const char *name, struct yk_slice bytes,
                       uint64_t if_revision, uint64_t token)
{
    registers->ops->write(registers->self, name, bytes, if_revision, token);
}

void
yk_registers_watch(struct yk_registers *registers, const char *name)
{
    if (registers->ops->watch != NULL) {
        registers->ops->watch(registers->self, name);
    }
}

void
yk_registers_message(struct yk_registers *registers, uint32_t manager_index,
                     struct yk_slice message)
{
    if (registers->ops->message != NULL) {
        registers->ops->message(registers->self, manager_index, message);
    }
}

static void
run_timer(struct yk_registers *registers)
{
    const struct yk_world *world = registers->world;
    if (registers->timer_us != 0 && world->now_us(world->arg) >= registers->timer_us) {
        registers->timer_us = 0;
        if (registers->ops->timer != NULL) {
            registers->ops->timer(registers->self, world->now_ms(world->arg));
        }
    }
}

uint64_t
yk_registers_run(struct yk_registers *registers)
{
    registers->error[0] = '\0';
    if (__atomic_exchange_n(&registers->is_woken, false, __ATOMIC_ACQUIRE) &&
        registers->ops->woken != NULL) {
        registers->ops->woken(registers->self);
    }
    run_timer(registers);
    store_pending(registers);
    if (registers->error[0] != '\0') {
        yk_log(registers->world, YK_LOG_ERROR, "coordinator", "%s", registers->error);
    }
    return registers->timer_us;
}
