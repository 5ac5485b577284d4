/* Addresses: text to what a socket needs, without asking a name server. */
#include <config.h>

#include <arpa/inet.h>
#include <stdio.h>

#include <glib.h>

#include "core/config/config.h"

enum { MODE_DEFAULT = 0600, MODE_MAX = 0777, PORT_MAX = 65535 };

static enum yk_err
address_fail(const char *text, const char *words, char *error)
{
    g_autofree char *shown = yk_text_show(text);
    snprintf(error, YK_ERROR_SIZE, "%s %s", shown, words);
    return YK_EINVALID;
}

/* "?mode=0660", or nothing. */
static bool
mode_parse(const char *text, uint32_t *ret_mode)
{
    static const char head[] = "?mode=";
    if (*text == '\0') {
        *ret_mode = MODE_DEFAULT;
        return true;
    }
    if (!g_str_has_prefix(text, head)) {
        return false;
    }
    const char *digits = text + sizeof(head) - 1;
    size_t n_digits = strspn(digits, "01234567");
    if (n_digits == 0 || n_digits > 4 || digits[n_digits] != '\0') {
        return false;
    }
    uint32_t mode = 0;
    for (; *digits != '\0'; digits++) {
        mode = mode * 8 + (uint32_t)(*digits - '0');
    }
    *ret_mode = mode;
    return mode <= MODE_MAX;
}

static enum yk_err
unix_parse(const char *text, const char *path, struct yk_address *address, char *error)
{
    size_t size = strcspn(path, "?");
    address->kind = YK_ADDRESS_UNIX;
    address->is_loopback = true;
    if (*path != '/') {
        return address_fail(text, "has no absolute path: write unix:/run/yakumo.sock", error);
    }
    if (size >= sizeof(address->path)) {
        return address_fail(text, "is too long a path for a socket: at most 107 bytes", error);
    }
    if (!mode_parse(path + size, &address->mode)) {
        return address_fail(
            text, "has no permission bits behind the '?': write ?mode=0660, at most 0777", error);
    }
    memcpy(address->path, path, size);
    return YK_OK;
}

static enum yk_err
systemd_parse(const char *text, const char *name, struct yk_address *address, char *error)
{
    size_t size =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-");
    address->kind = YK_ADDRESS_SYSTEMD;
    address->is_loopback = true;
    if (size == 0 || size >= sizeof(address->path) || name[size] != '\0') {
        return address_fail(
            text, "names no socket of systemd: write systemd:NAME, as FileDescriptorName= has it",
            error);
    }
    memcpy(address->path, name, size);
    return YK_OK;
}

static bool
port_parse(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;
    size_t n_digits = strspn(text, "0123456789");
    if (n_digits == 0 || n_digits > 5 || text[n_digits] != '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        port = port * 10 + (uint32_t)(*text - '0');
    }
    *ret_port = (uint16_t)port;
    return port >= 1 && port <= PORT_MAX;
}

/* Whether only this machine has the address. */
static bool
inet6_is_loopback(const uint8_t bytes[16])
{
    static const uint8_t one[16] = {[15] = 1};
    static const uint8_t mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    return memcmp(bytes, one, sizeof(one)) == 0 || memcmp(bytes, mapped, sizeof(mapped)) == 0;
}

static bool
host_parse(const char *host, struct yk_address *address)
{
    size_t size = strlen(host);
    address->kind = YK_ADDRESS_INET;
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        g_autofree char *inner = g_strndup(host + 1, size - 2);
        address->kind = YK_ADDRESS_INET6;
        if (inet_pton(AF_INET6, inner, address->bytes) != 1) {
            return false;
        }
        address->is_loopback = inet6_is_loopback(address->bytes);
        return true;
    }
    const char *numbers = strcmp(host, "localhost") == 0            ? "127.0.0.1"
                          : *host == '\0' || strcmp(host, "*") == 0 ? "0.0.0.0"
                                                                    : host;
    if (inet_pton(AF_INET, numbers, address->bytes) != 1) {
        return false;
    }
    address->is_loopback = address->bytes[0] == 127;
    return true;
}

static enum yk_err
inet_parse(const char *text, struct yk_address *address, char *error)
{
    const char *colon = strrchr(text, ':');
    const char *bracket = strrchr(text, ']');
    if (colon == NULL || (bracket != NULL && bracket > colon)) {
        return address_fail(text, "has no port: write IP:PORT, such as 127.0.0.1:11211", error);
    }
    if (*text != '[' && strchr(text, ':') != colon) {
        return address_fail(text, "is ambiguous: write an IPv6 address in brackets, [::1]:11211",
                            error);
    }
    if (!port_parse(colon + 1, &address->port)) {
        return address_fail(
            text, "has no port from 1 to 65535: write IP:PORT, such as 127.0.0.1:11211", error);
    }
    g_autofree char *host = g_strndup(text, (size_t)(colon - text));
    if (!host_parse(host, address)) {
        return address_fail(
            text,
            "is not an address: write IP:PORT, [IPv6]:PORT, unix:/path or systemd:NAME "
            "(host names are not looked up, but for localhost)",
            error);
    }
    return YK_OK;
}

enum yk_err
yk_address_parse(const char *text, struct yk_address *ret_address, char *error)
{
    static const char unix_head[] = "unix:", systemd_head[] = "systemd:";
    struct yk_address address = {0};
    enum yk_err err;
    if (g_str_has_prefix(text, unix_head)) {
        err = unix_parse(text, text + sizeof(unix_head) - 1, &address, error);
    } else if (g_str_has_prefix(text, systemd_head)) {
        err = systemd_parse(text, text + sizeof(systemd_head) - 1, &address, error);
    } else {
        err = inet_parse(text, &address, error);
    }
    if (err == YK_OK) {
        *ret_address = address;
    }
    return err;
}
