/* Coordinator "quorum": named registers among 3 or 5 managers, by CASPaxos. This file is the
 * manager: its life, who the others are, and where what arrives goes. acceptor.c and proposer.c are
 * the protocol, message.c its form.
 *
 * Who may vote. An acceptor that has lost its folder must not vote as if nothing had happened: what
 * it promised is gone. So each folder gets a random id at its first start, durable before anybody
 * is told. Each manager learns the ids of the others when it hears from them for the first time,
 * for ever, and takes part (votes, proposes, answers questions) only once it has all of them on its
 * device. Every message says who sends it and for whom it is. One from another id than the one
 * known, or for another id than its own, is refused and logged; so is a value that was made by
 * another set of managers. A folder that was lost is new to those that knew it, and never complete:
 * any of them that is not new itself does not let it learn who they are. */
#include "plugins/coordinators/quorum/quorum.h"

enum { HELLO_MS = 250 };

static const char identity_name[] = "identity";

/* What all share */

uint64_t
quorum_now(const struct quorum *self)
{
    return self->host->now_us(self->host) / 1000;
}

uint32_t
quorum_majority(const struct quorum *self)
{
    return self->identity.n_managers / 2 + 1;
}

struct quorum_register *
quorum_find(const struct quorum *self, struct yk_slice name)
{
    struct quorum_register *reg = self->registers;
    while (reg != NULL && !yk_slice_equal(yk_slice_of_text(reg->name), name)) {
        reg = reg->next;
    }
    return reg;
}

struct quorum_register *
quorum_get(struct quorum *self, struct yk_slice name)
{
    struct quorum_register *reg = quorum_find(self, name);
    if (reg != NULL || self->n_registers == QUORUM_REGISTERS_MAX || !quorum_is_name(name)) {
        return reg;
    }
    reg = (struct quorum_register *)self->host->alloc(self->host, sizeof(*reg));
    if (reg != NULL) {
        *reg = (struct quorum_register){.next = self->registers};
        memcpy(reg->name, name.data, name.size);
        self->registers = reg;
        self->n_registers++;
    }
    return reg;
}

struct quorum_value *
quorum_value_new(const struct quorum *self, uint64_t revision, const struct quorum_id *writer,
                 struct yk_slice bytes)
{
    struct quorum_value *value =
        (struct quorum_value *)self->host->alloc(self->host, sizeof(*value) + bytes.size);
    if (value != NULL) {
        *value = (struct quorum_value){
            .n_refs = 1, .revision = revision, .writer = *writer, .size = bytes.size};
        if (bytes.size > 0) {
            memcpy(value->bytes, bytes.data, bytes.size);
        }
    }
    return value;
}

struct quorum_value *
quorum_value_ref(struct quorum_value *value)
{
    if (value != NULL) {
        value->n_refs++;
    }
    return value;
}

void
quorum_value_unref(const struct quorum *self, struct quorum_value *value)
{
    if (value != NULL && --value->n_refs == 0) {
        self->host->release(self->host, value);
    }
}

struct quorum_value_view
quorum_value_view_of(const struct quorum *self, const struct quorum_value *value)
{
    struct quorum_value_view view = {.revision = 0};
    if (value != NULL) {
        view.revision = value->revision;
        view.writer = value->writer;
        view.n_managers = self->identity.n_managers;
        memcpy(view.managers, self->identity.ids, sizeof(view.managers));
        view.bytes = yk_slice_of(value->bytes, value->size);
    }
    return view;
}

bool
quorum_value_of(struct quorum *self, const struct quorum_value_view *view,
                struct quorum_value **ret_value)
{
    *ret_value = NULL;
    if (view->revision == 0) {
        return true;
    }
    if (view->n_managers != self->identity.n_managers ||
        memcmp(view->managers, self->identity.ids, view->n_managers * sizeof(*view->managers)) !=
            0) {
        if (!self->has_other_set) {
            self->host->log(self->host, YK_LOG_ERROR,
                            "there is a register of another set of managers; it is left alone");
        }
        self->has_other_set = true;
        return false;
    }
    *ret_value = quorum_value_new(self, view->revision, &view->writer, view->bytes);
    return *ret_value != NULL;
}

