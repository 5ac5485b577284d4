/* The node's part: it asks managers, and takes what they say. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/assert.h"
#include "core/manager/describe.h"
#include "core/node/control_inside.h"

bool
member_init(struct yk_control *control)
{
    control->known = calloc(control->n_known, sizeof(*control->known));
    if (control->known == NULL) {
        return false;
    }
    snprintf(control->known[0].name, sizeof(control->known[0].name), "cluster");
    for (uint32_t i = 1; i < control->n_known; i++) {
        struct known *known = &control->known[i];
        uint32_t slots = control->setup.config->buckets[i - 1].slots;
        snprintf(known->name, sizeof(known->name), "bucket.%s",
                 control->setup.config->buckets[i - 1].name);
        known->wishes = calloc(slots, sizeof(*known->wishes));
        known->places = calloc(slots, sizeof(*known->places));
        if (known->wishes == NULL || known->places == NULL) {
            return false;
        }
    }
    return true;
}

void
member_done(struct yk_control *control)
{
    for (uint32_t i = 0; control->known != NULL && i < control->n_known; i++) {
        yk_bucket_register_done(&control->known[i].next);
        free(control->known[i].wishes);
        free(control->known[i].places);
    }
    free(control->known);
}

static struct known *
find_known(struct yk_control *control, const char *name)
{
    for (uint32_t i = 0; i < control->n_known; i++) {
        if (strcmp(control->known[i].name, name) == 0) {
            return &control->known[i];
        }
    }
    return NULL;
}

/* Says what an operator should know of a register, but not too often. */
static void
complain(struct yk_control *control, struct known *known, enum yk_log_level level, const char *what)
{
    if (known->complained_us != 0 &&
        control->now_us - known->complained_us < CONTROL_MS(COMPLAINT_MS)) {
        return;
    }
    known->complained_us = control->now_us;
    yk_log(control->setup.world, level, "control", "register %s: %s", known->name, what);
}

/* Asking */

static void
fill_start(const struct yk_control *control, const struct known *known, struct yk_ask_start *start)
{
    const struct yk_node_config *node = &control->setup.config->node;
    uint32_t index = (uint32_t)(known - control->known);
    snprintf(start->name, sizeof(start->name), "%s", node->name);
    snprintf(start->address, sizeof(start->address), "%.63s", node->address);
    snprintf(start->zone, sizeof(start->zone), "%s", node->zone);
    start->weight = node->weight;
    start->n_workers = control->setup.n_workers;
    if (index == 0) {
        return;
    }
    const struct yk_bucket_register *bucket = control_bucket(control, index - 1);
    uint32_t self = bucket->slots != NULL ? yk_bucket_register_find(bucket, control->setup.node_id)
                                          : bucket->n_nodes;
    start->replaces = self < bucket->n_nodes ? bucket->nodes[self].nonce : 0;
    start->n_lanes = control->setup.n_lanes;
    memcpy(start->incarnations, control->setup.incarnations[index - 1],
           start->n_lanes * sizeof(start->incarnations[0]));
}

/* wishes: NULL for a question that is about the register alone. */
static void
ask(struct yk_control *control, struct known *known, struct question *question,
    struct yk_ask_wish *wishes, uint32_t n_wishes)
{
    struct yk_pack pack;
    struct yk_ask message = {.question = ++control->n_questions,
                             .revision = known->revision,
                             .is_fresh = wishes == NULL && !known->is_fresh,
                             .nonce = control->setup.nonce,
                             .wishes = wishes,
                             .n_wishes = n_wishes};
    snprintf(message.name, sizeof(message.name), "%s", known->name);
    memcpy(message.node_id, control->setup.node_id, sizeof(message.node_id));
    message.has_start = message.is_fresh && (known == control->known || control->is_server);
    if (message.has_start) {
        fill_start(control, known, &message.start);
    }
    uint32_t shift = known->n_failed < 2 ? known->n_failed : 2;
    int64_t patience_us = CONTROL_MS(ANSWER_MS) << shift;
    *question =
        (struct question){.number = message.question,
                          .until_us = control->now_us + control_jitter(control, patience_us),
                          .peer = control->managers[control->manager],
                          .is_fresh = message.is_fresh,
                          .is_blind = known != control->known && message.start.replaces == 0};
    yk_pack_init(&pack, YK_CONTROL_SIZE_MAX);
    yk_ask_encode(&pack, &message);
    control_send(control, question->peer, &pack);
}

