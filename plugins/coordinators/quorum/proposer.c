/* The proposer of a register: CASPaxos (Rystsov, "CASPaxos: Replicated State Machines without
 * logs", 2018, section 2.2), one round at a time, in which all reads that wait and one write are
 * answered.
 *
 * A round prepares a ballot at a majority, takes the value of the highest ballot that any of them
 * has accepted, changes it or leaves it as it is, and has a majority accept that. What a majority
 * has accepted at one ballot is chosen: every later ballot finds it. So of each revision there is
 * one value.
 *
 * A read first asks without promises. If a majority has accepted the same ballot that is the newest
 * that was chosen before it asked: a later one would stand at one of them. Nothing is stored for
 * it. Only where they differ, since a write is under way or was left half done, it takes a whole
 * round, which leaves the value as it is.
 *
 * A write carries an id of its own. Whoever tries again finds what became of the first try: its id,
 * and it is done; the next revision of another, and it never was and, once that is accepted at a
 * higher ballot, never will be; anything later, and nobody can tell. */
#include "plugins/coordinators/quorum/quorum.h"

enum {
    RESEND_MS = 100,
    COLLISION_MS = 8,   /* the first wait is shorter than this, each later one twice as long */
    COLLISIONS_MAX = 5, /* from here on it grows no more */
    QUERIES_MAX = 3     /* that a read asks while they differ, before it takes a whole round */
};

static void start_round(struct quorum *self, struct quorum_register *reg);

/* Answers */

/* value NULL: never written. */
static void
answer(struct quorum *self, const struct quorum_question *question, enum yk_register_result result,
       const struct quorum_value *value)
{
    struct yk_register_answer told = {.struct_size = sizeof(told), .result = (uint32_t)result};
    if (value != NULL) {
        told.revision = value->revision;
        told.bytes = yk_slice_of(question->is_write ? NULL : value->bytes,
                                 question->is_write ? 0 : value->size);
    }
    if (!question->is_poll) {
        self->port->answer(self->port, question->token, &told);
    }
}

static void
question_free(struct quorum *self, struct quorum_question *question)
{
    quorum_value_unref(self, question->value);
    self->host->release(self->host, question);
    self->n_questions--;
}

/* Takes those that the filter wants out of the register's list; they keep their order. */
static struct quorum_question *
take_questions(struct quorum_register *reg,
               bool (*is_wanted)(const struct quorum_question *question, uint64_t now),
               uint64_t now)
{
    struct quorum_question *taken = NULL, **taken_end = &taken;
    for (struct quorum_question **at = &reg->questions; *at != NULL;) {
        struct quorum_question *question = *at;
        if (is_wanted(question, now)) {
            *at = question->next;
            question->next = NULL;
            *taken_end = question;
            taken_end = &question->next;
        } else {
            at = &question->next;
        }
    }
    return taken;
}

static bool
is_in_round(const struct quorum_question *question, uint64_t now)
{
    return question->is_in_round;
}

static bool
is_late(const struct quorum_question *question, uint64_t now)
{
    return question->deadline <= now;
}

void
quorum_note_revision(struct quorum *self, struct quorum_register *reg, uint64_t revision)
{
    if (revision > reg->told) {
        reg->told = revision;
        if (reg->is_watched && self->port->changed != NULL) {
            self->port->changed(self->port, reg->name);
        }
    }
}

/* Rounds */

static void
forget_answers(struct quorum *self, struct quorum_round *round)
{
    for (uint32_t i = 0; i < QUORUM_MANAGERS_MAX; i++) {
        quorum_value_unref(self, round->values[i]);
        round->values[i] = NULL;
        round->ballots[i] = (struct quorum_ballot){0};
        round->has_answered[i] = false;
    }
}

/* What this manager has accepted, so that the others need not send it. */
static void
note_own(struct quorum *self, struct quorum_register *reg)
{
    quorum_value_unref(self, reg->round.have);
    reg->round.have = quorum_value_ref(reg->acceptor.value);
    reg->round.have_ballot = reg->acceptor.accepted;
}

static void
end_round(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_round *round = &reg->round;
    forget_answers(self, round);
    quorum_value_unref(self, round->have);
    quorum_value_unref(self, round->proposal);
    *round = (struct quorum_round){.phase = QUORUM_IDLE};
}

void
quorum_proposer_done(struct quorum *self, struct quorum_register *reg)
{
    end_round(self, reg);
    while (reg->questions != NULL) {
        struct quorum_question *question = reg->questions;
        reg->questions = question->next;
        question_free(self, question);
    }
}

/* To each manager that has not answered in this phase; to this one last, since it may answer at
 * once. */
