/* Any bytes as a register: refused with one line, or read, and then what is written of it reads the
 * same. */
#include <config.h>

#include <stdint.h>

#include <glib.h>

#include "core/base/assert.h"
#include "core/ring/register.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_error(const char *error)
{
    YK_ASSERT(memchr(error, '\0', YK_ERROR_SIZE) != NULL);
    YK_ASSERT(*error != '\0' && strchr(error, '\n') == NULL);
}

/* Writes it, in the one form that is written. */
static void
write_bucket(const struct yk_bucket_register *bucket, struct yk_pack *pack)
{
    char error[YK_ERROR_SIZE];
    enum yk_err result = yk_bucket_register_encode(bucket, pack, error);
    YK_ASSERT(result == YK_OK);
}

static void
check_bucket(struct yk_slice bytes)
{
    char error[YK_ERROR_SIZE] = "";
    struct yk_bucket_register bucket, again;
    struct yk_pack first, second;
    if (yk_bucket_register_decode(bytes, &bucket, error) != YK_OK) {
        check_error(error);
        return;
    }
    yk_pack_init(&first, YK_REGISTER_SIZE_MAX);
    yk_pack_init(&second, YK_REGISTER_SIZE_MAX);
    write_bucket(&bucket, &first);
    enum yk_err result = yk_bucket_register_decode(yk_pack_bytes_of(&first), &again, error);
    YK_ASSERT(result == YK_OK);
    write_bucket(&again, &second);
    YK_ASSERT(yk_slice_equal(yk_pack_bytes_of(&first), yk_pack_bytes_of(&second)));
    yk_pack_done(&first);
    yk_pack_done(&second);
    yk_bucket_register_done(&bucket);
    yk_bucket_register_done(&again);
}

static void
check_cluster(struct yk_slice bytes)
{
    static struct yk_cluster_register cluster, again;
    char error[YK_ERROR_SIZE] = "";
    struct yk_pack pack;
    if (yk_cluster_register_decode(bytes, &cluster, error) != YK_OK) {
        check_error(error);
        return;
    }
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    enum yk_err result = yk_cluster_register_encode(&cluster, &pack, error);
    YK_ASSERT(result == YK_OK);
    result = yk_cluster_register_decode(yk_pack_bytes_of(&pack), &again, error);
    YK_ASSERT(result == YK_OK);
    YK_ASSERT(again.n_nodes == cluster.n_nodes && again.n_buckets == cluster.n_buckets);
    yk_pack_done(&pack);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_cluster(yk_slice_of(data, size));
    check_bucket(yk_slice_of(data, size));
    return 0;
}
