/* The reader. Every value begins with its head: type, and size or count or number. */
#include <config.h>

#include "core/wire/unpack.h"

#include "core/base/assert.h"
#include "core/wire/head.h"

/* A value's head, as it was written. */
struct head {
    enum yk_unpack_type type;
    uint32_t size;   /* bytes of the head itself */
    uint64_t number; /* UINT: the number, BOOL: 0 or 1; bytes of TEXT, BYTES, FLOAT, EXTENSION;
                        values of ARRAY; pairs of MAP */
};

static uint64_t
big_endian(const uint8_t *at, uint32_t size)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < size; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

/* One of the type bytes 0xc0 to 0xdf. */
static const char *
read_long_head(const uint8_t *at, size_t size, struct head *ret_head)
{
    const struct yk_head_form *form = &yk_head_forms[at[0] - 0xc0];
    uint32_t n_follow = form->n_follow;
    if (form->type == YK_UNPACK_NOTHING) {
        return "a type byte that does not exist";
    }
    if (size < 1 + n_follow) {
        return "it ends in the middle of a value";
    }
    *ret_head = (struct head){(enum yk_unpack_type)form->type, 1 + n_follow,
                              big_endian(at + 1, n_follow) + form->fixed};
    if (form->is_signed && at[1] >= 0x80) {
        ret_head->type = YK_UNPACK_NEGATIVE;
    }
    return NULL;
}

/* What is wrong with it, or NULL. */
static const char *
read_head(const struct yk_unpack *unpack, struct head *ret_head)
{
    const uint8_t *at = unpack->at;
    *ret_head = (struct head){0};
    if (unpack->left[unpack->depth] == 0) {
        return "there are too few values";
    }
    if (at == unpack->end) {
        return "it ends too early";
    }
    if (at[0] < 0x80) {
        *ret_head = (struct head){YK_UNPACK_UINT, 1, at[0]};
    } else if (at[0] < 0x90) {
        *ret_head = (struct head){YK_UNPACK_MAP, 1, at[0] & 0x0f};
    } else if (at[0] < 0xa0) {
        *ret_head = (struct head){YK_UNPACK_ARRAY, 1, at[0] & 0x0f};
    } else if (at[0] < 0xc0) {
        *ret_head = (struct head){YK_UNPACK_TEXT, 1, at[0] & 0x1f};
    } else if (at[0] >= 0xe0) {
        *ret_head = (struct head){YK_UNPACK_NEGATIVE, 1, 0};
    } else {
        return read_long_head(at, (size_t)(unpack->end - at), ret_head);
    }
    return NULL;
}

void
yk_unpack_init(struct yk_unpack *unpack, struct yk_slice bytes)
{
    static const uint8_t nothing;
    const uint8_t *at = bytes.size > 0 ? bytes.data : &nothing;
    *unpack = (struct yk_unpack){.at = at, .end = at + bytes.size, .left = {1}};
}

void
yk_unpack_fail(struct yk_unpack *unpack, const char *why)
{
    if (unpack->wrong == NULL) {
        unpack->wrong = why;
    }
    unpack->at = unpack->end;
    unpack->depth = 0;
    unpack->left[0] = 0;
}

enum yk_err
yk_unpack_end(struct yk_unpack *unpack)
{
    if (unpack->wrong == NULL && (unpack->depth > 0 || unpack->left[0] > 0)) {
        yk_unpack_fail(unpack, "it has not been read to its end");
    } else if (unpack->at != unpack->end) {
        yk_unpack_fail(unpack, "there are bytes behind its end");
    }
    return unpack->wrong == NULL ? YK_OK : YK_ECORRUPT;
}

enum yk_unpack_type
yk_unpack_peek(const struct yk_unpack *unpack)
{
    struct head head;
    return read_head(unpack, &head) == NULL ? head.type : YK_UNPACK_NOTHING;
}

