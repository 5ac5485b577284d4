/* Any bytes as a stream of `yakumo dump`: the reader ends, asks for no more memory than a record of
 * the bucket may take, and gives nothing that goes beyond the bucket's bounds. */
#include <config.h>

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "tools/offline/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEY_SIZE_MAX = 250, VALUE_SIZE_MAX = 4096 };

static void
read_all(int fd, size_t size)
{
    struct stream_reader reader;
    struct yk_slice key;
    struct yk_record record;
    uint64_t before = 0;
    enum stream_kind kind = STREAM_BAD;
    if (stream_open(&reader, fd, KEY_SIZE_MAX, VALUE_SIZE_MAX)) {
        before = reader.n_bytes;
        while ((kind = stream_next(&reader, &key, &record)) == STREAM_RECORD) {
            YK_ASSERT(key.size > 0 && key.size <= KEY_SIZE_MAX);
            YK_ASSERT(record.value.size <= VALUE_SIZE_MAX && record.version != 0);
            YK_ASSERT(reader.n_bytes > before && reader.n_bytes <= size);
            before = reader.n_bytes;
        }
    }
    YK_ASSERT(reader.room <= reader.room_max);
    YK_ASSERT(kind == STREAM_END ? reader.n_bytes == size : reader.error[0] != '\0');
    stream_reader_done(&reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("dump", MFD_CLOEXEC);
    YK_ASSERT(fd >= 0);
    ssize_t written = write(fd, data, size);
    YK_ASSERT(written == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    read_all(fd, size);
    close(fd);
    return 0;
}
