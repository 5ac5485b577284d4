/* The manager's part: questions wait at their register, are judged together, and written by one
 * compare-and-swap. What is judged is in control_creation.c and in the rules. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/assert.h"
#include "core/node/control_inside.h"

/* Life */

bool
managing_init(struct yk_control *control)
{
    control->regs = calloc(control->n_known, sizeof(*control->regs));
    control->candidates = calloc(control->setup.config->n_nodes, sizeof(*control->candidates));
    if (control->regs == NULL || control->candidates == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < control->n_known; i++) {
        struct reg *reg = &control->regs[i];
        memcpy(reg->name, control->known[i].name, sizeof(reg->name));
        reg->bucket = i - 1; /* UINT32_MAX for `cluster` */
        control_effect(control, &(struct yk_control_effect){.kind = YK_CONTROL_WATCH,
                                                            .coordinator = {.name = reg->name}});
    }
    control->regs[0].cluster = calloc(1, sizeof(struct yk_cluster_register));
    return control->regs[0].cluster != NULL;
}

static void
free_task(struct task *task)
{
    free(task->ask.wishes);
    free(task->refusals);
    free(task);
}

static void
free_tasks(struct task *task)
{
    while (task != NULL) {
        struct task *next = task->next;
        free_task(task);
        task = next;
    }
}

void
managing_done(struct yk_control *control)
{
    for (uint32_t i = 0; control->regs != NULL && i < control->n_known; i++) {
        struct reg *reg = &control->regs[i];
        free_tasks(reg->batch);
        free_tasks(reg->waiting);
        if (reg->state == REG_WRITING) {
            yk_pack_done(&reg->pack);
        }
        yk_bucket_register_done(&reg->decoded);
        free(reg->cluster);
        free(reg->bytes);
    }
    for (uint32_t i = 0; control->candidates != NULL && i < control->setup.config->n_nodes; i++) {
        for (uint32_t k = 0; k < YK_BUCKETS_MAX; k++) {
            free(control->candidates[i].incarnations[k]);
        }
    }
    free(control->candidates);
    free(control->regs);
}

static struct reg *
find_reg(struct yk_control *control, const char *name)
{
    for (uint32_t i = 0; control->is_manager && i < control->n_known; i++) {
        if (strcmp(control->regs[i].name, name) == 0) {
            return &control->regs[i];
        }
    }
    return NULL;
}

/* Answers */

static void
answer(struct yk_control *control, uint32_t peer, const struct yk_ask *ask, const struct reg *reg,
       enum yk_answer_result result, const struct task *task, const char *text)
{
    struct yk_answer message = {.question = ask->question, .result = result};
    struct yk_pack pack;
    bool holds = result == YK_ANSWER_HOLDS || result == YK_ANSWER_REFUSED;
    memcpy(message.name, ask->name, sizeof(message.name));
    snprintf(message.text, sizeof(message.text), "%s", text);
    if (holds) {
        message.revision = reg->revision;
        if (reg->revision > 0 && reg->revision != ask->revision) {
            message.bytes = yk_slice_of(reg->bytes, reg->size);
        }
    }
    if (holds && task != NULL && task->ask.n_wishes > 0) {
        message.refused = calloc(task->ask.n_wishes, sizeof(*message.refused));
        for (uint32_t i = 0; message.refused != NULL && i < task->ask.n_wishes; i++) {
            if (task->refusals[i] != YK_REFUSAL_NONE) {
                message.refused[message.n_refused++] = task->ask.wishes[i];
            }
        }
    }
    yk_pack_init(&pack, YK_CONTROL_SIZE_MAX);
    yk_answer_encode(&pack, &message);
    control_send(control, peer, &pack);
    free(message.refused);
}

static void
end_task(struct yk_control *control, struct reg *reg, struct task *task,
         enum yk_answer_result result, const char *text)
{
    if (task->peer != YK_PEER_NONE) {
        answer(control, task->peer, &task->ask, reg, result, task, text);
    }
    reg->n_tasks--;
    free_task(task);
}

