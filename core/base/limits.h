/* Every bound of the core, in one place. What a peer, a client, a file or a plugin can size is
 * checked against one of these before memory is asked for.
 *
 * Threads: constants. Ownership: none. */
#ifndef YK_BASE_LIMITS_H
#define YK_BASE_LIMITS_H

#define YK_KIB (1024ull)
#define YK_MIB (1024ull * 1024)
#define YK_GIB (1024ull * 1024 * 1024)

/* Config. */
#define YK_CONFIG_SIZE_MAX     (1 * YK_MIB) /* bytes of a config file */
#define YK_CONFIG_SECTIONS_MAX 4096
#define YK_NAME_SIZE_MAX       64  /* of plugins, buckets, nodes: [a-z0-9_-]+ */
#define YK_ERROR_SIZE          512 /* bytes of an error text with its NUL */
#define YK_LISTENERS_MAX       64
#define YK_FILTERS_MAX         16 /* in one stack */
#define YK_BUCKETS_MAX         64

/* A node. */
#define YK_WORKERS_MAX     64
#define YK_LANES_MAX       256
#define YK_EXECUTORS_MAX   256
#define YK_SLOTS_MAX       32768 /* of a bucket; slot 65535 is the core's own */
#define YK_CONNECTIONS_MAX 1000000

/* Between nodes. */
#define YK_WORKER_CONTROL    0xffff        /* the number of the control thread among the workers */
#define YK_FRAME_SIZE_MAX    (64 * YK_MIB) /* of one message */
#define YK_HELLO_SIZE_MAX    (4 * YK_KIB)  /* of a frame before hello is done */
#define YK_HANDOVER_SIZE_MAX (4 * YK_MIB)  /* that came behind a hello for another thread */
#define YK_LINK_OUTPUT_MAX   (64 * YK_MIB) /* that waits to be sent on one connection */
#define YK_PEERS_MAX         1024          /* nodes that a process gets to know */
#define YK_TOOLS_MAX         64            /* connections of tools to a node */
#define YK_GUESTS_MAX        16384         /* connections of other nodes and tools to a node */
#define YK_GREETINGS_MAX     256           /* of these, such as have not said hello yet */
#define YK_PEER_ADDRESS_SIZE 64            /* bytes of an address in a hello, with its NUL */
#define YK_ID_SIZE           37            /* bytes of a UUID as text, with its NUL */

/* Between control threads. */
#define YK_COORDINATOR_SIZE_MAX (1 * YK_MIB) /* of a message between coordinators */
#define YK_CONTROL_SIZE_MAX     (4 * YK_MIB) /* of a message that a control sends */
#define YK_CONTROL_TASKS_MAX    1024 /* questions that wait at a manager, for one register */
#define YK_REGISTER_NAME_SIZE   80   /* bytes of a register's name, with its NUL */

/* Ops of clients for a slot whose primary is another node. */
#define YK_FORWARD_OPS_MAX     8192          /* that wait for an answer of one thread of a node */
#define YK_FORWARD_BYTES_MAX   (32 * YK_MIB) /* of their keys and values, beyond one */
#define YK_FORWARD_ANSWERS_MAX (32 * YK_MIB) /* of values that they may be answered, likewise */
#define YK_FORWARD_WAITING_MAX 65536 /* of one worker, those that wait for a primary included */
#define YK_FORWARD_LINKS_MAX   4096  /* threads of other nodes that a worker deals with */
#define YK_FORWARD_FRAME_SOFT  (1 * YK_MIB)  /* from here on a frame goes at once */
#define YK_REMOTE_OPS_MAX      32768         /* of other nodes, under way in one worker */
#define YK_REMOTE_BYTES_MAX    (64 * YK_MIB) /* of their keys and values, beyond one */

/* Registers: what a cluster agrees on. */
#define YK_REGISTER_SIZE_MAX (512 * YK_KIB)
#define YK_NODES_MAX         128 /* of a cluster; an index takes one byte */
#define YK_COPIES_MAX        7   /* of a record */
#define YK_MEMBERS_MAX       16  /* of a slot, those that come and go included */
#define YK_EPOCH_MAX         ((1u << 24) - 1)
#define YK_UNPACK_DEPTH_MAX  8 /* of arrays and maps in each other */

/* Requests. A key is such that the engine's key, 4 bytes longer, fits 16 bits. */
#define YK_KEY_SIZE_MAX         65531
#define YK_VALUE_SIZE_MAX       (1 * YK_GIB)  /* of any bucket; value_size_max is 1M by default */
#define YK_SESSION_REQUESTS_MAX 1024          /* queued or under way, for one connection */
#define YK_SESSION_BYTES_MAX    (4 * YK_MIB)  /* of requests queued or under way, beyond one */
#define YK_SESSION_STASH_MAX    (4 * YK_MIB)  /* bytes of values that wait to be written */
#define YK_OUTBOX_HIGH          (1 * YK_MIB)  /* from here on a connection starts nothing new */
#define YK_OUTBOX_MAX           (32 * YK_MIB) /* from here, beyond one value, it is closed */
#define YK_FEED_EXTRA_MAX       (64 * YK_KIB) /* a request's bytes beyond its value */
#define YK_RECORD_OVERHEAD_MAX  64            /* bytes of a record beyond its value */
#define YK_TURN_REQUESTS        128           /* from here on a turn is taken before more is read */
#define YK_BATCH_MAX            256           /* keys in one call of an engine */
#define YK_BATCH_BYTES_MAX      (16 * YK_MIB) /* of records in one apply beyond its first */
#define YK_LANE_READERS         3             /* jobs that only read, beside the one that writes */
#define YK_COPY_RECORDS_MAX     1024          /* of a copy in one message */
#define YK_COPY_TARGETS_MAX     256           /* slots and learners that a lane copies at once */
#define YK_SCAN_BYTES_MAX       (256 * YK_KIB) /* of one step of a scan */

#define YK_KEY_PREFIX_MAX 128 /* bytes, of a frontend */

#endif
