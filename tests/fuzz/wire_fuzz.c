/* Any bytes as MessagePack: one byte of the input says in which way each value is asked for, and
 * whatever comes of it, the reader stays within its bytes and ends. */
#include <config.h>

#include <stdint.h>

#include "core/base/assert.h"
#include "core/wire/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_slice(const struct yk_unpack *unpack, struct yk_slice slice)
{
    YK_ASSERT(slice.size == 0 || (const uint8_t *)slice.data + slice.size == unpack->at ||
              unpack->wrong != NULL);
}

/* Takes one value, or enters it. */
static void
ask(struct yk_unpack *unpack, uint8_t how)
{
    switch (how % 8) {
    case 0:
        yk_unpack_skip(unpack);
        break;
    case 1:
        check_slice(unpack, yk_unpack_text(unpack, how));
        break;
    case 2:
        check_slice(unpack, yk_unpack_bytes(unpack, how));
        break;
    case 3:
        YK_ASSERT(yk_unpack_uint(unpack, how) <= how);
        break;
    case 4:
        (void)yk_unpack_bool(unpack);
        break;
    case 5:
        yk_unpack_nil(unpack);
        break;
    default:
        switch (yk_unpack_peek(unpack)) {
        case YK_UNPACK_ARRAY:
            YK_ASSERT(yk_unpack_array(unpack) <= (size_t)(unpack->end - unpack->at));
            break;
        case YK_UNPACK_MAP:
            YK_ASSERT(yk_unpack_map(unpack) <= (size_t)(unpack->end - unpack->at) / 2);
            break;
        default:
            yk_unpack_skip(unpack);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yk_unpack unpack;
    uint8_t how = size > 0 ? data[0] : 0;
    struct yk_slice bytes = size > 0 ? yk_slice_of(data + 1, size - 1) : yk_slice_of(NULL, 0);
    yk_unpack_init(&unpack, bytes);
    yk_unpack_skip(&unpack);
    bool is_whole = yk_unpack_end(&unpack) == YK_OK;
    YK_ASSERT(is_whole == (unpack.wrong == NULL));
    yk_unpack_init(&unpack, bytes);
    while (unpack.wrong == NULL && (unpack.depth > 0 || unpack.left[0] > 0)) {
        if (unpack.left[unpack.depth] == 0) {
            yk_unpack_leave(&unpack);
        } else {
            ask(&unpack, how);
            how = (uint8_t)(how * 5 + 1);
        }
    }
    /* What has been read to its end value by value is whole. */
    YK_ASSERT(yk_unpack_end(&unpack) != YK_OK || is_whole);
    return 0;
}
