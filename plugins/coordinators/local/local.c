/* Coordinator "local": the registers of a cluster with one manager, as durable entries of that
 * manager's host.
 *
 * An entry has the register's name; its bytes are the revision (8 bytes, little-endian) and then
 * the register's. A write is answered when the host says that it is on the device; until then reads
 * see what was there before, and a second write to the register is refused, since nobody knows yet
 * what it would follow. Where storing failed nobody knows which of the two is there: from then on
 * the register is answered with "unknown". */
#include <yakumo/coordinator.h>

enum { REVISION_SIZE = 8, NAME_SIZE_MAX = 80 };

struct local_register {
    struct local_register *next;
    char name[NAME_SIZE_MAX + 1];
    uint64_t revision; /* 0: never written */
    uint8_t *entry;    /* own: revision and bytes, as they are on the device; NULL: none */
    size_t size;       /* of entry */
    uint8_t *fresh;    /* own: the entry that is being stored, or NULL */
    size_t fresh_size;
    uint64_t token; /* of the write that is being stored */
    bool is_unsure; /* nobody knows what is on the device */
};

struct local {
    const struct yk_host *host;
    struct yk_coordinator_port *port;
    struct local_register *registers;
};

static enum yk_err
local_create(const struct yk_host *host, void **ret_self)
{
    struct local *self = host->alloc(host, sizeof(*self));
    if (self == NULL) {
        return YK_ENOMEM;
    }
    *self = (struct local){.host = host};
    *ret_self = self;
    return YK_OK;
}

static void
local_close(void *arg)
{
    struct local *self = arg;
    while (self->registers != NULL) {
        struct local_register *reg = self->registers;
        self->registers = reg->next;
        self->host->release(self->host, reg->entry);
        self->host->release(self->host, reg->fresh);
        self->host->release(self->host, reg);
    }
}

static void
local_destroy(void *arg)
{
    struct local *self = arg;
    self->host->release(self->host, self);
}

static enum yk_err
local_open(void *arg, struct yk_coordinator_port *port)
{
    struct local *self = arg;
    self->port = port;
    return YK_OK;
}

static struct local_register *
register_find(const struct local *self, const char *name)
{
    struct local_register *reg = self->registers;
    while (reg != NULL && strcmp(reg->name, name) != 0) {
        reg = reg->next;
    }
    return reg;
}

/* The register of that name, which is made where there is none; NULL: no memory, or no name. */
static struct local_register *
register_get(struct local *self, const char *name)
{
    struct local_register *reg = register_find(self, name);
    size_t size = strlen(name);
    if (reg != NULL || size == 0 || size > NAME_SIZE_MAX) {
        return reg;
    }
    reg = self->host->alloc(self->host, sizeof(*reg));
    if (reg != NULL) {
        *reg = (struct local_register){.next = self->registers};
        memcpy(reg->name, name, size + 1);
        self->registers = reg;
    }
    return reg;
}

static uint64_t
entry_revision(const uint8_t *entry)
{
    uint64_t revision = 0;
    for (int i = REVISION_SIZE - 1; i >= 0; i--) {
        revision = revision << 8 | entry[i];
    }
    return revision;
}

/* Revision and bytes in new memory; NULL: there is none. */
static uint8_t *
entry_make(const struct local *self, uint64_t revision, struct yk_slice bytes)
{
    uint8_t *entry = self->host->alloc(self->host, REVISION_SIZE + bytes.size);
    for (int i = 0; entry != NULL && i < REVISION_SIZE; i++) {
        entry[i] = (uint8_t)(revision >> (8 * i));
    }
    if (entry != NULL && bytes.size > 0) {
        memcpy(entry + REVISION_SIZE, bytes.data, bytes.size);
    }
    return entry;
}

static void
local_loaded(void *arg, const char *name, struct yk_slice bytes)
{
    struct local *self = arg;
    struct local_register *reg = register_get(self, name);
    if (reg == NULL) {
        self->host->log(self->host, YK_LOG_ERROR, "no memory for the register %s", name);
        return;
    }
    reg->is_unsure = true;
    if (bytes.size < REVISION_SIZE) {
        self->host->log(self->host, YK_LOG_ERROR, "the register %s is too short", name);
        return;
    }
    uint64_t revision = entry_revision(bytes.data);
    struct yk_slice rest =
        yk_slice_of((const uint8_t *)bytes.data + REVISION_SIZE, bytes.size - REVISION_SIZE);
    reg->entry = entry_make(self, revision, rest);
    if (reg->entry != NULL && revision > 0) {
        reg->size = bytes.size;
        reg->revision = revision;
        reg->is_unsure = false;
    }
}

