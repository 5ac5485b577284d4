/* Where a failed assert ends. */
#include <config.h>

#include "core/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void
yk_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "yakumo: %s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}
