/* What a bucket's section of the config says, as its register has it.
 *
 * Threads: pure. Ownership: plain values. */
#ifndef YK_MANAGER_DESCRIBE_H
#define YK_MANAGER_DESCRIBE_H

#include "core/config/config.h"
#include "core/ring/register.h"

void yk_bucket_describe(const struct yk_bucket_config *config,
                        struct yk_bucket_description *ret_description);

/* Whether data of the one form is read by the other: the same slots, engine and filters. */
bool
yk_bucket_has_form(const struct yk_bucket_description *a, const struct yk_bucket_description *b);

#endif
