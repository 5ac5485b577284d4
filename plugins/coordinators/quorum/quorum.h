/* The state of a manager: what it is and knows of the others, and for each register the acceptor
 * and the proposer.
 *
 * Threads: one. Ownership: a quorum owns its registers, a register its rounds and questions; values
 * are shared by counting. */
#ifndef QUORUM_QUORUM_H
#define QUORUM_QUORUM_H

#include <yakumo/coordinator.h>

#include "plugins/coordinators/quorum/message.h"

enum { QUORUM_REGISTERS_MAX = 256, QUORUM_QUESTIONS_MAX = 4096 };

/* Immutable. */
struct quorum_value {
    uint32_t n_refs;
    uint64_t revision;
    struct quorum_id writer; /* of the write that made it */
    size_t size;
    uint8_t bytes[];
};

/* The acceptor. What it says of itself is what is durable. */
struct quorum_acceptor {
    struct quorum_ballot promised, accepted;
    struct quorum_value *value; /* own reference; NULL: nothing was accepted */
    /* What is being stored, for whom. Of what each manager asks meanwhile the last is held. */
    enum quorum_type storing; /* QUORUM_PREPARE, QUORUM_ACCEPT; 0: nothing */
    uint64_t token;
    uint32_t sender;
    struct quorum_ballot ballot, sender_has;
    struct quorum_value *fresh; /* own reference */
    struct quorum_held {
        uint8_t *bytes; /* own: the message; NULL: none */
        size_t size;
        struct quorum_ballot ballot;
    } held[QUORUM_MANAGERS_MAX];
    bool is_unsure; /* a store failed: nobody knows what is on the device, and it is silent */
};

/* A read or a write that waits for its answer. */
struct quorum_question {
    struct quorum_question *next;
    bool is_write;
    bool is_poll;     /* a read of our own: nobody is told */
    bool is_in_round; /* the present round answers it */
    bool is_proposed; /* write: it may have been accepted somewhere */
    uint64_t token;
    uint64_t deadline; /* ms, of quorum_now */
    uint64_t if_revision;
    struct quorum_value *value; /* own reference; write: what is to be, with the write's id */
};

enum quorum_phase {
    QUORUM_IDLE = 0,
    QUORUM_QUERYING,
    QUORUM_WAITING, /* until a collision is over */
    QUORUM_PREPARING,
    QUORUM_ACCEPTING,
};

/*     IDLE --> QUERYING --> answers                    a majority has accepted the same
 *       |       |   ^
 *       |       v   | reads only
 *       |      WAITING <-------------+                 others are at work
 *       |       |   ^                |
 *       |       v   |                |
 *       +--> PREPARING --> ACCEPTING +--> answers      a majority has accepted it
 */
struct quorum_round {
    enum quorum_phase phase;
    uint64_t number;             /* QUERYING: of the question that is asked */
    struct quorum_ballot ballot; /* PREPARING, ACCEPTING */
    /* What each manager said in this phase: that it did, the ballot, and the value of that. */
    bool has_answered[QUORUM_MANAGERS_MAX];
    struct quorum_ballot ballots[QUORUM_MANAGERS_MAX];
    struct quorum_value *values[QUORUM_MANAGERS_MAX]; /* own references; may be NULL */
    struct quorum_ballot have_ballot; /* what this manager had accepted when it asked, */
    struct quorum_value *have;        /* own reference */
    struct quorum_value *proposal;    /* own reference; ACCEPTING: NULL is "never written" */
    struct quorum_question *write;    /* that this round is to do, or NULL */
    enum yk_register_result verdict;  /* on it, if the proposal is accepted */
    uint64_t due;                     /* ms: to send again, or to go on */
    uint32_t n_collisions, n_queries;
};

struct quorum_register {
    struct quorum_register *next;
    char name[QUORUM_NAME_SIZE_MAX + 1];
    struct quorum_acceptor acceptor;
    struct quorum_question *questions; /* in their order */
    struct quorum_round round;
    bool is_watched;
    uint64_t told;    /* the revision of which the host was told */
    uint64_t poll_at; /* ms */
};

