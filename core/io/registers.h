/* The host of a coordinator: gives it its port, keeps its durable entries as files, and asks it.
 *
 *     DATA/registers/NAME   "yakumo-entry 1\n", the bytes, and their XXH3-64 checksum (8 bytes,
 *                           little-endian, over all before it); replaced by rename and fsync
 *
 * All of them are read when it opens, and a damaged one is refused: what a register said is not
 * guessed.
 *
 * Threads: one thread. Ownership: owns the coordinator's instance; world and plugin are lent. */
#ifndef YK_IO_REGISTERS_H
#define YK_IO_REGISTERS_H

#include <yakumo/coordinator.h>

#include "core/base/world.h"

struct yk_registers;

/* folder: DATA. On failure error (YK_ERROR_SIZE bytes) says which file, and what to do. */
enum yk_err yk_registers_open(const struct yk_world *world, const struct yk_plugin *coordinator,
                              const char *folder, struct yk_registers **ret_registers,
                              char *error) YK_MUST_CHECK;
/* Takes NULL. */
void yk_registers_close(struct yk_registers *registers);

/* Asks and waits. *ret_revision 0: it was never written. ret_bytes is g_malloc'd, the caller's. */
enum yk_err yk_registers_read(struct yk_registers *registers, const char *name, void **ret_bytes,
                              size_t *ret_size, uint64_t *ret_revision, char *error) YK_MUST_CHECK;
/* Returns when it is durable. YK_EEXISTS: the register has another revision. */
enum yk_err
yk_registers_write(struct yk_registers *registers, const char *name, struct yk_slice bytes,
                   uint64_t if_revision, char *error) YK_MUST_CHECK;

#endif
