/* Any bytes as a line of a recorded history: it is refused in words, or it is an operation that the
 * check can take. */
#include <config.h>

#include <stdint.h>
#include <string.h>

#include "core/base/assert.h"
#include "core/base/limits.h"
#include "tools/history/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct record *record)
{
    YK_ASSERT((record->key != NULL) == (record->kind != HISTORY_FLUSH));
    YK_ASSERT(record->key == NULL || g_bytes_get_size(record->key) <= YK_KEY_SIZE_MAX);
    YK_ASSERT(record->end_us >= record->start_us && record->start_us >= 0);
    YK_ASSERT(record->result != RESULT_NONE);
    YK_ASSERT((record->result == RESULT_UNKNOWN) == (record->end_us == TIME_NEVER));
    switch (record->kind) {
    case HISTORY_GET:
    case HISTORY_GETS:
    case HISTORY_GAT:
        YK_ASSERT((record->value != NULL) == (record->result == RESULT_OK));
        break;
    case HISTORY_SET:
    case HISTORY_ADD:
    case HISTORY_REPLACE:
    case HISTORY_APPEND:
    case HISTORY_PREPEND:
    case HISTORY_CAS:
        YK_ASSERT(record->value != NULL);
        break;
    default:
        YK_ASSERT(record->value == NULL);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[FLAT_ERROR_SIZE] = "";
    char *line = g_memdup2(data, size); /* of exactly that size */
    struct record record;
    if (record_read(line, size, &record, error)) {
        check(&record);
        record_clear(&record);
    } else {
        YK_ASSERT(error[0] != '\0' && memchr(error, '\0', sizeof(error)) != NULL);
        YK_ASSERT(record.key == NULL && record.value == NULL);
    }
    g_free(line);
    return 0;
}
