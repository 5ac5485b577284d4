/* A writer of MessagePack into memory of its own, up to a bound: msgpack-c does the bytes.
 *
 * What does not fit, or finds no memory, is remembered: a caller writes a whole structure and asks
 * once, at the end.
 *
 * Threads: one thread. Ownership: owns its bytes until yk_pack_done. */
#ifndef YK_WIRE_PACK_H
#define YK_WIRE_PACK_H

#include <msgpack.h>

#include <yakumo/base.h>

struct yk_pack {
    msgpack_packer packer; /* writes to this struct: do not move it */
    uint8_t *data;         /* own */
    size_t size, room, size_max;
    enum yk_err result; /* YK_ETOOLARGE or YK_ENOMEM once something was left out */
};

void yk_pack_init(struct yk_pack *pack, size_t size_max);
/* Nothing of it may be used any more. */
void yk_pack_done(struct yk_pack *pack);

static inline struct yk_slice
yk_pack_bytes_of(const struct yk_pack *pack)
{
    return yk_slice_of(pack->data, pack->size);
}

/* Each is the head only: as many values, or pairs, follow. */
void yk_pack_array(struct yk_pack *pack, uint32_t n);
void yk_pack_map(struct yk_pack *pack, uint32_t n);

void yk_pack_nil(struct yk_pack *pack);
void yk_pack_bool(struct yk_pack *pack, bool value);
void yk_pack_uint(struct yk_pack *pack, uint64_t number);
void yk_pack_text(struct yk_pack *pack, const char *text);
void yk_pack_bytes(struct yk_pack *pack, struct yk_slice bytes);

#endif