/* Takes the head of a value of that type (NOTHING: of any); false: something is wrong. */
static bool
take_head(struct yk_unpack *unpack, enum yk_unpack_type type, struct head *ret_head)
{
    const char *wrong = read_head(unpack, ret_head);
    if (wrong == NULL && type != YK_UNPACK_NOTHING && ret_head->type != type) {
        wrong = "a value is of another type than belongs there";
    }
    if (wrong == NULL) {
        /* Each value, and each of a pair, takes at least a byte. */
        uint64_t rest = (uint64_t)(unpack->end - unpack->at) - ret_head->size;
        bool is_beyond = (yk_head_has_bytes(ret_head->type) && ret_head->number > rest) ||
                         (ret_head->type == YK_UNPACK_ARRAY && ret_head->number > rest) ||
                         (ret_head->type == YK_UNPACK_MAP && ret_head->number > rest / 2);
        wrong = is_beyond ? "a size or a count is greater than the bytes that are left" : NULL;
    }
    if (wrong != NULL) {
        yk_unpack_fail(unpack, wrong);
        *ret_head = (struct head){0};
        return false;
    }
    unpack->at += ret_head->size;
    unpack->left[unpack->depth]--;
    return true;
}

void
yk_unpack_nil(struct yk_unpack *unpack)
{
    struct head head;
    (void)take_head(unpack, YK_UNPACK_NIL, &head);
}

bool
yk_unpack_bool(struct yk_unpack *unpack)
{
    struct head head;
    return take_head(unpack, YK_UNPACK_BOOL, &head) && head.number != 0;
}

uint64_t
yk_unpack_uint(struct yk_unpack *unpack, uint64_t max)
{
    struct head head;
    if (take_head(unpack, YK_UNPACK_UINT, &head) && head.number > max) {
        yk_unpack_fail(unpack, "a number is greater than it may be");
        return 0;
    }
    return head.number;
}

static struct yk_slice
take_bytes(struct yk_unpack *unpack, enum yk_unpack_type type, size_t size_max)
{
    struct head head;
    if (!take_head(unpack, type, &head)) {
        return yk_slice_of(NULL, 0);
    }
    if (head.number > size_max) {
        yk_unpack_fail(unpack, "a text is longer than it may be");
        return yk_slice_of(NULL, 0);
    }
    struct yk_slice bytes = yk_slice_of(unpack->at, (size_t)head.number);
    unpack->at += head.number;
    return bytes;
}

struct yk_slice
yk_unpack_text(struct yk_unpack *unpack, size_t size_max)
{
    return take_bytes(unpack, YK_UNPACK_TEXT, size_max);
}

struct yk_slice
yk_unpack_bytes(struct yk_unpack *unpack, size_t size_max)
{
    return take_bytes(unpack, YK_UNPACK_BYTES, size_max);
}

static uint32_t
enter(struct yk_unpack *unpack, enum yk_unpack_type type, uint32_t each)
{
    struct head head;
    if (!take_head(unpack, type, &head)) {
        return 0;
    }
    if (unpack->depth == YK_UNPACK_DEPTH_MAX || head.number > UINT32_MAX / each) {
        yk_unpack_fail(unpack, "arrays and maps lie too deep in each other");
        return 0;
    }
    unpack->left[++unpack->depth] = (uint32_t)head.number * each;
    return (uint32_t)head.number;
}

uint32_t
yk_unpack_array(struct yk_unpack *unpack)
{
    return enter(unpack, YK_UNPACK_ARRAY, 1);
}

uint32_t
yk_unpack_map(struct yk_unpack *unpack)
{
    return enter(unpack, YK_UNPACK_MAP, 2);
}

void
yk_unpack_leave(struct yk_unpack *unpack)
{
    if (unpack->wrong != NULL) {
        return;
    }
    YK_ASSERT(unpack->depth > 0);
    if (unpack->left[unpack->depth] > 0) {
        yk_unpack_fail(unpack, "there are too many values");
        return;
    }
    unpack->depth--;
}

void
yk_unpack_skip(struct yk_unpack *unpack)
{
    uint32_t depth = unpack->depth;
    do {
        struct head head;
        enum yk_unpack_type type = yk_unpack_peek(unpack);
        if (type == YK_UNPACK_ARRAY) {
            (void)yk_unpack_array(unpack);
        } else if (type == YK_UNPACK_MAP) {
            (void)yk_unpack_map(unpack);
        } else if (take_head(unpack, YK_UNPACK_NOTHING, &head) && yk_head_has_bytes(type)) {
            unpack->at += head.number;
        }
        while (unpack->depth > depth && unpack->left[unpack->depth] == 0) {
            yk_unpack_leave(unpack);
        }
    } while (unpack->depth > depth);
}
