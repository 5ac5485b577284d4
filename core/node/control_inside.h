/* What the files of the control share. Private to it.
 *
 *     control.c           life, events and effects, messages to itself, views
 *     control_member.c    the node's part: questions, answers, wishes
 *     control_managing.c  the manager's part: registers, batches, compare-and-swap
 *     control_creation.c  what the managers write: starts, wishes, the first registers
 *     control_status.c    what tools ask
 *
 * Threads: the control's. Ownership: said at each member. */
#ifndef YK_NODE_CONTROL_INSIDE_H
#define YK_NODE_CONTROL_INSIDE_H

#include "core/base/buffer.h"
#include "core/base/random.h"
#include "core/manager/rules.h"
#include "core/node/control.h"

#define CONTROL_MS(n) ((int64_t)(n)*1000)

enum {
    MANAGERS_MAX = 5,
    OTHERS_MAX = 2 * YK_NODES_MAX, /* nodes of the file, and of the register */
    HERE_MS = 1000,
    SILENT_MS = 3000,  /* a node that was not heard of for so long is down */
    POLL_MS = 300,     /* between questions whether there is anything newer */
    ANSWER_MS = 500,   /* for an answer, at first */
    REFRESH_MS = 1000, /* a manager reads anew what nobody has asked for */
    REST_MS = 8,       /* after a conflict, at first */
    REST_MAX_MS = 500,
    PATIENCE_MS = 3000, /* a question that could not be answered for so long is given up */
    STUCK_MS = 15000,   /* a coordinator that has not answered for so long never will */
    COMPLAINT_MS = 10000,
};

/* One question under way; number 0: none. */
struct question {
    uint64_t number;
    int64_t until_us;
    uint32_t peer; /* who was asked */
    bool is_fresh;
    bool is_blind; /* it named no start before, which was not known then */
};

/* A register as this node knows it. */
struct known {
    char name[YK_REGISTER_NAME_SIZE];
    uint64_t revision;
    bool is_fresh;   /* see view.h */
    bool is_foreign; /* it cannot be used here, and the log says why */
    struct question poll, wish;
    int64_t poll_us;   /* when to ask again */
    uint32_t n_failed; /* questions in a row */
    int64_t complained_us;
    /* A bucket's newest, that is in no view yet. slots NULL: the view has it. Own. */
    struct yk_bucket_register next;
    struct yk_slot_wish *wishes; /* own: that wait for the question under way; one for a slot */
    uint32_t n_wishes;
    uint32_t *places; /* own: of each slot the place of its wish, from 1 on; 0: there is none */
};

/* A question at a manager. */
struct task {
    struct task *next;
    uint32_t peer; /* who asks; YK_PEER_NONE: the manager itself, for a tool's CREATE */
    bool is_create;
    bool is_now; /* CREATE: without those that are not there */
    int64_t until_us;
    struct yk_ask ask;        /* its wishes are own */
    uint8_t *refusals;        /* own: enum yk_refusal, one for each wish */
    char text[YK_ERROR_SIZE]; /* why the start is refused; "": it is not */
};

enum reg_state { REG_IDLE, REG_READING, REG_WRITING, REG_RESTING };

/* A register as a manager works on it. */
struct reg {
    char name[YK_REGISTER_NAME_SIZE];
    uint32_t bucket; /* of the config; UINT32_MAX: `cluster` */
    enum reg_state state;
    bool is_known; /* it was read: revision and bytes are what it had then */
    bool is_sure;  /* and what is decoded is that */
    uint64_t revision;
    uint8_t *bytes; /* own */
    size_t size;
    struct yk_bucket_register decoded;   /* own; slots NULL: there is none */
    struct yk_cluster_register *cluster; /* own; n_nodes 0: there is none */
    struct yk_pack pack;                 /* what is being written, in state WRITING */
    uint64_t token;
    int64_t until_us; /* RESTING: its end; READING, WRITING: then it is stuck */
    int64_t refresh_us;
    uint32_t n_failed;
    struct task *batch, *waiting; /* own: under judgement, and for the next */
    uint32_t n_tasks;
};

