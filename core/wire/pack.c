/* The writer: growing memory below msgpack-c's packer. */
#include <config.h>

#include "core/wire/pack.h"

#include <glib.h>

/* msgpack-c asks for a result; ours is kept in the struct, so that nobody has to pass it on. */
static int
write_bytes(void *arg, const char *bytes, size_t size)
{
    struct yk_pack *pack = arg;
    if (pack->result != YK_OK) {
        return 0;
    }
    if (size > pack->size_max - pack->size) {
        pack->result = YK_ETOOLARGE;
        return 0;
    }
    if (size > pack->room - pack->size) {
        size_t room = MIN(pack->size_max, MAX(pack->size + size, pack->room * 2 + 256));
        uint8_t *data = g_try_realloc(pack->data, room);
        if (data == NULL) {
            pack->result = YK_ENOMEM;
            return 0;
        }
        pack->data = data;
        pack->room = room;
    }
    if (size > 0) {
        memcpy(pack->data + pack->size, bytes, size);
    }
    pack->size += size;
    return 0;
}

void
yk_pack_init(struct yk_pack *pack, size_t size_max)
{
    *pack = (struct yk_pack){.size_max = size_max};
    msgpack_packer_init(&pack->packer, pack, write_bytes);
}

void
yk_pack_done(struct yk_pack *pack)
{
    g_free(pack->data);
    *pack = (struct yk_pack){0};
}

void
yk_pack_array(struct yk_pack *pack, uint32_t n)
{
    msgpack_pack_array(&pack->packer, n);
}

void
yk_pack_map(struct yk_pack *pack, uint32_t n)
{
    msgpack_pack_map(&pack->packer, n);
}

void
yk_pack_nil(struct yk_pack *pack)
{
    msgpack_pack_nil(&pack->packer);
}

void
yk_pack_bool(struct yk_pack *pack, bool value)
{
    if (value) {
        msgpack_pack_true(&pack->packer);
    } else {
        msgpack_pack_false(&pack->packer);
    }
}

void
yk_pack_uint(struct yk_pack *pack, uint64_t number)
{
    msgpack_pack_uint64(&pack->packer, number);
}

void
yk_pack_text(struct yk_pack *pack, const char *text)
{
    size_t size = strlen(text);
    msgpack_pack_str(&pack->packer, size);
    msgpack_pack_str_body(&pack->packer, text, size);
}

void
yk_pack_bytes(struct yk_pack *pack, struct yk_slice bytes)
{
    msgpack_pack_bin(&pack->packer, bytes.size);
    msgpack_pack_bin_body(&pack->packer, bytes.data, bytes.size);
}
