/* The splitter: heads byte by byte, bodies at a stroke. */
#include <config.h>

#include "core/wire/frame.h"

#include "core/base/assert.h"
#include "core/wire/head.h"

void
yk_splitter_init(struct yk_splitter *splitter, uint64_t size_max)
{
    *splitter = (struct yk_splitter){.size_max = size_max, .n_pending = 1, .left = {1}};
}

static bool
fail(struct yk_splitter *splitter, const char *wrong)
{
    splitter->wrong = wrong;
    return false;
}

/* A head is whole: enters the value, or sets the body that follows. False: it is wrong. */
static bool
begin_value(struct yk_splitter *splitter, enum yk_unpack_type type, uint64_t number)
{
    bool is_nest = type == YK_UNPACK_ARRAY || type == YK_UNPACK_MAP;
    uint64_t n = type == YK_UNPACK_MAP                ? number * 2
                 : is_nest || yk_head_has_bytes(type) ? number
                                                      : 0;
    splitter->left[splitter->depth]--;
    splitter->n_pending--;
    if (is_nest && splitter->depth == YK_UNPACK_DEPTH_MAX) {
        return fail(splitter, "arrays and maps lie too deep in each other");
    }
    if (splitter->size + splitter->n_pending + n > splitter->size_max) {
        return fail(splitter, "a message is larger than it may be");
    }
    if (is_nest) {
        splitter->left[++splitter->depth] = (uint32_t)n;
        splitter->n_pending += n;
    } else {
        splitter->body = n;
    }
    return true;
}

static bool
begin_head(struct yk_splitter *splitter, uint8_t byte)
{
    if (byte < 0x80 || byte >= 0xe0) {
        return begin_value(splitter, YK_UNPACK_UINT, 0);
    }
    if (byte < 0x90) {
        return begin_value(splitter, YK_UNPACK_MAP, byte & 0x0f);
    }
    if (byte < 0xa0) {
        return begin_value(splitter, YK_UNPACK_ARRAY, byte & 0x0f);
    }
    if (byte < 0xc0) {
        return begin_value(splitter, YK_UNPACK_TEXT, byte & 0x1f);
    }
    const struct yk_head_form *form = &yk_head_forms[byte - 0xc0];
    if (form->type == YK_UNPACK_NOTHING) {
        return fail(splitter, "a type byte that does not exist");
    }
    if (form->n_follow == 0) {
        return begin_value(splitter, (enum yk_unpack_type)form->type, form->fixed);
    }
    splitter->type = byte;
    splitter->n_follow = form->n_follow;
    splitter->number = 0;
    return true;
}

static bool
take_byte(struct yk_splitter *splitter, uint8_t byte)
{
    splitter->size++;
    if (splitter->n_follow == 0) {
        return begin_head(splitter, byte);
    }
    splitter->number = splitter->number << 8 | byte;
    if (--splitter->n_follow > 0) {
        return true;
    }
    const struct yk_head_form *form = &yk_head_forms[splitter->type - 0xc0];
    return begin_value(splitter, (enum yk_unpack_type)form->type, splitter->number + form->fixed);
}

/* A head that lies there whole, in one step; 0: it does not. */
static size_t
step_over_head(struct yk_splitter *splitter, const uint8_t *bytes, size_t size)
{
    uint8_t byte = bytes[0];
    const struct yk_head_form *form =
        byte >= 0xc0 && byte < 0xe0 ? &yk_head_forms[byte - 0xc0] : NULL;
    size_t n_follow = form != NULL ? form->n_follow : 0;
    uint64_t number = form != NULL ? form->fixed : 0;
    if (splitter->n_follow > 0 || n_follow >= size) {
        return 0;
    }
    splitter->size += 1 + n_follow;
    if (n_follow == 0) {
        return begin_head(splitter, byte) ? 1 : 0;
    }
    uint64_t follows = 0;
    for (size_t i = 1; i <= n_follow; i++) {
        follows = follows << 8 | bytes[i];
    }
    return begin_value(splitter, (enum yk_unpack_type)form->type, number + follows) ? 1 + n_follow
                                                                                    : 0;
}

/* Leaves what has been gone over to its end; true: that was all. */
static bool
leave(struct yk_splitter *splitter)
{
    if (splitter->n_follow > 0 || splitter->body > 0) {
        return false;
    }
    while (splitter->depth > 0 && splitter->left[splitter->depth] == 0) {
        splitter->depth--;
    }
    return splitter->left[splitter->depth] == 0;
}

enum yk_split
yk_splitter_take(struct yk_splitter *splitter, const uint8_t *bytes, size_t size, size_t *ret_used)
{
    size_t used = 0;
    YK_ASSERT(splitter->wrong == NULL);
    while (used < size) {
        if (splitter->body > 0) {
            uint64_t step = splitter->body < size - used ? splitter->body : size - used;
            splitter->body -= step;
            splitter->size += step;
            used += step;
        } else {
            if (splitter->size == splitter->size_max) {
                splitter->wrong = "a message is larger than it may be";
            }
            size_t step =
                splitter->wrong == NULL ? step_over_head(splitter, bytes + used, size - used) : 0;
            if (step == 0 && (splitter->wrong != NULL || !take_byte(splitter, bytes[used]))) {
                *ret_used = used;
                return YK_SPLIT_WRONG;
            }
            used += step > 0 ? step : 1;
        }
        if (leave(splitter)) {
            *ret_used = used;
            yk_splitter_init(splitter, splitter->size_max);
            return YK_SPLIT_WHOLE;
        }
    }
    *ret_used = used;
    return YK_SPLIT_MORE;
}