/* All that was judged is answered from what the register has now. */
static void
end_batch(struct yk_control *control, struct reg *reg)
{
    struct task *task = reg->batch;
    reg->batch = NULL;
    reg->n_failed = 0;
    while (task != NULL) {
        struct task *next = task->next;
        bool is_refused = task->text[0] != '\0';
        end_task(control, reg, task, is_refused ? YK_ANSWER_REFUSED : YK_ANSWER_HOLDS, task->text);
        task = next;
    }
}

static bool
is_asker(const struct reg *reg, uint32_t peer)
{
    for (const struct task *task = reg->batch; task != NULL; task = task->next) {
        if (task->peer == peer) {
            return true;
        }
    }
    return false;
}

/* Best effort: who does not hear it asks before long. Who has asked gets it with the answer. */
static void
tell_all(struct yk_control *control, const struct reg *reg)
{
    struct yk_changed changed = {.revision = reg->revision,
                                 .bytes = yk_slice_of(reg->bytes, reg->size)};
    memcpy(changed.name, reg->name, sizeof(changed.name));
    for (uint32_t i = 0; i <= control->n_others; i++) {
        uint32_t peer = i < control->n_others ? control->others[i] : YK_PEER_SELF;
        if (!is_asker(reg, peer)) {
            struct yk_pack pack;
            yk_pack_init(&pack, YK_CONTROL_SIZE_MAX);
            yk_changed_encode(&pack, &changed);
            control_send(control, peer, &pack);
        }
    }
}

/* The register */