/* A node of the file, as it told a manager of its start. */
struct candidate {
    char id[YK_ID_SIZE]; /* "": not heard of */
    uint64_t nonce;
    int64_t heard_us;
    uint32_t n_workers, n_lanes;
    uint32_t *incarnations[YK_BUCKETS_MAX]; /* own; NULL: not told yet */
};

/* A message to itself. */
struct letter {
    struct letter *next;
    struct yk_buffer *bytes;
};

struct yk_control {
    struct yk_control_setup setup;
    struct yk_random random;
    int64_t now_us, here_us;
    struct yk_control_effect *effects, *taken; /* own */
    uint32_t n_effects, effects_room, taken_room;
    struct letter *letters, **letters_end;
    int64_t *heard_us; /* own; by peer index: 0: never, or not since its link was lost */

    uint32_t is_server, is_manager;
    uint32_t managers[MANAGERS_MAX], n_managers; /* peer indexes, in the order of their names */
    uint32_t manager;                            /* whom to ask: index into these */
    uint32_t home;                               /* whom to ask first: itself, if it is one */
    uint32_t others[OTHERS_MAX], n_others;       /* peer indexes of all that are known */
    uint64_t n_questions;
    struct known *known; /* own; [0]: `cluster`, then the buckets of the config */
    uint32_t n_known;
    struct yk_cluster_register *cluster; /* own; n_nodes 0: not known */
    struct yk_view *view;                /* the newest that went out, or NULL */
    bool is_view_dirty, is_ready;
    bool is_joined, is_joining;

    struct reg *regs;             /* own; of a manager: in the order of known */
    struct candidate *candidates; /* own; by the nodes of the config */
    uint64_t n_tokens;
};

/* control.c */
void control_effect(struct yk_control *control, const struct yk_control_effect *effect);
/* Takes what is packed; to this node itself, too. */
void control_send(struct yk_control *control, uint32_t peer, struct yk_pack *pack);
int64_t control_jitter(struct yk_control *control, int64_t us); /* 3/4 to 5/4 of it */
void control_meet(struct yk_control *control); /* others, anew: the cluster has changed */
uint32_t control_peer_of(const struct yk_control *control, const char *node_id);
bool control_is_up(const struct yk_control *control, uint32_t peer);
/* The bucket's newest register that is known; slots NULL: none. */
const struct yk_bucket_register *control_bucket(const struct yk_control *control, uint32_t bucket);

/* control_member.c */
bool member_init(struct yk_control *control);
void member_done(struct yk_control *control);
void member_turn(struct yk_control *control);
int64_t member_next_turn(const struct yk_control *control);
void member_answered(struct yk_control *control, const struct yk_answer *answer);
void member_told(struct yk_control *control, const struct yk_changed *changed);
void member_wishes(struct yk_control *control, struct yk_wishes *wishes);
void member_lost(struct yk_control *control, uint32_t peer); /* what was asked of it is lost */

/* control_managing.c */
bool managing_init(struct yk_control *control);
void managing_done(struct yk_control *control);
void managing_turn(struct yk_control *control);
int64_t managing_next_turn(const struct yk_control *control);
void managing_asked(struct yk_control *control, uint32_t peer, struct yk_ask *ask);
void managing_answered(struct yk_control *control, uint64_t token,
                       const struct yk_register_answer *answer);
void managing_changed(struct yk_control *control, const char *name);
void managing_told(struct yk_control *control, const struct yk_changed *changed);
/* The manager's own question: read it anew, and make it if there is none, and everybody is there,
 * or is_now. */
void managing_create(struct yk_control *control, struct reg *reg, bool is_now);

/* control_creation.c */
/* A start was told: who is there, once a cluster is to be made. */
void creation_note(struct yk_control *control, const struct reg *reg, const struct yk_ask *ask);
void creation_asked(struct yk_control *control, uint32_t peer, uint32_t msgid, bool is_now);
/* Makes of the decoded register what the task asks, as far as the rules allow. */
void creation_judge(struct yk_control *control, struct reg *reg, struct task *task);

/* control_status.c */
void status_asked(struct yk_control *control, uint32_t peer, uint32_t msgid);

#endif