static void
ask_wishes(struct yk_control *control, struct known *known)
{
    struct yk_ask_wish *wishes = calloc(known->n_wishes, sizeof(*wishes));
    for (uint32_t i = 0; wishes != NULL && i < known->n_wishes; i++) {
        const struct yk_slot_wish *from = &known->wishes[i];
        known->places[from->slot] = 0;
        wishes[i] = (struct yk_ask_wish){.slot = from->slot,
                                         .kind = from->wish.kind,
                                         .epoch = from->wish.epoch,
                                         .node = from->wish.node,
                                         .incarnation = from->wish.incarnation};
    }
    if (wishes != NULL) { /* without memory they wait */
        ask(control, known, &known->wish, wishes, known->n_wishes);
        known->n_wishes = 0;
        free(wishes);
    }
}

/* Nobody has answered: another manager may. Wishes are not asked again: a replica that still has
 * its wish says so again. */
static void
failed(struct yk_control *control, struct known *known, struct question *question)
{
    if (question->peer == control->managers[control->manager]) {
        control->manager = (control->manager + 1) % control->n_managers;
    }
    question->number = 0;
    known->n_failed++;
    uint32_t shift = known->n_failed < 5 ? known->n_failed : 5;
    known->poll_us = control->now_us + control_jitter(control, (CONTROL_MS(10) << shift));
}

void
member_lost(struct yk_control *control, uint32_t peer)
{
    for (uint32_t i = 0; i < control->n_known; i++) {
        struct known *known = &control->known[i];
        if (known->poll.number != 0 && known->poll.peer == peer) {
            failed(control, known, &known->poll);
        }
        if (known->wish.number != 0 && known->wish.peer == peer) {
            failed(control, known, &known->wish);
        }
    }
}

void
member_turn(struct yk_control *control)
{
    for (uint32_t i = 0; i < control->n_known && control->n_managers > 0; i++) {
        struct known *known = &control->known[i];
        if (known->poll.number != 0 && control->now_us >= known->poll.until_us) {
            failed(control, known, &known->poll);
        }
        if (known->wish.number != 0 && control->now_us >= known->wish.until_us) {
            failed(control, known, &known->wish);
        }
        if (known->poll.number == 0 && control->now_us >= known->poll_us) {
            ask(control, known, &known->poll, NULL, 0);
        }
        if (known->wish.number == 0 && known->n_wishes > 0) {
            ask_wishes(control, known);
        }
    }
}

int64_t
member_next_turn(const struct yk_control *control)
{
    int64_t next_us = INT64_MAX;
    for (uint32_t i = 0; i < control->n_known; i++) {
        const struct known *known = &control->known[i];
        int64_t at_us = known->poll.number != 0 ? known->poll.until_us : known->poll_us;
        next_us = at_us < next_us ? at_us : next_us;
        if (known->wish.number != 0 || known->n_wishes > 0) {
            at_us = known->wish.number != 0 ? known->wish.until_us : 0;
            next_us = at_us < next_us ? at_us : next_us;
        }
    }
    return next_us;
}

/* Taking what is said */

static void
take_cluster(struct yk_control *control, struct known *known, const struct yk_changed *changed)
{
    struct yk_cluster_register *cluster = malloc(sizeof(*cluster));
    char error[YK_ERROR_SIZE];
    char line[2 * YK_ERROR_SIZE];
    if (cluster == NULL) {
        return;
    }
    if (yk_cluster_register_decode(changed->bytes, cluster, error) != YK_OK) {
        complain(control, known, YK_LOG_ERROR, error);
        free(cluster);
        return;
    }
    if (control->setup.cluster_id[0] != '\0' &&
        strcmp(control->setup.cluster_id, cluster->id) != 0) {
        snprintf(line, sizeof(line),
                 "it is of cluster %s, and this node's data folder belongs to cluster %s: the "
                 "managers in the file are another cluster's, or the folder is",
                 cluster->id, control->setup.cluster_id);
        complain(control, known, YK_LOG_ERROR, line);
        free(cluster);
        return;
    }
    free(control->cluster);
    control->cluster = cluster;
    known->revision = changed->revision;
    control->is_view_dirty = true;
    control_meet(control);
    if (!control->is_joined && !control->is_joining) {
        struct yk_control_effect effect = {.kind = YK_CONTROL_JOIN};
        memcpy(effect.join, cluster->id, sizeof(effect.join));
        control->is_joining = true;
        control_effect(control, &effect);
    }
}

