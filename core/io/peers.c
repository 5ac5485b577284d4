/* The table of nodes. It only grows, and it is short: it is searched from front to back. */
#include <config.h>

#include "core/io/peers.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/assert.h"

struct yk_peers {
    pthread_mutex_t lock;
    struct yk_hello own;
    struct yk_peer_info *infos; /* YK_PEERS_MAX */
    uint32_t n;
    uint32_t n_tools_ever;                /* atomic */
    uint32_t n_guests[YK_N_GUEST_COUNTS]; /* atomic */
    struct yk_handover handover;
};

static void
copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)size - 1, from);
}

struct yk_peers *
yk_peers_new(const struct yk_hello *own)
{
    struct yk_peers *peers = calloc(1, sizeof(*peers));
    struct yk_peer_info *infos = calloc(YK_PEERS_MAX, sizeof(*infos));
    if (peers == NULL || infos == NULL) {
        free(peers);
        free(infos);
        return NULL;
    }
    pthread_mutex_init(&peers->lock, NULL);
    yk_handover_init(&peers->handover);
    peers->own = *own;
    peers->own.msgid = 0;
    peers->own.version_min = YK_RPC_VERSION_MIN;
    peers->own.version_max = YK_RPC_VERSION_MAX;
    peers->own.to_id[0] = '\0';
    infos[0] = (struct yk_peer_info){
        .nonce = own->nonce, .n_workers = own->n_workers, .n_lanes = own->n_lanes};
    copy_text(infos[0].node_id, YK_ID_SIZE, own->node_id);
    copy_text(infos[0].name, sizeof(infos[0].name), own->name);
    copy_text(infos[0].address, sizeof(infos[0].address), own->address);
    peers->infos = infos;
    peers->n = 1;
    return peers;
}

void
yk_peers_free(struct yk_peers *peers)
{
    if (peers == NULL) {
        return;
    }
    yk_handover_done(&peers->handover);
    pthread_mutex_destroy(&peers->lock);
    free(peers->infos);
    free(peers);
}

/* The table, with the lock. */

static uint32_t
find_id(const struct yk_peers *peers, const char *node_id)
{
    for (uint32_t i = 0; i < peers->n; i++) {
        if (node_id[0] != '\0' && strcmp(peers->infos[i].node_id, node_id) == 0) {
            return i;
        }
    }
    return YK_PEER_NONE;
}

/* By id; by name where an id is missing. Of two nodes that have had the same name the later one. */
static uint32_t
find(const struct yk_peers *peers, const char *node_id, const char *name)
{
    uint32_t index = find_id(peers, node_id);
    for (uint32_t i = peers->n; index == YK_PEER_NONE && i-- > 1;) {
        const struct yk_peer_info *info = &peers->infos[i];
        if ((node_id[0] == '\0' || info->node_id[0] == '\0') && strcmp(info->name, name) == 0) {
            index = i;
        }
    }
    return index;
}

static uint32_t
put(struct yk_peers *peers, const char *node_id, const char *name, const char *address)
{
    uint32_t index = find(peers, node_id, name);
    if (index == YK_PEER_NONE && peers->n < YK_PEERS_MAX) {
        index = peers->n++;
    }
    if (index == YK_PEER_NONE || index == YK_PEER_SELF) {
        return index;
    }
    struct yk_peer_info *info = &peers->infos[index];
    if (node_id[0] != '\0') {
        copy_text(info->node_id, sizeof(info->node_id), node_id);
    }
    copy_text(info->name, sizeof(info->name), name);
    if (address[0] != '\0') {
        copy_text(info->address, sizeof(info->address), address);
    }
    return index;
}

static void
learn(struct yk_peer_info *info, uint32_t version, uint64_t nonce, uint32_t n_workers,
      uint32_t n_lanes)
{
    info->version = version;
    info->nonce = nonce;
    info->n_workers = n_workers;
    info->n_lanes = n_lanes;
}

static bool
is_reachable(const char *text)
{
    struct yk_address address;
    char error[YK_ERROR_SIZE];
    return text[0] == '\0' ||
           (strlen(text) < YK_PEER_ADDRESS_SIZE &&
            yk_address_parse(text, &address, error) == YK_OK &&
            (address.kind == YK_ADDRESS_INET || address.kind == YK_ADDRESS_INET6));
}

/* Public */

uint32_t
yk_peers_put(struct yk_peers *peers, const char *node_id, const char *name, const char *address)
{
    YK_ASSERT(node_id == NULL || node_id[0] == '\0' || yk_id_is_valid(node_id));
    if (!is_reachable(address)) {
        return YK_PEER_NONE;
    }
    pthread_mutex_lock(&peers->lock);
    uint32_t index = put(peers, node_id != NULL ? node_id : "", name, address);
    pthread_mutex_unlock(&peers->lock);
    return index;
}

