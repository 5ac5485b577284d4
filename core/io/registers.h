/* The host of a coordinator: gives it its port, keeps its durable entries as files, and asks it.
 *
 *     DATA/registers/NAME   "yakumo-entry 1\n", the bytes, and their XXH3-64 checksum (8 bytes,
 *                           little-endian, over all before it); replaced by rename and fsync
 *
 * All of them are read when it opens, and a damaged one is refused: what a register said is not
 * guessed.
 *
 * Threads: one thread. Ownership: owns the coordinator's instance; world and settings are
 * lent. */
#ifndef YK_IO_REGISTERS_H
#define YK_IO_REGISTERS_H

#include <yakumo/coordinator.h>

#include "core/base/options.h"
#include "core/base/world.h"

struct yk_registers;

/* A coordinator beside those of other managers: what it says goes here. */
struct yk_registers_place {
    uint32_t self_index, n_managers;
    void *arg;
    /* Any of them may be called from within any call of this header; the callee may not call the
     * registers back. */
    void (*answer)(void *arg, uint64_t token, const struct yk_register_answer *answer);
    void (*changed)(void *arg, const char *name);
    void (*send)(void *arg, uint32_t manager_index, struct yk_slice message);
    /* From any thread: yk_registers_run is to be called soon. */
    void (*wake)(void *arg);
};

/* folder: DATA. place NULL: the one manager, whose questions are asked by read and write below;
 * else by yk_registers_ask. On failure error (YK_ERROR_SIZE bytes) says which file, and what to do.
 */
enum yk_err yk_registers_open(const struct yk_world *world, const struct yk_settings *coordinator,
                              const char *folder, const struct yk_registers_place *place,
                              struct yk_registers **ret_registers, char *error) YK_MUST_CHECK;
/* Takes NULL. */
void yk_registers_close(struct yk_registers *registers);

/* Asks and waits. *ret_revision 0: it was never written. ret_bytes is g_malloc'd, the caller's. */
enum yk_err yk_registers_read(struct yk_registers *registers, const char *name, void **ret_bytes,
                              size_t *ret_size, uint64_t *ret_revision, char *error) YK_MUST_CHECK;
/* Returns when it is durable. YK_EEXISTS: the register has another revision. */
enum yk_err
yk_registers_write(struct yk_registers *registers, const char *name, struct yk_slice bytes,
                   uint64_t if_revision, char *error) YK_MUST_CHECK;

/* With a place. Questions end by place->answer. */
void yk_registers_ask_read(struct yk_registers *registers, const char *name, uint64_t token);
void yk_registers_ask_write(struct yk_registers *registers, const char *name, struct yk_slice bytes,
                            uint64_t if_revision, uint64_t token);
void yk_registers_watch(struct yk_registers *registers, const char *name);
void yk_registers_message(struct yk_registers *registers, uint32_t manager_index,
                          struct yk_slice message);
/* Stores what is to be stored and calls the timer if it is time; before each wait. Returns when it
 * is to be called again, on the clock of world->now_us; 0: no need. A wall clock that is set puts
 * off nothing. */
uint64_t yk_registers_run(struct yk_registers *registers);

#endif