void
quorum_note_ballot(struct quorum *self, const struct quorum_ballot *ballot)
{
    if (ballot->counter > self->counter) {
        self->counter = ballot->counter;
    }
}

struct quorum_id
quorum_new_id(const struct quorum *self)
{
    struct quorum_id id;
    do {
        for (size_t i = 0; i < sizeof(id); i += 8) {
            uint64_t number = self->host->random(self->host);
            memcpy(id.bytes + i, &number, 8);
        }
    } while (quorum_id_is_none(&id));
    return id;
}

void
quorum_store(struct quorum *self, char prefix, const char *name, const struct quorum_writer *entry,
             uint64_t token)
{
    char full[QUORUM_NAME_SIZE_MAX + 3] = {prefix, '.'};
    memcpy(full + 2, name, strlen(name) + 1);
    self->port->store(self->port, full, yk_slice_of(entry->data, entry->size), token);
}

/* Messages */

static void
dispatch(struct quorum *self, const struct quorum_message *message)
{
    if (message->type == QUORUM_QUERY || message->type == QUORUM_PREPARE ||
        message->type == QUORUM_ACCEPT) {
        quorum_accept_message(self, message);
    } else if (message->type != QUORUM_HELLO) {
        quorum_propose_message(self, message);
    }
}

void
quorum_send(struct quorum *self, uint32_t manager, struct quorum_message *message)
{
    message->sender = self->identity.self;
    message->n_managers = self->identity.n_managers;
    message->sender_id = self->identity.ids[self->identity.self];
    message->receiver_id = self->identity.ids[manager];
    if (manager == self->identity.self) {
        dispatch(self, message);
        return;
    }
    struct quorum_writer writer = {.room = QUORUM_OVERHEAD_MAX + message->value.bytes.size};
    writer.data = (uint8_t *)self->host->alloc(self->host, writer.room);
    if (writer.data != NULL) {
        quorum_message_encode(message, &writer);
        self->port->send(self->port, manager, yk_slice_of(writer.data, writer.size));
        self->host->release(self->host, writer.data);
    }
}

/* Who the others are */

static void
say_hello(struct quorum *self, uint32_t manager)
{
    struct quorum_message hello = {.type = QUORUM_HELLO};
    if (self->is_identified) {
        quorum_send(self, manager, &hello);
    }
}

static void
store_identity(struct quorum *self)
{
    uint8_t bytes[128];
    struct quorum_writer writer = {.data = bytes, .room = sizeof(bytes)};
    if (self->is_storing_identity) {
        return;
    }
    self->is_identity_stale = false;
    self->is_storing_identity = true;
    self->identity_token = ++self->tokens;
    quorum_identity_encode(&self->identity, &writer);
    self->port->store(self->port, identity_name, yk_slice_of(bytes, writer.size),
                      self->identity_token);
}

static bool
knows_all(const struct quorum *self)
{
    for (uint32_t i = 0; i < self->identity.n_managers; i++) {
        if (quorum_id_is_none(&self->identity.ids[i])) {
            return false;
        }
    }
    return true;
}

static void
greet_all(struct quorum *self)
{
    self->hello_at = quorum_now(self) + HELLO_MS;
    for (uint32_t i = 0; i < self->identity.n_managers; i++) {
        if (quorum_id_is_none(&self->identity.ids[i])) {
            say_hello(self, i);
        }
    }
}

/* From here on it takes part. */
static void
begin(struct quorum *self)
{
    uint64_t now = quorum_now(self);
    self->is_complete = true;
    for (struct quorum_register *reg = self->registers; reg != NULL; reg = reg->next) {
        quorum_propose_timer(self, reg, now);
    }
}

static void
identity_stored(struct quorum *self, enum yk_err result)
{
    self->is_storing_identity = false;
    if (result != YK_OK) {
        self->host->log(self->host, YK_LOG_ERROR, "cannot store who the managers are (%s)",
                        yk_err_text(result));
        self->is_identity_stale = true; /* the next greeting tries again */
        return;
    }
    self->is_identified = true;
    if (self->is_identity_stale) {
        store_identity(self);
    } else if (knows_all(self)) {
        begin(self);
    }
    greet_all(self);
}