struct quorum {
    const struct yk_host *host;
    struct yk_coordinator_port *port;
    uint64_t timeout_ms, poll_ms;
    struct quorum_identity identity;
    bool is_identified; /* its own id is durable: it may be told to others */
    bool is_complete;   /* so are those of all managers: it takes part */
    bool is_identity_stale, is_storing_identity;
    uint64_t identity_token;
    bool is_warned[QUORUM_MANAGERS_MAX]; /* about that manager, once */
    bool has_other_set;                  /* a value was seen that is of other managers */
    enum yk_err loaded;                  /* the first thing that went wrong; ready() says so */
    uint64_t start;                      /* of its ballots; random */
    uint64_t counter;                    /* the greatest of any ballot that was seen */
    uint64_t tokens, numbers;            /* the last that were used */
    uint64_t hello_at;                   /* ms */
    uint64_t timer_at;                   /* ms: that is set; UINT64_MAX: none */
    struct quorum_register *registers;
    uint32_t n_registers, n_questions;
};

/* quorum.c */

/* Milliseconds that never go back. */
uint64_t quorum_now(const struct quorum *self);
uint32_t quorum_majority(const struct quorum *self);
struct quorum_register *quorum_find(const struct quorum *self, struct yk_slice name);
/* Makes it where there is none; NULL: no memory, or too many. */
struct quorum_register *quorum_get(struct quorum *self, struct yk_slice name);
struct quorum_value *quorum_value_new(const struct quorum *self, uint64_t revision,
                                      const struct quorum_id *writer, struct yk_slice bytes);
struct quorum_value *quorum_value_ref(struct quorum_value *value);              /* takes NULL */
void quorum_value_unref(const struct quorum *self, struct quorum_value *value); /* takes NULL */
/* With the managers of this one. NULL: a view without a value. */
struct quorum_value_view
quorum_value_view_of(const struct quorum *self, const struct quorum_value *value);
/* Its bytes as a value of our own; *ret_value NULL: it has none. False: it is of another set of
 * managers, or there is no memory. */
bool quorum_value_of(struct quorum *self, const struct quorum_value_view *view,
                     struct quorum_value **ret_value);
void quorum_note_ballot(struct quorum *self, const struct quorum_ballot *ballot);
struct quorum_id quorum_new_id(const struct quorum *self);
/* Fills in who sends to whom. To itself it is taken at once. */
void quorum_send(struct quorum *self, uint32_t manager, struct quorum_message *message);
/* Hands an entry to the host: prefix, '.', the register's name. */
void quorum_store(struct quorum *self, char prefix, const char *name,
                  const struct quorum_writer *entry, uint64_t token);

/* acceptor.c */

void quorum_accept_message(struct quorum *self, const struct quorum_message *message);
/* True: the token was of that register's acceptor. */
bool quorum_accept_stored(struct quorum *self, struct quorum_register *reg, uint64_t token,
                          enum yk_err result);
void quorum_acceptor_done(struct quorum *self, struct quorum_acceptor *acceptor);

/* proposer.c */

/* Takes the reference of a write's value. False: there are too many, or no memory; then not. */
bool quorum_ask(struct quorum *self, struct quorum_register *reg,
                const struct quorum_question *question);
void quorum_propose_message(struct quorum *self, const struct quorum_message *message);
/* Does what is due. */
void quorum_propose_timer(struct quorum *self, struct quorum_register *reg, uint64_t now);
/* When that will be next; UINT64_MAX: never. */
uint64_t quorum_propose_due(const struct quorum *self, const struct quorum_register *reg);
void quorum_proposer_done(struct quorum *self, struct quorum_register *reg);
/* The register has that revision: tells the host, if it wants to know. */
void quorum_note_revision(struct quorum *self, struct quorum_register *reg, uint64_t revision);

#endif
