/* Texts, counts, beginning and end of registers. */
#include <config.h>

#include "core/ring/register_form.h"

#include <stdio.h>

bool
yk_register_head(struct yk_unpack *unpack, const char *kind, bool *ret_is_newer)
{
    (void)yk_unpack_array(unpack);
    struct yk_slice is = yk_unpack_text(unpack, YK_NAME_SIZE_MAX);
    if (unpack->wrong == NULL && !yk_slice_equal(is, yk_slice_of_text(kind))) {
        yk_unpack_fail(unpack, "it is another register");
    }
    uint64_t format = yk_unpack_uint(unpack, UINT32_MAX);
    *ret_is_newer = unpack->wrong == NULL && format > YK_REGISTER_FORMAT;
    if (unpack->wrong == NULL && format == 0) {
        yk_unpack_fail(unpack, "its format is 0");
    }
    return unpack->wrong == NULL && !*ret_is_newer;
}

enum yk_err
yk_register_end(struct yk_unpack *unpack, const char *kind, bool is_newer, char *error)
{
    if (is_newer) {
        snprintf(error, YK_ERROR_SIZE,
                 "the %s register was written by a newer version of yakumo; this one reads "
                 "format %d",
                 kind, YK_REGISTER_FORMAT);
        return YK_EUNSUPPORTED;
    }
    if (unpack->wrong == NULL) {
        yk_unpack_leave(unpack);
    }
    if (yk_unpack_end(unpack) != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "the %s register is damaged: %s", kind, unpack->wrong);
        return YK_ECORRUPT;
    }
    return YK_OK;
}

enum yk_err
yk_register_written(const struct yk_pack *pack, const char *kind, char *error)
{
    if (pack->result == YK_ETOOLARGE) {
        snprintf(error, YK_ERROR_SIZE, "the %s register is larger than %zu bytes, which it may be",
                 kind, pack->size_max);
    } else if (pack->result != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "the %s register: %s", kind, yk_err_text(pack->result));
    }
    return pack->result;
}

void
yk_register_text(struct yk_unpack *unpack, char *to, size_t room)
{
    struct yk_slice text = yk_unpack_text(unpack, room - 1);
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL) {
        yk_unpack_fail(unpack, "a text has a NUL in it");
        text.size = 0;
    }
    if (text.size > 0) {
        memcpy(to, text.data, text.size);
    }
    to[text.size] = '\0';
}

void
yk_register_uuid(struct yk_unpack *unpack, char *to)
{
    yk_register_text(unpack, to, YK_UUID_SIZE);
    if (unpack->wrong == NULL &&
        (strlen(to) != YK_UUID_SIZE - 1 || strspn(to, "0123456789abcdef-") != YK_UUID_SIZE - 1)) {
        yk_unpack_fail(unpack, "an id is not a UUID");
    }
}

void
yk_register_name(struct yk_unpack *unpack, char *to)
{
    static const char bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    yk_register_text(unpack, to, YK_NAME_SIZE_MAX + 1);
    if (unpack->wrong == NULL && (to[0] == '\0' || to[strspn(to, bytes)] != '\0')) {
        yk_unpack_fail(unpack, "a name has bytes that no name has");
    }
}

uint32_t
yk_register_count(struct yk_unpack *unpack, uint32_t max)
{
    uint32_t n = yk_unpack_array(unpack);
    if (n > max) {
        yk_unpack_fail(unpack, "it has more of something than there may be");
        return 0;
    }
    return n;
}
