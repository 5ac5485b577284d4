/* What the files of a simulated cluster share. Private to it.
 *
 *     cluster.c         a run: what the seed chooses, trouble, what has to be right in the end
 *     cluster_world.c   what is to happen, in order; chance; the world of a node
 *     cluster_node.c    a node: its workers with their effects, its start and its end
 *     cluster_judge.c   the one place that stands for managers and coordinator
 *     cluster_control.c or the control of each node, with its coordinator
 *     cluster_check.c   what has to be right in the end
 *     cluster_client.c  the clients, and what they note down
 *     cluster_gateway.c clients of any node's frontend; links for what nodes ask each other then
 *
 * Threads: one. Ownership: the one simulation owns everything. */
#ifndef SIM_CLUSTER_INSIDE_H
#define SIM_CLUSTER_INSIDE_H

#include <stdio.h>
#include <string.h>

#include "core/base/random.h"
#include "core/wire/messages.h"
#include "tests/sim/cluster.h"
#include "tests/sim/disk.h"
#include "tools/history/history.h"

#define MS(n) ((int64_t)(n)*1000)

enum {
    NODES_MAX = 5,
    WORKERS = 2,
    LANES = 4,
    SLOTS = 4,
    CLIENTS = 5,
    KEYS = 6,
    COUNTERS = 2, /* keys whose SETs are numbers */
    MANAGER = NODES_MAX,
    PLACES,
    TROUBLE_MS = 13000,
    CALM_MS = 7000,
    LATE_MS = 2000,
    LMDB_PERCENT = 10,
    QUIET_MS = 600,     /* then nobody asks, and all is done everywhere */
    FAR_S = 30,         /* a record that does not end in a run */
    EXPIRY_SLACK_S = 8, /* slot time may be so far from all clocks */
    VALUE_MAX = 2000,
    LINKS = NODES_MAX * WORKERS * NODES_MAX * WORKERS
};

enum kind {
    FRAME,
    TURN,
    WRITE,
    WRITTEN,
    KEPT,
    RUN_JOB,
    LINK_FRAME,
    LINK_DOWN,
    LINK_UP,
    SESSION_SAYS,
    SESSION_ENDS,
    MAIL,
    CONTROL_FRAME,
    CONTROL_LOST,
    CONTROL_WISHES,
    CONTROL_STORE,
    CONTROL_ANSWERED,
    CONTROL_TURN,
    CONTROL_VIEW,
    CONTROL_REFUSED,
    JOB_DONE, /* up to here they happen in a node */
    ANSWER,
    INQUIRY,
    CREATE,
    DISK_TROUBLE,
    DISK_HEALS,
    ASKED,
    TOLD,
    RESTART,
    TROUBLE,
    CLIENT,
};

struct happening {
    int64_t at_us;
    uint64_t number;
    enum kind kind;
    uint32_t node, worker, from;
    uint64_t about; /* boot of the node; a client's op number; of a link how often it ended */
    void *thing;
};

/* A question to the managers, and what came of it. */
struct question {
    uint32_t node, worker;
    uint64_t boot;
    bool is_register, is_granted;
    struct yk_wishes *wishes; /* own; then those that were refused */
    struct yk_view *view;
};

struct control;

struct node {
    struct yk_world world;
    struct yk_node *node; /* NULL: it is down */
    struct disk *disk;
    uint64_t boot, epoch;
    uint32_t incarnation, incarnations[LANES];
    bool is_registered;
    int64_t paused_until_us, offset_us, wall_us, asked_us, written_us, told_us, slept_us;
    int32_t rate;
    int64_t turn_us[WORKERS]; /* of the TURN that is planned; 0: none */
    /* With a control: */
    struct control *control;
    struct yk_view *view;        /* the newest that its workers got */
    GTree *entries;              /* name -> GBytes: of the coordinator, durable */
    char cluster_id[YK_ID_SIZE]; /* durable */
    const uint32_t *incarnations_of_buckets[1];
};

/* Of a thread of a node to one of another, for ops and answers. */
struct link {
    uint64_t number; /* how often it ended */
    bool is_broken;
    int64_t last_us; /* when the last that is on its way comes */
};

struct session;
struct piece;

struct client {
    struct operation *operation;
    struct yk_op *op; /* under way; NULL: none */
    uint64_t number;
    int64_t until_us, wait_us;
    uint32_t target, connection;
    uint64_t cas[KEYS];
    char key[16], value[VALUE_MAX + 32];
    struct yk_request request;
    /* Through a gateway: */
    bool is_of_gateway, is_said;
    struct session *session; /* NULL: none is open */
    GString *command, *answer;
};

/* Who keeps the registers: one place that judges as well; or each node's control, with a
 * coordinator of that name, or one that is elsewhere and of which answers get lost. */
