/* The acceptor of a register (Paxos: it promises, it accepts). Every promise and every acceptance
 * is durable before its answer leaves, in two entries: p.NAME, the ballot that was promised, and
 * v.NAME, the value and the ballot at which it was accepted, which is a promise too.
 *
 * One of them is under way at a time, and until it is durable the acceptor answers as it was
 * before. When storing failed the old bytes or the new ones are there, and what it said by the one
 * would be false by the other: it says nothing more of that register until it starts again and
 * reads which ones they are. */
#include "plugins/coordinators/quorum/quorum.h"

static void
release_held(struct quorum *self, struct quorum_held *held)
{
    self->host->release(self->host, held->bytes);
    *held = (struct quorum_held){.bytes = NULL};
}

void
quorum_acceptor_done(struct quorum *self, struct quorum_acceptor *acceptor)
{
    for (uint32_t i = 0; i < QUORUM_MANAGERS_MAX; i++) {
        release_held(self, &acceptor->held[i]);
    }
    quorum_value_unref(self, acceptor->value);
    quorum_value_unref(self, acceptor->fresh);
}

static struct quorum_message
answer_of(const struct quorum_register *reg, enum quorum_type type)
{
    return (struct quorum_message){
        .type = type,
        .name = yk_slice_of_text(reg->name),
        .ballot = reg->acceptor.ballot,
    };
}

/* What was accepted; its value only if the asker has another. */
static void
tell_accepted(const struct quorum *self, const struct quorum_register *reg,
              const struct quorum_ballot *asker_has, struct quorum_message *message)
{
    message->other = reg->acceptor.accepted;
    if (quorum_ballot_compare(&reg->acceptor.accepted, asker_has) != 0) {
        message->value = quorum_value_view_of(self, reg->acceptor.value);
    }
}

/* A register of which this manager never heard is one that it has accepted nothing of. */
static void
answer_query(struct quorum *self, const struct quorum_message *query)
{
    struct quorum_message state = {
        .type = QUORUM_STATE, .number = query->number, .name = query->name};
    const struct quorum_register *reg = quorum_find(self, query->name);
    if (reg != NULL && reg->acceptor.is_unsure) {
        return;
    }
    if (reg != NULL) {
        tell_accepted(self, reg, &query->other, &state);
    }
    quorum_send(self, query->sender, &state);
}

static void
refuse(struct quorum *self, const struct quorum_register *reg, const struct quorum_message *request)
{
    struct quorum_message nack = answer_of(reg, QUORUM_NACK);
    nack.ballot = request->ballot;
    nack.other = reg->acceptor.promised;
    quorum_send(self, request->sender, &nack);
}

/* What was asked for is durable. The answer goes last: this manager's own proposer may ask for the
 * next thing at once. */
static void
agree(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_acceptor *acceptor = &reg->acceptor;
    bool is_promise = acceptor->storing == QUORUM_PREPARE;
    struct quorum_message message = answer_of(reg, is_promise ? QUORUM_PROMISE : QUORUM_ACCEPTED);
    if (is_promise) {
        tell_accepted(self, reg, &acceptor->sender_has, &message);
    }
    acceptor->storing = 0;
    quorum_send(self, acceptor->sender, &message);
}

/* One that asks again is told again. */
static void
prepare(struct quorum *self, struct quorum_register *reg, const struct quorum_message *request)
{
    struct quorum_acceptor *acceptor = &reg->acceptor;
    uint8_t bytes[64];
    struct quorum_writer writer = {.data = bytes, .room = sizeof(bytes)};
    acceptor->storing = QUORUM_PREPARE;
    acceptor->sender = request->sender;
    acceptor->sender_has = request->other;
    acceptor->ballot = request->ballot;
    if (quorum_ballot_compare(&request->ballot, &acceptor->promised) == 0) {
        agree(self, reg);
        return;
    }
    acceptor->token = ++self->tokens;
    quorum_promise_encode(&request->ballot, &writer);
    quorum_store(self, 'p', reg->name, &writer, acceptor->token);
}

/* Stores the value that was put into fresh. False: no memory. */
static bool
store_value(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_acceptor *acceptor = &reg->acceptor;
    struct quorum_writer writer = {.room = QUORUM_OVERHEAD_MAX + acceptor->fresh->size};
    writer.data = (uint8_t *)self->host->alloc(self->host, writer.room);
    if (writer.data == NULL) {
        return false;
    }
    struct quorum_value_view view = quorum_value_view_of(self, acceptor->fresh);
    quorum_accepted_encode(&acceptor->ballot, &view, &writer);
    quorum_store(self, 'v', reg->name, &writer, acceptor->token);
    self->host->release(self->host, writer.data);
    return true;
}

