/* The registers' form: what is written reads back, what is cut off, changed or too large is
 * refused. */
#include <config.h>

#include "core/ring/register.h"

#include <glib.h>

#include "core/base/random.h"

static const char id_a[] = "01234567-89ab-4def-8123-456789abcdef";
static const char id_b[] = "11234567-89ab-4def-8123-456789abcdef";

static char error[YK_ERROR_SIZE];

static void
fill_cluster(struct yk_cluster_register *cluster)
{
    *cluster = (struct yk_cluster_register){.n_nodes = 2, .n_buckets = 2};
    strcpy(cluster->id, id_b);
    cluster->nodes[0] = (struct yk_cluster_node){
        .name = "a", .address = "127.0.0.1:19800", .zone = "rack 1", .weight = 1};
    cluster->nodes[1] = (struct yk_cluster_node){
        .name = "b", .address = "[::1]:19800", .weight = 1000, .state = YK_NODE_DETACHING};
    strcpy(cluster->nodes[0].id, id_a);
    strcpy(cluster->nodes[1].id, id_b);
    strcpy(cluster->buckets[0], "default");
    strcpy(cluster->buckets[1], "cluster");
}

static struct yk_bucket_description
description_of(uint32_t slots, uint32_t copies)
{
    return (struct yk_bucket_description){.slots = slots,
                                          .copies = copies,
                                          .min_copies = 1,
                                          .durability = YK_DURABILITY_OS,
                                          .engine = "lmdb",
                                          .n_filters = 2,
                                          .filters = {"stats", "zstd"},
                                          .memory_max = 1ull << 40,
                                          .evict = 1,
                                          .key_size_max = 250,
                                          .value_size_max = 1 << 20};
}

/* Four slots: not created, in order, with a member that came back, with everything. */
static void
fill_bucket(struct yk_bucket_register *bucket)
{
    struct yk_bucket_description description = description_of(4, 2);
    g_assert_cmpint(yk_bucket_register_init(bucket, &description, error), ==, YK_OK);
    bucket->n_nodes = 2;
    bucket->nodes[0] =
        (struct yk_register_node){.nonce = 7, .n_workers = 2, .n_lanes = 2, .incarnations = {5, 6}};
    bucket->nodes[1] =
        (struct yk_register_node){.nonce = UINT64_MAX, .n_lanes = 1, .incarnations = {9}};
    strcpy(bucket->nodes[0].id, id_a);
    strcpy(bucket->nodes[1].id, id_b);
    bucket->slots[1] = (struct yk_slot_record){
        .epoch = 3, .primary = 0, .nonce = 7, .n_members = 1, .members = {{0, 6}}};
    bucket->slots[2] = (struct yk_slot_record){.epoch = YK_EPOCH_MAX,
                                               .primary = 1,
                                               .nonce = 8,
                                               .n_members = 2,
                                               .members = {{0, 4}, {1, 9}}};
    bucket->slots[3] = (struct yk_slot_record){.epoch = 1,
                                               .primary = 1,
                                               .nonce = 8,
                                               .n_members = 1,
                                               .members = {{1, 9}},
                                               .n_eligible = 1,
                                               .eligible = {{0, 6}},
                                               .n_targets = 2,
                                               .targets = {0, 1},
                                               .is_lossy = true};
}

static void
test_cluster(void)
{
    struct yk_cluster_register *cluster = g_new0(struct yk_cluster_register, 2);
    struct yk_pack pack;
    fill_cluster(&cluster[0]);
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    g_assert_cmpint(yk_cluster_register_encode(&cluster[0], &pack, error), ==, YK_OK);
    struct yk_slice bytes = yk_pack_bytes_of(&pack);
    g_assert_cmpint(yk_cluster_register_decode(bytes, &cluster[1], error), ==, YK_OK);
    g_assert_cmpmem(&cluster[0], sizeof(*cluster), &cluster[1], sizeof(*cluster));
    for (size_t size = 0; size < bytes.size; size++) {
        g_assert_cmpint(
            yk_cluster_register_decode(yk_slice_of(bytes.data, size), &cluster[1], error), ==,
            YK_ECORRUPT);
        g_assert_nonnull(strstr(error, "damaged"));
    }
    pack.data[9] = YK_REGISTER_FORMAT + 1;
    g_assert_cmpint(yk_cluster_register_decode(bytes, &cluster[1], error), ==, YK_EUNSUPPORTED);
    g_assert_nonnull(strstr(error, "newer version"));
    yk_pack_done(&pack);
    g_free(cluster);
}

