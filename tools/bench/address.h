/* HOST:PORT, [HOST]:PORT or unix:PATH as an address.
 *
 * Threads: any. Ownership: plain values. */
#ifndef YK_TOOLS_BENCH_ADDRESS_H
#define YK_TOOLS_BENCH_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include <sys/socket.h>

/* Asks the system for the address of a name. False: error says why. */
bool bench_address(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size,
                   char *error, size_t error_size);

#endif
