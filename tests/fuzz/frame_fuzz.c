/* Any bytes as a stream of frames, as a hello and as its answer. However the stream is cut, values
 * end at the same places, the reader takes each of them, and what the reader takes is let through;
 * what is taken as a hello or an answer reads back the same when it is written again. */
#include <config.h>

#include <stdint.h>

#include "core/base/assert.h"
#include "core/wire/hello.h"

enum { SIZE_MAX_HERE = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where the first value ends, fed `step` bytes at a time; 0: it goes on, SIZE_MAX: it is wrong. */
static size_t
end_of(const uint8_t *data, size_t size, size_t step)
{
    struct yk_splitter splitter;
    size_t at = 0;
    yk_splitter_init(&splitter, SIZE_MAX_HERE);
    while (at < size) {
        size_t used;
        size_t piece = size - at < step ? size - at : step;
        enum yk_split found = yk_splitter_take(&splitter, data + at, piece, &used);
        YK_ASSERT(used <= piece && (found != YK_SPLIT_MORE || used == piece));
        YK_ASSERT((found == YK_SPLIT_WRONG) == (splitter.wrong != NULL));
        at += used;
        YK_ASSERT(at <= SIZE_MAX_HERE);
        if (found != YK_SPLIT_MORE) {
            return found == YK_SPLIT_WHOLE ? at : SIZE_MAX;
        }
    }
    return 0;
}

static void
check_stream(const uint8_t *data, size_t size)
{
    while (size > 0) {
        struct yk_unpack unpack;
        size_t end = end_of(data, size, size);
        YK_ASSERT(end == end_of(data, size, 1));
        YK_ASSERT(end == end_of(data, size, 7));
        if (end == 0 || end == SIZE_MAX) {
            return;
        }
        yk_unpack_init(&unpack, yk_slice_of(data, end));
        yk_unpack_skip(&unpack);
        YK_ASSERT(yk_unpack_end(&unpack) == YK_OK);
        data += end;
        size -= end;
    }
}

/* What the reader takes as a whole value is one to the splitter too. */
static void
check_value(const uint8_t *data, size_t size)
{
    struct yk_unpack unpack;
    yk_unpack_init(&unpack, yk_slice_of(data, size));
    yk_unpack_skip(&unpack);
    if (size <= SIZE_MAX_HERE && yk_unpack_end(&unpack) == YK_OK) {
        YK_ASSERT(end_of(data, size, 3) == size);
    }
}

static void
check_hello(struct yk_slice bytes)
{
    struct yk_hello hello, again;
    struct yk_welcome welcome;
    struct yk_pack pack;
    const char *wrong = NULL;
    if (yk_hello_decode(bytes, &hello, &wrong) != YK_OK) {
        YK_ASSERT(wrong != NULL);
        return;
    }
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    yk_hello_encode(&pack, &hello);
    YK_ASSERT(pack.result == YK_OK);
    YK_ASSERT(yk_hello_decode(yk_pack_bytes_of(&pack), &again, &wrong) == YK_OK);
    YK_ASSERT(strcmp(hello.name, again.name) == 0 && strcmp(hello.address, again.address) == 0);
    YK_ASSERT(hello.nonce == again.nonce && hello.to == again.to && hello.from == again.from);
    yk_pack_done(&pack);
    yk_hello_answer(&hello, &again, &welcome); /* of two that are the same */
    YK_ASSERT(welcome.error[0] == '\0' || strcmp(hello.to_id, hello.node_id) != 0);
}

static void
check_welcome(struct yk_slice bytes)
{
    struct yk_welcome welcome, again;
    struct yk_pack pack;
    const char *wrong = NULL;
    if (yk_welcome_decode(bytes, &welcome, &wrong) != YK_OK) {
        YK_ASSERT(wrong != NULL);
        return;
    }
    welcome.n_auth_methods = 0;
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    yk_welcome_encode(&pack, &welcome);
    YK_ASSERT(pack.result == YK_OK);
    YK_ASSERT(yk_welcome_decode(yk_pack_bytes_of(&pack), &again, &wrong) == YK_OK);
    YK_ASSERT(strcmp(welcome.error, again.error) == 0 && welcome.version == again.version);
    yk_pack_done(&pack);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_stream(data, size);
    check_value(data, size);
    check_hello(yk_slice_of(data, size));
    check_welcome(yk_slice_of(data, size));
    return 0;
}