static void
give(const struct local *self, uint64_t token, enum yk_register_result result, uint64_t revision,
     struct yk_slice bytes)
{
    struct yk_register_answer answer = {.struct_size = sizeof(answer),
                                        .result = (uint32_t)result,
                                        .revision = revision,
                                        .bytes = bytes};
    self->port->answer(self->port, token, &answer);
}

static void
local_read(void *arg, const char *name, uint64_t token)
{
    struct local *self = arg;
    const struct local_register *reg = register_find(self, name);
    struct yk_slice nothing = yk_slice_of(NULL, 0);
    if (reg == NULL || (reg->revision == 0 && !reg->is_unsure)) {
        give(self, token, YK_REGISTER_OK, 0, nothing);
    } else if (reg->is_unsure) {
        give(self, token, YK_REGISTER_UNKNOWN, 0, nothing);
    } else {
        give(self, token, YK_REGISTER_OK, reg->revision,
             yk_slice_of(reg->entry + REVISION_SIZE, reg->size - REVISION_SIZE));
    }
}

static void
local_write(void *arg, const char *name, struct yk_slice bytes, uint64_t if_revision,
            uint64_t token)
{
    struct local *self = arg;
    struct local_register *reg = register_get(self, name);
    struct yk_slice nothing = yk_slice_of(NULL, 0);
    if (reg == NULL || reg->is_unsure || reg->fresh != NULL) {
        give(self, token, YK_REGISTER_FAILED, 0, nothing);
        return;
    }
    if (reg->revision != if_revision) {
        give(self, token, YK_REGISTER_CONFLICT, reg->revision, nothing);
        return;
    }
    reg->fresh = entry_make(self, reg->revision + 1, bytes);
    if (reg->fresh == NULL) {
        give(self, token, YK_REGISTER_FAILED, 0, nothing);
        return;
    }
    reg->fresh_size = REVISION_SIZE + bytes.size;
    reg->token = token;
    self->port->store(self->port, reg->name, yk_slice_of(reg->fresh, reg->fresh_size), token);
}

static void
local_stored(void *arg, uint64_t token, enum yk_err result)
{
    struct local *self = arg;
    struct local_register *reg = self->registers;
    while (reg != NULL && (reg->fresh == NULL || reg->token != token)) {
        reg = reg->next;
    }
    if (reg == NULL) {
        return;
    }
    if (result == YK_OK) {
        self->host->release(self->host, reg->entry);
        reg->entry = reg->fresh;
        reg->size = reg->fresh_size;
        reg->revision++;
    } else {
        self->host->release(self->host, reg->fresh);
        reg->is_unsure = true;
    }
    reg->fresh = NULL;
    give(self, token, result == YK_OK ? YK_REGISTER_OK : YK_REGISTER_UNKNOWN, reg->revision,
         yk_slice_of(NULL, 0));
    if (result == YK_OK && self->port->changed != NULL) {
        self->port->changed(self->port, reg->name);
    }
}

static const struct yk_coordinator_ops local_ops = {
    .struct_size = sizeof(local_ops),
    .life = {.create = local_create, .destroy = local_destroy},
    .open = local_open,
    .close = local_close,
    .read = local_read,
    .write = local_write,
    .loaded = local_loaded,
    .stored = local_stored,
};

YK_PLUGIN(local) = {
    YK_PLUGIN_HEAD(YK_KIND_COORDINATOR, YK_COORDINATOR_ABI),
    .name = "local",
    .version = "1",
    .summary = "keeps a cluster's registers in the data folder of its one manager",
    .details =
        "Takes exactly one manager. The registers (who belongs to the cluster, and for each "
        "bucket how it is kept and by whom) are files in the folder registers of that node's data "
        "folder, each replaced by rename and put on the device before anything is done that rests "
        "on it. They have checksums: a node with a damaged one does not start.\n\n"
        "While the manager is away the members of slots cannot change; data is served all the "
        "same.",
    .ops = &local_ops,
};