/* The registers rule: what the file says otherwise is passed over, and said; but data of one form
 * is not read by another. */
static void
compare_with_file(struct yk_control *control, struct known *known,
                  const struct yk_bucket_description *description)
{
    struct yk_bucket_description of_file;
    uint32_t index = (uint32_t)(known - control->known) - 1;
    yk_bucket_describe(&control->setup.config->buckets[index], &of_file);
    known->is_foreign =
        !yk_bucket_has_form(description, &of_file) || description->durability != of_file.durability;
    if (known->is_foreign) {
        complain(control, known, YK_LOG_ERROR,
                 "the cluster keeps this bucket with other slots, another engine, other filters or "
                 "another durability than this node's file says: make the file say the same, and "
                 "restart the node");
    } else if (description->copies != of_file.copies ||
               description->min_copies != of_file.min_copies ||
               description->reads != of_file.reads) {
        complain(control, known, YK_LOG_WARNING,
                 "copies, min_copies or reads are others than in this node's file; the register "
                 "rules");
    }
}

static void
take_bucket(struct yk_control *control, struct known *known, const struct yk_changed *changed)
{
    struct yk_bucket_register bucket;
    char error[YK_ERROR_SIZE];
    if (yk_bucket_register_decode(changed->bytes, &bucket, error) != YK_OK) {
        complain(control, known, YK_LOG_ERROR, error);
        return;
    }
    compare_with_file(control, known, &bucket.description);
    known->revision = changed->revision;
    if (known->is_foreign) {
        yk_bucket_register_done(&bucket);
        return;
    }
    yk_bucket_register_done(&known->next);
    known->next = bucket;
    control->is_view_dirty = true;
}

static void
take(struct yk_control *control, struct known *known, const struct yk_changed *changed)
{
    if (changed->bytes.data == NULL || changed->revision <= known->revision) {
        return;
    }
    if (known == control->known) {
        take_cluster(control, known, changed);
    } else {
        take_bucket(control, known, changed);
    }
}

void
member_told(struct yk_control *control, const struct yk_changed *changed)
{
    struct known *known = find_known(control, changed->name);
    if (known != NULL) {
        take(control, known, changed);
    }
}

/* Does this start of the node stand in what is known of the register? */
static bool
is_registered(struct yk_control *control, struct known *known)
{
    uint32_t index = (uint32_t)(known - control->known);
    if (index == 0) {
        return known->revision > 0 && control->cluster->n_nodes > 0;
    }
    const struct yk_bucket_register *bucket = control_bucket(control, index - 1);
    if (bucket->slots == NULL || known->is_foreign) {
        return false;
    }
    uint32_t self = yk_bucket_register_find(bucket, control->setup.node_id);
    return !control->is_server ||
           (self < bucket->n_nodes && bucket->nodes[self].nonce == control->setup.nonce);
}

/* Refusals, for each worker its own. */
static void
give_refusals(struct yk_control *control, const struct known *known, const struct yk_answer *answer)
{
    for (uint32_t worker = 0; worker < control->setup.n_workers; worker++) {
        struct yk_wishes *refused = NULL;
        for (uint32_t i = 0; i < answer->n_refused; i++) {
            const struct yk_ask_wish *wish = &answer->refused[i];
            if (wish->slot % control->setup.n_lanes % control->setup.n_workers != worker) {
                continue;
            }
            if (refused == NULL) {
                refused =
                    calloc(1, sizeof(*refused) + answer->n_refused * sizeof(refused->wishes[0]));
                YK_ASSERT(refused != NULL);
                refused->worker = worker;
            }
            refused->wishes[refused->n++] = (struct yk_slot_wish){
                .bucket = (uint16_t)(known - control->known - 1),
                .slot = (uint16_t)wish->slot,
                .wish = {.kind = (enum yk_wish_kind)wish->kind, .epoch = wish->epoch}};
        }
        if (refused != NULL) {
            control_effect(control, &(struct yk_control_effect){.kind = YK_CONTROL_REFUSED,
                                                                .refused = refused});
        }
    }
}

