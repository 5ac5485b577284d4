/* A responder of a few lines: it finds the ends of lines, answers every get with a value of one
 * size and every set with STORED, and keeps nothing. What it costs is the kernel's share of a
 * request, which no server gets below.
 *
 * Threads: one. Ownership: none. */
#ifndef YK_TOOLS_BENCH_BARE_H
#define YK_TOOLS_BENCH_BARE_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_BARE_VALUE_MAX = 1024 * 1024 };

/* Serves on HOST:PORT (or unix:PATH), which it prints when it listens, until SIGTERM or SIGINT.
 * Speaks memcached's get and set, and RESP's GET, MGET and SET. False: said on standard error. */
bool bench_bare(const char *listen, uint32_t value_size);

#endif