enum coordinator { COORDINATOR_NONE, COORDINATOR_LOCAL, COORDINATOR_QUORUM, COORDINATOR_MODEL };

/* A register of COORDINATOR_MODEL. */
struct kept_register {
    uint64_t revision;
    GBytes *bytes;
};

/* What the seed chooses beyond the first simulator's choices; nothing where it is plain. */
struct swarm {
    struct yk_random random;
    bool is_plain;
    uint32_t n_gateways; /* clients that speak to any node's frontend */
    bool has_flushes, has_expiry;
    enum coordinator coordinator;
    uint32_t n_managers;
    bool has_disk_trouble;
    enum yk_reads reads;
    const char *cache; /* of each node, as its config has it */
    const char *engine;
};

struct cluster_simulation {
    struct yk_plugins *plugins;
    struct cluster_result *result;
    struct yk_random random;
    FILE *traces; /* NULL: nobody wants to know */
    struct swarm swarm;
    bool is_calm, is_slow, is_quiet;
    bool is_memory; /* durability: a crash forgets */
    uint32_t mutant;
    uint32_t lost; /* bits of slots that began anew, all having forgotten */
    uint32_t slots[KEYS];
    int64_t now_us;
    struct happening *heap;
    uint32_t n_heap, heap_room;
    uint64_t n_made;
    uint32_t n_nodes, loss, doubling, lateness;
    struct node nodes[NODES_MAX];
    bool cut[PLACES][PLACES];
    struct yk_config *config;
    struct yk_bucket_register bucket;
    struct history *history;
    struct client clients[CLIENTS];
    uint32_t n_values, n_connections;
    struct link links[LINKS];
    struct yk_config *configs[NODES_MAX]; /* with a control */
    struct kept_register registers[2];
    bool is_created;    /* by the tool */
    char *folder;       /* of engines that have one; NULL: there is none */
    GPtrArray *folders; /* in it, of lanes */
    GPtrArray *touched; /* struct session, of the effects that are being taken */
};

extern struct cluster_simulation sim;

/* cluster_world.c */
void sim_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);
void sim_trace(const char *format, ...) G_GNUC_PRINTF(1, 2);
uint32_t sim_below(uint32_t n);
bool sim_chance(uint32_t percent);
int64_t sim_between_ms(uint32_t low, uint32_t high);
bool sim_is_before(const struct happening *a, const struct happening *b);
void sim_put(struct happening happening);
void sim_put_again(struct happening happening); /* it keeps its place among those of one time */
struct happening sim_take(void);
void sim_of_node(const struct node *node, int64_t delay_us, enum kind kind, uint32_t worker,
                 void *thing);
/* How long a message takes; negative: it is lost. */
int64_t sim_way_us(uint32_t from, uint32_t to);
uint64_t world_now_ms(void *arg);
void world_facts(void *arg, const char *topic, yk_fact_fn fn, void *fn_arg);
void world_init(struct node *node);

/* cluster_node.c */
void node_want_turn(struct node *node, uint32_t worker, int64_t after_us);
void node_step(struct node *node, uint32_t worker, struct yk_event event);
void node_start(struct node *node);
void node_crash(uint32_t index);
void node_close_engines(struct node *node);
void node_pause(struct node *node, int64_t time_us);
void node_happen(struct node *node, const struct happening *happening);

/* cluster_judge.c */
void judge_ask(struct node *node, struct question *question);
void judge_asked(struct question *question);
void judge_told(struct question *question);
void judge_register_later(struct node *node);
void judge_make_register(void);
void judge_name_of(uint32_t index, char *to); /* of a node, its id */

/* cluster_control.c */
void control_start(struct node *node);
void control_dies(struct node *node);
void control_happens(struct node *node, const struct happening *happening);
void control_gives(struct node *node, const struct happening *happening);
void control_inquired(struct happening *happening);
void control_create(void);
void control_settle_register(void);

/* cluster_client.c */
void client_happen(struct client *client, uint64_t number);
bool client_is_op(const struct yk_op *op); /* or is it of a session? */
void client_replied(struct yk_op *op);
void client_answered(struct client *client, enum history_result result);

/* cluster_check.c */
void check_run(void);

/* cluster_gateway.c */
void gateway_say(struct client *client);
void gateway_hang_up(struct client *client);
void gateway_answers(struct piece *piece); /* takes it */
void gateway_settle(struct node *node, struct session *session);
void gateway_session_happens(struct node *node, const struct happening *happening);
bool gateway_is_op(const struct yk_buffer *bytes); /* a frame of ops or answers */
void gateway_send(struct node *node, uint32_t worker, uint32_t to, uint32_t to_worker,
                  struct yk_buffer *bytes);
bool gateway_is_lost(const struct happening *frame);
void gateway_link_happens(struct node *node, const struct happening *happening);
void gateway_node_dies(uint32_t dead);

#endif
