/* The interface of a request filter: above the router, sees each request before it starts and each
 * reply before the frontend writes it. It may refuse, rewrite or answer.
 *
 * Threads: one instance for each worker and frontend instance; called by that worker only.
 * Ownership: what is passed in is lent for the call. Filters carry no ABI promise between versions.
 */
#ifndef YAKUMO_REQUEST_FILTER_H
#define YAKUMO_REQUEST_FILTER_H

#include <yakumo/frontend.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YK_REQUEST_FILTER_ABI 1u

enum yk_verdict {
    YK_VERDICT_PASS = 0,   /* go on, with the request as it stands now */
    YK_VERDICT_ANSWER = 1, /* ret_reply is the answer (refusals too); nothing further is asked */
};

struct yk_request_filter_ops {
    uint32_t struct_size;

    struct yk_life life;
    /* open may touch the world; close ends it. Defaults: succeed. */
    enum yk_err (*open)(void *self);
    void (*close)(void *self);

    /* State for each connection. Default: session is NULL in the calls below. */
    enum yk_err (*session_new)(void *self, const struct yk_peer *peer, void **ret_session);
    void (*session_free)(void *self, void *session);

    /* Called when the request is about to start, once. ret_reply is zeroed, struct_size set; what
     * it points to must be static or lie in the request. Default: PASS. */
    enum yk_verdict (*request)(void *self, void *session, struct yk_request *request,
                               struct yk_reply *ret_reply);

    /* Called for each reply (part), innermost filter first; may rewrite it. Default: nothing. */
    void (*reply)(void *self, void *session, const struct yk_request *request,
                  struct yk_reply *reply);
};

#ifdef __cplusplus
}
#endif

#endif
