/* Any bytes as what etcd answers, and as what its watch streams: read within bounds, or refused
 * with a reason. */
#include <config.h>

#include <glib.h>

#include "core/base/assert.h"
#include "plugins/coordinators/etcd/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_name(void *arg, const char *name)
{
    YK_ASSERT(*name != '\0' && strlen(name) <= ETCD_NAME_SIZE_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 400, 404, 503};
    struct etcd_answer answer;
    char reason[ETCD_REASON_SIZE] = "";
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        etcd_answer_read((const char *)data, size, statuses[i], &answer);
        YK_ASSERT(answer.size <= size);
        YK_ASSERT((answer.outcome == ETCD_DONE) == (answer.reason[0] == '\0'));
        YK_ASSERT(g_utf8_validate(answer.reason, -1, NULL));
        etcd_answer_done(&answer);
    }
    bool is_open = etcd_watch_read((const char *)data, size, "/y/", check_name, NULL, reason);
    YK_ASSERT(is_open || reason[0] != '\0');
    return 0;
}