static void
send_request(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_round *round = &reg->round;
    struct quorum_message message = {.name = yk_slice_of_text(reg->name),
                                     .number = round->number,
                                     .ballot = round->ballot,
                                     .other = round->have_ballot};
    message.type = round->phase == QUORUM_QUERYING    ? QUORUM_QUERY
                   : round->phase == QUORUM_PREPARING ? QUORUM_PREPARE
                                                      : QUORUM_ACCEPT;
    if (round->phase == QUORUM_ACCEPTING) {
        message.value = quorum_value_view_of(self, round->proposal);
    }
    round->due = quorum_now(self) + RESEND_MS;
    for (uint32_t i = 1; i <= self->identity.n_managers; i++) {
        uint32_t manager = (self->identity.self + i) % self->identity.n_managers;
        if (!round->has_answered[manager]) {
            quorum_send(self, manager, &message);
        }
    }
}

/* All reads that wait, which is why each was asked before the round began, and one write. */
static void
choose_questions(struct quorum_register *reg, bool has_write)
{
    reg->round.write = NULL;
    for (struct quorum_question *one = reg->questions; one != NULL; one = one->next) {
        one->is_in_round = !one->is_write;
        if (one->is_write && has_write && reg->round.write == NULL) {
            reg->round.write = one;
            one->is_in_round = true;
        }
    }
}

static void
begin_query(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_round *round = &reg->round;
    choose_questions(reg, false);
    forget_answers(self, round);
    note_own(self, reg);
    round->n_queries++;
    round->phase = QUORUM_QUERYING;
    round->number = ++self->numbers;
    send_request(self, reg);
}

static void
begin_prepare(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_round *round = &reg->round;
    choose_questions(reg, true);
    forget_answers(self, round);
    note_own(self, reg);
    round->phase = QUORUM_PREPARING;
    round->ballot = (struct quorum_ballot){
        .counter = ++self->counter, .manager = self->identity.self, .start = self->start};
    send_request(self, reg);
}

/* A query where only reads wait, and they have not seen the managers differ for long. */
static void
begin_round(struct quorum *self, struct quorum_register *reg)
{
    bool has_write = false;
    for (const struct quorum_question *one = reg->questions; one != NULL; one = one->next) {
        has_write = has_write || one->is_write;
    }
    if (has_write || reg->round.n_queries == QUERIES_MAX) {
        begin_prepare(self, reg);
    } else {
        begin_query(self, reg);
    }
}

static void
start_round(struct quorum *self, struct quorum_register *reg)
{
    if (reg->round.phase == QUORUM_IDLE && reg->questions != NULL && self->is_complete) {
        begin_round(self, reg);
    }
}

/* Answers what the round was for. value: the register's, now; NULL: it was never written. */
static void
finish(struct quorum *self, struct quorum_register *reg, struct quorum_value *take_value)
{
    enum yk_register_result verdict = reg->round.verdict;
    bool has_written = reg->round.write != NULL && verdict == YK_REGISTER_OK;
    struct quorum_question *done = take_questions(reg, is_in_round, 0);
    end_round(self, reg);
    if (take_value != NULL && has_written) {
        struct quorum_message hint = {.type = QUORUM_HINT,
                                      .number = take_value->revision,
                                      .name = yk_slice_of_text(reg->name)};
        for (uint32_t i = 0; i < self->identity.n_managers; i++) {
            if (i != self->identity.self) {
                quorum_send(self, i, &hint);
            }
        }
    }
    if (take_value != NULL) {
        quorum_note_revision(self, reg, take_value->revision);
    }
    while (done != NULL) {
        struct quorum_question *question = done;
        done = question->next;
        answer(self, question, question->is_write ? verdict : YK_REGISTER_OK, take_value);
        question_free(self, question);
    }
    quorum_value_unref(self, take_value);
    start_round(self, reg);
}

/* Querying */

/* The value of that ballot, as somebody said it, or as it is here. */
static struct quorum_value *
value_of_ballot(const struct quorum_round *round, const struct quorum_ballot *ballot)
{
    struct quorum_value *value = NULL;
    if (quorum_ballot_compare(&round->have_ballot, ballot) == 0) {
        value = round->have;
    }
    for (uint32_t i = 0; i < QUORUM_MANAGERS_MAX && value == NULL; i++) {
        if (round->has_answered[i] && quorum_ballot_compare(&round->ballots[i], ballot) == 0) {
            value = round->values[i];
        }
    }
    return value;
}

static uint32_t
count_answers(const struct quorum_round *round)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < QUORUM_MANAGERS_MAX; i++) {
        n += round->has_answered[i];
    }
    return n;
}

