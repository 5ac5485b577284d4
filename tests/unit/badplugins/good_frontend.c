/* A good module of another kind. */
#include <yakumo/frontend.h>

#include "tests/unit/badplugins/base.h"

static enum yk_err
session_new(void *self, const struct yk_peer *peer, void **ret_session)
{
    return YK_EUNSUPPORTED;
}

static void
session_free(void *session)
{
}

static enum yk_err
feed(void *session, const uint8_t *bytes, size_t size, bool eof, struct yk_inbox *inbox,
     size_t *ret_used, size_t *ret_want)
{
    return YK_EUNSUPPORTED;
}

static void
reply(void *session, const struct yk_request *request, const struct yk_reply *answer,
      struct yk_outbox *outbox)
{
}

static const struct yk_frontend_ops ops = {.struct_size = sizeof(ops),
                                           .session_new = session_new,
                                           .session_free = session_free,
                                           .feed = feed,
                                           .reply = reply};

YK_PLUGIN(good_frontend) = {YK_PLUGIN_HEAD(YK_KIND_FRONTEND, YK_FRONTEND_ABI),
                            BASE_TEXTS("good_frontend"), .ops = &ops};
