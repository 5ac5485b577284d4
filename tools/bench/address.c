/* See address.h. */
#include <config.h>

#include "tools/bench/address.h"

#include <netdb.h>
#include <string.h>
#include <sys/un.h>

#include <glib.h>

static bool
unix_address(const char *path, struct sockaddr_storage *address, socklen_t *size)
{
    struct sockaddr_un *local = (struct sockaddr_un *)(void *)address;
    if (*path == '\0' || strlen(path) >= sizeof(local->sun_path)) {
        return false;
    }
    local->sun_family = AF_UNIX;
    g_strlcpy(local->sun_path, path, sizeof(local->sun_path));
    *size = sizeof(*local);
    return true;
}

bool
bench_address(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size,
              char *error, size_t error_size)
{
    memset(ret_address, 0, sizeof(*ret_address));
    if (g_str_has_prefix(text, "unix:")) {
        if (!unix_address(text + 5, ret_address, ret_size)) {
            g_snprintf(error, error_size, "'%s' is no path of at most 107 bytes", text);
            return false;
        }
        return true;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0') {
        g_snprintf(error, error_size, "'%s' is no HOST:PORT, [HOST]:PORT or unix:PATH", text);
        return false;
    }
    bool is_bracketed = text[0] == '[' && colon[-1] == ']';
    g_autofree char *host = is_bracketed ? g_strndup(text + 1, (gsize)(colon - text) - 2)
                                         : g_strndup(text, (gsize)(colon - text));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host, colon + 1, &hints, &found);
    if (status != 0) {
        g_snprintf(error, error_size, "'%s': %s", text, gai_strerror(status));
        return false;
    }
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}