static bool
keep_bytes(struct reg *reg, struct yk_slice bytes, uint64_t revision)
{
    uint8_t *copy = malloc(bytes.size + 1);
    if (copy == NULL) {
        return false;
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    free(reg->bytes);
    reg->bytes = copy;
    reg->size = bytes.size;
    reg->revision = revision;
    reg->is_known = true;
    return true;
}

/* Decodes what was read; false: it cannot be used. */
static bool
load(struct yk_control *control, struct reg *reg, struct yk_slice bytes, uint64_t revision)
{
    char error[YK_ERROR_SIZE] = "out of memory";
    enum yk_err result = YK_OK;
    reg->is_sure = false;
    if (reg->bucket == UINT32_MAX) {
        memset(reg->cluster, 0, sizeof(*reg->cluster));
        result = revision > 0 ? yk_cluster_register_decode(bytes, reg->cluster, error) : YK_OK;
    } else {
        struct yk_bucket_register fresh = {.n_nodes = 0};
        result = revision > 0 ? yk_bucket_register_decode(bytes, &fresh, error) : YK_OK;
        yk_bucket_register_done(&reg->decoded);
        reg->decoded = fresh;
    }
    if (result == YK_OK && !keep_bytes(reg, bytes, revision)) {
        result = YK_ENOMEM;
    }
    if (result != YK_OK) {
        yk_log(control->setup.world, YK_LOG_ERROR, "manager", "register %s: %s", reg->name, error);
    }
    reg->is_sure = result == YK_OK;
    return reg->is_sure;
}

static void
read_register(struct yk_control *control, struct reg *reg)
{
    reg->state = REG_READING;
    reg->token = ++control->n_tokens;
    reg->until_us = control->now_us + CONTROL_MS(STUCK_MS);
    control_effect(control, &(struct yk_control_effect){
                                .kind = YK_CONTROL_READ,
                                .coordinator = {.name = reg->name, .token = reg->token}});
}

/* After a conflict, or where nobody knows: a while, longer each time, then all over again. */
static void
rest(struct yk_control *control, struct reg *reg)
{
    uint32_t shift = reg->n_failed < 6 ? reg->n_failed : 6;
    int64_t rest_us = CONTROL_MS(REST_MS) << shift;
    rest_us = rest_us < CONTROL_MS(REST_MAX_MS) ? rest_us : CONTROL_MS(REST_MAX_MS);
    reg->n_failed++;
    reg->is_sure = false;
    reg->state = REG_RESTING;
    reg->until_us = control->now_us + control_jitter(control, rest_us);
}

static bool
encode(struct yk_control *control, struct reg *reg)
{
    char error[YK_ERROR_SIZE];
    enum yk_err result = YK_OK;
    yk_pack_init(&reg->pack, YK_REGISTER_SIZE_MAX);
    if (reg->bucket != UINT32_MAX && reg->decoded.slots != NULL) {
        result = yk_bucket_register_encode(&reg->decoded, &reg->pack, error);
    } else if (reg->bucket == UINT32_MAX && reg->cluster->n_nodes > 0) {
        result = yk_cluster_register_encode(reg->cluster, &reg->pack, error);
    }
    if (result != YK_OK) {
        yk_log(control->setup.world, YK_LOG_ERROR, "manager", "register %s: %s", reg->name, error);
        yk_pack_done(&reg->pack);
    }
    return result == YK_OK;
}

enum judgement { NOTHING_NEW, WRITES, FAILS };

/* Judges the batch on what is decoded, and begins to write what has become of it. */
static enum judgement
judge(struct yk_control *control, struct reg *reg)
{
    for (struct task *task = reg->batch; task != NULL; task = task->next) {
        creation_judge(control, reg, task);
    }
    if (!encode(control, reg)) {
        return FAILS;
    }
    if (yk_slice_equal(yk_pack_bytes_of(&reg->pack), yk_slice_of(reg->bytes, reg->size))) {
        yk_pack_done(&reg->pack);
        return NOTHING_NEW;
    }
    reg->state = REG_WRITING;
    reg->token = ++control->n_tokens;
    reg->until_us = control->now_us + CONTROL_MS(STUCK_MS);
    control_effect(
        control, &(struct yk_control_effect){.kind = YK_CONTROL_WRITE,
                                             .coordinator = {.name = reg->name,
                                                             .token = reg->token,
                                                             .bytes = yk_pack_bytes_of(&reg->pack),
                                                             .if_revision = reg->revision}});
    return WRITES;
}

/* Takes what waits into the batch, and begins. Where the register is known already, a write by that
 * knowledge saves the read: if it is granted, it was so. What comes of no write, a refusal too, is
 * told only by a read that begins now. */
static void
work(struct yk_control *control, struct reg *reg)
{
    struct task **end = &reg->batch;
    if (reg->state != REG_IDLE) {
        return;
    }
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = reg->waiting;
    reg->waiting = NULL;
    if (reg->batch == NULL) {
        return;
    }
    if (!reg->is_sure || judge(control, reg) != WRITES) {
        read_register(control, reg);
    }
}

static void
give_up_old(struct yk_control *control, struct reg *reg)
{
    struct task **at = &reg->batch;
    while (*at != NULL) {
        struct task *task = *at;
        if (control->now_us < task->until_us) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        end_task(control, reg, task, YK_ANSWER_LATER,
                 "the coordinator cannot say: are enough managers there?");
    }
}

static void
was_read(struct yk_control *control, struct reg *reg, const struct yk_register_answer *answered)
{
    reg->refresh_us = control->now_us + control_jitter(control, CONTROL_MS(REFRESH_MS));
    reg->state = REG_IDLE;
    if (answered->result != YK_REGISTER_OK ||
        !load(control, reg, answered->bytes, answered->revision)) {
        rest(control, reg);
        return;
    }
    switch (reg->batch != NULL ? judge(control, reg) : NOTHING_NEW) {
    case NOTHING_NEW:
        end_batch(control, reg);
        work(control, reg);
        break;
    case WRITES:
        break;
    case FAILS:
        rest(control, reg);
        break;
    }
}

static void
was_written(struct yk_control *control, struct reg *reg, const struct yk_register_answer *answered)
{
    reg->state = REG_IDLE;
    bool is_done = answered->result == YK_REGISTER_OK &&
                   keep_bytes(reg, yk_pack_bytes_of(&reg->pack), answered->revision);
    yk_pack_done(&reg->pack);
    if (!is_done) {
        rest(control, reg);
        return;
    }
    tell_all(control, reg);
    end_batch(control, reg);
    work(control, reg);
}

void
managing_answered(struct yk_control *control, uint64_t token,
                  const struct yk_register_answer *answered)
{
    for (uint32_t i = 0; control->is_manager && i < control->n_known; i++) {
        struct reg *reg = &control->regs[i];
        if (reg->token != token) {
            continue;
        }
        if (reg->state == REG_READING) {
            was_read(control, reg, answered);
        } else if (reg->state == REG_WRITING) {
            was_written(control, reg, answered);
        }
        return;
    }
}

void
managing_turn(struct yk_control *control)
{
    for (uint32_t i = 0; control->is_manager && i < control->n_known; i++) {
        struct reg *reg = &control->regs[i];
        if (reg->state != REG_IDLE && control->now_us >= reg->until_us) {
            if (reg->state == REG_WRITING) {
                yk_pack_done(&reg->pack);
            }
            reg->is_sure = reg->is_sure && reg->state != REG_WRITING;
            reg->token = 0; /* what still comes is nobody's */
            reg->state = REG_IDLE;
            give_up_old(control, reg);
            work(control, reg);
        }
        if (reg->state == REG_IDLE && control->now_us >= reg->refresh_us) {
            read_register(control, reg);
        }
    }
}

int64_t
managing_next_turn(const struct yk_control *control)
{
    int64_t next_us = INT64_MAX;
    for (uint32_t i = 0; control->is_manager && i < control->n_known; i++) {
        const struct reg *reg = &control->regs[i];
        int64_t at_us = reg->state == REG_IDLE ? reg->refresh_us : reg->until_us;
        next_us = at_us < next_us ? at_us : next_us;
    }
    return next_us;
}

/* Questions */

static void
add_task(struct yk_control *control, struct reg *reg, struct task *task)
{
    struct task **end = &reg->waiting;
    task->until_us = control->now_us + CONTROL_MS(PATIENCE_MS);
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = task;
    reg->n_tasks++;
    work(control, reg);
}

void
managing_asked(struct yk_control *control, uint32_t peer, struct yk_ask *ask)
{
    struct reg *reg = find_reg(control, ask->name);
    struct task *task = NULL;
    if (reg == NULL) {
        answer(control, peer, ask, NULL, YK_ANSWER_UNKNOWN, NULL,
               control->is_manager ? "the manager's file has no such bucket"
                                   : "the node that was asked is no manager");
    } else if (ask->n_wishes == 0 && !ask->is_fresh && reg->is_known) {
        answer(control, peer, ask, reg, YK_ANSWER_HOLDS, NULL, "");
    } else if (reg->n_tasks < YK_CONTROL_TASKS_MAX) {
        task = calloc(1, sizeof(*task));
    }
    if (reg != NULL && ask->has_start) {
        creation_note(control, reg, ask);
    }
    if (task != NULL && ask->n_wishes > 0) {
        task->refusals = calloc(ask->n_wishes, sizeof(*task->refusals));
    }
    if (task == NULL || (ask->n_wishes > 0 && task->refusals == NULL)) {
        free(ask->wishes); /* without memory it is as if it had not come */
        free(task);
        return;
    }
    task->peer = peer;
    task->ask = *ask;
    add_task(control, reg, task);
}

void
managing_create(struct yk_control *control, struct reg *reg, bool is_now)
{
    for (const struct task *task = reg->batch; task != NULL; task = task->next) {
        if (task->is_create) {
            return; /* it is under way */
        }
    }
    struct task *task = calloc(1, sizeof(*task));
    if (task != NULL) {
        task->peer = YK_PEER_NONE;
        task->is_create = true;
        task->is_now = is_now;
        add_task(control, reg, task);
    }
}

/* Hints */

void
managing_changed(struct yk_control *control, const char *name)
{
    struct reg *reg = find_reg(control, name);
    if (reg != NULL) {
        reg->refresh_us = control->now_us;
    }
}

/* Another manager has written: nodes that ask here hear of it, and what is judged next is judged by
 * it; a compare-and-swap, or a read, decides whether it is true. */
void
managing_told(struct yk_control *control, const struct yk_changed *changed)
{
    struct reg *reg = find_reg(control, changed->name);
    if (reg != NULL && reg->state == REG_IDLE && changed->revision > reg->revision) {
        (void)load(control, reg, changed->bytes, changed->revision);
    }
}