static void
test_cluster_refusals(void)
{
    struct yk_cluster_register *cluster = g_new0(struct yk_cluster_register, 2);
    for (int i = 0; i < 5; i++) {
        struct yk_pack pack;
        fill_cluster(&cluster[0]);
        strcpy(i == 0   ? cluster->nodes[1].id
               : i == 1 ? cluster->buckets[1]
               : i == 2 ? cluster->id
               : i == 3 ? cluster->nodes[0].name
                        : cluster->nodes[0].zone,
               i == 0   ? id_a
               : i == 1 ? "default"
               : i == 2 ? "0123"
               : i == 3 ? "A b"
                        : "good");
        yk_pack_init(&pack, i == 4 ? 100 : YK_REGISTER_SIZE_MAX);
        g_assert_cmpint(yk_cluster_register_encode(&cluster[0], &pack, error), ==,
                        i == 4 ? YK_ETOOLARGE : YK_OK);
        g_assert_cmpint(yk_cluster_register_decode(yk_pack_bytes_of(&pack), &cluster[1], error), ==,
                        YK_ECORRUPT);
        yk_pack_done(&pack);
    }
    g_free(cluster);
}

static void
test_bucket(void)
{
    struct yk_bucket_register bucket, again;
    struct yk_pack pack;
    fill_bucket(&bucket);
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    g_assert_cmpint(yk_bucket_register_encode(&bucket, &pack, error), ==, YK_OK);
    struct yk_slice bytes = yk_pack_bytes_of(&pack);
    g_assert_cmpint(yk_bucket_register_decode(bytes, &again, error), ==, YK_OK);
    g_assert_cmpmem(&bucket.description, sizeof(bucket.description), &again.description,
                    sizeof(again.description));
    g_assert_cmpuint(again.n_nodes, ==, 2);
    g_assert_cmpmem(bucket.nodes, 2 * sizeof(*bucket.nodes), again.nodes, 2 * sizeof(*again.nodes));
    g_assert_cmpmem(bucket.slots, 4 * sizeof(*bucket.slots), again.slots, 4 * sizeof(*again.slots));
    g_assert_cmpuint(yk_bucket_register_find(&again, id_b), ==, 1);
    g_assert_cmpuint(yk_bucket_register_find(&again, "x"), ==, 2);
    yk_bucket_register_done(&again);
    for (size_t size = 0; size < bytes.size; size++) {
        g_assert_cmpint(yk_bucket_register_decode(yk_slice_of(bytes.data, size), &again, error), ==,
                        YK_ECORRUPT);
    }
    /* Any byte changed: refused, or it is another good register. */
    for (size_t i = 0; i < bytes.size * 8; i++) {
        pack.data[i / 8] ^= (uint8_t)(1u << i % 8);
        if (yk_bucket_register_decode(bytes, &again, error) == YK_OK) {
            yk_bucket_register_done(&again);
        }
        pack.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    pack.data[8] = YK_REGISTER_FORMAT + 1;
    g_assert_cmpint(yk_bucket_register_decode(bytes, &again, error), ==, YK_EUNSUPPORTED);
    yk_pack_done(&pack);
    yk_bucket_register_done(&bucket);
}

/* What a program that went wrong could have written. */
static void
test_bucket_refusals(void)
{
    for (int i = 0; i < 9; i++) {
        struct yk_bucket_register bucket, again;
        struct yk_pack pack;
        fill_bucket(&bucket);
        bucket.nodes[1].nonce = i == 0 ? 0 : 1;
        bucket.slots[3].primary = i == 1 ? 0 : 1; /* not a member */
        bucket.slots[2].members[0].node = i == 2 ? 1 : 0;
        bucket.description.min_copies = i == 3 ? 3 : i == 4 ? 0 : 1;
        bucket.slots[1].epoch = i == 5 ? YK_EPOCH_MAX + 1 : 3;
        bucket.slots[3].targets[0] = i == 6 ? 2 : 0;
        strcpy(bucket.nodes[0].id, i == 7 ? id_b : id_a);
        bucket.description.copies = i == 8 ? YK_COPIES_MAX + 1 : 2;
        yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
        g_assert_cmpint(yk_bucket_register_encode(&bucket, &pack, error), ==, YK_OK);
        g_assert_cmpint(yk_bucket_register_decode(yk_pack_bytes_of(&pack), &again, error), ==,
                        YK_ECORRUPT);
        yk_pack_done(&pack);
        yk_bucket_register_done(&bucket);
    }
}

/* The largest that is made stays within its bound, whatever becomes of it. */
static void
test_size(void)
{
    struct yk_bucket_register bucket;
    struct yk_bucket_description description = description_of(YK_SLOTS_MAX, 1);
    struct yk_pack pack;
    g_assert_cmpint(yk_bucket_register_init(&bucket, &description, error), ==, YK_OK);
    bucket.n_nodes = 1;
    bucket.nodes[0].nonce = UINT64_MAX;
    bucket.nodes[0].n_lanes = YK_LANES_MAX;
    for (uint32_t i = 0; i < YK_LANES_MAX; i++) {
        bucket.nodes[0].incarnations[i] = UINT32_MAX;
    }
    strcpy(bucket.nodes[0].id, id_a);
    for (uint32_t i = 0; i < YK_SLOTS_MAX; i++) {
        bucket.slots[i] = (struct yk_slot_record){.epoch = YK_EPOCH_MAX,
                                                  .nonce = UINT64_MAX,
                                                  .n_members = 1,
                                                  .members = {{0, UINT32_MAX}},
                                                  .n_targets = 1};
    }
    yk_pack_init(&pack, YK_REGISTER_SIZE_MAX);
    g_assert_cmpint(yk_bucket_register_encode(&bucket, &pack, error), ==, YK_OK);
    g_assert_cmpuint(pack.size, <=, yk_bucket_register_size_max(&description));
    yk_pack_done(&pack);
    yk_pack_init(&pack, 1000);
    g_assert_cmpint(yk_bucket_register_encode(&bucket, &pack, error), ==, YK_ETOOLARGE);
    g_assert_nonnull(strstr(error, "1000 bytes"));
    yk_pack_done(&pack);
    yk_bucket_register_done(&bucket);
    description.copies = 3;
    g_assert_cmpint(yk_bucket_register_init(&bucket, &description, error), ==, YK_ETOOLARGE);
    g_assert_nonnull(strstr(error, "fewer slots"));
}

/* Structures at random, so that the readers get further than random bytes would. */
static void
test_random(void)
{
    struct yk_random random = {g_test_rand_int()};
    for (int i = 0; i < 20000; i++) {
        static const uint8_t likely[] = {0x00, 0x01, 0x91, 0x92, 0x95, 0x97, 0xa1, 'b',
                                         0xc0, 0xc2, 0xc3, 0x90, 0xa6, 0xdc, 0xcf};
        uint8_t bytes[64] = "\x95\xa6"
                            "bucket\x01\x9a\x01\x01\x00\x00\xa1m";
        size_t size = 15 + yk_random_next(&random) % 49;
        struct yk_bucket_register bucket;
        for (size_t k = 15; k < size; k++) {
            bytes[k] = likely[yk_random_next(&random) % G_N_ELEMENTS(likely)];
        }
        if (yk_bucket_register_decode(yk_slice_of(bytes, size), &bucket, error) == YK_OK) {
            yk_bucket_register_done(&bucket);
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_func("/register/cluster", test_cluster);
    g_test_add_func("/register/cluster-refusals", test_cluster_refusals);
    g_test_add_func("/register/bucket", test_bucket);
    g_test_add_func("/register/bucket-refusals", test_bucket_refusals);
    g_test_add_func("/register/size", test_size);
    g_test_add_func("/register/random", test_random);
    return g_test_run();
}
