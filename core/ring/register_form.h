/* What the forms of both registers share. Private to this room.
 *
 * Threads: pure. Ownership: nothing is kept. */
#ifndef YK_RING_REGISTER_FORM_H
#define YK_RING_REGISTER_FORM_H

#include "core/ring/register.h"
#include "core/wire/unpack.h"

/* The two values that each register begins with; false: it is another thing, or newer. */
bool yk_register_head(struct yk_unpack *unpack, const char *kind, bool *ret_is_newer);
/* Ends the reading: YK_OK, or error says what is wrong with that register. */
enum yk_err yk_register_end(struct yk_unpack *unpack, const char *kind, bool is_newer, char *error);
/* Ends the writing of a register. */
enum yk_err yk_register_written(const struct yk_pack *pack, const char *kind, char *error);

/* A text into an array of `room` bytes, with its NUL; no byte of it is NUL. */
void yk_register_text(struct yk_unpack *unpack, char *to, size_t room);
void yk_register_uuid(struct yk_unpack *unpack, char *to);
/* Of a bucket, a plugin: [a-z0-9_-]+. */
void yk_register_name(struct yk_unpack *unpack, char *to);
/* The count of an array, which may not be more than max; its values follow. */
uint32_t yk_register_count(struct yk_unpack *unpack, uint32_t max);

#endif
