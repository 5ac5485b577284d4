/* The rules about slots, for rules.c. Private to this room.
 *
 * Threads: pure. Ownership: nothing is kept. */
#ifndef YK_MANAGER_SLOT_RULES_H
#define YK_MANAGER_SLOT_RULES_H

#include "core/manager/rules.h"

/* Grants or refuses it. node: the proposer's index, whose nonce was found to be the one registered;
 * YK_NODES_MAX: a manager proposes, and the kind is open. */
enum yk_refusal yk_slot_judge(struct yk_bucket_register *bucket, enum yk_proposal_kind kind,
                              const struct yk_slot_proposal *proposal, uint32_t node);
/* Anybody may propose it, a manager too. */
bool yk_slot_rule_is_open(enum yk_proposal_kind kind);

/* Every member, or every member and every eligible node, is registered with a newer incarnation
 * than it had here: it has forgotten the slot. */
bool yk_slot_is_lost(const struct yk_bucket_register *bucket, uint32_t slot);
bool yk_slot_is_forgotten(const struct yk_bucket_register *bucket, uint32_t slot);
/* That node holds it, and nobody else is to be asked. */
bool yk_slot_is_alone(const struct yk_slot_record *slot, uint32_t node);
/* A slot whose only member is that node. */
struct yk_slot_record yk_slot_of_one(const struct yk_bucket_register *bucket, uint32_t slot,
                                     uint32_t node, uint32_t epoch);

#endif
