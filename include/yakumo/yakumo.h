/* Everything that a plugin author needs, in one line. */
#ifndef YAKUMO_H
#define YAKUMO_H

#include <yakumo/backend.h>
#include <yakumo/coordinator.h>
#include <yakumo/filter.h>
#include <yakumo/frontend.h>
#include <yakumo/request_filter.h>

#endif
