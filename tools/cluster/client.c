/* A connection for each question: tools ask seldom. */
#include <config.h>

#include "tools/cluster/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <glib.h>

#include "core/io/listen.h"
#include "core/wire/hello.h"

enum { PATIENCE_S = 2, HELLO_ID = 1, REQUEST_ID = 2, READ_SIZE = 65536 };

static enum yk_err
fail(const char *address, const char *what, char *error)
{
    bool is_late = errno == EAGAIN || errno == EWOULDBLOCK;
    snprintf(error, YK_ERROR_SIZE, "%s: %s: %s", address, what,
             is_late ? "no answer in time" : strerror(errno));
    return YK_EIO;
}

static enum yk_err
open_socket(const char *text, int *ret_fd, char *error)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct yk_address address;
    union yk_socket_address to;
    enum yk_err result = yk_address_parse(text, &address, error);
    if (result != YK_OK) {
        return result;
    }
    socklen_t size = yk_socket_address_of(&address, &to);
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail(text, "cannot connect", error);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, &to.any, size) < 0) {
        result = fail(text, "cannot connect", error);
        close(fd);
        return result;
    }
    *ret_fd = fd;
    return YK_OK;
}

static enum yk_err
send_all(int fd, const char *address, struct yk_slice bytes, char *error)
{
    const uint8_t *at = bytes.data;
    for (size_t left = bytes.size; left > 0;) {
        ssize_t n = send(fd, at, left, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return fail(address, "cannot send", error);
        }
        at += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return YK_OK;
}

/* One frame into `frame`. Byte for byte at its end, so that nothing of the next is taken: frames
 * are few. */
static enum yk_err
receive_frame(int fd, const char *address, GByteArray *frame, char *error)
{
    struct yk_splitter splitter;
    uint8_t *bytes = g_malloc(READ_SIZE);
    enum yk_split split = YK_SPLIT_MORE;
    enum yk_err result = YK_OK;
    yk_splitter_init(&splitter, YK_CONTROL_SIZE_MAX);
    g_byte_array_set_size(frame, 0);
    while (result == YK_OK && split == YK_SPLIT_MORE) {
        ssize_t n = recv(fd, bytes, READ_SIZE, MSG_PEEK);
        size_t used = 0;
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ECONNRESET : errno;
            result = fail(address, "no answer", error);
            break;
        }
        split = yk_splitter_take(&splitter, bytes, (size_t)n, &used);
        g_byte_array_append(frame, bytes, (guint)used);
        n = recv(fd, bytes, used, 0);
        if (n != (ssize_t)used || split == YK_SPLIT_WRONG) {
            snprintf(error, YK_ERROR_SIZE, "%s: this is no yakumo node", address);
            result = YK_EIO;
        }
    }
    g_free(bytes);
    return result;
}

static enum yk_err
say_hello(int fd, const char *address, GByteArray *frame, char *error)
{
    struct yk_hello hello = {.msgid = HELLO_ID,
                             .version_min = YK_RPC_VERSION_MIN,
                             .version_max = YK_RPC_VERSION_MAX,
                             .name = "yakumo",
                             .from = YK_WORKER_CONTROL,
                             .to = YK_WORKER_CONTROL};
    struct yk_welcome welcome;
    struct yk_pack pack;
    const char *wrong;
    yk_pack_init(&pack, YK_HELLO_SIZE_MAX);
    yk_hello_encode(&pack, &hello);
    enum yk_err result = send_all(fd, address, yk_pack_bytes_of(&pack), error);
    yk_pack_done(&pack);
    if (result == YK_OK) {
        result = receive_frame(fd, address, frame, error);
    }
    if (result != YK_OK) {
        return result;
    }
    if (yk_welcome_decode(yk_slice_of(frame->data, frame->len), &welcome, &wrong) != YK_OK) {
        snprintf(error, YK_ERROR_SIZE, "%s: this is no yakumo node: %s", address, wrong);
        return YK_EIO;
    }
    if (welcome.error[0] != '\0') {
        snprintf(error, YK_ERROR_SIZE, "%s refuses: %.400s", address, welcome.error);
        return YK_EDENIED;
    }
    return YK_OK;
}

static enum yk_err
request(const char *address, enum yk_message message, bool is_now, GByteArray *frame, char *error)
{
    int fd = -1;
    struct yk_pack pack;
    enum yk_err result = open_socket(address, &fd, error);
    if (result != YK_OK) {
        return result;
    }
    result = say_hello(fd, address, frame, error);
    yk_pack_init(&pack, YK_KIB);
    yk_request_encode(&pack, REQUEST_ID, message, is_now);
    if (result == YK_OK) {
        result = send_all(fd, address, yk_pack_bytes_of(&pack), error);
    }
    if (result == YK_OK) {
        result = receive_frame(fd, address, frame, error);
    }
    yk_pack_done(&pack);
    close(fd);
    return result;
}

static enum yk_err
refuse(const char *address, char *error)
{
    snprintf(error, YK_ERROR_SIZE, "%s: its answer is of another version", address);
    return YK_ECORRUPT;
}

enum yk_err
client_status(const char *address, struct yk_status *ret_status, char *error)
{
    g_autoptr(GByteArray) frame = g_byte_array_new();
    enum yk_err result = request(address, YK_MESSAGE_STATUS, false, frame, error);
    if (result == YK_OK &&
        yk_status_decode(yk_slice_of(frame->data, frame->len), ret_status) != YK_OK) {
        result = refuse(address, error);
    }
    return result;
}

enum yk_err
client_create(const char *address, bool is_now, uint32_t *ret_state, char *text, char *error)
{
    g_autoptr(GByteArray) frame = g_byte_array_new();
    enum yk_err result = request(address, YK_MESSAGE_CREATE, is_now, frame, error);
    if (result == YK_OK &&
        yk_created_decode(yk_slice_of(frame->data, frame->len), ret_state, text) != YK_OK) {
        result = refuse(address, error);
    }
    return result;
}