/* The ballot that most have accepted, and how many those are. */
static uint32_t
count_equal(const struct quorum_round *round, const struct quorum_ballot **ret_ballot)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < QUORUM_MANAGERS_MAX; i++) {
        uint32_t n = 0;
        for (uint32_t k = 0; k < QUORUM_MANAGERS_MAX && round->has_answered[i]; k++) {
            n += round->has_answered[k] &&
                 quorum_ballot_compare(&round->ballots[i], &round->ballots[k]) == 0;
        }
        if (n > most) {
            most = n;
            *ret_ballot = &round->ballots[i];
        }
    }
    return most;
}

/* Somebody else is at work: with a higher ballot, or on what we ask for. */
static void
collide(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_round *round = &reg->round;
    uint64_t wait_ms = (uint64_t)COLLISION_MS << round->n_collisions;
    round->n_collisions += round->n_collisions < COLLISIONS_MAX;
    round->phase = QUORUM_WAITING;
    round->due = quorum_now(self) + 1 + self->host->random(self->host) % wait_ms;
}

static void
check_query(struct quorum *self, struct quorum_register *reg)
{
    const struct quorum_ballot *ballot = NULL;
    uint32_t n_equal = count_equal(&reg->round, &ballot);
    uint32_t n_missing = self->identity.n_managers - count_answers(&reg->round);
    if (n_equal >= quorum_majority(self)) {
        finish(self, reg, quorum_value_ref(value_of_ballot(&reg->round, ballot)));
    } else if (n_equal + n_missing < quorum_majority(self)) {
        collide(self, reg);
    }
}

/* Proposing */

/* What is to become of the register, whose value is `now`: the proposal, borrowed. */
static struct quorum_value *
decide(struct quorum_round *round, struct quorum_value *now)
{
    struct quorum_question *write = round->write;
    uint64_t revision = now != NULL ? now->revision : 0;
    round->verdict = YK_REGISTER_OK;
    if (write == NULL) {
        return now;
    }
    if (now != NULL && quorum_id_equal(&now->writer, &write->value->writer)) {
        return now; /* an earlier try came this far */
    }
    if (revision == write->if_revision) {
        write->is_proposed = true;
        return write->value;
    }
    if (!write->is_proposed || revision == write->value->revision) {
        round->verdict = YK_REGISTER_CONFLICT;
    } else {
        round->verdict = YK_REGISTER_UNKNOWN; /* it may lie below what is there now */
    }
    return now;
}

/* A majority has promised. */
static void
begin_accept(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_round *round = &reg->round;
    const struct quorum_ballot *best = &round->ballots[0];
    for (uint32_t i = 1; i < QUORUM_MANAGERS_MAX; i++) {
        best = quorum_ballot_compare(&round->ballots[i], best) > 0 ? &round->ballots[i] : best;
    }
    struct quorum_value *proposal = decide(round, value_of_ballot(round, best));
    quorum_value_unref(self, round->proposal);
    round->proposal = quorum_value_ref(proposal);
    forget_answers(self, round);
    if (proposal == NULL) {
        finish(self, reg, NULL); /* nothing was chosen when they promised */
        return;
    }
    round->phase = QUORUM_ACCEPTING;
    send_request(self, reg);
}

/* Messages */

/* Notes what a manager has accepted. False: that cannot be used. */
static bool
note_answer(struct quorum *self, struct quorum_round *round, const struct quorum_message *message)
{
    struct quorum_value *value = NULL;
    quorum_note_ballot(self, &message->other);
    if (!quorum_value_of(self, &message->value, &value)) {
        return false;
    }
    bool is_ours = quorum_ballot_compare(&message->other, &round->have_ballot) == 0;
    if (message->other.counter == 0 ? value != NULL : value == NULL && !is_ours) {
        quorum_value_unref(self, value);
        return false;
    }
    round->has_answered[message->sender] = true;
    round->ballots[message->sender] = message->other;
    round->values[message->sender] = value;
    return true;
}

static void
on_promise(struct quorum *self, struct quorum_register *reg, const struct quorum_message *message)
{
    if (note_answer(self, &reg->round, message) &&
        count_answers(&reg->round) >= quorum_majority(self)) {
        begin_accept(self, reg);
    }
}

static void
on_accepted(struct quorum *self, struct quorum_register *reg, const struct quorum_message *message)
{
    struct quorum_round *round = &reg->round;
    round->has_answered[message->sender] = true;
    if (count_answers(round) >= quorum_majority(self)) {
        finish(self, reg, quorum_value_ref(round->proposal));
    }
}