/* The first register that nobody has made yet. */
static const struct known *
first_missing(const struct yk_control *control)
{
    uint32_t i = 0;
    while (i < control->n_known && control->known[i].revision > 0) {
        i++;
    }
    return i < control->n_known ? &control->known[i] : NULL;
}

/* The start before is known now, and was not when the question was asked. */
static bool
has_learned_start(const struct yk_control *control, const struct known *known)
{
    if (!known->poll.is_blind || known->revision == 0) {
        return false;
    }
    const struct yk_bucket_register *bucket =
        control_bucket(control, (uint32_t)(known - control->known) - 1);
    return yk_bucket_register_find(bucket, control->setup.node_id) < bucket->n_nodes;
}

static void
poll_answered(struct yk_control *control, struct known *known, const struct yk_answer *answer)
{
    int64_t wait_us = CONTROL_MS(POLL_MS);
    if (answer->result == YK_ANSWER_REFUSED && has_learned_start(control, known)) {
        wait_us = 0;
    } else if (answer->result == YK_ANSWER_REFUSED) {
        char line[2 * YK_ERROR_SIZE];
        snprintf(line, sizeof(line), "this node cannot register: %.400s", answer->text);
        complain(control, known, YK_LOG_WARNING, line);
        wait_us = CONTROL_MS(20) << (known->n_failed < 6 ? known->n_failed++ : 6);
    } else {
        known->n_failed = 0;
        if (answer->revision == 0) {
            if (known == first_missing(control)) { /* every manager is to hear of this start */
                control->manager = (control->manager + 1) % control->n_managers;
            }
            complain(control, known, YK_LOG_NOTICE,
                     "there is none yet: this node waits for 'yakumo cluster create'");
        } else if (known->poll.is_fresh && !known->is_fresh && is_registered(control, known)) {
            known->is_fresh = true;
            known->complained_us = 0;
            control->is_view_dirty = true;
        }
    }
    known->poll_us = control->now_us + control_jitter(control, wait_us);
}

void
member_answered(struct yk_control *control, const struct yk_answer *answer)
{
    struct known *known = find_known(control, answer->name);
    if (known == NULL) {
        return;
    }
    bool is_poll = known->poll.number != 0 && known->poll.number == answer->question;
    bool is_wish = known->wish.number != 0 && known->wish.number == answer->question;
    if (answer->result == YK_ANSWER_LATER || answer->result == YK_ANSWER_UNKNOWN) {
        if (is_poll || is_wish) {
            complain(control, known, YK_LOG_WARNING, answer->text);
            failed(control, known, is_poll ? &known->poll : &known->wish);
        }
        return;
    }
    struct yk_changed changed = {.revision = answer->revision, .bytes = answer->bytes};
    take(control, known, &changed);
    if (is_wish) {
        known->wish.number = 0;
        known->n_failed = 0;
    }
    give_refusals(control, known, answer);
    if (is_poll) {
        known->poll.number = 0;
        poll_answered(control, known, answer);
    }
}

/* Wishes */

static void
add_wish(struct yk_control *control, const struct yk_slot_wish *wish)
{
    YK_ASSERT(wish->bucket + 1u < control->n_known);
    YK_ASSERT(wish->slot < control->setup.config->buckets[wish->bucket].slots);
    struct known *known = &control->known[wish->bucket + 1];
    uint32_t *place = &known->places[wish->slot];
    if (*place == 0) {
        *place = ++known->n_wishes;
    }
    known->wishes[*place - 1] = *wish;
}

void
member_wishes(struct yk_control *control, struct yk_wishes *wishes)
{
    for (uint32_t i = 0; i < wishes->n; i++) {
        add_wish(control, &wishes->wishes[i]);
    }
    free(wishes);
}