uint32_t
yk_peers_find(struct yk_peers *peers, const char *node_id)
{
    pthread_mutex_lock(&peers->lock);
    uint32_t index = find_id(peers, node_id);
    pthread_mutex_unlock(&peers->lock);
    return index;
}

uint32_t
yk_peers_count(struct yk_peers *peers)
{
    pthread_mutex_lock(&peers->lock);
    uint32_t n = peers->n;
    pthread_mutex_unlock(&peers->lock);
    return n;
}

void
yk_peers_get(struct yk_peers *peers, uint32_t index, struct yk_peer_info *ret_info)
{
    pthread_mutex_lock(&peers->lock);
    YK_ASSERT(index < peers->n);
    *ret_info = peers->infos[index];
    pthread_mutex_unlock(&peers->lock);
}

void
yk_peers_set_cluster(struct yk_peers *peers, const char *cluster_id)
{
    YK_ASSERT(yk_id_is_valid(cluster_id));
    pthread_mutex_lock(&peers->lock);
    copy_text(peers->own.cluster_id, YK_ID_SIZE, cluster_id);
    pthread_mutex_unlock(&peers->lock);
}

void
yk_peers_own(struct yk_peers *peers, struct yk_hello *ret_hello)
{
    pthread_mutex_lock(&peers->lock);
    *ret_hello = peers->own;
    pthread_mutex_unlock(&peers->lock);
}

static enum yk_err
refuse_full(char *error)
{
    snprintf(error, YK_ERROR_SIZE,
             "this node has met %d other nodes since its start and takes no more: restart it",
             YK_PEERS_MAX - 1);
    return YK_EDENIED;
}

enum yk_err
yk_peers_greeted(struct yk_peers *peers, const struct yk_hello *hello,
                 const struct yk_welcome *welcome, uint32_t *ret_index, char *error)
{
    if (hello->node_id[0] == '\0') {
        uint32_t number = __atomic_add_fetch(&peers->n_tools_ever, 1, __ATOMIC_RELAXED);
        *ret_index = YK_PEER_TOOL | (number % (YK_PEER_TOOL - 1));
        return YK_OK;
    }
    if (!is_reachable(hello->address)) {
        snprintf(error, YK_ERROR_SIZE, "the caller's address is none that can be connected to");
        return YK_EDENIED;
    }
    pthread_mutex_lock(&peers->lock);
    uint32_t index = put(peers, hello->node_id, hello->name, hello->address);
    if (index != YK_PEER_NONE) {
        learn(&peers->infos[index], welcome->version, hello->nonce, hello->n_workers,
              hello->n_lanes);
    }
    pthread_mutex_unlock(&peers->lock);
    if (index == YK_PEER_NONE) {
        return refuse_full(error);
    }
    *ret_index = index;
    return YK_OK;
}

enum yk_err
yk_peers_welcomed(struct yk_peers *peers, uint32_t index, const struct yk_welcome *welcome,
                  char *error)
{
    pthread_mutex_lock(&peers->lock);
    struct yk_peer_info *info = &peers->infos[index];
    uint32_t known = find_id(peers, welcome->node_id);
    bool is_other = (known != YK_PEER_NONE && known != index) ||
                    (info->node_id[0] != '\0' && strcmp(info->node_id, welcome->node_id) != 0);
    if (is_other) {
        snprintf(error, YK_ERROR_SIZE, "it is node %s, not the one that was looked for there",
                 welcome->node_id);
    } else {
        copy_text(info->node_id, YK_ID_SIZE, welcome->node_id);
        learn(info, welcome->version, welcome->nonce, welcome->n_workers, welcome->n_lanes);
    }
    pthread_mutex_unlock(&peers->lock);
    return is_other ? YK_EDENIED : YK_OK;
}

struct yk_handover *
yk_peers_handover(struct yk_peers *peers)
{
    return &peers->handover;
}

bool
yk_peers_admit(struct yk_peers *peers, enum yk_guest_count what)
{
    static const uint32_t bounds[YK_N_GUEST_COUNTS] = {
        [YK_GUEST_ALL] = YK_GUESTS_MAX,
        [YK_GUEST_GREETING] = YK_GREETINGS_MAX,
        [YK_GUEST_TOOL] = YK_TOOLS_MAX,
    };
    if (__atomic_add_fetch(&peers->n_guests[what], 1, __ATOMIC_RELAXED) <= bounds[what]) {
        return true;
    }
    yk_peers_release(peers, what);
    return false;
}

void
yk_peers_release(struct yk_peers *peers, enum yk_guest_count what)
{
    uint32_t left = __atomic_sub_fetch(&peers->n_guests[what], 1, __ATOMIC_RELAXED);
    YK_ASSERT(left != UINT32_MAX);
}