static void
warn(struct quorum *self, uint32_t manager, const char *what)
{
    if (!self->is_warned[manager]) {
        self->host->log(self->host, YK_LOG_ERROR, "manager %u %s", manager, what);
    }
    self->is_warned[manager] = true;
}

/* Who sent it is who it was, and means this one. */
static bool
check_sender(struct quorum *self, const struct quorum_message *message)
{
    const struct quorum_id *own = &self->identity.ids[self->identity.self];
    struct quorum_id *known = &self->identity.ids[message->sender];
    if (message->n_managers != self->identity.n_managers) {
        warn(self, message->sender, "names another number of managers; nothing is heard of it");
        return false;
    }
    if (quorum_id_is_none(&message->receiver_id)) {
        if (message->type != QUORUM_HELLO) {
            return false;
        }
    } else if (!quorum_id_equal(&message->receiver_id, own)) {
        warn(self, message->sender,
             "knows this one by another folder: if that was lost, this one is not counted");
        return false;
    }
    if (quorum_id_is_none(known)) {
        *known = message->sender_id;
        self->is_identity_stale = true;
        store_identity(self);
    } else if (!quorum_id_equal(known, &message->sender_id)) {
        warn(self, message->sender, "has another folder than the one known: it is not counted");
        say_hello(self, message->sender); /* so that it knows as well */
        return false;
    }
    if (message->type == QUORUM_HELLO && quorum_id_is_none(&message->receiver_id)) {
        say_hello(self, message->sender);
    }
    return true;
}

/* Time */

static void
set_timer(struct quorum *self)
{
    uint64_t due = self->is_complete ? UINT64_MAX : self->hello_at;
    for (const struct quorum_register *reg = self->registers; reg != NULL; reg = reg->next) {
        uint64_t next = quorum_propose_due(self, reg);
        due = next < due ? next : due;
    }
    if (due != UINT64_MAX && due != self->timer_at) {
        uint64_t now = quorum_now(self);
        self->timer_at = due;
        self->port->set_timer(self->port,
                              self->host->now_ms(self->host) + (due > now ? due - now : 0));
    }
}

static void
quorum_timer(void *arg, uint64_t now_ms)
{
    struct quorum *self = (struct quorum *)arg;
    uint64_t now = quorum_now(self);
    self->timer_at = UINT64_MAX;
    if (!self->is_complete && self->hello_at <= now) {
        if (self->is_identity_stale) {
            store_identity(self);
        }
        greet_all(self);
    }
    for (struct quorum_register *reg = self->registers; reg != NULL; reg = reg->next) {
        quorum_propose_timer(self, reg, now);
    }
    set_timer(self);
}

/* Events */

static void
quorum_message(void *arg, uint32_t manager_index, struct yk_slice bytes)
{
    struct quorum *self = (struct quorum *)arg;
    struct quorum_message message;
    if (!quorum_message_decode(bytes, &message) || message.sender != manager_index ||
        manager_index >= self->identity.n_managers || manager_index == self->identity.self) {
        return;
    }
    if (check_sender(self, &message) && self->is_complete) {
        quorum_note_ballot(self, &message.ballot);
        dispatch(self, &message);
    }
    set_timer(self);
}

static void
quorum_stored(void *arg, uint64_t token, enum yk_err result)
{
    struct quorum *self = (struct quorum *)arg;
    if (self->is_storing_identity && token == self->identity_token) {
        identity_stored(self, result);
    } else {
        struct quorum_register *reg = self->registers;
        while (reg != NULL && !quorum_accept_stored(self, reg, token, result)) {
            reg = reg->next;
        }
    }
    set_timer(self);
}

static void
fail(struct quorum *self, uint64_t token)
{
    struct yk_register_answer answer = {.struct_size = sizeof(answer),
                                        .result = YK_REGISTER_FAILED};
    self->port->answer(self->port, token, &answer);
}

static void
quorum_read_register(void *arg, const char *name, uint64_t token)
{
    struct quorum *self = (struct quorum *)arg;
    struct quorum_register *reg = quorum_get(self, yk_slice_of_text(name));
    struct quorum_question question = {.token = token};
    if (reg == NULL || !quorum_ask(self, reg, &question)) {
        fail(self, token);
    }
    set_timer(self);
}

