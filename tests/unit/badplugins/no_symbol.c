/* Exports something, but no plugin. */
#include "tests/unit/badplugins/base.h"

extern YK_EXPORT const int some_symbol;
const int some_symbol = 1;