static void
accept_value(struct quorum *self, struct quorum_register *reg, const struct quorum_message *request)
{
    struct quorum_acceptor *acceptor = &reg->acceptor;
    acceptor->storing = QUORUM_ACCEPT;
    acceptor->sender = request->sender;
    acceptor->ballot = request->ballot;
    if (quorum_ballot_compare(&request->ballot, &acceptor->accepted) == 0) {
        agree(self, reg);
        return;
    }
    acceptor->token = ++self->tokens;
    if (!quorum_value_of(self, &request->value, &acceptor->fresh) || !store_value(self, reg)) {
        quorum_value_unref(self, acceptor->fresh);
        acceptor->fresh = NULL;
        acceptor->storing = 0;
    }
}

/* Until what is being stored is durable. Without memory it is as if it had been lost. */
static void
hold(struct quorum *self, struct quorum_acceptor *acceptor, const struct quorum_message *message)
{
    struct quorum_held *held = &acceptor->held[message->sender];
    struct quorum_writer writer = {.room = QUORUM_OVERHEAD_MAX + message->value.bytes.size};
    release_held(self, held);
    writer.data = (uint8_t *)self->host->alloc(self->host, writer.room);
    if (writer.data != NULL) {
        quorum_message_encode(message, &writer);
        *held = (struct quorum_held){
            .bytes = writer.data, .size = writer.size, .ballot = message->ballot};
    }
}

/* The highest ballot first, since the others are refused then, which stores nothing. */
static void
take_held(struct quorum *self, struct quorum_register *reg)
{
    struct quorum_held *best;
    do {
        best = NULL;
        for (uint32_t i = 0; i < QUORUM_MANAGERS_MAX && reg->acceptor.storing == 0; i++) {
            struct quorum_held *held = &reg->acceptor.held[i];
            if (held->bytes != NULL &&
                (best == NULL || quorum_ballot_compare(&held->ballot, &best->ballot) > 0)) {
                best = held;
            }
        }
        if (best != NULL) {
            struct quorum_held taken = *best;
            struct quorum_message message;
            *best = (struct quorum_held){.bytes = NULL};
            if (quorum_message_decode(yk_slice_of(taken.bytes, taken.size), &message)) {
                quorum_accept_message(self, &message);
            }
            release_held(self, &taken);
        }
    } while (best != NULL);
}

void
quorum_accept_message(struct quorum *self, const struct quorum_message *message)
{
    if (message->type == QUORUM_QUERY) {
        answer_query(self, message);
        return;
    }
    struct quorum_register *reg = quorum_get(self, message->name);
    if (reg == NULL || reg->acceptor.is_unsure) {
        return;
    }
    if (reg->acceptor.storing != 0) {
        hold(self, &reg->acceptor, message);
        return;
    }
    if (quorum_ballot_compare(&message->ballot, &reg->acceptor.promised) < 0) {
        refuse(self, reg, message);
    } else if (message->type == QUORUM_PREPARE) {
        prepare(self, reg, message);
    } else {
        accept_value(self, reg, message);
    }
}

bool
quorum_accept_stored(struct quorum *self, struct quorum_register *reg, uint64_t token,
                     enum yk_err result)
{
    struct quorum_acceptor *acceptor = &reg->acceptor;
    if (acceptor->storing == 0 || acceptor->token != token) {
        return false;
    }
    if (result == YK_OK) {
        acceptor->promised = acceptor->ballot;
        if (acceptor->storing == QUORUM_ACCEPT) {
            quorum_value_unref(self, acceptor->value);
            acceptor->value = acceptor->fresh;
            acceptor->fresh = NULL;
            acceptor->accepted = acceptor->ballot;
        }
        agree(self, reg);
        take_held(self, reg);
    } else {
        acceptor->storing = 0;
        self->host->log(self->host, YK_LOG_ERROR,
                        "cannot store what is promised of the register %s (%s): this manager has "
                        "no part in it until it is started again",
                        reg->name, yk_err_text(result));
        acceptor->is_unsure = true;
        quorum_value_unref(self, acceptor->fresh);
        acceptor->fresh = NULL;
    }
    return true;
}