static void
quorum_write_register(void *arg, const char *name, struct yk_slice bytes, uint64_t if_revision,
                      uint64_t token)
{
    struct quorum *self = (struct quorum *)arg;
    struct quorum_register *reg = quorum_get(self, yk_slice_of_text(name));
    struct quorum_question question = {
        .token = token, .is_write = true, .if_revision = if_revision};
    if (reg != NULL && bytes.size <= QUORUM_VALUE_SIZE_MAX && if_revision < QUORUM_REVISION_MAX) {
        struct quorum_id writer = quorum_new_id(self);
        question.value = quorum_value_new(self, if_revision + 1, &writer, bytes);
    }
    if (question.value == NULL || !quorum_ask(self, reg, &question)) {
        quorum_value_unref(self, question.value);
        fail(self, token);
    }
    set_timer(self);
}

static void
quorum_watch(void *arg, const char *name)
{
    struct quorum *self = (struct quorum *)arg;
    struct quorum_register *reg = quorum_get(self, yk_slice_of_text(name));
    if (reg != NULL) {
        reg->is_watched = true;
        reg->poll_at = quorum_now(self);
    }
    set_timer(self);
}

/* Loading */

static void
load_acceptor(struct quorum *self, char prefix, struct yk_slice name, struct yk_slice bytes)
{
    struct quorum_register *reg = quorum_get(self, name);
    struct quorum_ballot ballot;
    struct quorum_value_view view;
    if (reg == NULL) {
        self->loaded = YK_ENOMEM;
        return;
    }
    bool is_good = prefix == 'p' ? quorum_promise_decode(bytes, &ballot)
                                 : quorum_accepted_decode(bytes, &ballot, &view);
    if (!is_good) {
        self->loaded = YK_ECORRUPT;
        return;
    }
    quorum_note_ballot(self, &ballot);
    if (quorum_ballot_compare(&ballot, &reg->acceptor.promised) > 0) {
        reg->acceptor.promised = ballot;
    }
    if (prefix == 'v' && reg->acceptor.value == NULL) {
        reg->acceptor.accepted = ballot;
        reg->acceptor.value = quorum_value_new(self, view.revision, &view.writer, view.bytes);
        self->loaded = reg->acceptor.value == NULL ? YK_ENOMEM : self->loaded;
    }
}

static void
quorum_loaded(void *arg, const char *name, struct yk_slice bytes)
{
    struct quorum *self = (struct quorum *)arg;
    struct quorum_identity identity;
    if (self->loaded != YK_OK) {
        return;
    }
    if (strcmp(name, identity_name) == 0) {
        if (!quorum_identity_decode(bytes, &identity)) {
            self->loaded = YK_ECORRUPT;
        } else if (identity.self != self->identity.self ||
                   identity.n_managers != self->identity.n_managers) {
            self->loaded = YK_EINVALID;
        } else {
            self->identity = identity;
            self->is_identified = true;
        }
    } else if ((name[0] == 'p' || name[0] == 'v') && name[1] == '.') {
        load_acceptor(self, name[0], yk_slice_of_text(name + 2), bytes);
    } else {
        self->loaded = YK_EUNSUPPORTED;
    }
}

static enum yk_err
quorum_ready(void *arg)
{
    struct quorum *self = (struct quorum *)arg;
    const char *why = self->loaded == YK_ECORRUPT ? "an entry of the registers is damaged"
                      : self->loaded == YK_EINVALID
                          ? "the registers are of another manager, or of another number of them: "
                            "the set of managers does not change"
                      : self->loaded == YK_EUNSUPPORTED ? "the registers are of another coordinator"
                                                        : "out of memory";
    if (self->loaded != YK_OK) {
        self->host->error(self->host, "%s", why);
        return self->loaded;
    }
    self->start = self->host->random(self->host);
    self->numbers = self->host->random(self->host); /* an answer to an earlier start is none */
    if (!self->is_identified) {
        self->identity.ids[self->identity.self] = quorum_new_id(self);
        store_identity(self);
    } else if (knows_all(self)) {
        begin(self);
    } else {
        greet_all(self);
    }
    set_timer(self);
    return YK_OK;
}