void
quorum_propose_message(struct quorum *self, const struct quorum_message *message)
{
    struct quorum_register *reg = quorum_find(self, message->name);
    if (reg == NULL) {
        return;
    }
    const struct quorum_round *round = &reg->round;
    bool is_new = !round->has_answered[message->sender];
    bool is_of_ballot = quorum_ballot_compare(&message->ballot, &round->ballot) == 0;
    bool is_preparing = round->phase == QUORUM_PREPARING && is_of_ballot;
    bool is_accepting = round->phase == QUORUM_ACCEPTING && is_of_ballot;
    if (message->type == QUORUM_HINT) {
        quorum_note_revision(self, reg, message->number);
    } else if (message->type == QUORUM_STATE) {
        if (round->phase == QUORUM_QUERYING && message->number == round->number && is_new &&
            note_answer(self, &reg->round, message)) {
            check_query(self, reg);
        }
    } else if (message->type == QUORUM_PROMISE && is_preparing && is_new) {
        on_promise(self, reg, message);
    } else if (message->type == QUORUM_ACCEPTED && is_accepting && is_new) {
        on_accepted(self, reg, message);
    } else if (message->type == QUORUM_NACK && (is_preparing || is_accepting)) {
        quorum_note_ballot(self, &message->other);
        collide(self, reg);
    }
}

/* Questions and time */

bool
quorum_ask(struct quorum *self, struct quorum_register *reg, const struct quorum_question *question)
{
    struct quorum_question **end = &reg->questions;
    struct quorum_question *kept = NULL;
    if (self->n_questions < QUORUM_QUESTIONS_MAX) {
        kept = (struct quorum_question *)self->host->alloc(self->host, sizeof(*kept));
    }
    if (kept == NULL) {
        return false;
    }
    *kept = *question;
    kept->next = NULL;
    kept->deadline = quorum_now(self) + self->timeout_ms;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = kept;
    self->n_questions++;
    start_round(self, reg);
    return true;
}

/* Answers what has waited too long. A round that nobody waits for any more is left as it is. */
static void
expire(struct quorum *self, struct quorum_register *reg, uint64_t now)
{
    struct quorum_question *late = take_questions(reg, is_late, now);
    bool is_wanted = false;
    for (struct quorum_question *one = late; one != NULL; one = one->next) {
        reg->round.write = one == reg->round.write ? NULL : reg->round.write;
    }
    for (struct quorum_question *one = reg->questions; one != NULL; one = one->next) {
        is_wanted = is_wanted || one->is_in_round;
    }
    if (!is_wanted) {
        end_round(self, reg);
    }
    while (late != NULL) {
        struct quorum_question *question = late;
        late = question->next;
        bool is_undone = question->is_write && !question->is_proposed;
        answer(self, question, is_undone ? YK_REGISTER_FAILED : YK_REGISTER_UNKNOWN, NULL);
        question_free(self, question);
    }
}

static void
poll_register(struct quorum *self, struct quorum_register *reg, uint64_t now)
{
    bool is_polled = false;
    for (const struct quorum_question *one = reg->questions; one != NULL; one = one->next) {
        is_polled = is_polled || one->is_poll;
    }
    reg->poll_at = now + self->poll_ms + self->host->random(self->host) % (self->poll_ms / 4 + 1);
    if (!is_polled) {
        /* Without memory for it the next poll asks. */
        (void)quorum_ask(self, reg, &(struct quorum_question){.is_poll = true});
    }
}

void
quorum_propose_timer(struct quorum *self, struct quorum_register *reg, uint64_t now)
{
    expire(self, reg, now);
    struct quorum_round *round = &reg->round;
    if (round->phase != QUORUM_IDLE && round->due <= now) {
        bool is_split =
            round->phase == QUORUM_QUERYING && count_answers(round) >= quorum_majority(self);
        if (round->phase == QUORUM_WAITING || is_split) {
            begin_round(self, reg);
        } else {
            send_request(self, reg);
        }
    }
    start_round(self, reg);
    if (reg->is_watched && reg->poll_at <= now) {
        poll_register(self, reg, now);
    }
}

uint64_t
quorum_propose_due(const struct quorum *self, const struct quorum_register *reg)
{
    uint64_t due = reg->round.phase != QUORUM_IDLE ? reg->round.due : UINT64_MAX;
    if (reg->is_watched && reg->poll_at < due) {
        due = reg->poll_at;
    }
    for (const struct quorum_question *one = reg->questions; one != NULL; one = one->next) {
        due = one->deadline < due ? one->deadline : due;
    }
    return due;
}