/* Life */

static const struct yk_option quorum_options[] = {
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "timeout", "2s", 10000, 3600000000, NULL,
     "How long a read or a write of a register may take. After that a write is said to be unknown "
     "(or not done, if nobody was asked to accept it), and whoever asked asks again."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "poll", "1s", 10000, 3600000000, NULL,
     "How often a manager asks for changes of which it was not told. Usually it is told."},
};

static enum yk_err
quorum_create(const struct yk_host *host, void **ret_self)
{
    struct quorum *self = (struct quorum *)host->alloc(host, sizeof(*self));
    if (self == NULL) {
        return YK_ENOMEM;
    }
    *self = (struct quorum){.host = host, .timer_at = UINT64_MAX};
    *ret_self = self;
    return YK_OK;
}

static enum yk_err
quorum_config(void *arg, const char *name, const struct yk_option_value *value)
{
    struct quorum *self = (struct quorum *)arg;
    if (strcmp(name, "timeout") == 0) {
        self->timeout_ms = value->number / 1000;
    } else if (strcmp(name, "poll") == 0) {
        self->poll_ms = value->number / 1000;
    } else {
        return YK_EINVALID;
    }
    return YK_OK;
}

static void
quorum_destroy(void *arg)
{
    struct quorum *self = (struct quorum *)arg;
    self->host->release(self->host, self);
}

static enum yk_err
quorum_open(void *arg, struct yk_coordinator_port *port)
{
    struct quorum *self = (struct quorum *)arg;
    if ((port->n_managers != 3 && port->n_managers != 5) || port->self_index >= port->n_managers) {
        self->host->error(self->host, "it takes 3 or 5 managers, and there are %u",
                          port->n_managers);
        return YK_EINVALID;
    }
    self->port = port;
    self->identity.self = port->self_index;
    self->identity.n_managers = port->n_managers;
    return YK_OK;
}

static void
quorum_close(void *arg)
{
    struct quorum *self = (struct quorum *)arg;
    while (self->registers != NULL) {
        struct quorum_register *reg = self->registers;
        self->registers = reg->next;
        quorum_proposer_done(self, reg);
        quorum_acceptor_done(self, &reg->acceptor);
        self->host->release(self->host, reg);
    }
}

static const struct yk_coordinator_ops quorum_ops = {
    .struct_size = sizeof(quorum_ops),
    .life = {.create = quorum_create, .config = quorum_config, .destroy = quorum_destroy},
    .open = quorum_open,
    .close = quorum_close,
    .read = quorum_read_register,
    .write = quorum_write_register,
    .watch = quorum_watch,
    .loaded = quorum_loaded,
    .message = quorum_message,
    .timer = quorum_timer,
    .stored = quorum_stored,
    .ready = quorum_ready,
};

YK_PLUGIN(quorum) = {
    YK_PLUGIN_HEAD(YK_KIND_COORDINATOR, YK_COORDINATOR_ABI),
    .name = "quorum",
    .version = "1",
    .summary = "keeps a cluster's registers among 3 or 5 managers",
    .details =
        "Takes 3 or 5 managers. While a majority of them (2 of 3, 3 of 5) can talk to each other, "
        "the registers can be read and changed, whatever happens to the others; no one of them "
        "leads. What a manager promises is on its device before it says so. The protocol is "
        "CASPaxos: one value for each register, no log.\n\n"
        "The set of managers is fixed when they meet for the first time, for which all of them "
        "must be there: each gives its data folder an id and remembers the ids of the others. From "
        "then on a manager with another folder is not counted, and neither is one whose folder was "
        "lost, since it has forgotten what it promised; the others say so in their logs, and it "
        "in its own. A folder must not be put back from an older copy either, which nobody can "
        "tell; and of its registers none may be removed alone.\n\n"
        "A read that finds a majority agreed stores nothing. A write costs a message to all "
        "managers and back, twice, and two waits for their devices.",
    .n_options = sizeof(quorum_options) / sizeof(quorum_options[0]),
    .options = quorum_options,
    .ops = &quorum_ops,
};
